/* Twofold precision: the passes against 113-bit loops, sums over the processes, refined solutions and their error bounds against the exact ones */
#include "harness/lsproblems.hpp"
#include "harness/skeantest.hpp"
#include "reference/leastsquares.hpp"
#include "src/ksp/sketch/twofoldkernels.hpp"
#include <skean/private/reduce.hpp>
#include <skeanksp.h>
#include <cfloat>
#include <cmath>
#include <limits>

using namespace skeantest;
using reference::Quad;

namespace {
const double        U = DBL_EPSILON / 2;
skean::RandomStream Rnd(41, skean::Purpose::Test);

/* Powers of t in [1, 2]: condition number with unit columns about 1e9 for d = 9; sparse: every third row is empty */
double Power(PetscInt i, PetscInt j, bool sparse = false)
{
  const double t = 1 + (i + 0.5) / 210;
  double       p = 1;
  for (PetscInt k = 0; k < j; ++k) p *= t;
  return sparse && i % 3 == 1 ? 0.0 : p;
}
double Side(PetscInt i)
{
  return std::sin(0.7 * i) + 0.3 * Rnd.Normal(i, 777);
}
double Magnitude(Quad q)
{
  return std::fabs(static_cast<double>(q));
}

struct Fit {
  PetscInt n = 210, d = 9;
  bool     sparse = false, lopsided = false;
  Mat      A = nullptr;
  Vec      b = nullptr, x = nullptr;
  KSP      ksp = nullptr;

