#!/usr/bin/env bash
# One variant from beginning to end: packages, configure, build with warnings as errors, every test, installation and its consumers.
# Usage: ci/build.sh real|real-debug|int64|asan|complex
#   complex: no class supports complex scalars; configuring must refuse such a PETSc with a clear message
set -euo pipefail
cd "$(dirname "$0")/.."
variant=${1:?"usage: $0 real|real-debug|int64|asan|complex"}
kind=test preset=release
case "$variant" in
real) ;;
real-debug) kind=debug preset=debug ;;
int64) kind="test int64" preset=int64 ;;
asan) preset=asan ;;
complex) ;;
*)
  echo "usage: $0 real|real-debug|int64|asan|complex" >&2
  exit 2
  ;;
esac
# shellcheck disable=SC2086
ci/install-deps.sh $kind
: "${SKEAN_DATA_DIR:=$( [ -d ../shared/data ] && cd ../shared/data && pwd || true)}"
cmake --preset "$preset" -DSKEAN_WERROR=ON -DSKEAN_DATA_DIR="$SKEAN_DATA_DIR"
cmake --build --preset "$preset"
if [ "$variant" = complex ]; then
  ctest --preset "$preset" -R '^consumer_(install|complex)$'
else
  ctest --preset "$preset" -j "${SKEAN_TEST_JOBS:-2}"
fi
