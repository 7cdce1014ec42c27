"""Draws synthetic label noise by name: symmetric, asymmetric, pair, superclass or instance-dependent.

`corrupt` draws noisy labels; `transition_matrix` is their expected transition matrix. The number of corrupted
rows is not random: it is the rounded product of rate and count (per class where the protocol is per class).
With 'symmetric' the new label may be the true one, as in DivideMix (Li et al. 2020), so a rate r changes
r (1 - 1/c) of the labels in expectation. `exclude_true_class` gives the other protocol (Co-teaching, Han et
al. 2018), which changes r of them. The DMLP paper describes the second and compares with published numbers of
the first; docs/reproducing.md says why that one is the default.
"""

from typing import NamedTuple

import numpy as np

from dmlp_jax.errors import UserError, nearest

NAMES = ("none", "symmetric", "asymmetric", "pair", "superclass", "instance", "human")

# truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog (Patrini et al. 2017).
CIFAR10_MAP = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}


def transition_matrix(
    name: str,
    rate: float,
    num_classes: int,
    *,
    exclude_true_class: bool = False,
    superclasses: np.ndarray | None = None,
) -> np.ndarray:
    """The transition matrix T[y, g] = p(given g | true y) of a class-conditional protocol, [c, c] float64.

    Args:
        name: 'none', 'symmetric', 'asymmetric' (CIFAR-10 only), 'pair' (to the next class) or 'superclass'.
        rate: noise rate, in [0, 1].
        num_classes: c.
        exclude_true_class: 'symmetric' only: never draw the true class, as in Co-teaching.
        superclasses: 'superclass' only: the superclass of every class, [c].

    Raises:
        UserError: an unknown protocol, or one that does not fit the classes.
    """
    if not 0 <= rate <= 1:
        raise UserError(f"noise.rate is {rate}; it must lie in [0, 1]")
    identity = np.eye(num_classes)
    if name == "none":
        return identity
    if name == "symmetric":
        if exclude_true_class:
            spread = (1 - identity) / (num_classes - 1)
        else:
            spread = np.full((num_classes, num_classes), 1 / num_classes)
        return (1 - rate) * identity + rate * spread
    if name == "pair":
        return (1 - rate) * identity + rate * np.roll(identity, 1, axis=1)
    if name == "asymmetric":
        if num_classes != 10:
            raise UserError(
                "noise.name 'asymmetric' is the CIFAR-10 map; use 'superclass' on CIFAR-100, 'pair' elsewhere"
            )
        matrix = identity.copy()
        for source, target in CIFAR10_MAP.items():
            matrix[source, source] -= rate
            matrix[source, target] += rate
        return matrix
    if name == "superclass":
        if superclasses is None:
            raise UserError("noise.name 'superclass' needs a data set with superclasses, which is cifar100")
        siblings = (superclasses[:, None] == superclasses[None, :]) & (identity == 0)
        return (1 - rate) * identity + rate * siblings / siblings.sum(axis=1, keepdims=True)
    raise UserError(
        f"noise.name is {name!r}, which is none of {', '.join(NAMES)}{nearest(name, list(NAMES))}"
    )


def corrupt(
    labels: np.ndarray,
    name: str,
    rate: float,
    num_classes: int,
    rng: np.random.Generator,
    *,
    exclude_true_class: bool = False,
    superclasses: np.ndarray | None = None,
) -> np.ndarray:
    """Draws noisy labels [n], int32, by a class-conditional protocol; arguments as in `transition_matrix`.

    'symmetric' redraws the labels of exactly round(rate * n) rows. The other protocols change exactly
    round(rate * n_y) of the n_y rows of every class y that they affect.
    """
    matrix = transition_matrix(
        name, rate, num_classes, exclude_true_class=exclude_true_class, superclasses=superclasses
    )
    noisy = labels.astype(np.int32).copy()
    if name == "symmetric":
        rows = rng.choice(len(labels), size=round(rate * len(labels)), replace=False)
        if exclude_true_class:
            noisy[rows] = (labels[rows] + rng.integers(1, num_classes, len(rows))) % num_classes
        else:
            noisy[rows] = rng.integers(num_classes, size=len(rows))
        return noisy
    for source in range(num_classes):
        targets = np.flatnonzero((matrix[source] > 0) & (np.arange(num_classes) != source))
        members = np.flatnonzero(labels == source)
        if targets.size:
            rows = rng.choice(members, size=round(rate * len(members)), replace=False)
            noisy[rows] = rng.choice(targets, size=len(rows))
    return noisy


