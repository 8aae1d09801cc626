#!/usr/bin/env bash
# Gaussian-process demonstration: the gaps of the COADS climatology of the sea-surface temperature (12 months x 90 x 180, land and poles missing,
# a tenth of the ocean held out) are filled on two processes, with uncertainty, and both maps are drawn.
# Usage: ci/demo-gp.sh [build folder] [output folder]
set -euo pipefail
cd "$(dirname "$0")/.."
build="${1:-build/release}"
out="${2:-demo}"
data=/usr/share/ferret-vis/data/coads_climatology.cdf
[ -r "$data" ] || ci/install-deps.sh demo
mkdir -p "$out"
export OPENBLAS_NUM_THREADS=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
[ "$(id -u)" != 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# a year's period is known and stays fixed; the other hyper-parameters come from a part of the South Pacific
exec mpirun -n "${SKEAN_DEMO_RANKS:-2}" "$build/examples/drivers/skean-gp" -grid "$data:SST" -holdout 0.1 \
  -gp_kernel "periodic(1.5,8766),matern32(25),matern32(30)" -gp_noise 0.9 -gp_fix 1 -train 0:12,25:45,70:95 -gp_exactmissing 100 \
  -gp_fill_rtol 1e-3 -gp_variance_samples 8 -gp_monitor -o "$out/gp-posterior.nc" -plot "$out/gp-maps.png"
