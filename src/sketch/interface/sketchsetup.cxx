/* Sizes and set-up of a SkeanSketch */
#include <skean/private/sketchimpl.h>
#include <cmath>

/*@
   SkeanSketchSetSizes - Sets the sizes of S

   Logically Collective

   Input Parameters:
+  sketch - the sketch
.  m      - rows of S, or `PETSC_DETERMINE`
-  n      - columns of S, which is the number of rows of what it is applied to, or `PETSC_DETERMINE`

   Options Database Keys:
+  -sketch_rows <m>        - rows of S
-  -sketch_factor <factor> - rows of S as a multiple of the columns of A, if not given otherwise

   Level: beginner

   Notes:
   An m left at `PETSC_DETERMINE` is chosen by `SkeanSketchSetSizesFromMat()`. An n left at `PETSC_DETERMINE` is taken from the first
   matrix or vector (or product of factors) the sketch is applied to. Sampling types (srht, srct, blocksrht) need m at most the padded length
   of their transform; the others take any m.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for sizes that are not positive (n = 0 is allowed: S A is then zero).

.seealso: `SkeanSketchSetSizesFromMat()`, `SkeanSketchGetSizes()`, `SkeanSketchSetFactor()`
@*/
PetscErrorCode SkeanSketchSetSizes(SkeanSketch sketch, PetscInt m, PetscInt n)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(m == PETSC_DETERMINE || m > 0, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE,
             "Number of rows of the sketch must be positive or PETSC_DETERMINE, is %" PetscInt_FMT, m);
  PetscCheck(n == PETSC_DETERMINE || n >= 0, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE,
             "Number of columns of the sketch must be non-negative or PETSC_DETERMINE, is %" PetscInt_FMT, n);
  if (sketch->m != m || sketch->n != n || sketch->mauto != (PetscBool)(m == PETSC_DETERMINE)) SkeanSketchChanged_Private(sketch);
  sketch->m     = m;
  sketch->n     = n;
  sketch->mauto = (PetscBool)(m == PETSC_DETERMINE);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchSetSizesFromMat - Sets the sizes of S for sketching a given matrix

   Logically Collective

   Input Parameters:
+  sketch - the sketch
-  A      - the matrix, n x d

   Level: beginner

   Notes:
   The number of columns of S becomes n. The number of rows stays if it was given by `SkeanSketchSetSizes()` or -sketch_rows; otherwise
   it becomes min(ceil(factor d), n), at least 1, with the factor of `SkeanSketchSetFactor()`. The caller then knows m from `SkeanSketchGetSizes()`
   and allocates the m x d array for `SkeanSketchApply()`.

.seealso: `SkeanSketchSetSizes()`, `SkeanSketchSetFactor()`, `SkeanSketchGetSizes()`
@*/
PetscErrorCode SkeanSketchSetSizesFromMat(SkeanSketch sketch, Mat A)
{
  PetscInt n, d, m;

  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscValidHeaderSpecific(A, MAT_CLASSID, 2);
  PetscCall(MatGetSize(A, &n, &d));
  m = sketch->m;
  if (sketch->mauto) {
    const double rows = std::ceil(sketch->factor * static_cast<double>(d));
    m                 = rows < static_cast<double>(n) ? static_cast<PetscInt>(rows) : n;
    m                 = PetscMax(m, 1);
    if (m == n && rows > static_cast<double>(n))
      PetscCall(PetscInfo(sketch, "%g * %" PetscInt_FMT " columns is more than the %" PetscInt_FMT " rows: sketch has as many rows as the matrix\n",
                          (double)sketch->factor, d, n));
  }
  if (sketch->m != m || sketch->n != n) SkeanSketchChanged_Private(sketch);
  sketch->m = m;
  sketch->n = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchGetSizes - The sizes of S

   Not Collective

   Input Parameter:
.  sketch - the sketch

   Output Parameters:
+  m - rows of S, `PETSC_DETERMINE` if not known yet; or NULL
-  n - columns of S, `PETSC_DETERMINE` if not known yet; or NULL

   Level: beginner

.seealso: `SkeanSketchSetSizes()`, `SkeanSketchSetSizesFromMat()`
@*/
PetscErrorCode SkeanSketchGetSizes(SkeanSketch sketch, PetscInt *m, PetscInt *n)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  if (m) *m = sketch->m;
  if (n) *n = sketch->n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchSetUp - Prepares the sketch: block sizes, sampled rows, transform plans

   Collective

   Input Parameter:
.  sketch - the sketch

   Level: intermediate

   Notes:
   Called by `SkeanSketchApply()`. Makes no communication; at most O(m) numbers are stored, S itself never is.
   After it `SkeanSketchGetGuarantee()`, `SkeanSketchGetNonzeros()` and `SkeanSketchGetBlockSize()` tell what is used.

   Errors: `PETSC_ERR_ORDER` if m (or, for all but the tensor types, n) is not known; the type's own, such as more rows than the transform has
   (`PETSC_ERR_ARG_OUTOFRANGE`).

.seealso: `SkeanSketchSetSizes()`, `SkeanSketchSetSizesFromMat()`, `SkeanSketchApply()`
@*/
PetscErrorCode SkeanSketchSetUp(SkeanSketch sketch)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  if (sketch->setupcalled) PetscFunctionReturn(PETSC_SUCCESS);
  if (!((PetscObject)sketch)->type_name) PetscCall(SkeanSketchSetType(sketch, SKEANSKETCHSPARSESIGN));
  PetscCheck(sketch->m != PETSC_DETERMINE, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ORDER,
             "The sketch has no number of rows: call SkeanSketchSetSizes() or SkeanSketchSetSizesFromMat() first");
  PetscCheck(sketch->n != PETSC_DETERMINE || sketch->ops->applytensor, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ORDER,
             "The sketch has no number of columns: call SkeanSketchSetSizes() or SkeanSketchSetSizesFromMat() first");
  PetscCall(PetscLogEventBegin(SKEAN_SketchSetUp, sketch, 0, 0, 0));
  PetscTryTypeMethod(sketch, setup);
  PetscCall(PetscLogEventEnd(SKEAN_SketchSetUp, sketch, 0, 0, 0));
  sketch->setupcalled = PETSC_TRUE;
  sketch->prepared    = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}
