#include <skean/private/reduce.hpp>
#include <algorithm>
#include <cmath>

namespace skean {

PetscErrorCode AllreduceSum(MPI_Comm comm, double *buffer, size_t n)
{
  const size_t chunk = size_t(1) << 28;
  PetscMPIInt  size;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  if (size > 1) {
    for (size_t i = 0; i < n; i += chunk)
      PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, buffer + i, static_cast<int>(std::min(chunk, n - i)), MPI_DOUBLE, MPI_SUM, comm));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FlaggedSum::Reduce(MPI_Comm comm, bool failed, bool *anyfailed, bool vote, bool *agreed)
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  values[size]     = failed ? 1.0 : 0.0;
  values[size + 1] = (rank == 0 && vote) ? 1.0 : 0.0;
  PetscCall(AllreduceSum(comm, values.data(), size + 2));
  if (anyfailed) *anyfailed = values[size] != 0.0;
  if (agreed) *agreed = values[size + 1] != 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode AllgatherRanges(MPI_Comm comm, const PetscInt *ranges, const double *local, double *all)
{
  PetscMPIInt              size, rank;
  std::vector<PetscMPIInt> counts, first;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallCXX(counts.resize(size));
  PetscCallCXX(first.resize(size));
  for (PetscMPIInt p = 0; p < size; ++p) {
    PetscCall(PetscMPIIntCast(ranges[p], &first[p]));
    PetscCall(PetscMPIIntCast(ranges[p + 1] - ranges[p], &counts[p]));
  }
  PetscCallMPI(MPI_Allgatherv(local, counts[rank], MPI_DOUBLE, all, counts.data(), first.data(), MPI_DOUBLE, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

bool AllFinite(const double *x, size_t n) noexcept
{
  return std::all_of(x, x + n, [](double e) { return std::isfinite(e); });
}

PetscErrorCode AgreeAny(MPI_Comm comm, bool mine, bool *any)
{
  int f = mine ? 1 : 0, g = 0;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Allreduce(&f, &g, 1, MPI_INT, MPI_MAX, comm));
  *any = g != 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace skean
