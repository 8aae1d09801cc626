/*
   Balanced Gaussian pooling (Song and Zhang 2026) by virtual blocks: after the Hadamard transform of each block every coordinate goes, with a normal weight of its own, into one of m
   pools. Cost n d log2 b + 2 n d, one normal number for each row, one sum of m d numbers: no all-to-all.
*/
#include <skean/private/sketchimpl.h> /*I "skeansketch.h" I*/
#include "../blocktype.hpp"
#include "../kernels/bulk.hpp"
#include <algorithm>
#include <cmath>

namespace skean {
/* acc(i) += sum of weight[q] panel(list[q]) over start[i] <= q < start[i+1] */
SKEAN_MULTIVERSION static void PoolPanel(const double *panel, size_t m, const std::uint32_t *start, const std::uint32_t *list, const double *weight,
                                         double *acc)
{
  const Vec8 *const x = reinterpret_cast<const Vec8 *>(panel);
  Vec8 *const       y = reinterpret_cast<Vec8 *>(acc);
  for (size_t i = 0; i < m; ++i) {
    Vec8          s0 = y[i], s1 = {0};
    std::uint32_t q = start[i];
    for (; q + 2 <= start[i + 1]; q += 2) {
      s0 += weight[q] * x[list[q]];
      s1 += weight[q + 1] * x[list[q + 1]];
    }
    if (q < start[i + 1]) s0 += weight[q] * x[list[q]];
    y[i] = s0 + s1;
  }
}
} // namespace skean

namespace {
class Pooled : public skean::BlockSketch {
public:
  Pooled(size_t m, size_t b, std::int64_t seed, std::uint32_t draw)
      : skean::BlockSketch(m, b, 1.0, false, seed, draw), normals(seed, skean::Purpose::PoolWeights, draw), start(m + 1), list(b), size(m), weight(b), z(b)
  {
    /* coordinate r of the transform goes to place perm[r]; pool i holds the places floor(i b/m) ... floor((i+1) b/m) - 1 */
    std::vector<std::uint32_t> perm(b);
    skean::BlockPermutation(permutation, 0, b, perm.data());
    for (size_t r = 0; r < b; ++r) list[perm[r]] = static_cast<std::uint32_t>(r);
    for (size_t i = 0; i <= m; ++i) start[i] = static_cast<std::uint32_t>(static_cast<std::uint64_t>(i) * b / m);
    for (size_t i = 0; i < m; ++i) {
      std::sort(list.begin() + start[i], list.begin() + start[i + 1]);
      size[i] = 1.0 / std::sqrt(static_cast<double>(m) * (start[i + 1] - start[i]));
    }
  }
  /* the weight of coordinate r in this block is number r of the PoolWeights stream at index block */
  void Start(std::uint64_t block) override
  {
    skean::NormalsMany(normals, block, b, 1.0, z.data());
    for (size_t i = 0; i < m; ++i)
      for (size_t q = start[i]; q < start[i + 1]; ++q) weight[q] = size[i] * z[list[q]];
  }
  void   Accumulate(const double *panel, double *acc) const override { skean::PoolPanel(panel, m, start.data(), list.data(), weight.data(), acc); }
  double FlopsPerEntry() const override { return std::log2(static_cast<double>(b)) + 2.0; }

private:
  skean::RandomStream        normals;
  std::vector<std::uint32_t> start, list;
  std::vector<double>        size, weight, z;
};
} // namespace

