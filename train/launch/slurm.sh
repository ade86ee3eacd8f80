#!/bin/bash
# A run on several machines under SLURM:  sbatch train/launch/slurm.sh CONFIG [--flag value ...]
#
# One process for each GPU: JAX gives process i of a machine its i-th GPU. --out must lie on a disk
# that all machines share. SLURM sends SIGTERM 90 s before the end of the time: all processes save
# and end at the same step, and the job is queued again and goes on from there.
#SBATCH --job-name=pretrain
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@90
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
if (($# < 1)); then
    echo "usage: sbatch $0 CONFIG [--flag value ...]" >&2
    exit 2
fi

# --kill-on-bad-exit: where one process ends with an error, SLURM ends the others too
# --cpus-per-task: srun does not take it from sbatch (since SLURM 22.05)
code=0
srun --kill-on-bad-exit=1 --label ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} \
    transformers-jax pretrain "$@" --distributed auto || code=$?
if [[ $code == 143 ]]; then # stopped by SIGTERM, after it had saved
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
