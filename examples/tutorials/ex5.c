static char help[] = "An equation of the user's own on a square: u_xx + u_yy + u = f with u = sin(20 x) cos(30 y) on the boundary, where u is known.\n\
Try: -gppde_monitor -gppde_view\n\n";

#include <skean.h>

static PetscErrorCode Exact(PetscInt n, PetscInt dim, const PetscReal x[], PetscInt side, PetscReal u[], void *ctx)
{
  PetscFunctionBegin;
  (void)side;
  (void)ctx;
  for (PetscInt i = 0; i < n; i++) u[i] = PetscSinReal(20.0 * x[i * dim]) * PetscCosReal(30.0 * x[i * dim + 1]);
  PetscFunctionReturn(0);
}

static PetscErrorCode Source(PetscInt n, PetscInt dim, const PetscReal x[], PetscInt side, PetscReal f[], void *ctx)
{
  PetscFunctionBegin;
  PetscCall(Exact(n, dim, x, side, f, ctx));
  for (PetscInt i = 0; i < n; i++) f[i] *= 1.0 - 400.0 - 900.0;
  PetscFunctionReturn(0);
}

int main(int argc, char **argv)
{
  const PetscInt       n[2]  = {80, 90};
  const PetscReal      lo[2] = {0.0, 0.0}, hi[2] = {1.0, 1.0}, a[2] = {1.0, 1.0}, b[2] = {0.0, 0.0};
  PetscReal            error;
  SkeanGPPDE           pde;
  SkeanConvergedReason reason;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, help));
  PetscCall(SkeanGPPDECreate(PETSC_COMM_WORLD, &pde));
  PetscCall(SkeanGPPDESetDomain(pde, 2, lo, hi));
  PetscCall(SkeanGPPDESetOperator(pde, a, b, 1.0));
  PetscCall(SkeanGPPDESetSource(pde, Source, NULL));
  for (PetscInt side = 0; side < 4; side++) PetscCall(SkeanGPPDESetBoundary(pde, side, SKEAN_GPPDE_BC_DIRICHLET, Exact, NULL));
  PetscCall(SkeanGPPDESetGrid(pde, SKEAN_GPPDE_GRID_UNIFORM, n));
  PetscCall(SkeanGPPDESetExact(pde, Exact, NULL)); /* for the last line only: the solver does not look at it */
  PetscCall(SkeanGPPDESetFromOptions(pde));
  PetscCall(SkeanGPPDESolve(pde));
  PetscCall(SkeanGPPDEGetConvergedReason(pde, &reason));
  PetscCall(SkeanGPPDEComputeError(pde, 201, &error));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s: relative error %.0e\n", SkeanConvergedReasons[reason], (double)error));
  PetscCall(SkeanGPPDEDestroy(&pde));
  PetscCall(SkeanFinalize());
  return reason > 0 ? 0 : 1;
}
