/*
   The preconditioner of sketched least squares: a d x k matrix N with A N well conditioned, made from a sketch of A or, where that
   is cheaper, from a direct factorisation of A. Shared by KSP type sketch and PC type sketch.

     A     n x d, tall; D = diag(1/|a_j|) column scaling; Z: an orthonormal basis of the null space of C D if there are constraints
     S A D Z = Q R            (sketch)          or   A D Z = Q R   (TSQR, CQRRT, Cholesky QR)
     N = D Z R^{-1}           full numerical rank
     N = D Z V_k diag(s_k)^-1 R = U diag(s) V', the singular values below the rank tolerance dropped (LSRN, Meng, Saunders & Mahoney 2014)
     ridge: R is replaced by the triangle of QR([R; sqrt(lambda) D Z])
     path of ridge parameters: R D^{-1} = Q B P', N_j = P T_j^{-1} with the bidiagonal T_j of QR([B; sqrt(lambda_j) I])
*/
#pragma once

#include <skeanksp.h>
#include <skean/private/ridgebasis.hpp>
#include <skean/private/rowblock.hpp>
#include <skean/private/sketchimpl.h>
#include <skean/private/tsqr.hpp>
#include <vector>

namespace skean {

/* How N is made; what KSPSketchMethod offers except AUTO */
struct LSPrecondOptions {
  KSPSketchMethod method    = KSP_SKETCH_AUTO;
  PetscReal       factor    = 12.0;       /* m = factor * d unless the sketch has its own number of rows */
  PetscInt        maxdraws  = 10;         /* sketches tried before giving up */
  PetscInt        poordraws = 5;          /* sketches tried while they are poor but not singular */
  PetscBool       probe     = PETSC_TRUE; /* look whether a sketch is poor, one pass over A */
  PetscBool       scale     = PETSC_TRUE;
  PetscInt        nrhs      = 1; /* expected right-hand sides, for the cost model */
};

class LSPrecond {
public:
  /* Collective. sketch: its sizes and draw are set here. Returns success with Failed() true for NaN/Inf in A,
     and with Lost() true as well where every sketch drawn lost a direction of A. */
  PetscErrorCode SetUp(MPI_Comm comm, const RowView &A, SkeanSketch sketch, const LSPrecondOptions &options, PetscInt nconstraints,
                       const double *C /* p x d, column major */);
  /* A solution of C x = e, the one of smallest |D^{-1} x| */
  PetscErrorCode SolveConstraints(const double *e, double *x) const;
  /* The preconditioner of the ridge problem with this lambda; 0: none. No communication, no pass over A. */
  PetscErrorCode SetRidge(double lambda);
  /* One N_j for each of q positive ridge parameters. Collective; the bidiagonalisation is made once and serves all later paths */
  PetscErrorCode SetRidgePath(MPI_Comm comm, PetscInt q, const double *lambda);

  void Apply(const double *y, double *x, PetscInt q, const PetscInt *columns = nullptr) const;  /* X (d x q) = N Y (k x q) */
  void ApplyT(const double *g, double *c, PetscInt q, const PetscInt *columns = nullptr) const; /* C (k x q) = N' G (d x q) */
  /* Y (k x q): the sketch-and-solve solution is N Y; b: this process's rows. rho2 (q): |S(b - A x)|^2. Collective: one sum of (m + 1) q numbers.
     finite (q): 0 for a column whose b or S b has a NaN or Inf on some process, the same everywhere; it is solved as if it were zero, with rho2 = NaN.
     On a path of ridge parameters Y is Q'c instead: minimise |B y - Q'c|^2 + lambda |y|^2 with Ridge().Solve(). */
  PetscErrorCode SketchSolve(SkeanSketch sketch, const RowView &A, const double *B, PetscInt ldb, PetscInt q, double *Y, double *rho2, char *finite) const;
  /*
     The coordinates in which solutions are judged: the columns of [A; sqrt(lambda) I] D_l have norm one, D_l = (D^{-2} + lambda)^{-1/2}.
     D alone would leave the columns that the ridge dominates long, and |[A; sqrt(lambda) I] D|_F would hide errors in all others.
  */
  double UnitScale(PetscInt i, double ridge) const;             /* D_l(i, i) */
  double UnitNormF(double ridge) const;                         /* |[A; sqrt(lambda) I] D_l|_F */
  double UnitXNorm(const double *x, double ridge) const;        /* |D_l^{-1} x| */
  double UnitGradientNorm(const double *g, double ridge) const; /* |D_l g| */
  /* |(D_l (A'A + lambda I) D_l + omega^2 I)^{-1/2} D_l g|, with the sketch's factor for A: the Karlson-Walden numerator for g = A'r - lambda x */
  PetscErrorCode WaldenNorm(double omega, double ridge, const double *g, double *value);
  /* An upper bound of that without a factorisation, g in the basis of Ridge(); false where there is none: only on a path of ridge parameters */
  bool WaldenBound(double omega, double ridge, const double *g, double *bound) const;
  /* |N' e_j|_2 for j = 0..d-1: sqrt of the diagonal of (A'A)^{-1} up to the distortion */
  void RowNorms(double *norms) const;
  /* Bound on |N'g - what ApplyT() gives for it|: inverse >= |D^{-1}N|_F, dg = |D g|, y = the norm of the computed N'g */
  double ApplyTError(double inverse, double dg, double y) const;
  /* x <- its part orthogonal to the null space of A; nothing for full rank */
  void RemoveNullSpace(double *x, PetscInt q) const;

