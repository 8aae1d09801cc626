/*
   Kernels of optimal transport: costs of tiles of a point cloud, and the streaming passes over them. Free functions on raw arrays.

   A pass works on one row of the plan at a time, K_j = exp(u + v_j - c_j/eps), in the caller's buffer: fill it with costs, exponentiate in
   place and sum, then use it (column sums, products, extraction). One exponential per entry, whatever the pass is for.
*/
#pragma once

#include <petscsys.h>
#include <vector>

namespace skean {
namespace transport {

enum class CostKind { STORED, SQEUCLIDEAN, EUCLIDEAN, L1, LP, COSINE, CALLBACK };

/* Evaluates the costs from one source to ny targets (row major, d numbers each) */
typedef PetscErrorCode (*CostFn)(PetscInt d, const PetscReal x[], PetscInt ny, const PetscReal y[], PetscReal c[], void *ctx);

/* n x m costs: stored by rows, or coordinates they are computed from */
struct CostTiles {
  CostKind            kind = CostKind::STORED;
  PetscInt            n = 0, m = 0, d = 0;
  double              p    = 2;     /* exponent of LP: c = sum_k |x_k - y_k|^p */
  bool                gemm = false; /* SQEUCLIDEAN, COSINE: inner products by dgemm on centred coordinates */
  std::vector<double> C;            /* STORED: C[i*m + j] */
  std::vector<double> X;            /* X[i*d + k] */
  std::vector<double> Y;            /* Y[k*m + j] */
  std::vector<double> Yrow;         /* Y[j*d + k], for CALLBACK and gemm */
  std::vector<double> xn, yn;       /* gemm: squared norms; COSINE: not used (points are normalised) */
  CostFn              fn  = nullptr;
  void               *ctx = nullptr;
};

/* out[r*ld + j] = c(i0 + r, j0 + j) for 0 <= r < nr, 0 <= j < nc; returns an error only from a user's callback */
PetscErrorCode FillCosts(const CostTiles &T, PetscInt i0, PetscInt nr, PetscInt j0, PetscInt nc, double *out, size_t ld);

/* K_j = exp(u + v_j - inv K_j) in place; returns the sum of K */
double ExpSum(PetscInt n, double u, double inv, const double *v, double *K);
/* The same, and adds sum_j K_j c_j to cost */
double ExpSumCost(PetscInt n, double u, double inv, const double *v, double *K, double *cost);
/* max_j (v_j - inv c_j) */
double MaxOf(PetscInt n, double inv, const double *v, const double *c);
/* min_j (c_j - v_j) */
double MinOf(PetscInt n, const double *v, const double *c);
/* y_j = min(y_j, c_j - x) and y_j = max(y_j, x - inv c_j) */
void MinInto(PetscInt n, double x, const double *c, double *y);
void MaxInto(PetscInt n, double x, double inv, const double *c, double *y);
/* b += t K */
void   AddScaled(PetscInt n, double t, const double *K, double *b);
double Dot(PetscInt n, const double *x, const double *y);
double MaxValue(PetscInt n, const double *x);
/* Writes the j with K_j > thr (in ascending order) to idx (room for n) and returns how many */
PetscInt Select(PetscInt n, const double *K, double thr, PetscInt *idx);
/* Morton code of a point in the box lo..hi, 63/d bits per coordinate */
PetscInt64 MortonCode(PetscInt d, const double *x, const double *lo, const double *hi);

} // namespace transport
} // namespace skean
