/* Partial transport: exact small solutions, the inequalities, the verdict, wrong input */
#include "problems.hpp"
#include "reference/exacttransport.hpp"
#include <algorithm>
#include <numeric>

using problems::All;
using problems::Problem;
using problems::Uniform;

namespace {

/* the cheapest way to move k of n unit masses to k of m places, by trying all */
double CheapestPartialAssignment(int n, int m, int k, const std::function<double(int, int)> &cost)
{
  double           best = 1e300;
  std::vector<int> pick(m);
  std::iota(pick.begin(), pick.end(), 0);
  do {
    /* sources i < n that are chosen, in order, go to pick[0], pick[1]...: all subsets of sources by bits */
    for (int set = 0; set < (1 << n); ++set) {
      double s = 0;
      int    q = 0;
      for (int i = 0; i < n && q <= k; ++i)
        if (set & (1 << i)) {
          if (q < k) s += cost(i, pick[q]);
          ++q;
        }
      if (q == k) best = std::min(best, s);
    }
  } while (std::next_permutation(pick.begin(), pick.end()));
  return best;
}

const PetscInt N = 26, M = 31;
double         R(PetscInt i)
{
  return i % 9 == 4 ? 0.0 : 0.02 + 0.05 * Uniform(i, 0, 201);
}
double C(PetscInt j)
{
  return 0.01 + 0.06 * Uniform(j, 1, 201);
}
double X(PetscInt i, PetscInt k)
{
  return Uniform(i, k, 203);
}
double Y(PetscInt j, PetscInt k)
{
  return 0.4 + Uniform(j, k, 205);
}
double Square(PetscInt i, PetscInt j)
{
  return (X(i, 0) - Y(j, 0)) * (X(i, 0) - Y(j, 0)) + (X(i, 1) - Y(j, 1)) * (X(i, 1) - Y(j, 1));
}

/* the exact partial cost by the extended problem, whose solution proves itself */
double Exact(double s, const std::function<double(PetscInt, PetscInt)> &cost)
{
  std::vector<double> r, c;
  double              sr = 0, sc = 0;
  for (PetscInt i = 0; i < N; ++i) sr += R(i);
  for (PetscInt j = 0; j < M; ++j) sc += C(j);
  for (PetscInt i = 0; i < N; ++i) r.push_back(R(i));
  for (PetscInt j = 0; j < M; ++j) c.push_back(C(j));
  r.push_back(std::max(0.0, sc - s));
  c.push_back(std::max(0.0, sr - s));
  const auto E = reference::SolveExactTransport(r, c, [&](size_t i, size_t j) {
    if (i == static_cast<size_t>(N)) return j == static_cast<size_t>(M) ? 1e6 : 0.0;
    return j == static_cast<size_t>(M) ? 0.0 : cost(static_cast<PetscInt>(i), static_cast<PetscInt>(j));
  });
  EXPECT_NEAR(E.primal, E.dual, 1e-12);
  return E.primal;
}

} // namespace

TEST(TransportPartial, ReferenceAgreesWithTryingAll)
{
  const int  n = 4, m = 5, k = 3;
  auto       cost = [](int i, int j) { return Uniform(i, j, 207); };
  const auto E    = reference::SolveExactTransport(std::vector<double>{1, 1, 1, 1, 2}, std::vector<double>{1, 1, 1, 1, 1, 1}, [&](size_t i, size_t j) {
    if (i == 4) return j == 5 ? 1e6 : 0.0;
    return j == 5 ? 0.0 : cost(static_cast<int>(i), static_cast<int>(j));
  });
  EXPECT_NEAR(E.primal, CheapestPartialAssignment(n, m, k, cost), 1e-14);
  Problem p;
  auto    one = [](PetscInt) { return 1.0; };
  ASSERT_PETSC(p.Stored(
    n, m, one, one, [&](PetscInt i, PetscInt j) { return cost(static_cast<int>(i), static_cast<int>(j)); }, 1e-4, SKEANTRANSPORTSSNS));
  ASSERT_PETSC(SkeanTransportSetPartialMass(p.t, 3.0));
  ASSERT_PETSC(SkeanTransportSolve(p.t));
  PetscReal lower, upper;
  ASSERT_PETSC(SkeanTransportGetCertificate(p.t, &lower, &upper));
  EXPECT_LE(lower, E.primal + 1e-12);
  EXPECT_GE(upper, E.primal - 1e-12);
  EXPECT_LE(upper - lower, 1e-3 * E.primal);
  ASSERT_PETSC(p.Destroy());
}

