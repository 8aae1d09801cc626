#include "gridlse.hpp"
#include "exp.hpp"
#include <skean/private/skeanimpl.h>
#include <petscblaslapack.h>
#include <algorithm>
#include <cmath>

namespace skean {
namespace transport {

static constexpr double   kMaxVariation = 620.0; /* exp(620 - 707) = 2e-38 */
static constexpr double   kSkip         = 45.0;
static constexpr PetscInt kBlock = 64, kSmallBlock = 16;

void LineLSE::SetUp(PetscInt n, double inv, const double *cost, bool weighted)
{
  n_        = n;
  inv_      = inv;
  cost_     = cost;
  weighted_ = weighted;
  slow_     = 0;
  /* the largest block for which no pair of blocks varies too much, but not so small that GEMM starves */
  for (bs_ = kBlock;; bs_ /= 2) {
    nb_ = (n + bs_ - 1) / bs_;
    kmin_.assign(static_cast<size_t>(nb_) * nb_, PETSC_MAX_REAL);
    var_.assign(static_cast<size_t>(nb_) * nb_, 0.0);
    for (PetscInt i = 0; i < n; ++i) {
      double *lo = kmin_.data() + (i / bs_) * nb_, *hi = var_.data() + (i / bs_) * nb_;
      for (PetscInt j = 0; j < n; ++j) {
        const double c = inv * cost[static_cast<size_t>(i) * n + j];
        lo[j / bs_]    = std::min(lo[j / bs_], c);
        hi[j / bs_]    = std::max(hi[j / bs_], c);
      }
    }
    double worst = 0;
    for (size_t q = 0; q < var_.size(); ++q) worst = std::max(worst, var_[q] -= kmin_[q]);
    if (worst <= kMaxVariation || bs_ <= kSmallBlock) break;
  }
  K_.resize(static_cast<size_t>(n) * n);
  for (PetscInt i = 0; i < n; ++i)
    for (PetscInt j = 0; j < n; ++j) {
      const double c                     = cost[static_cast<size_t>(i) * n + j];
      K_[static_cast<size_t>(i) * n + j] = (weighted ? c : 1.0) * FastExp(kmin_[(i / bs_) * nb_ + j / bs_] - inv * c);
    }
}

/* M = the largest entries of a block of the lines, E = exp(in - M) */
SKEAN_MULTIVERSION static void ExpBlock(PetscInt nj, PetscInt nr, const double *in, double *M, double *E)
{
  for (PetscInt r = 0; r < nr; ++r) M[r] = kLogZero;
  for (PetscInt j = 0; j < nj; ++j)
    for (PetscInt r = 0; r < nr; ++r) M[r] = in[j * nr + r] > M[r] ? in[j * nr + r] : M[r];
  for (PetscInt j = 0; j < nj; ++j)
    for (PetscInt r = 0; r < nr; ++r) E[j * nr + r] = in[j * nr + r] > 0.5 * kLogZero ? FastExp(in[j * nr + r] - M[r]) : 0.0;
}

/* T = max(T, M - k) */
SKEAN_MULTIVERSION static void Raise(PetscInt nr, double k, const double *M, double *T)
{
  for (PetscInt r = 0; r < nr; ++r) T[r] = M[r] - k > T[r] ? M[r] - k : T[r];
}

/* Can a block add to the sum of any line and row, which is exp(L) at least? */
SKEAN_MULTIVERSION static bool Matters(PetscInt nr, double k, const double *M, const double *L)
{
  double top = kLogZero;
#pragma omp simd reduction(max : top)
  for (PetscInt r = 0; r < nr; ++r) {
    const double t = M[r] > 0.5 * kLogZero ? M[r] - k - L[r] : kLogZero;
    top            = t > top ? t : top;
  }
  return top >= -kSkip;
}

SKEAN_MULTIVERSION static double LargestDifference(PetscInt nr, const double *T, const double *L)
{
  double top = 0;
#pragma omp simd reduction(max : top)
  for (PetscInt r = 0; r < nr; ++r) {
    const double t = L[r] > 0.5 * kLogZero ? T[r] - L[r] : 0.0;
    top            = t > top ? t : top;
  }
  return top;
}

/* W = E exp(M - k - T), row by row */
SKEAN_MULTIVERSION static void ScaleBlock(PetscInt nj, PetscInt nr, double k, const double *M, const double *T, double *f, const double *E, double *W)
{
  for (PetscInt r = 0; r < nr; ++r) f[r] = M[r] > 0.5 * kLogZero ? FastExp(M[r] - k - T[r]) : 0.0;
  for (PetscInt j = 0; j < nj; ++j)
    for (PetscInt r = 0; r < nr; ++r) W[j * nr + r] = f[r] * E[j * nr + r];
}

SKEAN_MULTIVERSION static void LogBlock(PetscInt ni, PetscInt nr, const double *T, const double *O, double *out)
{
  for (PetscInt i = 0; i < ni; ++i)
    for (PetscInt r = 0; r < nr; ++r) out[i * nr + r] = O[i * nr + r] > 0.0 ? T[r] + std::log(O[i * nr + r]) : kLogZero;
}

/* Rows i0 <= i < i1 in logarithms */
SKEAN_MULTIVERSION static void LogRows(PetscInt n, PetscInt nr, PetscInt i0, PetscInt i1, double inv, const double *cost, bool weighted, const double *in,
                                       double *M, double *out)
{
  for (PetscInt i = i0; i < i1; ++i) {
    const double *c = cost + static_cast<size_t>(i) * n;
    double       *o = out + static_cast<size_t>(i) * nr;
    for (PetscInt r = 0; r < nr; ++r) M[r] = kLogZero;
    for (PetscInt j = 0; j < n; ++j)
      for (PetscInt r = 0; r < nr; ++r) {
        const double t = in[j * nr + r] - inv * c[j];
        M[r]           = t > M[r] ? t : M[r];
      }
    for (PetscInt r = 0; r < nr; ++r) o[r] = 0;
    for (PetscInt j = 0; j < n; ++j) {
      const double w = weighted ? c[j] : 1.0;
      for (PetscInt r = 0; r < nr; ++r) o[r] += w * FastExp(in[j * nr + r] - inv * c[j] - M[r]);
    }
    for (PetscInt r = 0; r < nr; ++r) o[r] = M[r] > 0.5 * kLogZero && o[r] > 0.0 ? M[r] + std::log(o[r]) : kLogZero;
  }
}

void LineLSE::Apply(PetscInt nr, const double *in, double *out)
{
  const size_t nn = static_cast<size_t>(n_) * nr, step = static_cast<size_t>(bs_) * nr;

  E_.resize(nn);
  W_.resize(nn);
  O_.resize(step);
  M_.resize(static_cast<size_t>(nb_) * nr);
  T_.resize(3 * static_cast<size_t>(nr));
  double *const T = T_.data(), *const L = T + nr, *const f = L + nr;
  const double *const M    = M_.data();
  auto                size = [&](PetscInt B) { return std::min(bs_, n_ - B * bs_); };

  for (PetscInt B = 0; B < nb_; ++B) ExpBlock(size(B), nr, in + B * step, M_.data() + B * nr, E_.data() + B * step);
  for (PetscInt I = 0; I < nb_; ++I) {
    const PetscInt i0 = I * bs_, ni = size(I);
    const double  *k = kmin_.data() + static_cast<size_t>(I) * nb_, *var = var_.data() + static_cast<size_t>(I) * nb_;
    std::fill(T, T + 2 * nr, kLogZero);
    for (PetscInt B = 0; B < nb_; ++B) {
      Raise(nr, k[B], M + B * nr, T);
      Raise(nr, k[B] + var[B], M + B * nr, L);
    }
    if (LargestDifference(nr, T, L) > kMaxVariation) {
      slow_ += ni;
      LogRows(n_, nr, i0, i0 + ni, inv_, cost_, weighted_, in, f, out);
      continue;
    }
    /* one GEMM for each run of blocks that matter, by columns: O (nr x ni) += W (nr x nj) K' (nj x ni) */
    double beta = 0.0;
    for (PetscInt B = 0; B < nb_;) {
      const PetscInt B0 = B;
      for (; B < nb_ && Matters(nr, k[B], M + B * nr, L); ++B) ScaleBlock(size(B), nr, k[B], M + B * nr, T, f, E_.data() + B * step, W_.data() + B * step);
      if (B > B0) {
        const PetscInt     j0    = B0 * bs_;
        const PetscBLASInt lines = static_cast<PetscBLASInt>(nr), rows = static_cast<PetscBLASInt>(ni),
                           cols = static_cast<PetscBLASInt>(std::min(B * bs_, n_) - j0), ld = static_cast<PetscBLASInt>(n_);
        const double one = 1.0;
        BLASgemm_("N", "N", &lines, &rows, &cols, &one, W_.data() + B0 * step, &lines, K_.data() + static_cast<size_t>(i0) * n_ + j0, &ld, &beta, O_.data(),
                  &lines);
        beta = 1.0;
      } else
        ++B;
    }
    if (beta == 0.0) std::fill_n(O_.begin(), static_cast<size_t>(ni) * nr, 0.0);
    LogBlock(ni, nr, T, O_.data(), out + static_cast<size_t>(i0) * nr);
  }
}

SKEAN_MULTIVERSION void LineMax(PetscInt n, PetscInt nr, double inv, const double *cost, const double *in, double *out)
{
  for (PetscInt i = 0; i < n; ++i) {
    const double *c = cost + static_cast<size_t>(i) * n;
    double       *o = out + static_cast<size_t>(i) * nr;
    for (PetscInt r = 0; r < nr; ++r) o[r] = kLogZero;
    for (PetscInt j = 0; j < n; ++j) {
      const double  s = inv * c[j];
      const double *x = in + static_cast<size_t>(j) * nr;
      for (PetscInt r = 0; r < nr; ++r) o[r] = x[r] - s > o[r] ? x[r] - s : o[r];
    }
  }
}

} // namespace transport
} // namespace skean
