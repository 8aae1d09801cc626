/*
   What every solver class of Skean repeats, written once: tolerances, iteration limit, reason, history, monitors, seed,
   checkpoint names, and the options for them. A class embeds a SkeanSolverBase after its PETSCHEADER and has thin public functions
   (one line each, so that each has its manual page).

     struct _p_SkeanTransport { PETSCHEADER(struct _SkeanTransportOps); SkeanSolverBase solver; ... };

   The driver of a solve:
     SkeanSolverBegin_Private()     forget the last reason, iteration number and history
     ops->solve                     calls SkeanSolverMonitor_Private() once per step, sets solver.reason
     SkeanSolverEnd_Private()       a solver that returns without a reason is a bug; -<cls>_converged_reason; error if asked for
*/
#pragma once

#include <skean/private/skeanimpl.h>

#define SKEAN_MAX_MONITORS 8

/* Where a solver stands; setters move it back so that what depends on them is redone */
typedef enum { SKEAN_STATE_INITIAL = 0, SKEAN_STATE_SETUP = 1, SKEAN_STATE_SOLVED = 2 } SkeanSolverState;

/* The classes' public monitor functions have their own object type in place of PetscObject */
typedef PetscErrorCode (*SkeanMonitorFn_Private)(PetscObject, PetscInt, PetscReal, void *);
typedef PetscErrorCode (*SkeanCtxDestroyFn_Private)(void **);

typedef struct {
  const char          *cls; /* "transport": options are -<prefix>transport_... */
  PetscInt             max_it;
  PetscReal            rtol, atol;
  SkeanSeed            seed;
  PetscBool            errorifnotconverged;
  SkeanSolverState     state;
  SkeanConvergedReason reason;
  PetscInt             its; /* steps of the last solve */
  PetscReal            err; /* the class's error measure at the last step */
  /* monitors */
  PetscInt                  nmonitors;
  SkeanMonitorFn_Private    monitor[SKEAN_MAX_MONITORS];
  void                     *monitorctx[SKEAN_MAX_MONITORS];
  SkeanCtxDestroyFn_Private monitordestroy[SKEAN_MAX_MONITORS];
  /* history of err */
  PetscReal *hist;
  PetscInt   nhist, maxhist;
  PetscBool  ownhist, resethist;
  /* checkpoints: NULL if not asked for */
  char    *checkpointfile, *restartfile;
  PetscInt checkpointinterval; /* steps between checkpoints; 0: only on SIGTERM or SIGUSR1 */
} SkeanSolverBase;

SKEAN_INTERN PetscErrorCode SkeanSolverInit_Private(SkeanSolverBase *solver, const char cls[], PetscInt max_it, PetscReal rtol, PetscReal atol);
SKEAN_INTERN PetscErrorCode SkeanSolverDestroy_Private(SkeanSolverBase *solver);
/* Between PetscObjectOptionsBegin() and PetscOptionsEnd() of the class. defaultmonitor prints one line per step for -<cls>_monitor;
   NULL: iteration number and error measure */
SKEAN_INTERN PetscErrorCode SkeanSolverSetFromOptions_Private(PetscObject obj, SkeanSolverBase *solver, SkeanMonitorFn_Private defaultmonitor,
                                                              SkeanOptionItems PetscOptionsObject);
SKEAN_INTERN PetscErrorCode SkeanSolverMonitorSet_Private(PetscObject obj, SkeanSolverBase *solver, SkeanMonitorFn_Private monitor, void *ctx,
                                                          SkeanCtxDestroyFn_Private destroy);
SKEAN_INTERN PetscErrorCode SkeanSolverMonitorCancel_Private(SkeanSolverBase *solver);
/* Records its and err, appends to the history, calls the monitors */
SKEAN_INTERN PetscErrorCode SkeanSolverMonitor_Private(PetscObject obj, SkeanSolverBase *solver, PetscInt it, PetscReal err);
SKEAN_INTERN PetscErrorCode SkeanSolverSetHistory_Private(SkeanSolverBase *solver, PetscReal hist[], PetscInt n, PetscBool reset);
SKEAN_INTERN PetscErrorCode SkeanSolverBegin_Private(PetscObject obj, SkeanSolverBase *solver);
SKEAN_INTERN PetscErrorCode SkeanSolverEnd_Private(PetscObject obj, SkeanSolverBase *solver);
SKEAN_INTERN PetscErrorCode SkeanSolverSetTolerances_Private(PetscObject obj, SkeanSolverBase *solver, PetscReal rtol, PetscReal atol, PetscInt max_it);
/* The line "  maximum iterations=..., tolerances: ..., seed: ..." of a class's view */
SKEAN_INTERN PetscErrorCode SkeanSolverView_Private(SkeanSolverBase *solver, PetscViewer viewer);
