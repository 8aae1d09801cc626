/* Sinkhorn's sweeps, accelerated and safeguarded */
#pragma once

#include "anderson.hpp"
#include "cells.hpp"

namespace skean {
namespace transport {

/* what a rejected trial point must give back */
struct Saved {
  std::vector<double> u, v, a, b, lb;
  double              err, g2, dual, kepterr;
  void                Save(const Work *w)
  {
    u       = w->u;
    v       = w->v;
    a       = w->a;
    b       = w->b;
    lb      = w->lb;
    err     = w->err;
    g2      = w->g2;
    dual    = w->dual;
    kepterr = w->kepterr;
  }
  void Restore(Work *w) const
  {
    w->u       = u;
    w->v       = v;
    w->a       = a;
    w->b       = b;
    w->lb      = lb;
    w->err     = err;
    w->g2      = g2;
    w->dual    = dual;
    w->kepterr = kepterr;
    w->bad     = false;
  }
};

/* The error of a difference of two values of the dual, by rounding and by what is kept of the plan: below it, only the gradient can tell */
inline double Noise(const Work *w, const Saved &old)
{
  return 1e-13 * PetscMax(1.0, PetscAbsReal(w->dual) + w->umax) + w->kepterr + old.kepterr;
}

class Sweeps {
public:
  Anderson       anderson;
  CellCorrection cells;
  void           Restart()
  {
    anderson.Restart();
    cells.Restart();
  }
  /* Collective. One sweep from the last pass, and its pass; where it made both the dual and the marginal error worse, one without acceleration instead */
  PetscErrorCode Next(SkeanTransport t);

private:
  Saved old;
};

} // namespace transport
} // namespace skean
