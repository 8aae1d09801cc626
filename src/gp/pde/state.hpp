/* The solution of a SkeanGPPDE and the pointwise work on tensor grids of points, shared by all types */
#pragma once

#include "basis.hpp"
#include "kronsum.hpp"
#include <skean/private/gppdeimpl.h>

struct SkeanGPPDEState_Private {
  skean::TensorGrid   grid; /* sizes: collocation points */
  std::vector<double> x[3];
  /* the answer: u = sum of products of the functions of basis[k], coefficients distributed as home boxes of sizes r */
  skean::gp::BasisSpec spec[3];
  skean::gp::Basis1D   basis[3];
  skean::TensorSizes   r{};
  std::vector<double>  coef;
  bool                 solved = false;
  double               bound = -1, agreement = -1; /* relative to max |u|; negative: not known */
  double               estimate = -1;              /* compatibility mode: EstimateError() of the answer, */
  PetscInt             iterate  = 0;               /* the iterate it is, */
  double               variance = 0;               /* and the variance it started from */
  std::vector<double>  freq[3];                    /* in use */
  skean::gp::Kernel1D  kernel[3];                  /* COVARIANCE and the compatibility mode */
};

namespace skean {
namespace gp {

/* Points of a tensor grid and the matrices that evaluate the representation there */
struct PointSet {
  std::vector<double> x[3];
  Dense               E[3][3]; /* E[k][m]: derivative m in dimension k, npts x r */
  TensorSizes         n{};
};

/* Calls body(start, count, coordinates) for the points of this process's home box in pieces */
template <class Body>
PetscErrorCode ForPoints(SkeanGPPDEState_Private *st, int d, const PointSet &p, Body body)
{
  const TensorBox     box   = st->grid.Box(0, p.n);
  const size_t        total = static_cast<size_t>(box.Volume()), piece = 2048;
  std::vector<double> xx;
  PetscFunctionBegin;
  PetscCallCXX(xx.resize(piece * static_cast<size_t>(d)));
  for (size_t s = 0; s < total; s += piece) {
    const size_t c = std::min(piece, total - s);
    for (size_t i = 0; i < c; i++) {
      size_t t = s + i;
      for (int k = d - 1; k >= 0; k--) {
        const size_t len                                        = static_cast<size_t>(box.Length(k));
        xx[i * static_cast<size_t>(d) + static_cast<size_t>(k)] = p.x[k][static_cast<size_t>(box.lo[k]) + t % len];
        t /= len;
      }
    }
    PetscCall(body(s, c, xx.data()));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Collective: fails on every process if a callback failed on one */
PetscErrorCode AgreeCallback(SkeanGPPDE pde, PetscErrorCode mine, const char what[]);
/* Fills E (orders up to maxorder) for the points x already in p */
PetscErrorCode PreparePoints(SkeanGPPDE pde, PointSet *p, int maxorder);
/* Values of the representation with coefficients coef at the points; also L u (linear part without c u), du, d2u where asked for */
PetscErrorCode Fields(SkeanGPPDE pde, const PointSet &p, const std::vector<double> &coef, std::vector<double> *u, std::vector<double> *Lu,
                      std::vector<double> *du, std::vector<double> *d2u);
/* The equation at the points: res = L u + c u + N(u) - f, or R - f. ru, rdu, rd2u (NULL or empty where not asked for): derivatives of the
   nonlinear part. */
PetscErrorCode Residual(SkeanGPPDE pde, const PointSet &p, const std::vector<double> &u, const std::vector<double> &Lu, const std::vector<double> &du,
                        const std::vector<double> &d2u, std::vector<double> &res, std::vector<double> *ru, std::vector<double> *rdu, std::vector<double> *rd2u);
/* Error bound of the present representation from the residual at mid-points and the gap on the boundary; also max |u| there */
PetscErrorCode CheckBound(SkeanGPPDE pde, const std::vector<double> &coef, double *bound, double *umax);
/*
   What the error is likely to be, relative, in the 2-norm: L e = residual solved by differences on the grid refined once, L with the mean derivative of the reaction (a sine transform,
   so the sum of squares of the transformed residual over the eigenvalues), and the largest gap on the boundary. For second-order equations of one sign without first derivatives, given
   values on all sides and the uniform grid; otherwise CheckBound() over max |u|. For p1a and ac1a it was between 0.3 and 1.2 times the error.
*/
PetscErrorCode EstimateError(SkeanGPPDE pde, const std::vector<double> &coef, double *estimate);
/* The direct solve with the bases that are in the state (constrained, the same on every process) */
PetscErrorCode SolveWithBases(SkeanGPPDE pde, bool *ok);
/* The objective of GP-HM and its derivatives, for tests; after SkeanGPPDESetUp() */
PetscErrorCode CompatObjective(SkeanGPPDE pde, const std::vector<double> &theta, const double extra[2], const std::vector<double> &U, double *F,
                               std::vector<double> *gU, std::vector<double> *gtheta, double gextra[2]);
/* Deviations of the prior of the coefficients and of the noise of the equation; after SkeanGPPDESolve() */
PetscErrorCode PosteriorScales(SkeanGPPDE pde, double *s, double *sigma);
/* Sets x of the grid and creates the tensor grid */
PetscErrorCode PrepareGrid(SkeanGPPDE pde);
/* Frequencies of dimension k from source and boundary data (or those the user gave) */
PetscErrorCode FindFrequencies(SkeanGPPDE pde, int k, std::vector<double> *freq);
/* mid-points between grid points, thinned so that the product has at most cap points */
std::vector<double> MidPoints(const std::vector<double> &x, size_t cap);

} // namespace gp
} // namespace skean
