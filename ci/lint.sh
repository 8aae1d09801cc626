#!/usr/bin/env bash
# clang-tidy over the library's sources, and all sources against the declarations of newer PETSc releases; apart from ci/test.sh because it
# takes minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
ci/install-deps.sh lint
[ -f build/release/compile_commands.json ] || cmake --preset release
ci/checks/newerpetsc.py build/release
ci/checks/tidy.sh build/release "$@"
