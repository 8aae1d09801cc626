/*
   Time of S A for each type of sketch on a dense and on a sparse matrix, one JSON object per case, against the rate at which the same processes
   read the same array.

     mpirun -n 2 bench_sketch_apply [-n rows] [-d columns] [-factor m/d] [-nnz per row] [-sparse_n rows] [-sparse_d columns] [-repeats r] [-types a,b,c] [-storage dense|sparse]

   time: slowest process, over repeats after one warm-up. gbytes_per_s: bytes of A (values, and indices if sparse) per second, all processes together.
   fraction_of_stream: that, relative to a plain sum over the values of the dense A (sparse: over an array of as many bytes) in this run. comm_bytes_per_rank: by formula, m d 8.
   error: |S (A x) - (S A) x| / |(S A) x| for an x of ones; S (A x) goes through SkeanSketchApplyVec().
*/
static char help[] = "Time of S A for each type of sketch, dense and sparse\n";

#include <skean.h>
#include <skeansketch.h>
#include <skean/private/petsccompat.h>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace {
double Now()
{
  MPI_Barrier(PETSC_COMM_WORLD);
  return MPI_Wtime();
}
double Slowest(double t)
{
  double s;
  MPI_Allreduce(&t, &s, 1, MPI_DOUBLE, MPI_MAX, PETSC_COMM_WORLD);
  return s;
}

/* cheap and good enough: the sketches do not look at the values */
double Value(PetscInt i, PetscInt j)
{
  const unsigned h = 2654435761u * static_cast<unsigned>(i) + 40503u * static_cast<unsigned>(j);
  return (h >> 8) * 0x1p-23 - 1.0;
}

/* Sum over an array with enough accumulators that only the memory counts */
double SumOf(const double *a, size_t n)
{
  double s[32] = {0};
  size_t i     = 0;
  for (; i + 32 <= n; i += 32)
    for (int k = 0; k < 32; ++k) s[k] += a[i + k];
  for (; i < n; ++i) s[0] += a[i];
  for (int k = 1; k < 32; ++k) s[0] += s[k];
  return s[0];
}

double StreamSeconds(const double *a, size_t n, PetscInt repeats, double *sink)
{
  std::vector<double> times;
  for (PetscInt r = 0; r <= repeats; ++r) {
    const double t = Now();
    *sink += SumOf(a, n);
    const double e = Slowest(MPI_Wtime() - t);
    if (r) times.push_back(e);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2]; /* the median, as for the sketches */
}

