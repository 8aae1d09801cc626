#!/bin/bash
# Skean on a PBS cluster: qsub pbs.sh, or qsub -v OPTIONS=other.options pbs.sh
#PBS -N skean-regress
#PBS -l select=2:ncpus=32:mpiprocs=32:mem=64gb
#PBS -l walltime=01:00:00
#PBS -j oe
set -euo pipefail
cd "${PBS_O_WORKDIR:-.}"

# What the program was built with; the names differ from site to site
# module load gcc openmpi petsc slepc skean

# one MPI process per core and no threads below it
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

OPTIONS=${OPTIONS:-regress.options}
[ -r "$OPTIONS" ] || { echo "no options file $OPTIONS" >&2; exit 2; }
NPROCS=64
[ -z "${PBS_NODEFILE:-}" ] || NPROCS=$(wc -l <"$PBS_NODEFILE")
echo "$(date): $NPROCS processes, options $OPTIONS"
# PBS sends SIGTERM before it kills: skean-gp with -gp_checkpoint writes its state and stops, skean-regress just ends
mpirun -n "$NPROCS" skean-regress -options_file "$OPTIONS"
