#include "schur.hpp"
#include <skean/private/skeanimpl.h>
#include <petscblaslapack.h>
#include <algorithm>
#include <cmath>

namespace skean {
namespace transport {

PetscErrorCode SchurComplement(PetscInt ne, PetscInt nk, const size_t *ia, const PetscInt *ja, const double *s, const double *de, const double *dk, bool dense,
                               double *M)
{
  const size_t ld = static_cast<size_t>(nk);

  PetscFunctionBegin;
  std::fill(M, M + ld * ld, 0.0);
  if (dense) {
    constexpr PetscInt  block = 256;
    std::vector<double> W; /* S scaled by de^-1/2, a block of rows by rows: nk x block by columns */
    PetscCallCXX(W.resize(ld * block));
    for (PetscInt e0 = 0; e0 < ne; e0 += block) {
      const PetscInt     nb    = PetscMin(block, ne - e0);
      const double       minus = -1.0, one = 1.0;
      const PetscBLASInt bk = static_cast<PetscBLASInt>(nk), bb = static_cast<PetscBLASInt>(nb);

      std::fill(W.begin(), W.begin() + ld * nb, 0.0);
      for (PetscInt e = 0; e < nb; ++e) {
        const double t = 1.0 / std::sqrt(de[e0 + e]);
        for (size_t q = ia[e0 + e]; q < ia[e0 + e + 1]; ++q) W[e * ld + ja[q]] = t * s[q];
      }
      BLASsyrk_("U", "N", &bk, &bb, &minus, W.data(), &bk, &one, M, &bk);
    }
  } else {
    for (PetscInt e = 0; e < ne; ++e) {
      const double t = -1.0 / de[e];
      for (size_t q = ia[e]; q < ia[e + 1]; ++q) {
        double      *col = M + ja[q] * ld;
        const double p   = t * s[q];
        for (size_t r = ia[e]; r <= q; ++r) col[ja[r]] += p * s[r];
      }
    }
  }
  for (PetscInt k = 0; k < nk; ++k) M[k * ld + k] += dk[k];
  PetscFunctionReturn(PETSC_SUCCESS);
}

void SchurApply(PetscInt ne, PetscInt nk, const size_t *ia, const PetscInt *ja, const double *s, const double *de, const double *dk, const double *x, double *y)
{
  for (PetscInt k = 0; k < nk; ++k) y[k] = dk[k] * x[k];
  for (PetscInt e = 0; e < ne; ++e) {
    double t = 0;
    for (size_t q = ia[e]; q < ia[e + 1]; ++q) t += s[q] * x[ja[q]];
    t /= de[e];
    for (size_t q = ia[e]; q < ia[e + 1]; ++q) y[ja[q]] -= s[q] * t;
  }
}

void SchurDiagonal(PetscInt ne, PetscInt nk, const size_t *ia, const PetscInt *ja, const double *s, const double *de, const double *dk, double *d)
{
  std::copy(dk, dk + nk, d);
  for (PetscInt e = 0; e < ne; ++e)
    for (size_t q = ia[e]; q < ia[e + 1]; ++q) d[ja[q]] -= s[q] * s[q] / de[e];
}

void SortEntries(PetscInt lo, PetscInt n, PetscInt m, std::vector<Entry> &x, std::vector<size_t> &ptr)
{
  const bool sorted = std::is_sorted(x.begin(), x.end(), [](const Entry &a, const Entry &b) { return a.row < b.row || (a.row == b.row && a.col < b.col); });
  std::vector<Entry>  y;
  std::vector<size_t> at;

  if (!sorted) {
    y.resize(x.size());
    at.assign(static_cast<size_t>(m) + 1, 0);
    for (const Entry &e : x) ++at[e.col + 1];
    for (PetscInt j = 0; j < m; ++j) at[j + 1] += at[j];
    for (const Entry &e : x) y[at[e.col]++] = e;
  }
  ptr.assign(static_cast<size_t>(n) + 1, 0);
  for (const Entry &e : x) ++ptr[e.row - lo + 1];
  for (PetscInt i = 0; i < n; ++i) ptr[i + 1] += ptr[i];
  if (sorted) return;
  at.assign(ptr.begin(), ptr.end());
  for (const Entry &e : y) x[at[e.row - lo]++] = e;
}

} // namespace transport
} // namespace skean
