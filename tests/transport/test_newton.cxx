/* The Newton systems: kernels against obvious loops, one process against the KSP, the reuse of factors and hierarchies */
#include "problems.hpp"
#include "src/transport/impls/newton/schur.hpp"
#include <skean/private/transportimpl.h>
#include <algorithm>

using namespace skean::transport;
using problems::All;
using problems::Problem;
using problems::Uniform;

TEST(TransportNewton, SchurComplementAndSort)
{
  for (PetscInt ne : {1, 7, 300})
    for (PetscInt nk : {1, 5, 40}) {
      std::vector<double>              de(ne), dk(nk, 2.0), M(static_cast<size_t>(nk) * nk), x(nk), y(nk), d(nk);
      std::vector<std::vector<double>> S(ne, std::vector<double>(nk, 0.0)), ref(nk, std::vector<double>(nk, 0.0));
      std::vector<Entry>               entries;
      std::vector<size_t>              ia;
      std::vector<PetscInt>            ja;
      std::vector<double>              s;
      for (PetscInt e = 0; e < ne; ++e) {
        de[e] = 0.5 + Uniform(e, 0, 71);
        for (PetscInt k = 0; k < nk; ++k)
          if (Uniform(e, k, 72) < 0.3) {
            S[e][k] = Uniform(e, k, 73);
            entries.push_back({e + 10, k, S[e][k]}); /* rows numbered from 10 */
          }
      }
      /* in an order that is neither */
      std::reverse(entries.begin(), entries.end());
      for (size_t q = 0; q + 3 < entries.size(); q += 5) std::swap(entries[q], entries[entries.size() - 1 - q]);
      SortEntries(10, ne, nk, entries, ia);
      for (size_t q = 0; q < entries.size(); ++q) {
        ja.push_back(entries[q].col);
        s.push_back(entries[q].p);
        if (q) { EXPECT_TRUE(entries[q - 1].row < entries[q].row || (entries[q - 1].row == entries[q].row && entries[q - 1].col < entries[q].col)); }
      }
      ASSERT_EQ(ia[ne], entries.size());
      for (PetscInt e = 0; e < ne; ++e)
        for (size_t q = ia[e]; q < ia[e + 1]; ++q) {
          EXPECT_EQ(entries[q].row, e + 10);
          EXPECT_EQ(s[q], S[e][ja[q]]);
        }
      for (PetscInt k = 0; k < nk; ++k) {
        ref[k][k] = dk[k];
        x[k]      = std::cos(k + 1.0);
      }
      for (PetscInt e = 0; e < ne; ++e)
        for (PetscInt k = 0; k < nk; ++k)
          for (PetscInt l = 0; l < nk; ++l) ref[k][l] -= S[e][k] * S[e][l] / de[e];
      for (bool dense : {false, true}) {
        ASSERT_PETSC(SchurComplement(ne, nk, ia.data(), ja.data(), s.data(), de.data(), dk.data(), dense, M.data()));
        for (PetscInt l = 0; l < nk; ++l)
          for (PetscInt k = 0; k <= l; ++k) EXPECT_NEAR(M[k + static_cast<size_t>(l) * nk], ref[k][l], 1e-12 * (1 + std::fabs(ref[k][l])));
      }
      SchurApply(ne, nk, ia.data(), ja.data(), s.data(), de.data(), dk.data(), x.data(), y.data());
      SchurDiagonal(ne, nk, ia.data(), ja.data(), s.data(), de.data(), dk.data(), d.data());
      for (PetscInt k = 0; k < nk; ++k) {
        double t = 0;
        for (PetscInt l = 0; l < nk; ++l) t += ref[k][l] * x[l];
        EXPECT_NEAR(y[k], t, 1e-11 * (1 + std::fabs(t)));
        EXPECT_NEAR(d[k], ref[k][k], 1e-12 * (1 + std::fabs(ref[k][k])));
      }
    }
}

/* systems on one process, by multigrid and by the KSP that was asked for: the same potentials, few iterations; wide and tall problems, a degenerate
   cost (L1 between points of a lattice), plans that are dense and sparse */
