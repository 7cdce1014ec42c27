import dataclasses
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax import PurifyConfig, predict, purify
from tests.conftest import FIXED, SHORT, accuracy, make_blobs

RACE = PurifyConfig(steps=8, race_steps=5, refits=0, keep_label_history=True, ipc=True)
PAPER = PurifyConfig.paper(steps=45, ipc_batch_size=100, eac_batch_size=50)


@pytest.fixture(scope="module")
def result(blobs):
    features, given, val, _ = blobs
    return purify(features, given, val, config=SHORT)


@pytest.fixture(scope="module")
def fixed(blobs):
    features, given, val, _ = blobs
    return purify(features, given, val, config=FIXED)


@pytest.mark.parametrize("noise", [0.2, 0.5, 0.8])
def test_labels_are_better_than_given_and_than_every_baseline(noise):
    """In the mean of five draws; a single one is a matter of luck with 30 clean rows.

    On Gaussian clusters ridge regression is Fisher's discriminant, which nothing beats, hence the margin.
    """
    own, given_accuracy, others = [], [], []
    for seed in range(5):
        features, given, val, true = make_blobs(seed, noise=noise)
        found = purify(features, given, val, config=SHORT)
        own.append(accuracy(found.labels, true))
        given_accuracy.append(accuracy(given, true))
        others.append([accuracy(labels, true) for labels in found.baselines.values()])
    assert np.mean(own) > np.mean(given_accuracy) + 0.1
    assert np.mean(own) > np.mean(others, axis=0).max() - 0.01


@pytest.mark.parametrize(
    ("rows", "value"),
    [(7, 1e6), (7, np.finfo(np.float32).max), (np.s_[::10], -999), (np.s_[::10], 1e20)],
    ids=["a cell of 1e6", "the largest number", "a tenth of the rows", "a tenth, huge"],
)
def test_absurd_values_spoil_no_other_row(blobs, result, rows, value):
    features, given, val, true = blobs
    spoilt = features.copy()
    spoilt[rows, 3 if rows == 7 else np.s_[:]] = value
    rest = np.ones(len(given), bool)
    rest[rows] = False
    found = purify(spoilt, given, val, config=SHORT)
    assert accuracy(found.labels[rest], true[rest]) > accuracy(result.labels[rest], true[rest]) - 0.03
    # A row of one absurd cell is still told by its other cells, an absurd row by its given label.
    assert accuracy(found.labels[~rest], true[~rest]) >= accuracy(given[~rest], true[~rest]) - 0.04
    # The second one is about labels before review.
    assert len(found.warnings) == 2
    assert f"{(~rest).sum()} training row" in found.warnings[0]
    predicted = np.argmax(predict(found.classifier, spoilt), axis=1)
    assert accuracy(predicted[rest], true[rest]) > 0.9
    assert np.all(np.isfinite(found.probs))


@pytest.mark.slow
def test_absurd_values_do_not_spoil_the_paper_preset(blobs):
    features, given, val, true = blobs
    whole = purify(features, given, val, config=PAPER)
    spoilt = features.copy()
    spoilt[7, 3] = np.finfo(np.float32).max
    found = purify(spoilt, given, val, config=PAPER)
    assert accuracy(found.labels, true) > accuracy(whole.labels, true) - 0.03
    assert np.all(np.isfinite(predict(found.classifier, spoilt)))


def test_asymmetric_noise_is_seen_in_the_transition_matrix():
    features, _, val, true = make_blobs(3)
    rng = np.random.default_rng(0)
    given = np.where((true == 0) & (rng.random(300) < 0.4), 1, true)
    found = purify(features, given, val, config=SHORT)
    np.testing.assert_allclose(found.transition[0], [0.6, 0.4, 0.0], atol=0.1)
    assert found.transition[1, 1] > 0.9
    assert accuracy(found.labels, true) > accuracy(given, true) + 0.05


def test_right_labels_stay_right():
    features, _, val, true = make_blobs(4)
    found = purify(features, true, val, config=SHORT)
    assert accuracy(found.labels, true) > 0.99


