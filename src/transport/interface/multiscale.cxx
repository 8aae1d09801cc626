/*
   A ladder of coarser problems (Schmitzer, SIAM J. Sci. Comput. 41 (2019), section 3.5; Merigot, Comput. Graph. Forum 30 (2011)). A coarser measure has the
   mass of every cell of a binary tree at its centroid; on grids, every second point along each axis with the mass between two points shared by them. The
   coarsest problem is solved by steps in epsilon; every finer one starts from the canonical extension of the potentials, f(x) = -eps log sum_j c_j
   exp((g_j - c(x, y_j))/eps) over the coarser targets, and goes on to the epsilon that its own cells resolve. Only the potentials of the finest, the user's
   problem are returned, so that the ladder changes the way, not the answer.
*/
#include "engine.hpp"
#include "morton.hpp"
#include "../kernels/gridlse.hpp"
#include <skean/private/reduce.hpp>
#include <algorithm>
#include <numeric>

using namespace skean;
using namespace skean::transport;

namespace {

constexpr PetscInt  kCoarsestCloud = 1500, kCoarsestGrid = 2500; /* points of a side that is not coarsened further */
constexpr PetscInt  kShortestAxis = 8, kMostLevels = 40;
constexpr PetscInt  kMostIterations = 100;  /* on a coarser level */
constexpr PetscReal kLevelTolerance = 1e-2; /* marginal error that ends one */
constexpr PetscReal kTruncation     = 1e-9; /* of its passes; above, passes would take columns to be starved that are not */
constexpr PetscReal kResolution     = 2.0;  /* its epsilon, in units of the cost of moving the mass of a cell to its centroid */

/* One side of a level. An item has mass, mass * x, mass * |x|^2 of a cell: what the cells of every coarser level have is their sum */
struct Cloud {
  std::vector<std::uint64_t> key;
  std::vector<double>        item;
  PetscInt64                 total = 0;
};

struct Level {
  Vec       r = NULL, c = NULL;
  Mat       X = NULL, Y = NULL;        /* clouds */
  PetscInt  n[SKEAN_TRANSPORT_MAXDIM]; /* grids */
  PetscReal lo[SKEAN_TRANSPORT_MAXDIM], hi[SKEAN_TRANSPORT_MAXDIM];
  PetscReal squares = 0; /* mean squared distance of the mass from where it was on the finest level */
  PetscReal eps     = 0;
};

/* The levels, from the user's own problem on, destroyed together */
class Ladder {
public:
  std::vector<Level> level;
  PetscErrorCode     Destroy()
  {
    PetscFunctionBegin;
    for (size_t l = 1; l < level.size(); ++l) {
      PetscCall(VecDestroy(&level[l].r));
      PetscCall(VecDestroy(&level[l].c));
      PetscCall(MatDestroy(&level[l].X));
      PetscCall(MatDestroy(&level[l].Y));
    }
    level.clear();
    PetscFunctionReturn(PETSC_SUCCESS);
  }
};

/* joins neighbours of the same key */
void Merge(size_t width, Cloud *C)
{
  size_t q = 0;
  for (size_t i = 0; i < C->key.size(); ++i) {
    const double *from = C->item.data() + i * width;
    if (q && C->key[q - 1] == C->key[i]) {
      double *to = C->item.data() + (q - 1) * width;
      for (size_t k = 0; k < width; ++k) to[k] += from[k];
    } else {
      C->key[q] = C->key[i];
      std::copy_n(from, width, C->item.data() + q * width);
      ++q;
    }
  }
  C->key.resize(q);
  C->item.resize(q * width);
}

/* Bits by which keys must be shortened for at most `most` cells to remain: from the highest bit in which neighbours differ, counted over all */
PetscErrorCode Shift(MPI_Comm comm, const Cloud &C, double most, int *shift)
{
  PetscMPIInt                size, rank;
  std::vector<PetscInt64>    differ(64, 0);
  std::uint64_t              mine[3] = {C.key.empty() ? 0 : C.key.front(), C.key.empty() ? 0 : C.key.back(), C.key.empty() ? 0u : 1u};
  std::vector<std::uint64_t> ends;
  auto                       Count = [&](std::uint64_t a, std::uint64_t b) {
    int bit = 0;
    for (std::uint64_t x = a ^ b; x > 1; x >>= 1) ++bit;
    if (a != b) ++differ[bit];
  };

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallCXX(ends.resize(3 * static_cast<size_t>(size)));
  PetscCallMPI(MPI_Allgather(mine, 3, MPI_UINT64_T, ends.data(), 3, MPI_UINT64_T, comm));
  for (size_t i = 1; i < C.key.size(); ++i) Count(C.key[i - 1], C.key[i]);
  for (int p = rank - 1; p >= 0 && mine[2]; --p)
    if (ends[3 * p + 2]) {
      Count(ends[3 * p + 1], mine[0]);
      break;
    }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, differ.data(), 64, MPIU_INT64, MPI_SUM, comm));
  double cells = 1;
  for (*shift = 63; *shift > 0 && cells + static_cast<double>(differ[*shift - 1]) <= most; --*shift) cells += static_cast<double>(differ[*shift - 1]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Coarsen(MPI_Comm comm, PetscInt d, double ratio, const Cloud &fine, Cloud *coarse)
{
  const size_t width = static_cast<size_t>(d) + 2;
  int          shift = 0;

  PetscFunctionBegin;
  PetscCallCXX(*coarse = fine);
  if (fine.total > kCoarsestCloud) {
    PetscCall(Shift(comm, fine, static_cast<double>(fine.total) / ratio, &shift));
    for (std::uint64_t &k : coarse->key) k = (k >> shift) << shift;
    Merge(width, coarse);
    PetscCall(SortByKey(comm, width, true, coarse->key, coarse->item)); /* a cell that several processes had is on one again */
    Merge(width, coarse);
  }
  coarse->total = static_cast<PetscInt64>(coarse->key.size());
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &coarse->total, 1, MPIU_INT64, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* masses and centroids; adds sum |mass x|^2 / mass to squares */
PetscErrorCode ToObjects(MPI_Comm comm, PetscInt d, const double *origin, const Cloud &C, Vec *mass, Mat *X, double *squares)
{
  const PetscInt n = static_cast<PetscInt>(C.key.size());
  const size_t   w = static_cast<size_t>(d) + 2;
  PetscScalar   *m, *x;
  PetscInt       lda;

  PetscFunctionBegin;
  PetscCall(VecCreateMPI(comm, n, PETSC_DETERMINE, mass));
  PetscCall(MatCreateDense(comm, n, PETSC_DECIDE, PETSC_DETERMINE, d, NULL, X));
  PetscCall(MatDenseGetLDA(*X, &lda));
  PetscCall(VecGetArray(*mass, &m));
  PetscCall(MatDenseGetArrayWrite(*X, &x));
  for (PetscInt i = 0; i < n; ++i) {
    const double *at = C.item.data() + static_cast<size_t>(i) * w;
    m[i]             = at[0];
    for (PetscInt k = 0; k < d; ++k) {
      x[i + static_cast<size_t>(k) * lda] = origin[k] + at[1 + k] / at[0];
      *squares += at[1 + k] * at[1 + k] / at[0];
    }
  }
  PetscCall(MatDenseRestoreArrayWrite(*X, &x));
  PetscCall(VecRestoreArray(*mass, &m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* the user's points with mass as items, in the order of their keys */
PetscErrorCode ReadCloud(SkeanTransport t, Vec mass, Mat X, const std::vector<PetscInt> &idx, std::vector<double> *x, std::vector<double> *m)
{
  bool               finite = true;
  const PetscScalar *a;
  PetscInt           d;

  PetscFunctionBegin;
  PetscCall(SkeanTransportReadPoints_Private(X, idx, *x, &finite)); /* checked at set-up */
  PetscCall(MatGetSize(X, NULL, &d));
  if (t->costtype == SKEAN_TRANSPORT_COST_COSINE)
    for (size_t i = 0; i < idx.size(); ++i) {
      double s = 0;
      for (PetscInt k = 0; k < d; ++k) s += (*x)[i * d + k] * (*x)[i * d + k];
      for (PetscInt k = 0; k < d; ++k) (*x)[i * d + k] /= std::sqrt(s);
    }
  PetscCallCXX(m->resize(idx.size()));
  PetscCall(VecGetArrayRead(mass, &a));
  for (size_t i = 0; i < idx.size(); ++i) (*m)[i] = a[idx[i]];
  PetscCall(VecRestoreArrayRead(mass, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CloudLevels(SkeanTransport t, Ladder *L)
{
  Work               *w    = static_cast<Work *>(t->work);
  MPI_Comm            comm = PetscObjectComm((PetscObject)t);
  PetscInt            d;
  std::vector<double> x[2], m[2];
  Cloud               side[2];
  double              box[2 * SKEAN_TRANSPORT_MAXDIM], lo[SKEAN_TRANSPORT_MAXDIM], middle[SKEAN_TRANSPORT_MAXDIM], width = 0, all[2] = {0, 0};

  PetscFunctionBegin;
  PetscCall(MatGetSize(t->X, NULL, &d));
  const size_t iw = static_cast<size_t>(d) + 2;
  PetscCall(ReadCloud(t, t->r, t->X, w->rows.idx, &x[0], &m[0]));
  PetscCall(ReadCloud(t, t->c, t->Y, w->cols.idx, &x[1], &m[1]));
  std::fill_n(box, 2 * SKEAN_TRANSPORT_MAXDIM, -PETSC_MAX_REAL);
  for (int s = 0; s < 2; ++s) BoxOf(d, x[s], box);
  PetscCall(AgreeOnBox(comm, d, box, lo, &width));
  for (PetscInt k = 0; k < d; ++k) middle[k] = lo[k] + 0.5 * width;
  for (int s = 0; s < 2; ++s) {
    const size_t n = m[s].size();
    PetscCallCXX(side[s].key.resize(n));
    PetscCallCXX(side[s].item.resize(n * iw));
    MortonKeys(d, static_cast<PetscInt>(n), x[s].data(), lo, width, side[s].key.data());
    for (size_t i = 0; i < n; ++i) {
      double *to = side[s].item.data() + i * iw, sq = 0;
      to[0] = m[s][i];
      for (PetscInt k = 0; k < d; ++k) {
        const double y = x[s][i * d + k] - middle[k];
        to[1 + k]      = to[0] * y;
        sq += y * y;
      }
      to[1 + d] = to[0] * sq;
      all[0] += to[0];
      all[1] += to[1 + d];
    }
    std::vector<double>().swap(x[s]);
    std::vector<double>().swap(m[s]);
    PetscCall(SortByKey(comm, iw, true, side[s].key, side[s].item));
    side[s].total = static_cast<PetscInt64>(side[s].key.size());
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &side[s].total, 1, MPIU_INT64, MPI_SUM, comm));
  }
  while (PetscMax(side[0].total, side[1].total) > kCoarsestCloud && L->level.size() < kMostLevels) {
    Level  next;
    Cloud  coarse[2];
    double sums[3] = {0, all[0], all[1]};
    for (int s = 0; s < 2; ++s) {
      PetscCall(Coarsen(comm, d, t->msratio, side[s], &coarse[s]));
      PetscCall(ToObjects(comm, d, middle, coarse[s], s ? &next.c : &next.r, s ? &next.Y : &next.X, &sums[0]));
      std::swap(side[s], coarse[s]);
    }
    PetscCall(AllreduceSum(comm, sums, 3));
    next.squares = PetscMax(sums[2] - sums[0], 0.0) / sums[1];
    PetscCallCXX(L->level.push_back(next));
    if (coarse[0].total == side[0].total && coarse[1].total == side[1].total) break; /* many times the same point */
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ------------------------------------------------------------------------------------------------------------------------------ grids */

bool Halved(PetscInt n)
{
  return n >= kShortestAxis;
}

/* every second point has its own mass and half of that of its neighbours; what has one neighbour only, at the end of an even axis, goes there whole */
PetscErrorCode CoarsenMass(PetscInt d, const Level &fine, const Level &coarse, Vec in, Vec *out)
{
  MPI_Comm           comm = PetscObjectComm((PetscObject)in);
  const PetscScalar *a;
  PetscInt           lo, hi, rest = 1, slabs = PETSC_DECIDE, len = coarse.n[0];

  PetscFunctionBegin;
  for (PetscInt k = 1; k < d; ++k) rest *= coarse.n[k];
  PetscCall(PetscSplitOwnership(comm, &slabs, &len)); /* whole hyperplanes */
  PetscCall(VecCreateMPI(comm, slabs * rest, len * rest, out));
  PetscCall(VecGetOwnershipRange(in, &lo, &hi));
  PetscCall(VecGetArrayRead(in, &a));
  for (PetscInt i = lo; i < hi; ++i) {
    PetscInt    to[1 << SKEAN_TRANSPORT_MAXDIM] = {0}, count = 1, q = i, stride = 1;
    PetscScalar value = a[i - lo];
    if (!(value > 0)) continue;
    for (PetscInt k = d - 1; k >= 0; --k) {
      const PetscInt p = q % fine.n[k], j = Halved(fine.n[k]) ? p / 2 : p;
      const bool     two = Halved(fine.n[k]) && p % 2 && j + 1 < coarse.n[k];
      q /= fine.n[k];
      for (PetscInt z = 0; z < count; ++z) {
        to[z] += j * stride;
        if (two) to[count + z] = to[z] + stride;
      }
      if (two) {
        count *= 2;
        value *= 0.5;
      }
      stride *= coarse.n[k];
    }
    for (PetscInt z = 0; z < count; ++z) PetscCall(VecSetValue(*out, to[z], value, ADD_VALUES));
  }
  PetscCall(VecRestoreArrayRead(in, &a));
  PetscCall(VecAssemblyBegin(*out));
  PetscCall(VecAssemblyEnd(*out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode GridLevels(SkeanTransport t, Ladder *L)
{
  const PetscInt d = t->griddim;

  PetscFunctionBegin;
  for (PetscInt k = 0; k < d; ++k) {
    L->level[0].n[k]  = t->gridn[k];
    L->level[0].lo[k] = t->gridlo[k];
    L->level[0].hi[k] = t->gridhi[k];
  }
  for (;;) {
    const Level fine = L->level.back();
    Level       next;
    PetscInt64  N    = 1;
    bool        some = false;
    for (PetscInt k = 0; k < d; ++k) {
      const double h = fine.n[k] > 1 ? (fine.hi[k] - fine.lo[k]) / (fine.n[k] - 1) : 0.0;
      N *= fine.n[k];
      next.n[k]  = Halved(fine.n[k]) ? (fine.n[k] + 1) / 2 : fine.n[k];
      next.lo[k] = fine.lo[k];
      next.hi[k] = Halved(fine.n[k]) ? fine.lo[k] + 2 * h * (next.n[k] - 1) : fine.hi[k];
      if (Halved(fine.n[k])) {
        some = true;
        next.squares += h * h / 2; /* half the mass moves by h */
      }
    }
    next.squares += fine.squares;
    if (N <= kCoarsestGrid || !some || L->level.size() >= kMostLevels) PetscFunctionReturn(PETSC_SUCCESS);
    PetscCall(CoarsenMass(d, fine, next, fine.r, &next.r));
    PetscCall(CoarsenMass(d, fine, next, fine.c, &next.c));
    PetscCallCXX(L->level.push_back(next));
  }
}

/* v in the layout of the finer grid: g/eps + log of the mass at the points of the coarser, nothing elsewhere */
PetscErrorCode Inject(PetscInt d, const Level &fine, const Level &coarse, Vec g, Vec mass, Vec layout, double inv, std::vector<double> *v)
{
  PetscInt              lo, hi;
  PetscLayout           map;
  PetscSF               sf;
  std::vector<PetscInt> local, number;
  const PetscScalar    *a, *b;
  PetscScalar           total;
  std::vector<double>   in;

  PetscFunctionBegin;
  PetscCall(VecGetOwnershipRange(layout, &lo, &hi));
  for (PetscInt i = lo; i < hi; ++i) {
    PetscInt q = i, to = 0, stride = 1;
    bool     on = true;
    for (PetscInt k = d - 1; k >= 0; --k) {
      const PetscInt p = q % fine.n[k], j = Halved(fine.n[k]) ? p / 2 : p;
      on = on && (!Halved(fine.n[k]) || (p % 2 == 0 && j < coarse.n[k]));
      to += j * stride;
      stride *= coarse.n[k];
      q /= fine.n[k];
    }
    if (on) {
      PetscCallCXX(local.push_back(i - lo));
      PetscCallCXX(number.push_back(to));
    }
  }
  PetscCall(VecSum(mass, &total));
  PetscCall(VecGetArrayRead(g, &a));
  PetscCall(VecGetArrayRead(mass, &b));
  PetscInt nl;
  PetscCall(VecGetLocalSize(g, &nl));
  PetscCallCXX(in.resize(PetscMax(nl, 1)));
  for (PetscInt i = 0; i < nl; ++i) in[i] = b[i] > 0 ? inv * a[i] + std::log(b[i] / total) : kLogZero;
  PetscCall(VecRestoreArrayRead(mass, &b));
  PetscCall(VecRestoreArrayRead(g, &a));
  PetscCallCXX(v->assign(PetscMax(hi - lo, 1), kLogZero));
  PetscCall(VecGetLayout(g, &map));
  PetscCall(PetscSFCreate(PetscObjectComm((PetscObject)g), &sf));
  PetscCall(PetscSFSetGraphLayout(sf, map, static_cast<PetscInt>(local.size()), local.data(), PETSC_COPY_VALUES, number.data()));
  PetscCall(PetscSFBcastBegin(sf, MPI_DOUBLE, in.data(), v->data(), MPI_REPLACE));
  PetscCall(PetscSFBcastEnd(sf, MPI_DOUBLE, in.data(), v->data(), MPI_REPLACE));
  PetscCall(PetscSFDestroy(&sf));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* -------------------------------------------------------------------------------------------------------------------- extension, solves */

/* a solver for a coarser level, or between two levels, with the settings of t */
PetscErrorCode Coarser(SkeanTransport t, Vec r, Vec c, PetscReal eps, SkeanTransport *s)
{
  PetscFunctionBegin;
  PetscCall(SkeanTransportLike_Private(t, r, c, eps, s));
  PetscCall(SkeanTransportSetOptionsPrefix(*s, ((PetscObject)t)->prefix));
  PetscCall(SkeanTransportAppendOptionsPrefix(*s, "transport_coarse_"));
  PetscObjectOptionsBegin((PetscObject)*s);
  PetscTryTypeMethod(*s, setfromoptions, PetscOptionsObject);
  PetscOptionsEnd();
  PetscCall(SkeanTransportSetScaling(*s, PETSC_TRUE, t->scalefactor));
  PetscCall(SkeanTransportSetTruncation(*s, t->griddim ? 0.0 : PetscMax(t->truncation, kTruncation)));
  PetscCall(SkeanTransportSetTolerances(*s, PetscMax(t->solver.rtol, kLevelTolerance), 0.0, PetscMin(t->solver.max_it, kMostIterations)));
  PetscCall(SkeanTransportSetMultiscale(*s, SKEAN_TRANSPORT_MULTISCALE_NEVER, PETSC_DEFAULT));
  (*s)->sorted = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* out(x) = -eps log sum_j mass_j exp((g_j - c(x, y_j))/eps) at the points X, in the layout of `fine` */
PetscErrorCode ExtendCloud(SkeanTransport t, Vec fine, Mat X, Vec mass, Mat Y, Vec g, PetscReal eps, Vec *out)
{
  SkeanTransport      s;
  Work               *w;
  const PetscScalar  *a;
  PetscScalar        *b;
  std::vector<double> x;

  PetscFunctionBegin;
  PetscCall(Coarser(t, fine, mass, eps, &s));
  PetscCall(SkeanTransportSetType(s, SKEANTRANSPORTSINKHORN));
  PetscCall(SkeanTransportSetKernelMemory(s, 0.0)); /* one pass */
  PetscCall(SkeanTransportSetPoints(s, X, Y));
  PetscCall(SkeanTransportSetUp(s));
  w = static_cast<Work *>(s->work);
  PetscCall(VecGetArrayRead(g, &a));
  PetscCall(w->cols.ToEngine(MPI_DOUBLE, a, w->v.data()));
  PetscCall(VecRestoreArrayRead(g, &a));
  /* min_j (c - g_j - eps log mass_j) is no less than the potential: the bound that a truncated pass starts from */
  PetscCallCXX(x.assign(w->v.size(), 0.0));
  for (PetscInt j = 0; j < w->eng->mloc; ++j) {
    x[j]    = w->v[j] + eps * w->logc[j];
    w->v[j] = x[j] / eps;
  }
  std::fill(w->u.begin(), w->u.end(), PETSC_MAX_REAL);
  PetscCall(w->eng->MinRows(x.data(), w->u.data()));
  for (PetscInt i = 0; i < w->eng->n; ++i) w->u[i] = w->u[i] / eps + w->logr[i];
  PetscCall(w->eng->Fused(1.0 / eps, 1.0, w->v.data(), w->u.data(), NULL, w->lb.data(), NULL));
  for (PetscInt i = 0; i < w->eng->n; ++i) w->u[i] = eps * (w->u[i] - w->logr[i]);
  PetscCall(VecDuplicate(fine, out));
  PetscCall(VecSet(*out, PETSC_NINFINITY));
  PetscCall(VecGetArray(*out, &b));
  PetscCall(w->rows.ToUser(w->u.data(), b));
  PetscCall(VecRestoreArray(*out, &b));
  PetscCall(SkeanTransportDestroy(&s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* the same on a grid, by the engine of the finer solver s */
PetscErrorCode ExtendGrid(SkeanTransport s, const Level &fine, const Level &coarse, bool sources, Vec g, PetscReal eps, Vec *out)
{
  Work               *w    = static_cast<Work *>(s->work);
  Vec                 from = sources ? fine.c : fine.r, to = sources ? fine.r : fine.c;
  std::vector<double> v;
  PetscScalar        *b;
  PetscInt            nl;

  PetscFunctionBegin;
  PetscCall(Inject(s->griddim, fine, coarse, g, sources ? coarse.c : coarse.r, from, 1.0 / eps, &v));
  PetscCall(VecDuplicate(to, out));
  PetscCall(VecGetLocalSize(to, &nl));
  PetscCall(VecGetArray(*out, &b));
  PetscCall(ExtendOnGrid(w->eng.get(), 1.0 / eps, sources, v, nl, b));
  for (PetscInt i = 0; i < nl; ++i) b[i] *= -eps;
  PetscCall(VecRestoreArray(*out, &b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* potentials of the coarser level, extended to the finer level's solver s, which starts from them. f, g are replaced */
PetscErrorCode Prolong(SkeanTransport t, const Level &fine, const Level &coarse, SkeanTransport s, Vec *f, Vec *g)
{
  Vec ff, gg;

  PetscFunctionBegin;
  if (t->griddim) {
    PetscCall(ExtendGrid(s, fine, coarse, true, *g, coarse.eps, &ff));
    PetscCall(ExtendGrid(s, fine, coarse, false, *f, coarse.eps, &gg));
  } else {
    PetscCall(ExtendCloud(t, fine.r, fine.X, coarse.c, coarse.Y, *g, coarse.eps, &ff));
    PetscCall(ExtendCloud(t, fine.c, fine.Y, coarse.r, coarse.X, *f, coarse.eps, &gg));
  }
  PetscCall(VecDestroy(f));
  PetscCall(VecDestroy(g));
  *f = ff;
  *g = gg;
  PetscCall(SkeanTransportSetInitialPotentials(s, *f, *g));
  s->epsstart = coarse.eps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* the cost of moving mass by a root mean square distance of sqrt(q) in d dimensions */
PetscReal CostOf(SkeanTransport t, PetscInt d, PetscReal q)
{
  switch (t->costtype) {
  case SKEAN_TRANSPORT_COST_EUCLIDEAN:
    return std::sqrt(q);
  case SKEAN_TRANSPORT_COST_L1:
    return std::sqrt(q * d);
  case SKEAN_TRANSPORT_COST_LP:
    return d * std::pow(q / d, 0.5 * t->costexponent);
  case SKEAN_TRANSPORT_COST_COSINE:
    return 0.5 * q;
  default:
    return q;
  }
}

} // namespace

PetscErrorCode SkeanTransportUsesMultiscale_Private(SkeanTransport t, PetscBool *use)
{
  MPI_Comm    comm   = PetscObjectComm((PetscObject)t);
  const char *reason = NULL;
  double      pairs = 0, large = 1e8;
  PetscInt    n, m, d = t->griddim;

  PetscFunctionBegin;
  PetscCall(VecGetSize(t->r, &n));
  PetscCall(VecGetSize(t->c, &m));
  if (t->X) PetscCall(MatGetSize(t->X, NULL, &d));
  pairs = static_cast<double>(n) * m;
  if (!t->X && !t->griddim)
    reason = "a stored cost";
  else if (t->X && t->costtype == SKEAN_TRANSPORT_COST_USER)
    reason = "a cost function of the user's";
  else if (d > SKEAN_TRANSPORT_MAXDIM)
    reason = "more than eight dimensions";
  else if (t->rhor != PETSC_INFINITY || t->rhoc != PETSC_INFINITY)
    reason = "marginal penalties";
  else if (t->partial > 0)
    reason = "a partial mass";
  PetscCheck(t->multiscale != SKEAN_TRANSPORT_MULTISCALE_ALWAYS || !reason, comm, PETSC_ERR_SUP, "The multiscale ladder is not offered with %s", reason);
  *use = PETSC_FALSE;
  if (!reason && !t->g0 && t->multiscale != SKEAN_TRANSPORT_MULTISCALE_NEVER)
    *use = (t->multiscale == SKEAN_TRANSPORT_MULTISCALE_ALWAYS || (t->scaling && pairs >= large)) ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Solves the coarser problems and leaves their potentials as the start of t's own solve */
PetscErrorCode SkeanTransportMultiscale_Private(SkeanTransport t)
{
  Work    *w = static_cast<Work *>(t->work);
  PetscInt d = t->griddim;
  Ladder   L;
  Vec      f = NULL, g = NULL;

  PetscFunctionBegin;
  PetscCallCXX(L.level.resize(1));
  L.level[0].r = t->r;
  L.level[0].c = t->c;
  L.level[0].X = t->X;
  L.level[0].Y = t->Y;
  PetscCall(PetscLogEventBegin(SKEAN_Transport_Coarse, t, 0, 0, 0));
  if (t->X) {
    PetscCall(MatGetSize(t->X, NULL, &d));
    PetscCall(CloudLevels(t, &L));
  } else
    PetscCall(GridLevels(t, &L));
  t->mslevels = static_cast<PetscInt>(L.level.size()) - 1;
  for (Level &l : L.level) l.eps = PetscMax(w->eps, kResolution * CostOf(t, d, l.squares));
  for (PetscInt l = t->mslevels; l > 0; --l) {
    SkeanTransport s;
    Level         &now = L.level[l];

    PetscCall(Coarser(t, now.r, now.c, now.eps, &s));
    if (t->griddim)
      PetscCall(SkeanTransportSetGrid(s, d, now.n, now.lo, now.hi));
    else
      PetscCall(SkeanTransportSetPoints(s, now.X, now.Y));
    s->sorted           = PETSC_TRUE;
    s->mslevel          = l;
    s->solver.nmonitors = t->solver.nmonitors;
    for (PetscInt k = 0; k < t->solver.nmonitors; ++k) { /* t still owns their contexts */
      s->solver.monitor[k]        = t->solver.monitor[k];
      s->solver.monitorctx[k]     = t->solver.monitorctx[k];
      s->solver.monitordestroy[k] = NULL;
    }
    PetscCall(SkeanTransportSetUp(s));
    if (f) PetscCall(Prolong(t, now, L.level[l + 1], s, &f, &g));
    PetscCall(SkeanTransportSolve(s));
    PetscCall(VecDestroy(&f));
    PetscCall(VecDestroy(&g));
    PetscCall(VecDuplicate(now.r, &f));
    PetscCall(VecDuplicate(now.c, &g));
    PetscCall(SkeanTransportGetPotentials(s, f, g));
    /* a level that stopped early stopped at another epsilon */
    now.eps           = s->epsabs;
    const bool failed = s->solver.reason == SKEAN_DIVERGED_NANORINF;
    PetscCall(SkeanTransportDestroy(&s));
    if (failed) { /* start without */
      t->mslevels = 0;
      break;
    }
  }
  if (f && t->mslevels) PetscCall(Prolong(t, L.level[0], L.level[1], t, &f, &g));
  PetscCall(VecDestroy(&f));
  PetscCall(VecDestroy(&g));
  PetscCall(L.Destroy());
  PetscCall(PetscLogEventEnd(SKEAN_Transport_Coarse, t, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}
