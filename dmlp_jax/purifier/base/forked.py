"""Notices that a process was forked from one that had used JAX.

JAX's threads do not exist in such a process, so a call would wait for them for ever. `os.fork` and the start
method 'fork' of multiprocessing, the default on Linux before Python 3.14, make such processes.
"""

import os

from dmlp_jax.purifier.base.errors import InputError

_state = {"used_before": False, "forked": False}


def refuse() -> None:
    """Raises where JAX cannot work since it was used before this process was forked.

    Raises:
        InputError: the message names the start methods that work.
    """
    if _state["forked"]:
        raise InputError(
            "this process was forked from one that had used JAX, whose threads do not exist here, so the "
            "call would never end; start processes with multiprocessing.get_context('spawn') or 'forkserver'"
        )


def _before() -> None:
    try:
        # Not public, and the only way to ask without starting JAX.
        from jax._src import xla_bridge

        _state["used_before"] = xla_bridge.backends_are_initialized()
    except (ImportError, AttributeError):
        _state["used_before"] = False


def _in_child() -> None:
    _state["forked"] |= _state["used_before"]


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_child=_in_child)
