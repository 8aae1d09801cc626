/* Barycentres, costs of graphs, batches, paths in epsilon */
#include "problems.hpp"
#include "reference/exacttransport.hpp"
#include <algorithm>

using problems::All;
using problems::Problem;
using problems::Uniform;

namespace {

/* vectors laid out by whole hyperplanes of `rest` points */
PetscErrorCode Layout(PetscInt len, PetscInt rest, const std::function<double(PetscInt)> &f, Vec *v)
{
  PetscInt     slabs = PETSC_DECIDE, lo, hi;
  PetscScalar *a;

  PetscFunctionBegin;
  PetscCall(PetscSplitOwnership(PETSC_COMM_WORLD, &slabs, &len));
  PetscCall(VecCreateMPI(PETSC_COMM_WORLD, slabs * rest, len * rest, v));
  PetscCall(VecGetOwnershipRange(*v, &lo, &hi));
  PetscCall(VecGetArray(*v, &a));
  for (PetscInt i = lo; i < hi; ++i) a[i - lo] = f(i);
  PetscCall(VecRestoreArray(*v, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

std::vector<double> Gaussian(PetscInt n, double lo, double hi, double mean, double variance)
{
  std::vector<double> a;
  double              s = 0;
  for (PetscInt i = 0; i < n; ++i) {
    const double x = lo + (hi - lo) * i / (n - 1) - mean;
    a.push_back(std::exp(-0.5 * x * x / variance));
    s += a.back();
  }
  for (double &x : a) x /= s;
  return a;
}

/* the barycentre of measures on a line, as a grid or as points */
void LineBarycenter(const std::vector<std::vector<double>> &b, const std::vector<double> &weights, double lo, double hi, double eps, bool debiased, bool grid,
                    double tol, std::vector<double> *out)
{
  const PetscInt   n = static_cast<PetscInt>(b[0].size());
  std::vector<Vec> v(b.size());
  Vec              a;
  SkeanTransport   t;
  PetscReal        err;
  Mat              X = NULL;

  for (size_t k = 0; k < b.size(); ++k)
    ASSERT_PETSC(Layout(
      n, 1, [&](PetscInt i) { return b[k][i]; }, &v[k]));
  ASSERT_PETSC(VecDuplicate(v[0], &a));
  ASSERT_PETSC(SkeanTransportCreate(PETSC_COMM_WORLD, &t));
  if (grid)
    ASSERT_PETSC(SkeanTransportSetGrid(t, 1, &n, &lo, &hi));
  else {
    ASSERT_PETSC(problems::MakeDense(
      n, 1, [&](PetscInt i, PetscInt) { return lo + (hi - lo) * i / (n - 1); }, &X));
    ASSERT_PETSC(SkeanTransportSetPoints(t, X, X));
  }
  ASSERT_PETSC(SkeanTransportSetEpsilon(t, eps, SKEAN_TRANSPORT_EPS_ABSOLUTE));
  ASSERT_PETSC(SkeanTransportSetTolerances(t, tol, PETSC_DEFAULT, PETSC_DEFAULT));
  ASSERT_PETSC(SkeanTransportComputeBarycenter(t, static_cast<PetscInt>(b.size()), v.data(), weights.data(), debiased ? PETSC_TRUE : PETSC_FALSE, a, &err));
  SkeanConvergedReason reason;
  PetscInt             its, passes;
  ASSERT_PETSC(SkeanTransportGetConvergedReason(t, &reason));
  ASSERT_PETSC(SkeanTransportGetIterationNumber(t, &its));
  ASSERT_PETSC(SkeanTransportGetPasses(t, &passes));
  EXPECT_GT(reason, 0) << SkeanConvergedReasons[reason];
  EXPECT_LE(err, tol);
  EXPECT_GE(passes, static_cast<PetscInt>(b.size()) * its);
  *out = All(a);
  for (Vec &x : v) ASSERT_PETSC(VecDestroy(&x));
  ASSERT_PETSC(VecDestroy(&a));
  ASSERT_PETSC(MatDestroy(&X));
  ASSERT_PETSC(SkeanTransportDestroy(&t));
}

} // namespace

/* translates of a Gaussian: the mean translate, blurred by the variance eps/2 exactly, or not at all if debiased; measures may vanish */
TEST(TransportBarycenter, TranslatesOnALine)
{
  const PetscInt n  = 121;
  const double   lo = -6, hi = 6, var = 0.25, eps = 0.4;
  for (bool debiased : {false, true})
    for (bool grid : {false, true}) {
      std::vector<double> a;
      const auto          want = Gaussian(n, lo, hi, 0.25 * -1.5 + 0.75 * 0.5, var + (debiased ? 0 : eps / 2));
      LineBarycenter({Gaussian(n, lo, hi, -1.5, var), Gaussian(n, lo, hi, 0.5, var)}, {1, 3}, lo, hi, eps, debiased, grid, 1e-9, &a);
      for (PetscInt i = 0; i < n; ++i) EXPECT_NEAR(a[i], want[i], 1e-7) << "debiased " << debiased << " grid " << grid << " at " << i;
    }
}

/* different variances, debiased: sum_k w_k sqrt(16 s_k^2 S + eps^2) = sqrt(16 S^2 + eps^2) for the variance S (Janati et al. 2020, Theorem 3) */
TEST(TransportBarycenter, DifferentGaussiansDebiased)
{
  const PetscInt n  = 141;
  const double   lo = -7, hi = 7, v[2] = {0.25, 1.0}, eps = 0.5, w[2] = {0.4, 0.6};
  double         S0 = 0.2, S1 = 1.1;
  for (int it = 0; it < 200; ++it) {
    const double S = 0.5 * (S0 + S1);
    double       g = -std::sqrt(16 * S * S + eps * eps);
    for (int k = 0; k < 2; ++k) g += w[k] * std::sqrt(16 * v[k] * S + eps * eps);
    (g > 0 ? S0 : S1) = S;
  }
  std::vector<double> a;
  LineBarycenter({Gaussian(n, lo, hi, 0, v[0]), Gaussian(n, lo, hi, 0, v[1])}, {w[0], w[1]}, lo, hi, eps, true, true, 1e-8, &a);
  const auto want = Gaussian(n, lo, hi, 0, S0);
  for (PetscInt i = 0; i < n; ++i) EXPECT_NEAR(a[i], want[i], 1e-6) << i;
}

/* equal inputs of any shape: debiased, the input itself (the blur of epsilon is half the distance of two points) */
TEST(TransportBarycenter, EqualInputs)
{
  const PetscInt      n = 30;
  std::vector<double> b, a;
  double              s = 0;
  for (PetscInt i = 0; i < n; ++i) {
    b.push_back(0.1 + Uniform(i, 0, 301));
    s += b.back();
  }
  for (double &x : b) x /= s;
  LineBarycenter({b, b, b}, {1, 2, 3}, 0, 1, 5e-4, true, false, 1e-8, &a);
  for (PetscInt i = 0; i < n; ++i) EXPECT_NEAR(a[i], b[i], 1e-6);
  /* two points, small epsilon: all the mass half way; zero masses everywhere else */
  std::vector<double> p(n + 1, 0.0), q(n + 1, 0.0);
  p[4] = q[20] = 2.5;
  LineBarycenter({p, q}, {1, 1}, 0, 30, 1e-2, false, false, 1e-9, &a);
  for (PetscInt i = 0; i <= n; ++i) EXPECT_NEAR(a[i], i == 12 ? 2.5 : 0.0, 1e-8) << i;
}

TEST(TransportBarycenter, WrongInputAndHonestReasons)
{
  const PetscInt  n  = 12;
  const PetscReal lo = 0, hi = 1, w[2] = {1, -1};
  SkeanTransport  t;
  Vec             b[2], a;
  PetscReal       err;
  std::string     message;
  ASSERT_PETSC(Layout(
    n, 1, [](PetscInt i) { return 1.0 + i; }, &b[0]));
  ASSERT_PETSC(Layout(
    n, 1, [](PetscInt i) { return 12.0 - i; }, &b[1]));
  ASSERT_PETSC(VecDuplicate(b[0], &a));
  ASSERT_PETSC(SkeanTransportCreate(PETSC_COMM_WORLD, &t));
  auto compute = [&](const PetscReal *weights) {
    return skeantest::ErrorOf([&] { return SkeanTransportComputeBarycenter(t, 2, b, weights, PETSC_FALSE, a, &err); }, &message);
  };
  EXPECT_EQ(compute(NULL), PETSC_ERR_ORDER);
  ASSERT_PETSC(SkeanTransportSetGrid(t, 1, &n, &lo, &hi));
  EXPECT_EQ(compute(w), PETSC_ERR_ARG_OUTOFRANGE);
  ASSERT_PETSC(SkeanTransportSetPartialMass(t, 1.0));
  EXPECT_EQ(compute(NULL), PETSC_ERR_SUP);
  ASSERT_PETSC(SkeanTransportSetPartialMass(t, 0.0));
  ASSERT_PETSC(VecSetValue(b[1], 0, skeantest::Rank() ? 12.0 : NAN, INSERT_VALUES));
  ASSERT_PETSC(VecAssemblyBegin(b[1]));
  ASSERT_PETSC(VecAssemblyEnd(b[1]));
  const PetscErrorCode nan = compute(NULL);
  EXPECT_TRUE(nan == PETSC_ERR_FP || skeantest::Size() > 1) << message;
  ASSERT_PETSC(VecSet(b[1], 1.0));
  EXPECT_EQ(compute(NULL), PETSC_ERR_ARG_INCOMP);
  EXPECT_NE(message.find("unequal"), std::string::npos) << message;
  ASSERT_PETSC(VecSet(b[1], 6.5));
  SkeanConvergedReason reason;
  ASSERT_PETSC(SkeanTransportSetTolerances(t, 1e-12, PETSC_DEFAULT, 2));
  ASSERT_PETSC(compute(NULL));
  ASSERT_PETSC(SkeanTransportGetConvergedReason(t, &reason));
  EXPECT_EQ(reason, SKEAN_DIVERGED_ITS);
  EXPECT_GT(err, 1e-12);
  /* there is no plan */
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportApply(t, b[0], b[1]); }), PETSC_ERR_ORDER);
  ASSERT_PETSC(SkeanTransportDestroy(&t));
  for (Vec *v : {&b[0], &b[1], &a}) ASSERT_PETSC(VecDestroy(v));
}

