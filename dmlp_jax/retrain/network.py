"""Wraps the configured classifier network in pure functions for the retraining methods."""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.data.images.lazy import Images
from dmlp_jax.errors import UserError
from dmlp_jax.models import registry
from dmlp_jax.retrain.method import Task
from dmlp_jax.training.state import TrainState, apply_gradients, init_state


class Head(NamedTuple):
    """A head beside the classifier's, such as a projection.

    Attributes:
        module: maps `(inputs [b, d], train)` to outputs and has an attribute `axis_name`; see
            `models.registry.Projector`.
        inputs: name of the earlier head whose outputs it takes; '' for the encoder's features.
    """

    module: nn.Module
    inputs: str = ""


class Network:
    """The network that the `retrain` settings describe; holds settings, no parameters.

    Args:
        settings: the `retrain` settings.
        task: number of classes, steps per epoch, pretrained encoder.
        optimizer: optimiser of the parameters.
        heads: further heads by name; their parameters and running statistics have these names in the state.
    """

    def __init__(
        self,
        settings: ConfigDict,
        task: Task,
        optimizer: optax.GradientTransformation,
        heads: dict[str, Head] | None = None,
    ):
        self.settings, self.task, self.optimizer = settings, task, optimizer
        self.heads = heads or {}

    def init(self, key: jax.Array, inputs: Images) -> TrainState:
        """A fresh state for inputs [n, ...], with the pretrained encoder if the task has one.

        Raises:
            UserError: the pretrained encoder has another architecture.
        """
        example = self._evaluated(jnp.asarray(inputs[:2]))
        model = self._model(None)
        variables = jax.jit(model.init, static_argnums=2)(key, example, False)
        variables = start_from_encoder(variables, self.task.encoder)
        return init_state(self._with_heads(key, variables, example), self.optimizer)

    def train_logits(
        self, params: Any, batch_stats: Any, inputs: jax.Array, key: jax.Array, axis_name: str | None
    ) -> tuple[jax.Array, Any]:
        """Logits [b, c] and the updated running statistics, in training mode.

        See `train_outputs` for the arguments.
        """
        logits, _, batch_stats = self.train_outputs(params, batch_stats, inputs, key, axis_name)
        return logits, batch_stats

    def train_outputs(
        self, params: Any, batch_stats: Any, inputs: jax.Array, key: jax.Array, axis_name: str | None
    ) -> tuple[jax.Array, jax.Array, Any]:
        """Logits [b, c], features [b, d] below the last layer and running statistics, in training mode.

        Args:
            params: parameters.
            batch_stats: running statistics of batch normalisation.
            inputs: float inputs [b, ...].
            key: key of dropout, the same on all devices.
            axis_name: pmap axis.
        """
        model = self._model(axis_name)
        variables = {"params": params, "batch_stats": batch_stats}
        written = ["batch_stats", "intermediates"]
        logits, updates = model.apply(variables, inputs, True, mutable=written, rngs={"dropout": key})
        (features,) = updates["intermediates"]["features"]
        return logits, features, updates.get("batch_stats", {})

    def head(
        self,
        params: Any,
        batch_stats: Any,
        name: str,
        inputs: jax.Array,
        axis_name: str | None,
        train: bool = True,
    ) -> tuple[jax.Array, Any]:
        """Outputs of the further head `name`, and the running statistics of the whole network.

        Args:
            params: parameters of the whole network.
            batch_stats: its running statistics.
            name: a key of `heads`.
            inputs: features [b, d], or the outputs of the head that this one takes.
            axis_name: pmap axis.
            train: training mode; otherwise the running statistics are used, and returned as they are.
        """
        module = self.heads[name].module.clone(axis_name=axis_name)
        variables = {"params": params[name], "batch_stats": batch_stats.get(name, {})}
        outputs, updates = module.apply(variables, inputs, train, mutable=["batch_stats"])
        own = updates.get("batch_stats", {})
        return outputs, {**batch_stats, name: own} if own else batch_stats

    def logits(self, state: TrainState, inputs: jax.Array) -> jax.Array:
        """Logits [b, c] of inputs [b, ...] without augmentation, in evaluation mode."""
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        logits: Any = self._model(None).apply(variables, self._evaluated(inputs), False)
        return logits

    def outputs(self, state: TrainState, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Logits [b, c] and features [b, d] of inputs [b, ...] without augmentation, in evaluation mode."""
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        logits, updates = self._model(None).apply(
            variables, self._evaluated(inputs), False, mutable=["intermediates"]
        )
        return logits, updates["intermediates"]["features"][0]

    def step(
        self, state: TrainState, grads: Any, batch_stats: Any, axis_name: str | None, **extra: Any
    ) -> TrainState:
        """One optimiser step; see `training.state.apply_gradients`."""
        return apply_gradients(state, grads, batch_stats, self.optimizer, axis_name, **extra)

    def _with_heads(self, key: jax.Array, variables: dict[str, Any], example: jax.Array) -> dict[str, Any]:
        """Adds fresh variables of the further heads to those of the classifier."""
        if not self.heads:
            return variables
        found = jax.eval_shape(
            lambda parts: self._model(None).apply(parts, example, False, mutable=["intermediates"]), variables
        )
        outputs = {"": found[1]["intermediates"]["features"][0]}
        for number, (name, head) in enumerate(self.heads.items()):
            inputs = jnp.zeros(outputs[head.inputs].shape, outputs[head.inputs].dtype)
            fresh = jax.jit(head.module.init, static_argnums=2)(
                jax.random.fold_in(key, number), inputs, False
            )
            outputs[name] = jax.eval_shape(partial(head.module.apply, fresh, train=False), inputs)
            for part, values in fresh.items():
                variables = {**variables, part: {**variables.get(part, {}), name: values}}
        return variables

    def _evaluated(self, inputs: jax.Array) -> jax.Array:
        return augment.centre(augment.to_float(inputs), self.settings.crop_size)

    def _model(self, axis_name: str | None) -> nn.Module:
        kind = {"stem": self.settings.stem, "dtype": self.settings.dtype}
        encoder = registry.make_encoder(self.settings.model, **kind, axis_name=axis_name)
        return registry.Classifier(encoder, self.task.num_classes)


def start_from_encoder(variables: dict[str, Any], encoder: dict[str, Any] | None) -> dict[str, Any]:
    """Copies a pretrained encoder, if there is one, into the classifier's fresh linen variables.

    Raises:
        UserError: the encoder has another architecture than the classifier's.
    """
    if encoder is None:
        return variables
    for part, values in encoder.items():
        if not values:
            continue
        fresh = variables.get(part, {}).get("encoder", {})
        if jax.tree.map(jnp.shape, fresh) != jax.tree.map(jnp.shape, values):
            raise UserError(
                "retrain.init is 'encoder', but retrain.model is another network than pretrain.model"
            )
        variables = {**variables, part: {**variables[part], "encoder": values}}
    return variables
