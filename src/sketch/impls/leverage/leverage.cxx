/*
   Rows sampled by their leverage scores: a sparse sign sketch of A gives R with A R^{-1} nearly orthonormal, 16 random directions give the squared row norms of
   A R^{-1}, and m rows are drawn from 0.9 score + 0.1 uniform. Cost 2 zeta nnz + 32 nnz + 4 d^3. S depends on A.
*/
#include <skean/private/sketchimpl.h> /*I "skeansketch.h" I*/
#include "../kernels/block.hpp"
#include "../kernels/sparse.hpp"
#include <skean/private/reduce.hpp>
#include <slepcblaslapack.h>
#include <algorithm>
#include <cmath>
#include <limits>

namespace {
constexpr PetscInt Directions = 16;
/* scores are summed as integers of this unit, so that the sum does not depend on its order */
constexpr double Unit = 1.0 / (std::uint64_t(1) << 40);

struct Leverage {
  bool                       poisoned = false; /* NaN or Inf in A: so is S A */
  std::vector<std::uint64_t> row;              /* sampled global row of each row of S */
  std::vector<double>        weight;           /* 1/sqrt(m p) */
  std::vector<size_t>        order;            /* rows of S by sampled row */
};

/* score[i] = |A(i,:) W|^2, W d x Directions */
void Scores(const skean::RowView &A, const double *W, double *score)
{
  const size_t n = static_cast<size_t>(A.nrows), d = static_cast<size_t>(A.ncols), lda = static_cast<size_t>(A.lda);
  if (A.IsDense()) {
    const size_t        block = 512;
    std::vector<double> Y(block * Directions);
    PetscBLASInt        bk = static_cast<PetscBLASInt>(d), blda = static_cast<PetscBLASInt>(lda), bw = Directions;
    PetscScalar         one = 1.0, zero = 0.0;
    for (size_t i0 = 0; i0 < n; i0 += block) {
      const size_t rows = std::min(block, n - i0);
      PetscBLASInt br   = static_cast<PetscBLASInt>(rows);
      BLASgemm_("N", "T", &br, &bw, &bk, &one, A.dense + i0, &blda, W, &bw, &zero, Y.data(), &br);
      for (size_t i = 0; i < rows; ++i) {
        double s = 0.0;
        for (size_t k = 0; k < Directions; ++k) s += Y[i + k * rows] * Y[i + k * rows];
        score[i0 + i] = s;
      }
    }
  } else {
    for (size_t i = 0; i < n; ++i) {
      double y[Directions] = {0}, s = 0.0;
      for (int p = 0; p < A.nparts; ++p)
        for (PetscInt q = A.part[p].i[i]; q < A.part[p].i[i + 1]; ++q)
          for (size_t k = 0; k < Directions; ++k) y[k] += A.part[p].a[q] * W[static_cast<size_t>(A.part[p].Column(q)) * Directions + k];
      for (double v : y) s += v * v;
      score[i] = s;
    }
  }
}
} // namespace

