/*
   This process's rows of a distributed matrix, read in place: the one way in which the sketches and the least-squares kernels look
   at a Mat. No copy for MATAIJ and MATDENSE; other types that convert to MATAIJ are converted once.
*/
#pragma once

#include <skean/private/skeanimpl.h>
#include <petscmat.h>
#include <vector>

namespace skean {

/*
   Rows [rstart, rstart + nrows) of an nglobal x ncols matrix, as raw arrays.

   The rows of a MATNEST are stored in PETSc's order, process by process, in which the vectors are, but which depends on the number of processes.
   What is keyed by rows goes through Runs(): the rows by their numbers in the matrix of the blocks below one another.
*/
struct RowView {
  PetscInt rstart  = 0; /* global index of the first row */
  PetscInt nrows   = 0; /* rows on this process */
  PetscInt nglobal = 0; /* rows of the matrix */
  PetscInt ncols   = 0; /* columns of the matrix (d) */
  /* dense: a[i + j*lda], column major; NULL if sparse */
  const PetscScalar *dense = nullptr;
  PetscInt           lda   = 0;
  /* sparse: up to two CSR parts with the same rows; the global column of part p's entry k is map ? map[j[k]] : offset + j[k] */
  struct Csr {
    const PetscInt    *i = nullptr, *j = nullptr;
    const PetscScalar *a      = nullptr;
    PetscInt           offset = 0;
    const PetscInt    *map    = nullptr;
    PetscInt           ncols  = 0; /* j is below ncols */
    PetscInt           Column(PetscInt k) const noexcept { return map ? map[j[k]] : offset + j[k]; }
  } part[2];
  int nparts = 0;
  /* stored rows local, ..., local + count - 1 are rows global, ..., of the matrix, all in the same block of rows */
  struct Run {
    PetscInt local, global, count, block;
  };
  const Run *run     = nullptr; /* ascending in global; NULL: one run */
  PetscInt   nruns   = 0;
  PetscInt   nblocks = 1; /* the same on every process */

  PetscInt Runs() const noexcept { return run ? nruns : 1; }
  Run      GetRun(PetscInt r) const noexcept { return run ? run[r] : Run{0, rstart, nrows, 0}; }
  RowView  RowsOf(const Run &rows) const noexcept
  {
    RowView v = *this;
    v.rstart  = rows.global;
    v.nrows   = rows.count;
    v.run     = nullptr;
    v.nblocks = 1;
    if (dense) v.dense += rows.local;
    for (int p = 0; p < nparts; ++p) v.part[p].i += rows.local;
    return v;
  }
  bool IsDense() const noexcept { return nparts == 0; }
  /* stored entries on this process */
  PetscCount Entries() const noexcept
  {
    PetscCount n = 0;
    if (IsDense()) return static_cast<PetscCount>(nrows) * ncols;
    for (int p = 0; p < nparts; ++p) n += part[p].i[nrows] - part[p].i[0];
    return n;
  }
};

/* Holds a matrix open for reading. Not copyable; Restore() before the matrix is written to again. */
class RowBlock {
public:
  RowBlock()                            = default;
  RowBlock(const RowBlock &)            = delete;
  RowBlock &operator=(const RowBlock &) = delete;
  /* Collective (a conversion may communicate). Errors: PETSC_ERR_SUP, with the type named, for matrices whose rows cannot be read */
  PetscErrorCode Open(Mat A);
  PetscErrorCode OpenVec(Vec b); /* an n x 1 dense block */
  /* Collective */
  PetscErrorCode Restore();
  const RowView &View() const noexcept { return view; }

private:
  RowView                   view;
  std::vector<RowView::Run> runs;
  Mat                       mat  = nullptr; /* the matrix, or its converted copy; referenced */
  Mat                       diag = nullptr, off = nullptr;
  Vec                       vec   = nullptr;
  const PetscScalar        *array = nullptr, *adiag = nullptr, *aoff = nullptr;
};

} // namespace skean
