#include "blocktype.hpp"

PetscErrorCode SkeanSketchReset_Block(SkeanSketch sketch)
{
  PetscFunctionBegin;
  delete static_cast<skean::BlockSketch *>(sketch->data);
  sketch->data = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanSketchApplyLocal_Block(SkeanSketch sketch, const skean::RowView *A, PetscScalar *SA)
{
  skean::BlockSketch *blocks = static_cast<skean::BlockSketch *>(sketch->data);

  PetscFunctionBegin;
  PetscCallCXX(skean::BlockSketchApply(*blocks, *A, SA));
  PetscCall(PetscLogFlops(static_cast<PetscLogDouble>(A->nrows) * A->ncols * blocks->FlopsPerEntry()));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSketchViewBlockSize_Private(SkeanSketch sketch, PetscViewer viewer)
{
  PetscFunctionBegin;
  if (sketch->setupcalled) PetscCall(PetscViewerASCIIPrintf(viewer, "virtual blocks of %" PetscInt_FMT " rows\n", sketch->bsused));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanSketchView_Block(SkeanSketch sketch, PetscViewer viewer)
{
  PetscFunctionBegin;
  PetscCall(PetscViewerASCIIPrintf(viewer, "rows %s inside each virtual block\n", sketch->permute ? "permuted" : "not permuted"));
  PetscCall(SkeanSketchViewBlockSize_Private(sketch, viewer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSketchCheckBlockSize_Private(SkeanSketch sketch, std::uint64_t b)
{
  PetscFunctionBegin;
  PetscCheck((b & (b - 1)) == 0, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE,
             "Sketch type %s needs a block size that is a power of two, not %" PetscInt64_FMT, ((PetscObject)sketch)->type_name, static_cast<PetscInt64>(b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSketchSetBlockOps_Private(SkeanSketch sketch, PetscErrorCode (*setup)(SkeanSketch))
{
  PetscFunctionBegin;
  sketch->ops->setup      = setup;
  sketch->ops->applylocal = SkeanSketchApplyLocal_Block;
  sketch->ops->view       = SkeanSketchView_Block;
  sketch->ops->reset      = SkeanSketchReset_Block;
  sketch->ops->destroy    = SkeanSketchReset_Block;
  PetscFunctionReturn(PETSC_SUCCESS);
}
