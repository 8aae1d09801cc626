#!/usr/bin/env bash
# The driver from end to end on a small table with gaps. Usage: driver.sh <skean-gp> <mpiexec> <flag for the number of processes>
set -u
gp="$1" mpi="$2" np="$3"
dir="$(mktemp -d)"
trap 'rm -rf "$dir"' EXIT
fail() {
  echo "FAILED: $*"
  cat "$dir/out"
  exit 1
}
awk 'BEGIN { for (i = 0; i < 9; i++) { for (j = 0; j < 11; j++) { v = sin(i / 3) * cos(j / 4) + 0.01 * ((i * 7 + j * 3) % 5 - 2);
  printf "%s%s", (j ? "," : ""), ((i * 11 + j) % 9 == 4 ? "NA" : v) } printf "\n" } }' >"$dir/a.csv"

"$mpi" "$np" 2 "$gp" -grid "$dir/a.csv" -holdout 0.2 -gp_optimize -gp_converged_reason -gp_view -o "$dir/post.h5" -options_left >"$dir/out" 2>&1 || fail "regression"
grep -q "gp solve converged" "$dir/out" || fail "no converged reason"
grep -q "held out" "$dir/out" || fail "no held-out error"
grep -q "unused" "$dir/out" && grep -q "Option left" "$dir/out" && fail "unused options"
awk '/root mean square error/ { sub(/.*error /, ""); if ($1 + 0 > 0.05) exit 1 }' "$dir/out" || fail "held-out error too large"
# the result is a complete grid that can be read again
"$mpi" "$np" 2 "$gp" -grid "$dir/post.h5:mean" -variance 0 >"$dir/out" 2>&1 || fail "reading the result"
grep -q ", 0 of 99 values missing" "$dir/out" || fail "the filled field has gaps"

grep -q "^solve: solved directly, residual" "$dir/out" || fail "a full grid without a search is solved directly"
# the likelihood that is told is that of its search, and a part of the grid that is all of it gives the same
"$mpi" "$np" 2 "$gp" -grid "$dir/a.csv" -gp_optimize >"$dir/out" 2>&1 || fail "search"
whole="$(sed -n 's/^solve: .*\(log likelihood [^,]*\),.*/\1/p' "$dir/out")"
"$mpi" "$np" 2 "$gp" -grid "$dir/a.csv" -train 0:9,0:11 >"$dir/out" 2>&1 || fail "training"
grep -q "^hyper-parameters from .*${whole:-none}," "$dir/out" || fail "no '$whole'"
grep -q "^solve: [0-9]* iterations for the missing values, residual" "$dir/out" || fail "a solve after training"

# numbers as they were given, names whole
"$mpi" "$np" 2 "$gp" -grid "$dir/a.csv" -gp_kernel "0.3*se(3)+sm:1(0.7,3,-0.1),matern52(1e-1)*periodic(1.5,12)" >"$dir/out" 2>&1 || fail "sums and products"
grep -qF "covariance 0: 0.3*se(3)+1*sm:1(0.7,3,-0.1)" "$dir/out" || fail "numbers of covariance 0"
grep -qF "covariance 1: matern52(0.1)*periodic(1.5,12)" "$dir/out" || fail "numbers of covariance 1"

# leaving out one by one, in closed form: with a constant covariance the others predict signal * their sum / (noise + signal * their number)
"$mpi" "$np" 2 "$gp" -grid "$dir/a.csv" -gp_kernel "const(1),const(1)" -gp_signal 2 -gp_noise 0.5 -gp_samplemean 0 >"$dir/out" 2>&1 || fail "leave one out"
awk -F, -v told="$(sed -n 's/^left out one by one: .* times \([0-9.]*\) would.*/\1/p' "$dir/out")" '
  { for (j = 1; j <= NF; j++) if ($j != "NA") { y[n++] = $j; sum += $j } }
  END {
    for (i = 0; i < n; i++) { e = y[i] - 2 * (sum - y[i]) / (0.5 + 2 * (n - 1)); z[i] = (e < 0 ? -e : e) / sqrt(0.5 + 2 * 0.5 / (0.5 + 2 * (n - 1))) }
    for (i = 0; i < n; i++) { below += z[i] <= 1.96 * (told + 6e-4); above += z[i] < 1.96 * (told - 6e-4) }
    exit !(told != "" && below >= 0.95 * n && above < 0.95 * n)
  }' "$dir/a.csv" || fail "values left out one by one"

