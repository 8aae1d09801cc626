/*
   Eigendecompositions of factors; see kron.hpp.

     small     LAPACK, problem j on process j mod P, broadcast
     large     ScaLAPACK's pdsyevd over a process grid: every process fills its blocks of the matrix, which all have, and the blocks of the vectors are gathered
     even/odd  a centrosymmetric matrix is two of half the size (either way, and of every kind: Cantoni & Butler 1976), also where it is one to rounding only,
               kCentroTolerance in the Frobenius norm: then the mean of A and J A J is decomposed
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
  return transform ? ModeOp::Transform(transform.get(), trans) : parts ? ModeOp::Parts(parts.get(), trans) : ModeOp::Dense(n, n, V.data(), n, trans);
}

ModeOp KronEigen::InverseOp() const
{
  return inverseparts ? ModeOp::Parts(inverseparts.get(), true) : Vinv.empty() ? Op(true) : ModeOp::Dense(n, n, Vinv.data(), n);
}

void KronEigen::FormVectors()
{
  if (!V.empty()) return;
  if (parts) V = parts->ToDense();
  if (!transform) return;
  V.assign(n * n, 0.0);
  for (PetscInt64 i = 0; i < n; ++i) V[i * (n + 1)] = 1.0;
  transform->Apply(false, n, V.data(), n);
}

namespace {

/* What LAPACK does with one problem of any kind. A, B: overwritten */
KronEigenProblem::Result Decompose(KronEigenProblem::Kind kind, bool swapped, PetscInt64 n, std::vector<double> &A, std::vector<double> &B, KronEigen *e)
{
  const auto Result = [](bool good) { return good ? KronEigenProblem::GOOD : KronEigenProblem::FAILED; };
  e->n              = n;
  e->lambda.resize(n);
  switch (kind) {
  case KronEigenProblem::SYMMETRIC:
    e->V.swap(A);
    return Result(Syevd(n, e->V.data(), e->lambda.data()));
  case KronEigenProblem::PENCIL:
    e->V.swap(swapped ? B : A);
    return Result(Pencil(n, e->V.data(), swapped ? A.data() : B.data(), e->lambda.data()));
  case KronEigenProblem::GENERAL:
    e->V.resize(n * n);
    e->Vinv.resize(n * n);
    return Result(n == 0 || RealEigen(n, A.data(), e->V.data(), e->Vinv.data(), e->lambda.data()));
  }
  return KronEigenProblem::FAILED;
}

