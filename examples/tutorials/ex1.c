static char help[] = "Least squares: fits a polynomial to noisy samples and says how far each coefficient can be off.\n\
  -n <samples>, -d <coefficients>   sizes (5000, 12)\n\
Try: -ksp_monitor -ksp_view -ksp_sketch_method iterative -sketch_type sparsesign\n\n";

#include <skean.h>

/* A number in (-1,1) from an index alone: the same problem on any number of processes */
static PetscReal Number(PetscInt i)
{
  unsigned int h = (unsigned int)i * 2654435761u + 374761393u;

  h = (h ^ (h >> 15)) * 2246822519u;
  h = (h ^ (h >> 13)) * 3266489917u;
  h ^= h >> 16;
  return 2.0 * ((PetscReal)h + 0.5) / 4294967296.0 - 1.0;
}

int main(int argc, char **argv)
{
  PetscInt           n = 5000, d = 12, rstart, rend, rank;
  PetscReal          backward, condition, delta;
  Mat                A;
  Vec                b, x, bounds;
  KSP                ksp;
  KSPConvergedReason reason;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, help)); /* PETSc too, if need be */
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-n", &n, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-d", &d, NULL));

  /* Row i is (1, t_i, t_i^2, ...): ill-conditioned, as powers are; the samples are those of cos(3 t) with an error of up to 1e-3 */
  PetscCall(MatCreateDense(PETSC_COMM_WORLD, PETSC_DECIDE, PETSC_DECIDE, n, d, NULL, &A));
  PetscCall(MatCreateVecs(A, &x, &b));
  PetscCall(MatGetOwnershipRange(A, &rstart, &rend));
  for (PetscInt i = rstart; i < rend; i++) {
    const PetscReal t     = (PetscReal)i / n;
    PetscReal       power = 1.0;

    for (PetscInt j = 0; j < d; j++, power *= t) PetscCall(MatSetValue(A, i, j, power, INSERT_VALUES));
    PetscCall(VecSetValue(b, i, PetscCosReal(3.0 * t) + 1e-3 * Number(i), INSERT_VALUES));
  }
  PetscCall(MatAssemblyBegin(A, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(A, MAT_FINAL_ASSEMBLY));
  PetscCall(VecAssemblyBegin(b));
  PetscCall(VecAssemblyEnd(b));

  PetscCall(KSPCreate(PETSC_COMM_WORLD, &ksp));
  PetscCall(KSPSetType(ksp, KSPSKETCH));
  PetscCall(KSPSetOperators(ksp, A, A));         /* rectangular */
  PetscCall(KSPSketchSetErrorBounds(ksp, 1e-3)); /* bounds that fail with probability 1e-3 at most */
  PetscCall(KSPSetFromOptions(ksp));
  PetscCall(KSPSolve(ksp, b, x));

  PetscCall(KSPGetConvergedReason(ksp, &reason));
  PetscCall(KSPSketchGetBackwardError(ksp, &backward));
  PetscCall(KSPSketchGetCondition(ksp, &condition));
  PetscCall(KSPSketchGetRank(ksp, &rank));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s: rank %" PetscInt_FMT " of %" PetscInt_FMT ", condition %.1e, backward error %.0e\n", KSPConvergedReasons[reason],
                        rank, d, (double)condition, (double)backward));
  PetscCall(VecDuplicate(x, &bounds));
  PetscCall(KSPSketchGetErrorBounds(ksp, bounds, &delta));
  PetscCall(VecView(x, PETSC_VIEWER_STDOUT_WORLD));
  PetscCall(VecView(bounds, PETSC_VIEWER_STDOUT_WORLD));

  PetscCall(VecDestroy(&bounds));
  PetscCall(KSPDestroy(&ksp));
  PetscCall(MatDestroy(&A));
  PetscCall(VecDestroy(&b));
  PetscCall(VecDestroy(&x));
  PetscCall(SkeanFinalize());
  return reason > 0 ? 0 : 1;
}
