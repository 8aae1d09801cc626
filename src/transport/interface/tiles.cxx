/* The passes over stored rows and clouds of points */
#include "tiles.hpp"
#include <skean/private/reduce.hpp>
#include <algorithm>
#include <numeric>

namespace skean {
namespace transport {

static constexpr PetscInt kChunk    = 1024; /* columns exponentiated while they are in the first cache */
static constexpr PetscInt kTile     = 32;   /* points of a tile */
static constexpr double   kSlack    = 1.0;  /* e-folds by which a row's potential may rise within a truncated pass before the row is done again */
static constexpr double   kHeavy    = 1e-7; /* of a row's mass: an entry that a Newton system will have */
static constexpr int      kTagBlock = 171, kTagSums = 172;

/* ---------------------------------------------------------------------------------------------------------------------------- blocks */

TileEngine::Offsets TileEngine::Places(PetscInt count) const
{
  const size_t c = static_cast<size_t>(count), d = static_cast<size_t>(T.d), b = tiled ? (c + kTile - 1) / kTile : 0;
  Offsets      o;

  o.norm = T.kind == CostKind::STORED ? 0 : d * c;
  o.q    = o.norm + (T.gemm ? c : 0);
  o.r    = o.q + d * b;
  o.z    = o.r + d * b;
  o.g    = o.z + d * b;
  o.v    = o.g + b;
  o.w    = o.v + c;
  o.id   = o.w + c;
  o.end  = o.id + c;
  return o;
}

TileEngine::Segs TileEngine::Pieces(PetscInt count) const
{
  Segs segs;
  for (PetscInt j = 0; j < count; j += kChunk) segs.push_back({j, PetscMin(kChunk, count - j)});
  return segs;
}

TileEngine::Block TileEngine::View(const double *buf, PetscInt count) const
{
  const Offsets o = Places(count);
  Block         B;

  B.cols.m      = count;
  B.cols.y      = buf;
  B.cols.norm   = buf + o.norm;
  B.tiles.count = tiled ? (count + kTile - 1) / kTile : 0;
  B.tiles.ld    = static_cast<size_t>(B.tiles.count);
  B.tiles.q     = buf + o.q;
  B.tiles.r     = buf + o.r;
  B.tiles.z     = buf + o.z;
  B.tiles.g     = buf + o.g;
  B.v           = buf + o.v;
  B.w           = buf + o.w;
  B.id          = buf + o.id;
  B.all         = Pieces(count);
  return B;
}

PetscErrorCode TileEngine::SetUp()
{
  const size_t d = static_cast<size_t>(T.d);

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  const bool points = T.kind != CostKind::STORED;
  ring              = points && size > 1 && sizeof(double) * static_cast<double>(d) * m > replicate;
  tiled             = points && !T.gemm && d <= 8 && HasBounds(T.kind, T.p) && m >= 4 * kTile;
  widest            = PetscMax(ring ? *std::max_element(counts.begin(), counts.end()) : m, size); /* no less than RescueColumns() takes */
  PetscCheck(static_cast<double>(widest) * (d + 8.0) < PETSC_MPI_INT_MAX, comm, PETSC_ERR_SUP,
             "%" PetscInt_FMT " targets with %" PetscInt_FMT " coordinates in one block do not fit MPI's counts; use more processes", widest, T.d);
  if (points && !ring) {
    std::vector<int>    cnt(size), dis(size);
    std::vector<double> everyone;
    for (int r = 0; r < size; ++r) {
      cnt[r] = counts[r] * static_cast<int>(d);
      dis[r] = displs[r] * static_cast<int>(d);
    }
    PetscCallCXX(everyone.resize(static_cast<size_t>(m) * d));
    PetscCallMPI(MPI_Allgatherv(targets.data(), cnt[rank], MPI_DOUBLE, everyone.data(), cnt.data(), dis.data(), MPI_DOUBLE, comm));
    targets.swap(everyone);
  }
  const PetscInt count = Count(rank);
  const Offsets  o     = Places(count);
  PetscCallCXX(home.assign(PetscMax(o.end, size_t(1)), 0.0));
  if (tiled) {
    PetscCallCXX(colperm.resize(count));
    PetscCallCXX(rowperm.resize(n));
    PetscCallCXX(BisectionOrder(T.d, count, targets.data(), kTile, colperm.data()));
    PetscCallCXX(BisectionOrder(T.d, n, T.X.data(), kTile, rowperm.data()));
    std::vector<double> sorted(T.X.size());
    for (PetscInt k = 0; k < n; ++k) std::copy_n(T.X.begin() + rowperm[k] * d, d, sorted.begin() + k * d);
    T.X.swap(sorted);
  }
  for (PetscInt k = 0; k < count; ++k) {
    const size_t j = static_cast<size_t>(colperm.empty() ? k : colperm[k]);
    double       s = 0;
    home[o.id + k] = static_cast<double>((ring ? mlo : 0) + static_cast<PetscInt>(j));
    for (size_t e = 0; points && e < d; ++e) {
      const double y                                = targets[j * d + e];
      home[T.ByPoint() ? k * d + e : e * count + k] = y;
      s += y * y;
    }
    if (T.gemm) home[o.norm + k] = s;
  }
  std::vector<double>().swap(targets);
  PetscCallCXX(logchome.resize(count));
  PetscCall(LoadColumns(logc, logchome, 0));
  if (ring) memory = 0;
  if (memory > 0) {
    PetscCallCXX(weight.resize(count));
    for (PetscInt j = 0; j < count; ++j) weight[j] = std::exp(logchome[j]);
    PetscCallCXX(weight32.assign(weight.begin(), weight.end()));
    least = count ? *std::min_element(logchome.begin(), logchome.end()) : 0.0;
  }
  if (tiled) {
    const PetscInt nb = (count + kTile - 1) / kTile, nr = (n + kTile - 1) / kTile;
    for (PetscInt t = 0; t < nb; ++t)
      BoundingBox(T.d, PetscMin(kTile, count - t * kTile), home.data() + t * kTile, 1, static_cast<size_t>(count), home.data() + o.q + t, home.data() + o.r + t,
                  static_cast<size_t>(nb));
    PetscCallCXX(rowq.resize(nr * d));
    PetscCallCXX(rowr.resize(nr * d));
    PetscCallCXX(roww.resize(nr * d));
    PetscCallCXX(rowf.resize(nr));
    for (PetscInt b = 0; b < nr; ++b)
      BoundingBox(T.d, PetscMin(kTile, n - b * kTile), T.X.data() + b * kTile * d, d, 1, rowq.data() + b * d, rowr.data() + b * d, 1);
    const size_t most = static_cast<size_t>((widest + kTile - 1) / kTile);
    PetscCallCXX(bound.resize(2 * most));
    PetscCallCXX(work.resize(2 * most));
    PetscCallCXX(cand.resize((3 * d + 1) * most));
  }
  if (T.gemm) group = kGroup;
  while (group > 1 && static_cast<PetscInt64>(group) * widest > (1 << 21)) group /= 2;
  PetscCallCXX(K.resize(static_cast<size_t>(group) * widest));
  PetscCallCXX(idx.resize(kChunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TileEngine::LoadColumns(const double *loc, std::vector<double> &to, size_t at)
{
  const double *from = loc;

  PetscFunctionBegin;
  if (!ring) {
    PetscCall(Gather(loc, full));
    from = full.data();
  }
  for (PetscInt k = 0; k < Count(rank); ++k) to[at + k] = from[colperm.empty() ? k : colperm[k]];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TileEngine::StoreColumns(std::vector<double> &in, double *loc, MPI_Op op)
{
  PetscFunctionBegin;
  if (ring) {
    for (PetscInt k = 0; k < mloc; ++k) loc[colperm.empty() ? k : colperm[k]] = in[k];
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (!colperm.empty()) {
    PetscCallCXX(permuted.resize(m));
    for (PetscInt k = 0; k < m; ++k) permuted[colperm[k]] = in[k];
    in.swap(permuted);
  }
  PetscCall(Scatter(in, loc, op));
  PetscFunctionReturn(PETSC_SUCCESS);
}

template <class F>
PetscErrorCode TileEngine::Round(Fields upto, F body)
{
  PetscErrorCode ierr   = PETSC_SUCCESS;
  auto           Length = [&](PetscInt count) {
    const Offsets o = Places(count);
    return static_cast<int>(upto == FIELDS_V ? o.w : (upto == FIELDS_W ? o.id : o.end));
  };

  PetscFunctionBegin;
  if (!ring)
    ierr = body(View(home.data(), m));
  else {
    const int     left = (rank + size - 1) % size, right = (rank + 1) % size;
    const double *visitor = home.data();
    for (auto &t : travel) PetscCallCXX(t.resize(PetscMax(static_cast<size_t>(Length(widest)), t.size())));
    for (int s = 0; s < size; ++s) {
      const int   owner = (rank + s) % size;
      MPI_Request request[2];
      if (s + 1 < size) {
        PetscCallMPI(MPI_Irecv(travel[s % 2].data(), Length(counts[(owner + 1) % size]), MPI_DOUBLE, right, kTagBlock, comm, &request[0]));
        PetscCallMPI(MPI_Isend(visitor, Length(counts[owner]), MPI_DOUBLE, left, kTagBlock, comm, &request[1]));
      }
      if (!ierr) ierr = body(View(visitor, counts[owner])); /* after an error the others still need the blocks */
      if (s + 1 < size) PetscCallMPI(MPI_Waitall(2, request, MPI_STATUSES_IGNORE));
      visitor = travel[s % 2].data();
    }
  }
  if (T.kind == CostKind::CALLBACK)
    PetscCall(Agree(ierr));
  else
    PetscCall(ierr);
  ++passes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

template <class F>
PetscErrorCode TileEngine::ColumnRound(Fields upto, double init, MPI_Op op, double *loc, F body)
{
  PetscFunctionBegin;
  if (!ring) {
    PetscCallCXX(acc.assign(m, init));
    PetscCall(Round(upto, [&](const Block &B) -> PetscErrorCode { return body(B, acc.data()); }));
  } else {
    /* the sums of a block follow it, one step behind: from the process that had it before, and home in the end */
    const int      left = (rank + size - 1) % size, right = (rank + 1) % size;
    MPI_Request    request = MPI_REQUEST_NULL;
    PetscErrorCode ierr    = PETSC_SUCCESS;
    int            step    = 0;
    PetscCallCXX(acc.resize(widest));
    for (auto &o : out) PetscCallCXX(o.resize(widest));
    PetscCall(Round(upto, [&](const Block &B) -> PetscErrorCode {
      double *o = out[step % 2].data();
      std::fill(o, o + B.cols.m, init);
      if (!ierr) ierr = body(B, o);
      if (step) {
        PetscCallMPI(MPI_Recv(acc.data(), B.cols.m, MPI_DOUBLE, right, kTagSums, comm, MPI_STATUS_IGNORE));
        for (PetscInt j = 0; j < B.cols.m; ++j) o[j] = op == MPI_SUM ? o[j] + acc[j] : (op == MPI_MIN ? PetscMin(o[j], acc[j]) : PetscMax(o[j], acc[j]));
      }
      PetscCallMPI(MPI_Wait(&request, MPI_STATUS_IGNORE));
      PetscCallMPI(MPI_Isend(o, B.cols.m, MPI_DOUBLE, left, kTagSums, comm, &request));
      ++step;
      return PETSC_SUCCESS;
    }));
    PetscCallMPI(MPI_Recv(acc.data(), mloc, MPI_DOUBLE, right, kTagSums, comm, MPI_STATUS_IGNORE));
    PetscCallMPI(MPI_Wait(&request, MPI_STATUS_IGNORE));
    if (T.kind == CostKind::CALLBACK)
      PetscCall(Agree(ierr));
    else
      PetscCall(ierr);
  }
  PetscCall(StoreColumns(acc, loc, op));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ------------------------------------------------------------------------------------------------------------------------------ tiles */

/* Majorants of v - shift over the tiles of this process's block */
void TileEngine::FitColumns(double kappa, const double *shift)
{
  const PetscInt count = Count(rank), nb = (count + kTile - 1) / kTile;
  const Offsets  o = Places(count);
  double         g[kTile];

  for (PetscInt t = 0; t < nb; ++t) {
    const PetscInt lo = t * kTile, len = PetscMin(kTile, count - lo);
    for (PetscInt j = 0; j < len; ++j) g[j] = home[o.v + lo + j] - (shift ? shift[lo + j] : 0.0);
    AffineMajorant(T.d, len, home.data() + lo, 1, static_cast<size_t>(count), g, kappa, home.data() + o.q + t, static_cast<size_t>(nb), home.data() + o.z + t,
                   home.data() + o.g + t);
  }
}

void TileEngine::FitRows(double kappa, PetscInt b, const std::vector<double> &f)
{
  const size_t   d  = static_cast<size_t>(T.d);
  const PetscInt lo = b * kTile, len = PetscMin(kTile, n - lo);

  AffineMajorant(T.d, len, T.X.data() + lo * d, d, 1, f.data() + lo, kappa, rowq.data() + b * d, 1, roww.data() + b * d, &rowf[b]);
}

/* The tiles as pieces of columns, neighbours joined */
void TileEngine::TilesToSegs(const Block &B, const std::vector<PetscInt> &list, Segs &segs) const
{
  segs.clear();
  for (PetscInt t : list) {
    const PetscInt lo = t * kTile, len = PetscMin(kTile, B.cols.m - lo);
    if (!segs.empty() && segs.back().j + segs.back().nc == lo && segs.back().nc + len <= kChunk)
      segs.back().nc += len;
    else
      segs.push_back({lo, len});
  }
}

/* The listed tiles side by side */
TileSet TileEngine::Collect(const TileSet &S, const std::vector<PetscInt> &list)
{
  const size_t   d    = static_cast<size_t>(T.d);
  const PetscInt c    = static_cast<PetscInt>(list.size());
  double        *p    = cand.data();
  auto           Take = [&](const double *x) {
    double *start = p;
    for (PetscInt t : list) *p++ = x[t];
    return start;
  };
  TileSet C;

  C.count = c;
  C.ld    = list.size();
  for (size_t k = 0; k < d; ++k) {
    const double *at = Take(S.q + k * S.ld);
    if (!k) C.q = at;
  }
  for (size_t k = 0; k < d; ++k) {
    const double *at = Take(S.r + k * S.ld);
    if (!k) C.r = at;
  }
  for (size_t k = 0; k < d; ++k) {
    const double *at = Take(S.z + k * S.ld);
    if (!k) C.z = at;
  }
  C.g = Take(S.g);
  return C;
}

template <class F>
PetscErrorCode TileEngine::ForRows(const Block &B, double inv, double cut, const std::vector<double> *f, const std::vector<char> *mask, F body)
{
  const size_t d = static_cast<size_t>(T.d);

  PetscFunctionBegin;
  if (!f) {
    const PetscInt step = mask ? 1 : group;
    for (PetscInt k = 0; k < n; k += step) {
      if (mask && !(*mask)[k]) continue;
      const PetscInt nr = PetscMin(step, n - k);
      entries += static_cast<double>(nr) * B.cols.m;
      PetscCall(body(k, nr, B.all));
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  const double          kappa = Kappa(T.kind, inv);
  const PetscInt        nr    = (n + kTile - 1) / kTile;
  std::vector<PetscInt> list;
  Segs                  segs;
  for (PetscInt b = 0; b < nr; ++b) {
    const PetscInt lo = b * kTile, hi = PetscMin(lo + kTile, n);
    if (mask && std::find(mask->begin() + lo, mask->begin() + hi, 1) == mask->begin() + hi) continue;
    FitRows(kappa, b, *f);
    TileBounds(T.kind, T.d, T.p, inv, rowq.data() + b * d, rowr.data() + b * d, roww.data() + b * d, rowf[b], B.tiles, bound.data(), work.data());
    near.clear();
    for (PetscInt t = 0; t < B.tiles.count; ++t)
      if (!(bound[t] < -cut)) near.push_back(t);
    const TileSet C = Collect(B.tiles, near);
    for (PetscInt k = lo; k < hi; ++k) {
      if (mask && !(*mask)[k]) continue;
      TileBounds(T.kind, T.d, T.p, inv, T.X.data() + k * d, nullptr, nullptr, (*f)[k], C, bound.data(), work.data());
      list.clear();
      for (PetscInt t = 0; t < C.count; ++t)
        if (!(bound[t] < -cut)) list.push_back(near[t]);
      TilesToSegs(B, list, segs);
      for (const Seg &g : segs) entries += g.nc;
      PetscCall(body(k, 1, segs));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TileEngine::RaiseMax(const Block &B, double inv, const std::vector<char> *mask, std::vector<double> &M)
{
  const size_t d = static_cast<size_t>(T.d), ld = static_cast<size_t>(widest);

  PetscFunctionBegin;
  if (!tiled) {
    PetscCall(ForRows(B, inv, 0, nullptr, mask, [&](PetscInt k0, PetscInt nr, const Segs &segs) -> PetscErrorCode {
      for (const Seg &g : segs) {
        PetscCall(FillCosts(T, B.cols, k0, nr, g.j, g.nc, K.data(), ld));
        for (PetscInt r = 0; r < nr; ++r) M[k0 + r] = PetscMax(M[k0 + r], MaxOf(g.nc, inv, B.v + g.j, K.data() + r * ld));
      }
      return PETSC_SUCCESS;
    }));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  const double        kappa = Kappa(T.kind, inv);
  const PetscInt      nr    = (n + kTile - 1) / kTile;
  std::vector<double> f(M.size());
  for (PetscInt b = 0; b < nr; ++b) {
    const PetscInt lo = b * kTile, hi = PetscMin(lo + kTile, n);
    bool           known = true, any = false;
    for (PetscInt k = lo; k < hi; ++k) {
      const bool on = !mask || (*mask)[k];
      f[k]          = -M[k];
      any           = any || on;
      known         = known && M[k] > -1e300;
    }
    if (!any) continue;
    near.clear();
    if (known) {
      FitRows(kappa, b, f);
      TileBounds(T.kind, T.d, T.p, inv, rowq.data() + b * d, rowr.data() + b * d, roww.data() + b * d, rowf[b], B.tiles, bound.data(), work.data());
    }
    for (PetscInt t = 0; t < B.tiles.count; ++t)
      if (!known || !(bound[t] < 0)) near.push_back(t);
    const TileSet C = Collect(B.tiles, near);
    for (PetscInt k = lo; k < hi; ++k) {
      if (mask && !(*mask)[k]) continue;
      TileBounds(T.kind, T.d, T.p, inv, T.X.data() + k * d, nullptr, nullptr, 0.0, C, bound.data(), work.data());
      PetscInt first = 0; /* the most promising tile first */
      for (PetscInt t = 1; t < C.count; ++t)
        if (bound[t] > bound[first]) first = t;
      for (PetscInt q = -1; q < C.count; ++q) {
        const PetscInt t = q < 0 ? first : q;
        if (t >= C.count || (q == first) || bound[t] < M[k]) continue;
        const PetscInt j = near[t] * kTile, nc = PetscMin(kTile, B.cols.m - j);
        PetscCall(FillCosts(T, B.cols, k, 1, j, nc, K.data(), ld));
        M[k] = PetscMax(M[k], MaxOf(nc, inv, B.v + j, K.data()));
        entries += nc;
      }
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows k0..k0+nr of K, each in its place and at the places of the segments, and their sums */
template <class V>
PetscErrorCode TileEngine::Exp(const Block &B, PetscInt k0, PetscInt nr, const Segs &segs, double inv, const double *uk, V *const *to, double *s, double *cost)
{
  const size_t ld = static_cast<size_t>(widest);

  PetscFunctionBegin;
  for (PetscInt r = 0; r < nr; ++r) s[r] = 0;
  for (const Seg &g : segs) {
    const bool direct = T.kind == CostKind::STORED && !B.cols.list; /* costs need not be copied */
    if (!direct) PetscCall(FillCosts(T, B.cols, k0, nr, g.j, g.nc, K.data() + g.j, ld));
    for (PetscInt r = 0; r < nr; ++r) {
      const double *c = direct ? T.C.data() + static_cast<size_t>(k0 + r) * T.ldc + g.j : K.data() + r * ld + g.j;
      if constexpr (sizeof(V) == sizeof(double))
        s[r] += cost ? ExpSumCost(g.nc, uk[r], inv, B.v + g.j, c, to[r] + g.j, cost + r) : ExpSum(g.nc, uk[r], inv, B.v + g.j, c, to[r] + g.j);
      else
        s[r] += ExpSum(g.nc, uk[r], inv, B.v + g.j, c, to[r] + g.j);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The same, in K */
PetscErrorCode TileEngine::Exp(const Block &B, PetscInt k0, PetscInt nr, const Segs &segs, double inv, const double *uk, double *s, double *cost)
{
  double *to[kGroup];

  PetscFunctionBegin;
  for (PetscInt r = 0; r < nr; ++r) to[r] = K.data() + static_cast<size_t>(r) * widest;
  PetscCall(Exp<double>(B, k0, nr, segs, inv, uk, to, s, cost));
  PetscFunctionReturn(PETSC_SUCCESS);
}

template <class V>
void TileEngine::AddRow(const Segs &segs, double t, const V *Krow, double *sums)
{
  for (const Seg &g : segs) AddScaled(g.nc, t, Krow + g.j, sums + g.j);
}

void TileEngine::KeepRow(const Block &B, PetscInt row, const Segs &segs, const double *Krow, double t, Keep *keep)
{
  for (const Seg &g : segs) {
    const PetscInt cnt = Select(g.nc, Krow + g.j, keep->thr / t, idx.data());
    for (PetscInt q = 0; q < cnt; ++q) keep->Add(row, static_cast<PetscInt>(B.id[g.j + idx[q]]), t * Krow[g.j + idx[q]]);
  }
}

PetscErrorCode TileEngine::GetCells(PetscInt most, Cells *c)
{
  PetscFunctionBegin;
  c->count = 0;
  if (!tiled || ring) PetscFunctionReturn(PETSC_SUCCESS);
  cellsize = kTile; /* runs of 2^k tiles are compact as tiles are, see BisectionOrder() */
  while ((m + cellsize - 1) / cellsize > most) cellsize *= 2;
  c->count = (m + cellsize - 1) / cellsize;
  PetscCallCXX(c->of.resize(mloc));
  for (PetscInt k = 0; k < m; ++k)
    if (colperm[k] >= mlo && colperm[k] < mlo + mloc) c->of[colperm[k] - mlo] = k / cellsize;
  PetscCallCXX(cellmass.assign(c->count, 0.0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void TileEngine::AddCells(const Segs &segs, double t, double sum, const double *Krow)
{
  for (const Seg &g : segs)
    for (PetscInt j = g.j, end = g.j + g.nc; j < end;) {
      const PetscInt cell = j / cellsize, hi = PetscMin((cell + 1) * cellsize, end);
      double         s = 0;
      for (; j < hi; ++j) s += Krow[j];
      if (!(s > 0)) continue;
      if (!(cellmass[cell] > 0)) cellsof.push_back(cell);
      cellmass[cell] += t * s;
    }
  CloseCells(sum);
}

template <class V>
void TileEngine::AddCells(size_t count, const std::int32_t *index, double t, double sum, const V *val)
{
  for (size_t q = 0; q < count; ++q) {
    const PetscInt cell = index[q] / cellsize;
    const double   p    = t * static_cast<double>(val[q]) * factor[index[q]];
    if (!(p > 0)) continue;
    if (!(cellmass[cell] > 0)) cellsof.push_back(cell);
    cellmass[cell] += p;
  }
  CloseCells(sum);
}

void TileEngine::CloseCells(double sum)
{
  constexpr double kNothing = 1e-9; /* of a row's mass */
  size_t           some     = 0;

  for (PetscInt c : cellsof) {
    if (cellmass[c] > kNothing * sum)
      cellsof[some++] = c;
    else
      cellmass[c] = 0;
  }
  std::sort(cellsof.begin(), cellsof.begin() + some);
  for (size_t q = 0; q < some; ++q) {
    const double f  = cellmass[cellsof[q]] / sum;
    double      *to = cells->gram.data() + static_cast<size_t>(cellsof[q]) * cells->count;
    for (size_t p = 0; p <= q; ++p) to[cellsof[p]] += f * cellmass[cellsof[p]];
  }
  for (size_t q = 0; q < some; ++q) cellmass[cellsof[q]] = 0;
  cellsof.clear();
}

/* ----------------------------------------------------------------------------------------------------------------------------- passes */

/* The smaller epsilon, the more e-folds potentials move and the fewer entries lie within as many. Twice and four times as many where they have left what was
   kept, as far as single precision reaches */
double TileEngine::Reach(double inv) const
{
  const double usual = PetscMin(100.0, 6.0 * std::sqrt(PetscMax(1.0, 1e-3 * inv * largest))), fits = 0.5 * (kRange - 1 - KeepCut() + least);
  return abandoned && !shortreach ? PetscMax(usual, PetscMin((abandoned > 1 ? 4 : 2) * usual, fits)) : usual;
}

/* Rows are kept in advance, until that was in vain: then only once the potentials have come to rest. Not in vain was what a larger epsilon makes useless: a
   trial of the smallest one has been given up. The same on all processes */
bool TileEngine::WantsToKeep(double inv, const double *v)
{
  if (memory <= 0 || inv < refused) return false;
  if (kept.valid) wasted = kept.uses == 0 && inv >= kept.inv;
  kept.valid = false;
  return !wasted || (lastinv == inv && MaxDifference(m, v, last.data()) <= Reach(inv));
}

/*
   Single precision is enough where the marginal error that is asked for is far above its own, as on all levels of epsilon but the last. Otherwise it carries
   to some marginal error and no further: then rows are kept once more, which takes one more pass over the costs. That is worth it where kept rows come
   from memory, and where rows have had to be kept several times on a level anyway.
*/
void TileEngine::Precision(double inv, double lam, bool plain, double cut, double reach, bool *single, bool *rough) const
{
  const double pairs  = static_cast<double>(nglobal) * m;
  const bool   enough = kRough < 0.01 * wanted, far = !(reached > 0 && reached < 10 * kRough);
  const bool   cheap = !T.gemm && T.kind != CostKind::CALLBACK && !IsThin(inv, cut + 2 * reach), large = pairs > 2e6 && renewed < kRenew && cheap;
  /* products of entries that count are normal numbers; with marginal penalties a row may have any multiple of its mass; small problems gain nothing, and the more
     differences Anderson's method has for their few unknowns the more it makes of the last digit */
  const bool fits = lam == 1.0 && wanted > 0 && cut + 2 * reach - least < kRange && pairs >= 65536;

  *single = fits && (enough || large || (abandoned && far));
  *rough  = *single && plain && (enough || far);
}

/* Whether rows are kept and v is near enough; the same on all processes */
bool TileEngine::IsNear(double inv, const double *v) const
{
  return !exact && kept.valid && kept.inv == inv && MaxDifference(m, v, kept.v0.data()) <= kept.reach;
}

/* After a pass that kept rows */
PetscErrorCode TileEngine::Kept(bool full)
{
  double in[4] = {full ? 1.0 : 0.0, kept.wide, kept.narrow, kept.counted};

  PetscFunctionBegin;
  PetscCall(AllreduceSum(comm, in, 4));
  heavy      = in[0] == 0 ? in[3] : 0.0;
  kept.valid = in[0] == 0;
  /* what did not fit with more than the usual reach may fit with that */
  if (!kept.valid && abandoned && !shortreach)
    shortreach = true;
  else
    refused = kept.valid ? 0.0 : 4 * kept.inv;
  if (!kept.valid) kept.Free();
  /* an entry, with its exponential, is the unit; those of whole rows depend on which cache has them, but not on the number of processes, so that no decision
     does; and the logarithms and exponentials of rows and columns */
  const double pairs = static_cast<double>(nglobal) * m, bytes = pairs * kept.Bytes(), whole = bytes < 4e6 ? 0.15 : (bytes < 2e7 ? 0.25 : 0.4);
  passcost = PetscMin(1.0, (whole * in[1] + 1.2 * in[2] + 20.0 * (static_cast<double>(nglobal) + m)) / pairs);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* After a pass that kept rows in single precision, with its column sums */
PetscErrorCode TileEngine::CorrectKept(const double *sums)
{
  PetscFunctionBegin;
  PetscCallCXX(acckept.assign(m, 0.0));
  PetscCallCXX(kept.below.assign(mloc, 1.0));
  for (PetscInt k = 0; k < n; ++k) kept.AddTo(k, std::exp(kept.u0[k] - kept.base[k]) * kept.right[k], acckept.data());
  PetscCallCXX(keptsums.resize(mloc));
  PetscCall(StoreColumns(acckept, keptsums.data(), MPI_SUM));
  for (PetscInt j = 0; j < mloc; ++j)
    if (sums[j] > kTiny && sums[j] < kHuge && keptsums[j] > kTiny) kept.below[j] = sums[j] / keptsums[j];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A row of stored costs with few entries that count: these are found before there are exponentials. Not done, if there are many of them */
PetscErrorCode TileEngine::SparseRow(const Block &B, double inv, PetscInt k, double deep, double lam, double *u, double *a, double *sums, double bound,
                                     double heavy, bool *done)
{
  const PetscInt i = Row(k);
  const double  *c = T.C.data() + static_cast<size_t>(k) * T.ldc, M = MaxOf(m, inv, B.v, c);

  PetscFunctionBegin;
  PetscCallCXX(selected.resize(m));
  PetscCallCXX(exponents.resize(m));
  const PetscInt count = SelectExponents(m, -M, inv, B.v, c, -deep, logchome.data(), selected.data(), exponents.data());
  *done                = count <= kept.share * m;
  if (!*done) PetscFunctionReturn(PETSC_SUCCESS);
  const double sum = ExpSelected(count, exponents.data(), selected.data(), c, NULL), unew = logr[i] - lam * (M + std::log(sum)), t = std::exp(unew + M);
  u[i] = unew;
  if (a) a[i] = t * sum;
  SparseAdd(static_cast<size_t>(count), t, selected.data(), exponents.data(), sums);
  kept.AddSparse(k, count, selected.data(), exponents.data(), sum, -M, unew, logr[i], bound, heavy, weight.data());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The rows whose potentials are within reach from what is kept; todo: the others. stale: these are many */
template <class V>
PetscErrorCode TileEngine::FusedKept(const Block &B, double lam, double *u, double *a, double *sums, Keep *keep, std::vector<char> &todo, bool *some,
                                     bool *stale)
{
  PetscInt left = 0;

  PetscFunctionBegin;
  PetscCallCXX(factor.resize(m));
  PetscCallCXX(todo.assign(n, 0));
  PetscCallCXX(rowsum.assign(n, 1.0));
  PetscCallCXX(shift.resize(n));
  ExpDifference(m, B.v, kept.v0.data(), factor.data());
  /* u = logr + lam (base - log s), and so |u - u0| <= reach where s/exp(shift) is within exp(reach/lam), either way */
  const double far = std::exp(PetscMin(kept.reach / lam, 400.0));
  for (PetscInt k = 0; k < n; ++k) shift[k] = kept.base[k] + (logr[Row(k)] - kept.u0[k]) / lam;
  ExpOf(n, shift.data(), shift.data());
  if (lam == 1.0) {
    PetscCallCXX(mass.resize(n));
    ExpOf(n, logr, mass.data());
  }
  for (PetscInt k0 = 0; k0 < n;) {
    const PetscInt nr                   = kept.Whole<V>(k0) ? StoredRows::Together<V>() : 1;
    const V       *x[StoredRows::kRows] = {NULL};
    double         s[StoredRows::kRows], t[StoredRows::kRows];

    for (PetscInt r = 0; r < nr; ++r) x[r] = kept.Values<V>(kept.At(k0 + r));
    const StoredRows::Row &first = kept.At(k0);
    const size_t           count = static_cast<size_t>(PetscMax(first.count, 0)); /* of a row that is not whole */
    const std::int32_t    *index = kept.Index(first);
    if (nr > 1)
      DotRows(m, x, factor.data(), s);
    else
      s[0] = first.count < 0 ? Dot(m, x[0], factor.data()) : SparseDot(count, index, x[0], factor.data());
    for (PetscInt r = 0; r < nr; ++r) {
      const PetscInt k = k0 + r, i = Row(k);
      s[r] *= kept.right[k];
      if (!(s[r] > 1e-200 && s[r] < kHuge && s[r] < shift[k] * far && shift[k] < s[r] * far)) {
        todo[k] = 1;
        t[r]    = 0;
        ++left;
        continue;
      }
      rowsum[k] = s[r];
      t[r]      = lam == 1.0 ? mass[i] / s[r] : std::exp(logr[i] - kept.base[k] + lam * (kept.base[k] - std::log(s[r])));
      if (a) a[i] = t[r] * s[r];
      t[r] *= kept.right[k];
    }
    if (nr > 1)
      AddRows(m, t, x, sums);
    else if (first.count < 0)
      AddScaled(m, t[0], x[0], sums);
    else
      SparseAdd(count, t[0], index, x[0], sums);
    for (PetscInt r = 0; (keep || cells) && r < nr; ++r) {
      if (todo[k0 + r]) continue;
      const PetscInt i   = Row(k0 + r);
      const double   all = t[r] * s[r] / kept.right[k0 + r];
      if (first.count < 0) {
        ProductOf(m, x[r], factor.data(), K.data());
        if (cells) AddCells(B.all, t[r], all, K.data());
        if (keep) KeepRow(B, i, B.all, K.data(), t[r], keep);
        continue;
      }
      if (cells) AddCells(count, index, t[0], all, x[0]);
      for (size_t q = 0; keep && q < count && !keep->overflow; ++q) {
        const double p = t[0] * static_cast<double>(x[0][q]) * factor[index[q]];
        if (p > keep->thr) keep->Add(i, static_cast<PetscInt>(B.id[index[q]]), p);
      }
    }
    k0 += nr;
  }
  MultiplyBy(m, factor.data(), sums);
  LogOf(n, rowsum.data(), rowsum.data());
  for (PetscInt k = 0; k < n; ++k)
    if (!todo[k]) u[Row(k)] = logr[Row(k)] + lam * (kept.base[k] - rowsum[k]);
  *some  = left > 0;
  *stale = left > n / 10;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   A row is summed with its old potential as scale and, truncated, as bound. Two things can go wrong, and the row is summed again:
   - the sum is out of range: with its maximum M as scale;
   - the new potential is above the bound by more than kSlack, so that too much may have been skipped: what was summed is part of the row, hence its
     negative logarithm is an upper bound of the true potential, and the new bound.
*/
PetscErrorCode TileEngine::Fused(double inv, double lam, const double *v, double *u, double *a, double *lb, Keep *keep)
{
  const bool          trunc = Skips();
  double              cut   = LooseCut();
  const size_t        ld    = static_cast<size_t>(widest);
  const Fields        upto  = keep ? FIELDS_ID : FIELDS_V;
  std::vector<double> f, scale, S, M;
  std::vector<char>   redo, needmax;
  bool                anyredo = false, anymax = false;

  PetscFunctionBegin;
  PetscCall(LoadColumns(v, home, Places(Count(rank)).v));
  if (trunc && ring) FitColumns(Kappa(T.kind, inv), logchome.data());
  PetscCallCXX(scale.resize(n));
  PetscCallCXX(f.resize(n));
  PetscCallCXX(redo.assign(n, 0));
  for (PetscInt k = 0; k < n; ++k) {
    scale[k] = u[Row(k)];
    f[k]     = scale[k] - logr[Row(k)];
  }
  const std::vector<double> *fp            = trunc ? &f : nullptr;
  auto                       New           = [&](PetscInt k, double s) { return logr[Row(k)] + lam * (scale[k] - std::log(s)); };
  bool                       computesrough = false;
  /* whether the sum stands; otherwise the row's new scale and bound. In single precision entries that count must be normal numbers */
  auto Stands = [&](PetscInt k, double s) {
    const double lr = logr[Row(k)];
    if (!(computesrough ? s > 1e-25 && s < 1e30 : s > kTiny && s < kHuge)) {
      if (!anymax) {
        needmax.assign(n, 0);
        M.assign(n, -PETSC_MAX_REAL);
      }
      anymax = anyredo = true;
      needmax[k] = redo[k] = 1;
      return false;
    }
    if (trunc && New(k, s) - lr > f[k] + kSlack) {
      const double L = std::log(s) - scale[k];
      scale[k]       = (computesrough ? 0.0 : lr) - L;
      f[k]           = PetscMax(-L, -lam * L);
      anyredo        = true;
      redo[k]        = 1;
      return false;
    }
    return true;
  };
  auto UseMax = [&] {
    for (PetscInt k = 0; anymax && k < n; ++k)
      if (needmax[k]) {
        scale[k] = -M[k];
        f[k]     = PetscMax(-M[k], -lam * M[k]);
      }
  };
  bool   near = false, keeping = false, full = false, stale = false;
  double deep = cut; /* what is left out of a column is below exp(-deep) of its mass */
  if (cells) PetscCallCXX(cells->gram.assign(static_cast<size_t>(cells->count) * cells->count, 0.0));
  if (!ring) {
    const double *vhome = home.data() + Places(m).v;
    near                = !anew && IsNear(inv, vhome);
    keeping             = !exact && !near && WantsToKeep(inv, vhome);
    if (inv != lastinv) renewed = 0;
    if (inv < lastinv)
      abandoned = 0;
    else if (keeping && !anew && kept.inv == inv)
      ++abandoned;
    anew = false;
    if (keeping) cut = KeepCut(); /* later passes rely on what is kept */
    const double reach     = Reach(inv);
    bool         shortened = false;
    if (keeping) Precision(inv, lam, !keep && !cells, cut, reach, &shortened, &computesrough);
    kepterr = computesrough ? kRough : (near && kept.single ? (kept.rough ? kRough : kSingle * Drift(m, weight.data(), vhome, kept.v0.data())) : 0.0);
    if (near && kept.cut < Cut()) kepterr += 2 * std::exp(-kept.cut);
    deep = keeping ? cut + 2 * reach : (near ? PetscMin(cut, kept.cut) : cut);
    if (computesrough) PetscCallCXX(K32.resize(K.size()));
    if (computesrough) scale = f; /* row sums of one, not of the mass */
    PetscCallCXX(last.assign(vhome, vhome + m));
    lastinv = inv;
    PetscCall(ColumnRound(upto, 0.0, MPI_SUM, lb, [&](const Block &B, double *sums) -> PetscErrorCode {
      std::vector<char> todo;
      bool              some = true; /* rows to be done from the costs */
      if (near && kept.single)
        PetscCall(FusedKept<float>(B, lam, u, a, sums, keep, todo, &some, &stale));
      else if (near)
        PetscCall(FusedKept<double>(B, lam, u, a, sums, keep, todo, &some, &stale));
      if (some && tiled) FitColumns(Kappa(T.kind, inv), logchome.data());
      if (keeping) PetscCallCXX(kept.Begin(n, nglobal, m, inv, cut, reach, shortened, computesrough, B.v));
      /* what is done with row k, its exponentials and their sum; the factor of the plan */
      auto Use = [&](PetscInt k, const Segs &segs, double sum, const auto *Krow) {
        const double unew = New(k, sum), t = std::exp(unew - scale[k]);
        u[Row(k)] = unew;
        if (a) a[Row(k)] = t * sum;
        AddRow(segs, t, Krow, sums);
        return t;
      };
      /* rows that are kept as they are computed, in their place; others are in K */
      const bool   inplace = keeping && (computesrough || !shortened);
      const double bound = std::exp(-cut - 2 * reach), many = kHeavy * m;
      const bool   thin   = keeping && !keep && !cells && IsThin(inv, cut + 2 * reach) && (cut + 2 * reach + kSpread) < kept.share * inv * largest;
      PetscInt     failed = 0; /* rows that have more entries than was expected of all of them */
      auto         Rows   = [&](PetscInt k0, PetscInt nr, const Segs &segs, bool first, auto zero) -> PetscErrorCode {
        typedef decltype(zero) V;
        double                 s[kGroup];
        V                     *to[kGroup];
        bool                   room = keeping && !full;

        PetscFunctionBegin;
        if (room) PetscCallCXX(room = kept.Reserve(nr * m, memory));
        full = keeping && !room;
        if (thin && room && first && sizeof(V) == sizeof(double) && failed <= kFailures) {
          bool done;
          PetscCall(SparseRow(B, inv, k0, cut + 2 * reach, lam, u, a, sums, bound, many, &done));
          if (done) PetscFunctionReturn(PETSC_SUCCESS);
          ++failed;
        }
        for (PetscInt r = 0; r < nr; ++r) to[r] = room && inplace ? kept.Place<V>(r) : Scratch<V>(r);
        PetscCall(Exp<V>(B, k0, nr, segs, inv, &scale[k0], to, s, NULL));
        for (PetscInt r = 0; r < nr; ++r) {
          const PetscInt k = k0 + r, i = Row(k);
          if (first && !Stands(k, s[r])) continue;
          if (computesrough && s[r] < 0.05) { /* so that what counts is normal */
            scale[k] -= std::log(s[r]);
            PetscCall(Exp<V>(B, k, 1, segs, inv, &scale[k], to + r, s + r, NULL));
          }
          const double t = Use(k, segs, s[r], to[r]);
          if constexpr (sizeof(V) == sizeof(double)) {
            if (cells) AddCells(segs, t, t * s[r], to[r]);
            if (keep) KeepRow(B, i, segs, to[r], t, keep);
          }
          if (room) PetscCallCXX(kept.Add(k, segs, to[r], inplace, s[r], scale[k], u[i], logr[i], bound, many, weight.data(), weight32.data()));
        }
        PetscFunctionReturn(PETSC_SUCCESS);
      };
      for (int again = some ? 0 : 2; again < (anyredo ? 2 : 1); ++again) {
        if (again && anymax) PetscCall(RaiseMax(B, inv, &needmax, M));
        if (again) UseMax();
        PetscCall(ForRows(B, inv, cut + (again ? 0.0 : kSlack) + (keeping ? 2 * reach : 0.0), fp, again ? &redo : (near ? &todo : nullptr),
                          [&](PetscInt k0, PetscInt nr, const Segs &segs) -> PetscErrorCode {
                            if (computesrough)
                              PetscCall(Rows(k0, nr, segs, !again, 0.0f));
                            else
                              PetscCall(Rows(k0, nr, segs, !again, 0.0));
                            return PETSC_SUCCESS;
                          }));
      }
      return PETSC_SUCCESS;
    }));
    if (near && kept.single && !kept.rough)
      for (PetscInt j = 0; j < mloc; ++j) lb[j] *= kept.below[j];
    if (keeping) PetscCall(Kept(full));
    if (keeping && kept.valid && shortened && !computesrough) PetscCall(CorrectKept(lb));
  } else {
    auto SumRows = [&](double cut, const std::vector<char> *mask) -> PetscErrorCode {
      PetscFunctionBegin;
      PetscCall(Round(FIELDS_V, [&](const Block &B) -> PetscErrorCode {
        return ForRows(B, inv, cut, fp, mask, [&](PetscInt k0, PetscInt nr, const Segs &segs) -> PetscErrorCode {
          double s[kGroup];
          PetscCall(Exp(B, k0, nr, segs, inv, &scale[k0], s, nullptr));
          for (PetscInt r = 0; r < nr; ++r) S[k0 + r] += s[r];
          return PETSC_SUCCESS;
        });
      }));
      PetscFunctionReturn(PETSC_SUCCESS);
    };
    PetscCallCXX(S.assign(n, 0.0));
    PetscCall(SumRows(cut + kSlack, nullptr));
    for (PetscInt k = 0; k < n; ++k)
      if (!Stands(k, S[k])) S[k] = 0;
    int flags[2] = {anyredo, anymax};
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, flags, 2, MPI_INT, MPI_MAX, comm));
    if (flags[1]) {
      if (!anymax) {
        PetscCallCXX(needmax.assign(n, 0));
        PetscCallCXX(M.assign(n, -PETSC_MAX_REAL));
      }
      if (tiled && !trunc) FitColumns(Kappa(T.kind, inv), logchome.data());
      PetscCall(Round(FIELDS_V, [&](const Block &B) -> PetscErrorCode { return RaiseMax(B, inv, &needmax, M); }));
      UseMax();
    }
    if (flags[0]) PetscCall(SumRows(cut, &redo));
    for (PetscInt k = 0; k < n; ++k) {
      const double unew = New(k, S[k]);
      u[Row(k)]         = unew;
      if (a) a[Row(k)] = std::exp(unew - scale[k]) * S[k];
      scale[k] = unew;
      f[k]     = unew - logr[Row(k)];
    }
    PetscCall(ColumnRound(upto, 0.0, MPI_SUM, lb, [&](const Block &B, double *sums) -> PetscErrorCode {
      return ForRows(B, inv, cut, fp, nullptr, [&](PetscInt k0, PetscInt nr, const Segs &segs) -> PetscErrorCode {
        double s[kGroup];
        PetscCall(Exp(B, k0, nr, segs, inv, &scale[k0], s, nullptr));
        for (PetscInt r = 0; r < nr; ++r) {
          AddRow(segs, 1.0, K.data() + r * ld, sums);
          if (keep) KeepRow(B, Row(k0 + r), segs, K.data() + r * ld, 1.0, keep);
        }
        return PETSC_SUCCESS;
      });
    }));
  }
  /* a column that no row reaches: its sum underflowed, or what was skipped counts in it, since its potential is far too small */
  std::vector<char>   bad(mloc, 0);
  std::vector<double> masses(mloc, 1.0);
  const double        floor = trunc ? PetscMin(std::exp(-deep) * 1e6, std::exp(-0.5 * deep)) : 0.0;
  if (floor > 0) ExpOf(mloc, logc, masses.data());
  for (PetscInt j = 0; j < mloc; ++j) {
    bad[j] = !(lb[j] > PetscMax(kTiny, floor * masses[j]) && lb[j] < kHuge);
    if (bad[j]) lb[j] = 1.0;
  }
  LogOf(mloc, lb, lb);
  int flags[2] = {std::find(bad.begin(), bad.end(), 1) != bad.end(), stale};
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, flags, 2, MPI_INT, MPI_MAX, comm));
  if (flags[0]) PetscCall(RescueColumns(inv, u, v, bad, lb));
  if (cells) PetscCall(AllreduceSum(comm, cells->gram.data(), cells->gram.size()));
  if (flags[1])
    kept.valid = false;
  else if (near) {
    --passes;
    ++keptpasses;
    ++kept.uses;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* lb_j = v_j + LSE_i (u_i - inv c_ij) with the true maximum, for the columns that are bad: these few make a block of their own, on every process */
PetscErrorCode TileEngine::RescueColumns(double inv, const double *u, const double *v, const std::vector<char> &bad, double *lb)
{
  const size_t          d = static_cast<size_t>(T.d), ld = static_cast<size_t>(widest);
  const PetscInt        batch = PetscMax(1, PetscMin(16384, widest) / size), count = Count(rank);
  const Offsets         o = Places(count);
  std::vector<PetscInt> place(mloc), mine;

  PetscFunctionBegin;
  for (PetscInt k = 0; k < count; ++k) {
    const PetscInt j = (colperm.empty() ? k : colperm[k]) - (ring ? 0 : mlo);
    if (j >= 0 && j < mloc) place[j] = k;
  }
  for (PetscInt j = 0; j < mloc; ++j)
    if (bad[j]) mine.push_back(j);
  PetscInt rounds = (static_cast<PetscInt>(mine.size()) + batch - 1) / batch;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &rounds, 1, MPIU_INT, MPI_MAX, comm));
  for (PetscInt q = 0; q < rounds; ++q) {
    const size_t        lo = PetscMin(static_cast<size_t>(q) * batch, mine.size()), hi = PetscMin(lo + batch, mine.size());
    const size_t        wide = T.kind == CostKind::STORED ? 1 : d + 1;
    std::vector<double> send, recv, M, sums;
    std::vector<int>    cnt(size), dis(size, 0);
    /* the number of the column, its coordinates */
    for (size_t s = lo; s < hi; ++s) {
      const PetscInt k = place[mine[s]];
      send.push_back(home[o.id + k]);
      for (size_t e = 0; e + 1 < wide; ++e) send.push_back(home[T.ByPoint() ? k * d + e : e * count + k]);
    }
    int len = static_cast<int>(send.size());
    PetscCallMPI(MPI_Allgather(&len, 1, MPI_INT, cnt.data(), 1, MPI_INT, comm));
    for (int r = 1; r < size; ++r) dis[r] = dis[r - 1] + cnt[r - 1];
    const PetscInt nb = (dis[size - 1] + cnt[size - 1]) / static_cast<int>(wide), first = dis[rank] / static_cast<int>(wide);
    PetscCallCXX(recv.resize(nb * wide));
    PetscCallMPI(MPI_Allgatherv(send.data(), len, MPI_DOUBLE, recv.data(), cnt.data(), dis.data(), MPI_DOUBLE, comm));
    std::vector<double>   pts(nb * d), norm(nb, 0.0);
    std::vector<PetscInt> list(nb);
    for (PetscInt j = 0; j < nb; ++j) {
      list[j] = static_cast<PetscInt>(recv[j * wide]);
      for (size_t e = 0; e + 1 < wide; ++e) {
        const double y                            = recv[j * wide + 1 + e];
        pts[T.ByPoint() ? j * d + e : e * nb + j] = y;
        norm[j] += y * y;
      }
    }
    Block B;
    B.cols.m    = nb;
    B.cols.y    = pts.data();
    B.cols.norm = norm.data();
    B.cols.list = list.data();
    B.all       = Pieces(nb);
    M.assign(nb, -PETSC_MAX_REAL);
    sums.assign(nb, 0.0);
    B.v                 = M.data();
    PetscErrorCode ierr = ForRows(B, inv, 0, nullptr, nullptr, [&](PetscInt k0, PetscInt nr, const Segs &segs) -> PetscErrorCode {
      for (const Seg &g : segs) {
        PetscCall(FillCosts(T, B.cols, k0, nr, g.j, g.nc, K.data(), ld));
        for (PetscInt r = 0; r < nr; ++r) MaxInto(g.nc, u[Row(k0 + r)], inv, K.data() + r * ld, M.data() + g.j);
      }
      return PETSC_SUCCESS;
    });
    if (T.kind == CostKind::CALLBACK)
      PetscCall(Agree(ierr));
    else
      PetscCall(ierr);
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, M.data(), nb, MPI_DOUBLE, MPI_MAX, comm));
    for (double &x : M) x = -x;
    ierr = ForRows(B, inv, 0, nullptr, nullptr, [&](PetscInt k0, PetscInt nr, const Segs &segs) -> PetscErrorCode {
      double s[kGroup], uk[kGroup];
      for (PetscInt r = 0; r < nr; ++r) uk[r] = u[Row(k0 + r)];
      PetscCall(Exp(B, k0, nr, segs, inv, uk, s, nullptr));
      for (PetscInt r = 0; r < nr; ++r) AddRow(segs, 1.0, K.data() + r * ld, sums.data());
      return PETSC_SUCCESS;
    });
    if (T.kind == CostKind::CALLBACK)
      PetscCall(Agree(ierr));
    else
      PetscCall(ierr);
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, sums.data(), nb, MPI_DOUBLE, MPI_SUM, comm));
    for (size_t s = lo; s < hi; ++s) {
      const size_t at = first + (s - lo);
      lb[mine[s]]     = v[mine[s]] - M[at] + std::log(sums[at]);
    }
  }
  passes += 2;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TileEngine::RowBounds(const double *u, std::vector<double> &f) const
{
  PetscFunctionBegin;
  PetscCallCXX(f.resize(n));
  for (PetscInt k = 0; k < n; ++k) f[k] = u[Row(k)] - logr[Row(k)];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TileEngine::Marginals(double inv, const double *u, const double *v, double *a, double *b, double *cost)
{
  std::vector<double> f;
  double              total = 0;

  PetscFunctionBegin;
  PetscCall(LoadColumns(v, home, Places(Count(rank)).v));
  PetscCall(RowBounds(u, f));
  if (Truncated()) FitColumns(Kappa(T.kind, inv), logchome.data());
  if (a) std::fill(a, a + n, 0.0);
  constexpr double kNothing = 40;
  bool             few      = IsThin(inv, kNothing);
  double           found    = 0;
  if (few) {
    PetscCallCXX(selected.resize(m));
    PetscCallCXX(exponents.resize(m));
  }
  auto body = [&](const Block &B, double *sums) -> PetscErrorCode {
    return ForRows(B, inv, cutoff, Truncated() ? &f : nullptr, nullptr, [&](PetscInt k0, PetscInt nr, const Segs &segs) -> PetscErrorCode {
      double s[kGroup], uk[kGroup], w[kGroup] = {0};
      for (PetscInt r = 0; r < nr; ++r) uk[r] = u[Row(k0 + r)];
      if (few) { /* what is below rounding has no part in any sum */
        const double  *c = T.C.data() + static_cast<size_t>(k0) * T.ldc;
        const PetscInt i = Row(k0), count = SelectExponents(m, uk[0], inv, B.v, c, logr[i] - kNothing, logchome.data(), selected.data(), exponents.data());
        const double   sum = ExpSelected(count, exponents.data(), selected.data(), c, cost ? w : NULL);
        total += w[0];
        if (a) a[i] = sum;
        if (sums) SparseAdd(static_cast<size_t>(count), 1.0, selected.data(), exponents.data(), sums);
        found += count;
        if (k0 == 31 && found > 8.0 * m) few = false; /* not as few as expected */
        return PETSC_SUCCESS;
      }
      PetscCall(Exp(B, k0, nr, segs, inv, uk, s, cost ? w : nullptr));
      for (PetscInt r = 0; r < nr; ++r) {
        total += w[r];
        if (a) a[Row(k0 + r)] += s[r];
        if (sums) AddRow(segs, 1.0, K.data() + static_cast<size_t>(r) * widest, sums);
      }
      return PETSC_SUCCESS;
    });
  };
  if (b)
    PetscCall(ColumnRound(FIELDS_V, 0.0, MPI_SUM, b, body));
  else
    PetscCall(Round(FIELDS_V, [&](const Block &B) -> PetscErrorCode { return body(B, nullptr); }));
  if (cost) PetscCallMPI(MPI_Allreduce(&total, cost, 1, MPI_DOUBLE, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* p_k = (P w)_k if `sum`, and sums += P'weight, over the rows within reach; wf = w times the factors of the columns */
template <class V, class F>
void TileEngine::ProductsKept(const double *u, const double *wf, bool sum, double *p, double *sums, std::vector<char> &todo, PetscInt *left, F weight)
{
  for (PetscInt k0 = 0; k0 < n;) {
    const PetscInt         nr                   = kept.Whole<V>(k0) ? StoredRows::Together<V>() : 1;
    const StoredRows::Row &first                = kept.At(k0);
    const size_t           count                = static_cast<size_t>(PetscMax(first.count, 0));
    const V               *x[StoredRows::kRows] = {NULL};
    double                 s[StoredRows::kRows] = {0}, t[StoredRows::kRows];

    for (PetscInt r = 0; r < nr; ++r) x[r] = kept.Values<V>(kept.At(k0 + r));
    if (sum) {
      if (nr > 1)
        DotRows(m, x, wf, s);
      else
        s[0] = first.count < 0 ? Dot(m, x[0], wf) : SparseDot(count, kept.Index(first), x[0], wf);
    }
    for (PetscInt r = 0; r < nr; ++r) {
      const PetscInt k = k0 + r, i = Row(k);
      t[r] = 0;
      if (std::fabs(u[i] - kept.u0[k]) <= kept.reach) {
        t[r] = std::exp(u[i] - kept.base[k]) * kept.right[k];
        if (sum) p[k] = t[r] * s[r];
        t[r] *= weight(k, i);
      } else {
        todo[k] = 1;
        ++*left;
      }
    }
    if (sums) {
      if (nr > 1)
        AddRows(m, t, x, sums);
      else if (first.count < 0)
        AddScaled(m, t[0], x[0], sums);
      else
        SparseAdd(count, t[0], kept.Index(first), x[0], sums);
    }
    k0 += nr;
  }
}

PetscErrorCode TileEngine::Products(double inv, const double *u, const double *v, const double *w, const double *a, const double *z, double *rowout,
                                    double *colout)
{
  std::vector<double> f, p, wf;
  std::vector<char>   todo;
  bool                known = !w, near = false; /* the weights of the rows, when their columns are summed; rows that are kept are used */

  PetscFunctionBegin;
  PetscCall(LoadColumns(v, home, Places(Count(rank)).v));
  if (w) PetscCall(LoadColumns(w, home, Places(Count(rank)).w));
  PetscCall(RowBounds(u, f));
  if (Truncated()) FitColumns(Kappa(T.kind, inv), logchome.data());
  PetscCallCXX(p.assign(n, 0.0));
  if (nearby && !ring) near = IsNear(inv, home.data() + Places(m).v);
  if (near) {
    PetscCallCXX(factor.resize(m));
    PetscCallCXX(wf.resize(m));
    PetscCallCXX(todo.assign(n, 0));
    ExpDifference(m, home.data() + Places(m).v, kept.v0.data(), factor.data());
  }
  auto weight = [&](PetscInt k, PetscInt i) { return w && a ? p[k] / a[i] : (z ? z[i] : 0.0); };
  auto body   = [&](const Block &B, double *sums) -> PetscErrorCode {
    PetscInt left = near ? 0 : n;
    if (near) {
      if (w) ProductOf(m, B.w, factor.data(), wf.data());
      if (kept.single)
        ProductsKept<float>(u, wf.data(), !known, p.data(), sums, todo, &left, weight);
      else
        ProductsKept<double>(u, wf.data(), !known, p.data(), sums, todo, &left, weight);
      if (sums) MultiplyBy(m, factor.data(), sums);
    }
    if (!left) return PETSC_SUCCESS;
    return ForRows(B, inv, cutoff, Truncated() ? &f : nullptr, near ? &todo : nullptr, [&](PetscInt k0, PetscInt nr, const Segs &segs) -> PetscErrorCode {
      double s[kGroup], uk[kGroup];
      for (PetscInt r = 0; r < nr; ++r) uk[r] = u[Row(k0 + r)];
      PetscCall(Exp(B, k0, nr, segs, inv, uk, s, nullptr));
      for (PetscInt r = 0; r < nr; ++r) {
        const PetscInt k    = k0 + r;
        const double  *Krow = K.data() + static_cast<size_t>(r) * widest;
        if (!known)
          for (const Seg &g : segs) p[k] += Dot(g.nc, Krow + g.j, B.w + g.j);
        if (sums) AddRow(segs, weight(k, Row(k)), Krow, sums);
      }
      return PETSC_SUCCESS;
    });
  };
  if (w && (ring || !colout)) {
    PetscCall(Round(FIELDS_W, [&](const Block &B) -> PetscErrorCode { return body(B, nullptr); }));
    known = true;
  }
  if (colout) PetscCall(ColumnRound(known ? FIELDS_V : FIELDS_W, 0.0, MPI_SUM, colout, body));
  if (w && rowout)
    for (PetscInt k = 0; k < n; ++k) rowout[Row(k)] = p[k];
  if (near) {
    --passes;
    ++keptpasses;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Pairs with c_ij - x_i above the bound of y_j cannot lower it: skipped by the machinery of truncation, with potentials x and y and nothing to spare */
PetscErrorCode TileEngine::MinCols(const double *x, double *y)
{
  std::vector<double> f(n), least(mloc);

  PetscFunctionBegin;
  PetscCall(LoadColumns(y, home, Places(Count(rank)).v));
  if (tiled) FitColumns(Kappa(T.kind, 1.0), nullptr);
  for (PetscInt k = 0; k < n; ++k) f[k] = x[Row(k)];
  PetscCall(ColumnRound(FIELDS_V, PETSC_MAX_REAL, MPI_MIN, least.data(), [&](const Block &B, double *best) -> PetscErrorCode {
    return ForRows(B, 1.0, 0.0, tiled ? &f : nullptr, nullptr, [&](PetscInt k0, PetscInt nr, const Segs &segs) -> PetscErrorCode {
      for (const Seg &g : segs) {
        PetscCall(FillCosts(T, B.cols, k0, nr, g.j, g.nc, K.data(), static_cast<size_t>(widest)));
        for (PetscInt r = 0; r < nr; ++r) MinInto(g.nc, f[k0 + r], K.data() + static_cast<size_t>(r) * widest, best + g.j);
      }
      return PETSC_SUCCESS;
    });
  }));
  for (PetscInt j = 0; j < mloc; ++j) y[j] = PetscMin(y[j], least[j]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TileEngine::MinRows(const double *y, double *x)
{
  std::vector<double> M(n);

  PetscFunctionBegin;
  PetscCall(LoadColumns(y, home, Places(Count(rank)).v));
  if (tiled) FitColumns(Kappa(T.kind, 1.0), nullptr);
  for (PetscInt k = 0; k < n; ++k) M[k] = -x[Row(k)];
  PetscCall(Round(FIELDS_V, [&](const Block &B) -> PetscErrorCode { return RaiseMax(B, 1.0, nullptr, M); }));
  for (PetscInt k = 0; k < n; ++k) x[Row(k)] = -M[k];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Squared distances are sums of products of moments. Otherwise every pair, or (truncated) the largest cost of every pair of tiles */
PetscErrorCode TileEngine::Bilinear(const double *x, const double *y, double *value)
{
  const size_t d     = static_cast<size_t>(T.d);
  double       total = 0;
  const size_t at    = Places(Count(rank)).w;

  PetscFunctionBegin;
  PetscCall(LoadColumns(y, home, at));
  if (T.kind == CostKind::SQEUCLIDEAN || T.kind == CostKind::COSINE) {
    /* sum x, sum x |X|^2, sum x X, and the same of the columns, which every process has unless they go around */
    std::vector<double> s(2 * (d + 2), 0.0);
    const PetscInt      count = Count(rank);
    auto                Add   = [&](double *m, double weight, auto point) {
      m[0] += weight;
      for (size_t k = 0; k < d; ++k) {
        const double t = point(k);
        m[1] += weight * t * t;
        m[2 + k] += weight * t;
      }
    };
    for (PetscInt k = 0; k < n; ++k) Add(s.data(), x[Row(k)], [&](size_t e) { return T.X[k * d + e]; });
    for (PetscInt k = 0; k < count && (ring || !rank); ++k)
      Add(s.data() + d + 2, home[at + k], [&](size_t e) { return home[T.ByPoint() ? k * d + e : e * count + k]; });
    PetscCall(AllreduceSum(comm, s.data(), s.size()));
    const double *p = s.data(), *q = p + d + 2;
    *value = p[1] * q[0] + p[0] * q[1];
    for (size_t k = 0; k < d; ++k) *value -= 2 * p[2 + k] * q[2 + k];
    *value = PetscMax(*value, 0.0) * (T.kind == CostKind::COSINE ? 0.5 : 1.0);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(Round(FIELDS_W, [&](const Block &B) -> PetscErrorCode {
    if (Truncated()) {
      for (PetscInt b = 0; b < static_cast<PetscInt>(rowf.size()); ++b) {
        double sx = 0;
        for (PetscInt k = b * kTile; k < PetscMin((b + 1) * kTile, n); ++k) sx += x[Row(k)];
        TileFarthest(T.kind, T.d, T.p, rowq.data() + b * d, rowr.data() + b * d, B.tiles, bound.data());
        for (PetscInt t = 0; t < B.tiles.count; ++t)
          for (PetscInt j = t * kTile; j < PetscMin((t + 1) * kTile, B.cols.m); ++j) total += sx * B.w[j] * bound[t];
      }
      return PETSC_SUCCESS;
    }
    return ForRows(B, 1.0, 0, nullptr, nullptr, [&](PetscInt k0, PetscInt nr, const Segs &segs) -> PetscErrorCode {
      for (const Seg &g : segs) {
        PetscCall(FillCosts(T, B.cols, k0, nr, g.j, g.nc, K.data(), static_cast<size_t>(widest)));
        for (PetscInt r = 0; r < nr; ++r) total += x[Row(k0 + r)] * Dot(g.nc, B.w + g.j, K.data() + static_cast<size_t>(r) * widest);
      }
      return PETSC_SUCCESS;
    });
  }));
  PetscCallMPI(MPI_Allreduce(&total, value, 1, MPI_DOUBLE, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* u_i + v_j - inv c_ij >= log thr: exactly what is asked for is visited */
PetscErrorCode TileEngine::Entries(double inv, const double *u, const double *v, Keep *keep)
{
  std::vector<double> f(n);
  const bool          some = tiled && keep->thr > 0;

  PetscFunctionBegin;
  PetscCall(LoadColumns(v, home, Places(Count(rank)).v));
  if (some) FitColumns(Kappa(T.kind, inv), nullptr);
  for (PetscInt k = 0; k < n; ++k) f[k] = u[Row(k)];
  keep->Start(keep->thr, keep->top);
  PetscCall(Round(FIELDS_ID, [&](const Block &B) -> PetscErrorCode {
    return ForRows(B, inv, 1e-6 - std::log(keep->thr), some ? &f : nullptr, nullptr, [&](PetscInt k0, PetscInt nr, const Segs &segs) -> PetscErrorCode {
      double s[kGroup];
      PetscCall(Exp(B, k0, nr, segs, inv, &f[k0], s, nullptr));
      for (PetscInt r = 0; r < nr; ++r) KeepRow(B, Row(k0 + r), segs, K.data() + static_cast<size_t>(r) * widest, 1.0, keep);
      return PETSC_SUCCESS;
    });
  }));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The sample is every stride-th row and column by their global numbers, so that it is the same for any number of processes */
PetscErrorCode TileEngine::Scale(double *cmax, double *cmedian)
{
  const PetscInt      target = 1 << 19; /* values in the sample */
  const PetscInt      rows = PetscMax(1, PetscMin(nglobal, target / PetscMax(m, 1))), stride = PetscMax(1, nglobal / rows);
  const PetscInt      cstride = PetscMax(1, m / target);
  const size_t        d = static_cast<size_t>(T.d), ld = static_cast<size_t>(widest);
  std::vector<double> mine;
  double              mx = 0;

  PetscFunctionBegin;
  PetscCall(Round(FIELDS_ID, [&](const Block &B) -> PetscErrorCode {
    if (T.known)
      mx = PetscMax(mx, T.most);
    else if (T.kind == CostKind::STORED)
      for (PetscInt k = 0; k < n; ++k) mx = PetscMax(mx, MaxValue(m, T.C.data() + static_cast<size_t>(k) * T.ldc));
    else if (!tiled)
      PetscCall(ForRows(B, 1.0, 0, nullptr, nullptr, [&](PetscInt k0, PetscInt nr, const Segs &segs) -> PetscErrorCode {
        for (const Seg &g : segs) {
          PetscCall(FillCosts(T, B.cols, k0, nr, g.j, g.nc, K.data(), ld));
          for (PetscInt r = 0; r < nr; ++r) mx = PetscMax(mx, MaxValue(g.nc, K.data() + r * ld));
        }
        return PETSC_SUCCESS;
      }));
    else
      for (PetscInt b = 0; b < static_cast<PetscInt>(rowf.size()) && B.tiles.count; ++b) {
        const PetscInt lo = b * kTile, nr = PetscMin(kTile, n - lo);
        TileFarthest(T.kind, T.d, T.p, rowq.data() + b * d, rowr.data() + b * d, B.tiles, bound.data());
        const PetscInt first = static_cast<PetscInt>(std::max_element(bound.begin(), bound.begin() + B.tiles.count) - bound.begin());
        for (PetscInt q = -1; q < B.tiles.count; ++q) {
          const PetscInt t = q < 0 ? first : q, j = t * kTile, nc = PetscMin(kTile, B.cols.m - j);
          if (q == first || bound[t] <= mx) continue;
          for (PetscInt r = 0; r < nr; ++r) {
            PetscCall(FillCosts(T, B.cols, lo + r, 1, j, nc, K.data(), ld));
            mx = PetscMax(mx, MaxValue(nc, K.data()));
          }
        }
      }
    for (PetscInt k = 0; cmedian && k < n; ++k) {
      if ((rlo + Row(k)) % stride) continue;
      for (const Seg &g : B.all) {
        PetscCall(FillCosts(T, B.cols, k, 1, g.j, g.nc, K.data(), ld));
        for (PetscInt j = 0; j < g.nc; ++j)
          if (static_cast<PetscInt>(B.id[g.j + j]) % cstride == 0) mine.push_back(K[j]);
      }
    }
    return PETSC_SUCCESS;
  }));
  --passes; /* no exponentials, once */
  PetscCallMPI(MPI_Allreduce(&mx, cmax, 1, MPI_DOUBLE, MPI_MAX, comm));
  largest = *cmax;
  if (cmedian) PetscCall(MedianOf(comm, mine, cmedian));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace transport
} // namespace skean
