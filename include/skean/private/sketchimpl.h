#pragma once

#include <skeansketch.h>
#include <skean/private/skeanimpl.h>
#include <skean/private/rowblock.hpp>

struct _SkeanSketchOps {
  PetscErrorCode (*setup)(SkeanSketch);
  /* Draws what depends on the matrix to be sketched (leverage: the sampled rows). Collective. NULL for the oblivious types. */
  PetscErrorCode (*prepare)(SkeanSketch, const skean::RowView *);
  /* Adds this process's part of S A to SA (m x ncols, column major, leading dimension m, zeroed by the caller); the sum over the
     processes is S A. Does not communicate. */
  PetscErrorCode (*applylocal)(SkeanSketch, const skean::RowView *, PetscScalar *);
  /* Writes all of S A; the factors are whole on every process. Does not communicate. */
  PetscErrorCode (*applytensor)(SkeanSketch, PetscInt, const skean::RowView *, PetscScalar *);
  PetscErrorCode (*setfromoptions)(SkeanSketch, SkeanOptionItems);
  PetscErrorCode (*view)(SkeanSketch, PetscViewer);
  PetscErrorCode (*reset)(SkeanSketch);
  PetscErrorCode (*destroy)(SkeanSketch);
};

struct _p_SkeanSketch {
  PETSCHEADER(struct _SkeanSketchOps);
  PetscInt             m, n;   /* sizes of S; PETSC_DETERMINE until known */
  PetscBool            mauto;  /* m was not given: SkeanSketchSetSizesFromMat() takes it from factor */
  PetscReal            factor; /* m = min(ceil(factor * d), n) when m was not given */
  SkeanSeed            seed;
  PetscInt             draw;    /* 0, 1, ...: which independent sketch of this seed */
  PetscInt             nnz;     /* nonzeros in a column of S as asked for (sparse types); PETSC_DETERMINE: the type's own choice */
  PetscInt             nnzused; /* and as used, after SetUp */
  PetscInt             bs;      /* rows of a virtual block as asked for (Hadamard types); PETSC_DETERMINE: chosen from n (and m) alone */
  PetscInt             bsused;  /* and as used, after SetUp */
  PetscBool            permute;
  PetscBool            kronecker; /* tensor types: all pairs of columns instead of equal columns */
  PetscBool            setupcalled;
  PetscBool            prepared; /* the type's prepare() was called and nothing changed since */
  SkeanSketchGuarantee guarantee;
  void                *data;
};

SKEAN_INTERN PetscLogEvent SKEAN_SketchSetUp, SKEAN_SketchApply;

/*
   The part of S A of this process's rows, without the sum over the processes: for callers that reduce in their own way
   (reduce-scatter for TSQR, several right-hand sides in one message). SA: m x ncols, column major, overwritten.
   Not collective, except that a type whose S depends on the data (leverage) must have been prepared before, by
   SkeanSketchPrepare_Private() or SkeanSketchApply().
*/
SKEAN_INTERN PetscErrorCode SkeanSketchApplyLocal_Private(SkeanSketch sketch, const skean::RowView *A, PetscScalar *SA);
/* Collective for types whose S depends on the data (leverage), nothing for the others: draws S for this matrix */
SKEAN_INTERN PetscErrorCode SkeanSketchPrepare_Private(SkeanSketch sketch, const skean::RowView *A);
SKEAN_INTERN PetscErrorCode SkeanSketchRegisterAll_Private(void);
/* Every setter ends here: what depends on the changed parameter is made again at the next SetUp */
#define SkeanSketchChanged_Private(sketch) ((void)((sketch)->setupcalled = (sketch)->prepared = PETSC_FALSE))
