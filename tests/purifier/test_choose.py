import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax import PurifyConfig, predict, purify
from dmlp_jax.purifier import PROBES, choose
from dmlp_jax.purifier.posterior import lda
from tests.conftest import SHORT, accuracy, make_blobs

RIGHT, WRONG = np.ones(200), np.zeros(200)
HALF = np.arange(200) % 2


@pytest.mark.parametrize(
    ("others", "option"),
    [
        ([WRONG, WRONG, WRONG], 0),
        ([HALF, HALF, HALF], 0),
        ([WRONG, RIGHT, HALF], 2),
        ([WRONG, np.maximum(HALF, np.arange(200) < 150), RIGHT], 3),
        ([WRONG, WRONG, WRONG, HALF], 0),
    ],
    ids=["all worse", "all equal", "one clearly better", "the best of two", "given labels equal"],
)
def test_a_baseline_must_be_clearly_better(others, option):
    assert int(choose.best_source(jnp.asarray(HALF), jnp.asarray(np.stack(others)))) == option


def test_given_labels_need_only_be_better():
    """One row more is no evidence, but not to touch the labels is the safe choice."""
    slightly = HALF.copy()
    slightly[0] = 1
    probe_and_given = [
        np.stack([WRONG, WRONG, other, given]) for other, given in [(slightly, WRONG), (WRONG, slightly)]
    ]
    found = [int(choose.best_source(jnp.asarray(HALF), jnp.asarray(others))) for others in probe_and_given]
    assert found == [0, 4]


@pytest.mark.parametrize(("better", "worse", "option"), [(3, 2, 0), (6, 1, 4)])
def test_after_reviewed_rounds_given_labels_must_be_better_by_a_standard_error(better, worse, option):
    """The purified labels know the given ones there: with three rows won and two lost the gain is chance.

    It is (better - worse) / 200, its standard error sqrt(better + worse) / 200.
    """
    given = HALF.copy()
    given[0 : 2 * better : 2] = 1
    given[1 : 2 * worse : 2] = 0
    others = jnp.asarray(np.stack([WRONG, WRONG, WRONG, given]))
    assert int(choose.best_source(jnp.asarray(HALF), others)) == 4
    assert int(choose.best_source(jnp.asarray(HALF), others, margin=1.0)) == option
    # Rows of weight 0 do not count, and all others equally here.
    wide = jnp.concatenate([others, jnp.ones((4, 100))], axis=1)
    hits = jnp.concatenate([jnp.asarray(HALF), jnp.zeros(100)])
    weight = jnp.concatenate([jnp.full(200, 2.0), jnp.zeros(100)])
    assert int(choose.best_source(hits, wide, weight, margin=1.0)) == option


def test_a_single_row_does_not_bring_the_given_labels_back():
    given = np.array(HALF)
    given[np.flatnonzero(given == 0)[0]] = 1
    others = jnp.asarray(np.stack([WRONG, WRONG, WRONG, given]))
    assert int(choose.best_source(jnp.asarray(HALF), others, margin=1.0)) == 0
    assert int(choose.best_source(jnp.asarray(HALF), others)) == 4


@pytest.mark.slow
def test_given_labels_that_are_known_to_be_right_are_kept():
    """A classifier on weak features would change some; the clean rows' given labels say not to."""
    features, _, (val_features, val_labels), true = make_blobs(1)
    weak = [
        (0.4 * x + np.random.default_rng(seed).normal(size=x.shape)).astype(np.float32)
        for seed, x in ((1, features), (100, val_features))
    ]
    val = (weak[1], val_labels)
    config = dataclasses.replace(SHORT, posterior=False)
    assert np.any(purify(weak[0], true, val, config=config).changed)
    found = purify(weak[0], true, val, config=config, val_given_labels=val_labels)
    np.testing.assert_array_equal(found.labels, true)
    assert found.scores["purified"]["accuracy"] == 1
    assert found.source == "given"
    assert int(found.chosen["source"]) == len(PROBES) + 1
    # The purifier's own candidate and round are still reported.
    assert 0 <= int(found.chosen["candidate"]) < len(SHORT.weight_decay)
    assert int(found.chosen["step"]) >= int(0.75 * SHORT.race_steps)


def test_labels_without_noise_are_left_alone():
    """Also on weak features, where no classifier would agree with all of them, and without being told."""
    features, _, (val_features, val_labels), true = make_blobs(1)
    weak = [
        (0.4 * x + np.random.default_rng(seed).normal(size=x.shape)).astype(np.float32)
        for seed, x in ((1, features), (100, val_features))
    ]
    found = purify(weak[0], true, (weak[1], val_labels), config=SHORT)
    assert accuracy(found.baselines["noisy_probe"], true) < 0.95
    assert accuracy(found.labels, true) >= 0.998


