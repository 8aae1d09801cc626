/*
   What is known about single coordinates of sketched least squares, by experiment. One JSON object per case:
   - bounds_linf: the largest error of a coordinate of the sketch-and-solve solution, in units |r| |A^+| / sqrt(m), for the matrix and
     residual of Price, Song & Woodruff (ICALP 2017): unit rows, and a residual with m/d nonzeros. A sketch that spreads the error evenly
     has sqrt(log d) here, CountSketch has sqrt(d). Draws that lost a column are counted and left out.
   - bounds_singular: how often the plain SRHT loses a column of [I_d; 0], and the SRHT with its permutation.
   - bounds_coverage: how often the Student-t intervals hold, one coordinate at 95 % and all at once at 99 %.
   - bounds_certified: how often the bounds of KSPSketchSetErrorBounds() with delta = 1e-3 hold after a KSPSolve(), and by how much they
     overestimate the error of a coordinate, against the exact solution of the stored numbers; for a solve stopped early, for one to full
     accuracy, and for one with extra-precise refinement.

   bench_ksp_bounds [-draws 300] [-only linf|singular|coverage|certified]       (mpirun -n P shares the draws out)
*/
#include "harness/lsproblems.hpp"
#include "reference/leastsquares.hpp"
#include "src/ksp/sketch/lssolve.hpp"
#include <skean/private/lapack.hpp>
#include <algorithm>
#include <cstring>

