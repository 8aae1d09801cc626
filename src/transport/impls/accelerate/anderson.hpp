/* Anderson's acceleration of Sinkhorn's sweeps */
#pragma once

#include <skean/private/transportimpl.h>

namespace skean {
namespace transport {

/*
   A sweep maps v to v + s with s = log c - log b(v). Of the last iterates with their s, the affine combination whose s is smallest in the norm weighted
   with c is formed, and a sweep made from there (Anderson, J. ACM 12 (1965), type II). Near the solution the map's Jacobian I - diag(b)^-1 H is self-adjoint
   in that norm with eigenvalues in [0, 1), H the Hessian of the semi-dual, so that the iterates are those of a minimal residual Krylov method, which
   needs about the square root of the number of sweeps. Every number that decides is summed over the processes, so that all form the same combination.
*/
class Anderson {
public:
  PetscInt window = 20; /* differences of iterates at most */
  void     Restart()
  {
    count = head = 0;
    has          = false;
  }
  /* Collective. w->v becomes the next iterate, from w->v and w->lb of the last pass. more (may be NULL): added to the step of the sweep, here a correction
     on coarse cells, M^-1 (c - b) with M symmetric and positive definite */
  PetscErrorCode Next(Work *w, const double *more);

private:
  PetscInt                         count = 0; /* differences that are kept */
  PetscInt                         head  = 0; /* where the next one goes */
  bool                             has   = false;
  std::vector<double>              v, s;   /* last iterate and its step */
  std::vector<std::vector<double>> dv, ds; /* differences */
  std::vector<double>              gram;   /* (ds_p, ds_q), window x window */
};

} // namespace transport
} // namespace skean
