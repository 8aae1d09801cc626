/*
   Start-up. SkeanInitializePackage() is the only function that registers anything; every entry point ends in it:
   SkeanInitialize(), each Create() and Register(), and PetscDLLibraryRegister_skean() for -dll_append.
*/
#include <skean/private/skeanimpl.h>
#include <slepcsys.h>
#include <cstdio>
#include <dlfcn.h>

static PetscBool SkeanPackageInitialized = PETSC_FALSE;
static PetscBool SkeanBeganPetsc         = PETSC_FALSE;
static PetscBool SkeanBeganSlepc         = PETSC_FALSE;

/*
   A plug-in built for another scalar type, index size or minor version gives no error of its own, only wrong numbers.
   Everything here is asked of the PETSc that is running and compared with the one this file was compiled for.
*/
static PetscErrorCode SkeanCheckPetsc_Private(void)
{
  PetscDataType scalar;
  PetscBool     known;
  union {
    PetscInt  value[2];
    long long wide[2];
    int       narrow[4];
  } probe;

  PetscFunctionBegin;
  PetscCall(PetscDataTypeFromString("scalar", &scalar, &known));
  PetscCheck(known && scalar == PETSC_SCALAR, PETSC_COMM_SELF, PETSC_ERR_SUP_SYS,
             "Skean was built for PETSc with real double scalars, the running PETSc has another scalar type");
  /* how many bytes does the running library write into a PetscInt? */
  probe.wide[0] = probe.wide[1] = -1;
  PetscCall(PetscGetVersionNumber(&probe.value[0], NULL, NULL, NULL));
  const bool runs64 = probe.narrow[1] != -1, built64 = sizeof(PetscInt) == 8;
  PetscCheck(runs64 == built64, PETSC_COMM_SELF, PETSC_ERR_SUP_SYS, "Skean was built for %d-bit indices, the running PETSc has %d-bit indices",
             built64 ? 64 : 32, runs64 ? 64 : 32);
  PetscInt major, minor;
  PetscCall(PetscGetVersionNumber(&major, &minor, NULL, NULL));
  PetscCheck(major == PETSC_VERSION_MAJOR && minor == PETSC_VERSION_MINOR, PETSC_COMM_SELF, PETSC_ERR_SUP_SYS,
             "Skean was built with PETSc %d.%d, the running PETSc is %d.%d; rebuild Skean, PETSc's internal structures change with every minor version",
             PETSC_VERSION_MAJOR, PETSC_VERSION_MINOR, (int)major, (int)minor);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanInitializePackage - Registers everything Skean provides: its classes, its `KSP`, `PC` and `Mat` types and its log events

   Not Collective

   Level: developer

   Notes:
   Makes no communication, creates no object and does not touch SLEPc. Called by `SkeanInitialize()`, by every creation routine,
   and when the library is loaded with `-dll_append`; calling it again does nothing.

   Errors: `PETSC_ERR_SUP_SYS` if the running PETSc has another scalar type, index size or minor version than the one Skean was built with.

.seealso: `SkeanInitialize()`, `SkeanFinalizePackage()`
@*/
PetscErrorCode SkeanInitializePackage(void)
{
  PetscFunctionBegin;
  if (SkeanPackageInitialized) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(SkeanCheckPetsc_Private());
  SkeanPackageInitialized = PETSC_TRUE;
#define SKEAN_PACKAGE_CALL(part) PetscCall(Skean##part##InitializePackage_Private());
  SKEAN_PACKAGES(SKEAN_PACKAGE_CALL)
#undef SKEAN_PACKAGE_CALL
  PetscCall(PetscRegisterFinalize(SkeanFinalizePackage));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanFinalizePackage - Forgets what `SkeanInitializePackage()` registered

   Not Collective

   Level: developer

   Notes:
   Called by `PetscFinalize()`, so that PETSc and Skean can be initialised again in the same process.

.seealso: `SkeanInitializePackage()`, `SkeanFinalize()`
@*/
PetscErrorCode SkeanFinalizePackage(void)
{
  PetscFunctionBegin;
  SkeanPackageInitialized = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanInitialize - Initialises Skean, and PETSc if it is not yet initialised

   Collective on `MPI_COMM_WORLD` or `PETSC_COMM_WORLD`

   Input Parameters:
+  argc - number of command line arguments, or NULL
.  argv - the command line arguments, or NULL
.  file - name of an options file, or NULL
-  help - help message printed with `-help`, or NULL

   Level: beginner

   Notes:
   A program that creates a Skean object need not call it: every creation routine registers the package. It is needed for
   Skean's `KSP`, `PC` and `Mat` types to be known before any Skean object exists.

   Errors: those of `PetscInitialize()` and `SkeanInitializePackage()`.

.seealso: `SkeanFinalize()`, `SkeanInitialized()`, `SkeanInitializePackage()`
@*/
PetscErrorCode SkeanInitialize(int *argc, char ***argv, const char file[], const char help[])
{
  PetscBool up;

  PetscFunctionBegin;
  PetscCall(PetscInitialized(&up));
  if (!up) {
    PetscCall(PetscInitialize(argc, argv, file, help));
    SkeanBeganPetsc = PETSC_TRUE;
  }
  PetscCall(SkeanInitializePackage());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanInitialized - Whether Skean's classes and types are registered

   Not Collective

   Output Parameter:
.  initialized - `PETSC_TRUE` between the first initialisation and the finalisation

   Level: beginner

.seealso: `SkeanInitialize()`
@*/
PetscErrorCode SkeanInitialized(PetscBool *initialized)
{
  PetscFunctionBegin;
  PetscCheck(initialized, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: initialized");
  *initialized = SkeanPackageInitialized;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanFinalize - Finalises Skean, and PETSc (and SLEPc) if Skean initialised it

   Collective on `PETSC_COMM_WORLD`

   Level: beginner

.seealso: `SkeanInitialize()`
@*/
PetscErrorCode SkeanFinalize(void)
{
  PetscFunctionBegin;
  if (SkeanBeganPetsc) {
    SkeanBeganPetsc = PETSC_FALSE;
    PetscCall(PetscFinalize());
  }
  return PETSC_SUCCESS; /* after PetscFinalize() the function stack is gone */
}

static PetscErrorCode SkeanSlepcEnd_Private(void)
{
  PetscFunctionBegin;
  if (SkeanBeganSlepc) {
    SkeanBeganSlepc = PETSC_FALSE;
    PetscCall(SlepcFinalize());
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSlepcBegin_Private(void)
{
  PetscBool up;

  PetscFunctionBegin;
  PetscCall(SlepcInitialized(&up));
  if (!up) {
    PetscCall(SlepcInitializeNoArguments());
    SkeanBeganSlepc = PETSC_TRUE;
    PetscCall(PetscRegisterFinalize(SkeanSlepcEnd_Private));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGetVersion - The version of Skean as a line of text

   Not Collective

   Output Parameter:
.  version - text such as "Skean 0.1.0 (PETSc 3.18.5)"

   Input Parameter:
.  len - length of `version`, at least 64

   Level: beginner

.seealso: `SkeanGetVersionNumber()`
@*/
PetscErrorCode SkeanGetVersion(char version[], size_t len)
{
  PetscFunctionBegin;
  PetscCheck(version, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: version");
  PetscCall(PetscSNPrintf(version, len, "Skean %d.%d.%d (PETSc %d.%d.%d)", SKEAN_VERSION_MAJOR, SKEAN_VERSION_MINOR, SKEAN_VERSION_SUBMINOR,
                          PETSC_VERSION_MAJOR, PETSC_VERSION_MINOR, PETSC_VERSION_SUBMINOR));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGetVersionNumber - The version of Skean in numbers

   Not Collective

   Output Parameters:
+  major    - major version, or NULL
.  minor    - minor version, or NULL
-  subminor - patch level, or NULL

   Level: beginner

.seealso: `SkeanGetVersion()`
@*/
PetscErrorCode SkeanGetVersionNumber(PetscInt *major, PetscInt *minor, PetscInt *subminor)
{
  PetscFunctionBegin;
  if (major) *major = SKEAN_VERSION_MAJOR;
  if (minor) *minor = SKEAN_VERSION_MINOR;
  if (subminor) *subminor = SKEAN_VERSION_SUBMINOR;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   A program may keep its PETSc to itself (Python loads petsc4py's so). If that is another PETSc than the one this library was linked
   with, the loader brings a second one, and what we register there nobody would ever find. caller is an address in the program's PETSc.
*/
static PetscErrorCode SkeanCheckCaller_Private(void *caller)
{
  Dl_info theirs, ours;

  PetscFunctionBegin;
  if (!dladdr(caller, &theirs) || !theirs.dli_fname || !dladdr(reinterpret_cast<void *>(PetscDLLibraryOpen), &ours)) PetscFunctionReturn(PETSC_SUCCESS);
  void *handle = dlopen(theirs.dli_fname, RTLD_LAZY | RTLD_NOLOAD); /* fails for the program itself, which then is no library of its own */
  if (!handle) PetscFunctionReturn(PETSC_SUCCESS);
  void *open = dlsym(handle, "PetscDLLibraryOpen");
  dlclose(handle);
  if (open && open != reinterpret_cast<void *>(PetscDLLibraryOpen)) {
    /* not through PetscError(): that is the second PETSc's, which nobody initialised and which prints nothing */
    std::fprintf(stderr, "Skean was built for the PETSc in %s, the program that loads it runs on another one, %s\n", ours.dli_fname, theirs.dli_fname);
    PetscFunctionReturn(PETSC_ERR_SUP_SYS);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Entry for -dll_append libskean.so: PETSc looks up PetscDLLibraryRegister_ followed by the file's name without lib and .so */
SKEAN_EXTERN PetscErrorCode PetscDLLibraryRegister_skean(void);
PetscErrorCode              PetscDLLibraryRegister_skean(void)
{
  PetscFunctionBegin;
  PetscCall(SkeanCheckCaller_Private(__builtin_return_address(0)));
  PetscCall(SkeanInitializePackage());
  PetscFunctionReturn(PETSC_SUCCESS);
}
