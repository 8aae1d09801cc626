/*
   The kernels that a compiler does not vectorise, or not well: exponentials, selections, which compress, and the transposition of a panel. Plain versions (of
   exponentials in kernels.cxx), and for processors that have them AVX-512 ones, chosen at run time. Selections are the same, exponentials but for rounding.
*/
#include "avx512.hpp"
#include "exp.hpp"
#include "storedrows.hpp"
#include <skean/private/skeanimpl.h>
#if defined(SKEAN_HAVE_MULTIVERSION)
  #include <immintrin.h>
  #define SKEAN_AVX512 __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq")))
#endif

namespace skean {
namespace transport {

/* ---------------------------------------------------------------------------------------------------------------------------- plain */

/* without a branch that cannot be foreseen */
template <class V>
__attribute__((always_inline)) static inline PetscInt PlainPack(PetscInt n, const V *x, double t, const double *w, std::int32_t j0, std::int32_t *idx, V *val)
{
  PetscInt k = 0;
  for (PetscInt j = 0; j < n; ++j) {
    const V y = x[j];
    idx[k]    = j0 + static_cast<std::int32_t>(j);
    val[k]    = y;
    k += static_cast<double>(y) > t * w[j] ? 1 : 0;
  }
  return k;
}

template <class V>
__attribute__((always_inline)) static inline void PlainCount(PetscInt n, const V *x, V t, V heavy, const V *w, double sums[2])
{
  V above = 0, many = 0; /* in the width of what is compared */
#pragma omp simd reduction(+ : above, many)
  for (PetscInt j = 0; j < n; ++j) {
    above += x[j] > t * w[j] ? V(1) : V(0);
    many += x[j] > heavy * w[j] ? V(1) : V(0);
  }
  sums[0] += static_cast<double>(above);
  sums[1] += static_cast<double>(many);
}

namespace plain {

SKEAN_MULTIVERSION void DotRows(PetscInt n, const float *const *x, const double *y, double *s)
{
  for (int q = 0; q < 8; q += 4) {
    const float *x0 = x[q], *x1 = x[q + 1], *x2 = x[q + 2], *x3 = x[q + 3];
    double       t[4][8] = {{0}};
    PetscInt     j       = 0;
    for (; j + 8 <= n; j += 8)
#pragma omp simd
      for (int l = 0; l < 8; ++l) {
        const double z = y[j + l];
        t[0][l] += static_cast<double>(x0[j + l]) * z;
        t[1][l] += static_cast<double>(x1[j + l]) * z;
        t[2][l] += static_cast<double>(x2[j + l]) * z;
        t[3][l] += static_cast<double>(x3[j + l]) * z;
      }
    for (int r = 0; r < 4; ++r) {
      s[q + r] = 0;
      for (PetscInt l = j; l < n; ++l) s[q + r] += static_cast<double>(x[q + r][l]) * y[l];
      for (int l = 0; l < 8; ++l) s[q + r] += t[r][l];
    }
  }
}

SKEAN_MULTIVERSION void AddRows(PetscInt n, const double *t, const float *const *x, double *y)
{
  for (int q = 0; q < 8; q += 4) {
    const float *x0 = x[q], *x1 = x[q + 1], *x2 = x[q + 2], *x3 = x[q + 3];
    const double t0 = t[q], t1 = t[q + 1], t2 = t[q + 2], t3 = t[q + 3];
#pragma omp simd
    for (PetscInt j = 0; j < n; ++j)
      y[j] += (t0 * static_cast<double>(x0[j]) + t1 * static_cast<double>(x1[j])) + (t2 * static_cast<double>(x2[j]) + t3 * static_cast<double>(x3[j]));
  }
}

SKEAN_MULTIVERSION void Count(PetscInt n, const double *x, double t, double heavy, const double *w, double sums[2])
{
  PlainCount(n, x, t, heavy, w, sums);
}

SKEAN_MULTIVERSION void Count(PetscInt n, const float *x, double t, double heavy, const float *w, double sums[2])
{
  constexpr PetscInt kExact = 1 << 24; /* up to which integers are exact in single precision */
  for (PetscInt j = 0; j < n; j += kExact) PlainCount(PetscMin(kExact, n - j), x + j, static_cast<float>(t), static_cast<float>(heavy), w + j, sums);
}

PetscInt Pack(PetscInt n, const double *x, double t, const double *w, std::int32_t j0, std::int32_t *idx, double *val)
{
  return PlainPack(n, x, t, w, j0, idx, val);
}

PetscInt Pack(PetscInt n, const float *x, double t, const double *w, std::int32_t j0, std::int32_t *idx, float *val)
{
  return PlainPack(n, x, t, w, j0, idx, val);
}

PetscInt Select(PetscInt n, const double *K, double thr, PetscInt *idx)
{
  PetscInt k = 0;
  for (PetscInt j = 0; j < n; ++j) {
    idx[k] = j;
    k += K[j] > thr ? 1 : 0;
  }
  return k;
}

PetscInt SelectExponents(PetscInt n, double u, double inv, const double *v, const double *c, double t, const double *w, std::int32_t *idx, double *e)
{
  PetscInt k = 0;
  for (PetscInt j = 0; j < n; ++j) {
    const double x = (u + v[j]) - inv * c[j];
    idx[k]         = static_cast<std::int32_t>(j);
    e[k]           = x;
    k += x > t + w[j] ? 1 : 0;
  }
  return k;
}

void CopyPanel(PetscInt rows, PetscInt n, const double *from, size_t ld, double *to, size_t ldto, bool, double *sum, double *most)
{
  for (PetscInt j = 0; j < n; ++j)
    for (PetscInt i = 0; i < rows; ++i) {
      const double c   = from[static_cast<size_t>(j) * ld + i];
      to[i * ldto + j] = c;
      sum[i % kLanes] += c - c;
      most[i % kLanes] = c > most[i % kLanes] ? c : most[i % kLanes];
    }
}

} // namespace plain

#if defined(SKEAN_AVX512)
  /* of the intrinsics' own undefined vectors: GCC bug 105593 */
  #pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
  #pragma GCC diagnostic ignored "-Wuninitialized"

/* -------------------------------------------------------------------------------------------------------------------------- AVX-512 */

namespace avx512 {

SKEAN_AVX512 static void DotRows(PetscInt n, const float *const *x, const double *y, double *s)
{
  for (int q = 0; q < 8; q += 4) { /* with four rows, two sums each, all are in registers */
    __m512d  a[4], b[4];
    PetscInt j = 0;
    for (int r = 0; r < 4; ++r) a[r] = b[r] = _mm512_setzero_pd();
    for (; j + 16 <= n; j += 16) {
      const __m512d c = _mm512_loadu_pd(y + j), d = _mm512_loadu_pd(y + j + 8);
      for (int r = 0; r < 4; ++r) {
        a[r] = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_loadu_ps(x[q + r] + j)), c, a[r]);
        b[r] = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_loadu_ps(x[q + r] + j + 8)), d, b[r]);
      }
    }
    for (int r = 0; r < 4; ++r) {
      s[q + r] = _mm512_reduce_add_pd(_mm512_add_pd(a[r], b[r]));
      for (PetscInt l = j; l < n; ++l) s[q + r] += static_cast<double>(x[q + r][l]) * y[l];
    }
  }
}

