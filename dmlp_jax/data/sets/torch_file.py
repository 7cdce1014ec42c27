"""Reads NumPy arrays safely from an untrusted .pt file of torch.save, which is a pickle.

A pickle is a program. Its opcodes are checked before it runs: only those that plain containers and NumPy
arrays need are allowed, and none may allocate more memory than the file itself takes. The few global names
that it may look up resolve to inert stand-ins in this module; their arguments are checked before an array is
built from them. NumPy's own classes are never exposed to the pickle, because a forged dtype state can make
NumPy treat numbers as memory addresses.
"""

import io
import math
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from dmlp_jax.errors import UserError

# The largest file of the CIFAR-N authors has 3 MB.
MAX_BYTES = 64 * 2**20
MAX_OPCODES = 1_000_000
# torch.save without zip writes three small pickles (magic, version, system) before the object.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_OPCODES = frozenset(
    (
        *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK"),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"),
        *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    )
)
_KINDS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "b1")


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of the file by name.

    Entries of the dict that are no arrays are left out: CIFAR-100_human.pt also holds its labels of the
    superclasses, as lists.

    Raises:
        UserError: the file is missing, damaged or suspicious, or holds no dict with numeric arrays.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} has more than {MAX_BYTES:,} bytes, too many for a file of labels")
        blob = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    try:
        value = _load(blob)
    except _RefusedError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:
        # A damaged pickle raises exceptions of many types.
        raise UserError(f"{path} cannot be read as a .pt file ({error})") from error
    entries = value.items() if isinstance(value, dict) else ()
    arrays = {
        name: entry.value
        for name, entry in entries
        if isinstance(name, str) and isinstance(entry, _Array) and entry.value is not None
    }
    if not arrays:
        raise UserError(f"{path} must hold a dict of NumPy arrays, as the authors' files do")
    return arrays


class _RefusedError(Exception):
    """The pickle contains something that a file of labels does not need."""


def _load(blob: bytes) -> object:
    if zipfile.is_zipfile(io.BytesIO(blob)):
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            pickles = [entry for entry in archive.infolist() if entry.filename.endswith("data.pkl")]
            if len(pickles) != 1:
                raise _RefusedError(f"it holds {len(pickles)} pickles named data.pkl, expected one")
            member = pickles[0]
            if member.file_size > MAX_BYTES:
                raise _RefusedError(
                    f"its pickle decompresses to {member.file_size:,} bytes; it may be malicious"
                )
            return _unpickle(io.BytesIO(archive.read(member)))
    stream = io.BytesIO(blob)
    value = _unpickle(stream)
    if isinstance(value, int) and value == _LEGACY_MAGIC:
        for _ in range(3):
            value = _unpickle(stream)
    return value


def _unpickle(stream: io.BytesIO) -> object:
    start, size = stream.tell(), len(stream.getbuffer())
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if opcode.name not in _OPCODES or count > MAX_OPCODES:
            raise _RefusedError(
                f"its pickle uses {opcode.name}, which arrays do not need; it may be malicious"
            )
        if opcode.name == "LONG_BINPUT" and int(argument or 0) > size:
            # The unpickler would allocate memory for that many objects.
            raise _RefusedError("its pickle numbers more objects than it can hold; it may be malicious")
    stream.seek(start)
    return _ArraysOnly(stream).load()


class _ArraysOnly(pickle.Unpickler):
    """Unpickles plain containers and this module's stand-ins for NumPy's arrays and dtypes, nothing else."""

    def __init__(self, stream: io.BytesIO):
        super().__init__(stream)
        self._left = 4 * MAX_BYTES

    def find_class(self, module: str, name: str) -> object:
        module = module.replace("numpy.core", "numpy._core")
        # Bound methods rather than functions or classes: a pickle could set attributes on those.
        known = {
            ("numpy._core.multiarray", "_reconstruct"): self._reconstruct,
            ("numpy", "ndarray"): "numpy.ndarray",
            ("numpy", "dtype"): self._dtype,
            ("_codecs", "encode"): self._latin1,
        }
        if (module, name) not in known:
            raise _RefusedError(
                f"the file asks for {module}.{name}; only NumPy arrays are read from .pt files, and it may "
                "be malicious"
            )
        return known[module, name]

    def _reconstruct(self, kind: object, shape: object, type_code: object) -> "_Array":
        if kind != "numpy.ndarray":
            raise _RefusedError("the file holds a subclass of numpy.ndarray; only plain arrays are read")
        return _Array()

    def _dtype(self, code: object, align: object = False, copy: object = True) -> "_Dtype":
        if not isinstance(code, str) or code not in _KINDS:
            raise _RefusedError("the file holds an array of text or of Python objects; only numbers are read")
        return _Dtype(code)

    def _latin1(self, text: str, encoding: str) -> bytes:
        """Encodes text as bytes, the way pickles of protocol 2 store bytes."""
        # Messages do not print objects of the pickle: one that contains itself has an endless repr.
        if not isinstance(encoding, str) or encoding != "latin1" or not isinstance(text, str):
            raise _RefusedError("the file encodes bytes in another way than 'latin1'; only that is read")
        self._left -= len(text)
        if self._left < 0:
            raise _RefusedError("the file repeats its bytes to fill the memory; it may be malicious")
        return text.encode("latin1")


class _Dtype:
    """Stand-in for a numeric dtype in the pickle."""

    __slots__ = ("code", "order")

    def __init__(self, code: str):
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        # The state is (version, byte order, subarray, names, fields, size, alignment, flags).
        _, order, *structure = state[:5]
        if order not in ("<", ">", "|", "=") or structure != [None] * 3:
            raise _RefusedError("the file holds an array of records; only numbers are read")
        self.order = order


class _Array:
    """Stand-in for an array in the pickle; `value` is None until its state has been read."""

    __slots__ = ("value",)

    def __init__(self):
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise _RefusedError("the file holds an array of Python objects; only numbers are read")
        kind = np.dtype(dtype.order + dtype.code)
        whole = isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)
        if not whole or math.prod(shape) * kind.itemsize != len(content):
            raise _RefusedError(f"the {len(content)} bytes of an array of {kind} do not fit its shape")
        self.value = np.frombuffer(content, kind).reshape(shape, order="F" if fortran else "C")
