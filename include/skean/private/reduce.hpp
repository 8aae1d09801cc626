/*
   One reduction per step that carries the values, the error flag of every process, and the vote of process 0.

   Two things carry failures. Sums that belong to one column (right-hand side) of several carry that column's: a NaN or Inf on one
   process makes the sum of all NaN or Inf, and only that column suffers. The flag carries what ends a step for all that is in it: a pass
   over the rows that met numbers that are not finite, or a breakdown that one process found in its copy of the replicated numbers of
   the step before. It turns a numerical failure on one process into the same verdict on all. The vote makes a decision that each process
   takes from its own copy of replicated numbers (which may differ in the last bit on unequal machines) the decision of process 0.
*/
#pragma once

#include <skean/private/skeanimpl.h>
#include <vector>

namespace skean {

/* In place sum over comm in chunks that fit MPI's int counts */
PetscErrorCode AllreduceSum(MPI_Comm comm, double *buffer, size_t n);

class FlaggedSum {
public:
  explicit FlaggedSum(size_t n) : values(n + 2, 0.0), size(n) {}
  double       *Data() noexcept { return values.data(); }
  const double *Data() const noexcept { return values.data(); }
  double       &operator[](size_t i) noexcept { return values[i]; }
  size_t        Size() const noexcept { return size; }
  void          Zero() noexcept { std::fill(values.begin(), values.end(), 0.0); }

  /* Collective: one MPI_Allreduce of Size() + 2 numbers.
     failed: this process met a numerical failure. anyfailed (may be NULL): some process did.
     vote: this process would stop; agreed (may be NULL): process 0 would. */
  PetscErrorCode Reduce(MPI_Comm comm, bool failed, bool *anyfailed, bool vote = false, bool *agreed = nullptr);

private:
  std::vector<double> values;
  size_t              size;
};

/*
   Sums of pairs over the processes, all in one reduction, with an error flag and the vote of process 0 as in FlaggedSum:
   for results that must be the same on any number of processes to twofold precision.
*/
class TwofoldSum {
public:
  explicit TwofoldSum(size_t n) : values(2 * (n + 2), 0.0), size(n) {}
  /* number i is hi(i) + lo(i) */
  double &Hi(size_t i) noexcept { return values[2 * i]; }
  double &Lo(size_t i) noexcept { return values[2 * i + 1]; }
  double *Data() noexcept { return values.data(); } /* pairs, interleaved */
  size_t  Size() const noexcept { return size; }

  /* Collective: one MPI_Allreduce of Size() + 2 pairs */
  PetscErrorCode Reduce(MPI_Comm comm, bool failed, bool *anyfailed, bool vote = false, bool *agreed = nullptr);

private:
  std::vector<double> values;
  size_t              size;
};

/* All of a vector on every process; that of process p has entries ranges[p], ..., ranges[p + 1] - 1. One MPI_Allgatherv. */
PetscErrorCode AllgatherRanges(MPI_Comm comm, const PetscInt *ranges, const double *local, double *all);

/* What a pass left in a buffer that is to be summed: no NaN, no Inf */
bool AllFinite(const double *x, size_t n) noexcept;

/* Collective check of something that may be wrong on one process only: the same true or false everywhere */
PetscErrorCode AgreeAny(MPI_Comm comm, bool mine, bool *any);

} // namespace skean
