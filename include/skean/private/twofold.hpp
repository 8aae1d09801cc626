/*
   Twofold precision: numbers kept as unevaluated sums hi + lo of two doubles, by error-free transformations.
     TwoSum   Knuth 1969; TwoProd with a fused multiply-add; dot products as Dot2 of Ogita, Rump & Oishi, SIAM J. Sci. Comput. 26 (2005).

   Only for files compiled with -ffp-contract=off and without value-changing optimisation (see src/ksp/sketch/CMakeLists.txt): a
   contracted product or a reassociated sum is no longer error free.
*/
#pragma once

#include <skean/private/skeanimpl.h>

#if defined(__FAST_MATH__)
  #error "Error-free transformations need IEEE arithmetic: compile without -ffast-math"
#endif

namespace skean {

/* s + e = a + b exactly, s = fl(a + b) */
__attribute__((always_inline)) inline double TwoSum(double a, double b, double &e)
{
  const double s = a + b, z = s - a;
  e = (a - (s - z)) + (b - z);
  return s;
}
/* p + e = a b exactly (no underflow), p = fl(a b). The builtin is one instruction in the machine versions that have it. */
__attribute__((always_inline)) inline double TwoProd(double a, double b, double &e)
{
  const double p = a * b;
  e              = __builtin_fma(a, b, -p);
  return p;
}
/* hi + lo <- hi + lo + p + e, normalised; two roundings, of size u |e| and u times what p adds to hi's error */
__attribute__((always_inline)) inline void AddTwofold(double &hi, double &lo, double p, double e)
{
  double       t, v;
  const double s = TwoSum(hi, p, t);
  v              = lo + (t + e);
  hi             = TwoSum(s, v, lo);
}

} // namespace skean