namespace {

/* edges as (i, j, length), each set by one process */
struct Edge {
  PetscInt i, j;
  double   length;
};

PetscErrorCode GraphMat(PetscInt n, const std::vector<Edge> &edges, Mat *G)
{
  PetscFunctionBegin;
  PetscCall(MatCreateAIJ(PETSC_COMM_WORLD, PETSC_DECIDE, PETSC_DECIDE, n, n, n, NULL, n, NULL, G));
  if (!skeantest::Rank())
    for (const Edge &e : edges) PetscCall(MatSetValue(*G, e.i, e.j, e.length, INSERT_VALUES));
  PetscCall(MatAssemblyBegin(*G, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(*G, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode GraphProblem(PetscInt n, const std::vector<Edge> &edges, const std::function<double(PetscInt)> &fr, const std::function<double(PetscInt)> &fc,
                            double eps, Problem *p)
{
  PetscFunctionBegin;
  PetscCall(problems::MakeVec(n, fr, &p->r));
  PetscCall(problems::MakeVec(n, fc, &p->c));
  PetscCall(GraphMat(n, edges, &p->A));
  PetscCall(SkeanTransportCreate(PETSC_COMM_WORLD, &p->t));
  PetscCall(SkeanTransportSetMarginals(p->t, p->r, p->c));
  PetscCall(SkeanTransportSetGraph(p->t, p->A));
  PetscCall(SkeanTransportSetEpsilon(p->t, eps, SKEAN_TRANSPORT_EPS_MAX));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace

/* W1 on a random tree, known in closed form; nodes without mass are junctions */
TEST(TransportGraph, TreeW1)
{
  const int           n = 45;
  std::vector<int>    parent(n, 0);
  std::vector<double> length(n, 0.0), r(n), c(n), excess(n);
  std::vector<Edge>   edges;
  double              sr = 0, sc = 0;
  for (int k = 1; k < n; ++k) {
    parent[k] = static_cast<int>(k * Uniform(k, 0, 401));
    length[k] = 0.2 + Uniform(k, 1, 401);
    if (k % 2) /* in either triangle */
      edges.push_back({k, parent[k], length[k]});
    else
      edges.push_back({parent[k], k, length[k]});
  }
  for (int k = 0; k < n; ++k) {
    sr += r[k] = k % 3 == 1 ? 0.0 : Uniform(k, 2, 401);
    sc += c[k] = k % 4 == 2 ? 0.0 : Uniform(k, 3, 401);
  }
  for (int k = 0; k < n; ++k) excess[k] = r[k] / sr - c[k] / sc;
  const double want = reference::TreeW1(parent, length, excess);
  Problem      p;
  ASSERT_PETSC(GraphProblem(
    n, edges, [&](PetscInt i) { return r[i] / sr; }, [&](PetscInt j) { return c[j] / sc; }, 1e-5, &p));
  ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-6, PETSC_DEFAULT, PETSC_DEFAULT));
  ASSERT_PETSC(SkeanTransportSolve(p.t));
  SkeanConvergedReason reason;
  PetscReal            lower, upper;
  ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
  ASSERT_PETSC(SkeanTransportGetCertificate(p.t, &lower, &upper));
  EXPECT_GT(reason, 0) << SkeanConvergedReasons[reason];
  EXPECT_LE(lower, want * (1 + 1e-12));
  EXPECT_GE(upper, want * (1 - 1e-12));
  EXPECT_LE(upper - lower, 1e-3 * want);
  ASSERT_PETSC(p.Destroy());
}

/* a graph with cycles, both directions stored with different lengths, against Floyd and Warshall's distances as a stored cost */
TEST(TransportGraph, CyclesAgreeWithStoredDistances)
{
  const PetscInt                   n = 20;
  std::vector<Edge>                edges;
  std::vector<std::vector<double>> D(n, std::vector<double>(n, 1e300));
  for (PetscInt i = 0; i < n; ++i) {
    D[i][i] = 0;
    edges.push_back({i, (i + 1) % n, 0.1 + Uniform(i, 0, 403)});
    edges.push_back({i, (7 * i + 3) % n, 0.1 + 2 * Uniform(i, 1, 403)});
    edges.push_back({(i + 1) % n, i, 0.1 + Uniform(i, 2, 403)});
  }
  /* every pair once in a direction */
  std::vector<std::vector<double>> W(n, std::vector<double>(n, 1e300));
  for (const Edge &e : edges) W[e.i][e.j] = e.length;
  edges.clear();
  for (PetscInt i = 0; i < n; ++i)
    for (PetscInt j = 0; j < n; ++j)
      if (W[i][j] < 1e300) edges.push_back({i, j, W[i][j]});
  for (PetscInt i = 0; i < n; ++i)
    for (PetscInt j = 0; j < n; ++j)
      if (i != j) D[i][j] = std::min(W[i][j], W[j][i]);
  for (PetscInt k = 0; k < n; ++k)
    for (PetscInt i = 0; i < n; ++i)
      for (PetscInt j = 0; j < n; ++j) D[i][j] = std::min(D[i][j], D[i][k] + D[k][j]);
  auto      fr = [](PetscInt i) { return i < 10 ? 0.1 : 0.0; };
  auto      fc = [](PetscInt i) { return i < 10 ? 0.0 : 0.1; };
  PetscReal cost[2], eps[2];
  for (int stored = 0; stored < 2; ++stored) {
    Problem p;
    if (stored) {
      ASSERT_PETSC(p.Stored(
        n, n, fr, fc, [&](PetscInt i, PetscInt j) { return D[i][j]; }, 0.1, SKEANTRANSPORTSSNS));
      ASSERT_PETSC(SkeanTransportSetEpsilon(p.t, 0.02, SKEAN_TRANSPORT_EPS_MAX));
    } else
      ASSERT_PETSC(GraphProblem(n, edges, fr, fc, 0.02, &p));
    ASSERT_PETSC(SkeanTransportSolve(p.t));
    ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost[stored], NULL, NULL));
    ASSERT_PETSC(SkeanTransportGetEpsilon(p.t, &eps[stored]));
    ASSERT_PETSC(p.Destroy());
  }
  EXPECT_NEAR(eps[0], eps[1], 1e-14);
  EXPECT_NEAR(cost[0], cost[1], 1e-8);
}

/* two parts that are not connected: their sum if each is balanced, an error that names the part otherwise */
TEST(TransportGraph, PartsThatAreNotConnected)
{
  const PetscInt    n = 8; /* the paths 0-1-2-3 and 4-5-6-7, edges of length 1 */
  std::vector<Edge> edges;
  for (PetscInt i : {0, 1, 2, 4, 5, 6}) edges.push_back({i, i + 1, 1.0});
  for (bool balanced : {true, false}) {
    Problem p;
    ASSERT_PETSC(GraphProblem(
      n, edges, [](PetscInt i) { return i == 0 || i == 4 ? 0.5 : 0.0; },
      [&](PetscInt i) { return i == 3 ? (balanced ? 0.5 : 0.6) : (i == 5 ? (balanced ? 0.5 : 0.4) : 0.0); }, 1e-2, &p));
    if (balanced) {
      PetscReal            cost;
      SkeanConvergedReason reason;
      ASSERT_PETSC(SkeanTransportSolve(p.t));
      ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
      EXPECT_GT(reason, 0);
      ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost, NULL, NULL));
      EXPECT_NEAR(cost, 0.5 * 3 + 0.5 * 1, 1e-9);
    } else {
      std::string message;
      EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSolve(p.t); }, &message), PETSC_ERR_ARG_INCOMP);
      EXPECT_NE(message.find("Infeasible"), std::string::npos) << message;
      EXPECT_NE(message.find("node"), std::string::npos) << message;
    }
    ASSERT_PETSC(p.Destroy());
  }
  /* lengths that are none */
  for (double bad : {-1.0, static_cast<double>(NAN)}) {
    Problem p;
    edges.back().length = bad;
    ASSERT_PETSC(GraphProblem(
      n, edges, [](PetscInt) { return 0.125; }, [](PetscInt) { return 0.125; }, 1e-2, &p));
    EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSolve(p.t); }), bad < 0 ? PETSC_ERR_ARG_OUTOFRANGE : PETSC_ERR_FP);
    ASSERT_PETSC(p.Destroy());
  }
  Problem p;
  ASSERT_PETSC(GraphProblem(
    n, edges, [](PetscInt) { return 0.125; }, [](PetscInt) { return 0.125; }, 1e-2, &p));
  Mat wrong;
  ASSERT_PETSC(GraphMat(n + 1, {{0, 1, 1.0}}, &wrong));
  ASSERT_PETSC(SkeanTransportSetGraph(p.t, wrong));
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSolve(p.t); }), PETSC_ERR_ARG_SIZ);
  ASSERT_PETSC(MatDestroy(&wrong));
  ASSERT_PETSC(p.Destroy());
}

