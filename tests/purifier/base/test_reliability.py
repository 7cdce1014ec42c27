import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax import PurifyConfig, purify
from dmlp_jax.purifier.base import reliability
from dmlp_jax.purifier.posterior import held_out
from tests.conftest import SHORT, make_blobs


def binned_by_hand(confidence, right, weight):
    edges = np.linspace(0, 1, reliability.BINS + 1)
    sums = {"rows": weight, "confidence": weight * confidence, "right": weight * right}
    return {name: np.histogram(confidence, edges, weights=values)[0] for name, values in sums.items()}


def test_labels_are_counted_by_confidence():
    rng = np.random.default_rng(0)
    confidence, right, weight = rng.random(300), rng.random(300) < 0.6, rng.random(300)
    confidence[:2] = 0, 1
    found = reliability.binned(*(jnp.asarray(values, jnp.float32) for values in (confidence, right, weight)))
    for name, values in binned_by_hand(confidence, right, weight).items():
        np.testing.assert_allclose(found[name], values, atol=1e-4)


@pytest.mark.parametrize("entries", [1, 1000, 2**22], ids="{} at once".format)
def test_expectation_is_over_every_label_that_the_noise_may_give(entries, monkeypatch):
    monkeypatch.setattr(reliability, "ENTRIES", entries)
    rng = np.random.default_rng(1)
    logits, labels = 2 * rng.normal(size=(70, 4)), rng.integers(4, size=70)
    noise, trusted = (rng.dirichlet(np.ones(4), size=4) for _ in range(2))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    joint = probs[:, :, None] * trusted
    posterior = joint / joint.sum(axis=1, keepdims=True)
    right = posterior.argmax(axis=1) == labels[:, None]
    wanted = binned_by_hand(*(values.ravel() for values in (posterior.max(axis=1), right, noise[labels])))
    arrays = (jnp.asarray(values, jnp.float32) for values in (logits, np.eye(4)[labels], noise, trusted))
    hits, bins = reliability.expected(*arrays)
    np.testing.assert_allclose(hits, (noise[labels] * right).sum(axis=1), atol=1e-5)
    for name, values in wanted.items():
        np.testing.assert_allclose(bins[name], values, atol=1e-4)


def test_classes_that_are_equally_probable_share_the_hit():
    noise = jnp.full((4, 4), 0.25)
    hits, _ = reliability.expected(jnp.zeros((3, 4)), jnp.eye(4)[jnp.array([0, 1, 3])], noise, noise)
    np.testing.assert_allclose(hits, 0.25)


@pytest.fixture(scope="module")
def whole():
    features, given, val, _ = make_blobs(3)
    return purify(features, given, val, config=SHORT)


@pytest.mark.parametrize(
    "known", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["expected", "given labels known"]
)
def test_bins_hold_every_clean_row_and_agree_with_the_score(known):
    features, given, val, _ = make_blobs(3)
    # A third of the clean rows were given a wrong label.
    val_given = np.where(np.arange(30) < 10, (val[1] + 1) % 3, val[1])
    result = purify(features, given, val, config=SHORT, val_given_labels=val_given if known else None)
    bins = {name: np.asarray(values) for name, values in result.reliability.items()}
    assert bins["rows"].sum() == pytest.approx(30, rel=1e-4)
    accuracy = bins["right"].sum() / bins["rows"].sum()
    assert accuracy == pytest.approx(float(result.scores["purified"]["accuracy"]), abs=1e-4)
    filled = bins["rows"] > 1e-3
    means = bins["confidence"][filled] / bins["rows"][filled]
    places = np.flatnonzero(filled)
    assert np.all(means >= places / reliability.BINS - 1e-4)
    assert np.all(means <= (places + 1) / reliability.BINS + 1e-4)


@pytest.mark.slow
def test_with_too_many_triples_only_some_clean_rows_are_asked(whole, monkeypatch, own_programs):
    features, given, val, _ = make_blobs(3)
    asked = []
    expected = reliability.expected

    def noted(logits, *others):
        asked.append(logits.shape[0])
        return expected(logits, *others)

    monkeypatch.setattr(reliability, "expected", noted)
    # 30 rows and 3 x 3 pairs of classes each.
    monkeypatch.setattr(held_out, "TRIPLES", 30 * 9 // 2)
    result = purify(features, given, val, config=SHORT)
    assert asked == [15]
    np.testing.assert_allclose(np.sum(result.reliability["rows"]), 30, rtol=1e-4)
    found, wanted = (r.scores["purified"]["accuracy"] for r in (result, whole))
    np.testing.assert_allclose(found, wanted, atol=0.1)
    assert np.mean(np.asarray(result.labels) == whole.labels) > 0.99


@pytest.mark.slow
def test_the_paper_preset_holds_nothing_out():
    features, given, val, _ = make_blobs(3)
    result = purify(features, given, val, config=PurifyConfig.paper(steps=5))
    assert not np.any(result.reliability["rows"])
