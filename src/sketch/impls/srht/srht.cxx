/*
   Subsampled randomized Hadamard transform by virtual blocks: with N = b B and H_N = H_B (x) H_b, every process transforms blocks of b rows and the stage
   across the blocks becomes a sign for each of the m sampled rows. Cost n d log2 b + m d n/b, one sum of m d numbers. The plain transform fails on structured matrices.
*/
#include <skean/private/sketchimpl.h> /*I "skeansketch.h" I*/
#include "../blocktype.hpp"
#include <algorithm>
#include <cmath>

namespace {
class Srht : public skean::BlockSketch {
public:
  Srht(size_t m, size_t b, std::uint64_t N, bool permute, std::int64_t seed, std::uint32_t draw)
      : skean::BlockSketch(m, b, 1.0 / std::sqrt(static_cast<double>(m)), permute, seed, draw), k1(m), k2(m), coef(m)
  {
    std::vector<std::uint64_t> s = skean::SampleWithoutReplacement(skean::RandomStream(seed, skean::Purpose::Samples, draw), N, m);
    /* row t of S is the t-th in this order: the panel is then read from top to bottom */
    std::sort(s.begin(), s.end(), [b](std::uint64_t x, std::uint64_t y) { return x % b != y % b ? x % b < y % b : x < y; });
    for (size_t t = 0; t < m; ++t) {
      k1[t] = s[t] / b;
      k2[t] = static_cast<std::uint32_t>(s[t] % b);
    }
  }
  void Start(std::uint64_t block) override
  {
    for (size_t t = 0; t < m; ++t) coef[t] = __builtin_parityll(k1[t] & block) ? -1.0 : 1.0;
  }
  void Accumulate(const double *panel, double *acc) const override { skean::AccumulateSamples(panel, m, k2.data(), coef.data(), acc); }

private:
  std::vector<std::uint64_t> k1;
  std::vector<std::uint32_t> k2;
  std::vector<double>        coef;
};
} // namespace

static PetscErrorCode SkeanSketchSetUp_SRHT(SkeanSketch sketch)
{
  const auto    n = static_cast<std::uint64_t>(PetscMax(sketch->n, 1));
  std::uint64_t b, N;

  PetscFunctionBegin;
  PetscCall(SkeanSketchReset_Block(sketch));
  b = sketch->bs == PETSC_DETERMINE ? std::min<std::uint64_t>(skean::NextPowerOfTwo(n), 8192) : static_cast<std::uint64_t>(sketch->bs);
  PetscCall(SkeanSketchCheckBlockSize_Private(sketch, b));
  N = b * skean::NextPowerOfTwo((n + b - 1) / b);
  PetscCheck(static_cast<std::uint64_t>(sketch->m) <= N, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE,
             "Sketch type srht cannot sample %" PetscInt_FMT " different rows of a transform of length %" PetscInt64_FMT, sketch->m,
             static_cast<PetscInt64>(N));
  sketch->bsused = static_cast<PetscInt>(b);
  PetscCallCXX(sketch->data = static_cast<skean::BlockSketch *>(
                 new Srht(static_cast<size_t>(sketch->m), b, N, sketch->permute, sketch->seed, static_cast<std::uint32_t>(sketch->draw))));
  sketch->guarantee = SKEAN_SKETCH_GUARANTEE_APPROXIMATE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   SKEANSKETCHSRHT - "srht": subsampled randomized Hadamard transform, exact and without moving A

   Options Database Keys:
+  -sketch_permute <bool>  - permute the rows inside each virtual block (true)
-  -sketch_block_size <bs> - rows of a virtual block, a power of two (the smaller of 8192 and n rounded up)

   Level: beginner

   Notes:
   S = m^{-1/2} P H_N Pi D: D random signs, Pi a uniform permutation inside each virtual block (identity with -sketch_permute 0), H_N the +-1 Walsh-Hadamard
   matrix of order N = b B >= n, P the choice of m of N rows without replacement.
   1. Virtual block k holds rows k b ... (k+1) b - 1; a process transforms the blocks it has rows of, with zeros for the rest.
   2. Sampled row (k1, k2) of H_N Pi D A is the sum over the blocks k of (-1)^{popcount(k1 & k)} (H_b Pi_k D_k A_k)(k2).
   3. One sum of m d numbers over the processes. b depends on n only, so S does not depend on the number of processes.

   Cost: n d log2(b) additions and m d n/b multiply-adds. Memory: one panel of b x 8 and one more m x d array. Sparse A: block by block, the columns that are
   empty in a block skipped; each of the others costs a full transform, so sparsestack or sparsesign are preferable.

   Rows needed: 4 (sqrt(d) + sqrt(8 ln(d N)))^2 ln(d) in theory (Omega(d log d) in the worst case), 4 d and a look at the condition of S A in practice.

   When not to use it: with -sketch_permute 0 on matrices with identity-like blocks (ridge rows, finite elements, graphs): [I; 0] with 32 columns gives a singular S A in
   nearly every draw at m = 2 d and in half of them at m = 4 d. The intervals for the coordinates are approximate: two of the authors of the 2023 claim
   (arXiv 2302.00248) reported a gap in its proof (Z. Song and L. Zhang, 2026); the claim is open.

   Source: J. A. Tropp, Improved analysis of the subsampled randomized Hadamard transform, Adv. Adapt. Data Anal. 3, 2011, eq. (1.1); the factorisation of H_N over blocks is elementary.

.seealso: `SkeanSketchSetPermute()`, `SkeanSketchSetBlockSize()`, `SKEANSKETCHPOOLED`, `SkeanSketchType`
M*/
SKEAN_INTERN PetscErrorCode SkeanSketchCreate_SRHT(SkeanSketch sketch);
PetscErrorCode              SkeanSketchCreate_SRHT(SkeanSketch sketch)
{
  PetscFunctionBegin;
  PetscCall(SkeanSketchSetBlockOps_Private(sketch, SkeanSketchSetUp_SRHT));
  PetscFunctionReturn(PETSC_SUCCESS);
}
