/* The class: types against each other, numbers of processes, options, wrong input, invalidation, reasons */
#include "problems.hpp"
#include <skean/private/transportimpl.h>
#include <fstream>
#include <sstream>

using problems::All;
using problems::Problem;
using problems::Uniform;

namespace {
const PetscInt N = 23, M = 17;
double         sumr = 0, sumc = 0;
double         MassR(PetscInt i)
{
  return i % 5 == 3 ? 0.0 : 0.2 + Uniform(i, 0, 11); /* zeros among them */
}
double MassC(PetscInt j)
{
  return j % 7 == 2 ? 0.0 : 0.1 + Uniform(j, 1, 11);
}
double R(PetscInt i)
{
  if (sumr == 0)
    for (PetscInt k = 0; k < N; ++k) sumr += MassR(k);
  return 3.0 * MassR(i) / sumr; /* total mass 3 */
}
double C(PetscInt j)
{
  if (sumc == 0)
    for (PetscInt k = 0; k < M; ++k) sumc += MassC(k);
  return 3.0 * MassC(j) / sumc;
}
double X(PetscInt i, PetscInt k)
{
  return Uniform(i, k, 12);
}
double Y(PetscInt j, PetscInt k)
{
  return 0.3 + Uniform(j, k, 13);
}

/* An obvious sequential Sinkhorn in the log domain, to full convergence: transport cost and KL */
struct Reference {
  std::vector<std::vector<double>> P;
  double                           cost = 0, kl = 0;
};
Reference Solve(const std::function<double(PetscInt, PetscInt)> &c, double eps)
{
  Reference           ref;
  std::vector<double> f(N, 0), g(M, 0);
  auto                pass = [&](bool rows) {
    for (PetscInt a = 0; a < (rows ? N : M); ++a) {
      double mx = -1e300, s = 0;
      for (int phase = 0; phase < 2; ++phase)
        for (PetscInt b = 0; b < (rows ? M : N); ++b) {
          const PetscInt i = rows ? a : b, j = rows ? b : a;
          const double   mass = rows ? C(j) / 3 : R(i) / 3;
          if (mass == 0) continue;
          const double t = ((rows ? g[j] : f[i]) - c(i, j)) / eps + std::log(mass);
          if (phase == 0)
            mx = std::max(mx, t);
          else
            s += std::exp(t - mx);
        }
      (rows ? f[a] : g[a]) = -eps * (mx + std::log(s));
    }
  };
  for (int it = 0; it < 4000; ++it) {
    const auto before = g;
    double     change = 0;
    pass(true);
    pass(false);
    for (PetscInt j = 0; j < M; ++j) change = std::max(change, std::fabs(g[j] - before[j]));
    if (change < 1e-15) break;
  }
  ref.P.assign(N, std::vector<double>(M, 0));
  for (PetscInt i = 0; i < N; ++i)
    for (PetscInt j = 0; j < M; ++j) {
      const double q = R(i) * C(j) / 3;
      if (q == 0) continue;
      const double p = ref.P[i][j] = q * std::exp((f[i] + g[j] - c(i, j)) / eps);
      ref.cost += p * c(i, j);
      ref.kl += p * std::log(p / q);
    }
  return ref;
}
double CostOf(SkeanTransportCostType type, PetscInt d, PetscInt i, PetscInt j)
{
  double sq = 0, l1 = 0, lp = 0, xy = 0, xx = 0, yy = 0;
  for (PetscInt k = 0; k < d; ++k) {
    const double t = std::fabs(X(i, k) - Y(j, k));
    sq += t * t;
    l1 += t;
    lp += std::pow(t, 1.5);
    xy += X(i, k) * Y(j, k);
    xx += X(i, k) * X(i, k);
    yy += Y(j, k) * Y(j, k);
  }
  switch (type) {
  case SKEAN_TRANSPORT_COST_SQEUCLIDEAN:
    return sq;
  case SKEAN_TRANSPORT_COST_EUCLIDEAN:
    return std::sqrt(sq);
  case SKEAN_TRANSPORT_COST_L1:
    return l1;
  case SKEAN_TRANSPORT_COST_LP:
    return lp;
  case SKEAN_TRANSPORT_COST_COSINE:
    return 1 - xy / std::sqrt(xx * yy);
  default:
    return 2 * sq + 0.1;
  }
}
PetscErrorCode TwiceSquare(PetscInt d, const PetscReal x[], PetscInt ny, const PetscReal y[], PetscReal c[], void *ctx)
{
  if (ctx) return PETSC_ERR_LIB;
  for (PetscInt j = 0; j < ny; ++j) {
    c[j] = 0.1;
    for (PetscInt k = 0; k < d; ++k) c[j] += 2 * (x[k] - y[j * d + k]) * (x[k] - y[j * d + k]);
  }
  return PETSC_SUCCESS;
}
} // namespace

