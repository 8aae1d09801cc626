/*
   Safeguarded sparse Newton on the semi-dual, with epsilon reached in steps.

   The unknown is v alone: the fused pass gives u(v), the row potentials that make the rows of the plan exact, so the function minimised is
   F(v) = -(r.u(v) + c.v) (in units of epsilon, with the constant mass left out), convex, finite everywhere, with gradient b - c and Hessian
   diag(b) - P'diag(1/r)P. The Newton step is taken from the full system with the bipartite Laplacian, whose Schur complement that Hessian is, with P
   replaced by its entries above a threshold that falls with the gradient (Tang and Qiu, NeurIPS 2024: the mass rule), diagonals exact, and a shift.

   Per Newton step: one pass for the trial point, one for the Sinkhorn sweep after it, which also collects the entries for the next system; where
   Newton converges fast the trial point's pass collects them and there is no sweep.
*/
#include "../newton/newton.hpp"
#include "../accelerate/sweeps.hpp"
#include <algorithm>

using skean::transport::Engine;
using skean::transport::Keep;
using skean::transport::NewtonSystem;
using skean::transport::Noise;
using skean::transport::Saved;
using skean::transport::Sweeps;
using skean::transport::Work;

namespace {
constexpr double kLargeSystem = 6e6, kLargeFill = 20; /* above so many entries in all a system has no more than so many per unknown */
constexpr double kMostDropped = 0.02;                 /* an entry that is dropped, relative to the mean mass of a row */

struct SSNS {
  PetscReal    delta  = 0.01;  /* mass dropped in a row or column, relative to |g|_2 */
  PetscReal    mu0    = 1.0;   /* first weight of the shift mu |g|_2 */
  PetscReal    fill   = 150.0; /* entries kept per unknown; above: no sparse system */
  PetscInt     warmup = 8;     /* sweeps on the first and the last level before Newton's method is considered */
  PetscReal    level  = 1e-2;  /* marginal error at which a level that is not the last ends */
  PetscInt     direct = 2500;  /* unknowns of a Newton system, after elimination, that process 0 solves */
  NewtonSystem system;
  Sweeps       accelerated;
};

} // namespace

/*
   Leaves what lies above the mass rule's threshold thr, and raises it by factors of two until no more than fill entries remain in all; over: even the
   highest threshold leaves too many. The pass that collected the entries may have raised the threshold on some process already, where there were more than
   most: from what all have together it is raised as if one process had seen them, so that it does not depend on how many there are.
*/
static PetscErrorCode Thin(const Engine *e, Keep *keep, double thr, PetscInt64 most, PetscInt64 fill, bool *over)
{
  double raised[2] = {keep->thr, keep->overflow ? 1.0 : 0.0};
  auto   count     = [&](double above, PetscInt64 *n) {
    PetscFunctionBegin;
    *n = 0;
    for (double p : keep->p) *n += p > above;
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, n, 1, MPIU_INT64, MPI_SUM, e->comm));
    PetscFunctionReturn(PETSC_SUCCESS);
  };
  PetscInt64 n;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, raised, 2, MPI_DOUBLE, MPI_MAX, e->comm));
  double at = raised[0];
  *over     = raised[1] > 0;
  if (*over) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(count(at, &n));
  while (n > most && 2 * at <= keep->top) {
    at *= 2;
    PetscCall(count(at, &n));
  }
  if (at < thr) {
    at = thr;
    PetscCall(count(at, &n));
  }
  while (n > fill && 2 * at <= keep->top) {
    at *= 2;
    PetscCall(count(at, &n));
  }
  *over = n > fill;
  if (at > keep->thr) keep->Raise(at);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static constexpr double kSparse = 0.1; /* part of all pairs */

/* What Newton's method will cost to reach the target, in passes over the whole cost: a handful of steps on the last level, a few before. Counted from the
   numbers of unknowns and entries alone, so that every process and every run decides alike. fill: entries that a system may have; sparse: whether the plan is */
