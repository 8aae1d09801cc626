/* The part of a solver that every class repeats; see skeansolver.h */
#include <skean/private/skeansolver.h>
#include <type_traits>

static_assert(std::is_standard_layout<SkeanSolverBase>::value, "embedded in PetscObjects");

static const char *const ConvergedReasons_Shifted[] = {"DIVERGED_INTERRUPTED",
                                                       "DIVERGED_LINE_SEARCH",
                                                       "DIVERGED_LINEAR_SOLVE",
                                                       "DIVERGED_INFEASIBLE",
                                                       "DIVERGED_ROUNDING_FLOOR",
                                                       "DIVERGED_STAGNATION",
                                                       "DIVERGED_NANORINF",
                                                       "DIVERGED_BREAKDOWN",
                                                       "DIVERGED_DTOL",
                                                       "DIVERGED_ITS",
                                                       "",
                                                       "",
                                                       "CONVERGED_ITERATING",
                                                       "",
                                                       "CONVERGED_RTOL",
                                                       "CONVERGED_ATOL",
                                                       "CONVERGED_ITS",
                                                       "CONVERGED_USER",
                                                       "CONVERGED_TRIVIAL",
                                                       "SkeanConvergedReason",
                                                       "SKEAN_",
                                                       NULL};
const char *const       *SkeanConvergedReasons      = ConvergedReasons_Shifted - SKEAN_DIVERGED_INTERRUPTED;

