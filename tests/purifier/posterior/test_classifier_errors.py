import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax import PurifyConfig
from dmlp_jax.purifier.posterior import classifier_errors
from dmlp_jax.purifier.posterior.e_step import LabelModel
from dmlp_jax.purifier.posterior.state import FittedModel
from dmlp_jax.purifier.posterior.temperature_evidence import TemperatureEvidence
from dmlp_jax.purifier.rows import clean_set


class Compiled:
    """Functions of `classifier_errors` as programs: operation by operation each compiles dozens of them."""

    fit = staticmethod(jax.jit(classifier_errors.fit))
    error_rate = staticmethod(jax.jit(classifier_errors.error_rate))
    error_matrix = staticmethod(jax.jit(classifier_errors.error_matrix))
    remove_noise_rate = staticmethod(jax.jit(classifier_errors.remove_noise_rate))
    shrink_uncertain_noise = staticmethod(jax.jit(classifier_errors.shrink_uncertain_noise))
    separate_classifier_errors = staticmethod(jax.jit(classifier_errors.separate_classifier_errors))


def clean_rows(count, sure, seed=0):
    """Predictions of clean rows and their true classes; one in ten is as sure as the others, and wrong."""
    rng = np.random.default_rng(seed)
    true = rng.integers(3, size=count)
    said = np.where(np.arange(count) % 10 == 0, (true + 1) % 3, true)
    probs = np.full((count, 3), (1 - sure) / 2)
    probs[np.arange(count), said] = sure
    return probs, np.eye(3)[true]


def noise_rate(matrix):
    return float(1 - np.trace(matrix) / len(matrix))


def uniform_noise(rate):
    return (1 - rate) * np.eye(3) + rate / 2 * (1 - np.eye(3))


def rates(matrix, probs, targets):
    arrays = (jnp.asarray(values, jnp.float32) for values in (matrix, probs, targets, np.zeros(3)))
    found = Compiled.error_rate(*arrays)
    return float(found.rate), float(found.margin)


@pytest.mark.parametrize("count", [100, 10_000])
def test_rates_are_the_likeliest_and_the_limit(count):
    """By brute force over a grid in float64; with few rows the limit is further than caution goes."""
    probs, targets = clean_rows(count, 0.99)
    matrix = uniform_noise(0.3)
    grid = np.linspace(0, 1, 100_001)
    right = (probs * targets).sum(axis=1)
    other = ((probs @ (matrix * (1 - np.eye(3)) / 0.3)) * targets).sum(axis=1)
    values, counts = np.unique(np.stack([right, other]).round(9), axis=1, return_counts=True)
    mixed = (1 - grid) * values[0][:, None] + grid * values[1][:, None]
    likelihood = (counts[:, None] * np.log(mixed)).sum(0)
    limit = grid[likelihood > likelihood.max() - 1.353].max()
    likeliest = grid[likelihood.argmax()]
    assert (limit - likeliest > classifier_errors.CAUTION) == (count == 100)
    wanted = likeliest, min(limit - likeliest, classifier_errors.CAUTION)
    np.testing.assert_allclose(rates(matrix, probs, targets), wanted, atol=2e-4)


def test_noise_no_greater_than_in_clean_rows_is_none():
    probs, targets = clean_rows(1000, 0.99)
    matrix = uniform_noise(0.09)
    found = Compiled.remove_noise_rate(jnp.asarray(matrix, jnp.float32), rates(matrix, probs, targets)[0])
    np.testing.assert_allclose(found, np.eye(3), atol=1e-5)


@pytest.mark.parametrize("count", [30, 10_000])
def test_calibrated_predictions_leave_the_noise_to_the_labels(count):
    probs, targets = clean_rows(count, 0.9)
    likeliest, margin = rates(uniform_noise(0.12), probs, targets)
    assert likeliest < 1e-3
    assert margin == pytest.approx(classifier_errors.CAUTION if count == 30 else 0.006, abs=2e-3)


def test_confusion_makes_predictions_as_sure_as_they_are_right():
    probs, targets = clean_rows(1000, 0.999)
    matrix = uniform_noise(0.4)
    confusion = Compiled.error_matrix(jnp.asarray(matrix, jnp.float32), rates(matrix, probs, targets)[0])
    mended = probs @ np.asarray(confusion)
    np.testing.assert_allclose(mended.max(axis=1), 0.9, atol=2e-3)
    np.testing.assert_allclose(mended.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 50])
