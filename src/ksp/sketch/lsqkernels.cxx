#include "lsqkernels.hpp"
#include <skean/private/lapack.hpp>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace skean {

namespace {
/* Rows of a dense panel: large enough for long contiguous runs, small enough that its second use finds it in cache */
PetscInt PanelRows(PetscInt d)
{
  const PetscInt bytes = 1 << 20;
  return std::max<PetscInt>(32, std::min<PetscInt>(4096, bytes / (8 * std::max<PetscInt>(d, 1))) & ~PetscInt(7));
}

void Gemm(char ta, char tb, PetscBLASInt m, PetscBLASInt n, PetscBLASInt k, double alpha, const double *a, PetscBLASInt lda, const double *b, PetscBLASInt ldb,
          double beta, double *c, PetscBLASInt ldc)
{
  if (m == 0 || n == 0) return;
  const PetscBLASInt one = 1;
  if (n == 1 && (tb == 'N' || tb == 'n')) { /* dgemv streams; dgemm would pack A for a single column */
    const PetscBLASInt rows = ta == 'N' ? m : k, cols = ta == 'N' ? k : m;
    BLASgemv_(&ta, &rows, &cols, &alpha, a, &lda, b, &one, &beta, c, &one);
  } else
    BLASgemm_(&ta, &tb, &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc);
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
typedef double Eight __attribute__((vector_size(64), aligned(8), may_alias));

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
    const PetscInt      d = A.ncols, nb = PanelRows(d);
    std::vector<double> T(static_cast<size_t>(nb) * q);
    for (PetscInt i = 0; i < A.nrows; i += nb) {
      const PetscInt rows = std::min(nb, A.nrows - i);
      Gemm('N', 'N', rows, q, d, 1.0, A.dense + i, A.lda, P, d, 0.0, T.data(), nb);
      Gemm('T', 'N', d, q, rows, 1.0, A.dense + i, A.lda, T.data(), nb, 1.0, G, d);
    }
  } else
    SparsePass(A, P, q, G, [](PetscInt, int, int, double *) {});
}

double LongestSum(const RowView &A, PetscMPIInt processes)
{
  const double n = static_cast<double>(A.nglobal), nb = static_cast<double>(PanelRows(A.ncols));
  return A.IsDense() ? std::min(n, nb + n / nb + 1) + processes : n + processes;
}

void ResidualPass(const RowView &A, const double *B, PetscInt ldb, const double *X, int q, double *R, double *G, double *rr)
{
  if (A.IsDense()) {
    const PetscInt      d = A.ncols, nb = PanelRows(d);
    std::vector<double> T(static_cast<size_t>(nb) * q);
    for (PetscInt i = 0; i < A.nrows; i += nb) {
      const PetscInt rows = std::min(nb, A.nrows - i);
      for (int c = 0; c < q; ++c) std::memcpy(T.data() + static_cast<size_t>(c) * nb, B + i + static_cast<size_t>(c) * ldb, rows * sizeof(double));
      if (X) Gemm('N', 'N', rows, q, d, -1.0, A.dense + i, A.lda, X, d, 1.0, T.data(), nb);
      for (int c = 0; c < q; ++c) {
        const double *t = T.data() + static_cast<size_t>(c) * nb;
        double        s = 0.0;
        for (PetscInt k = 0; k < rows; ++k) s += t[k] * t[k];
        rr[c] += s;
        if (R) std::memcpy(R + i + static_cast<size_t>(c) * A.nrows, t, rows * sizeof(double));
      }
      Gemm('T', 'N', d, q, rows, 1.0, A.dense + i, A.lda, T.data(), nb, 1.0, G, d);
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
    const PetscInt d = A.ncols, nb = PanelRows(d);
    for (PetscInt i = 0; i < n; i += nb) {
      const PetscInt rows = std::min(nb, n - i);
      for (int c = 0; c < q; ++c)
        for (PetscInt k = 0; k < rows; ++k) U[i + k + static_cast<size_t>(c) * n] *= -alpha[c];
      Gemm('N', 'N', rows, q, d, 1.0, A.dense + i, A.lda, P, d, 1.0, U + i, std::max<PetscInt>(n, 1));
      for (int c = 0; c < q; ++c)
        for (PetscInt k = 0; k < rows; ++k) {
          const double u = U[i + k + static_cast<size_t>(c) * n];
          uu[c] += u * u;
        }
      Gemm('T', 'N', d, q, rows, 1.0, A.dense + i, A.lda, U + i, std::max<PetscInt>(n, 1), 1.0, G, d);
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
  if (A.IsDense())
    Gemm('N', 'N', n, q, A.ncols, 1.0, A.dense, A.lda, X, A.ncols, 0.0, Y, std::max<PetscInt>(n, 1));
  else
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
  const PetscInt      d = A.ncols, nb = std::max<PetscInt>(256, PanelRows(d));
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
