/*
   Sparse sketches: zeta nonzeros +-1/sqrt(zeta) in each column of S (Nelson & Nguyen, FOCS 2013, OSNAP; zeta = 1: CountSketch, Clarkson & Woodruff,
   STOC 2013). Two ways to place them: distinct rows of all m (sign), or one row in each of zeta pieces (stack; Camano, Epperly, Meyer & Tropp, 2025).
*/
#pragma once

#include "panel.hpp"
#include <skean/private/random.hpp>

namespace skean {

struct SparseHash {
  std::uint32_t m = 0, zeta = 0;
  bool          stack = false; /* one nonzero in each of zeta pieces, not distinct rows of all m */
  RandomStream  rows, signs;

  SparseHash() = default;
  SparseHash(std::int64_t seed, std::uint32_t draw, std::uint32_t m, std::uint32_t zeta, bool stack)
      : m(m), zeta(zeta), stack(stack), rows(seed, Purpose::HashRows, draw), signs(seed, Purpose::Signs, draw)
  {
  }
  /* key[i zeta + k] = 2 row + (1 if the sign is negative) of nonzero k of column j0 + i of S, for i < n */
  void Columns(std::uint64_t j0, size_t n, std::uint32_t *key) const;
};

/* SA += S(:, rows of A) A, SA column major with leading dimension m; throws std::bad_alloc */
void SparseSketchApply(const SparseHash &hash, const RowView &A, double *SA);

} // namespace skean
