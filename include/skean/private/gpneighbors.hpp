/*
   Small groups of missing points. Where a field is rough on the grid and the noise is small, A = (K + s I)^-1 is close to a difference operator: its
   entries fall off within a few steps on the grid, and what makes the missing block A_MM ill-conditioned are groups of neighbouring gaps. So

     T = the entries of A_MM between points with |o|^2 <= max(reach^2 + 1, d), o the steps from one to the other along each of the d dimensions

   has what makes it so (reach 1: all 3^d - 1 neighbours, which is all there is for Markov covariances without noise). The entries are exact: with K = U Lam U', those of offset o at all points of the grid are one chain of mode products,

     A(p, p + o) = sum_i (prod_j U_j(p_j, i_j) U_j(p_j + o_j, i_j)) / (lam_i + s),

   with the entrywise products of U_j and U_j shifted by o_j as factors; offsets with the same first components have the first products in common.
   The preconditioner is the factorised sparse approximate inverse of Kolotilina and Yeremin (SIAM J. Matrix Anal. Appl. 14, 1993, 45-58),

     A_MM^-1 ~ G'G,  G lower triangular in the natural order with the pattern of T,  (G T)(p, q) = 0 for the pattern's q before p,

   whose rows are found each from a small matrix of its own: positive definite whatever was cut off, and the same for any distribution of the grid.
*/
#pragma once

#include <skean/private/kron.hpp>
#include <petscmat.h>
#include <vector>

namespace skean {
namespace gp {

class GapNeighbors {
public:
  GapNeighbors()                                = default;
  GapNeighbors(const GapNeighbors &)            = delete;
  GapNeighbors &operator=(const GapNeighbors &) = delete;
  ~GapNeighbors() { Reset(); }
  /* Collective. Errors: PETSC_ERR_ARG_OUTOFRANGE for a reach that the number of dimensions forbids */
  PetscErrorCode SetUp(TensorGrid &grid, const std::vector<KronEigen> &eig, const unsigned char *mask, double s, int reach);
  /* Collective. out = G'G in on M; in is zero outside M, and so is out; in == out allowed */
  PetscErrorCode Apply(const double *in, double *out, PetscInt64 size);
  bool           Ready() const noexcept { return ready; }
  void           Reset() noexcept;
  Mat            Factor() const noexcept { return G; } /* numbered by missing points, process by process */
  /* Rows whose group needed a multiple of the unit matrix, and the largest multiple */
  PetscInt Shifted() const noexcept { return shifted; }
  double   Shift() const noexcept { return shift; }
  /* Mode products in SetUp() */
  static PetscInt Products(int d, int reach);

private:
  PetscErrorCode Entries(TensorGrid &grid, const std::vector<KronEigen> &eig, double s, const std::vector<std::vector<int>> &offsets, std::vector<double> *w);
  PetscErrorCode Numbers(TensorGrid &grid, int reach, TensorBox *ext, std::vector<PetscInt> *id);

  bool                    ready = false;
  std::vector<PetscInt64> place; /* my missing points in the home box */
  PetscInt                first = 0, shifted = 0;
  double                  shift = 0;
  Mat                     G     = nullptr;
  Vec                     x = nullptr, y = nullptr;
};

} // namespace gp
} // namespace skean