/* From the decompositions of the even and the odd part, in the orthonormal basis of SplitCentro(), that of the whole; values in ascending order */
void Merge(PetscInt64 n, KronEigen *even, KronEigen *odd, KronEigen *e)
{
  const PetscInt64                    h = n / 2;
  const double                        r = std::sqrt(0.5);
  std::vector<PetscInt>               at[2];
  std::vector<double>                 inv[2];
  std::vector<std::pair<double, int>> all;

  for (int k = 0; k < 2; ++k)
    for (double l : (k ? odd : even)->lambda) all.emplace_back(l, k);
  /* not by sorting: values of a part that is not symmetric are in LAPACK's order, and the columns of the part with them */
  std::vector<PetscInt64> order(all.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<PetscInt64>(i);
  std::stable_sort(order.begin(), order.end(), [&](PetscInt64 i, PetscInt64 j) { return all[i].first < all[j].first; });
  at[0].resize(even->lambda.size());
  at[1].resize(odd->lambda.size());
  e->lambda.resize(n);
  for (PetscInt64 k = 0; k < n; ++k) {
    const PetscInt64 i = order[k], ne = n - h;
    e->lambda[k]                        = all[i].first;
    (i < ne ? at[0][i] : at[1][i - ne]) = static_cast<PetscInt>(k);
  }
  for (int k = 0; k < 2; ++k) {
    KronEigen       *p = k ? odd : even;
    const PetscInt64 m = p->n;
    /* columns of the inverse's transpose */
    inv[k].resize(p->Vinv.size());
    for (size_t j = 0; j < inv[k].size(); ++j) inv[k][j] = p->Vinv[j / m + (j % m) * m];
    for (std::vector<double> *V : {&p->V, &inv[k]})
      for (size_t j = 0; j < V->size(); ++j)
        if (static_cast<PetscInt64>(j) % m < h) (*V)[j] *= r;
  }
  if (!inv[0].empty()) e->inverseparts = EvenOdd::Columns(n, std::move(inv[0]), std::move(inv[1]), at[0], at[1]);
  e->parts = EvenOdd::Columns(n, std::move(even->V), std::move(odd->V), std::move(at[0]), std::move(at[1]));
}

/* Even/odd splitting: its method's name, and dense vectors where products with the parts would be slower */
void Finish(const KronEigenProblem &p, const char *how, KronEigen *e)
{
  e->n      = p.n;
  e->method = how;
  if (!e->parts || p.n >= EvenOdd::kLeast) return;
  e->V = e->parts->ToDense();
  if (e->inverseparts) {
    const std::vector<double> T = e->inverseparts->ToDense();
    e->Vinv.resize(p.n * p.n);
    for (PetscInt64 j = 0; j < p.n; ++j)
      for (PetscInt64 i = 0; i < p.n; ++i) e->Vinv[i + j * p.n] = T[j + i * p.n];
  }
  e->parts.reset();
  e->inverseparts.reset();
}

/* What one process can do alone */
KronEigenProblem::Result Alone(const KronEigenProblem &p, bool split, KronEigen *e)
{
  const PetscInt64 n = p.n, nn = n * n;

  if (p.kind == KronEigenProblem::SYMMETRIC) {
    for (PetscInt64 i = 0; i < nn; ++i)
      if (!std::isfinite(p.A[i])) return KronEigenProblem::FAILED;
    if ((e->transform = DiagonalizeByTransform(n, p.A, &e->lambda))) return KronEigenProblem::GOOD;
  }
  /* of a pencil either matrix may be the definite one */
  for (int swapped = 0; swapped < (p.kind == KronEigenProblem::PENCIL ? 2 : 1); ++swapped) {
    bool good;
    if (split) {
      std::vector<double> A[2], B[2];
      KronEigen           half[2];
      SplitCentro(n, p.A, &A[0], &A[1]);
      if (p.B) SplitCentro(n, p.B, &B[0], &B[1]);
      good = true;
      for (int k = 0; k < 2; ++k) good = good && Decompose(p.kind, swapped, k ? n / 2 : n - n / 2, A[k], B[k], &half[k]) == KronEigenProblem::GOOD;
      if (good) Merge(n, &half[0], &half[1], e);
    } else {
      std::vector<double> A(p.A, p.A + nn), B;
      if (p.B) B.assign(p.B, p.B + nn);
      good = Decompose(p.kind, swapped, n, A, B, e) == KronEigenProblem::GOOD;
    }
    if (good) return swapped ? KronEigenProblem::SWAPPED : KronEigenProblem::GOOD;
  }
  return KronEigenProblem::FAILED;
}

/* The vectors of one process to all */
PetscErrorCode BcastColumns(MPI_Comm comm, PetscInt64 n, std::shared_ptr<const EvenOdd> *f, int root)
{
  const PetscInt64      h = n / 2, e = n - h;
  std::vector<double>   E, O;
  std::vector<PetscInt> even, odd;

  PetscFunctionBegin;
  PetscCallCXX({
    if (*f) {
      E    = (*f)->EvenPart();
      O    = (*f)->OddPart();
      even = (*f)->EvenColumns();
      odd  = (*f)->OddColumns();
    }
    E.resize(e * e);
    O.resize(h * h);
    even.resize(e);
    odd.resize(h);
  });
  PetscCall(BcastDoubles(comm, E.data(), e * e, root));
  PetscCall(BcastDoubles(comm, O.data(), h * h, root));
  PetscCallMPI(MPI_Bcast(even.data(), static_cast<int>(e), MPIU_INT, root, comm));
  PetscCallMPI(MPI_Bcast(odd.data(), static_cast<int>(h), MPIU_INT, root, comm));
  PetscCallCXX(*f = EvenOdd::Columns(n, std::move(E), std::move(O), std::move(even), std::move(odd)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace

PetscErrorCode KronEvenOdd(PetscBool *on)
{
  PetscFunctionBegin;
  *on = PETSC_TRUE;
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-mat_skeankron_evenodd", on, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KronEigenSolve(MPI_Comm comm, std::vector<KronEigenProblem> *problems)
{
  PetscMPIInt       rank, size;
  PetscInt          large = 3000;
  PetscBool         evenodd;
  std::vector<int>  state, root;
  std::vector<bool> split;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-mat_skeankron_scalapack", &large, NULL));
  PetscCall(KronEvenOdd(&evenodd));
#if !defined(SKEAN_HAVE_SCALAPACK)
  large = PETSC_MAX_INT;
#endif
  const int np = static_cast<int>(problems->size());
  /* per problem: result, transform + 1 */
  PetscCallCXX(state.assign(2 * np, 0));
  PetscCallCXX(root.assign(np, 0));
  PetscCallCXX(split.assign(np, false));
  const auto Large = [&](const KronEigenProblem &p) { return size > 1 && p.kind == KronEigenProblem::SYMMETRIC && p.n >= std::max<PetscInt>(large, 4); };
  int        turn  = 0;
  for (int j = 0; j < np; ++j) {
    KronEigenProblem &p = (*problems)[j];
    KronEigen         e;
    e.n     = p.n;
    root[j] = turn % size;
    /* the same everywhere, since all have the matrices */
    if (evenodd && p.n > 3) {
      e.asymmetry = CentroDistance(p.n, p.A, kCentroTolerance);
      if (p.B) e.asymmetry = std::max(e.asymmetry, CentroDistance(p.n, p.B, kCentroTolerance));
      split[j] = e.asymmetry <= kCentroTolerance;
    }
    if (!split[j]) e.asymmetry = 0;
    *p.eig = std::move(e);
    /* a large problem is everybody's, unless a transform settles it */
    if (!Large(p)) ++turn;
    if (root[j] != rank) continue;
    PetscCallCXX({
      if (!Large(p))
        state[2 * j] = Alone(p, split[j], p.eig);
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
    PetscCallCXX(e.lambda.resize(p.n));
    if (Large(p) && !state[2 * j + 1]) {
      bool good = true, bad;
      for (PetscInt64 i = 0; i < nn && good; ++i) good = std::isfinite(p.A[i]);
      PetscCall(AgreeAny(comm, !good, &bad));
      good = !bad;
      if (good && split[j]) {
        KronEigen half[2];
        PetscCallCXX(SplitCentro(p.n, p.A, &half[0].V, &half[1].V));
        for (int k = 0; k < 2; ++k) {
          bool done;
          half[k].n = k ? p.n / 2 : p.n - p.n / 2;
          PetscCallCXX(half[k].lambda.resize(half[k].n));
          PetscCall(SyevdDistributed(comm, half[k].n, half[k].V.data(), half[k].lambda.data(), &done));
          good = good && done;
        }
        if (good) PetscCallCXX(Merge(p.n, &half[0], &half[1], &e));
      } else if (good) {
        PetscCallCXX(e.V.assign(p.A, p.A + nn));
        PetscCall(SyevdDistributed(comm, p.n, e.V.data(), e.lambda.data(), &good));
      }
      PetscCallCXX(Finish(p, split[j] ? "ScaLAPACK, even and odd" : "ScaLAPACK", &e));
      if (!good) p.result = KronEigenProblem::FAILED;
      continue;
    }
    PetscCall(BcastDoubles(comm, e.lambda.data(), p.n, root[j]));
    if (state[2 * j + 1]) {
      if (!e.transform) PetscCallCXX(e.transform = FastTransform::Create(static_cast<FastTransform::Kind>(state[2 * j + 1] - 1), p.n));
      PetscCheck(e.transform, PETSC_COMM_SELF, PETSC_ERR_LIB, "FFTW made no plan for a transform of length %" PetscInt64_FMT, p.n);
      e.method    = e.transform->Name();
      e.asymmetry = 0;
      continue;
    }
    const bool general = p.kind == KronEigenProblem::GENERAL;
    if (split[j]) {
      PetscCall(BcastColumns(comm, p.n, &e.parts, root[j]));
      if (general) PetscCall(BcastColumns(comm, p.n, &e.inverseparts, root[j]));
    } else {
      PetscCallCXX(e.V.resize(nn));
      PetscCall(BcastDoubles(comm, e.V.data(), nn, root[j]));
      if (general) {
        PetscCallCXX(e.Vinv.resize(nn));
        PetscCall(BcastDoubles(comm, e.Vinv.data(), nn, root[j]));
      }
    }
    PetscCallCXX(Finish(p, split[j] ? "LAPACK, even and odd" : "LAPACK", &e));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace skean
