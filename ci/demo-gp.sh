#!/usr/bin/env bash
# Gaussian-process demonstration: the gaps of the COADS climatology of the sea-surface temperature (12 months x 90 x 180, land and poles missing,
# a tenth of the ocean held out) are filled on two processes, with uncertainty, and both maps are drawn.
# A part of ci/demo.sh, which sets the build folder, the output folder, the table and the environment of Open MPI.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${SKEAN_BUILD:?run ci/demo.sh}" "${SKEAN_DEMO_OUT:?}" "${SKEAN_DEMO_TABLE:?}"
data=/usr/share/ferret-vis/data/coads_climatology.cdf
# a year's period is known and stays fixed; the other hyper-parameters come from a part of the South Pacific
mpirun -n "${SKEAN_DEMO_NP:-2}" "$SKEAN_BUILD/examples/drivers/skean-gp" -grid "$data:SST" -holdout 0.1 \
  -gp_kernel "periodic(1.5,8766),matern32(25),matern32(30)" -gp_noise 0.9 -gp_fix 1 -train 0:12,25:45,70:95 -gp_exactmissing 100 \
  -gp_fill_rtol 1e-3 -gp_variance_samples 8 -gp_monitor -o "$SKEAN_DEMO_OUT/gp-posterior.nc" -plot "$SKEAN_DEMO_OUT/gp-maps.png" | tee "$SKEAN_DEMO_OUT/gp.log"
awk '/^solve:/ { for (i = 1; i <= NF; i++) { if ($i == "iterations" && $(i + 1) == "for") p = $(i - 1); if ($i == "condition") c = $(i + 1) + 0 } t += $(NF - 1) }
  /^hyper-parameters from|^posterior mean/ { t += $(NF - 1) }
  /^held out/ { e = $9 + 0 }
  END { if (!p) exit 1; print "sea-surface temperature, gaps|12 x 90 x 180|-|" c "|" e " K (held out)|" p "|" t }' "$SKEAN_DEMO_OUT/gp.log" >>"$SKEAN_DEMO_TABLE"
