/* lower <= exact <= upper on small problems whose exact cost is known independently, and how close the bounds are at a small epsilon */
#include "problems.hpp"
#include "reference/exacttransport.hpp"
#include <skean/private/transportimpl.h>
#include <algorithm>

using problems::Problem;
using problems::Uniform;

namespace {

struct Instance {
  const char                               *name;
  std::vector<double>                       r, c;
  PetscInt                                  d;
  std::function<double(PetscInt, PetscInt)> x, y; /* coordinates */
  SkeanTransportCostType                    type;
  std::function<double(PetscInt, PetscInt)> cost;
};

void Normalise(std::vector<double> &a)
{
  double s = 0;
  for (double x : a) s += x;
  for (double &x : a) x /= s;
}

Instance Cloud(const char *name, PetscInt n, PetscInt m, PetscInt d, SkeanTransportCostType type, bool weights, std::int64_t seed)
{
  Instance I;
  I.name = name;
  I.d    = d;
  I.type = type;
  I.r.assign(n, 1.0 / n);
  I.c.assign(m, 1.0 / m);
  if (weights) {
    for (PetscInt i = 0; i < n; ++i) I.r[i] = 0.05 + Uniform(i, 90, seed);
    for (PetscInt j = 0; j < m; ++j) I.c[j] = j % 6 == 1 ? 0.0 : 0.05 + Uniform(j, 91, seed);
    Normalise(I.r);
    Normalise(I.c);
  }
  I.x    = [=](PetscInt i, PetscInt k) { return Uniform(i, k, seed); };
  I.y    = [=](PetscInt j, PetscInt k) { return 0.3 + 1.2 * Uniform(j, k, seed + 1); };
  I.cost = [=](PetscInt i, PetscInt j) {
    double s = 0;
    for (PetscInt k = 0; k < d; ++k) {
      const double t = I.x(i, k) - I.y(j, k);
      s += type == SKEAN_TRANSPORT_COST_L1 ? std::fabs(t) : t * t;
    }
    return type == SKEAN_TRANSPORT_COST_EUCLIDEAN ? std::sqrt(s) : s;
  };
  return I;
}

/* two blurred strokes on 9 x 9 pixels, many of them empty */
Instance Image(const char *name, SkeanTransportCostType type)
{
  const PetscInt w = 9;
  Instance       I;
  I.name = name;
  I.d    = 2;
  I.type = type;
  for (PetscInt i = 0; i < w * w; ++i) {
    const double x = static_cast<double>(i / w), y = static_cast<double>(i % w);
    const double a = std::exp(-(x - y) * (x - y)) * (x > 1), b = std::exp(-0.7 * (x - 3) * (x - 3)) + std::exp(-(y - 6) * (y - 6));
    I.r.push_back(a < 0.05 ? 0 : a);
    I.c.push_back(b < 0.05 ? 0 : b);
  }
  Normalise(I.r);
  Normalise(I.c);
  I.x = I.y = [=](PetscInt i, PetscInt k) { return (k ? i % w : i / w) / 8.0; };
  I.cost    = [=](PetscInt i, PetscInt j) {
    const double a = I.x(i, 0) - I.x(j, 0), b = I.x(i, 1) - I.x(j, 1);
    return type == SKEAN_TRANSPORT_COST_L1 ? std::fabs(a) + std::fabs(b) : a * a + b * b;
  };
  return I;
}

double Exact(const Instance &I)
{
  const auto X = reference::SolveExactTransport(I.r, I.c, I.cost);
  EXPECT_TRUE(X.feasible);
  EXPECT_NEAR(X.primal, X.dual, 1e-13) << I.name << ": the reference is exact";
  return X.primal;
}

/* solves with the points, or with the stored cost, and checks the bracket */
void Bracket(const Instance &I, double exact, bool stored, const char *type, double eps, double rtol, double gap)
{
  const PetscInt n = static_cast<PetscInt>(I.r.size()), m = static_cast<PetscInt>(I.c.size());
  auto           fr = [&](PetscInt i) { return I.r[i]; };
  auto           fc = [&](PetscInt j) { return I.c[j]; };
  Problem        p;

  if (stored)
    ASSERT_PETSC(p.Stored(n, m, fr, fc, I.cost, 1.0, type));
  else
    ASSERT_PETSC(p.Points(n, m, I.d, fr, fc, I.x, I.y, 1.0, type));
  ASSERT_PETSC(SkeanTransportSetCostType(p.t, I.type));
  ASSERT_PETSC(SkeanTransportSetEpsilon(p.t, eps, SKEAN_TRANSPORT_EPS_MAX));
  ASSERT_PETSC(SkeanTransportSetTolerances(p.t, rtol, PETSC_DEFAULT, PETSC_DEFAULT));
  ASSERT_PETSC(SkeanTransportSolve(p.t));
  SkeanConvergedReason reason;
  PetscReal            err, lower, upper;
  ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
  ASSERT_PETSC(SkeanTransportGetMarginalError(p.t, &err));
  ASSERT_PETSC(SkeanTransportGetCertificate(p.t, &lower, &upper));
  EXPECT_EQ(reason > 0, err <= rtol) << "the verdict is the error's";
  EXPECT_LE(lower, exact * (1 + 1e-12) + 1e-15) << I.name << " " << type;
  EXPECT_GE(upper, exact * (1 - 1e-12) - 1e-15) << I.name << " " << type;
  if (gap > 0) {
    EXPECT_GT(reason, 0) << I.name << " " << SkeanConvergedReasons[reason] << " error " << err;
    EXPECT_LE(upper - lower, gap * exact) << I.name << " " << type;
  }
  ASSERT_PETSC(p.Destroy());
}

} // namespace

