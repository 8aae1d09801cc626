/*
   The shape of the Earth in spherical harmonics: reads a grid of heights, fits real, fully normalised harmonics up to a degree by
   weighted least squares (a grid point counts with its area, cos(latitude)), and draws the data, the fit and what is left.

   The design matrix, a row for each grid point and a column for each harmonic, is made in place: every process makes its own rows
   from their positions.
*/
#include "driver.hpp"
#include <skean/private/plot.hpp>
#include <skeanio.h>
#include <algorithm>
#include <cmath>

static const char help[] = "skean-topography: spherical-harmonic least-squares fit of the Earth's topography\n\n\
  mpirun -n 4 skean-topography -degree 15 -coarse /usr/share/ferret-vis/data/etopo60.cdf -plot topography.png\n\n\
  -grid <file>      heights on a grid of latitude x longitude, any format of grids (NetCDF file:variable, HDF5);\n\
                    default /usr/share/ferret-vis/data/etopo20.cdf:ROSE of Debian's ferret-datasets\n\
  -coarse <file>    a second grid: the same fit, and how much the coefficients differ\n\
  -degree <L>       degree of the harmonics, (L+1)^2 columns (15)\n\
  -where all|sea|land  the points that count; with a part of the sphere the harmonics are far from orthogonal\n\
  -weighting rows|ksp  scale the rows while they are made, or give the weights to the solver, which copies the matrix\n\
  -bounds [<p>]     error bounds of all coefficients that hold with probability 1 - p (1e-3)\n\
  -o <file>         coefficients: column l^2 + l + m + 1 is degree l, order m (negative: sine)\n\
  -plot <file>      three maps\n\
  -monitor          progress and residual after each pass over the matrix\n\
and the options of the solver, -ksp_sketch_*, -sketch_*, -ksp_type (see -help).\n\
Exit code: 0 converged, 1 not converged, 2 wrong input or an error.\n\n";

