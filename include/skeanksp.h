/* Types of PETSc's KSP and PC that Skean provides: sketched least squares */
#pragma once

#include <petscksp.h>
#include <skeansketch.h>

#define KSPSKETCH "sketch"
#define PCSKETCH  "sketch"

/*E
   KSPSketchMethod - How `KSPSKETCH` solves a least-squares problem

   Values:
+  `KSP_SKETCH_AUTO`           - the cheapest of the following by the cost model
.  `KSP_SKETCH_ITERATIVE`      - sketch, then an iteration preconditioned by the sketch's triangular factor
.  `KSP_SKETCH_CQRRT`          - sketch, then Cholesky QR of the preconditioned matrix
.  `KSP_SKETCH_CHOLQR`         - Cholesky factor of A'A as the preconditioner; only for moderate condition numbers
.  `KSP_SKETCH_TSQR`           - tall-skinny Householder QR
-  `KSP_SKETCH_SKETCHANDSOLVE` - the solution of the sketched problem: one pass over A, low accuracy

   Level: intermediate

   Note:
   All but the last are followed by refinement with fresh residuals until the backward error is at the level asked for.

.seealso: `KSPSketchSetMethod()`, `KSPSKETCH`
E*/
typedef enum {
  KSP_SKETCH_AUTO           = 0,
  KSP_SKETCH_ITERATIVE      = 1,
  KSP_SKETCH_CQRRT          = 2,
  KSP_SKETCH_CHOLQR         = 3,
  KSP_SKETCH_TSQR           = 4,
  KSP_SKETCH_SKETCHANDSOLVE = 5
} KSPSketchMethod;
SKEAN_EXTERN const char *const KSPSketchMethods[];

/*E
   KSPSketchInner - The inner iteration of `KSPSKETCH`

   Values:
+  `KSP_SKETCH_CG`        - conjugate gradients (SPIR)
.  `KSP_SKETCH_HEAVYBALL` - heavy ball with the momentum that the sketch's sizes give (FOSSILS)
-  `KSP_SKETCH_LSQR`      - Golub-Kahan bidiagonalisation

   Level: intermediate

.seealso: `KSPSketchSetInner()`, `KSPSKETCH`
E*/
typedef enum { KSP_SKETCH_CG = 0, KSP_SKETCH_HEAVYBALL = 1, KSP_SKETCH_LSQR = 2 } KSPSketchInner;
SKEAN_EXTERN const char *const KSPSketchInners[];

/*E
   KSPSketchExtraPrecise - When `KSPSKETCH` refines its solution with residuals in twofold precision

   Values:
+  `KSP_SKETCH_EXTRA_PRECISE_AUTO` - where the problem is ill-conditioned and the cost is a fraction of the solve
.  `KSP_SKETCH_EXTRA_PRECISE_YES`  - always, until the solution is right to working precision or gains nothing
-  `KSP_SKETCH_EXTRA_PRECISE_NO`   - never

   Level: intermediate

.seealso: `KSPSketchSetExtraPrecise()`, `KSPSKETCH`
E*/
typedef enum { KSP_SKETCH_EXTRA_PRECISE_AUTO = 0, KSP_SKETCH_EXTRA_PRECISE_YES = 1, KSP_SKETCH_EXTRA_PRECISE_NO = 2 } KSPSketchExtraPrecise;
SKEAN_EXTERN const char *const KSPSketchExtraPreciseTypes[];

SKEAN_EXTERN PetscErrorCode KSPSketchSetMethod(KSP ksp, KSPSketchMethod method);
SKEAN_EXTERN PetscErrorCode KSPSketchGetMethod(KSP ksp, KSPSketchMethod *method);
SKEAN_EXTERN PetscErrorCode KSPSketchGetMethodUsed(KSP ksp, KSPSketchMethod *method);
SKEAN_EXTERN PetscErrorCode KSPSketchSetInner(KSP ksp, KSPSketchInner inner);
SKEAN_EXTERN PetscErrorCode KSPSketchGetInner(KSP ksp, KSPSketchInner *inner);
SKEAN_EXTERN PetscErrorCode KSPSketchSetRefine(KSP ksp, PetscInt refine);
SKEAN_EXTERN PetscErrorCode KSPSketchGetRefine(KSP ksp, PetscInt *refine);
SKEAN_EXTERN PetscErrorCode KSPSketchSetExtraPrecise(KSP ksp, KSPSketchExtraPrecise precise);
SKEAN_EXTERN PetscErrorCode KSPSketchGetExtraPrecise(KSP ksp, KSPSketchExtraPrecise *precise);
SKEAN_EXTERN PetscErrorCode KSPSketchSetScale(KSP ksp, PetscBool scale);
SKEAN_EXTERN PetscErrorCode KSPSketchGetScale(KSP ksp, PetscBool *scale);
SKEAN_EXTERN PetscErrorCode KSPSketchSetRidge(KSP ksp, PetscReal lambda);
SKEAN_EXTERN PetscErrorCode KSPSketchGetRidge(KSP ksp, PetscReal *lambda);
SKEAN_EXTERN PetscErrorCode KSPSketchSolveRidgePath(KSP ksp, Vec b, PetscInt n, const PetscReal lambda[], Mat X);
SKEAN_EXTERN PetscErrorCode KSPSketchSetWeights(KSP ksp, Vec weights);
SKEAN_EXTERN PetscErrorCode KSPSketchSetConstraints(KSP ksp, Mat C, Vec e);
SKEAN_EXTERN PetscErrorCode KSPSketchSetSketch(KSP ksp, SkeanSketch sketch);
SKEAN_EXTERN PetscErrorCode KSPSketchGetSketch(KSP ksp, SkeanSketch *sketch);
SKEAN_EXTERN PetscErrorCode KSPSketchSetErrorBounds(KSP ksp, PetscReal delta);
SKEAN_EXTERN PetscErrorCode KSPSketchGetErrorBounds(KSP ksp, Vec bounds, PetscReal *delta);
SKEAN_EXTERN PetscErrorCode KSPSketchGetColumnReasons(KSP ksp, PetscInt *n, const KSPConvergedReason *reasons[]);
SKEAN_EXTERN PetscErrorCode KSPSketchGetBackwardError(KSP ksp, PetscReal *error);
SKEAN_EXTERN PetscErrorCode KSPSketchGetRank(KSP ksp, PetscInt *rank);
SKEAN_EXTERN PetscErrorCode KSPSketchGetCondition(KSP ksp, PetscReal *condition);
SKEAN_EXTERN PetscErrorCode KSPSketchGetTimes(KSP ksp, PetscLogDouble *setup, PetscLogDouble *solve);

SKEAN_EXTERN PetscErrorCode PCSketchSetSketch(PC pc, SkeanSketch sketch);
SKEAN_EXTERN PetscErrorCode PCSketchGetSketch(PC pc, SkeanSketch *sketch);
SKEAN_EXTERN PetscErrorCode PCSketchSetRidge(PC pc, PetscReal lambda);
SKEAN_EXTERN PetscErrorCode PCSketchGetRidge(PC pc, PetscReal *lambda);
SKEAN_EXTERN PetscErrorCode PCSketchGetRank(PC pc, PetscInt *rank);
