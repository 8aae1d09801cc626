#include "problems.hpp"
#include "src/transport/kernels/exp.hpp"
#include <skean/private/fastlog.hpp>
#include "src/transport/kernels/gridlse.hpp"
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

TEST(TransportKernels, LogIsWithinTwoUlp)
{
  double worst = 0;
  for (int i = 0; i < 200000; ++i) {
    const double      x = i % 2 ? std::exp(1400 * (Uniform(i, 0) - 0.5)) : 1 + 0.5 * (Uniform(i, 1) - 0.5);
    const long double e = std::log(static_cast<long double>(x));
    worst               = std::max(worst, static_cast<double>(std::fabs(skean::FastLog(x) - e) / std::max(1.0L, std::fabs(e))));
  }
  EXPECT_LE(worst, 2 * PETSC_MACHINE_EPSILON);
  EXPECT_EQ(skean::FastLog(1.0), 0.0);
}

/* the exponents that have loops of their own and the others, equal coordinates, far and near ones, against pow() */
TEST(TransportKernels, CostsOfLp)
{
  const PetscInt      m = 41, d = 2;
  std::vector<double> Y(m * d), out(m);
  for (double p : {0.5, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 7.3}) {
    CostTiles T;
    Columns   cols;
    T.kind = CostKind::LP;
    T.n    = 1;
    T.d    = d;
    T.p    = p;
    T.X    = {0.25, -3.0};
    for (PetscInt j = 0; j < m; ++j)
      for (PetscInt k = 0; k < d; ++k) Y[k * m + j] = j % 4 == 0 ? T.X[k] : T.X[k] + (Uniform(j, k, 5) - 0.5) * std::pow(10.0, j % 7 - 4);
    cols.m = m;
    cols.y = Y.data();
    ASSERT_PETSC(FillCosts(T, cols, 0, 1, 0, m, out.data(), m));
    for (PetscInt j = 0; j < m; ++j) {
      const double want = std::pow(std::fabs(T.X[0] - Y[j]), p) + std::pow(std::fabs(T.X[1] - Y[m + j]), p);
      EXPECT_NEAR(out[j], want, 1e-14 * (1 + 5 * p) * want) << "p " << p << " j " << j;
      if (j % 4 == 0) { EXPECT_EQ(out[j], 0.0); }
    }
  }
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
    EXPECT_NEAR(ExpSumCost(n, u, inv, v.data(), K.data(), K.data(), &cost), s, 1e-14 * (1 + s));
    EXPECT_NEAR(cost, 1.0 + w, 1e-14 * (1 + w));
    std::vector<double> K2 = c;
    EXPECT_NEAR(ExpSum(n, u, inv, v.data(), K2.data(), K2.data()), s, 1e-14 * (1 + s));
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

/* Log-sum-exp by blocks and GEMM against sums in logarithms: wide and narrow exponents, lines that hold little or nothing, blocks that are skipped, and steps
   of the cost beside which a block underflows */
TEST(TransportKernels, LineLseAgreesWithSums)
{
  for (PetscInt n : {1, 5, 64, 150})
    for (double inv : {1.0, 1e2, 1e4, 1e6})
      for (int weighted = 0; weighted < 2; ++weighted)
        for (int tilt = 0; tilt < 2; ++tilt) {
          const PetscInt      nr = 7;
          std::vector<double> c(static_cast<size_t>(n) * n), in(static_cast<size_t>(n) * nr), out(in.size()), top(in.size());
          for (PetscInt i = 0; i < n; ++i)
            for (PetscInt j = 0; j < n; ++j) c[static_cast<size_t>(i) * n + j] = std::pow(static_cast<double>(i - j) / n, 2);
          for (PetscInt j = 0; j < n; ++j)
            for (PetscInt r = 0; r < nr; ++r) /* as potentials are: up to the size of the cost, here with a tilt that carries mass half across the grid */
              in[static_cast<size_t>(j) * nr + r] =
                r == 6 || (r == 5 && j != n / 3) ? kLogZero : Uniform(j, r) + inv * (0.1 * std::sin(4.0 * j / n) + (tilt ? 1.0 * j / n : 0.0));
          /* the exponents in(j) - inv C_ij carry the rounding of their terms */
          double largest = 0;
          for (double t : in) largest = t > kLogZero ? std::max(largest, std::fabs(t)) : largest;
          const double tol = 1e-14 + 4 * PETSC_MACHINE_EPSILON * (largest + inv * c[n - 1]);
          LineLSE      lse;
          lse.SetUp(n, inv, c.data(), weighted);
          lse.Apply(nr, in.data(), out.data());
          LineMax(n, nr, inv, c.data(), in.data(), top.data());
          for (PetscInt i = 0; i < n; ++i)
            for (PetscInt r = 0; r < nr; ++r) {
              long double s = 0, plain = 0;
              double      M = kLogZero;
              for (PetscInt j = 0; j < n; ++j) M = std::max(M, in[static_cast<size_t>(j) * nr + r] - inv * c[static_cast<size_t>(i) * n + j]);
              for (PetscInt j = 0; j < n; ++j) {
                const long double e = std::exp(static_cast<long double>(in[static_cast<size_t>(j) * nr + r]) -
                                               static_cast<long double>(inv) * c[static_cast<size_t>(i) * n + j] - M);
                s += weighted ? e * c[static_cast<size_t>(i) * n + j] : e;
                plain += e;
              }
              const size_t q = static_cast<size_t>(i) * nr + r;
              EXPECT_EQ(top[q], M);
              if (r == 6 || s == 0)
                EXPECT_LE(out[q], -700.0) << n << " " << inv;
              else if (weighted) /* an error relative to the sum without weights, as a cost wants it */
                EXPECT_NEAR(std::exp(out[q] - M), static_cast<double>(s), tol * static_cast<double>(plain)) << n << " " << inv << " " << i << " " << r;
              else
                EXPECT_NEAR(out[q], M + static_cast<double>(std::log(s)), tol) << n << " " << inv << " " << i << " " << r;
            }
          EXPECT_TRUE(inv <= 1e4 || n < 150 || lse.Slow() > 0);
          EXPECT_TRUE(inv >= 1e4 || lse.Slow() == 0);
        }
}
