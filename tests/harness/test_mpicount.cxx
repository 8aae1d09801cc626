/* The counter itself: every kind with its documented payload, and calls that PETSc makes inside libpetsc.so */
#include "skeantest.hpp"
#include "mpicount/mpicount.hpp"
#include <petscksp.h>
#include <cstddef>
#include <numeric>

using skeantest::MessageCounter;
using skeantest::Rank;
using skeantest::Size;

namespace {
/* 3 doubles to the right, around the ring, by any kind of send */
template <class F>
void ExpectOneSend(const char *name, F send)
{
  const int      right = (Rank() + 1) % Size(), left = (Rank() + Size() - 1) % Size();
  double         in[3] = {-1, -1, -1}, out[3] = {1.0 * Rank(), 2, 3};
  MPI_Request    request;
  MessageCounter c;
  MPI_Irecv(in, 3, MPI_DOUBLE, left, 7, PETSC_COMM_WORLD, &request);
  c.Start();
  send(out, right);
  c.Stop();
  MPI_Wait(&request, MPI_STATUS_IGNORE);
  EXPECT_EQ(in[0], left) << name;
  EXPECT_EQ(c.PointToPoint(), 1) << name << ": " << c.Report();
  EXPECT_EQ(c.PointToPointBytes(), 24) << name << ": " << c.Report();
  EXPECT_EQ(c.Calls(name), 1) << c.Report();
  EXPECT_EQ(c.Collectives(), 0) << c.Report();
}

/* One collective call of the given name with the given payload on this process and nothing else */
template <class F>
void ExpectOneCollective(const char *name, std::int64_t bytes, bool reduction, F call)
{
  MessageCounter c;
  c.Start();
  call();
  c.Stop();
  EXPECT_EQ(c.Calls(name), 1) << c.Report();
  EXPECT_EQ(c.Bytes(name), bytes) << c.Report();
  EXPECT_EQ(c.Collectives(), 1) << c.Report();
  EXPECT_EQ(c.CollectiveBytes(), bytes) << c.Report();
  EXPECT_EQ(c.Reductions(), reduction ? 1 : 0) << c.Report();
  EXPECT_EQ(c.PointToPoint(), 0) << c.Report();
}
void Wait(MPI_Request *request)
{
  MPI_Wait(request, MPI_STATUS_IGNORE);
}
} // namespace

TEST(MpiCount, EveryKindOfSend)
{
  const MPI_Comm comm = PETSC_COMM_WORLD;
  MPI_Request    q;
  ExpectOneSend("Send", [&](double *out, int to) { MPI_Send(out, 3, MPI_DOUBLE, to, 7, comm); });
  ExpectOneSend("Ssend", [&](double *out, int to) {
    /* around a ring that is its own neighbour a synchronous send needs the receive already posted, which it is */
    MPI_Ssend(out, 3, MPI_DOUBLE, to, 7, comm);
  });
  ExpectOneSend("Isend", [&](double *out, int to) {
    MPI_Isend(out, 3, MPI_DOUBLE, to, 7, comm, &q);
    Wait(&q);
  });
  ExpectOneSend("Issend", [&](double *out, int to) {
    MPI_Issend(out, 3, MPI_DOUBLE, to, 7, comm, &q);
    Wait(&q);
  });
  std::vector<char> buffer(1024 + MPI_BSEND_OVERHEAD);
  void             *detached;
  int               size;
  MPI_Buffer_attach(buffer.data(), static_cast<int>(buffer.size()));
  ExpectOneSend("Bsend", [&](double *out, int to) { MPI_Bsend(out, 3, MPI_DOUBLE, to, 7, comm); });
  MPI_Buffer_detach(&detached, &size);
  ExpectOneSend("Sendrecv", [&](double *out, int to) {
    double other;
    MPI_Sendrecv(out, 3, MPI_DOUBLE, to, 7, &other, 1, MPI_DOUBLE, MPI_PROC_NULL, 8, comm, MPI_STATUS_IGNORE);
  });
}

TEST(MpiCount, SendsToNobodyAreNone)
{
  double         x = 1;
  MPI_Request    q;
  MessageCounter c;
  c.Start();
  MPI_Send(&x, 1, MPI_DOUBLE, MPI_PROC_NULL, 0, PETSC_COMM_WORLD);
  MPI_Isend(&x, 1, MPI_DOUBLE, MPI_PROC_NULL, 0, PETSC_COMM_WORLD, &q);
  Wait(&q);
  MPI_Send_init(&x, 1, MPI_DOUBLE, MPI_PROC_NULL, 0, PETSC_COMM_WORLD, &q);
  MPI_Start(&q);
  Wait(&q);
  MPI_Request_free(&q);
  c.Stop();
  EXPECT_EQ(c.PointToPoint(), 0) << c.Report();
  EXPECT_EQ(c.Bytes(), 0) << c.Report();
}

