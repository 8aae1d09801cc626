/* SkeanGP: creation, what the user sets, options, view */
#include <skean/private/gpimpl.h> /*I "skeangp.h" I*/
#include <skean/private/reduce.hpp>
#include <cmath>
#include <limits>
#include <type_traits>

using namespace skean;
using namespace skean::gp;

static_assert(std::is_standard_layout<_p_SkeanGP>::value, "a PetscObject");

PetscClassId  SKEAN_GP_CLASSID = 0;
PetscLogEvent SKEAN_GPSolve, SKEAN_GPLikelihood, SKEAN_GPPredict;

PetscErrorCode SkeanGPInitializePackage_Private(void)
{
  PetscFunctionBegin;
  PetscCall(PetscClassIdRegister("SkeanGP", &SKEAN_GP_CLASSID));
  PetscCall(PetscLogEventRegister("SkeanGPSolve", SKEAN_GP_CLASSID, &SKEAN_GPSolve));
  PetscCall(PetscLogEventRegister("SkeanGPLikelih", SKEAN_GP_CLASSID, &SKEAN_GPLikelihood));
  PetscCall(PetscLogEventRegister("SkeanGPPredict", SKEAN_GP_CLASSID, &SKEAN_GPPredict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* PetscValidHeaderSpecific() vanishes from an optimised PETSc */
#define GP_CHECK(gp) PetscCheck((gp) && ((PetscObject)(gp))->classid == SKEAN_GP_CLASSID, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG, "Not a SkeanGP")
#define GP_COMM(gp)  PetscObjectComm((PetscObject)(gp))

/*@
   SkeanGPCreate - Creates a Gaussian-process regression

   Collective

   Input Parameter:
.  comm - communicator

   Output Parameter:
.  gp - the regression

   Level: beginner

.seealso: `SkeanGP`, `SkeanGPSetGrid()`, `SkeanGPSetKernel()`, `SkeanGPSetData()`, `SkeanGPSolve()`, `SkeanGPDestroy()`
@*/
PetscErrorCode SkeanGPCreate(MPI_Comm comm, SkeanGP *gp)
{
  SkeanGP g;

  PetscFunctionBegin;
  PetscCheck(gp, comm, PETSC_ERR_ARG_NULL, "Null pointer: gp");
  PetscCall(SkeanInitializePackage());
  PetscCall(PetscHeaderCreate(g, SKEAN_GP_CLASSID, "SkeanGP", "Gaussian-process regression", "SkeanGP", comm, SkeanGPDestroy, SkeanGPView));
  PetscCall(SkeanSolverInit_Private(&g->solver, "gp", 100, 1e-5, 0.0));
  PetscCallCXX(g->reg = new Regression());
  g->reg->comm       = GP_COMM(g);
  g->optimize        = PETSC_FALSE;
  g->profile         = PETSC_TRUE;
  g->samplemean      = PETSC_FALSE;
  g->restarts        = 0;
  g->variancesamples = 32;
  g->evaluations     = 0;
  g->loglikelihood   = std::numeric_limits<PetscReal>::quiet_NaN();
  *gp                = g;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPDestroy - Destroys a Gaussian-process regression

   Collective

   Input Parameter:
.  gp - the regression; set to NULL

   Level: beginner

.seealso: `SkeanGPCreate()`
@*/
PetscErrorCode SkeanGPDestroy(SkeanGP *gp)
{
  PetscFunctionBegin;
  if (!*gp) PetscFunctionReturn(PETSC_SUCCESS);
  GP_CHECK(*gp);
  if (--((PetscObject)*gp)->refct > 0) {
    *gp = NULL;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  delete (*gp)->reg;
  PetscCall(SkeanSolverDestroy_Private(&(*gp)->solver));
  PetscCall(PetscHeaderDestroy(gp));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSetOptionsPrefix - Sets the prefix of the options of a Gaussian-process regression

   Logically Collective

   Input Parameters:
+  gp     - the regression
-  prefix - the prefix, without the leading hyphen

   Level: advanced

.seealso: `SkeanGPSetFromOptions()`
@*/
PetscErrorCode SkeanGPSetOptionsPrefix(SkeanGP gp, const char prefix[])
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCall(PetscObjectSetOptionsPrefix((PetscObject)gp, prefix));
  PetscCallCXX(gp->reg->prefix = prefix ? prefix : "");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* -gp_monitor_parameters: quantities and not their logarithms */
static PetscErrorCode MonitorParameters(SkeanGP gp, PetscInt it, PetscReal, void *)
{
  Regression               *r     = gp->reg;
  const std::vector<double> theta = r->Params();

  PetscFunctionBegin;
  PetscCall(PetscPrintf(GP_COMM(gp), "%3" PetscInt_FMT " log likelihood %.10g", it, (double)gp->loglikelihood));
  for (size_t i = 0; i < theta.size(); ++i) {
    const std::string name = r->ParamName(i);
    const bool        log  = name.compare(0, 4, "log ") == 0;
    PetscCall(PetscPrintf(GP_COMM(gp), ", %s %.5g", name.c_str() + (log ? 4 : 0), log ? std::exp(theta[i]) : theta[i]));
  }
  PetscCall(PetscPrintf(GP_COMM(gp), "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSetFromOptions - Sets a Gaussian-process regression from the options database

   Collective

   Input Parameter:
.  gp - the regression

   Options Database Keys:
+  -gp_kernel text          - covariance functions, see `SkeanGPSetKernel()` (the grid must be set)
.  -gp_signal v             - signal variance
.  -gp_noise v              - noise variance
.  -gp_samplemean           - subtract the mean of the observed values
.  -gp_optimize             - find the hyper-parameters that maximise the likelihood
.  -gp_profile bool         - eliminate the signal variance in closed form while optimising (default true)
.  -gp_fix i,j,...          - numbers of hyper-parameters that the optimiser leaves as they are (-1: none)
.  -gp_restarts n           - further optimisations from random starting points
.  -gp_maskedcg             - missing points by conjugate gradients on the observed block, for comparison
.  -gp_fill_rtol r          - relative tolerance of the residual in the solve for the missing points (1e-8)
.  -gp_fill_max_it n        - its largest number of iterations
.  -gp_fill_modes n         - largest number of slow modes of large gaps that are deflated, see `SkeanGPSetDeflation()`
.  -gp_fill_theta t         - smallest eigenvalue that is deflated, over the noise (60)
.  -gp_fill_reach n         - steps on the grid to the neighbours that precondition small groups of gaps, see `SkeanGPSetNeighbors()`
.  -gp_probes n             - random vectors for the log determinant with missing points
.  -gp_exactmissing n       - number of missing points up to which the log determinant and the variance are exact
.  -gp_variance_samples n   - random vectors for the variance with missing points
.  -gp_max_it n             - iterations of the optimiser
.  -gp_rtol r               - relative tolerance of its gradient
.  -gp_atol r               - absolute tolerance of its gradient (of the log likelihood per point)
.  -gp_seed n               - seed
.  -gp_monitor              - print the gradient's norm at each iteration of the optimiser
.  -gp_monitor_parameters   - print the log likelihood and the hyper-parameters at each iteration
.  -gp_monitor_cancel       - remove all monitors
.  -gp_converged_reason     - print why it stopped
.  -gp_view                 - view the regression after the solve
.  -gp_error_if_not_converged - make it an error if it has not converged
.  -gp_checkpoint file      - write the state of the optimisation there, see `SkeanGPSolve()`; without optimisation there is none
.  -gp_checkpoint_interval n - iterations between checkpoints (0: only at the end and on SIGTERM or SIGUSR1)
.  -gp_restart file         - go on with the optimisation of a checkpoint
-  -mat_skeankron_evenodd bool - split covariance matrices of grids that are symmetric about their middle into even and odd parts (default true)

   Level: beginner

.seealso: `SkeanGPCreate()`, `SkeanGPSetKernel()`
@*/
PetscErrorCode SkeanGPSetFromOptions(SkeanGP gp)
{
  char        text[4096] = "";
  PetscBool   set, flg, mcg;
  PetscReal   s2f, s2n;
  PetscInt    restarts, fillits, exact;
  Regression *r;

  PetscFunctionBegin;
  GP_CHECK(gp);
  r        = gp->reg;
  s2f      = r->s2f;
  s2n      = r->s2n;
  restarts = gp->restarts;
  fillits  = r->fillmaxit;
  exact    = r->exactlimit;
  mcg      = r->maskedcg ? PETSC_TRUE : PETSC_FALSE;
  PetscObjectOptionsBegin((PetscObject)gp);
  PetscCall(PetscOptionsString("-gp_kernel", "Covariance functions, one per dimension", "SkeanGPSetKernel", text, text, sizeof(text), &set));
  if (set) PetscCall(SkeanGPSetKernel(gp, text));
  PetscCall(PetscOptionsReal("-gp_signal", "Signal variance", "SkeanGPSetVariances", s2f, &s2f, &set));
  PetscCall(PetscOptionsReal("-gp_noise", "Noise variance", "SkeanGPSetVariances", s2n, &s2n, &flg));
  if (set || flg) PetscCall(SkeanGPSetVariances(gp, s2f, s2n));
  flg = gp->samplemean;
  PetscCall(PetscOptionsBool("-gp_samplemean", "Subtract the mean of the observed values", "SkeanGPSetSampleMean", flg, &flg, &set));
  if (set) PetscCall(SkeanGPSetSampleMean(gp, flg));
  PetscCall(PetscOptionsBool("-gp_optimize", "Maximise the likelihood", "SkeanGPSetOptimize", gp->optimize, &gp->optimize, NULL));
  PetscCall(PetscOptionsBool("-gp_profile", "Eliminate the signal variance", "", gp->profile, &gp->profile, NULL));
  {
    PetscInt fix[64] = {-1}, nfix = 64; /* the help prints the first */
    if (!r->fixed.empty()) fix[0] = r->fixed[0];
    PetscCall(PetscOptionsIntArray("-gp_fix", "Hyper-parameters that are not optimised (-1: none)", "SkeanGPSetFixedParameters", fix, &nfix, &set));
    if (set) PetscCall(SkeanGPSetFixedParameters(gp, nfix == 1 && fix[0] == -1 ? 0 : nfix, fix));
  }
  PetscCall(PetscOptionsInt("-gp_restarts", "Further optimisations from random starts", "SkeanGPSetRestarts", restarts, &restarts, &set));
  if (set) PetscCall(SkeanGPSetRestarts(gp, restarts));
  PetscCall(PetscOptionsBool("-gp_maskedcg", "Missing points by conjugate gradients on the observed block", "SkeanGPSetMissingMethod", mcg, &mcg, &set));
  if (set) PetscCall(SkeanGPSetMissingMethod(gp, mcg));
  PetscCall(PetscOptionsReal("-gp_fill_rtol", "Tolerance of the solve for the missing points", "", r->fillrtol, &r->fillrtol, NULL));
  PetscCall(PetscOptionsInt("-gp_fill_max_it", "Iterations of the solve for the missing points", "", fillits, &fillits, NULL));
  r->fillmaxit = fillits;
  {
    PetscInt  modes = r->deflmodes;
    PetscReal theta = r->defltheta;
    PetscCall(PetscOptionsInt("-gp_fill_modes", "Largest number of slow modes of gaps that are deflated", "SkeanGPSetDeflation", modes, &modes, &set));
    PetscCall(PetscOptionsReal("-gp_fill_theta", "Smallest eigenvalue that is deflated, over the noise", "SkeanGPSetDeflation", theta, &theta, &flg));
    if (set || flg) PetscCall(SkeanGPSetDeflation(gp, modes, theta));
    PetscInt reach = r->reach;
    PetscCall(PetscOptionsInt("-gp_fill_reach", "Steps to the neighbours of gaps that precondition them", "SkeanGPSetNeighbors", reach, &reach, &set));
    if (set) PetscCall(SkeanGPSetNeighbors(gp, reach));
  }
  PetscCall(PetscOptionsInt("-gp_probes", "Random vectors for the log determinant with missing points", "", r->probes, &r->probes, NULL));
  PetscCall(PetscOptionsInt("-gp_exactmissing", "Missing points up to which the log determinant and the variance are exact", "", exact, &exact, NULL));
  r->exactlimit = exact;
  PetscCall(
    PetscOptionsInt("-gp_variance_samples", "Random vectors for the variance with missing points", "", gp->variancesamples, &gp->variancesamples, NULL));
  PetscCheck(r->fillrtol > 0 && r->fillrtol < 1 && r->fillmaxit > 0 && r->probes > 0 && r->exactlimit >= 0 && gp->variancesamples > 0, GP_COMM(gp),
             PETSC_ERR_ARG_OUTOFRANGE,
             "-gp_fill_rtol must be in (0,1); -gp_fill_max_it, -gp_probes and -gp_variance_samples positive; -gp_exactmissing not negative");
  PetscCall(SkeanSolverSetFromOptions_Private((PetscObject)gp, &gp->solver, NULL, PetscOptionsObject));
  PetscCall(PetscOptionsName("-gp_monitor_parameters", "Print the log likelihood and the hyper-parameters at each iteration", "", &set));
  PetscOptionsEnd();
  if (set) PetscCall(SkeanGPMonitorSet(gp, MonitorParameters, NULL, NULL));
  r->seed = gp->solver.seed;
  if (r->ksp) PetscCall(KSPSetTolerances(r->ksp, r->fillrtol, 0.0, PETSC_DEFAULT, r->fillmaxit));
  r->weightsready = false;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPView - Prints a Gaussian-process regression: grid, covariance functions with their hyper-parameters, numerics of the last solve

   Collective

   Input Parameters:
+  gp     - the regression
-  viewer - ASCII viewer, or NULL for standard output

   Level: beginner

.seealso: `SkeanGPGetReport()`
@*/
PetscErrorCode SkeanGPView(SkeanGP gp, PetscViewer viewer)
{
  PetscBool   ascii;
  Regression *r;

  PetscFunctionBegin;
  GP_CHECK(gp);
  r = gp->reg;
  if (!viewer) PetscCall(PetscViewerASCIIGetStdout(GP_COMM(gp), &viewer));
  PetscCall(PetscObjectTypeCompare((PetscObject)viewer, PETSCVIEWERASCII, &ascii));
  if (!ascii) PetscFunctionReturn(PETSC_SUCCESS);
  {
    const char *prefix;
    PetscMPIInt size;
    PetscCall(PetscObjectGetOptionsPrefix((PetscObject)gp, &prefix));
    PetscCallMPI(MPI_Comm_size(GP_COMM(gp), &size));
    PetscCall(PetscViewerASCIIPrintf(viewer, "SkeanGP Object: %s%s%s%d MPI process%s\n", prefix ? "(" : "", prefix ? prefix : "", prefix ? ") " : "", size,
                                     size > 1 ? "es" : ""));
  }
  PetscCall(SkeanSolverView_Private(&gp->solver, viewer));
  for (int j = 0; j < r->d; ++j) {
    if (r->userK[j].empty())
      PetscCall(PetscViewerASCIIPrintf(viewer, "  dimension %d: %" PetscInt64_FMT " points in [%g, %g], covariance %s\n", j, r->n[j],
                                       std::min(r->x[j].front(), r->x[j].back()), std::max(r->x[j].front(), r->x[j].back()),
                                       r->kernel[j].Empty() ? "not set" : r->kernel[j].Text().c_str()));
    else
      PetscCall(PetscViewerASCIIPrintf(viewer, "  dimension %d: %" PetscInt64_FMT " points, covariance matrix of the user's\n", j, r->n[j]));
  }
  PetscCall(PetscViewerASCIIPrintf(viewer, "  signal variance %g, noise variance %g, mean %g\n", r->s2f, r->s2n, r->mean));
  if (r->havedata) PetscCall(PetscViewerASCIIPrintf(viewer, "  %" PetscInt64_FMT " values observed, %" PetscInt64_FMT " missing\n", r->nobs, r->N - r->nobs));
  if (r->weightsready && r->sumsready) {
    SkeanGPReport report;
    PetscCall(SkeanGPGetReport(gp, &report));
    PetscCall(PetscViewerASCIIPrintf(viewer,
                                     "  effective rank %g of %" PetscInt64_FMT ", %g eigenvalues made negative by rounding, condition %.3g, residual %.3g\n",
                                     (double)report.effectiverank, r->N, (double)report.negative, (double)report.condition, (double)report.residual));
    PetscCall(PetscViewerASCIIPrintf(viewer, "  noise over signal %.3g, smallest that rounding allows %.3g\n", (double)r->Ratio(), (double)report.floor));
    if (report.missing)
      PetscCall(PetscViewerASCIIPrintf(
        viewer, "  iterations for missing values %" PetscInt_FMT ", modes deflated %" PetscInt_FMT ", standard error of the log determinant %.3g\n",
        report.filliterations, report.deflated, (double)report.logdeterror));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPSetGrid - Sets the tensor grid of a Gaussian-process regression

   Collective

   Input Parameters:
+  gp - the regression
.  d  - number of dimensions, 1 to 8
.  n  - number of points along each dimension
-  x  - coordinates along each dimension, strictly increasing or decreasing, the same on every process; uniform spacing is not needed

   Level: beginner

   Notes:
   The coordinates are copied. Set anew, everything that depends on the grid (kernels, factors, data) is forgotten.
   Memory is checked here: an error says how much the grid needs and on how many processes it would fit.

   Errors: `PETSC_ERR_ARG_WRONG` for duplicate, unsorted or not finite coordinates; `PETSC_ERR_MEM` for a grid larger than the memory;
   `PETSC_ERR_ARG_OUTOFRANGE` for one larger than the index type.

.seealso: `SkeanGPSetKernel()`, `SkeanGPSetData()`
@*/
PetscErrorCode SkeanGPSetGrid(SkeanGP gp, PetscInt d, const PetscInt n[], const PetscReal *const x[])
{
  Regression *r;

  PetscFunctionBegin;
  GP_CHECK(gp);
  r = gp->reg;
  PetscCheck(d >= 1 && d <= kTensorMaxDim, GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE, "A grid has 1 to %d dimensions, not %" PetscInt_FMT, kTensorMaxDim, d);
  for (PetscInt j = 0; j < d; ++j) {
    PetscCheck(n[j] >= 1, GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE, "Dimension %" PetscInt_FMT " has %" PetscInt_FMT " points", j, n[j]);
    for (PetscInt i = 0; i < n[j]; ++i) {
      PetscCheck(std::isfinite(x[j][i]), GP_COMM(gp), PETSC_ERR_ARG_WRONG, "Coordinate %" PetscInt_FMT " of dimension %" PetscInt_FMT " is not finite", i, j);
      if (!i) continue;
      PetscCheck(x[j][i] != x[j][i - 1], GP_COMM(gp), PETSC_ERR_ARG_WRONG,
                 "Coordinates %" PetscInt_FMT " and %" PetscInt_FMT " of dimension %" PetscInt_FMT " are the same (%g)", i - 1, i, j, (double)x[j][i]);
      PetscCheck((x[j][i] > x[j][i - 1]) == (x[j][1] > x[j][0]), GP_COMM(gp), PETSC_ERR_ARG_WRONG,
                 "The coordinates of dimension %" PetscInt_FMT " are not sorted: %g follows %g at %" PetscInt_FMT, j, (double)x[j][i], (double)x[j][i - 1], i);
    }
  }
  r->grid.reset();
  PetscCall(KSPDestroy(&r->ksp));
  PetscCall(MatDestroy(&r->shell));
  PetscCall(VecDestroy(&r->kx));
  PetscCall(VecDestroy(&r->kb));
  PetscCallCXX({
    r->d = static_cast<int>(d);
    r->x.assign(d, {});
    r->kernel.assign(d, Kernel1D());
    r->userK.assign(d, {});
    r->sqrtD.assign(d, {});
    r->scale.clear();
    for (PetscInt j = 0; j < d; ++j) {
      r->n[j] = n[j];
      r->x[j].assign(x[j], x[j] + n[j]);
    }
  });
  r->havedata = false;
  r->ForgetFactors();
  gp->solver.state = SKEAN_STATE_INITIAL;
  PetscCall(r->MakeGrid());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPSetKernel - Sets the covariance functions of the dimensions from text

   Collective

   Input Parameters:
+  gp     - the regression, with its grid set
-  kernel - one covariance function per dimension separated by commas (a single one serves all dimensions), for example "periodic(1.5,12),matern32(25),matern32(30)"

   Options Database Key:
.  -gp_kernel text - the same

   Level: beginner

   Notes:
   Names: se, matern12, matern32, matern52, matern72 (length scale), periodic (length scale, period), chordal12, chordal32, chordal52, chordal72 (Matern of the chord between
   the points of a circle, for longitudes: length scale, period), rq (length scale, exponent), sm:Q and smt:Q (spectral mixtures of Q components), const, white, and those of
   `SkeanGPKernelRegister()`; sums with + and products with *. Values in parentheses are the starting hyper-parameters in natural units.
   The covariance is the product over the dimensions times the signal variance.

   Errors: `PETSC_ERR_USER_INPUT`, with the position, for text that does not parse or a length scale that is not positive.

.seealso: `SkeanGPGetKernel()`, `SkeanGPSetFactor()`, `SkeanGPSetVariances()`, `SkeanGPKernelRegister()`
@*/
PetscErrorCode SkeanGPSetKernel(SkeanGP gp, const char kernel[])
{
  std::vector<Kernel1D> k;

  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCheck(gp->reg->d > 0, GP_COMM(gp), PETSC_ERR_ORDER, "Call SkeanGPSetGrid() before the covariance functions are set");
  PetscCheck(kernel, GP_COMM(gp), PETSC_ERR_ARG_NULL, "Null text");
  PetscCall(KernelParseList(GP_COMM(gp), kernel, static_cast<size_t>(gp->reg->d), &k));
  PetscCallCXX({
    gp->reg->kernel = std::move(k);
    for (auto &u : gp->reg->userK) u.clear();
  });
  gp->reg->ForgetFactors();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPGetKernel - The covariance function of a dimension as text, with its present hyper-parameters

   Not Collective

   Input Parameters:
+  gp  - the regression
.  dim - the dimension
-  len - length of kernel

   Output Parameter:
.  kernel - the text; it parses back

   Level: beginner

.seealso: `SkeanGPSetKernel()`
@*/
PetscErrorCode SkeanGPGetKernel(SkeanGP gp, PetscInt dim, char kernel[], size_t len)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCheck(dim >= 0 && dim < gp->reg->d, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Dimension %" PetscInt_FMT " of %d", dim, gp->reg->d);
  PetscCall(PetscStrncpy(kernel, gp->reg->kernel[dim].Empty() ? "" : gp->reg->kernel[dim].Text().c_str(), len));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSetFactor - Sets the covariance matrix of a dimension

   Collective

   Input Parameters:
+  gp  - the regression, with its grid set
.  dim - the dimension
-  K   - symmetric positive semi-definite sequential matrix, the same on every process; copied

   Level: intermediate

   Notes:
   In place of a covariance function: without hyper-parameters, and predictions are possible at the data's grid only.

   Errors: `PETSC_ERR_ARG_SIZ` for a wrong size, `PETSC_ERR_ARG_WRONG` for a matrix that is not symmetric.

.seealso: `SkeanGPSetKernel()`
@*/
PetscErrorCode SkeanGPSetFactor(SkeanGP gp, PetscInt dim, Mat K)
{
  KronFactor f;

  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCheck(dim >= 0 && dim < gp->reg->d, GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE, "Dimension %" PetscInt_FMT " of %d", dim, gp->reg->d);
  PetscCall(KronFactor::FromMat(K, &f));
  PetscCheck(f.m == gp->reg->n[dim] && f.n == f.m, GP_COMM(gp), PETSC_ERR_ARG_SIZ,
             "The covariance matrix of dimension %" PetscInt_FMT " is %" PetscInt64_FMT " x %" PetscInt64_FMT ", the grid has %" PetscInt64_FMT " points", dim,
             f.m, f.n, gp->reg->n[dim]);
  PetscCheck(f.symmetric, GP_COMM(gp), PETSC_ERR_ARG_WRONG, "The covariance matrix of dimension %" PetscInt_FMT " is not symmetric", dim);
  PetscCallCXX(gp->reg->userK[dim] = f.ToDense());
  gp->reg->ForgetFactors();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSetVariances - Sets the signal variance and the noise variance

   Logically Collective

   Input Parameters:
+  gp     - the regression
.  signal - variance of f, in the data's units squared
-  noise  - variance of e

   Options Database Keys:
+  -gp_signal v - signal variance
-  -gp_noise v  - noise variance

   Level: beginner

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` if one is not positive.

.seealso: `SkeanGPGetVariances()`, `SkeanGPSetNoiseFactor()`
@*/
PetscErrorCode SkeanGPSetVariances(SkeanGP gp, PetscReal signal, PetscReal noise)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCheck(signal > 0 && std::isfinite(signal), GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE, "The signal variance must be positive, is %g", (double)signal);
  PetscCheck(noise > 0 && std::isfinite(noise), GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE, "The noise variance must be positive, is %g", (double)noise);
  gp->reg->s2f          = signal;
  gp->reg->s2n          = noise;
  gp->reg->weightsready = false;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPGetVariances - The signal variance and the noise variance

   Not Collective

   Input Parameter:
.  gp - the regression

   Output Parameters:
+  signal - variance of f, or NULL
-  noise  - variance of e, or NULL

   Level: beginner

.seealso: `SkeanGPSetVariances()`
@*/
PetscErrorCode SkeanGPGetVariances(SkeanGP gp, PetscReal *signal, PetscReal *noise)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  if (signal) *signal = gp->reg->s2f;
  if (noise) *noise = gp->reg->s2n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSetNoiseFactor - Lets the noise vary along a dimension: its variance at a point is the noise variance times the product of these factors

   Logically Collective

   Input Parameters:
+  gp   - the regression, with its grid set and before `SkeanGPSetData()`
.  dim  - the dimension
-  diag - positive factors, one per point of the dimension, the same on every process; NULL: ones

   Level: intermediate

   Notes:
   Exact, at no cost: the problem is scaled by the square roots, which keeps the product structure.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for a factor that is not positive; `PETSC_ERR_ORDER` after the data were set.

.seealso: `SkeanGPSetVariances()`
@*/
PetscErrorCode SkeanGPSetNoiseFactor(SkeanGP gp, PetscInt dim, const PetscReal diag[])
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCheck(dim >= 0 && dim < gp->reg->d, GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE, "Dimension %" PetscInt_FMT " of %d", dim, gp->reg->d);
  PetscCheck(!gp->reg->havedata, GP_COMM(gp), PETSC_ERR_ORDER, "Set the noise factors before the data");
  std::vector<double> s;
  if (diag) {
    for (PetscInt64 i = 0; i < gp->reg->n[dim]; ++i)
      PetscCheck(diag[i] > 0 && std::isfinite(diag[i]), GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE,
                 "Noise factor %" PetscInt64_FMT " of dimension %" PetscInt_FMT " must be positive, is %g", i, dim, (double)diag[i]);
    PetscCallCXX(s.resize(gp->reg->n[dim]));
    for (PetscInt64 i = 0; i < gp->reg->n[dim]; ++i) s[i] = std::sqrt(diag[i]);
  }
  PetscCallCXX(gp->reg->sqrtD[dim] = s);
  gp->reg->ForgetFactors();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSetNoiseScale - Lets the noise vary from point to point: its variance is that of `SkeanGPSetVariances()` and `SkeanGPSetNoiseFactor()` times these numbers

   Collective

   Input Parameters:
+  gp    - the regression, with its grid set and before `SkeanGPSetData()`
-  scale - a number of at least one for each point of the grid, in natural order: the noise variance set is that of the best points; `PETSC_INFINITY` where a value is
           missing; NULL: ones

   Level: intermediate

   Notes:
   Let A be the inverse of the covariance with the noise of the best points, which is found directly, F the points with more, and E the excess there, noise variance (scale - 1). The
   solve is by conjugate gradients on A_FF + E^-1, preconditioned by its diagonal: points with the noise of the best ones cost nothing, and a point without a value is one
   with E^-1 = 0 (`SkeanGPSetMissingMethod()`, which also offers conjugate gradients on the observed block itself). Iterations and tolerance are those of missing values (-gp_fill_rtol,
   -gp_fill_max_it); neither deflation nor neighbours are used.
   The posterior mean, variance and samples, the likelihood and, for at most as many points with more noise or without a value as -gp_exactmissing says (300), its gradient: beyond that
   the log determinant is estimated (`SkeanGPReport` has its standard error), and a search for hyper-parameters is an error.
   Cost: per iteration that of a solve with all points alike; below -gp_exactmissing a Cholesky factorisation of the matrix of these points.
   Source: Woodbury's identity for the excess noise; Jacobi's complementary minor where a value is missing.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for a number below one or NaN; `PETSC_ERR_ORDER` before the grid or after the data were set; `PETSC_ERR_SUP` in `SkeanGPSolve()` as said.

.seealso: `SkeanGPSetNoiseFactor()`, `SkeanGPSetVariances()`, `SkeanGPSetData()`
@*/
PetscErrorCode SkeanGPSetNoiseScale(SkeanGP gp, Vec scale)
{
  Regression         *r;
  std::vector<double> s;
  double              bad = 0;

  PetscFunctionBegin;
  GP_CHECK(gp);
  r = gp->reg;
  PetscCheck(r->grid, GP_COMM(gp), PETSC_ERR_ORDER, "Call SkeanGPSetGrid() before the noise is set");
  PetscCheck(!r->havedata, GP_COMM(gp), PETSC_ERR_ORDER, "Set the scale of the noise before the data");
  if (scale) {
    PetscCallCXX(s.resize(r->HomeSize()));
    PetscCall(r->FromNatural(scale, NULL, s.data()));
    for (double v : s) bad += !(v >= 1);
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &bad, 1, MPI_DOUBLE, MPI_SUM, GP_COMM(gp)));
    PetscCheck(bad == 0, GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE,
               "%.0f numbers of the scale of the noise are below one or not numbers; give the noise variance of the best points to SkeanGPSetVariances()", bad);
  }
  r->scale = std::move(s);
  r->ForgetFactors();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSetSampleMean - Whether the mean of the observed values is subtracted before and added after

   Logically Collective

   Input Parameters:
+  gp  - the regression, before `SkeanGPSetData()`
-  flg - `PETSC_FALSE` (the default): the prior mean is zero

   Options Database Key:
.  -gp_samplemean - subtract it

   Level: beginner

   Notes:
   The mean is treated as known: its uncertainty is not in the variance.

.seealso: `SkeanGPSetData()`
@*/
PetscErrorCode SkeanGPSetSampleMean(SkeanGP gp, PetscBool flg)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCheck(!gp->reg->havedata || gp->samplemean == flg, GP_COMM(gp), PETSC_ERR_ORDER, "Choose the mean before the data are set");
  gp->samplemean = flg;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPCreateVec - Creates a vector for data or results, in natural order

   Collective

   Input Parameter:
.  gp - the regression, with its grid set

   Output Parameter:
.  v - vector with one entry per grid point, the last dimension fastest, distributed so that setting data needs no communication where possible

   Level: beginner

.seealso: `SkeanGPSetData()`, `SkeanGPGetPosterior()`
@*/
PetscErrorCode SkeanGPCreateVec(SkeanGP gp, Vec *v)
{
  Regression *r;
  bool        slab = true;

  PetscFunctionBegin;
  GP_CHECK(gp);
  r = gp->reg;
  PetscCheck(r->grid, GP_COMM(gp), PETSC_ERR_ORDER, "Call SkeanGPSetGrid() first");
  for (int j = 1; j < r->d; ++j) slab = slab && r->grid->Processes(0, j) == 1;
  PetscCall(VecCreateMPI(GP_COMM(gp), slab ? static_cast<PetscInt>(r->HomeSize()) : PETSC_DECIDE, static_cast<PetscInt>(r->N), v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSetData - Sets the observed values

   Collective

   Input Parameters:
+  gp   - the regression, with its grid set
.  y    - values in natural order, in any distribution
-  mask - vector of the same layout, zero where a value is missing (whatever y holds there); NULL: all are observed

   Level: beginner

   Notes:
   Copied. One scatter if the distribution is not that of `SkeanGPCreateVec()`.

   Errors: `PETSC_ERR_ARG_WRONG` if an observed value is NaN or infinite, or if all values are missing; `PETSC_ERR_ARG_SIZ` for a wrong length.

.seealso: `SkeanGPCreateVec()`, `SkeanGPSolve()`, `SkeanGPSetSampleMean()`
@*/
PetscErrorCode SkeanGPSetData(SkeanGP gp, Vec y, Vec mask)
{
  Regression         *r;
  std::vector<double> v, k;
  PetscInt64          m;

  PetscFunctionBegin;
  GP_CHECK(gp);
  r = gp->reg;
  PetscCheck(r->grid, GP_COMM(gp), PETSC_ERR_ORDER, "Call SkeanGPSetGrid() before the data are set");
  m = r->HomeSize();
  PetscCallCXX(v.resize(m));
  PetscCall(r->FromNatural(y, NULL, v.data()));
  if (mask) {
    PetscCallCXX(k.resize(m));
    PetscCall(r->FromNatural(mask, NULL, k.data()));
  }
  double                     e[4] = {0, 0, 0, 0}; /* observed, not finite, sum, free */
  StableSum                  sum;
  std::vector<unsigned char> seen;
  PetscCallCXX(seen.assign(m, 1));
  for (PetscInt64 i = 0; i < m; ++i) {
    if ((mask && k[i] == 0.0) || (!r->scale.empty() && r->scale[i] >= PETSC_INFINITY)) seen[i] = 0;
    if (!seen[i] || (!r->scale.empty() && r->scale[i] > 1)) e[3] += 1;
    if (!seen[i]) continue;
    e[0] += 1;
    if (!std::isfinite(v[i]))
      e[1] += 1;
    else
      sum.Add(v[i]);
  }
  e[2] = sum.Value();
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, e, 4, MPI_DOUBLE, MPI_SUM, GP_COMM(gp)));
  PetscCheck(e[0] > 0, GP_COMM(gp), PETSC_ERR_ARG_WRONG, "All %" PetscInt64_FMT " values are missing", r->N);
  PetscCheck(e[1] == 0, GP_COMM(gp), PETSC_ERR_ARG_WRONG, "%.0f observed values are NaN or infinite; mark missing values with the mask", e[1]);
  const double average = e[2] / e[0];
  r->mean              = gp->samplemean ? average : 0.0;
  r->nobs              = static_cast<PetscInt64>(e[0]);
  r->nfree             = static_cast<PetscInt64>(e[3]);
  PetscCallCXX({
    r->mask.clear();
    r->excess.clear();
    if (r->nfree) {
      r->mask.resize(m);
      for (PetscInt64 i = 0; i < m; ++i) r->mask[i] = seen[i] && (r->scale.empty() || r->scale[i] == 1);
    }
    if (r->nfree > r->N - r->nobs) {
      r->excess.assign(m, 0.0);
      for (PetscInt64 i = 0; i < m; ++i)
        if (seen[i] && !r->mask[i]) r->excess[i] = 1 / (r->scale[i] - 1);
    }
  });
  StableSum var;
  for (PetscInt64 i = 0; i < m; ++i) {
    if (!seen[i]) {
      v[i] = 0.0;
      continue;
    }
    var.Add((v[i] - average) * (v[i] - average));
    v[i] -= r->mean;
  }
  r->yvar = var.Value();
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &r->yvar, 1, MPI_DOUBLE, MPI_SUM, GP_COMM(gp)));
  r->yvar /= e[0];
  bool scaled = false;
  for (int j = 0; j < r->d; ++j) scaled = scaled || !r->sqrtD[j].empty();
  if (scaled) {
    std::vector<std::vector<double>>         inv(r->d);
    std::vector<std::vector<const double *>> p(1, std::vector<const double *>(r->d, nullptr));
    for (int j = 0; j < r->d; ++j) {
      PetscCallCXX(inv[j] = r->sqrtD[j]);
      for (double &s : inv[j]) s = 1 / s;
      if (!inv[j].empty()) p[0][j] = inv[j].data();
    }
    ForSpectrum(r->grid->Home(), 0.0, std::vector<double>(1, 1.0), p, [&](PetscInt64 at, double s) { v[at] *= s; });
  }
  r->y             = std::move(v);
  r->havedata      = true;
  r->weightsready  = false;
  r->deflratio     = -1;
  gp->solver.state = SKEAN_STATE_INITIAL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPGetNumParameters - Number of hyper-parameters

   Not Collective

   Input Parameter:
.  gp - the regression, with its covariance functions set

   Output Parameter:
.  np - number: those of the covariance functions by dimension, then log signal variance and log noise variance

   Level: intermediate

.seealso: `SkeanGPGetParameters()`, `SkeanGPGetParameterName()`
@*/
PetscErrorCode SkeanGPGetNumParameters(SkeanGP gp, PetscInt *np)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCheck(np, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: np");
  *np = static_cast<PetscInt>(gp->reg->NumParams());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPGetParameterName - Name of a hyper-parameter, such as "log x1.ell"

   Not Collective

   Input Parameters:
+  gp  - the regression
.  i   - number of the hyper-parameter
-  len - length of name

   Output Parameter:
.  name - the name; "log" in front: the parameter is the logarithm of the quantity

   Level: intermediate

.seealso: `SkeanGPGetNumParameters()`
@*/
PetscErrorCode SkeanGPGetParameterName(SkeanGP gp, PetscInt i, char name[], size_t len)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCheck(i >= 0 && i < static_cast<PetscInt>(gp->reg->NumParams()), PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Hyper-parameter %" PetscInt_FMT " of %d", i,
             static_cast<int>(gp->reg->NumParams()));
  PetscCall(PetscStrncpy(name, gp->reg->ParamName(static_cast<size_t>(i)).c_str(), len));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPGetParameters - The hyper-parameters, in the coordinates of the optimiser

   Not Collective

   Input Parameter:
.  gp - the regression

   Output Parameter:
.  theta - as many numbers as `SkeanGPGetNumParameters()` says

   Level: intermediate

.seealso: `SkeanGPSetParameters()`, `SkeanGPGetParameterName()`
@*/
PetscErrorCode SkeanGPGetParameters(SkeanGP gp, PetscReal theta[])
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  const std::vector<double> t = gp->reg->Params();
  std::copy(t.begin(), t.end(), theta);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSetParameters - Sets the hyper-parameters, in the coordinates of the optimiser

   Logically Collective

   Input Parameters:
+  gp    - the regression
-  theta - as `SkeanGPGetParameters()` gives them

   Level: intermediate

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for a number that is not finite.

.seealso: `SkeanGPGetParameters()`
@*/
PetscErrorCode SkeanGPSetParameters(SkeanGP gp, const PetscReal theta[])
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  for (size_t i = 0; i < gp->reg->NumParams(); ++i)
    PetscCheck(std::isfinite(theta[i]), GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE, "Hyper-parameter %d (%s) is not finite", static_cast<int>(i),
               gp->reg->ParamName(i).c_str());
  gp->reg->SetParams(theta);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSetOptimize - Whether `SkeanGPSolve()` first maximises the likelihood over the hyper-parameters

   Logically Collective

   Input Parameters:
+  gp  - the regression
-  flg - `PETSC_FALSE` (the default): they are used as given

   Options Database Key:
.  -gp_optimize - optimise

   Level: beginner

.seealso: `SkeanGPSolve()`, `SkeanGPSetRestarts()`
@*/
PetscErrorCode SkeanGPSetOptimize(SkeanGP gp, PetscBool flg)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  gp->optimize = flg;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPSetFixedParameters - Names hyper-parameters that the optimiser leaves as they are, for example a known period

   Logically Collective

   Input Parameters:
+  gp    - the regression
.  n     - their number
-  which - their numbers, in the order of `SkeanGPGetParameters()`; log signal variance cannot be fixed while it is eliminated (-gp_profile)

   Options Database Key:
.  -gp_fix i,j,... - the same

   Level: intermediate

   Errors: `PETSC_ERR_ARG_OUTOFRANGE`, at the solve, for a number that does not exist.

.seealso: `SkeanGPSetOptimize()`, `SkeanGPGetParameterName()`
@*/
PetscErrorCode SkeanGPSetFixedParameters(SkeanGP gp, PetscInt n, const PetscInt which[])
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCallCXX(gp->reg->fixed.assign(which, which + n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSetRestarts - Sets the number of further optimisations from random starting points; the best result is kept

   Logically Collective

   Input Parameters:
+  gp       - the regression
-  restarts - number, 0 by default

   Options Database Key:
.  -gp_restarts n - the same

   Level: intermediate

.seealso: `SkeanGPSetOptimize()`, `SkeanGPSetSeed()`
@*/
PetscErrorCode SkeanGPSetRestarts(SkeanGP gp, PetscInt restarts)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCheck(restarts >= 0, GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE, "Number of restarts %" PetscInt_FMT " must not be negative", restarts);
  gp->restarts = restarts;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSetMissingMethod - Chooses how missing points are treated in the solve

   Logically Collective

   Input Parameters:
+  gp       - the regression
-  maskedcg - `PETSC_FALSE` (the default): solve for the missing values with the full grid's inverse; `PETSC_TRUE`: conjugate gradients on the observed block, for comparison

   Options Database Key:
.  -gp_maskedcg - the latter

   Level: advanced

.seealso: `SkeanGPSolve()`
@*/
PetscErrorCode SkeanGPSetMissingMethod(SkeanGP gp, PetscBool maskedcg)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  gp->reg->maskedcg     = maskedcg == PETSC_TRUE;
  gp->reg->weightsready = false;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSetDeflation - Chooses how many slow modes of large gaps are deflated in the solve for missing values

   Logically Collective

   Input Parameters:
+  gp    - the regression
.  modes - largest number; 0: none; `PETSC_DECIDE` (the default): at most 2000, and only where the gaps make the solve slow
-  theta - eigenvalues above theta times the noise are taken, or `PETSC_DEFAULT` (60)

   Options Database Keys:
+  -gp_fill_modes n - largest number
-  -gp_fill_theta t - smallest eigenvalue over the noise

   Level: advanced

   Notes:
   Smooth functions that live inside a large gap make conjugate gradients slow. The missing block of the full grid's inverse is preconditioned with the same block of
   the inverse in which all but the r largest eigenvalues of the covariance are taken for zero. Its condition number is then at most 1 + theta' for any gaps, where theta' is theta or, if
   there are more than `modes` eigenvalues above theta, the largest one left out over the noise. Scattered gaps need no deflation; whether gaps are slow is judged from the 128 largest eigenvalues
   and by the number of iterations.
   Cost: about N r_last^2 + ... + n_0 r^2 operations (the Gram matrix of the eigenvectors on the missing points, dimension by dimension, with the last first; r_k: eigenvalues
   of the dimensions from k on that take part) and r^3/3 for its factorisation, again for every new set of hyper-parameters; r^2 numbers on each process. Applied: two truncated mode products, one sum of r numbers.
   Source: an eigenvector Nystroem preconditioner (Williams & Seeger, NIPS 2000) on the missing block, with Woodbury's identity.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for a theta that is not positive or a negative number.

.seealso: `SkeanGPSolve()`, `SkeanGPSetMissingMethod()`
@*/
PetscErrorCode SkeanGPSetDeflation(SkeanGP gp, PetscInt modes, PetscReal theta)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  if (theta == (PetscReal)PETSC_DEFAULT) theta = kDeflationTheta;
  PetscCheck(modes >= 0 || modes == PETSC_DECIDE, GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE, "Number of modes %" PetscInt_FMT " must not be negative", modes);
  PetscCheck(theta > 0 && std::isfinite(theta), GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE, "theta %g must be positive", (double)theta);
  gp->reg->deflmodes    = modes;
  gp->reg->defltheta    = theta;
  gp->reg->deflratio    = -1;
  gp->reg->weightsready = false;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSetNeighbors - Chooses whether the solve for missing values is preconditioned by entries between neighbouring gaps

   Logically Collective

   Input Parameters:
+  gp    - the regression
-  reach - steps along each dimension up to which points are neighbours; 0: no such preconditioner; `PETSC_DECIDE` (the default): 2 in up to three
           dimensions, otherwise 1, and only where the first iterations promise that it pays

   Options Database Key:
.  -gp_fill_reach n - the steps

   Level: advanced

   Notes:
   Where the field is rough on the grid and the noise is small, small groups of neighbouring gaps make conjugate gradients slow. The entries of the missing
   block of the full grid's inverse between neighbours are computed exactly, and from them a factorised sparse approximate inverse of the block (Kolotilina
   and Yeremin, SIAM J. Matrix Anal. Appl. 14, 1993, 45-58), the same for any number of processes, which is the preconditioner. Neighbours are at most reach
   steps apart in every dimension, and no more than max(reach^2 + 1, d) when squared steps are added up over the d dimensions. Where what is cut off makes a
   group of them indefinite, a multiple of its diagonal is added; `-info :ksp` tells in how many. Modes of large gaps that are deflated
   (`SkeanGPSetDeflation()`) come first: with PETSC_DECIDE for both, one or the other is taken; with a number for reach and PETSC_DECIDE for the modes,
   neighbours.
   Cost, for every new set of hyper-parameters: one chain of mode products (half an iteration, or one where iterations are split into even and odd parts) for
   each pair of opposite neighbours and for the diagonal, less what chains have in common: for reach 2 in 3 dimensions 43 products instead of 87. For each
   missing point as many numbers meanwhile as there are chains, and a Cholesky factorisation of the matrix of its missing neighbours on one side; 12 bytes for
   each of these afterwards. Applied: two products with a sparse matrix that has a row per missing point, no reductions.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for a negative number or one above 8; in `SkeanGPSolve()` where (2 reach + 1)^d is above 2^20.

.seealso: `SkeanGPSolve()`, `SkeanGPSetDeflation()`, `SkeanGPSetMissingMethod()`
@*/
PetscErrorCode SkeanGPSetNeighbors(SkeanGP gp, PetscInt reach)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCheck(reach == PETSC_DECIDE || (reach >= 0 && reach <= 8), GP_COMM(gp), PETSC_ERR_ARG_OUTOFRANGE,
             "Steps to neighbours %" PetscInt_FMT " must be in [0,8]", reach);
  gp->reg->reach        = reach;
  gp->reg->deflratio    = -1;
  gp->reg->weightsready = false;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSetTolerances - Sets when the optimiser stops

   Logically Collective

   Input Parameters:
+  gp     - the regression
.  rtol   - norm of the gradient relative to that at the start, or `PETSC_DEFAULT`
.  atol   - norm of the gradient of the log likelihood per observed point, or `PETSC_DEFAULT`
-  max_it - number of iterations, or `PETSC_DEFAULT`

   Options Database Keys:
+  -gp_rtol r   - relative tolerance (1e-5)
.  -gp_atol r   - absolute tolerance (0)
-  -gp_max_it n - iterations (100)

   Level: intermediate

.seealso: `SkeanGPSolve()`, `SkeanGPSetOptimize()`
@*/
PetscErrorCode SkeanGPSetTolerances(SkeanGP gp, PetscReal rtol, PetscReal atol, PetscInt max_it)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCall(SkeanSolverSetTolerances_Private((PetscObject)gp, &gp->solver, rtol, atol, max_it));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPSetSeed - Sets the seed of samples, probes and restarts

   Logically Collective

   Input Parameters:
+  gp   - the regression
-  seed - 64-bit seed

   Options Database Key:
.  -gp_seed n - the same

   Level: intermediate

.seealso: `SkeanGPSample()`
@*/
PetscErrorCode SkeanGPSetSeed(SkeanGP gp, SkeanSeed seed)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  gp->solver.seed = gp->reg->seed = seed;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPMonitorSet - Adds a function that is called at each iteration of the optimiser

   Logically Collective

   Input Parameters:
+  gp      - the regression
.  monitor - function of the regression, the iteration number, the norm of the gradient of the log likelihood per point, and the context
.  ctx     - context, or NULL
-  destroy - destructor of the context, or NULL

   Options Database Key:
.  -gp_monitor - print the norm

   Level: intermediate

   Notes:
   While it is called `SkeanGPGetParameters()`, `SkeanGPGetVariances()` and `SkeanGPGetKernel()` give the hyper-parameters of the iterate. -gp_monitor_parameters prints them.

.seealso: `SkeanGPSolve()`
@*/
PetscErrorCode SkeanGPMonitorSet(SkeanGP gp, PetscErrorCode (*monitor)(SkeanGP, PetscInt, PetscReal, void *), void *ctx, PetscErrorCode (*destroy)(void **))
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCall(SkeanSolverMonitorSet_Private((PetscObject)gp, &gp->solver, reinterpret_cast<SkeanMonitorFn_Private>(reinterpret_cast<void (*)(void)>(monitor)),
                                          ctx, destroy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPGetConvergedReason - Why the last solve stopped

   Not Collective

   Input Parameter:
.  gp - the regression

   Output Parameter:
.  reason - negative: not converged. `SKEAN_CONVERGED_ITS` without optimisation; `SKEAN_DIVERGED_ROUNDING_FLOOR`: the covariance is not positive definite in floating
   point or the residual of the solve is above 1e-6, the noise is too small; `SKEAN_DIVERGED_LINEAR_SOLVE`: the solve for the missing values

   Level: beginner

.seealso: `SkeanGPSolve()`, `SkeanConvergedReason`
@*/
PetscErrorCode SkeanGPGetConvergedReason(SkeanGP gp, SkeanConvergedReason *reason)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCheck(reason, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: reason");
  *reason = gp->solver.reason;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPGetIterationNumber - Iterations of the optimiser in the last solve

   Not Collective

   Input Parameter:
.  gp - the regression

   Output Parameter:
.  its - iterations

   Level: beginner

.seealso: `SkeanGPSolve()`
@*/
PetscErrorCode SkeanGPGetIterationNumber(SkeanGP gp, PetscInt *its)
{
  PetscFunctionBegin;
  GP_CHECK(gp);
  PetscCheck(its, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: its");
  *its = gp->solver.its;
  PetscFunctionReturn(PETSC_SUCCESS);
}
