static char help[] =
  "Times the tensor-grid layer and SkeanGP; one JSON object per case.\n"
  "  -bench mode   products along all modes against square dgemm in the same run (-n 256 by default): dense factors, and centrosymmetric ones and their\n"
  "                eigenvectors by even and odd parts, whose rate counts the flops of the dense ones\n"
  "  -bench poisson  Chebyshev collocation on -n 128 interior points a side: set-up and direct solve (-mat_skeankron_evenodd 0 for comparison)\n"
  "  -bench gp     eigendecompositions, one likelihood with gradient, posterior mean and variance map, peak memory (-n 128, -d 3)\n"
  "                (-kernel sets another covariance, -uniform a uniform grid; memory is the peak of each phase over what there was before, in arrays)\n"
  "  -bench eigen  the eigenproblems of a d = 3 grid of -n 1000 points a side and the mode products with them, measured on -k 8 planes and scaled\n"
  "  -bench closed log determinant and solve of Ornstein-Uhlenbeck and Brownian products against closed forms (-n 128, d = 3, or -sizes)\n"
  "  -bench ranks  likelihood, gradient, mean and variance against one process (-n 24, -d 3)\n"
  "  -bench dense  the same regression by dense Cholesky, equal answers (-n 14, -d 3)\n"
  "  -repeat r     repetitions (3)\n\n";
#include <skean/private/gpimpl.h>
#include <skean/private/random.hpp>
#include <skeankron.h>
#include <petscblaslapack.h>
#include <petsctime.h>
#include <malloc.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>

using namespace skean;

