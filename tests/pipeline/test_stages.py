"""What the stages hand on."""

import numpy as np
import pytest

from dmlp_jax.pipeline import pipeline, stages
from tests.conftest import make_blobs
from tests.pipeline.test_own_features import own_config, write_own_features

VAL_LABELS = make_blobs(0)[2][1]
VAL_GIVEN = np.where(np.arange(30) < 5, -1, (VAL_LABELS + (np.arange(30) < 10)) % 3)
VAL_RANDOM = np.arange(30) % 2 == 0


class HeardError(Exception):
    """Ends a run that would purify."""


@pytest.fixture
def heard(monkeypatch, tmp_path):
    """A function that says which keywords `purify` would get from a run on one's own features."""
    write_own_features(tmp_path / "own.npz", val_given_labels=VAL_GIVEN, val_random=VAL_RANDOM)
    found = {}

    def purify(*_, **known):
        found.update(known)
        raise HeardError

    monkeypatch.setattr(stages, "purify", purify)

    def run(workdir="w", **changes):
        with pytest.raises(HeardError):
            pipeline.run(own_config(tmp_path / "own.npz", stages="purify", **changes), tmp_path / workdir)
        return found

    return run


def test_the_default_preset_gets_the_given_labels_of_clean_rows(heard):
    found = heard()
    np.testing.assert_array_equal(found["val_given_labels"], VAL_GIVEN)
    np.testing.assert_array_equal(found["val_random"], VAL_RANDOM)
    assert heard("off", **{"val.given_labels": False})["val_given_labels"] is None


def test_the_paper_preset_gets_them_only_where_asked_for(heard):
    paper = {"purify.preset": "paper"}
    assert heard(**paper)["val_given_labels"] is None
    found = heard("on", **paper, **{"val.given_labels": True})
    np.testing.assert_array_equal(found["val_given_labels"], VAL_GIVEN)
