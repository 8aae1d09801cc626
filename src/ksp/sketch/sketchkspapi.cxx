/* The public functions of KSP type sketch; each passes to the method that the type composed, so that other types ignore the setters */
#include <petsc/private/kspimpl.h>
#include <skean/private/skeanimpl.h>
#include <skeanksp.h>

/*@
   KSPSketchSetMethod - Chooses how a least-squares problem is solved

   Logically Collective

   Input Parameters:
+  ksp    - the Krylov context, of type `KSPSKETCH`
-  method - the method

   Options Database Key:
.  -ksp_sketch_method (auto|iterative|cqrrt|cholqr|tsqr|sketchandsolve) - the method

   Level: intermediate

   Notes:
   `KSP_SKETCH_AUTO` compares the costs of the methods by flops, bytes and the expected number of passes, for the given sizes, sparsity, processes and
   right-hand sides; `KSPSketchGetMethodUsed()` tells its choice. `KSP_SKETCH_CHOLQR` fails for condition numbers above about 2e6.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for an unknown method. Ignored by other types.

   Source: Balabanov, arXiv 2208.14799, and Fan, Guo & Lin, arXiv 2111.14035 (CQRRT); Demmel, Grigori, Hoemmen & Langou, SIAM J. Sci. Comput. 34 (2012) (TSQR)

.seealso: `KSPSKETCH`, `KSPSketchGetMethod()`, `KSPSketchGetMethodUsed()`, `KSPSketchMethod`
@*/
PetscErrorCode KSPSketchSetMethod(KSP ksp, KSPSketchMethod method)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscTryMethod(ksp, "KSPSketchSetMethod_C", (KSP, KSPSketchMethod), (ksp, method));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchGetMethod - Gets the method asked for

   Not Collective

   Input Parameter:
.  ksp - the Krylov context, of type `KSPSKETCH`

   Output Parameter:
.  method - the method asked for

   Level: intermediate

   Notes:
   Errors: `PETSC_ERR_SUP` if the `KSP` is not of type `KSPSKETCH`.

.seealso: `KSPSKETCH`, `KSPSketchSetMethod()`, `KSPSketchGetMethodUsed()`
@*/
PetscErrorCode KSPSketchGetMethod(KSP ksp, KSPSketchMethod *method)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscCheck(method, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_NULL, "Null pointer: method");
  PetscUseMethod(ksp, "KSPSketchGetMethod_C", (KSP, KSPSketchMethod *), (ksp, method));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchGetMethodUsed - Gets the method that was used

   Not Collective

   Input Parameter:
.  ksp - the Krylov context, of type `KSPSKETCH`

   Output Parameter:
.  method - the method that made the last preconditioner, never `KSP_SKETCH_AUTO`

   Level: intermediate

   Notes:
   Errors: `PETSC_ERR_ARG_WRONGSTATE` before the first solve; `PETSC_ERR_SUP` if the `KSP` is not of type `KSPSKETCH`.

.seealso: `KSPSKETCH`, `KSPSketchSetMethod()`
@*/
PetscErrorCode KSPSketchGetMethodUsed(KSP ksp, KSPSketchMethod *method)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscCheck(method, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_NULL, "Null pointer: method");
  PetscUseMethod(ksp, "KSPSketchGetMethodUsed_C", (KSP, KSPSketchMethod *), (ksp, method));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchSetInner - Chooses the inner iteration

   Logically Collective

   Input Parameters:
+  ksp   - the Krylov context, of type `KSPSKETCH`
-  inner - the inner iteration

   Options Database Key:
.  -ksp_sketch_inner (cg|heavyball|lsqr) - the inner iteration

   Level: intermediate

   Notes:
   Each has one reduction per step. Conjugate gradients are the safest. Heavy ball needs no inner products but trusts the sketch's sizes for the
   distortion; when it diverges, the solver turns to conjugate gradients. LSQR keeps one long vector per right-hand side.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for an unknown one. Ignored by other types.

   Source: Epperly, Meier & Nakatsukasa, arXiv 2406.03468; Paige & Saunders, ACM TOMS 8 (1982)

