"""Defines the containers of the default schedule."""

from typing import NamedTuple

import jax

from dmlp_jax.purifier.base.nesterov import NesterovState
from dmlp_jax.purifier.base.temperature import TemperatureEvidence
from dmlp_jax.purifier.posterior.e_step import LabelModel
from dmlp_jax.purifier.posterior.ipc_step import IpcStep


class Precomputed(NamedTuple):
    """What all classifiers share and what depends on no label; d counts the constant column.

    Attributes:
        gram: F^T F of the training rows, [d, d].
        gram_val: F_v^T F_v of the clean rows, [d, d].
        spectrum: eigenvalues of F^T F, [d].
        total: sum of the row weights, scalar.
        ipc: quantities of IPC's step on the labels; None without it.
    """

    gram: jax.Array
    gram_val: jax.Array
    spectrum: jax.Array
    total: jax.Array
    ipc: IpcStep | None


class FoldClassifiers(NamedTuple):
    """A candidate's classifiers: one trained without each fold, one on all clean rows; leaves [k + 1, ...].

    Attributes:
        optimizer: the weights and their lookahead.
        response: of the weights to a row's written label, and what is left of the starting probe's response
            to its given label, [2, d]; see `leave_one_out.py`.
        transition: estimates of p(given | true), [c, c].
        information: see `leave_one_out.fisher_information`, of the round before.
        moment: F^T Q [d, c] of the labels of the round before; None without IPC.
    """

    optimizer: NesterovState
    response: NesterovState
    transition: jax.Array
    information: jax.Array
    moment: jax.Array | None


class FittedModel(NamedTuple):
    """A fitted label model, its predictions for the clean rows, and its evidence and class shares.

    Attributes:
        model: of the classifiers of every fold, leaves [k + 1, ...]; the last was trained on every clean row.
        held_out: logits [m, c] of each clean row from the classifier that did not train on it, over the
            temperature and with the clean rows' class shares, see `label_shift.py`.
        evidence: of the training rows on the temperature.
        class_shares: pi, shares of the classes among the training rows, [c].
    """

    model: LabelModel
    held_out: jax.Array
    evidence: TemperatureEvidence
    class_shares: jax.Array


class Snapshot(NamedTuple):
    """A candidate in one of its rounds.

    Attributes:
        score: expected held-out log-likelihood of its labels, see `scores.expected_score`.
        loss: cross-entropy of the held-out clean rows, in nats.
        step: the round, from 1, scalar int32.
        fitted: its model then.
    """

    score: jax.Array
    loss: jax.Array
    step: jax.Array
    fitted: FittedModel


class Penalty(NamedTuple):
    """The L2 strength that distinguishes a candidate.

    Attributes:
        decay: absolute L2 strength of its classifiers, scalar.
        inverse_bound: inverse of a bound on their Hessian, [d, d], see `nesterov.preconditioner`.
    """

    decay: jax.Array
    inverse_bound: jax.Array


class Candidate(NamedTuple):
    """A candidate in progress.

    Attributes:
        classifiers: one without each fold, and one on all clean rows.
        temperature: the temperature that calibrated them in the round before, scalar.
        evidence: of the training rows on the temperature, from that round.
        class_shares: pi, estimated in that round, [c]; see `label_shift.py`.
        best: its best round so far.
        tolerated: held-out loss above which a round is not picked: the least loss plus standard error so far.
    """

    classifiers: FoldClassifiers
    temperature: jax.Array
    evidence: TemperatureEvidence
    class_shares: jax.Array
    best: Snapshot
    tolerated: jax.Array
