/* See mpicount.hpp. One object file on purpose: whoever uses MessageCounter gets every MPI_* function below with it. */
#include "mpicount.hpp"
#include <petscconf.h>
#include <mpi.h>
#include <atomic>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace skeantest {
namespace {
std::atomic<std::int64_t> Calls_[MPI_KIND_COUNT], Bytes_[MPI_KIND_COUNT];

const char *const Names[MPI_KIND_COUNT] = {
#define SKEAN_MPICOUNT_NAME(name) #name,
  SKEAN_MPICOUNT_P2P(SKEAN_MPICOUNT_NAME) SKEAN_MPICOUNT_REDUCTION(SKEAN_MPICOUNT_NAME) SKEAN_MPICOUNT_COLLECTIVE(SKEAN_MPICOUNT_NAME)
    SKEAN_MPICOUNT_ONESIDED(SKEAN_MPICOUNT_NAME) SKEAN_MPICOUNT_COMMUNICATOR(SKEAN_MPICOUNT_NAME)
#undef SKEAN_MPICOUNT_NAME
};
static_assert(MPI_KIND_Reduce == MPI_KIND_END_P2P && MPI_KIND_Barrier == MPI_KIND_END_REDUCTION && MPI_KIND_Put == MPI_KIND_END_COLLECTIVE &&
                MPI_KIND_Comm_dup == MPI_KIND_END_ONESIDED,
              "the groups follow each other without a gap");

void Count(MpiKind kind, std::int64_t bytes)
{
  Calls_[kind].fetch_add(1, std::memory_order_relaxed);
  Bytes_[kind].fetch_add(bytes, std::memory_order_relaxed);
}

std::int64_t SizeOf(std::int64_t count, MPI_Datatype type)
{
  int size = 0;
  if (count <= 0 || type == MPI_DATATYPE_NULL) return 0;
  PMPI_Type_size(type, &size);
  return count * size;
}

/* The number of processes a rooted or all-to-all collective addresses: the other group of an intercommunicator */
int Peers(MPI_Comm comm)
{
  int inter = 0, size = 0;
  PMPI_Comm_test_inter(comm, &inter);
  if (inter)
    PMPI_Comm_remote_size(comm, &size);
  else
    PMPI_Comm_size(comm, &size);
  return size;
}

/* -1 on an intercommunicator, where no block stays at home */
int Self(MPI_Comm comm)
{
  int inter = 0, rank = -1;
  PMPI_Comm_test_inter(comm, &inter);
  if (!inter) PMPI_Comm_rank(comm, &rank);
  return rank;
}

int GroupSize(MPI_Comm comm)
{
  int size = 0;
  PMPI_Comm_size(comm, &size);
  return size;
}

int OutEdges(MPI_Comm comm)
{
  int topology = MPI_UNDEFINED, in = 0, out = 0, weighted = 0, rank = 0;
  PMPI_Topo_test(comm, &topology);
  if (topology == MPI_DIST_GRAPH)
    PMPI_Dist_graph_neighbors_count(comm, &in, &out, &weighted);
  else if (topology == MPI_CART) {
    PMPI_Cartdim_get(comm, &out);
    out *= 2;
  } else if (topology == MPI_GRAPH) {
    PMPI_Comm_rank(comm, &rank);
    PMPI_Graph_neighbors_count(comm, rank, &out);
  }
  return out;
}

std::int64_t Alltoall(const void *sendbuf, int sendcount, MPI_Datatype sendtype, int recvcount, MPI_Datatype recvtype, MPI_Comm comm)
{
  const std::int64_t block = sendbuf == MPI_IN_PLACE ? SizeOf(recvcount, recvtype) : SizeOf(sendcount, sendtype);
  return block * (Peers(comm) - (Self(comm) >= 0 ? 1 : 0));
}

/* types: one for all (n 1) or one for each process */
std::int64_t Alltoallv(const void *sendbuf, const int sendcounts[], const MPI_Datatype *sendtypes, const int recvcounts[], const MPI_Datatype *recvtypes,
                       bool each, MPI_Comm comm)
{
  const int          *counts = sendbuf == MPI_IN_PLACE ? recvcounts : sendcounts;
  const MPI_Datatype *types  = sendbuf == MPI_IN_PLACE ? recvtypes : sendtypes;
  const int           peers = Peers(comm), self = Self(comm);
  std::int64_t        sum = 0;
  for (int r = 0; r < peers; ++r)
    if (r != self) sum += SizeOf(counts[r], types[each ? r : 0]);
  return sum;
}

std::int64_t Neighborv(const int sendcounts[], const MPI_Datatype *sendtypes, bool each, MPI_Comm comm)
{
  const int    edges = OutEdges(comm);
  std::int64_t sum   = 0;
  for (int e = 0; e < edges; ++e) sum += SizeOf(sendcounts[e], sendtypes[each ? e : 0]);
  return sum;
}

std::int64_t ReduceScatter(const int recvcounts[], MPI_Datatype type, MPI_Comm comm)
{
  const int    size = GroupSize(comm);
  std::int64_t sum  = 0;
  for (int r = 0; r < size; ++r) sum += SizeOf(recvcounts[r], type);
  return sum;
}

/* Persistent sends, from their creation to MPI_Request_free() */
std::mutex                                     PersistentLock;
std::unordered_map<MPI_Request, std::int64_t> &Persistent()
{
  static auto *map = new std::unordered_map<MPI_Request, std::int64_t>; /* PetscFinalize() may run after static destructors */
  return *map;
}

void RememberPersistent(MPI_Request request, int dest, int count, MPI_Datatype type)
{
  const std::lock_guard<std::mutex> lock(PersistentLock);
  if (dest == MPI_PROC_NULL)
    Persistent().erase(request);
  else
    Persistent()[request] = SizeOf(count, type);
}

void CountStart(MPI_Request request)
{
  const std::lock_guard<std::mutex> lock(PersistentLock);
  const auto                        it = Persistent().find(request);
  if (it != Persistent().end()) Count(MPI_KIND_Start, it->second);
}

MessageCounts Now()
{
  MessageCounts now;
  for (int k = 0; k < MPI_KIND_COUNT; ++k) {
    now.calls[k] = Calls_[k].load(std::memory_order_relaxed);
    now.bytes[k] = Bytes_[k].load(std::memory_order_relaxed);
  }
  return now;
}

std::int64_t Sum(const std::int64_t *values, int begin, int end)
{
  std::int64_t sum = 0;
  for (int k = begin; k < end; ++k) sum += values[k];
  return sum;
}

int KindOf(const std::string &name)
{
  for (int k = 0; k < MPI_KIND_COUNT; ++k)
    if (name == Names[k]) return k;
  return -1;
}
} // namespace

