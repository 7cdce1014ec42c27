"""Implements the methods that the accuracy of `purify` is compared with; all of them use the clean set too.

Logistic regressions, a nearest-neighbour vote and confident learning, all on the same standardised features
and tuned on held-out clean rows, as the baselines of dmlp_jax/purifier/probes.py are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from tasks import Task

from dmlp_jax.purifier.base import scores
from dmlp_jax.purifier.rows import clean_set

# L2 penalty lambda on features of mean square 1: mean cross-entropy + lambda / 2 |W|^2, C = 1 / (lambda n).
# From strong to weak; held-out rows say where to stop.
PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
# Total weight of the clean rows over total weight of the noisy ones.
CLEAN_SHARES = (0.03, 0.3, 3.0)
NEIGHBOURS = (10, 30, 100)
CLEAN_FOLDS, NOISY_FOLDS = 3, 5


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a peer may look at: the rows and labels of a task, without its true labels.

    Attributes:
        rows: standardised training rows, then the clean ones, [n + m, d] float32.
        labels: given labels, then the clean ones, [n + m].
        count: number of training rows n.
        models: of `noisy_model`, filled when they are asked for.
    """

    rows: np.ndarray
    labels: np.ndarray
    count: int
    models: dict[float, LogisticRegression] = field(default_factory=dict, init=False, repr=False)

    @property
    def noisy(self) -> tuple[np.ndarray, np.ndarray]:
        """Training rows [n, d] and their given labels [n]."""
        return self.rows[: self.count], self.labels[: self.count]

    @property
    def clean(self) -> tuple[np.ndarray, np.ndarray]:
        """Clean rows [m, d] and their labels [m]."""
        return self.rows[self.count :], self.labels[self.count :]

    @cached_property
    def folds(self) -> np.ndarray:
        """Fold of every clean row, [m]."""
        return np.asarray(clean_set.stratified_folds(jax.random.key(0), self.clean[1], CLEAN_FOLDS))

    @cached_property
    def noisy_penalty(self) -> float:
        """The penalty under which the noisy rows alone predict the clean ones best."""
        return best([PENALTIES], lambda penalty: self.loss([self.noisy_model(penalty)] * CLEAN_FOLDS))

    def noisy_model(self, penalty: float) -> LogisticRegression:
        """Logistic regression on the noisy rows, started from that of the next stronger of `PENALTIES`."""
        if penalty not in self.models:
            stronger = PENALTIES[: PENALTIES.index(penalty)]
            start = self.noisy_model(stronger[-1]) if stronger else None
            self.models[penalty] = fit(self.rows, self.labels, self.weight(0.0), penalty, start)
        return self.models[penalty]

    def weight(self, clean: np.ndarray | float) -> np.ndarray:
        """Row weights [n + m]: 1 for noisy rows, `clean` for clean ones."""
        clean = np.broadcast_to(clean, len(self.rows) - self.count)
        return np.concatenate([np.ones(self.count), clean]).astype(np.float32)

    def loss(self, members: Sequence[LogisticRegression]) -> float:
        """Cross-entropy, tempered, of clean rows, each predicted by the member that left out its fold."""
        rows, labels = self.clean
        probs = np.stack([model.predict_proba(rows) for model in members])[self.folds, np.arange(len(rows))]
        logits = np.log(np.maximum(probs, np.finfo(np.float32).tiny))
        return float(scores.score(logits, jax.nn.one_hot(labels, logits.shape[1])).cross_entropy)


def inputs_of(task: Task) -> Inputs:
    """The inputs of every peer: features minus the training mean, rows of length sqrt(d)."""
    mean = task.features.mean(axis=0, dtype=np.float64).astype(np.float32)
    rows = np.concatenate([task.features, task.val_features]).astype(np.float32) - mean
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows *= np.sqrt(np.float32(rows.shape[1])) / np.where(length > 0, length, 1)
    return Inputs(rows, np.concatenate([task.labels, task.val_labels]).astype(np.int64), len(task.features))


def fit(
    rows: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray,
    penalty: float,
    start: LogisticRegression | None = None,
) -> LogisticRegression:
    """Multinomial logistic regression on rows [n, d] of labels and weights [n], from a `start` or from zero.

    Rows of weight 0 do no more than make their class known, so that all models have the same classes.
    """
    model = LogisticRegression(C=1 / (penalty * float(weight.sum())), max_iter=300, warm_start=True)
    if start is not None:
        model.coef_, model.intercept_ = start.coef_, start.intercept_
    return model.fit(rows, labels, sample_weight=weight)


def best(paths: Sequence[Sequence[Any]], loss: Callable[[Any], float]) -> Any:
    """The setting of the least loss; a path of settings is left after two that are worse than its best."""
    losses: dict[Any, float] = {}
    for path in paths:
        along: list[float] = []
        for setting in path:
            losses[setting] = loss(setting)
            along.append(losses[setting])
            if len(along) > 2 and min(along[-2:]) > min(along[:-2]):
                break
    return min(losses, key=losses.__getitem__)


