/* Mat and PC skeankron against products by definition */
#include "harness/skeantest.hpp"
#include <skean/private/kron.hpp>
#include <skean/private/random.hpp>
#include <petscdmda.h>
#include <petscksp.h>
#include <petscsnes.h>
#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <iterator>

using skean::Purpose;
using skean::RandomStream;

namespace {

/* kind: 0 random dense, 1 symmetric positive definite, 2 identity, 3 diagonal, 4 sparse, 5 symmetric Toeplitz, 6 symmetric */
Mat Factor(int kind, PetscInt m, PetscInt n, int id)
{
  RandomStream s(5, Purpose::Test, static_cast<std::uint32_t>(id));
  Mat          F;
  if (kind == 2) {
    MatCreateConstantDiagonal(PETSC_COMM_SELF, n, n, n, n, 1.0, &F);
    return F;
  }
  if (kind == 5) {
    std::vector<PetscScalar> c(n);
    for (PetscInt i = 0; i < n; ++i) c[i] = std::exp(-0.5 * i) * (1 + 0.1 * id);
    MatCreateSkeanToeplitz(n, c.data(), NULL, &F);
    return F;
  }
  if (kind == 3 || kind == 4) {
    MatCreateSeqAIJ(PETSC_COMM_SELF, m, n, 3, NULL, &F);
    for (PetscInt i = 0; i < m; ++i) {
      if (i < n) MatSetValue(F, i, i, 2 + s.Uniform(i), ADD_VALUES);
      if (kind == 4) MatSetValue(F, i, (i * 7 + 3) % n, s.Normal(i, 5), ADD_VALUES);
    }
    MatAssemblyBegin(F, MAT_FINAL_ASSEMBLY);
    MatAssemblyEnd(F, MAT_FINAL_ASSEMBLY);
    return F;
  }
  MatCreateSeqDense(PETSC_COMM_SELF, m, n, NULL, &F);
  for (PetscInt j = 0; j < n; ++j)
    for (PetscInt i = 0; i < m; ++i) {
      double v = kind ? s.Normal(std::min(i, j), std::max(i, j)) : s.Normal(i, j);
      if (kind == 1) v = 0.2 * v / n + (i == j ? 1.0 : 0.0);
      MatSetValue(F, i, j, v, INSERT_VALUES);
    }
  MatAssemblyBegin(F, MAT_FINAL_ASSEMBLY);
  MatAssemblyEnd(F, MAT_FINAL_ASSEMBLY);
  return F;
}

double Get(Mat F, PetscInt i, PetscInt j)
{
  PetscScalar v = 0;
  PetscBool   c;
  PetscObjectTypeCompare((PetscObject)F, MATCONSTANTDIAGONAL, &c);
  if (c) return i == j;
  MatGetValues(F, 1, &i, 1, &j, &v);
  return v;
}

/* natural numbers of the entries of the vectors, over all processes in the order of the global numbering */
std::vector<PetscInt> Natural(Mat A, bool rows)
{
  PetscInt d, lo[8], hi[8], m[8], n[8];
  Mat      B = A;
  MatSkeanKronGetSizes(A, &d, m, n);
  std::vector<PetscInt> mine;
  if (!rows) {
    /* the box of the columns: that of a square operator of the same sizes */
    std::vector<Mat> I(d);
    for (PetscInt k = 0; k < d; ++k) I[k] = Factor(2, n[k], n[k], 0);
    MatCreateSkeanKron(PETSC_COMM_WORLD, d, I.data(), &B);
    for (Mat &f : I) MatDestroy(&f);
  }
  const PetscInt *sz = rows ? m : n;
  MatSkeanKronGetOwnershipBox(B, lo, hi);
  std::vector<PetscInt> i(lo, lo + d);
  PetscInt              v = 1;
  for (PetscInt k = 0; k < d; ++k) v *= hi[k] - lo[k];
  for (PetscInt c = 0; c < v; ++c) {
    PetscInt g = 0;
    for (PetscInt k = 0; k < d; ++k) g = g * sz[k] + i[k];
    mine.push_back(g);
    for (PetscInt k = d - 1; k >= 0; --k) {
      if (++i[k] < hi[k]) break;
      i[k] = lo[k];
    }
  }
  if (!rows) MatDestroy(&B);
  std::vector<int> cnt(skeantest::Size()), off(skeantest::Size(), 0);
  int              me = static_cast<int>(mine.size()), total = 0;
  MPI_Allgather(&me, 1, MPI_INT, cnt.data(), 1, MPI_INT, PETSC_COMM_WORLD);
  for (size_t r = 0; r < cnt.size(); ++r) off[r] = total, total += cnt[r];
  std::vector<PetscInt> all(total);
  MPI_Allgatherv(mine.data(), me, MPIU_INT, all.data(), cnt.data(), off.data(), MPIU_INT, PETSC_COMM_WORLD);
  return all;
}

/* (row, column) in natural numbers of the product of the factors */
double Entry(const std::vector<Mat> &F, PetscInt r, PetscInt c)
{
  double p = 1;
  for (size_t k = F.size(); k-- > 0;) {
    PetscInt m, n;
    MatGetSize(F[k], &m, &n);
    p *= Get(F[k], r % m, c % n);
    r /= m;
    c /= n;
  }
  return p;
}

using Dense = std::vector<std::vector<double>>; /* [row][column], natural */
Dense Full(const std::vector<Mat> &F)
{
  PetscInt M = 1, N = 1, m, n;
  for (Mat f : F) {
    MatGetSize(f, &m, &n);
    M *= m;
    N *= n;
  }
  Dense D(M, std::vector<double>(N));
  for (PetscInt i = 0; i < M; ++i)
    for (PetscInt j = 0; j < N; ++j) D[i][j] = Entry(F, i, j);
  return D;
}

/* x is filled by natural number, so that it is the same vector for every number of processes */
void Fill(Vec x, const std::vector<PetscInt> &nat, int id)
{
  RandomStream s(6, Purpose::Test, static_cast<std::uint32_t>(id));
  PetscInt     lo, hi;
  PetscScalar *p;
  VecGetOwnershipRange(x, &lo, &hi);
  VecGetArray(x, &p);
  for (PetscInt i = lo; i < hi; ++i) p[i - lo] = s.Normal(nat[i]);
  VecRestoreArray(x, &p);
}
std::vector<double> Random(PetscInt n, int id)
{
  RandomStream        s(6, Purpose::Test, static_cast<std::uint32_t>(id));
  std::vector<double> x(n);
  for (PetscInt i = 0; i < n; ++i) x[i] = s.Normal(i);
  return x;
}
/* largest difference, relative to the largest entry */
double Diff(Vec y, const std::vector<PetscInt> &nat, const std::vector<double> &want)
{
  PetscInt           lo, hi;
  const PetscScalar *p;
  double             e = 0, s = 1e-300, all;
  for (double w : want) s = std::max(s, std::abs(w));
  VecGetOwnershipRange(y, &lo, &hi);
  VecGetArrayRead(y, &p);
  for (PetscInt i = lo; i < hi; ++i) e = std::max(e, std::isfinite(p[i - lo]) ? std::abs(p[i - lo] - want[nat[i]]) : 1e300);
  VecRestoreArrayRead(y, &p);
  MPI_Allreduce(&e, &all, 1, MPI_DOUBLE, MPI_MAX, PETSC_COMM_WORLD);
  return all / s;
}
std::vector<double> Times(const Dense &D, const std::vector<double> &x, bool trans)
{
  std::vector<double> y(trans ? D[0].size() : D.size(), 0.0);
  for (size_t i = 0; i < D.size(); ++i)
    for (size_t j = 0; j < D[0].size(); ++j) trans ? (y[j] += D[i][j] * x[i]) : (y[i] += D[i][j] * x[j]);
  return y;
}
void Free(std::vector<Mat> &F)
{
  for (Mat &f : F) MatDestroy(&f);
}

} // namespace

