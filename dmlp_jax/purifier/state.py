"""The containers of the posterior schedule."""

from typing import NamedTuple

import jax

from dmlp_jax.purifier.eac import NesterovState
from dmlp_jax.purifier.ridge import RidgeFactor


class Training(NamedTuple):
    """The training rows.

    Attributes:
        features: standardised, [n, d].
        given: given labels as distributions [n, c].
        weight: row weights [n].
    """

    features: jax.Array
    given: jax.Array
    weight: jax.Array


class Candidate(NamedTuple):
    """One setting of the schedule, scalars; or [s] for s candidates. `label_lr` is None without IPC."""

    weight_decay: jax.Array
    val_weight: jax.Array
    label_lr: jax.Array | None


class Shared(NamedTuple):
    """What all members share, none of which depends on a label.

    Attributes:
        gram: F^T F, [d, d].
        gram_val: F_v^T F_v, [d, d].
        spectrum: eigenvalues of F^T F, [d].
        ridge: factor of F^T F + lambda I for IPC.
        label_unit: one over the curvature of the validation loss in the labels.
    """

    gram: jax.Array
    gram_val: jax.Array
    spectrum: jax.Array
    ridge: RidgeFactor
    label_unit: jax.Array


class Member(NamedTuple):
    """State of one classifier.

    Attributes:
        optimizer: weights and momentum.
        response: see `leverage.py`.
        transition: its estimate of the transition matrix, [c, c].
    """

    optimizer: NesterovState
    response: NesterovState
    transition: jax.Array


class Snapshot(NamedTuple):
    """A candidate at one of its rounds.

    Attributes:
        loss: held-out cross-entropy, scalar.
        step: the round, scalar int32; 0 is the start.
        weights: of the member that saw every clean row, [d, c].
        leverage: of that member, scalar.
        transition: of that member, [c, c].
        held_out: logits [m, c] of each clean row from the member that did not see it.
    """

    loss: jax.Array
    step: jax.Array
    weights: jax.Array
    leverage: jax.Array
    transition: jax.Array
    held_out: jax.Array
