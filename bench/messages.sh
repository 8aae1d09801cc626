#!/usr/bin/env bash
# Messages and bytes per process of a sketch and of a least-squares solve at 1 to 64 processes, oversubscribed: counts do not need a large machine.
# Usage: bench/messages.sh [build directory] [options of bench_messages]...      RANKS="1 2 4" chooses other numbers of processes
set -euo pipefail

build="${1:-build/release}"
[ $# -gt 0 ] && shift
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_hwloc_base_binding_policy=none OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
for ranks in ${RANKS:-1 2 4 8 16 32 64}; do
  mpirun -n "$ranks" "$build/bench/sketch/bench_messages" "$@"
done