/* every cost, every type: plan, cost, entropy against the reference; the same for every number of processes because the reference is */
TEST(Transport, AllCostsAndTypesAgainstTheReference)
{
  const double eps = 0.1;
  for (PetscInt d : {2, 18})
    for (int type = 0; type <= SKEAN_TRANSPORT_COST_USER; ++type) {
      const SkeanTransportCostType ct  = static_cast<SkeanTransportCostType>(type);
      const Reference              ref = Solve([&](PetscInt i, PetscInt j) { return CostOf(ct, d, i, j); }, eps);
      for (const char *method : {SKEANTRANSPORTSINKHORN, SKEANTRANSPORTSSNS, SKEANTRANSPORTSNS}) {
        Problem p;
        ASSERT_PETSC(p.Points(N, M, d, R, C, X, Y, eps, method));
        if (ct == SKEAN_TRANSPORT_COST_USER)
          ASSERT_PETSC(SkeanTransportSetCostFunction(p.t, TwiceSquare, NULL));
        else
          ASSERT_PETSC(SkeanTransportSetCostType(p.t, ct));
        ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-12, PETSC_DEFAULT, PETSC_DEFAULT));
        ASSERT_PETSC(SkeanTransportSolve(p.t));
        SkeanConvergedReason reason;
        PetscReal            cost, kl, total, lower, upper, err;
        ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
        EXPECT_GT(reason, 0) << SkeanConvergedReasons[reason] << " " << method << " cost " << type << " d " << d;
        ASSERT_PETSC(SkeanTransportGetMarginalError(p.t, &err));
        EXPECT_LE(err, 1e-12);
        ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost, &kl, &total));
        EXPECT_NEAR(cost, ref.cost, 1e-10 * ref.cost) << method << " cost " << type << " d " << d;
        EXPECT_NEAR(kl, ref.kl, 1e-9 * (1 + ref.kl)) << method;
        EXPECT_NEAR(total, cost + eps * kl, 1e-14 * total);
        ASSERT_PETSC(SkeanTransportGetCertificate(p.t, &lower, &upper));
        EXPECT_LE(lower, cost * (1 + 1e-12));
        EXPECT_GE(upper, lower);
        /* products with the plan, both ways */
        Vec x, Px, z, Ptz;
        ASSERT_PETSC(problems::MakeVec(
          M, [](PetscInt j) { return std::sin(j); }, &x));
        ASSERT_PETSC(problems::MakeVec(
          N, [](PetscInt i) { return std::cos(i); }, &z));
        ASSERT_PETSC(VecDuplicate(p.r, &Px));
        ASSERT_PETSC(VecDuplicate(p.c, &Ptz));
        ASSERT_PETSC(SkeanTransportApply(p.t, x, Px));
        ASSERT_PETSC(SkeanTransportApplyTranspose(p.t, z, Ptz));
        const auto ax = All(Px), az = All(Ptz);
        for (PetscInt i = 0; i < N; ++i) {
          long double s = 0;
          for (PetscInt j = 0; j < M; ++j) s += ref.P[i][j] * std::sin(j);
          EXPECT_NEAR(ax[i], s, 1e-10);
        }
        for (PetscInt j = 0; j < M; ++j) {
          long double s = 0;
          for (PetscInt i = 0; i < N; ++i) s += ref.P[i][j] * std::cos(i);
          EXPECT_NEAR(az[j], s, 1e-10);
        }
        ASSERT_PETSC(VecDestroy(&x));
        ASSERT_PETSC(VecDestroy(&Px));
        ASSERT_PETSC(VecDestroy(&z));
        ASSERT_PETSC(VecDestroy(&Ptz));
        ASSERT_PETSC(p.Destroy());
      }
    }
}

/* potentials in both conventions give the plan; the gauge is the one promised; starting from them needs no iteration */
TEST(Transport, PotentialsGiveThePlanAndRestart)
{
  const double eps = 0.03;
  for (SkeanTransportEntropy ent : {SKEAN_TRANSPORT_ENTROPY_KL, SKEAN_TRANSPORT_ENTROPY_PLAIN}) {
    Problem p;
    Vec     f, g;
    Mat     P;
    ASSERT_PETSC(p.Points(N, M, 2, R, C, X, Y, eps, SKEANTRANSPORTSSNS));
    ASSERT_PETSC(SkeanTransportSetEntropy(p.t, ent));
    ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-12, PETSC_DEFAULT, PETSC_DEFAULT));
    ASSERT_PETSC(SkeanTransportSolve(p.t));
    ASSERT_PETSC(VecDuplicate(p.r, &f));
    ASSERT_PETSC(VecDuplicate(p.c, &g));
    ASSERT_PETSC(SkeanTransportGetPotentials(p.t, f, g));
    ASSERT_PETSC(SkeanTransportGetPlan(p.t, 1e-30, &P));
    const auto af = All(f), ag = All(g);
    double     entropy = 0, gauge = 0;
    PetscInt   lo, hi;
    ASSERT_PETSC(MatGetOwnershipRange(P, &lo, &hi));
    for (PetscInt i = 0; i < N; ++i) EXPECT_EQ(af[i] <= PETSC_NINFINITY, R(i) == 0);
    for (PetscInt i = lo; i < hi; ++i) {
      const PetscInt    *cols;
      const PetscScalar *vals;
      PetscInt           nc;
      double             row = 0;
      ASSERT_EQ(MatGetRow(P, i, &nc, &cols, &vals), 0);
      for (PetscInt k = 0; k < nc; ++k) {
        const double e = std::exp((af[i] + ag[cols[k]] - CostOf(SKEAN_TRANSPORT_COST_SQEUCLIDEAN, 2, i, cols[k])) / eps);
        const double q = R(i) * C(cols[k]) / 3;
        EXPECT_NEAR(vals[k], ent == SKEAN_TRANSPORT_ENTROPY_KL ? q * e : e, 1e-11 * (vals[k] + 1e-3));
        entropy += vals[k] * std::log(ent == SKEAN_TRANSPORT_ENTROPY_KL ? vals[k] / q : vals[k]);
        row += vals[k];
      }
      ASSERT_EQ(MatRestoreRow(P, i, &nc, &cols, &vals), 0);
      EXPECT_NEAR(row, R(i), 1e-11);
    }
    MPI_Allreduce(MPI_IN_PLACE, &entropy, 1, MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD);
    PetscReal value;
    ASSERT_PETSC(SkeanTransportGetCosts(p.t, NULL, &value, NULL));
    EXPECT_NEAR(value, entropy, 1e-9 * (1 + std::fabs(entropy)));
    if (ent == SKEAN_TRANSPORT_ENTROPY_KL) {
      for (PetscInt i = 0; i < N; ++i)
        if (R(i) > 0) gauge += R(i) * af[i];
      for (PetscInt j = 0; j < M; ++j)
        if (C(j) > 0) gauge -= C(j) * ag[j];
      EXPECT_NEAR(gauge, 0.0, 1e-12);
    }
    PetscInt its;
    ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-10, PETSC_DEFAULT, PETSC_DEFAULT));
    ASSERT_PETSC(SkeanTransportSetInitialPotentials(p.t, f, g));
    ASSERT_PETSC(SkeanTransportSolve(p.t));
    ASSERT_PETSC(SkeanTransportGetIterationNumber(p.t, &its));
    EXPECT_EQ(its, 0);
    /* a new epsilon is used, not the old answer */
    const PetscReal before = value;
    ASSERT_PETSC(SkeanTransportSetEpsilon(p.t, 4 * eps, SKEAN_TRANSPORT_EPS_ABSOLUTE));
    ASSERT_PETSC(SkeanTransportSolve(p.t));
    ASSERT_PETSC(SkeanTransportGetIterationNumber(p.t, &its));
    ASSERT_PETSC(SkeanTransportGetCosts(p.t, NULL, &value, NULL));
    EXPECT_GT(its, 0);
    EXPECT_LT(value, before - 1e-3);
    ASSERT_PETSC(MatDestroy(&P));
    ASSERT_PETSC(VecDestroy(&f));
    ASSERT_PETSC(VecDestroy(&g));
    ASSERT_PETSC(p.Destroy());
  }
}

