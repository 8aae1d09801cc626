/* Factors of Kronecker products, their eigendecompositions, and the inverse of a sum of products; see kron.hpp */
#include <skean/private/kron.hpp>
#include <skean/private/reduce.hpp>
#include <petscblaslapack.h>
#include <algorithm>
#include <cmath>
#include <limits>

namespace skean {

/* ---- factors --------------------------------------------------------------------------------------------------------------- */

KronFactor KronFactor::Identity(PetscInt64 n)
{
  KronFactor f;
  f.m = f.n  = n;
  f.toeplitz = true;
  return f;
}

KronFactor KronFactor::Diagonal(std::vector<double> diag)
{
  KronFactor f;
  f.kind = DIAGONAL;
  f.m = f.n = static_cast<PetscInt64>(diag.size());
  for (size_t i = 0; i < diag.size(); ++i) f.centrosymmetric = f.centrosymmetric && diag[i] == diag[diag.size() - 1 - i];
  f.a = std::make_shared<const std::vector<double>>(std::move(diag));
  return f;
}

KronFactor KronFactor::Dense(PetscInt64 m, PetscInt64 n, std::vector<double> a)
{
  KronFactor f;
  f.kind = DENSE;
  f.m    = m;
  f.n    = n;
  if (m != n)
    f.symmetric = f.centrosymmetric = false;
  else {
    /* symmetric and persymmetric in the last bit: covariance matrices of uniform grids are, by construction */
    f.toeplitz = true;
    for (PetscInt64 j = 0; j < n; ++j)
      for (PetscInt64 i = 0; i < m; ++i) {
        if (a[i + j * m] != a[j + i * m]) f.symmetric = false;
        if (a[i + j * m] != a[(m - 1 - i) + (m - 1 - j) * m]) f.centrosymmetric = false;
        if (i && j && a[i + j * m] != a[i - 1 + (j - 1) * m]) f.toeplitz = false;
      }
  }
  if (f.centrosymmetric && n >= EvenOdd::kLeast) f.parts = EvenOdd::Matrix(n, a.data());
  f.a = std::make_shared<const std::vector<double>>(std::move(a));
  return f;
}

PetscErrorCode KronFactor::FromMat(Mat F, KronFactor *factor)
{
  PetscMPIInt size;
  PetscInt    m, n;
  PetscBool   dense, constant;

  PetscFunctionBegin;
  PetscCheck(F, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "A factor of a Kronecker product is missing");
  PetscCallMPI(MPI_Comm_size(PetscObjectComm((PetscObject)F), &size));
  PetscCheck(size == 1, PetscObjectComm((PetscObject)F), PETSC_ERR_ARG_WRONG,
             "A factor of a Kronecker product is a sequential matrix, the same on every process; this one is distributed over %d processes", size);
  PetscCall(MatGetSize(F, &m, &n));
  PetscCall(PetscObjectBaseTypeCompare((PetscObject)F, MATSEQDENSE, &dense));
  PetscCall(PetscObjectTypeCompare((PetscObject)F, MATCONSTANTDIAGONAL, &constant));
  if (constant) {
    PetscScalar value = 1.0;
    Vec         v;

    PetscCall(MatCreateVecs(F, &v, NULL));
    PetscCall(MatGetDiagonal(F, v));
    if (n) {
      const PetscScalar *p;
      PetscCall(VecGetArrayRead(v, &p));
      value = p[0];
      PetscCall(VecRestoreArrayRead(v, &p));
    }
    PetscCall(VecDestroy(&v));
    PetscCallCXX(*factor = value == 1.0 ? Identity(n) : Diagonal(std::vector<double>(n, value)));
  } else if (dense) {
    const PetscScalar  *p;
    PetscInt            lda;
    std::vector<double> a;

    PetscCall(MatDenseGetLDA(F, &lda));
    PetscCall(MatDenseGetArrayRead(F, &p));
    PetscCallCXX(a.resize(static_cast<size_t>(m) * n));
    for (PetscInt j = 0; j < n; ++j) std::copy(p + static_cast<size_t>(j) * lda, p + static_cast<size_t>(j) * lda + m, a.data() + static_cast<size_t>(j) * m);
    PetscCall(MatDenseRestoreArrayRead(F, &p));
    PetscCallCXX(*factor = Dense(m, n, std::move(a)));
  } else {
    std::vector<PetscInt> ia(1, 0), ja;
    std::vector<double>   v;
    bool                  diagonal = m == n, identity = m == n;

    for (PetscInt i = 0; i < m; ++i) {
      PetscInt           nc;
      const PetscInt    *c;
      const PetscScalar *x;
      PetscCall(MatGetRow(F, i, &nc, &c, &x));
      PetscCallCXX({
        for (PetscInt k = 0; k < nc; ++k) {
          if (x[k] == 0.0) continue;
          ja.push_back(c[k]);
          v.push_back(x[k]);
          if (c[k] != i) diagonal = false;
        }
        ia.push_back(static_cast<PetscInt>(ja.size()));
      });
      PetscCall(MatRestoreRow(F, i, &nc, &c, &x));
    }
    if (diagonal) {
      std::vector<double> dg;
      PetscCallCXX(dg.assign(n, 0.0));
      for (PetscInt i = 0; i < m; ++i) {
        if (ia[i + 1] > ia[i]) dg[i] = v[ia[i]];
        identity = identity && dg[i] == 1.0;
      }
      PetscCallCXX(*factor = identity ? Identity(n) : Diagonal(std::move(dg)));
    } else {
      PetscCallCXX({
        factor->kind            = SPARSE;
        factor->m               = m;
        factor->n               = n;
        factor->ia              = std::make_shared<const std::vector<PetscInt>>(std::move(ia));
        factor->ja              = std::make_shared<const std::vector<PetscInt>>(std::move(ja));
        factor->a               = std::make_shared<const std::vector<double>>(std::move(v));
        factor->symmetric       = false;
        factor->centrosymmetric = false;
        if (m == n) {
          /* structure by the dense form: factors are small */
          const KronFactor full   = Dense(m, n, factor->ToDense());
          factor->symmetric       = full.symmetric;
          factor->centrosymmetric = full.centrosymmetric;
          factor->toeplitz        = full.toeplitz;
        }
      });
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

ModeOp KronFactor::Op(bool trans) const
{
  ModeOp o;

  switch (kind) {
  case IDENTITY:
    return ModeOp::Identity(n);
  case DIAGONAL:
    return ModeOp::Diagonal(n, a->data());
  case DENSE:
    return parts ? ModeOp::Parts(parts.get(), trans) : ModeOp::Dense(m, n, a->data(), m, trans);
  case SPARSE:
    o.kind  = ModeOp::SPARSE;
    o.trans = trans;
    o.m     = trans ? n : m;
    o.n     = trans ? m : n;
    o.ia    = ia->data();
    o.ja    = ja->data();
    o.a     = a->data();
    return o;
  }
  return o;
}

std::vector<double> KronFactor::ToDense() const
{
  if (kind == DENSE) return *a;
  std::vector<double> x(static_cast<size_t>(m) * n, 0.0);
  for (PetscInt64 i = 0; i < m; ++i) {
    if (kind == IDENTITY)
      x[i + i * m] = 1.0;
    else if (kind == DIAGONAL)
      x[i + i * m] = (*a)[i];
    else
      for (PetscInt k = (*ia)[i]; k < (*ia)[i + 1]; ++k) x[i + (*ja)[k] * m] += (*a)[k];
  }
  return x;
}

bool KronFactor::Same(const KronFactor &o) const noexcept
{
  if (kind != o.kind || m != o.m || n != o.n) return false;
  if (kind == IDENTITY || a == o.a) return true;
  return *a == *o.a && (kind != SPARSE || (*ia == *o.ia && *ja == *o.ja));
}

const char *KronFactor::Describe() const noexcept
{
  switch (kind) {
  case IDENTITY:
    return "identity";
  case DIAGONAL:
    return "diagonal";
  case SPARSE:
    return symmetric ? "sparse symmetric" : "sparse";
  case DENSE:
    return m != n ? "dense rectangular" : symmetric ? (toeplitz ? "symmetric Toeplitz" : "dense symmetric") : (toeplitz ? "Toeplitz" : "dense");
  }
  return "";
}

double KronFactor::Checksum() const noexcept
{
  double s = static_cast<double>(m) * 3 + static_cast<double>(n) * 5 + kind * 7;
  if (a)
    for (size_t i = 0; i < a->size(); ++i)
      if (std::isfinite((*a)[i])) s += (*a)[i] * static_cast<double>(i % 1013 + 1);
  return s;
}

KronFactor KronFactor::Transposed() const
{
  if (kind == IDENTITY || kind == DIAGONAL) return *this;
  const std::vector<double> x = ToDense();
  std::vector<double>       y(x.size());
  for (PetscInt64 j = 0; j < n; ++j)
    for (PetscInt64 i = 0; i < m; ++i) y[j + i * n] = x[i + j * m];
  return Dense(n, m, std::move(y));
}

KronFactor KronFactor::Product(const KronFactor &A, const KronFactor &B)
{
  if (A.kind == IDENTITY) return B;
  if (B.kind == IDENTITY) return A;
  if (A.kind == DIAGONAL && B.kind == DIAGONAL) {
    std::vector<double> x = *A.a;
    for (size_t i = 0; i < x.size(); ++i) x[i] *= (*B.a)[i];
    return Diagonal(std::move(x));
  }
  std::vector<double> b = B.ToDense(), c(static_cast<size_t>(A.m) * B.n), scratch;
  ModeProduct(A.Op(false), B.n, B.m, A.m, 1, 0, 1, b.data(), c.data(), scratch);
  return Dense(A.m, B.n, std::move(c));
}

/* A <- A^-1, both triangles; false if it is not positive definite to rounding */
static bool InvertDefinite(PetscInt64 n, double *A)
{
  PetscBLASInt bn = static_cast<PetscBLASInt>(n), info;
  LAPACKpotrf_("L", &bn, A, &bn, &info);
  if (!info) LAPACKpotri_("L", &bn, A, &bn, &info);
  for (PetscInt64 c = 0; c < n; ++c)
    for (PetscInt64 r = 0; r < c; ++r) A[r + c * n] = A[c + r * n];
  return info == 0;
}

/* ---- inverse ------------------------------------------------------------------------------------------------------------------- */

PetscErrorCode KronInverse::SetUp(const TensorGrid &grid, const std::vector<KronTerm> &terms, double s)
{
  const MPI_Comm comm = grid.Comm();
  const int      T    = static_cast<int>(terms.size());

  PetscFunctionBegin;
  PetscCheck(T > 0, comm, PETSC_ERR_ARG_WRONGSTATE, "The Kronecker operator has no term");
  for (const KronTerm &t : terms)
    for (const KronFactor &f : t.f)
      PetscCheck(f.m == f.n, comm, PETSC_ERR_SUP, "A Kronecker operator with a %" PetscInt64_FMT " x %" PetscInt64_FMT " factor has no inverse", f.m, f.n);
  d        = grid.Dim();
  shift    = s;
  singular = lu = onesided = false;
  smin = smax = 0;
  positive    = false;
  PetscCallCXX({
    coeff.clear();
    for (const KronTerm &t : terms) coeff.push_back(t.coeff);
    eig.assign(d, KronEigen());
    lambda.assign(T, std::vector<const double *>(d, nullptr));
    fwd.assign(d, ModeOp());
    bwd.assign(d, ModeOp());
    lua.assign(d, std::vector<double>());
    inverses.assign(d, nullptr);
    piv.assign(d, std::vector<PetscBLASInt>());
  });

  /* 1. One term without shift whose factors are not all symmetric: each factor is inverted by its LU factors */
  bool symmetric = true;
  for (const KronTerm &t : terms)
    for (const KronFactor &f : t.f) symmetric = symmetric && f.symmetric;
  if (T == 1 && shift == 0.0 && !symmetric) {
    lu     = true;
    method = "LU of each factor";
    if (coeff[0] == 0.0) singular = true;
    for (int j = 0; j < d; ++j) {
      const KronFactor &f = terms[0].f[j];
      ModeOp            o = ModeOp::Identity(f.n);
      if (f.kind != KronFactor::IDENTITY) {
        PetscBLASInt bn = static_cast<PetscBLASInt>(f.n), info;
        PetscCallCXX(lua[j] = f.ToDense());
        PetscCallCXX(piv[j].resize(f.n));
        LAPACKgetrf_(&bn, &bn, lua[j].data(), &bn, piv[j].data(), &info);
        if (info) singular = true;
        o.kind = ModeOp::LU;
        o.a    = lua[j].data();
        o.lda  = f.n;
        o.piv  = piv[j].data();
      }
      bwd[j] = o;
    }
    bool any;
    PetscCall(AgreeAny(comm, singular, &any));
    singular = any;
    ready    = true;
    PetscFunctionReturn(PETSC_SUCCESS);
  }

  /* 2. Which matrices meet along each dimension: none, one (with or without identities), or two without an identity */
  std::vector<int>  first(d, -1), second(d, -1);
  std::vector<bool> pencils(d, true);
  for (int j = 0; j < d; ++j) {
    bool identity = shift != 0.0;
    for (int t = 0; t < T; ++t) {
      const KronFactor &f = terms[t].f[j];
      if (f.kind == KronFactor::IDENTITY)
        identity = true;
      else if (first[j] < 0 || f.Same(terms[first[j]].f[j]))
        first[j] = first[j] < 0 ? t : first[j];
      else if (second[j] < 0 || f.Same(terms[second[j]].f[j]))
        second[j] = second[j] < 0 ? t : second[j];
      else
        PetscCheck(false, comm, PETSC_ERR_SUP,
                   "More than two different factors along dimension %d: the sum of Kronecker products has no common eigenvectors; use it with an iterative KSP",
                   j);
    }
    PetscCheck(second[j] < 0 || !identity, comm, PETSC_ERR_SUP,
               "Two different factors and an identity%s meet along dimension %d: no common eigenvectors; use an iterative KSP with the sum of two of the terms "
               "as preconditioner",
               shift != 0.0 ? " (the shift)" : "", j);
  }
  method = "fast diagonalisation";

  /* 3. Decompositions */
  std::vector<KronEigenProblem>    problems;
  std::vector<int>                 which(d, -1);
  std::vector<std::vector<double>> store(2 * d);
  PetscCallCXX({
    const auto Array = [](const KronFactor &f, std::vector<double> &room) {
      if (f.kind == KronFactor::DENSE) return f.a->data();
      room = f.ToDense();
      return static_cast<const double *>(room.data());
    };
    for (int j = 0; j < d; ++j) {
      if (first[j] < 0) continue;
      const KronFactor &f = terms[first[j]].f[j];
      eig[j].n            = f.n;
      if (f.kind == KronFactor::DIAGONAL && second[j] < 0) {
        eig[j].lambda = *f.a;
        continue;
      }
      KronEigenProblem p;
      p.kind = second[j] >= 0 ? KronEigenProblem::PENCIL : f.symmetric ? KronEigenProblem::SYMMETRIC : KronEigenProblem::GENERAL;
      p.n    = f.n;
      p.A    = Array(f, store[2 * j]);
      if (second[j] >= 0) {
        const KronFactor &g = terms[second[j]].f[j];
        pencils[j]          = f.symmetric && g.symmetric;
        p.B                 = Array(g, store[2 * j + 1]);
      }
      p.eig    = &eig[j];
      which[j] = static_cast<int>(problems.size());
      problems.push_back(p);
    }
  });
  for (int j = 0; j < d; ++j)
    PetscCheck(pencils[j], comm, PETSC_ERR_SUP, "The two factors along dimension %d are no symmetric pencil with one of them positive definite", j);
  PetscCall(KronEigenSolve(comm, &problems));
  for (int j = 0; j < d; ++j) {
    if (which[j] < 0) continue;
    const KronEigenProblem &p   = problems[which[j]];
    const bool              bad = p.result == KronEigenProblem::FAILED;
    PetscCheck(!bad || p.kind != KronEigenProblem::PENCIL, comm, PETSC_ERR_SUP,
               "The two factors along dimension %d are no symmetric pencil with one of them positive definite", j);
    PetscCheck(!bad || p.kind != KronEigenProblem::GENERAL, comm, PETSC_ERR_SUP,
               "The factor along dimension %d is not symmetric and has complex or ill-conditioned eigenvectors: no fast diagonalisation; use an iterative KSP",
               j);
    PetscCheck(!bad, comm, PETSC_ERR_LIB, "The eigendecomposition of the factor along dimension %d failed (not finite, or no convergence of LAPACK)", j);
  }
  for (int j = 0; j < d; ++j) {
    KronEigen &e = eig[j];
    fwd[j] = bwd[j] = ModeOp::Identity(terms[0].f[j].n);
    if (first[j] < 0) continue;
    if (which[j] >= 0) {
      bwd[j] = e.Op(false);
      fwd[j] = e.InverseOp();
    }
    /* the pencil may have been taken the other way round */
    const int carrier = which[j] >= 0 && problems[which[j]].result == KronEigenProblem::SWAPPED ? second[j] : first[j];
    for (int t = 0; t < T; ++t)
      if (terms[t].f[j].kind != KronFactor::IDENTITY && terms[t].f[j].Same(terms[carrier].f[j])) lambda[t][j] = e.lambda.data();
  }

  /* 4. The extremes of the spectrum, each process its part of it */
  double e[3] = {-std::numeric_limits<double>::infinity(), 0.0, 0.0};
  ForSpectrum(grid.Home(), shift, coeff, lambda, [&](PetscInt64, double v) {
    e[0] = std::max(e[0], -std::abs(v));
    e[1] = std::max(e[1], std::abs(v));
    if (!(v > 0)) e[2] = 1.0;
  });
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, e, 3, MPI_DOUBLE, MPI_MAX, comm));
  smin     = -e[0];
  smax     = e[1];
  positive = e[2] == 0.0;
  singular = !(smin > 0.0);

  /* 5. One term without shift: the inverse of a positive definite factor takes one product instead of two, and Cholesky loses fewer digits than eigenvalues,
     which are known to an accuracy relative to the largest one only (Brownian motion: n instead of n^2 units of rounding) */
  if (T == 1 && shift == 0.0 && !singular) {
    onesided = true;
    for (int j = 0; j < d; ++j) {
      const PetscInt64 n = eig[j].n;
      if (first[j] < 0 || which[j] < 0 || eig[j].transform || problems[which[j]].kind != KronEigenProblem::SYMMETRIC) continue;
      const double       *A     = problems[which[j]].A;
      const bool          split = eig[j].parts != nullptr;
      std::vector<double> inv, odd;
      bool                bad, failed;
      if (split)
        PetscCallCXX(SplitCentro(n, A, &inv, &odd));
      else
        PetscCallCXX(inv.assign(A, A + n * n));
      bad = !InvertDefinite(split ? n - n / 2 : n, inv.data()) || (split && !InvertDefinite(n / 2, odd.data()));
      PetscCall(AgreeAny(comm, bad, &failed));
      if (failed) continue; /* not definite */
      if (split) {
        PetscCallCXX(inverses[j] = EvenOdd::Join(n, std::move(inv), std::move(odd)));
        fwd[j] = ModeOp::Parts(inverses[j].get());
      } else {
        PetscCallCXX(lua[j] = std::move(inv));
        fwd[j] = ModeOp::Dense(n, n, lua[j].data(), n);
      }
      bwd[j]       = ModeOp::Identity(n);
      lambda[0][j] = nullptr;
      method       = "fast diagonalisation and inverses of definite factors";
    }
  }
  ready = true;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KronInverse::Apply(TensorGrid &grid, bool trans, const double *b, double *x, PetscInt64 nx)
{
  std::vector<ModeOp> f(d), g(d);

  PetscFunctionBegin;
  PetscCheck(ready, PETSC_COMM_SELF, PETSC_ERR_PLIB, "The inverse is not set up");
  if (onesided) trans = false; /* symmetric */
  for (int j = 0; j < d; ++j) {
    f[j] = trans ? bwd[j].Transposed() : fwd[j];
    g[j] = trans ? (lu ? bwd[j] : fwd[j]).Transposed() : bwd[j];
  }
  TensorPipe pipe(grid, grid.Sizes(), 0, b, x, nx);
  if (lu) {
    double *p;
    PetscCall(pipe.Forward(g.data()));
    PetscCall(pipe.Move(0));
    PetscCall(pipe.Data(&p));
    for (PetscInt64 i = 0, v = pipe.Box().Volume(); i < v; ++i) p[i] /= coeff[0];
    PetscCall(pipe.Finish());
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  double *p;
  PetscCall(pipe.Forward(f.data()));
  PetscCall(pipe.Data(&p));
  ForSpectrum(pipe.Box(), shift, coeff, lambda, [&](PetscInt64 at, double v) { p[at] /= v; });
  PetscCall(pipe.Backward(g.data()));
  PetscCall(pipe.Finish());
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace skean
