/* Passes over this process's rows in twofold precision; see lsqkernels.hpp for the conventions */
#pragma once

#include <skean/private/rowblock.hpp>

namespace skean {

/*
   r = b - A (x + xlo) in twofold precision and never rounded, G += A'r, rr[j] += |r_j|^2 (working precision). One pass, about 22 flops
   an entry and column. X: d x q; Xlo: d x q or NULL; G: pairs (hi, lo), d x q.
*/
void TwofoldResidualPass(const RowView &A, const double *B, PetscInt ldb, const double *X, const double *Xlo, int q, double *G, double *rr);

/* x + xlo <- x + xlo + dx, normalised: x is the pair rounded */
void AddToTwofold(PetscInt n, double *x, double *xlo, const double *dx);
/* G <- G - lambda (x + xlo); G: n pairs */
void TwofoldSubtractScaled(PetscInt n, double lambda, const double *x, const double *xlo, double *G);

/*
   Rigorous bound on what the pass and the sum over `processes` leave of rounding errors, barring underflow:
     |G_j - (A'(b - A x))_j| <= |a_j| (forward (|b| + sum_k |a_k||x_k|) + backward |r|)
   with 2-norms of columns and vectors. Derivation in twofoldkernels.cxx.
*/
struct TwofoldError {
  double forward, backward;
};
TwofoldError TwofoldResidualError(const RowView &A, PetscMPIInt processes);

} // namespace skean
