static char help[] = "A program that knows PETSc only: a sparse least-squares problem min ||b - A x|| with known solution.\n\
  -m <rows>, -n <columns>   sizes (2000, 50)\n\
  -nnz <k>                  nonzeros in a row (5)\n\
  -cond <c>                 the columns are scaled over this range (1e3)\n\
  -noise <s>                size of the residual at the solution (1e-2)\n\
  -max_error <e>            end with an error if the solution is further off than this, relative\n\
Everything else is decided by PETSc's options: -ksp_type lsqr -pc_type none|jacobi|..., and with\n\
  -dll_append /prefix/lib/libskean.so   also Skean's -ksp_type sketch and -pc_type sketch.\n\n";

#include <petscksp.h>

/* A number in (-1,1) that depends on the two indices alone: the matrix is the same on any number of processes */
static PetscReal Number(PetscInt i, PetscInt j)
{
  unsigned int h = (unsigned int)i * 2654435761u ^ ((unsigned int)j * 2246822519u + 374761393u);

  h = (h ^ (h >> 15)) * 2246822519u;
  h = (h ^ (h >> 13)) * 3266489917u;
  h ^= h >> 16;
  return 2.0 * ((PetscReal)h + 0.5) / 4294967296.0 - 1.0;
}

int main(int argc, char **argv)
{
  PetscInt           m = 2000, n = 50, nnz = 5, begin, end, its;
  PetscReal          cond = 1e3, noise = 1e-2, max_error = 0.0, error, exact, gradient, scale;
  PetscBool          limited;
  Mat                A, N;
  Vec                b, x, xexact, r, g;
  KSP                ksp;
  PC                 pc;
  KSPConvergedReason reason;

  PetscCall(PetscInitialize(&argc, &argv, NULL, help));
  PetscOptionsBegin(PETSC_COMM_WORLD, NULL, "Least-squares problem", NULL);
  PetscCall(PetscOptionsInt("-m", "rows", NULL, m, &m, NULL));
  PetscCall(PetscOptionsInt("-n", "columns", NULL, n, &n, NULL));
  PetscCall(PetscOptionsInt("-nnz", "nonzeros in a row", NULL, nnz, &nnz, NULL));
  PetscCall(PetscOptionsReal("-cond", "range of the column scales", NULL, cond, &cond, NULL));
  PetscCall(PetscOptionsReal("-noise", "size of the residual", NULL, noise, &noise, NULL));
  PetscCall(PetscOptionsReal("-max_error", "relative error that is accepted", NULL, max_error, &max_error, &limited));
  PetscOptionsEnd();
  m -= m % 2;
  PetscCheck(m >= 2 * n && n >= 1 && nnz >= 1 && nnz <= n, PETSC_COMM_WORLD, PETSC_ERR_ARG_OUTOFRANGE,
             "Need m >= 2 n and 1 <= nnz <= n, have m %" PetscInt_FMT ", n %" PetscInt_FMT ", nnz %" PetscInt_FMT, m, n, nnz);

  /* Rows 2i and 2i+1 are equal. A residual of opposite signs on them is orthogonal to the range of A: xexact stays the solution. */
  PetscCall(MatCreateAIJ(PETSC_COMM_WORLD, PETSC_DECIDE, PETSC_DECIDE, m, n, nnz, NULL, nnz, NULL, &A));
  PetscCall(MatGetOwnershipRange(A, &begin, &end));
  for (PetscInt row = begin; row < end; row++) {
    const PetscInt i = row / 2;
    for (PetscInt k = 0; k < nnz; k++) {
      const PetscInt j = (i + k * (1 + i / n)) % n;
      scale            = PetscPowReal(cond, -(PetscReal)j / n);
      PetscCall(MatSetValue(A, row, j, scale * (1.5 + Number(i, j)), INSERT_VALUES));
    }
  }
  PetscCall(MatAssemblyBegin(A, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(A, MAT_FINAL_ASSEMBLY));
  PetscCall(MatCreateVecs(A, &xexact, &b));
  PetscCall(VecDuplicate(xexact, &x));
  PetscCall(VecDuplicate(xexact, &g));
  PetscCall(VecDuplicate(b, &r));
  PetscCall(VecGetOwnershipRange(xexact, &begin, &end));
  for (PetscInt j = begin; j < end; j++) PetscCall(VecSetValue(xexact, j, Number(-1, j), INSERT_VALUES));
  PetscCall(VecAssemblyBegin(xexact));
  PetscCall(VecAssemblyEnd(xexact));
  PetscCall(MatMult(A, xexact, b));
  PetscCall(VecGetOwnershipRange(b, &begin, &end));
  for (PetscInt row = begin; row < end; row++) PetscCall(VecSetValue(b, row, (row % 2 ? -noise : noise) * Number(row / 2, -2), ADD_VALUES));
  PetscCall(VecAssemblyBegin(b));
  PetscCall(VecAssemblyEnd(b));

  /* KSPLSQR takes A itself; the preconditioner is one for A'A, given without forming it */
  PetscCall(MatCreateNormal(A, &N));
  PetscCall(KSPCreate(PETSC_COMM_WORLD, &ksp));
  PetscCall(KSPSetOperators(ksp, A, N));
  PetscCall(KSPSetType(ksp, KSPLSQR));
  PetscCall(KSPGetPC(ksp, &pc));
  PetscCall(PCSetType(pc, PCNONE));
  PetscCall(KSPSetTolerances(ksp, 1e-10, PETSC_DEFAULT, PETSC_DEFAULT, 5000));
  PetscCall(KSPSetFromOptions(ksp));
  PetscCall(KSPSolve(ksp, b, x));

  PetscCall(KSPGetConvergedReason(ksp, &reason));
  PetscCall(KSPGetIterationNumber(ksp, &its));
  PetscCall(MatMult(A, x, r));
  PetscCall(VecAYPX(r, -1.0, b));
  PetscCall(MatMultTranspose(A, r, g));
  PetscCall(VecNorm(g, NORM_2, &gradient));
  PetscCall(VecNorm(xexact, NORM_2, &exact));
  PetscCall(VecAXPY(x, -1.0, xexact));
  PetscCall(VecNorm(x, NORM_2, &error));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s after %" PetscInt_FMT " iterations, relative error %.3e, |A'(b - A x)| = %.3e\n", KSPConvergedReasons[reason],
                        its, (double)(error / exact), (double)gradient));

  PetscCall(KSPDestroy(&ksp));
  PetscCall(MatDestroy(&N));
  PetscCall(MatDestroy(&A));
  PetscCall(VecDestroy(&x));
  PetscCall(VecDestroy(&xexact));
  PetscCall(VecDestroy(&b));
  PetscCall(VecDestroy(&r));
  PetscCall(VecDestroy(&g));
  PetscCheck(!limited || (reason > 0 && error <= max_error * exact), PETSC_COMM_WORLD, PETSC_ERR_NOT_CONVERGED,
             "%s, relative error %.3e, at most %.3e was asked for", KSPConvergedReasons[reason], (double)(error / exact), (double)max_error);
  PetscCall(PetscFinalize());
  return 0;
}
