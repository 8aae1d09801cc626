static char help[] = "Times the tensor-grid layer and SkeanGP; one JSON object per case.\n"
                     "  -bench mode   products along a mode against square dgemm in the same run (-n 256 by default)\n"
                     "  -bench gp     eigendecompositions, one likelihood with gradient, posterior mean and variance map, peak memory (-n 128, -d 3)\n"
                     "  -bench dense  the same regression by dense Cholesky, equal answers (-n 14, -d 3)\n"
                     "  -repeat r     repetitions (3)\n\n";
#include <skean/private/gpimpl.h>
#include <skean/private/random.hpp>
#include <petscblaslapack.h>
#include <petsctime.h>
#include <sys/resource.h>
#include <algorithm>
#include <cmath>
#include <cstdio>

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
double PeakBytes(MPI_Comm comm)
{
  struct rusage u;
  double        b, s;
  getrusage(RUSAGE_SELF, &u);
  b = 1024.0 * static_cast<double>(u.ru_maxrss);
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
  TensorGrid                       g;
  const PetscInt64                 nn[] = {n, n, n};
  std::vector<std::vector<double>> f(3, std::vector<double>(static_cast<size_t>(n) * n, 1e-3));
  std::vector<ModeOp>              op(3);
  for (int k = 0; k < 3; ++k) op[k] = ModeOp::Dense(n, n, f[k].data(), n);
  PetscCall(g.Create(comm, 3, nn));
  const PetscInt64    m = std::max<PetscInt64>(0, g.Home().Volume());
  std::vector<double> x(m, 1.0), y(m);
  /* the limit: square products, 1024 */
  const PetscBLASInt  b   = 1024;
  const double        one = 1.0, zero = 0.0;
  std::vector<double> A(b * b, 1.0), B(b * b, 1.0), C(b * b);
  Times               limit, apply;
  for (PetscInt r = 0; r <= repeat; ++r) {
    double t = Now(comm);
    BLASgemm_("N", "N", &b, &b, &b, &one, A.data(), &b, B.data(), &b, &zero, C.data(), &b);
    t = Since(comm, t);
    if (r) limit.t.push_back(2.0 * b * b * b / t / 1e9);
    t = Now(comm);
    TensorPipe pipe(g, g.Sizes(), 0, x.data(), y.data(), m);
    PetscCall(pipe.Forward(op.data()));
    PetscCall(pipe.Move(0));
    PetscCall(pipe.Finish());
    t = Since(comm, t);
    if (r) apply.t.push_back(6.0 * std::pow(static_cast<double>(n), 4) / size / t / 1e9);
  }
  const double bl = *std::max_element(limit.t.begin(), limit.t.end()), ba = *std::max_element(apply.t.begin(), apply.t.end());
  if (!rank) {
    std::printf("{\"case\":\"mode\",\"n\":%d,\"d\":3,\"ranks\":%d,", static_cast<int>(n), size);
    limit.Print("dgemm_gflops");
    apply.Print("apply_gflops");
    std::printf("\"ratio\":%.4f}\n", ba / bl);
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

  PetscFunctionBegin;
  /* slightly non-uniform, so that nothing is centrosymmetric */
  for (PetscInt i = 0; i < n; ++i) x[i] = static_cast<PetscReal>(i) + 0.2 * std::sin(static_cast<double>(i));
  PetscCall(SkeanGPCreate(comm, gp));
  PetscCall(SkeanGPSetGrid(*gp, d, sz.data(), px.data()));
  PetscCall(SkeanGPSetKernel(*gp, "matern32(5)"));
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
  Times       eig, value, gradient, solve, posterior;
  double      base = PeakBytes(comm);
  PetscReal   L;
  Vec         m, v;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(Create(comm, n, d, &gp));
  PetscInt np;
  PetscCall(SkeanGPGetNumParameters(gp, &np));
  std::vector<PetscReal> g(np);
  double                 peak = 0;
  for (PetscInt r = 0; r < repeat; ++r) {
    gp->reg->ForgetFactors();
    double t = Now(comm);
    PetscCall(gp->reg->Factor());
    eig.t.push_back(Since(comm, t));
    t = Now(comm);
    PetscCall(SkeanGPComputeLogLikelihood(gp, &L, NULL));
    value.t.push_back(Since(comm, t));
    if (!r) peak = PeakBytes(comm);
    t = Now(comm);
    PetscCall(SkeanGPComputeLogLikelihood(gp, &L, g.data()));
    gradient.t.push_back(Since(comm, t));
    t = Now(comm);
    PetscCall(SkeanGPSolve(gp));
    solve.t.push_back(Since(comm, t));
    PetscCall(SkeanGPCreateVec(gp, &m));
    PetscCall(VecDuplicate(m, &v));
    t = Now(comm);
    PetscCall(SkeanGPGetPosterior(gp, m, v));
    posterior.t.push_back(Since(comm, t));
    PetscCall(VecDestroy(&m));
    PetscCall(VecDestroy(&v));
  }
  const double  array = 8.0 * static_cast<double>(gp->reg->N);
  SkeanGPReport report;
  PetscCall(SkeanGPGetReport(gp, &report));
  const double all = PeakBytes(comm);
  if (!rank) {
    std::printf("{\"case\":\"gp\",\"n\":%d,\"d\":%d,\"points\":%.6g,\"ranks\":%d,\"seed\":7,", static_cast<int>(n), static_cast<int>(d), array / 8, size);
    eig.Print("eigen_s");
    value.Print("value_s");
    gradient.Print("value_gradient_s");
    solve.Print("solve_verified_s");
    posterior.Print("mean_variance_s");
    std::printf("\"residual\":%.3g,\"loglik\":%.12g,\"peak_arrays_value\":%.3f,\"peak_arrays_all\":%.3f}\n", (double)report.residual, L, (peak - base) / array,
                (all - base) / array);
  }
  PetscCall(SkeanGPDestroy(&gp));
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
  PetscBool   mode, gpb, dense;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, help));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-bench", which, sizeof(which), NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-n", &n, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-d", &d, NULL));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-repeat", &repeat, NULL));
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  PetscCall(PetscStrcmp(which, "mode", &mode));
  PetscCall(PetscStrcmp(which, "gp", &gpb));
  PetscCall(PetscStrcmp(which, "dense", &dense));
  PetscCheck((mode || gpb || dense) && repeat > 0, PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT, "-bench is mode, gp or dense, and -repeat positive");
  if (mode) PetscCall(Mode(PETSC_COMM_WORLD, n ? n : 256, repeat));
  if (gpb) PetscCall(Whole(PETSC_COMM_WORLD, n ? n : 128, d, repeat));
  if (dense && !rank) PetscCall(Dense(n ? n : 14, d));
  PetscCall(SkeanFinalize());
  return 0;
}
