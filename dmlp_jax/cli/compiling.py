"""Decides how `dmlp-purify` compiles its program, and where it keeps it for later runs."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from dmlp_jax import purifier
from dmlp_jax.purifier import compiled
from dmlp_jax.purifier.base import lapack
from dmlp_jax.runtime import cache_folder, compile_cache, programs
from dmlp_jax.storage import addresses

# Rows times classes up to which a quick compilation saves more time than the slower program takes. On one
# core, 10,000 rows of 256 features and 10 classes take 11 s less to compile and 1.7 s more to run.
QUICK = 2**17
# Of XLA's compiler for CPUs: no optimisation of the machine code, and the older code generator.
OPTIONS = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


@contextlib.contextmanager
def set_up(cache: str | None, keep: bool) -> Iterator[None]:
    """Inside the block, `purify` and all else that JAX compiles use the cache of compiled programs.

    LAPACK takes one thread there, also for the report: see `purifier/base/lapack.py`.

    Args:
        cache: the folder that the user named; by default see `cache_folder.find`.
        keep: whether anything is read from a cache or written to one.

    Raises:
        UserError: the folder that was named cannot be written to.
    """
    if cache is not None:
        addresses.refuse_address(Path(cache), "--compile-cache")
    keep = keep and jax.config.values["jax_enable_compilation_cache"]
    folder = cache_folder.find(cache) if keep else None
    # JAX follows its own variable by itself, with the user's own thresholds.
    own = folder is not None and (cache is not None or not os.environ.get(cache_folder.VARIABLE))
    with (
        compile_cache.kept_in(str(folder) if own else "") if keep else compile_cache.off(),
        compiled.compiling_with(_compiler(folder)),
        lapack.one_thread(),
    ):
        yield


def options(rows: int, num_classes: int, paper: bool) -> dict[str, Any]:
    """XLA's compile options for data of this size, without those that the user set in XLA_FLAGS.

    Args:
        rows: training rows and clean rows.
        num_classes: c.
        paper: whether the preset is the paper's, which passes over the rows hundreds of times.
    """
    if paper or rows * num_classes > QUICK:
        return {}
    flags = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in OPTIONS.items() if f"--{name}" not in flags}


def announce(folder: Path | None) -> None:
    """Says that compiling begins, and where the program is kept."""
    kept = "" if folder is None else f"; later runs on data of this size find the program in {folder}"
    print(f"compiling ...{kept}", flush=True)


def _compiler(folder: Path | None) -> compiled.Compiler:
    def compiler(function: Callable, arguments: tuple, num_classes: int) -> Callable:
        features, inputs = arguments
        rows = features.shape[0] + (0 if inputs.val_features is None else inputs.val_features.shape[0])
        paper = isinstance(inputs.config, purifier.PaperConfig)
        return programs.load_or_compile(
            function,
            arguments,
            source=Path(purifier.__file__).parent,
            static=num_classes,
            folder=folder,
            options=options(rows, num_classes, paper),
            before_compiling=lambda: announce(folder),
        )

    return compiler
