#!/bin/bash
# Skean on a Slurm cluster: sbatch slurm.sh [options file]
#SBATCH --job-name=skean-regress
#SBATCH --ntasks=64
#SBATCH --cpus-per-task=1
#SBATCH --time=01:00:00
#SBATCH --mem-per-cpu=2G
#SBATCH --output=%x.%j.out
# SIGTERM 120 s before the time is over: for skean-gp with -gp_checkpoint, which writes its state and stops; skean-regress just ends
#SBATCH --signal=TERM@120
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"

# What the program was built with; the names differ from site to site
# module load gcc openmpi petsc slepc skean

# one MPI process per core and no threads below it, or OpenBLAS starts 64 of them in each process
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

OPTIONS=${1:-regress.options}
[ -r "$OPTIONS" ] || { echo "no options file $OPTIONS" >&2; exit 2; }
echo "$(date): ${SLURM_NTASKS:-64} processes on ${SLURM_JOB_NODELIST:-this machine}, options $OPTIONS"
srun --ntasks="${SLURM_NTASKS:-64}" --cpu-bind=cores skean-regress -options_file "$OPTIONS"

# A PETSc program of your own needs no recompilation:
# srun ./your_petsc_code -dll_append "$SKEAN_ROOT/lib/libskean.so" -ksp_type sketch -ksp_converged_reason
