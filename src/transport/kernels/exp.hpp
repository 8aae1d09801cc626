/*
   exp(t) for the streaming passes: branch-free, so that a loop over it vectorises for any instruction set.

   t = k log 2 + r with |r| <= log(2)/2 (Cody and Waite, two constants); e^r by a polynomial of degree 11 that interpolates
   (e^r - 1 - r)/r^2 in Chebyshev points, relative error 1.6e-17; 2^k into the exponent. At most 1 ulp from the exact value
   (tested over the whole range). Below -707 the result is 0, not subnormal: subnormal numbers cost a hundred cycles each and no plan needs
   them. Above 709 it is infinity.
*/
#pragma once

#include <cstdint>
#include <cstring>

namespace skean {
namespace transport {

constexpr double kExpLow = -707.0, kExpHigh = 709.0, kLog2e = 0x1.71547652b82fep+0, kLn2High = 0x1.62e42fee00000p-1, kLn2Low = 0x1.a39ef35793c76p-33;
constexpr double kExpPolynomial[] = {0x1.af38d53857513p-26, 0x1.2891a8c1d838dp-22, 0x1.71de0d9c145d0p-19, 0x1.a019b8ef67c6cp-16, 0x1.a01a01a7c8d47p-13,
                                     0x1.6c16c17893833p-10, 0x1.11111111109adp-7,  0x1.5555555553d4fp-5,  0x1.5555555555556p-3,  0x1.0000000000001p-1};

__attribute__((always_inline)) inline double FastExp(double t) noexcept
{
  constexpr double shift = 0x1.8p52; /* adding it rounds to an integer and leaves that in the low bits */
  const double     s     = t < kExpLow ? kExpLow : (t > kExpHigh ? kExpHigh : t);
  double           kd    = s * kLog2e + shift;
  std::uint64_t    ki;
  std::memcpy(&ki, &kd, 8);
  kd -= shift;
  const double r = (s - kd * kLn2High) - kd * kLn2Low;
  double       q = kExpPolynomial[0];
  for (int d = 1; d < 10; ++d) q = q * r + kExpPolynomial[d];
  q = r + (r * r) * q; /* e^r - 1 */
  q = 1.0 + q;
  std::uint64_t b;
  std::memcpy(&b, &q, 8);
  b += ki << 52;
  double e;
  std::memcpy(&e, &b, 8);
  e = t < kExpLow ? 0.0 : e;
  e = t > kExpHigh ? __builtin_inf() : e;
  return t == t ? e : t; /* NaN stays NaN */
}

/*
   The same in single precision for passes that are rough anyway, relative error at most 3e-7: e^r by a polynomial of degree 5 with the least relative error. t is
   taken into [-87, 88]; of NaN there is no saying what becomes.
*/
constexpr float kRoughLow = -87.0f, kRoughHigh = 88.0f, kRoughLn2High = 0x1.62e400p-1f, kRoughLn2Low = 0x1.7f7d1cp-20f;
constexpr float kRoughPolynomial[] = {0x1.0fe57ap-7f, 0x1.575f72p-5f, 0x1.555a1ap-3f, 0x1.fffd18p-2f, 0x1.fffff6p-1f, 0x1.000002p+0f};

__attribute__((always_inline)) inline float RoughExp(float t) noexcept
{
  constexpr float shift = 0x1.8p23f;
  float           s     = t > kRoughLow ? t : kRoughLow;
  s                     = s < kRoughHigh ? s : kRoughHigh;
  float         kd      = s * static_cast<float>(kLog2e) + shift;
  std::uint32_t ki, b;
  std::memcpy(&ki, &kd, 4);
  kd -= shift;
  const float r = (s - kd * kRoughLn2High) - kd * kRoughLn2Low;
  float       q = kRoughPolynomial[0];
  for (int d = 1; d < 6; ++d) q = q * r + kRoughPolynomial[d];
  std::memcpy(&b, &q, 4);
  b += ki << 23;
  std::memcpy(&q, &b, 4);
  return q;
}

} // namespace transport
} // namespace skean
