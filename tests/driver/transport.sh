#!/usr/bin/env bash
# skean-transport on small files with known answers. Usage: transport.sh <answers|mistakes> <processes> <program> <mpiexec>
#   answers   a path graph, partial transport, a barycentre, a batch, a path in epsilon
#   mistakes  every bad input ends with a message and an exit code that is not zero, on any number of processes
set -euo pipefail
what=$1 np=$2 program=$3 mpiexec=$4
# shellcheck source=tests/driver/common.sh
. "$(dirname "$0")/common.sh"
cd "$tmp"

# value <text before>: the number that follows it in the output of the last run
value() { sed -n "s/.*$1 *\([-+0-9.e]*\).*/\1/p" out | head -1; }

awk 'BEGIN {
  # the path 0 - 1 - ... - 9 with edges of length 2, mass from one end to the other
  print "%%MatrixMarket matrix coordinate real general" > "path.mtx"; print 10, 10, 9 > "path.mtx"
  for (i = 1; i < 10; i++) print i, i + 1, 2 > "path.mtx"
  for (i = 0; i < 10; i++) { print (i == 0 ? 1 : 0) > "left.csv"; print (i == 9 ? 1 : 0) > "right.csv" }
  for (i = 0; i < 10; i++) { print (i == 0 ? 0.4 : (i == 2 ? 0.6 : 0)) > "two.csv"; print (i == 0 ? 0.4 : (i == 2 ? 0.7 : 0)) > "more.csv" }
  print "%%MatrixMarket matrix coordinate real general" > "broken.mtx"; print 10, 10, 8 > "broken.mtx"
  for (i = 1; i < 10; i++) if (i != 5) print i, i + 1, 2 > "broken.mtx"
  # points on a line
  for (i = 0; i < 8; i++) { print i > "x.csv"; print i + 0.25 > "y.csv"; print 0.125 > "w.csv"; print (i == 3 ? "nan" : 0.125) > "nan.csv"; print (i == 3 ? -1 : 0.25) > "negative.csv" }
  # two pictures, one bright pixel each
  for (k = 0; k < 2; k++) {
    name = k ? "b.pgm" : "a.pgm"; print "P2\n9 7\n255" > name
    for (i = 0; i < 7; i++) { line = ""; for (j = 0; j < 9; j++) line = line ((i == 3 && j == (k ? 7 : 1)) ? 200 : 0) " "; print line > name }
  }
  print "0,1\n1,2\n2,2\n0,3" > "pairs.csv"; print "0,1\n0,9" > "toomany.csv"; print "0,1\n1,2" > "good.csv"
}'
# four images of 3 x 4 pixels in IDX: one pixel each, at (0,0), (0,2), (2,3), and none
{
  printf '\x00\x00\x08\x03\x00\x00\x00\x04\x00\x00\x00\x03\x00\x00\x00\x04'
  printf '\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'
  printf '\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00'
  printf '\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09'
  printf '\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'
} >stack.idx

