import jax
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from dmlp_jax import InputError
from dmlp_jax.purifier import likely_clean
from dmlp_jax.purifier.rows import span
from tests.conftest import accuracy, make_blobs


def standardized(features):
    """As the purifier does it, in float64: centred rows of length sqrt(d), and a constant."""
    rows = np.float64(features) - np.float64(features).mean(0)
    rows *= features.shape[1] ** 0.5 / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.c_[rows, np.ones(len(rows))]


def refitted(features, labels, weight, penalty, classes):
    """Predictions for each row by a ridge regression on all but its copies, one fit for each; the targets."""
    rows = standardized(features)
    shares = np.bincount(labels, weight, classes) / weight.sum()
    targets = np.eye(classes)[labels] - shares
    unit = np.trace(rows.T @ (weight[:, None] * rows)) / rows.shape[1]
    predicted = []
    for row in range(len(rows)):
        kept = np.where((features == features[row]).all(axis=1), 0.0, weight)
        gram = rows.T @ (kept[:, None] * rows) + penalty * unit * np.eye(rows.shape[1])
        predicted.append(rows[row] @ np.linalg.solve(gram, rows.T @ (kept[:, None] * targets)))
    return np.array(predicted), targets


@pytest.fixture(scope="module")
def problem():
    features, given, _, true = make_blobs(1, rows=2000, noise=0.4)
    return features, given, true


def left_out(features, labels, classes):
    weight = np.ones(len(labels), np.float32)
    return jax.jit(likely_clean._left_out, static_argnums=3)(features, labels, weight, classes)


def test_predictions_are_those_of_a_ridge_regression_without_the_row():
    features, labels, _, _ = make_blobs(0, rows=60, val_rows=3, width=5)
    candidates = [refitted(features, labels, np.ones(60), p, 3) for p in likely_clean.PENALTIES]
    errors = [np.sum((predicted - targets) ** 2) for predicted, targets in candidates]
    expected = candidates[int(np.argmin(errors))][0]
    scores, shares = left_out(features, labels, 3)
    np.testing.assert_allclose(scores, expected / expected.std(), rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(shares, np.bincount(labels) / 60, rtol=1e-6)


def test_copies_of_a_row_say_nothing_about_its_label(problem):
    """A table with every row twice, some of them with another label, against regressions without both."""
    features, labels, _, _ = make_blobs(0, rows=60, val_rows=3, width=5)
    rng = np.random.default_rng(0)
    # All rows weigh the same in the centre, which the oracle takes without weights.
    weight = rng.uniform(0.0, 2.0, 60)
    weight[7] = 0
    weight = np.concatenate([weight, 2 - weight])
    features, labels = np.concatenate([features, features]), np.concatenate([labels, (labels + 1) % 3])
    labels[70:] = labels[10:60]
    candidates = [refitted(features, labels, weight, p, 3) for p in likely_clean.PENALTIES]
    errors = [np.sum(weight[:, None] * (predicted - targets) ** 2) for predicted, targets in candidates]
    expected = candidates[int(np.argmin(errors))][0]
    arguments = [np.asarray(values, np.float32) for values in (features, weight)]
    scores, shares = likely_clean._without_copies(arguments[0], labels, arguments[1], 3)
    np.testing.assert_allclose(scores, expected / expected.std(), rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(shares, np.bincount(labels, weight) / weight.sum(), rtol=1e-5)
    features, labels, _ = problem
    once = likely_clean.estimate(features[:300], labels[:300], 3)
    twice = likely_clean.estimate(np.tile(features[:300], (2, 1)), np.tile(labels[:300], 2), 3)
    np.testing.assert_allclose(twice.correct, np.tile(once.correct, 2), atol=5e-3)


def test_noise_rate_temperature_and_offsets_are_of_maximum_likelihood(problem):
    features, labels, _ = problem
    scores = np.float64(left_out(features, labels, 3)[0])
    shares, rows = np.bincount(labels) / len(labels), np.arange(len(labels))

    def parts(settings, law):
        log_q = log_softmax(scores * np.exp(-settings[0]) + np.log(shares) + settings[2:], axis=1)
        q = np.exp(log_q[rows, labels])
        return (1 - settings[1]) * q, settings[1] * law[labels], q

    def loss(settings, law):
        kept, anew, _ = parts(settings, law)
        return -np.mean(np.log(kept + anew)) + 1e-4 * np.sum(settings[2:] ** 2)

    bounds = [(-7, 7), (0, 0.99)] + [(-20, 20)] * 3
    options = {"maxiter": 5000, "maxfev": 5000, "xatol": 1e-7, "fatol": 1e-11}
    fits = []
    for law in (np.full(3, 1 / 3), shares):
        for start in [(-1.0, 0.1), (-2.0, 0.5), (0.0, 0.3)]:
            begin = np.array([*start, 0, 0, 0])
            found = minimize(loss, begin, (law,), "Nelder-Mead", bounds=bounds, options=options)
            fits.append((found.fun, found.x, law))
    _, settings, law = min(fits, key=lambda fit: fit[0])
    found = likely_clean.estimate(features, labels, 3)
    assert found.noise_rate == pytest.approx(settings[1], abs=2e-3)
    kept, anew, q = parts(settings, law)
    right = q * (1 - settings[1] + settings[1] * law[labels]) / (kept + anew)
    np.testing.assert_allclose(found.correct, right, atol=5e-3)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.4, 0.7])
