/* Communication of columns, and the passes over a sparse cost */
#include "engine.hpp"
#include "../kernels/exp.hpp"
#include <skean/private/reduce.hpp>
#include <algorithm>
#include <cstdint>
#include <cstring>

namespace skean {
namespace transport {

PetscErrorCode RowEngine::Layout(MPI_Comm c, PetscInt nrows, PetscInt ncols)
{
  PetscMPIInt size, rank;
  PetscInt64  in[2] = {nrows, ncols}, before[2] = {0, 0}, tot[2];

  PetscFunctionBegin;
  comm = c;
  n    = nrows;
  mloc = ncols;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Exscan(in, before, 2, MPIU_INT64, MPI_SUM, comm));
  if (!rank) before[0] = before[1] = 0;
  PetscCallMPI(MPI_Allreduce(in, tot, 2, MPIU_INT64, MPI_SUM, comm));
  PetscCheck(tot[1] < (PetscInt64(1) << 31) - 64, comm, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt64_FMT " targets do not fit MPI's counts", tot[1]);
  nglobal = static_cast<PetscInt>(tot[0]);
  m       = static_cast<PetscInt>(tot[1]);
  rlo     = static_cast<PetscInt>(before[0]);
  mlo     = static_cast<PetscInt>(before[1]);
  PetscCallCXX(counts.resize(size));
  PetscCallCXX(displs.assign(size, 0));
  int mine = static_cast<int>(mloc);
  PetscCallMPI(MPI_Allgather(&mine, 1, MPI_INT, counts.data(), 1, MPI_INT, comm));
  for (int r = 1; r < size; ++r) displs[r] = displs[r - 1] + counts[r - 1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode RowEngine::Gather(const double *loc, std::vector<double> &full) const
{
  PetscFunctionBegin;
  PetscCallCXX(full.resize(m));
  PetscCallMPI(MPI_Allgatherv(loc, static_cast<int>(mloc), MPI_DOUBLE, full.data(), counts.data(), displs.data(), MPI_DOUBLE, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode RowEngine::Scatter(std::vector<double> &full, double *loc, MPI_Op op) const
{
  PetscFunctionBegin;
  PetscCallMPI(MPI_Reduce_scatter(full.data(), loc, counts.data(), MPI_DOUBLE, op, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode RowEngine::Agree(PetscErrorCode ierr) const
{
  bool any;

  PetscFunctionBegin;
  PetscCall(AgreeAny(comm, ierr != PETSC_SUCCESS, &any));
  PetscCheck(!any, comm, PETSC_ERR_USER, "The user's cost function returned an error");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Doubles as integers of the same order */
static std::uint64_t OrderedBits(double x)
{
  std::uint64_t u;
  std::memcpy(&u, &x, sizeof(u));
  return u >> 63 ? ~u : u | (std::uint64_t(1) << 63);
}

PetscErrorCode MedianOf(MPI_Comm comm, const std::vector<double> &mine, double *median)
{
  std::vector<std::uint64_t> key(mine.size());
  PetscInt64                 total = static_cast<PetscInt64>(mine.size());
  std::uint64_t              lo = 0, hi = ~std::uint64_t(0);

  PetscFunctionBegin;
  std::transform(mine.begin(), mine.end(), key.begin(), OrderedBits);
  std::sort(key.begin(), key.end());
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &total, 1, MPIU_INT64, MPI_SUM, comm));
  *median = 0;
  if (!total) PetscFunctionReturn(PETSC_SUCCESS);
  /* by bisection, the smallest value that has more than half of them at or below it: nothing is gathered */
  while (lo < hi) {
    const std::uint64_t mid   = lo + (hi - lo) / 2;
    PetscInt64          below = std::upper_bound(key.begin(), key.end(), mid) - key.begin();
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &below, 1, MPIU_INT64, MPI_SUM, comm));
    if (below > total / 2)
      hi = mid;
    else
      lo = mid + 1;
  }
  lo = lo >> 63 ? lo & ~(std::uint64_t(1) << 63) : ~lo;
  std::memcpy(median, &lo, sizeof(lo));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CsrEngine::Fused(double inv, double lam, const double *v, double *u, double *a, double *lb, Keep *keep)
{
  PetscFunctionBegin;
  PetscCall(Gather(v, full));
  PetscCallCXX(acc.assign(m, 0.0));
  PetscCallCXX(K.resize(PetscMax(ja.size(), size_t(1))));
  for (PetscInt i = 0; i < n; ++i) {
    double M = -PETSC_MAX_REAL, s = 0;
    for (PetscInt k = ia[i]; k < ia[i + 1]; ++k) {
      K[k] = full[ja[k]] - inv * ca[k];
      M    = PetscMax(M, K[k]);
    }
    for (PetscInt k = ia[i]; k < ia[i + 1]; ++k) s += (K[k] = FastExp(K[k] - M));
    u[i]           = logr[i] - lam * (M + std::log(s));
    const double t = std::exp(u[i] + M);
    if (a) a[i] = t * s;
    for (PetscInt k = ia[i]; k < ia[i + 1]; ++k) {
      const double p = t * K[k];
      acc[ja[k]] += p;
      if (keep && p > keep->thr) keep->Add(i, ja[k], p);
    }
  }
  ++passes;
  PetscCall(Scatter(acc, lb, MPI_SUM));
  bool rescue = false;
  for (PetscInt j = 0; j < mloc; ++j) rescue = rescue || !(lb[j] > kTiny);
  PetscCall(AgreeAny(comm, rescue, &rescue));
  if (!rescue) {
    for (PetscInt j = 0; j < mloc; ++j) lb[j] = std::log(lb[j]);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  std::vector<double> Mloc(PetscMax(mloc, 1)), M(m, -PETSC_MAX_REAL);
  for (PetscInt i = 0; i < n; ++i)
    for (PetscInt k = ia[i]; k < ia[i + 1]; ++k) M[ja[k]] = PetscMax(M[ja[k]], u[i] - inv * ca[k]);
  PetscCall(Scatter(M, Mloc.data(), MPI_MAX));
  PetscCall(Gather(Mloc.data(), M));
  acc.assign(m, 0.0);
  for (PetscInt i = 0; i < n; ++i)
    for (PetscInt k = ia[i]; k < ia[i + 1]; ++k) acc[ja[k]] += FastExp(u[i] - inv * ca[k] - M[ja[k]]);
  passes += 2;
  PetscCall(Scatter(acc, lb, MPI_SUM));
  for (PetscInt j = 0; j < mloc; ++j) lb[j] = v[j] + Mloc[j] + std::log(lb[j]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CsrEngine::Marginals(double inv, const double *u, const double *v, double *a, double *b, double *cost)
{
  double w = 0;

  PetscFunctionBegin;
  PetscCall(Gather(v, full));
  PetscCallCXX(acc.assign(m, 0.0));
  for (PetscInt i = 0; i < n; ++i) {
    double s = 0;
    for (PetscInt k = ia[i]; k < ia[i + 1]; ++k) {
      const double p = FastExp((u[i] + full[ja[k]]) - inv * ca[k]);
      s += p;
      w += p * ca[k];
      acc[ja[k]] += p;
    }
    if (a) a[i] = s;
  }
  ++passes;
  if (b) PetscCall(Scatter(acc, b, MPI_SUM));
  if (cost) PetscCallMPI(MPI_Allreduce(&w, cost, 1, MPI_DOUBLE, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CsrEngine::Products(double inv, const double *u, const double *v, const double *w, const double *a, const double *z, double *rowout,
                                   double *colout)
{
  PetscFunctionBegin;
  PetscCall(Gather(v, full));
  if (w) PetscCall(Gather(w, full2));
  PetscCallCXX(acc.assign(m, 0.0));
  PetscCallCXX(K.resize(PetscMax(ja.size(), size_t(1))));
  for (PetscInt i = 0; i < n; ++i) {
    double p = 0, zi = z ? z[i] : 0;
    for (PetscInt k = ia[i]; k < ia[i + 1]; ++k) {
      K[k] = FastExp((u[i] + full[ja[k]]) - inv * ca[k]);
      if (w) p += K[k] * full2[ja[k]];
    }
    if (w && rowout) rowout[i] = p;
    if (w && a) zi = p / a[i];
    if (colout)
      for (PetscInt k = ia[i]; k < ia[i + 1]; ++k) acc[ja[k]] += zi * K[k];
  }
  ++passes;
  if (colout) PetscCall(Scatter(acc, colout, MPI_SUM));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CsrEngine::MinCols(const double *x, double *y)
{
  PetscFunctionBegin;
  PetscCallCXX(acc.assign(m, PETSC_MAX_REAL));
  for (PetscInt i = 0; i < n; ++i)
    for (PetscInt k = ia[i]; k < ia[i + 1]; ++k) acc[ja[k]] = PetscMin(acc[ja[k]], ca[k] - x[i]);
  ++passes;
  PetscCall(Scatter(acc, y, MPI_MIN));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CsrEngine::MinRows(const double *y, double *x)
{
  PetscFunctionBegin;
  PetscCall(Gather(y, full));
  for (PetscInt i = 0; i < n; ++i) {
    x[i] = PETSC_MAX_REAL;
    for (PetscInt k = ia[i]; k < ia[i + 1]; ++k) x[i] = PetscMin(x[i], ca[k] - full[ja[k]]);
  }
  ++passes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* a rank-one plan puts mass on forbidden pairs: infinite unless it has no mass */
PetscErrorCode CsrEngine::Bilinear(const double *x, const double *y, double *value)
{
  double sx = 0, sy = 0, in[2], out[2];

  PetscFunctionBegin;
  for (PetscInt i = 0; i < n; ++i) sx += x[i];
  for (PetscInt j = 0; j < mloc; ++j) sy += y[j];
  in[0] = sx;
  in[1] = sy;
  PetscCallMPI(MPI_Allreduce(in, out, 2, MPI_DOUBLE, MPI_SUM, comm));
  *value = out[0] * out[1] > 0 ? PETSC_INFINITY : 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CsrEngine::Entries(double inv, const double *u, const double *v, Keep *keep)
{
  PetscFunctionBegin;
  PetscCall(Gather(v, full));
  keep->Start(keep->thr, keep->top);
  for (PetscInt i = 0; i < n; ++i)
    for (PetscInt k = ia[i]; k < ia[i + 1]; ++k) {
      const double p = FastExp((u[i] + full[ja[k]]) - inv * ca[k]);
      if (p > keep->thr) keep->Add(i, ja[k], p);
    }
  ++passes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where no plan exists the potentials of too small a set of targets fall without bound (Hall's condition, and the dual's ray). So the sets tried
   are J = {v < t} for levels t across the range of v, and I = the sources that may use J alone. */
PetscErrorCode CsrEngine::ProvesInfeasible(const double *v, bool *proof)
{
  constexpr int levels = 64;
  double        lo = PETSC_MAX_REAL, hi = -PETSC_MAX_REAL, mass[2 * levels] = {0};

  PetscFunctionBegin;
  PetscCall(Gather(v, full));
  for (double x : full) {
    lo = PetscMin(lo, x);
    hi = PetscMax(hi, x);
  }
  std::vector<double> top(PetscMax(n, 1), -PETSC_MAX_REAL); /* largest v a source may use */
  for (PetscInt i = 0; i < n; ++i)
    for (PetscInt k = ia[i]; k < ia[i + 1]; ++k) top[i] = PetscMax(top[i], full[ja[k]]);
  for (int l = 0; l < levels; ++l) {
    const double t = lo + (hi - lo) * (l + 0.5) / levels;
    for (PetscInt i = 0; i < n; ++i)
      if (top[i] < t) mass[2 * l] += std::exp(logr[i]);
    for (PetscInt j = 0; j < mloc; ++j)
      if (v[j] < t) mass[2 * l + 1] += std::exp(logc[j]);
  }
  PetscCall(AllreduceSum(comm, mass, 2 * levels));
  *proof = false;
  for (int l = 0; l < levels; ++l) *proof = *proof || mass[2 * l] > mass[2 * l + 1] + 1e-9;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CsrEngine::Scale(double *cmax, double *cmedian)
{
  double mx = 0;

  PetscFunctionBegin;
  for (double c : ca) mx = PetscMax(mx, c);
  PetscCallMPI(MPI_Allreduce(&mx, cmax, 1, MPI_DOUBLE, MPI_MAX, comm));
  if (cmedian) PetscCall(MedianOf(comm, ca, cmedian));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace transport
} // namespace skean