@pytest.mark.parametrize("rate", [0.1, 0.45])
def test_noise_after_confusion_is_the_noise_that_was_found(classes, rate):
    """T = S T', whatever share of the noise is none."""
    off = 1 - np.eye(classes)
    matrix = jnp.asarray((1 - rate) * np.eye(classes) + rate / (classes - 1) * off, jnp.float32)
    for share in (0.0, 0.3, 0.9):
        confusion, rest = (
            Compiled.error_matrix(matrix, share * rate),
            Compiled.remove_noise_rate(matrix, share * rate),
        )
        np.testing.assert_allclose(confusion @ rest, matrix, atol=2e-6)
        np.testing.assert_allclose(noise_rate(confusion), share * rate, atol=1e-5)


@pytest.mark.parametrize("rate", [1e-9, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, 1.5])
def test_matrices_of_any_noise_are_distributions(rate, share):
    """Also where T is no better than chance, or worse, and nothing can be told apart."""
    matrix = jnp.asarray([[1 - rate, rate], [rate, 1 - rate]], jnp.float32)
    for found in (
        Compiled.error_matrix(matrix, min(share, 1.0) * rate),
        Compiled.remove_noise_rate(matrix, share * rate),
    ):
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
        assert np.all((np.asarray(found) > 0) & np.isfinite(found))


@pytest.mark.parametrize(("row", "least", "most"), [([0.7, 0.3, 0.0], 0.5, 1), ([0.8, 0.15, 0.05], 0.4, 0.6)])
def test_unequal_noise_keeps_its_pattern(row, least, most):
    matrix = jnp.asarray([row, [0.0, 1.0, 0.0], [0.05, 0.05, 0.9]], jnp.float32)
    rest = np.asarray(Compiled.remove_noise_rate(matrix, 0.05))
    noise, left = (np.asarray(found) * (1 - np.eye(3)) for found in (matrix, rest))
    kept = left[0, 1] / noise[0, 1]
    assert least < kept < most
    np.testing.assert_allclose(left, kept * noise, atol=1e-5)


@pytest.mark.parametrize("off", [[0.31, 0.33], [0.34, 0.31]])
def test_noise_of_any_kind_is_told_apart_with_three_classes_too(off):
    """One of two other classes always has half of the wrong labels."""
    matrix = np.full((3, 3), 0.325) + 0.025 * np.eye(3)
    matrix[0] = [1 - sum(off), *off]
    confusion = Compiled.error_matrix(jnp.asarray(matrix, jnp.float32), 0.1)
    assert np.all(np.diag(confusion) < 0.92)


def test_much_noise_of_one_kind_is_the_labels():
    """Of the second class's labels 4 in 10 are given as the third; the rest is noise of any kind."""
    matrix = 0.9 * np.eye(4) + 0.1 / 3 * (1 - np.eye(4))
    matrix[1] = [0.01, 0.58, 0.4, 0.01]
    matrix = jnp.asarray(matrix, jnp.float32)
    confusion, rest = (
        Compiled.error_matrix(matrix, 0.05),
        Compiled.remove_noise_rate(matrix, 0.05),
    )
    np.testing.assert_allclose(confusion[1], np.eye(4)[1], atol=1e-5)
    np.testing.assert_allclose(rest[1], matrix[1], atol=1e-5)
    assert float(confusion[0, 0]) < 0.95
    assert float(rest[0, 0]) > 0.95
    # Where in doubt, it is taken off like any other.
    assert float(Compiled.shrink_uncertain_noise(matrix, 0.02)[1, 1]) > 0.58


def cyclic(rate):
    """Noise that mostly takes a class for the next."""
    noise = np.array([[0.0, 0.25, 0.02], [0.02, 0.0, 0.25], [0.02, 0.02, 0.0]])
    noise *= rate / noise.sum(axis=1).mean()
    return np.eye(3) + noise - np.diag(noise.sum(axis=1))


