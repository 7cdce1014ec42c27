"""Which clean rows are set aside for `accept`, and what becomes of them."""

import dataclasses

import jax
import numpy as np
import pytest

from dmlp_jax import InputError, PurifyConfig, accept, purify
from dmlp_jax.purifier import arguments, sharded
from dmlp_jax.purifier.calibration import draw, move
from dmlp_jax.purifier.calibration.collect import class_weights
from dmlp_jax.purifier.rows.disk import WithMoreRows
from tests.conftest import FIXED, make_blobs

FEATURES, GIVEN, VAL, TRUE = make_blobs(0)


def given_of(labels, seed=0):
    """Labels before review, as noisy as those of `make_blobs`."""
    rng = np.random.default_rng((seed, 1))
    return np.where(rng.random(len(labels)) < 0.5, rng.integers(3, size=len(labels)), labels)


VAL_GIVEN = given_of(VAL[1])


def inputs_of(val_labels, given=None, random=None, seed=0, features=FEATURES, labels=GIVEN, weight=None):
    val = np.arange(16 * len(val_labels), dtype=np.float32).reshape(-1, 16), np.asarray(val_labels)
    given = np.zeros(len(val_labels), int) if given is None else given
    key = jax.random.key(seed)
    return arguments.check(features, labels, val, 3, given, random, weight, PurifyConfig(), key)[1]


LABELS = np.repeat([0, 1, 2], [60, 21, 3])


def test_every_class_gives_its_share_and_every_row_has_the_same_chance():
    taken = np.zeros(len(LABELS))
    for seed in range(100):
        drawn = draw.draw(0.4, inputs_of(LABELS, seed=seed), 3)
        assert len(drawn.taken) == 33  # of 84
        assert sorted([*drawn.taken, *drawn.kept]) == list(range(84))
        counts = np.bincount(LABELS[drawn.taken], minlength=3)
        assert np.all(np.abs(counts - 0.4 * np.bincount(LABELS)) <= 1)
        assert set(LABELS[drawn.kept]) == {0, 1, 2}
        taken[drawn.taken] += 1
    # Five standard errors of a share of 100 draws.
    np.testing.assert_allclose(taken / 100, 33 / 84, atol=0.25)
    assert float(drawn.share) == pytest.approx(33 / 84)


def test_only_random_rows_of_known_label_that_are_not_alone_are_taken():
    labels = np.append(np.repeat([0, 1], 40), 2)
    given, random = np.zeros(81, int), np.ones(81, bool)
    given[:10], random[40:60] = -1, False
    for seed in range(5):
        drawn = draw.draw(0.5, inputs_of(labels, given, random, seed), 3)
        assert len(drawn.taken) == 25
        assert np.all(drawn.taken >= 10)
        assert not np.any((drawn.taken >= 40) & (drawn.taken < 60))
        assert 80 in drawn.kept
    np.testing.assert_array_equal(np.flatnonzero(drawn.alone), [80])


def test_two_rows_of_every_class_give_one_each():
    labels = np.array([0, 1, 2, 0, 1, 2])
    for seed in range(10):
        drawn = draw.draw(0.5, inputs_of(labels, seed=seed), 3)
        assert sorted(labels[drawn.taken]) == sorted(labels[drawn.kept]) == [0, 1, 2]


