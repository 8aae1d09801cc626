/* Partial differential equations on boxes by Gaussian-process collocation with spectral-mixture covariances */
#pragma once

#include <skeansys.h>
#include <skeangpkernel.h>
#include <petscvec.h>

/*S
   SkeanGPPDE - A partial differential equation on a box in 1, 2 or 3 dimensions, solved by collocation with a Gaussian-process prior

   Level: beginner

   Notes:
   The equation is  sum_k (a_k u_kk + b_k u_k) + c u + N(x,u) = f,  or  R(x,u,u_k,u_kk) = f  with a residual of the user's own, with values, normal
   derivatives or periodicity on the sides of the box. The prior is a product over the dimensions of spectral mixtures whose frequencies are found in
   the data of the problem (source, boundary and initial values).

.seealso: `SkeanGPPDECreate()`, `SkeanGPPDEType`, `SkeanGPPDESetProblem()`, `SkeanGPPDESolve()`
S*/
typedef struct _p_SkeanGPPDE *SkeanGPPDE;

/*J
   SkeanGPPDEType - How a `SkeanGPPDE` is solved

   Values:
+  `SKEANGPPDEDIRECT` - boundary conditions imposed exactly, one Kronecker-sum solve (the default)
.  `SKEANGPPDECOMPAT` - maximises the objective of GP-HM over values, hyper-parameters and precisions
-  `SKEANGPPDEVARPRO` - the same objective with values and precisions eliminated

   Level: beginner

.seealso: `SkeanGPPDESetType()`
J*/
typedef const char *SkeanGPPDEType;
#define SKEANGPPDEDIRECT "direct"
#define SKEANGPPDECOMPAT "compat"
#define SKEANGPPDEVARPRO "varpro"

/*E
   SkeanGPPDEGrid - Where the collocation points lie in a dimension

   Values:
+  `SKEAN_GPPDE_GRID_UNIFORM`   - equidistant, with both ends
-  `SKEAN_GPPDE_GRID_CHEBYSHEV` - extrema of a Chebyshev polynomial

   Level: beginner

.seealso: `SkeanGPPDESetGrid()`
E*/
typedef enum { SKEAN_GPPDE_GRID_UNIFORM = 0, SKEAN_GPPDE_GRID_CHEBYSHEV = 1 } SkeanGPPDEGrid;
SKEAN_EXTERN const char *const SkeanGPPDEGrids[];

/*E
   SkeanGPPDEBasis - The functions in which `SKEANGPPDEDIRECT` represents the solution along each dimension

   Values:
+  `SKEAN_GPPDE_BASIS_MIXTURE`    - spectral mixture through its features (a factor of the covariance, never the covariance itself); the default
.  `SKEAN_GPPDE_BASIS_COVARIANCE` - eigenvectors of the covariance matrix of a kernel given by `SkeanGPPDESetKernel()`
.  `SKEAN_GPPDE_BASIS_CHEBYSHEV`  - for comparison: Chebyshev collocation (sets the grid)
.  `SKEAN_GPPDE_BASIS_FD2`        - for comparison: finite differences of second order (uniform grid)
-  `SKEAN_GPPDE_BASIS_FD4`        - for comparison: finite differences of fourth order (uniform grid)

   Level: intermediate

.seealso: `SkeanGPPDESetBasis()`
E*/
typedef enum {
  SKEAN_GPPDE_BASIS_MIXTURE    = 0,
  SKEAN_GPPDE_BASIS_COVARIANCE = 1,
  SKEAN_GPPDE_BASIS_CHEBYSHEV  = 2,
  SKEAN_GPPDE_BASIS_FD2        = 3,
  SKEAN_GPPDE_BASIS_FD4        = 4
} SkeanGPPDEBasis;
SKEAN_EXTERN const char *const SkeanGPPDEBases[];

