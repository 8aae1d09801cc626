/*
   Explicit sketches: S as an m x n array, entry by entry from its definition in the manual pages, and S A by three nested loops. Shares with the
   library only the random numbers (random.hpp). Slow on purpose.
*/
#pragma once

#include <skean/private/random.hpp>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

namespace skeanref {
using skean::Purpose;
using skean::RandomStream;
using u64 = std::uint64_t;
using u32 = std::uint32_t;

struct Dense {
  size_t              m = 0, n = 0;
  std::vector<double> a; /* column major */
  Dense() = default;
  Dense(size_t m, size_t n) : m(m), n(n), a(m * n, 0.0) {}
  double &operator()(size_t i, size_t j) { return a[i + j * m]; }
  double  operator()(size_t i, size_t j) const { return a[i + j * m]; }
};

inline Dense Multiply(const Dense &A, const Dense &B)
{
  Dense C(A.m, B.n);
  for (size_t i = 0; i < A.m; ++i)
    for (size_t j = 0; j < B.n; ++j) {
      long double s = 0;
      for (size_t k = 0; k < A.n; ++k) s += static_cast<long double>(A(i, k)) * B(k, j);
      C(i, j) = static_cast<double>(s);
    }
  return C;
}

struct Key {
  std::int64_t seed;
  u32          draw;
};

inline int Sign(const RandomStream &s, u64 j)
{
  return (s.Bits(j / 128)[(j % 128) / 32] >> (j % 32)) & 1u ? -1 : 1;
}
inline u64 Scale64(u64 bits, u64 bound)
{
  return static_cast<u64>((static_cast<long double>(bits) / 18446744073709551616.0L) * bound);
}

inline Dense Gaussian(Key key, size_t m, size_t n)
{
  RandomStream g(key.seed, Purpose::Gaussian, key.draw);
  Dense        S(m, n);
  for (size_t i = 0; i < m; ++i)
    for (size_t j = 0; j < n; ++j) S(i, j) = g.Normal(j, i) / std::sqrt(static_cast<double>(m));
  return S;
}

inline int SparseSignOf(const RandomStream &s, u64 j, size_t k)
{
  return (s.Bits(j / 4, k / 32)[j % 4] >> (k % 32)) & 1u ? -1 : 1;
}

inline Dense SparseSign(Key key, size_t m, size_t n, size_t zeta)
{
  RandomStream rows(key.seed, Purpose::HashRows, key.draw), signs(key.seed, Purpose::Signs, key.draw);
  Dense        S(m, n);
  for (size_t j = 0; j < n; ++j) {
    std::vector<size_t> taken;
    for (u64 w = 0; taken.size() < zeta; ++w) {
      const u64    bits = rows.Bits(j, w / 4)[w % 4];
      const size_t r    = static_cast<size_t>((bits * m) >> 32);
      if (std::find(taken.begin(), taken.end(), r) == taken.end()) taken.push_back(r);
    }
    for (size_t k = 0; k < zeta; ++k) S(taken[k], j) = SparseSignOf(signs, j, k) / std::sqrt(static_cast<double>(zeta));
  }
  return S;
}

inline Dense SparseStack(Key key, size_t m, size_t n, size_t zeta)
{
  RandomStream rows(key.seed, Purpose::HashRows, key.draw), signs(key.seed, Purpose::Signs, key.draw);
  Dense        S(m, n);
  for (size_t j = 0; j < n; ++j)
    for (size_t k = 0; k < zeta; ++k) {
      const size_t lo = k * m / zeta, hi = (k + 1) * m / zeta;
      const u64    bits                                        = rows.Bits(j, k / 4)[k % 4];
      S(lo + static_cast<size_t>((bits * (hi - lo)) >> 32), j) = SparseSignOf(signs, j, k) / std::sqrt(static_cast<double>(zeta));
    }
  return S;
}

/* perm[i]: where row i of the block goes */
inline std::vector<size_t> Permutation(Key key, u64 block, size_t b, bool permute)
{
  RandomStream        s(key.seed, Purpose::Permutation, key.draw);
  std::vector<size_t> p(b);
  for (size_t i = 0; i < b; ++i) p[i] = i;
  if (permute)
    for (size_t i = b; i-- > 1;) {
      const u64 bits = s.Bits(block, i / 4)[i % 4];
      std::swap(p[i], p[static_cast<size_t>((bits * (i + 1)) >> 32)]);
    }
  return p;
}

inline std::vector<u64> Samples(Key key, u64 N, u64 m)
{
  RandomStream  s(key.seed, Purpose::Samples, key.draw);
  std::set<u64> have;
  for (u64 j = N - m; j < N; ++j) {
    const auto w = s.Bits(j - (N - m));
    const u64  t = Scale64((static_cast<u64>(w[1]) << 32) | w[0], j + 1);
    have.insert(have.count(t) ? j : t);
  }
  return std::vector<u64>(have.begin(), have.end());
}

inline int Walsh(u64 i, u64 j)
{
  return __builtin_popcountll(i & j) % 2 ? -1 : 1;
}
inline u64 PowerOfTwo(u64 n)
{
  u64 p = 1;
  while (p < n) p <<= 1;
  return p;
}

/* m^{-1/2} P H_N Pi D, with the row order (k2, k1) of the samples k1 b + k2 */
inline Dense Srht(Key key, size_t m, size_t n, size_t b, bool permute)
{
  RandomStream     signs(key.seed, Purpose::Signs, key.draw);
  const u64        N    = b * PowerOfTwo((n + b - 1) / b);
  std::vector<u64> rows = Samples(key, N, m);
  std::stable_sort(rows.begin(), rows.end(), [b](u64 x, u64 y) { return x % b < y % b; });
  Dense S(m, n);
  for (u64 k = 0; k * b < n; ++k) {
    const auto perm = Permutation(key, k, b, permute);
    for (size_t r = 0; r < b && k * b + r < n; ++r)
      for (size_t t = 0; t < m; ++t) S(t, k * b + r) = Walsh(rows[t], k * b + perm[r]) * Sign(signs, k * b + r) / std::sqrt(static_cast<double>(m));
  }
  return S;
}
} // namespace skeanref