# a search that stops early, on all of the data or on a part, is used but is no success
stops() {
  local got=0
  "$mpi" "$np" 2 "$gp" -grid "$dir/a.csv" -gp_max_it 2 "$@" >"$dir/out" 2>&1 || got=$?
  [ $got = 1 ] || fail "exit code $got: $*"
  grep -q DIVERGED_ITS "$dir/out" || fail "no reason: $*"
  grep -q "posterior mean" "$dir/out" || fail "no posterior: $*"
}
stops -gp_optimize
stops -train 0:7,0:8

# a signal in the midst of a long search: the state is written, nothing else, and a second run goes on from there to the end
awk 'BEGIN { for (i = 0; i < 120; i++) { for (j = 0; j < 130; j++) { v = sin(i / 9) * cos(j / 12) + 0.01 * ((i * 7 + j * 3) % 5 - 2);
  printf "%s%s", (j ? "," : ""), ((i * 11 + j) % 9 == 4 ? "NA" : v) } printf "\n" } }' >"$dir/big.csv"
for search in "-gp_optimize" "-train 0:120,0:130"; do
  for signal in USR1 TERM; do
    rm -f "$dir/state" "$dir/post.h5"
    # shellcheck disable=SC2086
    "$gp" -grid "$dir/big.csv" $search -gp_restarts 50 -gp_exactmissing 0 -gp_checkpoint "$dir/state" -gp_checkpoint_interval 1 -variance 0 -o "$dir/post.h5" >"$dir/out" 2>&1 &
    run=$!
    for _ in $(seq 600); do # the first checkpoint says that signals are looked for
      [ -s "$dir/state" ] && break
      sleep 0.02
    done
    kill -$signal $run
    got=0
    wait $run || got=$?
    [ $got = 1 ] || fail "exit code $got after SIG$signal: $search"
    grep -q "interrupted after [0-9]* steps; state in $dir/state; continue with -gp_restart $dir/state" "$dir/out" || fail "no message of the interruption: $search"
    grep -q "posterior\|residual\|error" "$dir/out" && fail "more than the interruption is told: $search"
    [ -e "$dir/post.h5" ] && fail "an interrupted search wrote -o: $search"
  done
  # shellcheck disable=SC2086
  "$gp" -grid "$dir/big.csv" $search -gp_exactmissing 0 -gp_restart "$dir/state" -variance 0 >"$dir/out" 2>&1 || fail "continuing: $search"
done

# noise that varies: a value with a hundred million times the noise hardly counts, one without a scale not at all; ones change nothing
awk 'BEGIN { for (i = 0; i < 8; i++) { s = ""; for (j = 0; j < 9; j++) s = s (j ? "," : "") (i == 3 && j == 4 ? 1e6 : sin(i / 2) + cos(j / 3)); print s } }' >"$dir/spoilt.csv"
awk 'BEGIN { for (i = 0; i < 8; i++) { s = ""; for (j = 0; j < 9; j++) s = s (j ? "," : "") (i == 3 && j == 4 ? "NA" : sin(i / 2) + cos(j / 3)); print s } }' >"$dir/gap.csv"
for kind in ones NA 1e24; do
  awk -v k=$kind 'BEGIN { for (i = 0; i < 8; i++) { s = ""; for (j = 0; j < 9; j++) s = s (j ? "," : "") (i == 3 && j == 4 && k != "ones" ? k : 1); print s } }' >"$dir/$kind.csv"
done
mean() { # name options...: the posterior mean
  local to="$1"
  shift
  "$mpi" "$np" 2 "$gp" -gp_kernel "matern52(2),matern52(2)" -gp_signal 1 -gp_noise 0.01 -gp_samplemean 0 -variance 0 -o "$dir/$to.nc" "$@" >"$dir/out" 2>&1 || fail "-noise_scale: $*"
  tail -c $((72 * 8)) "$dir/$to.nc" | od -An -v --endian=big -t f8 -w576 >"$dir/$to" # the mean comes last in the file
}
same() { awk -v e=1e-6 'NR == 1 { n = split($0, a) } NR == 2 { if (n != split($0, b) || n != 72) exit 1; for (i = 1; i <= n; i++) if ((a[i] - b[i]) ^ 2 > e * e) exit 1 } END { if (NR != 2) exit 1 }' "$dir/$1" "$dir/$2"; }
mean want -grid "$dir/gap.csv"
mean none -grid "$dir/spoilt.csv" -noise_scale "$dir/NA.csv"
mean weak -grid "$dir/spoilt.csv" -noise_scale "$dir/1e24.csv"
mean plain -grid "$dir/spoilt.csv"
mean same -grid "$dir/spoilt.csv" -noise_scale "$dir/ones.csv"
same none want || fail "-noise_scale without a value"
same weak want || fail "-noise_scale with next to no weight"
same plain same || fail "-noise_scale of ones"
same plain want && fail "a test of -noise_scale that cannot fail"