def test_random_labels_do_no_harm():
    """Without information in the labels nothing can be gained over the clean rows alone."""
    clean_only, own = [], []
    for seed in range(5):
        features, given, val, true = make_blobs(seed, noise=1.0)
        found = purify(features, given, val, config=SHORT)
        own.append(accuracy(found.labels, true))
        clean_only.append(accuracy(found.baselines["val_only_probe"], true))
    assert np.mean(own) > np.mean(clean_only) - 0.02


@pytest.mark.parametrize("config", [SHORT, PAPER], ids=["default", "paper"])
def test_fields_agree_with_each_other(blobs, config):
    features, given, val, _ = blobs
    found = purify(features, given, val, config=config)
    probs = np.asarray(found.probs)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert probs.min() >= 0
    np.testing.assert_array_equal(found.labels, probs.argmax(axis=1))
    np.testing.assert_allclose(found.confidence, probs.max(axis=1))
    np.testing.assert_array_equal(found.changed, np.asarray(found.labels) != given)
    assert found.labels.dtype == jnp.int32
    assert found.history["changed"].shape == (config.steps,)
    np.testing.assert_allclose(found.transition.sum(axis=1), 1, atol=1e-5)
    assert set(found.scores) == {"given", "purified", *found.baselines}


def test_confidence_is_about_right(blobs, result):
    *_, true = blobs
    assert abs(float(np.mean(result.confidence)) - accuracy(result.labels, true)) < 0.05
    assert abs(float(result.scores["given"]["estimated_accuracy"]) - accuracy(blobs[1], true)) < 0.05


def test_classifier_works_on_new_rows(blobs, result):
    rng = np.random.default_rng(9)
    features, _, _, true = blobs
    centres = np.stack([features[true == label].mean(axis=0) for label in range(3)])
    labels = rng.integers(3, size=200)
    fresh = (centres[labels] + rng.normal(size=(200, 16))).astype(np.float32)
    probs = predict(result.classifier, fresh)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert accuracy(probs.argmax(axis=1), labels) > 0.9


def test_same_result_under_jit(blobs, fixed):
    features, given, val, _ = blobs
    jitted = jax.jit(lambda f, g, v: purify(f, g, v, num_classes=3, config=FIXED))
    found = jitted(features, given, val)
    np.testing.assert_array_equal(found.labels, fixed.labels)
    np.testing.assert_allclose(found.probs, fixed.probs, atol=1e-4)


def test_vmap_over_label_sets_is_each_alone(blobs, fixed):
    features, given, val, _ = blobs
    other = make_blobs(0, noise=0.2)[1]
    many = jax.vmap(lambda g: purify(features, g, val, num_classes=3, config=FIXED))
    found = many(np.stack([given, other]))
    np.testing.assert_allclose(found.probs[0], fixed.probs, atol=1e-3)
    alone = purify(features, other, val, config=FIXED)
    np.testing.assert_allclose(found.probs[1], alone.probs, atol=1e-3)


@pytest.mark.slow
def test_vmap_over_numbers_in_the_config(blobs):
    features, given, val, _ = blobs

    def at(decay):
        config = dataclasses.replace(FIXED, weight_decay=(decay,))
        return purify(features, given, val, num_classes=3, config=config).probs

    both = jax.vmap(at)(jnp.asarray([0.3, 3.0]))
    np.testing.assert_allclose(both[1], at(3.0), atol=1e-3)
    assert np.abs(both[0] - both[1]).max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("decays", [(0.1, 300.0), (300.0, 0.1), (30.0, 1.0, 0.1)])
def test_the_candidate_that_does_best_on_held_out_rows_goes_on(blobs, decays):
    features, given, val, _ = blobs

    def run(decays):
        config = dataclasses.replace(RACE, weight_decay=decays)
        return purify(features, given, val, config=config)

    # Alone each goes through the same rounds as in the race.
    alone = [run((decay,)).history for decay in decays]
    best = int(np.argmax([each["expected_score"][4] - each["held_out_loss"][4] for each in alone]))
    together = run(decays)
    assert int(together.chosen["candidate"]) == best
    np.testing.assert_allclose(together.history["val_loss"], alone[best]["val_loss"], atol=1e-4)
    assert np.mean(together.history["labels"] == alone[best]["labels"]) > 0.99


