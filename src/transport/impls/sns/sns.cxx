/*
   Sparse Newton as published: Sinkhorn warm-up, then Newton on the dual in both potentials with the largest entries of the plan.

   Tang, Shavlovsky, Rahmanian, Tardini, Thekumparampil, Xiao and Ying, Accelerating Sinkhorn algorithm with sparse Newton iterations,
   arXiv:2401.12253. Maximises D(u,v) = r.u + c.v - 1'P1 (in units of epsilon). No shift, no steps in epsilon; what the paper leaves open is
   chosen as: diagonals from the full plan, the k largest entries of P counted over P, Armijo backtracking with constants 1e-4 and 1/2.
   Two passes per step (gradient and entries) and one per backtracking.
*/
#include "../newton/newton.hpp"
#include <skean/private/reduce.hpp>
#include <algorithm>

using namespace skean;
using skean::transport::Engine;
using skean::transport::Keep;
using skean::transport::NewtonSystem;
using skean::transport::Work;

namespace {
struct SNS {
  PetscInt     warmup = 20;  /* N1 */
  PetscReal    keep   = 2.0; /* lambda n: entries kept per source */
  double       thr    = 0;   /* threshold of the last step */
  NewtonSystem system;
};
} // namespace

/* gradient, error and value at (u,v) */
static PetscErrorCode Evaluate(Work *w)
{
  Engine *e    = w->eng.get();
  double  s[4] = {0, 0, 0, 0};

  PetscFunctionBegin;
  PetscCall(e->Marginals(1.0 / w->epsnow, w->u.data(), w->v.data(), w->a.data(), w->b.data(), NULL));
  w->umax = 0;
  for (PetscInt i = 0; i < e->n; ++i) {
    s[0] += std::fabs(w->a[i] - w->r[i]);
    s[1] += (w->a[i] - w->r[i]) * (w->a[i] - w->r[i]);
    s[2] += w->r[i] * w->u[i] - w->a[i];
    w->umax = PetscMax(w->umax, std::fabs(w->u[i]));
  }
  for (PetscInt j = 0; j < e->mloc; ++j) {
    s[0] += std::fabs(w->b[j] - w->c[j]);
    s[1] += (w->b[j] - w->c[j]) * (w->b[j] - w->c[j]);
    s[2] += w->c[j] * w->v[j];
    w->umax = PetscMax(w->umax, std::fabs(w->v[j]));
  }
  PetscCall(AllreduceSum(e->comm, s, 3));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &w->umax, 1, MPI_DOUBLE, MPI_MAX, e->comm));
  w->err  = s[0];
  w->g2   = std::sqrt(s[1]);
  w->dual = s[2];
  w->bad  = !std::isfinite(s[0]) || !std::isfinite(s[2]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The k largest entries of the plan: collect above a guess, then bisect the threshold on what was collected */
static PetscErrorCode Largest(SkeanTransport t, SNS *ctx, PetscInt64 k, Keep *keep)
{
  Work      *w = static_cast<Work *>(t->work);
  Engine    *e = w->eng.get();
  PetscInt64 count;
  double     thr = ctx->thr > 0 ? ctx->thr / 4 : 0.1 / PetscMax(e->nglobal, e->m);

  PetscFunctionBegin;
  for (int tries = 0; tries < 60; ++tries) {
    keep->thr = thr;
    PetscCall(e->Entries(1.0 / w->epsnow, w->u.data(), w->v.data(), keep));
    count = static_cast<PetscInt64>(keep->i.size());
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &count, 1, MPIU_INT64, MPI_SUM, e->comm));
    int over = keep->overflow ? 1 : 0;
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &over, 1, MPI_INT, MPI_MAX, e->comm));
    if (over)
      thr *= 3;
    else if (count >= k || thr < 1e-250)
      break;
    else
      thr *= thr > 1e-12 ? 0.1 : 1e-6;
  }
  double lo = std::log(thr), hi = 1.0;
  for (int b = 0; b < 60 && count > k; ++b) {
    const double mid = 0.5 * (lo + hi), cut = std::exp(mid);
    PetscInt64   n = 0;
    for (double p : keep->p) n += p > cut;
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &n, 1, MPIU_INT64, MPI_SUM, e->comm));
    if (n >= k)
      lo = mid;
    else
      hi = mid;
  }
  ctx->thr = std::exp(lo);
  keep->Raise(ctx->thr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanTransportSolve_SNS(SkeanTransport t)
{
  SNS                *ctx = static_cast<SNS *>(t->data);
  Work               *w   = static_cast<Work *>(t->work);
  Engine             *e   = w->eng.get();
  SkeanSolverBase    *s   = &t->solver;
  const double        tol = SkeanTransportTarget_Private(t);
  Keep                keep;
  PetscInt            it = 0, since = 0;
  double              best = PETSC_MAX_REAL;
  std::vector<double> gu, gv, du, dv, u0, v0;

  PetscFunctionBegin;
  PetscCheck(t->rhor == PETSC_INFINITY && t->rhoc == PETSC_INFINITY, PetscObjectComm((PetscObject)t), PETSC_ERR_SUP,
             "SkeanTransport type sns does not support marginal penalties; use type sinkhorn");
  PetscCheck(e->HasEntries(), PetscObjectComm((PetscObject)t), PETSC_ERR_SUP,
             "SkeanTransport type sns does not support separable grids; use type ssns or sinkhorn");
  PetscCallCXX(gu.resize(w->u.size()));
  PetscCallCXX(du.resize(w->u.size()));
  PetscCallCXX(gv.resize(w->v.size()));
  PetscCallCXX(dv.resize(w->v.size()));
  keep.cap = static_cast<size_t>(PetscMax(1e6, 20 * ctx->keep * PetscMax(e->n, e->mloc)));
  ctx->thr = 0;
  PetscCall(ctx->system.Reset()); /* the engine may be another */
  PetscCall(SkeanTransportSetLevel_Private(t, w->eps));
  for (; it <= ctx->warmup && it <= s->max_it; ++it) {
    PetscCall(SkeanTransportPass_Private(t, NULL));
    PetscCall(SkeanSolverMonitor_Private((PetscObject)t, s, it, w->err));
    if (w->bad)
      s->reason = SKEAN_DIVERGED_NANORINF;
    else if (w->err <= tol)
      s->reason = s->rtol >= s->atol / w->massr ? SKEAN_CONVERGED_RTOL : SKEAN_CONVERGED_ATOL;
    if (s->reason) PetscFunctionReturn(PETSC_SUCCESS);
    PetscCall(SkeanTransportUpdateV_Private(t));
  }
  PetscCall(Evaluate(w));
  for (;; ++it) {
    PetscCall(SkeanSolverMonitor_Private((PetscObject)t, s, it, w->err));
    if (w->bad)
      s->reason = SKEAN_DIVERGED_NANORINF;
    else if (w->err <= tol)
      s->reason = s->rtol >= s->atol / w->massr ? SKEAN_CONVERGED_RTOL : SKEAN_CONVERGED_ATOL;
    else if (it >= s->max_it || w->eng->passes + w->eng->keptpasses >= w->maxpasses)
      s->reason = SKEAN_DIVERGED_ITS;
    if (w->err < 0.95 * best) {
      best  = w->err;
      since = 0;
    } else
      ++since;
    if (!s->reason && since >= 12 && w->err < 20 * SkeanTransportFloor_Private(t)) s->reason = SKEAN_DIVERGED_ROUNDING_FLOOR;
    if (!s->reason && since >= 400) s->reason = SKEAN_DIVERGED_STAGNATION;
    if (s->reason) PetscFunctionReturn(PETSC_SUCCESS);
    PetscCall(Largest(t, ctx, static_cast<PetscInt64>(std::ceil(ctx->keep * e->nglobal)), &keep));
    for (PetscInt i = 0; i < e->n; ++i) gu[i] = w->r[i] - w->a[i];
    for (PetscInt j = 0; j < e->mloc; ++j) gv[j] = w->c[j] - w->b[j];
    PetscInt kits;
    bool     ok;
    PetscCall(ctx->system.Solve(t, keep, 0.0, 1, 1e-10, gu.data(), gv.data(), du.data(), dv.data(), &kits, &ok));
    t->maxksp = PetscMax(t->maxksp, kits);
    double gd = 0;
    for (PetscInt i = 0; i < e->n; ++i) gd += gu[i] * du[i];
    for (PetscInt j = 0; j < e->mloc; ++j) gd += gv[j] * dv[j];
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &gd, 1, MPI_DOUBLE, MPI_SUM, e->comm));
    if (!(gd > 0)) {
      s->reason = SKEAN_DIVERGED_LINEAR_SOLVE;
      PetscFunctionReturn(PETSC_SUCCESS);
    }
    PetscCallCXX(u0 = w->u);
    PetscCallCXX(v0 = w->v);
    const double dual0 = w->dual, err0 = w->err;
    bool         accepted = false;
    for (double step = 1.0; step > 1e-8 && !accepted; step *= 0.5) {
      for (PetscInt i = 0; i < e->n; ++i) w->u[i] = u0[i] + step * du[i];
      for (PetscInt j = 0; j < e->mloc; ++j) w->v[j] = v0[j] + step * dv[j];
      PetscCall(Evaluate(w));
      const bool noise = gd < 1e-13 * PetscMax(1.0, PetscAbsReal(dual0) + w->umax);
      accepted         = !w->bad && (noise ? w->err < err0 : w->dual >= dual0 + 1e-4 * step * gd);
    }
    if (!accepted) {
      w->u = u0;
      w->v = v0;
      PetscCall(Evaluate(w));
      s->reason = w->err < 100 * SkeanTransportFloor_Private(t) ? SKEAN_DIVERGED_ROUNDING_FLOOR : SKEAN_DIVERGED_LINE_SEARCH;
      PetscFunctionReturn(PETSC_SUCCESS);
    }
  }
}

