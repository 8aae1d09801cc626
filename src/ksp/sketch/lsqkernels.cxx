#include "lsqkernels.hpp"
#include <skean/private/lapack.hpp>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace skean {

namespace {
/*
   Rows of a dense panel for q vectors: large enough for long contiguous runs, small enough that its second use finds it in cache. A
   product with one vector only streams, dgemm packs the panel.
*/
PetscInt PanelRows(PetscInt d, int q)
{
  const PetscInt bytes = q == 1 ? 1 << 18 : 1 << 20;
  return std::max<PetscInt>(32, std::min<PetscInt>(4096, bytes / (8 * std::max<PetscInt>(d, 1))) & ~PetscInt(7));
}

/*
   The two halves of a pass with one vector: t += f A p and g += A't for a panel A, column major. The columns of a panel are far apart
   in memory; eight at a time keep as many streams going, and t is read once for them. dgemv reaches half to two thirds of this rate.
*/
typedef double Four __attribute__((vector_size(32), aligned(8), may_alias));
typedef double Eight __attribute__((vector_size(64), aligned(8), may_alias));
struct Fours { /* a template's argument would lose the attributes */
  typedef Four Vector;
};
struct Eights {
  typedef Eight Vector;
};
const int Columns = 8;

template <class W>
__attribute__((always_inline)) inline void PanelTimes(PetscInt rows, PetscInt cols, double f, const double *a, PetscInt lda, const double *p, double *t)
{
  typedef typename W::Vector V;
  const PetscInt             width = sizeof(V) / sizeof(double), whole = rows / width * width;
  const size_t               ld = lda;
  PetscInt                   j  = 0;
  for (; j + Columns <= cols; j += Columns) {
    const double *c = a + j * ld;
    double        u[Columns];
    for (int k = 0; k < Columns; ++k) u[k] = f * p[j + k];
    for (PetscInt i = 0; i < whole; i += width) {
      V sum = *reinterpret_cast<const V *>(t + i);
      for (int k = 0; k < Columns; ++k) sum += u[k] * *reinterpret_cast<const V *>(c + k * ld + i);
      *reinterpret_cast<V *>(t + i) = sum;
    }
    for (PetscInt i = whole; i < rows; ++i)
      for (int k = 0; k < Columns; ++k) t[i] += u[k] * c[k * ld + i];
  }
  for (; j < cols; ++j)
    for (PetscInt i = 0; i < rows; ++i) t[i] += f * p[j] * a[j * ld + i];
}
template <class W>
__attribute__((always_inline)) inline void PanelTransposeTimes(PetscInt rows, PetscInt cols, const double *a, PetscInt lda, const double *t, double *g)
{
  typedef typename W::Vector V;
  const PetscInt             width = sizeof(V) / sizeof(double), whole = rows / width * width;
  const size_t               ld = lda;
  PetscInt                   j  = 0;
  for (; j + Columns <= cols; j += Columns) {
    const double *c            = a + j * ld;
    V             sum[Columns] = {};
    for (PetscInt i = 0; i < whole; i += width) {
      const V x = *reinterpret_cast<const V *>(t + i);
      for (int k = 0; k < Columns; ++k) sum[k] += x * *reinterpret_cast<const V *>(c + k * ld + i);
    }
    for (int k = 0; k < Columns; ++k) {
      double s = 0.0;
      for (int l = 0; l < width; ++l) s += sum[k][l];
      for (PetscInt i = whole; i < rows; ++i) s += t[i] * c[k * ld + i];
      g[j + k] += s;
    }
  }
  for (; j < cols; ++j) {
    double s = 0.0;
    for (PetscInt i = 0; i < rows; ++i) s += t[i] * a[j * ld + i];
    g[j] += s;
  }
}
/* Vectors of eight where the machine has them; elsewhere eight sums of eight would not fit into the registers */
SKEAN_MULTIVERSION void PanelTimes4(PetscInt rows, PetscInt cols, double f, const double *a, PetscInt lda, const double *p, double *t)
{
  PanelTimes<Fours>(rows, cols, f, a, lda, p, t);
}
SKEAN_MULTIVERSION void PanelTimes8(PetscInt rows, PetscInt cols, double f, const double *a, PetscInt lda, const double *p, double *t)
{
  PanelTimes<Eights>(rows, cols, f, a, lda, p, t);
}
SKEAN_MULTIVERSION void PanelTransposeTimes4(PetscInt rows, PetscInt cols, const double *a, PetscInt lda, const double *t, double *g)
{
  PanelTransposeTimes<Fours>(rows, cols, a, lda, t, g);
}
SKEAN_MULTIVERSION void PanelTransposeTimes8(PetscInt rows, PetscInt cols, const double *a, PetscInt lda, const double *t, double *g)
{
  PanelTransposeTimes<Eights>(rows, cols, a, lda, t, g);
}
bool WideVectors()
{
#if defined(SKEAN_HAVE_MULTIVERSION)
  static const bool wide = __builtin_cpu_supports("avx512f");
  return wide;
#else
  return false;
#endif
}

/* T (rows x q) += f A P for a panel A of rows x d */
void PanelMultiply(PetscInt rows, int q, PetscInt d, double f, const double *a, PetscInt lda, const double *P, double *T, PetscInt ldt)
{
  const PetscBLASInt m = rows, n = q, k = d, la = lda, lt = std::max<PetscInt>(1, ldt);
  const double       one = 1.0;
  if (!rows || !d)
    return;
  else if (q == 1)
    (WideVectors() ? PanelTimes8 : PanelTimes4)(rows, d, f, a, lda, P, T);
  else
    BLASgemm_("N", "N", &m, &n, &k, &f, a, &la, P, &k, &one, T, &lt);
}
/* G (d x q) += A'T */
void PanelMultiplyTranspose(PetscInt rows, int q, PetscInt d, const double *a, PetscInt lda, const double *T, PetscInt ldt, double *G)
{
  const PetscBLASInt m = d, n = q, k = rows, la = lda, lt = std::max<PetscInt>(1, ldt);
  const double       one = 1.0;
  if (!rows || !d)
    return;
  else if (q == 1)
    (WideVectors() ? PanelTransposeTimes8 : PanelTransposeTimes4)(rows, d, a, lda, T, G);
  else
    BLASgemm_("T", "N", &m, &n, &k, &one, a, &la, T, &lt, &one, G, &m);
}

/*
   The sparse passes, for one column: row i gives t = a_i . p, then the caller's f(i, t) the multiplier s of A's row in G.
   Diagonal and off-diagonal parts have the same rows; pcols/gcols are the parts' columns gathered once (no indirection inside).
*/
struct SparsePart {
  const PetscInt *i, *j;
  const double   *a;
  const double   *p; /* entries of P at the part's columns */
  double         *g; /* sums for the part's columns */
};

template <class F>
inline void SparseFused(const SparsePart *part, int nparts, PetscInt nrows, F f)
{
  for (PetscInt i = 0; i < nrows; ++i) {
    double t = 0.0;
    for (int s = 0; s < nparts; ++s) {
      const SparsePart &A = part[s];
      for (PetscInt k = A.i[i]; k < A.i[i + 1]; ++k) t += A.a[k] * A.p[A.j[k]];
    }
    f(i, &t);
    for (int s = 0; s < nparts; ++s) {
      const SparsePart &A = part[s];
      if (!A.g) continue;
      for (PetscInt k = A.i[i]; k < A.i[i + 1]; ++k) A.g[A.j[k]] += A.a[k] * t;
    }
  }
}

/*
   Several columns: P and G are row-major panels of W = 8 or 16 columns, unused ones zero. Rows go in blocks, so that the two loops
   below, compiled for each instruction set, are called once per block; the second finds the block of A in cache.
*/
const PetscInt SparseBlock = 64;

template <int W>
__attribute__((always_inline)) inline void RowsTimesPanel(const SparsePart *part, int nparts, PetscInt first, PetscInt rows, double *T)
{
  for (PetscInt i = 0; i < rows; ++i) {
    Eight t[W / 8] = {};
    for (int s = 0; s < nparts; ++s) {
      const SparsePart &A = part[s];
      for (PetscInt k = A.i[first + i]; k < A.i[first + i + 1]; ++k) {
        const double v = A.a[k];
        const Eight *p = reinterpret_cast<const Eight *>(A.p + static_cast<size_t>(A.j[k]) * W);
        for (int c = 0; c < W / 8; ++c) t[c] += v * p[c];
      }
    }
    for (int c = 0; c < W / 8; ++c) reinterpret_cast<Eight *>(T + i * W)[c] = t[c];
  }
}
template <int W>
__attribute__((always_inline)) inline void RowsTransposeTimesPanel(const SparsePart *part, int nparts, PetscInt first, PetscInt rows, const double *T)
{
  for (PetscInt i = 0; i < rows; ++i) {
    Eight t[W / 8];
    for (int c = 0; c < W / 8; ++c) t[c] = reinterpret_cast<const Eight *>(T + i * W)[c];
    for (int s = 0; s < nparts; ++s) {
      const SparsePart &A = part[s];
      for (PetscInt k = A.i[first + i]; k < A.i[first + i + 1]; ++k) {
        const double v = A.a[k];
        Eight       *g = reinterpret_cast<Eight *>(A.g + static_cast<size_t>(A.j[k]) * W);
        for (int c = 0; c < W / 8; ++c) g[c] += v * t[c];
      }
    }
  }
}
SKEAN_MULTIVERSION void RowsTimesPanel8(const SparsePart *part, int nparts, PetscInt first, PetscInt rows, double *T)
{
  RowsTimesPanel<8>(part, nparts, first, rows, T);
}
SKEAN_MULTIVERSION void RowsTimesPanel16(const SparsePart *part, int nparts, PetscInt first, PetscInt rows, double *T)
{
  RowsTimesPanel<16>(part, nparts, first, rows, T);
}
SKEAN_MULTIVERSION void RowsTransposeTimesPanel8(const SparsePart *part, int nparts, PetscInt first, PetscInt rows, const double *T)
{
  RowsTransposeTimesPanel<8>(part, nparts, first, rows, T);
}
SKEAN_MULTIVERSION void RowsTransposeTimesPanel16(const SparsePart *part, int nparts, PetscInt first, PetscInt rows, const double *T)
{
  RowsTransposeTimesPanel<16>(part, nparts, first, rows, T);
}

/* n zeros that begin a cache line: eight columns of a panel are then one line, not two */
double *CacheAligned(std::vector<double> &store, size_t n)
{
  store.assign(n + 7, 0.0);
  return store.data() + (64 - reinterpret_cast<std::uintptr_t>(store.data()) % 64) % 64 / sizeof(double);
}

/*
   A sparse pass over q columns in panels of 1, 8 or 16: gathers P's rows for each part (row major), runs the rows, scatters G.
   f(i, first column, width, t) turns the product t = A P of row i into the multiplier of A' (in place).
*/
template <class F>
void SparsePass(const RowView &A, const double *P, int q, double *G, F f)
{
  const PetscInt      d = A.ncols;
  std::vector<double> p[2], g[2];
  alignas(64) double  T[SparseBlock * 16];
  for (int c0 = 0, w; c0 < q; c0 += w) {
    w            = std::min(q - c0 > 8 ? 16 : 8, q - c0);
    const int  W = w == 1 ? 1 : (w <= 8 ? 8 : 16); /* a last panel is filled up with zero columns */
    SparsePart part[2];
    double    *gs[2] = {nullptr, nullptr};
    for (int s = 0; s < A.nparts; ++s) {
      const RowView::Csr &csr = A.part[s];
      double *const       ps  = CacheAligned(p[s], static_cast<size_t>(A.part[s].ncols) * W);
      gs[s]                   = G ? CacheAligned(g[s], static_cast<size_t>(A.part[s].ncols) * W) : nullptr;
      if (P)
        for (PetscInt j = 0; j < A.part[s].ncols; ++j) {
          const PetscInt col = csr.map ? csr.map[j] : csr.offset + j;
          for (int c = 0; c < w; ++c) ps[static_cast<size_t>(j) * W + c] = P[static_cast<size_t>(c0 + c) * d + col];
        }
      part[s] = {csr.i, csr.j, csr.a, ps, gs[s]};
    }
    if (W == 1)
      SparseFused(part, A.nparts, A.nrows, [&](PetscInt i, double *t) { f(i, c0, w, t); });
    else
      for (PetscInt i = 0; i < A.nrows; i += SparseBlock) {
        const PetscInt rows = std::min(SparseBlock, A.nrows - i);
        (W == 8 ? RowsTimesPanel8 : RowsTimesPanel16)(part, A.nparts, i, rows, T);
        for (PetscInt r = 0; r < rows; ++r) f(i + r, c0, w, T + r * W);
        if (G) (W == 8 ? RowsTransposeTimesPanel8 : RowsTransposeTimesPanel16)(part, A.nparts, i, rows, T);
      }
    if (G)
      for (int s = 0; s < A.nparts; ++s) {
        const RowView::Csr &csr = A.part[s];
        for (PetscInt j = 0; j < A.part[s].ncols; ++j) {
          const PetscInt col = csr.map ? csr.map[j] : csr.offset + j;
          for (int c = 0; c < w; ++c) G[static_cast<size_t>(c0 + c) * d + col] += gs[s][static_cast<size_t>(j) * W + c];
        }
      }
  }
}
} // namespace

