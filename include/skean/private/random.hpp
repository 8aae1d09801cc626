/*
   Counter-based random numbers (Philox4x32-10, Salmon, Moraes, Dror & Shaw, SC'11, from Random123).

   A stream is keyed by (seed, purpose, draw) and read at (index, k), where index is a *global* row, column or entry number. So
   any process can produce any number of the stream alone, and a result does not depend on who owns what.
*/
#pragma once

#include <Random123/philox.h>
#include <cmath>
#include <cstdint>

namespace skean {

/* What a stream is for. Append only: renumbering changes every result that a user has kept. */
enum class Purpose : std::uint32_t {
  Signs       = 1,
  HashRows    = 2,
  Gaussian    = 3,
  Samples     = 4,
  Permutation = 5,
  PoolWeights = 6,
  Certificate = 7,
  Start       = 8,
  Probe       = 9,
  Test        = 10,
  GPSample    = 11,
  Restart     = 12
};

class RandomStream {
public:
  using Block = r123::Philox4x32::ctr_type; /* four 32-bit words */

  RandomStream() = default;
  /* draw: 0, 1, 2, ... for fresh and independent numbers with the same seed and purpose (a redraw after a failure) */
  RandomStream(std::int64_t seed, Purpose purpose, std::uint32_t draw = 0) noexcept
  {
    /* one Philox application makes the 64-bit key from seed, purpose and draw, so that no two of them share a stream */
    const auto                 s      = static_cast<std::uint64_t>(seed);
    r123::Philox4x32::key_type master = {{0x736b6561u, 0x6e2e6c69u}};
    const Block                c      = {{static_cast<std::uint32_t>(s), static_cast<std::uint32_t>(s >> 32), static_cast<std::uint32_t>(purpose), draw}};
    const Block                b      = r123::Philox4x32()(c, master);
    key                               = {{b[0], b[1]}};
  }

  /* 128 random bits at (index, k) */
  Block Bits(std::uint64_t index, std::uint64_t k = 0) const noexcept
  {
    const Block c = {
      {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(k >> 32)}};
    return r123::Philox4x32()(c, key);
  }
  /* Uniform on [0,1) with 53 bits; two of them per block */
  static double ToUniform(std::uint32_t lo, std::uint32_t hi) noexcept
  {
    return static_cast<double>(((static_cast<std::uint64_t>(hi) << 32) | lo) >> 11) * 0x1p-53;
  }
  double Uniform(std::uint64_t index, std::uint64_t k = 0) const noexcept
  {
    const Block b = Bits(index, k);
    return ToUniform(b[0], b[1]);
  }
  /* Two independent N(0,1) at (index, k), by Box and Muller */
  void Normals(std::uint64_t index, std::uint64_t k, double *z0, double *z1) const noexcept
  {
    const Block  b = Bits(index, k);
    const double u = 1.0 - ToUniform(b[0], b[1]); /* in (0,1] */
    const double v = ToUniform(b[2], b[3]);
    const double r = std::sqrt(-2.0 * std::log(u)), t = 6.283185307179586476925286766559 * v;
    *z0 = r * std::cos(t);
    *z1 = r * std::sin(t);
  }
  double Normal(std::uint64_t index, std::uint64_t k = 0) const noexcept
  {
    double z0, z1;
    Normals(index, k / 2, &z0, &z1);
    return k % 2 ? z1 : z0;
  }
  /* Uniform integer in [0, bound), bound < 2^32, by multiplication; the bias is below bound / 2^32 of one value's share */
  static std::uint32_t Below(std::uint32_t bits, std::uint32_t bound) noexcept
  {
    return static_cast<std::uint32_t>((static_cast<std::uint64_t>(bits) * bound) >> 32);
  }

  /* The 64-bit key, for kernels that make many blocks at once */
  const r123::Philox4x32::key_type &Key() const noexcept { return key; }

private:
  r123::Philox4x32::key_type key = {{0, 0}};
};

} // namespace skean
