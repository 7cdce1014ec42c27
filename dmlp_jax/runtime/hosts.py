"""Coordinates several processes, usually one per host, that run the same program on shares of the data.

Process 0 takes decisions and writes files, then broadcasts each decision to the others. This keeps processes
from taking different branches, for example because one saw a file a moment earlier. With a single process
these functions do nothing more than call their argument.
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

# True in process 0 inside `agree`. The others are waiting for its result, so nested calls must not broadcast.
_deciding: contextvars.ContextVar[bool] = contextvars.ContextVar("deciding", default=False)


def initialize() -> None:
    """Joins the other processes; must be called before any device is used.

    On Cloud TPU and under Slurm or Open MPI, JAX finds the address, number and rank of the processes.
    Elsewhere they are read from the environment variables COORDINATOR_ADDRESS, NUM_PROCESSES and PROCESS_ID.

    Raises:
        UserError: there are no processes to join.
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
    """Whether this is process 0, which takes decisions and writes files."""
    return jax.process_index() == 0


def agree(decide: Callable[[], Any]) -> Any:
    """Calls `decide` in process 0 only and returns its result in every process.

    Calls of `agree` inside `decide` are not broadcast; they run in process 0 alone.

    Args:
        decide: returns a JSON-serialisable value.

    Raises:
        UserError: `decide` raised one; every process raises it.
        RuntimeError: `decide` raised another exception. Process 0 raises the original one, the other
            processes this one.
    """
    if not several() or _deciding.get():
        return decide()
    if not is_main():
        return _follow(json.loads(_broadcast(b"")))
    token = _deciding.set(True)
    try:
        content = json.dumps({"value": decide()}).encode()
    except BaseException as error:
        # Without a broadcast the other processes would wait for ever.
        mistake = {"error": str(error)} if isinstance(error, UserError) else {"failure": repr(error)}
        _broadcast(json.dumps(mistake).encode())
        raise
    finally:
        _deciding.reset(token)
    return _follow(json.loads(_broadcast(content)))


def _follow(found: dict[str, Any]) -> Any:
    """Returns the value that process 0 broadcast, or raises its exception."""
    if "error" in found:
        raise UserError(found["error"])
    if "failure" in found:
        raise RuntimeError(f"process 0 failed: {found['failure']}")
    return found["value"]


def only_main(act: Callable[[], object]) -> None:
    """Runs `act` in process 0 only; all processes wait until it has finished.

    Raises:
        UserError: `act` raised one; every process raises it.
        RuntimeError: in the other processes, if `act` raised another exception; see `agree`.
    """

    def decide() -> None:
        act()

    agree(decide)


def make_stop() -> Callable[[], bool]:
    """Returns a function that becomes true at the same call in all processes after one receives SIGTERM.

    Cloud TPU and Slurm announce preemption by SIGTERM. Every process must call the function equally often.
    Nothing else in the program may call JAX's preemption sync point, because JAX synchronises the processes
    on the number of the call.
    """
    calls = itertools.count()
    return lambda: bool(multihost_utils.reached_preemption_sync_point(next(calls)))


def _broadcast(content: bytes) -> bytes:
    """Broadcasts `content` of process 0 to all processes and returns it."""
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    padded = np.zeros(length, np.uint8)
    if is_main():
        padded[:] = np.frombuffer(content, np.uint8)
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded)).astype(np.uint8))