namespace {
const double Pi = 3.14159265358979323846;

enum Where : int { All, Sea, Land };
const char *const Wheres[]     = {"all", "sea", "land", "Where", "", NULL};
const char *const Weightings[] = {"rows", "ksp", "Weighting", "", NULL};

struct Settings : driver::FitSettings {
  char      grid[PETSC_MAX_PATH_LEN] = "/usr/share/ferret-vis/data/etopo20.cdf:ROSE", coarse[PETSC_MAX_PATH_LEN] = "";
  PetscInt  degree = 15;
  PetscEnum where = (PetscEnum)All, weighting = (PetscEnum)0;
};

PetscErrorCode ReadSettings(Settings &s)
{
  PetscFunctionBegin;
  PetscOptionsBegin(PETSC_COMM_WORLD, NULL, "skean-topography options", NULL);
  PetscCall(PetscOptionsString("-grid", "file of the heights", NULL, s.grid, s.grid, sizeof(s.grid), NULL));
  PetscCall(PetscOptionsString("-coarse", "file of a second grid", NULL, s.coarse, s.coarse, sizeof(s.coarse), NULL));
  PetscCall(PetscOptionsInt("-degree", "degree of the harmonics", NULL, s.degree, &s.degree, NULL));
  PetscCall(PetscOptionsEnum("-where", "the points that count", NULL, Wheres, s.where, &s.where, NULL));
  PetscCall(PetscOptionsEnum("-weighting", "who applies the weights", NULL, Weightings, s.weighting, &s.weighting, NULL));
  PetscCall(driver::ReadFitSettings(PetscOptionsObject, s));
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

/*
   Associated Legendre functions of sin(latitude), fully normalised (the mean square of a harmonic over the sphere is 1): p[l(l+1)/2 + m].
   The standard forward column recursion (Holmes & Featherstone, J. Geodesy 76, 2002, equations 11 to 13), stable far beyond the degrees here.
*/
void Legendre(PetscInt L, double latitude, std::vector<double> &p)
{
  const double t = std::sin(latitude), u = std::cos(latitude);
  const auto   at = [](PetscInt l, PetscInt m) { return static_cast<std::size_t>(l) * (l + 1) / 2 + m; };
  p[0]            = 1.0;
  for (PetscInt m = 1; m <= L; ++m) p[at(m, m)] = u * std::sqrt(m == 1 ? 3.0 : (2.0 * m + 1) / (2.0 * m)) * p[at(m - 1, m - 1)];
  for (PetscInt m = 0; m < L; ++m)
    for (PetscInt l = m + 1; l <= L; ++l) {
      const double lm = static_cast<double>(l - m) * (l + m);
      p[at(l, m)]     = std::sqrt((2.0 * l - 1) * (2.0 * l + 1) / lm) * t * p[at(l - 1, m)];
      if (l > m + 1) p[at(l, m)] -= std::sqrt((2.0 * l + 1) * (l + m - 1.0) * (l - m - 1.0) / (lm * (2.0 * l - 3))) * p[at(l - 2, m)];
    }
}

struct Fit {
  PetscInt            nlat = 0, nlon = 0, n = 0, d = 0, passes = 0, rank = 0;
  double              kappa = 0, backward = -1, rms = 0, data = 0, points = 0, frobenius = 0;
  PetscLogDouble      tread = 0, tmake = 0, tsetup = 0, tsolve = 0;
  std::string         method, type;
  KSPConvergedReason  reason = KSP_CONVERGED_ITERATING;
  Vec                 x = NULL, bounds = NULL, b = NULL, fit = NULL; /* b, fit: heights, not weighted, NaN where nothing counts */
  std::vector<double> lat, lon;
};

PetscErrorCode FreeFit(Fit &f)
{
  PetscFunctionBegin;
  for (Vec *v : {&f.x, &f.bounds, &f.b, &f.fit}) PetscCall(VecDestroy(v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode PrintPass(KSP, PetscInt it, PetscReal rnorm, void *)
{
  PetscFunctionBegin;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "  pass %4" PetscInt_FMT "  residual %.10e\n", it, (double)rnorm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Solve(const Settings &s, const char file[], bool wantfit, Fit &f)
{
  const MPI_Comm     comm = PETSC_COMM_WORLD;
  SkeanGrid          grid;
  Vec                v, b, w, r;
  Mat                A;
  KSP                ksp;
  PetscInt           ndims, nl, r0, r1;
  const PetscInt    *dims;
  const PetscReal   *lat, *lon;
  const char        *units[2], *type;
  const PetscScalar *h;
  PetscScalar       *a, *ba, *wa;
  PetscBool          sketch;
  PetscLogDouble     t0, t1;

  PetscFunctionBegin;
  /* 1. Heights */
  PetscCall(PetscTime(&t0));
  PetscCall(SkeanGridLoadFile(comm, file, &grid));
  PetscCall(SkeanGridGetDims(grid, &ndims, &dims));
  PetscCheck(ndims == 2, comm, PETSC_ERR_ARG_SIZ, "%s has %" PetscInt_FMT " dimensions, latitude and longitude are needed", file, ndims);
  f.nlat = dims[0];
  f.nlon = dims[1];
  f.n    = f.nlat * f.nlon;
  f.d    = (s.degree + 1) * (s.degree + 1);
  PetscCheck(f.n >= f.d, comm, PETSC_ERR_ARG_SIZ, "-degree %" PetscInt_FMT " has %" PetscInt_FMT " coefficients, %s only %" PetscInt_FMT " points", s.degree,
             f.d, file, f.n);
  PetscCall(SkeanGridGetDim(grid, 0, NULL, &units[0], &lat));
  PetscCall(SkeanGridGetDim(grid, 1, NULL, &units[1], &lon));
  PetscCheck(lat && lon, comm, PETSC_ERR_ARG_WRONG, "%s has no coordinates of latitude and longitude", file);
  for (PetscInt i = 0; i < f.nlat; ++i)
    PetscCheck(std::fabs(lat[i]) <= 90.0, comm, PETSC_ERR_ARG_OUTOFRANGE, "%s: the first dimension is no latitude, it reaches %g", file, (double)lat[i]);
  PetscCallCXX(f.lat.assign(lat, lat + f.nlat));
  PetscCallCXX(f.lon.assign(lon, lon + f.nlon));
  PetscCall(SkeanGridGetValues(grid, &v));
  PetscCall(VecGetLocalSize(v, &nl));
  PetscCall(VecGetOwnershipRange(v, &r0, &r1));
  PetscCall(PetscTime(&t1));
  f.tread = t1 - t0;

  /* 2. Rows: entry (i, l^2 + l + m) = P_l|m|(sin lat_i) cos(m lon_i), or sin(|m| lon_i) for m < 0 */
  t0 = t1;
  PetscCall(MatCreateDense(comm, nl, PETSC_DECIDE, f.n, f.d, NULL, &A));
  PetscCall(VecDuplicate(v, &b));
  PetscCall(VecDuplicate(v, &w));
  PetscCall(VecDuplicate(v, &f.b));
  PetscCall(MatDenseGetArrayWrite(A, &a));
  PetscCall(VecGetArrayRead(v, &h));
  PetscCall(VecGetArrayWrite(b, &ba));
  PetscCall(VecGetArrayWrite(w, &wa));
  PetscScalar *keep;
  PetscCall(VecGetArrayWrite(f.b, &keep));
  const PetscInt      L = s.degree;
  std::vector<double> P, C;
  PetscCallCXX(P.resize(static_cast<std::size_t>(L + 1) * (L + 2) / 2));
  PetscCallCXX(C.resize(static_cast<std::size_t>(f.nlon) * (2 * L + 1)));
  for (PetscInt m = -L; m <= L; ++m)
    for (PetscInt j = 0; j < f.nlon; ++j)
      C[static_cast<std::size_t>(m + L) * f.nlon + j] = m < 0 ? std::sin(-m * lon[j] * Pi / 180) : std::cos(m * lon[j] * Pi / 180);
  const bool  twice   = f.nlon > 1 && std::fabs(std::fabs(f.lon.back() - f.lon.front()) - 360.0) < 0.01 * std::fabs(f.lon[1] - f.lon[0]);
  const Where where   = static_cast<Where>(s.where);
  double      sums[3] = {0, 0, 0}; /* points that count, their weights, weighted squares of the heights */
  for (PetscInt i = 0; i < nl; ++i) {
    const double area = std::cos(f.lat[(r0 + i) / f.nlon] * Pi / 180), z = h[i];
    const bool   known = std::isfinite(z), in = known && (where == All || (where == Sea) == (z < 0));
    wa[i] = in ? std::max(area, 0.0) : 0.0;
    /* some grids hold a meridian twice, at both ends: half a point each */
    if (twice && ((r0 + i) % f.nlon == 0 || (r0 + i) % f.nlon == f.nlon - 1)) wa[i] *= 0.5;
    ba[i]   = known ? z : 0.0;
    keep[i] = in ? z : std::nan("");
    sums[0] += in;
    sums[1] += wa[i];
    sums[2] += wa[i] * ba[i] * ba[i];
  }
  for (PetscInt first = 0, last; first < nl; first = last) { /* points of one latitude share the Legendre functions */
    const PetscInt row = (r0 + first) / f.nlon, j0 = (r0 + first) % f.nlon;
    last = std::min(nl, first + f.nlon - j0);
    Legendre(L, f.lat[row] * Pi / 180, P);
    for (PetscInt l = 0; l <= L; ++l)
      for (PetscInt m = -l; m <= l; ++m) {
        const double  p   = P[static_cast<std::size_t>(l) * (l + 1) / 2 + std::abs(m)];
        const double *c   = &C[static_cast<std::size_t>(m + L) * f.nlon + j0];
        PetscScalar  *col = a + static_cast<std::size_t>(l * l + l + m) * nl;
        for (PetscInt i = first; i < last; ++i) col[i] = p * c[i - first];
      }
  }
  const bool scaled = s.weighting == 0;
  if (scaled) /* least squares with the weights w is least squares with rows and heights times sqrt(w) */
    for (PetscInt i = 0; i < nl; ++i) {
      const double q = std::sqrt(wa[i]);
      ba[i] *= q;
    }
  if (scaled)
    for (PetscInt k = 0; k < f.d; ++k)
      for (PetscInt i = 0; i < nl; ++i) a[i + static_cast<std::size_t>(k) * nl] *= std::sqrt(wa[i]);
  PetscCall(VecRestoreArrayWrite(f.b, &keep));
  PetscCall(VecRestoreArrayWrite(w, &wa));
  PetscCall(VecRestoreArrayWrite(b, &ba));
  PetscCall(VecRestoreArrayRead(v, &h));
  PetscCall(MatDenseRestoreArrayWrite(A, &a));
  PetscCall(MatAssemblyBegin(A, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(A, MAT_FINAL_ASSEMBLY));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, sums, 3, MPI_DOUBLE, MPI_SUM, comm));
  f.points = sums[0];
  PetscCheck(f.points >= f.d, comm, PETSC_ERR_ARG_SIZ, "%s has only %g points that count, for %" PetscInt_FMT " coefficients", file, f.points, f.d);
  f.data = std::sqrt(sums[2] / sums[1]);
  PetscCall(PetscTime(&t1));
  f.tmake = t1 - t0;

  /* 3. Solve */
  PetscCall(driver::CreateSolver(comm, &ksp));
  PetscCall(KSPSetFromOptions(ksp));
  PetscCall(driver::CheckTolerances(ksp));
  PetscCall(PetscObjectTypeCompare((PetscObject)ksp, KSPSKETCH, &sketch));
  PetscCall(KSPGetType(ksp, &type));
  PetscCheck(sketch || (scaled && !s.bounds), comm, PETSC_ERR_SUP, "%s works with -ksp_type sketch, not with -ksp_type %s",
             scaled ? "-bounds" : "-weighting ksp", type);
  PetscCall(driver::WarnMisspelt());
  PetscCall(KSPSetOperators(ksp, A, A));
  if (!scaled) PetscCall(KSPSketchSetWeights(ksp, w));
  if (s.bounds) PetscCall(KSPSketchSetErrorBounds(ksp, s.delta));
  if (s.monitor) PetscCall(KSPMonitorSet(ksp, PrintPass, NULL, NULL));
  PetscCall(MatCreateVecs(A, &f.x, NULL));
  PetscCall(PetscTime(&t0));
  PetscCall(KSPSolve(ksp, b, f.x));
  PetscCall(PetscTime(&t1));
  f.tsolve = t1 - t0;
  PetscCall(KSPGetConvergedReason(ksp, &f.reason));
  PetscCall(KSPGetIterationNumber(ksp, &f.passes));
  f.method = type;
  if (sketch) {
    KSPSketchMethod method;
    PetscReal       kappa, be;
    PetscCall(KSPSketchGetTimes(ksp, &f.tsetup, NULL));
    f.tsolve -= f.tsetup;
    PetscCall(KSPSketchGetMethodUsed(ksp, &method));
    f.method += std::string(", ") + KSPSketchMethods[method];
    PetscCall(KSPSketchGetCondition(ksp, &kappa));
    PetscCall(KSPSketchGetBackwardError(ksp, &be));
    PetscCall(KSPSketchGetRank(ksp, &f.rank));
    f.kappa    = kappa;
    f.backward = be;
    if (s.bounds && f.reason > 0) {
      PetscCall(VecDuplicate(f.x, &f.bounds));
      PetscCall(PetscObjectSetName((PetscObject)f.bounds, "bounds"));
      PetscCall(KSPSketchGetErrorBounds(ksp, f.bounds, NULL));
    }
  }

  /* 4. What is left: root mean square over the area */
  PetscReal rn;
  PetscCall(VecDuplicate(b, &r));
  PetscCall(MatMult(A, f.x, r));
  if (wantfit) { /* the heights that the harmonics give, in metres; scaled rows are divided by their scale again */
    PetscCall(VecDuplicate(r, &f.fit));
    PetscCall(VecGetArrayWrite(f.fit, &keep));
    PetscCall(VecGetArrayRead(r, &h));
    PetscCall(VecGetArray(w, &wa));
    for (PetscInt i = 0; i < nl; ++i) keep[i] = wa[i] > 0 ? (scaled ? h[i] / std::sqrt(wa[i]) : h[i]) : std::nan("");
    PetscCall(VecRestoreArray(w, &wa));
    PetscCall(VecRestoreArrayRead(r, &h));
    PetscCall(VecRestoreArrayWrite(f.fit, &keep));
  }
  PetscCall(VecAYPX(r, -1.0, b));
  if (!scaled) {
    Vec q;
    PetscCall(VecDuplicate(w, &q));
    PetscCall(VecCopy(w, q));
    PetscCall(VecSqrtAbs(q));
    PetscCall(VecPointwiseMult(r, r, q));
    PetscCall(VecDestroy(&q));
  }
  PetscCall(VecNorm(r, NORM_2, &rn));
  f.rms = rn / std::sqrt(sums[1]);
  for (PetscLogDouble *t : {&f.tread, &f.tmake, &f.tsetup, &f.tsolve}) PetscCall(driver::Slowest(comm, t));
  PetscCall(VecDestroy(&r));
  PetscCall(VecDestroy(&b));
  PetscCall(VecDestroy(&w));
  PetscCall(MatDestroy(&A));
  PetscCall(KSPDestroy(&ksp));
  PetscCall(SkeanGridDestroy(&grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode PrintFit(const char file[], const Settings &s, const Fit &f)
{
  driver::Table t(std::string("skean-topography: ") + file);

  PetscFunctionBegin;
  t.Add("grid", std::to_string(f.nlat) + " x " + std::to_string(f.nlon) + ", " + driver::Number(f.points, 9) + " points count (" + Wheres[s.where] + ")");
  t.Add("rows x columns", std::to_string(f.n) + " x " + std::to_string(f.d) + " (degree " + std::to_string(s.degree) + "), " +
                            driver::Number(8e-9 * static_cast<double>(f.n) * static_cast<double>(f.d), 3) + " GB");
  t.Add("method", f.method);
  if (f.rank) {
    t.Add("numerical rank", std::to_string(f.rank) + " of " + std::to_string(f.d));
    t.Add("condition (columns scaled)", driver::Number(f.kappa, 3));
    t.Add("backward error", f.backward >= 0 ? driver::Number(f.backward, 3) + " (columns scaled)" : "not computed");
  }
  t.Add("rms of the heights", driver::Number(f.data, 5) + " m");
  t.Add("rms of the residual", driver::Number(f.rms, 5) + " m");
  t.Add(f.rank ? "passes over A after set-up" : "passes over A", std::to_string(f.passes));
  if (f.bounds) {
    PetscReal big;
    PetscCall(VecMax(f.bounds, NULL, &big));
    t.Add("largest error bound", driver::Number(big, 3) + " m, all hold with probability " + driver::Number(1 - s.delta));
  }
  t.Add("result", driver::ReasonText(f.reason));
  t.Add("seconds", "read " + driver::Number(f.tread, 3) + ", make rows " + driver::Number(f.tmake, 3) + ", set up " + driver::Number(f.tsetup, 3) + ", solve " +
                     driver::Number(f.tsolve, 3));
  PetscCall(t.Print(PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Draw(const char file[], const Settings &s, const Fit &f)
{
  std::vector<double> data, fit, left;
  PetscMPIInt         rank;
  skean::PlotFigure   fig(1);

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(skean::PlotGather(f.b, &data));
  PetscCall(skean::PlotGather(f.fit, &fit));
  if (!rank) {
    PetscCallCXX(left.resize(data.size()));
    double big = 0;
    for (std::size_t i = 0; i < data.size(); ++i) {
      left[i] = data[i] - fit[i];
      if (std::isfinite(data[i])) big = std::max(big, std::fabs(data[i]));
    }
    fig.width     = 640;
    fig.height    = 330;
    const auto hx = 0.5 * (f.lon[1] - f.lon[0]), hy = 0.5 * (f.lat[1] - f.lat[0]);
    const auto map = [&](const std::string &title, std::vector<double> &v) {
      fig.Add(skean::PlotPanel::Heat(title, f.nlon, f.nlat, std::move(v))
                .Extent(f.lon.front() - hx, f.lon.back() + hx, f.lat.front() - hy, f.lat.back() + hy)
                .Labels("longitude (degrees east)", "latitude (degrees north)")
                .Bar("m")
                .Equal()
                .Diverging()
                .Range(-big, big));
    };
    map("Heights", data);
    map("Spherical harmonics up to degree " + std::to_string(s.degree), fit);
    map("What is left, rms " + driver::Number(f.rms, 4) + " m", left);
  }
  PetscCall(skean::PlotWrite(PETSC_COMM_WORLD, fig, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Run(driver::ExitCode *code)
{
  const MPI_Comm comm = PETSC_COMM_WORLD;
  Settings       s;
  Fit            fine, coarse;

  PetscFunctionBegin;
  PetscCall(ReadSettings(s));
  PetscCheck(s.degree >= 0 && s.degree <= 150, comm, PETSC_ERR_USER_INPUT, "-degree %" PetscInt_FMT ": from 0 to 150", s.degree);
  PetscCall(driver::CheckFitSettings(comm, s));
  PetscCall(SkeanWarnSlowBLAS(comm));
  PetscCall(Solve(s, s.grid, s.plot[0] != 0, fine));
  PetscCall(PrintFit(s.grid, s, fine));
  *code = fine.reason > 0 ? driver::Converged : driver::NotConverged;
  if (s.o[0]) {
    PetscCall(PetscObjectSetName((PetscObject)fine.x, "coefficients"));
    PetscCall(SkeanFileSetAttribute((PetscObject)fine.x, "grid", s.grid));
    PetscCall(SkeanFileSetAttribute((PetscObject)fine.x, "degree", std::to_string(s.degree).c_str()));
    PetscCall(SkeanVecWriteFile(fine.x, s.o));
    PetscCall(PetscPrintf(comm, "  coefficients in %s\n", s.o));
  }
  if (s.plot[0]) {
    PetscCall(Draw(s.plot, s, fine));
    PetscCall(PetscPrintf(comm, "  drawn: %s\n", s.plot));
  }
  if (s.coarse[0]) {
    PetscReal nx, nd;
    PetscCall(Solve(s, s.coarse, false, coarse));
    PetscCall(PrintFit(s.coarse, s, coarse));
    if (coarse.reason < 0) *code = driver::NotConverged;
    PetscCall(VecNorm(fine.x, NORM_2, &nx));
    PetscCall(VecAXPY(coarse.x, -1.0, fine.x));
    PetscCall(VecNorm(coarse.x, NORM_2, &nd));
    PetscCall(PetscPrintf(comm, "The coefficients of the two grids differ by %.3g of their size (the rms of the heights that they stand for: %.4g m)\n",
                          (double)(nd / nx), (double)nd));
  }
  PetscCall(FreeFit(fine));
  PetscCall(FreeFit(coarse));
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

int main(int argc, char **argv)
{
  driver::Program program;
  program.name         = "skean-topography";
  program.help         = help;
  program.options      = {"-grid",          "-coarse",      "-degree",      "-where",      "-weighting",  "-bounds",      "-o",        "-plot",
                          "-monitor",       "-help",        "-ksp_type",    "-ksp_rtol",   "-ksp_max_it", "-ksp_monitor", "-ksp_view", "-ksp_sketch_method",
                          "-sketch_factor", "-sketch_type", "-sketch_rows", "-sketch_seed"};
  program.printoptions = PrintOptions;
  program.run          = Run;
  return driver::Main(argc, argv, program);
}
