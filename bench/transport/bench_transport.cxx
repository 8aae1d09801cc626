static char help[] = "Optimal transport on the fixed suite; one JSON object per solve.\n\
  -case lap|gauss|cloud|grid|images  -n <size>  -d <dimension>  -seed <s>  -norm l2|l1  -images <PETSc binary matrix, one image per row>  -i <image> -j <image>\n\
  -case files  -x <points> -y <points> or -cost <matrix>  -r <masses> -c <masses>  (.npy and what else the drivers read)\n\
  -epsilons <e1,e2,...> relative to the largest cost   -repeat <k>   -setup <bool> set-up in the time of every solve\n\
  -potentials <file> of the last solve (PETSc binary)   and every -transport_... option\n\n";

#include "clouds.hpp"
#include <skeanio.h>
#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

static PetscErrorCode FillVec(PetscInt n, const std::function<double(PetscInt)> &f, Vec *v)
{
  PetscInt     lo, hi;
  PetscScalar *a;
  PetscFunctionBegin;
  PetscCall(VecCreateMPI(PETSC_COMM_WORLD, PETSC_DECIDE, n, v));
  PetscCall(VecGetOwnershipRange(*v, &lo, &hi));
  PetscCall(VecGetArray(*v, &a));
  for (PetscInt i = lo; i < hi; ++i) a[i - lo] = f(i);
  PetscCall(VecRestoreArray(*v, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FillMat(PetscInt n, PetscInt m, const std::function<double(PetscInt, PetscInt)> &f, Mat *A)
{
  PetscInt     lo, hi, lda;
  PetscScalar *a;
  PetscFunctionBegin;
  PetscCall(MatCreateDense(PETSC_COMM_WORLD, PETSC_DECIDE, PETSC_DECIDE, n, m, NULL, A));
  PetscCall(MatGetOwnershipRange(*A, &lo, &hi));
  PetscCall(MatDenseGetLDA(*A, &lda));
  PetscCall(MatDenseGetArrayWrite(*A, &a));
  for (PetscInt j = 0; j < m; ++j)
    for (PetscInt i = lo; i < hi; ++i) a[(i - lo) + static_cast<size_t>(j) * lda] = f(i, j);
  PetscCall(MatDenseRestoreArrayWrite(*A, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  char           what[64] = "lap", norm[16] = "l2", images[PETSC_MAX_PATH_LEN] = "";
  PetscInt       n = 500, d = 3, seed = 0, ii = 0, jj = 1, repeat = 1, neps = 16;
  PetscReal      epss[16] = {1.0 / 1200};
  PetscBool      set, setup = PETSC_FALSE, keep;
  char           potentials[PETSC_MAX_PATH_LEN];
  SkeanTransport t;
  Vec            r, c;
  Mat            A = NULL, B = NULL;
  PetscMPIInt    size;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, help));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-case", what, sizeof(what), NULL));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-norm", norm, sizeof(norm), NULL));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-images", images, sizeof(images), NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-n", &n, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-d", &d, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-seed", &seed, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-i", &ii, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-j", &jj, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-repeat", &repeat, NULL));
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-setup", &setup, NULL));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-potentials", potentials, sizeof(potentials), &keep));
  PetscCall(PetscOptionsGetRealArray(NULL, NULL, "-epsilons", epss, &neps, &set));
  if (!set) neps = 1;
  const skean::RandomStream rs(seed, skean::Purpose::Test);
  const std::string         kind = what;
  PetscCall(SkeanTransportCreate(PETSC_COMM_WORLD, &t));
  if (kind == "files") {
    auto path                     = [](const char *name, char *file) { return PetscOptionsGetString(NULL, NULL, name, file, PETSC_MAX_PATH_LEN, NULL); };
    char f[5][PETSC_MAX_PATH_LEN] = {"", "", "", "", ""};
    PetscCall(path("-x", f[0]));
    PetscCall(path("-y", f[1]));
    PetscCall(path("-cost", f[2]));
    PetscCall(path("-r", f[3]));
    PetscCall(path("-c", f[4]));
    PetscCall(SkeanVecLoadFile(PETSC_COMM_WORLD, f[3], &r));
    PetscCall(SkeanVecLoadFile(PETSC_COMM_WORLD, f[4], &c));
    PetscCall(VecGetSize(r, &n));
    PetscCall(SkeanMatLoadFile(PETSC_COMM_WORLD, f[2][0] ? f[2] : f[0], MATDENSE, &A));
    if (f[2][0])
      PetscCall(SkeanTransportSetCost(t, A));
    else {
      PetscCall(SkeanMatLoadFile(PETSC_COMM_WORLD, f[1], MATDENSE, &B));
      PetscCall(SkeanTransportSetPoints(t, A, B));
      PetscCall(MatGetSize(A, NULL, &d));
    }
  } else if (kind == "lap") {
    PetscCall(FillVec(
      n, [&](PetscInt) { return 1.0 / n; }, &r));
    PetscCall(FillVec(
      n, [&](PetscInt) { return 1.0 / n; }, &c));
    PetscCall(FillMat(
      n, n, [&](PetscInt i, PetscInt j) { return rs.Uniform(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(j)); }, &A));
    PetscCall(SkeanTransportSetCost(t, A));
  } else if (kind == "gauss") {
    auto g = [&](double m, double s) {
      return [=](PetscInt i) {
        const double x = -5 + 10.0 * i / (n - 1) - m;
        return std::exp(-0.5 * x * x / (s * s)) / (s * std::sqrt(2 * PETSC_PI)) * 10.0 / (n - 1);
      };
    };
    PetscCall(FillVec(n, g(-0.5, 0.8), &r));
    PetscCall(FillVec(n, g(0.7, 0.5), &c));
    PetscReal sr, sc;
    PetscCall(VecSum(r, &sr));
    PetscCall(VecSum(c, &sc));
    PetscCall(VecScale(r, 1 / sr));
    PetscCall(VecScale(c, 1 / sc));
    PetscCall(FillMat(
      n, 1, [&](PetscInt i, PetscInt) { return -5 + 10.0 * i / (n - 1); }, &A));
    PetscCall(SkeanTransportSetPoints(t, A, A));
  } else if (kind == "cloud") {
    PetscCall(FillVec(
      n, [&](PetscInt) { return 1.0 / n; }, &r));
    PetscCall(FillVec(
      n, [&](PetscInt) { return 1.0 / n; }, &c));
    PetscCall(FillMat(
      n, d, [&](PetscInt i, PetscInt k) { return rs.Normal(i, k); }, &A));
    PetscCall(FillMat(
      n, d, [&](PetscInt i, PetscInt k) { return 0.5 + 0.7 * rs.Normal(n + i, k); }, &B));
    PetscCall(SkeanTransportSetPoints(t, A, B));
  } else if (kind == "grid") { /* two sums of bumps on an n x n grid, bump positions from the seed */
    const PetscInt  nn[2] = {n, n};
    const PetscReal lo[2] = {0, 0}, hi[2] = {1, 1};
    auto            bumps = [&](int which) {
      return [=](PetscInt q) {
        const double x = static_cast<double>(q / n) / (n - 1), y = static_cast<double>(q % n) / (n - 1);
        double       s = 1e-3;
        for (int b = 0; b < 3; ++b) {
          const double dx = x - rs.Uniform(std::uint64_t(which), std::uint64_t(2 * b)), dy = y - rs.Uniform(std::uint64_t(which), std::uint64_t(2 * b + 1));
          s += std::exp(-(dx * dx + dy * dy) / 0.01);
        }
        return s;
      };
    };
    PetscInt rows = PETSC_DECIDE, all = n;
    PetscCall(PetscSplitOwnership(PETSC_COMM_WORLD, &rows, &all));
    auto slabs = [&](const std::function<double(PetscInt)> &f, Vec *v) {
      PetscInt     vlo, vhi;
      PetscScalar *a;
      PetscReal    sum;
      PetscFunctionBegin;
      PetscCall(VecCreateMPI(PETSC_COMM_WORLD, rows * n, n * n, v));
      PetscCall(VecGetOwnershipRange(*v, &vlo, &vhi));
      PetscCall(VecGetArray(*v, &a));
      for (PetscInt i = vlo; i < vhi; ++i) a[i - vlo] = f(i);
      PetscCall(VecRestoreArray(*v, &a));
      PetscCall(VecSum(*v, &sum));
      PetscCall(VecScale(*v, 1 / sum));
      PetscFunctionReturn(PETSC_SUCCESS);
    };
    PetscCall(slabs(bumps(0), &r));
    PetscCall(slabs(bumps(1), &c));
    PetscCall(SkeanTransportSetGrid(t, 2, nn, lo, hi));
  } else {
    /* pairs of 28 x 28 images, mixed with 0.01/8 of uniform mass as in the SSNS experiments */
    PetscViewer viewer;
    Mat         all;
    PetscInt    np, npix;
    PetscCall(PetscViewerBinaryOpen(PETSC_COMM_SELF, images, FILE_MODE_READ, &viewer));
    PetscCall(MatCreate(PETSC_COMM_SELF, &all));
    PetscCall(MatSetType(all, MATDENSE));
    PetscCall(MatLoad(all, viewer));
    PetscCall(PetscViewerDestroy(&viewer));
    PetscCall(MatGetSize(all, &np, &npix));
    const PetscScalar *a;
    PetscCall(MatDenseGetArrayRead(all, &a));
    auto image = [&](PetscInt k) {
      double s = 0;
      for (PetscInt p = 0; p < npix; ++p) s += a[k + static_cast<size_t>(p) * np];
      return [=](PetscInt p) { return (1 - 0.01 / 8) * a[k + static_cast<size_t>(p) * np] / s + 0.01 / 8 / npix; };
    };
    n = npix;
    PetscCall(FillVec(n, image(ii), &r));
    PetscCall(FillVec(n, image(jj), &c));
    PetscCall(MatDenseRestoreArrayRead(all, &a));
    PetscCall(MatDestroy(&all));
    PetscCall(FillMat(
      n, 2, [&](PetscInt i, PetscInt k) { return static_cast<double>(k ? i % 28 : i / 28); }, &A));
    PetscCall(SkeanTransportSetPoints(t, A, A));
  }
  if (std::string(norm) == "l1") PetscCall(SkeanTransportSetCostType(t, SKEAN_TRANSPORT_COST_L1));
  PetscCall(SkeanTransportSetMarginals(t, r, c));
  PetscCall(SkeanTransportSetFromOptions(t));
  for (PetscInt k = 0; k < neps; ++k) {
    std::vector<double>  times;
    PetscReal            err, cost, ent, lower, upper, eps;
    PetscInt             its, passes, kept, kmax, nnz;
    SkeanConvergedReason reason;
    SkeanTransportType   type;
    PetscCall(SkeanTransportSetEpsilon(t, epss[k], SKEAN_TRANSPORT_EPS_MAX));
    double cpu = PETSC_MAX_REAL;
    for (PetscInt rep = 0; rep < repeat; ++rep) {
      if (setup) PetscCall(SkeanTransportSetMarginals(t, r, c)); /* everything is built again */
      PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
      const double cpu0 = CPUSeconds();
      double       t0   = MPI_Wtime();
      PetscCall(SkeanTransportSolve(t));
      t0  = MPI_Wtime() - t0;
      cpu = PetscMin(cpu, CPUSeconds() - cpu0);
      PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &t0, 1, MPI_DOUBLE, MPI_MAX, PETSC_COMM_WORLD));
      times.push_back(t0);
    }
    std::sort(times.begin(), times.end());
    PetscCall(SkeanTransportGetConvergedReason(t, &reason));
    PetscCall(SkeanTransportGetMarginalError(t, &err));
    PetscCall(SkeanTransportGetCosts(t, &cost, &ent, NULL));
    PetscCall(SkeanTransportGetCertificate(t, &lower, &upper));
    PetscCall(SkeanTransportGetIterationNumber(t, &its));
    PetscCall(SkeanTransportGetPasses(t, &passes));
    PetscCall(SkeanTransportGetKeptPasses(t, &kept));
    PetscCall(SkeanTransportGetNewtonStatistics(t, &kmax, &nnz));
    PetscCall(SkeanTransportGetEpsilon(t, &eps));
    PetscCall(SkeanTransportGetType(t, &type));
    PetscCall(
      PetscPrintf(PETSC_COMM_WORLD,
                  "{\"case\":\"%s\",\"n\":%d,\"d\":%d,\"seed\":%d,\"norm\":\"%s\",\"pair\":[%d,%d],\"type\":\"%s\",\"eps_rel\":%.3g,\"ranks\":%d,"
                  "\"reason\":\"%s\",\"error\":%.3e,\"iterations\":%d,\"passes\":%d,\"kept\":%d,\"ksp_max\":%d,\"nnz\":%d,\"cost\":%.12g,\"entropy\":%.12g,"
                  "\"lower\":%.12g,\"upper\":%.12g,\"gap\":%.3e,\"time_min\":%.4f,\"time_median\":%.4f,\"time_max\":%.4f,\"cpu\":%.4f,\"rss_mb\":%.0f}\n",
                  what, (int)n, (int)d, (int)seed, norm, (int)ii, (int)jj, type, (double)epss[k], size, SkeanConvergedReasons[reason], (double)err, (int)its,
                  (int)passes, (int)kept, (int)kmax, (int)nnz, (double)cost, (double)ent, (double)lower, (double)upper, (double)((upper - lower) / upper),
                  times.front(), times[times.size() / 2], times.back(), cpu, PeakMegabytes(MPI_SUM)));
  }
  if (keep) {
    PetscViewer viewer;
    Vec         f, g;
    PetscCall(VecDuplicate(r, &f));
    PetscCall(VecDuplicate(c, &g));
    PetscCall(SkeanTransportGetPotentials(t, f, g));
    PetscCall(PetscViewerBinaryOpen(PETSC_COMM_WORLD, potentials, FILE_MODE_WRITE, &viewer));
    PetscCall(VecView(f, viewer));
    PetscCall(VecView(g, viewer));
    PetscCall(PetscViewerDestroy(&viewer));
    PetscCall(VecDestroy(&f));
    PetscCall(VecDestroy(&g));
  }
  PetscCall(SkeanTransportDestroy(&t));
  PetscCall(VecDestroy(&r));
  PetscCall(VecDestroy(&c));
  PetscCall(MatDestroy(&A));
  PetscCall(MatDestroy(&B));
  PetscCall(SkeanFinalize());
  return 0;
}
