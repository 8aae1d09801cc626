#include <skean/private/transportimpl.h>

/*@C
   SkeanTransportView - Prints the solver and, after a solve, its answer and certificate

   Collective

   Input Parameters:
+  transport - the solver
-  viewer    - an ASCII viewer, or NULL for standard output

   Options Database Key:
.  -transport_view - print after the solve

   Level: beginner

.seealso: `SkeanTransportViewFromOptions()`
@*/
PetscErrorCode SkeanTransportView(SkeanTransport transport, PetscViewer viewer)
{
  SkeanTransport                t = transport;
  const skean::transport::Work *w = static_cast<skean::transport::Work *>(t->work);
  PetscBool                     ascii;

  PetscFunctionBegin;
  if (!viewer) PetscCall(PetscViewerASCIIGetStdout(PetscObjectComm((PetscObject)t), &viewer));
  PetscCall(PetscObjectTypeCompare((PetscObject)viewer, PETSCVIEWERASCII, &ascii));
  if (!ascii) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscObjectPrintClassNamePrefixType((PetscObject)t, viewer));
  PetscCall(SkeanSolverView_Private(&t->solver, viewer));
  PetscCall(PetscViewerASCIIPrintf(viewer, "  epsilon: %g (%s), entropy: %s, steps in epsilon: %s (factor %g)\n", (double)t->eps,
                                   SkeanTransportEpsModes[t->epsmode], SkeanTransportEntropies[t->entropy], t->scaling ? "yes" : "no", (double)t->scalefactor));
  if (t->C)
    PetscCall(PetscViewerASCIIPrintf(viewer, "  cost: stored matrix\n"));
  else if (t->G)
    PetscCall(PetscViewerASCIIPrintf(viewer, "  cost: shortest paths in a graph\n"));
  else
    PetscCall(PetscViewerASCIIPrintf(viewer, "  cost: %s between %s\n", SkeanTransportCostTypes[t->costtype], t->griddim ? "the points of a grid" : "points"));
  if (t->truncation > 0) PetscCall(PetscViewerASCIIPrintf(viewer, "  truncation: %g\n", (double)t->truncation));
  if (t->rhor != PETSC_INFINITY || t->rhoc != PETSC_INFINITY)
    PetscCall(PetscViewerASCIIPrintf(viewer, "  marginal penalties: %g, %g\n", (double)t->rhor, (double)t->rhoc));
  if (t->partial > 0) PetscCall(PetscViewerASCIIPrintf(viewer, "  mass to be moved: %g\n", (double)t->partial));
  PetscTryTypeMethod(t, view, viewer);
  if (t->solver.state == SKEAN_STATE_SOLVED && w->eng) {
    PetscCall(PetscViewerASCIIPrintf(viewer, "  %" PetscInt_FMT " sources, %" PetscInt_FMT " targets with mass; total mass %g\n", w->eng->nglobal, w->eng->m,
                                     w->massr));
    PetscCall(PetscViewerASCIIPrintf(viewer, "  reason %s, %" PetscInt_FMT " iterations, %" PetscInt_FMT " passes and %" PetscInt_FMT " for the certificate\n",
                                     SkeanConvergedReasons[t->solver.reason], t->solver.its, t->passes, t->certpasses));
    if (t->mslevels) PetscCall(PetscViewerASCIIPrintf(viewer, "  %" PetscInt_FMT " coarser problems solved first\n", t->mslevels));
    if (w->cutoff > 0) PetscCall(PetscViewerASCIIPrintf(viewer, "  %.3g %% of the pairs visited in a pass\n", (double)(100 * t->visited)));
    PetscCall(PetscViewerASCIIPrintf(viewer, "  marginal error %g at epsilon %g\n", (double)t->errmarginal, (double)t->epsabs));
    PetscCall(PetscViewerASCIIPrintf(viewer, "  <C,P> %.12g, entropy (%s) %.12g, total %.12g\n", (double)t->costvalue, SkeanTransportEntropies[t->entropy],
                                     (double)t->entropyvalue, (double)t->totalvalue));
    if (t->lower > PETSC_NINFINITY)
      PetscCall(PetscViewerASCIIPrintf(viewer, "  unregularised cost between %.12g and %.12g, gap %.3g relative\n", (double)t->lower, (double)t->upper,
                                       (double)((t->upper - t->lower) / PetscMax(PetscAbsReal(t->upper), PETSC_MACHINE_EPSILON))));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanTransportViewFromOptions - Views the solver as an option asks

   Collective

   Input Parameters:
+  transport - the solver
.  obj       - object whose prefix is used, or NULL
-  name      - the option

   Level: intermediate

.seealso: `SkeanTransportView()`
@*/
PetscErrorCode SkeanTransportViewFromOptions(SkeanTransport transport, PetscObject obj, const char name[])
{
  PetscFunctionBegin;
  PetscCall(PetscObjectViewFromOptions((PetscObject)transport, obj, name));
  PetscFunctionReturn(PETSC_SUCCESS);
}
