static char help[] = "Gaussian process on a grid with gaps: learns the length scales, fills the gaps and says how sure it is.\n\
Try: -gp_monitor -gp_view -gp_kernel matern52\n\n";

#include <skean.h>

static PetscReal Field(PetscReal s, PetscReal t)
{
  return PetscSinReal(6.0 * s) * PetscCosReal(4.0 * t) + 0.5 * s;
}

int main(int argc, char **argv)
{
  enum { N0 = 40, N1 = 50 };
  const PetscInt       n[2] = {N0, N1};
  PetscReal            x0[N0], x1[N1], worst = 0.0, inside = 0.0, sums[3];
  const PetscReal     *x[2] = {x0, x1};
  PetscInt             rstart, rend, hidden = 0;
  Vec                  y, mask, mean, variance;
  SkeanGP              gp;
  SkeanConvergedReason reason;
  const PetscScalar   *m, *v, *o;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, help));
  for (PetscInt i = 0; i < N0; i++) x0[i] = (PetscReal)i / (N0 - 1);
  for (PetscInt i = 0; i < N1; i++) x1[i] = (PetscReal)i / (N1 - 1);

  PetscCall(SkeanGPCreate(PETSC_COMM_WORLD, &gp));
  PetscCall(SkeanGPSetGrid(gp, 2, n, x));
  PetscCall(SkeanGPSetKernel(gp, "se(0.3),se(0.3)"));
  PetscCall(SkeanGPSetVariances(gp, 1.0, 1e-3));
  PetscCall(SkeanGPSetOptimize(gp, PETSC_TRUE));
  PetscCall(SkeanGPSetFromOptions(gp));

  /* One point in five is missing; the others carry an error of a deterministic kind */
  PetscCall(SkeanGPCreateVec(gp, &y));
  PetscCall(VecDuplicate(y, &mask));
  PetscCall(VecDuplicate(y, &mean));
  PetscCall(VecDuplicate(y, &variance));
  PetscCall(VecGetOwnershipRange(y, &rstart, &rend));
  for (PetscInt i = rstart; i < rend; i++) {
    const PetscReal noise = 0.02 * PetscSinReal(1e3 * (PetscReal)(i * i % 9973));

    PetscCall(VecSetValue(y, i, Field(x0[i / N1], x1[i % N1]) + noise, INSERT_VALUES));
    PetscCall(VecSetValue(mask, i, (i * 7 + i / N1 * 3) % 5 ? 1.0 : 0.0, INSERT_VALUES));
  }
  PetscCall(VecAssemblyBegin(y));
  PetscCall(VecAssemblyEnd(y));
  PetscCall(VecAssemblyBegin(mask));
  PetscCall(VecAssemblyEnd(mask));
  PetscCall(SkeanGPSetData(gp, y, mask));
  PetscCall(SkeanGPSolve(gp));
  PetscCall(SkeanGPGetConvergedReason(gp, &reason));
  PetscCall(SkeanGPGetPosterior(gp, mean, variance));

  /* How far off at the missing points, and is that what the posterior says? */
  PetscCall(VecGetArrayRead(mean, &m));
  PetscCall(VecGetArrayRead(variance, &v));
  PetscCall(VecGetArrayRead(mask, &o));
  for (PetscInt i = rstart; i < rend; i++) {
    const PetscReal e = PetscAbsReal(PetscRealPart(m[i - rstart]) - Field(x0[i / N1], x1[i % N1]));

    if (PetscRealPart(o[i - rstart]) != 0.0) continue;
    hidden++;
    worst = PetscMax(worst, e);
    inside += e <= 1.96 * PetscSqrtReal(PetscRealPart(v[i - rstart]));
  }
  PetscCall(VecRestoreArrayRead(mean, &m));
  PetscCall(VecRestoreArrayRead(variance, &v));
  PetscCall(VecRestoreArrayRead(mask, &o));
  sums[0] = (PetscReal)hidden;
  sums[1] = inside;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, sums, 2, MPIU_REAL, MPIU_SUM, PETSC_COMM_WORLD));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &worst, 1, MPIU_REAL, MPIU_MAX, PETSC_COMM_WORLD));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s: %.0f missing points, largest error %.3f, %.0f %% in the 95 %% interval\n", SkeanConvergedReasons[reason],
                        (double)sums[0], (double)worst, (double)(100.0 * sums[1] / sums[0])));

  PetscCall(VecDestroy(&y));
  PetscCall(VecDestroy(&mask));
  PetscCall(VecDestroy(&mean));
  PetscCall(VecDestroy(&variance));
  PetscCall(SkeanGPDestroy(&gp));
  PetscCall(SkeanFinalize());
  return reason > 0 ? 0 : 1;
}
