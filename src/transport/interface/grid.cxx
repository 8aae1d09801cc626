/*
   Separable costs on a grid: C(i,j) = sum_k C_k(i_k,j_k), so LSE_j(v_j - C(i,j)/eps) is a one-dimensional LSE along one axis after another:
   N sum_k n_k operations in place of N^2.

   Layout. The marginals come in any distribution of the natural order; a PetscSF moves them to the boxes of the tensor grid's first stage where these
   are not the same. The axes that are whole there are done there, then the array is redistributed for the others and back: of the order of N/P numbers
   in memory and on the way, whatever P is.
*/
#include "engine.hpp"
#include "../kernels/gridlse.hpp"
#include <skean/private/reduce.hpp>
#include <skean/private/tensorgrid.hpp>
#include <petscsf.h>
#include <numeric>

namespace skean {
namespace transport {

/* Between a vector of the user's over the whole grid and this process's box */
class GridLayout {
public:
  GridLayout() = default;
  ~GridLayout() { PetscCallAbort(PETSC_COMM_SELF, PetscSFDestroy(&sf)); }
  GridLayout(const GridLayout &)            = delete;
  GridLayout &operator=(const GridLayout &) = delete;

  PetscInt first = 0; /* natural number of the first entry here */

  PetscErrorCode Create(Vec x, const TensorGrid &grid)
  {
    const TensorBox box  = grid.Home();
    PetscInt        next = 0, size;
    PetscLayout     map;
    bool            same, differs;

    PetscFunctionBegin;
    PetscCall(VecGetOwnershipRange(x, &first, &next));
    size = next - first;
    std::vector<PetscInt> number;
    PetscCallCXX(number.reserve(static_cast<size_t>(box.Volume())));
    TensorSizes i = box.lo;
    for (PetscInt64 q = box.Volume(); q > 0; --q) {
      PetscInt64 g = 0;
      for (int k = 0; k < box.d; ++k) g = g * grid.Sizes()[k] + i[k];
      number.push_back(static_cast<PetscInt>(g));
      for (int k = box.d - 1; k >= 0 && ++i[k] == box.hi[k]; --k) i[k] = box.lo[k];
    }
    same = static_cast<PetscInt>(number.size()) == size;
    for (PetscInt q = 0; same && q < size; ++q) same = number[q] == first + q;
    PetscCall(AgreeAny(grid.Comm(), !same, &differs));
    if (!differs) PetscFunctionReturn(PETSC_SUCCESS);
    PetscCallCXX(buffer.resize(PetscMax(size, 1)));
    PetscCall(VecGetLayout(x, &map));
    PetscCall(PetscSFCreate(grid.Comm(), &sf));
    PetscCall(PetscSFSetGraphLayout(sf, map, static_cast<PetscInt>(number.size()), NULL, PETSC_OWN_POINTER, number.data()));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* box = in at the places pos, nothing elsewhere */
  PetscErrorCode Spread(const std::vector<PetscInt> &pos, const double *in, std::vector<double> &box)
  {
    PetscFunctionBegin;
    std::vector<double> &x = sf ? buffer : box;
    std::fill(x.begin(), x.end(), kLogZero);
    for (size_t i = 0; i < pos.size(); ++i) x[pos[i]] = in[i];
    if (sf) {
      PetscCall(PetscSFBcastBegin(sf, MPI_DOUBLE, buffer.data(), box.data(), MPI_REPLACE));
      PetscCall(PetscSFBcastEnd(sf, MPI_DOUBLE, buffer.data(), box.data(), MPI_REPLACE));
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* *x[p]: the box's value at the place p */
  PetscErrorCode Collect(const std::vector<double> &box, const double **x)
  {
    PetscFunctionBegin;
    if (sf) {
      PetscCall(PetscSFReduceBegin(sf, MPI_DOUBLE, box.data(), buffer.data(), MPI_REPLACE));
      PetscCall(PetscSFReduceEnd(sf, MPI_DOUBLE, box.data(), buffer.data(), MPI_REPLACE));
    }
    *x = sf ? buffer.data() : box.data();
    PetscFunctionReturn(PETSC_SUCCESS);
  }

private:
  PetscSF             sf = NULL;
  std::vector<double> buffer;
};

class GridEngine : public Engine {
public:
  int                   d = 0;
  PetscInt              len[SKEAN_TRANSPORT_MAXDIM];
  std::vector<double>   axis[SKEAN_TRANSPORT_MAXDIM]; /* axis[k][i*n_k + j]: cost along axis k */
  std::vector<PetscInt> rowpos, colpos;               /* local place of every active row and column in the user's vectors */

  bool           HasEntries() const override { return false; }
  PetscErrorCode Fused(double inv, double lam, const double *v, double *u, double *a, double *lb, Keep *) override
  {
    PetscFunctionBegin;
    PetscCall(cols.Spread(colpos, v, x));
    PetscCall(Sweep(inv, LSE, -1, rows, &y));
    for (PetscInt i = 0; i < n; ++i) {
      const double l = y[rowpos[i]];
      u[i]           = logr[i] - lam * l;
      if (a) a[i] = std::exp(u[i] + l);
    }
    PetscCall(rows.Spread(rowpos, u, x));
    PetscCall(Sweep(inv, LSE, -1, cols, &y));
    for (PetscInt j = 0; j < mloc; ++j) lb[j] = v[j] + y[colpos[j]];
    ++passes;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode Marginals(double inv, const double *u, const double *v, double *a, double *b, double *cost) override
  {
    PetscFunctionBegin;
    if (a) {
      PetscCall(cols.Spread(colpos, v, x));
      PetscCall(Sweep(inv, LSE, -1, rows, &y));
      for (PetscInt i = 0; i < n; ++i) a[i] = std::exp(u[i] + y[rowpos[i]]);
    }
    if (b) {
      PetscCall(rows.Spread(rowpos, u, x));
      PetscCall(Sweep(inv, LSE, -1, cols, &y));
      for (PetscInt j = 0; j < mloc; ++j) b[j] = std::exp(v[j] + y[colpos[j]]);
    }
    if (cost) {
      /* <C,P> = sum_k <C_k,P>: axis k is done with log(C_k) - C_k/eps in place of -C_k/eps */
      double w = 0;
      for (int k = 0; k < d; ++k) {
        PetscCall(cols.Spread(colpos, v, x));
        PetscCall(Sweep(inv, LSE, k, rows, &y));
        for (PetscInt i = 0; i < n; ++i) w += std::exp(u[i] + y[rowpos[i]]);
      }
      PetscCallMPI(MPI_Allreduce(&w, cost, 1, MPI_DOUBLE, MPI_SUM, comm));
    }
    ++passes;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* products of numbers of both signs: positive and negative parts apart, each in logarithms */
  PetscErrorCode Products(double inv, const double *u, const double *v, const double *w, const double *a, const double *z, double *rowout,
                          double *colout) override
  {
    std::vector<double> p, zz;

    PetscFunctionBegin;
    PetscCallCXX(zz.assign(PetscMax(n, 1), 0.0));
    if (w) {
      PetscCallCXX(p.assign(PetscMax(n, 1), 0.0));
      std::vector<double> t(PetscMax(mloc, 1));
      for (int sign = 1; sign >= -1; sign -= 2) {
        for (PetscInt j = 0; j < mloc; ++j) t[j] = sign * w[j] > 0 ? v[j] + std::log(sign * w[j]) : kLogZero;
        PetscCall(cols.Spread(colpos, t.data(), x));
        PetscCall(Sweep(inv, LSE, -1, rows, &y));
        for (PetscInt i = 0; i < n; ++i) p[i] += sign * std::exp(u[i] + y[rowpos[i]]);
      }
      if (rowout)
        for (PetscInt i = 0; i < n; ++i) rowout[i] = p[i];
      if (a)
        for (PetscInt i = 0; i < n; ++i) zz[i] = p[i] / a[i];
    }
    if (z && !w)
      for (PetscInt i = 0; i < n; ++i) zz[i] = z[i];
    if (colout) {
      std::vector<double> t(PetscMax(n, 1));
      for (PetscInt j = 0; j < mloc; ++j) colout[j] = 0;
      for (int sign = 1; sign >= -1; sign -= 2) {
        for (PetscInt i = 0; i < n; ++i) t[i] = sign * zz[i] > 0 ? u[i] + std::log(sign * zz[i]) : kLogZero;
        PetscCall(rows.Spread(rowpos, t.data(), x));
        PetscCall(Sweep(inv, LSE, -1, cols, &y));
        for (PetscInt j = 0; j < mloc; ++j) colout[j] += sign * std::exp(v[j] + y[colpos[j]]);
      }
    }
    passes += 2;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode MinCols(const double *xr, double *yc) override
  {
    PetscFunctionBegin;
    PetscCall(rows.Spread(rowpos, xr, x));
    PetscCall(Sweep(1.0, MAX, -1, cols, &y));
    for (PetscInt j = 0; j < mloc; ++j) yc[j] = -y[colpos[j]];
    ++passes;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode MinRows(const double *yc, double *xr) override
  {
    PetscFunctionBegin;
    PetscCall(cols.Spread(colpos, yc, x));
    PetscCall(Sweep(1.0, MAX, -1, rows, &y));
    for (PetscInt i = 0; i < n; ++i) xr[i] = -y[rowpos[i]];
    ++passes;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* sum_k of bilinear forms of the marginals along axis k */
  PetscErrorCode Bilinear(const double *xr, const double *yc, double *value) override
  {
    std::vector<double> mx, my;
    double              total = 0, sums[2] = {0, 0};

    PetscFunctionBegin;
    for (PetscInt i = 0; i < n; ++i) sums[0] += xr[i];
    for (PetscInt j = 0; j < mloc; ++j) sums[1] += yc[j];
    for (int k = 0; k < d; ++k) {
      PetscCallCXX(mx.assign(len[k], 0.0));
      PetscCallCXX(my.assign(len[k], 0.0));
      for (PetscInt i = 0; i < n; ++i) mx[Index(rows, rowpos[i], k)] += xr[i];
      for (PetscInt j = 0; j < mloc; ++j) my[Index(cols, colpos[j], k)] += yc[j];
      PetscCall(AllreduceSum(comm, mx.data(), mx.size()));
      PetscCall(AllreduceSum(comm, my.data(), my.size()));
      for (PetscInt i = 0; i < len[k]; ++i)
        for (PetscInt j = 0; j < len[k]; ++j) total += mx[i] * axis[k][static_cast<size_t>(i) * len[k] + j] * my[j];
    }
    *value = total;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode Entries(double, const double *, const double *, Keep *) override
  {
    PetscFunctionBegin;
    SETERRQ(comm, PETSC_ERR_SUP, "The entries of the plan of a separable grid are not listed");
  }
  PetscErrorCode Scale(double *cmax, double *cmedian) override
  {
    PetscFunctionBegin;
    *cmax = 0;
    for (int k = 0; k < d; ++k) {
      double mx = 0;
      for (double c : axis[k]) mx = PetscMax(mx, c);
      *cmax += mx;
    }
    PetscCheck(!cmedian, comm, PETSC_ERR_SUP, "Epsilon relative to the median cost is not supported on separable grids; use max or absolute");
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode Layout(SkeanTransport t);
  PetscErrorCode Extend(double inv, bool sources, const std::vector<double> &v, PetscInt count, double *lse)
  {
    std::vector<PetscInt> all;

    PetscFunctionBegin;
    PetscCallCXX(all.resize(v.size()));
    std::iota(all.begin(), all.end(), 0);
    PetscCall((sources ? cols : rows).Spread(all, v.data(), x));
    PetscCall(Sweep(inv, LSE, -1, sources ? rows : cols, &y));
    std::copy_n(y, count, lse);
    PetscFunctionReturn(PETSC_SUCCESS);
  }

private:
  enum What { LSE, MAX };
  TensorGrid          grid;
  GridLayout          rows, cols;
  LineLSE             lines[SKEAN_TRANSPORT_MAXDIM], weighted; /* of the last epsilon; weighted: for the cost, any axis */
  std::vector<double> x, moved, in_, out_;
  const double       *y = nullptr; /* result of the last sweep, at the places of the user's vectors */

  PetscInt Index(const GridLayout &layout, PetscInt pos, int k) const
  {
    PetscInt stride = 1;
    for (int q = d - 1; q > k; --q) stride *= len[q];
    return (layout.first + pos) / stride % len[k];
  }
  PetscErrorCode Sweep(double inv, What what, int weightedaxis, GridLayout &layout, const double **result);
  void           Axis(int k, const TensorBox &box, double inv, What what, bool withcost);
};

/* Along axis k, whole in the box: x is overwritten */
void GridEngine::Axis(int k, const TensorBox &box, double inv, What what, bool withcost)
{
  constexpr PetscInt64 block  = 128; /* lines done together, interleaved for vectors */
  PetscInt64           stride = 1;
  for (int q = box.d - 1; q > k; --q) stride *= box.Length(q);
  const PetscInt64 n = len[k], count = box.Volume() / n;
  LineLSE         &lse = withcost ? weighted : lines[k];

  if (what == LSE && (withcost || !lse.Ready(inv, withcost))) lse.SetUp(len[k], inv, axis[k].data(), withcost);
  in_.resize(static_cast<size_t>(block * n));
  out_.resize(static_cast<size_t>(block * n));
  for (PetscInt64 l0 = 0; l0 < count; l0 += block) {
    const PetscInt64 nr    = PetscMin(block, count - l0);
    auto             first = [&](PetscInt64 r) { return (l0 + r) / stride * stride * n + (l0 + r) % stride; };
    for (PetscInt64 r = 0; r < nr; ++r) {
      const double *from = x.data() + first(r);
      for (PetscInt64 j = 0; j < n; ++j) in_[j * nr + r] = from[j * stride];
    }
    if (what == LSE)
      lse.Apply(static_cast<PetscInt>(nr), in_.data(), out_.data());
    else
      LineMax(len[k], static_cast<PetscInt>(nr), inv, axis[k].data(), in_.data(), out_.data());
    for (PetscInt64 r = 0; r < nr; ++r) {
      double *to = x.data() + first(r);
      for (PetscInt64 j = 0; j < n; ++j) to[j * stride] = out_[j * nr + r];
    }
  }
}

/* x, on the boxes of the first stage, along all axes; the result in the layout given */
PetscErrorCode GridEngine::Sweep(double inv, What what, int weightedaxis, GridLayout &layout, const double **result)
{
  PetscFunctionBegin;
  for (int stage = 0; stage < grid.Stages(); ++stage) {
    if (stage) {
      PetscCall(grid.Move(grid.Sizes(), stage - 1, stage, x.data(), moved.data()));
      x.swap(moved);
    }
    const TensorBox box = grid.Box(stage, grid.Sizes());
    if (box.Volume() > 0)
      for (int k = 0; k < d; ++k)
        if (grid.StageOf(k) == stage) PetscCallCXX(Axis(k, box, inv, what, k == weightedaxis));
  }
  for (int stage = grid.Stages() - 1; stage > 0; --stage) {
    PetscCall(grid.Move(grid.Sizes(), stage, stage - 1, x.data(), moved.data()));
    x.swap(moved);
  }
  PetscCall(layout.Collect(x, result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode GridEngine::Layout(SkeanTransport t)
{
  Work       *w = static_cast<Work *>(t->work);
  PetscInt64  N = 1, sizes[SKEAN_TRANSPORT_MAXDIM], largest = 1;
  PetscInt    nr, nc;
  PetscMPIInt rank;

  PetscFunctionBegin;
  comm = PetscObjectComm((PetscObject)t);
  d    = static_cast<int>(t->griddim);
  for (int k = 0; k < d; ++k) {
    len[k]   = t->gridn[k];
    sizes[k] = len[k];
    PetscCheck(N * len[k] < PETSC_MAX_INT, comm, PETSC_ERR_SUP, "The grid has more points than a vector can have with this PetscInt");
    N *= len[k];
  }
  PetscCall(VecGetSize(t->r, &nr));
  PetscCall(VecGetSize(t->c, &nc));
  PetscCheck(nr == N && nc == N, comm, PETSC_ERR_ARG_SIZ,
             "The grid has %" PetscInt64_FMT " points, the marginals have %" PetscInt_FMT " and %" PetscInt_FMT " masses", N, nr, nc);
  PetscCall(grid.Create(comm, d, sizes));
  PetscCall(rows.Create(t->r, grid));
  PetscCall(cols.Create(t->c, grid));
  for (int stage = 0; stage < grid.Stages(); ++stage) largest = PetscMax(largest, grid.Box(stage, grid.Sizes()).Volume());
  PetscCallCXX(x.resize(static_cast<size_t>(largest)));
  PetscCallCXX(moved.resize(grid.Stages() > 1 ? static_cast<size_t>(largest) : 0));
  n                = static_cast<PetscInt>(w->rows.idx.size());
  mloc             = static_cast<PetscInt>(w->cols.idx.size());
  rowpos           = w->rows.idx;
  colpos           = w->cols.idx;
  PetscInt64 in[2] = {n, mloc}, before[2] = {0, 0}, tot[2];
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Exscan(in, before, 2, MPIU_INT64, MPI_SUM, comm));
  if (!rank) before[0] = before[1] = 0;
  PetscCallMPI(MPI_Allreduce(in, tot, 2, MPIU_INT64, MPI_SUM, comm));
  nglobal = static_cast<PetscInt>(tot[0]);
  m       = static_cast<PetscInt>(tot[1]);
  rlo     = static_cast<PetscInt>(before[0]);
  mlo     = static_cast<PetscInt>(before[1]);
  for (int k = 0; k < d; ++k) {
    const double h = len[k] > 1 ? (t->gridhi[k] - t->gridlo[k]) / (len[k] - 1) : 0.0;
    PetscCallCXX(axis[k].resize(static_cast<size_t>(len[k]) * len[k]));
    for (PetscInt i = 0; i < len[k]; ++i)
      for (PetscInt j = 0; j < len[k]; ++j) {
        const double x = std::fabs((i - j) * h);
        double      &c = axis[k][static_cast<size_t>(i) * len[k] + j];
        switch (t->costtype) {
        case SKEAN_TRANSPORT_COST_SQEUCLIDEAN:
          c = x * x;
          break;
        case SKEAN_TRANSPORT_COST_L1:
          c = x;
          break;
        default:
          c = std::pow(x, t->costexponent);
          break;
        }
      }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode ExtendOnGrid(Engine *e, double inv, bool sources, const std::vector<double> &v, PetscInt n, double *lse)
{
  PetscFunctionBegin;
  PetscCall(static_cast<GridEngine *>(e)->Extend(inv, sources, v, n, lse));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace transport
} // namespace skean

using namespace skean::transport;

PetscErrorCode SkeanTransportBuildGrid_Private(SkeanTransport t)
{
  Work       *w = static_cast<Work *>(t->work);
  GridEngine *e;
  const bool  euclidean1 = t->costtype == SKEAN_TRANSPORT_COST_EUCLIDEAN && t->griddim == 1; /* the same as L1 */

  PetscFunctionBegin;
  PetscCheck(t->costtype == SKEAN_TRANSPORT_COST_SQEUCLIDEAN || t->costtype == SKEAN_TRANSPORT_COST_L1 || t->costtype == SKEAN_TRANSPORT_COST_LP || euclidean1,
             PetscObjectComm((PetscObject)t), PETSC_ERR_SUP,
             "The cost %s is not a sum over the dimensions of a grid; give the points with SkeanTransportSetPoints()", SkeanTransportCostTypes[t->costtype]);
  if (euclidean1) t->costtype = SKEAN_TRANSPORT_COST_L1;
  PetscCallCXX(w->eng.reset(e = new GridEngine()));
  PetscCall(e->Layout(t));
  PetscFunctionReturn(PETSC_SUCCESS);
}
