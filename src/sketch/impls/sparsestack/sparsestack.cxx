/*
   SparseStack: zeta CountSketches with m/zeta rows each, one above the other. As sparsesign without the search for distinct rows; proved to be an injection
   for m proportional to d with zeta proportional to log d. Cost 2 zeta nnz(A), one sum of m d numbers.
*/
#include <skean/private/sketchimpl.h> /*I "skeansketch.h" I*/
#include "../kernels/sparse.hpp"

static PetscErrorCode SkeanSketchSetUp_SparseStack(SkeanSketch sketch)
{
  PetscFunctionBegin;
  PetscCheck(static_cast<PetscInt64>(sketch->m) < (PetscInt64(1) << 30), PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE,
             "Sketch type sparsestack needs fewer than 2^30 rows, has %" PetscInt_FMT, sketch->m);
  sketch->nnzused = sketch->nnz == PETSC_DETERMINE ? PetscMin(8, sketch->m) : sketch->nnz;
  PetscCheck(sketch->nnzused <= sketch->m, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE,
             "Sketch type sparsestack cannot stack %" PetscInt_FMT " CountSketches in %" PetscInt_FMT " rows", sketch->nnzused, sketch->m);
  sketch->guarantee = sketch->nnzused >= 8 ? SKEAN_SKETCH_GUARANTEE_APPROXIMATE : SKEAN_SKETCH_GUARANTEE_NONE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanSketchApplyLocal_SparseStack(SkeanSketch sketch, const skean::RowView *A, PetscScalar *SA)
{
  PetscFunctionBegin;
  PetscCallCXX(skean::SparseSketchApply(skean::SparseHash(sketch->seed, static_cast<std::uint32_t>(sketch->draw), static_cast<std::uint32_t>(sketch->m),
                                                          static_cast<std::uint32_t>(sketch->nnzused), true),
                                        *A, SA));
  PetscCall(PetscLogFlops(static_cast<PetscLogDouble>(sketch->nnzused) * static_cast<PetscLogDouble>(A->Entries())));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanSketchView_SparseStack(SkeanSketch sketch, PetscViewer viewer)
{
  PetscFunctionBegin;
  if (sketch->setupcalled) PetscCall(PetscViewerASCIIPrintf(viewer, "nonzeros in a column: %" PetscInt_FMT ", one in each piece\n", sketch->nnzused));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   SKEANSKETCHSPARSESTACK - "sparsestack": a stack of independent CountSketches

   Options Database Key:
.  -sketch_nnz <zeta> - number of CountSketches (min(8, m))

   Level: beginner

   Notes:
   1. Piece k of S holds rows floor(k m/zeta) ... floor((k+1) m/zeta) - 1; column j has one entry +-1/sqrt(zeta) in each piece, drawn from (seed, draw, j).
   2. Each process adds its rows of A to the rows of S A; one sum of m d numbers over the processes.

   Cost and memory: as sparsesign, with cheaper hashes. Rows needed: an injection is proved for m proportional to d and zeta proportional to log d; zeta = 4 with m about 2 d works in
   practice.

   When not to use it: with zeta = 1 (countsketch). The guarantee is approximate from zeta = 8 on and none below: with zeta = 4 the simultaneous intervals fell to 0.89 of a nominal 0.99
   on spiky matrices.

   Source: C. Camano, E. N. Epperly, R. A. Meyer and J. A. Tropp, arXiv 2508.21189, section 2.

.seealso: `SkeanSketchSetNonzeros()`, `SKEANSKETCHSPARSESIGN`, `SkeanSketchType`
M*/
SKEAN_INTERN PetscErrorCode SkeanSketchCreate_SparseStack(SkeanSketch sketch);
PetscErrorCode              SkeanSketchCreate_SparseStack(SkeanSketch sketch)
{
  PetscFunctionBegin;
  sketch->ops->setup      = SkeanSketchSetUp_SparseStack;
  sketch->ops->applylocal = SkeanSketchApplyLocal_SparseStack;
  sketch->ops->view       = SkeanSketchView_SparseStack;
  PetscFunctionReturn(PETSC_SUCCESS);
}
