/* Matrices in every layout and type, and the sketches the tests run through */
#pragma once

#include "harness/skeantest.hpp"
#include "reference/sketch.hpp"
#include <skeansketch.h>
#include <functional>
#include <string>
#include <vector>

namespace sketchtest {
using skeanref::Dense;

enum class Layout { Even, Uneven, AllOnLast, AllOnFirst };
enum class Storage { Aij, Dense, Nest, Baij, Baij3 /* blocks of 3 x 3 */ };

inline PetscInt LocalRows(Layout layout, PetscInt n)
{
  const PetscInt P = skeantest::Size(), r = skeantest::Rank();
  switch (layout) {
  case Layout::Even:
    return n / P + (r < n % P);
  case Layout::Uneven: { /* some processes without rows, the others unequal */
    PetscInt left = n;
    for (PetscInt p = 0; p < P; ++p) {
      const PetscInt mine = p == P - 1 ? left : p % 2 ? 0 : left * 2 / 3;
      if (p == r) return mine;
      left -= mine;
    }
    return 0;
  }
  case Layout::AllOnLast:
    return r == P - 1 ? n : 0;
  case Layout::AllOnFirst:
    return r == 0 ? n : 0;
  }
  return 0;
}

/* A deterministic matrix, dense (density 1) or sparse, with whole columns and rows empty now and then when sparse */
inline Dense TestMatrix(size_t n, size_t d, double density, std::int64_t seed = 5)
{
  skean::RandomStream s(seed, skean::Purpose::Test);
  Dense               A(n, d);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < d; ++j)
      if (density >= 1 || (s.Uniform(i, 3 * j) < density && i % 7 && j != 2)) A(i, j) = s.Normal(i, 1000 + 2 * j) * std::pow(10.0, static_cast<double>(j % 3));
  return A;
}

