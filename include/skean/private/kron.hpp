/*
   Sums of Kronecker products  A = sum_t c_t F_t0 (x) F_t1 (x) ... (x) F_t,d-1 + s I  of small factors that every process holds, and
   their inverse by simultaneous diagonalisation. Used by Mat skeankron, PC skeankron and SkeanGP.
*/
#pragma once

#include <skean/private/tensorgrid.hpp>
#include <petscmat.h>
#include <petscpc.h>
#include <functional>
#include <limits>

namespace skean {

/* One factor, m x n. The arrays are shared between copies and never changed. */
class KronFactor {
public:
  enum Kind { IDENTITY, DIAGONAL, DENSE, SPARSE };
  Kind                                         kind = IDENTITY;
  PetscInt64                                   m = 0, n = 0;
  std::shared_ptr<const std::vector<double>>   a;      /* DENSE: column major; DIAGONAL: n; SPARSE: values */
  std::shared_ptr<const std::vector<PetscInt>> ia, ja; /* SPARSE */
  std::shared_ptr<const EvenOdd>               parts;  /* DENSE and centrosymmetric, where products with the parts are faster */
  bool                                         symmetric = true, toeplitz = false, centrosymmetric = true;

  static KronFactor Identity(PetscInt64 n);
  static KronFactor Diagonal(std::vector<double> diag);
  static KronFactor Dense(PetscInt64 m, PetscInt64 n, std::vector<double> a); /* finds out the structure */
  /* A sequential matrix of any type that can be read by rows */
  static PetscErrorCode FromMat(Mat F, KronFactor *factor);

  ModeOp              Op(bool trans) const;
  std::vector<double> ToDense() const;
  bool                Same(const KronFactor &o) const noexcept; /* equal kind and entries */
  const char         *Describe() const noexcept;
  double              Checksum() const noexcept;
  KronFactor          Transposed() const;
  static KronFactor   Product(const KronFactor &A, const KronFactor &B);
};

struct KronTerm {
  double                  coeff = 1.0;
  std::vector<KronFactor> f;
};

/* F = V diag(lambda) V^-1 of a symmetric matrix, or of a pencil; arrays n x n column major, equal on all processes */
struct KronEigen {
  PetscInt64                           n = 0;
  std::vector<double>                  V, Vinv /* empty: the transpose of V */, lambda;
  std::shared_ptr<const FastTransform> transform;           /* V where it is a transform; the array V is then empty until it is asked for */
  std::shared_ptr<const EvenOdd>       parts, inverseparts; /* V and the transpose of V^-1 where they are even and odd vectors; the arrays are then empty too */
  double      asymmetry = 0; /* what was split is this far from the matrix, relative, in the Frobenius norm: at most kCentroTolerance */
  const char *method    = "";

