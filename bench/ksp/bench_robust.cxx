/*
   Preconditioners of adversarial matrices over many seeds. For each matrix and type of sketch one JSON object: how many first sketches
   were drawn again (they had lost a direction of the matrix, or the probe found them poor), how many redraws for either reason were made, how
   many were still poor in the end, and what the final preconditioner N is like:
   wrong_rank, gave_up (no sketch was good enough), the smallest singular value of A N and the largest condition number of A N, from a dense
   singular value decomposition for each seed.

   bench_ksp_robust [-seeds 10000] [-n 512] [-d 8] [-factor 4] [-types a,b,c] [-probe 0]       (mpirun -n P shares the seeds out)
*/
#include "harness/lsproblems.hpp"
#include <skean/private/lapack.hpp>
#include <skean/private/lsprecond.hpp>
#include <algorithm>
#include <cstring>

namespace {
struct Matrix {
  const char                               *name;
  bool                                      deficient; /* rank d - 1 */
  std::function<double(PetscInt, PetscInt)> entry;
};
struct Counts {
  long long seeds = 0, lost = 0, draws = 0, wrong = 0, gaveup = 0, above100 = 0, poor = 0, kept = 0;
  double    smin = 1e300, cond = 0;
};

/* One seed: the preconditioner, and the singular values of A N */
PetscErrorCode Try(const skean::RowView &A, const char *type, double factor, PetscBool probe, bool deficient, SkeanSeed seed, Counts &c)
{
  SkeanSketch             sketch;
  skean::LSPrecond        N;
  skean::LSPrecondOptions o;
  PetscBool               plain;

  PetscFunctionBeginUser;
  o.method = KSP_SKETCH_ITERATIVE;
  o.factor = factor;
  o.probe  = probe;
  PetscCall(SkeanSketchCreate(PETSC_COMM_SELF, &sketch));
  PetscCall(PetscStrcmp(type, "srht_plain", &plain));
  PetscCall(SkeanSketchSetType(sketch, plain ? SKEANSKETCHSRHT : type));
  if (plain) PetscCall(SkeanSketchSetPermute(sketch, PETSC_FALSE));
  PetscCall(SkeanSketchSetSeed(sketch, seed));
  c.seeds++;
  PetscCall(N.SetUp(PETSC_COMM_SELF, A, sketch, o, 0, nullptr));
  if (N.Lost()) {
    c.gaveup++;
    c.lost++;
    PetscCall(SkeanSketchDestroy(&sketch));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  c.draws += N.Draws();
  c.poor += N.PoorDraws();
  if (N.Draws() > 1) c.lost++;
  if (N.PoorDraws() && N.Draws() == o.poordraws) c.kept++; /* perhaps good at last, perhaps not: cond says */
  const PetscInt d = A.ncols, k = N.Rank(), n = A.nrows;
  if (k != d - (deficient ? 1 : 0)) c.wrong++;
  std::vector<double> I(static_cast<size_t>(k) * k, 0.0), X(static_cast<size_t>(d) * k), Y(static_cast<size_t>(n) * k), s(k), work(64 * (n + d)), dummy(1);
  for (PetscInt i = 0; i < k; ++i) I[i + static_cast<size_t>(i) * k] = 1.0;
  N.Apply(I.data(), X.data(), k);
  const PetscBLASInt        nn = n, dd = d, kk = k, lda = A.lda, one = 1, lwork = static_cast<PetscBLASInt>(work.size());
  const double              alpha = 1.0, beta = 0.0;
  PetscBLASInt              info;
  std::vector<PetscBLASInt> iwork(8 * d);
  BLASgemm_("N", "N", &nn, &kk, &dd, &alpha, A.dense, &lda, X.data(), &dd, &beta, Y.data(), &nn);
  dgesdd_("N", &nn, &kk, Y.data(), &nn, s.data(), dummy.data(), &one, dummy.data(), &one, work.data(), &lwork, iwork.data(), &info);
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dgesdd: info %d", (int)info);
  const double cond = s[k - 1] > 0 ? s[0] / s[k - 1] : 1e300;
  c.smin            = std::min(c.smin, s[k - 1]);
  c.cond            = std::max(c.cond, cond);
  if (cond > 100) c.above100++;
  PetscCall(SkeanSketchDestroy(&sketch));
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

int main(int argc, char **argv)
{
  PetscInt    seeds = 10000, n = 512, d = 8;
  PetscReal   factor     = 4;
  PetscBool   probe      = PETSC_TRUE;
  char        types[256] = "sparsesign,srht_plain,srht,srct,sparsestack,countsketch";
  PetscMPIInt size, rank;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, "Preconditioners of adversarial matrices over many seeds\n"));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-seeds", &seeds, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-n", &n, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-d", &d, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-factor", &factor, NULL));
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-probe", &probe, NULL));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-types", types, sizeof types, NULL));
  const skean::RandomStream rnd(41, skean::Purpose::Test);
  const std::vector<Matrix> matrices = {
    {"identity_contiguous", false, [&](PetscInt i, PetscInt j) { return i == j ? 1.0 : 0.0; }},
    {"identity_scattered", false, [&](PetscInt i, PetscInt j) { return i == j * (n / d) ? 1.0 : 0.0; }},
    {"coherent_block", false, [&](PetscInt i, PetscInt j) { return (i == j ? 1.0 : 0.0) + 1e-4 * rnd.Normal(i, j); }},
    {"one_row_1e8", false, [&](PetscInt i, PetscInt j) { return (i == n / 3 ? 1e8 / std::sqrt(static_cast<double>(d)) : 1.0) * rnd.Normal(i, j); }},
    {"spiky_rows", false, [&](PetscInt i, PetscInt j) { return (i % (n / (2 * d)) == 5 ? 1e4 : 1e-2) * rnd.Normal(i, j); }},
    {"duplicate_columns", true, [&](PetscInt i, PetscInt j) { return rnd.Normal(i, j == d - 1 ? 0 : j); }},
  };
  PetscLogDouble t0, t1;
  PetscCall(PetscTime(&t0));
  long long singular = 0, total = 0;
  for (const Matrix &M : matrices) {
    std::vector<double> a(static_cast<size_t>(n) * d);
    for (PetscInt j = 0; j < d; ++j)
      for (PetscInt i = 0; i < n; ++i) a[i + static_cast<size_t>(j) * n] = M.entry(i, j);
    skean::RowView A;
    A.nrows = A.nglobal = A.lda = n;
    A.ncols                     = d;
    A.dense                     = a.data();
    char  list[256];
    char *save = nullptr;
    std::strcpy(list, types);
    for (const char *type = strtok_r(list, ",", &save); type; type = strtok_r(nullptr, ",", &save)) {
      Counts c;
      for (PetscInt seed = rank; seed < seeds; seed += size) PetscCall(Try(A, type, factor, probe, M.deficient, 1000 + seed, c));
      long long sums[8] = {c.seeds, c.lost, c.draws, c.wrong, c.gaveup, c.above100, c.poor, c.kept};
      double    most[2] = {-c.smin, c.cond};
      PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, sums, 8, MPI_LONG_LONG, MPI_SUM, PETSC_COMM_WORLD));
      PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, most, 2, MPI_DOUBLE, MPI_MAX, PETSC_COMM_WORLD));
      singular += sums[3] + sums[4];
      total += sums[0];
      PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                            "{\"bench\": \"ksp_robust\", \"matrix\": \"%s\", \"sketch\": \"%s\", \"n\": %d, \"d\": %d, \"m\": %d, \"seeds\": %lld, "
                            "\"first_draw_redrawn\": %lld, \"redraws\": %lld, \"found_poor\": %lld, \"last_try\": %lld, \"wrong_rank\": %lld, \"gave_up\": "
                            "%lld, \"min_sigma_AN\": %.3e, "
                            "\"max_cond_AN\": %.3g, \"cond_above_100\": %lld}\n",
                            M.name, type, (int)n, (int)d, (int)std::ceil(factor * d), sums[0], sums[1], sums[2] - (sums[0] - sums[4]), sums[6], sums[7],
                            sums[3], sums[4], -most[0], most[1], sums[5]));
    }
  }
  PetscCall(PetscTime(&t1));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "{\"bench\": \"ksp_robust_summary\", \"preconditioners\": %lld, \"singular_or_given_up\": %lld, \"seconds\": %.1f}\n",
                        total, singular, t1 - t0));
  PetscCall(SkeanFinalize());
  return 0;
}
