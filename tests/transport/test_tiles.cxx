/* Bounds over tiles, truncated passes, and targets that go around the processes */
#include "problems.hpp"
#include "harness/mpicount/mpicount.hpp"
#include "src/transport/interface/morton.hpp"
#include "src/transport/kernels/transportkernels.hpp"
#include <skean/private/transportimpl.h>
#include <algorithm>
#include <string>

using namespace skean::transport;
using problems::All;
using problems::Uniform;

namespace {
double Cost(CostKind kind, double p, PetscInt d, const double *x, const double *y)
{
  double sq = 0, l1 = 0, lp = 0;
  for (PetscInt k = 0; k < d; ++k) {
    const double t = std::fabs(x[k] - y[k]);
    sq += t * t;
    l1 += t;
    lp += std::pow(t, p);
  }
  switch (kind) {
  case CostKind::SQEUCLIDEAN:
    return sq;
  case CostKind::COSINE:
    return 0.5 * sq;
  case CostKind::EUCLIDEAN:
    return std::sqrt(sq);
  case CostKind::L1:
    return l1;
  default:
    return lp;
  }
}

struct Cluster {
  PetscInt            n, d;
  std::vector<double> x, pot, q, r, z;
  double              g = 0;
  Cluster(PetscInt n_, PetscInt d_, double width, double place, int seed, const std::function<double(const double *)> &f)
      : n(n_), d(d_), x(n_ * d_), pot(n_), q(d_), r(d_), z(d_)
  {
    for (PetscInt i = 0; i < n; ++i) {
      for (PetscInt k = 0; k < d; ++k) x[i * d + k] = place * (k + 1) + width * Uniform(i, k, seed);
      pot[i] = f(&x[i * d]);
    }
    BoundingBox(d, n, x.data(), d, 1, q.data(), r.data(), 1);
  }
  void Fit(double kappa) { AffineMajorant(d, n, x.data(), d, 1, pot.data(), kappa, q.data(), 1, z.data(), &g); }
};
} // namespace

/* Never below the largest exponent of the pair of clusters, for potentials of any kind, also from single points. And close to it, by the second order in
   the width, for the potentials of a translation, f = inv s.x and g = -inv s.y with the slope s of the cost between the clusters: there a bound by the
   largest potentials and the distance of the boxes is off by the first order */
TEST(TransportTiles, BoundsHoldAndAreTight)
{
  const double inv = 7.0, p = 1.5;
  for (PetscInt d : {1, 2, 3, 5})
    for (CostKind kind : {CostKind::SQEUCLIDEAN, CostKind::COSINE, CostKind::EUCLIDEAN, CostKind::L1, CostKind::LP})
      for (int rough = 0; rough < 2; ++rough)
        for (double place : {0.0, 0.3, -2.0})
          for (double width : {0.02, 0.2}) {
            int                 count = 0;
            std::vector<double> s(d), D(d), zero(d, 0.0);
            for (PetscInt k = 0; k < d; ++k) D[k] = -place * (k + 1);
            for (PetscInt k = 0; k < d; ++k) { /* by central differences, exact where it matters: linear and quadratic costs */
              std::vector<double> up(D), down(D);
              up[k] += 1e-4;
              down[k] -= 1e-4;
              s[k] = (Cost(kind, p, d, up.data(), zero.data()) - Cost(kind, p, d, down.data(), zero.data())) / 2e-4;
            }
            auto Slope = [&](double sign) {
              return [&, sign](const double *y) {
                if (rough) return 20 * Uniform(++count, 0, 77);
                double t = 0;
                for (PetscInt k = 0; k < d; ++k) t += sign * inv * s[k] * y[k];
                return t;
              };
            };
            Cluster X(20, d, width, 0.0, 5, Slope(1)), Y(31, d, width, place, 6, Slope(-1));
            X.Fit(Kappa(kind, inv));
            Y.Fit(Kappa(kind, inv));
            TileSet S;
            S.count = 1;
            S.ld    = 1;
            S.q     = Y.q.data();
            S.r     = Y.r.data();
            S.z     = Y.z.data();
            S.g     = &Y.g;
            double bound, far, work[2], largest = -1e300, farthest = 0;
            TileBounds(kind, d, p, inv, X.q.data(), X.r.data(), X.z.data(), X.g, S, &bound, work);
            TileFarthest(kind, d, p, X.q.data(), X.r.data(), S, &far);
            for (PetscInt i = 0; i < X.n; ++i) {
              double single, one = -1e300;
              TileBounds(kind, d, p, inv, &X.x[i * d], nullptr, nullptr, X.pot[i], S, &single, work);
              for (PetscInt j = 0; j < Y.n; ++j) {
                const double c = Cost(kind, p, d, &X.x[i * d], &Y.x[j * d]);
                one            = std::max(one, X.pot[i] + Y.pot[j] - inv * c);
                farthest       = std::max(farthest, c);
              }
              EXPECT_GE(single, one - 1e-11) << "kind " << static_cast<int>(kind) << " d " << d;
              largest = std::max(largest, one);
            }
            EXPECT_GE(bound, largest - 1e-11) << "kind " << static_cast<int>(kind) << " d " << d;
            EXPECT_GE(far, farthest - 1e-13);
            if (!rough && (place != 0 || kind == CostKind::SQEUCLIDEAN)) {
              EXPECT_LE(bound - largest, 4 * inv * d * width * width) << "kind " << static_cast<int>(kind) << " d " << d << " place " << place;
            }
          }
}

