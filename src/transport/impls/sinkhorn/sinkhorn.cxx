/*
   Sinkhorn's iteration in the log domain.

   One fused pass per iteration: row i of K = exp(u + v - C/eps) is formed in a buffer, summed, scaled to the mass r_i (which is the update of u_i)
   and added to the column sums, from which v is updated. One exponential per entry and iteration, half of what two half-steps cost. The old u
   keeps the exponentials in range; where it does not, a row or the columns are done again with their maximum.

   Communication per iteration: Allgather of v, Reduce_scatter of the column sums, two small Allreduces.
*/
#include <skean/private/transportimpl.h>
#include <algorithm>

using skean::transport::Work;

/*
   The marginal error tested is that of (u_new, v): its rows are exact, its columns are the sums just computed. v is not updated after the
   test, so that what was tested is what is returned.
*/
PetscErrorCode SkeanTransportSolve_Sinkhorn(SkeanTransport t)
{
  Work            *w   = static_cast<Work *>(t->work);
  SkeanSolverBase *s   = &t->solver;
  const double     tol = 0.98 * PetscMax(s->rtol, s->atol / w->massr); /* 0.98: rounding in the final, independent computation */
  PetscInt         it  = 0;

  PetscFunctionBegin;
  for (size_t level = 0; level < w->levels.size() && !s->reason; ++level) {
    const bool     last   = level + 1 == w->levels.size();
    const double   target = last ? tol : PetscMax(1e-2, tol);
    double         best   = PETSC_MAX_REAL;
    PetscInt       itbest = it;
    const PetscInt itend  = last ? s->max_it : PetscMin(it + 50, s->max_it);

    PetscCall(SkeanTransportSetLevel_Private(t, w->levels[level]));
    for (;;) {
      PetscCall(SkeanTransportPass_Private(t, NULL));
      PetscCall(SkeanSolverMonitor_Private((PetscObject)t, s, it, w->err));
      if (w->bad) {
        s->reason = SKEAN_DIVERGED_NANORINF;
        break;
      }
      if (w->err <= target) {
        if (last) s->reason = s->rtol >= s->atol / w->massr ? SKEAN_CONVERGED_RTOL : SKEAN_CONVERGED_ATOL;
        break;
      }
      if (w->err < 0.999 * best) {
        best   = w->err;
        itbest = it;
      }
      if (last && it - itbest >= 50 && w->err < 10 * SkeanTransportFloor_Private(t)) {
        s->reason = SKEAN_DIVERGED_ROUNDING_FLOOR;
        break;
      }
      if (last && it - itbest >= 2000) {
        s->reason = SKEAN_DIVERGED_STAGNATION;
        break;
      }
      if (it >= itend) {
        if (last || it >= s->max_it) s->reason = SKEAN_DIVERGED_ITS;
        if (it < s->max_it) ++it;
        break;
      }
      ++it;
      PetscCall(SkeanTransportUpdateV_Private(t));
    }
  }
  /* a tolerance met early on a level that was not the last one cannot happen: only the last sets a positive reason. If max_it ended an earlier
     level, potentials belong to that level, and say so */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   SKEANTRANSPORTSINKHORN - Sinkhorn's iteration in the log domain

   Level: beginner

   Notes:
   Method:
   1. u_i = log r_i - LSE_j(v_j - C_ij/eps) and the column sums b of the plan, in one fused pass
   2. stop if |b - c|_1 is below the tolerance
   3. v_j = v_j + log c_j - log b_j
   With epsilon reached in steps (`SkeanTransportSetScaling()`). Supports every cost, marginal penalties and truncation.

   Linear convergence; the number of iterations grows like 1/eps and worse. Not for small epsilon: use `SKEANTRANSPORTSSNS`.

   References: Sinkhorn and Knopp, Pacific J. Math. 21 (1967); Schmitzer, SIAM J. Sci. Comput. 41 (2019).

.seealso: `SkeanTransportSetType()`, `SkeanTransportType`
M*/
SKEAN_INTERN PetscErrorCode SkeanTransportCreate_Sinkhorn(SkeanTransport t);
PetscErrorCode              SkeanTransportCreate_Sinkhorn(SkeanTransport t)
{
  PetscFunctionBegin;
  t->ops->solve = SkeanTransportSolve_Sinkhorn;
  PetscFunctionReturn(PETSC_SUCCESS);
}
