/*
   Tall-skinny QR (Demmel, Grigori, Hoemmen & Langou, SIAM J. Sci. Comput. 34, 2012): LAPACK QR of each process's rows, then a
   binary tree of QR factorisations of two stacked triangles. Q is kept implicitly, as the reflectors of each step.

   Messages: log2(P) of d(d+1)/2 numbers up the tree and one broadcast; R is the same, bit for bit, on every process.
   Memory: the local rows and d^2 numbers per tree level.
*/
#pragma once

#include <skean/private/skeanimpl.h>
#include <vector>

namespace skean {

class TSQR {
public:
  /*
     Collective. a: this process's rows, rows x d, column major, leading dimension rows; taken over. A process may have no rows.
     active: only the first `active` processes have rows and take part in the tree (others only receive R).
  */
  PetscErrorCode Factor(MPI_Comm comm, PetscInt rows, PetscInt d, std::vector<double> &&a, PetscMPIInt active);
  /* Collective. b: rows x q (leading dimension rows), overwritten; c (d x q): Q'b on every process; rho2 (q, may be NULL): the squared norms of what is left of b */
  PetscErrorCode ApplyQT(double *b, PetscInt q, double *c, double *rho2) const;
  /* d x d upper triangle, zeros below */
  const std::vector<double> &R() const noexcept { return r; }
  PetscInt                   Columns() const noexcept { return d; }
  bool                       Empty() const noexcept { return d == 0; }
  void                       Clear() { *this = TSQR(); }

private:
  struct Level {
    int                 partner; /* the process whose triangle came */
    std::vector<double> v, t;
  };
  MPI_Comm            comm = MPI_COMM_NULL;
  PetscMPIInt         rank = 0, active = 0;
  int                 parent = -1; /* where this process's triangle went */
  PetscInt            rows = 0, padded = 0, d = 0, nb = 0;
  std::vector<double> a, t, r;
  std::vector<Level>  levels;
};

/*
   R <- the triangle of QR([R; rows]), the rows being overwritten: for streaming over row panels, and for [R; sqrt(lambda) D].
   R: d x d upper, with the strict lower triangle zero. l: number of trailing rows that are upper trapezoidal (0: full rows; d: a triangle).
*/
PetscErrorCode QRUpdate(PetscInt d, double *R, PetscInt rows, PetscInt l, double *b, PetscInt ldb);

} // namespace skean
