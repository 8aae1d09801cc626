/* The Newton system of the sparse Newton types */
#pragma once

#include <skean/private/transportimpl.h>

namespace skean {
namespace transport {

/*
   Unknowns (du, -dv), matrix [diag(a), -S; -S', diag(b)] + shift I: the Hessian of the dual after a change of sign, a weighted bipartite graph
   Laplacian plus a non-negative diagonal (the mass that S does not hold, and the shift), so an M-matrix. A process's rows come first, its columns
   after them. Right-hand side (gu, -gv), the gradient of the dual.
*/
class NewtonSystem {
public:
  NewtonSystem()                                = default;
  NewtonSystem(const NewtonSystem &)            = delete;
  NewtonSystem &operator=(const NewtonSystem &) = delete;
  ~NewtonSystem()                               = default;
  /* Collective. Frees PETSc objects; the destructor does not */
  PetscErrorCode Reset();
  /* Collective. Solves for dv (mloc numbers) and, if not NULL, du, with the entries in keep; gu (may be NULL: zero) and gv: gradient of the
     dual. its: iterations of the KSP; ok: whether it converged */
  PetscErrorCode Solve(SkeanTransport t, Keep &keep, double shift, double rtol, const double *gu, const double *gv, double *du, double *dv, PetscInt *its,
                       bool *ok);
  /* The same with the exact Hessian of the semi-dual, diag(b) - P'diag(1/a)P + shift I, one pass per product */
  PetscErrorCode SolveMatrixFree(SkeanTransport t, double shift, double rtol, PetscInt maxit, const double *gv, double *dv, PetscInt *its, bool *ok);

private:
  std::vector<PetscInt> colrow; /* row in the system of every active column */
  PetscInt              start = 0;
  const Engine         *for_  = nullptr;
  KSP                   mf    = nullptr;
  Mat                   shell = nullptr;
  std::vector<int>      owner; /* process that owns it */
  PetscErrorCode        Numbering(const Engine *e);
  PetscErrorCode        Assemble(SkeanTransport t, const Keep &keep, double shift, Mat *A);
};

} // namespace transport
} // namespace skean
