// A Trilinos program that solves a least-squares problem, kept in Tpetra objects, with Skean.
//   -ksp_type sketch|lsqr, -ksp_monitor, ... as for any PETSc solver; -shell applies Tpetra's own product (LSQR only)
#include <skean.h>
#include <skean/interop/tpetra.hpp>
#include <Tpetra_Core.hpp>

namespace {
using Matrix  = Tpetra::CrsMatrix<double>;
using Map     = Tpetra::Map<>;
using Vectors = Tpetra::MultiVector<double>;
using LO      = Map::local_ordinal_type;
using GO      = Map::global_ordinal_type;

double Number(GO i, GO j)
{
  const double s = std::sin(12.9898 * static_cast<double>(i % 4093) + 78.233 * static_cast<double>(j) + 0.5) * 43758.5453;
  return 2.0 * (s - std::floor(s)) - 1.0;
}

PetscErrorCode Run()
{
  const auto         comm = Tpetra::getDefaultComm();
  PetscInt           m = 2000, n = 40;
  PetscBool          shell = PETSC_FALSE;
  KSPConvergedReason reason;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetInt(nullptr, nullptr, "-m", &m, nullptr));
  PetscCall(PetscOptionsGetInt(nullptr, nullptr, "-n", &n, nullptr));
  PetscCall(PetscOptionsGetBool(nullptr, nullptr, "-shell", &shell, nullptr));
  /* rows dealt out like cards: a map that PETSc could not have */
  const GO        base = 0;
  std::vector<GO> mine;
  for (GO i = comm->getRank(); i < m; i += comm->getSize()) mine.push_back(i);
  const auto rows   = Teuchos::rcp(new Map(static_cast<Tpetra::global_size_t>(m), Teuchos::ArrayView<const GO>(mine.data(), mine.size()), base, comm));
  const auto domain = Teuchos::rcp(new Map(static_cast<Tpetra::global_size_t>(n), base, comm));
  const auto A      = Teuchos::rcp(new Matrix(rows, 5));
  for (const GO i : mine) {
    const GO pair = i / 2; /* rows 2k and 2k+1 are equal, so that a residual of opposite signs is orthogonal to the range */
    for (GO k = 0; k < 4; ++k) {
      const GO     j = (pair + k * (1 + pair / n)) % n;
      const double a = 1.5 + Number(pair, j);
      A->insertGlobalValues(i, 1, &a, &j);
    }
  }
  A->fillComplete(domain, rows);

  Vectors B(rows, 2), X(domain, 2), exact(domain, 2);
  for (size_t c = 0; c < 2; ++c) {
    auto values = exact.getDataNonConst(c);
    for (size_t l = 0; l < exact.getLocalLength(); ++l) values[l] = Number(domain->getGlobalElement(static_cast<LO>(l)), -1 - static_cast<GO>(c));
  }
  A->apply(exact, B);
  for (size_t c = 0; c < 2; ++c) {
    auto values = B.getDataNonConst(c);
    for (size_t l = 0; l < B.getLocalLength(); ++l) values[l] += (mine[l] % 2 ? -0.01 : 0.01) * Number(mine[l] / 2, 7);
  }

  const Teuchos::RCP<const Matrix> constA = A;
  if (shell) {
    Mat op;
    Vec b, x;
    KSP ksp;
    PC  pc;
    PetscCall(skean::MatCreateShellFromTpetra(constA, &op));
    PetscCall(KSPCreate(PETSC_COMM_WORLD, &ksp));
    PetscCall(KSPSetOperators(ksp, op, op));
    PetscCall(KSPSetType(ksp, KSPLSQR));
    PetscCall(KSPGetPC(ksp, &pc));
    PetscCall(PCSetType(pc, PCNONE));
    PetscCall(KSPSetFromOptions(ksp));
    PetscCall(MatCreateVecs(op, &x, nullptr));
    for (size_t c = 0; c < 2; ++c) {
      PetscCall(skean::VecCreateFromTpetra(B, c, &b));
      PetscCall(KSPSolve(ksp, b, x));
      PetscCall(skean::VecCopyToTpetra(x, X, c));
      PetscCall(VecDestroy(&b));
    }
    PetscCall(KSPGetConvergedReason(ksp, &reason));
    PetscCall(VecDestroy(&x));
    PetscCall(KSPDestroy(&ksp));
    PetscCall(MatDestroy(&op));
  } else {
    PetscCall(skean::LeastSquaresSolveTpetra(constA, B, X, KSPLSQR, nullptr, &reason));
  }

  Teuchos::Array<double> norm(2), error(2);
  exact.norm2(norm);
  X.update(-1.0, exact, 1.0);
  X.norm2(error);
  const double worst = std::max(error[0] / norm[0], error[1] / norm[1]);
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s, relative error %.3e\n", KSPConvergedReasons[reason], worst));
  PetscCheck(reason > 0 && worst < 1e-6, PETSC_COMM_WORLD, PETSC_ERR_NOT_CONVERGED, "%s, relative error %.3e", KSPConvergedReasons[reason], worst);
  PetscFunctionReturn((PetscErrorCode)0);
}
} // namespace

int main(int argc, char **argv)
{
  MPI_Init(&argc, &argv);
  {
    /* Tpetra takes MPI as it finds it, and so does PETSc */
    Tpetra::ScopeGuard tpetra(&argc, &argv);
    PetscCall(SkeanInitialize(&argc, &argv, nullptr, nullptr));
    PetscBool given;
    PetscCall(PetscOptionsHasName(nullptr, nullptr, "-ksp_rtol", &given));
    if (!given) PetscCall(PetscOptionsSetValue(nullptr, "-ksp_rtol", "1e-10"));
    PetscCall(Run());
    PetscCall(SkeanFinalize());
  }
  MPI_Finalize();
  return 0;
}
