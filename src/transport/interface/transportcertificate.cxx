/* Bounds of the unregularised cost, from the potentials of the answer */
#include "../impls/newton/newton.hpp"
#include <skean/private/reduce.hpp>
#include <skean/private/rowblock.hpp>
#include <algorithm>

using namespace skean;
using namespace skean::transport;

namespace {
/* Without a gap that was asked for, only where it promises something: a plan that has no more entries that count (the exponential of its entropy) than a few
   times as many as a vertex of the transport polytope, and bounds that are not hopelessly apart; for smaller epsilons, that one or two will bring close enough */
constexpr PetscReal kFew = 4.0, kHopeless = 0.05, kClose = 8.0;
constexpr double    kDropped = 1e-6;                   /* entries of the plan that the extrapolation leaves out, relative to the mean mass of a row */
constexpr double    kEntries = 6e6, kPerUnknown = 150; /* more entries, over all processes, are not worth a system */
constexpr PetscInt  kOneProcess = 2500;                /* unknowns of a system that one process may solve, as in type ssns */
} // namespace

/* Whether no pair of points can cost less than nothing: then neither can any plan. A penalty for forbidden pairs, and the free row and
   column of partial transport, are no less */
static PetscErrorCode CostsAreNonNegative(SkeanTransport t, bool *yes)
{
  RowBlock block;
  bool     negative = false;

  PetscFunctionBegin;
  *yes = !(t->X && t->costtype == SKEAN_TRANSPORT_COST_USER);
  if (t->C) {
    PetscCall(block.Open(t->C));
    const RowView &A = block.View();
    for (PetscInt j = 0; A.IsDense() && j < A.ncols; ++j)
      for (PetscInt i = 0; i < A.nrows; ++i) negative = negative || A.dense[i + static_cast<size_t>(j) * static_cast<size_t>(A.lda)] < 0;
    for (int p = 0; p < A.nparts; ++p)
      for (PetscInt k = 0; A.nrows && k < A.part[p].i[A.nrows]; ++k) negative = negative || A.part[p].a[k] < 0;
    PetscCall(block.Restore());
    PetscCall(AgreeAny(PetscObjectComm((PetscObject)t), negative, &negative));
    *yes = !negative;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   The value of the dual of the unregularised problem at y_j = min_i (c_ij - x_i), x_i = min_j (c_ij - y_j). On entry x: potentials of the rows; y: bounds
   of those minima from above; on return what has become of them.
   sum_j P_ij = a_i with P_ij = r_i c_j exp((f_i + g_j - c_ij)/eps) and sum c = 1, so some c_ij - g_j is at most f_i - eps log(a_i/r_i), and y is not below g by
   more than `over`: that bounds the second minimum. Sums that left something out are no larger than the true ones, which only weakens the bound.
*/
static PetscErrorCode DualValue(SkeanTransport t, std::vector<double> &x, std::vector<double> &y, PetscReal *value)
{
  Work        *w     = static_cast<Work *>(t->work);
  Engine      *e     = w->eng.get();
  const double spare = 1e-12 * w->cmax;
  double       over = -PETSC_MAX_REAL, sum = 0;

  PetscFunctionBegin;
  PetscCall(e->MinCols(x.data(), y.data()));
  for (PetscInt j = 0; j < e->mloc; ++j) over = PetscMax(over, w->epsnow * (w->v[j] - w->logc[j]) - y[j]);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &over, 1, MPI_DOUBLE, MPI_MAX, e->comm));
  for (PetscInt i = 0; i < e->n; ++i) x[i] = w->epsnow * (w->u[i] - std::log(w->a[i])) + over + spare;
  PetscCall(e->MinRows(y.data(), x.data()));
  for (PetscInt i = 0; i < e->n; ++i) sum += w->r[i] * x[i];
  for (PetscInt j = 0; j < e->mloc; ++j) sum += w->c[j] * y[j];
  PetscCall(AllreduceSum(e->comm, &sum, 1));
  *value = w->massr * sum;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   Upper bound: the plan rounded to the marginals (Altschuler, Weed and Rigollet, NeurIPS 2017, Algorithm 2): rows scaled by min(1, r/a), columns
   by min(1, c/b), and the missing mass added as a rank-one plan, which is never formed.
   Lower bound: y_j = min_i (c_ij - f_i), x_i = min_j (c_ij - y_j) satisfy x_i + y_j <= c_ij, so r.x + c.y is a value of the dual of the
   unregularised problem. y: on return the y_j.
*/
static PetscErrorCode Certify(SkeanTransport t, std::vector<double> &y, PetscReal *lower, PetscReal *upper)
{
  Work               *w   = static_cast<Work *>(t->work);
  Engine             *e   = w->eng.get();
  const double        inv = 1.0 / w->epsnow;
  std::vector<double> u2, a2, b2, er, ec;
  double              cost, rank1 = 0, s[2] = {0, 0};

  PetscFunctionBegin;
  PetscCall(PetscLogEventBegin(SKEAN_Transport_Certificate, t, 0, 0, 0));
  PetscCallCXX(u2 = w->u);
  PetscCallCXX(y = w->v);
  PetscCallCXX(a2.resize(w->u.size()));
  PetscCallCXX(b2.resize(w->v.size()));
  PetscCallCXX(er.resize(w->u.size()));
  PetscCallCXX(ec.resize(w->v.size()));
  for (PetscInt i = 0; i < e->n; ++i) u2[i] += std::log(PetscMin(1.0, w->r[i] / w->a[i]));
  PetscCall(e->Marginals(inv, u2.data(), y.data(), NULL, b2.data(), NULL));
  for (PetscInt j = 0; j < e->mloc; ++j) y[j] += std::log(PetscMin(1.0, w->c[j] / b2[j]));
  PetscCall(e->Marginals(inv, u2.data(), y.data(), a2.data(), b2.data(), &cost));
  for (PetscInt i = 0; i < e->n; ++i) s[0] += er[i] = PetscMax(0.0, w->r[i] - a2[i]);
  for (PetscInt j = 0; j < e->mloc; ++j) s[1] += ec[j] = PetscMax(0.0, w->c[j] - b2[j]);
  PetscCall(AllreduceSum(e->comm, s, 2));
  const double missing = PetscMax(s[0], s[1]); /* equal but for rounding */
  /* a forbidden pair makes the rank-one part impossible; missing mass at the level of rounding is no obstacle */
  if (missing > (e->Forbids() ? 1e-14 : 0.0)) {
    PetscCall(e->Bilinear(er.data(), ec.data(), &rank1));
    rank1 /= missing;
  }
  /* what Marginals() left out is no part of the plan that was rounded, but for the last scaling, which may have left out other entries */
  *upper = w->massr * (cost + rank1 + e->Skipped() * w->cmax);
  for (PetscInt i = 0; i < e->n; ++i) u2[i] = w->epsnow * (w->u[i] - w->logr[i]);
  /* as in DualValue(): some c_ij - f_i is at most g_j - eps log(b_j/c_j) */
  const double spare = 1e-12 * w->cmax;
  for (PetscInt j = 0; j < e->mloc; ++j) y[j] = w->epsnow * (w->v[j] - std::log(w->b[j])) + spare;
  PetscCall(DualValue(t, u2, y, lower));
  if (*lower < 0 && *upper > *lower) { /* the dual point may be far off where the optimum is small against the largest cost */
    bool nonnegative;
    PetscCall(CostsAreNonNegative(t, &nonnegative));
    if (nonnegative) *lower = PetscMin(0.0, *upper);
  }
  PetscCall(PetscLogEventEnd(SKEAN_Transport_Certificate, t, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sums over the columns of values that belong to entries of the plan on all processes: to[j] += sum of value[k] over the k with column[k] = j */
static PetscErrorCode SumByColumn(const Engine *e, const std::vector<PetscInt> &column, const std::vector<double> &value, std::vector<double> &to)
{
  PetscLayout           map;
  PetscSF               sf;
  std::vector<PetscInt> used;
  std::vector<double>   sum;

  PetscFunctionBegin;
  PetscCallCXX(used = column);
  std::sort(used.begin(), used.end());
  used.erase(std::unique(used.begin(), used.end()), used.end());
  PetscCallCXX(sum.assign(PetscMax(used.size(), size_t(1)), 0.0));
  for (size_t k = 0; k < column.size(); ++k) sum[std::lower_bound(used.begin(), used.end(), column[k]) - used.begin()] += value[k];
  PetscCall(PetscLayoutCreateFromSizes(e->comm, e->mloc, PETSC_DETERMINE, 1, &map));
  PetscCall(PetscSFCreate(e->comm, &sf));
  PetscCall(PetscSFSetGraphLayout(sf, map, static_cast<PetscInt>(used.size()), NULL, PETSC_OWN_POINTER, used.data()));
  PetscCall(PetscSFReduceBegin(sf, MPI_DOUBLE, sum.data(), to.data(), MPI_SUM));
  PetscCall(PetscSFReduceEnd(sf, MPI_DOUBLE, sum.data(), to.data(), MPI_SUM));
  PetscCall(PetscSFDestroy(&sf));
  PetscCall(PetscLayoutDestroy(&map));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   A better lower bound: potentials extrapolated to epsilon = 0. At an epsilon below the distance between the costs of the vertices of the transport
   polytope they are a straight line in epsilon, but for what is exponentially small (Cominetti and San Martin, Math. Programming 67 (1994)). With
   x_i + y_j = c_ij + eps log P_ij the derivative solves a system with the matrix of Newton's method,
     sum_j P_ij (x'_i + y'_j) = sum_j P_ij log P_ij, and the same over i,
   so x - eps x' and y - eps y' are the least-squares fit of x_i + y_j = c_ij over the pairs, with the plan as weight: exact where some solution of the dual
   is. Whatever comes out, its transforms are feasible. y: on entry the transforms of the answer's own potentials.
*/
static PetscErrorCode Extrapolate(SkeanTransport t, std::vector<double> &y, PetscReal *lower)
{
  Work               *w        = static_cast<Work *>(t->work);
  Engine             *e        = w->eng.get();
  const double        unknowns = static_cast<double>(e->nglobal) + e->m, big = PetscMax(1.0, static_cast<double>(PetscMax(e->nglobal, e->m)));
  const PetscInt64    most    = static_cast<PetscInt64>(PetscMin(kPerUnknown * unknowns, kEntries));
  const PetscInt      nnzkept = t->nnzkept, maxksp = t->maxksp;
  PetscInt            its;
  PetscInt64          count;
  NewtonSystem        system;
  Keep                keep;
  std::vector<double> a, b, gu, gv, dv, x, value;
  bool                ok = false, over;

  PetscFunctionBegin;
  if (!e->HasEntries()) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscLogEventBegin(SKEAN_Transport_Certificate, t, 0, 0, 0));
  keep.thr = kDropped / big;
  keep.cap = static_cast<size_t>(most);
  PetscCall(e->Entries(1.0 / w->epsnow, w->u.data(), w->v.data(), &keep));
  count = static_cast<PetscInt64>(keep.i.size());
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &count, 1, MPIU_INT64, MPI_SUM, e->comm));
  PetscCall(AgreeAny(e->comm, keep.overflow || count > most, &over));
  if (!over) {
    PetscCallCXX(a.assign(w->a.size(), 0.0));
    PetscCallCXX(b.assign(w->b.size(), 0.0));
    PetscCallCXX(gu.assign(w->u.size(), 0.0));
    PetscCallCXX(gv.assign(w->v.size(), 0.0));
    PetscCallCXX(x.assign(w->u.size(), 0.0));
    PetscCallCXX(dv.assign(w->v.size(), 0.0));
    PetscCallCXX(value.resize(keep.p.size()));
    for (size_t k = 0; k < keep.p.size(); ++k) {
      value[k] = -keep.p[k] * std::log(keep.p[k]);
      a[keep.i[k]] += keep.p[k];
      gu[keep.i[k]] += value[k];
    }
    PetscCall(SumByColumn(e, keep.j, keep.p, b));
    PetscCall(SumByColumn(e, keep.j, value, gv));
    /* diagonals without what was left out, which would draw the fit to the potentials it starts from */
    w->a.swap(a);
    w->b.swap(b);
    system.small.limit = t->kspuser ? 0 : kOneProcess;
    PetscCall(system.Solve(t, keep, 1e-10 / big, 3, 1e-10, gu.data(), gv.data(), x.data(), dv.data(), &its, &ok));
    PetscCall(system.Reset());
    w->a.swap(a);
    w->b.swap(b);
    t->nnzkept = nnzkept;
    t->maxksp  = maxksp;
  }
  if (ok) {
    /* the minimum over i of c_ij - x_i is above that with the answer's f_i by no more than the largest f_i - x_i */
    PetscReal value0;
    double    fall = -PETSC_MAX_REAL;
    for (PetscInt i = 0; i < e->n; ++i) {
      x[i] = w->epsnow * (w->u[i] + x[i]);
      fall = PetscMax(fall, w->epsnow * (w->u[i] - w->logr[i]) - x[i]);
    }
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &fall, 1, MPI_DOUBLE, MPI_MAX, e->comm));
    for (PetscInt j = 0; j < e->mloc; ++j) y[j] += fall + 1e-12 * w->cmax;
    PetscCall(DualValue(t, x, y, &value0));
    if (value0 > *lower) *lower = value0; /* false for what is not a number */
  }
  PetscCall(PetscLogEventEnd(SKEAN_Transport_Certificate, t, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static bool TooFar(SkeanTransport t, PetscReal factor)
{
  return t->upper - t->lower > factor * PetscAbsReal(t->upper);
}

/* useful: false where it has not brought the bounds closer by half; it then is not repeated for smaller epsilons */
static PetscErrorCode TryExtrapolation(SkeanTransport t, std::vector<double> &y, bool *useful)
{
  const PetscReal gap = t->upper - t->lower;

  PetscFunctionBegin;
  PetscCall(Extrapolate(t, y, &t->lower));
  *useful = t->upper - t->lower < 0.5 * gap;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Better bounds from smaller epsilons, until the gap is what is wanted or no longer falls, in no more than `budget` passes. The answer at the epsilon of the
   solve is put back */
static PetscErrorCode Tighten(SkeanTransport t, PetscInt budget, bool extrapolate)
{
  constexpr PetscInt    kMost     = 5;
  constexpr PetscReal   kProgress = 0.9; /* of the gap, for another step */
  Work                 *w         = static_cast<Work *>(t->work);
  Engine               *e         = w->eng.get();
  const SkeanSolverBase solver    = t->solver;
  const PetscInt        nnzkept = t->nnzkept, maxksp = t->maxksp, start = e->passes + e->keptpasses, maxpasses = w->maxpasses;
  const double          eps = w->eps, epsnow = w->epsnow, err = w->err, umax = w->umax;
  std::vector<double>   u, v, a, b, lb, levels, y;

  PetscFunctionBegin;
  PetscCallCXX(u = w->u);
  PetscCallCXX(v = w->v);
  PetscCallCXX(a = w->a);
  PetscCallCXX(b = w->b);
  PetscCallCXX(lb = w->lb);
  PetscCallCXX(levels = w->levels);
  t->solver.nmonitors = t->solver.maxhist = 0;
  t->solver.atol                          = 0;
  if (budget < PETSC_MAX_INT - start) w->maxpasses = start + budget;
  for (PetscInt k = 0; k < kMost && TooFar(t, t->certgap) && e->passes + e->keptpasses < w->maxpasses; ++k) {
    const PetscReal gap = t->upper - t->lower;
    PetscReal       lower, upper;
    double          cost;
    w->eps = w->epsnow / t->scalefactor;
    PetscCallCXX(w->levels.assign(1, w->eps));
    /* rounding the plan to its marginals costs at most the largest cost times twice the error */
    t->solver.rtol   = PetscMax(solver.rtol, 0.05 * t->certgap * PetscAbsReal(t->upper) / (w->massr * w->cmax));
    t->solver.reason = SKEAN_CONVERGED_ITERATING;
    w->err           = 0;
    PetscUseTypeMethod(t, solve);
    PetscCall(e->Marginals(1.0 / w->epsnow, w->u.data(), w->v.data(), w->a.data(), w->b.data(), &cost));
    if (t->solver.reason == SKEAN_DIVERGED_NANORINF) break;
    PetscCall(Certify(t, y, &lower, &upper));
    if (lower > t->lower) t->lower = lower; /* false for what is not a number */
    if (upper < t->upper) t->upper = upper;
    if (extrapolate && TooFar(t, t->certgap)) PetscCall(TryExtrapolation(t, y, &extrapolate));
    if (t->upper - t->lower > kProgress * gap) break;
  }
  t->solver    = solver;
  t->nnzkept   = nnzkept;
  t->maxksp    = maxksp;
  w->maxpasses = maxpasses;
  w->eps       = eps;
  w->epsnow    = epsnow;
  w->err       = err;
  w->umax      = umax;
  w->bad       = false;
  w->u.swap(u);
  w->v.swap(v);
  w->a.swap(a);
  w->b.swap(b);
  w->lb.swap(lb);
  w->levels.swap(levels);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The bounds, with w->a and w->b the sums of the plan. spread: the exponential of the plan's entropy, which is the number of its entries where all are equal,
   over the number of rows and columns */
PetscErrorCode SkeanTransportCertify_Private(SkeanTransport t, PetscReal spread)
{
  std::vector<double> y;

  PetscFunctionBegin;
  PetscCall(Certify(t, y, &t->lower, &t->upper));
  if (!(t->certgap > 0 && t->upper < PETSC_INFINITY && TooFar(t, t->certgap))) PetscFunctionReturn(PETSC_SUCCESS);
  const bool promising = spread <= kFew && !TooFar(t, kHopeless);
  bool       useful    = true;
  if (promising && (t->certgapset || t->solver.reason > 0)) PetscCall(TryExtrapolation(t, y, &useful));
  if (t->certgapset)
    PetscCall(Tighten(t, PETSC_MAX_INT, useful));
  else if (promising && t->solver.reason > 0 && TooFar(t, t->certgap) && !TooFar(t, kClose * t->certgap))
    PetscCall(Tighten(t, t->passes + t->keptpasses, useful));
  PetscFunctionReturn(PETSC_SUCCESS);
}
