import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.purifier.base import nesterov, ridge
from dmlp_jax.purifier.posterior import leave_one_out
from tests.purifier.helpers import cross_entropy_gradient


def test_response_is_the_optimisers_own():
    """On a quadratic the recursion must give exactly what the steps do to the weights."""
    rng = np.random.default_rng(0)
    spectrum = jnp.asarray(np.sort(rng.random(5) * 50), jnp.float32)
    information, decay = jnp.float32(0.1), jnp.float32(2.0)
    curvature = jnp.diag(information * spectrum + decay)
    bound = ridge.inverse(jnp.diag(0.5 * spectrum), decay)

    state = nesterov.init_nesterov(jnp.zeros((5, 1)))
    response = nesterov.init_nesterov(jnp.zeros(5))
    for momentum in nesterov.nesterov_momentum(12):
        gradient = curvature @ state.lookahead - jnp.ones((5, 1))
        state = nesterov.nesterov_step(state, gradient, bound, momentum)
        response = leave_one_out.follow_response(response, information, spectrum, decay, momentum)
    np.testing.assert_allclose(response.weights, state.weights[:, 0], rtol=1e-4)
    assert np.all(response.weights <= 1.01 / np.diagonal(curvature))


def test_converged_response_is_the_inverse_curvature():
    spectrum = jnp.asarray([1.0, 10.0, 100.0])
    response = nesterov.init_nesterov(jnp.zeros(3))
    for momentum in nesterov.nesterov_momentum(300):
        response = leave_one_out.follow_response(
            response, jnp.float32(0.2), spectrum, jnp.float32(1.0), momentum
        )
    np.testing.assert_allclose(response.weights, 1 / (0.2 * spectrum + 1.0), rtol=1e-3)


def test_fisher_is_the_mean_square_per_direction():
    np.testing.assert_allclose(
        leave_one_out.fisher_information(jnp.float32(0.6), jnp.float32(4.0), 3), 0.075, rtol=1e-6
    )


def test_what_was_there_at_the_start_fades():
    spectrum = jnp.asarray([1.0, 100.0])
    memory = nesterov.init_nesterov(jnp.ones(2))
    for momentum in nesterov.nesterov_momentum(100):
        memory = leave_one_out.follow_response(
            memory, jnp.float32(0.2), spectrum, jnp.float32(1.0), momentum, drive=0.0
        )
    np.testing.assert_allclose(memory.weights, 0, atol=1e-3)


def test_a_response_and_a_memory_are_followed_side_by_side():
    spectrum, information, decay = jnp.asarray([1.0, 100.0]), jnp.float32(0.2), jnp.float32(1.0)
    starts = jnp.zeros(2), jnp.ones(2)
    both = nesterov.init_nesterov(jnp.stack(starts))
    alone = [nesterov.init_nesterov(start) for start in starts]
    for momentum in nesterov.nesterov_momentum(5):
        drives = jnp.asarray([[1.0], [0.0]])
        both = leave_one_out.follow_response(both, information, spectrum, decay, momentum, drives)
        alone = [
            leave_one_out.follow_response(state, information, spectrum, decay, momentum, drive)
            for state, drive in zip(alone, (1.0, 0.0), strict=True)
        ]
    np.testing.assert_allclose(both.weights, [state.weights for state in alone], rtol=1e-6)
    np.testing.assert_allclose(
        leave_one_out.leverage(both.weights, jnp.asarray([0.2, 0.0]), spectrum, jnp.float32(50)),
        [
            leave_one_out.leverage(a.weights, i, spectrum, jnp.float32(50))
            for a, i in zip(alone, (0.2, 0.0), strict=True)
        ],
        rtol=1e-6,
    )


def test_it_predicts_what_leaving_a_row_out_does():
    """Against really leaving rows out: the correction must remove most of the optimism, without bias."""
    rng = np.random.default_rng(1)
    rows, width, decay = 60, 8, jnp.float32(1.0)
    features = rng.normal(size=(rows, width)).astype(np.float32)
    features *= np.sqrt(width) / np.linalg.norm(features, axis=1, keepdims=True)
    targets = jnp.eye(3)[rng.integers(3, size=rows)]
    gram = ridge.gram(features)
    bound = nesterov.preconditioner(gram, jnp.zeros((width, width)), 0.0, decay)
    spectrum = jnp.linalg.eigvalsh(gram)
    momentum = jnp.asarray(nesterov.nesterov_momentum(40))

    def train(weight):
        def body(step, carry):
            state, response = carry
            probs = jax.nn.softmax(features @ state.lookahead)
            gradient = cross_entropy_gradient(features, probs, targets, weight)
            squares = jnp.sum(weight * jnp.sum((probs - targets) ** 2, axis=1))
            information = leave_one_out.fisher_information(squares, jnp.sum(weight), 3)
            return (
                nesterov.nesterov_step(state, gradient + decay * state.lookahead, bound, momentum[step]),
                leave_one_out.follow_response(response, information, spectrum, decay, momentum[step]),
            )

        start = nesterov.init_nesterov(jnp.zeros((width, 3))), nesterov.init_nesterov(jnp.zeros(width))
        return jax.lax.fori_loop(0, 40, body, start)

    state, response = train(jnp.ones(rows))
    logits = features @ state.weights
    probs = jax.nn.softmax(logits)
    information = leave_one_out.fisher_information(jnp.sum((probs - targets) ** 2), jnp.float32(rows), 3)
    share = leave_one_out.leverage(response.weights, information, spectrum, jnp.float32(rows))
    without = jax.vmap(lambda weight: train(weight)[0].weights)(1.0 - jnp.eye(rows))
    exact = jnp.einsum("nd,ndc->nc", features, without)
    corrected = logits + share * (probs - targets)

    def optimism(values):
        return float(jnp.mean(jnp.sum(targets * (values - exact), axis=1)))

    assert optimism(logits) > 0.2
    assert abs(optimism(corrected)) < 0.35 * optimism(logits)