TEST(MatKron, ProductsOfAllKindsOfFactors)
{
  struct Shape {
    std::vector<int>      kind;
    std::vector<PetscInt> m, n;
  };
  const std::vector<Shape> shapes = {{{0}, {4}, {6}},
                                     {{0, 0}, {3, 5}, {4, 2}},
                                     {{1, 3}, {5, 4}, {5, 4}},
                                     {{5, 2, 4}, {3, 4, 5}, {3, 4, 5}},
                                     {{0, 4, 0}, {2, 3, 4}, {5, 3, 2}},
                                     {{1, 1, 1}, {2, 2, 2}, {2, 2, 2}},
                                     {{0, 2, 3, 5}, {3, 2, 2, 3}, {2, 2, 2, 3}},
                                     {{0, 2, 0, 1, 3, 0, 5, 0}, {2, 1, 2, 1, 2, 1, 2, 3}, {2, 1, 2, 1, 2, 1, 2, 3}}};
  for (const Shape &s : shapes) {
    std::vector<Mat> F;
    bool             square = s.m == s.n;
    for (size_t k = 0; k < s.m.size(); ++k) F.push_back(Factor(s.kind[k], s.m[k], s.n[k], static_cast<int>(k)));
    Mat A, B;
    Vec x, y, z;
    ASSERT_PETSC(MatCreateSkeanKron(PETSC_COMM_WORLD, static_cast<PetscInt>(F.size()), F.data(), &A));
    const std::vector<PetscInt> rows = Natural(A, true), cols = Natural(A, false);
    Dense                       D = Full(F);
    if (square) {
      ASSERT_PETSC(MatSkeanKronSetShift(A, 0.5));
      ASSERT_PETSC(MatShift(A, 0.25));
      for (size_t i = 0; i < D.size(); ++i) D[i][i] += 0.75;
    }
    ASSERT_PETSC(MatScale(A, -2.0));
    for (auto &r : D)
      for (double &v : r) v *= -2;
    ASSERT_PETSC(MatCreateVecs(A, &x, &y));
    Fill(x, cols, 1);
    ASSERT_PETSC(MatMult(A, x, y));
    const std::vector<double> x0 = Random(static_cast<PetscInt>(cols.size()), 1), y0 = Random(static_cast<PetscInt>(rows.size()), 2);
    EXPECT_LT(Diff(y, rows, Times(D, x0, false)), 1e-13);
    Fill(y, rows, 2);
    ASSERT_PETSC(MatMultTranspose(A, y, x));
    EXPECT_LT(Diff(x, cols, Times(D, y0, true)), 1e-13);
    /* y = A x + y in place */
    Fill(x, cols, 1);
    ASSERT_PETSC(MatMultAdd(A, x, y, y));
    std::vector<double> want = Times(D, x0, false);
    for (size_t i = 0; i < want.size(); ++i) want[i] += y0[i];
    EXPECT_LT(Diff(y, rows, want), 1e-13);
    /* y = A x + z, and both with the transpose */
    ASSERT_PETSC(VecDuplicate(y, &z));
    Fill(z, rows, 2);
    ASSERT_PETSC(VecSet(y, NAN));
    ASSERT_PETSC(MatMultAdd(A, x, z, y));
    EXPECT_LT(Diff(y, rows, want), 1e-13);
    Vec w;
    ASSERT_PETSC(VecDuplicate(x, &w));
    std::vector<double> transposed = Times(D, y0, true);
    for (size_t i = 0; i < transposed.size(); ++i) transposed[i] += x0[i];
    ASSERT_PETSC(MatMultTransposeAdd(A, z, x, w));
    EXPECT_LT(Diff(w, cols, transposed), 1e-13);
    ASSERT_PETSC(MatMultTransposeAdd(A, z, x, x));
    EXPECT_LT(Diff(x, cols, transposed), 1e-13);
    ASSERT_PETSC(VecDestroy(&w));
    ASSERT_PETSC(VecDestroy(&z));
    Fill(x, cols, 1);
    if (square) {
      ASSERT_PETSC(VecDuplicate(x, &z));
      ASSERT_PETSC(MatGetDiagonal(A, z));
      for (size_t i = 0; i < D.size(); ++i) want[i] = D[i][i];
      EXPECT_LT(Diff(z, rows, want), 1e-13);
      ASSERT_PETSC(VecDestroy(&z));
    }
    /* the dense copy multiplies alike, and so does a duplicate */
    ASSERT_PETSC(MatConvert(A, MATDENSE, MAT_INITIAL_MATRIX, &B));
    ASSERT_PETSC(MatMult(B, x, y));
    EXPECT_LT(Diff(y, rows, Times(D, x0, false)), 1e-13);
    ASSERT_PETSC(MatDestroy(&B));
    ASSERT_PETSC(MatDuplicate(A, MAT_COPY_VALUES, &B));
    ASSERT_PETSC(MatScale(A, 3.0));
    ASSERT_PETSC(MatMult(B, x, y));
    EXPECT_LT(Diff(y, rows, Times(D, x0, false)), 1e-13);
    ASSERT_PETSC(MatConvert(B, MATDENSE, MAT_INPLACE_MATRIX, &B));
    MatType type;
    ASSERT_PETSC(MatGetType(B, &type));
    EXPECT_NE(std::string(type), MATSKEANKRON);
    ASSERT_PETSC(MatMult(B, x, y));
    EXPECT_LT(Diff(y, rows, Times(D, x0, false)), 1e-13);
    ASSERT_PETSC(MatDestroy(&B));
    ASSERT_PETSC(MatDestroy(&A));
    ASSERT_PETSC(VecDestroy(&x));
    ASSERT_PETSC(VecDestroy(&y));
    Free(F);
  }
}

TEST(MatKron, ProductOfTwoOperators)
{
  std::vector<Mat> F = {Factor(0, 3, 4, 1), Factor(4, 2, 2, 2), Factor(5, 3, 3, 3)}, G = {Factor(0, 4, 5, 4), Factor(3, 2, 2, 5), Factor(1, 3, 3, 6)};
  Mat              A, B, C, T;
  Vec              x, y;
  ASSERT_PETSC(MatCreateSkeanKron(PETSC_COMM_WORLD, 3, F.data(), &A));
  ASSERT_PETSC(MatCreateSkeanKron(PETSC_COMM_WORLD, 3, G.data(), &B));
  ASSERT_PETSC(MatMatMult(A, B, MAT_INITIAL_MATRIX, PETSC_DEFAULT, &C));
  MatType type;
  ASSERT_PETSC(MatGetType(C, &type));
  EXPECT_STREQ(type, "skeankron");
  ASSERT_PETSC(MatCreateVecs(C, &x, &y));
  Fill(x, Natural(C, false), 1);
  ASSERT_PETSC(MatMult(C, x, y));
  EXPECT_LT(Diff(y, Natural(C, true), Times(Full(F), Times(Full(G), Random(30, 1), false), false)), 1e-13);
  /* reuse after a change of A */
  ASSERT_PETSC(MatScale(A, 2.0));
  ASSERT_PETSC(MatMatMult(A, B, MAT_REUSE_MATRIX, PETSC_DEFAULT, &C));
  ASSERT_PETSC(MatMult(C, x, y));
  std::vector<double> want = Times(Full(F), Times(Full(G), Random(30, 1), false), false);
  for (double &w : want) w *= 2;
  EXPECT_LT(Diff(y, Natural(C, true), want), 1e-13);
  ASSERT_PETSC(VecDestroy(&x));
  ASSERT_PETSC(VecDestroy(&y));
  ASSERT_PETSC(MatTransposeMatMult(A, A, MAT_INITIAL_MATRIX, PETSC_DEFAULT, &T));
  ASSERT_PETSC(MatCreateVecs(T, &x, &y));
  Fill(x, Natural(T, false), 3);
  ASSERT_PETSC(MatMult(T, x, y));
  want = Times(Full(F), Times(Full(F), Random(24, 3), false), true);
  for (double &w : want) w *= 4;
  EXPECT_LT(Diff(y, Natural(T, true), want), 1e-13);
  ASSERT_PETSC(VecDestroy(&x));
  ASSERT_PETSC(VecDestroy(&y));
  ASSERT_PETSC(MatDestroy(&T));
  /* A G', with a shift */
  std::vector<Mat> S = {Factor(0, 4, 4, 7), Factor(6, 2, 2, 8), Factor(5, 3, 3, 9)};
  Mat              D;
  ASSERT_PETSC(MatCreateSkeanKron(PETSC_COMM_WORLD, 3, S.data(), &D));
  ASSERT_PETSC(MatSkeanKronSetShift(D, 0.7));
  ASSERT_PETSC(MatMatTransposeMult(A, D, MAT_INITIAL_MATRIX, PETSC_DEFAULT, &T));
  ASSERT_PETSC(MatGetType(T, &type));
  EXPECT_STREQ(type, "skeankron");
  ASSERT_PETSC(MatCreateVecs(T, &x, &y));
  Fill(x, Natural(T, false), 3);
  ASSERT_PETSC(MatMult(T, x, y));
  const std::vector<double> x3 = Random(24, 3);
  std::vector<double>       t3 = Times(Full(S), x3, true);
  for (size_t i = 0; i < t3.size(); ++i) t3[i] += 0.7 * x3[i];
  want = Times(Full(F), t3, false);
  for (double &w : want) w *= 2;
  EXPECT_LT(Diff(y, Natural(T, true), want), 1e-13);
  ASSERT_PETSC(VecDestroy(&x));
  ASSERT_PETSC(VecDestroy(&y));
  EXPECT_EQ(skeantest::ErrorOf([&] { return MatMatMult(A, A, MAT_INITIAL_MATRIX, PETSC_DEFAULT, &D); }), PETSC_ERR_ARG_SIZ) << "3 x 4 times 3 x 4";
  for (Mat *m : {&A, &B, &C, &D, &T}) ASSERT_PETSC(MatDestroy(m));
  Free(F);
  Free(G);
  Free(S);
}

