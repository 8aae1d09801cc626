/*
   TensorSRHT: one randomized Hadamard transform of each factor, then m tuples of their rows multiplied together. Cost (n_1 + ... + n_q) d log n + q m d for a product with
   n_1 n_2 ... n_q rows that is never formed. No communication.
*/
#include <skean/private/sketchimpl.h> /*I "skeansketch.h" I*/
#include "../kernels/block.hpp"
#include <algorithm>
#include <cmath>

namespace skean {
/* Z (m x d_k) = the rows i_k(t) of H D_k F_k. Row: the low bits of the Samples stream at (t, k); sign of row i: bit i % 128 of the Signs stream at (i / 128, k). */
static void TensorHadamardFactor(const RandomStream &samples, const RandomStream &signs, std::uint64_t k, size_t m, const RowView &F, double *Z)
{
  const size_t n = static_cast<size_t>(F.nrows), d = static_cast<size_t>(F.ncols), lda = static_cast<size_t>(F.lda), N = NextPowerOfTwo(std::max<size_t>(n, 1));
  AlignedArray<double>       panel(N * PanelWidth);
  std::vector<std::uint32_t> pos(n);
  std::vector<size_t>        row(m);

  for (size_t i = 0; i < n; ++i) pos[i] = static_cast<std::uint32_t>(i << 1) | ((signs.Bits(i / 128, k)[(i % 128) / 32] >> (i % 32)) & 1u);
  for (size_t t = 0; t < m; ++t) {
    const auto w = samples.Bits(t, k);
    row[t]       = static_cast<size_t>(((static_cast<std::uint64_t>(w[1]) << 32) | w[0]) & (N - 1));
  }
  for (size_t c = 0; c < d; c += PanelWidth) {
    const size_t width = std::min<size_t>(PanelWidth, d - c);
    std::fill(panel.data(), panel.data() + N * PanelWidth, 0.0);
    PackPanelScattered(F.dense + c * lda, lda, n, static_cast<int>(width), pos.data(), panel.data());
    HadamardPanel(panel.data(), N);
    for (size_t w = 0; w < width; ++w)
      for (size_t t = 0; t < m; ++t) Z[t + (c + w) * m] = panel[row[t] * PanelWidth + w];
  }
}
} // namespace skean

static PetscErrorCode SkeanSketchSetUp_TensorSRHT(SkeanSketch sketch)
{
  PetscFunctionBegin;
  sketch->guarantee = SKEAN_SKETCH_GUARANTEE_NONE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanSketchApplyTensor_TensorSRHT(SkeanSketch sketch, PetscInt nfactors, const skean::RowView *F, PetscScalar *SA)
{
  const size_t              m = static_cast<size_t>(sketch->m);
  const skean::RandomStream samples(sketch->seed, skean::Purpose::Samples, static_cast<std::uint32_t>(sketch->draw)),
    signs(sketch->seed, skean::Purpose::Signs, static_cast<std::uint32_t>(sketch->draw));
  std::vector<double> Z, next;
  size_t              d = 1; /* columns of the product of the factors so far, which is in SA */

  PetscFunctionBegin;
  for (PetscInt k = 0; k < nfactors; k++)
    PetscCheck(static_cast<PetscInt64>(F[k].nrows) < (PetscInt64(1) << 31), PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE,
               "Sketch type tensorsrht needs factors of fewer than 2^31 rows, factor %" PetscInt_FMT " has %" PetscInt_FMT, k, F[k].nrows);
  for (PetscInt k = 0; k < nfactors; k++) {
    const size_t dk    = static_cast<size_t>(F[k].ncols);
    const double scale = k ? 1.0 : 1.0 / std::sqrt(static_cast<double>(m));

    PetscCallCXX(Z.resize(m * dk));
    PetscCallCXX(skean::TensorHadamardFactor(samples, signs, static_cast<std::uint64_t>(k), m, F[k], Z.data()));
    if (k == 0) {
      d = dk;
      for (size_t p = 0; p < m * dk; p++) SA[p] = scale * Z[p];
    } else if (!sketch->kronecker) {
      for (size_t p = 0; p < m * dk; p++) SA[p] *= Z[p];
    } else {
      PetscCallCXX(next.assign(SA, SA + m * d));
      for (size_t c = 0; c < d; c++)
        for (size_t e = 0; e < dk; e++)
          for (size_t t = 0; t < m; t++) SA[t + (c * dk + e) * m] = next[t + c * m] * Z[t + e * m];
      d *= dk;
    }
    PetscCall(PetscLogFlops(static_cast<PetscLogDouble>(F[k].nrows) * F[k].ncols * std::log2(1.0 + F[k].nrows) + static_cast<PetscLogDouble>(m) * d));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   SKEANSKETCHTENSORSRHT - "tensorsrht": randomized Hadamard transform of each factor of a tensor product

   Options Database Key:
.  -sketch_kronecker <bool> - Kronecker product of the factors instead of Khatri-Rao product (false)

   Level: intermediate

   Notes:
   S = m^{-1/2} P (H D_1 (x) ... (x) H D_q), each factor padded to a power of two, P the choice of m tuples (i_1, ..., i_q), uniform and with replacement. Applied by
   `SkeanSketchApplyTensor()` only; the product is never formed. Row t of S A is the product of the rows i_k(t) of the transformed factors.

   Cost: the sum over the factors of n_k d_k log2(n_k), and q m d. No communication. Memory: a panel of n_k x 8 and an m x d_k array.

   Rows needed: eta^{-2} d^2 polylog(n/(eta delta)) as an embedding of the range, from memory of the literature; no guarantee for coordinates is claimed here: the one of
   arXiv 2302.00248 inherits the gap found in its proof in 2026.

   When not to use it: for factors with few heavy rows and no spread in any mode (signs act on each mode alone, so the product has far fewer random signs than rows).

   Source: Z. Song, M. Ye, J. Yin and L. Zhang, A nearly-optimal bound for fast regression with l_inf guarantee, ICML 2023 (arXiv 2302.00248), definition of TensorSRHT; T. D. Ahle et al.,
   Oblivious sketching of high-degree polynomial kernels, SODA 2020.

.seealso: `SkeanSketchApplyTensor()`, `SKEANSKETCHTENSORSKETCH`, `SkeanSketchType`
M*/
SKEAN_INTERN PetscErrorCode SkeanSketchCreate_TensorSRHT(SkeanSketch sketch);
PetscErrorCode              SkeanSketchCreate_TensorSRHT(SkeanSketch sketch)
{
  PetscFunctionBegin;
  sketch->ops->setup       = SkeanSketchSetUp_TensorSRHT;
  sketch->ops->applytensor = SkeanSketchApplyTensor_TensorSRHT;
  PetscFunctionReturn(PETSC_SUCCESS);
}
