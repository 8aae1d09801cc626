/* Viewing a SkeanSketch, and what it promises */
#include <skean/private/sketchimpl.h>

/*@C
   SkeanSketchView - Prints type, sizes, seed and parameters of a sketch

   Collective

   Input Parameters:
+  sketch - the sketch
-  viewer - an ASCII viewer, or NULL for the standard output of the sketch's communicator

   Options Database Key:
.  -sketch_view - view the sketch after its first application

   Level: beginner

   Notes:
   Other viewers print nothing. The parameters printed make the same S again.

.seealso: `SkeanSketchViewFromOptions()`
@*/
PetscErrorCode SkeanSketchView(SkeanSketch sketch, PetscViewer viewer)
{
  static const char *const guarantees[] = {"none", "approximate", "exact"};
  PetscBool                ascii;

  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  if (!viewer) PetscCall(PetscViewerASCIIGetStdout(PetscObjectComm((PetscObject)sketch), &viewer));
  PetscCall(PetscObjectTypeCompare((PetscObject)viewer, PETSCVIEWERASCII, &ascii));
  if (!ascii) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscObjectPrintClassNamePrefixType((PetscObject)sketch, viewer));
  PetscCall(PetscViewerASCIIPushTab(viewer));
  if (sketch->m == PETSC_DETERMINE)
    PetscCall(PetscViewerASCIIPrintf(viewer, "rows: %g per column of the matrix\n", (double)sketch->factor));
  else
    PetscCall(PetscViewerASCIIPrintf(viewer, "rows: %" PetscInt_FMT "\n", sketch->m));
  if (sketch->n == PETSC_DETERMINE)
    PetscCall(PetscViewerASCIIPrintf(viewer, "columns: not known yet\n"));
  else
    PetscCall(PetscViewerASCIIPrintf(viewer, "columns: %" PetscInt_FMT "\n", sketch->n));
  PetscCall(PetscViewerASCIIPrintf(viewer, "seed: %" PetscInt64_FMT ", draw: %" PetscInt_FMT "\n", sketch->seed, sketch->draw));
  PetscTryTypeMethod(sketch, view, viewer);
  if (sketch->setupcalled)
    PetscCall(PetscViewerASCIIPrintf(viewer, "guarantee for each coordinate of a sketch-and-solve solution: %s\n", guarantees[sketch->guarantee]));
  PetscCall(PetscViewerASCIIPopTab(viewer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanSketchViewFromOptions - Views a sketch if an option asks for it

   Collective

   Input Parameters:
+  sketch - the sketch
.  obj    - object whose prefix the option has, or NULL for the sketch's own
-  name   - the option

   Level: intermediate

.seealso: `SkeanSketchView()`
@*/
PetscErrorCode SkeanSketchViewFromOptions(SkeanSketch sketch, PetscObject obj, const char name[])
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCall(PetscObjectViewFromOptions((PetscObject)sketch, obj, name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchGetGuarantee - What is known about the coordinates of a solution computed from this sketch

   Not Collective

   Input Parameter:
.  sketch - the sketch, after `SkeanSketchSetUp()`

   Output Parameter:
.  guarantee - `SkeanSketchGuarantee`

   Level: advanced

   Notes:
   With x' = argmin |S(Ax - b)|, x* = argmin |Ax - b|, S A = Q R and s = |S(b - A x')|/sqrt(m - d), the ratio (x'_j - x*_j)/(s |R^-T e_j|) follows Student's t law
   with m - d degrees of freedom exactly for type gaussian, whatever A and b are, because S U and S r are independent when U'r = 0. It does
   approximately for pooled, srht, srct, blocksrht, and sparsesign or sparsestack with at least 8 nonzeros. It does not for countsketch, for fewer nonzeros, for leverage
   sampling (Price, Song & Woodruff, ICALP 2017, give a counterexample), and nothing is claimed for the tensor types.

   Errors: `PETSC_ERR_ORDER` before the set-up.

.seealso: `SkeanSketchGuarantee`, `SkeanSketchSetUp()`
@*/
PetscErrorCode SkeanSketchGetGuarantee(SkeanSketch sketch, SkeanSketchGuarantee *guarantee)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(guarantee, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: guarantee");
  PetscCheck(sketch->setupcalled, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ORDER, "Call SkeanSketchSetUp() first");
  *guarantee = sketch->guarantee;
  PetscFunctionReturn(PETSC_SUCCESS);
}
