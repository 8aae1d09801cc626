/* Clusters of points and bounds of the plan's exponent over pairs of them */
#include "transportkernels.hpp"
#include <skean/private/skeanimpl.h>
#include <algorithm>
#include <cmath>
#include <numeric>

namespace skean {
namespace transport {

static void Bisect(PetscInt d, const double *x, PetscInt leaf, PetscInt *lo, PetscInt *hi)
{
  while (hi - lo > leaf) {
    PetscInt axis = 0;
    double   side = -1;
    for (PetscInt k = 0; k < d; ++k) {
      double a = PETSC_MAX_REAL, b = -PETSC_MAX_REAL;
      for (const PetscInt *i = lo; i < hi; ++i) {
        const double t = x[static_cast<size_t>(*i) * d + k];
        a              = t < a ? t : a;
        b              = t > b ? t : b;
      }
      if (b - a > side) {
        side = b - a;
        axis = k;
      }
    }
    const PetscInt leaves = (static_cast<PetscInt>(hi - lo) + leaf - 1) / leaf;
    size_t         left   = 1;
    while (2 * left < static_cast<size_t>(leaves)) left *= 2;
    PetscInt *mid = lo + left * static_cast<size_t>(leaf);
    /* ties by number: the same order wherever it is computed */
    std::nth_element(lo, mid, hi, [=](PetscInt a, PetscInt b) {
      const double s = x[static_cast<size_t>(a) * d + axis], t = x[static_cast<size_t>(b) * d + axis];
      return s < t || (s == t && a < b);
    });
    Bisect(d, x, leaf, lo, mid);
    lo = mid;
  }
  std::sort(lo, hi);
}

void BisectionOrder(PetscInt d, PetscInt n, const double *x, PetscInt leaf, PetscInt *perm)
{
  std::iota(perm, perm + n, 0);
  Bisect(d, x, leaf, perm, perm + n);
}

void BoundingBox(PetscInt d, PetscInt n, const double *y, size_t sj, size_t sk, double *q, double *r, size_t ld)
{
  for (PetscInt k = 0; k < d; ++k) {
    double lo = PETSC_MAX_REAL, hi = -PETSC_MAX_REAL;
    for (PetscInt j = 0; j < n; ++j) {
      const double t = y[j * sj + k * sk];
      lo             = t < lo ? t : lo;
      hi             = t > hi ? t : hi;
    }
    q[k * ld] = 0.5 * (lo + hi);
    /* the centre is rounded: the half width covers both sides of what it became */
    r[k * ld] = PetscMax(hi - q[k * ld], q[k * ld] - lo);
  }
}

void AffineMajorant(PetscInt d, PetscInt n, const double *y, size_t sj, size_t sk, const double *gj, double kappa, const double *q, size_t ld, double *z,
                    double *g)
{
  constexpr double   kLeast  = 1e-290; /* of a pivot */
  constexpr PetscInt D       = 8;
  double             mean[D] = {0}, A[D][D], b[D] = {0}, phi0 = 0;
  auto               Phi = [&](PetscInt j) {
    double s = 0;
    for (PetscInt k = 0; k < d; ++k) {
      const double e = y[j * sj + k * sk] - q[k * ld];
      s += e * e;
    }
    return gj[j] - kappa * s;
  };

  for (PetscInt j = 0; j < n; ++j) {
    phi0 += Phi(j) / n;
    for (PetscInt k = 0; k < d; ++k) mean[k] += (y[j * sj + k * sk] - q[k * ld]) / n;
  }
  for (PetscInt k = 0; k < d; ++k) std::fill(A[k], A[k] + d, 0.0);
  for (PetscInt j = 0; j < n; ++j) {
    const double f = Phi(j) - phi0;
    for (PetscInt k = 0; k < d; ++k) {
      const double e = y[j * sj + k * sk] - q[k * ld] - mean[k];
      b[k] += f * e;
      for (PetscInt l = 0; l <= k; ++l) A[k][l] += e * (y[j * sj + l * sk] - q[l * ld] - mean[l]);
    }
  }
  /* any slope gives a bound: a ridge for points in a plane, and Cholesky's factorisation of d x d in place */
  double trace = 0;
  for (PetscInt k = 0; k < d; ++k) trace += A[k][k];
  for (PetscInt k = 0; k < d; ++k) {
    for (PetscInt l = 0; l <= k; ++l) {
      double s = A[k][l] + (k == l ? 1e-10 * trace + kLeast : 0.0);
      for (PetscInt h = 0; h < l; ++h) s -= A[k][h] * A[l][h];
      A[k][l] = k == l ? std::sqrt(PetscMax(s, kLeast)) : s / A[l][l];
    }
    for (PetscInt h = 0; h < k; ++h) b[k] -= A[k][h] * b[h];
    b[k] /= A[k][k];
  }
  bool finite = true;
  for (PetscInt k = d - 1; k >= 0; --k) {
    for (PetscInt h = k + 1; h < d; ++h) b[k] -= A[h][k] * b[h];
    b[k] /= A[k][k];
    finite = finite && std::isfinite(b[k]);
  }
  for (PetscInt k = 0; k < d; ++k) z[k * ld] = b[k] = finite ? b[k] : 0.0;
  double top = -PETSC_MAX_REAL;
  for (PetscInt j = 0; j < n; ++j) {
    double s = Phi(j);
    for (PetscInt k = 0; k < d; ++k) s -= b[k] * (y[j * sj + k * sk] - q[k * ld]);
    top = s > top ? s : top;
  }
  *g = top;
}

/*
   One coordinate of the bounds. With x_i = x + xi, y_j = q + eta, D = x - q: convexity gives c(D + xi - eta) >= c(D) + s.(xi - eta) for a subgradient s
   at D, so f_i + g_j - inv c <= f + g - inv c(D) + sum_k max |w - s| rx + max |z + s| r. Squares: the majorants hold -kappa |xi|^2 and
   -kappa |eta|^2, and what is left of the second order is 2 kappa xi.eta.
*/
SKEAN_MULTIVERSION static void AddSquare(PetscInt nt, double x, double rx, double w, double kappa, const double *q, const double *r, const double *z,
                                         double *out)
{
#pragma omp simd
  for (PetscInt t = 0; t < nt; ++t) {
    const double D = x - q[t], s = 2 * kappa * D;
    out[t] += r[t] * std::fabs(z[t] + s) + rx * (std::fabs(w - s) + 2 * kappa * r[t]) - kappa * D * D;
  }
}
/* |D + e| >= s (D + e) for every |s| <= 1: the best of the ends and of the kinks of a convex piecewise linear function of s is its minimum */
SKEAN_MULTIVERSION static void AddAbs(PetscInt nt, double x, double rx, double w, double inv, const double *q, const double *r, const double *z, double *out)
{
  const double s0 = w < -inv ? -inv : (w > inv ? inv : w);
#pragma omp simd
  for (PetscInt t = 0; t < nt; ++t) {
    const double D = x - q[t], s1 = -z[t] < -inv ? -inv : (-z[t] > inv ? inv : -z[t]);
    const double b0 = r[t] * std::fabs(z[t] + s0) + rx * std::fabs(w - s0) - s0 * D;
    const double b1 = r[t] * std::fabs(z[t] + s1) + rx * std::fabs(w - s1) - s1 * D;
    const double b2 = r[t] * std::fabs(z[t] + inv) + rx * std::fabs(w - inv) - inv * D;
    const double b3 = r[t] * std::fabs(z[t] - inv) + rx * std::fabs(w + inv) + inv * D;
    const double m0 = b0 < b1 ? b0 : b1, m1 = b2 < b3 ? b2 : b3;
    out[t] += m0 < m1 ? m0 : m1;
  }
}
/* with the subgradient scale_t D */
SKEAN_MULTIVERSION static void AddScaledSlope(PetscInt nt, double x, double rx, double w, const double *scale, const double *q, const double *r,
                                              const double *z, double *out)
{
#pragma omp simd
  for (PetscInt t = 0; t < nt; ++t) {
    const double s = scale[t] * (x - q[t]);
    out[t] += r[t] * std::fabs(z[t] + s) + rx * std::fabs(w - s);
  }
}
SKEAN_MULTIVERSION static void AddDistance(PetscInt nt, double x, const double *q, double *out)
{
#pragma omp simd
  for (PetscInt t = 0; t < nt; ++t) out[t] += (x - q[t]) * (x - q[t]);
}
SKEAN_MULTIVERSION static void Constants(PetscInt nt, double f, const double *g, double *out)
{
#pragma omp simd
  for (PetscInt t = 0; t < nt; ++t) out[t] = f + g[t];
}

void TileBounds(CostKind kind, PetscInt d, double p, double inv, const double *x, const double *rx, const double *w, double f, const TileSet &T, double *out,
                double *work)
{
  const PetscInt nt    = T.count;
  const double   kappa = Kappa(kind, inv);

  Constants(nt, f, T.g, out);
  if (kind == CostKind::EUCLIDEAN) {
    std::fill(work, work + nt, 0.0);
    for (PetscInt k = 0; k < d; ++k) AddDistance(nt, x[k], T.q + k * T.ld, work);
    for (PetscInt t = 0; t < nt; ++t) {
      const double norm = std::sqrt(work[t]);
      out[t] -= inv * norm;
      work[t] = norm > 0 ? inv / norm : 0.0;
    }
  }
  for (PetscInt k = 0; k < d; ++k) {
    const double  rk = rx ? rx[k] : 0.0, wk = rx ? w[k] : 0.0;
    const double *q = T.q + k * T.ld, *r = T.r + k * T.ld, *z = T.z + k * T.ld;
    switch (kind) {
    case CostKind::SQEUCLIDEAN:
    case CostKind::COSINE:
      AddSquare(nt, x[k], rk, wk, kappa, q, r, z, out);
      break;
    case CostKind::L1:
      AddAbs(nt, x[k], rk, wk, inv, q, r, z, out);
      break;
    case CostKind::EUCLIDEAN:
      AddScaledSlope(nt, x[k], rk, wk, work, q, r, z, out);
      break;
    default: /* LP: slope p |D|^(p-1) sign(D) = (p |D|^p / D^2) D */
      for (PetscInt t = 0; t < nt; ++t) {
        const double D = std::fabs(x[k] - q[t]), c = std::pow(D, p);
        out[t] -= inv * c;
        work[t] = D > 0 ? inv * p * c / (D * D) : 0.0;
        if (!std::isfinite(work[t])) work[t] = 0.0; /* D so small that any subgradient near zero serves */
      }
      AddScaledSlope(nt, x[k], rk, wk, work, q, r, z, out);
    }
  }
}

template <class F>
__attribute__((always_inline)) static inline void AddFar(PetscInt nt, double x, double rx, const double *q, const double *r, double *out, F power)
{
#pragma omp simd
  for (PetscInt t = 0; t < nt; ++t) out[t] += power(std::fabs(x - q[t]) + (rx + r[t]));
}
SKEAN_MULTIVERSION static void AddFarSquare(PetscInt nt, double x, double rx, const double *q, const double *r, double *out)
{
  AddFar(nt, x, rx, q, r, out, [](double D) { return D * D; });
}

void TileFarthest(CostKind kind, PetscInt d, double p, const double *x, const double *rx, const TileSet &T, double *out)
{
  std::fill(out, out + T.count, 0.0);
  for (PetscInt k = 0; k < d; ++k) {
    const double *q = T.q + k * T.ld, *r = T.r + k * T.ld;
    if (kind == CostKind::L1)
      AddFar(T.count, x[k], rx[k], q, r, out, [](double D) { return D; });
    else if (kind == CostKind::LP)
      AddFar(T.count, x[k], rx[k], q, r, out, [p](double D) { return std::pow(D, p); });
    else
      AddFarSquare(T.count, x[k], rx[k], q, r, out);
  }
  for (PetscInt t = 0; t < T.count; ++t) out[t] = kind == CostKind::EUCLIDEAN ? std::sqrt(out[t]) : (kind == CostKind::COSINE ? 0.5 * out[t] : out[t]);
}

} // namespace transport
} // namespace skean
