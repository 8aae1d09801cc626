/* PC type sketch under KSPLSQR and KSPCG */
#include "harness/lsproblems.hpp"
#include "harness/skeantest.hpp"
#include "reference/leastsquares.hpp"

using namespace skeantest;

namespace {
skean::RandomStream Rnd(41, skean::Purpose::Test);
const PetscInt      N = 240, D = 8;
double              Entry(PetscInt i, PetscInt j)
{
  return Rnd.Normal(i, j) * std::pow(10.0, -j / 2.0);
}
double Side(PetscInt i)
{
  return std::cos(0.3 * i) + 0.2 * Rnd.Normal(i, 99);
}

std::vector<double> Reference(double factor = 1.0)
{
  std::vector<double> A(N * D), b(N);
  for (PetscInt i = 0; i < N; ++i) {
    b[i] = Side(i);
    for (PetscInt j = 0; j < D; ++j) A[i + j * N] = factor * Entry(i, j);
  }
  return reference::LeastSquares(N, D, A, b);
}
double Distance(const std::vector<double> &x, const std::vector<double> &y)
{
  double s = 0, t = 0;
  for (size_t i = 0; i < x.size(); ++i) s += (x[i] - y[i]) * (x[i] - y[i]), t += y[i] * y[i];
  return std::sqrt(s / t);
}
} // namespace

class Preconditioned : public testing::TestWithParam<std::tuple<int, bool, bool>> {};

/* Pmat: 0 the rectangular A, 1 MATNORMAL, 2 the explicit product A'A */
TEST_P(Preconditioned, LSQR)
{
  const int  pmat  = std::get<0>(GetParam());
  const bool dense = std::get<1>(GetParam()), lopsided = std::get<2>(GetParam());
  Mat        A, P;
  Vec        b, x;
  KSP        ksp;
  PC         pc;
  ASSERT_PETSC(MakeMatrix(
    PETSC_COMM_WORLD, N, D, dense,
    [](PetscInt i, double *a) {
      for (PetscInt j = 0; j < D; ++j) a[j] = Entry(i, j);
    },
    &A, lopsided));
  ASSERT_PETSC(MakeVector(A, Side, &b));
  ASSERT_PETSC(MatCreateVecs(A, &x, NULL));
  if (pmat == 0) {
    P = A;
    ASSERT_PETSC(PetscObjectReference((PetscObject)A));
  } else if (pmat == 1)
    ASSERT_PETSC(MatCreateNormal(A, &P));
  else
    ASSERT_PETSC(MatTransposeMatMult(A, A, MAT_INITIAL_MATRIX, PETSC_DEFAULT, &P));
  ASSERT_PETSC(KSPCreate(PETSC_COMM_WORLD, &ksp));
  ASSERT_PETSC(KSPSetType(ksp, KSPLSQR));
  ASSERT_PETSC(KSPGetPC(ksp, &pc));
  ASSERT_PETSC(PCSetType(pc, PCSKETCH));
  ASSERT_PETSC(KSPSetOperators(ksp, A, P));
  ASSERT_PETSC(KSPSetTolerances(ksp, 1e-13, 1e-13, PETSC_DEFAULT, 200));
  ASSERT_PETSC(KSPSolve(ksp, b, x));
  PetscInt its;
  ASSERT_PETSC(KSPGetIterationNumber(ksp, &its));
  EXPECT_LT(its, 60) << "without a preconditioner the condition number is 3e3";
  std::vector<double> all;
  ASSERT_PETSC(Everything(x, all));
  EXPECT_LT(Distance(all, Reference()), 1e-9);
  /* new values in A, behind an unchanged MATNORMAL too; for the explicit product the user renews it */
  ASSERT_PETSC(MatScale(A, 3.0));
  if (pmat == 2) ASSERT_PETSC(MatScale(P, 9.0));
  ASSERT_PETSC(KSPSolve(ksp, b, x));
  ASSERT_PETSC(Everything(x, all));
  EXPECT_LT(Distance(all, Reference(3.0)), 1e-9);
  ASSERT_PETSC(KSPDestroy(&ksp));
  ASSERT_PETSC(MatDestroy(&A));
  ASSERT_PETSC(MatDestroy(&P));
  ASSERT_PETSC(VecDestroy(&b));
  ASSERT_PETSC(VecDestroy(&x));
}
INSTANTIATE_TEST_SUITE_P(All, Preconditioned, testing::Combine(testing::Values(0, 1, 2), testing::Bool(), testing::Bool()));

