#include "dense.hpp"
#include <algorithm>
#include <cmath>

extern "C" {
using zcomplex = std::complex<double>;
void dgesdd_(const char *, const PetscBLASInt *, const PetscBLASInt *, double *, const PetscBLASInt *, double *, double *, const PetscBLASInt *, double *,
             const PetscBLASInt *, double *, const PetscBLASInt *, PetscBLASInt *, PetscBLASInt *);
void dsyevd_(const char *, const char *, const PetscBLASInt *, double *, const PetscBLASInt *, double *, double *, const PetscBLASInt *, PetscBLASInt *,
             const PetscBLASInt *, PetscBLASInt *);
void dgees_(const char *, const char *, PetscBLASInt (*)(const double *, const double *), const PetscBLASInt *, double *, const PetscBLASInt *, PetscBLASInt *,
            double *, double *, double *, const PetscBLASInt *, double *, const PetscBLASInt *, PetscBLASInt *, PetscBLASInt *);
void zgees_(const char *, const char *, PetscBLASInt (*)(const zcomplex *), const PetscBLASInt *, zcomplex *, const PetscBLASInt *, PetscBLASInt *, zcomplex *,
            zcomplex *, const PetscBLASInt *, zcomplex *, const PetscBLASInt *, double *, PetscBLASInt *, PetscBLASInt *);
void dtrsyl_(const char *, const char *, const PetscBLASInt *, const PetscBLASInt *, const PetscBLASInt *, const double *, const PetscBLASInt *, const double *,
             const PetscBLASInt *, double *, const PetscBLASInt *, double *, PetscBLASInt *);
void ztrsyl_(const char *, const char *, const PetscBLASInt *, const PetscBLASInt *, const PetscBLASInt *, const zcomplex *, const PetscBLASInt *,
             const zcomplex *, const PetscBLASInt *, zcomplex *, const PetscBLASInt *, double *, PetscBLASInt *);
void zgetrf_(const PetscBLASInt *, const PetscBLASInt *, zcomplex *, const PetscBLASInt *, PetscBLASInt *, PetscBLASInt *);
void zgetri_(const PetscBLASInt *, zcomplex *, const PetscBLASInt *, const PetscBLASInt *, zcomplex *, const PetscBLASInt *, PetscBLASInt *);
void zgemm_(const char *, const char *, const PetscBLASInt *, const PetscBLASInt *, const PetscBLASInt *, const zcomplex *, const zcomplex *,
            const PetscBLASInt *, const zcomplex *, const PetscBLASInt *, const zcomplex *, zcomplex *, const PetscBLASInt *);
}

