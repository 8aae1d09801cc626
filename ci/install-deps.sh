#!/usr/bin/env bash
# Installs from Debian (or Ubuntu) what Skean is built and tested with. Needs root or sudo; does nothing where all is there.
# Usage: ci/install-deps.sh [build|test|debug|lint|demo|bench]...   (default: build)
set -euo pipefail

build="g++ gcc cmake ninja-build pkg-config libopenmpi-dev openmpi-bin petsc-dev slepc-dev libopenblas0-serial libopenblas-serial-dev librandom123-dev
  zlib1g-dev libfftw3-dev libhdf5-mpi-dev libpnetcdf-dev libcairo2-dev"
test="$build libgtest-dev python3 binutils clang-format-14 gfortran python3-petsc4py libpetsc-complex-dev
  libtrilinos-tpetra-dev libtrilinos-kokkos-dev libtrilinos-kokkos-kernels-dev libtrilinos-teuchos-dev"
debug="$test libpetsc-real3.18-dbg"
lint="$build clang-tidy-14"
demo="$build ferret-datasets"
bench="$build libscalapack-openmpi-dev python3 python3-numpy python3-scipy"

want=""
for kind in "${@:-build}"; do
  case "$kind" in
  build | test | debug | lint | demo | bench) want="$want ${!kind}" ;;
  *)
    echo "usage: $0 [build|test|debug|lint|demo|bench]..." >&2
    exit 2
    ;;
  esac
done
missing=""
for p in $(tr ' ' '\n' <<<"$want" | sort -u); do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q "ok installed" || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo"
echo "installing:$missing"
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
