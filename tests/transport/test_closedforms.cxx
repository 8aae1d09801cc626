/* Answers known in closed form, for every type and several ways to give the cost */
#include "problems.hpp"

using problems::Problem;
using problems::Uniform;

static const char *const types[] = {SKEANTRANSPORTSINKHORN, SKEANTRANSPORTSSNS, SKEANTRANSPORTSNS};

static void ExpectConverged(SkeanTransport t, double tol)
{
  SkeanConvergedReason reason;
  PetscReal            err;
  ASSERT_PETSC(SkeanTransportGetConvergedReason(t, &reason));
  ASSERT_PETSC(SkeanTransportGetMarginalError(t, &err));
  EXPECT_GT(reason, 0) << SkeanConvergedReasons[reason];
  EXPECT_LE(err, tol);
}

TEST(TransportClosed, RankOneCostGivesTheProductPlan)
{
  const PetscInt n = 13, m = 9;
  double         sr = 0, sc = 0;
  for (PetscInt i = 0; i < n; ++i) sr += 1.0 + i;
  for (PetscInt j = 0; j < m; ++j) sc += 2.0 + j;
  auto fr = [&](PetscInt i) { return (1.0 + i) / sr; };
  auto fc = [&](PetscInt j) { return (2.0 + j) / sc; };
  for (const char *type : types) {
    Problem p;
    ASSERT_PETSC(p.Stored(
      n, m, fr, fc, [&](PetscInt i, PetscInt j) { return std::sin(i) + 2 + std::cos(j); }, 0.05, type));
    ASSERT_PETSC(SkeanTransportSolve(p.t));
    ExpectConverged(p.t, 1e-9);
    Mat P;
    ASSERT_PETSC(SkeanTransportGetPlan(p.t, 0.0, &P));
    PetscInt lo, hi;
    ASSERT_PETSC(MatGetOwnershipRange(P, &lo, &hi));
    for (PetscInt i = lo; i < hi; ++i) {
      const PetscInt    *cols;
      const PetscScalar *vals;
      PetscInt           nc;
      ASSERT_EQ(MatGetRow(P, i, &nc, &cols, &vals), 0);
      EXPECT_EQ(nc, m);
      for (PetscInt k = 0; k < nc; ++k) EXPECT_NEAR(vals[k], fr(i) * fc(cols[k]), 1e-11) << type;
      ASSERT_EQ(MatRestoreRow(P, i, &nc, &cols, &vals), 0);
    }
    PetscReal kl, lower, upper, cost;
    ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost, &kl, NULL));
    ASSERT_PETSC(SkeanTransportGetCertificate(p.t, &lower, &upper));
    EXPECT_NEAR(kl, 0.0, 1e-9) << type;
    EXPECT_NEAR(lower, cost, 1e-9) << "every plan is optimal";
    EXPECT_NEAR(upper, cost, 1e-9);
    ASSERT_PETSC(MatDestroy(&P));
    ASSERT_PETSC(p.Destroy());
  }
}

TEST(TransportClosed, TwoByTwo)
{
  /* P11 = 0.5/(1 + exp(-(c12 + c21 - c11 - c22)/(2 eps))); four processes: two own nothing */
  const double C[2][2] = {{0.1, 0.7}, {0.4, 0.2}};
  for (const char *type : types)
    for (double eps : {0.5, 0.05, 0.01}) {
      Problem p;
      ASSERT_PETSC(p.Stored(
        2, 2, [](PetscInt) { return 0.5; }, [](PetscInt) { return 0.5; }, [&](PetscInt i, PetscInt j) { return C[i][j]; }, eps, type));
      ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-13, PETSC_DEFAULT, PETSC_DEFAULT));
      ASSERT_PETSC(SkeanTransportSolve(p.t));
      const double p11  = 0.5 / (1 + std::exp(-(C[0][1] + C[1][0] - C[0][0] - C[1][1]) / (2 * eps)));
      const double want = p11 * (C[0][0] + C[1][1]) + (0.5 - p11) * (C[0][1] + C[1][0]);
      PetscReal    cost;
      ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost, NULL, NULL));
      /* the plan is 1/(1 - rate) = O(1/p12) more sensitive than the marginals */
      EXPECT_NEAR(cost, want, 1e-13 * (2 + 1.0 / std::max(0.5 - p11, 1e-3))) << type << " eps " << eps;
      ASSERT_PETSC(p.Destroy());
    }
}