namespace {

double Now(MPI_Comm comm)
{
  MPI_Barrier(comm);
  return MPI_Wtime();
}
/* the slowest process counts */
double Since(MPI_Comm comm, double t)
{
  double d = MPI_Wtime() - t, m;
  MPI_Allreduce(&d, &m, 1, MPI_DOUBLE, MPI_MAX, comm);
  return m;
}
/* Resident memory of this process, looked at every millisecond: the peak of a phase (the kernel's own high-water mark cannot be reset everywhere) */
double ResidentNow()
{
  std::ifstream statm("/proc/self/statm");
  double        pages = 0;
  statm >> pages >> pages;
  return pages * static_cast<double>(sysconf(_SC_PAGESIZE));
}
class Sampler {
public:
  Sampler()
      : thread([this] {
          while (!stop) {
            const double now = ResidentNow();
            if (now > peak) peak = now;
            usleep(1000);
          }
        })
  {
  }
  ~Sampler()
  {
    stop = true;
    thread.join();
  }
  void   Reset() { peak = ResidentNow(); }
  double Peak() const { return std::max<double>(peak, ResidentNow()); }

private:
  std::atomic<bool>   stop{false};
  std::atomic<double> peak{0};
  std::thread         thread;
};
double Sum(MPI_Comm comm, double b)
{
  double s;
  MPI_Allreduce(&b, &s, 1, MPI_DOUBLE, MPI_SUM, comm);
  return s;
}
struct Times {
  std::vector<double> t;
  void                Print(const char *name) const
  {
    std::vector<double> s(t);
    std::sort(s.begin(), s.end());
    std::printf("\"%s_min\":%.5g,\"%s_median\":%.5g,\"%s_max\":%.5g,", name, s.front(), name, s[s.size() / 2], name, s.back());
  }
};

PetscErrorCode Mode(MPI_Comm comm, PetscInt n, PetscInt repeat)
{
  PetscMPIInt rank, size;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  TensorGrid          g;
  const PetscInt64    nn[] = {n, n, n};
  std::vector<double> f(static_cast<size_t>(n) * n, 1e-3), E(static_cast<size_t>(n - n / 2) * (n - n / 2), 1e-3), O(static_cast<size_t>(n / 2) * (n / 2), 1e-3);
  std::vector<PetscInt>          list[2];
  std::shared_ptr<const EvenOdd> matrix = EvenOdd::Matrix(n, f.data()), vectors;
  for (PetscInt k = 0; k < n; ++k) list[k % 2].push_back(k);
  vectors                   = EvenOdd::Columns(n, E, O, list[0], list[1]);
  const char *const name[]  = {"apply", "centrosymmetric", "vectors_transposed", "vectors"};
  const ModeOp      kinds[] = {ModeOp::Dense(n, n, f.data(), n), ModeOp::Parts(matrix.get()), ModeOp::Parts(vectors.get(), true), ModeOp::Parts(vectors.get())};
  PetscCall(g.Create(comm, 3, nn));
  const PetscInt64    m = std::max<PetscInt64>(0, g.Home().Volume());
  std::vector<double> x(m, 1.0), y(m);
  /* the limit: square products, 1024, of about as many flops, so that both see as much of what else goes on in the machine */
  const PetscBLASInt  b   = 1024;
  const int           nb  = std::max(1, static_cast<int>(3.0 * std::pow(static_cast<double>(n), 4) / size / std::pow(static_cast<double>(b), 3) + 0.5));
  const double        one = 1.0, zero = 0.0;
  std::vector<double> A(b * b, 1.0), B(b * b, 1.0), C(b * b);
  Times               limit, apply[4];
  for (PetscInt r = 0; r <= repeat; ++r) {
    double t = Now(comm);
    for (int k = 0; k < nb; ++k) BLASgemm_("N", "N", &b, &b, &b, &one, A.data(), &b, B.data(), &b, &zero, C.data(), &b);
    t = Since(comm, t);
    if (r) limit.t.push_back(2.0 * nb * b * b * b / t / 1e9);
    for (int kind = 0; kind < 4; ++kind) {
      const ModeOp op[] = {kinds[kind], kinds[kind], kinds[kind]};
      t                 = Now(comm);
      TensorPipe pipe(g, g.Sizes(), 0, x.data(), y.data(), m);
      PetscCall(pipe.Forward(op));
      PetscCall(pipe.Move(0));
      PetscCall(pipe.Finish());
      t = Since(comm, t);
      if (r) apply[kind].t.push_back(6.0 * std::pow(static_cast<double>(n), 4) / size / t / 1e9);
    }
  }
  const double bl = *std::max_element(limit.t.begin(), limit.t.end());
  if (!rank) {
    std::printf("{\"case\":\"mode\",\"n\":%d,\"d\":3,\"ranks\":%d,", static_cast<int>(n), size);
    limit.Print("dgemm_gflops");
    for (int kind = 0; kind < 4; ++kind) {
      apply[kind].Print((std::string(name[kind]) + "_gflops").c_str());
      std::printf("\"%s_ratio\":%.4f%s", name[kind], *std::max_element(apply[kind].t.begin(), apply[kind].t.end()) / bl, kind < 3 ? "," : "}\n");
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* -Laplace u = f with zero boundary values on [-1,1]^3 by Chebyshev collocation (Trefethen, Spectral Methods in MATLAB, 2000, chapters 6 and 7) as a Kronecker sum */
PetscErrorCode Poisson(MPI_Comm comm, PetscInt n, PetscInt repeat)
{
  PetscMPIInt            rank, size;
  Mat                    F, A;
  Vec                    b, x;
  PetscScalar           *a;
  Times                  setup, solve;
  const PetscInt         N = n + 1;
  std::vector<PetscReal> p(N + 1);

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  for (PetscInt i = 0; i <= N; ++i) p[i] = std::sin(PETSC_PI * (N - 2.0 * i) / (2.0 * N)); /* the cosines, antisymmetric in the last bit */
  std::vector<double> D((N + 1) * (N + 1), 0.0);
  for (PetscInt i = 0; i <= N; ++i)
    for (PetscInt j = 0; j <= N; ++j)
      if (i != j) {
        const double c     = (i == 0 || i == N ? 2.0 : 1.0) / (j == 0 || j == N ? 2.0 : 1.0) * ((i + j) % 2 ? -1.0 : 1.0);
        D[i + j * (N + 1)] = c / (p[i] - p[j]);
        D[i * (N + 2)] -= D[i + j * (N + 1)];
      }
  PetscCall(MatCreateSeqDense(PETSC_COMM_SELF, n, n, NULL, &F));
  PetscCall(MatDenseGetArrayWrite(F, &a));
  for (PetscInt j = 0; j < n; ++j)
    for (PetscInt i = 0; i < n; ++i) {
      /* of D^2 and its reversal the mean */
      double s = 0;
      for (PetscInt k = 0; k <= N; ++k)
        s -= 0.5 * (D[i + 1 + k * (N + 1)] * D[k + (j + 1) * (N + 1)] + D[N - 1 - i + (N - k) * (N + 1)] * D[N - k + (N - 1 - j) * (N + 1)]);
      a[i + static_cast<size_t>(j) * n] = s;
    }
  for (PetscInt j = 0; j < n; ++j)
    for (PetscInt i = 0; i < n; ++i) a[(n - 1 - i) + static_cast<size_t>(n - 1 - j) * n] = a[i + static_cast<size_t>(j) * n];
  PetscCall(MatDenseRestoreArrayWrite(F, &a));
  Mat       Fs[]  = {F, F, F};
  PetscReal error = 0, norm = 0;
  double    asked = 0;
  for (PetscInt r = 0; r < repeat; ++r) {
    PetscCall(MatCreateSkeanKronSum(comm, 3, Fs, &A));
    PetscCall(MatCreateVecs(A, &x, &b));
    PetscInt     lo[3], hi[3];
    PetscScalar *v;
    /* u = sin(pi x) sin(2 pi y) sin(3 pi z), -Laplace u = 14 pi^2 u */
    const auto Exact = [&](PetscInt i, PetscInt j, PetscInt k) {
      return std::sin(PETSC_PI * p[i + 1]) * std::sin(2 * PETSC_PI * p[j + 1]) * std::sin(3 * PETSC_PI * p[k + 1]);
    };
    PetscCall(MatSkeanKronGetOwnershipBox(A, lo, hi));
    PetscCall(VecGetArrayWrite(b, &v));
    for (PetscInt i = lo[0], at = 0; i < hi[0]; ++i)
      for (PetscInt j = lo[1]; j < hi[1]; ++j)
        for (PetscInt k = lo[2]; k < hi[2]; ++k) v[at++] = 14 * PETSC_PI * PETSC_PI * Exact(i, j, k);
    PetscCall(VecRestoreArrayWrite(b, &v));
    double t = Now(comm);
    PetscCall(MatSolve(A, b, x)); /* with the set-up */
    asked = Since(comm, t);
    t     = Now(comm);
    PetscCall(MatSolve(A, b, x));
    solve.t.push_back(Since(comm, t));
    setup.t.push_back(asked - solve.t.back());
    PetscCall(VecGetArray(x, &v));
    error = norm = 0;
    for (PetscInt i = lo[0], at = 0; i < hi[0]; ++i)
      for (PetscInt j = lo[1]; j < hi[1]; ++j)
        for (PetscInt k = lo[2]; k < hi[2]; ++k, ++at) {
          const double u = Exact(i, j, k);
          error += (v[at] - u) * (v[at] - u);
          norm += u * u;
        }
    PetscCall(VecRestoreArray(x, &v));
    error = Sum(comm, error);
    norm  = Sum(comm, norm);
    PetscCall(VecDestroy(&x));
    PetscCall(VecDestroy(&b));
    PetscCall(MatDestroy(&A));
  }
  PetscCall(MatDestroy(&F));
  if (!rank) {
    std::printf("{\"case\":\"poisson\",\"n\":%d,\"points\":%.6g,\"ranks\":%d,", static_cast<int>(n), std::pow(static_cast<double>(n), 3), size);
    setup.Print("setup_s");
    solve.Print("solve_s");
    std::printf("\"error\":%.3g}\n", std::sqrt(error / norm));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Create(MPI_Comm comm, PetscInt n, PetscInt d, SkeanGP *gp)
{
  std::vector<PetscInt>    sz(d, n);
  std::vector<PetscReal>   x(n);
  std::vector<PetscReal *> px(d, x.data());
  Vec                      y;
  PetscInt                 lo, hi;
  PetscScalar             *p;
  const RandomStream       s(7, Purpose::Test);
  char                     kernel[256] = "matern32(5)";
  PetscBool                uniform     = PETSC_FALSE;

  PetscFunctionBegin;
  PetscCall(PetscOptionsGetString(NULL, NULL, "-kernel", kernel, sizeof(kernel), NULL));
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-uniform", &uniform, NULL));
  /* slightly non-uniform, so that nothing is centrosymmetric */
  for (PetscInt i = 0; i < n; ++i) x[i] = static_cast<PetscReal>(i) + (uniform ? 0.0 : 0.2 * std::sin(static_cast<double>(i)));
  PetscCall(SkeanGPCreate(comm, gp));
  PetscCall(SkeanGPSetGrid(*gp, d, sz.data(), px.data()));
  PetscCall(SkeanGPSetKernel(*gp, kernel));
  PetscCall(SkeanGPSetVariances(*gp, 1.0, 0.1));
  PetscCall(SkeanGPSetFromOptions(*gp));
  PetscCall(SkeanGPCreateVec(*gp, &y));
  PetscCall(VecGetOwnershipRange(y, &lo, &hi));
  PetscCall(VecGetArrayWrite(y, &p));
  for (PetscInt i = lo; i < hi; ++i) p[i - lo] = s.Normal(static_cast<std::uint64_t>(i));
  PetscCall(VecRestoreArrayWrite(y, &p));
  PetscCall(SkeanGPSetData(*gp, y, NULL));
  PetscCall(VecDestroy(&y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Whole(MPI_Comm comm, PetscInt n, PetscInt d, PetscInt repeat)
{
  PetscMPIInt rank, size;
  SkeanGP     gp;
  Times       eig, value, gradient, solve, mean, variance;
  double      base = Sum(comm, ResidentNow()), peak[5] = {0, 0, 0, 0, 0};
  PetscReal   L;
  Vec         v;
  bool        good;
  Sampler     sampler;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(Create(comm, n, d, &gp));
  PetscInt np;
  PetscCall(SkeanGPGetNumParameters(gp, &np));
  std::vector<PetscReal> g(np);
  malloc_trim(0); /* the caller's vector of the data is gone, and its memory with it */
  const auto Phase = [&](int which, Times *times, const auto &f) -> PetscErrorCode {
    PetscFunctionBegin;
    malloc_trim(0);
    sampler.Reset();
    const double t = Now(comm);
    PetscCall(f());
    times->t.push_back(Since(comm, t));
    peak[which] = std::max(peak[which], Sum(comm, sampler.Peak()) - base);
    PetscFunctionReturn(PETSC_SUCCESS);
  };
  for (PetscInt r = 0; r < repeat; ++r) {
    gp->reg->ForgetFactors();
    double t = Now(comm);
    PetscCall(gp->reg->Factor());
    eig.t.push_back(Since(comm, t));
    PetscCall(Phase(0, &value, [&] { return SkeanGPComputeLogLikelihood(gp, &L, NULL); }));
    PetscCall(Phase(1, &gradient, [&] { return SkeanGPComputeLogLikelihood(gp, &L, g.data()); }));
    PetscCall(Phase(2, &solve, [&] { return gp->reg->Weights(&good); }));
    PetscCall(SkeanGPSolve(gp));
    PetscCall(SkeanGPCreateVec(gp, &v));
    PetscCall(Phase(3, &mean, [&] { return SkeanGPGetPosterior(gp, v, NULL); }));
    PetscCall(Phase(4, &variance, [&] { return SkeanGPGetPosterior(gp, NULL, v); }));
    PetscCall(VecDestroy(&v));
  }
  const double  array = 8.0 * static_cast<double>(gp->reg->N);
  SkeanGPReport report;
  PetscCall(SkeanGPGetReport(gp, &report));
  if (!rank) {
    std::printf("{\"case\":\"gp\",\"n\":%d,\"d\":%d,\"points\":%.6g,\"ranks\":%d,\"seed\":7,\"eigen\":\"%s\",", static_cast<int>(n), static_cast<int>(d),
                array / 8, size, gp->reg->eig[0].method);
    eig.Print("eigen_s");
    value.Print("value_s");
    gradient.Print("value_gradient_s");
    solve.Print("solve_verified_s");
    mean.Print("mean_s");
    variance.Print("variance_s");
    std::printf("\"residual\":%.3g,\"loglik\":%.15g,\"peak_arrays\":{\"value\":%.3f,\"gradient\":%.3f,\"solve\":%.3f,\"mean\":%.3f,\"variance\":%.3f}}\n",
                (double)report.residual, L, peak[0] / array, peak[1] / array, peak[2] / array, peak[3] / array, peak[4] / array);
  }
  PetscCall(SkeanGPDestroy(&gp));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Eigenproblems beside the mode products of a solve, which are linear in the number of planes */
PetscErrorCode Eigen(MPI_Comm comm, PetscInt n, PetscInt k)
{
  PetscMPIInt rank, size;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  for (int kind = 0; kind < 3; ++kind) { /* no structure; uniform grid; periodic uniform grid */
    std::vector<double>           K(static_cast<size_t>(n) * n);
    std::vector<KronEigen>        e(3);
    std::vector<KronEigenProblem> p(3);
    const double                  pi = PETSC_PI;
    for (PetscInt j = 0; j < n; ++j)
      for (PetscInt i = 0; i < n; ++i) {
        const double   xi = i + (kind ? 0.0 : 0.2 * std::sin(i)), xj = j + (kind ? 0.0 : 0.2 * std::sin(j));
        const PetscInt gap                = PetscAbsInt(i - j);
        const double   z                  = kind == 2 ? n / pi * std::sin(pi * std::min(gap, n - gap) / n) : std::abs(xi - xj);
        K[i + static_cast<size_t>(j) * n] = (1 + z / 5) * std::exp(-z / 5);
      }
    for (int j = 0; j < 3; ++j) {
      p[j].n   = n;
      p[j].A   = K.data();
      p[j].eig = &e[j];
    }
    double t = Now(comm);
    PetscCall(KronEigenSolve(comm, &p));
    const double     te   = Since(comm, t);
    const PetscInt64 nn[] = {n, n, k};
    TensorGrid       g;
    ModeOp           op[3] = {e[0].Op(true), e[1].Op(true), ModeOp::Identity(k)}, bop[3] = {e[0].Op(false), e[1].Op(false), ModeOp::Identity(k)};
    PetscCall(g.Create(comm, 3, nn));
    const PetscInt64    m = std::max<PetscInt64>(0, g.Home().Volume());
    std::vector<double> x(m, 1.0), y(m);
    double              best = 1e300;
    for (int r = 0; r < 2; ++r) {
      t = Now(comm);
      TensorPipe pipe(g, g.Sizes(), 0, x.data(), y.data(), m);
      PetscCall(pipe.Forward(op, g.Stages() - 1));
      PetscCall(pipe.Backward(bop));
      PetscCall(pipe.Finish());
      best = std::min(best, Since(comm, t));
    }
    /* two of the three modes, k of n planes */
    const double solve = best * 1.5 * static_cast<double>(n) / static_cast<double>(k);
    if (!rank)
      std::printf("{\"case\":\"eigen\",\"n\":%d,\"ranks\":%d,\"method\":\"%s\",\"eigen_s\":%.4g,\"planes\":%d,\"planes_s\":%.4g,\"solve_scaled_s\":%.4g,"
                  "\"share\":%.4f}\n",
                  static_cast<int>(n), size, e[0].method, te, static_cast<int>(k), best, solve, te / (te + solve));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   r^|i-j| has the determinant (1 - r^2)^(n-1) and a tridiagonal inverse; min(t_i, t_j) the product of the increments and a tridiagonal one too. The
   steps of t are uneven, so that no entry is a round number; they are differences of neighbouring t, exact in floating point.
*/
PetscErrorCode Closed(MPI_Comm comm, PetscInt d, const PetscInt n[])
{
  PetscMPIInt  rank, size;
  const double h = 1.0, r = std::exp(-h);
  double       N = 1;
  std::string  shape;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  for (PetscInt j = 0; j < d; ++j) {
    N *= static_cast<double>(n[j]);
    shape += (j ? "x" : "") + std::to_string(n[j]);
  }
  for (int brownian = 0; brownian < 2; ++brownian) {
    /* Brownian motion along one dimension: its condition number grows as n^2 */
    std::vector<Mat> F(d), T(d);
    double           logdet = 0;
    for (int j = 0; j < d; ++j) {
      const bool b  = brownian && j == 1;
      const auto Nj = static_cast<double>(n[j]);
      const auto t  = [](PetscInt i) { return 1.0 + i + 0.3 * std::sin(2.0 * i); };
      PetscCall(MatCreateSeqDense(PETSC_COMM_SELF, n[j], n[j], NULL, &F[j]));
      PetscCall(MatCreateSeqAIJ(PETSC_COMM_SELF, n[j], n[j], 3, NULL, &T[j]));
      PetscScalar *a;
      PetscCall(MatDenseGetArrayWrite(F[j], &a));
      for (PetscInt c = 0; c < n[j]; ++c)
        for (PetscInt i = 0; i < n[j]; ++i) a[i + static_cast<size_t>(c) * n[j]] = b ? t(std::min(i, c)) : std::pow(r, PetscAbsInt(i - c));
      PetscCall(MatDenseRestoreArrayWrite(F[j], &a));
      PetscCall(MatAssemblyBegin(F[j], MAT_FINAL_ASSEMBLY));
      PetscCall(MatAssemblyEnd(F[j], MAT_FINAL_ASSEMBLY));
      const double s = 1 / (1 - r * r);
      for (PetscInt i = 0; i < n[j]; ++i) {
        const bool   last = i == n[j] - 1, edge = last || i == 0;
        const double before = i ? 1 / (t(i) - t(i - 1)) : 1 / t(0), after = last ? 0.0 : 1 / (t(i + 1) - t(i));
        PetscCall(MatSetValue(T[j], i, i, b ? before + after : s * (edge ? 1.0 : 1 + r * r), INSERT_VALUES));
        if (i) PetscCall(MatSetValue(T[j], i, i - 1, b ? -before : -s * r, INSERT_VALUES));
        if (!last) PetscCall(MatSetValue(T[j], i, i + 1, b ? -after : -s * r, INSERT_VALUES));
        if (b) logdet -= N / Nj * std::log(before);
      }
      PetscCall(MatAssemblyBegin(T[j], MAT_FINAL_ASSEMBLY));
      PetscCall(MatAssemblyEnd(T[j], MAT_FINAL_ASSEMBLY));
      if (!b) logdet += N / Nj * (Nj - 1) * std::log(1 - r * r);
    }
    SkeanGP                             gp;
    PetscReal                           nothing = 1e-30;
    std::vector<std::vector<PetscReal>> x(d);
    std::vector<PetscReal *>            px(d);
    for (int j = 0; j < d; ++j) {
      for (PetscInt i = 0; i < n[j]; ++i) x[j].push_back(i * h);
      px[j] = x[j].data();
    }
    PetscCall(SkeanGPCreate(comm, &gp));
    PetscCall(SkeanGPSetGrid(gp, d, n, px.data()));
    for (int j = 0; j < d; ++j) PetscCall(SkeanGPSetFactor(gp, j, F[j]));
    PetscCall(SkeanGPSetVariances(gp, 1.0, nothing));
    double t = Now(comm);
    PetscCall(gp->reg->Sums());
    const double td = Since(comm, t), ed = std::abs(gp->reg->sums.logdet - logdet) / std::abs(logdet), cond = gp->reg->sums.largest / gp->reg->sums.smallest;
    PetscCall(SkeanGPDestroy(&gp));
    Mat A, B;
    Vec b, y, z;
    PetscCall(MatCreateSkeanKron(comm, d, F.data(), &A));
    PetscCall(MatCreateSkeanKron(comm, d, T.data(), &B));
    PetscCall(MatCreateVecs(A, &y, &b));
    PetscCall(VecDuplicate(y, &z));
    {
      const RandomStream s(8, Purpose::Test);
      PetscScalar       *p;
      PetscInt           lo, hi;
      PetscCall(VecGetOwnershipRange(b, &lo, &hi));
      PetscCall(VecGetArrayWrite(b, &p));
      for (PetscInt i = lo; i < hi; ++i) p[i - lo] = s.Normal(static_cast<std::uint64_t>(i));
      PetscCall(VecRestoreArrayWrite(b, &p));
    }
    t = Now(comm);
    PetscCall(MatSolve(A, b, y));
    const double ts = Since(comm, t);
    PetscReal    e, ny;
    PetscCall(MatMult(B, b, z));
    PetscCall(VecAXPY(y, -1.0, z));
    PetscCall(VecNorm(y, NORM_2, &e));
    PetscCall(VecNorm(z, NORM_2, &ny));
    if (!rank)
      std::printf("{\"case\":\"closed\",\"factors\":\"Ornstein-Uhlenbeck%s\",\"shape\":\"%s\",\"points\":%.6g,\"ranks\":%d,\"seed\":8,\"condition\":%.3g,"
                  "\"logdet_error\":%.3g,\"solve_error\":%.3g,\"logdet_s\":%.4g,\"setup_solve_s\":%.4g}\n",
                  brownian ? ", Brownian along dimension 1" : "", shape.c_str(), N, size, cond, ed, (double)(e / ny), td, ts);
    for (Vec *v : {&b, &y, &z}) PetscCall(VecDestroy(v));
    PetscCall(MatDestroy(&A));
    PetscCall(MatDestroy(&B));
    for (int j = 0; j < d; ++j) {
      PetscCall(MatDestroy(&F[j]));
      PetscCall(MatDestroy(&T[j]));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Everything by all processes and by each one alone */
PetscErrorCode Ranks(MPI_Comm comm, PetscInt n, PetscInt d)
{
  PetscMPIInt            rank, size;
  SkeanGP                gp[2];
  PetscReal              L[2];
  std::vector<PetscReal> g[2];
  std::vector<double>    post[2][2];

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  for (int w = 0; w < 2; ++w) {
    PetscInt np;
    Vec      v, all;
    PetscCall(Create(w ? PETSC_COMM_SELF : comm, n, d, &gp[w]));
    PetscCall(gp[w]->reg->MakeGrid());
    gp[w]->reg->grid->SetChunk(n * n); /* many chunks, as in large grids */
    PetscCall(SkeanGPGetNumParameters(gp[w], &np));
    g[w].resize(np);
    PetscCall(SkeanGPComputeLogLikelihood(gp[w], &L[w], g[w].data()));
    PetscCall(SkeanGPSolve(gp[w]));
    PetscCall(SkeanGPCreateVec(gp[w], &v));
    for (int k = 0; k < 2; ++k) {
      VecScatter         sc;
      const PetscScalar *p;
      PetscCall(SkeanGPGetPosterior(gp[w], k ? NULL : v, k ? v : NULL));
      PetscCall(VecScatterCreateToAll(v, &sc, &all));
      PetscCall(VecScatterBegin(sc, v, all, INSERT_VALUES, SCATTER_FORWARD));
      PetscCall(VecScatterEnd(sc, v, all, INSERT_VALUES, SCATTER_FORWARD));
      PetscInt N;
      PetscCall(VecGetSize(v, &N));
      PetscCall(VecGetArrayRead(all, &p));
      post[w][k].assign(p, p + N);
      PetscCall(VecRestoreArrayRead(all, &p));
      PetscCall(VecScatterDestroy(&sc));
      PetscCall(VecDestroy(&all));
    }
    PetscCall(VecDestroy(&v));
    PetscCall(SkeanGPDestroy(&gp[w]));
  }
  const auto Difference = [](const std::vector<double> &a, const std::vector<double> &b) {
    double e = 0, s = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      e = std::max(e, std::abs(a[i] - b[i]));
      s = std::max(s, std::abs(b[i]));
    }
    return e / s;
  };
  if (!rank)
    std::printf("{\"case\":\"ranks\",\"n\":%d,\"d\":%d,\"ranks\":%d,\"value\":%.3g,\"gradient\":%.3g,\"mean\":%.3g,\"variance\":%.3g}\n", static_cast<int>(n),
                static_cast<int>(d), size, std::abs(L[0] - L[1]) / std::abs(L[1]), Difference(g[0], g[1]), Difference(post[0][0], post[1][0]),
                Difference(post[0][1], post[1][1]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* LAPACK's Cholesky of the whole covariance, on one process */
PetscErrorCode Dense(PetscInt n, PetscInt d)
{
  SkeanGP   gp;
  PetscReal L;

  PetscFunctionBegin;
  PetscCall(Create(PETSC_COMM_SELF, n, d, &gp));
  double t = MPI_Wtime();
  PetscCall(SkeanGPComputeLogLikelihood(gp, &L, NULL));
  const double        tk = MPI_Wtime() - t;
  gp::Regression     *r  = gp->reg;
  const PetscInt64    N  = r->N;
  const PetscBLASInt  bN = static_cast<PetscBLASInt>(N), one = 1;
  PetscBLASInt        info;
  std::vector<double> V(N * N), a(r->y);
  t = MPI_Wtime();
  for (PetscInt64 c = 0; c < N; ++c)
    for (PetscInt64 i = 0; i < N; ++i) {
      double     k  = r->s2f;
      PetscInt64 gi = i, gc = c;
      for (int j = static_cast<int>(d) - 1; j >= 0; --j) {
        k *= r->K[j][gi % n + (gc % n) * n];
        gi /= n;
        gc /= n;
      }
      V[i + c * N] = k + (i == c ? r->s2n : 0.0);
    }
  LAPACKpotrf_("L", &bN, V.data(), &bN, &info);
  LAPACKpotrs_("L", &bN, &one, V.data(), &bN, a.data(), &bN, &info);
  double D = -0.5 * static_cast<double>(N) * std::log(2 * PETSC_PI);
  for (PetscInt64 i = 0; i < N; ++i) D -= 0.5 * r->y[i] * a[i] + std::log(V[i * (N + 1)]);
  const double td = MPI_Wtime() - t;
  std::printf("{\"case\":\"dense\",\"points\":%d,\"kron_s\":%.5g,\"cholesky_s\":%.5g,\"speedup\":%.4g,\"difference\":%.3g}\n", static_cast<int>(N), tk, td,
              td / tk, std::abs(L - D) / std::abs(D));
  PetscCall(SkeanGPDestroy(&gp));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace

int main(int argc, char **argv)
{
  char        which[32] = "mode";
  PetscInt    n = 0, d = 3, repeat = 3;
  PetscMPIInt rank;
  PetscInt    planes = 8;
  const auto  Is     = [&](const char *name) { return std::string(which) == name; };

  PetscCall(SkeanInitialize(&argc, &argv, NULL, help));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-bench", which, sizeof(which), NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-n", &n, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-d", &d, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-repeat", &repeat, NULL));
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-k", &planes, NULL));
  PetscCheck((Is("mode") || Is("gp") || Is("eigen") || Is("closed") || Is("ranks") || Is("dense") || Is("poisson")) && repeat > 0, PETSC_COMM_WORLD,
             PETSC_ERR_USER_INPUT, "-bench is mode, gp, eigen, closed, ranks, dense or poisson, and -repeat positive");
  if (Is("mode")) PetscCall(Mode(PETSC_COMM_WORLD, n ? n : 256, repeat));
  if (Is("poisson")) PetscCall(Poisson(PETSC_COMM_WORLD, n ? n : 128, repeat));
  if (Is("gp")) PetscCall(Whole(PETSC_COMM_WORLD, n ? n : 128, d, repeat));
  if (Is("eigen")) PetscCall(Eigen(PETSC_COMM_WORLD, n ? n : 1000, planes));
  if (Is("closed")) {
    std::vector<PetscInt> shape(3, n ? n : 128);
    PetscInt              given = 8, sizes[8];
    PetscBool             set;
    PetscCall(PetscOptionsGetIntArray(NULL, NULL, "-sizes", sizes, &given, &set));
    if (set) shape.assign(sizes, sizes + given);
    PetscCheck(shape.size() > 1, PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT, "-sizes wants two numbers or more");
    PetscCall(Closed(PETSC_COMM_WORLD, static_cast<PetscInt>(shape.size()), shape.data()));
  }
  if (Is("ranks")) PetscCall(Ranks(PETSC_COMM_WORLD, n ? n : 24, d));
  if (Is("dense") && !rank) PetscCall(Dense(n ? n : 14, d));
  PetscCall(SkeanFinalize());
  return 0;
}
