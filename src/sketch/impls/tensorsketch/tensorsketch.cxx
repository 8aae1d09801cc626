/*
   TensorSketch: the CountSketch of a tensor product whose row hash is the sum modulo m of hashes of the factors is the circular convolution of the factors' CountSketches: FFTW.
   Cost nnz of the factors and q d m log m. No communication.
*/
#include <skean/private/sketchimpl.h> /*I "skeansketch.h" I*/
#include "../kernels/panel.hpp"
#include <skean/private/random.hpp>
#include <cmath>
#include <complex>
#include <vector>

#if defined(SKEAN_HAVE_FFTW)
  #include <fftw3.h>

namespace {
struct TensorSketch {
  size_t                      m;
  skean::AlignedArray<double> x; /* m */
  skean::AlignedArray<double> y; /* m/2 + 1 complex */
  fftw_plan                   forward, backward;

  explicit TensorSketch(size_t m) : m(m), x(m), y(2 * (m / 2 + 1))
  {
    forward  = fftw_plan_dft_r2c_1d(static_cast<int>(m), x.data(), reinterpret_cast<fftw_complex *>(y.data()), FFTW_ESTIMATE);
    backward = fftw_plan_dft_c2r_1d(static_cast<int>(m), reinterpret_cast<fftw_complex *>(y.data()), x.data(), FFTW_ESTIMATE);
    if (!forward || !backward) {
      fftw_destroy_plan(forward);
      fftw_destroy_plan(backward);
      throw std::bad_alloc();
    }
  }
  TensorSketch(const TensorSketch &)            = delete;
  TensorSketch &operator=(const TensorSketch &) = delete;
  ~TensorSketch()
  {
    fftw_destroy_plan(forward);
    fftw_destroy_plan(backward);
  }
  /* hat (m/2+1 x d_k) = Fourier transforms of the CountSketches of the columns of F. Row of i: word 0 of the HashRows stream at (i, k); sign: low bit of word 0 of the Signs
     stream at (i, k). */
  void Factor(const skean::RandomStream &rows, const skean::RandomStream &signs, std::uint64_t k, const skean::RowView &F, std::complex<double> *hat)
  {
    const size_t               n = static_cast<size_t>(F.nrows), half = m / 2 + 1;
    std::vector<std::uint32_t> row(n);
    std::vector<double>        sign(n);
    for (size_t i = 0; i < n; ++i) {
      row[i]  = skean::RandomStream::Below(rows.Bits(i, k)[0], static_cast<std::uint32_t>(m));
      sign[i] = signs.Bits(i, k)[0] & 1u ? -1.0 : 1.0;
    }
    for (size_t c = 0; c < static_cast<size_t>(F.ncols); ++c) {
      const double *const a = F.dense + c * static_cast<size_t>(F.lda);
      std::fill(x.data(), x.data() + m, 0.0);
      for (size_t i = 0; i < n; ++i) x[row[i]] += sign[i] * a[i];
      fftw_execute(forward);
      const std::complex<double> *const z = reinterpret_cast<const std::complex<double> *>(y.data());
      std::copy(z, z + half, hat + c * half);
    }
  }
  void Inverse(const std::complex<double> *hat, double *SA)
  {
    std::copy(hat, hat + m / 2 + 1, reinterpret_cast<std::complex<double> *>(y.data()));
    fftw_execute(backward);
    for (size_t t = 0; t < m; ++t) SA[t] = x[t] / static_cast<double>(m);
  }
};
} // namespace

