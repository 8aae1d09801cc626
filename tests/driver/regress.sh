#!/usr/bin/env bash
# skean-regress on small files with known answers. Usage: regress.sh <answers|mistakes|files> <processes> <program> <mpiexec>
#   answers   solutions, residuals, bounds, several right-hand sides, ridge, weights, constraints, n < d, LSQR
#   mistakes  every bad input gives one clear line and exit code 2, no convergence gives 1
#   files     formats of output, pictures, help
set -euo pipefail
what=$1 np=$2 program=$3 mpiexec=$4
# shellcheck source=tests/driver/common.sh
. "$(dirname "$0")/common.sh"
cd "$tmp"

# b = 2 - 3 t + t^2/2 + c r(t) on t = -20 ... 20, where r = t^3 - (sum t^4 / sum t^2) t is orthogonal to 1, t, t^2: the solution is
# (2, -3, 1/2) whatever c, and the residual norm is c |r|. Printed with 17 digits.
awk 'BEGIN {
  N = 20; c = 1e-3
  for (t = -N; t <= N; t++) { s2 += t^2; s4 += t^4 }
  for (t = -N; t <= N; t++) { r[t] = t^3 - s4 / s2 * t; rr += r[t]^2 }
  n = 2 * N + 1
  print "%%MatrixMarket matrix array real general" > "A.mtx"; print n, 3 > "A.mtx"
  for (k = 0; k < 3; k++) for (t = -N; t <= N; t++) printf "%.17g\n", t^k > "A.mtx"
  print "%%MatrixMarket matrix coordinate real general" > "S.mtx"; print n, 3, 3 * n > "S.mtx"
  for (t = -N; t <= N; t++) for (k = 0; k < 3; k++) printf "%d %d %.17g\n", t + N + 1, k + 1, t^k > "S.mtx"
  print "%%MatrixMarket matrix array real general" > "b.mtx"; print n, 1 > "b.mtx"
  for (t = -N; t <= N; t++) printf "%.17g\n", 2 - 3 * t + t^2 / 2 + c * r[t] > "b.mtx"
  for (t = -N; t <= N; t++) printf "%.17g,%.17g\n", 2 - 3 * t + t^2 / 2 + c * r[t], t^2 > "B.csv"
  printf "%.12g", c * sqrt(rr) > "rnorm"
  # every row three times, weights: a row with weight 3 is worth three rows, one with weight 0 none
  print "%%MatrixMarket matrix array real general" > "w.mtx"; print n, 1 > "w.mtx"
  for (t = -N; t <= N; t++) print 2.5 > "w.mtx"
  print "%%MatrixMarket matrix array real general" > "x.mtx"; print 3, 1 > "x.mtx"; print "2\n-3\n0.5" > "x.mtx"
  # x1 + x2 = 1
  print "%%MatrixMarket matrix array real general" > "C.mtx"; print 1, 3 > "C.mtx"; print "1\n1\n0" > "C.mtx"
  print "%%MatrixMarket matrix array real general" > "e.mtx"; print 1, 1 > "e.mtx"; print 1 > "e.mtx"
  # x1 + x2 + x3 = 6, smallest norm: (2, 2, 2)
  print "%%MatrixMarket matrix array real general" > "wide.mtx"; print 1, 3 > "wide.mtx"; print "1\n1\n1" > "wide.mtx"
  print "%%MatrixMarket matrix array real general" > "six.mtx"; print 1, 1 > "six.mtx"; print 6 > "six.mtx"
  # orthogonal columns for ridge: A = [1 1; 1 -1] twice, A^T A = 4 I, b = (1 2 3 4): A^T b = (10, -2), x = A^T b / (4 + lambda)
  print "1,1\n1,-1\n1,1\n1,-1" > "R.csv"; print "1\n2\n3\n4" > "r.csv"
}'
rnorm=$(cat rnorm)
x() { field "x\[$1\]" | sed 's/ .*//'; }