/*E
   SkeanGPPDEBC - The condition on a side of the box

   Values:
+  `SKEAN_GPPDE_BC_NONE`      - nothing is given (outflow, final time)
.  `SKEAN_GPPDE_BC_DIRICHLET` - the value of u
.  `SKEAN_GPPDE_BC_NEUMANN`   - the derivative of u along the axis (not the outward normal)
-  `SKEAN_GPPDE_BC_PERIODIC`  - u and its derivative agree with those of the opposite side (set on both sides)

   Level: beginner

.seealso: `SkeanGPPDESetBoundary()`
E*/
typedef enum { SKEAN_GPPDE_BC_NONE = 0, SKEAN_GPPDE_BC_DIRICHLET = 1, SKEAN_GPPDE_BC_NEUMANN = 2, SKEAN_GPPDE_BC_PERIODIC = 3 } SkeanGPPDEBC;

/*S
   SkeanGPPDEFieldFn - A function of the point: the source, the boundary data, the exact solution

   Synopsis:
   PetscErrorCode fn(PetscInt n, PetscInt dim, const PetscReal x[], PetscInt side, PetscReal f[], void *ctx)

   Input Parameters:
+  n    - number of points
.  dim  - dimension of the box
.  x    - coordinates, point i in x[i*dim + k]
.  side - for boundary data 2*k for the low and 2*k + 1 for the high side of dimension k; else -1
-  ctx  - the context

   Output Parameter:
.  f - the n values

   Level: beginner

   Notes:
   Not collective: called on some processes only, for points anywhere in the box.

.seealso: `SkeanGPPDESetSource()`, `SkeanGPPDESetBoundary()`
S*/
typedef PetscErrorCode (*SkeanGPPDEFieldFn)(PetscInt n, PetscInt dim, const PetscReal x[], PetscInt side, PetscReal f[], void *ctx);

/*S
   SkeanGPPDEResidualFn - A pointwise nonlinear operator R(x, u, u_k, u_kk) of the user's own

   Synopsis:
   PetscErrorCode fn(PetscInt n, PetscInt dim, const PetscReal x[], const PetscReal u[], const PetscReal du[], const PetscReal d2u[], PetscReal r[], PetscReal ru[], PetscReal rdu[], PetscReal rd2u[], void *ctx)

   Input Parameters:
+  n   - number of points
.  dim - dimension of the box
.  x   - coordinates, point i in x[i*dim + k]
.  u   - values
.  du  - first derivatives, u_k at point i in du[k*n + i]
.  d2u - second derivatives, u_kk at point i in d2u[k*n + i]
-  ctx - the context

   Output Parameters:
+  r    - values of R
.  ru   - NULL (then rdu and rd2u are NULL too), or dR/du
.  rdu  - dR/du_k at point i in rdu[k*n + i]
-  rd2u - dR/du_kk at point i in rd2u[k*n + i]

   Level: intermediate

   Notes:
   Not collective. For a reaction (`SkeanGPPDESetReaction()`) du and d2u are NULL, and so are rdu and rd2u.

.seealso: `SkeanGPPDESetResidual()`, `SkeanGPPDESetReaction()`
S*/
typedef PetscErrorCode (*SkeanGPPDEResidualFn)(PetscInt n, PetscInt dim, const PetscReal x[], const PetscReal u[], const PetscReal du[], const PetscReal d2u[],
                                               PetscReal r[], PetscReal ru[], PetscReal rdu[], PetscReal rd2u[], void *ctx);

SKEAN_EXTERN PetscClassId SKEAN_GPPDE_CLASSID;

SKEAN_EXTERN PetscErrorCode SkeanGPPDECreate(MPI_Comm comm, SkeanGPPDE *pde);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEDestroy(SkeanGPPDE *pde);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEReset(SkeanGPPDE pde);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetType(SkeanGPPDE pde, SkeanGPPDEType type);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEGetType(SkeanGPPDE pde, SkeanGPPDEType *type);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetOptionsPrefix(SkeanGPPDE pde, const char prefix[]);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetFromOptions(SkeanGPPDE pde);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetUp(SkeanGPPDE pde);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESolve(SkeanGPPDE pde);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEView(SkeanGPPDE pde, PetscViewer viewer);