SKEAN_AVX512 static void AddRows(PetscInt n, const double *t, const float *const *x, double *y)
{
  __m512d      by[8];
  const float *rest[8];
  PetscInt     j = 0;

  for (int r = 0; r < 8; ++r) by[r] = _mm512_set1_pd(t[r]);
  for (; j + 16 <= n; j += 16) {
    __m512d a = _mm512_loadu_pd(y + j), b = _mm512_loadu_pd(y + j + 8);
    for (int r = 0; r < 8; ++r) {
      a = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_loadu_ps(x[r] + j)), by[r], a);
      b = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_loadu_ps(x[r] + j + 8)), by[r], b);
    }
    _mm512_storeu_pd(y + j, a);
    _mm512_storeu_pd(y + j + 8, b);
  }
  for (int r = 0; r < 8; ++r) rest[r] = x[r] + j;
  plain::AddRows(n - j, t, rest, y + j);
}

SKEAN_AVX512 static void Count(PetscInt n, const double *x, double t, double heavy, const double *w, double sums[2])
{
  const __m512d tt = _mm512_set1_pd(t), hh = _mm512_set1_pd(heavy);
  PetscInt      above = 0, many = 0, j = 0;

  for (; j + 8 <= n; j += 8) {
    const __m512d y = _mm512_loadu_pd(x + j), z = _mm512_loadu_pd(w + j);
    above += __builtin_popcount(_mm512_cmp_pd_mask(y, _mm512_mul_pd(tt, z), _CMP_GT_OQ));
    many += __builtin_popcount(_mm512_cmp_pd_mask(y, _mm512_mul_pd(hh, z), _CMP_GT_OQ));
  }
  sums[0] += static_cast<double>(above);
  sums[1] += static_cast<double>(many);
  plain::Count(n - j, x + j, t, heavy, w + j, sums);
}

