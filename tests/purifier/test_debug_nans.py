"""A user who hunts a NaN of their own with `jax_debug_nans` is not stopped by one of ours."""

import jax
import numpy as np
import pytest

from dmlp_jax import PurifyConfig, purify
from dmlp_jax.purifier.base.scores import UNKNOWN
from tests.conftest import SHORT, accuracy

PAPER = PurifyConfig.paper(steps=45, ipc_batch_size=100, eac_batch_size=50)


@pytest.fixture(autouse=True)
def debug_nans():
    with jax.debug_nans(True):
        yield


@pytest.mark.parametrize("known", [False, True], ids=["given unknown", "given known"])
@pytest.mark.parametrize(
    "config", [SHORT, pytest.param(PAPER, marks=pytest.mark.slow)], ids=["default", "paper"]
)
def test_purify_runs_and_unknown_scores_are_nan(blobs, config, known):
    features, given, val, true = blobs
    found = purify(features, given, val, config=config, val_given_labels=val[1] if known else None)
    assert found.source in ("given" if known else "purified", "purified")
    if found.source == "purified":
        assert accuracy(found.labels, true) > accuracy(given, true)
    assert np.isnan(found.scores["given"]["cross_entropy"])
    assert np.isnan(found.scores["given"]["accuracy"]) == (not known)
    assert np.isnan(found.scores["purified"]["accuracy"]) == (config is PAPER)
    for leaf in jax.tree.leaves(found._replace(scores={})):
        assert not np.any(np.isnan(np.asarray(leaf, np.float64)))


@pytest.mark.parametrize("features", ["constant", "huge"])
def test_features_that_divide_by_zero(blobs, features):
    own, given, val, _ = blobs
    hostile = np.ones_like(own) if features == "constant" else own.copy()
    hostile[7, 3] = np.finfo(np.float32).max
    purify(hostile, given, val, config=SHORT)


@pytest.mark.slow
def test_inside_a_callers_program(blobs):
    features, given, val, _ = blobs
    own = jax.jit(lambda labels: purify(features, labels, val, num_classes=3, config=SHORT).scores)
    assert own(given)["given"]["accuracy"] == UNKNOWN


@pytest.mark.slow
def test_without_the_option_a_callers_program_has_nan(blobs):
    features, given, val, _ = blobs
    with jax.debug_nans(False):
        own = jax.jit(lambda labels: purify(features, labels, val, num_classes=3, config=SHORT).scores)
        assert np.isnan(own(given)["given"]["accuracy"])
