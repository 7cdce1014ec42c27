"""Decides which layers FaMUS looks ahead through: a gate for each of the last parameter tensors.

A gate is open or closed, drawn by Gumbel-softmax from a small network of the tensor's gradient. Where it is
closed the meta gradient does not flow through that tensor's step. Gates learn by the straight-through
estimator, from the meta loss and from a penalty on the number of open gates.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util
from ml_collections import ConfigDict

from dmlp_jax.coupled.meta_nets import uniform_dense
from dmlp_jax.models import registry

HEAD = ("head/kernel", "head/bias")
# Of the Gumbel-softmax.
TEMPERATURE = 5.0


class GateNet(nn.Module):
    """Maps a tensor's gradient, summed for each output unit and standardised, to logits [closed, open].

    Attributes:
        inputs: number of output units.
        width: width of the two hidden layers.
    """

    inputs: int
    width: int = 128

    @nn.compact
    def __call__(self, sums: jax.Array) -> jax.Array:
        """Logits [2] of sums [inputs]."""
        x = (sums - jnp.mean(sums)) / (jnp.std(sums, ddof=1) + 1e-9)
        for inputs in (self.inputs, self.width):
            x = nn.PReLU(negative_slope_init=0.25)(uniform_dense(self.width, inputs)(x))
        return uniform_dense(2, self.width)(x)


def gated_names(settings: ConfigDict, num_classes: int, inputs: Any) -> list[str]:
    """Names such as 'encoder/stem/kernel' of the tensors with gates, in the network's order.

    These are the last `gated_tensors` before the last layer, in the order in which the network makes them.

    Args:
        settings: the `retrain` settings.
        num_classes: c.
        inputs: some rows [n, ...].
    """
    model = registry.Classifier(registry.make_encoder(settings.model), num_classes)
    names: list[str] = []

    def trace(key, rows):
        variables = model.init(key, rows, False)
        names.extend(traverse_util.flatten_dict(variables["params"], sep="/"))
        return jnp.zeros(())

    jax.eval_shape(trace, jax.random.key(0), jax.ShapeDtypeStruct((2, *inputs.shape[1:]), jnp.float32))
    below = [name for name in names if name not in HEAD]
    return below[max(0, len(below) - settings.gated_tensors) :]


def unit_sums(grads: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Each gradient summed over all axes but that of the output units, the last."""
    return {name: jnp.sum(leaf, axis=tuple(range(leaf.ndim - 1))) for name, leaf in grads.items()}


def init(key: jax.Array, shapes: dict[str, jax.Array]) -> dict[str, Any]:
    """Fresh parameters of the gates' networks, by name.

    Args:
        key: typed PRNG key.
        shapes: the gated parameters, by name.
    """
    keys = jax.random.split(key, max(1, len(shapes)))
    return {
        name: GateNet(leaf.shape[-1]).init(one, jnp.zeros(leaf.shape[-1]))["params"]
        for (name, leaf), one in zip(shapes.items(), keys, strict=False)
    }


def draw(key: jax.Array, params: dict[str, Any], grads: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Whether each gate is open, 1 or 0, with the gradient of the soft sample; by name.

    Args:
        key: typed PRNG key, the same on all devices.
        params: of the gates' networks, by name.
        grads: the tensors' gradients, by name; no gradient flows through them.
    """
    opened = {}
    for number, (name, sums) in enumerate(unit_sums(jax.lax.stop_gradient(grads)).items()):
        logits = GateNet(sums.shape[-1]).apply({"params": params[name]}, sums)
        noise = jax.random.gumbel(jax.random.fold_in(key, number), (2,))
        soft = jax.nn.softmax((logits + noise) / TEMPERATURE)[1]  # type: ignore[operator]
        hard = (soft > 0.5).astype(jnp.float32)
        opened[name] = hard + soft - jax.lax.stop_gradient(soft)
    return opened


def head_mismatch(train: dict[str, jax.Array], judged: dict[str, jax.Array]) -> jax.Array:
    """How the last layer's training gradient differs from the meta gradient, scalar.

    For the kernel, the squared differences of mean and standard deviation over its inputs, averaged over
    classes; for the bias those over classes; summed.

    Args:
        train: gradients of HEAD, by name.
        judged: meta gradients of the same; no gradient flows through them.
    """
    total = jnp.zeros(())
    for name in HEAD:
        (mean, spread), (goal, goal_spread) = (
            (jnp.mean(leaf, axis=0), jnp.sqrt(jnp.var(leaf, axis=0, ddof=1) + 1e-20))
            for leaf in (train[name], jax.lax.stop_gradient(judged[name]))
        )
        total += jnp.mean((mean - goal) ** 2 + (spread - goal_spread) ** 2)
    return total