void ColumnSquares(const RowView &A, double *sums)
{
  if (A.IsDense()) {
    for (PetscInt j = 0; j < A.ncols; ++j) {
      const double *a    = A.dense + static_cast<size_t>(j) * A.lda;
      double        s[8] = {0, 0, 0, 0, 0, 0, 0, 0};
      PetscInt      i    = 0;
      for (; i + 8 <= A.nrows; i += 8)
        for (int k = 0; k < 8; ++k) s[k] += a[i + k] * a[i + k];
      for (; i < A.nrows; ++i) s[0] += a[i] * a[i];
      sums[j] += ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
    }
  } else {
    for (int s = 0; s < A.nparts; ++s) {
      const RowView::Csr &c = A.part[s];
      for (PetscInt k = 0; k < c.i[A.nrows]; ++k) sums[c.Column(k)] += c.a[k] * c.a[k];
    }
  }
}

double LargestEntry(const RowView &A, bool *finite)
{
  double big = 0.0;
  *finite    = true;
  auto look  = [&](double v) {
    if (!std::isfinite(v))
      *finite = false;
    else
      big = std::max(big, std::fabs(v));
  };
  if (A.IsDense()) {
    for (PetscInt j = 0; j < A.ncols; ++j)
      for (PetscInt i = 0; i < A.nrows; ++i) look(A.dense[i + static_cast<size_t>(j) * A.lda]);
  } else {
    for (int s = 0; s < A.nparts; ++s)
      for (PetscInt k = 0; k < A.part[s].i[A.nrows]; ++k) look(A.part[s].a[k]);
  }
  return big;
}