static PetscErrorCode SkeanSketchSetUp_Pooled(SkeanSketch sketch)
{
  const auto    n = static_cast<std::uint64_t>(PetscMax(sketch->n, 1)), m = static_cast<std::uint64_t>(sketch->m);
  std::uint64_t b;

  PetscFunctionBegin;
  PetscCall(SkeanSketchReset_Block(sketch));
  b = sketch->bs == PETSC_DETERMINE ? skean::NextPowerOfTwo(std::max(32 * m, std::min<std::uint64_t>(n, 8192))) : static_cast<std::uint64_t>(sketch->bs);
  PetscCall(SkeanSketchCheckBlockSize_Private(sketch, b));
  PetscCheck(m <= b && b < (std::uint64_t(1) << 31), PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE,
             "Sketch type pooled cannot make %" PetscInt_FMT " pools of blocks of %" PetscInt64_FMT " rows", sketch->m, static_cast<PetscInt64>(b));
  sketch->bsused = static_cast<PetscInt>(b);
  PetscCallCXX(sketch->data = static_cast<skean::BlockSketch *>(new Pooled(static_cast<size_t>(m), b, sketch->seed, static_cast<std::uint32_t>(sketch->draw))));
  sketch->guarantee = SKEAN_SKETCH_GUARANTEE_APPROXIMATE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   SKEANSKETCHPOOLED - "pooled": balanced Gaussian pooling after a Hadamard transform

   Options Database Key:
.  -sketch_block_size <bs> - rows of a virtual block, a power of two, at least m (32 m or min(n, 8192), rounded up)

   Level: beginner

   Notes:
   S = B D_g Pi F D J: J pads with zero rows, D random signs, F an orthonormal Hadamard transform, Pi a uniform permutation, D_g independent N(0,1) weights, B sums m groups (pools)
   of consecutive coordinates.

   Here F = H_B/sqrt(B) (x) H_b/sqrt(b) and Pi permutes the b coordinates inside a block, the same way in all blocks: a pool is then a set of coordinates k2 with all k1. For such pools the stage
   across the blocks can be merged into the weights, because a Hadamard transform of independent N(0,1) numbers over k1 is again independent N(0,1) over the blocks k. Hence
     (S A)(i) = sum over the blocks k, sum over k2 in pool i, of g(k, k2) (H_b D_k A_k)(k2) / sqrt(m |pool i|)
   has exactly the law of the transform with the stage across the blocks, needs no all-to-all, and one sum of m d numbers over the processes. The Gram matrix of pool i is
   (1/b) sum_{k2 in pool i} sum_k Y_k(k2) Y_k(k2)', Y_k = H_b D_k U_k, so the condition of the proof (each pool holds I/m up to kappa_0/m) asks b/m of what the paper asks of N/m:
   b >= m s with s >= C kappa_0^{-2} (d+1) log^2(...) in theory, s = 32 by default. In detail\: with M(k2) = sum_k Y_k(k2) Y_k(k2)', the mean of M over all b coordinates is exactly I,
   and |M(k2)| is at most C d log(...) for all k2 with high probability over the signs, in the worst case (all rows of U in one block) as for the paper's
   single coordinate; a pool is a sample without replacement of |pool i| of them, whose mean is I up to kappa_0 by the matrix Chernoff bound for the same s. Nothing is
   asked of how the energy of A is spread over the blocks. Pool sizes differ by at most one and the scaling makes up for it in the mean, E(S'S) = I; given the transform, the pools' Gram
   matrices add up to I exactly if m is a power of two, else up to kappa_0/s.

   With s = 32 the pools are far from the balance of the theorem (kappa_0 of order 1)\: the intervals of sketch-and-solve at 99 % hold in 98.5 to 98.8 %
   of 3000 draws (n = 4096, d = 16, m = 128). A larger block comes closer to the Gaussian law, at the cost of a transform padded to m s rows.

   Given the transform, the rows of (S A, S b) are independent normal vectors. Rows needed: eta^{-2} d log(d/delta) for all coordinates of the solution, the only fast transform
   with a proof in the maximum norm (a recent preprint).

   Cost: n d log2(b) additions, 2 n d flops and one normal number for each row. Memory: one panel of b x 8 and one more m x d array. Sparse A: as srht.

   When not to use it: for a preconditioner only (sparsesign is cheaper), for sparse A. The guarantee is approximate, as for all types but gaussian.

   Source: Z. Song and L. Zhang, Hadamard flattening and Gaussian pooling sketch for least squares with coordinate-wise guarantee, 2026, definition of the transform and main theorem.

.seealso: `SkeanSketchSetBlockSize()`, `SKEANSKETCHGAUSSIAN`, `SKEANSKETCHSRHT`, `SkeanSketchType`
M*/
SKEAN_INTERN PetscErrorCode SkeanSketchCreate_Pooled(SkeanSketch sketch);
PetscErrorCode              SkeanSketchCreate_Pooled(SkeanSketch sketch)
{
  PetscFunctionBegin;
  PetscCall(SkeanSketchSetBlockOps_Private(sketch, SkeanSketchSetUp_Pooled));
  sketch->ops->view = SkeanSketchViewBlockSize_Private;
  PetscFunctionReturn(PETSC_SUCCESS);
}
