/* The reference BLAS is an order of magnitude slower than a tuned one, and Debian installs it by default: tell the user. */
#include <skean/private/skeanimpl.h>
#include <dlfcn.h>

/*@
   SkeanWarnSlowBLAS - Prints a warning if the process runs on the reference BLAS

   Collective

   Input Parameter:
.  comm - communicator whose first process prints

   Level: intermediate

   Notes:
   Recognises OpenBLAS, MKL, BLIS and ATLAS by a symbol that only they have. The example drivers call it. No communication.

.seealso: `SkeanInitialize()`
@*/
PetscErrorCode SkeanWarnSlowBLAS(MPI_Comm comm)
{
  static const char *const tuned[] = {"openblas_get_config",      "mkl_get_version", "MKL_Get_Version",
                                      "bli_info_get_version_str", "ATL_buildinfo",   "armpl_get_config"};
  PetscBool                found   = PETSC_FALSE;

  PetscFunctionBegin;
  for (const char *name : tuned)
    if (dlsym(RTLD_DEFAULT, name)) found = PETSC_TRUE;
  if (!found)
    PetscCall(
      PetscPrintf(comm, "Warning: this process runs on the reference BLAS, about 10 times slower than OpenBLAS (Debian: apt install libopenblas0-serial)\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}