.seealso: `KSPSKETCH`, `KSPSketchGetInner()`, `KSPSketchInner`
@*/
PetscErrorCode KSPSketchSetInner(KSP ksp, KSPSketchInner inner)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscTryMethod(ksp, "KSPSketchSetInner_C", (KSP, KSPSketchInner), (ksp, inner));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchGetInner - Gets the inner iteration

   Not Collective

   Input Parameter:
.  ksp - the Krylov context, of type `KSPSKETCH`

   Output Parameter:
.  inner - the inner iteration

   Level: intermediate

   Notes:
   Errors: `PETSC_ERR_SUP` if the `KSP` is not of type `KSPSKETCH`.

.seealso: `KSPSKETCH`, `KSPSketchSetInner()`
@*/
PetscErrorCode KSPSketchGetInner(KSP ksp, KSPSketchInner *inner)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscCheck(inner, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_NULL, "Null pointer: inner");
  PetscUseMethod(ksp, "KSPSketchGetInner_C", (KSP, KSPSketchInner *), (ksp, inner));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchSetRefine - Sets the largest number of refinement loops

   Logically Collective

   Input Parameters:
+  ksp    - the Krylov context, of type `KSPSKETCH`
-  refine - largest number of refinement loops, at least 1

   Options Database Key:
.  -ksp_sketch_refine <6> - largest number of refinement loops

   Level: intermediate

   Notes:
   Two loops give backward stability (SPIR); more are made only while the backward error still falls and is above what is asked for.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` if below 1. Ignored by other types.

   Source: Epperly, Meier & Nakatsukasa, arXiv 2406.03468, section 3

.seealso: `KSPSKETCH`, `KSPSketchGetRefine()`
@*/
PetscErrorCode KSPSketchSetRefine(KSP ksp, PetscInt refine)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscTryMethod(ksp, "KSPSketchSetRefine_C", (KSP, PetscInt), (ksp, refine));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchGetRefine - Gets the largest number of refinement loops

   Not Collective

   Input Parameter:
.  ksp - the Krylov context, of type `KSPSKETCH`

   Output Parameter:
.  refine - largest number of refinement loops

   Level: intermediate

   Notes:
   Errors: `PETSC_ERR_SUP` if the `KSP` is not of type `KSPSKETCH`.

.seealso: `KSPSKETCH`, `KSPSketchSetRefine()`
@*/
PetscErrorCode KSPSketchGetRefine(KSP ksp, PetscInt *refine)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscCheck(refine, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_NULL, "Null pointer: refine");
  PetscUseMethod(ksp, "KSPSketchGetRefine_C", (KSP, PetscInt *), (ksp, refine));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchSetExtraPrecise - Sets when the solution is refined with residuals in twofold precision

   Logically Collective

   Input Parameters:
+  ksp     - the Krylov context, of type `KSPSKETCH`
-  precise - automatic, always or never

   Options Database Key:
.  -ksp_sketch_extra_precise (auto|yes|no) - when to refine

   Level: intermediate

   Notes:
   A backward stable solution, as Householder QR gives, has a forward error of up to about u kappa (1 + kappa |r| / (|A| |x|)), kappa the condition number of A with
   its columns scaled. Extra-precise iterative refinement removes it: g = A'(b - A x) is evaluated with residuals and sums carried in twofold precision (some 32
   digits, by error-free transformations, also across the processes and still in one reduction), x is carried as a sum of two numbers, and the correction
   comes from the preconditioner or factor that is there. Where kappa u is well below 1 the final x is the solution of the data as stored, to working precision.

   Automatic\: after a solve with full accuracy asked for (rtol at most 1e-14) of a matrix with kappa u above 1e-8, or above 1e-12 if it has at most 10 000 entries. A direct method makes at most two corrections. An
   iterative solve makes a correction only if its whole inner iteration fits into as many passes as the solve had, or 16 if that is more; `KSPSketchSolveRidgePath()` makes none.
   A twofold pass reads A once, with 22 flops an entry, and is counted as 2.5 passes (assumed, not measured).
   Always\: until a correction no longer halves |N'g|, or x is right to working precision. A correction that makes |N'g| larger is taken back. Columns of several right-hand
   sides are refined together. The verdict is renewed for the rounded x and the solution before refinement is restored should it be worse than asked for.

   Matrices\: those that `KSPSKETCH` accepts, by dense and sparse kernels. Weights are multiplied into A in working precision before. Nothing is done for a numerically
   rank-deficient matrix, for a solution that did not converge, and with sketch-and-solve or underdetermined systems, for which `KSP_SKETCH_EXTRA_PRECISE_YES` is an error.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for an unknown value; at the solve, `PETSC_ERR_SUP` with `KSP_SKETCH_SKETCHANDSOLVE`,
   fewer rows than columns or a path of ridge parameters. Ignored by other types.

   Source: Demmel, Hida, Riedy & Li, ACM TOMS 35 (2009); Ogita, Rump & Oishi, SIAM J. Sci.
   Comput. 26 (2005), algorithm 5.3 (Dot2)

.seealso: `KSPSKETCH`, `KSPSketchGetExtraPrecise()`, `KSPSketchExtraPrecise`, `KSPSketchSetErrorBounds()`
@*/
PetscErrorCode KSPSketchSetExtraPrecise(KSP ksp, KSPSketchExtraPrecise precise)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscTryMethod(ksp, "KSPSketchSetExtraPrecise_C", (KSP, KSPSketchExtraPrecise), (ksp, precise));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchGetExtraPrecise - Gets when the solution is refined with residuals in twofold precision

   Not Collective

   Input Parameter:
.  ksp - the Krylov context, of type `KSPSKETCH`

   Output Parameter:
.  precise - automatic, always or never

   Level: intermediate

   Notes:
   Errors: `PETSC_ERR_SUP` if the `KSP` is not of type `KSPSKETCH`.

.seealso: `KSPSKETCH`, `KSPSketchSetExtraPrecise()`
@*/
PetscErrorCode KSPSketchGetExtraPrecise(KSP ksp, KSPSketchExtraPrecise *precise)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscCheck(precise, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_NULL, "Null pointer: precise");
  PetscUseMethod(ksp, "KSPSketchGetExtraPrecise_C", (KSP, KSPSketchExtraPrecise *), (ksp, precise));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchSetScale - Sets whether the columns of A are scaled to unit norm before the sketch

   Logically Collective

   Input Parameters:
+  ksp   - the Krylov context, of type `KSPSKETCH`
-  scale - whether the columns of A are scaled

   Options Database Key:
.  -ksp_sketch_scale <true> - scale the columns of A to unit norm

   Level: intermediate

   Notes:
   The scaling costs one pass over A and removes ill-conditioning that is only a matter of units. The solution is not scaled.

   Errors: Ignored by other types.

.seealso: `KSPSKETCH`, `KSPSketchGetScale()`
@*/
PetscErrorCode KSPSketchSetScale(KSP ksp, PetscBool scale)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscTryMethod(ksp, "KSPSketchSetScale_C", (KSP, PetscBool), (ksp, scale));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchGetScale - Gets whether the columns of A are scaled

   Not Collective

   Input Parameter:
.  ksp - the Krylov context, of type `KSPSKETCH`

   Output Parameter:
.  scale - whether the columns of A are scaled

   Level: intermediate

   Notes:
   Errors: `PETSC_ERR_SUP` if the `KSP` is not of type `KSPSKETCH`.

.seealso: `KSPSKETCH`, `KSPSketchSetScale()`
@*/
PetscErrorCode KSPSketchGetScale(KSP ksp, PetscBool *scale)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscCheck(scale, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_NULL, "Null pointer: scale");
  PetscUseMethod(ksp, "KSPSketchGetScale_C", (KSP, PetscBool *), (ksp, scale));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchSetRidge - Sets the parameter of ridge regression, min |A x - b|^2 + lambda |x|^2

   Logically Collective

   Input Parameters:
+  ksp    - the Krylov context, of type `KSPSKETCH`
-  lambda - the ridge parameter, non-negative

   Options Database Key:
.  -ksp_sketch_ridge <0> - ridge parameter

   Level: intermediate

   Notes:
   The sketch of A serves every lambda; only a d x d factor is renewed. The backward error is that of [A; sqrt(lambda) I] with its columns,
   their part of the ridge included, scaled to unit norm; relative to the Frobenius norm of the unscaled matrix it is at most sqrt(d) times as large.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` if negative or not finite. Ignored by other types.