PetscErrorCode Case(const char *type, const char *storage, Mat A, PetscReal factor, double bytes, double streamrate, PetscInt repeats)
{
  SkeanSketch         s;
  PetscInt            m, n, d;
  PetscMPIInt         size;
  SkeanSeed           seed;
  Vec                 x, y;
  std::vector<double> SA, Sy, times;
  char                version[64];

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  PetscCall(MatGetSize(A, &n, &d));
  PetscCall(SkeanSketchCreate(PETSC_COMM_WORLD, &s));
  PetscCall(SkeanSketchSetType(s, type));
  PetscCall(SkeanSketchSetFactor(s, factor));
  PetscCall(SkeanSketchSetFromOptions(s));
  PetscCall(SkeanSketchSetSizesFromMat(s, A));
  PetscCall(SkeanSketchGetSizes(s, &m, NULL));
  PetscCall(SkeanSketchGetSeed(s, &seed));
  SA.resize(static_cast<size_t>(m) * d);
  Sy.resize(m);
  for (PetscInt r = 0; r <= repeats; ++r) {
    const double t = Now();
    PetscCall(SkeanSketchApply(s, A, SA.data()));
    const double e = Slowest(MPI_Wtime() - t);
    if (r) times.push_back(e);
  }
  PetscCall(MatCreateVecs(A, &x, &y));
  PetscCall(VecSet(x, 1.0));
  PetscCall(MatMult(A, x, y));
  PetscCall(SkeanSketchApplyVec(s, y, Sy.data()));
  double diff = 0, norm = 0;
  for (PetscInt t = 0; t < m; ++t) {
    double v = 0;
    for (PetscInt j = 0; j < d; ++j) v += SA[t + static_cast<size_t>(j) * m];
    diff += (v - Sy[t]) * (v - Sy[t]);
    norm += v * v;
  }
  std::sort(times.begin(), times.end());
  PetscCall(SkeanGetVersion(version, sizeof(version)));
  const double median = times[times.size() / 2], rate = bytes / median * 1e-9;
  PetscCall(PetscPrintf(
    PETSC_COMM_WORLD,
    "{\"bench\": \"sketch_apply\", \"type\": \"%s\", \"storage\": \"%s\", \"n\": %d, \"d\": %d, \"m\": %d, \"ranks\": %d, \"seed\": %lld, \"repeats\": %d, "
    "\"time_min\": %.4e, \"time_median\": %.4e, \"time_max\": %.4e, \"gbytes_per_s\": %.3f, \"stream_gbytes_per_s\": %.3f, \"fraction_of_stream\": %.3f, "
    "\"comm_bytes_per_rank\": %.0f, \"error\": %.2e, \"version\": \"%s\"}\n",
    type, storage, (int)n, (int)d, (int)m, (int)size, (long long)seed, (int)repeats, times.front(), median, times.back(), rate, streamrate * 1e-9,
    rate / (streamrate * 1e-9), 8.0 * m * d, std::sqrt(diff / norm), version));
  PetscCall(VecDestroy(&x));
  PetscCall(VecDestroy(&y));
  PetscCall(SkeanSketchDestroy(&s));
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

int main(int argc, char **argv)
{
  PetscInt    n = 200000, d = 64, sn = 500000, sd = 500, nnz = 10, repeats = 5, ntypes = 9;
  PetscReal   factor   = 4;
  char       *types[9] = {nullptr}, storage[16] = "both";
  const char *all[] = {SKEANSKETCHSPARSESIGN, SKEANSKETCHSPARSESTACK, SKEANSKETCHCOUNTSKETCH, SKEANSKETCHSRHT,    SKEANSKETCHBLOCKSRHT,
                       SKEANSKETCHPOOLED,     SKEANSKETCHSRCT,        SKEANSKETCHLEVERAGE,    SKEANSKETCHGAUSSIAN};
  PetscBool   given;
  double      sink = 0;
  Mat         A;
  PetscInt    r0, r1;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, help));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-n", &n, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-d", &d, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-sparse_n", &sn, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-sparse_d", &sd, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-nnz", &nnz, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-repeats", &repeats, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-factor", &factor, NULL));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-storage", storage, sizeof(storage), NULL));
  PetscCall(PetscOptionsGetStringArray(NULL, NULL, "-types", types, &ntypes, &given));
  if (!given) ntypes = 9;
  PetscCheck(n > 0 && d > 0 && sn > 0 && sd > 0 && nnz > 0 && nnz <= sd && repeats > 0, PETSC_COMM_WORLD, PETSC_ERR_ARG_OUTOFRANGE, "Sizes must be positive");

  if (std::strcmp(storage, "sparse")) {
    PetscScalar *a;
    PetscInt     nlocal;
    PetscCall(MatCreateDense(PETSC_COMM_WORLD, PETSC_DECIDE, PETSC_DECIDE, n, d, NULL, &A));
    PetscCall(MatGetOwnershipRange(A, &r0, &r1));
    nlocal = r1 - r0;
    PetscCall(MatDenseGetArray(A, &a));
    for (PetscInt j = 0; j < d; ++j)
      for (PetscInt i = 0; i < nlocal; ++i) a[i + static_cast<size_t>(j) * nlocal] = Value(r0 + i, j);
    const double bytes = 8.0 * n * d, rate = bytes / StreamSeconds(a, static_cast<size_t>(nlocal) * d, repeats, &sink);
    PetscCall(MatDenseRestoreArray(A, &a));
    PetscCall(MatAssemblyBegin(A, MAT_FINAL_ASSEMBLY));
    PetscCall(MatAssemblyEnd(A, MAT_FINAL_ASSEMBLY));
    for (PetscInt k = 0; k < ntypes; ++k) PetscCall(Case(given ? types[k] : all[k], "dense", A, factor, bytes, rate, repeats));
    PetscCall(MatDestroy(&A));
  }
  if (std::strcmp(storage, "dense")) {
    PetscCall(MatCreate(PETSC_COMM_WORLD, &A));
    PetscCall(MatSetSizes(A, PETSC_DECIDE, PETSC_DECIDE, sn, sd));
    PetscCall(MatSetType(A, MATAIJ));
    PetscCall(MatSeqAIJSetPreallocation(A, nnz, NULL));
    PetscCall(MatMPIAIJSetPreallocation(A, nnz, NULL, nnz, NULL));
    PetscCall(MatGetOwnershipRange(A, &r0, &r1));
    /* nnz different columns scattered over all */
    for (PetscInt i = r0; i < r1; ++i)
      for (PetscInt k = 0; k < nnz; ++k) {
        const PetscInt width = sd / nnz, h = static_cast<PetscInt>((2654435761u * static_cast<unsigned>(i * nnz + k)) >> 8);
        PetscCall(MatSetValue(A, i, k * width + h % width, Value(i, k), INSERT_VALUES));
      }
    PetscCall(MatAssemblyBegin(A, MAT_FINAL_ASSEMBLY));
    PetscCall(MatAssemblyEnd(A, MAT_FINAL_ASSEMBLY));
    const double        bytes = static_cast<double>(sn) * nnz * (8.0 + sizeof(PetscInt));
    std::vector<double> a(static_cast<size_t>(r1 - r0) * nnz * (8 + sizeof(PetscInt)) / 8, 1.0);
    const double        rate = bytes / StreamSeconds(a.data(), a.size(), repeats, &sink);
    for (PetscInt k = 0; k < ntypes; ++k) PetscCall(Case(given ? types[k] : all[k], "sparse", A, factor, bytes, rate, repeats));
    PetscCall(MatDestroy(&A));
  }
  if (sink == 1234.5) PetscCall(PetscPrintf(PETSC_COMM_WORLD, " ")); /* the sums are used */
  for (PetscInt k = 0; given && k < ntypes; ++k) PetscCall(PetscFree(types[k]));
  PetscCall(SkeanFinalize());
  return 0;
}
