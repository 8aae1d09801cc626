static const char help[] =
  "Gaussian-process regression of a function on a tensor grid with missing values.\n\n"
  "  skean-gp -grid sst.nc:SST -gp_kernel \"periodic(1.5,12),matern32(25),matern32(30)\" -gp_optimize -o posterior.nc -plot maps.png\n\n"
  "  -grid file[:variable]  the data: NetCDF, HDF5, NumPy, CSV, image\n"
  "  -nan_missing           take NaN for missing where a NetCDF or HDF5 file does not declare it so (by default an error)\n"
  "  -noise_scale file[:variable]  for each point how many times the noise variance it has (at least 1; missing: no value there)\n"
  "  -holdout fraction      hide this part of the observed values and report the error there\n"
  "  -holdout_seed n        seed of the choice (default 1)\n"
  "  -train a:b,c:d,...     find the hyper-parameters on this part of the grid (first index:one past the last, per dimension)\n"
  "  -intervals bool        95 % credible intervals of the hyper-parameters that were searched for (default false: each costs two gradients)\n"
  "  -variance bool         the posterior variance too (default true), with how well the values left out one by one agree with it\n"
  "  -o file                write the filled field and its standard deviation (.nc, .h5)\n"
  "  -plot file             draw both for the first index of leading dimensions (.png, .svg, .pdf)\n"
  "  -gp_...                see SkeanGPSetFromOptions()\n"
  "Without -gp_kernel: Matern-5/2 with a fifth of the range of each dimension. Without -gp_signal and -gp_noise: the variance of the observed values, and a "
  "hundredth\n"
  "of it (the values that the list of options names are those of the library alone). The mean of the observed values is subtracted unless -gp_samplemean 0.\n"
  "Exit code: 0 converged, 1 not converged, 2 error. -traceback: where an error arose.\n\n";

#include "driver.hpp"
#include <skeangp.h>
#include <skeanio.h>
#include <skean/private/gridload.hpp>
#include <skean/private/memory.hpp>
#include <skean/private/plot.hpp>
#include <skean/private/random.hpp>
#include <petsctime.h>
#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace {

/* The text of covariance functions with 12 digits of every number, as the variances are told. A number begins where no name goes on: not in matern52, not in sm:2 */
std::string Shorter(const char *text)
{
  std::string out;
  bool        inname = false;
  while (*text) {
    char  *end = nullptr;
    double v   = 0;
    if (!inname && (std::isdigit(static_cast<unsigned char>(*text)) || *text == '-')) v = std::strtod(text, &end);
    if (end && end > text) {
      char s[32];
      std::snprintf(s, sizeof(s), "%.12g", v);
      out += s;
      text = end;
      continue;
    }
    inname = std::isalnum(static_cast<unsigned char>(*text)) || *text == '_' || *text == ':';
    out += *text++;
  }
  return out;
}

/* What is said about the values of some points: how many, the error of their predictions, how many lie in the 95 % interval, as it is and widened */
struct Judgement {
  PetscReal count = 0, rmse = 0, within = 0, calibrated = 0;
};

