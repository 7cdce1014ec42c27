"""Defines the results: of a schedule (`Outcome`) and of `purify` (`PurifyResult`)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier import checks
from dmlp_jax.purifier import warnings as warnings_lib
from dmlp_jax.purifier.base.scores import UNKNOWN, HeldOutScore
from dmlp_jax.purifier.probes import PROBES
from dmlp_jax.purifier.rows.chunks import Chunk
from dmlp_jax.purifier.rows.scaling import LinearClassifier

# Where labels can come from; `PurifyResult.chosen['source']` is an index of it.
SOURCES = ("purified", *PROBES, "given")
# Values that the default schedule records in every round; see `PurifyResult.history`.
HISTORY = ("changed", "expected_score", "held_out_loss", "held_out_accuracy", "val_loss")


class HeldOut(NamedTuple):
    """Scores of labels on clean rows that their classifiers did not train on.

    Attributes:
        hits: whether the label of each clean row is right, or the probability of that; every `stride`-th row.
        score: see `PurifyResult.scores`.
        reliability: see `PurifyResult.reliability`.
        stride: step between the clean rows that `hits` covers, a Python int.
        weight: of every clean row in counts, [m]; see `scores.counted`.
        given_confidence: probability that the given label of each clean row is right, [m]; None where given
            labels that are returned have confidence 1.
    """

    hits: jax.Array
    score: HeldOutScore
    reliability: dict[str, jax.Array]
    stride: int
    weight: jax.Array
    given_confidence: jax.Array | None = None


class Outcome(NamedTuple):
    """The result of a schedule, before it is compared with the trivial baselines.

    Attributes:
        write: function of a chunk of b training rows and its part of `rows`; returns their labels [b, c] and
            the quality of their given labels [b], see `PurifyResult.label_quality`; None takes that of the
            last probe.
        rows: arrays over the training rows [n, ...] that `write` needs beside the chunk; None for none.
        classifier: linear head for raw features.
        held_out: scores on held-out clean rows; None where every clean row was trained on.
        history: arrays [steps], see `PurifyResult.history`.
        chosen: 'candidate', 'step' and 'refits', int32, see `PurifyResult.chosen`.
        reviewed_rounds: rounds that learned from reviewed rows, see `PurifyResult.chosen`.
        margin: standard errors by which the given labels must be better to be returned.
    """

    write: Callable[[Chunk, Any], tuple[jax.Array, jax.Array | None]]
    rows: Any
    classifier: LinearClassifier
    held_out: HeldOut | None
    history: dict[str, jax.Array]
    chosen: dict[str, jax.Array]
    reviewed_rounds: int = 0
    margin: float = 0.0


class Calibration(NamedTuple):
    """What became of the calibration rows, for `accept`: reviewed rows that were treated as training rows.

    Attributes:
        confidence: `PurifyResult.confidence` of these rows, [k].
        right: whether the returned label of each is its true one, [k], bool.
        weight: what each counts for, [k]: 1, or more and less where the clean set was stratified by class; 0
            where a row is of no use, which happens under `jax.jit` only.
        largest: the largest weight that a row of any class has, scalar.
        unseen: weight of the classes whose only clean row had to stay one, scalar; taken as wrong.
        share: calibration rows over clean rows that could have been such, scalar in [0, 1].
    """

    confidence: jax.Array
    right: jax.Array
    weight: jax.Array
    largest: jax.Array
    unseen: jax.Array
    share: jax.Array


class PurifyResult(NamedTuple):
    """The result of `purify`; every field is an array or a pytree of arrays.

    Attributes:
        labels: hard labels [n], int32: purified, or those of a trivial baseline that is better, see `source`.
        probs: the same as distributions [n, c], float32, rows on the simplex.
        confidence: probability that each label is right [n], in [0, 1]. Of given labels that are returned
            it is `label_quality` with `val_given_labels`, and 1 without.
        changed: whether a label differs from the given one [n], bool; with several labels a row, from the
            one that most annotators gave.
        label_quality: how likely the given label is right [n], in [0, 1]: low where it is suspicious. Made
            of a prediction that has not seen the given label and of what a given label is worth, whether or
            not labels are changed. A ranking; only with `val_given_labels` it is a calibrated probability.
        classifier: linear head for new features, see `predict`.
        transition: estimate of p(given label | true label) [c, c], row = true class; counted from `probs` and
            the given labels.
        history: arrays [steps]: 'val_loss' (loss on all clean rows) and 'changed' (share of the labels' mass
            that has left the given class; in the paper preset the share of changed labels). The default
            preset adds 'held_out_loss', 'held_out_accuracy' and 'expected_score' of the chosen candidate, see
            `posterior/race.py`. With `keep_label_history` there is 'labels' [steps, n], too.
        scores: by name ('given', 'purified' and the trivial baselines) a dict of scalars: 'cross_entropy',
            'accuracy' and its 'standard_error' on held-out clean rows, NaN where they cannot be known (inside
            a caller's `jax.jit` with `jax_debug_nans` -1), and 'estimated_accuracy' of the training labels
            ('given' and 'purified' only), by the model's own probabilities. 'purified' is the score of
            `labels`, wherever they come from. With `val_given_labels` it is a count over the clean rows that
            were drawn at random, by weights that make classes as frequent as among the training rows. Without
            it is an expectation over the given labels that the estimated noise would draw for the clean rows.
            Predictions are corrected for class shares of the clean rows that clearly differ from those of the
            training rows, see `posterior/label_shift.py`.
        reliability: of `confidence` on held-out clean rows. Labels are binned by confidence, in bins of equal
            width; 'rows', 'confidence' and 'right' are sums over each bin, [15]. Divided by 'rows' they are
            mean confidence and accuracy of a bin. An expectation like the score of 'purified'; zeros in the
            paper preset, which holds nothing out.
        baselines: labels [n], int32, by each trivial baseline.
        chosen: what was selected, int32. 'source' is where the labels come from, an index of `SOURCES`, see
            `source`. The rest describes the purifier's own labels, even where a baseline replaced them:
            'candidate' and 'step', from 1 (in the paper preset candidate 0 at the last step), and 'refits',
            how many times the classifier was averaged with linear discriminant analysis after that step, see
            `posterior/lda.py`; 'reviewed_rounds', how many rounds then learned from the given labels of clean
            rows, see `reviewed/schedule.py`. 'single_row_classes' is how many classes have one clean row
            only. Their held-out scores come from classifiers that saw no clean row of that class: with many
            such classes the scores, and the choices by them, are too low.
        diagnostics: numbers about the arguments, from which `warnings` are made; see `diagnostics.py`.
        annotator_transition: with several labels a row, the estimate of p(label | true label) of each
            annotator, [a, c, c], row = true class; None with one label a row.
        annotator_quality: the estimated share of right labels among those of each annotator, [a], in [0, 1].
            None with one label a row.
        calibration: what `accept` needs, a `Calibration`; None without `purify(..., calibration=)`.
    """

    labels: jax.Array
    probs: jax.Array
    confidence: jax.Array
    changed: jax.Array
    label_quality: jax.Array
    classifier: LinearClassifier
    transition: jax.Array
    history: dict[str, jax.Array]
    scores: dict[str, dict[str, jax.Array]]
    reliability: dict[str, jax.Array]
    baselines: dict[str, jax.Array]
    chosen: dict[str, jax.Array]
    diagnostics: dict[str, jax.Array]
    annotator_transition: jax.Array | None = None
    annotator_quality: jax.Array | None = None
    calibration: Calibration | None = None

    @property
    def source(self) -> str:
        """Where the labels come from: 'purified', or one of `PROBES` or 'given' where that was better.

        Needs one result with values: not under `jax.jit`, and of a batch from `jax.vmap` one at a time.
        """
        return SOURCES[int(self.chosen["source"])]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the arguments as far as their values tell, in sentences; empty where nothing is.

        Like `source` it needs one result with values.
        """
        return warnings_lib.sentences(self.diagnostics)


def reveal(result: PurifyResult) -> PurifyResult:
    """Turns scores that cannot be known from `UNKNOWN` into NaN, outside the compiled program.

    Inside a caller's `jax.jit` they stay as they are while `jax_debug_nans` is on.
    """
    if jax.config.jax_debug_nans and checks.is_traced(result.scores):  # type: ignore[attr-defined]
        return result
    with jax.debug_nans(False):
        return result._replace(scores=_to_nan(result.scores))


@jax.jit
def _to_nan(scores: dict[str, dict[str, jax.Array]]) -> dict[str, dict[str, jax.Array]]:
    return jax.tree.map(lambda value: jnp.where(value == UNKNOWN, jnp.nan, value), scores)


def over_rows(rows: Any, rest: Any, steps_and_rows: Any = None) -> PurifyResult:
    """A pytree prefix of `PurifyResult`: one value for fields with an entry per row, one for the others.

    Args:
        rows: value for arrays [n, ...].
        rest: value for all others.
        steps_and_rows: value for history['labels'] [steps, n], where that is kept.
    """
    history = rest
    if steps_and_rows is not None:
        history = {**dict.fromkeys(HISTORY, rest), "labels": steps_and_rows}
    return PurifyResult(
        labels=rows,
        probs=rows,
        confidence=rows,
        changed=rows,
        label_quality=rows,
        classifier=rest,
        transition=rest,
        history=history,
        scores=rest,
        reliability=rest,
        baselines=rows,
        chosen=rest,
        diagnostics=rest,
        annotator_transition=rest,
        annotator_quality=rest,
    )
