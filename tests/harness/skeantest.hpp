/*
   GoogleTest under MPI.

   - EXPECT_* is free to fail on one process: the harness gathers the failures of all processes after each test.
   - A failure that must end the test has to be agreed first, or the others hang in the next collective:
     ASSERT_PETSC(call), ASSERT_ALL(condition).
*/
#pragma once

#include <skean.h>
#include <skean/private/petsccompat.h>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace skeantest {
inline PetscMPIInt Rank()
{
  PetscMPIInt r;
  MPI_Comm_rank(PETSC_COMM_WORLD, &r);
  return r;
}
inline PetscMPIInt Size()
{
  PetscMPIInt s;
  MPI_Comm_size(PETSC_COMM_WORLD, &s);
  return s;
}
inline bool AllTrue(bool mine)
{
  int a = mine ? 1 : 0, b = 0;
  MPI_Allreduce(&a, &b, 1, MPI_INT, MPI_MIN, PETSC_COMM_WORLD);
  return b != 0;
}
/* Path of a file of the real data, or "" where the folder is not given or the file is missing (the test then skips) */
std::string DataFile(const std::string &name);
/* A folder for files that a test writes, the same on all processes, emptied when the program ends */
std::string ScratchDir();
/* Runs f with PETSc's error handler silenced and its text kept; returns the error code. */
template <class F>
PetscErrorCode     ErrorOf(F f, std::string *message = nullptr);
extern std::string LastErrorMessage;
PetscErrorCode     RecordError(MPI_Comm, int, const char *, const char *, PetscErrorCode, PetscErrorType, const char *, void *);

template <class F>
PetscErrorCode ErrorOf(F f, std::string *message)
{
  LastErrorMessage.clear();
  PetscPushErrorHandler(RecordError, nullptr);
  PetscErrorCode e = f();
  PetscPopErrorHandler();
  if (message) *message = LastErrorMessage;
  return e;
}
} // namespace skeantest

/* A call that must succeed on every process; otherwise every process leaves the test */
#define ASSERT_PETSC(...)                                                              \
  do {                                                                                 \
    const PetscErrorCode ierr_test_ = __VA_ARGS__;                                     \
    const bool           all_test_  = skeantest::AllTrue(ierr_test_ == PETSC_SUCCESS); \
    EXPECT_EQ(ierr_test_, PETSC_SUCCESS) << #__VA_ARGS__;                              \
    if (!all_test_) GTEST_FAIL() << "another process failed in " << #__VA_ARGS__;      \
  } while (0)
#define ASSERT_ALL(cond)                                                    \
  do {                                                                      \
    const bool mine_test_ = static_cast<bool>(cond);                        \
    const bool all_test_  = skeantest::AllTrue(mine_test_);                 \
    EXPECT_TRUE(mine_test_) << #cond;                                       \
    if (!all_test_) GTEST_FAIL() << "not true on every process: " << #cond; \
  } while (0)
/* Skips on every process with a reason */
#define SKIP_WITHOUT_DATA(file)                                                     \
  do {                                                                              \
    if ((file).empty()) GTEST_SKIP() << "real data not found (set SKEAN_DATA_DIR)"; \
  } while (0)