if [ "$what" = answers ]; then
  run 0 "$program" -graph path.mtx -r left.csv -c right.csv -transport_epsilon 1e-3 -options_left
  near "W1 on a path" "$(value '<C,P> =')" 18 1e-9
  says out CONVERGED_RTOL
  # of 0.4 and 0.6 at the nodes 0 and 2 only 0.5 moves, to node 9: from the nearer one
  run 0 "$program" -graph path.mtx -r two.csv -c right.csv -transport_partial_mass 0.5 -transport_epsilon 1e-3
  near "partial cost" "$(value '<C,P> =')" 7 1e-6
  near "mass moved" "$(value 'partial:')" 0.5 1e-8
  # a translate, along a path of epsilon
  run 0 "$program" -x x.csv -y y.csv -epsilons 1e-1,1e-2 -transport_epsilon 1e-4 -options_left
  near "translate" "$(value '<C,P> =')" 0.0625 1e-6
  [ "$(grep -c CONVERGED_RTOL out)" = 3 ] || fail "three solves should have converged"
  # the divergence of a translate is the squared distance, without the entropy's share
  run 0 "$program" -x x.csv -y y.csv -transport_epsilon 1e-2 -transport_rtol 1e-11 -divergence -options_left
  near "divergence" "$(value 'divergence =')" 0.0625 1e-8
  # half way between two pixels
  run 0 "$program" -barycenter a.pgm,b.pgm -transport_epsilon 1e-3 -o mean.npy -options_left
  says out CONVERGED_RTOL
  run 0 "$program" -barycenter a.pgm,b.pgm -weights 1,3 -debiased -transport_epsilon 5e-3 -transport_rtol 1e-6 -o mean.npy -plot mean.png
  [ -s mean.png ] || fail "no picture"
  # one pixel to another: squared distances; the empty image fails alone
  run 1 "$program" -batch stack.idx -pairs pairs.csv -o table.csv
  says out "4 problems on $np processes: 3 converged, 0 not, 1 failed"
  for q in "1 4" "2 5" "3 0"; do
    near "pair $q" "$(tail -n +2 table.csv | sed -n "${q% *}p" | cut -d, -f3)" "${q#* }" 1e-12
  done
  # all mass at one point: cost zero, and no gap; a density with itself: no cost is below zero
  echo "1,2" >one.csv
  run 0 "$program" -x one.csv:table -y one.csv:table -transport_epsilon 1e-1
  says out "certificate: 0 <= unregularised cost <= 0, gap 0.00e+00"
  run 0 "$program" -source a.pgm -target a.pgm -transport_epsilon 1e-1 -offset -1
  near "lower bound of a density with itself" "$(value 'certificate:')" 0 0
  # the plan in every format that holds it
  for e in h5 bin mtx; do run 0 "$program" -x x.csv -y y.csv -transport_epsilon 1e-1 -o plan.$e; done
  [ -s plan.h5 ] && [ -s plan.bin ] && [ -s plan.plan.mtx ] || fail "no plan"
  run 0 "$program" -source a.pgm -target b.pgm -transport_epsilon 1e-1 -o grids.npy
  [ -s grids.map.npy ] || fail "no map"
else
  # the output is refused before the work, which says how it went
  before() { mistake "$@"; silent out epsilon; silent out problems; }
  before "no such folder" -x x.csv -y y.csv -transport_epsilon 1e-1 -o nowhere/x.h5
  before "no such folder" -barycenter a.pgm,b.pgm -transport_epsilon 1e-1 -o nowhere/b.npy
  before "no such folder" -batch stack.idx -pairs pairs.csv -o nowhere/c.csv
  before ending -x x.csv -y y.csv -transport_epsilon 1e-1 -o x.npy
  before ending -barycenter a.pgm,b.pgm -transport_epsilon 1e-1 -o x.csv
  before ending -batch stack.idx -pairs pairs.csv -o x.txt
  [ ! -e x.f.npy ] || fail "a part of the output was written"
  before "same file as -pairs pairs.csv" -batch stack.idx -pairs pairs.csv -o pairs.csv
  cp a.pgm a.npy
  before "same file as -barycenter a.npy" -barycenter b.pgm,a.npy -transport_epsilon 1e-1 -o a.npy
  for e in h5 bin; do onfull "$program" -x x.csv -y y.csv -transport_epsilon 1e-1 -o full/t.$e; done
  onfull "$program" -batch stack.idx -pairs good.csv -o full/t.csv
  mistake nothing -x x.csv -y y.csv -transport_type nothing
  says err "sinkhorn"
  mistake "-c negative.csv: entry 3 (counted from 0) is negative" -x x.csv -y y.csv -r w.csv -c negative.csv
  mistake NaN -x x.csv -y y.csv -r nan.csv -c w.csv
  mistake unequal -graph path.mtx -r two.csv -c more.csv
  mistake Infeasible -graph broken.mtx -r left.csv -c right.csv
  mistake exceeds -graph path.mtx -r two.csv -c more.csv -transport_partial_mass 2
  mistake positive -x x.csv -y y.csv -transport_epsilon 0
  mistake "too small" -x x.csv -y y.csv -transport_epsilon 1e-15
  mistake coordinates -x x.csv -y pairs.csv
  mistake masses -x x.csv -y y.csv -r left.csv
  mistake "weights for" -barycenter a.pgm,b.pgm -weights 1,2,3
  mistake "not the number" -batch stack.idx -pairs toomany.csv
  mistake "needs -pairs" -batch stack.idx
  mistake "Give one of"
fi
exit $bad