/* Vectors are those of a DMDA with the same process grid: the same box, the same order, for slabs and pencils and sizes that nothing divides */
TEST(MatKron, VectorsAreThoseOfADMDA)
{
  int pencils = 0;
  for (const std::vector<PetscInt> &n : std::vector<std::vector<PetscInt>>{{9, 4, 5}, {2, 5, 7}, {3, 7, 2}, {5, 1, 3}, {4, 4, 4}}) {
    std::vector<Mat> F = {Factor(1, n[0], n[0], 1), Factor(1, n[1], n[1], 2), Factor(1, n[2], n[2], 3)};
    Mat              A;
    DM               da;
    Vec              u, v;
    SkeanKronData   *data;
    PetscInt         lo[3], hi[3], at[3], w[3], rows, first, last;
    ASSERT_PETSC(MatCreateSkeanKron(PETSC_COMM_WORLD, 3, F.data(), &A));
    ASSERT_PETSC(MatSkeanKronGetData_Private(A, &data));
    const PetscInt p[] = {data->grid->Processes(0, 0), data->grid->Processes(0, 1), data->grid->Processes(0, 2)};
    if (p[0] * p[1] * p[2] == skeantest::Size()) { /* a DMDA leaves no process without points */
      pencils += p[1] > 1 || p[2] > 1;
      ASSERT_PETSC(DMDACreate3d(PETSC_COMM_WORLD, DM_BOUNDARY_NONE, DM_BOUNDARY_NONE, DM_BOUNDARY_NONE, DMDA_STENCIL_STAR, n[2], n[1], n[0], p[2], p[1], p[0],
                                1, 0, NULL, NULL, NULL, &da));
      ASSERT_PETSC(DMSetUp(da));
      ASSERT_PETSC(DMDAGetCorners(da, &at[2], &at[1], &at[0], &w[2], &w[1], &w[0]));
      ASSERT_PETSC(MatSkeanKronGetOwnershipBox(A, lo, hi));
      for (int k = 0; k < 3; ++k) {
        EXPECT_EQ(lo[k], at[k]);
        EXPECT_EQ(hi[k], at[k] + w[k]);
      }
      ASSERT_PETSC(DMCreateGlobalVector(da, &u));
      ASSERT_PETSC(MatCreateVecs(A, &v, NULL));
      const std::vector<PetscInt> nat = Natural(A, true);
      PetscScalar              ***a;
      ASSERT_PETSC(DMDAVecGetArray(da, u, &a));
      for (PetscInt i = at[0]; i < at[0] + w[0]; ++i)
        for (PetscInt j = at[1]; j < at[1] + w[1]; ++j)
          for (PetscInt k = at[2]; k < at[2] + w[2]; ++k) a[i][j][k] = static_cast<PetscScalar>((i * n[1] + j) * n[2] + k);
      ASSERT_PETSC(DMDAVecRestoreArray(da, u, &a));
      ASSERT_PETSC(VecGetLocalSize(u, &rows));
      ASSERT_PETSC(VecGetOwnershipRange(v, &first, &last));
      EXPECT_EQ(rows, last - first);
      const PetscScalar *pu;
      ASSERT_PETSC(VecGetArrayRead(u, &pu));
      for (PetscInt i = first; i < last && i - first < rows; ++i) EXPECT_EQ(pu[i - first], static_cast<PetscScalar>(nat[i]));
      ASSERT_PETSC(VecRestoreArrayRead(u, &pu));
      ASSERT_PETSC(MatMult(A, u, v)); /* taken as they are */
      ASSERT_PETSC(VecDestroy(&u));
      ASSERT_PETSC(VecDestroy(&v));
      ASSERT_PETSC(DMDestroy(&da));
    }
    ASSERT_PETSC(MatDestroy(&A));
    Free(F);
  }
  if (skeantest::Size() == 4) { EXPECT_GT(pencils, 0); }
}

TEST(MatKron, View)
{
  std::vector<Mat>  F    = {Factor(5, 3, 3, 1), Factor(2, 4, 4, 2), Factor(4, 5, 5, 3)};
  const std::string file = skeantest::ScratchDir() + "/kron.txt";
  Mat               A;
  Vec               x, b;
  PetscViewer       viewer;
  ASSERT_PETSC(MatCreateSkeanKronSum(PETSC_COMM_WORLD, 1, F.data(), &A));
  ASSERT_PETSC(MatShift(A, 0.5));
  ASSERT_PETSC(MatCreateVecs(A, &x, &b));
  ASSERT_PETSC(VecSet(b, 1.0));
  ASSERT_PETSC(MatSolve(A, b, x));
  ASSERT_PETSC(PetscViewerASCIIOpen(PETSC_COMM_WORLD, file.c_str(), &viewer));
  ASSERT_PETSC(MatView(A, viewer));
  ASSERT_PETSC(MatDestroy(&A));
  ASSERT_PETSC(MatCreateSkeanKron(PETSC_COMM_WORLD, 3, F.data(), &A));
  ASSERT_PETSC(MatView(A, viewer));
  ASSERT_PETSC(PetscViewerDestroy(&viewer));
  if (!skeantest::Rank()) {
    std::ifstream in(file);
    std::string   text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    for (const char *part : {"1 dimensions, 1 term, shift 0.5", "inverse:", "3 dimensions, 1 term, shift 0", "factor 0: 3 x 3, ", "factor 1: 4 x 4, identity",
                             "factor 2: 5 x 5, sparse", "stage 0 processes:"})
      EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
  }
  ASSERT_PETSC(VecDestroy(&x));
  ASSERT_PETSC(VecDestroy(&b));
  ASSERT_PETSC(MatDestroy(&A));
  Free(F);
}

