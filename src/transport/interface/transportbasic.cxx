/* Creation, destruction and the setters of the problem */
#include <skean/private/transportimpl.h>
#include <skean/private/reduce.hpp>
#include <skean/private/typelist.hpp>

using skean::transport::Work;

extern PetscFunctionList SkeanTransportList;

const char *const SkeanTransportCostTypes[]   = {"sqeuclidean",           "euclidean", "l1", "lp", "cosine", "user", "SkeanTransportCostType",
                                                 "SKEAN_TRANSPORT_COST_", NULL};
const char *const SkeanTransportEntropies[]   = {"kl", "plain", "SkeanTransportEntropy", "SKEAN_TRANSPORT_ENTROPY_", NULL};
const char *const SkeanTransportMultiscales[] = {"auto", "never", "always", "SkeanTransportMultiscale", "SKEAN_TRANSPORT_MULTISCALE_", NULL};
const char *const SkeanTransportEpsModes[]    = {"absolute", "max", "median", "SkeanTransportEpsMode", "SKEAN_TRANSPORT_EPS_", NULL};

#define CheckTransport(t) \
  PetscCheck((t) && ((PetscObject)(t))->classid == SKEAN_TRANSPORT_CLASSID, PETSC_COMM_SELF, PETSC_ERR_ARG_CORRUPT, "Not a SkeanTransport")

