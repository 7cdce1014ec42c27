"""Makes sentences for users of the numbers in `PurifyResult.diagnostics`: what is wrong, what to do."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Classes with fewer clean rows are named.
FEW_ROWS = 3
# Share of a row's squared length from which on an offset of the clean rows matters.
OFFSET_SHARE = 0.15
# Ratio of the root mean square lengths from which on clean rows are on another scale. Class shares of their
# own make it up to 5, where few rows of a rare class are far away.
SCALE = 8.0
# Least number and share of doubtful clean rows that are told, and how far beyond chance.
DOUBTFUL_ROWS = 3
DOUBTFUL_SHARE = 0.02
# Standard errors and points from which on the estimated noise is another than that of reviewed rows.
NOISE_ERRORS, NOISE_POINTS = 3.0, 0.02
# Most classes or rows that a sentence names.
NAMED = 10


def sentences(diagnostics: Mapping[str, Any], class_names: Sequence[Any] | None = None) -> tuple[str, ...]:
    """The sentences, the gravest first; empty where the numbers are those of ordinary rows.

    Args:
        diagnostics: see `PurifyResult.diagnostics`; numbers that are absent, as in files of earlier versions,
            warn of nothing.
        class_names: names of the classes [c]; their indices by default.
    """
    values = {name: np.asarray(value) for name, value in diagnostics.items()}
    found = (
        _outliers(values),
        _elsewhere(values),
        _uninformative(values),
        _doubtful(values),
        _other_noise(values),
        _none_random(values),
        _few_clean_rows(values, class_names),
        _given_unknown(values),
    )
    return tuple(text for text in found if text is not None)


def _outliers(values: dict[str, np.ndarray]) -> str | None:
    rows, clean = (int(values.get(name, 0)) for name in ("outlier_rows", "outlier_clean_rows"))
    if not rows + clean:
        return None
    where = []
    if rows:
        where.append(f"{rows:,} training row{'s' * (rows > 1)} ({int(values['outlier_values']):,} values)")
    if clean:
        where.append(f"{clean:,} clean row{'s' * (clean > 1)}")
    return (
        f"{' and '.join(where)} hold numbers far beyond all others, like those that stand for a missing "
        "value. They were treated as missing, at the mean. Look for the largest numbers, and repair or "
        "remove these rows."
    )


def _elsewhere(values: dict[str, np.ndarray]) -> str | None:
    """One sentence only: rows of another scale lie elsewhere, too."""
    return _scale(values) or _offset(values)


def _uninformative(values: dict[str, np.ndarray]) -> str | None:
    if values.get("informative", True):
        return None
    return (
        "The features tell the classes of held-out clean rows no better than chance, so they cannot tell "
        "which labels are wrong; the default preset returns the given labels. Check that features and labels "
        "are in the same order, take an encoder that separates the classes, or add clean rows."
    )


def _scale(values: dict[str, np.ndarray]) -> str | None:
    clean, train = (float(values.get(name, 0)) for name in ("clean_length", "train_length"))
    # Rows that are all equal have no scale.
    if min(clean, train) <= 0 or 1 / SCALE < clean / train < SCALE:
        return None
    times = f"{clean / train:,.0f} times larger" if clean > train else f"{train / clean:,.0f} times smaller"
    return (
        f"The clean rows (val, X_val) vary on another scale than the training rows, {times}. Scale both the "
        "same way; a scikit-learn Pipeline scales X but not X_val."
    )


def _offset(values: dict[str, np.ndarray]) -> str | None:
    if "offset_share" not in values:
        return None
    if values["offset_share"] < OFFSET_SHARE or values["offset_ratio"] < values["offset_limit"]:
        return None
    return (
        "The clean rows (val, X_val) do not look like the training rows: their features lie elsewhere "
        f"on average, by {_percent(values['offset_share'])} of a row's variance. Take both from the same "
        "encoder and scale both the same way; a scikit-learn Pipeline scales X but not X_val."
    )


def _doubtful(values: dict[str, np.ndarray]) -> str | None:
    if "doubtful_clean_rows" not in values:
        return None
    rows = np.flatnonzero(values["doubtful_clean_rows"])
    chance = float(values["doubtful_by_chance"])
    least = max(DOUBTFUL_ROWS, DOUBTFUL_SHARE * len(values["doubtful_clean_rows"]))
    if len(rows) < least or len(rows) <= 5.0 * chance + 4.0 * chance**0.5:
        return None
    return (
        f"{len(rows):,} of the {len(values['doubtful_clean_rows']):,} clean rows probably have wrong labels: "
        "classifiers that did not train on them are sure of another class. Check the clean rows "
        f"{_listed(rows)}, counted from 0, and correct or remove them."
    )


def _other_noise(values: dict[str, np.ndarray]) -> str | None:
    if float(values.get("noise_counted_error", -1)) < 0:
        return None
    estimated, counted = float(values["noise_estimated"]), float(values["noise_counted"])
    error = float(values["noise_counted_error"])
    if abs(estimated - counted) <= max(NOISE_ERRORS * error, NOISE_POINTS):
        return None
    return (
        f"By the purifier's estimate {100 * estimated:.1f} % of the given labels of the training rows are "
        f"wrong, but on the reviewed rows {100 * counted:.1f} % ± {100 * error:.1f} % were. Perhaps some "
        "reviewed rows were not drawn at random: say which with val_random. Or they come from another source "
        "than the training rows, or their labels before review are in another order or corrected already."
    )


def _none_random(values: dict[str, np.ndarray]) -> str | None:
    if values.get("random_rows", 1):
        return None
    return (
        "None of the clean rows was drawn at random, so no accuracy is counted: mistakes among picked rows "
        "do not show how frequent mistakes are. Review some rows that are drawn at random, and say which "
        "they are with val_random."
    )


def _given_unknown(values: dict[str, np.ndarray]) -> str | None:
    if values.get("given_known", 1):
        return None
    return (
        "The accuracy of the purified labels is an assumption, since nothing says how far given labels can "
        "be trusted: give the labels that the clean rows had before review (val_given_labels), which also "
        "decide whether labels that people gave are corrected at all."
    )


def _few_clean_rows(values: dict[str, np.ndarray], names: Sequence[Any] | None) -> str | None:
    if "clean_class_rows" not in values:
        return None
    classes = np.flatnonzero(values["clean_class_rows"] < FEW_ROWS)
    if not classes.size:
        return None
    named = classes if names is None else [names[int(label)] for label in classes]
    noun, verb = ("Class", "has") if len(classes) == 1 else ("Classes", "have")
    return (
        f"{noun} {_listed(named)} of {len(values['clean_class_rows']):,} {verb} fewer than {FEW_ROWS} clean "
        "rows, so held-out scores say little about them. Add clean rows there."
    )


def _listed(things: Any) -> str:
    shown = ", ".join(str(thing) for thing in things[:NAMED])
    return f"{shown}, ..." if len(things) > NAMED else shown


def _percent(share: Any) -> str:
    return f"{100 * min(float(share), 1.0):.0f} %"
