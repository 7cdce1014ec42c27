#!/usr/bin/env bash
# Creates a Cloud TPU VM, runs dmlp_jax on it and deletes it; see launch/README.md.
set -euo pipefail

usage() {
    cat <<'TEXT'
launch/tpu_vm.sh [--dry-run] COMMAND --name NAME --zone ZONE [options] [-- arguments of dmlp_jax.main]

  create   queue a request for the TPU (--type, --version, --spot)
  status   show the state of the request
  setup    copy the committed state of this checkout to all workers and install it there
  run      start the run on all workers in the background; it continues after you disconnect
  logs     follow the log of worker 0
  stop     send SIGTERM: the run saves and ends
  delete   delete the TPU and the request

  --type     accelerator type, v5litepod-8 by default (one host)
  --version  runtime version, v2-alpha-tpuv5-lite by default
  --project  Google Cloud project, gcloud's default if absent
  --spot     spot VM: cheaper, may be preempted at any time
TEXT
}

fail() {
    echo "error: $1" >&2
    exit 2
}

dry_run=false command="" name="" zone="" project="" spot=false
type=v5litepod-8 version=v2-alpha-tpuv5-lite
arguments=()
while (($#)); do
    case "$1" in
        --dry-run) dry_run=true ;;
        --spot) spot=true ;;
        --name | --zone | --type | --version | --project)
            (($# > 1)) || fail "$1 needs a value"
            printf -v "${1#--}" '%s' "$2"
            shift
            ;;
        --help | -h)
            usage
            exit
            ;;
        --)
            shift
            arguments=("$@")
            break
            ;;
        -*) fail "unknown option $1; see --help" ;;
        *)
            [[ -z "$command" ]] || fail "two commands, $command and $1; give one"
            command="$1"
            ;;
    esac
    shift
done
[[ -n "$command" ]] || fail "no command; see --help"
[[ -n "$name" && -n "$zone" ]] || fail "--name and --zone are needed"

where=(--zone "$zone")
[[ -z "$project" ]] || where+=(--project "$project")

execute() {
    if $dry_run; then
        printf '%q ' "$@"
        echo
    else
        "$@"
    fi
}

tpu=(gcloud compute tpus)

on_workers() {
    execute "${tpu[@]}" tpu-vm ssh "$name" "${where[@]}" --worker "$1" --command "$2"
}

case "$command" in
    create)
        request=(
            "${tpu[@]}" queued-resources create "$name" --node-id "$name" "${where[@]}"
            --accelerator-type "$type" --runtime-version "$version"
        )
        $spot && request+=(--spot)
        execute "${request[@]}"
        ;;
    status) execute "${tpu[@]}" queued-resources describe "$name" "${where[@]}" --format "value(state.state)" ;;
    setup)
        here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
        archive="${TMPDIR:-/tmp}/dmlp_jax.tar.gz"
        execute git -C "$here" archive --format tar.gz --output "$archive" HEAD
        execute "${tpu[@]}" tpu-vm scp "$archive" "$name:dmlp_jax.tar.gz" "${where[@]}" --worker all
        on_workers all "mkdir -p dmlp_jax && tar -xzf dmlp_jax.tar.gz -C dmlp_jax && bash dmlp_jax/launch/tpu_setup.sh"
        ;;
    run)
        ((${#arguments[@]})) || fail "nothing to run; give the arguments of dmlp_jax.main after --"
        printf -v quoted '%q ' "${arguments[@]}"
        on_workers all "cd dmlp_jax && nohup .venv/bin/python -m dmlp_jax.main ${quoted}>> run.log 2>&1 < /dev/null &"
        ;;
    logs) on_workers 0 "tail -n 100 -f dmlp_jax/run.log" ;;
    stop) on_workers all "pkill -TERM -f '[d]mlp_jax.main'" ;;
    delete) execute "${tpu[@]}" queued-resources delete "$name" "${where[@]}" --force --quiet ;;
    *) fail "unknown command $command; see --help" ;;
esac
