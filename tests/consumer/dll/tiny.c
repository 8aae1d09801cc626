/* The smallest PETSc program; built against a complex PETSc it must refuse Skean */
#include <petscsys.h>

#if defined(PRETEND)
/* Stands in front of PETSc's own and tells the plug-in of another minor version, or (2) writes as a PETSc with indices of the other size does */
PetscErrorCode PetscGetVersionNumber(PetscInt *major, PetscInt *minor, PetscInt *subminor, PetscInt *release)
{
  #if PRETEND == 2
  if (major && sizeof(PetscInt) == 4) *(long long *)major = PETSC_VERSION_MAJOR;
  if (major && sizeof(PetscInt) == 8) *(int *)major = PETSC_VERSION_MAJOR;
  #else
  if (major) *major = PETSC_VERSION_MAJOR;
  #endif
  if (minor) *minor = PETSC_VERSION_MINOR + 1;
  if (subminor) *subminor = 0;
  if (release) *release = 1;
  return 0;
}
#endif

int main(int argc, char **argv)
{
  PetscCall(PetscInitialize(&argc, &argv, NULL, NULL));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "went on\n"));
  PetscCall(PetscFinalize());
  return 0;
}
