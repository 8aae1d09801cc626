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

/* 3.21: TaoSetMonitor() renamed */
#if SKEAN_PETSC_GE(3, 21)
  #define SkeanTaoMonitorSet(tao, monitor, ctx, destroy) TaoMonitorSet(tao, monitor, ctx, destroy)
#else
  #define SkeanTaoMonitorSet(tao, monitor, ctx, destroy) TaoSetMonitor(tao, monitor, ctx, destroy)
#endif

/* 3.22: PetscOptionsGetViewer() renamed */
#if SKEAN_PETSC_GE(3, 22)
  #define SkeanOptionsCreateViewer(comm, options, pre, name, viewer, format, set) PetscOptionsCreateViewer(comm, options, pre, name, viewer, format, set)
#else
  #define SkeanOptionsCreateViewer(comm, options, pre, name, viewer, format, set) PetscOptionsGetViewer(comm, options, pre, name, viewer, format, set)
#endif

/*
   3.22: an object remembers the defaults of its type, to which PETSC_DETERMINE returns. For the constructor of a type: another default
   of a parameter in place of the class's (before 3.22 it must be named, and a user's own choice of the same value is not told from it)
*/
#if SKEAN_PETSC_GE(3, 22)
  #define SkeanParameterSetDefault(obj, name, classdefault, value) PetscObjectParameterSetDefault(obj, name, value)
#else
  #define SkeanParameterSetDefault(obj, name, classdefault, value) \
    do {                                                           \
      if ((obj)->name == (classdefault)) (obj)->name = (value);    \
    } while (0)
#endif

/* 3.23: the function that destroys a container's context takes the address of the pointer. C++ only: the context was made by new Type */
#if SKEAN_PETSC_GE(3, 23)
  #define SkeanContainerSetDelete(container, Type)                          \
    PetscContainerSetCtxDestroy(container, [](void **p) -> PetscErrorCode { \
      delete static_cast<Type *>(*p);                                       \
      *p = NULL;                                                            \
      return PETSC_SUCCESS;                                                 \
    })
#else
  #define SkeanContainerSetDelete(container, Type)                          \
    PetscContainerSetUserDestroy(container, [](void *p) -> PetscErrorCode { \
      delete static_cast<Type *>(p);                                        \
      return PETSC_SUCCESS;                                                 \
    })
#endif

/* 3.24: another type of pointer for an operation of any type; void (*)(void) in between, the one that compilers let every function be cast to */
#if SKEAN_PETSC_GE(3, 24)
  #define SkeanMatShellSetOperation(mat, op, f) MatShellSetOperation(mat, op, (PetscErrorCodeFn *)(void (*)(void))(f))
#else
  #define SkeanMatShellSetOperation(mat, op, f) MatShellSetOperation(mat, op, (void (*)(void))(f))
#endif

/* 3.24: the reasons of KSPLSQR renamed */
#if SKEAN_PETSC_GE(3, 24)
  #define SKEAN_KSP_CONVERGED_RTOL_NORMAL KSP_CONVERGED_RTOL_NORMAL_EQUATIONS
  #define SKEAN_KSP_CONVERGED_ATOL_NORMAL KSP_CONVERGED_ATOL_NORMAL_EQUATIONS
#else
  #define SKEAN_KSP_CONVERGED_RTOL_NORMAL KSP_CONVERGED_RTOL_NORMAL
  #define SKEAN_KSP_CONVERGED_ATOL_NORMAL KSP_CONVERGED_ATOL_NORMAL
#endif