.seealso: `KSPSKETCH`, `KSPSketchGetRidge()`, `KSPSketchSolveRidgePath()`
@*/
PetscErrorCode KSPSketchSetRidge(KSP ksp, PetscReal lambda)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscTryMethod(ksp, "KSPSketchSetRidge_C", (KSP, PetscReal), (ksp, lambda));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchGetRidge - Gets the ridge parameter

   Not Collective

   Input Parameter:
.  ksp - the Krylov context, of type `KSPSKETCH`

   Output Parameter:
.  lambda - the ridge parameter

   Level: intermediate

   Notes:
   Errors: `PETSC_ERR_SUP` if the `KSP` is not of type `KSPSKETCH`.

.seealso: `KSPSKETCH`, `KSPSketchSetRidge()`
@*/
PetscErrorCode KSPSketchGetRidge(KSP ksp, PetscReal *lambda)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscCheck(lambda, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_NULL, "Null pointer: lambda");
  PetscUseMethod(ksp, "KSPSketchGetRidge_C", (KSP, PetscReal *), (ksp, lambda));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchSolveRidgePath - Solves min |A x - b|^2 + lambda |x|^2 for several lambda at once

   Collective

   Input Parameters:
+  ksp    - the Krylov context, of type `KSPSKETCH`
.  b      - right-hand side, distributed as the rows of A
.  n      - number of ridge parameters
-  lambda - the ridge parameters, non-negative, in any order

   Output Parameter:
