/*
   The slow modes of the missing block. With K = U Lam U' on the whole grid, A = (K + s I)^-1, and U_r the r eigenvectors of the largest
   eigenvalues, lam > theta s,

     A_r = (I - U_r D U_r') / s,  D = lam/(lam + s),     A_r / (1 + theta) <= A <= A_r,

   because both agree on U_r and A lies between 1/(s (1 + theta)) and 1/s on the rest. So the missing block (A_r)_MM is a preconditioner of
   A_MM with a condition number of at most 1 + theta, whatever the gaps; its inverse is of low rank beside the identity (Woodbury),

     (A_r)_MM^-1 = s (I + U_M H^-1 U_M'),   H = s Lam_r^-1 + I - U_M' U_M      (r x r),

   an eigenvector Nystroem approximation with the exact mask. U_M is never stored: its products are truncated mode products, and the Gram
   matrix U_M' U_M is summed one dimension after the other, the sums over inner dimensions being shared by all indices of the outer ones:
   about N r_last^2 + ... + n_0 r^2 operations instead of |M| r^2.
*/
#pragma once

#include <skean/private/kron.hpp>
#include <vector>

namespace skean {
namespace gp {

/* A set of multi-indices of eigenvalues, all those with a product above a threshold, as nested suffixes: S_k holds the indices of dimensions
   k, ..., d-1 that occur. Eigenvalues are numbered from the largest down. */
struct ModeSet {
  struct Level {
    std::vector<size_t> take;  /* index a along dimension k goes with the take[a] largest suffixes of S_{k+1} */
    std::vector<size_t> first; /* ... which are entries first[a], ..., first[a+1]-1 of S_k */
    std::vector<size_t> order; /* order[p]: entry of S_k with the p-th largest product */
    std::vector<double> value; /* products, from the largest down */
    size_t              Count() const noexcept { return value.size(); }
  };
  std::vector<std::vector<double>> lam; /* positive eigenvalues by dimension, from the largest down */
  std::vector<Level>               level;
  size_t                           Count() const noexcept { return level.empty() ? 0 : level[0].Count(); }
  /* Number of products above the threshold, counted up to limit + 1 */
  size_t CountAbove(double threshold, size_t limit) const;
  void   Build(double threshold);
  /* Multi-indices of S_0, d each, and their products, in the order of the entries */
  void List(std::vector<size_t> *idx, std::vector<double> *value) const;
};

/*
   G = sum over the points of a box with keep[point] == 0 of u u', u the row of the selected eigenvectors there. Q[k]: rows are the points of
   dimension k (all of them), row major, Q[k][m * R_k + a] with R_k the number of eigenvectors kept along k. G: row major, entries of S_0, lower
   triangle; added to.
*/
void MaskedGram(const ModeSet &set, const TensorBox &box, const unsigned char *keep, const std::vector<std::vector<double>> &Q, double *G);

class GapDeflation {
public:
  /*
     Collective. Takes the eigenvalues above `wanted` times the ratio s, at most maxmodes of them (then the largest). ready stays false if there is none, or
     if H is not positive definite to rounding.
  */
  PetscErrorCode SetUp(TensorGrid &grid, const std::vector<KronEigen> &eig, const unsigned char *mask, double s, double wanted, size_t maxmodes);
  /* Collective. out = (A_r)_MM^-1 in; in is zero outside M, and so is out; in == out allowed */
  PetscErrorCode Apply(TensorGrid &grid, const unsigned char *mask, const double *in, double *out);
  /* Collective. v (the whole grid, overwritten): A_r^1/2 v, so that a standard normal v becomes one with covariance A_r */
  PetscErrorCode ApplySqrt(TensorGrid &grid, double *v);
  /* log det (A_r)_MM for nm missing points */
  double LogDet(PetscInt64 nm) const;
  bool   Ready() const noexcept { return ready; }
  void   Reset() noexcept { ready = false; }
  size_t Modes() const noexcept { return r; }
  /* Largest eigenvalue not taken, over the ratio: the condition number is at most one more */
  double Theta() const noexcept { return theta; }
  /* 1/(1 - largest eigenvalue of D^1/2 U_M'U_M D^1/2) by inverse iteration: the condition number of (A_r)_MM, about that of A_MM alone */
  double SlowestMode(int steps);

private:
  /* Collective. work = U_r F U_r' in, F on the r coefficients that are the same on every process */
  template <class F>
  PetscErrorCode Project(TensorGrid &grid, const double *in, F coefficients);

  bool                             ready = false;
  int                              d     = 0;
  size_t                           r     = 0;
  double                           ratio = 0, theta = 0;
  std::vector<std::vector<double>> V; /* selected eigenvectors, n_j x r_j column major */
  TensorSizes                      small{};
  std::vector<double>              H, c, diag, work;
  std::vector<size_t>              mode, place; /* modes whose coefficient is in this process's box of the last stage, and where */
};

} // namespace gp
} // namespace skean
