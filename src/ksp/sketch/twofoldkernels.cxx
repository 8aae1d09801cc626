/*
   A'(b - A x) in twofold precision.

   Errors (u = 2^-53, gamma_k = k u / (1 - k u)). A number is kept as s + c: s by a chain of TwoSum, whose errors, and those of TwoProd,
   are exact and are added up in c in working precision (Dot2). Let a chain have K links with products of magnitudes adding up to M.
   Every partial sum is at most (1 + gamma_K) M, so the numbers added to c have magnitudes adding up to at most u (K + 2)(1 + gamma_K) M
   (u M for the errors of the products, u M for the products with the low halves, u K M for those of the sums), and each of them goes
   through at most K + 2 roundings:
     |s + c - exact| <= gamma_{K+2} u (K + 2) (1 + gamma_K) M <= 1.01 gamma_{K+2}^2 M.
   - a row's residual: K = d + 1 links, M = |b_i| + sum_k |a_ik||x_k|; over the rows, in the 2-norm, |b| + sum_k |a_k||x_k|;
     weighted with a_j: |a_j| times that (Cauchy-Schwarz);
   - A'r: M = sum_i |a_ij||r_i| <= |a_j||r|. Dense: chains of K links within a panel, then one link per panel and process with
     AddTwofold(), which renormalises: at most 2 u (|t| + |e|) + u |lo| with |t|, |lo| <= u (1 + 2 u) M, below 4 u^2 M + 2 u |e|, and the
     |e| of the panels add up to gamma_{K+2} M. Sparse: AddTwofold() throughout, |e| <= 2 u |p|.
*/
#include "twofoldkernels.hpp"
#include <skean/private/twofold.hpp>
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <vector>

