/* Order of points along Morton's curve, within a process and over the processes */
#pragma once

#include <petscsys.h>
#include <cstdint>
#include <vector>

namespace skean {
namespace transport {

/* Raises box[2k], box[2k + 1] to the largest of -x and of x in coordinate k of points x[i*d + k] */
void BoxOf(PetscInt d, const std::vector<double> &x, double *box);
/* Collective. Lower corner and width of the cube around the boxes of all processes */
PetscErrorCode AgreeOnBox(MPI_Comm comm, PetscInt d, double *box, double *lo, double *width);

/* Keys of n points x[i*d + k] in the cube that begins at lo and is `width` wide: 63/d bits of every coordinate, interleaved, so that points with equal
   key >> s share a cell of a tree that halves the cube along one axis after another */
void MortonKeys(PetscInt d, PetscInt n, const double *x, const double *lo, double width, std::uint64_t *key);

/*
   Collective. Items, each a key and `width` numbers, move to where they belong when all are in the order of their keys and every process has the same share:
   to within one item, or (together) to within one run of equal keys, which are then all on one process. Items of equal keys keep the order of their
   processes and places. One Alltoallv after as many small Allreduces as a key has bits.
*/
PetscErrorCode SortByKey(MPI_Comm comm, size_t width, bool together, std::vector<std::uint64_t> &key, std::vector<double> &item);

} // namespace transport
} // namespace skean