.  X - dense matrix, d x n, rows distributed as the columns of A; column j is the solution for lambda[j]

   Level: intermediate

   Notes:
   The solutions of a path span, to working precision, a space of few dimensions: the solver picks as many of the parameters (8 or 16 for 50 parameters over
   eight decades), solves for them, and combines the other solutions from these, with residuals that combine likewise. Every column is judged from its
   residual and A'r like a single solve; one that does not meet the aim as a combination is solved for itself. The reason of each column is in
   `KSPSketchGetColumnReasons()`.

   Cost: one set-up, one bidiagonalisation of its d x d factor (8/3 d^3 flops on process 0 and a broadcast of d^2 numbers), and passes over A with as
   many columns as parameters were picked. Memory per process\: 2 d^2 + 2 d n numbers.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for a parameter that is negative or not finite, `PETSC_ERR_ARG_SIZ` for a wrong number of columns of X, `PETSC_ERR_ARG_INCOMP` for a right-hand side that is not distributed as the rows of A,
   `PETSC_ERR_SUP` for a matrix with fewer rows than columns, with equality constraints, with `KSP_SKETCH_SKETCHANDSOLVE` and with `KSP_SKETCH_EXTRA_PRECISE_YES`, or if the `KSP` is
   not of type `KSPSKETCH`.

.seealso: `KSPSKETCH`, `KSPSketchSetRidge()`, `KSPSketchGetColumnReasons()`
@*/
PetscErrorCode KSPSketchSolveRidgePath(KSP ksp, Vec b, PetscInt n, const PetscReal lambda[], Mat X)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscUseMethod(ksp, "KSPSketchSolveRidgePath_C", (KSP, Vec, PetscInt, const PetscReal[], Mat), (ksp, b, n, lambda, X));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchSetWeights - Sets the weights of the rows, min sum_i w_i (A x - b)_i^2

   Collective

   Input Parameters:
+  ksp     - the Krylov context, of type `KSPSKETCH`
-  weights - non-negative weights, distributed as the rows of A, or NULL for none

   Level: intermediate

   Notes:
   The vector is referenced; when its values change, the next solve uses the new ones. The solver keeps a scaled copy of A.

   Errors: at the solve, `PETSC_ERR_ARG_OUTOFRANGE` for a negative or non-finite weight and `PETSC_ERR_ARG_SIZ` or `PETSC_ERR_ARG_INCOMP` for a wrong size or distribution. Ignored by other types.

