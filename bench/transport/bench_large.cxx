static char help[] = "Large problems from nothing to a converged answer, with and without coarser problems first; one JSON object.\n\
  -n <points of each cloud> -d <dimension>: sources uniform in the unit cube, targets normal around its centre, in random order\n\
  -grid <points along each of two axes>: exponentials of smooth random fields (decay k^-3) as densities\n\
  -eps <relative to the largest cost>  and every -transport_... option\n\n";

#include "clouds.hpp"
#include <cmath>
#include <vector>

/* exp of a sum of cosines with random amplitudes that fall with the wave number */
static PetscErrorCode Field(const skean::RandomStream &rs, bool target, PetscInt n, Vec *mass)
{
  const PetscInt      waves = 24;
  PetscInt            slabs = PETSC_DECIDE, len = n, lo, hi;
  PetscScalar        *a;
  PetscReal           sum;
  std::vector<double> amplitude(waves * waves), c(waves * n);

  PetscFunctionBegin;
  for (PetscInt p = 0; p < waves * waves; ++p) {
    const auto   index = static_cast<std::uint64_t>(p);
    const double k     = std::hypot(p / waves, p % waves);
    amplitude[p]       = k > 0 ? 2.0 * rs.Normal(index, target) * std::pow(k, -1.5) : 0.0;
  }
  for (PetscInt p = 0; p < waves; ++p)
    for (PetscInt i = 0; i < n; ++i) c[p * n + i] = std::cos(PETSC_PI * p * (i + 0.5) / n);
  PetscCall(PetscSplitOwnership(PETSC_COMM_WORLD, &slabs, &len));
  PetscCall(VecCreateMPI(PETSC_COMM_WORLD, slabs * n, n * n, mass));
  PetscCall(VecGetOwnershipRange(*mass, &lo, &hi));
  PetscCall(VecGetArray(*mass, &a));
  for (PetscInt i = lo / n; i < hi / n; ++i) {
    std::vector<double> row(waves, 0.0);
    for (PetscInt p = 0; p < waves; ++p)
      for (PetscInt q = 0; q < waves; ++q) row[q] += amplitude[p * waves + q] * c[p * n + i];
    for (PetscInt j = 0; j < n; ++j) {
      double f = 0;
      for (PetscInt q = 0; q < waves; ++q) f += row[q] * c[q * n + j];
      a[i * n - lo + j] = std::exp(f);
    }
  }
  PetscCall(VecRestoreArray(*mass, &a));
  PetscCall(VecSum(*mass, &sum));
  PetscCall(VecScale(*mass, 1 / sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscInt             n = 20000, d = 3, grid = 0, its, passes, nnz, ksp, levels;
  PetscReal            eps = 1e-4, err, cost, lower, upper, fraction;
  Mat                  X = NULL, Y = NULL;
  Vec                  r, c;
  SkeanTransport       t;
  SkeanConvergedReason reason;
  SkeanTransportType   type;
  PetscMPIInt          size;
  double               setup, solve, cpu;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, help));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-n", &n, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-d", &d, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-grid", &grid, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-eps", &eps, NULL));
  const skean::RandomStream rs(1, skean::Purpose::Test);
  PetscCall(SkeanTransportCreate(PETSC_COMM_WORLD, &t));
  if (grid) {
    const PetscInt  sizes[2] = {grid, grid};
    const PetscReal lo[2] = {0, 0}, hi[2] = {1, 1};
    n = grid * grid;
    d = 2;
    PetscCall(Field(rs, false, grid, &r));
    PetscCall(Field(rs, true, grid, &c));
    PetscCall(SkeanTransportSetGrid(t, 2, sizes, lo, hi));
  } else {
    PetscCall(Cloud(rs, false, n, d, &X));
    PetscCall(Cloud(rs, true, n, d, &Y));
    PetscCall(Masses(X, &r));
    PetscCall(Masses(Y, &c));
    PetscCall(SkeanTransportSetPoints(t, X, Y));
  }
  PetscCall(SkeanTransportSetMarginals(t, r, c));
  PetscCall(SkeanTransportSetEpsilon(t, eps, SKEAN_TRANSPORT_EPS_MAX));
  PetscCall(SkeanTransportSetFromOptions(t));
  PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
  setup = -MPI_Wtime();
  PetscCall(SkeanTransportSetUp(t));
  setup += MPI_Wtime();
  cpu   = -CPUSeconds();
  solve = -MPI_Wtime();
  PetscCall(SkeanTransportSolve(t));
  solve += MPI_Wtime();
  cpu += CPUSeconds();
  PetscCall(SkeanTransportGetConvergedReason(t, &reason));
  PetscCall(SkeanTransportGetType(t, &type));
  PetscCall(SkeanTransportGetMarginalError(t, &err));
  PetscCall(SkeanTransportGetCosts(t, &cost, NULL, NULL));
  PetscCall(SkeanTransportGetCertificate(t, &lower, &upper));
  PetscCall(SkeanTransportGetIterationNumber(t, &its));
  PetscCall(SkeanTransportGetPasses(t, &passes));
  PetscCall(SkeanTransportGetNewtonStatistics(t, &ksp, &nnz));
  PetscCall(SkeanTransportGetVisitedFraction(t, &fraction));
  PetscCall(SkeanTransportGetMultiscale(t, NULL, NULL, &levels));
  const double all = PeakMegabytes(MPI_SUM), most = PeakMegabytes(MPI_MAX);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "{\"bench\":\"large\",\"points\":%d,\"d\":%d,\"grid\":%d,\"ranks\":%d,\"type\":\"%s\",\"levels\":%d,\"eps_rel\":%g,\"reason\":\"%s\","
                        "\"error\":%.3e,\"iterations\":%d,\"passes\":%d,\"nnz\":%d,\"ksp_its\":%d,\"C.P\":%.12g,\"lower\":%.12g,\"upper\":%.12g,\"gap\":%.3e,"
                        "\"visited\":%.4e,\"setup\":%.2f,\"solve\":%.2f,\"cpu\":%.1f,\"rss_mb\":%.0f,\"rss_mb_most\":%.0f}\n",
                        (int)n, (int)d, (int)grid, size, type, (int)levels, (double)eps, SkeanConvergedReasons[reason], (double)err, (int)its, (int)passes,
                        (int)nnz, (int)ksp, (double)cost, (double)lower, (double)upper, (double)((upper - lower) / upper), (double)fraction, setup, solve, cpu,
                        all, most));
  PetscCall(SkeanTransportDestroy(&t));
  PetscCall(VecDestroy(&r));
  PetscCall(VecDestroy(&c));
  PetscCall(MatDestroy(&X));
  PetscCall(MatDestroy(&Y));
  PetscCall(SkeanFinalize());
  return 0;
}