def test_traced_draws_take_a_fixed_number_and_never_the_last_of_a_class():
    """With too few rows that count, others fill up, but of no weight."""

    @jax.jit
    def traced(given, key):
        inputs = inputs_of(LABELS, np.zeros(84, int))._replace(val_given_labels=given, key=key)
        return draw.draw(0.4, inputs, 3)

    for seed in range(10):
        for known in (84, 20, 0):
            given = np.where(np.arange(84) < known, 0, -1)
            drawn = jax.tree.map(np.asarray, traced(given, jax.random.key(seed)))
            assert len(drawn.taken) == 33
            assert set(LABELS[drawn.kept]) == {0, 1, 2}
            assert drawn.counts[drawn.taken].sum() == min(33, known // 2)


@pytest.mark.parametrize("kind", ["indices", "distributions"])
def test_rows_move_behind_the_training_rows_with_their_given_labels(kind):
    labels = GIVEN if kind == "indices" else np.eye(3, dtype=np.float32)[GIVEN]
    inputs = inputs_of(LABELS, (LABELS + 1) % 3, labels=labels, weight=np.full(300, 4.0))
    drawn = draw.draw(0.3, inputs, 3)
    features, moved = move.move(drawn, FEATURES, inputs, 3)
    np.testing.assert_array_equal(features[:300], FEATURES)
    np.testing.assert_array_equal(features[300:], inputs.val_features[drawn.taken])
    given = moved.labels if kind == "indices" else np.argmax(moved.labels, axis=1)
    np.testing.assert_array_equal(given, [*GIVEN, *((LABELS + 1) % 3)[drawn.taken]])
    np.testing.assert_array_equal(moved.val_features, inputs.val_features[drawn.kept])
    np.testing.assert_array_equal(moved.val_labels, LABELS[drawn.kept])
    np.testing.assert_array_equal(moved.sample_weight, np.full(325, 4.0))


@pytest.mark.parametrize("on_disk", [False, True])
def test_copies_among_the_training_rows_count_no_more(on_disk, tmp_path, monkeypatch):
    """Where clean rows were drawn from the training rows and left there. On disk rows are read in blocks."""
    monkeypatch.setattr(move, "BLOCK", 16 * 70)
    inputs = inputs_of(LABELS)
    drawn = draw.draw(0.3, inputs, 3)
    copied = FEATURES.copy()
    copied[[5, 250]] = inputs.val_features[[drawn.taken[3], drawn.kept[0]]]
    features = copied
    if on_disk:
        np.save(tmp_path / "x.npy", copied)
        features = np.load(tmp_path / "x.npy", mmap_mode="r")
    more, moved = move.move(drawn, features, inputs, 3)
    assert more.shape == (325, 16)
    assert isinstance(more, WithMoreRows) == on_disk
    # Row 250 is a copy of a clean row that stays, which the program finds by itself.
    assert np.flatnonzero(np.asarray(moved.sample_weight) == 0).tolist() == [5]


def test_rows_behind_a_file_are_read_in_slices():
    rows, more = np.arange(12, dtype=np.float16).reshape(6, 2), np.ones((3, 2), np.float32)
    both, expected = WithMoreRows(rows, more), np.concatenate([rows, more])
    assert both.shape == (9, 2)
    assert both.dtype == np.float32
    for start in range(10):
        for stop in range(start, 11):
            np.testing.assert_array_equal(both[start:stop], expected[start:stop])


def test_weights_make_classes_as_frequent_as_among_the_training_rows():
    labels = np.repeat([0, 1, 2], 100)
    counts = np.ones(300, bool)
    shares = np.float32([0.8, 0.15, 0.05])
    weights = np.asarray(class_weights(labels, counts, shares, 3))
    np.testing.assert_allclose(weights, 3 * shares, rtol=0.05)
    # Shares as far off as chance makes them are left alone; a class without rows has no say.
    near = np.float32([0.35, 0.33, 0.32])
    np.testing.assert_allclose(class_weights(labels, counts, near, 3), 1, atol=0.01)
    two = class_weights(labels, labels < 2, shares, 3)
    np.testing.assert_allclose(two, [2 * 0.8 / 0.95, 2 * 0.15 / 0.95, 1], rtol=0.05)


@pytest.fixture(scope="module")
def aside():
    """A result whose calibration rows are the first fifteen clean rows."""
    return purify(
        FEATURES, GIVEN, VAL, val_given_labels=VAL_GIVEN, calibration=np.arange(30) < 15, config=FIXED
    )


def test_calibration_rows_are_purified_like_training_rows(aside):
    """As if somebody had moved them by hand, and nothing of them is left elsewhere in the result."""
    whole = purify(
        np.concatenate([FEATURES, VAL[0][:15]]),
        np.concatenate([GIVEN, VAL_GIVEN[:15]]),
        (VAL[0][15:], VAL[1][15:]),
        val_given_labels=VAL_GIVEN[15:],
        config=FIXED,
    )
    np.testing.assert_array_equal(aside.labels, whole.labels[:300])
    np.testing.assert_allclose(aside.probs, whole.probs[:300], atol=1e-6)
    np.testing.assert_allclose(aside.calibration.confidence, whole.confidence[300:], atol=1e-6)
    np.testing.assert_array_equal(aside.calibration.right, whole.labels[300:] == VAL[1][:15])
    np.testing.assert_allclose(aside.calibration.weight, 1, atol=0.05)
    assert float(aside.calibration.share) == 0.5
    for leaf in (aside.confidence, aside.changed, aside.label_quality, *aside.baselines.values()):
        assert len(leaf) == 300
    doubtful = aside.diagnostics["doubtful_clean_rows"]
    np.testing.assert_array_equal(doubtful[15:], whole.diagnostics["doubtful_clean_rows"])
    assert len(doubtful) == 30
    assert not np.any(doubtful[:15])


def test_accept_takes_results_of_purify(aside):
    found = accept(aside, 0.3)
    assert found.rows.shape == (300,)
    assert int(found.calibration_rows) == 15
    as_numpy = accept(jax.tree.map(np.asarray, aside), 0.3)
    np.testing.assert_array_equal(found.rows, as_numpy.rows)
    assert not np.any(accept(aside, 0.01).rows)
    assert "15 calibration rows are too few for a risk of 0.01" in accept(aside, 0.01).reason


def test_a_class_of_one_clean_row_counts_as_wrong_in_proportion():
    """It is rare among the clean rows only, so its row, and those it stands for, weigh more than others."""
    some = (VAL[1] < 2) | (np.arange(30) == 2)
    clean, given = (VAL[0][some], VAL[1][some]), VAL_GIVEN[some]
    found = purify(FEATURES, GIVEN, clean, val_given_labels=given, calibration=0.5, config=FIXED)
    assert len(found.calibration.right) == 10
    rows, shares = np.bincount(clean[1]), np.mean(found.probs, axis=0)
    weights = shares * 21 / rows
    shrunk = 1 - 2 / np.sum(rows * (weights - 1) ** 2)
    weights = 1 + shrunk * (weights - 1)
    assert weights[2] > 2
    np.testing.assert_allclose(found.calibration.largest, weights[2], rtol=1e-4)
    np.testing.assert_allclose(found.calibration.unseen, 0.5 * weights[2], rtol=1e-4)
    np.testing.assert_allclose(
        sorted(set(np.asarray(found.calibration.weight))), sorted(weights[:2]), rtol=1e-4
    )
    least = float(np.min(accept(found, 0.3).p_value))
    known = float(np.sum(found.calibration.weight))
    assert least >= 1.5 * weights[2] / (1.5 * weights[2] + known) * (1 - 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        PurifyConfig.paper(steps=45, ipc_batch_size=100, eac_batch_size=50),
        dataclasses.replace(FIXED, keep_label_history=True),
    ],
    ids=["paper", "history"],
)
def test_other_settings_are_cut_as_well(config):
    found = purify(FEATURES, GIVEN, VAL, val_given_labels=VAL_GIVEN, calibration=0.5, config=config)
    assert found.labels.shape == (300,)
    assert found.calibration.right.shape == (15,)
    if "labels" in found.history:
        assert found.history["labels"].shape[1] == 300
    assert accept(found, 0.5).rows.shape == (300,)