static double NewtonCost(const SSNS *ctx, const Engine *e, bool last, PetscInt64 fill, bool *sparse)
{
  const double n = e->nglobal, m = e->m, pairs = n * m, steps = last ? 6 : 2, heavy = e->HeavyEntries();
  double       entries = PetscMin(pairs, 20 * (n + m)), system;

  if (heavy > 0)
    entries = heavy;
  else if (ctx->system.total > 0)
    entries = static_cast<double>(ctx->system.total);
  /* in operations that take as long as one entry of a pass: those of BLAS-3 are fifty times as fast; a multigrid hierarchy and its use cost about 200 per entry
     and 2000 per unknown, a factor serves two systems, CG without a matrix takes dozens of passes. Large systems with too many entries are thinned */
  const bool matrixfree = !e->HasEntries() || (entries > static_cast<double>(fill) && ctx->system.small.Fits(e));
  *sparse               = !matrixfree && entries <= kSparse * pairs;
  if (matrixfree)
    system = 40 * pairs * e->PassCost();
  else if (ctx->system.small.Fits(e) && ctx->system.small.Pays(e, static_cast<PetscInt64>(entries))) {
    const double k = PetscMin(n, m), form = PetscMin(0.02 * pairs * k, 0.5 * entries * entries / PetscMax(n, m));
    system = (0.5 + 1 / steps) * (form + 0.02 * k * k * k / 3) + 30 * entries;
  } else
    system = 200 * PetscMin(entries, static_cast<double>(fill)) + 2000 * (n + m);
  return steps * (system / pairs + 3 * e->PassCost());
}

/* Whether the rate of the last sweeps promises the target for less than Newton's method costs: half of them, but at least eight since the rate of accelerated
   ones comes and goes. Where the plan is sparse Newton's steps are few and their number is certain, so that more than two dozen sweeps have to be far cheaper. Half of what has been
   spent counts, so that promises that are not kept come to an end */
static bool SweepsPay(const SSNS *ctx, const Engine *e, const std::vector<double> &errors, double target, bool last, PetscInt64 fill)
{
  constexpr double kFew = 24, kTie = 0.35;
  bool             sparse;
  const double     cost = NewtonCost(ctx, e, last, fill, &sparse);
  const size_t     done = errors.size() - 1, over = PetscMin(done, PetscMax(size_t(8), done / 2));
  const double rate = std::pow(errors[done] / errors[done - over], 1.0 / static_cast<double>(over)), left = std::log(target / errors[done]) / std::log(rate);

  return rate < 1 && e->PassCost() * (0.5 * static_cast<double>(done) + left) < (sparse && left > kFew ? kTie * cost : cost);
}

