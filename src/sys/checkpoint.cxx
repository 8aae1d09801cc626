/* Checkpoints: see checkpoint.hpp for the format and the promises */
#include <skean/private/checkpoint.hpp>
#include <src/io/ioimpl.hpp>
#include "checkpointparse.hpp"
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace skean {

using namespace checkpoint;
using io::Agree;
using io::Error;
using io::Why;

/* Doubles and integers of the file are little endian */
static void SwapIfBig(void *p, std::size_t words)
{
  const std::uint16_t one = 1;
  if (*reinterpret_cast<const unsigned char *>(&one) == 1) return;
  auto *c = static_cast<unsigned char *>(p);
  for (std::size_t k = 0; k < words; ++k) std::reverse(c + 8 * k, c + 8 * k + 8);
}

struct CheckpointState {
  MPI_Comm             comm = MPI_COMM_NULL;
  std::string          file;
  PetscMPIInt          rank = 0, size = 1;
  int                  fd = -1;
  std::int64_t         at = 0;
  io::AtomicFile       atomic;
  Error                err; /* of this process, while writing */
  std::int64_t         written = 0;
  std::vector<Section> sections;
  ~CheckpointState()
  {
    if (fd >= 0) close(fd);
  }
  void Write(const void *p, std::size_t n)
  {
    const auto *q = static_cast<const char *>(p);
    while (n && !err.Failed()) {
      const ssize_t w = ::write(fd, q, std::min<std::size_t>(n, 1u << 30));
      if (w < 0 && errno == EINTR) continue;
      if (w <= 0) {
        err.Set(Why::Open, std::string("cannot write the checkpoint: ") + std::strerror(errno));
        return;
      }
      q += w;
      n -= static_cast<std::size_t>(w);
      at += w;
    }
  }
  bool Read(std::int64_t offset, void *p, std::size_t n) const
  {
    auto *q = static_cast<char *>(p);
    while (n) {
      const ssize_t r = pread(fd, q, n, static_cast<off_t>(offset));
      if (r < 0 && errno == EINTR) continue;
      if (r <= 0) return false;
      q += r;
      offset += r;
      n -= static_cast<std::size_t>(r);
    }
    return true;
  }
  const Section *Find(const std::string &name) const
  {
    for (const auto &s : sections)
      if (s.name == name) return &s;
    return nullptr;
  }
};

CheckpointWriter::CheckpointWriter()  = default;
CheckpointWriter::~CheckpointWriter() = default;
CheckpointReader::CheckpointReader()  = default;
CheckpointReader::~CheckpointReader() = default;

/* PETSc functions that may allocate, called with exceptions turned into error codes */
#define CHECKPOINT_CXX(call)          \
  do {                                \
    PetscErrorCode ierr_cxx_;         \
    PetscCallCXX(ierr_cxx_ = (call)); \
    PetscCall(ierr_cxx_);             \
  } while (0)

PetscErrorCode CheckpointWriter::Open(MPI_Comm comm, const std::string &file, const std::string &cls)
{
  char  version[128];
  char *options = NULL;

  PetscFunctionBegin;
  PetscCallCXX(s.reset(new CheckpointState()));
  s->comm = comm;
  s->file = file;
  PetscCallMPI(MPI_Comm_rank(comm, &s->rank));
  PetscCallMPI(MPI_Comm_size(comm, &s->size));
  CHECKPOINT_CXX(s->atomic.Begin(comm, file));
  if (!s->rank) {
    s->fd = open(s->atomic.Temp().c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (s->fd < 0) s->err.Set(Why::Open, std::string("cannot open for writing: ") + std::strerror(errno));
    s->Write(Magic, 8);
  }
  PetscCall(Agree(comm, file, s->err));
  PetscCall(PutString("class", cls));
  PetscCall(SkeanGetVersion(version, sizeof(version)));
  PetscCall(PutString("version", version));
  PetscCall(PetscOptionsGetAll(NULL, &options));
  PetscCall(PutString("options", options ? options : ""));
  PetscCall(PetscFree(options));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* rows and width are local if distributed. The first process writes; the others send blocks of at most 4 MB, one after the other, so
   that its memory does not grow with the number of processes */
PetscErrorCode CheckpointWriter::Put(const std::string &name, int kind, const void *data, std::int64_t rows, std::int64_t width, bool distributed)
{
  const std::int64_t block = 1 << 22;

  PetscFunctionBegin;
  PetscCheck(s, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The checkpoint is not open");
  std::int64_t total = rows;
  if (distributed) PetscCallMPI(MPI_Allreduce(&rows, &total, 1, MPI_INT64_T, MPI_SUM, s->comm));
  std::uint32_t              crc = 0;
  std::vector<unsigned char> buf;
  const auto                *p     = static_cast<const unsigned char *>(data);
  const std::int64_t         bytes = rows * width;
  const bool                 words = kind != String;
  if (!s->rank) {
    const auto h = Header(name, kind, total, width);
    s->Write(h.data(), h.size());
    for (std::int64_t k = 0; k < bytes; k += block) {
      const auto m = static_cast<std::size_t>(std::min(block, bytes - k));
      buf.assign(p + k, p + k + m);
      if (words) SwapIfBig(buf.data(), m / 8);
      crc = Crc(crc, buf.data(), m);
      s->Write(buf.data(), m);
    }
    for (int r = 1; distributed && r < s->size; ++r) {
      std::int64_t n, go = 1;
      PetscCallMPI(MPI_Send(&go, 1, MPI_INT64_T, r, 21, s->comm)); /* so that no messages pile up here */
      PetscCallMPI(MPI_Recv(&n, 1, MPI_INT64_T, r, 21, s->comm, MPI_STATUS_IGNORE));
      for (std::int64_t k = 0; k < n; k += block) {
        const auto m = static_cast<std::size_t>(std::min(block, n - k));
        buf.resize(m);
        PetscCallMPI(MPI_Recv(buf.data(), static_cast<int>(m), MPI_BYTE, r, 22, s->comm, MPI_STATUS_IGNORE));
        crc = Crc(crc, buf.data(), m);
        s->Write(buf.data(), m);
      }
    }
    unsigned char c[4];
    checkpoint::Put(c, crc, 4);
    s->Write(c, 4);
    ++s->written;
  } else if (distributed) {
    std::int64_t go;
    PetscCallMPI(MPI_Recv(&go, 1, MPI_INT64_T, 0, 21, s->comm, MPI_STATUS_IGNORE));
    PetscCallMPI(MPI_Send(&bytes, 1, MPI_INT64_T, 0, 21, s->comm));
    for (std::int64_t k = 0; k < bytes; k += block) {
      const auto m = static_cast<std::size_t>(std::min(block, bytes - k));
      buf.assign(p + k, p + k + m);
      if (words) SwapIfBig(buf.data(), m / 8);
      PetscCallMPI(MPI_Send(buf.data(), static_cast<int>(m), MPI_BYTE, 0, 22, s->comm));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CheckpointWriter::PutInt(const std::string &name, std::int64_t value)
{
  PetscFunctionBegin;
  CHECKPOINT_CXX(Put(name, Int, &value, 1, 8, false));
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode CheckpointWriter::PutReal(const std::string &name, double value)
{
  PetscFunctionBegin;
  CHECKPOINT_CXX(Put(name, Real, &value, 1, 8, false));
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode CheckpointWriter::PutString(const std::string &name, const std::string &value)
{
  PetscFunctionBegin;
  CHECKPOINT_CXX(Put(name, String, value.data(), static_cast<std::int64_t>(value.size()), 1, false));
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode CheckpointWriter::PutReals(const std::string &name, const std::vector<double> &values)
{
  PetscFunctionBegin;
  CHECKPOINT_CXX(Put(name, Reals, values.data(), static_cast<std::int64_t>(values.size()), 8, false));
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode CheckpointWriter::PutInts(const std::string &name, const std::vector<std::int64_t> &values)
{
  PetscFunctionBegin;
  CHECKPOINT_CXX(Put(name, Ints, values.data(), static_cast<std::int64_t>(values.size()), 8, false));
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode CheckpointWriter::PutRows(const std::string &name, const double *a, std::int64_t nrows, std::int64_t width)
{
  PetscFunctionBegin;
  CHECKPOINT_CXX(Put(name, Rows, a, nrows, 8 * width, true));
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode CheckpointWriter::PutVec(const std::string &name, Vec v)
{
  const PetscScalar *a;
  PetscInt           n;

  PetscFunctionBegin;
  PetscCall(VecGetLocalSize(v, &n));
  PetscCall(VecGetArrayRead(v, &a));
  PetscCall(PutRows(name, a, n, 1));
  PetscCall(VecRestoreArrayRead(v, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CheckpointWriter::Close()
{
  PetscFunctionBegin;
  PetscCheck(s, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The checkpoint is not open");
  if (!s->rank) {
    const auto h = Header("", End, s->written, 0);
    s->Write(h.data(), h.size());
    if (s->fd >= 0 && close(s->fd)) s->err.Set(Why::Open, std::string("cannot write the checkpoint: ") + std::strerror(errno));
    s->fd = -1;
  }
  CHECKPOINT_CXX(s->atomic.Commit(s->err)); /* flushes to the disk, renames */
  s.reset();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenReader(CheckpointState &s, const std::string &cls)
{
  Error       err;
  std::string packed, foundcls;

  PetscFunctionBegin;
  /* the first process reads all of it once for the checksums; the others learn where the sections are */
  if (!s.rank) {
    s.fd = open(s.file.c_str(), O_RDONLY | O_CLOEXEC);
    if (s.fd < 0)
      err.Set(Why::Open, std::string("cannot open for reading: ") + std::strerror(errno));
    else {
      const std::int64_t size = lseek(s.fd, 0, SEEK_END);
      const std::string  bad  = Scan(
          size, [&](std::int64_t at, void *p, std::size_t n) { return s.Read(at, p, n); }, s.sections);
      if (!bad.empty())
        err.Set(Why::Malformed, bad);
      else if (const Section *c = s.Find("class")) {
        foundcls.resize(static_cast<std::size_t>(std::min<std::int64_t>(256, c->rows * c->width)));
        if (!foundcls.empty() && !s.Read(c->offset, &foundcls[0], foundcls.size())) err.Set(Why::Read, "cannot be read");
        if (!cls.empty() && foundcls != cls) err.Set(Why::Malformed, "is a checkpoint of '" + foundcls + "', not of '" + cls + "'");
      } else
        err.Set(Why::Malformed, "the checkpoint does not say of which class it is");
    }
  }
  PetscCall(Agree(s.comm, s.file, err));
  if (!s.rank)
    for (const auto &x : s.sections) {
      const auto h = Header(x.name, x.kind, x.rows, x.width);
      packed.append(h.begin(), h.end());
      unsigned char o[8];
      checkpoint::Put(o, static_cast<std::uint64_t>(x.offset), 8);
      packed.append(reinterpret_cast<char *>(o), 8);
    }
  int n = static_cast<int>(packed.size());
  PetscCallMPI(MPI_Bcast(&n, 1, MPI_INT, 0, s.comm));
  packed.resize(static_cast<std::size_t>(n));
  PetscCallMPI(MPI_Bcast(&packed[0], n, MPI_BYTE, 0, s.comm));
  if (s.rank) {
    const auto *p = reinterpret_cast<const unsigned char *>(packed.data());
    for (std::size_t at = 0; at < packed.size();) {
      Section    x;
      const auto len = static_cast<std::size_t>(checkpoint::Get(p + at + 8, 8));
      x.kind         = static_cast<int>(checkpoint::Get(p + at + 4, 4));
      x.rows         = static_cast<std::int64_t>(checkpoint::Get(p + at + 16, 8));
      x.width        = static_cast<std::int64_t>(checkpoint::Get(p + at + 24, 8));
      x.name.assign(packed, at + HeaderBytes, len);
      x.offset = static_cast<std::int64_t>(checkpoint::Get(p + at + HeaderBytes + len, 8));
      at += HeaderBytes + len + 8;
      s.sections.push_back(x);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CheckpointReader::Open(MPI_Comm comm, const std::string &file, const std::string &cls)
{
  PetscFunctionBegin;
  PetscCallCXX(s.reset(new CheckpointState()));
  s->comm = comm;
  s->file = file;
  PetscCallMPI(MPI_Comm_rank(comm, &s->rank));
  PetscCallMPI(MPI_Comm_size(comm, &s->size));
  CHECKPOINT_CXX(OpenReader(*s, cls));
  PetscFunctionReturn(PETSC_SUCCESS);
}

bool CheckpointReader::Has(const std::string &name) const
{
  return s && s->Find(name);
}

#define CHECKPOINT_SECTION(x, name, wanted)                                                                                                        \
  PetscCheck(s, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The checkpoint is not open");                                                                   \
  const Section *x = s->Find(name);                                                                                                                \
  PetscCheck(x, s->comm, PETSC_ERR_FILE_UNEXPECTED, "%s: the checkpoint has no section '%s'", s->file.c_str(), name.c_str());                      \
  PetscCheck(x->kind == (wanted), s->comm, PETSC_ERR_FILE_UNEXPECTED, "%s: section '%s' of the checkpoint is of kind %d, not %d", s->file.c_str(), \
             name.c_str(), x->kind, (int)(wanted))

PetscErrorCode CheckpointReader::Get(const std::string &name, int kind, std::vector<unsigned char> *data)
{
  Error err;

  PetscFunctionBegin;
  CHECKPOINT_SECTION(x, name, kind);
  const std::int64_t bytes = x->rows * x->width;
  PetscCheck((kind != Int && kind != Real) || bytes == 8, s->comm, PETSC_ERR_FILE_UNEXPECTED, "%s: section '%s' of the checkpoint is no single number",
             s->file.c_str(), name.c_str());
  PetscCheck((kind != Reals && kind != Ints) || x->width == 8, s->comm, PETSC_ERR_FILE_UNEXPECTED, "%s: section '%s' of the checkpoint is no list of numbers",
             s->file.c_str(), name.c_str());
  data->resize(static_cast<std::size_t>(bytes));
  if (!s->rank && bytes && !s->Read(x->offset, data->data(), data->size())) err.Set(Why::Read, "section '" + name + "' cannot be read");
  PetscCall(Agree(s->comm, s->file, err));
  for (std::int64_t k = 0; k < bytes; k += 1 << 28)
    PetscCallMPI(MPI_Bcast(data->data() + k, static_cast<int>(std::min<std::int64_t>(1 << 28, bytes - k)), MPI_BYTE, 0, s->comm));
  if (kind != String) SwapIfBig(data->data(), data->size() / 8);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CheckpointReader::GetInt(const std::string &name, std::int64_t *value)
{
  std::vector<unsigned char> d;

  PetscFunctionBegin;
  CHECKPOINT_CXX(Get(name, Int, &d));
  std::memcpy(value, d.data(), 8);
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode CheckpointReader::GetReal(const std::string &name, double *value)
{
  std::vector<unsigned char> d;

  PetscFunctionBegin;
  CHECKPOINT_CXX(Get(name, Real, &d));
  std::memcpy(value, d.data(), 8);
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode CheckpointReader::GetString(const std::string &name, std::string *value)
{
  std::vector<unsigned char> d;

  PetscFunctionBegin;
  CHECKPOINT_CXX(Get(name, String, &d));
  PetscCallCXX(value->assign(d.begin(), d.end()));
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode CheckpointReader::GetReals(const std::string &name, std::vector<double> *values)
{
  std::vector<unsigned char> d;

  PetscFunctionBegin;
  CHECKPOINT_CXX(Get(name, Reals, &d));
  PetscCallCXX(values->resize(d.size() / 8));
  if (!d.empty()) std::memcpy(values->data(), d.data(), d.size());
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode CheckpointReader::GetInts(const std::string &name, std::vector<std::int64_t> *values)
{
  std::vector<unsigned char> d;

  PetscFunctionBegin;
  CHECKPOINT_CXX(Get(name, Ints, &d));
  PetscCallCXX(values->resize(d.size() / 8));
  if (!d.empty()) std::memcpy(values->data(), d.data(), d.size());
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode CheckpointReader::GetRowsSize(const std::string &name, std::int64_t *rows, std::int64_t *width)
{
  PetscFunctionBegin;
  CHECKPOINT_SECTION(x, name, Rows);
  if (rows) *rows = x->rows;
  if (width) *width = x->width / 8;
  PetscFunctionReturn(PETSC_SUCCESS);
}
/* Each process reads its own rows where the file is */
PetscErrorCode CheckpointReader::GetRows(const std::string &name, double *a, std::int64_t nrows, std::int64_t width)
{
  Error        err;
  std::int64_t before = 0, total;

  PetscFunctionBegin;
  CHECKPOINT_SECTION(x, name, Rows);
  PetscCallMPI(MPI_Exscan(&nrows, &before, 1, MPI_INT64_T, MPI_SUM, s->comm));
  if (!s->rank) before = 0;
  PetscCallMPI(MPI_Allreduce(&nrows, &total, 1, MPI_INT64_T, MPI_SUM, s->comm));
  PetscCheck(total == x->rows && 8 * width == x->width, s->comm, PETSC_ERR_FILE_UNEXPECTED,
             "%s: section '%s' of the checkpoint has %" PetscInt64_FMT " rows of %" PetscInt64_FMT " numbers, expected are %" PetscInt64_FMT
             " of %" PetscInt64_FMT,
             s->file.c_str(), name.c_str(), (PetscInt64)x->rows, (PetscInt64)(x->width / 8), (PetscInt64)total, (PetscInt64)width);
  const std::int64_t bytes = nrows * x->width;
  if (bytes) {
    if (s->fd < 0) s->fd = open(s->file.c_str(), O_RDONLY | O_CLOEXEC);
    if (s->fd < 0)
      PetscCallCXX(err.Set(Why::Open, std::string("cannot open for reading: ") + std::strerror(errno)));
    else if (!s->Read(x->offset + before * x->width, a, static_cast<std::size_t>(bytes)))
      PetscCallCXX(err.Set(Why::Read, "section '" + name + "' cannot be read"));
    SwapIfBig(a, static_cast<std::size_t>(bytes / 8));
  }
  PetscCall(Agree(s->comm, s->file, err));
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode CheckpointReader::GetVec(const std::string &name, Vec v)
{
  PetscScalar   *a;
  PetscInt       n;
  PetscErrorCode ierr;

  PetscFunctionBegin;
  PetscCall(VecGetLocalSize(v, &n));
  PetscCall(VecGetArray(v, &a));
  ierr = GetRows(name, a, n, 1);
  PetscCall(VecRestoreArray(v, &a));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode CheckpointReader::Close()
{
  PetscFunctionBegin;
  s.reset();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---------------------------------------------------------- signals --------------------------------------------------------- */

static volatile std::sig_atomic_t LatchedSignal = 0;
static int                        LatchUsers    = 0;
static struct sigaction           Before[2];
static const int                  Latched[2] = {SIGTERM, SIGUSR1};

extern "C" {
static void SkeanLatch(int sig)
{
  LatchedSignal = sig;
}
}

PetscErrorCode SignalLatchBegin()
{
  PetscFunctionBegin;
  if (LatchUsers++ == 0) {
    struct sigaction act;
    std::memset(&act, 0, sizeof(act));
    act.sa_handler = SkeanLatch;
    act.sa_flags   = SA_RESTART; /* MPI's system calls go on */
    sigemptyset(&act.sa_mask);
    LatchedSignal = 0;
    for (int k = 0; k < 2; ++k)
      PetscCheck(!sigaction(Latched[k], &act, &Before[k]), PETSC_COMM_SELF, PETSC_ERR_SYS, "Cannot install a signal handler: %s", std::strerror(errno));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SignalLatchEnd()
{
  PetscFunctionBegin;
  PetscCheck(LatchUsers > 0, PETSC_COMM_SELF, PETSC_ERR_ORDER, "SignalLatchEnd() without SignalLatchBegin()");
  if (--LatchUsers == 0)
    for (int k = 0; k < 2; ++k) sigaction(Latched[k], &Before[k], NULL);
  PetscFunctionReturn(PETSC_SUCCESS);
}

int SignalLatchGet()
{
  return LatchedSignal;
}
void SignalLatchClear()
{
  LatchedSignal = 0;
}

} // namespace skean
