#include "newton.hpp"
#include <skean/private/reduce.hpp>

namespace skean {
namespace transport {

PetscErrorCode NewtonSystem::Reset()
{
  PetscFunctionBegin;
  PetscCall(KSPDestroy(&mf));
  PetscCall(MatDestroy(&shell));
  for_ = nullptr;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode NewtonSystem::Numbering(const Engine *e)
{
  PetscMPIInt           size;
  PetscInt              mine[3] = {e->n, e->mloc, e->rlo + e->mlo};
  std::vector<PetscInt> all;

  PetscFunctionBegin;
  if (for_ == e) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Comm_size(e->comm, &size));
  PetscCallCXX(all.resize(3 * static_cast<size_t>(size)));
  PetscCallMPI(MPI_Allgather(mine, 3, MPIU_INT, all.data(), 3, MPIU_INT, e->comm));
  PetscCallCXX(colrow.resize(PetscMax(e->m, 1)));
  PetscInt j = 0;
  for (int r = 0; r < size; ++r)
    for (PetscInt k = 0; k < all[3 * r + 1]; ++k) colrow[j++] = all[3 * r + 2] + all[3 * r] + k;
  start = e->rlo + e->mlo;
  for_  = e;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode NewtonSystem::Solve(SkeanTransport t, Keep &keep, double shift, double rtol, const double *gu, const double *gv, double *du, double *dv,
                                   PetscInt *its, bool *ok)
{
  Work                 *w   = static_cast<Work *>(t->work);
  const Engine         *e   = w->eng.get();
  const size_t          nnz = keep.i.size(), nloc = static_cast<size_t>(e->n) + e->mloc;
  std::vector<PetscInt> ci, cj;
  std::vector<double>   cv;
  Mat                   A;
  Vec                   x, rhs;
  PetscScalar          *a;
  KSPConvergedReason    reason;
  PetscInt64            total = static_cast<PetscInt64>(nnz);

  PetscFunctionBegin;
  PetscCall(PetscLogEventBegin(SKEAN_Transport_Newton, t, 0, 0, 0));
  PetscCall(Numbering(e));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &total, 1, MPIU_INT64, MPI_SUM, e->comm));
  t->nnzkept = PetscMax(t->nnzkept, static_cast<PetscInt>(PetscMin(total, PetscInt64(PETSC_MAX_INT))));
  PetscCallCXX(ci.resize(2 * nnz + nloc));
  PetscCallCXX(cj.resize(2 * nnz + nloc));
  PetscCallCXX(cv.resize(2 * nnz + nloc));
  for (size_t k = 0; k < nnz; ++k) {
    const PetscInt row = start + keep.i[k], col = colrow[keep.j[k]];
    ci[2 * k] = cj[2 * k + 1] = row;
    cj[2 * k] = ci[2 * k + 1] = col;
    cv[2 * k] = cv[2 * k + 1] = -keep.p[k];
  }
  for (PetscInt i = 0; i < e->n; ++i) {
    ci[2 * nnz + i] = cj[2 * nnz + i] = start + i;
    cv[2 * nnz + i]                   = w->a[i] + shift;
  }
  for (PetscInt j = 0; j < e->mloc; ++j) {
    const size_t k = 2 * nnz + e->n + j;
    ci[k] = cj[k] = start + e->n + j;
    cv[k]         = w->b[j] + shift;
  }
  PetscCall(MatCreate(e->comm, &A));
  PetscCall(MatSetSizes(A, static_cast<PetscInt>(nloc), static_cast<PetscInt>(nloc), PETSC_DETERMINE, PETSC_DETERMINE));
  PetscCall(MatSetType(A, MATAIJ));
  PetscCall(MatSetPreallocationCOO(A, static_cast<PetscCount>(cv.size()), ci.data(), cj.data()));
  PetscCall(MatSetValuesCOO(A, cv.data(), INSERT_VALUES));
  PetscCall(MatSetOption(A, MAT_SPD, PETSC_TRUE));
  PetscCall(MatCreateVecs(A, &x, &rhs));
  PetscCall(VecGetArray(rhs, &a));
  for (PetscInt i = 0; i < e->n; ++i) a[i] = gu ? gu[i] : 0.0;
  for (PetscInt j = 0; j < e->mloc; ++j) a[e->n + j] = -gv[j];
  PetscCall(VecRestoreArray(rhs, &a));
  KSP ksp;
  PetscCall(SkeanTransportGetKSP_Private(t, &ksp));
  PetscCall(KSPSetOperators(ksp, A, A));
  PetscReal krtol;
  PetscInt  kmax;
  PetscCall(KSPGetTolerances(ksp, &krtol, NULL, NULL, &kmax));
  PetscCall(KSPSetTolerances(ksp, rtol, PETSC_DEFAULT, PETSC_DEFAULT, kmax));
  PetscCall(KSPSolve(ksp, rhs, x));
  PetscCall(KSPGetConvergedReason(ksp, &reason));
  PetscCall(KSPGetIterationNumber(ksp, its));
  *ok = reason > 0;
  PetscCall(VecGetArray(x, &a));
  bool bad = false;
  for (size_t k = 0; k < nloc; ++k) bad = bad || !std::isfinite(a[k]);
  if (du)
    for (PetscInt i = 0; i < e->n; ++i) du[i] = a[i];
  for (PetscInt j = 0; j < e->mloc; ++j) dv[j] = -a[e->n + j];
  PetscCall(VecRestoreArray(x, &a));
  PetscCall(AgreeAny(e->comm, bad, &bad));
  *ok = *ok && !bad;
  PetscCall(VecDestroy(&x));
  PetscCall(VecDestroy(&rhs));
  PetscCall(MatDestroy(&A));
  PetscCall(PetscLogEventEnd(SKEAN_Transport_Newton, t, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

struct ShellCtx {
  Work  *w;
  double shift;
};

static PetscErrorCode ShellMult(Mat A, Vec x, Vec y)
{
  ShellCtx          *c;
  const PetscScalar *xa;
  PetscScalar       *ya;

  PetscFunctionBegin;
  PetscCall(MatShellGetContext(A, &c));
  Work *w = c->w;
  PetscCall(VecGetArrayRead(x, &xa));
  PetscCall(VecGetArray(y, &ya));
  PetscCall(w->eng->Products(1.0 / w->epsnow, w->u.data(), w->v.data(), xa, w->a.data(), NULL, NULL, ya));
  for (PetscInt j = 0; j < w->eng->mloc; ++j) ya[j] = (w->b[j] + c->shift) * xa[j] - ya[j];
  PetscCall(VecRestoreArray(y, &ya));
  PetscCall(VecRestoreArrayRead(x, &xa));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ShellDiagonal(Mat A, Vec d)
{
  ShellCtx    *c;
  PetscScalar *a;

  PetscFunctionBegin;
  PetscCall(MatShellGetContext(A, &c));
  PetscCall(VecGetArray(d, &a));
  for (PetscInt j = 0; j < c->w->eng->mloc; ++j) a[j] = c->w->b[j] + c->shift;
  PetscCall(VecRestoreArray(d, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode NewtonSystem::SolveMatrixFree(SkeanTransport t, double shift, double rtol, PetscInt maxit, const double *gv, double *dv, PetscInt *its, bool *ok)
{
  Work              *w   = static_cast<Work *>(t->work);
  const Engine      *e   = w->eng.get();
  ShellCtx           ctx = {w, shift};
  Vec                x, rhs;
  PetscScalar       *a;
  KSPConvergedReason reason;

  PetscFunctionBegin;
  PetscCall(PetscLogEventBegin(SKEAN_Transport_Newton, t, 0, 0, 0));
  PetscCall(Reset());
  PetscCall(MatCreateShell(e->comm, e->mloc, e->mloc, e->m, e->m, &ctx, &shell));
  PetscCall(MatShellSetOperation(shell, MATOP_MULT, (void (*)(void))ShellMult));
  PetscCall(MatShellSetOperation(shell, MATOP_GET_DIAGONAL, (void (*)(void))ShellDiagonal));
  PetscCall(KSPCreate(e->comm, &mf));
  PC pc;
  PetscCall(KSPGetPC(mf, &pc));
  PetscCall(KSPSetType(mf, KSPCG));
  PetscCall(PCSetType(pc, PCJACOBI));
  PetscCall(KSPSetOptionsPrefix(mf, ((PetscObject)t)->prefix));
  PetscCall(KSPAppendOptionsPrefix(mf, "transport_mf_"));
  PetscCall(KSPSetTolerances(mf, rtol, PETSC_DEFAULT, PETSC_DEFAULT, maxit));
  PetscCall(KSPSetFromOptions(mf));
  PetscCall(KSPSetOperators(mf, shell, shell));
  PetscCall(MatCreateVecs(shell, &x, &rhs));
  PetscCall(VecGetArray(rhs, &a));
  for (PetscInt j = 0; j < e->mloc; ++j) a[j] = gv[j];
  PetscCall(VecRestoreArray(rhs, &a));
  PetscCall(KSPSolve(mf, rhs, x));
  PetscCall(KSPGetConvergedReason(mf, &reason));
  PetscCall(KSPGetIterationNumber(mf, its));
  /* CG's iterates all increase the quadratic model: a solve that ran out of iterations is still an ascent direction */
  *ok = reason > 0 || reason == KSP_DIVERGED_ITS;
  PetscCall(VecGetArray(x, &a));
  bool bad = false;
  for (PetscInt j = 0; j < e->mloc; ++j) {
    bad   = bad || !std::isfinite(a[j]);
    dv[j] = a[j];
  }
  PetscCall(VecRestoreArray(x, &a));
  PetscCall(AgreeAny(e->comm, bad, &bad));
  *ok = *ok && !bad;
  PetscCall(VecDestroy(&x));
  PetscCall(VecDestroy(&rhs));
  PetscCall(Reset());
  PetscCall(PetscLogEventEnd(SKEAN_Transport_Newton, t, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace transport
} // namespace skean

/* BoomerAMG takes its parameters from the options database alone: enter those that the user has not set, with the KSP's prefix, for the duration of
   KSPSetFromOptions(). Against PETSc's defaults these halve to third the set-up on the irregular graphs of transport, at one more iteration. */
static PetscErrorCode SetFromOptionsWithDefaults(KSP ksp)
{
  static const char *const defaults[][2] = {{"-pc_hypre_boomeramg_coarsen_type", "PMIS"},
                                            {"-pc_hypre_boomeramg_interp_type", "ext+i"},
                                            {"-pc_hypre_boomeramg_P_max", "4"},
                                            {"-pc_hypre_boomeramg_strong_threshold", "0.5"}};
  const char              *prefix;
  PetscBool                mine[4];
  char                     name[4][256];

  PetscFunctionBegin;
  PetscCall(KSPGetOptionsPrefix(ksp, &prefix));
  for (int k = 0; k < 4; ++k) {
    PetscBool has;
    PetscCall(PetscSNPrintf(name[k], sizeof(name[k]), "-%s%s", prefix ? prefix : "", defaults[k][0] + 1));
    PetscCall(PetscOptionsHasName(NULL, NULL, name[k], &has));
    mine[k] = has ? PETSC_FALSE : PETSC_TRUE;
    if (mine[k]) PetscCall(PetscOptionsSetValue(NULL, name[k], defaults[k][1]));
  }
  PetscCall(KSPSetFromOptions(ksp));
  PC pc;
  PetscCall(KSPGetPC(ksp, &pc));
  PetscCall(PCSetFromOptions(pc));
  for (int k = 0; k < 4; ++k)
    if (mine[k]) PetscCall(PetscOptionsClearValue(NULL, name[k]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanTransportGetKSP_Private(SkeanTransport t, KSP *ksp)
{
  PetscFunctionBegin;
  if (!t->ksp) {
    PC pc;

    PetscCall(KSPCreate(PetscObjectComm((PetscObject)t), &t->ksp));
    PetscCall(PetscObjectIncrementTabLevel((PetscObject)t->ksp, (PetscObject)t, 1));
    PetscCall(KSPSetOptionsPrefix(t->ksp, ((PetscObject)t)->prefix));
    PetscCall(KSPAppendOptionsPrefix(t->ksp, "transport_"));
    PetscCall(KSPSetType(t->ksp, KSPCG));
    PetscCall(KSPSetTolerances(t->ksp, 1e-8, PETSC_DEFAULT, PETSC_DEFAULT, 300));
    PetscCall(KSPGetPC(t->ksp, &pc));
    PetscBool sns;
    PetscCall(PetscObjectTypeCompare((PetscObject)t, SKEANTRANSPORTSNS, &sns));
    if (sns) { /* as published: plain CG; a diagonal costs nothing */
      PetscCall(PCSetType(pc, PCJACOBI));
      PetscCall(KSPSetTolerances(t->ksp, 1e-10, PETSC_DEFAULT, PETSC_DEFAULT, 5000));
    } else {
#if defined(PETSC_HAVE_HYPRE)
      PetscCall(PCSetType(pc, PCHYPRE));
      PetscCall(PCHYPRESetType(pc, "boomeramg"));
#else
      PetscCall(PCSetType(pc, PCGAMG));
#endif
    }
    PetscCall(SetFromOptionsWithDefaults(t->ksp));
  }
  *ksp = t->ksp;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetKSP - The linear solver of the Newton systems

   Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  ksp - `KSPCG` with BoomerAMG where PETSc has hypre, `PCGAMG` otherwise; not to be destroyed

   Options Database Keys:
+  -transport_ksp_type <cg>   - the method
-  -transport_pc_type <hypre> - the preconditioner

   Level: advanced

   Notes:
   Its relative tolerance is set anew at every Newton step. Where the plan has too many entries to keep, another `KSP` (prefix transport_mf_, CG and
   Jacobi) applies the exact Hessian without a matrix.

.seealso: `SkeanTransportSolve()`
@*/
PetscErrorCode SkeanTransportGetKSP(SkeanTransport transport, KSP *ksp)
{
  PetscFunctionBegin;
  PetscCall(SkeanTransportGetKSP_Private(transport, ksp));
  PetscFunctionReturn(PETSC_SUCCESS);
}