if [ "$what" = answers ]; then
  for A in A.mtx S.mtx; do
    run 0 "$program" -A $A -b b.mtx -bounds 1e-2 -compare x.mtx -options_left
    near "$A x1" "$(x 1)" 2 1e-13
    near "$A x2" "$(x 2)" -3 1e-13
    near "$A x3" "$(x 3)" 0.5 1e-13
    near "$A residual" "$(field 'residual norm |b - A x|')" "$rnorm" 1e-9
    near "$A difference" "$(field 'relative difference' | sed 's/ .*//')" 0 1e-13
    for j in 1 2 3; do # the bounds hold and are no larger than the accuracy of doubles allows times a thousand
      b=$(field "x\[$j\]" | sed 's/.*+- //')
      awk -v b="$b" 'BEGIN { exit !(b > 0 && b < 1e-9) }' || fail "error bound of x[$j] is '$b'"
    done
    says out "all hold with probability 0.99"
    says out "converged: "
    silent out "NOT converged"
    silent err warning
    says out "There are no unused options"
  done
  run 0 "$program" -A A.mtx -b b.mtx -ksp_sketch_method iterative -sketch_type gaussian -sketch_seed 7 -monitor
  near "iterative x3" "$(x 3)" 0.5 1e-13
  says out "sketch, iterative"
  says out "seed 7"
  says out "pass "
  says out "backward error"
  run 0 "$program" -A A.mtx -b b.mtx -ksp_type lsqr -pc_type sketch -ksp_rtol 1e-14
  near "lsqr x3" "$(x 3)" 0.5 1e-11
  says out "lsqr, preconditioner sketch"
  run 0 "$program" -A A.mtx -b b.mtx -ksp_type lsqr -ksp_rtol 1e-14
  near "plain lsqr x3" "$(x 3)" 0.5 1e-8
  # PETSc's monitor of the true residual sees the solution of every pass: with one factor, zero and then the answer
  run 0 "$program" -A A.mtx -b b.mtx -ksp_sketch_method tsqr -ksp_monitor_true_residual
  near "last true residual" "$(sed -n 's/.*true resid norm \([^ ]*\).*/\1/p' out | tail -1)" "$rnorm" 1e-9
  run 0 "$program" -A A.mtx -b B.csv -o X.mtx
  says out "column 2"
  near "two columns x3" "$(sed -n '/^[^%]/p' X.mtx | sed -n 4p)" 0.5 1e-13
  near "second column x3" "$(sed -n '/^[^%]/p' X.mtx | sed -n 7p)" 1 1e-12
  run 0 "$program" -A A.mtx -b B.csv -ksp_type lsqr -pc_type sketch -ksp_rtol 1e-14 -compare X.mtx
  near "lsqr and sketch" "$(field 'relative difference' | sed 's/ .*//')" 0 1e-10
  run 0 "$program" -A A.mtx -b b.mtx -weights w.mtx
  near "equal weights x2" "$(x 2)" -3 1e-13
  run 0 "$program" -A A.mtx -b b.mtx -constraints C.mtx -constraints_rhs e.mtx
  near "constraint" "$(awk -v a="$(x 1)" -v b="$(x 2)" 'BEGIN { printf "%.17g", a + b }')" 1 1e-13
  run 0 "$program" -A wide.mtx -b six.mtx
  for j in 1 2 3; do near "smallest norm x$j" "$(x $j)" 2 1e-14; done
  says out "smallest norm"
  run 0 "$program" -A R.csv:table -b r.csv -ridge 1
  near "ridge x1" "$(x 1)" 2 1e-13
  near "ridge x2" "$(x 2)" -0.4 1e-13
  run 0 "$program" -A R.csv:table -b r.csv -ridge 1,4,16 -o P.mtx
  near "path x1(4)" "$(sed -n '/^[^%]/p' P.mtx | sed -n 4p)" 1.25 1e-13
  near "path x2(16)" "$(sed -n '/^[^%]/p' P.mtx | sed -n 7p)" -0.1 1e-13
  run 0 "$program" -A R.csv:table -b r.csv -ridge 4,0,16 -o P.mtx # zero, not first and not alone: plain least squares
  near "path x1(0)" "$(sed -n '/^[^%]/p' P.mtx | sed -n 4p)" 2.5 1e-13
  near "path x2(0)" "$(sed -n '/^[^%]/p' P.mtx | sed -n 5p)" -0.5 1e-13
  near "path x1(16) beside zero" "$(sed -n '/^[^%]/p' P.mtx | sed -n 6p)" 0.5 1e-13
  # a long list is read to its end: 300 values, the last of them 16
  run 0 "$program" -A R.csv:table -b r.csv -ridge "$(awk 'BEGIN { for (i = 1; i < 300; i++) printf "%g,", i / 100; print 16 }')" -o P.mtx
  [ "$(sed -n '/^[^%]/p' P.mtx | head -1)" = "2 300" ] || fail "300 ridge parameters give a solution of size $(sed -n '/^[^%]/p' P.mtx | head -1)"
  near "path x1(16), the 300th" "$(tail -2 P.mtx | head -1)" 0.5 1e-13
  run 0 "$program" -A R.csv:table -b r.csv -ridge 0
  near "ridge 0 x1" "$(x 1)" 2.5 1e-13
