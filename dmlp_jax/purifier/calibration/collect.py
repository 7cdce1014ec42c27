"""Takes calibration rows out of a result, and puts what `accept` needs into it."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.calibration.draw import Draw
from dmlp_jax.purifier.program import Inputs
from dmlp_jax.purifier.result import Calibration, PurifyResult, over_rows


def collect(drawn: Draw, result: PurifyResult, inputs: Inputs, num_classes: int) -> PurifyResult:
    """Takes the calibration rows out of a result again, and puts what `accept` needs into it.

    Args:
        drawn: the calibration rows.
        result: of `move`'s arguments.
        inputs: the arguments before they were moved.
        num_classes: c.
    """
    return _collect(drawn, result, inputs.val_labels, num_classes)


@partial(jax.jit, static_argnames="num_classes")
def _collect(drawn: Draw, result: PurifyResult, true: jax.Array, num_classes: int) -> PurifyResult:
    rows = result.labels.shape[0] - drawn.taken.shape[0]

    def head(array):
        return array[:rows]

    def whole(array):
        return array

    cut: Any = over_rows(head, whole)
    history = {
        name: (lambda array: array[:, :rows]) if name == "labels" else whole for name in result.history
    }
    cut = cut._replace(history=history)
    found: PurifyResult = jax.tree.map(lambda function, part: jax.tree.map(function, part), cut, result)
    weights = class_weights(true, drawn.counts, jnp.mean(found.probs, axis=0), num_classes)
    counted = drawn.counts[drawn.taken]
    calibration = Calibration(
        confidence=result.confidence[rows:],
        right=result.labels[rows:] == true[drawn.taken],
        weight=jnp.where(counted, weights[true[drawn.taken]], 0.0),
        largest=jnp.max(weights),
        unseen=drawn.share * jnp.sum(jnp.where(drawn.alone, weights[true], 0.0)),
        share=drawn.share.astype(jnp.float32),
    )
    # Warnings name clean rows by their numbers.
    doubtful = jnp.zeros(true.shape[0], bool).at[drawn.kept].set(found.diagnostics["doubtful_clean_rows"])
    return found._replace(
        calibration=calibration, diagnostics={**found.diagnostics, "doubtful_clean_rows": doubtful}
    )


def class_weights(labels: jax.Array, counts: jax.Array, shares: jax.Array, num_classes: int) -> jax.Array:
    """Weights pi / rho [c] that make classes as frequent among clean rows as among the training rows.

    As in `posterior/label_shift.py` only the deviation beyond sampling noise is corrected, so that rows that
    were drawn at random from all have weights of about 1. Classes without a row that counts have weight 1.

    Args:
        labels: true classes of the clean rows [m].
        counts: whether each counts, [m].
        shares: pi, of the classes among the training rows, [c].
        num_classes: c.
    """
    rows = jnp.zeros(num_classes).at[labels].add(counts.astype(jnp.float32))
    present = rows > 0
    among = jnp.sum(jnp.where(present, shares, 0.0))
    deviation = shares / jnp.maximum(among, jnp.finfo(shares.dtype).tiny) * jnp.sum(rows)
    deviation = jnp.where(present, deviation / jnp.maximum(rows, 1.0) - 1.0, 0.0)
    chance = jnp.maximum(jnp.sum(present) - 1.0, 1.0)
    shrunk = 1.0 - chance / jnp.maximum(jnp.sum(rows * deviation**2), chance)
    return jnp.maximum(1.0 + shrunk * deviation, 0.0)
