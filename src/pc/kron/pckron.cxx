/*
   PC type skeankron: the inverse of a Mat skeankron.

     1. eigenvectors F_j V_j = V_j L_j of each factor (kroneigen.cxx: FFTW, LAPACK or ScaLAPACK)
     2. y = (x_j V_j^-1) b            products along the modes, one redistribution
     3. y /= sum_t c_t prod_j l_tj + s   the spectrum is formed on the fly
     4. x = (x_j V_j) y               and back
   4 N sum_j n_j flops. (Lynch, Rice & Thomas, Numer. Math. 6 (1964) 185.)
*/
#include <skean/private/kron.hpp> /*I "skeankron.h" I*/
#include <skeankron.h>
#include <petsc/private/pcimpl.h>

namespace {
struct PC_SkeanKron {
  std::vector<skean::KronTerm> terms; /* as set up: the arrays are shared with the matrix */
  double                       shift = 0;
  skean::KronInverse           inverse;
};
} // namespace

static PC_SkeanKron *Context(PC pc)
{
  return static_cast<PC_SkeanKron *>(pc->data);
}

static PetscErrorCode PCSetUp_SkeanKron(PC pc)
{
  PC_SkeanKron  *c = Context(pc);
  SkeanKronData *k = nullptr;

  PetscFunctionBegin;
  PetscCall(MatSkeanKronGetData_Private(pc->pmat, &k));
  PetscCheck(k->grid, PetscObjectComm((PetscObject)pc), PETSC_ERR_ARG_WRONGSTATE, "The Kronecker operator has no term");
  bool same = c->inverse.Ready() && c->terms.size() == k->terms.size() && c->shift == k->shift;
  for (size_t t = 0; same && t < k->terms.size(); ++t) {
    same = c->terms[t].coeff == k->terms[t].coeff;
    for (int j = 0; same && j < k->d; ++j) same = c->terms[t].f[j].Same(k->terms[t].f[j]);
  }
  if (!same) {
    PetscCallCXX(c->terms = k->terms);
    c->shift = k->shift;
    PetscCall(c->inverse.SetUp(*k->grid, c->terms, c->shift));
    PetscCall(
      PetscInfo(pc, "%s, eigenvalues from %g to %g in modulus\n", c->inverse.Method(), c->inverse.SmallestEigenvalue(), c->inverse.LargestEigenvalue()));
  }
  PetscCall(PCSetFailedReason(pc, c->inverse.Singular() ? PC_FACTOR_NUMERIC_ZEROPIVOT : PC_NOERROR));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Apply(PC pc, bool trans, Vec bv, Vec xv)
{
  PC_SkeanKron  *c = Context(pc);
  SkeanKronData *k = nullptr;
  const double  *b;
  double        *x;
  PetscInt       n;

  PetscFunctionBegin;
  PetscCall(MatSkeanKronGetData_Private(pc->pmat, &k));
  if (c->inverse.Singular()) {
    PetscCall(VecSet(xv, PETSC_INFINITY));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(VecGetLocalSize(xv, &n));
  PetscCall(VecGetArrayRead(bv, &b));
  PetscCall(VecGetArrayWrite(xv, &x));
  if (k->masked) {
    for (PetscInt i = 0; i < n; ++i) x[i] = k->mask[i] ? b[i] : 0.0;
    PetscCall(c->inverse.Apply(*k->grid, trans, x, x, n));
    for (PetscInt i = 0; i < n; ++i)
      if (!k->mask[i]) x[i] = b[i] / k->outside;
  } else
    PetscCall(c->inverse.Apply(*k->grid, trans, b, x, n));
  PetscCall(VecRestoreArrayWrite(xv, &x));
  PetscCall(VecRestoreArrayRead(bv, &b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PCApply_SkeanKron(PC pc, Vec b, Vec x)
{
  PetscFunctionBegin;
  PetscCall(Apply(pc, false, b, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PCApplyTranspose_SkeanKron(PC pc, Vec b, Vec x)
{
  PetscFunctionBegin;
  PetscCall(Apply(pc, true, b, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PCReset_SkeanKron(PC pc)
{
  PetscFunctionBegin;
  Context(pc)->inverse.Reset();
  Context(pc)->terms.clear();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PCDestroy_SkeanKron(PC pc)
{
  PetscFunctionBegin;
  delete Context(pc);
  pc->data = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PCView_SkeanKron(PC pc, PetscViewer viewer)
{
  PC_SkeanKron *c = Context(pc);
  PetscBool     ascii;

  PetscFunctionBegin;
  PetscCall(PetscObjectTypeCompare((PetscObject)viewer, PETSCVIEWERASCII, &ascii));
  if (ascii && c->inverse.Ready())
    PetscCall(PetscViewerASCIIPrintf(viewer, "  %s, eigenvalues from %g to %g in modulus\n", c->inverse.Method(), c->inverse.SmallestEigenvalue(),
                                     c->inverse.LargestEigenvalue()));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   PCSKEANKRON - "skeankron", the inverse of a Kronecker operator by fast diagonalisation

   Options Database Keys:
+  -mat_skeankron_evenodd <true>   - split centrosymmetric factors into even and odd parts
-  -mat_skeankron_scalapack <3000> - rows from which on the eigenproblem of a symmetric factor is distributed over all processes

   Level: beginner

   Notes:
   The matrix for the preconditioner must be a `MATSKEANKRON` with square factors. With it as operator too, `-ksp_type preonly -pc_type skeankron` is a direct
   solve; with a perturbed operator (masked, variable noise, a Jacobian with variable coefficients) it is a preconditioner. What it can invert:
   one product with any shift and symmetric factors; Kronecker sums; two-term sums as pencils; factors that are not symmetric if their eigenvectors are real
   and well conditioned; one product of any regular factors without shift, by LU.
   Symmetric factors that a fast transform diagonalises to rounding are recognised and use FFTW, at set-up (n_j^2 log n_j) and in every application (log n_j in place
   of n_j operations a point): circulant ones (stationary covariances and Laplacians on a periodic uniform grid) the Hartley transform,
   symmetric Toeplitz-plus-Hankel ones with even, odd or zero ends (Laplacians with Neumann or Dirichlet conditions, reflected covariances) the cosine and sine
   transforms II, IV and I. Factors of `-mat_skeankron_scalapack` rows or more are distributed over all
   processes by ScaLAPACK if Skean was built with it; the vectors are then gathered, so every process holds n_j^2 numbers in any case.
   Centrosymmetric factors, F = J F J with J the reversal of the order (stationary covariances and Laplacians on symmetric grids, Toeplitz or not; symmetric factors, pencils of two such
   and factors that are not symmetric) are two problems of half the size, with even and odd vectors (Cantoni & Butler, Linear Algebra Appl. 13, 1976): a quarter of the flops at
   set-up and, from 48 points on, half of them in every product with the vectors. So are those that miss it by rounding, by at most 64 units of it in the Frobenius norm (coordinates
   are rounded too): then the mean of F and J F J is decomposed, whose distance from F, a backward error of the solve, `MatView()` shows.
   A masked operator is not inverted: the inverse without the mask is restricted to the points kept.

   Cost: about 9 n_j^3 flops per factor at set-up (not repeated while the factors stay), 4 N sum_j n_j per application, two redistributions, one array besides the vectors.
   A singular operator sets the failed reason (`KSP_DIVERGED_PC_FAILED`), no error.

   Errors: `PETSC_ERR_SUP`, with the dimension named, for a sum that has no common eigenvectors.

.seealso: `MATSKEANKRON`, `MatCreateSkeanKron()`, `PCSetType()`
M*/
PetscErrorCode PCCreate_SkeanKron(PC pc)
{
  PC_SkeanKron *c;

  PetscFunctionBegin;
  PetscCallCXX(c = new PC_SkeanKron());
  pc->data                = c;
  pc->ops->setup          = PCSetUp_SkeanKron;
  pc->ops->apply          = PCApply_SkeanKron;
  pc->ops->applytranspose = PCApplyTranspose_SkeanKron;
  pc->ops->reset          = PCReset_SkeanKron;
  pc->ops->destroy        = PCDestroy_SkeanKron;
  pc->ops->view           = PCView_SkeanKron;
  PetscFunctionReturn(PETSC_SUCCESS);
}