TEST(TransportTiles, BisectionMakesCompactTiles)
{
  const PetscInt n = 1000, leaf = 32;
  for (PetscInt d : {1, 3}) {
    std::vector<double>   x(n * d);
    std::vector<PetscInt> perm(n), sorted;
    for (PetscInt i = 0; i < n; ++i)
      for (PetscInt k = 0; k < d; ++k) x[i * d + k] = Uniform(i % 400, k, 8); /* many points twice */
    BisectionOrder(d, n, x.data(), leaf, perm.data());
    sorted = perm;
    std::sort(sorted.begin(), sorted.end());
    for (PetscInt i = 0; i < n; ++i) ASSERT_EQ(sorted[i], i);
    for (PetscInt run : {leaf, 4 * leaf}) {
      double volume = 0, last = -1;
      for (PetscInt t = 0; t < n; t += run) {
        double v = 1;
        for (PetscInt k = 0; k < d; ++k) {
          double lo = 2, hi = -1;
          for (PetscInt i = t; i < std::min(t + run, n); ++i) {
            lo = std::min(lo, x[perm[i] * d + k]);
            hi = std::max(hi, x[perm[i] * d + k]);
          }
          v *= hi - lo;
          EXPECT_TRUE(d > 1 || lo >= last); /* intervals, one after the other */
          last = hi;
        }
        volume += v;
      }
      EXPECT_LE(volume, 1.0) << "boxes of a partition overlap in their faces only";
    }
  }
}

