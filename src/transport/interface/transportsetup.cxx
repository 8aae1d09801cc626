/* From the user's objects to an engine: masses, active rows and columns, costs */
#include "tiles.hpp"
#include "morton.hpp"
#include <skean/private/reduce.hpp>
#include <skean/private/rowblock.hpp>
#include <algorithm>

using namespace skean;
using namespace skean::transport;

PetscErrorCode Side::Sorted(MPI_Comm comm, PetscInt nlocal, std::vector<PetscSFNode> &from)
{
  PetscFunctionBegin;
  count = static_cast<PetscInt>(from.size());
  PetscCall(PetscSFDestroy(&sf));
  PetscCall(PetscSFCreate(comm, &sf));
  PetscCall(PetscSFSetGraph(sf, nlocal, count, NULL, PETSC_OWN_POINTER, from.data(), PETSC_COPY_VALUES));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Side::Numbers(Vec user, std::vector<PetscInt> *number) const
{
  PetscInt              lo, hi;
  std::vector<PetscInt> mine;

  PetscFunctionBegin;
  PetscCall(VecGetOwnershipRange(user, &lo, &hi));
  PetscCallCXX(number->assign(PetscMax(count, 1), -1));
  PetscCallCXX(mine.resize(PetscMax(hi - lo, 1)));
  for (PetscInt i = lo; i < hi; ++i) mine[i - lo] = i;
  PetscCall(ToEngine(MPIU_INT, mine.data(), number->data()));
  number->resize(count);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One marginal: indices and logs of the entries with mass. flags: negative, not finite */
static PetscErrorCode ReadMarginal(Vec vec, std::vector<PetscInt> &idx, std::vector<double> &mass, double *total, double flags[2])
{
  const PetscScalar *a;
  PetscInt           nloc;

  PetscFunctionBegin;
  PetscCall(VecGetLocalSize(vec, &nloc));
  PetscCall(VecGetArrayRead(vec, &a));
  idx.clear();
  mass.clear();
  *total = 0;
  for (PetscInt i = 0; i < nloc; ++i) {
    if (!std::isfinite(a[i]))
      flags[1] = 1;
    else if (a[i] < 0)
      flags[0] = 1;
    else if (a[i] > 0) {
      PetscCallCXX(idx.push_back(i));
      PetscCallCXX(mass.push_back(a[i]));
      *total += a[i];
    }
  }
  PetscCall(VecRestoreArrayRead(vec, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanTransportReadPoints_Private(Mat X, const std::vector<PetscInt> &idx, std::vector<double> &out, bool *finite)
{
  const PetscScalar *a;
  PetscInt           lda, d;

  PetscFunctionBegin;
  PetscCall(MatGetSize(X, NULL, &d));
  PetscCallCXX(out.resize(idx.size() * static_cast<size_t>(d)));
  PetscCall(MatDenseGetLDA(X, &lda));
  PetscCall(MatDenseGetArrayRead(X, &a));
  for (size_t i = 0; i < idx.size(); ++i)
    for (PetscInt k = 0; k < d; ++k) {
      const double x = a[idx[i] + static_cast<size_t>(k) * lda];
      out[i * d + k] = x;
      *finite        = *finite && std::isfinite(x);
    }
  PetscCall(MatDenseRestoreArrayRead(X, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Points of one side, with their masses, in the order of Morton's curve over the processes: passes then skip as much on many processes as on one. What a
   partial problem has added stays at the end of the last process */
static PetscErrorCode SortSide(MPI_Comm comm, PetscInt d, const double *lo, double width, PetscInt nlocal, Side *side, std::vector<double> &x,
                               std::vector<double> &mass, std::vector<double> &logmass)
{
  const size_t               n = side->idx.size(), dd = static_cast<size_t>(d), w = dd + 3;
  std::vector<std::uint64_t> key(n);
  std::vector<double>        item(n * w), rest(mass.begin() + static_cast<std::ptrdiff_t>(n), mass.end());
  std::vector<PetscSFNode>   from;
  PetscMPIInt                rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  MortonKeys(d, static_cast<PetscInt>(n), x.data(), lo, width, key.data());
  for (size_t i = 0; i < n; ++i) {
    double *to = item.data() + i * w;
    std::copy_n(x.begin() + static_cast<std::ptrdiff_t>(i * dd), dd, to);
    to[dd]     = mass[i];
    to[dd + 1] = rank;
    to[dd + 2] = static_cast<double>(side->idx[i]);
  }
  PetscCall(SortByKey(comm, w, false, key, item));
  PetscCallCXX(from.resize(key.size()));
  PetscCallCXX(x.resize(key.size() * dd));
  PetscCallCXX(mass.resize(key.size()));
  for (size_t i = 0; i < key.size(); ++i) {
    const double *at = item.data() + i * w;
    std::copy_n(at, dd, x.begin() + static_cast<std::ptrdiff_t>(i * dd));
    mass[i]       = at[dd];
    from[i].rank  = static_cast<PetscInt>(at[dd + 1]);
    from[i].index = static_cast<PetscInt>(at[dd + 2]);
  }
  PetscCallCXX(mass.insert(mass.end(), rest.begin(), rest.end()));
  PetscCallCXX(logmass.resize(PetscMax(mass.size(), size_t(1))));
  for (size_t i = 0; i < mass.size(); ++i) logmass[i] = std::log(mass[i]);
  PetscCall(side->Sorted(comm, nlocal, from));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BuildPoints(SkeanTransport t, TileEngine *e)
{
  Work               *w    = static_cast<Work *>(t->work);
  MPI_Comm            comm = PetscObjectComm((PetscObject)t);
  CostTiles          &T    = e->T;
  PetscInt            n, d, m, d2, nl, rl, ml, cl;
  PetscBool           dx, dy;
  std::vector<double> yloc;
  bool                finite = true, any;

  PetscFunctionBegin;
  PetscCall(PetscObjectTypeCompareAny((PetscObject)t->X, &dx, MATSEQDENSE, MATMPIDENSE, MATDENSE, ""));
  PetscCall(PetscObjectTypeCompareAny((PetscObject)t->Y, &dy, MATSEQDENSE, MATMPIDENSE, MATDENSE, ""));
  PetscCheck(dx && dy, comm, PETSC_ERR_SUP, "Clouds of points must be dense matrices");
  PetscCall(MatGetSize(t->X, &n, &d));
  PetscCall(MatGetSize(t->Y, &m, &d2));
  PetscCheck(d == d2, comm, PETSC_ERR_ARG_SIZ, "Sources have %" PetscInt_FMT " coordinates, targets %" PetscInt_FMT, d, d2);
  PetscCheck(d >= 1, comm, PETSC_ERR_ARG_SIZ, "Points have no coordinates");
  PetscCall(VecGetSize(t->r, &nl));
  PetscCall(VecGetSize(t->c, &ml));
  PetscCheck(n == nl, comm, PETSC_ERR_ARG_SIZ, "There are %" PetscInt_FMT " sources and %" PetscInt_FMT " masses for them", n, nl);
  PetscCheck(m == ml, comm, PETSC_ERR_ARG_SIZ, "There are %" PetscInt_FMT " targets and %" PetscInt_FMT " masses for them", m, ml);
  PetscCall(MatGetLocalSize(t->X, &rl, NULL));
  PetscCall(MatGetLocalSize(t->Y, &cl, NULL));
  PetscCall(VecGetLocalSize(t->r, &nl));
  PetscCall(VecGetLocalSize(t->c, &ml));
  PetscCall(AgreeAny(comm, rl != nl || cl != ml, &any));
  PetscCheck(!any, comm, PETSC_ERR_ARG_INCOMP, "Points and masses are distributed differently");
  switch (t->costtype) {
  case SKEAN_TRANSPORT_COST_SQEUCLIDEAN:
    T.kind = CostKind::SQEUCLIDEAN;
    break;
  case SKEAN_TRANSPORT_COST_EUCLIDEAN:
    T.kind = CostKind::EUCLIDEAN;
    break;
  case SKEAN_TRANSPORT_COST_L1:
    T.kind = CostKind::L1;
    break;
  case SKEAN_TRANSPORT_COST_LP:
    T.kind = CostKind::LP;
    break;
  case SKEAN_TRANSPORT_COST_COSINE:
    T.kind = CostKind::COSINE;
    break;
  case SKEAN_TRANSPORT_COST_USER:
    T.kind = CostKind::CALLBACK;
    break;
  }
  PetscCheck(T.kind != CostKind::CALLBACK || t->costfn, comm, PETSC_ERR_ORDER, "SkeanTransportSetCostFunction() must be called for the cost type user");
  if (T.kind == CostKind::LP && t->costexponent == 1.0) T.kind = CostKind::L1;
  if (T.kind == CostKind::LP && t->costexponent == 2.0) T.kind = CostKind::SQEUCLIDEAN;
  T.p   = t->costexponent;
  T.fn  = t->costfn;
  T.ctx = t->costctx;
  T.d   = d;
  T.n   = e->n;
  PetscCall(SkeanTransportReadPoints_Private(t->X, w->rows.idx, T.X, &finite));
  PetscCall(SkeanTransportReadPoints_Private(t->Y, w->cols.idx, yloc, &finite));
  PetscCall(AgreeAny(comm, !finite, &any));
  PetscCheck(!any, comm, PETSC_ERR_FP, "A point has a coordinate that is not finite");
  const bool centred = T.kind != CostKind::CALLBACK && T.kind != CostKind::COSINE;
  if (centred) {
    /* subtract the mean of all points: costs do not change, inner products cancel less */
    FlaggedSum s(static_cast<size_t>(d) + 1);
    for (PetscInt i = 0; i < e->n; ++i)
      for (PetscInt k = 0; k < d; ++k) s[k] += T.X[i * d + k];
    for (PetscInt j = 0; j < e->mloc; ++j)
      for (PetscInt k = 0; k < d; ++k) s[k] += yloc[j * d + k];
    s[d] = static_cast<double>(e->n) + e->mloc;
    PetscCall(s.Reduce(comm, false, NULL));
    for (PetscInt k = 0; k < d; ++k) {
      const double mean = s[k] / PetscMax(s[d], 1.0);
      for (PetscInt i = 0; i < e->n; ++i) T.X[i * d + k] -= mean;
      for (PetscInt j = 0; j < e->mloc; ++j) yloc[j * d + k] -= mean;
    }
  }
  if (T.kind == CostKind::COSINE) {
    bool zero      = false;
    auto normalise = [&](std::vector<double> &x, PetscInt count) {
      for (PetscInt i = 0; i < count; ++i) {
        double s = 0;
        for (PetscInt k = 0; k < d; ++k) s += x[i * d + k] * x[i * d + k];
        zero = zero || !(s > 0);
        s    = s > 0 ? 1.0 / std::sqrt(s) : 0.0;
        for (PetscInt k = 0; k < d; ++k) x[i * d + k] *= s;
      }
    };
    normalise(T.X, e->n);
    normalise(yloc, e->mloc);
    PetscCall(AgreeAny(comm, zero, &any));
    PetscCheck(!any, comm, PETSC_ERR_ARG_OUTOFRANGE, "The cosine of a point at the origin is not defined");
  }
  PetscMPIInt size;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  if (size > 1 && w->cutoff > 0 && d <= 8 && HasBounds(T.kind, T.p) && !t->sorted) {
    double box[2 * SKEAN_TRANSPORT_MAXDIM], lo[SKEAN_TRANSPORT_MAXDIM], width;
    std::fill_n(box, 2 * SKEAN_TRANSPORT_MAXDIM, -PETSC_MAX_REAL);
    BoxOf(d, T.X, box);
    BoxOf(d, yloc, box);
    PetscCall(AgreeOnBox(comm, d, box, lo, &width));
    PetscCall(SortSide(comm, d, lo, width, nl, &w->rows, T.X, w->r, w->logr));
    PetscCall(SortSide(comm, d, lo, width, ml, &w->cols, yloc, w->c, w->logc));
    PetscCall(e->Layout(comm, w->rows.count, w->cols.count));
    T.n = e->n;
  }
  T.gemm = d >= 16 && (T.kind == CostKind::SQEUCLIDEAN || T.kind == CostKind::EUCLIDEAN || T.kind == CostKind::COSINE);
  if (T.gemm) {
    PetscCallCXX(T.xn.assign(e->n, 0.0));
    for (PetscInt i = 0; i < e->n; ++i)
      for (PetscInt k = 0; k < d; ++k) T.xn[i] += T.X[static_cast<size_t>(i) * d + k] * T.X[static_cast<size_t>(i) * d + k];
  }
  e->targets.swap(yloc);
  e->replicate = t->replicate;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* position of every global column among the columns with mass, -1 without */
PetscErrorCode SkeanTransportActiveColumns_Private(SkeanTransport t, std::vector<PetscInt> &pos)
{
  Work       *w    = static_cast<Work *>(t->work);
  MPI_Comm    comm = PetscObjectComm((PetscObject)t);
  PetscInt    M, ml, lo;
  PetscMPIInt size;

  PetscFunctionBegin;
  PetscCall(VecGetSize(t->c, &M));
  PetscCall(VecGetLocalSize(t->c, &ml));
  PetscCall(VecGetOwnershipRange(t->c, &lo, NULL));
  std::vector<PetscInt> mine;
  std::vector<int>      cnt, dis;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallCXX(mine.assign(PetscMax(ml, 1), -1));
  PetscCallCXX(pos.resize(PetscMax(M, 1)));
  PetscCallCXX(cnt.resize(size));
  PetscCallCXX(dis.assign(size, 0));
  for (size_t j = 0; j < w->cols.idx.size(); ++j) mine[w->cols.idx[j]] = w->eng->mlo + static_cast<PetscInt>(j);
  int k = static_cast<int>(ml);
  PetscCallMPI(MPI_Allgather(&k, 1, MPI_INT, cnt.data(), 1, MPI_INT, comm));
  for (int r = 1; r < size; ++r) dis[r] = dis[r - 1] + cnt[r - 1];
  PetscCallMPI(MPI_Allgatherv(mine.data(), k, MPIU_INT, pos.data(), cnt.data(), dis.data(), MPIU_INT, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BuildStored(SkeanTransport t)
{
  Work    *w    = static_cast<Work *>(t->work);
  MPI_Comm comm = PetscObjectComm((PetscObject)t);
  PetscInt N, M, n, m, rl, nl;
  bool     any, finite = true, empty = false;

  PetscFunctionBegin;
  PetscCall(MatGetSize(t->C, &N, &M));
  PetscCall(VecGetSize(t->r, &n));
  PetscCall(VecGetSize(t->c, &m));
  PetscCheck(N == n && M == m, comm, PETSC_ERR_ARG_SIZ,
             "The cost is %" PetscInt_FMT " x %" PetscInt_FMT ", the marginals have %" PetscInt_FMT " and %" PetscInt_FMT " masses", N, M, n, m);
  PetscCall(MatGetLocalSize(t->C, &rl, NULL));
  PetscCall(VecGetLocalSize(t->r, &nl));
  PetscCall(AgreeAny(comm, rl != nl, &any));
  PetscCheck(!any, comm, PETSC_ERR_ARG_INCOMP, "Rows of the cost and masses of the sources are distributed differently");
  RowBlock block;
  PetscCall(block.Open(t->C));
  const RowView &view = block.View();
  if (view.IsDense()) {
    TileEngine *e;
    PetscCallCXX(w->eng.reset(e = new TileEngine()));
    PetscCall(e->Layout(comm, static_cast<PetscInt>(w->rows.idx.size()), static_cast<PetscInt>(w->cols.idx.size())));
    std::vector<PetscInt> pos;
    PetscCall(SkeanTransportActiveColumns_Private(t, pos));
    e->T.kind = CostKind::STORED;
    e->T.n    = e->n;
    e->T.ldc  = (e->m + kLanes - 1) / kLanes * kLanes; /* rows start on cache lines */
    PetscCallCXX(e->T.C.resize(static_cast<size_t>(e->n) * e->T.ldc));
    /* by columns into rows: a panel of rows at a time, as many columns as are side by side */
    constexpr PetscInt kPanel = 64;
    const bool         stream = sizeof(double) * static_cast<double>(e->n) * e->m > 16e6;
    double             sum[kLanes], most[kLanes];
    std::fill_n(sum, kLanes, 0.0);
    std::fill_n(most, kLanes, -PETSC_MAX_REAL);
    for (PetscInt i0 = 0; i0 < e->n; i0 += kPanel) {
      const PetscInt  rows = PetscMin(kPanel, e->n - i0);
      const PetscInt *idx  = w->rows.idx.data() + i0;
      double         *to   = e->T.C.data() + static_cast<size_t>(i0) * e->T.ldc;
      for (PetscInt j = 0, end; j < M; j = end) {
        const PetscScalar *from = view.dense + static_cast<size_t>(j) * view.lda;
        end                     = j + 1;
        if (pos[j] < 0) continue;
        while (end < M && pos[end] == pos[end - 1] + 1) ++end;
        for (PetscInt i = 0, next; i < rows; i = next) { /* rows that are side by side */
          for (next = i + 1; next < rows && idx[next] == idx[next - 1] + 1;) ++next;
          CopyPanel(next - i, end - j, from + idx[i], static_cast<size_t>(view.lda), to + static_cast<size_t>(i) * e->T.ldc + pos[j],
                    static_cast<size_t>(e->T.ldc), stream, sum, most);
        }
      }
    }
    for (double x : sum) finite = finite && x == 0;
    e->T.most  = *std::max_element(most, most + kLanes);
    e->T.known = true;
  } else {
    CsrEngine *e;
    PetscCallCXX(w->eng.reset(e = new CsrEngine()));
    PetscCall(e->Layout(comm, static_cast<PetscInt>(w->rows.idx.size()), static_cast<PetscInt>(w->cols.idx.size())));
    std::vector<PetscInt> pos;
    std::vector<int>      hit;
    PetscCall(SkeanTransportActiveColumns_Private(t, pos));
    PetscCallCXX(hit.assign(PetscMax(e->m, 1), 0));
    PetscCallCXX(e->ia.push_back(0));
    for (PetscInt i = 0; i < e->n; ++i) {
      for (int p = 0; p < view.nparts; ++p)
        for (PetscInt k = view.part[p].i[w->rows.idx[i]]; k < view.part[p].i[w->rows.idx[i] + 1]; ++k) {
          const PetscInt j = pos[view.part[p].Column(k)];
          if (j < 0) continue;
          const double c = view.part[p].a[k];
          finite         = finite && std::isfinite(c);
          PetscCallCXX(e->ja.push_back(j));
          PetscCallCXX(e->ca.push_back(c));
          hit[j] = 1;
        }
      PetscCallCXX(e->ia.push_back(static_cast<PetscInt>(e->ja.size())));
      empty = empty || e->ia[i + 1] == e->ia[i];
    }
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, hit.data(), static_cast<int>(e->m), MPI_INT, MPI_MAX, comm));
    bool emptycol = false;
    for (PetscInt j = 0; j < e->m; ++j) emptycol = emptycol || !hit[j];
    PetscCall(AgreeAny(comm, empty, &empty));
    if (empty || emptycol) PetscCall(block.Restore());
    PetscCheck(!empty, comm, PETSC_ERR_ARG_INCOMP, "A source with mass has no allowed target with mass in the sparse cost: no plan exists");
    PetscCheck(!emptycol, comm, PETSC_ERR_ARG_INCOMP, "A target with mass has no allowed source with mass in the sparse cost: no plan exists");
  }
  PetscCall(block.Restore());
  PetscCall(AgreeAny(comm, !finite, &any));
  PetscCheck(!any, comm, PETSC_ERR_FP, "The cost has an entry that is not finite; forbid pairs with a sparse cost matrix");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanTransportBuildEngine_Private(SkeanTransport t)
{
  Work    *w    = static_cast<Work *>(t->work);
  MPI_Comm comm = PetscObjectComm((PetscObject)t);

  PetscFunctionBegin;
  /* a ladder pays off only where passes skip pairs; what they may skip must not show in the marginal error */
  PetscCall(SkeanTransportUsesMultiscale_Private(t, &t->ladder));
  const double skip = t->ladder && t->X && !t->truncset ? PetscMin(1e-3 * PetscMax(t->solver.rtol, t->solver.atol / w->massr), 1e-9) : t->truncation;
  w->cutoff         = skip > 0 ? -std::log(skip) : 0.0;
  PetscCall(w->rows.Reset());
  PetscCall(w->cols.Reset());
  if (t->C)
    PetscCall(BuildStored(t));
  else if (t->X) {
    TileEngine *e;
    PetscCallCXX(w->eng.reset(e = new TileEngine()));
    PetscCall(e->Layout(comm, static_cast<PetscInt>(w->rows.idx.size()), static_cast<PetscInt>(w->cols.idx.size())));
    PetscCall(BuildPoints(t, e));
  } else if (t->G)
    PetscCall(SkeanTransportBuildGraph_Private(t));
  else
    PetscCall(SkeanTransportBuildGrid_Private(t));
  w->eng->logr   = w->logr.data();
  w->eng->logc   = w->logc.data();
  w->eng->cutoff = w->cutoff;
  TileEngine *e  = dynamic_cast<TileEngine *>(w->eng.get());
  if (e) e->memory = t->memory;
  if (e) PetscCall(e->SetUp());
  PetscCall(SkeanTransportBuildPartial_Private(t));
  w->eng->logr = w->logr.data();
  w->eng->logc = w->logc.data();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetUp - Reads marginals and costs and checks them

   Collective

   Input Parameter:
.  transport - the solver

   Level: intermediate

   Notes:
   Called by `SkeanTransportSolve()`; calling it earlier reports bad input earlier.

   Errors: `PETSC_ERR_ORDER` if marginals or cost are missing; `PETSC_ERR_ARG_OUTOFRANGE` for negative masses, an epsilon that cannot be
   represented; `PETSC_ERR_FP` for NaN or infinite data; `PETSC_ERR_ARG_INCOMP` for unequal totals; those of `SkeanTransportSetCost()`,
   `SkeanTransportSetPoints()`, `SkeanTransportSetGrid()` and `SkeanTransportSetGraph()`.

.seealso: `SkeanTransportSolve()`
@*/
PetscErrorCode SkeanTransportSetUp(SkeanTransport transport)
{
  SkeanTransport t = transport;
  Work          *w;
  MPI_Comm       comm;

  PetscFunctionBegin;
  PetscCheck(t, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null SkeanTransport");
  w    = static_cast<Work *>(t->work);
  comm = PetscObjectComm((PetscObject)t);
  if (!((PetscObject)t)->type_name) PetscCall(SkeanTransportSetType(t, SKEANTRANSPORTSSNS));
  PetscCheck(t->r && t->c, comm, PETSC_ERR_ORDER, "SkeanTransportSetMarginals() must be called first");
  PetscCheck(t->C || t->X || t->G || t->griddim, comm, PETSC_ERR_ORDER,
             "A cost must be set first: SkeanTransportSetCost(), SkeanTransportSetPoints(), SkeanTransportSetGrid() or SkeanTransportSetGraph()");
  if (t->solver.state == SKEAN_STATE_INITIAL) {
    double     mr, mc;
    FlaggedSum s(4);

    s.Zero();
    double fr[2] = {0, 0}, fc[2] = {0, 0};
    PetscCall(ReadMarginal(t->r, w->rows.idx, w->r, &mr, fr));
    PetscCall(ReadMarginal(t->c, w->cols.idx, w->c, &mc, fc));
    s[0] = mr;
    s[1] = mc;
    s[2] = fr[0] + fc[0];
    s[3] = fr[1] + fc[1];
    PetscCall(s.Reduce(comm, false, NULL));
    mr = s[0];
    mc = s[1];
    PetscCheck(s[3] == 0, comm, PETSC_ERR_FP, "A mass is NaN or infinite");
    PetscCheck(s[2] == 0, comm, PETSC_ERR_ARG_OUTOFRANGE, "A mass is negative");
    PetscCheck(mr > 0 && mc > 0, comm, PETSC_ERR_ARG_OUTOFRANGE, "The total mass is zero: sources %g, targets %g", mr, mc);
    const bool balanced = t->rhor == PETSC_INFINITY && t->rhoc == PETSC_INFINITY, part = t->partial > 0;
    PetscCheck(!balanced || part || std::fabs(mr - mc) <= 1e-8 * mr, comm, PETSC_ERR_ARG_INCOMP,
               "The masses are unequal: sources %.15g, targets %.15g; scale one of them, or set -transport_penalty_source or "
               "-transport_penalty_target, or -transport_partial_mass",
               mr, mc);
    w->massr    = mr;
    w->massc    = mc;
    w->addedrow = w->addedcol = false;
    if (part) PetscCall(SkeanTransportPartialMasses_Private(t, mr, mc));
    const double scaler = w->massr, scalec = balanced ? w->massc : mr; /* unbalanced: both in units of the sources' total */
    PetscCallCXX(w->logr.resize(PetscMax(w->r.size(), size_t(1))));
    PetscCallCXX(w->logc.resize(PetscMax(w->c.size(), size_t(1))));
    for (size_t i = 0; i < w->r.size(); ++i) {
      w->r[i] /= scaler;
      w->logr[i] = std::log(w->r[i]);
    }
    for (size_t j = 0; j < w->c.size(); ++j) {
      w->c[j] /= scalec;
      w->logc[j] = std::log(w->c[j]);
    }
    PetscCall(SkeanTransportBuildEngine_Private(t));
    const size_t n = PetscMax(w->r.size(), size_t(1)), m = PetscMax(w->c.size(), size_t(1));
    PetscCallCXX(w->u.assign(n, 0.0));
    PetscCallCXX(w->v.assign(m, 0.0));
    PetscCallCXX(w->a.assign(n, 0.0));
    PetscCallCXX(w->b.assign(m, 0.0));
    PetscCallCXX(w->lb.assign(m, 0.0));
    PetscTryTypeMethod(t, setup);
  }
  /* epsilon may have been set anew without anything else */
  double cmedian = 0;
  PetscCall(w->eng->Scale(&w->cmax, t->epsmode == SKEAN_TRANSPORT_EPS_MEDIAN ? &cmedian : NULL));
  PetscCheck(std::isfinite(w->cmax), comm, PETSC_ERR_FP, "The largest cost is not finite");
  w->eps = t->eps * (t->epsmode == SKEAN_TRANSPORT_EPS_MAX ? w->cmax : (t->epsmode == SKEAN_TRANSPORT_EPS_MEDIAN ? cmedian : 1.0));
  if (w->cmax <= 0 && t->epsmode != SKEAN_TRANSPORT_EPS_ABSOLUTE) w->eps = t->eps; /* no cost is positive */
  PetscCheck(w->eps > 0, comm, PETSC_ERR_ARG_OUTOFRANGE, "Epsilon is zero: the median cost is %g", cmedian);
  PetscCheck(w->eps >= 1e-13 * w->cmax, comm, PETSC_ERR_ARG_OUTOFRANGE, "Epsilon %g is too small for costs up to %g: exponents cannot be represented", w->eps,
             w->cmax);
  if (t->solver.state == SKEAN_STATE_INITIAL) t->solver.state = SKEAN_STATE_SETUP;
  PetscFunctionReturn(PETSC_SUCCESS);
}
