/*
   One named problem by one method per run: a JSON line with time and error. bench/gp/bench_pde.py prints the table of all, beside what is known of GP-HM.

     bench_pde -problem p2a -method direct|chebyshev|fd2|fd4|compat|compat_paper|varpro [-repeats 3] [-gppde_...]

   direct, compat, varpro: SkeanGPPDEType; chebyshev, fd2, fd4: the classical collocations at the same number of points. The error is taken on 300 points per
   dimension (80 in 3-D) with the method's own interpolation, as GP-HM does; finite differences at their nodes.
*/
#include <skean.h>
#include <petsctime.h>
#include <algorithm>
#include <cstring>
#include <vector>

static const char help[] = "Times a named problem by one method.\n";

int main(int argc, char **argv)
{
  char                 problem[32] = "p1b", method[32] = "direct", n3[64] = "";
  PetscInt             repeats = 1, its = 0, dim, n[3];
  PetscMPIInt          size;
  PetscReal            error = -1, bound = -1, agreement = -1;
  SkeanConvergedReason reason = SKEAN_CONVERGED_ITERATING;
  std::vector<double>  times;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, help));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-problem", problem, sizeof(problem), NULL));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-method", method, sizeof(method), NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-repeats", &repeats, NULL));
  for (PetscInt r = 0; r < PetscMax(repeats, 1); r++) {
    SkeanGPPDE     pde;
    PetscLogDouble t0, t1;
    double         t, tmax;
    PetscCall(SkeanGPPDECreate(PETSC_COMM_WORLD, &pde));
    PetscCall(SkeanGPPDESetProblem(pde, problem));
    if (!strcmp(method, "chebyshev"))
      PetscCall(SkeanGPPDESetBasis(pde, SKEAN_GPPDE_BASIS_CHEBYSHEV));
    else if (!strcmp(method, "fd2"))
      PetscCall(SkeanGPPDESetBasis(pde, SKEAN_GPPDE_BASIS_FD2));
    else if (!strcmp(method, "fd4"))
      PetscCall(SkeanGPPDESetBasis(pde, SKEAN_GPPDE_BASIS_FD4));
    else if (!strcmp(method, "compat_paper")) {
      PetscCall(SkeanGPPDESetType(pde, SKEANGPPDECOMPAT));
      PetscCall(PetscOptionsSetValue(NULL, "-gppde_init_data", "0"));
    } else
      PetscCall(SkeanGPPDESetType(pde, method));
    PetscCall(SkeanGPPDESetFromOptions(pde));
    PetscCallMPI(MPI_Barrier(PETSC_COMM_WORLD));
    PetscCall(PetscTime(&t0));
    PetscCall(SkeanGPPDESolve(pde));
    PetscCall(PetscTime(&t1));
    t = (double)(t1 - t0);
    PetscCallMPI(MPI_Allreduce(&t, &tmax, 1, MPI_DOUBLE, MPI_MAX, PETSC_COMM_WORLD));
    times.push_back(tmax);
    PetscCall(SkeanGPPDEGetConvergedReason(pde, &reason));
    PetscCall(SkeanGPPDEGetIterationNumber(pde, &its));
    PetscCall(SkeanGPPDEGetDomain(pde, &dim, NULL, NULL));
    PetscCall(SkeanGPPDEGetGrid(pde, NULL, n));
    if (reason != SKEAN_DIVERGED_LINEAR_SOLVE && reason != SKEAN_DIVERGED_NANORINF) {
      PetscCall(SkeanGPPDEGetErrorEstimate(pde, &bound, &agreement));
      PetscCall(SkeanGPPDEComputeError(pde, !strncmp(method, "fd", 2) ? n[0] : 0, &error));
    }
    PetscCall(SkeanGPPDEDestroy(&pde));
  }
  std::sort(times.begin(), times.end());
  for (PetscInt k = 0; k < dim; k++) PetscCall(PetscSNPrintf(n3 + strlen(n3), sizeof(n3) - strlen(n3), "%s%" PetscInt_FMT, k ? "," : "", n[k]));
  PetscCall(PetscPrintf(
    PETSC_COMM_WORLD,
    "{\"problem\": \"%s\", \"method\": \"%s\", \"n\": [%s], \"ranks\": %d, \"min\": %.4g, \"median\": %.4g, \"max\": %.4g, \"error\": %.3e, \"bound\": %.3e, "
    "\"agreement\": %.3e, \"its\": %" PetscInt_FMT ", \"reason\": \"%s\"}\n",
    problem, method, n3, (int)size, times.front(), times[times.size() / 2], times.back(), (double)error, (double)bound, (double)agreement, its,
    SkeanConvergedReasons[reason]));
  PetscCall(SkeanFinalize());
  return 0;
}
