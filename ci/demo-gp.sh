#!/usr/bin/env bash
# Gaussian-process demonstration: the gaps of the COADS climatology of the sea-surface temperature (12 months x 90 x 180, land and poles missing,
# a tenth of the ocean held out) are filled on two processes, with uncertainty, and both maps are drawn.
# A part of ci/demo.sh, which sets the build folder, the output folder, the table and the environment of Open MPI.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${SKEAN_BUILD:?run ci/demo.sh}" "${SKEAN_DEMO_OUT:?}" "${SKEAN_DEMO_TABLE:?}"
data=/usr/share/ferret-vis/data/coads_climatology.cdf
# the periods of the year and of the circles of latitude are known and stay fixed; the other hyper-parameters come from a strip of the Atlantic through both
# hemispheres: those of a quiet and well-observed part of the ocean give intervals that are too narrow elsewhere
mpirun -n "${SKEAN_DEMO_NP:-2}" "$SKEAN_BUILD/examples/drivers/skean-gp" -grid "$data:SST" -holdout 0.1 \
  -gp_kernel "periodic(1.5,8766),matern32(25),chordal32(30,360)" -gp_noise 0.9 -gp_fix 1,4 -train 0:12,20:75,145:165 -gp_rtol 1e-2 -gp_probes 4 \
  -gp_exactmissing 100 -gp_fill_rtol 1e-4 -gp_variance_samples 4 -gp_monitor -o "$SKEAN_DEMO_OUT/gp-posterior.nc" -plot "$SKEAN_DEMO_OUT/gp-maps.png" | tee "$SKEAN_DEMO_OUT/gp.log"
awk '/^solve:/ { for (i = 1; i <= NF; i++) { if ($i == "iterations" && $(i + 1) == "for") p = $(i - 1); if ($i == "condition") c = $(i + 1) + 0 } t += $(NF - 1) }
  /^hyper-parameters from|^posterior mean/ { t += $(NF - 1) }
  /^held out/ { e = $9 + 0 }
  END { if (!p) exit 1; print "sea-surface temperature, gaps|12 x 90 x 180|-|" c "|" e " K (held out)|" p "|" t }' "$SKEAN_DEMO_OUT/gp.log" >>"$SKEAN_DEMO_TABLE"
