#!/usr/bin/env bash
# What every driver does in the same way: help, one clear line and exit code 2 for an error, misspelt options named before the work begins,
# -traceback. Usage: alike.sh <processes> <folder of the drivers> <mpiexec>
set -euo pipefail
np=$1 drivers=$2 mpiexec=$3
# shellcheck source=tests/driver/common.sh
. "$(dirname "$0")/common.sh"
cd "$tmp"
printf '1,2\n3,4\n5,7\n' >a.csv

# alike <driver> <option of its class> <one of its options with a number> <option of an input file> <its other arguments>...
alike() {
  local number=$3 input=$4
  program=$drivers/$1
  run 0 "$program" -help
  says out "$input"
  says out "Exit code: 0 converged, 1 not converged"
  says out "$2"
  shift 4
  mistake "$number abc: " "$input" a.csv "$@" "$number" abc
  mistake missing.csv "$input" missing.csv "$@"
  mistake ending "$input" a.csv "$@" -plot x.jpg
  run 2 "$program" "${input}s" a.csv "$@"
  says err "did you mean $input?"
}
alike skean-regress -ksp_sketch_method -ksp_rtol -A -b a.csv
alike skean-transport -transport_type -transport_epsilon -x -y a.csv
alike skean-gp -gp_optimize -gp_noise -grid
mistake "no such folder" -grid a.csv -plot nowhere/x.png
mistake missing.csv -grid missing.csv -traceback
says err "at SkeanGridLoadFile() in"
program=$drivers/skean-gp-pde
run 0 "$program" -help
says out "Exit code: 0 converged, 1 not converged"
says out -gppde_type
mistake "-gppde_length abc: " -problem p1b -gppde_length abc
mistake missing.so -plugin missing.so
mistake "no such folder" -o nowhere/x.bin
mistake "did you mean -problem?" -probelm p1b -gppde_type nothing
exit $bad
