/* Least-squares problems with known answers, the same on any number of processes: entry (i,j) is computed from i and j alone */
#pragma once

#include <skean.h>
#include <skean/private/petsccompat.h>
#include <skean/private/random.hpp>
#include <cmath>
#include <functional>
#include <vector>

namespace skeantest {
/* Orthonormal DCT-II vectors of length n: entry i of vector k */
inline double Dct(PetscInt n, PetscInt i, PetscInt k)
{
  return k == 0 ? std::sqrt(1.0 / n) : std::sqrt(2.0 / n) * std::cos(3.14159265358979323846 * k * (2.0 * i + 1) / (2.0 * n));
}

/*
   A = U diag(s) V' with U, V columns of DCT matrices, s from 1 down to 1/kappa geometrically, x of unit norm, residual r of given
   norm orthogonal to the range of A: Epperly's test problem (arXiv 2311.04362) with its Haar factors replaced so that any process can
   make any row.
*/
struct DctProblem {
  PetscInt            n, d;
  double              kappa, rnorm;
  std::vector<double> s, x, V; /* V(j,k) s_k, row major */
  DctProblem(PetscInt n_, PetscInt d_, double kappa_, double rnorm_) : n(n_), d(d_), kappa(kappa_), rnorm(rnorm_), s(d_), x(d_), V(static_cast<size_t>(d_) * d_)
  {
    skean::RandomStream rnd(17, skean::Purpose::Test);
    double              nx = 0;
    for (PetscInt k = 0; k < d; ++k) {
      s[k] = d > 1 ? std::pow(kappa, -static_cast<double>(k) / (d - 1)) : 1.0;
      x[k] = rnd.Normal(k);
      nx += x[k] * x[k];
    }
    for (double &e : x) e /= std::sqrt(nx);
    for (PetscInt j = 0; j < d; ++j)
      for (PetscInt k = 0; k < d; ++k) V[static_cast<size_t>(j) * d + k] = Dct(d, j, k) * s[k];
  }
  void Row(PetscInt i, double *a) const
  {
    std::vector<double> u(d);
    for (PetscInt k = 0; k < d; ++k) u[k] = Dct(n, i, k);
    for (PetscInt j = 0; j < d; ++j) {
      double t = 0;
      for (PetscInt k = 0; k < d; ++k) t += u[k] * V[static_cast<size_t>(j) * d + k];
      a[j] = t;
    }
  }
  double Rhs(PetscInt i) const
  {
    std::vector<double> a(d);
    long double         t = 0;
    Row(i, a.data());
    for (PetscInt j = 0; j < d; ++j) t += static_cast<long double>(a[j]) * x[j];
    return static_cast<double>(t + static_cast<long double>(rnorm) * Dct(n, i, d));
  }
};

/* Local rows of this process: PETSC_DECIDE, or everything on the last process */
inline PetscInt LocalRows(MPI_Comm comm, PetscInt n, bool lopsided = false)
{
  PetscMPIInt rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  if (lopsided) return rank == size - 1 ? n : 0;
  return n / size + (n % size > rank ? 1 : 0);
}

/* A matrix of the given type (MATAIJ or MATDENSE) from a function that fills row i (dense row of length d) */
inline PetscErrorCode MakeMatrix(MPI_Comm comm, PetscInt n, PetscInt d, bool dense, const std::function<void(PetscInt, double *)> &row, Mat *A,
                                 bool lopsided = false)
{
  PetscInt            r0, r1;
  std::vector<double> a(d);

  PetscFunctionBegin;
  const PetscInt nl = LocalRows(comm, n, lopsided);
  if (dense)
    PetscCall(MatCreateDense(comm, nl, PETSC_DECIDE, n, d, NULL, A));
  else {
    PetscCall(MatCreate(comm, A));
    PetscCall(MatSetSizes(*A, nl, PETSC_DECIDE, n, d));
    PetscCall(MatSetType(*A, MATAIJ));
    PetscCall(MatSeqAIJSetPreallocation(*A, d, NULL));
    PetscCall(MatMPIAIJSetPreallocation(*A, d, NULL, d, NULL));
    PetscCall(MatSetOption(*A, MAT_NEW_NONZERO_ALLOCATION_ERR, PETSC_FALSE));
  }
  PetscCall(MatGetOwnershipRange(*A, &r0, &r1));
  for (PetscInt i = r0; i < r1; ++i) {
    std::fill(a.begin(), a.end(), 0.0);
    row(i, a.data());
    for (PetscInt j = 0; j < d; ++j)
      if (dense || a[j] != 0.0) PetscCall(MatSetValue(*A, i, j, a[j], INSERT_VALUES));
  }
  PetscCall(MatAssemblyBegin(*A, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(*A, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}
inline PetscErrorCode MakeVector(Mat A, const std::function<double(PetscInt)> &f, Vec *b)
{
  PetscInt     r0, r1;
  PetscScalar *a;

  PetscFunctionBegin;
  PetscCall(MatCreateVecs(A, NULL, b));
  PetscCall(VecGetOwnershipRange(*b, &r0, &r1));
  PetscCall(VecGetArray(*b, &a));
  for (PetscInt i = r0; i < r1; ++i) a[i - r0] = f(i);
  PetscCall(VecRestoreArray(*b, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}
/* All of a Vec on every process */
inline PetscErrorCode Everything(Vec x, std::vector<double> &all)
{
  VecScatter         sc;
  Vec                y;
  const PetscScalar *a;
  PetscInt           n;

  PetscFunctionBegin;
  PetscCall(VecScatterCreateToAll(x, &sc, &y));
  PetscCall(VecScatterBegin(sc, x, y, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecScatterEnd(sc, x, y, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecGetSize(y, &n));
  PetscCall(VecGetArrayRead(y, &a));
  all.assign(a, a + n);
  PetscCall(VecRestoreArrayRead(y, &a));
  PetscCall(VecScatterDestroy(&sc));
  PetscCall(VecDestroy(&y));
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace skeantest
