"""Reads npz archives that may be damaged or hostile: nothing is unpickled, and memory stays bounded.

Everything that the archive declares is checked before an array is allocated: each array's header must agree
with the size of its entry in the archive, and the archive must not unfold to far more than it weighs.
"""

import math
import os
import zipfile
from typing import IO

import numpy as np

# An archive may unfold to this many times its size, and to MAX_SMALL bytes in any case. Deflate cannot do
# more than about 1,000 times; arrays of measurements seldom reach 20.
MAX_RATIO = 200
MAX_SMALL = 256 * 2**20
MAX_ARRAYS = 10_000
# Dtype and shape of an array of numbers or text take some 100 characters.
MAX_HEADER = 10_000
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read(file: IO[bytes]) -> dict[str, np.ndarray]:
    """All arrays of an npz archive.

    Args:
        file: open for reading and seekable.

    Raises:
        ValueError: the archive is damaged, or holds what is not read: Python objects, two
            arrays of one name, more than fits into memory. Other exceptions of the standard library's zip
            reader, such as zlib.error, tell of damage and of encryption too.
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
    """The archive's entries by the names of their arrays; their headers must agree with its directory."""
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
        # Python's integers: a product that wraps around would pass for small.
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
            f"its {packed:,} bytes unfold to {total:,}, more than {MAX_RATIO} times as many, as files made "
            "to fill the memory do; if it is yours, store it again with numpy.savez, uncompressed"
        )
    memory = _memory()
    if memory is not None and total > memory:
        raise ValueError(f"its arrays take {total:,} bytes, but this machine's memory is {memory:,}")


def _memory() -> int | None:
    """Bytes of physical memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
