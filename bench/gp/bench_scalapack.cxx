static char help[] =
  "One log likelihood, and the posterior mean, by the factors of the grid and by ScaLAPACK's Cholesky factorisation of the whole covariance, on the same\n"
  "processes.\n"
  "  -n n,n,...  points along each dimension (100,100)\n\n";
#include <skean/private/gpimpl.h>
#include <skean/private/random.hpp>
#include <cmath>
#include <cstdio>

using namespace skean;

int main(int argc, char **argv)
{
  PetscInt    n[8] = {100, 100}, d = 8, lo, hi;
  PetscBool   set;
  PetscMPIInt rank, size;
  SkeanGP     gp;
  Vec         y, b, x, mean, dense;
  VecScatter  sc;
  Mat         V;
  IS          rows, cols, perm;
  PetscReal   L;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, help));
  MPI_Comm comm = PETSC_COMM_WORLD;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(PetscOptionsGetIntArray(NULL, NULL, "-n", n, &d, &set));
  if (!set) d = 2;
  std::vector<std::vector<PetscReal>> x1(d);
  std::vector<PetscReal *>            px;
  for (PetscInt j = 0; j < d; ++j) {
    for (PetscInt i = 0; i < n[j]; ++i) x1[j].push_back(static_cast<PetscReal>(i) + 0.2 * std::sin(static_cast<double>(i)));
    px.push_back(x1[j].data());
  }
  PetscCall(SkeanGPCreate(comm, &gp));
  PetscCall(SkeanGPSetGrid(gp, d, n, px.data()));
  PetscCall(SkeanGPSetKernel(gp, "matern32(5)"));
  PetscCall(SkeanGPSetVariances(gp, 1.0, 0.1));
  PetscCall(SkeanGPSetFromOptions(gp));
  PetscCall(SkeanGPCreateVec(gp, &y));
  PetscCall(VecGetOwnershipRange(y, &lo, &hi));
  const RandomStream s(7, Purpose::Test);
  for (PetscInt i = lo; i < hi; ++i) PetscCall(VecSetValue(y, i, s.Normal(static_cast<std::uint64_t>(i)), INSERT_VALUES));
  PetscCall(VecAssemblyBegin(y));
  PetscCall(VecAssemblyEnd(y));
  PetscCall(SkeanGPSetData(gp, y, NULL));
  PetscCallMPI(MPI_Barrier(comm));
  double t = MPI_Wtime();
  PetscCall(SkeanGPComputeLogLikelihood(gp, &L, NULL));
  double tk = MPI_Wtime() - t;

  /* the whole covariance, distributed by blocks over all processes */
  gp::Regression *r = gp->reg;
  const PetscInt  N = static_cast<PetscInt>(r->N);
  PetscCallMPI(MPI_Barrier(comm));
  t = MPI_Wtime();
  PetscCall(MatCreateScaLAPACK(comm, PETSC_DECIDE, PETSC_DECIDE, N, N, 0, 0, &V));
  PetscCall(MatGetOwnershipIS(V, &rows, &cols));
  {
    PetscInt        nr, nc;
    const PetscInt *ir, *ic;
    PetscCall(ISGetLocalSize(rows, &nr));
    PetscCall(ISGetLocalSize(cols, &nc));
    PetscCall(ISGetIndices(rows, &ir));
    PetscCall(ISGetIndices(cols, &ic));
    std::vector<PetscScalar> row(nc);
    for (PetscInt a = 0; a < nr; ++a) {
      for (PetscInt c = 0; c < nc; ++c) {
        double   k = r->s2f;
        PetscInt p = ir[a], q = ic[c];
        for (int j = static_cast<int>(d) - 1; j >= 0; --j) {
          k *= r->K[j][p % n[j] + static_cast<size_t>(q % n[j]) * n[j]];
          p /= n[j];
          q /= n[j];
        }
        row[c] = k + (ir[a] == ic[c] ? r->s2n : 0.0);
      }
      PetscCall(MatSetValues(V, 1, &ir[a], nc, ic, row.data(), INSERT_VALUES));
    }
    PetscCall(ISRestoreIndices(rows, &ir));
    PetscCall(ISRestoreIndices(cols, &ic));
  }
  PetscCall(MatAssemblyBegin(V, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(V, MAT_FINAL_ASSEMBLY));
  const double made = MPI_Wtime() - t;
  PetscCall(MatCreateVecs(V, &x, &b));
  {
    /* the same values in the matrix's layout */
    IS       is;
    PetscInt first, last;
    PetscCall(VecGetOwnershipRange(b, &first, &last));
    PetscCall(ISCreateStride(comm, last - first, first, 1, &is));
    PetscCall(VecScatterCreate(y, is, b, is, &sc));
    PetscCall(VecScatterBegin(sc, y, b, INSERT_VALUES, SCATTER_FORWARD));
    PetscCall(VecScatterEnd(sc, y, b, INSERT_VALUES, SCATTER_FORWARD));
    PetscCall(ISDestroy(&is));
  }
  perm = NULL;
  PetscCallMPI(MPI_Barrier(comm));
  t = MPI_Wtime();
  PetscCall(MatCholeskyFactor(V, perm, NULL));
  PetscCall(MatSolve(V, b, x));
  const double factored = MPI_Wtime() - t;
  PetscReal    quad, D = 0, difference, size_of_mean;
  PetscCall(VecDot(b, x, &quad));
  /* K V^-1 y = y - noise V^-1 y, against the mean by the factors */
  PetscCall(VecDuplicate(y, &mean));
  PetscCall(VecDuplicate(y, &dense));
  PetscCall(SkeanGPSolve(gp));
  PetscCall(SkeanGPGetPosterior(gp, mean, NULL));
  PetscCall(VecScatterBegin(sc, x, dense, INSERT_VALUES, SCATTER_REVERSE));
  PetscCall(VecScatterEnd(sc, x, dense, INSERT_VALUES, SCATTER_REVERSE));
  PetscCall(VecAYPX(dense, -r->s2n, y));
  PetscCall(VecNorm(mean, NORM_2, &size_of_mean));
  PetscCall(VecAXPY(dense, -1.0, mean));
  PetscCall(VecNorm(dense, NORM_2, &difference));
  {
    PetscReal *a;
    PetscInt   m;
    PetscCall(MatGetDiagonal(V, x)); /* of the factor */
    PetscCall(VecGetLocalSize(x, &m));
    PetscCall(VecGetArray(x, &a));
    for (PetscInt i = 0; i < m; ++i) D += std::log(a[i]);
    PetscCall(VecRestoreArray(x, &a));
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &D, 1, MPI_DOUBLE, MPI_SUM, comm));
  }
  const double loglik = -0.5 * quad - D - 0.5 * static_cast<double>(N) * std::log(2 * PETSC_PI);
  double       w[3]   = {tk, made, factored};
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, w, 3, MPI_DOUBLE, MPI_MAX, comm));
  if (!rank)
    std::printf(
      "{\"case\":\"scalapack\",\"points\":%d,\"ranks\":%d,\"seed\":7,\"kron_s\":%.5g,\"assembly_s\":%.5g,\"cholesky_s\":%.5g,\"gflops\":%.4g,\"ratio\":%.4g,"
      "\"loglik\":%.14g,\"difference\":%.3g,\"mean_difference\":%.3g}\n",
      static_cast<int>(N), size, w[0], w[1], w[2], std::pow(static_cast<double>(N), 3) / 3e9 / w[2], w[2] / w[0], L, std::abs(L - loglik) / std::abs(loglik),
      difference / size_of_mean);
  PetscCall(ISDestroy(&rows));
  PetscCall(ISDestroy(&cols));
  PetscCall(VecDestroy(&y));
  PetscCall(VecDestroy(&b));
  PetscCall(VecDestroy(&x));
  PetscCall(VecDestroy(&mean));
  PetscCall(VecDestroy(&dense));
  PetscCall(VecScatterDestroy(&sc));
  PetscCall(MatDestroy(&V));
  PetscCall(SkeanGPDestroy(&gp));
  PetscCall(SkeanFinalize());
  return 0;
}
