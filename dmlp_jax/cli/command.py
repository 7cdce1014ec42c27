"""Runs `dmlp-purify`: reads features and labels, purifies, writes labels, a list of issues and a report."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from dmlp_jax.cli.parser import make_parser
from dmlp_jax.errors import UserError
from dmlp_jax.runtime import console as streams

# Share of the total variance from which on a single feature is reported as dominating.
ONE_FEATURE = 0.9
# Most rows that the variances are computed from.
VARIANCE_ROWS = 1000


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status: 0, 2 after an error of the user, 130 after Ctrl-C."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        run(make_parser().parse_args(words), words)
    except UserError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    return 0


def run(arguments: argparse.Namespace, words: Sequence[str] = ()) -> None:
    """Reads the input files, purifies the labels and writes the results.

    Args:
        arguments: as `make_parser` reads them.
        words: the command line that they come from, for the report to repeat.

    Raises:
        UserError: an error of the user, such as a missing file.
    """
    # Imported late, so that --help and errors in arguments do not wait for jax.
    from dmlp_jax.cli import compiling, outputs
    from dmlp_jax.report import feature_map

    outputs.check_folder(arguments.out, arguments.overwrite)
    feature_map.check(arguments.map)
    with compiling.set_up(arguments.compile_cache, not arguments.no_compile_cache):
        _run(arguments, words)


def _run(arguments: argparse.Namespace, words: Sequence[str]) -> None:
    import jax
    import numpy as np

    from dmlp_jax.cli import compiling, outputs, rerun
    from dmlp_jax.cli.inputs import labelled_rows, reviewed_rows
    from dmlp_jax.purifier import InputError, PurifyConfig, purify
    from dmlp_jax.runtime.timing import stopwatch

    rows = labelled_rows.load(_sources(arguments), _draw(arguments))
    reviewed = None
    if arguments.apply:
        reviewed = reviewed_rows.fold(rows, arguments.apply)
        rows = reviewed.rows
    image_of = _image_of(arguments, rows)
    again = rerun.after_review(words, arguments.out, arguments.apply or ())
    print(_describe(rows), flush=True)
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
        contents = outputs.write(arguments.out, rows, result, settings, seconds, image_of, reviewed, again)
    except OSError as error:
        raise UserError(f"cannot write to {arguments.out}: {error.strerror}") from error
    print(f"\n{outputs.table(contents)}\n")
    for name in outputs.NAMES:
        print(arguments.out / name)


def _sources(arguments: argparse.Namespace) -> Any:
    from dmlp_jax.cli.inputs.input_files import Sources

    return Sources(
        features=arguments.features,
        labels=arguments.labels,
        val_features=arguments.val_features,
        val_labels=arguments.val_labels,
        val_index=arguments.val_index,
        val_given_labels=arguments.val_given_labels,
        val_random=arguments.val_random,
        label_column=arguments.label_column,
        feature_columns=_names(arguments.feature_columns),
        id_column=arguments.id_column,
        show_columns=_names(arguments.show_columns) or (),
        num_classes=arguments.num_classes,
    )


def _names(text: str | None) -> tuple[str, ...] | None:
    """Comma-separated names of columns."""
    return None if text is None else tuple(filter(None, text.split(",")))


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


def _image_of(arguments: argparse.Namespace, rows: Any) -> Any:
    """The function from a row of the file to its picture, or None without --images."""
    from dmlp_jax.cli.inputs import input_files, row_images

    if arguments.images is None:
        if arguments.image_names is not None:
            raise UserError("--image-names needs --images, the folder of the images")
        return None
    if arguments.image_names is not None:
        names = input_files.read_labels(arguments.image_names)
        paths = row_images.find(arguments.images, rows.file_rows, names)
    elif rows.ids is not None:
        paths = row_images.find(arguments.images, rows.file_rows, rows.ids)
    else:
        paths = row_images.find(arguments.images, rows.file_rows)
    return lambda row: row_images.thumbnail(paths[row])


def _describe(rows: Any) -> str:
    shown = ", ".join(rows.class_names[:8]) + (", ..." if len(rows.class_names) > 8 else "")
    lines = [
        f"{len(rows.labels):,} rows to purify and {len(rows.val_labels):,} clean ones, "
        f"{rows.features.shape[1]:,} features, {len(rows.class_names)} classes: {shown}"
    ]
    if rows.left_out:
        lines.append(
            f"not used as features (row numbers, or not numeric): {', '.join(map(repr, rows.left_out))}"
        )
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
    sys.exit(main())


if __name__ == "__main__":
    console()
