"""Pretrains an encoder without labels by the configured method, and loads it from its checkpoints."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from dmlp_jax.contrastive import moco, simclr
from dmlp_jax.contrastive.method import Pretraining
from dmlp_jax.data.images.lazy import Images
from dmlp_jax.errors import UserError, nearest
from dmlp_jax.training import loop
from dmlp_jax.training.checkpoint import Checkpoints
from dmlp_jax.training.loop import LoopOptions
from dmlp_jax.training.session import Session

_METHODS: dict[str, Callable[[ConfigDict], Pretraining]] = {"simclr": simclr.make, "moco": moco.make}


def make(settings: ConfigDict) -> Pretraining:
    """Builds the pretraining method named by the `pretrain` settings.

    Raises:
        UserError: no such method, or settings that do not fit it.
    """
    if settings.method not in _METHODS:
        hint = nearest(settings.method, list(_METHODS))
        raise UserError(
            f"pretrain.method is {settings.method!r}, which is none of {', '.join(_METHODS)}{hint}"
        )
    return _METHODS[settings.method](settings)


def pretrain(
    images: Images,
    settings: ConfigDict,
    session: Session,
    *,
    folder: Path,
    key: jax.Array,
) -> None:
    """Trains the encoder on images [n, h, w, channels], uint8, and saves checkpoints to `folder`."""
    method = make(settings)
    init_key, fit_key = jax.random.split(key)
    options = LoopOptions(
        "pretrain", settings.epochs, settings.batch_size, settings.checkpoint_epochs, folder
    )
    loop.fit(method.step, method.init(init_key, images), images, options, session, key=fit_key)


def load_encoder(images: Images, settings: ConfigDict, folder: Path, one_disk: bool = True) -> dict[str, Any]:
    """Loads the pretrained encoder's linen variables ('params', 'batch_stats') from the last checkpoint.

    Args:
        images: some of the training images; only their shape is used.
        settings: the `pretrain` settings.
        folder: folder of the checkpoints.
        one_disk: whether all processes see `folder`, see `Checkpoints`.

    Raises:
        UserError: there is no checkpoint.
    """
    method = make(settings)
    like = jax.eval_shape(lambda key: method.init(key, images), jax.random.key(0))
    with Checkpoints(folder, one_disk=one_disk) as checkpoints:
        restored = checkpoints.restore(like)
    if restored is None:
        raise UserError(f"{folder} holds no checkpoint of an encoder; run the stage pretrain first")
    state = method.network(restored.state)
    return {"params": state.params["encoder"], "batch_stats": state.batch_stats.get("encoder", {})}
