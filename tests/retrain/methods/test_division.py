import jax
import numpy as np
import pytest
from scipy import optimize, special, stats
from sklearn.mixture import GaussianMixture

from dmlp_jax.retrain.methods import division
from dmlp_jax.training.dispatch import Plan


def overlapping():
    """Losses of clean and of noisy rows that a mixture tells apart, in [0, 1]."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.beta(2, 12, 300), rng.beta(6, 6, 200)])
    return division.normalized(values).astype(np.float32)


def slow():
    """Losses on which ten rounds are too few to converge."""
    rng = np.random.default_rng(139)
    rows, share = int(rng.integers(100, 600)), rng.uniform(0.05, 0.95)
    narrow = rng.normal(rng.uniform(0.1, 0.6), rng.uniform(0.01, 0.1), int(rows * share))
    return np.concatenate([narrow, rng.uniform(0, 1, rows - len(narrow))]).clip(0, 1).astype(np.float32)


def expectation_maximisation(values, rounds=10, tolerance=1e-2, least_variance=5e-4):
    """Posterior of the smaller mean, from the best split in two on: scikit-learn's rules, written anew."""
    values = np.float64(values)
    ordered = np.sort(values)
    cuts = range(1, len(ordered))
    spreads = [cut * ordered[:cut].var() + (len(ordered) - cut) * ordered[cut:].var() for cut in cuts]
    low = (values <= ordered[np.argmin(spreads)]).astype(float)

    def maximise(share):
        sums = share.sum(axis=0)
        means = share.T @ values / sums
        variances = np.sum(share * (values[:, None] - means) ** 2, axis=0) / sums + least_variance
        return sums / len(values), means, variances

    def expect(weights, means, variances):
        distances = (values[:, None] - means) ** 2 / variances
        joint = weights * np.exp(-0.5 * distances) / np.sqrt(2 * np.pi * variances)
        return np.log(joint.sum(axis=1)).mean(), joint / joint.sum(axis=1, keepdims=True)

    found, before = maximise(np.stack([low, 1 - low], axis=1)), -np.inf
    for _ in range(rounds):
        bound, share = expect(*found)
        found = maximise(share)
        if abs(bound - before) < tolerance:
            break
        before = bound
    return expect(*found)[1][:, np.argmin(found[1])]


@pytest.mark.parametrize("seed", range(6))
def test_small_losses_are_clean_whichever_component_they_are(seed):
    values = overlapping()
    oracle = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=seed)
    oracle.fit(np.float64(values)[:, None])
    small = np.argmin(oracle.means_)
    found = division.clean_probability(values, seed)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, oracle.predict_proba(np.float64(values)[:, None])[:, small], rtol=1e-4, atol=1e-6
    )
    assert found[np.argmin(values)] > 0.9
    assert found[np.argmax(values)] < 0.1


def test_seeds_put_the_small_losses_into_either_component():
    firsts = set()
    for seed in range(6):
        mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=seed)
        firsts.add(int(np.argmin(mixture.fit(np.float64(overlapping())[:, None]).means_)))
    assert firsts == {0, 1}


@pytest.mark.parametrize("values", [overlapping(), slow()], ids=["quick", "slow"])
def test_posterior_is_that_of_em_written_by_hand(values):
    found = division.clean_probability(values, 0)
    np.testing.assert_allclose(found, expectation_maximisation(values), atol=1e-4)


def test_rounds_of_em_are_few():
    """The reference tells ten rounds from many, so the test above fixes their number."""
    assert np.abs(expectation_maximisation(slow()) - expectation_maximisation(slow(), 100)).max() > 0.01


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(40),
        np.full(40, 0.3),
        np.repeat([0.0, 1.0], 20),
        np.repeat([0.0, 1.0], [39, 1]),
        np.append(np.linspace(0, 1e-3, 39), 1.0),
        np.append(np.ones(39), 0.0),
        np.array([0.0, 1.0]),
    ],
    ids=["zeros", "constant", "two values", "one outlier", "outlier and spread", "one small", "two rows"],
)
def test_degenerate_losses_give_probabilities(values, recwarn):
    found = division.clean_probability(values.astype(np.float32), 0)
    assert found.shape == values.shape
    assert np.all((found >= 0) & (found <= 1))
    if np.ptp(values):
        assert found[np.argmin(values)] > 0.5 > found[np.argmax(values)]
    assert not recwarn.list


def test_same_seed_same_posterior_bit_for_bit():
    one, other = (division.clean_probability(overlapping(), 7) for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("bound", [0.01, 0.05, 0.2, 0.3])
def test_bound_raises_all_odds_alike_until_few_enough_are_wrong(bound):
    values = np.float64(overlapping())
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0).fit(values[:, None])
    densities = stats.norm.logpdf(values, mixture.means_, np.sqrt(mixture.covariances_[:, :, 0]))
    small = np.argmin(mixture.means_)
    odds = (np.log(mixture.weights_)[:, None] + densities) * np.where(np.arange(2) == small, 1, -1)[:, None]
    odds = odds.sum(axis=0)
    assert np.mean(special.expit(-odds)) > 0.35
    shift = optimize.brentq(lambda by: np.mean(special.expit(-odds - by)) - bound, 0, 1e4, xtol=1e-10)
    found = division.clean_probability(overlapping(), 0, bound)
    np.testing.assert_allclose(found, special.expit(odds + shift), atol=1e-4)


def test_bound_that_is_kept_anyway_changes_nothing():
    free = division.clean_probability(overlapping(), 0)
    np.testing.assert_array_equal(division.clean_probability(overlapping(), 0, 0.6), free)


