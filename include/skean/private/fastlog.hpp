/*
   log(t) for positive normal t, branch-free, so that a loop over it vectorises for any instruction set: t = 2^k m with m in [sqrt(1/2), sqrt(2)),
   log m = 2 artanh(s), s = (m - 1)/(m + 1), |s| < 0.172, by its series, whose first neglected term is below 1e-18. At most 2 ulp of
   max(1, |log t|) from the exact value (tested).
*/
#pragma once

#include <cstdint>
#include <cstring>

namespace skean {

__attribute__((always_inline)) inline double FastLog(double t) noexcept
{
  constexpr std::uint64_t fraction = 0x000fffffffffffff, unit = 0x3ff0000000000000, big = 0x4330000000000000;
  constexpr double        ln2 = 0x1.62e42fefa39efp-1, root2 = 0x1.6a09e667f3bcdp+0;
  std::uint64_t           b, e;
  double                  m, k;
  std::memcpy(&b, &t, 8);
  e = (b >> 52) | big; /* 2^52 + exponent: an integer becomes a double without a conversion */
  b = (b & fraction) | unit;
  std::memcpy(&m, &b, 8);
  std::memcpy(&k, &e, 8);
  const double up = m > root2 ? 1.0 : 0.0;
  m *= 1.0 - 0.5 * up;
  k += up - (0x1p52 + 1023);
  const double s = (m - 1.0) / (m + 1.0), q = s * s;
  double       p = 1.0 / 23;
  p              = p * q + 1.0 / 21;
  p              = p * q + 1.0 / 19;
  p              = p * q + 1.0 / 17;
  p              = p * q + 1.0 / 15;
  p              = p * q + 1.0 / 13;
  p              = p * q + 1.0 / 11;
  p              = p * q + 1.0 / 9;
  p              = p * q + 1.0 / 7;
  p              = p * q + 1.0 / 5;
  p              = p * q + 1.0 / 3;
  return k * ln2 + 2.0 * (s + s * (q * p));
}

} // namespace skean