  bool                       Failed() const noexcept { return failed; }
  bool                       Lost() const noexcept { return lost; }
  PetscInt                   Columns() const noexcept { return d; }
  PetscInt                   FreeColumns() const noexcept { return dz; } /* d less the constraints */
  PetscInt                   Rank() const noexcept { return k; }
  PetscInt                   SketchRows() const noexcept { return m; }
  PetscInt                   Draws() const noexcept { return draws; }
  PetscInt                   PoorDraws() const noexcept { return poor; }  /* of them: not singular, but too poor */
  double                     Stretch() const noexcept { return stretch; } /* lower bound of |A N|_2^2 from the probe; 0: none made */
  KSPSketchMethod            Method() const noexcept { return method; }
  bool                       Exact() const noexcept { return exact; }         /* R is A's own factor to rounding: no inner iteration */
  double                     NormF() const noexcept { return normF; }         /* |A|_F */
  double                     ScaledNormF() const noexcept { return scaledF; } /* |A D|_F */
  double                     ScaledNorm() const noexcept { return smax; }     /* estimate of |A D|_2 */
  double                     Condition() const noexcept { return cond; }      /* estimate of cond(A D) */
  bool                       Ready() const noexcept { return ready; }
  void                       Clear() { *this = LSPrecond(); }
  const double              *ConstraintBasis() const noexcept { return z.empty() ? nullptr : z.data(); }
  const std::vector<double> &Scale() const noexcept { return scale; }
  bool                       OnPath() const noexcept { return onpath; }
  const RidgeBasis          &Ridge() const noexcept { return basis; } /* after SetRidgePath() */

private:
  PetscErrorCode  ColumnScaling(MPI_Comm comm, const RowView &A, bool doscale);
  PetscErrorCode  SketchFactor(MPI_Comm comm, const RowView &A, SkeanSketch sketch);
  PetscErrorCode  DirectFactor(MPI_Comm comm, const RowView &A, KSPSketchMethod how, bool *ok);
  PetscErrorCode  FindRank(bool *full);
  PetscErrorCode  Probe(MPI_Comm comm, const RowView &A, SkeanSketch sketch, bool *ispoor);
  PetscErrorCode  NullSpaceIsTrue(MPI_Comm comm, const RowView &A, bool *isnull);
  KSPSketchMethod Cheapest(const RowView &A, PetscMPIInt size, const LSPrecondOptions &o, bool *trycholesky) const;
  PetscErrorCode  ProbeCondition(MPI_Comm comm, const RowView &A, bool *hopeless) const;

  bool                ready = false, failed = false, lost = false, exact = false, triangular = true, onpath = false;
  KSPSketchMethod     method = KSP_SKETCH_ITERATIVE;
  PetscInt            d = 0, dz = 0, k = 0, m = 0, n = 0, draws = 0, poor = 0;
  PetscInt            mfirst = 0, mlocal = 0; /* rows of the sketch that this process factorises */
  double              stretch = 0, normF = 0, smax = 0, cond = 1, lambda = 0;
  TSQR                qr;      /* of the sketch, for Q'S b */
  std::vector<double> scale;   /* D */
  std::vector<double> z;       /* d x dz, empty: identity */
  std::vector<double> yc, rc;  /* (C D)' = Y R: d x p orthonormal, and p x p */
  std::vector<double> r;       /* dz x dz, of the sketch or of A */
  std::vector<double> t;       /* dz x dz triangle in use (with ridge), if triangular */
  std::vector<double> u, s, v; /* SVD of r: v is dz x dz, column major */
  std::vector<double> weights; /* 1/s */
  RidgeBasis          basis;
  std::vector<double> pathdiagonal, pathsuper; /* d x (number of path columns): T_j */
  std::vector<double> nullbasis;               /* d x (d-k) orthonormal in x space */
  std::vector<double> kw;                      /* triangle of QR([R; omega D]) for the last omega */
  double              kwomega = -1.0, kwridge = 0.0, scaledF = 0.0;
};

} // namespace skean