/* CG on A'A with the preconditioner on the left and as symmetric halves; N'A'A N is near the identity */
TEST(PCSketch, HalvesTransposeAndColumns)
{
  Mat A, M, X, Y;
  Vec b, x, g, y, z;
  PC  pc;
  ASSERT_PETSC(MakeMatrix(
    PETSC_COMM_WORLD, N, D, false,
    [](PetscInt i, double *a) {
      for (PetscInt j = 0; j < D; ++j) a[j] = Entry(i, j);
    },
    &A));
  ASSERT_PETSC(MakeVector(A, Side, &b));
  ASSERT_PETSC(MatCreateVecs(A, &x, NULL));
  ASSERT_PETSC(VecDuplicate(x, &g));
  ASSERT_PETSC(VecDuplicate(x, &y));
  ASSERT_PETSC(VecDuplicate(x, &z));
  ASSERT_PETSC(MatCreateNormal(A, &M));
  ASSERT_PETSC(MatMultTranspose(A, b, g));
  const std::vector<double> ref = Reference();
  std::vector<double>       all;
  for (PCSide side : {PC_LEFT, PC_SYMMETRIC}) {
    KSP      ksp;
    PetscInt its;
    ASSERT_PETSC(KSPCreate(PETSC_COMM_WORLD, &ksp));
    ASSERT_PETSC(KSPSetType(ksp, side == PC_LEFT ? KSPCG : KSPGMRES));
    ASSERT_PETSC(KSPSetPCSide(ksp, side));
    ASSERT_PETSC(KSPGetPC(ksp, &pc));
    ASSERT_PETSC(PCSetType(pc, PCSKETCH));
    ASSERT_PETSC(KSPSetOperators(ksp, M, M));
    ASSERT_PETSC(KSPSetTolerances(ksp, 1e-14, 1e-50, PETSC_DEFAULT, 100));
    ASSERT_PETSC(KSPSolve(ksp, g, x));
    ASSERT_PETSC(KSPGetIterationNumber(ksp, &its));
    EXPECT_LT(its, 45);
    ASSERT_PETSC(Everything(x, all));
    EXPECT_LT(Distance(all, ref), 1e-8);
    ASSERT_PETSC(KSPDestroy(&ksp));
  }
  ASSERT_PETSC(PCCreate(PETSC_COMM_WORLD, &pc));
  ASSERT_PETSC(PCSetType(pc, PCSKETCH));
  ASSERT_PETSC(PCSetOperators(pc, M, M));
  ASSERT_PETSC(PCSetUp(pc));
  ASSERT_PETSC(PCApplySymmetricLeft(pc, g, y));
  ASSERT_PETSC(PCApplySymmetricRight(pc, y, z));
  ASSERT_PETSC(PCApply(pc, g, y));
  ASSERT_PETSC(Everything(z, all));
  std::vector<double> whole;
  ASSERT_PETSC(Everything(y, whole));
  EXPECT_LT(Distance(all, whole), 1e-14) << "right after left is the whole";
  ASSERT_PETSC(PCApplyTranspose(pc, g, z));
  ASSERT_PETSC(Everything(z, all));
  EXPECT_LT(Distance(all, whole), 1e-15);
  PetscInt dl;
  ASSERT_PETSC(VecGetLocalSize(x, &dl));
  ASSERT_PETSC(MatCreateDense(PETSC_COMM_WORLD, dl, PETSC_DECIDE, D, 3, NULL, &X));
  ASSERT_PETSC(MatDuplicate(X, MAT_DO_NOT_COPY_VALUES, &Y));
  for (PetscInt j = 0; j < 3; ++j) {
    Vec c;
    ASSERT_PETSC(MatDenseGetColumnVecWrite(X, j, &c));
    ASSERT_PETSC(VecCopy(g, c));
    ASSERT_PETSC(VecScale(c, 1.0 + j));
    ASSERT_PETSC(MatDenseRestoreColumnVecWrite(X, j, &c));
  }
  ASSERT_PETSC(PCMatApply(pc, X, Y));
  for (PetscInt j = 0; j < 3; ++j) {
    Vec c;
    ASSERT_PETSC(MatDenseGetColumnVecRead(Y, j, &c));
    ASSERT_PETSC(Everything(c, all));
    ASSERT_PETSC(MatDenseRestoreColumnVecRead(Y, j, &c));
    for (double &e : all) e /= 1.0 + j;
    EXPECT_LT(Distance(all, whole), 1e-13);
  }
  PetscInt rank;
  ASSERT_PETSC(PCSketchGetRank(pc, &rank));
  EXPECT_EQ(rank, D);
  EXPECT_EQ(ErrorOf([&] { return PCSketchSetRidge(pc, -1.0); }), PETSC_ERR_ARG_OUTOFRANGE);
  ASSERT_PETSC(PCDestroy(&pc));
  for (Mat *m : {&A, &M, &X, &Y}) ASSERT_PETSC(MatDestroy(m));
  for (Vec *v : {&b, &x, &g, &y, &z}) ASSERT_PETSC(VecDestroy(v));
}

