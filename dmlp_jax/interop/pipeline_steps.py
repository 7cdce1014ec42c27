"""Notices clean rows that have not gone through the earlier steps of a scikit-learn Pipeline.

A Pipeline transforms X only. What goes to `fit` beside it, such as X_val, it passes on untouched, unless its
`transform_input` names it. Standardised, scaled and normalised rows can be told by their numbers.
"""

import numpy as np

# How exactly the training rows must have the numbers of a scaler, in units of 1.
_EXACT = 1e-3
# Ratio of deviations, and shift in deviations, that the median column of fitting clean rows does not have.
_RATIO, _SHIFT = 2.0, 1.0
# Most rows of a matrix that are looked at.
_ROWS = 20_000

REMEDY = (
    "a Pipeline transforms X but not X_val. Name it there: sklearn.set_config(enable_metadata_routing=True) "
    "and Pipeline(steps, transform_input=['X_val']), or transform both before fit"
)


def untransformed(train: np.ndarray, clean: np.ndarray) -> str | None:
    """A sentence if the training rows were transformed and the clean rows were not; None otherwise.

    Args:
        train: features of the training rows [n, d]; rows on disk are not looked at.
        clean: features of the clean rows [m, d], m >= 2.
    """
    if isinstance(train, np.memmap) or len(train) > _ROWS or min(len(train), len(clean)) < 2:
        return None
    train, clean = np.asarray(train, np.float64), np.asarray(clean, np.float64)
    for what, is_so, is_not in (
        (
            "have mean 0 and deviation 1 in every column, as StandardScaler leaves them",
            _standard,
            _not_standard,
        ),
        ("span exactly 0 to 1 in every column, as MinMaxScaler leaves them", _unit_range, _not_unit_range),
        ("have length 1, as Normalizer leaves them", _unit_length, _not_unit_length),
    ):
        if is_so(train) and is_not(clean):
            return f"The training rows {what}, but the clean rows (X_val) do not: {REMEDY}."
    return None


def _varied(values: np.ndarray) -> np.ndarray:
    """The columns of [n, k] that are not constant."""
    return values[:, values.min(axis=0) < values.max(axis=0)]


def _standard(values: np.ndarray) -> bool:
    values = _varied(values)
    if not values.size:
        return False
    return bool(
        (np.abs(values.mean(axis=0)) < _EXACT).all() and (np.abs(values.std(axis=0) - 1) < _EXACT).all()
    )


def _not_standard(values: np.ndarray) -> bool:
    deviation = np.maximum(values.std(axis=0), 1e-12)
    ratio = np.exp(np.median(np.abs(np.log(deviation))))
    return bool(ratio > _RATIO or np.median(np.abs(values.mean(axis=0))) > _SHIFT)


def _unit_range(values: np.ndarray) -> bool:
    values = _varied(values)
    if not values.size:
        return False
    return bool(
        (np.abs(values.min(axis=0)) < _EXACT).all() and (np.abs(values.max(axis=0) - 1) < _EXACT).all()
    )


def _not_unit_range(values: np.ndarray) -> bool:
    return bool(np.mean((values < -0.5) | (values > 1.5)) > 0.1)


def _unit_length(values: np.ndarray) -> bool:
    return bool((np.abs(np.linalg.norm(values, axis=1) - 1) < _EXACT).all())


def _not_unit_length(values: np.ndarray) -> bool:
    return bool(np.median(np.abs(np.linalg.norm(values, axis=1) - 1)) > 0.05)