/* -ksp_type preonly -pc_type skeankron solves each kind of operator that can be diagonalised; MatSolve() too; residual by definition */
TEST(PCKron, DirectSolves)
{
  struct Operator {
    const char                          *name;
    std::function<PetscErrorCode(Mat *)> create;
  };
  std::vector<Mat> S = {Factor(1, 3, 3, 1), Factor(5, 5, 5, 2), Factor(1, 4, 4, 3)}, L = {Factor(1, 3, 3, 4), Factor(1, 5, 5, 5), Factor(5, 4, 4, 6)},
                   U = {Factor(6, 3, 3, 7), Factor(6, 5, 5, 8), Factor(6, 4, 4, 9)}, G = {Factor(0, 3, 3, 10), Factor(0, 5, 5, 11), Factor(3, 4, 4, 12)};
  /* similar to a symmetric matrix, so with a real spectrum, but not symmetric: D^-1 S D */
  std::vector<Mat> N = {Factor(1, 3, 3, 13), Factor(1, 5, 5, 14), Factor(1, 4, 4, 15)};
  for (Mat n : N) {
    PetscInt     sz;
    PetscScalar *a;
    MatGetSize(n, &sz, NULL);
    MatDenseGetArray(n, &a);
    for (PetscInt j = 0; j < sz; ++j)
      for (PetscInt i = 0; i < sz; ++i) a[i + j * sz] *= (1.0 + j) / (1.0 + i);
    MatDenseRestoreArray(n, &a);
  }
  const auto                  Shift = [](Mat A, double s) { return MatSkeanKronSetShift(A, s); };
  const std::vector<Operator> ops   = {
      {"symmetric with a shift", [&](Mat *A) { return (PetscErrorCode)(MatCreateSkeanKron(PETSC_COMM_WORLD, 3, S.data(), A) || Shift(*A, 0.3)); }},
      {"symmetric", [&](Mat *A) { return MatCreateSkeanKron(PETSC_COMM_WORLD, 3, S.data(), A); }},
      {"not symmetric", [&](Mat *A) { return MatCreateSkeanKron(PETSC_COMM_WORLD, 3, G.data(), A); }},
      {"not symmetric with a shift", [&](Mat *A) { return (PetscErrorCode)(MatCreateSkeanKron(PETSC_COMM_WORLD, 3, N.data(), A) || Shift(*A, 0.3)); }},
      {"Kronecker sum", [&](Mat *A) { return (PetscErrorCode)(MatCreateSkeanKronSum(PETSC_COMM_WORLD, 3, S.data(), A) || Shift(*A, 0.1)); }},
      {"Kronecker sum, not symmetric", [&](Mat *A) { return MatCreateSkeanKronSum(PETSC_COMM_WORLD, 3, N.data(), A); }},
      {"two terms", [&](Mat *A) { return MatCreateSkeanKronTwoTerm(PETSC_COMM_WORLD, 3, S.data(), L.data(), A); }},
      {"two terms, the first indefinite", [&](Mat *A) { return MatCreateSkeanKronTwoTerm(PETSC_COMM_WORLD, 3, U.data(), L.data(), A); }},
      {"two terms, the second indefinite", [&](Mat *A) { return MatCreateSkeanKronTwoTerm(PETSC_COMM_WORLD, 3, L.data(), U.data(), A); }}};
  for (const Operator &o : ops) {
    SCOPED_TRACE(o.name);
    Mat A;
    Vec b, x, r;
    KSP ksp;
    PC  pc;
    ASSERT_PETSC(o.create(&A));
    const std::vector<PetscInt> nat = Natural(A, true);
    ASSERT_PETSC(MatCreateVecs(A, &x, &b));
    ASSERT_PETSC(VecDuplicate(b, &r));
    ASSERT_PETSC(KSPCreate(PETSC_COMM_WORLD, &ksp));
    ASSERT_PETSC(KSPSetOperators(ksp, A, A));
    ASSERT_PETSC(KSPSetType(ksp, KSPPREONLY));
    ASSERT_PETSC(KSPGetPC(ksp, &pc));
    ASSERT_PETSC(PCSetType(pc, "skeankron"));
    const std::vector<double> want = Random(60, 4);
    for (int twice = 0; twice < 2; ++twice) { /* again after the operator changed */
      Fill(x, nat, 4);
      ASSERT_PETSC(MatMult(A, x, b));
      ASSERT_PETSC(VecSet(x, 0.0));
      ASSERT_PETSC(KSPSolve(ksp, b, x));
      EXPECT_LT(Diff(x, nat, want), 1e-10);
      ASSERT_PETSC(VecSet(x, 0.0));
      ASSERT_PETSC(MatSolve(A, b, x));
      EXPECT_LT(Diff(x, nat, want), 1e-10);
      Fill(x, nat, 4);
      ASSERT_PETSC(MatMultTranspose(A, x, b));
      ASSERT_PETSC(VecSet(x, 0.0));
      ASSERT_PETSC(KSPSolveTranspose(ksp, b, x));
      EXPECT_LT(Diff(x, nat, want), 1e-10);
      ASSERT_PETSC(MatScale(A, 1.7));
    }
    ASSERT_PETSC(KSPDestroy(&ksp));
    ASSERT_PETSC(VecDestroy(&x));
    ASSERT_PETSC(VecDestroy(&b));
    ASSERT_PETSC(VecDestroy(&r));
    ASSERT_PETSC(MatDestroy(&A));
  }
  Free(S), Free(L), Free(U), Free(G), Free(N);
}

/* Centrosymmetric factors, by even and odd parts and without them: products, and direct solves of all kinds of operators, transposes too. With rounding
   errors in the factors they are still split for the solve, and the solution moves by no more than these errors; with larger ones they are not */
TEST(PCKron, EvenAndOddParts)
{
  const PetscInt sz[] = {49, 3, 50};
  /* kind 0: symmetric Toeplitz; 1: symmetric, not Toeplitz, definite; 2: real spectrum, not symmetric; 3: symmetric indefinite. All centrosymmetric, rounding: but for an error */
  const auto Centro = [&](int kind, int id, double rounding) {
    std::vector<Mat> F(3);
    for (int k = 0; k < 3; ++k) {
      const PetscInt      n = sz[k];
      RandomStream        s(7, Purpose::Test, static_cast<std::uint32_t>(id));
      PetscScalar        *a;
      std::vector<double> D(n), R(n * n);
      MatCreateSeqDense(PETSC_COMM_SELF, n, n, NULL, &F[k]);
      MatDenseGetArray(F[k], &a);
      for (PetscInt i = 0; i < n; ++i) D[i] = 1.0 + 0.5 * std::min(i, n - 1 - i) / n;
      for (PetscInt j = 0; j < n; ++j)
        for (PetscInt i = 0; i < n; ++i) {
          const PetscInt t = std::min(i + j * n, n * n - 1 - i - j * n), other = std::min(j + i * n, n * n - 1 - j - i * n);
          double         v = s.Normal(std::min(t, other)) / n;
          if (kind == 0) v = std::exp(-0.7 * std::abs(i - j)) * (1 + 0.1 * id);
          if (kind == 1) v = 0.2 * v + (i == j ? 1.0 + 0.3 * D[i] : 0.0);
          if (kind == 2) v = (0.2 * v + (i == j ? 1.0 : 0.0)) * D[i] / D[j];
          a[i + j * n] = v * (1 + rounding * s.Normal(std::min(i, j), 100 + std::max(i, j)));
        }
      MatDenseRestoreArray(F[k], &a);
    }
    return F;
  };
  struct Operator {
    const char *name;
    int         first, second; /* kinds; second -1: a product with a shift, -2: without, -3: a sum */
  };
  const Operator ops[] = {
    {"symmetric with a shift", 0, -1}, {"symmetric", 0, -2}, {"symmetric, not Toeplitz", 1, -2},        {"sum", 1, -3},
    {"sum, not symmetric", 2, -3},     {"two terms", 1, 0},  {"two terms, the first indefinite", 3, 1}, {"two terms, the second indefinite", 1, 3}};
  for (const Operator &o : ops)
    for (double rounding : {0.0, 4e-16, 1e-9}) {
      SCOPED_TRACE(std::string(o.name) + " rounding " + std::to_string(rounding));
      std::vector<Mat> F = Centro(o.first, 1, rounding), G = Centro(o.second >= 0 ? o.second : 0, 2, rounding);
      Vec              x, b, y[2], z[2];
      Mat              A[2];
      for (int on = 0; on < 2; ++on) {
        ASSERT_PETSC(PetscOptionsSetValue(NULL, "-mat_skeankron_evenodd", on ? "1" : "0"));
        if (o.second >= 0)
          ASSERT_PETSC(MatCreateSkeanKronTwoTerm(PETSC_COMM_WORLD, 3, F.data(), G.data(), &A[on]));
        else if (o.second == -3)
          ASSERT_PETSC(MatCreateSkeanKronSum(PETSC_COMM_WORLD, 3, F.data(), &A[on]));
        else
          ASSERT_PETSC(MatCreateSkeanKron(PETSC_COMM_WORLD, 3, F.data(), &A[on]));
        if (o.second == -1) ASSERT_PETSC(MatSkeanKronSetShift(A[on], 0.3));
        if (!on) {
          ASSERT_PETSC(MatCreateVecs(A[on], &x, &b));
          Fill(x, Natural(A[on], true), 4);
        }
        for (Vec *v : {&y[on], &z[on]}) ASSERT_PETSC(VecDuplicate(x, v));
        for (bool trans : {false, true}) {
          PetscReal e, s;
          ASSERT_PETSC(trans ? MatMultTranspose(A[on], x, z[on]) : MatMult(A[on], x, z[on]));
          ASSERT_PETSC(VecNorm(z[on], NORM_2, &s));
          if (on) {
            ASSERT_PETSC(trans ? MatMultTranspose(A[0], x, z[0]) : MatMult(A[0], x, z[0]));
            ASSERT_PETSC(VecWAXPY(b, -1.0, z[0], z[1]));
            ASSERT_PETSC(VecNorm(b, NORM_2, &e));
            EXPECT_LT(e, 1e-14 * s) << (trans ? "transposed" : "") << " product";
          }
          ASSERT_PETSC(trans ? MatSolveTranspose(A[on], z[on], y[on]) : MatSolve(A[on], z[on], y[on]));
          ASSERT_PETSC(VecAXPY(y[on], -1.0, x));
          ASSERT_PETSC(VecNorm(y[on], NORM_2, &e));
          ASSERT_PETSC(VecNorm(x, NORM_2, &s));
          EXPECT_LT(e, 1e-11 * s) << (trans ? "transposed" : "") << (on ? " with parts" : " without");
        }
        SkeanKronData *data = nullptr;
        ASSERT_PETSC(MatSkeanKronGetData_Private(A[on], &data));
        for (int k = 0; k < 3; ++k) {
          const skean::KronEigen &e = data->inverse.Eigen(k);
          EXPECT_EQ(e.parts != nullptr, on && k != 1 && rounding < 1e-12) << k;
          EXPECT_EQ(e.asymmetry > 0, on && k != 1 && rounding > 0 && rounding < 1e-12) << k;
          EXPECT_LE(e.asymmetry, skean::kCentroTolerance);
          for (size_t i = 1; i < e.lambda.size() && e.parts; ++i) EXPECT_LE(e.lambda[i - 1], e.lambda[i]);
        }
      }
      for (int on = 0; on < 2; ++on) {
        for (Vec *v : {&y[on], &z[on]}) ASSERT_PETSC(VecDestroy(v));
        ASSERT_PETSC(MatDestroy(&A[on]));
      }
      ASSERT_PETSC(VecDestroy(&x));
      ASSERT_PETSC(VecDestroy(&b));
      Free(F), Free(G);
    }
  ASSERT_PETSC(PetscOptionsClearValue(NULL, "-mat_skeankron_evenodd"));
}

