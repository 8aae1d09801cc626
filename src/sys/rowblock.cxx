#include <skean/private/rowblock.hpp>
#include <skean/private/reduce.hpp>

namespace skean {

/* The runs of the rows of a MATNEST, block by block. foreign: an index set lists rows of another process. */
static PetscErrorCode NestRuns(Mat A, PetscInt *nblocks, std::vector<RowView::Run> &runs, bool *foreign)
{
  PetscInt        nr, rstart, rend, first = 0;
  std::vector<IS> rows;

  PetscFunctionBegin;
  PetscCall(MatNestGetSize(A, &nr, NULL));
  PetscCall(MatGetOwnershipRange(A, &rstart, &rend));
  PetscCallCXX(rows.resize(nr));
  PetscCall(MatNestGetISs(A, rows.data(), NULL));
  for (PetscInt b = 0; b < nr; ++b) {
    const PetscInt *index;
    PetscInt        n, N;
    PetscLayout     layout;

    PetscCall(ISGetLocalSize(rows[b], &n));
    PetscCall(ISGetSize(rows[b], &N));
    PetscCall(ISGetLayout(rows[b], &layout));
    PetscCall(ISGetIndices(rows[b], &index));
    for (PetscInt i = 0; i < n; ++i) {
      *foreign = *foreign || index[i] < rstart || index[i] >= rend;
      if (i && index[i] == index[i - 1] + 1)
        ++runs.back().count;
      else
        PetscCallCXX(runs.push_back({index[i] - rstart, first + layout->rstart + i, 1, b}));
    }
    PetscCall(ISRestoreIndices(rows[b], &index));
    first += N;
  }
  *nblocks = nr;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* MatConvert() calls MatGetRow() for the blocks, and does not ask whether they have it */
static PetscErrorCode CheckNestBlocks(Mat A)
{
  PetscInt nr, nc;
  Mat    **sub;

  PetscFunctionBegin;
  PetscCall(MatNestGetSubMats(A, &nr, &nc, &sub));
  for (PetscInt i = 0; i < nr; ++i)
    for (PetscInt j = 0; j < nc; ++j) {
      PetscBool has = PETSC_TRUE;
      MatType   type;
      if (!sub[i][j]) continue;
      PetscCall(MatGetType(sub[i][j], &type));
      PetscCall(MatHasOperation(sub[i][j], MATOP_GET_ROW, &has));
      PetscCheck(has, PetscObjectComm((PetscObject)A), PETSC_ERR_SUP,
                 "The rows of a MATNEST with a block of type %s cannot be read; make the nest of blocks of types MATAIJ and MATDENSE", type);
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

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
  PetscBool seqaij, mpiaij, seqdense, mpidense, nest;

  PetscFunctionBegin;
  PetscCheck(!mat && !vec, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONGSTATE, "This block of rows is open already");
  PetscCall(PetscObjectBaseTypeCompare((PetscObject)A, MATSEQAIJ, &seqaij));
  PetscCall(PetscObjectBaseTypeCompare((PetscObject)A, MATMPIAIJ, &mpiaij));
  PetscCall(PetscObjectBaseTypeCompare((PetscObject)A, MATSEQDENSE, &seqdense));
  PetscCall(PetscObjectBaseTypeCompare((PetscObject)A, MATMPIDENSE, &mpidense));
  PetscCall(PetscObjectTypeCompare((PetscObject)A, MATNEST, &nest));
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
    if (nest) PetscCall(CheckNestBlocks(A));
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
  if (nest) {
    bool foreign = false;

    PetscCall(NestRuns(A, &view.nblocks, runs, &foreign));
    PetscCall(AgreeAny(PetscObjectComm((PetscObject)A), foreign, &foreign));
    PetscCheck(!foreign, PetscObjectComm((PetscObject)A), PETSC_ERR_SUP,
               "The rows of a MATNEST cannot be read where an index set of a block lists rows of another process");
    view.run   = runs.data();
    view.nruns = static_cast<PetscInt>(runs.size());
  }
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
  runs.clear();
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace skean
