/* SkeanGridLoadFile() for drivers that ask more of a file */
#pragma once

#include <skean/private/skeanimpl.h>
#include <skeanio.h>
#include <functional>
#include <string>

namespace skean {

/*
   Collective. fits is called on every process when the sizes are known, before there are values (those of text are), and may refuse them.
   undeclared (may be NULL): the same on every process, empty, or what is wrong where a NetCDF or HDF5 file holds NaN and does not say that NaN is a missing value. It is
   taken for one; formats that cannot say what is missing have no other way to.
*/
PetscErrorCode GridLoadFile(MPI_Comm comm, const char name[], const std::function<PetscErrorCode(PetscInt, const PetscInt[])> &fits, SkeanGrid *grid,
                            std::string *undeclared);

} // namespace skean
