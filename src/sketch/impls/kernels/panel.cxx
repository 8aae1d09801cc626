#include "panel.hpp"
#include <algorithm>

/* Entries of a and b by number, 0...7 of a and 8...15 of b: each compiler has its own name for it */
#if defined(__clang__)
  #define SKEAN_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef long long Index8 __attribute__((vector_size(64)));
  #define SKEAN_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Index8{__VA_ARGS__})
#endif

namespace skean {

SKEAN_MULTIVERSION static void PackPanel_(const double *SKEAN_RESTRICT a, size_t lda, size_t rows, int width, double *SKEAN_RESTRICT panel)
{
  if (width == PanelWidth) {
    size_t i = 0;
    for (; i + 8 <= rows; i += 8) {
      /* 8 x 8 transpose in registers */
      Vec8 r[8], s[8], t[8];
      for (int w = 0; w < 8; ++w) __builtin_memcpy(&r[w], a + i + w * lda, sizeof(Vec8));
      for (int w = 0; w < 8; w += 2) {
        s[w]     = SKEAN_SHUFFLE(r[w], r[w + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        s[w + 1] = SKEAN_SHUFFLE(r[w], r[w + 1], 1, 9, 3, 11, 5, 13, 7, 15);
      }
      for (int w = 0; w < 8; w += 4)
        for (int v = 0; v < 2; ++v) {
          t[w + v]     = SKEAN_SHUFFLE(s[w + v], s[w + v + 2], 0, 1, 8, 9, 4, 5, 12, 13);
          t[w + v + 2] = SKEAN_SHUFFLE(s[w + v], s[w + v + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
      Vec8 *out = reinterpret_cast<Vec8 *>(panel + 8 * i);
      for (int w = 0; w < 4; ++w) {
        out[w]     = SKEAN_SHUFFLE(t[w], t[w + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        out[w + 4] = SKEAN_SHUFFLE(t[w], t[w + 4], 4, 5, 6, 7, 12, 13, 14, 15);
      }
    }
    for (; i < rows; ++i)
      for (int w = 0; w < 8; ++w) panel[8 * i + w] = a[i + w * lda];
  } else {
    for (size_t i = 0; i < rows; ++i) {
      for (int w = 0; w < width; ++w) panel[8 * i + w] = a[i + w * lda];
      for (int w = width; w < 8; ++w) panel[8 * i + w] = 0.0;
    }
  }
}

SKEAN_MULTIVERSION static void PackPanelScattered_(const double *SKEAN_RESTRICT a, size_t lda, size_t rows, int width, const std::uint32_t *SKEAN_RESTRICT pos,
                                                   double *SKEAN_RESTRICT panel)
{
  alignas(64) double tile[64];
  for (size_t i0 = 0; i0 < rows; i0 += 8) {
    const size_t n = std::min<size_t>(8, rows - i0);
    for (int w = 0; w < width; ++w)
      for (size_t i = 0; i < n; ++i) tile[8 * i + w] = a[i0 + i + w * lda];
    for (int w = width; w < 8; ++w)
      for (size_t i = 0; i < n; ++i) tile[8 * i + w] = 0.0;
    for (size_t i = 0; i < n; ++i) {
      const std::uint32_t q                   = pos[i0 + i];
      const double        sgn                 = 1.0 - 2.0 * (q & 1u);
      reinterpret_cast<Vec8 *>(panel)[q >> 1] = *reinterpret_cast<Vec8 *>(tile + 8 * i) * sgn;
    }
  }
}

SKEAN_MULTIVERSION static void UnpackPanelAdd_(const double *SKEAN_RESTRICT panel, size_t m, int width, double scale, double *SKEAN_RESTRICT SA)
{
  for (size_t t0 = 0; t0 < m; t0 += 64) {
    const size_t t1 = std::min(t0 + 64, m);
    for (int w = 0; w < width; ++w)
      for (size_t t = t0; t < t1; ++t) SA[t + w * m] += scale * panel[8 * t + w];
  }
}

#define BUTTERFLY(x, y)       \
  do {                        \
    const Vec8 t_ = (x);      \
    (x)           = t_ + (y); \
    (y)           = t_ - (y); \
  } while (0)

/*
   The levels of the transform of len rows that combine rows h apart and more: one pass over them for each three levels (radix 8), then for
   the one or two left. Inlined, so that each machine version of the caller has its own.
*/
__attribute__((always_inline)) static inline void HadamardLevels(Vec8 *x, size_t h, size_t len)
{
  for (; 8 * h <= len; h *= 8)
    for (size_t i = 0; i < len; i += 8 * h)
      for (size_t j = i; j < i + h; ++j) {
        Vec8 a0 = x[j], a1 = x[j + h], a2 = x[j + 2 * h], a3 = x[j + 3 * h], a4 = x[j + 4 * h], a5 = x[j + 5 * h], a6 = x[j + 6 * h], a7 = x[j + 7 * h];
        BUTTERFLY(a0, a1);
        BUTTERFLY(a2, a3);
        BUTTERFLY(a4, a5);
        BUTTERFLY(a6, a7);
        BUTTERFLY(a0, a2);
        BUTTERFLY(a1, a3);
        BUTTERFLY(a4, a6);
        BUTTERFLY(a5, a7);
        BUTTERFLY(a0, a4);
        BUTTERFLY(a1, a5);
        BUTTERFLY(a2, a6);
        BUTTERFLY(a3, a7);
        x[j]         = a0;
        x[j + h]     = a1;
        x[j + 2 * h] = a2;
        x[j + 3 * h] = a3;
        x[j + 4 * h] = a4;
        x[j + 5 * h] = a5;
        x[j + 6 * h] = a6;
        x[j + 7 * h] = a7;
      }
  if (4 * h <= len) {
    for (size_t i = 0; i < len; i += 4 * h)
      for (size_t j = i; j < i + h; ++j) {
        Vec8 a0 = x[j], a1 = x[j + h], a2 = x[j + 2 * h], a3 = x[j + 3 * h];
        BUTTERFLY(a0, a1);
        BUTTERFLY(a2, a3);
        BUTTERFLY(a0, a2);
        BUTTERFLY(a1, a3);
        x[j]         = a0;
        x[j + h]     = a1;
        x[j + 2 * h] = a2;
        x[j + 3 * h] = a3;
      }
  } else if (2 * h <= len) {
    for (size_t i = 0; i < len; i += 2 * h)
      for (size_t j = i; j < i + h; ++j) BUTTERFLY(x[j], x[j + h]);
  }
}
#undef BUTTERFLY

SKEAN_MULTIVERSION static void HadamardPanel_(double *panel, size_t b)
{
  Vec8 *const  x     = reinterpret_cast<Vec8 *>(panel);
  const size_t inner = std::min<size_t>(b, 256); /* 16 kB: these levels are done while the rows are in the first cache */

  for (size_t base = 0; base < b; base += inner) HadamardLevels(x + base, 1, inner);
  HadamardLevels(x, inner, b);
}

/* The machine versions are static and these the only symbols: the compiler exports a multiversioned function whatever its visibility */
void PackPanel(const double *a, size_t lda, size_t rows, int width, double *panel)
{
  PackPanel_(a, lda, rows, width, panel);
}
void PackPanelScattered(const double *a, size_t lda, size_t rows, int width, const std::uint32_t *pos, double *panel)
{
  PackPanelScattered_(a, lda, rows, width, pos, panel);
}
void UnpackPanelAdd(const double *panel, size_t m, int width, double scale, double *SA)
{
  UnpackPanelAdd_(panel, m, width, scale, SA);
}
void HadamardPanel(double *panel, size_t b)
{
  HadamardPanel_(panel, b);
}

} // namespace skean