namespace {

const PetscInt BN = 16;

/* problem k: two random measures on a line of 16 points; problem 5 has a mass that is NaN, problem 7 is not set at all */
PetscErrorCode SetProblem(PetscInt k, SkeanTransport t, void *ctx)
{
  Vec             r, c;
  const PetscReal lo = 0, hi = 1;
  double          s[2] = {0, 0};

  PetscFunctionBegin;
  PetscCheck(k != 7 || !ctx, PETSC_COMM_SELF, PETSC_ERR_USER, "no data");
  PetscCall(VecCreateSeq(PETSC_COMM_SELF, BN, &r));
  PetscCall(VecDuplicate(r, &c));
  for (int side = 0; side < 2; ++side)
    for (PetscInt i = 0; i < BN; ++i) {
      const double x = (i + k) % 5 == 0 ? 0.0 : 0.05 + Uniform(i, 2 * k + side, 501);
      s[side] += x;
      PetscCall(VecSetValue(side ? c : r, i, x, INSERT_VALUES));
    }
  PetscCall(VecScale(r, 1 / s[0]));
  PetscCall(VecScale(c, 1 / s[1]));
  if (ctx && k == 5) PetscCall(VecSetValue(c, 3, NAN, INSERT_VALUES));
  PetscCall(SkeanTransportSetMarginals(t, r, c));
  PetscCall(SkeanTransportSetGrid(t, 1, &BN, &lo, &hi));
  PetscCall(SkeanTransportSetEpsilon(t, 1e-2, SKEAN_TRANSPORT_EPS_MAX));
  PetscCall(VecDestroy(&r));
  PetscCall(VecDestroy(&c));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace

/* what a batch says of a problem is, to the last bit, what the problem alone gives, whoever solved it; a bad problem harms nobody else */
TEST(TransportBatch, EveryProblemAsAlone)
{
  const PetscInt                         n   = 23;
  int                                    bad = 1;
  std::vector<SkeanTransportBatchResult> x(n);
  ASSERT_PETSC(SkeanTransportSolveBatch(PETSC_COMM_WORLD, n, SetProblem, &bad, "small_", x.data()));
  for (PetscInt k = 0; k < n; ++k) {
    if (k == 5 || k == 7) {
      EXPECT_EQ(x[k].error, k == 5 ? PETSC_ERR_FP : PETSC_ERR_USER);
      EXPECT_EQ(x[k].reason, SKEAN_CONVERGED_ITERATING);
      continue;
    }
    SkeanTransport       t;
    SkeanConvergedReason reason;
    PetscInt             its;
    PetscReal            cost, lower, upper, err;
    ASSERT_PETSC(SkeanTransportCreate(PETSC_COMM_SELF, &t));
    ASSERT_PETSC(SetProblem(k, t, NULL));
    ASSERT_PETSC(SkeanTransportSolve(t));
    ASSERT_PETSC(SkeanTransportGetConvergedReason(t, &reason));
    ASSERT_PETSC(SkeanTransportGetIterationNumber(t, &its));
    ASSERT_PETSC(SkeanTransportGetCosts(t, &cost, NULL, NULL));
    ASSERT_PETSC(SkeanTransportGetCertificate(t, &lower, &upper));
    ASSERT_PETSC(SkeanTransportGetMarginalError(t, &err));
    ASSERT_PETSC(SkeanTransportDestroy(&t));
    EXPECT_EQ(x[k].error, PETSC_SUCCESS);
    EXPECT_GT(x[k].reason, 0);
    EXPECT_EQ(x[k].reason, reason);
    EXPECT_EQ(x[k].iterations, its);
    EXPECT_EQ(x[k].cost, cost) << k;
    EXPECT_EQ(x[k].lower, lower);
    EXPECT_EQ(x[k].upper, upper);
    EXPECT_EQ(x[k].marginalerror, err);
  }
  /* options of the batch reach its solvers; nothing to do is no error */
  ASSERT_PETSC(PetscOptionsSetValue(NULL, "-small_transport_max_it", "1"));
  ASSERT_PETSC(SkeanTransportSolveBatch(PETSC_COMM_WORLD, 3, SetProblem, NULL, "small_", x.data()));
  ASSERT_PETSC(PetscOptionsClearValue(NULL, "-small_transport_max_it"));
  for (PetscInt k = 0; k < 3; ++k) EXPECT_EQ(x[k].reason, SKEAN_DIVERGED_ITS);
  ASSERT_PETSC(SkeanTransportSolveBatch(PETSC_COMM_WORLD, 0, SetProblem, NULL, NULL, NULL));
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSolveBatch(PETSC_COMM_WORLD, -1, SetProblem, NULL, NULL, NULL); }), PETSC_ERR_ARG_OUTOFRANGE);
}

