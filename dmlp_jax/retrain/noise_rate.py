"""Estimates the label noise rate of each source of labels from the purifier's results."""

import numpy as np


def estimate(
    source: str,
    *,
    given: np.ndarray,
    probs: np.ndarray,
    scores: dict[str, float],
    calibrated: bool,
    soft: bool,
) -> float | None:
    """Estimated share of wrong labels of one source, in [0, 1]; None where it cannot be estimated.

    With the default preset the purified distribution p of each row is calibrated on held-out clean rows. The
    estimates are means over the rows: 1 - max p for purified labels, 1 - sum p^2 for soft ones (the
    probability that a label drawn from p is wrong if the truth is drawn from p too), 1 - p[given] for given
    labels. Otherwise the estimate is 1 minus the held-out accuracy; true labels have 0.

    Args:
        source: one of `label_variants.SOURCES`.
        given: given labels [n].
        probs: purified distributions [n, c].
        scores: accuracy on held-out clean rows by source, nan where unknown; see `PurifyResult.scores`.
        calibrated: whether `probs` are calibrated.
        soft: whether purified labels are used as distributions.
    """
    if source == "true":
        return 0.0
    if source in ("given", "purified") and calibrated:
        if source == "given":
            return float(np.mean(1.0 - probs[np.arange(len(given)), given]))
        right = np.sum(probs**2, axis=1) if soft else np.max(probs, axis=1)
        return float(np.mean(1.0 - right))
    accuracy = scores.get(source, np.nan)
    return float(1.0 - accuracy) if np.isfinite(accuracy) else None
