#include <skean/private/reduce.hpp>
#include <skean/private/twofold.hpp>
#include <algorithm>

namespace skean {

extern "C" {
/* MPI's signature; pairs (hi, lo). TwoSum commutes, so the order of two operands does not matter */
static void SkeanTwofoldAdd(void *in, void *inout, int *n, MPI_Datatype *)
{
  const double *a = static_cast<const double *>(in);
  double       *b = static_cast<double *>(inout);
  for (int i = 0; i < *n; ++i) {
    double       t;
    const double s = TwoSum(b[2 * i], a[2 * i], t), v = (b[2 * i + 1] + a[2 * i + 1]) + t;
    b[2 * i] = TwoSum(s, v, b[2 * i + 1]);
  }
}
}

PetscErrorCode TwofoldSum::Reduce(MPI_Comm comm, bool failed, bool *anyfailed, bool vote, bool *agreed)
{
  PetscMPIInt rank, processes;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &processes));
  Hi(size)     = failed ? 1.0 : 0.0;
  Hi(size + 1) = (rank == 0 && vote) ? 1.0 : 0.0;
  if (processes > 1) {
    const size_t chunk = size_t(1) << 28, n = size + 2;
    MPI_Op       op;
    MPI_Datatype pair;
    PetscCallMPI(MPI_Type_contiguous(2, MPI_DOUBLE, &pair));
    PetscCallMPI(MPI_Type_commit(&pair));
    PetscCallMPI(MPI_Op_create(SkeanTwofoldAdd, 1, &op));
    for (size_t i = 0; i < n; i += chunk)
      PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, values.data() + 2 * i, static_cast<int>(std::min(chunk, n - i)), pair, op, comm));
    PetscCallMPI(MPI_Op_free(&op));
    PetscCallMPI(MPI_Type_free(&pair));
  }
  if (anyfailed) *anyfailed = Hi(size) != 0.0;
  if (agreed) *agreed = Hi(size + 1) != 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace skean
