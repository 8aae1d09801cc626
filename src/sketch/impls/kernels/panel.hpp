/*
   Panels: 8 columns of a block of rows, stored by rows (row i at p + 8 i), 64-byte aligned, so that one row is one vector of 8 doubles and every
   kernel of the sketches works on whole vectors whatever the column stride of A is.
*/
#pragma once

#include <skean/private/skeanimpl.h>
#include <skean/private/rowblock.hpp>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace skean {

constexpr int PanelWidth = 8;

/* 8 doubles; lowered by the compiler to what the machine version at hand has */
typedef double Vec8 __attribute__((vector_size(64), aligned(64), may_alias));

/* Uninitialised array on a 64-byte boundary */
template <class T>
class AlignedArray {
public:
  AlignedArray() = default;
  explicit AlignedArray(size_t n) : p(static_cast<T *>(std::aligned_alloc(64, (n * sizeof(T) + 64) / 64 * 64))), n(n)
  {
    if (!p) throw std::bad_alloc();
  }
  AlignedArray(AlignedArray &&o) noexcept : p(o.p), n(o.n) { o.p = nullptr; }
  AlignedArray &operator=(AlignedArray &&o) noexcept
  {
    std::swap(p, o.p);
    std::swap(n, o.n);
    return *this;
  }
  AlignedArray(const AlignedArray &)            = delete;
  AlignedArray &operator=(const AlignedArray &) = delete;
  ~AlignedArray() { std::free(p); }
  T       *data() noexcept { return p; }
  const T *data() const noexcept { return p; }
  size_t   size() const noexcept { return n; }
  T       &operator[](size_t i) noexcept { return p[i]; }
  const T &operator[](size_t i) const noexcept { return p[i]; }

private:
  T     *p = nullptr;
  size_t n = 0;
};

/* panel(i, w) = a[i + w lda] for i < rows, w < width <= 8; zero for the other w */
void PackPanel(const double *a, size_t lda, size_t rows, int width, double *panel);
/* panel(pos[i] >> 1, w) = (-1)^{pos[i] & 1} a[i + w lda]; the other rows of the panel are left alone, the other w zeroed */
void PackPanelScattered(const double *a, size_t lda, size_t rows, int width, const std::uint32_t *pos, double *panel);
/* SA(t, w) += scale panel(t, w), with SA column major, leading dimension m */
void UnpackPanelAdd(const double *panel, size_t m, int width, double scale, double *SA);

/* In place x <- H_b x for the b x 8 panel, b a power of two, H the +-1 Walsh-Hadamard matrix H[i][j] = (-1)^{popcount(i & j)} */
void HadamardPanel(double *panel, size_t b);

} // namespace skean