# the monitor tells likelihood and hyper-parameters, the end of a search their credible intervals
"$mpi" "$np" 2 "$gp" -grid "$dir/a.csv" -gp_optimize -gp_monitor_parameters -intervals >"$dir/out" 2>&1 || fail "intervals"
grep -q "^  0 log likelihood .*, x0.ell .*, x1.ell .*, signal variance .*, noise variance" "$dir/out" || fail "monitor of the hyper-parameters"
grep -q "^  x1.ell [0-9.]*, 95 % credible interval [0-9.]* to [0-9.]*$" "$dir/out" || fail "credible intervals"
grep -q "^solve: .*noise over signal .* (floor of rounding" "$dir/out" || fail "floor"

# the help tells no chance numbers, and the defaults of the program
"$mpi" "$np" 1 "$gp" -help >"$dir/out" 2>&1 || fail "-help"
grep -q -- "-gp_fix <-1>" "$dir/out" || fail "the default of -gp_fix"
grep -q -- "-gp_samplemean: <[a-zA-Z ]*TRUE" "$dir/out" || fail "the default of -gp_samplemean"

refuse() { # message options...
  local want="$1"
  shift
  local got=0
  "$mpi" "$np" 2 "$gp" "$@" >"$dir/out" 2>&1 || got=$?
  [ $got = 2 ] || fail "exit code $got: $*"
  grep -q -- "skean-gp: error: .*$want" "$dir/out" || fail "no message '$want' for: $*"
}
refuse "Give the data" -gp_noise 1
refuse "must be in" -grid "$dir/a.csv" -holdout 1.5
refuse "noise variance must be positive" -grid "$dir/a.csv" -gp_noise -1
refuse "expected first:last" -grid "$dir/a.csv" -train 0:3
# what only a search for hyper-parameters has is refused without one, and with one before the work begins
for option in "-gp_restart nope" "-gp_checkpoint nowhere/c" "-gp_checkpoint_interval 3" "-gp_restarts 2" "-gp_fix 17"; do
  # shellcheck disable=SC2086
  refuse "${option% *} .*needs -gp_optimize or -train" -grid "$dir/a.csv" $option
done
refuse "no such folder" -grid "$dir/a.csv" -gp_optimize -gp_checkpoint nowhere/c
refuse "Fixed hyper-parameter 17 of 4" -grid "$dir/a.csv" -train 0:5,0:5 -gp_fix 17
refuse nope -grid "$dir/a.csv" -train 0:5,0:5 -gp_restart nope
awk 'BEGIN { for (i = 0; i < 4; i++) print "1,1,1" }' >"$dir/c.csv"
refuse "constant field" -grid "$dir/c.csv" -gp_optimize
refuse "constant field" -grid "$dir/c.csv"
refuse "constant field" -grid "$dir/c.csv" -gp_noise 1
"$mpi" "$np" 2 "$gp" -grid "$dir/c.csv" -gp_noise 1 -gp_signal 2 >"$dir/out" 2>&1 || fail "a constant field with both variances"
refuse "not the sizes" -grid "$dir/a.csv" -noise_scale "$dir/ones.csv"
refuse "below one" -grid "$dir/spoilt.csv" -noise_scale "$dir/gap.csv"
refuse "not go together" -grid "$dir/spoilt.csv" -noise_scale "$dir/ones.csv" -train 0:5,0:5
refuse "intervals .*needs -gp_optimize or -train" -grid "$dir/a.csv" -intervals
refuse "positive" -grid "$dir/a.csv" -gp_kernel "se(-3)"
# a grid of 2.1e9 bytes, none of them on the disk, is refused before it is read: 172 GB. Were it not, the limit would end the run
if [ "$(awk '/^MemAvailable/ { print int($2 / 1e6) }' /proc/meminfo 2>/dev/null || echo 1000)" -lt 150 ]; then
  printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '|u1', 'fortran_order': False, 'shape': (1290, 1290, 1290), }" >"$dir/big.npy"
  truncate -s $((128 + 1290 * 1290 * 1290)) "$dir/big.npy"
  ulimit -S -v 12000000
  refuse "2146689000 points needs .* GB on each of 2 processes, .* GB are available there; with the same memory it would fit on [0-9]* processes" -grid "$dir/big.npy"
  ulimit -S -v unlimited
fi
awk 'BEGIN { for (i = 0; i < 4; i++) print "NA,NA,NA" }' >"$dir/m.csv"
refuse "missing" -grid "$dir/m.csv"
echo passed
