#!/usr/bin/env bash
# Installs what is missing, builds, runs the drivers on real data under mpirun; prints what was solved, how well and how fast, and
# leaves pictures and results in demo-out/ (another folder: ci/demo.sh <folder>).
# Processes: SKEAN_DEMO_NP (2). A part alone: ci/demo.sh <folder> regress
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-demo-out}
only=${2:-}
ci/install-deps.sh demo
cmake --preset release
# -DBUILD_TESTING=OFF is left to the user: a build folder with tests is not turned into one without
targets=$(for f in examples/drivers/skean-*.cxx; do basename "$f" .cxx; done)
# shellcheck disable=SC2086
cmake --build build/release --target skean $targets ex_seafloor

mkdir -p "$out"
out=$(cd "$out" && pwd)
export SKEAN_BUILD="$PWD/build/release" SKEAN_DEMO_OUT="$out" SKEAN_DEMO_TABLE="$out/table.txt" SKEAN_DEMO_NP="${SKEAN_DEMO_NP:-2}"
: "${SKEAN_DATA_DIR:=$( [ -d ../shared/data ] && cd ../shared/data && pwd || true)}"
export SKEAN_DATA_DIR
# Open MPI as root, in a container, on fewer cores than processes; one thread per process
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_mpi_yield_when_idle=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
echo "problem|size|rank|condition|accuracy|passes after set-up|seconds" >"$SKEAN_DEMO_TABLE"
failed=""
for part in ci/demo-*.sh; do
  name=$(basename "$part" .sh)
  name=${name#demo-}
  [ -z "$only" ] || [ "$only" = "$name" ] || continue
  echo "=== $name"
  "$part" || failed="$failed $name"
done
echo
echo "=== on $SKEAN_DEMO_NP processes; files in $out"
column -t -s '|' "$SKEAN_DEMO_TABLE" 2>/dev/null || cat "$SKEAN_DEMO_TABLE"
[ -z "$failed" ] || {
  echo "failed:$failed" >&2
  exit 1
}