static PetscErrorCode SkeanTransportReset_SNS(SkeanTransport t)
{
  PetscFunctionBegin;
  PetscCall(static_cast<SNS *>(t->data)->system.Reset());
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanTransportDestroy_SNS(SkeanTransport t)
{
  PetscFunctionBegin;
  PetscCall(SkeanTransportReset_SNS(t));
  delete static_cast<SNS *>(t->data);
  t->data = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanTransportSetFromOptions_SNS(SkeanTransport t, SkeanOptionItems PetscOptionsObject)
{
  SNS *ctx = static_cast<SNS *>(t->data);

  PetscFunctionBegin;
  PetscOptionsHeadBegin(PetscOptionsObject, "SkeanTransport sns options");
  PetscCall(PetscOptionsInt("-transport_sns_warmup", "Sinkhorn steps before Newton", "", ctx->warmup, &ctx->warmup, NULL));
  PetscCall(PetscOptionsReal("-transport_sns_keep", "Entries kept per source", "", ctx->keep, &ctx->keep, NULL));
  PetscCheck(ctx->warmup >= 0 && ctx->keep > 0, PetscObjectComm((PetscObject)t), PETSC_ERR_ARG_OUTOFRANGE, "The parameters of type sns must be positive");
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanTransportView_SNS(SkeanTransport t, PetscViewer viewer)
{
  const SNS *ctx = static_cast<SNS *>(t->data);

  PetscFunctionBegin;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  %" PetscInt_FMT " Sinkhorn steps, then %g entries per source\n", ctx->warmup, (double)ctx->keep));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   SKEANTRANSPORTSNS - Sparse Newton with a fixed number of kept entries, as published

   Options Database Keys:
+  -transport_sns_warmup <20> - Sinkhorn steps before Newton
-  -transport_sns_keep <2>    - entries of the plan kept per source (lambda n in the paper)

   Level: intermediate

   Notes:
   Method:
   1. Sinkhorn steps at the target epsilon
   2. the largest entries of the plan, with exact diagonals, as Hessian; CG (Jacobi) to 1e-10
   3. backtracking until the dual increases enough
   For comparison with the literature; `SKEANTRANSPORTSSNS` needs no choice of warm-up and fill. No marginal penalties, no separable grids.

   References: Tang, Shavlovsky, Rahmanian, Tardini, Thekumparampil, Xiao and Ying, arXiv:2401.12253, ICLR 2024.

.seealso: `SkeanTransportSetType()`, `SKEANTRANSPORTSSNS`
M*/
SKEAN_INTERN PetscErrorCode SkeanTransportCreate_SNS(SkeanTransport t);
PetscErrorCode              SkeanTransportCreate_SNS(SkeanTransport t)
{
  PetscFunctionBegin;
  PetscCallCXX(t->data = new SNS());
  t->ops->solve          = SkeanTransportSolve_SNS;
  t->ops->setfromoptions = SkeanTransportSetFromOptions_SNS;
  t->ops->view           = SkeanTransportView_SNS;
  t->ops->reset          = SkeanTransportReset_SNS;
  t->ops->destroy        = SkeanTransportDestroy_SNS;
  PetscFunctionReturn(PETSC_SUCCESS);
}
