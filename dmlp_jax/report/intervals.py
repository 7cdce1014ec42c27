"""Computes confidence intervals and standard errors of proportions."""

import numpy as np

# Half width of a 95 % interval in standard errors.
Z = 1.959964


def wilson(hits: np.ndarray | float, count: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval of a proportion (Wilson 1927), which stays in [0, 1] and is never empty.

    Args:
        hits: number of hits [...]; sums of weights are allowed.
        count: number of trials [...]; 0 gives the interval from 0 to 1.

    Returns:
        Lower and upper limit, [...].
    """
    hits, count = np.asarray(hits, np.float64), np.asarray(count, np.float64)
    total = np.maximum(count, np.finfo(np.float64).tiny)
    share = np.clip(hits / total, 0, 1)
    centre = (hits + Z**2 / 2) / (count + Z**2)
    half = Z * np.sqrt(count * share * (1 - share) + Z**2 / 4) / (count + Z**2)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def standard_error(share: float, count: int) -> float:
    """Standard error of a share of `count` rows, from (hits + 2) / (count + 4) (Agresti and Coull 1998).

    The usual formula gives 0 for a share of 0 or 1, however few the rows are.
    """
    middle = (share * count + 2) / (count + 4)
    return float(np.sqrt(middle * (1 - middle) / (count + 4)))
