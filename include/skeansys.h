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

/*E
   SkeanConvergedReason - Why a Skean solver stopped; one list for all classes

   Values:
+  `SKEAN_CONVERGED_RTOL`            - the true error measure fell below rtol relative to the data
.  `SKEAN_CONVERGED_ATOL`            - the true error measure fell below atol
.  `SKEAN_CONVERGED_ITS`             - the number of steps asked for was made, no test was asked for
.  `SKEAN_CONVERGED_USER`            - the user's own test said so
.  `SKEAN_CONVERGED_TRIVIAL`         - there was nothing to do (zero right-hand side, exact start)
.  `SKEAN_DIVERGED_ITS`              - max_it reached
.  `SKEAN_DIVERGED_DTOL`             - the error measure grew beyond the divergence tolerance
.  `SKEAN_DIVERGED_BREAKDOWN`        - the method cannot go on
.  `SKEAN_DIVERGED_NANORINF`         - NaN or Inf met
.  `SKEAN_DIVERGED_STAGNATION`       - the error measure no longer falls although rounding would allow it
.  `SKEAN_DIVERGED_ROUNDING_FLOOR`   - rounding errors forbid the tolerance asked for
.  `SKEAN_DIVERGED_INFEASIBLE`       - the problem has no solution
.  `SKEAN_DIVERGED_LINEAR_SOLVE`     - an inner linear solve failed
.  `SKEAN_DIVERGED_LINE_SEARCH`      - no acceptable step was found
.  `SKEAN_DIVERGED_INTERRUPTED`      - a signal asked to stop; the state is in the checkpoint
-  `SKEAN_CONVERGED_ITERATING`       - still running

   Level: beginner

   Notes:
   Positive: converged. Negative: not converged, which is no error unless asked for with -<class>_error_if_not_converged.

.seealso: `SkeanInitialize()`
E*/
typedef enum {
  SKEAN_CONVERGED_RTOL          = 2,
  SKEAN_CONVERGED_ATOL          = 3,
  SKEAN_CONVERGED_ITS           = 4,
  SKEAN_CONVERGED_USER          = 5,
  SKEAN_CONVERGED_TRIVIAL       = 6,
  SKEAN_CONVERGED_ITERATING     = 0,
  SKEAN_DIVERGED_ITS            = -3,
  SKEAN_DIVERGED_DTOL           = -4,
  SKEAN_DIVERGED_BREAKDOWN      = -5,
  SKEAN_DIVERGED_NANORINF       = -6,
  SKEAN_DIVERGED_STAGNATION     = -7,
  SKEAN_DIVERGED_ROUNDING_FLOOR = -8,
  SKEAN_DIVERGED_INFEASIBLE     = -9,
  SKEAN_DIVERGED_LINEAR_SOLVE   = -10,
  SKEAN_DIVERGED_LINE_SEARCH    = -11,
  SKEAN_DIVERGED_INTERRUPTED    = -12
} SkeanConvergedReason;
/* Indexed by the reason, negative too */
SKEAN_EXTERN const char *const *SkeanConvergedReasons;

SKEAN_EXTERN PetscErrorCode SkeanInitialize(int *argc, char ***argv, const char file[], const char help[]);
SKEAN_EXTERN PetscErrorCode SkeanInitialized(PetscBool *initialized);
SKEAN_EXTERN PetscErrorCode SkeanFinalize(void);
SKEAN_EXTERN PetscErrorCode SkeanInitializePackage(void);
SKEAN_EXTERN PetscErrorCode SkeanFinalizePackage(void);
SKEAN_EXTERN PetscErrorCode SkeanGetVersion(char version[], size_t len);
SKEAN_EXTERN PetscErrorCode SkeanGetVersionNumber(PetscInt *major, PetscInt *minor, PetscInt *subminor);
SKEAN_EXTERN PetscErrorCode SkeanWarnSlowBLAS(MPI_Comm comm);
