"""`purify`: noisy labels and a small clean set in, purified labels out."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dmlp_jax.purifier import baselines, checks, paper, rows, scaling, schedule, transition
from dmlp_jax.purifier import verdict as verdict_lib
from dmlp_jax.purifier.baselines import PROBES
from dmlp_jax.purifier.config import PurifyConfig
from dmlp_jax.purifier.ridge import matmul
from dmlp_jax.purifier.scaling import LinearClassifier


class PurifyResult(NamedTuple):
    """What `purify` returns; every field is an array or a pytree of arrays.

    Attributes:
        labels: purified hard labels [n], int32.
        probs: purified label distributions [n, c], float32, rows on the simplex.
        confidence: probability of the purified label [n], in [0, 1].
        changed: whether the purified label differs from the given one [n], bool.
        classifier: linear head for new features, see `predict`.
        transition: estimate of p(given label | true label) [c, c], row = true class.
        history: arrays [steps]: 'val_loss' (loss on all clean rows), 'changed' (share of changed labels),
            in the default preset also 'held_out_loss', 'held_out_accuracy', 'evidence' and 'expected_score'
            of the chosen candidate, see `schedule.py`; with `keep_label_history` 'labels' [steps, n].
        scores: by name ('given', 'purified' and the trivial baselines) a dict of scalars: 'cross_entropy'
            and 'accuracy' on held-out clean rows, NaN where they cannot be known, and 'estimated_accuracy'
            of the training labels ('given' and 'purified' only), the model's own opinion. 'purified' is what
            gave the labels; without `val_given_labels` it is an expectation over the given labels that
            `transition` would have drawn for the clean rows.
        baselines: labels [n], int32, that each trivial baseline would give.
        chosen: 'candidate' and 'step' that selection took, int32. With s candidates the indices s, s + 1 and
            s + 2 stand for the probes of `PROBES`, s + 3 for the given labels, which no candidate beat, at
            step 0. In the paper preset candidate 0 at the last step.
    """

    labels: jax.Array
    probs: jax.Array
    confidence: jax.Array
    changed: jax.Array
    classifier: LinearClassifier
    transition: jax.Array
    history: dict[str, jax.Array]
    scores: dict[str, dict[str, jax.Array]]
    baselines: dict[str, jax.Array]
    chosen: dict[str, jax.Array]


def purify(
    features: ArrayLike,
    labels: ArrayLike,
    val: tuple[ArrayLike, ArrayLike],
    *,
    num_classes: int | None = None,
    val_given_labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    config: PurifyConfig | None = None,
    key: jax.Array | None = None,
) -> PurifyResult:
    """Repairs the labels of a training set with the help of a small clean validation set.

    A pure function: no files, no printing, no global state; the same arguments give the same result. It can
    be called inside `jax.jit` and `jax.vmap` (then `num_classes` is required and values are not checked).

    Args:
        features: features of the training rows [n, d], from an encoder trained without labels, any
            floating-point type and scale.
        labels: their given, partly wrong labels: class indices [n] or distributions [n, c].
        val: the clean set: features [m, d] from the same encoder and true class indices [m], every class
            present.
        num_classes: c; by default the largest label plus one.
        val_given_labels: class indices [m] that the noisy source gave to the clean rows, where known. They
            make the given labels comparable with the purified ones; see `PurifyResult.scores`.
        sample_weight: weight of each training row [n], not negative, 1 by default: a row of weight 2 counts
            as two rows.
        config: settings; `PurifyConfig()` is the recommended purifier, `PurifyConfig.paper()` the paper's.
        key: typed PRNG key (`jax.random.key`) for the folds of the clean set; `jax.random.key(0)` by default.

    Returns:
        A `PurifyResult`.

    Raises:
        InputError: (a ValueError) an argument is malformed; the message names it, the first offending
            index and the remedy.
    """
    config = PurifyConfig() if config is None else config
    arguments = _check(features, labels, val, num_classes, val_given_labels, sample_weight, config)
    key = jax.random.key(0) if key is None else key
    return _purify(*arguments, config, key)


def _check(
    features: ArrayLike,
    labels: ArrayLike,
    val: tuple[ArrayLike, ArrayLike],
    num_classes: int | None,
    val_given_labels: ArrayLike | None,
    sample_weight: ArrayLike | None,
    config: PurifyConfig,
) -> tuple[Any, ...]:
    """The arguments of `purify` as arrays, in the order of `_purify`'s."""
    # Values of concrete arrays can be looked at even while a caller's jit traces around them.
    with jax.ensure_compile_time_eval():
        checks.check_config(config)
        if num_classes is not None:
            num_classes = checks.check_num_classes(num_classes)
        features = checks.check_features("features", features)
        val_features, val_labels = _unpack(val)
        val_features = checks.check_features("val features", val_features)
        checks.check_width("val features", val_features, "features", features)
        labels = checks.check_labels("labels", labels, features.shape[0], num_classes)
        val_labels = checks.check_labels("val labels", val_labels, val_features.shape[0], num_classes)
        if val_labels.ndim != 1:
            raise checks.InputError("val labels must be class indices [m]: clean labels are certain")
        num_classes = checks.check_num_classes(num_classes, labels, val_labels)
        checks.check_labels("val labels", val_labels, val_features.shape[0], num_classes)
        checks.check_every_class("val labels", val_labels, num_classes)
        if val_given_labels is not None:
            val_given_labels = checks.check_labels(
                "val_given_labels", val_given_labels, val_features.shape[0], num_classes
            )
            if val_given_labels.ndim != 1:
                raise checks.InputError("val_given_labels must be class indices [m]")
        if sample_weight is not None:
            sample_weight = checks.check_weight("sample_weight", sample_weight, features.shape[0])
    return features, labels, val_features, val_labels, val_given_labels, sample_weight, num_classes


