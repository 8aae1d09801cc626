#pragma once

#include <skeantransport.h>
#include <skean/private/skeansolver.h>
#include <petscksp.h>
#include <petscsf.h>

#if defined(__cplusplus)
  #include <cmath>
  #include <memory>
  #include <vector>

namespace skean {
namespace transport {

/*
   Entries of the plan kept by a pass: local active row, global active column, value. Where there would be more than cap of them, the threshold doubles
   as often as it takes and what is below it is dropped: what a pass returns is all that lies above thr, whatever thr has become. Only above top this
   ends: overflow is set, and the rest is not kept.
*/
struct Keep {
  double                thr      = 0; /* entries above it are kept */
  double                asked    = 0; /* thr at the start of the pass */
  double                top      = 0; /* thr is not raised above it */
  size_t                cap      = 0; /* no more than so many on this process */
  bool                  overflow = false;
  std::vector<PetscInt> i, j;
  std::vector<double>   p;
  void                  Start(double threshold, double highest = 0)
  {
    i.clear();
    j.clear();
    p.clear();
    thr = asked = threshold;
    top         = highest;
    overflow    = false;
  }
  void Add(PetscInt row, PetscInt col, double value)
  {
    while (value > thr && i.size() >= cap) {
      if (overflow || !(2 * thr <= top)) {
        overflow = true;
        return;
      }
      Raise(2 * thr);
    }
    if (!(value > thr)) return;
    i.push_back(row);
    j.push_back(col);
    p.push_back(value);
  }
  /* leaves the entries above t */
  void Raise(double t)
  {
    size_t q = 0;
    for (size_t k = 0; k < p.size(); ++k)
      if (p[k] > t) {
        i[q]   = i[k];
        j[q]   = j[k];
        p[q++] = p[k];
      }
    i.resize(q);
    j.resize(q);
    p.resize(q);
    thr = t;
  }
  void Free() /* the memory */
  {
    std::vector<PetscInt>().swap(i);
    std::vector<PetscInt>().swap(j);
    std::vector<double>().swap(p);
  }
};

/*
   Compact groups of targets, and what a pass knows of the plan between them: gram(I, J) = sum_i P_iI P_iJ / a_i, P_iJ the mass that source i sends to
   group J, by columns of the upper triangle and summed over the processes
*/
struct Cells {
  PetscInt              count = 0;
  std::vector<PetscInt> of; /* cell of every column of this process */
  std::vector<double>   gram;
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
  bool          exact      = false;              /* fused passes are computed from the costs, even where rows are kept */
  double        wanted     = 0;                  /* l1 marginal error that fused passes are to reach; 0: rows are kept in double precision */
  double        reached    = 0;                  /* that of the last one; 0: not known */
  bool          nearby     = false;              /* Products() may use rows that are kept, for systems that are solved approximately */
  double        cutoff     = 0;                  /* > 0: tiles whose entries are all below exp(-cutoff) r_i c_j are skipped */
  double        loose      = 0;                  /* > 0: the mass, relative to a row's or a column's, that fused passes may skip beyond that */
  const double *logr = nullptr, *logc = nullptr; /* logarithms of the masses; owned by Work */
  double        entries = 0;                     /* entries visited on this process, for statistics */

  virtual ~Engine() = default;
  /* u_i = logr_i + lam (-LSE_j(v_j - inv c_ij)); then lb_j = log of column j's sum of the plan at the new u. a (may be NULL): row sums.
     u on entry is only used as the scale that keeps the exponentials in range. keep (may be NULL) collects entries of the plan. */
  virtual PetscErrorCode Fused(double inv, double lam, const double *v, double *u, double *a, double *lb, Keep *keep) = 0;
  /* At most so many cells; count = 0 where targets have no groups. The same for any number of processes, but for ties */
  virtual PetscErrorCode GetCells(PetscInt, Cells *c)
  {
    c->count = 0;
    return PETSC_SUCCESS;
  }
  Cells *cells = nullptr; /* if not NULL, fused passes fill its gram */
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
  /* Bound of the l1 marginal error that the sums of the last fused pass have because of what rows of the plan that are kept lack: digits, and small entries */
  virtual double KeptError() const { return 0; }
  /* The next fused pass is computed from the costs, whatever is kept */
  virtual void KeepAnew() {}
  /* Nothing that was kept in former solves has a part in the next one */
  virtual void Forget() {}
  /* Number of entries of the plan, over all processes, that are more than 1e-7 of the mass of their row, when the rows were kept that are kept now; 0: not
     known. The same on all processes */
  virtual double HeavyEntries() const { return 0; }
  /* Mass that Marginals() may have left out of any row or column, relative to its mass */
  virtual double Skipped() const { return 0; }
  /* Whether a set of sources, found from the potentials v, has more mass than all the targets it may use together: a proof that no plan exists */
  virtual PetscErrorCode ProvesInfeasible(const double *, bool *proof)
  {
    *proof = false;
    return PETSC_SUCCESS;
  }
};

/* Between an array over the user's sources or targets, in the user's layout, and one over those with mass in the engine's, where clouds of points may have
   been sorted over the processes. Collective, with an array on every process */
class Side {
public:
  std::vector<PetscInt> idx;       /* local indices of the entries with mass in the user's vector, which the engine has in this order */
  PetscInt              count = 0; /* entries with mass on this process in the engine's layout */

