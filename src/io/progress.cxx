/* See progress.hpp */
#include <skean/private/progress.hpp>
#include <cstdio>

namespace skean {

Progress::Progress(MPI_Comm comm, PetscViewer v, const char p[], PetscInt64 t, double s) : phase(p), total(t), seconds(s)
{
  int rank = 1;
  MPI_Comm_rank(comm, &rank);
  if (!rank) viewer = v;
  start = MPI_Wtime();
  next  = start + seconds;
}

PetscErrorCode Progress::Print(PetscInt64 d, double now, bool last)
{
  std::FILE *f = NULL;
  PetscBool  ascii;

  PetscFunctionBegin;
  PetscCall(PetscObjectTypeCompare((PetscObject)viewer, PETSCVIEWERASCII, &ascii));
  if (!ascii) PetscFunctionReturn(PETSC_SUCCESS);
  /* not PetscViewerASCIIPrintf(), which is collective; the first process of a viewer has its file */
  PetscCall(PetscViewerASCIIGetPointer(viewer, &f));
  if (!f) PetscFunctionReturn(PETSC_SUCCESS);
  const double used = now - start;
  if (last)
    std::fprintf(f, "%s: done in %.1f s\n", phase, used);
  else if (total > 0 && d > 0) {
    const double part = d < total ? static_cast<double>(d) / static_cast<double>(total) : 1.0;
    std::fprintf(f, "%s: %lld of %lld (%.0f %%), %.0f s, about %.0f s to go\n", phase, static_cast<long long>(d), static_cast<long long>(total), 100 * part,
                 used, used * (1 - part) / part);
  } else
    std::fprintf(f, "%s: %lld, %.0f s\n", phase, static_cast<long long>(d), used);
  std::fflush(f);
  printed = true;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Progress::Update(PetscInt64 d)
{
  PetscFunctionBegin;
  done = d;
  if (!viewer) PetscFunctionReturn(PETSC_SUCCESS);
  const double now = MPI_Wtime();
  if (now >= next) {
    PetscCall(Print(d, now, false));
    next = now + seconds;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Progress::Done()
{
  PetscFunctionBegin;
  if (!viewer) PetscFunctionReturn(PETSC_SUCCESS);
  const double now = MPI_Wtime();
  if (printed || now >= start + seconds) PetscCall(Print(done, now, true));
  viewer = nullptr;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscViewer &ReadMonitor()
{
  static PetscViewer viewer = nullptr;
  return viewer;
}

} // namespace skean