fi

if [ "$what" = mistakes ]; then
  mistake "no matrix" -b b.mtx
  mistake "no right-hand side" -A A.mtx
  mistake "no right-hand side" -A A.mtx -bb b.mtx
  says err "did you mean -b?"
  mistake "missing.mtx" -A missing.mtx -b b.mtx
  mistake "missing.mtx" -A A.mtx -b missing.mtx
  cp A.mtx locked.mtx
  chmod 000 locked.mtx
  if [ -r locked.mtx ]; then
    echo "SKIPPED: a file that may not be read (root may read all)"
  else
    mistake "locked.mtx" -A locked.mtx -b b.mtx
    says err "ermission denied"
  fi
  mistake "A.mtx has 41 rows, but the right-hand side x.mtx has 3 (is one of them transposed?)" -A A.mtx -b x.mtx
  mistake "-weights x.mtx has 3" -A A.mtx -b b.mtx -weights x.mtx
  mistake "-constraints_rhs" -A A.mtx -b b.mtx -constraints C.mtx
  mistake "-constraints x.mtx has 1" -A A.mtx -b b.mtx -constraints x.mtx -constraints_rhs x.mtx
  mistake "not with -ksp_type lsqr" -A A.mtx -b b.mtx -ksp_type lsqr -ridge 1
  mistake "no such folder" -A A.mtx -b b.mtx -o nowhere/x.h5
  mistake "ending" -A A.mtx -b b.mtx -o x.doc
  mistake "ending" -A A.mtx -b b.mtx -plot x.jpg
  mistake "-ridge: -1 is not a non-negative number" -A A.mtx -b b.mtx -ridge -1
  mistake "-ridge: -0.5 is not a non-negative number" -A A.mtx -b b.mtx -ridge 0,1,-0.5
  mistake "-ridge: nan is not a non-negative number" -A A.mtx -b b.mtx -ridge 1,nan
  mistake "-ridge: inf is not a non-negative number" -A A.mtx -b b.mtx -ridge inf
  mistake "-ridge needs a value" -A A.mtx -b b.mtx -ridge
  # values that PETSc cannot read: one line with the name of the option
  mistake "-ridge abc: " -A A.mtx -b b.mtx -ridge abc
  mistake "-ridge 1,abc,2: " -A A.mtx -b b.mtx -ridge 1,abc,2
  mistake "-bounds abc: " -A A.mtx -b b.mtx -bounds abc
  mistake "-monitor perhaps: " -A A.mtx -b b.mtx -monitor perhaps
  mistake "-ksp_max_it abc: " -A A.mtx -b b.mtx -ksp_max_it abc
  mistake "-ksp_sketch_method. Available options: auto" -A A.mtx -b b.mtx -ksp_sketch_method bogus
  mistake "-ksp_type bogus: " -A A.mtx -b b.mtx -ksp_type bogus
  mistake "-sketch_type bogus: " -A A.mtx -b b.mtx -ksp_sketch_method iterative -sketch_type bogus
  says err sparsestack
  mistake "-pc_type bjacobi is for square matrices, A.mtx is 41 x 3" -A A.mtx -b b.mtx -ksp_type lsqr -pc_type bjacobi
  mistake "-pc_type ilu is for square matrices" -A A.mtx -b b.mtx -ksp_type lsqr -pc_type ilu
  mistake "probability" -A A.mtx -b b.mtx -bounds 2
  mistake "-bounds works with one right-hand side" -A A.mtx -b B.csv -bounds
  mistake "-bounds needs at least as many rows" -A wide.mtx -b six.mtx -bounds
  sed '7s/.*/nan/' A.mtx >nanA.mtx
  sed '7s/.*/inf/' b.mtx >infb.mtx
  mistake "nanA.mtx" -A nanA.mtx -b b.mtx
  mistake "infb.mtx" -A A.mtx -b infb.mtx
  mistake "-pc_type" -A A.mtx -b b.mtx -pc_type jacobi # made for square matrices
  # an output that is an input, whatever it is called, or another output
  cp b.mtx precious.mtx
  mistake "-o precious.mtx: the same file as -b precious.mtx" -A A.mtx -b precious.mtx -o precious.mtx
  mistake "-o ./precious.mtx: the same file as -b precious.mtx" -A A.mtx -b precious.mtx -o ./precious.mtx
  ln -s precious.mtx link.mtx
  mistake "-o link.mtx: the same file as -b precious.mtx" -A A.mtx -b precious.mtx -o link.mtx
  cp b.mtx data.h5
  mistake "-o data.h5: the same file as -b data.h5" -A A.mtx -b data.h5:b -o data.h5
  cmp -s b.mtx precious.mtx && cmp -s b.mtx data.h5 || fail "an input was overwritten"
  cp b.mtx same.png
  mistake "-plot same.png: the same file as -compare same.png" -A A.mtx -b b.mtx -compare same.png -plot same.png
  # what belongs to no option, options out of range, files that are named
  mistake "The argument 'extra' belongs to no option" -A A.mtx -b b.mtx extra
  mistake "The argument 'extra' belongs to no option" extra -A A.mtx -b b.mtx
  mistake "-ksp_rtol: -1 is not" -A A.mtx -b b.mtx -ksp_rtol -1
  mistake "-options_file nope: cannot open the file" -A A.mtx -b b.mtx -options_file nope
  sed '7s/.*/-1/' w.mtx >negative.mtx
  mistake "-weights negative.mtx: entry 4 (counted from 0) is negative" -A A.mtx -b b.mtx -weights negative.mtx
  printf -- "-A A.mtx\n-b b.mtx\n" >settings
  run 0 "$program" -options_file settings -options_view
  silent err "not known here"
  for e in nc h5 bin npy mtx; do onfull "$program" -A A.mtx -b b.mtx -o full/y.$e; done
  # a typo is no error but is named, with what was probably meant
  run 0 "$program" -A A.mtx -b b.mtx -bonds 1e-3
  says err "option -bonds 1e-3 is not known here and was ignored; did you mean -bounds?"
  run 0 "$program" -A A.mtx -b b.mtx -ksp_scetch_mehtod tsqr
  says err "option -ksp_scetch_mehtod"
  # too few passes: not converged, the answer is written all the same
  run 1 "$program" -A A.mtx -b b.mtx -ksp_type lsqr -ksp_rtol 1e-14 -ksp_max_it 1 -o early.npy
  says out "NOT converged: the largest number of passes is reached"
  [ -s early.npy ] || fail "no solution of the run that did not converge"
  run 1 "$program" -A A.mtx -b b.mtx -ksp_sketch_method iterative -ksp_max_it 1 -ksp_rtol 1e-30 -bounds
  says out "NOT converged"
  says out "none without convergence"
