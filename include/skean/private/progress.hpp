/*
   Progress of long work that is not an iteration of a solver (reading, setting up): the name of the phase and how much is done,
   on the first process, at most once a second, to a viewer that the user asked for.

     Progress p(comm, viewer, "reading rows", nrows);    // viewer NULL: silent
     for (...) PetscCall(p.Update(i));                   // cheap, no communication
     PetscCall(p.Done());
*/
#pragma once

#include <skean/private/skeanimpl.h>
#include <string>

namespace skean {

class Progress {
public:
  Progress(MPI_Comm comm, PetscViewer viewer, const char phase[], PetscInt64 total, double seconds = 1.0);
  /* done of total; on any process, only the first prints. total 0: not known */
  PetscErrorCode Update(PetscInt64 done);
  /* Prints the last line if any was printed before, or if the work took longer than the interval */
  PetscErrorCode Done();

private:
  PetscErrorCode Print(PetscInt64 done, double now, bool last);
  PetscViewer    viewer = nullptr; /* NULL on all but the first process */
  const char    *phase;
  PetscInt64     total, done    = 0;
  double         seconds, start = 0, next = 0;
  bool           printed = false;
};

/* Where the readers of files show their progress; NULL, as it begins: nowhere. Only drivers set it, for their -monitor */
PetscViewer &ReadMonitor();

} // namespace skean
