#!/usr/bin/env bash
# Regression part of the demo, called by ci/demo.sh: the Earth's topography in spherical harmonics (dense), and from a Matrix Market file the floor of
# the Mediterranean and the Black Sea in quintic B-splines (sparse, ill-conditioned). Both are grids of heights of NOAA, in Debian's ferret-datasets.
# Degree of the harmonics: SKEAN_DEMO_DEGREE (15; 20 needs about 2.5 GB)
set -euo pipefail
: "${SKEAN_BUILD:?run ci/demo.sh}" "${SKEAN_DEMO_OUT:?}" "${SKEAN_DEMO_TABLE:?}"
drivers=$SKEAN_BUILD/examples/drivers
grids=${SKEAN_GRIDS:-/usr/share/ferret-vis/data}
run() { mpirun -n "${SKEAN_DEMO_NP:-2}" "$@"; }
failed=0

# A line of the table for every problem that a driver's report (standard input) describes: line <name>...
line() {
  awk -v names="$1" '
    function put() { if (size != "") print name[++k] "|" size "|" rank "|" cond "|" be "|" passes "|" seconds; size = "" }
    BEGIN { split(names, name, ";") }
    /^skean-/ { put() }
    /^  rows x columns/ { size = $4 " x " $6; rank = cond = be = "-" }
    /^  numerical rank/ { rank = $3 }
    /^  condition/ { cond = $4 }
    /^  backward error/ { if (be == "-") be = $3 " (backward)" }
    /^  relative difference/ { be = $3 " (to above)" }
    /^  passes over A/ { passes = $NF }
    /^  seconds/ { s = $0; seconds = 0; while (match(s, /(make rows|set up|solve) [0-9.e+-]+/)) { t = substr(s, RSTART, RLENGTH); sub(/.* /, "", t); if (s !~ /^make/) seconds += t; s = substr(s, RSTART + RLENGTH) } }
    END { put() }' >>"$SKEAN_DEMO_TABLE"
}
# solve <names for the table> <program> <arguments>...: shows the report and takes its line; a run that does not converge fails the demo,
# unless may_stop says that it need not
solve() {
  local names=$1 log code=0
  shift
  log=$(mktemp)
  run "$@" >"$log" || code=$?
  cat "$log"
  line "$names" <"$log"
  rm -f "$log"
  [ $code = 0 ] || { [ $code = 1 ] && [ -n "${may_stop:-}" ]; } || {
    echo "exit code $code: $*" >&2
    failed=1
  }
}

if [ -r "$grids/etopo20.cdf" ] && [ -r "$grids/etopo60.cdf" ]; then
  degree=${SKEAN_DEMO_DEGREE:-15}
  solve "topography 1/3 degree, all;topography 1 degree, all" "$drivers/skean-topography" -degree "$degree" -grid "$grids/etopo20.cdf:ROSE" \
    -coarse "$grids/etopo60.cdf:ROSE" -bounds -o "$SKEAN_DEMO_OUT/topography.h5" -plot "$SKEAN_DEMO_OUT/topography.png"
  # the floor of the sea alone says little about the harmonics under the continents: an ill-conditioned fit
  solve "topography 1 degree, sea" "$drivers/skean-topography" -degree "$degree" -grid "$grids/etopo60.cdf:ROSE" -where sea -bounds \
    -plot "$SKEAN_DEMO_OUT/topography-sea.png"
else
  echo "no grids in $grids (Debian: ferret-datasets): the topography is left out"
fi

if [ -r "$grids/etopo5.cdf" ]; then
  sea=$SKEAN_DEMO_OUT/seafloor
  mpirun -n 1 "$SKEAN_BUILD/examples/tutorials/ex_seafloor" "$sea" -grid "$grids/etopo5.cdf:ROSE"
  solve "sea floor, sketch" "$drivers/skean-regress" -A "$sea.mtx" -b "${sea}_rhs.mtx" -ksp_sketch_method iterative -bounds -o "${sea}_x.h5" -plot "$sea.png"
  solve "sea floor, lsqr -pc_type sketch" "$drivers/skean-regress" -A "$sea.mtx" -b "${sea}_rhs.mtx" -ksp_type lsqr -pc_type sketch -ksp_rtol 1e-12 \
    -compare "${sea}_x.h5:x"
  may_stop=yes solve "sea floor, lsqr alone (at most 300)" "$drivers/skean-regress" -A "$sea.mtx" -b "${sea}_rhs.mtx" -ksp_type lsqr -ksp_rtol 1e-12 -ksp_max_it 300 \
    -compare "${sea}_x.h5:x"
else
  echo "no etopo5.cdf in $grids (Debian: ferret-datasets): the sea floor is left out"
fi

ls=${SKEAN_DATA_DIR:-}/ls
if [ -n "${SKEAN_DATA_DIR:-}" ] && [ -r "$ls/illc1850.mtx.gz" ]; then
  solve "illc1850, sketch" "$drivers/skean-regress" -A "$ls/illc1850.mtx.gz" -b "$ls/illc1850_rhs1.mtx.gz" -bounds -o "$SKEAN_DEMO_OUT/illc1850_x.h5" \
    -plot "$SKEAN_DEMO_OUT/illc1850.png"
  solve "illc1850, sketch iterative" "$drivers/skean-regress" -A "$ls/illc1850.mtx.gz" -b "$ls/illc1850_rhs1.mtx.gz" -ksp_sketch_method iterative \
    -compare "$SKEAN_DEMO_OUT/illc1850_x.h5:x"
  solve "illc1850, lsqr alone" "$drivers/skean-regress" -A "$ls/illc1850.mtx.gz" -b "$ls/illc1850_rhs1.mtx.gz" -ksp_type lsqr -ksp_rtol 1e-12 \
    -ksp_max_it 40000 -compare "$SKEAN_DEMO_OUT/illc1850_x.h5:x"
fi
exit $failed
