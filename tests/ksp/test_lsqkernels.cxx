/* The passes over A against loops, sparse and dense, one and several columns; TSQR against LAPACK */
#include "harness/lsproblems.hpp"
#include "harness/skeantest.hpp"
#include "src/ksp/sketch/lsqkernels.hpp"
#include "src/ksp/sketch/lssolve.hpp"
#include <skean/private/reduce.hpp>
#include <skean/private/tsqr.hpp>

using namespace skeantest;

namespace {
double Entry(PetscInt i, PetscInt j, bool sparse)
{
  skean::RandomStream r(5, skean::Purpose::Test);
  if (sparse && r.Uniform(i, 1000 + j) > 0.4) return 0.0;
  return r.Normal(i, j);
}
const PetscInt N = 37, D = 13;
} // namespace

class Passes : public testing::TestWithParam<std::tuple<bool, bool>> {};

TEST_P(Passes, MatchLoops)
{
  const bool sparse = std::get<0>(GetParam()), lopsided = std::get<1>(GetParam());
  Mat        A;
  ASSERT_PETSC(MakeMatrix(
    PETSC_COMM_WORLD, N, D, !sparse,
    [&](PetscInt i, double *a) {
      for (PetscInt j = 0; j < D; ++j) a[j] = Entry(i, j, sparse);
    },
    &A, lopsided));
  skean::RowBlock block;
  ASSERT_PETSC(block.Open(A));
  const skean::RowView &v = block.View();
  ASSERT_ALL(v.ncols == D && v.nglobal == N);
  for (int q : {1, 3, 8, 11}) {
    std::vector<double> P(static_cast<size_t>(D) * q), X(P.size()), B(static_cast<size_t>(v.nrows) * q), R(B.size()), U(B.size()), U0, alpha(q);
    for (size_t e = 0; e < P.size(); ++e) P[e] = std::sin(1.0 + e), X[e] = std::cos(2.0 * e);
    for (int c = 0; c < q; ++c) {
      alpha[c] = 0.5 + c;
      for (PetscInt i = 0; i < v.nrows; ++i)
        B[i + static_cast<size_t>(c) * v.nrows]                                = std::sin(0.1 * (v.rstart + i) + c),
                                       U[i + static_cast<size_t>(c) * v.nrows] = std::cos(0.3 * (v.rstart + i) + c);
    }
    U0                   = U;
    const size_t      dq = static_cast<size_t>(D) * q;
    skean::FlaggedSum gram(dq), res(dq + q), bid(dq + q), gram_r(dq), res_r(dq + q), bid_r(dq + q);
    skean::GramApply(v, P.data(), q, gram.Data());
    skean::ResidualPass(v, B.data(), std::max<PetscInt>(1, v.nrows), X.data(), q, R.data(), res.Data(), res.Data() + dq);
    skean::BidiagonalPass(v, P.data(), alpha.data(), q, U.data(), bid.Data(), bid.Data() + dq);
    /* the same by loops over this process's rows */
    for (int c = 0; c < q; ++c)
      for (PetscInt i = 0; i < v.nrows; ++i) {
        double ap = 0, ax = 0;
        for (PetscInt j = 0; j < D; ++j) ap += Entry(v.rstart + i, j, sparse) * P[j + c * D], ax += Entry(v.rstart + i, j, sparse) * X[j + c * D];
        const double r = B[i + static_cast<size_t>(c) * v.nrows] - ax, u = ap - alpha[c] * U0[i + static_cast<size_t>(c) * v.nrows];
        EXPECT_NEAR(R[i + static_cast<size_t>(c) * v.nrows], r, 1e-13);
        EXPECT_NEAR(U[i + static_cast<size_t>(c) * v.nrows], u, 1e-13);
        res_r[dq + c] += r * r;
        bid_r[dq + c] += u * u;
        for (PetscInt j = 0; j < D; ++j) {
          const double a = Entry(v.rstart + i, j, sparse);
          gram_r[j + c * D] += a * ap;
          res_r[j + c * D] += a * r;
          bid_r[j + c * D] += a * u;
        }
      }
    for (auto pair : {std::make_pair(&gram, &gram_r), std::make_pair(&res, &res_r), std::make_pair(&bid, &bid_r)}) {
      ASSERT_PETSC(pair.first->Reduce(PETSC_COMM_WORLD, false, nullptr));
      ASSERT_PETSC(pair.second->Reduce(PETSC_COMM_WORLD, false, nullptr));
      for (size_t e = 0; e < pair.first->Size(); ++e) EXPECT_NEAR((*pair.first)[e], (*pair.second)[e], 1e-12 * (1 + std::fabs((*pair.second)[e])));
    }
  }
  /* Gram matrix and its preconditioned form with a triangle */
  std::vector<double> W(D * D, 0.0), WP(D * D, 0.0), T(D * D, 0.0), scale(D);
  for (PetscInt j = 0; j < D; ++j) {
    scale[j] = 1.0 / (1 + j);
    for (PetscInt i = 0; i <= j; ++i) T[i + j * D] = i == j ? 2.0 + i : 0.3 * (i + 1) * (j + 1);
  }
  skean::GramMatrix(v, W.data());
  skean::PreconditionedGram(v, scale.data(), T.data(), WP.data());
  ASSERT_PETSC(skean::AllreduceSum(PETSC_COMM_WORLD, W.data(), W.size()));
  ASSERT_PETSC(skean::AllreduceSum(PETSC_COMM_WORLD, WP.data(), WP.size()));
  for (PetscInt j = 0; j < D; ++j)
    for (PetscInt i = 0; i <= j; ++i) {
      double w = 0;
      for (PetscInt r = 0; r < N; ++r) w += Entry(r, i, sparse) * Entry(r, j, sparse);
      EXPECT_NEAR(W[i + j * D], w, 1e-12 * N);
      /* T' WP T = scale W scale */
      double t = 0;
      for (PetscInt k = 0; k <= i; ++k)
        for (PetscInt l = 0; l <= j; ++l) t += T[k + i * D] * (k <= l ? WP[k + l * D] : WP[l + k * D]) * T[l + j * D];
      EXPECT_NEAR(t, scale[i] * scale[j] * w, 1e-11 * N);
    }
  ASSERT_PETSC(block.Restore());
  ASSERT_PETSC(MatDestroy(&A));
}
INSTANTIATE_TEST_SUITE_P(All, Passes, testing::Combine(testing::Bool(), testing::Bool()));

