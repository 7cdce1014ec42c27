"""Divides the rows of each epoch of FaMUS by the losses of its networks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data.images import lazy
from dmlp_jax.retrain.method import TrainingSet, by_noise
from dmlp_jax.retrain.methods import division, losses
from dmlp_jax.training import inference
from dmlp_jax.training.dispatch import Plan
from dmlp_jax.training.loop import Planner


def make_planner(
    train: TrainingSet,
    settings: ConfigDict,
    predict: Callable[[Any, jax.Array], list[jax.Array]],
    devices: list[jax.Device],
) -> Planner:
    """Plans `divide_warmup` epochs over all rows, then epochs over labelled, unlabelled and meta rows.

    Either network is trained for an epoch on the division by the other's losses, one after the other. Meta
    rows are drawn from the labelled ones.

    Args:
        train: the rows.
        settings: the `retrain` settings.
        predict: `(state, inputs [b, ...]) -> logits of both networks, each [b, c]`.
        devices: this process's devices.
    """
    weight = by_noise("recipes.famus.lambda_u", settings.lambda_u, train.noise_rate)
    classes, size = np.argmax(train.targets, axis=1), settings.batch_size

    def costs(state, inputs, targets):
        return jnp.stack([losses.cross_entropy(logits, targets) for logits in predict(state, inputs)], axis=1)

    def over(chosen):
        arrays = lazy.take(train.inputs, chosen), train.targets[chosen]
        return inference.over_rows(costs, arrays, devices)

    # Compiled once where all rows are judged.
    everything = None if settings.epoch_rows else over(np.arange(len(classes)))

    def plan(state: Any, epoch: int, key: jax.Array) -> tuple[Any, Plan]:
        keys = jax.random.split(key, (2, 4))
        chosen = division.balanced(classes, settings.epoch_rows, key)
        if epoch < settings.divide_warmup:
            steps = len(chosen) // size
            return state, division.join(
                [
                    Plan(
                        {"all": division.batches(chosen, steps, size, keys[which, 0])},
                        {"network": np.full(steps, which, np.int32)},
                    )
                    for which in (0, 1)
                ]
            )
        judged, clean = (everything or over(chosen))(state), np.array(state.clean)
        for which in (0, 1):
            seed = int(jax.random.randint(keys[which, 3], (), 0, 2**31 - 1))
            clean[which, chosen] = division.clean_probability(division.normalized(judged[:, which]), seed)
        risen = min(1.0, (epoch - settings.divide_warmup) / max(settings.lambda_u_ramp, 1e-9))
        parts = []
        for which in (0, 1):
            kept, rest = (
                chosen[part] for part in division.divide(clean[1 - which, chosen], settings.threshold, size)
            )
            steps = -(-max(len(kept), len(rest)) // size)
            indices = {
                name: division.batches(rows, steps, size, k)
                for name, rows, k in zip(
                    ("labelled", "unlabelled", "meta"), (kept, rest, kept), keys[which], strict=False
                )
            }
            info = {
                "network": np.full(steps, which, np.int32),
                "lambda_u": np.full(steps, weight * risen, np.float32),
                "labelled": np.full(steps, len(kept) / len(chosen), np.float32),
            }
            parts.append(Plan(indices, info))
        return state._replace(clean=clean), division.join(parts)

    return plan
