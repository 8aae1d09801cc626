#!/usr/bin/env bash
# skean-topography on the coarsest grid: whole sphere well conditioned, sea alone ill-conditioned; both ways of weighting agree
set -euo pipefail
program=$1 mpiexec=$2 np=2
grid=/usr/share/ferret-vis/data/etopo120.cdf
[ -r $grid ] || {
  echo "SKIPPED: no $grid (Debian: ferret-datasets)"
  exit 77
}
# shellcheck source=tests/driver/common.sh
. "$(dirname "$0")/common.sh"
cd "$tmp"
run 0 "$program" -grid $grid -degree 6 -bounds -o c.mtx -plot c.png
says out "49 of 49"
[ "$(head -c 4 c.png | tail -c 3)" = PNG ] || fail "c.png is no PNG"
near "condition" "$(field 'condition (columns scaled)')" 1 0.1
rms=$(field 'rms of the residual' | sed 's/ m//')
run 0 "$program" -grid $grid -degree 6 -weighting ksp -o k.mtx
near "rms" "$(field 'rms of the residual' | sed 's/ m//')" "$rms" 1e-4
paste <(grep -v '^%' c.mtx | tail -n +2) <(grep -v '^%' k.mtx | tail -n +2) |
  awk '{ d += ($1 - $2)^2; s += $1^2 } END { exit !(NR == 49 && s > 0 && d <= 1e-22 * s) }' || fail "the two ways of weighting differ"
run 0 "$program" -grid $grid -degree 6 -where sea
awk -v k="$(field 'condition (columns scaled)')" 'BEGIN { exit !(k > 5) }' || fail "the sea alone should be ill-conditioned"
run 2 "$program" -grid /nowhere.nc
says err "/nowhere.nc"
once
run 2 "$program" -grid $grid -degree 400
once
mistake "-degree abc: " -grid $grid -degree abc
mistake "for -where. Available options: all sea land" -grid $grid -where bogus
mistake "-ksp_rtol abc: " -grid $grid -degree 2 -ksp_rtol abc
exit $bad
