"""Tells machines apart: programs compiled for one processor may not run on another."""

import functools
import hashlib
import platform
import sys
from pathlib import Path

# Lines of /proc/cpuinfo that say which instructions the processor has, on x86 and on ARM.
_LINES = ("model name", "flags", "Features", "CPU implementer", "CPU part")


@functools.cache
def fingerprint() -> str:
    """Eight hexadecimal digits that differ between processors with different instruction sets.

    Where the system does not list the instructions (it does on Linux), they differ between machines.
    """
    known = [sys.platform, platform.machine()]
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    described = sorted({line for line in lines if line.split(":")[0].strip() in _LINES})
    known += described or [platform.processor(), platform.node()]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:8]
