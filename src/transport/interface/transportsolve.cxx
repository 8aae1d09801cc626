/* The driver of a solve, the fused pass, and what is read off the answer */
#include <skean/private/transportimpl.h>
#include <skean/private/reduce.hpp>
#include "../kernels/transportkernels.hpp"
#include <algorithm>

using namespace skean;
using namespace skean::transport;

/* sums of values over the processes and, in the same call, whether one of them is not finite */
static PetscErrorCode SumAll(MPI_Comm comm, double *x, size_t n, bool *bad)
{
  PetscFunctionBegin;
  PetscCall(AllreduceSum(comm, x, n));
  *bad = false;
  for (size_t i = 0; i < n; ++i) *bad = *bad || !std::isfinite(x[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanTransportPass_Private(SkeanTransport t, Keep *keep)
{
  Work        *w    = static_cast<Work *>(t->work);
  Engine      *e    = w->eng.get();
  const double inv  = 1.0 / w->epsnow;
  double       s[5] = {0, 0, 0, 0, 0}, big[2] = {0, 0};
  const bool   relaxed = t->rhoc != PETSC_INFINITY;

  PetscFunctionBegin;
  PetscCall(PetscLogEventBegin(SKEAN_Transport_Pass, t, 0, 0, 0));
  w->lamr = t->rhor == PETSC_INFINITY ? 1.0 : t->rhor / (t->rhor + w->epsnow);
  w->lamc = t->rhoc == PETSC_INFINITY ? 1.0 : t->rhoc / (t->rhoc + w->epsnow);
  /* kept rows were rounded at other potentials: their errors, of the size of the rounding floor, do not average out over the iterations */
  e->exact   = w->err > 0 && w->err < 1000 * SkeanTransportFloor_Private(t);
  e->wanted  = w->target;
  e->reached = w->err;
  PetscCall(e->Fused(inv, w->lamr, w->v.data(), w->u.data(), w->a.data(), w->lb.data(), keep));
  ExpOf(e->mloc, w->lb.data(), w->b.data());
  for (PetscInt j = 0; j < e->mloc; ++j) {
    const double target = relaxed ? w->c[j] * std::exp(-(w->epsnow / t->rhoc) * (w->v[j] - w->logc[j])) : w->c[j];
    const double d      = w->b[j] - target;
    s[0] += std::fabs(d);
    s[1] += d * d;
    s[2] += w->c[j] * w->v[j];
    big[0] = PetscMax(big[0], std::fabs(w->v[j]));
  }
  for (PetscInt i = 0; i < e->n; ++i) {
    if (t->rhor == PETSC_INFINITY) s[3] += std::fabs(w->a[i] - w->r[i]);
    s[2] += w->r[i] * w->u[i];
    big[0] = PetscMax(big[0], std::fabs(w->u[i]));
  }
  PetscCall(SumAll(e->comm, s, 4, &w->bad));
  big[1] = e->KeptError(); /* the same but for rounding on processors that differ */
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, big, 2, MPI_DOUBLE, MPI_MAX, e->comm));
  w->umax    = big[0];
  w->kepterr = big[1];
  w->err     = s[0] + s[3] + w->kepterr; /* never less than it is */
  w->g2      = std::sqrt(s[1]);
  w->dual    = s[2];
  if (w->kepterr > 0.5 * w->target && w->err < 10 * w->kepterr) { /* this precision does not carry further: once more, from the costs */
    e->KeepAnew();
    if (keep) keep->Start(keep->asked, keep->top);
    PetscCall(SkeanTransportPass_Private(t, keep));
  }
  PetscCall(PetscLogEventEnd(SKEAN_Transport_Pass, t, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanTransportUpdateV_Private(SkeanTransport t)
{
  Work *w = static_cast<Work *>(t->work);

  PetscFunctionBegin;
  for (PetscInt j = 0; j < w->eng->mloc; ++j) w->v[j] = w->logc[j] + w->lamc * (w->v[j] - w->lb[j]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* potentials in the units of the cost stay as they are, in the KL convention (in which they converge as epsilon falls) */
PetscErrorCode SkeanTransportSetLevel_Private(SkeanTransport t, PetscReal eps)
{
  Work        *w = static_cast<Work *>(t->work);
  const double q = w->epsnow / eps;

  PetscFunctionBegin;
  for (PetscInt j = 0; j < w->eng->mloc; ++j) w->v[j] = w->logc[j] + q * (w->v[j] - w->logc[j]);
  for (PetscInt i = 0; i < w->eng->n; ++i) w->u[i] = w->logr[i] + q * (w->u[i] - w->logr[i]);
  w->epsnow = eps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* u + v - c/eps is a difference of numbers as large as u and v: it, and with it the logarithm of every entry, has the error eps_mach max|u|,|v|.
   The errors of the entries in a row or column are independent, hence the factor below one. */
PetscReal SkeanTransportFloor_Private(SkeanTransport t)
{
  const Work *w = static_cast<Work *>(t->work);
  return 0.5 * PETSC_MACHINE_EPSILON * PetscMax(1.0, w->umax + w->cmax / w->epsnow);
}

/* epsilons from the first one on down to the target */
static PetscErrorCode Levels(SkeanTransport t, double below)
{
  Work *w = static_cast<Work *>(t->work);

  PetscFunctionBegin;
  w->levels.clear();
  PetscCallCXX(w->levels.push_back(w->eps));
  while (w->levels.back() * t->scalefactor < below) PetscCallCXX(w->levels.push_back(w->levels.back() * t->scalefactor));
  std::reverse(w->levels.begin(), w->levels.end());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* 0.98: rounding in the final, independent computation */
PetscReal SkeanTransportTarget_Private(SkeanTransport t)
{
  return 0.98 * PetscMax(t->solver.rtol, t->solver.atol / static_cast<const Work *>(t->work)->massr);
}

/* Where plain sweeps from nothing do well at the target itself, the larger epsilons are left out: after the first pass the columns' sums must be right by and
   large. They are if the cost has so little structure, and a row so many entries, that these fall on all columns evenly. If not, a pass has been lost */
static PetscErrorCode TryTarget(SkeanTransport t)
{
  constexpr double kEnough = 2.0, kRight = 0.4;
  Work            *w       = static_cast<Work *>(t->work);
  const Engine    *e       = w->eng.get();
  const double     entries = static_cast<double>(PetscMin(e->nglobal, e->m)) * w->eps; /* of a row with evenly distributed costs, times the largest cost */

  PetscBool sns; /* has no levels */

  PetscFunctionBegin;
  PetscCall(PetscObjectTypeCompare((PetscObject)t, SKEANTRANSPORTSNS, &sns));
  if (sns || w->levels.size() < 2 || entries < kEnough * w->cmax || !e->HasEntries() || t->rhor != PETSC_INFINITY || t->rhoc != PETSC_INFINITY)
    PetscFunctionReturn(PETSC_SUCCESS);
  w->target = SkeanTransportTarget_Private(t);
  PetscCall(SkeanTransportSetLevel_Private(t, w->eps));
  PetscCall(SkeanTransportPass_Private(t, NULL));
  if (!w->bad && w->err <= kRight)
    PetscCallCXX(w->levels.assign(1, w->eps));
  else {
    std::copy(w->logc.begin(), w->logc.begin() + e->mloc, w->v.begin());
    std::copy(w->logr.begin(), w->logr.begin() + e->n, w->u.begin());
    w->epsnow = w->levels[0];
  }
  w->err = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Start(SkeanTransport t)
{
  Work *w = static_cast<Work *>(t->work);

  PetscFunctionBegin;
  /* those of a coarser problem are in the KL convention and belong to an epsilon of their own */
  const bool   kl  = t->entropy == SKEAN_TRANSPORT_ENTROPY_KL || t->epsstart > 0;
  const double eps = PetscMax(w->eps, t->epsstart);
  if (t->g0) {
    const PetscScalar *g, *f = NULL;
    PetscInt           ml, nl, gl, fl = 0;
    bool               wrong;
    PetscCall(VecGetLocalSize(t->c, &ml));
    PetscCall(VecGetLocalSize(t->r, &nl));
    PetscCall(VecGetLocalSize(t->g0, &gl));
    if (t->f0) PetscCall(VecGetLocalSize(t->f0, &fl));
    PetscCall(AgreeAny(PetscObjectComm((PetscObject)t), ml != gl || (t->f0 && fl != nl), &wrong));
    PetscCheck(!wrong, PetscObjectComm((PetscObject)t), PETSC_ERR_ARG_INCOMP, "Initial potentials and masses are distributed differently");
    bool notfinite = false;
    PetscCall(VecGetArrayRead(t->g0, &g));
    if (t->f0) PetscCall(VecGetArrayRead(t->f0, &f));
    PetscCall(w->cols.ToEngine(MPI_DOUBLE, g, w->v.data()));
    for (PetscInt j = 0; j < w->cols.count; ++j) {
      w->v[j]   = w->v[j] / eps + (kl ? w->logc[j] : 0.0);
      notfinite = notfinite || !std::isfinite(w->v[j]);
    }
    /* an added target: its potential is the zero of the others, see SkeanTransportGetPotentials() */
    for (PetscInt j = w->cols.count; j < w->eng->mloc; ++j) w->v[j] = w->logc[j] + (kl ? 0.0 : 0.5 * std::log(w->massr));
    for (PetscInt i = 0; i < w->eng->n; ++i) w->u[i] = w->logr[i];
    if (t->f0) {
      PetscCall(w->rows.ToEngine(MPI_DOUBLE, f, w->u.data()));
      for (PetscInt i = 0; i < w->rows.count; ++i) w->u[i] = w->u[i] / eps + (kl ? w->logr[i] : 0.0);
    }
    if (t->f0) PetscCall(VecRestoreArrayRead(t->f0, &f));
    PetscCall(VecRestoreArrayRead(t->g0, &g));
    PetscCall(AgreeAny(PetscObjectComm((PetscObject)t), notfinite, &wrong));
    PetscCheck(!wrong, PetscObjectComm((PetscObject)t), PETSC_ERR_FP, "An initial potential of a target with mass is not finite");
    for (PetscInt i = 0; i < w->eng->n; ++i)
      if (!std::isfinite(w->u[i])) w->u[i] = w->logr[i];
    PetscCall(Levels(t, eps));
    w->epsnow = eps;
  } else {
    for (PetscInt j = 0; j < w->eng->mloc; ++j) w->v[j] = w->logc[j];
    for (PetscInt i = 0; i < w->eng->n; ++i) w->u[i] = w->logr[i];
    PetscCall(Levels(t, t->scaling ? 0.3 * w->cmax : 0.0));
    w->epsnow = w->levels[0];
    PetscCall(TryTarget(t));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Pairs evaluated, over the pairs of all passes */
static PetscErrorCode Visited(const Engine *e, PetscReal *fraction)
{
  double visited = e->entries;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &visited, 1, MPI_DOUBLE, MPI_SUM, e->comm));
  *fraction = visited > 0 ? visited / (static_cast<double>(e->nglobal) * e->m * PetscMax(e->passes, 1)) : 1.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* x log(x/y), zero at zero */
static double Entropy(double x, double y)
{
  return x > 0 ? x * std::log(x / y) : 0.0;
}

/* Everything reported is computed from the potentials returned, from every pair of points that is not below rounding */
PetscErrorCode SkeanTransportFinish_Private(SkeanTransport t)
{
  Work        *w    = static_cast<Work *>(t->work);
  Engine      *e    = w->eng.get();
  const double M    = w->massr;
  const bool   balr = t->rhor == PETSC_INFINITY, balc = t->rhoc == PETSC_INFINITY;
  double       s[6] = {0, 0, 0, 0, 0, 0}, cost;
  bool         bad  = false;

  PetscFunctionBegin;
  t->passes     = e->passes;
  t->keptpasses = e->keptpasses;
  PetscCall(Visited(e, &t->visited));
  PetscCall(e->Marginals(1.0 / w->epsnow, w->u.data(), w->v.data(), w->a.data(), w->b.data(), &cost));
  for (PetscInt i = 0; i < e->n; ++i) {
    const double target = balr ? w->r[i] : w->r[i] * std::exp(-(w->epsnow / t->rhor) * (w->u[i] - w->logr[i]));
    s[0] += std::fabs(w->a[i] - target);
    s[1] += w->a[i] * w->u[i];
    s[2] += w->a[i] * w->logr[i];
    s[4] += w->a[i];
    s[5] += w->r[i];
    if (!balr) s[3] += t->rhor * (Entropy(w->a[i], w->r[i]) - w->a[i] + w->r[i]);
  }
  double sc = 0;
  for (PetscInt j = 0; j < e->mloc; ++j) {
    const double target = balc ? w->c[j] : w->c[j] * std::exp(-(w->epsnow / t->rhoc) * (w->v[j] - w->logc[j]));
    s[0] += std::fabs(w->b[j] - target);
    s[1] += w->b[j] * w->v[j];
    s[2] += w->b[j] * w->logc[j];
    sc += w->c[j];
    if (!balc) s[3] += t->rhoc * (Entropy(w->b[j], w->c[j]) - w->b[j] + w->c[j]);
  }
  PetscCall(SumAll(e->comm, s, 6, &bad));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &sc, 1, MPI_DOUBLE, MPI_SUM, e->comm));
  t->epsabs          = w->epsnow;
  t->errmarginal     = s[0] + 2 * e->Skipped(); /* every pair counts: those left out by their bound */
  t->costvalue       = M * cost;
  const double plogp = s[1] - cost / w->epsnow;
  /* KL with the masses' terms, which cancel when the plan has the mass of the marginals */
  if (t->entropy == SKEAN_TRANSPORT_ENTROPY_KL)
    t->entropyvalue = M * (plogp - s[2] - s[4] + s[5] * sc);
  else
    t->entropyvalue = M * (plogp + s[4] * std::log(M));
  t->totalvalue    = t->costvalue + w->epsnow * t->entropyvalue + M * s[3];
  const double tol = PetscMax(t->solver.rtol, t->solver.atol / M);
  if (bad) t->solver.reason = SKEAN_DIVERGED_NANORINF;
  if (t->solver.reason > 0 && t->errmarginal > tol) t->solver.reason = SKEAN_DIVERGED_ROUNDING_FLOOR;
  if (t->solver.reason < 0 && e->Forbids() && balr && balc) {
    bool proof = false;
    PetscCall(e->ProvesInfeasible(w->v.data(), &proof));
    if (proof) t->solver.reason = SKEAN_DIVERGED_INFEASIBLE;
  }
  t->lower = PETSC_NINFINITY;
  t->upper = PETSC_INFINITY;
  if (t->certify && balr && balc && !bad) PetscCall(SkeanTransportCertify_Private(t, std::exp(-plogp) / (static_cast<double>(e->nglobal) + e->m)));
  t->certpasses = e->passes - t->passes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSolve - Solves the transport problem

   Collective

   Input Parameter:
.  transport - the solver

   Options Database Keys:
+  -transport_type <ssns>        - the method
.  -transport_epsilon <0.01>     - weight of the entropy
.  -transport_rtol <1e-9>        - tolerance of the l1 marginal error, relative to the total mass
.  -transport_atol <0>           - the same in the units of the mass; the larger of both counts
.  -transport_max_it <10000>     - maximum number of iterations
.  -transport_monitor            - print marginal error, epsilon and kept entries
.  -transport_converged_reason   - print why the solve ended
-  -transport_view               - print the solver and its certificate

   Level: beginner

   Notes:
   Converged means that |P1 - r| + |P'1 - c| (l1), computed from every pair at the potentials returned (where costs are stored, from those
   that are not below e^-40 r_i c_j), is below the tolerance. Otherwise the
   reason is `SKEAN_DIVERGED_ROUNDING_FLOOR` (rounding forbids the tolerance at this epsilon), `SKEAN_DIVERGED_STAGNATION`,
   `SKEAN_DIVERGED_INFEASIBLE` (a sparse cost admits no plan), `SKEAN_DIVERGED_ITS` or `SKEAN_DIVERGED_NANORINF`; the potentials and bounds are
   valid all the same. Results agree to 1e-10 relative, or to a third of the tolerance, for any number of processes.

   A fused pass does one Allgather and one Reduce_scatter of m numbers and one small Allreduce; with large clouds of points, two rounds of the targets
   around the processes instead (`SkeanTransportSetReplicationLimit()`).

   Errors: those of `SkeanTransportSetUp()`; `PETSC_ERR_SUP` for features that the type does not have; `PETSC_ERR_NOT_CONVERGED` if asked for.

.seealso: `SkeanTransportSetUp()`, `SkeanTransportGetConvergedReason()`, `SkeanTransportGetPotentials()`, `SkeanTransportGetCertificate()`
@*/
PetscErrorCode SkeanTransportSolve(SkeanTransport transport)
{
  SkeanTransport t = transport;
  Work          *w;

  PetscFunctionBegin;
  PetscCall(SkeanTransportSetUp(t));
  w = static_cast<Work *>(t->work);
  PetscCheck(!t->solver.checkpointfile && !t->solver.restartfile, PetscObjectComm((PetscObject)t), PETSC_ERR_SUP,
             "SkeanTransport writes no checkpoints; keep the potentials and start from them with SkeanTransportSetInitialPotentials()");
  PetscCall(PetscLogEventBegin(SKEAN_Transport_Solve, t, 0, 0, 0));
  PetscCall(SkeanSolverBegin_Private((PetscObject)t, &t->solver));
  t->mslevels = 0;
  PetscCall(SkeanTransportUsesMultiscale_Private(t, &t->ladder)); /* initial potentials may have come or gone since the set-up */
  if (t->ladder) PetscCall(SkeanTransportMultiscale_Private(t));
  w->err = w->target = 0; /* not known: what a solve computes does not depend on the one before */
  w->eng->Forget();
  w->eng->passes     = 0;
  w->eng->keptpasses = 0;
  w->eng->entries    = 0;
  PetscCall(Start(t));
  if (t->ladder) PetscCall(SkeanTransportSetInitialPotentials(t, NULL, NULL));
  if (t->ladder) t->epsstart = 0;
  t->nnzkept = t->maxksp = 0;
  PetscUseTypeMethod(t, solve);
  PetscCall(SkeanTransportFinish_Private(t));
  PetscCall(PetscLogEventEnd(SKEAN_Transport_Solve, t, 0, 0, 0));
  PetscCall(SkeanSolverEnd_Private((PetscObject)t, &t->solver));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanTransportCheckSolved_Private(SkeanTransport t, const char what[])
{
  PetscFunctionBegin;
  PetscCheck(t->solver.state == SKEAN_STATE_SOLVED, PetscObjectComm((PetscObject)t), PETSC_ERR_ORDER, "%s needs SkeanTransportSolve() first", what);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetConvergedReason - Why the last solve ended

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  reason - positive: converged

   Level: beginner

.seealso: `SkeanTransportSolve()`, `SkeanConvergedReason`
@*/
PetscErrorCode SkeanTransportGetConvergedReason(SkeanTransport transport, SkeanConvergedReason *reason)
{
  PetscFunctionBegin;
  *reason = transport->solver.reason;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetIterationNumber - Iterations of the last solve

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  its - Sinkhorn sweeps plus Newton steps

   Level: intermediate

.seealso: `SkeanTransportGetPasses()`
@*/
PetscErrorCode SkeanTransportGetIterationNumber(SkeanTransport transport, PetscInt *its)
{
  PetscFunctionBegin;
  *its = transport->solver.its;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetPasses - Traversals of the whole n x m cost that the last solve made, without the certificate's

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  passes - the number; for a separable grid, the number of times all axes were swept

   Level: intermediate

.seealso: `SkeanTransportGetIterationNumber()`, `SkeanTransportGetKeptPasses()`
@*/
PetscErrorCode SkeanTransportGetPasses(SkeanTransport transport, PetscInt *passes)
{
  PetscFunctionBegin;
  *passes = transport->passes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetKeptPasses - Passes of the last solve that used rows of the plan kept in memory, without costs and exponentials

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  passes - the number; they are not among those of `SkeanTransportGetPasses()`

   Level: intermediate

.seealso: `SkeanTransportSetKernelMemory()`, `SkeanTransportGetPasses()`
@*/
PetscErrorCode SkeanTransportGetKeptPasses(SkeanTransport transport, PetscInt *passes)
{
  PetscFunctionBegin;
  PetscCall(SkeanTransportCheckSolved_Private(transport, "SkeanTransportGetKeptPasses()"));
  *passes = transport->keptpasses;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetVisitedFraction - Pairs of points that the passes of the last solve evaluated, over all pairs

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  fraction - the mean over the passes; below one with truncation

   Level: intermediate

.seealso: `SkeanTransportSetTruncation()`, `SkeanTransportGetPasses()`
@*/
PetscErrorCode SkeanTransportGetVisitedFraction(SkeanTransport transport, PetscReal *fraction)
{
  PetscFunctionBegin;
  PetscCall(SkeanTransportCheckSolved_Private(transport, "SkeanTransportGetVisitedFraction()"));
  *fraction = transport->visited;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetNewtonStatistics - What the inner solves of the last solve cost

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameters:
+  maxkspits - most iterations of one inner solve, or NULL
-  nonzeros  - most entries of the plan kept in one Newton system, over all processes, or NULL

   Level: advanced

.seealso: `SkeanTransportGetKSP()`
@*/
PetscErrorCode SkeanTransportGetNewtonStatistics(SkeanTransport transport, PetscInt *maxkspits, PetscInt *nonzeros)
{
  PetscFunctionBegin;
  if (maxkspits) *maxkspits = transport->maxksp;
  if (nonzeros) *nonzeros = transport->nnzkept;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetMarginalError - The l1 error of both marginals of the plan returned, relative to the total mass

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  err - (|P1 - r| + |P'1 - c|)/sum(r), from every pair of points; with a partial mass see `SkeanTransportSetPartialMass()`

   Level: intermediate

.seealso: `SkeanTransportSolve()`
@*/
PetscErrorCode SkeanTransportGetMarginalError(SkeanTransport transport, PetscReal *err)
{
  PetscFunctionBegin;
  PetscCall(SkeanTransportCheckSolved_Private(transport, "SkeanTransportGetMarginalError()"));
  *err = transport->errmarginal;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetCosts - Transport cost, entropy and total of the plan returned

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameters:
+  cost    - <C,P>, or NULL
.  entropy - KL(P | r c'/M) or sum P_ij log P_ij as chosen by `SkeanTransportSetEntropy()`; M is the total mass; or NULL
-  total   - cost + eps entropy (and the penalties of the marginals, if any), or NULL

   Level: beginner

   Notes:
   The entropy is not multiplied by eps. <C,P> exceeds the unregularised optimum; its bounds are given by `SkeanTransportGetCertificate()`.

.seealso: `SkeanTransportSetEntropy()`, `SkeanTransportGetCertificate()`
@*/
PetscErrorCode SkeanTransportGetCosts(SkeanTransport transport, PetscReal *cost, PetscReal *entropy, PetscReal *total)
{
  PetscFunctionBegin;
  PetscCall(SkeanTransportCheckSolved_Private(transport, "SkeanTransportGetCosts()"));
  if (cost) *cost = transport->costvalue;
  if (entropy) *entropy = transport->entropyvalue;
  if (total) *total = transport->totalvalue;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetCertificate - Bounds of the unregularised optimal cost

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameters:
+  lower - value of a feasible point of the dual problem, or zero where that is negative and no cost is, or NULL
-  upper - cost of the plan rounded to the marginals, or NULL

   Level: beginner

   Notes:
   Valid whether the solve converged or not, to rounding. Infinite where not computed: marginal penalties, certificate switched off, or
   (upper) a sparse cost whose forbidden pairs the rounding would need. By default they are brought to 1e-3 of each other where epsilon is small enough for it
   to pay (`SkeanTransportSetCertificateGap()`).
   Sources: Altschuler, Weed and Rigollet, NeurIPS 2017, Algorithm 2 (upper); c-transforms of the potentials (lower). Further transforms would change nothing:
   the two potentials are each other's.

.seealso: `SkeanTransportSetCertificate()`, `SkeanTransportSetCertificateGap()`, `SkeanTransportGetCosts()`
@*/
PetscErrorCode SkeanTransportGetCertificate(SkeanTransport transport, PetscReal *lower, PetscReal *upper)
{
  PetscFunctionBegin;
  PetscCall(SkeanTransportCheckSolved_Private(transport, "SkeanTransportGetCertificate()"));
  if (lower) *lower = transport->lower;
  if (upper) *upper = transport->upper;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetPotentials - The dual potentials

   Collective

   Input Parameter:
.  transport - the solver

   Output Parameters:
+  f - potentials of the sources, laid out as r, or NULL
-  g - potentials of the targets, laid out as c, or NULL

   Level: beginner

   Notes:
   In the units of the cost and the convention of `SkeanTransportSetEntropy()`. A constant may be moved from f to g; it is chosen so that
   r.f = c.g for the KL potentials (not with marginal penalties, which fix it; with a partial mass see `SkeanTransportSetPartialMass()`). Points without mass get minus infinity.

   Errors: `PETSC_ERR_ARG_INCOMP` for vectors of another layout.

.seealso: `SkeanTransportGetCosts()`, `SkeanTransportSetInitialPotentials()`
@*/
PetscErrorCode SkeanTransportGetPotentials(SkeanTransport transport, Vec f, Vec g)
{
  SkeanTransport      t    = transport;
  Work               *w    = static_cast<Work *>(t->work);
  double              s[2] = {0, 0};
  PetscInt            nl, fl = 0, ml, gl = 0;
  bool                wrong;
  std::vector<double> x;

  PetscFunctionBegin;
  PetscCall(SkeanTransportCheckSolved_Private(t, "SkeanTransportGetPotentials()"));
  PetscCall(VecGetLocalSize(t->r, &nl));
  PetscCall(VecGetLocalSize(t->c, &ml));
  if (f) PetscCall(VecGetLocalSize(f, &fl));
  if (g) PetscCall(VecGetLocalSize(g, &gl));
  PetscCall(AgreeAny(PetscObjectComm((PetscObject)t), (f && fl != nl) || (g && gl != ml), &wrong));
  PetscCheck(!wrong, PetscObjectComm((PetscObject)t), PETSC_ERR_ARG_INCOMP, "Potentials must have the layout of the masses");
  double shift = 0;
  if (t->rhor == PETSC_INFINITY && t->rhoc == PETSC_INFINITY) {
    for (PetscInt i = 0; i < w->eng->n; ++i) s[0] += w->r[i] * (w->u[i] - w->logr[i]);
    for (PetscInt j = 0; j < w->eng->mloc; ++j) s[1] += w->c[j] * (w->v[j] - w->logc[j]);
    if (w->addedcol || w->addedrow) { /* staying, or not arriving, costs nothing */
      s[0] = s[1]        = 0;
      const PetscInt row = w->rows.count, col = w->cols.count;
      if (w->addedcol && w->eng->mloc > col) s[1] = 2 * (w->v[col] - w->logc[col]);
      if (!w->addedcol && w->eng->n > row) s[0] = 2 * (w->u[row] - w->logr[row]);
    }
    PetscCall(AllreduceSum(w->eng->comm, s, 2));
    shift = 0.5 * (s[1] - s[0]);
  }
  const bool   plain = t->entropy == SKEAN_TRANSPORT_ENTROPY_PLAIN;
  const double half  = plain ? 0.5 * std::log(w->massr) : 0.0; /* P = M p */
  if (f) {
    PetscScalar *a;
    PetscCall(VecSet(f, PETSC_NINFINITY));
    PetscCall(VecGetArray(f, &a));
    PetscCallCXX(x.resize(w->u.size()));
    for (PetscInt i = 0; i < w->rows.count; ++i) x[i] = w->epsnow * (w->u[i] + shift + half - (plain ? 0.0 : w->logr[i]));
    PetscCall(w->rows.ToUser(x.data(), a));
    PetscCall(VecRestoreArray(f, &a));
  }
  if (g) {
    PetscScalar *a;
    PetscCall(VecSet(g, PETSC_NINFINITY));
    PetscCall(VecGetArray(g, &a));
    PetscCallCXX(x.resize(w->v.size()));
    for (PetscInt j = 0; j < w->cols.count; ++j) x[j] = w->epsnow * (w->v[j] - shift + half - (plain ? 0.0 : w->logc[j]));
    PetscCall(w->cols.ToUser(x.data(), a));
    PetscCall(VecRestoreArray(g, &a));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportApply - Applies the plan to a vector over the targets

   Collective

   Input Parameters:
+  transport - the solver
-  x         - m numbers, laid out as c

   Output Parameter:
.  Px - n numbers, laid out as r: Px_i = sum_j P_ij x_j

   Level: intermediate

   Notes:
   One pass; the plan is not stored.

.seealso: `SkeanTransportApplyTranspose()`, `SkeanTransportGetPlan()`, `SkeanTransportGetMap()`
@*/
PetscErrorCode SkeanTransportApply(SkeanTransport transport, Vec x, Vec Px)
{
  SkeanTransport      t = transport;
  Work               *w = static_cast<Work *>(t->work);
  const PetscScalar  *xa;
  PetscScalar        *ya;
  std::vector<double> in, out;
  PetscInt            xl, yl, nl, ml;
  bool                wrong;

  PetscFunctionBegin;
  PetscCall(SkeanTransportCheckSolved_Private(t, "SkeanTransportApply()"));
  PetscCall(VecGetLocalSize(t->r, &nl));
  PetscCall(VecGetLocalSize(t->c, &ml));
  PetscCall(VecGetLocalSize(x, &xl));
  PetscCall(VecGetLocalSize(Px, &yl));
  PetscCall(AgreeAny(PetscObjectComm((PetscObject)t), xl != ml || yl != nl, &wrong));
  PetscCheck(!wrong, PetscObjectComm((PetscObject)t), PETSC_ERR_ARG_INCOMP, "Vectors must have the layouts of the masses of targets and sources");
  PetscCallCXX(in.resize(w->v.size()));
  PetscCallCXX(out.resize(w->u.size()));
  PetscCall(VecGetArrayRead(x, &xa));
  PetscCall(w->cols.ToEngine(MPI_DOUBLE, xa, in.data()));
  PetscCall(VecRestoreArrayRead(x, &xa));
  PetscCall(w->eng->Products(1.0 / w->epsnow, w->u.data(), w->v.data(), in.data(), NULL, NULL, out.data(), NULL));
  PetscCall(VecSet(Px, 0.0));
  PetscCall(VecGetArray(Px, &ya));
  for (double &y : out) y *= w->massr;
  PetscCall(w->rows.ToUser(out.data(), ya));
  PetscCall(VecRestoreArray(Px, &ya));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportApplyTranspose - Applies the transpose of the plan to a vector over the sources

   Collective

   Input Parameters:
+  transport - the solver
-  z         - n numbers, laid out as r

   Output Parameter:
.  Ptz - m numbers, laid out as c: Ptz_j = sum_i P_ij z_i

   Level: intermediate

   Notes:
   One pass; the plan is not stored.

.seealso: `SkeanTransportApply()`
@*/
PetscErrorCode SkeanTransportApplyTranspose(SkeanTransport transport, Vec z, Vec Ptz)
{
  SkeanTransport      t = transport;
  Work               *w = static_cast<Work *>(t->work);
  const PetscScalar  *xa;
  PetscScalar        *ya;
  std::vector<double> in, out;
  PetscInt            xl, yl, nl, ml;
  bool                wrong;

  PetscFunctionBegin;
  PetscCall(SkeanTransportCheckSolved_Private(t, "SkeanTransportApplyTranspose()"));
  PetscCall(VecGetLocalSize(t->r, &nl));
  PetscCall(VecGetLocalSize(t->c, &ml));
  PetscCall(VecGetLocalSize(z, &xl));
  PetscCall(VecGetLocalSize(Ptz, &yl));
  PetscCall(AgreeAny(PetscObjectComm((PetscObject)t), xl != nl || yl != ml, &wrong));
  PetscCheck(!wrong, PetscObjectComm((PetscObject)t), PETSC_ERR_ARG_INCOMP, "Vectors must have the layouts of the masses of sources and targets");
  PetscCallCXX(in.resize(w->u.size()));
  PetscCallCXX(out.resize(w->v.size()));
  PetscCall(VecGetArrayRead(z, &xa));
  PetscCall(w->rows.ToEngine(MPI_DOUBLE, xa, in.data()));
  PetscCall(VecRestoreArrayRead(z, &xa));
  PetscCall(w->eng->Products(1.0 / w->epsnow, w->u.data(), w->v.data(), NULL, NULL, in.data(), NULL, out.data()));
  PetscCall(VecSet(Ptz, 0.0));
  PetscCall(VecGetArray(Ptz, &ya));
  for (double &y : out) y *= w->massr;
  PetscCall(w->cols.ToUser(out.data(), ya));
  PetscCall(VecRestoreArray(Ptz, &ya));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* replaces engine numbers of columns by those of the user's vector, asking the owners for the ones that occur only */
static PetscErrorCode ColumnNumbers(SkeanTransport t, std::vector<PetscInt> &column)
{
  Work                 *w = static_cast<Work *>(t->work);
  PetscLayout           map;
  PetscSF               sf;
  std::vector<PetscInt> mine, used, number;

  PetscFunctionBegin;
  PetscCall(w->cols.Numbers(t->c, &mine));
  PetscCallCXX(mine.resize(PetscMax(w->eng->mloc, 1), -1)); /* an added target has none */
  PetscCallCXX(used = column);
  std::sort(used.begin(), used.end());
  used.erase(std::unique(used.begin(), used.end()), used.end());
  PetscCallCXX(number.resize(PetscMax(used.size(), size_t(1))));
  PetscCall(PetscLayoutCreateFromSizes(w->eng->comm, w->eng->mloc, PETSC_DETERMINE, 1, &map));
  PetscCall(PetscSFCreate(w->eng->comm, &sf));
  PetscCall(PetscSFSetGraphLayout(sf, map, static_cast<PetscInt>(used.size()), NULL, PETSC_OWN_POINTER, used.data()));
  PetscCall(PetscSFBcastBegin(sf, MPIU_INT, mine.data(), number.data(), MPI_REPLACE));
  PetscCall(PetscSFBcastEnd(sf, MPIU_INT, mine.data(), number.data(), MPI_REPLACE));
  PetscCall(PetscSFDestroy(&sf));
  PetscCall(PetscLayoutDestroy(&map));
  for (PetscInt &j : column) j = number[std::lower_bound(used.begin(), used.end(), j) - used.begin()];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetPlan - The plan's entries above a threshold as a sparse matrix

   Collective

   Input Parameters:
+  transport - the solver
-  threshold - entries above it are stored; in the units of the mass

   Output Parameter:
.  P - n x m matrix of type `MATAIJ`, to be destroyed by the caller

   Level: beginner

   Notes:
   One pass. The mass left out is at most the threshold times the number of entries left out. Not for separable grids.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for a negative threshold; `PETSC_ERR_SUP` for grids; `PETSC_ERR_MEM` for more than 2^30 entries on a process.

.seealso: `SkeanTransportApply()`, `SkeanTransportGetMap()`
@*/
PetscErrorCode SkeanTransportGetPlan(SkeanTransport transport, PetscReal threshold, Mat *P)
{
  SkeanTransport        t    = transport;
  Work                 *w    = static_cast<Work *>(t->work);
  MPI_Comm              comm = PetscObjectComm((PetscObject)t);
  Keep                  keep;
  PetscInt              nl, ml;
  std::vector<PetscInt> number;
  bool                  any;

  PetscFunctionBegin;
  PetscCall(SkeanTransportCheckSolved_Private(t, "SkeanTransportGetPlan()"));
  PetscCheck(threshold >= 0, comm, PETSC_ERR_ARG_OUTOFRANGE, "Threshold %g must be non-negative", (double)threshold);
  PetscCheck(w->eng->HasEntries(), comm, PETSC_ERR_SUP, "The entries of the plan of a separable grid are not listed; use SkeanTransportApply()");
  keep.thr = threshold / w->massr;
  keep.cap = size_t(1) << 30;
  PetscCall(w->eng->Entries(1.0 / w->epsnow, w->u.data(), w->v.data(), &keep));
  PetscCall(AgreeAny(comm, keep.overflow, &any));
  PetscCheck(!any, comm, PETSC_ERR_MEM, "The plan has more than 2^30 entries above %g on one process", (double)threshold);
  PetscCall(ColumnNumbers(t, keep.j));
  PetscCall(w->rows.Numbers(t->r, &number));
  PetscCall(VecGetLocalSize(t->r, &nl));
  PetscCall(VecGetLocalSize(t->c, &ml));
  PetscCall(MatCreate(comm, P));
  PetscCall(MatSetSizes(*P, nl, ml, PETSC_DETERMINE, PETSC_DETERMINE));
  PetscCall(MatSetType(*P, MATAIJ));
  size_t q = 0;
  for (size_t k = 0; k < keep.i.size(); ++k)
    if (keep.i[k] < w->rows.count && keep.j[k] >= 0) { /* not those of an added source or target */
      keep.i[q]   = number[keep.i[k]];
      keep.j[q]   = keep.j[k];
      keep.p[q++] = w->massr * keep.p[k];
    }
  keep.i.resize(q);
  keep.j.resize(q);
  keep.p.resize(q);
  PetscCall(MatSetPreallocationCOO(*P, static_cast<PetscCount>(keep.i.size()), keep.i.data(), keep.j.data()));
  PetscCall(MatSetValuesCOO(*P, keep.p.data(), INSERT_VALUES));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetMap - The barycentric projection: where the mass of each source goes on average

   Collective

   Input Parameter:
.  transport - the solver, with points set

   Output Parameter:
.  T - n x d dense matrix, rows distributed as the sources: T_i = sum_j P_ij y_j / sum_j P_ij; to be destroyed by the caller

   Level: beginner

   Notes:
   d passes. Sources without mass get NaN.

   Errors: `PETSC_ERR_ORDER` if no points were set.

.seealso: `SkeanTransportSetPoints()`, `SkeanTransportApply()`
@*/
PetscErrorCode SkeanTransportGetMap(SkeanTransport transport, Mat *T)
{
  SkeanTransport      t = transport;
  Work               *w = static_cast<Work *>(t->work);
  PetscInt            d, nl, lday, ldt;
  std::vector<double> in, out, rows;
  const PetscScalar  *y;
  PetscScalar        *ta;

  PetscFunctionBegin;
  PetscCall(SkeanTransportCheckSolved_Private(t, "SkeanTransportGetMap()"));
  PetscCheck(t->Y, PetscObjectComm((PetscObject)t), PETSC_ERR_ORDER, "The transport map needs points: SkeanTransportSetPoints()");
  PetscCall(MatGetSize(t->Y, NULL, &d));
  PetscCall(VecGetLocalSize(t->r, &nl));
  PetscCall(MatCreateDense(PetscObjectComm((PetscObject)t), nl, PETSC_DECIDE, PETSC_DETERMINE, d, NULL, T));
  PetscCall(MatDenseGetLDA(*T, &ldt));
  PetscCall(MatDenseGetLDA(t->Y, &lday));
  PetscCall(MatDenseGetArrayRead(t->Y, &y));
  PetscCall(MatDenseGetArrayWrite(*T, &ta));
  PetscCallCXX(in.assign(w->v.size(), 0.0));
  PetscCallCXX(out.resize(w->u.size()));
  PetscCallCXX(rows = w->a);
  if (w->addedcol) { /* what stays is not part of the average */
    for (PetscInt j = 0; j < w->cols.count; ++j) in[j] = 1.0;
    PetscCall(w->eng->Products(1.0 / w->epsnow, w->u.data(), w->v.data(), in.data(), NULL, NULL, rows.data(), NULL));
  }
  for (PetscInt k = 0; k < d; ++k) {
    for (PetscInt i = 0; i < nl; ++i) ta[i + static_cast<size_t>(k) * ldt] = std::nan("");
    PetscCall(w->cols.ToEngine(MPI_DOUBLE, y + static_cast<size_t>(k) * lday, in.data()));
    PetscCall(w->eng->Products(1.0 / w->epsnow, w->u.data(), w->v.data(), in.data(), NULL, NULL, out.data(), NULL));
    for (PetscInt i = 0; i < w->rows.count; ++i) out[i] /= rows[i];
    PetscCall(w->rows.ToUser(out.data(), ta + static_cast<size_t>(k) * ldt));
  }
  PetscCall(MatDenseRestoreArrayWrite(*T, &ta));
  PetscCall(MatDenseRestoreArrayRead(t->Y, &y));
  PetscFunctionReturn(PETSC_SUCCESS);
}