void GramApply(const RowView &A, const double *P, int q, double *G)
{
  if (A.IsDense()) {
    const PetscInt      d = A.ncols, nb = PanelRows(d, q);
    std::vector<double> T(static_cast<size_t>(nb) * q);
    for (PetscInt i = 0; i < A.nrows; i += nb) {
      const PetscInt rows = std::min(nb, A.nrows - i);
      std::fill(T.begin(), T.end(), 0.0);
      PanelMultiply(rows, q, d, 1.0, A.dense + i, A.lda, P, T.data(), nb);
      PanelMultiplyTranspose(rows, q, d, A.dense + i, A.lda, T.data(), nb, G);
    }
  } else
    SparsePass(A, P, q, G, [](PetscInt, int, int, double *) {});
}

double LongestSum(const RowView &A, PetscMPIInt processes)
{
  const double n = static_cast<double>(A.nglobal), nb = static_cast<double>(PanelRows(A.ncols, 1));
  return A.IsDense() ? std::min(n, nb + n / nb + 1) + processes : n + processes;
}

void ResidualPass(const RowView &A, const double *B, PetscInt ldb, const double *X, int q, double *R, double *G, double *rr)
{
  if (A.IsDense()) {
    const PetscInt      d = A.ncols, nb = PanelRows(d, q);
    std::vector<double> T(static_cast<size_t>(nb) * q);
    for (PetscInt i = 0; i < A.nrows; i += nb) {
      const PetscInt rows = std::min(nb, A.nrows - i);
      for (int c = 0; c < q; ++c) std::memcpy(T.data() + static_cast<size_t>(c) * nb, B + i + static_cast<size_t>(c) * ldb, rows * sizeof(double));
      if (X) PanelMultiply(rows, q, d, -1.0, A.dense + i, A.lda, X, T.data(), nb);
      for (int c = 0; c < q; ++c) {
        const double *t = T.data() + static_cast<size_t>(c) * nb;
        double        s = 0.0;
        for (PetscInt k = 0; k < rows; ++k) s += t[k] * t[k];
        rr[c] += s;
        if (R) std::memcpy(R + i + static_cast<size_t>(c) * A.nrows, t, rows * sizeof(double));
      }
      PanelMultiplyTranspose(rows, q, d, A.dense + i, A.lda, T.data(), nb, G);
    }
  } else {
    SparsePass(A, X, q, G, [&](PetscInt i, int c0, int w, double *t) {
      for (int c = 0; c < w; ++c) {
        const double r = B[i + static_cast<size_t>(c0 + c) * ldb] - t[c];
        t[c]           = r;
        rr[c0 + c] += r * r;
        if (R) R[i + static_cast<size_t>(c0 + c) * A.nrows] = r;
      }
    });
  }
}

