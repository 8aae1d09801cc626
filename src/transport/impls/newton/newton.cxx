#include "newton.hpp"
#include <skean/private/reduce.hpp>

namespace skean {
namespace transport {

PetscErrorCode NewtonSystem::Reset()
{
  PetscFunctionBegin;
  PetscCall(KSPDestroy(&mf));
  PetscCall(MatDestroy(&shell));
  PetscCall(small.Reset());
  for_     = nullptr;
  reusable = false;
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
  PetscCallCXX(firstcol.assign(static_cast<size_t>(size) + 1, 0));
  PetscCallCXX(firstrow.resize(size));
  for (int r = 0; r < size; ++r) {
    firstcol[r + 1] = firstcol[r] + all[3 * r + 1];
    firstrow[r]     = all[3 * r + 2] + all[3 * r];
  }
  start = e->rlo + e->mlo;
  for_  = e;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows of the system: the entries sorted by two counting sorts, the transpose sent to the owners of the columns. Faster by a factor of several than
   MatSetPreallocationCOO(), which sorts by comparison and keeps its maps. */
PetscErrorCode NewtonSystem::Assemble(SkeanTransport t, Keep &keep, double shift, Mat *A)
{
  Work               *w    = static_cast<Work *>(t->work);
  const Engine       *e    = w->eng.get();
  const size_t        nnz  = keep.i.size();
  const PetscInt      nloc = e->n + e->mloc;
  std::vector<size_t> at, rowptr;
  std::vector<Entry>  sorted, send, recv;
  PetscMPIInt         size;

  PetscFunctionBegin;
  PetscCallCXX(sorted.resize(nnz));
  for (size_t k = 0; k < nnz; ++k) sorted[k] = {start + keep.i[k], keep.j[k], keep.p[k]};
  if (!small.Fits(e)) keep.Free();
  PetscCallCXX(SortEntries(start, e->n, e->m, sorted, rowptr));
  /* the transpose: in the order of rows to each owner, so that what arrives, taken by process, is in the order of rows too */
  PetscCallMPI(MPI_Comm_size(e->comm, &size));
  std::vector<int>    scount, rcount, sdispl, rdispl;
  std::vector<size_t> put;
  bool                toobig = nnz > static_cast<size_t>(PETSC_MPI_INT_MAX) / sizeof(Entry);
  PetscCall(AgreeAny(e->comm, toobig, &toobig));
  PetscCheck(!toobig || size == 1, e->comm, PETSC_ERR_SUP,
             "Too many entries in a Newton system for MPI's counts; use more processes or a smaller -transport_ssns_fill");
  const std::vector<Entry> &arrived = size == 1 ? sorted : recv;
  if (size > 1) {
    PetscCallCXX(scount.assign(size, 0));
    PetscCallCXX(rcount.assign(size, 0));
    PetscCallCXX(sdispl.assign(size + 1, 0));
    PetscCallCXX(rdispl.assign(size + 1, 0));
    for (const Entry &x : sorted) scount[Owner(x.col)] += static_cast<int>(sizeof(Entry));
    PetscCallMPI(MPI_Alltoall(scount.data(), 1, MPI_INT, rcount.data(), 1, MPI_INT, e->comm));
    PetscInt64 incoming = 0;
    for (int r = 0; r < size; ++r) incoming += rcount[r];
    toobig = incoming > PETSC_MPI_INT_MAX;
    PetscCall(AgreeAny(e->comm, toobig, &toobig));
    PetscCheck(!toobig, e->comm, PETSC_ERR_SUP, "Too many entries in a Newton system for MPI's counts; use more processes or a smaller -transport_ssns_fill");
    for (int r = 0; r < size; ++r) {
      sdispl[r + 1] = sdispl[r] + scount[r];
      rdispl[r + 1] = rdispl[r] + rcount[r];
    }
    PetscCallCXX(put.resize(size));
    for (int r = 0; r < size; ++r) put[r] = static_cast<size_t>(sdispl[r]) / sizeof(Entry);
    PetscCallCXX(send.resize(PetscMax(nnz, size_t(1))));
    PetscCallCXX(recv.resize(static_cast<size_t>(rdispl[size]) / sizeof(Entry)));
    for (const Entry &x : sorted) send[put[Owner(x.col)]++] = x;
    PetscCallMPI(MPI_Alltoallv(send.data(), scount.data(), sdispl.data(), MPI_BYTE, recv.data(), rcount.data(), rdispl.data(), MPI_BYTE, e->comm));
  }
  std::vector<size_t> colptr;
  PetscCallCXX(colptr.assign(static_cast<size_t>(e->mloc) + 1, 0));
  for (const Entry &x : arrived) ++colptr[x.col - e->mlo + 1];
  for (PetscInt j = 0; j < e->mloc; ++j) colptr[j + 1] += colptr[j];
  PetscCallCXX(at = colptr);
  PetscCallCXX(send.resize(PetscMax(arrived.size(), size_t(1))));
  for (const Entry &x : arrived) send[at[x.col - e->mlo]++] = x;
  bool over = nnz + arrived.size() + static_cast<size_t>(nloc) > static_cast<size_t>(PETSC_MAX_INT);
  std::vector<Entry>().swap(recv);
  PetscCall(AgreeAny(e->comm, over, &over));
  PetscCheck(!over, e->comm, PETSC_ERR_SUP, "Too many entries in a Newton system for PETSc's index size; use more processes or a smaller -transport_ssns_fill");
  /* the entries of a row but for the diagonal's, by columns of the system */
  auto rowof = [&](PetscInt r, const Entry **x) {
    const bool   isrow = r < e->n;
    const size_t lo = isrow ? rowptr[r] : colptr[r - e->n], hi = isrow ? rowptr[r + 1] : colptr[r - e->n + 1];
    *x = (isrow ? sorted.data() : send.data()) + lo;
    return hi - lo;
  };
  std::vector<PetscInt> here, there, cols;
  std::vector<double>   vals;
  PetscCallCXX(here.assign(PetscMax(nloc, 1), 1));
  PetscCallCXX(there.assign(PetscMax(nloc, 1), 0));
  for (PetscInt r = 0; r < nloc; ++r) {
    const Entry *x;
    const size_t count = rowof(r, &x);
    for (size_t k = 0; k < count; ++k)
      ++((r < e->n ? x[k].col >= e->mlo && x[k].col < e->mlo + e->mloc : x[k].row >= start && x[k].row < start + e->n) ? here : there)[r];
  }
  PetscCall(MatCreate(e->comm, A));
  PetscCall(MatSetSizes(*A, nloc, nloc, PETSC_DETERMINE, PETSC_DETERMINE));
  PetscCall(MatSetType(*A, MATAIJ));
  PetscCall(MatSeqAIJSetPreallocation(*A, 0, here.data()));
  PetscCall(MatMPIAIJSetPreallocation(*A, 0, here.data(), 0, there.data()));
  /* row by row: no second copy of the system */
  for (PetscInt r = 0; r < nloc; ++r) {
    const Entry *x;
    const size_t count = rowof(r, &x);
    const double full  = r < e->n ? w->a[r] : w->b[r - e->n];
    double       kept  = 0;

    PetscCallCXX(cols.resize(count + 1));
    PetscCallCXX(vals.resize(count + 1));
    for (size_t k = 0; k < count; ++k) {
      cols[k] = r < e->n ? SystemRow(x[k].col) : x[k].row;
      vals[k] = -x[k].p;
      kept += x[k].p;
    }
    cols[count] = start + r;
    vals[count] = (lumped && kept > 0 ? PetscMin(kept + 1e-3 * PetscMax(full - kept, 0.0), full) : full) + shift;
    PetscCall(MatSetValues(*A, 1, &cols[count], static_cast<PetscInt>(count + 1), cols.data(), vals.data(), INSERT_VALUES));
  }
  std::vector<Entry>().swap(sorted);
  std::vector<Entry>().swap(send);
  PetscCall(MatAssemblyBegin(*A, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(*A, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The shift after the attempt with this one */
static double Larger(double shift)
{
  return PetscMax(100 * shift, 1e-14);
}

PetscErrorCode NewtonSystem::Solve(SkeanTransport t, Keep &keep, double shift, PetscInt attempts, double rtol, const double *gu, const double *gv, double *du,
                                   double *dv, PetscInt *its, bool *ok)
{
  Work              *w   = static_cast<Work *>(t->work);
  const Engine      *e   = w->eng.get();
  const size_t       nnz = keep.i.size(), nloc = static_cast<size_t>(e->n) + e->mloc;
  Mat                A;
  Vec                x, rhs;
  PetscScalar       *a;
  KSPConvergedReason reason;

  PetscFunctionBegin;
  PetscCall(PetscLogEventBegin(SKEAN_Transport_Newton, t, 0, 0, 0));
  total = static_cast<PetscInt64>(nnz);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &total, 1, MPIU_INT64, MPI_SUM, e->comm));
  t->nnzkept       = PetscMax(t->nnzkept, static_cast<PetscInt>(PetscMin(total, PetscInt64(PETSC_MAX_INT))));
  const bool fits  = small.Fits(e) && total < static_cast<PetscInt64>(PETSC_MPI_INT_MAX / sizeof(Entry));
  auto       Small = [&]() {
    PetscFunctionBegin;
    *ok = false;
    for (PetscInt k = 0; k < attempts && !*ok; ++k, shift = Larger(shift)) {
      PetscInt n;

      PetscCall(small.Solve(t, keep, shift, rtol, gu, gv, du, dv, &n, ok));
      *its = PetscMax(*its, n);
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  };
  *its = 0;
  if (fits && small.Pays(e, total)) {
    PetscCall(Small());
    PetscCall(PetscLogEventEnd(SKEAN_Transport_Newton, t, 0, 0, 0));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(Numbering(e));
  PetscCall(Assemble(t, keep, shift, &A));
  PetscCall(MatSetOption(A, MAT_SPD, PETSC_TRUE));
  PetscCall(MatCreateVecs(A, &x, &rhs));
  PetscCall(VecGetArray(rhs, &a));
  for (PetscInt i = 0; i < e->n; ++i) a[i] = gu ? gu[i] : 0.0;
  for (PetscInt j = 0; j < e->mloc; ++j) a[e->n + j] = -gv[j];
  PetscCall(VecRestoreArray(rhs, &a));
  KSP ksp;
  PetscCall(SkeanTransportGetKSP_Private(t, &ksp));
#if defined(PETSC_HAVE_HYPRE)
  /* hypre would keep a copy beside ours for as long as its preconditioner is in use */
  PC        pc;
  PetscBool hypre;
  PetscCall(KSPGetPC(ksp, &pc));
  PetscCall(PetscObjectTypeCompare((PetscObject)pc, PCHYPRE, &hypre));
  if (hypre) {
    Mat H;

    PetscCall(MatConvert(A, MATHYPRE, MAT_INITIAL_MATRIX, &H));
    PetscCall(MatDestroy(&A));
    A = H;
    PetscCall(MatSetOption(A, MAT_SPD, PETSC_TRUE));
  }
#endif
  PetscCall(KSPSetOperators(ksp, A, A));
  PetscReal krtol;
  PetscInt  kmax;
  PetscCall(KSPGetTolerances(ksp, &krtol, NULL, NULL, &kmax));
  /* the preconditioner of an earlier system, as long as few iterations suffice: setting one up costs as much as dozens. Where a factorisation is at hand,
     few have to suffice */
  *ok = false;
  for (PetscInt k = 0; k < (fits ? 1 : attempts) && !*ok; ++k) {
    if (k) {
      PetscCall(MatShift(A, Larger(shift) - shift));
      shift = Larger(shift);
    }
    for (bool again : {true, false}) {
      PetscInt n;

      if (*ok || (again && !reusable)) continue;
      PetscCall(KSPSetReusePreconditioner(ksp, again ? PETSC_TRUE : PETSC_FALSE));
      PetscCall(KSPSetTolerances(ksp, rtol, PETSC_DEFAULT, PETSC_DEFAULT, again ? PetscMin(kmax, 12) : fits ? PetscMin(kmax, 15) : kmax));
      PetscCall(KSPSolve(ksp, rhs, x));
      PetscCall(KSPGetConvergedReason(ksp, &reason));
      PetscCall(KSPGetIterationNumber(ksp, &n));
      *its     = PetscMax(*its, n);
      *ok      = reason > 0;
      reusable = *ok && !t->kspuser && reuse;
    }
    bool bad = false;
    PetscCall(VecGetArray(x, &a));
    for (size_t q = 0; q < nloc; ++q) bad = bad || !std::isfinite(a[q]);
    if (du)
      for (PetscInt i = 0; i < e->n; ++i) du[i] = a[i];
    for (PetscInt j = 0; j < e->mloc; ++j) dv[j] = -a[e->n + j];
    PetscCall(VecRestoreArray(x, &a));
    PetscCall(AgreeAny(e->comm, bad, &bad));
    *ok = *ok && !bad;
  }
  PetscCall(KSPSetTolerances(ksp, rtol, PETSC_DEFAULT, PETSC_DEFAULT, kmax));
  /* only the preconditioner is used again */
  PetscCall(KSPSetOperators(ksp, NULL, NULL));
  PetscCall(VecDestroy(&x));
  PetscCall(VecDestroy(&rhs));
  PetscCall(MatDestroy(&A));
  if (fits && !*ok) PetscCall(Small());
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
  /* an array that is there says what is wanted, also on a process that has none of it: the passes are collective */
  const double none = 0;
  double       nowhere;
  PetscCall(w->eng->Products(1.0 / w->epsnow, w->u.data(), w->v.data(), xa ? xa : &none, w->a.empty() ? &none : w->a.data(), NULL, NULL, ya ? ya : &nowhere));
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
  Engine            *e   = w->eng.get();
  ShellCtx           ctx = {w, shift};
  Vec                x, rhs;
  PetscScalar       *a;
  KSPConvergedReason reason;

  PetscFunctionBegin;
  PetscCall(PetscLogEventBegin(SKEAN_Transport_Newton, t, 0, 0, 0));
  PetscCall(MatCreateShell(e->comm, e->mloc, e->mloc, e->m, e->m, &ctx, &shell));
  PetscCall(SkeanMatShellSetOperation(shell, MATOP_MULT, ShellMult));
  PetscCall(SkeanMatShellSetOperation(shell, MATOP_GET_DIAGONAL, ShellDiagonal));
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
  e->nearby = true;
  PetscCall(KSPSolve(mf, rhs, x));
  e->nearby = false;
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
  PetscCall(KSPDestroy(&mf));
  PetscCall(MatDestroy(&shell));
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

   Level: advanced

   Notes:
   Its options have the prefix transport_ (ksp_type, pc_type and so on follow it). Its relative tolerance is set anew at every Newton step. Type ssns
   solves small systems on one process without it (-transport_ssns_direct), unless its type or its preconditioner's was set by an option or this
   function was called. Where the plan has too many entries to keep, another `KSP` (prefix transport_mf_, CG and Jacobi) applies the exact Hessian
   without a matrix.

.seealso: `SkeanTransportSolve()`
@*/
PetscErrorCode SkeanTransportGetKSP(SkeanTransport transport, KSP *ksp)
{
  PetscFunctionBegin;
  PetscCall(SkeanTransportGetKSP_Private(transport, ksp));
  transport->kspuser = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}
