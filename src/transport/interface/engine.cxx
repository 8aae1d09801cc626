/* The passes over a distributed cost: tiles (stored rows or point clouds) and sparse costs */
#include "engine.hpp"
#include "../kernels/exp.hpp"
#include <skean/private/reduce.hpp>
#include <algorithm>
#include <numeric>

namespace skean {
namespace transport {

static constexpr PetscInt kChunk = 1024; /* columns exponentiated while they are in the first cache */
static constexpr PetscInt kTile  = 64;   /* points of a truncation tile */
static constexpr double   kTiny = 1e-280, kHuge = 1e280;
static constexpr double   kSlack = 4.0; /* e-folds by which a row's potential may rise within a truncated pass before the row is done again */

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

/* ------------------------------------------------------------------------------------------------------------------------------ tiles */

PetscErrorCode TileEngine::SetUp()
{
  PetscFunctionBegin;
  if (T.gemm) group = 16;
  while (group > 1 && static_cast<PetscInt64>(group) * m > (1 << 23)) group /= 2;
  PetscCallCXX(K.resize(static_cast<size_t>(group) * PetscMax(m, 1)));
  PetscCallCXX(idx.resize(kChunk));
  for (PetscInt j = 0; j < m; j += kChunk) PetscCallCXX(all.push_back({j, PetscMin(kChunk, m - j)}));
  const bool metric = T.kind == CostKind::SQEUCLIDEAN || T.kind == CostKind::EUCLIDEAN || T.kind == CostKind::L1 || T.kind == CostKind::LP;
  if (cutoff > 0 && metric && !T.gemm && T.d <= 8) {
    const size_t d = static_cast<size_t>(T.d);

    /* rows and columns in the order of a Morton curve through the common box, so that tiles are compact */
    std::vector<double> lo(d, PETSC_MAX_REAL), hi(d, -PETSC_MAX_REAL);
    for (PetscInt i = 0; i < n; ++i)
      for (size_t k = 0; k < d; ++k) {
        lo[k] = PetscMin(lo[k], T.X[i * d + k]);
        hi[k] = PetscMax(hi[k], T.X[i * d + k]);
      }
    for (size_t k = 0; k < d; ++k)
      for (PetscInt j = 0; j < m; ++j) {
        lo[k] = PetscMin(lo[k], T.Y[k * m + j]);
        hi[k] = PetscMax(hi[k], T.Y[k * m + j]);
      }
    auto order = [&](PetscInt count, auto point, std::vector<PetscInt> &perm) {
      std::vector<PetscInt64> code(count);
      std::vector<double>     x(d);
      for (PetscInt i = 0; i < count; ++i) {
        for (size_t k = 0; k < d; ++k) x[k] = point(i, k);
        code[i] = MortonCode(T.d, x.data(), lo.data(), hi.data());
      }
      perm.resize(count);
      std::iota(perm.begin(), perm.end(), 0);
      std::stable_sort(perm.begin(), perm.end(), [&](PetscInt a, PetscInt b) { return code[a] < code[b]; });
    };
    PetscCallCXX(order(
      n, [&](PetscInt i, size_t k) { return T.X[i * d + k]; }, rowperm));
    PetscCallCXX(order(
      m, [&](PetscInt j, size_t k) { return T.Y[k * m + j]; }, colperm));
    std::vector<double> X2, Y2;
    PetscCallCXX(X2.resize(T.X.size()));
    PetscCallCXX(Y2.resize(T.Y.size()));
    for (PetscInt i = 0; i < n; ++i)
      for (size_t k = 0; k < d; ++k) X2[i * d + k] = T.X[rowperm[i] * d + k];
    for (size_t k = 0; k < d; ++k)
      for (PetscInt j = 0; j < m; ++j) Y2[k * m + j] = T.Y[k * m + colperm[j]];
    T.X.swap(X2);
    T.Y.swap(Y2);
    auto boxes = [&](PetscInt count, auto point, std::vector<Box> &box, std::vector<double> &l, std::vector<double> &h) {
      const PetscInt nb = (count + kTile - 1) / kTile;
      l.assign(nb * d, PETSC_MAX_REAL);
      h.assign(nb * d, -PETSC_MAX_REAL);
      for (PetscInt b = 0; b < nb; ++b) {
        box.push_back({b * kTile, PetscMin((b + 1) * kTile, count), 0.0});
        for (PetscInt i = box[b].lo; i < box[b].hi; ++i)
          for (size_t k = 0; k < d; ++k) {
            l[k * nb + b] = PetscMin(l[k * nb + b], point(i, k));
            h[k * nb + b] = PetscMax(h[k * nb + b], point(i, k));
          }
      }
    };
    PetscCallCXX(boxes(
      n, [&](PetscInt i, size_t k) { return T.X[i * d + k]; }, rowbox, rowlo, rowhi));
    PetscCallCXX(boxes(
      m, [&](PetscInt j, size_t k) { return T.Y[k * m + j]; }, colbox, collo, colhi));
    PetscCallCXX(bound.resize(colbox.size()));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TileEngine::GatherCols(const double *loc, std::vector<double> &out)
{
  PetscFunctionBegin;
  PetscCall(Gather(loc, out));
  if (!colperm.empty()) {
    PetscCallCXX(full2.resize(m));
    for (PetscInt k = 0; k < m; ++k) full2[k] = out[colperm[k]];
    out.swap(full2);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TileEngine::ScatterCols(std::vector<double> &in, double *loc, MPI_Op op)
{
  PetscFunctionBegin;
  if (!colperm.empty()) {
    PetscCallCXX(full2.resize(m));
    for (PetscInt k = 0; k < m; ++k) full2[colperm[k]] = in[k];
    in.swap(full2);
  }
  PetscCall(Scatter(in, loc, op));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bounds of f_i + g_j - c_ij over a pair of tiles by the largest potentials and the distance of the boxes */
void TileEngine::Segments(const Box &rb, PetscInt b, double inv, std::vector<Seg> &segs)
{
  const size_t   d = static_cast<size_t>(T.d), nb = colbox.size(), nrb = rowbox.size();
  const PetscInt count = static_cast<PetscInt>(nb);

  std::fill(bound.begin(), bound.end(), 0.0);
  for (size_t k = 0; k < d; ++k) {
    const double  rl = rowlo[k * nrb + b], rh = rowhi[k * nrb + b];
    const double *cl = collo.data() + k * nb, *ch = colhi.data() + k * nb;
    switch (T.kind) {
    case CostKind::L1:
      for (PetscInt t = 0; t < count; ++t) {
        const double g = PetscMax(PetscMax(cl[t] - rh, rl - ch[t]), 0.0);
        bound[t] += g;
      }
      break;
    case CostKind::LP:
      for (PetscInt t = 0; t < count; ++t) {
        const double g = PetscMax(PetscMax(cl[t] - rh, rl - ch[t]), 0.0);
        bound[t] += std::pow(g, T.p);
      }
      break;
    default:
      for (PetscInt t = 0; t < count; ++t) {
        const double g = PetscMax(PetscMax(cl[t] - rh, rl - ch[t]), 0.0);
        bound[t] += g * g;
      }
    }
  }
  if (T.kind == CostKind::EUCLIDEAN)
    for (PetscInt t = 0; t < count; ++t) bound[t] = std::sqrt(bound[t]);
  segs.clear();
  for (PetscInt t = 0; t < count; ++t) {
    if (rb.fmax + colbox[t].fmax - inv * bound[t] < -(cutoff + kSlack)) continue;
    const PetscInt lo = colbox[t].lo, len = colbox[t].hi - lo;
    if (!segs.empty() && segs.back().j + segs.back().nc == lo && segs.back().nc + len <= kChunk)
      segs.back().nc += len;
    else
      segs.push_back({lo, len});
  }
}

template <class F>
PetscErrorCode TileEngine::ForRows(bool truncate, double inv, const double *u, F body)
{
  PetscErrorCode ierr = PETSC_SUCCESS;

  PetscFunctionBegin;
  if (!truncate) {
    for (PetscInt k = 0; k < n && !ierr; k += group) {
      const PetscInt nr = PetscMin(group, n - k);
      ierr              = body(k, nr, all);
      entries += static_cast<double>(nr) * m;
    }
  } else {
    std::vector<Seg> segs;
    for (size_t b = 0; b < rowbox.size() && !ierr; ++b) {
      Box &rb = rowbox[b];
      rb.fmax = -PETSC_MAX_REAL;
      for (PetscInt k = rb.lo; k < rb.hi; ++k) rb.fmax = PetscMax(rb.fmax, u[rowperm[k]] - logr[rowperm[k]]);
      Segments(rb, static_cast<PetscInt>(b), inv, segs);
      double nc = 0;
      for (const Seg &s : segs) nc += s.nc;
      entries += nc * (rb.hi - rb.lo);
      for (PetscInt k = rb.lo; k < rb.hi && !ierr; ++k) ierr = body(k, 1, segs);
    }
  }
  if (T.kind == CostKind::CALLBACK)
    PetscCall(Agree(ierr));
  else
    PetscCall(ierr);
  ++passes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* K for rows k0..k0+nr and their sums over the segments */
PetscErrorCode TileEngine::Exp(PetscInt k0, PetscInt nr, const std::vector<Seg> &segs, double inv, const double *uk, const double *v, double *s, double *cost)
{
  const size_t ld = static_cast<size_t>(m);

  PetscFunctionBegin;
  for (PetscInt r = 0; r < nr; ++r) s[r] = 0;
  for (const Seg &g : segs) {
    PetscCall(FillCosts(T, k0, nr, g.j, g.nc, K.data() + g.j, ld));
    for (PetscInt r = 0; r < nr; ++r) {
      double *k = K.data() + r * ld + g.j;
      s[r] += cost ? ExpSumCost(g.nc, uk[r], inv, v + g.j, k, cost + r) : ExpSum(g.nc, uk[r], inv, v + g.j, k);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* the largest v_j - inv c_kj */
PetscErrorCode TileEngine::RowMax(PetscInt k, const std::vector<Seg> &segs, double inv, const double *v, double *M)
{
  PetscFunctionBegin;
  *M = -PETSC_MAX_REAL;
  for (const Seg &g : segs) {
    PetscCall(FillCosts(T, k, 1, g.j, g.nc, K.data() + g.j, static_cast<size_t>(m)));
    *M = PetscMax(*M, MaxOf(g.nc, inv, v + g.j, K.data() + g.j));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

void TileEngine::KeepRow(PetscInt row, const std::vector<Seg> &segs, const double *Krow, double t, Keep *keep)
{
  for (const Seg &g : segs) {
    const double  *k   = Krow + g.j;
    const PetscInt cnt = Select(g.nc, k, keep->thr / t, idx.data());
    if (keep->i.size() + cnt > keep->cap) {
      keep->overflow = true;
      return;
    }
    for (PetscInt q = 0; q < cnt; ++q) {
      keep->i.push_back(row);
      keep->j.push_back(colperm.empty() ? g.j + idx[q] : colperm[g.j + idx[q]]);
      keep->p.push_back(t * k[idx[q]]);
    }
  }
}

static void BoxMax(std::vector<double> &fmax, PetscInt tile, PetscInt m, const double *v, const double *lc)
{
  for (size_t b = 0; b < fmax.size(); ++b) {
    fmax[b] = -PETSC_MAX_REAL;
    for (PetscInt j = static_cast<PetscInt>(b) * tile; j < PetscMin((static_cast<PetscInt>(b) + 1) * tile, m); ++j) fmax[b] = PetscMax(fmax[b], v[j] - lc[j]);
  }
}

PetscErrorCode TileEngine::Fused(double inv, double lam, const double *v, double *u, double *a, double *lb, Keep *keep)
{
  std::vector<double> vf, lcf;
  const size_t        ld = static_cast<size_t>(m);

  PetscFunctionBegin;
  PetscCall(GatherCols(v, vf));
  if (Truncated()) {
    std::vector<double> fm;
    PetscCall(GatherCols(logc, lcf));
    PetscCallCXX(fm.resize(colbox.size()));
    BoxMax(fm, kTile, m, vf.data(), lcf.data());
    for (size_t b = 0; b < colbox.size(); ++b) colbox[b].fmax = fm[b];
  }
  PetscCallCXX(acc.assign(m, 0.0));
  const double *vp  = vf.data();
  double       *bp  = acc.data();
  auto          one = [&](PetscInt k0, PetscInt nr, const std::vector<Seg> &segs) -> PetscErrorCode {
    double s[16], uk[16];
    for (PetscInt r = 0; r < nr; ++r) uk[r] = u[Row(k0 + r)];
    PetscCall(Exp(k0, nr, segs, inv, uk, vp, s, nullptr));
    for (PetscInt r = 0; r < nr; ++r) {
      const PetscInt          i    = Row(k0 + r);
      const double           *Krow = K.data() + r * ld;
      const std::vector<Seg> *sg   = &segs;
      double                  unew = logr[i] + lam * (uk[r] - std::log(s[r]));
      /* out of range, or (truncated) the row was bounded by a potential that turned out too small: the row again, with its maximum */
      if (!(s[r] > kTiny && s[r] < kHuge) || (sg != &all && unew > uk[r] + kSlack)) {
        double M;
        sg = &all;
        PetscCall(RowMax(k0 + r, all, inv, vp, &M));
        uk[r] = -M;
        /* in the group's first buffer, which is free: row 0 is this row or done */
        PetscCall(Exp(k0 + r, 1, all, inv, &uk[r], vp, &s[r], nullptr));
        Krow = K.data();
        unew = logr[i] + lam * (uk[r] - std::log(s[r]));
      }
      const double t = std::exp(unew - uk[r]);
      u[i]           = unew;
      if (a) a[i] = t * s[r];
      for (const Seg &g : *sg) AddScaled(g.nc, t, Krow + g.j, bp + g.j);
      if (keep) KeepRow(i, *sg, Krow, t, keep);
    }
    return PETSC_SUCCESS;
  };
  PetscCall(ForRows(Truncated(), inv, u, one));
  PetscCall(ScatterCols(acc, lb, MPI_SUM));
  /* a column that no row reaches: its sum underflowed, or its tiles were skipped on account of a potential far too small */
  bool         rescue = false;
  const double floor  = Truncated() ? std::exp(-cutoff) * 1e6 : 0.0;
  for (PetscInt j = 0; j < mloc; ++j) rescue = rescue || !(lb[j] > PetscMax(kTiny, floor * std::exp(logc[j])) && lb[j] < kHuge);
  PetscCall(AgreeAny(comm, rescue, &rescue));
  if (rescue)
    PetscCall(ColumnLSE(inv, u, v, lb));
  else
    for (PetscInt j = 0; j < mloc; ++j) lb[j] = std::log(lb[j]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* lb_j = v_j + LSE_i (u_i - inv c_ij) with the true maximum: two passes */
PetscErrorCode TileEngine::ColumnLSE(double inv, const double *u, const double *v, double *lb)
{
  std::vector<double> M, Mloc;

  PetscFunctionBegin;
  PetscCallCXX(M.assign(m, -PETSC_MAX_REAL));
  PetscCallCXX(Mloc.resize(PetscMax(mloc, 1)));
  PetscCall(ForRows(false, inv, u, [&](PetscInt k0, PetscInt nr, const std::vector<Seg> &segs) -> PetscErrorCode {
    for (const Seg &g : segs) {
      PetscCall(FillCosts(T, k0, nr, g.j, g.nc, K.data() + g.j, static_cast<size_t>(m)));
      for (PetscInt r = 0; r < nr; ++r) MaxInto(g.nc, u[Row(k0 + r)], inv, K.data() + static_cast<size_t>(r) * m + g.j, M.data() + g.j);
    }
    return PETSC_SUCCESS;
  }));
  PetscCall(ScatterCols(M, Mloc.data(), MPI_MAX));
  for (PetscInt j = 0; j < mloc; ++j) Mloc[j] = -Mloc[j];
  PetscCall(GatherCols(Mloc.data(), M));
  PetscCallCXX(acc.assign(m, 0.0));
  PetscCall(ForRows(false, inv, u, [&](PetscInt k0, PetscInt nr, const std::vector<Seg> &segs) -> PetscErrorCode {
    double s[16], uk[16];
    for (PetscInt r = 0; r < nr; ++r) uk[r] = u[Row(k0 + r)];
    PetscCall(Exp(k0, nr, segs, inv, uk, M.data(), s, nullptr));
    for (PetscInt r = 0; r < nr; ++r)
      for (const Seg &g : segs) AddScaled(g.nc, 1.0, K.data() + static_cast<size_t>(r) * m + g.j, acc.data() + g.j);
    return PETSC_SUCCESS;
  }));
  PetscCall(ScatterCols(acc, lb, MPI_SUM));
  for (PetscInt j = 0; j < mloc; ++j) lb[j] = v[j] - Mloc[j] + std::log(lb[j]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TileEngine::Marginals(double inv, const double *u, const double *v, double *a, double *b, double *cost)
{
  std::vector<double> vf;
  double              total = 0;

  PetscFunctionBegin;
  PetscCall(GatherCols(v, vf));
  PetscCallCXX(acc.assign(m, 0.0));
  PetscCall(ForRows(false, inv, u, [&](PetscInt k0, PetscInt nr, const std::vector<Seg> &segs) -> PetscErrorCode {
    double s[16], uk[16], w[16] = {0};
    for (PetscInt r = 0; r < nr; ++r) uk[r] = u[Row(k0 + r)];
    PetscCall(Exp(k0, nr, segs, inv, uk, vf.data(), s, cost ? w : nullptr));
    for (PetscInt r = 0; r < nr; ++r) {
      total += w[r];
      if (a) a[Row(k0 + r)] = s[r];
      if (b)
        for (const Seg &g : segs) AddScaled(g.nc, 1.0, K.data() + static_cast<size_t>(r) * m + g.j, acc.data() + g.j);
    }
    return PETSC_SUCCESS;
  }));
  if (b) PetscCall(ScatterCols(acc, b, MPI_SUM));
  if (cost) PetscCallMPI(MPI_Allreduce(&total, cost, 1, MPI_DOUBLE, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TileEngine::Products(double inv, const double *u, const double *v, const double *w, const double *a, const double *z, double *rowout,
                                    double *colout)
{
  std::vector<double> vf, wf;

  PetscFunctionBegin;
  PetscCall(GatherCols(v, vf));
  if (w) PetscCall(GatherCols(w, wf));
  if (Truncated()) {
    std::vector<double> lcf, fm;
    PetscCall(GatherCols(logc, lcf));
    PetscCallCXX(fm.resize(colbox.size()));
    BoxMax(fm, kTile, m, vf.data(), lcf.data());
    for (size_t b = 0; b < colbox.size(); ++b) colbox[b].fmax = fm[b];
  }
  PetscCallCXX(acc.assign(m, 0.0));
  PetscCall(ForRows(Truncated(), inv, u, [&](PetscInt k0, PetscInt nr, const std::vector<Seg> &segs) -> PetscErrorCode {
    double s[16], uk[16];
    for (PetscInt r = 0; r < nr; ++r) uk[r] = u[Row(k0 + r)];
    PetscCall(Exp(k0, nr, segs, inv, uk, vf.data(), s, nullptr));
    for (PetscInt r = 0; r < nr; ++r) {
      const PetscInt i    = Row(k0 + r);
      const double  *Krow = K.data() + static_cast<size_t>(r) * m;
      double         zi   = z ? z[i] : 0;
      if (w) {
        double p = 0;
        for (const Seg &g : segs) p += Dot(g.nc, Krow + g.j, wf.data() + g.j);
        if (rowout) rowout[i] = p;
        if (a) zi = p / a[i];
      }
      if (colout)
        for (const Seg &g : segs) AddScaled(g.nc, zi, Krow + g.j, acc.data() + g.j);
    }
    return PETSC_SUCCESS;
  }));
  if (colout) PetscCall(ScatterCols(acc, colout, MPI_SUM));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TileEngine::MinCols(const double *x, double *y)
{
  PetscFunctionBegin;
  PetscCallCXX(acc.assign(m, PETSC_MAX_REAL));
  PetscCall(ForRows(false, 1.0, x, [&](PetscInt k0, PetscInt nr, const std::vector<Seg> &segs) -> PetscErrorCode {
    for (const Seg &g : segs) {
      PetscCall(FillCosts(T, k0, nr, g.j, g.nc, K.data() + g.j, static_cast<size_t>(m)));
      for (PetscInt r = 0; r < nr; ++r) MinInto(g.nc, x[Row(k0 + r)], K.data() + static_cast<size_t>(r) * m + g.j, acc.data() + g.j);
    }
    return PETSC_SUCCESS;
  }));
  PetscCall(ScatterCols(acc, y, MPI_MIN));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TileEngine::MinRows(const double *y, double *x)
{
  std::vector<double> yf;

  PetscFunctionBegin;
  PetscCall(GatherCols(y, yf));
  PetscCall(ForRows(false, 1.0, x, [&](PetscInt k0, PetscInt nr, const std::vector<Seg> &segs) -> PetscErrorCode {
    double best[16];
    for (PetscInt r = 0; r < nr; ++r) best[r] = PETSC_MAX_REAL;
    for (const Seg &g : segs) {
      PetscCall(FillCosts(T, k0, nr, g.j, g.nc, K.data() + g.j, static_cast<size_t>(m)));
      for (PetscInt r = 0; r < nr; ++r) best[r] = PetscMin(best[r], MinOf(g.nc, yf.data() + g.j, K.data() + static_cast<size_t>(r) * m + g.j));
    }
    for (PetscInt r = 0; r < nr; ++r) x[Row(k0 + r)] = best[r];
    return PETSC_SUCCESS;
  }));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TileEngine::Bilinear(const double *x, const double *y, double *value)
{
  std::vector<double> yf;
  double              total = 0;

  PetscFunctionBegin;
  PetscCall(GatherCols(y, yf));
  PetscCall(ForRows(false, 1.0, x, [&](PetscInt k0, PetscInt nr, const std::vector<Seg> &segs) -> PetscErrorCode {
    for (const Seg &g : segs) {
      PetscCall(FillCosts(T, k0, nr, g.j, g.nc, K.data() + g.j, static_cast<size_t>(m)));
      for (PetscInt r = 0; r < nr; ++r) total += x[Row(k0 + r)] * Dot(g.nc, yf.data() + g.j, K.data() + static_cast<size_t>(r) * m + g.j);
    }
    return PETSC_SUCCESS;
  }));
  PetscCallMPI(MPI_Allreduce(&total, value, 1, MPI_DOUBLE, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TileEngine::Entries(double inv, const double *u, const double *v, Keep *keep)
{
  std::vector<double> vf;

  PetscFunctionBegin;
  PetscCall(GatherCols(v, vf));
  keep->Clear();
  PetscCall(ForRows(false, inv, u, [&](PetscInt k0, PetscInt nr, const std::vector<Seg> &segs) -> PetscErrorCode {
    double s[16], uk[16];
    for (PetscInt r = 0; r < nr; ++r) uk[r] = u[Row(k0 + r)];
    PetscCall(Exp(k0, nr, segs, inv, uk, vf.data(), s, nullptr));
    for (PetscInt r = 0; r < nr; ++r) KeepRow(Row(k0 + r), segs, K.data() + static_cast<size_t>(r) * m, 1.0, keep);
    return PETSC_SUCCESS;
  }));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Largest and median of the values of all processes. The sample is every stride-th row by its global number, so that it is the same rows for any
   number of processes. */
static PetscErrorCode MedianOf(MPI_Comm comm, std::vector<double> &mine, double *median)
{
  PetscMPIInt         size;
  std::vector<int>    cnt, dis;
  std::vector<double> everything;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallCXX(cnt.resize(size));
  PetscCallCXX(dis.assign(size, 0));
  int k = static_cast<int>(mine.size());
  PetscCallMPI(MPI_Allgather(&k, 1, MPI_INT, cnt.data(), 1, MPI_INT, comm));
  int total = 0;
  for (int r = 0; r < size; ++r) {
    dis[r] = total;
    total += cnt[r];
  }
  PetscCallCXX(everything.resize(PetscMax(total, 1)));
  PetscCallMPI(MPI_Allgatherv(mine.data(), k, MPI_DOUBLE, everything.data(), cnt.data(), dis.data(), MPI_DOUBLE, comm));
  everything.resize(total);
  *median = 0;
  if (total) {
    std::nth_element(everything.begin(), everything.begin() + total / 2, everything.end());
    *median = everything[total / 2];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TileEngine::Scale(double *cmax, double *cmedian)
{
  const PetscInt      target = 1 << 19; /* values in the sample */
  const PetscInt      rows = PetscMax(1, PetscMin(nglobal, target / PetscMax(m, 1))), stride = PetscMax(1, nglobal / rows);
  const PetscInt      cstride = PetscMax(1, m / target);
  std::vector<double> mine;
  double              mx = 0;

  PetscFunctionBegin;
  PetscCall(ForRows(false, 1.0, nullptr, [&](PetscInt k0, PetscInt nr, const std::vector<Seg> &segs) -> PetscErrorCode {
    for (const Seg &g : segs) {
      PetscCall(FillCosts(T, k0, nr, g.j, g.nc, K.data() + g.j, static_cast<size_t>(m)));
      for (PetscInt r = 0; r < nr; ++r) {
        const double *c = K.data() + static_cast<size_t>(r) * m + g.j;
        mx              = PetscMax(mx, MaxValue(g.nc, c));
        if (cmedian && (rlo + Row(k0 + r)) % stride == 0)
          for (PetscInt j = 0; j < g.nc; ++j)
            if ((colperm.empty() ? g.j + j : colperm[g.j + j]) % cstride == 0) mine.push_back(c[j]);
      }
    }
    return PETSC_SUCCESS;
  }));
  --passes; /* no exponentials, once */
  PetscCallMPI(MPI_Allreduce(&mx, cmax, 1, MPI_DOUBLE, MPI_MAX, comm));
  if (cmedian) PetscCall(MedianOf(comm, mine, cmedian));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ------------------------------------------------------------------------------------------------------------------------ sparse costs */

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
      if (keep && p > keep->thr) {
        if (keep->i.size() >= keep->cap)
          keep->overflow = true;
        else {
          keep->i.push_back(i);
          keep->j.push_back(ja[k]);
          keep->p.push_back(p);
        }
      }
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
  keep->Clear();
  for (PetscInt i = 0; i < n; ++i)
    for (PetscInt k = ia[i]; k < ia[i + 1]; ++k) {
      const double p = FastExp((u[i] + full[ja[k]]) - inv * ca[k]);
      if (p > keep->thr) {
        if (keep->i.size() >= keep->cap)
          keep->overflow = true;
        else {
          keep->i.push_back(i);
          keep->j.push_back(ja[k]);
          keep->p.push_back(p);
        }
      }
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
  if (cmedian) {
    std::vector<double> mine(ca);
    PetscCall(MedianOf(comm, mine, cmedian));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace transport
} // namespace skean