def test_without_known_labels_nothing_is_set_aside():
    plain = purify(FEATURES, GIVEN, VAL, config=FIXED)
    found = purify(FEATURES, GIVEN, VAL, calibration=0.5, config=FIXED)
    np.testing.assert_array_equal(found.probs, plain.probs)
    assert found.calibration.right.shape == (0,)
    accepted = accept(found, 0.05)
    assert not np.any(accepted.rows)
    assert "val_given_labels" in accepted.reason
    assert plain.calibration is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"calibration": 0.7}, "calibration is 0.7; .* at most 0.5"),
        ({"calibration": 0}, "calibration is 0; "),
        ({"calibration": np.ones(7, bool)}, r"each of the 30 clean rows, got bool of shape \(7,\)"),
        ({"calibration": np.arange(30)}, "True or False .* got int64"),
        ({"calibration": True}, "share such as 0.3"),
        ({"calibration": "some"}, "share such as 0.3"),
        ({"calibration": VAL[1] == 1}, "all clean rows of class 1"),
        (
            {"calibration": np.arange(30) < 9, "val_random": np.arange(30) != 4},
            r"calibration\[4\] is True, but .*\(val_random\)",
        ),
        (
            {"calibration": np.arange(30) < 9, "val_given_labels": np.where(np.arange(30) == 3, -1, 0)},
            r"calibration\[3\] is True, but .* \(1 such rows\)",
        ),
    ],
)
def test_mistakes_are_named(changes, words):
    with pytest.raises(InputError, match=words):
        purify(FEATURES, GIVEN, VAL, **{"val_given_labels": VAL_GIVEN, "config": FIXED, **changes})


