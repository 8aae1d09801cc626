#include "sweeps.hpp"

namespace skean {
namespace transport {

static constexpr double kLoose = 1e-4; /* mass that a sweep may skip, relative to the marginal error that it sets out from */

PetscErrorCode Sweeps::Next(SkeanTransport t)
{
  Work         *w    = static_cast<Work *>(t->work);
  const double *more = NULL;

  PetscFunctionBegin;
  old.Save(w);
  if (cells.Exists()) PetscCall(cells.Get(w, &more));
  PetscCall(anderson.Next(w, more));
  Cells *fill   = cells.Wanted(old.err);
  w->eng->cells = fill;
  w->eng->loose = kLoose * old.err;
  PetscCall(SkeanTransportPass_Private(t, NULL));
  w->eng->cells = NULL;
  if (w->bad || (w->err > old.err && w->dual < old.dual - Noise(w, old))) {
    old.Restore(w);
    anderson.Restart();
    PetscCall(SkeanTransportUpdateV_Private(t));
    PetscCall(SkeanTransportPass_Private(t, NULL));
  } else if (fill) {
    PetscCall(cells.Factor(w));
    anderson.Restart(); /* another map */
  }
  w->eng->loose = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace transport
} // namespace skean