/* the solver's bounds at eps = 1e-5 max C are within a thousandth of the exact cost; whatever the solver did, they hold */
TEST(TransportExact, BoundsHoldAndAreTight)
{
  std::vector<Instance> all;
  all.push_back(Cloud("equal weights in the plane", 40, 40, 2, SKEAN_TRANSPORT_COST_SQEUCLIDEAN, false, 101));
  all.push_back(Cloud("weights in space", 30, 45, 3, SKEAN_TRANSPORT_COST_SQEUCLIDEAN, true, 103));
  all.push_back(Cloud("distances in space", 35, 25, 3, SKEAN_TRANSPORT_COST_EUCLIDEAN, true, 105));
  all.push_back(Image("images, squares", SKEAN_TRANSPORT_COST_SQEUCLIDEAN));
  all.push_back(Image("images, L1", SKEAN_TRANSPORT_COST_L1));
  for (const Instance &I : all) {
    const double exact = Exact(I);
    Bracket(I, exact, false, SKEANTRANSPORTSSNS, 1e-5, 1e-6, 1e-3);
    Bracket(I, exact, true, SKEANTRANSPORTSINKHORN, 5e-2, 1e-6, -1);
  }
}

/* Smaller epsilons bring the bounds as close as is wanted; what else is reported does not change, nor does a second solve */
TEST(TransportExact, GapIsReached)
{
  for (const Instance &I : {Image("images, L1", SKEAN_TRANSPORT_COST_L1), Cloud("weights in space", 30, 45, 3, SKEAN_TRANSPORT_COST_SQEUCLIDEAN, true, 103)})
    for (const char *type : {SKEANTRANSPORTSSNS, SKEANTRANSPORTSINKHORN}) {
      const double exact = Exact(I);
      Problem      p;
      PetscReal    lower[3], upper[3], cost[3], err[3];
      PetscInt     its[3], passes[3];
      ASSERT_PETSC(p.Points(
        static_cast<PetscInt>(I.r.size()), static_cast<PetscInt>(I.c.size()), I.d, [&](PetscInt i) { return I.r[i]; }, [&](PetscInt j) { return I.c[j]; }, I.x,
        I.y, 1.0, type));
      ASSERT_PETSC(SkeanTransportSetCostType(p.t, I.type));
      ASSERT_PETSC(SkeanTransportSetEpsilon(p.t, 1e-2, SKEAN_TRANSPORT_EPS_MAX));
      ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-8, PETSC_DEFAULT, PETSC_DEFAULT));
      for (int k = 0; k < 3; ++k) {
        SkeanConvergedReason reason;
        ASSERT_PETSC(SkeanTransportSetCertificateGap(p.t, k ? 1e-2 : 0.0));
        ASSERT_PETSC(SkeanTransportSolve(p.t));
        ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
        ASSERT_PETSC(SkeanTransportGetCertificate(p.t, &lower[k], &upper[k]));
        ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost[k], NULL, NULL));
        ASSERT_PETSC(SkeanTransportGetMarginalError(p.t, &err[k]));
        ASSERT_PETSC(SkeanTransportGetIterationNumber(p.t, &its[k]));
        ASSERT_PETSC(SkeanTransportGetPasses(p.t, &passes[k]));
        EXPECT_GT(reason, 0);
        EXPECT_LE(lower[k], exact * (1 + 1e-12)) << I.name << " " << type;
        EXPECT_GE(upper[k], exact * (1 - 1e-12)) << I.name << " " << type;
        EXPECT_NEAR(cost[k], cost[0], 1e-12 * cost[0]);
        EXPECT_EQ(its[k], its[0]);
        EXPECT_EQ(passes[k], passes[0]);
      }
      EXPECT_GT(upper[0] - lower[0], 0.02 * upper[0]) << "there is something to do";
      EXPECT_LE(upper[1] - lower[1], 0.01 * upper[1]) << I.name << " " << type;
      EXPECT_NEAR(upper[2], upper[1], 1e-10);
      EXPECT_NEAR(lower[2], lower[1], 1e-10);
      EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSetCertificateGap(p.t, -1.0); }), PETSC_ERR_ARG_OUTOFRANGE);
      ASSERT_PETSC(p.Destroy());
    }
}