namespace skean {
namespace gp {

static PetscBLASInt I(size_t n)
{
  return static_cast<PetscBLASInt>(n);
}
static PetscBLASInt LD(size_t n)
{
  return static_cast<PetscBLASInt>(std::max<size_t>(n, 1));
}

Dense Multiply(const Dense &A, const Dense &B, bool ta, bool tb)
{
  const size_t       m = ta ? A.n : A.m, k = ta ? A.m : A.n, n = tb ? B.m : B.n;
  Dense              C(m, n);
  const PetscBLASInt M = I(m), N = I(n), K = I(k), la = LD(A.m), lb = LD(B.m), lc = LD(m);
  const double       one = 1, zero = 0;
  if (m && n && k) BLASgemm_(ta ? "T" : "N", tb ? "T" : "N", &M, &N, &K, &one, A.a.data(), &la, B.a.data(), &lb, &zero, C.a.data(), &lc);
  return C;
}

bool SVD(const Dense &A, Dense &U, std::vector<double> &s, Dense &Vt)
{
  const size_t k = std::min(A.m, A.n);
  Dense        C = A;
  U              = Dense(A.m, k);
  Vt             = Dense(k, A.n);
  s.assign(k, 0.0);
  if (!k) return true;
  std::vector<PetscBLASInt> iwork(8 * k);
  PetscBLASInt              m = I(A.m), n = I(A.n), kk = I(k), lwork = -1, info;
  double                    w;
  dgesdd_("S", &m, &n, C.a.data(), &m, s.data(), U.a.data(), &m, Vt.a.data(), &kk, &w, &lwork, iwork.data(), &info);
  lwork = static_cast<PetscBLASInt>(w);
  std::vector<double> work(static_cast<size_t>(lwork));
  dgesdd_("S", &m, &n, C.a.data(), &m, s.data(), U.a.data(), &m, Vt.a.data(), &kk, work.data(), &lwork, iwork.data(), &info);
  return info == 0;
}

bool SymmetricEig(const Dense &A, Dense &Q, std::vector<double> &lambda)
{
  Q = A;
  lambda.assign(A.m, 0.0);
  if (!A.m) return true;
  PetscBLASInt n = I(A.m), lwork = -1, liwork = -1, info, iw;
  double       w;
  dsyevd_("V", "U", &n, Q.a.data(), &n, lambda.data(), &w, &lwork, &iw, &liwork, &info);
  lwork  = static_cast<PetscBLASInt>(w);
  liwork = iw;
  std::vector<double>       work(static_cast<size_t>(lwork));
  std::vector<PetscBLASInt> iwork(static_cast<size_t>(liwork));
  dsyevd_("V", "U", &n, Q.a.data(), &n, lambda.data(), work.data(), &lwork, iwork.data(), &liwork, &info);
  return info == 0;
}

bool RealSchur(const Dense &A, Dense &Q, Dense &T)
{
  T = A;
  Q = Dense(A.m, A.m);
  if (!A.m) return true;
  PetscBLASInt        n = I(A.m), sdim, lwork = -1, info;
  std::vector<double> wr(A.m), wi(A.m);
  double              w;
  dgees_("V", "N", nullptr, &n, T.a.data(), &n, &sdim, wr.data(), wi.data(), Q.a.data(), &n, &w, &lwork, nullptr, &info);
  lwork = static_cast<PetscBLASInt>(w);
  std::vector<double> work(static_cast<size_t>(lwork));
  dgees_("V", "N", nullptr, &n, T.a.data(), &n, &sdim, wr.data(), wi.data(), Q.a.data(), &n, work.data(), &lwork, nullptr, &info);
  return info == 0;
}

bool NullSpace(const Dense &R, Dense &Z, Dense &pinv)
{
  const size_t n = R.n, b = R.m;
  /* columns of R' scaled to norm 1, QR of them: Z = the other columns of Q, pinv = Q1 R^-T */
  Z    = Dense(n, n - std::min(b, n));
  pinv = Dense(n, b);
  if (b >= n) return false;
  Dense               Q(n, n);
  std::vector<double> scale(b), tau(std::max<size_t>(b, 1));
  for (size_t j = 0; j < b; j++) {
    double s = 0;
    for (size_t i = 0; i < n; i++) s += R(j, i) * R(j, i);
    scale[j] = std::sqrt(s);
    if (!(scale[j] > 0)) return false;
    for (size_t i = 0; i < n; i++) Q(i, j) = R(j, i) / scale[j];
  }
  if (!b) {
    for (size_t i = 0; i < n; i++) Z(i, i) = 1;
    return true;
  }
  PetscBLASInt        N = I(n), B = I(b), lwork = I(64 * n), info;
  std::vector<double> work(static_cast<size_t>(lwork));
  LAPACKgeqrf_(&N, &B, Q.a.data(), &N, tau.data(), work.data(), &lwork, &info);
  if (info) return false;
  Dense T(b, b);
  for (size_t j = 0; j < b; j++)
    for (size_t i = 0; i <= j; i++) T(i, j) = Q(i, j);
  for (size_t j = 0; j < b; j++)
    if (std::fabs(T(j, j)) < 1e-10) return false;
  LAPACKorgqr_(&N, &N, &B, Q.a.data(), &N, tau.data(), work.data(), &lwork, &info);
  if (info) return false;
  std::copy(Q.Col(b), Q.Col(b) + n * (n - b), Z.a.begin());
  /* R pinv = I: pinv = Q1 T^-T scale^-1; column j solves T' y = e_j */
  for (size_t j = 0; j < b; j++) {
    std::vector<double> y(b, 0.0);
    y[j] = 1.0 / scale[j];
    for (size_t i = 0; i < b; i++) {
      for (size_t k = 0; k < i; k++) y[i] -= T(k, i) * y[k];
      y[i] /= T(i, i);
    }
    for (size_t k = 0; k < b; k++)
      for (size_t i = 0; i < n; i++) pinv(i, j) += Q(i, k) * y[k];
  }
  return true;
}

bool LUFactor(Dense &A, std::vector<PetscBLASInt> &piv)
{
  PetscBLASInt n = I(A.m), info = 0;
  piv.assign(A.m, 0);
  if (A.m) LAPACKgetrf_(&n, &n, A.a.data(), &n, piv.data(), &info);
  return info == 0;
}

void LUSolve(const Dense &LU, const std::vector<PetscBLASInt> &piv, Dense &B, bool trans)
{
  PetscBLASInt n = I(LU.m), nrhs = I(B.n), info;
  if (n && nrhs)
    LAPACKgetrs_(trans ? "T" : "N", &n, &nrhs, const_cast<double *>(LU.a.data()), &n, const_cast<PetscBLASInt *>(piv.data()), B.a.data(), &n, &info);
}

bool ComplexEig(const Dense &A, std::vector<Complex> &lambda, CDense &X, CDense &Xinv, double *cond)
{
  const size_t n = A.m;
  lambda.assign(n, 0.0);
  X     = CDense(n, n);
  *cond = 1;
  if (!n) return true;
  Dense               C = A, V(n, n);
  std::vector<double> wr(n), wi(n);
  PetscBLASInt        N = I(n), one = 1, lwork = -1, info;
  double              w, dummy;
  LAPACKgeev_("N", "V", &N, C.a.data(), &N, wr.data(), wi.data(), &dummy, &one, V.a.data(), &N, &w, &lwork, &info);
  lwork = static_cast<PetscBLASInt>(w);
  std::vector<double> work(static_cast<size_t>(lwork));
  LAPACKgeev_("N", "V", &N, C.a.data(), &N, wr.data(), wi.data(), &dummy, &one, V.a.data(), &N, work.data(), &lwork, &info);
  if (info) return false;
  for (size_t j = 0; j < n; j++) {
    lambda[j] = Complex(wr[j], wi[j]);
    if (wi[j] > 0 && j + 1 < n) {
      lambda[j + 1] = Complex(wr[j], -wi[j]);
      for (size_t i = 0; i < n; i++) X(i, j) = Complex(V(i, j), V(i, j + 1)), X(i, j + 1) = std::conj(X(i, j));
      j++;
    } else
      for (size_t i = 0; i < n; i++) X(i, j) = V(i, j);
  }
  Xinv = X;
  std::vector<PetscBLASInt> piv(n);
  std::vector<Complex>      cwork(64 * n);
  lwork = I(cwork.size());
  zgetrf_(&N, &N, Xinv.a.data(), &N, piv.data(), &info);
  if (info) return false;
  zgetri_(&N, Xinv.a.data(), &N, piv.data(), cwork.data(), &lwork, &info);
  auto norm1 = [n](const CDense &M) {
    double r = 0;
    for (size_t j = 0; j < n; j++) {
      double s = 0;
      for (size_t i = 0; i < n; i++) s += std::abs(M(i, j));
      r = std::max(r, s);
    }
    return r;
  };
  *cond = norm1(X) * norm1(Xinv);
  return info == 0;
}

bool ComplexSchur(const Dense &A, CDense &Q, CDense &T)
{
  const size_t n = A.m;
  T              = CDense(n, n);
  Q              = CDense(n, n);
  std::copy(A.a.begin(), A.a.end(), T.a.begin());
  if (!n) return true;
  PetscBLASInt         N = I(n), sdim, lwork = I(64 * n), info;
  std::vector<Complex> w(n), work(64 * n);
  std::vector<double>  rwork(n);
  zgees_("V", "N", nullptr, &N, T.a.data(), &N, &sdim, w.data(), Q.a.data(), &N, work.data(), &lwork, rwork.data(), nullptr, &info);
  return info == 0;
}

bool Sylvester(const Dense &T1, const Dense &T2, Dense &Y)
{
  PetscBLASInt m = I(T1.m), n = I(T2.m), plus = 1, info;
  double       scale;
  if (!m || !n) return true;
  dtrsyl_("N", "T", &plus, &m, &n, T1.a.data(), &m, T2.a.data(), &n, Y.a.data(), &m, &scale, &info);
  if (info || !(scale > 0)) return false;
  for (double &y : Y.a) y /= scale;
  return true;
}

bool SylvesterComplex(CDense &T1, Complex shift, const CDense &T2, CDense &Y)
{
  PetscBLASInt m = I(T1.m), n = I(T2.m), plus = 1, info;
  double       scale;
  if (!m || !n) return true;
  std::vector<Complex> diag(T1.m);
  for (size_t i = 0; i < T1.m; i++) diag[i] = T1(i, i), T1(i, i) += shift;
  ztrsyl_("N", "C", &plus, &m, &n, T1.a.data(), &m, T2.a.data(), &n, Y.a.data(), &m, &scale, &info);
  for (size_t i = 0; i < T1.m; i++) T1(i, i) = diag[i];
  if (info || !(scale > 0)) return false;
  for (Complex &y : Y.a) y /= scale;
  return true;
}

void MultiplyComplex(bool ca, const CDense &A, bool cb, const CDense &B, CDense &C)
{
  const size_t       m = ca ? A.n : A.m, k = ca ? A.m : A.n, n = cb ? B.m : B.n;
  const PetscBLASInt M = I(m), N = I(n), K = I(k), la = LD(A.m), lb = LD(B.m), lc = LD(m);
  const Complex      one = 1, zero = 0;
  C = CDense(m, n);
  if (m && n && k) zgemm_(ca ? "C" : "N", cb ? "C" : "N", &M, &N, &K, &one, A.a.data(), &la, B.a.data(), &lb, &zero, C.a.data(), &lc);
}

} // namespace gp
} // namespace skean
