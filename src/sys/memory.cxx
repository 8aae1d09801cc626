#include <skean/private/memory.hpp>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>

namespace skean {

double AvailableMemory()
{
  std::ifstream info("/proc/meminfo");
  std::string   key;
  double        kb = 0;

  while (info >> key)
    if (key == "MemAvailable:" && info >> kb) return 1024 * kb;
  return std::numeric_limits<double>::infinity();
}

PetscErrorCode CheckMemory(MPI_Comm comm, const char what[], double shared, double each)
{
  double      available = AvailableMemory(), least;
  MPI_Comm    node;
  PetscMPIInt nnode, size;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  PetscCallMPI(MPI_Comm_size(node, &nnode));
  PetscCallMPI(MPI_Comm_free(&node));
  available /= nnode;
  PetscCallMPI(MPI_Allreduce(&available, &least, 1, MPI_DOUBLE, MPI_MIN, comm));
  if (shared / size + each <= least) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(each < least, comm, PETSC_ERR_MEM,
             "%s needs %.3g GB on each process whatever their number, %.3g GB are available there: no number of processes is enough", what, each / 1e9,
             least / 1e9);
  SETERRQ(comm, PETSC_ERR_MEM,
          "%s needs %.3g GB on each of %d processes, %.3g GB are available there; with the same memory it would fit on %.0f processes or more", what,
          (shared / size + each) / 1e9, size, least / 1e9, std::ceil(shared / (least - each)));
}

} // namespace skean
