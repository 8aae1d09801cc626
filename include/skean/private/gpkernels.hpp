/*
   One-dimensional stationary covariance functions k(z), z = x - x', one per dimension of a product covariance, with their
   derivatives in the first argument and in the hyper-parameters.

   A kernel is written as text and parsed:

     expression  := term { '+' term }                      each term of a sum carries a weight (hyper-parameter log w)
     term        := factor { '*' factor }
     factor      := '(' expression ')' | name [':' Q] [ '(' value { ',' value } ')' ]

     name             hyper-parameters           k(z)
     se               ell                        exp(-z^2/(2 ell^2))
     matern12 ... 72  ell                        Matern, a = sqrt(2 nu)/ell
     periodic         ell, period                exp(-2 sin^2(pi z/period)/ell^2)
     chordal12 ... 72 ell, period                Matern of the chord (period/pi) sin(pi z/period): longitudes
     rq               ell, alpha                 (1 + z^2/(2 alpha ell^2))^-alpha
     sm:Q             Q times w, ell, freq       sum w exp(-z^2/(2 ell^2)) cos(2 pi freq z)         Gaussian spectral density
     smt:Q            Q times w, ell, freq       the same with a Matern-5/2 envelope                Student-t spectral density, 5 degrees of freedom
     smt12:Q ... 72   "                          Matern 1/2, 3/2, 5/2, 7/2 envelope                 2 nu degrees of freedom
     const            c                          c
     white            c                          c where both points are the same point, else 0
     <registered>                                SkeanGPKernelRegister()

   The values in parentheses are in natural units, in the order of the table ("se(0.3)", "periodic(1,12)"); in the optimiser's
   coordinates ("theta") all are logarithms except freq, which is itself (cycles per unit length, may be negative).
   Base kernels have k(0) = 1; "const*se" is a kernel with an amplitude.

   Differentiability: the m-th derivative exists at z = 0 for m <= Smoothness(). Above that, even derivatives at 0 are the one-sided
   limit and odd derivatives are 0 (their mean over both sides).
*/
#pragma once

#include <skean/private/skeanimpl.h>
#include <skeangpkernel.h>
#include <memory>
#include <string>
#include <vector>

namespace skean {
namespace gp {

constexpr int KERNEL_MAX_ORDER = 4; /* highest derivative in z; gradients in theta up to order 3 */

class KernelNode; /* the expression tree, in src/gp/kernels/nodes.hpp */

class Kernel1D {
public:
  Kernel1D();
  Kernel1D(const Kernel1D &other);
  Kernel1D(Kernel1D &&other) noexcept;
  Kernel1D &operator=(const Kernel1D &other);
  Kernel1D &operator=(Kernel1D &&other) noexcept;
  ~Kernel1D();

  bool        Empty() const noexcept { return !root; }
  std::string Text() const;                /* parses back to the same kernel with the same hyper-parameters */
  int         Smoothness() const noexcept; /* times k is differentiable at 0; 1000 for analytic kernels */
  int         MaxOrder() const noexcept;   /* KERNEL_MAX_ORDER, less if a registered kernel gives less */

  size_t              NumParams() const noexcept;
  std::string         ParamName(size_t i) const;  /* "ell", "1.ell", "q3.freq" */
  bool                ParamIsLog(size_t i) const; /* false: theta is the value itself (freq) */
  std::vector<double> Params() const;             /* theta */
  void                SetParams(const double *theta);

  /* k[m*n + i] = m-th derivative of k at z[i], m = 0 ... order. cross: z are differences between points of two different sets,
     so white noise is 0 even where z = 0 */
  PetscErrorCode Eval(size_t n, const double *z, int order, double *k, bool cross = false) const;
  /* also g[(p*(order+1) + m)*n + i] = derivative of k[m*n + i] with respect to theta[p]; order <= 3 */
  PetscErrorCode EvalGrad(size_t n, const double *z, int order, double *k, double *g, bool cross = false) const;

private:
  friend PetscErrorCode       KernelParse(MPI_Comm, const std::string &, Kernel1D *);
  std::unique_ptr<KernelNode> root;
};

/* An error (PETSC_ERR_USER_INPUT, with the text and the position) for anything that does not parse; no communication */
PetscErrorCode KernelParse(MPI_Comm comm, const std::string &text, Kernel1D *kernel);
/* "matern52,periodic(1,12)*se": one kernel per dimension, separated by commas outside parentheses; a single one serves all d */
PetscErrorCode KernelParseList(MPI_Comm comm, const std::string &text, size_t d, std::vector<Kernel1D> *kernels);
/* Spectral mixture with the given components, natural units: nu2 = 0 Gaussian envelope, else 2 nu = 1, 3, 5, 7 */
PetscErrorCode KernelMixture(MPI_Comm comm, int nu2, size_t Q, const double *w, const double *ell, const double *freq, Kernel1D *kernel);

/*
   K[m][i + j*n] = m-th derivative of k with respect to its first argument at (x_i, y_j), n x ny, column major; m = 0 ... order.
   y = NULL: the square matrix of x with itself (symmetric for even m, skew for odd m; white noise on its diagonal).
   Evaluates k at 2n - 1 points only if the grid is uniform to rounding, at half of the pairs if it is not.
*/
PetscErrorCode KernelMatrix(const Kernel1D &kernel, size_t n, const double *x, size_t ny, const double *y, int order, double *const K[]);
/*
   g[p] += sum over m and ij of G[m][i + j*n] dK[m]_ij/dtheta_p: the derivative of an objective whose derivatives with respect to the
   entries of the square matrices K, K', ... are G[0], G[1], ... (NULL: zero)
*/
PetscErrorCode KernelMatrixGrad(const Kernel1D &kernel, size_t n, const double *x, int order, const double *const G[], double *g);

} // namespace gp
} // namespace skean
