"""Implements SimCLR (Chen et al. 2020): two views of an image are a positive pair, other images negatives."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmlp_jax.contrastive.losses import nt_xent
from dmlp_jax.contrastive.method import Pretraining, init_variables, make_model, make_views
from dmlp_jax.data.images.lazy import Images
from dmlp_jax.training import learning_rates
from dmlp_jax.training.dispatch import Batch
from dmlp_jax.training.state import TrainState, apply_gradients, init_state, make_optimizer


def make(settings: ConfigDict) -> Pretraining:
    """Builds SimCLR with the `pretrain` settings; negatives and batch norm span all devices."""
    optimizer = make_optimizer(settings, learning_rates.cosine(settings))
    make_pair = make_views(settings)

    def init(key: jax.Array, images: Images) -> TrainState:
        return init_state(init_variables(settings, key, images), optimizer)

    def step(state: TrainState, batch: Batch, *, axis_name: str | None) -> tuple[TrainState, dict]:
        model = make_model(settings, axis_name)
        views = jnp.concatenate(make_pair(batch))

        def loss_fn(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            # One batch with both views, so that they share batch-norm statistics, as in the reference code.
            projections, updates = model.apply(variables, views, True, mutable=["batch_stats"])
            first, second = jnp.split(projections, 2)
            loss = nt_xent(first, second, settings.temperature, axis_name=axis_name)
            return loss, updates.get("batch_stats", {})

        (loss, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        state = apply_gradients(state, grads, stats, optimizer, axis_name, epoch=batch.epoch)
        return state, {"loss": loss}

    return Pretraining(init, step, lambda state: state)
