"""Locks a folder for one writer with an advisory lock that the kernel releases when its holder dies.

The lock is `flock` on a file in the folder. The file names the process that holds the lock and is never
deleted. Only the kernel's lock counts, so a file left by a killed process blocks no other run. NFS (Linux
2.6.12 and later), Lustre mounted with `flock`, GPFS and CephFS enforce the lock across hosts. After a host
has crashed, an NFS server may keep its locks for the lease time, a minute or two. If the file system or the
operating system does not support `flock`, a note is printed and the run continues without a lock.
"""

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from dmlp_jax.errors import UserError
from dmlp_jax.storage import files

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_HELD_BY_ANOTHER = (errno.EWOULDBLOCK, errno.EACCES)


@contextlib.contextmanager
def hold(path: Path, patience: float = 0.0) -> Iterator[None]:
    """Holds the lock on the file `path` while the block runs; creates the file if absent.

    Args:
        path: the lock file.
        patience: seconds to wait for another holder to release the lock.

    Raises:
        UserError: another process, or another block in this process, holds the lock; or the file cannot be
            written.
    """
    with files.writing(path):
        # Child processes do not inherit the descriptor, so one that outlives this process keeps no lock.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if _acquire(descriptor, path, time.monotonic() + patience):
            holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": int(time.time())}
            with files.writing(path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, deadline: float) -> bool:
    """Takes the lock; returns False if locks are not supported.

    Raises:
        UserError: another process still holds the lock at the deadline.
    """
    try:
        if fcntl is None:
            raise OSError(errno.ENOTSUP, "no flock on this system")
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in _HELD_BY_ANOTHER or time.monotonic() >= deadline:
                    raise
                time.sleep(0.05)
    except OSError as error:
        if error.errno in _HELD_BY_ANOTHER:
            raise UserError(
                f"{path.parent} is in use by {_holder(descriptor)}; wait for it, stop it, or use another "
                "--workdir"
            ) from error
        print(
            f"note: {path.parent} cannot be locked ({error.strerror}); make sure that no other run uses it",
            flush=True,
        )
        return False
    return True


def _holder(descriptor: int) -> str:
    """Describes the holder from the file, which is still empty for a moment after the lock is taken."""
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(found["since"])))
        return f"process {int(found['pid'])} on {str(found['host'])!r} since {since}"
    except (OSError, OverflowError, ValueError, TypeError, KeyError):
        return "another process"
