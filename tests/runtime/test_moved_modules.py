"""Imports and pickles from before the modules moved."""

import base64
import importlib
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.exceptions import InconsistentVersionWarning

import dmlp_jax
from dmlp_jax.interop.sklearn import LabelPurifier
from dmlp_jax.runtime import moved_modules
from tests.conftest import make_blobs

# Made by the code before the move, see the file's neighbour.
PICKLE = Path(__file__).parents[1] / "interop" / "data" / "label_purifier_0.1.0.pickle.base64"


@pytest.fixture
def forgotten(monkeypatch):
    """The old names as a new process finds them."""
    for old in moved_modules.MOVED:
        monkeypatch.delitem(sys.modules, old, raising=False)


@pytest.mark.parametrize(("old", "new"), moved_modules.MOVED.items())
def test_an_old_import_gives_the_very_module_of_today(forgotten, old, new):
    module = importlib.import_module(new)
    spec, loader = module.__spec__, module.__loader__
    for _ in range(2):
        assert importlib.import_module(old) is module
    assert module.__spec__ is spec
    assert module.__spec__.name == module.__name__ == new
    assert module.__loader__ is loader
    assert sys.modules[new] is module


def test_old_names_of_the_package_and_its_rooms(forgotten):
    from dmlp_jax.estimator import LabelPurifier as Old

    from dmlp_jax import estimator, likely_clean
    from dmlp_jax.purifier import likely_clean as today
    from dmlp_jax.purifier import scaling
    from dmlp_jax.purifier.rows import scaling as scaling_today

    assert Old is estimator.LabelPurifier
    assert estimator is sys.modules["dmlp_jax.interop.sklearn"]
    assert likely_clean is today
    assert scaling is scaling_today


def test_other_names_are_as_unknown_as_before():
    with pytest.raises(ModuleNotFoundError, match=r"dmlp_jax\.estimators"):
        importlib.import_module("dmlp_jax.estimators")
    with pytest.raises(AttributeError, match="estimators"):
        dmlp_jax.estimators  # noqa: B018


def test_a_second_installation_changes_nothing():
    before = list(sys.meta_path)
    moved_modules.install()
    assert sys.meta_path == before


def test_an_old_pickle_predicts_what_its_own_arrays_say(forgotten):
    content = base64.decodebytes(PICKLE.read_bytes())
    assert b"dmlp_jax.estimator" in content
    with warnings.catch_warnings():
        # It names the version of scikit-learn that it was made with.
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        purifier = pickle.loads(content)
    assert type(purifier) is LabelPurifier
    assert purifier.classes_.tolist() == ["ant", "bee", "cat"]
    features = make_blobs(0, rows=60, val_rows=12, width=4)[0]
    rows = np.float64(features) - purifier.mean_
    assert purifier.row_length_ == 2.0
    rows *= purifier.row_length_ / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = softmax(rows @ purifier.coef_.T + purifier.intercept_, axis=1)
    np.testing.assert_allclose(purifier.predict_proba(features), expected, atol=1e-5)
    predicted = purifier.predict(features)
    np.testing.assert_array_equal(predicted, purifier.classes_[expected.argmax(axis=1)])
    # The rows that it was fitted to.
    assert np.mean(predicted == purifier.labels_) > 0.9
