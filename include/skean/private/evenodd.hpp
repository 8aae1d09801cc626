/*
   Products with matrices that even/odd splitting halves (Cantoni & Butler, Linear Algebra Appl. 13 (1976) 275; Andrew, SIAM Review 40 (1998) 697). With J the
   reversal of the order and h = floor(n/2), the rows i and n-1-i of a matrix F make a pair: equal in its even columns, opposite in its odd ones,

     y_i = u_i + v_i,  y_{n-1-i} = u_i - v_i (i < h),  and the middle row of odd n is u_h,     u = E s,  v = O d.

   Its columns are
     paired   F = J F J, a centrosymmetric matrix: s_j = x_j + x_{n-1-j}, d_j = x_j - x_{n-1-j}, the middle entry s_h = x_h
     listed   some are even, some odd: s and d are the entries of x in the two lists. The eigenvectors of a centrosymmetric matrix; with no odd column
              a matrix whose rows are equal in pairs, such as their squares

   E and O together have half the entries of F, and a product takes half the flops. Transposes go the other way with E' and O'.
*/
#pragma once

#include <skean/private/skeanimpl.h>
#include <memory>
#include <vector>

namespace skean {

class EvenOdd {
public:
  /* Rows from which on two products of half the size, with what goes before and after, are faster than the one: about even at 32, in nearly all layouts at 48 */
  static constexpr PetscInt64 kLeast = 48;

  /* Centrosymmetric A, n x n column major; where it is not, the mean of A and J A J */
  static std::shared_ptr<const EvenOdd> Matrix(PetscInt64 n, const double *A);
  /* The matrix with these parts in the orthonormal basis of even and odd vectors, see SplitCentro() */
  static std::shared_ptr<const EvenOdd> Join(PetscInt64 n, std::vector<double> E, std::vector<double> O);
  /* n rows; E ceil(n/2) x even.size(), O floor(n/2) x odd.size(); even and odd: the columns of F in which those of E and O are */
  static std::shared_ptr<const EvenOdd> Columns(PetscInt64 n, std::vector<double> E, std::vector<double> O, std::vector<PetscInt> even,
                                                std::vector<PetscInt> odd);

  PetscInt64 Rows() const noexcept { return rows; }
  PetscInt64 Cols() const noexcept { return cols; }
  /* Multiplications and additions for one column */
  double                       Flops() const noexcept { return 2.0 * static_cast<double>(E.size() + O.size()) + 2.0 * static_cast<double>(rows + cols); }
  const std::vector<double>   &EvenPart() const noexcept { return E; }
  const std::vector<double>   &OddPart() const noexcept { return O; }
  const std::vector<PetscInt> &EvenColumns() const noexcept { return even; }
  const std::vector<PetscInt> &OddColumns() const noexcept { return odd; }
  /* F itself, rows x cols column major */
  std::vector<double> ToDense() const;

  /* Kernels: Y = F X, or F' X, for c fibres. Entry i of fibre q is x[i + q ldx] and y[i + q ldy] (columns), or x[i ldx + q] and y[i ldy + q] (rows). X is read
     before Y is written, which may be in its place. work: WorkSize(c) numbers */
  size_t WorkSize(PetscInt64 c) const noexcept { return static_cast<size_t>((rows + cols + 2) * (c + kPad)); }
  void   ApplyToColumns(bool trans, PetscInt64 c, const double *x, PetscInt64 ldx, double *y, PetscInt64 ldy, double *work) const;
  void   ApplyToRows(bool trans, PetscInt64 c, const double *x, PetscInt64 ldx, double *y, PetscInt64 ldy, double *work) const;

private:
  static constexpr PetscInt64 kPad = 8; /* rows a power of two apart fall on each other in the cache */
  EvenOdd()                        = default;
  PetscInt64            rows = 0, cols = 0;
  bool                  paired = false; /* the columns too */
  std::vector<double>   E, O;
  std::vector<PetscInt> even, odd; /* not paired: columns */
  PetscInt64            EvenRows() const noexcept { return rows - rows / 2; }
  PetscInt64            OddRows() const noexcept { return rows / 2; }
  PetscInt64            EvenCols() const noexcept { return paired ? cols - cols / 2 : static_cast<PetscInt64>(even.size()); }
  PetscInt64            OddCols() const noexcept { return paired ? cols / 2 : static_cast<PetscInt64>(odd.size()); }
};

/*
   E and O with Q' A Q = diag(E, O) for the orthonormal basis Q of even vectors (u, sqrt2 c, J u)/sqrt2 and odd ones (v, 0, -J v)/sqrt2 (c: the middle of odd n). Where A is
   not centrosymmetric, those of the mean of A and J A J.
*/
void SplitCentro(PetscInt64 n, const double *A, std::vector<double> *E, std::vector<double> *O);

/* |A - J A J| / (2 |A|) in the Frobenius norm: how far A is from the nearest centrosymmetric matrix. Stops, with some number above it, where it exceeds most; infinite for numbers whose squares leave the range, or that are none */
double CentroDistance(PetscInt64 n, const double *A, double most);

} // namespace skean
