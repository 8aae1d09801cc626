# Sourced by the tests of the drivers. Needs: np, mpiexec
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0
fail() {
  echo "FAILED: $*" >&2
  bad=1
}
# run <exit code> <program> <arguments>...: standard output in $tmp/out, standard error in $tmp/err
run() {
  local want=$1 got=0
  shift
  "$mpiexec" -n "$np" "$@" >"$tmp/out" 2>"$tmp/err" || got=$?
  [ "$got" = "$want" ] || {
    fail "exit code $got in place of $want: $*"
    cat "$tmp/out" "$tmp/err" >&2
  }
}
# says <file> <text>: the text (fixed, not a pattern) is in it
says() { grep -qF -- "$2" "$tmp/$1" || { fail "'$2' is not in the $1 of the last run:"; cat "$tmp/$1" >&2; }; }
silent() { if grep -qiF -- "$2" "$tmp/$1"; then fail "'$2' is in the $1 of the last run:"; cat "$tmp/$1" >&2; fi; }
# once: an error is one line, from one process
once() { [ "$(grep -c 'skean-.*: error' "$tmp/err")" = 1 ] || { fail "not one line of error:"; cat "$tmp/err" >&2; }; }
# mistake <text> <arguments of $program>...: one line with the text, no traceback, exit code 2
mistake() {
  local text=$1
  shift
  run 2 "$program" "$@"
  says err "$text"
  silent err "PETSC ERROR"
  silent err MPI_ABORT
  once
}
# field <label>: what the report says after it (labels are separated from values by two blanks)
field() { sed -n "s/^  $1  *//p" "$tmp/out" | head -1; }
# near <what> <value> <reference> <relative tolerance>
near() { awk -v a="$2" -v b="$3" -v t="$4" 'BEGIN { d = a - b; if (d < 0) d = -d; s = b < 0 ? -b : b; exit !(a != "" && d <= t * (s > 0 ? s : 1)) }' || fail "$1 is '$2', should be $3 to $4"; }