fi

if [ "$what" = files ]; then
  for f in x.h5:x x.npy x.bin x.out.mtx x.nc; do
    run 0 "$program" -A A.mtx -b b.mtx -o "${f%:*}"
    run 0 "$program" -A A.mtx -b b.mtx -compare "$f"
    near "$f read back" "$(field 'relative difference' | sed 's/ .*//')" 0 1e-15
  done
  run 0 "$program" -A A.mtx -b b.mtx -bounds -o y.npy -plot fit.png
  run 0 "$program" -A A.mtx -b b.mtx -ksp_sketch_method iterative -sketch_seed 7 -o seed.mtx
  grep -q "^%.*sketch_seed.*7" seed.mtx || fail "the seed of the sketch is not in seed.mtx"
  [ -s y.npy ] && [ -s y.bounds.npy ] || fail "no y.npy or y.bounds.npy"
  [ "$(head -c 4 fit.png | tail -c 3)" = PNG ] || fail "fit.png is no PNG"
  run 0 "$program" -help
  for o in -A -b -o -plot -ridge -bounds -weights -constraints -constraints_rhs -monitor -compare -ksp_sketch_method -sketch_type -sketch_seed -ksp_rtol; do
    says out " $o "
  done
  says out "Exit code"
  run 0 "$program" -help intro
  says out "Exit code"
  silent out "-ksp_gmres"
  run 0 "$program" -A A.mtx -b b.mtx -options_left
  silent out "Option left"
fi
exit $bad
