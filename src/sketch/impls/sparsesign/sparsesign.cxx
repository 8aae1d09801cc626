/*
   Sparse sign embedding: each column of S has zeta entries +-1/sqrt(zeta) in distinct rows. Cost 2 zeta nnz(A), one sum of m d numbers. The default:
   cheapest on sparse and dense matrices alike. Fails (rank lost, intervals wrong) with few nonzeros on spiky matrices; 8 are safe for m >= 2 d in practice.
*/
#include <skean/private/sketchimpl.h> /*I "skeansketch.h" I*/
#include "../kernels/sparse.hpp"

static PetscErrorCode SkeanSketchSetUp_SparseSign(SkeanSketch sketch)
{
  PetscFunctionBegin;
  PetscCheck(sketch->m < PETSC_MAX_INT / 2 && static_cast<PetscInt64>(sketch->m) < (PetscInt64(1) << 30), PetscObjectComm((PetscObject)sketch),
             PETSC_ERR_ARG_OUTOFRANGE, "Sketch type sparsesign needs fewer than 2^30 rows, has %" PetscInt_FMT, sketch->m);
  sketch->nnzused = sketch->nnz == PETSC_DETERMINE ? PetscMin(8, sketch->m) : sketch->nnz;
  PetscCheck(sketch->nnzused <= sketch->m, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE,
             "Sketch type sparsesign cannot place %" PetscInt_FMT " nonzeros in distinct rows of %" PetscInt_FMT, sketch->nnzused, sketch->m);
  sketch->guarantee = sketch->nnzused >= 8 ? SKEAN_SKETCH_GUARANTEE_APPROXIMATE : SKEAN_SKETCH_GUARANTEE_NONE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanSketchApplyLocal_SparseSign(SkeanSketch sketch, const skean::RowView *A, PetscScalar *SA)
{
  PetscFunctionBegin;
  PetscCallCXX(skean::SparseSketchApply(skean::SparseHash(sketch->seed, static_cast<std::uint32_t>(sketch->draw), static_cast<std::uint32_t>(sketch->m),
                                                          static_cast<std::uint32_t>(sketch->nnzused), false),
                                        *A, SA));
  PetscCall(PetscLogFlops(static_cast<PetscLogDouble>(sketch->nnzused) * static_cast<PetscLogDouble>(A->Entries())));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanSketchView_SparseSign(SkeanSketch sketch, PetscViewer viewer)
{
  PetscFunctionBegin;
  if (sketch->setupcalled) PetscCall(PetscViewerASCIIPrintf(viewer, "nonzeros in a column: %" PetscInt_FMT ", in distinct rows\n", sketch->nnzused));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   SKEANSKETCHSPARSESIGN - "sparsesign": a fixed number of random signs in distinct rows of each column of S (the default type)

   Options Database Key:
.  -sketch_nnz <zeta> - nonzeros in each column (min(8, m))

   Level: beginner

   Notes:
   1. Column j of S has zeta entries +-1/sqrt(zeta) in zeta distinct rows, both drawn from (seed, draw, j).
   2. Each process adds its rows of A, with their signs, to the rows of S A; one sum of m d numbers over the processes.

   Cost: 2 zeta d flops per row of a dense A, 2 zeta nnz for a sparse A. Dense A: panels of 8 columns, the hashes of a block of rows computed once and
   sorted by target row. Sparse A: entries sorted into tiles of columns so that the scattered adds stay in cache. Memory: one more m x d array.

   Rows needed: m = O(d log d/eta^2) with zeta = O(log d/eta) in theory; m from 2 d to 12 d with zeta = 8 in practice.

   When not to use it: with zeta = 1 or 2 (see countsketch) on matrices with few heavy rows; where exact error intervals are wanted (gaussian).

   Source: J. Nelson and H. L. Nguyen, OSNAP, FOCS 2013, section 3; default parameters of E. N. Epperly, M. Meier and Y. Nakatsukasa,
   Fast randomized least-squares solvers can be just as accurate and stable as classical direct solvers, arXiv 2406.03468.

.seealso: `SkeanSketchSetNonzeros()`, `SKEANSKETCHSPARSESTACK`, `SkeanSketchType`
M*/
SKEAN_INTERN PetscErrorCode SkeanSketchCreate_SparseSign(SkeanSketch sketch);
PetscErrorCode              SkeanSketchCreate_SparseSign(SkeanSketch sketch)
{
  PetscFunctionBegin;
  sketch->ops->setup      = SkeanSketchSetUp_SparseSign;
  sketch->ops->applylocal = SkeanSketchApplyLocal_SparseSign;
  sketch->ops->view       = SkeanSketchView_SparseSign;
  PetscFunctionReturn(PETSC_SUCCESS);
}
