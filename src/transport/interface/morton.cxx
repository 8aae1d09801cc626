#include "morton.hpp"
#include <skean/private/reduce.hpp>
#include <algorithm>
#include <cmath>
#include <numeric>

namespace skean {
namespace transport {

void BoxOf(PetscInt d, const std::vector<double> &x, double *box)
{
  for (size_t i = 0; i < x.size(); ++i) {
    double *b = box + 2 * (i % static_cast<size_t>(d));
    b[0]      = PetscMax(b[0], -x[i]);
    b[1]      = PetscMax(b[1], x[i]);
  }
}

PetscErrorCode AgreeOnBox(MPI_Comm comm, PetscInt d, double *box, double *lo, double *width)
{
  PetscFunctionBegin;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, box, static_cast<int>(2 * d), MPI_DOUBLE, MPI_MAX, comm));
  *width = 0;
  for (PetscInt k = 0; k < d; ++k) {
    lo[k]  = -box[2 * k];
    *width = PetscMax(*width, box[2 * k + 1] - lo[k]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

void MortonKeys(PetscInt d, PetscInt n, const double *x, const double *lo, double width, std::uint64_t *key)
{
  const int    bits  = static_cast<int>(63 / d);
  const double cells = std::ldexp(1.0, bits), scale = width > 0 ? cells / width : 0.0;

  for (PetscInt i = 0; i < n; ++i) {
    std::uint64_t k = 0, q[64];
    for (PetscInt e = 0; e < d; ++e) q[e] = static_cast<std::uint64_t>(PetscMin(PetscMax((x[i * d + e] - lo[e]) * scale, 0.0), cells - 1));
    for (int b = bits - 1; b >= 0; --b)
      for (PetscInt e = 0; e < d; ++e) k = (k << 1) | ((q[e] >> b) & 1);
    key[i] = k;
  }
}

PetscErrorCode SortByKey(MPI_Comm comm, size_t width, bool together, std::vector<std::uint64_t> &key, std::vector<double> &item)
{
  PetscMPIInt                size, rank;
  const size_t               n = key.size();
  std::vector<size_t>        order(n);
  std::vector<std::uint64_t> sorted(n);
  std::vector<double>        moved(item.size());
  bool                       toobig;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  std::iota(order.begin(), order.end(), size_t(0));
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return key[a] < key[b] || (key[a] == key[b] && a < b); });
  for (size_t i = 0; i < n; ++i) {
    sorted[i] = key[order[i]];
    std::copy_n(item.begin() + static_cast<std::ptrdiff_t>(order[i] * width), width, moved.begin() + static_cast<std::ptrdiff_t>(i * width));
  }
  key.swap(sorted);
  item.swap(moved);
  if (size == 1) PetscFunctionReturn(PETSC_SUCCESS);
  /* all splitters by bisection at once: split[p] becomes the smallest key such that target[p] items, or more, are no larger */
  PetscInt64 total = static_cast<PetscInt64>(n);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &total, 1, MPIU_INT64, MPI_SUM, comm));
  const int                  cuts = size - 1;
  std::vector<std::uint64_t> lo(cuts, 0), hi(cuts, (std::uint64_t(1) << 63) - 1), mid(cuts);
  std::vector<PetscInt64>    target(cuts), count(cuts), ties(2 * static_cast<size_t>(cuts)), before(2 * static_cast<size_t>(cuts), 0);
  for (int p = 0; p < cuts; ++p) target[p] = total * (p + 1) / size;
  for (int step = 0; step < 63; ++step) {
    for (int p = 0; p < cuts; ++p) {
      mid[p]   = lo[p] + (hi[p] - lo[p]) / 2;
      count[p] = std::upper_bound(key.begin(), key.end(), mid[p]) - key.begin();
    }
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, count.data(), cuts, MPIU_INT64, MPI_SUM, comm));
    for (int p = 0; p < cuts; ++p)
      if (count[p] >= target[p])
        hi[p] = mid[p];
      else
        lo[p] = PetscMin(mid[p] + 1, hi[p]);
  }
  /* items up to cut[p] belong to processes up to p; those with the splitter's key fill up the share in the order of the processes */
  std::vector<int> cut(static_cast<size_t>(size) + 1, 0);
  for (int p = 0; p < cuts; ++p) {
    ties[2 * p]     = std::lower_bound(key.begin(), key.end(), hi[p]) - key.begin();
    ties[2 * p + 1] = (std::upper_bound(key.begin(), key.end(), hi[p]) - key.begin()) - ties[2 * p];
    count[p]        = ties[2 * p];
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, count.data(), cuts, MPIU_INT64, MPI_SUM, comm));
  PetscCallMPI(MPI_Exscan(ties.data(), before.data(), 2 * cuts, MPIU_INT64, MPI_SUM, comm));
  if (!rank) std::fill(before.begin(), before.end(), 0);
  toobig = static_cast<double>(n) * static_cast<double>(width) > PETSC_MPI_INT_MAX || static_cast<double>(total) / size * width > 0.25 * PETSC_MPI_INT_MAX;
  PetscCall(AgreeAny(comm, toobig, &toobig));
  PetscCheck(!toobig, comm, PETSC_ERR_SUP, "Too many points on a process for MPI's counts; use more processes");
  cut[size] = static_cast<int>(n);
  for (int p = 0; p < cuts; ++p) {
    const PetscInt64 room = together ? ties[2 * p + 1] : PetscMax(PetscInt64(0), PetscMin(target[p] - count[p] - before[2 * p + 1], ties[2 * p + 1]));
    cut[p + 1]            = static_cast<int>(ties[2 * p] + room);
  }
  std::vector<int> scount(size), sdispl(size), rcount(size), rdispl(size, 0);
  auto             Exchange = [&](const void *send, MPI_Datatype type, size_t w, void *recv) -> PetscErrorCode {
    std::vector<int> sc(size), sd(size), rc(size), rd(size);
    PetscFunctionBegin;
    for (int p = 0; p < size; ++p) {
      sc[p] = scount[p] * static_cast<int>(w);
      sd[p] = sdispl[p] * static_cast<int>(w);
      rc[p] = rcount[p] * static_cast<int>(w);
      rd[p] = rdispl[p] * static_cast<int>(w);
    }
    PetscCallMPI(MPI_Alltoallv(send, sc.data(), sd.data(), type, recv, rc.data(), rd.data(), type, comm));
    PetscFunctionReturn(PETSC_SUCCESS);
  };
  for (int p = 0; p < size; ++p) {
    scount[p] = cut[p + 1] - cut[p];
    sdispl[p] = cut[p];
  }
  PetscCallMPI(MPI_Alltoall(scount.data(), 1, MPI_INT, rcount.data(), 1, MPI_INT, comm));
  for (int p = 1; p < size; ++p) rdispl[p] = rdispl[p - 1] + rcount[p - 1];
  const size_t arrive = static_cast<size_t>(rdispl[size - 1] + rcount[size - 1]);
  sorted.resize(arrive);
  moved.resize(arrive * width);
  PetscCall(Exchange(key.data(), MPI_UINT64_T, 1, sorted.data()));
  PetscCall(Exchange(item.data(), MPI_DOUBLE, width, moved.data()));
  /* runs from every process, each in order, are merged; stable, so that ties stay in the order of the processes */
  order.resize(arrive);
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return sorted[a] < sorted[b]; });
  key.resize(arrive);
  item.resize(arrive * width);
  for (size_t i = 0; i < arrive; ++i) {
    key[i] = sorted[order[i]];
    std::copy_n(moved.begin() + static_cast<std::ptrdiff_t>(order[i] * width), width, item.begin() + static_cast<std::ptrdiff_t>(i * width));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace transport
} // namespace skean