/* At the points where hidden is 1; var NULL: no intervals; noise: variances; factor: of the standard deviation in the widened interval */
PetscErrorCode Judge(Vec truth, Vec hidden, Vec mean, Vec var, Vec noise, PetscReal factor, Judgement *out)
{
  const PetscScalar *t, *h, *m, *v = NULL, *e;
  PetscInt           n;
  double             s[4] = {0, 0, 0, 0};

  PetscFunctionBegin;
  PetscCall(VecGetLocalSize(truth, &n));
  PetscCall(VecGetArrayRead(truth, &t));
  PetscCall(VecGetArrayRead(hidden, &h));
  PetscCall(VecGetArrayRead(mean, &m));
  PetscCall(VecGetArrayRead(noise, &e));
  if (var) PetscCall(VecGetArrayRead(var, &v));
  for (PetscInt i = 0; i < n; ++i) {
    if (h[i] == 0.0) continue;
    s[0] += 1;
    s[1] += (t[i] - m[i]) * (t[i] - m[i]);
    if (v) {
      const double half = 1.96 * std::sqrt(v[i] + e[i]);
      s[2] += std::abs(t[i] - m[i]) <= half;
      s[3] += std::abs(t[i] - m[i]) <= factor * half;
    }
  }
  PetscCall(VecRestoreArrayRead(truth, &t));
  PetscCall(VecRestoreArrayRead(hidden, &h));
  PetscCall(VecRestoreArrayRead(mean, &m));
  PetscCall(VecRestoreArrayRead(noise, &e));
  if (var) PetscCall(VecRestoreArrayRead(var, &v));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, s, 4, MPI_DOUBLE, MPI_SUM, PetscObjectComm((PetscObject)truth)));
  out->count = s[0];
  if (s[0] > 0) {
    out->rmse       = std::sqrt(s[1] / s[0]);
    out->within     = s[2] / s[0];
    out->calibrated = s[3] / s[0];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   Every observed value predicted from all others (Rasmussen & Williams 2006, eqs. 5.10 to 5.12): from mean m and variance v of f given all values,
   with V^-1_ii = (1 - v_i/noise)/noise, the residual is (y_i - m_i)/(1 - v_i/noise), its variance noise/(1 - v_i/noise).
   within: the part in the 95 % interval; factor: what the standard deviations have to be multiplied with so that it is 95 %. Both are quantiles, so that a few values
   whose estimated v_i is near the noise do no harm; a mean square would not be.
*/
PetscErrorCode LeaveOneOut(Vec y, Vec mask, Vec mean, Vec var, Vec noise, PetscReal *within, PetscReal *factor)
{
  const MPI_Comm      comm = PetscObjectComm((PetscObject)y);
  const PetscScalar  *t, *h, *m, *v, *e;
  PetscInt            n;
  double              s[2] = {0, 0}, lo = 0, hi = 0;
  std::vector<double> z; /* residuals over their standard deviations */

  PetscFunctionBegin;
  PetscCall(VecGetLocalSize(y, &n));
  PetscCall(VecGetArrayRead(y, &t));
  PetscCall(VecGetArrayRead(mask, &h));
  PetscCall(VecGetArrayRead(mean, &m));
  PetscCall(VecGetArrayRead(var, &v));
  PetscCall(VecGetArrayRead(noise, &e));
  for (PetscInt i = 0; i < n; ++i) {
    const double left = 1 - v[i] / e[i];
    if (h[i] == 0.0 || !(left > 1e-3)) continue; /* a value that all others say nothing about, or an estimated variance above its bound */
    PetscCallCXX(z.push_back(std::abs(t[i] - m[i]) / std::sqrt(left * e[i])));
    s[0] += 1;
    s[1] += z.back() <= 1.96;
    hi = std::max(hi, z.back());
  }
  PetscCall(VecRestoreArrayRead(y, &t));
  PetscCall(VecRestoreArrayRead(mask, &h));
  PetscCall(VecRestoreArrayRead(mean, &m));
  PetscCall(VecRestoreArrayRead(var, &v));
  PetscCall(VecRestoreArrayRead(noise, &e));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, s, 2, MPI_DOUBLE, MPI_SUM, comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &hi, 1, MPI_DOUBLE, MPI_MAX, comm));
  *within = *factor = 0;
  if (!(s[0] > 0)) PetscFunctionReturn(PETSC_SUCCESS);
  *within = s[1] / s[0];
  for (int step = 0; step < 50 && hi > lo; ++step) {
    const double mid   = 0.5 * (lo + hi);
    double       below = static_cast<double>(std::count_if(z.begin(), z.end(), [mid](double a) { return a <= mid; }));
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &below, 1, MPI_DOUBLE, MPI_SUM, comm));
    (below < 0.95 * s[0] ? lo : hi) = mid;
  }
  *factor = hi / 1.96;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An optimisation that stopped early leaves parameters that can be used; any other failure leaves no posterior */
bool Usable(SkeanConvergedReason reason)
{
  return reason > 0 || reason == SKEAN_DIVERGED_ITS || reason == SKEAN_DIVERGED_STAGNATION || reason == SKEAN_DIVERGED_LINE_SEARCH;
}

