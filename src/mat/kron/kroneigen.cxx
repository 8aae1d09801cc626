/*
   Eigendecompositions of factors; see kron.hpp.

     small     LAPACK, problem j on process j mod P, broadcast
     large     ScaLAPACK's pdsyevd over a process grid: every process fills its blocks of the matrix, which all have, and the blocks of the vectors are gathered
     even/odd  a centrosymmetric matrix is two of half the size (either way)
     periodic and Toeplitz-plus-Hankel matrices   a transform of FFTW's instead of vectors, n^2 log n flops
*/
#include <skean/private/kron.hpp>
#include <skean/private/reduce.hpp>
#include <skeanversion.h>
#include <petscblaslapack.h>
#include <algorithm>
#include <climits>
#include <cmath>
#include <limits>

extern "C" {
void dsyevd_(const char *, const char *, const PetscBLASInt *, double *, const PetscBLASInt *, double *, double *, const PetscBLASInt *, PetscBLASInt *,
             const PetscBLASInt *, PetscBLASInt *, size_t, size_t);
void dsygst_(const PetscBLASInt *, const char *, const PetscBLASInt *, double *, const PetscBLASInt *, const double *, const PetscBLASInt *, PetscBLASInt *,
             size_t);
void dgecon_(const char *, const PetscBLASInt *, const double *, const PetscBLASInt *, const double *, double *, double *, PetscBLASInt *, PetscBLASInt *,
             size_t);
#if defined(SKEAN_HAVE_SCALAPACK)
int  Csys2blacs_handle(MPI_Comm);
void Cfree_blacs_system_handle(int);
void Cblacs_gridinit(int *, const char *, int, int);
void Cblacs_gridinfo(int, int *, int *, int *, int *);
void Cblacs_gridexit(int);
int  numroc_(const int *, const int *, const int *, const int *, const int *);
void descinit_(int *, const int *, const int *, const int *, const int *, const int *, const int *, const int *, const int *, int *);
void pdsyevd_(const char *, const char *, const int *, double *, const int *, const int *, const int *, double *, double *, const int *, const int *,
              const int *, double *, const int *, int *, const int *, int *);
#endif
}

