/* Small dense matrices, column major, and the LAPACK calls of the one-dimensional parts. Sequential. */
#pragma once

#include <skean/private/skeanimpl.h>
#include <petscblaslapack.h>
#include <complex>
#include <vector>

namespace skean {
namespace gp {

struct Dense {
  size_t              m = 0, n = 0;
  std::vector<double> a;
  Dense() = default;
  Dense(size_t rows, size_t cols) : m(rows), n(cols), a(rows * cols, 0.0) {}
  double       &operator()(size_t i, size_t j) noexcept { return a[i + j * m]; }
  const double &operator()(size_t i, size_t j) const noexcept { return a[i + j * m]; }
  double       *Col(size_t j) noexcept { return a.data() + j * m; }
  const double *Col(size_t j) const noexcept { return a.data() + j * m; }
};

/* op(A) op(B) */
Dense Multiply(const Dense &A, const Dense &B, bool ta = false, bool tb = false);
/* A = U diag(s) V', thin. Returns false if LAPACK fails. */
bool SVD(const Dense &A, Dense &U, std::vector<double> &s, Dense &Vt);
/* A = Q diag(lambda) Q', ascending */
bool SymmetricEig(const Dense &A, Dense &Q, std::vector<double> &lambda);
/* A = Q T Q', T quasi-triangular */
bool RealSchur(const Dense &A, Dense &Q, Dense &T);
/* Orthonormal basis of {z: R z = 0} (n x (n - rank)) and the pseudo-inverse of R (n x rows); false if R has not full row rank */
bool NullSpace(const Dense &R, Dense &Z, Dense &pinv);
/* A -> LU; false if singular */
bool LUFactor(Dense &A, std::vector<PetscBLASInt> &piv);
void LUSolve(const Dense &LU, const std::vector<PetscBLASInt> &piv, Dense &B, bool trans = false);

using Complex = std::complex<double>;
struct CDense {
  size_t               m = 0, n = 0;
  std::vector<Complex> a;
  CDense() = default;
  CDense(size_t rows, size_t cols) : m(rows), n(cols), a(rows * cols) {}
  Complex       &operator()(size_t i, size_t j) noexcept { return a[i + j * m]; }
  const Complex &operator()(size_t i, size_t j) const noexcept { return a[i + j * m]; }
};
/* A = X diag(lambda) X^-1 and X^-1; cond: 1-norm condition number of X */
bool ComplexEig(const Dense &A, std::vector<Complex> &lambda, CDense &X, CDense &Xinv, double *cond);
bool ComplexSchur(const Dense &A, CDense &Q, CDense &T);
/* T1 Y + Y T2' = scale Y on exit, T1 and T2 quasi-triangular (real) */
bool Sylvester(const Dense &T1, const Dense &T2, Dense &Y);
/* (T1 + shift) Y + Y T2^H, upper triangular (complex); T1 is overwritten on its diagonal and restored */
bool SylvesterComplex(CDense &T1, Complex shift, const CDense &T2, CDense &Y);
void MultiplyComplex(bool ca, const CDense &A, bool cb, const CDense &B, CDense &C); /* ca: conjugate transpose */

} // namespace gp
} // namespace skean
