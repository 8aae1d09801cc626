#pragma once

#include <skeansketch.h>
#include <skean/private/skeanimpl.h>
#include <skean/private/rowblock.hpp>

struct _SkeanSketchOps {
  PetscErrorCode (*setup)(SkeanSketch);
  /* Adds this process's part of S A to SA (m x ncols, column major, leading dimension m, zeroed by the caller); the sum over the
     processes is S A. Must not communicate unless the type says so in its manual page (pooled: one all-to-all; leverage: scores). */
  PetscErrorCode (*applylocal)(SkeanSketch, const skean::RowView *, PetscScalar *);
  PetscErrorCode (*applytensor)(SkeanSketch, PetscInt, const skean::RowView *, PetscScalar *);
  PetscErrorCode (*setfromoptions)(SkeanSketch, SkeanOptionItems);
  PetscErrorCode (*view)(SkeanSketch, PetscViewer);
  PetscErrorCode (*reset)(SkeanSketch);
  PetscErrorCode (*destroy)(SkeanSketch);
};

struct _p_SkeanSketch {
  PETSCHEADER(struct _SkeanSketchOps);
  PetscInt             m, n; /* sizes of S; PETSC_DETERMINE until known */
  SkeanSeed            seed;
  PetscInt             draw; /* 0, 1, ...: which independent sketch of this seed */
  PetscInt             nnz;  /* nonzeros in a column of S (sparse types) */
  PetscInt             bs;   /* rows of a virtual block (Hadamard types); PETSC_DETERMINE: chosen from n alone */
  PetscBool            permute;
  PetscBool            setupcalled;
  SkeanSketchGuarantee guarantee;
  void                *data;
};

/*
   The part of S A of this process's rows, without the sum over the processes: for callers that reduce in their own way
   (reduce-scatter for TSQR, several right-hand sides in one message). SA: m x ncols, column major, overwritten. Collective for the
   types that say so.
*/
SKEAN_INTERN PetscErrorCode SkeanSketchApplyLocal_Private(SkeanSketch sketch, const skean::RowView *A, PetscScalar *SA);
