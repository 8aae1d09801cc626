/* Application of a SkeanSketch: local part, one sum over the processes */
#include <skean/private/sketchimpl.h>
#include <skean/private/reduce.hpp>
#include <algorithm>
#include <vector>

/* A matrix or vector as the sketch expects it; the same answer on every process */
static PetscErrorCode CheckArgument(SkeanSketch sketch, PetscObject obj, PetscInt n, const void *SA)
{
  PetscMPIInt result;
  MPI_Comm    comm = PetscObjectComm((PetscObject)sketch);

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_compare(comm, PetscObjectComm(obj), &result));
  PetscCheck(result == MPI_IDENT || result == MPI_CONGRUENT, comm, PETSC_ERR_ARG_NOTSAMECOMM,
             "The sketch and what it is applied to have different communicators");
  PetscCheck(SA, comm, PETSC_ERR_ARG_NULL, "Null pointer: array for the result");
  if (sketch->n == PETSC_DETERMINE) {
    sketch->n = n;
    SkeanSketchChanged_Private(sketch);
  }
  PetscCheck(sketch->n == n, comm, PETSC_ERR_ARG_SIZ, "Sketch has %" PetscInt_FMT " columns, what it is applied to has %" PetscInt_FMT " rows", sketch->n, n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSketchPrepare_Private(SkeanSketch sketch, const skean::RowView *A)
{
  PetscFunctionBegin;
  PetscCall(SkeanSketchSetUp(sketch));
  PetscTryTypeMethod(sketch, prepare, A);
  sketch->prepared = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddRows(SkeanSketch sketch, const skean::RowView *A, PetscScalar *SA)
{
  PetscFunctionBegin;
  for (PetscInt r = 0; r < A->Runs(); r++) {
    const skean::RowView rows = A->RowsOf(A->GetRun(r));
    if (rows.nrows && rows.ncols) PetscUseTypeMethod(sketch, applylocal, &rows, SA);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows that are the rows first, ... of what is sketched */
static PetscErrorCode AddBlock(SkeanSketch sketch, skean::RowView view, PetscInt first, PetscScalar *SA)
{
  PetscFunctionBegin;
  view.rstart += first;
  view.nglobal = sketch->n;
  PetscCall(AddRows(sketch, &view, SA));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Adds this process's part of S(:, first...) A: the blocks of a MATNEST one by one, each by the columns of S that are the rows it has in the matrix of the blocks */
static PetscErrorCode AddMat(SkeanSketch sketch, Mat A, PetscInt first, PetscScalar *SA)
{
  PetscBool nest;

  PetscFunctionBegin;
  PetscCall(PetscObjectTypeCompare((PetscObject)A, MATNEST, &nest));
  if (nest) {
    PetscInt        nr, nc;
    Mat           **sub;
    std::vector<IS> rows, cols;

    PetscCall(MatNestGetSubMats(A, &nr, &nc, &sub));
    PetscCallCXX(rows.resize(nr));
    PetscCallCXX(cols.resize(nc));
    PetscCall(MatNestGetISs(A, rows.data(), cols.data()));
    for (PetscInt i = 0; i < nr; i++) {
      PetscScalar *to = SA;
      PetscInt     size;
      for (PetscInt j = 0; j < nc; j++) {
        if (sub[i][j]) PetscCall(AddMat(sketch, sub[i][j], first, to));
        PetscCall(ISGetSize(cols[j], &size));
        to += static_cast<size_t>(sketch->m) * static_cast<size_t>(size);
      }
      PetscCall(ISGetSize(rows[i], &size));
      first += size;
    }
  } else {
    skean::RowBlock rows;

    PetscCall(rows.Open(A));
    PetscCall(AddBlock(sketch, rows.View(), first, SA));
    PetscCall(rows.Restore());
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The same for a vector: the blocks of a VECNEST one by one */
static PetscErrorCode AddVec(SkeanSketch sketch, Vec b, PetscInt first, PetscScalar *Sb)
{
  PetscBool nest;

  PetscFunctionBegin;
  PetscCall(PetscObjectTypeCompare((PetscObject)b, VECNEST, &nest));
  if (nest) {
    PetscInt n, size;
    Vec     *sub;

    PetscCall(VecNestGetSubVecs(b, &n, &sub));
    for (PetscInt i = 0; i < n; i++) {
      PetscCall(AddVec(sketch, sub[i], first, Sb));
      PetscCall(VecGetSize(sub[i], &size));
      first += size;
    }
  } else {
    skean::RowBlock rows;

    PetscCall(rows.OpenVec(b));
    PetscCall(AddBlock(sketch, rows.View(), first, Sb));
    PetscCall(rows.Restore());
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Before a sketch adds to SA, m x d: is it ready, and zero SA */
static PetscErrorCode BeginLocal(SkeanSketch sketch, PetscInt n, PetscInt d, PetscScalar *SA)
{
  PetscFunctionBegin;
  PetscCall(SkeanSketchSetUp(sketch));
  PetscCheck(sketch->ops->applylocal, PetscObjectComm((PetscObject)sketch), PETSC_ERR_SUP,
             "Sketch type %s works on products of factors only: use SkeanSketchApplyTensor()", ((PetscObject)sketch)->type_name);
  PetscCheck(sketch->prepared || !sketch->ops->prepare, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ORDER,
             "A sketch of type %s is drawn from a matrix: call SkeanSketchApply() for the matrix first", ((PetscObject)sketch)->type_name);
  PetscCheck(n == sketch->n, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_SIZ,
             "Sketch has %" PetscInt_FMT " columns, what it is applied to has %" PetscInt_FMT " rows", sketch->n, n);
  std::fill(SA, SA + static_cast<size_t>(sketch->m) * static_cast<size_t>(d), 0.0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSketchApplyLocal_Private(SkeanSketch sketch, const skean::RowView *A, PetscScalar *SA)
{
  PetscFunctionBegin;
  PetscCall(BeginLocal(sketch, A->nglobal, A->ncols, SA));
  PetscCall(AddRows(sketch, A, SA));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchApply - Computes S A

   Collective

   Input Parameters:
+  sketch - the sketch S, m x n
-  A      - the matrix, n x d: `MATAIJ`, `MATDENSE`, or `MATNEST` of such blocks, or any type that `MatConvert()` turns into `MATAIJ` (`MATBAIJ`, ...)

   Output Parameter:
.  SA - m x d scalars, column major with leading dimension m, equal on every process; allocated by the caller

   Options Database Key:
.  -sketch_view - view the sketch after its first application

   Level: beginner

   Notes:
   Communication: one sum of m d scalars, whatever n is (type leverage: see its page). The result does not depend on the number of processes or on who owns which
   rows, to rounding. Memory: at most one more m x d array, and a few panels. A is read in place and not changed; a matrix (or block of
   a `MATNEST`) of another type than `MATAIJ` and `MATDENSE` is converted, which copies it.

   A `MATNEST` is the matrix of its blocks beside and below one another: row i of block k is the row i plus the rows of the blocks above it, column j likewise. That is not
   the order in which PETSc numbers the rows and columns of a `MATNEST`, process by process, which depends on the number of processes. Its blocks, which may be of type `MATNEST` themselves, are sketched one by one; type
   leverage puts them together first, in a copy, and does not support blocks of type `MATNEST`.

   NaN and Inf in A reach S A; the caller looks there. They are not an error here.

   For type leverage S itself is drawn from A, anew at each call; `SkeanSketchApplyVec()` then uses the rows drawn.

   Errors: `PETSC_ERR_ARG_SIZ` if A has not n rows, `PETSC_ERR_ORDER` if m is not known, `PETSC_ERR_SUP` for a matrix whose rows cannot be read and for the tensor types,
   `PETSC_ERR_ARG_NOTSAMECOMM`.

.seealso: `SkeanSketchApplyVec()`, `SkeanSketchApplyTensor()`, `SkeanSketchSetSizesFromMat()`
@*/
PetscErrorCode SkeanSketchApply(SkeanSketch sketch, Mat A, PetscScalar SA[])
{
  skean::RowBlock rows;
  PetscInt        n, d;
  PetscBool       first, nest;

  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscValidHeaderSpecific(A, MAT_CLASSID, 2);
  PetscCall(MatGetSize(A, &n, &d));
  PetscCall(CheckArgument(sketch, (PetscObject)A, n, d ? (const void *)SA : (const void *)A));
  PetscCall(MatAssembled(A, &first));
  PetscCheck(first, PetscObjectComm((PetscObject)A), PETSC_ERR_ARG_WRONGSTATE, "The matrix is not assembled");
  first = (PetscBool)!sketch->setupcalled;
  PetscCall(SkeanSketchSetUp(sketch));
  PetscCheck(sketch->ops->applylocal, PetscObjectComm((PetscObject)sketch), PETSC_ERR_SUP,
             "Sketch type %s works on products of factors only: use SkeanSketchApplyTensor()", ((PetscObject)sketch)->type_name);
  PetscCall(PetscLogEventBegin(SKEAN_SketchApply, sketch, A, 0, 0));
  PetscCall(PetscObjectTypeCompare((PetscObject)A, MATNEST, &nest));
  if (!nest || sketch->ops->prepare) { /* only a sketch that depends on the matrix needs the blocks put together */
    PetscCall(rows.Open(A));
    PetscCall(SkeanSketchPrepare_Private(sketch, &rows.View()));
    if (!nest) PetscCall(SkeanSketchApplyLocal_Private(sketch, &rows.View(), SA));
    PetscCall(rows.Restore());
  }
  if (nest) {
    PetscCall(BeginLocal(sketch, n, d, SA));
    PetscCall(AddMat(sketch, A, 0, SA));
  }
  PetscCall(skean::AllreduceSum(PetscObjectComm((PetscObject)sketch), SA, static_cast<size_t>(sketch->m) * static_cast<size_t>(d)));
  PetscCall(PetscLogEventEnd(SKEAN_SketchApply, sketch, A, 0, 0));
  if (first) PetscCall(SkeanSketchViewFromOptions(sketch, NULL, "-sketch_view"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchApplyVec - Computes S b

   Collective

   Input Parameters:
+  sketch - the sketch S, m x n
-  b      - the vector of length n

   Output Parameter:
.  Sb - m scalars, equal on every process; allocated by the caller

   Level: beginner

   Notes:
   The same S as in `SkeanSketchApply()`. Communication: one sum of m scalars. The entries of a `VECNEST` are counted block by block, as the rows of a `MATNEST` are there: with a
   `MATNEST` goes a `VECNEST` of the same blocks, not a vector in PETSc's numbering.

   Errors: `PETSC_ERR_ARG_SIZ` if b has not length n, `PETSC_ERR_ORDER` if m is not known or if the type is leverage and no matrix was sketched before.

.seealso: `SkeanSketchApply()`
@*/
PetscErrorCode SkeanSketchApplyVec(SkeanSketch sketch, Vec b, PetscScalar Sb[])
{
  PetscInt n;

  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscValidHeaderSpecific(b, VEC_CLASSID, 2);
  PetscCall(VecGetSize(b, &n));
  PetscCall(CheckArgument(sketch, (PetscObject)b, n, Sb));
  PetscCall(SkeanSketchSetUp(sketch));
  PetscCall(PetscLogEventBegin(SKEAN_SketchApply, sketch, b, 0, 0));
  PetscCall(BeginLocal(sketch, n, 1, Sb));
  PetscCall(AddVec(sketch, b, 0, Sb));
  PetscCall(skean::AllreduceSum(PetscObjectComm((PetscObject)sketch), Sb, static_cast<size_t>(sketch->m)));
  PetscCall(PetscLogEventEnd(SKEAN_SketchApply, sketch, b, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchApplyTensor - Computes S A for a matrix A whose columns are products of columns of given factors, without forming A

   Collective

   Input Parameters:
+  sketch   - the sketch, of type tensorsrht or tensorsketch
.  nfactors - number of factors q, at least 1
-  factors  - sequential dense matrices F_1 (n_1 x d_1), ..., F_q (n_q x d_q), the same on every process

   Output Parameter:
.  SA - m x d scalars, column major with leading dimension m; allocated by the caller

   Options Database Key:
.  -sketch_kronecker <bool> - Kronecker product instead of Khatri-Rao product

   Level: intermediate

   Notes:
   A has n = n_1 n_2 ... n_q rows. Khatri-Rao product (default): all factors have d columns and column j of A is F_1(:,j) (x) ... (x) F_q(:,j).
   Kronecker product: A = F_1 (x) ... (x) F_q with d = d_1 d_2 ... d_q columns. In both the last index runs fastest, as in MATLAB's kron(). For points whose features are products
   (rows X_1(i,:) (x) X_2(i,:)) pass the transposes of the X_k; SA then holds the compressed feature vectors as columns.

   No communication: every process computes the same. The number of columns of the sketch, if set, must be n; for products beyond the range of `PetscInt` leave it at
   `PETSC_DETERMINE`.

   Errors: `PETSC_ERR_SUP` for another type, `PETSC_ERR_ARG_SIZ` for sizes that do not fit, `PETSC_ERR_ARG_WRONG` for factors that are not `MATSEQDENSE`.

.seealso: `SkeanSketchSetKronecker()`, `SkeanSketchApply()`
@*/
PetscErrorCode SkeanSketchApplyTensor(SkeanSketch sketch, PetscInt nfactors, Mat factors[], PetscScalar SA[])
{
  std::vector<skean::RowView> views;
  PetscInt                    d    = 1;
  double                      n    = 1;
  MPI_Comm                    comm = PetscObjectComm((PetscObject)sketch);

  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(nfactors >= 1, comm, PETSC_ERR_ARG_OUTOFRANGE, "Number of factors must be positive, is %" PetscInt_FMT, nfactors);
  PetscCheck(factors && SA, comm, PETSC_ERR_ARG_NULL, "Null pointer: %s", factors ? "SA" : "factors");
  PetscCall(SkeanSketchSetUp(sketch));
  PetscCheck(sketch->ops->applytensor, comm, PETSC_ERR_SUP, "Sketch type %s does not support SkeanSketchApplyTensor(), use tensorsrht or tensorsketch",
             ((PetscObject)sketch)->type_name);
  PetscCallCXX(views.resize(static_cast<size_t>(nfactors)));
  for (PetscInt k = 0; k < nfactors; k++) {
    PetscBool seqdense;

    PetscCheck(factors[k], comm, PETSC_ERR_ARG_NULL, "Null pointer: factor %" PetscInt_FMT, k);
    PetscCall(PetscObjectBaseTypeCompare((PetscObject)factors[k], MATSEQDENSE, &seqdense));
    PetscCheck(seqdense, comm, PETSC_ERR_ARG_WRONG, "Factor %" PetscInt_FMT " is not a sequential dense matrix", k);
    PetscCall(MatGetSize(factors[k], &views[k].nglobal, &views[k].ncols));
    views[k].nrows = views[k].nglobal;
    n *= static_cast<double>(views[k].nglobal);
    if (sketch->kronecker)
      PetscCall(PetscIntMultError(d, views[k].ncols, &d));
    else {
      PetscCheck(!k || views[k].ncols == views[0].ncols, comm, PETSC_ERR_ARG_SIZ,
                 "Factor 0 has %" PetscInt_FMT " columns, factor %" PetscInt_FMT " has %" PetscInt_FMT, views[0].ncols, k, views[k].ncols);
      d = views[k].ncols;
    }
  }
  PetscCheck(sketch->n == PETSC_DETERMINE || static_cast<double>(sketch->n) == n, comm, PETSC_ERR_ARG_SIZ,
             "Sketch has %" PetscInt_FMT " columns, the product of the factors has %g rows", sketch->n, n);
  PetscCall(PetscLogEventBegin(SKEAN_SketchApply, sketch, 0, 0, 0));
  for (PetscInt k = 0; k < nfactors; k++) {
    PetscCall(MatDenseGetArrayRead(factors[k], &views[k].dense));
    PetscCall(MatDenseGetLDA(factors[k], &views[k].lda));
  }
  std::fill(SA, SA + static_cast<size_t>(sketch->m) * static_cast<size_t>(d), 0.0);
  PetscUseTypeMethod(sketch, applytensor, nfactors, views.data(), SA);
  for (PetscInt k = 0; k < nfactors; k++) PetscCall(MatDenseRestoreArrayRead(factors[k], &views[k].dense));
  PetscCall(PetscLogEventEnd(SKEAN_SketchApply, sketch, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}