TEST(MpiCount, PersistentSendsCountWhenStarted)
{
  const int      right = (Rank() + 1) % Size(), left = (Rank() + Size() - 1) % Size();
  double         out[2] = {1, 2}, in[2];
  MPI_Request    q[2];
  MessageCounter c;
  c.Start();
  MPI_Send_init(out, 2, MPI_DOUBLE, right, 3, PETSC_COMM_WORLD, &q[0]);
  MPI_Recv_init(in, 2, MPI_DOUBLE, left, 3, PETSC_COMM_WORLD, &q[1]);
  EXPECT_EQ(c.PointToPoint(), 0) << c.Report();
  for (int i = 0; i < 3; ++i) {
    MPI_Startall(2, q);
    MPI_Waitall(2, q, MPI_STATUSES_IGNORE);
  }
  MPI_Start(&q[1]);
  MPI_Start(&q[0]);
  MPI_Waitall(2, q, MPI_STATUSES_IGNORE);
  MPI_Request_free(&q[0]);
  MPI_Request_free(&q[1]);
  c.Stop();
  EXPECT_EQ(c.Calls("Start"), 4) << c.Report();
  EXPECT_EQ(c.Bytes("Start"), 4 * 16) << c.Report();
  EXPECT_EQ(c.PointToPoint(), 4) << c.Report();
}

TEST(MpiCount, EveryCollective)
{
  const MPI_Comm            comm = PETSC_COMM_WORLD;
  const int                 P = Size(), rank = Rank();
  std::vector<double>       s(8 * P, 1.0), r(8 * P, 0.0);
  std::vector<int>          one(P, 1), offset(P), many(P), byteoffset(P), manyoffset(P);
  std::vector<MPI_Datatype> types(P, MPI_DOUBLE);
  MPI_Request               q;
  for (int i = 0; i < P; ++i) {
    offset[i]     = i;
    many[i]       = i + 1; /* process i contributes or receives i+1 */
    byteoffset[i] = 8 * i;
    manyoffset[i] = i * (i + 1) / 2;
  }
  const int total = P * (P + 1) / 2;
#define BOTH(name, iname, bytes, reduction, ...)                                  \
  ExpectOneCollective(#name, bytes, reduction, [&] { MPI_##name(__VA_ARGS__); }); \
  ExpectOneCollective(#iname, bytes, reduction, [&] {                             \
    MPI_##iname(__VA_ARGS__, &q);                                                 \
    Wait(&q);                                                                     \
  })
  BOTH(Allreduce, Iallreduce, 16, true, s.data(), r.data(), 2, MPI_DOUBLE, MPI_SUM, comm);
  EXPECT_EQ(r[1], P);
  BOTH(Reduce, Ireduce, 24, true, s.data(), r.data(), 3, MPI_DOUBLE, MPI_SUM, 0, comm);
  BOTH(Scan, Iscan, 8, true, s.data(), r.data(), 1, MPI_DOUBLE, MPI_SUM, comm);
  EXPECT_EQ(r[0], rank + 1);
  BOTH(Exscan, Iexscan, 8, true, s.data(), r.data(), 1, MPI_DOUBLE, MPI_SUM, comm);
  BOTH(Reduce_scatter, Ireduce_scatter, 8 * total, true, s.data(), r.data(), many.data(), MPI_DOUBLE, MPI_SUM, comm);
  BOTH(Reduce_scatter_block, Ireduce_scatter_block, 16 * P, true, s.data(), r.data(), 2, MPI_DOUBLE, MPI_SUM, comm);
  BOTH(Barrier, Ibarrier, 0, false, comm);
  BOTH(Bcast, Ibcast, 12, false, s.data(), 3, MPI_INT, 0, comm);
  BOTH(Gather, Igather, 8, false, s.data(), 1, MPI_DOUBLE, r.data(), 1, MPI_DOUBLE, 0, comm);
  BOTH(Gatherv, Igatherv, 8 * (rank + 1), false, s.data(), rank + 1, MPI_DOUBLE, r.data(), many.data(), manyoffset.data(), MPI_DOUBLE, 0, comm);
  BOTH(Scatter, Iscatter, 8, false, s.data(), 1, MPI_DOUBLE, r.data(), 1, MPI_DOUBLE, 0, comm);
  BOTH(Scatterv, Iscatterv, 8 * (rank + 1), false, s.data(), many.data(), manyoffset.data(), MPI_DOUBLE, r.data(), rank + 1, MPI_DOUBLE, 0, comm);
  BOTH(Allgather, Iallgather, 8, false, s.data(), 1, MPI_DOUBLE, r.data(), 1, MPI_DOUBLE, comm);
  BOTH(Allgather, Iallgather, 8, false, MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, r.data(), 1, MPI_DOUBLE, comm);
  BOTH(Allgatherv, Iallgatherv, 8 * (rank + 1), false, s.data(), rank + 1, MPI_DOUBLE, r.data(), many.data(), manyoffset.data(), MPI_DOUBLE, comm);
  BOTH(Alltoall, Ialltoall, 8 * (P - 1), false, s.data(), 1, MPI_DOUBLE, r.data(), 1, MPI_DOUBLE, comm);
  BOTH(Alltoallv, Ialltoallv, 8 * (P - 1), false, s.data(), one.data(), offset.data(), MPI_DOUBLE, r.data(), one.data(), offset.data(), MPI_DOUBLE, comm);
  BOTH(Alltoallw, Ialltoallw, 8 * (P - 1), false, s.data(), one.data(), byteoffset.data(), types.data(), r.data(), one.data(), byteoffset.data(), types.data(),
       comm);
}

