/*
   Checkpoints: one file with named sections, written by any number of processes and read by any other number.

     CheckpointWriter w;
     PetscCall(w.Open(comm, file, "SkeanStream"));
     PetscCall(w.PutInt("step", step));
     PetscCall(w.PutVec("solution", x));
     PetscCall(w.Close());                      // only now the file is there, and the one before it gone

     CheckpointReader r;
     PetscCall(r.Open(comm, file, "SkeanStream"));
     PetscCall(r.GetInt("step", &step));
     PetscCall(r.GetVec("solution", x));

   All functions are collective. Scalars, strings and arrays are those of the first process and come back the same on all; vectors and
   row blocks are distributed, in global order, so that the file does not depend on who had what. Sizes are 64 bit.

   Format, all numbers little endian: 8 bytes "SKEANCP1"; then sections, each
     u32 "SECT", u32 kind, u64 length of the name, u64 rows, u64 width (bytes of a row), u32 CRC of the 32 bytes before and of the name,
     the name, rows*width bytes of data, u32 CRC of the data
   and a last section of kind End with the number of sections as its rows. A CRC is zlib's CRC-32. The sections class, version and options
   come first. Rows of doubles and integers are swapped on big-endian machines.
*/
#pragma once

#include <skean/private/skeanimpl.h>
#include <petscvec.h>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace skean {

struct CheckpointState; /* the open file */

class CheckpointWriter {
public:
  CheckpointWriter();
  ~CheckpointWriter(); /* without Close(): what was written is removed */
  CheckpointWriter(const CheckpointWriter &)            = delete;
  CheckpointWriter &operator=(const CheckpointWriter &) = delete;

  PetscErrorCode Open(MPI_Comm comm, const std::string &file, const std::string &cls);
  PetscErrorCode PutInt(const std::string &name, std::int64_t value);
  PetscErrorCode PutReal(const std::string &name, double value);
  PetscErrorCode PutString(const std::string &name, const std::string &value);
  PetscErrorCode PutReals(const std::string &name, const std::vector<double> &values);
  PetscErrorCode PutInts(const std::string &name, const std::vector<std::int64_t> &values);
  PetscErrorCode PutVec(const std::string &name, Vec v);
  /* nrows local rows of `width` doubles each, contiguous; rows of all processes in rank order */
  PetscErrorCode PutRows(const std::string &name, const double *a, std::int64_t nrows, std::int64_t width);
  PetscErrorCode Close();

private:
  PetscErrorCode                   Put(const std::string &name, int kind, const void *data, std::int64_t rows, std::int64_t width, bool distributed);
  std::unique_ptr<CheckpointState> s;
};

class CheckpointReader {
public:
  CheckpointReader();
  ~CheckpointReader();
  CheckpointReader(const CheckpointReader &)            = delete;
  CheckpointReader &operator=(const CheckpointReader &) = delete;

  /* Checks the whole file: every checksum, and that it is of this class (cls empty: any). Errors name the file, the section and the byte */
  PetscErrorCode Open(MPI_Comm comm, const std::string &file, const std::string &cls);
  bool           Has(const std::string &name) const;
  PetscErrorCode GetInt(const std::string &name, std::int64_t *value);
  PetscErrorCode GetReal(const std::string &name, double *value);
  PetscErrorCode GetString(const std::string &name, std::string *value);
  PetscErrorCode GetReals(const std::string &name, std::vector<double> *values);
  PetscErrorCode GetInts(const std::string &name, std::vector<std::int64_t> *values);
  /* v has its layout; its global size must be that of the file */
  PetscErrorCode GetVec(const std::string &name, Vec v);
  PetscErrorCode GetRowsSize(const std::string &name, std::int64_t *rows, std::int64_t *width);
  PetscErrorCode GetRows(const std::string &name, double *a, std::int64_t nrows, std::int64_t width);
  PetscErrorCode Close();

private:
  PetscErrorCode                   Get(const std::string &name, int kind, std::vector<unsigned char> *data);
  std::unique_ptr<CheckpointState> s;
};

/*
   A latch for SIGTERM and SIGUSR1, which batch systems send before the kill. Handlers are installed by the first SignalLatchBegin() and the
   ones before them restored by the last SignalLatchEnd(). The latch is local to a process: put it into the next reduction.
*/
PetscErrorCode SignalLatchBegin();
PetscErrorCode SignalLatchEnd();
/* The number of the signal that came since SignalLatchBegin(), or 0 */
int SignalLatchGet();
/* Forgets it */
void SignalLatchClear();

} // namespace skean
