"""Defines the meta networks that predict labels or weights, and their optimisers."""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax


class MetaState(NamedTuple):
    """Attributes: `params`, a meta network's parameters; `opt_state`, its optimiser's state."""

    params: Any
    opt_state: optax.OptState


def init_meta(params: Any, optimizer: optax.GradientTransformation) -> MetaState:
    """The state of a meta network with these parameters."""
    return MetaState(params, optimizer.init(params))


def update_meta(state: MetaState, grads: Any, optimizer: optax.GradientTransformation) -> MetaState:
    """The state after one step of the optimiser."""
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    return MetaState(optax.apply_updates(state.params, updates), opt_state)


class LabelNet(nn.Module):
    """MLC's label correction network g(h, y').

    Initialised as in the authors' code.

    Attributes:
        num_classes: c.
        embedding: width of the noisy label's embedding.
        width: width of the two hidden layers.
        skip: whether to return (1 - alpha) g + alpha y', with alpha in (0, 1) predicted by the network too.
    """

    num_classes: int
    embedding: int = 128
    width: int = 128
    skip: bool = False

    @nn.compact
    def __call__(self, features: jax.Array, targets: jax.Array) -> jax.Array:
        """Corrected labels [b, c]; each row sums to 1.

        Args:
            features: h, [b, d].
            targets: noisy labels y' as distributions [b, c]; a soft label has the mean embedding.
        """
        embedded = nn.Dense(
            self.embedding, use_bias=False, kernel_init=nn.initializers.xavier_uniform(), name="embedding"
        )(targets)
        x = jnp.concatenate([features, embedded], axis=-1)
        for width in (self.width, self.width):
            x = jnp.tanh(nn.Dense(width, kernel_init=nn.initializers.xavier_normal())(x))
        x = nn.Dense(self.num_classes + self.skip, kernel_init=nn.initializers.xavier_normal())(x)
        if not self.skip:
            return jax.nn.softmax(x)
        alpha = jax.nn.sigmoid(x[:, -1:])
        return (1.0 - alpha) * jax.nn.softmax(x[:, :-1]) + alpha * targets


class WeightNet(nn.Module):
    """Maps a loss to a weight in (0, 1): one hidden layer of ReLU, then a sigmoid.

    Weights and biases are initialised as in PyTorch, uniformly within 1 / sqrt(inputs): with biases of zero
    every unit would be linear on losses, which are positive.

    Attributes:
        width: width of the hidden layer.
    """

    width: int = 100

    @nn.compact
    def __call__(self, losses: jax.Array) -> jax.Array:
        """Weights [b] of losses [b]."""
        hidden = nn.relu(uniform_dense(self.width, 1)(losses[:, None]))
        return jax.nn.sigmoid(uniform_dense(1, self.width)(hidden))[:, 0]


def uniform_dense(width: int, inputs: int) -> nn.Dense:
    """A dense layer that is initialised as in PyTorch."""
    bound = 1.0 / math.sqrt(inputs)

    def uniform(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nn.Dense(width, kernel_init=uniform, bias_init=uniform)


def nesterov(lr: float, weight_decay: float) -> optax.GradientTransformation:
    """Gradient descent with Nesterov's momentum of .9 and L2 decay, on biases too, as in PyTorch."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay), optax.trace(0.9, nesterov=True), optax.scale(-lr)
    )


def adam(lr: float, weight_decay: float) -> optax.GradientTransformation:
    """Adam with L2 decay added to the gradient, on biases too, as in PyTorch."""
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(lr))


def amsgrad(lr: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> optax.GradientTransformation:
    """AMSGrad (Reddi et al. 2018) with PyTorch's bias correction, which the authors of MLC used.

    optax's version takes the maximum of averages that are already corrected. With it the first gradients
    count in full, and one large gradient among them shortens all later steps.
    """

    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return optax.ScaleByAmsgradState(jnp.zeros((), jnp.int32), zeros, zeros, zeros)

    def update(grads, state, params=None):
        del params
        count = optax.safe_increment(state.count)
        mu = jax.tree.map(lambda m, g: b1 * m + (1.0 - b1) * g, state.mu, grads)
        nu = jax.tree.map(lambda v, g: b2 * v + (1.0 - b2) * g * g, state.nu, grads)
        largest = jax.tree.map(jnp.maximum, state.nu_max, nu)
        first, second = 1.0 - b1**count, jnp.sqrt(1.0 - b2**count)
        updates = jax.tree.map(lambda m, v: -lr * m / first / (jnp.sqrt(v) / second + eps), mu, largest)
        return updates, optax.ScaleByAmsgradState(count, mu, nu, largest)

    return optax.GradientTransformation(init, update)