def tuned(
    inputs: Inputs, paths: Sequence[Sequence[Any]], fit_to: Callable[[Any, np.ndarray], LogisticRegression]
) -> LogisticRegression:
    """Chooses a setting by held-out clean rows; `fit_to` fits one to clean rows of weights [m], 0 or 1."""
    *masks, everything = np.asarray(clean_set.train_masks(inputs.folds, CLEAN_FOLDS))
    chosen = best(paths, lambda setting: inputs.loss([fit_to(setting, mask) for mask in masks]))
    return fit_to(chosen, everything)


def logistic_clean(inputs: Inputs) -> np.ndarray:
    """Predictions of a logistic regression on the clean rows alone."""
    return clean_probs(inputs).argmax(axis=1)


def clean_probs(inputs: Inputs) -> np.ndarray:
    """Probabilities of all classes by a logistic regression on the clean rows alone, [n, c]."""
    model = tuned(inputs, [PENALTIES], lambda penalty, mask: fit(*inputs.clean, mask, penalty))
    return model.predict_proba(inputs.noisy[0])


def logistic_noisy(inputs: Inputs) -> np.ndarray:
    """Predictions of a logistic regression on the noisy rows; the clean ones choose its penalty."""
    return inputs.noisy_model(inputs.noisy_penalty).predict(inputs.noisy[0])


def logistic_both(inputs: Inputs) -> np.ndarray:
    """Predictions of a logistic regression on noisy and clean rows, the clean ones weighted."""

    def fit_to(setting: tuple[float, float], mask: np.ndarray) -> LogisticRegression:
        penalty, share = setting
        weight = inputs.weight(mask * share * inputs.count / mask.sum())
        # The start has seen no clean row, so none that is held out.
        return fit(inputs.rows, inputs.labels, weight, penalty, inputs.noisy_model(penalty))

    paths = [[(penalty, share) for penalty in PENALTIES] for share in CLEAN_SHARES]
    return tuned(inputs, paths, fit_to).predict(inputs.noisy[0])


def knn_vote(inputs: Inputs) -> np.ndarray:
    """Majority vote of the k nearest rows, noisy and clean, without the row itself; clean rows choose k."""
    rows, labels = inputs.clean
    accuracy = np.mean(votes(rows, *inputs.noisy) == labels, axis=1)
    return votes(inputs.noisy[0], inputs.rows, inputs.labels, leave_one_out=True)[np.argmax(accuracy)]


def votes(
    queries: np.ndarray, voters: np.ndarray, labels: np.ndarray, leave_one_out: bool = False, block: int = 256
) -> np.ndarray:
    """Class that most of the k voters of largest cosine have, for every k of `NEIGHBOURS`, [ks, q].

    With `leave_one_out` query i is voter i and has no vote on itself. Queries are taken `block` at a time.
    """
    winners = np.empty((len(NEIGHBOURS), len(queries)), labels.dtype)
    for first in range(0, len(queries), block):
        cosine = queries[first : first + block] @ voters.T / np.float32(queries.shape[1])
        row = np.arange(len(cosine))[:, None]
        if leave_one_out:
            cosine[row, first + row] = -np.inf
        nearest = np.argpartition(cosine, -max(NEIGHBOURS), axis=1)[:, -max(NEIGHBOURS) :]
        nearest = np.take_along_axis(nearest, np.argsort(-cosine[row, nearest], axis=1), axis=1)
        for winner, k in zip(winners, NEIGHBOURS, strict=True):
            ballots = np.zeros((len(cosine), labels.max() + 1))
            # What the cosine adds is less than a vote; it decides between classes of equal votes.
            np.add.at(ballots, (row, labels[nearest[:, :k]]), 1 + 1e-3 * cosine[row, nearest[:, :k]])
            winner[first : first + block] = ballots.argmax(axis=1)
    return winners


def cleanlab_argmax(inputs: Inputs) -> np.ndarray:
    """Given labels, those that confident learning flags replaced by the cross-validated prediction."""
    return confident_learning(inputs)[0]


def confident_learning(inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """Labels as by `cleanlab_argmax`, and the cross-validated probabilities of all classes, [n, c]."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise ImportError("confident learning needs cleanlab: pip install 'cleanlab>=2.9'") from error
    rows, labels = inputs.noisy
    probs = np.empty((len(rows), inputs.labels.max() + 1), np.float32)
    for _, fold in StratifiedKFold(NOISY_FOLDS, shuffle=True, random_state=0).split(rows, labels):
        weight = inputs.weight(0.0)
        weight[fold] = 0
        probs[fold] = fit(inputs.rows, inputs.labels, weight, inputs.noisy_penalty).predict_proba(rows[fold])
    return np.where(find_label_issues(labels, probs, n_jobs=1), probs.argmax(axis=1), labels), probs


_PEERS = (logistic_clean, logistic_noisy, logistic_both, knn_vote, cleanlab_argmax)
PEERS: dict[str, Callable[[Inputs], np.ndarray]] = {peer.__name__: peer for peer in _PEERS}


def labels_of(task: Task, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Hard labels [n] of the training rows by the peers of these names."""
    inputs = inputs_of(task)
    return {name: PEERS[name](inputs) for name in names}