.seealso: `KSPSKETCH`, `KSPSketchSetConstraints()`
@*/
PetscErrorCode KSPSketchSetWeights(KSP ksp, Vec weights)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscTryMethod(ksp, "KSPSketchSetWeights_C", (KSP, Vec), (ksp, weights));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchSetConstraints - Sets equality constraints, min |A x - b| subject to C x = e

   Collective

   Input Parameters:
+  ksp - the Krylov context, of type `KSPSKETCH`
.  C   - constraints, p x d with p < d and independent rows; on the communicator of the `KSP`, or sequential and the same on every process; NULL for none
-  e   - right-hand side of the constraints, of length p; NULL for none

   Level: intermediate

   Notes:
   Null-space method: x = x_p + Z w with C Z = 0; the preconditioner is R^{-1} of S A Z, and A Z is never formed. Every process holds C and the basis Z,
   p d + d (d - p) numbers. The reported backward error is that of the problem in w, columns scaled.

   Errors: `PETSC_ERR_ARG_NULL` if only one of C and e is given; at the solve, `PETSC_ERR_ARG_SIZ` for wrong sizes, `PETSC_ERR_ARG_WRONG` for dependent constraints and `PETSC_ERR_ARG_OUTOFRANGE` for NaN or Inf in C or e. Ignored by other types.

   Source: Golub & Van Loan, Matrix Computations, section 6.2

.seealso: `KSPSKETCH`, `KSPSketchSetWeights()`
@*/
PetscErrorCode KSPSketchSetConstraints(KSP ksp, Mat C, Vec e)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscTryMethod(ksp, "KSPSketchSetConstraints_C", (KSP, Mat, Vec), (ksp, C, e));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchSetSketch - Sets the sketch

   Collective

   Input Parameters:
+  ksp    - the Krylov context, of type `KSPSKETCH`
-  sketch - the sketch, on the communicator of the `KSP`; its sizes are set by the solver

   Level: advanced

   Notes:
   Errors: `PETSC_ERR_ARG_NULL` for a null sketch. Ignored by other types.

