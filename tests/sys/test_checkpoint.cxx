#include "harness/skeantest.hpp"
#include <skean/private/checkpoint.hpp>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sys/stat.h>

using skean::CheckpointReader;
using skean::CheckpointWriter;

/* A checkpoint of 13 rows x 3 and a vector of 17, with the given communicator */
static PetscErrorCode WriteOne(MPI_Comm comm, const std::string &file, double scale)
{
  PetscMPIInt rank, size;
  Vec         v;
  PetscInt    rs, re;
  PetscFunctionBeginUser;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  CheckpointWriter w;
  PetscCall(w.Open(comm, file, "SkeanTest"));
  PetscCall(w.PutInt("step", (std::int64_t(1) << 40) + 7));
  PetscCall(w.PutReal("err", -0.1 * scale));
  PetscCall(w.PutString("type", std::string("a\0b", 3)));
  PetscCall(w.PutReals("hist", {1, 2.5, 1e-300}));
  PetscCall(w.PutInts("order", {3, -1, 2}));
  PetscCall(w.PutReals("empty", {}));
  const int           n0 = 13 * rank / size, n1 = 13 * (rank + 1) / size;
  std::vector<double> a;
  for (int i = n0; i < n1; ++i)
    for (int j = 0; j < 3; ++j) a.push_back(scale * (10 * i + j));
  PetscCall(w.PutRows("factors", a.data(), n1 - n0, 3));
  PetscCall(VecCreateMPI(comm, PETSC_DECIDE, 17, &v));
  PetscCall(VecGetOwnershipRange(v, &rs, &re));
  for (PetscInt i = rs; i < re; ++i) PetscCall(VecSetValue(v, i, scale / (1 + i), INSERT_VALUES));
  PetscCall(VecAssemblyBegin(v));
  PetscCall(VecAssemblyEnd(v));
  PetscCall(w.PutVec("x", v));
  PetscCall(VecDestroy(&v));
  PetscCall(w.Close());
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void ReadOne(MPI_Comm comm, const std::string &file, double scale)
{
  PetscMPIInt rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  CheckpointReader          r;
  std::int64_t              step, rows, width;
  double                    err;
  std::string               s;
  std::vector<double>       h;
  std::vector<std::int64_t> o;
  ASSERT_EQ(r.Open(comm, file, "SkeanTest"), 0);
  EXPECT_EQ(r.GetInt("step", &step), 0);
  EXPECT_EQ(step, (std::int64_t(1) << 40) + 7);
  EXPECT_EQ(r.GetReal("err", &err), 0);
  EXPECT_EQ(err, -0.1 * scale);
  EXPECT_EQ(r.GetString("type", &s), 0);
  EXPECT_EQ(s, std::string("a\0b", 3));
  EXPECT_EQ(r.GetString("version", &s), 0);
  EXPECT_EQ(s.rfind("Skean ", 0), 0u);
  EXPECT_EQ(r.GetReals("hist", &h), 0);
  EXPECT_EQ(h, (std::vector<double>{1, 2.5, 1e-300}));
  EXPECT_EQ(r.GetReals("empty", &h), 0);
  EXPECT_TRUE(h.empty());
  EXPECT_EQ(r.GetInts("order", &o), 0);
  EXPECT_EQ(o, (std::vector<std::int64_t>{3, -1, 2}));
  EXPECT_TRUE(r.Has("x"));
  EXPECT_FALSE(r.Has("y"));
  EXPECT_EQ(r.GetRowsSize("factors", &rows, &width), 0);
  EXPECT_EQ(rows, 13);
  EXPECT_EQ(width, 3);
  /* a distribution unlike the one it was written with: the last process has almost all */
  const int           n0 = rank, n1 = rank == size - 1 ? 13 : rank + 1;
  std::vector<double> a(static_cast<std::size_t>(3 * (n1 - n0)) + 1);
  EXPECT_EQ(r.GetRows("factors", a.data(), n1 - n0, 3), 0);
  for (int i = n0; i < n1; ++i)
    for (int j = 0; j < 3; ++j) EXPECT_EQ(a[static_cast<std::size_t>(3 * (i - n0) + j)], scale * (10 * i + j));
  Vec                v;
  PetscInt           rs, re;
  const PetscScalar *p;
  VecCreateMPI(comm, PETSC_DECIDE, 17, &v);
  EXPECT_EQ(r.GetVec("x", v), 0);
  VecGetOwnershipRange(v, &rs, &re);
  VecGetArrayRead(v, &p);
  for (PetscInt i = rs; i < re; ++i) EXPECT_EQ(p[i - rs], scale / (1 + i));
  VecRestoreArrayRead(v, &p);
  VecDestroy(&v);
  EXPECT_EQ(r.Close(), 0);
}

static std::string Bytes(const std::string &file)
{
  MPI_Barrier(PETSC_COMM_WORLD);
  std::ifstream f(file, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(f)), std::istreambuf_iterator<char>());
}
static void Store(const std::string &file, const std::string &bytes)
{
  MPI_Barrier(PETSC_COMM_WORLD);
  if (skeantest::Rank() == 0) std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  MPI_Barrier(PETSC_COMM_WORLD);
}

