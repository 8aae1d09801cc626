/* Random sketches: S A for a tall matrix A, with S m x n and m far below n */
#pragma once

#include <skeansys.h>

/*S
   SkeanSketch - A random matrix S with m rows and n columns, E(S'S) = I, applied to the n rows of a matrix or vector

   Level: beginner

   Notes:
   S is a function of the seed, of m and n alone: S A is the same for every number of processes and every distribution of the rows
   (to rounding, at most 1e-14 relative). Applying S moves one m x d sum, whatever n is.

.seealso: `SkeanSketchCreate()`, `SkeanSketchType`, `SkeanSketchApply()`
S*/
typedef struct _p_SkeanSketch *SkeanSketch;

/*J
   SkeanSketchType - The distribution a `SkeanSketch` is drawn from

   Values:
+  `SKEANSKETCHGAUSSIAN`    - independent N(0,1/m) entries
.  `SKEANSKETCHSRHT`        - subsampled randomized Hadamard transform
.  `SKEANSKETCHSRCT`        - subsampled randomized cosine transform
.  `SKEANSKETCHSPARSESIGN`  - a fixed number of signs in distinct rows of each column (the default)
.  `SKEANSKETCHSPARSESTACK` - a stack of independent CountSketches
.  `SKEANSKETCHCOUNTSKETCH` - one sign in each column
.  `SKEANSKETCHLEVERAGE`    - rows sampled by their leverage scores
.  `SKEANSKETCHBLOCKSRHT`   - one SRHT in each block of rows
.  `SKEANSKETCHPOOLED`      - balanced Gaussian pooling after a Hadamard transform
.  `SKEANSKETCHTENSORSRHT`  - SRHT of rows that are tensor products
-  `SKEANSKETCHTENSORSKETCH` - TensorSketch of rows that are tensor products

   Level: beginner

.seealso: `SkeanSketchSetType()`, `SkeanSketch`
J*/
typedef const char *SkeanSketchType;
#define SKEANSKETCHGAUSSIAN     "gaussian"
#define SKEANSKETCHSRHT         "srht"
#define SKEANSKETCHSRCT         "srct"
#define SKEANSKETCHSPARSESIGN   "sparsesign"
#define SKEANSKETCHSPARSESTACK  "sparsestack"
#define SKEANSKETCHCOUNTSKETCH  "countsketch"
#define SKEANSKETCHLEVERAGE     "leverage"
#define SKEANSKETCHBLOCKSRHT    "blocksrht"
#define SKEANSKETCHPOOLED       "pooled"
#define SKEANSKETCHTENSORSRHT   "tensorsrht"
#define SKEANSKETCHTENSORSKETCH "tensorsketch"

/*E
   SkeanSketchGuarantee - What is known about the coordinates of a sketch-and-solve solution

   Values:
+  `SKEAN_SKETCH_GUARANTEE_NONE`        - nothing: a per-coordinate interval must not be offered
.  `SKEAN_SKETCH_GUARANTEE_APPROXIMATE` - Student-t intervals hold approximately
-  `SKEAN_SKETCH_GUARANTEE_EXACT`       - Student-t intervals hold with exactly the stated probability

   Level: advanced

.seealso: `SkeanSketchGetGuarantee()`
E*/
typedef enum { SKEAN_SKETCH_GUARANTEE_NONE = 0, SKEAN_SKETCH_GUARANTEE_APPROXIMATE = 1, SKEAN_SKETCH_GUARANTEE_EXACT = 2 } SkeanSketchGuarantee;

SKEAN_EXTERN PetscClassId SKEAN_SKETCH_CLASSID;

