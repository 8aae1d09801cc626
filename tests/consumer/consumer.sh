#!/usr/bin/env bash
# What a user does with the installed library. Called by ctest:
#   consumer.sh install|cmake|pkgconfig|dll|reinit|refuse|complex  <build folder> <scratch folder> <mpiexec> <PETSc's pkgconfig folder> <libdir>
set -euo pipefail
what=$1 build=$2 scratch=$3 mpiexec=$4 petscpc=$5 libdir=$6
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
prefix=$scratch/prefix
export PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig:$petscpc
lib=$prefix/$libdir/libskean.so

die() { echo "FAILED: $*" >&2; exit 1; }
# run <ranks> <program> [arguments]: keeps the output in $out, which must not tell of leaks or unused options
run() {
  local n=$1
  shift
  out=$("$mpiexec" -n "$n" "$@" 2>&1) || { echo "$out"; die "$* on $n processes"; }
  echo "$out"
  if grep -qE '^\[ *[0-9]+\] *(Total space allocated|[0-9]+ bytes)' <<<"$out"; then die "memory left behind"; fi
  if grep -q 'WARNING! There are options you set that were not used' <<<"$out"; then die "options left"; fi
}
# build a program with mpicc and what pkg-config says, and nothing else
mpicc_with() {
  local out=$1
  shift
  local packages=$1
  shift
  # shellcheck disable=SC2046,SC2086
  mpicc -Wall -Werror "$@" -o "$out" $(pkg-config --cflags --libs $packages) "-Wl,-rpath,$(pkg-config --variable=libdir PETSc)"
}

case $what in
install)
  # installed in one place, used in another: nothing may remember the first
  rm -rf "$scratch"
  mkdir -p "$scratch"
  cmake --install "$build" --prefix "$scratch/first" >/dev/null
  mv "$scratch/first" "$prefix"
  for f in "$libdir/libskean.so" "$libdir/pkgconfig/skean.pc" "$libdir/cmake/skean/skeanConfig.cmake" include/skean.h include/skeanversion.h include/skean/private/skeanimpl.h; do
    [ -e "$prefix/$f" ] || die "$f is not installed"
  done
  major=$(sed -n 's/#define SKEAN_VERSION_MAJOR *//p' "$prefix/include/skeanversion.h")
  readelf -d "$lib" | grep "SONAME.*\[libskean.so.$major\]" >/dev/null || die "soname is not libskean.so.$major"
  readelf -d "$lib" | grep NODELETE >/dev/null || die "the library may be unloaded while its callbacks live"
  if grep -rIlE "$scratch/first|$build|$root" "$prefix"; then die "the files above name a folder of the build"; fi
  ;;
cmake)
  rm -rf "$scratch/cmake"
  cmake -S "$here/cmake" -B "$scratch/cmake" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
  cmake --build "$scratch/cmake"
  run 2 "$scratch/cmake/consumer" -malloc_dump -options_left
  grep -q 'on 2 processes: consumer is content' <<<"$out" || die "no answer"
  # a version that is not there is refused
  sed 's/find_package(skean 0.1/find_package(skean 99.0/; s#\.\./main\.c#'"$here"'/main.c#' "$here/cmake/CMakeLists.txt" >"$scratch/cmake/CMakeLists.txt"
  if cmake -S "$scratch/cmake" -B "$scratch/cmake/99" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null 2>&1; then die "found version 99"; fi
  ;;
pkgconfig)
  mpicc_with "$scratch/consumer" "skean PETSc" "$here/main.c"
  run 2 "$scratch/consumer" -malloc_dump -options_left
  grep -q 'on 2 processes: consumer is content' <<<"$out" || die "no answer"
  ;;