class Rows(NamedTuple):
    """Rows whose labels are to be corrupted.

    Attributes:
        inputs: images or features [n, ...]; flattened to [n, d].
        labels: true labels [n].
        rng: random generator of these rows.
    """

    inputs: np.ndarray
    labels: np.ndarray
    rng: np.random.Generator


def corrupt_by_instance(
    inputs: np.ndarray, labels: np.ndarray, rate: float, num_classes: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws instance-dependent noisy labels [n], int32 (Xia et al. 2020, Algorithm 2).

    Row i with true class y changes its label with probability q_i, which is normal with mean `rate` and
    standard deviation .1, truncated to [0, 1]. The new class is drawn from the softmax of x_i W_y over the
    wrong classes; each true class y has its own W_y with standard normal entries. Inputs are first
    standardised by their overall mean and deviation (the authors use images with mean 0 and deviation about
    1).

    Args:
        inputs: images or features [n, ...]; flattened to [n, d].
        labels: true labels [n].
        rate: mean flip rate, in [0, 1].
        num_classes: c.
        rng: random generator.

    Raises:
        UserError: the rate is outside [0, 1].
    """
    return corrupt_parts_by_instance([Rows(inputs, labels, rng)], rate, num_classes)[0]


def corrupt_parts_by_instance(parts: list[Rows], rate: float, num_classes: int) -> list[np.ndarray]:
    """`corrupt_by_instance` of several parts of a data set, which is corrupted by one source.

    Mean, deviation and all W_y are those of the first part, whose noise does not depend on the others.
    """
    if not 0 <= rate <= 1:
        raise UserError(f"noise.rate is {rate}; it must lie in [0, 1]")
    matrices = [part.inputs.reshape(len(part.inputs), -1).astype(np.float32) for part in parts]
    mean, scale = matrices[0].mean(), max(float(matrices[0].std()), 1e-6)
    matrices = [(rows - mean) / scale for rows in matrices]
    flips = [_flip_probabilities(part, rate) for part in parts]
    noisy = [part.labels.astype(np.int32).copy() for part in parts]
    for label in range(num_classes):
        shape = (matrices[0].shape[1], num_classes)
        weights = parts[0].rng.standard_normal(shape, np.float32)
        for part, rows, flip, drawn in zip(parts, matrices, flips, noisy, strict=True):
            members = np.flatnonzero(part.labels == label)
            drawn[members] = _draw(rows[members] @ weights, label, flip[members], part.rng)
    return noisy


def _flip_probabilities(part: Rows, rate: float) -> np.ndarray:
    """The probability q_i of each row to change its label, [n]."""
    from scipy.stats import truncnorm

    deviation = 0.1
    return truncnorm.rvs(
        -rate / deviation,
        (1 - rate) / deviation,
        rate,
        deviation,
        size=len(part.labels),
        random_state=part.rng,
    )


def _draw(scores: np.ndarray, label: int, flip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws the labels of rows of one true class.

    Args:
        scores: x_i W_y, [k, c]; overwritten.
        label: the true class y.
        flip: q_i, [k].
        rng: random generator.
    """
    scores[:, label] = -np.inf
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    probs = flip[:, None] * shifted / shifted.sum(axis=1, keepdims=True)
    probs[:, label] = 1 - flip
    edges = np.cumsum(probs, axis=1)
    draws = rng.random(len(flip))[:, None] * edges[:, -1:]
    return (draws >= edges).sum(axis=1)
