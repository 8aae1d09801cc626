#include "anderson.hpp"
#include "../../kernels/transportkernels.hpp"
#include <skean/private/reduce.hpp>
#include <petscblaslapack.h>

namespace skean {
namespace transport {

PetscErrorCode Anderson::Next(Work *w, const double *more)
{
  const Engine  *e = w->eng.get();
  const size_t   n = static_cast<size_t>(e->mloc), ld = static_cast<size_t>(window);
  const PetscInt at    = head;
  auto           Inner = [&](const std::vector<double> &x, const std::vector<double> &y) { return WeightedDot(e->mloc, w->c.data(), x.data(), y.data()); };

  PetscFunctionBegin;
  PetscCallCXX(dv.resize(ld));
  PetscCallCXX(ds.resize(ld));
  PetscCallCXX(gram.resize(ld * ld));
  PetscCallCXX(v.resize(n));
  PetscCallCXX(s.resize(n));
  if (has) {
    PetscCallCXX(dv[at].resize(n));
    PetscCallCXX(ds[at].resize(n));
    head  = (at + 1) % window;
    count = PetscMin(count + 1, window);
  }
  for (size_t j = 0; j < n; ++j) {
    const double step = w->logc[j] - w->lb[j] + (more ? more[j] : 0.0);
    if (has) {
      dv[at][j] = w->v[j] - v[j];
      ds[at][j] = step - s[j];
    }
    v[j] = w->v[j];
    s[j] = step;
  }
  for (size_t j = 0; j < n; ++j) w->v[j] = v[j] + s[j];
  if (!has) {
    has = true;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* the new row of the Gram matrix and the right-hand side, in one sum */
  std::vector<double> sums(2 * static_cast<size_t>(count));
  for (PetscInt q = 0; q < count; ++q) {
    sums[q]         = Inner(ds[at], ds[q]);
    sums[count + q] = Inner(ds[q], s);
  }
  PetscCall(AllreduceSum(e->comm, sums.data(), sums.size()));
  for (PetscInt q = 0; q < count; ++q) gram[at * ld + q] = gram[q * ld + at] = sums[q];
  /* scaled to a unit diagonal; the ridge bounds the coefficients where differences are dependent to rounding */
  std::vector<double> A(static_cast<size_t>(count) * count), x(count), scale(count);
  bool                good = true;
  for (PetscInt q = 0; q < count; ++q) {
    const double d = gram[q * ld + q];
    good           = good && d > 0 && std::isfinite(d);
    scale[q]       = d > 0 ? 1 / std::sqrt(d) : 0.0;
    x[q]           = scale[q] * sums[count + q];
  }
  for (PetscInt q = 0; q < count; ++q)
    for (PetscInt p = 0; p < count; ++p) A[q * count + p] = scale[p] * scale[q] * gram[q * ld + p] + (p == q ? 1e-12 : 0.0);
  PetscBLASInt nb = static_cast<PetscBLASInt>(count), one = 1, info = 0;
  if (good) LAPACKpotrf_("U", &nb, A.data(), &nb, &info);
  if (good && info == 0) LAPACKpotrs_("U", &nb, &one, A.data(), &nb, x.data(), &nb, &info);
  if (!good || info != 0) { /* dependent: start again from here */
    count = head = 0;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt q = 0; q < count; ++q) SubtractScaledSum(e->mloc, scale[q] * x[q], dv[q].data(), ds[q].data(), w->v.data());
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace transport
} // namespace skean
