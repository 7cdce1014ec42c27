"""Defines the methods that human_noise.py compares: what each makes of the labels of one data set.

Those with `picked` in their names do not get a random clean set: rows are reviewed in the order of suspicion,
see `picked`. Rankings, confidences and claims are the method's own; where there is none they are None or NaN.
"""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import human_noise_probes as probes
import numpy as np
from human_noise_data import HumanNoise


class Outcome(NamedTuple):
    """What a method says of the training rows.

    Attributes:
        labels: [n].
        label_quality: low where a given label is likely wrong [n]; None if it has no ranking.
        confidence: probability that its labels are right [n], or None.
        claimed: accuracy that it claims for its labels, in [0, 1], or NaN.
        claimed_error: standard error of that, or NaN.
    """

    labels: np.ndarray
    label_quality: np.ndarray | None = None
    confidence: np.ndarray | None = None
    claimed: float = np.nan
    claimed_error: float = np.nan


class Problem:
    """A data set and what several methods need of it, computed once.

    Attributes:
        data: training rows and clean rows.
        seed: of folds and draws.
    """

    def __init__(self, data: HumanNoise, seed: int):
        self.data, self.seed = data, seed

    @cached_property
    def cross_validated(self) -> np.ndarray:
        """Held-out probabilities [n, c] by a logistic regression on given labels."""
        return probes.cross_validated(self.data, self.seed)

    @cached_property
    def pool(self) -> "Problem":
        """All rows, none of them reviewed yet."""
        data = self.data
        features = np.concatenate([data.features, data.val_features])
        given, true = (
            np.concatenate(pair) for pair in ((data.given, data.val_given), (data.true, data.val_true))
        )
        nothing = features[:0], true[:0], given[:0]
        return Problem(HumanNoise(features, given, true, *nothing, data.num_classes), self.seed)

    @cached_property
    def picked(self) -> "Problem":
        """As many reviewed rows, but those of the least likely given labels by `pool.cross_validated`."""
        return Problem(_reviewed(self.pool, len(self.data.val_true), 1.0), self.seed)

    @cached_property
    def half_picked(self) -> "Problem":
        """As many reviewed rows, half of them chosen like that and half at random."""
        return Problem(_reviewed(self.pool, len(self.data.val_true), 0.5), self.seed)


def _reviewed(pool: Problem, count: int, suspects: float) -> HumanNoise:
    """Splits off `count` rows for review: a share of suspects, others at random.

    The purifier needs a clean row of every class, so classes that are absent get one more row each.
    """
    data = pool.data
    rows, rng = np.arange(len(data.true)), np.random.default_rng((pool.seed, 5))
    order = np.argsort(pool.cross_validated[rows, data.given], kind="stable")
    first = order[: round(suspects * count)]
    others = rng.permutation(np.setdiff1d(rows, first))
    chosen = np.concatenate([first, others[: count - len(first)]])
    absent = np.setdiff1d(data.true, data.true[chosen])
    more = [rng.permutation(np.flatnonzero(data.true == label))[0] for label in absent]
    chosen = np.unique(np.concatenate([chosen, np.asarray(more, chosen.dtype)]))
    rest = np.setdiff1d(rows, chosen)
    return HumanNoise(
        data.features[rest], data.given[rest], data.true[rest],
        data.features[chosen], data.true[chosen], data.given[chosen], data.num_classes,
        np.isin(chosen, others[: count - len(first)]),
    )  # fmt: skip


def by_probabilities(data: HumanNoise, probs: np.ndarray, labels: np.ndarray | None = None) -> Outcome:
    """Labels [n], by default the likeliest; ranked and trusted by probabilities [n, c]."""
    rows = np.arange(len(data.given))
    labels = probs.argmax(axis=1) if labels is None else labels
    return Outcome(labels, probs[rows, data.given], probs[rows, labels])


def by_probe(data: HumanNoise, found: probes.Probabilities) -> Outcome:
    """Its likeliest labels; it claims the accuracy on held-out clean rows."""
    return by_probabilities(data, found.train)._replace(**claim(found.val.argmax(axis=1) == data.val_true))