/*
   CountSketch on a coherent block with a little noise: in most draws two of its rows meet, and the sketch is poor without being singular.
   It is drawn again, in the same draws on every number of processes, so that LSQR needs no more steps than with a good sketch.
*/
TEST(PCSketch, PoorSketchesAreReplaced)
{
  const PetscInt n = 512, d = 8;
  const auto     row = [](PetscInt i, double *a) {
    for (PetscInt j = 0; j < 8; ++j) a[j] = (i == j ? 1.0 : 0.0) + 1e-4 * Rnd.Normal(i, j);
  };
  PetscInt redrawn = 0;
  for (SkeanSeed seed = 1; seed <= 10; ++seed) {
    PetscInt            draw[2], its[2];
    std::vector<double> all[2];
    for (int alone = 0; alone < 2; ++alone) {
      const MPI_Comm comm = alone ? PETSC_COMM_SELF : PETSC_COMM_WORLD;
      SkeanSketch    sketch;
      Mat            A;
      Vec            b, x;
      KSP            ksp;
      PC             pc;
      ASSERT_PETSC(MakeMatrix(comm, n, d, true, row, &A, true));
      ASSERT_PETSC(MakeVector(A, Side, &b));
      ASSERT_PETSC(MatCreateVecs(A, &x, NULL));
      ASSERT_PETSC(KSPCreate(comm, &ksp));
      ASSERT_PETSC(KSPSetType(ksp, KSPLSQR));
      ASSERT_PETSC(KSPGetPC(ksp, &pc));
      ASSERT_PETSC(PCSetType(pc, PCSKETCH));
      ASSERT_PETSC(PCSketchGetSketch(pc, &sketch));
      ASSERT_PETSC(SkeanSketchSetType(sketch, SKEANSKETCHCOUNTSKETCH));
      ASSERT_PETSC(SkeanSketchSetSeed(sketch, seed));
      ASSERT_PETSC(SkeanSketchSetFactor(sketch, 4.0));
      ASSERT_PETSC(KSPSetOperators(ksp, A, A));
      ASSERT_PETSC(KSPSetTolerances(ksp, 1e-13, 1e-13, PETSC_DEFAULT, 200));
      ASSERT_PETSC(KSPSolve(ksp, b, x));
      ASSERT_PETSC(SkeanSketchGetDraw(sketch, &draw[alone]));
      ASSERT_PETSC(KSPGetIterationNumber(ksp, &its[alone]));
      ASSERT_PETSC(Everything(x, all[alone]));
      ASSERT_PETSC(KSPDestroy(&ksp));
      ASSERT_PETSC(MatDestroy(&A));
      ASSERT_PETSC(VecDestroy(&b));
      ASSERT_PETSC(VecDestroy(&x));
    }
    EXPECT_EQ(draw[0], draw[1]) << seed;
    EXPECT_LT(draw[0], 5);
    EXPECT_LT(Distance(all[0], all[1]), 1e-10);
    EXPECT_LE(its[0], 20) << seed;
    if (draw[0] > 0) redrawn++;
  }
  EXPECT_GE(redrawn, 2); /* 6 of 10 are expected */
}

