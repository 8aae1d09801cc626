#include "problems.hpp"
#include "src/transport/kernels/exp.hpp"
#include "src/transport/kernels/transportkernels.hpp"

using namespace skean::transport;
using problems::Uniform;

TEST(TransportKernels, ExpIsWithinTwoUlp)
{
  double worst = 0;
  for (int i = 0; i < 200000; ++i) {
    const double      t = -706.0 + 1414.0 * Uniform(i, 0), e = FastExp(t);
    const long double x   = std::exp(static_cast<long double>(t));
    const double      ulp = std::nextafter(static_cast<double>(x), INFINITY) - static_cast<double>(x);
    worst                 = std::max(worst, static_cast<double>(std::fabs(e - x)) / ulp);
  }
  EXPECT_LE(worst, 2.0);
  EXPECT_EQ(FastExp(0.0), 1.0);
  EXPECT_EQ(FastExp(-708.0), 0.0);
  EXPECT_EQ(FastExp(-1e300), 0.0);
  EXPECT_TRUE(std::isinf(FastExp(710.0)));
  EXPECT_TRUE(std::isnan(FastExp(NAN)));
  EXPECT_EQ(FastExp(-INFINITY), 0.0);
}

/* the vectorised passes against obvious loops, lengths that leave remainders */
TEST(TransportKernels, PassesAgreeWithLoops)
{
  for (PetscInt n : {0, 1, 7, 33, 100}) {
    std::vector<double> c(n), v(n), K, b(n, 0.5), y(n, 0.25);
    for (PetscInt j = 0; j < n; ++j) {
      c[j] = 3 * Uniform(j, 1);
      v[j] = Uniform(j, 2) - 0.5;
    }
    const double u = 0.3, inv = 2.5;
    double       s = 0, w = 0, mx = -PETSC_MAX_REAL, mn = PETSC_MAX_REAL, cost = 1.0;
    for (PetscInt j = 0; j < n; ++j) {
      const double p = std::exp(u + v[j] - inv * c[j]);
      s += p;
      w += p * c[j];
      mx = std::max(mx, v[j] - inv * c[j]);
      mn = std::min(mn, c[j] - v[j]);
    }
    K = c;
    EXPECT_NEAR(ExpSumCost(n, u, inv, v.data(), K.data(), &cost), s, 1e-14 * (1 + s));
    EXPECT_NEAR(cost, 1.0 + w, 1e-14 * (1 + w));
    std::vector<double> K2 = c;
    EXPECT_NEAR(ExpSum(n, u, inv, v.data(), K2.data()), s, 1e-14 * (1 + s));
    EXPECT_EQ(K, K2);
    EXPECT_NEAR(MaxOf(n, inv, v.data(), c.data()), mx, 1e-14 * std::abs(mx));
    EXPECT_NEAR(MinOf(n, v.data(), c.data()), mn, 1e-14 * std::abs(mn));
    AddScaled(n, 2.0, K.data(), b.data());
    MinInto(n, 0.5, c.data(), y.data());
    for (PetscInt j = 0; j < n; ++j) {
      EXPECT_NEAR(b[j], 0.5 + 2 * K[j], 1e-15 * (1 + K[j]));
      EXPECT_EQ(y[j], std::min(0.25, c[j] - 0.5));
    }
    std::vector<PetscInt> idx(n), want;
    const PetscInt        cnt = Select(n, K.data(), 0.4, idx.data());
    for (PetscInt j = 0; j < n; ++j)
      if (K[j] > 0.4) want.push_back(j);
    idx.resize(cnt);
    EXPECT_EQ(idx, want);
  }
}

static PetscErrorCode Abs3(PetscInt d, const PetscReal x[], PetscInt ny, const PetscReal y[], PetscReal c[], void *)
{
  for (PetscInt j = 0; j < ny; ++j) {
    c[j] = 0;
    for (PetscInt k = 0; k < d; ++k) c[j] += std::pow(std::fabs(x[k] - y[j * d + k]), 3);
  }
  return PETSC_SUCCESS;
}