/* Items arrive in the order of their keys, ties in the order they had, shares equal or (together) no run of equal keys cut */
TEST(TransportTiles, SortByKeyOrdersAndShares)
{
  const int P = skeantest::Size(), rank = skeantest::Rank();
  for (int kind = 0; kind < 3; ++kind) /* keys all different, a few values, all the same */
    for (bool together : {false, true})
      for (bool skewed : {false, true}) {
        const std::uint64_t        values = kind == 0 ? 1u << 30 : (kind == 1 ? 7 : 1);
        const size_t               mine   = skewed ? (rank == P - 1 ? 1000 : 0) : 200 + 10 * static_cast<size_t>(rank);
        std::vector<std::uint64_t> key(mine);
        std::vector<double>        item(2 * mine);
        for (size_t i = 0; i < mine; ++i) {
          key[i]          = static_cast<std::uint64_t>(Uniform(i, rank, 31) * static_cast<double>(values));
          item[2 * i]     = static_cast<double>(key[i]);
          item[2 * i + 1] = 1000.0 * rank + static_cast<double>(i);
        }
        ASSERT_PETSC(SortByKey(PETSC_COMM_WORLD, 2, together, key, item));
        double total[2] = {static_cast<double>(mine), static_cast<double>(key.size())}, ends[4] = {0, 0, 0, 0};
        ASSERT_EQ(MPI_Allreduce(MPI_IN_PLACE, total, 2, MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD), MPI_SUCCESS);
        EXPECT_EQ(total[0], total[1]);
        ASSERT_EQ(item.size(), 2 * key.size());
        if (!together) { EXPECT_LE(std::fabs(static_cast<double>(key.size()) - total[0] / P), 1.0) << "kind " << kind << " skewed " << skewed; }
        for (size_t i = 0; i < key.size(); ++i) {
          EXPECT_EQ(static_cast<double>(key[i]), item[2 * i]);
          EXPECT_TRUE(!i || key[i - 1] < key[i] || (key[i - 1] == key[i] && item[2 * i - 1] < item[2 * i + 1]));
        }
        /* first and last item of every process, in their order */
        if (!key.empty()) {
          ends[0] = item[0];
          ends[1] = item[1];
          ends[2] = item[item.size() - 2];
          ends[3] = item[item.size() - 1];
        }
        std::vector<double> all(4 * static_cast<size_t>(P));
        std::vector<int>    have(P);
        const int           some = !key.empty();
        ASSERT_EQ(MPI_Allgather(ends, 4, MPI_DOUBLE, all.data(), 4, MPI_DOUBLE, PETSC_COMM_WORLD), MPI_SUCCESS);
        ASSERT_EQ(MPI_Allgather(&some, 1, MPI_INT, have.data(), 1, MPI_INT, PETSC_COMM_WORLD), MPI_SUCCESS);
        for (int p = 0, last = -1; p < P; ++p) {
          if (!have[p]) continue;
          if (last >= 0) {
            const double *a = &all[4 * last + 2], *b = &all[4 * p];
            EXPECT_TRUE(a[0] < b[0] || (!together && a[0] == b[0] && a[1] < b[1])) << "kind " << kind << " skewed " << skewed;
          }
          last = p;
        }
      }
}