namespace skean {

namespace {

/* Symmetric A (overwritten by the vectors), eigenvalues ascending */
bool Syevd(PetscInt64 n, double *A, double *w)
{
  if (!n) return true;
  if (n > 32766) return false; /* 2 n^2 + 6 n + 1 work numbers are counted in int */
  PetscBLASInt bn = static_cast<PetscBLASInt>(n), lwork = -1, liwork = -1, info, iquery;
  double       query;
  for (PetscInt64 i = 0; i < n * n; ++i)
    if (!std::isfinite(A[i])) return false;
  dsyevd_("V", "L", &bn, A, &bn, w, &query, &lwork, &iquery, &liwork, &info, 1, 1);
  if (info) return false;
  lwork  = static_cast<PetscBLASInt>(query);
  liwork = iquery;
  std::vector<double>       work(lwork);
  std::vector<PetscBLASInt> iwork(liwork);
  dsyevd_("V", "L", &bn, A, &bn, w, work.data(), &lwork, iwork.data(), &liwork, &info, 1, 1);
  return info == 0;
}

/*
   Centrosymmetric A (A = J A J): even vectors (u, c, J u) and odd ones (v, 0, -J v). With A = [A11 a A12; ...] and h = floor(n/2) the even
   part is [A11 + A12 J, sqrt2 a; sqrt2 a', a_cc] and the odd one A11 - A12 J (Cantoni & Butler 1976).
*/
struct EvenOdd {
  PetscInt64          h, e;
  std::vector<double> E, O, we, wo;
};

void SplitCentro(PetscInt64 n, const double *A, EvenOdd *s)
{
  const PetscInt64 h = n / 2, e = n - h;
  s->h = h;
  s->e = e;
  s->E.resize(e * e);
  s->O.resize(h * h);
  s->we.resize(e);
  s->wo.resize(h);
  for (PetscInt64 j = 0; j < h; ++j)
    for (PetscInt64 i = 0; i < h; ++i) {
      s->E[i + j * e] = A[i + j * n] + A[i + (n - 1 - j) * n];
      s->O[i + j * h] = A[i + j * n] - A[i + (n - 1 - j) * n];
    }
  if (e > h) {
    for (PetscInt64 i = 0; i < h; ++i) s->E[i + h * e] = s->E[h + i * e] = std::sqrt(2.0) * A[i + h * n];
    s->E[h + h * e] = A[h + h * n];
  }
}

/* The vectors of A from those of the parts, merged in ascending order */
void MergeCentro(PetscInt64 n, const EvenOdd &s, double *V, double *w)
{
  const PetscInt64 h = s.h, e = s.e;
  const double     r = std::sqrt(0.5);
  for (PetscInt64 k = 0, ke = 0, ko = 0; k < n; ++k) {
    double *v = V + k * n;
    if (ko >= h || (ke < e && s.we[ke] <= s.wo[ko])) {
      w[k] = s.we[ke];
      for (PetscInt64 i = 0; i < h; ++i) v[i] = v[n - 1 - i] = r * s.E[i + ke * e];
      if (e > h) v[h] = s.E[h + ke * e];
      ++ke;
    } else {
      w[k] = s.wo[ko];
      for (PetscInt64 i = 0; i < h; ++i) {
        v[i]         = r * s.O[i + ko * h];
        v[n - 1 - i] = -v[i];
      }
      if (e > h) v[h] = 0.0;
      ++ko;
    }
  }
}

/* F x = l G x with G symmetric positive definite: X' G X = I, X' F X = diag(l) */
bool Pencil(PetscInt64 n, double *F, const double *G, double *w)
{
  std::vector<double> L(G, G + n * n);
  PetscBLASInt        bn = static_cast<PetscBLASInt>(n), itype = 1, info;
  const double        one = 1.0;
  for (PetscInt64 i = 0; i < n * n; ++i)
    if (!std::isfinite(F[i]) || !std::isfinite(G[i])) return false;
  LAPACKpotrf_("L", &bn, L.data(), &bn, &info);
  if (info) return false;
  dsygst_(&itype, "L", &bn, F, &bn, L.data(), &bn, &info, 1);
  if (info || !Syevd(n, F, w)) return false;
  BLAStrsm_("L", "L", "T", "N", &bn, &bn, &one, L.data(), &bn, F, &bn);
  return true;
}

/* A = V diag(w) V^-1 with real w; false if the spectrum is complex or cond(V) is large */
bool RealEigen(PetscInt64 n, double *A, double *V, double *Vinv, double *w)
{
  PetscBLASInt        bn = static_cast<PetscBLASInt>(n), one = 1, lwork = -1, info;
  std::vector<double> wi(n);
  double              query, dummy, norm = 0, rcond, scale = 0;
  for (PetscInt64 i = 0; i < n * n; ++i)
    if (!std::isfinite(A[i])) return false;
  LAPACKgeev_("N", "V", &bn, A, &bn, w, wi.data(), &dummy, &one, V, &bn, &query, &lwork, &info);
  lwork = static_cast<PetscBLASInt>(query);
  std::vector<double> work(std::max<PetscBLASInt>(lwork, 4 * bn));
  LAPACKgeev_("N", "V", &bn, A, &bn, w, wi.data(), &dummy, &one, V, &bn, work.data(), &lwork, &info);
  if (info) return false;
  for (PetscInt64 i = 0; i < n; ++i) scale = std::max(scale, std::abs(w[i]));
  for (PetscInt64 i = 0; i < n; ++i)
    if (wi[i] != 0.0) return false;
  std::vector<double>       lu(V, V + n * n);
  std::vector<PetscBLASInt> piv(n), iwork(n);
  for (PetscInt64 j = 0; j < n; ++j) {
    double s = 0;
    for (PetscInt64 i = 0; i < n; ++i) s += std::abs(V[i + j * n]);
    norm = std::max(norm, s);
  }
  LAPACKgetrf_(&bn, &bn, lu.data(), &bn, piv.data(), &info);
  if (info) return false;
  dgecon_("1", &bn, lu.data(), &bn, &norm, &rcond, work.data(), iwork.data(), &info, 1);
  if (info || rcond < 1e-8) return false;
  std::fill(Vinv, Vinv + n * n, 0.0);
  for (PetscInt64 i = 0; i < n; ++i) Vinv[i + i * n] = 1.0;
  LAPACKgetrs_("N", &bn, &bn, lu.data(), &bn, piv.data(), Vinv, &bn, &info);
  return info == 0;
}

PetscErrorCode BcastDoubles(MPI_Comm comm, double *a, PetscInt64 n, int root)
{
  PetscFunctionBegin;
  for (PetscInt64 i = 0; i < n; i += 1 << 28) PetscCallMPI(MPI_Bcast(a + i, static_cast<int>(std::min<PetscInt64>(1 << 28, n - i)), MPI_DOUBLE, root, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Eigenvectors of a symmetric matrix that all processes hold, by ScaLAPACK; A is overwritten by them on every process. Collective */
PetscErrorCode SyevdDistributed(MPI_Comm comm, PetscInt64 n, double *A, double *w, bool *good)
{
  PetscFunctionBegin;
#if defined(SKEAN_HAVE_SCALAPACK)
  PetscMPIInt size, rank;
  int         nprow = 1, npcol, ctxt, myrow, mycol, zero = 0, one = 1, info = 0, bn = static_cast<int>(n);
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  /* the most square grid that leaves few processes idle */
  while ((nprow + 1) * (nprow + 1) <= size) ++nprow;
  npcol            = size / nprow;
  const int nb     = static_cast<int>(std::max<PetscInt64>(2, std::min<PetscInt64>(64, n / std::max(nprow, npcol))));
  const int handle = Csys2blacs_handle(comm);
  ctxt             = handle;
  Cblacs_gridinit(&ctxt, "Row", nprow, npcol);
  std::vector<double> mine;
  int                 lr = 0, lc = 0;
  const auto          Global = [nb](int local, int p, int np) { return (static_cast<PetscInt64>(local / nb) * np + p) * nb + local % nb; };
  const bool          inside = rank < nprow * npcol;
  if (inside) {
    int descr[9], lld, lwork = -1, liwork = -1, iquery = 0;
    Cblacs_gridinfo(ctxt, &nprow, &npcol, &myrow, &mycol);
    lr  = numroc_(&bn, &nb, &myrow, &zero, &nprow);
    lc  = numroc_(&bn, &nb, &mycol, &zero, &npcol);
    lld = std::max(1, lr);
    descinit_(descr, &bn, &bn, &nb, &nb, &zero, &zero, &ctxt, &lld, &info);
    std::vector<double> local, work(1);
    std::vector<int>    iwork(1);
    PetscCallCXX(local.resize(std::max<size_t>(1, static_cast<size_t>(lr) * lc)));
    PetscCallCXX(mine.resize(local.size()));
    for (int j = 0; j < lc; ++j)
      for (int i = 0; i < lr; ++i) local[i + static_cast<size_t>(j) * lr] = A[Global(i, myrow, nprow) + Global(j, mycol, npcol) * n];
    double query = 0;
    pdsyevd_("V", "L", &bn, local.data(), &one, &one, descr, w, mine.data(), &one, &one, descr, &query, &lwork, &iquery, &liwork, &info);
    if (!info) {
      /* more than the query says: it does not count all of pdormtr's share, and room is cheap */
      lwork  = static_cast<int>(std::min<double>(INT_MAX, query + 2.0 * bn + static_cast<double>(nb) * (lr + lc + 2.0 * nb)));
      liwork = std::max(iquery, 7 * bn + 8 * npcol + 2);
      PetscCallCXX(work.resize(lwork));
      PetscCallCXX(iwork.resize(liwork));
      pdsyevd_("V", "L", &bn, local.data(), &one, &one, descr, w, mine.data(), &one, &one, descr, work.data(), &lwork, iwork.data(), &liwork, &info);
    }
    Cblacs_gridexit(ctxt);
  }
  Cfree_blacs_system_handle(handle);
  bool bad;
  PetscCall(AgreeAny(comm, info != 0, &bad));
  *good = !bad;
  if (bad) PetscFunctionReturn(PETSC_SUCCESS);
  /* blocks of the vectors to everybody, one process of the grid after another */
  std::vector<double> piece;
  for (int r = 0; r < nprow * npcol; ++r) {
    const int pr = r / npcol, pc = r % npcol;
    const int rows = numroc_(&bn, &nb, &pr, &zero, &nprow), cols = numroc_(&bn, &nb, &pc, &zero, &npcol);
    if (!rows || !cols) continue;
    PetscCallCXX(piece.resize(static_cast<size_t>(rows) * cols));
    if (r == rank) std::copy(mine.begin(), mine.begin() + static_cast<std::ptrdiff_t>(piece.size()), piece.begin());
    PetscCall(BcastDoubles(comm, piece.data(), static_cast<PetscInt64>(piece.size()), r));
    for (int j = 0; j < cols; ++j)
      for (int i = 0; i < rows; ++i) A[Global(i, pr, nprow) + Global(j, pc, npcol) * n] = piece[i + static_cast<size_t>(j) * rows];
  }
  PetscCall(BcastDoubles(comm, w, n, 0));
#else
  (void)comm;
  (void)n;
  (void)A;
  (void)w;
  *good = false;
#endif
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace

/* ---- all factors ------------------------------------------------------------------------------------------------------------- */

ModeOp KronEigen::Op(bool trans) const
{
  return transform ? ModeOp::Transform(transform.get(), trans) : ModeOp::Dense(n, n, V.data(), n, trans);
}

void KronEigen::FormVectors()
{
  if (!transform || !V.empty()) return;
  V.assign(n * n, 0.0);
  for (PetscInt64 i = 0; i < n; ++i) V[i * (n + 1)] = 1.0;
  transform->Apply(false, n, V.data(), n);
}

/* What one process can do alone */
static int Alone(const KronEigenProblem &p, KronEigen *e)
{
  const PetscInt64 n = p.n, nn = n * n;
  e->lambda.resize(n);
  switch (p.kind) {
  case KronEigenProblem::SYMMETRIC:
    for (PetscInt64 i = 0; i < nn; ++i)
      if (!std::isfinite(p.A[i])) return KronEigenProblem::FAILED;
    if ((e->transform = DiagonalizeByTransform(n, p.A, &e->lambda))) {
      e->method = e->transform->Name();
      return KronEigenProblem::GOOD;
    }
    e->V.resize(nn);
    if (p.centro && n > 3) {
      EvenOdd s;
      SplitCentro(n, p.A, &s);
      e->method = "LAPACK, even and odd";
      if (!Syevd(s.e, s.E.data(), s.we.data()) || !Syevd(s.h, s.O.data(), s.wo.data())) return KronEigenProblem::FAILED;
      MergeCentro(n, s, e->V.data(), e->lambda.data());
      return KronEigenProblem::GOOD;
    }
    std::copy(p.A, p.A + nn, e->V.begin());
    return Syevd(n, e->V.data(), e->lambda.data()) ? KronEigenProblem::GOOD : KronEigenProblem::FAILED;
  case KronEigenProblem::PENCIL:
    e->V.assign(p.A, p.A + nn);
    if (Pencil(n, e->V.data(), p.B, e->lambda.data())) return KronEigenProblem::GOOD;
    /* the other one may be the definite one */
    e->V.assign(p.B, p.B + nn);
    return Pencil(n, e->V.data(), p.A, e->lambda.data()) ? KronEigenProblem::SWAPPED : KronEigenProblem::FAILED;
  case KronEigenProblem::GENERAL: {
    std::vector<double> A(p.A, p.A + nn);
    e->V.resize(nn);
    e->Vinv.resize(nn);
    return RealEigen(n, A.data(), e->V.data(), e->Vinv.data(), e->lambda.data()) ? KronEigenProblem::GOOD : KronEigenProblem::FAILED;
  }
  }
  return KronEigenProblem::FAILED;
}

PetscErrorCode KronEigenSolve(MPI_Comm comm, std::vector<KronEigenProblem> *problems)
{
  PetscMPIInt      rank, size;
  PetscInt         large = 3000;
  std::vector<int> state;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-mat_skeankron_scalapack", &large, NULL));
#if !defined(SKEAN_HAVE_SCALAPACK)
  large = PETSC_MAX_INT;
#endif
  const int np = static_cast<int>(problems->size());
  /* per problem: result, transform + 1 */
  PetscCallCXX(state.assign(2 * np, 0));
  const auto       Large = [&](const KronEigenProblem &p) { return size > 1 && p.kind == KronEigenProblem::SYMMETRIC && p.n >= std::max<PetscInt>(large, 4); };
  int              turn  = 0;
  std::vector<int> root(np, 0);
  for (int j = 0; j < np; ++j) {
    KronEigenProblem &p = (*problems)[j];
    KronEigen         e;
    e.n     = p.n;
    root[j] = turn % size;
    *p.eig  = std::move(e);
    /* a large problem is everybody's, unless a transform settles it */
    if (!Large(p)) ++turn;
    if (root[j] != rank) continue;
    PetscCallCXX({
      if (!Large(p))
        state[2 * j] = Alone(p, p.eig);
      else
        p.eig->transform = DiagonalizeByTransform(p.n, p.A, &p.eig->lambda);
      state[2 * j + 1] = p.eig->transform ? p.eig->transform->GetKind() + 1 : 0;
    });
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, state.data(), 2 * np, MPI_INT, MPI_SUM, comm));
  for (int j = 0; j < np; ++j) {
    KronEigenProblem &p  = (*problems)[j];
    KronEigen        &e  = *p.eig;
    const PetscInt64  nn = p.n * p.n;
    p.result             = static_cast<KronEigenProblem::Result>(state[2 * j]);
    if (p.result == KronEigenProblem::FAILED) continue;
    if (Large(p) && !state[2 * j + 1]) {
      bool good = true;
      PetscCallCXX(e.V.resize(nn));
      PetscCallCXX(e.lambda.resize(p.n));
      for (PetscInt64 i = 0; i < nn && good; ++i) good = std::isfinite(p.A[i]);
      bool bad;
      PetscCall(AgreeAny(comm, !good, &bad));
      good = !bad;
      if (good && p.centro) {
        EvenOdd s;
        bool    odd = true;
        PetscCallCXX(SplitCentro(p.n, p.A, &s));
        PetscCall(SyevdDistributed(comm, s.e, s.E.data(), s.we.data(), &good));
        PetscCall(SyevdDistributed(comm, s.h, s.O.data(), s.wo.data(), &odd));
        good = good && odd;
        if (good) MergeCentro(p.n, s, e.V.data(), e.lambda.data());
      } else if (good) {
        std::copy(p.A, p.A + nn, e.V.begin());
        PetscCall(SyevdDistributed(comm, p.n, e.V.data(), e.lambda.data(), &good));
      }
      e.method = p.centro ? "ScaLAPACK, even and odd" : "ScaLAPACK";
      if (!good) p.result = KronEigenProblem::FAILED;
      continue;
    }
    PetscCallCXX(e.lambda.resize(p.n));
    PetscCall(BcastDoubles(comm, e.lambda.data(), p.n, root[j]));
    if (state[2 * j + 1]) {
      if (!e.transform) PetscCallCXX(e.transform = FastTransform::Create(static_cast<FastTransform::Kind>(state[2 * j + 1] - 1), p.n));
      PetscCheck(e.transform, PETSC_COMM_SELF, PETSC_ERR_LIB, "FFTW made no plan for a transform of length %" PetscInt64_FMT, p.n);
      e.method = e.transform->Name();
      continue;
    }
    PetscCallCXX(e.V.resize(nn));
    PetscCall(BcastDoubles(comm, e.V.data(), nn, root[j]));
    if (p.kind == KronEigenProblem::GENERAL) {
      PetscCallCXX(e.Vinv.resize(nn));
      PetscCall(BcastDoubles(comm, e.Vinv.data(), nn, root[j]));
    }
    e.method = p.kind != KronEigenProblem::SYMMETRIC ? "LAPACK" : p.centro && p.n > 3 ? "LAPACK, even and odd" : "LAPACK";
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace skean
