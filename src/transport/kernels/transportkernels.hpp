/*
   Kernels of optimal transport: costs of tiles of a point cloud, and the streaming passes over them. Free functions on raw arrays.

   A pass works on one row of the plan at a time, K_j = exp(u + v_j - c_j/eps), in the caller's buffer: fill it with costs, exponentiate in
   place and sum, then use it (column sums, products, extraction). One exponential per entry, whatever the pass is for.
*/
#pragma once

#include "avx512.hpp"
#include <petscsys.h>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace skean {
namespace transport {

enum class CostKind { STORED, SQEUCLIDEAN, EUCLIDEAN, L1, LP, COSINE, CALLBACK };

/* Evaluates the costs from one source to ny targets (row major, d numbers each) */
typedef PetscErrorCode (*CostFn)(PetscInt d, const PetscReal x[], PetscInt ny, const PetscReal y[], PetscReal c[], void *ctx);

/* Of vectors whose new entries are not set: what is written at once need not be zeroed first. They start on cache lines. (An aligned block that was given back
   is not found again by the next aligned request of this size, glibc 2.36: so blocks have room for a line more.) */
template <class T>
struct Unset : std::allocator<T> {
  static constexpr size_t kLine = 64;
  T                      *allocate(size_t n)
  {
    char *block = static_cast<char *>(::operator new(n * sizeof(T) + 2 * kLine)), *start = block + kLine;
    start += (kLine - reinterpret_cast<std::uintptr_t>(start) % kLine) % kLine;
    std::memcpy(start - sizeof(block), &block, sizeof(block));
    return reinterpret_cast<T *>(start);
  }
  void deallocate(T *p, size_t) noexcept
  {
    char *block;
    std::memcpy(&block, reinterpret_cast<char *>(p) - sizeof(block), sizeof(block));
    ::operator delete(block);
  }
  template <class U>
  struct rebind {
    typedef Unset<U> other;
  };
  template <class U>
  void construct(U *p) noexcept
  {
    ::new (static_cast<void *>(p)) U;
  }
  template <class U, class A>
  void construct(U *p, A &&a)
  {
    ::new (static_cast<void *>(p)) U(std::forward<A>(a));
  }
};

/* A cost function and its n rows: stored costs, or coordinates of the sources */
struct CostTiles {
  CostKind                           kind = CostKind::STORED;
  PetscInt                           n = 0, d = 0;
  double                             p    = 2;     /* exponent of LP: c = sum_k |x_k - y_k|^p */
  bool                               gemm = false; /* SQEUCLIDEAN, EUCLIDEAN, COSINE: inner products by dgemm on centred coordinates */
  PetscInt                           ldc  = 0;     /* STORED: C[i*ldc + j] */
  std::vector<double, Unset<double>> C;
  bool                               known = false; /* STORED: most is the largest of C */
  double                             most  = 0;
  std::vector<double>                X;  /* X[i*d + k] */
  std::vector<double>                xn; /* gemm: squared norms */
  CostFn                             fn  = nullptr;
  void                              *ctx = nullptr;
  /* coordinates of one point together, as GEMM and a user's function want them, or every coordinate of all points together */
  bool ByPoint() const { return gemm || kind == CostKind::CALLBACK; }
};

/* Columns: coordinates of targets, or (STORED) which columns of C */
struct Columns {
  PetscInt        m    = 0;
  const double   *y    = nullptr; /* ByPoint(): y[j*d + k], otherwise y[k*m + j] */
  const double   *norm = nullptr; /* gemm: squared norms */
  const PetscInt *list = nullptr; /* STORED: column of C, NULL: j itself */
};

/* out[r*ld + j] = c(i0 + r, j0 + j) for 0 <= r < nr, 0 <= j < nc; returns an error only from a user's callback */
PetscErrorCode FillCosts(const CostTiles &T, const Columns &Y, PetscInt i0, PetscInt nr, PetscInt j0, PetscInt nc, double *out, size_t ld);

/* max_j (v_j - inv c_j) */
double MaxOf(PetscInt n, double inv, const double *v, const double *c);
/* min_j (c_j - v_j) */
double MinOf(PetscInt n, const double *v, const double *c);
/* e_q = exp(e_q), returns their sum and adds sum_q e_q c[idx_q] to cost, if that is not NULL */
double ExpSelected(PetscInt n, double *e, const std::int32_t *idx, const double *c, double *cost);
/* y_j = exp(x_j), y_j = log(x_j) of normal x_j > 0; x and y may be the same */
void ExpOf(PetscInt n, const double *x, double *y);
void LogOf(PetscInt n, const double *x, double *y);
/* sum_j w_j x_j y_j, and z_j -= t (x_j + y_j) */
double WeightedDot(PetscInt n, const double *w, const double *x, const double *y);
void   SubtractScaledSum(PetscInt n, double t, const double *x, const double *y, double *z);
/* y_j = min(y_j, c_j - x) and y_j = max(y_j, x - inv c_j) */
void MinInto(PetscInt n, double x, const double *c, double *y);
void MaxInto(PetscInt n, double x, double inv, const double *c, double *y);
/* b += t K */
void   AddScaled(PetscInt n, double t, const double *K, double *b);
double Dot(PetscInt n, const double *x, const double *y);
double MaxValue(PetscInt n, const double *x);
/*
   Bounds over clusters of targets ("tiles"): centre q and half width r of the bounding box, and an affine majorant of the potential,
   g_j - kappa |y_j - q|^2 <= g + z.(y_j - q). Coordinate k of tile t is at [k*ld + t]. kappa = inv for SQEUCLIDEAN, inv/2 for COSINE, else 0.
*/
struct TileSet {
  PetscInt      count = 0;
  size_t        ld    = 0;
  const double *q = nullptr, *r = nullptr, *z = nullptr, *g = nullptr;
};

/* Whether the kind has the bounds below: c(x, y) is a convex function of x - y */
inline bool HasBounds(CostKind kind, double p)
{
  return kind == CostKind::SQEUCLIDEAN || kind == CostKind::EUCLIDEAN || kind == CostKind::L1 || kind == CostKind::COSINE || (kind == CostKind::LP && p >= 1);
}
inline double Kappa(CostKind kind, double inv)
{
  return kind == CostKind::SQEUCLIDEAN ? inv : (kind == CostKind::COSINE ? 0.5 * inv : 0.0);
}

/* Order of points (x[i*d + k]) that makes every run perm[t*2^k*leaf .. (t+1)*2^k*leaf), k >= 0, compact: recursive bisection along the longest side, the
   first half with the largest power of two of leaves that there are more of */
void BisectionOrder(PetscInt d, PetscInt n, const double *x, PetscInt leaf, PetscInt *perm);
/* Bounding box of points (coordinate k of point j at y[j*sj + k*sk]): centre and half width, at [k*ld] */
void BoundingBox(PetscInt d, PetscInt n, const double *y, size_t sj, size_t sk, double *q, double *r, size_t ld);
/* Slope z (at [k*ld]) and constant g of an affine majorant of g_j - kappa |y_j - q|^2: least-squares slope, raised to the largest residual */
void AffineMajorant(PetscInt d, PetscInt n, const double *y, size_t sj, size_t sk, const double *gj, double kappa, const double *q, size_t ld, double *z,
                    double *g);
/*
   out_t >= f_i + g_j - inv c(x_i, y_j) for all i of a cluster of sources and all j of tile t. Sources: box centre x, half widths rx, majorant
   f_i - kappa |x_i - x|^2 <= f + w.(x_i - x); rx NULL: the single point x with potential f. Exact to first order in the widths.
   work: room for 2 count numbers
*/
void TileBounds(CostKind kind, PetscInt d, double p, double inv, const double *x, const double *rx, const double *w, double f, const TileSet &T, double *out,
                double *work);
/* Largest cost between two boxes, for all tiles */
void TileFarthest(CostKind kind, PetscInt d, double p, const double *x, const double *rx, const TileSet &T, double *out);

} // namespace transport
} // namespace skean
