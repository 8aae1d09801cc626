/*
   Log-sum-exp along the lines of a grid, by matrix products.

   out(i) = log sum_j exp(in(j) - inv C_ij) for many lines at once. In logarithms every entry costs an exponential and a comparison; here the axis is cut
   into blocks and
     exp(in(j) - inv C_ij) = exp(in(j) - M_B) exp(-(inv C_ij - k_IB)) exp(M_B - k_IB),   M_B = max_{j in B} in(j),  k_IB = min_{i in I, j in B} inv C_ij,
   so that the sums over j are products of the stored matrix in the middle (all entries <= 1) with the scaled lines, by GEMM, and an axis of n points
   costs n (1 + n/block) exponentials and scalings for each line in place of n^2. The rows of I are summed in units of exp(T), T = max_B (M_B - k_IB); in each of them the sum is
   at least exp(L), L = max_B (M_B - max_{i in I, j in B} inv C_ij). What underflows (below exp(T - 707)) is then less than n exp(T - L - 707) of a sum; rows for which T - L is
   above kMaxVariation (large steps of the cost beside epsilon) are done in logarithms. Pairs of blocks below exp(L - 45), 3e-20 of the sum, are skipped: most of
   them at small epsilon.
*/
#pragma once

#include <petscsys.h>
#include <vector>

namespace skean {
namespace transport {

/* The logarithm of nothing; the logarithm of a number never comes near it */
constexpr double kLogZero = -1e300;

class LineLSE {
public:
  /* cost: n x n by rows, not copied, must outlive this. If weighted, C_ij exp(-inv C_ij) takes the place of exp(-inv C_ij); costs must not be negative then */
  void SetUp(PetscInt n, double inv, const double *cost, bool weighted);
  bool Ready(double inv, bool weighted) const noexcept { return n_ > 0 && inv == inv_ && weighted == weighted_; }
  /* nr lines, interleaved: entry j of line r is in[j*nr + r]; out likewise, another array */
  void Apply(PetscInt nr, const double *in, double *out);
  /* Rows of blocks that had to be done in logarithms, since SetUp() */
  PetscInt Slow() const noexcept { return slow_; }

private:
  PetscInt            n_ = 0, bs_ = 1, nb_ = 0, slow_ = 0;
  double              inv_      = 0;
  const double       *cost_     = nullptr;
  bool                weighted_ = false;
  std::vector<double> K_;    /* K_[i*n + j]: the matrix in the middle */
  std::vector<double> kmin_; /* k_IB */
  std::vector<double> var_;  /* variation of inv C over the pair of blocks */
  std::vector<double> E_, W_, O_, M_, T_;
};

/* out(i) = max_j in(j) - inv C_ij, lines interleaved as above */
void LineMax(PetscInt n, PetscInt nr, double inv, const double *cost, const double *in, double *out);

} // namespace transport
} // namespace skean
