/* What is made of several solves */
#include <skean/private/transportimpl.h>
#include <skean/private/reduce.hpp>

PetscErrorCode SkeanTransportLike_Private(SkeanTransport t, Vec r, Vec c, PetscReal eps, SkeanTransport *s)
{
  PetscFunctionBegin;
  PetscCall(SkeanTransportCreate(PetscObjectComm((PetscObject)t), s));
  PetscCall(SkeanTransportSetType(*s, ((PetscObject)t)->type_name));
  PetscCall(SkeanTransportSetMarginals(*s, r, c));
  PetscCall(SkeanTransportSetCostType(*s, t->costtype));
  PetscCall(SkeanTransportSetCostExponent(*s, t->costexponent));
  (*s)->costfn  = t->costfn;
  (*s)->costctx = t->costctx;
  PetscCall(SkeanTransportSetEpsilon(*s, eps, SKEAN_TRANSPORT_EPS_ABSOLUTE));
  PetscCall(SkeanTransportSetScaling(*s, t->scaling, t->scalefactor));
  (*s)->truncation = t->truncation;
  (*s)->truncset   = t->truncset;
  (*s)->multiscale = t->multiscale;
  (*s)->msratio    = t->msratio;
  (*s)->memory     = t->memory;
  PetscCall(SkeanTransportSetReplicationLimit(*s, t->replicate));
  PetscCall(SkeanTransportSetCertificate(*s, PETSC_FALSE));
  PetscCall(SkeanTransportSetTolerances(*s, t->solver.rtol, t->solver.atol, t->solver.max_it));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportGetDivergence - The Sinkhorn divergence between sources and targets

   Collective

   Input Parameter:
.  transport - the solver, solved, with points or a grid

   Output Parameter:
.  divergence - W(r,c) - W(r,r)/2 - W(c,c)/2, W the total with the entropy KL(P | r c'/M) whatever `SkeanTransportSetEntropy()` says

   Level: intermediate

   Notes:
   Two further solves with the same settings. For the squared Euclidean distance the divergence is non-negative, and zero for equal measures; rounding
   and the tolerance of the solves show as values of their size, of either sign.
   Source: Feydy, Sejourne, Vialard, Amari, Trouve and Peyre, AISTATS 2019, equation (3).

   Errors: `PETSC_ERR_ORDER` without a solve or without points; `PETSC_ERR_SUP` with marginal penalties or a partial mass; `PETSC_ERR_NOT_CONVERGED` if one of the three
   solves has not converged.

.seealso: `SkeanTransportGetCosts()`
@*/
PetscErrorCode SkeanTransportGetDivergence(SkeanTransport transport, PetscReal *divergence)
{
  SkeanTransport t    = transport;
  MPI_Comm       comm = PetscObjectComm((PetscObject)t);
  PetscReal      value;

  PetscFunctionBegin;
  PetscCall(SkeanTransportCheckSolved_Private(t, "SkeanTransportGetDivergence()"));
  PetscCheck(t->X || t->griddim, comm, PETSC_ERR_ORDER, "The Sinkhorn divergence needs points: SkeanTransportSetPoints() or SkeanTransportSetGrid()");
  PetscCheck(t->rhor == PETSC_INFINITY && t->rhoc == PETSC_INFINITY, comm, PETSC_ERR_SUP, "The Sinkhorn divergence is not offered with marginal penalties");
  PetscCheck(!(t->partial > 0), comm, PETSC_ERR_SUP, "The Sinkhorn divergence is not offered for partial transport");
  PetscCheck(t->solver.reason > 0, comm, PETSC_ERR_NOT_CONVERGED, "The solve has not converged: %s", SkeanConvergedReasons[t->solver.reason]);
  /* total in the KL convention: plain entropy differs by sum r log r + sum c log c - M log M, a constant of the masses */
  const skean::transport::Work *w = static_cast<skean::transport::Work *>(t->work);
  value                           = t->totalvalue;
  if (t->entropy == SKEAN_TRANSPORT_ENTROPY_PLAIN) {
    double s[1] = {0};
    for (PetscInt i = 0; i < w->eng->n; ++i) s[0] += w->r[i] * w->logr[i];
    for (PetscInt j = 0; j < w->eng->mloc; ++j) s[0] += w->c[j] * w->logc[j];
    PetscCall(skean::AllreduceSum(comm, s, 1));
    value -= t->epsabs * w->massr * (s[0] + std::log(w->massr));
  }
  for (int k = 0; k < 2; ++k) {
    SkeanTransport       s;
    SkeanConvergedReason reason;
    PetscReal            self;

    PetscCall(SkeanTransportLike_Private(t, k ? t->c : t->r, k ? t->c : t->r, t->epsabs, &s));
    if (t->griddim)
      PetscCall(SkeanTransportSetGrid(s, t->griddim, t->gridn, t->gridlo, t->gridhi));
    else
      PetscCall(SkeanTransportSetPoints(s, k ? t->Y : t->X, k ? t->Y : t->X));
    PetscCall(SkeanTransportSolve(s));
    PetscCall(SkeanTransportGetConvergedReason(s, &reason));
    PetscCall(SkeanTransportGetCosts(s, NULL, NULL, &self));
    PetscCall(SkeanTransportDestroy(&s));
    PetscCheck(reason > 0, comm, PETSC_ERR_NOT_CONVERGED, "The solve of the %s with themselves has not converged: %s", k ? "targets" : "sources",
               SkeanConvergedReasons[reason]);
    value -= 0.5 * self;
  }
  *divergence = value;
  PetscFunctionReturn(PETSC_SUCCESS);
}
