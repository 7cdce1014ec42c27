import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.retrain.methods import cdr
from tests.retrain import helpers
from tests.retrain.helpers import softmax

SHAPES = {
    "dense": {"kernel": (5, 3), "bias": (3,)},
    "conv": {"kernel": (3, 3, 2, 4)},
    "norm": {"scale": (4,), "bias": (4,)},
}
KERNELS = 15 + 72


def random_tree(rng, spread):
    """Arrays of SHAPES, those of 'conv' `spread` times as large as the others."""
    return {
        name: {
            key: np.float32(rng.normal(size=shape) * (spread if name == "conv" else 1.0))
            for key, shape in group.items()
        }
        for name, group in SHAPES.items()
    }


def masked(gradients, weights, rate):
    """The critical gradients and how many weights of the kernels have one."""
    scores = [np.abs(g * w) for g, w in zip(gradients, weights, strict=True)]
    flat = np.concatenate([score.ravel() for score in scores])
    count = max(int((1 - rate) * len(flat)), 1)
    least = np.partition(flat, len(flat) - count)[len(flat) - count]
    kept = [np.where(s >= least, g * (1 - rate), 0.0) for s, g in zip(scores, gradients, strict=True)]
    return kept, count


update = jax.jit(
    lambda gradients, weights, rate: cdr.critical_gradients().update(
        gradients, cdr.critical_gradients().init(weights), weights, noise_rate=rate
    )[0]
)
bounds = jax.jit(jax.vmap(cdr.largest_bound, in_axes=(None, 0)))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.25, 0.5, 0.8, 0.999, 1.0])
@pytest.mark.parametrize("spread", [1.0, 0.2])
def test_gradients_of_the_weights_that_matter_most_of_all_kernels_are_kept(rate, spread):
    rng = np.random.default_rng(int(1000 * rate))
    weights, gradients = random_tree(rng, spread), random_tree(rng, 1.0)
    found = update(gradients, weights, jnp.float32(rate))
    kernels = [(tree["dense"]["kernel"], tree["conv"]["kernel"]) for tree in (gradients, weights, found)]
    expected, count = masked(*kernels[:2], rate)
    for ours, theirs in zip(kernels[2], expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    if rate < 1:
        assert sum(np.count_nonzero(kernel) for kernel in kernels[2]) == count
    for name, key in (("dense", "bias"), ("norm", "scale"), ("norm", "bias")):
        np.testing.assert_array_equal(found[name][key], gradients[name][key])


def test_one_weight_at_least_is_critical():
    rng = np.random.default_rng(0)
    weights, gradients = random_tree(rng, 1.0), random_tree(rng, 1.0)
    found = update(gradients, weights, jnp.float32(1 - 0.1 / KERNELS))
    hits = [np.flatnonzero(found[name]["kernel"]) for name in ("dense", "conv")]
    assert sum(map(len, hits)) == 1
    scores = {name: np.abs(weights[name]["kernel"] * gradients[name]["kernel"]) for name in ("dense", "conv")}
    best = max(scores, key=lambda name: scores[name].max())
    np.testing.assert_array_equal(hits[best == "conv"], [scores[best].argmax()])


def test_weights_that_matter_equally_are_all_kept():
    weights, gradients = {"kernel": jnp.ones((4, 2))}, {"kernel": jnp.full((4, 2), -3.0)}
    found = cdr.critical_gradients().update(gradients, (), weights, noise_rate=jnp.float32(0.5))[0]
    np.testing.assert_array_equal(found["kernel"], np.full((4, 2), -1.5))


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(1).random(40),
        np.random.default_rng(2).random(40) < 0.5,
        np.random.default_rng(3).integers(4, size=40),
        np.exp(np.random.default_rng(4).uniform(-103, 88, size=40)),
        np.concatenate(
            [[0, 1e-45, 3e-45, 1e-40, 1.1754942e-38, 1.1754944e-38, 3.4e38, np.inf], np.zeros(32)]
        ),
    ],
    ids=["random", "binary", "ties", "magnitudes", "extremes"],
)
def test_bound_is_bitwise_the_value_of_every_rank(values):
    values = np.float32(values)
    parts = [values[:4].reshape(2, 2), values[4:]]
    found = bounds(parts, np.arange(1, 41, dtype=np.int32))
    expected = np.sort(values)[::-1]
    np.testing.assert_array_equal(np.asarray(found).view(np.int32), expected.view(np.int32))


def test_bound_of_one_value_is_the_value():
    for value in (0.0, 1e-45, 0.1, 3.4e38):
        assert cdr.largest_bound([jnp.float32([value])], 1) == np.float32(value)


@pytest.mark.parametrize(("classes", "momentum", "decay"), [(2, 0.9, 0.1), (100, 0.0, 0.0)])
def test_steps_of_cdr(classes, momentum, decay):
    """Weights that do not matter feel momentum and decay only."""
    rate, lr = 0.75, 0.1
    train = helpers.training_set(classes, noise_rate=rate)
    config = helpers.settings("cdr", momentum=momentum, weight_decay=decay, lr=lr)
    made, state = helpers.make(config, train)
    weights, speed = helpers.head(state.network.params), [0.0, 0.0]
    for rows in ([4, 0, 9, 2, 7, 11, 1, 5], [5, 3, 0, 8, 2, 10, 6, 4]):
        inputs, targets = train.inputs[rows], train.targets[rows]
        logits = helpers.logits(weights, inputs)
        kernel, bias = helpers.gradient(inputs, (softmax(logits) - targets) / len(rows))
        (kernel,), _ = masked([kernel], [weights[0]], rate)
        speed = [momentum * speed[0] + kernel + decay * weights[0], momentum * speed[1] + bias]
        weights = helpers.descended(weights, speed, lr)
        state, metrics = helpers.step(made, state, train, rows)
        np.testing.assert_allclose(metrics["loss"], helpers.cross_entropy(logits, targets).mean(), rtol=1e-4)
        helpers.assert_head(state.network.params, weights)
    np.testing.assert_allclose(state.noise_rate, rate, rtol=1e-6)
    found = made.predict(state, jnp.asarray(train.inputs))
    np.testing.assert_allclose(found, softmax(helpers.logits(weights, train.inputs)), atol=1e-4)
