/*
   Trilinos' Tpetra objects for PETSc's and Skean's solvers. Header only: the library itself does not know Trilinos.

     Mat A;  Vec b, x;
     skean::MatCreateFromTpetra(tpetraA, &A);          a copy of the entries as MATAIJ, or
     skean::MatCreateShellFromTpetra(tpetraA, &A);     nothing copied, MATSHELL that applies Tpetra's operator
     skean::VecCreateFromTpetra(tpetraB, 0, &b);       a copy of column 0
     ... KSPSolve(ksp, b, x) ...
     skean::VecCopyToTpetra(x, tpetraX, 0);

   or everything at once: skean::LeastSquaresSolveTpetra(A, B, X, prefix, &reason).

   Numbering: PETSc wants the rows of a process to be consecutive, Tpetra's maps may be anything. Row i of this process's row map
   becomes PETSc's row (rows of lower processes) + i, and entry j of its domain map becomes column (entries of lower processes) + j.
   So a vector moves between the two by copying this process's own part, without communication, for any one-to-one map.

   Vectors: b lives on the range map of A, x on its domain map; row map and range map must be the same (Tpetra's default).
   Scalars are double, as PetscScalar; exceptions of Trilinos come back as PETSC_ERR_LIB.
*/
#pragma once

#include <petscksp.h>
#include <skeansys.h>
#include <skean/private/petsccompat.h>
#include <Teuchos_DefaultMpiComm.hpp>
#include <Tpetra_CrsMatrix.hpp>
#include <Tpetra_Map.hpp>
#include <Tpetra_MultiVector.hpp>
#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