TEST(Checkpoint, AnyNumberOfProcesses)
{
  const std::string all = skeantest::ScratchDir() + "/all.ckpt", one = skeantest::ScratchDir() + "/one.ckpt";
  ASSERT_PETSC(WriteOne(PETSC_COMM_WORLD, all, 1));
  ReadOne(PETSC_COMM_WORLD, all, 1);
  if (skeantest::Rank() == 0) {
    EXPECT_EQ(WriteOne(PETSC_COMM_SELF, one, 1), 0);
    ReadOne(PETSC_COMM_SELF, all, 1);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
  ReadOne(PETSC_COMM_WORLD, one, 1);
  EXPECT_EQ(Bytes(one), Bytes(all)) << "the file does not depend on the number of processes";
}

TEST(Checkpoint, ReplacedOnlyWhenComplete)
{
  const std::string file = skeantest::ScratchDir() + "/replace.ckpt";
  ASSERT_PETSC(WriteOne(PETSC_COMM_WORLD, file, 1));
  {
    CheckpointWriter w;
    ASSERT_PETSC(w.Open(PETSC_COMM_WORLD, file, "SkeanTest"));
    ASSERT_PETSC(w.PutInt("step", 1));
  }
  ReadOne(PETSC_COMM_WORLD, file, 1);
  ASSERT_PETSC(WriteOne(PETSC_COMM_WORLD, file, 2));
  ReadOne(PETSC_COMM_WORLD, file, 2);
  std::string      m;
  CheckpointWriter w;
  EXPECT_EQ(skeantest::ErrorOf([&] { return w.Open(PETSC_COMM_WORLD, skeantest::ScratchDir() + "/none/x.ckpt", "SkeanTest"); }, &m), PETSC_ERR_FILE_OPEN);
  EXPECT_NE(m.find("/none/x.ckpt"), std::string::npos) << m;
}

TEST(Checkpoint, EveryDamageIsFound)
{
  const std::string file = skeantest::ScratchDir() + "/damage.ckpt", bad = skeantest::ScratchDir() + "/bad.ckpt";
  ASSERT_PETSC(WriteOne(PETSC_COMM_WORLD, file, 1));
  const std::string good  = Bytes(file);
  const auto        fails = [&](const std::string &bytes) {
    std::string      m;
    CheckpointReader r;
    Store(bad, bytes);
    EXPECT_EQ(skeantest::ErrorOf([&] { return r.Open(PETSC_COMM_WORLD, bad, "SkeanTest"); }, &m), PETSC_ERR_FILE_UNEXPECTED) << m;
    EXPECT_NE(m.find("bad.ckpt: "), std::string::npos) << m;
    return m;
  };
  /* every bit position somewhere, every region of the file; all bytes would be slow */
  for (std::size_t at = 0; at < good.size(); at += 37) {
    std::string b = good;
    b[at]         = static_cast<char>(b[at] ^ (1 << (at % 8)));
    fails(b);
  }
  for (std::size_t n : {std::size_t(0), std::size_t(5), std::size_t(8), std::size_t(60), good.size() / 2, good.size() - 36, good.size() - 1})
    fails(good.substr(0, n));
  EXPECT_NE(fails(good.substr(0, good.size() / 2)).find("truncated"), std::string::npos);
  EXPECT_NE(fails(good + "x").find("bytes after the end"), std::string::npos);
  const std::size_t at = good.rfind("factors");
  std::string       b  = good;
  b[at + 20]           = static_cast<char>(b[at + 20] ^ 16);
  EXPECT_NE(fails(b).find("the checksum of section 'factors' is wrong"), std::string::npos);
  /* right file, wrong use */
  std::string      m;
  CheckpointReader r;
  EXPECT_EQ(skeantest::ErrorOf([&] { return r.Open(PETSC_COMM_WORLD, file, "SkeanOther"); }, &m), PETSC_ERR_FILE_UNEXPECTED);
  EXPECT_NE(m.find("is a checkpoint of 'SkeanTest', not of 'SkeanOther'"), std::string::npos) << m;
  ASSERT_PETSC(r.Open(PETSC_COMM_WORLD, file, ""));
  double       x;
  std::int64_t k;
  EXPECT_NE(skeantest::ErrorOf([&] { return r.GetReal("nothing", &x); }, &m), 0);
  EXPECT_NE(m.find("no section 'nothing'"), std::string::npos) << m;
  EXPECT_NE(skeantest::ErrorOf([&] { return r.GetInt("err", &k); }, &m), 0);
  std::vector<double> a(100);
  EXPECT_NE(skeantest::ErrorOf([&] { return r.GetRows("factors", a.data(), 5, 3); }, &m), 0);
  EXPECT_NE(m.find("13 rows of 3"), std::string::npos) << m;
}

static int OtherHandlerCalled = 0;
extern "C" {
static void OtherHandler(int)
{
  OtherHandlerCalled = 1;
}
}

TEST(Checkpoint, SignalLatch)
{
  struct sigaction other, now;
  std::memset(&other, 0, sizeof(other));
  other.sa_handler = OtherHandler;
  sigaction(SIGUSR1, &other, &now);
  const struct sigaction original = now;
  ASSERT_PETSC(skean::SignalLatchBegin());
  ASSERT_PETSC(skean::SignalLatchBegin());
  EXPECT_EQ(skean::SignalLatchGet(), 0);
  if (skeantest::Rank() == skeantest::Size() - 1) raise(SIGTERM);
  EXPECT_EQ(skean::SignalLatchGet(), skeantest::Rank() == skeantest::Size() - 1 ? SIGTERM : 0);
  skean::SignalLatchClear();
  EXPECT_EQ(skean::SignalLatchGet(), 0);
  ASSERT_PETSC(skean::SignalLatchEnd());
  raise(SIGUSR1);
  EXPECT_EQ(skean::SignalLatchGet(), SIGUSR1) << "still latched for the first user";
  EXPECT_EQ(OtherHandlerCalled, 0);
  ASSERT_PETSC(skean::SignalLatchEnd());
  raise(SIGUSR1);
  EXPECT_EQ(OtherHandlerCalled, 1) << "the handler from before is back";
  sigaction(SIGUSR1, &original, nullptr);
  skean::SignalLatchClear();
}
