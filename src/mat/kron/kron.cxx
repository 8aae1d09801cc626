/*
   Mat type skeankron: a sum of Kronecker products plus a multiple of the identity, optionally restricted by a mask.

   y = A x: for each term the products along the modes that are local at home, one redistribution, the products along the others, and
   back; terms whose other factors are identities (those of a Kronecker sum) do not leave home. Arrays besides x and y: one for the
   redistribution, one more with several terms.
*/
#include <skean/private/kron.hpp> /*I "skeankron.h" I*/
#include <skean/private/reduce.hpp>
#include <skeankron.h>
#include <petsc/private/matimpl.h>
#include <algorithm>
#include <cmath>

using namespace skean;

static SkeanKronData *Data(Mat A)
{
  return static_cast<SkeanKronData *>(A->data);
}

PetscErrorCode MatSkeanKronGetData_Private(Mat A, SkeanKronData **data)
{
  PetscBool is;

  PetscFunctionBegin;
  PetscCheck(A, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null matrix");
  PetscCall(PetscObjectTypeCompare((PetscObject)A, MATSKEANKRON, &is));
  PetscCheck(is, PetscObjectComm((PetscObject)A), PETSC_ERR_ARG_WRONG, "The matrix has type %s, not %s",
             ((PetscObject)A)->type_name ? ((PetscObject)A)->type_name : "none", MATSKEANKRON);
  *data = Data(A);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y = c (x F_j) x, or its transpose, for one term; x == y allowed for square factors */
static PetscErrorCode ApplyTerm(SkeanKronData *k, const KronTerm &t, bool trans, const double *x, double *y, PetscInt64 ny)
{
  ModeOp  op[kTensorMaxDim];
  double *p;

  PetscFunctionBegin;
  for (int j = 0; j < k->d; ++j) op[j] = t.f[j].Op(trans);
  TensorPipe pipe(*k->grid, trans ? k->m : k->n, 0, x, y, ny);
  PetscCall(pipe.Forward(op));
  PetscCall(pipe.Move(0));
  PetscCall(pipe.Finish());
  if (t.coeff != 1.0) {
    PetscCall(pipe.Data(&p));
    for (PetscInt64 i = 0; i < ny; ++i) p[i] *= t.coeff;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Multiply(Mat A, bool trans, Vec xv, Vec yv)
{
  SkeanKronData *k = Data(A);
  const double  *x;
  double        *y;
  PetscInt       nx, ny;

  PetscFunctionBegin;
  PetscCheck(!k->terms.empty(), PetscObjectComm((PetscObject)A), PETSC_ERR_ARG_WRONGSTATE, "The Kronecker operator has no term; call MatSkeanKronAddTerm()");
  PetscCall(VecGetLocalSize(xv, &nx));
  PetscCall(VecGetLocalSize(yv, &ny));
  PetscCall(VecGetArrayRead(xv, &x));
  PetscCall(VecGetArrayWrite(yv, &y));
  const double *src = x;
  if (k->masked) {
    /* restricted in y, from where the first term may go on in place */
    if (k->terms.size() > 1) PetscCallCXX(k->tmp.resize(2 * static_cast<size_t>(ny)));
    double *r = k->terms.size() > 1 ? k->tmp.data() + ny : y;
    for (PetscInt i = 0; i < ny; ++i) r[i] = k->mask[i] ? x[i] : 0.0;
    src = r;
  } else if (k->terms.size() > 1)
    PetscCallCXX(k->tmp.resize(ny));
  for (size_t t = 0; t < k->terms.size(); ++t) {
    if (!t)
      PetscCall(ApplyTerm(k, k->terms[t], trans, src, y, ny));
    else {
      PetscCall(ApplyTerm(k, k->terms[t], trans, src, k->tmp.data(), ny));
      for (PetscInt i = 0; i < ny; ++i) y[i] += k->tmp[i];
    }
  }
  if (k->shift != 0.0)
    for (PetscInt i = 0; i < ny; ++i) y[i] += k->shift * x[i];
  if (k->masked)
    for (PetscInt i = 0; i < ny; ++i)
      if (!k->mask[i]) y[i] = k->outside * x[i];
  PetscCall(VecRestoreArrayWrite(yv, &y));
  PetscCall(VecRestoreArrayRead(xv, &x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatMult_SkeanKron(Mat A, Vec x, Vec y)
{
  PetscFunctionBegin;
  PetscCall(Multiply(A, false, x, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatMultTranspose_SkeanKron(Mat A, Vec x, Vec y)
{
  PetscFunctionBegin;
  PetscCall(Multiply(A, true, x, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MultiplyAdd(Mat A, bool trans, Vec x, Vec z, Vec y)
{
  Vec w;

  PetscFunctionBegin;
  PetscCall(VecDuplicate(y, &w));
  PetscCall(Multiply(A, trans, x, w));
  if (y == z)
    PetscCall(VecAXPY(y, 1.0, w));
  else
    PetscCall(VecWAXPY(y, 1.0, w, z));
  PetscCall(VecDestroy(&w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatMultAdd_SkeanKron(Mat A, Vec x, Vec z, Vec y)
{
  PetscFunctionBegin;
  PetscCall(MultiplyAdd(A, false, x, z, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatMultTransposeAdd_SkeanKron(Mat A, Vec x, Vec z, Vec y)
{
  PetscFunctionBegin;
  PetscCall(MultiplyAdd(A, true, x, z, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatGetDiagonal_SkeanKron(Mat A, Vec v)
{
  SkeanKronData                                *k = Data(A);
  std::vector<double>                           coeff;
  std::vector<std::vector<std::vector<double>>> diag;
  std::vector<std::vector<const double *>>      ptr;
  double                                       *p;

  PetscFunctionBegin;
  PetscCheck(k->m == k->n, PetscObjectComm((PetscObject)A), PETSC_ERR_SUP, "The diagonal of a Kronecker operator with rectangular factors");
  PetscCallCXX({
    for (const KronTerm &t : k->terms) {
      coeff.push_back(t.coeff);
      diag.emplace_back(k->d);
      ptr.emplace_back(k->d, nullptr);
      for (int j = 0; j < k->d; ++j) {
        if (t.f[j].kind == KronFactor::IDENTITY) continue;
        const std::vector<double> full = t.f[j].ToDense();
        diag.back()[j].resize(t.f[j].n);
        for (PetscInt64 i = 0; i < t.f[j].n; ++i) diag.back()[j][i] = full[i * (t.f[j].n + 1)];
      }
    }
    for (size_t t = 0; t < diag.size(); ++t)
      for (int j = 0; j < k->d; ++j)
        if (!diag[t][j].empty()) ptr[t][j] = diag[t][j].data();
  });
  PetscCall(VecGetArrayWrite(v, &p));
  ForSpectrum(k->grid->Home(), k->shift, coeff, ptr, [&](PetscInt64 at, double value) { p[at] = value; });
  if (k->masked)
    for (size_t i = 0; i < k->mask.size(); ++i)
      if (!k->mask[i]) p[i] = k->outside;
  PetscCall(VecRestoreArrayWrite(v, &p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Solve(Mat A, bool trans, Vec bv, Vec xv)
{
  SkeanKronData *k = Data(A);
  const double  *b;
  double        *x;
  PetscInt       nx;

  PetscFunctionBegin;
  PetscCheck(!k->masked, PetscObjectComm((PetscObject)A), PETSC_ERR_SUP,
             "A masked Kronecker operator has no direct solve; use -ksp_type cg -pc_type skeankron");
  if (!k->inverse.Ready()) PetscCall(k->inverse.SetUp(*k->grid, k->terms, k->shift));
  PetscCheck(!k->inverse.Singular(), PetscObjectComm((PetscObject)A), PETSC_ERR_MAT_LU_ZRPVT, "The Kronecker operator is singular");
  PetscCall(VecGetLocalSize(xv, &nx));
  PetscCall(VecGetArrayRead(bv, &b));
  PetscCall(VecGetArrayWrite(xv, &x));
  PetscCall(k->inverse.Apply(*k->grid, trans, b, x, nx));
  PetscCall(VecRestoreArrayWrite(xv, &x));
  PetscCall(VecRestoreArrayRead(bv, &b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatSolve_SkeanKron(Mat A, Vec b, Vec x)
{
  PetscFunctionBegin;
  PetscCall(Solve(A, false, b, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatSolveTranspose_SkeanKron(Mat A, Vec b, Vec x)
{
  PetscFunctionBegin;
  PetscCall(Solve(A, true, b, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatScale_SkeanKron(Mat A, PetscScalar a)
{
  SkeanKronData *k = Data(A);

  PetscFunctionBegin;
  for (KronTerm &t : k->terms) t.coeff *= a;
  k->shift *= a;
  k->outside *= a;
  k->inverse.Reset();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatShift_SkeanKron(Mat A, PetscScalar a)
{
  SkeanKronData *k = Data(A);

  PetscFunctionBegin;
  PetscCheck(k->m == k->n, PetscObjectComm((PetscObject)A), PETSC_ERR_SUP, "A shift of a Kronecker operator with rectangular factors");
  k->shift += a;
  k->outside += a;
  k->inverse.Reset();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatDuplicate_SkeanKron(Mat A, MatDuplicateOption, Mat *B)
{
  SkeanKronData *k = Data(A), *c;

  PetscFunctionBegin;
  PetscCall(MatCreate(PetscObjectComm((PetscObject)A), B));
  PetscCall(MatSetSizes(*B, A->rmap->n, A->cmap->n, A->rmap->N, A->cmap->N));
  PetscCall(MatSetType(*B, MATSKEANKRON));
  c = Data(*B);
  PetscCallCXX({
    c->grid    = k->grid;
    c->d       = k->d;
    c->terms   = k->terms;
    c->m       = k->m;
    c->n       = k->n;
    c->shift   = k->shift;
    c->masked  = k->masked;
    c->outside = k->outside;
    c->mask    = k->mask;
  });
  PetscCall(MatSetUp(*B));
  (*B)->assembled    = PETSC_TRUE;
  (*B)->preallocated = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The whole matrix, rows as A's: for tests and small operators. Column c of the global order is the entry of some process's box */
static PetscErrorCode MatConvert_SkeanKron_Dense(Mat A, MatType, MatReuse reuse, Mat *newmat)
{
  SkeanKronData                                *k    = Data(A);
  const MPI_Comm                                comm = PetscObjectComm((PetscObject)A);
  PetscMPIInt                                   size;
  Mat                                           B;
  double                                       *b;
  PetscInt                                      lda;
  std::vector<std::vector<std::vector<double>>> full;

  PetscFunctionBegin;
  PetscCheck(reuse != MAT_REUSE_MATRIX, comm, PETSC_ERR_SUP, "MatConvert() of a Kronecker operator into an existing matrix");
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(MatCreateDense(comm, A->rmap->n, A->cmap->n, A->rmap->N, A->cmap->N, NULL, &B));
  PetscCallCXX(for (const KronTerm &t
                    : k->terms) {
    full.emplace_back();
    for (const KronFactor &f : t.f) full.back().push_back(f.ToDense());
  });
  PetscCall(MatDenseGetArrayWrite(B, &b));
  PetscCall(MatDenseGetLDA(B, &lda));
  const TensorBox rows   = k->grid->Box(0, k->m);
  const PetscInt  rstart = A->rmap->rstart;
  PetscInt64      col    = 0;
  const auto      Each   = [](const TensorBox &box, const auto &f) {
    PetscInt64 idx[kTensorMaxDim];
    if (box.Volume() <= 0) return;
    for (int j = 0; j < box.d; ++j) idx[j] = box.lo[j];
    for (PetscInt64 at = 0;; ++at) {
      f(at, idx);
      int j = box.d - 1;
      for (; j >= 0; --j) {
        if (++idx[j] < box.hi[j]) break;
        idx[j] = box.lo[j];
      }
      if (j < 0) return;
    }
  };
  for (int r = 0; r < size; ++r) {
    const TensorBox cols = k->grid->Box(0, k->n, r);
    Each(cols, [&](PetscInt64, const PetscInt64 *ci) {
      Each(rows, [&](PetscInt64 at, const PetscInt64 *ri) {
        double v = rstart + at == col ? k->shift : 0.0;
        for (size_t t = 0; t < full.size(); ++t) {
          double p = k->terms[t].coeff;
          for (int j = 0; j < k->d; ++j) p *= full[t][j][ri[j] + ci[j] * k->m[j]];
          v += p;
        }
        b[at + static_cast<PetscInt64>(lda) * col] = v;
      });
      ++col;
    });
  }
  if (k->masked) {
    /* columns outside: gathered, since every process needs all of them */
    std::vector<PetscMPIInt>   cnt(size), off(size);
    std::vector<unsigned char> all;
    for (int r = 0; r < size; ++r) {
      off[r] = static_cast<PetscMPIInt>(r ? off[r - 1] + cnt[r - 1] : 0);
      cnt[r] = static_cast<PetscMPIInt>(std::max<PetscInt64>(0, k->grid->Box(0, k->n, r).Volume()));
    }
    PetscCallCXX(all.resize(A->cmap->N));
    PetscCallMPI(MPI_Allgatherv(k->mask.data(), static_cast<PetscMPIInt>(k->mask.size()), MPI_BYTE, all.data(), cnt.data(), off.data(), MPI_BYTE, comm));
    for (PetscInt c = 0; c < A->cmap->N; ++c)
      for (PetscInt i = 0; i < A->rmap->n; ++i)
        if (!all[c] || !k->mask[i]) b[i + static_cast<PetscInt64>(lda) * c] = rstart + i == c ? k->outside : 0.0;
  }
  PetscCall(MatDenseRestoreArrayWrite(B, &b));
  PetscCall(MatAssemblyBegin(B, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(B, MAT_FINAL_ASSEMBLY));
  if (reuse == MAT_INPLACE_MATRIX)
    PetscCall(MatHeaderReplace(A, &B));
  else
    *newmat = B;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatView_SkeanKron(Mat A, PetscViewer viewer)
{
  SkeanKronData *k = Data(A);
  PetscBool      ascii;

  PetscFunctionBegin;
  PetscCall(PetscObjectTypeCompare((PetscObject)viewer, PETSCVIEWERASCII, &ascii));
  if (!ascii) PetscFunctionReturn(PETSC_SUCCESS);
  if (!k->grid) {
    PetscCall(PetscViewerASCIIPrintf(viewer, "no term yet\n"));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscViewerASCIIPrintf(viewer, "%d dimensions, %d term%s, shift %g%s\n", k->d, static_cast<int>(k->terms.size()), k->terms.size() == 1 ? "" : "s",
                                   k->shift, k->masked ? ", masked" : ""));
  for (size_t t = 0; t < k->terms.size(); ++t)
    for (int j = 0; j < k->d; ++j) {
      const KronFactor &f = k->terms[t].f[j];
      PetscCall(PetscViewerASCIIPrintf(viewer, "  term %d (coefficient %g) factor %d: %" PetscInt64_FMT " x %" PetscInt64_FMT ", %s\n", static_cast<int>(t),
                                       k->terms[t].coeff, j, f.m, f.n, f.Describe()));
    }
  for (int s = 0; s < k->grid->Stages(); ++s) {
    PetscCall(PetscViewerASCIIPrintf(viewer, "  stage %d processes:", s));
    PetscCall(PetscViewerASCIIUseTabs(viewer, PETSC_FALSE));
    for (int j = 0; j < k->d; ++j) PetscCall(PetscViewerASCIIPrintf(viewer, "%s%d", j ? " x " : " ", k->grid->Processes(s, j)));
    PetscCall(PetscViewerASCIIPrintf(viewer, "\n"));
    PetscCall(PetscViewerASCIIUseTabs(viewer, PETSC_TRUE));
  }
  if (k->inverse.Ready()) {
    PetscCall(PetscViewerASCIIPrintf(viewer, "  inverse: %s, eigenvalues from %g to %g in modulus\n", k->inverse.Method(), k->inverse.SmallestEigenvalue(),
                                     k->inverse.LargestEigenvalue()));
    for (int j = 0; j < k->d; ++j)
      if (k->inverse.Eigen(j).asymmetry > 0)
        PetscCall(PetscViewerASCIIPrintf(viewer, "  factor %d: centrosymmetric but for %g of its norm, which the inverse neglects\n", j,
                                         k->inverse.Eigen(j).asymmetry));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatDestroy_SkeanKron(Mat A)
{
  PetscFunctionBegin;
  delete Data(A);
  A->data = NULL;
  PetscCall(PetscObjectComposeFunction((PetscObject)A, "MatConvert_skeankron_dense_C", NULL));
  PetscCall(PetscObjectComposeFunction((PetscObject)A, "MatConvert_skeankron_seqdense_C", NULL));
  PetscCall(PetscObjectComposeFunction((PetscObject)A, "MatConvert_skeankron_mpidense_C", NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatSetUp_SkeanKron(Mat A)
{
  PetscFunctionBegin;
  PetscCall(PetscLayoutSetUp(A->rmap));
  PetscCall(PetscLayoutSetUp(A->cmap));
  A->preallocated = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatAssemblyEnd_SkeanKron(Mat, MatAssemblyType)
{
  PetscFunctionBegin;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- products of two operators, factor by factor: (A (x) B)(C (x) D) = AC (x) BD --------------------------------------------- */

/* Appends all products of the terms of A and B; the shift counts as a term of identities */
static PetscErrorCode ProductTerms(const SkeanKronData *a, bool ta, const SkeanKronData *b, bool tb, std::vector<KronTerm> *out, double *shift)
{
  const auto Terms = [](const SkeanKronData *k, bool trans) {
    std::vector<KronTerm> t = k->terms;
    if (trans)
      for (KronTerm &x : t)
        for (KronFactor &f : x.f) f = f.Transposed();
    return t;
  };

  PetscFunctionBegin;
  PetscCallCXX({
    const std::vector<KronTerm> A = Terms(a, ta), B = Terms(b, tb);
    for (const KronTerm &x : A) {
      for (const KronTerm &y : B) {
        KronTerm z;
        z.coeff = x.coeff * y.coeff;
        for (int j = 0; j < a->d; ++j) z.f.push_back(KronFactor::Product(x.f[j], y.f[j]));
        out->push_back(std::move(z));
      }
      if (b->shift != 0.0) {
        out->push_back(x);
        out->back().coeff *= b->shift;
      }
    }
    if (a->shift != 0.0)
      for (const KronTerm &y : B) {
        out->push_back(y);
        out->back().coeff *= a->shift;
      }
  });
  *shift = a->shift * b->shift;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetTerms(Mat A, std::vector<KronTerm> terms, double shift);

static PetscErrorCode MatProductNumeric_SkeanKron(Mat C)
{
  Mat_Product          *product = C->product;
  SkeanKronData        *a = Data(product->A), *b = Data(product->B);
  std::vector<KronTerm> terms;
  double                shift;

  PetscFunctionBegin;
  PetscCall(ProductTerms(a, product->type == MATPRODUCT_AtB, b, product->type == MATPRODUCT_ABt, &terms, &shift));
  Data(C)->terms.clear();
  PetscCall(SetTerms(C, std::move(terms), shift));
  PetscCall(PetscObjectStateIncrease((PetscObject)C));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatProductSymbolic_SkeanKron(Mat C)
{
  Mat_Product   *product = C->product;
  const bool     ta = product->type == MATPRODUCT_AtB, tb = product->type == MATPRODUCT_ABt;
  const MPI_Comm comm = PetscObjectComm((PetscObject)C);
  SkeanKronData *a = Data(product->A), *b = Data(product->B);

  PetscFunctionBegin;
  PetscCheck(a->d == b->d, comm, PETSC_ERR_ARG_SIZ, "Product of Kronecker operators with %d and %d dimensions", a->d, b->d);
  PetscCheck(!a->masked && !b->masked, comm, PETSC_ERR_SUP, "Product of masked Kronecker operators");
  for (int j = 0; j < a->d; ++j) {
    const PetscInt64 inner = ta ? a->m[j] : a->n[j], other = tb ? b->n[j] : b->m[j];
    PetscCheck(inner == other, comm, PETSC_ERR_ARG_SIZ,
               "Product of Kronecker operators: factor %d has %" PetscInt64_FMT " columns and %" PetscInt64_FMT " rows", j, inner, other);
  }
  PetscCall(MatSetType(C, MATSKEANKRON));
  C->ops->productnumeric = MatProductNumeric_SkeanKron;
  {
    /* sizes are known from the factors; the numeric phase fills in the same shapes */
    std::vector<KronTerm> terms;
    double                shift;
    PetscCall(ProductTerms(a, ta, b, tb, &terms, &shift));
    PetscCall(SetTerms(C, std::move(terms), shift));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MatProductSetFromOptions_SkeanKron(Mat C)
{
  PetscFunctionBegin;
  switch (C->product->type) {
  case MATPRODUCT_AB:
  case MATPRODUCT_AtB:
  case MATPRODUCT_ABt:
    C->ops->productsymbolic = MatProductSymbolic_SkeanKron;
    break;
  default:
    break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- creation ------------------------------------------------------------------------------------------------------------------ */

/* Appends terms; the first fixes the sizes */
static PetscErrorCode SetTerms(Mat A, std::vector<KronTerm> terms, double shift)
{
  SkeanKronData *k    = Data(A);
  const MPI_Comm comm = PetscObjectComm((PetscObject)A);

  PetscFunctionBegin;
  PetscCheck(!terms.empty(), comm, PETSC_ERR_ARG_WRONG, "A Kronecker operator needs at least one term");
  const int d = static_cast<int>(terms[0].f.size());
  PetscCheck(d >= 1 && d <= kTensorMaxDim, comm, PETSC_ERR_ARG_OUTOFRANGE, "A Kronecker operator has 1 to %d factors, not %d", kTensorMaxDim, d);
  const bool first = !k->grid;
  if (first) {
    PetscInt64 M = 1, N = 1;
    k->d = d;
    for (int j = 0; j < d; ++j) {
      k->m[j] = terms[0].f[j].m;
      k->n[j] = terms[0].f[j].n;
      PetscCheck(k->m[j] > 0 && k->n[j] > 0, comm, PETSC_ERR_ARG_SIZ, "Factor %d has size %" PetscInt64_FMT " x %" PetscInt64_FMT, j, k->m[j], k->n[j]);
      PetscCheck(static_cast<double>(M) * k->m[j] <= static_cast<double>(PETSC_MAX_INT) &&
                   static_cast<double>(N) * k->n[j] <= static_cast<double>(PETSC_MAX_INT),
                 comm, PETSC_ERR_ARG_OUTOFRANGE, "The grid has more points than this PETSc's indices can count; use a PETSc with 64-bit indices");
      M *= k->m[j];
      N *= k->n[j];
    }
    PetscCallCXX(k->grid = std::make_shared<TensorGrid>());
    PetscCall(k->grid->Create(comm, d, k->n.data()));
    PetscCall(MatSetSizes(A, static_cast<PetscInt>(std::max<PetscInt64>(0, k->grid->Box(0, k->m).Volume())),
                          static_cast<PetscInt>(std::max<PetscInt64>(0, k->grid->Home().Volume())), static_cast<PetscInt>(M), static_cast<PetscInt>(N)));
  }
  PetscBool evenodd;
  PetscCall(KronEvenOdd(&evenodd));
  double sum = 0;
  for (const KronTerm &t : terms) {
    PetscCheck(static_cast<int>(t.f.size()) == k->d, comm, PETSC_ERR_ARG_SIZ, "A term has %d factors, the operator %d dimensions", static_cast<int>(t.f.size()),
               k->d);
    for (int j = 0; j < k->d; ++j) {
      PetscCheck(t.f[j].m == k->m[j] && t.f[j].n == k->n[j], comm, PETSC_ERR_ARG_SIZ,
                 "Factor %d of a term is %" PetscInt64_FMT " x %" PetscInt64_FMT ", that of the first term %" PetscInt64_FMT " x %" PetscInt64_FMT, j, t.f[j].m,
                 t.f[j].n, k->m[j], k->n[j]);
      sum += t.f[j].Checksum() * (j + 1);
    }
    sum += t.coeff;
  }
  /* the same bits everywhere, or the processes compute with different operators */
  double range[2] = {sum, -sum};
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, range, 2, MPI_DOUBLE, MPI_MAX, comm));
  PetscCheck(range[0] == -range[1], comm, PETSC_ERR_ARG_WRONG, "The factors of the Kronecker operator are not the same on all processes");
  if (!evenodd)
    for (KronTerm &t : terms)
      for (KronFactor &f : t.f) f.parts.reset();
  PetscCallCXX(for (KronTerm &t : terms) k->terms.push_back(std::move(t)));
  k->shift += shift;
  k->inverse.Reset();
  PetscCall(MatSetUp(A));
  A->assembled = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TermFromMats(MPI_Comm comm, PetscScalar coeff, PetscInt d, Mat factors[], KronTerm *term)
{
  PetscFunctionBegin;
  PetscCheck(factors, comm, PETSC_ERR_ARG_NULL, "Null array of factors");
  PetscCheck(d >= 1 && d <= kTensorMaxDim, comm, PETSC_ERR_ARG_OUTOFRANGE, "A Kronecker operator has 1 to %d factors, not %" PetscInt_FMT, kTensorMaxDim, d);
  term->coeff = coeff;
  PetscCallCXX(term->f.resize(d));
  for (PetscInt j = 0; j < d; ++j) PetscCall(KronFactor::FromMat(factors[j], &term->f[j]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode MatCreate_SkeanKron(Mat A)
{
  SkeanKronData *k = nullptr;

  PetscFunctionBegin;
  PetscCallCXX(k = new SkeanKronData());
  A->data                       = k;
  A->ops->mult                  = MatMult_SkeanKron;
  A->ops->multtranspose         = MatMultTranspose_SkeanKron;
  A->ops->multadd               = MatMultAdd_SkeanKron;
  A->ops->multtransposeadd      = MatMultTransposeAdd_SkeanKron;
  A->ops->getdiagonal           = MatGetDiagonal_SkeanKron;
  A->ops->solve                 = MatSolve_SkeanKron;
  A->ops->solvetranspose        = MatSolveTranspose_SkeanKron;
  A->ops->scale                 = MatScale_SkeanKron;
  A->ops->shift                 = MatShift_SkeanKron;
  A->ops->duplicate             = MatDuplicate_SkeanKron;
  A->ops->view                  = MatView_SkeanKron;
  A->ops->destroy               = MatDestroy_SkeanKron;
  A->ops->setup                 = MatSetUp_SkeanKron;
  A->ops->assemblyend           = MatAssemblyEnd_SkeanKron;
  A->ops->productsetfromoptions = MatProductSetFromOptions_SkeanKron;
  PetscCall(PetscObjectComposeFunction((PetscObject)A, "MatConvert_skeankron_dense_C", MatConvert_SkeanKron_Dense));
  PetscCall(PetscObjectComposeFunction((PetscObject)A, "MatConvert_skeankron_seqdense_C", MatConvert_SkeanKron_Dense));
  PetscCall(PetscObjectComposeFunction((PetscObject)A, "MatConvert_skeankron_mpidense_C", MatConvert_SkeanKron_Dense));
  PetscCall(PetscObjectChangeTypeName((PetscObject)A, MATSKEANKRON));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanKronInitializePackage_Private(void)
{
  PetscFunctionBegin;
  PetscCall(MatRegister(MATSKEANKRON, MatCreate_SkeanKron));
  PetscCall(PCRegister(PCSKEANKRON, PCCreate_SkeanKron));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateEmpty(MPI_Comm comm, Mat *A)
{
  PetscFunctionBegin;
  PetscCheck(A, comm, PETSC_ERR_ARG_NULL, "Null pointer: A");
  PetscCall(SkeanInitializePackage());
  PetscCall(MatCreate(comm, A));
  PetscCall(MatSetType(*A, MATSKEANKRON));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   MatCreateSkeanKron - Creates the Kronecker product of small matrices

   Collective

   Input Parameters:
+  comm    - communicator of the operator
.  d       - number of factors, 1 to 8
-  factors - d sequential matrices, equal on every process: `MATDENSE`, `MATAIJ` (a diagonal one is recognised), `MATCONSTANTDIAGONAL` (1: identity); they may be rectangular

   Output Parameter:
.  A - factors[0] (x) factors[1] (x) ... (x) factors[d-1], type `MATSKEANKRON`

   Level: beginner

   Notes:
   The factors are copied; they may be destroyed. One agreement over the processes that they are the same. Memory: the factors, on every process.
   The entry of a vector with indices (i_0,...,i_{d-1}) follows the natural order, the last index fastest, when there are at most n_0
   processes; see `MATSKEANKRON` and `MatSkeanKronGetOwnershipBox()` for more.

   Errors: `PETSC_ERR_ARG_WRONG` if a factor is distributed or differs between processes; `PETSC_ERR_ARG_OUTOFRANGE` for d or a grid
   too large for the index type.

.seealso: `MATSKEANKRON`, `MatSkeanKronAddTerm()`, `MatSkeanKronSetShift()`, `MatCreateSkeanKronSum()`, `MatCreateSkeanKronTwoTerm()`, `PCSKEANKRON`
@*/
PetscErrorCode MatCreateSkeanKron(MPI_Comm comm, PetscInt d, Mat factors[], Mat *A)
{
  PetscFunctionBegin;
  PetscCall(CreateEmpty(comm, A));
  PetscCall(MatSkeanKronAddTerm(*A, 1.0, d, factors));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   MatSkeanKronAddTerm - Adds coeff factors[0] (x) ... (x) factors[d-1] to a Kronecker operator

   Collective

   Input Parameters:
+  A       - the operator, type `MATSKEANKRON`
.  coeff   - coefficient
.  d       - number of factors
-  factors - as for `MatCreateSkeanKron()`, of the sizes of the first term

   Level: intermediate

   Notes:
   A product with A costs the sum over its terms; identity factors cost nothing.

   Errors: `PETSC_ERR_ARG_SIZ` if the sizes differ from those of the first term.

.seealso: `MatCreateSkeanKron()`, `MatSkeanKronGetNumTerms()`
@*/
PetscErrorCode MatSkeanKronAddTerm(Mat A, PetscScalar coeff, PetscInt d, Mat factors[])
{
  SkeanKronData        *k = nullptr;
  std::vector<KronTerm> terms;

  PetscFunctionBegin;
  PetscCall(MatSkeanKronGetData_Private(A, &k));
  PetscCallCXX(terms.resize(1));
  PetscCall(TermFromMats(PetscObjectComm((PetscObject)A), coeff, d, factors, &terms[0]));
  PetscCall(SetTerms(A, std::move(terms), 0.0));
  PetscCall(PetscObjectStateIncrease((PetscObject)A));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   MatCreateSkeanKronSum - Creates the Kronecker sum factors[0] (x) I (x) I + I (x) factors[1] (x) I + ...

   Collective

   Input Parameters:
+  comm    - communicator of the operator
.  d       - number of factors
-  factors - d square sequential matrices, equal on every process

   Output Parameter:
.  A - the Kronecker sum, type `MATSKEANKRON`

   Level: intermediate

   Notes:
   `MatSolve()` and `PCSKEANKRON` invert it directly, with a shift too, if the factors are symmetric or have real, well-conditioned eigenvectors.

   Errors: `PETSC_ERR_ARG_SIZ` if a factor is not square.

.seealso: `MatCreateSkeanKron()`, `MatCreateSkeanKronTwoTerm()`, `MatSkeanKronSetShift()`
@*/
PetscErrorCode MatCreateSkeanKronSum(MPI_Comm comm, PetscInt d, Mat factors[], Mat *A)
{
  std::vector<KronTerm> terms;
  KronTerm              all;

  PetscFunctionBegin;
  PetscCall(TermFromMats(comm, 1.0, d, factors, &all));
  for (PetscInt j = 0; j < d; ++j)
    PetscCheck(all.f[j].m == all.f[j].n, comm, PETSC_ERR_ARG_SIZ,
               "Factor %" PetscInt_FMT " of a Kronecker sum must be square, is %" PetscInt64_FMT " x %" PetscInt64_FMT, j, all.f[j].m, all.f[j].n);
  PetscCallCXX({
    terms.resize(d);
    for (PetscInt t = 0; t < d; ++t)
      for (PetscInt j = 0; j < d; ++j) terms[t].f.push_back(j == t ? all.f[j] : KronFactor::Identity(all.f[j].n));
  });
  PetscCall(CreateEmpty(comm, A));
  PetscCall(SetTerms(*A, std::move(terms), 0.0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   MatCreateSkeanKronTwoTerm - Creates K[0] (x) ... (x) K[d-1] + L[0] (x) ... (x) L[d-1]

   Collective

   Input Parameters:
+  comm - communicator of the operator
.  d    - number of factors
.  K    - the factors of the first term, sequential and equal on every process
-  L    - the factors of the second term

   Output Parameter:
.  A - the sum, type `MATSKEANKRON`

   Level: intermediate

   Notes:
   `MatSolve()` and `PCSKEANKRON` invert it exactly through the pencils K[j] x = lambda L[j] x if, for each j, both are symmetric and one of them is positive
   definite. A shift is possible only where no three different matrices meet along a dimension.

.seealso: `MatCreateSkeanKron()`, `MatCreateSkeanKronSum()`
@*/
PetscErrorCode MatCreateSkeanKronTwoTerm(MPI_Comm comm, PetscInt d, Mat K[], Mat L[], Mat *A)
{
  PetscFunctionBegin;
  PetscCall(MatCreateSkeanKron(comm, d, K, A));
  PetscCall(MatSkeanKronAddTerm(*A, 1.0, d, L));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   MatCreateSkeanToeplitz - Creates a sequential Toeplitz matrix for use as a factor

   Not Collective

   Input Parameters:
+  n      - size
.  column - first column, n numbers
-  row    - first row, n numbers (row[0] is not used), or NULL for a symmetric matrix

   Output Parameter:
.  T - the matrix, type `MATSEQDENSE` on `PETSC_COMM_SELF`

   Level: intermediate

   Notes:
   Stored dense. Kronecker operators recognise the structure of a symmetric one: products take half the flops, its
   eigenvectors a quarter, see `PCSKEANKRON`.

.seealso: `MatCreateSkeanKron()`
@*/
PetscErrorCode MatCreateSkeanToeplitz(PetscInt n, const PetscScalar column[], const PetscScalar row[], Mat *T)
{
  PetscScalar *a;

  PetscFunctionBegin;
  PetscCheck(n >= 1, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Size %" PetscInt_FMT " of a Toeplitz matrix must be at least 1", n);
  PetscCheck(column && T, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: %s", column ? "T" : "column");
  PetscCall(MatCreateSeqDense(PETSC_COMM_SELF, n, n, NULL, T));
  PetscCall(MatDenseGetArrayWrite(*T, &a));
  for (PetscInt j = 0; j < n; ++j)
    for (PetscInt i = 0; i < n; ++i) a[i + static_cast<size_t>(j) * n] = i >= j || !row ? column[PetscAbsInt(i - j)] : row[j - i];
  PetscCall(MatDenseRestoreArrayWrite(*T, &a));
  PetscCall(MatAssemblyBegin(*T, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(*T, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   MatSkeanKronGetSizes - The sizes of the factors of a Kronecker operator

   Not Collective

   Input Parameter:
.  A - the operator

   Output Parameters:
+  d - number of dimensions, or NULL
.  m - rows of the factors, room for d numbers, or NULL
-  n - columns of the factors, room for d numbers, or NULL

   Level: beginner

.seealso: `MatCreateSkeanKron()`
@*/
PetscErrorCode MatSkeanKronGetSizes(Mat A, PetscInt *d, PetscInt m[], PetscInt n[])
{
  SkeanKronData *k = nullptr;

  PetscFunctionBegin;
  PetscCall(MatSkeanKronGetData_Private(A, &k));
  if (d) *d = k->d;
  for (int j = 0; j < k->d; ++j) {
    if (m) m[j] = static_cast<PetscInt>(k->m[j]);
    if (n) n[j] = static_cast<PetscInt>(k->n[j]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   MatSkeanKronGetNumTerms - The number of terms of a Kronecker operator, the shift not counted

   Not Collective

   Input Parameter:
.  A - the operator

   Output Parameter:
.  nterms - number of terms

   Level: beginner

.seealso: `MatSkeanKronAddTerm()`, `MatSkeanKronGetFactor()`
@*/
PetscErrorCode MatSkeanKronGetNumTerms(Mat A, PetscInt *nterms)
{
  SkeanKronData *k = nullptr;

  PetscFunctionBegin;
  PetscCall(MatSkeanKronGetData_Private(A, &k));
  PetscCheck(nterms, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: nterms");
  *nterms = static_cast<PetscInt>(k->terms.size());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   MatSkeanKronGetFactor - A copy of a factor of a Kronecker operator

   Not Collective

   Input Parameters:
+  A    - the operator
.  term - number of the term
-  dim  - number of the factor

   Output Parameters:
+  coeff - coefficient of the term, or NULL
-  F     - a new `MATSEQDENSE` on `PETSC_COMM_SELF` with the factor, or NULL; destroyed by the caller

   Level: intermediate

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for a term or factor that does not exist.

.seealso: `MatSkeanKronGetNumTerms()`, `MatSkeanKronGetSizes()`
@*/
PetscErrorCode MatSkeanKronGetFactor(Mat A, PetscInt term, PetscInt dim, PetscScalar *coeff, Mat *F)
{
  SkeanKronData *k = nullptr;

  PetscFunctionBegin;
  PetscCall(MatSkeanKronGetData_Private(A, &k));
  PetscCheck(term >= 0 && term < static_cast<PetscInt>(k->terms.size()), PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Term %" PetscInt_FMT " of %d", term,
             static_cast<int>(k->terms.size()));
  PetscCheck(dim >= 0 && dim < k->d, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Factor %" PetscInt_FMT " of %d", dim, k->d);
  if (coeff) *coeff = k->terms[term].coeff;
  if (F) {
    std::vector<double> full;
    PetscScalar        *a;
    PetscCallCXX(full = k->terms[term].f[dim].ToDense());
    PetscCall(MatCreateSeqDense(PETSC_COMM_SELF, static_cast<PetscInt>(k->m[dim]), static_cast<PetscInt>(k->n[dim]), NULL, F));
    PetscCall(MatDenseGetArrayWrite(*F, &a));
    std::copy(full.begin(), full.end(), a);
    PetscCall(MatDenseRestoreArrayWrite(*F, &a));
    PetscCall(MatAssemblyBegin(*F, MAT_FINAL_ASSEMBLY));
    PetscCall(MatAssemblyEnd(*F, MAT_FINAL_ASSEMBLY));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   MatSkeanKronSetShift - Sets the multiple s of the identity in A = sum of Kronecker products + s I

   Logically Collective

   Input Parameters:
+  A     - the operator, with square factors
-  shift - s, for instance the noise variance of a Gaussian process

   Level: beginner

   Notes:
   Replaces the shift, whereas `MatShift()` adds to it. Does not change the diagonal entries outside of a mask.

.seealso: `MatSkeanKronGetShift()`, `MatShift()`
@*/
PetscErrorCode MatSkeanKronSetShift(Mat A, PetscScalar shift)
{
  SkeanKronData *k = nullptr;

  PetscFunctionBegin;
  PetscCall(MatSkeanKronGetData_Private(A, &k));
  PetscCheck(k->m == k->n, PetscObjectComm((PetscObject)A), PETSC_ERR_SUP, "A shift of a Kronecker operator with rectangular factors");
  k->shift = shift;
  k->inverse.Reset();
  PetscCall(PetscObjectStateIncrease((PetscObject)A));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   MatSkeanKronGetShift - The multiple of the identity in a Kronecker operator

   Not Collective

   Input Parameter:
.  A - the operator

   Output Parameter:
.  shift - the shift

   Level: beginner

.seealso: `MatSkeanKronSetShift()`
@*/
PetscErrorCode MatSkeanKronGetShift(Mat A, PetscScalar *shift)
{
  SkeanKronData *k = nullptr;

  PetscFunctionBegin;
  PetscCall(MatSkeanKronGetData_Private(A, &k));
  PetscCheck(shift, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: shift");
  *shift = k->shift;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   MatSkeanKronSetMask - Restricts a Kronecker operator to some of the points

   Collective

   Input Parameters:
+  A    - the operator, with square factors
-  mask - vector of A's layout: nonzero at the points kept, zero elsewhere; NULL: no restriction

   Level: intermediate

   Notes:
   With M the diagonal 0/1 matrix of the mask, A becomes M A M + (I - M): rows and columns outside are those of the identity, so that the size
   stays and a Krylov method solves the restricted system. `PCSKEANKRON` then applies M inv(A) M + (I - M), a preconditioner and not the inverse.

   Errors: `PETSC_ERR_ARG_SIZ` for a vector of another layout.

.seealso: `MatCreateSkeanKron()`, `PCSKEANKRON`
@*/
PetscErrorCode MatSkeanKronSetMask(Mat A, Vec mask)
{
  SkeanKronData *k = nullptr;

  PetscFunctionBegin;
  PetscCall(MatSkeanKronGetData_Private(A, &k));
  PetscCheck(k->grid && k->m == k->n, PetscObjectComm((PetscObject)A), PETSC_ERR_SUP, "A mask needs a Kronecker operator with square factors");
  k->masked = mask != NULL;
  k->mask.clear();
  k->outside = 1.0;
  if (mask) {
    const PetscScalar *p;
    PetscInt           n;
    bool               wrong;
    PetscCall(VecGetLocalSize(mask, &n));
    PetscCall(AgreeAny(PetscObjectComm((PetscObject)A), n != A->rmap->n, &wrong));
    PetscCheck(!wrong, PetscObjectComm((PetscObject)A), PETSC_ERR_ARG_SIZ, "The mask is not distributed as the operator; make it with MatCreateVecs()");
    PetscCall(VecGetArrayRead(mask, &p));
    PetscCallCXX(k->mask.resize(n));
    for (PetscInt i = 0; i < n; ++i) k->mask[i] = p[i] != 0.0;
    PetscCall(VecRestoreArrayRead(mask, &p));
  }
  PetscCall(PetscObjectStateIncrease((PetscObject)A));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   MatSkeanKronGetOwnershipBox - The part of the grid that this process owns in vectors y = A x

   Not Collective

   Input Parameter:
.  A - the operator

   Output Parameters:
+  lo - first index along each dimension
-  hi - one past the last index along each dimension

   Level: intermediate

   Notes:
   The process's part of a vector holds the entries of the box in natural order, the last index fastest. A process that owns nothing gets
   an empty box. The ranges are those of a DMDA with the same process grid, whose x, y, z are the last, the last but one, ... dimension.

.seealso: `MATSKEANKRON`
@*/
PetscErrorCode MatSkeanKronGetOwnershipBox(Mat A, PetscInt lo[], PetscInt hi[])
{
  SkeanKronData *k = nullptr;

  PetscFunctionBegin;
  PetscCall(MatSkeanKronGetData_Private(A, &k));
  PetscCheck(k->grid, PetscObjectComm((PetscObject)A), PETSC_ERR_ARG_WRONGSTATE, "The operator has no term yet");
  const TensorBox b = k->grid->Box(0, k->m);
  for (int j = 0; j < k->d; ++j) {
    lo[j] = static_cast<PetscInt>(b.lo[j]);
    hi[j] = static_cast<PetscInt>(b.hi[j]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
