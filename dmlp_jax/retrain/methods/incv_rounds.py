"""Selects rows by cross-validation in rounds, between the epochs of INCV; see `incv` for the method."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.errors import UserError
from dmlp_jax.training.state import TrainState

CANDIDATE, SELECTED, DISCARDED = 0, 1, 2


class INCVState(NamedTuple):
    """State of the networks and of the selection.

    Attributes:
        networks: both networks; the first one selects until Co-teaching starts.
        initial: what the first network starts from in every half-round.
        best: the first network at its best epoch of the half-round.
        best_accuracy: on the rows of the other half, float32 scalar; -1 before the first epoch.
        status: CANDIDATE, SELECTED or DISCARDED, [n] int32.
        held_out: whether a row is in the half that is not trained on, [n] bool.
        found: the status that rows take at the end of the round, [n] int32; CANDIDATE for no change.
        rate: e, float32 scalar; -1 before it is estimated.
        teaching: whether Co-teaching has started, bool scalar.
    """

    networks: tuple[TrainState, TrainState]
    initial: TrainState
    best: TrainState
    best_accuracy: jax.Array | np.ndarray
    status: jax.Array | np.ndarray
    held_out: jax.Array | np.ndarray
    found: jax.Array | np.ndarray
    rate: jax.Array | np.ndarray
    teaching: jax.Array | np.ndarray


class Phases(NamedTuple):
    """Attributes: `rounds`; `length`, epochs of a half-round; `first`, first epoch of Co-teaching."""

    rounds: int
    length: int
    first: int


def plan_phases(settings: ConfigDict) -> Phases:
    """Divides the epochs: `rounds_share` of them go to 2 * `rounds` equally long half-rounds.

    Raises:
        UserError: fewer than three epochs, or constants out of range.
    """
    if settings.epochs < 3 or settings.rounds < 1 or not 0 < settings.rounds_share < 1:
        raise UserError(
            f"retrain.epochs is {settings.epochs}, recipes.incv.rounds {settings.rounds} and "
            f"recipes.incv.rounds_share {settings.rounds_share}; incv takes at least 3 epochs, 1 round and a "
            "share in (0, 1)"
        )
    rounds = min(settings.rounds, (settings.epochs - 1) // 2)
    longest = (settings.epochs - 1) // (2 * rounds)
    length = min(max(1, round(settings.rounds_share * settings.epochs / (2 * rounds))), longest)
    return Phases(rounds, length, 2 * rounds * length)


def estimate_rate(agreement: float, num_classes: int) -> float:
    """The label noise rate e: the least multiple of .001 with (1 - e)^2 + e^2 / (c - 1) <= agreement.

    If predictions err as often and as the labels do, this is the share of rows on which both agree. The left
    side is least at (c - 1) / c, beyond which the authors' search ends in a division by zero; it ends there
    here.

    Args:
        agreement: share of held-out rows whose label is predicted.
        num_classes: c.
    """
    rates = np.arange(1, 1000) * 0.001
    rates = rates[rates <= (num_classes - 1) / num_classes + 1e-9]
    fits = (1 - rates) ** 2 + rates**2 / (num_classes - 1) <= agreement
    return float(rates[np.argmax(fits)] if fits.any() else rates[-1])


def selected_rate(rate: float, num_classes: int, symmetric: bool) -> float:
    """The noise rate among selected rows, e^2 / (e^2 + K (1 - e)^2), where K = c - 1, or 1 for a pair."""
    others = num_classes - 1 if symmetric else 1
    return rate**2 / (rate**2 + others * (1 - rate) ** 2)


def late(rate: float, symmetric: bool) -> bool:
    """Whether selection is so uncertain that the best epoch counts once, and candidates join late."""
    return not symmetric or rate > 0.6


def _best_rounds(rate: float, symmetric: bool) -> int:
    """Number of rounds in which the best epoch's weights select rather than the last epoch's."""
    return 1 if late(rate, symmetric) else 2 if rate > 0.3 else 4


def trained(state: INCVState) -> np.ndarray:
    """Which candidates the network is trained on in this half-round, [n] bool."""
    return (np.asarray(state.status) == CANDIDATE) & ~np.asarray(state.held_out)


def split(state: INCVState, key: jax.Array) -> INCVState:
    """The state at the start of a round: the second half of the shuffled candidates is held out."""
    rows = np.flatnonzero(np.asarray(state.status) == CANDIDATE)
    order = np.asarray(jax.random.permutation(key, rows))
    held_out = np.zeros(len(state.status), bool)
    held_out[order[len(rows) // 2 :]] = True
    return state._replace(held_out=held_out)


def judge(
    state: INCVState,
    epoch: int,
    judged: Callable[[TrainState], np.ndarray],
    phases: Phases,
    symmetric: bool,
    num_classes: int,
) -> INCVState:
    """The state after an epoch of selection; at the end of a half-round rows are found, then it starts anew.

    Args:
        state: the state before.
        epoch: epochs done.
        judged: `TrainState -> [n, 2]`, loss and whether the label is predicted.
        phases: see `plan_phases`.
        symmetric: whether rows are discarded.
        num_classes: c.
    """
    half = (epoch - 1) // phases.length
    ended = epoch % phases.length == 0
    held_out, own = np.asarray(state.held_out), state.networks[0]
    keep_best = half // 2 < (1 if state.rate < 0 else _best_rounds(float(state.rate), symmetric))
    outcome = None
    if keep_best:
        outcome = judged(own)
        accuracy = np.asarray(np.mean(outcome[held_out, 1]) if held_out.any() else 0.0, np.float32)
        if accuracy > state.best_accuracy:
            state = state._replace(best=own, best_accuracy=accuracy)
    if not ended:
        return state
    chosen = state.best if keep_best else own
    outcome = outcome if outcome is not None and chosen is own else judged(chosen)
    rows = np.flatnonzero(held_out)
    agreed = outcome[rows, 1] > 0
    rate = float(state.rate)
    if rate < 0:
        rate = estimate_rate(float(np.mean(agreed)), num_classes)
    found = np.array(state.found)
    discarded = int(min(2.0, rate / (1 - rate)) * np.sum(agreed))
    if symmetric and discarded:
        found[rows[np.argsort(outcome[rows, 0], kind="stable")[-discarded:]]] = DISCARDED
    found[rows[agreed]] = SELECTED
    state = state._replace(
        networks=(state.initial, state.networks[1]),
        best=state.initial,
        best_accuracy=np.asarray(-1, np.float32),
        found=found,
        rate=np.asarray(rate, np.float32),
    )
    if half % 2 == 0:
        return state._replace(held_out=trained(state))
    status = np.where(found != CANDIDATE, found, np.asarray(state.status)).astype(np.int32)
    return state._replace(status=status, found=np.zeros_like(found), held_out=np.zeros_like(held_out))
