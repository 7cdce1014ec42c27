"""Defines the interface of a retraining method, and the registry of methods by name."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data.images.lazy import Images
from dmlp_jax.errors import UserError, nearest
from dmlp_jax.training.dispatch import Step

if TYPE_CHECKING:
    # The loop brings Orbax, which takes a fifth of a second to load: `dmlp-purify` does without.
    from dmlp_jax.training.loop import Planner


class TrainingSet(NamedTuple):
    """The rows and labels that one network, or one pair of networks, is trained on.

    Attributes:
        inputs: images [n, h, w, channels] uint8 or features [n, d] float32.
        targets: labels as distributions [n, c], float32; given labels are one-hot.
        noise_rate: estimated share of wrong labels; None where it could not be estimated.
        num_clean: number of clean rows, whose labels are right; they are the last rows.
    """

    inputs: Images
    targets: np.ndarray
    noise_rate: float | None
    num_clean: int = 0


class Method(NamedTuple):
    """A retraining method: pure functions that initialise, train and apply a classifier.

    Whatever depends on the training set (its rows, its noise rate) is part of the state, so that one compiled
    step serves all training sets.

    Attributes:
        init: `(key, training set) -> state`, a pytree of arrays.
        train_step: one update on batches whose data are a dict of 'inputs' [b, ...] and 'targets' [b, c].
        predict: `(state, inputs [b, ...]) -> class probabilities [b, c]`.
        make_planner: `(training set, devices) -> planner`, for methods that choose their rows or work on
            all rows between epochs; None for all rows in random order. See `training.loop.Planner`.
        correct: `(state, inputs [b, ...], targets [b, c], rows [b]) -> labels [b, c]`, for methods that
            correct labels: distributions over classes, given training rows, their targets and row indices.
        alike_from: number of first epochs, such as a warm-up, that do not take as long as the others.
        features: `(state, inputs [b, ...]) -> [b, d]`, what the classifier's last layer sees, for
            `retrain.linear_probe`.
    """

    init: Callable[[jax.Array, TrainingSet], Any]
    train_step: Step
    predict: Callable[[Any, jax.Array], jax.Array]
    make_planner: "Callable[[TrainingSet, list[jax.Device]], Planner] | None" = None
    correct: Callable[[Any, jax.Array, jax.Array, jax.Array], jax.Array] | None = None
    alike_from: int = 0
    features: Callable[[Any, jax.Array], jax.Array] | None = None


class Task(NamedTuple):
    """What a method is told of its task beyond its own settings.

    Attributes:
        num_classes: c.
        steps_per_epoch: optimiser steps in an epoch.
        encoder: linen variables of the pretrained encoder; None to start from scratch.
    """

    num_classes: int
    steps_per_epoch: int
    encoder: dict[str, Any] | None


class Needs(NamedTuple):
    """What a method requires of its data.

    Attributes:
        labels: whether it uses the labels of all rows. If not, it is trained on the labels of the clean rows
            only, and there is one network instead of one for each source of labels.
        images: whether it needs images; features are refused then.
    """

    labels: bool = True
    images: bool = False


Factory = Callable[[ConfigDict, Task], Method]
_METHODS: dict[str, Factory] = {}
_NEEDS: dict[str, Needs] = {}


def register(name: str, needs: Needs = Needs()) -> Callable[[Factory], Factory]:  # noqa: B008 (a constant)
    """Decorator: makes `factory(retrain settings, task) -> Method` available as `retrain.method=name`.

    Args:
        name: name of the method and of its folders: lower-case letters, digits and underscores.
        needs: what the method requires of its data.

    Raises:
        ValueError: the name has other characters.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"method name {name!r} must be of lower-case letters, digits and underscores")

    def add(factory: Factory) -> Factory:
        _METHODS[name], _NEEDS[name] = factory, needs
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


def needs(name: str) -> Needs:
    """What the method `name` requires of its data.

    Raises:
        UserError: no such method.
    """
    check_name(name)
    return _NEEDS[name]


def check_needs(name: str, *, images: bool, with_val: bool) -> None:
    """Raises a UserError if the method cannot be trained on such data.

    Args:
        name: the method's name.
        images: whether the inputs are images rather than features.
        with_val: whether the clean rows are among the training rows.
    """
    wanted = needs(name)
    if wanted.images and not images:
        raise UserError(
            f"retrain.method {name!r} is trained on random views of images, but the inputs are features; use "
            "another method, such as naive or dividemix"
        )
    if not wanted.labels and not with_val:
        raise UserError(
            f"retrain.method {name!r} is trained on the labels of the clean rows alone, but "
            "retrain.with_val is False; set it to True"
        )


def by_noise(name: str, value: Any, noise_rate: float | None) -> float:
    """The value of a constant that may depend on the noise rate.

    Args:
        name: the setting's name, for the message.
        value: a number, also as a tuple of one (as a command-line flag gives it), or pairs (from this noise
            rate on, number) in ascending order that start at 0.
        noise_rate: share of wrong labels in the training set.

    Raises:
        UserError: the value depends on a noise rate that is not known, or is neither a number nor pairs.
    """
    if np.size(value) == 1:
        return float(np.reshape(value, ()))
    pairs = [np.shape(pair) == (2,) for pair in value]
    if not pairs or not all(pairs) or value[0][0] != 0:
        raise UserError(
            f"{name} is {value!r}; it must be a number, or pairs (from this noise rate on, number) of which "
            "the first starts at 0, such as ((0,0),(0.3,25))"
        )
    rate = known_rate(noise_rate, f"{name} depends on it")
    return float([number for start, number in value if rate >= start][-1])


def known_rate(noise_rate: float | None, why: str) -> float:
    """Returns `noise_rate`.

    Args:
        noise_rate: share of wrong labels, None where unknown.
        why: why it is needed, for the message.

    Raises:
        UserError: it is None.
    """
    if noise_rate is None:
        raise UserError(
            f"the label noise rate could not be estimated ({why}); set it, for example "
            "--config.retrain.noise_rate=0.2"
        )
    return noise_rate
