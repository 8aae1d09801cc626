/*
   Block SRHT: one SRHT in each block of rows, all blocks with the same row sample and with their own signs left and right. Cost n d log2 b + m d n/b, one sum of m d
   numbers. The blocks are virtual, of a size taken from n and m, not the processes' own rows.
*/
#include <skean/private/sketchimpl.h> /*I "skeansketch.h" I*/
#include "../blocktype.hpp"
#include <algorithm>
#include <cmath>

namespace {
class BlockSRHT : public skean::BlockSketch {
public:
  BlockSRHT(size_t m, size_t b, bool permute, std::int64_t seed, std::uint32_t draw)
      : skean::BlockSketch(m, b, 1.0 / std::sqrt(static_cast<double>(m)), permute, seed, draw), row(m), coef(m)
  {
    const std::vector<std::uint64_t> s = skean::SampleWithoutReplacement(skean::RandomStream(seed, skean::Purpose::Samples, draw), b, m);
    for (size_t t = 0; t < m; ++t) row[t] = static_cast<std::uint32_t>(s[t]);
  }
  /* left sign of row t: bit t % 128 of the Signs stream at (block, 1 + t / 128); the right signs are at (j / 128, 0) */
  void Start(std::uint64_t block) override
  {
    skean::RandomStream::Block w{};
    for (size_t t = 0; t < m; ++t) {
      if (t % 128 == 0) w = signs.Bits(block, 1 + t / 128);
      coef[t] = (w[(t % 128) / 32] >> (t % 32)) & 1u ? -1.0 : 1.0;
    }
  }
  void Accumulate(const double *panel, double *acc) const override { skean::AccumulateSamples(panel, m, row.data(), coef.data(), acc); }

private:
  std::vector<std::uint32_t> row;
  std::vector<double>        coef;
};
} // namespace

static PetscErrorCode SkeanSketchSetUp_BlockSRHT(SkeanSketch sketch)
{
  const auto    n = static_cast<std::uint64_t>(PetscMax(sketch->n, 1)), m = static_cast<std::uint64_t>(sketch->m);
  std::uint64_t b;

  PetscFunctionBegin;
  PetscCall(SkeanSketchReset_Block(sketch));
  b = sketch->bs == PETSC_DETERMINE ? skean::NextPowerOfTwo(std::max(m, std::min<std::uint64_t>(n, 8192))) : static_cast<std::uint64_t>(sketch->bs);
  PetscCall(SkeanSketchCheckBlockSize_Private(sketch, b));
  PetscCheck(m <= b && b < (std::uint64_t(1) << 31), PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE,
             "Sketch type blocksrht cannot sample %" PetscInt_FMT " different rows of blocks of %" PetscInt64_FMT " rows", sketch->m,
             static_cast<PetscInt64>(b));
  sketch->bsused = static_cast<PetscInt>(b);
  PetscCallCXX(sketch->data = static_cast<skean::BlockSketch *>(
                 new BlockSRHT(static_cast<size_t>(m), b, sketch->permute, sketch->seed, static_cast<std::uint32_t>(sketch->draw))));
  sketch->guarantee = SKEAN_SKETCH_GUARANTEE_APPROXIMATE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   SKEANSKETCHBLOCKSRHT - "blocksrht": one randomized Hadamard transform in each block of rows, with a common row sample

   Options Database Keys:
+  -sketch_block_size <bs> - rows of a block, a power of two, at least m (min(n, 8192) or m, rounded up)
-  -sketch_permute <bool>  - permute the rows inside each block (true)

   Level: beginner

   Notes:
   S = [S_1 S_2 ...] with S_k = m^{-1/2} L_k R H_b Pi_k D_k for block k of b rows: D_k right signs, Pi_k permutation, H_b the +-1 Walsh-Hadamard matrix, R one choice of m of b rows common
   to all blocks, L_k left signs. E(S'S) = I because signs and permutations of different blocks are independent.
   One sum of m d numbers over the processes. In the literature the blocks are the processes' own rows; here b comes from n and m alone, so that S does not depend on the
   number of processes.

   Cost and memory: as srht. Rows needed: eta^{-2} (sqrt(d) + sqrt(8 log(n/delta)))^2 log(d/delta), as srht up to constants.

   When not to use it: with -sketch_permute 0 on matrices with identity-like blocks (28 of 100 draws singular at m = 4 d). No guarantee in the maximum norm is proved; the intervals are approximate.

   Source: O. Balabanov, M. Beaupere, L. Grigori and V. Lederer, Block subsampled randomized Hadamard transform for low-rank approximation on distributed architectures, ICML 2023
   (arXiv 2210.11295), section 2.

.seealso: `SKEANSKETCHSRHT`, `SkeanSketchSetBlockSize()`, `SkeanSketchType`
M*/
SKEAN_INTERN PetscErrorCode SkeanSketchCreate_BlockSRHT(SkeanSketch sketch);
PetscErrorCode              SkeanSketchCreate_BlockSRHT(SkeanSketch sketch)
{
  PetscFunctionBegin;
  PetscCall(SkeanSketchSetBlockOps_Private(sketch, SkeanSketchSetUp_BlockSRHT));
  PetscFunctionReturn(PETSC_SUCCESS);
}
