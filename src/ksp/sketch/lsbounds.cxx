/*
   Certified bounds on the error of every coordinate of a least-squares solution, rounding errors included.

   For x = hi + lo (lo = 0 without extra-precise refinement), any nonsingular D^{-1}N and e = x* - x, with g = A'(b - A x) - lambda x:
     N'g = (A N)'(A N) (N^{-1} e)   so   |e_j| = |(e_j'N) (N^{-1} e)| <= |e_j'N| |N'g| / sigma_min(A N)^2.
   What the computed numbers lack, with u the unit roundoff, gamma_k = k u / (1 - k u), inv = |D^{-1}N|_F and F = |[A; sqrt(lambda) I] D|_F:
   1. g is evaluated in twofold precision: |D (g^ - g)| <= F (forward (|b| + F |D^{-1}x|) + backward |r|) + u |D g^| (twofoldkernels.hpp and the
      rounding of the pair), and |N'(g^ - g)| <= inv times that.
   2. The triangular solve is backward stable, (T + dT)'y = D g^ with |dT|_F <= gamma_{2d+4} |T|_F (Higham, Accuracy and Stability, theorem 8.5):
      |y - N'g^| <= inv gamma_{2d+4} |T|_F |y| and the like for other forms of N, LSPrecond::ApplyTError(). The same holds for every |e_j'N|, of which
      inv is made: inv <= inv^ / (1 - gamma_{2d+4} |T|_F inv^).
   3. The lower bound of sigma_min^2 is reduced by what rounding does to the products with A N or to the sketch (below).
   4. The x that the user has is hi: |lo_j| is added.
   Where inv gamma |T|_F or the reduction of 3. reaches 1/2 of what it is taken from, the condition number is beyond what can be certified
   and the bounds are infinite. Underflow is left out. The rounding of these formulas themselves is below the 1 % added at the end.
*/
#include "lsqkernels.hpp"
#include "lssolve.hpp"
#include "twofoldkernels.hpp"
#include <skean/private/reduce.hpp>
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>

namespace skean {

PetscErrorCode LSErrorBounds(MPI_Comm comm, const RowView &A, const LSPrecond &N, const LSBoundOptions &o, const double *B, PetscInt ldb, const double *X,
                             const std::vector<double> &xlo, std::vector<double> &bounds)
{
  const PetscInt      d = A.ncols, k = N.Rank();
  const double        u        = DBL_EPSILON / 2;
  const auto          gamma    = [&](double n) { return n * u / (1 - n * u); };
  const double        infinity = std::numeric_limits<double>::infinity();
  TwofoldSum          sum(d + 1);
  std::vector<double> norms, g, c;
  double              rr = 0.0;
  PetscMPIInt         size;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallCXX(bounds.assign(d, infinity));
  PetscCallCXX(norms.resize(d));
  PetscCallCXX(g.resize(d));
  PetscCallCXX(c.resize(k));

  /* g and N'g */
  TwofoldResidualPass(A, B, ldb, X, xlo.empty() ? nullptr : xlo.data(), 1, sum.Data(), &rr);
  sum.Hi(d) = rr;
  bool failed;
  PetscCall(sum.Reduce(comm, !AllFinite(sum.Data(), 2 * (static_cast<size_t>(d) + 1)), &failed));
  PetscCall(PetscLogFlops(22.0 * A.Entries()));
  if (failed) PetscFunctionReturn(PETSC_SUCCESS);
  const std::vector<double> zero(xlo.empty() ? d : 0, 0.0);
  if (o.ridge != 0.0) TwofoldSubtractScaled(d, o.ridge, X, xlo.empty() ? zero.data() : xlo.data(), sum.Data());
  double dg = 0.0, xs = 0.0, dx = 0.0, ds = 0.0;
  for (PetscInt j = 0; j < d; ++j) {
    const double s = N.Scale()[j];
    g[j]           = sum.Hi(j);
    dg             = std::hypot(dg, s * g[j]);
    xs             = std::hypot(xs, X[j] / s);
    dx             = std::hypot(dx, s * X[j]);
    ds             = std::hypot(ds, s);
  }
  PetscCallCXX(N.ApplyT(g.data(), c.data(), 1));
  double h = 0.0;
  for (double e : c) h = std::hypot(h, e);

  /* the rows of N, and 1. and 2. */
  PetscCallCXX(N.RowNorms(norms.data()));
  double inv = 0.0;
  for (PetscInt j = 0; j < d; ++j) inv = std::hypot(inv, norms[j] / N.Scale()[j]);
  const double solve = N.ApplyTError(inv, 1.0, 1.0); /* relative error of a product with N, at least what |N'g|, |Dg| = 1 have */
  if (!(solve < 0.5)) PetscFunctionReturn(PETSC_SUCCESS);
  inv /= 1 - solve;
  const double       F = std::hypot(N.ScaledNormF(), std::sqrt(o.ridge) * ds), rn = 1.01 * std::sqrt(sum.Hi(d)), bn = rn + F * xs;
  const TwofoldError e     = TwofoldResidualError(A, size);
  const double       error = F * (e.forward * (bn + F * xs) + e.backward * rn) + u * dg + 20 * u * u * o.ridge * dx;
  h += N.ApplyTError(inv, dg, h) + inv * error;

  /* 3. */
  double lower = 0.0;
  if (o.gaussianrows > 0 && o.ridge == 0.0) {
    /*
       Davidson & Szarek: sigma_max(S U) <= top. R is the factor of S A D + E, |E|_F <= (gamma_{n+d} |S|_F + gamma_{10 m d} top) F (a sum of n products, and
       Householder QR, Higham theorem 19.4), |S|_F <= 2 sqrt(n); for |v| = 1: 1 = |R R^{-1}v| <= top |A N v| + |E|_F inv.
    */
    const double m = static_cast<double>(o.gaussianrows), n = static_cast<double>(A.nglobal),
                 top    = 1 + std::sqrt(k / m) + std::sqrt(2 * std::log(o.draws / o.delta) / m);
    const double sketch = inv * F * (gamma(n + d) * 2 * std::sqrt(n) + gamma(10 * m * d) * top);
    if (sketch < 0.05) lower = (1 - sketch) * (1 - sketch) / (top * top);
  }
  if (lower == 0.0) PetscCall(LSSmallestEigenvalue(comm, A, N, o.ridge, o.seed, o.delta, inv, &lower));
  if (!(lower > 0.0)) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt j = 0; j < d; ++j)
    bounds[j] = 1.01 * ((norms[j] + N.ApplyTError(inv, N.Scale()[j], norms[j])) * h / lower + (xlo.empty() ? 0.0 : std::fabs(xlo[j])));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace skean