TEST(Transport, GridEqualsPoints)
{
  const PetscInt  n[3]  = {2, 6, 5}; /* with 3 and 4 processes more than one dimension is distributed */
  const PetscReal lo[3] = {0, -1, 2}, hi[3] = {1, 0.5, 3};
  auto            mass = [](PetscInt s) { return [=](PetscInt i) { return 0.05 + (i % 11 == 4 ? -0.05 : Uniform(i, s, 21)); }; };
  double          sr = 0, sc = 0;
  for (PetscInt i = 0; i < 60; ++i) {
    sr += mass(0)(i);
    sc += mass(1)(i);
  }
  auto coord = [&](PetscInt i, PetscInt k) {
    const PetscInt idx[3] = {i / 30, (i / 5) % 6, i % 5};
    return lo[k] + (hi[k] - lo[k]) * idx[k] / (n[k] - 1);
  };
  for (SkeanTransportCostType ct : {SKEAN_TRANSPORT_COST_SQEUCLIDEAN, SKEAN_TRANSPORT_COST_L1, SKEAN_TRANSPORT_COST_LP})
    for (const char *method : {SKEANTRANSPORTSINKHORN, SKEANTRANSPORTSSNS}) {
      PetscReal cost[2], kl[2], lower[2], upper[2];
      for (int grid = 0; grid < 2; ++grid) {
        Problem p;
        ASSERT_PETSC(p.Points(
          60, 60, 3, [&](PetscInt i) { return mass(0)(i) / sr; }, [&](PetscInt i) { return mass(1)(i) / sc; }, coord, coord,
          method == std::string(SKEANTRANSPORTSSNS) ? 0.02 : 0.2, method));
        if (grid) {
          Vec r, c;
          /* any distribution will do: as PETSc splits, as the grid does, or all on the last process */
          PetscInt    rows = PETSC_DECIDE, all = n[0], vlo, vhi;
          PetscMPIInt rank, size;
          ASSERT_PETSC(PetscSplitOwnership(PETSC_COMM_WORLD, &rows, &all));
          MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
          MPI_Comm_size(PETSC_COMM_WORLD, &size);
          ASSERT_PETSC(VecCreateMPI(PETSC_COMM_WORLD, ct == SKEAN_TRANSPORT_COST_L1 ? PETSC_DECIDE : 30 * rows, 60, &r));
          ASSERT_PETSC(VecCreateMPI(PETSC_COMM_WORLD, ct == SKEAN_TRANSPORT_COST_LP ? (rank == size - 1 ? 60 : 0) : 30 * rows, 60, &c));
          ASSERT_PETSC(VecGetOwnershipRange(r, &vlo, &vhi));
          for (PetscInt i = vlo; i < vhi; ++i) ASSERT_EQ(VecSetValue(r, i, mass(0)(i) / sr, INSERT_VALUES), 0);
          ASSERT_PETSC(VecGetOwnershipRange(c, &vlo, &vhi));
          for (PetscInt i = vlo; i < vhi; ++i) ASSERT_EQ(VecSetValue(c, i, mass(1)(i) / sc, INSERT_VALUES), 0);
          ASSERT_PETSC(VecAssemblyBegin(r));
          ASSERT_PETSC(VecAssemblyEnd(r));
          ASSERT_PETSC(VecAssemblyBegin(c));
          ASSERT_PETSC(VecAssemblyEnd(c));
          ASSERT_PETSC(SkeanTransportSetMarginals(p.t, r, c));
          ASSERT_PETSC(SkeanTransportSetGrid(p.t, 3, n, lo, hi));
          ASSERT_PETSC(VecDestroy(&r));
          ASSERT_PETSC(VecDestroy(&c));
        }
        ASSERT_PETSC(SkeanTransportSetCostType(p.t, ct));
        ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-11, PETSC_DEFAULT, PETSC_DEFAULT));
        ASSERT_PETSC(SkeanTransportSolve(p.t));
        SkeanConvergedReason reason;
        ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
        EXPECT_GT(reason, 0) << method << " grid " << grid;
        ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost[grid], &kl[grid], NULL));
        ASSERT_PETSC(SkeanTransportGetCertificate(p.t, &lower[grid], &upper[grid]));
        if (grid) {
          Mat         P;
          std::string message;
          EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportGetPlan(p.t, 0.0, &P); }, &message), PETSC_ERR_SUP);
        }
        ASSERT_PETSC(p.Destroy());
      }
      EXPECT_NEAR(cost[0], cost[1], 1e-9 * cost[0]) << method << " cost " << ct;
      EXPECT_NEAR(kl[0], kl[1], 1e-8 * kl[0]);
      EXPECT_NEAR(lower[0], lower[1], 1e-8 * cost[0]);
      EXPECT_NEAR(upper[0], upper[1], 1e-8 * cost[0]);
    }
}

