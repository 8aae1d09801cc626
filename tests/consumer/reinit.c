/* Three rounds of PetscInitialize() and PetscFinalize() in one process; with -DLINKED the library is linked, otherwise it comes by
   -dll_append and the program knows PETSc only */
#if defined(LINKED)
  #include <skean.h>
#endif
#include <petscksp.h>

int main(int argc, char **argv)
{
  MPI_Init(&argc, &argv);
  for (int round = 0; round < 3; round++) {
    KSP       ksp;
    PetscBool up = PETSC_TRUE;

    PetscCall(PetscInitialize(&argc, &argv, NULL, NULL));
#if defined(LINKED)
    PetscCall(SkeanInitialize(&argc, &argv, NULL, NULL));
    PetscCall(SkeanInitialized(&up));
#endif
    PetscCheck(up, PETSC_COMM_WORLD, PETSC_ERR_PLIB, "Skean is not initialised");
    PetscCall(KSPCreate(PETSC_COMM_WORLD, &ksp));
    PetscCall(KSPSetFromOptions(ksp));
    PetscCall(KSPDestroy(&ksp));
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "round %d\n", round));
    PetscCall(PetscFinalize());
#if defined(LINKED)
    if (SkeanInitialized(&up) || up) return 3; /* what is registered must be forgotten with PETSc */
#endif
  }
  MPI_Finalize();
  return 0;
}
