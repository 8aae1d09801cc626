/*
   Sparse, ill-conditioned least squares: KSPSKETCH (automatic and iterative) beside KSPLSQR without preconditioner, with block Jacobi
   on A'A, and with PC type sketch. Each solver's answer is judged by the same code: Karlson-Walden is not available for all, so the
   bound min(|A'r|/|r|, |r|/|x|)/|A|_F on the backward error and the preconditioned gradient |N'A'r|/|b| with one common N.

   Columns come in pairs that differ by 10^(-decades k/(d/2)), paired at random, so that neither column scaling nor diagonal blocks
   cure the conditioning; singular values spread evenly over the decades.

   mpirun -n 2 bench_ksp_sparse [-n 1000000] [-d 1000] [-nnz 10] [-decades 5] [-lsqr_max 600]
*/
#include "harness/lsproblems.hpp"
#include "timing.hpp"

static PetscErrorCode BuildMatrix(PetscInt n, PetscInt d, PetscInt nnz, double decades, Mat *A, Vec *b)
{
  skean::RandomStream rnd(3, skean::Purpose::Test), per(3, skean::Purpose::Permutation);
  PetscInt            r0, r1;

  PetscFunctionBegin;
  std::vector<PetscInt> order(d);
  for (PetscInt i = 0; i < d; ++i) order[i] = i;
  for (PetscInt i = d - 1; i > 0; --i) std::swap(order[i], order[skean::RandomStream::Below(per.Bits(i)[0], i + 1)]);
  const PetscInt nl = skeantest::LocalRows(PETSC_COMM_WORLD, n);
  PetscCall(MatCreate(PETSC_COMM_WORLD, A));
  PetscCall(MatSetSizes(*A, nl, PETSC_DECIDE, n, d));
  PetscCall(MatSetType(*A, MATAIJ));
  PetscCall(MatSeqAIJSetPreallocation(*A, nnz, NULL));
  PetscCall(MatMPIAIJSetPreallocation(*A, nnz, NULL, nnz, NULL));
  PetscCall(MatGetOwnershipRange(*A, &r0, &r1));
  std::vector<PetscInt>    cols(nnz);
  std::vector<PetscScalar> vals(nnz);
  for (PetscInt i = r0; i < r1; ++i) {
    for (PetscInt k = 0; k < nnz / 2; ++k) {
      const PetscInt p = static_cast<PetscInt>(skean::RandomStream::Below(rnd.Bits(i, 100 + k)[0], d / 2));
      double         z0, z1;
      rnd.Normals(i, k, &z0, &z1);
      cols[2 * k]     = order[2 * p];
      cols[2 * k + 1] = order[2 * p + 1];
      vals[2 * k]     = z0;
      vals[2 * k + 1] = z0 + std::pow(10.0, -decades * p / (d / 2)) * z1;
    }
    PetscCall(MatSetValues(*A, 1, &i, nnz, cols.data(), vals.data(), ADD_VALUES));
  }
  PetscCall(MatAssemblyBegin(*A, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(*A, MAT_FINAL_ASSEMBLY));
  /* b = A (1, ..., 1)' + noise of a third of its size */
  Vec x;
  PetscCall(MatCreateVecs(*A, &x, b));
  PetscCall(VecSet(x, 1.0));
  PetscCall(MatMult(*A, x, *b));
  PetscScalar *a;
  PetscCall(VecGetArray(*b, &a));
  for (PetscInt i = r0; i < r1; ++i) a[i - r0] += std::sqrt(nnz / 9.0) * rnd.Normal(i, 1000);
  PetscCall(VecRestoreArray(*b, &a));
  PetscCall(VecDestroy(&x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscInt    n = 1000000, d = 1000, nnz = 10, lsqrmax = 600;
  PetscReal   decades = 5, gemm, stream;
  PetscMPIInt size;
  Mat         A, P = NULL;
  Vec         b, x, r, g, xref;
  PC          judge;
  double      ours = 0;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, "Sparse ill-conditioned least squares\n"));
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-n", &n, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-d", &d, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-nnz", &nnz, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-lsqr_max", &lsqrmax, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-decades", &decades, NULL));
  skeanbench::MachineRates(PETSC_COMM_WORLD, &gemm, &stream);
  PetscCall(BuildMatrix(n, d, nnz, decades, &A, &b));
  PetscCall(MatCreateVecs(A, &x, &r));
  PetscCall(VecDuplicate(x, &g));
  PetscCall(VecDuplicate(x, &xref));
  PetscReal fro, bnorm;
  PetscCall(MatNorm(A, NORM_FROBENIUS, &fro));
  PetscCall(VecNorm(b, NORM_2, &bnorm));
  /* one preconditioner to judge all answers by: |A(x - x*)| ~ |N'A'r| within the distortion */
  Mat normal;
  PetscCall(MatCreateNormal(A, &normal));
  PetscCall(PCCreate(PETSC_COMM_WORLD, &judge));
  PetscCall(PCSetType(judge, PCSKETCH));
  PetscCall(PCSetOperators(judge, normal, normal));
  PetscCall(PCSetUp(judge));
  for (const char *name : {"sketch_auto", "sketch_iterative", "lsqr_sketch", "lsqr_none", "lsqr_bjacobi"}) {
    KSP                ksp;
    PC                 pc;
    KSPConvergedReason reason;
    PetscInt           its;
    const std::string  s(name);
    const double       t0 = [] {
      MPI_Barrier(PETSC_COMM_WORLD);
      return MPI_Wtime();
    }();
    PetscCall(KSPCreate(PETSC_COMM_WORLD, &ksp));
    PetscCall(KSPSetType(ksp, s.find("sketch_") == 0 ? KSPSKETCH : KSPLSQR));
    PetscCall(KSPGetPC(ksp, &pc));
    if (s == "sketch_iterative") PetscCall(KSPSketchSetMethod(ksp, KSP_SKETCH_ITERATIVE));
    if (s == "lsqr_bjacobi") {
      PetscCall(MatTransposeMatMult(A, A, MAT_INITIAL_MATRIX, PETSC_DEFAULT, &P)); /* part of its time */
      PetscCall(PCSetType(pc, PCBJACOBI));
      PetscCall(KSPSetOperators(ksp, A, P));
    } else if (s == "lsqr_sketch") {
      PetscCall(PCSetType(pc, PCSKETCH));
      PetscCall(KSPSetOperators(ksp, A, normal));
    } else {
      PetscCall(PCSetType(pc, PCNONE));
      PetscCall(KSPSetOperators(ksp, A, A));
    }
    if (s.find("lsqr") == 0) PetscCall(KSPSetTolerances(ksp, 1e-15, 1e-50, PETSC_DEFAULT, s == "lsqr_sketch" ? 60 : lsqrmax));
    PetscCall(KSPSolve(ksp, b, x));
    double mine = MPI_Wtime() - t0, time;
    MPI_Allreduce(&mine, &time, 1, MPI_DOUBLE, MPI_MAX, PETSC_COMM_WORLD);
    PetscCall(KSPGetConvergedReason(ksp, &reason));
    PetscCall(KSPGetIterationNumber(ksp, &its));
    PetscReal rn, gn, xn, pn;
    PetscCall(MatMult(A, x, r));
    PetscCall(VecAYPX(r, -1.0, b));
    PetscCall(MatMultTranspose(A, r, g));
    PetscCall(VecNorm(r, NORM_2, &rn));
    PetscCall(VecNorm(g, NORM_2, &gn));
    PetscCall(VecNorm(x, NORM_2, &xn));
    PetscCall(PCApplySymmetricLeft(judge, g, xref));
    PetscCall(VecNorm(xref, NORM_2, &pn));
    if (s == "sketch_auto") ours = time;
    char method[64] = "";
    if (s.find("sketch_") == 0) {
      KSPSketchMethod m;
      PetscLogDouble  ts, tv;
      PetscCall(KSPSketchGetMethodUsed(ksp, &m));
      PetscCall(KSPSketchGetTimes(ksp, &ts, &tv));
      PetscCall(PetscSNPrintf(method, sizeof(method), ", \"method\": \"%s\", \"setup_s\": %.3f, \"solve_s\": %.3f", KSPSketchMethods[m], ts, tv));
    }
    PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                          "{\"bench\": \"ksp_sparse\", \"solver\": \"%s\", \"n\": %" PetscInt_FMT ", \"d\": %" PetscInt_FMT ", \"nnz_row\": %" PetscInt_FMT
                          ", \"decades\": %g, \"ranks\": %d, \"seconds\": %.3f, \"ratio_to_sketch_auto\": %.2f, \"iterations\": %" PetscInt_FMT
                          ", \"reason\": \"%s\", \"backward_bound\": %.2e, \"error_in_A_norm_rel_b\": %.2e, \"gemm_gflops\": %.1f, \"stream_gbs\": %.1f%s}\n",
                          name, n, d, nnz, (double)decades, (int)size, time, time / ours, its, KSPConvergedReasons[reason], std::min(gn / rn, rn / xn) / fro,
                          pn / bnorm, gemm / 1e9, stream / 1e9, method));
    PetscCall(KSPDestroy(&ksp));
  }
  PetscCall(PCDestroy(&judge));
  PetscCall(MatDestroy(&P));
  PetscCall(MatDestroy(&normal));
  PetscCall(MatDestroy(&A));
  PetscCall(VecDestroy(&b));
  PetscCall(VecDestroy(&x));
  PetscCall(VecDestroy(&r));
  PetscCall(VecDestroy(&g));
  PetscCall(VecDestroy(&xref));
  PetscCall(SkeanFinalize());
  return 0;
}