SKEAN_AVX512 static void Count(PetscInt n, const float *x, double t, double heavy, const float *w, double sums[2])
{
  const __m512 tt = _mm512_set1_ps(static_cast<float>(t)), hh = _mm512_set1_ps(static_cast<float>(heavy));
  PetscInt     above = 0, many = 0, j = 0;

  for (; j + 16 <= n; j += 16) {
    const __m512 y = _mm512_loadu_ps(x + j), z = _mm512_loadu_ps(w + j);
    above += __builtin_popcount(_mm512_cmp_ps_mask(y, _mm512_mul_ps(tt, z), _CMP_GT_OQ));
    many += __builtin_popcount(_mm512_cmp_ps_mask(y, _mm512_mul_ps(hh, z), _CMP_GT_OQ));
  }
  sums[0] += static_cast<double>(above);
  sums[1] += static_cast<double>(many);
  plain::Count(n - j, x + j, t, heavy, w + j, sums);
}

/* Stores are of whole vectors, whose rest is overwritten by the next: k <= j, so that none goes beyond n, and x and val may be the same */
SKEAN_AVX512 static PetscInt Pack(PetscInt n, const double *x, double t, const double *w, std::int32_t j0, std::int32_t *idx, double *val)
{
  const __m512d tt = _mm512_set1_pd(t);
  __m256i       at = _mm256_add_epi32(_mm256_set1_epi32(j0), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  PetscInt      k = 0, j = 0;

  for (; j + 8 <= n; j += 8) {
    const __m512d  y = _mm512_loadu_pd(x + j);
    const __mmask8 q = _mm512_cmp_pd_mask(y, _mm512_mul_pd(tt, _mm512_loadu_pd(w + j)), _CMP_GT_OQ);
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(idx + k), _mm256_maskz_compress_epi32(q, at));
    _mm512_storeu_pd(val + k, _mm512_maskz_compress_pd(q, y));
    k += __builtin_popcount(q);
    at = _mm256_add_epi32(at, _mm256_set1_epi32(8));
  }
  return k + plain::Pack(n - j, x + j, t, w + j, j0 + static_cast<std::int32_t>(j), idx + k, val + k);
}

