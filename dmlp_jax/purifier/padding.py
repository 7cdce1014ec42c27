"""Fills up the rows to one of a few numbers of rows, so that other data reuses a compiled program.

A program is compiled for the shapes of its arguments, which takes longer than a run on some thousand rows. So
training rows and clean rows are filled up to the next size of a fixed pool, by a sixteenth at most of the
next power of two, a few hundred clean rows to that power itself, and the result is cut. Padding changes no
result beyond rounding. What sees the number of rows, and what it does about padding:

- Sums over training rows take weights, which are 0 for padding (`rows/chunks.py`). So do the search for
  copies and outliers, where a weight of 0 does not count, and the choice of the labels.
- Means over clean rows, and whatever divides by their number or its root, take `CleanSet.real` or the
  targets, which are 0 for padding (`base/masked.py`): temperatures, scores and their standard errors, the
  pseudo-observation in smoothed targets, class shares and label shift, the rate of classifier errors, the
  diagnostics. Sums over clean rows take `CleanSet.masks`, or features that are 0.
- Order statistics of clean rows leave padding out: the place amid them (`rows/outliers.py`), the quantiles of
  their margins (`diagnostics.py`).
- Folds are drawn as without padding (`rows/clean_set.py`), and so are hashes counted (`rows/copies.py`).
- Rows in chunks, and whether wide rows are rotated (`rows/span.py`) or few clean rows save time
  (`probes.py`), depend on the filled-up numbers. That is a matter of rounding only.

Not filled up: arguments inside a caller's `jax.jit` or `jax.vmap`; rows spread over devices; more than
`MOST_ROWS` training rows, which run for longer than a program compiles; the paper's preset, whose batches
depend on the number of rows.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.purifier import checks
from dmlp_jax.purifier.config import PaperConfig
from dmlp_jax.purifier.posterior import held_out
from dmlp_jax.purifier.program import Inputs
from dmlp_jax.purifier.result import PurifyResult
from dmlp_jax.purifier.rows import disk

# Training rows above are not filled up.
MOST_ROWS = 50_000
# Sizes are multiples of this at least: a few clean rows more or less are the rule.
LEAST_STEP = 32
# Clean rows up to which only powers of two are sizes: so few hardly count in the time of a run.
FEW = 512
# Numbers of rows, for training and clean rows, whose cutting programs are kept.
PROGRAMS = 64


def size(count: int) -> int:
    """The least size of the pool that is not below `count`: up to eight between two powers of two."""
    step = max(LEAST_STEP, 2 ** (count.bit_length() - 4))
    return -(-count // step) * step


def clean_size(count: int) -> int:
    """The same for clean rows: a power of two up to `FEW`, since another clean set has another number."""
    return size(count) if count > FEW else max(LEAST_STEP, 1 << (count - 1).bit_length())


def around(
    run: Callable[[Any, Inputs, int], PurifyResult], features: Any, inputs: Inputs, num_classes: int
) -> PurifyResult:
    """`run(features, inputs, num_classes)` on rows that are filled up, cut to the rows that there are.

    Args:
        run: of `compiled.py`; features on disk are not filled up, it must take fewer than there are labels.
        features: [n, d], in memory or on disk.
        inputs: the other arguments.
        num_classes: c.
    """
    # Inside a caller's jit even a constant is traced.
    if isinstance(inputs.config, PaperConfig) or checks.is_traced((features, inputs, jnp.zeros(()))):
        return run(features, inputs, num_classes)
    rows = inputs.labels.shape[0]
    clean_rows = 0 if inputs.val_labels is None else inputs.val_labels.shape[0]
    if rows <= MOST_ROWS:
        features, inputs = _fill_training(features, inputs, size(rows) - rows)
    # Beyond, the number of clean rows decides how many of them are scored.
    if clean_rows and clean_size(clean_rows) * num_classes**2 <= held_out.TRIPLES:
        inputs = _fill_clean(inputs, clean_size(clean_rows) - clean_rows)
    found = run(features, inputs, num_classes)
    filled = 0 if inputs.val_labels is None else inputs.val_labels.shape[0]
    if (inputs.labels.shape[0], filled) == (rows, clean_rows):
        return found
    return _cutter(rows, clean_rows)(found)


def _fill_training(features: Any, inputs: Inputs, missing: int) -> tuple[Any, Inputs]:
    """Adds training rows of weight 0; weights are given in any case, so that they need no other program."""
    labels: Any = inputs.labels
    weight: Any = inputs.sample_weight
    if weight is None:
        weight = np.ones(labels.shape[0], np.float32)
    if not disk.is_on_disk(features):
        features = jnp.asarray(_fill(features, missing, 0))
    # Padding needs a valid given label.
    label = 1.0 / labels.shape[1] if labels.ndim == 2 else 0
    votes = None if inputs.votes is None else _fill(inputs.votes, missing, -1)
    inputs = inputs._replace(
        labels=_fill(labels, missing, label), sample_weight=_fill(weight, missing, 0), votes=votes
    )
    return features, inputs


def _fill_clean(inputs: Inputs, missing: int) -> Inputs:
    """Adds copies of the last clean row (see `copies.of_clean_rows`), of label -1.

    Reviewed rows have flags in any case, so that rows picked by a reviewer need no other program.
    """
    given: Any = inputs.val_given_labels
    random: Any = inputs.val_random
    assert inputs.val_features is not None
    assert inputs.val_labels is not None
    if random is None and given is not None:
        random = np.ones(given.shape[0], bool)
    return inputs._replace(
        val_features=_fill(inputs.val_features, missing, None),
        val_labels=_fill(inputs.val_labels.astype(jnp.int32), missing, -1),
        val_given_labels=None if given is None else _fill(given.astype(jnp.int32), missing, -1),
        val_random=None if random is None else _fill(random, missing, False),
        val_votes=None if inputs.val_votes is None else _fill(inputs.val_votes, missing, -1),
    )


def _fill(rows: Any, missing: int, value: float | None) -> Any:
    """Rows [n, ...] and `missing` more of one value, or copies of the last where it is None.

    NumPy arrays stay such: nothing needs to be compiled. Arrays of JAX stay on their device.
    """
    if not missing:
        return rows
    xp: Any = jnp if isinstance(rows, jax.Array) else np
    shape = (missing, *rows.shape[1:])
    more = xp.full(shape, value, rows.dtype) if value is not None else xp.broadcast_to(rows[-1:], shape)
    return xp.concatenate([rows, more])


@lru_cache(maxsize=PROGRAMS)
def _cutter(rows: int, clean_rows: int) -> Callable[[PurifyResult], PurifyResult]:
    """A compiled function of a result that keeps so many training rows and clean rows."""
    return jax.jit(partial(_cut, rows=rows, clean_rows=clean_rows))


def _cut(result: PurifyResult, rows: int, clean_rows: int) -> PurifyResult:
    of_rows = ("labels", "probs", "confidence", "changed", "label_quality", "baselines")
    kept = {name: jax.tree.map(lambda leaf: leaf[:rows], getattr(result, name)) for name in of_rows}
    history, diagnostics = dict(result.history), dict(result.diagnostics)
    if "labels" in history:
        history["labels"] = history["labels"][:, :rows]
    diagnostics["doubtful_clean_rows"] = diagnostics["doubtful_clean_rows"][:clean_rows]
    return result._replace(**kept, history=history, diagnostics=diagnostics)