  Side() = default;
  ~Side() { PetscCallAbort(PETSC_COMM_SELF, PetscSFDestroy(&sf)); }
  Side(const Side &)            = delete;
  Side &operator=(const Side &) = delete;
  Side &operator=(Side &&o) noexcept
  {
    idx.swap(o.idx);
    std::swap(count, o.count);
    std::swap(sf, o.sf);
    return *this;
  }
  /* the engine's order is the user's */
  PetscErrorCode Reset()
  {
    PetscFunctionBegin;
    PetscCall(PetscSFDestroy(&sf));
    count = static_cast<PetscInt>(idx.size());
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* entry k of the engine's is entry `place` of the user's on process `owner`; nlocal entries of the user's are here */
  PetscErrorCode Sorted(MPI_Comm comm, PetscInt nlocal, std::vector<PetscSFNode> &from);
  template <class T>
  PetscErrorCode ToEngine(MPI_Datatype type, const T *user, T *engine) const
  {
    PetscFunctionBegin;
    if (!sf)
      for (size_t k = 0; k < idx.size(); ++k) engine[k] = user[idx[k]];
    else {
      PetscCall(PetscSFBcastBegin(sf, type, user, engine, MPI_REPLACE));
      PetscCall(PetscSFBcastEnd(sf, type, user, engine, MPI_REPLACE));
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* entries without mass keep their value */
  PetscErrorCode ToUser(const double *engine, double *user) const
  {
    PetscFunctionBegin;
    if (!sf)
      for (size_t k = 0; k < idx.size(); ++k) user[idx[k]] = engine[k];
    else {
      PetscCall(PetscSFReduceBegin(sf, MPI_DOUBLE, engine, user, MPI_REPLACE));
      PetscCall(PetscSFReduceEnd(sf, MPI_DOUBLE, engine, user, MPI_REPLACE));
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* global numbers, in a vector of the user's, of the engine's entries */
  PetscErrorCode Numbers(Vec user, std::vector<PetscInt> *number) const;

private:
  PetscSF sf = NULL;
};

/* Everything of a solve that is not a PETSc object */
struct Work {
  std::unique_ptr<Engine> eng;
  Side                    rows, cols;           /* where the engine's sources and targets are in the user's vectors */
  std::vector<double>     r, c, logr, logc;     /* masses divided by the total */
  std::vector<double>     u, v;                 /* potentials in units of eps */
  std::vector<double>     lb, b, a;             /* log column sums, column sums, row sums */
  double                  cutoff = 0;           /* logarithm of what passes may skip; 0: nothing */
  double                  massr = 1, massc = 1; /* totals */
  bool   addedrow = false, addedcol = false;    /* partial transport: on the last process r, c, u, v... have one entry more than rows, cols count */
  double cmax   = 1;
  double eps    = 1; /* at the target */
  double epsnow = 1;
  double lamr = 1, lamc = 1; /* rho/(rho+eps), 1 when balanced */
  /* of the last pass */
  double              err = 0, g2 = 0, dual = 0, umax = 0;
  double              kepterr = 0; /* Engine::KeptError() */
  bool                bad     = false;
  double              target  = 0; /* marginal error that ends the level */
  std::vector<double> levels;
  PetscInt            maxpasses = PETSC_MAX_INT; /* of either kind, after which a solve ends as with too many iterations */
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
  Vec                      r, c;
  Mat                      C, X, Y, G;
  SkeanTransportCostType   costtype;
  PetscReal                costexponent;
  SkeanTransportCostFn     costfn;
  void                    *costctx;
  PetscInt                 griddim;
  PetscInt                 gridn[SKEAN_TRANSPORT_MAXDIM];
  PetscReal                gridlo[SKEAN_TRANSPORT_MAXDIM], gridhi[SKEAN_TRANSPORT_MAXDIM];
  PetscReal                eps; /* as set */
  SkeanTransportEpsMode    epsmode;
  SkeanTransportEntropy    entropy;
  PetscBool                scaling; /* epsilon-continuation */
  PetscReal                scalefactor;
  PetscReal                rhor, rhoc; /* penalties of the marginals; PETSC_INFINITY: enforced */
  PetscReal                partial;    /* mass to be moved; 0: all */
  PetscReal                truncation; /* relative tolerance of truncated passes; 0: every entry */
  PetscReal                memory;     /* bytes of rows of the plan that a process may keep */
  PetscReal                replicate;  /* bytes of coordinates up to which every process holds all targets */
  Vec                      f0, g0;
  PetscReal                epsstart; /* > 0: f0, g0 are those of a coarser problem at this epsilon; steps lead from there */
  PetscBool                sorted;   /* the points are in spatial order over the processes */
  SkeanTransportMultiscale multiscale;
  PetscReal                msratio;
  PetscInt                 mslevel;  /* of this solver on the ladder of another one, 0: its own */
  PetscInt                 mslevels; /* coarser levels of the last solve */
  PetscBool                ladder;   /* the next solve starts from coarser problems */
  PetscBool                truncset; /* the user has chosen the truncation */
  PetscBool                certify;
  PetscReal                certgap;    /* wanted of the bounds, relative; 0: those at the epsilon of the solve */
  PetscBool                certgapset; /* the user has asked for it: whatever it takes */
  KSP                      ksp;
  PetscBool                kspuser; /* the user chose the linear solver */
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
/* Whether coarser problems are to be solved first; solves them and sets the initial potentials */
SKEAN_INTERN PetscErrorCode SkeanTransportUsesMultiscale_Private(SkeanTransport t, PetscBool *use);
SKEAN_INTERN PetscErrorCode SkeanTransportMultiscale_Private(SkeanTransport t);
/* A solver with the settings of t at an absolute epsilon, for masses r and c; the cost is still to be set */
SKEAN_INTERN PetscErrorCode SkeanTransportLike_Private(SkeanTransport t, Vec r, Vec c, PetscReal eps, SkeanTransport *s);
/* One fused pass at work's v and epsnow: new u, lb, b; err, g2, dual, umax, bad are set, the same on all processes */
#if defined(__cplusplus)
/* Rows idx of a dense matrix, row major; finite: left alone or set to false */
PetscErrorCode SkeanTransportReadPoints_Private(Mat X, const std::vector<PetscInt> &idx, std::vector<double> &out, bool *finite);
PetscErrorCode SkeanTransportActiveColumns_Private(SkeanTransport t, std::vector<PetscInt> &pos);
PetscErrorCode SkeanTransportPass_Private(SkeanTransport t, skean::transport::Keep *keep);
#endif
/* v += lamc-damped Sinkhorn update from the last pass */
SKEAN_INTERN PetscErrorCode SkeanTransportUpdateV_Private(SkeanTransport t);
/* Scales the potentials to another epsilon */
SKEAN_INTERN PetscErrorCode SkeanTransportSetLevel_Private(SkeanTransport t, PetscReal eps);
SKEAN_INTERN PetscErrorCode SkeanTransportFinish_Private(SkeanTransport t);
/* The bounds of the unregularised cost; the plan has as many entries that count as its rows and columns together, times spread */
SKEAN_INTERN PetscErrorCode SkeanTransportCertify_Private(SkeanTransport t, PetscReal spread);
/* The error below which rounding forbids any further progress, from the size of the exponents */
SKEAN_INTERN PetscReal SkeanTransportFloor_Private(SkeanTransport t);
/* The marginal error of the last pass that ends a solve */
SKEAN_INTERN PetscReal      SkeanTransportTarget_Private(SkeanTransport t);
SKEAN_INTERN PetscErrorCode SkeanTransportGetKSP_Private(SkeanTransport t, KSP *ksp);
SKEAN_INTERN PetscErrorCode SkeanTransportCheckSolved_Private(SkeanTransport t, const char what[]);

SKEAN_INTERN PetscLogEvent SKEAN_Transport_Solve, SKEAN_Transport_Pass, SKEAN_Transport_Newton, SKEAN_Transport_Certificate, SKEAN_Transport_Coarse;
