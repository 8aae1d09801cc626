/*
   PC type sketch: the preconditioner of sketched least squares for PETSc's own Krylov methods, (A'A)^{-1} ~ N N' with N from a sketch
   of A (LSPrecond).

   KSPLSQR applies its preconditioner to vectors of the length of x, but PCApply() compares them with Pmat: where Pmat is the
   rectangular A itself, the set-up puts the virtual A'A (MATNORMAL) in its place.
*/
#include <petsc/private/pcimpl.h>
#include <skean/private/skeanimpl.h>
#include <skean/private/lsprecond.hpp>
#include <skean/private/reduce.hpp>
#include <algorithm>
#include <limits>
#include <vector>

namespace {
struct PC_Sketch {
  SkeanSketch      sketch = nullptr;
  PetscReal        ridge  = 0.0;
  skean::LSPrecond N;
  Mat              A     = nullptr; /* the tall matrix, referenced */
  PetscObjectState state = -1;
};
} // namespace

/* The tall matrix behind Amat and Pmat */
static PetscErrorCode PCSketchFindMatrix_Private(PC pc, Mat *A)
{
  PetscBool normal, hermitian;
  PetscInt  n, d;

  PetscFunctionBegin;
  PetscCall(PetscObjectTypeCompare((PetscObject)pc->pmat, MATNORMAL, &normal));
  PetscCall(PetscObjectTypeCompare((PetscObject)pc->pmat, MATNORMALHERMITIAN, &hermitian));
  if (normal)
    PetscCall(MatNormalGetMat(pc->pmat, A));
  else if (hermitian)
    PetscCall(MatNormalHermitianGetMat(pc->pmat, A));
  else {
    PetscCall(MatGetSize(pc->pmat, &n, &d));
    *A = pc->pmat;
    if (n == d && pc->mat && pc->mat != pc->pmat) { /* Pmat is some approximation of A'A: A itself is the operator */
      PetscInt an, ad;
      PetscCall(MatGetSize(pc->mat, &an, &ad));
      if (ad == d && an > ad) *A = pc->mat;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PCSketchBuild_Private(PC pc)
{
  PC_Sketch              *s = (PC_Sketch *)pc->data;
  skean::RowBlock         block;
  skean::LSPrecondOptions o;

  PetscFunctionBegin;
  if (!s->sketch) PetscCall(PCSketchGetSketch(pc, &s->sketch));
  PetscCall(block.Open(s->A));
  o.method = KSP_SKETCH_ITERATIVE;
  PetscCall(SkeanSketchGetFactor(s->sketch, &o.factor));
  PetscCall(s->N.SetUp(PetscObjectComm((PetscObject)pc), block.View(), s->sketch, o, 0, NULL));
  PetscCall(block.Restore());
  PetscCall(PetscObjectStateGet((PetscObject)s->A, &s->state));
  if (s->N.Failed()) {
    const char *why =
      s->N.Lost() ? "every sketch drawn lost a direction of the matrix, use another -sketch_type or more -sketch_rows" : "NaN or Inf in the matrix";
    PetscCheck(!pc->erroriffailure, PetscObjectComm((PetscObject)pc), PETSC_ERR_NOT_CONVERGED, "PC type sketch: %s", why);
    PetscCall(PCSetFailedReason(pc, PC_FACTOR_OTHER));
    PetscCall(PetscInfo(pc, "%s\n", why));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PCSetFailedReason(pc, PC_NOERROR));
  PetscCall(s->N.SetRidge(s->ridge));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PCSetUp_Sketch(PC pc)
{
  PC_Sketch *s = (PC_Sketch *)pc->data;
  Mat        A;
  PetscInt   n, d;

  PetscFunctionBegin;
  PetscCall(PCSketchFindMatrix_Private(pc, &A));
  PetscCall(MatGetSize(A, &n, &d));
  PetscCheck(n >= d, PetscObjectComm((PetscObject)pc), PETSC_ERR_ARG_SIZ,
             "PC type sketch needs at least as many rows as columns, the matrix is %" PetscInt_FMT " x %" PetscInt_FMT, n, d);
  PetscCall(PetscObjectReference((PetscObject)A));
  PetscCall(MatDestroy(&s->A));
  s->A = A;
  PetscCall(PCSketchBuild_Private(pc));
  if (n != d && A == pc->pmat) {
    Mat normal;
    PetscCall(MatCreateNormal(A, &normal));
    PetscCall(MatDestroy(&pc->pmat));
    pc->pmat = normal;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A may have changed behind an unchanged MATNORMAL, whose state PCSetUp() looks at */
static PetscErrorCode PCPreSolve_Sketch(PC pc, KSP ksp, Vec b, Vec x)
{
  PC_Sketch       *s = (PC_Sketch *)pc->data;
  PetscObjectState state;

  PetscFunctionBegin;
  (void)ksp;
  (void)b;
  (void)x;
  PetscCall(PetscObjectStateGet((PetscObject)s->A, &state));
  if (state != s->state && !pc->reusepreconditioner) PetscCall(PCSketchBuild_Private(pc));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef enum { BOTH, LEFT, RIGHT } SketchPart;

/* y = N N'x, N'x or N x for q columns; one gather of d numbers per column */
static PetscErrorCode PCSketchApply_Private(PC pc, SketchPart part, PetscInt q, const PetscScalar *x, PetscInt ldx, PetscScalar *y, PetscInt ldy)
{
  PC_Sketch          *s    = (PC_Sketch *)pc->data;
  MPI_Comm            comm = PetscObjectComm((PetscObject)pc);
  PetscMPIInt         rank;
  const PetscInt     *ranges;
  const PetscInt      d = s->N.Columns(), k = s->N.Rank();
  std::vector<double> all, half, out;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(MatGetOwnershipRangesColumn(s->A, &ranges));
  const PetscInt nl = ranges[rank + 1] - ranges[rank];
  if (s->N.Failed()) { /* the set-up's failure becomes the solver's reason through the next norm */
    for (PetscInt j = 0; j < q; j++) std::fill(y + j * (size_t)ldy, y + j * (size_t)ldy + nl, std::numeric_limits<double>::quiet_NaN());
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCheck(part == BOTH || k == d, comm, PETSC_ERR_SUP,
             "PC type sketch has no symmetric halves for a rank-deficient matrix (rank %" PetscInt_FMT " of %" PetscInt_FMT ")", k, d);
  PetscCallCXX(all.resize((size_t)d * q));
  PetscCallCXX(half.resize((size_t)PetscMax(d, k) * q));
  PetscCallCXX(out.resize((size_t)d * q));
  for (PetscInt j = 0; j < q; j++) PetscCall(skean::AllgatherRanges(comm, ranges, x + j * (size_t)ldx, all.data() + j * (size_t)d));
  if (part == LEFT)
    s->N.ApplyT(all.data(), out.data(), q);
  else if (part == RIGHT)
    s->N.Apply(all.data(), out.data(), q);
  else {
    s->N.ApplyT(all.data(), half.data(), q);
    s->N.Apply(half.data(), out.data(), q);
  }
  for (PetscInt j = 0; j < q; j++) std::copy(out.begin() + j * (size_t)d + ranges[rank], out.begin() + j * (size_t)d + ranges[rank + 1], y + j * (size_t)ldy);
  PetscCall(PetscLogFlops((part == BOTH ? 2.0 : 1.0) * d * d * q));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PCSketchApplyVec_Private(PC pc, SketchPart part, Vec x, Vec y)
{
  const PetscScalar *xa;
  PetscScalar       *ya;

  PetscFunctionBegin;
  PetscCall(VecGetArrayRead(x, &xa));
  PetscCall(VecGetArrayWrite(y, &ya));
  PetscCall(PCSketchApply_Private(pc, part, 1, xa, 0, ya, 0));
  PetscCall(VecRestoreArrayWrite(y, &ya));
  PetscCall(VecRestoreArrayRead(x, &xa));
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode PCApply_Sketch(PC pc, Vec x, Vec y)
{
  PetscFunctionBegin;
  PetscCall(PCSketchApplyVec_Private(pc, BOTH, x, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode PCApplySymmetricLeft_Sketch(PC pc, Vec x, Vec y)
{
  PetscFunctionBegin;
  PetscCall(PCSketchApplyVec_Private(pc, LEFT, x, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode PCApplySymmetricRight_Sketch(PC pc, Vec x, Vec y)
{
  PetscFunctionBegin;
  PetscCall(PCSketchApplyVec_Private(pc, RIGHT, x, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode PCMatApply_Sketch(PC pc, Mat X, Mat Y)
{
  const PetscScalar *xa;
  PetscScalar       *ya;
  PetscInt           q, ldx, ldy;

  PetscFunctionBegin;
  PetscCall(MatGetSize(X, NULL, &q));
  PetscCall(MatDenseGetLDA(X, &ldx));
  PetscCall(MatDenseGetLDA(Y, &ldy));
  PetscCall(MatDenseGetArrayRead(X, &xa));
  PetscCall(MatDenseGetArrayWrite(Y, &ya));
  PetscCall(PCSketchApply_Private(pc, BOTH, q, xa, ldx, ya, ldy));
  PetscCall(MatDenseRestoreArrayWrite(Y, &ya));
  PetscCall(MatDenseRestoreArrayRead(X, &xa));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PCReset_Sketch(PC pc)
{
  PC_Sketch *s = (PC_Sketch *)pc->data;

  PetscFunctionBegin;
  s->N.Clear();
  PetscCall(MatDestroy(&s->A));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PCSetFromOptions_Sketch(PC pc, SkeanOptionItems PetscOptionsObject)
{
  PC_Sketch  *s = (PC_Sketch *)pc->data;
  PetscReal   r;
  PetscBool   set;
  SkeanSketch sketch;

  PetscFunctionBegin;
  PetscOptionsHeadBegin(PetscOptionsObject, "PC sketch options");
  PetscCall(PetscOptionsReal("-pc_sketch_ridge", "Precondition A'A + lambda I", "PCSketchSetRidge", s->ridge, &r, &set));
  if (set) PetscCall(PCSketchSetRidge(pc, r));
  PetscOptionsHeadEnd();
  PetscCall(PCSketchGetSketch(pc, &sketch));
  PetscCall(SkeanSketchSetFromOptions(sketch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PCView_Sketch(PC pc, PetscViewer viewer)
{
  PC_Sketch *s = (PC_Sketch *)pc->data;
  PetscBool  ascii;

  PetscFunctionBegin;
  PetscCall(PetscObjectTypeCompare((PetscObject)viewer, PETSCVIEWERASCII, &ascii));
  if (!ascii) PetscFunctionReturn(PETSC_SUCCESS);
  if (s->ridge != 0.0) PetscCall(PetscViewerASCIIPrintf(viewer, "  ridge parameter: %g\n", (double)s->ridge));
  if (s->N.Ready())
    PetscCall(PetscViewerASCIIPrintf(viewer,
                                     "  numerical rank %" PetscInt_FMT " of %" PetscInt_FMT
                                     ", condition (columns scaled) about %g, sketches drawn: %" PetscInt_FMT ", found poor: %" PetscInt_FMT "\n",
                                     s->N.Rank(), s->N.Columns(), s->N.Condition(), s->N.Draws(), s->N.PoorDraws()));
  if (s->sketch) {
    PetscCall(PetscViewerASCIIPushTab(viewer));
    PetscCall(SkeanSketchView(s->sketch, viewer));
    PetscCall(PetscViewerASCIIPopTab(viewer));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PCSketchSetSketch_Sketch(PC pc, SkeanSketch sketch)
{
  PC_Sketch *s = (PC_Sketch *)pc->data;

  PetscFunctionBegin;
  PetscCall(PetscObjectReference((PetscObject)sketch));
  PetscCall(SkeanSketchDestroy(&s->sketch));
  s->sketch       = sketch;
  pc->setupcalled = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode PCSketchGetSketch_Sketch(PC pc, SkeanSketch *sketch)
{
  PC_Sketch *s = (PC_Sketch *)pc->data;

  PetscFunctionBegin;
  if (!s->sketch) {
    const char *prefix;
    PetscCall(SkeanSketchCreate(PetscObjectComm((PetscObject)pc), &s->sketch));
    PetscCall(PCGetOptionsPrefix(pc, &prefix));
    PetscCall(SkeanSketchSetOptionsPrefix(s->sketch, prefix));
    PetscCall(SkeanSketchSetType(s->sketch, SKEANSKETCHSPARSESIGN));
  }
  *sketch = s->sketch;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode PCSketchSetRidge_Sketch(PC pc, PetscReal lambda)
{
  PetscFunctionBegin;
  PetscCheck(lambda >= 0.0 && lambda < PETSC_INFINITY, PetscObjectComm((PetscObject)pc), PETSC_ERR_ARG_OUTOFRANGE,
             "The ridge parameter %g must be non-negative and finite", (double)lambda);
  ((PC_Sketch *)pc->data)->ridge = lambda;
  pc->setupcalled                = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode PCSketchGetRidge_Sketch(PC pc, PetscReal *lambda)
{
  PetscFunctionBegin;
  *lambda = ((PC_Sketch *)pc->data)->ridge;
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode PCSketchGetRank_Sketch(PC pc, PetscInt *rank)
{
  PC_Sketch *s = (PC_Sketch *)pc->data;

  PetscFunctionBegin;
  PetscCheck(s->N.Ready(), PetscObjectComm((PetscObject)pc), PETSC_ERR_ARG_WRONGSTATE, "Call PCSetUp() first");
  *rank = s->N.Rank();
  PetscFunctionReturn(PETSC_SUCCESS);
}

#define PC_SKETCH_METHODS(X) X(SetSketch) X(GetSketch) X(SetRidge) X(GetRidge) X(GetRank)

static PetscErrorCode PCDestroy_Sketch(PC pc)
{
  PC_Sketch *s = (PC_Sketch *)pc->data;

  PetscFunctionBegin;
  PetscCall(PCReset_Sketch(pc));
  PetscCall(SkeanSketchDestroy(&s->sketch));
#define CLEAR(name) PetscCall(PetscObjectComposeFunction((PetscObject)pc, "PCSketch" #name "_C", NULL));
  PC_SKETCH_METHODS(CLEAR)
#undef CLEAR
  delete s;
  pc->data = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   PCSKETCH - Preconditioner (A'A)^{-1} ~ N N' from a random sketch of the tall matrix A, for `KSPLSQR` and for `KSPCG` on A'A

   Options Database Key:
.  -pc_sketch_ridge <0> - precondition A'A + lambda I

   Level: beginner

   Notes:
   A N, with N = D R^{-1}, S A D = Q R, has singular values within 1 +- sqrt(d/m) of 1, whatever the condition number of A. The options of the
   `SkeanSketch` (-sketch_type, -sketch_factor, -sketch_rows, -sketch_seed ...) are read with the prefix of the `PC`.

   Pmat may be A itself, the virtual product `MATNORMAL` of A, or anything of the size of A'A if Amat is A. Where Pmat is the rectangular A it is replaced
   during set-up by its `MATNORMAL`, because `PCApply()` compares sizes with Pmat.

   The symmetric halves are N' and N. `PCMatApply()` is supported. NaN or Inf in A, and a type or number of rows of the sketch with which ten sketches in turn lost a
   direction of A, are reported through `PCGetFailedReason()` (`PC_FACTOR_OTHER`; the solver stops with `KSP_DIVERGED_PC_FAILED`), or as the error `PETSC_ERR_NOT_CONVERGED`
   with `PCSetErrorIfFailure()`, as -ksp_error_if_not_converged sets it.

   Errors\: `PETSC_ERR_ARG_SIZ` for a matrix with fewer rows than columns, `PETSC_ERR_ARG_OUTOFRANGE` for a sketch with fewer rows than the matrix has columns, `PETSC_ERR_SUP`
   for a matrix whose rows cannot be read and, in `PCApplySymmetricLeft()` and `PCApplySymmetricRight()`, for a rank-deficient A, whose halves are not square.

   `KSPLSQR` started from zero with this preconditioner is not backward stable for ill-conditioned A and may report convergence far from the solution
   (its residual is a recurrence); `KSPSKETCH` is.

   Cost\: set-up as in `KSPSKETCH`; an application gathers d numbers on every process and does 2 d^2 flops.

   Source\: Rokhlin & Tygert, PNAS 105 (2008); Avron, Maymounkov & Toledo, SIAM J. Sci. Comput. 32 (2010) (Blendenpik); Meng, Saunders & Mahoney, SIAM
   J. Sci. Comput. 36 (2014) (LSRN, rank deficiency)

.seealso: `PCCreate()`, `PCSetType()`, `PCType`, `PC`, `KSPLSQR`, `KSPSKETCH`, `SkeanSketch`, `PCSketchSetRidge()`, `MatCreateNormal()`
M*/
static PetscErrorCode PCCreate_Sketch(PC pc)
{
  PC_Sketch *s = NULL;

  PetscFunctionBegin;
  PetscCallCXX(s = new PC_Sketch());
  pc->data                     = s;
  pc->ops->setup               = PCSetUp_Sketch;
  pc->ops->apply               = PCApply_Sketch;
  pc->ops->applytranspose      = PCApply_Sketch;
  pc->ops->applysymmetricleft  = PCApplySymmetricLeft_Sketch;
  pc->ops->applysymmetricright = PCApplySymmetricRight_Sketch;
  pc->ops->matapply            = PCMatApply_Sketch;
  pc->ops->presolve            = PCPreSolve_Sketch;
  pc->ops->reset               = PCReset_Sketch;
  pc->ops->destroy             = PCDestroy_Sketch;
  pc->ops->setfromoptions      = PCSetFromOptions_Sketch;
  pc->ops->view                = PCView_Sketch;
#define COMPOSE(name) PetscCall(PetscObjectComposeFunction((PetscObject)pc, "PCSketch" #name "_C", PCSketch##name##_Sketch));
  PC_SKETCH_METHODS(COMPOSE)
#undef COMPOSE
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanPCInitializePackage_Private(void)
{
  PetscFunctionBegin;
  PetscCall(PCRegister(PCSKETCH, PCCreate_Sketch));
  PetscFunctionReturn(PETSC_SUCCESS);
}
