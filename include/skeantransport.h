/* Entropic optimal transport */
#pragma once

#include <skeansys.h>
#include <petscksp.h>

/*S
   SkeanTransport - Moves the mass r of n sources to the mass c of m targets at least cost

   Level: beginner

   Notes:
   Solves min <C,P> + eps H(P) over P >= 0 with P1 = r, P'1 = c. H(P) is KL(P | r c') = sum P_ij log(P_ij/(r_i c_j)) (the default) or the
   plain sum P_ij log P_ij; the plan is the same, potentials and value differ, see `SkeanTransportSetEntropy()`. The plan
   P_ij = r_i c_j exp((f_i + g_j - C_ij)/eps) is never stored: it is applied, sampled, or written out above a threshold.

   Every run reports a lower and an upper bound of the cost of the unregularised problem, see `SkeanTransportGetCertificate()`.

.seealso: `SkeanTransportCreate()`, `SkeanTransportType`, `SkeanTransportSolve()`
S*/
typedef struct _p_SkeanTransport *SkeanTransport;

/*J
   SkeanTransportType - The method of a `SkeanTransport`

   Values:
+  `SKEANTRANSPORTSSNS`     - safeguarded sparse Newton (the default)
.  `SKEANTRANSPORTSNS`      - sparse Newton with a fixed number of kept entries, as published
-  `SKEANTRANSPORTSINKHORN` - Sinkhorn's iteration in the log domain

   Level: beginner

.seealso: `SkeanTransportSetType()`, `SkeanTransport`
J*/
typedef const char *SkeanTransportType;
#define SKEANTRANSPORTSINKHORN "sinkhorn"
#define SKEANTRANSPORTSNS      "sns"
#define SKEANTRANSPORTSSNS     "ssns"

/*E
   SkeanTransportCostType - The cost between two points

   Values:
+  `SKEAN_TRANSPORT_COST_SQEUCLIDEAN` - sum of squared differences (the default)
.  `SKEAN_TRANSPORT_COST_EUCLIDEAN`   - its square root
.  `SKEAN_TRANSPORT_COST_L1`          - sum of absolute differences
.  `SKEAN_TRANSPORT_COST_LP`          - sum of absolute differences to the power given by `SkeanTransportSetCostExponent()`
.  `SKEAN_TRANSPORT_COST_COSINE`      - one minus the cosine of the angle
-  `SKEAN_TRANSPORT_COST_USER`        - the function given by `SkeanTransportSetCostFunction()`

   Level: beginner

.seealso: `SkeanTransportSetCostType()`, `SkeanTransportSetPoints()`
E*/
typedef enum {
  SKEAN_TRANSPORT_COST_SQEUCLIDEAN = 0,
  SKEAN_TRANSPORT_COST_EUCLIDEAN   = 1,
  SKEAN_TRANSPORT_COST_L1          = 2,
  SKEAN_TRANSPORT_COST_LP          = 3,
  SKEAN_TRANSPORT_COST_COSINE      = 4,
  SKEAN_TRANSPORT_COST_USER        = 5
} SkeanTransportCostType;
SKEAN_EXTERN const char *const SkeanTransportCostTypes[];

/*E
   SkeanTransportEntropy - The regularisation and with it the convention of potentials and values

   Values:
+  `SKEAN_TRANSPORT_ENTROPY_KL`    - sum P_ij log(P_ij/(r_i c_j)), P_ij = r_i c_j exp((f_i + g_j - C_ij)/eps) (the default)
-  `SKEAN_TRANSPORT_ENTROPY_PLAIN` - sum P_ij log P_ij, P_ij = exp((f_i + g_j - C_ij)/eps)

   Level: beginner

.seealso: `SkeanTransportSetEntropy()`, `SkeanTransportGetCosts()`
E*/
typedef enum { SKEAN_TRANSPORT_ENTROPY_KL = 0, SKEAN_TRANSPORT_ENTROPY_PLAIN = 1 } SkeanTransportEntropy;
SKEAN_EXTERN const char *const SkeanTransportEntropies[];

/*E
   SkeanTransportEpsMode - What epsilon is relative to

   Values:
+  `SKEAN_TRANSPORT_EPS_ABSOLUTE` - in the units of the cost (the default)
.  `SKEAN_TRANSPORT_EPS_MAX`      - times the largest cost
-  `SKEAN_TRANSPORT_EPS_MEDIAN`   - times the median cost

   Level: beginner

.seealso: `SkeanTransportSetEpsilon()`
E*/
typedef enum { SKEAN_TRANSPORT_EPS_ABSOLUTE = 0, SKEAN_TRANSPORT_EPS_MAX = 1, SKEAN_TRANSPORT_EPS_MEDIAN = 2 } SkeanTransportEpsMode;
SKEAN_EXTERN const char *const SkeanTransportEpsModes[];

