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
# onfull <program> <arguments of the program>... -o <file>: the file, in a full folder, stays as it was, and nothing else is left there. Skipped
# where no small file system can be mounted
onfull() {
  local how
  for how in -m -rm; do
    unshare $how mount -t tmpfs -o size=64k none "$tmp" 2>/dev/null && break
    how=
  done
  [ -n "$how" ] || { echo "SKIPPED: a full disk (no file system can be mounted)"; return; }
  mkdir -p full
  # shellcheck disable=SC2016
  unshare $how bash -c 'mount -t tmpfs -o size=64k none full && file=$1 && shift && echo "what was there" >"$file" &&
    { dd if=/dev/zero of=full/filler bs=4k 2>/dev/null; "$@" >out 2>err; echo $? >code; cat "$file" >kept; find full -type f | sort >left; }' \
    full "${!#}" "$mpiexec" -n "$np" "$@"
  [ "$(cat code)" = 2 ] || { fail "exit code $(cat code) in place of 2 on a full disk: $*"; cat out err >&2; }
  says err "error: ${!#}: cannot write all bytes: is the disk full?"
  silent err "HDF5-DIAG"
  silent err MPI_ABORT
  once
  [ "$(cat kept)" = "what was there" ] || fail "a full disk: the old ${!#} is lost"
  [ "$(wc -l <left)" = 2 ] || fail "a full disk: left behind: $(cat left)"
}
# field <label>: what the report says after it (labels are separated from values by two blanks)
field() { sed -n "s/^  $1  *//p" "$tmp/out" | head -1; }
# near <what> <value> <reference> <relative tolerance>
near() { awk -v a="$2" -v b="$3" -v t="$4" 'BEGIN { d = a - b; if (d < 0) d = -d; s = b < 0 ? -b : b; exit !(a != "" && d <= t * (s > 0 ? s : 1)) }' || fail "$1 is '$2', should be $3 to $4"; }
