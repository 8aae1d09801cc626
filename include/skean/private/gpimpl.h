#pragma once

#include <skean/private/gpdeflation.hpp>
#include <skean/private/gpkernels.hpp>
#include <skean/private/gpneighbors.hpp>
#include <skean/private/kron.hpp>
#include <skean/private/skeansolver.h>
#include <skeangp.h>
#include <petscksp.h>
#include <algorithm>
#include <cmath>

namespace skean {
namespace gp {

constexpr double kDeflationTheta = 60;

/* Sums over the spectrum lam_i = prod_j lambda_j[i_j], with v_i = lam_i + ratio */
struct SpectralSums {
  double                           logdet   = 0; /* sum log v */
  double                           trace    = 0; /* sum 1/v */
  double                           tracek   = 0; /* sum lam/v */
  double                           smallest = 0; /* min v */
  double                           largest  = 0; /* max v */
  double                           rank     = 0; /* number of lam_i above ratio */
  double                           negative = 0; /* number of lam_i below zero (rounding) */
  std::vector<std::vector<double>> t;            /* t[j][i] = sum over the others of prod_{k != j} lambda_k / v */
};

/*
   Gaussian-process regression on a tensor grid: y = mean + f + e, f ~ N(0, s2f (x) K_j), e ~ N(0, s2n (x) diag(D_j) diag(scale)), scale >= 1.
   Everything is computed for the scaled problem: y~ = D^-1/2 (y - mean), K~_j = D_j^-1/2 K_j D_j^-1/2, V = s2f ((x) K~_j + ratio I), ratio = s2n/s2f.
   A point whose noise is not that of the product, scale > 1, is one whose value with the noise of the product is not known: free, as a missing one is, but seen with the
   excess noise E = ratio (scale - 1). With A = V^-1 and F the free points everything follows from Lambda = A_FF + E^-1, E^-1 = 0 where a value is missing: for
   free values x, (A_FF + E^-1) x = -(A y)_F, and det(K + D) = det(V) det(Lambda) det(E) (Woodbury; Jacobi's complement).
   Tensors are arrays over the home box; what comes from or goes to a user's vector is in natural order.
*/
class Regression {
public:
  MPI_Comm                         comm = MPI_COMM_NULL;
  int                              d    = 0;
  TensorSizes                      n{};
  PetscInt64                       N = 0;
  std::vector<std::vector<double>> x;
  std::string                      kerneltext;
  std::vector<Kernel1D>            kernel; /* empty kernel: K given by the user */
  std::vector<std::vector<double>> userK;  /* or empty */
  std::vector<std::vector<double>> sqrtD;  /* square roots of the noise factors, or empty: ones */
  double                           s2f = 1, s2n = 1e-2;
  std::vector<PetscInt>            fixed; /* hyper-parameters the optimiser leaves alone */
  /* data */
  bool                       havedata = false;
  std::vector<double>        y;      /* scaled, mean removed, zero where missing */
  std::vector<unsigned char> mask;   /* 0: free; empty: none is */
  std::vector<double>        scale;  /* of the noise, as given, or empty: ones */
  std::vector<double>        excess; /* 1/(scale - 1) where that is positive, 0 elsewhere; empty: all are missing that are free */
  PetscInt64                 nobs = 0, nfree = 0;
  double                     mean = 0, yvar = 0;
  /* grid and factors */
  std::unique_ptr<TensorGrid>                 grid;
  bool                                        factored = false;
  std::vector<std::vector<double>>            K;      /* scaled factors */
  std::vector<std::shared_ptr<const EvenOdd>> Kparts; /* of the centrosymmetric ones, or null */
  std::vector<KronEigen>                      eig;
  SpectralSums                                sums;
  bool                                        sumsready = false;
  double                                      sumsratio = -1;
  /* result of the solve: V^-1 y, zero where missing */
  bool                weightsready = false;
  std::vector<double> alpha;
  double              residual  = 0; /* |filled - V alpha| / |y|, by the factors */
  PetscInt            fillits   = 0;
  double              logdeterr = 0; /* standard error of the log determinant where it is estimated */
  /* missing points */
  double    fillrtol   = 1e-8;
  PetscInt  fillmaxit  = 2000;
  bool      maskedcg   = false; /* the comparison: CG on the observed block */
  PetscInt  probes     = 8;
  PetscInt  exactlimit = 300; /* missing points up to which log det A_MM is exact */
  PetscInt  lanczos    = 80;
  SkeanSeed seed       = SKEAN_DEFAULT_SEED;
  /* slow modes of large gaps: PETSC_DECIDE takes them where they are slow, 0 never */
  PetscInt     deflmodes = PETSC_DECIDE;
  double       defltheta = kDeflationTheta;
  GapDeflation deflation;
  GapDeflation control; /* that of an optimisation's start, see HoldControl() */
  bool         controlheld = false;
  /* small groups of gaps in rough fields: PETSC_DECIDE takes neighbours where that is expected to pay, 0 never */
  PetscInt     reach = PETSC_DECIDE;
  GapNeighbors neighbors;
  bool         toneighbors = false;  /* a solve has found that they pay */
  double       fillnorm[2] = {0, 0}; /* residual norms of the solve: the first and the last */
  double       looserrtol  = 0;      /* for solves that need less than fillrtol */
  double       deflratio   = -1;     /* the ratio that was decided for; negative: not decided for these factors and this mask */
  KSP          ksp         = nullptr;
  Mat          shell       = nullptr;
  Vec          kx = nullptr, kb = nullptr;
  std::string  prefix;
  /* natural order <-> home box, only where they differ */
  VecScatter tonatural = nullptr;
  Vec        homevec = nullptr, naturalvec = nullptr;