/* bounds around the exact cost and close; P1 <= r, P'1 <= c, mass s; for little mass, half, and all that the smaller side has */
TEST(TransportPartial, ExactCostIsBracketed)
{
  double sr = 0, sc = 0;
  for (PetscInt i = 0; i < N; ++i) sr += R(i);
  for (PetscInt j = 0; j < M; ++j) sc += C(j);
  ASSERT_NE(sr, sc);
  for (double fraction : {0.2, 0.6, 1.0}) {
    const double s = fraction * std::min(sr, sc), exact = Exact(s, Square);
    for (int how = 0; how < 4; ++how) {
      const char *type = how == 3 ? SKEANTRANSPORTSNS : (how == 2 ? SKEANTRANSPORTSINKHORN : SKEANTRANSPORTSSNS);
      Problem     p;
      if (how == 0)
        ASSERT_PETSC(p.Stored(N, M, R, C, Square, 1.0, type));
      else
        ASSERT_PETSC(p.Points(N, M, 2, R, C, X, Y, 1.0, type));
      const bool   sharp = how < 2;
      const double tol   = sharp ? 1e-7 : 1e-9;
      ASSERT_PETSC(SkeanTransportSetEpsilon(p.t, sharp ? 1e-5 : 2e-2, SKEAN_TRANSPORT_EPS_MAX));
      ASSERT_PETSC(SkeanTransportSetPartialMass(p.t, s));
      ASSERT_PETSC(SkeanTransportSetTolerances(p.t, tol, PETSC_DEFAULT, PETSC_DEFAULT));
      ASSERT_PETSC(SkeanTransportSolve(p.t));
      SkeanConvergedReason reason;
      PetscReal            lower, upper, cost, err;
      ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
      ASSERT_PETSC(SkeanTransportGetMarginalError(p.t, &err));
      EXPECT_GT(reason, 0) << type << " fraction " << fraction << " " << SkeanConvergedReasons[reason] << " " << err;
      EXPECT_LE(err, tol);
      ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost, NULL, NULL));
      ASSERT_PETSC(SkeanTransportGetCertificate(p.t, &lower, &upper));
      EXPECT_LE(lower, exact + 1e-12) << type << " fraction " << fraction;
      EXPECT_GE(upper, exact - 1e-12) << type << " fraction " << fraction;
      PetscReal eps;
      ASSERT_PETSC(SkeanTransportGetEpsilon(p.t, &eps));
      /* no more than eps times the largest entropy */
      if (sharp) { EXPECT_LE(upper - lower, eps * (sr + sc - s) * std::log((N + 1.0) * (M + 1.0))) << "fraction " << fraction; }
      /* the plan, by products and entry by entry */
      Vec one, row, onen, col, entries;
      Mat P;
      ASSERT_PETSC(VecDuplicate(p.c, &one));
      ASSERT_PETSC(VecDuplicate(p.r, &row));
      ASSERT_PETSC(VecDuplicate(p.r, &onen));
      ASSERT_PETSC(VecDuplicate(p.c, &col));
      ASSERT_PETSC(VecDuplicate(p.r, &entries));
      ASSERT_PETSC(VecSet(one, 1.0));
      ASSERT_PETSC(VecSet(onen, 1.0));
      ASSERT_PETSC(SkeanTransportApply(p.t, one, row));
      ASSERT_PETSC(SkeanTransportApplyTranspose(p.t, onen, col));
      ASSERT_PETSC(SkeanTransportGetPlan(p.t, 0.0, &P));
      ASSERT_PETSC(MatMult(P, one, entries));
      const auto   ar = All(row), ac = All(col), ae = All(entries);
      double       moved = 0, arrived = 0;
      const double slack = tol * (sr + sc);
      for (PetscInt i = 0; i < N; ++i) {
        EXPECT_LE(ar[i], R(i) + slack);
        EXPECT_NEAR(ae[i], ar[i], 1e-13);
        moved += ar[i];
      }
      for (PetscInt j = 0; j < M; ++j) {
        EXPECT_LE(ac[j], C(j) + slack);
        arrived += ac[j];
      }
      EXPECT_NEAR(moved, s, slack);
      EXPECT_NEAR(arrived, s, slack);
      /* the map averages what moves alone: it stays in the box of the targets */
      if (how == 1) {
        Mat T;
        ASSERT_PETSC(SkeanTransportGetMap(p.t, &T));
        PetscInt lo, hi;
        ASSERT_PETSC(MatGetOwnershipRange(T, &lo, &hi));
        for (PetscInt i = lo; i < hi; ++i)
          if (ar[i] > 1e-6 * s) {
            PetscScalar    x;
            const PetscInt k = 0;
            ASSERT_EQ(MatGetValues(T, 1, &i, 1, &k, &x), 0);
            EXPECT_GE(x, 0.4 - 1e-9);
            EXPECT_LE(x, 1.4 + 1e-9);
          }
        ASSERT_PETSC(MatDestroy(&T));
      }
      ASSERT_PETSC(MatDestroy(&P));
      for (Vec *v : {&one, &row, &onen, &col, &entries}) ASSERT_PETSC(VecDestroy(v));
      ASSERT_PETSC(p.Destroy());
    }
  }
}

