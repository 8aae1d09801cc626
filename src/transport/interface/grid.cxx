/*
   Separable costs on a grid: C(i,j) = sum_k C_k(i_k,j_k), so LSE_j(v_j - C(i,j)/eps) is a one-dimensional LSE along one axis after another:
   N sum_k n_k operations in place of N^2.

   Layout. Dimension 0 is distributed in slabs, in natural order: a process's vectors hold whole hyperplanes i_0 = const (checked). The axes
   1..d-1 are done where the data is; for axis 0 every process needs the partial result of all hyperplanes, one Allgather of N numbers, and computes
   its own hyperplanes from it. Memory N + O(N/P) numbers per process.
*/
#include "engine.hpp"
#include "../kernels/exp.hpp"
#include <skean/private/reduce.hpp>

using namespace skean;
using namespace skean::transport;

namespace {
constexpr double kNone = -1e300; /* logarithm of nothing */
}

class GridEngine : public Engine {
public:
  int                   d = 0;
  PetscInt              len[SKEAN_TRANSPORT_MAXDIM];
  std::vector<double>   axis[SKEAN_TRANSPORT_MAXDIM];             /* axis[k][i*n_k + j]: cost along axis k */
  std::vector<PetscInt> rowpos, colpos;                           /* position in the slab of every active row and column */
  PetscInt              slab = 0, first = 0, rest = 1, local = 0; /* hyperplanes here, the first one, points in one, points here */
  std::vector<int>      counts, displs;                           /* points per process */

