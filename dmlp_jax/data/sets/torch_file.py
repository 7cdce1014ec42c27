"""Reads NumPy arrays from a .pt file of torch.save, which is a pickle, without trusting it.

A pickle is a program. Before it runs, its instructions are read: only those that plain containers and NumPy
arrays need are let through, and none may ask for more memory than the file itself takes. The names that it
may look up stand for inert objects of this module; what they were given is checked, and only then becomes an
array. NumPy's own classes are never handed to the pickle, since a forged state of a dtype makes NumPy take
numbers for addresses.
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

# The largest of the authors' files has 3 MB.
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
    """The arrays of the file by name.

    Raises:
        UserError: a missing, damaged or suspicious file, or one that holds anything but a dict of arrays of
            numbers.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} has more than {MAX_BYTES:,} bytes, which is no file of labels")
        blob = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    try:
        value = _load(blob)
    except _RefusedError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:
        # A damaged pickle fails in many ways.
        raise UserError(f"{path} cannot be read as a .pt file ({error})") from error
    if not isinstance(value, dict) or not all(
        isinstance(name, str) and isinstance(array, _Array) and array.value is not None
        for name, array in value.items()
    ):
        raise UserError(f"{path} must hold a dict of NumPy arrays, as the authors' files do")
    return {name: array.value for name, array in value.items()}


class _RefusedError(Exception):
    """Something that a file of labels has no need of."""


def _load(blob: bytes) -> object:
    if zipfile.is_zipfile(io.BytesIO(blob)):
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            pickles = [entry for entry in archive.infolist() if entry.filename.endswith("data.pkl")]
            if len(pickles) != 1:
                raise _RefusedError(f"it holds {len(pickles)} pickles named data.pkl, expected one")
            member = pickles[0]
            if member.file_size > MAX_BYTES:
                raise _RefusedError(f"its pickle unfolds to {member.file_size:,} bytes; it may be malicious")
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
            # The unpickler makes room for as many objects.
            raise _RefusedError("its pickle numbers more objects than it can hold; it may be malicious")
    stream.seek(start)
    return _ArraysOnly(stream).load()


class _ArraysOnly(pickle.Unpickler):
    """Unpickles plain containers, and this module's stand-ins for NumPy's arrays and dtypes."""

    def __init__(self, stream: io.BytesIO):
        super().__init__(stream)
        self._left = 4 * MAX_BYTES

    def find_class(self, module: str, name: str) -> object:
        module = module.replace("numpy.core", "numpy._core")
        # Methods, not functions or classes of the module: a pickle could set attributes of those.
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
        """How Python 2 style pickles of protocol 2 carry bytes."""
        # What comes from the pickle is not printed: nested in itself, it has a text without end.
        if not isinstance(encoding, str) or encoding != "latin1" or not isinstance(text, str):
            raise _RefusedError("the file encodes bytes in another way than 'latin1'; only that is read")
        self._left -= len(text)
        if self._left < 0:
            raise _RefusedError("the file repeats its bytes to fill the memory; it may be malicious")
        return text.encode("latin1")


class _Dtype:
    """A dtype of numbers, as the pickle describes it."""

    __slots__ = ("code", "order")

    def __init__(self, code: str):
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        # Version, byte order, subarray, names, fields, size, alignment, flags.
        _, order, *structure = state[:5]
        if order not in ("<", ">", "|", "=") or structure != [None] * 3:
            raise _RefusedError("the file holds an array of records; only numbers are read")
        self.order = order


class _Array:
    """An array, as the pickle describes it; `value` is None before its state was read."""

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
