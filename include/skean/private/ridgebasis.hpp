/*
   The small problems of a path of ridge parameters, min |R x - c|^2 + lambda |x|^2 with one d x d matrix R and many lambda, after one
   bidiagonalisation R = Q B P' (8/3 d^3 flops, against 20 d^3 of a singular value decomposition): with x = P y every lambda costs
   O(d) (Elden, BIT 17, 1977). Where u cond(R)^2 is small, B is the Cholesky factor of the tridiagonal P'(R'R)P instead: 5/3 d^3 flops
   and, as dsytrd reads half of what dgebrd reads, half the time or less; Q = R P B^{-1} is then not kept. All members but Factor() are local; d x q arrays are column major with leading dimension d.
*/
#pragma once

#include <skean/private/skeanimpl.h>
#include <vector>

namespace skean {

class RidgeBasis {
public:
  /* Collective. r: d x d upper triangular, the same on all processes. Process 0 factorises: one broadcast of d^2 numbers.
     squared: R'R may be formed, and LeftToBasis() is not needed */
  PetscErrorCode Factor(MPI_Comm comm, PetscInt d, std::vector<double> &&r, bool squared);
  bool           Empty() const noexcept { return reflectors.empty(); }
  bool           Squared() const noexcept { return squared; } /* R'R was formed, and its tridiagonal matrix was positive definite */

  void ToBasis(double *X, PetscInt q) const;       /* X <- P'X */
  void FromBasis(double *Y, PetscInt q) const;     /* Y <- P Y */
  void LeftToBasis(double *C, PetscInt q) const;   /* C <- Q'C; not if Squared() */
  void Product(const double *y, double *by) const; /* B y */
  void Divide(const double *g, double *f) const;   /* f = B^{-T} g; 0 where B has a zero pivot */
  /* min |B y - f|^2 + lambda |y|^2 by plane rotations: backward stable */
  void Solve(double lambda, const double *f, double *y) const;
  /* The upper bidiagonal T with T'T = B'B + lambda I */
  void        Triangle(double lambda, double *diagonal, double *super) const;
  static void TriangleSolve(PetscInt d, const double *diagonal, const double *super, double *x);                                            /* x <- T^{-1} x */
  static void TriangleSolveTransposed(PetscInt d, const double *diagonal, const double *super, double *X, PetscInt q = 1, PetscInt ld = 0); /* X <- T^{-T} X */

private:
  void Bidiagonalise();
  bool Tridiagonalise();
  void Reflect(char which, char trans, PetscInt q, double *x) const;

  PetscInt            d       = 0;
  bool                squared = false;
  std::vector<double> reflectors, tauq, taup; /* as dgebrd leaves them, or dsytrd (reflectors, taup) */
  std::vector<double> beta, gamma;            /* diagonal and superdiagonal of B */
};

} // namespace skean
