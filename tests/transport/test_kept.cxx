/* Passes over rows of the plan kept in memory, against passes over the costs */
#include "problems.hpp"
#include "src/transport/interface/tiles.hpp"
#include <string>

using namespace skean::transport;
using problems::All;
using problems::Uniform;

TEST(TransportKept, Kernels)
{
  for (PetscInt n : {0, 1, 15, 16, 17, 100}) {
    std::vector<double> K(n + 1), w(n + 1), x(n + 1), y(n + 1), val(n + 16), copy(n + 1), e(n + 1);
    std::vector<int>    idx(n + 16);
    for (PetscInt j = 0; j < n; ++j) {
      K[j] = std::exp(-40 * Uniform(j, 0));
      w[j] = Uniform(j, 1);
      x[j] = 10 * Uniform(j, 2);
      y[j] = 10 * Uniform(j, 3);
    }
    const double   t = 1e-8, f = 1.7;
    const PetscInt cnt = Pack(n, K.data(), t, w.data(), f, 3, idx.data(), val.data());
    PetscInt       q   = 0;
    double         dot = 0, far = 0;
    for (PetscInt j = 0; j < n; ++j) {
      far = std::max(far, std::fabs(x[j] - y[j]));
      if (!(K[j] > t * w[j])) continue;
      ASSERT_LT(q, cnt);
      EXPECT_EQ(idx[q], j + 3);
      EXPECT_DOUBLE_EQ(val[q], f * K[j]);
      ++q;
      dot += f * K[j] * x[j];
    }
    EXPECT_EQ(cnt, q);
    EXPECT_EQ(CountAbove(n, K.data(), t, w.data()), q);
    for (PetscInt k = 0; k < q; ++k) idx[k] -= 3;
    EXPECT_NEAR(SparseDot(q, idx.data(), val.data(), x.data()), dot, 1e-14 * (1 + dot));
    std::vector<double> z(y);
    SparseAdd(q, 2.0, idx.data(), val.data(), z.data());
    for (PetscInt j = 0; j < n; ++j) EXPECT_DOUBLE_EQ(z[j], y[j] + (K[j] > t * w[j] ? 2 * (f * K[j]) : 0.0));
    EXPECT_DOUBLE_EQ(MaxDifference(n, x.data(), y.data()), far);
    ExpDifference(n, x.data(), y.data(), e.data());
    for (PetscInt j = 0; j < n; ++j) EXPECT_NEAR(e[j], std::exp(x[j] - y[j]), 1e-15 * std::exp(x[j] - y[j]));
    if (n) K[0] = 1e-260;
    CopyScaled(n, K.data(), f, copy.data());
    for (PetscInt j = 0; j < n; ++j) EXPECT_DOUBLE_EQ(copy[j], j ? f * K[j] : 0.0);
  }
}

/* One engine that keeps rows and one that does not, at a sequence of potentials: near the last ones, with one column far off, scaled to another epsilon,
   and absurd. The last processes own no rows or no columns. */
