/* Parameters and options of a SkeanSketch */
#include <skean/private/sketchimpl.h>
#include <cstdlib>

extern PetscFunctionList SkeanSketchList;

/*@
   SkeanSketchSetFactor - Rows of S as a multiple of the columns of the matrix

   Logically Collective

   Input Parameters:
+  sketch - the sketch
-  factor - rows of S per column of A, positive (default 12)

   Options Database Key:
.  -sketch_factor <factor> - see `SkeanSketchSetSizesFromMat()`

   Level: intermediate

   Notes:
   Used by `SkeanSketchSetSizesFromMat()` when the number of rows was not given. The iteration count of sketch-preconditioned LSQR or CG
   falls like 1/ln(factor): about 93, 47 and 26 steps for 14 digits at factors 2, 4 and 12.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE`.

.seealso: `SkeanSketchGetFactor()`, `SkeanSketchSetFromOptions()`
@*/
PetscErrorCode SkeanSketchSetFactor(SkeanSketch sketch, PetscReal factor)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(factor > 0, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE, "Factor must be positive, is %g", (double)factor);
  if (sketch->factor != factor) SkeanSketchChanged_Private(sketch);
  sketch->factor = factor;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchGetFactor - What `SkeanSketchSetFactor()` set

   Not Collective

   Input Parameter:
.  sketch - the sketch

   Output Parameter:
.  factor - rows of S per column of A, positive (default 12)

   Level: intermediate

