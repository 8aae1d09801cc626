static char help[] =
  "Kronecker operators: solves (A (x) I + I (x) A + s I) u = f on an n x n grid directly, and a perturbed operator with that inverse as preconditioner.\n\
  -n <points>   in each dimension (100)\n\
Try: -direct_ksp_view -perturbed_ksp_monitor\n\n";

#include <skean.h>

int main(int argc, char **argv)
{
  PetscInt           n = 100, rstart, rend, nl, its;
  PetscReal          h, error, norm;
  PetscScalar       *column;
  Mat                factors[2], K, D, M, terms[2];
  Vec                u, f, r, reaction;
  KSP                direct, perturbed;
  PC                 pc;
  KSPConvergedReason reason;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, help));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-n", &n, NULL));

  /* -u'' by second differences, a symmetric Toeplitz factor: its first column (which is its first row) says all */
  h = 1.0 / (n + 1);
  PetscCall(PetscCalloc1(n, &column));
  column[0] = 2.0 / (h * h);
  if (n > 1) column[1] = -1.0 / (h * h);
  PetscCall(MatCreateSkeanToeplitz(n, column, NULL, &factors[0]));
  PetscCall(PetscFree(column));
  factors[1] = factors[0];
  PetscCall(MatCreateSkeanKronSum(PETSC_COMM_WORLD, 2, factors, &K));
  PetscCall(MatShift(K, 1.0));

  /* u is known: f = K u */
  PetscCall(MatCreateVecs(K, &u, &f));
  PetscCall(VecDuplicate(u, &r));
  PetscCall(VecGetOwnershipRange(u, &rstart, &rend));
  for (PetscInt i = rstart; i < rend; i++) PetscCall(VecSetValue(u, i, PetscSinReal(1.0 + 0.1 * (PetscReal)i), INSERT_VALUES));
  PetscCall(VecAssemblyBegin(u));
  PetscCall(VecAssemblyEnd(u));
  PetscCall(MatMult(K, u, f));
  PetscCall(VecNorm(u, NORM_2, &norm));

  PetscCall(KSPCreate(PETSC_COMM_WORLD, &direct));
  PetscCall(KSPSetOptionsPrefix(direct, "direct_"));
  PetscCall(KSPSetOperators(direct, K, K));
  PetscCall(KSPSetType(direct, KSPPREONLY));
  PetscCall(KSPGetPC(direct, &pc));
  PetscCall(PCSetType(pc, PCSKEANKRON));
  PetscCall(KSPSetFromOptions(direct));
  PetscCall(KSPSolve(direct, f, r));
  PetscCall(VecAXPY(r, -1.0, u));
  PetscCall(VecNorm(r, NORM_2, &error));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "direct: relative error %.0e\n", (double)(error / norm)));

  /* The same inverse for an operator that is only near: K plus a reaction term that is no Kronecker product */
  PetscCall(VecDuplicate(u, &reaction));
  PetscCall(VecCopy(u, reaction));
  PetscCall(VecScale(reaction, 20.0));
  PetscCall(VecGetLocalSize(u, &nl));
  PetscCall(MatCreateAIJ(PETSC_COMM_WORLD, nl, nl, n * n, n * n, 1, NULL, 0, NULL, &D));
  PetscCall(MatDiagonalSet(D, reaction, INSERT_VALUES));
  terms[0] = K;
  terms[1] = D;
  PetscCall(MatCreateComposite(PETSC_COMM_WORLD, 2, terms, &M));
  PetscCall(MatMult(M, u, f));
  PetscCall(KSPCreate(PETSC_COMM_WORLD, &perturbed));
  PetscCall(KSPSetOptionsPrefix(perturbed, "perturbed_"));
  PetscCall(KSPSetOperators(perturbed, M, K)); /* the preconditioner comes from K */
  PetscCall(KSPSetType(perturbed, KSPGMRES));
  PetscCall(KSPGetPC(perturbed, &pc));
  PetscCall(PCSetType(pc, PCSKEANKRON));
  PetscCall(KSPSetTolerances(perturbed, 1e-12, 0.0, PETSC_DEFAULT, 100));
  PetscCall(KSPSetFromOptions(perturbed));
  PetscCall(KSPSolve(perturbed, f, r));
  PetscCall(KSPGetConvergedReason(perturbed, &reason));
  PetscCall(KSPGetIterationNumber(perturbed, &its));
  PetscCall(VecAXPY(r, -1.0, u));
  PetscCall(VecNorm(r, NORM_2, &error));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "perturbed: %s after %" PetscInt_FMT " iterations, relative error %.0e\n", KSPConvergedReasons[reason], its,
                        (double)(error / norm)));

  PetscCall(KSPDestroy(&direct));
  PetscCall(KSPDestroy(&perturbed));
  PetscCall(MatDestroy(&factors[0]));
  PetscCall(MatDestroy(&K));
  PetscCall(MatDestroy(&D));
  PetscCall(MatDestroy(&M));
  PetscCall(VecDestroy(&reaction));
  PetscCall(VecDestroy(&u));
  PetscCall(VecDestroy(&f));
  PetscCall(VecDestroy(&r));
  PetscCall(SkeanFinalize());
  return reason > 0 ? 0 : 1;
}
