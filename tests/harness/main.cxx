#include "skeantest.hpp"
#include <cstdlib>
#include <filesystem>
#include <unistd.h>

namespace skeantest {
std::string        LastErrorMessage;
static std::string scratch;

PetscErrorCode RecordError(MPI_Comm, int, const char *, const char *, PetscErrorCode n, PetscErrorType p, const char *mess, void *)
{
  if (p == PETSC_ERROR_INITIAL && mess) LastErrorMessage = mess;
  return n;
}

std::string DataFile(const std::string &name)
{
  const char *env = std::getenv("SKEAN_DATA_DIR");
  if (!env || !*env) return "";
  const std::string path = std::string(env) + "/" + name;
  return access(path.c_str(), R_OK) == 0 ? path : "";
}

std::string ScratchDir()
{
  if (scratch.empty()) {
    char name[256] = "";
    if (Rank() == 0) {
      std::string base = std::filesystem::temp_directory_path().string() + "/skean-test-XXXXXX";
      std::snprintf(name, sizeof(name), "%s", base.c_str());
      if (!mkdtemp(name)) name[0] = 0;
    }
    MPI_Bcast(name, sizeof(name), MPI_CHAR, 0, PETSC_COMM_WORLD);
    scratch = name;
  }
  return scratch;
}
} // namespace skeantest

namespace {
/* Rank 0 prints; after each test the failure texts of the other processes are printed too and the verdict is made common. */
class AgreeingListener : public testing::EmptyTestEventListener {
public:
  explicit AgreeingListener(bool prints) : prints_(prints) {}
  ~AgreeingListener() override = default;
  void OnTestPartResult(const testing::TestPartResult &r) override
  {
    if (r.failed()) text_ += std::string(r.file_name() ? r.file_name() : "?") + ":" + std::to_string(r.line_number()) + ": " + r.message() + "\n";
  }
  void OnTestEnd(const testing::TestInfo &info) override
  {
    int         rank, size, n = static_cast<int>(text_.size());
    std::string mine = text_;
    text_.clear();
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    std::vector<int> len(size), off(size, 0);
    MPI_Allgather(&n, 1, MPI_INT, len.data(), 1, MPI_INT, MPI_COMM_WORLD);
    int total = 0;
    for (int r = 0; r < size; ++r) {
      off[r] = total;
      total += len[r];
    }
    if (!total) return;
    Failed = true;
    std::vector<char> all(total + 1, 0);
    MPI_Gatherv(mine.data(), n, MPI_CHAR, all.data(), len.data(), off.data(), MPI_CHAR, 0, MPI_COMM_WORLD);
    if (prints_)
      for (int r = 1; r < size; ++r)
        if (len[r]) std::printf("[process %d] %s.%s\n%.*s", r, info.test_suite_name(), info.name(), len[r], all.data() + off[r]);
  }
  static bool Failed;

private:
  bool        prints_;
  std::string text_;
};
bool AgreeingListener::Failed = false;
} // namespace

int main(int argc, char **argv)
{
  testing::InitGoogleTest(&argc, argv);
  /* through -skean_test_bare_petsc the linked library must register itself without SkeanInitialize() */
  if (PetscInitialize(&argc, &argv, nullptr, nullptr)) return 2;
  if (SkeanInitialize(&argc, &argv, nullptr, nullptr)) return 2;
  int rank;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  auto &listeners = testing::UnitTest::GetInstance()->listeners();
  if (rank) delete listeners.Release(listeners.default_result_printer());
  listeners.Append(new AgreeingListener(rank == 0));
  int bad = RUN_ALL_TESTS();
  bad     = bad || AgreeingListener::Failed;
  int any = 0;
  MPI_Allreduce(&bad, &any, 1, MPI_INT, MPI_MAX, PETSC_COMM_WORLD);
  if (rank == 0 && !skeantest::scratch.empty()) {
    std::error_code ec;
    std::filesystem::remove_all(skeantest::scratch, ec);
  }
  PetscErrorCode e = PetscFinalize();
  return any || e ? 1 : 0;
}
