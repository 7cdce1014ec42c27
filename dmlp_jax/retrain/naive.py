"""DMLP-Naive: plain cross-entropy on the labels, hard or soft."""

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.retrain.method import Method, Task, make_classifier, register, start_from_encoder
from dmlp_jax.training.loop import Batch
from dmlp_jax.training.state import TrainState, apply_gradients, init_state, make_optimizer


@register("naive")
def make_naive(settings: ConfigDict, task: Task) -> Method:
    """Cross-entropy training of one network; see `retrain.method` for the contract.

    Args:
        settings: the `retrain` settings.
        task: what is to be learned.
    """
    optimizer = make_optimizer(settings, task.steps_per_epoch)
    policy = augment.make(settings.augment)

    def init(key: jax.Array, example: jax.Array) -> TrainState:
        model = make_classifier(settings, task.num_classes)
        variables = jax.jit(model.init, static_argnums=2)(key, augment.to_float(example), True)
        return init_state(start_from_encoder(variables, task.encoder), optimizer)

    def train_step(state: TrainState, batch: Batch, *, axis_name: str | None) -> tuple[TrainState, dict]:
        model = make_classifier(settings, task.num_classes, axis_name)
        inputs = policy(batch.keys, augment.to_float(batch.data["inputs"]))
        targets = batch.data["targets"]

        def loss_fn(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            logits, updates = model.apply(variables, inputs, True, mutable=["batch_stats"])
            loss = jnp.mean(optax.softmax_cross_entropy(logits, targets))
            return loss, (logits, updates.get("batch_stats", {}))

        (loss, (logits, batch_stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        hits = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
        metrics = {"loss": loss, "train_accuracy": jnp.mean(hits.astype(jnp.float32))}
        return apply_gradients(state, grads, batch_stats, optimizer, axis_name), metrics

    def predict(state: TrainState, inputs: jax.Array) -> jax.Array:
        model = make_classifier(settings, task.num_classes)
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        return jax.nn.softmax(model.apply(variables, augment.to_float(inputs), False))

    return Method(init, train_step, predict)
