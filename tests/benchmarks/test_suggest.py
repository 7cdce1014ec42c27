"""What chooses rows in benchmarks/suggest.py, and its tables."""

import importlib
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """Imports a module of benchmarks/."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.fixture
def first(module):
    """Three clusters of rows; every tenth given label is wrong. Nothing is reviewed yet."""
    rng = np.random.default_rng(0)
    true = np.arange(300) % 3
    given = np.where(np.arange(300) % 10 == 0, (true + 1) % 3, true)
    features = (rng.normal(size=(300, 6)) + 4 * np.eye(3, 6)[true]).astype(np.float32)
    data = module("human_noise_sets").Labelled(features, given, true)
    everything = np.arange(300)
    return module("suggest").Round(data, 0, everything[:0], everything, None, 24)


def assert_choice(chosen, state):
    rows, random = chosen
    assert len(rows) == len(random) == state.count
    assert len(np.unique(rows)) == state.count
    assert np.isin(rows, state.rest).all()


def test_rows_come_from_those_that_are_not_reviewed(module, first):
    suggest = module("suggest")
    rng = np.random.default_rng(1)
    left = np.arange(40, 300)
    result = SimpleNamespace(confidence=rng.random(260), label_quality=rng.random(260))
    second = first._replace(reviewed=np.arange(40), rest=left, result=result)
    has_cleanlab = importlib.util.find_spec("cleanlab") is not None
    for method in ("chance", "suspects", *(["ActiveLab"] if has_cleanlab else [])):
        for state in (first, second):
            assert_choice(suggest.METHODS[method](state), state)
    assert suggest.by_chance(second)[1].all()
    lowest = left[np.argsort(result.label_quality)[:24]]
    np.testing.assert_array_equal(suggest.by_suspicion(second)[0], lowest)


def test_active_lab_finds_rows_whose_label_is_against_the_features(module, first):
    pytest.importorskip("cleanlab")
    rows, _ = module("suggest").by_active_lab(first)
    assert np.mean(rows % 10 == 0) > 0.9


def test_every_class_gets_a_row(module):
    suggest = module("suggest")
    true = np.array([0, 0, 0, 0, 1, 1, 2])
    rows = suggest.with_every_class(true, np.array([0, 1, 2, 4]))
    assert set(true[rows]) == {0, 1, 2}
    assert len(set(rows)) == 4
    np.testing.assert_array_equal(suggest.with_every_class(true, np.array([6, 5, 3])), [6, 5, 3])


def test_tables_compare_with_chance(module, tmp_path):
    tables = module("suggest_tables")
    curves = {"suggestion": [0.80, 0.84, 0.88, 0.89, 0.92], "chance": [0.80, 0.82, 0.84, 0.85, 0.87]}
    runs = [
        {
            "case": "news", "seed": seed, "method": method, "rows": 5000,
            "accuracy": [value + 0.01 * seed * (method == "chance") for value in curve],
            "unreviewed": curve, "claimed": [None, *(value + 0.02 for value in curve[1:])],
        }
        for seed in (1, 0) for method, curve in curves.items()
    ]  # fmt: skip
    text = tables.text(runs)
    assert "| news | suggestion | 80.0 ± 0.0 | 84.0 ± 0.0 |" in text
    assert "| news | chance | 80.5 ± 0.7 |" in text
    # By seed: 0.8 less 0.8 and 0.8 less 0.81; 200 rows against 320 are 0.89 less 0.87 and 0.89 less 0.88.
    assert (
        "| news | -0.50 ± 0.50 | +1.50 ± 0.50 | +3.50 ± 0.50 | +3.50 ± 0.50 | +4.50 ± 0.50 | +1.50 ± 0.50 |"
        in (text)
    )
    assert "| news | suggestion | - | 2.0 ± 0.0 |" in text
    tables.draw(runs, tmp_path / "curve.svg")
    assert (tmp_path / "curve.svg").read_text().count("reviewed rows") >= 1
