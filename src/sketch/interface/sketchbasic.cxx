/* Life cycle and type of a SkeanSketch */
#include <skean/private/sketchimpl.h>
#include <skean/private/typelist.hpp>

extern PetscFunctionList SkeanSketchList;

/*@
   SkeanSketchCreate - Creates a random sketch

   Collective

   Input Parameter:
.  comm - the communicator of the matrices to be sketched

   Output Parameter:
.  sketch - the new sketch

   Level: beginner

   Notes:
   No type is set; `SkeanSketchSetFromOptions()` or `SkeanSketchSetUp()` take `SKEANSKETCHSPARSESIGN` if none is chosen.

   Errors: `PETSC_ERR_ARG_NULL`.

.seealso: `SkeanSketchSetType()`, `SkeanSketchSetSizes()`, `SkeanSketchApply()`, `SkeanSketchDestroy()`
@*/
PetscErrorCode SkeanSketchCreate(MPI_Comm comm, SkeanSketch *sketch)
{
  SkeanSketch s;

  PetscFunctionBegin;
  PetscCheck(sketch, comm, PETSC_ERR_ARG_NULL, "Null pointer: sketch");
  *sketch = NULL;
  PetscCall(SkeanInitializePackage());
  PetscCall(PetscHeaderCreate(s, SKEAN_SKETCH_CLASSID, "SkeanSketch", "Random sketch", "Sketch", comm, SkeanSketchDestroy, SkeanSketchView));
  s->m = s->n    = PETSC_DETERMINE;
  s->mauto       = PETSC_TRUE;
  s->factor      = 12.0;
  s->seed        = SKEAN_DEFAULT_SEED;
  s->draw        = 0;
  s->nnz         = PETSC_DETERMINE;
  s->nnzused     = 0;
  s->bs          = PETSC_DETERMINE;
  s->bsused      = 0;
  s->permute     = PETSC_TRUE;
  s->kronecker   = PETSC_FALSE;
  s->setupcalled = s->prepared = PETSC_FALSE;
  s->guarantee                 = SKEAN_SKETCH_GUARANTEE_NONE;
  s->data                      = NULL;
  *sketch                      = s;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchReset - Frees what `SkeanSketchSetUp()` and the last application made, and forgets the sizes

   Collective

   Input Parameter:
.  sketch - the sketch

   Level: intermediate

   Notes:
   Type, seed, draw and all other parameters stay. For type `SKEANSKETCHLEVERAGE` the sampled rows are forgotten.

.seealso: `SkeanSketchSetSizes()`, `SkeanSketchSetUp()`, `SkeanSketchDestroy()`
@*/
PetscErrorCode SkeanSketchReset(SkeanSketch sketch)
{
  PetscFunctionBegin;
  if (!sketch) PetscFunctionReturn(PETSC_SUCCESS);
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscTryTypeMethod(sketch, reset);
  sketch->n = PETSC_DETERMINE;
  if (sketch->mauto) sketch->m = PETSC_DETERMINE;
  SkeanSketchChanged_Private(sketch);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanSketchDestroy - Destroys a sketch

   Collective

   Input Parameter:
.  sketch - the sketch, set to NULL

   Level: beginner

.seealso: `SkeanSketchCreate()`
@*/
PetscErrorCode SkeanSketchDestroy(SkeanSketch *sketch)
{
  PetscFunctionBegin;
  if (!sketch || !*sketch) PetscFunctionReturn(PETSC_SUCCESS);
  PetscValidHeaderSpecific(*sketch, SKEAN_SKETCH_CLASSID, 1);
  if (--((PetscObject)(*sketch))->refct > 0) {
    *sketch = NULL;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscTryTypeMethod(*sketch, destroy);
  PetscCall(PetscHeaderDestroy(sketch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanSketchSetType - Chooses the distribution of the sketch

   Logically Collective

   Input Parameters:
+  sketch - the sketch
-  type   - one of `SkeanSketchType`

   Options Database Key:
.  -sketch_type <type> - gaussian, srht, srct, sparsesign (default), sparsestack, countsketch, leverage, blocksrht, pooled, tensorsrht, tensorsketch

   Level: beginner

   Notes:
   Sizes, seed and the other parameters stay as they are; what a type does not use it ignores.

   Errors: `PETSC_ERR_ARG_UNKNOWN_TYPE`.

.seealso: `SkeanSketchType`, `SkeanSketchGetType()`, `SkeanSketchRegister()`
@*/
PetscErrorCode SkeanSketchSetType(SkeanSketch sketch, SkeanSketchType type)
{
  PetscErrorCode (*create)(SkeanSketch) = NULL;
  PetscBool same;

  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(type, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_NULL, "Null pointer: type");
  PetscCall(PetscObjectTypeCompare((PetscObject)sketch, type, &same));
  if (same) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFunctionListFind(SkeanSketchList, type, &create));
  if (!create) PetscCall(skean::UnknownType(PetscObjectComm((PetscObject)sketch), "sketch", type, SkeanSketchList));
  PetscTryTypeMethod(sketch, destroy);
  sketch->data = NULL;
  PetscCall(PetscMemzero(sketch->ops, sizeof(struct _SkeanSketchOps)));
  sketch->guarantee = SKEAN_SKETCH_GUARANTEE_NONE;
  sketch->nnzused = sketch->bsused = 0;
  SkeanSketchChanged_Private(sketch);
  PetscCall(PetscObjectChangeTypeName((PetscObject)sketch, type));
  PetscCall((*create)(sketch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanSketchGetType - The distribution of the sketch

   Not Collective

   Input Parameter:
.  sketch - the sketch

   Output Parameter:
.  type - its type, NULL if none was set

   Level: beginner

.seealso: `SkeanSketchSetType()`
@*/
PetscErrorCode SkeanSketchGetType(SkeanSketch sketch, SkeanSketchType *type)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(type, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: type");
  *type = ((PetscObject)sketch)->type_name;
  PetscFunctionReturn(PETSC_SUCCESS);
}
