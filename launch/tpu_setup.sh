#!/usr/bin/env bash
# Installs dmlp_jax on a TPU VM, in a virtual environment inside the checkout. Run by `tpu_vm.sh setup`.
set -euo pipefail

dry_run=false
[[ "${1:-}" == --dry-run ]] && dry_run=true

execute() {
    if $dry_run; then
        printf '%q ' "$@"
        echo
    else
        "$@"
    fi
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# uv installs the Python version that current jax needs; older TPU images lack it.
execute python3 -m pip install --user --quiet uv
execute python3 -m uv venv --quiet --python 3.12 --allow-existing .venv
execute python3 -m uv pip install --quiet --python .venv/bin/python --editable '.[tpu,gcs]'
execute .venv/bin/python -c 'import jax; print(jax.devices())'
