/*
   A path of ridge parameters, x(lambda) = argmin |A x - b|^2 + lambda |x|^2 for q parameters.

   What it costs. One pass over A is 8 n d bytes (dense) or 12 bytes per nonzero, once, plus 4 n d or 4 nnz flops for each column:
   with one column memory decides, from about 8 columns on arithmetic does, so a path that sends all its columns through every pass
   pays q / 8 single solves and more. But x(lambda) is smooth: its q values span, to working precision, a space of k << q dimensions
   (k grows with log(largest / smallest lambda) log(1 / u); 8 to 16 for eight decades and 50 parameters). So
     1. all q small problems min |R x - c|^2 + lambda |x|^2 are solved in the basis that bidiagonalises R (RidgeBasis, O(d q));
     2. QR with column pivoting of these q columns names k skeleton parameters, 2 d q k flops;
     3. LSSolve() solves for those: passes with k columns instead of q. Where R is A's own factor a pass with the first few columns of
        the skeleton comes before, from which all of it gets its start;
     4. every other solution is a combination x_j = sum_m c_m x_m with sum_m c_m = 1. Residuals and their products then combine too,
          b - A x_j = sum_m c_m r_m,     A'r_j = sum_m c_m A'r_m,     A'A x_m + lambda_m x_m = A'b - g_m
        so that the gradient g_j = A'r_j - lambda_j x_j = sum_m c_m (g_m + (lambda_m - lambda_j) x_m) of a combination is known from
        the fresh r_m and A'r_m of step 3 without another pass. A'b - A'(A x) is never formed. The c_m minimise |T_j^{-T} g_j|, the
        energy of the error, and a penalty of the size of rounding keeps them moderate. k^2 d flops a column, shared out over the
        processes;
     5. each combination is judged as LSSolve() judges. What does not meet its aim, or would lose digits by cancellation, is solved
        by LSSolve() itself, from the combination. In the worst case (q independent solutions) that is every parameter.
   Nothing of size n x q is formed.

   Reference for the rational Krylov space of the x(lambda): Guettel, GAMM-Mitt. 36 (2013); skeleton columns: Cheng, Gimbutas,
   Martinsson & Rokhlin, SIAM J. Sci. Comput. 26 (2005).
*/
#include "lssolve.hpp"
#include "lsqkernels.hpp"
#include "ridgeskeleton.hpp"
#include <skean/private/lapack.hpp>
#include <skean/private/reduce.hpp>
#include <algorithm>
#include <cfloat>
#include <cmath>

