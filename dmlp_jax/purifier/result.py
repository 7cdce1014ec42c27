"""What a schedule leaves (`Outcome`) and what `purify` returns (`PurifyResult`)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from dmlp_jax.purifier.base.scores import HeldOutScore
from dmlp_jax.purifier.probes import PROBES
from dmlp_jax.purifier.rows.chunks import Chunk
from dmlp_jax.purifier.rows.scaling import LinearClassifier

# What can give the labels, by `PurifyResult.chosen['source']`.
SOURCES = ("purified", *PROBES, "given")
# What the default schedule keeps of every round; see `PurifyResult.history`.
HISTORY = ("changed", "expected_score", "held_out_loss", "held_out_accuracy", "val_loss")


class HeldOut(NamedTuple):
    """How purified labels do on clean rows that their classifiers did not train on.

    Attributes:
        hits: whether the label of each clean row is right, or how probably; of every `stride`-th row.
        score: see `PurifyResult.scores`.
        reliability: see `PurifyResult.reliability`.
        stride: which rows `hits` has, a Python int.
    """

    hits: jax.Array
    score: HeldOutScore
    reliability: dict[str, jax.Array]
    stride: int


class Outcome(NamedTuple):
    """What a schedule leaves, before it is compared with the trivial baselines.

    Attributes:
        write: from a chunk of b training rows, and the chunk's part of `rows`, to its labels [b, c].
        rows: arrays over the training rows [n, ...] that `write` needs beside the chunk; None for none.
        classifier: linear head for raw features.
        held_out: None where every clean row was trained on.
        history: arrays [steps].
        chosen: 'candidate', 'step' and 'refits', int32, see `PurifyResult.chosen`.
    """

    write: Callable[[Chunk, Any], jax.Array]
    rows: Any
    classifier: LinearClassifier
    held_out: HeldOut | None
    history: dict[str, jax.Array]
    chosen: dict[str, jax.Array]


class PurifyResult(NamedTuple):
    """What `purify` returns; every field is an array or a pytree of arrays.

    Attributes:
        labels: purified hard labels [n], int32.
        probs: purified label distributions [n, c], float32, rows on the simplex.
        confidence: probability of the purified label [n], in [0, 1].
        changed: whether the purified label differs from the given one [n], bool.
        classifier: linear head for new features, see `predict`.
        transition: estimate of p(given label | true label) [c, c], row = true class.
        history: arrays [steps]: 'val_loss' (loss on all clean rows), 'changed' (share of the labels'
            mass that has left the given class; in the paper preset of changed labels),
            in the default preset also 'held_out_loss', 'held_out_accuracy' and 'expected_score' of the
            chosen candidate, see `posterior/race.py`; with `keep_label_history` 'labels' [steps, n].
        scores: by name ('given', 'purified' and the trivial baselines) a dict of scalars: 'cross_entropy'
            and 'accuracy' on held-out clean rows, NaN where they cannot be known, and 'estimated_accuracy'
            of the training labels ('given' and 'purified' only), the model's own opinion. 'purified' is what
            gave the labels; without `val_given_labels` it is an expectation over the given labels that
            the estimated noise would have drawn for the clean rows, told how frequent their classes are where
            that is clearly not as among the training rows, see `posterior/label_shift.py`.
        reliability: of `confidence` on held-out clean rows: sums [15] over labels in bins of equal width of
            their confidence, 'rows', 'confidence' and 'right'; divided by 'rows' they are mean confidence and
            accuracy of a bin. An expectation like the score of 'purified'; zeros in the paper preset, which
            holds nothing out.
        baselines: labels [n], int32, that each trivial baseline would give.
        chosen: what selection took, int32. 'source' is what gave the labels, an index of `SOURCES`, see
            `source`. The rest is of the purifier's own labels, even where a baseline replaced them:
            'candidate' and 'step', from 1 (in the paper preset candidate 0 at the last step), and 'refits',
            how many times the classifier was averaged with the closed form of its labels after that step, see
            `posterior/lda.py`. 'single_row_classes' is how many classes have one clean row only, whose
            held-out score comes from classifiers that saw no clean row of that class: with many of them the
            scores, and the choices by them, are too low.
    """

    labels: jax.Array
    probs: jax.Array
    confidence: jax.Array
    changed: jax.Array
    classifier: LinearClassifier
    transition: jax.Array
    history: dict[str, jax.Array]
    scores: dict[str, dict[str, jax.Array]]
    reliability: dict[str, jax.Array]
    baselines: dict[str, jax.Array]
    chosen: dict[str, jax.Array]

    @property
    def source(self) -> str:
        """What gave the labels: 'purified', or one of `PROBES` or 'given' where that was better.

        Needs one result with values: not under `jax.jit`, and of a batch from `jax.vmap` one at a time.
        """
        return SOURCES[int(self.chosen["source"])]


def over_rows(rows: Any, rest: Any, steps_and_rows: Any = None) -> PurifyResult:
    """A prefix of `PurifyResult` as a pytree that says of every field whether it has an entry per row.

    Args:
        rows: what stands for arrays [n, ...].
        rest: what stands for all others.
        steps_and_rows: what stands for history['labels'] [steps, n], where that is kept.
    """
    history = rest
    if steps_and_rows is not None:
        history = {**dict.fromkeys(HISTORY, rest), "labels": steps_and_rows}
    return PurifyResult(
        labels=rows,
        probs=rows,
        confidence=rows,
        changed=rows,
        classifier=rest,
        transition=rest,
        history=history,
        scores=rest,
        reliability=rest,
        baselines=rows,
        chosen=rest,
    )