TEST(TransportNewton, OneProcessAndMultigridAgree)
{
  const PetscInt sizes[3][2] = {{64, 64}, {90, 31}, {31, 90}};
  for (const auto &nm : sizes)
    for (SkeanTransportCostType ct : {SKEAN_TRANSPORT_COST_SQEUCLIDEAN, SKEAN_TRANSPORT_COST_L1})
      for (double eps : {0.1, 3e-3}) {
        const PetscInt      n = nm[0], m = nm[1];
        std::vector<double> f[3];
        double              sr = 0, sc = 0;
        auto                mr = [](PetscInt i) { return 0.1 + Uniform(i, 0, 81); };
        auto                mc = [](PetscInt j) { return 0.1 + Uniform(j, 0, 82); };
        for (PetscInt i = 0; i < n; ++i) sr += mr(i);
        for (PetscInt j = 0; j < m; ++j) sc += mc(j);
        for (int how = 0; how < 3; ++how) {
          Problem p;
          ASSERT_PETSC(p.Points(
            n, m, 2, [&](PetscInt i) { return mr(i) / sr; }, [&](PetscInt j) { return mc(j) / sc; },
            [](PetscInt i, PetscInt k) { return (k ? i % 10 : i / 10) / 10.0; }, [](PetscInt i, PetscInt k) { return (k ? i % 10 : i / 10) / 10.0 + 0.3; }, eps,
            SKEANTRANSPORTSSNS));
          ASSERT_PETSC(SkeanTransportSetCostType(p.t, ct));
          ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-11, PETSC_DEFAULT, PETSC_DEFAULT));
          if (how == 1) {
            KSP ksp;
            ASSERT_PETSC(SkeanTransportGetKSP(p.t, &ksp)); /* who asks for it gets it used */
          } else if (how == 2)
            ASSERT_PETSC(PetscOptionsSetValue(NULL, "-transport_ssns_direct", "0"));
          ASSERT_PETSC(PetscOptionsSetValue(NULL, "-transport_ssns_warmup", "0")); /* no sweeps that could make systems unnecessary */
          ASSERT_PETSC(SkeanTransportSetFromOptions(p.t));
          ASSERT_PETSC(PetscOptionsClearValue(NULL, "-transport_ssns_warmup"));
          if (how == 2) ASSERT_PETSC(PetscOptionsClearValue(NULL, "-transport_ssns_direct"));
          ASSERT_PETSC(SkeanTransportSolve(p.t));
          SkeanConvergedReason reason;
          PetscInt             its, entries;
          Vec                  pot;
          ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
          EXPECT_GT(reason, 0) << SkeanConvergedReasons[reason] << " n " << n << " cost " << ct << " eps " << eps << " how " << how;
          ASSERT_PETSC(SkeanTransportGetNewtonStatistics(p.t, &its, &entries));
          EXPECT_GT(entries, 0) << "n " << n << " cost " << ct << " eps " << eps << " how " << how;
          EXPECT_LE(its, 15) << "n " << n << " cost " << ct << " eps " << eps << " how " << how;
          ASSERT_PETSC(VecDuplicate(p.r, &pot));
          ASSERT_PETSC(SkeanTransportGetPotentials(p.t, pot, NULL));
          f[how] = All(pot);
          ASSERT_PETSC(VecDestroy(&pot));
          ASSERT_PETSC(p.Destroy());
        }
        for (int how : {1, 2})
          for (PetscInt i = 0; i < n; ++i) EXPECT_NEAR(f[how][i], f[0][i], 1e-7) << "n " << n << " cost " << ct << " eps " << eps << " how " << how;
      }
}

/* solving again with another cost of another size: nothing of the old factor is left */
TEST(TransportNewton, AnotherProblemInTheSameSolver)
{
  Problem p, q;
  auto    one  = [](PetscInt n) { return [=](PetscInt) { return 1.0 / n; }; };
  auto    cost = [](int seed) { return [=](PetscInt i, PetscInt j) { return Uniform(i, j, seed); }; };
  ASSERT_PETSC(p.Stored(40, 40, one(40), one(40), cost(91), 2e-3, SKEANTRANSPORTSSNS));
  ASSERT_PETSC(SkeanTransportSolve(p.t));
  ASSERT_PETSC(q.Stored(50, 35, one(50), one(35), cost(92), 2e-3, SKEANTRANSPORTSSNS));
  ASSERT_PETSC(SkeanTransportSetMarginals(p.t, q.r, q.c));
  ASSERT_PETSC(SkeanTransportSetCost(p.t, q.A));
  PetscReal            a, b;
  SkeanConvergedReason reason;
  ASSERT_PETSC(SkeanTransportSolve(p.t));
  ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
  EXPECT_GT(reason, 0);
  ASSERT_PETSC(SkeanTransportGetCosts(p.t, &a, NULL, NULL));
  ASSERT_PETSC(SkeanTransportSolve(q.t));
  ASSERT_PETSC(SkeanTransportGetCosts(q.t, &b, NULL, NULL));
  EXPECT_NEAR(a, b, 1e-8);
  for (Problem *x : {&p, &q}) ASSERT_PETSC(x->Destroy());
}

