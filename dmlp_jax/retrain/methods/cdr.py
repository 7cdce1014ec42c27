"""Implements CDR (Xia et al., ICLR 2021): only critical parameters get a gradient, the others decay."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from dmlp_jax.retrain.method import Method, Task, TrainingSet, known_rate, register
from dmlp_jax.retrain.methods import losses, plain
from dmlp_jax.training import learning_rates
from dmlp_jax.training.dispatch import Batch
from dmlp_jax.training.state import TrainState, make_optimizer, matrices


class CDRState(NamedTuple):
    """Attributes: `network`, the training state; `noise_rate`, scalar."""

    network: TrainState
    noise_rate: jax.Array


def critical_gradients() -> optax.GradientTransformationExtraArgs:
    """Keeps the gradient g of the weights w with the largest |g w|; its `update` needs `noise_rate=`.

    Of all entries of kernels (two dimensions or more) taken together, the share 1 - noise_rate with the
    largest |g w| keeps its gradient, times 1 - noise_rate. The gradient of the others becomes 0, so that only
    decay and momentum change them (Eq. 5-7 of the paper). Biases and batch norm keep their gradients. The
    authors' code computes a rate that rises over twenty epochs, then overwrites it by the constant, so their
    results were made with the constant, which is used here. Their decay is L2 where the paper has an L1 norm;
    here it is that of the optimiser that follows.
    """

    def update(updates, state, params=None, *, noise_rate, **_):
        masks = matrices(params)
        scores = jax.tree.map(lambda g, w: jnp.abs(g * w), updates, params)
        kernels = [s for s, m in zip(jax.tree.leaves(scores), jax.tree.leaves(masks), strict=True) if m]
        count = sum(kernel.size for kernel in kernels)
        # The small number corrects rounding, as in 0.4 * 10 = 3.9999998; one entry is always kept.
        share = (1.0 - noise_rate) * (1.0 + 1e-6)
        kept = jnp.clip(jnp.floor(share * count), 1, count).astype(jnp.int32)
        least = largest_bound(kernels, kept)

        def mask(gradient, score, is_kernel):
            return jnp.where(score >= least, (1.0 - noise_rate) * gradient, 0.0) if is_kernel else gradient

        return jax.tree.map(mask, updates, scores, masks), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def largest_bound(values: list[jax.Array], count: jax.Array) -> jax.Array:
    """The `count`-th largest of all entries, float32 scalar.

    The bits of non-negative floats, read as integers, are ordered as the floats are, so 31 counts find the
    value bit by bit. Sorting the millions of entries of a network every step would take far longer.

    Args:
        values: arrays of any shape, float32, not negative.
        count: between 1 and the number of entries.
    """
    bits = jax.lax.bitcast_convert_type(jnp.concatenate([jnp.ravel(v) for v in values]), jnp.int32)

    def body(step, found):
        candidate = found | (1 << (30 - step))
        enough = jnp.sum(bits >= candidate) >= count
        return jnp.where(enough, candidate, found)

    return jax.lax.bitcast_convert_type(jax.lax.fori_loop(0, 31, body, jnp.int32(0)), jnp.float32)


@register("cdr")
def make_cdr(settings: ConfigDict, task: Task) -> Method:
    """Cross-entropy with `critical_gradients` before the optimiser, at the estimated noise rate."""
    optimizer = optax.chain(critical_gradients(), make_optimizer(settings, learning_rates.make(settings)))
    base = plain.one_network(settings, task, losses.cross_entropy, optimizer)
    # Unlike other steps, this one passes further keyword arguments on to the optimiser.
    learn: Callable[..., Any] = base.train_step

    def init(key: jax.Array, train: TrainingSet) -> CDRState:
        rate = known_rate(train.noise_rate, "CDR freezes that share of the weights")
        return CDRState(base.init(key, train), jnp.float32(rate))

    def train_step(state: CDRState, batch: Batch, *, axis_name: str | None) -> tuple[CDRState, dict]:
        network, metrics = learn(state.network, batch, axis_name=axis_name, noise_rate=state.noise_rate)
        return state._replace(network=network), metrics

    def predict(state: CDRState, inputs: jax.Array) -> jax.Array:
        return base.predict(state.network, inputs)

    return Method(init, train_step, predict)