/* Without a gap that is asked for: closer bounds where potentials extrapolate to epsilon = 0 or smaller epsilons pay, nothing where epsilon is large, and the
   answer the same. Costs of images are whole numbers of pixels, so an epsilon far below the distance between two plans' costs may still be large against the
   cost, and the extrapolation is exact; those of an assignment have no such distance */
TEST(TransportExact, GapByDefault)
{
  struct Case {
    Instance I;
    double   eps, before, after, more; /* gaps at epsilon alone and by default; passes of the default, over those of the solve and the plain bounds */
  };
  Instance A;
  A.name = "assignment";
  A.r.assign(60, 1.0 / 60);
  A.c.assign(60, 1.0 / 60);
  A.d                         = 0;
  A.type                      = SKEAN_TRANSPORT_COST_SQEUCLIDEAN;
  A.cost                      = [](PetscInt i, PetscInt j) { return Uniform(i, j, 107); };
  const std::vector<Case> all = {{Image("images, squares", SKEAN_TRANSPORT_COST_SQEUCLIDEAN), 5e-4, 1e-3, 1e-5, 0},
                                 {Image("images, L1", SKEAN_TRANSPORT_COST_L1), 1e-3, 1e-3, 1e-5, 0},
                                 {A, 1e-3, 2e-3, 1e-3, 1},
                                 {Cloud("weights in space", 30, 45, 3, SKEAN_TRANSPORT_COST_SQEUCLIDEAN, true, 103), 5e-2, 5e-2, -1, -1}};
  for (const Case &C : all)
    for (const char *type : {SKEANTRANSPORTSSNS, SKEANTRANSPORTSINKHORN}) {
      const Instance &I     = C.I;
      const double    exact = Exact(I);
      if (!I.d && !strcmp(type, SKEANTRANSPORTSINKHORN)) continue; /* does not converge; then nothing is done */
      const PetscInt n = static_cast<PetscInt>(I.r.size()), m = static_cast<PetscInt>(I.c.size());
      auto           fr = [&](PetscInt i) { return I.r[i]; };
      auto           fc = [&](PetscInt j) { return I.c[j]; };
      PetscReal      lower[2], upper[2], cost[2], err[2], gap;
      PetscInt       its[2], cert[2], passes = 0;
      for (int k = 0; k < 2; ++k) {
        Problem p;
        if (I.d)
          ASSERT_PETSC(p.Points(n, m, I.d, fr, fc, I.x, I.y, 1.0, type));
        else
          ASSERT_PETSC(p.Stored(n, m, fr, fc, I.cost, 1.0, type));
        ASSERT_PETSC(SkeanTransportSetCostType(p.t, I.type));
        ASSERT_PETSC(SkeanTransportSetEpsilon(p.t, C.eps, SKEAN_TRANSPORT_EPS_MAX));
        ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-9, PETSC_DEFAULT, PETSC_DEFAULT));
        ASSERT_PETSC(SkeanTransportGetCertificateGap(p.t, &gap));
        EXPECT_EQ(gap, 1e-3);
        if (!k) ASSERT_PETSC(SkeanTransportSetCertificateGap(p.t, 0.0));
        ASSERT_PETSC(SkeanTransportSolve(p.t));
        ASSERT_PETSC(SkeanTransportGetCertificate(p.t, &lower[k], &upper[k]));
        ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost[k], NULL, NULL));
        ASSERT_PETSC(SkeanTransportGetMarginalError(p.t, &err[k]));
        ASSERT_PETSC(SkeanTransportGetIterationNumber(p.t, &its[k]));
        cert[k] = p.t->certpasses;
        passes  = p.t->passes + p.t->keptpasses;
        EXPECT_LE(lower[k], exact * (1 + 1e-12)) << I.name << " " << type;
        EXPECT_GE(upper[k], exact * (1 - 1e-12)) << I.name << " " << type;
        ASSERT_PETSC(p.Destroy());
      }
      EXPECT_EQ(cost[0], cost[1]) << I.name << " " << type;
      EXPECT_EQ(err[0], err[1]) << I.name << " " << type;
      EXPECT_EQ(its[0], its[1]) << I.name << " " << type;
      EXPECT_GT(upper[0] - lower[0], C.before * exact) << I.name << " " << type << ": there is something to do";
      if (C.after > 0)
        EXPECT_LE(upper[1] - lower[1], C.after * exact) << I.name << " " << type;
      else {
        EXPECT_EQ(lower[0], lower[1]) << I.name << " " << type;
        EXPECT_EQ(upper[0], upper[1]) << I.name << " " << type;
      }
      /* the extrapolation takes three; each of at most five epsilons its own bounds besides, and all together no more than the solve, but for the last step */
      EXPECT_LE(cert[1] - cert[0], C.more < 0 ? 0 : 3 + C.more * (passes + 5 * 9 + 5)) << I.name << " " << type;
      EXPECT_GE(cert[1] - cert[0], C.more < 0 ? 0 : 3) << I.name << " " << type;
    }
}

