import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import make_classification

from dmlp_jax import purify
from dmlp_jax.purifier import compiled
from dmlp_jax.purifier.posterior import label_shift


def one_hot(*counts):
    return jnp.repeat(jnp.eye(len(counts)), jnp.asarray(counts), axis=0, total_repeat_length=sum(counts))


def test_it_is_the_ratio_of_the_shares():
    found = label_shift.log_ratio(one_hot(6000, 2000), jnp.asarray([0.5, 0.5]))
    np.testing.assert_allclose(found, np.log([1.5, 0.5]), rtol=0.01)


def test_it_turns_the_posterior_of_one_set_into_that_of_the_other():
    """Two Gaussians: with the log odds known for 9 to 1, those for an even draw are found."""
    rng = np.random.default_rng(0)
    even = np.arange(4000) % 2
    x = rng.normal(size=4000) + 2.0 * even
    odds = 2.0 * x - 2.0
    logits = np.stack([np.log(0.9) * np.ones(4000), odds + np.log(0.1)], axis=1)
    shift = label_shift.log_ratio(jnp.eye(2)[even], jnp.asarray([0.9, 0.1]))
    found = jax.nn.softmax(jnp.asarray(logits, jnp.float32) + shift)[:, 1]
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-odds)), atol=0.002)


def test_clean_rows_that_may_be_a_random_draw_are_left_alone():
    rng = np.random.default_rng(4)
    shares, found = np.asarray([0.5, 0.3, 0.15, 0.05]), []
    for _ in range(40):
        drawn = np.concatenate([np.arange(4), rng.choice(4, size=60, p=shares)])
        found.append(label_shift.log_ratio(jnp.eye(4)[drawn], jnp.asarray(shares, jnp.float32)))
    assert np.median(np.max(np.abs(found), axis=1)) == 0


def test_shares_do_not_come_back_to_those_of_the_clean_rows():
    targets, near, far = one_hot(20, 20), jnp.asarray([0.6, 0.4]), jnp.asarray([0.1, 0.9])
    for pair in ((near, far), (far, near)):
        np.testing.assert_array_equal(label_shift.keep_larger_shift(targets, *pair), far)


@pytest.mark.parametrize("shares", [[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
def test_a_class_that_nothing_is_predicted_as_has_a_finite_shift(shares):
    found = label_shift.log_ratio(one_hot(1, 50_000, 50_000), jnp.asarray(shares, jnp.float32))
    assert np.all(np.isfinite(found))


def unequal_blobs(seed, rows=4000, classes=6):
    """Classes of 4 to 42 % of the rows, half of the labels redrawn; as many clean rows of every class."""
    rng = np.random.default_rng(seed)
    shares = 0.6 ** np.arange(classes)
    centres = 1.1 * rng.normal(size=(classes, 12))
    true = rng.choice(classes, size=rows, p=shares / shares.sum())
    val_true = np.arange(20 * classes) % classes
    features, val = (
        centres[labels] + 1.5 * rng.normal(size=(len(labels), 12)) for labels in (true, val_true)
    )
    given = np.where(rng.random(rows) < 0.5, rng.integers(classes, size=rows), true)
    return (features, given, (val, val_true)), true


@pytest.mark.slow
def test_an_even_clean_set_is_told_what_the_training_rows_are(monkeypatch, own_programs):
    gaps, right = [], []
    for seed in range(3):
        task, true = unequal_blobs(seed)
        result = purify(*task)
        right.append(float(np.mean(result.labels == true)))
        gaps.append(float(np.mean(result.confidence)) - right[-1])
    assert np.mean(np.abs(gaps)) < 0.03, gaps
    monkeypatch.setattr(label_shift, "log_ratio", lambda targets, _: jnp.zeros_like(targets[0]))
    compiled._program.cache_clear()
    alike = []
    for seed in range(3):
        task, true = unequal_blobs(seed)
        alike.append(float(np.mean(purify(*task).labels == true)))
    assert np.mean(right) > np.mean(alike) + 0.002, (right, alike)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 4, 7, 9])
def test_one_row_in_twenty_and_an_even_clean_set_of_twenty(seed):
    """Judged as if the clean rows were training rows, every label here was once kept, or far more changed."""
    features, true = make_classification(
        2500, 20, n_informative=8, n_redundant=0, weights=[0.95, 0.05], n_clusters_per_class=1, flip_y=0,
        random_state=0,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(true))
    clean = np.concatenate([order[true[order] == label][:10] for label in (0, 1)])
    rows = order[~np.isin(order, clean)]
    given = np.where(rng.random(len(true)) < 0.3, rng.integers(2, size=len(true)), true)
    result = purify(features[rows], given[rows], (features[clean], true[clean]))
    right = float(np.mean(result.labels == true[rows]))
    assert right > 0.975
    assert abs(float(np.mean(result.confidence)) - right) < 0.03