TEST(TransportKept, PassesAgreeAtAnyPotentials)
{
  const PetscInt n = 150, m = 190;
  const int      P = skeantest::Size(), rank = skeantest::Rank();
  for (PetscInt d : {0, 2, 17}) /* stored, tiles, inner products */
    for (double eps : {0.3, 1e-2, 1e-4}) {
      std::vector<double>         logr, logc;
      std::unique_ptr<TileEngine> E[2];
      const PetscInt              rows = P == 1 ? n : (rank == P - 1 ? 0 : n / (P - 1) + (rank < n % (P - 1) ? 1 : 0));
      const PetscInt              cols = P == 1 ? m : (rank == 0 ? 0 : m / (P - 1) + (rank <= m % (P - 1) ? 1 : 0));
      for (int keeps = 0; keeps < 2; ++keeps) {
        E[keeps].reset(new TileEngine);
        TileEngine &e = *E[keeps];
        ASSERT_PETSC(e.Layout(PETSC_COMM_WORLD, rows, cols));
        if (!keeps) {
          logr.resize(rows + 1);
          logc.resize(cols + 1);
          for (PetscInt i = 0; i < rows; ++i) logr[i] = std::log((0.5 + Uniform(e.rlo + i, 3)) / n);
          for (PetscInt j = 0; j < cols; ++j) logc[j] = std::log((0.5 + Uniform(e.mlo + j, 4)) / m);
        }
        e.logr   = logr.data();
        e.logc   = logc.data();
        e.T.n    = rows;
        e.T.d    = d;
        e.memory = keeps ? 1e9 : 0.0;
        if (d) {
          e.T.kind    = CostKind::SQEUCLIDEAN;
          e.T.gemm    = d > 16;
          e.replicate = 1e9;
          for (PetscInt i = 0; i < rows; ++i)
            for (PetscInt k = 0; k < d; ++k) e.T.X.push_back(Uniform(e.rlo + i, k, 5));
          for (PetscInt j = 0; j < cols; ++j)
            for (PetscInt k = 0; k < d; ++k) e.targets.push_back(Uniform(e.mlo + j, k, 6));
          for (PetscInt i = 0; i < rows; ++i) {
            double s = 0;
            for (PetscInt k = 0; k < d; ++k) s += e.T.X[i * d + k] * e.T.X[i * d + k];
            e.T.xn.push_back(s);
          }
        } else {
          e.T.ldc = m;
          for (PetscInt i = 0; i < rows; ++i)
            for (PetscInt j = 0; j < m; ++j) e.T.C.push_back(Uniform(e.rlo + i, j, 7));
        }
        ASSERT_PETSC(e.SetUp());
        double cmax;
        ASSERT_PETSC(e.Scale(&cmax, NULL));
      }
      std::vector<double> v(cols + 1), u[2];
      for (auto &x : u) x.assign(logr.begin(), logr.end());
      for (PetscInt j = 0; j < cols; ++j) v[j] = logc[j];
      double inv = 1 / eps;
      for (int step = 0; step < 14; ++step) {
        std::vector<double> a[2], lb[2];
        double              sums[2] = {0, 0}, kept[2] = {0, 0};
        for (int keeps = 0; keeps < 2; ++keeps) {
          Keep keep;
          keep.thr = 1e-9;
          keep.cap = static_cast<size_t>(n) * m;
          a[keeps].resize(rows + 1);
          lb[keeps].resize(cols + 1);
          const double lam = step % 7 == 5 ? 0.5 : 1.0;
          ASSERT_PETSC(E[keeps]->Fused(inv, lam, v.data(), u[keeps].data(), step % 2 ? a[keeps].data() : NULL, lb[keeps].data(), step % 3 ? &keep : NULL));
          for (double p : keep.p) sums[keeps] += p;
          kept[keeps] = static_cast<double>(keep.p.size());
        }
        const double tol = 1e-12 * (1 + inv);
        for (PetscInt i = 0; i < rows; ++i) {
          EXPECT_NEAR(u[1][i], u[0][i], tol) << "d " << d << " eps " << eps << " step " << step;
          EXPECT_NEAR(a[1][i], a[0][i], tol * a[0][i]);
        }
        for (PetscInt j = 0; j < cols; ++j) {               /* a column that is hardly reached is known as well as its mass allows */
          const double least = std::max(lb[0][j], logc[j]); /* in this unit, so that nothing overflows */
          EXPECT_NEAR(std::exp(lb[1][j] - least), std::exp(lb[0][j] - least), tol) << "d " << d << " eps " << eps << " step " << step;
        }
        EXPECT_NEAR(sums[1], sums[0], tol * (sums[0] + 1e-6));
        EXPECT_NEAR(kept[1], kept[0], 2);
        /* products with the plan: from the rows that are kept, where they are asked for and near, else from the costs */
        if (step < 6 || step == 10) {
          std::vector<double> w(cols + 1), z(rows + 1), Pw[2], Ptz[2], Hw[2];
          for (PetscInt j = 0; j < cols; ++j) w[j] = Uniform(j + E[0]->mlo, 12) - 0.5;
          for (PetscInt i = 0; i < rows; ++i) z[i] = Uniform(i + E[0]->rlo, 13) - 0.5;
          const PetscInt before = E[1]->passes + E[1]->keptpasses;
          for (int keeps = 0; keeps < 2; ++keeps) {
            TileEngine &e = *E[keeps];
            Pw[keeps].resize(rows + 1);
            Ptz[keeps].resize(cols + 1);
            Hw[keeps].resize(cols + 1);
            e.nearby                   = true;
            const double       *uu     = u[keeps].data();
            std::vector<double> masses = logr; /* the row sums that this point has, with lam = 1 */
            for (double &x : masses) x = std::exp(x);
            ASSERT_PETSC(e.Products(inv, uu, v.data(), w.data(), NULL, NULL, Pw[keeps].data(), NULL));
            ASSERT_PETSC(e.Products(inv, uu, v.data(), NULL, NULL, z.data(), NULL, Ptz[keeps].data()));
            ASSERT_PETSC(e.Products(inv, uu, v.data(), w.data(), masses.data(), NULL, NULL, Hw[keeps].data()));
            e.nearby = false;
          }
          EXPECT_EQ(E[1]->passes + E[1]->keptpasses, before + 3);
          for (PetscInt i = 0; i < rows; ++i) EXPECT_NEAR(Pw[1][i], Pw[0][i], tol / n) << "d " << d << " eps " << eps << " step " << step;
          for (PetscInt j = 0; j < cols; ++j) {
            const double mass = std::max(std::exp(lb[0][j]), std::exp(logc[j]));
            EXPECT_NEAR(Ptz[1][j], Ptz[0][j], tol * mass) << "d " << d << " eps " << eps << " step " << step;
            EXPECT_NEAR(Hw[1][j], Hw[0][j], tol * mass) << "d " << d << " eps " << eps << " step " << step;
          }
        }
        for (PetscInt j = 0; j < cols; ++j) {
          if (step < 6) v[j] += logc[j] - lb[0][j];
          if (step == 6) v[j] += 25 * (Uniform(j + E[0]->mlo, 9) - 0.5);
          if (step == 8 && (E[0]->mlo + j) % 97 == 5) v[j] -= 300;
          if (step == 9) v[j] = logc[j] + 4 * (v[j] - logc[j]);
          if (step == 11) v[j] = 3000 * (Uniform(j + E[0]->mlo, 10) - 0.5);
          if (step == 12) v[j] += 1e-3 * Uniform(j, 11);
        }
        if (step == 9) inv *= 4;
      }
      EXPECT_GE(E[1]->keptpasses, 2) << "d " << d << " eps " << eps;
      EXPECT_EQ(E[0]->keptpasses, 0);
    }
}

