/*
   KSP type sketch: least squares by random sketching. This file is PETSc's side (options, matrices, vectors, reasons, views); the
   method is in lssolve.cxx, the preconditioner in lsprecond.cxx, the passes over A in lsqkernels.cxx.
*/
#include <petsc/private/kspimpl.h>
#include <skean/private/skeanimpl.h>
#include <skean/private/reduce.hpp>
#include <skean/private/lapack.hpp>
#include "lssolve.hpp"
#include "lsqkernels.hpp"
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>

using skean::LSColumn;

const char *const KSPSketchMethods[] = {"auto", "iterative", "cqrrt", "cholqr", "tsqr", "sketchandsolve", "KSPSketchMethod", "KSP_SKETCH_", NULL};
const char *const KSPSketchInners[]  = {"cg", "heavyball", "lsqr", "KSPSketchInner", "KSP_SKETCH_", NULL};

const char *const KSPSketchExtraPreciseTypes[] = {"auto", "yes", "no", "KSPSketchExtraPrecise", "KSP_SKETCH_EXTRA_PRECISE_", NULL};

static PetscLogEvent KSP_SketchSetUp, KSP_SketchSolve, KSP_SketchBounds;

namespace {
struct KSP_Sketch {
  /* settings */
  KSPSketchMethod method  = KSP_SKETCH_AUTO;
  KSPSketchInner  inner   = KSP_SKETCH_CG;
  PetscReal       ridge   = 0.0;
  PetscReal       delta   = 0.0; /* failure probability of the error bounds; 0: none wanted */
  PetscInt        refine  = 6;
  PetscBool       scale   = PETSC_TRUE;
  SkeanSketch     sketch  = nullptr;
  Vec             weights = nullptr, e = nullptr;
  Mat             C = nullptr;

  KSPSketchExtraPrecise precise = KSP_SKETCH_EXTRA_PRECISE_AUTO;

  /* while a monitor runs: writes the local part of the solution as it is at this pass */
  std::function<PetscErrorCode(PetscScalar *)> current;

  /* what is derived from A, and the state of A (and of the weights and constraints) it was derived from */
  skean::LSPrecond    N;
  Mat                 Aw = nullptr;           /* diag(sqrt(w)) A */
  Mat                 At = nullptr;           /* A' where A has fewer rows than columns */
  std::vector<double> rootw;                  /* sqrt(w) of this process's rows */
  std::vector<double> particular, c, evalues; /* a solution of C x = e; C, p x d; e */
  PetscInt            p        = 0;           /* constraints */
  PetscObjectId       id[4]    = {0, 0, 0, 0};
  PetscObjectState    state[5] = {-1, -1, -1, -1, -1};
  SkeanSeed           seed     = 0;
  PetscInt            draw     = -1;
  PetscBool           stale    = PETSC_TRUE; /* a setting changed that the preconditioner depends on */
  /* results of the last solve */
  std::vector<LSColumn>           columns;
  std::vector<KSPConvergedReason> reasons;
  std::vector<double>             bounds;
  PetscBool                       havebounds  = PETSC_FALSE;
  PetscReal                       boundsdelta = 0.0;
  PetscLogDouble                  tsetup = 0.0, tsolve = 0.0;
};
} // namespace

