static char help[] = "Passes over clouds of points: time per pass and per entry, with and without truncation, by cost; one JSON object per case.\n\
  -n <points of each cloud>  -d <dimension>  -cost sqeuclidean|euclidean|l1|lp|cosine  -epsilons <e1,e2,...> relative to the largest cost\n\
  -coarse <points of the clouds that give the potentials>  -full <0|1>: time passes over all pairs too  -sweeps <k> passes timed\n\
  -solve: solve at the last epsilon from these potentials, with every -transport_... option\n\n";

#include "clouds.hpp"
#include <cmath>
#include <functional>
#include <string>

/* a solver between clouds with equal masses, that many sweeps of Sinkhorn at an absolute epsilon */
static PetscErrorCode Solver(Mat X, Mat Y, SkeanTransportCostType cost, PetscReal eps, PetscReal truncation, PetscInt sweeps, SkeanTransport *t)
{
  Vec r, c;

  PetscFunctionBegin;
  PetscCall(Masses(X, &r));
  PetscCall(Masses(Y, &c));
  PetscCall(SkeanTransportCreate(PETSC_COMM_WORLD, t));
  PetscCall(SkeanTransportSetType(*t, SKEANTRANSPORTSINKHORN));
  PetscCall(SkeanTransportSetMarginals(*t, r, c));
  PetscCall(SkeanTransportSetPoints(*t, X, Y));
  PetscCall(SkeanTransportSetCostType(*t, cost));
  PetscCall(SkeanTransportSetEpsilon(*t, eps, SKEAN_TRANSPORT_EPS_ABSOLUTE));
  PetscCall(SkeanTransportSetTolerances(*t, 1e-9, PETSC_DEFAULT, sweeps));
  PetscCall(SkeanTransportSetTruncation(*t, truncation));
  PetscCall(SkeanTransportSetCertificate(*t, PETSC_FALSE));
  PetscCall(SkeanTransportSetKernelMemory(*t, 0)); /* every pass computes its costs */
  PetscReal limit;
  PetscBool set;
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-transport_replicate", &limit, &set));
  if (set) PetscCall(SkeanTransportSetReplicationLimit(*t, limit));
  PetscCall(VecDestroy(&r));
  PetscCall(VecDestroy(&c));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* f on the points X from the potentials g of the cloud Y: f(x) = -eps log sum_j c_j exp((g_j - c(x, y_j))/eps), one pass */
static PetscErrorCode Extend(Mat X, Mat Y, SkeanTransportCostType cost, PetscReal eps, Vec g, Vec *f)
{
  SkeanTransport t;

  PetscFunctionBegin;
  PetscCall(Solver(X, Y, cost, eps, 1e-15, 0, &t));
  PetscCall(SkeanTransportSetInitialPotentials(t, NULL, g));
  PetscCall(SkeanTransportSolve(t));
  PetscCall(MatCreateVecs(X, NULL, f));
  PetscCall(SkeanTransportGetPotentials(t, *f, NULL));
  PetscCall(SkeanTransportDestroy(&t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* seconds per fused pass near the solution; fraction of the pairs visited */
static PetscErrorCode TimePass(Mat X, Mat Y, SkeanTransportCostType cost, PetscReal eps, PetscReal truncation, PetscInt sweeps, Vec f, Vec g, double *seconds,
                               PetscReal *fraction)
{
  double t[2];

  PetscFunctionBegin;
  for (int more = 0; more < 2; ++more) {
    SkeanTransport s;
    PetscCall(Solver(X, Y, cost, eps, truncation, more ? sweeps : 0, &s));
    PetscCall(SkeanTransportSetInitialPotentials(s, f, g));
    PetscCall(SkeanTransportSetUp(s));
    PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
    t[more] = -MPI_Wtime();
    PetscCall(SkeanTransportSolve(s));
    t[more] += MPI_Wtime();
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &t[more], 1, MPI_DOUBLE, MPI_MAX, PETSC_COMM_WORLD));
    PetscCall(SkeanTransportGetVisitedFraction(s, fraction));
    PetscCall(SkeanTransportDestroy(&s));
  }
  *seconds = (t[1] - t[0]) / sweeps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscInt               n = 20000, d = 3, coarse = 2000, sweeps = 2, neps = 16;
  PetscReal              epss[16] = {1e-3, 1e-4, 1e-5}, truncation = 1e-12;
  PetscBool              set, full = PETSC_TRUE, solve = PETSC_FALSE;
  SkeanTransportCostType cost = SKEAN_TRANSPORT_COST_SQEUCLIDEAN;
  Mat                    X, Y, Xc, Yc;
  PetscMPIInt            size;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, help));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-n", &n, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-d", &d, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-coarse", &coarse, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-sweeps", &sweeps, NULL));
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-full", &full, NULL));
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-solve", &solve, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-transport_truncation", &truncation, NULL));
  PetscCall(PetscOptionsGetEnum(NULL, NULL, "-cost", SkeanTransportCostTypes, (PetscEnum *)&cost, NULL));
  PetscCall(PetscOptionsGetRealArray(NULL, NULL, "-epsilons", epss, &neps, &set));
  if (!set) neps = 3;
  const skean::RandomStream rs(1, skean::Purpose::Test);
  PetscCall(Cloud(rs, false, n, d, &X));
  PetscCall(Cloud(rs, true, n, d, &Y));
  PetscCall(Cloud(rs, false, coarse, d, &Xc));
  PetscCall(Cloud(rs, true, coarse, d, &Yc));
  for (PetscInt k = 0; k < neps; ++k) {
    SkeanTransport       t;
    Vec                  fc, gc, f, g;
    PetscReal            eps, err, fraction, one;
    SkeanConvergedReason reason;
    double               seconds, all = 0, prepare = -MPI_Wtime();

    PetscCall(Solver(Xc, Yc, cost, 1.0, 0.0, 10000, &t));
    PetscCall(SkeanTransportSetType(t, SKEANTRANSPORTSSNS));
    PetscCall(SkeanTransportSetTolerances(t, 1e-6, PETSC_DEFAULT, PETSC_DEFAULT));
    PetscCall(SkeanTransportSetEpsilon(t, epss[k], SKEAN_TRANSPORT_EPS_MAX));
    PetscCall(SkeanTransportSolve(t));
    PetscCall(SkeanTransportGetEpsilon(t, &eps));
    PetscCall(SkeanTransportGetConvergedReason(t, &reason));
    PetscCall(MatCreateVecs(Xc, NULL, &fc));
    PetscCall(MatCreateVecs(Yc, NULL, &gc));
    PetscCall(SkeanTransportGetPotentials(t, fc, gc));
    PetscCall(SkeanTransportDestroy(&t));
    PetscCall(Extend(X, Yc, cost, eps, gc, &f));
    PetscCall(Extend(Y, Xc, cost, eps, fc, &g));
    prepare += MPI_Wtime();
    PetscCall(TimePass(X, Y, cost, eps, truncation, sweeps, f, g, &seconds, &fraction));
    if (full) PetscCall(TimePass(X, Y, cost, eps, 0.0, 1, f, g, &all, &one));
    PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                          "{\"bench\":\"passes\",\"n\":%d,\"d\":%d,\"cost\":\"%s\",\"ranks\":%d,\"eps_rel\":%g,\"eps\":%.6g,\"truncation\":%g,\"coarse\":%d,"
                          "\"coarse_reason\":\"%s\","
                          "\"prepare\":%.3f,\"pass\":%.4f,\"visited\":%.4e,\"full_pass\":%.4f,\"full_ns_per_entry\":%.3f,\"speedup\":%.1f,\"rss_mb\":%.0f}\n",
                          (int)n, (int)d, SkeanTransportCostTypes[cost], size, (double)epss[k], (double)eps, (double)truncation, (int)coarse,
                          SkeanConvergedReasons[reason], prepare, seconds, (double)fraction, all, 1e9 * all * size / (double(n) * n), all / seconds,
                          PeakMegabytes(MPI_SUM)));
    if (solve && k == neps - 1) {
      PetscReal cp, lower, upper;
      PetscInt  its, passes, nnz;
      double    time;
      PetscCall(Solver(X, Y, cost, eps, truncation, 10000, &t));
      PetscCall(SkeanTransportSetType(t, SKEANTRANSPORTSSNS));
      PetscCall(SkeanTransportSetCertificate(t, PETSC_TRUE));
      PetscCall(SkeanTransportSetFromOptions(t));
      PetscCall(SkeanTransportSetInitialPotentials(t, f, g));
      time = -MPI_Wtime();
      PetscCall(SkeanTransportSolve(t));
      time += MPI_Wtime();
      PetscCall(SkeanTransportGetConvergedReason(t, &reason));
      PetscCall(SkeanTransportGetMarginalError(t, &err));
      PetscCall(SkeanTransportGetCosts(t, &cp, NULL, NULL));
      PetscCall(SkeanTransportGetCertificate(t, &lower, &upper));
      PetscCall(SkeanTransportGetIterationNumber(t, &its));
      PetscCall(SkeanTransportGetPasses(t, &passes));
      PetscCall(SkeanTransportGetNewtonStatistics(t, NULL, &nnz));
      PetscCall(SkeanTransportGetVisitedFraction(t, &fraction));
      PetscCall(
        PetscPrintf(PETSC_COMM_WORLD,
                    "{\"bench\":\"solve\",\"n\":%d,\"d\":%d,\"cost\":\"%s\",\"ranks\":%d,\"eps_rel\":%g,\"reason\":\"%s\",\"error\":%.3e,\"iterations\":%d,"
                    "\"passes\":%d,\"nnz\":%d,\"C.P\":%.12g,\"lower\":%.12g,\"upper\":%.12g,\"gap\":%.3e,\"visited\":%.4e,\"time\":%.2f,\"rss_mb\":%.0f}\n",
                    (int)n, (int)d, SkeanTransportCostTypes[cost], size, (double)epss[k], SkeanConvergedReasons[reason], (double)err, (int)its, (int)passes,
                    (int)nnz, (double)cp, (double)lower, (double)upper, (double)((upper - lower) / upper), (double)fraction, time, PeakMegabytes(MPI_SUM)));
      PetscCall(SkeanTransportDestroy(&t));
    }
    PetscCall(VecDestroy(&f));
    PetscCall(VecDestroy(&g));
    PetscCall(VecDestroy(&fc));
    PetscCall(VecDestroy(&gc));
  }
  PetscCall(MatDestroy(&X));
  PetscCall(MatDestroy(&Y));
  PetscCall(MatDestroy(&Xc));
  PetscCall(MatDestroy(&Yc));
  PetscCall(SkeanFinalize());
  return 0;
}