namespace skean {
namespace tpetra {
inline MPI_Comm CommOf(const Teuchos::Comm<int> &comm)
{
  const auto *mpi = dynamic_cast<const Teuchos::MpiComm<int> *>(&comm);
  return mpi ? static_cast<MPI_Comm>(*mpi->getRawMpiComm()) : MPI_COMM_SELF;
}

/* getNode... became getLocal... in Trilinos 13.4 and was removed later; the second argument prefers the newer name */
template <class Map>
auto LocalSize(const Map &map, int) -> decltype(map.getLocalNumElements())
{
  return map.getLocalNumElements();
}
template <class Map>
auto LocalSize(const Map &map, long) -> decltype(map.getNodeNumElements())
{
  return map.getNodeNumElements();
}
template <class Map>
auto LocalElements(const Map &map, int) -> decltype(map.getLocalElementList())
{
  return map.getLocalElementList();
}
template <class Map>
auto LocalElements(const Map &map, long) -> decltype(map.getNodeElementList())
{
  return map.getNodeElementList();
}

/* Numbers of PETSc's columns for the entries of the column map, by asking the domain map's directory who owns them. Collective. */
template <class Map>
PetscErrorCode ColumnNumbers(const Map &domain, const Map &column, MPI_Comm comm, std::vector<PetscInt> &numbers)
{
  using GO           = typename Map::global_ordinal_type;
  using LO           = typename Map::local_ordinal_type;
  const size_t     n = LocalSize(column, 0);
  PetscMPIInt      size;
  PetscInt         mine = static_cast<PetscInt>(LocalSize(domain, 0));
  int              lost = 0, anylost;
  std::vector<int> owner;
  std::vector<LO>  local;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  std::vector<PetscInt> begin(size + 1, 0);
  PetscCallMPI(MPI_Allgather(&mine, 1, MPIU_INT, begin.data() + 1, 1, MPIU_INT, comm));
  for (int r = 0; r < size; ++r) begin[r + 1] += begin[r];
  owner.resize(n);
  local.resize(n);
  numbers.resize(n);
  const Teuchos::ArrayView<const GO> ids = LocalElements(column, 0);
  domain.getRemoteIndexList(ids, Teuchos::ArrayView<int>(owner.data(), n), Teuchos::ArrayView<LO>(local.data(), n));
  for (size_t k = 0; k < n; ++k) {
    if (owner[k] < 0)
      lost = 1;
    else
      numbers[k] = begin[owner[k]] + static_cast<PetscInt>(local[k]);
  }
  PetscCallMPI(MPI_Allreduce(&lost, &anylost, 1, MPI_INT, MPI_MAX, comm));
  PetscCheck(!anylost, comm, PETSC_ERR_ARG_WRONG, "The matrix has a column that its domain map does not contain");
  PetscFunctionReturn(PETSC_SUCCESS);
}

template <class Matrix>
PetscErrorCode Check(const Matrix &A, MPI_Comm comm)
{
  PetscFunctionBegin;
  PetscCheck(A.isFillComplete(), comm, PETSC_ERR_ARG_WRONGSTATE, "Call fillComplete() of the Tpetra matrix first");
  PetscCheck(A.getRowMap()->isSameAs(*A.getRangeMap()), comm, PETSC_ERR_SUP, "Row map and range map of the Tpetra matrix differ");
  PetscCheck(A.getRowMap()->isOneToOne() && A.getDomainMap()->isOneToOne(), comm, PETSC_ERR_SUP, "A map of the Tpetra matrix is not one-to-one");
  PetscCheck(A.getGlobalNumRows() <= static_cast<size_t>(PETSC_MAX_INT) && A.getGlobalNumCols() <= static_cast<size_t>(PETSC_MAX_INT), comm,
             PETSC_ERR_ARG_OUTOFRANGE, "The Tpetra matrix is too large for this PETSc's indices");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The part of a vector on this process, out of or into column j */
template <class MultiVector>
PetscErrorCode Get(const MultiVector &v, size_t j, PetscScalar *to)
{
  PetscFunctionBegin;
  const Teuchos::ArrayRCP<const PetscScalar> from = v.getData(j);
  std::copy_n(from.getRawPtr(), v.getLocalLength(), to);
  PetscFunctionReturn(PETSC_SUCCESS);
}
template <class MultiVector>
PetscErrorCode Put(const PetscScalar *from, MultiVector &v, size_t j)
{
  PetscFunctionBegin;
  const Teuchos::ArrayRCP<PetscScalar> to = v.getDataNonConst(j);
  std::copy_n(from, v.getLocalLength(), to.getRawPtr());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Context of the MATSHELL: the operator and one vector of each kind */
template <class Matrix>
struct Shell {
  using Vectors =
    Tpetra::MultiVector<typename Matrix::scalar_type, typename Matrix::local_ordinal_type, typename Matrix::global_ordinal_type, typename Matrix::node_type>;
  Teuchos::RCP<const Matrix> A;
  Vectors                    x, y;
  explicit Shell(const Teuchos::RCP<const Matrix> &matrix) : A(matrix), x(matrix->getDomainMap(), 1), y(matrix->getRangeMap(), 1) {}

  PetscErrorCode Apply(Vec in, Vec out, bool transpose)
  {
    Vectors           &from = transpose ? y : x, &to = transpose ? x : y;
    const PetscScalar *values;
    PetscScalar       *results;

    PetscFunctionBegin;
    PetscCall(VecGetArrayRead(in, &values));
    PetscCallCXX(Put(values, from, 0));
    PetscCall(VecRestoreArrayRead(in, &values));
    PetscCallCXX(A->apply(from, to, transpose ? Teuchos::TRANS : Teuchos::NO_TRANS));
    PetscCall(VecGetArrayWrite(out, &results));
    PetscCallCXX(Get(to, 0, results));
    PetscCall(VecRestoreArrayWrite(out, &results));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  static PetscErrorCode Mult(Mat mat, Vec in, Vec out)
  {
    void *ctx;
    PetscFunctionBegin;
    PetscCall(MatShellGetContext(mat, &ctx));
    PetscCall(static_cast<Shell *>(ctx)->Apply(in, out, false));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  static PetscErrorCode MultTranspose(Mat mat, Vec in, Vec out)
  {
    void *ctx;
    PetscFunctionBegin;
    PetscCall(MatShellGetContext(mat, &ctx));
    PetscCall(static_cast<Shell *>(ctx)->Apply(in, out, true));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  static PetscErrorCode Destroy(Mat mat)
  {
    void *ctx;
    PetscFunctionBegin;
    PetscCall(MatShellGetContext(mat, &ctx));
    delete static_cast<Shell *>(ctx);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
};
} // namespace tpetra

/*
   MatCreateFromTpetra - Copies a Tpetra::CrsMatrix into a MATAIJ

   Collective on the communicator of A

   Input Parameter:
.  A - the matrix, fillComplete() called, row map = range map, maps one-to-one

   Output Parameter:
.  mat - the copy, on the same processes with the same rows on each; destroy with MatDestroy()

   Notes:
   Communication: one allgather of the local column counts, one look-up of the column map in Tpetra's directory; no entry is moved.
*/
template <class LO, class GO, class NT>
PetscErrorCode MatCreateFromTpetra(const Teuchos::RCP<const Tpetra::CrsMatrix<PetscScalar, LO, GO, NT>> &A, Mat *mat)
{
  std::vector<PetscInt>    columns, offsets, indices;
  std::vector<PetscScalar> values;

  PetscFunctionBegin;
  const MPI_Comm comm = tpetra::CommOf(*A->getComm());
  PetscCall(tpetra::Check(*A, comm));
  PetscErrorCode ierr = PETSC_SUCCESS;
  PetscCallCXX(ierr = tpetra::ColumnNumbers(*A->getDomainMap(), *A->getColMap(), comm, columns));
  PetscCall(ierr);
  const size_t rows     = tpetra::LocalSize(*A->getRowMap(), 0);
  size_t       nonzeros = 0;
  for (size_t i = 0; i < rows; ++i) nonzeros += A->getNumEntriesInLocalRow(static_cast<LO>(i));
  /* more than 2^31 entries on one process need a PETSc with 64-bit indices: agreed, or the others would wait in MatCreate */
  int large = nonzeros > static_cast<size_t>(PETSC_MAX_INT), anylarge;
  PetscCallMPI(MPI_Allreduce(&large, &anylarge, 1, MPI_INT, MPI_MAX, comm));
  PetscCheck(!anylarge, comm, PETSC_ERR_ARG_OUTOFRANGE, "A process has more entries than this PETSc's indices count");
  PetscCallCXX(offsets.reserve(rows + 1));
  PetscCallCXX(indices.reserve(nonzeros));
  PetscCallCXX(values.reserve(nonzeros));
  offsets.push_back(0);
  for (size_t i = 0; i < rows; ++i) {
    typename Tpetra::CrsMatrix<PetscScalar, LO, GO, NT>::local_inds_host_view_type js;
    typename Tpetra::CrsMatrix<PetscScalar, LO, GO, NT>::values_host_view_type     as;
    PetscCallCXX(A->getLocalRowView(static_cast<LO>(i), js, as));
    for (size_t k = 0; k < js.extent(0); ++k) {
      indices.push_back(columns[js(k)]);
      values.push_back(as(k));
    }
    offsets.push_back(static_cast<PetscInt>(indices.size()));
    /* MATAIJ wants the columns of a row in order; Tpetra orders them by its column map */
    const size_t                                  begin = offsets[i], length = indices.size() - begin;
    std::vector<std::pair<PetscInt, PetscScalar>> row(length);
    for (size_t k = 0; k < length; ++k) row[k] = {indices[begin + k], values[begin + k]};
    std::sort(row.begin(), row.end(), [](const auto &a, const auto &b) { return a.first < b.first; });
    for (size_t k = 0; k < length; ++k) {
      indices[begin + k] = row[k].first;
      values[begin + k]  = row[k].second;
    }
  }
  PetscCall(MatCreateMPIAIJWithArrays(comm, static_cast<PetscInt>(rows), static_cast<PetscInt>(tpetra::LocalSize(*A->getDomainMap(), 0)), PETSC_DETERMINE,
                                      PETSC_DETERMINE, offsets.data(), indices.data(), values.data(), mat));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   MatCreateShellFromTpetra - A MATSHELL that applies a Tpetra::CrsMatrix and its transpose; keeps a reference to it, copies nothing

   Collective on the communicator of A

   Input Parameter:
.  A - the matrix, fillComplete() called, row map = range map, maps one-to-one

   Output Parameter:
.  mat - the operator; destroy with MatDestroy()

   Notes:
   For solvers that only multiply, such as KSPLSQR without preconditioner. What samples or sketches rows needs MatCreateFromTpetra().
*/
template <class LO, class GO, class NT>
PetscErrorCode MatCreateShellFromTpetra(const Teuchos::RCP<const Tpetra::CrsMatrix<PetscScalar, LO, GO, NT>> &A, Mat *mat)
{
  using Shell  = tpetra::Shell<Tpetra::CrsMatrix<PetscScalar, LO, GO, NT>>;
  Shell *shell = nullptr;

  PetscFunctionBegin;
  const MPI_Comm comm = tpetra::CommOf(*A->getComm());
  PetscCall(tpetra::Check(*A, comm));
  PetscCallCXX(shell = new Shell(A));
  PetscCall(MatCreateShell(comm, static_cast<PetscInt>(tpetra::LocalSize(*A->getRangeMap(), 0)),
                           static_cast<PetscInt>(tpetra::LocalSize(*A->getDomainMap(), 0)), PETSC_DETERMINE, PETSC_DETERMINE, shell, mat));
  PetscCall(SkeanMatShellSetOperation(*mat, MATOP_MULT, Shell::Mult));
  PetscCall(SkeanMatShellSetOperation(*mat, MATOP_MULT_TRANSPOSE, Shell::MultTranspose));
  PetscCall(SkeanMatShellSetOperation(*mat, MATOP_DESTROY, Shell::Destroy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   VecCreateFromTpetra - Copies column j of a Tpetra::MultiVector into a new Vec with the same distribution; no communication of entries

   Collective on the communicator of v
*/
template <class LO, class GO, class NT>
PetscErrorCode VecCreateFromTpetra(const Tpetra::MultiVector<PetscScalar, LO, GO, NT> &v, size_t j, Vec *vec)
{
  PetscScalar *to;

  PetscFunctionBegin;
  const MPI_Comm comm = tpetra::CommOf(*v.getMap()->getComm());
  PetscCheck(j < v.getNumVectors(), comm, PETSC_ERR_ARG_OUTOFRANGE, "Column %zu asked for, the Tpetra vector has %zu", j, v.getNumVectors());
  PetscCall(VecCreateMPI(comm, static_cast<PetscInt>(v.getLocalLength()), PETSC_DETERMINE, vec));
  PetscCall(VecGetArrayWrite(*vec, &to));
  PetscCallCXX(tpetra::Get(v, j, to));
  PetscCall(VecRestoreArrayWrite(*vec, &to));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   VecCopyToTpetra - Copies a Vec into column j of a Tpetra::MultiVector whose map has as many entries on each process

   Collective on the communicator of v
*/
template <class LO, class GO, class NT>
PetscErrorCode VecCopyToTpetra(Vec vec, Tpetra::MultiVector<PetscScalar, LO, GO, NT> &v, size_t j)
{
  const PetscScalar *from;
  PetscInt           n;

  PetscFunctionBegin;
  const MPI_Comm comm = tpetra::CommOf(*v.getMap()->getComm());
  PetscCheck(j < v.getNumVectors(), comm, PETSC_ERR_ARG_OUTOFRANGE, "Column %zu asked for, the Tpetra vector has %zu", j, v.getNumVectors());
  PetscCall(VecGetLocalSize(vec, &n));
  int differs = static_cast<size_t>(n) != v.getLocalLength(), anydiffers;
  PetscCallMPI(MPI_Allreduce(&differs, &anydiffers, 1, MPI_INT, MPI_MAX, comm));
  PetscCheck(!anydiffers, comm, PETSC_ERR_ARG_SIZ, "The vectors are distributed differently");
  PetscCall(VecGetArrayRead(vec, &from));
  PetscCallCXX(tpetra::Put(from, v, j));
  PetscCall(VecRestoreArrayRead(vec, &from));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   LeastSquaresSolveTpetra - Solves min ||b - A x|| for every column of a Tpetra::MultiVector with one KSP

   Collective on the communicator of A

   Input Parameters:
+  A      - the matrix, as for MatCreateFromTpetra()
.  B      - right-hand sides, on the range map of A
.  type   - KSP type unless the options say otherwise: "sketch", KSPLSQR
-  prefix - prefix of the options (-<prefix>ksp_type, ...), or NULL

   Input/Output Parameter:
.  X - solutions, on the domain map of A

   Output Parameter:
.  reason - the worst KSPConvergedReason of the columns; negative if one of them did not converge
*/
template <class LO, class GO, class NT>
PetscErrorCode LeastSquaresSolveTpetra(const Teuchos::RCP<const Tpetra::CrsMatrix<PetscScalar, LO, GO, NT>> &A,
                                       const Tpetra::MultiVector<PetscScalar, LO, GO, NT> &B, Tpetra::MultiVector<PetscScalar, LO, GO, NT> &X, KSPType type,
                                       const char prefix[], KSPConvergedReason *reason)
{
  Mat                mat, normal;
  Vec                b, x;
  KSP                ksp;
  PC                 pc;
  KSPConvergedReason one;

  PetscFunctionBegin;
  const MPI_Comm comm = tpetra::CommOf(*A->getComm());
  PetscCheck(B.getNumVectors() == X.getNumVectors(), comm, PETSC_ERR_ARG_SIZ, "%zu right-hand sides, %zu solutions", B.getNumVectors(), X.getNumVectors());
  PetscCall(MatCreateFromTpetra(A, &mat));
  PetscCall(MatCreateNormal(mat, &normal));
  PetscCall(KSPCreate(comm, &ksp));
  PetscCall(KSPSetOptionsPrefix(ksp, prefix));
  PetscCall(KSPSetOperators(ksp, mat, normal));
  PetscCall(KSPSetType(ksp, type));
  PetscCall(KSPGetPC(ksp, &pc));
  PetscCall(PCSetType(pc, PCNONE));
  PetscCall(KSPSetFromOptions(ksp));
  *reason = KSP_CONVERGED_ITERATING;
  PetscCall(MatCreateVecs(mat, &x, nullptr));
  for (size_t j = 0; j < B.getNumVectors(); ++j) {
    PetscCall(VecCreateFromTpetra(B, j, &b));
    PetscCall(KSPSolve(ksp, b, x));
    PetscCall(KSPGetConvergedReason(ksp, &one));
    *reason = j ? PetscMin(*reason, one) : one;
    PetscCall(VecCopyToTpetra(x, X, j));
    PetscCall(VecDestroy(&b));
  }
  PetscCall(VecDestroy(&x));
  PetscCall(KSPDestroy(&ksp));
  PetscCall(MatDestroy(&normal));
  PetscCall(MatDestroy(&mat));
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace skean
