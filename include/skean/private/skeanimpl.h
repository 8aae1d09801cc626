/*
   Included by every source file of Skean: PETSc's private object header, the compatibility shims, and the few helpers that all
   parts use. The reductions are in reduce.hpp, the random numbers in random.hpp.
*/
#pragma once

#include <skean/private/petsccompat.h>
#include <petsc/private/petscimpl.h>
#include <skeansys.h>

/* Shared between the source files of the library, not exported */
#if defined(__cplusplus)
  #define SKEAN_INTERN extern "C" __attribute__((visibility("hidden")))
#else
  #define SKEAN_INTERN extern __attribute__((visibility("hidden")))
#endif

/* Initialises SLEPc at first need (never at load: SlepcInitialize() inside -dll_append recurses without end) and remembers who did */
SKEAN_INTERN PetscErrorCode SkeanSlepcBegin_Private(void);

/*
   The parts of the package. Each provides Skean<Part>InitializePackage_Private(), which registers its class id, types and
   events and does nothing else: no communication, no object. One list, used to declare and to call, so that they cannot drift.
*/
// clang-format off
#define SKEAN_PACKAGES(X) \
  X(IO) \
  X(Sketch) \
  X(KSP) \
  X(PC) \
  X(Kron) \
  X(GP) \
  X(GPPDE) \
  X(Transport)
// clang-format on

#define SKEAN_PACKAGE_DECLARE(part) SKEAN_INTERN PetscErrorCode Skean##part##InitializePackage_Private(void);
SKEAN_PACKAGES(SKEAN_PACKAGE_DECLARE)
#undef SKEAN_PACKAGE_DECLARE

/*
   Several machine versions of one kernel, chosen at load time; the caller sees one function.
   Only for free functions on raw arrays, in a .cxx file.
*/
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && !defined(SKEAN_NO_MULTIVERSION)
  #define SKEAN_MULTIVERSION      __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
  #define SKEAN_HAVE_MULTIVERSION 1
#else
  #define SKEAN_MULTIVERSION
#endif
#define SKEAN_RESTRICT __restrict__