/* Masked operator by definition, and CG with the unmasked inverse as preconditioner: fewer iterations than without, the same solution */
TEST(PCKron, MaskedOperator)
{
  std::vector<Mat> F = {Factor(5, 6, 6, 1), Factor(5, 7, 7, 2)};
  Mat              A, D;
  Vec              x, y, w, mask;
  ASSERT_PETSC(MatCreateSkeanKron(PETSC_COMM_WORLD, 2, F.data(), &A));
  ASSERT_PETSC(MatSkeanKronSetShift(A, 0.01));
  ASSERT_PETSC(MatCreateVecs(A, &x, &y));
  ASSERT_PETSC(VecDuplicate(x, &mask));
  ASSERT_PETSC(VecDuplicate(x, &w));
  const std::vector<PetscInt> nat = Natural(A, true);
  PetscInt                    lo, hi;
  ASSERT_PETSC(VecGetOwnershipRange(x, &lo, &hi));
  const auto Inside = [](PetscInt g) { return g % 5 != 2; };
  for (PetscInt i = lo; i < hi; ++i) VecSetValue(mask, i, Inside(nat[i]), INSERT_VALUES);
  ASSERT_PETSC(VecAssemblyBegin(mask));
  ASSERT_PETSC(VecAssemblyEnd(mask));
  ASSERT_PETSC(MatSkeanKronSetMask(A, mask));
  Dense                     full = Full(F);
  const std::vector<double> x0   = Random(42, 3);
  for (PetscInt i = 0; i < 42; ++i) full[i][i] += 0.01;
  for (PetscInt i = 0; i < 42; ++i)
    for (PetscInt j = 0; j < 42; ++j)
      if (!Inside(i) || !Inside(j)) full[i][j] = i == j;
  Fill(x, nat, 3);
  ASSERT_PETSC(MatMult(A, x, y));
  EXPECT_LT(Diff(y, nat, Times(full, x0, false)), 1e-13);
  ASSERT_PETSC(MatConvert(A, MATDENSE, MAT_INITIAL_MATRIX, &D));
  ASSERT_PETSC(MatMult(D, x, w));
  EXPECT_LT(Diff(w, nat, Times(full, x0, false)), 1e-13);
  ASSERT_PETSC(MatDestroy(&D));
  PetscInt its[2];
  for (int with = 0; with < 2; ++with) {
    KSP ksp;
    PC  pc;
    ASSERT_PETSC(KSPCreate(PETSC_COMM_WORLD, &ksp));
    ASSERT_PETSC(KSPSetOperators(ksp, A, A));
    ASSERT_PETSC(KSPSetType(ksp, KSPCG));
    ASSERT_PETSC(KSPSetNormType(ksp, KSP_NORM_UNPRECONDITIONED));
    ASSERT_PETSC(KSPSetTolerances(ksp, 1e-12, PETSC_DEFAULT, PETSC_DEFAULT, 500));
    ASSERT_PETSC(KSPGetPC(ksp, &pc));
    ASSERT_PETSC(PCSetType(pc, with ? PCSKEANKRON : PCNONE));
    ASSERT_PETSC(VecSet(w, 0.0));
    ASSERT_PETSC(KSPSolve(ksp, y, w));
    ASSERT_PETSC(KSPGetIterationNumber(ksp, &its[with]));
    EXPECT_LT(Diff(w, nat, x0), 1e-9);
    ASSERT_PETSC(KSPDestroy(&ksp));
  }
  EXPECT_LT(its[1], its[0]);
  EXPECT_EQ(skeantest::ErrorOf([&] { return MatSolve(A, y, x); }), PETSC_ERR_SUP);
  for (Vec *v : {&x, &y, &w, &mask}) ASSERT_PETSC(VecDestroy(v));
  ASSERT_PETSC(MatDestroy(&A));
  Free(F);
}