@pytest.mark.slow
def test_noise_that_hides_behind_a_weak_classifier_is_not_trusted():
    """Clean rows that say next to nothing leave open that T is all wrong: no reason to believe the labels."""
    rng = np.random.default_rng(0)
    true, val_labels = rng.integers(5, size=2000), np.arange(15) % 5
    features, val_features = (
        (0.4 * np.eye(5, 20)[labels] + 0.3 * rng.normal(size=(len(labels), 20))).astype(np.float32)
        for labels in (true, val_labels)
    )
    given = np.where(rng.random(2000) < 0.8, rng.integers(5, size=2000), true)
    found = purify(features, given, (val_features, val_labels), config=SHORT)
    assert accuracy(found.labels, true) > accuracy(given, true) + 0.02
    assert float(np.mean(found.confidence)) < 0.7


@pytest.mark.slow
def test_a_worse_purification_gives_way_to_the_baseline(monkeypatch, own_programs):
    """A purification that ends in a classifier which knows nothing: the best probe must give the labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=600)
    features = (3 * np.eye(3)[labels] + rng.normal(size=(600, 3))).astype(np.float32)
    task = features[:300], rng.integers(3, size=300), (features[300:], labels[300:])
    refine = lda.refine

    def broken(*args):
        fitted, taken = refine(*args)
        model = fitted.model._replace(weights=0 * fitted.model.weights)
        return fitted._replace(model=model, held_out=0 * fitted.held_out), taken

    monkeypatch.setattr(lda, "refine", broken)
    fallen = purify(*task, config=SHORT)
    unchecked = purify(*task, config=dataclasses.replace(SHORT, selection=False))
    assert unchecked.source == "purified"
    assert fallen.source in PROBES
    np.testing.assert_array_equal(fallen.labels, fallen.baselines[fallen.source])
    np.testing.assert_allclose(predict(fallen.classifier, task[0]), fallen.probs, atol=1e-4)
    assert accuracy(fallen.labels, labels[:300]) > accuracy(unchecked.labels, labels[:300]) + 0.3


@pytest.mark.parametrize(
    "config",
    [SHORT, pytest.param(PurifyConfig.paper(steps=5), marks=pytest.mark.slow)],
    ids=["default", "paper"],
)
def test_classes_of_a_single_clean_row_are_counted(config):
    features, given, (val_features, val_labels), _ = make_blobs(1, val_rows=84)
    kept = np.concatenate(
        [np.flatnonzero(val_labels == label)[:count] for label, count in enumerate((1, 28, 1))]
    )
    found = purify(features, given, (val_features[kept], val_labels[kept]), config=config)
    assert int(found.chosen["single_row_classes"]) == 2
    assert np.all(np.isfinite(found.probs))


@pytest.mark.parametrize(
    "fault", ["noise", "constant", "clean rows unrelated", "clean rows of another order"]
)
def test_a_candidate_at_chance_is_none(fault):
    """Features that say nothing must not change a label, least of all to worse ones called purified."""
    for seed in range(4):
        features, given, (val_features, val_labels), _ = make_blobs(seed)
        rng = np.random.default_rng(seed)
        if fault == "noise":
            features, val_features = (
                rng.normal(size=x.shape).astype(np.float32) for x in (features, val_features)
            )
        if fault == "constant":
            features, val_features = np.ones_like(features), np.ones_like(val_features)
        if fault == "clean rows unrelated":
            val_features = rng.normal(size=val_features.shape).astype(np.float32)
        if fault == "clean rows of another order":
            val_features = rng.permutation(val_features)
        found = purify(features, given, (val_features, val_labels), config=SHORT)
        assert found.source == "given"
        assert not np.any(found.changed)
        np.testing.assert_array_equal(found.labels, given)
        assert np.isnan(found.scores["purified"]["accuracy"])
        assert any("no better than chance" in text for text in found.warnings)


def test_rounding_makes_no_baseline_better():
    """Rows that are right for certain, but for the last digit of a sum over given labels.

    Their variance over rows is none: that of what is known in expectation only speaks against the gain.
    """
    hits = jnp.asarray(RIGHT, jnp.float32) - 6e-8
    assert int(choose.best_source(hits, jnp.asarray(np.stack([RIGHT] * 3)))) == 0