namespace {
/* clouds with targets of another size, distributed as PETSc does or with everything on the last process but what the first must own */
struct Clouds {
  MPI_Comm       comm = PETSC_COMM_WORLD;
  Vec            r = NULL, c = NULL;
  Mat            X = NULL, Y = NULL;
  PetscErrorCode Make(PetscInt n, PetscInt m, PetscInt d, bool skewed)
  {
    PetscInt rows[2] = {PETSC_DECIDE, PETSC_DECIDE}, all[2] = {n, m};

    PetscFunctionBegin;
    for (int s = 0; s < 2; ++s) {
      PetscInt lo, hi, lda;
      Mat     *A = s ? &Y : &X;
      Vec     *v = s ? &c : &r;
      if (skewed) rows[s] = skeantest::Rank() == skeantest::Size() - 1 - (skeantest::Size() > 2 ? s : 0) ? all[s] : 0;
      PetscCall(MatCreateDense(comm, rows[s], PETSC_DECIDE, all[s], d, NULL, A));
      PetscCall(MatGetOwnershipRange(*A, &lo, &hi));
      PetscScalar *a;
      PetscCall(MatDenseGetLDA(*A, &lda));
      PetscCall(MatDenseGetArrayWrite(*A, &a));
      for (PetscInt i = lo; i < hi; ++i)
        for (PetscInt k = 0; k < d; ++k) a[(i - lo) + k * lda] = s ? 0.1 + 0.8 * Uniform(i, k, 12) * Uniform(i, k, 13) : Uniform(i, k, 11);
      PetscCall(MatDenseRestoreArrayWrite(*A, &a));
      PetscCall(VecCreateMPI(comm, hi - lo, all[s], v));
      PetscCall(VecGetArray(*v, &a));
      for (PetscInt i = lo; i < hi; ++i) a[i - lo] = (i % 5 == 3 ? 0.0 : 1.0) / all[s]; /* some without mass */
      PetscCall(VecRestoreArray(*v, &a));
      PetscReal sum;
      PetscCall(VecSum(*v, &sum));
      PetscCall(VecScale(*v, 1 / sum));
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode Solver(SkeanTransportType type, SkeanTransportCostType cost, PetscReal eps, PetscReal truncation, PetscReal replicate, SkeanTransport *t)
  {
    PetscFunctionBegin;
    PetscCall(SkeanTransportCreate(comm, t));
    PetscCall(SkeanTransportSetType(*t, type));
    PetscCall(SkeanTransportSetMarginals(*t, r, c));
    PetscCall(SkeanTransportSetPoints(*t, X, Y));
    PetscCall(SkeanTransportSetCostType(*t, cost));
    PetscCall(SkeanTransportSetEpsilon(*t, eps, SKEAN_TRANSPORT_EPS_MAX));
    PetscCall(SkeanTransportSetTruncation(*t, truncation));
    PetscCall(SkeanTransportSetReplicationLimit(*t, replicate));
    if (truncation == 0) PetscCall(SkeanTransportSetKernelMemory(*t, 0.0)); /* every pair in every pass: what the others are compared with */
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode Destroy()
  {
    PetscFunctionBegin;
    PetscCall(VecDestroy(&r));
    PetscCall(VecDestroy(&c));
    PetscCall(MatDestroy(&X));
    PetscCall(MatDestroy(&Y));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
};
struct Answer {
  PetscReal            cost = 0, entropy = 0, lower = 0, upper = 0, err = 0, visited = 0;
  SkeanConvergedReason reason = SKEAN_CONVERGED_ITERATING;
  std::vector<double>  f, g, map;
  PetscErrorCode       Take(SkeanTransport t, const Clouds &C, bool certificate)
  {
    Vec fv, gv;
    Mat M;

    PetscFunctionBegin;
    PetscCall(SkeanTransportGetConvergedReason(t, &reason));
    PetscCall(SkeanTransportGetCosts(t, &cost, &entropy, NULL));
    PetscCall(SkeanTransportGetMarginalError(t, &err));
    PetscCall(SkeanTransportGetVisitedFraction(t, &visited));
    if (certificate) PetscCall(SkeanTransportGetCertificate(t, &lower, &upper));
    PetscCall(VecDuplicate(C.r, &fv));
    PetscCall(VecDuplicate(C.c, &gv));
    PetscCall(SkeanTransportGetPotentials(t, fv, gv));
    PetscCall(SkeanTransportGetPlan(t, 1e-6, &M));
    PetscCall(VecSet(gv, 1.0));
    PetscCall(MatMult(M, gv, fv)); /* what the entries listed hold of each row */
    map = All(fv);
    PetscCall(SkeanTransportGetPotentials(t, fv, gv));
    f = All(fv);
    g = All(gv);
    PetscCall(MatDestroy(&M));
    PetscCall(VecDestroy(&fv));
    PetscCall(VecDestroy(&gv));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  double Distance(const Answer &o) const
  {
    double e = 0;
    for (size_t i = 0; i < f.size(); ++i)
      if (std::isfinite(f[i]) || std::isfinite(o.f[i])) e = std::max(e, std::isfinite(f[i] - o.f[i]) ? std::fabs(f[i] - o.f[i]) : 1e300);
    for (size_t i = 0; i < g.size(); ++i)
      if (std::isfinite(g[i]) || std::isfinite(o.g[i])) e = std::max(e, std::isfinite(g[i] - o.g[i]) ? std::fabs(g[i] - o.g[i]) : 1e300);
    for (size_t i = 0; i < map.size(); ++i) e = std::max(e, std::fabs(map[i] - o.map[i]));
    return e;
  }
};
} // namespace

/* targets on every process against targets that go around, whoever owns the points, with and without truncation */
TEST(TransportTiles, RingAndReplicationAgree)
{
  const SkeanTransportCostType costs[] = {SKEAN_TRANSPORT_COST_SQEUCLIDEAN, SKEAN_TRANSPORT_COST_L1, SKEAN_TRANSPORT_COST_SQEUCLIDEAN};
  for (int which = 0; which < 3; ++which)
    for (bool skewed : {false, true})
      for (const char *type : {SKEANTRANSPORTSINKHORN, SKEANTRANSPORTSSNS}) {
        Clouds C;
        Answer A[3];
        ASSERT_PETSC(C.Make(230, 310, which == 2 ? 17 : 2, skewed)); /* 17 dimensions: inner products */
        for (int path = 0; path < 3; ++path) {
          SkeanTransport t;
          ASSERT_PETSC(C.Solver(type, costs[which], std::string(type) == SKEANTRANSPORTSSNS ? 5e-3 : 0.05, path == 2 ? 1e-15 : 0.0, path ? 0.0 : 1e9, &t));
          ASSERT_PETSC(SkeanTransportSetTolerances(t, 1e-11, PETSC_DEFAULT, PETSC_DEFAULT));
          /* the bounds of the answer itself: how far they are brought together after it depends on the number of passes */
          ASSERT_PETSC(SkeanTransportSetCertificateGap(t, 0.0));
          ASSERT_PETSC(SkeanTransportSolve(t));
          ASSERT_PETSC(A[path].Take(t, C, true));
          ASSERT_PETSC(SkeanTransportDestroy(&t));
          EXPECT_GT(A[path].reason, 0) << type << " path " << path;
          EXPECT_LE(A[path].lower, A[path].cost);
          EXPECT_LE(A[path].lower, A[path].upper);
        }
        for (int path = 1; path < 3; ++path) {
          EXPECT_NEAR(A[path].cost, A[0].cost, 1e-10 * A[0].cost);
          EXPECT_NEAR(A[path].entropy, A[0].entropy, 1e-9 * std::fabs(A[0].entropy));
          EXPECT_NEAR(A[path].lower, A[0].lower, 1e-10 * A[0].cost);
          EXPECT_NEAR(A[path].upper, A[0].upper, 1e-10 * A[0].cost);
          EXPECT_LE(A[path].Distance(A[0]), 1e-9) << type << " path " << path << " cost " << which << " skewed " << skewed;
        }
        ASSERT_PETSC(C.Destroy());
      }
}

/* A truncated pass from potentials that are right, slightly off, and absurd, against the pass over all pairs: the row potentials and the plan it gives */
TEST(TransportTiles, TruncatedPassIsExactFromAnyPotentials)
{
  Clouds C;
  ASSERT_PETSC(C.Make(700, 900, 2, false));
  for (SkeanTransportCostType cost : {SKEAN_TRANSPORT_COST_SQEUCLIDEAN, SKEAN_TRANSPORT_COST_EUCLIDEAN, SKEAN_TRANSPORT_COST_L1, SKEAN_TRANSPORT_COST_LP})
    for (double scale : {0.0, 0.3, 30.0})
      for (PetscReal replicate : {0.0, 1e9}) {
        Answer A[2];
        Vec    g, f;
        ASSERT_PETSC(VecDuplicate(C.c, &g));
        ASSERT_PETSC(VecDuplicate(C.r, &f));
        PetscInt     lo, hi;
        PetscScalar *a;
        ASSERT_PETSC(VecGetOwnershipRange(g, &lo, &hi));
        ASSERT_PETSC(VecGetArray(g, &a));
        for (PetscInt j = lo; j < hi; ++j) a[j - lo] = scale * (Uniform(j, 0, 21) - 0.5);
        ASSERT_PETSC(VecRestoreArray(g, &a));
        ASSERT_PETSC(VecSet(f, scale > 1 ? -50.0 : 0.0)); /* far too low: nothing would be reached */
        for (int cut = 0; cut < 2; ++cut) {
          SkeanTransport t;
          ASSERT_PETSC(C.Solver(SKEANTRANSPORTSINKHORN, cost, 1e-3, cut ? 1e-13 : 0.0, replicate, &t));
          ASSERT_PETSC(SkeanTransportSetTolerances(t, 1e-9, PETSC_DEFAULT, 0));
          ASSERT_PETSC(SkeanTransportSetCertificate(t, PETSC_FALSE));
          ASSERT_PETSC(SkeanTransportSetInitialPotentials(t, f, g));
          ASSERT_PETSC(SkeanTransportSolve(t));
          ASSERT_PETSC(A[cut].Take(t, C, false));
          ASSERT_PETSC(SkeanTransportDestroy(&t));
        }
        EXPECT_LE(A[0].Distance(A[1]), 1e-12 * (1 + scale)) << SkeanTransportCostTypes[cost] << " scale " << scale << " replicate " << replicate;
        EXPECT_NEAR(A[0].err, A[1].err, 1e-11 * (1 + A[0].err));
        ASSERT_PETSC(VecDestroy(&f));
        ASSERT_PETSC(VecDestroy(&g));
      }
  ASSERT_PETSC(C.Destroy());
}

/* The gram of cells that a pass fills, from costs, from rows that are kept whole and by entries, against sums over the plan's entries */
TEST(TransportTiles, GramOfCells)
{
  Clouds C;
  ASSERT_PETSC(C.Make(300, 600, 2, false));
  for (PetscReal memory : {0.0, 1e8})
    for (double eps : {0.1, 1e-3}) { /* most entries count, few do */
      SkeanTransport        t;
      Mat                   P;
      Cells                 cells;
      Vec                   one, sums;
      PetscInt              lo, hi;
      std::vector<PetscInt> all;
      ASSERT_PETSC(C.Solver(SKEANTRANSPORTSINKHORN, SKEAN_TRANSPORT_COST_SQEUCLIDEAN, eps, 1e-12, 1e9, &t));
      ASSERT_PETSC(SkeanTransportSetKernelMemory(t, memory));
      ASSERT_PETSC(SkeanTransportSetTolerances(t, 1e-8, PETSC_DEFAULT, PETSC_DEFAULT));
      ASSERT_PETSC(SkeanTransportSolve(t));
      Work *w = static_cast<Work *>(t->work);
      ASSERT_PETSC(w->eng->GetCells(5, &cells));
      EXPECT_EQ(cells.count, 4); /* of 128: 480 targets have mass */
      w->eng->cells = &cells;
      ASSERT_PETSC(SkeanTransportPass_Private(t, NULL)); /* u was a pass's result at this v already: the plan stays what it is */
      w->eng->cells = NULL;
      ASSERT_PETSC(SkeanTransportGetPlan(t, 0.0, &P));
      /* the cell of every target */
      ASSERT_PETSC(VecDuplicate(C.c, &one));
      ASSERT_PETSC(VecDuplicate(C.r, &sums));
      ASSERT_PETSC(VecSet(one, -1));
      PetscScalar        *a;
      std::vector<double> of(cells.of.begin(), cells.of.end());
      of.resize(PetscMax(of.size(), size_t(1)));
      ASSERT_PETSC(VecGetArray(one, &a));
      ASSERT_PETSC(w->cols.ToUser(of.data(), a));
      ASSERT_PETSC(VecRestoreArray(one, &a));
      const std::vector<double> cell = All(one);
      std::vector<double>       want(cells.count * cells.count, 0.0);
      ASSERT_PETSC(MatGetOwnershipRange(P, &lo, &hi));
      for (PetscInt i = lo; i < hi; ++i) {
        PetscInt            n;
        const PetscInt     *j;
        const PetscScalar  *p;
        std::vector<double> mass(cells.count, 0.0);
        double              sum = 0;
        ASSERT_PETSC(MatGetRow(P, i, &n, &j, &p));
        for (PetscInt q = 0; q < n; ++q) {
          mass[static_cast<size_t>(cell[j[q]])] += p[q];
          sum += p[q];
        }
        ASSERT_PETSC(MatRestoreRow(P, i, &n, &j, &p));
        for (PetscInt q = 0; q < cells.count && sum > 0; ++q)
          for (PetscInt k = 0; k <= q; ++k) want[q * cells.count + k] += mass[q] * mass[k] / sum;
      }
      ASSERT_EQ(MPI_Allreduce(MPI_IN_PLACE, want.data(), static_cast<int>(want.size()), MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD), MPI_SUCCESS);
      for (size_t q = 0; q < want.size(); ++q) EXPECT_NEAR(cells.gram[q], want[q], 1e-8) << "memory " << memory << " eps " << eps;
      ASSERT_PETSC(VecDestroy(&one));
      ASSERT_PETSC(VecDestroy(&sums));
      ASSERT_PETSC(MatDestroy(&P));
      ASSERT_PETSC(SkeanTransportDestroy(&t));
    }
  ASSERT_PETSC(C.Destroy());
}

/* cells take away what sweeps hardly reduce: several times fewer iterations to the same answer */
TEST(TransportTiles, CellsAccelerateSweeps)
{
  Clouds   C;
  Answer   A[2];
  PetscInt its[2];
  ASSERT_PETSC(C.Make(600, 800, 2, false));
  for (int cells = 0; cells < 2; ++cells) {
    SkeanTransport t;
    ASSERT_PETSC(C.Solver(SKEANTRANSPORTSINKHORN, SKEAN_TRANSPORT_COST_SQEUCLIDEAN, 1e-3, 1e-13, 1e9, &t));
    if (!cells) {
      ASSERT_PETSC(PetscOptionsSetValue(NULL, "-transport_sinkhorn_accelerate", "0"));
      ASSERT_PETSC(SkeanTransportSetFromOptions(t));
      ASSERT_PETSC(PetscOptionsClearValue(NULL, "-transport_sinkhorn_accelerate"));
    }
    ASSERT_PETSC(SkeanTransportSetTolerances(t, 1e-7, PETSC_DEFAULT, PETSC_DEFAULT));
    ASSERT_PETSC(SkeanTransportSolve(t));
    ASSERT_PETSC(SkeanTransportGetIterationNumber(t, &its[cells]));
    ASSERT_PETSC(A[cells].Take(t, C, true));
    ASSERT_PETSC(SkeanTransportDestroy(&t));
    EXPECT_GT(A[cells].reason, 0);
    EXPECT_LE(A[cells].err, 1e-7);
  }
  EXPECT_LE(4 * its[1], its[0]);
  EXPECT_NEAR(A[0].cost, A[1].cost, 1e-6 * A[0].cost);
  EXPECT_LE(A[1].lower, A[0].upper);
  EXPECT_LE(A[0].lower, A[1].upper);
  ASSERT_PETSC(C.Destroy());
}

/* near the solution few pairs are visited: at this epsilon the mass of a source is within a tenth of the width of the cloud */
TEST(TransportTiles, TruncationSkipsWhatItShould)
{
  Clouds C;
  Answer A[2];
  ASSERT_PETSC(C.Make(2000, 2000, 2, false));
  for (int cut = 0; cut < 2; ++cut) {
    SkeanTransport t;
    ASSERT_PETSC(C.Solver(SKEANTRANSPORTSSNS, SKEAN_TRANSPORT_COST_SQEUCLIDEAN, 2e-4, cut ? 1e-13 : 0.0, 1e9, &t));
    ASSERT_PETSC(SkeanTransportSetKernelMemory(t, 0.0)); /* a pass that keeps rows visits more, once */
    ASSERT_PETSC(SkeanTransportSetTolerances(t, 1e-8, PETSC_DEFAULT, PETSC_DEFAULT));
    ASSERT_PETSC(SkeanTransportSolve(t));
    ASSERT_PETSC(A[cut].Take(t, C, true));
    if (cut) { /* again from the solution, where no pass is at a larger epsilon */
      Vec f, g;
      ASSERT_PETSC(VecDuplicate(C.r, &f));
      ASSERT_PETSC(VecDuplicate(C.c, &g));
      ASSERT_PETSC(SkeanTransportGetPotentials(t, f, g));
      ASSERT_PETSC(SkeanTransportSetInitialPotentials(t, f, g));
      ASSERT_PETSC(SkeanTransportSolve(t));
      ASSERT_PETSC(SkeanTransportGetVisitedFraction(t, &A[cut].visited));
      ASSERT_PETSC(VecDestroy(&f));
      ASSERT_PETSC(VecDestroy(&g));
    }
    ASSERT_PETSC(SkeanTransportDestroy(&t));
    EXPECT_GT(A[cut].reason, 0);
  }
  EXPECT_DOUBLE_EQ(A[0].visited, 1.0);
  EXPECT_LE(A[1].visited, 0.22); /* with potentials bounded by constants: 0.31 */
  EXPECT_NEAR(A[0].cost, A[1].cost, 1e-7 * A[0].cost);
  EXPECT_LE(A[1].lower, A[0].upper);
  EXPECT_LE(A[0].lower, A[1].upper);
  EXPECT_NEAR(A[0].lower, A[1].lower, 1e-6 * A[0].cost);
  ASSERT_PETSC(C.Destroy());
}

/* Points in no order at all: every process has its share of the pairs that one process would visit, held by all or going around */
TEST(TransportTiles, SkippingIsSharedByAllProcesses)
{
  const int P = skeantest::Size();
  for (PetscReal replicate : {0.0, 1e9})
    for (bool skewed : {false, true}) {
      double visited[2], all; /* by one process alone; most of any process together; all together */
      for (int together = 0; together < 2; ++together) {
        Clouds         C;
        SkeanTransport t;
        C.comm = together ? PETSC_COMM_WORLD : PETSC_COMM_SELF;
        ASSERT_PETSC(C.Make(4000, 4000, 2, together && skewed));
        ASSERT_PETSC(C.Solver(SKEANTRANSPORTSINKHORN, SKEAN_TRANSPORT_COST_SQEUCLIDEAN, 5e-4, 1e-9, replicate, &t));
        ASSERT_PETSC(SkeanTransportSetTolerances(t, 1e-9, PETSC_DEFAULT, 25));
        ASSERT_PETSC(SkeanTransportSetScaling(t, PETSC_FALSE, 4.0));
        ASSERT_PETSC(SkeanTransportSetCertificate(t, PETSC_FALSE));
        ASSERT_PETSC(SkeanTransportSolve(t));
        visited[together] = static_cast<Work *>(t->work)->eng->entries * (replicate > 0 || P == 1 || together ? 1.0 : 2.0); /* two rounds per pass */
        ASSERT_PETSC(SkeanTransportDestroy(&t));
        ASSERT_PETSC(C.Destroy());
      }
      ASSERT_EQ(MPI_Allreduce(&visited[1], &all, 1, MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD), MPI_SUCCESS);
      ASSERT_EQ(MPI_Allreduce(MPI_IN_PLACE, visited, 2, MPI_DOUBLE, MPI_MAX, PETSC_COMM_WORLD), MPI_SUCCESS);
      EXPECT_LE(all, 1.1 * visited[0]) << "replicate " << replicate << " skewed " << skewed;
      EXPECT_LE(visited[1], 2.5 * visited[0] / P) << "replicate " << replicate << " skewed " << skewed; /* points are shared equally, their pairs are not */
    }
}

/* Around the ring no message is larger than a block, and nothing of the size of all targets is gathered or reduced */
TEST(TransportTiles, RingMessagesAreBlocks)
{
  const PetscInt            n = 400, m = 1200, d = 3, sweeps = 5;
  const int                 P = skeantest::Size();
  Clouds                    C;
  SkeanTransport            t;
  skeantest::MessageCounter count;
  ASSERT_PETSC(C.Make(n, m, d, false));
  ASSERT_PETSC(C.Solver(SKEANTRANSPORTSINKHORN, SKEAN_TRANSPORT_COST_SQEUCLIDEAN, 0.1, 0.0, 0.0, &t));
  ASSERT_PETSC(SkeanTransportSetScaling(t, PETSC_FALSE, 4.0));
  ASSERT_PETSC(SkeanTransportSetTolerances(t, 1e-14, PETSC_DEFAULT, sweeps));
  ASSERT_PETSC(SkeanTransportSetCertificate(t, PETSC_FALSE));
  ASSERT_PETSC(SkeanTransportSetUp(t));
  count.Start();
  ASSERT_PETSC(SkeanTransportSolve(t));
  count.Stop();
  if (P > 1) {
    /* the rounds: two for each of sweeps + 1 passes, one for the final marginals, one for the largest cost; a block holds at most the coordinates, v, the
       numbers, and 3 d + 1 numbers for 32 points; column sums come home in sweeps + 2 of them */
    const double block = m / P + 1, pass = (P - 1) * (block * (d + 3) + (block / 32 + 1) * (3 * d + 1)), sums = P * block;
    EXPECT_LE(count.PointToPointBytes(), 8 * ((2 * (sweeps + 1) + 2) * pass + (sweeps + 2) * sums)) << count.Report();
    EXPECT_EQ(count.Calls("Allgatherv"), 0) << count.Report();
    EXPECT_EQ(count.Calls("Reduce_scatter"), 0) << count.Report();
    EXPECT_LE(count.CollectiveBytes(), 8 * 400) << count.Report();
  }
  ASSERT_PETSC(SkeanTransportDestroy(&t));
  ASSERT_PETSC(C.Destroy());
}

TEST(TransportTiles, BadInput)
{
  SkeanTransport t;
  PetscReal      x;
  ASSERT_PETSC(SkeanTransportCreate(PETSC_COMM_WORLD, &t));
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSetReplicationLimit(t, -1.0); }), PETSC_ERR_ARG_OUTOFRANGE);
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSetTruncation(t, 0.5); }), PETSC_ERR_ARG_OUTOFRANGE);
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportGetVisitedFraction(t, &x); }), PETSC_ERR_ORDER);
  ASSERT_PETSC(SkeanTransportGetReplicationLimit(t, &x));
  EXPECT_EQ(x, 32.0 * 1024 * 1024);
  ASSERT_PETSC(SkeanTransportDestroy(&t));
}