.seealso: `KSPSKETCH`, `KSPSketchGetSketch()`, `SkeanSketch`
@*/
PetscErrorCode KSPSketchSetSketch(KSP ksp, SkeanSketch sketch)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscCheck(sketch, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_NULL, "Null sketch");
  PetscTryMethod(ksp, "KSPSketchSetSketch_C", (KSP, SkeanSketch), (ksp, sketch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchGetSketch - Gets the sketch, to set its type, rows or seed

   Collective

   Input Parameter:
.  ksp - the Krylov context, of type `KSPSKETCH`

   Output Parameter:
.  sketch - the sketch, made on first use; not to be destroyed by the caller

   Level: intermediate

   Notes:
   Errors: `PETSC_ERR_SUP` if the `KSP` is not of type `KSPSKETCH`.

.seealso: `KSPSKETCH`, `KSPSketchSetSketch()`, `SkeanSketchSetType()`
@*/
PetscErrorCode KSPSketchGetSketch(KSP ksp, SkeanSketch *sketch)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscCheck(sketch, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_NULL, "Null pointer: sketch");
  PetscUseMethod(ksp, "KSPSketchGetSketch_C", (KSP, SkeanSketch *), (ksp, sketch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchSetErrorBounds - Asks for bounds on the error of every coordinate of the solution

   Logically Collective

   Input Parameters:
+  ksp   - the Krylov context, of type `KSPSKETCH`
-  delta - the probability with which the bounds may fail, in (0,1); 0 for no bounds

   Options Database Key:
.  -ksp_sketch_error_bounds <0> - failure probability of the bounds

   Level: intermediate

   Notes:
   The only randomness is the method's own: nothing is assumed about b.
   After `KSP_SKETCH_SKETCHANDSOLVE`: simultaneous Student-t intervals, |x'_j - x_j| <= t_{m-d,delta/(2d)} s |R^{-T} e_j|, s^2 = |S(b - A x')|^2/(m - d), which hold
   with probability exactly at least 1 - delta for a Gaussian sketch and approximately for the types whose `SkeanSketchGetGuarantee()` says so; refused for the others.
   After a full solve: |x_j - x*_j| <= |e_j'N| |N'g| / sigma_min(A N)^2, g = A'(b - A x), x* the exact solution for the stored A and b and x the rounded numbers that are
   returned. Rounding errors are part of the bound\:
   g is evaluated in twofold precision, with an a-priori bound of what is left, |a_j| (gamma_{d+4}^2 (|b| + sum_k |a_k||x_k|) + c u^2 |r|) in component j, amplified by |R^{-1}|_F;
   the triangular solves with R count with their backward error gamma_{2d+4} |R|_F |R^{-1}|_F; after extra-precise refinement the bound is that of the unrounded x plus
   what rounding took from each coordinate. sigma_min has a certified lower bound\: Davidson and Szarek's for Gaussian sketches, otherwise Lanczos from a random
   start (about 20 more passes over A), which fails with probability at most delta whatever the sketch, each less what rounding can add. Where the condition
   number (columns scaled) leaves nothing to certify, from about 1e13/d on, and for a numerically rank-deficient matrix, whose coordinates the data do not determine, all bounds are
   infinite. Weighted problems\: x* is the solution for sqrt(w_i) a_ij as rounded. Equality constraints\: the error along the feasible directions. Underflow is left out.
   Costs one twofold pass (`KSPSketchSetExtraPrecise()`) and a d x d triangular solve with d right-hand sides (d^3 flops) besides.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` outside [0,1). At the solve, `PETSC_ERR_SUP` for a sketch that supports no intervals. Ignored by other types.

   Source: conditional law of Gaussian sketch-and-solve (S U and S r are independent because U'r = 0); Davidson & Szarek, Handbook of the Geometry of Banach Spaces I (2001), theorem II.13; Kuczynski & Wozniakowski, SIAM J. Matrix Anal. Appl. 13 (1992), theorem 4.2

.seealso: `KSPSKETCH`, `KSPSketchGetErrorBounds()`, `SkeanSketchGetGuarantee()`
@*/
PetscErrorCode KSPSketchSetErrorBounds(KSP ksp, PetscReal delta)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscTryMethod(ksp, "KSPSketchSetErrorBounds_C", (KSP, PetscReal), (ksp, delta));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchGetErrorBounds - Gets the bounds on the error of every coordinate

   Collective

   Input Parameter:
.  ksp - the Krylov context, of type `KSPSKETCH`

   Output Parameters:
+  bounds - the bounds, distributed as the solution
-  delta  - the probability with which they may fail, or NULL

   Level: intermediate

   Notes:
   Of the last `KSPSolve()` with one right-hand side that converged.

   Errors: `PETSC_ERR_ARG_WRONGSTATE` if none were asked for before the solve or it did not converge.

.seealso: `KSPSKETCH`, `KSPSketchSetErrorBounds()`
@*/
PetscErrorCode KSPSketchGetErrorBounds(KSP ksp, Vec bounds, PetscReal *delta)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscCheck(bounds, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_NULL, "Null vector: bounds");
  PetscUseMethod(ksp, "KSPSketchGetErrorBounds_C", (KSP, Vec, PetscReal *), (ksp, bounds, delta));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchGetColumnReasons - Gets the reason of each right-hand side of the last solve

   Not Collective

   Input Parameter:
.  ksp - the Krylov context, of type `KSPSKETCH`

   Output Parameters:
+  n        - number of right-hand sides, or NULL
-  reasons  - the reasons, valid until the next solve, or NULL

   Level: intermediate

   Notes:
   `KSPGetConvergedReason()` is the worst of them.

   Errors: `PETSC_ERR_SUP` if the `KSP` is not of type `KSPSKETCH`.

.seealso: `KSPSKETCH`, `KSPMatSolve()`, `KSPSketchSolveRidgePath()`
@*/
PetscErrorCode KSPSketchGetColumnReasons(KSP ksp, PetscInt *n, const KSPConvergedReason *reasons[])
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscUseMethod(ksp, "KSPSketchGetColumnReasons_C", (KSP, PetscInt *, const KSPConvergedReason *[]), (ksp, n, reasons));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchGetBackwardError - Gets the backward error of the last solution

   Not Collective

   Input Parameter:
.  ksp - the Krylov context, of type `KSPSKETCH`

   Output Parameter:
.  error - estimate of the backward error of the last solve with columns of unit norm, relative to |A|_F, the largest of all columns; -1 if none was computed (sketch-and-solve)

   Level: intermediate

   Notes:
   Computed from a fresh residual after the last step.

   Errors: `PETSC_ERR_ARG_WRONGSTATE` before the first solve; `PETSC_ERR_SUP` if the `KSP` is not of type `KSPSKETCH`.

.seealso: `KSPSKETCH`, `KSPSetTolerances()`
@*/
PetscErrorCode KSPSketchGetBackwardError(KSP ksp, PetscReal *error)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscCheck(error, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_NULL, "Null pointer: error");
  PetscUseMethod(ksp, "KSPSketchGetBackwardError_C", (KSP, PetscReal *), (ksp, error));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchGetRank - Gets the numerical rank found

   Not Collective

   Input Parameter:
.  ksp - the Krylov context, of type `KSPSKETCH`

   Output Parameter:
.  rank - numerical rank of A (columns scaled)

   Level: intermediate

   Notes:
   A direction counts as missing if its singular value in the sketch is below 30 u times the largest and A itself maps it to rounding level.

   Errors: `PETSC_ERR_ARG_WRONGSTATE` before the first solve; `PETSC_ERR_SUP` if the `KSP` is not of type `KSPSKETCH`.

.seealso: `KSPSKETCH`, `KSPSketchGetCondition()`
@*/
PetscErrorCode KSPSketchGetRank(KSP ksp, PetscInt *rank)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscCheck(rank, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_NULL, "Null pointer: rank");
  PetscUseMethod(ksp, "KSPSketchGetRank_C", (KSP, PetscInt *), (ksp, rank));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchGetCondition - Gets the estimate of the condition number

   Not Collective

   Input Parameter:
.  ksp - the Krylov context, of type `KSPSKETCH`

   Output Parameter:
.  condition - estimate of the condition number of A with its columns scaled (of the part of full numerical rank)

   Level: intermediate

   Notes:
   In the 1-norm for full rank (LAPACK dtrcon on the triangular factor), in the 2-norm otherwise; the distortion of the sketch is part of it.

   Errors: `PETSC_ERR_ARG_WRONGSTATE` before the first solve; `PETSC_ERR_SUP` if the `KSP` is not of type `KSPSKETCH`.

.seealso: `KSPSKETCH`, `KSPSketchGetRank()`
@*/
PetscErrorCode KSPSketchGetCondition(KSP ksp, PetscReal *condition)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscCheck(condition, PetscObjectComm((PetscObject)ksp), PETSC_ERR_ARG_NULL, "Null pointer: condition");
  PetscUseMethod(ksp, "KSPSketchGetCondition_C", (KSP, PetscReal *), (ksp, condition));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KSPSketchGetTimes - Gets the times of the last solve on this process

   Not Collective

   Input Parameter:
.  ksp - the Krylov context, of type `KSPSKETCH`

   Output Parameters:
+  setup - seconds for scaling, sketch and factorisation, or NULL
-  solve - seconds for the iteration and the bounds, or NULL

   Level: intermediate

   Notes:
   The setup time is that of the last setup; a solve that reuses it adds nothing to it.

   Errors: `PETSC_ERR_SUP` if the `KSP` is not of type `KSPSKETCH`.

.seealso: `KSPSKETCH`
@*/
PetscErrorCode KSPSketchGetTimes(KSP ksp, PetscLogDouble *setup, PetscLogDouble *solve)
{
  PetscFunctionBegin;
  PetscValidHeaderSpecific(ksp, KSP_CLASSID, 1);
  PetscUseMethod(ksp, "KSPSketchGetTimes_C", (KSP, PetscLogDouble *, PetscLogDouble *), (ksp, setup, solve));
  PetscFunctionReturn(PETSC_SUCCESS);
}
