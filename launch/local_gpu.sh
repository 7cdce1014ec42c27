#!/usr/bin/env bash
# Runs dmlp_jax on the GPUs of this machine and restarts it if it was terminated or killed.
#
#   launch/local_gpu.sh [--dry-run] [--gpus 0,1] [--tries 5] -- --config=configs/cifar10_sym90.py --workdir=W
#
# Ctrl-C or SIGTERM to this script lets the run save and ends it without a restart. One process drives all GPUs.
set -uo pipefail

fail() {
    echo "error: $1" >&2
    exit 2
}

dry_run=false gpus="" tries=5
while (($#)); do
    case "$1" in
        --dry-run) dry_run=true ;;
        --gpus | --tries)
            (($# > 1)) || fail "$1 needs a value"
            printf -v "${1#--}" '%s' "$2"
            shift
            ;;
        --)
            shift
            break
            ;;
        *) fail "unknown option $1; the arguments of dmlp_jax.main come after --" ;;
    esac
    shift
done
(($#)) || fail "nothing to run; give the arguments of dmlp_jax.main after --"

run=("${DMLP_PYTHON:-python3}" -m dmlp_jax.main "$@")
[[ -z "$gpus" ]] || run=(env "CUDA_VISIBLE_DEVICES=$gpus" "${run[@]}")
if $dry_run; then
    printf '%q ' "${run[@]}"
    echo
    exit
fi

child="" ending=false
trap 'ending=true; [[ -z "$child" ]] || kill -TERM "$child"' TERM INT
for ((try = 1; try <= tries; try++)); do
    child=""
    "${run[@]}" &
    child=$!
    # A signal may have arrived before the process id was known; forward it now.
    if $ending; then kill -TERM "$child"; fi
    # A signal interrupts `wait` before the run has ended, so wait again.
    until wait "$child"; status=$?; ! kill -0 "$child" 2> /dev/null; do :; done
    $ending && exit "$status"
    # 75: terminated, everything saved. 137: killed, by the kernel (out of memory) or by hand.
    case "$status" in
        75 | 137) echo "ended with status $status; starting again ($try of $tries)" >&2 ;;
        *) exit "$status" ;;
    esac
done
exit "$status"