/* on a grid, whose Newton systems have no matrix, the same as with the points; all the mass is balanced transport; potentials restart the solve */
TEST(TransportPartial, GridsAllMassAndRestart)
{
  const PetscInt  n[2]  = {6, 5};
  const PetscReal lo[2] = {0, 0}, hi[2] = {1, 0.8};
  auto            fr    = [](PetscInt i) { return i % 4 == 1 ? 0.0 : 0.1 + Uniform(i, 0, 209); };
  auto            fc    = [](PetscInt i) { return 0.1 + Uniform(i, 1, 209); };
  auto            coord = [](PetscInt i, PetscInt k) { return k ? 0.2 * (i % 5) : 0.2 * (i / 5); };
  for (const char *type : {SKEANTRANSPORTSINKHORN, SKEANTRANSPORTSSNS}) {
    PetscReal cost[2], ent[2], lower[2], upper[2];
    for (int grid = 0; grid < 2; ++grid) {
      Problem p;
      if (grid)
        ASSERT_PETSC(p.Grid(2, n, lo, hi, fr, fc, 0.03, type));
      else
        ASSERT_PETSC(p.Points(30, 30, 2, fr, fc, coord, coord, 0.03, type));
      ASSERT_PETSC(SkeanTransportSetPartialMass(p.t, 5.0));
      ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-11, PETSC_DEFAULT, PETSC_DEFAULT));
      ASSERT_PETSC(SkeanTransportSolve(p.t));
      SkeanConvergedReason reason;
      ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
      EXPECT_GT(reason, 0) << type << " grid " << grid << " " << SkeanConvergedReasons[reason];
      ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost[grid], &ent[grid], NULL));
      ASSERT_PETSC(SkeanTransportGetCertificate(p.t, &lower[grid], &upper[grid]));
      for (SkeanTransportEntropy e : {SKEAN_TRANSPORT_ENTROPY_KL, SKEAN_TRANSPORT_ENTROPY_PLAIN}) {
        Vec       f, g;
        PetscInt  its;
        PetscReal again;
        ASSERT_PETSC(SkeanTransportSetEntropy(p.t, e));
        ASSERT_PETSC(SkeanTransportSetInitialPotentials(p.t, NULL, NULL));
        ASSERT_PETSC(SkeanTransportSolve(p.t));
        ASSERT_PETSC(VecDuplicate(p.r, &f));
        ASSERT_PETSC(VecDuplicate(p.c, &g));
        ASSERT_PETSC(SkeanTransportGetPotentials(p.t, f, g));
        const auto af = All(f), ag = All(g);
        /* leaving a source costs nothing: nobody pays to stay, but for the entropy */
        if (e == SKEAN_TRANSPORT_ENTROPY_KL)
          for (PetscInt i = 0; i < 30; ++i)
            if (fr(i) > 0) { EXPECT_LE(af[i], 0.03 * std::log(20.0)); }
        ASSERT_PETSC(SkeanTransportSetInitialPotentials(p.t, f, g));
        ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-9, PETSC_DEFAULT, PETSC_DEFAULT));
        ASSERT_PETSC(SkeanTransportSolve(p.t));
        ASSERT_PETSC(SkeanTransportGetIterationNumber(p.t, &its));
        ASSERT_PETSC(SkeanTransportGetCosts(p.t, &again, NULL, NULL));
        EXPECT_EQ(its, 0) << type << " entropy " << e;
        EXPECT_NEAR(again, cost[grid], 1e-7);
        ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-11, PETSC_DEFAULT, PETSC_DEFAULT));
        ASSERT_PETSC(VecDestroy(&f));
        ASSERT_PETSC(VecDestroy(&g));
      }
      ASSERT_PETSC(p.Destroy());
    }
    EXPECT_NEAR(cost[0], cost[1], 1e-9) << type;
    EXPECT_NEAR(ent[0], ent[1], 1e-8) << type;
    EXPECT_NEAR(lower[0], lower[1], 1e-8) << type;
    EXPECT_NEAR(upper[0], upper[1], 1e-8) << type;
  }
  /* all of equal masses, and no partial mass: the same */
  PetscReal cost[2];
  for (int part = 0; part < 2; ++part) {
    Problem p;
    ASSERT_PETSC(p.Points(
      30, 30, 2, fc, fc, coord, [&](PetscInt i, PetscInt k) { return 2 * coord(i, k); }, 0.03, SKEANTRANSPORTSSNS));
    if (part) {
      PetscReal s;
      ASSERT_PETSC(VecSum(p.c, &s));
      ASSERT_PETSC(SkeanTransportSetPartialMass(p.t, s));
    }
    ASSERT_PETSC(SkeanTransportSolve(p.t));
    ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost[part], NULL, NULL));
    if (part) { /* switched off again */
      ASSERT_PETSC(SkeanTransportSetPartialMass(p.t, 0.0));
      ASSERT_PETSC(SkeanTransportSolve(p.t));
      PetscReal again;
      ASSERT_PETSC(SkeanTransportGetCosts(p.t, &again, NULL, NULL));
      EXPECT_NEAR(again, cost[0], 1e-12);
    }
    ASSERT_PETSC(p.Destroy());
  }
  EXPECT_NEAR(cost[0], cost[1], 1e-9);
}

