/* The public functions of PC type sketch; each passes to the method that the type composed, so that other types ignore the setters */
#include <petsc/private/pcimpl.h>
#include <skean/private/skeanimpl.h>
#include <skeanksp.h>

/*@
   PCSketchSetSketch - Sets the sketch

   Collective

   Input Parameters:
+  pc     - the preconditioner context, of type `PCSKETCH`
-  sketch - the sketch, on the communicator of the `PC`; its sizes are set by the preconditioner

   Level: intermediate

   Notes:
   Errors: `PETSC_ERR_ARG_NULL` for a null sketch. Ignored by other types.

.seealso: `PCSKETCH`, `PCSketchGetSketch()`
@*/
PetscErrorCode PCSketchSetSketch(PC pc, SkeanSketch sketch)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pc, PC_CLASSID, 1);
  PetscCheck(sketch, PetscObjectComm((PetscObject)pc), PETSC_ERR_ARG_NULL, "Null sketch");
  PetscTryMethod(pc, "PCSketchSetSketch_C", (PC, SkeanSketch), (pc, sketch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   PCSketchGetSketch - Gets the sketch, to set its type, rows or seed

   Collective

   Input Parameter:
.  pc - the preconditioner context, of type `PCSKETCH`

   Output Parameter:
.  sketch - the sketch, made on first use; not to be destroyed by the caller

   Level: intermediate

   Notes:
   Errors: `PETSC_ERR_SUP` if the `PC` is not of type `PCSKETCH`.

.seealso: `PCSKETCH`, `PCSketchSetSketch()`, `SkeanSketchSetType()`
@*/
PetscErrorCode PCSketchGetSketch(PC pc, SkeanSketch *sketch)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pc, PC_CLASSID, 1);
  PetscCheck(sketch, PetscObjectComm((PetscObject)pc), PETSC_ERR_ARG_NULL, "Null pointer: sketch");
  PetscUseMethod(pc, "PCSketchGetSketch_C", (PC, SkeanSketch *), (pc, sketch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   PCSketchSetRidge - Makes the preconditioner one for A'A + lambda I

   Logically Collective

   Input Parameters:
+  pc     - the preconditioner context, of type `PCSKETCH`
-  lambda - the ridge parameter, non-negative

   Options Database Key:
.  -pc_sketch_ridge <0> - ridge parameter

   Level: intermediate

   Notes:
   The identity block is kept exact, only A is sketched.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` if negative or not finite. Ignored by other types.

.seealso: `PCSKETCH`, `PCSketchGetRidge()`
@*/
PetscErrorCode PCSketchSetRidge(PC pc, PetscReal lambda)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pc, PC_CLASSID, 1);
  PetscTryMethod(pc, "PCSketchSetRidge_C", (PC, PetscReal), (pc, lambda));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   PCSketchGetRidge - Gets the ridge parameter

   Not Collective

   Input Parameter:
.  pc - the preconditioner context, of type `PCSKETCH`

   Output Parameter:
.  lambda - the ridge parameter

   Level: intermediate

   Notes:
   Errors: `PETSC_ERR_SUP` if the `PC` is not of type `PCSKETCH`.

.seealso: `PCSKETCH`, `PCSketchSetRidge()`
@*/
PetscErrorCode PCSketchGetRidge(PC pc, PetscReal *lambda)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pc, PC_CLASSID, 1);
  PetscCheck(lambda, PetscObjectComm((PetscObject)pc), PETSC_ERR_ARG_NULL, "Null pointer: lambda");
  PetscUseMethod(pc, "PCSketchGetRidge_C", (PC, PetscReal *), (pc, lambda));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   PCSketchGetRank - Gets the numerical rank that the sketch shows

   Not Collective

   Input Parameter:
.  pc - the preconditioner context, of type `PCSKETCH`

   Output Parameter:
.  rank - numerical rank of A, columns scaled

   Level: intermediate

   Notes:
   Errors: `PETSC_ERR_ARG_WRONGSTATE` before the set-up; `PETSC_ERR_SUP` if the `PC` is not of type `PCSKETCH`.

.seealso: `PCSKETCH`, `KSPSketchGetRank()`
@*/
PetscErrorCode PCSketchGetRank(PC pc, PetscInt *rank)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pc, PC_CLASSID, 1);
  PetscCheck(rank, PetscObjectComm((PetscObject)pc), PETSC_ERR_ARG_NULL, "Null pointer: rank");
  PetscUseMethod(pc, "PCSketchGetRank_C", (PC, PetscInt *), (pc, rank));
  PetscFunctionReturn(PETSC_SUCCESS);
}
