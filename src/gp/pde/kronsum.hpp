/*
   (sum_k A_k along mode k + shift) Y = B for small dense non-symmetric A_k (m_k x m_k) and a tensor distributed by slabs of dimension 0.

   d = 1  LU.
   d = 2  A_0 Y + Y A_1' = B by real Schur forms (Bartels and Stewart 1972): robust for any A, also for the very non-normal ones of
          first-order operators. Distributed like the tensor: blocks of rows one process after another, m_0 m_1/P numbers on each.
   d = 3  A_0 = X diag(lambda) X^-1; for each eigenvalue (one of a conjugate pair) a complex equation of the case d = 2, all of them
          independent and spread over the processes. condition() says how far X can be trusted; the caller refines.
*/
#pragma once

#include "dense.hpp"
#include <skean/private/tensorgrid.hpp>

namespace skean {
namespace gp {

/* out (home boxes of the new sizes) = F_0 x ... x F_{d-1} applied to in (home boxes of sizes nin); F[k] NULL: identity; trans: transposed */
PetscErrorCode ApplyModes(TensorGrid &grid, const TensorSizes &nin, const Dense *const F[], bool trans, const double *in, std::vector<double> &out);

class KroneckerSum {
public:
  /* Collective. B[k] is the same on every process. ok = false if LAPACK fails or X is singular. */
  PetscErrorCode Setup(TensorGrid *g, const Dense B[], double s, bool *ok);
  /* Changes the shift; cheap for d > 1 */
  PetscErrorCode SetShift(double s, bool *ok);
  /* Collective. y = (sum A_k + shift) x, with a shift of the caller's */
  PetscErrorCode Apply(const double *x, double sh, std::vector<double> &y);
  /* Collective. x and b: home boxes of sizes m; may be the same array. ok = false: singular */
  PetscErrorCode Solve(const double *b, double *x, bool *ok);
  /* Solve, then refine with Apply() until the residual no longer falls; residual: relative to b, in the 2-norm */
  PetscErrorCode     SolveRefined(const double *b, std::vector<double> &x, double *residual, bool *ok);
  const TensorSizes &Sizes() const noexcept { return m; }
  double             Shift() const noexcept { return shift; }
  double             Condition() const noexcept { return condition; }

private:
  PetscErrorCode            Substitute(double *y, bool *ok);
  TensorGrid               *grid = nullptr;
  int                       d    = 0;
  TensorSizes               m{};
  Dense                     A[3], Q[3], T[3]; /* Q, T: real Schur forms (d = 2), T[0] the LU factors (d = 1) */
  std::vector<PetscBLASInt> piv;
  double                    shift = 0, condition = 1;
  /* d = 3 */
  std::vector<Complex> lambda;         /* with Im >= 0 */
  Dense                Xr, Xi, Yr, Yi; /* m_0 x nc: eigenvectors (doubled for pairs); nc x m_0: rows of the inverse */
  CDense               CQ[2], CT[2];
};

} // namespace gp
} // namespace skean
