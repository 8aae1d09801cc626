/* Small transport problems on any number of processes */
#pragma once

#include "harness/skeantest.hpp"
#include <skean/private/random.hpp>
#include <cmath>
#include <functional>
#include <vector>

namespace problems {

/* Vec with PETSc's own distribution; f(global index) */
inline PetscErrorCode MakeVec(PetscInt n, const std::function<double(PetscInt)> &f, Vec *v)
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

inline PetscErrorCode MakeDense(PetscInt n, PetscInt m, const std::function<double(PetscInt, PetscInt)> &f, Mat *A)
{
  PetscInt lo, hi;

  PetscFunctionBegin;
  PetscCall(MatCreateDense(PETSC_COMM_WORLD, PETSC_DECIDE, PETSC_DECIDE, n, m, NULL, A));
  PetscCall(MatGetOwnershipRange(*A, &lo, &hi));
  for (PetscInt i = lo; i < hi; ++i)
    for (PetscInt j = 0; j < m; ++j) PetscCall(MatSetValue(*A, i, j, f(i, j), INSERT_VALUES));
  PetscCall(MatAssemblyBegin(*A, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(*A, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}

inline double Uniform(std::uint64_t i, std::uint64_t k, std::int64_t seed = 1)
{
  return skean::RandomStream(seed, skean::Purpose::Test).Uniform(i, k);
}

/* all entries of a distributed vector on every process */
inline std::vector<double> All(Vec v)
{
  Vec                s;
  VecScatter         sc;
  const PetscScalar *a;
  PetscInt           n;
  VecScatterCreateToAll(v, &sc, &s);
  VecScatterBegin(sc, v, s, INSERT_VALUES, SCATTER_FORWARD);
  VecScatterEnd(sc, v, s, INSERT_VALUES, SCATTER_FORWARD);
  VecGetSize(s, &n);
  VecGetArrayRead(s, &a);
  std::vector<double> out(a, a + n);
  VecRestoreArrayRead(s, &a);
  VecScatterDestroy(&sc);
  VecDestroy(&s);
  return out;
}

/* a solver with its data, destroyed with it */
struct Problem {
  SkeanTransport t = NULL;
  Vec            r = NULL, c = NULL;
  Mat            A = NULL, B = NULL;
  PetscErrorCode Destroy()
  {
    PetscFunctionBegin;
    PetscCall(SkeanTransportDestroy(&t));
    PetscCall(VecDestroy(&r));
    PetscCall(VecDestroy(&c));
    PetscCall(MatDestroy(&A));
    PetscCall(MatDestroy(&B));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode Stored(PetscInt n, PetscInt m, const std::function<double(PetscInt)> &fr, const std::function<double(PetscInt)> &fc,
                        const std::function<double(PetscInt, PetscInt)> &cost, double eps, const char *type)
  {
    PetscFunctionBegin;
    PetscCall(MakeVec(n, fr, &r));
    PetscCall(MakeVec(m, fc, &c));
    PetscCall(MakeDense(n, m, cost, &A));
    PetscCall(SkeanTransportCreate(PETSC_COMM_WORLD, &t));
    PetscCall(SkeanTransportSetType(t, type));
    PetscCall(SkeanTransportSetMarginals(t, r, c));
    PetscCall(SkeanTransportSetCost(t, A));
    PetscCall(SkeanTransportSetEpsilon(t, eps, SKEAN_TRANSPORT_EPS_ABSOLUTE));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode Points(PetscInt n, PetscInt m, PetscInt d, const std::function<double(PetscInt)> &fr, const std::function<double(PetscInt)> &fc,
                        const std::function<double(PetscInt, PetscInt)> &x, const std::function<double(PetscInt, PetscInt)> &y, double eps, const char *type)
  {
    PetscFunctionBegin;
    PetscCall(MakeVec(n, fr, &r));
    PetscCall(MakeVec(m, fc, &c));
    PetscCall(MakeDense(n, d, x, &A));
    PetscCall(MakeDense(m, d, y, &B));
    PetscCall(SkeanTransportCreate(PETSC_COMM_WORLD, &t));
    PetscCall(SkeanTransportSetType(t, type));
    PetscCall(SkeanTransportSetMarginals(t, r, c));
    PetscCall(SkeanTransportSetPoints(t, A, B));
    PetscCall(SkeanTransportSetEpsilon(t, eps, SKEAN_TRANSPORT_EPS_ABSOLUTE));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* a grid, whole hyperplanes per process */
  PetscErrorCode Grid(PetscInt d, const PetscInt n[], const PetscReal lo[], const PetscReal hi[], const std::function<double(PetscInt)> &fr,
                      const std::function<double(PetscInt)> &fc, double eps, const char *type)
  {
    PetscInt rest = 1, slabs = PETSC_DECIDE, len = n[0], vlo, vhi;

    PetscFunctionBegin;
    for (PetscInt k = 1; k < d; ++k) rest *= n[k];
    PetscCall(PetscSplitOwnership(PETSC_COMM_WORLD, &slabs, &len));
    PetscCall(VecCreateMPI(PETSC_COMM_WORLD, slabs * rest, len * rest, &r));
    PetscCall(VecDuplicate(r, &c));
    PetscCall(VecGetOwnershipRange(r, &vlo, &vhi));
    for (int k = 0; k < 2; ++k) {
      PetscScalar *a;
      PetscCall(VecGetArray(k ? c : r, &a));
      for (PetscInt i = vlo; i < vhi; ++i) a[i - vlo] = k ? fc(i) : fr(i);
      PetscCall(VecRestoreArray(k ? c : r, &a));
    }
    PetscCall(SkeanTransportCreate(PETSC_COMM_WORLD, &t));
    PetscCall(SkeanTransportSetType(t, type));
    PetscCall(SkeanTransportSetMarginals(t, r, c));
    PetscCall(SkeanTransportSetGrid(t, d, n, lo, hi));
    PetscCall(SkeanTransportSetEpsilon(t, eps, SKEAN_TRANSPORT_EPS_ABSOLUTE));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
};

} // namespace problems
