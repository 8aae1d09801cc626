/*
   Accuracy of KSPSKETCH on a grid of condition numbers and residual norms, beside Householder QR (LAPACK dgels) on the same numbers.
   For each solution: forward error, and the Karlson-Walden backward error relative to |A|_F with A'r in extended precision and the
   exact singular values. One JSON object per grid point with -verbose, and one for the whole grid.

   mpirun -n 3 bench_accuracy [-points 30] [-n 1000] [-d 50] [-verbose] [-ksp_sketch_... ]
*/
#include "harness/lsproblems.hpp"
#include <petscblaslapack.h>
#include <algorithm>
#include <cfloat>

using skeantest::DctProblem;

/* eta_F of x relative to |A|_F, by the formula (omega/|r|) |(S^2+omega^2)^{-1/2} V'A'r|, together with |r|/|x|, both over |A|_F */
static double BackwardError(const DctProblem &p, const std::vector<double> &A, const std::vector<double> &b, const std::vector<double> &x)
{
  std::vector<long double> r(p.n), g(p.d, 0.0L);
  long double              rr = 0, xx = 0, ff = 0;
  for (PetscInt i = 0; i < p.n; ++i) {
    long double t = b[i];
    for (PetscInt j = 0; j < p.d; ++j) t -= static_cast<long double>(A[i + static_cast<size_t>(j) * p.n]) * x[j];
    r[i] = t;
    rr += t * t;
    for (PetscInt j = 0; j < p.d; ++j) g[j] += A[i + static_cast<size_t>(j) * p.n] * t;
  }
  for (PetscInt j = 0; j < p.d; ++j) xx += static_cast<long double>(x[j]) * x[j];
  for (double s : p.s) ff += static_cast<long double>(s) * s;
  if (rr == 0) return 0;
  const long double omega = std::sqrt(rr / xx);
  long double       sum   = 0;
  for (PetscInt k = 0; k < p.d; ++k) {
    long double v = 0;
    for (PetscInt j = 0; j < p.d; ++j) v += static_cast<long double>(skeantest::Dct(p.d, j, k)) * g[j];
    sum += v * v / (static_cast<long double>(p.s[k]) * p.s[k] + omega * omega);
  }
  return static_cast<double>(std::min(omega, omega / std::sqrt(rr) * std::sqrt(sum)) / std::sqrt(ff));
}

int main(int argc, char **argv)
{
  PetscInt    points = 30, n = 1000, d = 50;
  PetscBool   verbose = PETSC_FALSE;
  PetscMPIInt rank, size;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, "Accuracy of KSP type sketch over condition number and residual\n"));
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-points", &points, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-n", &n, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-d", &d, NULL));
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-verbose", &verbose, NULL));
  double   worstbe = 0, worstqr = 0, worstratio = 0;
  PetscInt notconverged = 0, falseconverged = 0, above = 0, forward = 0, maxits = 0;
  for (PetscInt a = 0; a < points; ++a)
    for (PetscInt c = 0; c < points; ++c) {
      const double        kappa = std::pow(10.0, points > 1 ? 15.0 * a / (points - 1) : 10), rnorm = std::pow(10.0, points > 1 ? -15.0 * c / (points - 1) : -6);
      DctProblem          p(n, d, kappa, rnorm);
      Mat                 A;
      Vec                 b, x;
      KSP                 ksp;
      KSPConvergedReason  reason;
      PetscInt            its;
      std::vector<double> xs, full(static_cast<size_t>(n) * d), rhs(n), row(d);
      PetscCall(skeantest::MakeMatrix(
        PETSC_COMM_WORLD, n, d, true, [&](PetscInt i, double *r) { p.Row(i, r); }, &A));
      PetscCall(skeantest::MakeVector(
        A, [&](PetscInt i) { return p.Rhs(i); }, &b));
      PetscCall(MatCreateVecs(A, &x, NULL));
      PetscCall(KSPCreate(PETSC_COMM_WORLD, &ksp));
      PetscCall(KSPSetType(ksp, KSPSKETCH));
      PetscCall(KSPSetOperators(ksp, A, A));
      PetscCall(KSPSketchSetMethod(ksp, KSP_SKETCH_ITERATIVE));
      PetscCall(KSPSetFromOptions(ksp));
      PetscCall(KSPSolve(ksp, b, x));
      PetscCall(KSPGetConvergedReason(ksp, &reason));
      PetscCall(KSPGetIterationNumber(ksp, &its));
      PetscCall(skeantest::Everything(x, xs));
      if (rank == 0) {
        PetscBLASInt        m = n, k = d, one = 1, lwork = 64 * (n + d), info;
        std::vector<double> work(lwork), q, y;
        for (PetscInt i = 0; i < n; ++i) {
          p.Row(i, row.data());
          for (PetscInt j = 0; j < d; ++j) full[i + static_cast<size_t>(j) * n] = row[j];
          rhs[i] = p.Rhs(i);
        }
        q = full;
        y = rhs;
        LAPACKgels_("N", &m, &k, &one, q.data(), &m, y.data(), &m, work.data(), &lwork, &info);
        y.resize(d);
        double fe = 0, fq = 0;
        for (PetscInt j = 0; j < d; ++j) {
          fe += (xs[j] - p.x[j]) * (xs[j] - p.x[j]);
          fq += (y[j] - p.x[j]) * (y[j] - p.x[j]);
        }
        fe             = std::sqrt(fe);
        fq             = std::sqrt(fq);
        const double u = DBL_EPSILON / 2, be = BackwardError(p, full, rhs, xs) / u, bq = BackwardError(p, full, rhs, y) / u, ratio = fe / std::max(fq, u);
        worstbe = std::max(worstbe, be);
        worstqr = std::max(worstqr, bq);
        /* a forward error that is the size of x or of what rounding b alone makes is no ground for comparison */
        worstratio = std::max(worstratio, ratio);
        if (reason < 0) notconverged++;
        if (reason > 0 && be > 10) falseconverged++;
        if (be > 10) above++;
        if (ratio > 10) forward++;
        maxits = std::max(maxits, its);
        if (verbose)
          PetscCall(PetscPrintf(
            PETSC_COMM_SELF,
            "{\"kappa\": %.2e, \"rnorm\": %.2e, \"reason\": %d, \"passes\": %d, \"be_u\": %.3g, \"be_qr_u\": %.3g, \"fe\": %.3e, \"fe_qr\": %.3e}\n", kappa,
            rnorm, (int)reason, (int)its, be, bq, fe, fq));
      }
      PetscCall(KSPDestroy(&ksp));
      PetscCall(MatDestroy(&A));
      PetscCall(VecDestroy(&b));
      PetscCall(VecDestroy(&x));
    }
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "{\"bench\": \"ksp_accuracy\", \"n\": %d, \"d\": %d, \"points\": %d, \"ranks\": %d, \"max_backward_error_u\": %.3g, "
                        "\"max_backward_error_qr_u\": %.3g, \"max_forward_ratio_to_qr\": %.3g, "
                        "\"backward_above_10u\": %d, \"forward_above_10x\": %d, \"not_converged\": %d, \"false_converged\": %d, \"max_passes\": %d}\n",
                        (int)n, (int)d, (int)(points * points), (int)size, worstbe, worstqr, worstratio, (int)above, (int)forward, (int)notconverged,
                        (int)falseconverged, (int)maxits));
  PetscCall(SkeanFinalize());
  return 0;
}
