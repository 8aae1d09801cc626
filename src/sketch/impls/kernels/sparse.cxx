#include "sparse.hpp"
#include "bulk.hpp"
#include <algorithm>
#include <cmath>
#include <vector>

namespace skean {

/* The definition of S. Row: the words of the HashRows stream at (j, 0), (j, 1), ... in turn, scaled to [0, m) (sign: a row met before in this
   column is skipped; stack: word k is scaled to piece k). Sign of nonzero k: bit k % 32 of word j % 4 of the Signs stream at (j / 4, k / 32). */
void SparseHash::Columns(std::uint64_t j0, size_t n, std::uint32_t *key) const
{
  constexpr size_t           chunk  = 256;
  const size_t               nwords = (zeta + 3) / 4 * 4;
  std::vector<std::uint32_t> word(nwords * chunk), lo(zeta), width(zeta), sign(4 * (chunk / 4 + 2));
  std::vector<std::uint8_t>  again(chunk);

  for (std::uint32_t k = 0; k < zeta; ++k) {
    lo[k]    = stack ? static_cast<std::uint32_t>(static_cast<std::uint64_t>(k) * m / zeta) : 0;
    width[k] = stack ? static_cast<std::uint32_t>((static_cast<std::uint64_t>(k) + 1) * m / zeta) - lo[k] : m;
  }
  for (size_t i0 = 0; i0 < n; i0 += chunk) {
    const size_t        c = std::min(chunk, n - i0);
    const std::uint64_t j = j0 + i0;
    for (size_t k = 0; k < zeta; k += 4) {
      std::uint32_t *const w[4] = {&word[k * chunk], &word[(k + 1) * chunk], &word[(k + 2) * chunk], &word[(k + 3) * chunk]};
      PhiloxMany(rows, j, 1, k / 4, 0, c, w);
    }
    for (std::uint32_t k = 0; k < zeta; ++k)
      for (size_t i = 0; i < c; ++i) word[k * chunk + i] = lo[k] + RandomStream::Below(word[k * chunk + i], width[k]);
    if (!stack) {
      std::fill(again.begin(), again.end(), std::uint8_t(0));
      for (std::uint32_t k = 1; k < zeta; ++k)
        for (std::uint32_t l = 0; l < k; ++l)
          for (size_t i = 0; i < c; ++i) again[i] |= word[k * chunk + i] == word[l * chunk + i];
      for (size_t i = 0; i < c; ++i)
        if (again[i]) { /* from the start, skipping what is there already */
          RandomStream::Block b{};
          std::uint32_t       have = 0;
          for (std::uint64_t t = 0; have < zeta; ++t) {
            if (t % 4 == 0) b = rows.Bits(j + i, t / 4);
            const std::uint32_t r     = RandomStream::Below(b[t % 4], m);
            bool                fresh = true;
            for (std::uint32_t k = 0; k < have; ++k) fresh = fresh && word[k * chunk + i] != r;
            if (fresh) word[have++ * chunk + i] = r;
          }
        }
    }
    for (std::uint32_t k0 = 0; k0 < zeta; k0 += 32) {
      const std::uint64_t  g0 = j / 4;
      const size_t         ng = static_cast<size_t>((j + c - 1) / 4 - g0) + 1, size = chunk / 4 + 2;
      std::uint32_t *const w[4] = {&sign[0], &sign[size], &sign[2 * size], &sign[3 * size]};
      PhiloxMany(signs, g0, 1, k0 / 32, 0, ng, w);
      for (size_t i = 0; i < c; ++i) {
        const std::uint32_t  s = w[(j + i) % 4][(j + i) / 4 - g0];
        std::uint32_t *const q = key + (i0 + i) * zeta;
        for (std::uint32_t k = k0; k < std::min(zeta, k0 + 32); ++k) q[k] = (word[k * chunk + i] << 1) | ((s >> (k - k0)) & 1u);
      }
    }
  }
}

/* acc(t) += sum of the panel's rows listed with plus for t, minus those listed with minus: start has 2m+1 entries, plus and minus of each t in turn */
SKEAN_MULTIVERSION static void GatherPanel(const double *panel, size_t m, const std::uint32_t *start, const std::uint32_t *list, double *acc)
{
  const Vec8 *const x = reinterpret_cast<const Vec8 *>(panel);
  Vec8 *const       y = reinterpret_cast<Vec8 *>(acc);
  for (size_t t = 0; t < m; ++t) {
    const std::uint32_t p0 = start[2 * t], p1 = start[2 * t + 1], p2 = start[2 * t + 2];
    Vec8                s0 = y[t], s1 = {0}, s2 = {0}, s3 = {0};
    std::uint32_t       p = p0;
    for (; p + 4 <= p1; p += 4) {
      s0 += x[list[p]];
      s1 += x[list[p + 1]];
      s2 += x[list[p + 2]];
      s3 += x[list[p + 3]];
    }
    for (; p < p1; ++p) s0 += x[list[p]];
    for (; p + 4 <= p2; p += 4) {
      s0 -= x[list[p]];
      s1 -= x[list[p + 1]];
      s2 -= x[list[p + 2]];
      s3 -= x[list[p + 3]];
    }
    for (; p < p2; ++p) s1 -= x[list[p]];
    y[t] = (s0 + s1) + (s2 + s3);
  }
}

/* Rows in blocks: hashes once for each block, sorted by target row; then for each panel of 8 columns: pack, and sum for each row of S
   the rows of the panel that it takes. One load per nonzero and one store per row of S, where scattering would need one store per nonzero. */
static void ApplyDense(const SparseHash &hash, const RowView &A, double *SA)
{
  const size_t m = hash.m, zeta = hash.zeta, n = static_cast<size_t>(A.nrows), d = static_cast<size_t>(A.ncols), lda = static_cast<size_t>(A.lda);
  const size_t npanels = (d + PanelWidth - 1) / PanelWidth;
  const double scale   = 1.0 / std::sqrt(static_cast<double>(zeta));
  const size_t block   = std::min<size_t>(std::max<size_t>(n, 1), std::min<size_t>(std::max<size_t>(2048, 4 * m / zeta), 16384));

  AlignedArray<double>       panel(block * PanelWidth), acc(npanels * m * PanelWidth);
  std::vector<std::uint32_t> key(block * zeta), list(block * zeta), start(2 * m + 2);
  std::fill(acc.data(), acc.data() + acc.size(), 0.0);
  for (size_t i0 = 0; i0 < n; i0 += block) {
    const size_t rows = std::min(block, n - i0);
    hash.Columns(static_cast<std::uint64_t>(A.rstart) + i0, rows, key.data());
    /* counting sort by (target row, sign) */
    std::fill(start.begin(), start.end(), 0u);
    for (size_t p = 0; p < rows * zeta; ++p) start[key[p] + 2]++;
    for (size_t t = 2; t < 2 * m + 2; ++t) start[t] += start[t - 1];
    for (size_t i = 0; i < rows; ++i)
      for (size_t k = 0; k < zeta; ++k) list[start[key[i * zeta + k] + 1]++] = static_cast<std::uint32_t>(i);
    for (size_t c = 0; c < npanels; ++c) {
      const int width = static_cast<int>(std::min<size_t>(PanelWidth, d - c * PanelWidth));
      PackPanel(A.dense + i0 + c * PanelWidth * lda, lda, rows, width, panel.data());
      GatherPanel(panel.data(), m, start.data(), list.data(), acc.data() + c * m * PanelWidth);
    }
  }
  for (size_t c = 0; c < npanels; ++c)
    UnpackPanelAdd(acc.data() + c * m * PanelWidth, m, static_cast<int>(std::min<size_t>(PanelWidth, d - c * PanelWidth)), scale, SA + c * PanelWidth * m);
}

/* Rows in blocks, entries of a block sorted into tiles of so few columns that the tile of S A (m x w, by rows) stays in cache: the zeta adds of
   an entry are scattered, but inside the tile. */
static void ApplySparse(const SparseHash &hash, const RowView &A, double *SA)
{
  const size_t m = hash.m, zeta = hash.zeta, n = static_cast<size_t>(A.nrows), d = static_cast<size_t>(A.ncols);
  const double scale = 1.0 / std::sqrt(static_cast<double>(zeta));
  unsigned     shift = 0;                                                                    /* tiles of w = 2^shift columns */
  while ((size_t(2) << shift) * m <= (size_t(1) << 15) && (size_t(1) << shift) < d) ++shift; /* at most 256 kB, well inside the second cache */
  const size_t w      = size_t(1) << shift;
  const size_t ntiles = (d + w - 1) / w, block = 32768;
  struct Entry {
    std::uint32_t row, col;
    double        value;
  };
  std::vector<double>        acc(ntiles * w * m, 0.0);
  std::vector<std::uint32_t> key(std::min(block, n) * zeta);
  std::vector<size_t>        start(ntiles + 1);
  std::vector<Entry>         sorted;

  for (size_t i0 = 0; i0 < n; i0 += block) {
    const size_t i1 = std::min(n, i0 + block);
    std::fill(start.begin(), start.end(), size_t(0));
    for (int p = 0; p < A.nparts; ++p)
      for (PetscInt q = A.part[p].i[i0]; q < A.part[p].i[i1]; ++q) start[(static_cast<size_t>(A.part[p].Column(q)) >> shift) + 1]++;
    for (size_t t = 0; t < ntiles; ++t) start[t + 1] += start[t];
    if (!start[ntiles]) continue;
    if (sorted.size() < start[ntiles]) sorted.resize(start[ntiles]);
    for (int p = 0; p < A.nparts; ++p)
      for (size_t i = i0; i < i1; ++i)
        for (PetscInt q = A.part[p].i[i]; q < A.part[p].i[i + 1]; ++q) {
          const size_t c = static_cast<size_t>(A.part[p].Column(q)), t = c >> shift;
          sorted[start[t]++] = {static_cast<std::uint32_t>(i - i0), static_cast<std::uint32_t>(c & (w - 1)), A.part[p].a[q]};
        }
    hash.Columns(static_cast<std::uint64_t>(A.rstart) + i0, i1 - i0, key.data());
    for (size_t t = 0, q = 0; t < ntiles; ++t) { /* start[t] is now the end of tile t */
      double *const y = acc.data() + t * w * m;
      for (; q < start[t]; ++q) {
        const Entry               &e    = sorted[q];
        const std::uint32_t *const h    = key.data() + e.row * zeta;
        const double               v[2] = {e.value, -e.value};
        for (size_t k = 0; k < zeta; ++k) y[static_cast<size_t>(h[k] >> 1) * w + e.col] += v[h[k] & 1u];
      }
    }
  }
  for (size_t c = 0; c < d; ++c) {
    const double *const y = acc.data() + (c / w) * w * m + c % w;
    for (size_t t = 0; t < m; ++t) SA[t + c * m] += scale * y[t * w];
  }
}

void SparseSketchApply(const SparseHash &hash, const RowView &A, double *SA)
{
  if (A.IsDense())
    ApplyDense(hash, A, SA);
  else
    ApplySparse(hash, A, SA);
}

} // namespace skean