def test_the_noise_is_found(noise):
    features, given, _, true = make_blobs(2, rows=4000, noise=noise, spread=4.0)
    found = likely_clean.estimate(features, given, 3)
    right = given == true
    assert found.noise_rate == pytest.approx(noise, abs=0.04)
    # Calibrated: over all rows, and where a label looks likely to be right or wrong.
    assert found.correct.mean() == pytest.approx(right.mean(), abs=0.03)
    assert found.correct.min() >= 0
    assert found.correct.max() <= 1
    for part in (found.correct < 0.5, found.correct >= 0.5):
        if part.sum() > 100:
            assert found.correct[part].mean() == pytest.approx(right[part].mean(), abs=0.05)


@pytest.mark.parametrize("proportional", [False, True])
def test_rare_classes(proportional):
    """Replacing labels may be drawn alike over all classes, or as often as each class is."""
    rng = np.random.default_rng(0)
    shares = np.array([0.8, 0.15, 0.05])
    true = rng.choice(3, size=6000, p=shares)
    features = rng.normal(size=(6000, 16)) + 3.5 * np.eye(3, 16)[true]
    law = shares if proportional else np.full(3, 1 / 3)
    given = np.where(rng.random(6000) < 0.4, rng.choice(3, size=6000, p=law), true)
    found = likely_clean.estimate(features, given, 3)
    assert found.noise_rate == pytest.approx(0.4, abs=0.06)
    rows = likely_clean.draw(found.correct, given, 0.1, jax.random.key(0))
    for label in range(3):
        called = given == label
        assert found.correct[called].mean() == pytest.approx(np.mean(true[called] == label), abs=0.08)
        drawn = rows[given[rows] == label]
        # Of rows kept with probability p a share p is right, so of all that are kept sum p^2 / sum p.
        kept = np.sum(found.correct[called] ** 2) / np.sum(found.correct[called])
        assert np.mean(true[drawn] == label) == pytest.approx(kept, abs=0.1)
        assert kept > 0.7


@pytest.mark.slow
def test_more_features_than_rows():
    rng = np.random.default_rng(0)
    true = rng.integers(4, size=300)
    features = rng.normal(size=(300, 1000)) + 6 * np.eye(4, 1000)[true]
    given = np.where(rng.random(300) < 0.4, rng.integers(4, size=300), true)
    found = likely_clean.estimate(features, given, 4)
    assert found.noise_rate == pytest.approx(0.4, abs=0.12)
    rows = likely_clean.draw(found.correct, given, 0.2, jax.random.key(0))
    assert accuracy(given[rows], true[rows]) > 0.9 > 0.8 > accuracy(given, true)


def test_drawn_rows_are_right_far_more_often_and_not_only_the_easy_ones(problem):
    features, labels, true = problem
    found = likely_clean.estimate(features, labels, 3)
    rows = likely_clean.draw(found.correct, labels, 0.2, jax.random.key(0))
    assert accuracy(labels[rows], true[rows]) > 0.93 > 0.8 > accuracy(labels, true)
    np.testing.assert_array_equal(rows, np.unique(rows))
    counts = np.bincount(labels)
    np.testing.assert_array_equal(np.bincount(labels[rows]), np.round(0.2 * counts))
    # Half of the rows with right labels are easier than the other half, and so are those drawn.
    middle = np.median(found.correct[labels == true])
    assert np.mean(found.correct[rows] > middle) == pytest.approx(0.5, abs=0.1)
    np.testing.assert_array_equal(rows, likely_clean.draw(found.correct, labels, 0.2, jax.random.key(0)))
    assert len(np.setdiff1d(rows, likely_clean.draw(found.correct, labels, 0.2, jax.random.key(1)))) > 100