def drawn_rows(confusion, shift, count=40_000):
    """Logits, probabilities that S and class shares make of them, and one-hot classes drawn from these."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(count, 3)) * 3
    scores = np.exp(logits)
    probs = scores / scores.sum(axis=1, keepdims=True) @ confusion * np.exp(shift)
    probs /= probs.sum(axis=1, keepdims=True)
    drawn = (probs.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return logits, probs, np.eye(3)[drawn]


def fit(matrix, logits, targets, shift, log_temperature=0.0, precision=0.0):
    evidence = TemperatureEvidence(jnp.float32(log_temperature), jnp.float32(precision))
    as_float32 = (jnp.asarray(values, jnp.float32) for values in (matrix, logits, targets))
    return Compiled.fit(*as_float32, evidence, jnp.asarray(shift, jnp.float32))


@pytest.mark.parametrize(
    ("noise", "rate", "shift"),
    [
        (uniform_noise, 0.3, (0.0, 0.0, 0.0)),
        (uniform_noise, 0.3, (0.7, 0.0, -0.7)),
        (cyclic, 0.2, (0.0, 0.0, 0.0)),
        (cyclic, 0.2, (1.5, 0.0, -0.5)),
    ],
)
def test_temperature_and_confusion_are_found_together(noise, rate, shift):
    """Rows drawn from the model; logits half as large again as they should be."""
    logits, probs, targets = drawn_rows(noise(0.1), shift)
    found = fit(noise(rate), 1.5 * logits, targets, shift)
    np.testing.assert_allclose(found.temperature, 1.5, rtol=0.05)
    np.testing.assert_allclose(noise_rate(found.errors), 0.1, atol=0.02)
    np.testing.assert_allclose(found.errors, noise(0.1), atol=0.02)
    np.testing.assert_allclose(jax.nn.softmax(found.logits), probs, atol=0.02)
    if noise is uniform_noise:
        np.testing.assert_allclose(found.errors @ found.transition, noise(rate), atol=1e-5)


def test_the_temperature_listens_to_the_training_rows():
    logits, _, targets = drawn_rows(cyclic(0.1), np.zeros(3), count=300)
    found = fit(cyclic(0.2), logits, targets, np.zeros(3), log_temperature=np.log(2), precision=1e5)
    np.testing.assert_allclose(found.temperature, 2, rtol=0.02)


def make_fitted(scale):
    """What the rounds of `purify` leave, logits and all temperatures times `scale`; and the clean rows."""
    rng = np.random.default_rng(0)
    weights = scale * np.array([[2.0, -1.0, -1.0], [0.0, 1.0, -1.0], [0.3, 0.0, 0.0]])
    scalars = (np.float32(value * scale) for value in (0.5, 0.1, 1.2))
    one = LabelModel(jnp.asarray(weights, jnp.float32), jnp.asarray(cyclic(0.2), jnp.float32), *scalars)
    true = rng.integers(3, size=60)
    centres = np.array([[1.5, 0.0, 1.0], [-0.7, 1.2, 1.0], [-0.7, -1.2, 1.0]])
    features = centres[true] + rng.normal(size=(60, 3)) * [1, 1, 0]
    clean = clean_set.make(jnp.asarray(features, jnp.float32), jnp.asarray(true), 3, 3, jax.random.key(0))
    # Held-out logits are three times as large, and the training rows see no reason for less confidence.
    evidence = TemperatureEvidence(jnp.float32(np.log(1.2 * scale)), jnp.float32(1000))
    held_out = 3 * clean.features @ (one.weights / one.temperature)
    model = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], one)
    return FittedModel(model, held_out, evidence, jnp.array([0.2, 0.3, 0.5])), clean


def test_the_scale_of_the_logits_does_not_matter():
    """As long as temperatures are on the same scale."""
    final, same = (
        Compiled.separate_classifier_errors(*make_fitted(scale), PurifyConfig()) for scale in (1.0, 3.0)
    )
    np.testing.assert_allclose(same.transition, final.transition, atol=1e-4)
    np.testing.assert_allclose(same.errors, final.errors, atol=1e-4)
    np.testing.assert_allclose(same.model.temperature, 3 * final.model.temperature, rtol=1e-4)
    np.testing.assert_allclose(same.held_out, final.held_out, atol=1e-3)


def test_labels_are_written_with_less_noise_than_the_classifier_learned_from():
    fitted, clean = make_fitted(1.0)
    final = Compiled.separate_classifier_errors(fitted, clean, PurifyConfig())
    learned = fitted.model.transition[0]
    assert 0.01 < noise_rate(final.errors) < noise_rate(learned)
    np.testing.assert_allclose(
        final.transition, Compiled.remove_noise_rate(learned, noise_rate(final.errors)), atol=1e-5
    )
    np.testing.assert_array_equal(final.model.transition, learned)
    assert noise_rate(final.cautious_transition) < noise_rate(final.transition)


def test_without_the_posterior_nothing_is_separated():
    fitted, clean = make_fitted(1.0)
    final = Compiled.separate_classifier_errors(fitted, clean, PurifyConfig(posterior=False))
    assert final.errors is None
    for matrix in (final.transition, final.cautious_transition):
        np.testing.assert_array_equal(matrix, fitted.model.transition[0])


def test_caution_takes_off_what_is_in_doubt():
    for rate, left in ((0.2, 0.2 - 0.02**2 / 0.2), (0.04, 0.03), (0.02, 0.0), (0.01, 0.0)):
        found = Compiled.shrink_uncertain_noise(jnp.asarray(uniform_noise(rate), jnp.float32), 0.02)
        np.testing.assert_allclose(noise_rate(found), left, rtol=0.03, atol=1e-5)
