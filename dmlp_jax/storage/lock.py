"""One writer per folder: an advisory lock that the kernel gives back when its holder dies.

The lock is `flock` on a file in the folder. The file says which process holds it and stays where it is; only
the kernel's lock counts, so what a killed process left in the file hinders nobody. NFS (Linux 2.6.12 and
later), Lustre mounted with `flock`, GPFS and CephFS carry the lock from host to host; after a host, not just
a process, has died, an NFS server may keep its locks for the lease, a minute or two. Where the file system
or the operating system knows no `flock`, a note is printed and the run goes on without a lock.
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
    """Holds the lock on the file `path`, made if absent, while the block runs.

    Args:
        path: the file.
        patience: seconds to wait for another holder, for locks that are held for moments.

    Raises:
        UserError: another process, or another block of this one, holds it; or the file cannot be written.
    """
    with files.writing(path):
        # Python keeps it from the programs that this one starts, which may outlive it.
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
    """Whether the lock was taken; False where there are no locks."""
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
            f"note: {path.parent} cannot be locked ({error.strerror}); see to it that no other run uses it",
            flush=True,
        )
        return False
    return True


def _holder(descriptor: int) -> str:
    """Who holds the lock, as the file says; it says nothing for a moment after the lock was taken."""
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(found["since"])))
        return f"process {int(found['pid'])} on {str(found['host'])!r} since {since}"
    except (OSError, OverflowError, ValueError, TypeError, KeyError):
        return "another process"
