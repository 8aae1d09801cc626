/*
   Outer loop: iterative refinement with fresh residuals, judged by the Karlson-Walden backward-error estimate.
   Inner loop: SPIR (conjugate gradients), FOSSILS (heavy ball) or LSQR on the preconditioned problem
     (N'(A'A + lambda) N) y = N'(A'r - lambda x),   x <- x + N y
   References: Epperly, Meier & Nakatsukasa, "Fast randomized least-squares solvers can be just as accurate and stable as classical
   direct solvers", arXiv 2406.03468; Meier, Nakatsukasa, Townsend & Webb, arXiv 2302.07202.

   All vectors of length d are replicated; a step has one reduction. Which columns stop is voted by process 0 inside that reduction,
   so that replicated numbers that differ in a last bit cannot send two processes different ways.
*/
#include "lssolve.hpp"
#include "lsqkernels.hpp"
#include "twofoldkernels.hpp"
#include <skean/private/random.hpp>
#include <skean/private/reduce.hpp>
#include <skean/private/lapack.hpp>
#include <algorithm>
#include <cfloat>
#include <cmath>

namespace skean {

namespace {
const double Unit                  = DBL_EPSILON / 2;
const int    InnerLimit            = 100;
const double TwofoldThreshold      = 1e-8;  /* u cond(A) from which extra-precise refinement is worth its cost */
const double TwofoldThresholdSmall = 1e-12; /* the same where the cost is microseconds: */
const double SmallProblem          = 1e4;   /* at most so many entries, zeros included */
const double FullAccuracy          = 1e-14; /* a larger rtol asks for less than there is */

double Norm(PetscInt n, const double *x)
{
  double big = 0.0;
  for (PetscInt i = 0; i < n; ++i) {
    if (std::isnan(x[i])) return x[i];
    big = std::max(big, std::fabs(x[i]));
  }
  if (big == 0.0 || !std::isfinite(big)) return big;
  double s = 0.0;
  for (PetscInt i = 0; i < n; ++i) s += (x[i] / big) * (x[i] / big);
  return big * std::sqrt(s);
}
double Dot(PetscInt n, const double *x, const double *y)
{
  double s = 0.0;
  for (PetscInt i = 0; i < n; ++i) s += x[i] * y[i];
  return s;
}

/* One least-squares solve of q columns; the members are what its parts share */
class Solver {
public:
  Solver(MPI_Comm comm_, const RowView &A_, LSPrecond &N_, const LSSolveOptions &o_, PetscInt q_, double *X_, std::vector<LSColumn> &col_, PetscInt *passes_)
      : comm(comm_), A(A_), N(N_), o(o_), q(q_), d(A_.ncols), k(N_.Rank()), X(X_), col(col_), passes(*passes_)
  {
  }
  PetscErrorCode Residuals(const double *B, PetscInt ldb, double *R, bool atzero);
  PetscErrorCode Judge();
  PetscErrorCode InnerCG(int loop);
  PetscErrorCode InnerHeavyBall(bool *diverged);
  PetscErrorCode InnerLSQR(const double *R);
  PetscErrorCode Direct();
  PetscErrorCode RefineTwofold(const double *B, PetscInt ldb);
  bool           Active(PetscInt j) const { return col[j].reason == KSP_CONVERGED_ITERATING; }
  double         Lambda(PetscInt j) const { return o.ridge.empty() ? 0.0 : o.ridge[o.ridge.size() == 1 ? 0 : j]; }