dll)
  mpicc_with "$scratch/lsq" PETSc "$root/examples/embed/petsc_c/lsq.c" -lm
  for n in 1 2 3; do
    run "$n" "$scratch/lsq" -dll_append "$lib" -max_error 1e-6 -malloc_debug -malloc_dump -options_left
    grep -q CONVERGED <<<"$out" || die "no answer"
  done
  # the plug-in is really there: PETSc tells what it loaded
  run 1 "$scratch/lsq" -dll_append "$lib" -max_error 1e-6 -info :sys
  grep -q 'Loading registered method from.*libskean\|libskean' <<<"$out" || die "PETSc does not tell that it loaded libskean"
  # types of PETSc's classes, as soon as the library has them
  if grep -qs 'define KSPSKETCH ' "$prefix"/include/*.h; then
    run 1 "$scratch/lsq" -dll_append "$lib" -help
    grep -A40 -e '-ksp_type' <<<"$out" | grep -w sketch >/dev/null || die "-help does not list -ksp_type sketch"
    for n in 1 2 3; do
      run "$n" "$scratch/lsq" -dll_append "$lib" -ksp_type sketch -max_error 1e-6 -malloc_debug -malloc_dump -options_left
    done
    PETSC_OPTIONS="-dll_append $lib -ksp_type sketch" run 2 "$scratch/lsq" -max_error 1e-6
  fi
  if grep -qs 'define PCSKETCH ' "$prefix"/include/*.h; then
    for n in 1 2 3; do
      run "$n" "$scratch/lsq" -dll_append "$lib" -ksp_type lsqr -pc_type sketch -max_error 1e-6 -malloc_debug -malloc_dump -options_left
    done
  fi
  ;;
reinit)
  mpicc_with "$scratch/reinit_linked" "skean PETSc" -DLINKED "$here/reinit.c"
  mpicc_with "$scratch/reinit_plain" PETSc "$here/reinit.c"
  run 2 "$scratch/reinit_linked" -malloc_debug -malloc_dump
  [ "$(grep -c '^round' <<<"$out")" = 3 ] || die "not three rounds"
  run 2 "$scratch/reinit_plain" -dll_append "$lib" -malloc_debug -malloc_dump
  [ "$(grep -c '^round' <<<"$out")" = 3 ] || die "not three rounds"
  run 1 "$scratch/reinit_linked" -dll_append "$lib" -malloc_debug -malloc_dump
  [ "$(grep -c '^round' <<<"$out")" = 3 ] || die "not three rounds, linked and loaded at once"
  ;;
refuse)
  # refused <text> <program>: must not go on, and must say why
  refused() {
    local text=$1
    shift
    if out=$("$mpiexec" -n 1 "$@" -dll_append "$lib" 2>&1); then echo "$out"; die "was not refused: $*"; fi
    grep -q "$text" <<<"$out" || { echo "$out"; die "the message does not say: $text"; }
    grep "$text" <<<"$out"
    if grep -q 'went on' <<<"$out"; then die "the program went on"; fi
  }
  mpicc_with "$scratch/othersversion" PETSc "$here/dll/tiny.c" -DPRETEND=1 -rdynamic
  refused 'Skean was built with PETSc .*, the running PETSc is' "$scratch/othersversion"
  mpicc_with "$scratch/otherindices" PETSc "$here/dll/tiny.c" -DPRETEND=2 -rdynamic
  refused 'Skean was built for [0-9]*-bit indices, the running PETSc has' "$scratch/otherindices"
  ;;
complex)
  complexpc=$(dirname "$(find /usr/lib/petscdir -path '*-complex/lib/pkgconfig/PETSc.pc' 2>/dev/null | sort | tail -1)" 2>/dev/null || true)
  if [ ! -f "$complexpc/PETSc.pc" ]; then
    echo "SKIPPED: no complex PETSc is installed (Debian: apt install libpetsc-complex-dev)"
    exit 77
  fi
  export PKG_CONFIG_PATH=$complexpc
  mpicc_with "$scratch/complex" PETSc "$here/dll/tiny.c"
  run 1 "$scratch/complex"
  grep -q 'went on' <<<"$out" || die "the program does not run by itself"
  if out=$("$mpiexec" -n 1 "$scratch/complex" -dll_append "$lib" 2>&1); then echo "$out"; die "a complex program was not refused"; fi
  grep 'Skean was built for PETSc with real double scalars' <<<"$out" || { echo "$out"; die "no readable message"; }
  # and configuring against it
  if out=$(env -u PETSC_DIR -u SLEPC_DIR cmake -S "$root" -B "$scratch/complexbuild" 2>&1); then die "was configured against a complex PETSc"; fi
  tr '\n' ' ' <<<"$out" | tr -s ' ' | grep -o 'Skean needs a PETSc built with real double scalars' || { echo "$out"; die "no readable message at configure time"; }
  ;;
fortran)
  if ! command -v mpif90 >/dev/null || ! [ -f "$(pkg-config --variable=includedir PETSc)/petscksp.mod" ]; then
    echo "SKIPPED: no mpif90, or PETSc has no Fortran modules"
    exit 77
  fi
  # shellcheck disable=SC2046
  mpif90 -ffree-line-length-none -o "$scratch/lsqf" "$root/examples/embed/petsc_fortran/lsq.F90" $(pkg-config --cflags --libs PETSc) "-Wl,-rpath,$(pkg-config --variable=libdir PETSc)"
  # shellcheck disable=SC2046
  mpif90 -ffree-line-length-none -DLINKED -o "$scratch/lsqf_linked" "$root/examples/embed/petsc_fortran/lsq.F90" $(pkg-config --cflags --libs PETSc skean) "-Wl,-rpath,$(pkg-config --variable=libdir PETSc)"
  run 2 "$scratch/lsqf" -dll_append "$lib" -malloc_dump -options_left
  run 2 "$scratch/lsqf_linked" -malloc_dump -options_left
  if grep -qs 'define KSPSKETCH ' "$prefix"/include/*.h; then
    for n in 1 3; do run "$n" "$scratch/lsqf" -dll_append "$lib" -ksp_type sketch -malloc_dump -options_left; done
    PETSC_OPTIONS="-dll_append $lib -ksp_type sketch" run 2 "$scratch/lsqf"
    run 2 "$scratch/lsqf_linked" -ksp_type sketch
  fi
  ;;
petsc4py)
  # the distribution's Python: petsc4py is bound to it
  if ! /usr/bin/python3 -c 'import petsc4py' 2>/dev/null; then
    echo "SKIPPED: petsc4py is not installed (Debian: apt install python3-petsc4py)"
    exit 77
  fi
  if [[ $petscpc == *debug* ]]; then
    echo "SKIPPED: petsc4py is bound to the optimised PETSc, Skean here to the one with debugging"
    exit 77
  fi
  # petsc4py hides its PETSc from other libraries: a plug-in that needs another one would bring it along and register there
  if ! readelf -d "$lib" | grep -q "$(basename "$(ldd "$(/usr/bin/python3 -c 'from petsc4py import PETSc; print(PETSc._petsc_file if hasattr(PETSc, "_petsc_file") else PETSc.__file__)')" | grep -o 'libpetsc[^ ]*' | head -1)")"; then
    if out=$("$mpiexec" -n 1 /usr/bin/python3 "$root/examples/embed/petsc4py/lsq.py" -dll_append "$lib" 2>&1); then echo "$out"; die "was loaded beside another PETSc"; fi
    grep 'the program that loads it runs on another one' <<<"$out" || { echo "$out"; die "no readable message"; }
    exit 0
  fi
  run 2 /usr/bin/python3 "$root/examples/embed/petsc4py/lsq.py" -dll_append "$lib" -options_left
  if grep -qs 'define KSPSKETCH ' "$prefix"/include/*.h; then
    for n in 1 3; do run "$n" /usr/bin/python3 "$root/examples/embed/petsc4py/lsq.py" -dll_append "$lib" -ksp_type sketch -options_left; done
    PETSC_OPTIONS="-dll_append $lib -ksp_type sketch" run 2 /usr/bin/python3 "$root/examples/embed/petsc4py/lsq.py"
    grep -q '^sketch:' <<<"$out" || die "PETSC_OPTIONS did not choose the solver"
  fi
  ;;
trilinos)
  program=$build/examples/embed/embed_trilinos
  if [ ! -x "$program" ]; then
    echo "SKIPPED: Tpetra was not found when this was configured"
    exit 77
  fi
  for n in 1 3 4; do run "$n" "$program" -malloc_debug -malloc_dump -options_left; done
  run 2 "$program" -shell -malloc_dump -options_left
  if grep -qs 'define KSPSKETCH ' "$prefix"/include/*.h; then
    for n in 1 2 3; do run "$n" "$program" -ksp_type sketch -malloc_dump -options_left; done
  fi
  ;;
*) die "unknown: $what" ;;
esac
echo "consumer $what: done"
