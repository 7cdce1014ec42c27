"""Compiles `purify` for features in memory or on disk, and caches the programs by shapes and types."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.purifier import checks, program
from dmlp_jax.purifier.program import Inputs
from dmlp_jax.purifier.result import PurifyResult
from dmlp_jax.purifier.rows import chunks, disk
from dmlp_jax.purifier.rows.disk import Reader

# Takes a function, its arguments and the number of classes, the only thing besides them that shapes the
# program. Returns a function of these arguments.
Compiler = Callable[[Callable[..., PurifyResult], tuple[Any, Inputs], int], Callable[..., PurifyResult]]
_compiler: ContextVar[Compiler | None] = ContextVar("compiler", default=None)


@contextmanager
def compiling_with(compiler: Compiler) -> Iterator[None]:
    """Inside the block, programs for features in the memory of one device are made by `compiler`.

    Commands, whose process makes one call, keep programs on disk in this way. Everywhere else they are made
    by `jax.jit`.
    """
    token = _compiler.set(compiler)
    try:
        yield
    finally:
        _compiler.reset(token)


def in_memory(features: jax.Array, inputs: Inputs, num_classes: int) -> PurifyResult:
    """Runs `program.run`, compiled, on features [n, d] in the memory of one device."""
    compiler = _compiler.get()
    if compiler is not None and not checks.is_traced((features, inputs)):
        function = partial(program.run, num_classes=num_classes)
        return compiler(function, (features, inputs), num_classes)(features, inputs)
    return _program(num_classes, *_kinds((features, inputs)))(features, inputs)


def from_disk(features: Any, inputs: Inputs, num_classes: int) -> PurifyResult:
    """Runs `program.run`, compiled, on features [n, d] in a file; rows of 0 where there are more labels."""
    shape = (inputs.labels.shape[0], features.shape[1])
    size = disk.limited_chunk_rows(
        shape, chunks.chunk_rows(shape[0], program.entries_per_row(inputs.config, num_classes))
    )
    # Inside a caller's jit even a constant is traced.
    if checks.is_traced((inputs, jnp.zeros(()))):
        # The file becomes part of the caller's program, which reads it at every run.
        return jax.jit(
            partial(program.run, Reader(shape, size, features.dtype, features), num_classes=num_classes)
        )(inputs)
    compiled, source = _disk_program(num_classes, *_kinds(inputs), shape, size, np.dtype(features.dtype))
    with source.reading(features):
        return jax.block_until_ready(compiled(inputs))


def _kinds(arguments: Any) -> tuple[Any, tuple]:
    """The cache key of a program: the tree of its arguments, and the shapes and types of its arrays."""
    leaves, structure = jax.tree.flatten(arguments)
    return structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)


# Most programs in each of the two caches, for features in memory and on disk. Arguments of other shapes,
# types or static settings need another program. JAX would keep them all; compiled for a CPU, one takes a
# thousand memory maps, of which Linux allows a process 65,530.
PROGRAMS = 16


@lru_cache(maxsize=PROGRAMS)
def _program(num_classes: int, structure: Any, kinds: tuple) -> Callable[[Any, Inputs], PurifyResult]:
    """Returns the compiled `program.run` for arguments of these shapes and types.

    Args:
        num_classes: c.
        structure: see `_kinds`.
        kinds: see `_kinds`.
    """
    del structure, kinds  # Only keys of the cache.
    # JAX frees a program together with its function, so each program gets its own function.
    return jax.jit(partial(program.run, num_classes=num_classes))


@lru_cache(maxsize=PROGRAMS)
def _disk_program(
    num_classes: int, structure: Any, kinds: tuple, shape: tuple[int, int], size: int, dtype: np.dtype
) -> tuple[Callable[[Inputs], PurifyResult], Reader]:
    """Returns the compiled `program.run` for features on disk, and the reader that passes it their chunks.

    Args:
        num_classes: c.
        structure: see `_kinds`, of all arguments except the features.
        kinds: likewise.
        shape: of the features, (n, d).
        size: rows of a chunk.
        dtype: of the features.
    """
    del structure, kinds
    source = Reader(shape, size, dtype)
    return jax.jit(partial(program.run, source, num_classes=num_classes)), source
