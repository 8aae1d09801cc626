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

} // namespace

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

   Errors: `PETSC_ERR_SUP` for other types and bases, nonlinear equations, and, in more than one dimension, operators with ill-conditioned eigenvectors (first order).

.seealso: `SkeanGPPDEEvaluateDeviation()`, `SkeanGPPDEGetErrorEstimate()`, `SkeanGPPDEEvaluate()`
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
