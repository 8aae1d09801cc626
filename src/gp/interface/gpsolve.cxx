/* SkeanGP: likelihood, hyper-parameters, posterior, samples */
#include <skean/private/checkpoint.hpp>
#include <skean/private/gpimpl.h> /*I "skeangp.h" I*/
#include <skean/private/random.hpp>
#include <petscblaslapack.h>
#include <petsctao.h>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

using namespace skean;
using namespace skean::gp;

extern PetscLogEvent SKEAN_GPSolve, SKEAN_GPLikelihood, SKEAN_GPPredict;

#define GP_CHECK(gp) PetscCheck((gp) && ((PetscObject)(gp))->classid == SKEAN_GP_CLASSID, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG, "Not a SkeanGP")
#define GP_COMM(gp)  PetscObjectComm((PetscObject)(gp))

/* Maximisations with the estimate of the determinant centred anew, and the change of the logarithms at which that ends */
static constexpr int    kRounds = 4;
static constexpr double kStays  = 0.02;

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
   up to -gp_exactmissing of them, otherwise by stochastic Lanczos quadrature with -gp_probes fixed random vectors, relative to the preconditioner of `SkeanGPSetDeflation()` where there is one; `SkeanGPGetReport()` gives its standard error.
   The gradient is that of the quadrature for these vectors.
   Source: Ubaru, Chen & Saad, SIAM J. Matrix Anal. Appl. 38, 2017, for the quadrature.

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
  PetscInt            nx        = 0;
  double              scale     = 1; /* of the objective: makes the first step of the optimiser, which is the gradient, a short one */
  double              lastvalue = 0;
  int                 same      = 0;
  std::vector<double> best;
  double              bestvalue = std::numeric_limits<double>::infinity();
  std::vector<double> hold; /* where the estimate of the determinant is to be centred before the next evaluation; empty: it is */
  /*
     All evaluations so far, in order: ok, L, log s2f, x, gradient (nx numbers each). A restart hands them to the optimiser again, which so
     comes to the state it had, whatever its memory, and goes on.
  */
  std::vector<double> start, journal;
  size_t              replayed    = 0;
  bool                interrupted = false;
  size_t              Width() const { return 3 + 2 * static_cast<size_t>(nx); }
};

std::string ParameterNames(const Regression *r)
{
  std::string s;
  for (size_t i = 0; i < r->NumParams(); ++i) s += r->ParamName(i) + ";";
  return s;
}

/* The covariance functions without the values of their hyper-parameters, which the optimisation changes */
std::string Structure(const Regression *r)
{
  std::string s;
  for (int j = 0; j < r->d; ++j) {
    Kernel1D                  k(r->kernel[j]);
    const std::vector<double> zero(k.NumParams(), 0.0);
    k.SetParams(zero.data());
    s += (j ? "," : "") + (r->userK[j].empty() ? k.Text() : "matrix");
  }
  return s;
}

/* FNV-1a of the bits of some numbers, the same on machines of either byte order */
std::int64_t Hash(const std::vector<double> &v, std::int64_t start)
{
  std::uint64_t h = static_cast<std::uint64_t>(start);
  for (double x : v) {
    std::uint64_t bits;
    std::memcpy(&bits, &x, sizeof(bits));
    for (int k = 0; k < 64; k += 8) h = (h ^ ((bits >> k) & 0xff)) * 1099511628211u;
  }
  return static_cast<std::int64_t>(h);
}

/* For each dimension: its number of points, and a checksum of its coordinates, its noise factor and a covariance matrix of the user's. All processes have the same */
std::vector<std::int64_t> GridMarks(const Regression *r)
{
  std::vector<std::int64_t> marks;
  for (int j = 0; j < r->d; ++j) {
    marks.push_back(r->n[j]);
    marks.push_back(Hash(r->userK[j], Hash(r->sqrtD[j], Hash(r->x[j], 1469598103934665603))));
  }
  return marks;
}

} // namespace