@pytest.mark.parametrize("values", [overlapping(), np.zeros(40), np.repeat([0.0, 1.0], 20)])
def test_bound_of_none_wrong_keeps_every_label(values):
    found = division.clean_probability(values, 0, 0.0)
    np.testing.assert_allclose(found, 1.0)


def test_losses_are_mapped_onto_the_unit_interval():
    values = np.array([3.0, 1.0, 2.0, 5.0], np.float32)
    np.testing.assert_allclose(division.normalized(values), [0.5, 0.0, 0.25, 1.0])
    np.testing.assert_array_equal(division.normalized(np.full(3, 2.5, np.float32)), np.zeros(3))


def test_threshold_itself_is_not_enough():
    clean = np.array([0.5, 0.9, 0.49, 0.51, 0.1, 0.5], np.float32)
    labelled, unlabelled = division.divide(clean, 0.5, 1)
    np.testing.assert_array_equal(labelled, [1, 3])
    np.testing.assert_array_equal(unlabelled, [0, 2, 4, 5])


@pytest.mark.parametrize(
    ("clean", "labelled"),
    [
        (np.ones(10), 7),
        (np.zeros(10), 3),
        (np.linspace(0.6, 0.9, 10), 7),
        (np.linspace(0.1, 0.4, 10), 3),
        (np.linspace(0.05, 0.95, 10), 5),
    ],
    ids=["all clean", "all noisy", "all above", "all below", "half"],
)
def test_neither_side_is_smaller_than_a_batch(clean, labelled):
    sides = division.divide(clean.astype(np.float32), 0.5, 3)
    assert [len(side) for side in sides] == [labelled, 10 - labelled]
    np.testing.assert_array_equal(np.sort(np.concatenate(sides)), np.arange(10))
    assert clean[sides[0]].min() >= clean[sides[1]].max()


@pytest.mark.parametrize(("rows", "steps", "size"), [(7, 5, 3), (8, 4, 2), (3, 4, 8), (1, 2, 3), (20, 1, 4)])
def test_no_row_comes_again_before_all_others(rows, steps, size):
    numbers = 10 + 3 * np.arange(rows)
    found = division.batches(numbers, steps, size, jax.random.key(0))
    assert found.shape == (steps, size)
    flat = found.ravel()
    for start in range(0, len(flat), rows):
        part = flat[start : start + rows]
        assert len(set(part)) == len(part)
        assert set(part) <= set(numbers)
        assert len(part) < rows or set(part) == set(numbers)


def test_every_pass_and_every_key_has_an_order_of_its_own():
    passes = division.batches(np.arange(30), 2, 30, jax.random.key(0))
    assert np.any(passes[0] != passes[1])
    assert np.any(passes[0] != np.arange(30))
    np.testing.assert_array_equal(passes, division.batches(np.arange(30), 2, 30, jax.random.key(0)))
    assert np.any(passes != division.batches(np.arange(30), 2, 30, jax.random.key(1)))


@pytest.mark.parametrize(("steps", "size"), [(6, 4), (5, 7), (1, 3)])
def test_every_class_has_as_many_rows_in_a_pass(steps, size):
    classes = np.repeat([0, 2, 3], [4, 8, 3])
    rows = 100 + np.arange(15)
    found = division.even_batches(rows, classes, steps, size, jax.random.key(0))
    assert found.shape == (steps, size)
    for start in range(0, found.size - 23, 24):
        seen = found.ravel()[start : start + 24]
        np.testing.assert_array_equal(np.bincount(classes[seen - 100]), [8, 0, 8, 8])
        times = np.bincount(seen - 100, minlength=15)
        # Each row as often as the others of its class, or once more.
        np.testing.assert_array_equal(np.unique(times[:4]), [2])
        np.testing.assert_array_equal(np.unique(times[4:12]), [1])
        np.testing.assert_array_equal(np.unique(times[12:]), [2, 3])


def test_passes_with_even_classes_differ_and_keys_do():
    classes, rows = np.arange(12) % 3, np.arange(12)
    first, second = division.even_batches(rows, classes, 2, 12, jax.random.key(0))
    assert np.any(first != second)
    again = division.even_batches(rows, classes, 2, 12, jax.random.key(0))
    np.testing.assert_array_equal(again, [first, second])
    assert np.any(division.even_batches(rows, classes, 2, 12, jax.random.key(1)) != again)


@pytest.mark.parametrize("counts", [2, np.array([1, 0, 3, 5])])
def test_smallest_scores_of_each_class(counts):
    rng = np.random.default_rng(0)
    classes = rng.integers(4, size=30)
    classes[classes == 3] = np.where(np.cumsum(classes == 3)[classes == 3] <= 1, 3, 0)
    scores = rng.integers(5, size=30) / 4.0
    found = division.smallest_per_class(scores, classes, counts)
    expected = np.zeros(30, bool)
    for label in range(4):
        members = [row for row in range(30) if classes[row] == label]
        taken = sorted(members, key=lambda row: (scores[row], row))
        expected[taken[: np.broadcast_to(counts, 4)[label]]] = True
    assert found.dtype == bool
    np.testing.assert_array_equal(found, expected)


def test_plans_are_joined_in_order():
    plans = [
        Plan({"a": np.full((steps, 2), steps)}, {"b": np.full(steps, -steps, np.float32)}) for steps in (1, 2)
    ]
    joined = division.join(plans)
    assert joined.steps == 3
    np.testing.assert_array_equal(joined.indices["a"], [[1, 1], [2, 2], [2, 2]])
    np.testing.assert_array_equal(joined.info["b"], [-1, -2, -2])


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_equal_losses_speak_against_no_label(value):
    np.testing.assert_array_equal(division.clean_probability(np.full(20, value), 0, 0.1), 1.0)
