/*
   What every part of Skean shares: start-up, version, visibility.
   Public headers are C99 and C++; every function returns a PetscErrorCode and is checked with PetscCall().
*/
#pragma once

#include <petscsys.h>
#include <petscvec.h>
#include <petscmat.h>
#include <petscviewer.h>
#include <skeanversion.h>

#if defined(__GNUC__)
  #define SKEAN_VISIBLE __attribute__((visibility("default")))
#else
  #define SKEAN_VISIBLE
#endif
/* Public functions: C linkage, exported. Everything else in the library is hidden. */
#define SKEAN_EXTERN PETSC_EXTERN SKEAN_VISIBLE

/*S
   SkeanSeed - 64-bit seed of a randomised method

   Level: beginner

   Notes:
   Random numbers are counter based: keyed by the seed and the purpose they serve, countered by global indices. A randomised
   result is therefore the same function of its input for any number of processes and any distribution of the rows.

.seealso: `SkeanInitialize()`
S*/
typedef PetscInt64 SkeanSeed;

/* The seed of every class until the user sets one; printed by the viewers */
#define SKEAN_DEFAULT_SEED ((SkeanSeed)20260101)

SKEAN_EXTERN PetscErrorCode SkeanInitialize(int *argc, char ***argv, const char file[], const char help[]);
SKEAN_EXTERN PetscErrorCode SkeanInitialized(PetscBool *initialized);
SKEAN_EXTERN PetscErrorCode SkeanFinalize(void);
SKEAN_EXTERN PetscErrorCode SkeanInitializePackage(void);
SKEAN_EXTERN PetscErrorCode SkeanFinalizePackage(void);
SKEAN_EXTERN PetscErrorCode SkeanGetVersion(char version[], size_t len);
SKEAN_EXTERN PetscErrorCode SkeanGetVersionNumber(PetscInt *major, PetscInt *minor, PetscInt *subminor);
SKEAN_EXTERN PetscErrorCode SkeanWarnSlowBLAS(MPI_Comm comm);
