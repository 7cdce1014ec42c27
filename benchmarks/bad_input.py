"""Tabulates what dmlp_jax does with bad input: an error, or labels.

    python benchmarks/bad_input.py

The cases were first tried on cleanlab 2.9. Inputs of its `find_label_issues` are given to `purify`, those of
its `CleanLearning` to `LabelPurifier`, those of its `Datalab` to `dmlp-purify`. An outcome is either an
error, with its type and message, or labels.
"""

import contextlib
import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import markdown, write

from dmlp_jax import LabelPurifier, PurifyConfig, purify
from dmlp_jax.cli import command
from dmlp_jax.storage import files

STEPS = 13


class Data(NamedTuple):
    """A labelling problem of 300 rows in three clusters, 30 % of the labels drawn at random."""

    features: np.ndarray
    labels: np.ndarray
    val_features: np.ndarray
    val_labels: np.ndarray


class Case(NamedTuple):
    """One bad input.

    Attributes:
        name: face and input.
        run: gives a sentence about the result, or raises.
        words: must occur in the outcome.
        fails: whether it is an error.
    """

    name: str
    run: Callable[[], str]
    words: tuple[str, ...]
    fails: bool


def make_data(rows: int = 300, seed: int = 0) -> Data:
    """The problem."""
    rng = np.random.default_rng(seed)
    true = np.concatenate([rng.integers(3, size=rows), np.arange(30) % 3])
    features = (rng.normal(size=(rows + 30, 16)) + 3 * np.eye(3, 16)[true]).astype(np.float32)
    given = np.where(rng.random(rows) < 0.3, rng.integers(3, size=rows), true[:rows])
    return Data(features[:rows], given, features[rows:], true[rows:])


def changed(array: np.ndarray, place: object, value: object, kind: type | None = None) -> np.ndarray:
    """A copy with another value at a place."""
    array = np.array(array, dtype=kind)
    array[place] = value
    return array


def on_purify(data: Data, **changes: object) -> str:
    """The outcome of `purify`."""
    options = {name: changes.pop(name) for name in ("num_classes",) if name in changes}
    data = data._replace(**changes)
    val = (data.val_features, data.val_labels)
    result = purify(data.features, data.labels, val, config=PurifyConfig(steps=STEPS), **options)
    return _described(np.asarray(result.probs), int(np.sum(result.changed)))


def on_estimator(data: Data, **changes: object) -> str:
    """The outcome of `LabelPurifier`, without a clean set where `val_labels` is None."""
    data = data._replace(**changes)
    purifier = LabelPurifier(steps=STEPS, random_state=0)
    clean = {} if data.val_labels is None else {"X_val": data.val_features, "y_val": data.val_labels}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        purifier.fit(data.features, data.labels, **clean)
    return _described(purifier.label_distributions_, int(purifier.changed_.sum()))


def on_command(data: Data, **changes: object) -> str:
    """The outcome of `dmlp-purify` on .npy files, and on .txt for labels that are Python objects."""
    data = data._replace(**changes)
    with tempfile.TemporaryDirectory() as name:
        folder, err = Path(name), io.StringIO()
        paths = {}
        for field, array in data._asdict().items():
            paths[field] = folder / f"{field}.npy"
            if array.dtype == object:
                paths[field] = folder / f"{field}.txt"
                files.save_text(paths[field], "\n".join("" if v is None else str(v) for v in array) + "\n")
            else:
                np.save(paths[field], array)
        arguments = [paths["features"], paths["labels"], "--val-features", paths["val_features"]]
        arguments += ["--val-labels", paths["val_labels"], "--out", folder / "out"]
        with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
            status = command.main(list(map(str, arguments)))
        if status:
            if (folder / "out").exists():
                raise AssertionError("something was written")
            message = err.getvalue().strip().replace(f"{folder}/", "")
            raise SystemExit(f"status {status}, {message}")
        stored = files.load_npz(folder / "out" / "purified.npz")
        return _described(stored["probs"], int(stored["changed"].sum()))


def _described(probs: np.ndarray, count: int) -> str:
    valid = np.isfinite(probs).all() and np.allclose(probs.sum(axis=1), 1, atol=1e-4) and probs.min() >= 0
    if not valid:
        raise AssertionError("the labels are no distributions")
    return f"{count} of {len(probs)} labels changed"