SKEAN_AVX512 static PetscInt Pack(PetscInt n, const float *x, double t, const double *w, std::int32_t j0, std::int32_t *idx, float *val)
{
  const __m512d tt = _mm512_set1_pd(t);
  __m512i       at = _mm512_add_epi32(_mm512_set1_epi32(j0), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  PetscInt      k = 0, j = 0;

  for (; j + 16 <= n; j += 16) {
    const __m512    y  = _mm512_loadu_ps(x + j);
    const __m512d   lo = _mm512_cvtps_pd(_mm512_castps512_ps256(y)), hi = _mm512_cvtps_pd(_mm512_extractf32x8_ps(y, 1));
    const unsigned  a = _mm512_cmp_pd_mask(lo, _mm512_mul_pd(tt, _mm512_loadu_pd(w + j)), _CMP_GT_OQ);
    const unsigned  b = _mm512_cmp_pd_mask(hi, _mm512_mul_pd(tt, _mm512_loadu_pd(w + j + 8)), _CMP_GT_OQ);
    const __mmask16 q = static_cast<__mmask16>(a | b << 8);
    _mm512_storeu_si512(idx + k, _mm512_maskz_compress_epi32(q, at));
    _mm512_storeu_ps(val + k, _mm512_maskz_compress_ps(q, y));
    k += __builtin_popcount(q);
    at = _mm512_add_epi32(at, _mm512_set1_epi32(16));
  }
  return k + plain::Pack(n - j, x + j, t, w + j, j0 + static_cast<std::int32_t>(j), idx + k, val + k);
}

SKEAN_AVX512 static PetscInt Select(PetscInt n, const double *K, double thr, PetscInt *idx)
{
  const __m512d t = _mm512_set1_pd(thr);
  PetscInt      k = 0, j = 0;

  for (; j + 8 <= n; j += 8) {
    const __mmask8 q = _mm512_cmp_pd_mask(_mm512_loadu_pd(K + j), t, _CMP_GT_OQ);
    if constexpr (sizeof(PetscInt) == 4)
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(idx + k),
                          _mm256_maskz_compress_epi32(q, _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(j)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))));
    else
      _mm512_storeu_si512(idx + k, _mm512_maskz_compress_epi64(q, _mm512_add_epi64(_mm512_set1_epi64(j), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7))));
    k += __builtin_popcount(q);
  }
  for (; j < n; ++j)
    if (K[j] > thr) idx[k++] = j;
  return k;
}

SKEAN_AVX512 static PetscInt SelectExponents(PetscInt n, double u, double inv, const double *v, const double *c, double t, const double *w, std::int32_t *idx,
                                             double *e)
{
  const __m512d uu = _mm512_set1_pd(u), ii = _mm512_set1_pd(inv), tt = _mm512_set1_pd(t);
  __m256i       at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  PetscInt      k = 0, j = 0;

  for (; j + 8 <= n; j += 8) {
    const __m512d  x = _mm512_fnmadd_pd(ii, _mm512_loadu_pd(c + j), _mm512_add_pd(uu, _mm512_loadu_pd(v + j)));
    const __mmask8 q = _mm512_cmp_pd_mask(x, _mm512_add_pd(tt, _mm512_loadu_pd(w + j)), _CMP_GT_OQ);
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(idx + k), _mm256_maskz_compress_epi32(q, at));
    _mm512_storeu_pd(e + k, _mm512_maskz_compress_pd(q, x));
    k += __builtin_popcount(q);
    at = _mm256_add_epi32(at, _mm256_set1_epi32(8));
  }
  for (; j < n; ++j) {
    const double x = (u + v[j]) - inv * c[j];
    if (!(x > t + w[j])) continue;
    idx[k] = static_cast<std::int32_t>(j);
    e[k++] = x;
  }
  return k;
}

/* FastExp() with the instructions that round and scale by powers of two; the same polynomial. min() and the comparison are such that NaN remains; 710 is
   enough for infinity, and not too much for r to be small */
