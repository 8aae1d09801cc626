#pragma once

#include <skeantransport.h>
#include <skean/private/skeansolver.h>
#include <petscksp.h>

#if defined(__cplusplus)
  #include <cmath>
  #include <memory>
  #include <vector>

namespace skean {
namespace transport {

/* Entries of the plan kept by a pass: local active row, global active column, value */
struct Keep {
  double                thr      = 0; /* entries above it are kept */
  size_t                cap      = 0; /* no more than so many on this process; beyond, overflow is set and the rest is dropped */
  bool                  overflow = false;
  std::vector<PetscInt> i, j;
  std::vector<double>   p;
  void                  Add(PetscInt row, PetscInt col, double value)
  {
    if (i.size() >= cap) {
      overflow = true;
      return;
    }
    i.push_back(row);
    j.push_back(col);
    p.push_back(value);
  }
  void Clear()
  {
    i.clear();
    j.clear();
    p.clear();
    overflow = false;
  }
};

/*
   The cost, distributed: what the solvers ask of it. Rows are this process's sources with mass, columns all targets with mass; a process
   owns mloc of the m columns. Potentials are in units of epsilon: P_ij = exp(u_i + v_j - inv c_ij), inv = 1/epsilon. All functions are
   collective; arrays over rows have n entries, arrays over columns mloc. An array that may be NULL must be NULL on all processes or on none, also on
   those that have no entry of it.
*/
class Engine {
public:
  MPI_Comm      comm = MPI_COMM_NULL;
  PetscInt      n = 0, nglobal = 0, rlo = 0;     /* rows here, rows in all, first row here */
  PetscInt      m = 0, mloc = 0, mlo = 0;        /* columns in all, here, first here */
  PetscInt      passes     = 0;                  /* traversals of the whole cost */
  PetscInt      keptpasses = 0;                  /* fused passes over rows of the plan kept in memory instead, see StoredRows */
  double        cutoff     = 0;                  /* > 0: tiles whose entries are all below exp(-cutoff) r_i c_j are skipped */
  const double *logr = nullptr, *logc = nullptr; /* logarithms of the masses; owned by Work */
  double        entries = 0;                     /* entries visited on this process, for statistics */

  virtual ~Engine() = default;
  /* u_i = logr_i + lam (-LSE_j(v_j - inv c_ij)); then lb_j = log of column j's sum of the plan at the new u. a (may be NULL): row sums.
     u on entry is only used as the scale that keeps the exponentials in range. keep (may be NULL) collects entries of the plan. */
  virtual PetscErrorCode Fused(double inv, double lam, const double *v, double *u, double *a, double *lb, Keep *keep) = 0;
  /* Sums at given potentials: rows a, columns b, cost <C,P> (summed over the processes); each may be NULL */
  virtual PetscErrorCode Marginals(double inv, const double *u, const double *v, double *a, double *b, double *cost) = 0;
  /* rowout = P w; if colout: z = rowout / a (a given) or z as given (w NULL), colout = P'z */
  virtual PetscErrorCode Products(double inv, const double *u, const double *v, const double *w, const double *a, const double *z, double *rowout,
                                  double *colout) = 0;
  /* y_j = min_i (c_ij - x_i) and x_i = min_j (c_ij - y_j). On entry: upper bounds of the results, which let pairs be skipped, or
     PETSC_MAX_REAL */
  virtual PetscErrorCode MinCols(const double *x, double *y) = 0;
  virtual PetscErrorCode MinRows(const double *y, double *x) = 0;
  /* sum_ij x_i c_ij y_j for x, y >= 0, or (where pairs are skipped) a close upper bound of it */
  virtual PetscErrorCode Bilinear(const double *x, const double *y, double *value) = 0;
  /* Entries of the plan above thr */
  virtual PetscErrorCode Entries(double inv, const double *u, const double *v, Keep *keep) = 0;
  /* Largest cost and (if not NULL) the median of a sample that does not depend on the number of processes */
  virtual PetscErrorCode Scale(double *cmax, double *cmedian) = 0;
  /* Whether kept entries and per-entry questions are answered */
  virtual bool HasEntries() const { return true; }
  virtual bool Forbids() const { return false; } /* some pairs are forbidden */
  /* Estimated cost of a fused pass near the last one, relative to one that evaluates the whole cost; the same on all processes */
  virtual double PassCost() const { return 1; }
  /* Mass that Marginals() may have left out of any row or column, relative to its mass */
  virtual double Skipped() const { return 0; }
  /* Whether a set of sources, found from the potentials v, has more mass than all the targets it may use together: a proof that no plan exists */
  virtual PetscErrorCode ProvesInfeasible(const double *, bool *proof)
  {
    *proof = false;
    return PETSC_SUCCESS;
  }
};

/* Everything of a solve that is not a PETSc object */
struct Work {
  std::unique_ptr<Engine> eng;
  std::vector<PetscInt>   rowidx, colidx;                     /* local indices of the active rows and columns in the user's vectors */
  std::vector<double>     r, c, logr, logc;                   /* masses divided by the total */
  std::vector<double>     u, v;                               /* potentials in units of eps */
  std::vector<double>     lb, b, a;                           /* log column sums, column sums, row sums */
  double                  massr = 1, massc = 1;               /* totals */
  bool                    addedrow = false, addedcol = false; /* partial transport: on the last process r, c, u, v... have one entry more than rowidx, colidx */
  double                  cmax   = 1;
  double                  eps    = 1; /* at the target */
  double                  epsnow = 1;
  double                  lamr = 1, lamc = 1; /* rho/(rho+eps), 1 when balanced */
  /* of the last pass */
  double              err = 0, g2 = 0, dual = 0, umax = 0;
  bool                bad = false;
  std::vector<double> levels;
};

} // namespace transport
} // namespace skean
#endif