def claim(right: np.ndarray) -> dict[str, float]:
    """Mean of hits [m], and its standard error."""
    share = float(np.mean(right))
    return {"claimed": share, "claimed_error": float(np.sqrt(share * (1 - share) / len(right)))}


def given(problem: Problem) -> Outcome:
    """The given labels; the reviewed rows tell how many are right."""
    data = problem.data
    return Outcome(data.given, **claim(data.val_given == data.val_true))


def given_reviewed(problem: Problem) -> Outcome:
    """The given labels, of which the reviewed rows, being suspects, tell nothing."""
    return Outcome(problem.data.given)


def cleanlab(problem: Problem) -> Outcome:
    """Confident learning: flagged labels are replaced by the cross-validated prediction."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    data, probs = problem.data, problem.cross_validated
    issues = find_label_issues(data.given, probs, n_jobs=1)
    found = by_probabilities(data, probs, np.where(issues, probs.argmax(axis=1), data.given))
    return found._replace(label_quality=get_label_quality_scores(data.given, probs))


def neighbours(problem: Problem) -> Outcome:
    """Majority vote of the 50 nearest rows."""
    return by_probabilities(problem.data, probes.neighbour_vote(problem.data))


def logistic_both(problem: Problem) -> Outcome:
    """Logistic regression on given labels and clean rows."""
    return by_probe(problem.data, probes.logistic_both(problem.data, problem.seed))


def logistic_clean(problem: Problem) -> Outcome:
    """Logistic regression on the clean rows."""
    return by_probe(problem.data, probes.logistic_clean(problem.data, problem.seed))


def purify(problem: Problem, known: bool = False, **settings: int) -> Outcome:
    """The purifier; `known` if it is told what the clean rows were given; `settings` of `PurifyConfig`."""
    import jax

    from dmlp_jax import PurifyConfig
    from dmlp_jax import purify as run

    data = problem.data
    val_given = {"val_given_labels": data.val_given, "val_random": data.val_random} if known else {}
    result = run(
        data.features,
        data.given,
        (data.val_features, data.val_true),
        num_classes=data.num_classes,
        config=PurifyConfig(**settings),
        **val_given,
    )
    result = jax.tree.map(np.asarray, result)
    quality = getattr(result, "label_quality", None)
    if quality is None:
        quality = result.probs[np.arange(len(data.given)), data.given]
    score = result.scores["purified"]
    error = float(score.get("standard_error", np.nan))
    return Outcome(result.labels, quality, result.confidence, float(score["accuracy"]), error)


def purify_known(problem: Problem) -> Outcome:
    """The purifier with the given labels of the clean rows."""
    return purify(problem, known=True)


def purify_linear(problem: Problem) -> Outcome:
    """The same with linear ridge regression in place of its kernel."""
    return purify(problem, known=True, kernel_points=0)


class Method(NamedTuple):
    """How a method is called in tables, what it does, and how its reviewed rows were chosen."""

    title: str
    run: Callable[[Problem], Outcome]
    review: Callable[[Problem], Problem] = lambda problem: problem


def _picked(problem: Problem) -> Problem:
    return problem.picked


def _half_picked(problem: Problem) -> Problem:
    return problem.half_picked


METHODS = {
    "given": Method("given labels", given),
    "given_picked": Method("given labels, suspects reviewed", given_reviewed, _picked),
    "cleanlab": Method("cleanlab", cleanlab),
    "neighbours": Method("vote of 50 neighbours", neighbours),
    "logistic_both": Method("logistic regression on noisy and clean rows", logistic_both),
    "logistic_both_picked": Method(
        "logistic regression on noisy and clean rows, suspects reviewed", logistic_both, _picked
    ),
    "logistic_clean": Method("logistic regression on clean rows", logistic_clean),
    "purify": Method("purify", purify),
    "purify_known": Method("purify, given labels of clean rows known", purify_known),
    "purify_linear": Method("purify, known, without the kernel", purify_linear),
    "purify_picked": Method("purify, known, suspects reviewed", purify_known, _picked),
    "purify_half_picked": Method(
        "purify, known, half of the reviewed rows suspects", purify_known, _half_picked
    ),
}
