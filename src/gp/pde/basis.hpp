/*
   What a function is made of along one dimension, and what the boundary conditions leave of it.

   u(x) = sum_a w_a(x) c_a with r functions. On the grid: W (n x r), W1, W2 their derivatives. The boundary functionals of the dimension
   (values, derivatives, periodicity) are the rows of rho (nb x r); Z spans their null space, lift is their pseudo-inverse, so that
   every c with rho c = g is c = lift g + Z y. V = W Z.

   MIXTURE. A spectral mixture k(z) = sum_q w_q G(z) cos(2 pi mu_q z) is the inverse Fourier transform of its density S. The trapezoid
   rule with step D in frequency gives k(z) = D sum_j S(jD) cos(2 pi j D z) up to the values of k at distances 1/D - L and beyond:
   with 1/D = 2 L and a Gaussian envelope of length L/8 this is 1e-14. Hence k = Phi Phi' with the features
   sqrt(S_j) cos(2 pi j D x), sqrt(S_j) sin(2 pi j D x), known to full relative accuracy. Their singular value decomposition is that of a square root of
   the covariance matrix: a floor of 1e-13 on it is a jitter of 1e-26 on the covariance, where the covariance matrix itself, rounded to
   1e-16, allows 1e-16 at best. This is what the accuracy of the direct mode comes from.
*/
#pragma once

#include "dense.hpp"
#include <skean/private/gpkernels.hpp>
#include <skeangppde.h>

namespace skean {
namespace gp {

struct BasisSpec {
  SkeanGPPDEBasis     kind = SKEAN_GPPDE_BASIS_MIXTURE;
  std::vector<double> x;              /* grid */
  std::vector<double> freq;           /* MIXTURE: frequencies, cycles per unit length */
  double              ell    = 1;     /* MIXTURE: length scale of the envelope */
  double              floor  = 1e-13; /* singular values (MIXTURE), eigenvalues (COVARIANCE) relative to the largest */
  const Kernel1D     *kernel = nullptr;
};

struct Basis1D {
  /* Grid quantities; known on the process that built it until Broadcast() */
  Dense W, W1, W2;    /* n x r */
  Dense coef;         /* features or kernel translates -> basis, p x r; empty: identity */
  Dense rho, Z, lift; /* nb x r, r x m, r x nb */
  Dense V, V1, V2;    /* n x m */
  Dense scale;        /* r x 1: prior deviations of the coefficients (MIXTURE, COVARIANCE), up to a common factor */
  bool  ok = true;    /* false: LAPACK failed, or the boundary conditions contradict each other */

  size_t N() const noexcept { return W.m; }
  size_t Rank() const noexcept { return W.n; }
  size_t Inner() const noexcept { return Z.n; }

  /* Sequential */
  PetscErrorCode Build(const BasisSpec &spec);
  /* low, high: SkeanGPPDEBC of the two sides; firstorder: periodicity is one condition */
  void Constrain(SkeanGPPDEBC low, SkeanGPPDEBC high, bool firstorder);
  /* Collective: from process root to all, so that every process has the same bits */
  PetscErrorCode Broadcast(MPI_Comm comm, int root);
  /* E[m] (npts x r): the functions (m = 0) and their derivatives (m = 1, 2) at other points; NULL entries are skipped */
  PetscErrorCode Evaluate(const BasisSpec &spec, size_t npts, const double *x, Dense *const E[3]) const;
};

/* Peaks of the periodogram of the rows of f (lines x n, equidistant samples on an interval of length L), summed over the lines, that
   exceed threshold times the highest; cycles per unit length, highest first. Nuttall's window (sidelobes below 1e-4.6), padding 4. */
std::vector<double> PeriodogramPeaks(size_t n, size_t lines, const double *f, double L, double threshold, size_t maxpeaks);

} // namespace gp
} // namespace skean
