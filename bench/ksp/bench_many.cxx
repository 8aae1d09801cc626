/*
   Many problems with one matrix. Per matrix (dense; sparse) two JSON objects:
   - ksp_path: KSPSketchSolveRidgePath() with 50 ridge parameters beside one KSPSolve(), each with a fresh KSP and its set-up, in turns;
     path_over_one is the median of the ratios of neighbours;
   - ksp_many: KSPMatSolve() with 100 right-hand sides, set-up included, beside 100 KSPSolve() of one KSP (set-up once) and beside 100
     fresh KSP. Of the single solves -singles are made and their time is scaled to 100.
   backward_bound: the largest over all columns of min(|A'r| / |r|, |r| / |x|) / |A|_F from residuals made with MatMult(), with
   [A; sqrt(lambda) I] in place of A on the path. It bounds the backward error from above.

   mpirun -n 2 bench_ksp_many [-cases dense,sparse] [-n rows -d columns] [-nrhs 100] [-lambdas 50] [-singles 10] [-repeats 3] [-ksp_sketch_... ]
*/
#include "harness/lsproblems.hpp"
#include "timing.hpp"
#include <cstring>

namespace {
/* Gaussian rows times a bidiagonal matrix: neighbouring columns are nearly parallel, which column scaling does not cure */
PetscErrorCode DenseMatrix(PetscInt n, PetscInt d, double delta, Mat *A)
{
  PetscScalar        *a;
  PetscInt            r0, r1;
  skean::RandomStream rnd(21, skean::Purpose::Test);

  PetscFunctionBeginUser;
  PetscCall(MatCreateDense(PETSC_COMM_WORLD, PETSC_DECIDE, PETSC_DECIDE, n, d, NULL, A));
  PetscCall(MatGetOwnershipRange(*A, &r0, &r1));
  const PetscInt nl = r1 - r0;
  PetscCall(MatDenseGetArrayWrite(*A, &a));
  for (PetscInt i = 0; i < nl; ++i)
    for (PetscInt j = 0; j < d; j += 2) {
      double z0, z1;
      rnd.Normals(r0 + i, j / 2, &z0, &z1);
      a[i + static_cast<size_t>(j) * nl] = z0;
      if (j + 1 < d) a[i + static_cast<size_t>(j + 1) * nl] = z0 + delta * z1;
    }
  PetscCall(MatDenseRestoreArrayWrite(*A, &a));
  PetscCall(MatAssemblyBegin(*A, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(*A, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}
/* Five pairs of neighbouring columns per row, nearly equal within a pair */
PetscErrorCode SparseMatrix(PetscInt n, PetscInt d, double delta, Mat *A)
{
  PetscInt            r0, r1, cols[10];
  PetscScalar         v[10];
  skean::RandomStream rnd(22, skean::Purpose::Test);

  PetscFunctionBeginUser;
  PetscCall(MatCreateAIJ(PETSC_COMM_WORLD, PETSC_DECIDE, PETSC_DECIDE, n, d, 10, NULL, 10, NULL, A));
  PetscCall(MatGetOwnershipRange(*A, &r0, &r1));
  for (PetscInt i = r0; i < r1; ++i) {
    const PetscInt first = static_cast<PetscInt>(rnd.Uniform(i, 100) * (d / 2)), step = 1 + static_cast<PetscInt>(rnd.Uniform(i, 101) * (d / 10 - 1));
    for (int e = 0; e < 5; ++e) {
      double z0, z1;
      rnd.Normals(i, e, &z0, &z1);
      cols[2 * e]     = 2 * ((first + e * step) % (d / 2)); /* e step < d/2: five different pairs */
      cols[2 * e + 1] = cols[2 * e] + 1;
      v[2 * e]        = z0;
      v[2 * e + 1]    = z0 + delta * z1;
    }
    PetscCall(MatSetValues(*A, 1, &i, 10, cols, v, INSERT_VALUES));
  }
  PetscCall(MatAssemblyBegin(*A, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(*A, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode NewSolver(Mat A, KSP *ksp)
{
  PetscFunctionBeginUser;
  PetscCall(KSPCreate(PETSC_COMM_WORLD, ksp));
  PetscCall(KSPSetType(*ksp, KSPSKETCH));
  PetscCall(KSPSetOperators(*ksp, A, A));
  PetscCall(KSPSetFromOptions(*ksp));
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode BackwardBound(Mat A, PetscReal fro, Vec b, Vec x, double lambda, double *bound)
{
  Vec       r, g;
  PetscReal rn, gn, xn;
  PetscInt  d;

  PetscFunctionBeginUser;
  PetscCall(MatGetSize(A, NULL, &d));
  PetscCall(MatCreateVecs(A, &g, &r));
  PetscCall(MatMult(A, x, r));
  PetscCall(VecAYPX(r, -1.0, b));
  PetscCall(MatMultTranspose(A, r, g));
  PetscCall(VecAXPY(g, -lambda, x));
  PetscCall(VecNorm(r, NORM_2, &rn));
  PetscCall(VecNorm(g, NORM_2, &gn));
  PetscCall(VecNorm(x, NORM_2, &xn));
  rn     = std::hypot(rn, std::sqrt(lambda) * xn);
  *bound = rn == 0 ? 0 : (xn > 0 ? std::min(gn / rn, rn / xn) : gn / rn) / std::hypot(fro, std::sqrt(lambda * d));
  PetscCall(VecDestroy(&r));
  PetscCall(VecDestroy(&g));
  PetscFunctionReturn(PETSC_SUCCESS);
}
/* all columns of X; b: one right-hand side for all, or NULL */
PetscErrorCode WorstBound(Mat A, PetscReal fro, Mat B, Vec b, Mat X, const std::vector<double> &lambda, double *worst)
{
  PetscInt q;

  PetscFunctionBeginUser;
  *worst = 0;
  PetscCall(MatGetSize(X, NULL, &q));
  for (PetscInt j = 0; j < q; ++j) {
    Vec    x, bj = b;
    double e;
    PetscCall(MatDenseGetColumnVecRead(X, j, &x));
    if (!b) PetscCall(MatDenseGetColumnVecRead(B, j, &bj));
    PetscCall(BackwardBound(A, fro, bj, x, lambda.empty() ? 0.0 : lambda[j], &e));
    if (!b) PetscCall(MatDenseRestoreColumnVecRead(B, j, &bj));
    PetscCall(MatDenseRestoreColumnVecRead(X, j, &x));
    *worst = std::max(*worst, e);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

int main(int argc, char **argv)
{
  PetscInt    repeats = 3, nrhs = 100, nlambda = 50, singles = 10, size_n = 0, size_d = 0;
  PetscReal   delta     = 1e-3;
  char        cases[64] = "dense,sparse";
  PetscMPIInt size;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, "Ridge paths and many right-hand sides\n"));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-repeats", &repeats, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-nrhs", &nrhs, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-lambdas", &nlambda, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-singles", &singles, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-n", &size_n, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-d", &size_d, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-delta", &delta, NULL));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-cases", cases, sizeof cases, NULL));
  singles = std::min(singles, nrhs);
  for (const bool dense : {true, false}) {
    if (!std::strstr(cases, dense ? "dense" : "sparse")) continue;
    const PetscInt      n = size_n ? size_n : (dense ? 200000 : 300000), d = size_d ? size_d : (dense ? 200 : 500);
    Mat                 A, B, X, Xpath;
    Vec                 b, x;
    KSP                 ksp = NULL;
    KSPConvergedReason  reason;
    KSPSketchMethod     onemethod, pathmethod, manymethod;
    PetscReal           fro;
    PetscInt            nl, dl, r0, r1, onepasses, pathpasses, manypasses;
    double              onebound, pathbound, manybound, setup, solve;
    std::vector<double> lambda(nlambda);
    skean::RandomStream rnd(23, skean::Purpose::Test);
    PetscErrorCode      ierr = PETSC_SUCCESS;

    if (dense)
      PetscCall(DenseMatrix(n, d, delta, &A));
    else
      PetscCall(SparseMatrix(n, d, delta, &A));
    PetscCall(MatNorm(A, NORM_FROBENIUS, &fro));
    for (PetscInt j = 0; j < nlambda; ++j) lambda[j] = fro * fro / d * std::pow(10.0, nlambda > 1 ? -8.0 * j / (nlambda - 1) : -4.0);
    PetscCall(MatCreateVecs(A, &x, &b));
    PetscCall(VecGetLocalSize(b, &nl));
    PetscCall(VecGetLocalSize(x, &dl));
    PetscCall(MatCreateDense(PETSC_COMM_WORLD, nl, PETSC_DECIDE, n, nrhs, NULL, &B));
    PetscCall(MatCreateDense(PETSC_COMM_WORLD, dl, PETSC_DECIDE, d, nrhs, NULL, &X));
    PetscCall(MatCreateDense(PETSC_COMM_WORLD, dl, PETSC_DECIDE, d, nlambda, NULL, &Xpath));
    PetscCall(VecGetOwnershipRange(b, &r0, &r1));
    for (PetscInt j = 0; j < nrhs; ++j) {
      Vec          column;
      PetscScalar *v;
      PetscInt     x0, x1;
      PetscCall(VecGetOwnershipRange(x, &x0, &x1));
      PetscCall(VecGetArrayWrite(x, &v));
      for (PetscInt i = x0; i < x1; ++i) v[i - x0] = rnd.Normal(i, 1000 + j);
      PetscCall(VecRestoreArrayWrite(x, &v));
      PetscCall(MatDenseGetColumnVecWrite(B, j, &column));
      PetscCall(MatMult(A, x, column));
      PetscCall(VecGetArray(column, &v));
      for (PetscInt i = r0; i < r1; ++i) v[i - r0] += rnd.Normal(i, 2000 + j);
      PetscCall(VecRestoreArray(column, &v));
      PetscCall(MatDenseRestoreColumnVecWrite(B, j, &column));
    }
    PetscCall(MatAssemblyBegin(B, MAT_FINAL_ASSEMBLY));
    PetscCall(MatAssemblyEnd(B, MAT_FINAL_ASSEMBLY));
    {
      Vec column;
      PetscCall(MatDenseGetColumnVecRead(B, 0, &column));
      PetscCall(VecCopy(column, b));
      PetscCall(MatDenseRestoreColumnVecRead(B, 0, &column));
    }
    const auto fresh = [&] {
      ierr = KSPDestroy(&ksp);
      if (!ierr) ierr = NewSolver(A, &ksp);
    };
    const auto converged = [&](const char *what) -> PetscErrorCode {
      PetscFunctionBeginUser;
      PetscCall(ierr);
      PetscCall(KSPGetConvergedReason(ksp, &reason));
      PetscCheck(reason > 0, PETSC_COMM_WORLD, PETSC_ERR_NOT_CONVERGED, "%s: %s", what, KSPConvergedReasons[reason]);
      PetscFunctionReturn(PETSC_SUCCESS);
    };
    /* one solve and the path, both fresh, in turns: what else the machine does then falls on both, and the ratio is of neighbours */
    std::vector<double> ones, paths, ratios;
    for (PetscInt i = 0; i < repeats; ++i) {
      ones.push_back(skeanbench::Repeat(
                       PETSC_COMM_WORLD, 1, [&] { ierr = KSPSolve(ksp, b, x); }, fresh)
                       .median);
      PetscCall(converged("one solve"));
      PetscCall(KSPGetIterationNumber(ksp, &onepasses));
      PetscCall(KSPSketchGetMethodUsed(ksp, &onemethod));
      paths.push_back(skeanbench::Repeat(
                        PETSC_COMM_WORLD, 1, [&] { ierr = KSPSketchSolveRidgePath(ksp, b, nlambda, lambda.data(), Xpath); }, fresh)
                        .median);
      PetscCall(converged("ridge path"));
      ratios.push_back(paths.back() / ones.back());
    }
    const skeanbench::Times one = skeanbench::Summary(ones), path = skeanbench::Summary(paths), ratio = skeanbench::Summary(ratios);
    PetscCall(BackwardBound(A, fro, b, x, 0.0, &onebound));
    PetscCall(KSPGetIterationNumber(ksp, &pathpasses));
    PetscCall(KSPSketchGetMethodUsed(ksp, &pathmethod));
    PetscCall(KSPSketchGetTimes(ksp, &setup, &solve));
    PetscCall(WorstBound(A, fro, NULL, b, Xpath, lambda, &pathbound));
    PetscCall(PetscPrintf(
      PETSC_COMM_WORLD,
      "{\"bench\": \"ksp_path\", \"matrix\": \"%s\", \"n\": %d, \"d\": %d, \"lambdas\": %d, \"ranks\": %d, \"path_s\": %.4f, \"path_min_s\": %.4f, "
      "\"path_setup_s\": %.4f, \"path_solve_s\": %.4f, \"path_method\": \"%s\", \"path_passes\": %d, \"path_backward_bound\": %.2e, "
      "\"one_s\": %.4f, \"one_min_s\": %.4f, \"one_method\": \"%s\", \"one_passes\": %d, \"one_backward_bound\": %.2e, "
      "\"path_over_one\": %.2f, \"path_over_one_max\": %.2f, \"min_path_over_min_one\": %.2f}\n",
      dense ? "dense" : "sparse", (int)n, (int)d, (int)nlambda, (int)size, path.median, path.min, setup, solve, KSPSketchMethods[pathmethod], (int)pathpasses,
      pathbound, one.median, one.min, KSPSketchMethods[onemethod], (int)onepasses, onebound, ratio.median, ratio.max, path.min / one.min));
    /* many right-hand sides */
    const skeanbench::Times many = skeanbench::Repeat(
      PETSC_COMM_WORLD, repeats, [&] { ierr = KSPMatSolve(ksp, B, X); }, fresh);
    PetscCall(converged("many right-hand sides"));
    PetscCall(KSPGetIterationNumber(ksp, &manypasses));
    PetscCall(KSPSketchGetMethodUsed(ksp, &manymethod));
    PetscCall(KSPSketchGetTimes(ksp, &setup, &solve));
    PetscCall(WorstBound(A, fro, B, NULL, X, {}, &manybound));
    const auto column = [&](PetscInt j) -> PetscErrorCode {
      Vec bj;
      PetscFunctionBeginUser;
      PetscCall(MatDenseGetColumnVecRead(B, j, &bj));
      PetscCall(KSPSolve(ksp, bj, x));
      PetscCall(MatDenseRestoreColumnVecRead(B, j, &bj));
      PetscCall(converged("single solve"));
      PetscFunctionReturn(PETSC_SUCCESS);
    };
    fresh();
    PetscCall(ierr);
    PetscCall(KSPSolve(ksp, b, x)); /* makes the set-up, which is not counted below */
    const double reused = skeanbench::Repeat(PETSC_COMM_WORLD, 1,
                                             [&] {
                                               for (PetscInt j = 0; j < singles && !ierr; ++j) ierr = column(j);
                                             })
                            .median *
                          nrhs / singles;
    PetscCall(ierr);
    const double again = skeanbench::Repeat(PETSC_COMM_WORLD, 1,
                                            [&] {
                                              for (PetscInt j = 0; j < singles && !ierr; ++j) {
                                                fresh();
                                                if (!ierr) ierr = column(j);
                                              }
                                            })
                           .median *
                         nrhs / singles;
    PetscCall(ierr);
    PetscCall(PetscPrintf(
      PETSC_COMM_WORLD,
      "{\"bench\": \"ksp_many\", \"matrix\": \"%s\", \"n\": %d, \"d\": %d, \"nrhs\": %d, \"ranks\": %d, \"matsolve_s\": %.4f, \"matsolve_min_s\": %.4f, "
      "\"setup_s\": %.4f, \"solve_s\": %.4f, \"method\": \"%s\", \"passes\": %d, \"backward_bound\": %.2e, \"single_solves_made\": %d, "
      "\"reused_s\": %.3f, \"fresh_s\": %.3f, \"reused_over_matsolve\": %.2f, \"fresh_over_matsolve\": %.2f}\n",
      dense ? "dense" : "sparse", (int)n, (int)d, (int)nrhs, (int)size, many.median, many.min, setup, solve, KSPSketchMethods[manymethod], (int)manypasses,
      manybound, (int)singles, reused, again, reused / many.median, again / many.median));
    PetscCall(KSPDestroy(&ksp));
    PetscCall(MatDestroy(&A));
    PetscCall(MatDestroy(&B));
    PetscCall(MatDestroy(&X));
    PetscCall(MatDestroy(&Xpath));
    PetscCall(VecDestroy(&b));
    PetscCall(VecDestroy(&x));
  }
  PetscCall(SkeanFinalize());
  return 0;
}
