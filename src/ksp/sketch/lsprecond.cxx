#include <skean/private/lsprecond.hpp>
#include <skean/private/random.hpp>
#include <skean/private/reduce.hpp>
#include <skean/private/lapack.hpp>
#include "lsqkernels.hpp"
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>

namespace skean {

namespace {
const double Unit = DBL_EPSILON / 2; /* u */
/*
   Singular values below 30 u times the largest are dropped (Epperly, Meier & Nakatsukasa, arXiv 2406.03468, section 4) if they are
   below 5 u or a gap of 30 parts them from the others: a matrix with cond 1e15 and no gap keeps all its digits.
*/
const double RankTolerance     = 30 * Unit;
const double RoundingTolerance = 5 * Unit;
const double RankGap           = 30;
/* A Cholesky factor of A'A is a usable preconditioner while u cond^2 is well below 1 */
const double CholeskyConditionLimit = 2e6;

void ScaleColumns(double *a, PetscInt rows, PetscInt cols, PetscInt ld, const double *f)
{
  for (PetscInt j = 0; j < cols; ++j)
    for (PetscInt i = 0; i < rows; ++i) a[i + static_cast<size_t>(j) * ld] *= f[j];
}
void MatMul(char ta, char tb, PetscBLASInt m, PetscBLASInt n, PetscBLASInt k, const double *a, PetscBLASInt lda, const double *b, PetscBLASInt ldb, double *c,
            PetscBLASInt ldc)
{
  const double one = 1.0, zero = 0.0;
  if (m && n) BLASgemm_(&ta, &tb, &m, &n, &k, &one, a, &lda, b, &ldb, &zero, c, &ldc);
}
/* X <- R^{-1} X or R^{-T} X, X is d x q */
void TriangleSolve(char trans, PetscBLASInt d, PetscBLASInt q, const double *r, double *x)
{
  const double       one_d = 1.0;
  const PetscBLASInt one   = 1;
  if (!d || !q) return;
  if (q == 1)
    dtrsv_("U", &trans, "N", &d, r, &d, x, &one);
  else
    BLAStrsm_("L", "U", &trans, "N", &d, &q, &one_d, r, &d, x, &d);
}
PetscErrorCode TriangleCondition(PetscBLASInt d, const double *r, double *rcond)
{
  PetscBLASInt              info;
  std::vector<double>       work;
  std::vector<PetscBLASInt> iwork;

  PetscFunctionBegin;
  *rcond = 1.0;
  if (!d) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallCXX(work.resize(3 * static_cast<size_t>(d)));
  PetscCallCXX(iwork.resize(d));
  dtrcon_("1", "U", "N", &d, r, &d, rcond, work.data(), iwork.data(), &info);
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dtrcon: argument %d", (int)-info);
  PetscFunctionReturn(PETSC_SUCCESS);
}
PetscErrorCode TriangleSVD(PetscBLASInt d, const double *r, std::vector<double> &u, std::vector<double> &s, std::vector<double> &v)
{
  PetscBLASInt              info, lwork = -1;
  std::vector<double>       a, vt, work(1);
  std::vector<PetscBLASInt> iwork;

  PetscFunctionBegin;
  PetscCallCXX(a.assign(r, r + static_cast<size_t>(d) * d));
  PetscCallCXX(u.resize(a.size()));
  PetscCallCXX(vt.resize(a.size()));
  PetscCallCXX(v.resize(a.size()));
  PetscCallCXX(s.resize(d));
  PetscCallCXX(iwork.resize(8 * static_cast<size_t>(d)));
  dgesdd_("A", &d, &d, a.data(), &d, s.data(), u.data(), &d, vt.data(), &d, work.data(), &lwork, iwork.data(), &info);
  lwork = static_cast<PetscBLASInt>(work[0]);
  PetscCallCXX(work.resize(lwork));
  dgesdd_("A", &d, &d, a.data(), &d, s.data(), u.data(), &d, vt.data(), &d, work.data(), &lwork, iwork.data(), &info);
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dgesdd: info %d", (int)info);
  for (PetscInt j = 0; j < d; ++j)
    for (PetscInt i = 0; i < d; ++i) v[i + static_cast<size_t>(j) * d] = vt[j + static_cast<size_t>(i) * d];
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

/* D = diag(1/|a_j|), and |A|_F. One reduction; a second one only if squares overflow or underflow. */
PetscErrorCode LSPrecond::ColumnScaling(MPI_Comm comm, const RowView &A, bool doscale)
{
  FlaggedSum sum(d);
  bool       odd;

  PetscFunctionBegin;
  ColumnSquares(A, sum.Data());
  PetscCall(sum.Reduce(comm, !AllFinite(sum.Data(), d), &odd));
  double factor = 1.0;
  for (PetscInt j = 0; j < d; ++j)
    if (!std::isfinite(sum[j]) || sum[j] < 1e-280) odd = true;
  if (odd) { /* NaN or Inf in A, or only numbers whose squares overflow? */
    bool   finite;
    double big = LargestEntry(A, &finite), mine[2] = {finite ? 0.0 : 1.0, big}, all[2];
    PetscCallMPI(MPI_Allreduce(mine, all, 2, MPI_DOUBLE, MPI_MAX, comm));
    if (all[0] != 0.0) {
      failed = true;
      PetscFunctionReturn(PETSC_SUCCESS);
    }
    factor = all[1] > 0 ? all[1] : 1.0; /* zero columns only: nothing to rescale */
    sum.Zero();
    auto add = [&](PetscInt j, double v) { sum[j] += (v / factor) * (v / factor); };
    if (A.IsDense()) {
      for (PetscInt j = 0; j < d; ++j)
        for (PetscInt i = 0; i < A.nrows; ++i) add(j, A.dense[i + static_cast<size_t>(j) * A.lda]);
    } else
      for (int p = 0; p < A.nparts; ++p)
        for (PetscInt e = 0; e < A.part[p].i[A.nrows]; ++e) add(A.part[p].Column(e), A.part[p].a[e]);
    PetscCall(sum.Reduce(comm, false, nullptr)); /* nothing above one is squared */
  }
  double total = 0.0;
  PetscCallCXX(scale.assign(d, 1.0));
  for (PetscInt j = 0; j < d; ++j) {
    total += sum[j];
    if (sum[j] > 0.0 && doscale) scale[j] = 1.0 / (factor * std::sqrt(sum[j]));
  }
  normF   = factor * std::sqrt(total);
  scaledF = 0.0;
  for (PetscInt j = 0; j < d; ++j) scaledF = std::hypot(scaledF, factor * std::sqrt(sum[j]) * scale[j]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   R of S A D Z. The local parts of S A are summed by one reduce-scatter to the processes that factorise, each with at least 2 d
   rows, and factorised there by TSQR.
*/
PetscErrorCode LSPrecond::SketchFactor(MPI_Comm comm, const RowView &A, SkeanSketch sketch)
{
  PetscMPIInt         size, rank;
  std::vector<double> SA, rows, mine;
  std::vector<int>    counts;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  const PetscMPIInt active = static_cast<PetscMPIInt>(std::max<PetscInt>(1, std::min<PetscInt>(size, m / std::max<PetscInt>(1, 2 * d))));
  const auto        first  = [&](PetscMPIInt p) { return static_cast<PetscInt>(static_cast<long long>(m) * std::min(p, active) / active); };
  PetscCallCXX(SA.resize(static_cast<size_t>(m) * d));
  PetscCall(SkeanSketchPrepare_Private(sketch, &A)); /* leverage: the rows are drawn from A */
  PetscCall(SkeanSketchApplyLocal_Private(sketch, &A, SA.data()));
  mfirst = first(rank);
  mlocal = first(rank + 1) - mfirst;
  if (size > 1) {
    /* pieces of rows contiguous, each piece column major */
    PetscCallCXX(rows.resize(SA.size()));
    PetscCallCXX(counts.resize(size));
    double *to = rows.data();
    for (PetscMPIInt p = 0; p < size; ++p) {
      const PetscInt r0 = first(p), nr = first(p + 1) - r0;
      PetscCheck(static_cast<double>(nr) * d < 2147483647.0, comm, PETSC_ERR_SUP,
                 "The sketch has %" PetscInt_FMT " x %" PetscInt_FMT " entries, too many for one message; use more processes or a smaller sketch", m, d);
      counts[p] = static_cast<int>(nr * d);
      for (PetscInt j = 0; j < d; ++j) {
        std::copy(SA.data() + static_cast<size_t>(j) * m + r0, SA.data() + static_cast<size_t>(j) * m + r0 + nr, to);
        to += nr;
      }
    }
    SA.clear();
    SA.shrink_to_fit();
    PetscCallCXX(mine.resize(static_cast<size_t>(mlocal) * d));
    PetscCallMPI(MPI_Reduce_scatter(rows.data(), mine.data(), counts.data(), MPI_DOUBLE, MPI_SUM, comm));
  } else
    mine = std::move(SA);
  ScaleColumns(mine.data(), mlocal, d, mlocal, scale.data());
  if (!z.empty()) {
    std::vector<double> az;
    PetscCallCXX(az.resize(static_cast<size_t>(mlocal) * dz));
    MatMul('N', 'N', mlocal, dz, d, mine.data(), std::max<PetscInt>(1, mlocal), z.data(), d, az.data(), std::max<PetscInt>(1, mlocal));
    mine = std::move(az);
  }
  PetscCall(qr.Factor(comm, mlocal, dz, std::move(mine), active));
  r     = qr.R();
  exact = false;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* R of A D Z itself; ok false if the method cannot give it (Cholesky breakdown or a condition number out of its range) */
PetscErrorCode LSPrecond::DirectFactor(MPI_Comm comm, const RowView &A, KSPSketchMethod how, bool *ok)
{
  const size_t dd = static_cast<size_t>(dz) * dz;
  PetscBLASInt n_ = dz, info = 0;

  PetscFunctionBegin;
  *ok = true;
  if (how == KSP_SKETCH_TSQR) {
    PetscMPIInt         size;
    const PetscInt      nb = std::max<PetscInt>(1024, (d <= 1000 ? 8 : 4) * d); /* long panels: dtpqrt reaches the rate of dgemm */
    std::vector<double> local, panel, pz;

    PetscCallMPI(MPI_Comm_size(comm, &size));
    PetscCallCXX(local.assign(dd, 0.0));
    PetscCallCXX(panel.resize(static_cast<size_t>(nb) * d));
    for (PetscInt i = 0; i < A.nrows; i += nb) {
      const PetscInt rows = std::min(nb, A.nrows - i);
      DensePanel(A, i, rows, panel.data(), nb);
      ScaleColumns(panel.data(), rows, d, nb, scale.data());
      double *b = panel.data();
      if (!z.empty()) {
        PetscCallCXX(pz.resize(static_cast<size_t>(nb) * dz));
        MatMul('N', 'N', rows, dz, d, panel.data(), nb, z.data(), d, pz.data(), nb);
        b = pz.data();
      }
      PetscCall(QRUpdate(dz, local.data(), rows, 0, b, nb));
    }
    PetscCall(PetscLogFlops(2.0 * A.nrows * dz * dz));
    qr.Clear();
    TSQR tree;
    PetscCall(tree.Factor(comm, dz, dz, std::move(local), size));
    r = tree.R();
  } else {
    FlaggedSum          sum(static_cast<size_t>(d) * (d + 1) / 2);
    std::vector<double> W;

    PetscCallCXX(W.assign(static_cast<size_t>(d) * d, 0.0));
    if (how == KSP_SKETCH_CHOLQR) {
      GramMatrix(A, W.data());
      if (A.IsDense()) PetscCall(PetscLogFlops(1.0 * A.nrows * d * d));
    } else {
      PetscCheck(z.empty() && triangular && k == d, comm, PETSC_ERR_PLIB, "CQRRT needs a full-rank sketch without constraints");
      PreconditionedGram(A, scale.data(), t.data(), W.data());
      PetscCall(PetscLogFlops(2.0 * A.nrows * d * d));
    }
    size_t e = 0;
    for (PetscInt j = 0; j < d; ++j)
      for (PetscInt i = 0; i <= j; ++i) sum[e++] = W[i + static_cast<size_t>(j) * d];
    bool overflow;
    PetscCall(sum.Reduce(comm, !AllFinite(sum.Data(), sum.Size()), &overflow));
    if (overflow) {
      *ok = false;
      PetscFunctionReturn(PETSC_SUCCESS);
    }
    e = 0;
    for (PetscInt j = 0; j < d; ++j)
      for (PetscInt i = 0; i <= j; ++i, ++e) {
        const double f                    = how == KSP_SKETCH_CHOLQR ? scale[i] * scale[j] : 1.0;
        W[i + static_cast<size_t>(j) * d] = W[j + static_cast<size_t>(i) * d] = f * sum[e];
      }
    if (!z.empty()) {
      std::vector<double> WZ, ZWZ;
      PetscCallCXX(WZ.resize(static_cast<size_t>(d) * dz));
      PetscCallCXX(ZWZ.resize(dd));
      MatMul('N', 'N', d, dz, d, W.data(), d, z.data(), d, WZ.data(), d);
      MatMul('T', 'N', dz, dz, d, z.data(), d, WZ.data(), d, ZWZ.data(), dz);
      W = std::move(ZWZ);
    }
    if (n_) LAPACKpotrf_("U", &n_, W.data(), &n_, &info);
    for (PetscInt j = 0; j < dz; ++j)
      for (PetscInt i = j + 1; i < dz; ++i) W[i + static_cast<size_t>(j) * dz] = 0.0;
    double rcond = 0.0;
    if (!info) PetscCall(TriangleCondition(n_, W.data(), &rcond));
    if (info || !(rcond * CholeskyConditionLimit > 1.0))
      *ok = false;
    else if (how == KSP_SKETCH_CHOLQR)
      r = std::move(W);
    else { /* A N0 = Q L with N0 = D R^{-1}: A D = Q (L R) */
      const double one = 1.0;
      r                = t;
      dtrmm_("L", "U", "N", "N", &n_, &n_, &one, W.data(), &n_, r.data(), &n_);
    }
  }
  if (*ok) exact = true;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Numerical rank of R; k, cond, smax, and the SVD if R is not of full rank */
PetscErrorCode LSPrecond::FindRank(bool *full)
{
  double rcond, colmax = 0.0;

  PetscFunctionBegin;
  lambda = 0.0;
  onpath = false;
  t      = r;
  for (PetscInt j = 0; j < dz; ++j) {
    double c = 0.0;
    for (PetscInt i = 0; i <= j; ++i) c += r[i + static_cast<size_t>(j) * dz] * r[i + static_cast<size_t>(j) * dz];
    colmax = std::max(colmax, c);
  }
  PetscCall(TriangleCondition(dz, r.data(), &rcond));
  /* the 1-norm condition number is at most d times the 2-norm one: below this no singular value can be under the tolerance */
  if (rcond > RankTolerance * std::max<PetscInt>(dz, 1) || !dz) {
    triangular = true;
    k          = dz;
    cond       = dz ? 1.0 / rcond : 1.0;
    smax       = std::sqrt(colmax); /* at least smax/sqrt(d), refined by the power steps below */
    std::vector<double> x, y;
    PetscCallCXX(x.assign(dz, 1.0));
    PetscCallCXX(y.resize(dz));
    for (int it = 0; it < 4 && dz; ++it) { /* power steps on R'R */
      double nx = 0.0;
      for (double e : x) nx += e * e;
      nx = std::sqrt(nx);
      for (PetscInt i = 0; i < dz; ++i) {
        double acc = 0.0;
        for (PetscInt j = i; j < dz; ++j) acc += r[i + static_cast<size_t>(j) * dz] * x[j] / nx;
        y[i] = acc;
      }
      double ny = 0.0;
      for (double e : y) ny += e * e;
      smax = std::max(smax, std::sqrt(ny));
      for (PetscInt j = 0; j < dz; ++j) {
        double acc = 0.0;
        for (PetscInt i = 0; i <= j; ++i) acc += r[i + static_cast<size_t>(j) * dz] * y[i];
        x[j] = acc;
      }
    }
  } else {
    PetscCall(TriangleSVD(dz, r.data(), u, s, v));
    smax = s[0];
    k    = 0;
    while (k < dz && s[k] > RankTolerance * smax) ++k;
    /* without a gap, singular values down to what rounding makes of zero still carry digits of x */
    while (k > 0 && k < dz && s[k] > RoundingTolerance * smax && s[k - 1] < RankGap * s[k]) ++k;
    cond       = k ? s[0] / s[k - 1] : 1.0;
    triangular = k == dz;
    PetscCallCXX(weights.resize(k));
    for (PetscInt i = 0; i < k; ++i) weights[i] = 1.0 / s[i];
  }
  *full   = k == dz;
  kwomega = -1.0;
  /* null space of A in x space: orthonormal basis of D Z V(:, k:) */
  nullbasis.clear();
  if (k < dz) {
    const PetscInt      q  = dz - k;
    PetscBLASInt        dd = d, qq = q, lwork = std::max<PetscInt>(64 * q, 64), info;
    std::vector<double> tau, work;
    PetscCallCXX(nullbasis.resize(static_cast<size_t>(d) * q));
    PetscCallCXX(tau.resize(q));
    PetscCallCXX(work.resize(lwork));
    if (z.empty())
      std::copy(v.begin() + static_cast<size_t>(k) * dz, v.end(), nullbasis.begin());
    else
      MatMul('N', 'N', d, q, dz, z.data(), d, v.data() + static_cast<size_t>(k) * dz, dz, nullbasis.data(), d);
    for (PetscInt j = 0; j < q; ++j)
      for (PetscInt i = 0; i < d; ++i) nullbasis[i + static_cast<size_t>(j) * d] *= scale[i];
    LAPACKgeqrf_(&dd, &qq, nullbasis.data(), &dd, tau.data(), work.data(), &lwork, &info);
    PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dgeqrf: info %d", (int)info);
    LAPACKorgqr_(&dd, &qq, &qq, nullbasis.data(), &dd, tau.data(), work.data(), &lwork, &info);
    PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dorgqr: info %d", (int)info);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   Is the null space that the sketch shows one of A, or has the sketch lost a direction? One pass over A per 8 null vectors.
   |A D v| is summed from A D v itself: v'(A'A v) would hide anything below sqrt(u).
*/
PetscErrorCode LSPrecond::NullSpaceIsTrue(MPI_Comm comm, const RowView &A, bool *isnull)
{
  const PetscInt      q = dz - k;
  FlaggedSum          sum(q);
  std::vector<double> P, Y;

  PetscFunctionBegin;
  PetscCallCXX(P.resize(static_cast<size_t>(d) * q));
  PetscCallCXX(Y.resize(static_cast<size_t>(A.nrows) * std::min<PetscInt>(q, 8)));
  if (z.empty())
    std::copy(v.begin() + static_cast<size_t>(k) * dz, v.end(), P.begin());
  else
    MatMul('N', 'N', d, q, dz, z.data(), d, v.data() + static_cast<size_t>(k) * dz, dz, P.data(), d);
  for (PetscInt j = 0; j < q; ++j)
    for (PetscInt i = 0; i < d; ++i) P[i + static_cast<size_t>(j) * d] *= scale[i];
  for (PetscInt j0 = 0; j0 < q; j0 += 8) {
    const int w = static_cast<int>(std::min<PetscInt>(8, q - j0));
    MultiplyPass(A, P.data() + static_cast<size_t>(j0) * d, w, Y.data());
    for (int j = 0; j < w; ++j)
      for (PetscInt i = 0; i < A.nrows; ++i) sum[j0 + j] += Y[i + static_cast<size_t>(j) * A.nrows] * Y[i + static_cast<size_t>(j) * A.nrows];
  }
  bool overflow;
  PetscCall(sum.Reduce(comm, !AllFinite(sum.Data(), q), &overflow));
  double worst = overflow ? PETSC_MAX_REAL : 0.0;
  for (PetscInt j = 0; j < q; ++j) worst = std::max(worst, sum[j]);
  /* a dropped singular value of the sketch is at most 30 u |A D|; its distortion and the rounding of A D v take the rest */
  *isnull = std::sqrt(worst) <= 20 * RankTolerance * smax;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   A sketch may keep every direction of A and still show one far too short (two rows of a coherent block hashed to one place, with a
   little noise around): N is then long there and M = (A N)'(A N) has eigenvalues far above those of a good sketch, at most
   1/(1 - sqrt(k/m))^2. One pass with one column: |M y|^2 / y'M y for a random y is a lower bound of the largest eigenvalue, and a
   sharp one where it matters, as with one eigenvalue L among k of size one it is (L^2 z^2 + k) / (L z^2 + k), z standard normal. A lower
   bound has no false alarms; what it misses costs a few passes only.
*/
PetscErrorCode LSPrecond::Probe(MPI_Comm comm, const RowView &A, SkeanSketch sketch, bool *ispoor)
{
  SkeanSeed           seed;
  PetscInt            draw;
  std::vector<double> y, x, c;
  double              ymy = 0.0, mm = 0.0;
  int                 verdict;

  PetscFunctionBegin;
  *ispoor = false;
  if (!k || k >= m) PetscFunctionReturn(PETSC_SUCCESS); /* a square sketch promises nothing */
  PetscCall(SkeanSketchGetSeed(sketch, &seed));
  PetscCall(SkeanSketchGetDraw(sketch, &draw));
  const RandomStream stream(seed, Purpose::Probe, static_cast<std::uint32_t>(draw));
  FlaggedSum         g(d);
  PetscCallCXX(y.resize(k));
  PetscCallCXX(c.resize(k));
  PetscCallCXX(x.resize(d));
  for (PetscInt i = 0; i < k; ++i) y[i] = stream.Normal(i);
  PetscCallCXX(Apply(y.data(), x.data(), 1));
  GramApply(A, x.data(), 1, g.Data());
  bool overflow;
  PetscCall(g.Reduce(comm, !AllFinite(g.Data(), d), &overflow));
  PetscCall(PetscLogFlops(4.0 * A.Entries()));
  if (overflow) { /* N is that long in some direction */
    *ispoor = true;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCallCXX(ApplyT(g.Data(), c.data(), 1));
  for (PetscInt i = 0; i < k; ++i) {
    ymy += y[i] * c[i];
    mm += c[i] * c[i];
  }
  stretch            = ymy > 0.0 ? mm / ymy : 0.0;
  const double small = 1 - std::sqrt(static_cast<double>(k) / m);
  verdict            = stretch > 4 / (small * small);
  PetscCallMPI(MPI_Bcast(&verdict, 1, MPI_INT, 0, comm));
  *ispoor = verdict != 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   Seconds by a simple machine model; only the ratios matter. 16 Gflop/s in BLAS 3 and 5 Gbyte/s from memory per process (a core that
   shares its memory bus with others), the efficiencies at small d measured (bench_ksp_dense). The passes of the iterative method
   follow from the distortion sqrt(d/m) per step.
*/
KSPSketchMethod LSPrecond::Cheapest(const RowView &A, PetscMPIInt size, const LSPrecondOptions &o, bool *trycholesky) const
{
  const double F3 = 16e9, BW = 5e9, nl = static_cast<double>(A.nglobal) / size, dd = d, q = o.nrhs;
  const bool   dense   = A.IsDense();
  const double entries = dense ? nl * dd : std::max<double>(1.0, static_cast<double>(A.Entries()));
  const double pass    = (dense ? 8.0 : 16.0) * entries / BW + 4.0 * entries * (q - 1) / (dense ? F3 : F3 / 6);
  /* sparse signs, 8 to a row: hashes and scattered additions */
  const double sketch = dense ? 8 * nl * (20e-9 + 0.4e-9 * dd) : 8 * entries * 4e-9;
  const double qr1    = 2 * dd * dd * dd / (0.8 * F3); /* QR of d rows */
  const auto   qr     = [&](double f) { return f * qr1 / std::max(1.0, std::min<double>(size, f / 2)); };
  const double steps  = 32.0 / std::log(std::max(1.5, std::sqrt(o.factor))) + 1;
  const double gram   = dense ? nl * dd * dd / (std::min(0.85, dd / 60) * F3) : 2.5e-9 * entries * entries / std::max(nl, 1.0) + dd * dd * 8 / BW;
  const double iter   = sketch + qr(o.factor) + steps * pass;
  const double cqrrt  = sketch + qr(4) + 2 * nl * dd * dd / (std::min(0.85, dd / 90) * F3) + qr1 + 3 * pass;
  const double cholqr = gram + qr1 + 3 * pass;
  const double tsqr   = 2 * nl * dd * dd / (std::min(0.75, 0.06 + dd / 240) * F3) + 3 * pass;
  /* the last passes over all right-hand sides are common to the direct methods: what a failed attempt risks is weighed without them */
  const double many = 3 * 4.0 * entries * (q - 1) / (dense ? F3 : F3 / 6);
  *trycholesky      = cholqr - many < 0.9 * (std::min(iter, std::min(cqrrt, tsqr)) - many);
  if (iter <= cqrrt && iter <= tsqr) return KSP_SKETCH_ITERATIVE;
  return cqrrt <= tsqr ? KSP_SKETCH_CQRRT : KSP_SKETCH_TSQR;
}

/*
   Is it worth forming A'A? The condition number of 2 d of this process's rows, spread over its block: if they are far beyond what
   Cholesky can do on every process, so is A most likely. Only time depends on the answer. By QR: Cholesky's
   method shows no condition number beyond 1/sqrt(d u). Dense matrices; one reduction.
*/
PetscErrorCode LSPrecond::ProbeCondition(MPI_Comm comm, const RowView &A, bool *hopeless) const
{
  const PetscInt      rows  = 2 * d;
  double              rcond = 1.0, best;
  std::vector<double> sample, work, tau;

  PetscFunctionBegin;
  if (A.nrows >= rows && d > 0) {
    PetscBLASInt m = rows, n_ = d, lwork = 64 * d, info;
    PetscCallCXX(sample.resize(static_cast<size_t>(rows) * d));
    PetscCallCXX(tau.resize(d));
    PetscCallCXX(work.resize(lwork));
    for (PetscInt j = 0; j < d; ++j)
      for (PetscInt i = 0; i < rows; ++i)
        sample[i + static_cast<size_t>(j) * rows] = scale[j] * A.dense[static_cast<size_t>(i) * (A.nrows / rows) + static_cast<size_t>(j) * A.lda];
    LAPACKgeqrf_(&m, &n_, sample.data(), &m, tau.data(), work.data(), &lwork, &info);
    PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dgeqrf: info %d", (int)info);
    std::vector<double> top;
    PetscCallCXX(top.resize(static_cast<size_t>(d) * d));
    for (PetscInt j = 0; j < d; ++j)
      std::copy(sample.begin() + static_cast<size_t>(j) * rows, sample.begin() + static_cast<size_t>(j) * rows + d, top.begin() + static_cast<size_t>(j) * d);
    PetscCall(TriangleCondition(d, top.data(), &rcond));
  }
  PetscCallMPI(MPI_Allreduce(&rcond, &best, 1, MPI_DOUBLE, MPI_MAX, comm));
  *hopeless = best * 10 * CholeskyConditionLimit < 1.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode LSPrecond::SetUp(MPI_Comm comm, const RowView &A, SkeanSketch sketch, const LSPrecondOptions &o, PetscInt nconstraints, const double *C)
{
  PetscMPIInt size;
  PetscInt    msketch;
  bool        full, ok = false, trycholesky = false;

  PetscFunctionBegin;
  Clear();
  PetscCallMPI(MPI_Comm_size(comm, &size));
  d  = A.ncols;
  dz = d;
  n  = A.nglobal;
  PetscCall(ColumnScaling(comm, A, o.scale));
  if (failed) PetscFunctionReturn(PETSC_SUCCESS);
  if (nconstraints > 0) { /* orthonormal basis of the null space of C D by QR of (C D)' */
    PetscBLASInt        dd = d, pp = nconstraints, lwork = 64 * std::max(dd, pp), info;
    std::vector<double> ct, tau, work, q;
    PetscCheck(nconstraints < d, comm, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " equality constraints leave no freedom in %" PetscInt_FMT " unknowns",
               nconstraints, d);
    PetscCallCXX(ct.resize(static_cast<size_t>(d) * nconstraints));
    PetscCallCXX(q.assign(static_cast<size_t>(d) * d, 0.0));
    PetscCallCXX(tau.resize(d));
    PetscCallCXX(work.resize(lwork));
    for (PetscInt j = 0; j < nconstraints; ++j)
      for (PetscInt i = 0; i < d; ++i) ct[i + static_cast<size_t>(j) * d] = C[j + static_cast<size_t>(i) * nconstraints] * scale[i];
    LAPACKgeqrf_(&dd, &pp, ct.data(), &dd, tau.data(), work.data(), &lwork, &info);
    PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dgeqrf: info %d", (int)info);
    double big = 0.0, small = PETSC_MAX_REAL;
    PetscCallCXX(rc.assign(static_cast<size_t>(nconstraints) * nconstraints, 0.0));
    for (PetscInt j = 0; j < nconstraints; ++j) {
      const double e = std::fabs(ct[j + static_cast<size_t>(j) * d]);
      big            = std::max(big, e);
      small          = std::min(small, e);
      std::copy(ct.begin() + static_cast<size_t>(j) * d, ct.begin() + static_cast<size_t>(j) * d + j + 1, rc.begin() + static_cast<size_t>(j) * nconstraints);
    }
    PetscCheck(small > 100 * RankTolerance * big, comm, PETSC_ERR_ARG_WRONG, "The equality constraints are linearly dependent");
    std::copy(ct.begin(), ct.end(), q.begin());
    LAPACKorgqr_(&dd, &dd, &pp, q.data(), &dd, tau.data(), work.data(), &lwork, &info);
    PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dorgqr: info %d", (int)info);
    dz = d - nconstraints;
    PetscCallCXX(yc.assign(q.begin(), q.begin() + static_cast<size_t>(nconstraints) * d));
    PetscCallCXX(z.assign(q.begin() + static_cast<size_t>(nconstraints) * d, q.end()));
  }

  PetscCall(SkeanSketchGetSizes(sketch, &msketch, NULL));
  m      = msketch > 0 ? msketch : static_cast<PetscInt>(std::ceil(o.factor * d));
  method = o.method;
  if (method == KSP_SKETCH_AUTO) {
    if (n <= m && !(msketch > 0))
      method = KSP_SKETCH_TSQR;
    else
      method = Cheapest(A, size, o, &trycholesky);
    double votes[2] = {static_cast<double>(method), trycholesky ? 1.0 : 0.0}; /* local sizes differ: process 0 decides */
    PetscCallMPI(MPI_Bcast(votes, 2, MPI_DOUBLE, 0, comm));
    method      = static_cast<KSPSketchMethod>(static_cast<int>(votes[0]));
    trycholesky = votes[1] != 0.0;
    if (method == KSP_SKETCH_CQRRT && (!z.empty() || msketch > 0)) method = KSP_SKETCH_ITERATIVE;
    if (method == KSP_SKETCH_CQRRT) m = 4 * d;
    if (trycholesky && A.IsDense()) {
      bool hopeless;
      PetscCall(ProbeCondition(comm, A, &hopeless));
      trycholesky = !hopeless;
    }
  }
  if (method == KSP_SKETCH_CHOLQR || trycholesky) {
    PetscCall(DirectFactor(comm, A, KSP_SKETCH_CHOLQR, &ok));
    PetscCheck(ok || o.method != KSP_SKETCH_CHOLQR, comm, PETSC_ERR_ARG_OUTOFRANGE,
               "Cholesky QR needs a condition number (after column scaling) below %g; use another -ksp_sketch_method", CholeskyConditionLimit);
    if (ok)
      method = KSP_SKETCH_CHOLQR;
    else
      PetscCall(PetscInfo(sketch, "Cholesky factor of A'A not usable, sketching\n"));
  }
  if (!ok && method == KSP_SKETCH_TSQR) PetscCall(DirectFactor(comm, A, KSP_SKETCH_TSQR, &ok));
  if (ok)
    PetscCall(FindRank(&full));
  else {
    PetscInt draw0;
    PetscCall(SkeanSketchGetDraw(sketch, &draw0));
    PetscCheck(m >= d, comm, PETSC_ERR_ARG_OUTOFRANGE, "The sketch has %" PetscInt_FMT " rows, fewer than the %" PetscInt_FMT " columns of the matrix", m, d);
    for (;;) {
      bool good;
      PetscCall(SkeanSketchSetSizes(sketch, m, n));
      PetscCall(SkeanSketchSetDraw(sketch, draw0 + draws));
      PetscCall(SkeanSketchSetUp(sketch));
      PetscCall(SketchFactor(comm, A, sketch));
      draws++;
      PetscCall(FindRank(&full));
      good = full;
      if (!full) PetscCall(NullSpaceIsTrue(comm, A, &good));
      if (good) {
        bool ispoor = false;
        if (method == KSP_SKETCH_ITERATIVE && o.probe) PetscCall(Probe(comm, A, sketch, &ispoor));
        if (!ispoor) break;
        poor++;
        PetscCall(PetscInfo(sketch, "Sketch %" PetscInt_FMT " is poor, |A N|_2^2 >= %g: %s\n", draws, stretch,
                            draws < o.poordraws ? "drawing another" : "keeping it, it costs passes but no accuracy"));
        if (draws >= o.poordraws) break;
      } else {
        if (draws >= o.maxdraws) {
          PetscCall(
            PetscInfo(sketch, "%" PetscInt_FMT " sketches in turn lost a direction of the matrix: use another -sketch_type or more -sketch_rows\n", draws));
          failed = lost = true;
          PetscFunctionReturn(PETSC_SUCCESS);
        }
        PetscCall(PetscInfo(sketch, "Sketch %" PetscInt_FMT " has rank %" PetscInt_FMT " but the matrix has not: drawing another\n", draws, k));
      }
      if (draws >= 2 && m < n) m = std::min<PetscInt>(2 * m, std::max(n, m)); /* not bad luck: a distribution that does not suit the matrix */
    }
    if (method == KSP_SKETCH_CQRRT) {
      if (full) PetscCall(DirectFactor(comm, A, KSP_SKETCH_CQRRT, &ok));
      if (ok)
        PetscCall(FindRank(&full));
      else
        method = KSP_SKETCH_ITERATIVE;
    }
  }
  ready = true;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode LSPrecond::SolveConstraints(const double *e, double *x) const
{
  const PetscInt      p = d - dz;
  std::vector<double> w;

  PetscFunctionBegin;
  PetscCallCXX(w.assign(e, e + p)); /* x = D Y R^{-T} e */
  TriangleSolve('T', p, 1, rc.data(), w.data());
  MatMul('N', 'N', d, 1, p, yc.data(), d, w.data(), p, x, d);
  for (PetscInt i = 0; i < d; ++i) x[i] *= scale[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode LSPrecond::SetRidge(double l)
{
  PetscFunctionBegin;
  if (lambda == l && !onpath && (l == 0.0 || triangular)) PetscFunctionReturn(PETSC_SUCCESS);
  onpath  = false;
  kwomega = -1.0;
  if (l == 0.0) {
    bool full;
    PetscCall(FindRank(&full));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* the identity block is kept exact: QR([R; sqrt(lambda) D Z]) */
  std::vector<double> b;
  const double        root = std::sqrt(l);
  PetscCallCXX(b.assign(static_cast<size_t>(d) * dz, 0.0));
  if (z.empty())
    for (PetscInt j = 0; j < d; ++j) b[j + static_cast<size_t>(j) * d] = root * scale[j];
  else
    for (PetscInt j = 0; j < dz; ++j)
      for (PetscInt i = 0; i < d; ++i) b[i + static_cast<size_t>(j) * d] = root * scale[i] * z[i + static_cast<size_t>(j) * d];
  t = r;
  PetscCall(QRUpdate(dz, t.data(), d, z.empty() ? d : 0, b.data(), d));
  double rcond;
  PetscCall(TriangleCondition(dz, t.data(), &rcond));
  cond       = rcond > 0 ? 1.0 / rcond : PETSC_MAX_REAL;
  triangular = true;
  k          = dz;
  lambda     = l;
  nullbasis.clear();
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode LSPrecond::SetRidgePath(MPI_Comm comm, PetscInt q, const double *l)
{
  PetscFunctionBegin;
  if (basis.Empty()) { /* R D^{-1} is the factor of A itself: lambda I is not scaled */
    std::vector<double> ra;
    PetscCallCXX(ra = r);
    for (PetscInt j = 0; j < d; ++j)
      for (PetscInt i = 0; i <= j; ++i) ra[i + static_cast<size_t>(j) * d] /= scale[j];
    double rcond;
    PetscCall(TriangleCondition(d, ra.data(), &rcond));
    PetscCall(basis.Factor(comm, d, std::move(ra), exact && rcond * CholeskyConditionLimit > 1.0));
  }
  triangular = false;
  onpath     = true;
  k          = d;
  lambda     = -1.0;
  PetscCallCXX(pathdiagonal.resize(static_cast<size_t>(d) * q));
  PetscCallCXX(pathsuper.resize(pathdiagonal.size()));
  for (PetscInt j = 0; j < q; ++j) basis.Triangle(l[j], pathdiagonal.data() + static_cast<size_t>(j) * d, pathsuper.data() + static_cast<size_t>(j) * d);
  nullbasis.clear();
  kwomega = -1.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

void LSPrecond::Apply(const double *y, double *x, PetscInt q, const PetscInt *columns) const
{
  if (onpath) {
    std::copy(y, y + static_cast<size_t>(d) * q, x);
    for (PetscInt j = 0; j < q; ++j) {
      const size_t T = static_cast<size_t>(columns ? columns[j] : j) * d;
      RidgeBasis::TriangleSolve(d, pathdiagonal.data() + T, pathsuper.data() + T, x + static_cast<size_t>(j) * d);
    }
    basis.FromBasis(x, q);
    return;
  }
  std::vector<double> w(static_cast<size_t>(dz) * q);
  if (triangular) {
    std::copy(y, y + static_cast<size_t>(dz) * q, w.begin());
    TriangleSolve('N', dz, q, t.data(), w.data());
  } else {
    std::vector<double> sy(static_cast<size_t>(k) * q);
    for (PetscInt j = 0; j < q; ++j)
      for (PetscInt i = 0; i < k; ++i) sy[i + static_cast<size_t>(j) * k] = y[i + static_cast<size_t>(j) * k] * weights[i];
    MatMul('N', 'N', dz, q, k, v.data(), std::max<PetscInt>(1, dz), sy.data(), std::max<PetscInt>(1, k), w.data(), std::max<PetscInt>(1, dz));
  }
  if (z.empty())
    std::copy(w.begin(), w.end(), x);
  else
    MatMul('N', 'N', d, q, dz, z.data(), d, w.data(), dz, x, d);
  for (PetscInt j = 0; j < q; ++j)
    for (PetscInt i = 0; i < d; ++i) x[i + static_cast<size_t>(j) * d] *= scale[i];
}

void LSPrecond::ApplyT(const double *g, double *c, PetscInt q, const PetscInt *columns) const
{
  if (onpath) {
    std::copy(g, g + static_cast<size_t>(d) * q, c);
    basis.ToBasis(c, q);
    for (PetscInt j = 0; j < q; ++j) {
      const size_t T = static_cast<size_t>(columns ? columns[j] : j) * d;
      RidgeBasis::TriangleSolveTransposed(d, pathdiagonal.data() + T, pathsuper.data() + T, c + static_cast<size_t>(j) * d);
    }
    return;
  }
  std::vector<double> dg(g, g + static_cast<size_t>(d) * q), w;
  for (PetscInt j = 0; j < q; ++j)
    for (PetscInt i = 0; i < d; ++i) dg[i + static_cast<size_t>(j) * d] *= scale[i];
  if (!z.empty()) {
    w.resize(static_cast<size_t>(dz) * q);
    MatMul('T', 'N', dz, q, d, z.data(), d, dg.data(), d, w.data(), dz);
    dg.swap(w);
  }
  if (triangular) {
    TriangleSolve('T', dz, q, t.data(), dg.data());
    std::copy(dg.begin(), dg.begin() + static_cast<size_t>(dz) * q, c);
  } else {
    MatMul('T', 'N', k, q, dz, v.data(), std::max<PetscInt>(1, dz), dg.data(), std::max<PetscInt>(1, dz), c, std::max<PetscInt>(1, k));
    for (PetscInt j = 0; j < q; ++j)
      for (PetscInt i = 0; i < k; ++i) c[i + static_cast<size_t>(j) * k] *= weights[i];
  }
}

PetscErrorCode LSPrecond::SketchSolve(SkeanSketch sketch, const RowView &A, const double *B, PetscInt ldb, PetscInt q, double *Y, double *rho2,
                                      char *finite) const
{
  MPI_Comm            comm = PetscObjectComm((PetscObject)sketch);
  std::vector<double> Sb, c;

  PetscFunctionBegin;
  PetscCheck(!qr.Empty(), comm, PETSC_ERR_PLIB, "No sketch to solve with");
  RowView b;
  b.rstart  = A.rstart;
  b.nrows   = A.nrows;
  b.nglobal = A.nglobal;
  b.run     = A.run;
  b.nruns   = A.nruns;
  b.ncols   = q;
  b.dense   = B;
  b.lda     = ldb;
  PetscMPIInt size;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallCXX(Sb.resize((static_cast<size_t>(m) + 1) * q));
  PetscCallCXX(c.resize(static_cast<size_t>(dz) * q));
  PetscCall(SkeanSketchApplyLocal_Private(sketch, &b, Sb.data()));
  /* the last q numbers: how many processes have a column that is not finite (b too: S may skip the row) or so large that the sum might not be */
  for (PetscInt j = 0; j < q; ++j) {
    const double *bj = B + static_cast<size_t>(j) * ldb, *sj = Sb.data() + static_cast<size_t>(j) * m;
    bool          ok = true;
    for (PetscInt i = 0; i < A.nrows; ++i) ok = ok && std::isfinite(bj[i]);
    for (PetscInt i = 0; i < m; ++i) ok = ok && std::fabs(sj[i]) <= DBL_MAX / size;
    Sb[static_cast<size_t>(m) * q + j] = ok ? 0.0 : 1.0;
  }
  PetscCall(AllreduceSum(comm, Sb.data(), Sb.size()));
  for (PetscInt j = 0; j < q; ++j) {
    finite[j] = Sb[static_cast<size_t>(m) * q + j] == 0.0;
    if (!finite[j]) std::fill(Sb.data() + static_cast<size_t>(j) * m, Sb.data() + static_cast<size_t>(j + 1) * m, 0.0);
  }
  {
    std::vector<double> part;
    PetscCallCXX(part.resize(static_cast<size_t>(mlocal) * q));
    for (PetscInt j = 0; j < q; ++j) {
      const double *mine = Sb.data() + static_cast<size_t>(j) * m + mfirst;
      std::copy(mine, mine + mlocal, part.data() + static_cast<size_t>(j) * mlocal);
    }
    PetscCall(qr.ApplyQT(part.data(), q, c.data(), rho2));
  }
  for (PetscInt j = 0; j < q; ++j)
    if (!finite[j]) rho2[j] = std::numeric_limits<double>::quiet_NaN();
  if (onpath) {
    std::copy(c.begin(), c.end(), Y);
    basis.LeftToBasis(Y, q);
  } else if (lambda == 0.0) {
    if (triangular)
      std::copy(c.begin(), c.end(), Y);
    else
      MatMul('T', 'N', k, q, dz, u.data(), dz, c.data(), dz, Y, std::max<PetscInt>(1, k)); /* U_k'c */
  } else {
    /* ridge: the sketched normal equations with the ridge factor; refinement mends the rounding errors. Y = T^{-T} R'c */
    std::vector<double> rtc;
    PetscCallCXX(rtc.resize(c.size()));
    MatMul('T', 'N', dz, q, dz, r.data(), dz, c.data(), dz, rtc.data(), dz);
    TriangleSolve('T', dz, q, t.data(), rtc.data());
    std::copy(rtc.begin(), rtc.end(), Y);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

double LSPrecond::UnitScale(PetscInt i, double ridge) const
{
  const double t = std::sqrt(ridge) * scale[i];
  return scale[i] / (t < 1e150 ? std::sqrt(1 + t * t) : t);
}

/* The columns of A D have equal norms, or D is I */
double LSPrecond::UnitNormF(double ridge) const
{
  const double column = scaledF * scaledF / std::max<PetscInt>(1, d);
  double       s      = 0.0;
  for (PetscInt i = 0; i < d; ++i) {
    const double f = UnitScale(i, ridge);
    s += column * (f / scale[i]) * (f / scale[i]) + ridge * f * f;
  }
  return std::sqrt(s);
}

double LSPrecond::UnitXNorm(const double *x, double ridge) const
{
  double s = 0.0, xx = 0.0; /* |D_l^{-1} x|^2 = |D^{-1} x|^2 + lambda |x|^2 */
  for (PetscInt i = 0; i < d; ++i) {
    const double e = x[i] / scale[i];
    s += e * e;
    xx += x[i] * x[i];
  }
  return std::hypot(std::sqrt(s), std::sqrt(ridge * xx));
}

double LSPrecond::UnitGradientNorm(const double *g, double ridge) const
{
  double s = 0.0;
  for (PetscInt i = 0; i < d; ++i) {
    const double e = g[i] * UnitScale(i, ridge);
    s += e * e;
  }
  return std::sqrt(s);
}

/*
   On a path of ridge parameters the factor is bidiagonal in the basis P: with D_l^{-2} >= 1 / max D_l^2,
   |(D_l (A'A + lambda I) D_l + omega^2 I)^{-1/2} D_l g| <= |(A'A + (lambda + omega^2 / max D_l^2) I)^{-1/2} g|, O(d) flops for g in that
   basis.
*/
bool LSPrecond::WaldenBound(double omega, double ridge, const double *g, double *bound) const
{
  if (!onpath || !std::isfinite(omega)) return false;
  double widest = 0.0;
  for (PetscInt i = 0; i < d; ++i) widest = std::max(widest, UnitScale(i, ridge));
  std::vector<double> y(g, g + d), diagonal(d), super(d);
  basis.Triangle(ridge + (omega / widest) * (omega / widest), diagonal.data(), super.data());
  RidgeBasis::TriangleSolveTransposed(d, diagonal.data(), super.data(), y.data());
  double sum = 0.0;
  for (double e : y) sum += e * e;
  *bound = std::sqrt(sum);
  return true;
}

/*
   Karlson & Walden (BIT 37, 1997) with the sketch's factor in place of A's (Epperly, Meier & Nakatsukasa, 2024, section 2.3):
   |(D A'A D + omega^2 I)^{-1/2} D A'r| = |(R'R + omega^2 I)^{-1/2} D A'r| with A D ~ Q R. With a ridge, g = A'r - lambda x and H = D D_l^{-1},
   |(D_l (A'A + lambda I) D_l + omega^2 I)^{-1/2} D_l g| = |(R'R + lambda D^2 + omega^2 H^2)^{-1/2} D g|.
   Any square root serves: the triangle of QR([R; (lambda D^2 + omega^2 H^2)^{1/2}]). omega is rounded down to a power of two, so that the triangle serves again; this only enlarges the value.
*/
PetscErrorCode LSPrecond::WaldenNorm(double omega, double ridge, const double *g, double *value)
{
  PetscFunctionBegin;
  std::vector<double> x;
  PetscCallCXX(x.assign(g, g + d));
  for (PetscInt i = 0; i < d; ++i) x[i] *= scale[i];
  if (!z.empty()) {
    std::vector<double> w;
    PetscCallCXX(w.resize(dz));
    MatMul('T', 'N', dz, 1, d, z.data(), d, x.data(), d, w.data(), dz);
    x.swap(w);
  }
  if (std::isfinite(omega) && omega > 0) {
    const double o = std::exp2(std::floor(std::log2(omega)));
    if (o != kwomega || ridge != kwridge) {
      const auto          root = [&](PetscInt i) { return std::hypot(o * scale[i] / UnitScale(i, ridge), std::sqrt(ridge) * scale[i]); };
      std::vector<double> b;
      PetscCallCXX(b.assign(static_cast<size_t>(d) * dz, 0.0));
      if (z.empty())
        for (PetscInt j = 0; j < d; ++j) b[j + static_cast<size_t>(j) * d] = root(j);
      else
        for (PetscInt j = 0; j < dz; ++j)
          for (PetscInt i = 0; i < d; ++i) b[i + static_cast<size_t>(j) * d] = root(i) * z[i + static_cast<size_t>(j) * d];
      PetscCallCXX(kw = r);
      PetscCall(QRUpdate(dz, kw.data(), d, z.empty() ? d : 0, b.data(), d));
      kwomega = o;
      kwridge = ridge;
    }
    TriangleSolve('T', dz, 1, kw.data(), x.data());
  } else
    x.assign(1, PETSC_MAX_REAL); /* no estimate */
  double sum = 0.0;
  for (double e : x) sum += e * e;
  *value = std::sqrt(sum);
  PetscFunctionReturn(PETSC_SUCCESS);
}

void LSPrecond::RowNorms(double *norms) const
{
  /* rows of N = D Z T: |e_j'N| = |T' Z' D e_j|, in blocks of columns of the identity */
  const PetscInt      nb = 64;
  std::vector<double> e(static_cast<size_t>(d) * nb), c(static_cast<size_t>(std::max(k, dz)) * nb);
  for (PetscInt j0 = 0; j0 < d; j0 += nb) {
    const PetscInt q = std::min(nb, d - j0);
    std::fill(e.begin(), e.end(), 0.0);
    for (PetscInt j = 0; j < q; ++j) e[j0 + j + static_cast<size_t>(j) * d] = 1.0;
    ApplyT(e.data(), c.data(), q);
    for (PetscInt j = 0; j < q; ++j) {
      double s2 = 0.0;
      for (PetscInt i = 0; i < k; ++i) s2 += c[i + static_cast<size_t>(j) * k] * c[i + static_cast<size_t>(j) * k];
      norms[j0 + j] = std::sqrt(s2);
    }
  }
}

/* Triangular: (T + dT)'y = Z'D g + f, |dT|_F <= gamma_{2d+4} |T|_F, f the rounding of the right-hand side. Otherwise y_i = w_i v_i'Z'D g. */
double LSPrecond::ApplyTError(double inverse, double dg, double y) const
{
  const double eps = (2.0 * d + 4) * Unit / (1 - (2.0 * d + 4) * Unit), f = z.empty() ? Unit : eps * std::sqrt(static_cast<double>(d));
  double       tt = 0.0;
  if (!triangular) return inverse * (eps + f) * dg;
  for (double e : t) tt += e * e;
  return inverse * (eps * std::sqrt(tt) * y + f * dg);
}

void LSPrecond::RemoveNullSpace(double *x, PetscInt q) const
{
  if (nullbasis.empty()) return;
  const PetscInt p = static_cast<PetscInt>(nullbasis.size() / d);
  for (int pass = 0; pass < 2; ++pass) /* twice is enough */
    for (PetscInt c = 0; c < q; ++c)
      for (PetscInt j = 0; j < p; ++j) {
        const double *b  = nullbasis.data() + static_cast<size_t>(j) * d;
        double       *y  = x + static_cast<size_t>(c) * d;
        double        s_ = 0.0;
        for (PetscInt i = 0; i < d; ++i) s_ += b[i] * y[i];
        for (PetscInt i = 0; i < d; ++i) y[i] -= s_ * b[i];
      }
}

} // namespace skean
