"""Reads npz archives safely, even damaged or malicious ones: no unpickling, and bounded memory.

Headers are checked before an array is allocated: each array's header must agree with the size of its entry in
the archive, and the archive must not decompress to far more than its own size.
"""

import math
import os
import zipfile
from typing import IO

import numpy as np

# An archive may decompress to this many times its size, and to MAX_SMALL bytes in any case. Deflate reaches
# at most about 1,000 times; arrays of measurements seldom reach 20.
MAX_RATIO = 200
MAX_SMALL = 256 * 2**20
MAX_ARRAYS = 10_000
# Header size in characters; dtype and shape of an array of numbers or text take about 100.
MAX_HEADER = 10_000
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read(file: IO[bytes]) -> dict[str, np.ndarray]:
    """Reads all arrays of an npz archive.

    Args:
        file: open for reading and seekable.

    Raises:
        ValueError: the archive is damaged, or contains something that is refused: Python objects, two arrays
            of one name, or more than fits into memory. The standard library's zip reader raises other
            exceptions for damage and encryption, such as zlib.error.
    """
    if not zipfile.is_zipfile(file):
        raise ValueError("it is not an npz archive")
    with zipfile.ZipFile(file) as archive:
        _check_size(archive, file.seek(0, os.SEEK_END))
        arrays = {}
        for name, member in _members(archive).items():
            with archive.open(member) as stream:
                arrays[name] = np.lib.format.read_array(
                    stream, allow_pickle=False, max_header_size=MAX_HEADER
                )
    return arrays


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's entries by array name; checks that each header agrees with the archive's directory."""
    members = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if not name.isprintable():
            raise ValueError(f"the name {name!r} is not printable")
        if name in members:
            raise ValueError(f"it holds the array {name} twice")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"the array {name} is compressed in a way that NumPy does not use")
        with archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            if version not in _HEADERS:
                raise ValueError(f"the array {name} has the unknown format version {version}")
            shape, _, dtype = _HEADERS[version](stream, max_header_size=MAX_HEADER)
            start = stream.tell()
        if dtype.hasobject:
            raise ValueError(
                f"the array {name} holds Python objects, which would have to be unpickled; store it as "
                f"numbers or text, for instance with {name}.astype(str)"
            )
        # Computed with Python integers, which cannot overflow to a small number.
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or start + size != member.file_size:
            raise ValueError(
                f"the array {name} says it is {dtype} {shape}, but has {member.file_size - start} bytes"
            )
        members[name] = member
    return members


def _check_size(archive: zipfile.ZipFile, packed: int) -> None:
    """Raises a ValueError if the archive declares more than is plausible or fits into memory."""
    members = archive.infolist()
    if len(members) > MAX_ARRAYS:
        raise ValueError(f"it holds {len(members):,} arrays, more than {MAX_ARRAYS:,}")
    total = sum(member.file_size for member in members)
    if total > max(MAX_SMALL, MAX_RATIO * packed):
        raise ValueError(
            f"its {packed:,} bytes decompress to {total:,}, more than {MAX_RATIO} times as many, as in files "
            "made to exhaust the memory; if it is yours, store it again with numpy.savez, uncompressed"
        )
    memory = _memory()
    if memory is not None and total > memory:
        raise ValueError(f"its arrays take {total:,} bytes, but this machine's memory is {memory:,}")


def _memory() -> int | None:
    """Bytes of physical memory; None if the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
