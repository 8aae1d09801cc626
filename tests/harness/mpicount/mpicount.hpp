/*
   Messages and bytes of this process, counted through MPI's profiling interface. Link skean_mpicount: its MPI_* functions are
   exported by the executable, hence also called by libpetsc.so and every other shared library, and pass on to PMPI_*.

     skeantest::MessageCounter c;
     c.Start();
     PetscCall(VecNorm(x, NORM_2, &norm));
     c.Stop();
     c.Calls("Allreduce") == 1, c.Bytes("Allreduce") == 8

   What is counted, all for this process alone:
   - point to point: a message is counted once, on the process that sends it, with its size; sends to MPI_PROC_NULL are none.
     Sendrecv is its send. Persistent sends count when they are started, under "Start". Receives and probes are not counted.
   - collective: one call, and its payload on this process:
       Bcast, Reduce, Allreduce, Scan, Exscan     the buffer, count times the type, on every process
       Gather(v), Allgather(v)                    what this process contributes
       Scatter(v)                                 what this process receives
       Reduce_scatter, Reduce_scatter_block       the whole vector that this process contributes
       Alltoall(v,w)                              what goes to other processes: the block a process keeps for itself is left out
       Neighbor_*                                 the sum over the outgoing edges
       Barrier                                    nothing
     The nonblocking form of a collective is counted when it is posted, under its own name ("Iallreduce").
   - one-sided: Put, Get, Accumulate and their like, with the size on this process.
   - set-up of communicators (Comm_dup, Comm_split, ...): calls, under their own names, in none of the sums but Communicators().

   Not seen: calls from Fortran (MPI libraries route them to PMPI_* directly), hence what MUMPS sends.
   A PETSc built with debugging makes reductions of its own to check its arguments: exact counts only where CountsAreExact().
*/
#pragma once

#include <cstdint>
#include <string>

namespace skeantest {
/* clang-format off */
/* One X(name) for each function that is counted, grouped; persistent sends are counted as Start */
#define SKEAN_MPICOUNT_P2P(X) X(Send) X(Bsend) X(Ssend) X(Rsend) X(Isend) X(Ibsend) X(Issend) X(Irsend) X(Sendrecv) X(Sendrecv_replace) X(Start)
#define SKEAN_MPICOUNT_REDUCTION(X)                                                                                                                      \
  X(Reduce)                                                                                                                                              \
  X(Allreduce) X(Reduce_scatter) X(Reduce_scatter_block) X(Scan) X(Exscan) X(Ireduce) X(Iallreduce) X(Ireduce_scatter) X(Ireduce_scatter_block) X(Iscan) \
    X(Iexscan)
#define SKEAN_MPICOUNT_COLLECTIVE(X)                                                                                                                        \
  X(Barrier)                                                                                                                                                \
  X(Bcast) X(Gather) X(Gatherv) X(Scatter) X(Scatterv) X(Allgather) X(Allgatherv) X(Alltoall) X(Alltoallv) X(Alltoallw) X(Ibarrier) X(Ibcast) X(Igather)    \
    X(Igatherv) X(Iscatter) X(Iscatterv) X(Iallgather) X(Iallgatherv) X(Ialltoall) X(Ialltoallv) X(Ialltoallw) X(Neighbor_allgather) X(Neighbor_allgatherv) \
      X(Neighbor_alltoall) X(Neighbor_alltoallv) X(Neighbor_alltoallw) X(Ineighbor_allgather) X(Ineighbor_allgatherv) X(Ineighbor_alltoall)                 \
        X(Ineighbor_alltoallv) X(Ineighbor_alltoallw)
#define SKEAN_MPICOUNT_ONESIDED(X)     X(Put) X(Get) X(Accumulate) X(Get_accumulate) X(Fetch_and_op) X(Compare_and_swap) X(Rput) X(Rget) X(Raccumulate)
#define SKEAN_MPICOUNT_COMMUNICATOR(X) X(Comm_dup) X(Comm_idup) X(Comm_split) X(Comm_split_type) X(Comm_create) X(Dist_graph_create_adjacent)
/* clang-format on */

enum MpiKind : int {
#define SKEAN_MPICOUNT_ENUM(name) MPI_KIND_##name,
  SKEAN_MPICOUNT_P2P(SKEAN_MPICOUNT_ENUM) MPI_KIND_END_P2P,
  MPI_KIND_BEGIN_REDUCTION = MPI_KIND_END_P2P - 1,
  SKEAN_MPICOUNT_REDUCTION(SKEAN_MPICOUNT_ENUM) MPI_KIND_END_REDUCTION,
  MPI_KIND_BEGIN_COLLECTIVE = MPI_KIND_END_REDUCTION - 1,
  SKEAN_MPICOUNT_COLLECTIVE(SKEAN_MPICOUNT_ENUM) MPI_KIND_END_COLLECTIVE,
  MPI_KIND_BEGIN_ONESIDED = MPI_KIND_END_COLLECTIVE - 1,
  SKEAN_MPICOUNT_ONESIDED(SKEAN_MPICOUNT_ENUM) MPI_KIND_END_ONESIDED,
  MPI_KIND_BEGIN_COMMUNICATOR = MPI_KIND_END_ONESIDED - 1,
  SKEAN_MPICOUNT_COMMUNICATOR(SKEAN_MPICOUNT_ENUM) MPI_KIND_COUNT
#undef SKEAN_MPICOUNT_ENUM
};

struct MessageCounts {
  std::int64_t calls[MPI_KIND_COUNT];
  std::int64_t bytes[MPI_KIND_COUNT];
};

class MessageCounter {
public:
  MessageCounter();
  void Start(); /* forgets what was counted before */
  void Stop();
  /* Between Start() and Stop(), or until now while still counting */
  std::int64_t PointToPoint() const;
  std::int64_t PointToPointBytes() const;
  std::int64_t Collectives() const; /* reductions and the rest, without communicators */
  std::int64_t CollectiveBytes() const;
  std::int64_t Reductions() const; /* the collectives that add up: Reduce, Allreduce, Reduce_scatter, Scan and their like */
  std::int64_t ReductionBytes() const;
  std::int64_t OneSided() const;
  std::int64_t OneSidedBytes() const;
  std::int64_t Communicators() const;
  std::int64_t Messages() const; /* point to point, collective and one-sided calls */
  std::int64_t Bytes() const;    /* and their bytes */
  /* By MPI's name without MPI_; "Start" for persistent sends. A name that is not counted gives -1. */
  std::int64_t Calls(const std::string &name) const;
  std::int64_t Bytes(const std::string &name) const;
  /* "Allreduce 2 (16 B), Isend 1 (800 B)": what is not zero */
  std::string Report() const;

private:
  MessageCounts begin_, end_;
  bool          running_;
  MessageCounts Difference() const;
};

/* False where PETSc makes reductions of its own to check arguments (built with debugging) */
bool CountsAreExact();
} // namespace skeantest
