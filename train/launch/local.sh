#!/bin/bash
# Several processes on this machine, for a try without a cluster:
#   train/launch/local.sh PROCESSES CONFIG [--flag value ...]
#
# On a CPU each process has DEVICES of its own (4 if not set). What process 1 and the others print is
# in local-1.log, ...
set -euo pipefail
if (($# < 2)); then
    echo "usage: $0 PROCESSES CONFIG [--flag value ...]" >&2
    exit 2
fi
count=$1
shift
port=$((20000 + RANDOM % 20000))
export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=${DEVICES:-4}"
for ((index = 1; index < count; index++)); do
    python -m train.pretrain "$@" --distributed "localhost:$port,$count,$index" \
        >"local-$index.log" 2>&1 &
done
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
trap 'kill -TERM $(jobs -p) "$first"; wait "$first"' INT TERM
python -m train.pretrain "$@" --distributed "localhost:$port,$count,0" &
first=$!
code=0
wait "$first" || code=$?
exit "$code"
