"""The rounds that learn from reviewed rows, through `purify`; 30 clean rows, as in most tests."""

import dataclasses

import jax
import numpy as np
import pytest

from dmlp_jax import purify
from dmlp_jax.purifier.reviewed import averaging
from tests.conftest import SHORT, accuracy, make_blobs

ROWS, CLEAN, WIDTH, C = 300, 30, 16, 3
# The last clean row was picked: two programs are enough for all tests, with and without this argument.
RANDOM = np.arange(CLEAN) < CLEAN - 1


def split(features, true, given):
    """The arguments of `purify`, the given labels of the clean rows, and the true labels."""
    features, true, given = features.astype(np.float32), true.astype(np.int32), given.astype(np.int32)
    return (features[:ROWS], given[:ROWS], (features[ROWS:], true[ROWS:])), given[ROWS:], true[:ROWS]


def annotators_who_see_less(seed, clean=CLEAN):
    """Truth is a linear rule of four features. Annotators know the rule, but do not look at the last two."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(ROWS + clean, WIDTH))
    angles = 2 * np.pi * np.arange(C) / C
    rule = np.tile([np.cos(angles), np.sin(angles)], (2, 1))
    true = np.argmax(features[:, :4] @ rule, axis=1)
    return split(features, true, np.argmax(features[:, :2] @ rule[:2], axis=1))


def annotators_who_see_more(seed):
    """A tenth of the given labels are wrong; features tell the classes much worse."""
    rng = np.random.default_rng(seed)
    true = rng.integers(C, size=ROWS + CLEAN)
    true[ROWS:] = np.arange(CLEAN) % C
    features = rng.normal(size=(ROWS + CLEAN, WIDTH)) + 0.7 * np.eye(C, WIDTH)[true]
    wrong = rng.random(ROWS + CLEAN) < 0.1
    return split(features, true, np.where(wrong, (true + 1) % C, true))


def blobs_with_reviews(seed):
    """Random mistakes among training rows and clean rows alike, 40 %."""
    features, given, val, true = make_blobs(seed, rows=ROWS, val_rows=CLEAN, noise=0.6)
    rng = np.random.default_rng(seed + 100)
    redrawn = rng.random(CLEAN) < 0.6
    return (features, given, val), np.where(redrawn, rng.integers(C, size=CLEAN), val[1]), true


def learn(problem, random=RANDOM, config=SHORT):
    arguments, val_given, _ = problem
    val_given = np.asarray(val_given, np.int32) if isinstance(val_given, np.ndarray) else val_given
    return purify(*arguments, num_classes=C, config=config, val_given_labels=val_given, val_random=random)


def assert_distributions(found, rows=ROWS):
    probs = np.asarray(found.probs)
    assert probs.shape == (rows, C)
    assert np.all(np.isfinite(probs))
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    quality = np.asarray(found.label_quality)
    assert np.all((quality >= 0) & (quality <= 1))


def test_mistakes_that_follow_the_features_are_found():
    """Without reviews a classifier of the given labels agrees with them, and nothing changes."""
    moved, gains, aurocs = [], [], []
    for seed in range(8):
        problem = annotators_who_see_less(seed)
        (features, given, val), _, true = problem
        alone = purify(features, given, val, num_classes=C, config=SHORT)
        moved.append(np.mean(alone.changed))
        found = learn(problem)
        gains.append(accuracy(found.labels, true) - accuracy(given, true))
        aurocs.append(auroc(found.label_quality, given != true))
    assert np.median(moved) < 0.02
    assert np.mean(gains) > 0.05
    assert np.min(gains) > -0.03
    assert np.mean(aurocs) > 0.7


def auroc(quality, wrong):
    """How often a wrong label has the lower quality of a wrong and a right one."""
    quality = np.asarray(quality)
    return np.mean(quality[wrong][:, None] < quality[~wrong])


@pytest.mark.parametrize(("points", "mean", "least"), [(0, 0.002, 0.02), (1000, 0.003, 0.02)])
def test_labels_of_people_who_see_more_are_left_alone(points, mean, least):
    """With a kernel two labels of 2,400 more may be lost: 150 points follow 300 rows closely."""
    before, after = [], []
    for seed in range(8):
        problem = annotators_who_see_more(seed)
        found = learn(problem, config=dataclasses.replace(SHORT, kernel_points=points))
        before.append(accuracy(problem[0][1], problem[2]))
        after.append(accuracy(found.labels, problem[2]))
    assert np.mean(after) > np.mean(before) - mean
    assert np.min(np.subtract(after, before)) > -least


def test_random_mistakes_are_still_found():
    """Where the default rounds work, reviews cost nothing; and their scores are about right."""
    own, default, claimed = [], [], []
    for seed in range(5):
        problem = blobs_with_reviews(seed)
        found = learn(problem, random=None)
        own.append(accuracy(found.labels, problem[2]))
        default.append(accuracy(purify(*problem[0], config=SHORT).labels, problem[2]))
        claimed.append(float(found.scores["purified"]["accuracy"]))
        assert auroc(found.label_quality, problem[0][1] != problem[2]) > 0.9
    assert np.mean(own) > np.mean(default) - 0.02
    assert abs(np.mean(claimed) - np.mean(own)) < 0.05


def test_the_evidence_tells_the_kind_of_mistakes(monkeypatch):
    """Random mistakes speak for the default model, people's mistakes against it."""
    shares = []
    real = averaging.average

    def spy(*arguments):
        found = real(*arguments)
        jax.debug.callback(lambda share: shares.append(float(share)), found.share)
        return found

    monkeypatch.setattr(averaging, "average", spy)
    # Another number of rounds makes another program, which calls the spy.
    config = dataclasses.replace(SHORT, steps=SHORT.steps + 1)
    for make in (blobs_with_reviews, annotators_who_see_less):
        for seed in range(3):
            learn(make(seed), config=config)
    jax.effects_barrier()
    assert np.min(shares[:3]) > averaging.PRIOR
    assert np.max(shares[3:]) < 0.05


