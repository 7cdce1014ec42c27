"""Divides rows into small and large losses by a mixture of two Gaussians, as DivideMix does, on the host."""

import warnings

import jax
import numpy as np
from scipy import special

from dmlp_jax.training.dispatch import Plan

# scikit-learn's mixture with the authors' settings.
_MIXTURE = {"n_components": 2, "max_iter": 10, "tol": 1e-2, "reg_covar": 5e-4}


def normalized(losses: np.ndarray) -> np.ndarray:
    """Losses [n] scaled linearly to [0, 1]; zeros where all are equal."""
    low, high = losses.min(), losses.max()
    return (losses - low) / (high - low) if high > low else np.zeros_like(losses)


def clean_probability(losses: np.ndarray, seed: int, most_wrong: float = 1.0) -> np.ndarray:
    """Probability that each row belongs to the component with the smaller mean loss, [n] float32.

    With `most_wrong` below 1 the odds of all rows are raised by a common factor until at most this share is
    expected to be wrong. The mixture always has two components; where few labels are wrong, the second one
    holds hard rows with right labels.

    Args:
        losses: [n], in [0, 1].
        seed: seed of the mixture's initialisation.
        most_wrong: bound on the mean of 1 - probability, in [0, 1].

    Returns:
        The probabilities; ones where all losses are equal.
    """
    if losses.min() == losses.max():
        return np.ones(len(losses), np.float32)
    odds = clean_log_odds(losses, seed)
    shift = 0.0
    if np.mean(special.expit(-odds)) > most_wrong:
        low, high = 0.0, 40.0 - odds.min()
        for _ in range(60):
            shift = (low + high) / 2
            low, high = (shift, high) if np.mean(special.expit(-odds - shift)) > most_wrong else (low, shift)
    return special.expit(odds + shift).astype(np.float32)


def clean_log_odds(losses: np.ndarray, seed: int) -> np.ndarray:
    """Log-odds, log p(component with the smaller mean | loss) - log p(the other | loss), [n] float64.

    Args:
        losses: [n], in [0, 1].
        seed: seed of the mixture's initialisation.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    values = losses.reshape(-1, 1).astype(np.float64)
    # With several threads the k-means initialisation may differ in the last bits from run to run.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture = GaussianMixture(**_MIXTURE, random_state=seed).fit(values)
    means, variances = mixture.means_[:, 0], mixture.covariances_[:, 0, 0]
    joint = np.log(mixture.weights_) - 0.5 * np.log(variances) - 0.5 * (values - means) ** 2 / variances
    small = np.argmin(means)
    return joint[:, small] - joint[:, 1 - small]


def divide(clean: np.ndarray, threshold: float, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Row indices of the labelled and of the unlabelled rows.

    A side with fewer than `least` rows is filled up with the rows nearest to the threshold, so that there are
    batches of both kinds even where all rows lie on one side. C2D moves the threshold for that purpose.

    Args:
        clean: probability that each label is right, [n].
        threshold: a row is labelled if its probability is above it.
        least: least number of rows on either side, at most n / 2.
    """
    order = np.argsort(-clean, kind="stable")
    count = int(np.clip(np.sum(clean > threshold), least, len(clean) - least))
    return np.sort(order[:count]), np.sort(order[count:])


def balanced(classes: np.ndarray, count: int, key: jax.Array) -> np.ndarray:
    """Draws about `count` rows, equally many of each class, and returns their sorted indices; all rows for 0.

    A class with fewer rows than its share gives all of them.

    Args:
        classes: classes of the rows [n].
        count: number of rows.
        key: typed PRNG key.
    """
    if not count:
        return np.arange(len(classes))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    present = np.unique(classes)
    share = max(1, count // len(present))
    members = (rng.permutation(np.flatnonzero(classes == label)) for label in present)
    return np.sort(np.concatenate([rows[:share] for rows in members]))


def batches(rows: np.ndarray, steps: int, size: int, key: jax.Array) -> np.ndarray:
    """`steps` batches of row indices [steps, size]; `rows` is repeated as needed, each time shuffled anew.

    Args:
        rows: row indices [k], k at least 1.
        steps: number of batches.
        size: rows of each batch.
        key: typed PRNG key.
    """
    passes = -(-steps * size // len(rows))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    order = np.concatenate([rng.permutation(rows) for _ in range(passes)])
    return order[: steps * size].reshape(steps, size)


def even_batches(rows: np.ndarray, classes: np.ndarray, steps: int, size: int, key: jax.Array) -> np.ndarray:
    """`steps` batches of row indices [steps, size], with as many rows of every class in each pass.

    In a pass the rows of each class are repeated up to the number of rows of the largest class, and all of
    them are shuffled. Classes without rows are missing.

    Args:
        rows: row indices [k], k at least 1.
        classes: classes of these rows [k].
        steps: number of batches.
        size: rows of each batch.
        key: typed PRNG key.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    members = [rows[classes == label] for label in np.unique(classes)]
    largest = max(map(len, members))
    passes = -(-steps * size // (largest * len(members)))
    order = [
        rng.permutation(np.concatenate([np.resize(rng.permutation(own), largest) for own in members]))
        for _ in range(passes)
    ]
    return np.concatenate(order)[: steps * size].reshape(steps, size)


def smallest_per_class(scores: np.ndarray, classes: np.ndarray, counts: int | np.ndarray) -> np.ndarray:
    """Which rows have the smallest scores of their class, bool [n]; of equal scores the first rows.

    Args:
        scores: [n].
        classes: classes of the rows [n].
        counts: number of rows of every class, or of each class [c]; a class with fewer rows gives all.
    """
    order = np.lexsort((scores, classes))
    ordered = classes[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    chosen = np.zeros(len(order), bool)
    chosen[order] = rank < (counts if np.ndim(counts) == 0 else np.asarray(counts)[ordered])
    return chosen


def join(plans: list[Plan]) -> Plan:
    """Concatenates plans."""
    return Plan(*jax.tree.map(lambda *parts: np.concatenate(parts), *(tuple(plan) for plan in plans)))
