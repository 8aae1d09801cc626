/* What is said of a type that is not in a class's list */
#pragma once

#include <skean/private/petsccompat.h>
#include <string>

namespace skean {

/* Collective error: PETSC_ERR_ARG_UNKNOWN_TYPE, with the types that there are */
inline PetscErrorCode UnknownType(MPI_Comm comm, const char what[], const char type[], PetscFunctionList list)
{
  const char **names;
  int          n;
  std::string  all;

  PetscFunctionBegin;
  PetscCall(PetscFunctionListGet(list, &names, &n));
  for (int k = 0; k < n && names[k]; ++k) PetscCallCXX(all += std::string(" ") + names[k]); /* PETSc counts a NULL at the end */
  PetscCall(PetscFree(names));
  SETERRQ(comm, PETSC_ERR_ARG_UNKNOWN_TYPE, "Unknown %s type: %s; there are:%s", what, type, all.c_str());
}

} // namespace skean
