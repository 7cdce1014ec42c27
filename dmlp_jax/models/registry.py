"""Builds encoders by name, and the classifier and projection heads on top of them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dmlp_jax.errors import UserError, nearest
from dmlp_jax.models.cnn9 import CNN9
from dmlp_jax.models.norm import batch_norm
from dmlp_jax.models.resnet import STEMS, ResNet, stem_for
from dmlp_jax.models.small import MLP, SmallCNN
from dmlp_jax.models.wide_resnet import WideResNet

IMAGE_ENCODERS = (
    "small_cnn", "cnn9", "resnet18", "resnet34", "resnet50", "preact_resnet18", "wide_resnet28_2",
    "wide_resnet28_8", "wide_resnet28_10",
)  # fmt: skip
FEATURE_ENCODERS = ("mlp", "linear")
_RESNETS = ("resnet18", "resnet34", "resnet50", "preact_resnet18")


def make_encoder(
    name: str, *, stem: str = "auto", dtype: str = "float32", axis_name: str | None = None
) -> nn.Module:
    """Builds the encoder `name`, a module that maps `(inputs, train)` to features [b, d].

    Args:
        name: one of IMAGE_ENCODERS for images, one of FEATURE_ENCODERS for features.
        stem: first layers of a ResNet, 'auto', 'cifar' or 'imagenet', see `ResNet`; 'auto' for the others.
        dtype: data type of the computation, 'float32' or 'bfloat16'.
        axis_name: pmap axis over which batch norm averages its statistics; None uses each device's own.

    Raises:
        UserError: no such encoder or data type, or a stem that it does not have.
    """
    _check_stem(stem, name)
    if dtype not in ("float32", "bfloat16"):
        raise UserError(f"dtype is {dtype!r}; it must be float32 or bfloat16")
    common: dict[str, Any] = {"dtype": jnp.dtype(dtype), "axis_name": axis_name}
    if name == "small_cnn":
        return SmallCNN(**common)
    if name == "resnet18":
        return ResNet((2, 2, 2, 2), stem=stem, **common)
    if name == "resnet34":
        return ResNet((3, 4, 6, 3), stem=stem, **common)
    if name == "resnet50":
        return ResNet((3, 4, 6, 3), block="bottleneck", stem=stem, **common)
    if name == "preact_resnet18":
        return ResNet((2, 2, 2, 2), block="preact", stem=stem, **common)
    if name == "wide_resnet28_2":
        return WideResNet(**common)
    if name == "wide_resnet28_8":
        return WideResNet(width=128, **common)
    if name == "wide_resnet28_10":
        return WideResNet(width=160, **common)
    if name == "cnn9":
        return CNN9(**common)
    if name == "mlp":
        return MLP(**common)
    if name == "linear":
        return MLP(layers=0, **common)
    known = [*IMAGE_ENCODERS, *FEATURE_ENCODERS]
    raise UserError(f"model is {name!r}, which is none of {', '.join(known)}{nearest(name, known)}")


class Classifier(nn.Module):
    """An encoder followed by a linear layer.

    Attributes:
        encoder: from `make_encoder`.
        num_classes: number of classes.
    """

    encoder: nn.Module
    num_classes: int

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Logits [b, num_classes]; stores the encoder's features in the collection 'intermediates'."""
        features = self.encoder(inputs, train)
        self.sow("intermediates", "features", features)
        return nn.Dense(self.num_classes, name="head")(features)


class Projector(nn.Module):
    """A projection head, as contrastive learning has it; discarded after the training.

    Attributes:
        layers: number of dense layers, at least 1.
        width: width of the hidden layers; 0 for the input's width.
        out: width of the output.
        norm: use batch norm in the hidden layers.
        bias: whether the output has a bias.
        axis_name: pmap axis over which batch norm averages its statistics.
        bias: use a bias in the last layer.
    """

    layers: int
    width: int
    out: int
    norm: bool = True
    bias: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        """Projections [b, out] of features [b, d]."""
        x = features
        for _ in range(self.layers - 1):
            x = nn.Dense(self.width or features.shape[-1], use_bias=not self.norm)(x)
            if self.norm:
                x = batch_norm(train, None, self.axis_name)()(x)
            x = nn.relu(x)
        return nn.Dense(self.out, use_bias=self.bias)(x)


class ContrastiveModel(nn.Module):
    """An encoder followed by a projection head.

    Attributes:
        encoder: from `make_encoder`.
        projector: the projection head.
    """

    encoder: nn.Module
    projector: Projector

    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Projections [b, out]."""
        return self.projector(self.encoder(inputs, train), train)


def resolve_model(name: str, input_shape: tuple[int, ...]) -> str:
    """Replaces 'auto' by a model for inputs of this shape, and checks that any other model fits them.

    'auto' is 'mlp' for features, 'small_cnn' for images of up to 16 pixels a side, else 'resnet18'.

    Args:
        name: a configured model name.
        input_shape: shape of one input, (d,) or (h, w, channels).

    Raises:
        UserError: an image model for features or the reverse, or images too small for 'cnn9'.
    """
    is_features = len(input_shape) == 1
    if name == "auto":
        return "mlp" if is_features else "small_cnn" if max(input_shape[:2]) <= 16 else "resnet18"
    fitting = FEATURE_ENCODERS if is_features else IMAGE_ENCODERS
    if name in (*IMAGE_ENCODERS, *FEATURE_ENCODERS) and name not in fitting:
        kind = "features" if is_features else "images"
        raise UserError(f"model {name!r} does not take {kind}; use one of auto, {', '.join(fitting)}")
    if name == "cnn9" and min(input_shape[:2]) < 28:
        raise UserError(
            f"model 'cnn9' takes images of at least 28 pixels a side, these are {input_shape[0]}x"
            f"{input_shape[1]}; use auto"
        )
    return name


def resolve_stem(stem: str, name: str, side: int) -> str:
    """Replaces 'auto' by a ResNet's stem for images of `side` pixels; other networks keep their one stem.

    Args:
        stem: the configured stem.
        name: a model name, not 'auto'.
        side: the larger side of the images that the network sees, after cropping.

    Raises:
        UserError: no such stem, or the model is no ResNet and has no choice.
    """
    _check_stem(stem, name)
    return stem_for(side) if stem == "auto" and name in _RESNETS else stem


def _check_stem(stem: str, name: str) -> None:
    if stem not in STEMS:
        raise UserError(f"stem is {stem!r}, which is none of {', '.join(STEMS)}{nearest(stem, list(STEMS))}")
    if stem != "auto" and name in (*IMAGE_ENCODERS, *FEATURE_ENCODERS) and name not in _RESNETS:
        raise UserError(
            f"stem is {stem!r}, but only {', '.join(_RESNETS)} have a choice of stems, and the model is "
            f"{name!r}; leave the stem at auto"
        )
