/*
   Wasserstein barycentres on a fixed support by iterative Bregman projections, in logarithms: Benamou, Carlier, Cuturi, Nenna and Peyre, SIAM J. Sci.
   Comput. 37 (2015), section 3.2; debiased: Janati, Cuturi and Gramfort, ICML 2020, Algorithm 1.

   Plan k is P_k = diag(e^{u_k}) e^{-C/eps} diag(e^{v_k}), the measure b_k on its rows, the barycentre on its columns. One fused pass per measure makes the
   rows exact and gives s_k = log of K'e^{u_k}; then log a = sum_k w_k s_k (+ d) and v_k = log a - s_k.
*/
#include <skean/private/transportimpl.h>
#include <skean/private/reduce.hpp>

using namespace skean;
using namespace skean::transport;

namespace {

constexpr double kEmpty = -1e9; /* logarithm of no mass: far below any exponent, and still leaves u as a scale for the exponentials with seven digits */

struct Measure {
  double              weight = 0;
  std::vector<double> logb, u, v, s, col; /* u on entry to a pass: the scale -LSE of the last one */
};

} // namespace

/* logarithms of the masses relative to their total, checked */
static PetscErrorCode ReadMeasures(SkeanTransport t, PetscInt n, Vec b[], const PetscReal weights[], std::vector<Measure> *out, double *mass)
{
  MPI_Comm            comm = PetscObjectComm((PetscObject)t);
  PetscInt            nl, first;
  bool                differ = false;
  double              sumw   = 0;
  std::vector<double> total; /* of every measure; then: negative, not finite */

  PetscFunctionBegin;
  PetscCheck(n >= 1 && b, comm, PETSC_ERR_ARG_OUTOFRANGE, "A barycentre needs at least one measure");
  PetscCallCXX(out->resize(n));
  PetscCallCXX(total.assign(n + 2, 0.0));
  for (PetscInt k = 0; k < n; ++k) {
    PetscCheckSameComm(t, 1, b[k], 3);
    const double w = weights ? weights[k] : 1.0;
    PetscCheck(w >= 0 && std::isfinite(w), comm, PETSC_ERR_ARG_OUTOFRANGE, "Weight %g of measure %" PetscInt_FMT " must be finite and not negative", w, k);
    sumw += (*out)[k].weight = w;
  }
  PetscCheck(sumw > 0, comm, PETSC_ERR_ARG_OUTOFRANGE, "The weights of the measures are all zero");
  PetscCall(VecGetLocalSize(b[0], &first));
  for (PetscInt k = 0; k < n; ++k) {
    const PetscScalar *x;
    Measure           &M = (*out)[k];
    M.weight /= sumw;
    PetscCall(VecGetLocalSize(b[k], &nl));
    differ = differ || nl != first;
    PetscCallCXX(M.logb.assign(PetscMax(first, 1), kEmpty));
    PetscCall(VecGetArrayRead(b[k], &x));
    for (PetscInt i = 0; i < PetscMin(nl, first); ++i) {
      if (!std::isfinite(x[i])) {
        total[n + 1] = 1;
        continue;
      }
      if (x[i] < 0) total[n] = 1;
      total[k] += x[i];
      if (x[i] > 0) M.logb[i] = std::log(x[i]);
    }
    PetscCall(VecRestoreArrayRead(b[k], &x));
  }
  PetscCall(AgreeAny(comm, differ, &differ));
  PetscCheck(!differ, comm, PETSC_ERR_ARG_INCOMP, "The measures have different layouts");
  PetscCall(AllreduceSum(comm, total.data(), total.size()));
  PetscCheck(total[n + 1] == 0, comm, PETSC_ERR_FP, "A mass is NaN or infinite");
  PetscCheck(total[n] == 0, comm, PETSC_ERR_ARG_OUTOFRANGE, "A mass is negative");
  *mass = total[0];
  for (PetscInt k = 0; k < n; ++k) {
    PetscCheck(total[k] > 0, comm, PETSC_ERR_ARG_OUTOFRANGE, "Measure %" PetscInt_FMT " has no mass", k);
    PetscCheck(std::fabs(total[k] - *mass) <= 1e-8 * *mass, comm, PETSC_ERR_ARG_INCOMP,
               "The masses are unequal: measure 0 has %.15g, measure %" PetscInt_FMT " has %.15g", *mass, k, total[k]);
    for (double &x : (*out)[k].logb)
      if (x > kEmpty) x -= std::log(total[k]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* a solver that only serves for its engine: every point of both supports has mass */
static PetscErrorCode Support(SkeanTransport t, Vec b, Vec a, SkeanTransport *s)
{
  Vec ones[2];

  PetscFunctionBegin;
  PetscCall(VecDuplicate(b, &ones[0]));
  PetscCall(VecDuplicate(a, &ones[1]));
  for (Vec v : ones) {
    PetscInt N;
    PetscCall(VecGetSize(v, &N));
    PetscCall(VecSet(v, 1.0 / N));
  }
  PetscCall(SkeanTransportCreate(PetscObjectComm((PetscObject)t), s));
  PetscCall(SkeanTransportSetType(*s, SKEANTRANSPORTSINKHORN));
  PetscCall(SkeanTransportSetMarginals(*s, ones[0], ones[1]));
  for (Vec v : ones) PetscCall(VecDestroy(&v));
  PetscCall(SkeanTransportSetCostType(*s, t->costtype));
  PetscCall(SkeanTransportSetCostExponent(*s, t->costexponent));
  (*s)->costfn  = t->costfn;
  (*s)->costctx = t->costctx;
  PetscCall(SkeanTransportSetEpsilon(*s, t->eps, t->epsmode));
  PetscCall(SkeanTransportSetMultiscale(*s, SKEAN_TRANSPORT_MULTISCALE_NEVER, PETSC_DEFAULT)); /* its points stay in the user's order */
  if (t->griddim)
    PetscCall(SkeanTransportSetGrid(*s, t->griddim, t->gridn, t->gridlo, t->gridhi));
  else if (t->X)
    PetscCall(SkeanTransportSetPoints(*s, t->X, t->Y));
  else
    PetscCall(SkeanTransportSetCost(*s, t->C));
  PetscCall(SkeanTransportSetUp(*s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportComputeBarycenter - The entropic Wasserstein barycentre of several measures, on a given support

   Collective

   Input Parameters:
+  transport - the solver: its cost, epsilon, steps of epsilon, tolerances and monitors are used, its marginals and type are not
.  n         - number of measures
.  b         - n vectors of masses over the sources of the cost (rows of X, of the cost matrix, or points of the grid), of one layout and one total
.  weights   - n weights, not negative, relative to their sum; NULL: equal
-  debiased  - remove the blur of the entropy; the measures and the barycentre must then have the same points

   Output Parameters:
+  a   - masses of the barycentre over the targets of the cost, with the total of the measures
-  err - sum_k w_k |P_k'1 - a|_1 relative to the total mass, computed from the plans; or NULL

   Level: intermediate

   Notes:
   Minimises sum_k w_k (<C,P_k> + eps sum P_k log P_k) over plans P_k from b_k to a common a. Without debiasing the barycentre is blurred: for |x - y|^2
   by a Gaussian of variance eps/2. Measures may vanish on points; the barycentre is positive.

   Debiasing restores what the blur has removed: for details finer than the blur, err says little about the error of a.

   Converged means that err, to which the error of the debiasing equation is added, is below the tolerance; the rows of the plans are exact.
   `SkeanTransportGetConvergedReason()`, `SkeanTransportGetIterationNumber()` and `SkeanTransportGetPasses()` tell of this computation afterwards; the answer
   of an earlier `SkeanTransportSolve()` is forgotten. One fused pass per measure and iteration, one more if debiased; 5 n local vectors of memory. The same
   for any number of processes to rounding. -transport_max_it, -transport_rtol, -transport_monitor and -transport_converged_reason work as in a solve.

   Sources: Benamou, Carlier, Cuturi, Nenna and Peyre, SIAM J. Sci. Comput. 37 (2015), section 3.2; Janati, Cuturi and Gramfort, ICML 2020, Algorithm 1.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for negative masses or weights, `PETSC_ERR_FP` for NaN, `PETSC_ERR_ARG_INCOMP` for unequal totals or layouts,
   `PETSC_ERR_SUP` for sparse costs, penalties, partial mass, or debiasing between different points.

.seealso: `SkeanTransportSetPoints()`, `SkeanTransportSetGrid()`, `SkeanTransportSetEpsilon()`, `SkeanTransportGetDivergence()`
@*/
PetscErrorCode SkeanTransportComputeBarycenter(SkeanTransport transport, PetscInt n, Vec b[], const PetscReal weights[], PetscBool debiased, Vec a,
                                               PetscReal *err)
{
  SkeanTransport       t = transport, s;
  MPI_Comm             comm;
  Work                *w;
  Engine              *e;
  std::vector<Measure> M;
  std::vector<double>  loga, d, kd, ones, lb, mean, levels;
  double               mass, error = 0, best = PETSC_MAX_REAL;
  PetscInt             it = 0, sincebest = 0;

  PetscFunctionBegin;
  PetscCheck(t, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null SkeanTransport");
  comm = PetscObjectComm((PetscObject)t);
  PetscCheckSameComm(t, 1, a, 6);
  PetscCheck(t->C || t->X || t->griddim, comm, PETSC_ERR_ORDER,
             "A cost must be set first: SkeanTransportSetCost(), SkeanTransportSetPoints() or SkeanTransportSetGrid()");
  PetscCheck(t->rhor == PETSC_INFINITY && t->rhoc == PETSC_INFINITY && !(t->partial > 0), comm, PETSC_ERR_SUP,
             "Barycentres are not offered with marginal penalties or a partial mass");
  PetscCheck(!debiased || t->griddim || (t->X && t->X == t->Y), comm, PETSC_ERR_SUP,
             "A debiased barycentre needs the points of the measures for its own: a grid, or the same matrix of points twice");
  PetscCall(ReadMeasures(t, n, b, weights, &M, &mass));
  PetscCall(Support(t, b[0], a, &s));
  w = static_cast<Work *>(s->work);
  e = w->eng.get();
  PetscCheck(!e->Forbids(), comm, PETSC_ERR_SUP, "Barycentres are not offered for sparse costs");
  e->cutoff = 0;
  e->passes = 0;
  e->Forget();
  e->keptpasses   = 0;
  const size_t nr = PetscMax(e->n, 1), nc = PetscMax(e->mloc, 1);
  for (Measure &m : M) {
    PetscCallCXX(m.u.assign(nr, 0.0));
    PetscCallCXX(m.v.assign(nc, 0.0));
    PetscCallCXX(m.s.assign(nc, 0.0));
    PetscCallCXX(m.col.assign(nc, 0.0));
  }
  PetscCallCXX(loga.assign(nc, 0.0));
  PetscCallCXX(mean.assign(nc, 0.0));
  PetscCallCXX(lb.assign(nc, 0.0));
  if (debiased) {
    PetscCallCXX(d.assign(nc, 0.0));
    PetscCallCXX(kd.assign(nr, 0.0));
    PetscCallCXX(ones.assign(nr, 0.0));
  }
  PetscCallCXX(levels.push_back(w->eps));
  if (t->scaling)
    while (levels.back() * t->scalefactor < 0.3 * w->cmax) PetscCallCXX(levels.push_back(levels.back() * t->scalefactor));
  /* an earlier answer is forgotten */
  PetscTryTypeMethod(t, reset);
  PetscCallCXX(*static_cast<Work *>(t->work) = Work());
  t->solver.state = SKEAN_STATE_INITIAL;
  PetscCall(SkeanSolverBegin_Private((PetscObject)t, &t->solver));
  const double tol = PetscMax(t->solver.rtol, t->solver.atol / mass);
  while (!levels.empty() && !t->solver.reason) {
    const double eps = levels.back(), inv = 1.0 / eps;
    const bool   last = levels.size() == 1;
    levels.pop_back();
    static_cast<Work *>(t->work)->epsnow = eps; /* for the monitor */
    for (;; ++it) {
      double sum[3] = {0, 0, 0}, big = 0;
      for (PetscInt j = 0; j < e->mloc; ++j) {
        loga[j] = debiased ? d[j] : 0.0;
        mean[j] = 0;
      }
      for (Measure &m : M) {
        e->logr = m.logb.data();
        PetscCall(e->Fused(inv, 1.0, m.v.data(), m.u.data(), NULL, lb.data(), NULL));
        for (PetscInt i = 0; i < e->n; ++i) m.u[i] -= m.logb[i];
        for (PetscInt j = 0; j < e->mloc; ++j) {
          m.s[j]   = lb[j] - m.v[j];
          m.col[j] = std::exp(lb[j]);
          mean[j] += m.weight * m.col[j];
          loga[j] += m.weight * m.s[j];
          big = PetscMax(big, std::fabs(m.v[j]));
        }
      }
      for (const Measure &m : M)
        for (PetscInt j = 0; j < e->mloc; ++j) sum[0] += m.weight * std::fabs(m.col[j] - mean[j]);
      if (debiased) {
        e->logr = ones.data();
        PetscCall(e->Fused(inv, 1.0, d.data(), kd.data(), NULL, lb.data(), NULL));
        for (PetscInt j = 0; j < e->mloc; ++j) sum[1] += std::fabs(std::exp(d[j] - kd[j]) - mean[j]); /* kd is minus the logarithm of K e^d */
      }
      PetscCall(AllreduceSum(comm, sum, 2));
      PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &big, 1, MPI_DOUBLE, MPI_MAX, comm));
      error = sum[0] + sum[1];
      PetscCall(SkeanSolverMonitor_Private((PetscObject)t, &t->solver, it, error));
      if (!std::isfinite(error)) {
        t->solver.reason = SKEAN_DIVERGED_NANORINF;
        break;
      }
      if (last && error <= tol) {
        t->solver.reason = t->solver.rtol >= t->solver.atol / mass ? SKEAN_CONVERGED_RTOL : SKEAN_CONVERGED_ATOL;
        break;
      }
      if (!last && error <= PetscMax(1e-2, tol)) break;
      if (error < 0.95 * best) {
        best      = error;
        sincebest = 0;
      } else
        ++sincebest;
      if (last && sincebest >= 50 && error < 10 * PETSC_MACHINE_EPSILON * (big + inv * w->cmax)) {
        t->solver.reason = SKEAN_DIVERGED_ROUNDING_FLOOR;
        break;
      }
      if (it >= t->solver.max_it) {
        t->solver.reason = SKEAN_DIVERGED_ITS;
        break;
      }
      for (Measure &m : M)
        for (PetscInt j = 0; j < e->mloc; ++j) m.v[j] = loga[j] - m.s[j];
      if (debiased)
        for (PetscInt j = 0; j < e->mloc; ++j) d[j] = 0.5 * (d[j] + loga[j] + kd[j]);
    }
    if (!levels.empty() && !t->solver.reason) { /* potentials in the units of the cost stay */
      const double q = eps / levels.back();
      best           = PETSC_MAX_REAL;
      sincebest      = 0;
      for (Measure &m : M) {
        for (double &x : m.v) x *= q;
        for (double &x : m.u) x *= q;
      }
      for (double &x : d) x *= q;
      for (double &x : kd) x *= q;
    }
  }
  t->solver.its = it;
  t->passes     = e->passes + e->keptpasses;
  PetscScalar *out;
  PetscCall(VecGetArray(a, &out));
  for (PetscInt j = 0; j < e->mloc; ++j) out[j] = mass * mean[j];
  PetscCall(VecRestoreArray(a, &out));
  if (err) *err = error;
  PetscCall(SkeanTransportDestroy(&s));
  const PetscErrorCode ierr = SkeanSolverEnd_Private((PetscObject)t, &t->solver);
  t->solver.state           = SKEAN_STATE_INITIAL; /* there is no plan to ask for */
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}
