"""Runs the whole purification as one traced program: arrays in, `PurifyResult` out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier import choose, diagnostics
from dmlp_jax.purifier import probes as probes_lib
from dmlp_jax.purifier.annotators import schedule as annotators_schedule
from dmlp_jax.purifier.base import pytrees, ridge
from dmlp_jax.purifier.choose import Choice
from dmlp_jax.purifier.config import Config, PaperConfig
from dmlp_jax.purifier.paper import schedule as paper_schedule
from dmlp_jax.purifier.posterior import race, transition
from dmlp_jax.purifier.posterior import schedule as default_schedule
from dmlp_jax.purifier.probes import PROBES
from dmlp_jax.purifier.result import SOURCES, Outcome, PurifyResult
from dmlp_jax.purifier.reviewed import schedule as reviewed_schedule
from dmlp_jax.purifier.rows import chunks, clean_set, copies, loading, outliers, scaling, span
from dmlp_jax.purifier.rows import reviews as reviews_lib
from dmlp_jax.purifier.rows.clean_set import CleanSet
from dmlp_jax.purifier.rows.disk import Reader


class Inputs(NamedTuple):
    """The checked arguments of `purify` except the features.

    Attributes:
        labels: class indices [n] or distributions [n, c].
        sample_weight: row weights [n], or None.
        val_features: features of the clean rows, [m, d]; None, as `val_labels`, where there are none.
        val_labels: their class indices [m]; -1 for padding, see `padding.py`.
        val_given_labels: class indices [m] that the noisy source gave them, -1 where unknown, or None.
        val_random: whether each clean row was drawn at random [m], bool; None where all were.
        config: the settings, numbers in float32.
        key: PRNG key for the folds, and for the initial classifiers of the paper preset.
        votes: with several labels a row, class indices [n, a], -1 for none; `labels` are the majority then.
        val_votes: those of the clean rows [m, a], or None.
    """

    labels: jax.Array
    sample_weight: jax.Array | None
    val_features: jax.Array | None
    val_labels: jax.Array | None
    val_given_labels: jax.Array | None
    val_random: jax.Array | None
    config: Config
    key: jax.Array
    votes: jax.Array | None = None
    val_votes: jax.Array | None = None


def run(
    features: jax.Array | Reader, inputs: Inputs, num_classes: int, axis: tuple[str, ...] | None = None
) -> PurifyResult:
    """Runs `purify` on checked arguments: the probes, a schedule, the choice between their labels.

    Args:
        features: [n, d], or their reader; under `jax.shard_map` this device's rows.
        inputs: the other arguments, of the same rows.
        num_classes: c.
        axis: names of the mesh axes over which rows are spread, or None.
    """
    config, count = inputs.config, features.shape[0]
    weight = jnp.ones(count, jnp.float32) if inputs.sample_weight is None else inputs.sample_weight
    given = inputs.labels.astype(jnp.float32 if inputs.labels.ndim == 2 else jnp.int32)
    if not isinstance(features, Reader):
        features = features.astype(jnp.float32)
    val_features, val_labels = _clean_rows(inputs, features.shape[1])
    real = val_labels >= 0
    fold_key, start_key = jax.random.split(inputs.key)

    train = loading.load(
        features,
        given,
        weight,
        num_classes,
        entries_per_row(config, num_classes),
        axis,
        None if inputs.val_features is None else val_features,
        real,
    )
    outlier_clean_rows = jnp.int32(0)
    if inputs.val_features is not None:
        val_features, outlier_clean_rows = outliers.mend(val_features, train.mean, train.bound, real)
    firsts = copies.firsts(val_features, real)
    val_rows = scaling.center_and_normalize(val_features, train.mean)
    width = val_rows.shape[1]
    train, val_rows, basis = span.narrow(train, val_rows)
    clean = clean_set.make(val_rows, val_labels, num_classes, config.num_folds, fold_key, width, firsts)
    gram, moment, total = chunks.sum_over(chunks.moments, train)
    spectrum = ridge.spectrum(gram)
    if inputs.val_features is None:
        probes = probes_lib.without_clean_rows(gram, moment, clean)
    else:
        probes = probes_lib.fit_probes(gram, spectrum, moment, total, clean)
    bound = train.bound
    reviews, counting = None, clean.real
    if inputs.val_random is not None:
        counting = counting * inputs.val_random
    if inputs.val_given_labels is not None or inputs.votes is not None:
        unknown = jnp.full_like(val_labels, -1)
        told = unknown if inputs.val_given_labels is None else inputs.val_given_labels
        reviews = reviews_lib.make(told, counting, num_classes)
    annotators = None
    if isinstance(config, PaperConfig):
        assert not isinstance(features, Reader)  # `purify` refuses it
        soft = given if given.ndim == 2 else jax.nn.one_hot(given, num_classes, dtype=jnp.float32)
        weight = train.weight.reshape(-1)[:count]
        # Its rows are not centred, so the bound is one on the values themselves.
        bound = train.bound + jnp.max(jnp.abs(train.mean))
        rows, val_rows = (
            scaling.centre(x, jnp.zeros_like(train.mean), bound) for x in (features, val_features)
        )
        outcome = paper_schedule.run(rows, soft, weight, val_rows, clean.targets, config, start_key)
        compare = learned = False
    elif inputs.votes is not None:
        assert reviews is not None
        outcome, annotators = annotators_schedule.run(
            train, clean, reviews, inputs.votes, inputs.val_votes, probes[0], count, total, gram, config
        )
        learned = inputs.val_votes is not None
        compare = learned and config.selection
        if inputs.val_given_labels is None:
            reviews = None
    else:
        precomputed = race.precompute(gram, spectrum, total, clean, config)
        fit = default_schedule.fit(train, clean, probes[-1], precomputed, config)
        learned = reviews is not None and config.selection and config.posterior
        if reviews is not None and learned:
            outcome = reviewed_schedule.run(train, clean, reviews, probes[0], fit, count, precomputed, config)
        else:
            outcome = default_schedule.outcome(fit, train, clean, reviews, counting, config)
        compare = config.selection
    found = {**train.diagnostics, **diagnostics.none_doubtful()}
    if inputs.val_features is not None:
        found |= {
            "outlier_clean_rows": outlier_clean_rows,
            "clean_length": diagnostics.length(val_features, clean.real),
            **diagnostics.of_clean_rows(gram, moment, total, clean, probes, reviews),
        }
    if compare and annotators is None:
        above = diagnostics.beyond_majority(fit.fitted.held_out, clean) & ~found["elsewhere"]
        found["informative"] = found["informative"] | above
    informed = found["informative"] if compare else None
    choice = choose.choose(outcome, train, clean, probes, reviews, counting, informed)
    head = choice.classifier._replace(bound=bound)
    if not isinstance(config, PaperConfig):
        head = head._replace(kernel=span.widen(head.kernel, basis))
    choice = choice._replace(classifier=head)
    if inputs.val_features is not None:
        found |= diagnostics.of_reviews(reviews, counting, not isinstance(config, PaperConfig))
    if learned:
        given = pytrees.at(choice.others, len(PROBES))
        found |= diagnostics.of_noise(choice.given_right / total, given)
    result = _result(inputs, choice, outcome, clean, total, count)._replace(diagnostics=found)
    if annotators is None:
        return result
    return result._replace(
        transition=annotators.common,
        annotator_transition=annotators.own,
        annotator_quality=annotators.quality,
    )


def _clean_rows(inputs: Inputs, width: int) -> tuple[jax.Array, jax.Array]:
    """Features [m, d] and labels [m] of the clean rows; one row of padding where there are none."""
    if inputs.val_features is None or inputs.val_labels is None:
        return jnp.zeros((1, width), jnp.float32), jnp.full(1, -1, jnp.int32)
    return inputs.val_features.astype(jnp.float32), inputs.val_labels


def _result(
    inputs: Inputs,
    choice: Choice,
    outcome: Outcome,
    clean: CleanSet,
    total: jax.Array,
    count: int,
) -> PurifyResult:
    """Assembles the `PurifyResult`, without the padding of the last chunk.

    Args:
        inputs: the arguments of the program.
        choice: the chosen labels.
        outcome: the result of the schedule.
        clean: the clean rows.
        total: sum of the row weights.
        count: number of training rows, n.
    """
    probs, guesses, given = choice.probs[:count], choice.guesses[:count], inputs.labels
    labels = jnp.argmax(probs, axis=-1).astype(jnp.int32)
    scores = {name: pytrees.at(choice.others, i)._asdict() for i, name in enumerate((*PROBES, "given"))}
    confidence, right = jnp.max(probs, axis=-1), choice.confidence
    if outcome.reviewed_rounds:
        # Given labels that are kept are not certain: reviewed rows tell how likely each is right.
        kept = choice.source == SOURCES.index("given")
        confidence = jnp.where(kept, choice.quality[:count], confidence)
        right = jnp.where(kept, choice.given_right, right)
    scores["purified"] = choice.score._asdict() | {"estimated_accuracy": right / total}
    scores["given"] |= {"estimated_accuracy": jnp.trace(choice.counts) / total}
    history = {
        name: values[:, :count] if name == "labels" else values for name, values in outcome.history.items()
    }
    return PurifyResult(
        labels=labels,
        probs=probs,
        confidence=confidence,
        label_quality=choice.quality[:count],
        changed=labels != (given if given.ndim == 1 else jnp.argmax(given, axis=-1)),
        classifier=choice.classifier,
        transition=transition.transition_matrix(choice.counts),
        history=history,
        scores=scores,
        reliability=choice.reliability,
        baselines={name: guesses[:, i] for i, name in enumerate(PROBES)},
        chosen={
            "source": choice.source,
            **outcome.chosen,
            "reviewed_rounds": jnp.int32(outcome.reviewed_rounds),
            "single_row_classes": _single_row_classes(clean),
        },
        diagnostics={},
    )


def entries_per_row(config: Config, num_classes: int) -> int:
    """Entries of the largest intermediate result per training row: classifiers times classes."""
    candidates = 1 if isinstance(config, PaperConfig) else len(config.weight_decay)
    return candidates * (config.num_folds + 1) * num_classes


def _single_row_classes(clean: CleanSet) -> jax.Array:
    """Number of classes with only one clean row: while it is held out, its class has none."""
    return jnp.sum(jnp.sum(clean.targets, axis=0) == 1, dtype=jnp.int32)