/* a sparse cost with every entry is the dense cost; a band forbids the rest */
TEST(Transport, SparseCostForbids)
{
  auto           cost = [](PetscInt i, PetscInt j) { return 0.1 * std::fabs(static_cast<double>(i - j)) + 0.3 * Uniform(i, j, 31); };
  const PetscInt n    = 20;
  PetscReal      value[2];
  for (int sparse = 0; sparse < 2; ++sparse) {
    Problem p;
    ASSERT_PETSC(p.Stored(
      n, n, [](PetscInt) { return 0.05; }, [](PetscInt) { return 0.05; }, cost, 0.02, SKEANTRANSPORTSSNS));
    if (sparse) {
      Mat S;
      ASSERT_PETSC(MatConvert(p.A, MATAIJ, MAT_INITIAL_MATRIX, &S));
      ASSERT_PETSC(SkeanTransportSetCost(p.t, S));
      ASSERT_PETSC(MatDestroy(&S));
    }
    ASSERT_PETSC(SkeanTransportSolve(p.t));
    ASSERT_PETSC(SkeanTransportGetCosts(p.t, &value[sparse], NULL, NULL));
    ASSERT_PETSC(p.Destroy());
  }
  EXPECT_NEAR(value[0], value[1], 1e-9);
  Problem p;
  Mat     S, P;
  ASSERT_PETSC(p.Stored(
    n, n, [](PetscInt) { return 0.05; }, [](PetscInt) { return 0.05; }, cost, 0.02, SKEANTRANSPORTSSNS));
  auto band = [&](PetscInt width, PetscInt skip) {
    PetscInt lo, hi;
    EXPECT_EQ(MatCreateAIJ(PETSC_COMM_WORLD, PETSC_DECIDE, PETSC_DECIDE, n, n, 2 * width + 1, NULL, 2 * width + 1, NULL, &S), 0);
    EXPECT_EQ(MatGetOwnershipRange(S, &lo, &hi), 0);
    for (PetscInt i = lo; i < hi; ++i)
      for (PetscInt j = PetscMax(0, i - width); j <= PetscMin(n - 1, i + width); ++j)
        if (i != skip) { EXPECT_EQ(MatSetValue(S, i, j, cost(i, j), INSERT_VALUES), 0); }
    EXPECT_EQ(MatAssemblyBegin(S, MAT_FINAL_ASSEMBLY), 0);
    EXPECT_EQ(MatAssemblyEnd(S, MAT_FINAL_ASSEMBLY), 0);
  };
  band(2, -1);
  ASSERT_PETSC(SkeanTransportSetCost(p.t, S));
  ASSERT_PETSC(SkeanTransportSolve(p.t));
  SkeanConvergedReason reason;
  PetscReal            lower, upper;
  ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
  EXPECT_GT(reason, 0);
  ASSERT_PETSC(SkeanTransportGetPlan(p.t, 0.0, &P));
  PetscInt lo, hi;
  ASSERT_PETSC(MatGetOwnershipRange(P, &lo, &hi));
  for (PetscInt i = lo; i < hi; ++i) {
    const PetscInt *cols;
    PetscInt        nc;
    ASSERT_EQ(MatGetRow(P, i, &nc, &cols, NULL), 0);
    for (PetscInt k = 0; k < nc; ++k) EXPECT_LE(std::abs(cols[k] - i), 2);
    ASSERT_EQ(MatRestoreRow(P, i, &nc, &cols, NULL), 0);
  }
  ASSERT_PETSC(SkeanTransportGetCertificate(p.t, &lower, &upper));
  EXPECT_LE(lower, upper);
  ASSERT_PETSC(MatDestroy(&P));
  ASSERT_PETSC(MatDestroy(&S));
  /* a source with mass and no target */
  band(2, 7);
  ASSERT_PETSC(SkeanTransportSetCost(p.t, S));
  std::string message;
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSolve(p.t); }, &message), PETSC_ERR_ARG_INCOMP);
  EXPECT_NE(message.find("no allowed target"), std::string::npos) << message;
  ASSERT_PETSC(MatDestroy(&S));
  ASSERT_PETSC(p.Destroy());
}