  bool           HasEntries() const override { return false; }
  PetscErrorCode Fused(double inv, double lam, const double *v, double *u, double *a, double *lb, Keep *) override
  {
    PetscFunctionBegin;
    PetscCall(Spread(colpos, v, m_, kNone));
    PetscCall(Sweep(inv, x, y, LSE));
    for (PetscInt i = 0; i < n; ++i) {
      const double l = y[rowpos[i]];
      u[i]           = logr[i] - lam * l;
      if (a) a[i] = std::exp(u[i] + l);
    }
    PetscCall(Spread(rowpos, u, n, kNone));
    PetscCall(Sweep(inv, x, y, LSE));
    for (PetscInt j = 0; j < mloc; ++j) lb[j] = v[j] + y[colpos[j]];
    ++passes;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode Marginals(double inv, const double *u, const double *v, double *a, double *b, double *cost) override
  {
    PetscFunctionBegin;
    if (a) {
      PetscCall(Spread(colpos, v, m_, kNone));
      PetscCall(Sweep(inv, x, y, LSE));
      for (PetscInt i = 0; i < n; ++i) a[i] = std::exp(u[i] + y[rowpos[i]]);
    }
    if (b) {
      PetscCall(Spread(rowpos, u, n, kNone));
      PetscCall(Sweep(inv, x, y, LSE));
      for (PetscInt j = 0; j < mloc; ++j) b[j] = std::exp(v[j] + y[colpos[j]]);
    }
    if (cost) {
      /* <C,P> = sum_k <C_k,P>: axis k is done with log(C_k) - C_k/eps in place of -C_k/eps */
      double w = 0;
      for (int k = 0; k < d; ++k) {
        PetscCall(Spread(colpos, v, m_, kNone));
        PetscCall(Sweep(inv, x, y, LSE, k));
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
        for (PetscInt j = 0; j < mloc; ++j) t[j] = sign * w[j] > 0 ? v[j] + std::log(sign * w[j]) : kNone;
        PetscCall(Spread(colpos, t.data(), m_, kNone));
        PetscCall(Sweep(inv, x, y, LSE));
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
        for (PetscInt i = 0; i < n; ++i) t[i] = sign * zz[i] > 0 ? u[i] + std::log(sign * zz[i]) : kNone;
        PetscCall(Spread(rowpos, t.data(), n, kNone));
        PetscCall(Sweep(inv, x, y, LSE));
        for (PetscInt j = 0; j < mloc; ++j) colout[j] += sign * std::exp(v[j] + y[colpos[j]]);
      }
    }
    passes += 2;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode MinCols(const double *xr, double *yc) override
  {
    PetscFunctionBegin;
    PetscCall(Spread(rowpos, xr, n, kNone));
    PetscCall(Sweep(1.0, x, y, MAX));
    for (PetscInt j = 0; j < mloc; ++j) yc[j] = -y[colpos[j]];
    ++passes;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode MinRows(const double *yc, double *xr) override
  {
    PetscFunctionBegin;
    PetscCall(Spread(colpos, yc, m_, kNone));
    PetscCall(Sweep(1.0, x, y, MAX));
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
      for (PetscInt i = 0; i < n; ++i) mx[Index(rowpos[i], k)] += xr[i];
      for (PetscInt j = 0; j < mloc; ++j) my[Index(colpos[j], k)] += yc[j];
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

private:
  enum What { LSE, MAX };
  std::vector<double> x, y, tmp, all;
  PetscInt            m_ = 0;

  PetscInt Index(PetscInt pos, int k) const
  {
    PetscInt stride = 1;
    for (int q = d - 1; q > k; --q) stride *= len[q];
    return k == 0 ? first + pos / stride : (pos / stride) % len[k];
  }
  PetscErrorCode Spread(const std::vector<PetscInt> &pos, const double *in, PetscInt count, double fill)
  {
    PetscFunctionBegin;
    PetscCallCXX(x.assign(PetscMax(local, 1), fill));
    for (PetscInt i = 0; i < count; ++i) x[pos[i]] = in[i];
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode Sweep(double inv, std::vector<double> &in, std::vector<double> &out, What what, int logaxis = -1);
};

/* out_r(i) = LSE_j or max_j of in_r(j) - inv cost(i,j) for nr interleaved lines: entry j of line r is in[j*nr + r]. i0..i1: the outputs wanted. */
SKEAN_MULTIVERSION static void LineLSE(PetscInt len, PetscInt nr, PetscInt i0, PetscInt i1, double inv, const double *cost, bool withlog, const double *in,
                                       double *out, double *M)
{
  for (PetscInt i = i0; i < i1; ++i) {
    const double *c = cost + static_cast<size_t>(i) * len;
    double       *o = out + static_cast<size_t>(i - i0) * nr;
    for (PetscInt r = 0; r < nr; ++r) M[r] = kNone;
    for (PetscInt j = 0; j < len; ++j) {
      const double  s = inv * c[j] - (withlog ? (c[j] > 0 ? std::log(c[j]) : kNone) : 0.0);
      const double *x = in + static_cast<size_t>(j) * nr;
      for (PetscInt r = 0; r < nr; ++r) {
        const double t = x[r] - s;
        M[r]           = t > M[r] ? t : M[r];
      }
    }
    for (PetscInt r = 0; r < nr; ++r) o[r] = 0;
    for (PetscInt j = 0; j < len; ++j) {
      const double  s = inv * c[j] - (withlog ? (c[j] > 0 ? std::log(c[j]) : kNone) : 0.0);
      const double *x = in + static_cast<size_t>(j) * nr;
      /* nothing of this line's entry reaches 1e-18 of the sum: most of them, at small epsilon */
      double top = kNone;
#pragma omp simd reduction(max : top)
      for (PetscInt r = 0; r < nr; ++r) {
        const double t = x[r] - s - M[r];
        top            = t > top ? t : top;
      }
      if (top < -45.0) continue;
      for (PetscInt r = 0; r < nr; ++r) o[r] += FastExp(x[r] - s - M[r]);
    }
    for (PetscInt r = 0; r < nr; ++r) o[r] = M[r] > 0.5 * kNone ? M[r] + std::log(o[r]) : kNone;
  }
}

SKEAN_MULTIVERSION static void LineMax(PetscInt len, PetscInt nr, PetscInt i0, PetscInt i1, double inv, const double *cost, const double *in, double *out)
{
  for (PetscInt i = i0; i < i1; ++i) {
    const double *c = cost + static_cast<size_t>(i) * len;
    double       *o = out + static_cast<size_t>(i - i0) * nr;
    for (PetscInt r = 0; r < nr; ++r) o[r] = kNone;
    for (PetscInt j = 0; j < len; ++j) {
      const double  s = inv * c[j];
      const double *x = in + static_cast<size_t>(j) * nr;
      for (PetscInt r = 0; r < nr; ++r) {
        const double t = x[r] - s;
        o[r]           = t > o[r] ? t : o[r];
      }
    }
  }
}

PetscErrorCode GridEngine::Sweep(double inv, std::vector<double> &in, std::vector<double> &out, What what, int logaxis)
{
  constexpr PetscInt  block = 64; /* lines done together, interleaved for vectors */
  std::vector<double> gi, go, M;

  PetscFunctionBegin;
  PetscCallCXX(out.resize(PetscMax(local, 1)));
  PetscCallCXX(M.resize(block));
  auto line = [&](int k, PetscInt nr, PetscInt i0, PetscInt i1, const double *a, double *b) {
    if (what == LSE)
      LineLSE(len[k], nr, i0, i1, inv, axis[k].data(), k == logaxis, a, b, M.data());
    else
      LineMax(len[k], nr, i0, i1, inv, axis[k].data(), a, b);
  };
  /* axes 1..d-1 in place */
  for (int k = d - 1; k >= 1; --k) {
    PetscInt stride = 1;
    for (int q = d - 1; q > k; --q) stride *= len[q];
    const PetscInt lines = local / len[k];
    PetscCallCXX(gi.resize(static_cast<size_t>(block) * len[k]));
    PetscCallCXX(go.resize(static_cast<size_t>(block) * len[k]));
    for (PetscInt l0 = 0; l0 < lines; l0 += block) {
      const PetscInt nr = PetscMin(block, lines - l0);
      for (PetscInt r = 0; r < nr; ++r) {
        const size_t base = static_cast<size_t>((l0 + r) / stride) * stride * len[k] + (l0 + r) % stride;
        for (PetscInt j = 0; j < len[k]; ++j) gi[static_cast<size_t>(j) * nr + r] = in[base + static_cast<size_t>(j) * stride];
      }
      line(k, nr, 0, len[k], gi.data(), go.data());
      for (PetscInt r = 0; r < nr; ++r) {
        const size_t base = static_cast<size_t>((l0 + r) / stride) * stride * len[k] + (l0 + r) % stride;
        for (PetscInt j = 0; j < len[k]; ++j) in[base + static_cast<size_t>(j) * stride] = go[static_cast<size_t>(j) * nr + r];
      }
    }
  }
  /* axis 0 */
  PetscCallCXX(all.resize(static_cast<size_t>(len[0]) * rest));
  PetscCallMPI(MPI_Allgatherv(in.data(), static_cast<int>(local), MPI_DOUBLE, all.data(), counts.data(), displs.data(), MPI_DOUBLE, comm));
  PetscCallCXX(gi.resize(static_cast<size_t>(block) * len[0]));
  PetscCallCXX(go.resize(static_cast<size_t>(block) * PetscMax(slab, 1)));
  for (PetscInt l0 = 0; l0 < rest; l0 += block) {
    const PetscInt nr = PetscMin(block, rest - l0);
    for (PetscInt j = 0; j < len[0]; ++j)
      for (PetscInt r = 0; r < nr; ++r) gi[static_cast<size_t>(j) * nr + r] = all[static_cast<size_t>(j) * rest + l0 + r];
    line(0, nr, first, first + slab, gi.data(), go.data());
    for (PetscInt i = 0; i < slab; ++i)
      for (PetscInt r = 0; r < nr; ++r) out[static_cast<size_t>(i) * rest + l0 + r] = go[static_cast<size_t>(i) * nr + r];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode GridEngine::Layout(SkeanTransport t)
{
  Work       *w = static_cast<Work *>(t->work);
  PetscInt    N = 1, nr, nc, lr, lc, lo;
  PetscMPIInt size;
  bool        bad;

  PetscFunctionBegin;
  comm = PetscObjectComm((PetscObject)t);
  d    = static_cast<int>(t->griddim);
  for (int k = 0; k < d; ++k) {
    len[k] = t->gridn[k];
    PetscCheck(static_cast<PetscInt64>(N) * len[k] < PETSC_MPI_INT_MAX, comm, PETSC_ERR_SUP, "The grid has too many points for MPI's counts");
    N *= len[k];
    if (k) rest *= len[k];
  }
  PetscCall(VecGetSize(t->r, &nr));
  PetscCall(VecGetSize(t->c, &nc));
  PetscCheck(nr == N && nc == N, comm, PETSC_ERR_ARG_SIZ,
             "The grid has %" PetscInt_FMT " points, the marginals have %" PetscInt_FMT " and %" PetscInt_FMT " masses", N, nr, nc);
  PetscCall(VecGetLocalSize(t->r, &lr));
  PetscCall(VecGetLocalSize(t->c, &lc));
  PetscCall(VecGetOwnershipRange(t->r, &lo, NULL));
  PetscCall(AgreeAny(comm, lr != lc || lr % rest != 0, &bad));
  PetscCheck(!bad, comm, PETSC_ERR_ARG_INCOMP,
             "Both marginals must be distributed in the same whole hyperplanes of the grid (multiples of %" PetscInt_FMT " points)", rest);
  local             = lr;
  slab              = lr / rest;
  first             = lo / rest;
  n                 = static_cast<PetscInt>(w->rowidx.size());
  mloc              = static_cast<PetscInt>(w->colidx.size());
  m_                = mloc;
  rowpos            = w->rowidx;
  colpos            = w->colidx;
  PetscInt64  in[2] = {n, mloc}, before[2] = {0, 0}, tot[2];
  PetscMPIInt rank;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Exscan(in, before, 2, MPIU_INT64, MPI_SUM, comm));
  if (!rank) before[0] = before[1] = 0;
  PetscCallMPI(MPI_Allreduce(in, tot, 2, MPIU_INT64, MPI_SUM, comm));
  nglobal = static_cast<PetscInt>(tot[0]);
  m       = static_cast<PetscInt>(tot[1]);
  rlo     = static_cast<PetscInt>(before[0]);
  mlo     = static_cast<PetscInt>(before[1]);
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallCXX(counts.resize(size));
  PetscCallCXX(displs.assign(size, 0));
  int mine = static_cast<int>(local);
  PetscCallMPI(MPI_Allgather(&mine, 1, MPI_INT, counts.data(), 1, MPI_INT, comm));
  for (int r = 1; r < size; ++r) displs[r] = displs[r - 1] + counts[r - 1];
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
