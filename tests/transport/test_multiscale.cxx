/* Coarser problems first: the way to the answer changes, the answer does not */
#include "problems.hpp"
#include <skean/private/transportimpl.h>
#include <algorithm>
#include <string>

using problems::All;
using problems::Problem;
using problems::Uniform;

namespace {
struct Solved {
  SkeanConvergedReason reason;
  PetscReal            cost, lower, upper, err;
  PetscInt             levels, passes;
  std::vector<double>  f;
};

PetscErrorCode Solve(Problem &P, SkeanTransportMultiscale mode, Solved *s)
{
  Vec f;

  PetscFunctionBegin;
  PetscCall(SkeanTransportSetMultiscale(P.t, mode, PETSC_DEFAULT));
  PetscCall(SkeanTransportSolve(P.t));
  PetscCall(SkeanTransportGetConvergedReason(P.t, &s->reason));
  PetscCall(SkeanTransportGetCosts(P.t, &s->cost, NULL, NULL));
  PetscCall(SkeanTransportGetCertificate(P.t, &s->lower, &s->upper));
  PetscCall(SkeanTransportGetMarginalError(P.t, &s->err));
  PetscCall(SkeanTransportGetMultiscale(P.t, NULL, NULL, &s->levels));
  PetscCall(SkeanTransportGetPasses(P.t, &s->passes));
  PetscCall(VecDuplicate(P.r, &f));
  PetscCall(SkeanTransportGetPotentials(P.t, f, NULL));
  s->f = All(f);
  PetscCall(VecDestroy(&f));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double Distance(const Solved &a, const Solved &b)
{
  double e = 0;
  for (size_t i = 0; i < a.f.size(); ++i)
    if (a.f[i] != b.f[i]) e = std::max(e, std::fabs(a.f[i] - b.f[i]));
  return e;
}

/* the same to rounding with and without the ladder, which has levels, and hardly needs more passes over the pairs of the problem itself */
void Compare(Problem &P, PetscInt levels, double scale, const std::string &what)
{
  Solved a, b;
  ASSERT_PETSC(Solve(P, SKEAN_TRANSPORT_MULTISCALE_NEVER, &a));
  ASSERT_PETSC(Solve(P, SKEAN_TRANSPORT_MULTISCALE_ALWAYS, &b));
  EXPECT_EQ(a.levels, 0) << what;
  EXPECT_GE(b.levels, levels) << what;
  EXPECT_GT(a.reason, 0) << what;
  EXPECT_GT(b.reason, 0) << what;
  EXPECT_LE(b.err, 1e-10) << what;
  EXPECT_NEAR(b.cost, a.cost, 1e-10 * scale) << what;
  EXPECT_LE(Distance(a, b), 1e-8 * scale) << what;
  EXPECT_LE(b.lower, a.upper) << what;
  EXPECT_LE(a.lower, b.upper) << what;
  EXPECT_LE(b.passes, a.passes + 2) << what;
}
} // namespace

TEST(TransportMultiscale, CloudsHaveTheSameAnswer)
{
  const SkeanTransportCostType costs[] = {SKEAN_TRANSPORT_COST_SQEUCLIDEAN, SKEAN_TRANSPORT_COST_EUCLIDEAN, SKEAN_TRANSPORT_COST_L1, SKEAN_TRANSPORT_COST_LP,
                                          SKEAN_TRANSPORT_COST_COSINE};
  for (SkeanTransportCostType cost : costs)
    for (bool uneven : {false, true}) {
      if (uneven && cost != SKEAN_TRANSPORT_COST_SQEUCLIDEAN) continue;
      Problem        P;
      const PetscInt n = 1701, m = uneven ? 400 : 1600; /* 400: one side has no coarser cloud */
      ASSERT_PETSC(P.Points(
        n, m, 3, [](PetscInt i) { return (1 + i % 3) / 3402.0; }, [m](PetscInt) { return 1.0 / m; },
        [](PetscInt i, PetscInt k) { return 1 + Uniform(i, k, 3); }, [](PetscInt i, PetscInt k) { return 1.2 + 0.5 * Uniform(i, k, 4) * Uniform(i, k, 5); },
        1.0, uneven ? SKEANTRANSPORTSSNS : SKEANTRANSPORTSINKHORN));
      ASSERT_PETSC(SkeanTransportSetEpsilon(P.t, uneven ? 3e-2 : 0.1, SKEAN_TRANSPORT_EPS_MAX));
      ASSERT_PETSC(SkeanTransportSetCostType(P.t, cost));
      ASSERT_PETSC(SkeanTransportSetTruncation(P.t, 1e-14));
      ASSERT_PETSC(SkeanTransportSetTolerances(P.t, 1e-10, PETSC_DEFAULT, PETSC_DEFAULT));
      Compare(P, 1, 1.0, SkeanTransportCostTypes[cost]);
      ASSERT_PETSC(P.Destroy());
    }
}

/* sizes that are odd, even and too short to be halved; points without mass */
TEST(TransportMultiscale, GridsHaveTheSameAnswer)
{
  const PetscInt  n[3] = {41, 22, 5}, n1 = 2601;
  const PetscReal lo[3] = {0, -1, 0}, hi[3] = {1, 1, 0.3};
  for (int plane = 0; plane < 2; ++plane) {
    Problem    P;
    auto       Mass = [](int seed) { return [seed](PetscInt i) { return i % 11 == 5 ? 0.0 : 0.1 + Uniform(i, 0, seed); }; };
    const bool one  = !plane;
    ASSERT_PETSC(P.Grid(one ? 1 : 3, one ? &n1 : n, lo, hi, Mass(8), Mass(9), 1.0, SKEANTRANSPORTSINKHORN));
    PetscReal sum;
    for (Vec v : {P.r, P.c}) {
      ASSERT_PETSC(VecSum(v, &sum));
      ASSERT_PETSC(VecScale(v, 1 / sum));
    }
    ASSERT_PETSC(SkeanTransportSetEpsilon(P.t, 0.1, SKEAN_TRANSPORT_EPS_MAX));
    ASSERT_PETSC(SkeanTransportSetTolerances(P.t, 1e-10, PETSC_DEFAULT, PETSC_DEFAULT));
    Compare(P, 1, 1.0, one ? "1-d" : "3-d");
    ASSERT_PETSC(P.Destroy());
  }
}

/* many points at few places, processes without points, all mass at one place */
TEST(TransportMultiscale, Degenerate)
{
  for (int kind = 0; kind < 2; ++kind) {
    Problem P;
    Solved  s;
    ASSERT_PETSC(P.Points(
      1800, 1700, 2, [](PetscInt) { return 1.0; }, [](PetscInt) { return 18.0 / 17.0; },
      [kind](PetscInt i, PetscInt k) { return kind ? 0.5 : static_cast<double>((i / (k + 1)) % 7); },
      [kind](PetscInt i, PetscInt k) { return kind ? 0.25 : static_cast<double>((i / (2 * k + 1)) % 5); }, kind ? 1.0 : 2.0, SKEANTRANSPORTSINKHORN));
    ASSERT_PETSC(Solve(P, SKEAN_TRANSPORT_MULTISCALE_ALWAYS, &s));
    EXPECT_GT(s.reason, 0);
    EXPECT_GE(s.levels, 1);
    EXPECT_LE(s.err, 1e-9);
    if (kind) { EXPECT_NEAR(s.cost, 1800 * 2 * 0.25 * 0.25, 1e-6); }
    ASSERT_PETSC(P.Destroy());
  }
}

TEST(TransportMultiscale, WhereThereIsNone)
{
  auto one  = [](PetscInt) { return 1.0; };
  auto cost = [](PetscInt i, PetscInt j) { return Uniform(i, j); };
  {
    Problem P;
    ASSERT_PETSC(P.Stored(20, 20, one, one, cost, 0.1, SKEANTRANSPORTSINKHORN));
    EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSetMultiscale(P.t, SKEAN_TRANSPORT_MULTISCALE_AUTO, 1.0); }), PETSC_ERR_ARG_OUTOFRANGE);
    ASSERT_PETSC(SkeanTransportSetMultiscale(P.t, SKEAN_TRANSPORT_MULTISCALE_ALWAYS, 8.0));
    SkeanTransportMultiscale mode;
    PetscReal                ratio;
    ASSERT_PETSC(SkeanTransportGetMultiscale(P.t, &mode, &ratio, NULL));
    EXPECT_EQ(mode, SKEAN_TRANSPORT_MULTISCALE_ALWAYS);
    EXPECT_EQ(ratio, 8.0);
    EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSolve(P.t); }), PETSC_ERR_SUP);
    ASSERT_PETSC(SkeanTransportSetMultiscale(P.t, SKEAN_TRANSPORT_MULTISCALE_AUTO, PETSC_DEFAULT));
    ASSERT_PETSC(SkeanTransportSolve(P.t));
    ASSERT_PETSC(P.Destroy());
  }
  for (int kind = 0; kind < 2; ++kind) {
    Problem P;
    ASSERT_PETSC(P.Points(20, 20, 2, one, one, cost, cost, 0.1, SKEANTRANSPORTSINKHORN));
    ASSERT_PETSC(SkeanTransportSetMultiscale(P.t, SKEAN_TRANSPORT_MULTISCALE_ALWAYS, PETSC_DEFAULT));
    if (kind)
      ASSERT_PETSC(SkeanTransportSetPartialMass(P.t, 5.0));
    else
      ASSERT_PETSC(SkeanTransportSetMarginalPenalty(P.t, 1.0, PETSC_INFINITY));
    EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSolve(P.t); }), PETSC_ERR_SUP);
    ASSERT_PETSC(P.Destroy());
  }
}
