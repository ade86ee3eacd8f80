#!/bin/bash
# Several processes on this machine, for a try without a cluster:
#   train/launch/local.sh PROCESSES CONFIG [--flag value ...]
#
# On a CPU each process has DEVICES of its own (4 if not set). What process 1 and the others print is
# next to the folder of the run: in runs/nano-1.log with --out runs/nano; without --out in local-1.log.
set -euo pipefail
if (($# < 2)); then
    echo "usage: $0 PROCESSES CONFIG [--flag value ...]" >&2
    exit 2
fi
count=$1
shift
logs=local before=
for argument; do
    [[ $before == --out ]] && logs=${argument%/}
    [[ $argument == --out=* ]] && logs=${argument#--out=} logs=${logs%/}
    before=$argument
done
mkdir -p "$(dirname "$logs")"
port=$((20000 + RANDOM % 20000))
export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=${DEVICES:-4}"
run() {
    exec transformers-jax pretrain "${@:2}" --distributed "localhost:$port,$count,$1"
}
for ((index = 1; index < count; index++)); do
    run "$index" "$@" >"$logs-$index.log" 2>&1 &
done
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
trap 'kill -TERM $(jobs -p); wait "$first"' INT TERM
run 0 "$@" &
first=$!
code=0
wait "$first" || code=$?
exit "$code"
