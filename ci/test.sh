#!/usr/bin/env bash
# Installs what is missing, builds with warnings as errors, runs every test.
set -euo pipefail
cd "$(dirname "$0")/.."
ci/install-deps.sh test
# real data beside the checkout, if somebody put it there; the tests that read it say so and skip otherwise
: "${SKEAN_DATA_DIR:=$( [ -d ../shared/data ] && cd ../shared/data && pwd || true)}"
cmake --preset release -DSKEAN_WERROR=ON -DSKEAN_DATA_DIR="$SKEAN_DATA_DIR"
cmake --build --preset release
ctest --preset release -j "${SKEAN_TEST_JOBS:-2}"
