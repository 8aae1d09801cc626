#include "bulk.hpp"
#include <skean/private/fastlog.hpp>
#include <algorithm>
#include <cmath>

namespace skean {

constexpr size_t Chunk = 64;

/* Philox4x32-10 on Chunk counters; the rounds are loops over the counters, which the compiler turns into vector code */
#define PHILOX_CHUNK(key0, key1, x0, x1, x2, x3)                                        \
  do {                                                                                  \
    std::uint32_t ka_ = (key0), kb_ = (key1);                                           \
    for (int round_ = 0; round_ < 10; ++round_) {                                       \
      for (size_t i_ = 0; i_ < Chunk; ++i_) {                                           \
        const std::uint64_t p_ = static_cast<std::uint64_t>(0xD2511F53u) * (x0)[i_];    \
        const std::uint64_t q_ = static_cast<std::uint64_t>(0xCD9E8D57u) * (x2)[i_];    \
        const std::uint32_t a_ = static_cast<std::uint32_t>(q_ >> 32) ^ (x1)[i_] ^ ka_; \
        const std::uint32_t b_ = static_cast<std::uint32_t>(p_ >> 32) ^ (x3)[i_] ^ kb_; \
        (x0)[i_]               = a_;                                                    \
        (x1)[i_]               = static_cast<std::uint32_t>(q_);                        \
        (x2)[i_]               = b_;                                                    \
        (x3)[i_]               = static_cast<std::uint32_t>(p_);                        \
      }                                                                                 \
      ka_ += 0x9E3779B9u;                                                               \
      kb_ += 0xBB67AE85u;                                                               \
    }                                                                                   \
  } while (0)

SKEAN_MULTIVERSION static void PhiloxMany_(std::uint32_t key0, std::uint32_t key1, std::uint64_t index, std::uint64_t dindex, std::uint64_t k, std::uint64_t dk,
                                           size_t n, std::uint32_t *const *word)
{
  alignas(64) std::uint32_t x0[Chunk], x1[Chunk], x2[Chunk], x3[Chunk];
  for (size_t i0 = 0; i0 < n; i0 += Chunk) {
    for (size_t i = 0; i < Chunk; ++i) {
      const std::uint64_t j = index + (i0 + i) * dindex, l = k + (i0 + i) * dk;
      x0[i] = static_cast<std::uint32_t>(j);
      x1[i] = static_cast<std::uint32_t>(j >> 32);
      x2[i] = static_cast<std::uint32_t>(l);
      x3[i] = static_cast<std::uint32_t>(l >> 32);
    }
    PHILOX_CHUNK(key0, key1, x0, x1, x2, x3);
    const size_t rest = std::min(Chunk, n - i0);
    std::copy(x0, x0 + rest, word[0] + i0);
    std::copy(x1, x1 + rest, word[1] + i0);
    std::copy(x2, x2 + rest, word[2] + i0);
    std::copy(x3, x3 + rest, word[3] + i0);
  }
}

void PhiloxMany(const RandomStream &stream, std::uint64_t index, std::uint64_t dindex, std::uint64_t k, std::uint64_t dk, size_t n,
                std::uint32_t *const word[4])
{
  PhiloxMany_(stream.Key()[0], stream.Key()[1], index, dindex, k, dk, n, word);
}

/*
   Box and Muller with polynomials.
   The angle 2 pi v is reduced to g pi/2, |g| <= 1/2, by g = 4 v - round(4 v), which is exact; Taylor polynomials on |x| <= pi/4.
*/
SKEAN_MULTIVERSION static void Normals_(std::uint32_t key0, std::uint32_t key1, std::uint64_t index, size_t n, double scale, double *z)
{
  alignas(64) std::uint32_t x0[Chunk], x1[Chunk], x2[Chunk], x3[Chunk];
  alignas(64) double        c[Chunk], s[Chunk];
  for (size_t i0 = 0; 2 * i0 < n; i0 += Chunk) {
    for (size_t i = 0; i < Chunk; ++i) {
      const std::uint64_t l = i0 + i;
      x0[i]                 = static_cast<std::uint32_t>(index);
      x1[i]                 = static_cast<std::uint32_t>(index >> 32);
      x2[i]                 = static_cast<std::uint32_t>(l);
      x3[i]                 = static_cast<std::uint32_t>(l >> 32);
    }
    PHILOX_CHUNK(key0, key1, x0, x1, x2, x3);
    for (size_t i = 0; i < Chunk; ++i) {
      const std::uint64_t ub = ((static_cast<std::uint64_t>(x1[i]) << 32) | x0[i]) >> 11, vb = ((static_cast<std::uint64_t>(x3[i]) << 32) | x2[i]) >> 11;
      const double u = 1.0 - static_cast<double>(static_cast<std::int64_t>(ub)) * 0x1p-53, v = static_cast<double>(static_cast<std::int64_t>(vb)) * 0x1p-53;
      const double r = scale * std::sqrt(-2.0 * FastLog(u));
      /* v in [0,1): quadrant by truncation, exact */
      const double       v4 = 4.0 * v;
      const std::int64_t m  = static_cast<std::int64_t>(static_cast<std::int32_t>(v4 + 0.5)); // NOLINT(bugprone-incorrect-roundings): 0 <= v4 < 4
      const double       x = (v4 - static_cast<double>(m)) * 1.57079632679489661923, y = x * x;
      double             sn = 1.0 / 355687428096000.0; /* 17! */
      sn                    = sn * y - 1.0 / 1307674368000.0;
      sn                    = sn * y + 1.0 / 6227020800.0;
      sn                    = sn * y - 1.0 / 39916800.0;
      sn                    = sn * y + 1.0 / 362880.0;
      sn                    = sn * y - 1.0 / 5040.0;
      sn                    = sn * y + 1.0 / 120.0;
      sn                    = sn * y - 1.0 / 6.0;
      sn                    = x + x * y * sn;
      double cs             = 1.0 / 20922789888000.0; /* 16! */
      cs                    = cs * y - 1.0 / 87178291200.0;
      cs                    = cs * y + 1.0 / 479001600.0;
      cs                    = cs * y - 1.0 / 3628800.0;
      cs                    = cs * y + 1.0 / 40320.0;
      cs                    = cs * y - 1.0 / 720.0;
      cs                    = cs * y + 1.0 / 24.0;
      cs                    = 1.0 - y * (0.5 - y * cs);
      const double a = (m & 1) ? sn : cs, b = (m & 1) ? cs : sn;
      /* quadrants 0..4: cos = cs, -sn, -cs, sn, cs; sin = sn, cs, -sn, -cs, sn */
      c[i] = ((m + 1) & 2) ? -r * a : r * a;
      s[i] = (m & 2) ? -r * b : r * b;
    }
    const size_t rest = std::min(2 * Chunk, n - 2 * i0);
    if (rest == 2 * Chunk)
      for (size_t i = 0; i < Chunk; ++i) {
        z[2 * (i0 + i)]     = c[i];
        z[2 * (i0 + i) + 1] = s[i];
      }
    else
      for (size_t i = 0; i < rest; ++i) z[2 * i0 + i] = i % 2 ? s[i / 2] : c[i / 2];
  }
}
#undef PHILOX_CHUNK

void NormalsMany(const RandomStream &stream, std::uint64_t index, size_t n, double scale, double *z)
{
  Normals_(stream.Key()[0], stream.Key()[1], index, n, scale, z);
}

} // namespace skean
