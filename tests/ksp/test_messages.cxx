/* What is communicated, counted through MPI's profiling interface: the promises of SkeanSketchApply() and KSPSKETCH */
#include "harness/lsproblems.hpp"
#include "harness/skeantest.hpp"
#include "harness/mpicount/mpicount.hpp"

using skeantest::CountsAreExact;
using skeantest::MessageCounter;
using skeantest::Size;

namespace {
PetscErrorCode Problem(PetscInt n, PetscInt d, bool dense, Mat *A, Vec *b)
{
  const skean::RandomStream rnd(61, skean::Purpose::Test);

  PetscFunctionBegin;
  PetscCall(skeantest::MakeMatrix(
    PETSC_COMM_WORLD, n, d, dense,
    [&](PetscInt i, double *row) {
      for (PetscInt j = 0; j < d; ++j) row[j] = dense || (i + j) % 3 == 0 ? rnd.Normal(i, j) : 0.0;
    },
    A));
  PetscCall(skeantest::MakeVector(
    *A, [&](PetscInt i) { return rnd.Normal(i, 1000); }, b));
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

class Messages : public testing::TestWithParam<bool> {};

/* Every oblivious type; a matrix, then a vector */
TEST_P(Messages, ASketchIsOneSumWhateverTheRows)
{
  const PetscInt d = 7, m = 40;
  for (const char *type : {SKEANSKETCHSPARSESIGN, SKEANSKETCHSPARSESTACK, SKEANSKETCHCOUNTSKETCH, SKEANSKETCHGAUSSIAN, SKEANSKETCHSRHT, SKEANSKETCHSRCT,
                           SKEANSKETCHBLOCKSRHT, SKEANSKETCHPOOLED})
    for (const PetscInt n : {300, 1200}) {
      Mat                 A;
      Vec                 b;
      SkeanSketch         sketch;
      std::vector<double> SA(m * d);
      ASSERT_PETSC(Problem(n, d, GetParam(), &A, &b));
      ASSERT_PETSC(SkeanSketchCreate(PETSC_COMM_WORLD, &sketch));
      ASSERT_PETSC(SkeanSketchSetType(sketch, type));
      ASSERT_PETSC(SkeanSketchSetSizes(sketch, m, n));
      ASSERT_PETSC(SkeanSketchSetUp(sketch));
      for (const bool vector : {false, true}) {
        SCOPED_TRACE(std::string(type) + (vector ? " of a vector" : " of a matrix"));
        MessageCounter c;
        c.Start();
        const PetscErrorCode ierr = vector ? SkeanSketchApplyVec(sketch, b, SA.data()) : SkeanSketchApply(sketch, A, SA.data());
        c.Stop();
        ASSERT_PETSC(ierr);
        EXPECT_EQ(c.PointToPoint() + c.OneSided(), 0) << c.Report();
        if (Size() == 1) {
          EXPECT_EQ(c.Messages(), 0) << c.Report();
        } else if (CountsAreExact()) {
          EXPECT_EQ(c.Calls("Allreduce"), 1) << c.Report();
          EXPECT_EQ(c.Collectives(), 1) << c.Report();
          EXPECT_EQ(c.Bytes(), 8 * m * (vector ? 1 : d)) << c.Report();
        } else {
          EXPECT_GE(c.Calls("Allreduce"), 1) << c.Report();
        }
      }
      ASSERT_PETSC(SkeanSketchDestroy(&sketch));
      ASSERT_PETSC(MatDestroy(&A));
      ASSERT_PETSC(VecDestroy(&b));
    }
}

/* Two solves of each of two sizes, one stopped early: what the additional passes communicate, and that the rest does not depend on n */
class Passes : public testing::TestWithParam<std::tuple<bool, KSPSketchInner>> {};

TEST_P(Passes, APassIsOneSum)
{
  const PetscInt d = 24, m = 12 * d;
  const auto     inner    = std::get<1>(GetParam());
  std::int64_t   fixed[2] = {0, 0}, fixedbytes[2] = {0, 0};
  for (int size = 0; size < 2; ++size) {
    const PetscInt n = size ? 1600 : 400;
    Mat            A;
    Vec            b, x;
    PetscInt       passes[2];
    std::int64_t   sums[2], bytes[2];
    ASSERT_PETSC(Problem(n, d, std::get<0>(GetParam()), &A, &b));
    ASSERT_PETSC(MatCreateVecs(A, &x, NULL));
    for (int full = 0; full < 2; ++full) {
      KSP                ksp;
      KSPConvergedReason reason;
      MessageCounter     c;
      ASSERT_PETSC(KSPCreate(PETSC_COMM_WORLD, &ksp));
      ASSERT_PETSC(KSPSetType(ksp, KSPSKETCH));
      ASSERT_PETSC(KSPSetOperators(ksp, A, A));
      ASSERT_PETSC(KSPSketchSetMethod(ksp, KSP_SKETCH_ITERATIVE));
      ASSERT_PETSC(KSPSketchSetInner(ksp, inner));
      if (!full) ASSERT_PETSC(KSPSetTolerances(ksp, PETSC_DEFAULT, PETSC_DEFAULT, PETSC_DEFAULT, 8));
      ASSERT_PETSC(KSPSetUp(ksp));
      c.Start();
      const PetscErrorCode ierr = KSPSolve(ksp, b, x);
      c.Stop();
      ASSERT_PETSC(ierr);
      ASSERT_PETSC(KSPGetConvergedReason(ksp, &reason));
      ASSERT_PETSC(KSPGetIterationNumber(ksp, &passes[full]));
      if (full) { EXPECT_GT(reason, 0); }
      sums[full]  = c.Calls("Allreduce");
      bytes[full] = c.Bytes("Allreduce");
      if (CountsAreExact()) {
        /* one sum of S A; process 0's choice and its verdict after each refinement: at most 6 refinements and the first residual; after each loop of
           heavy ball, whether it diverged */
        EXPECT_EQ(c.Calls("Reduce_scatter"), Size() > 1 ? 1 : 0) << c.Report();
        EXPECT_EQ(c.Bytes("Reduce_scatter"), Size() > 1 ? 8 * m * d : 0) << c.Report();
        EXPECT_LE(c.Collectives() - c.Calls("Allreduce"), 1 + 1 + 7 + (inner == KSP_SKETCH_HEAVYBALL ? 6 : 0)) << c.Report();
        EXPECT_LE(c.CollectiveBytes() - c.Bytes("Allreduce") - c.Bytes("Reduce_scatter"), 8 * (d * d + 2 * 7 + 2)) << c.Report();
        /* the tree of TSQR */
        EXPECT_LE(c.PointToPointBytes(), 8 * 2 * Size() * (d * d + d)) << c.Report();
      }
      ASSERT_PETSC(KSPDestroy(&ksp));
    }
    ASSERT_TRUE(passes[1] > passes[0]) << "the solve stopped early made as many passes: " << passes[0];
    if (CountsAreExact()) {
      /* a pass: A'A N p or the residual's A'r, one more number, and the two flags that travel with every sum */
      const std::int64_t more = Size() > 1 ? passes[1] - passes[0] : 0;
      EXPECT_EQ(sums[1] - sums[0], more);
      EXPECT_EQ(bytes[1] - bytes[0], more * 8 * (d + 3));
      fixed[size]      = sums[1] - (Size() > 1 ? passes[1] : 0);
      fixedbytes[size] = bytes[1] - (Size() > 1 ? passes[1] * 8 * (d + 3) : 0);
      EXPECT_LE(fixed[size], 4); /* column norms, the probe of the sketch, S b, |S r| */
    }
    ASSERT_PETSC(MatDestroy(&A));
    ASSERT_PETSC(VecDestroy(&b));
    ASSERT_PETSC(VecDestroy(&x));
  }
  EXPECT_EQ(fixed[0], fixed[1]);
  EXPECT_EQ(fixedbytes[0], fixedbytes[1]);
}

INSTANTIATE_TEST_SUITE_P(Storage, Messages, testing::Bool(), [](const auto &p) { return p.param ? "dense" : "sparse"; });
INSTANTIATE_TEST_SUITE_P(Storage, Passes, testing::Combine(testing::Bool(), testing::Values(KSP_SKETCH_CG, KSP_SKETCH_HEAVYBALL, KSP_SKETCH_LSQR)),
                         [](const auto &p) { return std::string(std::get<0>(p.param) ? "dense_" : "sparse_") + KSPSketchInners[std::get<1>(p.param)]; });
