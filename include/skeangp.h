/* Gaussian-process regression with product covariances on tensor grids */
#pragma once

#include <skeansys.h>
#include <skeangpkernel.h>

/*S
   SkeanGP - Gaussian-process regression y = m + f + e on a d-dimensional tensor grid, f ~ N(0, s2f K_0 (x) ... (x) K_{d-1}), e ~ N(0, s2n I)

   Level: beginner

   Notes:
   Exact: no inducing points, no approximation of the covariance. A full grid of N points costs O(N sum_j n_j) for the solve, the log likelihood, its gradient and the
   variance at all points; points may be missing, at the price of conjugate gradients on the missing block of the full grid's inverse.
   Vectors are in natural order, the last dimension fastest (as in C, NetCDF and NumPy), in any distribution. Results do not depend on the number of processes.

.seealso: `SkeanGPCreate()`, `SkeanGPSetGrid()`, `SkeanGPSetKernel()`, `SkeanGPSetData()`, `SkeanGPSolve()`
S*/
typedef struct _p_SkeanGP *SkeanGP;

SKEAN_EXTERN PetscClassId SKEAN_GP_CLASSID;

/*S
   SkeanGPReport - What is known about the numerics of the last solve

   Level: intermediate

   Notes:
   effectiverank: eigenvalues of the signal's covariance above the noise; negative: eigenvalues that rounding made negative (they are used as they are, nothing is clamped);
   condition: of the data's covariance on the full grid; floor: smallest noise-to-signal ratio that rounding allows on this grid; residual: |y - V alpha| / |y| with the gaps of y filled, computed with the factors
   and not with the eigenvectors; filliterations: conjugate-gradient iterations for the missing points, deflated: modes deflated in them; missing: their number; logdeterror: standard error of
   the log likelihood's determinant where it is estimated (0: exact); loglikelihood: the largest log p(y | hyper-parameters) that the optimisation found, NaN without one; in a monitor that of the iterate.

.seealso: `SkeanGPGetReport()`
S*/
typedef struct {
  PetscReal effectiverank, negative, condition, floor, residual, logdeterror, loglikelihood;
  PetscInt  filliterations, missing, evaluations, deflated;
} SkeanGPReport;

SKEAN_EXTERN PetscErrorCode SkeanGPCreate(MPI_Comm comm, SkeanGP *gp);
SKEAN_EXTERN PetscErrorCode SkeanGPDestroy(SkeanGP *gp);
SKEAN_EXTERN PetscErrorCode SkeanGPSetOptionsPrefix(SkeanGP gp, const char prefix[]);
SKEAN_EXTERN PetscErrorCode SkeanGPSetFromOptions(SkeanGP gp);
SKEAN_EXTERN PetscErrorCode SkeanGPView(SkeanGP gp, PetscViewer viewer);
/* x[j]: n[j] coordinates, strictly monotone */
SKEAN_EXTERN PetscErrorCode SkeanGPSetGrid(SkeanGP gp, PetscInt d, const PetscInt n[], const PetscReal *const x[]);
SKEAN_EXTERN PetscErrorCode SkeanGPSetKernel(SkeanGP gp, const char kernel[]);
SKEAN_EXTERN PetscErrorCode SkeanGPGetKernel(SkeanGP gp, PetscInt dim, char kernel[], size_t len);
SKEAN_EXTERN PetscErrorCode SkeanGPSetFactor(SkeanGP gp, PetscInt dim, Mat K);
SKEAN_EXTERN PetscErrorCode SkeanGPSetVariances(SkeanGP gp, PetscReal signal, PetscReal noise);
SKEAN_EXTERN PetscErrorCode SkeanGPGetVariances(SkeanGP gp, PetscReal *signal, PetscReal *noise);
SKEAN_EXTERN PetscErrorCode SkeanGPSetNoiseFactor(SkeanGP gp, PetscInt dim, const PetscReal diag[]);
SKEAN_EXTERN PetscErrorCode SkeanGPSetNoiseScale(SkeanGP gp, Vec scale);
SKEAN_EXTERN PetscErrorCode SkeanGPSetSampleMean(SkeanGP gp, PetscBool flg);
SKEAN_EXTERN PetscErrorCode SkeanGPCreateVec(SkeanGP gp, Vec *v);
SKEAN_EXTERN PetscErrorCode SkeanGPSetData(SkeanGP gp, Vec y, Vec mask);
SKEAN_EXTERN PetscErrorCode SkeanGPGetNumParameters(SkeanGP gp, PetscInt *np);
SKEAN_EXTERN PetscErrorCode SkeanGPGetParameterName(SkeanGP gp, PetscInt i, char name[], size_t len);
SKEAN_EXTERN PetscErrorCode SkeanGPGetParameters(SkeanGP gp, PetscReal theta[]);
SKEAN_EXTERN PetscErrorCode SkeanGPSetParameters(SkeanGP gp, const PetscReal theta[]);
SKEAN_EXTERN PetscErrorCode SkeanGPComputeLogLikelihood(SkeanGP gp, PetscReal *loglik, PetscReal grad[]);
SKEAN_EXTERN PetscErrorCode SkeanGPSetOptimize(SkeanGP gp, PetscBool flg);
SKEAN_EXTERN PetscErrorCode SkeanGPSetFixedParameters(SkeanGP gp, PetscInt n, const PetscInt which[]);
SKEAN_EXTERN PetscErrorCode SkeanGPSetRestarts(SkeanGP gp, PetscInt restarts);
SKEAN_EXTERN PetscErrorCode SkeanGPSetMissingMethod(SkeanGP gp, PetscBool maskedcg);
SKEAN_EXTERN PetscErrorCode SkeanGPSetDeflation(SkeanGP gp, PetscInt modes, PetscReal theta);
SKEAN_EXTERN PetscErrorCode SkeanGPSetNeighbors(SkeanGP gp, PetscInt reach);
SKEAN_EXTERN PetscErrorCode SkeanGPSetTolerances(SkeanGP gp, PetscReal rtol, PetscReal atol, PetscInt max_it);
SKEAN_EXTERN PetscErrorCode SkeanGPSetSeed(SkeanGP gp, SkeanSeed seed);
SKEAN_EXTERN PetscErrorCode SkeanGPMonitorSet(SkeanGP gp, PetscErrorCode (*monitor)(SkeanGP, PetscInt, PetscReal, void *), void *ctx,
                                              PetscErrorCode (*destroy)(void **));
SKEAN_EXTERN PetscErrorCode SkeanGPSolve(SkeanGP gp);
SKEAN_EXTERN PetscErrorCode SkeanGPGetConvergedReason(SkeanGP gp, SkeanConvergedReason *reason);
SKEAN_EXTERN PetscErrorCode SkeanGPGetIterationNumber(SkeanGP gp, PetscInt *its);
SKEAN_EXTERN PetscErrorCode SkeanGPGetReport(SkeanGP gp, SkeanGPReport *report);
SKEAN_EXTERN PetscErrorCode SkeanGPComputeParameterDeviations(SkeanGP gp, PetscReal sd[]);
SKEAN_EXTERN PetscErrorCode SkeanGPGetPosterior(SkeanGP gp, Vec mean, Vec variance);
SKEAN_EXTERN PetscErrorCode SkeanGPPredict(SkeanGP gp, const PetscInt nt[], const PetscReal *const xt[], Vec mean, Vec variance);
SKEAN_EXTERN PetscErrorCode SkeanGPSample(SkeanGP gp, PetscBool posterior, PetscInt draw, Vec f);