void BidiagonalPass(const RowView &A, const double *P, const double *alpha, int q, double *U, double *G, double *uu)
{
  const PetscInt n = A.nrows;
  if (A.IsDense()) {
    const PetscInt d = A.ncols, nb = PanelRows(d, q);
    for (PetscInt i = 0; i < n; i += nb) {
      const PetscInt rows = std::min(nb, n - i);
      for (int c = 0; c < q; ++c)
        for (PetscInt k = 0; k < rows; ++k) U[i + k + static_cast<size_t>(c) * n] *= -alpha[c];
      PanelMultiply(rows, q, d, 1.0, A.dense + i, A.lda, P, U + i, n);
      for (int c = 0; c < q; ++c)
        for (PetscInt k = 0; k < rows; ++k) {
          const double u = U[i + k + static_cast<size_t>(c) * n];
          uu[c] += u * u;
        }
      PanelMultiplyTranspose(rows, q, d, A.dense + i, A.lda, U + i, n, G);
    }
  } else {
    SparsePass(A, P, q, G, [&](PetscInt i, int c0, int w, double *t) {
      for (int c = 0; c < w; ++c) {
        double      &u = U[i + static_cast<size_t>(c0 + c) * n];
        const double v = t[c] - alpha[c0 + c] * u;
        u = t[c] = v;
        uu[c0 + c] += v * v;
      }
    });
  }
}