TEST(TransportKernels, CostsOfAllKinds)
{
  for (PetscInt d : {1, 2, 3, 5, 20})
    for (CostKind kind : {CostKind::SQEUCLIDEAN, CostKind::EUCLIDEAN, CostKind::L1, CostKind::LP, CostKind::COSINE, CostKind::CALLBACK})
      for (bool gemm : {false, true}) {
        if (gemm && kind != CostKind::SQEUCLIDEAN && kind != CostKind::EUCLIDEAN && kind != CostKind::COSINE) continue;
        CostTiles T;
        T.kind                = kind;
        T.gemm                = gemm;
        T.n                   = 5;
        T.d                   = d;
        T.p                   = 2.5;
        T.fn                  = Abs3;
        const PetscInt      m = 37;
        std::vector<double> Y(m * d), Yrow(m * d), yn(m);
        T.X.resize(T.n * d);
        for (PetscInt i = 0; i < T.n; ++i)
          for (PetscInt k = 0; k < d; ++k) T.X[i * d + k] = Uniform(i, k, 3) - 0.5;
        for (PetscInt j = 0; j < m; ++j)
          for (PetscInt k = 0; k < d; ++k) Y[k * m + j] = Yrow[j * d + k] = Uniform(j, k, 4) - 0.5;
        if (kind == CostKind::COSINE) { /* normalised by the caller */
          for (PetscInt i = 0; i < T.n; ++i) {
            double s = 0;
            for (PetscInt k = 0; k < d; ++k) s += T.X[i * d + k] * T.X[i * d + k];
            for (PetscInt k = 0; k < d; ++k) T.X[i * d + k] /= std::sqrt(s);
          }
          for (PetscInt j = 0; j < m; ++j) {
            double s = 0;
            for (PetscInt k = 0; k < d; ++k) s += Yrow[j * d + k] * Yrow[j * d + k];
            for (PetscInt k = 0; k < d; ++k) Y[k * m + j] = Yrow[j * d + k] /= std::sqrt(s);
          }
        }
        T.xn.resize(T.n);
        for (PetscInt i = 0; i < T.n; ++i)
          for (PetscInt k = 0; k < d; ++k) T.xn[i] += T.X[i * d + k] * T.X[i * d + k];
        for (PetscInt j = 0; j < m; ++j)
          for (PetscInt k = 0; k < d; ++k) yn[j] += Yrow[j * d + k] * Yrow[j * d + k];
        std::vector<double> out(3 * 40);
        Columns             cols;
        cols.m    = m;
        cols.y    = T.ByPoint() ? Yrow.data() : Y.data();
        cols.norm = yn.data();
        ASSERT_PETSC(FillCosts(T, cols, 1, 3, 4, 30, out.data(), 40));
        for (PetscInt r = 0; r < 3; ++r)
          for (PetscInt j = 0; j < 30; ++j) {
            double sq = 0, l1 = 0, lp = 0, dot = 0, c3 = 0;
            for (PetscInt k = 0; k < d; ++k) {
              const double x = T.X[(1 + r) * d + k], y = Yrow[(4 + j) * d + k], t = std::fabs(x - y);
              sq += t * t;
              l1 += t;
              lp += std::pow(t, 2.5);
              c3 += std::pow(t, 3);
              dot += x * y;
            }
            const double want = kind == CostKind::SQEUCLIDEAN ? sq
                                : kind == CostKind::EUCLIDEAN ? std::sqrt(sq)
                                : kind == CostKind::L1        ? l1
                                : kind == CostKind::LP        ? lp
                                : kind == CostKind::COSINE    ? 1 - dot
                                                              : c3;
            /* inner products lose digits where the distance is small against the norms */
            const double tol = gemm && kind == CostKind::EUCLIDEAN ? 1e-7 : 1e-13;
            EXPECT_NEAR(out[r * 40 + j], want, tol) << "kind " << static_cast<int>(kind) << " d " << d << " gemm " << gemm;
          }
      }
}