@pytest.mark.slow
def test_vmap_over_races_that_different_candidates_win(blobs):
    features, given, val, _ = blobs

    def run(*decays):
        config = dataclasses.replace(RACE, weight_decay=decays)
        return purify(features, given, val, num_classes=3, config=config)

    decays = np.float32([[0.1, 300.0], [300.0, 0.1]])
    found = jax.vmap(run)(*decays.T)
    assert sorted(found.chosen["candidate"].tolist()) == [0, 1]
    for index, own in enumerate(decays):
        np.testing.assert_allclose(found.probs[index], run(*own).probs, atol=1e-3)


def test_same_key_same_result(blobs, result):
    features, given, val, _ = blobs
    again = purify(features, given, val, config=SHORT, key=jax.random.key(0))
    np.testing.assert_array_equal(again.probs, result.probs)


def test_given_labels_of_clean_rows_are_scored(blobs):
    features, given, val, _ = blobs
    val_given = val[1].copy()
    val_given[:6] = (val_given[:6] + 1) % 3
    found = purify(features, given, val, config=SHORT, val_given_labels=val_given)
    np.testing.assert_allclose(found.scores["given"]["accuracy"], 0.8, rtol=1e-6)
    assert np.isfinite(found.scores["purified"]["accuracy"])


@pytest.mark.slow
def test_label_history_ends_in_the_labels_of_the_last_round(blobs):
    features, given, val, true = blobs
    config = dataclasses.replace(FIXED, keep_label_history=True)
    found = purify(features, given, val, config=config)
    assert found.history["labels"].shape == (30, 300)
    assert np.mean(np.asarray(found.history["labels"][-1]) == np.asarray(found.labels)) > 0.98
    assert accuracy(found.history["labels"][-1], true) > accuracy(given, true)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"ipc": True}, {"posterior": False}], ids=str)
def test_ablations_change_the_result(blobs, fixed, change):
    features, given, val, _ = blobs
    found = purify(features, given, val, config=dataclasses.replace(FIXED, **change))
    assert np.abs(np.asarray(found.probs) - np.asarray(fixed.probs)).max() > 1e-4


def test_without_selection_the_first_candidate_ends_at_the_last_round(fixed):
    assert int(fixed.chosen["candidate"]) == 0
    assert int(fixed.chosen["step"]) == FIXED.steps


def test_constant_features_give_a_valid_result():
    features = np.ones((330, 16), np.float32)
    labels = np.arange(330, dtype=np.int32) % 3
    found = purify(features[:300], labels[:300], (features[300:], labels[300:]), config=SHORT)
    probs = np.asarray(found.probs)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)


def test_no_lapack_call_of_the_whole_program_is_batched(blobs):
    """See `ridge.py`: two batched calls at once can hang on CPU. Mapped over label sets and settings too."""
    features, given, val, _ = blobs

    def many(given, decay):
        config = dataclasses.replace(PurifyConfig(steps=3, race_steps=2, ipc=True), weight_decay=(decay, 0.1))
        return purify(features, given, val, num_classes=3, config=config).probs

    program = jax.jit(jax.vmap(many)).lower(np.stack([given, given]), jnp.asarray([0.3, 1.0])).as_text()
    calls = [line for line in program.splitlines() if "@lapack" in line]
    assert calls
    assert not [line for line in calls if re.search(r"tensor<\d+x\d+x\d+xf32>", line)]


@pytest.mark.slow
@pytest.mark.parametrize("config", ["PurifyConfig(steps=3, race_steps=2)", "PurifyConfig.paper(steps=3)"])
def test_works_with_64_bit_types_switched_on(config):
    code = (
        "import jax, numpy as np; jax.config.update('jax_enable_x64', True)\n"
        "from dmlp_jax import PurifyConfig, purify\n"
        "from tests.conftest import accuracy, make_blobs\n"
        "f, g, v, _ = make_blobs(0)\n"
        f"assert purify(f.astype('float64'), g, v, config={config}).probs.dtype == np.float32\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
