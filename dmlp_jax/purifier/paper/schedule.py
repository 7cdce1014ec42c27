"""Runs the paper's own schedule, Eq. 4-9 as printed: softmaxed labels, batches, Adam, a periodic label write.

A reference to compare with. Where the paper gives no value it is that of the authors' script (batches of
7,000 and 500 rows, Adam's learning rates, a write every 20 epochs). Where the two disagree the paper decides
(softmax on the labels, a ridge term, entropy that sharpens, a label write that takes effect). Features are
used as given, with a constant column for the classifier only.
"""

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import ridge
from dmlp_jax.purifier.base.pytrees import into_chunks
from dmlp_jax.purifier.paper import eac, epoch, ipc
from dmlp_jax.purifier.paper.config import PaperConfig
from dmlp_jax.purifier.paper.epoch import Batch, State
from dmlp_jax.purifier.result import Outcome
from dmlp_jax.purifier.rows.scaling import LinearClassifier


def run(
    features: jax.Array,
    given: jax.Array,
    weight: jax.Array,
    val_features: jax.Array,
    val_targets: jax.Array,
    config: PaperConfig,
    key: jax.Array,
) -> Outcome:
    """Runs `config.steps` epochs over the training rows, in their order.

    Every clean row is trained on, so there are no held-out scores.

    Args:
        features: [n, d].
        given: given labels as distributions [n, c], where the labels start.
        weight: row weights [n].
        val_features: [m, d].
        val_targets: one-hot [m, c].
        config: the settings, usually `PurifyConfig.paper()`.
        key: PRNG key for the classifiers' initial weights.
    """
    (count, width), classes = features.shape, given.shape[1]
    slice_size = min(config.eac_batch_size, count)
    slices = -(-min(config.ipc_batch_size, count) // slice_size)

    def split(rows):
        batched = into_chunks(rows, slices * slice_size)
        return batched.reshape(-1, slices, slice_size, *rows.shape[1:])

    def join(labels):
        return jnp.moveaxis(labels, 2, 3).reshape(-1, classes)[:count]

    def invert(batch):
        rows, row_weight = map(epoch.join_slices, batch)
        inverse = ridge.inverse(ridge.gram(rows[:, :-1], row_weight), config.ridge_penalty)
        return jnp.pad(inverse, (0, 1))

    xs, ws, labels_given = split(_with_bias(features)), split(weight), jnp.moveaxis(split(given), 3, 2)
    batches = Batch(xs, ws, jax.lax.map(invert, (xs, ws)))
    weights = jax.vmap(_init_classifier, in_axes=(0, None, None))(
        jax.random.split(key, config.num_members), width, classes
    )
    state = State(
        labels_given,
        jax.vmap(jax.vmap(epoch.label_optimizer(config).init))(labels_given),
        epoch.moments(labels_given, batches),
        weights,
        jax.vmap(eac.adam().init)(weights),
    )
    val = ipc.Validation(_with_bias(val_features), val_targets, jnp.ones_like(val_targets[:, 0]))

    def run_epoch(state, index):
        # The authors' script keeps the first rate for epochs 0 to 3.
        rate = config.eac_lr * jnp.where(index > 3, config.eac_lr_drop, 1.0)
        state, losses = epoch.run_epoch(state, batches, val, rate, config)
        if config.eac:
            write = (index > 0) & (index % config.eac_period == 0)
            state = jax.lax.cond(write, epoch.write, lambda state, *_: state, state, batches, config)
        kept = jnp.argmax(state.labels, axis=2) == jnp.argmax(labels_given, axis=2)
        history = {
            "val_loss": jnp.mean(losses),
            "changed": 1.0 - jnp.sum(kept * ws) / jnp.sum(ws),
        }
        if config.keep_label_history:
            hard = jnp.argmax(state.labels, axis=2).reshape(-1)[:count]
            history["labels"] = hard.astype(jnp.uint8 if classes <= 256 else jnp.int32)
        return state, history

    state, history = jax.lax.scan(run_epoch, state, jnp.arange(config.steps, dtype=jnp.int32))
    # The mean of the classifiers, on raw features.
    head = jnp.mean(jnp.swapaxes(state.weights, 1, 2), axis=0)
    unscaled = LinearClassifier(head[:-1], head[-1], jnp.zeros_like(head[:-1, 0]), jnp.float32(0))
    zero = jnp.int32(0)
    return Outcome(
        write=lambda _, labels: (labels, None),
        rows=ipc.to_simplex(join(state.labels)),
        classifier=unscaled,
        held_out=None,
        history=history,
        chosen={"candidate": zero, "step": jnp.int32(config.steps), "refits": zero},
    )


def _init_classifier(key: jax.Array, width: int, classes: int) -> jax.Array:
    """Draws weights [c, d + 1] within 1 / sqrt(d), bias too: the linear layer of the authors' framework."""
    bound = 1.0 / width**0.5
    return jax.random.uniform(key, (width + 1, classes), jnp.float32, minval=-bound, maxval=bound).T


def _with_bias(features: jax.Array) -> jax.Array:
    return jnp.concatenate([features, jnp.ones_like(features[:, :1])], axis=1)
