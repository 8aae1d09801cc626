/* Factors of Kronecker products, their eigendecompositions, and the inverse of a sum of products; see kron.hpp */
#include <skean/private/kron.hpp>
#include <skean/private/reduce.hpp>
#include <petscblaslapack.h>
#include <algorithm>
#include <cmath>
#include <limits>

extern "C" {
void dsyevd_(const char *, const char *, const PetscBLASInt *, double *, const PetscBLASInt *, double *, double *, const PetscBLASInt *, PetscBLASInt *,
             const PetscBLASInt *, PetscBLASInt *, size_t, size_t);
void dsygst_(const PetscBLASInt *, const char *, const PetscBLASInt *, double *, const PetscBLASInt *, const double *, const PetscBLASInt *, PetscBLASInt *,
             size_t);
void dgecon_(const char *, const PetscBLASInt *, const double *, const PetscBLASInt *, const double *, double *, double *, PetscBLASInt *, PetscBLASInt *,
             size_t);
}

namespace skean {

/* ---- factors --------------------------------------------------------------------------------------------------------------- */

KronFactor KronFactor::Identity(PetscInt64 n)
{
  KronFactor f;
  f.m = f.n  = n;
  f.toeplitz = true;
  return f;
}

KronFactor KronFactor::Diagonal(std::vector<double> diag)
{
  KronFactor f;
  f.kind = DIAGONAL;
  f.m = f.n = static_cast<PetscInt64>(diag.size());
  for (size_t i = 0; i < diag.size(); ++i) f.centrosymmetric = f.centrosymmetric && diag[i] == diag[diag.size() - 1 - i];
  f.a = std::make_shared<const std::vector<double>>(std::move(diag));
  return f;
}

KronFactor KronFactor::Dense(PetscInt64 m, PetscInt64 n, std::vector<double> a)
{
  KronFactor f;
  f.kind = DENSE;
  f.m    = m;
  f.n    = n;
  if (m != n)
    f.symmetric = f.centrosymmetric = false;
  else {
    /* symmetric and persymmetric in the last bit: covariance matrices of uniform grids are, by construction */
    f.toeplitz = true;
    for (PetscInt64 j = 0; j < n; ++j)
      for (PetscInt64 i = 0; i < m; ++i) {
        if (a[i + j * m] != a[j + i * m]) f.symmetric = false;
        if (a[i + j * m] != a[(m - 1 - i) + (m - 1 - j) * m]) f.centrosymmetric = false;
        if (i && j && a[i + j * m] != a[i - 1 + (j - 1) * m]) f.toeplitz = false;
      }
  }
  f.a = std::make_shared<const std::vector<double>>(std::move(a));
  return f;
}

PetscErrorCode KronFactor::FromMat(Mat F, KronFactor *factor)
{
  PetscMPIInt size;
  PetscInt    m, n;
  PetscBool   dense, constant;

  PetscFunctionBegin;
  PetscCheck(F, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "A factor of a Kronecker product is missing");
  PetscCallMPI(MPI_Comm_size(PetscObjectComm((PetscObject)F), &size));
  PetscCheck(size == 1, PetscObjectComm((PetscObject)F), PETSC_ERR_ARG_WRONG,
             "A factor of a Kronecker product is a sequential matrix, the same on every process; this one is distributed over %d processes", size);
  PetscCall(MatGetSize(F, &m, &n));
  PetscCall(PetscObjectBaseTypeCompare((PetscObject)F, MATSEQDENSE, &dense));
  PetscCall(PetscObjectTypeCompare((PetscObject)F, MATCONSTANTDIAGONAL, &constant));
  if (constant) {
    PetscScalar value = 1.0;
    Vec         v;

    PetscCall(MatCreateVecs(F, &v, NULL));
    PetscCall(MatGetDiagonal(F, v));
    if (n) {
      const PetscScalar *p;
      PetscCall(VecGetArrayRead(v, &p));
      value = p[0];
      PetscCall(VecRestoreArrayRead(v, &p));
    }
    PetscCall(VecDestroy(&v));
    PetscCallCXX(*factor = value == 1.0 ? Identity(n) : Diagonal(std::vector<double>(n, value)));
  } else if (dense) {
    const PetscScalar  *p;
    PetscInt            lda;
    std::vector<double> a;

    PetscCall(MatDenseGetLDA(F, &lda));
    PetscCall(MatDenseGetArrayRead(F, &p));
    PetscCallCXX(a.resize(static_cast<size_t>(m) * n));
    for (PetscInt j = 0; j < n; ++j) std::copy(p + static_cast<size_t>(j) * lda, p + static_cast<size_t>(j) * lda + m, a.data() + static_cast<size_t>(j) * m);
    PetscCall(MatDenseRestoreArrayRead(F, &p));
    PetscCallCXX(*factor = Dense(m, n, std::move(a)));
  } else {
    std::vector<PetscInt> ia(1, 0), ja;
    std::vector<double>   v;
    bool                  diagonal = m == n, identity = m == n;

    for (PetscInt i = 0; i < m; ++i) {
      PetscInt           nc;
      const PetscInt    *c;
      const PetscScalar *x;
      PetscCall(MatGetRow(F, i, &nc, &c, &x));
      PetscCallCXX({
        for (PetscInt k = 0; k < nc; ++k) {
          if (x[k] == 0.0) continue;
          ja.push_back(c[k]);
          v.push_back(x[k]);
          if (c[k] != i) diagonal = false;
        }
        ia.push_back(static_cast<PetscInt>(ja.size()));
      });
      PetscCall(MatRestoreRow(F, i, &nc, &c, &x));
    }
    if (diagonal) {
      std::vector<double> dg;
      PetscCallCXX(dg.assign(n, 0.0));
      for (PetscInt i = 0; i < m; ++i) {
        if (ia[i + 1] > ia[i]) dg[i] = v[ia[i]];
        identity = identity && dg[i] == 1.0;
      }
      PetscCallCXX(*factor = identity ? Identity(n) : Diagonal(std::move(dg)));
    } else {
      PetscCallCXX({
        factor->kind            = SPARSE;
        factor->m               = m;
        factor->n               = n;
        factor->ia              = std::make_shared<const std::vector<PetscInt>>(std::move(ia));
        factor->ja              = std::make_shared<const std::vector<PetscInt>>(std::move(ja));
        factor->a               = std::make_shared<const std::vector<double>>(std::move(v));
        factor->symmetric       = false;
        factor->centrosymmetric = false;
        if (m == n) {
          /* structure by the dense form: factors are small */
          const KronFactor full   = Dense(m, n, factor->ToDense());
          factor->symmetric       = full.symmetric;
          factor->centrosymmetric = full.centrosymmetric;
          factor->toeplitz        = full.toeplitz;
        }
      });
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

ModeOp KronFactor::Op(bool trans) const
{
  ModeOp o;

  switch (kind) {
  case IDENTITY:
    return ModeOp::Identity(n);
  case DIAGONAL:
    return ModeOp::Diagonal(n, a->data());
  case DENSE:
    return ModeOp::Dense(m, n, a->data(), m, trans);
  case SPARSE:
    o.kind  = ModeOp::SPARSE;
    o.trans = trans;
    o.m     = trans ? n : m;
    o.n     = trans ? m : n;
    o.ia    = ia->data();
    o.ja    = ja->data();
    o.a     = a->data();
    return o;
  }
  return o;
}

std::vector<double> KronFactor::ToDense() const
{
  if (kind == DENSE) return *a;
  std::vector<double> x(static_cast<size_t>(m) * n, 0.0);
  for (PetscInt64 i = 0; i < m; ++i) {
    if (kind == IDENTITY)
      x[i + i * m] = 1.0;
    else if (kind == DIAGONAL)
      x[i + i * m] = (*a)[i];
    else
      for (PetscInt k = (*ia)[i]; k < (*ia)[i + 1]; ++k) x[i + (*ja)[k] * m] += (*a)[k];
  }
  return x;
}

bool KronFactor::Same(const KronFactor &o) const noexcept
{
  if (kind != o.kind || m != o.m || n != o.n) return false;
  if (kind == IDENTITY || a == o.a) return true;
  return *a == *o.a && (kind != SPARSE || (*ia == *o.ia && *ja == *o.ja));
}

const char *KronFactor::Describe() const noexcept
{
  switch (kind) {
  case IDENTITY:
    return "identity";
  case DIAGONAL:
    return "diagonal";
  case SPARSE:
    return symmetric ? "sparse symmetric" : "sparse";
  case DENSE:
    return m != n ? "dense rectangular" : symmetric ? (toeplitz ? "symmetric Toeplitz" : "dense symmetric") : (toeplitz ? "Toeplitz" : "dense");
  }
  return "";
}

double KronFactor::Checksum() const noexcept
{
  double s = static_cast<double>(m) * 3 + static_cast<double>(n) * 5 + kind * 7;
  if (a)
    for (size_t i = 0; i < a->size(); ++i)
      if (std::isfinite((*a)[i])) s += (*a)[i] * static_cast<double>(i % 1013 + 1);
  return s;
}

KronFactor KronFactor::Transposed() const
{
  if (kind == IDENTITY || kind == DIAGONAL) return *this;
  const std::vector<double> x = ToDense();
  std::vector<double>       y(x.size());
  for (PetscInt64 j = 0; j < n; ++j)
    for (PetscInt64 i = 0; i < m; ++i) y[j + i * n] = x[i + j * m];
  return Dense(n, m, std::move(y));
}

KronFactor KronFactor::Product(const KronFactor &A, const KronFactor &B)
{
  if (A.kind == IDENTITY) return B;
  if (B.kind == IDENTITY) return A;
  if (A.kind == DIAGONAL && B.kind == DIAGONAL) {
    std::vector<double> x = *A.a;
    for (size_t i = 0; i < x.size(); ++i) x[i] *= (*B.a)[i];
    return Diagonal(std::move(x));
  }
  std::vector<double> b = B.ToDense(), c(static_cast<size_t>(A.m) * B.n), scratch;
  ModeProduct(A.Op(false), B.n, B.m, A.m, 1, 0, 1, b.data(), c.data(), scratch);
  return Dense(A.m, B.n, std::move(c));
}

/* ---- eigendecompositions ----------------------------------------------------------------------------------------------------- */

namespace {

/* Symmetric A (overwritten by the vectors), eigenvalues ascending */
bool Syevd(PetscInt64 n, double *A, double *w)
{
  if (!n) return true;
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
bool SyevdCentro(PetscInt64 n, const double *A, double *V, double *w)
{
  const PetscInt64    h = n / 2, e = n - h;
  const double        r = std::sqrt(0.5);
  std::vector<double> E(e * e), O(h * h), we(e), wo(h);

  for (PetscInt64 j = 0; j < h; ++j)
    for (PetscInt64 i = 0; i < h; ++i) {
      E[i + j * e] = A[i + j * n] + A[i + (n - 1 - j) * n];
      O[i + j * h] = A[i + j * n] - A[i + (n - 1 - j) * n];
    }
  if (e > h) {
    for (PetscInt64 i = 0; i < h; ++i) E[i + h * e] = E[h + i * e] = std::sqrt(2.0) * A[i + h * n];
    E[h + h * e] = A[h + h * n];
  }
  if (!Syevd(e, E.data(), we.data()) || !Syevd(h, O.data(), wo.data())) return false;
  /* merged in ascending order */
  for (PetscInt64 k = 0, ke = 0, ko = 0; k < n; ++k) {
    double *v = V + k * n;
    if (ko >= h || (ke < e && we[ke] <= wo[ko])) {
      w[k] = we[ke];
      for (PetscInt64 i = 0; i < h; ++i) v[i] = v[n - 1 - i] = r * E[i + ke * e];
      if (e > h) v[h] = E[h + ke * e];
      ++ke;
    } else {
      w[k] = wo[ko];
      for (PetscInt64 i = 0; i < h; ++i) {
        v[i]         = r * O[i + ko * h];
        v[n - 1 - i] = -v[i];
      }
      if (e > h) v[h] = 0.0;
      ++ko;
    }
  }
  return true;
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

} // namespace

PetscErrorCode KronEigenSymmetric(MPI_Comm comm, const std::vector<const double *> &K, const std::vector<PetscInt64> &n, const std::vector<bool> &centro,
                                  std::vector<KronEigen> *eig, std::vector<int> *failed)
{
  PetscMPIInt rank, size;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallCXX(eig->assign(n.size(), KronEigen()));
  PetscCallCXX(failed->assign(n.size(), 0));
  for (size_t j = 0; j < n.size(); ++j) {
    KronEigen       &e  = (*eig)[j];
    const PetscInt64 nn = n[j] * n[j];
    e.n                 = n[j];
    PetscCallCXX(e.V.resize(nn));
    PetscCallCXX(e.lambda.resize(n[j]));
    if (static_cast<int>(j % size) == rank) {
      PetscCallCXX({
        bool good = true;
        for (PetscInt64 i = 0; i < nn && good; ++i) good = std::isfinite(K[j][i]);
        if (good && centro[j] && n[j] > 3)
          good = SyevdCentro(n[j], K[j], e.V.data(), e.lambda.data());
        else if (good) {
          std::copy(K[j], K[j] + nn, e.V.data());
          good = Syevd(n[j], e.V.data(), e.lambda.data());
        }
        (*failed)[j] = good ? 0 : 1;
      });
    }
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, failed->data(), static_cast<int>(n.size()), MPI_INT, MPI_MAX, comm));
  for (size_t j = 0; j < n.size(); ++j)
    if (!(*failed)[j]) {
      PetscCall(BcastDoubles(comm, (*eig)[j].V.data(), n[j] * n[j], static_cast<int>(j % size)));
      PetscCall(BcastDoubles(comm, (*eig)[j].lambda.data(), n[j], static_cast<int>(j % size)));
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- inverse ------------------------------------------------------------------------------------------------------------------- */

PetscErrorCode KronInverse::SetUp(const TensorGrid &grid, const std::vector<KronTerm> &terms, double s)
{
  const MPI_Comm comm = grid.Comm();
  PetscMPIInt    rank, size;
  const int      T = static_cast<int>(terms.size());

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCheck(T > 0, comm, PETSC_ERR_ARG_WRONGSTATE, "The Kronecker operator has no term");
  for (const KronTerm &t : terms)
    for (const KronFactor &f : t.f)
      PetscCheck(f.m == f.n, comm, PETSC_ERR_SUP, "A Kronecker operator with a %" PetscInt64_FMT " x %" PetscInt64_FMT " factor has no inverse", f.m, f.n);
  d        = grid.Dim();
  shift    = s;
  singular = lu = false;
  smin = smax = 0;
  positive    = false;
  PetscCallCXX({
    coeff.clear();
    for (const KronTerm &t : terms) coeff.push_back(t.coeff);
    eig.assign(d, KronEigen());
    lambda.assign(T, std::vector<const double *>(d, nullptr));
    fwd.assign(d, ModeOp());
    bwd.assign(d, ModeOp());
    lua.assign(d, std::vector<double>());
    piv.assign(d, std::vector<PetscBLASInt>());
  });

  /* 1. One term without shift whose factors are not all symmetric: each factor is inverted by its LU factors */
  bool symmetric = true;
  for (const KronTerm &t : terms)
    for (const KronFactor &f : t.f) symmetric = symmetric && f.symmetric;
  if (T == 1 && shift == 0.0 && !symmetric) {
    lu     = true;
    method = "LU of each factor";
    if (coeff[0] == 0.0) singular = true;
    for (int j = 0; j < d; ++j) {
      const KronFactor &f = terms[0].f[j];
      ModeOp            o = ModeOp::Identity(f.n);
      if (f.kind != KronFactor::IDENTITY) {
        PetscBLASInt bn = static_cast<PetscBLASInt>(f.n), info;
        PetscCallCXX(lua[j] = f.ToDense());
        PetscCallCXX(piv[j].resize(f.n));
        LAPACKgetrf_(&bn, &bn, lua[j].data(), &bn, piv[j].data(), &info);
        if (info) singular = true;
        o.kind = ModeOp::LU;
        o.a    = lua[j].data();
        o.lda  = f.n;
        o.piv  = piv[j].data();
      }
      bwd[j] = o;
    }
    bool any;
    PetscCall(AgreeAny(comm, singular, &any));
    singular = any;
    ready    = true;
    PetscFunctionReturn(PETSC_SUCCESS);
  }

  /* 2. Which matrices meet along each dimension: none, one (with or without identities), or two without an identity */
  std::vector<int> first(d, -1), second(d, -1), nonsym(d, 0), bad(d, 0);
  for (int j = 0; j < d; ++j) {
    bool identity = shift != 0.0;
    for (int t = 0; t < T; ++t) {
      const KronFactor &f = terms[t].f[j];
      if (f.kind == KronFactor::IDENTITY)
        identity = true;
      else if (first[j] < 0 || f.Same(terms[first[j]].f[j]))
        first[j] = first[j] < 0 ? t : first[j];
      else if (second[j] < 0 || f.Same(terms[second[j]].f[j]))
        second[j] = second[j] < 0 ? t : second[j];
      else
        PetscCheck(false, comm, PETSC_ERR_SUP,
                   "More than two different factors along dimension %d: the sum of Kronecker products has no common eigenvectors; use it with an iterative KSP",
                   j);
    }
    PetscCheck(second[j] < 0 || !identity, comm, PETSC_ERR_SUP,
               "Two different factors and an identity%s meet along dimension %d: no common eigenvectors; use an iterative KSP with the sum of two of the terms "
               "as preconditioner",
               shift != 0.0 ? " (the shift)" : "", j);
  }
  method = "fast diagonalisation";

  /* 3. Decompositions, dimension j on process j mod P */
  for (int j = 0; j < d; ++j) {
    if (first[j] < 0) continue;
    const KronFactor &f = terms[first[j]].f[j];
    KronEigen        &e = eig[j];
    e.n                 = f.n;
    if (f.kind == KronFactor::DIAGONAL && second[j] < 0) {
      PetscCallCXX(e.lambda = *f.a);
      continue;
    }
    nonsym[j] = second[j] < 0 && !f.symmetric;
    PetscCallCXX(e.V.resize(f.n * f.n));
    PetscCallCXX(e.lambda.resize(f.n));
    if (nonsym[j]) PetscCallCXX(e.Vinv.resize(f.n * f.n));
    if (j % size != rank) continue;
    PetscCallCXX({
      if (second[j] >= 0) {
        const KronFactor         &g = terms[second[j]].f[j];
        const std::vector<double> G = g.ToDense();
        e.V                         = f.ToDense();
        bad[j]                      = f.symmetric && g.symmetric && Pencil(f.n, e.V.data(), G.data(), e.lambda.data()) ? 0 : 1;
        if (bad[j] && f.symmetric && g.symmetric) {
          /* the other one may be the definite one */
          const std::vector<double> F = f.ToDense();
          e.V                         = G;
          bad[j]                      = Pencil(f.n, e.V.data(), F.data(), e.lambda.data()) ? -1 : 1;
        }
      } else if (nonsym[j]) {
        std::vector<double> A = f.ToDense();
        bad[j]                = RealEigen(f.n, A.data(), e.V.data(), e.Vinv.data(), e.lambda.data()) ? 0 : 2;
      } else {
        const std::vector<double> A = f.ToDense();
        if (f.centrosymmetric && f.n > 3) {
          bool finite = true;
          for (double x : A) finite = finite && std::isfinite(x);
          bad[j] = finite && SyevdCentro(f.n, A.data(), e.V.data(), e.lambda.data()) ? 0 : 3;
        } else {
          e.V    = A;
          bad[j] = Syevd(f.n, e.V.data(), e.lambda.data()) ? 0 : 3;
        }
      }
    });
  }
  for (int j = 0; j < d; ++j) PetscCallMPI(MPI_Bcast(&bad[j], 1, MPI_INT, j % size, comm));
  for (int j = 0; j < d; ++j) {
    PetscCheck(bad[j] != 1, comm, PETSC_ERR_SUP, "The two factors along dimension %d are no symmetric pencil with one of them positive definite", j);
    PetscCheck(bad[j] != 2, comm, PETSC_ERR_SUP,
               "The factor along dimension %d is not symmetric and has complex or ill-conditioned eigenvectors: no fast diagonalisation; use an iterative KSP",
               j);
    PetscCheck(bad[j] != 3, comm, PETSC_ERR_LIB, "The eigendecomposition of the factor along dimension %d failed (not finite, or no convergence of LAPACK)", j);
  }
  for (int j = 0; j < d; ++j) {
    KronEigen       &e = eig[j];
    const PetscInt64 n = e.n;
    fwd[j] = bwd[j] = ModeOp::Identity(terms[0].f[j].n);
    if (first[j] < 0) continue;
    if (!e.V.empty()) {
      PetscCall(BcastDoubles(comm, e.V.data(), n * n, j % size));
      PetscCall(BcastDoubles(comm, e.lambda.data(), n, j % size));
      if (nonsym[j]) PetscCall(BcastDoubles(comm, e.Vinv.data(), n * n, j % size));
      bwd[j] = ModeOp::Dense(n, n, e.V.data(), n);
      fwd[j] = nonsym[j] ? ModeOp::Dense(n, n, e.Vinv.data(), n) : ModeOp::Dense(n, n, e.V.data(), n, true);
    }
    /* bad == -1: the pencil was taken the other way round */
    const int carrier = bad[j] == -1 ? second[j] : first[j];
    for (int t = 0; t < T; ++t)
      if (terms[t].f[j].kind != KronFactor::IDENTITY && terms[t].f[j].Same(terms[carrier].f[j])) lambda[t][j] = e.lambda.data();
  }

  /* 4. The extremes of the spectrum, each process its part of it */
  double e[3] = {-std::numeric_limits<double>::infinity(), 0.0, 0.0};
  ForSpectrum(grid.Home(), shift, coeff, lambda, [&](PetscInt64, double v) {
    e[0] = std::max(e[0], -std::abs(v));
    e[1] = std::max(e[1], std::abs(v));
    if (!(v > 0)) e[2] = 1.0;
  });
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, e, 3, MPI_DOUBLE, MPI_MAX, comm));
  smin     = -e[0];
  smax     = e[1];
  positive = e[2] == 0.0;
  singular = !(smin > 0.0);
  ready    = true;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KronInverse::Apply(TensorGrid &grid, bool trans, const double *b, double *x, PetscInt64 nx)
{
  std::vector<ModeOp> f(d), g(d);

  PetscFunctionBegin;
  PetscCheck(ready, PETSC_COMM_SELF, PETSC_ERR_PLIB, "The inverse is not set up");
  const auto Flip = [](ModeOp o) {
    if (o.kind == ModeOp::DENSE || o.kind == ModeOp::LU) o.trans = !o.trans;
    return o;
  };
  for (int j = 0; j < d; ++j) {
    f[j] = trans ? Flip(bwd[j]) : fwd[j];
    g[j] = trans ? Flip(lu ? bwd[j] : fwd[j]) : bwd[j];
  }
  TensorPipe pipe(grid, grid.Sizes(), 0, b, x, nx);
  if (lu) {
    double *p;
    PetscCall(pipe.Forward(g.data()));
    PetscCall(pipe.Move(0));
    PetscCall(pipe.Data(&p));
    for (PetscInt64 i = 0, v = pipe.Box().Volume(); i < v; ++i) p[i] /= coeff[0];
    PetscCall(pipe.Finish());
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  double *p;
  PetscCall(pipe.Forward(f.data()));
  PetscCall(pipe.Data(&p));
  ForSpectrum(pipe.Box(), shift, coeff, lambda, [&](PetscInt64 at, double v) { p[at] /= v; });
  PetscCall(pipe.Backward(g.data()));
  PetscCall(pipe.Finish());
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace skean
