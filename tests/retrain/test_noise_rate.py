import numpy as np
import pytest

from dmlp_jax.retrain import label_variants
from dmlp_jax.retrain.noise_rate import estimate

ROWS, CLASSES = 400, 5
SCORES = {
    "given": 0.42,
    "val_only_probe": 0.75,
    "noisy_probe": 0.5,
    "noisy_plus_val_probe": 0.625,
    "purified": 0.875,
}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(CLASSES, 0.4), size=ROWS)
    return {"probs": probs, "given": rng.integers(CLASSES, size=ROWS)}


def rate(source, rows, calibrated=True, soft=False, scores=SCORES):
    return estimate(source, **rows, scores=scores, calibrated=calibrated, soft=soft)


def test_rates_are_those_of_truths_drawn_from_the_distributions(rows):
    """Truths drawn a thousand times from calibrated distributions, and labels held against them."""
    rng = np.random.default_rng(1)
    edges = rows["probs"].cumsum(axis=1)[:, None]

    def drawn():
        return np.minimum((rng.random((ROWS, 1000, 1)) > edges).sum(axis=2), CLASSES - 1)

    truths = drawn()
    labels = {
        ("given", False): rows["given"][:, None],
        ("purified", False): rows["probs"].argmax(axis=1)[:, None],
        ("purified", True): drawn(),
    }
    for (source, soft), guess in labels.items():
        assert abs(rate(source, rows, soft=soft) - np.mean(guess != truths)) < 0.005


def test_rates_of_two_rows_by_hand():
    rows = {"probs": np.array([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]]), "given": np.array([1, 0])}
    np.testing.assert_allclose(rate("given", rows), (0.8 + 1.0) / 2)
    np.testing.assert_allclose(rate("purified", rows), (0.3 + 0.5) / 2)
    np.testing.assert_allclose(rate("purified", rows, soft=True), (1 - 0.54 + 1 - 0.5) / 2)


def test_softness_concerns_purified_labels_only(rows):
    for source in SCORES:
        same = rate(source, rows, soft=True) == rate(source, rows, soft=False)
        assert same == (source != "purified")


@pytest.mark.parametrize("calibrated", [False, True])
def test_probes_are_as_wrong_as_on_clean_rows(rows, calibrated):
    for source in ("val_only_probe", "noisy_probe", "noisy_plus_val_probe"):
        assert rate(source, rows, calibrated) == 1 - SCORES[source]


def test_uncalibrated_distributions_tell_nothing(rows):
    assert rate("given", rows, calibrated=False) == pytest.approx(0.58)
    assert rate("purified", rows, calibrated=False, soft=True) == 0.125


@pytest.mark.parametrize("scores", [{}, dict.fromkeys(SCORES, float("nan"))], ids=["absent", "nan"])
def test_where_nothing_tells_there_is_no_rate(rows, scores):
    for source in SCORES:
        assert rate(source, rows, calibrated=False, scores=scores) is None
    assert rate("given", rows, scores=scores) is not None
    assert rate("val_only_probe", rows, scores=scores) is None


@pytest.mark.parametrize("calibrated", [False, True])
def test_true_labels_are_right(rows, calibrated):
    assert rate("true", rows, calibrated, scores={}) == 0.0


def test_every_source_has_a_rate_between_none_and_all_as_a_plain_number(rows):
    for source in label_variants.SOURCES:
        found = rate(source, {"probs": np.float32(rows["probs"]), "given": rows["given"]})
        assert type(found) is float
        assert 0 <= found <= 1
