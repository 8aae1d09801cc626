#!/usr/bin/env bash
# Installs from Debian (or Ubuntu) what Skean is built and tested with. Needs root or sudo; does nothing where all is there.
# Usage: ci/install-deps.sh [build|test|debug|int64|lint|demo|bench]...   (default: build)
#   build  compiler, MPI, PETSc, SLEPc, BLAS, input and output
#   test   and what the tests use; those of Fortran, petsc4py, Trilinos, a complex PETSc and the layout skip where theirs is not to be had
#   debug  and a PETSc with debugging, for cmake --preset debug
#   int64  and a PETSc with 64-bit indices, for cmake --preset int64
#   lint   clang-tidy, for ci/lint.sh
set -euo pipefail

build="g++ gcc cmake ninja-build pkg-config libopenmpi-dev openmpi-bin petsc-dev slepc-dev libopenblas0-serial libopenblas-serial-dev librandom123-dev
  zlib1g-dev libfftw3-dev libscalapack-openmpi-dev libhdf5-mpi-dev libpnetcdf-dev libcairo2-dev"
test="$build libgtest-dev python3 binutils"
# installed where the distribution has them under these names
test_optional="clang-format-14 gfortran python3-petsc4py libpetsc-complex-dev
  libtrilinos-tpetra-dev libtrilinos-kokkos-dev libtrilinos-kokkos-kernels-dev libtrilinos-teuchos-dev"
debug="$test libpetsc-real3.18-dbg"
debug_optional="$test_optional"
int64="$test libpetsc64-real-dev libslepc64-real-dev"
int64_optional="$test_optional"
lint="$build clang-tidy-14"
demo="$test ferret-datasets" # the build folder is the one of the tests
bench="$build python3 python3-numpy python3-scipy python3-matplotlib python3-pot python3-h5py python3-sklearn ferret-datasets dataset-fashion-mnist"

want="" optional=""
for kind in "${@:-build}"; do
  case "$kind" in
  build | test | debug | int64 | lint | demo | bench)
    want="$want ${!kind}"
    more=${kind}_optional
    optional="$optional ${!more:-}"
    ;;
  *)
    echo "usage: $0 [build|test|debug|int64|lint|demo|bench]..." >&2
    exit 2
    ;;
  esac
done
installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q "ok installed"; }
missing="" missing_optional=""
for p in $(tr ' ' '\n' <<<"$want" | sort -u); do installed "$p" || missing="$missing $p"; done
for p in $(tr ' ' '\n' <<<"$optional" | sort -u); do installed "$p" || missing_optional="$missing_optional $p"; done
[ -z "$missing$missing_optional" ] && exit 0
sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo"
$sudo apt-get update -qq
for p in $missing_optional; do
  if apt-cache show "$p" >/dev/null 2>&1; then
    missing="$missing $p"
  else
    echo "not in this distribution, its tests will skip: $p"
  fi
done
[ -z "$missing" ] && exit 0
echo "installing:$missing"
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
