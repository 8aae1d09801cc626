#include "state.hpp"
#include <skean/private/reduce.hpp>
#include <algorithm>
#include <cmath>
#include <cstring>

namespace skean {
namespace gp {

PetscErrorCode AgreeCallback(SkeanGPPDE pde, PetscErrorCode mine, const char what[])
{
  bool any;
  PetscFunctionBegin;
  PetscCall(AgreeAny(PetscObjectComm((PetscObject)pde), mine != PETSC_SUCCESS, &any));
  PetscCheck(!any, PetscObjectComm((PetscObject)pde), PETSC_ERR_USER, "The %s callback failed on some process, error code %d here", what,
             static_cast<int>(mine));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode PrepareGrid(SkeanGPPDE pde)
{
  SkeanGPPDEState_Private *st = pde->state;
  PetscInt64               n[3];
  PetscMPIInt              size;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(PetscObjectComm((PetscObject)pde), &size));
  for (int k = 0; k < pde->dim; k++) {
    const double lo = pde->lo[k], L = pde->hi[k] - pde->lo[k], m = static_cast<double>(pde->n[k] - 1);
    n[k] = pde->n[k];
    PetscCallCXX(st->x[k].resize(static_cast<size_t>(n[k])));
    for (PetscInt i = 0; i < pde->n[k]; i++)
      st->x[k][static_cast<size_t>(i)] = pde->grid == SKEAN_GPPDE_GRID_UNIFORM ? lo + L * static_cast<double>(i) / m
                                                                               : lo + L * std::pow(std::sin(0.5 * PETSC_PI * static_cast<double>(i) / m), 2);
    st->x[k].back() = pde->hi[k];
  }
  PetscCheck(pde->dim == 1 || size <= pde->n[0], PetscObjectComm((PetscObject)pde), PETSC_ERR_SUP,
             "%d processes for %" PetscInt_FMT " grid points in the first dimension: at most one per point", size, pde->n[0]);
  PetscCall(st->grid.Create(PetscObjectComm((PetscObject)pde), static_cast<int>(pde->dim), n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

std::vector<double> MidPoints(const std::vector<double> &x, size_t cap)
{
  const size_t        n = x.size() - 1, stride = (n + cap - 1) / cap;
  std::vector<double> m;
  /* both end intervals are always among them: that is where the error of a collocation is largest */
  for (size_t i = 0; i < n; i += stride) m.push_back(0.5 * (x[i] + x[i + 1]));
  if ((n - 1) % stride) m.push_back(0.5 * (x[n - 1] + x[n]));
  return m;
}

PetscErrorCode PreparePoints(SkeanGPPDE pde, PointSet *p, int maxorder)
{
  SkeanGPPDEState_Private *st = pde->state;

  PetscFunctionBegin;
  for (int k = 0; k < pde->dim; k++) {
    Dense *const E[3] = {&p->E[k][0], maxorder > 0 ? &p->E[k][1] : nullptr, maxorder > 1 ? &p->E[k][2] : nullptr};
    p->n[k]           = static_cast<PetscInt64>(p->x[k].size());
    PetscCall(st->basis[k].Evaluate(st->spec[k], p->x[k].size(), p->x[k].data(), E));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Fields(SkeanGPPDE pde, const PointSet &p, const std::vector<double> &coef, std::vector<double> *u, std::vector<double> *Lu,
                      std::vector<double> *du, std::vector<double> *d2u)
{
  SkeanGPPDEState_Private *st   = pde->state;
  const int                d    = static_cast<int>(pde->dim);
  const size_t             size = static_cast<size_t>(st->grid.Box(0, p.n).Volume());
  const Dense             *F[3] = {&p.E[0][0], &p.E[1][0], &p.E[2][0]};
  std::vector<double>      t;

  PetscFunctionBegin;
  if (u) PetscCall(ApplyModes(st->grid, st->r, F, false, coef.data(), *u));
  if (Lu) PetscCallCXX(Lu->assign(size, 0.0));
  if (du) PetscCallCXX(du->resize(size * static_cast<size_t>(d)));
  if (d2u) PetscCallCXX(d2u->resize(size * static_cast<size_t>(d)));
  for (int k = 0; k < d; k++) {
    const Dense *G[3] = {F[0], F[1], F[2]};
    if (Lu && (pde->a[k] != 0 || pde->b[k] != 0)) {
      Dense M;
      PetscCallCXX(M = p.E[k][2]);
      for (size_t i = 0; i < M.a.size(); i++) M.a[i] = pde->a[k] * M.a[i] + pde->b[k] * p.E[k][1].a[i];
      G[k] = &M;
      PetscCall(ApplyModes(st->grid, st->r, G, false, coef.data(), t));
      for (size_t i = 0; i < size; i++) (*Lu)[i] += t[i];
    }
    for (int m = 1; m <= 2; m++) {
      std::vector<double> *out = m == 1 ? du : d2u;
      if (!out) continue;
      G[k] = &p.E[k][m];
      PetscCall(ApplyModes(st->grid, st->r, G, false, coef.data(), t));
      std::copy(t.begin(), t.end(), out->begin() + static_cast<std::ptrdiff_t>(size * static_cast<size_t>(k)));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Residual(SkeanGPPDE pde, const PointSet &p, const std::vector<double> &u, const std::vector<double> &Lu, const std::vector<double> &du,
                        const std::vector<double> &d2u, std::vector<double> &res, std::vector<double> *ru, std::vector<double> *rdu, std::vector<double> *rd2u)
{
  SkeanGPPDEState_Private *st   = pde->state;
  const int                d    = static_cast<int>(pde->dim);
  const size_t             size = static_cast<size_t>(st->grid.Box(0, p.n).Volume()), dd = static_cast<size_t>(d);
  const bool               general = pde->residual != nullptr;
  PetscErrorCode           ierr    = PETSC_SUCCESS;

  PetscFunctionBegin;
  PetscCallCXX(res.assign(size, 0.0));
  if (ru) PetscCallCXX(ru->assign(size, 0.0));
  if (rdu) PetscCallCXX(rdu->assign(general ? size * dd : 0, 0.0));
  if (rd2u) PetscCallCXX(rd2u->assign(general ? size * dd : 0, 0.0));
  if (!general)
    for (size_t i = 0; i < size; i++) res[i] = Lu[i] + pde->c * u[i];
  std::vector<double> r(2048), ra(2048), d1(2048 * dd), d2(2048 * dd), g1(2048 * dd), g2(2048 * dd);
  PetscCall(ForPoints(st, d, p, [&](size_t s, size_t c, const double *x) {
    const PetscInt n = static_cast<PetscInt>(c);
    if (ierr) return PETSC_SUCCESS;
    if (general) {
      for (size_t k = 0; k < dd; k++) {
        std::copy_n(&du[k * size + s], c, &d1[k * c]);
        std::copy_n(&d2u[k * size + s], c, &d2[k * c]);
      }
      ierr =
        pde->residual(n, d, x, &u[s], d1.data(), d2.data(), r.data(), ru ? ra.data() : NULL, ru ? g1.data() : NULL, ru ? g2.data() : NULL, pde->residualctx);
      for (size_t i = 0; i < c; i++) res[s + i] = r[i];
      if (ru) {
        std::copy_n(ra.data(), c, &(*ru)[s]);
        for (size_t k = 0; k < dd; k++) {
          std::copy_n(&g1[k * c], c, &(*rdu)[k * size + s]);
          std::copy_n(&g2[k * c], c, &(*rd2u)[k * size + s]);
        }
      }
    } else if (pde->reaction) {
      ierr = pde->reaction(n, d, x, &u[s], NULL, NULL, r.data(), ru ? ra.data() : NULL, NULL, NULL, pde->reactionctx);
      for (size_t i = 0; i < c; i++) res[s + i] += r[i];
      if (ru) std::copy_n(ra.data(), c, &(*ru)[s]);
    }
    if (!ierr && pde->source) {
      ierr = pde->source(n, d, x, -1, r.data(), pde->sourcectx);
      for (size_t i = 0; i < c; i++) res[s + i] -= r[i];
    }
    return PETSC_SUCCESS;
  }));
  PetscCall(AgreeCallback(pde, ierr, "source or residual"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   |u - exact| <= max |gap on the boundary| + kappa max |residual|:
     second order, all a_k of one sign, zero-order coefficient not of that sign: comparison with a parabola along any one dimension (maximum
                   principle), kappa = min_k L_k^2/(8 |a_k|)
     first order:  along characteristics, kappa = min_k L_k/|b_k|
   Otherwise (nonlinear terms, Neumann sides, mixed signs) the same number is an indicator, not a bound.
*/
static double Kappa(SkeanGPPDE pde)
{
  double kappa  = -1;
  bool   second = pde->residual != nullptr;
  for (int k = 0; k < pde->dim; k++) second = second || pde->a[k] != 0;
  for (int k = 0; k < pde->dim; k++) {
    const double L = pde->hi[k] - pde->lo[k], a = pde->residual ? 1.0 : std::fabs(pde->a[k]),
                 t = second ? (a > 0 ? L * L / (8 * a) : -1) : (pde->b[k] != 0 ? L / std::fabs(pde->b[k]) : -1);
    if (t >= 0 && (kappa < 0 || t < kappa)) kappa = t;
  }
  return kappa < 0 ? 1.0 : kappa;
}

/* Largest gap on the sides with a condition: of values, and of derivatives times the length of the side. p: the points along the sides, of this process */
static PetscErrorCode LargestGap(SkeanGPPDE pde, const PointSet &p, const std::vector<double> &coef, double *gap)
{
  SkeanGPPDEState_Private *st   = pde->state;
  const int                d    = static_cast<int>(pde->dim);
  PetscErrorCode           ierr = PETSC_SUCCESS;
  std::vector<double>      u, g(2048);

  PetscFunctionBegin;
  *gap = 0;
  for (int side = 0; side < 2 * d; side++) {
    const int k = side / 2;
    if (pde->bc[side] == SKEAN_GPPDE_BC_NONE) continue;
    const bool   periodic = pde->bc[side] == SKEAN_GPPDE_BC_PERIODIC, slope = pde->bc[side] == SKEAN_GPPDE_BC_NEUMANN;
    const double L = pde->hi[k] - pde->lo[k];
    PointSet     f = p;
    if (periodic && side % 2) continue;
    PetscCallCXX({
      const double end[2] = {pde->lo[k], pde->hi[k]};
      Dense        E0, E1;
      Dense *const E[3] = {&E0, &E1, nullptr};
      PetscCall(st->basis[k].Evaluate(st->spec[k], 2, end, E));
      f.x[k].assign(1, end[side % 2]);
      f.E[k][0] = Dense(1, E0.n);
      for (size_t a = 0; a < E0.n; a++) f.E[k][0](0, a) = periodic ? E0(0, a) - E0(1, a) : (slope ? L * E1(side % 2, a) : E0(side % 2, a));
      f.n[k] = 1;
    });
    PetscCall(Fields(pde, f, coef, &u, nullptr, nullptr, nullptr));
    PetscCall(ForPoints(st, d, f, [&](size_t s, size_t c, const double *x) {
      std::fill(g.begin(), g.end(), 0.0);
      if (!ierr && pde->bcfn[side]) ierr = pde->bcfn[side](static_cast<PetscInt>(c), d, x, side, g.data(), pde->bcctx[side]);
      for (size_t i = 0; i < c; i++) *gap = std::max(*gap, std::fabs(u[s + i] - (slope ? L : 1.0) * g[i]));
      return PETSC_SUCCESS;
    }));
  }
  PetscCall(AgreeCallback(pde, ierr, "boundary"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CheckBound(SkeanGPPDE pde, const std::vector<double> &coef, double *bound, double *umax)
{
  SkeanGPPDEState_Private *st = pde->state;
  const int                d  = static_cast<int>(pde->dim);
  PointSet                 p;
  std::vector<double>      u, Lu, du, d2u, res;
  double                   worst[3] = {0, 0, 0}, all[3]; /* residual, gap, |u| */

  PetscFunctionBegin;
  PetscCall(PetscLogEventBegin(SKEAN_GPPDE_Check, pde, 0, 0, 0));
  for (int k = 0; k < d; k++) PetscCallCXX(p.x[k] = MidPoints(st->x[k], d == 3 ? 80 : 2000));
  PetscCall(PreparePoints(pde, &p, 2));
  PetscCall(Fields(pde, p, coef, &u, pde->residual ? nullptr : &Lu, pde->residual ? &du : nullptr, pde->residual ? &d2u : nullptr));
  PetscCall(Residual(pde, p, u, Lu, du, d2u, res, nullptr, nullptr, nullptr));
  for (double v : res) worst[0] = std::max(worst[0], std::isfinite(v) ? std::fabs(v) : PETSC_MAX_REAL);
  for (double v : u) worst[2] = std::max(worst[2], std::fabs(v));
  PetscCall(LargestGap(pde, p, coef, &worst[1]));
  PetscCallMPI(MPI_Allreduce(worst, all, 3, MPI_DOUBLE, MPI_MAX, PetscObjectComm((PetscObject)pde)));
  *bound = all[1] + Kappa(pde) * all[0];
  *umax  = all[2];
  PetscCall(PetscLogEventEnd(SKEAN_GPPDE_Check, pde, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Orthonormal sine transform of m numbers; its own inverse */
static Dense SineTransform(size_t m)
{
  const double        c = std::sqrt(2.0 / static_cast<double>(m + 1));
  std::vector<double> sn(2 * (m + 1));
  Dense               S(m, m);
  for (size_t j = 0; j < sn.size(); j++) sn[j] = c * std::sin(PETSC_PI * static_cast<double>(j) / static_cast<double>(m + 1));
  for (size_t j = 0; j < m; j++)
    for (size_t i = 0; i < m; i++) S(i, j) = sn[(i + 1) * (j + 1) % sn.size()];
  return S;
}

PetscErrorCode EstimateError(SkeanGPPDE pde, const std::vector<double> &coef, double *estimate)
{
  SkeanGPPDEState_Private *st       = pde->state;
  const int                d        = static_cast<int>(pde->dim);
  bool                     elliptic = pde->residual == nullptr && pde->grid == SKEAN_GPPDE_GRID_UNIFORM;
  PointSet                 p;
  std::vector<double>      u, Lu, res, ru, lambda[3];
  Dense                    S[3];
  const Dense             *F[3] = {&S[0], &S[1], &S[2]};
  double                   gap, all, shift;
  FlaggedSum               sum(3), e2(1);

  PetscFunctionBegin;
  for (int k = 0; k < d; k++)
    elliptic =
      elliptic && pde->b[k] == 0 && pde->a[k] * pde->a[0] > 0 && pde->bc[2 * k] == SKEAN_GPPDE_BC_DIRICHLET && pde->bc[2 * k + 1] == SKEAN_GPPDE_BC_DIRICHLET;
  if (!elliptic) {
    double bound, umax;
    PetscCall(CheckBound(pde, coef, &bound, &umax));
    *estimate = umax > 0 ? bound / umax : bound;
    if (!std::isfinite(*estimate)) *estimate = PETSC_MAX_REAL;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscLogEventBegin(SKEAN_GPPDE_Check, pde, 0, 0, 0));
  for (int k = 0; k < d; k++) {
    const size_t m = 2 * static_cast<size_t>(pde->n[k]) - 3;
    const double L = pde->hi[k] - pde->lo[k], h = L / static_cast<double>(m + 1);
    PetscCallCXX({
      S[k] = SineTransform(m);
      for (size_t i = 0; i < m; i++) {
        p.x[k].push_back(pde->lo[k] + h * static_cast<double>(i + 1));
        lambda[k].push_back(-pde->a[k] * std::pow(2 / h * std::sin(0.5 * PETSC_PI * static_cast<double>(i + 1) / static_cast<double>(m + 1)), 2));
      }
    });
  }
  PetscCall(PreparePoints(pde, &p, 2));
  PetscCall(Fields(pde, p, coef, &u, &Lu, nullptr, nullptr));
  PetscCall(Residual(pde, p, u, Lu, {}, {}, res, &ru, nullptr, nullptr));
  for (size_t i = 0; i < u.size(); i++) {
    sum[0] += u[i] * u[i];
    sum[1] += ru[i];
  }
  sum[2] = static_cast<double>(u.size());
  PetscCall(sum.Reduce(PetscObjectComm((PetscObject)pde), false, nullptr));
  shift = pde->c + sum[1] / sum[2];
  PetscCall(ApplyModes(st->grid, p.n, F, false, res.data(), Lu));
  const TensorBox box = st->grid.Box(0, p.n);
  for (PetscInt64 t = 0; t < box.Volume(); t++) {
    double     l    = shift;
    PetscInt64 rest = t;
    for (int k = d - 1; k >= 0; k--) {
      l += lambda[k][static_cast<size_t>(box.lo[k] + rest % box.Length(k))];
      rest /= box.Length(k);
    }
    e2[0] += Lu[static_cast<size_t>(t)] * Lu[static_cast<size_t>(t)] / (l * l);
  }
  PetscCall(e2.Reduce(PetscObjectComm((PetscObject)pde), false, nullptr));
  PetscCall(LargestGap(pde, p, coef, &gap));
  PetscCallMPI(MPI_Allreduce(&gap, &all, 1, MPI_DOUBLE, MPI_MAX, PetscObjectComm((PetscObject)pde)));
  const double scale = sum[0] > 0 ? std::sqrt(sum[0]) : 1.0;
  *estimate          = (std::sqrt(e2[0]) + std::sqrt(sum[2]) * all) / scale;
  if (!std::isfinite(*estimate)) *estimate = PETSC_MAX_REAL;
  PetscCall(PetscLogEventEnd(SKEAN_GPPDE_Check, pde, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sampling along lines in dimension k through the box, or on one of its sides; the other coordinates from an additive recurrence
   (multiples of the inverse golden and plastic numbers), so that they avoid symmetry planes */
static PetscErrorCode SampleLines(SkeanGPPDE pde, int k, SkeanGPPDEFieldFn fn, void *ctx, int side, size_t lines, std::vector<double> *f)
{
  const size_t        n = static_cast<size_t>(pde->n[k]), d = static_cast<size_t>(pde->dim);
  const double        step[3] = {0.7548776662466927, 0.5698402909980532, 0.6180339887498949};
  std::vector<double> x;

  PetscFunctionBegin;
  PetscCallCXX(x.resize(n * d));
  PetscCallCXX(f->resize(n * lines));
  for (size_t l = 0; l < lines; l++) {
    for (size_t i = 0; i < n; i++)
      for (size_t j = 0, other = 0; j < d; j++) {
        double t = static_cast<double>(i) / static_cast<double>(n - 1);
        if (static_cast<int>(j) != k) t = std::fmod(0.5 + static_cast<double>(l + 1) * step[d == 2 ? 2 : other++], 1.0);
        if (side >= 0 && static_cast<int>(j) == side / 2) t = side % 2;
        x[i * d + j] = pde->lo[j] + t * (pde->hi[j] - pde->lo[j]);
      }
    PetscCall(fn(static_cast<PetscInt>(n), static_cast<PetscInt>(d), x.data(), side, &(*f)[l * n], ctx));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FindFrequencies(SkeanGPPDE pde, int k, std::vector<double> *freq)
{
  const double        L = pde->hi[k] - pde->lo[k];
  std::vector<double> f, all(1, 0.0);

  PetscFunctionBegin;
  if (pde->nfreq[k] >= 0) {
    PetscCallCXX(freq->assign(pde->freq[k], pde->freq[k] + pde->nfreq[k]));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  auto merge = [&](size_t lines) {
    /* each set of data is judged by its own highest peak; two peaks nearer than half a cycle over the box are one */
    for (double p : PeriodogramPeaks(static_cast<size_t>(pde->n[k]), lines, f.data(), L, 1e-3, 60)) {
      bool known = false;
      for (double q : all) known = known || std::fabs(p - q) * L < 0.5;
      if (!known) all.push_back(p);
    }
  };
  if (pde->source) {
    const size_t lines = pde->dim == 1 ? 1 : 48;
    PetscCall(SampleLines(pde, k, pde->source, pde->sourcectx, -1, lines, &f));
    PetscCallCXX(merge(lines));
  }
  for (int side = 0; side < 2 * pde->dim; side++)
    if (side / 2 != k && pde->bcfn[side]) {
      const size_t lines = pde->dim == 2 ? 1 : 16;
      PetscCall(SampleLines(pde, k, pde->bcfn[side], pde->bcctx[side], side, lines, &f));
      PetscCallCXX(merge(lines));
    }
  std::sort(all.begin(), all.end());
  PetscCallCXX(*freq = all);
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace gp
} // namespace skean
