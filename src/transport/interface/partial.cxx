/*
   Partial transport: only the mass s moves. One source and one target of cost zero are added (Caffarelli and McCann, Ann. of Math. 171 (2010);
   Chapel, Alaya and Gasso, NeurIPS 2020): the added target takes the |r| - s that stay, the added source gives the |c| - s that do not arrive, and
   the pair of the two is forbidden. What is left is a balanced problem: every solver and the certificate work on it unchanged.
*/
#include <skean/private/transportimpl.h>
#include <skean/private/reduce.hpp>
#include <algorithm>

using namespace skean;
using namespace skean::transport;

namespace {

constexpr double kNothing = -PETSC_MAX_REAL;

double LogAdd(double a, double b)
{
  const double hi = PetscMax(a, b), lo = PetscMin(a, b);
  return lo <= kNothing ? hi : hi + std::log1p(std::exp(lo - hi));
}

/* Another engine with a row and a column of zeros, both kept by the last process, behind its own */
class PartialEngine : public Engine {
public:
  PetscErrorCode Wrap(std::unique_ptr<Engine> engine, bool row, bool col);
  bool           HasEntries() const override { return in->HasEntries(); }
  bool           Forbids() const override { return in->Forbids(); }
  double         Skipped() const override { return in->Skipped(); }
  double         PassCost() const override { return in->PassCost(); }
  double         HeavyEntries() const override { return in->HeavyEntries(); }
  PetscErrorCode Fused(double inv, double lam, const double *v, double *u, double *a, double *lb, Keep *keep) override;
  PetscErrorCode Marginals(double inv, const double *u, const double *v, double *a, double *b, double *cost) override;
  PetscErrorCode Products(double inv, const double *u, const double *v, const double *w, const double *a, const double *z, double *rowout,
                          double *colout) override;
  PetscErrorCode MinCols(const double *x, double *y) override;
  PetscErrorCode MinRows(const double *y, double *x) override;
  PetscErrorCode Bilinear(const double *x, const double *y, double *value) override;
  PetscErrorCode Entries(double inv, const double *u, const double *v, Keep *keep) override;
  PetscErrorCode Scale(double *cmax, double *cmedian) override { return in->Scale(cmax, cmedian); }

private:
  std::unique_ptr<Engine> in;
  bool                    hasrow = false, hascol = false; /* there are a row and a column, somewhere */
  bool                    row = false, col = false;       /* here */
  PetscMPIInt             home    = 0;                    /* the process that has them */
  bool                    known   = false;                /* the penalty below */
  double                  penalty = 0;
  std::vector<int>        counts, displs; /* real columns of every process */
  std::vector<double>     mass;           /* logarithms of what the rows have left for the real columns */

  /* the added row's and column's numbers, from the process that has them; none: as good as minus infinity */
  PetscErrorCode Share(const double *x, const double *y, double *xd, double *yd) const
  {
    double both[2] = {row && x ? x[in->n] : kNothing, col && y ? y[in->mloc] : kNothing};

    PetscFunctionBegin;
    PetscCallMPI(MPI_Bcast(both, 2, MPI_DOUBLE, home, comm));
    if (xd) *xd = hasrow ? both[0] : kNothing;
    if (yd) *yd = hascol ? both[1] : kNothing;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* log sum exp over all processes */
  PetscErrorCode LSE(const double *x, PetscInt count, double *value) const
  {
    double mx = kNothing, s = 0;

    PetscFunctionBegin;
    for (PetscInt i = 0; i < count; ++i) mx = PetscMax(mx, x[i]);
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &mx, 1, MPI_DOUBLE, MPI_MAX, comm));
    for (PetscInt i = 0; i < count; ++i) s += std::exp(x[i] - mx);
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &s, 1, MPI_DOUBLE, MPI_SUM, comm));
    *value = mx + std::log(s);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode KeepAdded(const double *u, const double *v, double vd, Keep *keep) const;
  struct Count { /* traversals of the inner engine are ours */
    PartialEngine *e;
    PetscInt       before, keptbefore;
    explicit Count(PartialEngine *p) : e(p), before(p->in->passes), keptbefore(p->in->keptpasses)
    {
      e->in->logr   = e->logr;
      e->in->logc   = e->logc;
      e->in->cutoff = e->cutoff;
    }
    ~Count()
    {
      e->passes += e->in->passes - before;
      e->keptpasses += e->in->keptpasses - keptbefore;
      e->entries += e->in->entries;
      e->in->entries = 0;
    }
  };
};

