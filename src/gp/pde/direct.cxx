/*
   SKEANGPPDEDIRECT. Along each dimension the prior spans r functions (basis.hpp). The boundary conditions are imposed exactly: what they fix is
   lifted (a transfinite interpolation of the given sides), what they leave free is spanned by V = W Z in each dimension. The equation is tested with
   the V of all dimensions (its residual at the collocation points is made orthogonal to them):

     (A_1 (+) ... (+) A_d + c) y = V' (f - L lift),   A_k = V_k' (a_k V_k'' + b_k V_k')       (Kronecker sum, kronsum.hpp)

   Nonlinear terms: Newton-GMRES (SNES) on the coefficients with that Kronecker sum, shifted by the mean of the derivative, as preconditioner.

   Choice of the length scale without the exact solution: for envelopes L/8, L/4, L/16, L/32 the equation is solved and the residual at mid-points and
   the gap on the boundary there are measured, both of the function itself and where nothing was imposed. For Poisson's equation and for advection they bound the
   error (state.cxx); the first length scale that meets the tolerance, or the one with the smallest bound, is taken. The difference to the runner-up is
   the second, sharper and less certain, estimate.

   Cost: d decompositions of n x p matrices, O(sum r_k^3) for the Schur forms, O(N sum r_k) per residual.
*/
#include "state.hpp"
#include <skean/private/reduce.hpp>
#include <petscsnes.h>
#include <algorithm>
#include <cmath>

using namespace skean;
using namespace skean::gp;

