/*
   Linear least squares from files: reads A and b, solves min |A x - b| by KSP type sketch (or any other KSP), says how good the
   answer is, writes it and draws it.
*/
#include "driver.hpp"
#include <skean/private/plot.hpp>
#include <algorithm>
#include <cmath>
#include <cstring>

static const char help[] = "skean-regress: least squares min |A x - b| by random sketching, to the accuracy of a QR factorisation\n\n\
  mpirun -n 4 skean-regress -A wells.mtx -b rhs.mtx -bounds -o x.h5 -plot fit.png\n\n\
Input, in any format (Matrix Market, HDF5 file:dataset, NumPy, CSV, NetCDF file:variable, PETSc binary; .gz but for HDF5):\n\
  -A <file>                  the matrix, sparse or dense; fewer rows than columns: the solution of smallest norm\n\
  -b <file>                  the right-hand side, or several as columns\n\
  -weights <file>            a non-negative weight for every row\n\
  -constraints <file>        equality constraints C x = e: the matrix C\n\
  -constraints_rhs <file>    and e\n\
Problem:\n\
  -ridge <l>[,<l>...]        adds l |x|^2 to the squared residual; a list gives the whole path, one column of x for each value\n\
  -bounds [<p>]              a bound on the error of every coefficient; all of them hold with probability 1 - p (default 1e-3)\n\
Output:\n\
  -o <file>                  x (and bounds) to .h5 .npy .mtx .bin .nc; .npy and .mtx hold one object, bounds go to <name>.bounds.<ending>\n\
  -plot <file>               coefficients, error bounds, fit and residuals to .png .svg .pdf\n\
  -compare <file>            prints the relative difference of x from the solution in this file\n\
  -monitor                   progress of reading text, residual norm after each pass over A (several right-hand sides: of the first),\n\
                             backward error where a refinement starts; nothing while a path of -ridge is solved\n\
  -traceback                 with an error, where it happened in the program\n\
Solver (see -help for all; -help intro for this text alone):\n\
  -ksp_sketch_method auto|iterative|cqrrt|cholqr|tsqr|sketchandsolve\n\
  -ksp_rtol <t>              backward error that is accepted, default 1.1e-15;   -ksp_max_it <n>  largest number of passes\n\
  -sketch_type, -sketch_seed    the random sketch;   -sketch_factor <f>  its rows per column of A, or -sketch_rows <m>\n\
  -ksp_type lsqr -pc_type sketch              PETSc's LSQR with the sketch as preconditioner;   -ksp_type lsqr  alone\n\
Exit code: 0 converged, 1 not converged (every result is still printed and written), 2 wrong input or an error.\n\
The answer does not depend on the number of processes, to rounding.\n\n";

namespace {

struct Settings : driver::FitSettings {
  char      A[PETSC_MAX_PATH_LEN] = "", b[PETSC_MAX_PATH_LEN] = "";
  char      weights[PETSC_MAX_PATH_LEN] = "", C[PETSC_MAX_PATH_LEN] = "", e[PETSC_MAX_PATH_LEN] = "", compare[PETSC_MAX_PATH_LEN] = "";
  PetscBool ridge   = PETSC_FALSE;
  PetscInt  nlambda = 0;

