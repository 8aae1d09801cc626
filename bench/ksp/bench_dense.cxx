/*
   Dense least squares: every method of KSPSKETCH beside ScaLAPACK's pdgels on the same rows. One JSON object per (d, method), and one
   per d that says what the automatic choice was and how its time compares with the best of pdgels, tsqr and cqrrt.

   mpirun -n 2 bench_ksp_dense [-d 16,64,256,512] [-ratio 200] [-entries 6e7] [-kappa 1e8] [-repeats 3]
   n = max(ratio d, entries / d), cut so that n d <= 2.2e8.
*/
#include "harness/lsproblems.hpp"
#include "timing.hpp"
#include <petscblaslapack.h>

#if defined(SKEAN_BENCH_SCALAPACK)
extern "C" {
void Cblacs_get(int context, int what, int *value);
void Cblacs_gridinit(int *context, const char *order, int rows, int cols);
void Cblacs_gridinfo(int context, int *rows, int *cols, int *row, int *col);
int  numroc_(const int *n, const int *nb, const int *me, const int *src, const int *np);
void descinit_(int *desc, const int *m, const int *n, const int *mb, const int *nb, const int *rsrc, const int *csrc, const int *context, const int *lld,
               int *info);
void pdgels_(const char *trans, const int *m, const int *n, const int *nrhs, double *a, const int *ia, const int *ja, const int *desca, double *b,
             const int *ib, const int *jb, const int *descb, double *work, const int *lwork, int *info);
}
#endif