  std::vector<double> G; /* A'R - lambda X, d x q */
  PetscInt            Outer = 0;

private:
  PetscErrorCode Product(const std::vector<PetscInt> &act, const double *P, double *MP, FlaggedSum &sum, std::vector<char> &frozen, std::vector<char> &agreed,
                         bool *failed);
  void           Collect(const std::vector<PetscInt> &act, std::vector<double> &C) const;
  void           Accept(const std::vector<PetscInt> &act, const std::vector<double> &Y);
  void           Current(const double *y, double *x);
  PetscErrorCode TwofoldResiduals(const double *B, PetscInt ldb);
  bool           WorthTwofold(PetscInt j) const;
  /* |N'A'r| at which an inner iteration for an x of this norm has reached the backward error that is asked for */
  double                 InnerTarget(PetscInt j, double xn) const { return 0.25 * std::max(o.rtol / 10, Unit) * xn * FrobeniusNorm(j); }
  double                 XNorm(PetscInt j) const { return Norm(d, X + static_cast<size_t>(j) * d); }
  double                 ScaledXNorm(PetscInt j) const { return N.UnitXNorm(X + static_cast<size_t>(j) * d, Lambda(j)); }
  double                 FrobeniusNorm(PetscInt j) const { return N.UnitNormF(Lambda(j)); }
  MPI_Comm               comm;
  const RowView         &A;
  LSPrecond             &N;
  const LSSolveOptions  &o;
  PetscInt               q, d, k;
  double                *X;
  std::vector<LSColumn> &col;
  PetscInt              &passes;
  std::vector<char>      worth;         /* process 0's WorthTwofold() of each column, from Judge() */
  std::vector<double>    Xlo;           /* d x q during extra-precise refinement: the solution is X + Xlo */
  double                 reduction = 1; /* then conjugate gradients reduce N'G to this fraction at least */
};

/* r = b - A x afresh, G = A'r - lambda x and |r|: one pass, one reduction */
PetscErrorCode Solver::Residuals(const double *B, PetscInt ldb, double *R, bool atzero)
{
  FlaggedSum sum(static_cast<size_t>(d) * q + q);

  PetscFunctionBegin;
  std::vector<double> rr;
  PetscCallCXX(rr.assign(q, 0.0));
  ResidualPass(A, B, ldb, atzero ? nullptr : X, static_cast<int>(q), R, sum.Data(), rr.data());
  for (PetscInt j = 0; j < q; ++j) sum[static_cast<size_t>(d) * q + j] = rr[j];
  PetscCall(sum.Reduce(comm, false, nullptr)); /* a column's failure is in its numbers: Judge() */
  passes++;
  PetscCall(PetscLogFlops((atzero ? 2.0 : 4.0) * A.Entries() * q));
  PetscCallCXX(G.assign(sum.Data(), sum.Data() + static_cast<size_t>(d) * q));
  for (PetscInt j = 0; j < q; ++j) {
    double *g = G.data() + static_cast<size_t>(j) * d, r2 = sum[static_cast<size_t>(d) * q + j];
    if (Lambda(j) != 0.0) {
      for (PetscInt i = 0; i < d; ++i) g[i] -= Lambda(j) * X[i + static_cast<size_t>(j) * d];
      r2 += Lambda(j) * XNorm(j) * XNorm(j); /* the residual of [A; sqrt(lambda) I] */
    }
    col[j].rnorm = std::sqrt(r2);
    col[j].anorm = Norm(d, g);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   Reasons and backward errors from the fresh residuals, in the coordinates of unit columns (A stands for A D here, x for D^{-1} x, or
   with a ridge [A; sqrt(lambda) I] D_l and D_l^{-1} x): Householder QR is backward stable column by column (Higham, Accuracy and Stability, theorem 20.3), which |A|_F of a badly scaled
   matrix does not see. The estimate is the smallest of three bounds on the perturbation E of A for which x is an exact solution,
   relative to |A|_F:
     |r| / |x|                                             E = r x'/|x|^2 makes x solve the system exactly
     |A'r| / |r|                                           E = -r (A'r)'/|r|^2 (Stewart 1977)
     (omega/|r|) |(A'A + omega^2)^{-1/2} A'r|, omega=|r|/|x|   Karlson & Walden 1997, eq. 2.1
*/
PetscErrorCode Solver::Judge()
{
  std::vector<double> verdict;

  PetscFunctionBegin;
  PetscCallCXX(verdict.resize(3 * static_cast<size_t>(q)));
  /* columns of like |r|/|x| next to each other: WaldenNorm() keeps its last factor */
  std::vector<PetscInt> order;
  std::vector<double>   ratio, hat;
  PetscCallCXX(ratio.resize(q));
  if (N.OnPath()) { /* all columns at once: a reflection of one column at a time costs more than the column */
    PetscCallCXX(hat = G);
    PetscCallCXX(N.Ridge().ToBasis(hat.data(), q));
  }
  for (PetscInt j = 0; j < q; ++j) {
    const double xn = ScaledXNorm(j);
    ratio[j]        = std::isfinite(xn) && xn > 0 && std::isfinite(col[j].rnorm) ? col[j].rnorm / xn : -1.0; /* a NaN would not sort */
    if (Active(j)) PetscCallCXX(order.push_back(j));
  }
  std::sort(order.begin(), order.end(), [&](PetscInt i, PetscInt j) { return ratio[i] != ratio[j] ? ratio[i] < ratio[j] : i < j; });
  for (PetscInt j : order) {
    LSColumn    &c      = col[j];
    const double before = c.backward, xn = ScaledXNorm(j), fro = FrobeniusNorm(j);
    if (!std::isfinite(c.rnorm) || !std::isfinite(c.anorm) || !std::isfinite(xn)) {
      c.reason = KSP_DIVERGED_NANORINF;
      continue;
    }
    const double *g   = G.data() + static_cast<size_t>(j) * d;
    const double  aim = std::max(o.rtol / 10, Unit);
    double        gn = N.UnitGradientNorm(g, Lambda(j)), scale = fro;
    if (N.ConstraintBasis()) { /* only the part of A'r along the feasible directions counts, in scaled coordinates */
      std::vector<double> y(k);
      N.ApplyT(g, y.data(), 1, &j);
      gn         = Norm(k, y.data());
      scale      = 1.0;
      c.backward = c.rnorm > 0 ? gn / std::max(c.rnorm, N.ScaledNorm() * ScaledXNorm(j)) : 0.0;
    } else {
      c.backward = c.rnorm == 0.0 || gn == 0.0 ? 0.0 : PETSC_MAX_REAL; /* A'r = 0: nothing can be gained, A = 0 included */
      if (xn > 0 && c.backward > 0) c.backward = std::min(c.backward, c.rnorm / xn / scale);
      if (c.backward > 0) c.backward = std::min(c.backward, gn / c.rnorm / scale);
      if (c.backward > aim && xn > 0) { /* ridge: omega^2 joins lambda in the factor */
        double       value;
        const double omega   = c.rnorm / xn;
        bool         bounded = N.WaldenBound(omega, Lambda(j), hat.empty() ? nullptr : hat.data() + static_cast<size_t>(j) * d, &value);
        if (bounded) c.backward = std::min(c.backward, omega / c.rnorm * value / scale);
        /* where a cheap bound decides nothing, or another pass would follow for certain, the factorisation is left out */
        const bool last = Outer >= o.refine || passes >= o.max_it || (before >= 0 && c.backward > 0.5 * before);
        if (!bounded || (c.backward > aim && last)) {
          PetscCall(N.WaldenNorm(omega, Lambda(j), g, &value));
          c.backward = std::min(c.backward, omega / c.rnorm * value / scale);
        }
      }
    }
    if (c.rnorm <= o.abstol)
      c.reason = KSP_CONVERGED_ATOL;
    else if (c.backward <= aim)
      c.reason = KSP_CONVERGED_RTOL;
    else if (before >= 0 && c.backward > 0.5 * before) { /* no further gain */
      if (c.backward <= o.rtol)
        c.reason = KSP_CONVERGED_RTOL;
      else if (Outer >= 3)
        c.reason = KSP_DIVERGED_BREAKDOWN;
    }
    if (c.reason == KSP_CONVERGED_ITERATING && (Outer >= o.refine || passes >= o.max_it))
      c.reason = c.backward <= o.rtol ? KSP_CONVERGED_RTOL : KSP_DIVERGED_ITS;
  }
  /* process 0's verdict is everyone's */
  PetscCallCXX(worth.resize(q));
  for (PetscInt j = 0; j < q; ++j) {
    verdict[3 * j]     = col[j].reason;
    verdict[3 * j + 1] = col[j].backward;
    verdict[3 * j + 2] = WorthTwofold(j);
  }
  PetscCallMPI(MPI_Bcast(verdict.data(), static_cast<int>(verdict.size()), MPI_DOUBLE, 0, comm));
  for (PetscInt j = 0; j < q; ++j) {
    col[j].reason   = static_cast<KSPConvergedReason>(static_cast<int>(verdict[3 * j]));
    col[j].backward = verdict[3 * j + 1];
    worth[j]        = verdict[3 * j + 2] != 0.0;
  }
  if (o.monitor) PetscCall(o.monitor(passes, col[0].rnorm, col[0].backward, [&](double *x) { Current(nullptr, x); }));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* C (k x active) = N'G of the active columns */
void Solver::Collect(const std::vector<PetscInt> &act, std::vector<double> &C) const
{
  std::vector<double> g(static_cast<size_t>(d) * act.size());
  C.assign(static_cast<size_t>(k) * act.size(), 0.0);
  for (size_t a = 0; a < act.size(); ++a)
    std::copy(G.begin() + static_cast<size_t>(act[a]) * d, G.begin() + static_cast<size_t>(act[a] + 1) * d, g.begin() + a * d);
  N.ApplyT(g.data(), C.data(), static_cast<PetscInt>(act.size()), act.data());
}

/* X += N Y for the active columns */
/* The first column, and N y if an inner solver is on the way with it */
void Solver::Current(const double *y, double *x)
{
  const PetscInt first = 0;
  if (y)
    N.Apply(y, x, 1, &first);
  else
    std::fill(x, x + d, 0.0);
  for (PetscInt i = 0; i < d; ++i) x[i] += X[i];
}

void Solver::Accept(const std::vector<PetscInt> &act, const std::vector<double> &Y)
{
  std::vector<double> x(static_cast<size_t>(d) * act.size());
  N.Apply(Y.data(), x.data(), static_cast<PetscInt>(act.size()), act.data());
  for (size_t a = 0; a < act.size(); ++a) {
    double *xa = X + static_cast<size_t>(act[a]) * d;
    if (Xlo.empty())
      for (PetscInt i = 0; i < d; ++i) xa[i] += x[a * d + i];
    else
      AddToTwofold(d, xa, Xlo.data() + static_cast<size_t>(act[a]) * d, x.data() + a * d);
  }
}

/*
   MP = N'(A'A + lambda) N P for the listed columns: one pass, one reduction, which also carries process 0's list of columns to stop, and whether
   some column failed (which one: by its numbers)
*/
PetscErrorCode Solver::Product(const std::vector<PetscInt> &act, const double *P, double *MP, FlaggedSum &sum, std::vector<char> &frozen,
                               std::vector<char> &agreed, bool *failed)
{
  const PetscInt      w  = static_cast<PetscInt>(act.size());
  const size_t        dw = static_cast<size_t>(d) * w;
  std::vector<double> V;
  PetscMPIInt         rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallCXX(V.resize(dw));
  N.Apply(P, V.data(), w, act.data());
  sum.Zero();
  GramApply(A, V.data(), static_cast<int>(w), sum.Data());
  if (!rank)
    for (PetscInt a = 0; a < w; ++a) sum[dw + a] = frozen[a];
  PetscCall(sum.Reduce(comm, !AllFinite(sum.Data(), dw), failed));
  passes++;
  PetscCall(PetscLogFlops(4.0 * A.Entries() * w));
  PetscCallCXX(agreed.resize(w));
  for (PetscInt a = 0; a < w; ++a) {
    agreed[a] = sum[dw + a] != 0.0;
    if (Lambda(act[a]) != 0.0)
      for (PetscInt i = 0; i < d; ++i) sum[static_cast<size_t>(a) * d + i] += Lambda(act[a]) * V[static_cast<size_t>(a) * d + i];
  }
  N.ApplyT(sum.Data(), MP, w, act.data());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* SPIR's inner solver: CG from y = 0 (its first step is the best multiple of c = N'A'r) */
PetscErrorCode Solver::InnerCG(int loop)
{
  std::vector<PetscInt> act, all;
  std::vector<double>   C, Y, P, MP, rho, c0, floorstep, xn, Yall, best;
  std::vector<char>     frozen, agreed;

  PetscFunctionBegin;
  for (PetscInt j = 0; j < q; ++j)
    if (Active(j)) act.push_back(j);
  all = act;
  PetscCallCXX(Collect(act, C)); /* the residual of the normal equations at y = 0 */
  PetscInt w = static_cast<PetscInt>(act.size());
  PetscCallCXX(Y.assign(static_cast<size_t>(k) * w, 0.0));
  PetscCallCXX(Yall.assign(static_cast<size_t>(k) * w, 0.0));
  P = C;
  std::vector<PetscInt> where(w); /* position of the column in `all` */
  rho.resize(w), c0.resize(w), floorstep.resize(w), xn.resize(w), best.resize(w);
  frozen.assign(w, 0);
  for (PetscInt a = 0; a < w; ++a) {
    where[a]                = a;
    rho[a]                  = Dot(k, &C[static_cast<size_t>(a) * k], &C[static_cast<size_t>(a) * k]);
    c0[a]                   = std::sqrt(rho[a]);
    best[a]                 = c0[a];
    const LSColumn &s       = col[act[a]];
    const double    scaledx = ScaledXNorm(act[a]);
    /* first loop: nothing is gained below the accuracy that a refinement step can have (2406.03468, section 3.4) */
    floorstep[a] = loop == 0 ? 10 * Unit * (N.ScaledNorm() * scaledx + 0.04 * N.Condition() * s.rnorm) : 0.1 * Unit * N.ScaledNorm() * scaledx;
    xn[a]        = std::max(ScaledXNorm(act[a]), c0[a] / FrobeniusNorm(act[a]));
    if (rho[a] == 0.0) frozen[a] = 1;
  }
  for (int it = 0; it < InnerLimit && w > 0 && passes < o.max_it; ++it) {
    FlaggedSum sum(static_cast<size_t>(d) * w + w);
    bool       failed;
    PetscCallCXX(MP.resize(static_cast<size_t>(k) * w));
    PetscCall(Product(act, P.data(), MP.data(), sum, frozen, agreed, &failed));
    for (PetscInt a = 0; a < w; ++a) {
      if (failed && !AllFinite(sum.Data() + static_cast<size_t>(a) * d, d)) agreed[a] = frozen[a] = 1; /* without this step */
      double *p = &P[static_cast<size_t>(a) * k], *mp = &MP[static_cast<size_t>(a) * k], *y = &Y[static_cast<size_t>(a) * k],
             *c        = &C[static_cast<size_t>(a) * k];
      const double pmp = Dot(k, p, mp);
      if (!(pmp > 0.0) || !std::isfinite(pmp) || rho[a] == 0.0) { /* nothing more to gain, or NaN: the fresh residual judges */
        frozen[a] = 1;
        continue;
      }
      const double alpha = rho[a] / pmp;
      for (PetscInt i = 0; i < k; ++i) {
        y[i] += alpha * p[i];
        c[i] -= alpha * mp[i];
      }
      const double step = alpha * Norm(k, p), next = Dot(k, c, c), beta = next / rho[a];
      for (PetscInt i = 0; i < k; ++i) p[i] = c[i] + beta * p[i];
      rho[a]           = next;
      const double res = std::sqrt(next);
      best[a]          = std::min(best[a], res);
      const bool small = Xlo.empty() ? res <= InnerTarget(act[a], xn[a]) || step <= floorstep[a] || res <= 0.25 * Unit * c0[a]
                                     : res <= InnerTarget(act[a], xn[a]) && res <= reduction * c0[a];
      if (small || res > 1e3 * best[a]) frozen[a] = 1;
    }
    /* the first column may be one of those that are through */
    const double *first = all[0] != 0 ? nullptr : act[0] == 0 ? Y.data() : Yall.data();
    if (o.monitor) PetscCall(o.monitor(passes, col[0].rnorm, -1.0, [&](double *x) { Current(first, x); }));
    /* compress: the columns that process 0 had asked to stop have made their last step */
    PetscInt to = 0;
    for (PetscInt a = 0; a < w; ++a) {
      if (agreed[a]) {
        std::copy(Y.begin() + static_cast<size_t>(a) * k, Y.begin() + static_cast<size_t>(a + 1) * k, Yall.begin() + static_cast<size_t>(where[a]) * k);
        continue;
      }
      if (to != a) {
        act[to] = act[a], where[to] = where[a], rho[to] = rho[a], c0[to] = c0[a], floorstep[to] = floorstep[a], xn[to] = xn[a], frozen[to] = frozen[a],
        best[to] = best[a];
        for (std::vector<double> *f : {&Y, &P, &C})
          std::copy(f->begin() + static_cast<size_t>(a) * k, f->begin() + static_cast<size_t>(a + 1) * k, f->begin() + static_cast<size_t>(to) * k);
      }
      ++to;
    }
    w = to;
    act.resize(w), where.resize(w), rho.resize(w), c0.resize(w), floorstep.resize(w), xn.resize(w), frozen.resize(w), best.resize(w);
    Y.resize(static_cast<size_t>(k) * w), P.resize(Y.size()), C.resize(Y.size());
  }
  for (PetscInt a = 0; a < w; ++a)
    std::copy(Y.begin() + static_cast<size_t>(a) * k, Y.begin() + static_cast<size_t>(a + 1) * k, Yall.begin() + static_cast<size_t>(where[a]) * k);
  PetscCallCXX(Accept(all, Yall));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   FOSSILS' inner solver: y_{i+1} = y_i + (1-beta)^2 (c - M y_i) + beta (y_i - y_{i-1}), beta = k/m; no inner products.
   Diverges if the distortion of the sketch is larger than sqrt(k/m) says: the caller then turns to CG.
*/
PetscErrorCode Solver::InnerHeavyBall(bool *diverged)
{
  std::vector<PetscInt> act;
  std::vector<double>   C, Y, Yold, M, first, last;
  std::vector<char>     frozen, agreed;
  double                beta = static_cast<double>(k) / N.SketchRows();

  PetscFunctionBegin;
  *diverged = false;
  beta      = std::min(beta, 0.9);
  for (PetscInt j = 0; j < q; ++j)
    if (Active(j)) act.push_back(j);
  const PetscInt w = static_cast<PetscInt>(act.size());
  PetscCallCXX(Collect(act, C));
  PetscCallCXX(Y.assign(C.size(), 0.0));
  Yold = Y;
  frozen.assign(w, 0);
  first.assign(w, 0.0);
  last.assign(w, 0.0);
  PetscCallCXX(M.resize(C.size()));
  FlaggedSum sum(static_cast<size_t>(d) * w + w);
  bool       bad = false, badagreed = false;
  for (int it = 0; it < InnerLimit && w > 0 && passes < o.max_it; ++it) {
    bool done = it > 0;
    for (PetscInt a = 0; a < w; ++a) done = done && frozen[a];
    std::vector<char> vote(w, done || bad ? 1 : 0);
    bool              failed;
    PetscCall(Product(act, Y.data(), M.data(), sum, vote, agreed, &failed));
    if (failed) { /* conjugate gradients drop the column alone */
      *diverged = true;
      PetscFunctionReturn(PETSC_SUCCESS);
    }
    for (PetscInt a = 0; a < w; ++a) {
      double step = 0.0;
      for (PetscInt i = 0; i < k; ++i) {
        const size_t e     = static_cast<size_t>(a) * k + i;
        const double delta = (1 - beta) * (1 - beta) * (C[e] - M[e]) + beta * (Y[e] - Yold[e]);
        Yold[e]            = Y[e];
        Y[e] += delta;
        step += delta * delta;
      }
      step = std::sqrt(step);
      if (it == 0) first[a] = step;
      if (!(step <= 10 * first[a]) && it > 3) bad = true;
      const LSColumn &s = col[act[a]];
      frozen[a]         = step <= 0.1 * Unit * N.ScaledNorm() * ScaledXNorm(act[a]) || step <= Unit * first[a] ||
                  (Outer == 0 && step <= 10 * Unit * 0.04 * N.Condition() * s.rnorm);
      last[a] = step;
    }
    if (o.monitor) PetscCall(o.monitor(passes, col[0].rnorm, -1.0, [&](double *x) { Current(act[0] == 0 ? Y.data() : nullptr, x); }));
    if (agreed[0]) {
      badagreed = bad;
      break;
    }
  }
  int b = badagreed || bad;
  PetscCallMPI(MPI_Bcast(&b, 1, MPI_INT, 0, comm));
  *diverged = b != 0;
  if (!*diverged) PetscCallCXX(Accept(act, Y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   LSQR (Paige & Saunders 1982) on min |[A; sqrt(lambda)] N y - [r; -sqrt(lambda) x]|, one reduction per step: u is kept
   unnormalised, and its norm and A'u come in the same sum.
*/
PetscErrorCode Solver::InnerLSQR(const double *R)
{
  std::vector<PetscInt> act;

  PetscFunctionBegin;
  for (PetscInt j = 0; j < q; ++j)
    if (Active(j)) act.push_back(j);
  for (PetscInt j : act) { /* one column at a time: the long vectors u are this method's memory */
    const double        root = std::sqrt(Lambda(j));
    std::vector<double> U, ub, c, v, wv, y, x;
    PetscCallCXX(U.assign(R + static_cast<size_t>(j) * A.nrows, R + static_cast<size_t>(j + 1) * A.nrows));
    PetscCallCXX(ub.resize(d)); /* the part of u along sqrt(lambda) I, replicated */
    for (PetscInt i = 0; i < d; ++i) ub[i] = -root * X[i + static_cast<size_t>(j) * d];
    PetscCallCXX(c.resize(k));
    PetscCallCXX(y.assign(k, 0.0));
    PetscCallCXX(x.resize(d));
    double beta = col[j].rnorm, alpha, rhobar, phibar;
    N.ApplyT(G.data() + static_cast<size_t>(j) * d, c.data(), 1, &j); /* N'A'u beta */
    for (double &e : c) e /= beta;
    alpha = Norm(k, c.data());
    v     = c;
    for (double &e : v) e /= alpha;
    /* nothing to gain, or nothing that can be: found in replicated numbers, so all processes leave the loop together, at the flag of the next pass */
    bool broken            = !(beta > 0.0) || !(alpha > 0.0) || !AllFinite(v.data(), v.size());
    wv                     = v;
    rhobar                 = alpha;
    phibar                 = beta;
    const double floorstep = Unit * (N.ScaledNorm() * ScaledXNorm(j) * (Outer ? 0.1 : 10) + (Outer ? 0 : 0.4 * N.Condition() * col[j].rnorm)),
                 start     = alpha * beta;
    bool stop = false, agreed = false, failed = false;
    for (int it = 0; it < InnerLimit && passes < o.max_it && !agreed; ++it) {
      FlaggedSum sum(d + 1);
      N.Apply(v.data(), x.data(), 1, &j);
      const double f = alpha / beta; /* U holds beta u */
      BidiagonalPass(A, x.data(), &f, 1, U.data(), sum.Data(), &sum[d]);
      PetscCall(sum.Reduce(comm, broken || !AllFinite(sum.Data(), sum.Size()), &failed, stop, &agreed));
      passes++;
      PetscCall(PetscLogFlops(4.0 * A.Entries()));
      if (failed) break;
      if (root != 0.0)
        for (PetscInt i = 0; i < d; ++i) {
          ub[i] = root * x[i] - f * ub[i];
          sum[d] += ub[i] * ub[i];
          sum[i] += root * ub[i];
        }
      beta = std::sqrt(sum[d]);
      if (!(beta > 0.0) || !std::isfinite(beta)) {
        broken = true;
        continue;
      }
      N.ApplyT(sum.Data(), c.data(), 1, &j);
      for (PetscInt i = 0; i < k; ++i) c[i] = c[i] / beta - beta * v[i];
      alpha            = Norm(k, c.data());
      const double rho = std::hypot(rhobar, beta), cs = rhobar / rho, sn = beta / rho, theta = sn * alpha, phi = cs * phibar;
      rhobar = -cs * alpha;
      phibar *= sn;
      for (PetscInt i = 0; i < k; ++i) y[i] += phi / rho * wv[i];
      const double step = std::fabs(phi / rho) * Norm(k, wv.data());
      if (!(alpha > 0.0) || !std::isfinite(alpha)) {
        broken = true;
        continue;
      }
      for (PetscInt i = 0; i < k; ++i) {
        v[i]  = c[i] / alpha;
        wv[i] = v[i] - theta / rho * wv[i];
      }
      const double res = std::fabs(phibar * alpha * cs);
      stop             = step <= floorstep || res <= 0.25 * std::max(o.rtol / 10, Unit) * ScaledXNorm(j) * FrobeniusNorm(j) || res <= Unit * start;
      if (o.monitor) PetscCall(o.monitor(passes, phibar, -1.0, [&](double *z) { Current(j == 0 ? y.data() : nullptr, z); }));
    }
    PetscCallCXX(Accept({j}, y));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* R is A's own factor: the preconditioned matrix is orthonormal and y = N'A'r solves the problem to rounding */
PetscErrorCode Solver::Direct()
{
  std::vector<PetscInt> act;
  std::vector<double>   C;

  PetscFunctionBegin;
  for (PetscInt j = 0; j < q; ++j)
    if (Active(j)) act.push_back(j);
  PetscCallCXX(Collect(act, C));
  PetscCallCXX(Accept(act, C));
  PetscFunctionReturn(PETSC_SUCCESS);
}
/* G = A'(b - A (X + Xlo)) - lambda (X + Xlo) in twofold precision, then rounded: one pass, one reduction */
PetscErrorCode Solver::TwofoldResiduals(const double *B, PetscInt ldb)
{
  const size_t        dq = static_cast<size_t>(d) * q;
  TwofoldSum          sum(dq + q);
  std::vector<double> rr;

  PetscFunctionBegin;
  PetscCallCXX(rr.assign(q, 0.0));
  TwofoldResidualPass(A, B, ldb, X, Xlo.data(), static_cast<int>(q), sum.Data(), rr.data());
  for (PetscInt j = 0; j < q; ++j) sum.Hi(dq + j) = rr[j];
  PetscCall(sum.Reduce(comm, false, nullptr)); /* a column's failure is in its numbers: the verdict on the rounded solution */
  passes++;
  PetscCall(PetscLogFlops(22.0 * A.Entries() * q));
  for (PetscInt j = 0; j < q; ++j) {
    const size_t at = static_cast<size_t>(j) * d;
    if (Lambda(j) != 0.0) TwofoldSubtractScaled(d, Lambda(j), X + at, Xlo.data() + at, sum.Data() + 2 * at);
    for (PetscInt i = 0; i < d; ++i) G[at + i] = sum.Hi(at + i);
    col[j].rnorm = std::sqrt(sum.Hi(dq + j) + Lambda(j) * XNorm(j) * XNorm(j));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   A backward stable solution has a forward error of at least about u kappa |x|. Of interest if more than half of the digits are at stake
   and the user asked for all that there are.
*/
bool Solver::WorthTwofold(PetscInt j) const
{
  if (col[j].reason <= 0 || o.precise == KSP_SKETCH_EXTRA_PRECISE_NO || N.Rank() < N.FreeColumns()) return false;
  if (o.precise == KSP_SKETCH_EXTRA_PRECISE_YES) return true;
  return o.ridge.size() <= 1 /* a path has no one condition number */ && col[j].reason == KSP_CONVERGED_RTOL && o.rtol <= FullAccuracy &&
         Unit * N.Condition() > (static_cast<double>(A.nglobal) * d <= SmallProblem ? TwofoldThresholdSmall : TwofoldThreshold);
}

/*
   Extra-precise iterative refinement of converged solutions (Demmel, Hida, Riedy & Li, ACM TOMS 35, 2009), for the normal equations
   rather than the augmented system: r is never rounded to working precision, so nothing is lost. With x carried as a pair the error is
   multiplied by about u kappa + reduction a loop, down to u |x| + (u kappa)^2 |x|, while u kappa < 1. |N'g| = |A (x - x*)| up to the
   distortion of the sketch: a step that enlarges it is taken back.
*/
PetscErrorCode Solver::RefineTwofold(const double *B, PetscInt ldb)
{
  const double          twofold = 2.5; /* the cost of a twofold pass in passes, assumed */
  const double          rate = 0.5 * std::log(std::max(1.5, static_cast<double>(N.SketchRows()) / std::max<PetscInt>(k, 1))); /* a step divides by exp(rate) */
  const bool            bounded = o.precise == KSP_SKETCH_EXTRA_PRECISE_AUTO;
  std::vector<LSColumn> found;
  std::vector<double>   start, keep, keeplo, before, c, vote;
  std::vector<char>     refined;

  PetscFunctionBegin;
  if (std::find(worth.begin(), worth.end(), 1) == worth.end()) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallCXX(vote.assign(q, 0.0));
  PetscCallCXX(found = col);
  PetscCallCXX(start.assign(X, X + static_cast<size_t>(d) * q));
  PetscCallCXX(Xlo.assign(start.size(), 0.0));
  PetscCallCXX(before.assign(q, PETSC_MAX_REAL));
  PetscCallCXX(c.resize(k));
  PetscCallCXX(refined = worth);
  reduction         = std::max(bounded ? 1e-4 : 1e-8, std::min(0.1, Unit * N.Condition()));
  double     budget = std::max<double>(passes, 16); /* what is left of it, in passes */
  const auto copy   = [&](PetscInt j, const std::vector<double> &from, double *to) {
    std::copy(from.begin() + static_cast<size_t>(j) * d, from.begin() + static_cast<size_t>(j + 1) * d, to + static_cast<size_t>(j) * d);
  };
  for (PetscInt j = 0; j < q; ++j) col[j].reason = refined[j] ? KSP_CONVERGED_ITERATING : KSP_CONVERGED_RTOL;
  for (int loop = 0; passes < o.max_it; ++loop) {
    PetscCall(TwofoldResiduals(B, ldb));
    budget -= twofold;
    const double left = budget - twofold - 1; /* after the check of another step, and the last verdict */
    for (PetscInt j = 0; j < q; ++j) {
      vote[j] = 0; /* 1: done, 2: done and the last step is taken back */
      if (!Active(j)) continue;
      N.ApplyT(G.data() + static_cast<size_t>(j) * d, c.data(), 1, &j);
      const double h = Norm(k, c.data());
      if (loop && !(h <= before[j]))
        vote[j] = 2;
      else if (h * N.Condition() <= 0.1 * Unit * N.ScaledNorm() * N.UnitXNorm(X + static_cast<size_t>(j) * d, 0.0) ||
               (loop && h > 0.5 * before[j])) /* |D^{-1}(x - x*)| <= |R^{-1}| h */
        vote[j] = 1;
      else if (loop >= 20 || (bounded && (N.Exact() ? loop >= 2 : left < std::log(h / std::min(reduction * h, InnerTarget(j, ScaledXNorm(j)))) / rate)))
        vote[j] = 1; /* corrections are made whole or not at all: one that is cut short enlarges A'r along large singular values */
      before[j] = h;
    }
    PetscCallMPI(MPI_Bcast(vote.data(), static_cast<int>(q), MPI_DOUBLE, 0, comm));
    bool any = false;
    for (PetscInt j = 0; j < q; ++j) {
      if (vote[j] == 2.0) {
        copy(j, keep, X);
        copy(j, keeplo, Xlo.data());
      }
      if (vote[j] != 0.0) col[j].reason = KSP_CONVERGED_RTOL;
      any = any || Active(j);
    }
    if (!any) break;
    PetscCallCXX(keep.assign(X, X + start.size()));
    PetscCallCXX(keeplo = Xlo);
    const PetscInt p0 = passes;
    if (N.Exact())
      PetscCall(Direct());
    else
      PetscCall(InnerCG(1));
    budget -= static_cast<double>(passes - p0);
  }
  /* the verdict of the rounded solution */
  for (PetscInt j = 0; j < q; ++j)
    if (refined[j]) {
      col[j].reason   = KSP_CONVERGED_ITERATING;
      col[j].backward = -1;
    }
  Outer = o.refine;
  PetscCall(Residuals(B, ldb, nullptr, false));
  PetscCall(Judge());
  for (PetscInt j = 0; j < q; ++j) {
    if (refined[j] && col[j].reason > 0) {
      const auto lo = Xlo.begin() + static_cast<size_t>(j) * d;
      PetscCallCXX(col[j].xlo.assign(lo, lo + d));
    } else {
      copy(j, start, X);
      col[j] = found[j];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

PetscErrorCode LSSolve(MPI_Comm comm, const RowView &A, SkeanSketch sketch, LSPrecond &N, const LSSolveOptions &o, const double *B, PetscInt ldb, PetscInt q,
                       double *X, std::vector<LSColumn> &col, PetscInt *passes)
{
  const PetscInt      d = A.ncols;
  std::vector<double> R;
  bool                atzero = !o.haveguess, heavyball = o.inner == KSP_SKETCH_HEAVYBALL && !N.Exact();

  PetscFunctionBegin;
  PetscCallCXX(col.assign(q, LSColumn()));
  *passes = 0;
  if (atzero) std::fill(X, X + static_cast<size_t>(d) * q, 0.0);
  Solver s(comm, A, N, o, q, X, col, passes);
  if (!N.Exact() && atzero) {
    /* the sketch-and-solve start: without it the method is not even forward stable (Meier et al. 2023) */
    std::vector<double> Y, rho2;
    std::vector<char>   finite;
    PetscCallCXX(Y.resize(static_cast<size_t>(N.Rank()) * q));
    PetscCallCXX(rho2.resize(q));
    PetscCallCXX(finite.resize(q));
    PetscCall(N.SketchSolve(sketch, A, B, ldb, q, Y.data(), rho2.data(), finite.data()));
    for (PetscInt j = 0; j < q; ++j) col[j].rho2 = rho2[j];
    PetscCallCXX(N.Apply(Y.data(), X, q));
    atzero = false;
  }
  if (o.inner == KSP_SKETCH_LSQR && !N.Exact()) PetscCallCXX(R.resize(static_cast<size_t>(A.nrows) * q));
  for (s.Outer = 0;; s.Outer++) {
    PetscCall(s.Residuals(B, ldb, R.empty() ? nullptr : R.data(), atzero));
    atzero = false;
    PetscCall(s.Judge());
    bool any = false;
    for (PetscInt j = 0; j < q; ++j) any = any || s.Active(j);
    if (!any) break;
    if (N.Exact())
      PetscCall(s.Direct());
    else if (heavyball) {
      bool diverged;
      PetscCall(s.InnerHeavyBall(&diverged));
      if (diverged) {
        PetscCall(PetscInfo(sketch, "Heavy ball diverges: the distortion of the sketch is larger than its sizes say; conjugate gradients instead\n"));
        heavyball = false;
        PetscCall(s.InnerCG(s.Outer));
      }
    } else if (o.inner == KSP_SKETCH_LSQR)
      PetscCall(s.InnerLSQR(R.data()));
    else
      PetscCall(s.InnerCG(s.Outer));
  }
  if (o.gradient)
    *o.gradient = std::move(s.G);
  else
    PetscCall(s.RefineTwofold(B, ldb));
  /* of all solutions of a rank-deficient problem the one of minimum norm */
  if (o.ridge.empty() || *std::max_element(o.ridge.begin(), o.ridge.end()) == 0.0) PetscCallCXX(N.RemoveNullSpace(X, q));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode LSJudge(MPI_Comm comm, const RowView &A, LSPrecond &N, const LSSolveOptions &o, PetscInt q, double *X, const std::vector<double> &G,
                       std::vector<LSColumn> &col)
{
  PetscInt passes = 0;

  PetscFunctionBegin;
  Solver s(comm, A, N, o, q, X, col, &passes);
  PetscCallCXX(s.G = G);
  PetscCall(s.Judge());
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode LSSketchAndSolve(const RowView &A, SkeanSketch sketch, LSPrecond &N, const double *B, PetscInt ldb, PetscInt q, double *X,
                                std::vector<LSColumn> &col)
{
  std::vector<double> Y, rho2;
  std::vector<char>   finite;

  PetscFunctionBegin;
  PetscCallCXX(col.assign(q, LSColumn()));
  PetscCallCXX(Y.resize(static_cast<size_t>(N.Rank()) * q));
  PetscCallCXX(rho2.resize(q));
  PetscCallCXX(finite.resize(q));
  PetscCall(N.SketchSolve(sketch, A, B, ldb, q, Y.data(), rho2.data(), finite.data()));
  PetscCallCXX(N.Apply(Y.data(), X, q));
  PetscCallCXX(N.RemoveNullSpace(X, q));
  for (PetscInt j = 0; j < q; ++j) {
    col[j].rho2   = rho2[j];
    col[j].rnorm  = std::sqrt(rho2[j]);
    col[j].reason = finite[j] ? KSP_CONVERGED_ITS : KSP_DIVERGED_NANORINF;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   x = At z with At'At z = b, by conjugate gradients preconditioned with N (At N well conditioned): N'At'At N y = N'r, x += At N y,
   refined with fresh residuals r = b - At'x. Judged by the normwise backward error |r| / (|A|_F |x| + |b|) (Rigal & Gaches 1967);
   the minimum-norm property holds because x is in the range of At by construction.
   For rank-deficient A the projected residual N'r decides, and x is the minimum-norm least-squares solution.
*/
PetscErrorCode LSMinimumNorm(MPI_Comm comm, const RowView &At, LSPrecond &N, const LSSolveOptions &o, const double *b, PetscInt q, double *x,
                             std::vector<LSColumn> &col, PetscInt *passes)
{
  const PetscInt      d = At.ncols, k = N.Rank(), nl = At.nrows;
  std::vector<double> z, dx, r, y, c, p, mp, v;

  PetscFunctionBegin;
  PetscCallCXX(col.assign(q, LSColumn()));
  *passes = 0;
  PetscCallCXX(z.resize(d));
  PetscCallCXX(dx.resize(nl));
  PetscCallCXX(v.resize(d));
  PetscCallCXX(mp.resize(k));
  for (PetscInt j = 0; j < q; ++j) {
    LSColumn     &s      = col[j];
    double       *xj     = x + static_cast<size_t>(j) * nl;
    const double *bj     = b + static_cast<size_t>(j) * d;
    const double  bn     = Norm(d, bj);
    double        before = PETSC_MAX_REAL;
    std::fill(xj, xj + nl, 0.0);
    for (PetscInt outer = 0; s.reason == KSP_CONVERGED_ITERATING; ++outer) {
      /* r = b - At'x and |x|, one pass */
      FlaggedSum sum(d + 1);
      double     xx = 0.0;
      ResidualPass(At, xj, std::max<PetscInt>(nl, 1), nullptr, 1, nullptr, sum.Data(), &xx);
      sum[d] = xx;
      bool failed;
      PetscCall(sum.Reduce(comm, !AllFinite(sum.Data(), sum.Size()), &failed));
      ++*passes;
      r.assign(bj, bj + d);
      for (PetscInt i = 0; i < d; ++i) r[i] -= sum[i];
      const double xn = std::sqrt(sum[d]), rn = Norm(d, r.data());
      PetscCallCXX(c.resize(k));
      N.ApplyT(r.data(), c.data(), 1);
      const double cn = Norm(k, c.data());
      s.rnorm         = rn;
      s.anorm         = cn;
      /* full rank: residual small. Deficient: its part in the range of A, measured as |N'r| against |x| */
      double be = bn == 0.0 && xn == 0.0 ? 0.0 : rn / (N.NormF() * xn + bn);
      if (k < d && xn > 0) be = std::min(be, cn / xn / std::max(1.0, N.Condition()));
      if (failed || !std::isfinite(rn) || !std::isfinite(xn))
        s.reason = KSP_DIVERGED_NANORINF;
      else if (bn == 0.0)
        s.reason = KSP_CONVERGED_ATOL;
      else if (outer > 0 && be <= std::max(o.rtol / 10, Unit))
        s.reason = KSP_CONVERGED_RTOL;
      else if (outer > 0 && be > 0.5 * before)
        s.reason = be <= o.rtol ? KSP_CONVERGED_RTOL : (outer > 3 ? KSP_DIVERGED_BREAKDOWN : KSP_CONVERGED_ITERATING);
      if (s.reason == KSP_CONVERGED_ITERATING && (outer > o.refine || *passes >= o.max_it)) s.reason = be <= o.rtol ? KSP_CONVERGED_RTOL : KSP_DIVERGED_ITS;
      s.backward = before = be;
      int verdict         = s.reason;
      PetscCallMPI(MPI_Bcast(&verdict, 1, MPI_INT, 0, comm));
      s.reason = static_cast<KSPConvergedReason>(verdict);
      if (o.monitor) PetscCall(o.monitor(*passes, rn, be, [&](double *now) { std::copy(x, x + nl, now); }));
      if (s.reason != KSP_CONVERGED_ITERATING) break;
      y.assign(k, 0.0);
      if (N.Exact())
        y = c;
      else {
        p                  = c;
        double       rho   = Dot(k, c.data(), c.data());
        const double start = std::sqrt(rho);
        bool         stop = false, agreed = false, broken = false;
        for (int it = 0; it < InnerLimit && *passes < o.max_it && !agreed; ++it) {
          FlaggedSum g(d);
          N.Apply(p.data(), v.data(), 1);
          GramApply(At, v.data(), 1, g.Data());
          PetscCall(g.Reduce(comm, broken || !AllFinite(g.Data(), d), &failed, stop, &agreed));
          ++*passes;
          if (failed) break;
          N.ApplyT(g.Data(), mp.data(), 1);
          const double pmp = Dot(k, p.data(), mp.data());
          if (!(pmp > 0.0)) {
            broken = true;
            continue;
          }
          const double alpha = rho / pmp;
          for (PetscInt i = 0; i < k; ++i) {
            y[i] += alpha * p[i];
            c[i] -= alpha * mp[i];
          }
          const double next = Dot(k, c.data(), c.data());
          for (PetscInt i = 0; i < k; ++i) p[i] = c[i] + next / rho * p[i];
          rho  = next;
          stop = std::sqrt(rho) <= Unit * start;
          if (o.monitor)
            PetscCall(o.monitor(*passes, rn, -1.0, [&](double *now) {
              std::copy(x, x + nl, now);
              if (j) return;
              N.Apply(y.data(), z.data(), 1);
              MultiplyPass(At, z.data(), 1, dx.data());
              for (PetscInt i = 0; i < nl; ++i) now[i] += dx[i];
            }));
        }
      }
      N.Apply(y.data(), z.data(), 1);
      MultiplyPass(At, z.data(), 1, dx.data());
      for (PetscInt i = 0; i < nl; ++i) xj[i] += dx[i];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   Rounding. A product (A N)'(A N) v, |v| = 1, is wrong by at most
     E1 = (2 top solve + sqrt(top) (gamma_{d+1} + gamma_K) F inverse),   F = |A D|_F, top >= |A N|^2
   (N and N' with relative errors `solve`, the rows of A times a vector, and sums of K numbers one after the other in A' times a vector). In twofold
   precision, which is used where this matters, 2 u takes the place of gamma_{d+1} + gamma_K. Lanczos with full reorthogonalisation is then exact for a
   matrix within 2 sqrt(steps) E1 (its defects as columns, made symmetric) of (A N)'(A N); that much is taken off, twice for what the
   orthogonalisation adds.
*/
PetscErrorCode LSSmallestEigenvalue(MPI_Comm comm, const RowView &A, const LSPrecond &N, double ridge, SkeanSeed seed, double delta, double inverse,
                                    double *bound)
{
  const PetscInt      k = N.Rank(), d = A.ncols;
  const bool          twofold = Unit * N.Condition() > TwofoldThreshold;
  std::vector<double> Q, diag, off, v, w, x, zero;
  PetscMPIInt         size;

  PetscFunctionBegin;
  *bound = 0.0;
  if (!k) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Comm_size(comm, &size));
  if (twofold) PetscCallCXX(zero.resize(static_cast<size_t>(std::max<PetscInt>(A.nrows, 1))));
  /* P(relative error of the largest Ritz value > eps) <= 1.648 sqrt(k) exp(-sqrt(eps)(2 j - 1)); twice, for both ends: eps = 0.05 */
  const double eps   = 0.05;
  const int    steps = static_cast<int>(std::ceil(0.5 * (1 + std::log(2 * 1.648 * std::sqrt(static_cast<double>(k)) / delta) / std::sqrt(eps))));
  RandomStream stream(seed, Purpose::Certificate);
  PetscCallCXX(v.resize(k));
  PetscCallCXX(w.resize(k));
  PetscCallCXX(x.resize(d));
  for (PetscInt i = 0; i < k; ++i) v[i] = stream.Normal(i);
  double nv = Norm(k, v.data());
  for (double &e : v) e /= nv;
  bool invariant = false; /* process 0's is everyone's, at the next pass */
  for (int j = 0; j < std::min<PetscInt>(steps, k); ++j) {
    FlaggedSum g(d);
    bool       failed, agreed;
    PetscCallCXX(Q.insert(Q.end(), v.begin(), v.end()));
    N.Apply(v.data(), x.data(), 1);
    if (twofold) { /* A'(0 - A x) */
      TwofoldSum pairs(d);
      double     rr = 0.0;
      TwofoldResidualPass(A, zero.data(), A.nrows, x.data(), nullptr, 1, pairs.Data(), &rr);
      PetscCall(pairs.Reduce(comm, !AllFinite(pairs.Data(), 2 * static_cast<size_t>(d)), &failed, invariant, &agreed));
      for (PetscInt i = 0; i < d; ++i) g[i] = -pairs.Hi(i);
    } else {
      GramApply(A, x.data(), 1, g.Data());
      PetscCall(g.Reduce(comm, !AllFinite(g.Data(), d), &failed, invariant, &agreed));
    }
    if (failed) PetscFunctionReturn(PETSC_SUCCESS); /* nothing can be certified */
    if (agreed) break;
    if (ridge != 0.0)
      for (PetscInt i = 0; i < d; ++i) g[i] += ridge * x[i];
    N.ApplyT(g.Data(), w.data(), 1);
    diag.push_back(Dot(k, v.data(), w.data()));
    for (int pass = 0; pass < 2; ++pass) /* full reorthogonalisation, against all Lanczos vectors */
      for (int l = 0; l <= j; ++l) {
        const double f = Dot(k, &Q[static_cast<size_t>(l) * k], w.data());
        for (PetscInt i = 0; i < k; ++i) w[i] -= f * Q[static_cast<size_t>(l) * k + i];
      }
    const double beta = Norm(k, w.data());
    invariant         = !(beta > 1e-12 * std::fabs(diag[0]));
    off.push_back(beta);
    for (PetscInt i = 0; i < k; ++i) v[i] = beta > 0.0 ? w[i] / beta : 0.0;
  }
  PetscBLASInt n = static_cast<PetscBLASInt>(diag.size()), info = 0, ld = 1;
  off.resize(diag.size());
  std::vector<double> work(2 * diag.size() + 2);
  LAPACKsteqr_("N", &n, diag.data(), off.data(), nullptr, &ld, work.data(), &info);
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dsteqr: info %d", (int)info);
  const bool complete = static_cast<PetscInt>(diag.size()) >= k;
  /* the Ritz value at the top underestimates by at most eps; then the same of top*I - M, positive semidefinite */
  const double top   = complete ? diag.back() : diag.back() / (1 - eps);
  *bound             = complete ? diag.front() : top - (top - diag.front()) / (1 - eps);
  const auto   gamma = [](double n) { return n * Unit / (1 - n * Unit); };
  const double sums = twofold ? 2 * Unit : gamma(d + 1.0) + gamma(LongestSum(A, size)), solve = N.ApplyTError(inverse, 1.0, 1.0);
  double       F = 0.0;
  for (PetscInt i = 0; i < d; ++i) F = std::hypot(F, std::sqrt(ridge) * N.Scale()[i]);
  F = std::hypot(F, N.ScaledNormF());
  *bound -= 4 * std::sqrt(static_cast<double>(diag.size())) * (2 * top * solve + std::sqrt(top) * sums * F * inverse);
  *bound = std::isfinite(*bound) ? std::max(*bound, 0.0) : 0.0;
  PetscCallMPI(MPI_Bcast(bound, 1, MPI_DOUBLE, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

namespace {
/* Regularised incomplete beta function by its continued fraction (Lentz); DLMF 8.17.22 */
double IncompleteBeta(double a, double b, double x)
{
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - IncompleteBeta(b, a, 1 - x);
  const double tiny = 1e-300, front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x)) / a;
  double       f = 1, c = 1, dd = 0;
  for (int i = 0; i < 1000; ++i) {
    const int m = i / 2;
    double nu = i == 0 ? 1.0 : (i % 2 == 0 ? m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)) : -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)));
    dd        = 1 + nu * dd;
    if (std::fabs(dd) < tiny) dd = tiny;
    dd = 1 / dd;
    c  = 1 + nu / c;
    if (std::fabs(c) < tiny) c = tiny;
    f *= c * dd;
    if (std::fabs(1 - c * dd) < 1e-15) break;
  }
  return front * (f - 1);
}
} // namespace

double StudentQuantile(double tail, double nu)
{
  /* upper tail probability: P(T > t) = I_{nu/(nu+t^2)}(nu/2, 1/2) / 2 */
  double lo = 0, hi = 1;
  auto   upper = [&](double t) { return 0.5 * IncompleteBeta(nu / 2, 0.5, nu / (nu + t * t)); };
  if (tail >= 0.5) return 0;
  while (upper(hi) > tail && hi < 1e150) hi *= 2;
  for (int i = 0; i < 200 && hi - lo > 1e-15 * hi; ++i) {
    const double mid              = 0.5 * (lo + hi);
    (upper(mid) > tail ? lo : hi) = mid;
  }
  return hi;
}

} // namespace skean
