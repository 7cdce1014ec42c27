"""Worker processes that decode images. They import Pillow and NumPy, never jax."""

import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from dmlp_jax.errors import UserError

# Files in one task: some 50 ms of work, so that handing it over costs little.
CHUNK = 16


def count(workers: int) -> int:
    """The number of processes: as configured, or one for each core that this process may use."""
    return workers or len(os.sched_getaffinity(0))


def submit(function: Callable[..., Any], paths: list[str], *extra: Any, workers: int) -> list[Future]:
    """Starts `function(chunk of paths, *extra)` for all chunks; one pool of processes serves all calls.

    Args:
        function: of a module that imports little.
        paths: of the files.
        *extra: further arguments.
        workers: processes; 0 for one per core.
    """
    # Loky's workers do not run the main module again, so that a user's script needs no __main__ guard, and a
    # worker that dies raises an error here instead of leaving everybody waiting.
    import loky

    pool = loky.get_reusable_executor(max_workers=count(workers), timeout=None, reuse=True)
    return [
        pool.submit(function, paths[start : start + CHUNK], *extra) for start in range(0, len(paths), CHUNK)
    ]


def results(futures: list[Future]) -> list[Any]:
    """What the tasks returned.

    Raises:
        UserError: a file could not be read, or a worker died.
    """
    import loky

    try:
        return [future.result() for future in futures]
    except ValueError as error:
        raise UserError(
            f"an image that could be read before cannot be read any more: {error}; put it back, then the "
            "same command goes on"
        ) from error
    except loky.process_executor.TerminatedWorkerError as error:
        raise UserError(
            f"a process that decodes images was killed, most often for want of memory; lower data.workers "
            f"({error})"
        ) from error
