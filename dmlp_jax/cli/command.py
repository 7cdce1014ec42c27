"""Runs `dmlp-purify`: reads features and labels, purifies, writes labels, a list of issues and a report."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from dmlp_jax.cli.parser import make_parser
from dmlp_jax.errors import UserError
from dmlp_jax.runtime import console as streams
from dmlp_jax.runtime import interrupts

# Share of the total variance from which on a single feature is reported as dominating.
ONE_FEATURE = 0.9
# Most rows that the variances are computed from.
VARIANCE_ROWS = 1000
_WARNING = "warning: "


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status: 0, 2 after an error of the user, 130 after Ctrl-C."""
    try:
        run(make_parser().parse_args(argv))
    except UserError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("interrupted", interrupts.INTERRUPTED)
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Reads the input files, purifies the labels and writes the results.

    Raises:
        UserError: an error of the user, such as a missing file.
    """
    # Imported late, so that --help and errors in arguments do not wait for jax.
    from dmlp_jax.cli import compiling, outputs, suggestions
    from dmlp_jax.report import feature_map

    outputs.check_folder(arguments.out, arguments.overwrite)
    if arguments.suggest:
        suggestions.check_folder(arguments.out)
    feature_map.check(arguments.map)
    with compiling.set_up(arguments.compile_cache, not arguments.no_compile_cache), _silence(arguments.quiet):
        _run(arguments)


@contextlib.contextmanager
def _silence(quiet: bool) -> Iterator[None]:
    """Drops what is printed in the block, if asked to; warnings go to stderr."""
    if not quiet:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _run(arguments: argparse.Namespace) -> None:
    import jax
    import numpy as np

    from dmlp_jax.cli import compiling, conflicts, outputs, suggestions
    from dmlp_jax.cli.inputs import clean_rows, labelled_rows, reviewed_rows
    from dmlp_jax.purifier import InputError, PurifyConfig, purify
    from dmlp_jax.runtime.timing import stopwatch

    incomplete = bool(arguments.apply or arguments.suggest)
    rows = labelled_rows.load(_sources(arguments), _draw(arguments), needs_clean=not incomplete)
    reviewed = None
    if arguments.apply:
        reviewed = reviewed_rows.fold(rows, arguments.apply)
        rows = reviewed.rows
    if arguments.suggest:
        suggestions.check_count(rows, arguments.suggest)
    pictures = _pictures(arguments, rows)
    image_of = _image_of(pictures, rows)
    described = _describe(rows)
    print(described, flush=True)
    if arguments.quiet:
        _warn(line for line in described.splitlines() if line.startswith(_WARNING))
    for note in () if reviewed is None else (*reviewed.notes, *filter(None, [conflicts.described(reviewed)])):
        print(note, flush=True)
    if reviewed is not None and reviewed.conflicts:
        conflicts.check_folder(arguments.out)
    shown = {}
    if pictures is not None:
        shown["image"] = [path.relative_to(arguments.images).as_posix() for path in pictures]
    if reviewed is not None and reviewed.conflicts and suggestions.lacks_class(rows):
        # Before what may be missing ends the command.
        print(conflicts.write(arguments.out, reviewed), flush=True)
    if arguments.suggest and suggestions.lacks_class(rows):
        print(f"\n{suggestions.write(arguments.out, rows, arguments.suggest, arguments.seed, shown=shown)}")
        return
    if incomplete:
        clean_rows.check_every_class({"val labels": rows.val_labels}, rows.class_names)
    config = PurifyConfig.paper() if arguments.preset == "paper" else PurifyConfig()
    if isinstance(rows.features, np.memmap):
        compiling.announce(None)  # Such a program calls back into Python, so it is never kept.
    try:
        with stopwatch() as seconds:
            outputs.load_early()
            result = purify(
                rows.features,
                rows.labels,
                (rows.val_features, rows.val_labels),
                num_classes=len(rows.class_names),
                val_given_labels=rows.val_given_labels,
                val_random=rows.val_random,
                config=config,
                key=jax.random.key(arguments.seed),
            )
            result = jax.tree.map(np.asarray, result)
    except InputError as error:
        raise UserError(str(error)) from error
    settings = {name: _plain(value) for name, value in vars(arguments).items()}
    try:
        contents = outputs.write(arguments.out, rows, result, settings, seconds, image_of, reviewed)
    except OSError as error:
        raise UserError(f"cannot write to {arguments.out}: {error.strerror}") from error
    if arguments.quiet:
        _warn(f"{_WARNING}{text}" for text in contents["warnings"])
    print(f"\n{outputs.table(contents)}\n")
    for name in outputs.NAMES:
        print(arguments.out / name)
    if reviewed is not None and reviewed.conflicts:
        print(f"\n{conflicts.write(arguments.out, reviewed)}")
    if arguments.suggest:
        told = suggestions.write(arguments.out, rows, arguments.suggest, arguments.seed, result, shown)
        print(f"\n{told}")


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def _sources(arguments: argparse.Namespace) -> Any:
    from dmlp_jax.cli.inputs.input_files import Sources

    columns = arguments.feature_columns
    return Sources(
        features=arguments.features,
        labels=arguments.labels,
        val_features=arguments.val_features,
        val_labels=arguments.val_labels,
        val_index=arguments.val_index,
        val_given_labels=arguments.val_given_labels,
        val_random=arguments.val_random,
        label_column=arguments.label_column,
        feature_columns=None if columns is None else tuple(filter(None, columns.split(","))),
        id_column=arguments.id_column,
        num_classes=arguments.num_classes,
    )


def _draw(arguments: argparse.Namespace) -> Any:
    """The function that draws clean rows, or None without --draw-clean."""
    if arguments.draw_clean is None:
        return None

    def draw(features: Any, labels: Any, num_classes: int) -> tuple[Any, float]:
        import jax

        from dmlp_jax.purifier import likely_clean

        found = likely_clean.estimate(features, labels, num_classes)
        key = jax.random.fold_in(jax.random.key(arguments.seed), 1)
        return likely_clean.draw(found.correct, labels, arguments.draw_clean, key), found.noise_rate

    return draw


def _pictures(arguments: argparse.Namespace, rows: Any) -> list[Path] | None:
    """The picture of every row of the file, or None without --images."""
    from dmlp_jax.cli.inputs import input_files, row_images

    if arguments.images is None:
        if arguments.image_names is not None:
            raise UserError("--image-names needs --images, the folder of the images")
        return None
    if arguments.image_names is not None:
        names = input_files.read_labels(arguments.image_names)
        return row_images.find(arguments.images, rows.file_rows, names)
    if rows.ids is not None:
        return row_images.find(arguments.images, rows.file_rows, rows.ids)
    return row_images.find(arguments.images, rows.file_rows)


def _image_of(pictures: list[Path] | None, rows: Any) -> Any:
    """The function from a noisy row to its picture, or None without pictures."""
    from dmlp_jax.cli.inputs import row_images

    if pictures is None:
        return None
    return lambda row: row_images.thumbnail(pictures[rows.row_numbers[row]])


def _describe(rows: Any) -> str:
    from dmlp_jax.cli.inputs import columns
    from dmlp_jax.data import class_names

    shown = ", ".join(rows.class_names[:8]) + (", ..." if len(rows.class_names) > 8 else "")
    lines = [
        f"{len(rows.labels):,} rows to purify and {len(rows.val_labels):,} clean ones, "
        f"{rows.features.shape[1]:,} features, {len(rows.class_names)} classes: {shown}"
    ]
    if rows.columns is not None:
        lines.append(columns.described(rows.columns, rows.left_out))
    lines += _of_label_codes(rows)
    lines += [f"{_WARNING}{text}" for text in class_names.near_equal(rows.class_names)]
    lines += _of_given_labels(rows)
    lines += _of_one_feature(rows.features)
    return "\n".join(lines)


def _of_given_labels(rows: Any) -> list[str]:
    """How many given labels of the clean rows are known, and how many of these are wrong; or nothing."""
    if rows.val_given_labels is None:
        return []
    known = rows.val_given_labels >= 0
    wrong = int((rows.val_given_labels != rows.val_labels)[known].sum())
    return [
        f"{int(known.sum()):,} of {len(known):,} clean rows have a known given label; {wrong:,} are wrong"
    ]


def _of_label_codes(rows: Any) -> list[str]:
    """A warning about features that are a code of the given label; empty if there is none."""
    from dmlp_jax.cli.inputs import columns

    found = columns.telling(rows.features, rows.labels)
    if not len(found):
        return []
    named = rows.columns is not None and len(rows.columns) == rows.features.shape[1]
    shown = [repr(rows.columns[place]) if named else str(place) for place in found[:8]]
    counted = "" if named else ", counted from 0,"
    return [
        f"{_WARNING}feature {', '.join(shown)}{counted} tells the given label exactly, so it cannot show "
        "which labels are wrong; leave it out unless it comes from another source than the labels"
    ]


def _of_one_feature(features: Any) -> list[str]:
    """A warning about a feature of a matrix [n, d] that has nearly all the variance; empty if there is none.

    The variances are computed from a sample of the rows, without copying the matrix.
    """
    import numpy as np

    some = np.asarray(features[:: -(-len(features) // VARIANCE_ROWS)], np.float64)
    with np.errstate(invalid="ignore"):
        variances = np.var(some, axis=0)
    largest, total = int(np.argmax(variances)), float(np.sum(variances))
    # NaN compares as false here; `purify` reports where it is.
    if features.shape[1] < 2 or not variances[largest] > ONE_FEATURE * total:
        return []
    return [
        f"feature {largest}, counted from 0, has {variances[largest] / total:.1%} of the variance of all "
        "features and dominates the result; if their units differ, divide each by its standard deviation"
    ]


def _plain(value: Any) -> Any:
    """An argument as a JSON value."""
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def _fail(message: str, status: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return status


def console() -> NoReturn:
    """Entry point of `dmlp-purify`."""
    streams.accept_any_text()
    streams.outlive_readers()
    interrupts.end_promptly("error: interrupted")
    status = main()
    if status == interrupts.INTERRUPTED:
        interrupts.end(status)
    sys.exit(status)


if __name__ == "__main__":
    console()