/*@
   SkeanTransportCreate - Creates an optimal transport solver

   Collective

   Input Parameter:
.  comm - the communicator of all vectors and matrices given to it

   Output Parameter:
.  transport - the solver, of type `SKEANTRANSPORTSSNS` until another is set

   Level: beginner

   Notes:
   Marginals, then a cost (`SkeanTransportSetCost()`, `SkeanTransportSetPoints()` or `SkeanTransportSetGrid()`), then epsilon; then
   `SkeanTransportSolve()`.

.seealso: `SkeanTransportDestroy()`, `SkeanTransportSetMarginals()`, `SkeanTransportSolve()`
@*/
PetscErrorCode SkeanTransportCreate(MPI_Comm comm, SkeanTransport *transport)
{
  SkeanTransport t;

  PetscFunctionBegin;
  PetscCheck(transport, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: transport");
  *transport = NULL;
  PetscCall(SkeanInitializePackage());
  PetscCall(
    PetscHeaderCreate(t, SKEAN_TRANSPORT_CLASSID, "SkeanTransport", "Optimal transport", "SkeanTransport", comm, SkeanTransportDestroy, SkeanTransportView));
  PetscCall(SkeanSolverInit_Private(&t->solver, "transport", 10000, 1e-9, 0.0));
  t->costtype     = SKEAN_TRANSPORT_COST_SQEUCLIDEAN;
  t->costexponent = 1.5;
  t->eps          = 1e-2;
  t->epsmode      = SKEAN_TRANSPORT_EPS_MAX;
  t->entropy      = SKEAN_TRANSPORT_ENTROPY_KL;
  t->scaling      = PETSC_TRUE;
  t->scalefactor  = 4.0;
  t->rhor = t->rhoc = PETSC_INFINITY;
  t->certify        = PETSC_TRUE;
  t->certgap        = 1e-3;
  t->msratio        = 4.0;
  t->replicate      = 32.0 * 1024 * 1024;
  t->memory         = 256.0 * 1024 * 1024;
  PetscCallCXX(t->work = new Work());
  *transport = t;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportReset - Forgets the problem and the answer; keeps type and options

   Collective

   Input Parameter:
.  transport - the solver

   Level: advanced

.seealso: `SkeanTransportDestroy()`
@*/
PetscErrorCode SkeanTransportReset(SkeanTransport transport)
{
  PetscFunctionBegin;
  if (!transport) PetscFunctionReturn(PETSC_SUCCESS);
  CheckTransport(transport);
  PetscTryTypeMethod(transport, reset);
  PetscCall(VecDestroy(&transport->r));
  PetscCall(VecDestroy(&transport->c));
  PetscCall(MatDestroy(&transport->C));
  PetscCall(MatDestroy(&transport->X));
  PetscCall(MatDestroy(&transport->Y));
  PetscCall(MatDestroy(&transport->G));
  PetscCall(VecDestroy(&transport->f0));
  PetscCall(VecDestroy(&transport->g0));
  transport->griddim = 0;
  PetscCallCXX(*static_cast<Work *>(transport->work) = Work());
  transport->solver.state  = SKEAN_STATE_INITIAL;
  transport->solver.reason = SKEAN_CONVERGED_ITERATING;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportDestroy - Destroys an optimal transport solver

   Collective

   Input Parameter:
.  transport - the solver; set to NULL

   Level: beginner

.seealso: `SkeanTransportCreate()`
@*/
PetscErrorCode SkeanTransportDestroy(SkeanTransport *transport)
{
  PetscFunctionBegin;
  if (!transport || !*transport) PetscFunctionReturn(PETSC_SUCCESS);
  CheckTransport(*transport);
  if (--((PetscObject)*transport)->refct > 0) {
    *transport = NULL;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(SkeanTransportReset(*transport));
  PetscTryTypeMethod(*transport, destroy);
  PetscCall(KSPDestroy(&(*transport)->ksp));
  delete static_cast<Work *>((*transport)->work);
  PetscCall(SkeanSolverDestroy_Private(&(*transport)->solver));
  PetscCall(PetscHeaderDestroy(transport));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanTransportSetType - Chooses the method

   Logically Collective

   Input Parameters:
+  transport - the solver
-  type      - `SKEANTRANSPORTSSNS`, `SKEANTRANSPORTSNS` or `SKEANTRANSPORTSINKHORN`

   Options Database Key:
.  -transport_type <ssns> - the method

   Level: beginner

   Errors: `PETSC_ERR_ARG_UNKNOWN_TYPE` for a name that is not registered.

.seealso: `SkeanTransportGetType()`, `SkeanTransportType`
@*/
PetscErrorCode SkeanTransportSetType(SkeanTransport transport, SkeanTransportType type)
{
  PetscErrorCode (*create)(SkeanTransport);
  PetscBool same;

  PetscFunctionBegin;
  CheckTransport(transport);
  PetscCall(PetscObjectTypeCompare((PetscObject)transport, type, &same));
  if (same) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFunctionListFind(SkeanTransportList, type, &create));
  if (!create) PetscCall(skean::UnknownType(PetscObjectComm((PetscObject)transport), "SkeanTransport", type, SkeanTransportList));
  PetscTryTypeMethod(transport, destroy);
  PetscCall(PetscMemzero(transport->ops, sizeof(struct _SkeanTransportOps)));
  transport->data = NULL;
  PetscCall(KSPDestroy(&transport->ksp)); /* its defaults depend on the type */
  PetscCall(PetscObjectChangeTypeName((PetscObject)transport, type));
  PetscCall((*create)(transport));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanTransportGetType - The method in use

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  type - name of the type, NULL if none was set; not to be freed

   Level: beginner

.seealso: `SkeanTransportSetType()`
@*/
PetscErrorCode SkeanTransportGetType(SkeanTransport transport, SkeanTransportType *type)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  *type = ((PetscObject)transport)->type_name;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* what the engine was built from has changed */
static void Changed(SkeanTransport t)
{
  t->solver.state = SKEAN_STATE_INITIAL;
}

/*@
   SkeanTransportSetMarginals - Sets the masses of sources and targets

   Collective

   Input Parameters:
+  transport - the solver
.  r         - n masses of the sources, on any layout
-  c         - m masses of the targets, on any layout

   Level: beginner

   Notes:
   References are kept; the values are read at the next solve. Masses may be zero. Unless a marginal penalty is set both sums must agree to
   1e-8 of the total; r and c are then scaled to one common total, that of r.

   Errors: `PETSC_ERR_ARG_NOTSAMECOMM` for other communicators; at set-up `PETSC_ERR_ARG_OUTOFRANGE` for negative or non-finite masses,
   `PETSC_ERR_ARG_INCOMP` for unequal totals.

.seealso: `SkeanTransportSetMarginalPenalty()`, `SkeanTransportSetCost()`, `SkeanTransportSetPoints()`
@*/
PetscErrorCode SkeanTransportSetMarginals(SkeanTransport transport, Vec r, Vec c)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  PetscCheckSameComm(transport, 1, r, 2);
  PetscCheckSameComm(transport, 1, c, 3);
  PetscCheck(r && c, PetscObjectComm((PetscObject)transport), PETSC_ERR_ARG_NULL, "Both marginals must be given");
  PetscCall(PetscObjectReference((PetscObject)r));
  PetscCall(PetscObjectReference((PetscObject)c));
  PetscCall(VecDestroy(&transport->r));
  PetscCall(VecDestroy(&transport->c));
  transport->r = r;
  transport->c = c;
  Changed(transport);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetMarginals - The masses that were set

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameters:
+  r - masses of the sources, or NULL; not to be destroyed
-  c - masses of the targets, or NULL; not to be destroyed

   Level: intermediate

.seealso: `SkeanTransportSetMarginals()`
@*/
PetscErrorCode SkeanTransportGetMarginals(SkeanTransport transport, Vec *r, Vec *c)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  if (r) *r = transport->r;
  if (c) *c = transport->c;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetCost - Sets a stored cost matrix

   Collective

   Input Parameters:
+  transport - the solver
-  C         - n x m; `MATDENSE`: a cost for every pair; any sparse type: pairs that are not stored are forbidden

   Level: beginner

   Notes:
   Rows must be distributed as the vector of sources. A reference is kept and the values are read at set-up into rows of the targets with
   mass: another 8 n m bytes over the processes for a dense matrix, 12 bytes per entry for a sparse one.

   Errors: at set-up `PETSC_ERR_ARG_SIZ` for sizes that differ from the marginals', `PETSC_ERR_ARG_INCOMP` if a source with mass has no
   allowed target or a target with mass no source, `PETSC_ERR_FP` for NaN or infinite costs.

.seealso: `SkeanTransportSetPoints()`, `SkeanTransportSetGrid()`
@*/
PetscErrorCode SkeanTransportSetCost(SkeanTransport transport, Mat C)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  PetscCheck(C, PetscObjectComm((PetscObject)transport), PETSC_ERR_ARG_NULL, "Null cost matrix");
  PetscCall(PetscObjectReference((PetscObject)C));
  PetscCall(MatDestroy(&transport->C));
  PetscCall(MatDestroy(&transport->X));
  PetscCall(MatDestroy(&transport->Y));
  PetscCall(MatDestroy(&transport->G));
  transport->C       = C;
  transport->griddim = 0;
  Changed(transport);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetPoints - Sets the cost by the coordinates of sources and targets; no matrix is stored

   Collective

   Input Parameters:
+  transport - the solver
.  X         - n x d dense matrix of the sources, rows distributed as their masses
-  Y         - m x d dense matrix of the targets, rows distributed as their masses

   Level: beginner

   Notes:
   Costs are evaluated anew in every pass. Small clouds of targets (`SkeanTransportSetReplicationLimit()`) are held by every process; larger ones go around a
   ring of the processes, and the memory per process is O((n + m)/P) plus the entries that a Newton step keeps. Coordinates are centred. For d >= 16 squared
   distances come from inner products by GEMM, with the cancellation that this brings (absolute error about 1e-16 times the largest squared
   distance); below, from differences.

   Errors: at set-up `PETSC_ERR_ARG_SIZ` for sizes that do not fit, `PETSC_ERR_FP` for NaN or infinite coordinates.

.seealso: `SkeanTransportSetCostType()`, `SkeanTransportSetTruncation()`, `SkeanTransportSetCost()`
@*/
PetscErrorCode SkeanTransportSetPoints(SkeanTransport transport, Mat X, Mat Y)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  PetscCheck(X && Y, PetscObjectComm((PetscObject)transport), PETSC_ERR_ARG_NULL, "Both clouds of points must be given");
  PetscCall(PetscObjectReference((PetscObject)X));
  PetscCall(PetscObjectReference((PetscObject)Y));
  PetscCall(MatDestroy(&transport->C));
  PetscCall(MatDestroy(&transport->X));
  PetscCall(MatDestroy(&transport->Y));
  PetscCall(MatDestroy(&transport->G));
  transport->X       = X;
  transport->Y       = Y;
  transport->griddim = 0;
  Changed(transport);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetGrid - Sources and targets are the points of one d-dimensional grid; passes go axis by axis

   Logically Collective

   Input Parameters:
+  transport - the solver
.  dim       - number of dimensions, 1 to 8
.  n         - points along each
.  lower     - coordinate of the first point along each
-  upper     - coordinate of the last point along each

   Level: beginner

   Notes:
   Point (i_0,...,i_{d-1}) has the number ((i_0 n_1 + i_1) n_2 + i_2)...: the last dimension is the fastest. Only costs that are sums over the
   dimensions are possible: squared Euclidean, L1 and Lp. A pass costs at most 2 N sum_k n_k multiply-adds (by GEMM) and 2 d N exponentials, and N sum_k n_k/32
   scalings, instead of N^2 exponentials; by count, each of P processes sends 32 N/P bytes where one dimension is distributed at a time. Memory is of the order of
   N/P + sum_k n_k^2 numbers per process. The marginals may have any distribution, those of `SkeanTransportSetMarginals()`. The sparse Newton types work with the exact
   Hessian applied axis by axis (no entries of the plan are formed).

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for a dimension or size out of range; at set-up `PETSC_ERR_SUP` for other costs,
   `PETSC_ERR_ARG_SIZ` if the marginals have another number of points.

.seealso: `SkeanTransportSetCostType()`, `SkeanTransportSetPoints()`
@*/
PetscErrorCode SkeanTransportSetGrid(SkeanTransport transport, PetscInt dim, const PetscInt n[], const PetscReal lower[], const PetscReal upper[])
{
  PetscFunctionBegin;
  CheckTransport(transport);
  PetscCheck(dim >= 1 && dim <= SKEAN_TRANSPORT_MAXDIM, PetscObjectComm((PetscObject)transport), PETSC_ERR_ARG_OUTOFRANGE,
             "Grid of %" PetscInt_FMT " dimensions; 1 to %d are possible", dim, SKEAN_TRANSPORT_MAXDIM);
  for (PetscInt k = 0; k < dim; k++) {
    PetscCheck(n[k] >= 1, PetscObjectComm((PetscObject)transport), PETSC_ERR_ARG_OUTOFRANGE, "Grid has %" PetscInt_FMT " points along dimension %" PetscInt_FMT,
               n[k], k);
    PetscCheck(std::isfinite(lower[k]) && std::isfinite(upper[k]), PetscObjectComm((PetscObject)transport), PETSC_ERR_FP,
               "Coordinates of dimension %" PetscInt_FMT " are not finite", k);
    transport->gridn[k]  = n[k];
    transport->gridlo[k] = lower[k];
    transport->gridhi[k] = upper[k];
  }
  PetscCall(MatDestroy(&transport->C));
  PetscCall(MatDestroy(&transport->X));
  PetscCall(MatDestroy(&transport->Y));
  PetscCall(MatDestroy(&transport->G));
  transport->griddim = dim;
  Changed(transport);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetCostType - Sets the cost between points

   Logically Collective

   Input Parameters:
+  transport - the solver
-  type      - the cost

   Options Database Key:
.  -transport_cost_type <sqeuclidean> - sqeuclidean, euclidean, l1, lp, cosine or user

   Level: beginner

.seealso: `SkeanTransportCostType`, `SkeanTransportSetPoints()`, `SkeanTransportSetCostExponent()`
@*/
PetscErrorCode SkeanTransportSetCostType(SkeanTransport transport, SkeanTransportCostType type)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  transport->costtype = type;
  Changed(transport);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetCostType - The cost between points

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  type - the cost

   Level: intermediate

.seealso: `SkeanTransportSetCostType()`
@*/
PetscErrorCode SkeanTransportGetCostType(SkeanTransport transport, SkeanTransportCostType *type)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  *type = transport->costtype;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetCostExponent - Sets p of `SKEAN_TRANSPORT_COST_LP`, sum_k |x_k - y_k|^p

   Logically Collective

   Input Parameters:
+  transport - the solver
-  p         - the exponent, positive

   Options Database Key:
.  -transport_cost_exponent <1.5> - the exponent

   Level: intermediate

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` unless p > 0.

.seealso: `SkeanTransportSetCostType()`
@*/
PetscErrorCode SkeanTransportSetCostExponent(SkeanTransport transport, PetscReal p)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  PetscCheck(p > 0 && std::isfinite(p), PetscObjectComm((PetscObject)transport), PETSC_ERR_ARG_OUTOFRANGE, "Exponent %g of the cost must be positive",
             (double)p);
  transport->costexponent = p;
  Changed(transport);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetCostExponent - The exponent of `SKEAN_TRANSPORT_COST_LP`

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  p - the exponent

   Level: intermediate

.seealso: `SkeanTransportSetCostExponent()`
@*/
PetscErrorCode SkeanTransportGetCostExponent(SkeanTransport transport, PetscReal *p)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  *p = transport->costexponent;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanTransportSetCostFunction - Sets a function for the cost between points and chooses `SKEAN_TRANSPORT_COST_USER`

   Logically Collective

   Input Parameters:
+  transport - the solver
.  fn        - fn(d, x, ny, y, c, ctx) writes the costs from the source x (d numbers) to ny targets (target j at y + j d) to c
-  ctx       - passed on to fn

   Level: intermediate

   Notes:
   Called on each process for its own sources; must not communicate. An error it returns on one process ends the solve on all with
   `PETSC_ERR_USER`.

.seealso: `SkeanTransportSetPoints()`, `SkeanTransportSetCostType()`
@*/
PetscErrorCode SkeanTransportSetCostFunction(SkeanTransport transport, SkeanTransportCostFn fn, void *ctx)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  transport->costfn   = fn;
  transport->costctx  = ctx;
  transport->costtype = SKEAN_TRANSPORT_COST_USER;
  Changed(transport);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetEpsilon - Sets the weight of the entropy

   Logically Collective

   Input Parameters:
+  transport - the solver
.  eps       - the weight, positive
-  mode      - absolute, or relative to the largest or the median cost

   Options Database Keys:
+  -transport_epsilon <0.01> - the weight
-  -transport_epsilon_mode <max> - absolute, max or median

   Level: beginner

   Notes:
   The median is that of a sample of rows chosen by their global numbers. Rounding limits the marginal error that can be reached to about
   1e-16 max(C)/eps; below 1e-13 of the largest cost an epsilon is refused at set-up.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` unless eps is positive, finite and large enough.

.seealso: `SkeanTransportGetEpsilon()`, `SkeanTransportSetScaling()`
@*/
PetscErrorCode SkeanTransportSetEpsilon(SkeanTransport transport, PetscReal eps, SkeanTransportEpsMode mode)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  PetscCheck(eps > 0 && std::isfinite(eps), PetscObjectComm((PetscObject)transport), PETSC_ERR_ARG_OUTOFRANGE, "Epsilon %g must be positive and finite",
             (double)eps);
  transport->eps     = eps;
  transport->epsmode = mode;
  if (transport->solver.state == SKEAN_STATE_SOLVED) transport->solver.state = SKEAN_STATE_SETUP;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetEpsilon - The weight of the entropy in the units of the cost

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  eps - the weight used by the last solve; before one, as it was set

   Level: intermediate

.seealso: `SkeanTransportSetEpsilon()`
@*/
PetscErrorCode SkeanTransportGetEpsilon(SkeanTransport transport, PetscReal *eps)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  *eps = transport->solver.state == SKEAN_STATE_SOLVED ? transport->epsabs : transport->eps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetEntropy - Sets the entropy, and with it the convention of potentials and values

   Logically Collective

   Input Parameters:
+  transport - the solver
-  entropy   - `SKEAN_TRANSPORT_ENTROPY_KL` (default) or `SKEAN_TRANSPORT_ENTROPY_PLAIN`

   Options Database Key:
.  -transport_entropy <kl> - kl or plain

   Level: intermediate

   Notes:
   The plan is the same. With KL the potentials satisfy P_ij = r_i c_j exp((f_i + g_j - C_ij)/eps) and are finite where a mass is tiny; with
   plain, P_ij = exp((f_i + g_j - C_ij)/eps). With marginal penalties only KL has a meaning that does not depend on units.

.seealso: `SkeanTransportGetCosts()`, `SkeanTransportGetPotentials()`
@*/
PetscErrorCode SkeanTransportSetEntropy(SkeanTransport transport, SkeanTransportEntropy entropy)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  transport->entropy = entropy;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetEntropy - The entropy in use

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  entropy - the entropy

   Level: intermediate

.seealso: `SkeanTransportSetEntropy()`
@*/
PetscErrorCode SkeanTransportGetEntropy(SkeanTransport transport, SkeanTransportEntropy *entropy)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  *entropy = transport->entropy;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetScaling - Whether epsilon is reached in steps from a large value

   Logically Collective

   Input Parameters:
+  transport - the solver
.  scaling   - `PETSC_TRUE` (default): start at a fifth of the largest cost and divide by factor
-  factor    - above 1; `PETSC_DEFAULT` keeps it (4)

   Options Database Keys:
+  -transport_scaling <true>    - use the steps
-  -transport_scaling_factor <4> - ratio of two levels

   Level: intermediate

   Notes:
   Types ssns and sinkhorn leave the steps out where one pass at the target itself leaves a column error of 0.4 or less, as it does for costs without structure. It is
   tried, at the price of that pass, where the smaller of the two numbers of points times epsilon is twice the largest cost or more (not on grids, nor with marginal
   penalties).

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` unless factor > 1.

.seealso: `SkeanTransportSetEpsilon()`, `SkeanTransportSetInitialPotentials()`
@*/
PetscErrorCode SkeanTransportSetScaling(SkeanTransport transport, PetscBool scaling, PetscReal factor)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  if (factor != PETSC_DEFAULT) {
    PetscCheck(factor > 1 && std::isfinite(factor), PetscObjectComm((PetscObject)transport), PETSC_ERR_ARG_OUTOFRANGE, "Scaling factor %g must be above 1",
               (double)factor);
    transport->scalefactor = factor;
  }
  transport->scaling = scaling;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetScaling - Whether and how epsilon is reached in steps

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameters:
+  scaling - whether steps are used, or NULL
-  factor  - ratio of two levels, or NULL

   Level: intermediate

.seealso: `SkeanTransportSetScaling()`
@*/
PetscErrorCode SkeanTransportGetScaling(SkeanTransport transport, PetscBool *scaling, PetscReal *factor)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  if (scaling) *scaling = transport->scaling;
  if (factor) *factor = transport->scalefactor;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetMarginalPenalty - Replaces the marginal constraints by penalties (unbalanced transport)

   Logically Collective

   Input Parameters:
+  transport - the solver
.  rhor      - weight of KL(P1 | r), positive; `PETSC_INFINITY` (default): P1 = r
-  rhoc      - weight of KL(P'1 | c), positive; `PETSC_INFINITY` (default): P'1 = c

   Options Database Keys:
+  -transport_penalty_source <inf> - rhor
-  -transport_penalty_target <inf> - rhoc

   Level: intermediate

   Notes:
   Minimises <C,P> + eps KL(P | r c'/M) + rhor KL(P1|r) + rhoc KL(P'1|c) with KL(a|b) = sum a log(a/b) - a + b; M is the total of r. Only type
   sinkhorn supports it. The convergence test is the optimality of the marginals, P'1 = c exp(-g/rhoc), in l1. No certificate is computed.
   Source: Chizat, Peyre, Schmitzer and Vialard, Math. Comp. 87 (2018).

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` unless both are positive.

.seealso: `SkeanTransportSetMarginals()`
@*/
PetscErrorCode SkeanTransportSetMarginalPenalty(SkeanTransport transport, PetscReal rhor, PetscReal rhoc)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  PetscCheck(rhor > 0 && rhoc > 0, PetscObjectComm((PetscObject)transport), PETSC_ERR_ARG_OUTOFRANGE, "Marginal penalties %g and %g must be positive",
             (double)rhor, (double)rhoc);
  transport->rhor = rhor;
  transport->rhoc = rhoc;
  Changed(transport);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetMarginalPenalty - The weights of the marginal penalties

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameters:
+  rhor - weight for the sources, or NULL
-  rhoc - weight for the targets, or NULL

   Level: intermediate

.seealso: `SkeanTransportSetMarginalPenalty()`
@*/
PetscErrorCode SkeanTransportGetMarginalPenalty(SkeanTransport transport, PetscReal *rhor, PetscReal *rhoc)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  if (rhor) *rhor = transport->rhor;
  if (rhoc) *rhoc = transport->rhoc;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetTruncation - Lets passes over point clouds skip tiles of pairs that carry no mass

   Logically Collective

   Input Parameters:
+  transport - the solver
-  tol       - in each row and column at most this fraction of the mass is skipped; 0 (default): nothing but what is lost in rounding, but see below

   Options Database Key:
.  -transport_truncation <0> - the fraction

   Level: intermediate

   Notes:
   For all costs between points but `SKEAN_TRANSPORT_COST_USER` (and Lp with p < 1), in at most eight dimensions, 128 targets or more. Points are sorted into
   compact tiles of 32. In every pass the potentials over a tile are bounded by an affine function, and the cost by its tangent, so that the bound of
   an entry of the plan is exact to first order in the width of a tile; pairs are skipped whose entries are thereby proved to be below tol r_i c_j. The
   time of a pass then falls with epsilon: to a first approximation it is that of the pairs (x, y) with c(x, y) - f(x) - g(y) < eps log(1/tol), plus
   1/1000 of all pairs. All pairs count in the marginal error, by value or by bound: twice tol is added to it, and tol times the largest cost to the upper
   bound of the certificate. A pair that cannot hold a minimum is skipped in the certificate's passes whatever tol is.

   Where it was not set and coarser problems are solved first (`SkeanTransportSetMultiscale()`), a thousandth of the tolerance of the solve is skipped. On
   several processes points are sorted over them first, along Morton's curve, so that all processes together visit as many pairs as one would; masses,
   potentials and plans keep the user's order.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` unless 0 <= tol < 1e-3.

.seealso: `SkeanTransportSetPoints()`, `SkeanTransportGetVisitedFraction()`
@*/
PetscErrorCode SkeanTransportSetTruncation(SkeanTransport transport, PetscReal tol)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  PetscCheck(tol >= 0 && tol < 1e-3, PetscObjectComm((PetscObject)transport), PETSC_ERR_ARG_OUTOFRANGE, "Truncation %g must be in [0,1e-3)", (double)tol);
  transport->truncation = tol;
  transport->truncset   = PETSC_TRUE;
  Changed(transport);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetTruncation - The fraction of the mass that passes may skip

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  tol - the fraction

   Level: intermediate

.seealso: `SkeanTransportSetTruncation()`
@*/
PetscErrorCode SkeanTransportGetTruncation(SkeanTransport transport, PetscReal *tol)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  *tol = transport->truncation;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetReplicationLimit - Up to which size every process holds all targets of a cloud of points

   Logically Collective

   Input Parameters:
+  transport - the solver
-  bytes     - size of the coordinates, 8 m d; default 32 MB

   Options Database Key:
.  -transport_replicate <33554432> - the size

   Level: advanced

   Notes:
   Below the limit a fused pass is one traversal of the pairs with one exponential each; communication is an Allgather and a Reduce_scatter of m numbers.
   Above, each process keeps its own targets, and blocks of them with their potentials go around a ring of the processes (no process holds more than
   three); column sums follow their block. A fused pass is then two rounds, one for the sums of rows and one for those of columns, hence two exponentials
   per pair, and sends at most (P - 1) (m/P) (2 d + 5) + m numbers per process. Results agree to rounding.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for a negative size.

.seealso: `SkeanTransportSetPoints()`, `SkeanTransportGetReplicationLimit()`
@*/
PetscErrorCode SkeanTransportSetReplicationLimit(SkeanTransport transport, PetscReal bytes)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  PetscCheck(bytes >= 0, PetscObjectComm((PetscObject)transport), PETSC_ERR_ARG_OUTOFRANGE, "Size %g must be non-negative", (double)bytes);
  transport->replicate = bytes;
  Changed(transport);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetReplicationLimit - The size up to which every process holds all targets

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  bytes - size of the coordinates

   Level: advanced

.seealso: `SkeanTransportSetReplicationLimit()`
@*/
PetscErrorCode SkeanTransportGetReplicationLimit(SkeanTransport transport, PetscReal *bytes)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  *bytes = transport->replicate;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetKernelMemory - Memory for rows of the plan that passes may use again

   Logically Collective

   Input Parameters:
+  transport - the solver
-  bytes     - on each process; default 256 MB; 0: every pass evaluates every cost and its exponential

   Options Database Key:
.  -transport_kernel_memory <268435456> - the memory

   Level: intermediate

   Notes:
   For stored costs and for clouds of points whose targets every process holds (`SkeanTransportSetReplicationLimit()`). A pass keeps the rows
   exp((f_i + g_j - C_ij)/eps), whole or, where few are large enough, as single entries; passes at potentials near those are then one traversal of what is
   kept, without costs and exponentials. Of each row and column is left out what is below e^-25 of its mass and below 1e-4 times the tolerance, but nothing above
   e^-37 (or the fraction of `SkeanTransportSetTruncation()`, if that is set); the passes that keep rows of clouds skip as much by the bounds of truncation. Rows are
   kept anew when potentials have moved too far, and not at all where they do not fit; near the rounding floor passes are computed from the costs.

   An entry of a whole row takes 8 bytes, a single entry 12; in single precision 4 and 8. That is used for problems of at least 65536 pairs with equality constraints,
   for the exponentials too, where the marginal error that is asked for is above 2e-4, as on all levels of epsilon before the last; on the last one for
   costs of more than two million pairs that are cheap to evaluate again, and where potentials have left what was kept, down to a marginal error of 2e-5. There rows are
   kept once more, large problems with corrections that make the sums of rows and columns exact at these potentials. A bound of what single precision and small
   entries may have left is added to the marginal error that decides; what a solve reports (marginal error, cost, bounds) is always computed from the costs.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for a negative size.

.seealso: `SkeanTransportGetKernelMemory()`, `SkeanTransportGetKeptPasses()`
@*/
PetscErrorCode SkeanTransportSetKernelMemory(SkeanTransport transport, PetscReal bytes)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  PetscCheck(bytes >= 0, PetscObjectComm((PetscObject)transport), PETSC_ERR_ARG_OUTOFRANGE, "Size %g must be non-negative", (double)bytes);
  transport->memory = bytes;
  Changed(transport);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetKernelMemory - The memory for rows of the plan that passes may use again

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  bytes - on each process

   Level: intermediate

.seealso: `SkeanTransportSetKernelMemory()`
@*/
PetscErrorCode SkeanTransportGetKernelMemory(SkeanTransport transport, PetscReal *bytes)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  *bytes = transport->memory;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetMultiscale - Whether coarser problems are solved first

   Logically Collective

   Input Parameters:
+  transport - the solver
.  mode      - `SKEAN_TRANSPORT_MULTISCALE_AUTO` (default), `SKEAN_TRANSPORT_MULTISCALE_NEVER` or `SKEAN_TRANSPORT_MULTISCALE_ALWAYS`
-  ratio     - clouds: a level has at most 1/ratio of the points of the next finer one; above 1; `PETSC_DEFAULT` keeps it (4)

   Options Database Keys:
+  -transport_multiscale <auto>    - auto, never or always
-  -transport_multiscale_ratio <4> - the ratio

   Level: intermediate

   Notes:
   For clouds of points in up to eight dimensions and for grids. The mass of the cells of a tree goes to their centroids, on a grid that of every second point
   along each axis to its neighbours, until about a thousand points remain. That problem is solved by steps in epsilon. Each finer one starts from the
   extension of the potentials to its points, f(x) = -eps log sum_j c_j exp((g_j - c(x,y_j))/eps), and goes on to the epsilon that its cells resolve, to
   a marginal error of 1e-2 with truncated passes. The user's problem is the last: tolerance, reason, iterations, passes and certificate are its own, and
   its converged potentials do not depend on the ladder, nor on the number of processes. Monitors are called on coarser levels too, with their solvers.

   With auto there is no ladder below 1e8 pairs, with initial potentials, without steps in epsilon (`SkeanTransportSetScaling()`), with stored costs, graphs, a
   cost function of the user's, marginal penalties or a partial mass.

   Coarser solves have the options prefix transport_coarse_ for the parameters of their type and of its linear solver.

   Sources: Merigot, Comput. Graph. Forum 30 (2011); Schmitzer, SIAM J. Sci. Comput. 41 (2019), section 3.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` unless ratio > 1; at set-up `PETSC_ERR_SUP` with always for problems that have no ladder.

.seealso: `SkeanTransportGetMultiscale()`, `SkeanTransportSetTruncation()`, `SkeanTransportSetScaling()`
@*/
PetscErrorCode SkeanTransportSetMultiscale(SkeanTransport transport, SkeanTransportMultiscale mode, PetscReal ratio)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  if (ratio != PETSC_DEFAULT) {
    PetscCheck(ratio > 1 && std::isfinite(ratio), PetscObjectComm((PetscObject)transport), PETSC_ERR_ARG_OUTOFRANGE, "Ratio %g of two levels must be above 1",
               (double)ratio);
    transport->msratio = ratio;
  }
  transport->multiscale = mode;
  Changed(transport);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetMultiscale - Whether coarser problems are solved first, and how many the last solve had

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameters:
+  mode   - as set, or NULL
.  ratio  - as set, or NULL
-  levels - coarser levels of the last solve, 0 without a ladder; or NULL

   Level: intermediate

.seealso: `SkeanTransportSetMultiscale()`
@*/
PetscErrorCode SkeanTransportGetMultiscale(SkeanTransport transport, SkeanTransportMultiscale *mode, PetscReal *ratio, PetscInt *levels)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  if (mode) *mode = transport->multiscale;
  if (ratio) *ratio = transport->msratio;
  if (levels) *levels = transport->mslevels;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetInitialPotentials - Starts the next solve from given potentials

   Collective

   Input Parameters:
+  transport - the solver
.  f         - potentials of the sources in the convention of `SkeanTransportSetEntropy()`, or NULL (they follow from g)
-  g         - potentials of the targets, or NULL: start from zero again

   Level: intermediate

   Notes:
   With potentials given the solve begins at the target epsilon, without steps from a large one. References are kept.

.seealso: `SkeanTransportGetPotentials()`, `SkeanTransportSetScaling()`
@*/
PetscErrorCode SkeanTransportSetInitialPotentials(SkeanTransport transport, Vec f, Vec g)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  if (f) PetscCall(PetscObjectReference((PetscObject)f));
  if (g) PetscCall(PetscObjectReference((PetscObject)g));
  PetscCall(VecDestroy(&transport->f0));
  PetscCall(VecDestroy(&transport->g0));
  transport->f0 = f;
  transport->g0 = g;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetCertificate - Whether the bounds of the unregularised cost are computed after a solve

   Logically Collective

   Input Parameters:
+  transport - the solver
-  certify   - `PETSC_TRUE` (default) costs five more passes, and what `SkeanTransportSetCertificateGap()` adds

   Options Database Key:
.  -transport_certificate <true> - compute them

   Level: intermediate

.seealso: `SkeanTransportGetCertificate()`, `SkeanTransportSetCertificateGap()`
@*/
PetscErrorCode SkeanTransportSetCertificate(SkeanTransport transport, PetscBool certify)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  transport->certify = certify;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetCertificateGap - How close the bounds of the unregularised cost are brought

   Logically Collective

   Input Parameters:
+  transport - the solver
-  gap       - (upper - lower)/upper wanted (default 1e-3); 0: the bounds that the answer itself gives

   Options Database Key:
.  -transport_certificate_gap <0.001> - the gap

   Level: intermediate

   Notes:
   Where the answer's own bounds are further apart, two things are tried, the first of them first:
   1. The potentials are extrapolated to epsilon = 0, from their derivative, for which one system with the matrix of Newton's method is solved, and three
      passes (not on separable grids, nor with more than 6e6 entries of the plan to consider). This raises the lower bound alone. Potentials are a straight line at
      an epsilon below the distance between the costs of different plans (vertices), as where costs are whole numbers of pixels: a gap of 2e-3 then becomes 1e-6.
   2. The same method goes on with epsilons that are smaller by the factor of `SkeanTransportSetScaling()`, from one to the next and only as exactly as
      the gap needs, until it is reached, five of them have been solved, or one of them no longer brings the bounds closer by a tenth: the gap falls with epsilon.

   The first is left out where epsilon is too large for it: where the bounds are more than 5 % apart, or the plan is spread out (the exponential of its entropy,
   which is the number of its entries if all are equal, is more than four times the number of sources and targets, which is what an unregularised plan has). It is
   repeated at the smaller epsilons unless it was of no use before.

   The second is done for a gap that was set here, or by the option, whatever it takes. By default it needs a solve that converged, an epsilon at which the first is tried,
   and bounds within eight times the gap by then; and it ends after as many passes (of either kind) as the solve took, but for those of the last epsilon's bounds.

   The best of all bounds count; everything else that is reported, the potentials too, belongs to the epsilon of the solve. Whether the gap was reached is
   seen from the bounds. They hold for any number of processes; an extrapolated one is the same for each only to the gap that remains, since it depends on what the
   solve's tolerance leaves open, as the relative height of potentials on parts of the plan between which hardly any mass moves.

   The passes that it takes count as those of the certificate (`SkeanTransportView()`).

   References: Cominetti and San Martin, Asymptotic analysis of the exponential penalty trajectory in linear programming, Math. Programming 67 (1994).

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` unless 0 <= gap < 1.

.seealso: `SkeanTransportSetCertificate()`, `SkeanTransportGetCertificate()`, `SkeanTransportGetCertificateGap()`
@*/
PetscErrorCode SkeanTransportSetCertificateGap(SkeanTransport transport, PetscReal gap)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  PetscCheck(gap >= 0 && gap < 1, PetscObjectComm((PetscObject)transport), PETSC_ERR_ARG_OUTOFRANGE, "Gap %g must be in [0,1)", (double)gap);
  transport->certgap    = gap;
  transport->certgapset = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetCertificateGap - How close the bounds of the unregularised cost are brought

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  gap - relative; 0: the bounds that the answer itself gives

   Level: intermediate

.seealso: `SkeanTransportSetCertificateGap()`
@*/
PetscErrorCode SkeanTransportGetCertificateGap(SkeanTransport transport, PetscReal *gap)
{
  PetscFunctionBegin;
  CheckTransport(transport);
  *gap = transport->certgap;
  PetscFunctionReturn(PETSC_SUCCESS);
}