def test_every_class_gives_a_row_and_keeps_one():
    labels = np.array([0] * 100 + [1] * 2 + [2])
    correct = np.full(103, 1e-6)
    for share, counts in ((0.01, [1, 1, 1]), (0.999, [99, 1, 1])):
        rows = likely_clean.draw(correct, labels, share, jax.random.key(0))
        assert np.bincount(labels[rows]).tolist() == counts


def test_where_too_few_are_kept_the_likeliest_fill_the_share():
    labels = np.zeros(1000, int)
    correct = np.where(np.arange(1000) % 10 == 0, 0.9, 1e-3)
    rows = likely_clean.draw(correct, labels, 0.1, jax.random.key(0))
    assert np.mean(correct[rows] == 0.9) > 0.9


def test_a_row_of_weight_two_counts_as_two_and_of_weight_zero_not_at_all(problem):
    features, labels, _ = (array[:300] for array in problem)
    weight = np.arange(300) % 2 + 1.0
    plain = likely_clean.estimate(features, labels, 3)
    weighted = likely_clean.estimate(features, labels, 3, weight)
    assert np.abs(weighted.correct - plain.correct).max() > 1e-3
    doubled = likely_clean.estimate(features, labels, 3, np.full(300, 2.0))
    np.testing.assert_allclose(doubled.correct, plain.correct, atol=0.2)
    without = likely_clean.estimate(features[:200], labels[:200], 3)
    zero = likely_clean.estimate(features, labels, 3, np.repeat([1.0, 0.0], [200, 100]))
    assert zero.noise_rate == pytest.approx(without.noise_rate, abs=2e-3)
    np.testing.assert_allclose(zero.correct[:200], without.correct, atol=5e-3)


def test_a_memory_map_is_read_to_the_same_end(problem, tmp_path):
    features, labels, _ = problem
    np.save(tmp_path / "f.npy", features)
    found = likely_clean.estimate(np.load(tmp_path / "f.npy", mmap_mode="r"), labels, 3)
    expected = likely_clean.estimate(features, labels, 3)
    assert found.noise_rate == pytest.approx(expected.noise_rate, abs=1e-3)
    np.testing.assert_allclose(found.correct, expected.correct, atol=2e-3)


@pytest.mark.parametrize("features", [np.ones((40, 3)), np.zeros((40, 200))], ids=["constant", "wide"])
def test_features_that_tell_nothing(features):
    labels = np.arange(40) % 4
    found = likely_clean.estimate(features, labels, 4)
    assert np.all(np.isfinite(found.correct))
    assert len(likely_clean.draw(found.correct, labels, 0.25, jax.random.key(0))) == 8


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": np.full((4, 2), np.nan)}, "features"),
        ({"labels": np.array([0, 1, 2, 0])}, "labels"),
        ({"labels": np.eye(2)[[0, 1, 0, 1]]}, "class indices"),
        ({"sample_weight": np.array([1.0, 1, 1, -1])}, "sample_weight"),
    ],
    ids=["nan", "outside", "distributions", "weight"],
)
def test_mistakes_are_named(change, words):
    arguments = {"features": np.eye(4, 2), "labels": np.array([0, 1, 0, 1]), "sample_weight": None} | change
    with pytest.raises(InputError, match=words):
        likely_clean.estimate(num_classes=2, **arguments)


def test_rows_of_more_columns_than_rows_give_the_same_estimate(monkeypatch):
    rng = np.random.default_rng(0)
    true = rng.integers(3, size=80)
    features = (rng.normal(size=(3, 120))[true] + rng.normal(size=(80, 120))).astype(np.float32)
    given = np.where(rng.random(80) < 0.3, rng.integers(3, size=80), true)
    found = likely_clean.estimate(features, given, 3)
    monkeypatch.setattr(span, "narrow", lambda train, clean: (train, clean, None))
    monkeypatch.setattr(likely_clean, "_left_out_in_memory", likely_clean._left_out)
    expected = likely_clean.estimate(features, given, 3)
    np.testing.assert_allclose(found.correct, expected.correct, atol=1e-3)