static PetscErrorCode SkeanTransportSolve_SSNS(SkeanTransport t)
{
  SSNS               *ctx     = static_cast<SSNS *>(t->data);
  Work               *w       = static_cast<Work *>(t->work);
  Engine             *e       = w->eng.get();
  SkeanSolverBase    *s       = &t->solver;
  const double        tol     = SkeanTransportTarget_Private(t);
  const double        big     = PetscMax(1.0, static_cast<double>(PetscMax(e->nglobal, e->m)));
  const bool          entries = e->HasEntries();
  PetscInt            it      = 0;
  Keep                keep;
  Saved               old;
  std::vector<double> g, dv, errors;
  double              mu = ctx->mu0;

  PetscFunctionBegin;
  PetscCheck(t->rhor == PETSC_INFINITY && t->rhoc == PETSC_INFINITY, PetscObjectComm((PetscObject)t), PETSC_ERR_SUP,
             "SkeanTransport type ssns does not support marginal penalties; use type sinkhorn");
  PetscCallCXX(g.resize(w->v.size()));
  PetscCallCXX(dv.resize(w->v.size()));
  /* the decision is made on the total, so that it is the same for any number of processes; the local limit only protects the memory */
  const double unknowns = static_cast<double>(e->nglobal) + e->m;
  PetscInt64   fill     = static_cast<PetscInt64>(PetscMin(ctx->fill * unknowns, PetscMax(kLargeSystem, kLargeFill * unknowns)) + 1000);
  const double pairs    = static_cast<double>(e->nglobal) * e->m;
  size_t       all      = 0;

  PetscCall(ctx->system.Reset()); /* the engine may be another; what a solve computes does not depend on the one before */
  ctx->system.small.limit = t->kspuser ? 0 : ctx->direct;
  ctx->system.total       = 0;
  ctx->system.reuse       = true;
  /* up to here, Cholesky of the whole Schur complement costs less than the passes of a solve without a matrix */
  if (ctx->system.small.Fits(e) && PetscMin(e->nglobal, e->m) <= 1000) {
    fill = PetscMax(fill, static_cast<PetscInt64>(pairs));
    all  = static_cast<size_t>(e->n) * static_cast<size_t>(e->m);
  }
  const PetscInt64 most = fill + fill / 4;
  keep.cap = PetscMax(all, static_cast<size_t>(PetscMin(most, static_cast<PetscInt64>(16 * ctx->fill * (static_cast<double>(e->n) + e->mloc) + 1000))));
  for (size_t lev = 0; lev < w->levels.size() && !s->reason; ++lev) {
    const bool   last      = lev + 1 == w->levels.size();
    const double target    = last ? tol : PetscMax(ctx->level, tol);
    double       best      = PETSC_MAX_REAL;
    PetscInt     sincebest = 0, sweeps = !lev || last ? ctx->warmup : 1;
    bool         opening = true;  /* the first sweeps of the level */
    bool         have    = false; /* keep holds the entries at w->v */
    double       lump    = 0;     /* > 0: threshold of systems whose diagonals have lost what was dropped */
    /* a pass that collects entries does so before the gradient that the threshold is relative to is known: a fraction of the last one's */
    auto collect = [&](double fraction) {
      const double need = 0.1 * target / std::sqrt(static_cast<double>(PetscMax(e->m, 1))); /* no tighter than the target needs */
      keep.Start(PetscMax(ctx->delta * PetscMax(fraction * w->g2, need) / big, 0.5 * lump), kMostDropped / big);
      have = entries;
      return entries ? &keep : NULL;
    };
    /* collecting is worth it in advance only if few entries pass */
    auto sparse = [&] { return entries && ctx->system.total > 0 && static_cast<double>(ctx->system.total) < 0.1 * pairs; };

    w->target = target;
    PetscCall(SkeanTransportSetLevel_Private(t, w->levels[lev]));
    PetscCall(SkeanTransportPass_Private(t, NULL));
    mu = PetscMin(mu, ctx->mu0);
    ctx->accelerated.Restart();
    errors.assign(1, w->err);
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
      if (w->err < 0.95 * best) {
        best      = w->err;
        sincebest = 0;
      } else
        ++sincebest;
      const double floor = SkeanTransportFloor_Private(t);
      if (last && !opening && sincebest >= 12 && w->err < 20 * floor) {
        s->reason = SKEAN_DIVERGED_ROUNDING_FLOOR;
        break;
      }
      if (last && sincebest >= 400) {
        s->reason = SKEAN_DIVERGED_STAGNATION;
        break;
      }
      if (it >= s->max_it || e->passes + e->keptpasses >= w->maxpasses) {
        s->reason = SKEAN_DIVERGED_ITS;
        break;
      }
      ++it;
      /* sweeps: at the start of a level, and as long as their rate promises the target at less than what Newton's method will cost */
      if (sweeps > 0) {
        PetscCall(ctx->accelerated.Next(t));
        have = false;
        PetscCallCXX(errors.push_back(w->err));
        if (--sweeps == 0 && SweepsPay(ctx, e, errors, target, last, fill)) sweeps = 1;
        if (!sweeps && opening) {
          opening   = false;
          sincebest = 0; /* what sweeps did not reach says nothing of Newton's method */
        }
        continue;
      }
      /* the system */
      const double need  = 0.1 * target / std::sqrt(static_cast<double>(PetscMax(e->m, 1)));
      const double thr   = ctx->delta * PetscMax(w->g2, need) / big;
      const double shift = PetscMin(w->epsnow / w->cmax, 1.0) * mu * w->g2;
      const double krtol = PetscMax(1e-10, PetscMin(0.1, 0.1 * std::sqrt(w->err)));
      PetscInt     kits  = 0;
      bool         ok    = false;
      if (entries) {
        if (!have || keep.asked > PetscMax(4 * thr, lump)) PetscCall(SkeanTransportPass_Private(t, collect(1.0)));
        bool over;
        PetscCall(Thin(e, &keep, thr, most, fill, &over));
        const bool beyond = over || keep.thr > 16 * thr, small = ctx->system.small.Fits(e);
        over               = over || (beyond && small);
        ctx->system.lumped = beyond && !over;
        if (beyond) lump = over ? 0.0 : keep.thr;
        for (PetscInt j = 0; j < e->mloc; ++j) g[j] = w->c[j] - w->b[j];
        if (!over) {
          PetscCall(ctx->system.Solve(t, keep, shift, 3, krtol, NULL, g.data(), NULL, dv.data(), &kits, &ok));
          t->maxksp = PetscMax(t->maxksp, kits);
        }
        have = false;
      }
      if (!ok) {
        for (PetscInt j = 0; j < e->mloc; ++j) g[j] = w->c[j] - w->b[j];
        PetscCall(ctx->system.SolveMatrixFree(t, shift, PetscMax(1e-4, krtol), 60, g.data(), dv.data(), &kits, &ok));
      }
      if (!ok) { /* no direction: sweeps, and a larger shift */
        mu *= 4;
        sweeps = 4;
        ctx->accelerated.Restart();
        errors.assign(1, w->err);
        continue;
      }
      /* the step */
      double gd[1] = {0};
      for (PetscInt j = 0; j < e->mloc; ++j) gd[0] += g[j] * dv[j];
      PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, gd, 1, MPI_DOUBLE, MPI_SUM, e->comm));
      old.Save(w);
      static const double steps[]  = {1.0, 0.5, 0.25, 0.1};
      bool                accepted = false;
      double              ratio    = 0;
      have                         = false;
      for (double step : steps) {
        for (PetscInt j = 0; j < e->mloc; ++j) w->v[j] = old.v[j] + step * dv[j];
        PetscCall(SkeanTransportPass_Private(t, step == 1.0 && old.err < 0.05 && sparse() ? collect(0.05) : NULL));
        const double pred = gd[0] * (step - 0.5 * step * step), gain = w->dual - old.dual;
        const bool   noise = pred < Noise(w, old);
        if (!w->bad && (noise ? w->err < old.err : gain > 0)) {
          accepted = true;
          ratio    = noise ? 1.0 : gain / pred;
          break;
        }
        have = false;
        if (noise) break;
      }
      if (!accepted) {
        old.Restore(w);
        mu *= 4;
        sweeps = 1;
        ctx->accelerated.Restart();
        errors.assign(1, w->err);
        continue;
      }
      if (ratio < 0.25)
        mu *= 4;
      else if (ratio > 0.75)
        mu = PetscMax(mu / 2, 1e-3);
      if (w->err <= target) continue;
      /* where Newton converges fast the entries just collected are those of the next system; otherwise a sweep first, which collects them */
      if (have && ratio > 0.75 && w->err < 0.1 * old.err && keep.thr <= 4 * ctx->delta * w->g2 / big) continue;
      PetscCall(SkeanTransportUpdateV_Private(t));
      PetscCall(SkeanTransportPass_Private(t, collect(1.0)));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanTransportReset_SSNS(SkeanTransport t)
{
  PetscFunctionBegin;
  PetscCall(static_cast<SSNS *>(t->data)->system.Reset());
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanTransportDestroy_SSNS(SkeanTransport t)
{
  PetscFunctionBegin;
  PetscCall(SkeanTransportReset_SSNS(t));
  delete static_cast<SSNS *>(t->data);
  t->data = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanTransportSetFromOptions_SSNS(SkeanTransport t, SkeanOptionItems PetscOptionsObject)
{
  SSNS *ctx = static_cast<SSNS *>(t->data);

  PetscFunctionBegin;
  PetscOptionsHeadBegin(PetscOptionsObject, "SkeanTransport ssns options");
  PetscCall(PetscOptionsReal("-transport_ssns_delta", "Mass dropped in a row or column, relative to the gradient", "", ctx->delta, &ctx->delta, NULL));
  PetscCall(PetscOptionsReal("-transport_ssns_shift", "First weight of the shift", "", ctx->mu0, &ctx->mu0, NULL));
  PetscCall(PetscOptionsReal("-transport_ssns_fill", "Entries kept per unknown", "", ctx->fill, &ctx->fill, NULL));
  PetscCall(PetscOptionsReal("-transport_ssns_level", "Marginal error that ends a level before the last", "", ctx->level, &ctx->level, NULL));
  PetscCall(PetscOptionsInt("-transport_ssns_warmup", "Sweeps on a level before Newton's method", "", ctx->warmup, &ctx->warmup, NULL));
  PetscCall(PetscOptionsInt("-transport_ssns_direct", "Unknowns of a Newton system that one process solves", "", ctx->direct, &ctx->direct, NULL));
  /* who asks for a linear solver gets it, for systems of every size */
  for (const char *name : {"-transport_ksp_type", "-transport_pc_type"}) {
    PetscBool set;
    PetscCall(PetscOptionsHasName(((PetscObject)t)->options, ((PetscObject)t)->prefix, name, &set));
    if (set) t->kspuser = PETSC_TRUE;
  }
  PetscCheck(ctx->direct >= 0 && ctx->delta > 0 && ctx->mu0 > 0 && ctx->fill > 0 && ctx->level > 0 && ctx->warmup >= 0, PetscObjectComm((PetscObject)t),
             PETSC_ERR_ARG_OUTOFRANGE, "The parameters of type ssns must be positive");
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanTransportView_SSNS(SkeanTransport t, PetscViewer viewer)
{
  const SSNS *ctx = static_cast<SSNS *>(t->data);

  PetscFunctionBegin;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  mass rule %g, first shift %g, at most %g entries per unknown, %" PetscInt_FMT " warm-up sweeps\n",
                                   (double)ctx->delta, (double)ctx->mu0, (double)ctx->fill, ctx->warmup));
  if (t->solver.state == SKEAN_STATE_SOLVED)
    PetscCall(PetscViewerASCIIPrintf(viewer, "  most entries kept %" PetscInt_FMT ", most inner iterations %" PetscInt_FMT "\n", t->nnzkept, t->maxksp));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   SKEANTRANSPORTSSNS - Safeguarded sparse Newton (the default)

   Options Database Keys:
+  -transport_ssns_delta <0.01> - mass that may be dropped in a row or column, relative to the l2 norm of the gradient
.  -transport_ssns_shift <1>    - first weight of the shift
.  -transport_ssns_fill <150>   - entries kept per unknown, no more than 20 where that makes more than 6e6 in all; above, more mass is dropped
.  -transport_ssns_level <0.01> - marginal error that ends a level of epsilon before the last
.  -transport_ssns_warmup <8>   - sweeps on the first and the last level before Newton's method is considered
-  -transport_ssns_direct <2500> - Newton systems whose smaller side has at most so many unknowns are solved on process 0 where a
                   factorisation is not dearer than multigrid (always up to 800); 0: none

   Level: beginner

   Notes:
   Method, on each level of epsilon:
   1. Sinkhorn sweeps, accelerated by Anderson's method, as long as their rate promises the target at less than the cost of Newton steps, which is
      estimated from the number of entries of the plan that count; at about a third of it for more than two dozen sweeps, where these entries are less than a
      tenth of all pairs. Where the plan is dense sweeps alone usually reach the target
   2. entries of the plan above delta |g|_2/max(n,m) form a sparse bipartite Laplacian; its diagonals are exact; shift mu |g|_2 eps/max(C). Where this leaves
      too many, the threshold rises to what leaves few enough, up to 2 % of the mean mass of a row, and the diagonals lose what was dropped, so that constants
      stay in the null space and slow modes stay slow: convergence is then linear, at the rate of the part dropped
   3. CG to a tolerance that falls with the gradient; preconditioned with algebraic multigrid, or for small systems, after elimination of the larger
      side, with the first of these that needs few iterations: the Cholesky factor of an earlier system, the diagonal, the factor of this one. A linear
      solver that was chosen (-transport_ksp_type, -transport_pc_type, `SkeanTransportGetKSP()`) is used for systems of every size. With too many
      entries even so, and on grids, CG on the exact Hessian, one pass per product
   4. the first of the steps 1, 1/2, 1/4, 1/10 that increases the dual; where the increase is below rounding, one that reduces the marginal error
   5. mu by the ratio of actual and predicted increase; one Sinkhorn sweep, unless the step reduced the marginal error tenfold
   Marginal penalties are not supported.

   References: Tang and Qiu, Safe and sparse Newton method for entropic-regularized optimal transport, NeurIPS 2024; Tang, Shavlovsky, Rahmanian,
   Tardini, Thekumparampil, Xiao and Ying, arXiv:2401.12253.

.seealso: `SkeanTransportSetType()`, `SKEANTRANSPORTSNS`, `SkeanTransportGetKSP()`
M*/
SKEAN_INTERN PetscErrorCode SkeanTransportCreate_SSNS(SkeanTransport t);
PetscErrorCode              SkeanTransportCreate_SSNS(SkeanTransport t)
{
  PetscFunctionBegin;
  PetscCallCXX(t->data = new SSNS());
  t->ops->solve          = SkeanTransportSolve_SSNS;
  t->ops->setfromoptions = SkeanTransportSetFromOptions_SSNS;
  t->ops->view           = SkeanTransportView_SSNS;
  t->ops->reset          = SkeanTransportReset_SSNS;
  t->ops->destroy        = SkeanTransportDestroy_SSNS;
  PetscFunctionReturn(PETSC_SUCCESS);
}
