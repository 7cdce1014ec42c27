"""Makes Ctrl-C end a command within a second or two and without a fault, also while XLA compiles.

Python acts on a signal only between two of its own instructions, so compiled code of half a minute would
hold a Ctrl-C back. And an interpreter that shuts down while a thread of XLA still compiles may crash after
the last message. Both are avoided by ending the process without a shutdown; files appear whole or not at all,
so nothing is left half written.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from typing import NoReturn

# The exit status after Ctrl-C: 128 and the number of the signal, as shells report it.
INTERRUPTED = 130
# Seconds that Python gets to act on the signal itself.
PATIENCE = 1.0


def end_promptly(message: str) -> None:
    """From now on a Ctrl-C that Python does not act on within `PATIENCE` ends the process.

    Has no effect where Ctrl-C is ignored, as in background jobs, or handled by somebody else, and outside the
    main thread.

    Args:
        message: the line for stderr, without an end of line.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    reached = threading.Event()

    def handler(number, frame):
        reached.set()
        signal.default_int_handler(number, frame)

    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.signal(signal.SIGINT, handler)
    # Unlike handlers, the number of the signal is written at once, whatever the main thread does.
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read, reached, message), daemon=True).start()


def end(status: int) -> NoReturn:
    """Ends the process and those that it started by multiprocessing, without shutting Python down."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    _exit(status)


def _exit(status: int) -> NoReturn:
    # Those that decode images, too: loky's processes are multiprocessing's.
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(status)


def _watch(read: int, reached: threading.Event, message: str) -> None:
    while number := os.read(read, 1):
        if number[0] == signal.SIGINT and not reached.wait(PATIENCE):
            os.write(2, f"{message}\n".encode("utf-8", "backslashreplace"))
            _exit(INTERRUPTED)
