"""Batches of two kinds: noisy rows to train on, clean rows to judge by.

The clean rows are those at the end of the training set. Nothing else is kept clean: the epoch is chosen on
`retrain.select_share` of the same clean images, as for every method. The authors of MLC and MSLC draw clean
and noisy rows independently, so that most clean images are also among the noisy ones, and MLC takes a second
clean set to choose the epoch by. Neither is imitated.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import TrainingSet
from dmlp_jax.retrain.methods import division
from dmlp_jax.training.dispatch import Batch, Plan
from dmlp_jax.training.loop import Planner


class Rows(NamedTuple):
    """Attributes: `inputs`, augmented, [b, ...] float32; `targets`, [b, c]."""

    inputs: jax.Array
    targets: jax.Array


def check(settings: ConfigDict) -> None:
    """Raises a UserError if the settings leave no clean rows."""
    if not settings.get("with_val", True):
        raise UserError(
            f"retrain.with_val is False, but retrain.method {settings.method} learns from clean rows; set it "
            "to True"
        )


def noisy_rows(train: TrainingSet, settings: ConfigDict) -> int:
    """How many rows there are to train on; the clean ones follow.

    Raises:
        UserError: no clean rows, or fewer noisy ones than make a batch.
    """
    rows = len(train.targets) - train.num_clean
    if train.num_clean < 1:
        raise UserError(
            f"retrain.method {settings.method} learns from clean rows, and none are left beside those of "
            "retrain.select_share; lower it or raise val.size"
        )
    if rows < settings.batch_size:
        raise UserError(
            f"retrain.batch_size is {settings.batch_size} with {rows} noisy rows to train on; choose at most "
            f"{rows}"
        )
    return rows


def make_planner(train: TrainingSet, settings: ConfigDict, first_epoch: int = 0) -> Planner:
    """Epochs through the noisy rows, with as many clean rows at every step.

    The parts 'train' and 'meta' have the same number of rows; the clean ones are gone through again and
    again in new orders.

    Args:
        train: the rows.
        settings: the `retrain` settings.
        first_epoch: before it there is no part 'meta'.

    Raises:
        UserError: see `noisy_rows`.
    """
    rows, size = noisy_rows(train, settings), settings.batch_size
    steps = rows // size

    def plan(state: Any, epoch: int, key: jax.Array) -> tuple[Any, Plan]:
        train_key, meta_key = jax.random.split(key)
        indices = {"train": division.batches(np.arange(rows), steps, size, train_key)}
        if epoch >= first_epoch:
            clean = np.arange(rows, rows + train.num_clean)
            indices["meta"] = division.batches(clean, steps, size, meta_key)
        return state, Plan(indices)

    return plan


def views(policy: augment.Policy, batch: Batch) -> dict[str, Rows]:
    """The parts of a batch, each row augmented under a key of its own.

    Args:
        policy: of augmentation.
        batch: with the parts of `make_planner`.
    """
    keys = jax.vmap(lambda key: jax.random.split(key, 2))(batch.keys)
    return {
        name: Rows(
            policy(keys[:, ("train", "meta").index(name)], augment.to_float(rows["inputs"])), rows["targets"]
        )
        for name, rows in batch.data.items()
    }