/* Noise that is different at every point, K + D: CG with the inverse of K + s I, s the mean of D, takes fewer iterations than without, to the same solution */
TEST(PCKron, VariableNoise)
{
  std::vector<Mat> F = {Factor(5, 6, 6, 1), Factor(5, 7, 7, 2)};
  Mat              A, D, M, terms[2];
  Vec              x, y, w, noise;
  PetscInt         lo, hi, its[2];
  const auto       Noise = [](PetscInt g) { return 0.005 * (1 + g % 4); };
  ASSERT_PETSC(MatCreateSkeanKron(PETSC_COMM_WORLD, 2, F.data(), &A));
  ASSERT_PETSC(MatCreateVecs(A, &x, &y));
  ASSERT_PETSC(VecDuplicate(x, &noise));
  ASSERT_PETSC(VecDuplicate(x, &w));
  const std::vector<PetscInt> nat = Natural(A, true);
  ASSERT_PETSC(VecGetOwnershipRange(x, &lo, &hi));
  for (PetscInt i = lo; i < hi; ++i) VecSetValue(noise, i, Noise(nat[i]), INSERT_VALUES);
  ASSERT_PETSC(VecAssemblyBegin(noise));
  ASSERT_PETSC(VecAssemblyEnd(noise));
  ASSERT_PETSC(MatCreateAIJ(PETSC_COMM_WORLD, hi - lo, hi - lo, 42, 42, 1, NULL, 0, NULL, &D));
  ASSERT_PETSC(MatDiagonalSet(D, noise, INSERT_VALUES));
  terms[0] = A;
  terms[1] = D;
  ASSERT_PETSC(MatCreateComposite(PETSC_COMM_WORLD, 2, terms, &M));
  Dense full = Full(F);
  for (PetscInt i = 0; i < 42; ++i) full[i][i] += Noise(i);
  const std::vector<double> x0 = Random(42, 3);
  Fill(x, nat, 3);
  ASSERT_PETSC(MatMult(M, x, y));
  EXPECT_LT(Diff(y, nat, Times(full, x0, false)), 1e-13);
  Mat P;
  ASSERT_PETSC(MatDuplicate(A, MAT_COPY_VALUES, &P));
  ASSERT_PETSC(MatSkeanKronSetShift(P, 0.0125));
  for (int with = 0; with < 2; ++with) {
    KSP ksp;
    PC  pc;
    ASSERT_PETSC(KSPCreate(PETSC_COMM_WORLD, &ksp));
    ASSERT_PETSC(KSPSetOperators(ksp, M, P));
    ASSERT_PETSC(KSPSetType(ksp, KSPCG));
    ASSERT_PETSC(KSPSetNormType(ksp, KSP_NORM_UNPRECONDITIONED));
    ASSERT_PETSC(KSPSetTolerances(ksp, 1e-12, PETSC_DEFAULT, PETSC_DEFAULT, 500));
    ASSERT_PETSC(KSPGetPC(ksp, &pc));
    ASSERT_PETSC(PCSetType(pc, with ? PCSKEANKRON : PCNONE));
    ASSERT_PETSC(VecSet(w, 0.0));
    ASSERT_PETSC(KSPSolve(ksp, y, w));
    ASSERT_PETSC(KSPGetIterationNumber(ksp, &its[with]));
    EXPECT_LT(Diff(w, nat, x0), 1e-9);
    ASSERT_PETSC(KSPDestroy(&ksp));
  }
  EXPECT_LT(its[1], its[0] / 2);
  for (Vec *v : {&x, &y, &w, &noise}) ASSERT_PETSC(VecDestroy(v));
  for (Mat *m : {&M, &D, &P, &A}) ASSERT_PETSC(MatDestroy(m));
  Free(F);
}

