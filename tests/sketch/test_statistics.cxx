/* Distribution of the sketches, with fixed seeds */
#include "sketchtest.hpp"
#include <petscblaslapack.h>

using namespace sketchtest;

namespace {
/* Smallest and largest singular value of a m x d column-major array */
void SingularRange(std::vector<double> a, PetscInt m, PetscInt d, double *smin, double *smax)
{
  PetscBLASInt        bm = static_cast<PetscBLASInt>(m), bd = static_cast<PetscBLASInt>(d), lwork = 10 * (bm + bd), info, one = 1;
  std::vector<double> s(std::min(m, d)), work(lwork);
  double              dummy;
  LAPACKgesvd_("N", "N", &bm, &bd, a.data(), &bm, s.data(), &dummy, &one, &dummy, &one, work.data(), &lwork, &info);
  *smax = info ? -1 : s.front();
  *smin = info ? -1 : s.back();
}

/* S itself: the sketch of the identity, on this process alone */
PetscErrorCode ExplicitFromLibrary(const Config &c, PetscInt n, Dense *S)
{
  Dense I(n, n);
  Mat   M;

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; ++i) I(i, i) = 1.0;
  PetscCall(MakeMat(PETSC_COMM_SELF, I, Storage::Aij, n, &M));
  *S = Dense(c.m, n);
  PetscCall(ApplyTo(PETSC_COMM_SELF, c, M, &S->a));
  PetscCall(MatDestroy(&M));
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

/* The mean of S'S over K draws is I: each entry is within 5 standard deviations (estimated from the same draws), no entry systematically off.
   The draws are shared out to the processes. */
TEST(SketchStatistics, MeanOfGramIsIdentity)
{
  const PetscInt n = 24, m = 12, K = 800;
  auto           configs = ObliviousConfigs(m);
  configs.push_back({SKEANSKETCHSRHT, m, PETSC_DETERMINE, 8});
  configs.push_back({SKEANSKETCHSRCT, m, PETSC_DETERMINE, 9});
  configs.push_back({SKEANSKETCHBLOCKSRHT, m, PETSC_DETERMINE, 16});
  configs.push_back({SKEANSKETCHPOOLED, m, PETSC_DETERMINE, 16});
  for (Config c : configs) {
    std::vector<double> sum(2 * n * n, 0.0);
    bool                ok = true;
    for (PetscInt k = skeantest::Rank(); k < K; k += skeantest::Size()) {
      Dense S;
      c.draw = k;
      ok     = ok && ExplicitFromLibrary(c, n, &S) == PETSC_SUCCESS;
      for (PetscInt i = 0; i < n && ok; ++i)
        for (PetscInt j = 0; j < n; ++j) {
          double g = 0;
          for (PetscInt t = 0; t < m; ++t) g += S(t, i) * S(t, j);
          sum[i + j * n] += g;
          sum[n * n + i + j * n] += g * g;
        }
    }
    ASSERT_ALL(ok);
    MPI_Allreduce(MPI_IN_PLACE, sum.data(), static_cast<int>(sum.size()), MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD);
    double worst = 0;
    for (PetscInt i = 0; i < n; ++i)
      for (PetscInt j = 0; j < n; ++j) {
        const double mean = sum[i + j * n] / K, var = std::max(sum[n * n + i + j * n] / K - mean * mean, 0.0);
        const double dev = std::abs(mean - (i == j));
        worst            = std::max(worst, dev <= 1e-12 ? 0.0 : dev / std::sqrt(var / K + 1e-24));
      }
    EXPECT_LT(worst, 5.0) << Name(c);
  }
}

/* Leverage: the mean of (SA)'SA is A'A whatever the scores are, and tensor types: the mean of S'S is I, S being the sketch of the Kronecker product of identities */
TEST(SketchStatistics, MeanOfGramLeverageAndTensor)
{
  const PetscInt K = 600;
  for (const char *type : {SKEANSKETCHLEVERAGE, SKEANSKETCHTENSORSRHT, SKEANSKETCHTENSORSKETCH}) {
    const bool     leverage = std::string(type) == SKEANSKETCHLEVERAGE;
    const PetscInt m = 12, d = leverage ? 3 : 15;
    Dense          A = leverage ? TestMatrix(90, d, 1.0) : Dense(3, 3), B(5, 5), G(d, d);
    Mat            F[2];
    if (leverage) {
      A(4, 1) = 300; /* one heavy row */
      for (PetscInt i = 0; i < d; ++i)
        for (PetscInt j = 0; j < d; ++j)
          for (size_t r = 0; r < A.m; ++r) G(i, j) += A(r, i) * A(r, j);
    } else {
      for (size_t i = 0; i < 3; ++i) A(i, i) = 1.0;
      for (size_t i = 0; i < 5; ++i) B(i, i) = 1.0;
      for (PetscInt i = 0; i < d; ++i) G(i, i) = 1.0;
    }
    ASSERT_PETSC(MakeMat(PETSC_COMM_SELF, A, Storage::Dense, static_cast<PetscInt>(A.m), &F[0]));
    ASSERT_PETSC(MakeMat(PETSC_COMM_SELF, B, Storage::Dense, 5, &F[1]));
    std::vector<double> sum(2 * d * d, 0.0), SA(m * d);
    bool                ok = true;
    for (PetscInt k = skeantest::Rank(); k < K && ok; k += skeantest::Size()) {
      SkeanSketch s;
      ok = ok && !MakeSketch(PETSC_COMM_SELF, {type, m, PETSC_DETERMINE, PETSC_DETERMINE, true, k}, leverage ? 90 : 15, &s);
      ok = ok && !SkeanSketchSetKronecker(s, PETSC_TRUE);
      ok = ok && !(leverage ? SkeanSketchApply(s, F[0], SA.data()) : SkeanSketchApplyTensor(s, 2, F, SA.data()));
      ok = ok && !SkeanSketchDestroy(&s);
      for (PetscInt i = 0; i < d; ++i)
        for (PetscInt j = 0; j < d; ++j) {
          double g = 0;
          for (PetscInt t = 0; t < m; ++t) g += SA[t + i * m] * SA[t + j * m];
          sum[i + j * d] += g;
          sum[d * d + i + j * d] += g * g;
        }
    }
    ASSERT_ALL(ok);
    MPI_Allreduce(MPI_IN_PLACE, sum.data(), static_cast<int>(sum.size()), MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD);
    for (PetscInt i = 0; i < d; ++i)
      for (PetscInt j = 0; j < d; ++j) {
        const double mean = sum[i + j * d] / K, var = std::max(sum[d * d + i + j * d] / K - mean * mean, 0.0);
        EXPECT_LE(std::abs(mean - G(i, j)), 5 * std::sqrt(var / K) + 1e-12) << type << " entry " << i << " " << j;
      }
    ASSERT_PETSC(MatDestroy(&F[0]));
    ASSERT_PETSC(MatDestroy(&F[1]));
  }
}

/* Signs balanced, rows uniform and distinct in sparsesign, one nonzero per piece in sparsestack, one in countsketch */
TEST(SketchStatistics, SparseColumns)
{
  const PetscInt n = 4000, m = 40;
  for (const Config &c :
       {Config{SKEANSKETCHSPARSESIGN, m}, Config{SKEANSKETCHSPARSESIGN, m, 40}, Config{SKEANSKETCHSPARSESTACK, m, 6}, Config{SKEANSKETCHCOUNTSKETCH, m}}) {
    const PetscInt zeta = c.nnz > 0 ? c.nnz : c.type == SKEANSKETCHCOUNTSKETCH ? 1 : 8;
    Dense          S(m, n); /* the sketch of the identity, in slices of columns */
    const PetscInt slice = 500;
    for (PetscInt j0 = 0; j0 < n; j0 += slice) {
      Dense I(n, slice);
      for (PetscInt j = 0; j < slice; ++j) I(j0 + j, j) = 1.0;
      Mat                 M;
      std::vector<double> SA;
      ASSERT_PETSC(MakeMat(PETSC_COMM_WORLD, I, Storage::Aij, LocalRows(Layout::Even, n), &M));
      ASSERT_PETSC(ApplyTo(PETSC_COMM_WORLD, c, M, &SA));
      std::copy(SA.begin(), SA.end(), S.a.begin() + j0 * m);
      ASSERT_PETSC(MatDestroy(&M));
    }
    std::vector<double> hits(m, 0.0);
    double              plus = 0, samesign = 0;
    for (PetscInt j = 0; j < n; ++j) {
      PetscInt count = 0;
      for (PetscInt t = 0; t < m; ++t)
        if (S(t, j) != 0) {
          ++count;
          hits[t] += 1;
          plus += S(t, j) > 0;
          EXPECT_NEAR(std::abs(S(t, j)), 1 / std::sqrt(static_cast<double>(zeta)), 1e-15);
        }
      EXPECT_EQ(count, zeta) << Name(c) << " column " << j << ": rows not distinct";
      if (j) {
        double a = 0, b = 0;
        for (PetscInt t = 0; t < m; ++t) {
          a += S(t, j - 1);
          b += S(t, j);
        }
        samesign += a * b;
      }
      if (c.type == SKEANSKETCHSPARSESTACK)
        for (PetscInt k = 0; k < zeta; ++k) {
          PetscInt in = 0;
          for (PetscInt t = k * m / zeta; t < (k + 1) * m / zeta; ++t) in += S(t, j) != 0;
          EXPECT_EQ(in, 1);
        }
    }
    const double total = static_cast<double>(n) * zeta;
    EXPECT_LT(std::abs(plus / total - 0.5), 5 * 0.5 / std::sqrt(total)) << Name(c);
    EXPECT_LT(std::abs(samesign / n), 5 / std::sqrt(static_cast<double>(n))) << "neighbouring columns correlated, " << Name(c);
    if (zeta < m)
      for (PetscInt t = 0; t < m; ++t) {
        const double size = c.type == SKEANSKETCHSPARSESTACK ? [&] { for (PetscInt k = 0; k < zeta; ++k) if (t < (k + 1) * m / zeta) return static_cast<double>((k + 1) * m / zeta - k * m / zeta); return 1.0; }() : static_cast<double>(m) / zeta;
        EXPECT_LT(std::abs(hits[t] - n / size), 5.5 * std::sqrt(n / size)) << Name(c) << " row " << t;
      }
  }
}

/* Embedding: singular values of S U, U orthonormal, lie in 1 -+ c sqrt(d/m), for m = 4 d ... 12 d, on a coherent and on an incoherent range */
TEST(SketchStatistics, Distortion)
{
  const PetscInt n = 3000, d = 16;
  for (bool coherent : {false, true}) {
    Dense U(n, d);
    for (PetscInt j = 0; j < d; ++j)
      if (coherent)
        U((j * 187) % n, j) = 1.0;
      else
        for (PetscInt i = 0; i < n; ++i) U(i, j) = std::sqrt((j ? 2.0 : 1.0) / n) * std::cos(M_PI * (i + 0.5) * j / n);
    Mat M;
    ASSERT_PETSC(MakeMat(PETSC_COMM_WORLD, U, Storage::Aij, LocalRows(Layout::Even, n), &M));
    for (PetscInt factor : {4, 8, 12})
      for (Config c : {Config{SKEANSKETCHGAUSSIAN}, Config{SKEANSKETCHSPARSESIGN}, Config{SKEANSKETCHSPARSESTACK}, Config{SKEANSKETCHSRHT},
                       Config{SKEANSKETCHSRCT}, Config{SKEANSKETCHBLOCKSRHT}, Config{SKEANSKETCHPOOLED}})
        for (PetscInt draw = 0; draw < 3; ++draw) {
          std::vector<double> SU;
          double              smin, smax;
          c.m    = factor * d;
          c.draw = draw;
          ASSERT_PETSC(ApplyTo(PETSC_COMM_WORLD, c, M, &SU));
          SingularRange(SU, c.m, d, &smin, &smax);
          /* Gaussian theory: 1 -+ sqrt(d/m), fluctuations of order m^{-1/2}; a margin of 60 percent for all types */
          const double e = 1.6 * std::sqrt(static_cast<double>(d) / c.m);
          EXPECT_GT(smin, 1 - e) << Name(c) << " coherent " << coherent;
          EXPECT_LT(smax, 1 + e) << Name(c) << " coherent " << coherent;
          EXPECT_GT(smax, 1.0) << Name(c) << ": no distortion at all is not random";
        }
    ASSERT_PETSC(MatDestroy(&M));
  }
}

/* The plain Hadamard transform loses rank on [I; 0] in most draws at m = 2 d, the permuted one, the cosine transform and the pooled one never */
TEST(SketchStatistics, PlainHadamardFailsOnIdentityBlock)
{
  const PetscInt n = 16384, d = 32, m = 2 * d, draws = 24;
  Dense          A(n, d);
  for (PetscInt j = 0; j < d; ++j) A(j, j) = 1.0;
  Mat M;
  ASSERT_PETSC(MakeMat(PETSC_COMM_SELF, A, Storage::Aij, n, &M));
  const std::vector<Config> configs = {{SKEANSKETCHSRHT, m, PETSC_DETERMINE, PETSC_DETERMINE, false},
                                       {SKEANSKETCHSRHT, m},
                                       {SKEANSKETCHSRHT, m, PETSC_DETERMINE, 256},
                                       {SKEANSKETCHBLOCKSRHT, m},
                                       {SKEANSKETCHSRCT, m},
                                       {SKEANSKETCHPOOLED, m},
                                       {SKEANSKETCHGAUSSIAN, m}};
  std::vector<int>          singular(configs.size(), 0);
  std::vector<double>       worst(configs.size(), 0.0);
  bool                      ok = true;
  for (size_t k = 0; k < configs.size(); ++k)
    for (PetscInt draw = skeantest::Rank(); draw < draws; draw += skeantest::Size()) {
      Config              c = configs[k];
      std::vector<double> SA;
      double              smin, smax;
      c.draw = draw;
      ok     = ok && ApplyTo(PETSC_COMM_SELF, c, M, &SA) == PETSC_SUCCESS;
      if (!ok) break;
      SingularRange(SA, m, d, &smin, &smax);
      if (smin < 1e-12 * smax)
        ++singular[k];
      else
        worst[k] = std::max(worst[k], smax / smin);
    }
  ASSERT_ALL(ok);
  ASSERT_PETSC(MatDestroy(&M));
  MPI_Allreduce(MPI_IN_PLACE, singular.data(), static_cast<int>(singular.size()), MPI_INT, MPI_SUM, PETSC_COMM_WORLD);
  MPI_Allreduce(MPI_IN_PLACE, worst.data(), static_cast<int>(worst.size()), MPI_DOUBLE, MPI_MAX, PETSC_COMM_WORLD);
  EXPECT_GE(singular[0], 20) << "of " << draws << " draws of the plain transform";
  for (size_t k = 1; k < configs.size(); ++k) {
    EXPECT_EQ(singular[k], 0) << Name(configs[k]);
    EXPECT_LT(worst[k], 12.0) << Name(configs[k]);
  }
}

/* The law of spec and manual page: for a Gaussian S and any A and b, t = (x'_j - x*_j)/(s |R^-T e_j|) is Student t with m - d degrees of freedom.
   Kolmogorov-Smirnov distance of 400 draws below the 0.1 percent point; the same coverage test for CountSketch on a spiky A must fail, or the test sees nothing. */
TEST(SketchStatistics, GaussianIntervalsAreExact)
{
  const PetscInt n = 400, d = 3, m = 15, draws = 400;
  Dense          A(n, d + 1); /* [A b] with b orthogonal to A's columns but for x* = 1 */
  for (PetscInt j = 0; j < d; ++j) A(j * 50, j) = 1.0;
  A(0, 1) = 0.3;
  skean::RandomStream r(3, skean::Purpose::Test);
  for (PetscInt i = 0; i < n; ++i) {
    const bool used = i % 50 == 0 && i / 50 < d;
    A(i, d)         = used ? 0.0 : (i == 7 || i == 9 ? 5.0 : 0.01 * r.Normal(i, 0));
  }
  for (PetscInt i = 0; i < n; ++i)
    for (PetscInt j = 0; j < d; ++j) A(i, d) += A(i, j); /* x* = (1, 1, 1) */
  Mat M;
  ASSERT_PETSC(MakeMat(PETSC_COMM_SELF, A, Storage::Aij, n, &M));
  double distance[2];
  int    k = 0;
  for (const char *type : {SKEANSKETCHGAUSSIAN, SKEANSKETCHCOUNTSKETCH}) {
    std::vector<double> p;
    for (PetscInt draw = 0; draw < draws; ++draw) {
      std::vector<double> SA;
      ASSERT_PETSC(ApplyTo(PETSC_COMM_SELF, {type, m, PETSC_DETERMINE, PETSC_DETERMINE, true, draw}, M, &SA));
      /* normal equations are fine for d = 3: G = (SA)'SA, x = G^-1 (SA)'Sb, |R^-T e_j|^2 = (G^-1)_jj */
      double G[3][3] = {}, g[3] = {}, inv[3][3], x[3] = {}, res = 0;
      for (PetscInt t = 0; t < m; ++t)
        for (int a = 0; a < 3; ++a) {
          for (int b = 0; b < 3; ++b) G[a][b] += SA[t + a * m] * SA[t + b * m];
          g[a] += SA[t + a * m] * SA[t + 3 * m];
        }
      double det = 0;
      for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 3; ++b) {
          const int a1 = (a + 1) % 3, a2 = (a + 2) % 3, b1 = (b + 1) % 3, b2 = (b + 2) % 3;
          inv[b][a] = G[a1][b1] * G[a2][b2] - G[a1][b2] * G[a2][b1];
        }
      for (int b = 0; b < 3; ++b) det += G[0][b] * inv[b][0];
      if (std::abs(det) < 1e-12) continue; /* CountSketch only: columns met */
      for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 3; ++b) x[a] += inv[a][b] / det * g[b];
      for (PetscInt t = 0; t < m; ++t) {
        const double e = SA[t + 3 * m] - SA[t] * x[0] - SA[t + m] * x[1] - SA[t + 2 * m] * x[2];
        res += e * e;
      }
      const double t = (x[1] - 1.0) / std::sqrt(res / (m - d) * inv[1][1] / det);
      /* distribution function of Student t with 12 degrees of freedom, by its finite sum (Abramowitz & Stegun 26.7.4) */
      const double theta = std::atan(t / std::sqrt(12.0)), c2 = std::cos(theta) * std::cos(theta);
      p.push_back(0.5 + 0.5 * std::sin(theta) * (1 + c2 / 2 * (1 + c2 * 3 / 4 * (1 + c2 * 5 / 6 * (1 + c2 * 7 / 8 * (1 + c2 * 9 / 10))))));
    }
    std::sort(p.begin(), p.end());
    distance[k] = 0;
    for (size_t i = 0; i < p.size(); ++i)
      distance[k] = std::max({distance[k], std::abs(p[i] - static_cast<double>(i) / p.size()), std::abs(p[i] - (i + 1.0) / p.size())});
    ++k;
  }
  ASSERT_PETSC(MatDestroy(&M));
  EXPECT_LT(distance[0], 1.95 / std::sqrt(400.0)) << "gaussian: Kolmogorov-Smirnov distance from Student t";
  EXPECT_GT(distance[1], 1.95 / std::sqrt(400.0)) << "countsketch must not follow the law";
}