namespace skean {

namespace {
const double   Unit         = DBL_EPSILON / 2;
const PetscInt SparePerPass = 8; /* a pass over A costs the same up to the next multiple of this */
const double   MostGrowth   = 4; /* of (sum c_m^2 |x_m|^2)^{1/2} over |x_j|, and of |r|: what rounding in the skeleton is amplified by */

double Norm(PetscInt n, const double *x)
{
  double s = 0.0;
  for (PetscInt i = 0; i < n; ++i) s += x[i] * x[i];
  return std::sqrt(s);
}

/* c of the small problem min |B y - f|^2 + lambda |y|^2 */
PetscErrorCode SmallRightHandSide(MPI_Comm comm, const RowView &A, SkeanSketch sketch, const LSPrecond &N, const double *b, double *f, PetscInt *passes)
{
  const PetscInt d      = A.ncols;
  bool           finite = true;

  PetscFunctionBegin;
  if (N.Exact()) {
    FlaggedSum sum(d);
    double     rr = 0.0;
    ResidualPass(A, b, 0, nullptr, 1, nullptr, sum.Data(), &rr);
    bool failed;
    PetscCall(sum.Reduce(comm, !AllFinite(sum.Data(), d), &failed));
    finite = !failed;
    ++*passes;
    PetscCall(PetscLogFlops(2.0 * A.Entries()));
    PetscCallCXX(N.Ridge().ToBasis(sum.Data(), 1));
    N.Ridge().Divide(sum.Data(), f);
  } else {
    double rho2;
    char   ok;
    PetscCall(N.SketchSolve(sketch, A, b, 0, 1, f, &rho2, &ok));
    finite = ok != 0;
  }
  for (PetscInt i = 0; i < d; ++i) finite = finite && std::isfinite(f[i]);
  if (!finite) std::fill(f, f + d, 0.0); /* LSSolve() finds the NaN in the residuals */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   Y: d x q solutions of the small problems, X: the same in x, f: right-hand side of the small problems. A column is (B y_j, |f|):
   combinations of the last entry are combinations of b, so that sum c = 1 comes with them. It is scaled by what rounding may do to A x_j,
   and the pivots are in units of that. Process 0 decides.
*/
PetscErrorCode FindSkeleton(MPI_Comm comm, const LSPrecond &N, PetscInt q, const double *lambda, const double *Y, const double *X, const double *f,
                            RidgeSkeleton *skeleton)
{
  const PetscInt      d = N.Columns(), most = SparePerPass;
  const double        fn = Norm(d, f);
  std::vector<double> M, size, message;

  PetscFunctionBegin;
  PetscCallCXX(M.resize(static_cast<size_t>(d + 1) * q));
  PetscCallCXX(size.resize(q));
  for (PetscInt j = 0; j < q; ++j) {
    double *y = M.data() + static_cast<size_t>(j) * (d + 1);
    size[j]   = N.UnitNormF(lambda[j]) * N.UnitXNorm(X + static_cast<size_t>(j) * d, lambda[j]);
    N.Ridge().Product(Y + static_cast<size_t>(j) * d, y);
    y[d] = fn;
    for (PetscInt i = 0; i <= d; ++i) y[i] = size[j] > 0.0 ? y[i] / size[j] : 0.0;
  }
  PetscCall(RidgeSkeletonChoose(d + 1, q, lambda, M.data(), size.data(), most, skeleton));
  PetscCallCXX(message.assign(2 + q + most + static_cast<size_t>(q) * most, 0.0));
  double *const members = message.data() + 2, *const pilots = members + q, *const mix = pilots + most;
  message[0] = static_cast<double>(skeleton->members.size());
  message[1] = static_cast<double>(skeleton->pilots.size());
  std::copy(skeleton->members.begin(), skeleton->members.end(), members);
  std::copy(skeleton->pilots.begin(), skeleton->pilots.end(), pilots);
  std::copy(skeleton->mix.begin(), skeleton->mix.end(), mix);
  PetscCallMPI(MPI_Bcast(message.data(), static_cast<int>(message.size()), MPI_DOUBLE, 0, comm));
  PetscCallCXX(skeleton->members.assign(members, members + static_cast<size_t>(message[0])));
  PetscCallCXX(skeleton->pilots.assign(pilots, pilots + static_cast<size_t>(message[1])));
  PetscCallCXX(skeleton->mix.assign(mix, mix + static_cast<size_t>(message[0] * message[1])));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   The members' starts from one pass with the pilots P, half as many columns: combinations of them, whose gradients are then known, and
   with these one correction each, which leaves little to do where R is A's own factor.
*/
PetscErrorCode StartsFromPilots(MPI_Comm comm, const RowView &A, const LSPrecond &N, const double *b, const RidgeSkeleton &skeleton,
                                const std::vector<double> &pilotlambda, const std::vector<double> &P, const std::vector<double> &lambda, std::vector<double> &X,
                                PetscInt *passes)
{
  const PetscInt           d = A.ncols, p = static_cast<PetscInt>(pilotlambda.size()), k = static_cast<PetscInt>(lambda.size());
  FlaggedSum               sum(P.size());
  std::vector<double>      rr, G, C;
  std::vector<long double> c;

  PetscFunctionBegin;
  PetscCallCXX(rr.resize(p));
  PetscCallCXX(G.resize(X.size()));
  PetscCallCXX(C.resize(X.size()));
  ResidualPass(A, b, 0, P.data(), static_cast<int>(p), nullptr, sum.Data(), rr.data());
  bool failed;
  PetscCall(sum.Reduce(comm, !AllFinite(sum.Data(), sum.Size()), &failed));
  ++*passes;
  PetscCall(PetscLogFlops(4.0 * A.Entries() * p));
  if (failed) PetscFunctionReturn(PETSC_SUCCESS); /* the members keep the starts they have */
  for (PetscInt m = 0; m < p; ++m)
    for (PetscInt i = 0; i < d; ++i) sum[i + static_cast<size_t>(m) * d] -= pilotlambda[m] * P[i + static_cast<size_t>(m) * d];
  for (PetscInt j = 0; j < k; ++j) {
    const double *mix = skeleton.mix.data() + static_cast<size_t>(j) * p;
    PetscCallCXX(c.assign(mix, mix + p));
    PetscCallCXX(RidgeCombination(d, p, c.data(), P.data(), sum.Data(), pilotlambda.data(), lambda[j], X.data() + static_cast<size_t>(j) * d,
                                  G.data() + static_cast<size_t>(j) * d));
  }
  PetscCallCXX(N.ApplyT(G.data(), C.data(), k));
  PetscCallCXX(N.Apply(C.data(), G.data(), k));
  for (size_t i = 0; i < X.size(); ++i) X[i] += G[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The solved skeleton, and what combinations of it need */
struct Solved {
  PetscInt            k;
  std::vector<double> lambda, X, G, rnorm; /* k parameters, solutions, gradients A'r - lambda x, and |[b - A x; sqrt(lambda) x]| */
  std::vector<double> Xhat, Ghat;          /* X and G in the basis of N.Ridge() */
};

/*
   The combination for one parameter: x, its gradient g and |[b - A x; sqrt(lambda) x]|. Returns by how much the rounding errors of the
   skeleton are amplified; 0 if too much.
*/
double Combine(const LSPrecond &N, const Solved &s, double lambda, double *x, double *g, double *rnorm)
{
  const PetscInt      d = N.Columns(), k = s.k;
  const RidgeBasis   &basis = N.Ridge();
  std::vector<double> diagonal(d), super(d), M(static_cast<size_t>(d + k) * std::max<PetscInt>(1, k - 1)), rhs(d + k);
  PetscBLASInt        rows = d + k, cols = k - 1, one = 1, lwork = 64 * (d + 2 * k), info = 0;
  std::vector<double> work(lwork), xnorm(k);

  for (PetscInt m = 0; m < k; ++m) xnorm[m] = N.UnitXNorm(s.X.data() + static_cast<size_t>(m) * d, lambda);
  PetscInt c0 = 0, below = 0; /* the nearest parameter; the largest that is not larger */
  for (PetscInt m = 0; m < k; ++m) {
    if (std::fabs(std::log(s.lambda[m] / lambda)) < std::fabs(std::log(s.lambda[c0] / lambda))) c0 = m;
    if (s.lambda[m] <= lambda) below = m;
  }
  /* columns of M: differences of the gradients at lambda from the nearest one's, in the energy norm, over a penalty of the size of rounding */
  const double noise = 0.1 * Unit * N.UnitNormF(lambda);
  const size_t ld    = static_cast<size_t>(rows);
  const auto   at    = [&](PetscInt m, PetscInt i) {
    const size_t e = i + static_cast<size_t>(m) * d;
    return s.Ghat[e] + (s.lambda[m] - lambda) * s.Xhat[e];
  };
  for (PetscInt i = 0; i < d; ++i) rhs[i] = -at(c0, i);
  for (PetscInt m = 0, a = 0; m < k; ++m) {
    if (m == c0) continue;
    double *column = M.data() + a * ld;
    for (PetscInt i = 0; i < d; ++i) column[i] = at(m, i) + rhs[i];
    column[d + a]     = noise * xnorm[m];
    column[d + k - 1] = noise * xnorm[c0];
    ++a;
  }
  rhs[d + k - 1] = noise * xnorm[c0];
  basis.Triangle(lambda, diagonal.data(), super.data());
  RidgeBasis::TriangleSolveTransposed(d, diagonal.data(), super.data(), rhs.data());
  RidgeBasis::TriangleSolveTransposed(d, diagonal.data(), super.data(), M.data(), cols, rows);
  std::vector<long double> c(k, 0.0L);
  if (cols) LAPACKgels_("N", &rows, &cols, &one, M.data(), &rows, rhs.data(), &rows, work.data(), &lwork, &info);
  if (info) return 0.0;
  c[c0] = 1.0L;
  for (PetscInt m = 0, a = 0; m < k; ++m)
    if (m != c0) {
      c[m] = rhs[a++];
      c[c0] -= c[m];
    }
  /* x_j, g_j; then |r_j|^2 from the parameter below, a sum of positive terms but for rounding: |r|^2 grows with lambda */
  double growx = 0.0, growr = 0.0, r2 = 0.0, xx = 0.0;
  RidgeCombination(d, k, c.data(), s.X.data(), s.G.data(), s.lambda.data(), lambda, x, g);
  for (PetscInt m = 0; m < k; ++m) {
    growx = std::hypot(growx, static_cast<double>(c[m]) * xnorm[m]);
    growr = std::hypot(growr, static_cast<double>(c[m]) * s.rnorm[m]);
  }
  const double *xb = s.X.data() + static_cast<size_t>(below) * d, *gb = s.G.data() + static_cast<size_t>(below) * d;
  const double  nb = Norm(d, xb);
  r2               = s.rnorm[below] * s.rnorm[below] - s.lambda[below] * nb * nb;
  for (PetscInt i = 0; i < d; ++i) {
    r2 -= (x[i] - xb[i]) * (gb[i] + s.lambda[below] * xb[i] + g[i] + lambda * x[i]);
    xx += x[i] * x[i];
  }
  *rnorm = std::sqrt(std::max(r2, 0.0) + lambda * xx);
  growx /= N.UnitXNorm(x, lambda);
  return std::isfinite(*rnorm) && growx <= MostGrowth && growr <= MostGrowth * *rnorm ? growx : 0.0;
}
} // namespace

PetscErrorCode LSSolvePath(MPI_Comm comm, const RowView &A, SkeanSketch sketch, LSPrecond &N, const LSSolveOptions &options, const double *b, PetscInt q,
                           const double *lambda, double *X, std::vector<LSColumn> &columns, PetscInt *passes)
{
  const PetscInt        d = A.ncols;
  std::vector<double>   unique, x, y, f;
  std::vector<LSColumn> solved;
  std::vector<PetscInt> others;
  LSSolveOptions        o = options;
  PetscMPIInt           size, rank;
  PetscInt              done = 0;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCheck(
    !N.ConstraintBasis(), comm, PETSC_ERR_SUP,
    "KSP type sketch does not support paths of ridge parameters with equality constraints; call KSPSketchSetRidge() and KSPSolve() for each parameter");
  *passes = 0;
  if (options.monitor)
    o.monitor = [&](PetscInt it, double rnorm, double backward, const LSSolveOptions::Current &current) {
      return options.monitor(done + it, rnorm, backward, current);
    };
  const auto solve = [&](std::vector<double> ridge, PetscBool guess, PetscInt n, double *to, std::vector<LSColumn> &col) -> PetscErrorCode {
    PetscInt its = 0;
    PetscFunctionBegin;
    o.ridge     = std::move(ridge);
    o.haveguess = guess;
    o.max_it    = std::max<PetscInt>(1, options.max_it - done);
    PetscCall(LSSolve(comm, A, sketch, N, o, b, 0, n, to, col, &its));
    *passes = done += its;
    PetscFunctionReturn(PETSC_SUCCESS);
  };

  PetscCallCXX(unique.assign(lambda, lambda + q));
  std::sort(unique.begin(), unique.end());
  unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
  const PetscInt p    = static_cast<PetscInt>(unique.size());
  const PetscInt zero = unique[0] == 0.0 ? 1 : 0, w = p - zero; /* lambda = 0 may be rank deficient: it is a problem of another kind */
  PetscCallCXX(x.assign(static_cast<size_t>(d) * p, 0.0));
  PetscCallCXX(solved.resize(p));
  const auto column = [&](PetscInt j) { return x.data() + static_cast<size_t>(zero + j) * d; };
  const auto take   = [&](const std::vector<PetscInt> &which, const std::vector<double> &from, const std::vector<LSColumn> &col) {
    for (size_t a = 0; a < which.size(); ++a) {
      std::copy(from.begin() + a * d, from.begin() + (a + 1) * d, column(which[a]));
      solved[zero + which[a]] = col[a];
    }
  };
  const auto pick = [&](const std::vector<PetscInt> &which, std::vector<double> &ridge, std::vector<double> *start) {
    ridge.clear();
    if (start) start->clear();
    for (PetscInt j : which) {
      ridge.push_back(unique[zero + j]);
      if (start) start->insert(start->end(), column(j), column(j) + d);
    }
  };

  if (zero || w == 1) { /* single parameters, each by the preconditioner of its own */
    std::vector<LSColumn> col;
    for (PetscInt j = 0; j < zero + (w == 1 ? 1 : 0); ++j) {
      PetscCall(N.SetRidge(unique[j]));
      PetscCall(
        solve(unique[j] == 0.0 ? std::vector<double>() : std::vector<double>(1, unique[j]), PETSC_FALSE, 1, x.data() + static_cast<size_t>(j) * d, col));
      solved[j] = col[0];
    }
  }
  if (w > 1) {
    std::vector<double>   ridge, start;
    std::vector<LSColumn> col;
    PetscCall(N.SetRidgePath(comm, w, unique.data() + zero));
    PetscCallCXX(f.resize(d));
    PetscCallCXX(y.resize(static_cast<size_t>(d) * w));
    PetscCall(SmallRightHandSide(comm, A, sketch, N, b, f.data(), &done));
    for (PetscInt j = 0; j < w; ++j) N.Ridge().Solve(unique[zero + j], f.data(), y.data() + static_cast<size_t>(j) * d);
    std::copy(y.begin(), y.end(), column(0));
    PetscCallCXX(N.Ridge().FromBasis(column(0), w));
    RidgeSkeleton skeleton;
    PetscCall(FindSkeleton(comm, N, w, unique.data() + zero, y.data(), column(0), f.data(), &skeleton));

    Solved s;
    s.k = static_cast<PetscInt>(skeleton.members.size());
    PetscCallCXX(pick(skeleton.pilots, ridge, &start));
    PetscCallCXX(pick(skeleton.members, s.lambda, &s.X));
    PetscCall(N.SetRidgePath(comm, s.k, s.lambda.data()));
    if (N.Exact() && !start.empty() && start.size() < s.X.size()) PetscCall(StartsFromPilots(comm, A, N, b, skeleton, ridge, start, s.lambda, s.X, &done));
    o.gradient = &s.G;
    PetscCall(solve(s.lambda, PETSC_TRUE, s.k, s.X.data(), col));
    o.gradient = nullptr;
    PetscCallCXX(take(skeleton.members, s.X, col));
    bool all = true; /* a combination needs all of the skeleton */
    for (const LSColumn &c : col) {
      all = all && c.reason > 0;
      PetscCallCXX(s.rnorm.push_back(c.rnorm));
    }
    for (PetscInt j = 0, m = 0; j < w; ++j)
      if (m < s.k && skeleton.members[m] == j)
        ++m;
      else
        PetscCallCXX(others.push_back(j));
    PetscCall(PetscInfo(sketch, "Ridge path: %" PetscInt_FMT " parameters, %" PetscInt_FMT " of them solved for, %" PetscInt_FMT " passes\n", w, s.k, done));

    if (!others.empty() && all) {
      const PetscInt      n  = static_cast<PetscInt>(others.size());
      const size_t        dn = static_cast<size_t>(d) * n;
      std::vector<double> G;
      FlaggedSum          sum(2 * dn + 2 * n);
      PetscCallCXX(s.Xhat = s.X);
      PetscCallCXX(s.Ghat = s.G);
      PetscCallCXX(N.Ridge().ToBasis(s.Xhat.data(), s.k));
      PetscCallCXX(N.Ridge().ToBasis(s.Ghat.data(), s.k));
      for (PetscInt a = rank; a < n; a += size) {
        double growth = 0.0;
        PetscCallCXX(growth = Combine(N, s, unique[zero + others[a]], sum.Data() + static_cast<size_t>(a) * d, sum.Data() + dn + static_cast<size_t>(a) * d,
                                      &sum[2 * dn + a]));
        sum[2 * dn + n + a] = growth;
        if (growth == 0.0) { /* a NaN would spoil the sum's flag; the start is as good */
          std::copy(column(others[a]), column(others[a]) + d, sum.Data() + static_cast<size_t>(a) * d);
          std::fill(sum.Data() + dn + static_cast<size_t>(a) * d, sum.Data() + dn + static_cast<size_t>(a + 1) * d, 0.0);
          sum[2 * dn + a] = 1.0;
        }
      }
      PetscCall(sum.Reduce(comm, false, nullptr)); /* finite: Combine() says */
      PetscCallCXX(start.assign(sum.Data(), sum.Data() + dn));
      PetscCallCXX(G.assign(sum.Data() + dn, sum.Data() + 2 * dn));
      PetscCallCXX(col.assign(n, LSColumn()));
      for (PetscInt a = 0; a < n; ++a) {
        col[a].rnorm = sum[2 * dn + a];
        col[a].anorm = Norm(d, G.data() + static_cast<size_t>(a) * d);
      }
      LSSolveOptions judge = o;
      judge.monitor        = nullptr;
      PetscCallCXX(pick(others, judge.ridge, nullptr));
      PetscCall(LSJudge(comm, A, N, judge, n, start.data(), G, col));
      PetscCallCXX(take(others, start, col));
      std::vector<PetscInt> again;
      for (PetscInt a = 0; a < n; ++a) {
        /* rounding in the skeleton's A'r and of x itself, which the gradient of the combination does not show: about |A D| |D^{-1} x| u */
        solved[zero + others[a]].backward += Unit * sum[2 * dn + n + a] * std::min(1.0, N.ScaledNorm() / N.ScaledNormF());
        if (sum[2 * dn + n + a] == 0.0 || col[a].reason <= 0) PetscCallCXX(again.push_back(others[a]));
      }
      others = again;
    }
    if (!others.empty()) {
      PetscCall(PetscInfo(sketch, "Ridge path: %" PetscInt_FMT " parameters are not combinations of the others, solved for\n", (PetscInt)others.size()));
      PetscCallCXX(pick(others, ridge, &start));
      PetscCall(N.SetRidgePath(comm, static_cast<PetscInt>(others.size()), ridge.data()));
      PetscCall(solve(ridge, PETSC_TRUE, static_cast<PetscInt>(others.size()), start.data(), col));
      PetscCallCXX(take(others, start, col));
    }
  }
  PetscCallCXX(columns.resize(q));
  for (PetscInt j = 0; j < q; ++j) {
    const size_t at = std::lower_bound(unique.begin(), unique.end(), lambda[j]) - unique.begin();
    columns[j]      = solved[at];
    std::copy(x.begin() + at * d, x.begin() + (at + 1) * d, X + static_cast<size_t>(j) * d);
  }
  *passes = done;
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace skean
