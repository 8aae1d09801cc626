/* Many random blocks at once, vectorised; the same numbers as RandomStream gives one by one */
#pragma once

#include "panel.hpp"
#include <skean/private/random.hpp>

namespace skean {

/* word[c][i] = Bits(index + i dindex, k + i dk)[c] for i < n; the four arrays have n entries each */
void PhiloxMany(const RandomStream &stream, std::uint64_t index, std::uint64_t dindex, std::uint64_t k, std::uint64_t dk, size_t n,
                std::uint32_t *const word[4]);

/* z[i] = scale Normal(index, i) for i < n, to rounding (the logarithm, sine and cosine are polynomials here) */
void NormalsMany(const RandomStream &stream, std::uint64_t index, size_t n, double scale, double *z);

} // namespace skean
