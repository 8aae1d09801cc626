#!/usr/bin/env bash
# Transport demonstration: January's sea-level pressure (COADS climatology, 90 x 180 points, above 1000 hPa) is moved to July's on two processes;
# prints the certificate and draws where the mass goes.
# A part of ci/demo.sh, which sets the build folder, the output folder, the table and the environment of Open MPI.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${SKEAN_BUILD:?run ci/demo.sh}" "${SKEAN_DEMO_OUT:?}" "${SKEAN_DEMO_TABLE:?}"
data=/usr/share/ferret-vis/data/coads_climatology.cdf
# costs are squared degrees; epsilon is relative to the largest
mpirun -n "${SKEAN_DEMO_NP:-2}" "$SKEAN_BUILD/examples/drivers/skean-transport" -source "$data:SLP" -source_slice 0 -target "$data:SLP" -target_slice 6 \
  -offset 1000 -separable 0 -transport_truncation 1e-14 -transport_epsilon 1e-5 -transport_monitor -o "$SKEAN_DEMO_OUT/transport.h5" -plot "$SKEAN_DEMO_OUT/transport.png" | tee "$SKEAN_DEMO_OUT/transport.log"
awk '/^transport of/ { n = $3 " x " $6; for (i = 1; i <= NF; i++) { if ($i == "passes,") p = $(i - 1); if ($i == "s") t = $(i - 1) } }
  /^marginal error/ { e = $3 }
  END { if (!n) exit 1; print "sea-level pressure, January to July|" n "|-|-|" e " (marginal)|" p "|" t }' "$SKEAN_DEMO_OUT/transport.log" >>"$SKEAN_DEMO_TABLE"
