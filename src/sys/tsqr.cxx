#include <skean/private/tsqr.hpp>
#include <skean/private/lapack.hpp>
#include <skean/private/reduce.hpp>
#include <algorithm>
#include <cstring>

namespace skean {

namespace {
const int TagTriangle = 711, TagVector = 712;

void PackTriangle(PetscInt d, const double *r, PetscInt ld, double *packed)
{
  for (PetscInt j = 0; j < d; ++j) {
    std::memcpy(packed, r + static_cast<size_t>(j) * ld, (j + 1) * sizeof(double));
    packed += j + 1;
  }
}
void UnpackTriangle(PetscInt d, const double *packed, double *r, PetscInt ld)
{
  for (PetscInt j = 0; j < d; ++j) {
    std::memcpy(r + static_cast<size_t>(j) * ld, packed, (j + 1) * sizeof(double));
    std::fill(r + static_cast<size_t>(j) * ld + j + 1, r + static_cast<size_t>(j) * ld + d, 0.0);
    packed += j + 1;
  }
}
} // namespace

PetscErrorCode TSQR::Factor(MPI_Comm comm_, PetscInt rows_, PetscInt d_, std::vector<double> &&a_, PetscMPIInt active_)
{
  const size_t triangle = static_cast<size_t>(d_) * (d_ + 1) / 2;

  PetscFunctionBegin;
  Clear();
  comm   = comm_;
  rows   = rows_;
  d      = d_;
  active = active_;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  std::vector<double> packed;
  PetscCallCXX(packed.resize(triangle));
  PetscCallCXX(r.assign(static_cast<size_t>(d) * d, 0.0));
  if (rank < active && d > 0) {
    PetscBLASInt info, m, n = d;

    padded = std::max(rows, d); /* fewer rows than columns: rows of zeros */
    if (padded == rows)
      a = std::move(a_);
    else {
      PetscCallCXX(a.assign(static_cast<size_t>(padded) * d, 0.0));
      for (PetscInt j = 0; j < d; ++j)
        if (rows) std::memcpy(a.data() + static_cast<size_t>(j) * padded, a_.data() + static_cast<size_t>(j) * rows, rows * sizeof(double));
    }
    PetscCall(PetscBLASIntCast(padded, &m));
    nb                     = std::min<PetscInt>(d, 48);
    PetscBLASInt        bs = nb;
    std::vector<double> work;
    PetscCallCXX(t.resize(static_cast<size_t>(nb) * d));
    PetscCallCXX(work.resize(static_cast<size_t>(nb) * d));
    dgeqrt_(&m, &n, &bs, a.data(), &m, t.data(), &bs, work.data(), &info);
    PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dgeqrt: argument %d", (int)-info);
    for (PetscInt j = 0; j < d; ++j) std::memcpy(r.data() + static_cast<size_t>(j) * d, a.data() + static_cast<size_t>(j) * padded, (j + 1) * sizeof(double));
    PetscCall(PetscLogFlops(2.0 * padded * d * d));
    for (int step = 1; step < active; step *= 2) {
      if (rank % (2 * step) == step) {
        parent = rank - step;
        PackTriangle(d, r.data(), d, packed.data());
        PetscCallMPI(MPI_Send(packed.data(), (int)triangle, MPI_DOUBLE, parent, TagTriangle, comm));
        break;
      }
      if (rank + step < active) {
        Level level;
        level.partner = rank + step;
        PetscCallMPI(MPI_Recv(packed.data(), (int)triangle, MPI_DOUBLE, level.partner, TagTriangle, comm, MPI_STATUS_IGNORE));
        PetscCallCXX(level.v.resize(static_cast<size_t>(d) * d));
        PetscCallCXX(level.t.resize(static_cast<size_t>(nb) * d));
        UnpackTriangle(d, packed.data(), level.v.data(), d);
        dtpqrt_(&n, &n, &n, &bs, r.data(), &n, level.v.data(), &n, level.t.data(), &bs, work.data(), &info);
        PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dtpqrt: argument %d", (int)-info);
        PetscCall(PetscLogFlops(2.0 / 3.0 * d * d * d));
        PetscCallCXX(levels.push_back(std::move(level)));
      }
    }
  }
  if (rank == 0) PackTriangle(d, r.data(), d, packed.data());
  PetscCallMPI(MPI_Bcast(packed.data(), (int)triangle, MPI_DOUBLE, 0, comm));
  UnpackTriangle(d, packed.data(), r.data(), d);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TSQR::ApplyQT(double *b, PetscInt q, double *c, double *rho2) const
{
  const size_t cq = static_cast<size_t>(d) * q;

  PetscFunctionBegin;
  std::vector<double> sum;
  PetscCallCXX(sum.assign(cq + q, 0.0)); /* process 0's Q'b; the squared norms of the discarded parts */
  double *discarded = sum.data() + cq;
  if (rank < active && d > 0) {
    std::vector<double> pb, top, other, work;
    PetscBLASInt        info, m, n = d, nrhs, bs = nb;
    double             *x = b;

    PetscCall(PetscBLASIntCast(padded, &m));
    PetscCall(PetscBLASIntCast(q, &nrhs));
    if (padded != rows) {
      PetscCallCXX(pb.assign(static_cast<size_t>(padded) * q, 0.0));
      for (PetscInt j = 0; j < q; ++j)
        if (rows) std::memcpy(pb.data() + static_cast<size_t>(j) * padded, b + static_cast<size_t>(j) * rows, rows * sizeof(double));
      x = pb.data();
    }
    PetscCallCXX(work.resize(static_cast<size_t>(nb) * std::max(q, PetscInt(1))));
    PetscCallCXX(top.resize(cq));
    dgemqrt_("L", "T", &m, &nrhs, &n, &bs, a.data(), &m, t.data(), &bs, x, &m, work.data(), &info);
    PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dgemqrt: argument %d", (int)-info);
    for (PetscInt j = 0; j < q; ++j) {
      std::memcpy(top.data() + static_cast<size_t>(j) * d, x + static_cast<size_t>(j) * padded, d * sizeof(double));
      for (PetscInt i = d; i < padded; ++i) discarded[j] += x[i + static_cast<size_t>(j) * padded] * x[i + static_cast<size_t>(j) * padded];
    }
    for (const Level &level : levels) {
      PetscCallCXX(other.resize(cq));
      PetscCallMPI(MPI_Recv(other.data(), (int)cq, MPI_DOUBLE, level.partner, TagVector, comm, MPI_STATUS_IGNORE));
      dtpmqrt_("L", "T", &n, &nrhs, &n, &n, &bs, level.v.data(), &n, level.t.data(), &bs, top.data(), &n, other.data(), &n, work.data(), &info);
      PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dtpmqrt: argument %d", (int)-info);
      for (PetscInt j = 0; j < q; ++j)
        for (PetscInt i = 0; i < d; ++i) discarded[j] += other[i + static_cast<size_t>(j) * d] * other[i + static_cast<size_t>(j) * d];
    }
    if (parent >= 0)
      PetscCallMPI(MPI_Send(top.data(), (int)cq, MPI_DOUBLE, parent, TagVector, comm));
    else
      std::copy(top.begin(), top.end(), sum.begin());
  }
  PetscCall(AllreduceSum(comm, sum.data(), sum.size()));
  std::copy(sum.begin(), sum.begin() + cq, c);
  if (rho2) std::copy(discarded, discarded + q, rho2);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode QRUpdate(PetscInt d, double *R, PetscInt rows, PetscInt l, double *b, PetscInt ldb)
{
  PetscFunctionBegin;
  if (d == 0 || rows == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscBLASInt        info, m = rows, n = d, ll = l, ld = ldb, bs = std::min<PetscInt>(d, 48);
  std::vector<double> t, work;
  PetscCallCXX(t.resize(static_cast<size_t>(bs) * d));
  PetscCallCXX(work.resize(static_cast<size_t>(bs) * d));
  dtpqrt_(&m, &n, &ll, &bs, R, &n, b, &ld, t.data(), &bs, work.data(), &info);
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dtpqrt: argument %d", (int)-info);
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace skean