/* R'R = A'A, |Q'b| and the left-over norm, for any number of active processes, some of them with fewer rows than columns or none */
TEST(TSQR, MatchesNormalEquations)
{
  const int size = Size(), rank = Rank();
  for (int active = 1; active <= size; ++active) {
    const PetscInt      d = 4, rows = rank < active ? (rank == 1 ? 2 : 9 + rank) : 0;
    std::vector<double> a(rows * d), keep, b(rows), bb(2, 0.0), gram(d * d, 0.0), atb(d, 0.0);
    skean::RandomStream r(9, skean::Purpose::Test);
    for (PetscInt i = 0; i < rows; ++i) {
      b[i] = r.Normal(100 + i, rank);
      for (PetscInt j = 0; j < d; ++j) a[i + j * rows] = r.Normal(i, 100 * rank + j);
    }
    keep = a;
    for (PetscInt j = 0; j < d; ++j)
      for (PetscInt i = 0; i < rows; ++i) {
        atb[j] += keep[i + j * rows] * b[i];
        for (PetscInt k = 0; k < d; ++k) gram[k + j * d] += keep[i + k * rows] * keep[i + j * rows];
      }
    for (double e : b) bb[0] += e * e;
    ASSERT_PETSC(skean::AllreduceSum(PETSC_COMM_WORLD, gram.data(), gram.size()));
    ASSERT_PETSC(skean::AllreduceSum(PETSC_COMM_WORLD, atb.data(), atb.size()));
    ASSERT_PETSC(skean::AllreduceSum(PETSC_COMM_WORLD, bb.data(), bb.size()));
    skean::TSQR qr;
    ASSERT_PETSC(qr.Factor(PETSC_COMM_WORLD, rows, d, std::move(a), active));
    const auto &R = qr.R();
    for (PetscInt j = 0; j < d; ++j)
      for (PetscInt i = 0; i < d; ++i) {
        double s = 0;
        for (PetscInt k = 0; k < d; ++k) s += R[k + i * d] * R[k + j * d];
        EXPECT_NEAR(s, gram[i + j * d], 1e-12 * std::fabs(gram[j + j * d]) * d);
        if (i > j) { EXPECT_EQ(R[i + j * d], 0.0); }
      }
    std::vector<double> c(d);
    double              rho2;
    ASSERT_PETSC(qr.ApplyQT(b.data(), 1, c.data(), &rho2));
    double cc = 0;
    for (PetscInt j = 0; j < d; ++j) {
      double s = 0;
      for (PetscInt k = 0; k <= j; ++k) s += R[k + j * d] * c[k];
      EXPECT_NEAR(s, atb[j], 1e-12 * std::sqrt(bb[0] * gram[j + j * d])) << "R'Q'b = A'b";
      cc += c[j] * c[j];
    }
    EXPECT_NEAR(cc + rho2, bb[0], 1e-12 * bb[0]);
  }
}

/* Student's t has closed quantiles for one and two degrees of freedom, and tends to the normal distribution */
TEST(Student, KnownQuantiles)
{
  for (double p : {0.25, 0.025, 1e-4, 1e-8}) {
    EXPECT_NEAR(skean::StudentQuantile(p, 1) * std::tan(3.14159265358979323846 * p), 1.0, 1e-11);
    EXPECT_NEAR(skean::StudentQuantile(p, 2) * std::sqrt(2 * p * (1 - p)) / (1 - 2 * p), 1.0, 1e-11);
  }
  EXPECT_NEAR(skean::StudentQuantile(0.025, 1e8), 1.959963984540054, 1e-6);
  EXPECT_NEAR(skean::StudentQuantile(0.5, 7), 0.0, 1e-15);
}
