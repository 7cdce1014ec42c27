import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.retrain.methods import mixmatch
from tests.retrain.methods.dividemix_helpers import (
    reference_loss,
    reference_slope,
    sharpened,
    simplex,
    softmax,
)

CLASSES = [2, 3, 100]
sharpen = jax.jit(mixmatch.sharpen)
refine = jax.jit(mixmatch.co_refine)
guess = jax.jit(mixmatch.co_guess)
loss = jax.jit(mixmatch.mixed_loss, static_argnums=(2, 4))
slopes = jax.jit(jax.value_and_grad(mixmatch.mixed_loss), static_argnums=(2, 4))


def mixed_batch(seed, classes, labelled, unlabelled):
    logits = 2 * np.random.default_rng(seed).normal(size=(labelled + unlabelled, classes))
    return logits, simplex(seed + 1, labelled + unlabelled, classes)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("temperature", [0.25, 0.5, 1.0, 2.0])
def test_sharpening_raises_to_the_inverse_temperature(classes, temperature):
    probs = simplex(0, 7, classes)
    found = sharpen(jnp.asarray(probs, jnp.float32), temperature)
    np.testing.assert_allclose(found, sharpened(probs, temperature), rtol=1e-4, atol=1e-7)


def test_sharpening_by_one_half_squares():
    found = sharpen(jnp.array([[0.8, 0.2], [0.5, 0.5], [1.0, 0.0]]), 0.5)
    np.testing.assert_allclose(found, [[64 / 68, 4 / 68], [0.5, 0.5], [1.0, 0.0]], rtol=1e-6)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("views", [1, 2])
def test_labels_are_refined_as_far_as_they_look_wrong(classes, views):
    rng = np.random.default_rng(1)
    logits = 3 * rng.normal(size=(views, 6, classes))
    targets = np.eye(classes)[rng.integers(classes, size=6)]
    clean = np.array([0.0, 1.0, 0.5, 0.9, 0.1, 0.3])
    mean = sum(softmax(view) for view in logits) / views
    expected = [
        sharpened(clean[row] * targets[row] + (1 - clean[row]) * mean[row], 0.5) for row in range(len(clean))
    ]
    found = refine(*(jnp.asarray(x, jnp.float32) for x in (targets, clean, logits)), 0.5)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-7)
    np.testing.assert_allclose(found[1], targets[1], atol=1e-7)


@pytest.mark.parametrize("classes", CLASSES)
def test_guess_is_the_sharpened_mean_of_probabilities_not_of_logits(classes):
    logits = 3 * np.random.default_rng(2).normal(size=(4, 5, classes))
    expected = sharpened(softmax(logits).mean(axis=0), 0.5)
    found = guess(jnp.asarray(logits, jnp.float32), 0.5)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-7)
    assert np.abs(found - sharpened(softmax(logits.mean(axis=0)), 0.5)).max() > 0.01


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize(("labelled", "unlabelled"), [(8, 8), (3, 9)])
def test_mixed_loss_is_that_of_the_paper(classes, labelled, unlabelled):
    logits, targets = mixed_batch(3, classes, labelled, unlabelled)
    for weight in (0.0, 1.0, 25.0):
        found = loss(jnp.asarray(logits), jnp.asarray(targets), labelled, weight, None)
        assert found.shape == ()
        np.testing.assert_allclose(found, reference_loss(logits, targets, labelled, weight), rtol=1e-5)


@pytest.mark.parametrize("classes", [2, 5])
def test_gradient_of_the_mixed_loss_follows_finite_differences(classes):
    logits, targets = mixed_batch(4, classes, 4, 4)
    slope = np.zeros_like(logits)
    for place in np.ndindex(logits.shape):
        nudge = np.zeros_like(logits)
        nudge[place] = 1e-5
        above, below = (reference_loss(logits + sign * nudge, targets, 4, 25.0) for sign in (1, -1))
        slope[place] = (above - below) / 2e-5
    found = slopes(jnp.asarray(logits), jnp.asarray(targets), 4, 25.0, None)[1]
    np.testing.assert_allclose(found, slope, atol=1e-5)
    np.testing.assert_allclose(reference_slope(logits, targets, 4, 25.0), slope, atol=1e-8)


def test_predictions_that_collapse_into_one_class_cost():
    targets = jnp.full((4, 3), 1 / 3)
    even = loss(jnp.zeros((4, 3)), targets, 2, 0.0, None)
    np.testing.assert_allclose(even, np.log(3), rtol=1e-6)
    one_hot = 20 * jnp.eye(3)[jnp.array([0, 1, 2, 0])]
    spread = loss(one_hot, jax.nn.softmax(one_hot), 2, 0.0, None)
    same = one_hot[:1].repeat(4, axis=0)
    collapsed = loss(same, jax.nn.softmax(same), 2, 0.0, None)
    assert spread < 0.1
    assert collapsed > 10


def test_collapse_is_finite_with_finite_gradient():
    logits = jnp.full((4, 3), -1e3).at[:, 0].set(1e3)
    value, slope = slopes(logits, jnp.full((4, 3), 1 / 3), 2, 25.0, None)
    assert np.isfinite(value)
    assert np.all(np.isfinite(slope))


def test_devices_share_the_mean_prediction_and_its_gradient():
    logits, targets = mixed_batch(5, 3, 12, 12)

    def dealt(x):
        return np.concatenate([part.reshape(3, 4, 3) for part in (x[:12], x[12:])], axis=1)

    share = jax.vmap(lambda z, t: slopes(z, t, 4, 25.0, "batch"), axis_name="batch")
    values, found = share(jnp.asarray(dealt(logits)), jnp.asarray(dealt(targets)))
    np.testing.assert_allclose(np.mean(values), reference_loss(logits, targets, 12, 25.0), rtol=1e-5)
    assert np.ptp(values) > 1e-3
    np.testing.assert_allclose(found / 3, dealt(reference_slope(logits, targets, 12, 25.0)), atol=1e-6)