  PetscErrorCode Create(KSPSketchMethod method, KSPSketchExtraPrecise precise)
  {
    PetscFunctionBegin;
    PetscCall(MakeMatrix(
      PETSC_COMM_WORLD, n, d, !sparse,
      [&](PetscInt i, double *row) {
        for (PetscInt j = 0; j < d; ++j) row[j] = Power(i, j, sparse);
      },
      &A, lopsided));
    PetscCall(MakeVector(A, Side, &b));
    PetscCall(MatCreateVecs(A, &x, NULL));
    PetscCall(KSPCreate(PETSC_COMM_WORLD, &ksp));
    PetscCall(KSPSetType(ksp, KSPSKETCH));
    PetscCall(KSPSetOperators(ksp, A, A));
    PetscCall(KSPSketchSetMethod(ksp, method));
    PetscCall(KSPSketchSetExtraPrecise(ksp, precise));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode Destroy()
  {
    PetscFunctionBegin;
    PetscCall(KSPDestroy(&ksp));
    PetscCall(MatDestroy(&A));
    PetscCall(VecDestroy(&b));
    PetscCall(VecDestroy(&x));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* of [A; sqrt(lambda) I]; lambda a square of a double. Right-hand side c times Side() */
  std::vector<double> Exact(double lambda = 0, double c = 1) const
  {
    const PetscInt      rows = lambda > 0 ? n + d : n;
    std::vector<double> f(static_cast<size_t>(rows) * d, 0.0), s(rows, 0.0);
    for (PetscInt i = 0; i < n; ++i) {
      for (PetscInt j = 0; j < d; ++j) f[i + static_cast<size_t>(j) * rows] = Power(i, j, sparse);
      s[i] = c * Side(i);
    }
    for (PetscInt j = n; j < rows; ++j) f[j + static_cast<size_t>(j - n) * rows] = std::sqrt(lambda);
    return reference::ExactLeastSquares(rows, d, f, s);
  }
};
double WorstDigit(const std::vector<double> &x, const std::vector<double> &exact)
{
  double worst = 0;
  for (size_t j = 0; j < x.size(); ++j) worst = std::max(worst, std::fabs(x[j] - exact[j]) / std::fabs(exact[j]));
  return worst;
}
} // namespace

class TwofoldPass : public testing::TestWithParam<std::tuple<bool, bool>> {};

/* Every component within the bound that the certified error bounds rely on; residuals cancel to 1e-10 of b */
TEST_P(TwofoldPass, KeepsItsErrorBound)
{
  const bool sparse = std::get<0>(GetParam()), lopsided = std::get<1>(GetParam());
  for (const PetscInt n : {1, 37, 300}) {
    const PetscInt d = 5;
    const int      q = 2;
    const auto     a = [&](PetscInt i, PetscInt j) { return sparse && Rnd.Uniform(i, 1000 + j) > 0.5 ? 0.0 : Rnd.Normal(i, j); };
    Mat            A;
    PetscMPIInt    size;
    MPI_Comm_size(PETSC_COMM_WORLD, &size);
    ASSERT_PETSC(MakeMatrix(
      PETSC_COMM_WORLD, n, d, !sparse,
      [&](PetscInt i, double *row) {
        for (PetscInt j = 0; j < d; ++j) row[j] = a(i, j);
      },
      &A, lopsided));
    double X[d * q], Xlo[d * q];
    for (int e = 0; e < d * q; ++e) {
      X[e]   = std::pow(10.0, e % d) * std::sin(1.0 + e);
      Xlo[e] = 0.3 * U * X[e];
    }
    const auto b = [&](PetscInt i, int c) {
      double s = 1e-6 * Rnd.Normal(i, 50 + c);
      for (PetscInt j = 0; j < d; ++j) s += a(i, j) * X[j + c * d];
      return s;
    };
    skean::RowBlock block;
    ASSERT_PETSC(block.Open(A));
    const skean::RowView &v  = block.View();
    const size_t          ld = std::max<PetscInt>(1, v.nrows);
    std::vector<double>   B(ld * q), rr(q, 0.0);
    for (int c = 0; c < q; ++c)
      for (PetscInt i = 0; i < v.nrows; ++i) B[i + c * ld] = b(v.rstart + i, c);
    skean::TwofoldSum sum(d * q + q);
    skean::TwofoldResidualPass(v, B.data(), ld, X, Xlo, q, sum.Data(), rr.data());
    for (int c = 0; c < q; ++c) sum.Hi(d * q + c) = rr[c];
    ASSERT_PETSC(sum.Reduce(PETSC_COMM_WORLD, false, nullptr));
    const skean::TwofoldError e = skean::TwofoldResidualError(v, size);
    for (int c = 0; c < q; ++c) {
      Quad G[d] = {}, r2 = 0, b2 = 0, a2[d] = {};
      for (PetscInt i = 0; i < n; ++i) {
        const Quad bi = b(i, c);
        Quad       r  = bi;
        for (PetscInt j = 0; j < d; ++j) r -= static_cast<Quad>(a(i, j)) * (static_cast<Quad>(X[j + c * d]) + Xlo[j + c * d]);
        for (PetscInt j = 0; j < d; ++j) G[j] += r * a(i, j), a2[j] += static_cast<Quad>(a(i, j)) * a(i, j);
        r2 += r * r;
        b2 += bi * bi;
      }
      double ax = std::sqrt(static_cast<double>(b2));
      for (PetscInt j = 0; j < d; ++j) ax += std::sqrt(static_cast<double>(a2[j])) * std::fabs(X[j + c * d]);
      const double rn = std::sqrt(static_cast<double>(r2));
      EXPECT_NEAR(std::sqrt(sum.Hi(d * q + c)), rn, 1e-14 * rn + 1e-25 * ax);
      for (PetscInt j = 0; j < d; ++j)
        EXPECT_LE(Magnitude(G[j] - sum.Hi(j + c * d) - sum.Lo(j + c * d)), std::sqrt(static_cast<double>(a2[j])) * (e.forward * ax + e.backward * rn))
          << "n = " << n << ", column " << c << ", component " << j;
    }
    ASSERT_PETSC(block.Restore());
    ASSERT_PETSC(MatDestroy(&A));
  }
}
INSTANTIATE_TEST_SUITE_P(All, TwofoldPass, testing::Combine(testing::Bool(), testing::Bool()));

/* Large numbers of every process cancel, what is left is exact; flags and votes travel along */
TEST(TwofoldSum, SurvivesCancellation)
{
  PetscMPIInt rank, size;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  skean::TwofoldSum sum(2);
  bool              failed, agreed;
  sum.Hi(0) = rank == size - 1 ? -1e20 * (size - 1) : 1e20;
  sum.Lo(0) = rank + 0.25;
  sum.Hi(1) = 1.0;
  sum.Lo(1) = 1e-20;
  ASSERT_PETSC(sum.Reduce(PETSC_COMM_WORLD, rank == size - 1, &failed, true, &agreed));
  EXPECT_EQ(sum.Hi(0) + sum.Lo(0), size * (size - 1) / 2 + 0.25 * size);
  EXPECT_EQ(sum.Hi(1), size);
  EXPECT_NEAR(sum.Lo(1), 1e-20 * size, 1e-30);
  EXPECT_TRUE(failed);
  EXPECT_TRUE(agreed);
}

/* Condition 1e9, so that a backward stable solution keeps 5 to 7 digits: refined, every coordinate is right to working precision */
TEST(ExtraPrecise, ReachesWorkingPrecision)
{
  for (const bool sparse : {false, true})
    for (const bool lopsided : {false, true})
      for (KSPSketchMethod method : {KSP_SKETCH_ITERATIVE, KSP_SKETCH_TSQR}) {
        Fit                 p;
        std::vector<double> x;
        PetscReal           backward, condition;
        KSPConvergedReason  reason;
        p.sparse   = sparse;
        p.lopsided = lopsided;
        ASSERT_PETSC(p.Create(method, KSP_SKETCH_EXTRA_PRECISE_YES));
        ASSERT_PETSC(KSPSolve(p.ksp, p.b, p.x));
        ASSERT_PETSC(KSPGetConvergedReason(p.ksp, &reason));
        ASSERT_PETSC(KSPSketchGetBackwardError(p.ksp, &backward));
        ASSERT_PETSC(KSPSketchGetCondition(p.ksp, &condition));
        ASSERT_PETSC(Everything(p.x, x));
        EXPECT_GT(reason, 0);
        EXPECT_GE(condition, 1e8);
        EXPECT_LE(backward, 2 * U);
        EXPECT_LE(WorstDigit(x, p.Exact()), 2 * U) << (sparse ? "sparse " : "dense ") << KSPSketchMethods[method];
        ASSERT_PETSC(p.Destroy());
      }
}

/* The automatic choice refines this one too, as far as it is worth the passes, and never with `no` */
TEST(ExtraPrecise, AutomaticAndForbidden)
{
  double error[3];
  for (KSPSketchExtraPrecise precise : {KSP_SKETCH_EXTRA_PRECISE_AUTO, KSP_SKETCH_EXTRA_PRECISE_NO}) {
    Fit                   p;
    std::vector<double>   x;
    PetscInt              its;
    KSPSketchExtraPrecise get;
    ASSERT_PETSC(p.Create(KSP_SKETCH_TSQR, precise));
    ASSERT_PETSC(KSPSketchGetExtraPrecise(p.ksp, &get));
    EXPECT_EQ(get, precise);
    ASSERT_PETSC(KSPSolve(p.ksp, p.b, p.x));
    ASSERT_PETSC(KSPGetIterationNumber(p.ksp, &its));
    ASSERT_PETSC(Everything(p.x, x));
    error[precise] = WorstDigit(x, p.Exact());
    if (precise == KSP_SKETCH_EXTRA_PRECISE_NO) { EXPECT_LE(its, 4); }
    /* a well-conditioned problem is left alone */
    p.d = 2;
    ASSERT_PETSC(p.Destroy());
    ASSERT_PETSC(p.Create(KSP_SKETCH_TSQR, precise));
    ASSERT_PETSC(KSPSolve(p.ksp, p.b, p.x));
    ASSERT_PETSC(KSPGetIterationNumber(p.ksp, &its));
    EXPECT_LE(its, 3);
    ASSERT_PETSC(p.Destroy());
  }
  EXPECT_LE(error[KSP_SKETCH_EXTRA_PRECISE_AUTO], 1e-13);
  EXPECT_GT(error[KSP_SKETCH_EXTRA_PRECISE_NO], 1e-13);
}

TEST(ExtraPrecise, RidgeAndSeveralRightHandSides)
{
  const double        lambda = std::pow(2.0, -40); /* its root is exact; cond about 1e6 */
  Fit                 p;
  std::vector<double> x;
  ASSERT_PETSC(p.Create(KSP_SKETCH_ITERATIVE, KSP_SKETCH_EXTRA_PRECISE_YES));
  ASSERT_PETSC(KSPSketchSetRidge(p.ksp, lambda));
  ASSERT_PETSC(KSPSolve(p.ksp, p.b, p.x));
  ASSERT_PETSC(Everything(p.x, x));
  EXPECT_LE(WorstDigit(x, p.Exact(lambda)), 2 * U);
  ASSERT_PETSC(KSPSketchSetRidge(p.ksp, 0.0));
  /* columns Side, 2 Side, 0: powers of two, so that the exact solution scales */
  Mat                B, X;
  PetscInt           nl, dl;
  const PetscScalar *s;
  PetscScalar       *a;
  ASSERT_PETSC(MatGetLocalSize(p.A, &nl, &dl));
  ASSERT_PETSC(MatCreateDense(PETSC_COMM_WORLD, nl, PETSC_DECIDE, p.n, 3, NULL, &B));
  ASSERT_PETSC(MatCreateDense(PETSC_COMM_WORLD, dl, PETSC_DECIDE, p.d, 3, NULL, &X));
  ASSERT_PETSC(VecGetArrayRead(p.b, &s));
  ASSERT_PETSC(MatDenseGetArray(B, &a));
  for (int c = 0; c < 3; ++c)
    for (PetscInt i = 0; i < nl; ++i) a[i + static_cast<size_t>(c) * nl] = (c == 2 ? 0 : c + 1) * s[i];
  ASSERT_PETSC(MatDenseRestoreArray(B, &a));
  ASSERT_PETSC(VecRestoreArrayRead(p.b, &s));
  ASSERT_PETSC(MatAssemblyBegin(B, MAT_FINAL_ASSEMBLY));
  ASSERT_PETSC(MatAssemblyEnd(B, MAT_FINAL_ASSEMBLY));
  ASSERT_PETSC(KSPMatSolve(p.ksp, B, X));
  for (int c = 0; c < 3; ++c) {
    Vec col;
    ASSERT_PETSC(MatDenseGetColumnVecRead(X, c, &col));
    ASSERT_PETSC(Everything(col, x));
    ASSERT_PETSC(MatDenseRestoreColumnVecRead(X, c, &col));
    if (c < 2)
      EXPECT_LE(WorstDigit(x, p.Exact(0, c + 1)), 2 * U) << c;
    else
      for (double e : x) EXPECT_EQ(e, 0.0);
  }
  ASSERT_PETSC(MatDestroy(&B));
  ASSERT_PETSC(MatDestroy(&X));
  ASSERT_PETSC(p.Destroy());
}

/* Certified bounds at cond 1e9: the rigorous allowance (kappa u)^2 for the twofold sums is what is left after refinement; beyond what double precision can
   certify they are infinite */
TEST(ExtraPrecise, BoundsFollowTheAccuracy)
{
  for (const bool sparse : {false, true})
    for (KSPSketchExtraPrecise precise : {KSP_SKETCH_EXTRA_PRECISE_YES, KSP_SKETCH_EXTRA_PRECISE_NO}) {
      Fit                 p;
      Vec                 bounds;
      std::vector<double> x, e;
      p.sparse = sparse;
      ASSERT_PETSC(p.Create(KSP_SKETCH_ITERATIVE, precise));
      ASSERT_PETSC(KSPSketchSetErrorBounds(p.ksp, 1e-3));
      ASSERT_PETSC(VecDuplicate(p.x, &bounds));
      ASSERT_PETSC(KSPSolve(p.ksp, p.b, p.x));
      ASSERT_PETSC(KSPSketchGetErrorBounds(p.ksp, bounds, NULL));
      ASSERT_PETSC(Everything(p.x, x));
      ASSERT_PETSC(Everything(bounds, e));
      const std::vector<double> exact = p.Exact();
      for (PetscInt j = 0; j < p.d; ++j) {
        EXPECT_LE(std::fabs(x[j] - exact[j]), e[j] + U * std::fabs(exact[j])); /* the reference is rounded, too */
        EXPECT_LE(e[j], (precise == KSP_SKETCH_EXTRA_PRECISE_YES ? 1e-11 : 1e-2) * std::fabs(exact[j])) << j;
      }
      ASSERT_PETSC(VecDestroy(&bounds));
      ASSERT_PETSC(p.Destroy());
    }
  Fit                 p;
  Vec                 bounds;
  std::vector<double> e;
  p.d = 14;
  ASSERT_PETSC(p.Create(KSP_SKETCH_TSQR, KSP_SKETCH_EXTRA_PRECISE_AUTO));
  ASSERT_PETSC(KSPSketchSetErrorBounds(p.ksp, 1e-3));
  ASSERT_PETSC(VecDuplicate(p.x, &bounds));
  ASSERT_PETSC(KSPSolve(p.ksp, p.b, p.x));
  ASSERT_PETSC(KSPSketchGetErrorBounds(p.ksp, bounds, NULL));
  ASSERT_PETSC(Everything(bounds, e));
  for (double v : e) EXPECT_EQ(v, std::numeric_limits<double>::infinity());
  ASSERT_PETSC(VecDestroy(&bounds));
  ASSERT_PETSC(p.Destroy());
}

TEST(ExtraPrecise, RefusesWhatItCannotDo)
{
  Fit         p;
  std::string message;
  ASSERT_PETSC(p.Create(KSP_SKETCH_SKETCHANDSOLVE, KSP_SKETCH_EXTRA_PRECISE_YES));
  EXPECT_EQ(ErrorOf([&] { return KSPSolve(p.ksp, p.b, p.x); }, &message), PETSC_ERR_SUP);
  EXPECT_NE(message.find("extra_precise"), std::string::npos) << message;
  EXPECT_EQ(ErrorOf([&] { return KSPSketchSetExtraPrecise(p.ksp, static_cast<KSPSketchExtraPrecise>(7)); }), PETSC_ERR_ARG_OUTOFRANGE);
  ASSERT_PETSC(p.Destroy());
  p.n = 6; /* fewer rows than columns */
  ASSERT_PETSC(p.Create(KSP_SKETCH_AUTO, KSP_SKETCH_EXTRA_PRECISE_YES));
  EXPECT_EQ(ErrorOf([&] { return KSPSolve(p.ksp, p.b, p.x); }, &message), PETSC_ERR_SUP);
  EXPECT_NE(message.find("underdetermined"), std::string::npos) << message;
  ASSERT_PETSC(KSPSketchSetExtraPrecise(p.ksp, KSP_SKETCH_EXTRA_PRECISE_AUTO));
  ASSERT_PETSC(KSPSolve(p.ksp, p.b, p.x));
  ASSERT_PETSC(p.Destroy());
}
