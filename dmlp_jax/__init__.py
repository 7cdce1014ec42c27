"""Repairs wrong training labels with a small clean set, in JAX (DMLP, CVPR 2023).

The public names are `purify`, `PurifyConfig`, `PurifyResult`, `accept`, `predict`, `suggest`, `InputError`,
`embed` for texts and images, and for scikit-learn the estimator `LabelPurifier` and the transformer
`Embedder`. They are loaded on first use, so that importing the package is fast.
"""

import importlib
from typing import Any

from dmlp_jax.runtime import moved_modules

__version__ = "0.1.0"
moved_modules.install()
_PURIFIER = ("InputError", "PurifyConfig", "PurifyResult", "accept", "predict", "purify", "suggest")
_HOMES = dict.fromkeys(_PURIFIER, "dmlp_jax.purifier") | {
    "Embedder": "dmlp_jax.interop.sklearn_embedder",
    "LabelPurifier": "dmlp_jax.interop.sklearn",
    "embed": "dmlp_jax.embedding",
}
__all__ = [
    "Embedder",
    "InputError",
    "LabelPurifier",
    "PurifyConfig",
    "PurifyResult",
    "accept",
    "embed",
    "predict",
    "purify",
    "suggest",
]


def __getattr__(name: str) -> Any:
    if f"dmlp_jax.{name}" in moved_modules.MOVED:
        return importlib.import_module(f"dmlp_jax.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dmlp_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
