/*
   Replays the files of tests/io/corpus: tiny, most of them damaged, some found by the fuzzers. Each loader must either succeed or
   fail with one message that names the file and the same code on all processes, without hanging and without taking much memory.
*/
#include "iotest.hpp"
#include <skean/private/checkpoint.hpp>
#include <algorithm>
#include <filesystem>
#include <set>
#include <sys/resource.h>

static long PeakKilobytes()
{
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return u.ru_maxrss;
}

template <class F>
static void Replay(const std::string &path, const char *what, F load)
{
  std::string          m;
  const PetscErrorCode e    = skeantest::ErrorOf(load, &m);
  int                  mine = e, lo, hi;
  MPI_Allreduce(&mine, &lo, 1, MPI_INT, MPI_MIN, PETSC_COMM_WORLD);
  MPI_Allreduce(&mine, &hi, 1, MPI_INT, MPI_MAX, PETSC_COMM_WORLD);
  EXPECT_EQ(lo, hi) << what << " " << path;
  if (!e) return;
  const std::set<int> clean = {PETSC_ERR_FILE_OPEN, PETSC_ERR_FILE_READ, PETSC_ERR_FILE_UNEXPECTED, PETSC_ERR_SUP, PETSC_ERR_ARG_OUTOFRANGE};
  EXPECT_TRUE(clean.count(e)) << what << " " << path << ": code " << e << ": " << m;
  EXPECT_NE(m.find(path.substr(path.rfind('/') + 1)), std::string::npos) << what << " " << path << ": " << m;
  EXPECT_GT(m.size(), path.size() + 5) << what << " " << m;
  EXPECT_EQ(m.find('\n'), std::string::npos) << m;
}

TEST(Corpus, CleanErrorOrSuccess)
{
  std::vector<std::string> files;
  for (const auto &f : std::filesystem::directory_iterator(SKEAN_CORPUS_DIR))
    if (f.is_regular_file()) files.push_back(f.path().string());
  std::sort(files.begin(), files.end());
  ASSERT_ALL(files.size() > 50);
  const long before = PeakKilobytes();
  for (const auto &path : files) {
    const char *name = path.c_str();
    Replay(path, "info", [&] {
      SkeanFileInfo info;
      return SkeanFileGetInfo(PETSC_COMM_WORLD, name, &info);
    });
    for (MatType type : {(MatType)NULL, (MatType)MATAIJ, (MatType)MATDENSE})
      Replay(path, "matrix", [&] {
        Mat            A = nullptr;
        PetscErrorCode e = SkeanMatLoadFile(PETSC_COMM_WORLD, name, type, &A);
        if (!e) MatDestroy(&A);
        return e;
      });
    Replay(path, "vector", [&] {
      Vec            v = nullptr;
      PetscErrorCode e = SkeanVecLoadFile(PETSC_COMM_WORLD, name, &v);
      if (!e) VecDestroy(&v);
      return e;
    });
    Replay(path, "grid", [&] {
      SkeanGrid      g = nullptr;
      PetscErrorCode e = SkeanGridLoadFile(PETSC_COMM_WORLD, name, &g);
      if (!e) SkeanGridDestroy(&g);
      return e;
    });
    Replay(path, "checkpoint", [&] {
      skean::CheckpointReader r;
      return r.Open(PETSC_COMM_WORLD, path, "");
    });
  }
  EXPECT_LT(PeakKilobytes() - before, 300000) << "kB taken for files of a few bytes";
}
