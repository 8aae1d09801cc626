/*
   Posterior variance of the solution given the boundary values and the equation, in one dimension.

   Coefficients c = lift g + Z y of the basis have the prior N(0, s^2 diag(scale^2)); given the boundary values that leaves for y the precision
   Z' diag(scale^-2) Z / s^2. The equation A y = f - L lift g at the collocation points is taken with the deviation sigma of what the representation cannot
   satisfy: the root mean square of the residual at mid-points. s^2 = c' diag(scale^-2) c / r maximises the likelihood of the coefficients. With

     X = [ diag(1/(s scale)) Z ; A/sigma ] = Q R,   Var u(x) = | R^-T Z' w(x) |^2

   The square root is never squared: the precisions span 26 orders.
*/
#include "state.hpp"
#include <cmath>

using namespace skean;
using namespace skean::gp;

/*@
   SkeanGPPDEGetDeviation - Posterior standard deviation of the solution at points, for linear equations in one dimension

   Collective

   Input Parameters:
+  pde - the solver of type `SKEANGPPDEDIRECT` with the mixture or covariance basis, after `SkeanGPPDESolve()`
.  n   - number of points
-  x   - the points, the same on every process

   Output Parameter:
.  deviation - the n deviations, equal on every process

   Level: intermediate

   Notes:
   Given the boundary data exactly and the equation at the collocation points with the noise that the residual at mid-points shows; the scale of the prior is
   fitted to the coefficients. Frequencies, length scale and floor are taken as known: where they are wrong, the deviation does not know it.
   `SkeanGPPDEGetErrorEstimate()` does not have this weakness. One QR decomposition of an (n + rank) x rank matrix, done by every process.

   Errors: `PETSC_ERR_SUP` for other types and bases, more dimensions, nonlinear equations.

.seealso: `SkeanGPPDEGetErrorEstimate()`, `SkeanGPPDEEvaluate()`
@*/
PetscErrorCode SkeanGPPDEGetDeviation(SkeanGPPDE pde, PetscInt n, const PetscReal x[], PetscReal deviation[])
{
  SkeanGPPDEState_Private *st = NULL;
  MPI_Comm                 comm;
  PetscBool                direct;
  PointSet                 mid;
  std::vector<double>      Lu, u, res, c;

  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  PetscCall(PetscObjectGetComm((PetscObject)pde, &comm));
  st = pde->state;
  PetscCheck(st && st->solved, comm, PETSC_ERR_ARG_WRONGSTATE, "Call SkeanGPPDESolve() first");
  PetscCall(PetscObjectTypeCompare((PetscObject)pde, SKEANGPPDEDIRECT, &direct));
  PetscCheck(direct && pde->basis <= SKEAN_GPPDE_BASIS_COVARIANCE, comm, PETSC_ERR_SUP,
             "The deviation is known for type direct with the mixture or covariance basis only");
  PetscCheck(pde->dim == 1 && !pde->reaction && !pde->residual, comm, PETSC_ERR_SUP, "The deviation is known for linear equations in one dimension only");
  const Basis1D &b = st->basis[0];
  const size_t   r = b.Rank(), m = b.Inner(), N = b.N();
  /* noise of the equation */
  PetscCallCXX(mid.x[0] = MidPoints(st->x[0], 100000));
  PetscCall(PreparePoints(pde, &mid, 2));
  PetscCall(Fields(pde, mid, st->coef, &u, &Lu, nullptr, nullptr));
  PetscCall(Residual(pde, mid, u, Lu, {}, {}, res, nullptr, nullptr, nullptr));
  double sum[2] = {0, static_cast<double>(res.size())};
  for (double v : res) sum[0] += v * v;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, sum, 2, MPI_DOUBLE, MPI_SUM, comm));
  const double sigma = std::sqrt(sum[0] / sum[1]);
  /* all coefficients everywhere: slabs in the order of the processes */
  {
    PetscMPIInt      size;
    int              mine = static_cast<int>(st->coef.size()), total = 0;
    std::vector<int> count, displ;
    PetscCallMPI(MPI_Comm_size(comm, &size));
    PetscCallCXX(count.resize(static_cast<size_t>(size)));
    PetscCallMPI(MPI_Allgather(&mine, 1, MPI_INT, count.data(), 1, MPI_INT, comm));
    for (int k : count) {
      PetscCallCXX(displ.push_back(total));
      total += k;
    }
    PetscCallCXX(c.resize(r));
    PetscCallMPI(MPI_Allgatherv(st->coef.data(), mine, MPI_DOUBLE, c.data(), count.data(), displ.data(), MPI_DOUBLE, comm));
  }
  double s2 = 0;
  for (size_t a = 0; a < r; a++) s2 += (c[a] / b.scale(a, 0)) * (c[a] / b.scale(a, 0));
  const double s = std::sqrt(s2 / static_cast<double>(r));
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
