/*
   Sketched least squares, without PETSc's solver classes: min |A x - b|^2 + lambda |x|^2 for several right-hand sides at once.
   The preconditioner N (A N well conditioned) comes from LSPrecond.
*/
#pragma once

#include <skean/private/lsprecond.hpp>
#include <functional>
#include <vector>

namespace skean {

struct LSSolveOptions {
  double               rtol      = 0; /* accepted backward error relative to |A|_F */
  PetscInt             max_it    = 1000;
  PetscInt             refine    = 6; /* refinement loops */
  double               abstol    = 0; /* accepted |b - A x| */
  KSPSketchInner       inner     = KSP_SKETCH_CG;
  PetscBool            haveguess = PETSC_FALSE;
  std::vector<double>  ridge;              /* lambda per column; empty: none */
  std::vector<double> *gradient = nullptr; /* wanted: A'r - lambda x of the final columns, d x q */

  KSPSketchExtraPrecise precise = KSP_SKETCH_EXTRA_PRECISE_AUTO; /* not on paths: the gradients of the combinations come from working precision */

  /* after each pass: passes so far, residual norm (first column), backward error (negative: not computed at this pass), and what writes the first
     column as it is then (replicated; of minimum norm: this process's rows), which costs a product with N and is for the time of the call only */
  using Current = std::function<void(double *)>;
  std::function<PetscErrorCode(PetscInt, double, double, const Current &)> monitor;
};

struct LSColumn {
  KSPConvergedReason reason = KSP_CONVERGED_ITERATING;
  double             rnorm = 0, anorm = 0, backward = -1; /* |b - A x|, |A'r|, backward error estimate / |A|_F */
  double             rho2 = 0;                            /* |S(b - A x)|^2 of the sketch-and-solve start */

  std::vector<double> xlo; /* what rounding took from x after extra-precise refinement; empty without */
};

/*
   Collective. B: this process's rows of the right-hand sides (nrows x q, leading dimension ldb). X: d x q, replicated; the start if
   options.haveguess. One reduction of d q numbers per pass.
*/
PetscErrorCode LSSolve(MPI_Comm comm, const RowView &A, SkeanSketch sketch, LSPrecond &N, const LSSolveOptions &options, const double *B, PetscInt ldb,
                       PetscInt q, double *X, std::vector<LSColumn> &columns, PetscInt *passes);
/*
   One right-hand side, q ridge parameters (ridge is not read from the options), from zero: lspath.cxx. Its passes over A serve a few
   parameters only.
*/
PetscErrorCode LSSolvePath(MPI_Comm comm, const RowView &A, SkeanSketch sketch, LSPrecond &N, const LSSolveOptions &options, const double *b, PetscInt q,
                           const double *lambda, double *X, std::vector<LSColumn> &columns, PetscInt *passes);
/*
   Backward errors and reasons of columns whose gradients G = A'r - lambda x and |r| (columns[].rnorm) are known; what does not meet the
   aim stays KSP_CONVERGED_ITERATING. Collective: process 0 decides.
*/
PetscErrorCode LSJudge(MPI_Comm comm, const RowView &A, LSPrecond &N, const LSSolveOptions &options, PetscInt q, double *X, const std::vector<double> &G,
                       std::vector<LSColumn> &columns);
/* The solution of the sketched problem: one pass over A (already made by LSPrecond) and one over b */
PetscErrorCode LSSketchAndSolve(const RowView &A, SkeanSketch sketch, LSPrecond &N, const double *B, PetscInt ldb, PetscInt q, double *X,
                                std::vector<LSColumn> &columns);
/*
   Minimum-norm solution of an underdetermined system: At = A' is tall (rows distributed), N its preconditioner, b (columns of At
   many numbers) replicated, x this process's rows.
*/
PetscErrorCode LSMinimumNorm(MPI_Comm comm, const RowView &At, LSPrecond &N, const LSSolveOptions &options, const double *b, PetscInt q, double *x,
                             std::vector<LSColumn> &columns, PetscInt *passes);
/*
   A lower bound on the smallest eigenvalue of (A N)'(A N) + lambda N'N that fails with probability at most delta, whatever N is: Lanczos from a
   random start (Kuczynski & Wozniakowski, SIAM J. Matrix Anal. Appl. 13, 1992, theorem 4.2), less what rounding may have added.
   inverse: an upper bound of |D^{-1}N|_F. Where nothing positive can be certified, 0.
*/
PetscErrorCode LSSmallestEigenvalue(MPI_Comm comm, const RowView &A, const LSPrecond &N, double ridge, SkeanSeed seed, double delta, double inverse,
                                    double *bound);
struct LSBoundOptions {
  double    ridge = 0, delta = 0; /* delta: probability with which the bounds may fail */
  SkeanSeed seed         = 0;
  PetscInt  gaussianrows = 0, draws = 1; /* rows of the sketch that N was made from if it is Gaussian, else 0; draws before it was accepted */
};
/*
   Collective. |x_j - x*_j| <= bounds[j] for all j, for the solution X of full numerical rank; xlo: the rest of a solution from extra-precise
   refinement, or empty. Infinite where the condition number leaves nothing to certify. One twofold pass and the passes of LSSmallestEigenvalue().
*/
PetscErrorCode LSErrorBounds(MPI_Comm comm, const RowView &A, const LSPrecond &N, const LSBoundOptions &options, const double *B, PetscInt ldb, const double *X,
                             const std::vector<double> &xlo, std::vector<double> &bounds);
/* Quantile of Student's t distribution with nu degrees of freedom: P(T <= t) = 1 - tail */
double StudentQuantile(double tail, double nu);

} // namespace skean
