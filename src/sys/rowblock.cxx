#include <skean/private/rowblock.hpp>

namespace skean {

/* Type names, not MatShellGetContext() and the like: several types derive from MATSHELL from PETSc 3.21 on */
static PetscErrorCode OpenSeqAIJ(Mat A, PetscInt nrows, RowView::Csr *part, const PetscScalar **array)
{
  PetscInt        n;
  const PetscInt *ia, *ja;
  PetscBool       done;

  PetscFunctionBegin;
  PetscCall(MatGetRowIJ(A, 0, PETSC_FALSE, PETSC_FALSE, &n, &ia, &ja, &done));
  PetscCheck(done && n == nrows, PETSC_COMM_SELF, PETSC_ERR_PLIB, "MatGetRowIJ() gave no rows of a sequential sparse matrix");
  PetscCall(MatSeqAIJGetArrayRead(A, array));
  PetscCall(MatGetSize(A, NULL, &part->ncols));
  part->i = ia;
  part->j = ja;
  part->a = *array;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CloseSeqAIJ(Mat A, RowView::Csr *part, const PetscScalar **array)
{
  PetscInt  n;
  PetscBool done;

  PetscFunctionBegin;
  PetscCall(MatSeqAIJRestoreArrayRead(A, array));
  PetscCall(MatRestoreRowIJ(A, 0, PETSC_FALSE, PETSC_FALSE, &n, &part->i, &part->j, &done));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode RowBlock::Open(Mat A)
{
  PetscBool seqaij, mpiaij, seqdense, mpidense;

  PetscFunctionBegin;
  PetscCheck(!mat && !vec, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONGSTATE, "This block of rows is open already");
  PetscCall(PetscObjectBaseTypeCompare((PetscObject)A, MATSEQAIJ, &seqaij));
  PetscCall(PetscObjectBaseTypeCompare((PetscObject)A, MATMPIAIJ, &mpiaij));
  PetscCall(PetscObjectBaseTypeCompare((PetscObject)A, MATSEQDENSE, &seqdense));
  PetscCall(PetscObjectBaseTypeCompare((PetscObject)A, MATMPIDENSE, &mpidense));
  if (seqaij || mpiaij || seqdense || mpidense) {
    PetscCall(PetscObjectReference((PetscObject)A));
    mat = A;
  } else {
    PetscBool      opaque;
    MatType        type;
    PetscErrorCode ierr;

    PetscCall(MatGetType(A, &type));
    PetscCall(PetscObjectTypeCompareAny((PetscObject)A, &opaque, MATSHELL, MATNORMAL, MATNORMALHERMITIAN, MATSCHURCOMPLEMENT, MATMFFD, ""));
    PetscCheck(!opaque, PetscObjectComm((PetscObject)A), PETSC_ERR_SUP,
               "The rows of a matrix of type %s cannot be read; use MATAIJ, MATDENSE or a type that MatConvert() turns into MATAIJ", type);
    PetscCall(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
    ierr = MatConvert(A, MATAIJ, MAT_INITIAL_MATRIX, &mat);
    PetscCall(PetscPopErrorHandler());
    PetscCheck(!ierr, PetscObjectComm((PetscObject)A), PETSC_ERR_SUP,
               "The rows of a matrix of type %s cannot be read: MatConvert() to MATAIJ failed with error %d", type, (int)ierr);
    PetscCall(PetscObjectBaseTypeCompare((PetscObject)mat, MATSEQAIJ, &seqaij));
    PetscCall(PetscObjectBaseTypeCompare((PetscObject)mat, MATMPIAIJ, &mpiaij));
  }
  view = RowView();
  PetscCall(MatGetOwnershipRange(mat, &view.rstart, NULL));
  PetscCall(MatGetLocalSize(mat, &view.nrows, NULL));
  PetscCall(MatGetSize(mat, &view.nglobal, &view.ncols));
  if (seqaij) {
    view.nparts = 1;
    diag        = mat;
    PetscCall(OpenSeqAIJ(diag, view.nrows, &view.part[0], &adiag));
  } else if (mpiaij) {
    const PetscInt *garray;
    PetscInt        cstart;

    PetscCall(MatMPIAIJGetSeqAIJ(mat, &diag, &off, &garray));
    PetscCall(MatGetOwnershipRangeColumn(mat, &cstart, NULL));
    view.nparts         = 2;
    view.part[0].offset = cstart;
    view.part[1].map    = garray;
    PetscCall(OpenSeqAIJ(diag, view.nrows, &view.part[0], &adiag));
    PetscCall(OpenSeqAIJ(off, view.nrows, &view.part[1], &aoff));
    /* one process: no off-diagonal part, and no test of it in the kernels */
    if (!view.part[1].i[view.nrows] && view.nrows) view.nparts = 1;
  } else {
    PetscCall(MatDenseGetArrayRead(mat, &array));
    PetscCall(MatDenseGetLDA(mat, &view.lda));
    view.dense = array;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode RowBlock::OpenVec(Vec b)
{
  PetscFunctionBegin;
  PetscCheck(!mat && !vec, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONGSTATE, "This block of rows is open already");
  PetscCall(PetscObjectReference((PetscObject)b));
  vec  = b;
  view = RowView();
  PetscCall(VecGetOwnershipRange(b, &view.rstart, NULL));
  PetscCall(VecGetLocalSize(b, &view.nrows));
  PetscCall(VecGetSize(b, &view.nglobal));
  PetscCall(VecGetArrayRead(b, &array));
  view.ncols = 1;
  view.dense = array;
  view.lda   = PetscMax(view.nrows, 1);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode RowBlock::Restore()
{
  PetscFunctionBegin;
  if (diag) PetscCall(CloseSeqAIJ(diag, &view.part[0], &adiag));
  if (off) PetscCall(CloseSeqAIJ(off, &view.part[1], &aoff));
  if (mat && array) PetscCall(MatDenseRestoreArrayRead(mat, &array));
  if (vec) PetscCall(VecRestoreArrayRead(vec, &array));
  diag = off = nullptr;
  array      = nullptr;
  PetscCall(MatDestroy(&mat));
  PetscCall(VecDestroy(&vec));
  view = RowView();
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace skean
