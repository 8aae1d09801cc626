/*
   Between the parsers (parse.hpp) and PETSc: files as all processes of a communicator see them, shares of text and of binary
   arrays, errors that all processes agree on, files that appear only when complete.

   Every function here that takes a communicator or an Opened is collective. A fault found by one process is carried in an Error and
   agreed on by Agree(), which shows the one that stands earliest in the file: no process is left waiting.
*/
#pragma once

#include <skean/private/skeanimpl.h>
#include <skeanio.h>
#include <functional>
#include "parse.hpp"

namespace skean {
namespace io {

/* Collective. If any process has failed, raises that error on all of them: the one with the smallest line or offset, then the lowest rank */
PetscErrorCode Agree(MPI_Comm comm, const std::string &file, const Error &mine);

/* An opened file: recognised, and its first bytes (decompressed) the same on every process */
struct Opened {
  MPI_Comm                   comm = MPI_COMM_NULL;
  std::string                path;     /* without :variable */
  std::string                variable; /* what followed the colon, or empty */
  bool                       gz       = false;
  std::int64_t               filesize = 0; /* of the file on the disk */
  Format                     format   = Format::Unknown;
  std::vector<unsigned char> head;
  bool                       complete = false; /* head is the whole file */
};
PetscErrorCode Open(MPI_Comm comm, const char name[], Opened &o);
/* Makes head longer */
PetscErrorCode GrowHead(Opened &o);
/* Runs a header parser on head, with more of it as long as it asks for more; parse(bytes, n, complete, err) */
PetscErrorCode ParseHead(Opened &o, const std::function<bool(const unsigned char *, std::size_t, bool, Error &)> &parse);
/* Raises err, which all processes have alike */
PetscErrorCode Raise(const Opened &o, const Error &err);
/* Whether an array that ends at byte `end` can be in the file */
bool FitsFile(const Opened &o, std::int64_t end, Error &err);

/* Where the values of rows [rstart, rstart+nrows) of a matrix with `rest` columns go: (i, r) to a[(i-rstart)*rs + r*cs] */
struct Target {
  PetscInt64 rstart = 0, nrows = 0, rest = 0;
  double    *a  = nullptr;
  PetscInt64 rs = 0, cs = 0;
};
/* Each process its rows; dims[0] are the rows */
PetscErrorCode ReadBinary(Opened &o, const Layout &a, const Target &t);

/* The lines of a text from byte `body` on, in shares: f(begin, end, line, seq, err) gets whole lines (spaces: whole words). seq numbers the shares in
   the order of the file, 0...*nseq-1. Lines count from 1 in a process's own count; *shift is what must be added for that of the file.
   Errors of f are agreed on. */
using ChunkFn = std::function<bool(const char *, const char *, std::int64_t, std::int64_t, Error &)>;
PetscErrorCode ForEachChunk(Opened &o, std::int64_t body, std::int64_t line0, bool spaces, const ChunkFn &f, std::int64_t *nseq, std::int64_t *shift);

/* Sends records of `width` doubles or int64 to the process that dest names; what arrives is appended to in, by source, in order */
struct Record {
  std::int64_t key, col;
  double       v;
};
PetscErrorCode Exchange(MPI_Comm comm, std::int64_t n, const std::function<Record(std::int64_t)> &get, const std::vector<std::int64_t> &ranges,
                        const std::function<void(const Record &)> &put);
PetscErrorCode RowRanges(MPI_Comm comm, PetscInt64 rstart, PetscInt64 nrows, std::vector<std::int64_t> &ranges);

/* HDF5 */
struct Hdf5Info {
  std::string               path; /* of the dataset or the sparse group */
  bool                      sparse = false, csc = false;
  std::vector<std::int64_t> dims; /* sparse: rows, columns */
  std::int64_t              nnz = 0;
  std::string               type, units, dimnames; /* dimnames: separated by blanks */
  double                    fill    = 0;
  bool                      hasfill = false;
};
PetscErrorCode Hdf5Inspect(Opened &o, Hdf5Info &info);
PetscErrorCode Hdf5Read(Opened &o, const std::string &path, const Target &t);
/* A small 1-D dataset on all processes; found = false if there is none of that name and length */
PetscErrorCode Hdf5ReadSmall(Opened &o, const std::string &path, std::int64_t n, std::vector<double> &v, bool *found, std::string *units);
PetscErrorCode Hdf5ReadSparse(Opened &o, const Hdf5Info &info, Coo &coo);
PetscErrorCode Hdf5GetAttribute(Opened &o, const std::string &key, std::string *value, bool *found);

/* A matrix of values in any dense format; text is parsed when it is opened */
struct Dense {
  std::vector<std::int64_t> dims;
  std::string               type        = "float64";
  enum Kind { Binary, Text, Hdf5 } kind = Binary;
  Layout   layout;
  Hdf5Info h5;
  /* text: this process's values, in pieces */
  std::vector<double>       values;
  std::vector<std::int64_t> start; /* per piece: number in the file of its first value; then first in values */
  std::vector<std::int64_t> first;
  bool                      columnmajor = false;
  MMHeader::Symmetry        symmetry    = MMHeader::General;
  /* NetCDF */
  NcHeader nc;
  NcVar    ncvar;
};
struct Sparse {
  std::int64_t M = 0, N = 0;
  std::string  type = "float64";
  Coo          coo; /* each process some entries, in no order */
  std::int64_t nnz = 0;
};
/* Opens what the file holds; one of them is filled. want: 0 as the file says, 1 sparse, 2 dense */
PetscErrorCode Contents(Opened &o, int want, bool allownan, bool headeronly, Dense &dense, Sparse &sparse, bool *issparse);
PetscErrorCode ReadDense(Opened &o, Dense &dense, const Target &t);

/* A file that appears under its name only when it is complete: write to Temp(), then Commit(); the destructor removes what was not committed */
class AtomicFile {
public:
  PetscErrorCode     Begin(MPI_Comm comm, const std::string &name);
  const std::string &Temp() const noexcept { return temp; }
  const std::string &Name() const noexcept { return name; } /* for messages: the user knows nothing of the other */
  /* Collective. Sets aside the space that the file will need, because not all libraries that write notice or survive a full disk; again after
     one that empties the file when it makes it. Unless the file system cannot do that (guaranteed, may be NULL), there is then no such error
     while writing. */
  PetscErrorCode Reserve(std::int64_t bytes, bool *guaranteed);
  /* Collective. Empties the file, so that a library that cannot close a file on a full disk can */
  PetscErrorCode Abandon();
  /* err: what this process met; agreed on. An error if the file is shorter than `least` bytes */
  PetscErrorCode Commit(const Error &err, std::int64_t least = 0);
  ~AtomicFile();

private:
  MPI_Comm    comm = MPI_COMM_NULL;
  std::string name, temp;
  bool        mine = false; /* this process (the first) removes */
};

/* key = value lines that go with every output: name, version, options, seed */
std::vector<std::pair<std::string, std::string>> Provenance(PetscObject obj);
bool                                             HasSuffix(const std::string &s, const char *suffix);
/* A message as one line */
std::string OneLine(const std::string &s);

} // namespace io
} // namespace skean