namespace {
/* n x m stored costs; everything on the last process, or spread */
PetscErrorCode Solve(SkeanTransportType type, bool skewed, PetscReal memory, PetscReal eps, PetscReal partial, std::vector<double> *f, double out[5],
                     PetscInt *kept, PetscInt *passes)
{
  const PetscInt       n = 120, m = 160, rows = skewed ? (skeantest::Rank() == skeantest::Size() - 1 ? n : 0) : PETSC_DECIDE;
  Mat                  C;
  Vec                  r, c, fv;
  SkeanTransport       t;
  PetscInt             lo, hi, lda;
  PetscScalar         *a;
  SkeanConvergedReason reason;
  PetscReal            err;

  PetscFunctionBegin;
  PetscCall(MatCreateDense(PETSC_COMM_WORLD, rows, PETSC_DECIDE, n, m, NULL, &C));
  PetscCall(MatGetOwnershipRange(C, &lo, &hi));
  PetscCall(MatDenseGetLDA(C, &lda));
  PetscCall(MatDenseGetArrayWrite(C, &a));
  for (PetscInt j = 0; j < m; ++j)
    for (PetscInt i = lo; i < hi; ++i) a[(i - lo) + j * lda] = Uniform(i, j, 31);
  PetscCall(MatDenseRestoreArrayWrite(C, &a));
  PetscCall(VecCreateMPI(PETSC_COMM_WORLD, hi - lo, n, &r));
  PetscCall(VecSet(r, 1.0 / n));
  PetscCall(VecCreateMPI(PETSC_COMM_WORLD, PETSC_DECIDE, m, &c));
  PetscCall(VecSet(c, 1.0 / m));
  PetscCall(SkeanTransportCreate(PETSC_COMM_WORLD, &t));
  PetscCall(SkeanTransportSetType(t, type));
  PetscCall(SkeanTransportSetMarginals(t, r, c));
  PetscCall(SkeanTransportSetCost(t, C));
  PetscCall(SkeanTransportSetEpsilon(t, eps, SKEAN_TRANSPORT_EPS_MAX));
  PetscCall(SkeanTransportSetTolerances(t, 1e-10, PETSC_DEFAULT, PETSC_DEFAULT));
  PetscCall(SkeanTransportSetKernelMemory(t, memory));
  if (partial > 0) PetscCall(SkeanTransportSetPartialMass(t, partial));
  PetscCall(SkeanTransportSolve(t));
  PetscCall(SkeanTransportGetCosts(t, &out[0], &out[1], NULL));
  PetscCall(SkeanTransportGetCertificate(t, &out[2], &out[3]));
  PetscCall(SkeanTransportGetMarginalError(t, &err));
  PetscCall(SkeanTransportGetConvergedReason(t, &reason));
  out[4] = reason > 0 ? err : 1.0;
  PetscCall(SkeanTransportGetKeptPasses(t, kept));
  PetscCall(SkeanTransportGetPasses(t, passes));
  PetscCall(VecDuplicate(r, &fv));
  PetscCall(SkeanTransportGetPotentials(t, fv, NULL));
  *f = All(fv);
  PetscCall(VecDestroy(&fv));
  PetscCall(SkeanTransportDestroy(&t));
  PetscCall(MatDestroy(&C));
  PetscCall(VecDestroy(&r));
  PetscCall(VecDestroy(&c));
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

/* Same answers with rows kept, with none, and with memory for too few; fewer passes over the costs */
TEST(TransportKept, SolvesAgree)
{
  for (const char *type : {SKEANTRANSPORTSINKHORN, SKEANTRANSPORTSSNS, SKEANTRANSPORTSNS})
    for (bool skewed : {false, true})
      for (double partial : {0.0, 0.6}) {
        std::vector<double> f[3];
        double              out[3][5];
        PetscInt            kept[3], passes[3];
        const PetscReal     memory[3] = {0.0, 1e8, 1e3}, eps = std::string(type) == SKEANTRANSPORTSINKHORN ? 0.05 : 5e-3;
        if (partial > 0 && std::string(type) == SKEANTRANSPORTSNS) continue; /* from a start as crude as its own, sns is not made for it */
        for (int k = 0; k < 3; ++k) ASSERT_PETSC(Solve(type, skewed, memory[k], eps, partial, &f[k], out[k], &kept[k], &passes[k]));
        EXPECT_EQ(kept[0], 0);
        EXPECT_GT(kept[1], 0);
        EXPECT_EQ(kept[2], 0) << type << " skewed " << skewed;
        EXPECT_LT(passes[1], passes[0]);
        for (int k = 0; k < 3; ++k) {
          EXPECT_LE(out[k][4], 1e-10) << type << " memory " << memory[k] << " skewed " << skewed << " partial " << partial;
          for (int q = 0; q < 4; ++q) EXPECT_NEAR(out[k][q], out[0][q], 1e-7 * (1 + std::fabs(out[0][q])));
          for (size_t i = 0; i < f[0].size(); ++i) EXPECT_NEAR(f[k][i], f[0][i], 1e-7);
        }
      }
}

TEST(TransportKept, BadInput)
{
  SkeanTransport t;
  PetscReal      x;
  PetscInt       k;
  ASSERT_PETSC(SkeanTransportCreate(PETSC_COMM_WORLD, &t));
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportSetKernelMemory(t, -1.0); }), PETSC_ERR_ARG_OUTOFRANGE);
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanTransportGetKeptPasses(t, &k); }), PETSC_ERR_ORDER);
  ASSERT_PETSC(SkeanTransportGetKernelMemory(t, &x));
  EXPECT_EQ(x, 256.0 * 1024 * 1024);
  ASSERT_PETSC(SkeanTransportDestroy(&t));
}
