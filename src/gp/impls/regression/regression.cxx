/*
   Gaussian-process regression with a product covariance on a tensor grid (Saatci 2011): see gpimpl.h for the notation.

   Full grid, V = s2f ((x) K_j + ratio I), K_j = Q_j L_j Q_j':
     solve       alpha = (x Q_j) [ (x Q_j' y) / (lam + ratio) ] / s2f
     value       one pass: sum log(lam + ratio), sum (Q'y)^2/(lam + ratio)
     gradient    dL/dK_j = 1/2 Q_j [ M_j - diag(t_j) ] Q_j', M_j = unfold_j(a) diag(prod_{k != j} lambda_k) unfold_j(a)' with a the
                 transformed weights: one n_j x n_j Gram product per dimension, where that dimension is local
     variance    diag of Q f(L) Q' is a product along the modes with the squares of Q_j

   Missing points M, observed O, A = ((x) K + ratio I)^-1 on the whole grid:
     A_MM y_M = -A_MO y_O fills the gaps so that A y vanishes on M and equals (K_OO + ratio I)^-1 y_O on O: conjugate gradients on the
     well-conditioned A_MM instead of on K_OO;
     log det(K_OO + ratio I) = log det(K + ratio I) + log det A_MM     (Jacobi's complementary minor)
*/
#include <skean/private/gpimpl.h>
#include <skean/private/memory.hpp>
#include <skean/private/random.hpp>
#include <skean/private/reduce.hpp>
#include <petscblaslapack.h>
#include <algorithm>
#include <cmath>
#include <limits>

