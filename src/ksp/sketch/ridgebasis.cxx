#include <skean/private/ridgebasis.hpp>
#include <skean/private/lapack.hpp>
#include <algorithm>
#include <cfloat>
#include <cmath>

namespace skean {

PetscErrorCode RidgeBasis::Factor(MPI_Comm comm, PetscInt d_, std::vector<double> &&r, bool squared_)
{
  PetscMPIInt rank;
  int         kind = 0;

  PetscFunctionBegin;
  d = d_;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  reflectors = std::move(r);
  for (std::vector<double> *f : {&beta, &gamma, &tauq, &taup}) PetscCallCXX(f->assign(d, 0.0));
  if (!rank && d) { /* the other processes could only do the same work */
    PetscCallCXX(kind = squared_ && Tridiagonalise());
    if (!kind) PetscCallCXX(Bidiagonalise());
  }
  PetscCallMPI(MPI_Bcast(&kind, 1, MPI_INT, 0, comm));
  squared = kind != 0;
  for (PetscInt j = 0; j < d; j += 1024) { /* whole columns, counts that fit an int */
    const PetscInt w = std::min<PetscInt>(1024, d - j);
    PetscCallMPI(MPI_Bcast(reflectors.data() + static_cast<size_t>(j) * d, static_cast<int>(w * d), MPI_DOUBLE, 0, comm));
  }
  for (std::vector<double> *f : {&beta, &gamma, &tauq, &taup}) PetscCallMPI(MPI_Bcast(f->data(), static_cast<int>(d), MPI_DOUBLE, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void RidgeBasis::Bidiagonalise()
{
  PetscBLASInt        n = d, lwork = 64 * std::max<PetscInt>(1, 2 * d), info = 0;
  std::vector<double> work(lwork);
  dgebrd_(&n, &n, reflectors.data(), &n, beta.data(), gamma.data(), tauq.data(), taup.data(), work.data(), &lwork, &info); /* info: arguments only */
}

/* False, and R unchanged, if the tridiagonal matrix is not safely positive definite */
bool RidgeBasis::Tridiagonalise()
{
  const PetscBLASInt  n = d, block = 64, lwork = 64 * std::max<PetscBLASInt>(1, n);
  const double        one  = 1.0;
  PetscBLASInt        info = 0;
  std::vector<double> gram(reflectors.size(), 0.0), diagonal(d), below(d), tau(d), work(lwork);
  for (PetscBLASInt k = 0; k < n; k += block) { /* block rows of R begin at the diagonal */
    const PetscBLASInt rows = std::min(block, n - k), cols = n - k;
    const size_t       at = k + static_cast<size_t>(k) * d;
    dsyrk_("L", "T", &cols, &rows, &one, reflectors.data() + at, &n, &one, gram.data() + at, &n);
  }
  dsytrd_("L", &n, gram.data(), &n, diagonal.data(), below.data(), tau.data(), work.data(), &lwork, &info);
  const double least = d * DBL_EPSILON / 2 * *std::max_element(diagonal.begin(), diagonal.end());
  for (PetscInt i = 0; i < d; ++i) {
    const double pivot = diagonal[i] - (i ? gamma[i - 1] * gamma[i - 1] : 0.0);
    if (!(pivot > least)) return false;
    beta[i]  = std::sqrt(pivot);
    gamma[i] = i + 1 < d ? below[i] / beta[i] : 0.0;
  }
  reflectors = std::move(gram);
  taup       = std::move(tau);
  return true;
}

void RidgeBasis::Reflect(char which, char trans, PetscInt q, double *x) const
{
  const PetscBLASInt n = d, cols = q, lwork = 64 * std::max<PetscBLASInt>(q, 1) + 64 * 65;
  if (!n || !cols) return;
  PetscBLASInt        info;
  std::vector<double> work(lwork);
  if (squared)
    dormtr_("L", "L", &trans, &n, &cols, reflectors.data(), &n, taup.data(), x, &n, work.data(), &lwork, &info);
  else
    dormbr_(&which, "L", &trans, &n, &cols, &n, reflectors.data(), &n, (which == 'P' ? taup : tauq).data(), x, &n, work.data(), &lwork, &info);
}

void RidgeBasis::ToBasis(double *X, PetscInt q) const
{
  Reflect('P', 'T', q, X);
}
void RidgeBasis::FromBasis(double *Y, PetscInt q) const
{
  Reflect('P', 'N', q, Y);
}
void RidgeBasis::LeftToBasis(double *C, PetscInt q) const
{
  Reflect('Q', 'T', q, C);
}

void RidgeBasis::Product(const double *y, double *by) const
{
  for (PetscInt i = 0; i < d; ++i) by[i] = beta[i] * y[i] + (i + 1 < d ? gamma[i] * y[i + 1] : 0.0);
}

void RidgeBasis::Divide(const double *g, double *f) const
{
  for (PetscInt i = 0; i < d; ++i) {
    const double rest = g[i] - (i ? gamma[i - 1] * f[i - 1] : 0.0);
    f[i]              = beta[i] != 0.0 ? rest / beta[i] : 0.0;
  }
}

/*
   Row i of sqrt(lambda) I, joined with what the step before has left of the rows above it (fill), is rotated into row i of B. rest is
   the right-hand side of that joined row.
*/
void RidgeBasis::Solve(double lambda, const double *f, double *y) const
{
  const double        root = std::sqrt(lambda);
  double              fill = 0.0, rest = 0.0;
  std::vector<double> diagonal(d), super(d);
  for (PetscInt i = 0; i < d; ++i) {
    const double low = std::hypot(root, fill), rho = std::hypot(beta[i], low);
    if (low > 0.0) rest *= fill / low;
    const double c = rho > 0.0 ? beta[i] / rho : 1.0, s = rho > 0.0 ? low / rho : 0.0;
    diagonal[i] = rho;
    super[i]    = c * gamma[i];
    y[i]        = c * f[i] + s * rest;
    rest        = c * rest - s * f[i];
    fill        = -s * gamma[i];
  }
  TriangleSolve(d, diagonal.data(), super.data(), y);
}

void RidgeBasis::Triangle(double lambda, double *diagonal, double *super) const
{
  const double root = std::sqrt(lambda);
  double       fill = 0.0;
  for (PetscInt i = 0; i < d; ++i) {
    const double low = std::hypot(root, fill);
    diagonal[i]      = std::hypot(beta[i], low);
    const double c = diagonal[i] > 0.0 ? beta[i] / diagonal[i] : 1.0, s = diagonal[i] > 0.0 ? low / diagonal[i] : 0.0;
    super[i] = c * gamma[i];
    fill     = s * gamma[i];
  }
}

void RidgeBasis::TriangleSolve(PetscInt d, const double *diagonal, const double *super, double *x)
{
  for (PetscInt i = d - 1; i >= 0; --i) {
    if (i + 1 < d) x[i] -= super[i] * x[i + 1];
    x[i] /= diagonal[i];
  }
}

void RidgeBasis::TriangleSolveTransposed(PetscInt d, const double *diagonal, const double *super, double *X, PetscInt q, PetscInt ld)
{
  for (PetscInt i = 0; i < d; ++i) /* the columns are independent of each other: their chains of operations overlap */
    for (PetscInt c = 0; c < q; ++c) {
      double *x = X + i + static_cast<size_t>(c) * ld;
      if (i) *x -= super[i - 1] * x[-1];
      *x /= diagonal[i];
    }
}

} // namespace skean
