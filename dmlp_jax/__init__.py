"""dmlp_jax: repairs wrong training labels with a small clean set (DMLP, CVPR 2023) in JAX.

`purify`, `PurifyConfig`, `PurifyResult`, `predict` and `InputError` are the public names; they are loaded
on first use, so that importing the package stays cheap.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["InputError", "PurifyConfig", "PurifyResult", "predict", "purify"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("dmlp_jax.purifier"), name)
    raise AttributeError(f"module 'dmlp_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