namespace skean {
namespace gp {

Regression::~Regression()
{
  (void)KSPDestroy(&ksp);
  (void)MatDestroy(&shell);
  (void)VecDestroy(&kx);
  (void)VecDestroy(&kb);
  (void)VecScatterDestroy(&tonatural);
  (void)VecDestroy(&homevec);
  (void)VecDestroy(&naturalvec);
}

/* ---- layout -------------------------------------------------------------------------------------------------------------------- */

PetscErrorCode Regression::MakeGrid()
{
  PetscFunctionBegin;
  if (grid) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(d > 0, comm, PETSC_ERR_ORDER, "The grid is not set; call SkeanGPSetGrid()");
  double all = 1;
  N          = 1;
  for (int j = 0; j < d; ++j) all *= static_cast<double>(n[j]);
  PetscCheck(all <= static_cast<double>(PETSC_MAX_INT), comm, PETSC_ERR_ARG_OUTOFRANGE,
             "The grid has %g points, more than this PETSc's indices can count (%g); use a PETSc with 64-bit indices", all, static_cast<double>(PETSC_MAX_INT));
  for (int j = 0; j < d; ++j) N *= n[j];
  PetscCall(CheckMemory());
  PetscCallCXX(grid = std::make_unique<TensorGrid>());
  PetscCall(grid->Create(comm, d, n.data()));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Needed on a full grid: 3.2 arrays of the size of the data shared by the processes (data, weights, one for work, chunks of messages) and the factors with
   their eigenvectors on each; missing points need more, which is not known here. Compared with what the kernel says is available, shared by the processes of a node. */
PetscErrorCode Regression::CheckMemory()
{
  char   what[64];
  double factors = 0;

  PetscFunctionBegin;
  for (int j = 0; j < d; ++j) factors += 40.0 * static_cast<double>(n[j]) * static_cast<double>(n[j]);
  PetscCall(PetscSNPrintf(what, sizeof(what), "The grid of %" PetscInt64_FMT " points", N));
  PetscCall(skean::CheckMemory(comm, what, 3.2 * 8.0 * static_cast<double>(N), factors));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Natural numbers of this process's box */
static PetscErrorCode NaturalIndices(const TensorBox &b, const TensorSizes &n, std::vector<PetscInt> *idx)
{
  PetscFunctionBegin;
  PetscCallCXX({
    idx->reserve(std::max<PetscInt64>(0, b.Volume()));
    ForPoints(b, [&](const PetscInt64 *i, PetscInt64) {
      PetscInt64 g = 0;
      for (int k = 0; k < b.d; ++k) g = g * n[k] + i[k];
      idx->push_back(static_cast<PetscInt>(g));
    });
  });
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether the boxes for arrays of the sizes given are the pieces of a natural-order vector, on every process */
static PetscErrorCode SameAsBoxes(const TensorGrid &grid, const TensorSizes &sizes, Vec v, bool *same)
{
  const TensorBox  b     = grid.Box(0, sizes);
  const PetscInt64 mine  = std::max<PetscInt64>(0, b.Volume());
  PetscInt64       first = 0;
  PetscInt         lo, hi, total = 1, global;
  bool             slab = true, any;

  PetscFunctionBegin;
  for (int j = 0; j < grid.Dim(); ++j) total *= static_cast<PetscInt>(sizes[j]);
  PetscCall(VecGetSize(v, &global));
  PetscCheck(global == total, grid.Comm(), PETSC_ERR_ARG_SIZ, "The vector has %" PetscInt_FMT " entries, the grid %" PetscInt_FMT " points", global, total);
  PetscCall(VecGetOwnershipRange(v, &lo, &hi));
  for (int j = 0; j < grid.Dim(); ++j) {
    first = first * sizes[j] + b.lo[j];
    if (j && mine && b.Length(j) != sizes[j]) slab = false;
  }
  PetscCall(AgreeAny(grid.Comm(), !(hi - lo == mine && (mine == 0 || (slab && first == lo))), &any));
  *same = !any;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Copies between a natural-order vector of any distribution and the home boxes for arrays of the sizes given */
static PetscErrorCode Transfer(const TensorGrid &grid, const TensorSizes &sizes, Vec v, double *home, bool tohome)
{
  const TensorBox  b    = grid.Box(0, sizes);
  const PetscInt64 mine = std::max<PetscInt64>(0, b.Volume());
  PetscInt         total;
  bool             same;

  PetscFunctionBegin;
  PetscCall(SameAsBoxes(grid, sizes, v, &same));
  PetscCall(VecGetSize(v, &total));
  if (same) {
    double *p;
    if (tohome) {
      PetscCall(VecGetArrayRead(v, (const PetscScalar **)&p));
      std::copy(p, p + mine, home);
      PetscCall(VecRestoreArrayRead(v, (const PetscScalar **)&p));
    } else {
      PetscCall(VecGetArrayWrite(v, &p));
      std::copy(home, home + mine, p);
      PetscCall(VecRestoreArrayWrite(v, &p));
    }
  } else {
    std::vector<PetscInt> idx;
    IS                    is;
    Vec                   w;
    VecScatter            sc;
    PetscCall(NaturalIndices(b, sizes, &idx));
    PetscCall(ISCreateGeneral(grid.Comm(), static_cast<PetscInt>(mine), idx.data(), PETSC_USE_POINTER, &is));
    PetscCall(VecCreateMPIWithArray(grid.Comm(), 1, static_cast<PetscInt>(mine), total, home, &w));
    PetscCall(VecScatterCreate(v, is, w, NULL, &sc));
    if (tohome) {
      PetscCall(VecScatterBegin(sc, v, w, INSERT_VALUES, SCATTER_FORWARD));
      PetscCall(VecScatterEnd(sc, v, w, INSERT_VALUES, SCATTER_FORWARD));
    } else {
      PetscCall(VecScatterBegin(sc, w, v, INSERT_VALUES, SCATTER_REVERSE));
      PetscCall(VecScatterEnd(sc, w, v, INSERT_VALUES, SCATTER_REVERSE));
    }
    PetscCall(VecScatterDestroy(&sc));
    PetscCall(VecDestroy(&w));
    PetscCall(ISDestroy(&is));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Regression::FromNatural(Vec v, const TensorSizes *sizes, double *home)
{
  PetscFunctionBegin;
  PetscCall(Transfer(*grid, sizes ? *sizes : n, v, home, true));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Regression::ToNatural(const double *home, const TensorSizes *sizes, Vec v)
{
  PetscFunctionBegin;
  PetscCall(Transfer(*grid, sizes ? *sizes : n, v, const_cast<double *>(home), false));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- factors and their spectrum ------------------------------------------------------------------------------------------------- */

PetscErrorCode Regression::Factor()
{
  PetscFunctionBegin;
  if (factored) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(MakeGrid());
  std::vector<KronEigenProblem> problems(d);
  PetscCallCXX(K.resize(d));
  for (int j = 0; j < d; ++j) {
    const size_t nj = static_cast<size_t>(n[j]);
    PetscCallCXX(K[j].assign(nj * nj, 0.0));
    if (!userK[j].empty())
      K[j] = userK[j];
    else {
      PetscCheck(!kernel[j].Empty(), comm, PETSC_ERR_ORDER, "Dimension %d has no covariance function; call SkeanGPSetKernel()", j);
      double *const out[] = {K[j].data()};
      PetscCall(KernelMatrix(kernel[j], nj, x[j].data(), nj, NULL, 0, out));
    }
    if (!sqrtD[j].empty())
      for (size_t c = 0; c < nj; ++c)
        for (size_t r = 0; r < nj; ++r) K[j][r + c * nj] /= sqrtD[j][r] * sqrtD[j][c];
    problems[j].n = n[j];
    problems[j].A = K[j].data();
  }
  PetscCallCXX(eig.assign(d, KronEigen()));
  PetscCallCXX(Kparts.assign(d, nullptr));
  for (int j = 0; j < d; ++j) problems[j].eig = &eig[j];
  PetscCall(KronEigenSolve(comm, &problems));
  for (int j = 0; j < d; ++j) {
    PetscCheck(problems[j].result != KronEigenProblem::FAILED, comm, PETSC_ERR_FP,
               "The covariance matrix of dimension %d is not finite, or LAPACK found no eigenvectors (hyper-parameters out of range?)", j);
    if (eig[j].parts) {
      /* what was decomposed, and the same even/odd products with it */
      PetscCallCXX(Kparts[j] = EvenOdd::Matrix(n[j], K[j].data()));
      if (eig[j].asymmetry > 0) {
        for (PetscInt64 i = 0, last = n[j] * n[j] - 1; i < last - i; ++i) K[j][i] = K[j][last - i] = 0.5 * (K[j][i] + K[j][last - i]);
        PetscCall(PetscInfo(NULL, "Covariance matrix of dimension %d: centrosymmetric but for %g of its norm, made so exactly\n", j, eig[j].asymmetry));
      }
    }
    PetscCallCXX(eig[j].FormVectors()); /* gradient, variance and samples want their entries */
  }
  factored  = true;
  sumsready = weightsready = false;
  deflratio                = -1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   Without noise to rounding log det is the sum of those of the factors, which Cholesky gives to more digits than eigenvalues that are in error relative
   to the largest one. Left as it is where rounding makes a factor indefinite.
*/
PetscErrorCode Regression::LogDetOfFactors()
{
  std::vector<double> a;
  double              s[2] = {0, 0}; /* sum, failures */
  PetscMPIInt         rank, size;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  for (int j = rank; j < d; j += size) {
    PetscBLASInt bn = static_cast<PetscBLASInt>(n[j]), info;
    StableSum    log;
    const double copies = static_cast<double>(N) / static_cast<double>(n[j]); /* the product of the other sizes */
    PetscCallCXX(a = K[j]);
    LAPACKpotrf_("L", &bn, a.data(), &bn, &info);
    if (info) s[1] += 1;
    for (PetscInt64 i = 0; i < n[j] && !info; ++i) log.Add(2 * std::log(a[i * (n[j] + 1)]));
    s[0] += copies * log.Value();
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, s, 2, MPI_DOUBLE, MPI_SUM, comm));
  if (s[1] == 0.0) sums.logdet = s[0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Regression::Sums()
{
  const double ratio = Ratio();

  PetscFunctionBegin;
  PetscCall(Factor());
  if (sumsready && sumsratio == ratio) PetscFunctionReturn(PETSC_SUCCESS);
  const TensorBox b = grid->Home();
  StableSum       slog, str, strk;
  double          lo = std::numeric_limits<double>::infinity(), hi = -lo, rank = 0, negative = 0;
  PetscCallCXX({
    sums.t.resize(d);
    for (int j = 0; j < d; ++j) sums.t[j].assign(n[j], 0.0);
  });
  if (b.Volume() > 0) {
    PetscInt64    i[kTensorMaxDim];
    const double *l    = eig[d - 1].lambda.data();
    double       *tl   = sums.t[d - 1].data();
    double        prod = 1;
    for (int k = 0; k < d; ++k) i[k] = b.lo[k];
    for (;;) {
      double p = 1, sr = 0, slr = 0;
      for (int k = 0; k + 1 < d; ++k) p *= eig[k].lambda[i[k]];
      for (PetscInt64 q = b.lo[d - 1]; q < b.hi[d - 1]; ++q) {
        const double lam = p * l[q], v = lam + ratio, r = 1 / v;
        lo = std::min(lo, v);
        hi = std::max(hi, v);
        rank += lam > ratio;
        negative += lam < 0;
        sr += r;
        slr += l[q] * r;
        tl[q] += p * r;
        /* one logarithm for several factors: the product stays far from over- and underflow */
        prod *= v;
        if (!(prod > 1e-100 && prod < 1e100)) {
          slog.Add(std::log(prod));
          prod = 1;
        }
      }
      str.Add(sr);
      strk.Add(p * slr);
      for (int j = 0; j + 1 < d; ++j) {
        double w = 1;
        for (int k = 0; k + 1 < d; ++k)
          if (k != j) w *= eig[k].lambda[i[k]];
        sums.t[j][i[j]] += w * slr;
      }
      int k = d - 2;
      for (; k >= 0; --k) {
        if (++i[k] < b.hi[k]) break;
        i[k] = b.lo[k];
      }
      if (k < 0) break;
    }
    slog.Add(std::log(prod));
  }
  double s[5] = {slog.Value(), str.Value(), strk.Value(), rank, negative}, e[2] = {-lo, hi};
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, s, 5, MPI_DOUBLE, MPI_SUM, comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, e, 2, MPI_DOUBLE, MPI_MAX, comm));
  for (int j = 0; j < d; ++j) PetscCall(AllreduceSum(comm, sums.t[j].data(), n[j]));
  sums.logdet   = s[0];
  sums.trace    = s[1];
  sums.tracek   = s[2];
  sums.rank     = s[3];
  sums.negative = s[4];
  sums.smallest = -e[0];
  sums.largest  = e[1];
  if (sums.smallest > 0 && ratio <= PETSC_MACHINE_EPSILON * sums.smallest) PetscCall(LogDetOfFactors());
  sumsready = true;
  sumsratio = ratio;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- operators -------------------------------------------------------------------------------------------------------------------- */

PetscErrorCode Regression::ApplySpectral(int kind, const double *in, double *out)
{
  std::vector<ModeOp>                      f(d), g(d);
  std::vector<std::vector<const double *>> lam(1, std::vector<const double *>(d));
  const std::vector<double>                one(1, 1.0);
  double                                  *p;

  PetscFunctionBegin;
  for (int j = 0; j < d; ++j) {
    f[j]      = eig[j].Op(true);
    g[j]      = eig[j].Op(false);
    lam[0][j] = eig[j].lambda.data();
  }
  TensorPipe pipe(*grid, n, 0, in, out, HomeSize());
  PetscCall(pipe.Forward(f.data()));
  PetscCall(pipe.Data(&p));
  if (kind == 0)
    ForSpectrum(pipe.Box(), Ratio(), one, lam, [&](PetscInt64 at, double v) { p[at] /= v; });
  else
    ForSpectrum(pipe.Box(), Ratio(), one, lam, [&](PetscInt64 at, double v) { p[at] /= std::sqrt(v); });
  PetscCall(pipe.Backward(g.data()));
  PetscCall(pipe.Finish());
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Regression::ApplyInverse(const double *in, double *out)
{
  PetscFunctionBegin;
  PetscCall(ApplySpectral(0, in, out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

ModeOp Regression::FactorOp(int j) const
{
  return Kparts[j] ? ModeOp::Parts(Kparts[j].get()) : ModeOp::Dense(n[j], n[j], K[j].data(), n[j]);
}

PetscErrorCode Regression::ApplyCovariance(const double *in, double *out)
{
  std::vector<ModeOp> f(d);

  PetscFunctionBegin;
  for (int j = 0; j < d; ++j) f[j] = FactorOp(j);
  TensorPipe pipe(*grid, n, 0, in, out, HomeSize());
  PetscCall(pipe.Forward(f.data()));
  PetscCall(pipe.Move(0));
  PetscCall(pipe.Finish());
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Regression::Dot(const double *a, const double *b, double *dot)
{
  StableSum s;
  double    v;

  PetscFunctionBegin;
  for (PetscInt64 i = 0, m = HomeSize(); i < m; ++i) s.Add(a[i] * b[i]);
  v = s.Value();
  PetscCallMPI(MPI_Allreduce(&v, dot, 1, MPI_DOUBLE, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- missing points ----------------------------------------------------------------------------------------------------------------- */

/* Lambda (the free block of A, and what is known there) or the observed block of K + D (the comparison), zero outside */
static PetscErrorCode BlockMult(Mat S, Vec vx, Vec vy)
{
  Regression   *r;
  const double *x;
  double       *y;

  PetscFunctionBegin;
  PetscCall(MatShellGetContext(S, &r));
  PetscCall(VecGetArrayRead(vx, &x));
  PetscCall(VecGetArrayWrite(vy, &y));
  const PetscInt64 m    = r->HomeSize();
  const auto       Keep = [r](PetscInt64 i) { return r->maskedcg ? r->Observed(i) : !r->mask[i]; };
  for (PetscInt64 i = 0; i < m; ++i) y[i] = Keep(i) ? x[i] : 0.0;
  if (r->maskedcg) {
    PetscCall(r->ApplyCovariance(y, y));
    for (PetscInt64 i = 0; i < m; ++i) y[i] += (r->Ratio() + (r->Noisy(i) ? 1 / r->Excess(i) : 0.0)) * x[i];
  } else {
    PetscCall(r->ApplyInverse(y, y));
    if (!r->excess.empty())
      for (PetscInt64 i = 0; i < m; ++i) y[i] += r->Excess(i) * x[i];
  }
  for (PetscInt64 i = 0; i < m; ++i)
    if (!Keep(i)) y[i] = 0.0;
  PetscCall(VecRestoreArrayWrite(vy, &y));
  PetscCall(VecRestoreArrayRead(vx, &x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BlockPrecondition(PC pc, Vec vx, Vec vy)
{
  Regression   *r;
  const double *x;
  double       *y;

  PetscFunctionBegin;
  PetscCall(PCShellGetContext(pc, &r));
  if (r->maskedcg || !(r->deflation.Ready() || r->neighbors.Ready() || !r->excess.empty()))
    PetscCall(VecCopy(vx, vy));
  else if (!r->excess.empty()) {
    /* by the diagonal, that of A taken for its mean: what is known at a point may be orders of magnitude more than what A says */
    const double mean = r->sums.trace / static_cast<double>(r->N);
    PetscCall(VecGetArrayRead(vx, &x));
    PetscCall(VecGetArrayWrite(vy, &y));
    for (PetscInt64 i = 0, m = r->HomeSize(); i < m; ++i) y[i] = x[i] / (mean + r->Excess(i));
    PetscCall(VecRestoreArrayWrite(vy, &y));
    PetscCall(VecRestoreArrayRead(vx, &x));
  } else {
    PetscCall(VecGetArrayRead(vx, &x));
    PetscCall(VecGetArrayWrite(vy, &y));
    if (r->deflation.Ready())
      PetscCall(r->deflation.Apply(*r->grid, r->mask.data(), x, y));
    else
      PetscCall(r->neighbors.Apply(x, y, r->HomeSize()));
    PetscCall(VecRestoreArrayWrite(vy, &y));
    PetscCall(VecRestoreArrayRead(vx, &x));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   Scattered gaps need no preconditioner: ten iterations or so. Whether there are slow modes is found out from the kTrial largest eigenvalues, which
   costs less than an iteration; gaps that are slow in other modes show in the number of iterations (MissingSolve()).
*/
static constexpr size_t   kTrial      = 128;
static constexpr double   kSlow       = 30;   /* condition number above which deflation pays */
static constexpr PetscInt kPatience   = 40;   /* iterations without it */
static constexpr double   kLanczosTol = 1e-8; /* of the quadrature's mean logarithm */
static constexpr size_t   kMostModes  = 2000;
static constexpr PetscInt kLook       = 4;  /* iterations after which their number is predicted; and again at each power of two */
static constexpr double   kExpected   = 12; /* iterations with neighbours */

PetscErrorCode Regression::Deflate(bool force)
{
  PetscFunctionBegin;
  if (deflratio == Ratio() && !(force && !deflation.Ready())) PetscFunctionReturn(PETSC_SUCCESS);
  deflation.Reset();
  if (deflratio != Ratio()) {
    neighbors.Reset();
    toneighbors = false;
  }
  deflratio = Ratio();
  if (!deflmodes || mask.empty() || !excess.empty() || (deflmodes == PETSC_DECIDE && reach > 0)) PetscFunctionReturn(PETSC_SUCCESS);
  const size_t most = deflmodes > 0 ? static_cast<size_t>(deflmodes) : kMostModes;
  if (deflmodes == PETSC_DECIDE && !force) {
    PetscCall(deflation.SetUp(*grid, eig, mask.data(), Ratio(), defltheta, std::min(most, kTrial)));
    const bool slow = deflation.SlowestMode(6) > kSlow;
    deflation.Reset();
    if (!slow) PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(deflation.SetUp(*grid, eig, mask.data(), Ratio(), defltheta, most));
  if (deflation.Ready())
    PetscCall(PetscInfo(ksp, "Missing points: %d modes deflated, condition at most %g\n", static_cast<int>(deflation.Modes()), 1 + deflation.Theta()));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* In iterations: these take 2 d mode products, each half as much where the factors split into even and odd parts */
double Regression::NeighborsCost() const
{
  bool split = true;
  for (int j = 0; j < d; ++j) split = split && eig[j].parts;
  return static_cast<double>(GapNeighbors::Products(d, static_cast<int>(Reach()))) / ((split ? 1 : 2) * d);
}

PetscErrorCode Regression::TakeNeighbors()
{
  PetscFunctionBegin;
  PetscCall(neighbors.SetUp(*grid, eig, mask.data(), Ratio(), static_cast<int>(Reach())));
  PetscCall(PetscInfo(ksp, "Missing points: entries up to %d steps apart, up to %g of the diagonal added in %" PetscInt_FMT " rows\n",
                      static_cast<int>(Reach()), neighbors.Shift(), neighbors.Shifted()));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The usual test, which also breaks a solve off where the rate of its first iterations says that a set-up of neighbours is well spent */
static PetscErrorCode FillConverged(KSP ksp, PetscInt it, PetscReal norm, KSPConvergedReason *reason, void *ctx)
{
  Regression *r;
  Mat         A;
  PetscReal   rtol;

  PetscFunctionBegin;
  PetscCall(KSPConvergedDefault(ksp, it, norm, reason, ctx));
  PetscCall(KSPGetOperators(ksp, &A, NULL));
  PetscCall(MatShellGetContext(A, &r));
  const double last = r->fillnorm[1];
  r->fillnorm[1]    = norm;
  if (!it) r->fillnorm[0] = norm;
  if (*reason || it < kLook || (it & (it - 1)) || r->maskedcg || !r->excess.empty() || r->reach != PETSC_DECIDE || r->toneighbors || r->deflation.Ready())
    PetscFunctionReturn(PETSC_SUCCESS);
  if (!(norm > 0) || !(r->fillnorm[0] > 0)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KSPGetTolerances(ksp, &rtol, NULL, NULL, NULL));
  /* by the last step: smooth modes go first, and what is left goes more slowly */
  const double rate = std::log(norm / last), left = rate < 0 ? std::log(rtol * r->fillnorm[0] / norm) / rate : static_cast<double>(r->fillmaxit);
  if (left > r->NeighborsCost() + kExpected) {
    r->toneighbors = true;
    *reason        = KSP_DIVERGED_ITS;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Regression::MissingSolve(const double *b, double *xx, PetscInt *its, bool *good)
{
  const PetscInt     m = static_cast<PetscInt>(HomeSize());
  KSPConvergedReason reason;
  double            *p;

  PetscFunctionBegin;
  if (!ksp) {
    PetscCall(MatCreateShell(comm, m, m, static_cast<PetscInt>(N), static_cast<PetscInt>(N), this, &shell));
    PetscCall(SkeanMatShellSetOperation(shell, MATOP_MULT, BlockMult));
    PetscCall(MatCreateVecs(shell, &kx, &kb));
    PetscCall(KSPCreate(comm, &ksp));
    PetscCall(KSPSetOptionsPrefix(ksp, prefix.c_str()));
    PetscCall(KSPAppendOptionsPrefix(ksp, "gp_fill_"));
    PetscCall(KSPSetType(ksp, KSPCG));
    PetscCall(KSPSetNormType(ksp, KSP_NORM_UNPRECONDITIONED));
    PC pc;
    PetscCall(KSPGetPC(ksp, &pc));
    PetscCall(PCSetType(pc, PCSHELL));
    PetscCall(PCShellSetName(pc, "leading eigenvectors on the missing points"));
    PetscCall(PCShellSetContext(pc, this));
    PetscCall(PCShellSetApply(pc, BlockPrecondition));
    PetscCall(KSPSetTolerances(ksp, fillrtol, 0.0, PETSC_DEFAULT, fillmaxit));
    void *usual;
    PetscCall(KSPConvergedDefaultCreate(&usual));
    PetscCall(KSPSetConvergenceTest(ksp, FillConverged, usual, KSPConvergedDefaultDestroy));
    PetscCall(KSPSetFromOptions(ksp));
  }
  PetscCall(PetscObjectStateIncrease((PetscObject)shell)); /* the operator follows the hyper-parameters */
  PetscCall(KSPSetOperators(ksp, shell, shell));
  PetscCall(VecGetArrayWrite(kb, &p));
  std::copy(b, b + m, p);
  PetscCall(VecRestoreArrayWrite(kb, &p));
  if (!maskedcg) {
    PetscCall(Deflate(false));
    if (reach > 0 && excess.empty() && !deflation.Ready() && !neighbors.Ready()) PetscCall(TakeNeighbors());
  }
  /* without a preconditioner at first, where none was asked for; then one for what is found to be slow */
  *its = 0;
  PetscCall(KSPSetInitialGuessNonzero(ksp, PETSC_FALSE));
  for (bool again = true; again;) {
    const bool watch   = !maskedcg && excess.empty() && deflmodes == PETSC_DECIDE && !deflation.Ready() && *its < kPatience && fillmaxit > kPatience;
    const bool decided = toneighbors;
    PetscInt   more;

    PetscCall(KSPSetTolerances(ksp, std::max(fillrtol, looserrtol), PETSC_DEFAULT, PETSC_DEFAULT, (watch ? kPatience : fillmaxit) - *its));
    PetscCall(KSPSolve(ksp, kb, kx));
    PetscCall(KSPGetConvergedReason(ksp, &reason));
    PetscCall(KSPGetIterationNumber(ksp, &more));
    *its += more;
    again = true;
    if (toneighbors && !decided)
      PetscCall(TakeNeighbors());
    else if (watch && reason == KSP_DIVERGED_ITS)
      PetscCall(Deflate(true));
    else
      again = false;
    PetscCall(KSPSetInitialGuessNonzero(ksp, PETSC_TRUE));
  }
  *good = reason > 0;
  PetscCall(VecGetArrayRead(kx, (const PetscScalar **)&p));
  std::copy(p, p + m, xx);
  PetscCall(VecRestoreArrayRead(kx, (const PetscScalar **)&p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   filled = b on O and the values x on M with A_MM x = -A_MO b_O, a = A filled. Where CG has left a residual r, a is r on M instead of zero; it
   is kept, so that V a = filled holds whatever CG's accuracy, V_OO a_O = b_O is missed by V_OM r, and filled' a (the minimum of a quadratic
   over the filled values) is right to second order. Where a value is only noisier than the others, the free value is b + x and not x.
*/
PetscErrorCode Regression::ObservedSolve(const double *b, double *a, double *filled, PetscInt *its, bool *good)
{
  const PetscInt64    m = HomeSize();
  std::vector<double> v;

  PetscFunctionBegin;
  *its  = 0;
  *good = true;
  if (mask.empty()) {
    if (filled != b) std::copy(b, b + m, filled);
    PetscCall(ApplyInverse(filled, a));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt64 i = 0; i < m; ++i) filled[i] = Observed(i) ? b[i] : 0.0;
  if (maskedcg) {
    PetscCall(MissingSolve(filled, a, its, good));
    PetscCall(ApplyCovariance(a, filled));
    for (PetscInt64 i = 0; i < m; ++i)
      if (Observed(i)) filled[i] = Noisy(i) ? b[i] - a[i] / Excess(i) : b[i];
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCallCXX(v.resize(m));
  PetscCall(ApplyInverse(filled, a));
  for (PetscInt64 i = 0; i < m; ++i) v[i] = mask[i] ? 0.0 : -a[i];
  PetscCall(MissingSolve(v.data(), v.data(), its, good));
  for (PetscInt64 i = 0; i < m; ++i)
    if (!mask[i]) filled[i] += v[i];
  PetscCall(ApplyInverse(filled, a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Regression::Residual(const double *filled, const double *a, std::vector<double> *r, double *rr)
{
  const TensorBox     home  = grid->Home();
  const double        ratio = Ratio();
  std::vector<ModeOp> f(d);
  std::vector<double> t;
  StableSum           sum;
  double             *p, v;

  PetscFunctionBegin;
  const PetscInt64 m = HomeSize(), far = std::max<PetscInt64>(0, grid->Box(grid->Stages() - 1, n).Volume());
  const auto       Row = [&](PetscInt64 in, PetscInt64 count, const double *ka) {
    for (PetscInt64 i = 0; i < count; ++i) {
      const double e = filled[in + i] - ka[i] - ratio * a[in + i];
      sum.Add(e * e);
      if (r) (*r)[in + i] = e;
    }
  };
  for (int j = 0; j < d; ++j) f[j] = FactorOp(j);
  if (mask.empty()) grid->FreeWork();
  if (r) PetscCallCXX(r->resize(m));
  PetscCallCXX(t.resize(std::max(m, far)));
  TensorPipe pipe(*grid, n, 0, a, t.data(), static_cast<PetscInt64>(t.size()));
  if (grid->Stages() == 2) {
    /* K a comes home in slices, which are compared and forgotten */
    PetscCall(pipe.Forward(f.data(), 1));
    PetscCall(pipe.Data(&p));
    PetscCall(grid->Stream(n, 1, 0, 0, p, {}, nullptr, [&](const TensorBox &slice, double *ka) -> PetscErrorCode {
      ForRuns(slice, home, [&](PetscInt64 at, PetscInt64 in, PetscInt64 count) { Row(in, count, ka + at); });
      return PETSC_SUCCESS;
    }));
  } else {
    PetscCall(pipe.Forward(f.data()));
    PetscCall(pipe.Move(0));
    PetscCall(pipe.Finish());
    Row(0, m, t.data());
  }
  v = sum.Value();
  PetscCallMPI(MPI_Allreduce(&v, rr, 1, MPI_DOUBLE, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* alpha, checked and refined with the operator itself: the eigenvectors only propose */
PetscErrorCode Regression::Weights(bool *good)
{
  const PetscInt64    m = HomeSize();
  std::vector<double> c; /* correction */
  double              yy, rr, best = std::numeric_limits<double>::infinity();

  PetscFunctionBegin;
  *good = true;
  if (weightsready) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(havedata, comm, PETSC_ERR_ORDER, "No data; call SkeanGPSetData()");
  PetscCall(Sums());
  PetscCallCXX(alpha.assign(m, 0.0));
  fillits  = 0;
  residual = 0;
  if (!Positive()) {
    *good = false;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(Dot(y.data(), y.data(), &yy));
  if (yy == 0.0) {
    weightsready = true;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  std::vector<double> store;
  double             *filled = y.data(); /* the whole grid: nothing to fill, and no further array */
  if (!mask.empty()) {
    PetscCallCXX(store.resize(m));
    filled = store.data();
  }
  PetscCall(ObservedSolve(y.data(), alpha.data(), filled, &fillits, good));
  /* by the factors; refined while that helps. The residual is computed again where it is wanted as an array: that is rare, and an array less where it is not */
  for (int step = 0;; ++step) {
    PetscCall(Residual(filled, alpha.data(), nullptr, &rr));
    const double rel = std::sqrt(rr / yy);
    if (!(rel < best)) { /* the correction did not help: take it back */
      if (step)
        for (PetscInt64 i = 0; i < m; ++i) alpha[i] -= c[i];
      break;
    }
    best = rel;
    /* as small as rounding in K a lets it be: |r| <= 8 eps (|K| |a| + |y|), the backward error of a stable method (Rigal & Gaches 1967) */
    double aa;
    PetscCall(Dot(alpha.data(), alpha.data(), &aa));
    const bool stable = std::sqrt(rr) <= 8 * PETSC_MACHINE_EPSILON * (sums.largest * std::sqrt(aa) + std::sqrt(yy));
    if (rel < 1e-13 || stable || step == 2 || maskedcg) break;
    PetscCall(Residual(filled, alpha.data(), &c, &rr));
    PetscCall(ApplyInverse(c.data(), c.data()));
    for (PetscInt64 i = 0; i < m; ++i) alpha[i] += c[i];
  }
  residual     = best;
  weightsready = std::isfinite(best);
  *good        = *good && weightsready;
  grid->FreeWork();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- likelihood ---------------------------------------------------------------------------------------------------------------------- */

/* The tensor in the eigenbasis, distributed as in the last stage */
PetscErrorCode Regression::ToSpectral(const double *in, std::vector<double> *out)
{
  std::vector<ModeOp> f(d);
  double             *p;

  PetscFunctionBegin;
  for (int j = 0; j < d; ++j) f[j] = eig[j].Op(true);
  const PetscInt64 far = std::max<PetscInt64>(0, grid->Box(grid->Stages() - 1, n).Volume());
  PetscCallCXX(out->resize(std::max(far, HomeSize())));
  TensorPipe pipe(*grid, n, 0, in, out->data(), static_cast<PetscInt64>(out->size()));
  PetscCall(pipe.Forward(f.data(), grid->Stages() - 1));
  PetscCall(pipe.Data(&p));
  if (p != out->data()) std::copy(p, p + far, out->data());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether dimension j has even and odd eigenvectors, and so do the derivatives of its factor: covariance functions depend on the distance alone, and the noise is even too */
bool Regression::Symmetric(int j) const
{
  if (!eig[j].parts) return false;
  for (size_t i = 0; i < sqrtD[j].size() / 2; ++i)
    if (sqrtD[j][i] != sqrtD[j][sqrtD[j].size() - 1 - i]) return false;
  return true;
}

/* M += weight * unfold_j(a) diag(prod_{k != j} lambda_k) unfold_j(b)' for the part in box, where mode j is local. split: the
   blocks of two even and of two odd vectors only, half of the work; the others are orthogonal to all centrosymmetric matrices */
static PetscErrorCode Gram(int j, const TensorBox &box, const std::vector<KronEigen> &eig, const double *a, const double *b, double weight, bool split,
                           double *M)
{
  const int             d  = box.d;
  const PetscInt64      nj = box.Length(j);
  PetscInt64            L = 1, R = 1;
  std::vector<double>   wl, wr, tmp, blocks;
  std::vector<PetscInt> list; /* even vectors, then odd ones */

  PetscFunctionBegin;
  if (box.Volume() <= 0) PetscFunctionReturn(PETSC_SUCCESS);
  for (int k = 0; k < j; ++k) L *= box.Length(k);
  for (int k = j + 1; k < d; ++k) R *= box.Length(k);
  const auto Weights = [&](int k0, int k1, std::vector<double> &w) {
    w.assign(1, 1.0);
    for (int k = k0; k < k1; ++k) {
      std::vector<double> v(w.size() * box.Length(k));
      for (size_t p = 0; p < w.size(); ++p)
        for (PetscInt64 q = 0; q < box.Length(k); ++q) v[p * box.Length(k) + q] = w[p] * eig[k].lambda[box.lo[k] + q];
      w.swap(v);
    }
  };
  PetscCallCXX(Weights(0, j, wl));
  PetscCallCXX(Weights(j + 1, d, wr));
  const PetscInt64 even = split ? nj - nj / 2 : nj;
  double          *out  = M;
  PetscCallCXX({
    if (split) {
      list = eig[j].parts->EvenColumns();
      list.insert(list.end(), eig[j].parts->OddColumns().begin(), eig[j].parts->OddColumns().end());
      blocks.assign(nj * nj, 0.0);
      out = blocks.data();
    } else
      for (PetscInt64 i = 0; i < nj; ++i) list.push_back(static_cast<PetscInt>(i));
  });
  /* The diagonal blocks of A B', A and B nj x c: columns, or rows ld apart */
  const auto Accumulate = [&](bool rows, PetscInt64 c, const double *A, const double *B) {
    for (PetscInt64 lo = 0, hi = even; lo < nj; lo = hi, hi = nj) {
      const PetscBLASInt bm = static_cast<PetscBLASInt>(hi - lo), bc = static_cast<PetscBLASInt>(c), ld = static_cast<PetscBLASInt>(rows ? c : nj),
                         bn = static_cast<PetscBLASInt>(nj);
      const double     one  = 1.0;
      const PetscInt64 at   = rows ? lo * c : lo;
      BLASgemm_(rows ? "T" : "N", rows ? "N" : "T", &bm, &bm, &bc, &one, A + at, &ld, B + at, &ld, &one, out + lo * (nj + 1), &bn);
    }
  };
  if (R == 1) {
    /* fibres are columns; a later dimension may have one entry here, whose weight is wr[0] */
    const PetscInt64 panel = std::max<PetscInt64>(64, (1 << 18) / nj);
    PetscCallCXX(tmp.resize((split ? 2 : 1) * nj * std::min(panel, L)));
    for (PetscInt64 l = 0; l < L; l += panel) {
      const PetscInt64 c  = std::min(panel, L - l);
      double          *ta = tmp.data() + nj * c; /* a, where it is put in another order */
      for (PetscInt64 q = 0; q < c; ++q)
        for (PetscInt64 i = 0; i < nj; ++i) tmp[q * nj + i] = weight * wl[l + q] * wr[0] * b[(l + q) * nj + list[i]];
      if (split)
        for (PetscInt64 q = 0; q < c; ++q)
          for (PetscInt64 i = 0; i < nj; ++i) ta[q * nj + i] = a[(l + q) * nj + list[i]];
      Accumulate(false, c, split ? ta : a + l * nj, tmp.data());
    }
  } else {
    /* fibres are rows; several short ones are packed together */
    const PetscInt64 panel = std::max<PetscInt64>(256, (1 << 18) / nj), lb = std::max<PetscInt64>(1, panel / R);
    PetscCallCXX(tmp.resize(2 * nj * std::min(panel, std::max(R, lb * R))));
    double *ta = tmp.data(), *tb = ta + nj * std::min(panel, std::max(R, lb * R));
    for (PetscInt64 l = 0; l < L; l += lb) {
      const PetscInt64 lc = std::min(lb, L - l);
      for (PetscInt64 r = 0; r < R; r += panel) {
        const PetscInt64 rc = std::min(panel, R - r), c = lc * rc;
        for (PetscInt64 i = 0; i < nj; ++i)
          for (PetscInt64 q = 0; q < lc; ++q) {
            const double *xa = a + ((l + q) * nj + list[i]) * R + r, *xb = b + ((l + q) * nj + list[i]) * R + r;
            double       *ya = ta + i * c + q * rc, *yb = tb + i * c + q * rc;
            const double  w = weight * wl[l + q];
            for (PetscInt64 s = 0; s < rc; ++s) {
              ya[s] = xa[s];
              yb[s] = w * wr[r + s] * xb[s];
            }
          }
        Accumulate(true, c, ta, tb);
      }
    }
  }
  if (split)
    for (PetscInt64 lo = 0, hi = even; lo < nj; lo = hi, hi = nj)
      for (PetscInt64 c = lo; c < hi; ++c)
        for (PetscInt64 r = lo; r < hi; ++r) M[list[r] + list[c] * nj] += blocks[r + c * nj];
  PetscCall(PetscLogFlops((split ? 1.0 : 2.0) * nj * static_cast<double>(box.Volume())));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Adds to M[j], this process's part, for all j; a and b in the last stage; a == b allowed */
PetscErrorCode Regression::Grams(const double *a, const double *b, double weight, std::vector<std::vector<double>> *M)
{
  PetscFunctionBegin;
  int                 at   = grid->Stages() - 1;
  const int           last = at;
  std::vector<double> ma, mb;
  const double       *pa = a, *pb = b;
  std::vector<bool>   done(d, false);
  for (; at >= 0; --at) {
    bool need = false;
    for (int j = 0; j < d; ++j) need = need || (!done[j] && grid->Processes(at, j) == 1);
    if (!need) continue;
    if (at != last && a == b) {
      /* slices of the redistributed array are used and forgotten */
      unsigned whole = 0;
      for (int j = 0; j < d; ++j)
        if (!done[j] && grid->Processes(at, j) == 1) whole |= 1u << j;
      PetscCall(grid->Stream(n, last, at, whole, a, {}, nullptr, [&](const TensorBox &slice, double *x) -> PetscErrorCode {
        PetscFunctionBegin;
        for (int j = 0; j < d; ++j)
          if ((whole >> j) & 1) PetscCall(Gram(j, slice, eig, x, x, weight, Symmetric(j), (*M)[j].data()));
        PetscFunctionReturn(PETSC_SUCCESS);
      }));
      for (int j = 0; j < d; ++j) done[j] = done[j] || ((whole >> j) & 1);
      continue;
    }
    if (at != last) {
      const PetscInt64 v = std::max<PetscInt64>(0, grid->Box(at, n).Volume());
      PetscCallCXX(ma.resize(v));
      PetscCall(grid->Move(n, last, at, a, ma.data()));
      pa = ma.data();
      PetscCallCXX(mb.resize(v));
      PetscCall(grid->Move(n, last, at, b, mb.data()));
      pb = mb.data();
    }
    for (int j = 0; j < d; ++j) {
      if (done[j] || grid->Processes(at, j) != 1) continue;
      PetscCall(Gram(j, grid->Box(at, n), eig, pa, pb, weight, Symmetric(j), (*M)[j].data()));
      done[j] = true;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   w' log(B) w for B = P^-1/2 A_MM P^-1/2, P^1/2 w = z, by Lanczos in the inner product of P^-1 (P NULL: the identity), divided by w'w: the quadrature
   e1' log(T) e1. For the derivative with respect to A the matrix w'w y1_i y1_j log[theta_i, theta_j] of divided differences, positive semidefinite and
   of low numerical rank because log is operator monotone (Daleckii & Krein), as sum_l sigma_l s_l s_l': the derivative of this very number,
   not another estimate of that of the determinant, so that value and gradient belong together.
   z, s: the free points of this process. Where some of them are seen, B = S (A_MM + E^-1) S with S of LogScale() instead.
*/
PetscErrorCode Regression::LogForm(GapDeflation *P, const std::vector<PetscInt64> &place, const std::vector<double> &z, double *value,
                                   std::vector<double> *sigma, std::vector<std::vector<double>> *s, bool *good)
{
  const PetscInt64                 m = HomeSize(), nm = nfree;
  const size_t                     mine = place.size();
  std::vector<double>              full(m), w(mine), q(mine), al, be, V, theta;
  std::vector<std::vector<double>> v(1, z), p;
  double                           last  = 0;
  const auto                       Local = [&](const std::vector<double> &a, const std::vector<double> &b) {
    StableSum t;
    for (size_t i = 0; i < mine; ++i) t.Add(a[i] * b[i]);
    return t.Value();
  };
  const auto Spread = [&](const std::vector<double> &a) {
    std::fill(full.begin(), full.end(), 0.0);
    for (size_t i = 0; i < mine; ++i) full[place[i]] = a[i];
  };
  const auto Precondition = [&](const std::vector<double> &a, std::vector<double> *b) {
    PetscFunctionBegin;
    if (!P) {
      PetscCallCXX(*b = a);
      PetscFunctionReturn(PETSC_SUCCESS);
    }
    Spread(a);
    PetscCall(P->Apply(*grid, mask.data(), full.data(), full.data()));
    PetscCallCXX(b->resize(mine));
    for (size_t i = 0; i < mine; ++i) (*b)[i] = full[place[i]];
    PetscFunctionReturn(PETSC_SUCCESS);
  };

  PetscFunctionBegin;
  *good = true;
  std::vector<double> side, seen; /* S, and S E^-1 S */
  if (!excess.empty())
    for (PetscInt64 i : place) {
      PetscCallCXX(side.push_back(LogScale(i)));
      PetscCallCXX(seen.push_back(Excess(i) * side.back() * side.back()));
    }
  PetscCall(Precondition(z, &q));
  double norm = Local(z, q);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &norm, 1, MPI_DOUBLE, MPI_SUM, comm));
  for (double &x : v[0]) x /= std::sqrt(norm);
  for (double &x : q) x /= std::sqrt(norm);
  PetscCallCXX(p.push_back(q));
  for (PetscInt k = 0; k < std::min<PetscInt64>(lanczos, nm); ++k) {
    std::vector<double> h(k + 1);
    Spread(p[k]);
    for (size_t i = 0; i < side.size(); ++i) full[place[i]] *= side[i];
    PetscCall(ApplyInverse(full.data(), full.data()));
    for (size_t i = 0; i < mine; ++i) w[i] = full[place[i]];
    for (size_t i = 0; i < side.size(); ++i) w[i] = side[i] * w[i] + seen[i] * p[k][i];
    /* against all vectors, which are kept for the derivative anyway */
    for (PetscInt i = 0; i <= k; ++i) h[i] = Local(w, p[i]);
    PetscCall(AllreduceSum(comm, h.data(), h.size()));
    for (PetscInt j = 0; j <= k; ++j)
      for (size_t i = 0; i < mine; ++i) w[i] -= h[j] * v[j][i];
    PetscCall(Precondition(w, &q));
    double bb = Local(w, q);
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &bb, 1, MPI_DOUBLE, MPI_SUM, comm));
    al.push_back(h[k]);
    /* quadrature value so far: stop when it has settled */
    const PetscBLASInt  kk = static_cast<PetscBLASInt>(al.size());
    PetscBLASInt        info;
    std::vector<double> ee(be), work(std::max(1, 2 * kk - 2));
    PetscCallCXX(V.resize(kk * kk));
    theta = al;
    ee.resize(kk);
    LAPACKsteqr_("I", &kk, theta.data(), ee.data(), V.data(), &kk, work.data(), &info);
    double now = 0;
    *good      = info == 0;
    for (PetscBLASInt t = 0; t < kk && *good; ++t) {
      *good = theta[t] > 0;
      if (*good) now += V[t * kk] * V[t * kk] * std::log(theta[t]);
    }
    if (!*good) PetscFunctionReturn(PETSC_SUCCESS);
    const bool   settled = k > 2 && std::abs(now - last) < kLanczosTol * std::max(1.0, std::abs(now));
    const double beta    = std::sqrt(std::max(0.0, bb));
    last                 = now;
    if (settled || !(beta > 1e-13 * std::abs(h[k]))) break;
    be.push_back(beta);
    for (double &x : w) x /= beta;
    for (double &x : q) x /= beta;
    PetscCallCXX(v.push_back(w));
    PetscCallCXX(p.push_back(q));
  }
  *value = last;
  if (!s) PetscFunctionReturn(PETSC_SUCCESS);
  const PetscBLASInt  kk    = static_cast<PetscBLASInt>(al.size());
  PetscBLASInt        lwork = 40 * kk, info;
  std::vector<double> F(kk * kk), work(lwork), val(kk);
  for (PetscBLASInt i = 0; i < kk; ++i)
    for (PetscBLASInt j = 0; j < kk; ++j) {
      const double x = theta[i], y = theta[j], t = (x - y) / y;
      F[i + j * kk] = V[i * kk] * V[j * kk] * (std::abs(t) < 1e-5 ? (1 - t / 2 + t * t / 3) / y : std::log1p(t) / (x - y));
    }
  LAPACKsyev_("V", "L", &kk, F.data(), &kk, val.data(), work.data(), &lwork, &info);
  *good = info == 0;
  for (PetscBLASInt l = kk - 1; l >= 0 && *good && val[l] > 1e-9 * val[kk - 1]; --l) {
    std::vector<double> c(kk, 0.0), r(mine, 0.0);
    for (PetscBLASInt t = 0; t < kk; ++t)
      for (PetscBLASInt i = 0; i < kk; ++i) c[i] += V[i + t * kk] * F[t + l * kk];
    for (PetscBLASInt j = 0; j < kk; ++j)
      for (size_t i = 0; i < mine; ++i) r[i] += c[j] * p[j][i];
    PetscCallCXX(sigma->push_back(val[l]));
    PetscCallCXX(s->push_back(r));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   The estimate of log det A_MM is  log det P + tr log(P^-1/2 A_MM P^-1/2), the trace from random vectors. Its variance is that of the logarithm of a matrix with
   a condition number of at most 1 + theta if P is the preconditioner of these hyper-parameters; it stays an unbiased estimate for any other,
   so an optimisation keeps P and the vectors: its objective is one smooth function.
*/
PetscErrorCode Regression::HoldControl()
{
  PetscFunctionBegin;
  controlheld = false;
  if (mask.empty() || nfree <= exactlimit) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Sums());
  if (!Positive()) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Deflate(false));
  PetscCallCXX(control = deflation);
  controlheld = true;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   log det A_MM and, for the gradient, the Gram matrices of its derivative: with dA = -A dK A,
     d log det A_MM = -sum_p (A u_p)' dK (A z_p),  u_p = A_MM^-1 z_p
   over unit vectors z_p (few missing points: exact), otherwise the vectors of LogForm() for z_p = random signs on M, or normal with covariance P.
   M: += -weight Gram matrices of (A u, A z); tracev: the same for d(ratio I).
*/
PetscErrorCode Regression::MissingLogDet(double *logdet, double *stderror, std::vector<std::vector<double>> *M, double *tracev, bool *ok)
{
  const PetscInt64 m = HomeSize(), nm = nfree;
  const bool       exact = nm <= exactlimit;

  PetscFunctionBegin;
  *logdet = *stderror = 0;
  *ok                 = true;
  if (tracev) *tracev = 0;
  if (!nm) PetscFunctionReturn(PETSC_SUCCESS);
  std::vector<double>     z(m), u(m), sz, su;
  std::vector<PetscInt64> place; /* my missing points */
  PetscCallCXX(for (PetscInt64 i = 0; i < m; ++i) if (!mask[i]) place.push_back(i));
  const PetscInt64 mine = static_cast<PetscInt64>(place.size());
  PetscCheck(!M || exact || excess.empty(), comm, PETSC_ERR_SUP,
             "Noise that varies from point to point at %" PetscInt64_FMT " points: the likelihood has a gradient up to -gp_exactmissing %" PetscInt_FMT
             " of them",
             nm, exactlimit);
  /* minus weight times the pair, into M and tracev */
  const auto Pair = [&](double weight) {
    double dot;
    PetscFunctionBegin;
    PetscCall(Dot(u.data(), z.data(), &dot));
    *tracev -= weight * dot;
    PetscCall(ToSpectral(u.data(), &su));
    PetscCall(ToSpectral(z.data(), &sz));
    PetscCall(Grams(su.data(), sz.data(), -weight, M));
    PetscFunctionReturn(PETSC_SUCCESS);
  };
  if (exact) {
    std::vector<double> dense;
    PetscInt64          before = 0;
    PetscMPIInt         rank;
    PetscCallMPI(MPI_Exscan(&mine, &before, 1, MPIU_INT64, MPI_SUM, comm));
    PetscCallMPI(MPI_Comm_rank(comm, &rank));
    if (!rank) before = 0;
    PetscCallCXX(dense.assign(nm * nm, 0.0));
    for (PetscInt64 p = 0; p < nm; ++p) {
      std::fill(z.begin(), z.end(), 0.0);
      if (p >= before && p < before + mine) z[place[p - before]] = 1.0;
      PetscCall(ApplyInverse(z.data(), u.data()));
      for (PetscInt64 q = 0; q < mine; ++q) dense[(before + q) + p * nm] = u[place[q]];
    }
    std::vector<double> known(nm, 0.0); /* E^-1 */
    for (PetscInt64 q = 0; q < mine; ++q) dense[(before + q) * (nm + 1)] += known[before + q] = Excess(place[q]);
    PetscCall(AllreduceSum(comm, dense.data(), nm * nm));
    PetscCall(AllreduceSum(comm, known.data(), nm));
    PetscBLASInt bn = static_cast<PetscBLASInt>(nm), one = 1, info;
    LAPACKpotrf_("L", &bn, dense.data(), &bn, &info);
    if (info) {
      *ok = false;
      PetscFunctionReturn(PETSC_SUCCESS);
    }
    StableSum s;
    for (PetscInt64 p = 0; p < nm; ++p) s.Add(2 * std::log(dense[p * (nm + 1)]));
    *logdet = s.Value();
    for (PetscInt64 p = 0; p < nm && M; ++p) {
      /* column p of the inverse, from the Cholesky factor */
      std::vector<double> e(nm, 0.0);
      e[p] = 1.0;
      LAPACKpotrs_("L", &bn, &one, dense.data(), &bn, e.data(), &bn, &info);
      /* d log det(Lambda) det(E) by d log(ratio), beside the part of A: E^-1 falls, E grows */
      if (known[p] > 0) *tracev += (1 - known[p] * e[p]) / Ratio();
      std::fill(z.begin(), z.end(), 0.0);
      std::fill(u.begin(), u.end(), 0.0);
      if (p >= before && p < before + mine) z[place[p - before]] = 1.0;
      for (PetscInt64 q = 0; q < mine; ++q) u[place[q]] = e[before + q];
      PetscCall(ApplyInverse(z.data(), z.data()));
      PetscCall(ApplyInverse(u.data(), u.data()));
      PetscCall(Pair(1.0));
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  GapDeflation *P = &control;
  if (!controlheld) {
    PetscCall(Deflate(false));
    P = &deflation;
  }
  if (!P->Ready()) P = nullptr;
  std::vector<PetscInt> nat;
  PetscCall(NaturalIndices(grid->Home(), n, &nat));
  const RandomStream stream(seed, Purpose::Probe);
  double             sum = 0, sum2 = 0;
  for (PetscInt p = 0; p < probes; ++p) {
    std::vector<double>              start(mine), sigma;
    std::vector<std::vector<double>> s;
    double                           value;
    if (P) {
      for (PetscInt64 i = 0; i < m; ++i) z[i] = stream.Normal(static_cast<std::uint64_t>(nat[i]), static_cast<std::uint64_t>(p));
      PetscCall(P->ApplySqrt(*grid, z.data()));
      for (PetscInt64 q = 0; q < mine; ++q) start[q] = z[place[q]];
    } else
      for (PetscInt64 q = 0; q < mine; ++q)
        start[q] = stream.Bits(static_cast<std::uint64_t>(nat[place[q]]), static_cast<std::uint64_t>(p))[0] & 1 ? 1.0 : -1.0;
    PetscCall(LogForm(P, place, start, &value, &sigma, M ? &s : nullptr, ok));
    if (!*ok) PetscFunctionReturn(PETSC_SUCCESS);
    value *= static_cast<double>(nm);
    sum += value;
    sum2 += value * value;
    for (size_t l = 0; l < s.size(); ++l) {
      std::fill(z.begin(), z.end(), 0.0);
      for (PetscInt64 q = 0; q < mine; ++q) z[place[q]] = s[l][q];
      PetscCall(ApplyInverse(z.data(), z.data()));
      u = z;
      PetscCall(Pair(sigma[l] * static_cast<double>(nm) / static_cast<double>(probes)));
    }
  }
  *logdet = sum / static_cast<double>(probes);
  *stderror =
    probes > 1 ? std::sqrt(std::max(0.0, sum2 / static_cast<double>(probes) - *logdet * *logdet) / static_cast<double>(probes - 1)) : std::abs(*logdet);
  if (P) *logdet += P->LogDet(nm);
  if (!excess.empty()) {
    StableSum t;
    for (PetscInt64 i : place) t.Add(-2 * std::log(LogScale(i)));
    double v = t.Value();
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &v, 1, MPI_DOUBLE, MPI_SUM, comm));
    *logdet += v;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Regression::LogLikelihood(bool profile, double *L, std::vector<double> *grad, bool *ok)
{
  PetscFunctionBegin;
  PetscCheck(havedata, comm, PETSC_ERR_ORDER, "No data; call SkeanGPSetData()");
  *ok = true;
  *L  = -std::numeric_limits<double>::infinity();
  PetscCall(Sums());
  if (!Positive()) {
    *ok = false;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  const double                     ratio = Ratio(), no = static_cast<double>(nobs);
  const PetscInt64                 m = HomeSize();
  double                           quad, aa, extra = 0, extratrace = 0, logE = 0;
  std::vector<std::vector<double>> M, E;
  std::vector<double>              a;
  logdeterr = 0;
  if (grad)
    PetscCallCXX({
      M.resize(d);
      E.resize(d);
      for (int j = 0; j < d; ++j) {
        M[j].assign(n[j] * n[j], 0.0);
        E[j].assign(n[j] * n[j], 0.0);
      }
    });
  /* a = (K + ratio I)^-1 y, in the eigenbasis */
  double aka = 0;
  if (mask.empty()) {
    PetscCall(ToSpectral(y.data(), &a));
    std::vector<std::vector<const double *>> lam(1, std::vector<const double *>(d));
    for (int j = 0; j < d; ++j) lam[0][j] = eig[j].lambda.data();
    StableSum q, s, k;
    ForSpectrum(grid->Box(grid->Stages() - 1, n), ratio, std::vector<double>(1, 1.0), lam, [&](PetscInt64 at, double v) {
      const double zz = a[at], c = zz / v;
      q.Add(zz * c);
      s.Add(c * c);
      k.Add((v - ratio) * c * c);
      a[at] = c;
    });
    double e[3] = {q.Value(), s.Value(), k.Value()};
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, e, 3, MPI_DOUBLE, MPI_SUM, comm));
    quad = e[0];
    aa   = e[1];
    aka  = e[2];
  } else {
    std::vector<double> w;
    PetscInt            its;
    bool                good;
    PetscCallCXX(w.resize(m));
    std::vector<double> filled;
    PetscCallCXX(filled.resize(m));
    PetscCall(ObservedSolve(y.data(), w.data(), filled.data(), &its, &good));
    fillits = its;
    *ok     = good;
    PetscCall(Dot(w.data(), filled.data(), &quad));
    PetscCall(Dot(w.data(), w.data(), &aa));
    if (!excess.empty()) {
      /* of the excess noise: x' E^-1 x, a' E a/ratio, log det E */
      StableSum e[3];
      for (PetscInt64 i = 0; i < m; ++i) {
        if (!Noisy(i)) continue;
        const double v = Excess(i), q = filled[i] - y[i];
        e[0].Add(v * q * q);
        e[1].Add(w[i] * w[i] / (v * ratio));
        e[2].Add(-std::log(v));
      }
      double more[3] = {e[0].Value(), e[1].Value(), e[2].Value()};
      PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, more, 3, MPI_DOUBLE, MPI_SUM, comm));
      quad += more[0];
      aa += more[1];
      logE = more[2];
    }
    aka = quad - ratio * aa;
    bool good2;
    PetscCall(MissingLogDet(&extra, &logdeterr, grad ? &E : nullptr, &extratrace, &good2));
    *ok = *ok && good2;
    if (!*ok) PetscFunctionReturn(PETSC_SUCCESS);
    if (grad) PetscCall(ToSpectral(w.data(), &a));
  }
  if (!(quad > 0)) {
    *ok = quad == 0 && !profile;
    if (!*ok) PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (profile) {
    s2f          = quad / no;
    s2n          = ratio * s2f;
    sumsratio    = Ratio(); /* the same number but for rounding */
    weightsready = false;
  }
  const double logdet = sums.logdet + extra + logE;
  double       logD   = 0; /* log det of the noise factors on the observed points enters through y's scale, see SkeanGPSetData() */
  {
    bool any = false;
    for (int j = 0; j < d; ++j) any = any || !sqrtD[j].empty();
    if (any) {
      std::vector<PetscInt> nat;
      PetscCall(NaturalIndices(grid->Home(), n, &nat));
      StableSum s;
      for (PetscInt64 i = 0; i < m; ++i) {
        if (!Observed(i)) continue;
        PetscInt64 g = nat[i];
        for (int j = d - 1; j >= 0; --j) {
          if (!sqrtD[j].empty()) s.Add(2 * std::log(sqrtD[j][g % n[j]]));
          g /= n[j];
        }
      }
      logD = s.Value();
      PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &logD, 1, MPI_DOUBLE, MPI_SUM, comm));
    }
  }
  *L = -0.5 * (quad / s2f + logdet + logD + no * std::log(2 * PETSC_PI * s2f));
  if (!grad) PetscFunctionReturn(PETSC_SUCCESS);

  /* dL/dK_j = 1/2 Q_j [ Gram(a,a)/s2f - diag(t_j) - Gram of the missing points ] Q_j' */
  PetscCall(Grams(a.data(), a.data(), 1.0 / s2f, &M));
  const size_t np = NumParams();
  PetscMPIInt  rank, size;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallCXX(grad->assign(np, 0.0));
  size_t first  = 0;
  double extrak = 0; /* tr of the missing points' part for dK/dlog s2f: the full trace of K_j with its adjoint, any j */
  for (int j = 0; j < d; ++j) {
    for (PetscInt64 q = 0, nn = n[j] * n[j]; q < nn; ++q) M[j][q] -= E[j][q];
    PetscCall(AllreduceSum(comm, M[j].data(), n[j] * n[j]));
    if (!j && !mask.empty()) {
      PetscCall(AllreduceSum(comm, E[0].data(), n[0] * n[0]));
      for (PetscInt64 i = 0; i < n[0]; ++i) extrak += E[0][i * (n[0] + 1)] * eig[0].lambda[i];
    }
    const size_t nk = userK[j].empty() ? kernel[j].NumParams() : 0;
    if (nk && j % size == rank) {
      const PetscInt64    nj   = n[j];
      const PetscBLASInt  bn   = static_cast<PetscBLASInt>(nj);
      const double        half = 0.5, one = 1.0, zero = 0.0;
      std::vector<double> T(nj * nj), G(nj * nj);
      for (PetscInt64 i = 0; i < nj; ++i) M[j][i * (nj + 1)] -= sums.t[j][i];
      BLASgemm_("N", "N", &bn, &bn, &bn, &half, eig[j].V.data(), &bn, M[j].data(), &bn, &zero, T.data(), &bn);
      BLASgemm_("N", "T", &bn, &bn, &bn, &one, T.data(), &bn, eig[j].V.data(), &bn, &zero, G.data(), &bn);
      /* the matrices of the missing points are not symmetric; dK_j is, so only the symmetric part matters */
      for (PetscInt64 c = 0; c < nj; ++c)
        for (PetscInt64 r = 0; r < c; ++r) G[r + c * nj] = G[c + r * nj] = 0.5 * (G[r + c * nj] + G[c + r * nj]);
      if (!sqrtD[j].empty())
        for (PetscInt64 c = 0; c < nj; ++c)
          for (PetscInt64 r = 0; r < nj; ++r) G[r + c * nj] /= sqrtD[j][r] * sqrtD[j][c];
      const double *const Gs[] = {G.data()};
      PetscCall(KernelMatrixGrad(kernel[j], static_cast<size_t>(nj), x[j].data(), 0, Gs, grad->data() + first));
    }
    first += nk;
  }
  PetscCall(AllreduceSum(comm, grad->data(), np));
  (*grad)[np - 2] = 0.5 * (aka / s2f - sums.tracek - extrak);
  (*grad)[np - 1] = 0.5 * ratio * (aa / s2f - sums.trace - extratrace);
  grid->FreeWork();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- parameters ----------------------------------------------------------------------------------------------------------------------- */

size_t Regression::NumParams() const
{
  size_t np = 2;
  for (int j = 0; j < d; ++j)
    if (userK[j].empty()) np += kernel[j].NumParams();
  return np;
}

std::vector<double> Regression::Params() const
{
  std::vector<double> t;
  for (int j = 0; j < d; ++j)
    if (userK[j].empty())
      for (double v : kernel[j].Params()) t.push_back(v);
  t.push_back(std::log(s2f));
  t.push_back(std::log(s2n));
  return t;
}

void Regression::SetParams(const double *theta)
{
  for (int j = 0; j < d; ++j)
    if (userK[j].empty()) {
      const std::vector<double> old = kernel[j].Params();
      if (!std::equal(old.begin(), old.end(), theta)) {
        kernel[j].SetParams(theta);
        factored = false;
      }
      theta += kernel[j].NumParams();
    }
  s2f          = std::exp(theta[0]);
  s2n          = std::exp(theta[1]);
  weightsready = false;
  if (!factored) sumsready = false;
}

std::string Regression::ParamName(size_t i) const
{
  for (int j = 0; j < d; ++j) {
    if (!userK[j].empty()) continue;
    if (i < kernel[j].NumParams()) return (kernel[j].ParamIsLog(i) ? "log " : "") + std::string("x") + std::to_string(j) + "." + kernel[j].ParamName(i);
    i -= kernel[j].NumParams();
  }
  return i == 0 ? "log signal variance" : "log noise variance";
}

/* ---- prediction ------------------------------------------------------------------------------------------------------------------------- */

/*
   out = ((x) C_j) in, C_j t_j x n_j column major. The result is made in slices of the last dimension, whose product comes first, so that the
   flops are those of one product and the work arrays those of a slice.
*/
PetscErrorCode Regression::ApplyRectangular(const std::vector<std::vector<double>> &C, const TensorSizes &t, const double *in, double *out)
{
  constexpr PetscInt64 kRows = 32, kMostSlices = 16, kPoints = 1 << 15; /* thinner slices would slow the products down or be all latency */
  const TensorBox      all   = grid->Box(0, t);
  const PetscInt64     mt    = std::max<PetscInt64>(0, all.Volume());
  const PetscInt64     most  = std::max<PetscInt64>(1, grid->Box(0, t, 0).Volume() / (grid->Chunk() ? grid->Chunk() : kPoints));
  PetscInt64           count = d > 1 ? std::min({kMostSlices, most, t[d - 1] / kRows}) : 1;
  std::vector<ModeOp>  op(d);
  std::vector<double>  slice;

  PetscFunctionBegin;
  if (count < 2 || (t[d - 1] + count - 1) / count >= n[d - 1]) count = 1;
  for (PetscInt64 c = 0; c < count; ++c) {
    TensorSizes      part = t;
    const PetscInt64 lo = t[d - 1] * c / count, hi = t[d - 1] * (c + 1) / count;
    part[d - 1] = hi - lo;
    for (int j = 0; j < d; ++j) op[j] = ModeOp::Dense(part[j], n[j], C[j].data() + (j == d - 1 ? lo : 0), t[j]);
    TensorBox        box = grid->Box(0, part);
    const PetscInt64 m   = std::max<PetscInt64>(0, box.Volume());
    double          *res = out;
    if (count > 1) {
      PetscCallCXX(slice.resize(m));
      res = slice.data();
    }
    TensorPipe pipe(*grid, n, 0, in, res, count > 1 ? m : mt);
    PetscCall(pipe.Forward(op.data()));
    PetscCall(pipe.Move(0));
    PetscCall(pipe.Finish());
    if (count > 1 && m) {
      box.lo[d - 1] = lo;
      box.hi[d - 1] = hi;
      CopyPart(box, box, res, all, out);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   Mean and variance of f on a product grid (nt NULL: the data's grid).
     C_j = K*_j S_j (rows: test points), mean = mean + ((x) C_j) alpha'     with alpha' = (K~ + ratio I)^-1 y~
     where all of the data's grid is observed it is simply mean + S (y~ - ratio alpha'); either is wrong by less than the residual of alpha'
     var = s2f [ (x) k**_j - sum_i ((x) (C_j Q_j)^o2) 1/(lam_i + ratio) ]   full grid
   Missing points add  s2f * diag(C A_:M A_MM^-1 A_M: C'): with g ~ N(0, A_MM), w = A_MM^-1 g, it is the expectation of (C A w)^2; the exact
   columns for few missing points, otherwise the mean over -gp_variance_samples draws. At the missing points of the data's grid the draws give less
   noise in the conditional form (Siden, Lindgren, Bolin & Villani 2018, Rao-Blackwellised Monte Carlo): w is a draw of the missing values y~_M
   given the data, the variance of w_i is that given its neighbours, 1/A_ii, plus that of its mean given the neighbours, w_i - g_i/A_ii. Where a value is only noisier
   than the others, w_i is a draw of the one with the noise of the product, w = Lambda^-1 g, and f_i = w_i - ratio (A w)_i with the variance ratio - ratio^2 A_ii
   given w: the same decomposition with (1 - ratio A_ii) w_i + ... for w_i and Lambda_ii for A_ii.
*/
PetscErrorCode Regression::Predict(const PetscInt nt[], const PetscReal *const xt[], Vec vmean, Vec vvar)
{
  PetscFunctionBegin;
  TensorSizes                      t = n;
  std::vector<std::vector<double>> C(d), prior(d);
  for (int j = 0; j < d; ++j) {
    const size_t nj = static_cast<size_t>(n[j]);
    if (nt) {
      PetscCheck(userK[j].empty(), comm, PETSC_ERR_SUP, "Dimension %d has a covariance matrix of the user's: prediction is possible at the data's grid only",
                 j);
      PetscCheck(nt[j] > 0 && xt[j], comm, PETSC_ERR_ARG_OUTOFRANGE, "Dimension %d of the test grid is empty", j);
      t[j]              = nt[j];
      const double zero = 0;
      PetscCallCXX(C[j].resize(t[j] * n[j]));
      double *const out[] = {C[j].data()};
      PetscCall(KernelMatrix(kernel[j], static_cast<size_t>(t[j]), xt[j], nj, x[j].data(), 0, out));
      double k0;
      PetscCall(kernel[j].Eval(1, &zero, 0, &k0));
      PetscCallCXX(prior[j].assign(t[j], k0));
      if (!sqrtD[j].empty())
        for (size_t c = 0; c < nj; ++c)
          for (PetscInt64 r = 0; r < t[j]; ++r) C[j][r + c * t[j]] /= sqrtD[j][c];
    } else {
      /* unscaled rows, scaled columns */
      PetscCallCXX(C[j] = K[j]);
      PetscCallCXX(prior[j].resize(nj));
      for (size_t c = 0; c < nj; ++c)
        for (size_t r = 0; r < nj; ++r)
          if (!sqrtD[j].empty()) C[j][r + c * nj] *= sqrtD[j][r];
      for (size_t r = 0; r < nj; ++r) prior[j][r] = K[j][r * (nj + 1)] * (sqrtD[j].empty() ? 1.0 : sqrtD[j][r] * sqrtD[j][r]);
    }
  }
  const PetscInt64    mt = std::max<PetscInt64>(0, grid->Box(0, t).Volume()), m = HomeSize();
  std::vector<ModeOp> op(d);
  /* Results are computed in the caller's vector where it is distributed as the boxes are */
  std::vector<double> store;
  double             *out    = nullptr;
  bool                direct = false;
  const auto          Open   = [&](Vec v) -> PetscErrorCode {
    PetscFunctionBegin;
    PetscCall(SameAsBoxes(*grid, t, v, &direct));
    if (direct)
      PetscCall(VecGetArrayWrite(v, &out));
    else {
      PetscCallCXX(store.resize(mt));
      out = store.data();
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  };
  const auto Close = [&](Vec v) -> PetscErrorCode {
    PetscFunctionBegin;
    if (direct)
      PetscCall(VecRestoreArrayWrite(v, &out));
    else
      PetscCall(ToNatural(out, &t, v));
    PetscFunctionReturn(PETSC_SUCCESS);
  };
  if (vmean) {
    PetscCall(Open(vmean));
    if (!nt && mask.empty()) {
      std::vector<std::vector<const double *>> scale(1, std::vector<const double *>(d, nullptr));
      const double                             ratio = Ratio();
      for (int j = 0; j < d; ++j)
        if (!sqrtD[j].empty()) scale[0][j] = sqrtD[j].data();
      ForSpectrum(grid->Home(), 0.0, std::vector<double>(1, 1.0), scale, [&](PetscInt64 at, double D) { out[at] = mean + D * (y[at] - ratio * alpha[at]); });
    } else {
      PetscCall(ApplyRectangular(C, t, alpha.data(), out));
      for (PetscInt64 i = 0; i < mt; ++i) out[i] += mean;
    }
    PetscCall(Close(vmean));
    grid->FreeWork();
  }
  if (!vvar) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Open(vvar));

  /* squares of C_j Q_j on 1/(lam + ratio) */
  std::vector<std::vector<double>>            S(d);
  std::vector<std::shared_ptr<const EvenOdd>> pairs(d);
  std::vector<std::vector<const double *>>    lam(1, std::vector<const double *>(d));
  for (int j = 0; j < d; ++j) {
    const PetscBLASInt bt = static_cast<PetscBLASInt>(t[j]), bn = static_cast<PetscBLASInt>(n[j]);
    const double       one = 1.0, zero = 0.0;
    PetscCallCXX(S[j].resize(t[j] * n[j]));
    BLASgemm_("N", "N", &bt, &bn, &bn, &one, C[j].data(), &bt, eig[j].V.data(), &bn, &zero, S[j].data(), &bt);
    for (double &v : S[j]) v *= v;
    lam[0][j] = eig[j].lambda.data();
    op[j]     = ModeOp::Dense(t[j], n[j], S[j].data(), t[j]);
    if (!nt && Symmetric(j)) {
      /* the squares of even and odd vectors are even: only half of the rows are different */
      const PetscInt64      half = n[j] - n[j] / 2;
      std::vector<double>   top;
      std::vector<PetscInt> all;
      PetscCallCXX({
        for (PetscInt64 c = 0; c < n[j]; ++c) {
          top.insert(top.end(), S[j].begin() + c * n[j], S[j].begin() + c * n[j] + half);
          all.push_back(static_cast<PetscInt>(c));
        }
        pairs[j] = EvenOdd::Columns(n[j], std::move(top), {}, std::move(all), {});
      });
      op[j] = ModeOp::Parts(pairs[j].get());
    }
  }
  const std::vector<double> unit(1, 1.0);
  if (!nt && grid->Stages() == 2) {
    /* the spectrum is made slice by slice where the last stage has it, and goes home on the way: no array but the result */
    unsigned whole = 0;
    for (int j = 0; j < d; ++j)
      if (grid->StageOf(j) == 1) whole |= 1u << j;
    PetscCall(grid->Stream(n, 1, 0, whole, nullptr,
                           [&](const TensorBox &slice, double *a) -> PetscErrorCode {
                             std::vector<double> scratch;
                             PetscFunctionBegin;
                             ForSpectrum(slice, Ratio(), unit, lam, [&](PetscInt64 at, double v) { a[at] = 1 / v; });
                             for (int j = 0; j < d; ++j)
                               if ((whole >> j) & 1) PetscCall(PetscLogFlops(ModeProduct(op[j], slice, j, a, scratch)));
                             PetscFunctionReturn(PETSC_SUCCESS);
                           },
                           out, {}));
    TensorPipe pipe(*grid, n, 0, out, out, mt);
    for (int j = d - 1; j >= 0; --j)
      if (!((whole >> j) & 1)) PetscCall(pipe.Mode(j, op[j]));
    PetscCall(pipe.Finish());
  } else {
    std::vector<double> spectrum;
    double             *f = out; /* in place on the data's grid */
    if (nt) {
      PetscCallCXX(spectrum.resize(m));
      f = spectrum.data();
    }
    ForSpectrum(grid->Home(), Ratio(), unit, lam, [&](PetscInt64 at, double v) { f[at] = 1 / v; });
    TensorPipe pipe(*grid, n, 0, f, out, mt);
    PetscCall(pipe.Forward(op.data()));
    PetscCall(pipe.Move(0));
    PetscCall(pipe.Finish());
  }
  std::vector<std::vector<const double *>> pr(1, std::vector<const double *>(d));
  for (int j = 0; j < d; ++j) pr[0][j] = prior[j].data();
  ForSpectrum(grid->Box(0, t), 0.0, std::vector<double>(1, 1.0), pr, [&](PetscInt64 at, double k0) { out[at] = k0 - out[at]; });

  const PetscInt64 nm = nfree;
  if (nm) {
    const bool              exact = nm <= exactlimit;
    std::vector<double>     g(m), w(m), add(mt, 0.0), one(mt);
    std::vector<PetscInt>   nat;
    std::vector<PetscInt64> place;
    PetscCall(NaturalIndices(grid->Home(), n, &nat));
    for (PetscInt64 i = 0; i < m; ++i)
      if (!mask[i]) place.push_back(i);
    PetscInt64  mine = static_cast<PetscInt64>(place.size()), before = 0;
    PetscMPIInt rank;
    PetscCallMPI(MPI_Comm_rank(comm, &rank));
    PetscCallMPI(MPI_Exscan(&mine, &before, 1, MPIU_INT64, MPI_SUM, comm));
    if (!rank) before = 0;
    std::vector<double> dense, precision, spread, draw; /* A_ii, and the mean square of w_i - g_i/A_ii */
    const bool          conditional = !exact && !nt;
    if (conditional) {
      PetscCallCXX(precision.resize(m));
      PetscCallCXX(spread.assign(place.size(), 0.0));
      PetscCallCXX(draw.resize(place.size()));
      for (int j = 0; j < d; ++j) {
        for (size_t q = 0; q < S[j].size(); ++q) S[j][q] = eig[j].V[q] * eig[j].V[q];
        op[j] = ModeOp::Dense(n[j], n[j], S[j].data(), n[j]);
      }
      ForSpectrum(grid->Home(), Ratio(), unit, lam, [&](PetscInt64 at, double v) { precision[at] = 1 / v; });
      TensorPipe pipe(*grid, n, 0, precision.data(), precision.data(), m);
      PetscCall(pipe.Forward(op.data()));
      PetscCall(pipe.Move(0));
      PetscCall(pipe.Finish());
    }
    if (exact) {
      PetscCallCXX(dense.assign(nm * nm, 0.0));
      for (PetscInt64 p = 0; p < nm; ++p) {
        std::fill(g.begin(), g.end(), 0.0);
        if (p >= before && p < before + mine) g[place[p - before]] = 1.0;
        PetscCall(ApplyInverse(g.data(), w.data()));
        for (PetscInt64 q = 0; q < mine; ++q) dense[(before + q) + p * nm] = w[place[q]];
      }
      for (PetscInt64 q = 0; q < mine; ++q) dense[(before + q) * (nm + 1)] += Excess(place[q]);
      PetscCall(AllreduceSum(comm, dense.data(), nm * nm));
      PetscBLASInt bn = static_cast<PetscBLASInt>(nm), info;
      LAPACKpotrf_("L", &bn, dense.data(), &bn, &info);
      PetscCheck(!info, comm, PETSC_ERR_CONV_FAILED, "The missing block of the inverse covariance is not positive definite to rounding");
    }
    const PetscInt64   draws = exact ? nm : probes;
    const RandomStream stream(seed, Purpose::Samples);
    for (PetscInt64 p = 0; p < draws; ++p) {
      if (exact) {
        /* column p of L^-T: the sum of squares of C A L^-T is the diagonal wanted */
        std::vector<double> e(nm, 0.0);
        PetscBLASInt        bn = static_cast<PetscBLASInt>(nm), bone = 1;
        const double        done = 1.0;
        e[p]                     = 1.0;
        BLAStrsm_("L", "L", "T", "N", &bn, &bone, &done, dense.data(), &bn, e.data(), &bn);
        std::fill(w.begin(), w.end(), 0.0);
        for (PetscInt64 q = 0; q < mine; ++q) w[place[q]] = e[before + q];
      } else {
        PetscInt its;
        bool     good;
        for (PetscInt64 i = 0; i < m; ++i) g[i] = stream.Normal(static_cast<std::uint64_t>(nat[i]), static_cast<std::uint64_t>(p));
        PetscCall(ApplySpectral(1, g.data(), g.data()));
        for (PetscInt64 i = 0; i < m; ++i) {
          if (mask[i]) g[i] = 0.0;
          if (Noisy(i)) g[i] += std::sqrt(Excess(i)) * stream.Normal(static_cast<std::uint64_t>(nat[i]), static_cast<std::uint64_t>(draws + p));
        }
        const bool was = maskedcg;
        maskedcg       = false;
        looserrtol     = 1e-4; /* far below the error of the estimate */
        PetscCall(MissingSolve(g.data(), w.data(), &its, &good));
        maskedcg   = was;
        looserrtol = 0;
        PetscCheck(good, comm, PETSC_ERR_NOT_CONVERGED, "The solve for the missing points in the variance did not converge in %" PetscInt_FMT " iterations",
                   its);
        for (size_t q = 0; q < spread.size(); ++q) {
          const PetscInt64 i = place[q];
          draw[q]            = w[i] - (Noisy(i) ? (1 - Ratio() * precision[i]) * g[i] / (precision[i] + Excess(i)) : g[i] / precision[i]);
        }
      }
      PetscCall(ApplyInverse(w.data(), w.data()));
      for (size_t q = 0; q < spread.size(); ++q) {
        const double e = draw[q] - (Noisy(place[q]) ? Ratio() * w[place[q]] : 0.0);
        spread[q] += e * e / static_cast<double>(draws);
      }
      PetscCall(ApplyRectangular(C, t, w.data(), one.data()));
      const double weight = exact ? 1.0 : 1.0 / static_cast<double>(draws);
      for (PetscInt64 i = 0; i < mt; ++i) add[i] += weight * one[i] * one[i];
    }
    for (PetscInt64 i = 0; i < mt; ++i) out[i] += add[i];
    for (size_t q = 0; q < spread.size(); ++q) {
      PetscInt64 at = nat[place[q]];
      double     D  = 1;
      for (int j = d - 1; j >= 0; --j) {
        if (!sqrtD[j].empty()) D *= sqrtD[j][at % n[j]] * sqrtD[j][at % n[j]];
        at /= n[j];
      }
      const double P = precision[place[q]], seen = Noisy(place[q]) ? Ratio() * (1 - Ratio() * P) + std::pow(1 - Ratio() * P, 2) / (P + Excess(place[q])) : 0.0;
      out[place[q]] = D * (std::max(0.0, seen > 0 ? seen : 1 / P - Ratio()) + spread[q]);
    }
  }
  for (PetscInt64 i = 0; i < mt; ++i) out[i] *= s2f;
  PetscCall(Close(vvar));
  grid->FreeWork();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   f = mean + D^1/2 s2f^1/2 (x Q_j L_j^1/2) w, w standard normal and a function of (seed, draw, index) alone; posterior by Matheron's rule:
   f + K V^-1 (y - f - e)
*/
PetscErrorCode Regression::Sample(bool posterior, std::uint32_t draw, double *f, bool *good)
{
  const PetscInt64                 m = HomeSize();
  std::vector<PetscInt>            nat;
  std::vector<ModeOp>              op(d);
  std::vector<std::vector<double>> R(d);
  std::vector<double>              w;
  const RandomStream               sf(seed, Purpose::GPSample, 2 * draw), se(seed, Purpose::GPSample, 2 * draw + 1);

  PetscFunctionBegin;
  *good = true;
  PetscCall(Sums());
  PetscCall(NaturalIndices(grid->Home(), n, &nat));
  PetscCallCXX(w.resize(m));
  for (PetscInt64 i = 0; i < m; ++i) w[i] = sf.Normal(static_cast<std::uint64_t>(nat[i]));
  for (int j = 0; j < d; ++j) {
    PetscCallCXX(R[j] = eig[j].V);
    /* eigenvalues that rounding made negative have no square root: their directions have no variance to this accuracy */
    for (PetscInt64 c = 0; c < n[j]; ++c)
      for (PetscInt64 r = 0; r < n[j]; ++r) R[j][r + c * n[j]] *= std::sqrt(std::max(0.0, eig[j].lambda[c]));
    op[j] = ModeOp::Dense(n[j], n[j], R[j].data(), n[j]);
  }
  {
    TensorPipe pipe(*grid, n, 0, w.data(), f, m);
    PetscCall(pipe.Forward(op.data()));
    PetscCall(pipe.Move(0));
    PetscCall(pipe.Finish());
  }
  const double sd = std::sqrt(s2f);
  for (PetscInt64 i = 0; i < m; ++i) f[i] *= sd;
  if (posterior) {
    PetscCheck(havedata, comm, PETSC_ERR_ORDER, "No data; call SkeanGPSetData()");
    const double        sn = std::sqrt(s2n);
    std::vector<double> a;
    PetscInt            its;
    PetscCallCXX(a.resize(m));
    for (PetscInt64 i = 0; i < m; ++i)
      w[i] = Observed(i) ? y[i] - f[i] - sn * std::sqrt(Noisy(i) ? 1 + 1 / excess[i] : 1.0) * se.Normal(static_cast<std::uint64_t>(nat[i])) : 0.0;
    PetscCall(ObservedSolve(w.data(), a.data(), w.data(), &its, good));
    PetscCall(ApplyCovariance(a.data(), a.data()));
    for (PetscInt64 i = 0; i < m; ++i) f[i] += a[i];
  }
  for (PetscInt64 i = 0; i < m; ++i) {
    PetscInt64 g = nat[i];
    double     s = 1;
    for (int j = d - 1; j >= 0; --j) {
      if (!sqrtD[j].empty()) s *= sqrtD[j][g % n[j]];
      g /= n[j];
    }
    f[i] = mean + s * f[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace gp
} // namespace skean
