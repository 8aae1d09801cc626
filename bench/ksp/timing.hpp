/* Timing for benches: barrier, repeat, slowest process counts */
#pragma once

#include <skean.h>
#include <algorithm>
#include <functional>
#include <vector>

namespace skeanbench {
struct Times {
  double min = 0, median = 0, max = 0;
};
inline Times Summary(std::vector<double> t)
{
  std::sort(t.begin(), t.end());
  return {t.front(), t[t.size() / 2], t.back()};
}
inline Times Repeat(MPI_Comm comm, int repeats, const std::function<void()> &f, const std::function<void()> &before = {})
{
  std::vector<double> t;
  for (int i = 0; i < repeats; ++i) {
    if (before) before();
    MPI_Barrier(comm);
    const double t0 = MPI_Wtime();
    f();
    double mine = MPI_Wtime() - t0, all;
    MPI_Allreduce(&mine, &all, 1, MPI_DOUBLE, MPI_MAX, comm);
    t.push_back(all);
  }
  return Summary(std::move(t));
}
/* Rate of dgemm (flop/s, all processes together) and of streaming reads (byte/s) in this run: the limits beside the times */
void MachineRates(MPI_Comm comm, double *gemm, double *stream);
} // namespace skeanbench
