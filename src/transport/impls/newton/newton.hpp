/* The Newton system of the sparse Newton types */
#pragma once

#include <skean/private/transportimpl.h>
#include "schur.hpp"
#include <algorithm>

namespace skean {
namespace transport {

/* The system of NewtonSystem, gathered and solved on process 0 by elimination of its larger side; see small.cxx */
class SmallSystem {
public:
  PetscInt limit = 0; /* unknowns after elimination; 0: never */

  SmallSystem()                               = default;
  SmallSystem(const SmallSystem &)            = delete;
  SmallSystem &operator=(const SmallSystem &) = delete;
  ~SmallSystem()                              = default;
  PetscErrorCode Reset();
  bool           Fits(const Engine *e) const;
  /* whether a factorisation costs no more than a multigrid hierarchy of so many entries */
  bool           Pays(const Engine *e, PetscInt64 entries) const;
  PetscErrorCode Solve(SkeanTransport t, const Keep &keep, double shift, double rtol, const double *gu, const double *gv, double *du, double *dv, PetscInt *its,
                       bool *ok);

  /* On process 0, for the callbacks of CG. S by rows, which are the eliminated side (e); kept side (k); diagonals and right-hand sides of both; the
     diagonal of the Schur complement; its Cholesky factor or that of an earlier one; S with its zeros, and work, where it is dense */
  PetscInt              ne = 0, nk = 0;
  bool                  columns = true; /* the rows of the plan are eliminated, its columns kept */
  std::vector<size_t>   ia;
  std::vector<PetscInt> ja;
  std::vector<double>   s, de, dk, ge, gk, diag, F, S, t;
  bool                  usefactor = false;
  /* dsyrk does ne nk^2 products at twenty times the rate of a scatter, which does ne k^2/2 for k entries per row */
  bool Dense() const { return static_cast<double>(s.size()) > 0.2 * static_cast<double>(ne) * nk; }

private:
  const Engine    *for_     = nullptr;
  bool             factored = false, jacobi = true; /* F is a factor; the diagonal has not failed yet */
  std::vector<int> rows, cols;                      /* of every process */
  KSP              ksp = nullptr;
  Mat              op  = nullptr;
  Vec              rhs = nullptr, sol = nullptr;
  PetscErrorCode   Layout(const Engine *e);
  PetscErrorCode   CG(double rtol, bool factor, PetscInt maxit, PetscInt *its, bool *ok);
  PetscErrorCode   Factor(bool *ok);
  PetscErrorCode   OnRoot(std::vector<Entry> &entries, const std::vector<double> &in, double rtol, std::vector<double> &solution);
  PetscErrorCode   SolveHere(double rtol, PetscInt *its, bool *ok);
};

/*
   Unknowns (du, -dv), matrix [diag(a), -S; -S', diag(b)] + shift I: the Hessian of the dual after a change of sign, a weighted bipartite graph
   Laplacian plus a non-negative diagonal (the mass that S does not hold, and the shift), so an M-matrix. A process's rows come first, its columns
   after them. Right-hand side (gu, -gv), the gradient of the dual.
*/
class NewtonSystem {
public:
  SmallSystem small;          /* used instead of the KSP where it fits */
  PetscInt64  total  = 0;     /* entries in the last system, over all processes */
  bool        lumped = false; /* diagonals lose what is not among the entries, but for a thousandth of it, which ties loose parts down */
  bool        reuse  = false; /* keep the KSP's preconditioner while few iterations suffice */

  NewtonSystem()                                = default;
  NewtonSystem(const NewtonSystem &)            = delete;
  NewtonSystem &operator=(const NewtonSystem &) = delete;
  ~NewtonSystem()                               = default;
  /* Collective. Frees PETSc objects; the destructor does not */
  PetscErrorCode Reset();
  /* Collective. Solves for dv (mloc numbers) and, if not NULL, du, with the entries in keep, whose memory it takes; gu (may be NULL: zero) and gv:
     gradient of the dual; where the solve does not converge again with larger shifts, attempts in all. its: iterations of the KSP; ok: whether it converged */
  PetscErrorCode Solve(SkeanTransport t, Keep &keep, double shift, PetscInt attempts, double rtol, const double *gu, const double *gv, double *du, double *dv,
                       PetscInt *its, bool *ok);
  /* The same with the exact Hessian of the semi-dual, diag(b) - P'diag(1/a)P + shift I, one pass per product */
  PetscErrorCode SolveMatrixFree(SkeanTransport t, double shift, double rtol, PetscInt maxit, const double *gv, double *dv, PetscInt *its, bool *ok);

private:
  std::vector<PetscInt> firstcol, firstrow; /* first column of every process and the row of the system it has; ends with the number of columns */
  PetscInt              start    = 0;
  const Engine         *for_     = nullptr;
  bool                  reusable = false; /* the KSP has a preconditioner of an earlier system of this solve */
  KSP                   mf       = nullptr;
  Mat                   shell    = nullptr;
  int                   Owner(PetscInt col) const { return static_cast<int>(std::upper_bound(firstcol.begin(), firstcol.end(), col) - firstcol.begin()) - 1; }
  PetscInt              SystemRow(PetscInt col) const
  {
    const int p = Owner(col);
    return firstrow[p] + col - firstcol[p];
  }
  PetscErrorCode Numbering(const Engine *e);
  PetscErrorCode Assemble(SkeanTransport t, Keep &keep, double shift, Mat *A);
};

} // namespace transport
} // namespace skean