/* random assignment: every cost in [0,1] */
TEST(TransportExact, Assignment)
{
  const PetscInt n = 60;
  Instance       I;
  I.name = "assignment";
  I.r.assign(n, 1.0 / n);
  I.c.assign(n, 1.0 / n);
  I.type             = SKEAN_TRANSPORT_COST_SQEUCLIDEAN;
  I.cost             = [](PetscInt i, PetscInt j) { return Uniform(i, j, 107); };
  const double exact = Exact(I);
  Bracket(I, exact, true, SKEANTRANSPORTSSNS, 1e-5, 1e-6, 1e-3);
  Bracket(I, exact, true, SKEANTRANSPORTSINKHORN, 1e-2, 1e-4, -1);
  Bracket(I, exact, true, SKEANTRANSPORTSNS, 1e-2, 1e-6, -1);
}

/* on a line with a convex cost the plan is the sorted one */
TEST(TransportExact, SortedOnALine)
{
  for (SkeanTransportCostType type : {SKEAN_TRANSPORT_COST_SQEUCLIDEAN, SKEAN_TRANSPORT_COST_L1}) {
    Instance            I = Cloud("line", 50, 50, 1, type, false, 109);
    std::vector<double> a, b;
    for (PetscInt i = 0; i < 50; ++i) {
      a.push_back(I.x(i, 0));
      b.push_back(I.y(i, 0));
    }
    std::sort(a.begin(), a.end());
    std::sort(b.begin(), b.end());
    double want = 0;
    for (PetscInt i = 0; i < 50; ++i) want += (type == SKEAN_TRANSPORT_COST_L1 ? std::fabs(a[i] - b[i]) : (a[i] - b[i]) * (a[i] - b[i])) / 50;
    EXPECT_NEAR(Exact(I), want, 1e-14);
    Bracket(I, want, false, SKEANTRANSPORTSSNS, 1e-5, 1e-6, 1e-3);
  }
}

/*
   A linear map with a positive definite matrix is the gradient of a convex function, hence optimal for any cloud; its cost is then the
   Bures-Wasserstein distance of the two empirical covariances: |m1 - m2|^2 + tr(A + B - 2 (A^(1/2) B A^(1/2))^(1/2)).
*/
TEST(TransportExact, BuresWassersteinOfALinearMap)
{
  const double   T[2][2] = {{1.5, 0.4}, {0.4, 0.7}}, shift[2] = {0.5, -0.25};
  const PetscInt n = 48;
  Instance       I = Cloud("linear map", n, n, 2, SKEAN_TRANSPORT_COST_SQEUCLIDEAN, false, 111);
  I.y              = [&](PetscInt j, PetscInt k) { return shift[k] + T[k][0] * I.x(j, 0) + T[k][1] * I.x(j, 1); };
  double A[2][2] = {{0, 0}, {0, 0}}, B[2][2] = {{0, 0}, {0, 0}}, ma[2] = {0, 0}, mb[2] = {0, 0}, want = 0;
  for (PetscInt i = 0; i < n; ++i)
    for (int k = 0; k < 2; ++k) {
      ma[k] += I.x(i, k) / n;
      mb[k] += I.y(i, k) / n;
      want += (I.x(i, k) - I.y(i, k)) * (I.x(i, k) - I.y(i, k)) / n;
    }
  for (PetscInt i = 0; i < n; ++i)
    for (int k = 0; k < 2; ++k)
      for (int l = 0; l < 2; ++l) {
        A[k][l] += (I.x(i, k) - ma[k]) * (I.x(i, l) - ma[l]) / n;
        B[k][l] += (I.y(i, k) - mb[k]) * (I.y(i, l) - mb[l]) / n;
      }
  /* the eigenvalues of A B are those of A^(1/2) B A^(1/2); trace of the root of a 2 x 2 matrix: sqrt(tr + 2 sqrt(det)) */
  const double tr  = A[0][0] * B[0][0] + A[0][1] * B[1][0] + A[1][0] * B[0][1] + A[1][1] * B[1][1];
  const double det = (A[0][0] * A[1][1] - A[0][1] * A[1][0]) * (B[0][0] * B[1][1] - B[0][1] * B[1][0]);
  const double bw =
    (ma[0] - mb[0]) * (ma[0] - mb[0]) + (ma[1] - mb[1]) * (ma[1] - mb[1]) + A[0][0] + A[1][1] + B[0][0] + B[1][1] - 2 * std::sqrt(tr + 2 * std::sqrt(det));
  EXPECT_NEAR(bw, want, 1e-13);
  Bracket(I, bw, false, SKEANTRANSPORTSSNS, 1e-5, 1e-6, 1e-3);
}