/* every row and column has a partner, but two sources share one target of less mass: no plan exists, and the solver must not say otherwise */
TEST(Transport, InfeasibleSupportIsNotConverged)
{
  for (const char *method : {SKEANTRANSPORTSINKHORN, SKEANTRANSPORTSSNS}) {
    Problem p;
    Mat     S;
    ASSERT_PETSC(p.Stored(
      3, 3, [](PetscInt) { return 1.0 / 3; }, [](PetscInt) { return 1.0 / 3; }, [](PetscInt, PetscInt) { return 1.0; }, 0.1, method));
    ASSERT_PETSC(MatCreateAIJ(PETSC_COMM_WORLD, PETSC_DECIDE, PETSC_DECIDE, 3, 3, 3, NULL, 3, NULL, &S));
    if (!skeantest::Rank()) {
      const PetscInt ij[5][2] = {{0, 0}, {1, 0}, {2, 0}, {2, 1}, {2, 2}};
      for (const auto &e : ij) ASSERT_EQ(MatSetValue(S, e[0], e[1], 1.0, INSERT_VALUES), 0);
    }
    ASSERT_PETSC(MatAssemblyBegin(S, MAT_FINAL_ASSEMBLY));
    ASSERT_PETSC(MatAssemblyEnd(S, MAT_FINAL_ASSEMBLY));
    ASSERT_PETSC(SkeanTransportSetCost(p.t, S));
    ASSERT_PETSC(SkeanTransportSetTolerances(p.t, PETSC_DEFAULT, PETSC_DEFAULT, 5000));
    ASSERT_PETSC(SkeanTransportSolve(p.t));
    SkeanConvergedReason reason;
    ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
    EXPECT_EQ(reason, SKEAN_DIVERGED_INFEASIBLE) << method << " " << SkeanConvergedReasons[reason];
    ASSERT_PETSC(MatDestroy(&S));
    ASSERT_PETSC(p.Destroy());
  }
}

/* unbalanced: the first-order conditions P1 = r exp(-f/rho), P'1 = c exp(-g/rho), and the limit of large penalties */
TEST(Transport, MarginalPenalties)
{
  const double eps = 0.05, rho = 0.5;
  Problem      p;
  Vec          f, g, one, row, onen, col;
  ASSERT_PETSC(p.Points(
    N, M, 2, R, [](PetscInt j) { return 1.7 * C(j); }, X, Y, eps, SKEANTRANSPORTSINKHORN));
  std::string message;
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSolve(p.t); }, &message), PETSC_ERR_ARG_INCOMP);
  EXPECT_NE(message.find("unequal"), std::string::npos) << message;
  ASSERT_PETSC(SkeanTransportSetMarginalPenalty(p.t, rho, rho));
  ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-12, PETSC_DEFAULT, PETSC_DEFAULT));
  ASSERT_PETSC(SkeanTransportSolve(p.t));
  SkeanConvergedReason reason;
  ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
  EXPECT_GT(reason, 0) << SkeanConvergedReasons[reason];
  ASSERT_PETSC(VecDuplicate(p.r, &f));
  ASSERT_PETSC(VecDuplicate(p.c, &g));
  ASSERT_PETSC(VecDuplicate(p.c, &one));
  ASSERT_PETSC(VecDuplicate(p.r, &row));
  ASSERT_PETSC(VecDuplicate(p.r, &onen));
  ASSERT_PETSC(VecDuplicate(p.c, &col));
  ASSERT_PETSC(VecSet(one, 1.0));
  ASSERT_PETSC(VecSet(onen, 1.0));
  ASSERT_PETSC(SkeanTransportApply(p.t, one, row));
  ASSERT_PETSC(SkeanTransportApplyTranspose(p.t, onen, col));
  ASSERT_PETSC(SkeanTransportGetPotentials(p.t, f, g));
  const auto af = All(f), ag = All(g), ar = All(row), ac = All(col);
  for (PetscInt i = 0; i < N; ++i)
    if (R(i) > 0) { EXPECT_NEAR(ar[i], R(i) * std::exp(-af[i] / rho), 1e-10); }
  for (PetscInt j = 0; j < M; ++j)
    if (C(j) > 0) { EXPECT_NEAR(ac[j], 1.7 * C(j) * std::exp(-ag[j] / rho), 1e-10); }
  ASSERT_PETSC(SkeanTransportSetType(p.t, SKEANTRANSPORTSSNS));
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSolve(p.t); }, &message), PETSC_ERR_SUP);
  EXPECT_NE(message.find("ssns"), std::string::npos) << message;
  for (Vec *v : {&f, &g, &one, &row, &onen, &col}) ASSERT_PETSC(VecDestroy(v));
  ASSERT_PETSC(p.Destroy());
}

