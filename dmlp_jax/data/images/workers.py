"""Runs image decoding in worker processes, which import Pillow and NumPy but never jax."""

import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from dmlp_jax.errors import UserError

# Files per task: about 50 ms of work, so that the overhead of a task is small.
CHUNK = 16


def count(workers: int) -> int:
    """Number of processes: `workers`, or one for each core that this process may use if it is 0."""
    return workers or len(os.sched_getaffinity(0))


def submit(function: Callable[..., Any], paths: list[str], *extra: Any, workers: int) -> list[Future]:
    """Submits `function(chunk of paths, *extra)` for all chunks to one process pool, shared by all calls.

    Args:
        function: runs in a worker; its module should import little.
        paths: the image files.
        *extra: further arguments of `function`.
        workers: number of processes; 0 for one per core.

    Returns:
        One future per chunk, in order.
    """
    # Unlike multiprocessing, loky does not run the main module again in its workers, so a user's script needs
    # no __main__ guard. A worker that dies raises an error here instead of blocking for ever.
    import loky

    pool = loky.get_reusable_executor(max_workers=count(workers), timeout=None, reuse=True)
    return [
        pool.submit(function, paths[start : start + CHUNK], *extra) for start in range(0, len(paths), CHUNK)
    ]


def results(futures: list[Future]) -> list[Any]:
    """Waits for the tasks and returns their results.

    Raises:
        UserError: a file could not be read, or a worker died.
    """
    import loky

    try:
        return [future.result() for future in futures]
    except ValueError as error:
        raise UserError(
            f"an image that could be read before cannot be read any more: {error}; restore it, then the same "
            "command resumes"
        ) from error
    except loky.process_executor.TerminatedWorkerError as error:
        raise UserError(
            f"a process that decodes images was killed, usually because memory ran out; lower data.workers "
            f"({error})"
        ) from error