/* 1-D Gaussians, |x-y|^2 and eps KL: cross-covariance k = -eps/4 + sqrt(eps^2/16 + s1^2 s2^2) */
TEST(TransportClosed, GaussiansOnALine)
{
  const PetscInt n  = 401;
  const double   m1 = -0.5, s1 = 0.8, m2 = 0.7, s2 = 0.5, h = 14.0 / (n - 1);
  auto           x    = [&](PetscInt i) { return -7 + h * i; };
  auto           mass = [&](double m, double s) {
    std::vector<double> a(n);
    double              tot = 0;
    for (PetscInt i = 0; i < n; ++i) tot += a[i] = std::exp(-0.5 * (x(i) - m) * (x(i) - m) / (s * s));
    for (auto &t : a) t /= tot;
    return a;
  };
  const auto r = mass(m1, s1), c = mass(m2, s2);
  for (double eps : {1.0, 0.2}) {
    const double k = -eps / 4 + std::sqrt(eps * eps / 16 + s1 * s1 * s2 * s2), want = (m1 - m2) * (m1 - m2) + s1 * s1 + s2 * s2 - 2 * k;
    const double kl = -0.5 * std::log(1 - k * k / (s1 * s1 * s2 * s2));
    for (const char *type : {SKEANTRANSPORTSINKHORN, SKEANTRANSPORTSSNS})
      for (int grid = 0; grid < 2; ++grid) {
        Problem p;
        ASSERT_PETSC(p.Points(
          n, n, 1, [&](PetscInt i) { return r[i]; }, [&](PetscInt j) { return c[j]; }, [&](PetscInt i, PetscInt) { return x(i); },
          [&](PetscInt j, PetscInt) { return x(j); }, eps, type));
        const PetscInt  nn = n;
        const PetscReal lo = -7, hi = 7;
        if (grid) ASSERT_PETSC(SkeanTransportSetGrid(p.t, 1, &nn, &lo, &hi));
        ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-13, PETSC_DEFAULT, PETSC_DEFAULT));
        ASSERT_PETSC(SkeanTransportSetCertificate(p.t, PETSC_FALSE));
        ASSERT_PETSC(SkeanTransportSolve(p.t));
        PetscReal cost, ent, total;
        ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost, &ent, &total));
        EXPECT_NEAR(cost, want, 1e-12 * want) << type << " eps " << eps << " grid " << grid;
        EXPECT_NEAR(ent, kl, 1e-11) << type;
        EXPECT_NEAR(total, want + eps * kl, 1e-11) << type;
        ASSERT_PETSC(p.Destroy());
      }
  }
}

TEST(TransportClosed, TranslationAndItsMap)
{
  const PetscInt n = 60, d = 2;
  const double   shift[2] = {0.3, -0.2};
  auto           x        = [&](PetscInt i, PetscInt k) { return Uniform(i, k, 5); };
  auto           one      = [&](PetscInt) { return 1.0 / 60; };
  Problem        p;
  ASSERT_PETSC(p.Points(
    n, n, d, one, one, x, [&](PetscInt j, PetscInt k) { return x(j, k) + shift[k]; }, 1e-5, SKEANTRANSPORTSSNS));
  ASSERT_PETSC(SkeanTransportSolve(p.t));
  ExpectConverged(p.t, 1e-9);
  PetscReal lower, upper, cost;
  ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost, NULL, NULL));
  ASSERT_PETSC(SkeanTransportGetCertificate(p.t, &lower, &upper));
  const double want = shift[0] * shift[0] + shift[1] * shift[1];
  EXPECT_LE(lower, want * (1 + 1e-12));
  EXPECT_GE(upper, want * (1 - 1e-12));
  EXPECT_LE((upper - lower) / want, 1e-3);
  EXPECT_NEAR(cost, want, 1e-4);
  Mat T;
  ASSERT_PETSC(SkeanTransportGetMap(p.t, &T));
  PetscInt lo, hi;
  ASSERT_PETSC(MatGetOwnershipRange(T, &lo, &hi));
  for (PetscInt i = lo; i < hi; ++i)
    for (PetscInt k = 0; k < d; ++k) {
      PetscScalar v;
      ASSERT_EQ(MatGetValues(T, 1, &i, 1, &k, &v), 0);
      EXPECT_NEAR(v, x(i, k) + shift[k], 0.02);
    }
  ASSERT_PETSC(MatDestroy(&T));
  ASSERT_PETSC(p.Destroy());
}

/* W1 on a path: sum over the edges of |mass on one side's difference| */
TEST(TransportClosed, PathW1IsBracketed)
{
  const PetscInt      n = 40;
  std::vector<double> r(n), c(n);
  double              sr = 0, sc = 0, want = 0, f = 0;
  for (PetscInt i = 0; i < n; ++i) {
    sr += r[i] = i % 3 ? Uniform(i, 0, 6) : 0.0; /* some without mass */
    sc += c[i] = i % 4 ? Uniform(i, 1, 6) : 0.0;
  }
  for (PetscInt i = 0; i < n; ++i) {
    f += r[i] / sr - c[i] / sc;
    want += std::fabs(f);
  }
  for (const char *type : {SKEANTRANSPORTSINKHORN, SKEANTRANSPORTSSNS}) {
    Problem p;
    ASSERT_PETSC(p.Points(
      n, n, 1, [&](PetscInt i) { return r[i] / sr; }, [&](PetscInt j) { return c[j] / sc; }, [](PetscInt i, PetscInt) { return 1.0 * i; },
      [](PetscInt j, PetscInt) { return 1.0 * j; }, type == std::string(SKEANTRANSPORTSSNS) ? 0.02 : 0.5, type));
    ASSERT_PETSC(SkeanTransportSetCostType(p.t, SKEAN_TRANSPORT_COST_L1));
    ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-7, PETSC_DEFAULT, 50000));
    ASSERT_PETSC(SkeanTransportSolve(p.t));
    ExpectConverged(p.t, 1e-7);
    PetscReal lower, upper;
    ASSERT_PETSC(SkeanTransportGetCertificate(p.t, &lower, &upper));
    EXPECT_LE(lower, want * (1 + 1e-12)) << type;
    EXPECT_GE(upper, want * (1 - 1e-12)) << type;
    EXPECT_LE((upper - lower) / want, type == std::string(SKEANTRANSPORTSSNS) ? 2e-2 : 0.5) << type;
    ASSERT_PETSC(p.Destroy());
  }
}
