/*
   Posterior variance of the solution given the boundary values and the equation.

   Coefficients c = lift g + Z y of the basis have the prior N(0, s^2 diag(scale^2)), in several dimensions with the products of the scales. The equation A y = f - L lift g
   is taken with the deviation sigma of what the representation cannot satisfy: the root mean square of the residual at mid-points. s^2 is the mean
   of the squared coefficients over their prior variances, which maximises their likelihood.

   One dimension, exact: given the boundary values the prior leaves for y the precision Z' diag(scale^-2) Z / s^2. With

     X = [ diag(1/(s scale)) Z ; A/sigma ] = Q R,   Var u(x) = | R^-T Z' w(x) |^2

   The square root is never squared: the precisions span 26 orders.

   More dimensions: the equation tested with the V of all dimensions is a Kronecker sum, A_k = X_k diag(lambda_k) X_k^-1 (kronsum.hpp). Its eigencoefficients
   t = (x X_k)^-1 y are observed as (sum_k lambda_k + c) t with noise. Given the boundary values, y has the covariance s^2 x (Y_k Y_k'), Y_k = Z_k' S_k N_k with S = diag(scale) and N_k
   a basis of the null space of rho_k S_k (no inverse: the grading by 26 orders is kept). The variances of t in the prior and in the noise are products,

     p = s^2 prod_k |row i_k of X_k^-1 Y_k|^2,   q = sigma^2 prod_k |row i_k of X_k^-1|^2,   v = 1/(1/p + |sum lambda + c|^2/q)

   and Var u(x) = sum v_i prod_k |(w_k(x)' Z_k X_k)_{i_k}|^2: one product per dimension with the elementwise squares. Correlations between different t are neglected, the only
   approximation; they vanish where prior and noise are diagonal in the eigenvectors of the operator.
*/
#include "state.hpp"
#include <skean/private/reduce.hpp>
#include <cmath>

using namespace skean;
using namespace skean::gp;

