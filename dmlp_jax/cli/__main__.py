"""Runs `dmlp-purify` as `python -m dmlp_jax.cli`."""

from dmlp_jax.cli.command import console

console()
