#pragma once

#include <skeangppde.h>
#include <skean/private/skeansolver.h>

struct _SkeanGPPDEOps {
  PetscErrorCode (*setup)(SkeanGPPDE);
  PetscErrorCode (*solve)(SkeanGPPDE);
  PetscErrorCode (*setfromoptions)(SkeanGPPDE, SkeanOptionItems);
  PetscErrorCode (*view)(SkeanGPPDE, PetscViewer);
  PetscErrorCode (*destroy)(SkeanGPPDE);
};

struct SkeanGPPDEState_Private; /* what a solve leaves: grid, bases, coefficients (src/gp/pde/state.hpp) */

struct _p_SkeanGPPDE {
  PETSCHEADER(struct _SkeanGPPDEOps);
  SkeanSolverBase solver;
  /* the equation */
  PetscInt             dim;
  PetscReal            lo[3], hi[3], a[3], b[3], c;
  SkeanGPPDEBC         bc[6];
  SkeanGPPDEFieldFn    bcfn[6], source, exact;
  void                *bcctx[6], *sourcectx, *exactctx;
  SkeanGPPDEResidualFn reaction, residual;
  void                *reactionctx, *residualctx;
  char                *problem; /* its name, or NULL */
  /* the method */
  PetscInt        n[3];
  SkeanGPPDEGrid  grid;
  SkeanGPPDEBasis basis;
  PetscReal       length;     /* of the envelope, relative to the side of the box; PETSC_DETERMINE: chosen by the bound */
  PetscReal       floor;      /* PETSC_DETERMINE: 1e-13 (mixture), 1e-15 (covariance) */
  PetscInt        candidates; /* at least so many length scales are compared */
  char           *kernel;     /* text, for SKEAN_GPPDE_BASIS_COVARIANCE and the compatibility mode */
  PetscReal      *freq[3];
  PetscInt        nfreq[3]; /* -1: found in the data */
  /* compatibility mode */
  PetscInt                        Q;
  PetscReal                       F, jitter, lambdab, variance;
  PetscBool                       datainit;
  PetscInt                        patience; /* PETSC_DETERMINE: 5 with frequencies from the data, else 0 */
  struct SkeanGPPDEState_Private *state;
  void                           *data;
};

SKEAN_INTERN PetscErrorCode SkeanGPPDECreate_Direct(SkeanGPPDE);
SKEAN_INTERN PetscErrorCode SkeanGPPDECreate_Compat(SkeanGPPDE);
SKEAN_INTERN PetscErrorCode SkeanGPPDECreate_Varpro(SkeanGPPDE);
SKEAN_INTERN PetscLogEvent  SKEAN_GPPDE_SetUp, SKEAN_GPPDE_Solve, SKEAN_GPPDE_Basis, SKEAN_GPPDE_Check;
