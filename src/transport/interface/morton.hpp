/* Order of points along Morton's curve, within a process and over the processes */
#pragma once

#include <petscsys.h>
#include <cstdint>
#include <vector>

namespace skean {
namespace transport {

/* Bits of a key: with d coordinates each has 63/d bits, the first axis the highest */
inline int MortonBits(PetscInt d)
{
  return static_cast<int>(63 / d) * static_cast<int>(d);
}

/* Keys of n points x[i*d + k] in the cube that begins at lo and is `width` wide: points with equal key >> s share a cell, halved MortonBits(d) - s times */
void MortonKeys(PetscInt d, PetscInt n, const double *x, const double *lo, double width, std::uint64_t *key);

/*
   Collective. Items, each a key and `width` numbers, move to where they belong when all are in the order of their keys and every process has the same share:
   to within one item, or (together) to within one run of equal keys, which are then all on one process. Items of equal keys keep the order of their
   processes and places. One Alltoallv after as many small Allreduces as a key has bits.
*/
PetscErrorCode SortByKey(MPI_Comm comm, size_t width, bool together, std::vector<std::uint64_t> &key, std::vector<double> &item);

} // namespace transport
} // namespace skean