TEST(Transport, WrongInputIsSaidClearly)
{
  std::string message;
  auto        fails = [&](PetscErrorCode code, const char *text, const std::function<PetscErrorCode(Problem &)> &change) {
    Problem p;
    ASSERT_PETSC(p.Points(N, M, 2, R, C, X, Y, 0.05, SKEANTRANSPORTSSNS));
    const PetscErrorCode e = skeantest::ErrorOf(
      [&] {
        PetscErrorCode ierr = change(p);
        return ierr ? ierr : SkeanTransportSolve(p.t);
      },
      &message);
    EXPECT_EQ(e, code) << text;
    EXPECT_NE(message.find(text), std::string::npos) << message;
    ASSERT_PETSC(p.Destroy());
  };
  /* one process's entry alone is wrong */
  auto entry = [](Vec v, double x) {
    PetscInt     lo, hi;
    PetscScalar *a;
    VecGetOwnershipRange(v, &lo, &hi);
    VecGetArray(v, &a);
    if (lo == 0 && hi > 0) a[0] = x;
    VecRestoreArray(v, &a);
    return PETSC_SUCCESS;
  };
  fails(PETSC_ERR_ARG_OUTOFRANGE, "negative", [&](Problem &p) { return entry(p.r, -0.1); });
  fails(PETSC_ERR_FP, "NaN", [&](Problem &p) { return entry(p.c, NAN); });
  fails(PETSC_ERR_ARG_INCOMP, "unequal", [&](Problem &p) { return entry(p.c, 1.0); });
  fails(PETSC_ERR_ARG_OUTOFRANGE, "must be positive", [&](Problem &p) { return SkeanTransportSetEpsilon(p.t, 0.0, SKEAN_TRANSPORT_EPS_ABSOLUTE); });
  fails(PETSC_ERR_ARG_OUTOFRANGE, "must be positive", [&](Problem &p) { return SkeanTransportSetEpsilon(p.t, -1.0, SKEAN_TRANSPORT_EPS_MAX); });
  fails(PETSC_ERR_ARG_OUTOFRANGE, "too small", [&](Problem &p) { return SkeanTransportSetEpsilon(p.t, 1e-15, SKEAN_TRANSPORT_EPS_MAX); });
  fails(PETSC_ERR_ARG_SIZ, "coordinates", [&](Problem &p) {
    Mat Z;
    EXPECT_EQ(problems::MakeDense(M, 3, Y, &Z), 0);
    EXPECT_EQ(SkeanTransportSetPoints(p.t, p.A, Z), 0);
    return MatDestroy(&Z);
  });
  fails(PETSC_ERR_ARG_SIZ, "masses", [&](Problem &p) { return SkeanTransportSetPoints(p.t, p.B, p.A); });
  fails(PETSC_ERR_FP, "coordinate", [&](Problem &p) {
    if (!skeantest::Rank()) { EXPECT_EQ(MatSetValue(p.B, 0, 1, INFINITY, INSERT_VALUES), 0); }
    EXPECT_EQ(MatAssemblyBegin(p.B, MAT_FINAL_ASSEMBLY), 0);
    return MatAssemblyEnd(p.B, MAT_FINAL_ASSEMBLY);
  });
  static int broken = 1;
  fails(PETSC_ERR_USER, "user's cost", [&](Problem &p) { return SkeanTransportSetCostFunction(p.t, TwiceSquare, &broken); });
  fails(PETSC_ERR_ARG_SIZ, "cost is", [&](Problem &p) { return SkeanTransportSetCost(p.t, p.A); });
  fails(PETSC_ERR_ARG_SIZ, "grid has", [&](Problem &p) {
    const PetscInt  n  = 5;
    const PetscReal lo = 0, hi = 1;
    return SkeanTransportSetGrid(p.t, 1, &n, &lo, &hi);
  });
  fails(PETSC_ERR_ARG_UNKNOWN_TYPE, "nonsense", [&](Problem &p) { return SkeanTransportSetType(p.t, "nonsense"); });
  SkeanTransport t;
  ASSERT_PETSC(SkeanTransportCreate(PETSC_COMM_WORLD, &t));
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSolve(t); }), PETSC_ERR_ORDER);
  PetscReal x;
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportGetMarginalError(t, &x); }), PETSC_ERR_ORDER);
  ASSERT_PETSC(SkeanTransportDestroy(&t));
}

TEST(Transport, ReasonsAreHonest)
{
  /* far too few iterations; a tolerance below what rounding allows at this epsilon */
  for (const char *method : {SKEANTRANSPORTSINKHORN, SKEANTRANSPORTSSNS, SKEANTRANSPORTSNS}) {
    Problem              p;
    SkeanConvergedReason reason;
    ASSERT_PETSC(p.Points(N, M, 2, R, C, X, Y, 1e-2, method));
    ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-12, PETSC_DEFAULT, 2));
    ASSERT_PETSC(SkeanTransportSolve(p.t));
    ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
    EXPECT_EQ(reason, SKEAN_DIVERGED_ITS) << method;
    PetscReal err;
    ASSERT_PETSC(SkeanTransportGetMarginalError(p.t, &err));
    EXPECT_GT(err, 1e-12);
    ASSERT_PETSC(SkeanTransportSetErrorIfNotConverged(p.t, PETSC_TRUE));
    EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSolve(p.t); }), PETSC_ERR_NOT_CONVERGED);
    ASSERT_PETSC(p.Destroy());
  }
  Problem              p;
  SkeanConvergedReason reason;
  ASSERT_PETSC(p.Points(N, M, 2, R, C, X, Y, 1e-5, SKEANTRANSPORTSSNS));
  ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-16, PETSC_DEFAULT, PETSC_DEFAULT));
  ASSERT_PETSC(SkeanTransportSolve(p.t));
  ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
  EXPECT_EQ(reason, SKEAN_DIVERGED_ROUNDING_FLOOR) << SkeanConvergedReasons[reason];
  ASSERT_PETSC(p.Destroy());
}

