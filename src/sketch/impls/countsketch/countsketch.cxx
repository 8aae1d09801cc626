/* CountSketch: one sign in each column of S. Cost 2 nnz(A); needs of the order of d^2 rows, and says nothing about single coordinates. */
#include <skean/private/sketchimpl.h> /*I "skeansketch.h" I*/
#include "../kernels/sparse.hpp"

static PetscErrorCode SkeanSketchSetUp_CountSketch(SkeanSketch sketch)
{
  PetscFunctionBegin;
  PetscCheck(static_cast<PetscInt64>(sketch->m) < (PetscInt64(1) << 30), PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE,
             "Sketch type countsketch needs fewer than 2^30 rows, has %" PetscInt_FMT, sketch->m);
  PetscCheck(sketch->nnz == PETSC_DETERMINE || sketch->nnz == 1, PetscObjectComm((PetscObject)sketch), PETSC_ERR_SUP,
             "Sketch type countsketch has one nonzero in each column, not %" PetscInt_FMT "; use sparsesign or sparsestack", sketch->nnz);
  sketch->nnzused   = 1;
  sketch->guarantee = SKEAN_SKETCH_GUARANTEE_NONE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanSketchApplyLocal_CountSketch(SkeanSketch sketch, const skean::RowView *A, PetscScalar *SA)
{
  PetscFunctionBegin;
  PetscCallCXX(skean::SparseSketchApply(
    skean::SparseHash(sketch->seed, static_cast<std::uint32_t>(sketch->draw), static_cast<std::uint32_t>(sketch->m), 1, true), *A, SA));
  PetscCall(PetscLogFlops(static_cast<PetscLogDouble>(A->Entries())));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   SKEANSKETCHCOUNTSKETCH - "countsketch": one random sign in a random row of each column of S

   Level: beginner

   Notes:
   1. Column j of S has one entry +-1, its row and sign drawn from (seed, draw, j).
   2. Each process adds its rows of A, with their signs, to the rows of S A; one sum of m d numbers over the processes.

   Cost: 2 nnz(A) flops, the cheapest type. Memory: one more m x d array.

   Rows needed: d^2/(eta^2 delta). With m of the order of d, S A loses rank on matrices with heavy rows (128 of 150 draws at m = 8 d).

   When not to use it: alone with m of the order of d; where single coordinates of a sketch-and-solve solution matter: two heavy rows that meet in one row of S ruin them, and there is no
   gain in the maximum norm at all (E. Price, Z. Song and D. P. Woodruff, ICALP 2017).

   Source: K. L. Clarkson and D. P. Woodruff, Low rank approximation and regression in input sparsity time, STOC 2013, section 2.

.seealso: `SKEANSKETCHSPARSESTACK`, `SkeanSketchType`
M*/
SKEAN_INTERN PetscErrorCode SkeanSketchCreate_CountSketch(SkeanSketch sketch);
PetscErrorCode              SkeanSketchCreate_CountSketch(SkeanSketch sketch)
{
  PetscFunctionBegin;
  sketch->ops->setup      = SkeanSketchSetUp_CountSketch;
  sketch->ops->applylocal = SkeanSketchApplyLocal_CountSketch;
  PetscFunctionReturn(PETSC_SUCCESS);
}
