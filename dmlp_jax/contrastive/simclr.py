"""SimCLR (Chen et al. 2020): two random views of every image attract, all others repel."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.contrastive.losses import nt_xent
from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.models import registry
from dmlp_jax.training import loop, schedule
from dmlp_jax.training.checkpoint import Checkpoints
from dmlp_jax.training.dispatch import Batch, Step
from dmlp_jax.training.loop import LoopOptions
from dmlp_jax.training.metrics import MetricsLog
from dmlp_jax.training.state import TrainState, apply_gradients, init_state, make_optimizer


def make_model(settings: ConfigDict, axis_name: str | None = None) -> registry.ContrastiveModel:
    """Encoder and projection head of the `pretrain` settings."""
    encoder = registry.make_encoder(settings.model, dtype=settings.dtype, axis_name=axis_name)
    projector = registry.Projector(
        settings.projection_layers,
        settings.projection_width,
        settings.projection_dim,
        settings.projection_norm,
        axis_name,
    )
    return registry.ContrastiveModel(encoder, projector)


def make_step(settings: ConfigDict) -> Step:
    """The SimCLR update of the `pretrain` settings on batches of images [b, h, w, channels], uint8."""
    optimizer = make_optimizer(settings, schedule.cosine(settings))
    policy = augment.make(
        settings.augment,
        crop_min_area=settings.crop_min_area,
        color_strength=settings.color_strength,
        gray_prob=settings.gray_prob,
    )

    def step(state: TrainState, batch: Batch, *, axis_name: str | None) -> tuple[TrainState, dict]:
        model = make_model(settings, axis_name)
        images = augment.to_float(batch.data)
        keys = jax.vmap(jax.random.split)(batch.keys)
        views = jnp.concatenate([policy(keys[:, 0], images), policy(keys[:, 1], images)])

        def loss_fn(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            # Both views in one batch: batch norm sees them together, as in the reference implementation.
            projections, updates = model.apply(variables, views, True, mutable=["batch_stats"])
            first, second = jnp.split(projections, 2)
            loss = nt_xent(first, second, settings.temperature, axis_name=axis_name)
            return loss, updates.get("batch_stats", {})

        (loss, batch_stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        return apply_gradients(state, grads, batch_stats, optimizer, axis_name, epoch=batch.epoch), {
            "loss": loss
        }

    return step


def initial_state(settings: ConfigDict, images: np.ndarray, key: jax.Array) -> TrainState:
    """A fresh state for images [n, h, w, channels]."""
    model = make_model(settings)
    example = augment.to_float(jnp.asarray(images[:2]))
    variables = jax.jit(model.init, static_argnums=2)(key, example, True)
    return init_state(variables, make_optimizer(settings, schedule.cosine(settings)))


def pretrain(
    images: np.ndarray,
    settings: ConfigDict,
    *,
    folder: Path,
    key: jax.Array,
    devices: list[jax.Device],
    log: MetricsLog,
    log_seconds: float,
) -> None:
    """Trains the encoder on images [n, h, w, channels], uint8; its checkpoints go to `folder`."""
    init_key, fit_key = jax.random.split(key)
    options = LoopOptions(
        "pretrain", settings.epochs, settings.batch_size, settings.checkpoint_epochs, folder, devices,
        log_seconds,
    )  # fmt: skip
    loop.fit(
        make_step(settings),
        initial_state(settings, images, init_key),
        images,
        options,
        key=fit_key,
        log=log,
    )


def load_encoder(images: np.ndarray, settings: ConfigDict, folder: Path) -> dict[str, Any]:
    """The pretrained encoder's linen variables ('params', 'batch_stats') from the last checkpoint.

    Args:
        images: some of the images that it was trained on, for their shape.
        settings: the `pretrain` settings.
        folder: of the checkpoints.

    Raises:
        UserError: there is no checkpoint.
    """
    like = jax.eval_shape(lambda key: initial_state(settings, images, key), jax.random.key(0))
    with Checkpoints(folder) as checkpoints:
        restored = checkpoints.restore(like)
    if restored is None:
        raise UserError(f"{folder} holds no checkpoint of an encoder; run the stage pretrain first")
    state = restored.state
    return {"params": state.params["encoder"], "batch_stats": state.batch_stats.get("encoder", {})}