MessageCounter::MessageCounter() : begin_(Now()), end_(begin_), running_(false)
{
}
void MessageCounter::Start()
{
  begin_   = Now();
  running_ = true;
}
void MessageCounter::Stop()
{
  end_     = Now();
  running_ = false;
}
MessageCounts MessageCounter::Difference() const
{
  MessageCounts d = running_ ? Now() : end_;
  for (int k = 0; k < MPI_KIND_COUNT; ++k) {
    d.calls[k] -= begin_.calls[k];
    d.bytes[k] -= begin_.bytes[k];
  }
  return d;
}
std::int64_t MessageCounter::PointToPoint() const
{
  return Sum(Difference().calls, 0, MPI_KIND_END_P2P);
}
std::int64_t MessageCounter::PointToPointBytes() const
{
  return Sum(Difference().bytes, 0, MPI_KIND_END_P2P);
}
std::int64_t MessageCounter::Reductions() const
{
  return Sum(Difference().calls, MPI_KIND_END_P2P, MPI_KIND_END_REDUCTION);
}
std::int64_t MessageCounter::ReductionBytes() const
{
  return Sum(Difference().bytes, MPI_KIND_END_P2P, MPI_KIND_END_REDUCTION);
}
std::int64_t MessageCounter::Collectives() const
{
  return Sum(Difference().calls, MPI_KIND_END_P2P, MPI_KIND_END_COLLECTIVE);
}
std::int64_t MessageCounter::CollectiveBytes() const
{
  return Sum(Difference().bytes, MPI_KIND_END_P2P, MPI_KIND_END_COLLECTIVE);
}
std::int64_t MessageCounter::OneSided() const
{
  return Sum(Difference().calls, MPI_KIND_END_COLLECTIVE, MPI_KIND_END_ONESIDED);
}
std::int64_t MessageCounter::OneSidedBytes() const
{
  return Sum(Difference().bytes, MPI_KIND_END_COLLECTIVE, MPI_KIND_END_ONESIDED);
}
std::int64_t MessageCounter::Communicators() const
{
  return Sum(Difference().calls, MPI_KIND_END_ONESIDED, MPI_KIND_COUNT);
}
std::int64_t MessageCounter::Messages() const
{
  return Sum(Difference().calls, 0, MPI_KIND_END_ONESIDED);
}
std::int64_t MessageCounter::Bytes() const
{
  return Sum(Difference().bytes, 0, MPI_KIND_END_ONESIDED);
}
std::int64_t MessageCounter::Calls(const std::string &name) const
{
  const int k = KindOf(name);
  return k < 0 ? -1 : Difference().calls[k];
}
std::int64_t MessageCounter::Bytes(const std::string &name) const
{
  const int k = KindOf(name);
  return k < 0 ? -1 : Difference().bytes[k];
}
std::string MessageCounter::Report() const
{
  const MessageCounts d = Difference();
  std::string         text;
  for (int k = 0; k < MPI_KIND_COUNT; ++k)
    if (d.calls[k]) text += (text.empty() ? "" : ", ") + std::string(Names[k]) + " " + std::to_string(d.calls[k]) + " (" + std::to_string(d.bytes[k]) + " B)";
  return text.empty() ? "nothing" : text;
}

