"""How many labels of an arm are wrong, as the purifier sees it: from the clean rows, never from the truth."""

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
    """The share of wrong labels of one source; None where nothing tells.

    With the default preset the purified distribution of each row is calibrated on held-out clean rows. So
    purified labels are wrong as often as their confidence lacks to 1, soft ones as often as a label drawn
    from them differs from the truth, and given labels as often as the distribution lacks them. A probe's
    labels are wrong as often as on held-out clean rows.

    Args:
        source: one of `arms.SOURCES`.
        given: given labels [n].
        probs: purified distributions [n, c].
        scores: accuracy on held-out clean rows by source, nan where unknown; see `PurifyResult.scores`.
        calibrated: whether `probs` are.
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
