/* Files in parallel: opening and recognising, shares of text and arrays, agreed errors, atomic output; see ioimpl.hpp */
#include "ioimpl.hpp"
#include <skean/private/progress.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <new>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zlib.h>

namespace skean {
namespace io {

static PetscErrorCode CodeOf(Why why)
{
  switch (why) {
  case Why::Ok:
    return PETSC_SUCCESS;
  case Why::Open:
    return PETSC_ERR_FILE_OPEN;
  case Why::Read:
    return PETSC_ERR_FILE_READ;
  case Why::Unsupported:
    return PETSC_ERR_SUP;
  case Why::TooLarge:
    return PETSC_ERR_ARG_OUTOFRANGE;
  default:
    return PETSC_ERR_FILE_UNEXPECTED;
  }
}

std::string OneLine(const std::string &s)
{
  std::string t = s;
  for (char &c : t)
    if (c == '\n' || c == '\r') c = ' ';
  return t;
}

PetscErrorCode Agree(MPI_Comm comm, const std::string &file, const Error &mine)
{
  PetscMPIInt  rank, size;
  const auto   none = std::numeric_limits<std::int64_t>::max();
  std::int64_t key  = none, first;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  if (mine.Failed()) key = mine.line >= 0 ? mine.line : std::max<std::int64_t>(0, mine.offset);
  PetscCallMPI(MPI_Allreduce(&key, &first, 1, MPI_INT64_T, MPI_MIN, comm));
  if (first == none) PetscFunctionReturn(PETSC_SUCCESS);
  int who = key == first ? rank : size, root;
  PetscCallMPI(MPI_Allreduce(&who, &root, 1, MPI_INT, MPI_MIN, comm));
  char text[1024] = "";
  int  code       = static_cast<int>(CodeOf(mine.why));
  if (rank == root) PetscCall(PetscSNPrintf(text, sizeof(text), "%s: %s", file.c_str(), OneLine(mine.Where()).c_str()));
  PetscCallMPI(MPI_Bcast(&code, 1, MPI_INT, root, comm));
  PetscCallMPI(MPI_Bcast(text, sizeof(text), MPI_CHAR, root, comm));
  SETERRQ(comm, static_cast<PetscErrorCode>(code), "%s", text);
}

PetscErrorCode Raise(const Opened &o, const Error &err)
{
  PetscFunctionBegin;
  if (err.Failed()) SETERRQ(o.comm, CodeOf(err.why), "%s: %s", o.path.c_str(), OneLine(err.Where()).c_str());
  PetscFunctionReturn(PETSC_SUCCESS);
}

namespace {
/* A descriptor that closes itself */
struct Descriptor {
  int fd = -1;
  ~Descriptor()
  {
    if (fd >= 0) close(fd);
  }
  bool Open(const std::string &path, Error &err)
  {
    fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    return fd >= 0 || err.Set(Why::Open, std::string("cannot open for reading: ") + std::strerror(errno));
  }
  /* exactly n bytes */
  bool Read(void *buffer, std::size_t n, std::int64_t offset, Error &err)
  {
    auto *p = static_cast<char *>(buffer);
    while (n) {
      const ssize_t r = pread(fd, p, n, static_cast<off_t>(offset));
      if (r < 0 && errno == EINTR) continue;
      if (r < 0) return err.Set(Why::Read, std::string("cannot read: ") + std::strerror(errno), -1, offset);
      if (r == 0) return err.Set(Why::Malformed, "the file ends before its data does", -1, offset);
      p += r;
      offset += r;
      n -= static_cast<std::size_t>(r);
    }
    return true;
  }
};

/* Decompression from the start, forwards only */
struct Inflater {
  gzFile       f  = nullptr;
  std::int64_t at = 0;
  ~Inflater()
  {
    if (f) gzclose_r(f);
  }
  bool Open(const std::string &path, Error &err)
  {
    f = gzopen(path.c_str(), "rbe");
    if (!f) return err.Set(Why::Open, std::string("cannot open for reading: ") + std::strerror(errno));
    gzbuffer(f, 1u << 18);
    return true;
  }
  /* up to n bytes; fewer only at the end of the file. -1: damaged */
  std::int64_t Read(void *buffer, std::size_t n, Error &err)
  {
    auto        *p    = static_cast<char *>(buffer);
    std::int64_t done = 0;
    while (n) {
      const int r = gzread(f, p, static_cast<unsigned>(std::min<std::size_t>(n, 1u << 30)));
      if (r <= 0) {
        int         e    = Z_OK;
        const char *text = gzerror(f, &e);
        if (r < 0 || (e != Z_OK && e != Z_STREAM_END)) {
          err.Set(Why::Malformed, e == Z_BUF_ERROR ? "the compressed data ends early (truncated .gz)" : std::string("the compressed data is damaged: ") + text,
                  -1, at);
          return -1;
        }
        break;
      }
      p += r;
      at += r;
      done += r;
      n -= static_cast<std::size_t>(r);
    }
    return done;
  }
  bool Exactly(void *buffer, std::size_t n, Error &err)
  {
    const std::int64_t r = Read(buffer, n, err);
    if (r < 0) return false;
    return r == static_cast<std::int64_t>(n) || err.Set(Why::Malformed, "the file ends before its data does", -1, at);
  }
  bool SkipTo(std::int64_t offset, Error &err)
  {
    std::vector<char> trash(1 << 16);
    while (at < offset)
      if (!Exactly(trash.data(), static_cast<std::size_t>(std::min<std::int64_t>(offset - at, 1 << 16)), err)) return false;
    return true;
  }
};

const std::size_t HeadBytes    = 1 << 16;
const std::size_t MaxHeadBytes = 1 << 26;

/* The first n bytes, decompressed; on one process */
bool ReadHead(const std::string &path, bool gz, std::int64_t filesize, std::size_t n, std::vector<unsigned char> &head, bool *complete, Error &err)
{
  if (gz) {
    Inflater z;
    if (!z.Open(path, err)) return false;
    head.resize(n + 1);
    const std::int64_t got = z.Read(head.data(), n + 1, err);
    if (got < 0) return false;
    *complete = got <= static_cast<std::int64_t>(n);
    head.resize(std::min(n, static_cast<std::size_t>(got)));
    return true;
  }
  Descriptor d;
  if (!d.Open(path, err)) return false;
  n = std::min(n, static_cast<std::size_t>(filesize));
  head.resize(n);
  *complete = static_cast<std::int64_t>(n) == filesize;
  return d.Read(head.data(), n, 0, err);
}

PetscErrorCode BcastString(MPI_Comm comm, std::string &s)
{
  int n = static_cast<int>(s.size());

  PetscFunctionBegin;
  PetscCallMPI(MPI_Bcast(&n, 1, MPI_INT, 0, comm));
  s.resize(static_cast<std::size_t>(n));
  PetscCallMPI(MPI_Bcast(&s[0], n, MPI_CHAR, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode BcastHead(Opened &o)
{
  std::int64_t meta[2] = {static_cast<std::int64_t>(o.head.size()), o.complete};

  PetscFunctionBegin;
  PetscCallMPI(MPI_Bcast(meta, 2, MPI_INT64_T, 0, o.comm));
  o.head.resize(static_cast<std::size_t>(meta[0]));
  o.complete = meta[1] != 0;
  PetscCallMPI(MPI_Bcast(o.head.data(), static_cast<int>(meta[0]), MPI_BYTE, 0, o.comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

bool HasSuffix(const std::string &s, const char *suffix)
{
  const std::size_t n = std::strlen(suffix);
  if (s.size() < n) return false;
  for (std::size_t k = 0; k < n; ++k) {
    char c = s[s.size() - n + k];
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c != suffix[k]) return false;
  }
  return true;
}

/* On one process: finds the file, its size and its format */
static bool OpenHere(const std::string &name, Opened &o, Error &err)
{
  struct stat st;
  o.path = name;
  if (stat(name.c_str(), &st)) {
    const int e = errno;
    /* file:variable */
    bool found = false;
    for (std::size_t c = name.find(':', 1); c != std::string::npos && !found; c = name.find(':', c + 1)) {
      if (c + 1 < name.size() && !stat(name.substr(0, c).c_str(), &st)) {
        o.path     = name.substr(0, c);
        o.variable = name.substr(c + 1);
        found      = true;
      }
    }
    if (!found) return err.Set(Why::Open, std::string("cannot open for reading: ") + std::strerror(e));
  }
  if (S_ISDIR(st.st_mode)) return err.Set(Why::Open, "is a directory, not a file");
  if (!S_ISREG(st.st_mode)) return err.Set(Why::Open, "is not a regular file");
  o.filesize = st.st_size;
  if (!o.filesize) return err.Set(Why::Malformed, "the file is empty");
  if (!ReadHead(o.path, false, o.filesize, HeadBytes, o.head, &o.complete, err)) return false;
  o.gz = IsGzip(o.head.data(), o.head.size());
  if (o.gz && !ReadHead(o.path, true, o.filesize, HeadBytes, o.head, &o.complete, err)) return false;
  if (o.head.empty()) return err.Set(Why::Malformed, "the compressed file is empty");
  o.format = Sniff(o.head.data(), o.head.size());
  if (o.format == Format::Unknown) {
    const std::string bare = o.gz && HasSuffix(o.path, ".gz") ? o.path.substr(0, o.path.size() - 3) : o.path;
    const struct {
      const char *suffix;
      Format      format;
    } suffixes[]  = {{".mtx", Format::MatrixMarket}, {".mm", Format::MatrixMarket}, {".h5", Format::Hdf5}, {".hdf5", Format::Hdf5}, {".npy", Format::Npy},
                     {".nc", Format::Netcdf},        {".cdf", Format::Netcdf},      {".pgm", Format::Pnm}, {".ppm", Format::Pnm},   {".csv", Format::Csv},
                     {".tsv", Format::Csv},          {".txt", Format::Csv},         {".dat", Format::Csv}};
    Format byname = Format::Unknown;
    for (const auto &s : suffixes)
      if (HasSuffix(bare, s.suffix)) byname = s.format;
    const bool text = LooksLikeText(o.head.data(), o.head.size());
    if (byname != Format::Unknown && byname != Format::Csv)
      return err.Set(Why::Malformed,
                     std::string("is not a ") + FormatName(byname) + " file, although its name says so: its first bytes are not those of that format");
    if (!text)
      return err.Set(Why::Malformed, byname == Format::Csv
                                       ? "is not a text file, although its name says so"
                                       : "unknown format; known are Matrix Market, PETSc binary, HDF5, NumPy, CSV, IDX, PGM/PPM and NetCDF classic");
    o.format = Format::Csv;
  }
  if (o.gz && o.format == Format::Hdf5) return err.Set(Why::Unsupported, "HDF5 files compressed with gzip cannot be read; decompress it first (gunzip)");
  return true;
}

PetscErrorCode Open(MPI_Comm comm, const char name[], Opened &o)
{
  PetscMPIInt rank;
  Error       err;

  PetscFunctionBegin;
  PetscCheck(name && *name, comm, PETSC_ERR_ARG_NULL, "No file name");
  o.comm = comm;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (!rank) OpenHere(name, o, err);
  PetscCall(Agree(comm, name, err));
  PetscCall(BcastString(comm, o.path));
  PetscCall(BcastString(comm, o.variable));
  std::int64_t meta[3] = {o.gz, o.filesize, static_cast<std::int64_t>(o.format)};
  PetscCallMPI(MPI_Bcast(meta, 3, MPI_INT64_T, 0, comm));
  o.gz       = meta[0] != 0;
  o.filesize = meta[1];
  o.format   = static_cast<Format>(meta[2]);
  PetscCall(BcastHead(o));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode GrowHead(Opened &o)
{
  PetscMPIInt rank;
  Error       err;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(o.comm, &rank));
  if (o.head.size() >= MaxHeadBytes)
    err.Set(Why::Malformed, "the header is longer than 64 MB");
  else if (!rank)
    ReadHead(o.path, o.gz, o.filesize, std::min(MaxHeadBytes, 8 * o.head.size()), o.head, &o.complete, err);
  PetscCall(Agree(o.comm, o.path, err));
  PetscCall(BcastHead(o));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode ParseHead(Opened &o, const std::function<bool(const unsigned char *, std::size_t, bool, Error &)> &parse)
{
  PetscFunctionBegin;
  for (;;) {
    Error err;
    parse(o.head.data(), o.head.size(), o.complete, err);
    if (err.why == Why::NeedMore && !o.complete) {
      PetscCall(GrowHead(o));
      continue;
    }
    PetscCall(Raise(o, err));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
}

bool FitsFile(const Opened &o, std::int64_t end, Error &err)
{
  /* deflate makes at most 1032 bytes of one */
  const std::int64_t most = o.gz ? (o.filesize > (std::int64_t(1) << 50) ? std::numeric_limits<std::int64_t>::max() : o.filesize * 1040) : o.filesize;
  if (end <= most) return true;
  return err.Set(Why::Malformed, "the header declares data up to byte " + std::to_string(end) + ", but the file has " + std::to_string(o.filesize) +
                                   (o.gz ? " (compressed)" : "") + " bytes");
}

PetscErrorCode RowRanges(MPI_Comm comm, PetscInt64 rstart, PetscInt64 nrows, std::vector<std::int64_t> &ranges)
{
  PetscMPIInt  size;
  std::int64_t end = rstart + nrows;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  ranges.assign(static_cast<std::size_t>(size) + 1, 0);
  PetscCallMPI(MPI_Allgather(&end, 1, MPI_INT64_T, ranges.data() + 1, 1, MPI_INT64_T, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ------------------------------------------------------ binary arrays ------------------------------------------------------ */

/* C-order index of the trailing dimensions from their Fortran-order index */
static std::int64_t FortranToC(const std::vector<std::int64_t> &dims, std::int64_t f)
{
  std::int64_t c = 0, stride = 1, idx[32];
  for (std::size_t d = 1; d < dims.size(); ++d) {
    idx[d] = f % dims[d];
    f /= dims[d];
  }
  for (std::size_t d = dims.size(); d-- > 1;) {
    c += idx[d] * stride;
    stride *= dims[d];
  }
  return c;
}

static const std::int64_t BlockElems = 1 << 17;

/* A block of the file's order: C order rows [i0,i1) x rest [r0,r1); Fortran order columns [r0,r1) x rows [i0,i1) */
struct Block {
  std::int64_t i0, i1, r0, r1, offset;
};
/* The blocks of rows [from, to), in the order of the file, each at most BlockElems elements and contiguous in the file */
static void Blocks(const Layout &a, std::int64_t from, std::int64_t to, const std::function<bool(const Block &)> &f)
{
  const std::int64_t es = static_cast<std::int64_t>(ElemSize(a.elem)), rest = a.Rest();
  if (from >= to || !rest) return;
  if (!a.fortran) {
    const std::int64_t nrows = a.slice == rest * es ? std::max<std::int64_t>(1, BlockElems / rest) : 1;
    for (std::int64_t i = from; i < to; i += nrows)
      for (std::int64_t r = 0; r < rest; r += BlockElems)
        if (!f({i, std::min(to, i + nrows), r, std::min(rest, r + BlockElems), a.offset + i * a.slice + r * es})) return;
  } else {
    const bool         all   = from == 0 && to == a.dims[0];
    const std::int64_t ncols = all ? std::max<std::int64_t>(1, BlockElems / a.dims[0]) : 1;
    for (std::int64_t c = 0; c < rest; c += ncols)
      for (std::int64_t i = from; i < to; i += BlockElems)
        if (!f({i, std::min(to, i + BlockElems), c, std::min(rest, c + ncols), a.offset + (c * a.dims[0] + i) * es})) return;
  }
}
/* Values of a block that belong to rows [lo,hi), in the order of the file */
static void Put(const Layout &a, const Block &b, std::int64_t lo, std::int64_t hi, const double *v, const Target &t)
{
  if (!a.fortran) {
    for (std::int64_t i = lo; i < hi; ++i) {
      double *row = t.a + (i - t.rstart) * t.rs;
      for (std::int64_t r = b.r0; r < b.r1; ++r) row[r * t.cs] = *v++;
    }
  } else {
    for (std::int64_t c = b.r0; c < b.r1; ++c) {
      double *col = t.a + FortranToC(a.dims, c) * t.cs;
      for (std::int64_t i = lo; i < hi; ++i) col[(i - t.rstart) * t.rs] = *v++;
    }
  }
}
static bool CheckMax(const Layout &a, const double *v, std::int64_t n, std::int64_t offset, Error &err)
{
  if (a.maxval <= 0 || a.maxval == 255 || a.maxval == 65535) return true;
  for (std::int64_t k = 0; k < n; ++k)
    if (v[k] > a.maxval)
      return err.Set(Why::Malformed, "value " + std::to_string(static_cast<int>(v[k])) + " is above the maximum " + std::to_string(static_cast<int>(a.maxval)),
                     -1, offset + k * static_cast<std::int64_t>(ElemSize(a.elem)));
  return true;
}

PetscErrorCode ReadBinary(Opened &o, const Layout &a, const Target &t)
{
  const std::int64_t es = static_cast<std::int64_t>(ElemSize(a.elem));
  Error              err;

  PetscFunctionBegin;
  FitsFile(o, a.End(), err);
  PetscCall(Raise(o, err));
  if (!o.gz) {
    Descriptor                 d;
    std::vector<unsigned char> raw;
    std::vector<double>        val;
    if (t.nrows > 0 && d.Open(o.path, err)) {
      Blocks(a, t.rstart, t.rstart + t.nrows, [&](const Block &b) {
        const auto n = static_cast<std::size_t>((b.i1 - b.i0) * (b.r1 - b.r0));
        raw.resize(n * static_cast<std::size_t>(es));
        val.resize(n);
        if (!d.Read(raw.data(), raw.size(), b.offset, err)) return false;
        ElemsToDouble(raw.data(), n, a.elem, a.big, val.data());
        if (!CheckMax(a, val.data(), static_cast<std::int64_t>(n), b.offset, err)) return false;
        Put(a, b, b.i0, b.i1, val.data(), t);
        return true;
      });
    }
    PetscCall(Agree(o.comm, o.path, err));
    PetscFunctionReturn(PETSC_SUCCESS);
  }

  /* compressed: the first process reads in order and deals the rows to their owners, block by block */
  PetscMPIInt               rank, size;
  std::vector<std::int64_t> ranges;
  Inflater                  z;
  PetscCallMPI(MPI_Comm_rank(o.comm, &rank));
  PetscCallMPI(MPI_Comm_size(o.comm, &size));
  PetscCall(RowRanges(o.comm, t.rstart, t.nrows, ranges));
  if (!rank) z.Open(o.path, err);
  PetscCall(Agree(o.comm, o.path, err));
  std::vector<unsigned char> raw;
  std::vector<double>        val, piece;
  int                        mpi = MPI_SUCCESS;
  Blocks(a, 0, a.dims[0], [&](const Block &b) {
    const std::int64_t nr = b.r1 - b.r0;
    const auto         n  = static_cast<std::size_t>((b.i1 - b.i0) * nr);
    int                ok = 1;
    if (!rank) {
      raw.resize(n * static_cast<std::size_t>(es));
      val.resize(n);
      ok = z.SkipTo(b.offset, err) && z.Exactly(raw.data(), raw.size(), err);
      if (ok) {
        ElemsToDouble(raw.data(), n, a.elem, a.big, val.data());
        ok = CheckMax(a, val.data(), static_cast<std::int64_t>(n), b.offset, err);
      }
    }
    mpi = MPI_Bcast(&ok, 1, MPI_INT, 0, o.comm);
    if (mpi || !ok) return false;
    for (int r = 0; r < size && !mpi; ++r) {
      const std::int64_t lo = std::max(b.i0, ranges[static_cast<std::size_t>(r)]), hi = std::min(b.i1, ranges[static_cast<std::size_t>(r) + 1]);
      if (lo >= hi || (rank != 0 && rank != r)) continue;
      const auto    m   = static_cast<std::size_t>((hi - lo) * nr);
      const double *src = nullptr;
      if (!rank) {
        if (!a.fortran)
          src = val.data() + (lo - b.i0) * nr;
        else {
          piece.resize(m);
          for (std::int64_t c = 0; c < nr; ++c) std::copy_n(val.data() + c * (b.i1 - b.i0) + (lo - b.i0), hi - lo, piece.data() + c * (hi - lo));
          src = piece.data();
        }
      }
      if (r == 0)
        Put(a, b, lo, hi, src, t);
      else if (!rank)
        mpi = MPI_Send(src, static_cast<int>(m), MPI_DOUBLE, r, 17, o.comm);
      else {
        piece.resize(m);
        mpi = MPI_Recv(piece.data(), static_cast<int>(m), MPI_DOUBLE, 0, 17, o.comm, MPI_STATUS_IGNORE);
        Put(a, b, lo, hi, piece.data(), t);
      }
    }
    return mpi == MPI_SUCCESS;
  });
  PetscCallMPI(mpi);
  if (!rank && !err.Failed()) {
    /* read on to the end of the stream: the checksum stands there */
    char         trash[4096];
    std::int64_t got = 1;
    while (got > 0 && z.at < a.End() + (1 << 24)) got = z.Read(trash, sizeof(trash), err);
  }
  PetscCall(Agree(o.comm, o.path, err));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ----------------------------------------------------------- text ----------------------------------------------------------- */

static const std::size_t TextBlock = 1 << 22;
static const std::size_t MaxLine   = std::size_t(1) << 28;

static bool IsCut(char c, bool spaces)
{
  return c == '\n' || (spaces && (c == ' ' || c == '\t' || c == '\r'));
}
/* Runs f and turns lack of memory into an error like any other */
static bool RunChunk(const ChunkFn &f, const char *p, const char *e, std::int64_t line, std::int64_t seq, Error &err)
{
  try {
    return f(p, e, line, seq, err);
  } catch (const std::bad_alloc &) {
    return err.Set(Why::TooLarge, "not enough memory", line);
  }
}

/* This process's share [b0,b1) of a plain file: the lines that begin in it */
static bool PlainChunks(const Opened &o, std::int64_t body, std::int64_t b0, std::int64_t b1, bool spaces, std::int64_t seq, const ChunkFn &f,
                        std::int64_t *lines, Progress &progress, Error &err)
{
  Descriptor        d;
  std::vector<char> buf;
  if (b0 >= b1) return true;
  if (!d.Open(o.path, err)) return false;
  std::int64_t pos = b0; /* file offset of buf[0] */
  /* the first line that begins here: after the first end of line at b0-1 or later */
  if (b0 > body) {
    std::int64_t at   = b0 - 1;
    bool         done = false;
    while (!done) {
      if (at >= o.filesize) return true;
      buf.resize(static_cast<std::size_t>(std::min<std::int64_t>(1 << 16, o.filesize - at)));
      if (!d.Read(buf.data(), buf.size(), at, err)) return false;
      for (std::size_t k = 0; k < buf.size() && !done; ++k)
        if (IsCut(buf[k], spaces)) {
          pos  = at + static_cast<std::int64_t>(k) + 1;
          done = true;
        }
      if (!done) at += static_cast<std::int64_t>(buf.size());
      if (!done && at >= b1) return true; /* the share lies inside one line */
    }
    buf.clear();
  }
  while (pos < b1) {
    const std::int64_t have = static_cast<std::int64_t>(buf.size()), next = pos + have;
    const std::int64_t add = std::min<std::int64_t>(static_cast<std::int64_t>(TextBlock), o.filesize - next);
    buf.resize(static_cast<std::size_t>(have + add));
    if (add && !d.Read(buf.data() + have, static_cast<std::size_t>(add), next, err)) return false;
    const std::int64_t end = next + add;
    std::int64_t       cut = -1; /* bytes of buf to hand on */
    if (end >= b1) {
      for (std::int64_t k = std::max<std::int64_t>(0, b1 - 1 - pos); k < end - pos; ++k)
        if (IsCut(buf[static_cast<std::size_t>(k)], spaces)) {
          cut = k + 1;
          break;
        }
      if (cut < 0 && end == o.filesize) cut = end - pos;
    } else {
      for (std::int64_t k = end - pos; k-- > have && cut < 0;)
        if (IsCut(buf[static_cast<std::size_t>(k)], spaces)) cut = k + 1;
    }
    if (cut < 0) {
      if (buf.size() > MaxLine) return err.Set(Why::Malformed, "a line is longer than 256 MB", *lines + 1);
      continue;
    }
    if (!RunChunk(f, buf.data(), buf.data() + cut, *lines + 1, seq, err)) return false;
    *lines += std::count(buf.data(), buf.data() + cut, '\n');
    buf.erase(buf.begin(), buf.begin() + cut);
    pos += cut;
    (void)progress.Update(pos - b0);
  }
  return true;
}

PetscErrorCode ForEachChunk(Opened &o, std::int64_t body, std::int64_t line0, bool spaces, const ChunkFn &f, std::int64_t *nseq, std::int64_t *shift)
{
  PetscMPIInt rank, size;
  Error       err;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(o.comm, &rank));
  PetscCallMPI(MPI_Comm_size(o.comm, &size));
  if (!o.gz) {
    const std::int64_t total = std::max<std::int64_t>(0, o.filesize - body), chunk = total / size, extra = total % size;
    const auto         begin = [&](std::int64_t r) { return body + r * chunk + std::min(r, extra); };
    std::int64_t       lines = 0, before = 0;
    Progress           progress(o.comm, ReadMonitor(), "  bytes by the first process", begin(rank + 1) - begin(rank));
    PlainChunks(o, body, begin(rank), begin(rank + 1), spaces, rank, f, &lines, progress, err);
    PetscCall(progress.Done());
    PetscCallMPI(MPI_Exscan(&lines, &before, 1, MPI_INT64_T, MPI_SUM, o.comm));
    if (!rank) before = 0;
    *shift = line0 + before;
    *nseq  = size;
    if (err.line >= 0) err.line += *shift;
    PetscCall(Agree(o.comm, o.path, err));
    PetscFunctionReturn(PETSC_SUCCESS);
  }

  Inflater          z;
  Progress          progress(o.comm, ReadMonitor(), "  bytes of text from the compressed file", 0);
  std::int64_t      inflated = 0;
  std::vector<char> buf, mine;
  std::int64_t      lines = line0, seq = 0;
  bool              ended = false;
  if (!rank && z.Open(o.path, err)) z.SkipTo(body, err);
  PetscCall(Agree(o.comm, o.path, err));
  *shift                   = 0;
  const std::int64_t block = 1 << 20;
  for (bool more = true; more;) {
    /* a round: one share for each process, the first one's last */
    std::int64_t meta[3] = {0, 0, 0}; /* shares dealt, last round, failed */
    std::int64_t head[3] = {0, 0, 0}; /* bytes, line, seq of my share */
    for (int k = 1; k <= size; ++k) {
      const int    r    = k % size;
      std::int64_t h[3] = {0, 0, 0};
      if (!rank) {
        std::int64_t cut = -1;
        while (cut < 0 && !err.Failed()) {
          if (!ended) {
            const std::size_t have = buf.size();
            buf.resize(have + static_cast<std::size_t>(block));
            const std::int64_t got = z.Read(buf.data() + have, static_cast<std::size_t>(block), err);
            buf.resize(have + static_cast<std::size_t>(std::max<std::int64_t>(0, got)));
            ended = got < block;
          }
          for (std::int64_t q = static_cast<std::int64_t>(buf.size()); q-- > 0 && cut < 0;)
            if (IsCut(buf[static_cast<std::size_t>(q)], spaces)) cut = q + 1;
          if (ended)
            cut = static_cast<std::int64_t>(buf.size());
          else if (cut < 0 && buf.size() > MaxLine)
            err.Set(Why::Malformed, "a line is longer than 256 MB", lines + 1);
        }
        if (cut > 0) {
          h[0] = cut;
          h[1] = lines + 1;
          h[2] = seq++;
          lines += std::count(buf.data(), buf.data() + cut, '\n');
        }
        if (r) {
          PetscCallMPI(MPI_Send(h, 3, MPI_INT64_T, r, 18, o.comm));
          if (h[0]) PetscCallMPI(MPI_Send(buf.data(), static_cast<int>(h[0]), MPI_CHAR, r, 19, o.comm));
        } else {
          std::copy(h, h + 3, head);
          mine.assign(buf.begin(), buf.begin() + h[0]);
        }
        buf.erase(buf.begin(), buf.begin() + h[0]);
        PetscCall(progress.Update(inflated += h[0]));
      } else if (rank == r) {
        PetscCallMPI(MPI_Recv(head, 3, MPI_INT64_T, 0, 18, o.comm, MPI_STATUS_IGNORE));
        mine.resize(static_cast<std::size_t>(head[0]));
        if (head[0]) PetscCallMPI(MPI_Recv(mine.data(), static_cast<int>(head[0]), MPI_CHAR, 0, 19, o.comm, MPI_STATUS_IGNORE));
      }
    }
    /* an error of a parser stops that process, the rest of the text is still dealt so that no one waits */
    if (head[0] && (!err.Failed() || !rank)) {
      Error here;
      RunChunk(f, mine.data(), mine.data() + mine.size(), head[1], head[2], here);
      if (here.Failed() && !(err.Failed() && err.line >= 0 && err.line < here.line)) err = here;
    }
    if (!rank) {
      meta[0] = seq;
      meta[1] = (ended && buf.empty()) || err.Failed();
    }
    PetscCallMPI(MPI_Bcast(meta, 3, MPI_INT64_T, 0, o.comm));
    *nseq = meta[0];
    more  = !meta[1];
  }
  PetscCall(progress.Done());
  PetscCall(Agree(o.comm, o.path, err));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Exchange(MPI_Comm comm, std::int64_t n, const std::function<Record(std::int64_t)> &get, const std::vector<std::int64_t> &ranges,
                        const std::function<void(const Record &)> &put)
{
  PetscMPIInt        size;
  const std::int64_t block  = 1 << 16;
  std::int64_t       rounds = (n + block - 1) / block, most;
  MPI_Datatype       type;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  if (size == 1) {
    for (std::int64_t k = 0; k < n; ++k) put(get(k));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCallMPI(MPI_Allreduce(&rounds, &most, 1, MPI_INT64_T, MPI_MAX, comm));
  PetscCallMPI(MPI_Type_contiguous(static_cast<int>(sizeof(Record)), MPI_BYTE, &type));
  PetscCallMPI(MPI_Type_commit(&type));
  const auto          P = static_cast<std::size_t>(size);
  std::vector<Record> block_, out, in;
  std::vector<int>    owner, sc(P), so(P), rc(P), ro(P);
  for (std::int64_t round = 0; round < most; ++round) {
    const std::int64_t from = std::min(n, round * block), to = std::min(n, from + block);
    block_.clear();
    owner.clear();
    std::fill(sc.begin(), sc.end(), 0);
    for (std::int64_t k = from; k < to; ++k) {
      block_.push_back(get(k));
      const auto o = static_cast<int>(std::upper_bound(ranges.begin() + 1, ranges.end() - 1, block_.back().key) - (ranges.begin() + 1));
      owner.push_back(o);
      ++sc[static_cast<std::size_t>(o)];
    }
    PetscCallMPI(MPI_Alltoall(sc.data(), 1, MPI_INT, rc.data(), 1, MPI_INT, comm));
    int ns = 0, nr = 0;
    for (std::size_t p = 0; p < P; ++p) {
      so[p] = ns;
      ns += sc[p];
      ro[p] = nr;
      nr += rc[p];
    }
    out.resize(static_cast<std::size_t>(ns));
    in.resize(static_cast<std::size_t>(nr));
    std::vector<int> fill = so;
    for (std::size_t k = 0; k < block_.size(); ++k) out[static_cast<std::size_t>(fill[static_cast<std::size_t>(owner[k])]++)] = block_[k];
    PetscCallMPI(MPI_Alltoallv(out.data(), sc.data(), so.data(), type, in.data(), rc.data(), ro.data(), type, comm));
    for (const Record &r : in) put(r);
  }
  PetscCallMPI(MPI_Type_free(&type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---------------------------------------------------------- output ---------------------------------------------------------- */

PetscErrorCode AtomicFile::Begin(MPI_Comm c, const std::string &n)
{
  PetscMPIInt rank;
  Error       err;

  PetscFunctionBegin;
  comm = c;
  name = n;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  std::int64_t pid = getpid();
  PetscCallMPI(MPI_Bcast(&pid, 1, MPI_INT64_T, 0, comm));
  const std::size_t slash = name.rfind('/');
  /* in the same folder, so that rename() is atomic; with the same ending, for those who look at it */
  const std::string base = slash == std::string::npos ? name : name.substr(slash + 1);
  temp                   = (slash == std::string::npos ? std::string() : name.substr(0, slash + 1)) + ".skean-" + std::to_string(pid) + "-" + base;
  if (!rank) {
    struct stat st;
    if (base.empty() || (!stat(name.c_str(), &st) && S_ISDIR(st.st_mode)))
      err.Set(Why::Open, "is a directory, not a file name");
    else {
      const int fd = open(temp.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0666);
      if (fd < 0)
        err.Set(Why::Open, std::string("cannot open for writing: ") + std::strerror(errno));
      else {
        close(fd);
        mine = true;
      }
    }
  }
  PetscCall(Agree(comm, name, err));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What is said to the user when there is no room, whichever way it was noticed */
static const char NoSpace[] = "cannot write all bytes: is the disk full?";

PetscErrorCode AtomicFile::Reserve(std::int64_t bytes, bool *guaranteed)
{
  Error err;
  int   sure = 0;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Barrier(comm)); /* nobody empties it any more */
  if (mine && bytes > 0) {
    int       e  = 0;
    const int fd = open(temp.c_str(), O_WRONLY | O_CLOEXEC);
#if defined(FALLOC_FL_KEEP_SIZE)
    do e = fd >= 0 && !fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) ? 0 : errno;
    while (e == EINTR);
#else
    e = EOPNOTSUPP;
#endif
    if (fd >= 0) close(fd);
    sure = !e;
    if (e == ENOSPC || e == EDQUOT || e == EFBIG)
      err.Set(Why::Open, NoSpace);
    else if (e) {
      struct statvfs v;
      if (!statvfs(temp.c_str(), &v) && v.f_blocks > 0 && static_cast<double>(v.f_bavail) * static_cast<double>(v.f_frsize) < static_cast<double>(bytes))
        err.Set(Why::Open, NoSpace);
    }
  }
  PetscCallMPI(MPI_Bcast(&sure, 1, MPI_INT, 0, comm));
  if (guaranteed) *guaranteed = sure != 0;
  PetscCall(Agree(comm, name, err));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode AtomicFile::Abandon()
{
  PetscFunctionBegin;
  PetscCallMPI(MPI_Barrier(comm));
  if (mine && truncate(temp.c_str(), 0)) mine = true; /* nothing more can be done: it is removed in any case */
  PetscCallMPI(MPI_Barrier(comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode AtomicFile::Commit(const Error &err, std::int64_t least)
{
  Error late;

  PetscFunctionBegin;
  PetscCall(Agree(comm, name, err));
  PetscCallMPI(MPI_Barrier(comm));
  if (mine) {
    const int   fd = open(temp.c_str(), O_RDWR | O_CLOEXEC);
    struct stat st;
    if (fd >= 0 && !fstat(fd, &st)) {
      if (st.st_size < least) late.Set(Why::Open, NoSpace);
      /* gives back what was set aside and not used */
      if (ftruncate(fd, st.st_size)) late.Set(Why::Open, std::string("cannot set the length of the file: ") + std::strerror(errno));
    }
    if (fd < 0 || fsync(fd)) late.Set(Why::Open, std::string("cannot flush to the disk: ") + std::strerror(errno));
    if (fd >= 0) close(fd);
    if (!late.Failed() && rename(temp.c_str(), name.c_str())) late.Set(Why::Open, std::string("cannot rename the finished file: ") + std::strerror(errno));
    if (!late.Failed()) {
      mine                    = false;
      const std::size_t slash = name.rfind('/');
      const int         dir   = open(slash == std::string::npos ? "." : name.substr(0, slash + 1).c_str(), O_RDONLY | O_CLOEXEC);
      if (dir >= 0) {
        fsync(dir); /* the name, too, survives a crash; file systems that cannot do it lose nothing else */
        close(dir);
      }
    }
  }
  PetscCall(Agree(comm, name, late));
  PetscFunctionReturn(PETSC_SUCCESS);
}

AtomicFile::~AtomicFile()
{
  if (mine) unlink(temp.c_str());
}

} // namespace io
} // namespace skean