  ModeOp Op(bool trans) const; /* V or V'; refers to this object */
  ModeOp InverseOp() const;    /* V^-1 */
  void   FormVectors();        /* the array V, of a transform too */
};

/* Eigenvalues move by no more than the norm of a perturbation (Weyl): this is of the size of LAPACK's own backward error, and of what DiagonalizeByTransform() takes */
constexpr double kCentroTolerance = 64 * std::numeric_limits<double>::epsilon();
/* -mat_skeankron_evenodd */
PetscErrorCode KronEvenOdd(PetscBool *on);

struct KronEigenProblem {
  enum Kind { SYMMETRIC, PENCIL /* A x = l B x */, GENERAL /* real spectrum, cond(V) < 1e8 */ };
  enum Result { GOOD, SWAPPED /* pencil: B x = l A x, A being the definite one */, FAILED };
  Kind          kind = SYMMETRIC;
  PetscInt64    n    = 0;
  const double *A = nullptr, *B = nullptr; /* n x n column major, the same on all processes */
  KronEigen    *eig    = nullptr;
  Result        result = GOOD; /* agreed: FAILED if the matrix is not finite, no convergence, or not of its kind */
};

/*
   Collective. LAPACK, problem j on process j mod P, then broadcast; symmetric ones that a transform diagonalises (periodic and
   Toeplitz-plus-Hankel matrices) by FFTW; symmetric ones of -mat_skeankron_scalapack rows or more by ScaLAPACK over all processes. Centrosymmetric problems of
   all kinds are split into even and odd parts, a quarter of the work, and their vectors kept so (-mat_skeankron_evenodd).
*/
PetscErrorCode KronEigenSolve(MPI_Comm comm, std::vector<KronEigenProblem> *problems);

/*
   Calls f(at, value) for every entry of a box in natural order with value = shift + sum_t c_t prod_j lambda[t][j][i_j]; lambda NULL: ones
*/
template <class F>
void ForSpectrum(const TensorBox &box, double shift, const std::vector<double> &coeff, const std::vector<std::vector<const double *>> &lambda, F f)
{
  const int           d = box.d;
  const size_t        T = coeff.size();
  PetscInt64          idx[kTensorMaxDim], at = 0;
  std::vector<double> prefix(T);

  if (box.Volume() <= 0) return;
  for (int k = 0; k < d; ++k) idx[k] = box.lo[k];
  for (;;) {
    for (size_t t = 0; t < T; ++t) {
      double p = coeff[t];
      for (int k = 0; k + 1 < d; ++k)
        if (lambda[t][k]) p *= lambda[t][k][idx[k]];
      prefix[t] = p;
    }
    if (T == 1 && lambda[0][d - 1]) {
      const double  p = prefix[0];
      const double *l = lambda[0][d - 1];
      for (PetscInt64 i = box.lo[d - 1]; i < box.hi[d - 1]; ++i) f(at++, shift + p * l[i]);
    } else {
      for (PetscInt64 i = box.lo[d - 1]; i < box.hi[d - 1]; ++i) {
        double v = shift;
        for (size_t t = 0; t < T; ++t) v += lambda[t][d - 1] ? prefix[t] * lambda[t][d - 1][i] : prefix[t];
        f(at++, v);
      }
    }
    int k = d - 2;
    for (; k >= 0; --k) {
      if (++idx[k] < box.hi[k]) break;
      idx[k] = box.lo[k];
    }
    if (k < 0) return;
  }
}

/*
   Inverse of a sum of Kronecker products.
     one term, no shift, not symmetric        LU of each factor
     one term, no shift, symmetric            inverses of the definite factors by Cholesky, the others diagonalised
     along each dimension one matrix F beside identities   F = V L V^-1 (symmetric: orthogonal V; else real spectrum with cond(V) < 1e8)
     along each dimension two matrices F, G and no identity  the pencil F x = l G x with G symmetric positive definite
   Anything else cannot be diagonalised simultaneously: PETSC_ERR_SUP.
*/
class KronInverse {
public:
  /* Collective */
  PetscErrorCode SetUp(const TensorGrid &grid, const std::vector<KronTerm> &terms, double shift);
  /* Collective. x = A^-1 b; in == out allowed. singular: some eigenvalue is zero or the decomposition failed (x is then undefined) */
  PetscErrorCode   Apply(TensorGrid &grid, bool trans, const double *b, double *x, PetscInt64 nx);
  bool             Ready() const noexcept { return ready; }
  bool             Singular() const noexcept { return singular; }
  double           SmallestEigenvalue() const noexcept { return smin; } /* in modulus; 0 for LU */
  double           LargestEigenvalue() const noexcept { return smax; }
  const KronEigen &Eigen(int j) const noexcept { return eig[j]; } /* empty where nothing was decomposed */
  bool             Definite() const noexcept { return positive; }
  const char      *Method() const noexcept { return method; }
  void             Reset() noexcept { ready = false; }

private:
  bool                                        ready = false, singular = false, lu = false, positive = false, onesided = false;
  const char                                 *method = "";
  int                                         d      = 0;
  double                                      shift = 0, smin = 0, smax = 0;
  std::vector<double>                         coeff;
  std::vector<KronEigen>                      eig;
  std::vector<std::vector<const double *>>    lambda;   /* [term][dimension]; NULL: ones */
  std::vector<ModeOp>                         fwd, bwd; /* V^-1 and V, or LU solves */
  std::vector<std::vector<double>>            lua;      /* LU factors, or inverses */
  std::vector<std::vector<PetscBLASInt>>      piv;
  std::vector<std::shared_ptr<const EvenOdd>> inverses; /* of definite centrosymmetric factors */
};

} // namespace skean

/* What PC skeankron and SkeanGP need from a Mat skeankron */
struct SkeanKronData {
  std::shared_ptr<skean::TensorGrid> grid;
  int                                d = 0;
  std::vector<skean::KronTerm>       terms;
  skean::TensorSizes                 m{}, n{};
  double                             shift   = 0;
  bool                               masked  = false;
  double                             outside = 1; /* diagonal where masked out */
  std::vector<unsigned char>         mask;        /* home box: 1 inside */
  skean::KronInverse                 inverse;
  std::vector<double>                tmp;
};
SKEAN_INTERN PetscErrorCode MatSkeanKronGetData_Private(Mat A, SkeanKronData **data);
SKEAN_INTERN PetscErrorCode MatCreate_SkeanKron(Mat A);
SKEAN_INTERN PetscErrorCode PCCreate_SkeanKron(PC pc);