@pytest.mark.parametrize(
    "reviewed", ["none wrong", "all wrong", "only one known", "all but one of one class"]
)
@pytest.mark.parametrize("make", [annotators_who_see_less, annotators_who_see_more, blobs_with_reviews])
def test_poor_reviews_do_no_harm(make, reviewed):
    problem = make(0)
    (_, given, (_, val_labels)), val_given, true = problem
    val_given = {
        "none wrong": val_labels,
        "all wrong": (val_labels + 1) % C,
        "only one known": np.where(np.arange(CLEAN) == 0, val_given, -1),
        "all but one of one class": np.where(np.arange(CLEAN) == 0, 1, 0),
    }[reviewed]
    found = learn((problem[0], val_given, true))
    assert_distributions(found)
    if reviewed == "none wrong":
        assert accuracy(found.labels, true) >= accuracy(given, true) - 0.02
    for score in found.scores.values():
        assert np.isfinite(score["standard_error"])


def test_where_all_rows_were_picked_nothing_is_counted():
    for problem in (annotators_who_see_less(0), annotators_who_see_more(1), blobs_with_reviews(0)):
        found = learn(problem, random=np.zeros(CLEAN, bool))
        assert_distributions(found)
        for score in found.scores.values():
            assert np.isnan(score["accuracy"])
            assert np.isnan(score["standard_error"])
        assert np.sum(found.reliability["rows"]) == 0
        assert accuracy(found.labels, problem[2]) > accuracy(problem[0][1], problem[2]) - 0.05


def test_picked_rows_are_left_out_of_the_counts():
    """Half of the clean rows were picked among the wrong ones: scores are those of the other half."""
    problem = blobs_with_reviews(0)
    (_, _, (_, val_labels)), val_given, true = problem
    random = np.arange(CLEAN) % 2 == 0
    val_given = np.where(random, val_given, (val_labels + 1) % C)
    found = learn((problem[0], val_given, true), random=random)
    given = found.scores["given"]["accuracy"]
    np.testing.assert_allclose(given, np.mean((val_given == val_labels)[random]), atol=0.1)
    np.testing.assert_allclose(np.sum(found.reliability["rows"]), np.sum(random), rtol=0.3)


def test_order_of_the_clean_rows_hardly_matters():
    """It draws other folds, and nothing else."""
    same = []
    for seed in range(4):
        problem = blobs_with_reviews(seed)
        (features, given, (val_features, val_labels)), val_given, true = problem
        order = np.random.default_rng(0).permutation(CLEAN)
        moved = (features, given, (val_features[order], val_labels[order])), val_given[order], true
        found, other = learn(problem, random=None), learn(moved, random=None)
        same.append(accuracy(found.labels, np.asarray(other.labels)))
    assert np.mean(same) > 0.97