static PetscErrorCode SkeanSketchReset_TensorSketch(SkeanSketch sketch)
{
  PetscFunctionBegin;
  delete static_cast<TensorSketch *>(sketch->data);
  sketch->data = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanSketchSetUp_TensorSketch(SkeanSketch sketch)
{
  PetscFunctionBegin;
  PetscCall(SkeanSketchReset_TensorSketch(sketch));
  PetscCheck(static_cast<PetscInt64>(sketch->m) < (PetscInt64(1) << 30), PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE,
             "Sketch type tensorsketch needs fewer than 2^30 rows, has %" PetscInt_FMT, sketch->m);
  PetscCallCXX(sketch->data = new TensorSketch(static_cast<size_t>(sketch->m)));
  sketch->guarantee = SKEAN_SKETCH_GUARANTEE_NONE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanSketchApplyTensor_TensorSketch(SkeanSketch sketch, PetscInt nfactors, const skean::RowView *F, PetscScalar *SA)
{
  TensorSketch             *ts = static_cast<TensorSketch *>(sketch->data);
  const size_t              m = ts->m, half = m / 2 + 1;
  const skean::RandomStream rows(sketch->seed, skean::Purpose::HashRows, static_cast<std::uint32_t>(sketch->draw)),
    signs(sketch->seed, skean::Purpose::Signs, static_cast<std::uint32_t>(sketch->draw));
  std::vector<std::complex<double>> hat, product, next;
  size_t                            d = 1;

  PetscFunctionBegin;
  for (PetscInt k = 0; k < nfactors; k++) {
    const size_t dk = static_cast<size_t>(F[k].ncols);

    PetscCallCXX(hat.resize(half * dk));
    PetscCallCXX(ts->Factor(rows, signs, static_cast<std::uint64_t>(k), F[k], hat.data()));
    if (k == 0) {
      d = dk;
      product.swap(hat);
    } else if (!sketch->kronecker) {
      for (size_t p = 0; p < half * dk; p++) product[p] *= hat[p];
    } else {
      PetscCallCXX(next.resize(half * d * dk));
      for (size_t c = 0; c < d; c++)
        for (size_t e = 0; e < dk; e++)
          for (size_t t = 0; t < half; t++) next[t + (c * dk + e) * half] = product[t + c * half] * hat[t + e * half];
      product.swap(next);
      d *= dk;
    }
    PetscCall(PetscLogFlops(static_cast<PetscLogDouble>(F[k].nrows) * F[k].ncols + 2.5 * m * std::log2(1.0 + m) * dk + 3.0 * m * d));
  }
  for (size_t c = 0; c < d; c++) ts->Inverse(product.data() + c * half, SA + c * m);
  PetscCall(PetscLogFlops(2.5 * m * std::log2(1.0 + m) * d));
  PetscFunctionReturn(PETSC_SUCCESS);
}
#endif

/*MC
   SKEANSKETCHTENSORSKETCH - "tensorsketch": CountSketch of a tensor product through the Fourier transforms of the factors' CountSketches

   Options Database Key:
.  -sketch_kronecker <bool> - Kronecker product of the factors instead of Khatri-Rao product (false)

   Level: intermediate

   Notes:
   Column (i_1, ..., i_q) of S has one entry s_1(i_1) ... s_q(i_q) in row h_1(i_1) + ... + h_q(i_q) modulo m. Applied by `SkeanSketchApplyTensor()` only: each factor is
   sketched alone, the sketches are multiplied in Fourier space (FFTW), the product is never formed. A small m with large prime factors makes the transform slower, not wrong.

   Cost: nnz of the factors, and m log m for each column of a factor and of the product. No communication. Memory: (m/2 + 1) d complex numbers.
   NaN and Inf reach the columns of S A they belong to; rounding errors are relative to the norm of the column, not to its entries.

   Rows needed: of the order of 3^q d^2/(eta^2 delta). Needs Skean built with FFTW.

   When not to use it: for high degrees q (the 3^q); where single coordinates matter (as countsketch).

   Source: N. Pham and R. Pagh, Fast and scalable polynomial kernels via explicit feature maps, KDD 2013, section 3; H. Avron, H. L. Nguyen and D. P. Woodruff, NIPS 2014, for the embedding.

.seealso: `SkeanSketchApplyTensor()`, `SKEANSKETCHTENSORSRHT`, `SkeanSketchType`
M*/
SKEAN_INTERN PetscErrorCode SkeanSketchCreate_TensorSketch(SkeanSketch sketch);
PetscErrorCode              SkeanSketchCreate_TensorSketch(SkeanSketch sketch)
{
  PetscFunctionBegin;
#if defined(SKEAN_HAVE_FFTW)
  sketch->ops->setup       = SkeanSketchSetUp_TensorSketch;
  sketch->ops->applytensor = SkeanSketchApplyTensor_TensorSketch;
  sketch->ops->reset       = SkeanSketchReset_TensorSketch;
  sketch->ops->destroy     = SkeanSketchReset_TensorSketch;
  PetscFunctionReturn(PETSC_SUCCESS);
#else
  SETERRQ(PetscObjectComm((PetscObject)sketch), PETSC_ERR_SUP_SYS, "Sketch type tensorsketch needs Skean built with FFTW");
#endif
}