TEST(TransportPartial, NegativeCostsKeepTheBounds)
{
  auto         cost  = [](PetscInt i, PetscInt j) { return Square(i, j) - 0.5; };
  const double exact = Exact(0.4, cost);
  for (int its : {3, 10000}) { /* also where the certificate has much to repair */
    Problem   p;
    PetscReal lower, upper;
    ASSERT_PETSC(p.Stored(N, M, R, C, cost, 1e-3, SKEANTRANSPORTSSNS));
    ASSERT_PETSC(SkeanTransportSetPartialMass(p.t, 0.4));
    ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-9, PETSC_DEFAULT, its));
    ASSERT_PETSC(SkeanTransportSolve(p.t));
    ASSERT_PETSC(SkeanTransportGetCertificate(p.t, &lower, &upper));
    EXPECT_LE(lower, exact + 1e-12) << its;
    EXPECT_GE(upper, exact - 1e-12) << its;
    ASSERT_PETSC(p.Destroy());
  }
}

TEST(TransportPartial, WrongInputIsSaidClearly)
{
  std::string message;
  Problem     p;
  PetscReal   x;
  ASSERT_PETSC(p.Points(N, M, 2, R, C, X, Y, 0.05, SKEANTRANSPORTSINKHORN));
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSetPartialMass(p.t, -1.0); }), PETSC_ERR_ARG_OUTOFRANGE);
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSetPartialMass(p.t, NAN); }), PETSC_ERR_ARG_OUTOFRANGE);
  ASSERT_PETSC(SkeanTransportSetPartialMass(p.t, 100.0));
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSolve(p.t); }, &message), PETSC_ERR_ARG_OUTOFRANGE);
  EXPECT_NE(message.find("exceeds"), std::string::npos) << message;
  ASSERT_PETSC(SkeanTransportSetPartialMass(p.t, 0.3));
  ASSERT_PETSC(SkeanTransportGetPartialMass(p.t, &x));
  EXPECT_EQ(x, 0.3);
  ASSERT_PETSC(SkeanTransportSetMarginalPenalty(p.t, 1.0, 1.0));
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSolve(p.t); }, &message), PETSC_ERR_SUP);
  ASSERT_PETSC(SkeanTransportSetMarginalPenalty(p.t, PETSC_INFINITY, PETSC_INFINITY));
  ASSERT_PETSC(SkeanTransportSolve(p.t));
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportGetDivergence(p.t, &x); }), PETSC_ERR_SUP);
  ASSERT_PETSC(p.Destroy());
}
