#!/bin/bash
# A run on all machines of a Cloud TPU slice:
#   train/launch/cloud_tpu.sh TPU_NAME ZONE CONFIG [--flag value ...]
#
# The package must be installed on each machine, and --out lie on a disk that all share (Filestore,
# or a bucket mounted with Cloud Storage FUSE). One process for each machine; JAX finds the others.
set -euo pipefail
if (($# < 3)); then
    echo "usage: $0 TPU_NAME ZONE CONFIG [--flag value ...]" >&2
    exit 2
fi
name=$1 zone=$2
shift 2
printf -v command '%q ' transformers-jax pretrain "$@" --distributed auto
exec gcloud compute tpus tpu-vm ssh "$name" --zone "$zone" --worker=all --command "$command"
