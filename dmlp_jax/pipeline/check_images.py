"""Checks the files of a data set: `python -m dmlp_jax.data.check --config=FILE [--out=FILE.csv]`.

Lists missing and broken files and those that are not used, and counts rows by class. The exit status is 0 if
every image of the data set can be decoded, 1 if files are missing or broken, 2 if it cannot be used at all.
"""

import csv
import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import app
from absl import flags as absl_flags
from ml_collections import ConfigDict

from dmlp_jax.data import datasets
from dmlp_jax.data.images import scan
from dmlp_jax.data.sets import image_sets
from dmlp_jax.data.sets.image_sets import Listing
from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import flags
from dmlp_jax.runtime import console as streams
from dmlp_jax.runtime import interrupts
from dmlp_jax.storage import files

# Most broken files that are printed; --out lists all of them.
SHOWN = 20


class Checked(NamedTuple):
    """What `check` found.

    Attributes:
        broken: files that are missing or cannot be decoded, with the reason.
        left_out: files that are not used, with the reason.
    """

    broken: dict[str, str]
    left_out: dict[str, str]


def check(data: ConfigDict, seed: int) -> Checked:
    """Prints the contents of the data set, and finds files that are broken, missing or not used.

    The files are listed and decoded by the code that a run uses.

    Args:
        data: the `data` settings.
        seed: seed, as for `datasets.load`.

    Raises:
        UserError: the data set cannot be used.
    """
    datasets.describe(data.name)
    if data.name not in datasets.LISTINGS:
        dataset = datasets.load(data, seed)
        labels = dataset.labels if dataset.labels is not None else dataset.given_labels
        print(f"{data.name}: {len(dataset.inputs):,} rows of shape {dataset.inputs.shape[1:]}")
        known = {"train": labels, "val": dataset.val_labels, "test": dataset.test_labels}
        _counts(dataset.class_names, {name: part for name, part in known.items() if part is not None})
        return Checked({}, {})
    image_sets.check_size(data.image_size)
    listing = datasets.LISTINGS[data.name](Path(data.dir).expanduser())
    return _check_files(listing, data)


def _check_files(listing: Listing, data: ConfigDict) -> Checked:
    paths = [path for part in listing.parts().values() for path in part.paths]
    start = time.monotonic()

    def progress(done):
        rate = done / max(time.monotonic() - start, 1e-9)
        print(f"checked {done:,} of {len(paths):,} images, {rate:,.0f} a second", flush=True)

    found = scan.broken(paths, data.workers, progress=progress)
    kept = {name: part.labels[scan.keep(part.paths, found)] for name, part in listing.parts().items()}
    _counts(listing.class_names, kept)
    gigabytes = (len(paths) - len(found)) * 3 * data.image_size**2 / 1e9
    place = "kept in memory" if gigabytes <= data.memory_gb else "decoded anew whenever they are needed"
    print(f"{gigabytes:,.2f} GB of pixels at data.image_size {data.image_size}: {place}")
    for name, labels in kept.items():
        absent = np.setdiff1d(np.arange(len(listing.class_names)), labels)
        if absent.size and name in ("train", "val"):
            raise UserError(f"{name} has no image of class {listing.class_names[absent[0]]!r}")
    account = listing.account
    for line in account.lines() if account else ():
        print(line)
    return Checked(found, account.left_out() if account else {})


def _counts(names: Sequence[str], parts: dict[str, np.ndarray]) -> None:
    width = max(len("class"), *(len(name) for name in names))
    print("class".ljust(width) + "".join(part.rjust(12) for part in parts))
    for label, name in enumerate(names):
        print(name.ljust(width) + "".join(f"{np.sum(labels == label):12,}" for labels in parts.values()))
    print("all".ljust(width) + "".join(f"{len(labels):12,}" for labels in parts.values()))


def main(argv: Sequence[str]) -> int:
    """Checks the configured data set; returns the exit status."""
    if len(argv) > 1:
        raise UserError(f"unexpected argument {argv[1]!r}; settings are given as --config.key=value")
    config = absl_flags.FLAGS.config
    found, left_out = check(config.data, config.seed)
    if absl_flags.FLAGS.out:
        text = io.StringIO()
        csv.writer(text).writerows([("path", "reason"), *found.items(), *left_out.items()])
        files.save_text(Path(absl_flags.FLAGS.out), text.getvalue())
    for path, reason in list(found.items())[:SHOWN]:
        print(f"{path}: {reason}")
    if len(found) > SHOWN:
        print(f"and {len(found) - SHOWN:,} more; --out=FILE.csv writes all of them")
    if found:
        print(f"{len(found):,} files are missing or broken")
    elif left_out:
        print("every image of the class folders can be decoded; the files named above are not used")
    else:
        print("the data set is complete")
    return 1 if found else 0


def console() -> None:
    """Entry point of `python -m dmlp_jax.data.check`."""
    streams.accept_any_text()
    streams.outlive_readers()
    interrupts.end_promptly("error: interrupted")
    try:
        flags.check_arguments(sys.argv)
        flags.define_config()
        absl_flags.DEFINE_string("out", None, "A CSV file for the list of missing, broken and unused files.")
        app.run(_guarded)
    except (UserError, absl_flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _guarded(argv: Sequence[str]) -> int:
    try:
        return main(argv)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        interrupts.end(interrupts.INTERRUPTED)


if __name__ == "__main__":
    console()
