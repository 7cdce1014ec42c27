"""Labels of several annotators, through `purify`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax import InputError, PurifyConfig, accept, purify
from dmlp_jax.purifier.annotators import fit, held_out
from tests.conftest import accuracy
from tests.purifier.annotators.crowds import CLEAN, RIGHT, ROWS, C, crowd, majority


@pytest.fixture(scope="module")
def problem():
    return crowd(0)


@pytest.fixture(scope="module")
def alone(problem):
    features, votes, *_ = problem
    return purify(features, votes, None, num_classes=C)


@pytest.fixture(scope="module")
def with_clean(problem):
    features, votes, val, val_votes, _ = problem
    return purify(features, votes, val, num_classes=C, val_given_labels=val_votes)


def test_labels_are_better_than_the_majority_vote(problem, alone, with_clean):
    _, votes, _, _, true = problem
    before = accuracy(majority(votes), true)
    for found in (alone, with_clean):
        assert found.source == "purified"
        assert accuracy(found.labels, true) > before + 0.05
        np.testing.assert_array_equal(found.changed, np.asarray(found.labels) != majority(votes))
        np.testing.assert_allclose(found.probs.sum(axis=1), 1, atol=1e-5)
        wrong = majority(votes) != true
        assert np.mean(found.label_quality[wrong]) < 0.6 * np.mean(found.label_quality[~wrong])


def test_annotators_are_told_apart(alone, with_clean):
    for found in (alone, with_clean):
        assert found.annotator_transition.shape == (len(RIGHT), C, C)
        np.testing.assert_allclose(found.annotator_transition.sum(axis=2), 1, atol=1e-5)
        assert list(np.argsort(found.annotator_quality)) == [3, 2, 1, 0]
        np.testing.assert_allclose(found.annotator_quality, RIGHT, atol=0.12)


def test_no_accuracy_is_claimed_without_clean_rows(alone, with_clean):
    for name in ("purified", "given"):
        assert np.isnan(alone.scores[name]["accuracy"])
    assert not any(np.any(np.isnan(leaf)) for leaf in jax.tree.leaves(alone._replace(scores={})))
    assert alone.warnings == ()
    assert with_clean.scores["purified"]["accuracy"] > with_clean.scores["given"]["accuracy"]


def test_same_under_jit_and_from_disk(problem, alone, tmp_path):
    features, votes, *_ = problem
    traced = jax.jit(lambda x, g: purify(x, g, None, num_classes=C))(features, jnp.asarray(votes))
    # Outside rows are filled up, which changes rounding.
    np.testing.assert_allclose(traced.probs, alone.probs, atol=1e-3)
    np.save(tmp_path / "x.npy", features)
    mapped = purify(np.load(tmp_path / "x.npy", mmap_mode="r"), votes, None, num_classes=C)
    np.testing.assert_allclose(mapped.probs, alone.probs, atol=1e-3)


def test_labels_at_a_stated_risk(problem):
    """Rows that are set aside keep their votes."""
    features, votes, val, val_votes, true = problem
    found = purify(features, votes, val, num_classes=C, val_given_labels=val_votes, calibration=0.4)
    assert found.labels.shape == (ROWS,)
    assert found.calibration.right.shape == (int(0.4 * CLEAN),)
    taken = np.asarray(accept(found, 0.3).rows)
    assert taken.sum() > ROWS / 2
    assert accuracy(np.asarray(found.labels)[taken], true[taken]) > 0.7


def test_votes_that_repeat_each_other_weigh_less():
    """Two annotators who copy a third say no more than one of them."""
    rng = np.random.default_rng(0)
    rows, share = 4000, 0.7
    true = rng.integers(C, size=rows)

    def evidence(copies):
        one = np.where(rng.random(rows) < share, true, (true + rng.integers(1, C, size=rows)) % C)
        two = (
            one
            if copies
            else np.where(rng.random(rows) < share, true, (true + 1 + rng.integers(C - 1, size=rows)) % C)
        )
        rates = np.where(np.eye(C) > 0, share, (1 - share) / (C - 1))
        return np.log(rates[:, one].T), np.log(rates[:, two].T)

    weights = []
    for copies in (False, True):
        held, other = evidence(copies)
        # Predictions from the features: right in half of the rows, and calibrated.
        guess = np.where(rng.random(rows) < 0.5, true, rng.integers(C, size=rows))
        features = np.log(np.where(np.eye(C)[guess] > 0, 2 / 3, 1 / 6))
        nothing = np.zeros_like(features)
        stacked = np.stack([features, nothing, nothing, other], axis=-1).astype(np.float32)
        weight = np.full(rows, held_out.SAMPLE_WORTH / rows * 20, np.float32)
        fitted = fit.combine(
            jnp.asarray(stacked), jnp.zeros((0, C)), jnp.asarray(held, jnp.float32), jnp.asarray(weight),
            jnp.zeros((rows, C)),
        )  # fmt: skip
        weights.append(float(fitted.theta[-1]))
    assert weights[0] == pytest.approx(1, abs=0.15)
    # A copy predicts the held-out vote far better than an honest colleague would.
    assert weights[1] > weights[0] + 0.3


MALFORMED = {
    "one annotator": (lambda v: v[:, :1], "ravel"),
    "outside the classes": (lambda v: np.where(v == 2, 7, v), r"labels\[\d+, \d+\] is 7, outside"),
    "below -1": (lambda v: np.where(v == 2, -2, v), "is -2"),
    "one-hot": (lambda v: np.eye(C, dtype=int)[majority(v)], "argmax"),
    "a row without labels": (lambda v: np.where(np.arange(ROWS)[:, None] == 5, -1, v), r"labels\[5\] has no"),
    "an annotator without labels": (lambda v: np.c_[v, np.full(ROWS, -1)], r"labels\[:, 4\] has no label"),
    "a class that nobody gave": (lambda v: np.where(v == 1, 0, v), "no annotator gave class 1"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_votes_are_refused_by_name(problem, case):
    damage, message = MALFORMED[case]
    with pytest.raises(InputError, match=message):
        purify(problem[0], damage(problem[1]), None, num_classes=C)


def test_arguments_that_do_not_go_together(problem):
    features, votes, val, val_votes, _ = problem
    with pytest.raises(InputError, match="paper preset takes one label a row"):
        purify(features, votes, val, config=PurifyConfig.paper())
    with pytest.raises(InputError, match=r"val_given_labels has shape \(30,\).*4 annotators"):
        purify(features, votes, val, val_given_labels=val_votes[:, 0])
    with pytest.raises(InputError, match="calibration sets clean rows aside, but val is None"):
        purify(features, votes, None, calibration=0.5)
    with pytest.raises(InputError, match="val_given_labels is given, but val is None"):
        purify(features, votes, None, val_given_labels=val_votes)
    with pytest.raises(InputError, match="val is None: with one label a row"):
        purify(features, votes[:, 0].clip(0), None)
    assert len(val[1]) == CLEAN
