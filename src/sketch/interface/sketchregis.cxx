/* Registration of the class, its types and its events */
#include <skean/private/sketchimpl.h>
#include <type_traits>

static_assert(std::is_standard_layout<_p_SkeanSketch>::value, "a PetscObject");

PetscClassId             SKEAN_SKETCH_CLASSID;
PetscLogEvent            SKEAN_SketchSetUp, SKEAN_SketchApply;
extern PetscFunctionList SkeanSketchList;
PetscFunctionList        SkeanSketchList = NULL;

#define SKEAN_SKETCH_TYPE(name, suffix) SKEAN_INTERN PetscErrorCode SkeanSketchCreate_##suffix(SkeanSketch);
#include "sketchtypes.h"
#undef SKEAN_SKETCH_TYPE

static PetscErrorCode SkeanSketchFinalizePackage_Private(void)
{
  PetscFunctionBegin;
  PetscCall(PetscFunctionListDestroy(&SkeanSketchList));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSketchRegisterAll_Private(void)
{
  PetscFunctionBegin;
#define SKEAN_SKETCH_TYPE(name, suffix) PetscCall(PetscFunctionListAdd(&SkeanSketchList, name, SkeanSketchCreate_##suffix));
#include "sketchtypes.h"
#undef SKEAN_SKETCH_TYPE
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSketchInitializePackage_Private(void)
{
  PetscFunctionBegin;
  PetscCall(PetscClassIdRegister("Skean Sketch", &SKEAN_SKETCH_CLASSID));
  PetscCall(SkeanSketchRegisterAll_Private());
  PetscCall(PetscLogEventRegister("SkeanSketchSetUp", SKEAN_SKETCH_CLASSID, &SKEAN_SketchSetUp));
  PetscCall(PetscLogEventRegister("SkeanSketchApply", SKEAN_SKETCH_CLASSID, &SKEAN_SketchApply));
  PetscCall(PetscRegisterFinalize(SkeanSketchFinalizePackage_Private));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanSketchRegister - Adds a type of sketch

   Not Collective

   Input Parameters:
+  name   - name of the type, for `SkeanSketchSetType()` and `-sketch_type`
-  create - function that fills in the type's operations

   Level: advanced

   Notes:
   The operations are in include/skean/private/sketchimpl.h. A type must draw its random numbers by global row indices, so that S A does
   not depend on the distribution of the rows. Registering a name again replaces the type.

   Errors: `PETSC_ERR_ARG_NULL` for a null name or function.

.seealso: `SkeanSketchSetType()`, `SkeanSketchType`
@*/
PetscErrorCode SkeanSketchRegister(const char name[], PetscErrorCode (*create)(SkeanSketch))
{
  PetscFunctionBegin;
  PetscCheck(name && create, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null name or function");
  PetscCall(SkeanInitializePackage());
  PetscCall(PetscFunctionListAdd(&SkeanSketchList, name, create));
  PetscFunctionReturn(PETSC_SUCCESS);
}