namespace {
PetscMPIInt Size, Rank;

/* Sketch, solution of the sketched problem, s and |e_j'R^{-1}|. lost: S A has not the rank d. */
PetscErrorCode SketchAndSolve(const char *type, bool plain, PetscInt nnz, Mat A, Vec b, PetscInt m, PetscInt draw, bool *lost, std::vector<double> &x,
                              double *s, std::vector<double> &rows)
{
  SkeanSketch         sketch;
  PetscInt            n, d;
  std::vector<double> SA, tau, work, Sb;
  PetscBLASInt        info, one = 1;

  PetscFunctionBeginUser;
  PetscCall(MatGetSize(A, &n, &d));
  PetscCall(SkeanSketchCreate(PETSC_COMM_SELF, &sketch));
  PetscCall(SkeanSketchSetType(sketch, type));
  if (plain) PetscCall(SkeanSketchSetPermute(sketch, PETSC_FALSE));
  if (nnz) PetscCall(SkeanSketchSetNonzeros(sketch, nnz));
  PetscCall(SkeanSketchSetSizes(sketch, m, n));
  PetscCall(SkeanSketchSetSeed(sketch, 77));
  PetscCall(SkeanSketchSetDraw(sketch, draw));
  PetscCall(SkeanSketchSetUp(sketch));
  SA.resize(static_cast<size_t>(m) * d);
  Sb.resize(m);
  tau.resize(d);
  work.resize(64 * static_cast<size_t>(d));
  PetscCall(SkeanSketchApply(sketch, A, SA.data()));
  PetscCall(SkeanSketchApplyVec(sketch, b, Sb.data()));
  PetscCall(SkeanSketchDestroy(&sketch));
  PetscBLASInt mm = m, dd = d, lwork = static_cast<PetscBLASInt>(work.size());
  LAPACKgeqrf_(&mm, &dd, SA.data(), &mm, tau.data(), work.data(), &lwork, &info);
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dgeqrf: info %d", (int)info);
  double big = 0, small = 1e300;
  for (PetscInt j = 0; j < d; ++j) {
    const double e = std::fabs(SA[j + static_cast<size_t>(j) * m]);
    big            = std::max(big, e);
    small          = std::min(small, e);
  }
  *lost = !(small > 1e-12 * big);
  if (*lost) PetscFunctionReturn(PETSC_SUCCESS);
  LAPACKormqr_("L", "T", &mm, &one, &dd, SA.data(), &mm, tau.data(), Sb.data(), &mm, work.data(), &lwork, &info);
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dormqr: info %d", (int)info);
  double rho2 = 0;
  for (PetscInt i = d; i < m; ++i) rho2 += Sb[i] * Sb[i];
  *s = std::sqrt(rho2 / (m - d));
  x.assign(Sb.begin(), Sb.begin() + d);
  dtrsv_("U", "N", "N", &dd, SA.data(), &mm, x.data(), &one);
  rows.assign(d, 0.0);
  std::vector<double> e(d);
  for (PetscInt j = 0; j < d; ++j) { /* column j of R^{-1} */
    std::fill(e.begin(), e.end(), 0.0);
    e[j] = 1.0;
    dtrsv_("U", "N", "N", &dd, SA.data(), &mm, e.data(), &one);
    for (PetscInt i = 0; i <= j; ++i) rows[i] += e[i] * e[i];
  }
  for (double &r : rows) r = std::sqrt(r);
  PetscFunctionReturn(PETSC_SUCCESS);
}
/* everything of every process */
std::vector<double> Gather(const std::vector<double> &mine)
{
  int              n = static_cast<int>(mine.size()), total = 0;
  std::vector<int> counts(Size), first(Size);
  MPI_Allgather(&n, 1, MPI_INT, counts.data(), 1, MPI_INT, PETSC_COMM_WORLD);
  for (int p = 0; p < Size; ++p) {
    first[p] = total;
    total += counts[p];
  }
  std::vector<double> all(total);
  MPI_Allgatherv(mine.data(), n, MPI_DOUBLE, all.data(), counts.data(), first.data(), MPI_DOUBLE, PETSC_COMM_WORLD);
  std::sort(all.begin(), all.end());
  return all;
}
/* sums[k] over the processes */
template <size_t N>
void Add(long long (&sums)[N])
{
  MPI_Allreduce(MPI_IN_PLACE, sums, N, MPI_LONG_LONG, MPI_SUM, PETSC_COMM_WORLD);
}

/* Unit rows scattered over n; residual with m/d equal nonzeros in other rows; x* = 0 */
PetscErrorCode LargestCoordinate(PetscInt draws)
{
  const PetscInt            n = 4096, d = 64, m = 512, k = m / d;
  const skean::RandomStream rnd(42, skean::Purpose::Test);
  Mat                       A;
  Vec                       b;
  struct {
    const char *name, *type;
    PetscInt    nnz;
  } types[] = {{"gaussian", SKEANSKETCHGAUSSIAN, 0},
               {"srht", SKEANSKETCHSRHT, 0},
               {"pooled", SKEANSKETCHPOOLED, 0},
               {"sparsesign nnz=8", SKEANSKETCHSPARSESIGN, 8},
               {"sparsesign nnz=4", SKEANSKETCHSPARSESIGN, 4},
               {"countsketch", SKEANSKETCHCOUNTSKETCH, 0}};

  PetscFunctionBeginUser;
  PetscCall(skeantest::MakeMatrix(
    PETSC_COMM_SELF, n, d, true,
    [&](PetscInt i, double *row) {
      if (i % (n / d) == 0) row[i / (n / d)] = 1.0;
    },
    &A));
  PetscCall(skeantest::MakeVector(
    A, [&](PetscInt i) { return i % (n / k) == 1 ? 1 / std::sqrt(static_cast<double>(k)) : 0.0; }, &b));
  for (const auto &t : types) {
    std::vector<double> errors, x, rows;
    double              s       = 0;
    long long           sums[2] = {0, 0};
    const PetscInt      mine    = (draws + Size - 1) / Size;
    /* a CountSketch of 64 unit rows into 512 buckets keeps them apart in 2 draws of 100 */
    for (PetscInt draw = Rank; static_cast<PetscInt>(errors.size()) < mine && sums[0] < 200 * mine; draw += Size) {
      bool lost = true;
      PetscCall(SketchAndSolve(t.type, false, t.nnz, A, b, m, draw, &lost, x, &s, rows));
      sums[0]++;
      if (lost) {
        sums[1]++;
        continue;
      }
      double e = 0;
      for (double v : x) e = std::max(e, std::fabs(v));
      errors.push_back(e * std::sqrt(static_cast<double>(m)));
    }
    Add(sums);
    errors         = Gather(errors);
    const size_t c = errors.size();
    PetscCheck(c > 0, PETSC_COMM_WORLD, PETSC_ERR_CONV_FAILED, "No sketch of type %s kept all columns", t.name);
    double mean = 0;
    for (double e : errors) mean += e / c;
    PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                          "{\"bench\": \"bounds_linf\", \"sketch\": \"%s\", \"n\": %d, \"d\": %d, \"m\": %d, \"draws\": %lld, \"lost_a_column\": %lld, "
                          "\"median\": %.2f, \"mean\": %.2f, \"max\": %.2f, \"sqrt_d\": %.2f}\n",
                          t.name, (int)n, (int)d, (int)m, sums[0], sums[1], errors[c / 2], mean, errors[c - 1], std::sqrt(static_cast<double>(d))));
  }
  PetscCall(MatDestroy(&A));
  PetscCall(VecDestroy(&b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SingularSRHT(PetscInt draws)
{
  const PetscInt n = 16384, d = 32;
  Mat            A;
  Vec            b;

  PetscFunctionBeginUser;
  PetscCall(skeantest::MakeMatrix(
    PETSC_COMM_SELF, n, d, true,
    [&](PetscInt i, double *row) {
      if (i < d) row[i] = 1.0;
    },
    &A));
  PetscCall(MatCreateVecs(A, NULL, &b));
  PetscCall(VecSet(b, 1.0));
  for (const bool plain : {true, false})
    for (const PetscInt factor : {2, 4, 8}) {
      std::vector<double> x, rows;
      double              s       = 0;
      bool                lost    = true;
      long long           sums[2] = {0, 0};
      for (PetscInt draw = Rank; draw < draws; draw += Size) {
        PetscCall(SketchAndSolve(SKEANSKETCHSRHT, plain, 0, A, b, factor * d, draw, &lost, x, &s, rows));
        sums[0]++;
        sums[1] += lost;
      }
      Add(sums);
      PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                            "{\"bench\": \"bounds_singular\", \"sketch\": \"srht\", \"permute\": %s, \"n\": %d, \"d\": %d, \"m_over_d\": %d, \"draws\": %lld, "
                            "\"singular\": %lld, \"fraction\": %.3f}\n",
                            plain ? "false" : "true", (int)n, (int)d, (int)factor, sums[0], sums[1], static_cast<double>(sums[1]) / sums[0]));
    }
  PetscCall(MatDestroy(&A));
  PetscCall(VecDestroy(&b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Coverage(PetscInt draws)
{
  const PetscInt            n = 4096, d = 16, m = 8 * d;
  const skean::RandomStream rnd(43, skean::Purpose::Test);
  const double              one = skean::StudentQuantile(0.025, m - d), all = skean::StudentQuantile(0.005 / d, m - d);

  PetscFunctionBeginUser;
  for (const char *matrix : {"gaussian", "spiky"}) {
    const bool          spiky = matrix[0] == 's';
    Mat                 A;
    Vec                 b, x;
    KSP                 ksp;
    KSPConvergedReason  reason;
    std::vector<double> exact, y, rows;
    PetscCall(skeantest::MakeMatrix(
      PETSC_COMM_SELF, n, d, true,
      [&](PetscInt i, double *row) {
        for (PetscInt j = 0; j < d; ++j) row[j] = spiky ? (i == j * (n / d) ? 1.0 : 1e-3 * rnd.Normal(i, j)) : rnd.Normal(i, j);
      },
      &A));
    PetscCall(skeantest::MakeVector(
      A, [&](PetscInt i) { return spiky ? (i % (n / 8) == 1 ? 1.0 : 0.0) : rnd.Normal(i, 1000); }, &b));
    PetscCall(MatCreateVecs(A, &x, NULL));
    PetscCall(KSPCreate(PETSC_COMM_SELF, &ksp));
    PetscCall(KSPSetType(ksp, KSPSKETCH));
    PetscCall(KSPSketchSetMethod(ksp, KSP_SKETCH_TSQR));
    PetscCall(KSPSetOperators(ksp, A, A));
    PetscCall(KSPSolve(ksp, b, x));
    PetscCall(KSPGetConvergedReason(ksp, &reason));
    PetscCheck(reason > 0, PETSC_COMM_SELF, PETSC_ERR_NOT_CONVERGED, "The reference solution did not converge");
    PetscCall(skeantest::Everything(x, exact));
    PetscCall(KSPDestroy(&ksp));
    for (const char *type : {SKEANSKETCHGAUSSIAN, SKEANSKETCHSRHT, SKEANSKETCHPOOLED, SKEANSKETCHBLOCKSRHT, SKEANSKETCHSPARSESIGN}) {
      long long sums[5] = {0, 0, 0, 0, 0}; /* draws, lost, coordinates, coordinates covered, draws covered */
      for (PetscInt draw = Rank; draw < draws; draw += Size) {
        bool   lost = true, every = true;
        double s = 0;
        PetscCall(SketchAndSolve(type, false, 0, A, b, m, draw, &lost, y, &s, rows));
        sums[0]++;
        if (lost) {
          sums[1]++;
          continue;
        }
        for (PetscInt j = 0; j < d; ++j) {
          const double t = std::fabs(y[j] - exact[j]) / (s * rows[j]);
          sums[2]++;
          sums[3] += t <= one;
          every = every && t <= all;
        }
        sums[4] += every;
      }
      Add(sums);
      PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                            "{\"bench\": \"bounds_coverage\", \"matrix\": \"%s\", \"sketch\": \"%s\", \"n\": %d, \"d\": %d, \"m\": %d, \"draws\": %lld, "
                            "\"lost_a_column\": %lld, \"coordinate_95\": %.4f, \"simultaneous_99\": %.4f}\n",
                            matrix, type, (int)n, (int)d, (int)m, sums[0], sums[1], static_cast<double>(sums[3]) / std::max(sums[2], 1LL),
                            static_cast<double>(sums[4]) / std::max(sums[0] - sums[1], 1LL)));
    }
    PetscCall(MatDestroy(&A));
    PetscCall(VecDestroy(&b));
    PetscCall(VecDestroy(&x));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Certified(PetscInt draws)
{
  const PetscInt              n = 4096, d = 16;
  const skeantest::DctProblem p(n, d, 1e3, 1.0);
  Mat                         A;
  Vec                         b, x, bounds;

  PetscFunctionBeginUser;
  PetscCall(skeantest::MakeMatrix(
    PETSC_COMM_SELF, n, d, true, [&](PetscInt i, double *row) { p.Row(i, row); }, &A));
  PetscCall(skeantest::MakeVector(
    A, [&](PetscInt i) { return p.Rhs(i); }, &b));
  PetscCall(MatCreateVecs(A, &x, NULL));
  PetscCall(VecDuplicate(x, &bounds));
  std::vector<double> full(static_cast<size_t>(n) * d), rhs(n), row(d);
  for (PetscInt i = 0; i < n; ++i) {
    p.Row(i, row.data());
    for (PetscInt j = 0; j < d; ++j) full[i + static_cast<size_t>(j) * n] = row[j];
    rhs[i] = p.Rhs(i);
  }
  const std::vector<double> exact = reference::ExactLeastSquares(n, d, full, rhs);
  const struct {
    const char           *name;
    double                rtol;
    KSPSketchExtraPrecise precise;
  } solves[] = {{"rtol 1e-5", 1e-5, KSP_SKETCH_EXTRA_PRECISE_NO}, {"full", 0, KSP_SKETCH_EXTRA_PRECISE_NO}, {"extra precise", 0, KSP_SKETCH_EXTRA_PRECISE_YES}};
  for (const auto &solve : solves)
    for (const char *type : {SKEANSKETCHGAUSSIAN, SKEANSKETCHSPARSESIGN, SKEANSKETCHPOOLED})
      for (const PetscReal factor : {4.0, 12.0}) {
        long long           sums[2] = {0, 0};
        std::vector<double> over, errors;
        for (PetscInt draw = Rank; draw < draws; draw += Size) {
          KSP                 ksp;
          SkeanSketch         sketch;
          KSPConvergedReason  reason;
          std::vector<double> y, e;
          PetscCall(KSPCreate(PETSC_COMM_SELF, &ksp));
          PetscCall(KSPSetType(ksp, KSPSKETCH));
          PetscCall(KSPSetOperators(ksp, A, A));
          PetscCall(KSPSketchSetMethod(ksp, KSP_SKETCH_ITERATIVE));
          PetscCall(KSPSketchSetErrorBounds(ksp, 1e-3));
          PetscCall(KSPSketchSetExtraPrecise(ksp, solve.precise));
          if (solve.rtol > 0) PetscCall(KSPSetTolerances(ksp, solve.rtol, PETSC_DEFAULT, PETSC_DEFAULT, PETSC_DEFAULT));
          PetscCall(KSPSketchGetSketch(ksp, &sketch));
          PetscCall(SkeanSketchSetType(sketch, type));
          PetscCall(SkeanSketchSetFactor(sketch, factor));
          PetscCall(SkeanSketchSetSeed(sketch, 5000 + draw));
          PetscCall(KSPSolve(ksp, b, x));
          PetscCall(KSPGetConvergedReason(ksp, &reason));
          PetscCheck(reason > 0, PETSC_COMM_SELF, PETSC_ERR_NOT_CONVERGED, "%s", KSPConvergedReasons[reason]);
          PetscCall(KSPSketchGetErrorBounds(ksp, bounds, NULL));
          PetscCall(skeantest::Everything(x, y));
          PetscCall(skeantest::Everything(bounds, e));
          bool   holds = true;
          double worst = 0;
          for (PetscInt j = 0; j < d; ++j) {
            const double error = std::fabs(y[j] - exact[j]);
            holds              = holds && error <= e[j];
            worst              = std::max(worst, error);
            if (error > 0) over.push_back(e[j] / error);
          }
          errors.push_back(worst);
          sums[0]++;
          sums[1] += holds;
          PetscCall(KSPDestroy(&ksp));
        }
        Add(sums);
        over   = Gather(over);
        errors = Gather(errors);
        PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                              "{\"bench\": \"bounds_certified\", \"sketch\": \"%s\", \"n\": %d, \"d\": %d, \"factor\": %g, \"solve\": \"%s\", \"draws\": %lld, "
                              "\"held\": %lld, \"delta\": 1e-3, \"median_overestimate\": %.1f, \"least_overestimate\": %.2f, \"median_largest_error\": %.2e}\n",
                              type, (int)n, (int)d, (double)factor, solve.name, sums[0], sums[1], over.empty() ? 0.0 : over[over.size() / 2],
                              over.empty() ? 0.0 : over[0], errors[errors.size() / 2]));
      }
  PetscCall(MatDestroy(&A));
  PetscCall(VecDestroy(&b));
  PetscCall(VecDestroy(&x));
  PetscCall(VecDestroy(&bounds));
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

int main(int argc, char **argv)
{
  PetscInt draws = 300;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, "Errors of single coordinates, intervals and bounds\n"));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &Size));
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &Rank));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-draws", &draws, NULL));
  char only[32] = "";
  PetscCall(PetscOptionsGetString(NULL, NULL, "-only", only, sizeof only, NULL));
  const auto wanted = [&](const char *name) { return !only[0] || !std::strcmp(only, name); };
  if (wanted("linf")) PetscCall(LargestCoordinate(std::max<PetscInt>(1, draws / 3)));
  if (wanted("singular")) PetscCall(SingularSRHT(std::max<PetscInt>(1, draws / 3)));
  if (wanted("coverage")) PetscCall(Coverage(draws));
  if (wanted("certified")) PetscCall(Certified(draws));
  PetscCall(SkeanFinalize());
  return 0;
}
