static char help[] = "Missing points: conjugate gradients on the observed block, filling, and filling with the slow modes of the gaps deflated, each to the\n"
                     "same held-out error; one JSON object per noise level.\n"
                     "  -grid file:variable  the data (NetCDF); without it a random function on 12 x 90 x 180 points\n"
                     "  -sizes n,n,...       other sizes of the random function, no gaps but the hidden points\n"
                     "  -kernel text         covariance functions\n"
                     "  -holdout fraction    part of the observed values that is hidden (0.1)\n"
                     "  -noise r,r,...       noise over signal variance (1e-1,1e-2,1e-3)\n"
                     "  -digits e            relative agreement of the held-out error with that of a tight solve (1e-3)\n"
                     "  -reach n             steps to the neighbours that precondition small gaps, as in -gp_fill_reach (where they are expected to pay)\n"
                     "  -masked bool         the observed block too (true)\n\n";
#include <skeanio.h>
#include <skean/private/gpimpl.h>
#include <skean/private/random.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>

using namespace skean;
using namespace skean::gp;

namespace {

struct Case {
  Regression         *r;
  std::vector<double> truth, hidden, mean, x; /* home boxes; hidden: 1 where judged */
  double              count = 0, reference = 0, digits = 1e-3, spent = 0, reached = 0;
};

/* Held-out error of the mean that the present iterate of the solve gives */
PetscErrorCode Judge(Case &c, const double *iterate, double *rmse)
{
  Regression      *r = c.r;
  const PetscInt64 m = r->HomeSize();

  PetscFunctionBegin;
  PetscCallCXX(c.x.resize(m));
  if (r->maskedcg) { /* weights on the observed points */
    PetscCall(r->ApplyCovariance(iterate, c.x.data()));
  } else { /* values at the missing points: f = filled - ratio A filled */
    std::vector<double> filled(iterate, iterate + m);
    for (PetscInt64 i = 0; i < m; ++i)
      if (r->mask[i]) filled[i] = r->y[i];
    PetscCall(r->ApplyInverse(filled.data(), c.x.data()));
    for (PetscInt64 i = 0; i < m; ++i) c.x[i] = filled[i] - r->Ratio() * c.x[i];
  }
  double s = 0;
  for (PetscInt64 i = 0; i < m; ++i)
    if (c.hidden[i] != 0.0) s += std::pow(c.x[i] + r->mean - c.truth[i], 2);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &s, 1, MPI_DOUBLE, MPI_SUM, r->comm));
  *rmse = std::sqrt(s / c.count);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Stops when the held-out error is that of the tight solve; the time of looking is not counted */
PetscErrorCode Test(KSP ksp, PetscInt it, PetscReal, KSPConvergedReason *reason, void *ctx)
{
  Case         &c = *static_cast<Case *>(ctx);
  Vec           x;
  const double *p;

  PetscFunctionBegin;
  *reason = KSP_CONVERGED_ITERATING;
  /* seldom in a long run: an iteration more than needed in fifty */
  if (!it || it % std::max<PetscInt>(1, it / 50)) PetscFunctionReturn(PETSC_SUCCESS);
  const double t = MPI_Wtime();
  PetscCall(KSPBuildSolution(ksp, NULL, &x));
  PetscCall(VecGetArrayRead(x, &p));
  PetscCall(Judge(c, p, &c.reached));
  PetscCall(VecRestoreArrayRead(x, &p));
  if (std::abs(c.reached - c.reference) <= c.digits * c.reference) *reason = KSP_CONVERGED_RTOL;
  c.spent += MPI_Wtime() - t;
  PetscFunctionReturn(PETSC_SUCCESS);
}

struct Result {
  PetscInt its     = 0;
  double   seconds = 0, setup = 0, rmse = 0;
  bool     good = false;
};

PetscErrorCode Run(Case &c, bool maskedcg, PetscInt modes, PetscInt maxit, Result *res)
{
  Regression         *r = c.r;
  const PetscInt64    m = r->HomeSize();
  std::vector<double> a(m), filled(m);

  PetscFunctionBegin;
  r->maskedcg  = maskedcg;
  r->deflmodes = modes;
  r->deflratio = -1;
  r->fillmaxit = maxit;
  c.spent      = 0;
  PetscCallMPI(MPI_Barrier(r->comm));
  double t = MPI_Wtime();
  if (!maskedcg) PetscCall(r->Deflate(false));
  res->setup = MPI_Wtime() - t;
  PetscCall(KSPSetConvergenceTest(r->ksp, Test, &c, NULL));
  PetscCall(r->ObservedSolve(r->y.data(), a.data(), filled.data(), &res->its, &res->good));
  res->seconds    = MPI_Wtime() - t - c.spent;
  res->rmse       = c.reached;
  double worst[2] = {res->seconds, res->setup};
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, worst, 2, MPI_DOUBLE, MPI_MAX, r->comm));
  res->seconds = worst[0];
  res->setup   = worst[1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

void Print(const char *name, const Result &r)
{
  std::printf(",\"%s_its\":%d,\"%s_s\":%.4g,\"%s_rmse\":%.5g,\"%s_reached\":%s", name, static_cast<int>(r.its), name, r.seconds, name, r.rmse, name,
              r.good ? "true" : "false");
}

} // namespace

