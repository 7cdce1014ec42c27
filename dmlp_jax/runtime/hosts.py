"""Several processes, usually one a host, that run the same program on shares of the data.

Process 0 decides and writes; the others learn from it what it decided, so that no two of them ever take
different turns because one saw a file a moment earlier. With a single process all of this does nothing.
"""

import contextvars
import itertools
import json
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from dmlp_jax.errors import UserError

# Whether process 0 is deciding just now: the others wait for the outcome and cannot agree on parts of it.
_alone: contextvars.ContextVar[bool] = contextvars.ContextVar("alone", default=False)


def initialize() -> None:
    """Joins the other processes; must come before anything touches a device.

    Address, number and rank of the processes are found by JAX on Cloud TPU, under Slurm and Open MPI;
    elsewhere they come from COORDINATOR_ADDRESS, NUM_PROCESSES and PROCESS_ID.

    Raises:
        UserError: there is nothing to join.
    """
    address, count, rank = map(os.environ.get, ("COORDINATOR_ADDRESS", "NUM_PROCESSES", "PROCESS_ID"))
    try:
        if address and count and rank:
            jax.distributed.initialize(address, int(count), int(rank))
        else:
            jax.distributed.initialize()
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"--multihost: this process cannot join others ({error}); start it on a TPU pod or under "
            "Slurm, or set COORDINATOR_ADDRESS (host:port of process 0), NUM_PROCESSES and PROCESS_ID"
        ) from error


def several() -> bool:
    """Whether there is more than one process."""
    return jax.process_count() > 1


def is_main() -> bool:
    """Whether this is process 0, which decides and writes."""
    return jax.process_index() == 0


def agree(decide: Callable[[], Any]) -> Any:
    """What `decide`, called in process 0 only, returned there; calls within `decide` are process 0's own.

    Args:
        decide: returns a value that JSON can hold.

    Raises:
        UserError: `decide` raised one; every process raises it.
        RuntimeError: in the other processes, after any other exception in process 0, which raises that.
    """
    if not several() or _alone.get():
        return decide()
    if not is_main():
        return _follow(json.loads(_broadcast(b"")))
    token = _alone.set(True)
    try:
        content = json.dumps({"value": decide()}).encode()
    except BaseException as error:
        # The others wait in the broadcast, and would for ever.
        mistake = {"error": str(error)} if isinstance(error, UserError) else {"failure": repr(error)}
        _broadcast(json.dumps(mistake).encode())
        raise
    finally:
        _alone.reset(token)
    return _follow(json.loads(_broadcast(content)))


def _follow(found: dict[str, Any]) -> Any:
    """The value that process 0 found, or its exception."""
    if "error" in found:
        raise UserError(found["error"])
    if "failure" in found:
        raise RuntimeError(f"process 0 failed: {found['failure']}")
    return found["value"]


def only_main(act: Callable[[], object]) -> None:
    """Runs `act` in process 0; all wait until it is done.

    Raises:
        UserError: `act` raised one; every process raises it.
        RuntimeError: in the other processes, after any other exception in process 0; see `agree`.
    """

    def decide() -> None:
        act()

    agree(decide)


def make_stop() -> Callable[[], bool]:
    """A function that becomes true in all processes at the same call, after one of them got SIGTERM.

    Preemption notices of Cloud TPU and of Slurm are SIGTERM. Every process must call it equally often, and
    nothing else may ask JAX for notices: it agrees on a number of this count.
    """
    calls = itertools.count()
    return lambda: bool(multihost_utils.reached_preemption_sync_point(next(calls)))


def _broadcast(content: bytes) -> bytes:
    """The bytes of process 0."""
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    padded = np.zeros(length, np.uint8)
    if is_main():
        padded[:] = np.frombuffer(content, np.uint8)
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded)).astype(np.uint8))