/* Deviations s of the prior and sigma of the equation's noise */
PetscErrorCode skean::gp::PosteriorScales(SkeanGPPDE pde, double *s, double *sigma)
{
  SkeanGPPDEState_Private *st = pde->state;
  const int                d  = static_cast<int>(pde->dim);
  PointSet                 mid;
  std::vector<double>      Lu, u, res;
  FlaggedSum               sum(4);

  PetscFunctionBegin;
  for (int k = 0; k < d; k++) PetscCallCXX(mid.x[k] = MidPoints(st->x[k], d == 1 ? 100000 : (d == 2 ? 2000 : 80)));
  PetscCall(PreparePoints(pde, &mid, 2));
  PetscCall(Fields(pde, mid, st->coef, &u, &Lu, nullptr, nullptr));
  PetscCall(Residual(pde, mid, u, Lu, {}, {}, res, nullptr, nullptr, nullptr));
  for (double v : res) sum[0] += v * v;
  sum[1] = static_cast<double>(res.size());
  /* where the product of the scales is below the rounding of the coefficients these tell nothing */
  const TensorBox box = st->grid.Box(0, st->r);
  double          top = 1;
  for (int k = 0; k < d; k++) top *= st->basis[k].scale(0, 0);
  for (PetscInt64 t = 0; t < box.Volume(); t++) {
    double     scale = 1;
    PetscInt64 rest  = t;
    for (int k = d - 1; k >= 0; k--) {
      scale *= st->basis[k].scale(static_cast<size_t>(box.lo[k] + rest % box.Length(k)), 0);
      rest /= box.Length(k);
    }
    if (d > 1 && scale < 1e-13 * top) continue;
    const double c = st->coef[static_cast<size_t>(t)] / scale;
    sum[2] += c * c;
    sum[3] += 1;
  }
  PetscCall(sum.Reduce(PetscObjectComm((PetscObject)pde), false, nullptr));
  *sigma = std::sqrt(sum[0] / sum[1]);
  *s     = std::sqrt(sum[2] / sum[3]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

namespace {

/* Several dimensions: the variances v (home box of sizes m) and the eigenvectors in terms of the basis */
struct Spectrum {
  TensorSizes         m{};
  std::vector<double> v;
  Dense               Re[3], Im[3]; /* Z_k X_k */
};

PetscErrorCode Eigenvariances(SkeanGPPDE pde, Spectrum *sp)
{
  SkeanGPPDEState_Private *st   = pde->state;
  MPI_Comm                 comm = PetscObjectComm((PetscObject)pde);
  const int                d    = static_cast<int>(pde->dim);
  std::vector<Complex>     lambda[3];
  std::vector<double>      p[3], q[3];
  double                   s, sigma, worst = 1;
  bool                     ok = true;
  PetscMPIInt              rank, size;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(PosteriorScales(pde, &s, &sigma));
  for (int k = 0; k < d; k++) {
    const Basis1D &b = st->basis[k];
    const size_t   m = b.Inner(), r = b.Rank(), nb = b.rho.m;
    const int      root = k % size;
    sp->m[k]            = static_cast<PetscInt64>(m);
    PetscCallCXX({
      sp->Re[k] = sp->Im[k] = Dense(r, m);
      lambda[k].assign(m, 0.0);
      p[k].assign(m, 0.0);
      q[k].assign(m, 0.0);
    });
    double cond = 1;
    if (rank == root)
      PetscCallCXX({
        Dense M = b.V2, rs(nb, r), N, pinv;
        for (size_t i = 0; i < M.a.size(); i++) M.a[i] = pde->a[k] * M.a[i] + pde->b[k] * b.V1.a[i];
        CDense X, Xi;
        ok = ComplexEig(Multiply(b.V, M, true, false), lambda[k], X, Xi, &cond) && ok;
        for (size_t a = 0; a < r; a++)
          for (size_t j = 0; j < nb; j++) rs(j, a) = b.rho(j, a) * b.scale(a, 0);
        ok = NullSpace(rs, N, pinv) && ok;
        for (size_t j = 0; j < N.n; j++)
          for (size_t a = 0; a < r; a++) N(a, j) *= b.scale(a, 0);
        const Dense Y = Multiply(b.Z, N, true, false);
        Dense       Xr(m, m), Xim(m, m), Ir(m, m), Ii(m, m);
        for (size_t i = 0; i < m * m; i++) {
          Xr.a[i]  = X.a[i].real();
          Xim.a[i] = X.a[i].imag();
          Ir.a[i]  = Xi.a[i].real();
          Ii.a[i]  = Xi.a[i].imag();
        }
        sp->Re[k]      = Multiply(b.Z, Xr);
        sp->Im[k]      = Multiply(b.Z, Xim);
        const Dense Pr = Multiply(Ir, Y), Pi = Multiply(Ii, Y);
        for (size_t i = 0; i < m; i++) {
          for (size_t j = 0; j < m; j++) {
            p[k][i] += Pr(i, j) * Pr(i, j) + Pi(i, j) * Pi(i, j);
            q[k][i] += std::norm(Xi(i, j));
          }
        }
      });
    PetscCallMPI(MPI_Bcast(sp->Re[k].a.data(), static_cast<int>(r * m), MPI_DOUBLE, root, comm));
    PetscCallMPI(MPI_Bcast(sp->Im[k].a.data(), static_cast<int>(r * m), MPI_DOUBLE, root, comm));
    PetscCallMPI(MPI_Bcast(lambda[k].data(), static_cast<int>(2 * m), MPI_DOUBLE, root, comm));
    PetscCallMPI(MPI_Bcast(p[k].data(), static_cast<int>(m), MPI_DOUBLE, root, comm));
    PetscCallMPI(MPI_Bcast(q[k].data(), static_cast<int>(m), MPI_DOUBLE, root, comm));
    PetscCallMPI(MPI_Bcast(&cond, 1, MPI_DOUBLE, root, comm));
    worst = std::max(worst, cond);
  }
  PetscCall(AgreeAny(comm, !ok, &ok));
  PetscCheck(!ok, comm, PETSC_ERR_LIB, "The eigenvectors of the operator could not be computed");
  PetscCheck(worst < 1e6, comm, PETSC_ERR_SUP,
             "The eigenvectors of the operator are ill-conditioned (%.1e), as for equations of first order: no deviation in more than one dimension", worst);
  const TensorBox box = st->grid.Box(0, sp->m);
  PetscCallCXX(sp->v.assign(static_cast<size_t>(box.Volume()), 0.0));
  for (PetscInt64 t = 0; t < box.Volume(); t++) {
    double     pp = s * s, qq = sigma * sigma;
    Complex    l    = pde->c;
    PetscInt64 rest = t;
    for (int k = d - 1; k >= 0; k--) {
      const size_t i = static_cast<size_t>(box.lo[k] + rest % box.Length(k));
      rest /= box.Length(k);
      pp *= p[k][i];
      qq *= q[k][i];
      l += lambda[k][i];
    }
    /* no noise at all, or a coefficient that is zero in the prior: known */
    const double below            = pp * std::norm(l) + qq;
    sp->v[static_cast<size_t>(t)] = below > 0 ? pp * qq / below : 0.0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* |w(x)' Z_k X_k|^2, npts x m_k */
PetscErrorCode Squares(SkeanGPPDE pde, const Spectrum &sp, int k, size_t n, const double *x, Dense *F)
{
  SkeanGPPDEState_Private *st = pde->state;
  Dense                    E;
  Dense *const             EE[3] = {&E, nullptr, nullptr};

  PetscFunctionBegin;
  PetscCall(st->basis[k].Evaluate(st->spec[k], n, x, EE));
  PetscCallCXX({
    *F            = Multiply(E, sp.Re[k]);
    const Dense I = Multiply(E, sp.Im[k]);
    for (size_t i = 0; i < F->a.size(); i++) F->a[i] = F->a[i] * F->a[i] + I.a[i] * I.a[i];
  });
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CheckDeviation(SkeanGPPDE pde)
{
  MPI_Comm  comm;
  PetscBool direct;

  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  PetscCall(PetscObjectGetComm((PetscObject)pde, &comm));
  PetscCheck(pde->state && pde->state->solved, comm, PETSC_ERR_ARG_WRONGSTATE, "Call SkeanGPPDESolve() first");
  PetscCall(PetscObjectTypeCompare((PetscObject)pde, SKEANGPPDEDIRECT, &direct));
  PetscCheck(direct && pde->basis <= SKEAN_GPPDE_BASIS_COVARIANCE, comm, PETSC_ERR_SUP,
             "The deviation is known for type direct with the mixture or covariance basis only");
  PetscCheck(!pde->reaction && !pde->residual, comm, PETSC_ERR_SUP, "The deviation is known for linear equations only");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One dimension, exact */
PetscErrorCode Deviation1D(SkeanGPPDE pde, PetscInt n, const PetscReal x[], PetscReal deviation[])
{
  SkeanGPPDEState_Private *st   = pde->state;
  MPI_Comm                 comm = PetscObjectComm((PetscObject)pde);
  double                   s, sigma;

  PetscFunctionBegin;
  const Basis1D &b = st->basis[0];
  const size_t   r = b.Rank(), m = b.Inner(), N = b.N();
  PetscCall(PosteriorScales(pde, &s, &sigma));
  if (!(s > 0) || !(sigma > 0)) {
    /* the zero solution, or an equation satisfied to the last bit: no uncertainty that could be scaled */
    for (PetscInt i = 0; i < n; i++) deviation[i] = 0;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  bool  ok = true;
  Dense X, Wx, E;
  PetscCallCXX({
    X = Dense(r + N, m);
    for (size_t j = 0; j < m; j++) {
      for (size_t a = 0; a < r; a++) X(a, j) = b.Z(a, j) / (s * b.scale(a, 0));
      for (size_t i = 0; i < N; i++) X(r + i, j) = (pde->a[0] * b.V2(i, j) + pde->b[0] * b.V1(i, j) + pde->c * b.V(i, j)) / sigma;
    }
    PetscBLASInt M = static_cast<PetscBLASInt>(r + N), K = static_cast<PetscBLASInt>(m), lwork = static_cast<PetscBLASInt>(64 * (r + N)), info,
                 nn = static_cast<PetscBLASInt>(n);
    std::vector<double> tau(m), work(static_cast<size_t>(lwork));
    LAPACKgeqrf_(&M, &K, X.a.data(), &M, tau.data(), work.data(), &lwork, &info);
    ok                 = info == 0;
    Dense *const EE[3] = {&E, nullptr, nullptr};
    PetscCall(b.Evaluate(st->spec[0], static_cast<size_t>(n), x, EE));
    Wx = Multiply(b.Z, E, true, true);
    LAPACKtrtrs_("U", "T", "N", &K, &nn, X.a.data(), &M, Wx.a.data(), &K, &info);
    ok = ok && info == 0;
  });
  PetscCheck(ok, comm, PETSC_ERR_LIB, "The posterior precision is singular");
  for (PetscInt i = 0; i < n; i++) {
    double v = 0;
    for (size_t j = 0; j < m; j++) v += Wx(j, static_cast<size_t>(i)) * Wx(j, static_cast<size_t>(i));
    deviation[i] = std::sqrt(v);
  }
  /* the same bits everywhere */
  PetscCallMPI(MPI_Bcast(deviation, static_cast<int>(n), MPI_DOUBLE, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   Several dimensions at a point, to a tolerance. With w = x Z_k' w_k(x), Y = x Y_k, T = Y Y' and rho = (s/sigma)^2 the variance is that of the best linear estimate of w'y from the data,

     Var/sigma^2 = min_q |A^-T (w - q)|^2 + rho |Y' q|^2,     attained where (A^-1 A^-T + rho T) q = A^-1 A^-T w

   so that any q gives an upper bound, without cancellation where the posterior is 1e-20 of the prior. With e = T q, any q also gives the lower bound rho (w'e)^2/(|Y'q|^2 + rho |A e|^2) of
   Var/sigma^2 (the variance is the largest ratio (w'y)^2/(y' Cov^-1 y) over all y). Conjugate gradients on q until the two meet; one solve with A and one with A' (kronsum.hpp) per step. Preconditioner: with Y_k = O_k diag(t_k) P_k',
   the diagonal 1/|A' o|^2 + rho t^2 in the basis O = x O_k, where |A' o|^2 of a product follows from |A_k' o_k|^2 and o_k' A_k' o_k.
*/
struct Bracket {
  KroneckerSum        ks, kt;
  Dense               Y[3], O[3];
  TensorSizes         m{};
  std::vector<double> first, diag; /* 1/|A'o|^2 and the preconditioner, home boxes */
  double              s = 0, sigma = 0, rho = 0;
};

PetscErrorCode SetUpBracket(SkeanGPPDE pde, Bracket *br)
{
  SkeanGPPDEState_Private *st = pde->state;
  const int                d  = static_cast<int>(pde->dim);
  Dense                    A[3], At[3];
  std::vector<double>      t2[3], alpha[3], beta[3];
  bool                     ok = true, good;

  PetscFunctionBegin;
  PetscCall(PosteriorScales(pde, &br->s, &br->sigma));
  if (!(br->s > 0) || !(br->sigma > 0)) PetscFunctionReturn(PETSC_SUCCESS);
  br->rho = br->s * br->s / (br->sigma * br->sigma);
  for (int k = 0; k < d; k++) {
    const Basis1D &b = st->basis[k];
    const size_t   m = b.Inner(), r = b.Rank(), nb = b.rho.m;
    br->m[k] = static_cast<PetscInt64>(m);
    PetscCallCXX({
      Dense M = b.V2, rs(nb, r), N, pinv, Vt;
      for (size_t i = 0; i < M.a.size(); i++) M.a[i] = pde->a[k] * M.a[i] + pde->b[k] * b.V1.a[i];
      A[k]  = Multiply(b.V, M, true, false);
      At[k] = Multiply(M, b.V, true, false);
      for (size_t a = 0; a < r; a++)
        for (size_t j = 0; j < nb; j++) rs(j, a) = b.rho(j, a) * b.scale(a, 0);
      ok = NullSpace(rs, N, pinv) && ok;
      for (size_t j = 0; j < N.n; j++)
        for (size_t a = 0; a < r; a++) N(a, j) *= b.scale(a, 0);
      br->Y[k] = Multiply(b.Z, N, true, false);
      ok       = ok && SVD(br->Y[k], br->O[k], t2[k], Vt) && br->O[k].n == m;
      for (double &t : t2[k]) t *= t;
      if (ok) {
        const Dense AO = Multiply(At[k], br->O[k]);
        alpha[k].assign(m, 0.0);
        beta[k].assign(m, 0.0);
        for (size_t j = 0; j < m; j++)
          for (size_t i = 0; i < m; i++) {
            alpha[k][j] += AO(i, j) * AO(i, j);
            beta[k][j] += br->O[k](i, j) * AO(i, j);
          }
      }
    });
    /* the same bits on every process */
    if (br->O[k].n != m) PetscCallCXX(br->O[k] = Dense(m, m));
    PetscCallCXX(t2[k].resize(m));
    PetscCallMPI(MPI_Bcast(br->Y[k].a.data(), static_cast<int>(br->Y[k].a.size()), MPI_DOUBLE, 0, PetscObjectComm((PetscObject)pde)));
    PetscCallMPI(MPI_Bcast(br->O[k].a.data(), static_cast<int>(m * m), MPI_DOUBLE, 0, PetscObjectComm((PetscObject)pde)));
    PetscCallMPI(MPI_Bcast(t2[k].data(), static_cast<int>(m), MPI_DOUBLE, 0, PetscObjectComm((PetscObject)pde)));
  }
  PetscCall(br->ks.Setup(&st->grid, A, pde->c, &good));
  ok = ok && good;
  PetscCall(br->kt.Setup(&st->grid, At, pde->c, &good));
  ok = ok && good;
  PetscCall(AgreeAny(PetscObjectComm((PetscObject)pde), !ok, &ok));
  PetscCheck(!ok, PetscObjectComm((PetscObject)pde), PETSC_ERR_LIB, "The operator of the equation could not be decomposed");
  const TensorBox box = st->grid.Box(0, br->m);
  PetscCallCXX(br->first.resize(static_cast<size_t>(box.Volume())));
  PetscCallCXX(br->diag.resize(static_cast<size_t>(box.Volume())));
  for (PetscInt64 t = 0; t < box.Volume(); t++) {
    double     a = 0, b = pde->c, b2 = 0, prior = 1;
    PetscInt64 rest = t;
    for (int k = d - 1; k >= 0; k--) {
      const size_t i = static_cast<size_t>(box.lo[k] + rest % box.Length(k));
      rest /= box.Length(k);
      a += alpha[k][i];
      b += beta[k][i];
      b2 += beta[k][i] * beta[k][i];
      prior *= t2[k][i];
    }
    /* |sum_k A_k' o_k + c|^2, not below what rounding leaves of it */
    const double norm2                = std::max(a - b2 + b * b, 1e-14 * a);
    br->first[static_cast<size_t>(t)] = 1 / norm2;
    br->diag[static_cast<size_t>(t)]  = 1 / norm2 + br->rho * prior;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bounds of the deviation for the functional w (home box) */
PetscErrorCode BracketAt(SkeanGPPDE pde, Bracket *br, const std::vector<double> &w, double tol, PetscInt maxit, double *lower, double *upper)
{
  TensorGrid         &grid = pde->state->grid;
  MPI_Comm            comm = PetscObjectComm((PetscObject)pde);
  const size_t        size = w.size();
  const Dense        *Y[3] = {&br->Y[0], &br->Y[1], &br->Y[2]}, *O[3] = {&br->O[0], &br->O[1], &br->O[2]};
  std::vector<double> q, p, h, r, z, dir, pd, gd, hd, e, Ae, t;
  double              rz           = 0, rel;
  bool                ok           = true, good;
  auto                precondition = [&](const std::vector<double> &in, bool start, std::vector<double> *out) {
    PetscFunctionBegin;
    PetscCall(ApplyModes(grid, br->m, O, true, in.data(), t));
    for (size_t i = 0; i < size; i++) t[i] *= (start ? br->first[i] : 1.0) / br->diag[i];
    PetscCall(ApplyModes(grid, br->m, O, false, t.data(), *out));
    PetscFunctionReturn(PETSC_SUCCESS);
  };

  PetscFunctionBegin;
  TensorSizes ny{};
  for (int k = 0; k < pde->dim; k++) ny[k] = static_cast<PetscInt64>(br->Y[k].n);
  PetscCall(precondition(w, true, &q));
  PetscCallCXX(r = w);
  for (size_t i = 0; i < size; i++) r[i] -= q[i];
  PetscCall(br->kt.SolveRefined(r.data(), p, &rel, &good));
  ok = ok && good;
  PetscCall(ApplyModes(grid, br->m, Y, true, q.data(), h));
  *lower = 0;
  *upper = PETSC_MAX_REAL;
  for (PetscInt it = 0; it <= maxit && ok; it++) {
    /* residual A^-1 p - rho T q, preconditioned; bounds */
    PetscCall(br->ks.SolveRefined(p.data(), r, &rel, &good));
    ok = ok && good;
    PetscCall(ApplyModes(grid, ny, Y, false, h.data(), e));
    for (size_t i = 0; i < size; i++) r[i] -= br->rho * e[i];
    PetscCall(precondition(r, false, &z));
    PetscCall(br->ks.Apply(e.data(), pde->c, Ae));
    FlaggedSum sum(5);
    for (size_t i = 0; i < size; i++) {
      sum[0] += p[i] * p[i];
      sum[2] += w[i] * e[i];
      sum[3] += Ae[i] * Ae[i];
      sum[4] += r[i] * z[i];
    }
    for (double v : h) sum[1] += v * v;
    PetscCall(sum.Reduce(comm, !ok, &good));
    ok                 = !good;
    const double above = sum[0] + br->rho * sum[1], below = sum[1] + br->rho * sum[3];
    *upper = std::min(*upper, br->sigma * std::sqrt(above));
    if (below > 0) *lower = std::max(*lower, br->sigma * std::sqrt(br->rho) * std::fabs(sum[2]) / std::sqrt(below));
    if (!ok || it == maxit || !(sum[4] > 0) || *upper <= (1 + tol) * *lower) break;
    if (it == 0)
      PetscCallCXX(dir = z);
    else
      for (size_t i = 0; i < size; i++) dir[i] = z[i] + sum[4] / rz * dir[i];
    rz = sum[4];
    PetscCall(br->kt.SolveRefined(dir.data(), pd, &rel, &good));
    PetscCall(ApplyModes(grid, br->m, Y, true, dir.data(), hd));
    FlaggedSum curve(2);
    for (double v : pd) curve[0] += v * v;
    for (double v : hd) curve[1] += v * v;
    PetscCall(curve.Reduce(comm, !good, &good));
    ok                 = !good;
    const double denom = curve[0] + br->rho * curve[1];
    if (!(denom > 0)) break;
    const double step = rz / denom;
    for (size_t i = 0; i < size; i++) {
      q[i] += step * dir[i];
      p[i] -= step * pd[i];
    }
    for (size_t i = 0; i < h.size(); i++) h[i] += step * hd[i];
    PetscCall(PetscInfo(pde, "Deviation, step %" PetscInt_FMT ": between %g and %g\n", it, *lower, *upper));
  }
  PetscCheck(ok, comm, PETSC_ERR_LIB, "The Kronecker sum of the equation is singular");
  /* where rounding lets them cross */
  *lower = std::min(*lower, *upper);
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace

/*@
   SkeanGPPDEGetDeviationBounds - Lower and upper bounds of the posterior standard deviation of the solution at points, for linear equations

   Collective

   Input Parameters:
+  pde - the solver of type `SKEANGPPDEDIRECT` with the mixture or covariance basis, after `SkeanGPPDESolve()`
.  n   - number of points
-  x   - the points, the same on every process: coordinate k of point i in x[i*dim + k]

   Output Parameters:
+  lower - n numbers, equal on every process
-  upper - n numbers, equal on every process; at most 1.01 times the lower ones where 100 steps of conjugate gradients suffice

   Level: intermediate

   Notes:
   What the deviation means is said at `SkeanGPPDEGetDeviation()`, which neglects correlations in two and three dimensions; this does not, and takes equations of first order too. In one
   dimension both are the exact value. Both hold whatever the number of steps, up to rounding.

   A point costs up to 100 times two solves with the Kronecker sum, O(N sum rank_k) each after its decomposition: for some points, not for grids.

   Errors: `PETSC_ERR_SUP` for other types and bases and for nonlinear equations.

   Source: best linear unbiased estimation; its dual gives the other side.

.seealso: `SkeanGPPDEGetDeviation()`, `SkeanGPPDEEvaluateDeviation()`
@*/
PetscErrorCode SkeanGPPDEGetDeviationBounds(SkeanGPPDE pde, PetscInt n, const PetscReal x[], PetscReal lower[], PetscReal upper[])
{
  Bracket             br;
  std::vector<double> w;

  PetscFunctionBegin;
  PetscCall(CheckDeviation(pde));
  PetscCheck(n >= 0, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " points", n);
  if (pde->dim == 1) {
    PetscCall(Deviation1D(pde, n, x, upper));
    std::copy_n(upper, n, lower);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  SkeanGPPDEState_Private *st = pde->state;
  PetscCall(SetUpBracket(pde, &br));
  if (!(br.s > 0) || !(br.sigma > 0)) {
    std::fill_n(lower, n, 0.0);
    std::fill_n(upper, n, 0.0);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  const TensorBox box = st->grid.Box(0, br.m);
  for (PetscInt i = 0; i < n; i++) {
    Dense wk[3];
    for (int k = 0; k < pde->dim; k++) {
      Dense        E;
      Dense *const EE[3] = {&E, nullptr, nullptr};
      PetscCall(st->basis[k].Evaluate(st->spec[k], 1, &x[i * pde->dim + k], EE));
      PetscCallCXX(wk[k] = Multiply(E, st->basis[k].Z));
    }
    PetscCallCXX(w.assign(static_cast<size_t>(box.Volume()), 1.0));
    for (PetscInt64 t = 0; t < box.Volume(); t++) {
      PetscInt64 rest = t;
      for (int k = static_cast<int>(pde->dim) - 1; k >= 0; k--) {
        w[static_cast<size_t>(t)] *= wk[k](0, static_cast<size_t>(box.lo[k] + rest % box.Length(k)));
        rest /= box.Length(k);
      }
    }
    PetscCall(BracketAt(pde, &br, w, 0.01, 100, &lower[i], &upper[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDEGetDeviation - Posterior standard deviation of the solution at points, for linear equations

   Collective

   Input Parameters:
+  pde - the solver of type `SKEANGPPDEDIRECT` with the mixture or covariance basis, after `SkeanGPPDESolve()`
.  n   - number of points
-  x   - the points, the same on every process: coordinate k of point i in x[i*dim + k]

   Output Parameter:
.  deviation - the n deviations, equal on every process

   Level: intermediate

   Notes:
   Given the boundary data exactly and the equation with the noise that the residual at mid-points shows; the scale of the prior is
   fitted to the coefficients. Frequencies, length scale and floor are taken as known: where they are wrong, the deviation does not know it.
   `SkeanGPPDEGetErrorEstimate()` does not have this weakness.

   In one dimension exact: one QR decomposition of an (n + rank) x rank matrix, done by every process. In two and three dimensions
   in the eigenvectors of the Kronecker sum, correlations between them neglected: O(sum rank_k^3) once, the product of the ranks per point, divided by the processes.
   On small grids, against the exact posterior, that gave 1.0 to 1.2 times the exact deviation in two dimensions and 2.0 to 2.3 times in three.
   `SkeanGPPDEGetDeviationBounds()` has no such gap and no such restriction, at a price per point.

   Errors: `PETSC_ERR_SUP` for other types and bases, nonlinear equations, and, in more than one dimension, operators with ill-conditioned eigenvectors (first order).

.seealso: `SkeanGPPDEGetDeviationBounds()`, `SkeanGPPDEEvaluateDeviation()`, `SkeanGPPDEGetErrorEstimate()`, `SkeanGPPDEEvaluate()`
@*/
PetscErrorCode SkeanGPPDEGetDeviation(SkeanGPPDE pde, PetscInt n, const PetscReal x[], PetscReal deviation[])
{
  Spectrum            sp;
  std::vector<double> xk, part;

  PetscFunctionBegin;
  PetscCall(CheckDeviation(pde));
  PetscCheck(n >= 0, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " points", n);
  if (pde->dim == 1) {
    PetscCall(Deviation1D(pde, n, x, deviation));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(Eigenvariances(pde, &sp));
  const size_t    d = static_cast<size_t>(pde->dim), np = static_cast<size_t>(n);
  const TensorBox box = pde->state->grid.Box(0, sp.m);
  Dense           F[3];
  PetscCallCXX(xk.resize(np));
  for (size_t k = 0; k < d; k++) {
    for (size_t i = 0; i < np; i++) xk[i] = x[i * d + k];
    PetscCall(Squares(pde, sp, static_cast<int>(k), np, xk.data(), &F[k]));
  }
  PetscCallCXX(part.assign(np, 0.0));
  for (size_t i = 0; i < np && box.Volume(); i++) {
    size_t t = 0;
    for (PetscInt64 i0 = box.lo[0]; i0 < box.hi[0]; i0++) {
      double row = 0;
      for (PetscInt64 i1 = box.lo[1]; i1 < box.hi[1]; i1++) {
        double line = d == 2 ? sp.v[t++] : 0.0;
        for (PetscInt64 i2 = 0; d == 3 && i2 < sp.m[2]; i2++) line += F[2](i, static_cast<size_t>(i2)) * sp.v[t++];
        row += F[1](i, static_cast<size_t>(i1)) * line;
      }
      part[i] += F[0](i, static_cast<size_t>(i0)) * row;
    }
  }
  PetscCall(AllreduceSum(PetscObjectComm((PetscObject)pde), part.data(), np));
  for (size_t i = 0; i < np; i++) deviation[i] = std::sqrt(part[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDEEvaluateDeviation - Posterior standard deviation of the solution on a tensor grid, for linear equations

   Collective

   Input Parameters:
+  pde - the solver of type `SKEANGPPDEDIRECT` with the mixture or covariance basis, after `SkeanGPPDESolve()`
.  n   - number of points in each dimension
-  x   - their coordinates in each dimension, the same on every process

   Output Parameter:
.  deviation - the deviations in natural order, the last dimension running fastest, distributed as by `SkeanGPPDEEvaluate()`; the caller destroys it

   Level: intermediate

   Notes:
   What it means is said at `SkeanGPPDEGetDeviation()`. One product per dimension, as `SkeanGPPDEEvaluate()`, after O(sum rank_k^3) for the eigenvectors.

   Errors: those of `SkeanGPPDEGetDeviation()`.

.seealso: `SkeanGPPDEGetDeviation()`, `SkeanGPPDEEvaluate()`
@*/
PetscErrorCode SkeanGPPDEEvaluateDeviation(SkeanGPPDE pde, const PetscInt n[], const PetscReal *const x[], Vec *deviation)
{
  std::vector<double> out;
  PetscScalar        *a;
  TensorSizes         nn{};

  PetscFunctionBegin;
  PetscCall(CheckDeviation(pde));
  for (int k = 0; k < pde->dim; k++) {
    PetscCheck(n[k] > 0, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " points in dimension %d", n[k], k);
    nn[k] = n[k];
  }
  if (pde->dim == 1) {
    const TensorBox     box = pde->state->grid.Box(0, nn);
    std::vector<double> all;
    PetscCallCXX(all.resize(static_cast<size_t>(n[0])));
    PetscCall(Deviation1D(pde, n[0], x[0], all.data()));
    PetscCallCXX(out.assign(all.begin() + box.lo[0], all.begin() + box.lo[0] + box.Volume()));
  } else {
    Spectrum     sp;
    Dense        F[3];
    const Dense *FF[3] = {&F[0], &F[1], &F[2]};
    PetscCall(Eigenvariances(pde, &sp));
    for (int k = 0; k < pde->dim; k++) PetscCall(Squares(pde, sp, k, static_cast<size_t>(n[k]), x[k], &F[k]));
    PetscCall(ApplyModes(pde->state->grid, sp.m, FF, false, sp.v.data(), out));
    for (double &v : out) v = std::sqrt(v);
  }
  PetscCall(VecCreateMPI(PetscObjectComm((PetscObject)pde), static_cast<PetscInt>(out.size()), PETSC_DETERMINE, deviation));
  PetscCall(VecGetArrayWrite(*deviation, &a));
  std::copy(out.begin(), out.end(), a);
  PetscCall(VecRestoreArrayWrite(*deviation, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}
