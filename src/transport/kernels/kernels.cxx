#include "transportkernels.hpp"
#include "exp.hpp"
#include <skean/private/fastlog.hpp>
#include <skean/private/skeanimpl.h>
#include <petscblaslapack.h>
#include <cmath>

namespace skean {
namespace transport {

namespace plain {

SKEAN_MULTIVERSION double ExpSum(PetscInt n, double u, double inv, const double *v, const double *c, double *K)
{
  double s = 0;
#pragma omp simd reduction(+ : s)
  for (PetscInt j = 0; j < n; ++j) {
    const double e = FastExp((u + v[j]) - inv * c[j]);
    K[j]           = e;
    s += e;
  }
  return s;
}

SKEAN_MULTIVERSION double ExpSumCost(PetscInt n, double u, double inv, const double *v, const double *c, double *K, double *cost)
{
  double s = 0, w = 0;
#pragma omp simd reduction(+ : s, w)
  for (PetscInt j = 0; j < n; ++j) {
    const double cj = c[j], e = FastExp((u + v[j]) - inv * cj);
    K[j] = e;
    s += e;
    w += e * cj;
  }
  *cost += w;
  return s;
}

SKEAN_MULTIVERSION double ExpSum(PetscInt n, double u, double inv, const double *v, const double *c, float *K)
{
  double s = 0;
#pragma omp simd reduction(+ : s)
  for (PetscInt j = 0; j < n; ++j) {
    const float e = RoughExp(static_cast<float>((u + v[j]) - inv * c[j]));
    K[j]          = e;
    s += static_cast<double>(e);
  }
  return s;
}

} // namespace plain

SKEAN_MULTIVERSION double MaxOf(PetscInt n, double inv, const double *v, const double *c)
{
  double s = -PETSC_MAX_REAL;
#pragma omp simd reduction(max : s)
  for (PetscInt j = 0; j < n; ++j) {
    const double t = v[j] - inv * c[j];
    s              = t > s ? t : s;
  }
  return s;
}

SKEAN_MULTIVERSION double MinOf(PetscInt n, const double *v, const double *c)
{
  double s = PETSC_MAX_REAL;
#pragma omp simd reduction(min : s)
  for (PetscInt j = 0; j < n; ++j) {
    const double t = c[j] - v[j];
    s              = t < s ? t : s;
  }
  return s;
}

SKEAN_MULTIVERSION void MinInto(PetscInt n, double x, const double *c, double *y)
{
#pragma omp simd
  for (PetscInt j = 0; j < n; ++j) {
    const double t = c[j] - x;
    y[j]           = t < y[j] ? t : y[j];
  }
}

SKEAN_MULTIVERSION void MaxInto(PetscInt n, double x, double inv, const double *c, double *y)
{
#pragma omp simd
  for (PetscInt j = 0; j < n; ++j) {
    const double t = x - inv * c[j];
    y[j]           = t > y[j] ? t : y[j];
  }
}

SKEAN_MULTIVERSION void AddScaled(PetscInt n, double t, const double *K, double *b)
{
#pragma omp simd
  for (PetscInt j = 0; j < n; ++j) b[j] += t * K[j];
}

SKEAN_MULTIVERSION double Dot(PetscInt n, const double *x, const double *y)
{
  /* several sums at once: one alone waits for the latency of the addition */
  double   s[32] = {0}, sum = 0;
  PetscInt j = 0;
  for (; j + 32 <= n; j += 32)
#pragma omp simd
    for (int l = 0; l < 32; ++l) s[l] += x[j + l] * y[j + l];
  for (; j < n; ++j) sum += x[j] * y[j];
  for (int l = 0; l < 32; ++l) sum += s[l];
  return sum;
}

SKEAN_MULTIVERSION double MaxValue(PetscInt n, const double *x)
{
  double s = -PETSC_MAX_REAL;
#pragma omp simd reduction(max : s)
  for (PetscInt j = 0; j < n; ++j) s = x[j] > s ? x[j] : s;
  return s;
}

SKEAN_MULTIVERSION void ExpOf(PetscInt n, const double *x, double *y)
{
#pragma omp simd
  for (PetscInt j = 0; j < n; ++j) y[j] = FastExp(x[j]);
}

SKEAN_MULTIVERSION double ExpSelected(PetscInt n, double *e, const std::int32_t *idx, const double *c, double *cost)
{
  double s = 0, w = 0;
#pragma omp simd reduction(+ : s)
  for (PetscInt q = 0; q < n; ++q) {
    e[q] = FastExp(e[q]);
    s += e[q];
  }
  if (!cost) return s;
#pragma omp simd reduction(+ : w)
  for (PetscInt q = 0; q < n; ++q) w += e[q] * c[idx[q]];
  *cost += w;
  return s;
}

SKEAN_MULTIVERSION void LogOf(PetscInt n, const double *x, double *y)
{
#pragma omp simd
  for (PetscInt j = 0; j < n; ++j) y[j] = FastLog(x[j]);
}

SKEAN_MULTIVERSION double WeightedDot(PetscInt n, const double *w, const double *x, const double *y)
{
  double s = 0;
#pragma omp simd reduction(+ : s)
  for (PetscInt j = 0; j < n; ++j) s += w[j] * x[j] * y[j];
  return s;
}

SKEAN_MULTIVERSION void SubtractScaledSum(PetscInt n, double t, const double *x, const double *y, double *z)
{
#pragma omp simd
  for (PetscInt j = 0; j < n; ++j) z[j] -= t * (x[j] + y[j]);
}

template <int D>
__attribute__((always_inline)) static inline void SqRow(PetscInt nc, size_t m, const double *x, const double *Y, double *out)
{
#pragma omp simd
  for (PetscInt j = 0; j < nc; ++j) {
    double s = 0;
    for (int k = 0; k < D; ++k) {
      const double t = x[k] - Y[static_cast<size_t>(k) * m + j];
      s += t * t;
    }
    out[j] = s;
  }
}
SKEAN_MULTIVERSION static void SqRow1(PetscInt nc, size_t m, const double *x, const double *Y, double *out)
{
  SqRow<1>(nc, m, x, Y, out);
}
SKEAN_MULTIVERSION static void SqRow2(PetscInt nc, size_t m, const double *x, const double *Y, double *out)
{
  SqRow<2>(nc, m, x, Y, out);
}
SKEAN_MULTIVERSION static void SqRow3(PetscInt nc, size_t m, const double *x, const double *Y, double *out)
{
  SqRow<3>(nc, m, x, Y, out);
}
SKEAN_MULTIVERSION static void AddSq(PetscInt nc, double x, const double *y, double *out)
{
#pragma omp simd
  for (PetscInt j = 0; j < nc; ++j) out[j] += (x - y[j]) * (x - y[j]);
}
SKEAN_MULTIVERSION static void AddAbs(PetscInt nc, double x, const double *y, double *out)
{
#pragma omp simd
  for (PetscInt j = 0; j < nc; ++j) out[j] += std::fabs(x - y[j]);
}
/* |x - y|^(W + H/2), H = 0 or 1 */
template <int W, int H>
__attribute__((always_inline)) static inline void PowRow(PetscInt nc, double x, const double *y, double *out)
{
#pragma omp simd
  for (PetscInt j = 0; j < nc; ++j) {
    const double t = std::fabs(x - y[j]);
    double       s = H ? std::sqrt(t) : 1.0;
    for (int k = 0; k < W; ++k) s *= t;
    out[j] += s;
  }
}
SKEAN_MULTIVERSION static void AddPow15(PetscInt nc, double x, const double *y, double *out)
{
  PowRow<1, 1>(nc, x, y, out);
}
SKEAN_MULTIVERSION static void AddPow25(PetscInt nc, double x, const double *y, double *out)
{
  PowRow<2, 1>(nc, x, y, out);
}
SKEAN_MULTIVERSION static void AddPow3(PetscInt nc, double x, const double *y, double *out)
{
  PowRow<3, 0>(nc, x, y, out);
}
SKEAN_MULTIVERSION static void AddPow4(PetscInt nc, double x, const double *y, double *out)
{
  PowRow<4, 0>(nc, x, y, out);
}
SKEAN_MULTIVERSION static void AddPowAny(PetscInt nc, double x, double p, const double *y, double *out)
{
#pragma omp simd
  for (PetscInt j = 0; j < nc; ++j) {
    const double t = std::fabs(x - y[j]), s = FastExp(p * FastLog(t > 1e-300 ? t : 1e-300));
    out[j] += t > 1e-300 ? s : 0.0;
  }
}
static void AddPow(PetscInt nc, double x, double p, const double *y, double *out)
{
  if (p == 1.5)
    AddPow15(nc, x, y, out);
  else if (p == 2.5)
    AddPow25(nc, x, y, out);
  else if (p == 3)
    AddPow3(nc, x, y, out);
  else if (p == 4)
    AddPow4(nc, x, y, out);
  else
    AddPowAny(nc, x, p, y, out);
}
SKEAN_MULTIVERSION static void RootOf(PetscInt nc, double *out)
{
#pragma omp simd
  for (PetscInt j = 0; j < nc; ++j) out[j] = std::sqrt(out[j]);
}
/* out_j = x + y_j - 2 out_j, not below zero: rounding of the inner products may take it there */
SKEAN_MULTIVERSION static void FromInner(PetscInt nc, double x, const double *y, double *out)
{
#pragma omp simd
  for (PetscInt j = 0; j < nc; ++j) {
    const double t = (x + y[j]) - 2.0 * out[j];
    out[j]         = t > 0 ? t : 0;
  }
}

PetscErrorCode FillCosts(const CostTiles &T, const Columns &Y, PetscInt i0, PetscInt nr, PetscInt j0, PetscInt nc, double *out, size_t ld)
{
  const size_t m = static_cast<size_t>(Y.m), d = static_cast<size_t>(T.d);

  PetscFunctionBegin;
  if (!nc || !nr) PetscFunctionReturn(PETSC_SUCCESS);
  if (T.gemm) {
    /* out' (nc x nr, column major) = Yrow_j0' X_i0: both stored with the coordinates of a point together */
    const double        one = 1.0, zero = 0.0;
    const PetscBLASInt  bm = static_cast<PetscBLASInt>(nc), bn = static_cast<PetscBLASInt>(nr), bk = static_cast<PetscBLASInt>(T.d);
    const PetscBLASInt  bl = static_cast<PetscBLASInt>(ld);
    const double *const y = Y.y + static_cast<size_t>(j0) * d, *const x = T.X.data() + static_cast<size_t>(i0) * d;
    BLASgemm_("T", "N", &bm, &bn, &bk, &one, y, &bk, x, &bk, &zero, out, &bl);
    for (PetscInt r = 0; r < nr; ++r) {
      double *o = out + static_cast<size_t>(r) * ld;
      if (T.kind == CostKind::COSINE) {
        for (PetscInt j = 0; j < nc; ++j) o[j] = 1.0 - o[j];
      } else {
        FromInner(nc, T.xn[i0 + r], Y.norm + j0, o);
        if (T.kind == CostKind::EUCLIDEAN) RootOf(nc, o);
      }
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt r = 0; r < nr; ++r) {
    double       *o = out + static_cast<size_t>(r) * ld;
    const double *x = T.X.data() + static_cast<size_t>(i0 + r) * d, *y = Y.y + j0;
    switch (T.kind) {
    case CostKind::STORED:
      if (Y.list)
        for (PetscInt j = 0; j < nc; ++j) o[j] = T.C[static_cast<size_t>(i0 + r) * T.ldc + Y.list[j0 + j]];
      else
        std::memcpy(o, T.C.data() + static_cast<size_t>(i0 + r) * T.ldc + j0, sizeof(double) * static_cast<size_t>(nc));
      break;
    case CostKind::SQEUCLIDEAN:
    case CostKind::EUCLIDEAN:
      if (d == 1)
        SqRow1(nc, m, x, y, o);
      else if (d == 2)
        SqRow2(nc, m, x, y, o);
      else if (d == 3)
        SqRow3(nc, m, x, y, o);
      else {
        std::memset(o, 0, sizeof(double) * static_cast<size_t>(nc));
        for (size_t k = 0; k < d; ++k) AddSq(nc, x[k], y + k * m, o);
      }
      if (T.kind == CostKind::EUCLIDEAN) RootOf(nc, o);
      break;
    case CostKind::L1:
      std::memset(o, 0, sizeof(double) * static_cast<size_t>(nc));
      for (size_t k = 0; k < d; ++k) AddAbs(nc, x[k], y + k * m, o);
      break;
    case CostKind::LP:
      std::memset(o, 0, sizeof(double) * static_cast<size_t>(nc));
      for (size_t k = 0; k < d; ++k) AddPow(nc, x[k], T.p, y + k * m, o);
      break;
    case CostKind::COSINE: /* points are normalised: 1 - x.y = |x - y|^2 / 2, without cancellation */
      std::memset(o, 0, sizeof(double) * static_cast<size_t>(nc));
      for (size_t k = 0; k < d; ++k) AddSq(nc, x[k], y + k * m, o);
      for (PetscInt j = 0; j < nc; ++j) o[j] *= 0.5;
      break;
    case CostKind::CALLBACK:
      PetscCall((*T.fn)(T.d, x, nc, Y.y + static_cast<size_t>(j0) * d, o, T.ctx));
      break;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace transport
} // namespace skean