TEST(MpiCount, NeighbourhoodCollectives)
{
  const int           P = Size(), rank = Rank();
  MPI_Comm            ring;
  const int           left = (rank + P - 1) % P, right = (rank + 1) % P;
  std::vector<double> s(4, 1.0 * rank), r(4, -1.0);
  const int           n[2] = {1, 1}, d[2] = {0, 1};
  const MPI_Aint      bytes[2] = {0, 8};
  const MPI_Datatype  types[2] = {MPI_DOUBLE, MPI_DOUBLE};
  const int           from[2] = {left, right}, to[2] = {right, left};
  MPI_Request         q;
  MessageCounter      c;
  c.Start();
  MPI_Dist_graph_create_adjacent(PETSC_COMM_WORLD, 2, from, MPI_UNWEIGHTED, 2, to, MPI_UNWEIGHTED, MPI_INFO_NULL, 0, &ring);
  c.Stop();
  EXPECT_EQ(c.Communicators(), 1) << c.Report();
  EXPECT_EQ(c.Collectives(), 0) << c.Report();
  BOTH(Neighbor_allgather, Ineighbor_allgather, 16, false, s.data(), 1, MPI_DOUBLE, r.data(), 1, MPI_DOUBLE, ring);
  EXPECT_EQ(r[0], left);
  BOTH(Neighbor_allgatherv, Ineighbor_allgatherv, 16, false, s.data(), 1, MPI_DOUBLE, r.data(), n, d, MPI_DOUBLE, ring);
  BOTH(Neighbor_alltoall, Ineighbor_alltoall, 16, false, s.data(), 1, MPI_DOUBLE, r.data(), 1, MPI_DOUBLE, ring);
  BOTH(Neighbor_alltoallv, Ineighbor_alltoallv, 16, false, s.data(), n, d, MPI_DOUBLE, r.data(), n, d, MPI_DOUBLE, ring);
  BOTH(Neighbor_alltoallw, Ineighbor_alltoallw, 16, false, s.data(), n, bytes, types, r.data(), n, bytes, types, ring);
  MPI_Comm_free(&ring);
}

TEST(MpiCount, OneSided)
{
  double        *base, x = 3;
  MPI_Win        win;
  MessageCounter c;
  MPI_Win_allocate(8, 8, MPI_INFO_NULL, PETSC_COMM_WORLD, &base, &win);
  *base = 0;
  MPI_Win_fence(0, win);
  c.Start();
  MPI_Put(&x, 1, MPI_DOUBLE, (Rank() + 1) % Size(), 0, 1, MPI_DOUBLE, win);
  c.Stop();
  MPI_Win_fence(0, win);
  EXPECT_EQ(*base, 3);
  MPI_Win_free(&win);
  EXPECT_EQ(c.OneSided(), 1) << c.Report();
  EXPECT_EQ(c.OneSidedBytes(), 8) << c.Report();
  EXPECT_EQ(c.PointToPoint() + c.Collectives(), 0) << c.Report();
}

