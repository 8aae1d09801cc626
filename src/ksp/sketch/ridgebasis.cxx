#include <skean/private/ridgebasis.hpp>
#include <skean/private/lapack.hpp>
#include <algorithm>
#include <cmath>

namespace skean {

PetscErrorCode RidgeBasis::Factor(MPI_Comm comm, PetscInt d_, std::vector<double> &&r)
{
  PetscMPIInt rank;

  PetscFunctionBegin;
  d = d_;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  reflectors = std::move(r);
  PetscCallCXX(beta.assign(d, 0.0));
  PetscCallCXX(gamma.assign(d, 0.0));
  PetscCallCXX(tauq.assign(d, 0.0));
  PetscCallCXX(taup.assign(d, 0.0));
  if (!rank) { /* the other processes could only do the same work */
    PetscBLASInt        n = d, lwork = 64 * std::max<PetscInt>(1, 2 * d), info = 0;
    std::vector<double> work;
    PetscCallCXX(work.resize(lwork));
    if (n) dgebrd_(&n, &n, reflectors.data(), &n, beta.data(), gamma.data(), tauq.data(), taup.data(), work.data(), &lwork, &info);
    PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dgebrd: info %d", (int)info);
  }
  for (PetscInt j = 0; j < d; j += 1024) { /* whole columns, counts that fit an int */
    const PetscInt w = std::min<PetscInt>(1024, d - j);
    PetscCallMPI(MPI_Bcast(reflectors.data() + static_cast<size_t>(j) * d, static_cast<int>(w * d), MPI_DOUBLE, 0, comm));
  }
  for (std::vector<double> *f : {&beta, &gamma, &tauq, &taup}) PetscCallMPI(MPI_Bcast(f->data(), static_cast<int>(d), MPI_DOUBLE, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

namespace {
void Reflect(char which, char trans, PetscBLASInt d, PetscBLASInt q, const double *a, const double *tau, double *x)
{
  if (!d || !q) return;
  PetscBLASInt        lwork = 64 * std::max<PetscBLASInt>(q, 1) + 64 * 65, info;
  std::vector<double> work(lwork);
  dormbr_(&which, "L", &trans, &d, &q, &d, a, &d, tau, x, &d, work.data(), &lwork, &info);
}
} // namespace

void RidgeBasis::ToBasis(double *X, PetscInt q) const
{
  Reflect('P', 'T', d, q, reflectors.data(), taup.data(), X);
}
void RidgeBasis::FromBasis(double *Y, PetscInt q) const
{
  Reflect('P', 'N', d, q, reflectors.data(), taup.data(), Y);
}
void RidgeBasis::LeftToBasis(double *C, PetscInt q) const
{
  Reflect('Q', 'T', d, q, reflectors.data(), tauq.data(), C);
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

void RidgeBasis::TriangleSolveTransposed(PetscInt d, const double *diagonal, const double *super, double *x)
{
  for (PetscInt i = 0; i < d; ++i) {
    if (i) x[i] -= super[i - 1] * x[i - 1];
    x[i] /= diagonal[i];
  }
}

} // namespace skean