/*E
   SkeanTransportMultiscale - Whether coarser problems are solved first

   Values:
+  `SKEAN_TRANSPORT_MULTISCALE_AUTO`   - for clouds of points and grids with at least 1e8 pairs (the default)
.  `SKEAN_TRANSPORT_MULTISCALE_NEVER`  - no
-  `SKEAN_TRANSPORT_MULTISCALE_ALWAYS` - yes; an error for problems that have no ladder

   Level: intermediate

.seealso: `SkeanTransportSetMultiscale()`
E*/
typedef enum { SKEAN_TRANSPORT_MULTISCALE_AUTO = 0, SKEAN_TRANSPORT_MULTISCALE_NEVER = 1, SKEAN_TRANSPORT_MULTISCALE_ALWAYS = 2 } SkeanTransportMultiscale;
SKEAN_EXTERN const char *const SkeanTransportMultiscales[];

/*
   A user's cost between the source x (d numbers) and ny targets y (target j at y + j*d): writes ny costs to c. Called on one
   process at a time: must not communicate.
*/
typedef PetscErrorCode (*SkeanTransportCostFn)(PetscInt d, const PetscReal x[], PetscInt ny, const PetscReal y[], PetscReal c[], void *ctx);

/*S
   SkeanTransportBatchResult - The answer to one problem of a batch

   Level: intermediate

   Notes:
   error: zero, or the error code of a problem that could not be set or solved (nothing else is valid then); reason: positive if converged; iterations;
   cost, lower, upper, marginalerror: as by `SkeanTransportGetCosts()`, `SkeanTransportGetCertificate()`, `SkeanTransportGetMarginalError()`.

.seealso: `SkeanTransportSolveBatch()`
S*/
typedef struct {
  PetscErrorCode       error;
  SkeanConvergedReason reason;
  PetscInt             iterations;
  PetscReal            cost, lower, upper, marginalerror;
} SkeanTransportBatchResult;

/* Gives problem k of a batch its marginals and its cost; t and all it is given live on one process */
typedef PetscErrorCode (*SkeanTransportBatchFn)(PetscInt k, SkeanTransport t, void *ctx);

SKEAN_EXTERN PetscClassId SKEAN_TRANSPORT_CLASSID;

/* life cycle */
SKEAN_EXTERN PetscErrorCode SkeanTransportCreate(MPI_Comm comm, SkeanTransport *transport);
SKEAN_EXTERN PetscErrorCode SkeanTransportDestroy(SkeanTransport *transport);
SKEAN_EXTERN PetscErrorCode SkeanTransportReset(SkeanTransport transport);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetType(SkeanTransport transport, SkeanTransportType type);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetType(SkeanTransport transport, SkeanTransportType *type);
SKEAN_EXTERN PetscErrorCode SkeanTransportRegister(const char name[], PetscErrorCode (*create)(SkeanTransport));
SKEAN_EXTERN PetscErrorCode SkeanTransportSetOptionsPrefix(SkeanTransport transport, const char prefix[]);
SKEAN_EXTERN PetscErrorCode SkeanTransportAppendOptionsPrefix(SkeanTransport transport, const char prefix[]);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetOptionsPrefix(SkeanTransport transport, const char *prefix[]);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetFromOptions(SkeanTransport transport);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetUp(SkeanTransport transport);
SKEAN_EXTERN PetscErrorCode SkeanTransportSolve(SkeanTransport transport);
SKEAN_EXTERN PetscErrorCode SkeanTransportView(SkeanTransport transport, PetscViewer viewer);
SKEAN_EXTERN PetscErrorCode SkeanTransportViewFromOptions(SkeanTransport transport, PetscObject obj, const char name[]);

