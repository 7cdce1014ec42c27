"""DivideMix's division: a mixture of two Gaussians tells small losses from large ones, on the host."""

import warnings

import jax
import numpy as np
from scipy import special

from dmlp_jax.training.dispatch import Plan

# scikit-learn's mixture with the authors' settings.
_MIXTURE = {"n_components": 2, "max_iter": 10, "tol": 1e-2, "reg_covar": 5e-4}


def normalized(losses: np.ndarray) -> np.ndarray:
    """Losses [n] mapped onto [0, 1]; zeros where all are equal."""
    low, high = losses.min(), losses.max()
    return (losses - low) / (high - low) if high > low else np.zeros_like(losses)


def clean_probability(losses: np.ndarray, seed: int, most_wrong: float = 1.0) -> np.ndarray:
    """How probably each row belongs to the component with the smaller mean loss, [n] float32.

    With `most_wrong` below 1 the odds of all rows are raised alike until no more than this share is expected
    to be wrong. The mixture always finds two components; where few labels are wrong, the second one holds
    rows that are merely hard.

    Args:
        losses: [n], in [0, 1].
        seed: of the mixture's start.
        most_wrong: bound on the mean of 1 - probability, in [0, 1].

    Returns:
        Ones where all losses are equal: nothing speaks against any label.
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
        seed: of the mixture's start.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    values = losses.reshape(-1, 1).astype(np.float64)
    # With several threads the start by k-means may differ in the last bits from run to run.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture = GaussianMixture(**_MIXTURE, random_state=seed).fit(values)
    means, variances = mixture.means_[:, 0], mixture.covariances_[:, 0, 0]
    joint = np.log(mixture.weights_) - 0.5 * np.log(variances) - 0.5 * (values - means) ** 2 / variances
    small = np.argmin(means)
    return joint[:, small] - joint[:, 1 - small]


def divide(clean: np.ndarray, threshold: float, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the labelled and of the unlabelled rows.

    Neither is ever empty: a side with fewer than `least` rows is filled up with those nearest to it, so that
    rows that are all judged clean, or all noisy, still make batches. C2D moves the threshold to that end.

    Args:
        clean: how probably the labels are right, [n].
        threshold: from which on, exclusive, a row is labelled.
        least: rows on either side, at most n / 2.
    """
    order = np.argsort(-clean, kind="stable")
    count = int(np.clip(np.sum(clean > threshold), least, len(clean) - least))
    return np.sort(order[:count]), np.sort(order[count:])


def balanced(classes: np.ndarray, count: int, key: jax.Array) -> np.ndarray:
    """Sorted numbers of about `count` rows, drawn at random, of every class as many; all rows for 0.

    A class with fewer rows than its share gives all of them.

    Args:
        classes: of the rows [n].
        count: how many.
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
    """`steps` batches of row numbers [steps, size], going through `rows` again and again in new orders.

    Args:
        rows: [k], k at least 1.
        steps: how many.
        size: of each.
        key: typed PRNG key.
    """
    passes = -(-steps * size // len(rows))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    order = np.concatenate([rng.permutation(rows) for _ in range(passes)])
    return order[: steps * size].reshape(steps, size)


def join(plans: list[Plan]) -> Plan:
    """One plan after the other."""
    return Plan(*jax.tree.map(lambda *parts: np.concatenate(parts), *(tuple(plan) for plan in plans)))
