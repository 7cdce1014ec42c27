"""`python -m dmlp_jax.cli` is `dmlp-purify`."""

from dmlp_jax.cli.command import console

console()
