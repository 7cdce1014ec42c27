"""Finds the image files that cannot be decoded, before training starts, so that they can be left out."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dmlp_jax.data import prefetch
from dmlp_jax.data.images import workers
from dmlp_jax.data.images.decode import inspect_all
from dmlp_jax.errors import UserError
from dmlp_jax.runtime import hosts
from dmlp_jax.storage import files

# Number of files submitted to the worker processes at a time.
_BATCH = 4096


def broken(
    paths: list[str],
    num_workers: int,
    record: Path | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, str]:
    """The files that cannot be decoded or are missing, with the reason.

    Args:
        paths: the image files.
        num_workers: number of processes; 0 for one per core.
        record: JSON file that caches the result. It is reused while the files' names, sizes and modification
            times are unchanged. None checks all files without a cache.
        progress: called after each batch with the number of files checked so far.

    Raises:
        UserError: a worker process died, or the record is damaged.
    """
    return hosts.agree(lambda: _broken(paths, num_workers, record, progress))


def _broken(
    paths: list[str], num_workers: int, record: Path | None, progress: Callable[[int], None]
) -> dict[str, str]:
    stamp = _stamp(paths) if record else ""
    if record and record.exists():
        known = files.load_json(record)
        if known.get("stamp") == stamp:
            return known["broken"]
    found: dict[str, str] = {}
    starts = range(0, len(paths), _BATCH)
    parts = prefetch.ahead(
        starts,
        lambda start: workers.submit(inspect_all, paths[start : start + _BATCH], workers=num_workers),
        depth=1,
    )
    for start, futures in parts:
        reasons = [reason for part in workers.results(futures) for reason in part]
        names = paths[start : start + _BATCH]
        found |= {name: reason for name, reason in zip(names, reasons, strict=True) if reason}
        progress(start + len(names))
    if record:
        files.save_json(record, {"stamp": stamp, "images": len(paths), "broken": found})
    return found


def refuse_many(found: dict[str, str], total: int, most: float) -> None:
    """Raises a UserError if more than the share `most` of all files cannot be decoded."""
    if len(found) > most * total:
        name, reason = next(iter(found.items()))
        raise UserError(
            f"{len(found):,} of {total:,} images cannot be decoded, the first of them {name} ({reason}); "
            "`python -m dmlp_jax.data.check` lists them. data.max_broken is the share that may be left out, "
            f"{most} now"
        )


def _stamp(paths: list[str]) -> str:
    total = 0
    for path in paths:
        try:
            state = Path(path).stat()
            entry = f"{path}\0{state.st_size}\0{state.st_mtime_ns}\n"
        except OSError:
            entry = f"{path}\0missing\n"
        total = zlib.crc32(entry.encode(errors="surrogateescape"), total)
    return f"{total:08x}"


def keep(paths: list[str], found: dict[str, str]) -> np.ndarray:
    """Mask of the files that can be decoded, bool [n]."""
    return np.array([path not in found for path in paths], bool)
