"""Finds rows whose features are equal to the last bit, by hashes, in one pass; rows may be on disk."""

from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

# Rows that are read at a time.
_CHUNK = 8_192


class EqualRows(NamedTuple):
    """Which rows are equal.

    Attributes:
        hashes: of the sets of equal rows, see `hashes`, [u]; most sets are single rows.
        first: number of the first row of each set [u].
        number: the set of each row [n], in [0, u).
        size: rows of each set [u].
    """

    hashes: np.ndarray
    first: np.ndarray
    number: np.ndarray
    size: np.ndarray


def find(features: Any) -> EqualRows:
    """The sets of equal rows of features [n, d], in float32, as the purifier sees them.

    Hashes have 64 bits: two different rows out of a million share one with a probability below 1e-7.
    """
    return EqualRows(*np.unique(hashes(features), return_index=True, return_inverse=True, return_counts=True))


def hashes(features: Any) -> np.ndarray:
    """BLAKE2 hashes of rows [n, d], [n] uint64."""
    found = np.empty(len(features), np.uint64)
    for start in range(0, len(features), _CHUNK):
        # Zero has two signs; adding zero makes it positive.
        rows = np.ascontiguousarray(features[start : start + _CHUNK], np.float32) + np.float32(0)
        digests = b"".join(blake2b(row, digest_size=8).digest() for row in rows)
        found[start : start + _CHUNK] = np.frombuffer(digests, np.uint64)
    return found
