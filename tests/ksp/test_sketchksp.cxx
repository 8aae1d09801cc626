/* KSP type sketch against LAPACK, across processes, and on every degenerate input */
#include "harness/lsproblems.hpp"
#include "harness/skeantest.hpp"
#include "reference/leastsquares.hpp"
#include <skean/private/lapack.hpp>
#include <cfloat>
#include <limits>

using namespace skeantest;

namespace {
const double U = DBL_EPSILON / 2;

/* A least-squares problem held as a function, distributed, and whole on every process */
struct Problem {
  PetscInt                                  n, d;
  std::function<double(PetscInt, PetscInt)> a;
  std::function<double(PetscInt)>           b;
  bool                                      dense = true, lopsided = false;
  Mat                                       A   = nullptr;
  Vec                                       rhs = nullptr, x = nullptr;
  KSP                                       ksp = nullptr;

  PetscErrorCode Create(MPI_Comm comm = PETSC_COMM_WORLD)
  {
    PetscFunctionBegin;
    PetscCall(MakeMatrix(
      comm, n, d, dense,
      [&](PetscInt i, double *row) {
        for (PetscInt j = 0; j < d; ++j) row[j] = a(i, j);
      },
      &A, lopsided));
    PetscCall(MakeVector(A, b, &rhs));
    PetscCall(MatCreateVecs(A, &x, NULL));
    PetscCall(KSPCreate(comm, &ksp));
    PetscCall(KSPSetType(ksp, KSPSKETCH));
    PetscCall(KSPSetOperators(ksp, A, A));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode Destroy()
  {
    PetscFunctionBegin;
    PetscCall(KSPDestroy(&ksp));
    PetscCall(MatDestroy(&A));
    PetscCall(VecDestroy(&rhs));
    PetscCall(VecDestroy(&x));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  std::vector<double> FullA() const
  {
    std::vector<double> f(static_cast<size_t>(n) * d);
    for (PetscInt j = 0; j < d; ++j)
      for (PetscInt i = 0; i < n; ++i) f[i + static_cast<size_t>(j) * n] = a(i, j);
    return f;
  }
  std::vector<double> FullB() const
  {
    std::vector<double> f(n);
    for (PetscInt i = 0; i < n; ++i) f[i] = b(i);
    return f;
  }
  std::vector<double> Reference() const { return reference::LeastSquares(n, d, FullA(), FullB()); }
};

double Distance(const std::vector<double> &x, const std::vector<double> &y)
{
  double s = 0;
  for (size_t i = 0; i < x.size(); ++i) s += (x[i] - y[i]) * (x[i] - y[i]);
  return std::sqrt(s);
}
double Length(const std::vector<double> &x)
{
  return Distance(x, std::vector<double>(x.size(), 0.0));
}

skean::RandomStream Rnd(31, skean::Purpose::Test);
double              Gauss(PetscInt i, PetscInt j)
{
  return Rnd.Normal(i, j);
}
double Sparse(PetscInt i, PetscInt j)
{
  return Rnd.Uniform(i, 5000 + j) < 0.15 || j == i % 17 ? Rnd.Normal(i, j) : 0.0;
}
double Side(PetscInt i)
{
  return std::sin(0.7 * i) + 0.3 * Rnd.Normal(i, 777);
}

KSPConvergedReason Reason(KSP ksp)
{
  KSPConvergedReason r = KSP_CONVERGED_ITERATING;
  KSPGetConvergedReason(ksp, &r);
  return r;
}
double Backward(KSP ksp)
{
  PetscReal e = -2;
  KSPSketchGetBackwardError(ksp, &e);
  return e;
}
} // namespace

/* Every method and inner iteration, dense and sparse, even and lopsided distributions */
struct Variant {
  KSPSketchMethod method;
  KSPSketchInner  inner;
};
class Methods : public testing::TestWithParam<std::tuple<Variant, bool, bool>> {};

TEST_P(Methods, MatchLAPACK)
{
  const Variant v = std::get<0>(GetParam());
  Problem       p{301, 13, std::get<1>(GetParam()) ? Gauss : Sparse, Side, std::get<1>(GetParam()), std::get<2>(GetParam())};
  ASSERT_PETSC(p.Create());
  ASSERT_PETSC(KSPSketchSetMethod(p.ksp, v.method));
  ASSERT_PETSC(KSPSketchSetInner(p.ksp, v.inner));
  ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
  std::vector<double> x, ref = p.Reference();
  ASSERT_PETSC(Everything(p.x, x));
  EXPECT_EQ(Reason(p.ksp), KSP_CONVERGED_RTOL);
  EXPECT_LE(Backward(p.ksp), 10 * U);
  EXPECT_LT(Distance(x, ref), 1e-13 * Length(ref));
  KSPSketchMethod used;
  ASSERT_PETSC(KSPSketchGetMethodUsed(p.ksp, &used));
  if (v.method != KSP_SKETCH_AUTO) { EXPECT_EQ(used, v.method); }
  PetscReal rnorm;
  ASSERT_PETSC(KSPGetResidualNorm(p.ksp, &rnorm));
  double rr = 0;
  for (PetscInt i = 0; i < p.n; ++i) {
    double r = p.b(i);
    for (PetscInt j = 0; j < p.d; ++j) r -= p.a(i, j) * ref[j];
    rr += r * r;
  }
  EXPECT_NEAR(rnorm, std::sqrt(rr), 1e-13 * std::sqrt(rr));
  ASSERT_PETSC(p.Destroy());
}
/* What a monitor of PETSc sees at every pass: the residual and the solution of that pass, not those before the solve */
struct Seen {
  std::vector<double> residual, given, solution;
};
static PetscErrorCode See(KSP ksp, PetscInt, PetscReal rnorm, void *ctx)
{
  Seen     *seen = static_cast<Seen *>(ctx);
  Vec       r, x;
  PetscReal norm;

  PetscFunctionBegin;
  PetscCall(KSPBuildResidual(ksp, NULL, NULL, &r));
  PetscCall(VecNorm(r, NORM_2, &norm));
  PetscCall(VecDestroy(&r));
  seen->residual.push_back(norm);
  seen->given.push_back(rnorm);
  PetscCall(KSPBuildSolution(ksp, NULL, &x));
  PetscCall(Everything(x, seen->solution));
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode TrueResidual(const Problem &p, double *norm)
{
  Vec r;

  PetscFunctionBegin;
  PetscCall(VecDuplicate(p.rhs, &r));
  PetscCall(MatMult(p.A, p.x, r));
  PetscCall(VecAYPX(r, -1.0, p.rhs));
  PetscCall(VecNorm(r, NORM_2, norm));
  PetscCall(VecDestroy(&r));
  PetscFunctionReturn(PETSC_SUCCESS);
}

TEST_P(Methods, MonitorsSeeTheSolutionOfThePass)
{
  const Variant v = std::get<0>(GetParam());
  Problem       p{301, 13, std::get<1>(GetParam()) ? Gauss : Sparse, Side, std::get<1>(GetParam()), std::get<2>(GetParam())};
  Seen          seen;
  double        norm, bnorm;
  ASSERT_PETSC(p.Create());
  ASSERT_PETSC(KSPSketchSetMethod(p.ksp, v.method));
  ASSERT_PETSC(KSPSketchSetInner(p.ksp, v.inner));
  ASSERT_PETSC(KSPMonitorSet(p.ksp, See, &seen, NULL));
  ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
  ASSERT_PETSC(TrueResidual(p, &norm));
  ASSERT_PETSC(VecNorm(p.rhs, NORM_2, &bnorm));
  ASSERT_ALL(seen.residual.size() >= 2);
  EXPECT_LT(norm, 0.99 * bnorm); /* a residual that stays |b| would be seen */
  EXPECT_NEAR(seen.residual.back(), norm, 1e-12 * norm);
  std::vector<double> x;
  ASSERT_PETSC(Everything(p.x, x));
  EXPECT_LT(Distance(seen.solution, x), 1e-13 * Length(x));
  /* no pass is worse than the first, and where the solver has a fresh residual, as at the beginning and the end, it is this one */
  EXPECT_NEAR(seen.residual.front(), seen.given.front(), 1e-12 * bnorm);
  EXPECT_NEAR(seen.residual.back(), seen.given.back(), 1e-12 * bnorm);
  for (double r : seen.residual) EXPECT_LE(r, seen.residual.front() * (1 + 1e-12));
  if (v.inner == KSP_SKETCH_LSQR) { /* keeps its residual norm up to date */
    for (size_t k = 0; k < seen.residual.size(); ++k) EXPECT_NEAR(seen.residual[k], seen.given[k], 1e-10 * bnorm) << "pass " << k;
  }
  ASSERT_PETSC(p.Destroy());
}

TEST(Monitors, SeeTheSolutionOfMinimumNorm)
{
  for (KSPSketchMethod m : {KSP_SKETCH_AUTO, KSP_SKETCH_ITERATIVE}) {
    Problem p{20, 90, Gauss, Side};
    Seen    seen;
    ASSERT_PETSC(p.Create());
    ASSERT_PETSC(KSPSketchSetMethod(p.ksp, m));
    ASSERT_PETSC(KSPMonitorSet(p.ksp, See, &seen, NULL));
    ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
    std::vector<double> x;
    double              bnorm;
    ASSERT_PETSC(Everything(p.x, x));
    ASSERT_PETSC(VecNorm(p.rhs, NORM_2, &bnorm));
    EXPECT_NEAR(seen.residual.front(), bnorm, 1e-13 * bnorm); /* x = 0 */
    EXPECT_LT(seen.residual.back(), 1e-12 * bnorm);
    EXPECT_LT(Distance(seen.solution, x), 1e-12 * Length(x));
    ASSERT_PETSC(p.Destroy());
  }
}
INSTANTIATE_TEST_SUITE_P(All, Methods,
                         testing::Combine(testing::Values(Variant{KSP_SKETCH_AUTO, KSP_SKETCH_CG}, Variant{KSP_SKETCH_ITERATIVE, KSP_SKETCH_CG},
                                                          Variant{KSP_SKETCH_ITERATIVE, KSP_SKETCH_HEAVYBALL}, Variant{KSP_SKETCH_ITERATIVE, KSP_SKETCH_LSQR},
                                                          Variant{KSP_SKETCH_CQRRT, KSP_SKETCH_CG}, Variant{KSP_SKETCH_CHOLQR, KSP_SKETCH_CG},
                                                          Variant{KSP_SKETCH_TSQR, KSP_SKETCH_CG}),
                                          testing::Bool(), testing::Bool()));

/* Each process solves the whole problem alone with the same seed and compares with the distributed answer */
TEST(Ranks, SameAnswerAsOneProcess)
{
  for (bool dense : {true, false}) {
    Problem p{211, 9, dense ? Gauss : Sparse, Side, dense, false}, q = p;
    ASSERT_PETSC(p.Create());
    ASSERT_PETSC(q.Create(PETSC_COMM_SELF));
    for (Problem *s : {&p, &q}) {
      ASSERT_PETSC(KSPSketchSetMethod(s->ksp, KSP_SKETCH_ITERATIVE));
      ASSERT_PETSC(KSPSolve(s->ksp, s->rhs, s->x));
    }
    std::vector<double> x, y;
    ASSERT_PETSC(Everything(p.x, x));
    ASSERT_PETSC(Everything(q.x, y));
    EXPECT_LT(Distance(x, y), 1e-13 * Length(y));
    PetscInt i1, i2;
    ASSERT_PETSC(KSPGetIterationNumber(p.ksp, &i1));
    ASSERT_PETSC(KSPGetIterationNumber(q.ksp, &i2));
    EXPECT_LE(std::abs(i1 - i2), 2) << "the same number of passes within rounding";
    ASSERT_PETSC(p.Destroy());
    ASSERT_PETSC(q.Destroy());
  }
}

/*
   A MATNEST, whose rows and unknowns PETSc numbers process by process, has the answers of the matrix of its blocks on one process: the solution, and the
   error of sketch-and-solve, which tells S
*/
TEST(Ranks, NestIsTheMatrixOfItsBlocks)
{
  const PetscInt rows[2] = {150, 91}, cols[2] = {5, 3}, n = 241, d = 8;
  Mat            block[2][2], M;
  Vec            b, x;
  for (PetscInt k = 0; k < 2; ++k)
    for (PetscInt l = 0; l < 2; ++l)
      ASSERT_PETSC(MakeMatrix(
        PETSC_COMM_WORLD, rows[k], cols[l], k == l, /* dense and sparse */
        [&](PetscInt i, double *row) {
          for (PetscInt j = 0; j < cols[l]; ++j) row[j] = Gauss(150 * k + i, 5 * l + j);
        },
        &block[k][l], k == 1));
  ASSERT_PETSC(MatCreateNest(PETSC_COMM_WORLD, 2, NULL, 2, NULL, &block[0][0], &M));
  ASSERT_PETSC(MatCreateVecs(M, &x, &b));
  IS is[2], columns[2];
  ASSERT_PETSC(MatNestGetISs(M, is, columns));
  for (PetscInt k = 0; k < 2; ++k) {
    Vec          part;
    PetscInt     r0, r1;
    PetscScalar *a;
    ASSERT_PETSC(VecGetSubVector(b, is[k], &part));
    ASSERT_PETSC(MatGetOwnershipRange(block[k][0], &r0, &r1));
    ASSERT_PETSC(VecGetArray(part, &a));
    for (PetscInt i = r0; i < r1; ++i) a[i - r0] = Side(150 * k + i);
    ASSERT_PETSC(VecRestoreArray(part, &a));
    ASSERT_PETSC(VecRestoreSubVector(b, is[k], &part));
  }
  for (const char *type : {SKEANSKETCHSPARSESIGN, SKEANSKETCHSRHT, SKEANSKETCHLEVERAGE})
    for (const KSPSketchMethod method : {KSP_SKETCH_ITERATIVE, KSP_SKETCH_SKETCHANDSOLVE}) {
      SCOPED_TRACE(std::string(type) + " " + KSPSketchMethods[method]);
      Problem             p{n, d, Gauss, Side};
      KSP                 ksp;
      SkeanSketch         sketch;
      std::vector<double> ref, all, part;
      ASSERT_PETSC(p.Create(PETSC_COMM_SELF));
      ASSERT_PETSC(KSPCreate(PETSC_COMM_WORLD, &ksp));
      ASSERT_PETSC(KSPSetType(ksp, KSPSKETCH));
      ASSERT_PETSC(KSPSetOperators(ksp, M, M));
      for (KSP solver : {p.ksp, ksp}) {
        ASSERT_PETSC(KSPSketchSetMethod(solver, method));
        ASSERT_PETSC(KSPSketchGetSketch(solver, &sketch));
        ASSERT_PETSC(SkeanSketchSetType(sketch, type));
      }
      ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
      ASSERT_PETSC(KSPSolve(ksp, b, x));
      EXPECT_GT(Reason(ksp), 0);
      ASSERT_PETSC(Everything(p.x, ref));
      for (PetscInt l = 0; l < 2; ++l) {
        Vec sub;
        ASSERT_PETSC(VecGetSubVector(x, columns[l], &sub));
        ASSERT_PETSC(Everything(sub, part));
        ASSERT_PETSC(VecRestoreSubVector(x, columns[l], &sub));
        all.insert(all.end(), part.begin(), part.end());
      }
      EXPECT_LE(Distance(all, ref), 1e-13 * Length(ref));
      ASSERT_PETSC(KSPDestroy(&ksp));
      ASSERT_PETSC(p.Destroy());
    }
  for (auto &row : block)
    for (Mat &B : row) ASSERT_PETSC(MatDestroy(&B));
  ASSERT_PETSC(MatDestroy(&M));
  ASSERT_PETSC(VecDestroy(&b));
  ASSERT_PETSC(VecDestroy(&x));
}

/* Ill-conditioned problems with and without a large residual: backward stable, and converged only if so */
TEST(Stability, BackwardStable)
{
  for (double kappa : {1e6, 1e10, 1e14})
    for (double rnorm : {1e-12, 1e-6, 1.0})
      for (KSPSketchInner inner : {KSP_SKETCH_CG, KSP_SKETCH_LSQR}) {
        DctProblem          dct(400, 20, kappa, rnorm);
        std::vector<double> A(400 * 20), b(400), row(20);
        for (PetscInt i = 0; i < 400; ++i) {
          dct.Row(i, row.data());
          b[i] = dct.Rhs(i);
          for (PetscInt j = 0; j < 20; ++j) A[i + j * 400] = row[j];
        }
        Problem p{400, 20, [&](PetscInt i, PetscInt j) { return A[i + j * 400]; }, [&](PetscInt i) { return b[i]; }};
        ASSERT_PETSC(p.Create());
        ASSERT_PETSC(KSPSketchSetMethod(p.ksp, KSP_SKETCH_ITERATIVE));
        ASSERT_PETSC(KSPSketchSetInner(p.ksp, inner));
        ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
        EXPECT_GT(Reason(p.ksp), 0) << kappa << " " << rnorm;
        std::vector<double> x;
        ASSERT_PETSC(Everything(p.x, x));
        /* residual error |A(x - x*)| of a backward stable method: a multiple of u (|A||x| + kappa |r|) */
        double e = 0;
        for (PetscInt i = 0; i < 400; ++i) {
          double t = 0;
          for (PetscInt j = 0; j < 20; ++j) t += A[i + j * 400] * (x[j] - dct.x[j]);
          e += t * t;
        }
        EXPECT_LT(std::sqrt(e), 50 * U * (1 + kappa * rnorm)) << kappa << " " << rnorm << " " << KSPSketchInners[inner];
        ASSERT_PETSC(p.Destroy());
      }
}

TEST(Degenerate, ZeroRightHandSide)
{
  for (KSPSketchMethod m : {KSP_SKETCH_ITERATIVE, KSP_SKETCH_TSQR}) {
    Problem p{100, 6, Gauss, [](PetscInt) { return 0.0; }};
    ASSERT_PETSC(p.Create());
    ASSERT_PETSC(KSPSketchSetMethod(p.ksp, m));
    ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
    EXPECT_GT(Reason(p.ksp), 0);
    std::vector<double> x;
    ASSERT_PETSC(Everything(p.x, x));
    EXPECT_EQ(Length(x), 0.0);
    ASSERT_PETSC(p.Destroy());
  }
}

TEST(Degenerate, OrthogonalRightHandSide)
{
  /* A has columns 0..5 of the DCT basis (badly scaled), b is column 9 */
  for (double scale : {1.0, 1e-8}) {
    Problem p{200, 6, [&](PetscInt i, PetscInt j) { return Dct(200, i, j) * std::pow(scale, j / 5.0); }, [](PetscInt i) { return Dct(200, i, 9); }};
    ASSERT_PETSC(p.Create());
    ASSERT_PETSC(KSPSketchSetMethod(p.ksp, KSP_SKETCH_ITERATIVE));
    ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
    EXPECT_GT(Reason(p.ksp), 0);
    std::vector<double> x;
    ASSERT_PETSC(Everything(p.x, x));
    EXPECT_LT(Length(x), 100 * U / scale);
    ASSERT_PETSC(p.Destroy());
  }
}

TEST(Degenerate, ExactStart)
{
  Problem p{150, 7, Gauss, Side};
  ASSERT_PETSC(p.Create());
  ASSERT_PETSC(KSPSketchSetMethod(p.ksp, KSP_SKETCH_ITERATIVE));
  ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
  ASSERT_PETSC(KSPSetInitialGuessNonzero(p.ksp, PETSC_TRUE));
  ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
  PetscInt its;
  ASSERT_PETSC(KSPGetIterationNumber(p.ksp, &its));
  EXPECT_GT(Reason(p.ksp), 0);
  EXPECT_EQ(its, 1) << "one pass to see that nothing is to be done";
  ASSERT_PETSC(p.Destroy());
}

TEST(Degenerate, RankDeficientMinimumNorm)
{
  struct Case {
    const char                               *what;
    PetscInt                                  rank;
    std::function<double(PetscInt, PetscInt)> a;
  };
  const Case cases[] = {{"zero column", 7, [](PetscInt i, PetscInt j) { return j == 3 ? 0.0 : Gauss(i, j); }},
                        {"duplicate columns", 6, [](PetscInt i, PetscInt j) { return j == 5 ? Gauss(i, 1) : (j == 7 ? Gauss(i, 2) : Gauss(i, j)); }},
                        {"sum of columns", 7, [](PetscInt i, PetscInt j) { return j == 6 ? Gauss(i, 0) + 2 * Gauss(i, 1) - Gauss(i, 4) : Gauss(i, j); }},
                        {"zero matrix", 0, [](PetscInt, PetscInt) { return 0.0; }},
                        {"scaled duplicate", 7, [](PetscInt i, PetscInt j) { return j == 5 ? 1e6 * Gauss(i, 1) : Gauss(i, j); }}};
  for (const Case &c : cases)
    for (KSPSketchMethod m : {KSP_SKETCH_ITERATIVE, KSP_SKETCH_TSQR, KSP_SKETCH_AUTO, KSP_SKETCH_CQRRT}) {
      Problem p{160, 8, c.a, Side};
      ASSERT_PETSC(p.Create());
      ASSERT_PETSC(KSPSketchSetMethod(p.ksp, m));
      ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
      PetscInt rank;
      ASSERT_PETSC(KSPSketchGetRank(p.ksp, &rank));
      EXPECT_EQ(rank, c.rank) << c.what << " " << KSPSketchMethods[m];
      EXPECT_GT(Reason(p.ksp), 0) << c.what << " " << KSPSketchMethods[m];
      std::vector<double> x, ref = p.Reference();
      ASSERT_PETSC(Everything(p.x, x));
      EXPECT_LE(Distance(x, ref), 1e-11 * (Length(ref) + 1e-300)) << c.what << " " << KSPSketchMethods[m];
      ASSERT_PETSC(p.Destroy());
    }
}

TEST(Degenerate, SmallShapes)
{
  struct Shape {
    PetscInt n, d;
  };
  for (Shape s : {Shape{50, 1}, Shape{1, 1}, Shape{12, 12}, Shape{3, 2}, Shape{2, 2}, Shape{13, 12}})
    for (KSPSketchMethod m : {KSP_SKETCH_AUTO, KSP_SKETCH_ITERATIVE})
      for (bool dense : {true, false}) {
        Problem p{s.n, s.d, Gauss, Side, dense};
        ASSERT_PETSC(p.Create());
        ASSERT_PETSC(KSPSketchSetMethod(p.ksp, m)); /* iterative: more sketch rows than A has rows */
        ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
        EXPECT_GT(Reason(p.ksp), 0) << s.n << "x" << s.d;
        std::vector<double> x, ref = p.Reference();
        ASSERT_PETSC(Everything(p.x, x));
        EXPECT_LT(Distance(x, ref), 1e-11 * Length(ref)) << s.n << "x" << s.d << " " << KSPSketchMethods[m];
        ASSERT_PETSC(p.Destroy());
      }
}

TEST(Degenerate, Underdetermined)
{
  struct Shape {
    PetscInt n, d;
    bool     deficient;
  };
  for (Shape s : {Shape{5, 90, false}, Shape{1, 30, false}, Shape{20, 31, false}, Shape{6, 80, true}})
    for (KSPSketchMethod m : {KSP_SKETCH_AUTO, KSP_SKETCH_ITERATIVE})
      for (bool dense : {true, false}) {
        /* deficient: the last row repeats the first, and b agrees */
        Problem p{s.n, s.d, [&](PetscInt i, PetscInt j) { return Gauss(s.deficient && i == s.n - 1 ? 0 : i, j); },
                  [&](PetscInt i) { return Side(s.deficient && i == s.n - 1 ? 0 : i); }, dense};
        ASSERT_PETSC(p.Create());
        ASSERT_PETSC(KSPSketchSetMethod(p.ksp, m));
        ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
        EXPECT_GT(Reason(p.ksp), 0) << s.n << "x" << s.d;
        std::vector<double> x, ref = p.Reference();
        ASSERT_PETSC(Everything(p.x, x));
        EXPECT_LT(Distance(x, ref), 1e-11 * Length(ref)) << s.n << "x" << s.d << " " << KSPSketchMethods[m];
        PetscInt rank;
        ASSERT_PETSC(KSPSketchGetRank(p.ksp, &rank));
        EXPECT_EQ(rank, s.deficient ? s.n - 1 : s.n);
        ASSERT_PETSC(p.Destroy());
      }
}

TEST(Degenerate, NaNAndInf)
{
  const double bad[] = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()};
  for (double v : bad)
    for (int where = 0; where < 2; ++where)
      for (bool dense : {true, false})
        for (KSPSketchMethod m : {KSP_SKETCH_AUTO, KSP_SKETCH_ITERATIVE, KSP_SKETCH_TSQR, KSP_SKETCH_SKETCHANDSOLVE}) {
          Problem p{90, 4, [&](PetscInt i, PetscInt j) { return where == 0 && i == 77 && j == 2 ? v : Gauss(i, j); },
                    [&](PetscInt i) { return where == 1 && i == 88 ? v : Side(i); }, dense};
          ASSERT_PETSC(p.Create());
          ASSERT_PETSC(KSPSketchSetMethod(p.ksp, m));
          ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
          EXPECT_EQ(Reason(p.ksp), KSP_DIVERGED_NANORINF) << where << " " << KSPSketchMethods[m];
          ASSERT_PETSC(p.Destroy());
        }
}

TEST(Degenerate, HugeAndTinyNumbers)
{
  for (double f : {1e200, 1e-200}) {
    Problem p{80, 5, [&](PetscInt i, PetscInt j) { return f * Gauss(i, j); }, Side};
    ASSERT_PETSC(p.Create());
    ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
    std::vector<double> x;
    ASSERT_PETSC(Everything(p.x, x));
    Problem             q{80, 5, Gauss, Side};
    std::vector<double> ref = q.Reference();
    for (double &e : x) e *= f;
    if (Reason(p.ksp) > 0) { EXPECT_LT(Distance(x, ref), 1e-12 * Length(ref)) << f; }
    EXPECT_NE(Reason(p.ksp), 0);
    ASSERT_PETSC(p.Destroy());
  }
}

TEST(Degenerate, OneDenseRowOfLargeNorm)
{
  Problem p{300, 6, [](PetscInt i, PetscInt j) { return i == 123 ? 1e8 * (1 + j) : Gauss(i, j); }, Side};
  ASSERT_PETSC(p.Create());
  ASSERT_PETSC(KSPSketchSetMethod(p.ksp, KSP_SKETCH_ITERATIVE));
  ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
  std::vector<double> x, ref = p.Reference();
  ASSERT_PETSC(Everything(p.x, x));
  EXPECT_GT(Reason(p.ksp), 0);
  EXPECT_LT(Distance(x, ref), 1e-7 * Length(ref)) << "cond(A) is 1e8";
  ASSERT_PETSC(p.Destroy());
}

TEST(Features, Ridge)
{
  for (KSPSketchMethod m : {KSP_SKETCH_ITERATIVE, KSP_SKETCH_CHOLQR, KSP_SKETCH_TSQR})
    for (KSPSketchInner inner : {KSP_SKETCH_CG, KSP_SKETCH_LSQR, KSP_SKETCH_HEAVYBALL}) {
      Problem p{200, 8, [](PetscInt i, PetscInt j) { return Gauss(i, j) * std::pow(10.0, -j / 2.0); }, Side};
      ASSERT_PETSC(p.Create());
      ASSERT_PETSC(KSPSketchSetMethod(p.ksp, m));
      ASSERT_PETSC(KSPSketchSetInner(p.ksp, inner));
      for (double lambda : {1e-6, 0.5, 1e4, 0.0}) { /* the same sketch serves all */
        ASSERT_PETSC(KSPSketchSetRidge(p.ksp, lambda));
        ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
        EXPECT_GT(Reason(p.ksp), 0) << lambda;
        std::vector<double> x, ref = reference::Ridge(p.n, p.d, p.FullA(), p.FullB(), lambda);
        ASSERT_PETSC(Everything(p.x, x));
        EXPECT_LT(Distance(x, ref), 1e-10 * Length(ref)) << lambda << " " << KSPSketchMethods[m] << " " << KSPSketchInners[inner];
      }
      ASSERT_PETSC(p.Destroy());
    }
}

TEST(Features, RidgePath)
{
  for (KSPSketchMethod m : {KSP_SKETCH_ITERATIVE, KSP_SKETCH_CHOLQR}) {
    const std::vector<double> lambda = {1e-8, 1e-4, 1e-2, 1.0, 1e3};
    Problem                   p{220, 7, [](PetscInt i, PetscInt j) { return Gauss(i, j) * (1 + j); }, Side};
    Mat                       X;
    ASSERT_PETSC(p.Create());
    ASSERT_PETSC(KSPSketchSetMethod(p.ksp, m));
    PetscInt dl;
    ASSERT_PETSC(VecGetLocalSize(p.x, &dl));
    ASSERT_PETSC(MatCreateDense(PETSC_COMM_WORLD, dl, PETSC_DECIDE, p.d, (PetscInt)lambda.size(), NULL, &X));
    ASSERT_PETSC(KSPSketchSolveRidgePath(p.ksp, p.rhs, (PetscInt)lambda.size(), lambda.data(), X));
    PetscInt                  nr;
    const KSPConvergedReason *reasons;
    ASSERT_PETSC(KSPSketchGetColumnReasons(p.ksp, &nr, &reasons));
    ASSERT_ALL(nr == (PetscInt)lambda.size());
    for (size_t j = 0; j < lambda.size(); ++j) {
      Vec                 c;
      std::vector<double> x, ref = reference::Ridge(p.n, p.d, p.FullA(), p.FullB(), lambda[j]);
      ASSERT_PETSC(MatDenseGetColumnVecRead(X, (PetscInt)j, &c));
      ASSERT_PETSC(Everything(c, x));
      ASSERT_PETSC(MatDenseRestoreColumnVecRead(X, (PetscInt)j, &c));
      EXPECT_GT(reasons[j], 0);
      EXPECT_LT(Distance(x, ref), 1e-12 * Length(ref)) << lambda[j];
    }
    const double bad[] = {1.0, -1.0};
    EXPECT_EQ(ErrorOf([&] { return KSPSketchSolveRidgePath(p.ksp, p.rhs, 2, bad, X); }), PETSC_ERR_ARG_OUTOFRANGE);
    EXPECT_EQ(ErrorOf([&] { return KSPSketchSolveRidgePath(p.ksp, p.rhs, 1, lambda.data(), X); }), PETSC_ERR_ARG_SIZ);
    ASSERT_PETSC(MatDestroy(&X));
    ASSERT_PETSC(p.Destroy());
  }
}

namespace {
/*
   Karlson & Walden's backward error of x as solution of min |A x - b|^2 + lambda |x|^2, relative to |[A; sqrt(lambda) I]|_F, from a
   residual made afresh and the exact singular values; and |[A; sqrt(lambda) I] (x - y)| over what a backward stable method may leave.
*/
void RidgeErrors(PetscInt n, PetscInt d, const std::vector<double> &A, const std::vector<double> &b, double lambda, const std::vector<double> &x,
                 const std::vector<double> &y, double *backward, double *forward)
{
  std::vector<double>       M = A, s(d), vt(static_cast<size_t>(d) * d), work(20 * (n + d * d)), g(d, 0.0), dummy(1);
  std::vector<PetscBLASInt> iwork(8 * d);
  PetscBLASInt              nn = n, dd = d, lwork = static_cast<PetscBLASInt>(work.size()), info;
  std::vector<double>       u(static_cast<size_t>(n) * d);
  dgesdd_("S", &nn, &dd, M.data(), &nn, s.data(), u.data(), &nn, vt.data(), &dd, work.data(), &lwork, iwork.data(), &info);
  std::vector<long double> r(b.begin(), b.end());
  long double              rr = 0, xx = 0, ee = 0;
  double                   fro = 0;
  for (PetscInt j = 0; j < d; ++j)
    for (PetscInt i = 0; i < n; ++i) r[i] -= static_cast<long double>(A[i + static_cast<size_t>(j) * n]) * x[j];
  for (long double e : r) rr += e * e;
  for (PetscInt j = 0; j < d; ++j) {
    long double t = -static_cast<long double>(lambda) * x[j];
    for (PetscInt i = 0; i < n; ++i) t += A[i + static_cast<size_t>(j) * n] * r[i];
    g[j] = static_cast<double>(t);
    xx += x[j] * x[j];
    fro += s[j] * s[j] + lambda;
  }
  for (PetscInt i = 0; i < n; ++i) {
    long double t = 0;
    for (PetscInt j = 0; j < d; ++j) t += static_cast<long double>(A[i + static_cast<size_t>(j) * n]) * (x[j] - y[j]);
    ee += t * t;
  }
  for (PetscInt j = 0; j < d; ++j) ee += static_cast<long double>(lambda) * (x[j] - y[j]) * (x[j] - y[j]);
  const double rn = std::sqrt(static_cast<double>(rr) + lambda * static_cast<double>(xx)), xn = std::sqrt(static_cast<double>(xx)), omega = rn / xn;
  double       kw = 0;
  for (PetscInt i = 0; i < d; ++i) {
    double t = 0;
    for (PetscInt j = 0; j < d; ++j) t += vt[i + static_cast<size_t>(j) * d] * g[j];
    kw += t * t / (s[i] * s[i] + lambda + omega * omega);
  }
  fro       = std::sqrt(fro);
  *backward = omega / rn * std::sqrt(kw) / fro;
  *forward  = std::sqrt(static_cast<double>(ee)) / (U * (fro * xn + fro / std::sqrt(s[d - 1] * s[d - 1] + lambda) * rn));
}
} // namespace

/* Many parameters over twenty decades, unsorted, some twice: every one as accurate as if solved alone */
TEST(Features, RidgePathCombinations)
{
  const PetscInt n = 260, d = 24;
  for (bool dense : {true, false})
    for (KSPSketchMethod m : {KSP_SKETCH_ITERATIVE, KSP_SKETCH_TSQR, KSP_SKETCH_CHOLQR})
      for (int kind = 0; kind < 3; ++kind) {               /* graded singular values; one column twice; b in the range of A */
        if (m == KSP_SKETCH_CHOLQR && kind == 1) continue; /* refused: no Cholesky factor */
        const auto entry = [=](PetscInt i, PetscInt j) {
          const PetscInt jj = kind == 1 && j == d - 1 ? 0 : j;
          const auto     z  = [=](PetscInt c) { return dense ? Gauss(i, c) : Sparse(i, c); };
          return jj % 2 ? z(jj - 1) + std::pow(10.0, -jj / 6.0) * z(jj) : z(jj); /* pairs of columns, more and more parallel */
        };
        const auto side = [=](PetscInt i) {
          if (kind != 2) return Side(i);
          double t = 0;
          for (PetscInt j = 0; j < d; ++j) t += entry(i, j) * std::cos(2.0 * j);
          return t;
        };
        Problem                   p{n, d, entry, side, dense, true};
        const std::vector<double> A = p.FullA(), b = p.FullB();
        double                    top = 0; /* about sigma_1^2 */
        for (double e : A) top += e * e;
        std::vector<double> lambda;
        for (int j = 0; j < 50; ++j) lambda.push_back(top * std::pow(10.0, -14 + 20.0 * ((j * 7) % 50) / 49));
        lambda[3] = lambda[40];
        lambda[5] = 0.0;
        lambda[9] = 0.0;
        Mat                       X;
        PetscInt                  dl, nr;
        const KSPConvergedReason *reasons;
        ASSERT_PETSC(p.Create());
        ASSERT_PETSC(KSPSketchSetMethod(p.ksp, m));
        ASSERT_PETSC(VecGetLocalSize(p.x, &dl));
        ASSERT_PETSC(MatCreateDense(PETSC_COMM_WORLD, dl, PETSC_DECIDE, d, (PetscInt)lambda.size(), NULL, &X));
        for (PetscInt q : {50, 1}) { /* the second path, of one parameter, uses the same set-up */
          ASSERT_PETSC(MatDestroy(&X));
          ASSERT_PETSC(MatCreateDense(PETSC_COMM_WORLD, dl, PETSC_DECIDE, d, q, NULL, &X));
          ASSERT_PETSC(KSPSketchSolveRidgePath(p.ksp, p.rhs, q, lambda.data(), X));
          ASSERT_PETSC(KSPSketchGetColumnReasons(p.ksp, &nr, &reasons));
          ASSERT_ALL(nr == q);
          EXPECT_LT(Backward(p.ksp), 10 * U);
          for (PetscInt j = 0; j < q; ++j) {
            Vec                 c;
            double              backward, forward;
            std::vector<double> x, ref = lambda[j] > 0 ? reference::Ridge(n, d, A, b, lambda[j]) : reference::LeastSquares(n, d, A, b);
            ASSERT_PETSC(MatDenseGetColumnVecRead(X, j, &c));
            ASSERT_PETSC(Everything(c, x));
            ASSERT_PETSC(MatDenseRestoreColumnVecRead(X, j, &c));
            EXPECT_GT(reasons[j], 0) << lambda[j] / top;
            if (lambda[j] > 0) {
              RidgeErrors(n, d, A, b, lambda[j], x, ref, &backward, &forward);
              EXPECT_LT(backward, 10 * U) << "method " << m << " kind " << kind << " lambda " << lambda[j] / top;
              EXPECT_LT(forward, 50) << "method " << m << " kind " << kind << " lambda " << lambda[j] / top;
            } else
              EXPECT_LT(Distance(x, ref), 1e-9 * Length(ref));
          }
        }
        ASSERT_PETSC(MatDestroy(&X));
        ASSERT_PETSC(p.Destroy());
      }
}

TEST(Features, ManyRightHandSides)
{
  const PetscInt q = 19;
  for (bool dense : {true, false})
    for (KSPSketchMethod m : {KSP_SKETCH_ITERATIVE, KSP_SKETCH_AUTO}) {
      Problem p{180, 9, dense ? Gauss : Sparse, Side, dense};
      Mat     B, X;
      ASSERT_PETSC(p.Create());
      ASSERT_PETSC(KSPSketchSetMethod(p.ksp, m));
      PetscInt nl, dl;
      ASSERT_PETSC(MatGetLocalSize(p.A, &nl, &dl));
      ASSERT_PETSC(MakeMatrix(
        PETSC_COMM_WORLD, p.n, q, true,
        [&](PetscInt i, double *row) {
          for (PetscInt j = 0; j < q; ++j) row[j] = j == 4 ? 0.0 : (j == 7 ? p.a(i, 2) : std::sin(i + 3.0 * j));
        },
        &B));
      ASSERT_PETSC(MatCreateDense(PETSC_COMM_WORLD, dl, PETSC_DECIDE, p.d, q, NULL, &X));
      ASSERT_PETSC(KSPMatSolve(p.ksp, B, X));
      PetscInt                  nr;
      const KSPConvergedReason *reasons;
      ASSERT_PETSC(KSPSketchGetColumnReasons(p.ksp, &nr, &reasons));
      ASSERT_ALL(nr == q);
      for (PetscInt j = 0; j < q; ++j) {
        Vec                 c;
        std::vector<double> x, b(p.n);
        for (PetscInt i = 0; i < p.n; ++i) b[i] = j == 4 ? 0.0 : (j == 7 ? p.a(i, 2) : std::sin(i + 3.0 * j));
        std::vector<double> ref = reference::LeastSquares(p.n, p.d, p.FullA(), b);
        ASSERT_PETSC(MatDenseGetColumnVecRead(X, j, &c));
        ASSERT_PETSC(Everything(c, x));
        ASSERT_PETSC(MatDenseRestoreColumnVecRead(X, j, &c));
        EXPECT_GT(reasons[j], 0) << j;
        EXPECT_LE(Distance(x, ref), 1e-12 * Length(ref)) << j;
      }
      ASSERT_PETSC(MatDestroy(&B));
      ASSERT_PETSC(MatDestroy(&X));
      ASSERT_PETSC(p.Destroy());
    }
}

/* A NaN in one right-hand side is that column's reason only */
/* A NaN in one column, which may lie in a row that no other process sees, is that column's: the others have the reasons, answers and passes they have without it */
TEST(Features, ReasonsPerColumn)
{
  for (const Variant &v : {Variant{KSP_SKETCH_ITERATIVE, KSP_SKETCH_CG}, Variant{KSP_SKETCH_ITERATIVE, KSP_SKETCH_HEAVYBALL},
                           Variant{KSP_SKETCH_ITERATIVE, KSP_SKETCH_LSQR}, Variant{KSP_SKETCH_SKETCHANDSOLVE, KSP_SKETCH_CG},
                           Variant{KSP_SKETCH_TSQR, KSP_SKETCH_CG}, Variant{KSP_SKETCH_CQRRT, KSP_SKETCH_CG}, Variant{KSP_SKETCH_CHOLQR, KSP_SKETCH_CG}})
    for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
      SCOPED_TRACE(std::string(KSPSketchMethods[v.method]) + " " + KSPSketchInners[v.inner]);
      Problem             p{120, 5, Gauss, Side};
      Mat                 B, X;
      std::vector<double> x[2];
      PetscInt            passes[2], nl, dl, nr;
      ASSERT_PETSC(p.Create());
      ASSERT_PETSC(KSPSketchSetMethod(p.ksp, v.method));
      ASSERT_PETSC(KSPSketchSetInner(p.ksp, v.inner));
      ASSERT_PETSC(MatGetLocalSize(p.A, &nl, &dl));
      ASSERT_PETSC(MatCreateDense(PETSC_COMM_WORLD, dl, PETSC_DECIDE, p.d, 3, NULL, &X));
      for (int with = 0; with < 2; ++with) {
        ASSERT_PETSC(MakeMatrix(
          PETSC_COMM_WORLD, p.n, 3, true, [&](PetscInt i, double *row) { row[0] = Side(i), row[1] = with && i == 55 ? bad : 1.0, row[2] = std::cos(i); }, &B));
        ASSERT_PETSC(KSPMatSolve(p.ksp, B, X));
        const KSPConvergedReason *reasons;
        ASSERT_PETSC(KSPSketchGetColumnReasons(p.ksp, &nr, &reasons));
        ASSERT_PETSC(KSPGetIterationNumber(p.ksp, &passes[with]));
        EXPECT_GT(reasons[0], 0);
        EXPECT_GT(reasons[2], 0);
        if (with) {
          EXPECT_EQ(reasons[1], KSP_DIVERGED_NANORINF);
          EXPECT_EQ(Reason(p.ksp), KSP_DIVERGED_NANORINF) << "the worst";
        } else {
          EXPECT_GT(reasons[1], 0);
        }
        for (PetscInt j : {0, 2}) {
          Vec                 column;
          std::vector<double> all;
          ASSERT_PETSC(MatDenseGetColumnVecRead(X, j, &column));
          ASSERT_PETSC(Everything(column, all));
          ASSERT_PETSC(MatDenseRestoreColumnVecRead(X, j, &column));
          x[with].insert(x[with].end(), all.begin(), all.end());
        }
        ASSERT_PETSC(MatDestroy(&B));
      }
      EXPECT_LE(Distance(x[0], x[1]), 1e-13 * Length(x[0])) << "the clean columns";
      EXPECT_LE(passes[1], passes[0]) << "and their start";
      ASSERT_PETSC(MatDestroy(&X));
      ASSERT_PETSC(p.Destroy());
    }
}

TEST(Features, Weights)
{
  auto    w = [](PetscInt i) { return i % 5 == 0 ? 0.0 : 1.0 + 100.0 * (i % 3); };
  Problem p{140, 6, Gauss, Side};
  Vec     weights;
  ASSERT_PETSC(p.Create());
  ASSERT_PETSC(MakeVector(p.A, w, &weights));
  ASSERT_PETSC(KSPSketchSetWeights(p.ksp, weights));
  ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
  Problem             s{140, 6, [&](PetscInt i, PetscInt j) { return std::sqrt(w(i)) * Gauss(i, j); }, [&](PetscInt i) { return std::sqrt(w(i)) * Side(i); }};
  std::vector<double> x, ref = s.Reference();
  ASSERT_PETSC(Everything(p.x, x));
  EXPECT_GT(Reason(p.ksp), 0);
  EXPECT_LT(Distance(x, ref), 1e-12 * Length(ref));
  /* new values in the same vector are seen */
  ASSERT_PETSC(VecSet(weights, 2.0));
  ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
  ref = p.Reference();
  ASSERT_PETSC(Everything(p.x, x));
  EXPECT_LT(Distance(x, ref), 1e-12 * Length(ref));
  ASSERT_PETSC(VecSet(weights, -1.0));
  EXPECT_EQ(ErrorOf([&] { return KSPSolve(p.ksp, p.rhs, p.x); }), PETSC_ERR_ARG_OUTOFRANGE);
  ASSERT_PETSC(KSPSketchSetWeights(p.ksp, NULL));
  ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
  ASSERT_PETSC(Everything(p.x, x));
  EXPECT_LT(Distance(x, ref), 1e-12 * Length(ref));
  ASSERT_PETSC(VecDestroy(&weights));
  ASSERT_PETSC(p.Destroy());
}

TEST(Features, EqualityConstraints)
{
  const PetscInt np = 3;
  for (KSPSketchMethod m : {KSP_SKETCH_ITERATIVE, KSP_SKETCH_CHOLQR, KSP_SKETCH_TSQR}) {
    Problem p{170, 9, [](PetscInt i, PetscInt j) { return Gauss(i, j) * std::pow(10.0, -j / 3.0); }, Side};
    auto    c = [](PetscInt i, PetscInt j) { return Gauss(1000 + i, j); };
    Mat     C;
    Vec     e;
    ASSERT_PETSC(p.Create());
    ASSERT_PETSC(KSPSketchSetMethod(p.ksp, m));
    ASSERT_PETSC(MakeMatrix(
      PETSC_COMM_WORLD, np, p.d, true,
      [&](PetscInt i, double *row) {
        for (PetscInt j = 0; j < p.d; ++j) row[j] = c(i, j);
      },
      &C));
    ASSERT_PETSC(MakeVector(
      C, [](PetscInt i) { return 1.0 + i; }, &e));
    ASSERT_PETSC(KSPSketchSetConstraints(p.ksp, C, e));
    ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
    EXPECT_GT(Reason(p.ksp), 0) << KSPSketchMethods[m];
    /* reference: the KKT system [A'A C'; C 0] through dgelss */
    const int           s = p.d + np;
    std::vector<double> K(s * s, 0.0), f(s, 0.0), x;
    for (PetscInt j = 0; j < p.d; ++j) {
      for (PetscInt k = 0; k < p.d; ++k)
        for (PetscInt i = 0; i < p.n; ++i) K[j + k * s] += p.a(i, j) * p.a(i, k);
      for (PetscInt i = 0; i < p.n; ++i) f[j] += p.a(i, j) * p.b(i);
      for (PetscInt i = 0; i < np; ++i) K[j + (p.d + i) * s] = K[p.d + i + j * s] = c(i, j);
    }
    for (PetscInt i = 0; i < np; ++i) f[p.d + i] = 1.0 + i;
    std::vector<double> ref = reference::LeastSquares(s, s, K, f, 1e-15);
    ref.resize(p.d);
    ASSERT_PETSC(Everything(p.x, x));
    EXPECT_LT(Distance(x, ref), 1e-8 * Length(ref)) << KSPSketchMethods[m] << ": the reference squares a condition number of 1e3";
    for (PetscInt i = 0; i < np; ++i) {
      double t = -(1.0 + i);
      for (PetscInt j = 0; j < p.d; ++j) t += c(i, j) * x[j];
      EXPECT_NEAR(t, 0.0, 1e-12) << "constraint " << i;
    }
    ASSERT_PETSC(MatDestroy(&C));
    ASSERT_PETSC(VecDestroy(&e));
    /* dependent constraints */
    ASSERT_PETSC(MakeMatrix(
      PETSC_COMM_WORLD, 2, p.d, true,
      [&](PetscInt, double *row) {
        for (PetscInt j = 0; j < p.d; ++j) row[j] = c(0, j);
      },
      &C));
    ASSERT_PETSC(MakeVector(
      C, [](PetscInt) { return 1.0; }, &e));
    ASSERT_PETSC(KSPSketchSetConstraints(p.ksp, C, e));
    EXPECT_EQ(ErrorOf([&] { return KSPSolve(p.ksp, p.rhs, p.x); }), PETSC_ERR_ARG_WRONG);
    ASSERT_PETSC(MatDestroy(&C));
    ASSERT_PETSC(VecDestroy(&e));
    ASSERT_PETSC(p.Destroy());
  }
}

/* The bounds hold and are of the right order, after a full solve and after sketch-and-solve with a Gaussian sketch */
TEST(Bounds, HoldForEverySeed)
{
  Problem p{256, 6, [](PetscInt i, PetscInt j) { return Gauss(i, j) * std::pow(10.0, -j / 2.0); }, Side};
  ASSERT_PETSC(p.Create());
  const std::vector<double> ref = reference::ExactLeastSquares(p.n, p.d, p.FullA(), p.FullB());
  SkeanSketch               sketch;
  ASSERT_PETSC(KSPSketchGetSketch(p.ksp, &sketch));
  ASSERT_PETSC(KSPSketchSetErrorBounds(p.ksp, 1e-3));
  Vec bounds;
  ASSERT_PETSC(VecDuplicate(p.x, &bounds));
  EXPECT_EQ(ErrorOf([&] { return KSPSketchGetErrorBounds(p.ksp, bounds, NULL); }), PETSC_ERR_ARG_WRONGSTATE);
  for (const char *type : {SKEANSKETCHSPARSESIGN, SKEANSKETCHGAUSSIAN})
    for (KSPSketchMethod m : {KSP_SKETCH_ITERATIVE, KSP_SKETCH_SKETCHANDSOLVE, KSP_SKETCH_TSQR}) {
      int    outside = 0, total = 0;
      double tightest = 0;
      for (SkeanSeed seed = 1; seed <= 12; ++seed) {
        ASSERT_PETSC(SkeanSketchSetType(sketch, type));
        ASSERT_PETSC(SkeanSketchSetSeed(sketch, seed));
        ASSERT_PETSC(KSPSketchSetMethod(p.ksp, m));
        ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
        std::vector<double> x, bd;
        PetscReal           delta;
        ASSERT_PETSC(KSPSketchGetErrorBounds(p.ksp, bounds, &delta));
        EXPECT_EQ(delta, 1e-3);
        ASSERT_PETSC(Everything(p.x, x));
        ASSERT_PETSC(Everything(bounds, bd));
        for (PetscInt j = 0; j < p.d; ++j, ++total) {
          outside += std::fabs(x[j] - ref[j]) > bd[j] + U * std::fabs(ref[j]); /* the reference is rounded */
          tightest = std::max(tightest, std::fabs(x[j] - ref[j]) / bd[j]);
        }
      }
      EXPECT_EQ(outside, 0) << type << " " << KSPSketchMethods[m] << " of " << total << " at 1e-3 per solve";
      if (m == KSP_SKETCH_SKETCHANDSOLVE) { EXPECT_GT(tightest, 0.2) << "intervals far wider than the errors say nothing"; }
    }
  /* sketches that support no interval are refused, by name */
  std::string message;
  ASSERT_PETSC(KSPSketchSetMethod(p.ksp, KSP_SKETCH_SKETCHANDSOLVE));
  for (const char *type : {SKEANSKETCHCOUNTSKETCH, SKEANSKETCHLEVERAGE}) {
    ASSERT_PETSC(SkeanSketchSetType(sketch, type));
    ASSERT_PETSC(KSPSketchSetSketch(p.ksp, sketch));
    EXPECT_EQ(ErrorOf([&] { return KSPSolve(p.ksp, p.rhs, p.x); }, &message), PETSC_ERR_SUP) << type;
    EXPECT_NE(message.find(type), std::string::npos) << message;
  }
  ASSERT_PETSC(VecDestroy(&bounds));
  ASSERT_PETSC(p.Destroy());
}

/* What the data do not determine has no finite bound, and the solve converges all the same */
TEST(Bounds, InfiniteWhereRankIsMissing)
{
  Problem p{160, 6, [](PetscInt i, PetscInt j) { return Gauss(i, j == 5 ? 1 : j); }, Side};
  Vec     bounds;
  ASSERT_PETSC(p.Create());
  ASSERT_PETSC(VecDuplicate(p.x, &bounds));
  ASSERT_PETSC(KSPSketchSetErrorBounds(p.ksp, 1e-3));
  ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
  EXPECT_GT(Reason(p.ksp), 0);
  std::vector<double> b;
  ASSERT_PETSC(KSPSketchGetErrorBounds(p.ksp, bounds, NULL));
  ASSERT_PETSC(Everything(bounds, b));
  for (double e : b) EXPECT_EQ(e, std::numeric_limits<double>::infinity());
  ASSERT_PETSC(VecDestroy(&bounds));
  ASSERT_PETSC(p.Destroy());
}

TEST(LifeCycle, NewDataGiveNewAnswers)
{
  Problem p{130, 5, Gauss, Side};
  ASSERT_PETSC(p.Create());
  ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
  /* new values in the same matrix, without KSPSetOperators() */
  ASSERT_PETSC(MatScale(p.A, 2.0));
  ASSERT_PETSC(MatSetValue(p.A, 3, 1, 40.0, INSERT_VALUES));
  ASSERT_PETSC(MatAssemblyBegin(p.A, MAT_FINAL_ASSEMBLY));
  ASSERT_PETSC(MatAssemblyEnd(p.A, MAT_FINAL_ASSEMBLY));
  ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
  Problem             q{130, 5, [](PetscInt i, PetscInt j) { return i == 3 && j == 1 ? 40.0 : 2 * Gauss(i, j); }, Side};
  std::vector<double> x, ref = q.Reference();
  ASSERT_PETSC(Everything(p.x, x));
  EXPECT_LT(Distance(x, ref), 1e-12 * Length(ref));
  /* another matrix of another shape */
  Problem r{90, 5, Sparse, Side, false};
  ASSERT_PETSC(r.Create());
  ASSERT_PETSC(KSPReset(p.ksp));
  ASSERT_PETSC(KSPSetOperators(p.ksp, r.A, r.A));
  ASSERT_PETSC(KSPSolve(p.ksp, r.rhs, r.x));
  ref = r.Reference();
  ASSERT_PETSC(Everything(r.x, x));
  EXPECT_LT(Distance(x, ref), 1e-12 * Length(ref));
  ASSERT_PETSC(p.Destroy());
  ASSERT_PETSC(r.Destroy());
}

TEST(LifeCycle, OptionsPrefixViewAndTolerance)
{
  Problem p{600, 60, Gauss, Side};
  ASSERT_PETSC(p.Create());
  ASSERT_PETSC(KSPSetOptionsPrefix(p.ksp, "fit_"));
  const char *options[][2] = {{"-fit_ksp_sketch_method", "iterative"},
                              {"-fit_ksp_sketch_inner", "lsqr"},
                              {"-fit_sketch_factor", "6"},
                              {"-fit_ksp_rtol", "1e-6"},
                              {"-fit_sketch_type", "gaussian"}};
  for (auto &o : options) ASSERT_PETSC(PetscOptionsSetValue(NULL, o[0], o[1]));
  ASSERT_PETSC(KSPSetFromOptions(p.ksp));
  ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
  SkeanSketch    sk;
  KSPSketchInner inner;
  PetscReal      factor;
  PetscInt       loose, full;
  ASSERT_PETSC(KSPSketchGetInner(p.ksp, &inner));
  ASSERT_PETSC(KSPSketchGetSketch(p.ksp, &sk));
  ASSERT_PETSC(SkeanSketchGetFactor(sk, &factor));
  EXPECT_EQ(inner, KSP_SKETCH_LSQR);
  EXPECT_EQ(factor, 6.0);
  EXPECT_LE(Backward(p.ksp), 1e-6);
  EXPECT_GT(Reason(p.ksp), 0);
  ASSERT_PETSC(KSPGetIterationNumber(p.ksp, &loose));
  ASSERT_PETSC(KSPSetTolerances(p.ksp, 10 * U, PETSC_DEFAULT, PETSC_DEFAULT, PETSC_DEFAULT));
  ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
  ASSERT_PETSC(KSPGetIterationNumber(p.ksp, &full));
  EXPECT_LT(loose, full);
  const std::string file = ScratchDir() + "/view.txt";
  PetscViewer       viewer;
  ASSERT_PETSC(PetscViewerASCIIOpen(PETSC_COMM_WORLD, file.c_str(), &viewer));
  ASSERT_PETSC(KSPView(p.ksp, viewer));
  ASSERT_PETSC(PetscViewerDestroy(&viewer));
  if (!Rank()) {
    FILE       *f = fopen(file.c_str(), "r");
    std::string text(4096, ' ');
    text.resize(fread(&text[0], 1, text.size(), f));
    fclose(f);
    EXPECT_NE(text.find("type: sketch"), std::string::npos);
    EXPECT_NE(text.find("numerical rank 60 of 60"), std::string::npos) << text;
    EXPECT_NE(text.find("gaussian"), std::string::npos) << text;
  }
  for (auto &o : options) ASSERT_PETSC(PetscOptionsClearValue(NULL, o[0]));
  ASSERT_PETSC(p.Destroy());
}

TEST(Verdict, TooFewPassesIsNotConverged)
{
  DctProblem          dct(300, 20, 1e6, 1.0);
  std::vector<double> row(20);
  Problem             p{300, 20,
            [&](PetscInt i, PetscInt j) {
              dct.Row(i, row.data());
              return row[j];
            },
            [&](PetscInt i) { return dct.Rhs(i); }};
  ASSERT_PETSC(p.Create());
  ASSERT_PETSC(KSPSketchSetMethod(p.ksp, KSP_SKETCH_ITERATIVE));
  ASSERT_PETSC(KSPSetTolerances(p.ksp, PETSC_DEFAULT, PETSC_DEFAULT, PETSC_DEFAULT, 5));
  ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
  EXPECT_EQ(Reason(p.ksp), KSP_DIVERGED_ITS);
  EXPECT_GT(Backward(p.ksp), 10 * U);
  ASSERT_PETSC(p.Destroy());
}

/*
   Columns of norms over ten decades and a ridge between them: what is judged is the backward error of [A; sqrt(lambda) I] with its columns,
   the ridge included, of norm one. A perturbation of sqrt(d) relative to these is at most sqrt(d) as large relative to the matrix as it is.
*/
TEST(Verdict, GradedColumnsWithARidge)
{
  const PetscInt n = 160, d = 6;
  for (KSPSketchMethod m : {KSP_SKETCH_ITERATIVE, KSP_SKETCH_TSQR, KSP_SKETCH_CHOLQR})
    for (double rtol : {1e-15, 1e-7})
      for (bool path : {false, true}) {
        Problem                   p{n, d, [](PetscInt i, PetscInt j) { return Gauss(i, j) * std::pow(10.0, -2.0 * j); }, Side, true, true};
        const std::vector<double> A = p.FullA(), b = p.FullB(), lambda = {1e-14, 1e-8, 1e-3, 1e2};
        Mat                       X;
        PetscInt                  dl;
        ASSERT_PETSC(p.Create());
        ASSERT_PETSC(KSPSketchSetMethod(p.ksp, m));
        ASSERT_PETSC(KSPSetTolerances(p.ksp, rtol, PETSC_DEFAULT, PETSC_DEFAULT, PETSC_DEFAULT));
        ASSERT_PETSC(VecGetLocalSize(p.x, &dl));
        ASSERT_PETSC(MatCreateDense(PETSC_COMM_WORLD, dl, PETSC_DECIDE, d, (PetscInt)lambda.size(), NULL, &X));
        if (path) ASSERT_PETSC(KSPSketchSolveRidgePath(p.ksp, p.rhs, (PetscInt)lambda.size(), lambda.data(), X));
        for (size_t l = 0; l < lambda.size(); ++l) {
          std::vector<double> x, y(d), M(static_cast<size_t>(n + d) * d, 0.0), c(b);
          double              plain, unit, forward;
          if (path) {
            Vec column;
            ASSERT_PETSC(MatDenseGetColumnVecRead(X, (PetscInt)l, &column));
            ASSERT_PETSC(Everything(column, x));
            ASSERT_PETSC(MatDenseRestoreColumnVecRead(X, (PetscInt)l, &column));
          } else {
            ASSERT_PETSC(KSPSketchSetRidge(p.ksp, lambda[l]));
            ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
            ASSERT_PETSC(Everything(p.x, x));
          }
          EXPECT_GT(Reason(p.ksp), 0);
          c.resize(n + d, 0.0);
          for (PetscInt j = 0; j < d; ++j) {
            double norm = lambda[l];
            for (PetscInt i = 0; i < n; ++i) norm += A[i + static_cast<size_t>(j) * n] * A[i + static_cast<size_t>(j) * n];
            norm = std::sqrt(norm);
            y[j] = x[j] * norm;
            for (PetscInt i = 0; i < n; ++i) M[i + static_cast<size_t>(j) * (n + d)] = A[i + static_cast<size_t>(j) * n] / norm;
            M[n + j + static_cast<size_t>(j) * (n + d)] = std::sqrt(lambda[l]) / norm;
          }
          RidgeErrors(n, d, A, b, lambda[l], x, x, &plain, &forward);
          RidgeErrors(n + d, d, M, c, 0.0, y, y, &unit, &forward);
          const double told = 2 * std::max(Backward(p.ksp), 4 * U); /* twice: the sketch's factor in place of A's; U: this test's own rounding */
          EXPECT_LT(unit, told) << "method " << m << " lambda " << lambda[l] << " path " << path;
          EXPECT_LT(plain, std::sqrt(d) * told) << "method " << m << " lambda " << lambda[l] << " path " << path;
          EXPECT_LT(unit, 2 * std::max(rtol, 4 * U));
        }
        ASSERT_PETSC(MatDestroy(&X));
        ASSERT_PETSC(p.Destroy());
      }
}

TEST(Errors, AreClear)
{
  std::string message;
  Problem     p{60, 5, Gauss, Side};
  ASSERT_PETSC(p.Create());
  PC pc;
  ASSERT_PETSC(KSPGetPC(p.ksp, &pc));
  ASSERT_PETSC(PCSetType(pc, PCJACOBI));
  EXPECT_EQ(ErrorOf([&] { return KSPSolve(p.ksp, p.rhs, p.x); }, &message), PETSC_ERR_SUP);
  EXPECT_NE(message.find("jacobi"), std::string::npos) << message;
  ASSERT_PETSC(PCSetType(pc, PCNONE));
  EXPECT_EQ(ErrorOf([&] { return KSPSketchSetRidge(p.ksp, -1.0); }), PETSC_ERR_ARG_OUTOFRANGE);
  EXPECT_EQ(ErrorOf([&] { return KSPSketchSetErrorBounds(p.ksp, 1.0); }), PETSC_ERR_ARG_OUTOFRANGE);
  EXPECT_EQ(ErrorOf([&] { return KSPSketchSetRefine(p.ksp, 0); }), PETSC_ERR_ARG_OUTOFRANGE);
  SkeanSketch sketch;
  ASSERT_PETSC(KSPSketchGetSketch(p.ksp, &sketch));
  ASSERT_PETSC(SkeanSketchSetSizes(sketch, 3, PETSC_DETERMINE));
  ASSERT_PETSC(KSPSketchSetMethod(p.ksp, KSP_SKETCH_ITERATIVE));
  EXPECT_EQ(ErrorOf([&] { return KSPSolve(p.ksp, p.rhs, p.x); }, &message), PETSC_ERR_ARG_OUTOFRANGE);
  EXPECT_NE(message.find("3 rows"), std::string::npos) << message;
  ASSERT_PETSC(p.Destroy());
  /* a matrix whose rows cannot be read */
  Mat shell;
  Vec b, x;
  KSP ksp;
  ASSERT_PETSC(MatCreateShell(PETSC_COMM_WORLD, PETSC_DECIDE, PETSC_DECIDE, 40, 4, NULL, &shell));
  ASSERT_PETSC(MatCreateVecs(shell, &x, &b));
  ASSERT_PETSC(KSPCreate(PETSC_COMM_WORLD, &ksp));
  ASSERT_PETSC(KSPSetType(ksp, KSPSKETCH));
  ASSERT_PETSC(KSPSetOperators(ksp, shell, shell));
  EXPECT_EQ(ErrorOf([&] { return KSPSolve(ksp, b, x); }, &message), PETSC_ERR_SUP);
  EXPECT_NE(message.find("shell"), std::string::npos) << message;
  ASSERT_PETSC(KSPDestroy(&ksp));
  ASSERT_PETSC(MatDestroy(&shell));
  ASSERT_PETSC(VecDestroy(&b));
  ASSERT_PETSC(VecDestroy(&x));
}

/* A defective distribution (plain SRHT on an identity-like block) is noticed and redrawn, never used */
TEST(Redraw, SingularSketchesAreReplaced)
{
  Problem p{4096, 32, [](PetscInt i, PetscInt j) { return i == j ? 1.0 : 0.0; }, Side, false};
  ASSERT_PETSC(p.Create());
  SkeanSketch sketch;
  ASSERT_PETSC(KSPSketchGetSketch(p.ksp, &sketch));
  ASSERT_PETSC(SkeanSketchSetType(sketch, SKEANSKETCHCOUNTSKETCH));
  ASSERT_PETSC(KSPSketchSetMethod(p.ksp, KSP_SKETCH_ITERATIVE));
  ASSERT_PETSC(SkeanSketchSetFactor(sketch, 2.0)); /* 32 columns hashed to 64 rows: collisions are almost certain */
  ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
  PetscInt rank;
  ASSERT_PETSC(KSPSketchGetRank(p.ksp, &rank));
  EXPECT_EQ(rank, 32);
  EXPECT_GT(Reason(p.ksp), 0);
  std::vector<double> x;
  ASSERT_PETSC(Everything(p.x, x));
  for (PetscInt j = 0; j < 32; ++j) EXPECT_NEAR(x[j], Side(j), 1e-14);
  ASSERT_PETSC(p.Destroy());
}

/*
   A coherent block with a little noise: CountSketch hashes two of its rows to one place in most draws; the sketch is then not singular
   but poor. That is noticed, on every number of processes in the same draws, and sparse signs, which are good, are never drawn again.
*/
TEST(Redraw, PoorSketchesAreReplaced)
{
  const PetscInt n = 512, d = 8;
  const auto     entry   = [](PetscInt i, PetscInt j) { return (i == j ? 1.0 : 0.0) + 1e-4 * Gauss(i, j); };
  PetscInt       redrawn = 0;
  for (const char *type : {SKEANSKETCHCOUNTSKETCH, SKEANSKETCHSPARSESIGN})
    for (SkeanSeed seed = 1; seed <= 10; ++seed) {
      PetscInt            draw[2];
      std::vector<double> x[2];
      for (int alone = 0; alone < 2; ++alone) {
        Problem     p{n, d, entry, Side, true, true};
        SkeanSketch sketch;
        ASSERT_PETSC(p.Create(alone ? PETSC_COMM_SELF : PETSC_COMM_WORLD));
        ASSERT_PETSC(KSPSketchGetSketch(p.ksp, &sketch));
        ASSERT_PETSC(SkeanSketchSetType(sketch, type));
        ASSERT_PETSC(SkeanSketchSetSeed(sketch, seed));
        ASSERT_PETSC(SkeanSketchSetFactor(sketch, 4.0));
        ASSERT_PETSC(KSPSketchSetMethod(p.ksp, KSP_SKETCH_ITERATIVE));
        ASSERT_PETSC(KSPSolve(p.ksp, p.rhs, p.x));
        EXPECT_GT(Reason(p.ksp), 0);
        ASSERT_PETSC(SkeanSketchGetDraw(sketch, &draw[alone]));
        ASSERT_PETSC(Everything(p.x, x[alone]));
        EXPECT_LT(Distance(x[alone], p.Reference()), 1e-11 * Length(x[alone]));
        ASSERT_PETSC(p.Destroy());
      }
      EXPECT_EQ(draw[0], draw[1]) << seed;
      EXPECT_LT(draw[0], 5);
      if (type == std::string(SKEANSKETCHSPARSESIGN))
        EXPECT_EQ(draw[0], 0) << seed;
      else if (draw[0] > 0)
        redrawn++;
    }
  EXPECT_GE(redrawn, 2); /* 6 of 10 are expected */
}
