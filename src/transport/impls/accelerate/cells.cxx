#include "cells.hpp"
#include <skean/private/reduce.hpp>
#include <petscblaslapack.h>

namespace skean {
namespace transport {

PetscErrorCode CellCorrection::SetUp(Engine *e)
{
  PetscFunctionBegin;
  factored = failed = false;
  PetscCall(e->GetCells(kMost, &cells));
  if (cells.count < 4) cells.count = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

Cells *CellCorrection::Wanted(double err)
{
  if (!Exists() || failed || !(err < kFar) || (factored && err > 0.1 * at)) return NULL;
  return &cells;
}

/* R(H), whose diagonal makes the rows vanish as they do exactly, made definite by the masses: the right-hand sides have no sum, so that the solutions are
   those without it */
PetscErrorCode CellCorrection::Factor(const Work *w)
{
  const size_t        k = static_cast<size_t>(cells.count);
  std::vector<double> sum(k, 0.0);
  PetscBLASInt        n = static_cast<PetscBLASInt>(k), info = 0;
  double              total = 0;

  PetscFunctionBegin;
  at        = w->err;
  double *A = cells.gram.data();
  for (size_t q = 0; q < k; ++q)
    for (size_t p = 0; p <= q; ++p) {
      const double g = A[q * k + p];
      sum[q] += g;
      if (p < q) sum[p] += g;
    }
  for (double s : sum) total += s;
  for (size_t q = 0; q < k; ++q) {
    for (size_t p = 0; p <= q; ++p) A[q * k + p] = sum[p] * sum[q] / total - A[q * k + p];
    A[q * k + q] += sum[q] * (1 + 1e-12);
  }
  LAPACKpotrf_("U", &n, A, &n, &info);
  factored = info == 0;
  failed   = !factored; /* the same numbers on all processes */
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CellCorrection::Get(const Work *w, const double **out)
{
  PetscBLASInt n = static_cast<PetscBLASInt>(cells.count), one = 1, info = 0;

  PetscFunctionBegin;
  *out = NULL;
  if (!factored) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallCXX(x.assign(cells.count, 0.0));
  PetscCallCXX(more.resize(PetscMax(cells.of.size(), size_t(1))));
  for (size_t j = 0; j < cells.of.size(); ++j) x[cells.of[j]] += w->c[j] - w->b[j];
  PetscCall(AllreduceSum(w->eng->comm, x.data(), x.size()));
  LAPACKpotrs_("U", &n, &one, cells.gram.data(), &n, x.data(), &n, &info);
  for (size_t j = 0; j < cells.of.size(); ++j) more[j] = x[cells.of[j]];
  *out = more.data();
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace transport
} // namespace skean
