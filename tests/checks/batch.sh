#!/usr/bin/env bash
# Runs the batch scripts with stand-ins for launcher and driver and looks at what would have been started
set -euo pipefail
scripts=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/bin"
# shellcheck disable=SC2016
printf '#!/bin/sh\necho started: $(basename "$0") "$@"\n' | tee "$scratch/bin/srun" "$scratch/bin/mpirun" >/dev/null
chmod +x "$scratch"/bin/*
cp "$scripts"/* "$scratch"
export PATH=$scratch/bin:$PATH SLURM_SUBMIT_DIR=$scratch PBS_O_WORKDIR=$scratch
bash "$scratch/slurm.sh" | tee "$scratch/out"
grep -q '^started: srun --ntasks=64 .*skean-regress -options_file regress.options$' "$scratch/out"
bash "$scratch/pbs.sh" | tee "$scratch/out"
grep -q '^started: mpirun -n 64 skean-regress -options_file regress.options$' "$scratch/out"
seq 32 >"$scratch/nodes"
PBS_NODEFILE=$scratch/nodes OPTIONS=regress.options bash "$scratch/pbs.sh" | grep -q '^started: mpirun -n 32 '
if bash "$scratch/slurm.sh" missing.options 2>/dev/null; then echo "ran without its options file"; exit 1; fi