/* a path of decreasing epsilon, each solve from the potentials of the one before: the same answers as from nothing, costs falling to the exact one */
TEST(TransportPath, WarmStartsGiveTheSameAnswers)
{
  const PetscInt n = 30;
  auto           x = [](PetscInt i, PetscInt k) { return Uniform(i, k, 601); };
  auto           y = [](PetscInt j, PetscInt k) { return 0.3 + Uniform(j, k, 603); };
  auto           m = [](PetscInt) { return 1.0 / 30; };
  Problem        warm;
  Vec            f, g;
  PetscReal      before = 1e300;
  ASSERT_PETSC(warm.Points(n, n, 2, m, m, x, y, 1.0, SKEANTRANSPORTSSNS));
  ASSERT_PETSC(VecDuplicate(warm.r, &f));
  ASSERT_PETSC(VecDuplicate(warm.c, &g));
  for (double eps : {1e-1, 3e-2, 1e-2, 3e-3, 1e-3}) {
    Problem              cold;
    PetscReal            cost[2];
    SkeanConvergedReason reason;
    ASSERT_PETSC(SkeanTransportSetEpsilon(warm.t, eps, SKEAN_TRANSPORT_EPS_MAX));
    ASSERT_PETSC(SkeanTransportSolve(warm.t));
    ASSERT_PETSC(SkeanTransportGetConvergedReason(warm.t, &reason));
    EXPECT_GT(reason, 0) << eps;
    ASSERT_PETSC(SkeanTransportGetCosts(warm.t, &cost[0], NULL, NULL));
    ASSERT_PETSC(SkeanTransportGetPotentials(warm.t, f, g));
    ASSERT_PETSC(SkeanTransportSetInitialPotentials(warm.t, f, g));
    ASSERT_PETSC(cold.Points(n, n, 2, m, m, x, y, 1.0, SKEANTRANSPORTSSNS));
    ASSERT_PETSC(SkeanTransportSetEpsilon(cold.t, eps, SKEAN_TRANSPORT_EPS_MAX));
    ASSERT_PETSC(SkeanTransportSolve(cold.t));
    ASSERT_PETSC(SkeanTransportGetCosts(cold.t, &cost[1], NULL, NULL));
    EXPECT_NEAR(cost[0], cost[1], 1e-7) << eps;
    EXPECT_LE(cost[0], before * (1 + 1e-9)) << eps;
    before = cost[0];
    ASSERT_PETSC(cold.Destroy());
  }
  ASSERT_PETSC(VecDestroy(&f));
  ASSERT_PETSC(VecDestroy(&g));
  ASSERT_PETSC(warm.Destroy());
}
