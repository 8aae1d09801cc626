/*
   Gaussian sketch: S_ij independent N(0, 1/m), made panel by panel and multiplied by dgemm. Cost 2 m n d flops and m n normal numbers; the reference for all other
   types, and the only one whose sketch-and-solve error has an exactly known law.
*/
#include <skean/private/sketchimpl.h> /*I "skeansketch.h" I*/
#include "../kernels/bulk.hpp"
#include <petscblaslapack.h>
#include <algorithm>
#include <cmath>

namespace skean {
/* y += v g */
SKEAN_MULTIVERSION static void Axpy(size_t m, double v, const double *SKEAN_RESTRICT g, double *SKEAN_RESTRICT y)
{
  for (size_t t = 0; t < m; ++t) y[t] += v * g[t];
}
} // namespace skean

static PetscErrorCode SkeanSketchSetUp_Gaussian(SkeanSketch sketch)
{
  PetscFunctionBegin;
  sketch->guarantee = SKEAN_SKETCH_GUARANTEE_EXACT;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanSketchApplyLocal_Gaussian(SkeanSketch sketch, const skean::RowView *A, PetscScalar *SA)
{
  const size_t                m = static_cast<size_t>(sketch->m), n = static_cast<size_t>(A->nrows);
  const double                scale = 1.0 / std::sqrt(static_cast<double>(m));
  const skean::RandomStream   stream(sketch->seed, skean::Purpose::Gaussian, static_cast<std::uint32_t>(sketch->draw));
  skean::AlignedArray<double> S;

  PetscFunctionBegin;
  if (A->IsDense()) {
    /* panels of S of about 4 MB, at least 64 columns so that dgemm is not bound by the updates of S A */
    const size_t block = std::min(n, std::max<size_t>(64, (size_t(1) << 19) / m));
    PetscBLASInt bm, bd, blda, bk;
    PetscScalar  one = 1.0;

    PetscCallCXX(S = skean::AlignedArray<double>(m * block));
    PetscCall(PetscBLASIntCast(sketch->m, &bm));
    PetscCall(PetscBLASIntCast(A->ncols, &bd));
    PetscCall(PetscBLASIntCast(A->lda, &blda));
    for (size_t i0 = 0; i0 < n; i0 += block) {
      const size_t rows = std::min(block, n - i0);
      for (size_t i = 0; i < rows; i++) skean::NormalsMany(stream, static_cast<std::uint64_t>(A->rstart) + i0 + i, m, scale, S.data() + i * m);
      bk = static_cast<PetscBLASInt>(rows);
      PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &bm, &bd, &bk, &one, S.data(), &bm, A->dense + i0, &blda, &one, SA, &bm));
    }
  } else {
    PetscCallCXX(S = skean::AlignedArray<double>(m));
    for (size_t i = 0; i < n; i++) {
      bool made = false;
      for (int p = 0; p < A->nparts; p++)
        for (PetscInt q = A->part[p].i[i]; q < A->part[p].i[i + 1]; q++) {
          if (!made) skean::NormalsMany(stream, static_cast<std::uint64_t>(A->rstart) + i, m, scale, S.data());
          made = true;
          skean::Axpy(m, A->part[p].a[q], S.data(), SA + static_cast<size_t>(A->part[p].Column(q)) * m);
        }
    }
  }
  PetscCall(PetscLogFlops(2.0 * static_cast<PetscLogDouble>(m) * static_cast<PetscLogDouble>(A->Entries())));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   SKEANSKETCHGAUSSIAN - "gaussian": independent normal entries of variance 1/m

   Level: beginner

   Notes:
   1. Entry (i,j) of S is number i of the stream (seed, draw) at index j, times 1/sqrt(m).
   2. S is made in panels and multiplied with A by dgemm (sparse A: one axpy of length m per entry); one sum of m d numbers over the processes.

   Cost: 2 m nnz(A) flops and one normal number per entry of S for a nonzero row. Memory: one panel of S, 4 MB or 64 columns.

   Rows needed: (sqrt(d) + sqrt(2 ln(2/delta)))^2/eta^2, in practice 2 d to 4 d.

   The error of sketch-and-solve has an exact law: given S A, x' - x* is normal with covariance (|r|^2/m) ((SA)'SA)^{-1}, so Student-t intervals hold with exactly their
   stated probability, `SKEAN_SKETCH_GUARANTEE_EXACT`.

   When not to use it: where only a preconditioner is wanted; it is the most expensive type by far.

.seealso: `SkeanSketchGetGuarantee()`, `SkeanSketchType`
M*/
SKEAN_INTERN PetscErrorCode SkeanSketchCreate_Gaussian(SkeanSketch sketch);
PetscErrorCode              SkeanSketchCreate_Gaussian(SkeanSketch sketch)
{
  PetscFunctionBegin;
  sketch->ops->setup      = SkeanSketchSetUp_Gaussian;
  sketch->ops->applylocal = SkeanSketchApplyLocal_Gaussian;
  PetscFunctionReturn(PETSC_SUCCESS);
}
