#!/usr/bin/env bash
# Are all sources laid out as .clang-format says? Needs clang-format 14 (other versions lay out differently); says so and exits 77 without it.
# Usage: ci/checks/format.sh [file]...   (default: everything under version control, or below the checkout)
set -euo pipefail
tool=""
for t in clang-format-14 clang-format; do
  if command -v "$t" >/dev/null && "$t" --version | grep -q 'version 14\.'; then
    tool=$t
    break
  fi
done
if [ -z "$tool" ]; then
  echo "SKIPPED: clang-format 14 is not installed (Debian: apt install clang-format-14)"
  exit 77
fi
if [ $# -gt 0 ]; then
  files=("$@")
else
  cd "$(dirname "$0")/../.."
  mapfile -t files < <({ git ls-files -- '*.c' '*.cxx' '*.cpp' '*.h' '*.hpp' 2>/dev/null || find include src tests examples bench -name '*.c' -o -name '*.cxx' -o -name '*.cpp' -o -name '*.h' -o -name '*.hpp'; })
fi
"$tool" --dry-run -Werror --style=file "${files[@]}"
echo "format: ${#files[@]} files as .clang-format says"