namespace {

struct Direct {
  SkeanGPPDE          pde = nullptr;
  PointSet            grid; /* the collocation points; E = W, W1, W2 */
  TensorSizes         m{}, n{};
  KroneckerSum        ks;
  std::vector<double> lift;   /* coefficients of the lifting, home boxes of sizes r */
  std::vector<double> linear; /* V' (sum a u_kk + b u_k) of the lifting, sizes m */
  std::vector<double> ru, rdu, rd2u;
  const Dense        *W[3], *V[3], *Z[3];
};

PetscErrorCode LocalMode(const ModeOp &op, int k, int d, TensorSizes *n, std::vector<double> *t, std::vector<double> *scratch)
{
  PetscInt64          L = 1, R = 1;
  std::vector<double> out;

  PetscFunctionBegin;
  for (int j = 0; j < k; j++) L *= (*n)[j];
  for (int j = k + 1; j < d; j++) R *= (*n)[j];
  PetscCallCXX(out.assign(static_cast<size_t>(L * op.m * R), 0.0));
  if (L && R && op.m && op.n) PetscCallCXX(ModeProduct(op, L, op.n * R, op.m * R, R, 0, R, t->data(), out.data(), *scratch));
  (*n)[k] = op.m;
  t->swap(out);
  PetscFunctionReturn(PETSC_SUCCESS);
}

ModeOp Op(const Dense &A, bool trans = false)
{
  return ModeOp::Dense(static_cast<PetscInt64>(A.m), static_cast<PetscInt64>(A.n), A.a.data(), std::max<PetscInt64>(1, static_cast<PetscInt64>(A.m)), trans);
}

/*
   Coefficients that satisfy the conditions on all sides: for k = 0, 1, ... add lift_k x_k (g_k - rho_k x_k (what is there so far)).
   g_k: the given data of the two sides of dimension k in the bases of the other dimensions. The sides are small and done by every process.
*/
PetscErrorCode Lifting(Direct *s)
{
  SkeanGPPDE               pde = s->pde;
  SkeanGPPDEState_Private *st  = pde->state;
  const int                d   = static_cast<int>(pde->dim);
  const TensorBox          box = st->grid.Box(0, st->r);
  std::vector<double>      h[3], scratch;
  TensorSizes              nh[3];
  PetscErrorCode           ierr = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCallCXX(s->lift.assign(static_cast<size_t>(box.Volume()), 0.0));
  for (int k = 0; k < d; k++) {
    const size_t nb  = st->basis[k].rho.m;
    TensorSizes  n   = s->n;
    n[k]             = static_cast<PetscInt64>(nb);
    PetscInt64 total = 1;
    for (int j = 0; j < d; j++) total *= n[j];
    PetscCallCXX(h[k].assign(static_cast<size_t>(total), 0.0));
    nh[k] = n;
    if (!nb) continue;
    /* values on the sides; row b of rho belongs to the b-th side that has a condition (periodic: all zero) */
    if (pde->bc[2 * k] != SKEAN_GPPDE_BC_PERIODIC) {
      int                 sides[2], ns = 0;
      std::vector<double> x(static_cast<size_t>(d));
      for (int e = 0; e < 2; e++)
        if (pde->bc[2 * k + e] != SKEAN_GPPDE_BC_NONE) sides[ns++] = 2 * k + e;
      for (PetscInt64 t = 0; t < total && !ierr; t++) {
        PetscInt64 rest = t;
        int        side = 0;
        for (int j = d - 1; j >= 0; j--) {
          const PetscInt64 i = rest % n[j];
          rest /= n[j];
          if (j == k) {
            side                      = sides[i];
            x[static_cast<size_t>(j)] = side % 2 ? pde->hi[j] : pde->lo[j];
          } else
            x[static_cast<size_t>(j)] = st->x[j][static_cast<size_t>(i)];
        }
        if (pde->bcfn[side]) ierr = pde->bcfn[side](1, d, x.data(), side, &h[k][static_cast<size_t>(t)], pde->bcctx[side]);
      }
    }
    for (int j = 0; j < d; j++)
      if (j != k) PetscCall(LocalMode(Op(*s->W[j], true), j, d, &nh[k], &h[k], &scratch));
    for (int i = 0; i < k; i++) {
      /* rho_k x_k (lift_i x_i h_i) */
      std::vector<double> t;
      TensorSizes         nt = nh[i];
      PetscCallCXX(t = h[i]);
      PetscCall(LocalMode(Op(st->basis[k].rho), k, d, &nt, &t, &scratch));
      PetscCall(LocalMode(Op(st->basis[i].lift), i, d, &nt, &t, &scratch));
      for (size_t q = 0; q < t.size(); q++) h[k][q] -= t[q];
    }
  }
  PetscCall(AgreeCallback(pde, ierr, "boundary"));
  for (int k = 0; k < d; k++) {
    if (!st->basis[k].rho.m || !box.Volume()) continue;
    std::vector<double> t;
    TensorSizes         nt = nh[k];
    Dense               rows;
    PetscInt64          rest = 1;
    for (int j = 1; j < d; j++) rest *= nt[j];
    const size_t lo = static_cast<size_t>(box.lo[0]), len = static_cast<size_t>(box.Length(0));
    if (k == 0) {
      /* only the rows of this slab */
      const Dense &A = st->basis[0].lift;
      PetscCallCXX(rows = Dense(len, A.n));
      for (size_t b = 0; b < A.n; b++)
        for (size_t i = 0; i < len; i++) rows(i, b) = A(lo + i, b);
      PetscCallCXX(t = h[0]);
      PetscCall(LocalMode(Op(rows), 0, d, &nt, &t, &scratch));
    } else {
      PetscCallCXX(t.assign(h[k].begin() + static_cast<std::ptrdiff_t>(lo) * rest, h[k].begin() + static_cast<std::ptrdiff_t>(lo + len) * rest));
      nt[0] = static_cast<PetscInt64>(len);
      PetscCall(LocalMode(Op(st->basis[k].lift), k, d, &nt, &t, &scratch));
    }
    for (size_t q = 0; q < t.size(); q++) s->lift[q] += t[q];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* coefficients: lifting + Z y */
PetscErrorCode Coefficients(Direct *s, const double *y, std::vector<double> *c)
{
  PetscFunctionBegin;
  PetscCall(ApplyModes(s->pde->state->grid, s->m, s->Z, false, y, *c));
  for (size_t i = 0; i < c->size(); i++) (*c)[i] += s->lift[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* F(y) in the coefficients; also the derivatives of the nonlinear part at the collocation points */
PetscErrorCode Function(Direct *s, const double *y, double *F, bool derivatives)
{
  SkeanGPPDE               pde = s->pde;
  SkeanGPPDEState_Private *st  = pde->state;
  std::vector<double>      c, u, zero, du, d2u, res, t;

  PetscFunctionBegin;
  PetscCall(Coefficients(s, y, &c));
  PetscCall(Fields(pde, s->grid, c, &u, nullptr, pde->residual ? &du : nullptr, pde->residual ? &d2u : nullptr));
  PetscCallCXX(zero.assign(u.size(), 0.0));
  PetscCall(Residual(pde, s->grid, u, zero, du, d2u, res, derivatives ? &s->ru : nullptr, derivatives ? &s->rdu : nullptr, derivatives ? &s->rd2u : nullptr));
  PetscCall(ApplyModes(st->grid, s->n, s->V, true, res.data(), t));
  std::copy(t.begin(), t.end(), F);
  if (!pde->residual) {
    PetscCall(s->ks.Apply(y, 0.0, t));
    for (size_t i = 0; i < t.size(); i++) F[i] += t[i] + s->linear[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y = F'(y0) x with the derivatives of the last Function(..., true) */
PetscErrorCode Jacobian(Direct *s, const double *x, double *y)
{
  SkeanGPPDE               pde = s->pde;
  SkeanGPPDEState_Private *st  = pde->state;
  std::vector<double>      f, g, t;

  PetscFunctionBegin;
  PetscCall(ApplyModes(st->grid, s->m, s->V, false, x, f));
  for (size_t i = 0; i < f.size(); i++) f[i] *= s->ru[i] + (pde->residual ? 0.0 : pde->c);
  if (pde->residual) {
    const size_t size = f.size();
    for (int k = 0; k < pde->dim; k++)
      for (int o = 1; o <= 2; o++) {
        const std::vector<double> &w    = o == 1 ? s->rdu : s->rd2u;
        const Dense               *D[3] = {s->V[0], s->V[1], s->V[2]};
        D[k]                            = o == 1 ? &st->basis[k].V1 : &st->basis[k].V2;
        PetscCall(ApplyModes(st->grid, s->m, D, false, x, g));
        for (size_t i = 0; i < size; i++) f[i] += w[static_cast<size_t>(k) * size + i] * g[i];
      }
  }
  PetscCall(ApplyModes(st->grid, s->n, s->V, true, f.data(), t));
  std::copy(t.begin(), t.end(), y);
  if (!pde->residual) {
    PetscCall(s->ks.Apply(x, 0.0, t));
    for (size_t i = 0; i < t.size(); i++) y[i] += t[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The Kronecker sum of constant coefficients: those of the equation, or the means of the linearisation */
PetscErrorCode Operators(Direct *s, const double a[], const double b[], double shift, bool *ok)
{
  SkeanGPPDEState_Private *st = s->pde->state;
  Dense                    A[3];

  PetscFunctionBegin;
  for (int k = 0; k < s->pde->dim; k++)
    PetscCallCXX({
      Dense M = st->basis[k].V2;
      for (size_t i = 0; i < M.a.size(); i++) M.a[i] = a[k] * M.a[i] + b[k] * st->basis[k].V1.a[i];
      A[k] = Multiply(st->basis[k].V, M, true, false);
    });
  PetscCall(s->ks.Setup(&st->grid, A, shift, ok));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Means(Direct *s, double a[], double b[], double *c)
{
  SkeanGPPDE   pde  = s->pde;
  const size_t size = s->ru.size(), d = static_cast<size_t>(pde->dim);
  FlaggedSum   sum(2 + 2 * d);

  PetscFunctionBegin;
  sum[0] = static_cast<double>(size);
  for (double v : s->ru) sum[1] += v;
  for (size_t k = 0; k < d && pde->residual; k++)
    for (size_t i = 0; i < size; i++) {
      sum[2 + k] += s->rd2u[k * size + i];
      sum[2 + d + k] += s->rdu[k * size + i];
    }
  PetscCall(sum.Reduce(PetscObjectComm((PetscObject)pde), false, nullptr));
  *c = sum[1] / sum[0] + (pde->residual ? 0.0 : pde->c);
  for (size_t k = 0; k < d; k++) {
    a[k] = sum[2 + k] / sum[0];
    b[k] = sum[2 + d + k] / sum[0];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SNESFunction_Direct(SNES, Vec y, Vec f, void *ctx)
{
  const PetscScalar *yy;
  PetscScalar       *ff;

  PetscFunctionBegin;
  PetscCall(VecGetArrayRead(y, &yy));
  PetscCall(VecGetArrayWrite(f, &ff));
  PetscCall(Function(static_cast<Direct *>(ctx), yy, ff, false));
  PetscCall(VecRestoreArrayWrite(f, &ff));
  PetscCall(VecRestoreArrayRead(y, &yy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SNESJacobian_Direct(SNES, Vec y, Mat, Mat, void *ctx)
{
  Direct             *s = static_cast<Direct *>(ctx);
  const PetscScalar  *yy;
  std::vector<double> f;
  double              a[3], b[3], c = 0;
  bool                ok;

  PetscFunctionBegin;
  PetscCall(VecGetArrayRead(y, &yy));
  PetscCallCXX(f.resize(static_cast<size_t>(s->pde->state->grid.Box(0, s->m).Volume())));
  PetscCall(Function(s, yy, f.data(), true));
  PetscCall(VecRestoreArrayRead(y, &yy));
  PetscCall(Means(s, a, b, &c));
  if (s->pde->residual)
    PetscCall(Operators(s, a, b, c, &ok));
  else
    PetscCall(s->ks.SetShift(c, &ok));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode MatMult_Direct(Mat A, Vec x, Vec y)
{
  Direct            *s;
  const PetscScalar *xx;
  PetscScalar       *yy;

  PetscFunctionBegin;
  PetscCall(MatShellGetContext(A, &s));
  PetscCall(VecGetArrayRead(x, &xx));
  PetscCall(VecGetArrayWrite(y, &yy));
  PetscCall(Jacobian(s, xx, yy));
  PetscCall(VecRestoreArrayWrite(y, &yy));
  PetscCall(VecRestoreArrayRead(x, &xx));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode PCApply_Direct(PC pc, Vec x, Vec y)
{
  Direct            *s;
  const PetscScalar *xx;
  PetscScalar       *yy;
  bool               ok;

  PetscFunctionBegin;
  PetscCall(PCShellGetContext(pc, &s));
  PetscCall(VecGetArrayRead(x, &xx));
  PetscCall(VecGetArrayWrite(y, &yy));
  PetscCall(s->ks.Solve(xx, yy, &ok));
  PetscCall(VecRestoreArrayWrite(y, &yy));
  PetscCall(VecRestoreArrayRead(x, &xx));
  if (!ok) PetscCall(PCSetFailedReason(pc, PC_SUBPC_ERROR));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* PETSc's test, and: once the residual has fallen by eight orders, a step that does not bring another one has met the rounding level */
PetscErrorCode NewtonConverged(SNES snes, PetscInt it, PetscReal xnorm, PetscReal gnorm, PetscReal fnorm, SNESConvergedReason *reason, void *ctx)
{
  PetscReal *norms = static_cast<PetscReal *>(ctx); /* first, previous */

  PetscFunctionBegin;
  PetscCall(SNESConvergedDefault(snes, it, xnorm, gnorm, fnorm, reason, NULL));
  if (!it)
    norms[0] = fnorm;
  else if (!*reason && fnorm <= 1e-8 * norms[0] && fnorm > 0.1 * norms[1])
    *reason = SNES_CONVERGED_SNORM_RELATIVE;
  norms[1] = fnorm;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Newton(Direct *s, std::vector<double> &y, bool *ok)
{
  PetscReal           norms[2] = {0, 0};
  SkeanGPPDE          pde      = s->pde;
  MPI_Comm            comm     = PetscObjectComm((PetscObject)pde);
  const PetscInt      size     = static_cast<PetscInt>(y.size());
  SNES                snes;
  KSP                 ksp;
  PC                  pc;
  Vec                 x, f;
  Mat                 J;
  SNESConvergedReason reason;
  PetscReal           f0, f1;
  char                prefix[128];

  PetscFunctionBegin;
  PetscCall(VecCreateMPI(comm, size, PETSC_DETERMINE, &x));
  PetscCall(VecDuplicate(x, &f));
  PetscCall(MatCreateShell(comm, size, size, PETSC_DETERMINE, PETSC_DETERMINE, s, &J));
  PetscCall(SkeanMatShellSetOperation(J, MATOP_MULT, MatMult_Direct));
  PetscCall(SNESCreate(comm, &snes));
  PetscCall(PetscSNPrintf(prefix, sizeof(prefix), "%sgppde_", ((PetscObject)pde)->prefix ? ((PetscObject)pde)->prefix : ""));
  PetscCall(SNESSetOptionsPrefix(snes, prefix));
  PetscCall(SNESSetFunction(snes, f, SNESFunction_Direct, s));
  PetscCall(SNESSetJacobian(snes, J, J, SNESJacobian_Direct, s));
  PetscCall(SNESSetTolerances(snes, 1e-50, 1e-13, 1e-11, 40, 2000));
  PetscCall(SNESSetConvergenceTest(snes, NewtonConverged, norms, NULL));
  PetscCall(SNESGetKSP(snes, &ksp));
  PetscCall(KSPSetType(ksp, KSPGMRES));
  PetscCall(KSPGMRESSetRestart(ksp, 50));
  PetscCall(KSPSetPCSide(ksp, PC_RIGHT));
  PetscCall(KSPSetTolerances(ksp, 1e-8, PETSC_DEFAULT, PETSC_DEFAULT, 200));
  PetscCall(KSPGetPC(ksp, &pc));
  PetscCall(PCSetType(pc, PCSHELL));
  PetscCall(PCShellSetContext(pc, s));
  PetscCall(PCShellSetApply(pc, PCApply_Direct));
  PetscCall(SNESSetFromOptions(snes));
  {
    PetscScalar *xx;
    PetscCall(VecGetArrayWrite(x, &xx));
    std::copy(y.begin(), y.end(), xx);
    PetscCall(VecRestoreArrayWrite(x, &xx));
  }
  PetscCall(SNESComputeFunction(snes, x, f));
  PetscCall(VecNorm(f, NORM_2, &f0));
  PetscCall(SNESSolve(snes, NULL, x));
  PetscCall(SNESGetConvergedReason(snes, &reason));
  PetscCall(SNESGetFunctionNorm(snes, &f1));
  PetscCall(PetscInfo(pde, "Newton: %s, residual %g -> %g\n", SNESConvergedReasons[reason], (double)f0, (double)f1));
  /* a line search that fails after a fall by six orders has met the rounding level; the bound will tell whether that is good enough */
  *ok = reason > 0 || (f1 <= 1e-6 * f0);
  {
    const PetscScalar *xx;
    PetscCall(VecGetArrayRead(x, &xx));
    std::copy(xx, xx + size, y.begin());
    PetscCall(VecRestoreArrayRead(x, &xx));
  }
  PetscCall(SNESDestroy(&snes));
  PetscCall(MatDestroy(&J));
  PetscCall(VecDestroy(&x));
  PetscCall(VecDestroy(&f));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace

/* Solves with the bases in the state, the same on every process; the coefficients go into the state. ok = false: it cannot be done */
PetscErrorCode skean::gp::SolveWithBases(SkeanGPPDE pde, bool *ok)
{
  SkeanGPPDEState_Private *st = pde->state;
  const int                d  = static_cast<int>(pde->dim);
  Direct                   s;

  PetscFunctionBegin;
  s.pde = pde;
  *ok   = true;
  for (int k = 0; k < d; k++) {
    *ok      = *ok && st->basis[k].ok && st->basis[k].Inner() > 0;
    st->r[k] = static_cast<PetscInt64>(st->basis[k].Rank());
    s.m[k]   = static_cast<PetscInt64>(st->basis[k].Inner());
    s.n[k]   = pde->n[k];
    PetscCallCXX({
      s.grid.x[k]    = st->x[k];
      s.grid.E[k][0] = st->basis[k].W;
      s.grid.E[k][1] = st->basis[k].W1;
      s.grid.E[k][2] = st->basis[k].W2;
    });
    s.W[k] = &st->basis[k].W;
    s.V[k] = &st->basis[k].V;
    s.Z[k] = &st->basis[k].Z;
  }
  s.grid.n = s.n;
  if (!*ok) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Lifting(&s));
  const size_t        m = static_cast<size_t>(st->grid.Box(0, s.m).Volume());
  std::vector<double> y, b, t;
  PetscCallCXX(y.assign(m, 0.0));
  PetscCallCXX(b.assign(m, 0.0));
  if (!pde->residual) {
    /* V' (a u_kk + b u_k) of the lifting, through r x m matrices */
    Dense P[3], P0[3];
    PetscCallCXX(s.linear.assign(m, 0.0));
    for (int k = 0; k < d; k++)
      PetscCallCXX({
        Dense M = st->basis[k].W2;
        for (size_t i = 0; i < M.a.size(); i++) M.a[i] = pde->a[k] * M.a[i] + pde->b[k] * st->basis[k].W1.a[i];
        P[k]  = Multiply(st->basis[k].V, M, true, false);
        P0[k] = Multiply(st->basis[k].V, st->basis[k].W, true, false);
      });
    for (int k = 0; k < d; k++) {
      const Dense *F[3] = {&P0[0], &P0[1], &P0[2]};
      F[k]              = &P[k];
      PetscCall(ApplyModes(st->grid, st->r, F, false, s.lift.data(), t));
      for (size_t i = 0; i < m; i++) s.linear[i] += t[i];
    }
    PetscCall(Operators(&s, pde->a, pde->b, pde->c, ok));
    if (!*ok) PetscFunctionReturn(PETSC_SUCCESS);
    /* with a reaction this is the first guess: the equation without it */
    SkeanGPPDEResidualFn reaction = pde->reaction;
    double               rel;
    pde->reaction    = NULL;
    PetscErrorCode e = Function(&s, y.data(), b.data(), false);
    pde->reaction    = reaction;
    PetscCall(e);
    for (double &v : b) v = -v;
    PetscCall(s.ks.SolveRefined(b.data(), y, &rel, ok));
    PetscCall(PetscInfo(pde, "Kronecker sum: relative residual %g, condition of the eigenvectors %g\n", rel, s.ks.Condition()));
    if (!*ok) PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (pde->residual || pde->reaction) PetscCall(Newton(&s, y, ok));
  PetscCall(Coefficients(&s, y.data(), &st->coef));
  PetscFunctionReturn(PETSC_SUCCESS);
}

namespace {

/* One length scale: bases, lifting, solve; the coefficients go into the state. ok = false: it cannot be done with this one */
PetscErrorCode Try(SkeanGPPDE pde, double length, bool *ok)
{
  SkeanGPPDEState_Private *st   = pde->state;
  MPI_Comm                 comm = PetscObjectComm((PetscObject)pde);
  const int                d    = static_cast<int>(pde->dim);
  PetscMPIInt              rank, size;
  PetscErrorCode           ierr  = PETSC_SUCCESS;
  bool                     first = pde->residual == nullptr;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  for (int k = 0; k < d; k++) first = first && pde->a[k] == 0;
  PetscCall(PetscLogEventBegin(SKEAN_GPPDE_Basis, pde, 0, 0, 0));
  for (int k = 0; k < d; k++) {
    BasisSpec &b = st->spec[k];
    PetscCallCXX({
      b.kind   = pde->basis;
      b.x      = st->x[k];
      b.freq   = st->freq[k];
      b.ell    = length * (pde->hi[k] - pde->lo[k]);
      b.floor  = pde->floor > 0 ? pde->floor : (pde->basis == SKEAN_GPPDE_BASIS_COVARIANCE ? 1e-15 : 1e-13);
      b.kernel = &st->kernel[k];
    });
    /* dimension k on process k, so that they are done at the same time */
    if (rank == k % size && !ierr) {
      ierr = st->basis[k].Build(b);
      if (!ierr) PetscCallCXX(st->basis[k].Constrain(pde->bc[2 * k], pde->bc[2 * k + 1], first));
    }
  }
  PetscCall(AgreeCallback(pde, ierr, "kernel"));
  for (int k = 0; k < d; k++) PetscCall(st->basis[k].Broadcast(comm, k % size));
  PetscCall(PetscLogEventEnd(SKEAN_GPPDE_Basis, pde, 0, 0, 0));
  PetscCall(SolveWithBases(pde, ok));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanGPPDESetUp_Direct(SkeanGPPDE pde)
{
  SkeanGPPDEState_Private *st   = pde->state;
  MPI_Comm                 comm = PetscObjectComm((PetscObject)pde);
  PetscMPIInt              rank, size;
  PetscErrorCode           ierr  = PETSC_SUCCESS;
  bool                     fixed = pde->c != 0 || pde->residual || pde->reaction;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  for (int side = 0; side < 2 * pde->dim; side++) fixed = fixed || pde->bc[side] == SKEAN_GPPDE_BC_DIRICHLET;
  PetscCheck(fixed, comm, PETSC_ERR_SUP, "Without a zero-order term and without a side with given values the solution is determined up to a constant only");
  PetscCheck(pde->grid == SKEAN_GPPDE_GRID_UNIFORM || (pde->basis != SKEAN_GPPDE_BASIS_FD2 && pde->basis != SKEAN_GPPDE_BASIS_FD4), comm, PETSC_ERR_SUP,
             "Finite differences want the uniform grid");
  PetscCheck(!pde->kernel || pde->basis == SKEAN_GPPDE_BASIS_COVARIANCE, comm, PETSC_ERR_SUP,
             "Type %s with basis %s makes its own covariance functions; -gppde_kernel (SkeanGPPDESetKernel()) is for -gppde_basis covariance and for the types "
             "compat and varpro",
             SKEANGPPDEDIRECT, SkeanGPPDEBases[pde->basis]);
  if (pde->basis == SKEAN_GPPDE_BASIS_COVARIANCE) {
    std::vector<Kernel1D> list;
    PetscCheck(pde->kernel, comm, PETSC_ERR_ARG_WRONGSTATE, "The covariance basis needs SkeanGPPDESetKernel() or -gppde_kernel");
    PetscCall(KernelParseList(comm, pde->kernel, static_cast<size_t>(pde->dim), &list));
    for (int k = 0; k < pde->dim; k++) {
      PetscCallCXX(st->kernel[k] = list[static_cast<size_t>(k)]);
      PetscCheck(st->kernel[k].MaxOrder() >= 2, comm, PETSC_ERR_SUP, "The kernel of dimension %d gives no second derivative", k);
    }
  } else if (pde->basis == SKEAN_GPPDE_BASIS_MIXTURE) {
    for (int k = 0; k < pde->dim; k++)
      if (rank == k % size && !ierr) ierr = FindFrequencies(pde, k, &st->freq[k]);
    PetscCall(AgreeCallback(pde, ierr, "source or boundary"));
    for (int k = 0; k < pde->dim; k++) {
      int n = static_cast<int>(st->freq[k].size());
      PetscCallMPI(MPI_Bcast(&n, 1, MPI_INT, k % size, comm));
      PetscCallCXX(st->freq[k].resize(static_cast<size_t>(n)));
      PetscCallMPI(MPI_Bcast(st->freq[k].data(), n, MPI_DOUBLE, k % size, comm));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanGPPDESolve_Direct(SkeanGPPDE pde)
{
  SkeanGPPDEState_Private *st = pde->state;
  struct Candidate {
    double              bound, umax, length;
    BasisSpec           spec[3];
    Basis1D             basis[3];
    TensorSizes         r;
    std::vector<double> coef, u;
  };
  std::vector<double>    lengths;
  std::vector<Candidate> best; /* at most two, the better first */
  bool                   ok = false, any = false;
  PetscInt               it = 0;

  PetscFunctionBegin;
  PetscCallCXX({
    if (pde->basis != SKEAN_GPPDE_BASIS_MIXTURE)
      lengths = {0.125};
    else if (pde->length > 0)
      lengths = {pde->length};
    else
      lengths = {1.0 / 8, 1.0 / 4, 1.0 / 16, 1.0 / 32};
  });
  for (double length : lengths) {
    double bound, umax;
    if (it >= pde->solver.max_it) break;
    PetscCall(Try(pde, length, &ok));
    it++;
    if (!ok) continue;
    any = true;
    PetscCall(CheckBound(pde, st->coef, &bound, &umax));
    const double rel = umax > 0 ? bound / umax : bound;
    PetscCall(SkeanSolverMonitor_Private((PetscObject)pde, &pde->solver, it, rel));
    Candidate c;
    PetscCallCXX({
      const Dense *F[3] = {&st->basis[0].W, &st->basis[1].W, &st->basis[2].W};
      c.bound           = std::isfinite(rel) ? rel : PETSC_MAX_REAL;
      c.umax            = umax;
      c.length          = length;
      c.r               = st->r;
      c.coef            = st->coef;
      for (int k = 0; k < pde->dim; k++) c.spec[k] = st->spec[k], c.basis[k] = st->basis[k];
      PetscCall(ApplyModes(st->grid, st->r, F, false, st->coef.data(), c.u));
      best.push_back(std::move(c));
      std::stable_sort(best.begin(), best.end(), [](const Candidate &a, const Candidate &b) { return a.bound < b.bound; });
      if (best.size() > 2) best.pop_back();
    });
    if (best[0].bound <= pde->solver.rtol && it >= pde->candidates) break;
    if (best[0].bound * best[0].umax <= pde->solver.atol && it >= pde->candidates) break;
  }
  pde->solver.its = it;
  if (!any) {
    pde->solver.reason = SKEAN_DIVERGED_LINEAR_SOLVE;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (best.size() == 2) {
    FlaggedSum sum(2);
    for (size_t i = 0; i < best[0].u.size(); i++) {
      const double e = best[0].u[i] - best[1].u[i];
      sum[0] += e * e;
      sum[1] += best[0].u[i] * best[0].u[i];
    }
    PetscCall(sum.Reduce(PetscObjectComm((PetscObject)pde), false, nullptr));
    st->agreement = sum[1] > 0 ? std::sqrt(sum[0] / sum[1]) : std::sqrt(sum[0]);
  }
  PetscCallCXX({
    Candidate &c = best[0];
    st->bound    = c.bound;
    st->r        = c.r;
    st->coef     = std::move(c.coef);
    for (int k = 0; k < pde->dim; k++) st->spec[k] = c.spec[k], st->basis[k] = c.basis[k];
  });
  pde->solver.err    = st->bound;
  st->solved         = true;
  const bool finite  = best[0].bound < PETSC_MAX_REAL;
  pde->solver.reason = !finite                                            ? SKEAN_DIVERGED_NANORINF
                       : best[0].bound <= pde->solver.rtol                ? SKEAN_CONVERGED_RTOL
                       : best[0].bound * best[0].umax <= pde->solver.atol ? SKEAN_CONVERGED_ATOL
                                                                          : SKEAN_DIVERGED_ITS;
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace

/*MC
   SKEANGPPDEDIRECT - Collocation with a spectral-mixture prior, boundary conditions imposed exactly, one Kronecker-sum solve

   Level: beginner

   Options Database Keys:
+  -gppde_basis (mixture|covariance|chebyshev|fd2|fd4) - what functions are made of; the last three for comparison
.  -gppde_length (l)                                   - length scale of the envelope relative to the side of the box (default: chosen)
.  -gppde_floor (s)                                    - smallest singular value of the features that is kept, relative (default 1e-13)
-  -gppde_candidates (n)                               - compare at least so many length scales (default: 2 in one and two dimensions, 1 in three)

   Notes:
   The options of SNES and of its KSP apply to nonlinear equations with the prefix gppde_.

   1. frequencies of each dimension: peaks of the windowed, zero-padded periodogram of source and boundary data (never of the solution)
   2. features of the mixture on the grid, their singular value decomposition, truncated at the floor
   3. lifting of the boundary data, Kronecker-sum solve for the rest (Newton-GMRES if the equation is not linear)
   4. residual at mid-points: an error bound for Poisson's equation and advection; other length scales until it meets the tolerance

   The working precision enters through a square root of the covariance, not through the covariance itself: a jitter that spoils the high frequencies is not needed.
   The verdict is that of step 4: `SKEAN_CONVERGED_RTOL` if the bound is below rtol times max |u|, `SKEAN_DIVERGED_ITS` if no length scale reaches it.

   Where the solution has frequencies that the data do not show (or a grid too coarse for them) the bound says so; take a finer grid or
   `SkeanGPPDESetFrequencies()`. Smooth solutions without any scale separation are the business of Chebyshev collocation (-gppde_basis chebyshev).

   Source: Fang et al., arXiv 2311.04465 (the model); Adcock and Huybrechs, "Frames and numerical approximation", SIAM Review 61 (2019) (truncated features);
   Bartels and Stewart, CACM 15 (1972) (the solve).

.seealso: `SkeanGPPDE`, `SKEANGPPDECOMPAT`, `SkeanGPPDEGetErrorEstimate()`
M*/
PetscErrorCode SkeanGPPDECreate_Direct(SkeanGPPDE pde)
{
  PetscFunctionBegin;
  pde->ops->setup          = SkeanGPPDESetUp_Direct;
  pde->ops->solve          = SkeanGPPDESolve_Direct;
  pde->ops->setfromoptions = NULL;
  pde->ops->view           = NULL;
  pde->ops->destroy        = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}