/* A cost without structure is solved at the target from the start, as without steps in epsilon; another one takes the steps. Same answer */
TEST(Transport, StartsAtTheTargetWhereThatIsBest)
{
  const PetscInt n = 203, m = 230; /* masses: 174 and 184 points have some */
  for (bool structured : {false, true})
    for (const char *type : {SKEANTRANSPORTSSNS, SKEANTRANSPORTSINKHORN}) {
      PetscReal           cost[2], entropy[2], err[2];
      PetscInt            its[2];
      size_t              levels[2];
      std::vector<double> f[2];
      for (int k = 0; k < 2; ++k) {
        Problem              p;
        SkeanConvergedReason reason;
        Vec                  v;
        ASSERT_PETSC(p.Stored(
          n, m, [](PetscInt i) { return i % 7 == 3 ? 0.0 : 1.0; }, [](PetscInt j) { return j % 5 ? 174.0 / 184 : 0.0; },
          [=](PetscInt i, PetscInt j) { return structured ? std::pow(1.0 * i / n - 1.0 * j * j / (m * m), 2) : Uniform(i, j, 31); }, 0.02, type));
        ASSERT_PETSC(SkeanTransportSetScaling(p.t, k ? PETSC_FALSE : PETSC_TRUE, 4.0));
        ASSERT_PETSC(SkeanTransportSolve(p.t));
        ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
        ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost[k], &entropy[k], NULL));
        ASSERT_PETSC(SkeanTransportGetMarginalError(p.t, &err[k]));
        ASSERT_PETSC(SkeanTransportGetIterationNumber(p.t, &its[k]));
        ASSERT_PETSC(VecDuplicate(p.r, &v));
        ASSERT_PETSC(SkeanTransportGetPotentials(p.t, v, NULL));
        f[k] = All(v);
        ASSERT_PETSC(VecDestroy(&v));
        EXPECT_GT(reason, 0);
        EXPECT_LE(err[k], 1e-9);
        levels[k] = static_cast<skean::transport::Work *>(p.t->work)->levels.size();
        ASSERT_PETSC(p.Destroy());
      }
      EXPECT_EQ(levels[0] == 1, !structured) << type;
      if (!structured) { EXPECT_EQ(its[0], its[1]) << type; }
      EXPECT_NEAR(cost[0], cost[1], 1e-8 * cost[1]);
      EXPECT_NEAR(entropy[0], entropy[1], 1e-8 * entropy[1]);
      for (size_t i = 0; i < f[0].size(); ++i)
        if (std::isfinite(f[1][i])) { EXPECT_NEAR(f[0][i], f[1][i], 1e-7); }
    }
}

/* the median of the costs, stored densely and sparsely, in any distribution: 1, 2, ..., n m in a scrambled order, an even and an odd number of them */
TEST(Transport, EpsilonRelativeToTheMedian)
{
  for (PetscInt m : {9, 10})
    for (bool sparse : {false, true}) {
      const PetscInt n = 7;
      Mat            A, S;
      Vec            r, c;
      SkeanTransport t;
      PetscReal      eps;
      ASSERT_PETSC(problems::MakeDense(
        n, m, [&](PetscInt i, PetscInt j) { return 1.0 + (13 * (i * m + j)) % (n * m); }, &A));
      ASSERT_PETSC(MatConvert(A, MATAIJ, MAT_INITIAL_MATRIX, &S));
      ASSERT_PETSC(MatCreateVecs(A, &c, &r));
      ASSERT_PETSC(VecSet(r, 1.0 / n));
      ASSERT_PETSC(VecSet(c, 1.0 / m));
      ASSERT_PETSC(SkeanTransportCreate(PETSC_COMM_WORLD, &t));
      ASSERT_PETSC(SkeanTransportSetMarginals(t, r, c));
      ASSERT_PETSC(SkeanTransportSetCost(t, sparse ? S : A));
      ASSERT_PETSC(SkeanTransportSetEpsilon(t, 0.5, SKEAN_TRANSPORT_EPS_MEDIAN));
      ASSERT_PETSC(SkeanTransportSolve(t));
      ASSERT_PETSC(SkeanTransportGetEpsilon(t, &eps));
      EXPECT_DOUBLE_EQ(eps, 0.5 * (n * m / 2 + 1)) << m << " sparse " << sparse;
      ASSERT_PETSC(SkeanTransportDestroy(&t));
      for (Mat *M : {&A, &S}) ASSERT_PETSC(MatDestroy(M));
      for (Vec *v : {&r, &c}) ASSERT_PETSC(VecDestroy(v));
    }
}

