/* SkeanGP: likelihood, hyper-parameters, posterior, samples */
#include <skean/private/gpimpl.h> /*I "skeangp.h" I*/
#include <skean/private/random.hpp>
#include <petsctao.h>
#include <algorithm>
#include <cmath>
#include <limits>

using namespace skean;
using namespace skean::gp;

extern PetscLogEvent SKEAN_GPSolve, SKEAN_GPLikelihood, SKEAN_GPPredict;

#define GP_CHECK(gp) PetscCheck((gp) && ((PetscObject)(gp))->classid == SKEAN_GP_CLASSID, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG, "Not a SkeanGP")
#define GP_COMM(gp)  PetscObjectComm((PetscObject)(gp))

/* Smallest noise-to-signal ratio for which K + ratio I is positive definite whatever the rounding of the eigenvalues: they are in error by
   about eps times the largest possible one, N */
static double Floor(const Regression *r)
{
  return 4 * PETSC_MACHINE_EPSILON * static_cast<double>(r->N);
}

/*@
   SkeanGPComputeLogLikelihood - The log marginal likelihood of the data at the present hyper-parameters, and its gradient

   Collective

   Input Parameter:
.  gp - the regression, with covariance functions and data

   Output Parameters:
+  loglik - log p(y | hyper-parameters)
-  grad   - derivatives with respect to the hyper-parameters of `SkeanGPGetParameters()`, or NULL

   Level: intermediate

   Notes:
   Full grid: exact; d mode products for the value, about twice that with the gradient. With missing points log det(K_OO + s I) = log det(K + s I) + log det A_MM: exact
   up to -gp_exactmissing of them, otherwise by stochastic Lanczos quadrature with -gp_probes fixed random vectors, whose standard error `SkeanGPGetReport()` gives.

   Errors: `PETSC_ERR_CONV_FAILED` if the covariance is not positive definite in floating point (the message gives the smallest noise that would do) or the solve for missing
   values did not converge.

.seealso: `SkeanGPSolve()`, `SkeanGPGetParameters()`
@*/
PetscErrorCode SkeanGPComputeLogLikelihood(SkeanGP gp, PetscReal *loglik, PetscReal grad[])
{
  std::vector<double> g;
  bool                ok;
  Regression         *r;

  PetscFunctionBegin;
  GP_CHECK(gp);
  r = gp->reg;
  PetscCall(PetscLogEventBegin(SKEAN_GPLikelihood, gp, 0, 0, 0));
  PetscCall(r->LogLikelihood(false, loglik, grad ? &g : nullptr, &ok));
  PetscCall(PetscLogEventEnd(SKEAN_GPLikelihood, gp, 0, 0, 0));
  PetscCheck(
    ok || r->Positive(), GP_COMM(gp), PETSC_ERR_CONV_FAILED,
    "The covariance is not positive definite in floating point: smallest eigenvalue %g relative to the signal variance; a noise variance of %g would do",
    r->sums.smallest, Floor(r) * r->s2f);
  PetscCheck(ok, GP_COMM(gp), PETSC_ERR_CONV_FAILED, "The solve for the missing values did not converge (-gp_fill_max_it %" PetscInt_FMT ")", r->fillmaxit);
  if (grad) std::copy(g.begin(), g.end(), grad);
  PetscFunctionReturn(PETSC_SUCCESS);
}

namespace {
/* What TAO minimises: -L/n_obs over the kernels' parameters and log ratio (profile) or log s2f, log s2n */
struct Objective {
  SkeanGP             gp;
  double              scale     = 1; /* of the objective: makes the first step of the optimiser, which is the gradient, a short one */
  double              lastvalue = 0;
  int                 same      = 0;
  std::vector<double> best;
  double              bestvalue = std::numeric_limits<double>::infinity();
};
} // namespace

