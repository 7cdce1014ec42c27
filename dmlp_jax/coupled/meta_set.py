"""Makes batches of noisy rows for the network's loss and clean rows for the meta loss.

The clean rows are the last rows of the training set. There is no further clean set: the epoch is chosen on
`retrain.select_share` of the same clean images, as for every method. With a share of 0, as in the paper's
tables here, all clean images are in the meta set. The authors of MLC and MSLC draw clean and noisy rows
independently, so that most clean images are also among the noisy rows, and MLC uses a second clean set to
choose the epoch. Neither is done here.
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
            f"retrain.with_val is False, but retrain.method {settings.method} needs clean rows; set it "
            "to True"
        )


def check_optimizer(settings: ConfigDict) -> None:
    """Raises a UserError if the optimiser's step cannot be looked through."""
    if settings.optimizer not in ("momentum", "sgd"):
        # Steps of the other optimisers hardly depend on the gradient, or have no derivative where it is zero.
        raise UserError(
            f"retrain.optimizer is {settings.optimizer!r}; {settings.method} differentiates through the "
            "optimiser's step, so choose momentum or sgd"
        )


def noisy_rows(train: TrainingSet, settings: ConfigDict) -> int:
    """Number of noisy rows in the training set; the clean rows follow them.

    Raises:
        UserError: there are no clean rows, or fewer noisy rows than a batch.
    """
    rows = len(train.targets) - train.num_clean
    if train.num_clean < 1:
        raise UserError(
            f"retrain.method {settings.method} is trained on clean rows, and none are left beside those of "
            "retrain.select_share; lower it or raise val.size"
        )
    if rows < settings.batch_size:
        raise UserError(
            f"retrain.batch_size is {settings.batch_size} with {rows} noisy rows to train on; choose at most "
            f"{rows}"
        )
    return rows


def make_planner(train: TrainingSet, settings: ConfigDict, first_epoch: int = 0) -> Planner:
    """Plans epochs over the noisy rows, with as many clean rows in every step.

    The parts 'train' (noisy rows) and 'meta' (clean rows) have the same number of rows; the clean rows are
    repeated as needed, each time shuffled anew.

    Args:
        train: the rows.
        settings: the `retrain` settings.
        first_epoch: first epoch that has the part 'meta'.

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
    """The parts of a batch, each row augmented with its own key.

    Args:
        policy: the augmentation.
        batch: a batch with the parts of `make_planner`.
    """
    keys = jax.vmap(lambda key: jax.random.split(key, 2))(batch.keys)
    return {
        name: Rows(
            policy(keys[:, ("train", "meta").index(name)], augment.to_float(rows["inputs"])), rows["targets"]
        )
        for name, rows in batch.data.items()
    }
