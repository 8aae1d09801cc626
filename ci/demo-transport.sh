#!/usr/bin/env bash
# Transport demonstration: January's sea-level pressure (COADS climatology, 90 x 180 points, above 1000 hPa) is moved to July's on two processes;
# prints the certificate and draws where the mass goes.
# Usage: ci/demo-transport.sh [build folder] [output folder]
set -euo pipefail
cd "$(dirname "$0")/.."
build="${1:-build/release}"
out="${2:-demo}"
data=/usr/share/ferret-vis/data/coads_climatology.cdf
[ -r "$data" ] || ci/install-deps.sh demo
mkdir -p "$out"
export OPENBLAS_NUM_THREADS=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
[ "$(id -u)" != 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# costs are squared degrees; epsilon is relative to the largest
exec mpirun -n "${SKEAN_DEMO_RANKS:-2}" "$build/examples/drivers/skean-transport" -source "$data:SLP" -source_slice 0 -target "$data:SLP" -target_slice 6 \
  -offset 1000 -separable 0 -transport_truncation 1e-14 -transport_epsilon 1e-5 -transport_monitor -o "$out/transport.h5" -plot "$out/transport.png"
