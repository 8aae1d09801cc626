/* The kernels alone, each against a plain loop; indices beyond 32 bits */
#include "sketchtest.hpp"
#include "src/sketch/impls/kernels/block.hpp"
#include "src/sketch/impls/kernels/bulk.hpp"
#include "src/sketch/impls/kernels/sparse.hpp"

static const std::uint64_t Big = (std::uint64_t(1) << 32) - 37; /* counts over 2^32 */

TEST(SketchKernels, PhiloxManyEqualsOneByOne)
{
  const skean::RandomStream s(7, skean::Purpose::Test, 3);
  for (size_t n : {1, 63, 64, 65, 200})
    for (int alongk : {0, 1}) {
      std::vector<std::uint32_t> w(4 * n);
      std::uint32_t *const       word[4] = {&w[0], &w[n], &w[2 * n], &w[3 * n]};
      skean::PhiloxMany(s, Big, !alongk, Big - 5, alongk, n, word);
      for (size_t i = 0; i < n; ++i) {
        const auto b = s.Bits(Big + (alongk ? 0 : i), Big - 5 + (alongk ? i : 0));
        for (int c = 0; c < 4; ++c) EXPECT_EQ(word[c][i], b[c]) << n << " " << i;
      }
    }
}

TEST(SketchKernels, NormalsManyEqualsOneByOne)
{
  const skean::RandomStream s(8, skean::Purpose::Test);
  double                    worst = 0;
  for (size_t n : {1, 2, 127, 128, 129, 5001})
    for (std::uint64_t index : {std::uint64_t(0), Big + 100, std::uint64_t(12345)}) {
      std::vector<double> z(n);
      skean::NormalsMany(s, index, n, 0.25, z.data());
      for (size_t i = 0; i < n; ++i) worst = std::max(worst, std::abs(z[i] - 0.25 * s.Normal(index, i)));
    }
  /* the library's angle 2 pi v is rounded before its sine is taken: 2^-51 times a radius of at most 8.6 times 0.25 */
  EXPECT_LE(worst, 4e-15);
}

TEST(SketchKernels, Hadamard)
{
  const skean::RandomStream s(9, skean::Purpose::Test);
  for (size_t b = 1; b <= 4096; b *= 2) {
    skean::AlignedArray<double> x(8 * b);
    std::vector<double>         y(8 * b);
    for (size_t i = 0; i < 8 * b; ++i) y[i] = x[i] = s.Normal(i, b);
    skean::HadamardPanel(x.data(), b);
    double error = 0, norm = 0;
    for (size_t i = 0; i<b; i += b> 256 ? 37 : 1)
      for (int w = 0; w < 8; ++w) {
        double h = 0;
        for (size_t j = 0; j < b; ++j) h += skeanref::Walsh(i, j) * y[8 * j + w];
        error = std::max(error, std::abs(h - x[8 * i + w]));
        norm  = std::max(norm, std::abs(h));
      }
    EXPECT_LE(error, 1e-13 * norm) << b;
  }
}

TEST(SketchKernels, PanelsOfAnyWidth)
{
  for (size_t rows : {1, 7, 8, 9, 50})
    for (int width = 1; width <= 8; ++width) {
      const size_t                lda = rows + 3;
      std::vector<double>         a(lda * 8), SA(rows * 8, 1.0);
      skean::AlignedArray<double> p(8 * rows), q(8 * rows);
      std::vector<std::uint32_t>  pos(rows);
      for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<double>(i + 1);
      for (size_t i = 0; i < rows; ++i) pos[i] = static_cast<std::uint32_t>(2 * (rows - 1 - i) + i % 2);
      skean::PackPanel(a.data(), lda, rows, width, p.data());
      skean::PackPanelScattered(a.data(), lda, rows, width, pos.data(), q.data());
      skean::UnpackPanelAdd(p.data(), rows, width, 2.0, SA.data());
      for (size_t i = 0; i < rows; ++i)
        for (int w = 0; w < 8; ++w) {
          const double v = w < width ? a[i + w * lda] : 0.0;
          EXPECT_EQ(p[8 * i + w], v);
          EXPECT_EQ(q[8 * (rows - 1 - i) + w], i % 2 ? -v : v);
          EXPECT_EQ(SA[i + w * rows], 1.0 + 2.0 * v);
        }
    }
}