namespace {
/* M u + u^3 = b, M a Kronecker sum; its derivative M + diag(3 u^2), preconditioned with M + s I, s the mean of 3 u^2 */
struct Semilinear {
  Mat M, D, J, P;
  Vec b, cube;
};
PetscErrorCode SemilinearFunction(SNES, Vec u, Vec f, void *ctx)
{
  Semilinear *s = static_cast<Semilinear *>(ctx);

  PetscFunctionBegin;
  PetscCall(MatMult(s->M, u, f));
  PetscCall(VecPointwiseMult(s->cube, u, u));
  PetscCall(VecPointwiseMult(s->cube, s->cube, u));
  PetscCall(VecAXPBYPCZ(f, 1.0, -1.0, 1.0, s->cube, s->b));
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode SemilinearJacobian(SNES, Vec u, Mat J, Mat P, void *ctx)
{
  Semilinear *s = static_cast<Semilinear *>(ctx);
  PetscScalar sum;
  PetscInt    n;

  PetscFunctionBegin;
  PetscCall(VecPointwiseMult(s->cube, u, u));
  PetscCall(VecScale(s->cube, 3.0));
  PetscCall(MatDiagonalSet(s->D, s->cube, INSERT_VALUES));
  PetscCall(VecSum(s->cube, &sum));
  PetscCall(VecGetSize(u, &n));
  PetscCall(MatSkeanKronSetShift(P, sum / static_cast<double>(n)));
  PetscCall(PetscObjectStateIncrease((PetscObject)J));
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

/* Newton's method with -pc_type skeankron: to the solution that was put in, with few linear iterations, fewer than without */
TEST(PCKron, NewtonWithASum)
{
  std::vector<Mat> F = {Factor(5, 6, 6, 1), Factor(5, 7, 7, 2)};
  Semilinear       s;
  Vec              x, u;
  PetscInt         lo, hi, its[2], newton;
  ASSERT_PETSC(MatCreateSkeanKronSum(PETSC_COMM_WORLD, 2, F.data(), &s.M));
  ASSERT_PETSC(MatScale(s.M, 50.0));
  ASSERT_PETSC(MatCreateVecs(s.M, &x, &s.b));
  ASSERT_PETSC(VecDuplicate(x, &u));
  ASSERT_PETSC(VecDuplicate(x, &s.cube));
  ASSERT_PETSC(VecGetOwnershipRange(x, &lo, &hi));
  ASSERT_PETSC(MatCreateAIJ(PETSC_COMM_WORLD, hi - lo, hi - lo, 42, 42, 1, NULL, 0, NULL, &s.D));
  ASSERT_PETSC(VecSet(x, 1.0));
  ASSERT_PETSC(MatDiagonalSet(s.D, x, INSERT_VALUES));
  Mat terms[] = {s.M, s.D};
  ASSERT_PETSC(MatCreateComposite(PETSC_COMM_WORLD, 2, terms, &s.J));
  ASSERT_PETSC(MatDuplicate(s.M, MAT_COPY_VALUES, &s.P));
  const std::vector<PetscInt> nat = Natural(s.M, true);
  const std::vector<double>   x0  = Random(42, 3);
  Fill(x, nat, 3);
  ASSERT_PETSC(VecSet(s.b, 0.0));
  ASSERT_PETSC(SemilinearFunction(NULL, x, u, &s));
  ASSERT_PETSC(VecCopy(u, s.b));
  for (int with = 0; with < 2; ++with) {
    SNES                snes;
    KSP                 ksp;
    PC                  pc;
    SNESConvergedReason reason;
    ASSERT_PETSC(SNESCreate(PETSC_COMM_WORLD, &snes));
    ASSERT_PETSC(SNESSetFunction(snes, NULL, SemilinearFunction, &s));
    ASSERT_PETSC(SNESSetJacobian(snes, s.J, s.P, SemilinearJacobian, &s));
    ASSERT_PETSC(SNESSetTolerances(snes, 1e-14, 1e-13, 0.0, 30, 1000));
    ASSERT_PETSC(SNESGetKSP(snes, &ksp));
    ASSERT_PETSC(KSPSetType(ksp, KSPCG));
    ASSERT_PETSC(KSPSetTolerances(ksp, 1e-10, PETSC_DEFAULT, PETSC_DEFAULT, 500));
    ASSERT_PETSC(KSPGetPC(ksp, &pc));
    ASSERT_PETSC(PCSetType(pc, with ? PCSKEANKRON : PCNONE));
    ASSERT_PETSC(VecSet(u, 0.0));
    ASSERT_PETSC(SNESSolve(snes, NULL, u));
    ASSERT_PETSC(SNESGetConvergedReason(snes, &reason));
    EXPECT_GT(reason, 0);
    ASSERT_PETSC(SNESGetLinearSolveIterations(snes, &its[with]));
    ASSERT_PETSC(SNESGetIterationNumber(snes, &newton));
    EXPECT_LT(Diff(u, nat, x0), 1e-9);
    ASSERT_PETSC(SNESDestroy(&snes));
  }
  EXPECT_LT(its[1], its[0] / 2);
  EXPECT_LE(its[1], 12 * newton);
  for (Vec *v : {&x, &u, &s.b, &s.cube}) ASSERT_PETSC(VecDestroy(v));
  for (Mat *m : {&s.J, &s.D, &s.P, &s.M}) ASSERT_PETSC(MatDestroy(m));
  Free(F);
}

TEST(PCKron, SingularIsAReasonAndImpossibleIsAnError)
{
  PetscScalar      c[] = {1, 1, 1};
  std::vector<Mat> F(2);
  ASSERT_PETSC(MatCreateSkeanToeplitz(3, c, NULL, &F[0]));
  ASSERT_PETSC(MatCreateSkeanToeplitz(3, c, NULL, &F[1]));
  /* exactly singular: a zero factor */
  ASSERT_PETSC(MatZeroEntries(F[1]));
  Mat                A;
  Vec                x, b;
  KSP                ksp;
  PC                 pc;
  KSPConvergedReason reason;
  ASSERT_PETSC(MatCreateSkeanKron(PETSC_COMM_WORLD, 2, F.data(), &A));
  ASSERT_PETSC(MatCreateVecs(A, &x, &b));
  ASSERT_PETSC(VecSet(b, 1.0));
  ASSERT_PETSC(KSPCreate(PETSC_COMM_WORLD, &ksp));
  ASSERT_PETSC(KSPSetOperators(ksp, A, A));
  ASSERT_PETSC(KSPSetType(ksp, KSPPREONLY));
  ASSERT_PETSC(KSPGetPC(ksp, &pc));
  ASSERT_PETSC(PCSetType(pc, PCSKEANKRON));
  ASSERT_PETSC(KSPSolve(ksp, b, x));
  ASSERT_PETSC(KSPGetConvergedReason(ksp, &reason));
  EXPECT_LT(reason, 0);
  ASSERT_PETSC(KSPDestroy(&ksp));
  ASSERT_PETSC(MatDestroy(&A));
  Free(F);

  std::vector<Mat> S = {Factor(1, 3, 3, 1), Factor(1, 2, 2, 2)}, L = {Factor(1, 3, 3, 4), Factor(1, 2, 2, 5)};
  std::string      message;
  ASSERT_PETSC(MatCreateSkeanKronTwoTerm(PETSC_COMM_WORLD, 2, S.data(), L.data(), &A));
  ASSERT_PETSC(MatSkeanKronSetShift(A, 1.0));
  Vec u, v;
  ASSERT_PETSC(MatCreateVecs(A, &u, &v));
  EXPECT_EQ(skeantest::ErrorOf([&] { return MatSolve(A, v, u); }, &message), PETSC_ERR_SUP);
  EXPECT_NE(message.find("dimension 0"), std::string::npos) << message;
  ASSERT_PETSC(VecDestroy(&u));
  ASSERT_PETSC(VecDestroy(&v));
  /* a rotation has complex eigenvalues */
  Mat          R = Factor(0, 2, 2, 0);
  PetscScalar *a;
  ASSERT_PETSC(MatDenseGetArray(R, &a));
  a[0] = a[3] = 0;
  a[1]        = 1;
  a[2]        = -1;
  ASSERT_PETSC(MatDenseRestoreArray(R, &a));
  ASSERT_PETSC(MatDestroy(&A));
  Mat RR[] = {R, R};
  ASSERT_PETSC(MatCreateSkeanKronSum(PETSC_COMM_WORLD, 2, RR, &A));
  ASSERT_PETSC(MatCreateVecs(A, &u, &v));
  EXPECT_EQ(skeantest::ErrorOf([&] { return MatSolve(A, v, u); }, &message), PETSC_ERR_SUP);
  EXPECT_NE(message.find("complex"), std::string::npos) << message;
  ASSERT_PETSC(VecDestroy(&u));
  ASSERT_PETSC(VecDestroy(&v));
  ASSERT_PETSC(MatDestroy(&A));
  ASSERT_PETSC(MatDestroy(&R));
  /* sizes that do not fit, an index out of range, a null factor, factors that differ between processes */
  ASSERT_PETSC(MatCreateSkeanKron(PETSC_COMM_WORLD, 2, S.data(), &A));
  EXPECT_EQ(skeantest::ErrorOf([&] { return MatSkeanKronAddTerm(A, 1.0, 1, S.data()); }), PETSC_ERR_ARG_SIZ);
  std::vector<Mat> W = {S[1], S[0]};
  EXPECT_EQ(skeantest::ErrorOf([&] { return MatSkeanKronAddTerm(A, 1.0, 2, W.data()); }), PETSC_ERR_ARG_SIZ);
  EXPECT_EQ(skeantest::ErrorOf([&] { return MatSkeanKronGetFactor(A, 1, 0, NULL, NULL); }), PETSC_ERR_ARG_OUTOFRANGE);
  if (skeantest::Size() > 1) {
    ASSERT_PETSC(MatDenseGetArray(S[0], &a));
    a[0] += skeantest::Rank();
    ASSERT_PETSC(MatDenseRestoreArray(S[0], &a));
    EXPECT_EQ(skeantest::ErrorOf([&] { return MatSkeanKronAddTerm(A, 1.0, 2, S.data()); }), PETSC_ERR_ARG_WRONG);
  }
  ASSERT_PETSC(MatDestroy(&A));
  ASSERT_PETSC(VecDestroy(&x));
  ASSERT_PETSC(VecDestroy(&b));
  Free(S), Free(L);
}

namespace {
/* Column k of the orthogonal transforms, by definition */
double TransformEntry(skean::FastTransform::Kind kind, PetscInt n, PetscInt i, PetscInt k)
{
  const double pi = 3.14159265358979323846, N = static_cast<double>(n), s = std::sqrt(2 / N), h = std::sqrt(0.5);
  switch (kind) {
  case skean::FastTransform::DHT:
    return (std::cos(2 * pi * i * k / N) + std::sin(2 * pi * i * k / N)) / std::sqrt(N);
  case skean::FastTransform::DCT2:
    return s * (k ? 1 : h) * std::cos(pi * (i + 0.5) * k / N);
  case skean::FastTransform::DST2:
    return s * (k == n - 1 ? h : 1) * std::sin(pi * (i + 0.5) * (k + 1) / N);
  case skean::FastTransform::DST1:
    return std::sqrt(2 / (N + 1)) * std::sin(pi * (i + 1) * (k + 1) / (N + 1));
  case skean::FastTransform::DCT4:
    return s * std::cos(pi * (i + 0.5) * (k + 0.5) / N);
  case skean::FastTransform::DST4:
    return s * std::sin(pi * (i + 0.5) * (k + 0.5) / N);
  }
  return 0;
}
const skean::FastTransform::Kind AllKinds[] = {skean::FastTransform::DHT,  skean::FastTransform::DCT2, skean::FastTransform::DST2,
                                               skean::FastTransform::DST1, skean::FastTransform::DCT4, skean::FastTransform::DST4};
} // namespace

/* The fast transforms are the matrices of their definition, and are recognised as eigenvectors, and only then */
TEST(PCKron, FastTransforms)
{
  if (!skean::FastTransform::Create(skean::FastTransform::DHT, 4)) GTEST_SKIP() << "built without FFTW";
  for (PetscInt n : {4, 5, 12, 17})
    for (skean::FastTransform::Kind kind : AllKinds) {
      const auto t = skean::FastTransform::Create(kind, n);
      SCOPED_TRACE(std::string(t->Name()) + " " + std::to_string(n));
      const std::vector<double> x = Random(n, kind);
      std::vector<double>       y = x, z = x, lambda(n), got;
      t->Apply(false, 1, y.data(), n);
      t->Apply(true, 1, z.data(), n);
      /* an even spectrum for DHT: the matrix is then circulant */
      for (PetscInt k = 0; k < n; ++k) lambda[k] = 1.0 + (kind == skean::FastTransform::DHT ? std::min(k, n - k) : k) * 0.37;
      std::vector<double> A(n * n);
      for (PetscInt i = 0; i < n; ++i) {
        double a = 0, b = 0;
        for (PetscInt k = 0; k < n; ++k) {
          a += TransformEntry(kind, n, i, k) * x[k];
          b += TransformEntry(kind, n, k, i) * x[k];
        }
        EXPECT_NEAR(y[i], a, 1e-14 * n);
        EXPECT_NEAR(z[i], b, 1e-14 * n);
        for (PetscInt j = 0; j < n; ++j)
          for (PetscInt k = 0; k < n; ++k) A[i + j * n] += lambda[k] * TransformEntry(kind, n, i, k) * TransformEntry(kind, n, j, k);
      }
      const auto found = skean::DiagonalizeByTransform(n, A.data(), &got);
      ASSERT_ALL(found != nullptr);
      EXPECT_EQ(found->GetKind(), kind);
      for (PetscInt k = 0; k < n; ++k) EXPECT_NEAR(got[k], lambda[k], 1e-13 * n);
      A[1] += 1e-10;
      A[n] += 1e-10;
      EXPECT_EQ(skean::DiagonalizeByTransform(n, A.data(), &got), nullptr);
      A[1] = A[n] = NAN;
      EXPECT_EQ(skean::DiagonalizeByTransform(n, A.data(), &got), nullptr);
    }
}

/* Laplacians with periodic, Neumann and Dirichlet ends and a circulant covariance: solved through their transforms; the solution by definition */
TEST(PCKron, PeriodicAndReflectedGrids)
{
  const auto Laplacian = [](PetscInt n, int ends) {
    Mat F;
    MatCreateSeqAIJ(PETSC_COMM_SELF, n, n, 3, NULL, &F);
    for (PetscInt i = 0; i < n; ++i) {
      const bool edge = i == 0 || i == n - 1;
      MatSetValue(F, i, i, edge && ends == 1 ? 1.0 : 2.0, INSERT_VALUES);
      if (i) MatSetValue(F, i, i - 1, -1.0, INSERT_VALUES);
      if (i + 1 < n) MatSetValue(F, i, i + 1, -1.0, INSERT_VALUES);
      if (edge && ends == 0) MatSetValue(F, i, n - 1 - i, -1.0, INSERT_VALUES);
    }
    MatAssemblyBegin(F, MAT_FINAL_ASSEMBLY);
    MatAssemblyEnd(F, MAT_FINAL_ASSEMBLY);
    return F;
  };
  std::vector<PetscScalar> c(6);
  for (PetscInt i = 0; i < 6; ++i) c[i] = std::exp(-std::min(i, 6 - i));
  Mat circulant;
  ASSERT_PETSC(MatCreateSkeanToeplitz(6, c.data(), NULL, &circulant));
  const bool fftw = skean::FastTransform::Create(skean::FastTransform::DHT, 4) != nullptr;
  for (int sum = 0; sum < 2; ++sum) {
    std::vector<Mat> F = {Laplacian(5, 1), sum ? Laplacian(6, 0) : circulant, Laplacian(7, 2)};
    Mat              A;
    Vec              x, b;
    SkeanKronData   *data;
    if (sum)
      ASSERT_PETSC(MatCreateSkeanKronSum(PETSC_COMM_WORLD, 3, F.data(), &A));
    else
      ASSERT_PETSC(MatCreateSkeanKron(PETSC_COMM_WORLD, 3, F.data(), &A));
    ASSERT_PETSC(MatSkeanKronSetShift(A, 0.5));
    Dense D = sum ? Dense(210, std::vector<double>(210, 0.0)) : Full(F);
    if (sum)
      for (int t = 0; t < 3; ++t) {
        std::vector<Mat> G = {Factor(2, 5, 5, 0), Factor(2, 6, 6, 0), Factor(2, 7, 7, 0)};
        MatDestroy(&G[t]);
        G[t]            = F[t];
        const Dense one = Full(G);
        for (int i = 0; i < 210; ++i)
          for (int j = 0; j < 210; ++j) D[i][j] += one[i][j];
        for (int k = 0; k < 3; ++k)
          if (k != t) MatDestroy(&G[k]);
      }
    for (int i = 0; i < 210; ++i) D[i][i] += 0.5;
    const std::vector<double>   want = Random(210, 7), rhs = Times(D, want, false);
    const std::vector<PetscInt> nat = Natural(A, true);
    PetscInt                    lo, hi;
    ASSERT_PETSC(MatCreateVecs(A, &x, &b));
    ASSERT_PETSC(VecGetOwnershipRange(b, &lo, &hi));
    for (PetscInt i = lo; i < hi; ++i) VecSetValue(b, i, rhs[nat[i]], INSERT_VALUES);
    ASSERT_PETSC(VecAssemblyBegin(b));
    ASSERT_PETSC(VecAssemblyEnd(b));
    ASSERT_PETSC(MatSolve(A, b, x));
    EXPECT_LT(Diff(x, nat, want), 1e-12);
    ASSERT_PETSC(MatSolveTranspose(A, b, x)); /* symmetric */
    EXPECT_LT(Diff(x, nat, want), 1e-12);
    ASSERT_PETSC(MatSkeanKronGetData_Private(A, &data));
    if (fftw) {
      const skean::FastTransform::Kind kinds[] = {skean::FastTransform::DCT2, skean::FastTransform::DHT, skean::FastTransform::DST1};
      for (int j = 0; j < 3; ++j) {
        ASSERT_ALL(data->inverse.Eigen(j).transform != nullptr);
        EXPECT_EQ(data->inverse.Eigen(j).transform->GetKind(), kinds[j]);
      }
    }
    ASSERT_PETSC(VecDestroy(&x));
    ASSERT_PETSC(VecDestroy(&b));
    ASSERT_PETSC(MatDestroy(&A));
    for (Mat &f : F)
      if (f != circulant) ASSERT_PETSC(MatDestroy(&f));
  }
  ASSERT_PETSC(MatDestroy(&circulant));
}

/* Distributed eigenproblems: the same eigenvalues as LAPACK's, orthogonal vectors, equal on all processes; not finite is a result, no hang */
TEST(PCKron, DistributedEigenproblems)
{
  for (PetscInt n : {4, 7, 24, 67})
    for (int kind : {6, 5}) {
      SCOPED_TRACE(std::to_string(n) + (kind == 5 ? " centrosymmetric" : ""));
      Mat                                  F = Factor(kind, n, n, 3);
      skean::KronFactor                    f;
      skean::KronEigen                     e[2], bad;
      std::vector<skean::KronEigenProblem> p(1);
      ASSERT_PETSC(skean::KronFactor::FromMat(F, &f));
      p[0].n = n;
      p[0].A = f.a->data();
      EXPECT_EQ(f.centrosymmetric, kind == 5);
      for (int which = 0; which < 2; ++which) {
        ASSERT_PETSC(PetscOptionsSetValue(NULL, "-mat_skeankron_scalapack", which ? "4" : "1000000"));
        p[0].eig = &e[which];
        ASSERT_PETSC(skean::KronEigenSolve(PETSC_COMM_WORLD, &p));
        EXPECT_EQ(p[0].result, skean::KronEigenProblem::GOOD);
        EXPECT_EQ(e[which].parts != nullptr, kind == 5 && n >= skean::EvenOdd::kLeast);
        ASSERT_NO_THROW(e[which].FormVectors());
      }
#if defined(SKEAN_HAVE_SCALAPACK)
      EXPECT_EQ(std::string(e[1].method).find("ScaLAPACK") == 0, skeantest::Size() > 1) << e[1].method;
#endif
      double largest = 0, off = 0, residual = 0;
      for (double l : e[0].lambda) largest = std::max(largest, std::abs(l));
      std::vector<double> l0 = e[0].lambda, l1 = e[1].lambda;
      std::sort(l0.begin(), l0.end());
      std::sort(l1.begin(), l1.end());
      for (PetscInt i = 0; i < n; ++i) {
        EXPECT_NEAR(l0[i], l1[i], 1e-14 * n * largest);
        for (PetscInt j = 0; j < n; ++j) {
          double s = i == j ? -1.0 : 0.0, r = 0;
          for (PetscInt k = 0; k < n; ++k) {
            s += e[1].V[k + i * n] * e[1].V[k + j * n];
            r += p[0].A[i + k * n] * e[1].V[k + j * n];
          }
          off      = std::max(off, std::abs(s));
          residual = std::max(residual, std::abs(r - e[1].lambda[j] * e[1].V[i + j * n]));
        }
      }
      EXPECT_LT(off, 1e-14 * n);
      EXPECT_LT(residual, 1e-14 * n * largest);
      std::vector<double> first = e[1].V;
      MPI_Bcast(first.data(), static_cast<int>(first.size()), MPI_DOUBLE, 0, PETSC_COMM_WORLD);
      EXPECT_EQ(first, e[1].V);
      std::vector<double> wrong(p[0].A, p[0].A + n * n);
      wrong[n + 1] = INFINITY;
      p[0].A       = wrong.data();
      p[0].eig     = &bad;
      ASSERT_PETSC(skean::KronEigenSolve(PETSC_COMM_WORLD, &p));
      EXPECT_EQ(p[0].result, skean::KronEigenProblem::FAILED);
      ASSERT_PETSC(PetscOptionsClearValue(NULL, "-mat_skeankron_scalapack"));
      ASSERT_PETSC(MatDestroy(&F));
    }
}
