#!/usr/bin/env bash
# clang-tidy 14 with .clang-tidy over the library's sources. Says so and exits 77 where it is not installed.
# Usage: ci/checks/tidy.sh <build folder with compile_commands.json> [file]...   (default: all of src)
set -euo pipefail
tool=""
for t in clang-tidy-14 clang-tidy; do
  if command -v "$t" >/dev/null && "$t" --version | grep -q 'version 14\.'; then
    tool=$t
    break
  fi
done
if [ -z "$tool" ]; then
  echo "SKIPPED: clang-tidy 14 is not installed (Debian: apt install clang-tidy-14)"
  exit 77
fi
[ $# -ge 1 ] || { echo "usage: $0 <build folder> [file]..." >&2; exit 2; }
build=$(cd "$1" && pwd)
shift
[ -f "$build/compile_commands.json" ] || { echo "$build has no compile_commands.json; configure it first" >&2; exit 2; }
if [ $# -gt 0 ]; then
  files=("$@")
else
  cd "$(dirname "$0")/../.."
  mapfile -t files < <(find src -name '*.cxx' | sort)
fi
# gcc's warning flags that clang does not know are no findings
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "${SKEAN_TIDY_JOBS:-2}" "$tool" -p "$build" --quiet --extra-arg=-Wno-unknown-warning-option
echo "tidy: ${#files[@]} files without a finding"
