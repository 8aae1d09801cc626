#include "storedrows.hpp"
#include "exp.hpp"
#include <skean/private/skeanimpl.h>
#include <cmath>

namespace skean {
namespace transport {

/* below it products with potentials within reach might be subnormal, which cost a hundred cycles each */
template <class V>
constexpr double kNothing = 1e-250;
template <>
constexpr double kNothing<float> = 1e-37;

/* Each kernel once, for values of either precision; sums are in double precision */
namespace {

template <class V>
__attribute__((always_inline)) inline void StoreOf(PetscInt n, const double *K, double f, double t, double heavy, const double *w, V *out, double sums[3])
{
  double above = 0, many = 0, sum = 0; /* counts in the width of what is compared */
#pragma omp simd reduction(+ : above, many, sum)
  for (PetscInt j = 0; j < n; ++j) {
    const double x = f * K[j];
    const V      o = static_cast<V>(x > kNothing<V> ? x : 0.0);
    out[j]         = o;
    sum += static_cast<double>(o);
    above += x > t * w[j] ? 1.0 : 0.0;
    many += x > heavy * w[j] ? 1.0 : 0.0;
  }
  sums[0] += above;
  sums[1] += many;
  sums[2] += sum;
}

template <class V>
__attribute__((always_inline)) inline double SparseDotOf(size_t n, const std::int32_t *idx, const V *val, const double *x)
{
  double s = 0;
#pragma omp simd reduction(+ : s)
  for (size_t q = 0; q < n; ++q) s += static_cast<double>(val[q]) * x[idx[q]];
  return s;
}

template <class V>
__attribute__((always_inline)) inline void SparseAddOf(size_t n, double t, const std::int32_t *idx, const V *val, double *y)
{
  for (size_t q = 0; q < n; ++q) y[idx[q]] += t * static_cast<double>(val[q]);
}

} // namespace

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

SKEAN_MULTIVERSION void Store(PetscInt n, const double *K, double f, double t, double heavy, const double *w, double *out, double sums[3])
{
  StoreOf(n, K, f, t, heavy, w, out, sums);
}
SKEAN_MULTIVERSION void Store(PetscInt n, const double *K, double f, double t, double heavy, const double *w, float *out, double sums[3])
{
  StoreOf(n, K, f, t, heavy, w, out, sums);
}
SKEAN_MULTIVERSION void CountSelected(PetscInt n, const double *x, double t, double heavy, const double *w, const std::int32_t *idx, double sums[2])
{
  double above = 0, many = 0;
#pragma omp simd reduction(+ : above, many)
  for (PetscInt q = 0; q < n; ++q) {
    const double y = w[idx[q]];
    above += x[q] > t * y ? 1.0 : 0.0;
    many += x[q] > heavy * y ? 1.0 : 0.0;
  }
  sums[0] += above;
  sums[1] += many;
}
SKEAN_MULTIVERSION double SparseDot(size_t n, const std::int32_t *idx, const double *val, const double *x)
{
  return SparseDotOf(n, idx, val, x);
}
SKEAN_MULTIVERSION double SparseDot(size_t n, const std::int32_t *idx, const float *val, const double *x)
{
  return SparseDotOf(n, idx, val, x);
}
void SparseAdd(size_t n, double t, const std::int32_t *idx, const double *val, double *y)
{
  SparseAddOf(n, t, idx, val, y);
}
void SparseAdd(size_t n, double t, const std::int32_t *idx, const float *val, double *y)
{
  SparseAddOf(n, t, idx, val, y);
}
SKEAN_MULTIVERSION void AddRows(PetscInt n, const double *t, const double *const *x, double *y)
{
  const double *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
  const double  t0 = t[0], t1 = t[1], t2 = t[2], t3 = t[3];
#pragma omp simd
  for (PetscInt j = 0; j < n; ++j) y[j] += (t0 * x0[j] + t1 * x1[j]) + (t2 * x2[j] + t3 * x3[j]);
}
SKEAN_MULTIVERSION void AddScaled(PetscInt n, double t, const float *K, double *b)
{
#pragma omp simd
  for (PetscInt j = 0; j < n; ++j) b[j] += t * static_cast<double>(K[j]);
}
SKEAN_MULTIVERSION double Dot(PetscInt n, const float *x, const double *y)
{
  double   s[32] = {0}, sum = 0; /* as for double precision */
  PetscInt j = 0;
  for (; j + 32 <= n; j += 32)
#pragma omp simd
    for (int l = 0; l < 32; ++l) s[l] += static_cast<double>(x[j + l]) * y[j + l];
  for (; j < n; ++j) sum += static_cast<double>(x[j]) * y[j];
  for (int l = 0; l < 32; ++l) sum += s[l];
  return sum;
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

SKEAN_MULTIVERSION double Drift(PetscInt n, const double *w, const double *x, const double *y)
{
  double s = 0;
#pragma omp simd reduction(+ : s)
  for (PetscInt j = 0; j < n; ++j) {
    const double t = std::fabs(x[j] - y[j]);
    s += w[j] * (t < 1.0 ? t : 1.0);
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

SKEAN_MULTIVERSION void ProductOf(PetscInt n, const float *x, const double *y, double *z)
{
#pragma omp simd
  for (PetscInt j = 0; j < n; ++j) z[j] = static_cast<double>(x[j]) * y[j];
}
SKEAN_MULTIVERSION void ProductOf(PetscInt n, const double *x, const double *y, double *z)
{
#pragma omp simd
  for (PetscInt j = 0; j < n; ++j) z[j] = x[j] * y[j];
}

void StoredRows::Begin(PetscInt n, PetscInt nglobal, PetscInt ncols, double inverse, double skip, double r, bool shortened, bool approximate, const double *v)
{
  m      = ncols;
  inv    = inverse;
  cut    = skip;
  reach  = r;
  single = shortened;
  rough  = approximate;
  valid  = false;
  uses = nval = nidx = added = 0;
  wide = narrow = counted = 0;
  if (single) /* the limit is for one of them */
    val64.Free();
  else
    val32.Free();
  /* an entry of a whole row costs a twelfth of one taken by its number while the rows stay in the second cache, a third from memory. By the size of the whole
     problem, so that no number depends on how many processes there are */
  const double bytes = static_cast<double>(nglobal) * m * static_cast<double>(Bytes());
  share              = bytes < 4e6 ? 1.0 / 12 : (bytes < 2e7 ? 1.0 / 6 : 1.0 / 3);
  rows.resize(static_cast<size_t>(n));
  u0.resize(static_cast<size_t>(n));
  base.resize(static_cast<size_t>(n));
  right.assign(static_cast<size_t>(n), 1.0);
  v0.assign(v, v + m);
}

void StoredRows::AddSparse(PetscInt k, PetscInt count, const std::int32_t *j, const double *x, double sum, double scale, double u, double logmass, double bound,
                           double heavy, const double *w)
{
  const double norm = std::exp(scale - (u - logmass)), f = single ? 1 / norm : 1.0;
  Row         &r = rows[k];

  u0[k]   = u;
  base[k] = single ? u - logmass : scale;
  r.at    = nval;
  r.index = nidx;
  r.count = static_cast<std::int32_t>(count);
  ++added;
  std::copy_n(j, count, idx.data() + nidx);
  if (single) {
    double all = 0;
    for (PetscInt q = 0; q < count; ++q) {
      const double y = f * x[q];
      all += static_cast<double>(val32.data()[nval + q] = static_cast<float>(y > kNothing<float> ? y : 0.0));
    }
    if (!rough && all > 0) right[k] = f * sum / all;
  } else
    std::copy_n(x, count, val64.data() + nval);
  double counts[2] = {0, 0};
  CountSelected(count, x, bound * norm, heavy * norm, w, j, counts);
  narrow += counts[0];
  counted += counts[1];
  nval += static_cast<size_t>(count);
  nidx += static_cast<size_t>(count);
}

bool StoredRows::Reserve(PetscInt count, double limit)
{
  const double used = static_cast<double>(nval) * Bytes() + static_cast<double>(nidx) * sizeof(std::int32_t),
               done = static_cast<double>(added) / static_cast<double>(rows.size());

  if (used > limit || (done >= 1.0 / 16 && used > 2 * limit * done)) return false;
  if (single)
    val32.Grow(nval + static_cast<size_t>(count));
  else
    val64.Grow(nval + static_cast<size_t>(count));
  idx.Grow(nidx + static_cast<size_t>(count));
  return true;
}

void StoredRows::Free()
{
  valid = false;
  nval = nidx = added = 0;
  val32.Free();
  val64.Free();
  idx.Free();
}

} // namespace transport
} // namespace skean