/* Columns of the sparse sketches at indices beyond 2^32 are those of the definition, and differ from the ones 2^32 before */
TEST(SketchKernels, HashesBeyond32Bits)
{
  for (bool stack : {false, true}) {
    const std::uint32_t        m = 23, zeta = 9;
    const size_t               n = 700;
    const skean::SparseHash    hash(5, 1, m, zeta, stack);
    std::vector<std::uint32_t> key(n * zeta), low(n * zeta);
    hash.Columns(Big, n, key.data());
    hash.Columns(Big & 0xffffffffu, n, low.data());
    EXPECT_EQ(std::vector<std::uint32_t>(key.begin(), key.begin() + 37 * zeta), std::vector<std::uint32_t>(low.begin(), low.begin() + 37 * zeta));
    hash.Columns(Big - (std::uint64_t(1) << 32) + (std::uint64_t(1) << 40), n, low.data());
    EXPECT_NE(key, low);
    const skean::RandomStream rows(5, skean::Purpose::HashRows, 1), signs(5, skean::Purpose::Signs, 1);
    for (size_t i = 0; i < n; ++i) {
      const std::uint64_t        j = Big + i;
      std::vector<std::uint32_t> taken;
      for (std::uint64_t w = 0; taken.size() < zeta; ++w) {
        const std::uint64_t bits = rows.Bits(j, w / 4)[w % 4];
        const std::uint32_t k = static_cast<std::uint32_t>(w), lo = stack ? k * m / zeta : 0, hi = stack ? (k + 1) * m / zeta : m;
        const auto          r = lo + static_cast<std::uint32_t>((bits * (hi - lo)) >> 32);
        if (stack || std::find(taken.begin(), taken.end(), r) == taken.end()) taken.push_back(r);
      }
      for (std::uint32_t k = 0; k < zeta; ++k) EXPECT_EQ(key[i * zeta + k], 2 * taken[k] + (skeanref::SparseSignOf(signs, j, k) < 0)) << i << " " << k;
    }
  }
}

TEST(SketchKernels, PermutationsAndSamples)
{
  const skean::RandomStream s(11, skean::Purpose::Test);
  /* a permutation of each size; over 6000 blocks all 24 orders of 4 equally often (chi squared, 23 degrees of freedom, far tail) */
  for (size_t b : {1, 2, 5, 64, 1000}) {
    std::vector<std::uint32_t> p(b);
    skean::BlockPermutation(s, Big, b, p.data());
    std::sort(p.begin(), p.end());
    for (size_t i = 0; i < b; ++i) EXPECT_EQ(p[i], i);
  }
  std::vector<int> count(256, 0);
  for (std::uint64_t k = 0; k < 6000; ++k) {
    std::uint32_t p[4];
    skean::BlockPermutation(s, k, 4, p);
    count[p[0] + 4 * p[1] + 16 * p[2] + 64 * p[3]]++;
  }
  double chi2 = 0;
  int    seen = 0;
  for (int c : count)
    if (c) {
      ++seen;
      chi2 += (c - 250.0) * (c - 250.0) / 250.0;
    }
  EXPECT_EQ(seen, 24);
  EXPECT_LT(chi2, 60.0);
  /* m of N: distinct, ascending, within range, also for N beyond 2^32; all of them if m = N; uniform */
  for (std::uint64_t N : {std::uint64_t(10), std::uint64_t(1000), std::uint64_t(1) << 45}) {
    const std::uint64_t m = std::min<std::uint64_t>(N, 300);
    const auto          t = skean::SampleWithoutReplacement(s, N, m);
    ASSERT_ALL(t.size() == m);
    for (size_t i = 0; i < m; ++i) {
      EXPECT_LT(t[i], N);
      EXPECT_TRUE(i == 0 || t[i - 1] < t[i]);
    }
  }
  const auto wide = skean::SampleWithoutReplacement(s, std::uint64_t(1) << 45, 4000);
  EXPECT_NEAR(static_cast<double>(wide[1999]) / std::pow(2.0, 45), 0.5, 5 * 0.5 / std::sqrt(4000.0));
  std::vector<double> hit(20, 0.0);
  for (std::uint32_t draw = 0; draw < 4000; ++draw)
    for (std::uint64_t t : skean::SampleWithoutReplacement(skean::RandomStream(1, skean::Purpose::Samples, draw), 20, 7)) hit[t] += 1;
  for (double h : hit) EXPECT_NEAR(h / 4000, 0.35, 5 * std::sqrt(0.35 * 0.65 / 4000));
}