def test_rows_over_devices_are_refused(monkeypatch):
    monkeypatch.setattr(sharded, "placement", lambda features: object())
    with pytest.raises(InputError, match="spread over devices"):
        purify(FEATURES, GIVEN, VAL, val_given_labels=VAL_GIVEN, calibration=0.5)


@pytest.mark.parametrize(
    ("wanted", "labels", "words"),
    [
        (0.5, [0, 1, 2, 0], "2 of 4 clean rows, but each of the 3 classes needs a clean row that stays"),
        (None, [0, 1, 2, 0], "under jax.jit .* give a share"),
    ],
)
def test_what_cannot_be_traced_is_refused(wanted, labels, words):
    def traced(given, flags):
        inputs = inputs_of(labels)._replace(val_given_labels=given)
        return draw.draw(flags if wanted is None else wanted, inputs, 3)

    with pytest.raises(InputError, match=words):
        jax.eval_shape(traced, np.zeros(4, int), np.zeros(4, bool))


@pytest.mark.slow
def test_under_jit_and_vmap(aside):
    """A mask outside is concrete, so inside jit it gives the same; a share gives each its own draw."""

    def run(given, key, calibration):
        found = purify(
            FEATURES, given, VAL,
            num_classes=3, val_given_labels=VAL_GIVEN, calibration=calibration, config=FIXED, key=key,
        )  # fmt: skip
        return found, accept(found, 0.3)

    keys = jax.random.split(jax.random.key(0), 2)
    same = jax.random.key(0)
    traced = jax.jit(lambda given: run(given, same, np.arange(30) < 15))(GIVEN)
    np.testing.assert_allclose(traced[0].probs, aside.probs, atol=1e-5)
    np.testing.assert_array_equal(traced[0].calibration.right, aside.calibration.right)
    found, accepted = jax.vmap(lambda key: run(GIVEN, key, 0.5))(keys)
    for index, key in enumerate(keys):
        one, rows = run(GIVEN, key, 0.5)
        np.testing.assert_allclose(found.probs[index], one.probs, atol=1e-5)
        np.testing.assert_array_equal(accepted.rows[index], rows.rows)
    assert not np.array_equal(found.calibration.confidence[0], found.calibration.confidence[1])


@pytest.mark.slow
def test_from_disk(aside, tmp_path):
    np.save(tmp_path / "x.npy", FEATURES)
    stored = np.load(tmp_path / "x.npy", mmap_mode="r")
    wanted = {"val_given_labels": VAL_GIVEN, "calibration": np.arange(30) < 15, "config": FIXED}
    found = purify(stored, GIVEN, VAL, **wanted)
    np.testing.assert_allclose(found.probs, aside.probs, atol=1e-5)
    np.testing.assert_allclose(found.calibration.confidence, aside.calibration.confidence, atol=1e-5)


@pytest.mark.slow
def test_the_promise_holds_for_purified_labels():
    """Mean rate of wrong labels among the accepted over draws, and no empty selection."""
    wrong, accepted, overall = [], [], []
    for seed in range(20):
        features, given, val, true = make_blobs(seed, val_rows=240, spread=1.7)
        found = purify(
            features, given, val,
            val_given_labels=given_of(val[1], seed), calibration=0.5, config=FIXED, key=jax.random.key(seed),
        )  # fmt: skip
        rows, right = np.asarray(accept(found, 0.1).rows), np.asarray(found.labels) == true
        wrong.append(np.mean(~right[rows]) if rows.any() else 0.0)
        accepted.append(rows.mean())
        overall.append(np.mean(~right))
    # All labels together would not do.
    assert np.mean(overall) > 0.13
    assert np.mean(wrong) < 0.1 + 2 * np.std(wrong) / 20**0.5
    assert np.mean(accepted) > 0.4
