"""Masks, targets and gradients of FixMatch, UDA and Mean Teacher, row by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.retrain.methods import fixmatch, mean_teacher
from tests.retrain.helpers import softmax

STRONG = jnp.array([[0.3, -1.0, 0.2], [2.0, 0.1, 0.5], [0.0, 0.0, 0.0]])


def logits_of(*rows):
    return jnp.log(jnp.array(rows))


def test_only_sure_rows_cost_and_the_threshold_itself_is_sure():
    weak = logits_of((0.5, 0.3, 0.2), (0.2, 0.75, 0.05), (0.01, 0.01, 0.98))
    sure = float(jax.nn.softmax(weak)[1, 1])
    values, mask = fixmatch.pseudo_label(weak, STRONG, sure)
    np.testing.assert_array_equal(mask, [False, True, True])
    expected = -np.log(softmax(np.float64(STRONG)))
    np.testing.assert_allclose(values, [0.0, expected[1, 1], expected[2, 2]], rtol=1e-5)


def test_uda_asks_before_sharpening_and_is_zero_where_the_views_agree():
    weak = logits_of((0.6, 0.3, 0.1), (0.85, 0.1, 0.05), (0.05, 0.05, 0.9))
    values, mask = fixmatch.divergence(weak, STRONG, 0.8, 0.4)
    np.testing.assert_array_equal(mask, [False, True, True])
    target = np.array([0.85, 0.1, 0.05]) ** 2.5
    target /= target.sum()
    expected = np.sum(target * (np.log(target) - np.log(softmax(np.float64(STRONG)))[1]))
    np.testing.assert_allclose(values[1], expected, rtol=1e-5)
    same, _ = fixmatch.divergence(weak, weak / 0.4, 0.0, 0.4)
    np.testing.assert_allclose(same, 0.0, atol=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        lambda weak, strong: fixmatch.pseudo_label(weak, strong, 0.5)[0],
        lambda weak, strong: fixmatch.divergence(weak, strong, 0.5, 0.4)[0],
        lambda weak, strong: mean_teacher.disagreement(strong, weak),
    ],
    ids=["fixmatch", "uda", "mean_teacher"],
)
def test_no_gradient_flows_into_the_teaching_view(loss):
    weak = logits_of((0.6, 0.3, 0.1), (0.9, 0.05, 0.05), (0.3, 0.3, 0.4))
    slopes = jax.grad(lambda *views: jnp.sum(loss(*views)), argnums=(0, 1))(weak, STRONG)
    np.testing.assert_array_equal(slopes[0], 0.0)
    assert np.abs(slopes[1]).max() > 0.01


def test_sure_to_the_last_bit_costs_a_finite_amount():
    weak, strong = jnp.array([[200.0, 0.0, -200.0]]), jnp.array([[-200.0, 0.0, 200.0]])
    for value, slope in (
        jax.value_and_grad(lambda s: jnp.sum(fixmatch.pseudo_label(weak, s, 0.95)[0]))(strong),
        jax.value_and_grad(lambda s: jnp.sum(fixmatch.divergence(weak, s, 0.8, 0.4)[0]))(strong),
    ):
        np.testing.assert_allclose(value, 400.0, rtol=1e-5)
        np.testing.assert_allclose(slope, [[-1.0, 0.0, 1.0]], atol=1e-6)


def test_disagreement_is_the_mean_over_classes():
    student, teacher = logits_of((0.7, 0.2, 0.1)), logits_of((0.5, 0.1, 0.4))
    np.testing.assert_allclose(
        mean_teacher.disagreement(student, teacher), (0.04 + 0.01 + 0.09) / 3, rtol=1e-4
    )
