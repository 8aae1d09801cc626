/* Options, tolerances, monitors */
#include <skean/private/transportimpl.h>

extern PetscFunctionList SkeanTransportList;

/* one line per step: marginal error, epsilon of the level, entries in the Newton system */
static PetscErrorCode MonitorDefault(PetscObject obj, PetscInt it, PetscReal err, void *ctx)
{
  SkeanTransport                t  = (SkeanTransport)obj;
  const skean::transport::Work *w  = static_cast<skean::transport::Work *>(t->work);
  PetscViewerAndFormat         *vf = (PetscViewerAndFormat *)ctx;
  PetscInt                      tab;

  PetscFunctionBegin;
  PetscCall(PetscObjectGetTabLevel(obj, &tab));
  PetscCall(PetscViewerPushFormat(vf->viewer, vf->format));
  PetscCall(PetscViewerASCIIAddTab(vf->viewer, tab));
  if (t->mslevel)
    PetscCall(
      PetscViewerASCIIPrintf(vf->viewer, "level %" PetscInt_FMT ", %" PetscInt_FMT " to %" PetscInt_FMT " points: ", t->mslevel, w->eng->nglobal, w->eng->m));
  if (!w->eng) /* a barycentre */
    PetscCall(PetscViewerASCIIPrintf(vf->viewer, "%3" PetscInt_FMT " marginal error %14.8e epsilon %9.3e\n", it, (double)err, w->epsnow));
  else
    PetscCall(PetscViewerASCIIPrintf(vf->viewer,
                                     "%3" PetscInt_FMT " marginal error %14.8e epsilon %9.3e dual %.10e kept %" PetscInt_FMT " passes %" PetscInt_FMT "\n", it,
                                     (double)err, w->epsnow, w->epsnow * w->dual * w->massr, t->nnzkept, w->eng->passes));
  PetscCall(PetscViewerASCIISubtractTab(vf->viewer, tab));
  PetscCall(PetscViewerPopFormat(vf->viewer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetFromOptions - Sets the solver from the options database

   Collective

   Input Parameter:
.  transport - the solver

   Options Database Keys:
+  -transport_type <ssns>                  - ssns, sns or sinkhorn
.  -transport_cost_type <sqeuclidean>      - cost between points
.  -transport_cost_exponent <1.5>          - exponent of the cost lp
.  -transport_epsilon <0.01>               - weight of the entropy
.  -transport_epsilon_mode <max>           - absolute, or relative to the largest (max) or median cost
.  -transport_entropy <kl>                 - kl or plain
.  -transport_scaling <true>               - reach epsilon in steps
.  -transport_scaling_factor <4>           - ratio of the steps
.  -transport_truncation <0>               - mass that a pass may skip
.  -transport_multiscale <auto>            - solve coarser problems first: auto, never or always
.  -transport_multiscale_ratio <4>         - points of a level over those of the next coarser one
.  -transport_replicate <33554432>         - bytes of coordinates up to which every process holds all targets
.  -transport_kernel_memory <268435456>    - bytes for rows of the plan that passes may use again
.  -transport_penalty_source <inf>         - weight of KL(P1|r)
.  -transport_penalty_target <inf>         - weight of KL(P'1|c)
.  -transport_partial_mass <0>             - move only this mass
.  -transport_certificate <true>           - compute the bounds
.  -transport_certificate_gap <0.001>      - gap of the bounds, relative, for which potentials are extrapolated and smaller epsilons solved
.  -transport_max_it, -transport_rtol, -transport_atol - limits
.  -transport_seed <20260101>              - not used: no type draws random numbers
.  -transport_checkpoint <file>            - an error at the solve: not supported; keep the potentials instead
.  -transport_checkpoint_interval <0>      - as -transport_checkpoint
.  -transport_restart <file>               - as -transport_checkpoint; start from potentials with SkeanTransportSetInitialPotentials()
-  -transport_monitor, -transport_monitor_cancel, -transport_converged_reason, -transport_view, -transport_error_if_not_converged - reporting

   Level: beginner

   Notes:
   The inner solves have the prefix transport_, e.g. -transport_ksp_type, -transport_pc_type.

.seealso: `SkeanTransportSetOptionsPrefix()`, `SkeanTransportSolve()`
@*/
PetscErrorCode SkeanTransportSetFromOptions(SkeanTransport transport)
{
  SkeanTransport t = transport;
  char           type[256];
  PetscBool      flg, set, set2;
  PetscReal      x, y;

  PetscFunctionBegin;
  PetscCall(SkeanInitializePackage());
  PetscObjectOptionsBegin((PetscObject)t);
  PetscCall(PetscOptionsFList("-transport_type", "Method", "SkeanTransportSetType", SkeanTransportList,
                              ((PetscObject)t)->type_name ? ((PetscObject)t)->type_name : SKEANTRANSPORTSSNS, type, sizeof(type), &flg));
  if (flg)
    PetscCall(SkeanTransportSetType(t, type));
  else if (!((PetscObject)t)->type_name)
    PetscCall(SkeanTransportSetType(t, SKEANTRANSPORTSSNS));
  PetscCall(SkeanSolverSetFromOptions_Private((PetscObject)t, &t->solver, MonitorDefault, PetscOptionsObject));
  SkeanTransportCostType cost = t->costtype;
  PetscCall(PetscOptionsEnum("-transport_cost_type", "Cost between points", "SkeanTransportSetCostType", SkeanTransportCostTypes, (PetscEnum)cost,
                             (PetscEnum *)&cost, &set));
  if (set) PetscCall(SkeanTransportSetCostType(t, cost));
  PetscCall(PetscOptionsReal("-transport_cost_exponent", "Exponent of the cost lp", "SkeanTransportSetCostExponent", t->costexponent, &x, &set));
  if (set) PetscCall(SkeanTransportSetCostExponent(t, x));
  SkeanTransportEpsMode mode = t->epsmode;
  x                          = t->eps;
  PetscCall(PetscOptionsEnum("-transport_epsilon_mode", "What epsilon is relative to", "SkeanTransportSetEpsilon", SkeanTransportEpsModes, (PetscEnum)mode,
                             (PetscEnum *)&mode, &set));
  PetscCall(PetscOptionsReal("-transport_epsilon", "Weight of the entropy", "SkeanTransportSetEpsilon", x, &x, &set2));
  if (set || set2) PetscCall(SkeanTransportSetEpsilon(t, x, mode));
  SkeanTransportEntropy entropy = t->entropy;
  PetscCall(PetscOptionsEnum("-transport_entropy", "Entropy and convention", "SkeanTransportSetEntropy", SkeanTransportEntropies, (PetscEnum)entropy,
                             (PetscEnum *)&entropy, &set));
  if (set) PetscCall(SkeanTransportSetEntropy(t, entropy));
  flg = t->scaling;
  x   = t->scalefactor;
  PetscCall(PetscOptionsBool("-transport_scaling", "Reach epsilon in steps", "SkeanTransportSetScaling", flg, &flg, &set));
  PetscCall(PetscOptionsReal("-transport_scaling_factor", "Ratio of the steps", "SkeanTransportSetScaling", x, &x, &set2));
  if (set || set2) PetscCall(SkeanTransportSetScaling(t, flg, x));
  PetscCall(PetscOptionsReal("-transport_truncation", "Mass that a pass may skip", "SkeanTransportSetTruncation", t->truncation, &x, &set));
  if (set) PetscCall(SkeanTransportSetTruncation(t, x));
  SkeanTransportMultiscale ms = t->multiscale;
  x                           = t->msratio;
  PetscCall(PetscOptionsEnum("-transport_multiscale", "Solve coarser problems first", "SkeanTransportSetMultiscale", SkeanTransportMultiscales, (PetscEnum)ms,
                             (PetscEnum *)&ms, &set));
  PetscCall(PetscOptionsReal("-transport_multiscale_ratio", "Points of a level over those of the next", "SkeanTransportSetMultiscale", x, &x, &set2));
  if (set || set2) PetscCall(SkeanTransportSetMultiscale(t, ms, x));
  PetscCall(PetscOptionsReal("-transport_replicate", "Bytes up to which all targets are held", "SkeanTransportSetReplicationLimit", t->replicate, &x, &set));
  if (set) PetscCall(SkeanTransportSetReplicationLimit(t, x));
  PetscCall(PetscOptionsReal("-transport_kernel_memory", "Bytes for rows of the plan", "SkeanTransportSetKernelMemory", t->memory, &x, &set));
  if (set) PetscCall(SkeanTransportSetKernelMemory(t, x));
  x = t->rhor;
  y = t->rhoc;
  PetscCall(PetscOptionsReal("-transport_penalty_source", "Weight of KL(P1|r)", "SkeanTransportSetMarginalPenalty", x, &x, &set));
  PetscCall(PetscOptionsReal("-transport_penalty_target", "Weight of KL(P'1|c)", "SkeanTransportSetMarginalPenalty", y, &y, &set2));
  if (set || set2) PetscCall(SkeanTransportSetMarginalPenalty(t, x, y));
  PetscCall(PetscOptionsReal("-transport_partial_mass", "Mass to be moved", "SkeanTransportSetPartialMass", t->partial, &x, &set));
  if (set) PetscCall(SkeanTransportSetPartialMass(t, x));
  PetscCall(
    PetscOptionsBool("-transport_certificate", "Compute bounds of the unregularised cost", "SkeanTransportSetCertificate", t->certify, &t->certify, NULL));
  PetscCall(PetscOptionsReal("-transport_certificate_gap",
                             "Gap of the bounds to extrapolate potentials and solve smaller epsilons for (default: where it pays)",
                             "SkeanTransportSetCertificateGap", t->certgap, &x, &set));
  if (set) PetscCall(SkeanTransportSetCertificateGap(t, x));
  PetscTryTypeMethod(t, setfromoptions, PetscOptionsObject);
  PetscCall(PetscObjectProcessOptionsHandlers((PetscObject)t, PetscOptionsObject));
  PetscOptionsEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanTransportSetOptionsPrefix - Sets the prefix of the solver's options

   Logically Collective

   Input Parameters:
+  transport - the solver
-  prefix    - without the leading dash

   Level: advanced

.seealso: `SkeanTransportSetFromOptions()`
@*/
PetscErrorCode SkeanTransportSetOptionsPrefix(SkeanTransport transport, const char prefix[])
{
  PetscFunctionBegin;
  PetscCall(PetscObjectSetOptionsPrefix((PetscObject)transport, prefix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanTransportAppendOptionsPrefix - Appends to the prefix of the solver's options

   Logically Collective

   Input Parameters:
+  transport - the solver
-  prefix    - without the leading dash

   Level: advanced

.seealso: `SkeanTransportSetOptionsPrefix()`
@*/
PetscErrorCode SkeanTransportAppendOptionsPrefix(SkeanTransport transport, const char prefix[])
{
  PetscFunctionBegin;
  PetscCall(PetscObjectAppendOptionsPrefix((PetscObject)transport, prefix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanTransportGetOptionsPrefix - The prefix of the solver's options

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameter:
.  prefix - not to be freed

   Level: advanced

.seealso: `SkeanTransportSetOptionsPrefix()`
@*/
PetscErrorCode SkeanTransportGetOptionsPrefix(SkeanTransport transport, const char *prefix[])
{
  PetscFunctionBegin;
  PetscCall(PetscObjectGetOptionsPrefix((PetscObject)transport, prefix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetTolerances - Sets tolerances and iteration limit

   Logically Collective

   Input Parameters:
+  transport - the solver
.  rtol      - of the l1 marginal error relative to the total mass (default 1e-9)
.  atol      - of the l1 marginal error in the units of the mass (default 0)
-  max_it    - maximum number of iterations (default 10000); `PETSC_DEFAULT` for any of them keeps it

   Options Database Keys:
+  -transport_rtol <1e-9>    - relative tolerance
.  -transport_atol <0>       - absolute tolerance
-  -transport_max_it <10000> - iteration limit

   Level: beginner

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for negative values.

.seealso: `SkeanTransportGetTolerances()`, `SkeanTransportSolve()`
@*/
PetscErrorCode SkeanTransportSetTolerances(SkeanTransport transport, PetscReal rtol, PetscReal atol, PetscInt max_it)
{
  PetscFunctionBegin;
  PetscCall(SkeanSolverSetTolerances_Private((PetscObject)transport, &transport->solver, rtol, atol, max_it));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetTolerances - Tolerances and iteration limit

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameters:
+  rtol   - relative tolerance, or NULL
.  atol   - absolute tolerance, or NULL
-  max_it - iteration limit, or NULL

   Level: intermediate

.seealso: `SkeanTransportSetTolerances()`
@*/
PetscErrorCode SkeanTransportGetTolerances(SkeanTransport transport, PetscReal *rtol, PetscReal *atol, PetscInt *max_it)
{
  PetscFunctionBegin;
  if (rtol) *rtol = transport->solver.rtol;
  if (atol) *atol = transport->solver.atol;
  if (max_it) *max_it = transport->solver.max_it;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetErrorIfNotConverged - Whether a solve that does not converge is an error

   Logically Collective

   Input Parameters:
+  transport - the solver
-  flg       - `PETSC_TRUE`: yes

   Options Database Key:
.  -transport_error_if_not_converged <false> - make it an error

   Level: intermediate

.seealso: `SkeanTransportGetConvergedReason()`
@*/
PetscErrorCode SkeanTransportSetErrorIfNotConverged(SkeanTransport transport, PetscBool flg)
{
  PetscFunctionBegin;
  transport->solver.errorifnotconverged = flg;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanTransportMonitorSet - Adds a function that is called at every iteration

   Logically Collective

   Input Parameters:
+  transport - the solver
.  monitor   - monitor(transport, iteration, marginal error, ctx)
.  ctx       - passed on, or NULL
-  destroy   - destroys ctx, or NULL

   Options Database Keys:
+  -transport_monitor        - print marginal error, epsilon of the level, dual value, kept entries and passes; for coarser problems their sizes too
-  -transport_monitor_cancel - remove the monitors set so far

   Level: intermediate

.seealso: `SkeanTransportMonitorCancel()`, `SkeanTransportSetConvergenceHistory()`
@*/
PetscErrorCode SkeanTransportMonitorSet(SkeanTransport transport, PetscErrorCode (*monitor)(SkeanTransport, PetscInt, PetscReal, void *), void *ctx,
                                        PetscErrorCode (*destroy)(void **))
{
  PetscFunctionBegin;
  PetscCall(SkeanSolverMonitorSet_Private((PetscObject)transport, &transport->solver, (SkeanMonitorFn_Private)monitor, ctx, destroy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportMonitorCancel - Removes all monitors

   Logically Collective

   Input Parameter:
.  transport - the solver

   Level: intermediate

.seealso: `SkeanTransportMonitorSet()`
@*/
PetscErrorCode SkeanTransportMonitorCancel(SkeanTransport transport)
{
  PetscFunctionBegin;
  PetscCall(SkeanSolverMonitorCancel_Private(&transport->solver));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetConvergenceHistory - Keeps the marginal error of every iteration

   Not Collective

   Input Parameters:
+  transport - the solver
.  hist      - array for it, or NULL: the solver allocates
.  n         - its length
-  reset     - `PETSC_TRUE`: each solve starts anew

   Level: intermediate

.seealso: `SkeanTransportGetConvergenceHistory()`
@*/
PetscErrorCode SkeanTransportSetConvergenceHistory(SkeanTransport transport, PetscReal hist[], PetscInt n, PetscBool reset)
{
  PetscFunctionBegin;
  PetscCall(SkeanSolverSetHistory_Private(&transport->solver, hist, n, reset));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanTransportGetConvergenceHistory - The marginal errors kept

   Not Collective

   Input Parameter:
.  transport - the solver

   Output Parameters:
+  hist - the errors, not to be freed; or NULL
-  n    - how many; or NULL

   Level: intermediate

.seealso: `SkeanTransportSetConvergenceHistory()`
@*/
PetscErrorCode SkeanTransportGetConvergenceHistory(SkeanTransport transport, const PetscReal *hist[], PetscInt *n)
{
  PetscFunctionBegin;
  if (hist) *hist = transport->solver.hist;
  if (n) *n = transport->solver.nhist;
  PetscFunctionReturn(PETSC_SUCCESS);
}
