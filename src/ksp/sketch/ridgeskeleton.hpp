/*
   Few of many ridge solutions x(lambda) from which the others are combined: the choice and the combinations of LSSolvePath(). All local;
   arrays are column major.
*/
#pragma once

#include <skean/private/skeanimpl.h>
#include <vector>

namespace skean {

/* Positions in lambda: the parameters to solve for (ascending), and pilots: every member's column is a combination of theirs */
struct RidgeSkeleton {
  std::vector<PetscInt> members, pilots;
  std::vector<double>   mix; /* pilots x members; column sums are 1 */
};

/*
   M (rows x q, overwritten): the solutions' columns, divided by size[j], what rounding may do to a column being u size[j]; the last row holds
   the same number in each column before that. Members are the smallest parameter, the pivots above u of QR with column pivoting (Cheng,
   Gimbutas, Martinsson & Rokhlin 2005), and what fills them up to a multiple of `panel`, the columns that a pass has room for: the widest
   gaps in log lambda. Pilots are the first pivots, at most `panel`. lambda: positive, ascending.
*/
PetscErrorCode RidgeSkeletonChoose(PetscInt rows, PetscInt q, const double *lambda, double *M, const double *size, PetscInt panel, RidgeSkeleton *skeleton);

/*
   A combination (up to rounding, sum_m c_m = 1; the largest c_m is corrected to make it exact) of k columns X with gradients
   G = A'(b - A x_m) - lambda_m x_m: x, and its own gradient g for the parameter `own`. Sums are in extended precision where the machine
   has it, so that x is rounded once.
*/
void RidgeCombination(PetscInt d, PetscInt k, const long double *c, const double *X, const double *G, const double *lambda, double own, double *x, double *g);

} // namespace skean