TEST(Transport, OptionsMonitorAndView)
{
  const std::string                                      out = skeantest::ScratchDir() + "/transport.txt", view = skeantest::ScratchDir() + "/view.txt";
  const std::vector<std::pair<std::string, std::string>> opts = {
    {"-a_transport_type", "ssns"}, {"-a_transport_epsilon", "0.02"},   {"-a_transport_epsilon_mode", "median"},  {"-a_transport_cost_type", "l1"},
    {"-a_transport_rtol", "1e-8"}, {"-a_transport_pc_type", "jacobi"}, {"-a_transport_monitor", "ascii:" + out}, {"-a_transport_view", "ascii:" + view}};
  for (const auto &o : opts) ASSERT_PETSC(PetscOptionsSetValue(NULL, o.first.c_str(), o.second.c_str()));
  Problem p;
  ASSERT_PETSC(p.Points(N, M, 2, R, C, X, Y, 1.0, SKEANTRANSPORTSINKHORN));
  ASSERT_PETSC(SkeanTransportSetOptionsPrefix(p.t, "a_"));
  ASSERT_PETSC(SkeanTransportSetFromOptions(p.t));
  ASSERT_PETSC(SkeanTransportSolve(p.t));
  PetscReal eps, cost, kl;
  ASSERT_PETSC(SkeanTransportGetEpsilon(p.t, &eps));
  std::vector<double> all;
  for (PetscInt i = 0; i < N; ++i)
    for (PetscInt j = 0; j < M; ++j)
      if (R(i) > 0 && C(j) > 0) all.push_back(CostOf(SKEAN_TRANSPORT_COST_L1, 2, i, j));
  std::sort(all.begin(), all.end());
  EXPECT_NEAR(eps, 0.02 * all[all.size() / 2], 1e-14);
  ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost, &kl, NULL));
  const Reference ref = Solve([&](PetscInt i, PetscInt j) { return CostOf(SKEAN_TRANSPORT_COST_L1, 2, i, j); }, eps);
  EXPECT_NEAR(cost, ref.cost, 1e-6);
  ASSERT_PETSC(p.Destroy());
  if (!skeantest::Rank()) {
    std::stringstream a, b;
    a << std::ifstream(out).rdbuf();
    b << std::ifstream(view).rdbuf();
    EXPECT_NE(a.str().find("marginal error"), std::string::npos);
    EXPECT_NE(b.str().find("CONVERGED_RTOL"), std::string::npos) << b.str();
    EXPECT_NE(b.str().find("unregularised cost between"), std::string::npos);
  }
  for (const auto &o : opts) ASSERT_PETSC(PetscOptionsClearValue(NULL, o.first.c_str()));
}

/* skipping tiles changes nothing but the time; 700 points make 11 tiles */
TEST(Transport, TruncationIsExactToItsTolerance)
{
  const PetscInt n = 700;
  auto           x = [](PetscInt i, PetscInt k) { return Uniform(i, k, 41); };
  auto           y = [](PetscInt i, PetscInt k) { return Uniform(i, k, 42); };
  for (SkeanTransportCostType ct : {SKEAN_TRANSPORT_COST_SQEUCLIDEAN, SKEAN_TRANSPORT_COST_L1})
    for (const char *method : {SKEANTRANSPORTSINKHORN, SKEANTRANSPORTSSNS}) {
      PetscReal cost[2], lower[2], upper[2];
      for (int cut = 0; cut < 2; ++cut) {
        Problem p;
        ASSERT_PETSC(p.Points(
          n, n, 2, [](PetscInt) { return 1.0 / 700; }, [](PetscInt) { return 1.0 / 700; }, x, y, method == std::string(SKEANTRANSPORTSSNS) ? 3e-3 : 3e-2,
          method));
        ASSERT_PETSC(SkeanTransportSetCostType(p.t, ct));
        ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-6, PETSC_DEFAULT, PETSC_DEFAULT));
        ASSERT_PETSC(SkeanTransportSetTruncation(p.t, cut ? 1e-15 : 0.0));
        ASSERT_PETSC(SkeanTransportSolve(p.t));
        SkeanConvergedReason reason;
        ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
        EXPECT_GT(reason, 0) << method << " " << cut << " " << SkeanConvergedReasons[reason];
        ASSERT_PETSC(SkeanTransportGetCosts(p.t, &cost[cut], NULL, NULL));
        ASSERT_PETSC(SkeanTransportGetCertificate(p.t, &lower[cut], &upper[cut]));
        ASSERT_PETSC(p.Destroy());
      }
      EXPECT_NEAR(cost[0], cost[1], 1e-5 * cost[0]) << method;
      EXPECT_LE(lower[1], upper[0]);
      EXPECT_LE(lower[0], upper[1]);
    }
}

/* zero for equal measures, |v|^2 for a translated one, the same in both conventions */
TEST(Transport, SinkhornDivergence)
{
  auto shifted = [](double v) { return [=](PetscInt i, PetscInt k) { return X(i, k) + (k ? -v : 2 * v); }; };
  for (double v : {0.0, 0.4})
    for (SkeanTransportEntropy ent : {SKEAN_TRANSPORT_ENTROPY_KL, SKEAN_TRANSPORT_ENTROPY_PLAIN}) {
      Problem   p;
      PetscReal value;
      ASSERT_PETSC(p.Points(N, N, 2, R, R, X, shifted(v), 0.05, SKEANTRANSPORTSSNS));
      ASSERT_PETSC(SkeanTransportSetEntropy(p.t, ent));
      ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-12, PETSC_DEFAULT, PETSC_DEFAULT));
      EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportGetDivergence(p.t, &value); }), PETSC_ERR_ORDER);
      ASSERT_PETSC(SkeanTransportSolve(p.t));
      ASSERT_PETSC(SkeanTransportGetDivergence(p.t, &value));
      EXPECT_NEAR(value, 3 * 5 * v * v, 1e-10) << "mass 3, entropy " << ent; /* |x - y - v|^2 = |x - y|^2 - 2 v.(x - y) + |v|^2 */
      ASSERT_PETSC(p.Destroy());
    }
}
