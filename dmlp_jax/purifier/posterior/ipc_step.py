"""Takes IPC's step (Eq. 6-7) in the default schedule: classifiers learn from labels moved down its gradient.

Off by default. The labels that are returned and T stay those of the E-step. The step needs three things
beside the E-step: the ridge inverse, which is made once; the moment F^T Q of the labels of the round before;
and the direction that these give, dL_val / d(F^T Q) times the step length. F times that direction is what the
step subtracts from the labels.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import ridge
from dmlp_jax.purifier.base.ridge import HIGHEST
from dmlp_jax.purifier.paper import ipc
from dmlp_jax.purifier.posterior import e_step
from dmlp_jax.purifier.posterior.config import PurifyConfig
from dmlp_jax.purifier.posterior.e_step import LabelModel, Sums
from dmlp_jax.purifier.rows.chunks import Chunk
from dmlp_jax.purifier.rows.clean_set import CleanSet


class IpcStep(NamedTuple):
    """What IPC's step needs and what does not depend on labels.

    Attributes:
        inverse: (F^T F + lambda I)^-1, [d, d].
        unit: one over the curvature of the validation loss in the labels, scalar.
    """

    inverse: jax.Array
    unit: jax.Array


def prepare(gram: jax.Array, clean: CleanSet, config: PurifyConfig) -> IpcStep:
    """`IpcStep` for the Gram matrix of the training rows, [d, d]."""
    inverse = ridge.inverse(gram, config.ridge_penalty * ridge.mean_eigenvalue(gram, clean.width))
    return IpcStep(inverse, 1.0 / ipc.curvature(gram, inverse, clean.features))


def directions(
    ipc_step: IpcStep, moments: jax.Array, step: jax.Array, clean: CleanSet, config: PurifyConfig
) -> jax.Array:
    """Computes the step on the labels as a direction in the features, [k + 1, d, c].

    Args:
        ipc_step: see `prepare`.
        moments: F^T Q of each classifier's labels in the round before, [k + 1, d, c].
        step: the round; in round 0 there are no labels yet, and no step.
        clean: the clean rows; the validation loss of each classifier is over those that it trains on.
        config: the settings.
    """

    def gradient_of(moment, mask):
        val = ipc.Validation(clean.features, clean.targets, mask)
        return ipc.moment_gradient(moment, ipc_step.inverse, val, config.entropy_weight)

    gradient = jax.vmap(gradient_of)(moments, clean.masks)
    # The loss is a mean of squares: times half the rows it has the curvature that sets the unit.
    length = config.label_lr * config.label_lr_decay**step * ipc_step.unit
    size = jnp.where(step > 0, 0.5 * length * jnp.sum(clean.masks, axis=1), 0.0)
    return size[:, None, None] * gradient


def sums(model: LabelModel, direction: jax.Array, chunk: Chunk) -> Sums:
    """`e_step.sums` where classifiers learn from labels that IPC has moved, and the moment of the labels.

    Args:
        model: leaves [k, ...].
        direction: result of `directions` for each classifier, [k, d, c].
        chunk: the rows.
    """
    found = e_step.expectation(model, chunk)
    project = partial(jnp.einsum, precision=HIGHEST)
    moved = ipc.to_simplex(found.labels - project("kdc,bd->kcb", direction, chunk.features), axis=1)
    moment = project("kcb,bd->kdc", chunk.weight * found.labels, chunk.features)
    return e_step.sums_towards(moved, found, chunk)._replace(moment=moment)
