/* Sequential dense least squares by LAPACK, for the tests of KSP and PC type sketch */
#pragma once

#include <petscblaslapack.h>
#include <vector>

namespace reference {
/* min |A x - b|, minimum norm, by the singular value decomposition (dgelss); A is n x d column major */
inline std::vector<double> LeastSquares(int n, int d, std::vector<double> A, std::vector<double> b, double rcond = 1e-12, int *rank = nullptr)
{
  PetscBLASInt        m = n, k = d, one = 1, ldb = n > d ? n : d, lwork = 64 * (n + d) + 5 * d, info, r;
  std::vector<double> s(n < d ? n : d), work(lwork);
  b.resize(ldb);
  LAPACKgelss_(&m, &k, &one, A.data(), &m, b.data(), &ldb, s.data(), &rcond, &r, work.data(), &lwork, &info);
  if (rank) *rank = r;
  b.resize(d);
  return b;
}
/* min |A x - b|^2 + lambda |x|^2 */
inline std::vector<double> Ridge(int n, int d, const std::vector<double> &A, const std::vector<double> &b, double lambda)
{
  std::vector<double> B(static_cast<size_t>(n + d) * d, 0.0), c(n + d, 0.0);
  for (int j = 0; j < d; ++j) {
    for (int i = 0; i < n; ++i) B[i + static_cast<size_t>(j) * (n + d)] = A[i + static_cast<size_t>(j) * n];
    B[n + j + static_cast<size_t>(j) * (n + d)] = std::sqrt(lambda);
  }
  for (int i = 0; i < n; ++i) c[i] = b[i];
  return LeastSquares(n + d, d, B, c, 1e-15);
}
/* min |A x - b| of full rank for the numbers as they are, right to working precision for condition numbers below 1e8: normal equations in 113 bits */
#if defined(__SIZEOF_FLOAT128__)
__extension__ typedef __float128 Quad;
#else
typedef long double Quad;
#endif
inline std::vector<double> ExactLeastSquares(int n, int d, const std::vector<double> &A, const std::vector<double> &b)
{
  std::vector<Quad> W(static_cast<size_t>(d) * d), x(d);
  const auto        w = [&](int i, int j) -> Quad        &{ return W[i + static_cast<size_t>(j) * d]; };
  const auto        a = [&](int i, int j) { return static_cast<Quad>(A[i + static_cast<size_t>(j) * n]); };
  for (int j = 0; j < d; ++j) {
    x[j] = 0;
    for (int i = 0; i < n; ++i) x[j] += a(i, j) * b[i];
    for (int k = 0; k <= j; ++k) {
      Quad s = 0;
      for (int i = 0; i < n; ++i) s += a(i, j) * a(i, k);
      w(j, k) = s;
    }
  }
  for (int j = 0; j < d; ++j) /* W = L D L', L below the diagonal */
    for (int i = j + 1; i < d; ++i) {
      const Quad f = w(i, j) / w(j, j);
      for (int k = j + 1; k <= i; ++k) w(i, k) -= f * w(k, j);
    }
  for (int j = 0; j < d; ++j)
    for (int i = j + 1; i < d; ++i) x[i] -= w(i, j) / w(j, j) * x[j];
  for (int j = d - 1; j >= 0; --j) {
    x[j] /= w(j, j);
    for (int i = 0; i < j; ++i) x[i] -= w(j, i) * x[j];
  }
  return std::vector<double>(x.begin(), x.end());
}
} // namespace reference
