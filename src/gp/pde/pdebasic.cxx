/* SkeanGPPDE: life cycle, setters, options, view, the solve driver and what is read from an answer */
#include "state.hpp"
#include <skean/private/memory.hpp>
#include <skean/private/reduce.hpp>
#include <algorithm>
#include <cmath>
#include <cstring>

using namespace skean;
using namespace skean::gp;

PetscClassId  SKEAN_GPPDE_CLASSID;
PetscLogEvent SKEAN_GPPDE_SetUp, SKEAN_GPPDE_Solve, SKEAN_GPPDE_Basis, SKEAN_GPPDE_Check;

const char *const SkeanGPPDEGrids[] = {"uniform", "chebyshev", "SkeanGPPDEGrid", "SKEAN_GPPDE_GRID_", NULL};
const char *const SkeanGPPDEBases[] = {"mixture", "covariance", "chebyshev", "fd2", "fd4", "SkeanGPPDEBasis", "SKEAN_GPPDE_BASIS_", NULL};

static const struct {
  const char *name;
  PetscErrorCode (*create)(SkeanGPPDE);
} types[] = {
  {SKEANGPPDEDIRECT, SkeanGPPDECreate_Direct},
  {SKEANGPPDECOMPAT, SkeanGPPDECreate_Compat},
  {SKEANGPPDEVARPRO, SkeanGPPDECreate_Varpro},
};

PetscErrorCode SkeanGPPDEInitializePackage_Private(void)
{
  PetscFunctionBegin;
  PetscCall(PetscClassIdRegister("SkeanGPPDE", &SKEAN_GPPDE_CLASSID));
  PetscCall(PetscLogEventRegister("GPPDESetUp", SKEAN_GPPDE_CLASSID, &SKEAN_GPPDE_SetUp));
  PetscCall(PetscLogEventRegister("GPPDESolve", SKEAN_GPPDE_CLASSID, &SKEAN_GPPDE_Solve));
  PetscCall(PetscLogEventRegister("GPPDEBasis", SKEAN_GPPDE_CLASSID, &SKEAN_GPPDE_Basis));
  PetscCall(PetscLogEventRegister("GPPDECheck", SKEAN_GPPDE_CLASSID, &SKEAN_GPPDE_Check));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Something the answer depends on has changed */
static void Invalidate(SkeanGPPDE pde)
{
  pde->solver.state = SKEAN_STATE_INITIAL;
  if (pde->state) pde->state->solved = false;
}
#define CheckSolved(pde)                                                                                                                             \
  do {                                                                                                                                               \
    PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);                                                                                           \
    PetscCheck((pde)->state && (pde)->state->solved, PetscObjectComm((PetscObject)(pde)), PETSC_ERR_ARG_WRONGSTATE, "Call SkeanGPPDESolve() first"); \
  } while (0)

