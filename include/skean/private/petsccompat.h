/*
   One source for PETSc 3.18 ... 3.25. Each shim says which version made it necessary; when the oldest supported version passes
   it, delete the shim.
*/
#pragma once

#include <petscversion.h>
#include <petscsys.h>
#include <petscviewer.h>

/* Compares MAJOR and MINOR directly: PETSC_VERSION_GE() is always true in a development snapshot (RELEASE 0) */
#define SKEAN_PETSC_GE(MAJOR, MINOR) (PETSC_VERSION_MAJOR > (MAJOR) || (PETSC_VERSION_MAJOR == (MAJOR) && PETSC_VERSION_MINOR >= (MINOR)))

/* 3.19 */
#if !defined(PETSC_SUCCESS) && !SKEAN_PETSC_GE(3, 19)
  #define PETSC_SUCCESS ((PetscErrorCode)0)
#endif

/* 3.23: PetscOptionItems became the pointer itself */
#if SKEAN_PETSC_GE(3, 23)
typedef PetscOptionItems SkeanOptionItems;
#else
typedef PetscOptionItems *SkeanOptionItems;
#endif

/* 3.22: PetscOptionsGetViewer() renamed */
#if SKEAN_PETSC_GE(3, 22)
  #define SkeanOptionsCreateViewer(comm, options, pre, name, viewer, format, set) PetscOptionsCreateViewer(comm, options, pre, name, viewer, format, set)
  #define SKEAN_CURRENT                                                           PETSC_CURRENT
  #define SKEAN_DETERMINE                                                         PETSC_DETERMINE
#else
  #define SkeanOptionsCreateViewer(comm, options, pre, name, viewer, format, set) PetscOptionsGetViewer(comm, options, pre, name, viewer, format, set)
  #define SKEAN_CURRENT                                                           PETSC_DEFAULT
  #define SKEAN_DETERMINE                                                         PETSC_DEFAULT
#endif