int main(int argc, char **argv)
{
  char               file[PETSC_MAX_PATH_LEN] = "", kernel[4096] = "periodic(1.5,12),matern32(25),chordal32(30,360)";
  PetscReal          holdout = 0.1, noise[16] = {1e-1, 1e-2, 1e-3}, digits = 1e-3;
  PetscInt           reach = PETSC_DECIDE, nnoise = 3, d = 3, dims[8] = {12, 90, 180}, maxit = 6000;
  PetscBool          has, masked = PETSC_TRUE;
  PetscMPIInt        rank, size;
  SkeanGP            gp;
  SkeanGrid          grid = NULL;
  Vec                values, mask, hidden, y;
  const RandomStream stream(1, Purpose::Test);
  const PetscInt    *pd = dims;
  MPI_Comm           comm;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, help));
  comm = PETSC_COMM_WORLD;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-grid", file, sizeof(file), &has));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-kernel", kernel, sizeof(kernel), NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-holdout", &holdout, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-digits", &digits, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-max_it", &maxit, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-reach", &reach, NULL));
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-masked", &masked, NULL));
  PetscInt  given = 16;
  PetscBool set;
  PetscReal list[16];
  PetscCall(PetscOptionsGetRealArray(NULL, NULL, "-noise", list, &given, &set));
  if (set) {
    nnoise = given;
    std::copy(list, list + given, noise);
  }
  given = 8;
  PetscInt sizes[8];
  PetscCall(PetscOptionsGetIntArray(NULL, NULL, "-sizes", sizes, &given, &set));
  if (set) {
    d = given;
    std::copy(sizes, sizes + given, dims);
  }
  std::vector<std::vector<PetscReal>> number;
  std::vector<const PetscReal *>      x;
  if (has) {
    PetscCall(SkeanGridLoadFile(comm, file, &grid));
    PetscCall(SkeanGridGetDims(grid, &d, &pd));
  }
  for (PetscInt j = 0; j < d; ++j) {
    const PetscReal *cx = NULL;
    if (grid) PetscCall(SkeanGridGetDim(grid, j, NULL, NULL, &cx));
    number.emplace_back();
    for (PetscInt i = 0; i < pd[j]; ++i)
      number.back().push_back(pd[j] == 12 ? static_cast<PetscReal>(i)
                              : cx        ? cx[i]
                                          : (j == 1 ? -89.0 : 21.0) + 2.0 * static_cast<PetscReal>(i)); /* months are counted */
  }
  for (auto &v : number) x.push_back(v.data());
  PetscCall(SkeanGPCreate(comm, &gp));
  PetscCall(SkeanGPSetGrid(gp, d, pd, x.data()));
  PetscCall(SkeanGPSetKernel(gp, kernel));
  PetscCall(SkeanGPSetSampleMean(gp, PETSC_TRUE));
  PetscCall(SkeanGPSetVariances(gp, 1.0, noise[0]));
  PetscCall(SkeanGPSetFromOptions(gp));
  if (grid) {
    PetscCall(SkeanGridGetValues(grid, &values));
    PetscCall(SkeanGridCreateMask(grid, &mask));
  } else {
    PetscCall(SkeanGPCreateVec(gp, &values));
    PetscCall(VecDuplicate(values, &mask));
    PetscCall(VecSet(mask, 1.0));
    PetscCall(SkeanGPSample(gp, PETSC_FALSE, 0, values));
    PetscScalar *p;
    PetscInt     lo, hi;
    PetscCall(VecGetOwnershipRange(values, &lo, &hi));
    PetscCall(VecGetArray(values, &p));
    for (PetscInt i = lo; i < hi; ++i) p[i - lo] += std::sqrt(noise[nnoise - 1]) * stream.Normal(static_cast<std::uint64_t>(i), 8);
    PetscCall(VecRestoreArray(values, &p));
  }
  PetscCall(VecDuplicate(mask, &hidden));
  PetscCall(VecSet(hidden, 0.0));
  PetscCall(VecDuplicate(values, &y));
  PetscCall(VecCopy(values, y));
  {
    PetscScalar *m, *h;
    PetscInt     lo, hi;
    PetscCall(VecGetOwnershipRange(mask, &lo, &hi));
    PetscCall(VecGetArray(mask, &m));
    PetscCall(VecGetArray(hidden, &h));
    for (PetscInt i = lo; i < hi; ++i)
      if (m[i - lo] != 0.0 && stream.Uniform(static_cast<std::uint64_t>(i)) < holdout) {
        m[i - lo] = 0.0;
        h[i - lo] = 1.0;
      }
    PetscCall(VecRestoreArray(mask, &m));
    PetscCall(VecRestoreArray(hidden, &h));
  }
  PetscCall(SkeanGPSetData(gp, y, mask));
  Case c;
  c.r      = gp->reg;
  c.digits = digits;
  PetscCallCXX(c.truth.resize(c.r->HomeSize()));
  PetscCallCXX(c.hidden.resize(c.r->HomeSize()));
  PetscCall(c.r->FromNatural(values, NULL, c.truth.data()));
  PetscCall(c.r->FromNatural(hidden, NULL, c.hidden.data()));
  for (double h : c.hidden) c.count += h;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &c.count, 1, MPI_DOUBLE, MPI_SUM, comm));
  const double variance = c.r->yvar;
  for (PetscInt k = 0; k < nnoise; ++k) {
    Result      plain, deflated, mcg;
    PetscInt    tight[2];
    Regression *r = c.r;
    PetscCall(SkeanGPSetVariances(gp, variance, noise[k] * variance));
    r->factored = false;
    double t    = MPI_Wtime();
    PetscCall(r->Sums());
    double eigen = MPI_Wtime() - t;
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &eigen, 1, MPI_DOUBLE, MPI_MAX, comm));
    /* tight solves without and with the entries of neighbours; the reference: the latter */
    double tightseconds[2] = {0, 0};
    for (int with = 0; with < 2; ++with) {
      std::vector<double> a(r->HomeSize()), filled(a.size());
      bool                good;
      r->maskedcg  = false;
      r->deflmodes = PETSC_DECIDE;
      r->deflratio = -1;
      r->reach     = with ? reach : 0;
      r->fillmaxit = maxit;
      r->fillrtol  = 1e-8;
      PetscCall(KSPDestroy(&r->ksp));
      PetscCall(MatDestroy(&r->shell));
      PetscCall(VecDestroy(&r->kx));
      PetscCall(VecDestroy(&r->kb));
      PetscCallMPI(MPI_Barrier(comm));
      tightseconds[with] = -MPI_Wtime();
      PetscCall(r->ObservedSolve(r->y.data(), a.data(), filled.data(), &tight[with], &good));
      tightseconds[with] += MPI_Wtime();
      PetscCheck(good, comm, PETSC_ERR_NOT_CONVERGED, "The reference did not converge");
      PetscCall(Judge(c, filled.data(), &c.reference));
    }
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, tightseconds, 2, MPI_DOUBLE, MPI_MAX, comm));
    const bool neighbors = r->neighbors.Ready();
    PetscCall(Run(c, false, PETSC_DECIDE, maxit, &deflated));
    const int    modes = r->deflation.Ready() ? static_cast<int>(r->deflation.Modes()) : 0;
    const double theta = modes ? r->deflation.Theta() : 0;
    PetscCall(Run(c, false, 0, maxit, &plain));
    if (masked) PetscCall(Run(c, true, 0, maxit, &mcg));
    if (!rank) {
      std::printf(
        "{\"case\":\"gaps\",\"data\":\"%s\",\"points\":%d,\"missing\":%d,\"ranks\":%d,\"seed\":1,\"noise\":%g,\"sd\":%.4g,\"rmse\":%.5g,\"digits\":%g,"
        "\"its_1e-8\":%d,\"s_1e-8\":%.4g,\"its_1e-8_neighbors\":%d,\"s_1e-8_neighbors\":%.4g,\"neighbors\":%s,\"eigen_s\":%.4g,\"modes\":%d,\"condition_"
        "bound\":%.4g,\"setup_s\":%.4g",
        has ? file : "random", static_cast<int>(r->N), static_cast<int>(r->N - r->nobs), size, noise[k], std::sqrt(variance), c.reference, digits,
        static_cast<int>(tight[0]), tightseconds[0], static_cast<int>(tight[1]), tightseconds[1], neighbors ? "true" : "false", eigen, modes, 1 + theta,
        deflated.setup);
      Print("deflated", deflated);
      Print("fill", plain);
      if (masked) {
        Print("masked", mcg);
        std::printf(",\"iteration_ratio\":%.4g,\"time_ratio\":%.4g", static_cast<double>(mcg.its) / deflated.its, mcg.seconds / (deflated.seconds + eigen));
      }
      std::printf("}\n");
      std::fflush(stdout);
    }
  }
  PetscCall(VecDestroy(&y));
  PetscCall(VecDestroy(&hidden));
  PetscCall(VecDestroy(&mask));
  if (!grid) PetscCall(VecDestroy(&values));
  PetscCall(SkeanGridDestroy(&grid));
  PetscCall(SkeanGPDestroy(&gp));
  PetscCall(SkeanFinalize());
  return 0;
}
