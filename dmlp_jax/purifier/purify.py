"""`purify`: noisy labels and a small clean set in, purified labels out."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dmlp_jax.purifier import checks, program, reader, rows, settings_checks, spread
from dmlp_jax.purifier.config import PurifyConfig
from dmlp_jax.purifier.program import Inputs
from dmlp_jax.purifier.reader import Reader
from dmlp_jax.purifier.result import PurifyResult


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
        features: features of the training rows [n, d], from an encoder that did not see these labels, any
            type of number and any scale, but one for all: columns are not scaled one by one. A NumPy memory
            map, or another array-like that is sliced from disk, is never loaded whole but read once in every
            round, and a few times before and after. A `jax.Array` whose rows are spread over devices or hosts
            stays so, and so do the results; not inside `jax.jit`. The paper preset wants features in the
            memory of one device.
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
    key = jax.random.key(0) if key is None else key
    matrix, inputs, num_classes = _check(
        features, labels, val, num_classes, val_given_labels, sample_weight, config, key
    )
    if reader.is_on_disk(matrix):
        return _from_disk(matrix, inputs, num_classes)
    placement = spread.placement(matrix)
    if placement is not None:
        if checks.is_traced(inputs):
            raise checks.InputError(
                "features are spread over devices: call purify outside jax.jit and jax.vmap, it is compiled "
                "for the devices as it is"
            )
        return spread.run(placement, matrix, inputs, num_classes)
    return _program(num_classes, *_kinds((matrix, inputs)))(matrix, inputs)


def _from_disk(features: Any, inputs: Inputs, num_classes: int) -> PurifyResult:
    """`program.run` on features [n, d] in a file."""
    shape = tuple(features.shape)
    size = reader.chunk_rows(
        shape, rows.chunk_rows(shape[0], program.entries_per_row(inputs.config, num_classes))
    )
    # Inside a caller's jit even a constant is traced.
    if checks.is_traced((inputs, jnp.zeros(()))):
        # The caller's program reads the file whenever it runs.
        return jax.jit(
            partial(program.run, Reader(shape, size, features.dtype, features), num_classes=num_classes)
        )(inputs)
    compiled, source = _disk_program(num_classes, *_kinds(inputs), shape, size, np.dtype(features.dtype))
    with source.reading(features):
        return jax.block_until_ready(compiled(inputs))


def _kinds(arguments: Any) -> tuple[Any, tuple]:
    """What tells one program from another: the tree of its arguments, and shapes and types of its arrays."""
    leaves, structure = jax.tree.flatten(arguments)
    return structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)


# Programs that are kept, and as many that read files, each for arguments of other shapes, types or static
# settings. JAX would keep them all; compiled for a CPU one takes a thousand memory maps, of which Linux
# allows a process 65,530.
PROGRAMS = 16


@lru_cache(maxsize=PROGRAMS)
def _program(num_classes: int, structure: Any, kinds: tuple) -> Callable[[Any, Inputs], PurifyResult]:
    """The compiled `program.run` of one kind of arguments, least recently used ones forgotten.

    Args:
        num_classes: c.
        structure: see `_kinds`.
        kinds: see `_kinds`.
    """
    del structure, kinds  # What tells one program from another.
    # JAX forgets a program with its function, so each has a function of its own.
    return jax.jit(partial(program.run, num_classes=num_classes))


@lru_cache(maxsize=PROGRAMS)
def _disk_program(
    num_classes: int, structure: Any, kinds: tuple, shape: tuple[int, int], size: int, dtype: np.dtype
) -> tuple[Callable[[Inputs], PurifyResult], Reader]:
    """As `_program`, for features on disk, and the reader that hands it their chunks.

    Args:
        num_classes: c.
        structure: see `_kinds`, of all but the features.
        kinds: likewise.
        shape: of the features, (n, d).
        size: rows of a chunk.
        dtype: of the features.
    """
    del structure, kinds
    source = Reader(shape, size, dtype)
    return jax.jit(partial(program.run, source, num_classes=num_classes)), source


def _as_float32(value: Any) -> ArrayLike:
    return value.astype(jnp.float32) if isinstance(value, jax.Array) else np.float32(value)


def _check(
    features: ArrayLike,
    labels: ArrayLike,
    val: tuple[ArrayLike, ArrayLike],
    num_classes: int | None,
    val_given_labels: ArrayLike | None,
    sample_weight: ArrayLike | None,
    config: PurifyConfig,
    key: jax.Array,
) -> tuple[Any, Inputs, int]:
    """The arguments of `purify` as `program.run` takes them."""
    # Values of concrete arrays can be looked at even while a caller's jit traces around them.
    with jax.ensure_compile_time_eval():
        settings_checks.check_config(config)
        key = settings_checks.check_key(key)
        if num_classes is not None:
            num_classes = checks.check_num_classes(num_classes)
        matrix = _check_training_features(features, config)
        val_features, val_labels = _unpack(val)
        if reader.is_on_disk(val_features):
            val_features = np.asarray(val_features[:])
        val_features = checks.check_features("val features", val_features)
        checks.check_width("val features", val_features, "features", matrix)
        labels = checks.check_labels("labels", labels, matrix.shape[0], num_classes)
        val_labels = checks.check_labels("val labels", val_labels, val_features.shape[0], num_classes)
        if val_labels.ndim != 1:
            raise checks.InputError(
                f"val labels must be class indices [m], got shape {tuple(val_labels.shape)}: clean labels "
                "are certain; pass their classes, for instance val_labels.argmax(axis=1)"
            )
        num_classes = checks.check_num_classes(num_classes, labels, val_labels)
        checks.check_labels("val labels", val_labels, val_features.shape[0], num_classes)
        checks.check_every_class("val labels", val_labels, num_classes)
        if val_given_labels is not None:
            val_given_labels = checks.check_labels(
                "val_given_labels", val_given_labels, val_features.shape[0], num_classes
            )
            if val_given_labels.ndim != 1:
                raise checks.InputError(
                    f"val_given_labels must be class indices [m], got shape {tuple(val_given_labels.shape)}; "
                    "pass the classes, for instance val_given_labels.argmax(axis=1)"
                )
        if sample_weight is not None:
            sample_weight = checks.check_weight("sample_weight", sample_weight, matrix.shape[0])
    # Numbers of one type, so that a new value is never a new program.
    config = jax.tree.map(_as_float32, config)
    inputs = Inputs(labels, sample_weight, val_features, val_labels, val_given_labels, config, key)
    return matrix, inputs, num_classes


def _check_training_features(features: ArrayLike, config: PurifyConfig) -> Any:
    """Features as an array, or as they are where they lie on disk."""
    on_disk = reader.is_on_disk(features)
    features = spread.off_a_mesh_of_one(checks.check_features("features", features))
    where = "on disk" if on_disk else "spread over devices" if spread.placement(features) else None
    if where and config.preset == "paper":
        raise checks.InputError(
            f"features are {where}, but the paper preset takes its rows in turn, batch after batch; load "
            "them into the memory of one device, or use the default preset"
        )
    return features


def _unpack(val: Any) -> tuple[Any, Any]:
    if not isinstance(val, (tuple, list)) or len(val) != 2:
        raise checks.InputError(
            f"val must be a pair (val_features, val_labels), got {type(val).__name__}; pass the clean rows' "
            "features and their labels as a tuple"
        )
    return val[0], val[1]