struct _SkeanTransportOps {
  PetscErrorCode (*setup)(SkeanTransport);
  PetscErrorCode (*solve)(SkeanTransport);
  PetscErrorCode (*setfromoptions)(SkeanTransport, SkeanOptionItems);
  PetscErrorCode (*view)(SkeanTransport, PetscViewer);
  PetscErrorCode (*reset)(SkeanTransport);
  PetscErrorCode (*destroy)(SkeanTransport);
};

#define SKEAN_TRANSPORT_MAXDIM 8

struct _p_SkeanTransport {
  PETSCHEADER(struct _SkeanTransportOps);
  SkeanSolverBase solver;
  /* data; referenced */
  Vec                    r, c;
  Mat                    C, X, Y, G;
  SkeanTransportCostType costtype;
  PetscReal              costexponent;
  SkeanTransportCostFn   costfn;
  void                  *costctx;
  PetscInt               griddim;
  PetscInt               gridn[SKEAN_TRANSPORT_MAXDIM];
  PetscReal              gridlo[SKEAN_TRANSPORT_MAXDIM], gridhi[SKEAN_TRANSPORT_MAXDIM];
  PetscReal              eps; /* as set */
  SkeanTransportEpsMode  epsmode;
  SkeanTransportEntropy  entropy;
  PetscBool              scaling; /* epsilon-continuation */
  PetscReal              scalefactor;
  PetscReal              rhor, rhoc; /* penalties of the marginals; PETSC_INFINITY: enforced */
  PetscReal              partial;    /* mass to be moved; 0: all */
  PetscReal              truncation; /* relative tolerance of truncated passes; 0: every entry */
  PetscReal              memory;     /* bytes of rows of the plan that a process may keep */
  PetscReal              replicate;  /* bytes of coordinates up to which every process holds all targets */
  Vec                    f0, g0;
  PetscBool              certify;
  KSP                    ksp;
  PetscBool              kspuser; /* the user chose the linear solver */
  /* results, in the user's units */
  PetscReal epsabs, errmarginal, costvalue, entropyvalue, totalvalue, lower, upper;
  PetscReal visited; /* pairs evaluated in the passes, over all pairs */
  PetscInt  passes, keptpasses, certpasses, nnzkept, maxksp;
  void     *work; /* skean::transport::Work */
  void     *data;
};

SKEAN_INTERN PetscErrorCode SkeanTransportSolve_Sinkhorn(SkeanTransport t);
/* Builds the engine for the cost that was set, with the active rows and columns of work */
SKEAN_INTERN PetscErrorCode SkeanTransportBuildEngine_Private(SkeanTransport t);
SKEAN_INTERN PetscErrorCode SkeanTransportBuildGrid_Private(SkeanTransport t);
SKEAN_INTERN PetscErrorCode SkeanTransportBuildGraph_Private(SkeanTransport t);
/* Partial transport: masses of the balanced problem, and the engine that was built with a row and a column added */
SKEAN_INTERN PetscErrorCode SkeanTransportPartialMasses_Private(SkeanTransport t, PetscReal massr, PetscReal massc);
SKEAN_INTERN PetscErrorCode SkeanTransportBuildPartial_Private(SkeanTransport t);
/* One fused pass at work's v and epsnow: new u, lb, b; err, g2, dual, umax, bad are set, the same on all processes */
#if defined(__cplusplus)
PetscErrorCode SkeanTransportActiveColumns_Private(SkeanTransport t, std::vector<PetscInt> &pos);
PetscErrorCode SkeanTransportPass_Private(SkeanTransport t, skean::transport::Keep *keep);
#endif
/* v += lamc-damped Sinkhorn update from the last pass */
SKEAN_INTERN PetscErrorCode SkeanTransportUpdateV_Private(SkeanTransport t);
/* Scales the potentials to another epsilon */
SKEAN_INTERN PetscErrorCode SkeanTransportSetLevel_Private(SkeanTransport t, PetscReal eps);
SKEAN_INTERN PetscErrorCode SkeanTransportFinish_Private(SkeanTransport t);
/* The error below which rounding forbids any further progress, from the size of the exponents */
SKEAN_INTERN PetscReal      SkeanTransportFloor_Private(SkeanTransport t);
SKEAN_INTERN PetscErrorCode SkeanTransportGetKSP_Private(SkeanTransport t, KSP *ksp);
SKEAN_INTERN PetscErrorCode SkeanTransportCheckSolved_Private(SkeanTransport t, const char what[]);

SKEAN_INTERN PetscLogEvent SKEAN_Transport_Solve, SKEAN_Transport_Pass, SKEAN_Transport_Newton, SKEAN_Transport_Certificate;
