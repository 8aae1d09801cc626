/*
   Sinkhorn's iteration in the log domain.

   One fused pass per iteration: row i of K = exp(u + v - C/eps) is formed in a buffer, summed, scaled to the mass r_i (which is the update of u_i)
   and added to the column sums, from which v is updated. One exponential per entry and iteration, half of what two half-steps cost. The old u
   keeps the exponentials in range; where it does not, a row or the columns are done again with their maximum.

   Communication per iteration: Allgather of v, Reduce_scatter of the column sums, two small Allreduces.
*/
#include "../accelerate/sweeps.hpp"
#include <algorithm>

using skean::transport::Sweeps;
using skean::transport::Work;

namespace {

/*
   Near its fixed point the update v -> S(v) has eigenvalues in [0, rho], rho < 1 (and the constant). The Chebyshev iteration of second degree with
   its asymptotic parameters, v+ = v + alpha (S(v) - v) + beta (v - v-), converges with the rate sqrt(beta) instead of rho, in about the square root of
   the number of iterations (Golub and Varga, Numer. Math. 3 (1961); for Sinkhorn as overrelaxation: Thibault, Chizat, Dossal and Papadakis, Algorithms 14
   (2021)). An eigenvalue above the rho assumed shows as a rate r above sqrt(beta), with lambda = (r + beta/r - 1 + alpha - beta)/alpha: rho is found so,
   from below (Hageman and Young, Applied Iterative Methods, chapter 5). For any rho assumed in [0, 1) the linear iteration converges.
*/
class Momentum {
public:
  explicit Momentum(bool on) : use(on) {}
  void Restart(double err)
  {
    rho = beta = 0;
    alpha      = 1;
    Mark(err);
    best = err;
    previous.clear();
    saved.clear();
  }
  /* v from what the last pass gave; err: its marginal error */
  PetscErrorCode Update(SkeanTransport t, double err)
  {
    Work *w = static_cast<Work *>(t->work);

    PetscFunctionBegin;
    if (use && !Adapt(w, err)) PetscFunctionReturn(PETSC_SUCCESS);
    if (!(beta > 0)) {
      PetscCall(SkeanTransportUpdateV_Private(t));
      PetscFunctionReturn(PETSC_SUCCESS);
    }
    if (previous.empty()) PetscCallCXX(previous = w->v);
    for (PetscInt j = 0; j < w->eng->mloc; ++j) {
      const double v = w->v[j], s = w->logc[j] + w->lamc * (v - w->lb[j]);
      w->v[j]     = v + alpha * (s - v) + beta * (v - previous[j]);
      previous[j] = v;
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }

private:
  bool                use;
  double              rho = 0, alpha = 1, beta = 0, marked = 0, best = 0;
  int                 count = 0;
  std::vector<double> previous, saved;

  void Mark(double err)
  {
    marked = err;
    count  = 0;
  }
  /* false: the iterate has been replaced by the best one; its pass comes next */
  bool Adapt(Work *w, double err)
  {
    const int window = PetscMax(8, static_cast<int>(2 / (1 - std::sqrt(beta))));

    if (beta > 0 && err > 10 * best) { /* not where it is linear */
      w->v = saved;
      Restart(best);
      return false;
    }
    if (beta > 0 && err < best) {
      best  = err;
      saved = w->v;
    }
    if (++count < window) return true;
    const double r      = std::pow(err / marked, 1.0 / count);
    double       lambda = beta > 0 ? (r > 1.02 * std::sqrt(beta) ? (r + beta / r - 1 + alpha - beta) / alpha : 0.0) : r;
    lambda              = PetscMin(lambda, 1 - 0.25 * (1 - rho));
    if (lambda > PetscMax(rho, 0.5)) {
      if (!(beta > 0)) {
        best  = err;
        saved = w->v;
      }
      rho                = lambda;
      const double sigma = rho / (2 - rho), omega = 2 / (1 + std::sqrt(1 - sigma * sigma));
      alpha = 2 * omega / (2 - rho);
      beta  = omega - 1;
    }
    Mark(err);
    return true;
  }
};

struct Sinkhorn {
  PetscBool accelerate = PETSC_TRUE;
};

} // namespace

/*
   The marginal error tested is that of (u_new, v): its rows are exact, its columns are the sums just computed. v is not updated after the
   test, so that what was tested is what is returned.
*/
PetscErrorCode SkeanTransportSolve_Sinkhorn(SkeanTransport t)
{
  Work            *w   = static_cast<Work *>(t->work);
  SkeanSolverBase *s   = &t->solver;
  const double     tol = SkeanTransportTarget_Private(t);
  PetscInt         it  = 0;
  const bool       on  = static_cast<Sinkhorn *>(t->data)->accelerate && t->rhor == PETSC_INFINITY && t->rhoc == PETSC_INFINITY;
  Sweeps           sweeps;
  Momentum         momentum(on);

  PetscFunctionBegin;
  sweeps.anderson.window = 8;
  if (on) PetscCall(sweeps.cells.SetUp(w->eng.get()));
  for (size_t level = 0; level < w->levels.size() && !s->reason; ++level) {
    const bool     last   = level + 1 == w->levels.size();
    const double   target = last ? tol : PetscMax(1e-2, tol);
    double         best   = PETSC_MAX_REAL;
    PetscInt       itbest = it;
    const PetscInt itend  = last ? s->max_it : PetscMin(it + 50, s->max_it);

    w->target = target;
    PetscCall(SkeanTransportSetLevel_Private(t, w->levels[level]));
    PetscCall(SkeanTransportPass_Private(t, NULL));
    momentum.Restart(w->err);
    sweeps.Restart();
    for (;;) {
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
      const bool spent = w->eng->passes + w->eng->keptpasses >= w->maxpasses;
      if (it >= itend || spent) {
        if (last || spent || it >= s->max_it) s->reason = SKEAN_DIVERGED_ITS;
        if (it < s->max_it) ++it;
        break;
      }
      ++it;
      if (sweeps.cells.Exists())
        PetscCall(sweeps.Next(t));
      else {
        PetscCall(momentum.Update(t, w->err));
        PetscCall(SkeanTransportPass_Private(t, NULL));
      }
    }
  }
  /* a tolerance met early on a level that was not the last one cannot happen: only the last sets a positive reason. If max_it ended an earlier
     level, potentials belong to that level, and say so */
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanTransportSetFromOptions_Sinkhorn(SkeanTransport t, SkeanOptionItems PetscOptionsObject)
{
  Sinkhorn *ctx = static_cast<Sinkhorn *>(t->data);

  PetscFunctionBegin;
  PetscOptionsHeadBegin(PetscOptionsObject, "SkeanTransport sinkhorn options");
  PetscCall(PetscOptionsBool("-transport_sinkhorn_accelerate", "Accelerate the iteration", "", ctx->accelerate, &ctx->accelerate, NULL));
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanTransportDestroy_Sinkhorn(SkeanTransport t)
{
  PetscFunctionBegin;
  delete static_cast<Sinkhorn *>(t->data);
  t->data = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   SKEANTRANSPORTSINKHORN - Sinkhorn's iteration in the log domain

   Options Database Key:
.  -transport_sinkhorn_accelerate <true> - accelerate the iteration

   Level: beginner

   Notes:
   Method:
   1. u_i = log r_i - LSE_j(v_j - C_ij/eps) and the column sums b of the plan, in one fused pass
   2. stop if |b - c|_1 is below the tolerance
   3. v_j = v_j + log c_j - log b_j, accelerated unless there are marginal penalties:
      clouds of points in up to eight dimensions, targets on every process: plus a Newton step for potentials that are constant on up to 1024 compact cells of
      targets, the two combined with those of the last iterations by Anderson's method; a plain sweep instead where that made both the dual and the
      marginal error worse. Passes skip what is below 1e-4 of the marginal error;
      others: by the Chebyshev iteration of second degree with the observed rate of convergence; from the best iterate again without it, should the error
      grow tenfold
   With epsilon reached in steps (`SkeanTransportSetScaling()`). Supports every cost, marginal penalties and truncation.

   Linear convergence; the number of iterations grows like 1/eps and worse, with momentum like its square root; with cells it hardly grows until the blur,
   the square root of epsilon for squared distances, is well below the size of a cell. Every process holds and factors a matrix of the cells, at most 8 MB,
   summed over the processes each time the error has fallen tenfold. Not for small epsilon: use `SKEANTRANSPORTSSNS`.

   References: Sinkhorn and Knopp, Pacific J. Math. 21 (1967); Anderson, J. ACM 12 (1965); Schmitzer, SIAM J. Sci. Comput. 41 (2019); Golub and Varga, Numer. Math. 3 (1961); Thibault,
   Chizat, Dossal and Papadakis, Algorithms 14 (2021).

.seealso: `SkeanTransportSetType()`, `SkeanTransportType`
M*/
SKEAN_INTERN PetscErrorCode SkeanTransportCreate_Sinkhorn(SkeanTransport t);
PetscErrorCode              SkeanTransportCreate_Sinkhorn(SkeanTransport t)
{
  PetscFunctionBegin;
  PetscCallCXX(t->data = new Sinkhorn());
  t->ops->solve          = SkeanTransportSolve_Sinkhorn;
  t->ops->setfromoptions = SkeanTransportSetFromOptions_Sinkhorn;
  t->ops->destroy        = SkeanTransportDestroy_Sinkhorn;
  PetscFunctionReturn(PETSC_SUCCESS);
}