static PetscErrorCode KSPSketchInvalidate_Private(KSP ksp)
{
  PetscFunctionBegin;
  ((KSP_Sketch *)ksp->data)->stale = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Has the user told the sketch anything new, or changed A, the weights or the constraints? */
static PetscErrorCode KSPSketchChanged_Private(KSP ksp, Mat A, PetscBool *changed)
{
  KSP_Sketch      *s       = (KSP_Sketch *)ksp->data;
  PetscObject      objs[4] = {(PetscObject)A, (PetscObject)s->weights, (PetscObject)s->C, (PetscObject)s->e};
  PetscObjectState st;
  SkeanSeed        seed;

  PetscFunctionBegin;
  *changed = s->stale;
  for (int i = 0; i < 4; i++) {
    PetscObjectId id = 0;
    st               = -1;
    if (objs[i]) {
      PetscCall(PetscObjectGetId(objs[i], &id));
      PetscCall(PetscObjectStateGet(objs[i], &st));
    }
    if (id != s->id[i] || st != s->state[i]) *changed = PETSC_TRUE;
    s->id[i]    = id;
    s->state[i] = st;
  }
  PetscCall(MatGetNonzeroState(A, &st));
  if (st != s->state[4]) *changed = PETSC_TRUE;
  s->state[4] = st;
  PetscCall(SkeanSketchGetSeed(s->sketch, &seed));
  if (seed != s->seed) *changed = PETSC_TRUE;
  s->seed = seed;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* C x = e in replicated form */
static PetscErrorCode KSPSketchConstraints_Private(KSP ksp, PetscInt d)
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;
  MPI_Comm    comm;
  PetscInt    p, n, rstart, rend;

  PetscFunctionBegin;
  s->p = 0;
  s->particular.clear();
  s->c.clear();
  if (!s->C) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscObjectGetComm((PetscObject)ksp, &comm));
  PetscCall(MatGetSize(s->C, &p, &n));
  PetscCheck(n == d, comm, PETSC_ERR_ARG_SIZ, "The constraint matrix has %" PetscInt_FMT " columns, the least-squares matrix has %" PetscInt_FMT, n, d);
  PetscCall(VecGetSize(s->e, &n));
  PetscCheck(n == p, comm, PETSC_ERR_ARG_SIZ,
             "The constraints' right-hand side has %" PetscInt_FMT " entries, the constraint matrix has %" PetscInt_FMT " rows", n, p);
  skean::RowBlock    block;
  skean::FlaggedSum  sum(static_cast<size_t>(p) * d + p);
  const PetscScalar *e;
  PetscMPIInt        csize;
  PetscCallMPI(MPI_Comm_size(PetscObjectComm((PetscObject)s->C), &csize));
  PetscMPIInt size, rank;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCheck(csize == size || csize == 1, comm, PETSC_ERR_ARG_INCOMP,
             "The constraints must live on the solver's communicator or be sequential and the same on every process");
  const bool counts = csize == size || rank == 0; /* sequential copies: one of them counts */
  PetscCall(block.Open(s->C));
  std::vector<double> rows;
  PetscCallCXX(rows.resize(static_cast<size_t>(std::max<PetscInt>(1, block.View().nrows)) * d));
  skean::DensePanel(block.View(), 0, block.View().nrows, rows.data(), std::max<PetscInt>(1, block.View().nrows));
  PetscCall(VecGetOwnershipRange(s->e, &rstart, &rend));
  PetscCall(VecGetArrayRead(s->e, &e));
  if (counts) {
    for (PetscInt j = 0; j < d; ++j)
      for (PetscInt i = 0; i < block.View().nrows; ++i)
        sum[block.View().rstart + i + static_cast<size_t>(j) * p] = rows[i + static_cast<size_t>(j) * block.View().nrows];
    for (PetscInt i = rstart; i < rend; ++i) sum[static_cast<size_t>(p) * d + i] = e[i - rstart];
  }
  PetscCall(VecRestoreArrayRead(s->e, &e));
  PetscCall(block.Restore());
  bool failed;
  PetscCall(sum.Reduce(comm, !skean::AllFinite(sum.Data(), sum.Size()), &failed));
  PetscCheck(!failed, comm, PETSC_ERR_ARG_OUTOFRANGE, "The equality constraints hold a NaN or an infinite number");
  s->p = p;
  PetscCallCXX(s->c.assign(sum.Data(), sum.Data() + static_cast<size_t>(p) * d));
  PetscCallCXX(s->evalues.assign(sum.Data() + static_cast<size_t>(p) * d, sum.Data() + static_cast<size_t>(p) * d + p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The matrix that is solved with: A, its weighted copy, or its transpose; and the preconditioner for it, if something changed */
static PetscErrorCode KSPSketchFactor_Private(KSP ksp, PetscInt nrhs, Mat *used)
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;
  Mat         A;
  PetscInt    n, d;
  PetscBool   changed;

  PetscFunctionBegin;
  PetscCall(KSPGetOperators(ksp, &A, NULL));
  PetscCall(MatGetSize(A, &n, &d));
  PetscCheck(s->precise != KSP_SKETCH_EXTRA_PRECISE_YES || (n >= d && s->method != KSP_SKETCH_SKETCHANDSOLVE), PetscObjectComm((PetscObject)ksp), PETSC_ERR_SUP,
             "KSP type sketch does not support -ksp_sketch_extra_precise yes %s",
             n < d ? "for underdetermined systems" : "with -ksp_sketch_method sketchandsolve");
  PetscCall(KSPSketchChanged_Private(ksp, A, &changed));
  if (changed || !s->N.Ready()) {
    PetscLogDouble          t0, t1;
    skean::RowBlock         block;
    skean::LSPrecondOptions o;

    PetscCall(PetscTime(&t0));
    PetscCall(PetscLogEventBegin(KSP_SketchSetUp, ksp, A, 0, 0));
    PetscCall(MatDestroy(&s->Aw));
    PetscCall(MatDestroy(&s->At));
    s->rootw.clear();
    if (s->weights) {
      Vec                root;
      const PetscScalar *w;
      PetscInt           nl, ml;
      bool               bad = false;

      PetscCall(VecGetSize(s->weights, &nl));
      PetscCheck(nl == n, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_SIZ, "There are %" PetscInt_FMT " weights, the matrix has %" PetscInt_FMT " rows",
                 nl, n);
      PetscCall(VecGetLocalSize(s->weights, &nl));
      PetscCall(MatGetLocalSize(A, &ml, NULL));
      PetscCall(skean::AgreeAny(PetscObjectComm((PetscObject)ksp), nl != ml, &bad));
      PetscCheck(!bad, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_INCOMP, "The weights are not distributed as the rows of the matrix");
      PetscCall(VecGetArrayRead(s->weights, &w));
      PetscCallCXX(s->rootw.resize(nl));
      for (PetscInt i = 0; i < nl; i++) {
        bad         = bad || !(w[i] >= 0.0) || !std::isfinite(w[i]);
        s->rootw[i] = std::sqrt(PetscMax(w[i], 0.0));
      }
      PetscCall(VecRestoreArrayRead(s->weights, &w));
      PetscCall(skean::AgreeAny(PetscObjectComm((PetscObject)ksp), bad, &bad));
      PetscCheck(!bad, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_OUTOFRANGE, "A weight is negative, NaN or infinite");
      PetscCall(VecDuplicate(s->weights, &root));
      PetscScalar *r;
      PetscCall(VecGetArrayWrite(root, &r));
      std::copy(s->rootw.begin(), s->rootw.end(), r);
      PetscCall(VecRestoreArrayWrite(root, &r));
      PetscCall(MatDuplicate(A, MAT_COPY_VALUES, &s->Aw));
      PetscCall(MatDiagonalScale(s->Aw, root, NULL));
      PetscCall(VecDestroy(&root));
    }
    if (n < d) {
      PetscCheck(!s->C && s->ridge == 0.0, PetscObjectComm((PetscObject)ksp), PETSC_ERR_SUP, "KSP type sketch does not support %s for underdetermined systems",
                 s->C ? "equality constraints" : "ridge regression");
      PetscCheck(s->method != KSP_SKETCH_SKETCHANDSOLVE, PetscObjectComm((PetscObject)ksp), PETSC_ERR_SUP,
                 "KSP type sketch does not support -ksp_sketch_method sketchandsolve for underdetermined systems");
      PetscCall(MatTranspose(s->Aw ? s->Aw : A, MAT_INITIAL_MATRIX, &s->At));
    }
    PetscCall(KSPSketchConstraints_Private(ksp, d));
    PetscCall(block.Open(s->At ? s->At : (s->Aw ? s->Aw : A)));
    o.method = s->method == KSP_SKETCH_SKETCHANDSOLVE ? KSP_SKETCH_ITERATIVE : s->method;
    PetscCall(SkeanSketchGetFactor(s->sketch, &o.factor));
    o.scale = s->scale;
    o.probe = s->method == KSP_SKETCH_SKETCHANDSOLVE ? PETSC_FALSE : PETSC_TRUE; /* that one reads A once, and only once */
    o.nrhs  = nrhs;
    PetscCall(s->N.SetUp(PetscObjectComm((PetscObject)ksp), block.View(), s->sketch, o, s->p, s->c.data()));
    if (s->p && !s->N.Failed()) {
      PetscCallCXX(s->particular.resize(d));
      PetscCall(s->N.SolveConstraints(s->evalues.data(), s->particular.data()));
    }
    PetscCall(block.Restore());
    s->stale = PETSC_FALSE;
    PetscCall(PetscLogEventEnd(KSP_SketchSetUp, ksp, A, 0, 0));
    PetscCall(PetscTime(&t1));
    s->tsetup = t1 - t0;
    PetscCall(PetscInfo(
      ksp, "Method %s, sketch of %" PetscInt_FMT " rows (%" PetscInt_FMT " drawn), numerical rank %" PetscInt_FMT " of %" PetscInt_FMT ", condition about %g\n",
      KSPSketchMethods[s->N.Method()], s->N.SketchRows(), s->N.Draws(), s->N.Rank(), s->N.Columns(), s->N.Condition()));
  }
  *used = s->At ? s->At : (s->Aw ? s->Aw : A);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KSPSetUp_Sketch(KSP ksp)
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;
  PC          pc;
  PetscBool   none;
  PCType      type;
  Mat         A;

  PetscFunctionBegin;
  PetscCall(KSPGetPC(ksp, &pc));
  PetscCall(PCGetType(pc, &type));
  PetscCall(PetscObjectTypeCompare((PetscObject)pc, PCNONE, &none));
  PetscCheck(none || !type, PetscObjectComm((PetscObject)ksp), PETSC_ERR_SUP,
             "KSP type sketch makes its own preconditioner and does not support PC type %s; use -pc_type none, or -ksp_type lsqr -pc_type sketch", type);
  if (!type) PetscCall(PCSetType(pc, PCNONE));
  PetscCall(KSPGetOperators(ksp, &A, NULL));
  PetscCheck(A, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_WRONGSTATE, "No matrix: call KSPSetOperators() first");
  if (!s->sketch) PetscCall(KSPSketchGetSketch(ksp, &s->sketch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   Error bounds of every coordinate.
   Sketch-and-solve: Student-t intervals, exact for Gaussian S because S U and S r are independent (U'r = 0):
     |x'_j - x_j| <= t_{m-d, delta/(2 d)} s |R^{-T} e_j|,  s^2 = |S(b - A x')|^2 / (m - d)      simultaneously with probability >= 1 - delta
   Full solve: |x_j - x*_j| <= |N'e_j| |N'A'r| / sigma_min(A N)^2, with a lower bound of sigma_min that fails with probability <= delta
   (Davidson & Szarek for Gaussian sketches, Lanczos from a random start otherwise), and every rounding error: LSErrorBounds().
*/
static PetscErrorCode KSPSketchBounds_Private(KSP ksp, const skean::RowView &A, const double *B, PetscInt ldb, const double *X)
{
  KSP_Sketch          *s = (KSP_Sketch *)ksp->data;
  const PetscInt       d = A.ncols, k = s->N.Rank();
  MPI_Comm             comm = PetscObjectComm((PetscObject)ksp);
  std::vector<double>  norms;
  SkeanSketchGuarantee guarantee = SKEAN_SKETCH_GUARANTEE_NONE;
  SkeanSketchType      type;

  PetscFunctionBegin;
  s->havebounds = PETSC_FALSE;
  if (k < s->N.FreeColumns()) { /* the data do not determine the coordinates: no finite bound is true */
    PetscCallCXX(s->bounds.assign(d, std::numeric_limits<double>::infinity()));
    s->havebounds  = PETSC_TRUE;
    s->boundsdelta = s->delta;
    PetscCall(PetscInfo(ksp, "Numerical rank %" PetscInt_FMT " of %" PetscInt_FMT ": the error bounds are infinite\n", k, s->N.FreeColumns()));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscLogEventBegin(KSP_SketchBounds, ksp, 0, 0, 0));
  /* a direct method never drew the sketch */
  if (s->N.Method() == KSP_SKETCH_ITERATIVE) PetscCall(SkeanSketchGetGuarantee(s->sketch, &guarantee));
  PetscCall(SkeanSketchGetType(s->sketch, &type));
  PetscCallCXX(s->bounds.resize(d));
  if (s->method == KSP_SKETCH_SKETCHANDSOLVE) {
    PetscCheck(guarantee != SKEAN_SKETCH_GUARANTEE_NONE, comm, PETSC_ERR_SUP,
               "A sketch of type %s supports no per-coordinate interval for sketch-and-solve; use gaussian (exact) or pooled", type);
    PetscCheck(s->ridge == 0.0 && !s->p, comm, PETSC_ERR_SUP, "The intervals of sketch-and-solve are not available with %s",
               s->p ? "equality constraints" : "ridge regression");
    const double nu = (double)(s->N.SketchRows() - k);
    PetscCheck(nu >= 1, comm, PETSC_ERR_ARG_OUTOFRANGE, "The intervals need more sketch rows (%" PetscInt_FMT ") than unknowns (%" PetscInt_FMT ")",
               s->N.SketchRows(), k);
    PetscCallCXX(norms.resize(d));
    PetscCallCXX(s->N.RowNorms(norms.data()));
    const double t = skean::StudentQuantile(s->delta / (2 * d), nu), sd = std::sqrt(s->columns[0].rho2 / nu);
    for (PetscInt j = 0; j < d; ++j) s->bounds[j] = t * sd * norms[j];
  } else {
    skean::LSBoundOptions o;
    o.ridge = s->ridge;
    o.delta = s->delta;
    o.seed  = s->seed;
    if (guarantee == SKEAN_SKETCH_GUARANTEE_EXACT) o.gaussianrows = s->N.SketchRows();
    o.draws = s->N.Draws();
    PetscCall(skean::LSErrorBounds(comm, A, s->N, o, B, ldb, X, s->columns[0].xlo, s->bounds));
    if (std::isinf(s->bounds[0]))
      PetscCall(PetscInfo(ksp, "Condition number about %g: no positive lower bound of sigma_min(A N) can be certified, the error bounds are infinite\n",
                          s->N.Condition()));
  }
  s->havebounds  = PETSC_TRUE;
  s->boundsdelta = s->delta;
  PetscCall(PetscLogEventEnd(KSP_SketchBounds, ksp, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   The common body of KSPSolve(), KSPMatSolve() and the ridge path. B: local rows x q; X: local part of the solution, dl x q.
   lambda: a path of q ridge parameters for one right-hand side (ldb = 0), or NULL.
*/
static PetscErrorCode KSPSketchSolve_Private(KSP ksp, PetscInt q, const PetscScalar *B, PetscInt ldb, PetscScalar *X, PetscInt ldx, PetscInt dl,
                                             const PetscReal *lambda)
{
  KSP_Sketch           *s    = (KSP_Sketch *)ksp->data;
  MPI_Comm              comm = PetscObjectComm((PetscObject)ksp);
  Mat                   used;
  skean::RowBlock       block;
  skean::LSSolveOptions o;
  std::vector<double>   x, bw;
  PetscInt              passes = 0, n, d;
  const PetscInt       *ranges; /* of the columns of A, or of At */
  PetscMPIInt           rank;
  PetscLogDouble        t0, t1;

  PetscFunctionBegin;
  s->havebounds = PETSC_FALSE;
  ksp->its      = 0;
  PetscCall(KSPSketchFactor_Private(ksp, q, &used));
  PetscCall(PetscTime(&t0));
  PetscCall(PetscLogEventBegin(KSP_SketchSolve, ksp, used, 0, 0));
  PetscCallCXX(s->columns.assign(q, LSColumn()));
  if (s->N.Failed()) {
    for (LSColumn &c : s->columns) c.reason = s->N.Lost() ? KSP_DIVERGED_PC_FAILED : KSP_DIVERGED_NANORINF;
    for (PetscInt j = 0; j < q; j++)
      for (PetscInt i = 0; i < dl; i++) X[i + j * (size_t)ldx] = 0.0;
  } else {
    PetscCallMPI(MPI_Comm_rank(comm, &rank));
    PetscCall(MatGetOwnershipRangesColumn(used, &ranges));
    PetscCall(block.Open(used));
    const skean::RowView &A = block.View();
    n                       = s->At ? A.ncols : A.nglobal;
    d                       = s->At ? A.nglobal : A.ncols;
    const PetscInt nl       = s->At ? ldb : A.nrows;
    if (!s->rootw.empty()) {
      const PetscInt nb = lambda ? 1 : q;
      PetscCallCXX(bw.resize((size_t)nl * nb));
      for (PetscInt j = 0; j < nb; j++)
        for (PetscInt i = 0; i < nl; i++) bw[i + j * (size_t)nl] = s->rootw[i] * B[i + j * (size_t)ldb];
      B   = bw.data();
      ldb = lambda ? 0 : nl;
    }
    o.rtol    = ksp->rtol;
    o.abstol  = ksp->abstol;
    o.max_it  = ksp->max_it;
    o.refine  = s->refine;
    o.inner   = s->inner;
    o.precise = s->precise;
    o.monitor = [&](PetscInt it, double rnorm, double backward, const skean::LSSolveOptions::Current &current) -> PetscErrorCode {
      PetscFunctionBegin;
      s->current = [&](PetscScalar *local) -> PetscErrorCode {
        std::vector<double> now;
        PetscFunctionBegin;
        PetscCallCXX(now.resize((size_t)PetscMax(s->At ? dl : d, 1)));
        PetscCallCXX(current(now.data()));
        const double *from = now.data() + (s->At ? 0 : ranges[rank]);
        std::copy(from, from + dl, local);
        PetscFunctionReturn(PETSC_SUCCESS);
      };
      ksp->its   = it;
      ksp->rnorm = rnorm;
      if (backward >= 0) s->columns[0].backward = backward;
      PetscCall(KSPLogResidualHistory(ksp, rnorm));
      const PetscErrorCode ierr = KSPMonitor(ksp, it, rnorm);
      s->current                = nullptr;
      PetscCall(ierr);
      PetscFunctionReturn(PETSC_SUCCESS);
    };
    std::vector<LSColumn> columns;
    if (s->At) { /* b replicated, x distributed as A's columns */
      std::vector<double> ball, xl;
      PetscCallCXX(ball.resize((size_t)n * q));
      PetscCallCXX(xl.resize((size_t)PetscMax(dl, 1) * q));
      for (PetscInt j = 0; j < q; j++) PetscCall(skean::AllgatherRanges(comm, ranges, B + j * (size_t)ldb, ball.data() + j * (size_t)n));
      PetscCall(s->N.SetRidge(0.0));
      PetscCall(skean::LSMinimumNorm(comm, A, s->N, o, ball.data(), q, xl.data(), columns, &passes));
      for (PetscInt j = 0; j < q; j++)
        for (PetscInt i = 0; i < dl; i++) X[i + j * (size_t)ldx] = xl[i + j * (size_t)dl];
    } else {
      PetscCallCXX(x.assign((size_t)d * q, 0.0));
      o.haveguess = ksp->guess_zero && s->particular.empty() ? PETSC_FALSE : PETSC_TRUE;
      if (!s->particular.empty()) {
        for (PetscInt j = 0; j < q; j++) std::copy(s->particular.begin(), s->particular.end(), x.begin() + j * (size_t)d);
      } else if (!ksp->guess_zero)
        for (PetscInt j = 0; j < q; j++) PetscCall(skean::AllgatherRanges(comm, ranges, X + j * (size_t)ldx, x.data() + j * (size_t)d));
      if (!lambda) {
        if (s->ridge != 0.0) PetscCallCXX(o.ridge.assign(1, s->ridge));
        PetscCall(s->N.SetRidge(s->ridge));
      }
      if (s->method == KSP_SKETCH_SKETCHANDSOLVE) {
        PetscCheck(s->particular.empty(), comm, PETSC_ERR_SUP, "KSP type sketch does not support equality constraints with -ksp_sketch_method sketchandsolve");
        PetscCall(skean::LSSketchAndSolve(A, s->sketch, s->N, B, ldb, q, x.data(), columns));
      } else if (lambda) {
        PetscCheck(s->precise != KSP_SKETCH_EXTRA_PRECISE_YES, comm, PETSC_ERR_SUP,
                   "KSP type sketch does not support -ksp_sketch_extra_precise yes on ridge paths");
        o.precise = KSP_SKETCH_EXTRA_PRECISE_NO;
        PetscCall(skean::LSSolvePath(comm, A, s->sketch, s->N, o, B, q, lambda, x.data(), columns, &passes));
      } else
        PetscCall(skean::LSSolve(comm, A, s->sketch, s->N, o, B, ldb, q, x.data(), columns, &passes));
      for (PetscInt j = 0; j < q; j++)
        for (PetscInt i = 0; i < dl; i++) X[i + j * (size_t)ldx] = x[ranges[rank] + i + j * (size_t)d];
    }
    s->columns = columns;
    if (s->delta > 0.0 && q == 1 && !s->At && s->columns[0].reason > 0) PetscCall(KSPSketchBounds_Private(ksp, A, B, ldb, x.data()));
    PetscCall(block.Restore());
  }
  PetscCallCXX(s->reasons.resize(q));
  ksp->reason = s->columns[0].reason;
  for (PetscInt j = 0; j < q; j++) {
    s->reasons[j] = s->columns[j].reason;
    /* one reason for all columns: the worst */
    if (s->reasons[j] < 0 && (ksp->reason > 0 || s->reasons[j] < ksp->reason)) ksp->reason = s->reasons[j];
  }
  ksp->its   = passes;
  ksp->rnorm = s->columns[0].rnorm;
  PetscCall(PetscLogEventEnd(KSP_SketchSolve, ksp, used, 0, 0));
  PetscCall(PetscTime(&t1));
  s->tsolve = t1 - t0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KSPSolve_Sketch(KSP ksp)
{
  const PetscScalar *b;
  PetscScalar       *x;
  PetscInt           nl, dl;

  PetscFunctionBegin;
  PetscCall(VecGetLocalSize(ksp->vec_rhs, &nl));
  PetscCall(VecGetLocalSize(ksp->vec_sol, &dl));
  PetscCheck(!ksp->transpose_solve, PetscObjectComm((PetscObject)ksp), PETSC_ERR_SUP, "KSP type sketch does not support KSPSolveTranspose()");
  PetscCall(VecGetArrayRead(ksp->vec_rhs, &b));
  PetscCall(VecGetArray(ksp->vec_sol, &x));
  PetscCall(KSPSketchSolve_Private(ksp, 1, b, nl, x, dl, dl, NULL));
  PetscCall(VecRestoreArray(ksp->vec_sol, &x));
  PetscCall(VecRestoreArrayRead(ksp->vec_rhs, &b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KSPMatSolve_Sketch(KSP ksp, Mat B, Mat X)
{
  const PetscScalar *b;
  PetscScalar       *x;
  PetscInt           q, dl, ldb, ldx;

  PetscFunctionBegin;
  PetscCall(MatGetSize(B, NULL, &q));
  PetscCall(MatGetLocalSize(X, &dl, NULL));
  PetscCall(MatDenseGetLDA(B, &ldb));
  PetscCall(MatDenseGetLDA(X, &ldx));
  PetscCall(MatDenseGetArrayRead(B, &b));
  PetscCall(MatDenseGetArray(X, &x));
  PetscCall(KSPSketchSolve_Private(ksp, q, b, ldb, x, ldx, dl, NULL));
  PetscCall(MatDenseRestoreArray(X, &x));
  PetscCall(MatDenseRestoreArrayRead(B, &b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KSPReset_Sketch(KSP ksp)
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;

  PetscFunctionBegin;
  s->N.Clear();
  PetscCall(MatDestroy(&s->Aw));
  PetscCall(MatDestroy(&s->At));
  s->columns.clear();
  s->reasons.clear();
  s->havebounds = PETSC_FALSE;
  s->stale      = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KSPSetFromOptions_Sketch(KSP ksp, SkeanOptionItems PetscOptionsObject)
{
  KSP_Sketch     *s = (KSP_Sketch *)ksp->data;
  PetscReal       r;
  PetscInt        i;
  PetscBool       set, b;
  SkeanSketch     sketch;
  KSPSketchMethod method;
  KSPSketchInner  inner;

  KSPSketchExtraPrecise precise;

  PetscFunctionBegin;
  PetscOptionsHeadBegin(PetscOptionsObject, "KSP sketch options");
  PetscCall(PetscOptionsEnum("-ksp_sketch_method", "How the problem is solved", "KSPSketchSetMethod", KSPSketchMethods, (PetscEnum)s->method,
                             (PetscEnum *)&method, &set));
  if (set) PetscCall(KSPSketchSetMethod(ksp, method));
  PetscCall(PetscOptionsEnum("-ksp_sketch_inner", "Inner iteration", "KSPSketchSetInner", KSPSketchInners, (PetscEnum)s->inner, (PetscEnum *)&inner, &set));
  if (set) PetscCall(KSPSketchSetInner(ksp, inner));
  PetscCall(PetscOptionsInt("-ksp_sketch_refine", "Largest number of refinement loops", "KSPSketchSetRefine", s->refine, &i, &set));
  if (set) PetscCall(KSPSketchSetRefine(ksp, i));
  PetscCall(PetscOptionsEnum("-ksp_sketch_extra_precise", "When the solution is refined with residuals in twofold precision", "KSPSketchSetExtraPrecise",
                             KSPSketchExtraPreciseTypes, (PetscEnum)s->precise, (PetscEnum *)&precise, &set));
  if (set) PetscCall(KSPSketchSetExtraPrecise(ksp, precise));
  PetscCall(PetscOptionsBool("-ksp_sketch_scale", "Scale the columns of A to unit norm", "KSPSketchSetScale", s->scale, &b, &set));
  if (set) PetscCall(KSPSketchSetScale(ksp, b));
  PetscCall(PetscOptionsReal("-ksp_sketch_ridge", "Ridge parameter lambda in |Ax-b|^2 + lambda |x|^2", "KSPSketchSetRidge", s->ridge, &r, &set));
  if (set) PetscCall(KSPSketchSetRidge(ksp, r));
  PetscCall(PetscOptionsReal("-ksp_sketch_error_bounds", "Compute error bounds that fail with at most this probability", "KSPSketchSetErrorBounds", s->delta,
                             &r, &set));
  if (set) PetscCall(KSPSketchSetErrorBounds(ksp, r));
  PetscOptionsHeadEnd();
  PetscCall(KSPSketchGetSketch(ksp, &sketch));
  PetscCall(SkeanSketchSetFromOptions(sketch));
  s->stale = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KSPView_Sketch(KSP ksp, PetscViewer viewer)
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;
  PetscBool   ascii;

  PetscFunctionBegin;
  PetscCall(PetscObjectTypeCompare((PetscObject)viewer, PETSCVIEWERASCII, &ascii));
  if (!ascii) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscViewerASCIIPrintf(viewer, "  method: %s, inner iteration: %s, at most %" PetscInt_FMT " refinements\n", KSPSketchMethods[s->method],
                                   KSPSketchInners[s->inner], s->refine));
  if (s->ridge != 0.0) PetscCall(PetscViewerASCIIPrintf(viewer, "  ridge parameter: %g\n", (double)s->ridge));
  if (s->weights) PetscCall(PetscViewerASCIIPrintf(viewer, "  weighted rows\n"));
  if (s->p) PetscCall(PetscViewerASCIIPrintf(viewer, "  %" PetscInt_FMT " equality constraints\n", s->p));
  if (s->N.Ready()) {
    PetscCall(PetscViewerASCIIPrintf(viewer, "  method used: %s\n", KSPSketchMethods[s->method == KSP_SKETCH_SKETCHANDSOLVE ? s->method : s->N.Method()]));
    PetscCall(PetscViewerASCIIPrintf(viewer, "  numerical rank %" PetscInt_FMT " of %" PetscInt_FMT ", condition (columns scaled) about %g\n", s->N.Rank(),
                                     s->N.FreeColumns(), s->N.Condition()));
    if (s->N.Draws())
      PetscCall(PetscViewerASCIIPrintf(viewer, "  sketches drawn: %" PetscInt_FMT ", found poor: %" PetscInt_FMT "\n", s->N.Draws(), s->N.PoorDraws()));
    if (!s->columns.empty() && s->columns[0].backward >= 0)
      PetscCall(PetscViewerASCIIPrintf(viewer, "  backward error estimate (columns scaled, relative to |A|_F): %g\n", s->columns[0].backward));
  }
  if (s->sketch) {
    PetscCall(PetscViewerASCIIPushTab(viewer));
    PetscCall(SkeanSketchView(s->sketch, viewer));
    PetscCall(PetscViewerASCIIPopTab(viewer));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Within a monitor the solution of this pass, which is brought to PETSc's vector only when it is asked for */
static PetscErrorCode KSPBuildSolution_Sketch(KSP ksp, Vec v, Vec *V)
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;

  PetscFunctionBegin;
  if (s->current && (v || ksp->vec_sol)) {
    Vec          to = v ? v : ksp->vec_sol;
    PetscScalar *a;
    PetscCall(VecGetArray(to, &a));
    PetscCall(s->current(a));
    PetscCall(VecRestoreArray(to, &a));
    if (V) *V = to;
  } else if (v) {
    PetscCall(VecCopy(ksp->vec_sol, v));
    if (V) *V = v;
  } else
    *V = ksp->vec_sol;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the methods behind the public functions ---- */

static PetscErrorCode KSPSketchSetMethod_Sketch(KSP ksp, KSPSketchMethod method)
{
  PetscFunctionBegin;
  PetscCheck(method >= KSP_SKETCH_AUTO && method <= KSP_SKETCH_SKETCHANDSOLVE, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_OUTOFRANGE, "Unknown method %d",
             (int)method);
  ((KSP_Sketch *)ksp->data)->method = method;
  PetscCall(KSPSketchInvalidate_Private(ksp));
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchGetMethod_Sketch(KSP ksp, KSPSketchMethod *method)
{
  PetscFunctionBegin;
  *method = ((KSP_Sketch *)ksp->data)->method;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchGetMethodUsed_Sketch(KSP ksp, KSPSketchMethod *method)
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;

  PetscFunctionBegin;
  PetscCheck(s->N.Ready(), PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_WRONGSTATE, "Call KSPSolve() first");
  *method = s->method == KSP_SKETCH_SKETCHANDSOLVE ? s->method : s->N.Method();
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchSetInner_Sketch(KSP ksp, KSPSketchInner inner)
{
  PetscFunctionBegin;
  PetscCheck(inner >= KSP_SKETCH_CG && inner <= KSP_SKETCH_LSQR, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_OUTOFRANGE, "Unknown inner iteration %d",
             (int)inner);
  ((KSP_Sketch *)ksp->data)->inner = inner;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchGetInner_Sketch(KSP ksp, KSPSketchInner *inner)
{
  PetscFunctionBegin;
  *inner = ((KSP_Sketch *)ksp->data)->inner;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchSetRefine_Sketch(KSP ksp, PetscInt refine)
{
  PetscFunctionBegin;
  PetscCheck(refine >= 1, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_OUTOFRANGE, "At least one refinement loop is needed, %" PetscInt_FMT " given",
             refine);
  ((KSP_Sketch *)ksp->data)->refine = refine;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchGetRefine_Sketch(KSP ksp, PetscInt *refine)
{
  PetscFunctionBegin;
  *refine = ((KSP_Sketch *)ksp->data)->refine;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchSetExtraPrecise_Sketch(KSP ksp, KSPSketchExtraPrecise precise)
{
  PetscFunctionBegin;
  PetscCheck(precise >= KSP_SKETCH_EXTRA_PRECISE_AUTO && precise <= KSP_SKETCH_EXTRA_PRECISE_NO, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_OUTOFRANGE,
             "Unknown value %d", (int)precise);
  ((KSP_Sketch *)ksp->data)->precise = precise;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchGetExtraPrecise_Sketch(KSP ksp, KSPSketchExtraPrecise *precise)
{
  PetscFunctionBegin;
  *precise = ((KSP_Sketch *)ksp->data)->precise;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchSetScale_Sketch(KSP ksp, PetscBool scale)
{
  PetscFunctionBegin;
  ((KSP_Sketch *)ksp->data)->scale = scale;
  PetscCall(KSPSketchInvalidate_Private(ksp));
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchGetScale_Sketch(KSP ksp, PetscBool *scale)
{
  PetscFunctionBegin;
  *scale = ((KSP_Sketch *)ksp->data)->scale;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchSetRidge_Sketch(KSP ksp, PetscReal lambda)
{
  PetscFunctionBegin;
  PetscCheck(lambda >= 0.0 && std::isfinite(lambda), PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_OUTOFRANGE,
             "The ridge parameter %g must be non-negative and finite", (double)lambda);
  ((KSP_Sketch *)ksp->data)->ridge = lambda; /* the sketch serves every lambda */
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchGetRidge_Sketch(KSP ksp, PetscReal *lambda)
{
  PetscFunctionBegin;
  *lambda = ((KSP_Sketch *)ksp->data)->ridge;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchSetWeights_Sketch(KSP ksp, Vec weights)
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;

  PetscFunctionBegin;
  if (weights) PetscCall(PetscObjectReference((PetscObject)weights));
  PetscCall(VecDestroy(&s->weights));
  s->weights = weights;
  PetscCall(KSPSketchInvalidate_Private(ksp));
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchSetConstraints_Sketch(KSP ksp, Mat C, Vec e)
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;

  PetscFunctionBegin;
  PetscCheck(!C == !e, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_NULL, "Constraints need both a matrix and a right-hand side");
  if (C) PetscCall(PetscObjectReference((PetscObject)C));
  if (e) PetscCall(PetscObjectReference((PetscObject)e));
  PetscCall(MatDestroy(&s->C));
  PetscCall(VecDestroy(&s->e));
  s->C = C;
  s->e = e;
  PetscCall(KSPSketchInvalidate_Private(ksp));
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchSetSketch_Sketch(KSP ksp, SkeanSketch sketch)
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;

  PetscFunctionBegin;
  PetscCall(PetscObjectReference((PetscObject)sketch));
  PetscCall(SkeanSketchDestroy(&s->sketch));
  s->sketch = sketch;
  PetscCall(KSPSketchInvalidate_Private(ksp));
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchGetSketch_Sketch(KSP ksp, SkeanSketch *sketch)
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;

  PetscFunctionBegin;
  if (!s->sketch) {
    const char *prefix;
    PetscCall(SkeanSketchCreate(PetscObjectComm((PetscObject)ksp), &s->sketch));
    PetscCall(KSPGetOptionsPrefix(ksp, &prefix));
    PetscCall(SkeanSketchSetOptionsPrefix(s->sketch, prefix));
    PetscCall(SkeanSketchSetType(s->sketch, SKEANSKETCHSPARSESIGN));
  }
  *sketch = s->sketch;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchSetErrorBounds_Sketch(KSP ksp, PetscReal delta)
{
  PetscFunctionBegin;
  PetscCheck(delta >= 0.0 && delta < 1.0, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_OUTOFRANGE,
             "The failure probability %g must be in [0,1); 0 asks for no bounds", (double)delta);
  ((KSP_Sketch *)ksp->data)->delta = delta;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchGetErrorBounds_Sketch(KSP ksp, Vec bounds, PetscReal *delta)
{
  KSP_Sketch  *s = (KSP_Sketch *)ksp->data;
  PetscScalar *a;
  PetscInt     n, r0, r1;

  PetscFunctionBegin;
  PetscCheck(s->havebounds, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_WRONGSTATE,
             "No error bounds: ask for them with KSPSketchSetErrorBounds() before a KSPSolve() that converges");
  PetscCall(VecGetSize(bounds, &n));
  PetscCheck(n == (PetscInt)s->bounds.size(), PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_SIZ,
             "The vector has %" PetscInt_FMT " entries, the solution has %" PetscInt_FMT, n, (PetscInt)s->bounds.size());
  PetscCall(VecGetOwnershipRange(bounds, &r0, &r1));
  PetscCall(VecGetArrayWrite(bounds, &a));
  for (PetscInt i = r0; i < r1; i++) a[i - r0] = s->bounds[i];
  PetscCall(VecRestoreArrayWrite(bounds, &a));
  if (delta) *delta = s->boundsdelta;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchGetColumnReasons_Sketch(KSP ksp, PetscInt *n, const KSPConvergedReason *reasons[])
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;

  PetscFunctionBegin;
  if (n) *n = (PetscInt)s->reasons.size();
  if (reasons) *reasons = s->reasons.data();
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchGetBackwardError_Sketch(KSP ksp, PetscReal *error)
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;

  PetscFunctionBegin;
  PetscCheck(!s->columns.empty(), PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_WRONGSTATE, "Call KSPSolve() first");
  *error = 0.0;
  for (const LSColumn &c : s->columns) {
    if (c.backward < 0)
      *error = -1.0;
    else if (*error >= 0)
      *error = PetscMax(*error, c.backward);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchGetRank_Sketch(KSP ksp, PetscInt *rank)
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;

  PetscFunctionBegin;
  PetscCheck(s->N.Ready(), PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_WRONGSTATE, "Call KSPSolve() first");
  *rank = s->N.Rank();
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchGetCondition_Sketch(KSP ksp, PetscReal *condition)
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;

  PetscFunctionBegin;
  PetscCheck(s->N.Ready(), PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_WRONGSTATE, "Call KSPSolve() first");
  *condition = s->N.Condition();
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchGetTimes_Sketch(KSP ksp, PetscLogDouble *setup, PetscLogDouble *solve)
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;

  PetscFunctionBegin;
  if (setup) *setup = s->tsetup;
  if (solve) *solve = s->tsolve;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode KSPSketchSolveRidgePath_Sketch(KSP ksp, Vec b, PetscInt n, const PetscReal lambda[], Mat X)
{
  const PetscScalar *ba;
  PetscScalar       *x;
  Mat                A;
  PetscInt           q, dl, nl, ml, rows, cols, ldx;
  bool               bad;
  KSP_Sketch        *s     = (KSP_Sketch *)ksp->data;
  PetscBool          guess = ksp->guess_zero;

  PetscFunctionBegin;
  PetscCheck(s->method != KSP_SKETCH_SKETCHANDSOLVE, PetscObjectComm((PetscObject)ksp), PETSC_ERR_SUP,
             "KSP type sketch does not support paths of ridge parameters with -ksp_sketch_method sketchandsolve; use another method, or KSPSolve() for each "
             "parameter");
  PetscCheck(n > 0 && lambda, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_OUTOFRANGE, "No ridge parameter given");
  for (PetscInt i = 0; i < n; i++)
    PetscCheck(lambda[i] >= 0.0 && std::isfinite(lambda[i]), PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_OUTOFRANGE,
               "Ridge parameter %" PetscInt_FMT " is %g, must be non-negative and finite", i, (double)lambda[i]);
  PetscCall(KSPSetUp(ksp));
  PetscCall(MatGetSize(X, NULL, &q));
  PetscCheck(q == n, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_SIZ, "X has %" PetscInt_FMT " columns for %" PetscInt_FMT " ridge parameters", q, n);
  PetscCall(KSPGetOperators(ksp, &A, NULL));
  PetscCall(MatGetSize(A, &rows, &cols));
  PetscCheck(rows >= cols, PetscObjectComm((PetscObject)ksp), PETSC_ERR_SUP, "KSP type sketch does not support ridge regression for underdetermined systems");
  PetscCall(VecGetLocalSize(b, &nl));
  PetscCall(MatGetLocalSize(A, &ml, NULL));
  PetscCall(skean::AgreeAny(PetscObjectComm((PetscObject)ksp), nl != ml, &bad));
  PetscCheck(!bad, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_INCOMP, "The right-hand side is not distributed as the rows of the matrix");
  PetscCall(MatGetLocalSize(X, &dl, NULL));
  PetscCall(MatDenseGetLDA(X, &ldx));
  PetscCall(VecGetArrayRead(b, &ba));
  PetscCall(MatDenseGetArrayWrite(X, &x));
  ksp->guess_zero = PETSC_TRUE;
  PetscCall(KSPSketchSolve_Private(ksp, q, ba, 0, x, ldx, dl, lambda));
  ksp->guess_zero = guess;
  PetscCall(VecRestoreArrayRead(b, &ba));
  PetscCall(MatDenseRestoreArrayWrite(X, &x));
  PetscCall(KSPConvergedReasonViewFromOptions(ksp));
  PetscFunctionReturn(PETSC_SUCCESS);
}

// clang-format off
#define KSP_SKETCH_METHODS(X) \
  X(SetMethod) X(GetMethod) X(GetMethodUsed) X(SetInner) \
  X(GetInner) X(SetRefine) \
  X(GetRefine) X(SetExtraPrecise) X(GetExtraPrecise) X(SetScale) X(GetScale) X(SetRidge) \
  X(GetRidge) X(SolveRidgePath) X(SetWeights) X(SetConstraints) \
  X(SetSketch) X(GetSketch) X(SetErrorBounds) X(GetErrorBounds) \
  X(GetColumnReasons) X(GetBackwardError) X(GetRank) X(GetCondition) \
  X(GetTimes)
// clang-format on

static PetscErrorCode KSPDestroy_Sketch(KSP ksp)
{
  KSP_Sketch *s = (KSP_Sketch *)ksp->data;

  PetscFunctionBegin;
  PetscCall(KSPReset_Sketch(ksp));
  PetscCall(SkeanSketchDestroy(&s->sketch));
  PetscCall(VecDestroy(&s->weights));
  PetscCall(VecDestroy(&s->e));
  PetscCall(MatDestroy(&s->C));
#define CLEAR(name) PetscCall(PetscObjectComposeFunction((PetscObject)ksp, "KSPSketch" #name "_C", NULL));
  KSP_SKETCH_METHODS(CLEAR)
#undef CLEAR
  delete s;
  ksp->data = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KSPSKETCH - Linear least squares min |A x - b|_2 by random sketching, to the accuracy of Householder QR

   Options Database Keys:
+  -ksp_sketch_method (auto|iterative|cqrrt|cholqr|tsqr|sketchandsolve) - see `KSPSketchMethod`
.  -ksp_sketch_inner (cg|heavyball|lsqr) - the inner iteration, see `KSPSketchInner`
.  -ksp_sketch_refine <6> - largest number of refinement loops
.  -ksp_sketch_extra_precise (auto|yes|no) - refine with residuals in twofold precision, see `KSPSketchSetExtraPrecise()`
.  -ksp_sketch_scale <true> - scale the columns of A to unit norm
.  -ksp_sketch_ridge <0> - ridge parameter
-  -ksp_sketch_error_bounds <0> - failure probability of per-coordinate error bounds, 0 for none

   Level: beginner

   Notes:
   Method (SPIR)\:
   1. scale the columns of A to unit norm;
   2. S A by a `SkeanSketch` (options -sketch_type, -sketch_factor, -sketch_rows, -sketch_seed ... with the prefix of the `KSP`), R from its QR, N = R^{-1}, or
      from its SVD with the singular values below 30 u dropped;
   3. start from the solution of the sketched problem;
   4. refine: fresh residual r = b - A x, its backward error, correction from N'A'A N y = N'A'r by conjugate gradients, x += N y;
   5. where the condition number makes it worth its cost, refine with residuals in twofold precision (`KSPSketchSetExtraPrecise()`).

   The tolerance of `KSPSetTolerances()` is a backward error: the solve has converged when the Karlson-Walden estimate of the smallest
   perturbation of A with its columns scaled to unit norm, relative to its Frobenius norm, for which x is exact is below rtol; the default is 10 u = 1.1e-15.
   With a ridge A is [A; sqrt(lambda) I] here. Unit columns are what tells errors of small columns; relative to the unscaled |A|_F the error is at most
   sqrt(d) times as large.
   The iteration number is the number of passes over A after the sketch; a pass has one reduction of d + 3 numbers (A'A N p, one more, and two
   flags). `KSPGetResidualNorm()`
   is |b - A x|.

   A may have fewer rows than columns (minimum-norm solution), dependent columns (minimum-norm solution, see `KSPSketchGetRank()`) or any
   number of right-hand sides (`KSPMatSolve()`, reasons per column by `KSPSketchGetColumnReasons()`).
   With `KSP_SKETCH_AUTO` a direct method replaces the iteration where its cost is lower.

   Cost per process with n/P rows\: the sketch reads A once; the factor costs 2 m d^2 flops spread over the processes; memory 2 m d + 2 d^2 numbers
   beside A; a pass reads A once.

   When not to use it\: square or nearly square sparse systems (n/d below about 10), and d above about 5000, where the d x d factor on every process
   becomes too large.

   The result is the same for every number of processes and distribution of the rows, to rounding.

   NaN or Inf in A or b end in `KSP_DIVERGED_NANORINF`, a type or number of rows of the sketch with which ten sketches in turn lost a direction of A in
   `KSP_DIVERGED_PC_FAILED`. Errors\: `PETSC_ERR_SUP` for a matrix whose rows cannot be read, for a preconditioner other than
   `PCNONE` and for `KSPSolveTranspose()`.

   Source\: Epperly, Meier & Nakatsukasa, arXiv 2406.03468 (SPIR, FOSSILS); Meng, Saunders & Mahoney, SIAM J. Sci. Comput. 36 (2014) (LSRN, rank
   deficiency); Song, Ye, Yin & Zhang, arXiv 2302.00248 (the l-infinity question behind the error bounds).

.seealso: `KSPCreate()`, `KSPSetType()`, `KSPType`, `KSP`, `KSPLSQR`, `PCSKETCH`, `SkeanSketch`, `KSPSketchSetMethod()`, `KSPSketchSetErrorBounds()`
M*/
static PetscErrorCode KSPCreate_Sketch(KSP ksp)
{
  KSP_Sketch *s = NULL;
  PC          pc;
  PetscBool   given;
  const char *prefix;

  PetscFunctionBegin;
  PetscCallCXX(s = new KSP_Sketch());
  ksp->data = s;
  PetscCall(KSPSetSupportedNorm(ksp, KSP_NORM_UNPRECONDITIONED, PC_LEFT, 3));
  PetscCall(KSPSetSupportedNorm(ksp, KSP_NORM_NONE, PC_LEFT, 1));
  ksp->ops->setup          = KSPSetUp_Sketch;
  ksp->ops->solve          = KSPSolve_Sketch;
  ksp->ops->matsolve       = KSPMatSolve_Sketch;
  ksp->ops->reset          = KSPReset_Sketch;
  ksp->ops->destroy        = KSPDestroy_Sketch;
  ksp->ops->view           = KSPView_Sketch;
  ksp->ops->setfromoptions = KSPSetFromOptions_Sketch;
  ksp->ops->buildsolution  = KSPBuildSolution_Sketch;
  ksp->ops->buildresidual  = KSPBuildResidualDefault;
  ksp->setupnewmatrix      = PETSC_TRUE;
  /* PETSc's default tolerance is meant for residuals; ours is a backward error, and full accuracy is what the method is for */
  SkeanParameterSetDefault(ksp, rtol, 1.e-5, 5 * DBL_EPSILON);
  /* the preconditioner is ours, unless the user asked for one by name (then KSPSetUp() says that it cannot be used) */
  PetscCall(KSPGetOptionsPrefix(ksp, &prefix));
  PetscCall(PetscOptionsHasName(((PetscObject)ksp)->options, prefix, "-pc_type", &given));
  PetscCall(KSPGetPC(ksp, &pc));
  if (!given) PetscCall(PCSetType(pc, PCNONE));
#define COMPOSE(name) PetscCall(PetscObjectComposeFunction((PetscObject)ksp, "KSPSketch" #name "_C", KSPSketch##name##_Sketch));
  KSP_SKETCH_METHODS(COMPOSE)
#undef COMPOSE
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanKSPInitializePackage_Private(void)
{
  PetscFunctionBegin;
  PetscCall(KSPRegister(KSPSKETCH, KSPCreate_Sketch));
  PetscCall(PetscLogEventRegister("KSPSketchSetUp", KSP_CLASSID, &KSP_SketchSetUp));
  PetscCall(PetscLogEventRegister("KSPSketchSolve", KSP_CLASSID, &KSP_SketchSolve));
  PetscCall(PetscLogEventRegister("KSPSketchBounds", KSP_CLASSID, &KSP_SketchBounds));
  PetscFunctionReturn(PETSC_SUCCESS);
}
