"""What a retraining method is: three pure functions, registered by name."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.config import nearest
from dmlp_jax.errors import UserError
from dmlp_jax.models import registry
from dmlp_jax.training.loop import Step


class Method(NamedTuple):
    """A way of training a classifier on labels.

    Attributes:
        init: `(key, example inputs [2, ...]) -> state`.
        train_step: one update on batches whose data are a dict of 'inputs' [b, ...] and 'targets' [b, c].
        predict: `(state, inputs [b, ...]) -> class probabilities [b, c]`.
    """

    init: Callable[[jax.Array, jax.Array], Any]
    train_step: Step
    predict: Callable[[Any, jax.Array], jax.Array]


class Task(NamedTuple):
    """What a method may know of its task beside its own settings.

    Attributes:
        num_classes: c.
        steps_per_epoch: optimiser steps in an epoch.
        encoder: linen variables of the pretrained encoder; None to start from scratch.
    """

    num_classes: int
    steps_per_epoch: int
    encoder: dict[str, Any] | None


Factory = Callable[[ConfigDict, Task], Method]
_METHODS: dict[str, Factory] = {}


def register(name: str) -> Callable[[Factory], Factory]:
    """Decorator: makes `factory(retrain settings, task) -> Method` available as `retrain.method=name`."""

    def add(factory: Factory) -> Factory:
        _METHODS[name] = factory
        return factory

    return add


def make(name: str, settings: ConfigDict, task: Task) -> Method:
    """The method `name`.

    Raises:
        UserError: no such method.
    """
    check_name(name)
    return _METHODS[name](settings, task)


def check_name(name: str) -> None:
    """Raises a UserError unless a method of this name is registered."""
    if name not in _METHODS:
        known = sorted(_METHODS)
        raise UserError(
            f"retrain.method is {name!r}, which is none of {', '.join(known)}{nearest(name, known)}"
        )


def make_classifier(settings: ConfigDict, num_classes: int, axis_name: str | None = None) -> nn.Module:
    """The network that the `retrain` settings describe."""
    encoder = registry.make_encoder(settings.model, dtype=settings.dtype, axis_name=axis_name)
    return registry.Classifier(encoder, num_classes)


def start_from_encoder(variables: dict[str, Any], encoder: dict[str, Any] | None) -> dict[str, Any]:
    """The classifier's fresh linen variables with those of a pretrained encoder, if there is one, put in.

    Raises:
        UserError: the encoder is another network than the classifier's.
    """
    if encoder is None:
        return variables
    for part, values in encoder.items():
        if not values:
            continue
        fresh = variables.get(part, {}).get("encoder", {})
        if jax.tree.map(np.shape, fresh) != jax.tree.map(np.shape, values):
            raise UserError(
                "retrain.init is 'encoder', but retrain.model is another network than pretrain.model"
            )
        variables = {**variables, part: {**variables[part], "encoder": values}}
    return variables