TEST(PCSketch, FailureIsAReason)
{
  Mat A;
  Vec b, x;
  KSP ksp;
  PC  pc;
  ASSERT_PETSC(MakeMatrix(
    PETSC_COMM_WORLD, N, D, true,
    [](PetscInt i, double *a) {
      for (PetscInt j = 0; j < D; ++j) a[j] = i == 100 ? std::nan("") : Entry(i, j);
    },
    &A));
  ASSERT_PETSC(MakeVector(A, Side, &b));
  ASSERT_PETSC(MatCreateVecs(A, &x, NULL));
  ASSERT_PETSC(KSPCreate(PETSC_COMM_WORLD, &ksp));
  ASSERT_PETSC(KSPSetType(ksp, KSPLSQR));
  ASSERT_PETSC(KSPGetPC(ksp, &pc));
  ASSERT_PETSC(PCSetType(pc, PCSKETCH));
  ASSERT_PETSC(KSPSetOperators(ksp, A, A));
  ASSERT_PETSC(KSPSolve(ksp, b, x));
  KSPConvergedReason reason;
  ASSERT_PETSC(KSPGetConvergedReason(ksp, &reason));
  EXPECT_EQ(reason, KSP_DIVERGED_PC_FAILED);
  ASSERT_PETSC(KSPDestroy(&ksp));
  ASSERT_PETSC(MatDestroy(&A));
  ASSERT_PETSC(VecDestroy(&b));
  ASSERT_PETSC(VecDestroy(&x));
}

/* CountSketch with about as many rows as columns loses a unit row in every draw: a reason of the solver, KSPLSQR as well as KSPSKETCH, or an error where the user wants one */
TEST(PCSketch, LostDirectionIsAReason)
{
  const PetscInt n = 24, d = 20;
  Mat            A;
  Vec            b, x;
  ASSERT_PETSC(MakeMatrix(
    PETSC_COMM_WORLD, n, d, false,
    [&](PetscInt i, double *a) {
      for (PetscInt j = 0; j < d; ++j) a[j] = i == j ? 1.0 : 0.0;
    },
    &A));
  ASSERT_PETSC(MakeVector(A, Side, &b));
  ASSERT_PETSC(MatCreateVecs(A, &x, NULL));
  for (const char *type : {KSPLSQR, KSPSKETCH})
    for (const bool error : {false, true}) {
      KSP                ksp;
      PC                 pc;
      SkeanSketch        sketch;
      KSPConvergedReason reason;
      ASSERT_PETSC(KSPCreate(PETSC_COMM_WORLD, &ksp));
      ASSERT_PETSC(KSPSetType(ksp, type));
      ASSERT_PETSC(KSPGetPC(ksp, &pc));
      if (std::string(type) == KSPLSQR) {
        ASSERT_PETSC(PCSetType(pc, PCSKETCH));
        ASSERT_PETSC(PCSketchGetSketch(pc, &sketch));
      } else {
        ASSERT_PETSC(KSPSketchSetMethod(ksp, KSP_SKETCH_ITERATIVE));
        ASSERT_PETSC(KSPSketchGetSketch(ksp, &sketch));
      }
      ASSERT_PETSC(SkeanSketchSetType(sketch, SKEANSKETCHCOUNTSKETCH));
      ASSERT_PETSC(SkeanSketchSetSizes(sketch, d, PETSC_DETERMINE));
      ASSERT_PETSC(KSPSetOperators(ksp, A, A));
      ASSERT_PETSC(KSPSetErrorIfNotConverged(ksp, error ? PETSC_TRUE : PETSC_FALSE));
      if (error) {
        EXPECT_EQ(ErrorOf([&] { return KSPSolve(ksp, b, x); }), PETSC_ERR_NOT_CONVERGED) << type;
      } else {
        ASSERT_PETSC(KSPSolve(ksp, b, x));
        ASSERT_PETSC(KSPGetConvergedReason(ksp, &reason));
        EXPECT_EQ(reason, KSP_DIVERGED_PC_FAILED) << type;
        /* with a sketch that keeps the directions the same solver converges */
        ASSERT_PETSC(SkeanSketchSetType(sketch, SKEANSKETCHGAUSSIAN));
        if (std::string(type) == KSPLSQR)
          ASSERT_PETSC(PCSketchSetSketch(pc, sketch));
        else
          ASSERT_PETSC(KSPSketchSetSketch(ksp, sketch));
        ASSERT_PETSC(KSPSolve(ksp, b, x));
        ASSERT_PETSC(KSPGetConvergedReason(ksp, &reason));
        EXPECT_GT(reason, 0) << type;
      }
      ASSERT_PETSC(KSPDestroy(&ksp));
    }
  ASSERT_PETSC(MatDestroy(&A));
  ASSERT_PETSC(VecDestroy(&b));
  ASSERT_PETSC(VecDestroy(&x));
}
