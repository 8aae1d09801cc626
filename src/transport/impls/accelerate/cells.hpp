/* A correction of the potentials that is constant on cells of targets */
#pragma once

#include <skean/private/transportimpl.h>

namespace skean {
namespace transport {

/*
   A sweep reduces errors of the potential that vary over a few blurs (the square root of epsilon, for squared distances) and hardly those that vary slowly.
   These a Newton step takes away that is restricted to potentials which are constant on cells, compact groups of targets: with R the sums over cells,
   R' R(H)^-1 R (c - b), where R(H) = R H R' is the exact Hessian H = diag(b) - P'diag(1/a)P of the semi-dual on that subspace (Galerkin). A fused pass gives
   R P'diag(1/a) P R' at a cost of the number of cells squared that a row's mass is in. It is added to the sweep's step, as in two-level additive Schwarz
   methods (Toselli and Widlund, Domain Decomposition Methods, 2005, section 3.2); Anderson's method does the scaling.
*/
class CellCorrection {
public:
  /* Collective. Fewer than four cells: none */
  PetscErrorCode SetUp(Engine *e);
  bool           Exists() const { return cells.count > 0; }
  /* a level begins: what is known belongs to another epsilon */
  void Restart() { factored = false; }
  /* What the next pass is to fill, NULL: nothing. err: marginal error before it */
  Cells *Wanted(double err);
  /* Collective. After such a pass */
  PetscErrorCode Factor(const Work *w);
  /* Collective. more_j = the correction at the last pass; NULL: there is none */
  PetscErrorCode Get(const Work *w, const double **out);

private:
  static constexpr PetscInt kMost = 1024;
  static constexpr double   kFar  = 0.5; /* marginal error from which on a Newton step says something */

  Cells               cells;
  std::vector<double> x, more;
  bool                factored = false, failed = false;
  double              at = 0; /* marginal error when it was factored */
};

} // namespace transport
} // namespace skean
