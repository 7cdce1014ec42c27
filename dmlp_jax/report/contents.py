"""Collects the arrays of purifier.npz: all results of `purify` except the labels."""

import numpy as np

from dmlp_jax.purifier import PurifyResult


def purifier_arrays(result: PurifyResult) -> dict[str, np.ndarray]:
    """The arrays of purifier.npz, by names such as 'history/val_loss'.

    'transition', and the fields 'history', 'scores', 'baselines', 'chosen', 'reliability' and 'classifier' of
    `PurifyResult`.
    """
    nested = {
        "history": result.history,
        "baselines": result.baselines,
        "chosen": result.chosen,
        "reliability": result.reliability,
        "classifier": result.classifier._asdict(),
        **{f"scores/{name}": scores for name, scores in result.scores.items()},
    }
    arrays = {f"{group}/{key}": value for group, values in nested.items() for key, value in values.items()}
    return {**arrays, "transition": result.transition}