namespace skean {

namespace {
const int Lanes = 16; /* independent chains in A'r: two vectors of the widest machine version */

/* A panel of A (512 Kbyte) and the pairs of its rows stay in cache between the two products */
PetscInt TwofoldPanel(PetscInt d)
{
  return std::max<PetscInt>(64, std::min<PetscInt>(2048, (1 << 19) / (8 * std::max<PetscInt>(d, 1))) & ~PetscInt(15));
}
} // namespace

/* (h, l) <- (h, l) - a (x + xl) over the rows of a panel, for two columns */
SKEAN_MULTIVERSION static void SubtractColumns(PetscInt rows, const double *SKEAN_RESTRICT a, const double *SKEAN_RESTRICT b, const double *x, const double *xl,
                                               double *SKEAN_RESTRICT h, double *SKEAN_RESTRICT l)
{
  const double x0 = -x[0], x1 = -x[1], y0 = -xl[0], y1 = -xl[1];
  for (PetscInt i = 0; i < rows; ++i) {
    double       e0, e1, t0, t1;
    const double p0 = TwoProd(a[i], x0, e0), s0 = TwoSum(h[i], p0, t0);
    const double p1 = TwoProd(b[i], x1, e1), s1 = TwoSum(s0, p1, t1);
    h[i] = s1;
    l[i] = (l[i] + (t0 + __builtin_fma(a[i], y0, e0))) + (t1 + __builtin_fma(b[i], y1, e1));
  }
}
SKEAN_MULTIVERSION static void Normalise(PetscInt rows, double *SKEAN_RESTRICT h, double *SKEAN_RESTRICT l)
{
  for (PetscInt i = 0; i < rows; ++i) h[i] = TwoSum(h[i], l[i], l[i]);
}
/* One pair per lane of a'(h + l); rows is a multiple of Lanes */
SKEAN_MULTIVERSION static void ColumnTimes(PetscInt rows, const double *SKEAN_RESTRICT a, const double *SKEAN_RESTRICT h, const double *SKEAN_RESTRICT l,
                                           double *SKEAN_RESTRICT sum, double *SKEAN_RESTRICT low)
{
  double s[Lanes] = {}, c[Lanes] = {};
  for (PetscInt i = 0; i < rows; i += Lanes)
    for (int k = 0; k < Lanes; ++k) {
      double       e, t;
      const double p = TwoProd(a[i + k], h[i + k], e);
      s[k]           = TwoSum(s[k], p, t);
      c[k] += t + __builtin_fma(a[i + k], l[i + k], e);
    }
  std::memcpy(sum, s, sizeof s);
  std::memcpy(low, c, sizeof c);
}

static void DenseTwofold(const RowView &A, const double *B, PetscInt ldb, const double *X, const double *Xlo, int q, double *G, double *rr)
{
  const PetscInt      d = A.ncols, nb = TwofoldPanel(d);
  std::vector<double> h(nb), l(nb), tail(Lanes), zero(d, 0.0), last(nb, 0.0);
  for (PetscInt i0 = 0; i0 < A.nrows; i0 += nb) {
    const PetscInt rows = std::min(nb, A.nrows - i0), whole = rows - rows % Lanes;
    for (int c = 0; c < q; ++c) {
      const double *x = X + static_cast<size_t>(c) * d, *y = Xlo ? Xlo + static_cast<size_t>(c) * d : zero.data();
      double       *g = G + 2 * static_cast<size_t>(c) * d;
      std::fill(h.begin(), h.end(), 0.0); /* rows beyond the last are zeros */
      std::fill(l.begin(), l.end(), 0.0);
      std::memcpy(h.data(), B + i0 + static_cast<size_t>(c) * ldb, rows * sizeof(double));
      const auto column = [&](PetscInt j) { return A.dense + i0 + static_cast<size_t>(j) * A.lda; };
      PetscInt   j      = 0;
      for (; j + 2 <= d; j += 2) SubtractColumns(rows, column(j), column(j + 1), x + j, y + j, h.data(), l.data());
      if (j < d) {
        const double xj[2] = {x[j], 0.0}, yj[2] = {y[j], 0.0};
        SubtractColumns(rows, column(j), last.data(), xj, yj, h.data(), l.data());
      }
      Normalise(rows, h.data(), l.data());
      for (PetscInt i = 0; i < rows; ++i) rr[c] += h[i] * h[i];
      for (j = 0; j < d; ++j) {
        double s[Lanes], low[Lanes], ts[Lanes], tlow[Lanes];
        ColumnTimes(whole, column(j), h.data(), l.data(), s, low);
        if (whole < rows) {
          std::copy(column(j) + whole, column(j) + rows, tail.begin());
          ColumnTimes(Lanes, tail.data(), h.data() + whole, l.data() + whole, ts, tlow);
          for (int k = 0; k < Lanes; ++k) {
            double t;
            s[k] = TwoSum(s[k], ts[k], t);
            low[k] += t + tlow[k];
          }
          std::fill(tail.begin(), tail.end(), 0.0);
        }
        double sum = 0.0, rest = 0.0;
        for (int k = 0; k < Lanes; ++k) {
          double t;
          sum = TwoSum(sum, s[k], t);
          rest += t + low[k];
        }
        AddTwofold(g[2 * j], g[2 * j + 1], sum, rest);
      }
    }
  }
}

/* Rows first ... first + rows - 1 of one CSR part: (h, l) of each row less the part's product; x, y at the part's columns */
SKEAN_MULTIVERSION static void SubtractRows(const PetscInt *ip, const PetscInt *jp, const double *a, PetscInt rows, const double *x, const double *y, double *h,
                                            double *l)
{
  for (PetscInt i = 0; i < rows; ++i) {
    double s = h[i], c = l[i];
    for (PetscInt k = ip[i]; k < ip[i + 1]; ++k) {
      double       e, t;
      const double v = -a[k], p = TwoProd(v, x[jp[k]], e);
      s = TwoSum(s, p, t);
      c += t + __builtin_fma(v, y[jp[k]], e);
    }
    h[i] = s;
    l[i] = c;
  }
}
SKEAN_MULTIVERSION static void AddRows(const PetscInt *ip, const PetscInt *jp, const double *a, PetscInt rows, const double *h, const double *l, double *g)
{
  for (PetscInt i = 0; i < rows; ++i)
    for (PetscInt k = ip[i]; k < ip[i + 1]; ++k) {
      double       e, *gk = g + 2 * static_cast<size_t>(jp[k]);
      const double p = TwoProd(a[k], h[i], e);
      AddTwofold(gk[0], gk[1], p, __builtin_fma(a[k], l[i], e));
    }
}

static void SparseTwofold(const RowView &A, const double *B, PetscInt ldb, const double *X, const double *Xlo, int q, double *G, double *rr)
{
  const PetscInt      d = A.ncols, nb = 64; /* rows that are still in cache for the second product */
  std::vector<double> x[2], y[2], g[2];
  double              h[nb], l[nb];
  for (int c = 0; c < q; ++c) {
    for (int s = 0; s < A.nparts; ++s) {
      const RowView::Csr &p = A.part[s];
      x[s].resize(p.ncols);
      y[s].assign(p.ncols, 0.0);
      g[s].assign(2 * static_cast<size_t>(p.ncols), 0.0);
      for (PetscInt j = 0; j < p.ncols; ++j) {
        const size_t at = static_cast<size_t>(p.map ? p.map[j] : p.offset + j) + static_cast<size_t>(c) * d;
        x[s][j]         = X[at];
        if (Xlo) y[s][j] = Xlo[at];
      }
    }
    for (PetscInt i0 = 0; i0 < A.nrows; i0 += nb) {
      const PetscInt rows = std::min(nb, A.nrows - i0);
      std::memcpy(h, B + i0 + static_cast<size_t>(c) * ldb, rows * sizeof(double));
      std::memset(l, 0, sizeof l);
      for (int s = 0; s < A.nparts; ++s) SubtractRows(A.part[s].i + i0, A.part[s].j, A.part[s].a, rows, x[s].data(), y[s].data(), h, l);
      Normalise(rows, h, l);
      for (PetscInt i = 0; i < rows; ++i) rr[c] += h[i] * h[i];
      for (int s = 0; s < A.nparts; ++s) AddRows(A.part[s].i + i0, A.part[s].j, A.part[s].a, rows, h, l, g[s].data());
    }
    for (int s = 0; s < A.nparts; ++s)
      for (PetscInt j = 0; j < A.part[s].ncols; ++j) {
        const size_t at = static_cast<size_t>(A.part[s].map ? A.part[s].map[j] : A.part[s].offset + j) + static_cast<size_t>(c) * d;
        AddTwofold(G[2 * at], G[2 * at + 1], g[s][2 * static_cast<size_t>(j)], g[s][2 * static_cast<size_t>(j) + 1]);
      }
  }
}

void TwofoldResidualPass(const RowView &A, const double *B, PetscInt ldb, const double *X, const double *Xlo, int q, double *G, double *rr)
{
  (A.IsDense() ? DenseTwofold : SparseTwofold)(A, B, ldb, X, Xlo, q, G, rr);
}

void AddToTwofold(PetscInt n, double *x, double *xlo, const double *dx)
{
  for (PetscInt i = 0; i < n; ++i) AddTwofold(x[i], xlo[i], dx[i], 0.0);
}

void TwofoldSubtractScaled(PetscInt n, double lambda, const double *x, const double *xlo, double *G)
{
  for (PetscInt i = 0; i < n; ++i) {
    double       e;
    const double p = TwoProd(-lambda, x[i], e);
    AddTwofold(G[2 * i], G[2 * i + 1], p, __builtin_fma(-lambda, xlo[i], e));
  }
}

TwofoldError TwofoldResidualError(const RowView &A, PetscMPIInt processes)
{
  const double u     = DBL_EPSILON / 2;
  const auto   gamma = [&](double k) { return k * u / (1 - k * u); };
  const double n = static_cast<double>(A.nglobal), row = gamma(A.ncols + 4.0), nb = static_cast<double>(TwofoldPanel(A.ncols));
  TwofoldError e;
  e.forward = 1.01 * row * row;
  if (A.IsDense()) { /* a lane of a panel, the tail and the lanes together; then panels and processes */
    const double lane = gamma(nb / Lanes + Lanes + 4);
    e.backward        = 1.01 * lane * lane + 10 * u * u * (n / nb + 2.0 * processes + 2);
  } else
    e.backward = 10 * u * u * (n + 2.0 * processes + 4);
  return e;
}

} // namespace skean
