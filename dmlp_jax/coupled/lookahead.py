"""Computes the gradient of the clean rows' loss after a training step with respect to that step's targets.

Every method here trains its network w on L(w, Q) = -1/b sum_ic Q_ic log p_ic(w), where the targets Q [b, c],
which need not sum to one, come from a meta model: corrected labels, or given ones times a weight. A step
leads to w'(Q), and the meta model is trained on the clean rows' loss V(w'(Q)). L is linear in Q, so

    dV/dQ_ic = <grad V(w'), dw'/dQ_ic> = -1/b d/dt log p_ic(w + t u),   u = (dw'/dg)^T grad V(w'),

with g the gradient of L: one forward-mode pass, exact, without a second derivative. For a step of plain
gradient descent, w' = w - rate g, the direction u is -rate grad V(w'). The same holds with p in place of
log p.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dmlp_jax.coupled.meta_set import Rows
from dmlp_jax.retrain.methods import losses
from dmlp_jax.retrain.network import Network
from dmlp_jax.training.state import TrainState


class TrainingPass:
    """One forward pass of noisy rows in training mode, its derivatives, and the look-ahead gradients.

    Losses are those of this device's rows; gradients are means over all devices.

    Args:
        network: the network.
        state: the network's state, with parameters w.
        inputs: augmented inputs [b, ...].
        key: key of dropout, the same on all devices.
        axis_name: pmap axis.

    Attributes:
        logits: [b, c].
        features: [b, d], below the last layer.
        batch_stats: running statistics after the pass.
    """

    def __init__(
        self, network: Network, state: TrainState, inputs: jax.Array, key: jax.Array, axis_name: str | None
    ):
        def forward(params):
            logits, *rest = network.train_outputs(params, state.batch_stats, inputs, key, axis_name)
            return logits, rest

        self._network, self._state, self._axis_name = network, state, axis_name
        self._forward = forward
        self.logits, self._pull, rest = jax.vjp(forward, state.params, has_aux=True)
        self.features, self.batch_stats = rest

    def gradient(self, targets: jax.Array) -> tuple[jax.Array, Any]:
        """The loss L and its gradient g for targets [b, c]."""
        return self.gradient_of(lambda logits: jnp.mean(losses.cross_entropy(logits, targets)))

    def gradient_of(self, loss: Callable[[jax.Array], jax.Array]) -> tuple[jax.Array, Any]:
        """The value of another loss, `logits [b, c] -> scalar`, and its gradient."""
        value, slopes = jax.value_and_grad(loss)(self.logits)
        return value, mean(self._pull(slopes)[0], self._axis_name)

    def target_slopes(
        self, direction: Any, of: Callable[[jax.Array], jax.Array] = jax.nn.log_softmax
    ) -> jax.Array:
        """dV/dQ [b, c], where L is the mean over this device's rows.

        Args:
            direction: u, a tree like the parameters.
            of: what the targets multiply in L, a function of the logits: log p, or p, `jax.nn.softmax`.
        """
        tangents = self.tangents(of, direction)
        return -tangents / len(tangents)

    def tangents(self, of: Callable[[jax.Array], jax.Array], direction: Any) -> jax.Array:
        """d/dt of a function of the logits at w + t direction, at t = 0; shaped like its value."""

        def value(params):
            return of(self._forward(params)[0])

        _, found = jax.jvp(value, (self._state.params,), (direction,))
        return found

    def hessian_product(self, targets: jax.Array, direction: Any) -> Any:
        """The second derivative of L at w times a direction, a tree like the parameters.

        A gradient V' at w' = w - rate g becomes one with respect to w as V' - rate times this product.
        """

        def slope(params):
            return jax.grad(lambda params: jnp.mean(losses.cross_entropy(self._forward(params)[0], targets)))(
                params
            )

        _, product = jax.jvp(slope, (self._state.params,), (direction,))
        return mean(product, self._axis_name)

    def clean_gradient(self, params: Any, rows: Rows, key: jax.Array) -> tuple[jax.Array, Any]:
        """The clean rows' loss V and its gradient at `params`, in training mode.

        Args:
            params: w', or w.
            rows: the clean rows.
            key: key of dropout.
        """
        state = self._state._replace(params=params)
        return TrainingPass(self._network, state, rows.inputs, key, self._axis_name).gradient(rows.targets)

    def meta_gradient(
        self,
        targets_of: Callable[[Any], jax.Array],
        meta_params: Any,
        rate: jax.Array | float,
        rows: Rows,
        key: jax.Array,
    ) -> tuple[jax.Array, Any]:
        """V(w - rate g) and its gradient with respect to the meta model's parameters.

        Args:
            targets_of: `meta parameters -> Q [b, c]`.
            meta_params: the meta model's parameters, at which the gradient is taken.
            rate: learning rate of the look-ahead step, which is plain gradient descent.
            rows: the clean rows.
            key: key of dropout for the clean rows.
        """
        targets, pull = jax.vjp(targets_of, meta_params)
        _, grads = self.gradient(targets)
        loss, judged = self.clean_gradient(descend(self._state.params, rate, grads), rows, key)
        (meta_grads,) = pull(self.target_slopes(scaled(-rate, judged)))
        return loss, mean(meta_grads, self._axis_name)


def descend(params: Any, rate: jax.Array | float, grads: Any) -> Any:
    """W - rate * g."""
    return jax.tree.map(lambda value, slope: value - rate * slope, params, grads)


def scaled(factor: jax.Array | float, tree: Any) -> Any:
    """Factor times every leaf."""
    return jax.tree.map(lambda leaf: factor * leaf, tree)


def mean(tree: Any, axis_name: str | None) -> Any:
    """The mean over devices."""
    return tree if axis_name is None else jax.lax.pmean(tree, axis_name)