  std::vector<PetscReal> lambda;
};

PetscErrorCode ReadSettings(Settings &s)
{
  const char *list = NULL;

  PetscFunctionBegin;
  PetscOptionsBegin(PETSC_COMM_WORLD, NULL, "skean-regress options", NULL);
  PetscCall(PetscOptionsString("-A", "file of the matrix", NULL, s.A, s.A, sizeof(s.A), NULL));
  PetscCall(PetscOptionsString("-b", "file of the right-hand sides", NULL, s.b, s.b, sizeof(s.b), NULL));
  PetscCall(PetscOptionsString("-weights", "file of the rows' weights", NULL, s.weights, s.weights, sizeof(s.weights), NULL));
  PetscCall(PetscOptionsString("-constraints", "file of the matrix of C x = e", NULL, s.C, s.C, sizeof(s.C), NULL));
  PetscCall(PetscOptionsString("-constraints_rhs", "file of the right-hand side of C x = e", NULL, s.e, s.e, sizeof(s.e), NULL));
  /* PETSc drops without a word what does not fit in the array */
  PetscCall(PetscOptionsFindPair(NULL, NULL, "-ridge", &list, NULL));
  s.nlambda = 1 + (list ? (PetscInt)std::count(list, list + std::strlen(list), ',') : 0);
  PetscCallCXX(s.lambda.assign(static_cast<std::size_t>(s.nlambda), 0.0));
  PetscCall(PetscOptionsRealArray("-ridge", "ridge parameters", NULL, s.lambda.data(), &s.nlambda, NULL));
  PetscCall(PetscOptionsHasName(NULL, NULL, "-ridge", &s.ridge));
  PetscCall(driver::ReadFitSettings(PetscOptionsObject, s));
  PetscCall(PetscOptionsString("-compare", "file of a solution to compare with", NULL, s.compare, s.compare, sizeof(s.compare), NULL));
  PetscOptionsEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode PrintOptions(void)
{
  Settings s;

  PetscFunctionBegin;
  PetscCall(ReadSettings(s));
  PetscCall(driver::PrintSolverOptions(PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

struct Monitored {
  bool      sketch = false;
  PetscReal last   = -1.0; /* the backward error printed before: it is computed only where a refinement starts */
};

PetscErrorCode Monitor(KSP ksp, PetscInt it, PetscReal rnorm, void *ctx)
{
  Monitored *m  = static_cast<Monitored *>(ctx);
  PetscReal  be = -1.0;

  PetscFunctionBegin;
  if (m->sketch) PetscCall(KSPSketchGetBackwardError(ksp, &be));
  if (be >= 0.0 && be != m->last)
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  pass %4" PetscInt_FMT "  residual %.10e  backward error %.2e\n", it, (double)rnorm, (double)be));
  else
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  pass %4" PetscInt_FMT "  residual %.10e\n", it, (double)rnorm));
  m->last = be;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Right-hand sides as columns; a file with one dimension, or n x 1, is one */
PetscErrorCode ReadColumns(const char file[], PetscInt rows, std::vector<Vec> &columns)
{
  SkeanFileInfo info;
  Vec           v;

  PetscFunctionBegin;
  PetscCall(SkeanFileGetInfo(PETSC_COMM_WORLD, file, &info));
  int large = 0;
  for (PetscInt k = 0; k < info.ndims; ++k) large += info.dims[k] != 1;
  if (large <= 1 && !(rows == 1 && info.ndims == 2 && info.dims[0] == 1)) {
    PetscCall(SkeanVecLoadFile(PETSC_COMM_WORLD, file, &v));
    PetscCallCXX(columns.push_back(v));
  } else {
    Mat      B;
    PetscInt q;
    Vec      c;
    PetscCall(SkeanMatLoadFile(PETSC_COMM_WORLD, file, MATDENSE, &B));
    PetscCall(MatGetSize(B, NULL, &q));
    for (PetscInt j = 0; j < q; ++j) {
      PetscCall(MatDenseGetColumnVecRead(B, j, &c));
      PetscCall(VecDuplicate(c, &v));
      PetscCall(VecCopy(c, v));
      PetscCall(MatDenseRestoreColumnVecRead(B, j, &c));
      PetscCallCXX(columns.push_back(v));
    }
    PetscCall(MatDestroy(&B));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CheckFinite(Vec v, const char option[], const char file[])
{
  PetscReal norm;

  PetscFunctionBegin;
  PetscCall(VecNorm(v, NORM_INFINITY, &norm));
  PetscCall(VecNorm(v, NORM_1, &norm)); /* the maximum of PETSc may lose a NaN, the sum does not */
  PetscCheck(std::isfinite(norm), PETSC_COMM_WORLD, PETSC_ERR_FP, "%s %s: NaN or Inf in the data", option, file);
  PetscFunctionReturn(PETSC_SUCCESS);
}

double Median(std::vector<double> v)
{
  if (v.empty()) return 0;
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

/* At most `most` of n indices, evenly */
std::vector<std::size_t> Sample(std::size_t n, std::size_t most)
{
  std::vector<std::size_t> s;
  const std::size_t        m = std::min(n, most);
  for (std::size_t k = 0; k < m; ++k) s.push_back(m == n ? k : k * n / m);
  return s;
}

/* Coefficients with error bars, the bounds, observed against fitted, histogram of the residuals; of the first right-hand side */
PetscErrorCode Draw(const char file[], const char title[], Vec x, Vec bounds, Vec b, Vec r)
{
  std::vector<double> vx, vd, vb, vr;
  PetscMPIInt         rank;
  skean::PlotFigure   fig(2);

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(skean::PlotGather(x, &vx));
  if (bounds) PetscCall(skean::PlotGather(bounds, &vd));
  PetscCall(skean::PlotGather(b, &vb));
  PetscCall(skean::PlotGather(r, &vr));
  if (!rank) {
    const double                   none = std::nan("");
    std::vector<double>            j, bx, by, ax, px, fit, obs;
    const std::vector<std::size_t> rows = Sample(vb.size(), 3000), cols = Sample(vx.size(), 2000);
    std::vector<double>            cx, cd;
    for (std::size_t k : cols) {
      j.push_back(static_cast<double>(k) + 1);
      cx.push_back(vx[k]);
      px.push_back(std::fabs(vx[k]));
      if (bounds) {
        cd.push_back(vd[k]);
        bx.insert(bx.end(), {k + 1.0, k + 1.0, none});
        by.insert(by.end(), {vx[k] - vd[k], vx[k] + vd[k], none});
      }
    }
    fig.title              = title;
    skean::PlotPanel coeff = skean::PlotPanel::Lines("Coefficients").Labels("column of A", "x");
    coeff.Add("", j, cx, true);
    /* bars that can be seen */
    if (bounds && !cx.empty() &&
        *std::max_element(cd.begin(), cd.end()) > 2e-3 * (*std::max_element(cx.begin(), cx.end()) - *std::min_element(cx.begin(), cx.end())))
      coeff.Add("error bars", bx, by);
    fig.Add(coeff);
    skean::PlotPanel size = skean::PlotPanel::Lines(bounds ? "Size of the coefficients and of their errors" : "Size of the coefficients").LogY();
    size.Labels("column of A", "").Add("|x|", j, px, true);
    if (bounds) size.Add("error bound", j, cd, true);
    fig.Add(size);
    double lo = 1e300, hi = -1e300;
    for (std::size_t k : rows) {
      obs.push_back(vb[k]);
      fit.push_back(vb[k] - vr[k]);
      lo = std::min(lo, std::min(obs.back(), fit.back()));
      hi = std::max(hi, std::max(obs.back(), fit.back()));
    }
    if (rows.empty()) lo = hi = 0;
    fig.Add(skean::PlotPanel::Lines(rows.size() < vb.size() ? "Fit (some of the rows)" : "Fit")
              .Labels("fitted, A x", "observed, b")
              .Add("", fit, obs, true)
              .Add("equal", {lo, hi}, {lo, hi}));
    /* histogram of all residuals */
    double a = 1e300, z = -1e300;
    for (double v : vr) {
      a = std::min(a, v);
      z = std::max(z, v);
    }
    const int bins = static_cast<int>(std::min<std::size_t>(60, std::max<std::size_t>(8, static_cast<std::size_t>(std::sqrt(static_cast<double>(vr.size()))))));
    std::vector<double> count(static_cast<std::size_t>(bins), 0.0), hx, hy;
    for (double v : vr)
      if (z > a) count[static_cast<std::size_t>(std::min(bins - 1, static_cast<int>((v - a) / (z - a) * bins)))] += 1;
    for (int k = 0; k < bins && z > a; ++k) {
      const double l = a + (z - a) * k / bins, h = a + (z - a) * (k + 1) / bins;
      hx.insert(hx.end(), {l, l, h, h});
      hy.insert(hy.end(), {0.0, count[static_cast<std::size_t>(k)], count[static_cast<std::size_t>(k)], 0.0});
    }
    fig.Add(skean::PlotPanel::Lines("Residuals").Labels("b - A x", "rows").Add("", hx, hy));
  }
  PetscCall(skean::PlotWrite(PETSC_COMM_WORLD, fig, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* x, and the bounds in the same file where its format holds several objects */
PetscErrorCode Write(const char file[], PetscObject x, Vec bounds)
{
  const std::string name = file;
  const std::size_t dot  = name.rfind('.');
  const std::string end  = name.substr(dot);

  PetscFunctionBegin;
  if (!bounds)
    PetscCall(SkeanWriteFile(PETSC_COMM_WORLD, file, 1, &x));
  else if (end == ".npy" || end == ".mtx" || end == ".mm") {
    PetscCall(SkeanWriteFile(PETSC_COMM_WORLD, file, 1, &x));
    PetscCall(SkeanVecWriteFile(bounds, (name.substr(0, dot) + ".bounds" + end).c_str()));
  } else {
    PetscObject both[2] = {x, (PetscObject)bounds};
    PetscCall(SkeanWriteFile(PETSC_COMM_WORLD, file, 2, both));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Run(driver::ExitCode *code)
{
  const MPI_Comm   comm = PETSC_COMM_WORLD;
  Settings         s;
  Mat              A = NULL, C = NULL, X = NULL;
  Vec              w = NULL, e = NULL, bounds = NULL;
  std::vector<Vec> b, x, r, reference;
  KSP              ksp;
  PC               pc;
  PetscInt         n, d, k, m, q;
  PetscBool        sketch, sparse, suits;
  PetscReal        frobenius;
  PetscMPIInt      size;
  PetscLogDouble   t0, t1, tread, tsetup = 0, tsolve, twrite = 0;
  Monitored        monitored;
  const char      *type, *pctype;

  PetscFunctionBegin;
  /* 1. What is wanted; everything that can be wrong with it is found before the work begins */
  PetscCall(ReadSettings(s));
  if (!s.A[0] || !s.b[0]) PetscCall(driver::WarnMisspelt());
  PetscCheck(s.A[0], comm, PETSC_ERR_USER_INPUT, "no matrix: give its file with -A <file>, the right-hand side with -b <file> (see -help)");
  PetscCheck(s.b[0], comm, PETSC_ERR_USER_INPUT,
             "no right-hand side: give its file with -b <file>, or -b <file>:<dataset> where a file holds several (see -help)");
  PetscCheck(!s.C[0] == !s.e[0], comm, PETSC_ERR_USER_INPUT, "equality constraints need both -constraints <file> and -constraints_rhs <file>");
  PetscCheck(!s.ridge || s.nlambda > 0, comm, PETSC_ERR_USER_INPUT, "-ridge needs a value, or several with commas between them");
  for (PetscInt i = 0; i < s.nlambda; ++i)
    PetscCheck(s.lambda[i] >= 0.0 && std::isfinite(s.lambda[i]), comm, PETSC_ERR_USER_INPUT, "-ridge: %s is not a non-negative number",
               driver::Number(s.lambda[i]).c_str());
  PetscCheck(!s.bounds || s.nlambda <= 1, comm, PETSC_ERR_USER_INPUT, "-bounds works with one ridge parameter, not with a path of %" PetscInt_FMT, s.nlambda);
  PetscCall(driver::CheckFitSettings(comm, s));
  PetscCall(driver::CreateSolver(comm, &ksp));
  PetscCall(KSPSetFromOptions(ksp));
  PetscCall(driver::CheckTolerances(ksp));
  PetscCall(PetscObjectTypeCompare((PetscObject)ksp, KSPSKETCH, &sketch));
  PetscCall(KSPGetType(ksp, &type));
  PetscCheck(sketch || !(s.ridge || s.bounds || s.weights[0] || s.C[0]), comm, PETSC_ERR_SUP, "%s works with -ksp_type sketch, not with -ksp_type %s",
             s.ridge    ? "-ridge"
             : s.bounds ? "-bounds"
             : s.C[0]   ? "-constraints"
                        : "-weights",
             type);
  PetscCall(driver::WarnMisspelt());
  PetscCall(SkeanWarnSlowBLAS(comm));

  /* 2. Read */
  PetscCall(PetscTime(&t0));
  if (s.monitor) PetscCall(PetscPrintf(comm, "reading %s\n", s.A));
  PetscCall(SkeanMatLoadFile(comm, s.A, NULL, &A));
  PetscCall(MatGetSize(A, &n, &d));
  if (s.monitor) PetscCall(PetscPrintf(comm, "reading %s\n", s.b));
  PetscCall(ReadColumns(s.b, n, b));
  q = (PetscInt)b.size();
  PetscCall(VecGetSize(b[0], &k));
  PetscCheck(k == n, comm, PETSC_ERR_ARG_SIZ, "%s has %" PetscInt_FMT " rows, but the right-hand side %s has %" PetscInt_FMT "%s", s.A, n, s.b, k,
             k == d || q == n ? " (is one of them transposed?)" : "");
  PetscCheck(n > 0 && d > 0, comm, PETSC_ERR_ARG_SIZ, "%s is empty: %" PetscInt_FMT " x %" PetscInt_FMT, s.A, n, d);
  if (!sketch && n != d) { /* PETSc's others are for square matrices, and say so without a name */
    PetscCall(KSPGetPC(ksp, &pc));
    PetscCall(PCGetType(pc, &pctype));
    PetscCall(PetscObjectTypeCompareAny((PetscObject)pc, &suits, PCNONE, PCSKETCH, PCSHELL, ""));
    PetscCheck(suits, comm, PETSC_ERR_SUP, "-pc_type %s is for square matrices, %s is %" PetscInt_FMT " x %" PetscInt_FMT "; -pc_type sketch is for these",
               pctype, s.A, n, d);
  }
  PetscCheck(!s.bounds || q == 1, comm, PETSC_ERR_SUP, "-bounds works with one right-hand side, %s has %" PetscInt_FMT, s.b, q);
  PetscCheck(!s.bounds || n >= d, comm, PETSC_ERR_SUP, "-bounds needs at least as many rows as columns, %s is %" PetscInt_FMT " x %" PetscInt_FMT, s.A, n, d);
  PetscCheck(s.nlambda <= 1 || q == 1, comm, PETSC_ERR_SUP, "a path of -ridge parameters works with one right-hand side, %s has %" PetscInt_FMT, s.b, q);
  for (Vec v : b) PetscCall(CheckFinite(v, "-b", s.b));
  PetscCall(MatNorm(A, NORM_FROBENIUS, &frobenius));
  PetscCheck(std::isfinite(frobenius), comm, PETSC_ERR_FP, "-A %s: NaN or Inf in the data (or numbers above 1e154)", s.A);
  if (s.weights[0]) {
    PetscCall(SkeanVecLoadFile(comm, s.weights, &w));
    PetscCall(VecGetSize(w, &k));
    PetscCheck(k == n, comm, PETSC_ERR_ARG_SIZ, "%s has %" PetscInt_FMT " rows, but -weights %s has %" PetscInt_FMT, s.A, n, s.weights, k);
    PetscCall(CheckFinite(w, "-weights", s.weights));
    PetscCall(driver::CheckNonNegative(w, "-weights", s.weights));
    PetscCall(KSPSketchSetWeights(ksp, w));
  }
  if (s.C[0]) {
    PetscCall(SkeanMatLoadFile(comm, s.C, NULL, &C));
    PetscCall(SkeanVecLoadFile(comm, s.e, &e));
    PetscCall(MatGetSize(C, &k, &m));
    PetscCheck(m == d, comm, PETSC_ERR_ARG_SIZ, "%s has %" PetscInt_FMT " columns, but -constraints %s has %" PetscInt_FMT, s.A, d, s.C, m);
    PetscCall(VecGetSize(e, &m));
    PetscCheck(m == k, comm, PETSC_ERR_ARG_SIZ, "-constraints %s has %" PetscInt_FMT " rows, but -constraints_rhs %s has %" PetscInt_FMT, s.C, k, s.e, m);
    PetscCall(KSPSketchSetConstraints(ksp, C, e));
  }
  if (s.compare[0]) {
    PetscCall(ReadColumns(s.compare, d, reference));
    PetscCall(VecGetSize(reference[0], &k));
    PetscCheck(k == d, comm, PETSC_ERR_ARG_SIZ, "%s has %" PetscInt_FMT " columns, but the solution in -compare %s has %" PetscInt_FMT " entries", s.A, d,
               s.compare, k);
    const PetscInt nx = s.nlambda > 1 ? s.nlambda : q;
    PetscCheck((PetscInt)reference.size() == nx, comm, PETSC_ERR_ARG_SIZ, "-compare %s has %" PetscInt_FMT " solutions, %" PetscInt_FMT " are computed",
               s.compare, (PetscInt)reference.size(), nx);
    for (Vec v : reference) PetscCall(CheckFinite(v, "-compare", s.compare));
  }
  PetscCall(PetscTime(&tread));
  tread -= t0;

  /* 3. Solve */
  monitored.sketch = sketch;
  if (s.monitor) PetscCall(KSPMonitorSet(ksp, Monitor, &monitored, NULL));
  PetscCall(KSPSetOperators(ksp, A, A));
  if (s.nlambda == 1) PetscCall(KSPSketchSetRidge(ksp, s.lambda[0]));
  if (s.bounds) PetscCall(KSPSketchSetErrorBounds(ksp, s.delta));
  if (s.monitor) PetscCall(PetscPrintf(comm, "solving %" PetscInt_FMT " x %" PetscInt_FMT "\n", n, d));
  std::vector<KSPConvergedReason> reasons;
  PetscInt                        passes = 0;
  PetscCall(PetscTime(&t0));
  const PetscInt nx = s.nlambda > 1 ? s.nlambda : q;
  for (PetscInt j = 0; j < nx; ++j) {
    Vec v;
    PetscCall(MatCreateVecs(A, &v, NULL));
    PetscCallCXX(x.push_back(v));
  }
  if (nx > 1) { /* all columns, as a matrix: what is solved for and what is written */
    PetscCall(VecGetLocalSize(x[0], &k));
    PetscCall(MatCreateDense(comm, k, PETSC_DECIDE, d, nx, NULL, &X));
    PetscCall(PetscObjectSetName((PetscObject)X, "x"));
  } else
    PetscCall(PetscObjectSetName((PetscObject)x[0], "x"));
  if (sketch && nx > 1) {
    const KSPConvergedReason *rs;
    if (s.nlambda > 1)
      PetscCall(KSPSketchSolveRidgePath(ksp, b[0], s.nlambda, s.lambda.data(), X));
    else {
      Mat B;
      PetscCall(VecGetLocalSize(b[0], &k));
      PetscCall(MatCreateDense(comm, k, PETSC_DECIDE, n, q, NULL, &B));
      for (PetscInt j = 0; j < q; ++j) {
        Vec c;
        PetscCall(MatDenseGetColumnVecWrite(B, j, &c));
        PetscCall(VecCopy(b[j], c));
        PetscCall(MatDenseRestoreColumnVecWrite(B, j, &c));
      }
      PetscCall(MatAssemblyBegin(B, MAT_FINAL_ASSEMBLY));
      PetscCall(MatAssemblyEnd(B, MAT_FINAL_ASSEMBLY));
      PetscCall(KSPMatSolve(ksp, B, X));
      PetscCall(MatDestroy(&B));
    }
    PetscCall(KSPSketchGetColumnReasons(ksp, &k, &rs));
    PetscCallCXX(reasons.assign(rs, rs + k));
    PetscCall(KSPGetIterationNumber(ksp, &passes));
    for (PetscInt j = 0; j < nx; ++j) {
      Vec c;
      PetscCall(MatDenseGetColumnVecRead(X, j, &c));
      PetscCall(VecCopy(c, x[j]));
      PetscCall(MatDenseRestoreColumnVecRead(X, j, &c));
    }
  } else {
    if (!sketch) {
      PetscCall(KSPSetUp(ksp));
      PetscCall(PetscTime(&t1));
      tsetup = t1 - t0;
    }
    for (PetscInt j = 0; j < q; ++j) {
      KSPConvergedReason reason;
      PetscCall(KSPSolve(ksp, b[j], x[j]));
      PetscCall(KSPGetConvergedReason(ksp, &reason));
      PetscCallCXX(reasons.push_back(reason));
      PetscCall(KSPGetIterationNumber(ksp, &k));
      passes = PetscMax(passes, k);
      if (X) {
        Vec c;
        PetscCall(MatDenseGetColumnVecWrite(X, j, &c));
        PetscCall(VecCopy(x[j], c));
        PetscCall(MatDenseRestoreColumnVecWrite(X, j, &c));
      }
    }
    if (X) {
      PetscCall(MatAssemblyBegin(X, MAT_FINAL_ASSEMBLY));
      PetscCall(MatAssemblyEnd(X, MAT_FINAL_ASSEMBLY));
    }
  }
  PetscCall(PetscTime(&t1));
  tsolve = t1 - t0 - tsetup;
  if (sketch) {
    PetscCall(KSPSketchGetTimes(ksp, &tsetup, NULL));
    tsolve -= tsetup;
  }
  const KSPConvergedReason worst = *std::min_element(reasons.begin(), reasons.end());
  *code                          = worst > 0 ? driver::Converged : driver::NotConverged;

  /* 4. How good is it? Fresh residuals; |A'r| / (|A|_F |r|) is the size of a change of A for which x would be exact (Stewart) */
  const bool          plain = !s.ridge && !w && !C && n >= d;
  std::vector<double> rnorm, gradient;
  Vec                 g;
  PetscCall(MatCreateVecs(A, &g, NULL));
  for (PetscInt j = 0; j < nx; ++j) {
    const Vec bj = b[s.nlambda > 1 ? 0 : j];
    Vec       v;
    PetscReal rn, gn;
    PetscCall(VecDuplicate(bj, &v));
    PetscCall(MatMult(A, x[j], v));
    PetscCall(VecAYPX(v, -1.0, bj));
    PetscCall(VecNorm(v, NORM_2, &rn));
    PetscCall(MatMultTranspose(A, v, g));
    PetscCall(VecNorm(g, NORM_2, &gn));
    PetscCallCXX(rnorm.push_back(rn));
    PetscCallCXX(gradient.push_back(rn > 0 && frobenius > 0 ? gn / (frobenius * rn) : 0.0));
    PetscCallCXX(r.push_back(v));
  }
  PetscCall(VecDestroy(&g));
  std::vector<double> vx, vd;
  if (s.bounds && worst > 0) {
    PetscCall(VecDuplicate(x[0], &bounds));
    PetscCall(PetscObjectSetName((PetscObject)bounds, "bounds"));
    PetscCall(KSPSketchGetErrorBounds(ksp, bounds, NULL));
    PetscCall(skean::PlotGather(bounds, &vd));
  }
  if (d <= 12) PetscCall(skean::PlotGather(x[0], &vx));

  KSPSketchMethod method = KSP_SKETCH_AUTO;
  SkeanSketch     S      = NULL;
  if (sketch) PetscCall(KSPSketchGetMethodUsed(ksp, &method));
  const bool random = method == KSP_SKETCH_ITERATIVE || method == KSP_SKETCH_CQRRT || method == KSP_SKETCH_SKETCHANDSOLVE;
  if (random) PetscCall(KSPSketchGetSketch(ksp, &S));

  /* 5. Write */
  PetscCall(PetscTime(&t0));
  if (s.o[0]) {
    const PetscObject obj = X ? (PetscObject)X : (PetscObject)x[0];
    PetscCall(SkeanFileSetAttribute(obj, "solver", type));
    PetscCall(SkeanFileSetAttribute(obj, "reason", KSPConvergedReasons[worst]));
    if (random) {
      SkeanSeed seed;
      PetscCall(SkeanSketchGetSeed(S, &seed));
      PetscCall(SkeanFileSetAttribute(obj, "sketch_seed", std::to_string(seed).c_str()));
    }
    PetscCall(SkeanFileSetAttribute(obj, "residual_norm", driver::Number(rnorm[0], 17).c_str()));
    PetscCall(Write(s.o, obj, bounds));
  }
  if (s.plot[0]) {
    const char *slash = std::strrchr(s.A, '/');
    PetscCall(Draw(s.plot, slash ? slash + 1 : s.A, x[0], bounds, b[0], r[0]));
  }
  PetscCall(PetscTime(&t1));
  twrite = t1 - t0;

  /* 6. Tell */
  for (PetscLogDouble *t : {&tread, &tsetup, &tsolve, &twrite}) PetscCall(driver::Slowest(comm, t));
  MatInfo info;
  PetscCall(MatGetInfo(A, MAT_GLOBAL_SUM, &info));
  PetscCall(PetscObjectTypeCompareAny((PetscObject)A, &sparse, MATSEQAIJ, MATMPIAIJ, MATAIJ, ""));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(KSPGetPC(ksp, &pc));
  PetscCall(PCGetType(pc, &pctype));
  driver::Table table("skean-regress: " + std::string(s.A));
  table.Add("rows x columns", std::to_string(n) + " x " + std::to_string(d) + (n < d ? " (solution of smallest norm)" : ""));
  table.Add("nonzeros", sparse ? driver::Number(info.nz_used, 15) : "dense");
  if (q > 1) table.Add("right-hand sides", std::to_string(q));
  table.Add("processes", std::to_string(size));
  if (sketch) {
    table.Add("method", std::string("sketch, ") + KSPSketchMethods[method]);
    if (random) {
      SkeanSketchType stype;
      SkeanSeed       seed;
      PetscInt        rows;
      PetscCall(SkeanSketchGetType(S, &stype));
      PetscCall(SkeanSketchGetSeed(S, &seed));
      PetscCall(SkeanSketchGetSizes(S, &rows, NULL));
      table.Add("sketch", std::string(stype) + ", " + std::to_string(rows) + " rows, seed " + std::to_string(seed));
    } else
      table.Add("sketch", "not needed by this method");
    PetscInt  rank;
    PetscReal kappa, be;
    PetscCall(KSPSketchGetRank(ksp, &rank));
    PetscCall(KSPSketchGetCondition(ksp, &kappa));
    PetscCall(KSPSketchGetBackwardError(ksp, &be));
    const PetscInt full = PetscMin(n, d) - (C ? (MatGetSize(C, &k, NULL), k) : 0);
    table.Add("numerical rank", std::to_string(rank) + " of " + std::to_string(full) + (rank < full ? " (solution of smallest norm)" : ""));
    table.Add("condition (columns scaled)", driver::Number(kappa, 3));
    table.Add("backward error", be >= 0 ? driver::Number(be, 3) + " (columns scaled)" : "not computed");
  } else
    table.Add("method", std::string(type) + ", preconditioner " + pctype);
  table.Add("residual norm |b - A x|", driver::Number(rnorm[0], 12));
  if (plain) table.Add("|A'r| / (|A|_F |r|)", driver::Number(gradient[0], 3));
  if (s.nlambda == 1) table.Add("ridge parameter", driver::Number(s.lambda[0]));
  if (w) table.Add("weights", s.weights);
  if (C) table.Add("equality constraints", s.C);
  if (s.compare[0]) {
    PetscReal off = 0.0;
    for (PetscInt j = 0; j < nx; ++j) {
      PetscReal an, dn;
      PetscCall(VecNorm(reference[j], NORM_2, &an));
      PetscCall(VecAXPY(reference[j], -1.0, x[j]));
      PetscCall(VecNorm(reference[j], NORM_2, &dn));
      off = PetscMax(off, an > 0 ? dn / an : dn);
    }
    table.Add("relative difference", driver::Number(off, 3) + " from " + s.compare);
  }
  table.Add(sketch ? "passes over A after set-up" : "passes over A", std::to_string(passes));
  if (s.bounds) {
    if (!vd.empty())
      table.Add("error bounds", "largest " + driver::Number(*std::max_element(vd.begin(), vd.end()), 3) + ", median " + driver::Number(Median(vd), 3) +
                                  ", all hold with probability " + driver::Number(1 - s.delta));
    else if (!bounds)
      table.Add("error bounds", "none without convergence");
  }
  table.Add("result", driver::ReasonText(worst));
  table.Add("seconds", "read " + driver::Number(tread, 3) + ", set up " + driver::Number(tsetup, 3) + ", solve " + driver::Number(tsolve, 3) + ", write " +
                         driver::Number(twrite, 3));
  for (PetscInt j = 0; j < nx && nx > 1; ++j) {
    if (j == 20) {
      table.Add("...", std::to_string(nx - j) + " more");
      break;
    }
    table.Add(s.nlambda > 1 ? "ridge " + driver::Number(s.lambda[j]) : "column " + std::to_string(j + 1),
              "residual " + driver::Number(rnorm[j], 10) + ", " + driver::ReasonText(reasons[j]));
  }
  for (std::size_t j = 0; j < vx.size(); ++j)
    table.Add("x[" + std::to_string(j + 1) + "]", driver::Number(vx[j], 16) + (vd.empty() ? "" : " +- " + driver::Number(vd[j], 2)));
  if (s.o[0]) table.Add("written", s.o);
  if (s.plot[0]) table.Add("drawn", s.plot);
  PetscCall(table.Print(comm));

  PetscCall(KSPDestroy(&ksp));
  PetscCall(MatDestroy(&A));
  PetscCall(MatDestroy(&C));
  PetscCall(MatDestroy(&X));
  PetscCall(VecDestroy(&w));
  PetscCall(VecDestroy(&e));
  PetscCall(VecDestroy(&bounds));
  for (auto *list : {&b, &x, &r, &reference})
    for (Vec &v : *list) PetscCall(VecDestroy(&v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace

int main(int argc, char **argv)
{
  driver::Program program;
  program.name         = "skean-regress";
  program.help         = help;
  program.options      = {"-A",
                          "-b",
                          "-o",
                          "-plot",
                          "-ridge",
                          "-bounds",
                          "-weights",
                          "-constraints",
                          "-constraints_rhs",
                          "-monitor",
                          "-compare",
                          "-traceback",
                          "-help",
                          "-ksp_type",
                          "-ksp_rtol",
                          "-ksp_max_it",
                          "-ksp_monitor",
                          "-ksp_view",
                          "-ksp_converged_reason",
                          "-ksp_sketch_method",
                          "-ksp_sketch_inner",
                          "-sketch_factor",
                          "-ksp_sketch_refine",
                          "-ksp_sketch_scale",
                          "-ksp_sketch_ridge",
                          "-sketch_type",
                          "-sketch_rows",
                          "-sketch_seed",
                          "-pc_type",
                          "-log_view"};
  program.printoptions = PrintOptions;
  program.run          = Run;
  return driver::Main(argc, argv, program);
}
