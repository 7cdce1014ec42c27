"""Fits the trivial baselines: linear probes that a purifier must beat, tuned on held-out clean rows.

- `val_only_probe`: softmax regression on the clean rows alone.
- `noisy_probe`: ridge regression on the training rows and their given labels.
- `noisy_plus_val_probe`: ridge regression on both, with the clean rows weighted; the purifier starts from it.

L2 strength and weight of the clean rows are chosen by the cross-entropy on held-out clean folds, at a fitted
temperature: label noise shrinks ridge predictions towards the class prior.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import few_rows, nesterov, ridge, scores
from dmlp_jax.purifier.base.pytrees import at
from dmlp_jax.purifier.base.scores import HeldOutScore
from dmlp_jax.purifier.base.temperature import fit_temperature
from dmlp_jax.purifier.rows import clean_set, span
from dmlp_jax.purifier.rows.clean_set import CleanSet

# The default schedule starts from the last one.
PROBES = ("val_only_probe", "noisy_probe", "noisy_plus_val_probe")
# From strong to weak: each softmax regression starts from the one before.
SOFTMAX_PENALTIES = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4)
UNTUNED_PENALTY = 1e-2
RIDGE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
# Total weight of the clean rows over total weight of the training rows.
VAL_SHARES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class Probe(NamedTuple):
    """A tuned linear probe.

    Attributes:
        weights: [k + 1, d, c], for standardised features: classifier j < k was trained without clean fold j,
            the last one on every clean row.
        held_out: logits [m, c] of each clean row from the classifier that did not train on it.
        score: score of `held_out`.
        response: response of the weights to a row's own given label, in the eigenbasis of F^T F, [d]; 0 where
            the probe was not trained on the given labels.
    """

    weights: jax.Array
    held_out: jax.Array
    score: HeldOutScore
    response: jax.Array


def fit_probes(
    gram: jax.Array, spectrum: jax.Array, moment: jax.Array, total: jax.Array, clean: CleanSet
) -> tuple[Probe, Probe, Probe]:
    """The three trivial baselines in the order of `PROBES`; arguments as in `ridge_probes`."""
    return (val_only_probe(clean), *ridge_probes(gram, spectrum, moment, total, clean))


def without_clean_rows(gram: jax.Array, moment: jax.Array, clean: CleanSet) -> tuple[Probe, Probe, Probe]:
    """Probes in the order of `PROBES` where there is no clean row: nothing is tuned, no score is known.

    That of the clean rows predicts nothing. The others are one ridge regression on the given labels.

    Args:
        gram: F^T F of the training rows, [d, d].
        moment: F^T Y of the given labels, [d, c].
        clean: clean rows, none of which is real.
    """
    fitted = ridge.solve(gram, UNTUNED_PENALTY * ridge.mean_eigenvalue(gram), moment)
    held_out = jnp.zeros_like(clean.targets)

    def probe(weights):
        folds = jnp.broadcast_to(weights, (clean.masks.shape[0], *weights.shape))
        return Probe(folds, held_out, scores.unknown_score(), jnp.zeros(gram.shape[0], gram.dtype))

    return probe(jnp.zeros_like(fitted)), probe(fitted), probe(fitted)


def val_only_probe(clean: CleanSet, steps: int = 20) -> Probe:
    """Softmax regression on the clean rows, its L2 strength chosen by held-out cross-entropy.

    Args:
        clean: the clean rows.
        steps: preconditioned Nesterov steps at each strength.
    """
    if len(clean.labels) < clean.features.shape[1] - 1:
        rows, basis = span.rotate(clean.features)
        found = val_only_probe(clean_set.with_features(clean, rows), steps)
        kernel, bias = found.weights[:, :-1], found.weights[:, -1:]
        return found._replace(
            weights=jnp.concatenate([span.widen(kernel, basis), bias], axis=1),
            response=jnp.zeros(clean.features.shape[1], jnp.float32),
        )
    gram = ridge.gram(clean.features)
    unit = ridge.mean_eigenvalue(gram, clean.width)
    share = (jnp.sum(clean.masks, axis=1) / clean.number)[:, None, None]
    momentum = jnp.asarray(nesterov.nesterov_momentum(steps))

    def fit(weights, penalty):
        # A bound on the curvature over all clean rows also holds for a subset of them.
        bound = ridge.inverse(0.5 * gram, penalty * unit)

        def body(step, state):
            gradient = clean_set.predict_clean(state.lookahead, clean).gradient
            gradient += share * penalty * unit * state.lookahead
            move = jax.vmap(nesterov.nesterov_step, in_axes=(0, 0, None, None))
            return move(state, gradient, bound, momentum[step])

        weights = jax.lax.fori_loop(0, steps, body, nesterov.init_nesterov(weights)).weights
        return weights, (weights, _held_out(weights[:-1], clean))

    zeros = jnp.zeros((len(clean.masks), clean.features.shape[1], clean.targets.shape[1]), jnp.float32)
    weights, found = jax.lax.scan(fit, zeros, jnp.asarray(SOFTMAX_PENALTIES, jnp.float32))[1]
    best = _best(found.score)
    unseen = jnp.zeros(clean.features.shape[1], jnp.float32)
    return _probe(weights[best], at(found, best), unseen, clean)


def ridge_probes(
    gram: jax.Array, spectrum: jax.Array, moment: jax.Array, total: jax.Array, clean: CleanSet
) -> tuple[Probe, Probe]:
    """Fits the noisy probe and the noisy-plus-val probe, closed-form ridge regressions.

    Args:
        gram: F^T F of the training rows, [d, d].
        spectrum: its eigenvalues [d].
        moment: F^T Y of the given labels, [d, c].
        total: sum of the row weights.
        clean: the clean rows.
    """
    unit = ridge.mean_eigenvalue(gram, clean.width)
    shares = jnp.asarray((0.0, *VAL_SHARES), jnp.float32)
    penalties = jnp.asarray(RIDGE_PENALTIES, jnp.float32)
    few = clean.features.shape[0] < gram.shape[0]
    prepare, fit = (_few_clean_rows if few else _many_clean_rows)(gram, moment, total, clean)
    folds = len(clean.masks) - 1

    def of_penalty(penalty):
        prepared = prepare(penalty * unit)
        return jax.lax.map(lambda share: _held_out(fit(prepared, share, folds), clean), shares)

    def probe(setting):
        share, penalty = shares[setting // len(penalties)], penalties[setting % len(penalties)]
        # Clean rows are taken to be like training rows: they make the Gram matrix 1 + share times as large.
        response = 1.0 / ((1.0 + share) * spectrum + penalty * unit)
        weights = fit(prepare(penalty * unit), share, folds + 1)
        return _probe(weights, at(found, setting), response, clean)

    # One setting for each pair of a share and a penalty, those of share 0 first.
    found = jax.tree.map(lambda leaf: leaf.T.reshape(-1), jax.lax.map(of_penalty, penalties))
    alone = jnp.arange(len(shares) * len(penalties)) < len(penalties)
    chosen = jax.lax.map(probe, jnp.stack([_best(found.score, alone), _best(found.score, ~alone)]))
    return at(chosen, 0), at(chosen, 1)


# What a ridge regression needs for one penalty, and the weights [members, d, c] of the first members from it
# and a share of `VAL_SHARES`.
_Solver = tuple[Callable[[jax.Array], Any], Callable[[Any, jax.Array, int], jax.Array]]


def _many_clean_rows(gram: jax.Array, moment: jax.Array, total: jax.Array, clean: CleanSet) -> _Solver:
    """Solves by Gram matrices [d, d], one for each share and fold; arguments as in `ridge_probes`."""
    gram_val = jax.vmap(ridge.gram, in_axes=(None, 0))(clean.features, clean.masks)
    moment_val = clean_set.moment(clean)
    count_val = jnp.sum(clean.masks, axis=1)

    def fit(penalty, share, members):
        def of_member(gram_val, moment_val, count_val):
            val_weight = share * total / count_val
            return ridge.solve(gram + val_weight * gram_val, penalty, moment + val_weight * moment_val)

        return jax.vmap(of_member)(gram_val[:members], moment_val[:members], count_val[:members])

    return lambda penalty: penalty, fit


def _few_clean_rows(gram: jax.Array, moment: jax.Array, total: jax.Array, clean: CleanSet) -> _Solver:
    """The same where the clean rows are fewer than the columns: shares and folds take systems of m rows."""

    def fit(solved, share, members):
        def of_member(mask):
            weight = share * total / jnp.sum(mask) * mask
            return few_rows.add(solved, clean.features, clean.targets, weight)

        return jax.vmap(of_member)(clean.masks[:members])

    return lambda penalty: few_rows.solve(gram, penalty, moment, clean.features), fit


class _HeldOutFit(NamedTuple):
    """The held-out score of a setting, and the temperature that calibrates it there."""

    score: HeldOutScore
    temperature: jax.Array


def _held_out(members: jax.Array, clean: CleanSet) -> _HeldOutFit:
    """Scores the k classifiers trained without a fold, weights [k, d, c], on the folds left out."""
    logits = clean_set.held_out(members, clean)
    temperature = fit_temperature(logits, clean.targets)
    return _HeldOutFit(scores.score(logits, clean.targets, temperature), temperature)


def _best(found: HeldOutScore, among: jax.Array | bool = True) -> jax.Array:
    """Index of the setting with the least held-out loss.

    Args:
        found: scores of the settings, leaves [s].
        among: settings to choose from, bool [s]; the answer is one of them even where no loss is finite.
    """
    losses = jnp.where(jnp.isfinite(found.cross_entropy), found.cross_entropy, jnp.finfo(jnp.float32).max)
    return jnp.argmin(jnp.where(among, losses, jnp.inf))


def _probe(weights: jax.Array, found: _HeldOutFit, response: jax.Array, clean: CleanSet) -> Probe:
    """Divides a probe by the temperature that calibrates it.

    Args:
        weights: [k + 1, d, c].
        found: the held-out score and temperature.
        response: see `Probe`, before the division.
        clean: the clean rows.
    """
    temperature = found.temperature
    held_out = clean_set.held_out(weights[:-1], clean) / temperature
    return Probe(weights / temperature, held_out, found.score, response / temperature)
