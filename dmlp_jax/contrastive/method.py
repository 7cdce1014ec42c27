"""Defines what the pretraining methods share: interface, model with projection head, two-view batches."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.data.images.lazy import Images
from dmlp_jax.models import registry
from dmlp_jax.training.dispatch import Batch, Step
from dmlp_jax.training.state import TrainState


class Pretraining(NamedTuple):
    """A method of training an encoder without labels.

    Attributes:
        init: `(key, images [n, h, w, channels]) -> state`, a pytree of arrays.
        step: one update on a batch of images [b, h, w, channels], uint8.
        network: `state -> TrainState` of the network whose encoder is the result.
    """

    init: Callable[[jax.Array, Images], Any]
    step: Step
    network: Callable[[Any], TrainState]


def make_model(settings: ConfigDict, axis_name: str | None = None) -> registry.ContrastiveModel:
    """Builds the encoder and projection head described by the `pretrain` settings."""
    encoder = registry.make_encoder(
        settings.model, stem=settings.stem, dtype=settings.dtype, axis_name=axis_name
    )
    projector = registry.Projector(
        settings.projection_layers,
        settings.projection_width,
        settings.projection_dim,
        settings.projection_norm,
        settings.projection_bias,
        axis_name,
    )
    return registry.ContrastiveModel(encoder, projector)


def init_variables(settings: ConfigDict, key: jax.Array, images: Images) -> dict[str, Any]:
    """Initialises the model's linen variables for images [n, h, w, channels]."""
    example = augment.centre(augment.to_float(jnp.asarray(images[:2])), settings.crop_size)
    return jax.jit(make_model(settings).init, static_argnums=2)(key, example, True)


def make_views(settings: ConfigDict) -> Callable[[Batch], tuple[jax.Array, jax.Array]]:
    """Returns a function that maps a batch to two random views per image, [b, h, w, channels], float32."""
    policy = augment.make(
        settings.augment,
        crop_size=settings.crop_size,
        crop_min_area=settings.crop_min_area,
        color_strength=settings.color_strength,
        gray_prob=settings.gray_prob,
        blur_prob=settings.blur_prob,
    )

    def views(batch):
        images = augment.to_float(batch.data)
        keys = jax.vmap(jax.random.split)(batch.keys)
        return policy(keys[:, 0], images), policy(keys[:, 1], images)

    return views