  ~Regression();
  double         Ratio() const { return s2n / s2f; }
  PetscInt64     HomeSize() const { return std::max<PetscInt64>(0, grid->Home().Volume()); }
  PetscErrorCode MakeGrid();
  PetscErrorCode CheckMemory();
  void           ForgetFactors()
  {
    factored = sumsready = weightsready = false;
    deflratio                           = -1;
  }
  PetscErrorCode FromNatural(Vec v, const TensorSizes *sizes, double *home);
  PetscErrorCode ToNatural(const double *home, const TensorSizes *sizes, Vec v);
  PetscErrorCode Factor(); /* K, eig */
  PetscErrorCode Sums();   /* sums for the present ratio */
  PetscErrorCode LogDetOfFactors();
  bool           Positive() const { return sums.smallest > 0; }
  /* out = (((x) K) + ratio I)^-1 in; out = ((x) K) in; in == out allowed */
  PetscErrorCode ApplyInverse(const double *in, double *out);
  ModeOp         FactorOp(int j) const;
  bool           Symmetric(int j) const;
  PetscErrorCode ApplyCovariance(const double *in, double *out);
  /* out = g(lam) in the eigenbasis: kind 0: v^-1, 1: v^-1/2 */
  PetscErrorCode ApplySpectral(int kind, const double *in, double *out);
  PetscErrorCode ApplyRectangular(const std::vector<std::vector<double>> &C, const TensorSizes &t, const double *in, double *out);
  PetscErrorCode Dot(const double *a, const double *b, double *dot);
  bool           Noisy(PetscInt64 i) const { return !excess.empty() && excess[i] > 0; } /* free, but seen */
  bool           Observed(PetscInt64 i) const { return mask.empty() || mask[i] || Noisy(i); }
  double         Excess(PetscInt64 i) const { return Noisy(i) ? excess[i] / Ratio() : 0.0; } /* E^-1 */
  /* Lambda has about a unit diagonal with this on both sides */
  double LogScale(PetscInt64 i) const { return 1 / std::sqrt(sums.trace / static_cast<double>(N) + Excess(i)); }
  /* Whether the solves on M are preconditioned for the present hyper-parameters; force: yes */
  PetscErrorCode Deflate(bool force);
  /* Steps to the neighbours that are taken if any are, and what setting them up costs in iterations */
  PetscInt       Reach() const { return reach > 0 ? reach : (d > 3 ? 1 : 2); }
  double         NeighborsCost() const;
  PetscErrorCode TakeNeighbors();
  /* x on the free points M with Lambda x = b_M (b, x zero outside M); its, converged */
  PetscErrorCode MissingSolve(const double *b, double *x, PetscInt *its, bool *good);
  /* a = (K_OO + ratio I)^-1 b_O on O, zero (to CG's accuracy) on M; filled: b_O and the filled gaps; b == filled allowed */
  PetscErrorCode ObservedSolve(const double *b, double *a, double *filled, PetscInt *its, bool *good);
  PetscErrorCode Weights(bool *good);
  /* |filled - ((x) K + ratio I) a|^2; r (may be NULL): the residual itself. One array of work, and r */
  PetscErrorCode Residual(const double *filled, const double *a, std::vector<double> *r, double *rr);
  /* log likelihood at the present parameters; profile: s2f is set to its optimum for the present ratio first.
     grad (may be NULL): with respect to the kernels' parameters, log s2f, log s2n. ok = false: V is not positive definite, or a solve failed */
  PetscErrorCode LogLikelihood(bool profile, double *L, std::vector<double> *grad, bool *ok);
  PetscErrorCode Grams(const double *a, const double *b, double weight, std::vector<std::vector<double>> *M); /* a, b in the last stage's eigenbasis */
  PetscErrorCode ToSpectral(const double *in, std::vector<double> *out);
  PetscErrorCode MissingLogDet(double *logdet, double *stderror, std::vector<std::vector<double>> *M, double *tracev, bool *ok);
  PetscErrorCode LogForm(GapDeflation *P, const std::vector<PetscInt64> &place, const std::vector<double> &z, double *value, std::vector<double> *sigma,
                         std::vector<std::vector<double>> *s, bool *good);
  /* From now to ReleaseControl() the estimate of the determinant is one smooth function of the hyper-parameters */
  PetscErrorCode      HoldControl();
  void                ReleaseControl() { controlheld = false; }
  size_t              NumParams() const;
  std::vector<double> Params() const;
  void                SetParams(const double *theta);
  std::string         ParamName(size_t i) const;
  PetscErrorCode      Predict(const PetscInt nt[], const PetscReal *const xt[], Vec mean, Vec var);
  PetscErrorCode      Sample(bool posterior, std::uint32_t draw, double *f, bool *good);
};

} // namespace gp
} // namespace skean

struct _SkeanGPOps {
  PetscErrorCode (*view)(SkeanGP, PetscViewer);
};

struct _p_SkeanGP {
  PETSCHEADER(struct _SkeanGPOps);
  SkeanSolverBase        solver;
  skean::gp::Regression *reg;
  PetscBool              optimize, profile, samplemean;
  PetscInt               restarts;
  PetscInt               variancesamples;
  PetscReal              loglikelihood;
  PetscInt               evaluations;
};