/*@
   SkeanGPPDECreate - Creates a solver for a partial differential equation on a box

   Collective

   Input Parameter:
.  comm - the communicator

   Output Parameter:
.  pde - the solver, of type `SKEANGPPDEDIRECT`

   Level: beginner

.seealso: `SkeanGPPDESetProblem()`, `SkeanGPPDESetDomain()`, `SkeanGPPDESolve()`, `SkeanGPPDEDestroy()`
@*/
PetscErrorCode SkeanGPPDECreate(MPI_Comm comm, SkeanGPPDE *pde)
{
  SkeanGPPDE p;

  PetscFunctionBegin;
  PetscCheck(pde, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: pde");
  PetscCall(SkeanInitializePackage());
  PetscCall(PetscHeaderCreate(p, SKEAN_GPPDE_CLASSID, "SkeanGPPDE", "Collocation with a Gaussian-process prior", "SkeanGPPDE", comm, SkeanGPPDEDestroy,
                              SkeanGPPDEView));
  PetscCall(SkeanSolverInit_Private(&p->solver, "gppde", 2000, 1e-6, 0.0));
  p->dim        = 0;
  p->grid       = SKEAN_GPPDE_GRID_UNIFORM;
  p->basis      = SKEAN_GPPDE_BASIS_MIXTURE;
  p->length     = PETSC_DETERMINE;
  p->floor      = PETSC_DETERMINE;
  p->candidates = PETSC_DETERMINE;
  p->Q          = 30;
  p->F          = 20;
  p->jitter     = 1e-6;
  p->variance   = PETSC_DETERMINE;
  p->patience   = PETSC_DETERMINE;
  p->datainit   = PETSC_TRUE;
  p->lambdab    = 200;
  for (int k = 0; k < 3; k++) p->nfreq[k] = -1;
  PetscCallCXX(p->state = new SkeanGPPDEState_Private());
  *pde = p;
  PetscCall(SkeanGPPDESetType(p, SKEANGPPDEDIRECT));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDEReset - Forgets the answer and everything computed, keeps the equation and the settings

   Collective

   Input Parameter:
.  pde - the solver

   Level: intermediate

.seealso: `SkeanGPPDEDestroy()`
@*/
PetscErrorCode SkeanGPPDEReset(SkeanGPPDE pde)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  delete pde->state;
  pde->state = NULL;
  PetscCallCXX(pde->state = new SkeanGPPDEState_Private());
  pde->solver.state = SKEAN_STATE_INITIAL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDEDestroy - Frees a solver

   Collective

   Input Parameter:
.  pde - address of the solver, set to NULL

   Level: beginner

.seealso: `SkeanGPPDECreate()`
@*/
PetscErrorCode SkeanGPPDEDestroy(SkeanGPPDE *pde)
{
  PetscFunctionBegin;
  if (!*pde) PetscFunctionReturn(PETSC_SUCCESS);
  if (--((PetscObject)(*pde))->refct > 0) {
    *pde = NULL;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscTryTypeMethod(*pde, destroy);
  delete (*pde)->state;
  for (int k = 0; k < 3; k++) PetscCall(PetscFree((*pde)->freq[k]));
  PetscCall(PetscFree((*pde)->kernel));
  PetscCall(PetscFree((*pde)->problem));
  PetscCall(SkeanSolverDestroy_Private(&(*pde)->solver));
  PetscCall(PetscHeaderDestroy(pde));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPPDESetType - Chooses how the equation is solved

   Logically Collective

   Input Parameters:
+  pde  - the solver
-  type - `SKEANGPPDEDIRECT` (default), `SKEANGPPDECOMPAT` or `SKEANGPPDEVARPRO`

   Options Database Key:
.  -gppde_type (direct|compat|varpro) - the type

   Level: beginner

   Errors: `PETSC_ERR_ARG_UNKNOWN_TYPE`.

.seealso: `SkeanGPPDEType`
@*/
PetscErrorCode SkeanGPPDESetType(SkeanGPPDE pde, SkeanGPPDEType type)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  for (const auto &t : types) {
    if (!type || std::strcmp(t.name, type)) continue;
    PetscTryTypeMethod(pde, destroy);
    pde->data = NULL;
    PetscCall(PetscMemzero(pde->ops, sizeof(*pde->ops)));
    PetscCall(t.create(pde));
    PetscCall(PetscObjectChangeTypeName((PetscObject)pde, type));
    Invalidate(pde);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  SETERRQ(PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_UNKNOWN_TYPE, "Unknown type \"%s\" (direct compat varpro)", type ? type : "");
}

/*@C
   SkeanGPPDEGetType - The type of a solver

   Not Collective

   Input Parameter:
.  pde - the solver

   Output Parameter:
.  type - its type

   Level: beginner

.seealso: `SkeanGPPDESetType()`
@*/
PetscErrorCode SkeanGPPDEGetType(SkeanGPPDE pde, SkeanGPPDEType *type)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  *type = ((PetscObject)pde)->type_name;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPPDESetOptionsPrefix - Puts a prefix before the names of the options

   Logically Collective

   Input Parameters:
+  pde    - the solver
-  prefix - the prefix, without the hyphen

   Level: advanced

.seealso: `SkeanGPPDESetFromOptions()`
@*/
PetscErrorCode SkeanGPPDESetOptionsPrefix(SkeanGPPDE pde, const char prefix[])
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  PetscCall(PetscObjectSetOptionsPrefix((PetscObject)pde, prefix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDESetFromOptions - Sets up the solver from the options database

   Collective

   Input Parameter:
.  pde - the solver

   Options Database Keys:
+  -gppde_problem (name)               - a named test problem, see `SkeanGPPDESetProblem()`
.  -gppde_type (direct|compat|varpro)  - how it is solved
.  -gppde_grid (uniform|chebyshev)     - the collocation points
.  -gppde_n (n1,n2,n3)                 - their number in each dimension; one number serves all
.  -gppde_basis (name)                 - see `SkeanGPPDEBasis`
.  -gppde_kernel (text)                - see `SkeanGPPDESetKernel()`
.  -gppde_length (l)                   - see `SkeanGPPDESetLength()`
.  -gppde_floor (s)                    - see `SkeanGPPDESetFloor()`
.  -gppde_candidates (n)               - compare at least so many length scales
.  -gppde_q (Q)                        - components per dimension of the compatibility mode (30)
.  -gppde_f (F)                        - its first frequencies reach from 0 to F (the problem's)
.  -gppde_init_data (bool)             - its first frequencies from the data (true), or Q from 0 to F as in GP-HM
.  -gppde_init_variance (w)            - variance of the first kernels from the data (default: of two, see `SKEANGPPDECOMPAT`)
.  -gppde_patience (n)                 - stop it after n steps without a smaller estimated error, see `SKEANGPPDECOMPAT`
.  -gppde_jitter (eps)                 - its jitter (1e-6)
.  -gppde_lambda (l)                   - its weight of the boundary likelihood (200; advection 500)
.  -gppde_rtol (tol)                   - tolerance of the error bound (`SKEANGPPDEDIRECT`), of the gradient (the others)
.  -gppde_max_it (n)                   - length scales tried, or iterations of the optimiser
.  -gppde_monitor                      - one line per step
.  -gppde_converged_reason             - why it stopped
.  -gppde_view                         - the solver after the solve
.  -gppde_monitor_cancel               - removes the monitors set so far
.  -gppde_seed (seed)                  - of the random numbers; the class draws none
.  -gppde_checkpoint (file)            - refused, see the notes
.  -gppde_checkpoint_interval (n)      - refused, see the notes
-  -gppde_restart (file)               - refused, see the notes

   Note:
   There are no checkpoints: the direct solve ends in seconds, and the optimiser's state is its hyper-parameters.

   Level: beginner

.seealso: `SkeanGPPDESetOptionsPrefix()`
@*/
PetscErrorCode SkeanGPPDESetFromOptions(SkeanGPPDE pde)
{
  char      text[1024];
  PetscBool set;
  PetscInt  n[3], got = 3, i;
  PetscReal r;

  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  for (int k = 0; k < 3; k++) n[k] = pde->n[k]; /* the help prints the first */
  PetscObjectOptionsBegin((PetscObject)pde);
  PetscCall(PetscOptionsString("-gppde_problem", "Named test problem", "SkeanGPPDESetProblem", "", text, sizeof(text), &set));
  if (set) PetscCall(SkeanGPPDESetProblem(pde, text));
  PetscCall(PetscOptionsString("-gppde_type", "Type: direct, compat or varpro", "SkeanGPPDESetType", ((PetscObject)pde)->type_name, text, sizeof(text), &set));
  if (set) PetscCall(SkeanGPPDESetType(pde, text));
  SkeanGPPDEGrid grid = pde->grid;
  PetscCall(PetscOptionsEnum("-gppde_grid", "Collocation points", "SkeanGPPDESetGrid", SkeanGPPDEGrids, (PetscEnum)grid, (PetscEnum *)&grid, &set));
  if (set) PetscCall(SkeanGPPDESetGrid(pde, grid, NULL));
  PetscCall(PetscOptionsIntArray("-gppde_n", "Number of collocation points per dimension", "SkeanGPPDESetGrid", n, &got, &set));
  if (set) {
    PetscCheck(pde->dim > 0, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_WRONGSTATE, "-gppde_n needs the problem or the domain first");
    PetscCheck(got == 1 || got == pde->dim, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_SIZ,
               "-gppde_n gives %" PetscInt_FMT " numbers for %" PetscInt_FMT " dimensions", got, pde->dim);
    for (PetscInt k = 1; k < 3 && got == 1; k++) n[k] = n[0];
    PetscCall(SkeanGPPDESetGrid(pde, pde->grid, n));
  }
  SkeanGPPDEBasis basis = pde->basis;
  PetscCall(PetscOptionsEnum("-gppde_basis", "What functions are made of", "SkeanGPPDESetBasis", SkeanGPPDEBases, (PetscEnum)basis, (PetscEnum *)&basis, &set));
  if (set) PetscCall(SkeanGPPDESetBasis(pde, basis));
  PetscCall(PetscOptionsString("-gppde_kernel", "Kernels, one per dimension", "SkeanGPPDESetKernel", "", text, sizeof(text), &set));
  if (set) PetscCall(SkeanGPPDESetKernel(pde, text));
  PetscCall(PetscOptionsReal("-gppde_length", "Relative length scale of the envelope", "SkeanGPPDESetLength", pde->length, &r, &set));
  /* PETSC_DETERMINE is no length scale that somebody gives: without the option it is chosen */
  PetscCheck(!set || r > 0, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE, "-gppde_length %g must be positive", (double)r);
  if (set) PetscCall(SkeanGPPDESetLength(pde, r));
  PetscCall(PetscOptionsReal("-gppde_floor", "Smallest relative singular value kept", "SkeanGPPDESetFloor", pde->floor, &r, &set));
  if (set) PetscCall(SkeanGPPDESetFloor(pde, r));
  PetscCall(PetscOptionsInt("-gppde_candidates", "Length scales compared at least", "", pde->candidates, &i, &set));
  if (set) {
    PetscCheck(i >= 1, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE, "-gppde_candidates must be positive, is %" PetscInt_FMT, i);
    pde->candidates = i;
  }
  PetscCall(PetscOptionsInt("-gppde_q", "Components per dimension (compatibility mode)", "", pde->Q, &i, &set));
  if (set) {
    PetscCheck(i >= 1, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE, "-gppde_q must be positive, is %" PetscInt_FMT, i);
    pde->Q = i;
  }
  PetscCall(PetscOptionsBool("-gppde_init_data", "First frequencies from the data (compatibility mode)", "", pde->datainit, &pde->datainit, NULL));
  PetscCall(PetscOptionsReal("-gppde_init_variance", "Variance of the first kernels from the data (compatibility mode)", "", pde->variance, &r, &set));
  if (set) {
    PetscCheck(r > 0, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE, "-gppde_init_variance must be positive, is %g", (double)r);
    pde->variance = r;
  }
  PetscCall(PetscOptionsInt("-gppde_patience", "Steps without a smaller estimated error before it stops (compatibility mode)", "", pde->patience, &i, &set));
  if (set) {
    PetscCheck(i >= 0, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE, "-gppde_patience must not be negative, is %" PetscInt_FMT, i);
    pde->patience = i;
  }
  PetscCall(PetscOptionsReal("-gppde_f", "Highest first frequency (compatibility mode)", "", pde->F, &pde->F, NULL));
  PetscCall(PetscOptionsReal("-gppde_jitter", "Jitter (compatibility mode)", "", pde->jitter, &r, &set));
  if (set) {
    PetscCheck(r > 0, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE, "-gppde_jitter must be positive, is %g", (double)r);
    pde->jitter = r;
  }
  PetscCall(PetscOptionsReal("-gppde_lambda", "Weight of the boundary likelihood (compatibility mode)", "", pde->lambdab, &pde->lambdab, NULL));
  PetscCall(SkeanSolverSetFromOptions_Private((PetscObject)pde, &pde->solver, NULL, PetscOptionsObject));
  PetscTryTypeMethod(pde, setfromoptions, PetscOptionsObject);
  PetscCall(PetscObjectProcessOptionsHandlers((PetscObject)pde, PetscOptionsObject));
  PetscOptionsEnd();
  PetscCheck(!pde->solver.checkpointfile && !pde->solver.restartfile, PetscObjectComm((PetscObject)pde), PETSC_ERR_SUP,
             "SkeanGPPDE does not support checkpoints");
  Invalidate(pde);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDESetDomain - Sets the box

   Logically Collective

   Input Parameters:
+  pde - the solver
.  dim - dimension, 1 to 3 (time, if there is one, is a dimension)
.  lo  - low corner, dim numbers
-  hi  - high corner, dim numbers

   Level: beginner

   Notes:
   A change of dimension forgets operator, boundary conditions and grid sizes.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for a dimension outside 1 to 3 or an empty box.

.seealso: `SkeanGPPDESetOperator()`, `SkeanGPPDESetBoundary()`
@*/
PetscErrorCode SkeanGPPDESetDomain(SkeanGPPDE pde, PetscInt dim, const PetscReal lo[], const PetscReal hi[])
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  PetscCheck(dim >= 1 && dim <= 3, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE, "Dimension %" PetscInt_FMT " must be 1, 2 or 3", dim);
  for (PetscInt k = 0; k < dim; k++)
    PetscCheck(lo[k] < hi[k] && std::isfinite(hi[k] - lo[k]), PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE,
               "Side %" PetscInt_FMT " of the box from %g to %g is empty", k, (double)lo[k], (double)hi[k]);
  if (dim != pde->dim) {
    for (int s = 0; s < 6; s++) pde->bc[s] = SKEAN_GPPDE_BC_NONE, pde->bcfn[s] = NULL;
    for (int k = 0; k < 3; k++) {
      pde->n[k] = 0;
      pde->a[k] = pde->b[k] = 0;
      PetscCall(PetscFree(pde->freq[k]));
      pde->nfreq[k] = -1;
    }
    pde->c = 0;
  }
  pde->dim = dim;
  for (PetscInt k = 0; k < dim; k++) pde->lo[k] = lo[k], pde->hi[k] = hi[k];
  Invalidate(pde);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDEGetDomain - The box

   Not Collective

   Input Parameter:
.  pde - the solver

   Output Parameters:
+  dim - dimension, or NULL
.  lo  - low corner (room for 3 numbers), or NULL
-  hi  - high corner (room for 3 numbers), or NULL

   Level: beginner

.seealso: `SkeanGPPDESetDomain()`
@*/
PetscErrorCode SkeanGPPDEGetDomain(SkeanGPPDE pde, PetscInt *dim, PetscReal lo[], PetscReal hi[])
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  if (dim) *dim = pde->dim;
  for (PetscInt k = 0; k < pde->dim; k++) {
    if (lo) lo[k] = pde->lo[k];
    if (hi) hi[k] = pde->hi[k];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDESetOperator - Sets the linear part  sum_k (a_k u_kk + b_k u_k) + c u

   Logically Collective

   Input Parameters:
+  pde - the solver, its domain set
.  a   - coefficients of the second derivatives, dim numbers
.  b   - coefficients of the first derivatives, dim numbers
-  c   - coefficient of u

   Level: beginner

   Notes:
   Ignored while a residual of the user's own is set.

.seealso: `SkeanGPPDESetReaction()`, `SkeanGPPDESetResidual()`, `SkeanGPPDESetSource()`
@*/
PetscErrorCode SkeanGPPDESetOperator(SkeanGPPDE pde, const PetscReal a[], const PetscReal b[], PetscReal c)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  PetscCheck(pde->dim > 0, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_WRONGSTATE, "Set the domain first");
  for (PetscInt k = 0; k < pde->dim; k++) {
    PetscCheck(std::isfinite(a[k]) && std::isfinite(b[k]) && std::isfinite(c), PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE,
               "Coefficients must be finite");
    pde->a[k] = a[k];
    pde->b[k] = b[k];
  }
  pde->c = c;
  Invalidate(pde);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPPDESetReaction - Adds a pointwise nonlinear term N(x,u) to the linear part

   Logically Collective

   Input Parameters:
+  pde - the solver
.  fn  - evaluates N and dN/du, see `SkeanGPPDEResidualFn`; NULL: none
-  ctx - its context

   Level: intermediate

.seealso: `SkeanGPPDESetResidual()`
@*/
PetscErrorCode SkeanGPPDESetReaction(SkeanGPPDE pde, SkeanGPPDEResidualFn fn, void *ctx)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  pde->reaction    = fn;
  pde->reactionctx = ctx;
  Invalidate(pde);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPPDESetResidual - Replaces the operator by a nonlinear function R(x, u, u_k, u_kk) of the user's own

   Logically Collective

   Input Parameters:
+  pde - the solver
.  fn  - evaluates R and its derivatives, see `SkeanGPPDEResidualFn`; NULL: back to operator and reaction
-  ctx - its context

   Level: intermediate

   Notes:
   The equation is R = f. Newton's method starts from the lifting of the boundary data; the mean of the linearisation preconditions its linear systems.

.seealso: `SkeanGPPDESetOperator()`, `SkeanGPPDESetReaction()`
@*/
PetscErrorCode SkeanGPPDESetResidual(SkeanGPPDE pde, SkeanGPPDEResidualFn fn, void *ctx)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  pde->residual    = fn;
  pde->residualctx = ctx;
  Invalidate(pde);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPPDESetSource - Sets the right-hand side f

   Logically Collective

   Input Parameters:
+  pde - the solver
.  fn  - evaluates f, see `SkeanGPPDEFieldFn`; NULL: zero
-  ctx - its context

   Level: beginner

.seealso: `SkeanGPPDESetBoundary()`
@*/
PetscErrorCode SkeanGPPDESetSource(SkeanGPPDE pde, SkeanGPPDEFieldFn fn, void *ctx)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  pde->source    = fn;
  pde->sourcectx = ctx;
  Invalidate(pde);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPPDESetBoundary - Sets the condition on one side of the box

   Logically Collective

   Input Parameters:
+  pde  - the solver, its domain set
.  side - 2*k for the low, 2*k + 1 for the high side of dimension k
.  bc   - the kind of condition
.  fn   - its data, see `SkeanGPPDEFieldFn`; NULL: zero
-  ctx  - the context of fn

   Level: beginner

   Notes:
   Neumann data are the derivative along the axis, not along the outward normal. Where two sides meet their data should agree; the
   dimension with the higher number wins otherwise.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for a side the box does not have.

.seealso: `SkeanGPPDEBC`, `SkeanGPPDESetSource()`
@*/
PetscErrorCode SkeanGPPDESetBoundary(SkeanGPPDE pde, PetscInt side, SkeanGPPDEBC bc, SkeanGPPDEFieldFn fn, void *ctx)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  PetscCheck(side >= 0 && side < 2 * pde->dim, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE,
             "Side %" PetscInt_FMT " of a box of dimension %" PetscInt_FMT, side, pde->dim);
  pde->bc[side]    = bc;
  pde->bcfn[side]  = bc == SKEAN_GPPDE_BC_NONE || bc == SKEAN_GPPDE_BC_PERIODIC ? NULL : fn;
  pde->bcctx[side] = ctx;
  Invalidate(pde);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPPDESetExact - Sets a known solution, for `SkeanGPPDEComputeError()` only

   Logically Collective

   Input Parameters:
+  pde - the solver
.  fn  - evaluates it, or NULL
-  ctx - its context

   Level: intermediate

   Notes:
   Nothing the solver does depends on it.

.seealso: `SkeanGPPDEComputeError()`
@*/
PetscErrorCode SkeanGPPDESetExact(SkeanGPPDE pde, SkeanGPPDEFieldFn fn, void *ctx)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  pde->exact    = fn;
  pde->exactctx = ctx;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDESetGrid - Sets the collocation points

   Logically Collective

   Input Parameters:
+  pde  - the solver
.  grid - uniform or Chebyshev points
-  n    - their number in each dimension, both ends counted, or NULL to leave it

   Options Database Keys:
+  -gppde_grid (uniform|chebyshev) - the kind
-  -gppde_n (n1,n2,n3)             - the numbers

   Level: beginner

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for fewer than 4 points in a dimension.

.seealso: `SkeanGPPDEGetGrid()`
@*/
PetscErrorCode SkeanGPPDESetGrid(SkeanGPPDE pde, SkeanGPPDEGrid grid, const PetscInt n[])
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  for (PetscInt k = 0; n && k < pde->dim; k++) {
    PetscCheck(n[k] >= 4, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " points in dimension %" PetscInt_FMT ", at least 4",
               n[k], k);
    pde->n[k] = n[k];
  }
  pde->grid = grid;
  Invalidate(pde);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDEGetGrid - The collocation points

   Not Collective

   Input Parameter:
.  pde - the solver

   Output Parameters:
+  grid - the kind, or NULL
-  n    - their number in each dimension (room for 3), or NULL

   Level: beginner

.seealso: `SkeanGPPDESetGrid()`
@*/
PetscErrorCode SkeanGPPDEGetGrid(SkeanGPPDE pde, SkeanGPPDEGrid *grid, PetscInt n[])
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  if (grid) *grid = pde->grid;
  for (PetscInt k = 0; n && k < pde->dim; k++) n[k] = pde->n[k];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDESetBasis - Chooses the functions of `SKEANGPPDEDIRECT`

   Logically Collective

   Input Parameters:
+  pde   - the solver
-  basis - see `SkeanGPPDEBasis`

   Options Database Key:
.  -gppde_basis (mixture|covariance|chebyshev|fd2|fd4) - the basis

   Level: intermediate

.seealso: `SkeanGPPDEBasis`
@*/
PetscErrorCode SkeanGPPDESetBasis(SkeanGPPDE pde, SkeanGPPDEBasis basis)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  PetscCheck(basis >= SKEAN_GPPDE_BASIS_MIXTURE && basis <= SKEAN_GPPDE_BASIS_FD4, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE,
             "Unknown basis %d", (int)basis);
  pde->basis = basis;
  Invalidate(pde);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPPDESetKernel - Sets the covariance functions

   Logically Collective

   Input Parameters:
+  pde     - the solver
-  kernels - one text per dimension, separated by commas, or one for all: "matern72(0.1)", "smt52:2(0.5,0.3,0,0.5,0.3,15.9)", "se*periodic(1,0.5)"

   Options Database Key:
.  -gppde_kernel (text) - the kernels

   Level: intermediate

   Notes:
   Used by the covariance basis, and by `SKEANGPPDECOMPAT` and `SKEANGPPDEVARPRO` as the starting point in place of the mixture of -gppde_q components. A kernel must be twice
   differentiable, and k'' continuous (Matern-5/2 or smoother) for equations of second order.

   Errors (in `SkeanGPPDESetUp()`): `PETSC_ERR_USER_INPUT` with the place in the text; `PETSC_ERR_SUP` with `SKEANGPPDEDIRECT` and another basis, which would not use them.

.seealso: `SkeanGPKernelRegister()`, `SkeanGPPDESetBasis()`
@*/
PetscErrorCode SkeanGPPDESetKernel(SkeanGPPDE pde, const char kernels[])
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  PetscCall(PetscFree(pde->kernel));
  if (kernels) PetscCall(PetscStrallocpy(kernels, &pde->kernel));
  Invalidate(pde);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDESetFrequencies - Gives the frequencies of a dimension instead of letting them be found

   Logically Collective

   Input Parameters:
+  pde  - the solver, its domain set
.  k    - the dimension
.  n    - number of frequencies, or `PETSC_DETERMINE` to find them in the data
-  freq - the frequencies, cycles per unit length; give 0 too, unless the solution has no smooth part

   Level: advanced

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for a dimension the box does not have or n = 0.

.seealso: `SkeanGPPDEGetFrequencies()`
@*/
PetscErrorCode SkeanGPPDESetFrequencies(SkeanGPPDE pde, PetscInt k, PetscInt n, const PetscReal freq[])
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  PetscCheck(k >= 0 && k < pde->dim, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE,
             "Dimension %" PetscInt_FMT " of a box of dimension %" PetscInt_FMT, k, pde->dim);
  PetscCheck(n > 0 || n == PETSC_DETERMINE, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE,
             "Number of frequencies %" PetscInt_FMT " must be positive", n);
  PetscCall(PetscFree(pde->freq[k]));
  pde->nfreq[k] = -1;
  if (n > 0) {
    for (PetscInt i = 0; i < n; i++)
      PetscCheck(std::isfinite(freq[i]), PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE, "Frequencies must be finite");
    PetscCall(PetscMalloc1(n, &pde->freq[k]));
    PetscCall(PetscArraycpy(pde->freq[k], freq, n));
    pde->nfreq[k] = n;
  }
  Invalidate(pde);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPPDEGetFrequencies - The frequencies in use in a dimension

   Not Collective

   Input Parameters:
+  pde - the solver, after `SkeanGPPDESetUp()`
-  k   - the dimension

   Output Parameters:
+  n    - their number
-  freq - the frequencies, cycles per unit length, owned by the solver

   Level: advanced

.seealso: `SkeanGPPDESetFrequencies()`
@*/
PetscErrorCode SkeanGPPDEGetFrequencies(SkeanGPPDE pde, PetscInt k, PetscInt *n, const PetscReal *freq[])
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  PetscCheck(k >= 0 && k < pde->dim, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE,
             "Dimension %" PetscInt_FMT " of a box of dimension %" PetscInt_FMT, k, pde->dim);
  PetscCheck(pde->solver.state != SKEAN_STATE_INITIAL, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_WRONGSTATE, "Call SkeanGPPDESetUp() first");
  if (n) *n = (PetscInt)pde->state->freq[k].size();
  if (freq) *freq = pde->state->freq[k].data();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDESetLength - Fixes the length scale of the envelope

   Logically Collective

   Input Parameters:
+  pde    - the solver
-  length - relative to the side of the box; `PETSC_DETERMINE` (default): chosen by the error bound

   Options Database Key:
.  -gppde_length (l) - the length scale

   Level: intermediate

.seealso: `SKEANGPPDEDIRECT`
@*/
PetscErrorCode SkeanGPPDESetLength(SkeanGPPDE pde, PetscReal length)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  PetscCheck(length > 0 || length == PETSC_DETERMINE, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE, "Length scale %g must be positive",
             (double)length);
  pde->length = length;
  Invalidate(pde);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDEGetLength - The length scale of the envelope that the answer was computed with

   Not Collective

   Input Parameter:
.  pde - the solver, after `SkeanGPPDESolve()`

   Output Parameter:
.  length - relative to the side of the box

   Level: intermediate

.seealso: `SkeanGPPDESetLength()`
@*/
PetscErrorCode SkeanGPPDEGetLength(SkeanGPPDE pde, PetscReal *length)
{
  PetscFunctionBegin;
  CheckSolved(pde);
  *length = pde->state->spec[0].ell / (pde->hi[0] - pde->lo[0]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDESetFloor - Sets the smallest relative singular value of the features (eigenvalue, for the covariance basis) that is kept

   Logically Collective

   Input Parameters:
+  pde   - the solver
-  floor - between 0 and 1; `PETSC_DETERMINE`: 1e-13 for features, 1e-15 for covariances

   Options Database Key:
.  -gppde_floor (s) - the floor

   Level: advanced

.seealso: `SKEANGPPDEDIRECT`
@*/
PetscErrorCode SkeanGPPDESetFloor(SkeanGPPDE pde, PetscReal floor)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  PetscCheck((floor > 0 && floor < 1) || floor == PETSC_DETERMINE, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE,
             "Floor %g must be between 0 and 1", (double)floor);
  pde->floor = floor;
  Invalidate(pde);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDESetTolerances - Sets when the solver is content

   Logically Collective

   Input Parameters:
+  pde    - the solver
.  rtol   - of the error bound relative to max |u| (`SKEANGPPDEDIRECT`, default 1e-6), of the gradient (the others)
.  atol   - of the error bound itself
-  max_it - most length scales tried, or most iterations

   Options Database Keys:
+  -gppde_rtol (tol)  - relative tolerance
.  -gppde_atol (tol)  - absolute tolerance
-  -gppde_max_it (n)  - most steps

   Level: intermediate

.seealso: `SkeanGPPDEGetConvergedReason()`
@*/
PetscErrorCode SkeanGPPDESetTolerances(SkeanGPPDE pde, PetscReal rtol, PetscReal atol, PetscInt max_it)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  PetscCall(SkeanSolverSetTolerances_Private((PetscObject)pde, &pde->solver, rtol, atol, max_it));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDESetErrorIfNotConverged - Makes it an error if the tolerance is not met

   Logically Collective

   Input Parameters:
+  pde - the solver
-  flg - `PETSC_TRUE` to make it an error

   Options Database Key:
.  -gppde_error_if_not_converged - the same

   Level: intermediate

.seealso: `SkeanGPPDESetTolerances()`
@*/
PetscErrorCode SkeanGPPDESetErrorIfNotConverged(SkeanGPPDE pde, PetscBool flg)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  pde->solver.errorifnotconverged = flg;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPPDEMonitorSet - Adds a function that is called after each step

   Logically Collective

   Input Parameters:
+  pde     - the solver
.  monitor - called with the solver, the step, the error measure (bound or relative gradient) and ctx
.  ctx     - its context
-  destroy - frees the context, or NULL

   Options Database Key:
.  -gppde_monitor - prints the steps

   Level: intermediate

.seealso: `SkeanGPPDESolve()`
@*/
PetscErrorCode SkeanGPPDEMonitorSet(SkeanGPPDE pde, PetscErrorCode (*monitor)(SkeanGPPDE, PetscInt, PetscReal, void *), void *ctx,
                                    PetscErrorCode (*destroy)(void **))
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  PetscCall(SkeanSolverMonitorSet_Private((PetscObject)pde, &pde->solver, reinterpret_cast<SkeanMonitorFn_Private>(monitor), ctx, destroy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* At least this much is needed, measured at 1000 and 3000 squared and 300 cubed points: three arrays over the grid, and four square matrices of the longest dimension */
static PetscErrorCode CheckSize(SkeanGPPDE pde)
{
  const MPI_Comm comm = PetscObjectComm((PetscObject)pde);
  char           what[128];
  double         points = 1, factors = 0;

  PetscFunctionBegin;
  for (PetscInt k = 0; k < pde->dim; k++) {
    points *= static_cast<double>(pde->n[k]);
    factors = std::max(factors, 30.0 * static_cast<double>(pde->n[k]) * static_cast<double>(pde->n[k]));
  }
  PetscCall(PetscSNPrintf(what, sizeof(what), "The grid of %.0f points", points));
  PetscCall(skean::CheckMemory(comm, what, 3 * 8.0 * points, factors));
  PetscCheck(points <= static_cast<double>(PETSC_MAX_INT), comm, PETSC_ERR_ARG_OUTOFRANGE,
             "%s has more than this PETSc's indices can count (%g); use a PETSc with 64-bit indices", what, static_cast<double>(PETSC_MAX_INT));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDESetUp - Checks the settings, makes the grid and finds the frequencies

   Collective

   Input Parameter:
.  pde - the solver

   Level: intermediate

   Notes:
   Called by `SkeanGPPDESolve()`.

   Errors: `PETSC_ERR_MEM` for a grid larger than the memory, with how much it needs and on how many processes it would fit;
   `PETSC_ERR_ARG_OUTOFRANGE` for one larger than the index type; `PETSC_ERR_ARG_WRONGSTATE` without a domain, a grid or an operator; `PETSC_ERR_SUP` for a side that is periodic while the opposite one is not, and
   where the solution would be determined up to a constant only.

.seealso: `SkeanGPPDESolve()`
@*/
PetscErrorCode SkeanGPPDESetUp(SkeanGPPDE pde)
{
  bool any = false;

  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  if (pde->solver.state != SKEAN_STATE_INITIAL) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(pde->dim > 0, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_WRONGSTATE, "Set a problem (SkeanGPPDESetProblem()) or a domain first");
  for (PetscInt k = 0; k < pde->dim; k++) {
    PetscCheck(pde->n[k] > 0, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_WRONGSTATE,
               "The number of grid points is not set (SkeanGPPDESetGrid() or -gppde_n)");
    PetscCheck((pde->bc[2 * k] == SKEAN_GPPDE_BC_PERIODIC) == (pde->bc[2 * k + 1] == SKEAN_GPPDE_BC_PERIODIC), PetscObjectComm((PetscObject)pde), PETSC_ERR_SUP,
               "Dimension %" PetscInt_FMT " is periodic on one side only", k);
    any = any || pde->a[k] != 0 || pde->b[k] != 0;
  }
  PetscCheck(any || pde->residual, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_WRONGSTATE,
             "The operator has no derivative (SkeanGPPDESetOperator() or SkeanGPPDESetResidual())");
  PetscCall(CheckSize(pde));
  PetscCall(PetscLogEventBegin(SKEAN_GPPDE_SetUp, pde, 0, 0, 0));
  if (pde->candidates < 1) pde->candidates = pde->dim < 3 ? 2 : 1;
  PetscCall(SkeanGPPDEReset(pde));
  if (pde->basis == SKEAN_GPPDE_BASIS_CHEBYSHEV) pde->grid = SKEAN_GPPDE_GRID_CHEBYSHEV;
  PetscCall(PrepareGrid(pde));
  PetscTryTypeMethod(pde, setup);
  pde->solver.state = SKEAN_STATE_SETUP;
  PetscCall(PetscLogEventEnd(SKEAN_GPPDE_SetUp, pde, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDESolve - Solves the equation

   Collective

   Input Parameter:
.  pde - the solver

   Options Database Keys:
+  -gppde_monitor                - prints the steps
.  -gppde_converged_reason       - prints why it stopped
-  -gppde_error_if_not_converged - makes it an error if the tolerance is not met

   Level: beginner

   Notes:
   Whether the answer can be trusted is said by `SkeanGPPDEGetConvergedReason()` and `SkeanGPPDEGetErrorEstimate()`. Solving again without changes does the
   work again.

   Errors: those of `SkeanGPPDESetUp()`; `PETSC_ERR_USER` if a callback fails on some process.

.seealso: `SkeanGPPDEGetSolution()`, `SkeanGPPDEEvaluate()`, `SkeanGPPDEComputeError()`
@*/
PetscErrorCode SkeanGPPDESolve(SkeanGPPDE pde)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  PetscCall(SkeanGPPDESetUp(pde));
  PetscCall(SkeanSolverBegin_Private((PetscObject)pde, &pde->solver));
  PetscCall(PetscLogEventBegin(SKEAN_GPPDE_Solve, pde, 0, 0, 0));
  pde->state->solved = false;
  pde->state->bound = pde->state->agreement = -1;
  PetscUseTypeMethod(pde, solve);
  PetscCall(PetscLogEventEnd(SKEAN_GPPDE_Solve, pde, 0, 0, 0));
  PetscCall(SkeanSolverEnd_Private((PetscObject)pde, &pde->solver));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDEGetConvergedReason - Why the solve stopped

   Not Collective

   Input Parameter:
.  pde - the solver

   Output Parameter:
.  reason - negative: the tolerance was not met

   Level: beginner

.seealso: `SkeanGPPDESetTolerances()`, `SkeanConvergedReason`
@*/
PetscErrorCode SkeanGPPDEGetConvergedReason(SkeanGPPDE pde, SkeanConvergedReason *reason)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  *reason = pde->solver.reason;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDEGetIterationNumber - How many length scales were tried, or iterations made

   Not Collective

   Input Parameter:
.  pde - the solver

   Output Parameter:
.  its - their number

   Level: beginner

.seealso: `SkeanGPPDESolve()`
@*/
PetscErrorCode SkeanGPPDEGetIterationNumber(SkeanGPPDE pde, PetscInt *its)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  *its = pde->solver.its;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDEGetErrorEstimate - What is known of the error without the exact solution

   Not Collective

   Input Parameter:
.  pde - the solver, after `SkeanGPPDESolve()`

   Output Parameters:
+  bound     - largest error relative to max |u|, from the residual at mid-points and the gap on the boundary; negative if not known
-  agreement - relative difference to the solution with the second-best length scale; negative if only one was tried

   Level: beginner

   Notes:
   For Poisson's equation (a of one sign, c not of that sign, given values on all sides) and for advection the first is a bound by the maximum principle or along characteristics, up to
   the residual between the points where it was measured; it is usually far above the error. For nonlinear equations, Neumann and periodic sides it is an indicator. The second
   is close to the error of the worse of two solutions and can be fooled where both are wrong in the same way.

.seealso: `SkeanGPPDEComputeError()`
@*/
PetscErrorCode SkeanGPPDEGetErrorEstimate(SkeanGPPDE pde, PetscReal *bound, PetscReal *agreement)
{
  PetscFunctionBegin;
  CheckSolved(pde);
  if (bound) *bound = pde->state->bound;
  if (agreement) *agreement = pde->state->agreement;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDEGetRanks - Number of functions per dimension of which the answer is made

   Not Collective

   Input Parameter:
.  pde - the solver, after `SkeanGPPDESolve()`

   Output Parameter:
.  ranks - one number per dimension, at most the number of grid points (room for 3)

   Level: advanced

.seealso: `SkeanGPPDESetFloor()`
@*/
PetscErrorCode SkeanGPPDEGetRanks(SkeanGPPDE pde, PetscInt ranks[])
{
  PetscFunctionBegin;
  CheckSolved(pde);
  for (PetscInt k = 0; k < pde->dim; k++) ranks[k] = (PetscInt)pde->state->r[k];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPPDEGetCoordinates - The collocation points in a dimension

   Not Collective

   Input Parameters:
+  pde - the solver, after `SkeanGPPDESetUp()`
-  k   - the dimension

   Output Parameters:
+  n - their number
-  x - their coordinates, owned by the solver

   Level: intermediate

.seealso: `SkeanGPPDESetGrid()`
@*/
PetscErrorCode SkeanGPPDEGetCoordinates(SkeanGPPDE pde, PetscInt k, PetscInt *n, const PetscReal *x[])
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  PetscCheck(k >= 0 && k < pde->dim && pde->solver.state != SKEAN_STATE_INITIAL, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_WRONGSTATE,
             "Dimension %" PetscInt_FMT " of a grid that is not set up or does not have it", k);
  if (n) *n = (PetscInt)pde->state->x[k].size();
  if (x) *x = pde->state->x[k].data();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Evaluate(SkeanGPPDE pde, PointSet *p, Vec *u)
{
  std::vector<double> v;
  PetscScalar        *a;

  PetscFunctionBegin;
  PetscCall(PreparePoints(pde, p, 0));
  PetscCall(Fields(pde, *p, pde->state->coef, &v, nullptr, nullptr, nullptr));
  PetscCall(VecCreateMPI(PetscObjectComm((PetscObject)pde), (PetscInt)v.size(), PETSC_DETERMINE, u));
  PetscCall(VecGetArrayWrite(*u, &a));
  std::copy(v.begin(), v.end(), a);
  PetscCall(VecRestoreArrayWrite(*u, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDEGetSolution - The solution at the collocation points

   Collective

   Input Parameter:
.  pde - the solver, after `SkeanGPPDESolve()`

   Output Parameter:
.  u - n_1 n_2 n_3 values in natural order, the last dimension running fastest; the caller destroys it

   Level: beginner

   Notes:
   Distributed by slabs of the first dimension.

.seealso: `SkeanGPPDEEvaluate()`, `SkeanGPPDEGetCoordinates()`
@*/
PetscErrorCode SkeanGPPDEGetSolution(SkeanGPPDE pde, Vec *u)
{
  PointSet p;

  PetscFunctionBegin;
  CheckSolved(pde);
  for (int k = 0; k < pde->dim; k++) PetscCallCXX(p.x[k] = pde->state->x[k]);
  PetscCall(Evaluate(pde, &p, u));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDEEvaluate - The solution on another tensor grid

   Collective

   Input Parameters:
+  pde - the solver, after `SkeanGPPDESolve()`
.  n   - number of points in each dimension
-  x   - their coordinates in each dimension, the same on every process

   Output Parameter:
.  u - the values in natural order, the last dimension running fastest; the caller destroys it

   Level: intermediate

   Notes:
   One product per dimension with an n x rank matrix.

.seealso: `SkeanGPPDEGetSolution()`
@*/
PetscErrorCode SkeanGPPDEEvaluate(SkeanGPPDE pde, const PetscInt n[], const PetscReal *const x[], Vec *u)
{
  PointSet p;

  PetscFunctionBegin;
  CheckSolved(pde);
  for (int k = 0; k < pde->dim; k++) {
    PetscCheck(n[k] > 0, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " points in dimension %d", n[k], k);
    PetscCallCXX(p.x[k].assign(x[k], x[k] + n[k]));
  }
  PetscCall(Evaluate(pde, &p, u));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGPPDEComputeError - Relative error in the 2-norm on a uniform grid that includes the boundary

   Collective

   Input Parameters:
+  pde - the solver, after `SkeanGPPDESolve()`, its exact solution set
-  n   - points per dimension; 0: 300 in one and two dimensions, 80 in three

   Output Parameter:
.  error - |u - exact|_2 / |exact|_2

   Level: beginner

   Notes:
   The measure of GP-HM. The only routine that reads the exact solution.

.seealso: `SkeanGPPDESetExact()`, `SkeanGPPDEGetErrorEstimate()`
@*/
PetscErrorCode SkeanGPPDEComputeError(SkeanGPPDE pde, PetscInt n, PetscReal *error)
{
  PointSet            p;
  std::vector<double> u, e;
  FlaggedSum          sum(2);
  PetscErrorCode      ierr = PETSC_SUCCESS;

  PetscFunctionBegin;
  CheckSolved(pde);
  PetscCheck(pde->exact, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_WRONGSTATE, "No exact solution is set");
  if (n <= 0) n = pde->dim == 3 ? 80 : 300;
  for (int k = 0; k < pde->dim; k++)
    for (PetscInt i = 0; i < n; i++)
      PetscCallCXX(p.x[k].push_back(i == n - 1 && n > 1 ? pde->hi[k] : pde->lo[k] + (pde->hi[k] - pde->lo[k]) * (PetscReal)i / (PetscReal)PetscMax(n - 1, 1)));
  PetscCall(PreparePoints(pde, &p, 0));
  PetscCall(Fields(pde, p, pde->state->coef, &u, nullptr, nullptr, nullptr));
  PetscCallCXX(e.resize(2048));
  PetscCall(ForPoints(pde->state, static_cast<int>(pde->dim), p, [&](size_t s, size_t c, const double *x) {
    if (!ierr) ierr = pde->exact(static_cast<PetscInt>(c), pde->dim, x, -1, e.data(), pde->exactctx);
    for (size_t i = 0; i < c; i++) {
      sum[0] += (u[s + i] - e[i]) * (u[s + i] - e[i]);
      sum[1] += e[i] * e[i];
    }
    return PETSC_SUCCESS;
  }));
  PetscCall(AgreeCallback(pde, ierr, "exact solution"));
  PetscCall(sum.Reduce(PetscObjectComm((PetscObject)pde), false, nullptr));
  *error = sum[1] > 0 ? std::sqrt(sum[0] / sum[1]) : std::sqrt(sum[0]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPPDEView - Prints the solver

   Collective

   Input Parameters:
+  pde    - the solver
-  viewer - where to, or NULL for standard output

   Options Database Key:
.  -gppde_view - after the solve

   Level: beginner

.seealso: `SkeanGPPDESolve()`
@*/
PetscErrorCode SkeanGPPDEView(SkeanGPPDE pde, PetscViewer viewer)
{
  PetscBool ascii;

  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  if (!viewer) PetscCall(PetscViewerASCIIGetStdout(PetscObjectComm((PetscObject)pde), &viewer));
  PetscCall(PetscObjectTypeCompare((PetscObject)viewer, PETSCVIEWERASCII, &ascii));
  if (!ascii) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscObjectPrintClassNamePrefixType((PetscObject)pde, viewer));
  PetscCall(SkeanSolverView_Private(&pde->solver, viewer));
  if (pde->problem) PetscCall(PetscViewerASCIIPrintf(viewer, "  problem: %s\n", pde->problem));
  if (!pde->dim) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(
    PetscViewerASCIIPrintf(viewer, "  dimension=%" PetscInt_FMT ", %s grid, basis: %s\n", pde->dim, SkeanGPPDEGrids[pde->grid], SkeanGPPDEBases[pde->basis]));
  for (PetscInt k = 0; k < pde->dim; k++) {
    PetscCall(PetscViewerASCIIPrintf(viewer, "  dimension %" PetscInt_FMT ": [%g, %g], %" PetscInt_FMT " points", k, (double)pde->lo[k], (double)pde->hi[k],
                                     pde->n[k]));
    if (pde->solver.state != SKEAN_STATE_INITIAL) PetscCall(PetscViewerASCIIPrintf(viewer, ", %d frequencies", static_cast<int>(pde->state->freq[k].size())));
    if (pde->state->solved)
      PetscCall(PetscViewerASCIIPrintf(viewer, ", %d functions, length scale %g", static_cast<int>(pde->state->r[k]), pde->state->spec[k].ell));
    PetscCall(PetscViewerASCIIPrintf(viewer, "\n"));
  }
  if (pde->state->solved)
    PetscCall(PetscViewerASCIIPrintf(viewer, "  error bound (relative to max |u|): %.3g, agreement of two length scales: %.3g\n", pde->state->bound,
                                     pde->state->agreement));
  if (pde->state->solved && pde->state->estimate >= 0)
    PetscCall(PetscViewerASCIIPrintf(viewer, "  iterate %" PetscInt_FMT " of %" PetscInt_FMT ", estimated error: %.3g\n", pde->state->iterate, pde->solver.its,
                                     pde->state->estimate));
  PetscTryTypeMethod(pde, view, viewer);
  PetscFunctionReturn(PETSC_SUCCESS);
}
