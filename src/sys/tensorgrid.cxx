/* Tensor grids; see tensorgrid.hpp */
#include <skean/private/tensorgrid.hpp>
#include <petscblaslapack.h>
#include <algorithm>
#include <climits>
#include <cstring>

namespace skean {

/* ---- products along a mode ------------------------------------------------------------------------------------------------- */

namespace {

constexpr PetscInt64 kPanelDoubles = 1 << 16; /* 512 KB of scratch: in the second-level cache of present machines together with a factor's panel */
constexpr PetscInt64 kPad          = 8;       /* columns a power of two apart fall on each other in the cache */
constexpr PetscInt64 kThinMode     = 24;      /* below this many contiguous entries GEMM on the unpacked array is slow */

/* Y = F X for a packed panel X, n x c, column major; work: WorkSize(c) numbers for EVENODD */
void PackedProduct(const ModeOp &op, PetscInt64 c, double *X, double *Y, double *work)
{
  const PetscInt64 m = op.m, n = op.n;

  switch (op.kind) {
  case ModeOp::DENSE: {
    const PetscBLASInt bm = static_cast<PetscBLASInt>(m), bn = static_cast<PetscBLASInt>(n), bc = static_cast<PetscBLASInt>(c),
                       lda = static_cast<PetscBLASInt>(op.lda);
    const double one = 1.0, zero = 0.0;
    BLASgemm_(op.trans ? "T" : "N", "N", &bm, &bc, &bn, &one, op.a, &lda, X, &bn, &zero, Y, &bm);
    break;
  }
  case ModeOp::LU: {
    const PetscBLASInt bn = static_cast<PetscBLASInt>(n), bc = static_cast<PetscBLASInt>(c), lda = static_cast<PetscBLASInt>(op.lda);
    PetscBLASInt       info;
    std::copy(X, X + n * c, Y);
    LAPACKgetrs_(op.trans ? "T" : "N", &bn, &bc, const_cast<double *>(op.a), &lda, const_cast<PetscBLASInt *>(op.piv), Y, &bn, &info);
    break;
  }
  case ModeOp::SPARSE:
    for (PetscInt64 q = 0; q < c; ++q) {
      const double *x = X + q * n;
      double       *y = Y + q * m;
      if (op.trans) {
        std::fill(y, y + m, 0.0);
        for (PetscInt64 i = 0; i < n; ++i)
          for (PetscInt k = op.ia[i]; k < op.ia[i + 1]; ++k) y[op.ja[k]] += op.a[k] * x[i];
      } else {
        for (PetscInt64 i = 0; i < m; ++i) {
          double s = 0;
          for (PetscInt k = op.ia[i]; k < op.ia[i + 1]; ++k) s += op.a[k] * x[op.ja[k]];
          y[i] = s;
        }
      }
    }
    break;
  case ModeOp::DIAGONAL:
    for (PetscInt64 q = 0; q < c; ++q)
      for (PetscInt64 i = 0; i < n; ++i) Y[q * n + i] = op.a[i] * X[q * n + i];
    break;
  case ModeOp::TRANSFORM:
    std::copy(X, X + n * c, Y);
    op.transform->Apply(op.trans, c, Y, n);
    break;
  case ModeOp::EVENODD:
    op.parts->ApplyToColumns(op.trans, c, X, n, Y, m, work);
    break;
  case ModeOp::IDENTITY:
    std::copy(X, X + n * c, Y);
    break;
  }
}

} // namespace

double ModeProduct(const ModeOp &op, PetscInt64 L, PetscInt64 w, const double *in, PetscInt64 lsin, PetscInt64 Rin, double *out, PetscInt64 lsout,
                   PetscInt64 Rout, std::vector<double> &scratch)
{
  const PetscInt64 m = op.m, n = op.n;
  const double     one = 1.0, zero = 0.0;

  if (L <= 0 || w <= 0) return 0;
  if (op.kind == ModeOp::IDENTITY) {
    if (in != out)
      for (PetscInt64 l = 0; l < L; ++l)
        for (PetscInt64 i = 0; i < n; ++i) std::memcpy(out + l * lsout + i * Rout, in + l * lsin + i * Rin, sizeof(double) * w);
    return 0;
  }
  if (op.kind == ModeOp::DIAGONAL) {
    for (PetscInt64 l = 0; l < L; ++l)
      for (PetscInt64 i = 0; i < n; ++i) {
        const double *x = in + l * lsin + i * Rin;
        double       *y = out + l * lsout + i * Rout;
        for (PetscInt64 r = 0; r < w; ++r) y[r] = op.a[i] * x[r];
      }
    return static_cast<double>(L) * n * w;
  }
  const double each    = op.kind == ModeOp::SPARSE      ? 2.0 * op.ia[op.trans ? n : m]
                         : op.kind == ModeOp::TRANSFORM ? op.transform->Flops()
                         : op.kind == ModeOp::EVENODD   ? op.parts->Flops()
                                                        : 2.0 * m * n;
  const double work    = each * L * w;
  const bool   columns = Rin == 1 && Rout == 1;
  if (op.kind == ModeOp::TRANSFORM && columns) {
    for (PetscInt64 l = 0; l < L; ++l) {
      if (in != out) std::memcpy(out + l * lsout, in + l * lsin, sizeof(double) * n);
      op.transform->Apply(op.trans, 1, out + l * lsout, n);
    }
    return work;
  }
  if (op.kind == ModeOp::EVENODD && (w >= kThinMode || columns)) {
    const PetscInt64 panel = std::max<PetscInt64>(64, kPanelDoubles / std::max<PetscInt64>(1, std::max(m, n)));
    scratch.resize(std::max(scratch.size(), op.parts->WorkSize(std::min(panel, columns ? L : w))));
    if (columns)
      for (PetscInt64 l = 0; l < L; l += panel)
        op.parts->ApplyToColumns(op.trans, std::min(panel, L - l), in + l * lsin, lsin, out + l * lsout, lsout, scratch.data());
    else
      for (PetscInt64 l = 0; l < L; ++l)
        for (PetscInt64 r = 0; r < w; r += panel)
          op.parts->ApplyToRows(op.trans, std::min(panel, w - r), in + l * lsin + r, Rin, out + l * lsout + r, Rout, scratch.data());
    return work;
  }
  if (op.kind == ModeOp::DENSE && std::max(Rin, Rout) <= INT_MAX && (w >= kThinMode || columns)) {
    const PetscBLASInt lda = static_cast<PetscBLASInt>(op.lda), bn = static_cast<PetscBLASInt>(n), bm = static_cast<PetscBLASInt>(m);
    const bool         inplace = in == out;
    /* panels not only where they are copied: GEMM clears its result before it adds, better in the cache than in memory */
    const PetscInt64 panel = std::max<PetscInt64>(64, kPanelDoubles / std::max<PetscInt64>(1, m));
    if (columns) {
      /* the fibres are columns: F X, one GEMM */
      const PetscBLASInt ldi = static_cast<PetscBLASInt>(lsin), ldo = static_cast<PetscBLASInt>(lsout);
      if (inplace) scratch.resize(std::max<size_t>(scratch.size(), m * std::min(panel, L)));
      for (PetscInt64 l = 0; l < L; l += panel) {
        const PetscBLASInt c = static_cast<PetscBLASInt>(std::min(panel, L - l));
        if (!inplace) {
          BLASgemm_(op.trans ? "T" : "N", "N", &bm, &c, &bn, &one, op.a, &lda, in + l * lsin, &ldi, &zero, out + l * lsout, &ldo);
        } else {
          BLASgemm_(op.trans ? "T" : "N", "N", &bm, &c, &bn, &one, op.a, &lda, in + l * lsin, &ldi, &zero, scratch.data(), &bm);
          for (PetscInt64 q = 0; q < c; ++q) std::memcpy(out + (l + q) * lsout, scratch.data() + q * m, sizeof(double) * m);
        }
      }
    } else {
      /* the fibres are rows: X F', a batch over l */
      const PetscBLASInt ldi = static_cast<PetscBLASInt>(Rin), ldo = static_cast<PetscBLASInt>(Rout);
      const bool         direct = !inplace && Rout % 512 != 0;
      if (!direct) scratch.resize(std::max<size_t>(scratch.size(), m * (kPad + std::min(panel, w))));
      for (PetscInt64 l = 0; l < L; ++l)
        for (PetscInt64 r = 0; r < w; r += panel) {
          const PetscBLASInt c   = static_cast<PetscBLASInt>(std::min(panel, w - r));
          const PetscBLASInt lds = c + kPad;
          if (direct) {
            BLASgemm_("N", op.trans ? "N" : "T", &c, &bm, &bn, &one, in + l * lsin + r, &ldi, op.a, &lda, &zero, out + l * lsout + r, &ldo);
          } else {
            BLASgemm_("N", op.trans ? "N" : "T", &c, &bm, &bn, &one, in + l * lsin + r, &ldi, op.a, &lda, &zero, scratch.data(), &lds);
            for (PetscInt64 i = 0; i < m; ++i) std::memcpy(out + l * lsout + i * Rout + r, scratch.data() + i * lds, sizeof(double) * c);
          }
        }
    }
    return work;
  }
  /* thin or special: fibres (l,r) are gathered into columns. A panel is read whole before it is written, and output (l,i,r) of a whole
     array lies at or before input (l,i,r) with the same r, so that in == out is safe with m <= n */
  const PetscInt64 most = std::max<PetscInt64>(64, kPanelDoubles / std::max(m, n)), part = std::min(w, most);
  const PetscInt64 lb = std::min(L, std::max<PetscInt64>(1, most / part)), cols = lb * part;
  scratch.resize(std::max<size_t>(scratch.size(), (m + n) * cols + (op.kind == ModeOp::EVENODD ? op.parts->WorkSize(cols) : 0)));
  double *X = scratch.data(), *Y = X + n * cols, *more = Y + m * cols;
  for (PetscInt64 r = 0; r < w; r += part) {
    const PetscInt64 rc = std::min(part, w - r);
    for (PetscInt64 l = 0; l < L; l += lb) {
      const PetscInt64 lc = std::min(lb, L - l), c = lc * rc;
      for (PetscInt64 a = 0; a < lc; ++a)
        for (PetscInt64 b = 0; b < rc; ++b) {
          const double *x = in + (l + a) * lsin + r + b;
          double       *q = X + (a * rc + b) * n;
          for (PetscInt64 i = 0; i < n; ++i) q[i] = x[i * Rin];
        }
      PackedProduct(op, c, X, Y, more);
      for (PetscInt64 a = 0; a < lc; ++a)
        for (PetscInt64 i = 0; i < m; ++i) {
          double *y = out + (l + a) * lsout + i * Rout + r;
          for (PetscInt64 b = 0; b < rc; ++b) y[b] = Y[(a * rc + b) * m + i];
        }
    }
  }
  return work;
}

double ModeProduct(const ModeOp &op, const TensorBox &box, int mode, double *a, std::vector<double> &scratch)
{
  PetscInt64 L = 1, R = 1;
  for (int k = 0; k < mode; ++k) L *= box.Length(k);
  for (int k = mode + 1; k < box.d; ++k) R *= box.Length(k);
  return ModeProduct(op, L, R, a, op.n * R, R, a, op.m * R, R, scratch);
}

double ModeProduct(const ModeOp &op, const TensorBox &all, const double *in, const TensorBox &slice, int mode, double *out, std::vector<double> &scratch)
{
  PetscInt64 L[2] = {1, 1}, R[2] = {1, 1}; /* dimensions before and after the mode: of the array, of the slice */
  int        cut = -1;
  for (int k = 0; k < all.d; ++k) {
    if (slice.Length(k) != all.Length(k)) {
      if (k == mode || cut >= 0) cut = all.d; /* more than one, or the mode */
      cut = std::max(cut, k);
    }
    if (k < mode) {
      L[0] *= all.Length(k);
      L[1] *= slice.Length(k);
    } else if (k > mode) {
      R[0] *= all.Length(k);
      R[1] *= slice.Length(k);
    }
  }
  if (cut == all.d) {
    CopyPart(slice, all, in, slice, out);
    return ModeProduct(op, slice, mode, out, scratch);
  }
  if (cut < 0) return ModeProduct(op, L[0], R[0], in, op.n * R[0], R[0], out, op.m * R[0], R[0], scratch);
  /* blocks behind the cut, those before it one after the other */
  PetscInt64 before = 1, within = 1;
  for (int k = cut < mode ? 0 : mode + 1; k < cut; ++k) before *= all.Length(k);
  for (int k = cut + 1; k < (cut < mode ? mode : all.d); ++k) within *= all.Length(k);
  const PetscInt64 whole = all.Length(cut) * within, mine = slice.Length(cut) * within, first = (slice.lo[cut] - all.lo[cut]) * within;
  double           flops = 0;
  for (PetscInt64 b = 0; b < before; ++b)
    if (cut < mode)
      flops += ModeProduct(op, mine, R[0], in + (b * whole + first) * op.n * R[0], op.n * R[0], R[0], out + b * mine * op.m * R[0], op.m * R[0], R[0], scratch);
    else
      flops += ModeProduct(op, L[0], mine, in + b * whole + first, op.n * R[0], R[0], out + b * mine, op.m * R[1], R[1], scratch);
  return flops;
}

/* ---- distribution ---------------------------------------------------------------------------------------------------------- */

namespace {

/* Ranges of a DMDA: the first n mod p processes have one more */
PetscInt64 SplitStart(PetscInt64 n, int p, int c) noexcept
{
  return n / p * c + std::min<PetscInt64>(c, n % p);
}

/* Grid of at most size processes over the given dimensions with the smallest largest box; ties: more processes, then the earlier
   dimension. The number of candidates is the number of ordered factorisations of numbers up to size: small. */
void BestGrid(int size, const std::vector<int> &dims, size_t a, const TensorSizes &n, std::vector<int> &p, double box, int used, double *bestbox, int *bestused,
              std::vector<int> *best)
{
  if (a == dims.size()) {
    if (box < *bestbox || (box == *bestbox && used > *bestused)) {
      *bestbox  = box;
      *bestused = used;
      *best     = p;
    }
    return;
  }
  const int most = static_cast<int>(std::min<PetscInt64>(size / used, n[dims[a]]));
  if (a + 1 == dims.size()) { /* the last axis takes what is left, without leaving a process of it empty */
    p[a]                   = most;
    const PetscInt64 share = (n[dims[a]] + most - 1) / most;
    BestGrid(size, dims, a + 1, n, p, box * static_cast<double>(share), used * most, bestbox, bestused, best);
    return;
  }
  for (int q = most; q >= 1; --q) {
    p[a]                   = q;
    const PetscInt64 share = (n[dims[a]] + q - 1) / q;
    BestGrid(size, dims, a + 1, n, p, box * static_cast<double>(share), used * q, bestbox, bestused, best);
  }
}

std::vector<int> BestGrid(int size, const std::vector<int> &dims, const TensorSizes &n)
{
  std::vector<int> p(dims.size(), 1), best(dims.size(), 1);
  double           box  = 1e300;
  int              used = 0;
  BestGrid(size, dims, 0, n, p, 1.0, 1, &box, &used, &best);
  return best;
}

/* Strides of a box in natural order */
void Strides(const TensorBox &b, PetscInt64 s[])
{
  PetscInt64 v = 1;
  for (int k = b.d - 1; k >= 0; --k) {
    s[k] = v;
    v *= b.Length(k);
  }
}

bool Intersect(const TensorBox &a, const TensorBox &b, TensorBox *c) noexcept
{
  c->d = a.d;
  for (int k = 0; k < a.d; ++k) {
    c->lo[k] = std::max(a.lo[k], b.lo[k]);
    c->hi[k] = std::min(a.hi[k], b.hi[k]);
    if (c->hi[k] <= c->lo[k]) return false;
  }
  return true;
}

} // namespace

void CopyPart(const TensorBox &part, const TensorBox &fb, const double *from, const TensorBox &tb, double *to)
{
  const int  d = part.d;
  PetscInt64 fs[kTensorMaxDim], ts[kTensorMaxDim], idx[kTensorMaxDim];

  Strides(fb, fs);
  Strides(tb, ts);
  /* trailing dimensions that are whole in both make one run */
  int        k   = d - 1;
  PetscInt64 run = part.Length(k);
  while (k > 0 && part.Length(k) == fb.Length(k) && part.Length(k) == tb.Length(k)) {
    --k;
    run *= part.Length(k);
  }
  PetscInt64 f = 0, t = 0;
  for (int j = 0; j < d; ++j) {
    f += (part.lo[j] - fb.lo[j]) * fs[j];
    t += (part.lo[j] - tb.lo[j]) * ts[j];
    idx[j] = 0;
  }
  for (;;) {
    if (run == 1)
      to[t] = from[f];
    else
      std::memcpy(to + t, from + f, sizeof(double) * run);
    int j = k - 1;
    for (; j >= 0; --j) {
      f += fs[j];
      t += ts[j];
      if (++idx[j] < part.Length(j)) break;
      f -= part.Length(j) * fs[j];
      t -= part.Length(j) * ts[j];
      idx[j] = 0;
    }
    if (j < 0) return;
  }
}

TensorGrid::~TensorGrid()
{
  int done = 0;
  MPI_Finalized(&done);
  if (done) return;
  for (auto &g : groups)
    if (g.second.comm != MPI_COMM_NULL && g.second.comm != comm) MPI_Comm_free(&g.second.comm);
  if (comm != MPI_COMM_NULL) MPI_Comm_free(&comm);
}

PetscErrorCode TensorGrid::Create(MPI_Comm c, int dim, const PetscInt64 n[])
{
  PetscFunctionBegin;
  PetscCheck(comm == MPI_COMM_NULL, c, PETSC_ERR_ARG_WRONGSTATE, "This tensor grid exists already");
  PetscCheck(dim >= 1 && dim <= kTensorMaxDim, c, PETSC_ERR_ARG_OUTOFRANGE, "A tensor grid has 1 to %d dimensions, not %d", kTensorMaxDim, dim);
  for (int k = 0; k < dim; ++k) {
    PetscCheck(n[k] >= 1, c, PETSC_ERR_ARG_OUTOFRANGE, "Size %" PetscInt64_FMT " of dimension %d must be at least 1", n[k], k);
    PetscCheck(n[k] <= INT_MAX, c, PETSC_ERR_ARG_OUTOFRANGE, "Size %" PetscInt64_FMT " of dimension %d exceeds %d", n[k], k, INT_MAX);
  }
  PetscCallMPI(MPI_Comm_dup(c, &comm));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  d = dim;
  for (int k = 0; k < d; ++k) base[k] = n[k];

  PetscCallCXX({
    Stage home, far;
    /* the fewest leading dimensions that can hold all processes; the last one stays local (but for d = 1) */
    PetscInt64 hold = n[0];
    home.dim        = {0};
    for (int k = 1; k < d - 1 && hold < size; ++k) {
      home.dim.push_back(k);
      hold *= n[k];
    }
    home.p = BestGrid(size, home.dim, base);
    stages.push_back(home);
    if (size > 1) {
      PetscInt64 rest = 1;
      for (int k = static_cast<int>(home.dim.size()); k < d; ++k) rest *= n[k];
      if (home.dim.size() == 1 || rest >= size) {
        /* one redistribution: the fewest of the other dimensions that can hold all processes */
        hold = 1;
        for (int k = static_cast<int>(home.dim.size()); k < d && hold < size; ++k) {
          far.dim.push_back(k);
          hold *= n[k];
        }
        /* a single dimension that is large enough, if there is one, keeps the messages long */
        for (int k = static_cast<int>(home.dim.size()); k < d; ++k)
          if (n[k] >= size) {
            far.dim = {k};
            break;
          }
        far.p = BestGrid(size, far.dim, base);
        stages.push_back(far);
      } else {
        /* pencils: exchange the distributed dimensions one by one, the last first */
        int free = static_cast<int>(home.dim.size());
        far      = home;
        for (int a = static_cast<int>(home.dim.size()) - 1; a >= 0; --a) {
          const int leaves = far.dim[a];
          far.dim[a]       = free;
          stages.push_back(far);
          free = leaves;
        }
      }
    }
  });
  for (int k = 0; k < d; ++k)
    for (int s = Stages() - 1; s >= 0; --s)
      if (Processes(s, k) == 1) stageof[k] = s;
  PetscFunctionReturn(PETSC_SUCCESS);
}

int TensorGrid::Processes(int stage, int k) const noexcept
{
  for (size_t a = 0; a < stages[stage].dim.size(); ++a)
    if (stages[stage].dim[a] == k) return stages[stage].p[a];
  return 1;
}

TensorBox TensorGrid::Box(int stage, const TensorSizes &n, int r) const noexcept
{
  const Stage &s = stages[stage];
  TensorBox    b;
  int          total = 1;

  b.d = d;
  for (int k = 0; k < d; ++k) {
    b.lo[k] = 0;
    b.hi[k] = n[k];
  }
  for (int p : s.p) total *= p;
  if (r >= total) {
    b.hi[0] = 0;
    return b;
  }
  for (int a = static_cast<int>(s.p.size()) - 1; a >= 0; --a) {
    const int c    = r % s.p[a];
    b.lo[s.dim[a]] = SplitStart(n[s.dim[a]], s.p[a], c);
    b.hi[s.dim[a]] = SplitStart(n[s.dim[a]], s.p[a], c + 1);
    r /= s.p[a];
  }
  return b;
}

/* Processes that exchange data between two stages: all, or those that share the coordinates that both stages use alike */
PetscErrorCode TensorGrid::GroupOf(int from, int to, const Group **group)
{
  const std::pair<int, int> key(std::min(from, to), std::max(from, to));

  PetscFunctionBegin;
  auto it = groups.find(key);
  if (it == groups.end()) {
    const Stage     &s = stages[key.first], &t = stages[key.second];
    Group            g;
    bool             whole = s.p != t.p;
    std::vector<int> color(size, 0);

    if (!whole) {
      whole = true;
      for (size_t a = 0; a < s.p.size(); ++a)
        if (s.dim[a] == t.dim[a] && s.p[a] > 1) whole = false;
    }
    if (!whole) {
      int total = 1;
      for (int p : s.p) total *= p;
      for (int r = 0; r < size; ++r) {
        int q = r, mul = 1;
        if (r >= total)
          color[r] = total; /* owns nothing in both */
        else
          for (int a = static_cast<int>(s.p.size()) - 1; a >= 0; --a) {
            if (s.dim[a] == t.dim[a]) {
              color[r] += mul * (q % s.p[a]);
              mul *= s.p[a];
            }
            q /= s.p[a];
          }
      }
    }
    PetscCallCXX(for (int r = 0; r < size; ++r) if (color[r] == color[rank]) g.ranks.push_back(r));
    if (whole)
      g.comm = comm;
    else
      PetscCallMPI(MPI_Comm_split(comm, color[rank], rank, &g.comm));
    PetscCallCXX(it = groups.emplace(key, g).first);
  }
  *group = &it->second;
  PetscFunctionReturn(PETSC_SUCCESS);
}

struct TensorGrid::Job {
  const double *src     = nullptr;
  double       *dst     = nullptr;
  const Slice  *produce = nullptr, *consume = nullptr;
  unsigned      whole = 0;
};

TensorGrid::Cut TensorGrid::Plan(const TensorSizes &n, int from, int to, unsigned whole, bool sourceslices, bool targetslices) const noexcept
{
  const TensorBox  big0 = Box(from, n, 0), big1 = Box(to, n, 0);
  const PetscInt64 largest = std::max(big0.Volume(), big1.Volume());
  const PetscInt64 limit   = chunk > 0 ? chunk : std::max<PetscInt64>(std::min<PetscInt64>(largest / 128, 1 << 27), 1 << 15);
  const PetscInt64 wanted  = std::max<PetscInt64>(1, (largest + limit - 1) / limit);
  const Stage     &f = stages[from], &t = stages[to];
  const auto       Shared = [&](int k) { /* every process keeps its range of k */
                                   if (f.p != t.p) return false;
                                   for (size_t a = 0; a < f.dim.size(); ++a)
                                     if (f.dim[a] == k && t.dim[a] == k) return true;
                                   return false;
  };
  Cut cut;
  int best = -1;
  /* first choice: a chunk is a slice of everybody's own box, so that all processes have as much to do; the first dimension that is
     long enough, otherwise the longest */
  for (int pass = 0; pass < 2 && best < 0; ++pass) {
    for (int k = 0; k < d; ++k) {
      if ((whole >> k) & 1) continue;
      const bool source = Processes(to, k) == 1 || Shared(k), target = Processes(from, k) == 1 || Shared(k);
      if (!pass && ((sourceslices && !source) || (targetslices && !target) || (!sourceslices && !targetslices && !source))) continue;
      const PetscInt64 have = best < 0 ? 0 : targetslices ? big1.Length(best) : big0.Length(best), here = targetslices ? big1.Length(k) : big0.Length(k);
      if (best < 0 || (have < wanted && here > have)) best = k;
    }
    cut.slices = best >= 0 && !pass;
  }
  cut.dim    = std::max(best, 0);
  cut.chunks = static_cast<int>(std::max<PetscInt64>(1, std::min(wanted, targetslices ? big1.Length(cut.dim) : big0.Length(cut.dim))));
  if (!cut.slices && (sourceslices || targetslices)) cut.chunks = 1;
  if (cut.chunks == 1) cut.slices = true;
  return cut;
}

bool TensorGrid::Part(const TensorSizes &n, int from, int to, const Cut &cut, int s, int r, int c, TensorBox *part) const noexcept
{
  if (!Intersect(Box(from, n, s), Box(to, n, r), part)) return false;
  const PetscInt64 len = part->Length(cut.dim), lo = part->lo[cut.dim];
  part->lo[cut.dim] = lo + len * c / cut.chunks;
  part->hi[cut.dim] = lo + len * (c + 1) / cut.chunks;
  return part->hi[cut.dim] > part->lo[cut.dim];
}

PetscErrorCode TensorGrid::Move(const TensorSizes &n, int from, int to, const double *src, double *dst)
{
  Job job;

  PetscFunctionBegin;
  job.src = src;
  job.dst = dst;
  PetscCall(Exchange(n, from, to, job));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TensorGrid::Stream(const TensorSizes &n, int from, int to, unsigned whole, const double *src, const Slice &produce, double *dst,
                                  const Slice &consume)
{
  Job job;

  PetscFunctionBegin;
  PetscCheck(!produce || !consume, PETSC_COMM_SELF, PETSC_ERR_SUP, "One of source and target is an array");
  job.src     = src;
  job.dst     = dst;
  job.whole   = whole;
  job.produce = produce ? &produce : nullptr;
  job.consume = consume ? &consume : nullptr;
  PetscCall(Exchange(n, from, to, job));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TensorGrid::Exchange(const TensorSizes &n, int from, int to, const Job &job)
{
  const TensorBox  mysrc = Box(from, n), mydst = Box(to, n);
  const Group     *group;
  std::vector<int> scount[2], sdisp[2], rcount[2], rdisp[2];
  MPI_Request      request[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};

  PetscFunctionBegin;
  PetscCall(GroupOf(from, to, &group));
  const int np  = static_cast<int>(group->ranks.size());
  const Cut cut = Plan(n, from, to, job.whole, job.produce != nullptr, job.consume != nullptr);
  const int cd = cut.dim, C = cut.chunks;

  const auto Slab = [&](TensorBox b, int c) { /* slice c of a box */
                                              const PetscInt64 len = b.Length(cd), lo = b.lo[cd];
                                              b.lo[cd] = lo + len * c / C;
                                              b.hi[cd] = lo + len * (c + 1) / C;
                                              return b;
  };
  /* Messages of too many numbers need boxes of as many. Only then, and before anything is sent, all processes agree on it */
  const auto Largest = [&](int stage) {
    PetscInt64 v = 1;
    for (int k = 0; k < d; ++k) v *= (n[k] + Processes(stage, k) - 1) / Processes(stage, k);
    return v;
  };
  if (std::max(Largest(from), Largest(to)) > most) {
    int overflow = 0;
    for (int c = 0; c < C; ++c) {
      PetscInt64 ns = 0, nr = 0;
      TensorBox  part;
      for (int r : group->ranks) {
        if (r == rank) continue;
        if (Part(n, from, to, cut, rank, r, c, &part)) ns += part.Volume();
        if (Part(n, from, to, cut, r, rank, c, &part)) nr += part.Volume();
      }
      if (std::max(ns, nr) > most) overflow = 1;
    }
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &overflow, 1, MPI_INT, MPI_MAX, comm));
    PetscCheck(!overflow, comm, PETSC_ERR_ARG_OUTOFRANGE,
               "A redistribution of this grid would need messages of more than %" PetscInt64_FMT
               " numbers: its dimensions are too short to be cut; use more processes",
               most);
  }
  for (int b = 0; b < 2; ++b) {
    PetscCallCXX(scount[b].assign(np, 0));
    PetscCallCXX(sdisp[b].assign(np, 0));
    PetscCallCXX(rcount[b].assign(np, 0));
    PetscCallCXX(rdisp[b].assign(np, 0));
  }
  const auto Unpack = [&](int c) -> PetscErrorCode {
    const int       b     = c % 2;
    const TensorBox slice = job.consume ? Slab(mydst, c) : mydst;
    double         *to_   = job.dst;
    TensorBox       part;
    PetscFunctionBegin;
    if (job.consume) {
      PetscCallCXX(slicebuf.resize(std::max<size_t>(slicebuf.size(), std::max<PetscInt64>(0, slice.Volume()))));
      to_ = slicebuf.data();
    }
    for (int q = 0; q < np; ++q) {
      const int r = group->ranks[q];
      if (r == rank && !job.consume) continue; /* done when it was packed */
      if (!Part(n, from, to, cut, r, rank, c, &part)) continue;
      if (r == rank)
        CopyPart(part, mysrc, job.src, slice, to_);
      else
        CopyPart(part, part, recvbuf[b].data() + rdisp[b][q], slice, to_);
    }
    if (job.consume && slice.Volume() > 0) PetscCall((*job.consume)(slice, to_));
    PetscFunctionReturn(PETSC_SUCCESS);
  };
  for (int c = 0; c < C; ++c) {
    const int     b  = c % 2;
    PetscInt64    ns = 0, nr = 0;
    TensorBox     part, have = mysrc;
    const double *from_ = job.src;

    if (job.produce) {
      have = Slab(mysrc, c);
      PetscCallCXX(slicebuf.resize(std::max<size_t>(slicebuf.size(), std::max<PetscInt64>(0, have.Volume()))));
      from_ = slicebuf.data();
      if (have.Volume() > 0) PetscCall((*job.produce)(have, slicebuf.data()));
    }
    for (int q = 0; q < np; ++q) {
      const int r  = group->ranks[q];
      scount[b][q] = rcount[b][q] = 0;
      sdisp[b][q]                 = static_cast<int>(ns);
      rdisp[b][q]                 = static_cast<int>(nr);
      if (r == rank) continue;
      if (Part(n, from, to, cut, rank, r, c, &part)) {
        scount[b][q] = static_cast<int>(part.Volume());
        ns += part.Volume();
      }
      if (Part(n, from, to, cut, r, rank, c, &part)) {
        rcount[b][q] = static_cast<int>(part.Volume());
        nr += part.Volume();
      }
    }
    PetscCallCXX(sendbuf[b].resize(std::max<size_t>(sendbuf[b].size(), ns)));
    PetscCallCXX(recvbuf[b].resize(std::max<size_t>(recvbuf[b].size(), nr)));
    for (int q = 0; q < np; ++q) {
      const int r = group->ranks[q];
      if (r == rank && job.consume) continue;
      if (!Part(n, from, to, cut, rank, r, c, &part)) continue;
      if (r == rank)
        CopyPart(part, have, from_, mydst, job.dst);
      else
        CopyPart(part, have, from_, part, sendbuf[b].data() + sdisp[b][q]);
    }
    PetscCallMPI(MPI_Ialltoallv(sendbuf[b].data(), scount[b].data(), sdisp[b].data(), MPI_DOUBLE, recvbuf[b].data(), rcount[b].data(), rdisp[b].data(),
                                MPI_DOUBLE, group->comm, &request[b]));
    if (c > 0) {
      PetscCallMPI(MPI_Wait(&request[1 - b], MPI_STATUS_IGNORE));
      PetscCall(Unpack(c - 1));
    }
  }
  PetscCallMPI(MPI_Wait(&request[(C - 1) % 2], MPI_STATUS_IGNORE));
  PetscCall(Unpack(C - 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double *TensorGrid::Work(int which, PetscInt64 need)
{
  if (static_cast<PetscInt64>(work[which].size()) < need) {
    std::vector<double>().swap(work[which]); /* not both at the same time */
    work[which].resize(need);
  }
  return work[which].data();
}

void TensorGrid::FreeWork() noexcept
{
  for (int b = 0; b < 2; ++b) {
    std::vector<double>().swap(work[b]);
    std::vector<double>().swap(sendbuf[b]);
    std::vector<double>().swap(recvbuf[b]);
  }
  std::vector<double>().swap(slicebuf);
  std::vector<double>().swap(scratch);
}

/* ---- passes ---------------------------------------------------------------------------------------------------------------- */

TensorPipe::TensorPipe(TensorGrid &g, const TensorSizes &sizes, int s, const double *x, double *y, PetscInt64 ny)
    : grid(g), n(sizes), now(sizes), stage(s), in(x), out(y), cur(x == y ? y : nullptr), outsize(ny)
{
}

/* Room for `need` doubles that is not the present array */
double *TensorPipe::Buffer(PetscInt64 need)
{
  if (cur != out && outsize >= need) return out;
  const int which = (cur && !grid.work[0].empty() && cur == grid.work[0].data()) ? 1 : 0;
  return grid.Work(which, std::max<PetscInt64>(need, 1));
}

PetscErrorCode TensorPipe::Mode(int k, const ModeOp &op)
{
  PetscFunctionBegin;
  PetscCheck(k >= 0 && k < grid.d, PETSC_COMM_SELF, PETSC_ERR_PLIB, "No mode %d", k);
  PetscCheck(op.n == n[k], grid.comm, PETSC_ERR_ARG_SIZ,
             "The factor of mode %d has %" PetscInt64_FMT " columns, the array has %" PetscInt64_FMT " entries along it", k, op.n, n[k]);
  PetscCheck(grid.Processes(stage, k) == 1, grid.comm, PETSC_ERR_PLIB, "Mode %d is not local in stage %d", k, stage);
  if (op.kind == ModeOp::IDENTITY) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallCXX(queue.emplace_back(k, op));
  n[k] = op.m;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Does what is queued */
PetscErrorCode TensorPipe::Run()
{
  PetscFunctionBegin;
  size_t done = 0;
  for (; done < queue.size(); ++done) {
    const int       k     = queue[done].first;
    const ModeOp   &op    = queue[done].second;
    const TensorBox b     = grid.Box(stage, now);
    TensorSizes     after = now;
    PetscInt64      L = 1, R = 1;
    after[k]                = op.m;
    const PetscInt64 result = grid.Box(stage, after).Volume();
    for (int j = 0; j < k; ++j) L *= b.Length(j);
    for (int j = k + 1; j < grid.d; ++j) R *= b.Length(j);
    const double *x = cur ? cur : in;
    double       *y;
    if (cur && op.m <= op.n)
      y = cur;
    else
      PetscCallCXX(y = Buffer(result));
    if (b.Volume() > 0) PetscCallCXX(grid.flops += ModeProduct(op, L, R, x, op.n * R, R, y, op.m * R, R, grid.scratch));
    cur = y;
    now = after;
  }
  queue.erase(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(done));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TensorPipe::Move(int to)
{
  PetscFunctionBegin;
  if (to == stage) PetscFunctionReturn(PETSC_SUCCESS);
  double  *y;
  unsigned modes  = 0;
  bool     square = true;
  for (const auto &q : queue) {
    modes |= 1u << q.first;
    square = square && q.second.m == q.second.n;
  }
  if (!queue.empty() && square && grid.Plan(now, stage, to, modes, true, false).chunks > 1) {
    /* slice by slice: from the array, which is not written, into one that stays in the cache until it is sent */
    const TensorBox all = grid.Box(stage, now);
    const double   *x   = cur ? cur : in;
    PetscCallCXX(y = Buffer(grid.Box(to, now).Volume()));
    PetscCall(grid.Stream(now, stage, to, modes, nullptr,
                          [&](const TensorBox &slice, double *a) {
                            PetscFunctionBegin;
                            PetscCallCXX({
                              grid.flops += ModeProduct(queue[0].second, all, x, slice, queue[0].first, a, grid.scratch);
                              for (size_t q = 1; q < queue.size(); ++q) grid.flops += ModeProduct(queue[q].second, slice, queue[q].first, a, grid.scratch);
                            });
                            PetscFunctionReturn(PETSC_SUCCESS);
                          },
                          y, {}));
    queue.clear();
  } else {
    PetscCall(Run());
    PetscCallCXX(y = Buffer(grid.Box(to, now).Volume()));
    PetscCall(grid.Move(now, stage, to, cur ? cur : in, y));
  }
  cur   = y;
  stage = to;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TensorPipe::Data(double **a)
{
  PetscFunctionBegin;
  PetscCall(Run());
  if (!cur) {
    const PetscInt64 v = grid.Box(stage, now).Volume();
    double          *y;
    PetscCallCXX(y = Buffer(v));
    if (v) std::memcpy(y, in, sizeof(double) * v);
    cur = y;
  }
  *a = cur;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TensorPipe::Finish()
{
  double *a;

  PetscFunctionBegin;
  PetscCall(Data(&a));
  const PetscInt64 v = grid.Box(stage, now).Volume();
  PetscCheck(v <= outsize, PETSC_COMM_SELF, PETSC_ERR_PLIB, "The result does not fit");
  if (a != out && v) std::memcpy(out, a, sizeof(double) * v);
  cur = out;
  PetscCall(PetscLogFlops(grid.flops));
  grid.flops = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TensorPipe::Forward(const ModeOp op[], int to)
{
  PetscFunctionBegin;
  for (int k = 0; k < grid.d; ++k)
    if (op[k].kind != ModeOp::IDENTITY) to = std::max(to, grid.StageOf(k));
  for (int s = 0; s <= to; ++s) {
    PetscCall(Move(s));
    /* shrinking modes first */
    for (int pass = 0; pass < 2; ++pass)
      for (int k = grid.d - 1; k >= 0; --k)
        if (grid.StageOf(k) == s && (op[k].m < op[k].n) == (pass == 0)) PetscCall(Mode(k, op[k]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TensorPipe::Backward(const ModeOp op[])
{
  PetscFunctionBegin;
  while (true) {
    for (int k = 0; k < grid.d; ++k)
      if (grid.StageOf(k) == stage) PetscCall(Mode(k, op[k]));
    if (!stage) break;
    /* straight to the next stage in which something is to be done */
    int to = stage - 1;
    for (; to > 0; --to) {
      bool any = false;
      for (int k = 0; k < grid.d; ++k) any = any || (grid.StageOf(k) == to && op[k].kind != ModeOp::IDENTITY);
      if (any) break;
    }
    PetscCall(Move(to));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace skean