void MultiplyPass(const RowView &A, const double *X, int q, double *Y)
{
  const PetscInt n = A.nrows;
  if (A.IsDense()) {
    const PetscInt nb = q == 1 ? PanelRows(A.ncols, q) : n;
    std::fill(Y, Y + static_cast<size_t>(n) * q, 0.0);
    for (PetscInt i = 0; i < n; i += nb) PanelMultiply(std::min(nb, n - i), q, A.ncols, 1.0, A.dense + i, A.lda, X, Y + i, n);
  } else
    SparsePass(A, X, q, nullptr, [&](PetscInt i, int c0, int w, double *t) {
      for (int c = 0; c < w; ++c) Y[i + static_cast<size_t>(c0 + c) * n] = t[c];
    });
}

void GramMatrix(const RowView &A, double *W)
{
  const PetscInt d = A.ncols;
  if (A.IsDense()) {
    const PetscBLASInt n = d, k = A.nrows, lda = A.lda;
    const double       one = 1.0;
    if (k > 0) dsyrk_("U", "T", &n, &k, &one, A.dense, &lda, &one, W, &n);
    return;
  }
  std::vector<std::pair<PetscInt, double>> row;
  for (PetscInt i = 0; i < A.nrows; ++i) {
    row.clear();
    for (int s = 0; s < A.nparts; ++s)
      for (PetscInt k = A.part[s].i[i]; k < A.part[s].i[i + 1]; ++k) row.emplace_back(A.part[s].Column(k), A.part[s].a[k]);
    if (A.nparts > 1) std::sort(row.begin(), row.end(), [](const auto &x, const auto &y) { return x.first < y.first; });
    for (size_t y = 0; y < row.size(); ++y) {
      double      *w = W + static_cast<size_t>(row[y].first) * d;
      const double v = row[y].second;
      for (size_t x = 0; x <= y; ++x) w[row[x].first] += v * row[x].second;
    }
  }
}

