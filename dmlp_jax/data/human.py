"""Human labels of CIFAR-10N and CIFAR-100N (Wei et al. 2022) from the authors' .pt files.

A .pt file is a pickle. This reader admits NumPy arrays and nothing else: any other global that the pickle
names is refused before it is looked up, so a doctored file cannot run code.
"""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np

from dmlp_jax.config import nearest
from dmlp_jax.errors import UserError

# torch.save without zip writes three small pickles (magic, version, system) before the object.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def load(path: Path, column: str, true_labels: np.ndarray) -> np.ndarray:
    """Human labels of the training images in the official order, [n] int32.

    Args:
        path: `noise.path`, CIFAR-10_human.pt or CIFAR-100_human.pt.
        column: `noise.column`: aggre_label, worse_label, random_label1 to 3, or noisy_label.
        true_labels: labels of the data set [n], to check that the order is the same.

    Raises:
        UserError: a missing or foreign file, an unknown column, or labels in another order.
    """
    columns = read_columns(path)
    if column not in columns or column == "clean_label":
        known = [name for name in columns if name != "clean_label"]
        raise UserError(
            f"noise.column is {column!r}; {path} holds {', '.join(known)}{nearest(column, known)}"
        )
    clean = columns.get("clean_label")
    if clean is None or not np.array_equal(np.ravel(clean), true_labels):
        raise UserError(
            f"clean_label in {path} does not match the data set's labels; it belongs to another data set, or "
            "the images are not in the official order"
        )
    return np.ravel(columns[column]).astype(np.int32)


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the file by name, without running anything that the file asks for."""
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise UserError(f"noise.path {path} cannot be read: {error.strerror}") from error
    try:
        value = _unpickle(blob)
    except UserError:
        raise
    except Exception as error:
        # A damaged pickle fails in many ways.
        raise UserError(f"{path} cannot be read as a .pt file ({error})") from error
    if not isinstance(value, dict) or not all(isinstance(a, np.ndarray) for a in value.values()):
        raise UserError(f"{path} must hold a dict of NumPy arrays, as the authors' files do")
    return value


def _unpickle(blob: bytes) -> object:
    if zipfile.is_zipfile(io.BytesIO(blob)):
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            member = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            return _ArraysOnly(io.BytesIO(archive.read(member))).load()
    stream = io.BytesIO(blob)
    value = _ArraysOnly(stream).load()
    if value == _LEGACY_MAGIC:
        for _ in range(3):
            value = _ArraysOnly(stream).load()
    return value


class _ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays, their dtypes and plain containers."""

    def find_class(self, module: str, name: str) -> object:
        module = module.replace("numpy.core", "numpy._core")
        if (module, name) == ("numpy._core.multiarray", "_reconstruct"):
            return _reconstruct
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return _dtype
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise UserError(
            f"the file asks for {module}.{name}; only NumPy arrays are read from .pt files, and it may be "
            "malicious"
        )


def _reconstruct(kind: type, shape: tuple, type_code: bytes) -> np.ndarray:
    if kind is not np.ndarray:
        raise UserError("the file holds a subclass of numpy.ndarray; only plain arrays are read")
    # The pickle sets shape, type and content right after; what it asks for here is not trusted.
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _dtype(code: str, *args: object) -> np.dtype:
    dtype = np.dtype(code, *args)
    if dtype.hasobject:
        raise UserError("the file holds an array of Python objects; only numbers are read")
    return dtype


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 2 style pickles of protocol 2 carry bytes."""
    if encoding != "latin1":
        raise UserError(f"the file encodes bytes as {encoding!r}; only 'latin1' is read")
    return text.encode("latin1")