/* The optimiser runs on every process with the same numbers: those of process 0 */
static PetscErrorCode FormObjective(Tao, Vec X, PetscReal *f, Vec G, void *ctx)
{
  Objective          *o  = static_cast<Objective *>(ctx);
  SkeanGP             gp = o->gp;
  Regression         *r  = gp->reg;
  const PetscReal    *x;
  PetscReal          *g;
  std::vector<double> theta, grad, msg;
  double              L;
  bool                ok;
  PetscInt            nx;

  PetscFunctionBegin;
  PetscCall(VecGetLocalSize(X, &nx));
  PetscCall(VecGetArrayRead(X, &x));
  PetscCallCXX(theta.assign(x, x + nx));
  PetscCall(VecRestoreArrayRead(X, &x));
  if (gp->profile) PetscCallCXX(theta.insert(theta.end() - 1, 0.0)); /* s2f = 1, s2n = ratio */
  r->SetParams(theta.data());
  PetscCall(PetscLogEventBegin(SKEAN_GPLikelihood, gp, 0, 0, 0));
  PetscCall(r->LogLikelihood(gp->profile, &L, &grad, &ok));
  PetscCall(PetscLogEventEnd(SKEAN_GPLikelihood, gp, 0, 0, 0));
  gp->evaluations++;
  const double scale = o->scale / static_cast<double>(r->nobs);
  PetscCallCXX(msg.assign(static_cast<size_t>(nx) + 1, 0.0));
  if (ok) {
    msg[0] = -L * scale;
    for (PetscInt i = 0; i < nx; ++i) msg[i + 1] = -scale * grad[i < nx - 1 || !gp->profile ? i : nx]; /* the noise is the last of both */
    for (PetscInt k : r->fixed) msg[gp->profile && k == nx ? nx : k + 1] = 0.0;
    PetscCallMPI(MPI_Bcast(msg.data(), static_cast<int>(nx + 1), MPI_DOUBLE, 0, GP_COMM(gp)));
    if (msg[0] < o->bestvalue) {
      o->bestvalue = msg[0];
      PetscCallCXX(o->best = r->Params());
    }
  } else
    msg[0] = PETSC_INFINITY; /* no likelihood here: the line search steps back */
  *f = msg[0];
  PetscCall(VecGetArrayWrite(G, &g));
  std::copy(msg.begin() + 1, msg.end(), g);
  PetscCall(VecRestoreArrayWrite(G, &g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Monitor(Tao tao, void *ctx)
{
  Objective         *o  = static_cast<Objective *>(ctx);
  SkeanGP            gp = o->gp;
  PetscInt           it;
  PetscReal          f, gnorm;
  TaoConvergedReason reason;

  PetscFunctionBegin;
  PetscCall(TaoGetSolutionStatus(tao, &it, &f, &gnorm, NULL, NULL, &reason));
  PetscCall(SkeanSolverMonitor_Private((PetscObject)gp, &gp->solver, it, gnorm / o->scale));
  /* the line search finds nothing better any more: with estimated determinants the value and the gradient fit only to their accuracy */
  o->same      = it && f == o->lastvalue ? o->same + 1 : 0;
  o->lastvalue = f;
  if (o->same >= 2 && !reason) PetscCall(TaoSetConvergedReason(tao, TAO_DIVERGED_USER));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Optimize(SkeanGP gp)
{
  Regression          *r = gp->reg;
  Objective            o;
  std::vector<double>  start, spread, bestall;
  double               bestvalue  = std::numeric_limits<double>::infinity();
  SkeanConvergedReason bestreason = SKEAN_DIVERGED_BREAKDOWN;
  PetscInt             bestits    = 0;
  const RandomStream   stream(gp->solver.seed, Purpose::Restart);

  PetscFunctionBegin;
  PetscCheck(r->yvar > 0, GP_COMM(gp), PETSC_ERR_ARG_WRONG, "All observed values are the same: a constant field determines no hyper-parameters");
  for (PetscInt k : r->fixed) {
    const PetscInt np = static_cast<PetscInt>(r->NumParams());
    PetscCheck(k >= 0 && k < np, GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE, "Fixed hyper-parameter %" PetscInt_FMT " of %" PetscInt_FMT, k, np);
    PetscCheck(!gp->profile || k != np - 2, GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE, "The signal variance is eliminated and cannot be fixed; use -gp_profile 0");
  }
  /* with the signal variance eliminated the last one is log(noise/signal) */
  start = r->Params();
  if (gp->profile) {
    const double ratio = r->Ratio();
    start.pop_back();
    start.back() = std::log(std::max(ratio, 10 * Floor(r)));
  }
  const PetscInt nx = static_cast<PetscInt>(start.size());
  for (PetscInt run = 0; run <= gp->restarts; ++run) {
    Tao                tao;
    Vec                X;
    PetscReal         *x;
    TaoConvergedReason reason;
    PetscInt           it;

    o.gp        = gp;
    o.bestvalue = std::numeric_limits<double>::infinity();
    o.scale     = 1.0;
    o.same      = 0;
    PetscCall(VecCreateSeq(PETSC_COMM_SELF, nx, &X));
    PetscCall(VecGetArrayWrite(X, &x));
    std::copy(start.begin(), start.end(), x);
    if (run) {
      /* the best of several random points: likelihoods have plateaus (a length scale far below the spacing) from which no gradient leads away */
      double bestL = -std::numeric_limits<double>::infinity();
      for (int candidate = 0; candidate < 8; ++candidate) {
        std::vector<double> c(start), theta;
        double              L;
        bool                ok;
        for (PetscInt i = 0; i < nx; ++i) c[i] += 1.5 * stream.Normal(static_cast<std::uint64_t>(8 * run + candidate), static_cast<std::uint64_t>(i));
        for (PetscInt k : r->fixed) c[gp->profile && k == nx ? nx - 1 : k] = start[gp->profile && k == nx ? nx - 1 : k];
        if (gp->profile) c[nx - 1] = std::max(c[nx - 1], std::log(10 * Floor(r)));
        theta = c;
        if (gp->profile) theta.insert(theta.end() - 1, 0.0);
        r->SetParams(theta.data());
        PetscCall(r->LogLikelihood(gp->profile, &L, nullptr, &ok));
        gp->evaluations++;
        PetscCallMPI(MPI_Bcast(&L, 1, MPI_DOUBLE, 0, GP_COMM(gp)));
        if (ok && L > bestL) {
          bestL = L;
          std::copy(c.begin(), c.end(), x);
        }
      }
    }
    PetscCall(VecRestoreArrayWrite(X, &x));
    PetscCall(TaoCreate(PETSC_COMM_SELF, &tao));
    PetscCall(TaoSetOptionsPrefix(tao, r->prefix.c_str()));
    PetscCall(TaoAppendOptionsPrefix(tao, "gp_"));
    PetscCall(TaoSetType(tao, TAOBLMVM));
    PetscCall(TaoSetSolution(tao, X));
    PetscCall(TaoSetObjectiveAndGradient(tao, NULL, FormObjective, &o));
    {
      /* logarithms stay within six natural units (a factor of 400) of the start, frequencies free; the noise above the rounding floor */
      Vec        lo, hi;
      PetscReal *l, *h;
      PetscCall(VecDuplicate(X, &lo));
      PetscCall(VecDuplicate(X, &hi));
      PetscCall(VecGetArrayWrite(lo, &l));
      PetscCall(VecGetArrayWrite(hi, &h));
      for (PetscInt i = 0; i < nx; ++i) {
        const bool islog = r->ParamName(static_cast<size_t>(i)).compare(0, 4, "log ") == 0;
        l[i]             = islog ? start[i] - 6 : PETSC_NINFINITY;
        h[i]             = islog ? start[i] + 6 : PETSC_INFINITY;
      }
      if (gp->profile) {
        l[nx - 1] = std::log(Floor(r));
        h[nx - 1] = std::log(1e8);
      }
      for (PetscInt k : r->fixed) {
        const PetscInt i = gp->profile && k == nx ? nx - 1 : k;
        l[i] = h[i] = start[i];
      }
      PetscCall(VecRestoreArrayWrite(lo, &l));
      PetscCall(VecRestoreArrayWrite(hi, &h));
      PetscCall(TaoSetVariableBounds(tao, lo, hi));
      PetscCall(VecDestroy(&lo));
      PetscCall(VecDestroy(&hi));
    }
    PetscCall(TaoSetMaximumIterations(tao, gp->solver.max_it));
#if SKEAN_PETSC_GE(3, 21)
    PetscCall(TaoMonitorSet(tao, Monitor, &o, NULL));
#else
    PetscCall(TaoSetMonitor(tao, Monitor, &o, NULL));
#endif
    /* TAO takes an infinite starting value for an error of the program */
    PetscReal f0;
    Vec       G0;
    PetscCall(VecDuplicate(X, &G0));
    PetscCall(FormObjective(tao, X, &f0, G0, &o));
    PetscReal g0;
    PetscCall(VecNorm(G0, NORM_2, &g0));
    PetscCall(VecDestroy(&G0));
    if (std::isfinite(f0)) {
      o.scale = g0 > 0.5 ? 0.5 / g0 : 1.0;
      PetscCall(TaoSetTolerances(tao, gp->solver.atol * o.scale, 0.0, gp->solver.rtol));
      PetscCall(TaoSetFromOptions(tao));
      o.bestvalue = std::numeric_limits<double>::infinity();
      PetscCall(TaoSolve(tao));
      PetscCall(TaoGetConvergedReason(tao, &reason));
      PetscCall(TaoGetIterationNumber(tao, &it));
      SkeanConvergedReason mine;
      switch (reason) {
      case TAO_CONVERGED_GATOL:
        mine = SKEAN_CONVERGED_ATOL;
        break;
      case TAO_CONVERGED_GRTOL:
      case TAO_CONVERGED_GTTOL:
        mine = SKEAN_CONVERGED_RTOL;
        break;
      case TAO_DIVERGED_MAXITS:
      case TAO_DIVERGED_MAXFCN:
        mine = SKEAN_DIVERGED_ITS;
        break;
      case TAO_DIVERGED_LS_FAILURE:
        mine = SKEAN_DIVERGED_LINE_SEARCH;
        break;
      case TAO_DIVERGED_USER:
        mine = SKEAN_DIVERGED_STAGNATION;
        break;
      case TAO_DIVERGED_NAN:
        mine = SKEAN_DIVERGED_NANORINF;
        break;
      default:
        mine = reason > 0 ? SKEAN_CONVERGED_RTOL : SKEAN_DIVERGED_BREAKDOWN;
      }
      if (o.bestvalue / o.scale < bestvalue) {
        bestvalue  = o.bestvalue / o.scale;
        bestall    = o.best;
        bestreason = mine;
        bestits    = it;
      }
    }
    PetscCall(TaoDestroy(&tao));
    PetscCall(VecDestroy(&X));
  }
  if (bestall.empty())
    gp->solver.reason = SKEAN_DIVERGED_ROUNDING_FLOOR;
  else {
    r->SetParams(bestall.data());
    gp->solver.reason = bestreason;
    gp->solver.its    = bestits;
    if (r->Ratio() <= 1.01 * Floor(r)) PetscCall(PetscInfo(gp, "The noise is at the rounding floor of this grid, %g of the signal variance\n", Floor(r)));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSolve - Finds the hyper-parameters, if asked for, and the weights of the posterior mean

   Collective

   Input Parameter:
.  gp - the regression, with grid, covariance functions and data

   Level: beginner

   Notes:
   With `SkeanGPSetOptimize()` the likelihood is maximised by a bounded limited-memory quasi-Newton method (TAOBLMVM, options with prefix -gp_tao_) in the logarithms of the
   hyper-parameters, the signal variance eliminated in closed form, from the present hyper-parameters and -gp_restarts random ones.
   Then (K + s I) alpha = y is solved, through the eigenvectors of the factors and, with missing points, by filling the gaps with conjugate gradients (options with prefix
   -gp_fill_). The residual is computed with the factors themselves and the solve is refined if it is not at rounding level.
   The tolerance of the filling, -gp_fill_rtol, is that of the residual on the missing block: scattered gaps are found in some ten iterations to 1e-8;
   of large ones the slow modes are deflated, see `SkeanGPSetDeflation()`.
   Source: Saatci, Scalable inference for structured Gaussian process models, PhD thesis, Cambridge 2011, chapter 5.
   Not converging is no error unless `-gp_error_if_not_converged`; see `SkeanGPGetConvergedReason()`.

   Errors: `PETSC_ERR_ORDER` if something is not set; `PETSC_ERR_ARG_WRONG` for a constant field with optimisation.

.seealso: `SkeanGPGetPosterior()`, `SkeanGPPredict()`, `SkeanGPSample()`, `SkeanGPGetReport()`, `SkeanGPGetConvergedReason()`
@*/
PetscErrorCode SkeanGPSolve(SkeanGP gp)
{
  bool        good;
  Regression *r;

  PetscFunctionBegin;
  GP_CHECK(gp);
  r = gp->reg;
  PetscCheck(r->havedata, GP_COMM(gp), PETSC_ERR_ORDER, "No data; call SkeanGPSetData()");
  PetscCall(SkeanSolverBegin_Private((PetscObject)gp, &gp->solver));
  PetscCall(PetscLogEventBegin(SKEAN_GPSolve, gp, 0, 0, 0));
  gp->evaluations   = 0;
  gp->solver.reason = SKEAN_CONVERGED_ITS;
  if (gp->optimize) PetscCall(Optimize(gp));
  if (gp->solver.reason != SKEAN_DIVERGED_ROUNDING_FLOOR) {
    PetscCall(r->Weights(&good));
    if (!r->Positive())
      gp->solver.reason = SKEAN_DIVERGED_ROUNDING_FLOOR;
    else if (!good)
      gp->solver.reason = SKEAN_DIVERGED_LINEAR_SOLVE;
    else if (r->residual > 1e-6 && r->residual > 10 * r->fillrtol)
      gp->solver.reason = SKEAN_DIVERGED_ROUNDING_FLOOR;
  }
  PetscCall(PetscLogEventEnd(SKEAN_GPSolve, gp, 0, 0, 0));
  PetscCall(SkeanSolverEnd_Private((PetscObject)gp, &gp->solver));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPGetReport - The numerics of the last solve: effective rank, condition, rounding floor, residual

   Not Collective

   Input Parameter:
.  gp - the regression, solved

   Output Parameter:
.  report - see `SkeanGPReport`

   Level: intermediate

.seealso: `SkeanGPSolve()`, `SkeanGPReport`
@*/
PetscErrorCode SkeanGPGetReport(SkeanGP gp, SkeanGPReport *report)
{
  Regression *r;

  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCheck(report, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: report");
  r = gp->reg;
  PetscCheck(r->sumsready, GP_COMM(gp), PETSC_ERR_ORDER, "Call SkeanGPSolve() or SkeanGPComputeLogLikelihood() first");
  report->effectiverank  = r->sums.rank;
  report->negative       = r->sums.negative;
  report->condition      = r->sums.smallest > 0 ? r->sums.largest / r->sums.smallest : PETSC_INFINITY;
  report->floor          = Floor(r);
  report->residual       = r->residual;
  report->logdeterror    = r->logdeterr;
  report->filliterations = r->fillits;
  report->missing        = static_cast<PetscInt>(r->N - r->nobs);
  report->evaluations    = gp->evaluations;
  report->deflated       = r->deflation.Ready() ? static_cast<PetscInt>(r->deflation.Modes()) : 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckSolved(SkeanGP gp)
{
  bool good;

  PetscFunctionBegin;
  PetscCall(gp->reg->Weights(&good));
  PetscCheck(good, GP_COMM(gp), PETSC_ERR_ORDER, "The regression is not solved: %s",
             gp->reg->Positive() ? "the solve for the missing values did not converge" : "the covariance is not positive definite in floating point");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPGetPosterior - Posterior mean and variance of the function at all points of the grid, the missing ones included

   Collective

   Input Parameter:
.  gp - the regression

   Output Parameters:
+  mean     - posterior mean, in natural order and any distribution, or NULL
-  variance - posterior variance of f (without the noise), or NULL

   Level: beginner

   Notes:
   Full grid: exact; one Kronecker product with the squares of the eigenvectors for the variance. Missing points add diag(C inv(A_MM) C'): exact up to -gp_exactmissing of them, otherwise
   the mean over -gp_variance_samples random vectors, an unbiased estimate with relative standard error sqrt(2/samples) of this part alone.

.seealso: `SkeanGPPredict()`, `SkeanGPSample()`
@*/
PetscErrorCode SkeanGPGetPosterior(SkeanGP gp, Vec mean, Vec variance)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCall(SkeanGPPredict(gp, NULL, NULL, mean, variance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPPredict - Posterior mean and variance of the function on another tensor grid

   Collective

   Input Parameters:
+  gp - the regression
.  nt - number of test points along each dimension; NULL: the data's grid
-  xt - their coordinates, in any order, the same on every process

   Output Parameters:
+  mean     - posterior mean at the nt[0] x ... x nt[d-1] points, in natural order and any distribution, or NULL
-  variance - posterior variance of f, or NULL

   Level: beginner

   Errors: `PETSC_ERR_ARG_SIZ` for vectors of another length; `PETSC_ERR_SUP` for a dimension with a covariance matrix of the user's.

.seealso: `SkeanGPGetPosterior()`
@*/
PetscErrorCode SkeanGPPredict(SkeanGP gp, const PetscInt nt[], const PetscReal *const xt[], Vec mean, Vec variance)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCheck(!nt || xt, GP_COMM(gp), PETSC_ERR_ARG_NULL, "Null coordinates");
  PetscCall(CheckSolved(gp));
  PetscCall(PetscLogEventBegin(SKEAN_GPPredict, gp, 0, 0, 0));
  const PetscInt probes = gp->reg->probes;
  gp->reg->probes       = gp->variancesamples;
  PetscCall(gp->reg->Predict(nt, xt, mean, variance));
  gp->reg->probes = probes;
  PetscCall(PetscLogEventEnd(SKEAN_GPPredict, gp, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSample - Draws a function from the prior or the posterior, at all points of the grid

   Collective

   Input Parameters:
+  gp        - the regression
.  posterior - `PETSC_FALSE`: from the prior
-  draw      - number of the draw: the same number gives the same function, on any number of processes

   Output Parameter:
.  f - the function, in natural order and any distribution

   Level: intermediate

   Notes:
   Exact (Matheron's rule for the posterior): one product for the prior, one more solve for the posterior.

   Errors: `PETSC_ERR_NOT_CONVERGED` if the solve for missing values did not converge.

.seealso: `SkeanGPGetPosterior()`, `SkeanGPSetSeed()`
@*/
PetscErrorCode SkeanGPSample(SkeanGP gp, PetscBool posterior, PetscInt draw, Vec f)
{
  std::vector<double> w;
  bool                good;

  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCheck(draw >= 0, GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE, "Draw %" PetscInt_FMT " must not be negative", draw);
  PetscCheck(gp->reg->grid, GP_COMM(gp), PETSC_ERR_ORDER, "Call SkeanGPSetGrid() first");
  PetscCallCXX(w.resize(gp->reg->HomeSize()));
  PetscCall(gp->reg->Sample(posterior == PETSC_TRUE, static_cast<std::uint32_t>(draw), w.data(), &good));
  PetscCheck(good, GP_COMM(gp), PETSC_ERR_NOT_CONVERGED, "The solve for the missing values did not converge");
  PetscCall(gp->reg->ToNatural(w.data(), NULL, f));
  PetscFunctionReturn(PETSC_SUCCESS);
}