PetscErrorCode SkeanSolverInit_Private(SkeanSolverBase *solver, const char cls[], PetscInt max_it, PetscReal rtol, PetscReal atol)
{
  PetscFunctionBegin;
  PetscCall(PetscMemzero(solver, sizeof(*solver)));
  solver->cls       = cls;
  solver->max_it    = max_it;
  solver->rtol      = rtol;
  solver->atol      = atol;
  solver->seed      = SKEAN_DEFAULT_SEED;
  solver->resethist = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSolverDestroy_Private(SkeanSolverBase *solver)
{
  PetscFunctionBegin;
  PetscCall(SkeanSolverMonitorCancel_Private(solver));
  if (solver->ownhist) PetscCall(PetscFree(solver->hist));
  PetscCall(PetscFree(solver->checkpointfile));
  PetscCall(PetscFree(solver->restartfile));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSolverMonitorSet_Private(PetscObject obj, SkeanSolverBase *solver, SkeanMonitorFn_Private monitor, void *ctx,
                                             SkeanCtxDestroyFn_Private destroy)
{
  PetscFunctionBegin;
  PetscCheck(monitor, PetscObjectComm(obj), PETSC_ERR_ARG_NULL, "Null monitor function");
  for (PetscInt i = 0; i < solver->nmonitors; i++)
    if (solver->monitor[i] == monitor && solver->monitorctx[i] == ctx && solver->monitordestroy[i] == destroy) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(solver->nmonitors < SKEAN_MAX_MONITORS, PetscObjectComm(obj), PETSC_ERR_ARG_OUTOFRANGE, "Too many monitors set, at most %d", SKEAN_MAX_MONITORS);
  solver->monitor[solver->nmonitors]        = monitor;
  solver->monitorctx[solver->nmonitors]     = ctx;
  solver->monitordestroy[solver->nmonitors] = destroy;
  solver->nmonitors++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSolverMonitorCancel_Private(SkeanSolverBase *solver)
{
  PetscFunctionBegin;
  for (PetscInt i = 0; i < solver->nmonitors; i++)
    if (solver->monitordestroy[i]) PetscCall((*solver->monitordestroy[i])(&solver->monitorctx[i]));
  solver->nmonitors = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSolverMonitor_Private(PetscObject obj, SkeanSolverBase *solver, PetscInt it, PetscReal err)
{
  PetscFunctionBegin;
  solver->its = it;
  solver->err = err;
  if (solver->nhist < solver->maxhist) solver->hist[solver->nhist++] = err;
  for (PetscInt i = 0; i < solver->nmonitors; i++) PetscCall((*solver->monitor[i])(obj, it, err, solver->monitorctx[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSolverSetHistory_Private(SkeanSolverBase *solver, PetscReal hist[], PetscInt n, PetscBool reset)
{
  PetscFunctionBegin;
  if (solver->ownhist) PetscCall(PetscFree(solver->hist));
  solver->ownhist = PETSC_FALSE;
  if (hist && n > 0) {
    solver->hist    = hist;
    solver->maxhist = n;
  } else {
    solver->maxhist = n > 0 ? n : 10000;
    PetscCall(PetscMalloc1(solver->maxhist, &solver->hist));
    solver->ownhist = PETSC_TRUE;
  }
  solver->nhist     = 0;
  solver->resethist = reset;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSolverSetTolerances_Private(PetscObject obj, SkeanSolverBase *solver, PetscReal rtol, PetscReal atol, PetscInt max_it)
{
  PetscFunctionBegin;
  if (rtol != PETSC_DEFAULT) {
    PetscCheck(rtol >= 0 && rtol < 1, PetscObjectComm(obj), PETSC_ERR_ARG_OUTOFRANGE, "Relative tolerance %g must be in [0,1)", (double)rtol);
    solver->rtol = rtol;
  }
  if (atol != PETSC_DEFAULT) {
    PetscCheck(atol >= 0, PetscObjectComm(obj), PETSC_ERR_ARG_OUTOFRANGE, "Absolute tolerance %g must be non-negative", (double)atol);
    solver->atol = atol;
  }
  if (max_it != PETSC_DEFAULT) {
    PetscCheck(max_it >= 0, PetscObjectComm(obj), PETSC_ERR_ARG_OUTOFRANGE, "Maximum number of iterations %" PetscInt_FMT " must be non-negative", max_it);
    solver->max_it = max_it;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanSolverMonitorDefault_Private(PetscObject obj, PetscInt it, PetscReal err, void *ctx)
{
  PetscViewerAndFormat *vf = (PetscViewerAndFormat *)ctx;
  PetscInt              tab;

  PetscFunctionBegin;
  PetscCall(PetscObjectGetTabLevel(obj, &tab));
  PetscCall(PetscViewerPushFormat(vf->viewer, vf->format));
  PetscCall(PetscViewerASCIIAddTab(vf->viewer, tab));
  PetscCall(PetscViewerASCIIPrintf(vf->viewer, "%3" PetscInt_FMT " error %14.12e\n", it, (double)err));
  PetscCall(PetscViewerASCIISubtractTab(vf->viewer, tab));
  PetscCall(PetscViewerPopFormat(vf->viewer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSolverSetFromOptions_Private(PetscObject obj, SkeanSolverBase *solver, SkeanMonitorFn_Private defaultmonitor,
                                                 SkeanOptionItems PetscOptionsObject)
{
  char              name[128], value[PETSC_MAX_PATH_LEN];
  PetscReal         rtol = solver->rtol, atol = solver->atol;
  PetscInt          max_it = solver->max_it, interval = solver->checkpointinterval;
  PetscInt64        seed = solver->seed;
  PetscBool         set, cancel = PETSC_FALSE;
  PetscViewer       viewer;
  PetscViewerFormat format;
  const char       *cls = solver->cls;

  PetscFunctionBegin;
#define OPTION(what) PetscCall(PetscSNPrintf(name, sizeof(name), "-%s_" what, cls))
  OPTION("max_it");
  PetscCall(PetscOptionsInt(name, "Maximum number of iterations", "", max_it, &max_it, NULL));
  OPTION("rtol");
  PetscCall(PetscOptionsReal(name, "Relative tolerance", "", rtol, &rtol, NULL));
  OPTION("atol");
  PetscCall(PetscOptionsReal(name, "Absolute tolerance", "", atol, &atol, NULL));
  PetscCall(SkeanSolverSetTolerances_Private(obj, solver, rtol, atol, max_it));
  OPTION("seed");
  PetscCall(PetscSNPrintf(value, sizeof(value), "%" PetscInt64_FMT, seed));
  PetscCall(PetscOptionsString(name, "Seed of the random numbers (64 bit)", "", value, value, sizeof(value), &set));
  if (set) {
    char           *end;
    const long long s = strtoll(value, &end, 0);
    PetscCheck(*value && !*end, PetscObjectComm(obj), PETSC_ERR_ARG_WRONG, "%s: '%s' is not an integer", name, value);
    solver->seed = (SkeanSeed)s;
  }
  OPTION("error_if_not_converged");
  PetscCall(PetscOptionsBool(name, "Make it an error if the solver does not converge", "", solver->errorifnotconverged, &solver->errorifnotconverged, NULL));
  OPTION("monitor_cancel");
  PetscCall(PetscOptionsBool(name, "Remove the monitors set so far", "", cancel, &cancel, NULL));
  if (cancel) PetscCall(SkeanSolverMonitorCancel_Private(solver));
  OPTION("monitor");
  PetscCall(PetscOptionsName(name, "Print the error measure at each step", "", &set));
  PetscCall(SkeanOptionsCreateViewer(PetscObjectComm(obj), obj->options, obj->prefix, name, &viewer, &format, &set));
  if (set) {
    PetscViewerAndFormat *vf;

    PetscCall(PetscViewerAndFormatCreate(viewer, format, &vf));
    PetscCall(PetscViewerDestroy(&viewer));
    PetscCall(SkeanSolverMonitorSet_Private(obj, solver, defaultmonitor ? defaultmonitor : SkeanSolverMonitorDefault_Private, vf,
                                            (SkeanCtxDestroyFn_Private)PetscViewerAndFormatDestroy));
  }
  OPTION("converged_reason");
  PetscCall(PetscOptionsName(name, "Print why the solver stopped", "", &set));
  OPTION("view");
  PetscCall(PetscOptionsName(name, "View the solver after the solve", "", &set));
  OPTION("checkpoint");
  PetscCall(PetscOptionsString(name, "File to which the state is written", "", "", value, sizeof(value), &set));
  if (set) {
    PetscCall(PetscFree(solver->checkpointfile));
    PetscCall(PetscStrallocpy(value, &solver->checkpointfile));
  }
  OPTION("checkpoint_interval");
  PetscCall(PetscOptionsInt(name, "Steps between checkpoints (0: only on SIGTERM or SIGUSR1)", "", interval, &interval, NULL));
  PetscCheck(interval >= 0, PetscObjectComm(obj), PETSC_ERR_ARG_OUTOFRANGE, "%s must be non-negative, is %" PetscInt_FMT, name, interval);
  solver->checkpointinterval = interval;
  OPTION("restart");
  PetscCall(PetscOptionsString(name, "File from which the state is read", "", "", value, sizeof(value), &set));
  if (set) {
    PetscCall(PetscFree(solver->restartfile));
    PetscCall(PetscStrallocpy(value, &solver->restartfile));
  }
#undef OPTION
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSolverBegin_Private(PetscObject obj, SkeanSolverBase *solver)
{
  PetscFunctionBegin;
  (void)obj;
  solver->reason = SKEAN_CONVERGED_ITERATING;
  solver->its    = 0;
  solver->err    = 0.0;
  if (solver->resethist) solver->nhist = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSolverEnd_Private(PetscObject obj, SkeanSolverBase *solver)
{
  char              name[128];
  PetscViewer       viewer;
  PetscViewerFormat format;
  PetscBool         set;

  PetscFunctionBegin;
  PetscCheck(solver->reason, PetscObjectComm(obj), PETSC_ERR_PLIB, "The %s solver returned without a reason", solver->cls);
  solver->state = SKEAN_STATE_SOLVED;
  PetscCall(PetscSNPrintf(name, sizeof(name), "-%s_converged_reason", solver->cls));
  PetscCall(SkeanOptionsCreateViewer(PetscObjectComm(obj), obj->options, obj->prefix, name, &viewer, &format, &set));
  if (set) {
    PetscCall(PetscViewerPushFormat(viewer, format));
    PetscCall(PetscViewerASCIIAddTab(viewer, obj->tablevel));
    PetscCall(PetscViewerASCIIPrintf(viewer, "%s%s solve %s due to %s iterations %" PetscInt_FMT "\n", obj->prefix ? obj->prefix : "", solver->cls,
                                     solver->reason > 0 ? "converged" : "did not converge", SkeanConvergedReasons[solver->reason], solver->its));
    PetscCall(PetscViewerASCIISubtractTab(viewer, obj->tablevel));
    PetscCall(PetscViewerPopFormat(viewer));
    PetscCall(PetscViewerDestroy(&viewer));
  }
  PetscCall(PetscSNPrintf(name, sizeof(name), "-%s_view", solver->cls));
  PetscCall(PetscObjectViewFromOptions(obj, NULL, name));
  PetscCheck(!solver->errorifnotconverged || solver->reason > 0, PetscObjectComm(obj), PETSC_ERR_NOT_CONVERGED, "The %s solver has not converged, reason %s",
             solver->cls, SkeanConvergedReasons[solver->reason]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanSolverView_Private(SkeanSolverBase *solver, PetscViewer viewer)
{
  PetscFunctionBegin;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  maximum iterations=%" PetscInt_FMT ", tolerances: relative=%g, absolute=%g\n", solver->max_it,
                                   (double)solver->rtol, (double)solver->atol));
  PetscCall(PetscViewerASCIIPrintf(viewer, "  seed: %" PetscInt64_FMT "\n", solver->seed));
  PetscFunctionReturn(PETSC_SUCCESS);
}
