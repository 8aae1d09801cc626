/*
   Small groups of missing points. Where a field is rough on the grid and the noise is small, A = (K + s I)^-1 is close to a difference operator: its
   entries fall off within a few steps on the grid, and what makes the missing block A_MM ill-conditioned are groups of neighbouring gaps. So

     T = the entries of A_MM between points no more than `reach` steps apart in every dimension

   is a sparse preconditioner. The entries are exact: with K = U Lam U', those of offset o at all points of the grid are one chain of mode products,

     A(p, p + o) = sum_i (prod_j U_j(p_j, i_j) U_j(p_j + o_j, i_j)) / (lam_i + s),

   with the entrywise products of U_j and U_j shifted by o_j as factors. T^-1 is applied by a fixed number of Chebyshev steps between its
   extreme eigenvalues: the same operator on any number of processes. Cutting may cost T its definiteness; it then gets a multiple of its diagonal added.
*/
#pragma once

#include <skean/private/kron.hpp>
#include <petscksp.h>
#include <vector>

namespace skean {
namespace gp {

class GapNeighbors {
public:
  GapNeighbors()                                = default;
  GapNeighbors(const GapNeighbors &)            = delete;
  GapNeighbors &operator=(const GapNeighbors &) = delete;
  ~GapNeighbors() { Reset(); }
  /* Collective. ready stays false if no multiple of the diagonal makes T definite */
  PetscErrorCode SetUp(TensorGrid &grid, const std::vector<KronEigen> &eig, const unsigned char *mask, double s, int reach);
  /* Collective. out = about T^-1 in on M; in is zero outside M, and so is out; in == out allowed */
  PetscErrorCode Apply(const double *in, double *out, PetscInt64 size);
  bool           Ready() const noexcept { return ready; }
  void           Reset() noexcept;
  Mat            Matrix() const noexcept { return T; } /* numbered by missing points, process by process */
  PetscInt       Steps() const noexcept { return steps; }
  double         Shift() const noexcept { return shift; }
  /* Chains of mode products in SetUp() */
  static PetscInt Offsets(int d, int reach);

private:
  PetscErrorCode Entries(TensorGrid &grid, const std::vector<KronEigen> &eig, double s, const std::vector<std::vector<int>> &offsets,
                         std::vector<std::vector<double>> *w);
  PetscErrorCode Numbers(TensorGrid &grid, int reach, TensorBox *ext, std::vector<PetscInt> *id);
  PetscErrorCode MakeDefinite(TensorGrid &grid);

  bool                    ready = false;
  std::vector<PetscInt64> place; /* my missing points in the home box */
  PetscInt                first = 0, steps = 0;
  double                  shift = 0;
  Mat                     T     = nullptr;
  KSP                     ksp   = nullptr;
  Vec                     x = nullptr, b = nullptr;
};

} // namespace gp
} // namespace skean
