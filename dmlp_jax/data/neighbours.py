"""Finds the nearest rows of every row by brute force, in blocks: exact, with bounded memory.

`sklearn.neighbors` gives the same, but its import alone takes longer than the search among ten thousand rows.
Inside jit there is `training/neighbours.py`.

Selecting by `np.argpartition` among all products of a row takes several times as long as the products. So
these are cut into groups: the k largest products lie in the k groups whose maxima are largest.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

# Columns of a group of products; products of a block in memory; columns that one call of BLAS multiplies,
# whose results are still in the cache when their maxima are taken; most rows of a block.
GROUP, BLOCK, COLUMNS, ROWS = 32, 2**24, 4_096, 512
# Blocks that are searched at the same time, where there are as many processors.
THREADS = 4
# The product with a column that holds no row, below that with any row.
_NONE = np.float32(-1e30)


def nearest(rows: np.ndarray, count: int, others: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Distances [n, k] and numbers [n, k] of the k nearest other rows of each row, the nearest first.

    Neighbours are chosen in float32 by x^T y - |y|^2 / 2, so rows whose distances differ by less than 1e-3 of
    their lengths may be taken for each other. Distances come from differences: equal rows have 0.

    Args:
        rows: [n, d], float32.
        count: k, at least 1 and at most the number of rows to choose from.
        others: rows to choose from [m, d], float32; by default `rows` without the row itself.
    """
    targets = rows if others is None else others
    tiles, width, group = _layout(len(targets), count)
    blocks = np.zeros((tiles * width, rows.shape[1] + 1), np.float32)
    blocks[: len(targets), :-1] = targets
    blocks[:, -1] = _NONE
    blocks[: len(targets), -1] = -0.5 * np.einsum("md,md->m", targets, targets)
    blocks = blocks.reshape(tiles, width, -1)
    size = max(1, min(ROWS, BLOCK // (tiles * width), BLOCK // (count * rows.shape[1])))
    distances = np.empty((len(rows), count), np.float32)
    numbers = np.empty((len(rows), count), np.int64)

    def search(start: int) -> None:
        part = rows[start : start + size]
        itself = np.arange(start, start + len(part)) if others is None else None
        chosen = _largest(part, blocks, count, group, itself)
        apart = np.linalg.norm(targets[chosen] - part[:, None], axis=2)
        order = np.argsort(apart, axis=1, kind="stable")
        distances[start : start + size] = np.take_along_axis(apart, order, axis=1)
        numbers[start : start + size] = np.take_along_axis(chosen, order, axis=1)

    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as threads:
        for _ in threads.map(search, range(0, len(rows), size)):
            pass
    return distances, numbers


def _layout(rows: int, count: int) -> tuple[int, int, int]:
    """How many tiles of how many columns hold the rows, and the columns of a group."""
    # There must be more groups than neighbours, or nothing is left out.
    group = GROUP if rows >= 4 * GROUP * count else 1
    width = min(COLUMNS, -(-rows // group) * group)
    return -(-rows // width), width, group


def _largest(
    part: np.ndarray, blocks: np.ndarray, count: int, group: int, itself: np.ndarray | None
) -> np.ndarray:
    """Numbers [b, k] of the rows whose products with each row are largest, in no order.

    Args:
        part: the rows [b, d].
        blocks: rows to choose from, and minus half their squared lengths, [tiles, width, d + 1].
        count: k.
        group: columns of a group.
        itself: the number that each row must not choose [b], or None.
    """
    tiles, width = blocks.shape[:2]
    groups = width // group
    place = np.arange(len(part))
    part = np.concatenate([part, np.ones((len(part), 1), np.float32)], axis=1)
    products = np.empty((tiles, len(part), width), np.float32)
    maxima = np.empty((len(part), tiles, groups), np.float32)
    for tile, block in enumerate(blocks):
        found = np.matmul(part, block.T, out=products[tile])
        if itself is not None:
            here = itself // width == tile
            found[place[here], itself[here] - tile * width] = -np.inf
        # Column j is in group j mod `groups`: maxima of whole stretches of columns are fast.
        maxima[:, tile] = found.reshape(len(part), group, groups).max(axis=1)
    best = _top(maxima.reshape(len(part), -1), count)
    tile, column = best // groups, best % groups
    columns = column[..., None] + groups * np.arange(group)
    members = products[tile[..., None], place[:, None, None], columns].reshape(len(part), -1)
    numbers = (tile[..., None] * width + columns).reshape(len(part), -1)
    return np.take_along_axis(numbers, _top(members, count), axis=1)


def _top(values: np.ndarray, count: int) -> np.ndarray:
    """Columns [b, k] of the largest values [b, m]."""
    return np.argpartition(values, values.shape[1] - count, axis=1)[:, values.shape[1] - count :]
