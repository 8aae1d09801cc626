#include "basis.hpp"
#include <algorithm>
#include <cmath>

namespace skean {
namespace gp {

namespace {

constexpr double PI = 3.141592653589793238462643383279503;

/* Frequencies of the comb on which the density exceeds the floor, and the square roots of the density */
struct Comb {
  std::vector<double> omega, weight;
};

Comb MakeComb(const BasisSpec &s)
{
  /* Gaussian bumps of deviation 1/(2 pi ell); period of the comb 2 L. Weights below 1e-16 of the largest cannot be seen. */
  const double L = s.x.back() - s.x.front(), D = 1.0 / (2 * L), sigma = 1.0 / (2 * PI * s.ell);
  double       top = 0;
  for (double f : s.freq) top = std::max(top, std::fabs(f));
  const size_t        jmax = static_cast<size_t>(std::ceil((top + 12 * sigma) / D)) + 1;
  std::vector<double> S(jmax + 1, 0.0);
  for (size_t j = 0; j <= jmax; j++)
    for (double f : s.freq)
      for (double g : {f, -f}) {
        const double t = (static_cast<double>(j) * D - g) / sigma;
        S[j] += std::exp(-0.5 * t * t);
      }
  const double largest = *std::max_element(S.begin(), S.end());
  Comb         c;
  for (size_t j = 0; j <= jmax; j++)
    if (S[j] > 1e-32 * largest) {
      c.omega.push_back(2 * PI * static_cast<double>(j) * D);
      c.weight.push_back(std::sqrt(S[j] / largest));
    }
  return c;
}

/* Features and their derivatives at points; sin(0) is left out */
void Features(const Comb &c, double centre, size_t n, const double *x, Dense *const F[3])
{
  size_t p = 0;
  for (double om : c.omega) p += om > 0 ? 2 : 1;
  for (int m = 0; m < 3; m++)
    if (F[m]) *F[m] = Dense(n, p);
  for (size_t j = 0, k = 0; j < c.omega.size(); j++) {
    const double om = c.omega[j], w = c.weight[j];
    for (size_t i = 0; i < n; i++) {
      const double C = w * std::cos(om * (x[i] - centre)), S = w * std::sin(om * (x[i] - centre));
      if (F[0]) (*F[0])(i, k) = C;
      if (F[1]) (*F[1])(i, k) = -om * S;
      if (F[2]) (*F[2])(i, k) = -om * om * C;
      if (om > 0) {
        if (F[0]) (*F[0])(i, k + 1) = S;
        if (F[1]) (*F[1])(i, k + 1) = om * C;
        if (F[2]) (*F[2])(i, k + 1) = -om * om * S;
      }
    }
    k += om > 0 ? 2 : 1;
  }
}

/* Weights of the value and the first two derivatives of the polynomial through x[0..n-1] at z (Fornberg 1988) */
void Fornberg(double z, size_t n, const double *x, double *w0, double *w1, double *w2)
{
  std::vector<double> c(3 * n, 0.0);
  double              c1 = 1, c4 = x[0] - z;
  c[0] = 1;
  for (size_t i = 1; i < n; i++) {
    const size_t mn = std::min<size_t>(i, 2);
    double       c2 = 1, c5 = c4;
    c4 = x[i] - z;
    for (size_t j = 0; j < i; j++) {
      const double c3 = x[i] - x[j];
      c2 *= c3;
      if (j == i - 1) {
        for (size_t k = mn; k >= 1; k--) c[3 * i + k] = c1 * (static_cast<double>(k) * c[3 * (i - 1) + k - 1] - c5 * c[3 * (i - 1) + k]) / c2;
        c[3 * i] = -c1 * c5 * c[3 * (i - 1)] / c2;
      }
      for (size_t k = mn; k >= 1; k--) c[3 * j + k] = (c4 * c[3 * j + k] - static_cast<double>(k) * c[3 * j + k - 1]) / c3;
      c[3 * j] = c4 * c[3 * j] / c3;
    }
    c1 = c2;
  }
  for (size_t i = 0; i < n; i++) w0[i] = c[3 * i], w1[i] = c[3 * i + 1], w2[i] = c[3 * i + 2];
}

/* Finite differences of the given order: rows of weights at points z from the nearest grid points (order + 1; one more for the second
   derivative where the stencil is not centred, so that the order holds there too) */
void FiniteDifferences(const std::vector<double> &x, int order, size_t npts, const double *z, Dense *const E[3])
{
  const size_t        n = x.size();
  std::vector<double> w(3 * n);
  for (int m = 0; m < 3; m++)
    if (E[m]) *E[m] = Dense(npts, n);
  for (size_t i = 0; i < npts; i++) {
    size_t near = static_cast<size_t>(std::lower_bound(x.begin(), x.end(), z[i]) - x.begin());
    if (near == n || (near > 0 && z[i] - x[near - 1] < x[near] - z[i])) near--;
    const size_t half    = static_cast<size_t>(order) / 2;
    const bool   centred = near >= half && near + half < n && std::fabs(z[i] - x[near]) < 1e-9 * (x[1] - x[0]);
    const size_t width   = std::min(n, static_cast<size_t>(order) + (centred ? 1 : 2));
    size_t       first   = near > width / 2 ? near - width / 2 : 0;
    if (first + width > n) first = n - width;
    Fornberg(z[i], width, &x[first], w.data(), w.data() + n, w.data() + 2 * n);
    for (int m = 0; m < 3; m++)
      if (E[m])
        for (size_t k = 0; k < width; k++) (*E[m])(i, first + k) = w[static_cast<size_t>(m) * n + k];
  }
}

/* Chebyshev extrema: barycentric interpolation, differentiation matrices with the diagonal from the row sums */
void ChebyshevMatrices(const std::vector<double> &x, size_t npts, const double *z, Dense *const E[3])
{
  const size_t        n = x.size();
  std::vector<double> b(n);
  for (size_t j = 0; j < n; j++) b[j] = (j % 2 ? -1.0 : 1.0) * (j == 0 || j == n - 1 ? 0.5 : 1.0);
  Dense D(n, n);
  for (size_t i = 0; i < n; i++) {
    double s = 0;
    for (size_t j = 0; j < n; j++)
      if (i != j) {
        /* x_i - x_j as a product of sines: full relative accuracy */
        const double L = x.back() - x.front(), k = PI / (2.0 * static_cast<double>(n - 1));
        const double dx = L * std::sin(static_cast<double>(i + j) * k) * std::sin((static_cast<double>(i) - static_cast<double>(j)) * k);
        D(i, j)         = b[j] / b[i] / dx;
        s += D(i, j);
      }
    D(i, i) = -s;
  }
  Dense P(npts, n);
  for (size_t i = 0; i < npts; i++) {
    size_t hit = n;
    double s   = 0;
    for (size_t j = 0; j < n; j++) {
      if (z[i] == x[j])
        hit = j;
      else
        s += b[j] / (z[i] - x[j]);
    }
    if (hit < n)
      P(i, hit) = 1;
    else
      for (size_t j = 0; j < n; j++) P(i, j) = b[j] / (z[i] - x[j]) / s;
  }
  if (E[1] || E[2]) {
    const Dense PD = Multiply(P, D);
    if (E[2]) *E[2] = Multiply(PD, D);
    if (E[1]) *E[1] = PD;
  }
  if (E[0]) *E[0] = P;
}

} // namespace

PetscErrorCode Basis1D::Build(const BasisSpec &s)
{
  const size_t n = s.x.size();

  PetscFunctionBegin;
  coef  = Dense();
  scale = Dense();
  ok    = true;
  if (s.kind == SKEAN_GPPDE_BASIS_MIXTURE) {
    PetscCallCXX({
      Dense               F, F1, F2, U, Vt;
      Dense *const        FF[3] = {&F, &F1, &F2};
      std::vector<double> sv;
      Features(MakeComb(s), 0.5 * (s.x.front() + s.x.back()), n, s.x.data(), FF);
      ok       = SVD(F, U, sv, Vt);
      size_t r = 0;
      while (ok && r < sv.size() && sv[r] > s.floor * sv[0]) r++;
      W    = Dense(n, r);
      coef = Dense(F.n, r);
      std::copy_n(U.a.begin(), n * r, W.a.begin());
      for (size_t a = 0; a < r; a++)
        for (size_t p = 0; p < F.n; p++) coef(p, a) = Vt(a, p) / sv[a];
      scale = Dense(r, 1);
      std::copy_n(sv.begin(), r, scale.a.begin());
      W1 = Multiply(F1, coef);
      W2 = Multiply(F2, coef);
    });
  } else if (s.kind == SKEAN_GPPDE_BASIS_COVARIANCE) {
    Dense         K(n, n), K1(n, n), K2(n, n);
    double *const KK[3] = {K.a.data(), K1.a.data(), K2.a.data()};
    PetscCall(KernelMatrix(*s.kernel, n, s.x.data(), 0, nullptr, 2, KK));
    PetscCallCXX({
      Dense               Q;
      std::vector<double> l;
      ok       = SymmetricEig(K, Q, l);
      size_t r = 0;
      while (ok && r < n && l[n - 1 - r] > s.floor * l[n - 1]) r++;
      W    = Dense(n, r);
      coef = Dense(n, r);
      for (size_t a = 0; a < r; a++)
        for (size_t i = 0; i < n; i++) {
          W(i, a)    = Q(i, n - 1 - a);
          coef(i, a) = Q(i, n - 1 - a) / l[n - 1 - a];
        }
      scale = Dense(r, 1);
      for (size_t a = 0; a < r; a++) scale(a, 0) = std::sqrt(l[n - 1 - a]);
      W1 = Multiply(K1, coef);
      W2 = Multiply(K2, coef);
    });
  } else {
    PetscCallCXX({
      Dense *const E[3] = {&W, &W1, &W2};
      if (s.kind == SKEAN_GPPDE_BASIS_CHEBYSHEV)
        ChebyshevMatrices(s.x, n, s.x.data(), E);
      else
        FiniteDifferences(s.x, s.kind == SKEAN_GPPDE_BASIS_FD2 ? 2 : 4, n, s.x.data(), E);
    });
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

void Basis1D::Constrain(SkeanGPPDEBC low, SkeanGPPDEBC high, bool firstorder)
{
  const size_t n = W.m, r = W.n;
  size_t       nb = 0;
  Dense        rows(4, r);
  auto         add = [&](const Dense &A, size_t i, double s) {
    for (size_t a = 0; a < r; a++) rows(nb, a) += s * A(i, a);
  };
  if (low == SKEAN_GPPDE_BC_PERIODIC) {
    add(W, 0, 1), add(W, n - 1, -1), nb++;
    if (!firstorder) add(W1, 0, 1), add(W1, n - 1, -1), nb++;
  } else {
    if (low != SKEAN_GPPDE_BC_NONE) add(low == SKEAN_GPPDE_BC_DIRICHLET ? W : W1, 0, 1), nb++;
    if (high != SKEAN_GPPDE_BC_NONE) add(high == SKEAN_GPPDE_BC_DIRICHLET ? W : W1, n - 1, 1), nb++;
  }
  rho = Dense(nb, r);
  for (size_t b = 0; b < nb; b++)
    for (size_t a = 0; a < r; a++) rho(b, a) = rows(b, a);
  ok = NullSpace(rho, Z, lift) && ok;
  V  = Multiply(W, Z);
  V1 = Multiply(W1, Z);
  V2 = Multiply(W2, Z);
}

PetscErrorCode Basis1D::Broadcast(MPI_Comm comm, int root)
{
  Dense *const        all[] = {&W, &W1, &W2, &coef, &rho, &Z, &lift, &V, &V1, &V2, &scale};
  double              flag  = ok ? 1 : 0;
  std::vector<double> sizes;

  PetscFunctionBegin;
  for (Dense *d : all) {
    sizes.push_back(static_cast<double>(d->m));
    sizes.push_back(static_cast<double>(d->n));
  }
  sizes.push_back(flag);
  PetscCallMPI(MPI_Bcast(sizes.data(), static_cast<int>(sizes.size()), MPI_DOUBLE, root, comm));
  ok       = sizes.back() != 0;
  size_t k = 0;
  for (Dense *d : all) {
    const size_t m = static_cast<size_t>(sizes[k]), n = static_cast<size_t>(sizes[k + 1]);
    k += 2;
    if (d->m != m || d->n != n) PetscCallCXX(*d = Dense(m, n));
    PetscCallMPI(MPI_Bcast(d->a.data(), static_cast<int>(m * n), MPI_DOUBLE, root, comm));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Basis1D::Evaluate(const BasisSpec &s, size_t npts, const double *x, Dense *const E[3]) const
{
  PetscFunctionBegin;
  if (s.kind == SKEAN_GPPDE_BASIS_MIXTURE) {
    PetscCallCXX({
      Dense        F[3];
      Dense *const FF[3] = {E[0] ? &F[0] : nullptr, E[1] ? &F[1] : nullptr, E[2] ? &F[2] : nullptr};
      Features(MakeComb(s), 0.5 * (s.x.front() + s.x.back()), npts, x, FF);
      for (int m = 0; m < 3; m++)
        if (E[m]) *E[m] = Multiply(F[m], coef);
    });
  } else if (s.kind == SKEAN_GPPDE_BASIS_COVARIANCE) {
    Dense   K[3];
    double *KK[3] = {nullptr, nullptr, nullptr};
    for (int m = 0; m < 3; m++) {
      if (!E[m]) continue;
      PetscCallCXX(K[m] = Dense(npts, s.x.size()));
      KK[m] = K[m].a.data();
    }
    PetscCall(KernelMatrix(*s.kernel, npts, x, s.x.size(), s.x.data(), 2, KK));
    for (int m = 0; m < 3; m++)
      if (E[m]) PetscCallCXX(*E[m] = Multiply(K[m], coef));
  } else if (s.kind == SKEAN_GPPDE_BASIS_CHEBYSHEV) {
    PetscCallCXX(ChebyshevMatrices(s.x, npts, x, E));
  } else {
    PetscCallCXX(FiniteDifferences(s.x, s.kind == SKEAN_GPPDE_BASIS_FD2 ? 2 : 4, npts, x, E));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

std::vector<double> PeriodogramPeaks(size_t n, size_t lines, const double *f, double L, double threshold, size_t maxpeaks)
{
  /* Nuttall (1981), minimum four-term window; frequencies k/(4 n h), k = 0 ... 2 n, by one product with cosines and one with sines */
  const size_t        nf = 2 * n + 1;
  const double        h = L / static_cast<double>(n - 1), df = 1.0 / (4.0 * static_cast<double>(n) * h);
  Dense               X(n, lines), C(nf, n), S(nf, n);
  std::vector<double> power(nf, 0.0), cs(4 * n), sn(4 * n), peaks;
  for (size_t i = 0; i < n; i++) {
    const double t = 2 * PI * (static_cast<double>(i) + 0.5) / static_cast<double>(n);
    const double w = 0.3635819 - 0.4891775 * std::cos(t) + 0.1365995 * std::cos(2 * t) - 0.0106411 * std::cos(3 * t);
    for (size_t l = 0; l < lines; l++) X(i, l) = w * f[l * n + i];
  }
  for (size_t j = 0; j < 4 * n; j++) {
    const double t = 2 * PI * static_cast<double>(j) / (4.0 * static_cast<double>(n));
    cs[j]          = std::cos(t);
    sn[j]          = std::sin(t);
  }
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < nf; k++) {
      const size_t j = (i * k) % (4 * n);
      C(k, i)        = cs[j];
      S(k, i)        = sn[j];
    }
  const Dense A = Multiply(C, X), B = Multiply(S, X);
  for (size_t l = 0; l < lines; l++)
    for (size_t k = 0; k < nf; k++) power[k] += A(k, l) * A(k, l) + B(k, l) * B(k, l);
  const double largest = *std::max_element(power.begin(), power.end());
  if (!(largest > 0) || !std::isfinite(largest)) return peaks;
  std::vector<size_t> at;
  for (size_t k = 1; k + 1 < nf; k++)
    if (power[k] >= power[k - 1] && power[k] > power[k + 1] && power[k] > threshold * threshold * largest) at.push_back(k);
  std::sort(at.begin(), at.end(), [&](size_t a, size_t b) { return power[a] > power[b] || (power[a] == power[b] && a < b); });
  for (size_t k : at) {
    if (peaks.size() == maxpeaks) break;
    /* top of the parabola through the logarithms */
    const double a = 0.5 * std::log(power[k - 1] + 1e-300), b = 0.5 * std::log(power[k]), c = 0.5 * std::log(power[k + 1] + 1e-300), q = a - 2 * b + c;
    peaks.push_back((static_cast<double>(k) + (q < 0 ? 0.5 * (a - c) / q : 0.0)) * df);
  }
  return peaks;
}

} // namespace gp
} // namespace skean