SKEAN_EXTERN PetscErrorCode SkeanSketchCreate(MPI_Comm comm, SkeanSketch *sketch);
SKEAN_EXTERN PetscErrorCode SkeanSketchDestroy(SkeanSketch *sketch);
SKEAN_EXTERN PetscErrorCode SkeanSketchReset(SkeanSketch sketch);
SKEAN_EXTERN PetscErrorCode SkeanSketchSetType(SkeanSketch sketch, SkeanSketchType type);
SKEAN_EXTERN PetscErrorCode SkeanSketchGetType(SkeanSketch sketch, SkeanSketchType *type);
SKEAN_EXTERN PetscErrorCode SkeanSketchRegister(const char name[], PetscErrorCode (*create)(SkeanSketch));
SKEAN_EXTERN PetscErrorCode SkeanSketchSetOptionsPrefix(SkeanSketch sketch, const char prefix[]);
SKEAN_EXTERN PetscErrorCode SkeanSketchAppendOptionsPrefix(SkeanSketch sketch, const char prefix[]);
SKEAN_EXTERN PetscErrorCode SkeanSketchGetOptionsPrefix(SkeanSketch sketch, const char *prefix[]);
SKEAN_EXTERN PetscErrorCode SkeanSketchSetFromOptions(SkeanSketch sketch);
/* m: rows of S, n: columns of S (rows of what it is applied to); PETSC_DETERMINE for m lets -sketch_rows or the factor decide */
SKEAN_EXTERN PetscErrorCode SkeanSketchSetSizes(SkeanSketch sketch, PetscInt m, PetscInt n);
/* n = rows of A; m = min(ceil(factor * columns of A), n) unless m was given */
SKEAN_EXTERN PetscErrorCode SkeanSketchSetSizesFromMat(SkeanSketch sketch, Mat A);
SKEAN_EXTERN PetscErrorCode SkeanSketchSetFactor(SkeanSketch sketch, PetscReal factor);
SKEAN_EXTERN PetscErrorCode SkeanSketchGetFactor(SkeanSketch sketch, PetscReal *factor);
SKEAN_EXTERN PetscErrorCode SkeanSketchGetSizes(SkeanSketch sketch, PetscInt *m, PetscInt *n);
SKEAN_EXTERN PetscErrorCode SkeanSketchSetSeed(SkeanSketch sketch, SkeanSeed seed);
SKEAN_EXTERN PetscErrorCode SkeanSketchGetSeed(SkeanSketch sketch, SkeanSeed *seed);
/* draw 0, 1, 2, ...: fresh independent sketches of the same seed (redraw after a failure) */
SKEAN_EXTERN PetscErrorCode SkeanSketchSetDraw(SkeanSketch sketch, PetscInt draw);
SKEAN_EXTERN PetscErrorCode SkeanSketchGetDraw(SkeanSketch sketch, PetscInt *draw);
SKEAN_EXTERN PetscErrorCode SkeanSketchSetNonzeros(SkeanSketch sketch, PetscInt nnz);
SKEAN_EXTERN PetscErrorCode SkeanSketchGetNonzeros(SkeanSketch sketch, PetscInt *nnz);
SKEAN_EXTERN PetscErrorCode SkeanSketchSetBlockSize(SkeanSketch sketch, PetscInt bs);
SKEAN_EXTERN PetscErrorCode SkeanSketchGetBlockSize(SkeanSketch sketch, PetscInt *bs);
SKEAN_EXTERN PetscErrorCode SkeanSketchSetPermute(SkeanSketch sketch, PetscBool permute);
SKEAN_EXTERN PetscErrorCode SkeanSketchGetPermute(SkeanSketch sketch, PetscBool *permute);
/* tensor types: the columns of A are all products of columns of the factors (PETSC_TRUE), or of equal columns (PETSC_FALSE, the default) */
SKEAN_EXTERN PetscErrorCode SkeanSketchSetKronecker(SkeanSketch sketch, PetscBool kronecker);
SKEAN_EXTERN PetscErrorCode SkeanSketchGetKronecker(SkeanSketch sketch, PetscBool *kronecker);
SKEAN_EXTERN PetscErrorCode SkeanSketchSetUp(SkeanSketch sketch);
/* SA is m x d, column major with leading dimension m, allocated by the caller, the same on every process */
SKEAN_EXTERN PetscErrorCode SkeanSketchApply(SkeanSketch sketch, Mat A, PetscScalar SA[]);
SKEAN_EXTERN PetscErrorCode SkeanSketchApplyVec(SkeanSketch sketch, Vec b, PetscScalar Sb[]);
/* A = the Khatri-Rao (or Kronecker) product of the given sequential dense factors, never formed; SA as for SkeanSketchApply() */
SKEAN_EXTERN PetscErrorCode SkeanSketchApplyTensor(SkeanSketch sketch, PetscInt nfactors, Mat factors[], PetscScalar SA[]);
SKEAN_EXTERN PetscErrorCode SkeanSketchGetGuarantee(SkeanSketch sketch, SkeanSketchGuarantee *guarantee);
SKEAN_EXTERN PetscErrorCode SkeanSketchView(SkeanSketch sketch, PetscViewer viewer);
SKEAN_EXTERN PetscErrorCode SkeanSketchViewFromOptions(SkeanSketch sketch, PetscObject obj, const char name[]);