/* what a pass keeps under a limit is all that lies above the threshold it ended with, and one doubling less would have been too much */
TEST(TransportNewton, KeepRaisesItsThreshold)
{
  Keep keep;
  keep.cap = 50;
  keep.Start(1e-3, 0.25);
  auto value = [](PetscInt k) { return Uniform(k, 0, 95); };
  for (PetscInt k = 0; k < 400; ++k) keep.Add(k, 2 * k, value(k));
  EXPECT_TRUE(keep.overflow); /* a quarter of 400 is more than 50 */
  keep.cap = 220;
  keep.Start(1e-3, 0.9);
  for (PetscInt k = 0; k < 400; ++k) keep.Add(k, 2 * k, value(k));
  EXPECT_FALSE(keep.overflow);
  EXPECT_EQ(keep.asked, 1e-3);
  size_t q = 0, before = 0;
  for (PetscInt k = 0; k < 400; ++k) {
    before += value(k) > keep.thr / 2;
    if (!(value(k) > keep.thr)) continue;
    ASSERT_LT(q, keep.i.size());
    EXPECT_EQ(keep.i[q], k);
    EXPECT_EQ(keep.j[q], 2 * k);
    EXPECT_EQ(keep.p[q++], value(k));
  }
  EXPECT_EQ(q, keep.i.size());
  EXPECT_LE(q, size_t(220));
  EXPECT_GT(before, size_t(220));
}

/* a limit of entries that the plan exceeds: the threshold rises as far on any number of processes, and the answer is the same; with so low a limit that no
   system is left, CG without a matrix gives it too, by passes over the costs and over rows that are kept */
TEST(TransportNewton, FewEntriesPerUnknown)
{
  const PetscInt      n = 200, m = 150;
  std::vector<double> f[4];
  for (int limited = 0; limited < 4; ++limited) {
    Problem p;
    ASSERT_PETSC(p.Points(
      n, m, 2, [&](PetscInt) { return 1.0 / n; }, [&](PetscInt) { return 1.0 / m; }, [](PetscInt i, PetscInt k) { return Uniform(i, k, 96); },
      [](PetscInt i, PetscInt k) { return 0.2 + Uniform(i, k, 97); }, 2e-3, SKEANTRANSPORTSSNS));
    ASSERT_PETSC(SkeanTransportSetTolerances(p.t, 1e-11, PETSC_DEFAULT, PETSC_DEFAULT));
    ASSERT_PETSC(PetscOptionsSetValue(NULL, "-transport_ssns_direct", "0"));
    ASSERT_PETSC(PetscOptionsSetValue(NULL, "-transport_ssns_warmup", "0"));
    if (limited) ASSERT_PETSC(PetscOptionsSetValue(NULL, "-transport_ssns_fill", limited == 1 ? "2" : "1e-2"));
    if (limited == 3) ASSERT_PETSC(SkeanTransportSetKernelMemory(p.t, 0));
    ASSERT_PETSC(SkeanTransportSetFromOptions(p.t));
    ASSERT_PETSC(PetscOptionsClearValue(NULL, "-transport_ssns_warmup"));
    ASSERT_PETSC(PetscOptionsClearValue(NULL, "-transport_ssns_direct"));
    ASSERT_PETSC(PetscOptionsClearValue(NULL, "-transport_ssns_fill"));
    ASSERT_PETSC(SkeanTransportSolve(p.t));
    SkeanConvergedReason reason;
    PetscInt             its, kept;
    Vec                  pot;
    ASSERT_PETSC(SkeanTransportGetConvergedReason(p.t, &reason));
    EXPECT_GT(reason, 0) << SkeanConvergedReasons[reason];
    ASSERT_PETSC(SkeanTransportGetNewtonStatistics(p.t, &its, &kept));
    if (limited)
      EXPECT_LE(kept, limited == 1 ? 2 * (n + m) + 1000 : 1003);
    else
      EXPECT_GT(kept, 2 * (2 * (n + m) + 1000));
    PetscInt passes, keptpasses;
    ASSERT_PETSC(SkeanTransportGetPasses(p.t, &passes));
    ASSERT_PETSC(SkeanTransportGetKeptPasses(p.t, &keptpasses));
    if (limited == 2) {
      EXPECT_GT(keptpasses, 2 * passes);
    } else if (limited == 3) {
      EXPECT_EQ(keptpasses, 0);
    }
    ASSERT_PETSC(VecDuplicate(p.r, &pot));
    ASSERT_PETSC(SkeanTransportGetPotentials(p.t, pot, NULL));
    f[limited] = All(pot);
    ASSERT_PETSC(VecDestroy(&pot));
    ASSERT_PETSC(p.Destroy());
  }
  for (int limited : {1, 2, 3})
    for (PetscInt i = 0; i < n; ++i) EXPECT_NEAR(f[limited][i], f[0][i], 1e-7) << limited;
}
