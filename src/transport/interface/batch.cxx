/* Many small problems, each on one process */
#include <skean/private/transportimpl.h>
#include <skean/private/reduce.hpp>

/* A problem from start to end on this process; an error leaves through the return value and is reported by the caller */
static PetscErrorCode SolveOne(PetscInt k, SkeanTransportBatchFn set, void *ctx, const char prefix[], SkeanTransport *solver, SkeanTransportBatchResult *x)
{
  SkeanTransport t;

  PetscFunctionBegin;
  PetscCall(SkeanTransportCreate(PETSC_COMM_SELF, solver));
  t = *solver;
  if (prefix) PetscCall(SkeanTransportSetOptionsPrefix(t, prefix));
  PetscCall((*set)(k, t, ctx));
  PetscCall(SkeanTransportSetFromOptions(t));
  PetscCall(SkeanTransportSolve(t));
  PetscCall(SkeanTransportGetConvergedReason(t, &x->reason));
  PetscCall(SkeanTransportGetIterationNumber(t, &x->iterations));
  PetscCall(SkeanTransportGetCosts(t, &x->cost, NULL, NULL));
  PetscCall(SkeanTransportGetCertificate(t, &x->lower, &x->upper));
  PetscCall(SkeanTransportGetMarginalError(t, &x->marginalerror));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanTransportSolveBatch - Solves many small problems, each on one process, whichever is free next

   Collective

   Input Parameters:
+  comm   - the processes that share the work
.  n      - number of problems
.  set    - set(k, t, ctx) gives the solver t, on `PETSC_COMM_SELF`, the marginals and the cost of problem k
.  ctx    - passed on to set
-  prefix - of the options of all solvers, or NULL

   Output Parameter:
.  results - n answers, on every process

   Level: intermediate

   Notes:
   Every problem has a solver of its own, set from the options database after set was called, so that an answer depends on its problem alone and is the same, bit
   by bit, for any number of processes of one kind of machine. A shared counter hands out the problems one by one (one-sided MPI); the answers are summed at
   the end, 7 numbers for each problem. set is called on any process for any problem and must not communicate: the data must be at hand on every process.

   A problem that cannot be set or solved (`SkeanTransportBatchResult`) does not stop the others: its error code is kept, silently. The call itself fails only for
   the batch as a whole.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` for a negative n.

.seealso: `SkeanTransportBatchResult`, `SkeanTransportSolve()`
@*/
PetscErrorCode SkeanTransportSolveBatch(MPI_Comm comm, PetscInt n, SkeanTransportBatchFn set, void *ctx, const char prefix[],
                                        SkeanTransportBatchResult results[])
{
  constexpr int       fields = 7;
  PetscMPIInt         size, rank;
  MPI_Win             win  = MPI_WIN_NULL;
  PetscInt64         *next = NULL, k = 0;
  const PetscInt64    one = 1;
  std::vector<double> pack;

  PetscFunctionBegin;
  PetscCall(SkeanInitializePackage());
  PetscCheck(n >= 0, comm, PETSC_ERR_ARG_OUTOFRANGE, "A batch of %" PetscInt_FMT " problems", n);
  PetscCheck(set && (results || !n), comm, PETSC_ERR_ARG_NULL, "Null pointer: %s", set ? "results" : "set");
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallCXX(pack.assign(fields * static_cast<size_t>(n) + 1, 0.0));
  if (size > 1) {
    PetscCallMPI(MPI_Win_allocate(rank ? 0 : static_cast<MPI_Aint>(sizeof(PetscInt64)), sizeof(PetscInt64), MPI_INFO_NULL, comm, &next, &win));
    if (!rank) {
      PetscCallMPI(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, win));
      *next = 0;
      PetscCallMPI(MPI_Win_unlock(0, win));
    }
    PetscCallMPI(MPI_Barrier(comm));
    PetscCallMPI(MPI_Win_lock_all(0, win));
  }
  for (PetscInt64 mine = 0;; ++mine) {
    if (size > 1) {
      PetscCallMPI(MPI_Fetch_and_op(&one, &k, MPIU_INT64, 0, 0, MPI_SUM, win));
      PetscCallMPI(MPI_Win_flush(0, win));
    } else
      k = mine;
    if (k >= n) break;
    SkeanTransport            t = NULL;
    SkeanTransportBatchResult x = {PETSC_SUCCESS, SKEAN_CONVERGED_ITERATING, 0, 0, 0, 0, 0};
    /* no error may leave this loop: the other processes are not here to see it */
    PetscCall(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
    x.error                       = SolveOne(static_cast<PetscInt>(k), set, ctx, prefix, &t, &x);
    const PetscErrorCode leftover = SkeanTransportDestroy(&t);
    if (!x.error) x.error = leftover;
    PetscCall(PetscPopErrorHandler());
    double *p = pack.data() + fields * static_cast<size_t>(k);
    p[0]      = static_cast<double>(x.error);
    if (x.error) continue;
    p[1] = static_cast<double>(x.reason);
    p[2] = static_cast<double>(x.iterations);
    p[3] = x.cost;
    p[4] = x.lower;
    p[5] = x.upper;
    p[6] = x.marginalerror;
  }
  if (size > 1) {
    PetscCallMPI(MPI_Win_unlock_all(win));
    PetscCallMPI(MPI_Win_free(&win));
  }
  PetscCall(skean::AllreduceSum(comm, pack.data(), fields * static_cast<size_t>(n)));
  for (PetscInt q = 0; q < n; ++q) {
    const double *p          = pack.data() + fields * static_cast<size_t>(q);
    results[q].error         = static_cast<PetscErrorCode>(static_cast<int>(p[0]));
    results[q].reason        = static_cast<SkeanConvergedReason>(static_cast<int>(p[1]));
    results[q].iterations    = static_cast<PetscInt>(p[2]);
    results[q].cost          = p[3];
    results[q].lower         = p[4];
    results[q].upper         = p[5];
    results[q].marginalerror = p[6];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
