/* A C program outside the project: links the installed library, asks for its version, initialises and finalises */
#include <skean.h>

int main(int argc, char **argv)
{
  char      version[128];
  PetscInt  major, minor, subminor;
  PetscBool up;
  int       size;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, NULL));
  PetscCall(SkeanInitialized(&up));
  PetscCheck(up, PETSC_COMM_WORLD, PETSC_ERR_PLIB, "Skean is not initialised");
  PetscCall(SkeanGetVersion(version, sizeof(version)));
  PetscCall(SkeanGetVersionNumber(&major, &minor, &subminor));
  PetscCheck(major == SKEAN_VERSION_MAJOR && minor == SKEAN_VERSION_MINOR && subminor == SKEAN_VERSION_SUBMINOR, PETSC_COMM_WORLD, PETSC_ERR_LIB,
             "Headers and library are of different versions");
#if !SKEAN_VERSION_GE(0, 1, 0) || SKEAN_VERSION_GE(99, 0, 0)
  #error SKEAN_VERSION_GE
#endif
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s on %d processes: consumer is content\n", version, size));
  PetscCall(SkeanFinalize());
  return 0;
}