/* What a run says that a signal ended: there is no posterior, and nothing is written but the checkpoint */
PetscErrorCode PrintInterrupted(MPI_Comm comm, PetscInt its)
{
  char file[PETSC_MAX_PATH_LEN] = "";

  PetscFunctionBegin;
  PetscCall(PetscOptionsGetString(NULL, NULL, "-gp_checkpoint", file, sizeof(file), NULL));
  PetscCall(PetscPrintf(comm, "interrupted after %" PetscInt_FMT " steps; state in %s; continue with -gp_restart %s\n", its, file, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* 95 % credible intervals of the hyper-parameters that were searched for */
PetscErrorCode PrintIntervals(SkeanGP gp, MPI_Comm comm)
{
  PetscInt np;
  char     name[64];

  PetscFunctionBegin;
  PetscCall(SkeanGPGetNumParameters(gp, &np));
  std::vector<PetscReal> theta(np), sd(np);
  PetscCall(SkeanGPGetParameters(gp, theta.data()));
  PetscCall(SkeanGPComputeParameterDeviations(gp, sd.data()));
  for (PetscInt i = 0; i < np; ++i) {
    PetscCall(SkeanGPGetParameterName(gp, i, name, sizeof(name)));
    const bool   log = !std::strncmp(name, "log ", 4);
    const double lo = theta[i] - 1.96 * sd[i], hi = theta[i] + 1.96 * sd[i];
    PetscCall(PetscPrintf(comm, "  %s %.5g", name + (log ? 4 : 0), log ? std::exp(theta[i]) : theta[i]));
    if (sd[i] > 0)
      PetscCall(PetscPrintf(comm, ", 95 %% credible interval %.5g to %.5g\n", log ? std::exp(lo) : lo, log ? std::exp(hi) : hi));
    else
      PetscCall(PetscPrintf(comm, sd[i] == 0 ? ", fixed\n" : ", no interval: the log likelihood has no maximum in the interior here\n"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The scale of the noise at the points of the grid; where it has no value there is none of the data either: mask becomes 0 */
PetscErrorCode ReadNoiseScale(MPI_Comm comm, const char file[], PetscInt d, const PetscInt dims[], Vec mask, Vec *scale)
{
  SkeanGrid       grid;
  const PetscInt *sizes;
  PetscInt        nd, n;
  Vec             values, known;
  PetscScalar    *s, *m;

  PetscFunctionBegin;
  PetscCall(SkeanGridLoadFile(comm, file, &grid));
  PetscCall(SkeanGridGetDims(grid, &nd, &sizes));
  PetscCheck(nd == d && std::equal(dims, dims + d, sizes), comm, PETSC_ERR_USER_INPUT, "-noise_scale %s has not the sizes of the data", file);
  PetscCall(SkeanGridGetValues(grid, &values));
  PetscCall(SkeanGridCreateMask(grid, &known));
  PetscCall(VecDuplicate(mask, scale));
  PetscCall(VecCopy(values, *scale));
  PetscCall(VecPointwiseMult(mask, mask, known));
  PetscCall(VecGetLocalSize(mask, &n));
  PetscCall(VecGetArray(*scale, &s));
  PetscCall(VecGetArray(mask, &m));
  for (PetscInt i = 0; i < n; ++i)
    if (m[i] == 0.0) s[i] = 1.0; /* of no value, whatever it is */
  PetscCall(VecRestoreArray(*scale, &s));
  PetscCall(VecRestoreArray(mask, &m));
  PetscCall(VecDestroy(&known));
  PetscCall(SkeanGridDestroy(&grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Variances that rounding, or the estimate of gaps, made negative are zero, and it is said how many and how far */
PetscErrorCode NotNegative(Vec var)
{
  const MPI_Comm comm = PetscObjectComm((PetscObject)var);
  PetscScalar   *v;
  PetscInt       n, below = 0;
  PetscReal      least = 0, most;

  PetscFunctionBegin;
  PetscCall(VecMax(var, NULL, &most));
  PetscCall(VecGetLocalSize(var, &n));
  PetscCall(VecGetArray(var, &v));
  for (PetscInt i = 0; i < n; ++i) {
    if (!(v[i] < 0)) continue;
    ++below;
    least = std::min(least, v[i]);
    v[i]  = 0;
  }
  PetscCall(VecRestoreArray(var, &v));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &below, 1, MPIU_INT, MPI_SUM, comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &least, 1, MPIU_REAL, MPI_MIN, comm));
  if (below)
    PetscCall(PetscPrintf(comm, "%" PetscInt_FMT " variances came out below zero, by no more than %.1e of the largest, and are taken for zero\n", below,
                          (double)(-least / most)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The hyper-parameters of gp from the part of the data that the text names; gp is not optimised further. stopped: why the search ended */
PetscErrorCode Train(SkeanGP gp, const char text[], PetscInt d, const PetscInt dims[], const std::vector<const PetscReal *> &x, Vec y, Vec mask, bool intervals,
                     SkeanConvergedReason *stopped)
{
  MPI_Comm                       comm = PetscObjectComm((PetscObject)y);
  SkeanGP                        part;
  std::vector<PetscInt>          lo(d), n(d), idx;
  std::vector<const PetscReal *> px(d);
  std::string                    kernel, rest = text;
  char                           one[4096];
  PetscInt                       first, last, np, its, N = 1;
  PetscReal                      s2f, s2n;
  Vec                            v[2], whole[2] = {y, mask};
  IS                             is;

  PetscFunctionBegin;
  for (PetscInt j = 0; j < d; ++j) {
    int a, b, used = 0;
    PetscCheck(std::sscanf(rest.c_str(), j + 1 < d ? "%d:%d,%n" : "%d:%d%n", &a, &b, &used) == 2 && used > 0, comm, PETSC_ERR_USER_INPUT,
               "-train %s: expected first:last for each of %d dimensions", text, static_cast<int>(d));
    PetscCheck(a >= 0 && b > a && b <= dims[j], comm, PETSC_ERR_USER_INPUT, "-train %s: %d:%d is no part of dimension %d with %d points", text, a, b,
               static_cast<int>(j), static_cast<int>(dims[j]));
    rest  = rest.substr(static_cast<size_t>(used));
    lo[j] = a;
    n[j]  = b - a;
    px[j] = x[j] + a;
    N *= n[j];
    PetscCall(SkeanGPGetKernel(gp, j, one, sizeof(one)));
    kernel += (j ? "," : "") + std::string(one);
  }
  PetscCall(SkeanGPCreate(comm, &part));
  PetscCall(SkeanGPSetGrid(part, d, n.data(), px.data()));
  PetscCall(SkeanGPSetKernel(part, kernel.c_str()));
  PetscCall(SkeanGPGetVariances(gp, &s2f, &s2n));
  PetscCall(SkeanGPSetVariances(part, s2f, s2n));
  PetscCall(SkeanGPSetSampleMean(part, PETSC_TRUE));
  /* without -gp_kernel, -gp_signal and -gp_noise of the whole grid changing anything: they are the same text */
  PetscCall(SkeanGPSetFromOptions(part));
  PetscCall(SkeanGPSetOptimize(part, PETSC_TRUE));
  for (int k = 0; k < 2; ++k) {
    VecScatter sc;
    PetscCall(SkeanGPCreateVec(part, &v[k]));
    PetscCall(VecGetOwnershipRange(v[k], &first, &last));
    idx.clear();
    for (PetscInt g = first; g < last; ++g) {
      PetscInt q = g, w = 0, stride = 1;
      for (PetscInt j = d - 1; j >= 0; --j) {
        w += (lo[j] + q % n[j]) * stride;
        stride *= dims[j];
        q /= n[j];
      }
      idx.push_back(w);
    }
    PetscCall(ISCreateGeneral(comm, last - first, idx.data(), PETSC_COPY_VALUES, &is));
    PetscCall(VecScatterCreate(whole[k], is, v[k], NULL, &sc));
    PetscCall(VecScatterBegin(sc, whole[k], v[k], INSERT_VALUES, SCATTER_FORWARD));
    PetscCall(VecScatterEnd(sc, whole[k], v[k], INSERT_VALUES, SCATTER_FORWARD));
    PetscCall(VecScatterDestroy(&sc));
    PetscCall(ISDestroy(&is));
  }
  PetscCall(SkeanGPSetData(part, v[0], v[1]));
  PetscLogDouble t0, t1;
  PetscCall(PetscTime(&t0));
  PetscCall(SkeanGPSolve(part));
  PetscCall(PetscTime(&t1));
  PetscCall(SkeanGPGetConvergedReason(part, stopped));
  PetscCall(SkeanGPGetIterationNumber(part, &its));
  if (*stopped == SKEAN_DIVERGED_INTERRUPTED)
    PetscCall(PrintInterrupted(comm, its));
  else {
    SkeanGPReport report;
    PetscCall(SkeanGPGetReport(part, &report));
    PetscCall(PetscPrintf(comm,
                          "hyper-parameters from %" PetscInt_FMT " points, %" PetscInt_FMT " missing: %s, %" PetscInt_FMT " iterations, %" PetscInt_FMT
                          " evaluations, log likelihood %.10g, %.2f s\n",
                          N, report.missing, SkeanConvergedReasons[*stopped], its, report.evaluations, (double)report.loglikelihood, t1 - t0));
    PetscCheck(Usable(*stopped), comm, PETSC_ERR_NOT_CONVERGED, "No hyper-parameters from -train %s: %s", text, SkeanConvergedReasons[*stopped]);
    if (intervals) PetscCall(PrintIntervals(part, comm));
  }
  PetscCall(SkeanGPGetNumParameters(part, &np));
  std::vector<PetscReal> theta(np);
  PetscCall(SkeanGPGetParameters(part, theta.data()));
  PetscCall(SkeanGPSetParameters(gp, theta.data()));
  PetscCall(SkeanGPSetOptimize(gp, PETSC_FALSE));
  PetscCall(VecDestroy(&v[0]));
  PetscCall(VecDestroy(&v[1]));
  PetscCall(SkeanGPDestroy(&part));
  PetscFunctionReturn(PETSC_SUCCESS);
}

struct Settings {
  char      file[PETSC_MAX_PATH_LEN] = "", scale[PETSC_MAX_PATH_LEN] = "", train[1024] = "", output[PETSC_MAX_PATH_LEN] = "", plot[PETSC_MAX_PATH_LEN] = "";
  PetscReal holdout  = 0;
  PetscInt  seed     = 1;
  PetscBool variance = PETSC_TRUE, nanmissing = PETSC_FALSE, intervals = PETSC_FALSE;
};

PetscErrorCode ReadSettings(Settings &s)
{
  PetscFunctionBegin;
  PetscOptionsBegin(PETSC_COMM_WORLD, NULL, "Gaussian-process regression of a grid", "SkeanGP");
  PetscCall(PetscOptionsString("-grid", "The data, file or file:variable", "SkeanGridLoadFile", s.file, s.file, sizeof(s.file), NULL));
  PetscCall(PetscOptionsBool("-nan_missing", "NaN is missing, whatever the file says of it", "", s.nanmissing, &s.nanmissing, NULL));
  PetscCall(PetscOptionsString("-noise_scale", "Noise variance of each point over the noise variance", "SkeanGPSetNoiseScale", s.scale, s.scale,
                               sizeof(s.scale), NULL));
  PetscCall(PetscOptionsReal("-holdout", "Part of the observed values to hide", "", s.holdout, &s.holdout, NULL));
  PetscCall(PetscOptionsInt("-holdout_seed", "Seed of the choice", "", s.seed, &s.seed, NULL));
  PetscCall(PetscOptionsString("-train", "Part of the grid for the hyper-parameters", "", s.train, s.train, sizeof(s.train), NULL));
  PetscCall(PetscOptionsBool("-variance", "The posterior variance too", "", s.variance, &s.variance, NULL));
  PetscCall(PetscOptionsBool("-intervals", "Credible intervals of the hyper-parameters", "SkeanGPComputeParameterDeviations", s.intervals, &s.intervals, NULL));
  PetscCall(PetscOptionsString("-o", "Output file", "SkeanWriteFile", s.output, s.output, sizeof(s.output), NULL));
  PetscCall(PetscOptionsString("-plot", "Picture", "", s.plot, s.plot, sizeof(s.plot), NULL));
  PetscOptionsEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Options of the search for hyper-parameters, in a run that has none */
PetscErrorCode CheckSearch(MPI_Comm comm, const Settings &s)
{
  char      checkpoint[PETSC_MAX_PATH_LEN] = "";
  PetscBool optimize                       = PETSC_FALSE, given;

  PetscFunctionBegin;
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-gp_optimize", &optimize, NULL));
  PetscCheck(!s.train[0] || !s.scale[0], comm, PETSC_ERR_SUP, "-train takes the noise for the same at all points; it does not go together with -noise_scale");
  PetscCheck(optimize || s.train[0] || !s.intervals, comm, PETSC_ERR_USER_INPUT,
             "-intervals is of the search for hyper-parameters and needs -gp_optimize or -train");
  if (!optimize && !s.train[0])
    for (const char *o : {"-gp_restart", "-gp_checkpoint", "-gp_checkpoint_interval", "-gp_restarts", "-gp_fix"}) {
      PetscCall(PetscOptionsHasName(NULL, NULL, o, &given));
      PetscCheck(!given, comm, PETSC_ERR_USER_INPUT, "%s is of the search for hyper-parameters and needs -gp_optimize or -train", o);
    }
  PetscCall(PetscOptionsGetString(NULL, NULL, "-gp_checkpoint", checkpoint, sizeof(checkpoint), NULL));
  PetscCall(driver::CheckOutput(comm, "-gp_checkpoint", checkpoint, {}));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   Before the values are read, and again when it is known whether some are missing: the arrays of the size of the grid at the peak of a run, measured with 200 x 200 x 100
   points. The class counts its own (3.2) when its grid is set, which is after the values and their copies were made.
*/
PetscErrorCode CheckMemory(MPI_Comm comm, PetscInt d, const PetscInt dims[], bool missing)
{
  char   what[128];
  double points = 1, factors = 0;

  PetscFunctionBegin;
  for (PetscInt j = 0; j < d; ++j) {
    points *= static_cast<double>(dims[j]);
    factors += 40.0 * static_cast<double>(dims[j]) * static_cast<double>(dims[j]);
  }
  PetscCall(PetscSNPrintf(what, sizeof(what), "The grid of %.0f points%s", points, missing ? ", some of them missing," : ""));
  PetscCall(skean::CheckMemory(comm, what, (missing ? 19.0 : 10.0) * 8.0 * points, factors));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode PrintOptions(void)
{
  Settings s;
  SkeanGP  gp;

  PetscFunctionBegin;
  PetscCall(ReadSettings(s));
  PetscCall(SkeanGPCreate(PETSC_COMM_WORLD, &gp));
  PetscCall(SkeanGPSetSampleMean(gp, PETSC_TRUE)); /* as Run() does */
  PetscCall(SkeanGPSetFromOptions(gp));
  PetscCall(SkeanGPDestroy(&gp));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Run(driver::ExitCode *code)
{
  Settings             set;
  char                 text[4096];
  PetscReal            s2f, s2n, within = 0, factor = 0;
  Judgement            judged;
  PetscInt             d, nmissing, its;
  SkeanGrid            grid;
  SkeanGP              gp;
  Vec                  values, y, mask, hidden, mean, noise, var = NULL, scale = NULL;
  const PetscInt      *dims;
  SkeanConvergedReason reason;
  SkeanGPReport        report;
  PetscLogDouble       t0, t1, t2;
  const MPI_Comm       comm = PETSC_COMM_WORLD;

  PetscFunctionBegin;
  PetscCall(ReadSettings(set));
  if (!set.file[0]) PetscCall(driver::WarnMisspelt());
  PetscCheck(set.file[0], comm, PETSC_ERR_USER_INPUT, "Give the data with -grid file[:variable]; -help prints the options");
  PetscCheck(set.holdout >= 0 && set.holdout < 1, comm, PETSC_ERR_USER_INPUT, "-holdout %g must be in [0,1)", (double)set.holdout);
  PetscCall(driver::CheckOutput(comm, "-o", set.output, driver::DataEndings()));
  PetscCall(driver::CheckOutput(comm, "-plot", set.plot, driver::PlotEndings()));
  PetscCall(CheckSearch(comm, set));
  PetscCall(SkeanWarnSlowBLAS(comm));

  /* data */
  const auto  Fits = [&](PetscInt nd, const PetscInt sizes[]) { return CheckMemory(comm, nd, sizes, set.holdout > 0); };
  std::string undeclared;
  PetscCall(skean::GridLoadFile(comm, set.file, Fits, &grid, &undeclared));
  PetscCheck(undeclared.empty() || set.nanmissing, comm, PETSC_ERR_USER_INPUT, "%s: %s; declare it in the file, or take it for missing with -nan_missing",
             set.file, undeclared.c_str());
  PetscCall(SkeanGridGetDims(grid, &d, &dims));
  PetscCall(SkeanGridGetValues(grid, &values));
  PetscCall(SkeanGridGetMissing(grid, &nmissing));
  PetscCall(SkeanGridCreateMask(grid, &mask));
  std::vector<const PetscReal *>      x(d);
  std::vector<std::vector<PetscReal>> number(d);
  PetscCall(PetscPrintf(comm, "%s:", set.file));
  for (PetscInt j = 0; j < d; ++j) {
    const char *name, *units;
    PetscCall(SkeanGridGetDim(grid, j, &name, &units, &x[j]));
    if (!x[j]) { /* no coordinates in the file: the index */
      for (PetscInt i = 0; i < dims[j]; ++i) number[j].push_back(static_cast<PetscReal>(i));
      x[j] = number[j].data();
    }
    PetscCall(PetscPrintf(comm, "%s %" PetscInt_FMT "%s%s in [%g, %g]%s%s", j ? " x" : "", dims[j], name && *name ? " " : "", name ? name : "",
                          (double)std::min(x[j][0], x[j][dims[j] - 1]), (double)std::max(x[j][0], x[j][dims[j] - 1]), units && *units ? " " : "",
                          units ? units : ""));
  }
  PetscInt N;
  PetscCall(VecGetSize(values, &N));
  PetscCall(PetscPrintf(comm, ", %" PetscInt_FMT " of %" PetscInt_FMT " values missing\n", nmissing, N));
  if ((nmissing || set.scale[0]) && set.holdout == 0) PetscCall(CheckMemory(comm, d, dims, true));
  if (set.scale[0]) PetscCall(ReadNoiseScale(comm, set.scale, d, dims, mask, &scale));

  /* hide some of the observed values: the choice depends on the seed and the point alone */
  PetscCall(VecDuplicate(values, &y));
  PetscCall(VecDuplicate(values, &hidden));
  PetscCall(VecCopy(values, y));
  PetscCall(VecSet(hidden, 0.0));
  {
    const skean::RandomStream stream(set.seed, skean::Purpose::Test);
    PetscInt                  lo, hi;
    PetscScalar              *m, *h;
    PetscCall(VecGetOwnershipRange(values, &lo, &hi));
    PetscCall(VecGetArray(mask, &m));
    PetscCall(VecGetArray(hidden, &h));
    for (PetscInt i = lo; i < hi; ++i)
      if (m[i - lo] != 0.0 && stream.Uniform(static_cast<std::uint64_t>(i)) < set.holdout) {
        m[i - lo] = 0.0;
        h[i - lo] = 1.0;
      }
    PetscCall(VecRestoreArray(mask, &m));
    PetscCall(VecRestoreArray(hidden, &h));
  }

  /* regression */
  PetscCall(SkeanGPCreate(comm, &gp));
  PetscCall(SkeanGPSetGrid(gp, d, dims, x.data()));
  std::string kernel;
  for (PetscInt j = 0; j < d; ++j) {
    const double range = std::abs(x[j][dims[j] - 1] - x[j][0]);
    PetscCall(PetscSNPrintf(text, sizeof(text), "%smatern52(%g)", j ? "," : "", range > 0 ? range / 5 : 1.0));
    kernel += text;
  }
  PetscCall(SkeanGPSetKernel(gp, kernel.c_str()));
  PetscCall(SkeanGPSetSampleMean(gp, PETSC_TRUE));
  {
    /* variances of the size of the data's, unless given */
    PetscReal          s[3] = {0, 0, 0}, all[3], range[2] = {PETSC_NINFINITY, PETSC_NINFINITY};
    const PetscScalar *v, *m;
    PetscInt           n;
    PetscBool          signal, noise;
    PetscCall(VecGetLocalSize(values, &n));
    PetscCall(VecGetArrayRead(values, &v));
    PetscCall(VecGetArrayRead(mask, &m));
    for (PetscInt i = 0; i < n; ++i)
      if (m[i] != 0.0) {
        s[0] += 1;
        s[1] += v[i];
        range[0] = std::max(range[0], -v[i]);
        range[1] = std::max(range[1], v[i]);
      }
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, range, 2, MPI_DOUBLE, MPI_MAX, comm));
    PetscCall(PetscOptionsHasName(NULL, NULL, "-gp_signal", &signal));
    PetscCall(PetscOptionsHasName(NULL, NULL, "-gp_noise", &noise));
    PetscCheck(-range[0] != range[1] || (signal && noise), comm, PETSC_ERR_USER_INPUT,
               "All observed values are %g: a constant field says nothing about the variances; give both with -gp_signal and -gp_noise", (double)range[1]);
    PetscCallMPI(MPI_Allreduce(s, all, 2, MPI_DOUBLE, MPI_SUM, comm));
    const double average = all[0] > 0 ? all[1] / all[0] : 0.0;
    for (PetscInt i = 0; i < n; ++i)
      if (m[i] != 0.0) s[2] += (v[i] - average) * (v[i] - average);
    PetscCallMPI(MPI_Allreduce(&s[2], &all[2], 1, MPI_DOUBLE, MPI_SUM, comm));
    PetscCall(VecRestoreArrayRead(values, &v));
    PetscCall(VecRestoreArrayRead(mask, &m));
    if (all[2] > 0) PetscCall(SkeanGPSetVariances(gp, all[2] / all[0], 0.01 * all[2] / all[0]));
  }
  PetscCall(SkeanGPSetFromOptions(gp));
  PetscCall(driver::WarnMisspelt());
  SkeanConvergedReason training = SKEAN_CONVERGED_ITS;
  if (set.train[0]) PetscCall(Train(gp, set.train, d, dims, x, y, mask, set.intervals == PETSC_TRUE, &training));
  reason = training;
  if (training != SKEAN_DIVERGED_INTERRUPTED) {
    if (scale) PetscCall(SkeanGPSetNoiseScale(gp, scale));
    PetscCall(SkeanGPSetData(gp, y, mask));
    PetscCall(PetscTime(&t0));
    PetscCall(SkeanGPSolve(gp));
    PetscCall(PetscTime(&t1));
    PetscCall(SkeanGPGetConvergedReason(gp, &reason));
    PetscCall(SkeanGPGetIterationNumber(gp, &its));
    if (reason == SKEAN_DIVERGED_INTERRUPTED) PetscCall(PrintInterrupted(comm, its));
  }
  if (reason == SKEAN_DIVERGED_INTERRUPTED) {
    *code = driver::NotConverged;
    PetscCall(VecDestroy(&y));
    PetscCall(VecDestroy(&mask));
    PetscCall(VecDestroy(&scale));
    PetscCall(VecDestroy(&hidden));
    PetscCall(SkeanGPDestroy(&gp));
    PetscCall(SkeanGridDestroy(&grid));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(SkeanGPGetReport(gp, &report));
  PetscCall(SkeanGPGetVariances(gp, &s2f, &s2n));
  for (PetscInt j = 0; j < d; ++j) {
    PetscCall(SkeanGPGetKernel(gp, j, text, sizeof(text)));
    PetscCall(PetscPrintf(comm, "covariance %" PetscInt_FMT ": %s\n", j, Shorter(text).c_str()));
  }
  PetscCall(PetscPrintf(comm, "signal variance %.12g, noise variance %.12g\n", (double)s2f, (double)s2n));
  PetscCall(PetscPrintf(comm, "solve: "));
  if (std::isfinite(report.loglikelihood)) /* the hyper-parameters were searched for */
    PetscCall(PetscPrintf(comm, "%s, %" PetscInt_FMT " optimiser iterations, %" PetscInt_FMT " evaluations, log likelihood %.10g, ",
                          SkeanConvergedReasons[reason], its, report.evaluations, (double)report.loglikelihood));
  else if (reason <= 0)
    PetscCall(PetscPrintf(comm, "%s, ", SkeanConvergedReasons[reason]));
  else if (!report.missing)
    PetscCall(PetscPrintf(comm, "solved directly, "));
  if (report.missing) PetscCall(PetscPrintf(comm, "%" PetscInt_FMT " iterations for the missing values, ", report.filliterations));
  PetscCall(PetscPrintf(comm, "residual %.2e, effective rank %g, condition %.2e, noise over signal %.2e (floor of rounding %.2e), %.2f s\n",
                        (double)report.residual, (double)report.effectiverank, (double)report.condition, (double)(s2n / s2f), (double)report.floor, t1 - t0));
  *code = reason > 0 && training > 0 ? driver::Converged : driver::NotConverged;
  PetscCheck(Usable(reason), comm, PETSC_ERR_NOT_CONVERGED, "No posterior: %s", SkeanConvergedReasons[reason]);

  /* posterior */
  PetscCall(VecDuplicate(values, &mean));
  if (set.variance) PetscCall(VecDuplicate(values, &var));
  PetscCall(SkeanGPGetPosterior(gp, mean, var));
  PetscCall(PetscTime(&t2));
  PetscCall(PetscPrintf(comm, "posterior mean%s: %.2f s\n", set.variance ? " and variance" : "", t2 - t1));
  if (var) PetscCall(NotNegative(var));
  PetscCall(VecDuplicate(values, &noise));
  PetscCall(VecSet(noise, s2n));
  if (scale) PetscCall(VecPointwiseMult(noise, noise, scale));
  if (var && s2n > 0) {
    PetscCall(LeaveOneOut(y, mask, mean, var, noise, &within, &factor));
    if (factor > 0)
      PetscCall(PetscPrintf(comm, "left out one by one: %.1f %% within the 95 %% interval; standard deviations times %.3f would make it 95 %%\n",
                            100 * (double)within, (double)factor));
  }
  if (set.holdout > 0) {
    PetscCall(Judge(values, hidden, mean, var, noise, factor, &judged));
    PetscCall(PetscPrintf(comm, "held out %.0f values: root mean square error %.4f", (double)judged.count, (double)judged.rmse));
    if (set.variance) PetscCall(PetscPrintf(comm, ", %.1f %% within the 95 %% interval", 100 * (double)judged.within));
    if (factor > 0) PetscCall(PetscPrintf(comm, ", %.1f %% with that factor", 100 * (double)judged.calibrated));
    PetscCall(PetscPrintf(comm, "\n"));
  }
  PetscCall(VecDestroy(&noise));
  if (var) PetscCall(VecSqrtAbs(var));
  if (set.intervals && std::isfinite(report.loglikelihood)) PetscCall(PrintIntervals(gp, comm));

  if (set.output[0]) {
    PetscObject objects[2];
    Vec         copies[2]  = {mean, var};
    SkeanGrid   results[2] = {NULL, NULL};
    const char *names[2]   = {"mean", "sd"};
    PetscInt    n          = set.variance ? 2 : 1;
    for (PetscInt k = 0; k < n; ++k) {
      Vec w;
      PetscCall(SkeanGridCreate(comm, d, dims, &results[k]));
      for (PetscInt j = 0; j < d; ++j) {
        const char *name, *units;
        PetscCall(SkeanGridGetDim(grid, j, &name, &units, NULL));
        PetscCall(SkeanGridSetDim(results[k], j, name, units, x[j]));
      }
      PetscCall(SkeanGridGetValues(results[k], &w));
      PetscCall(VecCopy(copies[k], w));
      PetscCall(PetscObjectSetName((PetscObject)results[k], names[k]));
      objects[k] = (PetscObject)results[k];
    }
    PetscCall(SkeanGPGetKernel(gp, 0, text, sizeof(text)));
    PetscCall(SkeanFileSetAttribute(objects[0], "kernel_of_dimension_0", text));
    PetscCall(SkeanWriteFile(comm, set.output, n, objects));
    for (PetscInt k = 0; k < n; ++k) PetscCall(SkeanGridDestroy(&results[k]));
    PetscCall(PetscPrintf(comm, "wrote %s\n", set.output));
  }
  if (set.plot[0]) {
    std::vector<double> a, m, s;
    PetscCall(skean::PlotGather(values, &a));
    PetscCall(skean::PlotGather(mean, &m));
    if (var) PetscCall(skean::PlotGather(var, &s));
    skean::PlotFigure fig(d > 1 ? 1 : 1);
    if (d == 1) {
      if (!a.empty()) {
        std::vector<double> cx(x[0], x[0] + dims[0]), up(m), low(m);
        skean::PlotPanel    p = skean::PlotPanel::Lines("posterior");
        p.Add("data", cx, a, true).Add("mean", cx, m);
        if (var) {
          for (size_t i = 0; i < m.size(); ++i) {
            up[i] += 1.96 * s[i];
            low[i] -= 1.96 * s[i];
          }
          p.Add("mean + 1.96 sd", cx, up).Add("mean - 1.96 sd", cx, low);
        }
        fig.Add(p);
      }
    } else if (!a.empty()) {
      /*
         The last two dimensions, at the first index of the others. Without coordinates it is a picture or a table: the first row at the top and square pixels,
         unless that made a strip of it. With coordinates their smallest value is at the bottom, for example south.
      */
      const PetscInt ny = dims[d - 2], nx = dims[d - 1];
      const double   xa = x[d - 1][0], xb = x[d - 1][nx - 1], ya = x[d - 2][0], yb = x[d - 2][ny - 1];
      const bool     picture = !number[d - 1].empty() && !number[d - 2].empty() && std::max(nx, ny) <= 8 * std::min(nx, ny);
      const double   hx = 0.5 * (xb - xa) / PetscMax(nx - 1, 1), hy = 0.5 * std::fabs(yb - ya) / PetscMax(ny - 1, 1);
      const char    *namex, *unitsx, *namey, *unitsy, *units;
      PetscCall(SkeanGridGetDim(grid, d - 1, &namex, &unitsx, NULL));
      PetscCall(SkeanGridGetDim(grid, d - 2, &namey, &unitsy, NULL));
      PetscCall(SkeanGridGetUnits(grid, &units));
      std::string slice;
      for (PetscInt j = 0; j + 2 < d; ++j) {
        const char *name, *u;
        PetscCall(SkeanGridGetDim(grid, j, &name, &u, NULL));
        slice += ", " + (name && *name ? std::string(name) : "index " + std::to_string(j)) + " = " + driver::Number(x[j][0], 6);
      }
      const auto Map = [&](const char *title, const std::vector<double> &v, double lo, double hi) {
        std::vector<double> w(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(ny) * nx);
        if (ya > yb)
          for (PetscInt i = 0; i < ny; ++i) std::copy(v.begin() + i * nx, v.begin() + (i + 1) * nx, w.begin() + (ny - 1 - i) * nx);
        skean::PlotPanel p = skean::PlotPanel::Heat(title + slice, static_cast<int>(nx), static_cast<int>(ny), w);
        p.Extent(xa - hx, xb + hx, std::min(ya, yb) - hy, std::max(ya, yb) + hy);
        p.Labels(driver::AxisLabel(namex, unitsx), driver::AxisLabel(namey, unitsy)).Bar(units ? units : "");
        if (hi > lo) p.Range(lo, hi);
        if (driver::AxesAlike(unitsx, unitsy)) p.Equal();
        fig.Add(picture ? p.Image() : p);
      };
      /* the same colours for both, those of what is there to be seen */
      double lo = PETSC_MAX_REAL, hi = -PETSC_MAX_REAL;
      for (PetscInt i = 0; i < nx * ny; ++i)
        for (double v : {a[i], m[i]})
          if (std::isfinite(v)) {
            lo = std::min(lo, v);
            hi = std::max(hi, v);
          }
      if (driver::AxesAlike(unitsx, unitsy)) {
        fig.width  = 640;
        fig.height = PetscMin(640.0, PetscMax(180.0, 75 + 530 * std::fabs((yb - ya) / (xb - xa))));
      }
      Map("data", a, lo, hi);
      Map("posterior mean", m, lo, hi);
      if (var) Map("posterior standard deviation", s, 0, 0);
    }
    PetscCall(skean::PlotWrite(comm, fig, set.plot));
    PetscCall(PetscPrintf(comm, "wrote %s\n", set.plot));
  }
  PetscCall(VecDestroy(&y));
  PetscCall(VecDestroy(&scale));
  PetscCall(VecDestroy(&mask));
  PetscCall(VecDestroy(&hidden));
  PetscCall(VecDestroy(&mean));
  PetscCall(VecDestroy(&var));
  PetscCall(SkeanGPDestroy(&gp));
  PetscCall(SkeanGridDestroy(&grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace

int main(int argc, char **argv)
{
  driver::Program program;
  program.name    = "skean-gp";
  program.help    = help;
  program.options = {"-gp_kernel", "-gp_noise", "-gp_signal", "-gp_optimize", "-gp_fix", "-gp_monitor", "-gp_monitor_parameters", "-gp_view", "-gp_max_it"};
  program.printoptions = PrintOptions;
  program.run          = Run;
  return driver::Main(argc, argv, program);
}