TEST(MpiCount, NormInsidePetscIsOneAllreduce)
{
  Vec            x;
  PetscReal      norm;
  PetscScalar   *values;
  PetscInt       n;
  MessageCounter c;
  ASSERT_PETSC(VecCreateMPI(PETSC_COMM_WORLD, PETSC_DECIDE, 10, &x));
  /* not VecSet(), which leaves the norm known */
  ASSERT_PETSC(VecGetLocalSize(x, &n));
  ASSERT_PETSC(VecGetArray(x, &values));
  for (PetscInt i = 0; i < n; ++i) values[i] = 3.0;
  ASSERT_PETSC(VecRestoreArray(x, &values));
  c.Start();
  const PetscErrorCode ierr = VecNorm(x, NORM_2, &norm);
  c.Stop();
  ASSERT_PETSC(ierr);
  EXPECT_NEAR(norm, 3.0 * std::sqrt(10.0), 1e-14);
  if (skeantest::CountsAreExact()) {
    EXPECT_EQ(c.Calls("Allreduce"), 1) << c.Report();
    EXPECT_EQ(c.Bytes(), 8) << c.Report();
    EXPECT_EQ(c.Messages(), 1) << c.Report();
  } else {
    EXPECT_GE(c.Calls("Allreduce"), 1) << c.Report();
  }
  c.Start();
  const PetscErrorCode again = VecNorm(x, NORM_2, &norm);
  c.Stop();
  ASSERT_PETSC(again);
  EXPECT_TRUE(c.Messages() == 0 || !skeantest::CountsAreExact()) << "the norm is known: " << c.Report();
  ASSERT_PETSC(VecDestroy(&x));
}

TEST(MpiCount, ProductWithTridiagonalMatrixIsOneMessageToEachNeighbour)
{
  const PetscInt n = 6 * Size();
  Mat            A;
  Vec            x, y;
  PetscInt       begin, end;
  ASSERT_PETSC(MatCreateAIJ(PETSC_COMM_WORLD, 6, 6, n, n, 3, NULL, 3, NULL, &A));
  ASSERT_PETSC(MatGetOwnershipRange(A, &begin, &end));
  for (PetscInt i = begin; i < end; ++i)
    for (PetscInt j = PetscMax(i - 1, 0); j <= PetscMin(i + 1, n - 1); ++j) EXPECT_EQ(MatSetValue(A, i, j, i == j ? 2 : -1, INSERT_VALUES), 0);
  ASSERT_PETSC(MatAssemblyBegin(A, MAT_FINAL_ASSEMBLY));
  ASSERT_PETSC(MatAssemblyEnd(A, MAT_FINAL_ASSEMBLY));
  ASSERT_PETSC(MatCreateVecs(A, &x, &y));
  ASSERT_PETSC(VecSet(x, 1.0));
  ASSERT_PETSC(MatMult(A, x, y)); /* the first product sets up the communication */
  MessageCounter c;
  c.Start();
  const PetscErrorCode ierr = MatMult(A, x, y);
  c.Stop();
  ASSERT_PETSC(ierr);
  const int neighbours = (Rank() > 0) + (Rank() < Size() - 1);
  EXPECT_EQ(c.PointToPoint(), neighbours) << c.Report();
  EXPECT_EQ(c.PointToPointBytes(), 8 * neighbours) << c.Report();
  EXPECT_TRUE(c.Collectives() == 0 || !skeantest::CountsAreExact()) << c.Report();
  ASSERT_PETSC(MatDestroy(&A));
  ASSERT_PETSC(VecDestroy(&x));
  ASSERT_PETSC(VecDestroy(&y));
}

TEST(MpiCount, UnknownNamesAndReport)
{
  MessageCounter c;
  EXPECT_EQ(c.Calls("Nothing"), -1);
  EXPECT_EQ(c.Report(), "nothing");
  c.Start();
  MPI_Barrier(PETSC_COMM_WORLD);
  EXPECT_EQ(c.Calls("Barrier"), 1); /* readable while counting */
  c.Stop();
  MPI_Barrier(PETSC_COMM_WORLD);
  EXPECT_EQ(c.Report(), "Barrier 1 (0 B)");
  c.Start();
  EXPECT_EQ(c.Messages(), 0);
}
