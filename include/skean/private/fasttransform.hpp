/*
   Orthogonal transforms by FFTW, as eigenvectors of structured matrices: a matrix C with columns c_0,...,c_{n-1},

     DHT    Hartley, (cos + sin)(2 pi i k/n)/sqrt(n)      symmetric circulant matrices (periodic, uniform grid)
     DCT2   cos(pi (i+1/2) k/n)                           even at both ends, half a step outside (Neumann)
     DST2   sin(pi (i+1/2)(k+1)/n)                        odd at both ends, half a step outside
     DST1   sin(pi (i+1)(k+1)/(n+1))                      zero one step outside (Dirichlet)
     DCT4   cos(pi (i+1/2)(k+1/2)/n)                      even at the first end, odd at the last
     DST4   sin(pi (i+1/2)(k+1/2)/n)                      odd at the first end, even at the last

   each column with norm one. (Strang, SIAM Review 41 (1999) 135; for the Hartley basis Bini & Favati, SIMAX 14 (1993) 500.)
   All but DHT belong to symmetric Toeplitz-plus-Hankel matrices with that reflection at the ends.
*/
#pragma once

#include <skean/private/skeanimpl.h>
#include <memory>
#include <vector>

namespace skean {

class FastTransform {
public:
  enum Kind { DHT, DCT2, DST2, DST1, DCT4, DST4 };

  /* Null where Skean was built without FFTW, or FFTW refuses */
  static std::shared_ptr<const FastTransform> Create(Kind kind, PetscInt64 n);
  ~FastTransform();
  FastTransform(const FastTransform &)            = delete;
  FastTransform &operator=(const FastTransform &) = delete;

  /* x <- C' x (transpose) or C x for c columns of length n, ld apart, in place */
  void        Apply(bool transpose, PetscInt64 c, double *x, PetscInt64 ld) const;
  double      Flops() const noexcept; /* one column, the customary 2.5 n log2 n */
  Kind        GetKind() const noexcept { return kind; }
  PetscInt64  Size() const noexcept { return n; }
  const char *Name() const noexcept;

private:
  FastTransform()    = default;
  Kind       kind    = DHT;
  PetscInt64 n       = 0;
  void      *plan[2] = {nullptr, nullptr}; /* C, C' */
};

/*
   If the symmetric A (n x n, column major) is diagonalised by one of the transforms to rounding, |C'AC - diag| <= 64 eps |A| in the
   Frobenius norm: its eigenvalues and the transform. Otherwise null. Costs O(n) comparisons when it is plainly not, 5 n^2 log2 n flops when it is.
*/
std::shared_ptr<const FastTransform> DiagonalizeByTransform(PetscInt64 n, const double *A, std::vector<double> *lambda);

} // namespace skean
