/* Whether a grid fits into memory, asked before the work begins */
#pragma once

#include <skean/private/skeanimpl.h>

namespace skean {

/* Not collective. Bytes that the kernel says are available on this node; infinite where it says nothing (no /proc/meminfo) */
double AvailableMemory();

/*
   Collective. PETSC_ERR_MEM if `shared` bytes divided by the processes and `each` bytes on every one of them are more than the kernel says is available (shared by
   the processes of a node); the message begins with `what` ("Reading and solving the grid of 10 points") and says how much is needed and on how many processes it would fit.
   Where the kernel says nothing (no /proc/meminfo) everything fits.
*/
PetscErrorCode CheckMemory(MPI_Comm comm, const char what[], double shared, double each);

} // namespace skean