static PetscErrorCode SkeanSketchReset_Leverage(SkeanSketch sketch)
{
  PetscFunctionBegin;
  delete static_cast<Leverage *>(sketch->data);
  sketch->data = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanSketchSetUp_Leverage(SkeanSketch sketch)
{
  PetscFunctionBegin;
  PetscCall(SkeanSketchReset_Leverage(sketch));
  PetscCallCXX(sketch->data = new Leverage);
  sketch->guarantee = SKEAN_SKETCH_GUARANTEE_NONE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* W = R^{-1} G/sqrt(Directions) in the columns that a pivoted QR of the m1 x d sketch takes for independent; W d x Directions by rows. finite: no NaN or Inf met. */
static PetscErrorCode LeverageDirections(SkeanSketch sketch, const skean::RowView *A, std::vector<double> &W, bool *finite)
{
  const PetscInt      d = A->ncols, m1 = 4 * d + 16;
  const auto          draw = static_cast<std::uint32_t>(sketch->draw);
  std::vector<double> P, tau, work, G;
  PetscBLASInt        bm, bd, lwork, info, rank = 0, k = Directions;
  PetscScalar         query, one = 1.0;
  PetscMPIInt         me;
  MPI_Comm            comm = PetscObjectComm((PetscObject)sketch);

  PetscFunctionBegin;
  PetscCallCXX(P.assign(static_cast<size_t>(m1) * d, 0.0));
  PetscCallCXX(W.assign(static_cast<size_t>(d) * Directions, 0.0));
  for (PetscInt r = 0; r < A->Runs(); r++) {
    const skean::RowView rows = A->RowsOf(A->GetRun(r));
    if (rows.nrows) PetscCallCXX(skean::SparseSketchApply(skean::SparseHash(sketch->seed, draw, static_cast<std::uint32_t>(m1), 8, false), rows, P.data()));
  }
  PetscCall(skean::AllreduceSum(comm, P.data(), P.size()));
  PetscCallMPI(MPI_Comm_rank(comm, &me));
  if (!me) {
    bool                      ok = true;
    std::vector<PetscBLASInt> piv(static_cast<size_t>(d), 0);

    for (double v : P) ok = ok && std::isfinite(v);
    if (ok) {
      PetscCall(PetscBLASIntCast(m1, &bm));
      PetscCall(PetscBLASIntCast(d, &bd));
      PetscCallCXX(tau.resize(static_cast<size_t>(d)));
      lwork = -1;
      PetscCallBLAS("LAPACKgeqp3", LAPACKgeqp3_(&bm, &bd, P.data(), &bm, piv.data(), tau.data(), &query, &lwork, &info));
      lwork = static_cast<PetscBLASInt>(query);
      PetscCallCXX(work.resize(static_cast<size_t>(lwork)));
      PetscCallBLAS("LAPACKgeqp3", LAPACKgeqp3_(&bm, &bd, P.data(), &bm, piv.data(), tau.data(), work.data(), &lwork, &info));
      PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK geqp3 found argument %d invalid", (int)-info);
      while (rank < bd && std::abs(P[rank + static_cast<size_t>(rank) * m1]) > m1 * PETSC_MACHINE_EPSILON * std::abs(P[0])) rank++;
      if (rank) {
        const skean::RandomStream g(sketch->seed, skean::Purpose::Probe, draw);
        PetscCallCXX(G.resize(static_cast<size_t>(rank) * Directions));
        for (PetscBLASInt i = 0; i < rank; i++)
          for (PetscInt c = 0; c < Directions; c++) G[i + static_cast<size_t>(c) * rank] = g.Normal(i, c) / std::sqrt(static_cast<double>(Directions));
        PetscCallBLAS("BLAStrsm", BLAStrsm_("L", "U", "N", "N", &rank, &k, &one, P.data(), &bm, G.data(), &rank));
        for (PetscBLASInt i = 0; i < rank; i++)
          for (PetscInt c = 0; c < Directions; c++) W[static_cast<size_t>(piv[i] - 1) * Directions + c] = G[i + static_cast<size_t>(c) * rank];
      }
    } else
      std::fill(W.begin(), W.end(), std::numeric_limits<double>::quiet_NaN());
  }
  /* one process computed it: the scores must be the same function of A everywhere, to the last bit */
  PetscCallMPI(MPI_Bcast(W.data(), static_cast<PetscMPIInt>(W.size()), MPI_DOUBLE, 0, comm));
  *finite = true;
  for (double v : W) *finite = *finite && std::isfinite(v);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanSketchPrepare_Leverage(SkeanSketch sketch, const skean::RowView *A)
{
  Leverage                  *lev = static_cast<Leverage *>(sketch->data);
  const size_t               m = static_cast<size_t>(sketch->m), n = static_cast<size_t>(A->nrows);
  const auto                 N    = static_cast<std::uint64_t>(A->nglobal);
  MPI_Comm                   comm = PetscObjectComm((PetscObject)sketch);
  std::vector<double>        W, score, found;
  std::vector<std::uint64_t> units, start, local, before, totals; /* of each row; of each block of rows */
  std::uint64_t              total = 0;
  const skean::RandomStream  stream(sketch->seed, skean::Purpose::Samples, static_cast<std::uint32_t>(sketch->draw));
  bool                       finite = true;

  PetscFunctionBegin;
  PetscCheck(sketch->n > 0, comm, PETSC_ERR_ARG_OUTOFRANGE, "Sketch type leverage cannot sample rows of a matrix without rows");
  PetscCallCXX(score.assign(n, 0.0));
  PetscCallCXX(units.resize(n));
  PetscCallCXX(start.resize(n));
  PetscCallCXX(local.assign(A->nblocks, 0));
  PetscCallCXX(before.assign(A->nblocks, 0));
  PetscCallCXX(totals.assign(A->nblocks, 0));
  PetscCallCXX(found.assign(2 * m, 0.0));
  PetscCallCXX(lev->row.resize(m));
  PetscCallCXX(lev->weight.resize(m));
  PetscCallCXX(lev->order.resize(m));
  if (A->ncols) PetscCall(LeverageDirections(sketch, A, W, &finite));
  lev->poisoned = !finite;
  if (lev->poisoned) PetscFunctionReturn(PETSC_SUCCESS);
  if (A->ncols && n) PetscCallCXX(Scores(*A, W.data(), score.data()));
  /* a leverage score is at most 1, its estimate from 16 directions hardly above 4; the cap keeps the sum of integers below 2^64 for any n */
  for (size_t i = 0; i < n; i++) {
    score[i] = std::min(score[i], 8.0);
    units[i] = static_cast<std::uint64_t>(score[i] / Unit);
  }
  /* row i has the numbers start[i], ..., start[i] + units[i] - 1 of 0, ..., total - 1: in the order of the rows, whoever owns them */
  for (PetscInt r = 0; r < A->Runs(); r++) {
    const skean::RowView::Run run = A->GetRun(r);
    for (PetscInt i = run.local; i < run.local + run.count; i++) {
      start[i] = local[run.block];
      local[run.block] += units[i];
    }
  }
  PetscCallMPI(MPI_Exscan(local.data(), before.data(), static_cast<int>(A->nblocks), MPI_UINT64_T, MPI_SUM, comm));
  PetscMPIInt me;
  PetscCallMPI(MPI_Comm_rank(comm, &me));
  if (!me) std::fill(before.begin(), before.end(), std::uint64_t(0));
  PetscCallMPI(MPI_Allreduce(local.data(), totals.data(), static_cast<int>(A->nblocks), MPI_UINT64_T, MPI_SUM, comm));
  for (PetscInt k = 0; k < A->nblocks; k++) {
    before[k] += total;
    total += totals[k];
  }
  for (PetscInt r = 0; r < A->Runs(); r++) {
    const skean::RowView::Run run = A->GetRun(r);
    for (PetscInt i = run.local; i < run.local + run.count; i++) start[i] += before[run.block];
  }
  for (size_t t = 0; t < m; t++) {
    /* words 0, 1: uniform or by score; words 2, 3: which */
    const auto          w       = stream.Bits(t);
    const std::uint64_t v       = (static_cast<std::uint64_t>(w[3]) << 32) | w[2];
    const bool          any     = !total || skean::RandomStream::ToUniform(w[0], w[1]) < 0.1;
    const std::uint64_t g       = skean::Below64(v, any ? N : total);
    const double        uniform = 1.0 / static_cast<double>(N);
    for (PetscInt r = 0; r < A->Runs(); r++) {
      const skean::RowView::Run run = A->GetRun(r);
      const auto                r0  = static_cast<std::uint64_t>(run.global);
      PetscInt                  i   = run.local;
      if (any) {
        if (g < r0 || g >= r0 + static_cast<std::uint64_t>(run.count)) continue;
        i += static_cast<PetscInt>(g - r0);
      } else {
        const auto first = start.begin() + run.local;
        i += static_cast<PetscInt>(std::upper_bound(first, first + run.count, g) - first) - 1;
        if (i < run.local || g - start[i] >= units[i]) continue;
      }
      const double p   = total ? 0.9 * (score[i] / Unit / static_cast<double>(total)) + 0.1 * uniform : uniform;
      found[2 * t]     = static_cast<double>(run.global + (i - run.local));
      found[2 * t + 1] = 1.0 / std::sqrt(static_cast<double>(m) * p);
    }
  }
  PetscCall(skean::AllreduceSum(comm, found.data(), found.size()));
  for (size_t t = 0; t < m; t++) {
    lev->row[t]    = static_cast<std::uint64_t>(found[2 * t]);
    lev->weight[t] = found[2 * t + 1];
    lev->order[t]  = t;
  }
  std::sort(lev->order.begin(), lev->order.end(), [lev](size_t a, size_t b) { return lev->row[a] != lev->row[b] ? lev->row[a] < lev->row[b] : a < b; });
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SkeanSketchApplyLocal_Leverage(SkeanSketch sketch, const skean::RowView *A, PetscScalar *SA)
{
  const Leverage *lev = static_cast<const Leverage *>(sketch->data);
  const size_t    m   = static_cast<size_t>(sketch->m);
  const auto      r0 = static_cast<std::uint64_t>(A->rstart), r1 = r0 + static_cast<std::uint64_t>(A->nrows);

  PetscFunctionBegin;
  if (lev->poisoned) {
    std::fill(SA, SA + m * static_cast<size_t>(A->ncols), std::numeric_limits<double>::quiet_NaN());
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (auto it = std::lower_bound(lev->order.begin(), lev->order.end(), r0, [lev](size_t t, std::uint64_t r) { return lev->row[t] < r; });
       it != lev->order.end() && lev->row[*it] < r1; ++it) {
    const size_t t = *it, i = static_cast<size_t>(lev->row[t] - r0);
    if (A->IsDense())
      for (size_t c = 0; c < static_cast<size_t>(A->ncols); c++) SA[t + c * m] += lev->weight[t] * A->dense[i + c * static_cast<size_t>(A->lda)];
    else
      for (int p = 0; p < A->nparts; p++)
        for (PetscInt q = A->part[p].i[i]; q < A->part[p].i[i + 1]; q++)
          SA[t + static_cast<size_t>(A->part[p].Column(q)) * m] += lev->weight[t] * A->part[p].a[q];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   SKEANSKETCHLEVERAGE - "leverage": rows sampled with probabilities from their approximate leverage scores

   Level: beginner

   Notes:
   1. P = a sparse sign sketch of A with 4 d + 16 rows; pivoted QR of P gives R, and the rank.
   2. Scores |A(i,:) R^{-1} G|^2 with 16 normal directions G.
   3. Row t of S A is row i of A times 1/sqrt(m p_i), where i is drawn with replacement from p_i = 0.9 score_i/sum + 0.1/n.

   S depends on A: `SkeanSketchApply()` draws it anew for each matrix, and `SkeanSketchApplyVec()` uses the rows last drawn. The scores are summed as integers, so that the rows drawn do not
   depend on the number of processes (unless a score falls within rounding of such an integer and a draw at its edge, of the order of 1e-12 per row).

   Cost: 16 nnz(A) flops for P, 32 nnz(A) for the scores, 4 d^3 on one process. Communication beyond the sum of m d numbers: a sum of (4 d + 16) d, a broadcast of 16 d, a scan, and a sum of 2 m numbers.
   NaN or Inf in A makes all of S A NaN.

   Rows needed: d log(d)/eta^2, in practice 10 d and more.

   When not to use it: where coordinates of the sketch-and-solve solution matter (counterexample of E. Price, Z. Song and D. P. Woodruff, ICALP 2017). Useful
   where rows of A must stay rows: data selection, weighted refits.

   Source: P. Drineas, M. Magdon-Ismail, M. W. Mahoney and D. P. Woodruff, Fast approximation of matrix coherence and statistical leverage, JMLR 13, 2012, algorithm 1.

.seealso: `SkeanSketchApply()`, `SkeanSketchApplyVec()`, `SkeanSketchType`
M*/
SKEAN_INTERN PetscErrorCode SkeanSketchCreate_Leverage(SkeanSketch sketch);
PetscErrorCode              SkeanSketchCreate_Leverage(SkeanSketch sketch)
{
  PetscFunctionBegin;
  sketch->ops->setup      = SkeanSketchSetUp_Leverage;
  sketch->ops->prepare    = SkeanSketchPrepare_Leverage;
  sketch->ops->applylocal = SkeanSketchApplyLocal_Leverage;
  sketch->ops->reset      = SkeanSketchReset_Leverage;
  sketch->ops->destroy    = SkeanSketchReset_Leverage;
  PetscFunctionReturn(PETSC_SUCCESS);
}