/*
   Two Gaussians in the plane whose covariances do not commute, on a separable grid fine enough for spectral accuracy. With eps KL the plan is
   Gaussian with the cross-covariance K = A^(1/2) (A^(1/2) B A^(1/2) + (eps/4)^2 I)^(1/2) A^(-1/2) - (eps/4) I (Janati, Muzellec, Peyre and Cuturi,
   NeurIPS 2020, Theorem 1, with 2 sigma^2 = eps): <C,P> = |m1-m2|^2 + tr(A + B - 2K).
*/
TEST(TransportExact, EntropicGaussiansInThePlane)
{
  const double   A[2][2] = {{0.5, 0.2}, {0.2, 0.4}}, B[2][2] = {{0.3, -0.12}, {-0.12, 0.45}}, shift = 0.4;
  const double   eps = 0.5;
  const PetscInt w = 41, n[2] = {w, w};
  const double   L = 5.6;
  /* trace of K by the eigenvalues of A B, which are those of A^(1/2) B A^(1/2) */
  const double tr  = A[0][0] * B[0][0] + 2 * A[0][1] * B[1][0] + A[1][1] * B[1][1];
  const double det = (A[0][0] * A[1][1] - A[0][1] * A[1][0]) * (B[0][0] * B[1][1] - B[0][1] * B[1][0]);
  const double l1 = 0.5 * (tr + std::sqrt(tr * tr - 4 * det)), l2 = 0.5 * (tr - std::sqrt(tr * tr - 4 * det)), e = eps / 4;
  const double trK  = std::sqrt(l1 + e * e) + std::sqrt(l2 + e * e) - 2 * e;
  const double want = shift * shift + A[0][0] + A[1][1] + B[0][0] + B[1][1] - 2 * trK;
  auto         mass = [&](const double S[2][2], double m) {
    const double        dd = S[0][0] * S[1][1] - S[0][1] * S[1][0];
    std::vector<double> a;
    for (PetscInt i = 0; i < w * w; ++i) {
      const double x = -L + 2 * L * (i / w) / (w - 1) - m, y = -L + 2 * L * (i % w) / (w - 1);
      a.push_back(std::exp(-0.5 * (S[1][1] * x * x - 2 * S[0][1] * x * y + S[0][0] * y * y) / dd));
    }
    Normalise(a);
    return a;
  };
  const auto      r = mass(A, 0), c = mass(B, shift);
  const PetscReal lo[2] = {-L, -L}, hi[2] = {L, L};
  for (const char *type : {SKEANTRANSPORTSINKHORN, SKEANTRANSPORTSSNS}) {
    Problem p;
    ASSERT_PETSC(p.Grid(
      2, n, lo, hi, [&](PetscInt i) { return r[i]; }, [&](PetscInt j) { return c[j]; }, eps, type));
    ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-12, PETSC_DEFAULT, PETSC_DEFAULT));
    ASSERT_PETSC(SkeanTransportSetCertificate(p.t, PETSC_FALSE));
    ASSERT_PETSC(SkeanTransportSolve(p.t));
    SkeanConvergedReason reason;
    PetscReal            cost;
    ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
    ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost, NULL, NULL));
    EXPECT_GT(reason, 0) << SkeanConvergedReasons[reason];
    EXPECT_NEAR(cost, want, 1e-10) << type;
    ASSERT_PETSC(p.Destroy());
  }
}
