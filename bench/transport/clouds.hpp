/* What the benches of large problems share: clouds of points, memory and CPU time of all processes */
#pragma once

#include <skean.h>
#include <skean/private/petsccompat.h>
#include <skean/private/random.hpp>
#include <cstdio>
#include <ctime>
#include <sys/resource.h>

/* Sources uniform in the unit cube, targets normal around its centre, in random order; the points of smaller clouds are the first of larger ones */
inline PetscErrorCode Cloud(const skean::RandomStream &rs, bool target, PetscInt n, PetscInt d, Mat *X)
{
  PetscInt     lo, hi, lda;
  PetscScalar *a;

  PetscFunctionBegin;
  PetscCall(MatCreateDense(PETSC_COMM_WORLD, PETSC_DECIDE, PETSC_DECIDE, n, d, NULL, X));
  PetscCall(MatGetOwnershipRange(*X, &lo, &hi));
  PetscCall(MatDenseGetLDA(*X, &lda));
  PetscCall(MatDenseGetArrayWrite(*X, &a));
  for (PetscInt k = 0; k < d; ++k)
    for (PetscInt i = lo; i < hi; ++i) {
      const auto index = static_cast<std::uint64_t>(i), axis = static_cast<std::uint64_t>(k);

      a[(i - lo) + static_cast<size_t>(k) * lda] = target ? 0.5 + 0.15 * rs.Normal(index, 1000 + axis) : rs.Uniform(index, axis);
    }
  PetscCall(MatDenseRestoreArrayWrite(*X, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Equal masses, one per row of X */
inline PetscErrorCode Masses(Mat X, Vec *mass)
{
  PetscInt n;

  PetscFunctionBegin;
  PetscCall(MatCreateVecs(X, NULL, mass));
  PetscCall(VecGetSize(*mass, &n));
  PetscCall(VecSet(*mass, 1.0 / n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Largest memory this process has had, combined over the processes. Not getrusage() where /proc has it: what that tells begins with the memory of the
   program that started this one */
inline double PeakMegabytes(MPI_Op op)
{
  double kb = 0, mb;
  char   line[256];

  if (FILE *f = std::fopen("/proc/self/status", "r")) {
    while (std::fgets(line, sizeof(line), f))
      if (std::sscanf(line, "VmHWM: %lf", &kb) == 1) break;
    std::fclose(f);
  }
  if (!(kb > 0)) {
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    kb = static_cast<double>(ru.ru_maxrss);
  }
  mb = kb / 1024;
  MPI_Allreduce(MPI_IN_PLACE, &mb, 1, MPI_DOUBLE, op, PETSC_COMM_WORLD);
  return mb;
}

/* of all processes together, from their start */
inline double CPUSeconds()
{
  struct timespec now;
  double          s;

  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  s = static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  MPI_Allreduce(MPI_IN_PLACE, &s, 1, MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD);
  return s;
}
