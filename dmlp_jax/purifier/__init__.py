"""The purifier: arrays in, arrays out. Imports numpy, jax and optax only."""

from dmlp_jax.purifier.base.errors import InputError
from dmlp_jax.purifier.config import PurifyConfig
from dmlp_jax.purifier.probes import PROBES
from dmlp_jax.purifier.purify import purify
from dmlp_jax.purifier.result import SOURCES, PurifyResult
from dmlp_jax.purifier.rows.scaling import LinearClassifier, predict

__all__ = [
    "PROBES",
    "SOURCES",
    "InputError",
    "LinearClassifier",
    "PurifyConfig",
    "PurifyResult",
    "predict",
    "purify",
]