void DensePanel(const RowView &A, PetscInt first, PetscInt rows, double *panel, PetscInt ld)
{
  const PetscInt d = A.ncols;
  if (A.IsDense()) {
    for (PetscInt j = 0; j < d; ++j) std::memcpy(panel + static_cast<size_t>(j) * ld, A.dense + first + static_cast<size_t>(j) * A.lda, rows * sizeof(double));
    return;
  }
  for (PetscInt j = 0; j < d; ++j) std::memset(panel + static_cast<size_t>(j) * ld, 0, rows * sizeof(double));
  for (int s = 0; s < A.nparts; ++s)
    for (PetscInt i = 0; i < rows; ++i)
      for (PetscInt k = A.part[s].i[first + i]; k < A.part[s].i[first + i + 1]; ++k) panel[i + static_cast<size_t>(A.part[s].Column(k)) * ld] += A.part[s].a[k];
}

void PreconditionedGram(const RowView &A, const double *scale, const double *R, double *W)
{
  const PetscInt      d = A.ncols, nb = std::max<PetscInt>(256, PanelRows(d, static_cast<int>(d)));
  const double        one = 1.0;
  const PetscBLASInt  n = d, ld = nb;
  std::vector<double> T(static_cast<size_t>(nb) * d);
  for (PetscInt i = 0; i < A.nrows; i += nb) {
    const PetscBLASInt rows = std::min(nb, A.nrows - i);
    DensePanel(A, i, rows, T.data(), nb);
    for (PetscInt j = 0; j < d; ++j)
      for (PetscInt k = 0; k < rows; ++k) T[k + static_cast<size_t>(j) * nb] *= scale[j];
    BLAStrsm_("R", "U", "N", "N", &rows, &n, &one, R, &n, T.data(), &ld);
    dsyrk_("U", "T", &n, &rows, &one, T.data(), &ld, &one, W, &n);
  }
}

} // namespace skean
