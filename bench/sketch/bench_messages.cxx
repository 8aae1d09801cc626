/*
   Messages and bytes of one process, counted through MPI's profiling interface: for a sketch applied to a matrix and for KSPSolve() with
   KSPSKETCH, set-up and all passes. One JSON object per number of rows; the largest count of any process.

   sketch_error: |S (A x) - (S A) x| / |(S A) x|. backward_bound: min(|A'r|/|r|, |r|/|x|) / |A|_F from a residual made with MatMult().

   mpirun -n P bench_messages [-n 20000,40000] [-d 32] [-factor 12] [-sketch_type ...]           (bench/messages.sh: P = 1 ... 64)
*/
#include "harness/lsproblems.hpp"
#include "harness/mpicount/mpicount.hpp"
#include <algorithm>

namespace {
long long Most(long long mine)
{
  long long all;
  MPI_Allreduce(&mine, &all, 1, MPI_LONG_LONG, MPI_MAX, PETSC_COMM_WORLD);
  return all;
}
} // namespace

int main(int argc, char **argv)
{
  PetscInt    ns[8] = {20000, 40000}, count = 8, d = 32;
  PetscReal   factor = 12;
  PetscBool   set;
  PetscMPIInt size;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, "Messages and bytes per process of sketched least squares\n"));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  PetscCall(PetscOptionsGetIntArray(NULL, NULL, "-n", ns, &count, &set));
  if (!set) count = 2;
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-d", &d, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-factor", &factor, NULL));
  const skean::RandomStream rnd(51, skean::Purpose::Test);
  for (PetscInt c = 0; c < count; ++c) {
    const PetscInt            n = ns[c];
    Mat                       A;
    Vec                       b, x, r, g;
    SkeanSketch               sketch;
    SkeanSketchType           type;
    KSP                       ksp;
    KSPConvergedReason        reason;
    PetscInt                  m, passes;
    PetscReal                 rn, gn, xn, fro;
    skeantest::MessageCounter apply, solve;
    std::vector<double>       SA, Sy;
    double                    diff = 0, norm = 0;

    PetscCall(skeantest::MakeMatrix(
      PETSC_COMM_WORLD, n, d, true,
      [&](PetscInt i, double *row) {
        for (PetscInt j = 0; j < d; ++j) row[j] = rnd.Normal(i, j);
      },
      &A));
    PetscCall(skeantest::MakeVector(
      A, [&](PetscInt i) { return rnd.Normal(i, 1000); }, &b));
    PetscCall(MatCreateVecs(A, &x, &r));
    PetscCall(VecDuplicate(x, &g));
    PetscCall(SkeanSketchCreate(PETSC_COMM_WORLD, &sketch));
    PetscCall(SkeanSketchSetFactor(sketch, factor));
    PetscCall(SkeanSketchSetFromOptions(sketch));
    PetscCall(SkeanSketchSetSizesFromMat(sketch, A));
    PetscCall(SkeanSketchSetUp(sketch));
    PetscCall(SkeanSketchGetSizes(sketch, &m, NULL));
    PetscCall(SkeanSketchGetType(sketch, &type));
    SA.resize(static_cast<size_t>(m) * d);
    Sy.resize(m);
    apply.Start();
    PetscCall(SkeanSketchApply(sketch, A, SA.data()));
    apply.Stop();
    PetscCall(VecSet(x, 1.0));
    PetscCall(MatMult(A, x, r));
    PetscCall(SkeanSketchApplyVec(sketch, r, Sy.data()));
    for (PetscInt i = 0; i < m; ++i) {
      double t = 0;
      for (PetscInt j = 0; j < d; ++j) t += SA[i + static_cast<size_t>(j) * m];
      diff += (Sy[i] - t) * (Sy[i] - t);
      norm += t * t;
    }

    PetscCall(KSPCreate(PETSC_COMM_WORLD, &ksp));
    PetscCall(KSPSetType(ksp, KSPSKETCH));
    PetscCall(KSPSetOperators(ksp, A, A));
    PetscCall(KSPSketchSetMethod(ksp, KSP_SKETCH_ITERATIVE));
    PetscCall(KSPSketchSetSketch(ksp, sketch));
    PetscCall(KSPSetFromOptions(ksp));
    PetscCall(KSPSetUp(ksp));
    solve.Start();
    PetscCall(KSPSolve(ksp, b, x));
    solve.Stop();
    PetscCall(KSPGetConvergedReason(ksp, &reason));
    PetscCall(KSPGetIterationNumber(ksp, &passes));
    PetscCheck(reason > 0, PETSC_COMM_WORLD, PETSC_ERR_NOT_CONVERGED, "%s", KSPConvergedReasons[reason]);
    PetscCall(MatMult(A, x, r));
    PetscCall(VecAYPX(r, -1.0, b));
    PetscCall(MatMultTranspose(A, r, g));
    PetscCall(VecNorm(r, NORM_2, &rn));
    PetscCall(VecNorm(g, NORM_2, &gn));
    PetscCall(VecNorm(x, NORM_2, &xn));
    PetscCall(MatNorm(A, NORM_FROBENIUS, &fro));
    PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                          "{\"bench\": \"messages\", \"sketch\": \"%s\", \"ranks\": %d, \"n\": %d, \"d\": %d, \"m\": %d, \"counts_exact\": %s, "
                          "\"apply_collectives\": %lld, \"apply_p2p\": %lld, \"apply_bytes\": %lld, \"apply_bytes_over_8md\": %.4f, \"sketch_error\": %.1e, "
                          "\"passes\": %d, \"solve_allreduce\": %lld, \"solve_allreduce_bytes\": %lld, \"solve_collectives\": %lld, \"solve_p2p\": %lld, "
                          "\"solve_p2p_bytes\": %lld, \"solve_bytes\": %lld, \"backward_bound\": %.1e, \"solve_calls_of_rank_0\": \"%s\"}\n",
                          type, (int)size, (int)n, (int)d, (int)m, skeantest::CountsAreExact() ? "true" : "false", Most(apply.Collectives()),
                          Most(apply.PointToPoint()), Most(apply.Bytes()), static_cast<double>(Most(apply.Bytes())) / (8.0 * m * d), std::sqrt(diff / norm),
                          (int)passes, Most(solve.Calls("Allreduce")), Most(solve.Bytes("Allreduce")), Most(solve.Collectives()), Most(solve.PointToPoint()),
                          Most(solve.PointToPointBytes()), Most(solve.Bytes()), std::min(gn / rn, rn / xn) / fro, solve.Report().c_str()));
    PetscCall(KSPDestroy(&ksp));
    PetscCall(SkeanSketchDestroy(&sketch));
    PetscCall(MatDestroy(&A));
    PetscCall(VecDestroy(&b));
    PetscCall(VecDestroy(&x));
    PetscCall(VecDestroy(&r));
    PetscCall(VecDestroy(&g));
  }
  PetscCall(SkeanFinalize());
  return 0;
}