.seealso: `SkeanSketchSetFactor()`
@*/
PetscErrorCode SkeanSketchGetFactor(SkeanSketch sketch, PetscReal *factor)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(factor, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: factor");
  *factor = sketch->factor;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchSetSeed - Sets the seed of the random numbers

   Logically Collective

   Input Parameters:
+  sketch - the sketch
-  seed - any 64-bit integer (default `SKEAN_DEFAULT_SEED`)

   Options Database Key:
.  -sketch_seed <seed> - 64-bit integer

   Level: intermediate

   Notes:
   Equal seeds give equal sketches on any number of processes. Must be the same on every process.

.seealso: `SkeanSketchGetSeed()`, `SkeanSketchSetFromOptions()`
@*/
PetscErrorCode SkeanSketchSetSeed(SkeanSketch sketch, SkeanSeed seed)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  if (sketch->seed != seed) SkeanSketchChanged_Private(sketch);
  sketch->seed = seed;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchGetSeed - What `SkeanSketchSetSeed()` set

   Not Collective

   Input Parameter:
.  sketch - the sketch

   Output Parameter:
.  seed - any 64-bit integer (default `SKEAN_DEFAULT_SEED`)

   Level: intermediate

.seealso: `SkeanSketchSetSeed()`
@*/
PetscErrorCode SkeanSketchGetSeed(SkeanSketch sketch, SkeanSeed *seed)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(seed, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: seed");
  *seed = sketch->seed;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchSetDraw - Chooses one of the independent sketches of the same seed

   Logically Collective

   Input Parameters:
+  sketch - the sketch
-  draw - 0 (default), 1, 2, ...

   Options Database Key:
.  -sketch_draw <draw> - 0, 1, 2, ...

   Level: intermediate

   Notes:
   For a fresh sketch after a failure (a singular S A), or for repeated experiments, without a new seed.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE`.

.seealso: `SkeanSketchGetDraw()`, `SkeanSketchSetFromOptions()`
@*/
PetscErrorCode SkeanSketchSetDraw(SkeanSketch sketch, PetscInt draw)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(draw >= 0, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE, "Draw must be non-negative, is %" PetscInt_FMT, draw);
  if (sketch->draw != draw) SkeanSketchChanged_Private(sketch);
  sketch->draw = draw;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchGetDraw - What `SkeanSketchSetDraw()` set

   Not Collective

   Input Parameter:
.  sketch - the sketch

   Output Parameter:
.  draw - 0 (default), 1, 2, ...

   Level: intermediate

.seealso: `SkeanSketchSetDraw()`
@*/
PetscErrorCode SkeanSketchGetDraw(SkeanSketch sketch, PetscInt *draw)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(draw, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: draw");
  *draw = sketch->draw;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchSetNonzeros - Nonzeros in each column of a sparse sketch

   Logically Collective

   Input Parameters:
+  sketch - the sketch
-  nnz - positive, or `PETSC_DETERMINE` for the type's own choice, min(8, m)

   Options Database Key:
.  -sketch_nnz <nnz> - nonzeros in each column of a sparse sketch

   Level: intermediate

   Notes:
   Used by types sparsesign and sparsestack. The cost of an application grows with it; 8 makes the embedding reliable for m from 2 d
   to 12 d, 1 is a CountSketch.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE`.

.seealso: `SkeanSketchGetNonzeros()`, `SkeanSketchSetFromOptions()`
@*/
PetscErrorCode SkeanSketchSetNonzeros(SkeanSketch sketch, PetscInt nnz)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(nnz == PETSC_DETERMINE || nnz > 0, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE,
             "Number of nonzeros in a column must be positive or PETSC_DETERMINE, is %" PetscInt_FMT, nnz);
  if (sketch->nnz != nnz) SkeanSketchChanged_Private(sketch);
  sketch->nnz = nnz;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchGetNonzeros - What `SkeanSketchSetNonzeros()` set, or after `SkeanSketchSetUp()` what is used

   Not Collective

   Input Parameter:
.  sketch - the sketch

   Output Parameter:
.  nnz - positive, or `PETSC_DETERMINE` for the type's own choice, min(8, m)

   Level: intermediate

.seealso: `SkeanSketchSetNonzeros()`
@*/
PetscErrorCode SkeanSketchGetNonzeros(SkeanSketch sketch, PetscInt *nnz)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(nnz, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: nnz");
  *nnz = sketch->setupcalled && sketch->nnzused ? sketch->nnzused : sketch->nnz;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchSetBlockSize - Rows of a virtual block of a transform

   Logically Collective

   Input Parameters:
+  sketch - the sketch
-  bs - positive, or `PETSC_DETERMINE` to choose it from the sizes of S alone

   Options Database Key:
.  -sketch_block_size <bs> - rows of a virtual block

   Level: intermediate

   Notes:
   Used by types srht, srct, blocksrht and pooled; for all but srct it must be a power of two. It is part of the definition of S: another block size is
   another sketch. The automatic choice makes a panel of 8 columns of a block fit into a cache, and never looks at the number of processes.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE`.

.seealso: `SkeanSketchGetBlockSize()`, `SkeanSketchSetFromOptions()`
@*/
PetscErrorCode SkeanSketchSetBlockSize(SkeanSketch sketch, PetscInt bs)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(bs == PETSC_DETERMINE || bs > 0, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE,
             "Block size must be positive or PETSC_DETERMINE, is %" PetscInt_FMT, bs);
  if (sketch->bs != bs) SkeanSketchChanged_Private(sketch);
  sketch->bs = bs;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchGetBlockSize - What `SkeanSketchSetBlockSize()` set, or after `SkeanSketchSetUp()` what is used

   Not Collective

   Input Parameter:
.  sketch - the sketch

   Output Parameter:
.  bs - positive, or `PETSC_DETERMINE` to choose it from the sizes of S alone

   Level: intermediate

.seealso: `SkeanSketchSetBlockSize()`
@*/
PetscErrorCode SkeanSketchGetBlockSize(SkeanSketch sketch, PetscInt *bs)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(bs, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: bs");
  *bs = sketch->setupcalled && sketch->bsused ? sketch->bsused : sketch->bs;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchSetPermute - Whether a transform permutes the rows inside each virtual block

   Logically Collective

   Input Parameters:
+  sketch - the sketch
-  permute - `PETSC_TRUE` (default) or `PETSC_FALSE` for the plain transform

   Options Database Key:
.  -sketch_permute <bool> - permute the rows inside each virtual block

   Level: intermediate

   Notes:
   Used by types srht, srct and blocksrht. The plain Hadamard transform sees only few different rows of a matrix such as [I; 0]
   and gives a singular S A in most draws when m = 2 d; the permutation costs one shuffle of each block and removes that. It needs no communication.

.seealso: `SkeanSketchGetPermute()`, `SkeanSketchSetFromOptions()`
@*/
PetscErrorCode SkeanSketchSetPermute(SkeanSketch sketch, PetscBool permute)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  if (sketch->permute != permute) SkeanSketchChanged_Private(sketch);
  sketch->permute = permute;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchGetPermute - What `SkeanSketchSetPermute()` set

   Not Collective

   Input Parameter:
.  sketch - the sketch

   Output Parameter:
.  permute - `PETSC_TRUE` (default) or `PETSC_FALSE` for the plain transform

   Level: intermediate

.seealso: `SkeanSketchSetPermute()`
@*/
PetscErrorCode SkeanSketchGetPermute(SkeanSketch sketch, PetscBool *permute)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(permute, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: permute");
  *permute = sketch->permute;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchSetKronecker - Which product of its factors a tensor sketch is applied to

   Logically Collective

   Input Parameters:
+  sketch - the sketch
-  kronecker - `PETSC_TRUE`: Kronecker product, `PETSC_FALSE` (default): Khatri-Rao product

   Options Database Key:
.  -sketch_kronecker <bool> - Kronecker product instead of Khatri-Rao product

   Level: intermediate

   Notes:
   Used by `SkeanSketchApplyTensor()`.

.seealso: `SkeanSketchGetKronecker()`, `SkeanSketchSetFromOptions()`
@*/
PetscErrorCode SkeanSketchSetKronecker(SkeanSketch sketch, PetscBool kronecker)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  if (sketch->kronecker != kronecker) SkeanSketchChanged_Private(sketch);
  sketch->kronecker = kronecker;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchGetKronecker - What `SkeanSketchSetKronecker()` set

   Not Collective

   Input Parameter:
.  sketch - the sketch

   Output Parameter:
.  kronecker - `PETSC_TRUE`: Kronecker product, `PETSC_FALSE` (default): Khatri-Rao product

   Level: intermediate

.seealso: `SkeanSketchSetKronecker()`
@*/
PetscErrorCode SkeanSketchGetKronecker(SkeanSketch sketch, PetscBool *kronecker)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(kronecker, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: kronecker");
  *kronecker = sketch->kronecker;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanSketchSetOptionsPrefix - Sets the prefix of the sketch's options

   Logically Collective

   Input Parameters:
+  sketch - the sketch
-  prefix - the prefix, without the leading hyphen, or NULL for none

   Level: advanced

.seealso: `SkeanSketchAppendOptionsPrefix()`, `SkeanSketchGetOptionsPrefix()`, `SkeanSketchSetFromOptions()`
@*/
PetscErrorCode SkeanSketchSetOptionsPrefix(SkeanSketch sketch, const char prefix[])
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCall(PetscObjectSetOptionsPrefix((PetscObject)sketch, prefix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanSketchAppendOptionsPrefix - Appends to the prefix of the sketch's options

   Logically Collective

   Input Parameters:
+  sketch - the sketch
-  prefix - the text to append

   Level: advanced

.seealso: `SkeanSketchSetOptionsPrefix()`
@*/
PetscErrorCode SkeanSketchAppendOptionsPrefix(SkeanSketch sketch, const char prefix[])
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCall(PetscObjectAppendOptionsPrefix((PetscObject)sketch, prefix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanSketchGetOptionsPrefix - The prefix of the sketch's options

   Not Collective

   Input Parameter:
.  sketch - the sketch

   Output Parameter:
.  prefix - the prefix, NULL if none; owned by the sketch

   Level: advanced

.seealso: `SkeanSketchSetOptionsPrefix()`
@*/
PetscErrorCode SkeanSketchGetOptionsPrefix(SkeanSketch sketch, const char *prefix[])
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscCheck(prefix, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: prefix");
  PetscCall(PetscObjectGetOptionsPrefix((PetscObject)sketch, prefix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanSketchSetFromOptions - Takes the sketch's type and parameters from the options database

   Collective

   Input Parameter:
.  sketch - the sketch

   Options Database Keys:
+  -sketch_type <type>       - `SkeanSketchType`
.  -sketch_rows <m>          - rows of S
.  -sketch_factor <factor>   - rows of S per column of A, if the rows are not given (12)
.  -sketch_seed <seed>       - 64-bit seed
.  -sketch_draw <draw>       - which of the seed's independent sketches (0)
.  -sketch_nnz <nnz>         - nonzeros in a column of S, sparsesign and sparsestack (8)
.  -sketch_block_size <bs>   - rows of a virtual block: srht, srct, blocksrht, pooled
.  -sketch_permute <bool>    - permute the rows inside each virtual block: srht, srct, blocksrht (true)
.  -sketch_kronecker <bool>  - Kronecker product instead of Khatri-Rao product: tensorsrht, tensorsketch (false)
-  -sketch_view              - view the sketch after its first application

   Level: beginner

   Errors: those of the setters; `PETSC_ERR_ARG_WRONG` for a seed that is not an integer.

.seealso: `SkeanSketchSetOptionsPrefix()`, `SkeanSketchSetType()`
@*/
PetscErrorCode SkeanSketchSetFromOptions(SkeanSketch sketch)
{
  char        type[256], value[64];
  const char *def;
  PetscInt    m, i;
  PetscReal   r;
  PetscBool   set, b;

  PetscFunctionBegin;
  PetscValidHeaderSpecific(sketch, SKEAN_SKETCH_CLASSID, 1);
  PetscObjectOptionsBegin((PetscObject)sketch);
  def = ((PetscObject)sketch)->type_name ? ((PetscObject)sketch)->type_name : SKEANSKETCHSPARSESIGN;
  PetscCall(PetscOptionsFList("-sketch_type", "Distribution of the sketch", "SkeanSketchSetType", SkeanSketchList, def, type, sizeof(type), &set));
  PetscCall(SkeanSketchSetType(sketch, set ? type : def));
  m = sketch->m;
  PetscCall(PetscOptionsInt("-sketch_rows", "Rows of the sketch", "SkeanSketchSetSizes", m, &m, &set));
  if (set) PetscCall(SkeanSketchSetSizes(sketch, m, sketch->n));
  r = sketch->factor;
  PetscCall(PetscOptionsReal("-sketch_factor", "Rows of the sketch per column of the matrix", "SkeanSketchSetFactor", r, &r, &set));
  if (set) PetscCall(SkeanSketchSetFactor(sketch, r));
  PetscCall(PetscSNPrintf(value, sizeof(value), "%" PetscInt64_FMT, sketch->seed));
  PetscCall(PetscOptionsString("-sketch_seed", "Seed of the random numbers (64 bit)", "SkeanSketchSetSeed", value, value, sizeof(value), &set));
  if (set) {
    char           *end;
    const long long seed = strtoll(value, &end, 0);
    PetscCheck(*value && !*end, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_WRONG, "-sketch_seed: '%s' is not an integer", value);
    PetscCall(SkeanSketchSetSeed(sketch, (SkeanSeed)seed));
  }
  i = sketch->draw;
  PetscCall(PetscOptionsInt("-sketch_draw", "Which of the seed's independent sketches", "SkeanSketchSetDraw", i, &i, &set));
  if (set) PetscCall(SkeanSketchSetDraw(sketch, i));
  i = sketch->nnz;
  PetscCall(PetscOptionsInt("-sketch_nnz", "Nonzeros in a column of a sparse sketch", "SkeanSketchSetNonzeros", i, &i, &set));
  if (set) PetscCall(SkeanSketchSetNonzeros(sketch, i));
  i = sketch->bs;
  PetscCall(PetscOptionsInt("-sketch_block_size", "Rows of a virtual block", "SkeanSketchSetBlockSize", i, &i, &set));
  if (set) PetscCall(SkeanSketchSetBlockSize(sketch, i));
  b = sketch->permute;
  PetscCall(PetscOptionsBool("-sketch_permute", "Permute the rows inside each virtual block", "SkeanSketchSetPermute", b, &b, &set));
  if (set) PetscCall(SkeanSketchSetPermute(sketch, b));
  b = sketch->kronecker;
  PetscCall(PetscOptionsBool("-sketch_kronecker", "Kronecker product of the factors", "SkeanSketchSetKronecker", b, &b, &set));
  if (set) PetscCall(SkeanSketchSetKronecker(sketch, b));
  PetscCall(PetscOptionsName("-sketch_view", "View the sketch after its first application", "SkeanSketchView", &set));
  PetscTryTypeMethod(sketch, setfromoptions, PetscOptionsObject);
  PetscOptionsEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}
