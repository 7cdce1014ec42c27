"""The whole purification as one traced program: arrays in, `PurifyResult` out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier import choose as verdict_lib
from dmlp_jax.purifier import probes as baselines
from dmlp_jax.purifier.config import PurifyConfig
from dmlp_jax.purifier.paper import schedule as paper
from dmlp_jax.purifier.posterior import race, transition
from dmlp_jax.purifier.probes import PROBES
from dmlp_jax.purifier.result import PurifyResult
from dmlp_jax.purifier.rows import chunks, scaling
from dmlp_jax.purifier.rows import clean_set as clean_lib
from dmlp_jax.purifier.rows.clean_set import CleanSet
from dmlp_jax.purifier.rows.disk import Reader


class Inputs(NamedTuple):
    """What `purify` was given beside the features, checked.

    Attributes:
        labels: class indices [n] or distributions [n, c].
        sample_weight: [n], or None.
        val_features: [m, d].
        val_labels: [m].
        val_given_labels: [m], or None.
        config: the settings, numbers in float32.
        key: for the folds and the paper preset's starts.
    """

    labels: jax.Array
    sample_weight: jax.Array | None
    val_features: jax.Array
    val_labels: jax.Array
    val_given_labels: jax.Array | None
    config: PurifyConfig
    key: jax.Array


def run(
    features: jax.Array | Reader, inputs: Inputs, num_classes: int, axis: tuple[str, ...] | None = None
) -> PurifyResult:
    """`purify` on checked arguments.

    Args:
        features: [n, d], or their reader; under `jax.shard_map` this device's rows.
        inputs: the rest, of the same rows.
        num_classes: c.
        axis: names of the mesh axes over which rows are spread.
    """
    labels, weight, val_features, val_labels, val_given_labels, config, key = inputs
    count = features.shape[0]
    weight = jnp.ones(count, jnp.float32) if weight is None else weight
    given = labels.astype(jnp.float32 if labels.ndim == 2 else jnp.int32)
    if not isinstance(features, Reader):
        features = features.astype(jnp.float32)
    val_features = val_features.astype(jnp.float32)
    fold_key, start_key = jax.random.split(key)

    entries = entries_per_row(config, num_classes)
    train = chunks.load(features, given, weight, num_classes, entries, axis)
    val_rows = scaling.standardize(val_features, train.mean)
    clean = clean_lib.make(val_rows, val_labels, num_classes, config.num_folds, fold_key)
    gram, moment, total = chunks.sum_over(chunks.moments, train)
    shared = race.precompute(gram, total, clean, config)
    probes = (
        baselines.val_only_probe(clean),
        *baselines.ridge_probes(gram, shared.spectrum, moment, total, clean),
    )
    if config.preset == "paper":
        assert not isinstance(features, Reader)  # `purify` refuses it
        given = given if given.ndim == 2 else jax.nn.one_hot(given, num_classes, dtype=jnp.float32)
        outcome = paper.run(features, given, weight, val_features, clean.targets, config, start_key)
        verdict = verdict_lib.of_paper(outcome, given, train, probes, config)
    else:
        verdict = verdict_lib.of_default(train, clean, probes, shared, val_given_labels, config)

    probs, guesses = (values[:count] for values in verdict.labels)
    counts, confidence = verdict.totals
    hard = jnp.argmax(probs, axis=-1).astype(jnp.int32)
    scores = {name: probe.score._asdict() for name, probe in zip(PROBES, probes, strict=True)}
    scores["purified"] = verdict.score._asdict() | {"estimated_accuracy": confidence / total}
    scores["given"] = _given_score(val_given_labels, val_labels) | {
        "estimated_accuracy": jnp.trace(counts) / total
    }
    history = {
        name: values[:, :count] if name == "labels" else values for name, values in verdict.history.items()
    }
    return PurifyResult(
        labels=hard,
        probs=probs,
        confidence=jnp.max(probs, axis=-1),
        changed=hard != (labels if labels.ndim == 1 else jnp.argmax(labels, axis=-1)),
        classifier=verdict.classifier,
        transition=transition.transition_matrix(counts),
        history=history,
        scores=scores,
        reliability=verdict.reliability,
        baselines={name: guesses[:, i] for i, name in enumerate(PROBES)},
        chosen=verdict.chosen | {"single_row_classes": _single_row_classes(clean)},
    )


def _single_row_classes(clean: CleanSet) -> jax.Array:
    """How many classes have one clean row only: while it is held out, its class has none."""
    return jnp.sum(jnp.sum(clean.targets, axis=0) < 2, dtype=jnp.int32)


def entries_per_row(config: PurifyConfig, num_classes: int) -> int:
    """Entries of the largest intermediate result per training row."""
    return len(config.weight_decay) * (config.num_folds + 1) * num_classes


def _given_score(val_given_labels: jax.Array | None, val_labels: jax.Array) -> dict[str, jax.Array]:
    unknown = jnp.float32(jnp.nan)
    accuracy = unknown
    if val_given_labels is not None:
        accuracy = jnp.mean((val_given_labels == val_labels).astype(jnp.float32))
    return {"cross_entropy": unknown, "accuracy": accuracy}
