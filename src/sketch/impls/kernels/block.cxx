#include "block.hpp"
#include <algorithm>
#include <unordered_set>

namespace skean {

void BlockPermutation(const RandomStream &stream, std::uint64_t block, size_t b, std::uint32_t *perm)
{
  RandomStream::Block w{};
  bool                fresh = true;
  for (size_t i = 0; i < b; ++i) perm[i] = static_cast<std::uint32_t>(i);
  for (size_t i = b - 1; i >= 1 && b > 1; --i) {
    if (fresh || i % 4 == 3) w = stream.Bits(block, i / 4);
    fresh = false;
    std::swap(perm[i], perm[RandomStream::Below(w[i % 4], static_cast<std::uint32_t>(i + 1))]);
  }
}

std::vector<std::uint64_t> SampleWithoutReplacement(const RandomStream &stream, std::uint64_t N, std::uint64_t m)
{
  std::unordered_set<std::uint64_t> have;
  std::vector<std::uint64_t>        s;
  have.reserve(m);
  s.reserve(m);
  for (std::uint64_t i = 0; i < m; ++i) {
    const std::uint64_t j = N - m + i;
    const auto          w = stream.Bits(i);
    std::uint64_t       t = Below64((static_cast<std::uint64_t>(w[1]) << 32) | w[0], j + 1);
    if (!have.insert(t).second) {
      t = j;
      have.insert(t);
    }
    s.push_back(t);
  }
  std::sort(s.begin(), s.end());
  return s;
}

SKEAN_MULTIVERSION static void AccumulateSamples_(const double *panel, size_t m, const std::uint32_t *index, const double *coef, double *acc)
{
  const Vec8 *const x = reinterpret_cast<const Vec8 *>(panel);
  Vec8 *const       y = reinterpret_cast<Vec8 *>(acc);
  for (size_t t = 0; t < m; ++t) y[t] += coef[t] * x[index[t]];
}

void AccumulateSamples(const double *panel, size_t m, const std::uint32_t *index, const double *coef, double *acc)
{
  AccumulateSamples_(panel, m, index, coef, acc);
}

/* pos[i] = 2 * (row in the block's panel) + (1 if the sign is negative), for local rows i0 .. i1-1 of the block. Sign of row j: bit j % 128 of
   the Signs stream at j / 128. */
static void BlockPositions(const BlockSketch &s, std::uint64_t block, std::uint64_t j0, size_t rows, std::uint32_t *perm, std::uint32_t *pos)
{
  RandomStream::Block w{};
  if (s.permute) BlockPermutation(s.permutation, block, s.b, perm);
  for (size_t i = 0; i < rows; ++i) {
    const std::uint64_t j = j0 + i, r = j - block * s.b;
    if (i == 0 || j % 128 == 0) w = s.signs.Bits(j / 128);
    pos[i] = ((s.permute ? perm[r] : static_cast<std::uint32_t>(r)) << 1) | ((w[(j % 128) / 32] >> (j % 32)) & 1u);
  }
}

void BlockSketchApply(BlockSketch &s, const RowView &A, double *SA)
{
  const size_t        m = s.m, b = s.b, n = static_cast<size_t>(A.nrows), d = static_cast<size_t>(A.ncols), lda = static_cast<size_t>(A.lda);
  const std::uint64_t r0      = static_cast<std::uint64_t>(A.rstart);
  const size_t        npanels = (d + PanelWidth - 1) / PanelWidth;
  const bool          dense   = A.IsDense();

  AlignedArray<double>       panel(b * PanelWidth), acc((dense ? npanels : 1) * m * PanelWidth);
  std::vector<std::uint32_t> perm(s.permute ? b : 0), pos(std::min(b, n));
  std::fill(acc.data(), acc.data() + acc.size(), 0.0);
  /* sparse: the entries of a block sorted by column */
  struct Entry {
    std::uint32_t pos;
    double        value;
  };
  std::vector<Entry>    sorted;
  std::vector<size_t>   count(dense ? 0 : d, 0);
  std::vector<PetscInt> touched;

  for (size_t i0 = 0, i1; i0 < n; i0 = i1) {
    const std::uint64_t block = (r0 + i0) / b;
    i1                        = static_cast<size_t>(std::min<std::uint64_t>(n, (block + 1) * b - r0));
    if (!dense) {
      bool empty = true;
      for (int p = 0; p < A.nparts; ++p) empty = empty && A.part[p].i[i0] == A.part[p].i[i1];
      if (empty) continue;
    }
    s.Start(block);
    BlockPositions(s, block, r0 + i0, i1 - i0, perm.data(), pos.data());
    if (dense) {
      for (size_t c = 0; c < npanels; ++c) {
        if (i1 - i0 < b) std::fill(panel.data(), panel.data() + b * PanelWidth, 0.0);
        PackPanelScattered(A.dense + i0 + c * PanelWidth * lda, lda, i1 - i0, static_cast<int>(std::min<size_t>(PanelWidth, d - c * PanelWidth)), pos.data(),
                           panel.data());
        s.Transform(panel.data());
        s.Accumulate(panel.data(), acc.data() + c * m * PanelWidth);
      }
    } else {
      touched.clear();
      for (int p = 0; p < A.nparts; ++p)
        for (PetscInt q = A.part[p].i[i0]; q < A.part[p].i[i1]; ++q) {
          const PetscInt c = A.part[p].Column(q);
          if (!count[static_cast<size_t>(c)]++) touched.push_back(c);
        }
      std::sort(touched.begin(), touched.end());
      size_t total = 0;
      for (PetscInt c : touched) { /* count becomes the place of the column's next entry */
        const size_t k                = count[static_cast<size_t>(c)];
        count[static_cast<size_t>(c)] = total;
        total += k;
      }
      if (sorted.size() < total) sorted.resize(total);
      for (int p = 0; p < A.nparts; ++p)
        for (size_t i = i0; i < i1; ++i)
          for (PetscInt q = A.part[p].i[i]; q < A.part[p].i[i + 1]; ++q)
            sorted[count[static_cast<size_t>(A.part[p].Column(q))]++] = {pos[i - i0], A.part[p].a[q]};
      size_t q = 0;
      for (size_t c0 = 0; c0 < touched.size(); c0 += PanelWidth) {
        const size_t width = std::min<size_t>(PanelWidth, touched.size() - c0);
        std::fill(panel.data(), panel.data() + b * PanelWidth, 0.0);
        std::fill(acc.data(), acc.data() + m * PanelWidth, 0.0);
        for (size_t w = 0; w < width; ++w)
          for (; q < count[static_cast<size_t>(touched[c0 + w])]; ++q) /* += : a stored entry may be there twice */
            panel[(sorted[q].pos >> 1) * PanelWidth + w] += (sorted[q].pos & 1u) ? -sorted[q].value : sorted[q].value;
        s.Transform(panel.data());
        s.Accumulate(panel.data(), acc.data());
        for (size_t w = 0; w < width; ++w) {
          double *const y = SA + static_cast<size_t>(touched[c0 + w]) * m;
          for (size_t t = 0; t < m; ++t) y[t] += s.scale * acc[t * PanelWidth + w];
        }
      }
      for (PetscInt c : touched) count[static_cast<size_t>(c)] = 0;
    }
  }
  if (dense)
    for (size_t c = 0; c < npanels; ++c)
      UnpackPanelAdd(acc.data() + c * m * PanelWidth, m, static_cast<int>(std::min<size_t>(PanelWidth, d - c * PanelWidth)), s.scale, SA + c * PanelWidth * m);
}

} // namespace skean