def _unpack(val: Any) -> tuple[Any, Any]:
    if not isinstance(val, (tuple, list)) or len(val) != 2:
        raise checks.InputError("val must be a pair (val_features, val_labels)")
    return val[0], val[1]


@partial(jax.jit, static_argnames="num_classes")
def _purify(
    features: jax.Array,
    labels: jax.Array,
    val_features: jax.Array,
    val_labels: jax.Array,
    val_given_labels: jax.Array | None,
    sample_weight: jax.Array | None,
    num_classes: int,
    config: PurifyConfig,
    key: jax.Array,
) -> PurifyResult:
    # Everything is float32, also where the caller has switched on 64-bit types.
    config = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), config)
    features = jnp.asarray(features, jnp.float32)
    val_features = jnp.asarray(val_features, jnp.float32)
    given = labels if labels.ndim == 2 else jax.nn.one_hot(labels, num_classes)
    given = given.astype(jnp.float32)
    weight = jnp.ones(features.shape[0], jnp.float32) if sample_weight is None else sample_weight
    fold_key, start_key = jax.random.split(key)

    mean = scaling.feature_mean(features, weight)
    count, classifiers = features.shape[0], len(config.weight_decay) * (config.num_folds + 1)
    train = rows.split(scaling.standardize(features, mean), given, weight, classifiers * num_classes)
    clean = baselines.clean_set(
        scaling.standardize(val_features, mean), val_labels, num_classes, config.num_folds, fold_key
    )
    gram, moment, total = rows.sum_over(_moments, train)
    shared = schedule.share(gram, total, clean, config)
    probes = (
        baselines.val_only_probe(clean),
        *baselines.ridge_probes(gram, shared.spectrum, moment, total, clean),
    )
    if config.preset == "paper":
        outcome = paper.run(features, given, weight, val_features, clean.targets, config, start_key)
        verdict = verdict_lib.of_paper(outcome, config)
    else:
        verdict = verdict_lib.of_default(train, clean, probes, shared, mean, val_given_labels, config)

    probs = verdict.probs[:count]
    hard = jnp.argmax(probs, axis=-1).astype(jnp.int32)
    confidence = jnp.max(probs, axis=-1)
    scores = {name: probe.score._asdict() for name, probe in zip(PROBES, probes, strict=True)}
    scores["purified"] = verdict.score._asdict() | {"estimated_accuracy": _mean(confidence, weight)}
    scores["given"] = _given_score(val_given_labels, val_labels) | {
        "estimated_accuracy": _mean(jnp.sum(probs * given, axis=-1), weight)
    }
    history = {
        name: values[:, :count] if name == "labels" else values for name, values in verdict.history.items()
    }
    return PurifyResult(
        labels=hard,
        probs=probs,
        confidence=confidence,
        changed=hard != jnp.argmax(given, axis=-1),
        classifier=verdict.classifier,
        transition=transition.transition_matrix(transition.soft_counts(probs, given, weight)),
        history=history,
        scores=scores,
        baselines={
            name: rows.map_over(partial(_hard_labels, probe.weights[-1]), train)[:count]
            for name, probe in zip(PROBES, probes, strict=True)
        },
        chosen=verdict.chosen,
    )


def _moments(chunk: rows.Training) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gram matrix F^T F [d, d], moment F^T Y of the given labels [d, c] and sum of the weights of rows."""
    weighted = chunk.weight[:, None] * chunk.features
    return matmul(weighted.T, chunk.features), matmul(weighted.T, chunk.given), jnp.sum(chunk.weight)


def _hard_labels(weights: jax.Array, chunk: rows.Training) -> jax.Array:
    return jnp.argmax(matmul(chunk.features, weights), axis=-1).astype(jnp.int32)


def _given_score(val_given_labels: jax.Array | None, val_labels: jax.Array) -> dict[str, jax.Array]:
    unknown = jnp.float32(jnp.nan)
    accuracy = unknown
    if val_given_labels is not None:
        accuracy = jnp.mean((val_given_labels == val_labels).astype(jnp.float32))
    return {"cross_entropy": unknown, "accuracy": accuracy}


def _mean(values: jax.Array, weight: jax.Array) -> jax.Array:
    return jnp.sum(values * weight) / jnp.sum(weight)
