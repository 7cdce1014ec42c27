"""The containers of the schedule."""

from typing import NamedTuple

import jax

from dmlp_jax.purifier.base.nesterov import NesterovState
from dmlp_jax.purifier.base.ridge import RidgeFactor
from dmlp_jax.purifier.posterior.e_step import Head
from dmlp_jax.purifier.posterior.temperature_evidence import TemperatureEvidence


class Precomputed(NamedTuple):
    """What all classifiers share, none of which depends on a label.

    Attributes:
        gram: F^T F, [d, d].
        gram_val: F_v^T F_v, [d, d].
        spectrum: eigenvalues of F^T F, [d].
        total: sum of the row weights, scalar.
        ridge: factor of F^T F + lambda I, for IPC; None without it.
        label_unit: one over the curvature of the validation loss in the labels; None without IPC.
    """

    gram: jax.Array
    gram_val: jax.Array
    spectrum: jax.Array
    total: jax.Array
    ridge: RidgeFactor | None
    label_unit: jax.Array | None


class FoldClassifiers(NamedTuple):
    """The classifiers of a candidate, one without each fold and one with all clean rows; leaves [k + 1, ...].

    Attributes:
        optimizer: the weights and their lookahead.
        response: of the weights to a row's written label, and what is left of that of the starting probe to
            its given label, [2, d]; see `leverage.py`.
        transition: estimates of p(given | true), [c, c].
        information: see `leverage.fisher`, of the round before.
        moment: F^T Y [d, c] of the labels written in the round before; None without IPC.
    """

    optimizer: NesterovState
    response: NesterovState
    transition: jax.Array
    information: jax.Array
    moment: jax.Array | None


class Snapshot(NamedTuple):
    """A candidate at one of its rounds.

    Attributes:
        score: what the written labels are expected to be worth there, see `selection.expected_score`.
        loss: cross-entropy of the held-out clean rows, in nats.
        step: the round, scalar int32.
        head: of its members, leaves [k + 1, ...]; the last saw every clean row.
        held_out: logits [m, c] of each clean row from the member that did not see it, over the temperature
            and with the clean rows' class shares, see `label_shift.py`.
        evidence: of the training rows on the temperature, from the round before.
    """

    score: jax.Array
    loss: jax.Array
    step: jax.Array
    head: Head
    held_out: jax.Array
    evidence: TemperatureEvidence


class Penalty(NamedTuple):
    """What makes a candidate.

    Attributes:
        decay: absolute L2 strength of its classifiers, scalar.
        bound: factor for their steps, see `eac.preconditioner`.
    """

    decay: jax.Array
    bound: RidgeFactor


class Candidate(NamedTuple):
    """A candidate under way.

    Attributes:
        members: its classifiers.
        temperature: that calibrated them in the round before, scalar.
        evidence: of the training rows on it, from that round.
        best: at its best round so far.
        tolerated: held-out loss above which a round is not picked: the least so far, plus a standard error.
    """

    members: FoldClassifiers
    temperature: jax.Array
    evidence: TemperatureEvidence
    best: Snapshot
    tolerated: jax.Array