/* Mean and variance of the data; their sum with fixed random weights, which a change of their places changes too, and the sum of absolute values for its rounding */
static PetscErrorCode DataMarks(Regression *r, std::vector<double> *marks)
{
  const RandomStream stream(0, Purpose::Certificate);
  const TensorBox    home  = r->grid->Home();
  const double       shift = std::sqrt(r->yvar); /* a gap elsewhere counts, whatever the values are */
  double             s[2]  = {0, 0};

  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < r->HomeSize(); ++i) {
    PetscInt64 rest = i, natural = 0, stride = 1;
    if (!r->Observed(i)) continue;
    for (int j = r->d - 1; j >= 0; --j) {
      natural += (home.lo[j] + rest % home.Length(j)) * stride;
      rest /= home.Length(j);
      stride *= r->n[j];
    }
    const double known = r->Noisy(i) ? 1 + 1 / (1 + r->excess[i]) : 1.0; /* what noise it has counts too */
    s[0] += stream.Uniform(static_cast<std::uint64_t>(natural)) * known * (shift + r->y[i]);
    s[1] += shift + std::abs(r->y[i]);
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, s, 2, MPI_DOUBLE, MPI_SUM, r->comm));
  PetscCallCXX(*marks = {r->mean, r->yvar, s[0], s[1]});
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The parameters of the regression from the optimiser's, s2f = 1 where it is eliminated */
static PetscErrorCode SetFromOptimizer(SkeanGP gp, const double *x, PetscInt nx)
{
  std::vector<double> theta;

  PetscFunctionBegin;
  PetscCallCXX(theta.assign(x, x + nx));
  if (gp->profile) PetscCallCXX(theta.insert(theta.end() - 1, 0.0));
  gp->reg->SetParams(theta.data());
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteCheckpoint(Objective *o)
{
  SkeanGP             gp = o->gp;
  Regression         *r  = gp->reg;
  CheckpointWriter    w;
  std::vector<double> data;

  PetscFunctionBegin;
  PetscCall(DataMarks(r, &data));
  PetscCall(w.Open(GP_COMM(gp), gp->solver.checkpointfile, "SkeanGP"));
  PetscCall(w.PutString("parameters", ParameterNames(r)));
  PetscCall(w.PutInts("problem", {r->N, r->nobs, gp->profile ? 1 : 0, gp->solver.seed, r->probes, r->exactlimit}));
  PetscCall(w.PutString("covariance", Structure(r)));
  PetscCall(w.PutInts("grid", GridMarks(r)));
  PetscCall(w.PutReals("data", data));
  PetscCall(w.PutReals("start", o->start));
  PetscCall(w.PutReals("evaluations", o->journal));
  PetscCall(w.Close());
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadCheckpoint(Objective *o)
{
  SkeanGP                   gp   = o->gp;
  Regression               *r    = gp->reg;
  const char               *file = gp->solver.restartfile;
  CheckpointReader          c;
  std::string               names, covariance;
  std::vector<std::int64_t> problem, grid;
  std::vector<double>       data, mydata;
  const std::vector<double> start(o->start);

  PetscFunctionBegin;
  PetscCall(c.Open(GP_COMM(gp), file, "SkeanGP"));
  PetscCheck(c.Has("covariance") && c.Has("grid"), GP_COMM(gp), PETSC_ERR_FILE_UNEXPECTED,
             "%s was written by an older version, which did not write down of which covariance functions and coordinates it is: start again without it", file);
  PetscCall(c.GetString("covariance", &covariance));
  PetscCall(c.GetInts("grid", &grid));
  PetscCall(c.GetString("parameters", &names));
  PetscCall(c.GetInts("problem", &problem));
  PetscCall(c.GetReals("data", &data));
  PetscCall(c.GetReals("start", &o->start));
  PetscCall(c.GetReals("evaluations", &o->journal));
  PetscCall(c.Close());
  PetscCheck(names == ParameterNames(r), GP_COMM(gp), PETSC_ERR_FILE_UNEXPECTED, "%s is of a regression with the hyper-parameters %s, this one has %s", file,
             names.c_str(), ParameterNames(r).c_str());
  const std::vector<std::int64_t> mine{r->N, r->nobs, gp->profile ? 1 : 0, gp->solver.seed, r->probes, r->exactlimit};
  PetscCheck(problem == mine, GP_COMM(gp), PETSC_ERR_FILE_UNEXPECTED,
             "%s is of another regression: number of points, observed values, -gp_profile, -gp_seed, -gp_probes and -gp_exactmissing must be the same", file);
  const std::vector<std::int64_t> mygrid = GridMarks(r);
  PetscCheck(covariance == Structure(r), GP_COMM(gp), PETSC_ERR_FILE_UNEXPECTED,
             "%s is of a regression with the covariance functions %s (the values set aside), this one has %s", file, covariance.c_str(), Structure(r).c_str());
  PetscCheck(grid.size() == mygrid.size(), GP_COMM(gp), PETSC_ERR_FILE_UNEXPECTED, "%s is of a grid of %d dimensions, this one has %d", file,
             static_cast<int>(grid.size() / 2), r->d);
  for (int j = 0; j < r->d; ++j)
    PetscCheck(grid[2 * j] == mygrid[2 * j] && grid[2 * j + 1] == mygrid[2 * j + 1], GP_COMM(gp), PETSC_ERR_FILE_UNEXPECTED,
               "%s is of another grid: the points (or the matrix, or the noise factor) of dimension %d differ", file, j);
  PetscCall(DataMarks(r, &mydata));
  PetscCheck(data.size() == mydata.size() && std::abs(data[0] - r->mean) <= 1e-10 * (std::abs(r->mean) + std::sqrt(r->yvar)) &&
               std::abs(data[1] - r->yvar) <= 1e-10 * r->yvar && std::abs(data[2] - mydata[2]) <= 1e-10 * mydata[3],
             GP_COMM(gp), PETSC_ERR_FILE_UNEXPECTED, "%s is of other data: the values, their places or the places of the missing ones differ", file);
  PetscCheck(o->start.size() == static_cast<size_t>(o->nx) && o->journal.size() % o->Width() == 0, GP_COMM(gp), PETSC_ERR_FILE_UNEXPECTED,
             "%s holds evaluations of another length", file);
  /* those that are not fixed start where the checkpoint's did */
  for (PetscInt k : r->fixed) {
    const PetscInt i = gp->profile && k == o->nx ? o->nx - 1 : k;
    PetscCheck(std::abs(o->start[i] - start[i]) <= 1e-10 * (1 + std::abs(start[i])), GP_COMM(gp), PETSC_ERR_FILE_UNEXPECTED,
               "%s has another value of the fixed hyper-parameter %" PetscInt_FMT " (%s): %g, this one %g", file, k,
               r->ParamName(static_cast<size_t>(k)).c_str(), o->start[i], start[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The log likelihood at x: from the journal, if this is what was evaluated there, otherwise computed, written down, and a signal looked for. The numbers are those of process 0. */
static PetscErrorCode Evaluate(Objective *o, const double *x, bool wantgradient, double *L, double *g, bool *ok)
{
  SkeanGP             gp    = o->gp;
  Regression         *r     = gp->reg;
  const PetscInt      nx    = o->nx;
  const size_t        width = o->Width();
  std::vector<double> row, grad;

  PetscFunctionBegin;
  if (o->replayed < o->journal.size() && !std::equal(x, x + nx, o->journal.data() + o->replayed + 3)) {
    PetscCall(PetscInfo(gp, "The optimiser leaves the path of the checkpoint after %d evaluations\n", static_cast<int>(o->replayed / width)));
    PetscCallCXX(o->journal.resize(o->replayed));
  }
  if (o->replayed < o->journal.size())
    PetscCallCXX(
      row.assign(o->journal.begin() + static_cast<std::ptrdiff_t>(o->replayed), o->journal.begin() + static_cast<std::ptrdiff_t>(o->replayed + width)));
  else {
    bool good;
    if (!o->hold.empty()) {
      PetscCall(SetFromOptimizer(gp, o->hold.data(), nx));
      PetscCall(r->HoldControl());
      o->hold.clear();
    }
    PetscCall(SetFromOptimizer(gp, x, nx));
    PetscCall(PetscLogEventBegin(SKEAN_GPLikelihood, gp, 0, 0, 0));
    PetscCall(r->LogLikelihood(gp->profile, L, wantgradient ? &grad : nullptr, &good));
    PetscCall(PetscLogEventEnd(SKEAN_GPLikelihood, gp, 0, 0, 0));
    gp->evaluations++;
    PetscCallCXX(row.assign(width, 0.0));
    row[0] = good;
    row[1] = good ? *L : 0.0;
    row[2] = std::log(r->s2f);
    std::copy(x, x + nx, row.begin() + 3);
    if (good && wantgradient)
      for (PetscInt i = 0; i < nx; ++i) row[3 + nx + i] = grad[i < nx - 1 || !gp->profile ? i : nx]; /* the noise is the last of both */
    PetscCallMPI(MPI_Bcast(row.data(), static_cast<int>(width), MPI_DOUBLE, 0, GP_COMM(gp)));
    PetscCallCXX(o->journal.insert(o->journal.end(), row.begin(), row.end()));
    if (gp->solver.checkpointfile) {
      int sig = SignalLatchGet(), any;
      PetscCallMPI(MPI_Allreduce(&sig, &any, 1, MPI_INT, MPI_MAX, GP_COMM(gp)));
      if (any) {
        o->interrupted = true;
        PetscCall(WriteCheckpoint(o));
      }
    }
  }
  o->replayed += width;
  *ok = row[0] != 0.0;
  *L  = row[1];
  if (wantgradient) std::copy(row.begin() + 3 + nx, row.end(), g);
  if (*ok && -*L < o->bestvalue) {
    o->bestvalue = -*L;
    PetscCallCXX(o->best.assign(x, x + nx));
    if (gp->profile) {
      PetscCallCXX(o->best.insert(o->best.end() - 1, row[2]));
      o->best.back() += row[2];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The optimiser runs on every process with the same numbers */
static PetscErrorCode FormObjective(Tao, Vec X, PetscReal *f, Vec G, void *ctx)
{
  Objective       *o  = static_cast<Objective *>(ctx);
  SkeanGP          gp = o->gp;
  const PetscReal *x;
  PetscReal       *g;
  double           L;
  bool             ok    = false;
  const double     scale = o->scale / static_cast<double>(gp->reg->nobs);

  PetscFunctionBegin;
  PetscCall(VecGetArrayRead(X, &x));
  PetscCall(VecGetArrayWrite(G, &g));
  std::fill(g, g + o->nx, 0.0);
  if (!o->interrupted) PetscCall(Evaluate(o, x, true, &L, g, &ok));
  *f = ok ? -L * scale : PETSC_INFINITY; /* no likelihood here: the line search steps back */
  for (PetscInt i = 0; i < o->nx; ++i) g[i] *= -scale;
  for (PetscInt k : gp->reg->fixed) g[gp->profile && k == o->nx ? o->nx - 1 : k] = 0.0;
  PetscCall(VecRestoreArrayWrite(G, &g));
  PetscCall(VecRestoreArrayRead(X, &x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Hyper-parameters and likelihood become those of the iterate x, which the last trial point of a line search need not be: monitors look at them */
static PetscErrorCode ToIterate(Objective *o, const double *x)
{
  SkeanGP             gp    = o->gp;
  const PetscInt      nx    = o->nx;
  const size_t        width = o->Width();
  std::vector<double> theta;

  PetscFunctionBegin;
  for (size_t k = o->replayed; k >= width; k -= width) {
    const double *row = o->journal.data() + (k - width);
    if (!std::equal(x, x + nx, row + 3)) continue;
    PetscCallCXX(theta.assign(x, x + nx));
    if (gp->profile) {
      PetscCallCXX(theta.insert(theta.end() - 1, row[2]));
      theta.back() += row[2];
    }
    gp->reg->SetParams(theta.data());
    gp->loglikelihood = row[1];
    break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Monitor(Tao tao, void *ctx)
{
  Objective         *o  = static_cast<Objective *>(ctx);
  SkeanGP            gp = o->gp;
  PetscInt           it;
  PetscReal          f, gnorm;
  TaoConvergedReason reason;
  Vec                X;
  const PetscReal   *x;

  PetscFunctionBegin;
  PetscCall(TaoGetSolutionStatus(tao, &it, &f, &gnorm, NULL, NULL, &reason));
  PetscCall(TaoGetSolution(tao, &X));
  PetscCall(VecGetArrayRead(X, &x));
  PetscCall(ToIterate(o, x));
  PetscCall(VecRestoreArrayRead(X, &x));
  PetscCall(SkeanSolverMonitor_Private((PetscObject)gp, &gp->solver, it, gnorm / o->scale));
  /* the line search finds nothing better any more */
  o->same      = it && f == o->lastvalue ? o->same + 1 : 0;
  o->lastvalue = f;
  if ((o->same >= 2 || o->interrupted) && !reason) PetscCall(TaoSetConvergedReason(tao, TAO_DIVERGED_USER));
  const PetscInt interval = gp->solver.checkpointinterval;
  if (gp->solver.checkpointfile && interval > 0 && it && it % interval == 0 && o->replayed == o->journal.size()) PetscCall(WriteCheckpoint(o));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static SkeanConvergedReason ReasonOf(TaoConvergedReason reason, bool byatol)
{
  switch (reason) {
  case TAO_CONVERGED_GATOL:
    return byatol ? SKEAN_CONVERGED_ATOL : SKEAN_CONVERGED_RTOL;
  case TAO_CONVERGED_GRTOL:
  case TAO_CONVERGED_GTTOL:
    return SKEAN_CONVERGED_RTOL;
  case TAO_DIVERGED_MAXITS:
  case TAO_DIVERGED_MAXFCN:
    return SKEAN_DIVERGED_ITS;
  case TAO_DIVERGED_LS_FAILURE:
    return SKEAN_DIVERGED_LINE_SEARCH;
  case TAO_DIVERGED_USER:
    return SKEAN_DIVERGED_STAGNATION;
  case TAO_DIVERGED_NAN:
    return SKEAN_DIVERGED_NANORINF;
  default:
    return reason > 0 ? SKEAN_CONVERGED_RTOL : SKEAN_DIVERGED_BREAKDOWN;
  }
}

/* One maximisation from x, which becomes the best point found. gradient: norm at the first x of a sequence of maximisations, found out if negative */
static PetscErrorCode Maximize(Objective *o, double *x, double *gradient, PetscInt *its, SkeanConvergedReason *reason)
{
  SkeanGP            gp = o->gp;
  Regression        *r  = gp->reg;
  const PetscInt     nx = o->nx;
  Tao                tao;
  Vec                X, G0, lo, hi;
  PetscReal          f0, g0, *l, *h;
  TaoConvergedReason taoreason;
  PetscInt           it;

  PetscFunctionBegin;
  *reason      = SKEAN_DIVERGED_ROUNDING_FLOOR;
  o->bestvalue = std::numeric_limits<double>::infinity();
  o->scale     = 1.0;
  o->same      = 0;
  PetscCallCXX(o->hold.assign(x, x + nx));
  PetscCall(VecCreateSeqWithArray(PETSC_COMM_SELF, 1, nx, x, &X));
  /* TAO takes an infinite starting value for an error of the program */
  PetscCall(VecDuplicate(X, &G0));
  PetscCall(FormObjective(NULL, X, &f0, G0, o));
  PetscCall(VecNorm(G0, NORM_2, &g0));
  PetscCall(VecDestroy(&G0));
  if (std::isfinite(f0)) {
    if (*gradient < 0) *gradient = g0;
    o->scale = g0 > 0.5 ? 0.5 / g0 : 1.0;
    PetscCall(TaoCreate(PETSC_COMM_SELF, &tao));
    PetscCall(TaoSetOptionsPrefix(tao, r->prefix.c_str()));
    PetscCall(TaoAppendOptionsPrefix(tao, "gp_"));
    PetscCall(TaoSetType(tao, TAOBLMVM));
    PetscCall(TaoSetSolution(tao, X));
    PetscCall(TaoSetObjectiveAndGradient(tao, NULL, FormObjective, o));
    /* logarithms stay within six natural units (a factor of 400) of the start, frequencies free; the noise above the rounding floor */
    PetscCall(VecDuplicate(X, &lo));
    PetscCall(VecDuplicate(X, &hi));
    PetscCall(VecGetArrayWrite(lo, &l));
    PetscCall(VecGetArrayWrite(hi, &h));
    for (PetscInt i = 0; i < nx; ++i) {
      const bool islog = r->ParamName(static_cast<size_t>(i)).compare(0, 4, "log ") == 0;
      l[i]             = islog ? o->start[i] - 6 : PETSC_NINFINITY;
      h[i]             = islog ? o->start[i] + 6 : PETSC_INFINITY;
    }
    if (gp->profile) {
      l[nx - 1] = std::log(Floor(r));
      h[nx - 1] = std::log(1e8);
    }
    for (PetscInt k : r->fixed) {
      const PetscInt i = gp->profile && k == nx ? nx - 1 : k;
      l[i] = h[i] = o->start[i];
    }
    PetscCall(VecRestoreArrayWrite(lo, &l));
    PetscCall(VecRestoreArrayWrite(hi, &h));
    PetscCall(TaoSetVariableBounds(tao, lo, hi));
    PetscCall(VecDestroy(&lo));
    PetscCall(VecDestroy(&hi));
    PetscCall(TaoSetMaximumIterations(tao, gp->solver.max_it));
    PetscCall(SkeanTaoMonitorSet(tao, Monitor, o, NULL));
    PetscCall(TaoSetTolerances(tao, std::max(gp->solver.atol, gp->solver.rtol * *gradient) * o->scale, 0.0, 0.0));
    PetscCall(TaoSetFromOptions(tao));
    PetscCall(TaoSolve(tao));
    PetscCall(TaoGetConvergedReason(tao, &taoreason));
    PetscCall(TaoGetIterationNumber(tao, &it));
    *reason = ReasonOf(taoreason, gp->solver.atol > gp->solver.rtol * *gradient);
    *its += it;
    PetscCall(TaoDestroy(&tao));
  }
  PetscCall(VecDestroy(&X));
  if (!o->best.empty() && std::isfinite(o->bestvalue)) {
    std::copy(o->best.begin(), o->best.begin() + nx, x);
    if (gp->profile) x[nx - 1] = o->best[nx] - o->best[nx - 1]; /* log s2n - log s2f */
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Optimize(SkeanGP gp)
{
  Regression          *r = gp->reg;
  Objective            o;
  std::vector<double>  bestall;
  double               bestvalue  = std::numeric_limits<double>::infinity();
  SkeanConvergedReason bestreason = SKEAN_DIVERGED_BREAKDOWN;
  PetscInt             bestits    = 0;
  const bool           estimated  = r->nfree > r->exactlimit;
  const RandomStream   stream(gp->solver.seed, Purpose::Restart);

  PetscFunctionBegin;
  PetscCheck(r->yvar > 0, GP_COMM(gp), PETSC_ERR_ARG_WRONG, "All observed values are the same: a constant field determines no hyper-parameters");
  for (PetscInt k : r->fixed) {
    const PetscInt np = static_cast<PetscInt>(r->NumParams());
    PetscCheck(k >= 0 && k < np, GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE, "Fixed hyper-parameter %" PetscInt_FMT " of %" PetscInt_FMT, k, np);
    PetscCheck(!gp->profile || k != np - 2, GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE, "The signal variance is eliminated and cannot be fixed; use -gp_profile 0");
  }
  /* with the signal variance eliminated the last one is log(noise/signal) */
  o.gp    = gp;
  o.start = r->Params();
  if (gp->profile) {
    const double ratio = r->Ratio();
    o.start.pop_back();
    o.start.back() = std::log(std::max(ratio, 10 * Floor(r)));
  }
  const PetscInt nx = o.nx = static_cast<PetscInt>(o.start.size());
  if (gp->solver.restartfile) PetscCall(ReadCheckpoint(&o));
  if (gp->solver.checkpointfile) PetscCall(SignalLatchBegin());
  for (PetscInt run = 0; run <= gp->restarts && !o.interrupted; ++run) {
    std::vector<double>  x(o.start);
    double               gradient = -1;
    PetscInt             its      = 0;
    SkeanConvergedReason reason   = SKEAN_DIVERGED_BREAKDOWN;
    if (run) {
      /* the best of several random points: likelihoods have plateaus (a length scale far below the spacing) from which no gradient leads away */
      double bestL = -std::numeric_limits<double>::infinity();
      PetscCallCXX(o.hold = o.start);
      for (int candidate = 0; candidate < 8 && !o.interrupted; ++candidate) {
        std::vector<double> c(o.start);
        double              L;
        bool                ok;
        for (PetscInt i = 0; i < nx; ++i) c[i] += 1.5 * stream.Normal(static_cast<std::uint64_t>(8 * run + candidate), static_cast<std::uint64_t>(i));
        for (PetscInt k : r->fixed) c[gp->profile && k == nx ? nx - 1 : k] = o.start[gp->profile && k == nx ? nx - 1 : k];
        if (gp->profile) c[nx - 1] = std::max(c[nx - 1], std::log(10 * Floor(r)));
        PetscCall(Evaluate(&o, c.data(), false, &L, NULL, &ok));
        if (ok && L > bestL) {
          bestL = L;
          x     = c;
        }
      }
    }
    /* an estimated determinant is most accurate near the point it is centred at: centred anew at the maximum, until that stays */
    for (int round = 0; round < kRounds && !o.interrupted; ++round) {
      const std::vector<double> from(x);
      double                    moved = 0;
      PetscCall(Maximize(&o, x.data(), &gradient, &its, &reason));
      for (PetscInt i = 0; i < nx; ++i) moved = std::max(moved, std::abs(x[i] - from[i]));
      if (!estimated || moved < kStays || !std::isfinite(o.bestvalue)) break;
    }
    if (o.bestvalue < bestvalue) {
      bestvalue  = o.bestvalue;
      bestall    = o.best;
      bestreason = reason;
      bestits    = its;
    }
  }
  r->ReleaseControl();
  if (gp->solver.checkpointfile) {
    if (!o.interrupted) PetscCall(WriteCheckpoint(&o));
    PetscCall(SignalLatchEnd());
  }
  if (!bestall.empty()) {
    r->SetParams(bestall.data());
    gp->loglikelihood = -bestvalue;
  }
  gp->solver.its = bestits;
  if (o.interrupted)
    gp->solver.reason = SKEAN_DIVERGED_INTERRUPTED;
  else if (bestall.empty())
    gp->solver.reason = SKEAN_DIVERGED_ROUNDING_FLOOR;
  else {
    gp->solver.reason = bestreason;
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
   With more missing points than -gp_exactmissing the determinant is estimated from fixed random vectors relative to a fixed preconditioner, and the gradient is that of
   this estimate, so that the optimiser sees one smooth function; at its maximum the preconditioner is renewed and the optimisation goes on until the maximum stays.
   -gp_checkpoint writes all evaluations of the likelihood every -gp_checkpoint_interval iterations, at the end, and when SIGTERM or SIGUSR1 comes, which also stops
   (`SKEAN_DIVERGED_INTERRUPTED`); -gp_restart hands them to the optimiser again, without computing them, and goes on from there, on any number of processes.
   A checkpoint is taken only for the same covariance functions (whatever the values of their hyper-parameters), the same coordinates, and the same data.
   Then (K + s I) alpha = y is solved, through the eigenvectors of the factors and, with missing points, by filling the gaps with conjugate gradients (options with prefix
   -gp_fill_). The residual is computed with the factors themselves and the solve is refined if it is not at rounding level.
   Where a dimension's points (and its noise factor) are symmetric about their middle, all covariance matrices are centrosymmetric: the eigenvectors are found at a quarter of the flops, and
   all products along that dimension, of likelihood, gradient, solve and variance, take half of them. Points that are symmetric but for rounding count too: where the matrix K is centrosymmetric
   but for 64 units of rounding of its norm, the mean of K and its reversal takes its place (-mat_skeankron_evenodd 0: never); `-info` tells the distance.
   The tolerance of the filling, -gp_fill_rtol, is that of the residual on the missing block: scattered gaps are found in some ten iterations to 1e-8;
   of large ones the slow modes are deflated, see `SkeanGPSetDeflation()`.
   Source: Saatci, Scalable inference for structured Gaussian process models, PhD thesis, Cambridge 2011, chapter 5.
   Not converging is no error unless `-gp_error_if_not_converged`; see `SkeanGPGetConvergedReason()`.

   Errors: `PETSC_ERR_ORDER` if something is not set; `PETSC_ERR_ARG_WRONG` for a constant field with optimisation; `PETSC_ERR_FILE_UNEXPECTED` for a checkpoint of another problem.

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
  gp->loglikelihood = std::numeric_limits<PetscReal>::quiet_NaN();
  gp->solver.reason = SKEAN_CONVERGED_ITS;
  if (gp->optimize) PetscCall(Optimize(gp));
  if (gp->solver.reason != SKEAN_DIVERGED_ROUNDING_FLOOR && gp->solver.reason != SKEAN_DIVERGED_INTERRUPTED) {
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
  report->loglikelihood  = gp->loglikelihood;
  report->filliterations = r->fillits;
  report->missing        = static_cast<PetscInt>(r->N - r->nobs);
  report->evaluations    = gp->evaluations;
  report->deflated       = r->deflation.Ready() ? static_cast<PetscInt>(r->deflation.Modes()) : 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPComputeParameterDeviations - Posterior standard deviations of the hyper-parameters, by Laplace's approximation

   Collective

   Input Parameter:
.  gp - the regression, with data, at hyper-parameters that maximise the likelihood

   Output Parameter:
.  sd - as many numbers as `SkeanGPGetNumParameters()` says, in the coordinates of the optimiser: for a logarithm theta exp(theta - 1.96 sd) to exp(theta + 1.96 sd) is a 95 per cent
        credible interval; zero for those of `SkeanGPSetFixedParameters()`; NaN for all others where the log likelihood has no maximum here

   Level: intermediate

   Notes:
   Flat priors in the coordinates of the optimiser: the inverse of the negative Hessian of the log likelihood, found by central differences of the gradient, two
   gradients for each hyper-parameter that is not fixed. The posterior is only near to normal; where a hyper-parameter hardly matters its interval says no more than that.
   The hyper-parameters are as before afterwards; the weights of the posterior mean are found again when they are needed.
   Source: MacKay, Information Theory, Inference and Learning Algorithms, 2003, chapter 27.

.seealso: `SkeanGPSolve()`, `SkeanGPGetParameters()`, `SkeanGPGetParameterName()`
@*/
PetscErrorCode SkeanGPComputeParameterDeviations(SkeanGP gp, PetscReal sd[])
{
  constexpr double    step = 1e-3;
  Regression         *r;
  std::vector<double> g[2], H, theta;
  std::vector<size_t> free;
  PetscReal           L;
  PetscBLASInt        n, info = 0;
  bool                good = true;

  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCheck(sd, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: sd");
  r = gp->reg;
  PetscCheck(r->havedata, GP_COMM(gp), PETSC_ERR_ORDER, "No data; call SkeanGPSetData()");
  const std::vector<double> centre = r->Params();
  PetscCallCXX({
    for (size_t i = 0; i < centre.size(); ++i)
      if (std::find(r->fixed.begin(), r->fixed.end(), static_cast<PetscInt>(i)) == r->fixed.end()) free.push_back(i);
    H.assign(free.size() * free.size(), 0.0);
  });
  std::fill(sd, sd + centre.size(), 0.0);
  n = static_cast<PetscBLASInt>(free.size());
  if (!n) PetscFunctionReturn(PETSC_SUCCESS);
  if (r->nfree > r->exactlimit) PetscCall(r->HoldControl()); /* an estimated determinant is one smooth function then */
  for (size_t c = 0; c < free.size() && good; ++c) {
    for (int k = 0; k < 2 && good; ++k) {
      PetscCallCXX(theta = centre);
      theta[free[c]] += k ? -step : step;
      r->SetParams(theta.data());
      PetscCall(r->LogLikelihood(false, &L, &g[k], &good));
    }
    for (size_t i = 0; i < free.size() && good; ++i) {
      const double h = 0.5 * (g[1][free[i]] - g[0][free[i]]) / (2 * step);
      H[i + c * free.size()] += h;
      H[c + i * free.size()] += h;
    }
  }
  r->ReleaseControl();
  r->SetParams(centre.data());
  if (good) {
    PetscCallMPI(MPI_Bcast(H.data(), n * n, MPI_DOUBLE, 0, GP_COMM(gp)));
    LAPACKpotrf_("L", &n, H.data(), &n, &info);
    if (!info) LAPACKpotri_("L", &n, H.data(), &n, &info);
  }
  for (size_t i = 0; i < free.size(); ++i) sd[free[i]] = good && !info ? std::sqrt(H[i * (free.size() + 1)]) : std::numeric_limits<PetscReal>::quiet_NaN();
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
   the mean over -gp_variance_samples random vectors, an unbiased estimate with relative standard error sqrt(2/samples) of this part alone. At the missing points only the part of the
   variance that comes from other missing points is estimated, what remains if all neighbours were known is exact (Siden, Lindgren, Bolin & Villani, Efficient covariance approximations
   for large sparse precision matrices, Journal of Computational and Graphical Statistics 27, 2018: Rao-Blackwellised Monte Carlo).

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
