"""`python -m dmlp_jax` is `python -m dmlp_jax.main`."""

from dmlp_jax.main import console

console()
