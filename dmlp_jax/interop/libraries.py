"""Imports optional dependencies when they are used, with a helpful error if they are missing."""

import importlib
from typing import Any

from dmlp_jax.errors import UserError


def require(module: str) -> Any:
    """The module of an optional dependency.

    Raises:
        UserError: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"this needs {module.split('.')[0]}, which is not installed: pip install {module.split('.')[0]}"
        ) from error
