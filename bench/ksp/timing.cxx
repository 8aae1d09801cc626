#include "timing.hpp"
#include <petscblaslapack.h>

namespace skeanbench {
void MachineRates(MPI_Comm comm, double *gemm, double *stream)
{
  int size;
  MPI_Comm_size(comm, &size);
  const PetscBLASInt  n   = 512;
  const double        one = 1.0, zero = 0.0;
  std::vector<double> a(n * n, 1.0), b(n * n, 0.5), c(n * n), big(1 << 24, 1.0);
  const Times         g    = Repeat(comm, 4, [&] { BLASgemm_("N", "N", &n, &n, &n, &one, a.data(), &n, b.data(), &n, &zero, c.data(), &n); });
  volatile double     sink = 0;
  const Times         s    = Repeat(comm, 3, [&] {
    double t[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (size_t i = 0; i + 8 <= big.size(); i += 8)
      for (int k = 0; k < 8; ++k) t[k] += big[i + k];
    sink = sink + t[0] + t[1] + t[2] + t[3] + t[4] + t[5] + t[6] + t[7];
  });
  *gemm                    = 2.0 * n * n * n * size / g.min;
  *stream                  = 8.0 * static_cast<double>(big.size()) * size / s.min;
}
} // namespace skeanbench