int main(int argc, char **argv)
{
  PetscInt    ds[32] = {16, 64, 128, 256, 512}, nd = 32, repeats = 3;
  PetscReal   ratio = 200, entries = 6e7, kappa = 1e8, gemm, stream;
  PetscBool   set;
  PetscMPIInt size, rank;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, "Dense least squares: sketching, direct methods, ScaLAPACK\n"));
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  PetscCall(PetscOptionsGetIntArray(NULL, NULL, "-d", ds, &nd, &set));
  if (!set) nd = 5;
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-repeats", &repeats, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-ratio", &ratio, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-entries", &entries, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-kappa", &kappa, NULL));
  skeanbench::MachineRates(PETSC_COMM_WORLD, &gemm, &stream);
  for (PetscInt c = 0; c < nd; ++c) {
    const PetscInt d = ds[c];
    PetscInt       n = static_cast<PetscInt>(std::max(ratio * d, entries / d));
    if (static_cast<double>(n) * d > 2.2e8) n = static_cast<PetscInt>(2.2e8 / d);
    n                 = n / (64 * size) * (64 * size); /* the same rows on each process, in whole blocks */
    const PetscInt nl = n / size;
    Mat            A;
    Vec            b, x;
    /* A = G T with Gaussian G and T = V diag(s): a condition number of about kappa that column scaling does not cure */
    PetscCall(MatCreateDense(PETSC_COMM_WORLD, nl, PETSC_DECIDE, n, d, NULL, &A));
    PetscScalar        *a;
    skean::RandomStream rnd(11, skean::Purpose::Test);
    PetscCall(MatDenseGetArrayWrite(A, &a));
    {
      const PetscInt      nb = 512;
      std::vector<double> G(nb * d), T(static_cast<size_t>(d) * d);
      for (PetscInt k = 0; k < d; ++k)
        for (PetscInt j = 0; j < d; ++j)
          T[k + static_cast<size_t>(j) * d] = std::pow(kappa, d > 1 ? -static_cast<double>(k) / (d - 1) : 0) * skeantest::Dct(d, j, k);
      for (PetscInt i = 0; i < nl; i += nb) {
        const PetscBLASInt rows = std::min(nb, nl - i), dd = d, lda = nl;
        const double       one = 1.0, zero = 0.0;
        for (PetscInt k = 0; k < rows; ++k)
          for (PetscInt j = 0; j + 1 < d || j < d; j += 2) {
            double z0, z1;
            rnd.Normals(static_cast<std::uint64_t>(rank) * nl + i + k, j / 2, &z0, &z1);
            G[k + j * static_cast<size_t>(rows)] = z0;
            if (j + 1 < d) G[k + (j + 1) * static_cast<size_t>(rows)] = z1;
          }
        BLASgemm_("N", "N", &rows, &dd, &dd, &one, G.data(), &rows, T.data(), &dd, &zero, a + i, &lda);
      }
    }
    PetscCall(MatDenseRestoreArrayWrite(A, &a));
    PetscCall(MatAssemblyBegin(A, MAT_FINAL_ASSEMBLY));
    PetscCall(MatAssemblyEnd(A, MAT_FINAL_ASSEMBLY));
    PetscCall(MatCreateVecs(A, &x, &b));
    PetscCall(VecSet(x, 1.0));
    PetscCall(MatMult(A, x, b));
    {
      PetscScalar *v;
      PetscCall(VecGetArray(b, &v));
      for (PetscInt i = 0; i < nl; ++i) v[i] += 0.1 * rnd.Normal(static_cast<std::uint64_t>(rank) * nl + i, 100000);
      PetscCall(VecRestoreArray(b, &v));
    }
    auto judge = [&](Vec y, double *be) -> PetscErrorCode {
      Vec       r, g;
      PetscReal rn, gn, xn, fro;
      PetscFunctionBeginUser;
      PetscCall(MatCreateVecs(A, &g, &r));
      PetscCall(MatMult(A, y, r));
      PetscCall(VecAYPX(r, -1.0, b));
      PetscCall(MatMultTranspose(A, r, g));
      PetscCall(VecNorm(r, NORM_2, &rn));
      PetscCall(VecNorm(g, NORM_2, &gn));
      PetscCall(VecNorm(y, NORM_2, &xn));
      PetscCall(MatNorm(A, NORM_FROBENIUS, &fro));
      *be = std::min(gn / rn, rn / xn) / fro;
      PetscCall(VecDestroy(&r));
      PetscCall(VecDestroy(&g));
      PetscFunctionReturn(PETSC_SUCCESS);
    };
    double      best = 1e300, autotime = 0, pdgels = 0;
    const char *bestname = "", *autoname = "";
    for (const char *name : {"auto", "iterative", "cqrrt", "cholqr", "tsqr", "pdgels"}) {
      skeanbench::Times t;
      double            be  = -1;
      PetscInt          its = 0;
      const std::string s(name);
      if (s == "pdgels") {
#if defined(SKEAN_BENCH_SCALAPACK)
        int                 context, prow, pcol, myrow, mycol, mb = 64, zero = 0, one = 1, info, desca[9], descb[9], m = n, k = d, lld = nl, lwork = -1;
        std::vector<double> aa, bb, work(1);
        Cblacs_get(-1, 0, &context);
        Cblacs_gridinit(&context, "C", size, 1);
        Cblacs_gridinfo(context, &prow, &pcol, &myrow, &mycol);
        descinit_(desca, &m, &k, &mb, &mb, &zero, &zero, &context, &lld, &info);
        descinit_(descb, &m, &one, &mb, &mb, &zero, &zero, &context, &lld, &info);
        const PetscScalar *ra, *rb;
        auto               copy = [&] {
          (void)MatDenseGetArrayRead(A, &ra);
          (void)VecGetArrayRead(b, &rb);
          aa.assign(ra, ra + static_cast<size_t>(nl) * d);
          bb.assign(rb, rb + nl);
          (void)VecRestoreArrayRead(b, &rb);
          (void)MatDenseRestoreArrayRead(A, &ra);
        };
        copy();
        pdgels_("N", &m, &k, &one, aa.data(), &one, &one, desca, bb.data(), &one, &one, descb, work.data(), &lwork, &info);
        lwork = static_cast<int>(work[0]);
        work.resize(lwork);
        t = skeanbench::Repeat(
          PETSC_COMM_WORLD, repeats,
          [&] { pdgels_("N", &m, &k, &one, aa.data(), &one, &one, desca, bb.data(), &one, &one, descb, work.data(), &lwork, &info); }, copy);
        pdgels = t.median;
        /* the solution is in the first d entries of b, by blocks of 64 in turn over the processes */
        for (int g = 0; g < d; ++g)
          if ((g / mb) % size == rank) PetscCall(VecSetValue(x, g, bb[(g / mb / size) * mb + g % mb], INSERT_VALUES));
        PetscCall(VecAssemblyBegin(x));
        PetscCall(VecAssemblyEnd(x));
        PetscCall(judge(x, &be));
#else
        continue;
#endif
      } else {
        KSP             ksp = NULL;
        KSPSketchMethod m   = KSP_SKETCH_AUTO;
        for (int i = 0; KSPSketchMethods[i]; ++i)
          if (s == KSPSketchMethods[i]) m = static_cast<KSPSketchMethod>(i);
        if (m == KSP_SKETCH_CHOLQR && kappa > 1e6) continue;
        KSPConvergedReason reason = KSP_CONVERGED_ITERATING;
        t                         = skeanbench::Repeat(
                                  PETSC_COMM_WORLD, repeats, [&] { (void)KSPSolve(ksp, b, x); },
                                  [&] {
            (void)KSPDestroy(&ksp);
            (void)KSPCreate(PETSC_COMM_WORLD, &ksp);
            (void)KSPSetType(ksp, KSPSKETCH);
            (void)KSPSetOperators(ksp, A, A);
            (void)KSPSketchSetMethod(ksp, m);
          });
        PetscCall(KSPGetConvergedReason(ksp, &reason));
        PetscCall(KSPGetIterationNumber(ksp, &its));
        PetscCall(judge(x, &be));
        if (m == KSP_SKETCH_AUTO) {
          PetscCall(KSPSketchGetMethodUsed(ksp, &m));
          autoname = KSPSketchMethods[m];
          autotime = t.median;
        }
        PetscCheck(reason > 0, PETSC_COMM_WORLD, PETSC_ERR_NOT_CONVERGED, "%s did not converge", name);
        PetscCall(KSPDestroy(&ksp));
      }
      if (s == "pdgels" || s == "tsqr" || s == "cqrrt") {
        if (t.median < best) best = t.median, bestname = name;
      }
      PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                            "{\"bench\": \"ksp_dense\", \"method\": \"%s\", \"n\": %" PetscInt_FMT ", \"d\": %" PetscInt_FMT
                            ", \"kappa\": %.1e, \"ranks\": %d, \"min_s\": %.4f, \"median_s\": %.4f, \"max_s\": %.4f, \"passes\": %" PetscInt_FMT
                            ", \"backward_bound\": %.2e, \"qr_flop_rate_of_gemm\": %.3f}\n",
                            name, n, d, (double)kappa, (int)size, t.min, t.median, t.max, its, be, 2.0 * n * d * d / t.median / gemm));
    }
    PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                          "{\"bench\": \"ksp_dense_summary\", \"n\": %" PetscInt_FMT ", \"d\": %" PetscInt_FMT
                          ", \"kappa\": %.1e, \"ranks\": %d, \"auto_method\": \"%s\", \"auto_s\": %.4f, \"best_direct\": \"%s\", \"auto_over_best_direct\": "
                          "%.3f, \"pdgels_over_auto\": %.2f, \"gemm_gflops\": %.1f, \"stream_gbs\": %.1f}\n",
                          n, d, (double)kappa, (int)size, autoname, autotime, bestname, autotime / best, pdgels / autotime, gemm / 1e9, stream / 1e9));
    PetscCall(MatDestroy(&A));
    PetscCall(VecDestroy(&b));
    PetscCall(VecDestroy(&x));
  }
  PetscCall(SkeanFinalize());
  return 0;
}