SKEAN_AVX512 static inline __m512d Exp(__m512d x)
{
  const __m512d  t  = _mm512_min_pd(_mm512_set1_pd(kExpHigh + 1), x);
  const __m512d  k  = _mm512_roundscale_pd(_mm512_mul_pd(t, _mm512_set1_pd(kLog2e)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512d  r  = _mm512_fnmadd_pd(k, _mm512_set1_pd(kLn2Low), _mm512_fnmadd_pd(k, _mm512_set1_pd(kLn2High), t));
  const __mmask8 in = _mm512_cmp_pd_mask(t, _mm512_set1_pd(kExpLow), _CMP_NLT_UQ);
  __m512d        q  = _mm512_set1_pd(kExpPolynomial[0]);
  for (int d = 1; d < 10; ++d) q = _mm512_fmadd_pd(q, r, _mm512_set1_pd(kExpPolynomial[d]));
  q = _mm512_fmadd_pd(_mm512_mul_pd(r, r), q, r);
  return _mm512_maskz_scalef_pd(in, _mm512_add_pd(_mm512_set1_pd(1.0), q), k);
}

/* RoughExp(); below its range the result is zero, above it is infinite */
SKEAN_AVX512 static inline __m512 Exp(__m512 x)
{
  const __m512    t  = _mm512_min_ps(_mm512_set1_ps(kRoughHigh + 1), x);
  const __m512    k  = _mm512_roundscale_ps(_mm512_mul_ps(t, _mm512_set1_ps(static_cast<float>(kLog2e))), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512    r  = _mm512_fnmadd_ps(k, _mm512_set1_ps(kRoughLn2Low), _mm512_fnmadd_ps(k, _mm512_set1_ps(kRoughLn2High), t));
  const __mmask16 in = _mm512_cmp_ps_mask(t, _mm512_set1_ps(kRoughLow), _CMP_NLT_UQ);
  __m512          q  = _mm512_set1_ps(kRoughPolynomial[0]);
  for (int d = 1; d < 6; ++d) q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(kRoughPolynomial[d]));
  return _mm512_maskz_scalef_ps(in, q, k);
}

SKEAN_AVX512 static double ExpSum(PetscInt n, double u, double inv, const double *v, const double *c, double *K)
{
  const __m512d uu = _mm512_set1_pd(u), ii = _mm512_set1_pd(inv);
  __m512d       s[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
  PetscInt      j    = 0;

  for (; j + 16 <= n; j += 16) /* two at once: each is a chain of dependent operations */
    for (int l = 0; l < 2; ++l) {
      const PetscInt at = j + 8 * l;
      const __m512d  e  = Exp(_mm512_fnmadd_pd(ii, _mm512_loadu_pd(c + at), _mm512_add_pd(uu, _mm512_loadu_pd(v + at))));
      _mm512_storeu_pd(K + at, e);
      s[l] = _mm512_add_pd(s[l], e);
    }
  return _mm512_reduce_add_pd(_mm512_add_pd(s[0], s[1])) + plain::ExpSum(n - j, u, inv, v + j, c + j, K + j);
}

SKEAN_AVX512 static double ExpSumCost(PetscInt n, double u, double inv, const double *v, const double *c, double *K, double *cost)
{
  const __m512d uu = _mm512_set1_pd(u), ii = _mm512_set1_pd(inv);
  __m512d       s[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()}, w[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
  PetscInt      j = 0;

  for (; j + 16 <= n; j += 16)
    for (int l = 0; l < 2; ++l) {
      const PetscInt at = j + 8 * l;
      const __m512d  x = _mm512_loadu_pd(c + at), e = Exp(_mm512_fnmadd_pd(ii, x, _mm512_add_pd(uu, _mm512_loadu_pd(v + at))));
      _mm512_storeu_pd(K + at, e);
      s[l] = _mm512_add_pd(s[l], e);
      w[l] = _mm512_fmadd_pd(e, x, w[l]);
    }
  *cost += _mm512_reduce_add_pd(_mm512_add_pd(w[0], w[1]));
  return _mm512_reduce_add_pd(_mm512_add_pd(s[0], s[1])) + plain::ExpSumCost(n - j, u, inv, v + j, c + j, K + j, cost);
}

SKEAN_AVX512 static inline __m512d Exponents(__m512d u, __m512d inv, __m512d v, __m512d c)
{
  return _mm512_fnmadd_pd(inv, c, _mm512_add_pd(u, v));
}

SKEAN_AVX512 static inline __m512 Together(__m512d lo, __m512d hi)
{
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(lo)), _mm512_cvtpd_ps(hi), 1);
}

/* Every entry and the sum, but for its last digits, are the same wherever a row has been cut into pieces: the rest is done by masks, the sum in double precision */
SKEAN_AVX512 static double ExpSum(PetscInt n, double u, double inv, const double *v, const double *c, float *K)
{
  const __m512d uu = _mm512_set1_pd(u), ii = _mm512_set1_pd(inv);
  __m512d       s[4];
  PetscInt      j = 0;

  for (auto &x : s) x = _mm512_setzero_pd();
  for (; j + 32 <= n; j += 32)
    for (int l = 0; l < 2; ++l) {
      const double *vl = v + j + 16 * l, *cl = c + j + 16 * l;
      const __m512  e =
        Exp(Together(Exponents(uu, ii, _mm512_loadu_pd(vl), _mm512_loadu_pd(cl)), Exponents(uu, ii, _mm512_loadu_pd(vl + 8), _mm512_loadu_pd(cl + 8))));
      _mm512_storeu_ps(K + j + 16 * l, e);
      s[2 * l]     = _mm512_add_pd(s[2 * l], _mm512_cvtps_pd(_mm512_castps512_ps256(e)));
      s[2 * l + 1] = _mm512_add_pd(s[2 * l + 1], _mm512_cvtps_pd(_mm512_extractf32x8_ps(e, 1)));
    }
  for (; j < n; j += 16) {
    const __mmask16 q  = static_cast<__mmask16>((1u << PetscMin(n - j, 16)) - 1);
    const __mmask8  lo = static_cast<__mmask8>(q & 0xff), hi = static_cast<__mmask8>(q >> 8);
    const __m512    e = _mm512_maskz_mov_ps(q, Exp(Together(Exponents(uu, ii, _mm512_maskz_loadu_pd(lo, v + j), _mm512_maskz_loadu_pd(lo, c + j)),
                                                            Exponents(uu, ii, _mm512_maskz_loadu_pd(hi, v + j + 8), _mm512_maskz_loadu_pd(hi, c + j + 8)))));
    _mm512_mask_storeu_ps(K + j, q, e);
    s[0] = _mm512_add_pd(s[0], _mm512_cvtps_pd(_mm512_castps512_ps256(e)));
    s[1] = _mm512_add_pd(s[1], _mm512_cvtps_pd(_mm512_extractf32x8_ps(e, 1)));
  }
  return _mm512_reduce_add_pd(_mm512_add_pd(_mm512_add_pd(s[0], s[1]), _mm512_add_pd(s[2], s[3])));
}

/* Blocks of 8 x 8 through registers; the rows of 8 columns are read one after the other, as the memory likes */
template <bool Stream>
SKEAN_AVX512 static void CopyBlocks(PetscInt rows, PetscInt n, const double *from, size_t ld, double *to, size_t ldto, double *sum, double *most)
{
  __m512d s = _mm512_loadu_pd(sum), h = _mm512_loadu_pd(most), x[8], y[8];
  auto    Put = [](double *p, __m512d v) __attribute__((always_inline, target("avx512f,avx512vl,avx512bw,avx512dq")))
  {
    if (Stream)
      _mm512_stream_pd(p, v);
    else
      _mm512_storeu_pd(p, v);
  };

  for (PetscInt j = 0; j < n; j += 8)
    for (PetscInt i = 0; i < rows; i += 8) {
      double *o8 = to + static_cast<size_t>(i) * ldto + j;
      for (int q = 0; q < 8; ++q) {
        x[q] = _mm512_loadu_pd(from + static_cast<size_t>(j + q) * ld + i);
        s    = _mm512_add_pd(s, _mm512_sub_pd(x[q], x[q]));
        h    = _mm512_max_pd(x[q], h);
      }
      for (int q = 0; q < 8; q += 2) {
        y[q]     = _mm512_unpacklo_pd(x[q], x[q + 1]); /* rows 0, 2, 4, 6 of two columns */
        y[q + 1] = _mm512_unpackhi_pd(x[q], x[q + 1]); /* rows 1, 3, 5, 7 */
      }
      for (int o = 0; o < 2; ++o) {
        const __m512d a = _mm512_shuffle_f64x2(y[o], y[2 + o], 0x88), b = _mm512_shuffle_f64x2(y[o], y[2 + o], 0xdd);
        const __m512d c = _mm512_shuffle_f64x2(y[4 + o], y[6 + o], 0x88), d = _mm512_shuffle_f64x2(y[4 + o], y[6 + o], 0xdd);
        Put(o8 + (0 + o) * ldto, _mm512_shuffle_f64x2(a, c, 0x88));
        Put(o8 + (4 + o) * ldto, _mm512_shuffle_f64x2(a, c, 0xdd));
        Put(o8 + (2 + o) * ldto, _mm512_shuffle_f64x2(b, d, 0x88));
        Put(o8 + (6 + o) * ldto, _mm512_shuffle_f64x2(b, d, 0xdd));
      }
    }
  _mm512_storeu_pd(sum, s);
  _mm512_storeu_pd(most, h);
}

static void CopyPanel(PetscInt rows, PetscInt n, const double *from, size_t ld, double *to, size_t ldto, bool stream, double *sum, double *most)
{
  const PetscInt nr = rows / 8 * 8, nc = n / 8 * 8;

  if (stream && reinterpret_cast<std::uintptr_t>(to) % 64 == 0 && ldto % 8 == 0) {
    CopyBlocks<true>(nr, nc, from, ld, to, ldto, sum, most);
    _mm_sfence();
  } else
    CopyBlocks<false>(nr, nc, from, ld, to, ldto, sum, most);
  plain::CopyPanel(nr, n - nc, from + static_cast<size_t>(nc) * ld, ld, to + nc, ldto, false, sum, most);
  plain::CopyPanel(rows - nr, n, from + nr, ld, to + static_cast<size_t>(nr) * ldto, ldto, false, sum, most);
}

} // namespace avx512

static bool Has()
{
  static const bool has =
    __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  return has;
}
  #define SKEAN_CALL(f, ...) (Has() ? avx512::f(__VA_ARGS__) : plain::f(__VA_ARGS__))
#else
  #define SKEAN_CALL(f, ...) plain::f(__VA_ARGS__)
#endif

double ExpSum(PetscInt n, double u, double inv, const double *v, const double *c, double *K)
{
  return SKEAN_CALL(ExpSum, n, u, inv, v, c, K);
}

double ExpSumCost(PetscInt n, double u, double inv, const double *v, const double *c, double *K, double *cost)
{
  return SKEAN_CALL(ExpSumCost, n, u, inv, v, c, K, cost);
}

double ExpSum(PetscInt n, double u, double inv, const double *v, const double *c, float *K)
{
  return SKEAN_CALL(ExpSum, n, u, inv, v, c, K);
}

void DotRows(PetscInt n, const float *const *x, const double *y, double *s)
{
  SKEAN_CALL(DotRows, n, x, y, s);
}

void AddRows(PetscInt n, const double *t, const float *const *x, double *y)
{
  SKEAN_CALL(AddRows, n, t, x, y);
}

void Count(PetscInt n, const double *x, double t, double heavy, const double *w, double sums[2])
{
  SKEAN_CALL(Count, n, x, t, heavy, w, sums);
}

void Count(PetscInt n, const float *x, double t, double heavy, const float *w, double sums[2])
{
  SKEAN_CALL(Count, n, x, t, heavy, w, sums);
}

PetscInt Pack(PetscInt n, const double *x, double t, const double *w, std::int32_t j0, std::int32_t *idx, double *val)
{
  return SKEAN_CALL(Pack, n, x, t, w, j0, idx, val);
}

PetscInt Pack(PetscInt n, const float *x, double t, const double *w, std::int32_t j0, std::int32_t *idx, float *val)
{
  return SKEAN_CALL(Pack, n, x, t, w, j0, idx, val);
}

PetscInt Select(PetscInt n, const double *K, double thr, PetscInt *idx)
{
  return SKEAN_CALL(Select, n, K, thr, idx);
}

PetscInt SelectExponents(PetscInt n, double u, double inv, const double *v, const double *c, double t, const double *w, std::int32_t *idx, double *e)
{
  return SKEAN_CALL(SelectExponents, n, u, inv, v, c, t, w, idx, e);
}

void CopyPanel(PetscInt rows, PetscInt n, const double *from, size_t ld, double *to, size_t ldto, bool stream, double *sum, double *most)
{
  SKEAN_CALL(CopyPanel, rows, n, from, ld, to, ldto, stream, sum, most);
}

} // namespace transport
} // namespace skean