inline PetscErrorCode MakeAij(MPI_Comm comm, const Dense &A, PetscInt nlocal, PetscInt first, PetscInt nglobal, Mat *M)
{
  PetscInt rstart, rend;

  PetscFunctionBegin;
  PetscCall(MatCreate(comm, M));
  PetscCall(MatSetSizes(*M, nlocal, PETSC_DECIDE, nglobal, static_cast<PetscInt>(A.n)));
  PetscCall(MatSetType(*M, MATAIJ));
  PetscCall(MatSeqAIJSetPreallocation(*M, static_cast<PetscInt>(A.n), NULL));
  PetscCall(MatMPIAIJSetPreallocation(*M, static_cast<PetscInt>(A.n), NULL, static_cast<PetscInt>(A.n), NULL));
  PetscCall(MatGetOwnershipRange(*M, &rstart, &rend));
  for (PetscInt i = rstart; i < rend; ++i)
    for (PetscInt j = 0; j < static_cast<PetscInt>(A.n); ++j)
      if (A(first + i, j) != 0.0) PetscCall(MatSetValue(*M, i, j, A(first + i, j), INSERT_VALUES));
  PetscCall(MatAssemblyBegin(*M, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(*M, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Nest: two row blocks below one another, each with its rows in this layout */
inline PetscErrorCode MakeMat(MPI_Comm comm, const Dense &A, Storage storage, PetscInt nlocal, Mat *M)
{
  const PetscInt n = static_cast<PetscInt>(A.m), d = static_cast<PetscInt>(A.n);

  PetscFunctionBegin;
  switch (storage) {
  case Storage::Aij:
    PetscCall(MakeAij(comm, A, nlocal, 0, n, M));
    break;
  case Storage::Dense: {
    PetscInt     rstart, rend, lda;
    PetscScalar *a;

    PetscCall(MatCreateDense(comm, nlocal, PETSC_DECIDE, n, d, NULL, M));
    PetscCall(MatGetOwnershipRange(*M, &rstart, &rend));
    PetscCall(MatDenseGetArray(*M, &a));
    PetscCall(MatDenseGetLDA(*M, &lda));
    for (PetscInt i = rstart; i < rend; ++i)
      for (PetscInt j = 0; j < d; ++j) a[i - rstart + static_cast<size_t>(j) * lda] = A(i, j);
    PetscCall(MatDenseRestoreArray(*M, &a));
    PetscCall(MatAssemblyBegin(*M, MAT_FINAL_ASSEMBLY));
    PetscCall(MatAssemblyEnd(*M, MAT_FINAL_ASSEMBLY));
    break;
  }
  case Storage::Nest: {
    Mat            part[2];
    const PetscInt mine = nlocal / 2;
    PetscInt       sum;

    PetscCallMPI(MPI_Allreduce(&mine, &sum, 1, MPIU_INT, MPI_SUM, comm));
    PetscCall(MakeAij(comm, A, mine, 0, sum, &part[0]));
    PetscCall(MakeAij(comm, A, nlocal - mine, sum, n - sum, &part[1]));
    PetscCall(MatCreateNest(comm, 2, NULL, 1, NULL, part, M));
    PetscCall(MatDestroy(&part[0]));
    PetscCall(MatDestroy(&part[1]));
    break;
  }
  case Storage::Baij:
  case Storage::Baij3: {
    PetscInt rstart, rend;

    PetscCall(MatCreateBAIJ(comm, storage == Storage::Baij3 ? 3 : 1, nlocal, PETSC_DECIDE, n, d, d, NULL, d, NULL, M));
    PetscCall(MatGetOwnershipRange(*M, &rstart, &rend));
    for (PetscInt i = rstart; i < rend; ++i)
      for (PetscInt j = 0; j < d; ++j)
        if (A(i, j) != 0.0) PetscCall(MatSetValue(*M, i, j, A(i, j), INSERT_VALUES));
    PetscCall(MatAssemblyBegin(*M, MAT_FINAL_ASSEMBLY));
    PetscCall(MatAssemblyEnd(*M, MAT_FINAL_ASSEMBLY));
    break;
  }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A vector with entries b(i), distributed as the rows of M; for a nest one of its blocks */
inline PetscErrorCode MakeVec(Mat M, Storage storage, const std::vector<double> &b, Vec *v)
{
  PetscInt nparts = 1, before = 0;
  Vec     *part = v;

  PetscFunctionBegin;
  if (storage == Storage::Nest) PetscCall(MatNestSetVecType(M, VECNEST));
  PetscCall(MatCreateVecs(M, NULL, v));
  if (storage == Storage::Nest) PetscCall(VecNestGetSubVecs(*v, &nparts, &part));
  for (PetscInt k = 0; k < nparts; ++k) {
    PetscInt     n, r0, r1;
    PetscScalar *a;
    PetscCall(VecGetSize(part[k], &n));
    PetscCall(VecGetOwnershipRange(part[k], &r0, &r1));
    PetscCall(VecGetArray(part[k], &a));
    std::copy(b.begin() + before + r0, b.begin() + before + r1, a);
    PetscCall(VecRestoreArray(part[k], &a));
    before += n;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

struct Config {
  std::string type;
  PetscInt    m = 0, nnz = PETSC_DETERMINE, bs = PETSC_DETERMINE;
  bool        permute = true;
  PetscInt    draw    = 0;
  SkeanSeed   seed    = 42;
};

inline PetscErrorCode MakeSketch(MPI_Comm comm, const Config &c, PetscInt n, SkeanSketch *s)
{
  PetscFunctionBegin;
  PetscCall(SkeanSketchCreate(comm, s));
  PetscCall(SkeanSketchSetType(*s, c.type.c_str()));
  PetscCall(SkeanSketchSetSizes(*s, c.m, n));
  PetscCall(SkeanSketchSetSeed(*s, c.seed));
  PetscCall(SkeanSketchSetDraw(*s, c.draw));
  PetscCall(SkeanSketchSetNonzeros(*s, c.nnz));
  PetscCall(SkeanSketchSetBlockSize(*s, c.bs));
  PetscCall(SkeanSketchSetPermute(*s, c.permute ? PETSC_TRUE : PETSC_FALSE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The explicit S of the reference; b and zeta as the sketch says it uses them */
inline Dense Explicit(const Config &c, size_t n, PetscInt b, PetscInt zeta)
{
  const skeanref::Key key{c.seed, static_cast<std::uint32_t>(c.draw)};
  const size_t        m = static_cast<size_t>(c.m);
  if (c.type == SKEANSKETCHGAUSSIAN) return skeanref::Gaussian(key, m, n);
  if (c.type == SKEANSKETCHSPARSESIGN) return skeanref::SparseSign(key, m, n, zeta);
  if (c.type == SKEANSKETCHSPARSESTACK) return skeanref::SparseStack(key, m, n, zeta);
  if (c.type == SKEANSKETCHCOUNTSKETCH) return skeanref::SparseStack(key, m, n, 1);
  if (c.type == SKEANSKETCHSRHT) return skeanref::Srht(key, m, n, b, c.permute);
  if (c.type == SKEANSKETCHSRCT) return skeanref::Srct(key, m, n, b, c.permute);
  if (c.type == SKEANSKETCHBLOCKSRHT) return skeanref::BlockSrht(key, m, n, b, c.permute);
  if (c.type == SKEANSKETCHPOOLED) return skeanref::Pooled(key, m, n, b);
  return Dense();
}

/* S A, and S b where b is given */
inline PetscErrorCode ApplyTo(MPI_Comm comm, const Config &c, Mat A, std::vector<double> *SA, Vec b = nullptr, std::vector<double> *Sb = nullptr)
{
  SkeanSketch s;
  PetscInt    n, d;

  PetscFunctionBegin;
  PetscCall(MatGetSize(A, &n, &d));
  PetscCall(MakeSketch(comm, c, n, &s));
  SA->assign(static_cast<size_t>(c.m) * d, -1e300);
  PetscCall(SkeanSketchApply(s, A, SA->data()));
  if (b) {
    Sb->assign(c.m, -1e300);
    PetscCall(SkeanSketchApplyVec(s, b, Sb->data()));
  }
  PetscCall(SkeanSketchDestroy(&s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every oblivious type, with one block, several blocks, with and without permutation */
inline std::vector<Config> ObliviousConfigs(PetscInt m)
{
  return {{SKEANSKETCHGAUSSIAN, m},
          {SKEANSKETCHSPARSESIGN, m},
          {SKEANSKETCHSPARSESIGN, m, 3},
          {SKEANSKETCHSPARSESTACK, m},
          {SKEANSKETCHSPARSESTACK, m, 5},
          {SKEANSKETCHCOUNTSKETCH, m},
          {SKEANSKETCHSRHT, m},
          {SKEANSKETCHSRHT, m, PETSC_DETERMINE, 16},
          {SKEANSKETCHSRHT, m, PETSC_DETERMINE, 32, false},
          {SKEANSKETCHSRCT, m},
          {SKEANSKETCHSRCT, m, PETSC_DETERMINE, 15},
          {SKEANSKETCHSRCT, m, PETSC_DETERMINE, 33, false},
          {SKEANSKETCHBLOCKSRHT, m},
          {SKEANSKETCHBLOCKSRHT, m, PETSC_DETERMINE, 64},
          {SKEANSKETCHBLOCKSRHT, m, PETSC_DETERMINE, 64, false},
          {SKEANSKETCHPOOLED, m},
          {SKEANSKETCHPOOLED, m, PETSC_DETERMINE, 64}};
}
inline std::string Name(const Config &c)
{
  return c.type + " m=" + std::to_string(c.m) + " nnz=" + std::to_string(c.nnz) + " bs=" + std::to_string(c.bs) + (c.permute ? "" : " plain");
}
} // namespace sketchtest