/* the equation */
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetDomain(SkeanGPPDE pde, PetscInt dim, const PetscReal lo[], const PetscReal hi[]);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEGetDomain(SkeanGPPDE pde, PetscInt *dim, PetscReal lo[], PetscReal hi[]);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetOperator(SkeanGPPDE pde, const PetscReal a[], const PetscReal b[], PetscReal c);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetReaction(SkeanGPPDE pde, SkeanGPPDEResidualFn fn, void *ctx);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetResidual(SkeanGPPDE pde, SkeanGPPDEResidualFn fn, void *ctx);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetSource(SkeanGPPDE pde, SkeanGPPDEFieldFn fn, void *ctx);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetBoundary(SkeanGPPDE pde, PetscInt side, SkeanGPPDEBC bc, SkeanGPPDEFieldFn fn, void *ctx);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetExact(SkeanGPPDE pde, SkeanGPPDEFieldFn fn, void *ctx);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetProblem(SkeanGPPDE pde, const char name[]);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEGetProblems(PetscInt *n, const char *const *names[]);

/* the method */
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetGrid(SkeanGPPDE pde, SkeanGPPDEGrid grid, const PetscInt n[]);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEGetGrid(SkeanGPPDE pde, SkeanGPPDEGrid *grid, PetscInt n[]);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetBasis(SkeanGPPDE pde, SkeanGPPDEBasis basis);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetKernel(SkeanGPPDE pde, const char kernels[]);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetFrequencies(SkeanGPPDE pde, PetscInt k, PetscInt n, const PetscReal freq[]);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEGetFrequencies(SkeanGPPDE pde, PetscInt k, PetscInt *n, const PetscReal *freq[]);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetLength(SkeanGPPDE pde, PetscReal length);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEGetLength(SkeanGPPDE pde, PetscReal *length);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetFloor(SkeanGPPDE pde, PetscReal floor);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetTolerances(SkeanGPPDE pde, PetscReal rtol, PetscReal atol, PetscInt max_it);
SKEAN_EXTERN PetscErrorCode SkeanGPPDESetErrorIfNotConverged(SkeanGPPDE pde, PetscBool flg);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEMonitorSet(SkeanGPPDE pde, PetscErrorCode (*monitor)(SkeanGPPDE, PetscInt, PetscReal, void *), void *ctx,
                                                 PetscErrorCode (*destroy)(void **));

/* the answer */
SKEAN_EXTERN PetscErrorCode SkeanGPPDEGetConvergedReason(SkeanGPPDE pde, SkeanConvergedReason *reason);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEGetIterationNumber(SkeanGPPDE pde, PetscInt *its);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEGetSolution(SkeanGPPDE pde, Vec *u);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEGetErrorEstimate(SkeanGPPDE pde, PetscReal *bound, PetscReal *agreement);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEGetRanks(SkeanGPPDE pde, PetscInt ranks[]);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEGetCoordinates(SkeanGPPDE pde, PetscInt k, PetscInt *n, const PetscReal *x[]);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEEvaluate(SkeanGPPDE pde, const PetscInt n[], const PetscReal *const x[], Vec *u);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEGetDeviation(SkeanGPPDE pde, PetscInt n, const PetscReal x[], PetscReal deviation[]);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEGetDeviationBounds(SkeanGPPDE pde, PetscInt n, const PetscReal x[], PetscReal lower[], PetscReal upper[]);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEEvaluateDeviation(SkeanGPPDE pde, const PetscInt n[], const PetscReal *const x[], Vec *deviation);
SKEAN_EXTERN PetscErrorCode SkeanGPPDEComputeError(SkeanGPPDE pde, PetscInt n, PetscReal *error);