PetscErrorCode PartialEngine::Wrap(std::unique_ptr<Engine> engine, bool r, bool c)
{
  PetscMPIInt size, rank;

  PetscFunctionBegin;
  in   = std::move(engine);
  comm = in->comm;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  home    = size - 1;
  hasrow  = r;
  hascol  = c;
  row     = r && rank == home;
  col     = c && rank == home;
  n       = in->n + (row ? 1 : 0);
  nglobal = in->nglobal + (r ? 1 : 0);
  rlo     = in->rlo;
  m       = in->m + (c ? 1 : 0);
  mloc    = in->mloc + (col ? 1 : 0);
  mlo     = in->mlo;
  cutoff  = in->cutoff;
  PetscCallCXX(counts.resize(size));
  PetscCallCXX(displs.assign(size, 0));
  PetscCallCXX(mass.resize(PetscMax(n, 1)));
  int mine = static_cast<int>(in->mloc);
  PetscCallMPI(MPI_Allgather(&mine, 1, MPI_INT, counts.data(), 1, MPI_INT, comm));
  for (int p = 1; p < size; ++p) displs[p] = displs[p - 1] + counts[p - 1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   The engine below knows nothing of the added column, but its rows must leave room for it: u_i = log r_i - log(e^{L_i} + e^{v_d}) with its own
   L_i = LSE_j(v_j - c_ij/eps). So a first pass gives L_i, and a second one runs with the masses r_i e^{L_i}/(e^{L_i} + e^{v_d}).
*/
PetscErrorCode PartialEngine::Fused(double inv, double lam, const double *v, double *u, double *a, double *lb, Keep *keep)
{
  Count  count(this);
  double vd = kNothing, ud = kNothing, lv = 0, lu = 0;

  PetscFunctionBegin;
  PetscCall(Share(NULL, v, NULL, &vd));
  if (hascol) {
    PetscCall(in->Fused(inv, lam, v, u, NULL, lb, NULL));
    for (PetscInt i = 0; i < in->n; ++i) {
      const double d = vd - (logr[i] - u[i]);
      mass[i]        = logr[i] - (d > 0 ? d + std::log1p(std::exp(-d)) : std::log1p(std::exp(d)));
    }
    in->logr = mass.data();
  }
  const PetscErrorCode ierr = in->Fused(inv, lam, v, u, a, lb, keep);
  in->logr                  = logr;
  PetscCall(ierr);
  if (hascol && a)
    for (PetscInt i = 0; i < in->n; ++i) a[i] += std::exp(u[i] + vd);
  if (hasrow) {
    PetscCall(LSE(v, in->mloc, &lv));
    if (row) {
      ud = u[in->n] = logr[in->n] - lv;
      if (a) a[in->n] = std::exp(logr[in->n]);
    }
    PetscCallMPI(MPI_Bcast(&ud, 1, MPI_DOUBLE, home, comm));
    for (PetscInt j = 0; j < in->mloc; ++j) lb[j] = LogAdd(lb[j], ud + v[j]);
  }
  if (hascol) {
    PetscCall(LSE(u, in->n, &lu));
    if (col) lb[in->mloc] = vd + lu;
  }
  if (keep) PetscCall(KeepAdded(u, v, vd, keep));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* the added row's and column's entries of the plan above the threshold */
PetscErrorCode PartialEngine::KeepAdded(const double *u, const double *v, double vd, Keep *keep) const
{
  PetscFunctionBegin;
  if (hascol)
    for (PetscInt i = 0; i < in->n; ++i) PetscCallCXX(keep->Add(i, in->m, std::exp(u[i] + vd)));
  if (hasrow) {
    std::vector<double> all;
    if (row) PetscCallCXX(all.resize(PetscMax(in->m, 1)));
    PetscCallMPI(MPI_Gatherv(v, static_cast<int>(in->mloc), MPI_DOUBLE, all.data(), counts.data(), displs.data(), MPI_DOUBLE, home, comm));
    if (row)
      for (PetscInt j = 0; j < in->m; ++j) PetscCallCXX(keep->Add(in->n, j, std::exp(u[in->n] + all[j])));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode PartialEngine::Marginals(double inv, const double *u, const double *v, double *a, double *b, double *cost)
{
  Count  count(this);
  double ud = kNothing, vd = kNothing, lu = 0, lv = 0;

  PetscFunctionBegin;
  PetscCall(Share(u, v, &ud, &vd));
  PetscCall(in->Marginals(inv, u, v, a, b, cost));
  if (a) {
    if (hascol)
      for (PetscInt i = 0; i < in->n; ++i) a[i] += std::exp(u[i] + vd);
    if (hasrow) {
      PetscCall(LSE(v, in->mloc, &lv));
      if (row) a[in->n] = std::exp(ud + lv);
    }
  }
  if (b) {
    if (hasrow)
      for (PetscInt j = 0; j < in->mloc; ++j) b[j] += std::exp(ud + v[j]);
    if (hascol) {
      PetscCall(LSE(u, in->n, &lu));
      if (col) b[in->mloc] = std::exp(vd + lu);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode PartialEngine::Products(double inv, const double *u, const double *v, const double *w, const double *a, const double *z, double *rowout,
                                       double *colout)
{
  Count               count(this);
  double              ud = kNothing, vd = kNothing, wd = 0, zd = 0, s[1];
  std::vector<double> p;

  PetscFunctionBegin;
  PetscCall(Share(u, v, &ud, &vd));
  PetscCallCXX(p.assign(PetscMax(n, 1), 0.0));
  if (w) {
    PetscCall(Share(NULL, w, NULL, &wd));
    PetscCall(in->Products(inv, u, v, w, NULL, NULL, p.data(), NULL));
    if (hascol)
      for (PetscInt i = 0; i < in->n; ++i) p[i] += std::exp(u[i] + vd) * wd;
    if (hasrow) {
      s[0] = 0;
      for (PetscInt j = 0; j < in->mloc; ++j) s[0] += std::exp(ud + v[j]) * w[j];
      PetscCall(AllreduceSum(comm, s, 1));
      if (row) p[in->n] = s[0];
    }
    if (rowout) std::copy(p.begin(), p.begin() + n, rowout);
    if (a)
      for (PetscInt i = 0; i < n; ++i) p[i] /= a[i];
  }
  if (z && !(w && a)) std::copy(z, z + n, p.begin());
  if (colout) {
    PetscCall(Share(p.data(), NULL, &zd, NULL));
    PetscCall(in->Products(inv, u, v, NULL, NULL, p.data(), NULL, colout));
    if (hasrow)
      for (PetscInt j = 0; j < in->mloc; ++j) colout[j] += std::exp(ud + v[j]) * zd;
    if (hascol) {
      s[0] = 0;
      for (PetscInt i = 0; i < in->n; ++i) s[0] += std::exp(u[i] + vd) * p[i];
      PetscCall(AllreduceSum(comm, s, 1));
      if (col) colout[in->mloc] = s[0];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode PartialEngine::MinCols(const double *x, double *y)
{
  Count  count(this);
  double xd = kNothing, mx = kNothing;

  PetscFunctionBegin;
  PetscCall(Share(x, NULL, &xd, NULL));
  PetscCall(in->MinCols(x, y));
  if (hasrow)
    for (PetscInt j = 0; j < in->mloc; ++j) y[j] = PetscMin(y[j], -xd);
  for (PetscInt i = 0; i < in->n; ++i) mx = PetscMax(mx, x[i]);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &mx, 1, MPI_DOUBLE, MPI_MAX, comm));
  if (col) y[in->mloc] = -mx;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode PartialEngine::MinRows(const double *y, double *x)
{
  Count  count(this);
  double yd = kNothing, mx = kNothing;

  PetscFunctionBegin;
  PetscCall(Share(NULL, y, NULL, &yd));
  PetscCall(in->MinRows(y, x));
  if (hascol)
    for (PetscInt i = 0; i < in->n; ++i) x[i] = PetscMin(x[i], -yd);
  for (PetscInt j = 0; j < in->mloc; ++j) mx = PetscMax(mx, y[j]);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &mx, 1, MPI_DOUBLE, MPI_MAX, comm));
  if (row) x[in->n] = -mx;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   The rank-one plan of the certificate may put mass on the forbidden pair. At the price of max(0, -min C) per unit such a plan still costs no less than
   the optimum: taking the unit away, and with it a unit from any real pair, whose ends then serve the added ones, does not raise the cost.
*/
PetscErrorCode PartialEngine::Bilinear(const double *x, const double *y, double *value)
{
  Count  count(this);
  double xd = 0, yd = 0;

  PetscFunctionBegin;
  PetscCall(Share(x, y, &xd, &yd));
  PetscCall(in->Bilinear(x, y, value));
  if (hasrow && hascol && xd > 0 && yd > 0) {
    if (!known) {
      std::vector<double> zero, least;
      double              mn = 0;
      PetscCallCXX(zero.assign(PetscMax(in->mloc, 1), 0.0));
      PetscCallCXX(least.assign(PetscMax(in->n, 1), PETSC_MAX_REAL));
      PetscCall(in->MinRows(zero.data(), least.data()));
      for (PetscInt i = 0; i < in->n; ++i) mn = PetscMin(mn, least[i]);
      PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &mn, 1, MPI_DOUBLE, MPI_MIN, comm));
      penalty = -mn;
      known   = true;
    }
    *value += xd * penalty * yd;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode PartialEngine::Entries(double inv, const double *u, const double *v, Keep *keep)
{
  Count  count(this);
  double vd = kNothing;

  PetscFunctionBegin;
  PetscCall(Share(NULL, v, NULL, &vd));
  PetscCall(in->Entries(inv, u, v, keep));
  PetscCall(KeepAdded(u, v, vd, keep));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace

PetscErrorCode SkeanTransportBuildPartial_Private(SkeanTransport t)
{
  Work          *w = static_cast<Work *>(t->work);
  PartialEngine *e;

  PetscFunctionBegin;
  if (!w->addedrow && !w->addedcol) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallCXX(e = new PartialEngine());
  std::unique_ptr<Engine> inner = std::move(w->eng);
  w->eng.reset(e);
  PetscCall(e->Wrap(std::move(inner), w->addedrow, w->addedcol));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Divides the masses read by the total of the extended problem and appends those of the added source and target, on the last process */
PetscErrorCode SkeanTransportPartialMasses_Private(SkeanTransport t, PetscReal mr, PetscReal mc)
{
  Work        *w    = static_cast<Work *>(t->work);
  MPI_Comm     comm = PetscObjectComm((PetscObject)t);
  PetscMPIInt  size, rank;
  const double least = PetscMin(mr, mc), s = PetscMin(t->partial, least), total = mr + mc - s;

  PetscFunctionBegin;
  PetscCheck(t->rhor == PETSC_INFINITY && t->rhoc == PETSC_INFINITY, comm, PETSC_ERR_SUP, "Partial transport and marginal penalties exclude each other");
  PetscCheck(t->partial <= least * (1 + 1e-12), comm, PETSC_ERR_ARG_OUTOFRANGE, "The mass to be moved, %g, exceeds what there is: sources %g, targets %g",
             (double)t->partial, (double)mr, (double)mc);
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  w->addedrow = mc - s > 1e-12 * total;
  w->addedcol = mr - s > 1e-12 * total;
  if (rank == size - 1) {
    if (w->addedrow) PetscCallCXX(w->r.push_back(mc - s));
    if (w->addedcol) PetscCallCXX(w->c.push_back(mr - s));
  }
  w->massr = w->massc = total;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetPartialMass - Moves only a part of the mass (partial transport)

   Logically Collective

   Input Parameters:
+  transport - the solver
-  mass      - the mass s to be moved, in the units of the marginals, at most the smaller of their totals; 0 (default): all of it

   Options Database Key:
.  -transport_partial_mass <0> - the mass

   Level: intermediate

   Notes:
   Minimises <C,P> over P >= 0 with P1 <= r, P'1 <= c and sum P = s; the totals of r and c may differ. A source and a target without cost are added
   that take what is not moved; their pair is forbidden. All types and costs work on this balanced problem, and the certificate bounds the
   unregularised partial problem. Tolerance, marginal error and entropy are those of the balanced problem, whose mass is |r| + |c| - s. Where less than
   all leaves the sources a Sinkhorn sweep costs two passes instead of one. `SkeanTransportGetPotentials()` chooses the constant so that
   leaving a source where it is costs nothing. Every source with mass must be allowed some target, even if it stays.
   Sources: Caffarelli and McCann, Ann. of Math. 171 (2010); Chapel, Alaya and Gasso, NeurIPS 2020.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for a mass that is negative or not finite, at set-up for one above the totals; at set-up `PETSC_ERR_SUP` with
   marginal penalties.

.seealso: `SkeanTransportGetPartialMass()`, `SkeanTransportSetMarginalPenalty()`, `SkeanTransportSetMarginals()`
@*/
PetscErrorCode SkeanTransportSetPartialMass(SkeanTransport transport, PetscReal mass)
{
  PetscFunctionBegin;
  PetscCheck(transport, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null SkeanTransport");
  PetscCheck(mass >= 0 && std::isfinite(mass), PetscObjectComm((PetscObject)transport), PETSC_ERR_ARG_OUTOFRANGE,
             "The mass to be moved, %g, must be finite and not negative", (double)mass);
  transport->partial      = mass;
  transport->solver.state = SKEAN_STATE_INITIAL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetPartialMass - The mass to be moved

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  mass - as set; 0: all of it

   Level: intermediate

.seealso: `SkeanTransportSetPartialMass()`
@*/
PetscErrorCode SkeanTransportGetPartialMass(SkeanTransport transport, PetscReal *mass)
{
  PetscFunctionBegin;
  PetscCheck(transport, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null SkeanTransport");
  *mass = transport->partial;
  PetscFunctionReturn(PETSC_SUCCESS);
}