@pytest.mark.parametrize("constant", [True, False])
def test_features_that_say_nothing_leave_the_given_labels(constant):
    (features, given, (val_features, val_labels)), val_given, true = annotators_who_see_more(0)
    rng = np.random.default_rng(0)
    empty = [
        np.ones_like(x) if constant else rng.normal(size=x.shape).astype(np.float32)
        for x in (features, val_features)
    ]
    found = learn(((empty[0], given, (empty[1], val_labels)), val_given, true))
    assert_distributions(found)
    np.testing.assert_array_equal(found.labels, given)
    assert accuracy(found.labels, true) == accuracy(given, true)


def test_debug_nans_finds_none():
    problem = annotators_who_see_less(0)
    with jax.debug_nans(True):
        found = learn(problem, random=np.zeros(CLEAN, bool))
    assert np.isnan(found.scores["purified"]["accuracy"])
    for leaf in jax.tree.leaves(found._replace(scores={})):
        assert not np.any(np.isnan(np.asarray(leaf, np.float64)))


# A program of its own each.
BRIEF = dataclasses.replace(SHORT, steps=8, race_steps=2, refits=0, weight_decay=(0.3,))


@pytest.mark.slow
def test_one_clean_row_a_class():
    for seed in range(4):
        (features, given, (val_features, val_labels)), val_given, true = annotators_who_see_less(seed)
        few = np.array([np.flatnonzero(val_labels == label)[0] for label in range(C)])
        problem = (features, given, (val_features[few], val_labels[few])), val_given[few], true
        assert_distributions(learn(problem, random=None, config=BRIEF))


@pytest.mark.slow
def test_under_jit_also_where_no_given_label_is_known():
    """Outside `jit` such labels count as none; inside, their values cannot be seen."""
    problem = annotators_who_see_less(0)
    (features, given, val), val_given, _ = problem

    @jax.jit
    def jitted(given, val_given):
        return learn(((features, given, val), val_given, None), config=BRIEF)

    plain, found = learn(problem, config=BRIEF), jitted(given, val_given)
    np.testing.assert_allclose(found.probs, plain.probs, atol=1e-4)
    unknown = jitted(given, np.full(CLEAN, -1))
    assert_distributions(unknown)
    assert np.isnan(unknown.scores["given"]["accuracy"])


@pytest.mark.slow
def test_vmap_over_given_labels_is_each_alone():
    problem = annotators_who_see_less(0)
    (features, given, val), val_given, true = problem
    both = np.stack([given, true])
    found = jax.vmap(lambda g: learn(((features, g, val), val_given, None), config=BRIEF))(both)
    for index, own in enumerate(both):
        alone = learn(((features, own, val), val_given, None), config=BRIEF)
        np.testing.assert_allclose(found.probs[index], alone.probs, atol=1e-3)


@pytest.mark.slow
def test_half_precision_features():
    problem = annotators_who_see_less(0)
    (features, given, (val_features, val_labels)), *rest = problem
    half = features.astype(np.float16), given, (val_features.astype(np.float16), val_labels)
    found, plain = learn((half, *rest), config=BRIEF), learn(problem, config=BRIEF)
    assert found.probs.dtype == np.float32
    assert np.mean(np.asarray(found.labels) == np.asarray(plain.labels)) > 0.98


@pytest.mark.slow
def test_rows_on_disk_are_rows_in_memory(tmp_path):
    """test_sharded.py has rows over devices."""
    problem = annotators_who_see_less(0)
    (features, given, val), *rest = problem
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    disk, memory = learn(((mapped, given, val), *rest), config=BRIEF), learn(problem, config=BRIEF)
    np.testing.assert_allclose(disk.probs, memory.probs, atol=1e-4)
    np.testing.assert_allclose(disk.label_quality, memory.label_quality, atol=1e-4)


@pytest.mark.slow
def test_more_reviewed_rows_make_better_labels():
    """With 120 clean rows most of the annotators' mistakes are found."""
    gains = []
    for seed in range(4):
        problem = annotators_who_see_less(seed, clean=120)
        (_, given, _), _, true = problem
        found = learn(problem, random=None, config=BRIEF)
        gains.append(accuracy(found.labels, true) - accuracy(given, true))
    assert np.mean(gains) > 0.15
