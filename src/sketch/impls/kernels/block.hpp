/*
   Sketches by virtual blocks: the rows of A are cut at multiples of b, whoever owns them. A process transforms the blocks it has rows of,
   with zeros for the rows it does not own; everything is linear, so the sum over the processes is exact and a block shared by two processes only costs
   that it is transformed twice. One sum of m d numbers, whatever n and the distribution of the rows are.
*/
#pragma once

#include "panel.hpp"
#include <skean/private/random.hpp>
#include <cmath>
#include <vector>

namespace skean {

class BlockSketch {
public:
  BlockSketch(size_t m, size_t b, double scale, bool permute, std::int64_t seed, std::uint32_t draw)
      : m(m), b(b), scale(scale), permute(permute), signs(seed, Purpose::Signs, draw), permutation(seed, Purpose::Permutation, draw)
  {
  }
  virtual ~BlockSketch() = default;
  size_t       m, b;    /* rows of S; rows of a block, below 2^31 */
  double       scale;   /* applied once, to the sum */
  bool         permute; /* shuffle the rows inside each block */
  RandomStream signs, permutation;

  /* The following calls are for this block. May throw std::bad_alloc. */
  virtual void Start(std::uint64_t block) = 0;
  /* In place, b x 8 */
  virtual void Transform(double *panel) { HadamardPanel(panel, b); }
  /* acc (m x 8) += what this block's transform contributes to S A */
  virtual void Accumulate(const double *panel, double *acc) const = 0;
  /* Of the whole sketch, for each entry of A */
  virtual double FlopsPerEntry() const { return std::log2(static_cast<double>(b)) + 2.0 * static_cast<double>(m) / static_cast<double>(b); }
};

/* SA += S(:, rows of A) A; throws std::bad_alloc */
void BlockSketchApply(BlockSketch &sketch, const RowView &A, double *SA);

/* acc(t) += coef[t] panel(index[t]), t < m */
void AccumulateSamples(const double *panel, size_t m, const std::uint32_t *index, const double *coef, double *acc);

/* perm = a uniform permutation of 0..b-1: Fisher and Yates, with word i % 4 of the stream at (block, i / 4) for the exchange of i = b-1, ..., 1 */
void BlockPermutation(const RandomStream &stream, std::uint64_t block, size_t b, std::uint32_t *perm);

/* m of N numbers without replacement, all subsets equally likely (R. W. Floyd; Bentley, CACM 30(9), 1987), ascending. m <= N. */
std::vector<std::uint64_t> SampleWithoutReplacement(const RandomStream &stream, std::uint64_t N, std::uint64_t m);

inline std::uint64_t Below64(std::uint64_t bits, std::uint64_t bound) noexcept
{
  __extension__ typedef unsigned __int128 Wide;
  return static_cast<std::uint64_t>((static_cast<Wide>(bits) * bound) >> 64);
}
inline std::uint64_t NextPowerOfTwo(std::uint64_t n) noexcept
{
  std::uint64_t p = 1;
  while (p < n) p *= 2;
  return p;
}

} // namespace skean