bool CountsAreExact()
{
#if defined(PETSC_USE_DEBUG)
  return false;
#else
  return true;
#endif
}
} // namespace skeantest

using namespace skeantest;

/* clang-format off: one line per function, so that a missing one is seen */
#define WRAP(name, params, args, bytes) \
  int MPI_##name params                 \
  {                                     \
    Count(MPI_KIND_##name, bytes);      \
    return PMPI_##name args;            \
  }
#define WRAP_SEND(name, params, args)                                       \
  int MPI_##name params                                                     \
  {                                                                         \
    if (dest != MPI_PROC_NULL) Count(MPI_KIND_##name, SizeOf(count, type)); \
    return PMPI_##name args;                                                \
  }
#define WRAP_INIT(name)                                                                                                 \
  int MPI_##name(const void *buf, int count, MPI_Datatype type, int dest, int tag, MPI_Comm comm, MPI_Request *request) \
  {                                                                                                                     \
    const int err = PMPI_##name(buf, count, type, dest, tag, comm, request);                                            \
    if (err == MPI_SUCCESS) RememberPersistent(*request, dest, count, type);                                            \
    return err;                                                                                                         \
  }
/* The blocking collective and its nonblocking twin */
#define WRAP_BOTH(name, iname, params, iparams, args, iargs, bytes) \
  WRAP(name, params, args, bytes)                                   \
  WRAP(iname, iparams, iargs, bytes)

extern "C" {
/* point to point */
#define SEND_PARAMS  (const void *buf, int count, MPI_Datatype type, int dest, int tag, MPI_Comm comm)
#define SEND_ARGS    (buf, count, type, dest, tag, comm)
#define ISEND_PARAMS (const void *buf, int count, MPI_Datatype type, int dest, int tag, MPI_Comm comm, MPI_Request *request)
#define ISEND_ARGS   (buf, count, type, dest, tag, comm, request)
WRAP_SEND(Send, SEND_PARAMS, SEND_ARGS)
WRAP_SEND(Bsend, SEND_PARAMS, SEND_ARGS)
WRAP_SEND(Ssend, SEND_PARAMS, SEND_ARGS)
WRAP_SEND(Rsend, SEND_PARAMS, SEND_ARGS)
WRAP_SEND(Isend, ISEND_PARAMS, ISEND_ARGS)
WRAP_SEND(Ibsend, ISEND_PARAMS, ISEND_ARGS)
WRAP_SEND(Issend, ISEND_PARAMS, ISEND_ARGS)
WRAP_SEND(Irsend, ISEND_PARAMS, ISEND_ARGS)
WRAP_SEND(Sendrecv,
          (const void *buf, int count, MPI_Datatype type, int dest, int tag, void *recvbuf, int recvcount, MPI_Datatype recvtype, int source, int recvtag,
           MPI_Comm comm, MPI_Status *status),
          (buf, count, type, dest, tag, recvbuf, recvcount, recvtype, source, recvtag, comm, status))
WRAP_SEND(Sendrecv_replace, (void *buf, int count, MPI_Datatype type, int dest, int tag, int source, int recvtag, MPI_Comm comm, MPI_Status *status),
          (buf, count, type, dest, tag, source, recvtag, comm, status))
WRAP_INIT(Send_init)
WRAP_INIT(Bsend_init)
WRAP_INIT(Ssend_init)
WRAP_INIT(Rsend_init)
int MPI_Start(MPI_Request *request)
{
  CountStart(*request);
  return PMPI_Start(request);
}
int MPI_Startall(int n, MPI_Request requests[])
{
  for (int i = 0; i < n; ++i) CountStart(requests[i]);
  return PMPI_Startall(n, requests);
}
int MPI_Request_free(MPI_Request *request)
{
  if (*request != MPI_REQUEST_NULL) {
    const std::lock_guard<std::mutex> lock(PersistentLock);
    Persistent().erase(*request);
  }
  return PMPI_Request_free(request);
}

/* reductions */
WRAP_BOTH(Allreduce, Iallreduce, (const void *s, void *r, int n, MPI_Datatype t, MPI_Op op, MPI_Comm c),
          (const void *s, void *r, int n, MPI_Datatype t, MPI_Op op, MPI_Comm c, MPI_Request *q), (s, r, n, t, op, c), (s, r, n, t, op, c, q), SizeOf(n, t))
WRAP_BOTH(Reduce, Ireduce, (const void *s, void *r, int n, MPI_Datatype t, MPI_Op op, int root, MPI_Comm c),
          (const void *s, void *r, int n, MPI_Datatype t, MPI_Op op, int root, MPI_Comm c, MPI_Request *q), (s, r, n, t, op, root, c),
          (s, r, n, t, op, root, c, q), SizeOf(n, t))
WRAP_BOTH(Reduce_scatter, Ireduce_scatter, (const void *s, void *r, const int n[], MPI_Datatype t, MPI_Op op, MPI_Comm c),
          (const void *s, void *r, const int n[], MPI_Datatype t, MPI_Op op, MPI_Comm c, MPI_Request *q), (s, r, n, t, op, c), (s, r, n, t, op, c, q),
          ReduceScatter(n, t, c))
WRAP_BOTH(Reduce_scatter_block, Ireduce_scatter_block, (const void *s, void *r, int n, MPI_Datatype t, MPI_Op op, MPI_Comm c),
          (const void *s, void *r, int n, MPI_Datatype t, MPI_Op op, MPI_Comm c, MPI_Request *q), (s, r, n, t, op, c), (s, r, n, t, op, c, q),
          SizeOf(n, t) * GroupSize(c))
WRAP_BOTH(Scan, Iscan, (const void *s, void *r, int n, MPI_Datatype t, MPI_Op op, MPI_Comm c),
          (const void *s, void *r, int n, MPI_Datatype t, MPI_Op op, MPI_Comm c, MPI_Request *q), (s, r, n, t, op, c), (s, r, n, t, op, c, q), SizeOf(n, t))
WRAP_BOTH(Exscan, Iexscan, (const void *s, void *r, int n, MPI_Datatype t, MPI_Op op, MPI_Comm c),
          (const void *s, void *r, int n, MPI_Datatype t, MPI_Op op, MPI_Comm c, MPI_Request *q), (s, r, n, t, op, c), (s, r, n, t, op, c, q), SizeOf(n, t))

/* the other collectives */
WRAP_BOTH(Barrier, Ibarrier, (MPI_Comm c), (MPI_Comm c, MPI_Request *q), (c), (c, q), 0)
WRAP_BOTH(Bcast, Ibcast, (void *b, int n, MPI_Datatype t, int root, MPI_Comm c), (void *b, int n, MPI_Datatype t, int root, MPI_Comm c, MPI_Request *q),
          (b, n, t, root, c), (b, n, t, root, c, q), SizeOf(n, t))
WRAP_BOTH(Gather, Igather, (const void *s, int n, MPI_Datatype t, void *r, int m, MPI_Datatype u, int root, MPI_Comm c),
          (const void *s, int n, MPI_Datatype t, void *r, int m, MPI_Datatype u, int root, MPI_Comm c, MPI_Request *q), (s, n, t, r, m, u, root, c),
          (s, n, t, r, m, u, root, c, q), s == MPI_IN_PLACE ? SizeOf(m, u) : SizeOf(n, t))
WRAP_BOTH(Gatherv, Igatherv, (const void *s, int n, MPI_Datatype t, void *r, const int m[], const int d[], MPI_Datatype u, int root, MPI_Comm c),
          (const void *s, int n, MPI_Datatype t, void *r, const int m[], const int d[], MPI_Datatype u, int root, MPI_Comm c, MPI_Request *q),
          (s, n, t, r, m, d, u, root, c), (s, n, t, r, m, d, u, root, c, q), s == MPI_IN_PLACE ? SizeOf(m[Self(c)], u) : SizeOf(n, t))
WRAP_BOTH(Scatter, Iscatter, (const void *s, int n, MPI_Datatype t, void *r, int m, MPI_Datatype u, int root, MPI_Comm c),
          (const void *s, int n, MPI_Datatype t, void *r, int m, MPI_Datatype u, int root, MPI_Comm c, MPI_Request *q), (s, n, t, r, m, u, root, c),
          (s, n, t, r, m, u, root, c, q), r == MPI_IN_PLACE ? SizeOf(n, t) : SizeOf(m, u))
WRAP_BOTH(Scatterv, Iscatterv, (const void *s, const int n[], const int d[], MPI_Datatype t, void *r, int m, MPI_Datatype u, int root, MPI_Comm c),
          (const void *s, const int n[], const int d[], MPI_Datatype t, void *r, int m, MPI_Datatype u, int root, MPI_Comm c, MPI_Request *q),
          (s, n, d, t, r, m, u, root, c), (s, n, d, t, r, m, u, root, c, q), r == MPI_IN_PLACE ? SizeOf(n[Self(c)], t) : SizeOf(m, u))
WRAP_BOTH(Allgather, Iallgather, (const void *s, int n, MPI_Datatype t, void *r, int m, MPI_Datatype u, MPI_Comm c),
          (const void *s, int n, MPI_Datatype t, void *r, int m, MPI_Datatype u, MPI_Comm c, MPI_Request *q), (s, n, t, r, m, u, c), (s, n, t, r, m, u, c, q),
          s == MPI_IN_PLACE ? SizeOf(m, u) : SizeOf(n, t))
WRAP_BOTH(Allgatherv, Iallgatherv, (const void *s, int n, MPI_Datatype t, void *r, const int m[], const int d[], MPI_Datatype u, MPI_Comm c),
          (const void *s, int n, MPI_Datatype t, void *r, const int m[], const int d[], MPI_Datatype u, MPI_Comm c, MPI_Request *q), (s, n, t, r, m, d, u, c),
          (s, n, t, r, m, d, u, c, q), s == MPI_IN_PLACE ? SizeOf(m[Self(c)], u) : SizeOf(n, t))
WRAP_BOTH(Alltoall, Ialltoall, (const void *s, int n, MPI_Datatype t, void *r, int m, MPI_Datatype u, MPI_Comm c),
          (const void *s, int n, MPI_Datatype t, void *r, int m, MPI_Datatype u, MPI_Comm c, MPI_Request *q), (s, n, t, r, m, u, c), (s, n, t, r, m, u, c, q),
          Alltoall(s, n, t, m, u, c))
WRAP_BOTH(Alltoallv, Ialltoallv,
          (const void *s, const int n[], const int d[], MPI_Datatype t, void *r, const int m[], const int e[], MPI_Datatype u, MPI_Comm c),
          (const void *s, const int n[], const int d[], MPI_Datatype t, void *r, const int m[], const int e[], MPI_Datatype u, MPI_Comm c, MPI_Request *q),
          (s, n, d, t, r, m, e, u, c), (s, n, d, t, r, m, e, u, c, q), Alltoallv(s, n, &t, m, &u, false, c))
WRAP_BOTH(Alltoallw, Ialltoallw,
          (const void *s, const int n[], const int d[], const MPI_Datatype t[], void *r, const int m[], const int e[], const MPI_Datatype u[], MPI_Comm c),
          (const void *s, const int n[], const int d[], const MPI_Datatype t[], void *r, const int m[], const int e[], const MPI_Datatype u[], MPI_Comm c,
           MPI_Request *q),
          (s, n, d, t, r, m, e, u, c), (s, n, d, t, r, m, e, u, c, q), Alltoallv(s, n, t, m, u, true, c))
WRAP_BOTH(Neighbor_allgather, Ineighbor_allgather, (const void *s, int n, MPI_Datatype t, void *r, int m, MPI_Datatype u, MPI_Comm c),
          (const void *s, int n, MPI_Datatype t, void *r, int m, MPI_Datatype u, MPI_Comm c, MPI_Request *q), (s, n, t, r, m, u, c), (s, n, t, r, m, u, c, q),
          SizeOf(n, t) * OutEdges(c))
WRAP_BOTH(Neighbor_allgatherv, Ineighbor_allgatherv, (const void *s, int n, MPI_Datatype t, void *r, const int m[], const int d[], MPI_Datatype u, MPI_Comm c),
          (const void *s, int n, MPI_Datatype t, void *r, const int m[], const int d[], MPI_Datatype u, MPI_Comm c, MPI_Request *q), (s, n, t, r, m, d, u, c),
          (s, n, t, r, m, d, u, c, q), SizeOf(n, t) * OutEdges(c))
WRAP_BOTH(Neighbor_alltoall, Ineighbor_alltoall, (const void *s, int n, MPI_Datatype t, void *r, int m, MPI_Datatype u, MPI_Comm c),
          (const void *s, int n, MPI_Datatype t, void *r, int m, MPI_Datatype u, MPI_Comm c, MPI_Request *q), (s, n, t, r, m, u, c), (s, n, t, r, m, u, c, q),
          SizeOf(n, t) * OutEdges(c))
WRAP_BOTH(Neighbor_alltoallv, Ineighbor_alltoallv,
          (const void *s, const int n[], const int d[], MPI_Datatype t, void *r, const int m[], const int e[], MPI_Datatype u, MPI_Comm c),
          (const void *s, const int n[], const int d[], MPI_Datatype t, void *r, const int m[], const int e[], MPI_Datatype u, MPI_Comm c, MPI_Request *q),
          (s, n, d, t, r, m, e, u, c), (s, n, d, t, r, m, e, u, c, q), Neighborv(n, &t, false, c))
WRAP_BOTH(Neighbor_alltoallw, Ineighbor_alltoallw,
          (const void *s, const int n[], const MPI_Aint d[], const MPI_Datatype t[], void *r, const int m[], const MPI_Aint e[], const MPI_Datatype u[],
           MPI_Comm c),
          (const void *s, const int n[], const MPI_Aint d[], const MPI_Datatype t[], void *r, const int m[], const MPI_Aint e[], const MPI_Datatype u[],
           MPI_Comm c, MPI_Request *q),
          (s, n, d, t, r, m, e, u, c), (s, n, d, t, r, m, e, u, c, q), Neighborv(n, t, true, c))

/* one-sided */
WRAP(Put, (const void *o, int n, MPI_Datatype t, int rank, MPI_Aint d, int m, MPI_Datatype u, MPI_Win w), (o, n, t, rank, d, m, u, w), SizeOf(n, t))
WRAP(Get, (void *o, int n, MPI_Datatype t, int rank, MPI_Aint d, int m, MPI_Datatype u, MPI_Win w), (o, n, t, rank, d, m, u, w), SizeOf(n, t))
WRAP(Accumulate, (const void *o, int n, MPI_Datatype t, int rank, MPI_Aint d, int m, MPI_Datatype u, MPI_Op op, MPI_Win w), (o, n, t, rank, d, m, u, op, w),
     SizeOf(n, t))
WRAP(Get_accumulate, (const void *o, int n, MPI_Datatype t, void *r, int k, MPI_Datatype v, int rank, MPI_Aint d, int m, MPI_Datatype u, MPI_Op op, MPI_Win w),
     (o, n, t, r, k, v, rank, d, m, u, op, w), SizeOf(n, t))
WRAP(Fetch_and_op, (const void *o, void *r, MPI_Datatype t, int rank, MPI_Aint d, MPI_Op op, MPI_Win w), (o, r, t, rank, d, op, w), SizeOf(1, t))
WRAP(Compare_and_swap, (const void *o, const void *x, void *r, MPI_Datatype t, int rank, MPI_Aint d, MPI_Win w), (o, x, r, t, rank, d, w), SizeOf(1, t))
WRAP(Rput, (const void *o, int n, MPI_Datatype t, int rank, MPI_Aint d, int m, MPI_Datatype u, MPI_Win w, MPI_Request *q), (o, n, t, rank, d, m, u, w, q),
     SizeOf(n, t))
WRAP(Rget, (void *o, int n, MPI_Datatype t, int rank, MPI_Aint d, int m, MPI_Datatype u, MPI_Win w, MPI_Request *q), (o, n, t, rank, d, m, u, w, q),
     SizeOf(n, t))
WRAP(Raccumulate, (const void *o, int n, MPI_Datatype t, int rank, MPI_Aint d, int m, MPI_Datatype u, MPI_Op op, MPI_Win w, MPI_Request *q),
     (o, n, t, rank, d, m, u, op, w, q), SizeOf(n, t))

/* communicators */
WRAP(Comm_dup, (MPI_Comm c, MPI_Comm *d), (c, d), 0)
WRAP(Comm_idup, (MPI_Comm c, MPI_Comm *d, MPI_Request *q), (c, d, q), 0)
WRAP(Comm_split, (MPI_Comm c, int color, int key, MPI_Comm *d), (c, color, key, d), 0)
WRAP(Comm_split_type, (MPI_Comm c, int type, int key, MPI_Info info, MPI_Comm *d), (c, type, key, info, d), 0)
WRAP(Comm_create, (MPI_Comm c, MPI_Group g, MPI_Comm *d), (c, g, d), 0)
WRAP(Dist_graph_create_adjacent,
     (MPI_Comm c, int in, const int src[], const int sw[], int out, const int dst[], const int dw[], MPI_Info info, int reorder, MPI_Comm *d),
     (c, in, src, sw, out, dst, dw, info, reorder, d), 0)
}
/* clang-format on */
