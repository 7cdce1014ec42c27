"""Runs dmlp_jax and kills it with SIGKILL at its k-th write in the workdir.

    python benchmarks/kill_at_write.py WORKDIR K LOG --workdir=WORKDIR ...

Writes are files opened for writing, renamings, and folders made or removed, counted just before they happen;
TensorStore's writes in C++ are not counted. With K = 0 nothing is killed and the count is written to LOG.
"""

import os
import signal
import sys
from pathlib import Path

from dmlp_jax.main import console

WRITES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree")


def main() -> None:
    """Installs the hook and hands over to the command line."""
    workdir, at, log = os.path.abspath(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    sys.argv[1:4] = []
    count = 0

    def hook(event, arguments):
        nonlocal count
        writes = event in WRITES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if not writes or not isinstance(arguments[0], (str, os.PathLike)):
            return
        if os.path.abspath(arguments[0]).startswith(workdir):
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    try:
        console()
    finally:
        if not at:
            Path(log).write_text(str(count))


if __name__ == "__main__":
    main()
