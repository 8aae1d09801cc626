/*
   Newton systems small enough for one process. There the hierarchy of multigrid costs a hundred times what a pass over the plan does, so the larger
   side of the bipartite graph is eliminated and the rest solved by CG on process 0, preconditioned with whichever of these suffices in a few
   iterations, the cheapest first: the Cholesky factor of an earlier system, the diagonal, the Cholesky factor of this one. The factor is only ever a
   preconditioner: where rounding made it inexact, CG corrects it.
*/
#include "newton.hpp"
#include <skean/private/reduce.hpp>
#include <petscblaslapack.h>
#include <algorithm>

/* PETSc does not declare it; potrs() with one right-hand side copies the factor */
#define BLAStrsv_ PETSCBLAS(trsv, TRSV)
extern "C" void BLAStrsv_(const char *, const char *, const char *, const PetscBLASInt *, const PetscScalar *, const PetscBLASInt *, PetscScalar *,
                          const PetscBLASInt *);

namespace skean {
namespace transport {

static constexpr int      kExtra         = 3;  /* numbers that follow a process's part of the solution: iterations, success, error code */
static constexpr PetscInt kMaxIterations = 15; /* of one CG solve; beyond, a better preconditioner is cheaper */
static constexpr PetscInt kStale         = 8;  /* of one with an old factor, which costs more per iteration than the diagonal */

PetscErrorCode SmallSystem::Reset()
{
  PetscFunctionBegin;
  PetscCall(KSPDestroy(&ksp));
  PetscCall(MatDestroy(&op));
  PetscCall(VecDestroy(&rhs));
  PetscCall(VecDestroy(&sol));
  factored = false;
  for_     = nullptr;
  F        = std::vector<double>();
  S        = std::vector<double>();
  PetscFunctionReturn(PETSC_SUCCESS);
}

bool SmallSystem::Pays(const Engine *e, PetscInt64 entries) const
{
  /* k^3/3 flops of BLAS-3 against what takes as long as some 5000 of them for an entry (see NewtonCost()); up to 800 unknowns it is a matter of milliseconds */
  const double k = static_cast<double>(PetscMin(e->nglobal, e->m));
  return k * k * k <= PetscMax(800.0 * 800.0 * 800.0, 15000.0 * static_cast<double>(entries));
}

bool SmallSystem::Fits(const Engine *e) const
{
  const PetscInt lo = PetscMin(e->nglobal, e->m), hi = PetscMax(e->nglobal, e->m);
  return lo <= limit && hi <= 8 * limit;
}

/* the object of this file's callbacks */
static PetscErrorCode SmallMult(Mat A, Vec x, Vec y)
{
  SmallSystem       *s;
  const PetscScalar *xa;
  PetscScalar       *ya;

  PetscFunctionBegin;
  PetscCall(MatShellGetContext(A, &s));
  PetscCall(VecGetArrayRead(x, &xa));
  PetscCall(VecGetArrayWrite(y, &ya));
  if (s->Dense()) {
    const PetscBLASInt nk = static_cast<PetscBLASInt>(s->nk), ne = static_cast<PetscBLASInt>(s->ne), inc = 1;
    const double       one = 1.0, zero = 0.0, minus = -1.0;
    BLASgemv_("T", &nk, &ne, &one, s->S.data(), &nk, xa, &inc, &zero, s->t.data(), &inc);
    for (PetscInt e = 0; e < s->ne; ++e) s->t[e] /= s->de[e];
    for (PetscInt k = 0; k < s->nk; ++k) ya[k] = s->dk[k] * xa[k];
    BLASgemv_("N", &nk, &ne, &minus, s->S.data(), &nk, s->t.data(), &inc, &one, ya, &inc);
  } else
    SchurApply(s->ne, s->nk, s->ia.data(), s->ja.data(), s->s.data(), s->de.data(), s->dk.data(), xa, ya);
  PetscCall(VecRestoreArrayWrite(y, &ya));
  PetscCall(VecRestoreArrayRead(x, &xa));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SmallPrecondition(PC pc, Vec x, Vec y)
{
  SmallSystem *s;
  PetscScalar *ya;

  PetscFunctionBegin;
  PetscCall(PCShellGetContext(pc, &s));
  PetscCall(VecCopy(x, y));
  PetscCall(VecGetArray(y, &ya));
  if (s->usefactor) {
    const PetscBLASInt k = static_cast<PetscBLASInt>(s->nk), one = 1;
    BLAStrsv_("U", "T", "N", &k, s->F.data(), &k, ya, &one);
    BLAStrsv_("U", "N", "N", &k, s->F.data(), &k, ya, &one);
  } else
    for (PetscInt j = 0; j < s->nk; ++j) ya[j] /= s->diag[j];
  PetscCall(VecRestoreArray(y, &ya));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Who owns what, on process 0 */
PetscErrorCode SmallSystem::Layout(const Engine *e)
{
  PetscInt              mine[2] = {e->n, e->mloc};
  std::vector<PetscInt> all;
  PetscMPIInt           size, rank;

  PetscFunctionBegin;
  if (for_ == e) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Reset());
  PetscCallMPI(MPI_Comm_size(e->comm, &size));
  PetscCallMPI(MPI_Comm_rank(e->comm, &rank));
  PetscCallCXX(all.resize(2 * static_cast<size_t>(size)));
  PetscCallMPI(MPI_Gather(mine, 2, MPIU_INT, all.data(), 2, MPIU_INT, 0, e->comm));
  for_    = e;
  columns = e->m <= e->nglobal;
  ne      = columns ? e->nglobal : e->m;
  nk      = columns ? e->m : e->nglobal;
  jacobi  = true;
  if (!rank) {
    PetscCallCXX(rows.resize(size));
    PetscCallCXX(cols.resize(size));
    for (int r = 0; r < size; ++r) {
      rows[r] = static_cast<int>(all[2 * r]);
      cols[r] = static_cast<int>(all[2 * r + 1]);
    }
    PetscCallCXX(de.resize(ne));
    PetscCallCXX(dk.resize(nk));
    PetscCallCXX(ge.resize(ne));
    PetscCallCXX(gk.resize(nk));
    PetscCallCXX(diag.resize(nk));
    PetscCall(VecCreateSeq(PETSC_COMM_SELF, nk, &rhs));
    PetscCall(VecDuplicate(rhs, &sol));
    PetscCall(MatCreateShell(PETSC_COMM_SELF, nk, nk, nk, nk, this, &op));
    PetscCall(SkeanMatShellSetOperation(op, MATOP_MULT, SmallMult));
    PetscCall(KSPCreate(PETSC_COMM_SELF, &ksp));
    PetscCall(KSPSetOperators(ksp, op, op));
    PetscCall(KSPSetType(ksp, KSPCG));
    PetscCall(KSPSetNormType(ksp, KSP_NORM_NATURAL));
    PC pc;
    PetscCall(KSPGetPC(ksp, &pc));
    PetscCall(PCSetType(pc, PCSHELL));
    PetscCall(PCShellSetContext(pc, this));
    PetscCall(PCShellSetApply(pc, SmallPrecondition));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CG with the factor or the diagonal */
PetscErrorCode SmallSystem::CG(double rtol, bool factor, PetscInt maxit, PetscInt *its, bool *ok)
{
  KSPConvergedReason reason;
  PetscInt           n;

  PetscFunctionBegin;
  usefactor = factor;
  PetscCall(KSPSetTolerances(ksp, rtol, 0.0, PETSC_DEFAULT, maxit));
  PetscCall(KSPSolve(ksp, rhs, sol));
  PetscCall(KSPGetConvergedReason(ksp, &reason));
  PetscCall(KSPGetIterationNumber(ksp, &n));
  *ok  = reason > 0;
  *its = PetscMax(*its, n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The factor of this system; false if even a diagonal raised by 1e-4 of itself leaves it indefinite */
PetscErrorCode SmallSystem::Factor(bool *ok)
{
  const PetscBLASInt k = static_cast<PetscBLASInt>(nk);
  PetscBLASInt       info;

  PetscFunctionBegin;
  *ok = false;
  PetscCallCXX(F.resize(static_cast<size_t>(nk) * nk));
  for (double more = 0; more < 1e-3 && !*ok; more = PetscMax(100 * more, 1e-14)) {
    PetscCall(SchurComplement(ne, nk, ia.data(), ja.data(), s.data(), de.data(), dk.data(), Dense(), F.data()));
    for (PetscInt j = 0; j < nk; ++j) F[static_cast<size_t>(j) * (nk + 1)] += more * dk[j];
    LAPACKpotrf_("U", &k, F.data(), &k, &info);
    *ok = info == 0;
  }
  factored = *ok;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* On process 0, with the gathered system */
PetscErrorCode SmallSystem::SolveHere(double rtol, PetscInt *its, bool *ok)
{
  PetscScalar *b;

  PetscFunctionBegin;
  PetscCall(VecGetArrayWrite(rhs, &b));
  for (PetscInt k = 0; k < nk; ++k) b[k] = gk[k];
  for (PetscInt e = 0; e < ne; ++e) {
    const double t = ge[e] / de[e];
    if (t != 0.0)
      for (size_t q = ia[e]; q < ia[e + 1]; ++q) b[ja[q]] += s[q] * t;
  }
  PetscCall(VecRestoreArrayWrite(rhs, &b));
  *its = 0;
  *ok  = false;
  if (factored) {
    PetscCall(CG(rtol, true, kStale, its, ok));
    factored = *ok; /* a factor that failed is not tried again */
  }
  /* a diagonal that failed once will fail at the smaller tolerances to come; and it must cost less than half a factor (in multiplications, those
     of BLAS-3 at a twentieth) even if all its iterations are needed */
  const double nnz = static_cast<double>(s.size()), k = static_cast<double>(nk);
  const double form = Dense() ? 0.05 * ne * k * k : 0.5 * nnz * nnz / ne, chol = 0.05 * k * k * k / 3,
               diagonal = 2 * kMaxIterations * (Dense() ? 0.3 * ne * k : nnz);
  if (!*ok && jacobi && diagonal < 0.5 * (form + chol)) {
    SchurDiagonal(ne, nk, ia.data(), ja.data(), s.data(), de.data(), dk.data(), diag.data());
    bool positive = true;
    for (PetscInt j = 0; j < nk; ++j) positive = positive && diag[j] > 0;
    if (positive) PetscCall(CG(rtol, false, kMaxIterations, its, ok));
    jacobi = *ok;
  }
  if (!*ok) {
    PetscCall(Factor(ok));
    if (*ok) PetscCall(CG(rtol, true, kMaxIterations, its, ok));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* On process 0. in: for every process the diagonals and right-hand sides of its rows, then of its columns. solution: for every process its rows, its
   columns, iterations, success, and room for an error code */
PetscErrorCode SmallSystem::OnRoot(std::vector<Entry> &entries, const std::vector<double> &in, double rtol, std::vector<double> &solution)
{
  double            *dr = columns ? de.data() : dk.data(), *dc = columns ? dk.data() : de.data();
  double            *gr = columns ? ge.data() : gk.data(), *gc = columns ? gk.data() : ge.data();
  const double      *from = in.data();
  PetscInt           its  = 0;
  bool               ok   = false;
  const PetscScalar *x;

  PetscFunctionBegin;
  for (size_t r = 0; r < rows.size(); ++r) {
    dr = std::copy(from, from + rows[r], dr);
    gr = std::copy(from + rows[r], from + 2 * rows[r], gr);
    from += 2 * rows[r];
    dc = std::copy(from, from + cols[r], dc);
    gc = std::copy(from + cols[r], from + 2 * cols[r], gc);
    from += 2 * cols[r];
  }
  PetscCallCXX(SortEntries(0, ne, nk, entries, ia));
  PetscCallCXX(ja.resize(entries.size()));
  PetscCallCXX(s.resize(entries.size()));
  for (size_t q = 0; q < entries.size(); ++q) {
    ja[q] = entries[q].col;
    s[q]  = entries[q].p;
  }
  if (Dense()) { /* products with the whole block run at the speed of memory */
    PetscCallCXX(S.assign(static_cast<size_t>(ne) * nk, 0.0));
    PetscCallCXX(t.resize(ne));
    for (const Entry &x : entries) S[static_cast<size_t>(x.row) * nk + x.col] = x.p;
  }
  PetscCall(SolveHere(rtol, &its, &ok));
  /* the eliminated unknowns */
  PetscCall(VecGetArrayRead(sol, &x));
  for (PetscInt i = 0; i < ne; ++i) {
    for (size_t q = ia[i]; q < ia[i + 1]; ++q) ge[i] += s[q] * x[ja[q]];
    ge[i] /= de[i];
  }
  const double *xr = columns ? ge.data() : x, *xc = columns ? x : ge.data();
  double       *to = solution.data();
  for (size_t r = 0; r < rows.size(); ++r) {
    to = std::copy(xr, xr + rows[r], to);
    to = std::copy(xc, xc + cols[r], to);
    xr += rows[r];
    xc += cols[r];
    *to++ = static_cast<double>(its);
    *to++ = ok ? 1.0 : 0.0;
    *to++ = 0.0;
  }
  PetscCall(VecRestoreArrayRead(sol, &x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SmallSystem::Solve(SkeanTransport t, const Keep &keep, double shift, double rtol, const double *gu, const double *gv, double *du, double *dv,
                                  PetscInt *its, bool *ok)
{
  Work               *w     = static_cast<Work *>(t->work);
  const Engine       *e     = w->eng.get();
  const size_t        nnz   = keep.i.size();
  int                 bytes = static_cast<int>(nnz * sizeof(Entry)), nmine = static_cast<int>(2 * (e->n + e->mloc));
  std::vector<Entry>  mine, all;
  std::vector<double> out, in, solution;
  std::vector<int>    cnt, dis;
  PetscMPIInt         size, rank;

  PetscFunctionBegin;
  PetscCall(Layout(e));
  PetscCallMPI(MPI_Comm_size(e->comm, &size));
  PetscCallMPI(MPI_Comm_rank(e->comm, &rank));
  PetscCallCXX(mine.resize(nnz));
  PetscCallCXX(out.resize(nmine));
  for (size_t k = 0; k < nnz; ++k) {
    const PetscInt i = e->rlo + keep.i[k], j = keep.j[k];
    mine[k] = {columns ? i : j, columns ? j : i, keep.p[k]};
  }
  for (PetscInt i = 0; i < e->n; ++i) {
    out[i]        = w->a[i] + shift;
    out[e->n + i] = gu ? gu[i] : 0.0;
  }
  for (PetscInt j = 0; j < e->mloc; ++j) {
    out[2 * e->n + j]           = w->b[j] + shift;
    out[2 * e->n + e->mloc + j] = -gv[j];
  }
  if (size == 1) {
    all.swap(mine);
    in.swap(out);
  } else {
    if (!rank) {
      PetscCallCXX(cnt.resize(size));
      PetscCallCXX(dis.assign(size + 1, 0));
    }
    PetscCallMPI(MPI_Gather(&bytes, 1, MPI_INT, cnt.data(), 1, MPI_INT, 0, e->comm));
    if (!rank) {
      for (int r = 0; r < size; ++r) dis[r + 1] = dis[r] + cnt[r];
      PetscCallCXX(all.resize(static_cast<size_t>(dis[size]) / sizeof(Entry)));
    }
    PetscCallMPI(MPI_Gatherv(mine.data(), bytes, MPI_BYTE, all.data(), cnt.data(), dis.data(), MPI_BYTE, 0, e->comm));
    if (!rank) {
      for (int r = 0; r < size; ++r) {
        cnt[r]     = 2 * (rows[r] + cols[r]);
        dis[r + 1] = dis[r] + cnt[r];
      }
      PetscCallCXX(in.resize(dis[size]));
    }
    PetscCallMPI(MPI_Gatherv(out.data(), nmine, MPI_DOUBLE, in.data(), cnt.data(), dis.data(), MPI_DOUBLE, 0, e->comm));
  }
  std::vector<double> part(static_cast<size_t>(e->n + e->mloc + kExtra));
  if (!rank) {
    PetscCallCXX(solution.resize(static_cast<size_t>(ne) + nk + static_cast<size_t>(kExtra) * size));
    PetscCallCXX(cnt.resize(size));
    PetscCallCXX(dis.assign(size + 1, 0));
    for (int r = 0; r < size; ++r) {
      cnt[r]     = rows[r] + cols[r] + kExtra;
      dis[r + 1] = dis[r] + cnt[r];
    }
    const PetscErrorCode ierr = OnRoot(all, in, rtol, solution);
    for (int r = 0; r < size; ++r) solution[dis[r + 1] - 1] = static_cast<double>(ierr);
  }
  PetscCallMPI(MPI_Scatterv(solution.data(), cnt.data(), dis.data(), MPI_DOUBLE, part.data(), static_cast<int>(part.size()), MPI_DOUBLE, 0, e->comm));
  const double *status = part.data() + e->n + e->mloc;
  PetscCheck(status[2] == 0, e->comm, PETSC_ERR_LIB, "The Newton system could not be solved on process 0 (error %d)", (int)status[2]);
  *its     = static_cast<PetscInt>(status[0]);
  *ok      = status[1] > 0;
  bool bad = false;
  for (PetscInt i = 0; i < e->n + e->mloc; ++i) bad = bad || !std::isfinite(part[i]);
  if (du) std::copy(part.begin(), part.begin() + e->n, du);
  for (PetscInt j = 0; j < e->mloc; ++j) dv[j] = -part[e->n + j];
  PetscCall(AgreeAny(e->comm, bad, &bad));
  *ok = *ok && !bad;
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace transport
} // namespace skean
