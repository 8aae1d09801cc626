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
says err "at GridLoadFile() in"
program=$drivers/skean-gp-pde
run 0 "$program" -help
says out "Exit code: 0 converged, 1 not converged"
says out -gppde_type
mistake "-gppde_length abc: " -problem p1b -gppde_length abc
mistake missing.so -plugin missing.so
mistake "no such folder" -problem p1b -o nowhere/x.bin
mistake "Give an equation"
mistake "-problem and -gppde_problem name an equation each" -problem p1a -gppde_problem p1b
mistake "-problem and -plugin name an equation each" -problem p1a -plugin missing.so
mistake ending -problem p1b -o x.doc
mistake ending -problem p1b -deviation x
mistake "-o is for one problem" -problem all -o x.bin
mistake "linear equations only" -problem ac2 -deviation x.bin
silent out points # before the solve
mistake "mixture or covariance basis only" -problem p1b -gppde_basis chebyshev -deviation x.bin
run 0 "$program" -gppde_problem p1a -gppde_n 60 -o u.h5 -deviation d.npy
says out "p1a: 60 points"
[ "$(head -c 4 u.h5 | tail -c 3)" = HDF ] || fail "u.h5 is no HDF5 file"
[ "$(head -c 6 d.npy | tail -c 5)" = NUMPY ] || fail "d.npy is no NumPy file"
mistake "did you mean -problem?" -probelm p1b -gppde_type nothing
exit $bad
