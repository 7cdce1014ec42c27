"""Configures JAX's persistent compilation cache, so that later processes need not compile again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

from dmlp_jax.errors import UserError


@contextmanager
def kept_in(folder: str) -> Iterator[None]:
    """Inside the block, JAX reads compiled programs from `folder` and writes new ones to it.

    Every program is kept, however small or quickly compiled; JAX's default thresholds would skip most
    programs of a small data set. JAX's previous settings are restored when the block ends.

    Args:
        folder: path or gs:// address, created if absent; '' leaves JAX's own setting, the environment
            variable JAX_COMPILATION_CACHE_DIR, as it is. Programs compiled for a CPU work only on machines
            with the same instruction set.

    Raises:
        UserError: the folder cannot be created.
    """
    if not folder:
        yield
        return
    if "://" not in folder:
        folder = str(Path(folder).expanduser().absolute())
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"compile_cache is {folder!r}, which cannot be made ({error.strerror}); name another folder, "
                "or set it to ''"
            ) from error
    wanted = {
        "jax_compilation_cache_dir": folder,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in wanted}
    try:
        _set(wanted)
        yield
    finally:
        _set(before)


@contextmanager
def off() -> Iterator[None]:
    """Inside the block, JAX neither reads compiled programs from a folder nor writes any."""
    before = {"jax_compilation_cache_dir": jax.config.values["jax_compilation_cache_dir"]}
    try:
        _set({"jax_compilation_cache_dir": None})
        yield
    finally:
        _set(before)


def _set(values: dict[str, object]) -> None:
    for name, value in values.items():
        jax.config.update(name, value)
    # JAX reads these settings only when it opens its cache, at the first compilation of the process.
    compilation_cache.reset_cache()