/* the problem */
SKEAN_EXTERN PetscErrorCode SkeanTransportSetMarginals(SkeanTransport transport, Vec r, Vec c);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetMarginals(SkeanTransport transport, Vec *r, Vec *c);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetCost(SkeanTransport transport, Mat C);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetPoints(SkeanTransport transport, Mat X, Mat Y);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetGrid(SkeanTransport transport, PetscInt dim, const PetscInt n[], const PetscReal lower[], const PetscReal upper[]);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetGraph(SkeanTransport transport, Mat G);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetCostType(SkeanTransport transport, SkeanTransportCostType type);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetCostType(SkeanTransport transport, SkeanTransportCostType *type);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetCostExponent(SkeanTransport transport, PetscReal p);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetCostExponent(SkeanTransport transport, PetscReal *p);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetCostFunction(SkeanTransport transport, SkeanTransportCostFn fn, void *ctx);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetEpsilon(SkeanTransport transport, PetscReal eps, SkeanTransportEpsMode mode);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetEpsilon(SkeanTransport transport, PetscReal *eps);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetEntropy(SkeanTransport transport, SkeanTransportEntropy entropy);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetEntropy(SkeanTransport transport, SkeanTransportEntropy *entropy);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetScaling(SkeanTransport transport, PetscBool scaling, PetscReal factor);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetScaling(SkeanTransport transport, PetscBool *scaling, PetscReal *factor);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetMarginalPenalty(SkeanTransport transport, PetscReal rhor, PetscReal rhoc);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetMarginalPenalty(SkeanTransport transport, PetscReal *rhor, PetscReal *rhoc);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetPartialMass(SkeanTransport transport, PetscReal mass);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetPartialMass(SkeanTransport transport, PetscReal *mass);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetTruncation(SkeanTransport transport, PetscReal tol);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetTruncation(SkeanTransport transport, PetscReal *tol);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetReplicationLimit(SkeanTransport transport, PetscReal bytes);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetReplicationLimit(SkeanTransport transport, PetscReal *bytes);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetMultiscale(SkeanTransport transport, SkeanTransportMultiscale mode, PetscReal ratio);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetMultiscale(SkeanTransport transport, SkeanTransportMultiscale *mode, PetscReal *ratio, PetscInt *levels);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetKernelMemory(SkeanTransport transport, PetscReal bytes);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetKernelMemory(SkeanTransport transport, PetscReal *bytes);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetKeptPasses(SkeanTransport transport, PetscInt *passes);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetInitialPotentials(SkeanTransport transport, Vec f, Vec g);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetCertificate(SkeanTransport transport, PetscBool certify);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetCertificateGap(SkeanTransport transport, PetscReal gap);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetCertificateGap(SkeanTransport transport, PetscReal *gap);

/* what is made of several solves */
SKEAN_EXTERN PetscErrorCode SkeanTransportComputeBarycenter(SkeanTransport transport, PetscInt n, Vec b[], const PetscReal weights[], PetscBool debiased, Vec a,
                                                            PetscReal *err);
SKEAN_EXTERN PetscErrorCode SkeanTransportSolveBatch(MPI_Comm comm, PetscInt n, SkeanTransportBatchFn set, void *ctx, const char prefix[],
                                                     SkeanTransportBatchResult results[]);

/* the solver */
SKEAN_EXTERN PetscErrorCode SkeanTransportSetTolerances(SkeanTransport transport, PetscReal rtol, PetscReal atol, PetscInt max_it);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetTolerances(SkeanTransport transport, PetscReal *rtol, PetscReal *atol, PetscInt *max_it);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetErrorIfNotConverged(SkeanTransport transport, PetscBool flg);
SKEAN_EXTERN PetscErrorCode SkeanTransportMonitorSet(SkeanTransport transport, PetscErrorCode (*monitor)(SkeanTransport, PetscInt, PetscReal, void *),
                                                     void          *ctx, PetscErrorCode (*destroy)(void **));
SKEAN_EXTERN PetscErrorCode SkeanTransportMonitorCancel(SkeanTransport transport);
SKEAN_EXTERN PetscErrorCode SkeanTransportSetConvergenceHistory(SkeanTransport transport, PetscReal hist[], PetscInt n, PetscBool reset);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetConvergenceHistory(SkeanTransport transport, const PetscReal *hist[], PetscInt *n);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetKSP(SkeanTransport transport, KSP *ksp);

/* the answer */
SKEAN_EXTERN PetscErrorCode SkeanTransportGetConvergedReason(SkeanTransport transport, SkeanConvergedReason *reason);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetIterationNumber(SkeanTransport transport, PetscInt *its);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetPasses(SkeanTransport transport, PetscInt *passes);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetVisitedFraction(SkeanTransport transport, PetscReal *fraction);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetNewtonStatistics(SkeanTransport transport, PetscInt *maxkspits, PetscInt *nonzeros);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetMarginalError(SkeanTransport transport, PetscReal *err);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetCosts(SkeanTransport transport, PetscReal *cost, PetscReal *entropy, PetscReal *total);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetCertificate(SkeanTransport transport, PetscReal *lower, PetscReal *upper);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetDivergence(SkeanTransport transport, PetscReal *divergence);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetPotentials(SkeanTransport transport, Vec f, Vec g);
SKEAN_EXTERN PetscErrorCode SkeanTransportApply(SkeanTransport transport, Vec x, Vec Px);
SKEAN_EXTERN PetscErrorCode SkeanTransportApplyTranspose(SkeanTransport transport, Vec z, Vec Ptz);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetPlan(SkeanTransport transport, PetscReal threshold, Mat *P);
SKEAN_EXTERN PetscErrorCode SkeanTransportGetMap(SkeanTransport transport, Mat *T);
