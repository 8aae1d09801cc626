#include "storedrows.hpp"
#include "exp.hpp"
#include <skean/private/skeanimpl.h>
#include <cmath>

namespace skean {
namespace transport {

static constexpr double kNothing = 1e-250;

SKEAN_MULTIVERSION PetscInt CountAbove(PetscInt n, const double *K, double t, const double *w)
{
  PetscInt k = 0;
#pragma omp simd reduction(+ : k)
  for (PetscInt j = 0; j < n; ++j) k += K[j] > t * w[j] ? 1 : 0;
  return k;
}

SKEAN_MULTIVERSION PetscInt Pack(PetscInt n, const double *K, double t, const double *w, double f, std::int32_t j0, std::int32_t *idx, double *val)
{
  PetscInt k = 0, j = 0;
  /* blocks of 16 without any are passed over; the others without a branch per entry */
  for (; j + 16 <= n; j += 16) {
    int any = 0;
#pragma omp simd reduction(| : any)
    for (int l = 0; l < 16; ++l) any |= K[j + l] > t * w[j + l];
    if (any)
      for (int l = 0; l < 16; ++l) {
        idx[k] = j0 + static_cast<std::int32_t>(j) + l;
        val[k] = f * K[j + l];
        k += K[j + l] > t * w[j + l] ? 1 : 0;
      }
  }
  for (; j < n; ++j)
    if (K[j] > t * w[j]) {
      idx[k]   = j0 + static_cast<std::int32_t>(j);
      val[k++] = f * K[j];
    }
  return k;
}

SKEAN_MULTIVERSION void CopyScaled(PetscInt n, const double *K, double f, double *out)
{
#pragma omp simd
  for (PetscInt j = 0; j < n; ++j) {
    const double x = f * K[j];
    out[j]         = x > kNothing ? x : 0.0;
  }
}

SKEAN_MULTIVERSION double SparseDot(size_t n, const std::int32_t *idx, const double *val, const double *x)
{
  double s = 0;
#pragma omp simd reduction(+ : s)
  for (size_t q = 0; q < n; ++q) s += val[q] * x[idx[q]];
  return s;
}

void SparseAdd(size_t n, double t, const std::int32_t *idx, const double *val, double *y)
{
  for (size_t q = 0; q < n; ++q) y[idx[q]] += t * val[q];
}

SKEAN_MULTIVERSION void DotRows(PetscInt n, const double *const *x, const double *y, double *s)
{
  const double *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
  double        t[4][8] = {{0}};
  PetscInt      j       = 0;
  for (; j + 8 <= n; j += 8)
#pragma omp simd
    for (int l = 0; l < 8; ++l) {
      const double q = y[j + l];
      t[0][l] += x0[j + l] * q;
      t[1][l] += x1[j + l] * q;
      t[2][l] += x2[j + l] * q;
      t[3][l] += x3[j + l] * q;
    }
  for (int r = 0; r < 4; ++r) {
    s[r] = 0;
    for (PetscInt l = j; l < n; ++l) s[r] += x[r][l] * y[l];
    for (int l = 0; l < 8; ++l) s[r] += t[r][l];
  }
}

SKEAN_MULTIVERSION void AddRows(PetscInt n, const double *t, const double *const *x, double *y)
{
  const double *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
  const double  t0 = t[0], t1 = t[1], t2 = t[2], t3 = t[3];
#pragma omp simd
  for (PetscInt j = 0; j < n; ++j) y[j] += (t0 * x0[j] + t1 * x1[j]) + (t2 * x2[j] + t3 * x3[j]);
}

SKEAN_MULTIVERSION double MaxDifference(PetscInt n, const double *x, const double *y)
{
  double s = 0;
#pragma omp simd reduction(max : s)
  for (PetscInt j = 0; j < n; ++j) {
    const double t = std::fabs(x[j] - y[j]);
    s              = t > s ? t : s;
  }
  return s;
}

SKEAN_MULTIVERSION void ExpDifference(PetscInt n, const double *x, const double *y, double *out)
{
#pragma omp simd
  for (PetscInt j = 0; j < n; ++j) out[j] = FastExp(x[j] - y[j]);
}

SKEAN_MULTIVERSION void MultiplyBy(PetscInt n, const double *y, double *x)
{
#pragma omp simd
  for (PetscInt j = 0; j < n; ++j) x[j] *= y[j];
}

void StoredRows::Begin(PetscInt n, PetscInt ncols, double inverse, double r, const double *v)
{
  m     = ncols;
  inv   = inverse;
  reach = r;
  valid = false;
  uses = nval = nidx = added = 0;
  wide = narrow = counted = 0;
  /* an entry of a whole row costs a twelfth of one taken by its number while the rows stay in the second cache, half of it from memory */
  share = static_cast<double>(n) * m * sizeof(double) < 4e6 ? 1.0 / 12 : 1.0 / 3;
  rows.resize(static_cast<size_t>(n));
  u0.resize(static_cast<size_t>(n));
  v0.assign(v, v + m);
}

bool StoredRows::Reserve(PetscInt count, double limit)
{
  const double used = static_cast<double>(nval) * sizeof(double) + static_cast<double>(nidx) * sizeof(std::int32_t),
               done = static_cast<double>(added) / static_cast<double>(rows.size());

  if (used > limit || (done >= 1.0 / 16 && used > 2 * limit * done)) return false;
  val.Grow(nval + static_cast<size_t>(count));
  idx.Grow(nidx + static_cast<size_t>(count));
  return true;
}

void StoredRows::Free()
{
  valid = false;
  nval = nidx = added = 0;
  val.Free();
  idx.Free();
}

} // namespace transport
} // namespace skean