def make_cases() -> list[Case]:
    """The 29 cases."""
    data = make_data()
    soft = np.where(np.eye(3)[data.labels] > 0, 0.8, 0.1)
    names = np.array(["ant", "bee", "cat"])
    small = make_data(4)
    one = np.zeros_like(data.labels)
    few = changed(np.where(data.labels == 2, 0, data.labels), 5, 2)
    no_two = np.where(data.labels == 2, 0, data.labels)
    gap, val_gap = 2 * np.minimum(data.labels, 1), 2 * np.minimum(data.val_labels, 1)
    fails = (
        ("purify: NaN in labels [n, c]", on_purify, {"labels": changed(soft, (7, 1), np.nan)}, "labels[7]"),
        (
            "purify: probabilities outside [0, 1]",
            on_purify,
            {"labels": changed(soft, 7, [1.5, -0.5, 0])},
            "labels[7]",
        ),
        (
            "purify: rows not summing to 1",
            on_purify,
            {"labels": changed(soft, 7, [0.5, 0.1, 0])},
            "labels[7]",
        ),
        ("purify: length mismatch", on_purify, {"labels": data.labels[:-1]}, "labels has 299 rows"),
        (
            "purify: label 7 of 3 classes",
            on_purify,
            {"labels": changed(data.labels, 9, 7), "num_classes": 3},
            "labels[9] is 7",
        ),
        ("purify: label -1", on_purify, {"labels": changed(data.labels, 4, -1)}, "labels[4] is -1"),
        ("purify: float labels 0.5", on_purify, {"labels": data.labels + 0.5}, "labels[0]"),
        ("purify: string labels", on_purify, {"labels": names[data.labels]}, "numpy.unique"),
        (
            "purify: NaN label",
            on_purify,
            {"labels": changed(data.labels, 4, np.nan, float)},
            "labels[4] is nan",
        ),
        (
            "purify: one class only",
            on_purify,
            {"labels": one, "val_labels": 0 * data.val_labels},
            "two classes",
        ),
        ("purify: empty", on_purify, {"features": data.features[:0], "labels": data.labels[:0]}, "features"),
        (
            "dmlp-purify: NaN features",
            on_command,
            {"features": changed(data.features, (7, 2), np.nan)},
            "row 7, column 2",
        ),
        (
            "dmlp-purify: infinite features",
            on_command,
            {"features": changed(data.features, (7, 2), np.inf)},
            "row 7, column 2",
        ),
        ("dmlp-purify: length mismatch", on_command, {"features": data.features[:-1]}, "299 rows"),
        ("dmlp-purify: 1-D features", on_command, {"features": data.features[:, 0]}, "matrix"),
        (
            "dmlp-purify: missing label",
            on_command,
            {"labels": changed(names[data.labels], 4, None, object), "val_labels": names[data.val_labels]},
            "labels[4] is missing",
        ),
        (
            "dmlp-purify: one class only",
            on_command,
            {"labels": one, "val_labels": 0 * data.val_labels},
            "two classes",
        ),
        (
            "dmlp-purify: all features identical",
            on_command,
            {"features": np.ones_like(data.features)},
            "all 300 rows are the same",
        ),
        (
            "LabelPurifier: NaN features",
            on_estimator,
            {"features": changed(data.features, (7, 2), np.nan)},
            "X[7, 2] is nan",
        ),
        ("LabelPurifier: length mismatch", on_estimator, {"features": data.features[:-1]}, "299 rows"),
    )
    works = (
        ("purify: normal", on_purify, {}),
        ("purify: class 2 absent from the given labels", on_purify, {"labels": no_two}),
        ("purify: class with 1 example", on_purify, {"labels": few}),
        (
            "dmlp-purify: string labels",
            on_command,
            {"labels": names[data.labels], "val_labels": names[data.val_labels]},
        ),
        ("dmlp-purify: class with 1 example", on_command, {"labels": few}),
        ("dmlp-purify: 4 examples", on_command, {"features": small.features, "labels": small.labels}),
        (
            "LabelPurifier: class with 1 example, no clean set",
            on_estimator,
            {"labels": few, "val_labels": None},
        ),
        ("LabelPurifier: labels {0, 2}", on_estimator, {"labels": gap, "val_labels": val_gap}),
        (
            "LabelPurifier: string labels",
            on_estimator,
            {"labels": names[data.labels], "val_labels": names[data.val_labels]},
        ),
    )
    cases = [Case(name, _bound(face, data, changes), (words,), True) for name, face, changes, words in fails]
    return cases + [
        Case(name, _bound(face, data, changes), ("labels changed",), False) for name, face, changes in works
    ]


def _bound(face: Callable[..., str], data: Data, changes: dict[str, object]) -> Callable[[], str]:
    return lambda: face(data, **changes)


def outcome(case: Case) -> tuple[bool, str]:
    """Whether the case failed, and the result or the error in a line."""
    try:
        return False, case.run()
    except SystemExit as error:
        return True, str(error)
    except ValueError as error:
        return True, f"{type(error).__name__}: {' '.join(str(error).split())}"


def main() -> None:
    """Runs the cases and writes benchmarks/results/bad_input.md."""
    rows = []
    for case in make_cases():
        _, text = outcome(case)
        rows.append([case.name, text.replace("|", "\\|")])
        print(" | ".join(rows[-1]), flush=True)
    write("bad_input", "How dmlp_jax handles bad input", markdown(["input", "outcome"], rows))


if __name__ == "__main__":
    main()