namespace skeanref {
/* m^{-1/2} [L_0 R H_b Pi_0 D_0, L_1 R H_b Pi_1 D_1, ...] */
inline Dense BlockSrht(Key key, size_t m, size_t n, size_t b, bool permute)
{
  RandomStream           signs(key.seed, Purpose::Signs, key.draw);
  const std::vector<u64> rows = Samples(key, b, m);
  Dense                  S(m, n);
  for (u64 k = 0; k * b < n; ++k) {
    const auto perm = Permutation(key, k, b, permute);
    for (size_t r = 0; r < b && k * b + r < n; ++r)
      for (size_t t = 0; t < m; ++t) {
        const int left  = (signs.Bits(k, 1 + t / 128)[(t % 128) / 32] >> (t % 32)) & 1u ? -1 : 1;
        S(t, k * b + r) = left * Walsh(rows[t], perm[r]) * Sign(signs, k * b + r) / std::sqrt(static_cast<double>(m));
      }
  }
  return S;
}

/* sqrt(N/m) P (H_B/sqrt(B) (x) C_b) Pi D */
inline Dense Srct(Key key, size_t m, size_t n, size_t b, bool permute)
{
  RandomStream     signs(key.seed, Purpose::Signs, key.draw);
  const u64        B = PowerOfTwo((n + b - 1) / b), N = b * B;
  std::vector<u64> rows = Samples(key, N, m);
  std::stable_sort(rows.begin(), rows.end(), [b](u64 x, u64 y) { return x % b < y % b; });
  Dense S(m, n);
  for (u64 k = 0; k * b < n; ++k) {
    const auto perm = Permutation(key, k, b, permute);
    for (size_t r = 0; r < b && k * b + r < n; ++r)
      for (size_t t = 0; t < m; ++t) {
        const u64    k1 = rows[t] / b, k2 = rows[t] % b;
        const double c  = (k2 ? std::sqrt(2.0 / b) : std::sqrt(1.0 / b)) * std::cos(M_PI * (perm[r] + 0.5) * k2 / b);
        S(t, k * b + r) = std::sqrt(static_cast<double>(N) / m) * Walsh(k1, k) / std::sqrt(static_cast<double>(B)) * c * Sign(signs, k * b + r);
      }
  }
  return S;
}

/* Pool i: the coordinates that the permutation of stream index 0 puts into places floor(i b/m) ... floor((i+1) b/m) - 1 */
inline Dense Pooled(Key key, size_t m, size_t n, size_t b)
{
  RandomStream signs(key.seed, Purpose::Signs, key.draw), g(key.seed, Purpose::PoolWeights, key.draw);
  const auto   place = Permutation(key, 0, b, true);
  Dense        S(m, n);
  for (size_t i = 0; i < m; ++i) {
    const size_t lo = i * b / m, hi = (i + 1) * b / m;
    for (size_t k2 = 0; k2 < b; ++k2)
      if (place[k2] >= lo && place[k2] < hi)
        for (size_t j = 0; j < n; ++j)
          S(i, j) += g.Normal(j / b, k2) * Walsh(k2, j % b) * Sign(signs, j) / std::sqrt(static_cast<double>(m) * static_cast<double>(hi - lo));
  }
  return S;
}

/* Row t: the product of the rows i_k(t) of the signed Walsh matrices */
inline Dense TensorSrht(Key key, size_t m, const std::vector<size_t> &n)
{
  RandomStream samples(key.seed, Purpose::Samples, key.draw), signs(key.seed, Purpose::Signs, key.draw);
  size_t       total = 1;
  for (size_t nk : n) total *= nk;
  Dense S(m, total);
  for (size_t t = 0; t < m; ++t)
    for (size_t j = 0; j < total; ++j) {
      double s   = 1.0 / std::sqrt(static_cast<double>(m));
      size_t rem = j;
      for (size_t k = n.size(); k-- > 0;) {
        const size_t i = rem % n[k];
        rem /= n[k];
        const auto w    = samples.Bits(t, k);
        const u64  row  = ((static_cast<u64>(w[1]) << 32) | w[0]) % PowerOfTwo(n[k]);
        const int  sign = (signs.Bits(i / 128, k)[(i % 128) / 32] >> (i % 32)) & 1u ? -1 : 1;
        s *= Walsh(row, i) * sign;
      }
      S(t, j) = s;
    }
  return S;
}

inline Dense TensorSketch(Key key, size_t m, const std::vector<size_t> &n)
{
  RandomStream rows(key.seed, Purpose::HashRows, key.draw), signs(key.seed, Purpose::Signs, key.draw);
  size_t       total = 1;
  for (size_t nk : n) total *= nk;
  Dense S(m, total);
  for (size_t j = 0; j < total; ++j) {
    size_t row = 0, rem = j;
    int    sign = 1;
    for (size_t k = n.size(); k-- > 0;) {
      const size_t i = rem % n[k];
      rem /= n[k];
      row += static_cast<size_t>((static_cast<u64>(rows.Bits(i, k)[0]) * m) >> 32);
      sign *= signs.Bits(i, k)[0] & 1u ? -1 : 1;
    }
    S(row % m, j) = sign;
  }
  return S;
}

/* Columns are all products of columns (kronecker) or products of equal columns of the factors; the last index runs fastest */
inline Dense Product(const std::vector<Dense> &F, bool kronecker)
{
  Dense P = F[0];
  for (size_t k = 1; k < F.size(); ++k) {
    Dense Q(P.m * F[k].m, kronecker ? P.n * F[k].n : P.n);
    for (size_t c = 0; c < P.n; ++c)
      for (size_t e = 0; e < (kronecker ? F[k].n : 1); ++e)
        for (size_t i = 0; i < P.m; ++i)
          for (size_t j = 0; j < F[k].m; ++j) Q(i * F[k].m + j, kronecker ? c * F[k].n + e : c) = P(i, c) * F[k](j, kronecker ? e : c);
    P = Q;
  }
  return P;
}

inline double FrobeniusNorm(const Dense &A)
{
  double s = 0;
  for (double v : A.a) s += v * v;
  return std::sqrt(s);
}
/* |A - B|_F / |B|_F, B given as a raw array */
inline double RelativeDifference(const std::vector<double> &a, const std::vector<double> &b)
{
  double d = 0, s = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    d += (a[i] - b[i]) * (a[i] - b[i]);
    s += b[i] * b[i];
  }
  return a.size() != b.size() ? 1e300 : s > 0 ? std::sqrt(d / s) : std::sqrt(d);
}
} // namespace skeanref
