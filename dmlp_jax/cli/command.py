"""Runs `dmlp-purify`: reads rows and labels, purifies, writes labels, a list of issues and a report."""

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
    """Runs the command; returns the exit status.

    0, 2 after an error of the user, 3 where --fail-over finds too many wrong labels, 130 after Ctrl-C.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        return run(make_parser().parse_args(words), words)
    except UserError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("interrupted", interrupts.INTERRUPTED)


def run(arguments: argparse.Namespace, words: Sequence[str] = ()) -> int:
    """Reads the input files, purifies the labels and writes the results; returns the exit status.

    Args:
        arguments: as `make_parser` reads them.
        words: the command line that they come from, for the report to repeat.

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
    if arguments.fail_over is not None and arguments.earlier is None:
        raise UserError("--fail-over needs --with FOLDER, the earlier run that labels are judged by")
    with compiling.set_up(arguments.compile_cache, not arguments.no_compile_cache), _silence(arguments.quiet):
        if arguments.earlier is not None:
            return _audit(arguments)
        _run(arguments, words)
    return 0


def _audit(arguments: argparse.Namespace) -> int:
    """Judges new rows by an earlier run, see `audit.py`."""
    from dmlp_jax.cli import audit

    learning = {
        "--val-features": arguments.val_features,
        "--val-labels": arguments.val_labels,
        "--val-index": arguments.val_index,
        "--draw-clean": arguments.draw_clean,
        "--apply": arguments.apply,
        "--suggest": arguments.suggest,
        "--accept-risk": arguments.accept_risk,
        "--annotator-column": arguments.annotator_column,
        "--feature-columns": arguments.feature_columns,
    }
    for option, value in learning.items():
        if value is not None:
            raise UserError(
                f"{option} is for a run that learns; --with judges by an earlier one, so leave it out"
            )
    settings = {name: _plain(value) for name, value in vars(arguments).items()}
    return audit.run(arguments.earlier, _sources(arguments), arguments.out, arguments.fail_over, settings)


@contextlib.contextmanager
def _silence(quiet: bool) -> Iterator[None]:
    """Drops what is printed in the block, if asked to; warnings go to stderr."""
    if not quiet:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _run(arguments: argparse.Namespace, words: Sequence[str]) -> None:
    import jax
    import numpy as np

    from dmlp_jax.cli import compiling, conflicts, first_look, outputs, rerun, risk, suggestions
    from dmlp_jax.cli.inputs import labelled_rows, reviewed_rows
    from dmlp_jax.purifier import InputError, PurifyConfig, accept, purify
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
    again = rerun.after_review(words, arguments.out, arguments.apply or ())
    described = _describe(rows)
    print(described, flush=True)
    if arguments.quiet:
        _warn(line for line in described.splitlines() if line.startswith(_WARNING))
    for note in () if reviewed is None else (*reviewed.notes, *filter(None, [conflicts.described(reviewed)])):
        print(note, flush=True)
    if reviewed is not None and reviewed.conflicts:
        conflicts.check_folder(arguments.out)
    if first_look.is_needed(rows):
        with stopwatch() as seconds:
            looked = first_look.look(rows)
        _write(arguments, rows, looked, seconds, pictures, reviewed, again)
        if arguments.accept_risk is not None:
            print("no label is accepted at a risk: not every class has a reviewed row")
        if not arguments.suggest:
            print(f"\n{first_look.next_step(rows, arguments.out)}.")
        return
    has_clean = not first_look.lacks_class(rows)
    config = PurifyConfig.paper() if arguments.preset == "paper" else PurifyConfig()
    if isinstance(rows.features, np.memmap):
        compiling.announce(None)  # Such a program calls back into Python, so it is never kept.
    try:
        with stopwatch() as seconds:
            outputs.load_early()
            result = purify(
                rows.features,
                rows.labels if rows.votes is None else rows.votes,
                (rows.val_features, rows.val_labels) if has_clean else None,
                num_classes=len(rows.class_names),
                val_given_labels=rows.val_given_labels if rows.votes is None else rows.val_votes,
                val_random=rows.val_random if has_clean else None,
                calibration=risk.share(rows, arguments.accept_risk) if has_clean else None,
                config=config,
                key=jax.random.key(arguments.seed),
            )
            result = jax.tree.map(np.asarray, result)
            accepted = None if arguments.accept_risk is None else accept(result, arguments.accept_risk)
    except InputError as error:
        raise UserError(str(error)) from error
    _write(arguments, rows, result, seconds, pictures, reviewed, again, accepted)


def _write(
    arguments: argparse.Namespace,
    rows: Any,
    result: Any,
    seconds: Any,
    pictures: Any,
    reviewed: Any,
    again: Any,
    accepted: Any = None,
) -> None:
    """Writes the results, and prints what they say and where they are."""
    from dmlp_jax.cli import conflicts, outputs, suggestions
    from dmlp_jax.cli.first_look import FirstLook

    settings = {name: _plain(value) for name, value in vars(arguments).items()}
    try:
        contents = outputs.write(
            arguments.out, rows, result, settings, seconds, _image_of(pictures), reviewed, again, accepted
        )
    except OSError as error:
        raise UserError(f"cannot write to {arguments.out}: {error.strerror}") from error
    if arguments.quiet:
        _warn(f"{_WARNING}{text}" for text in contents["warnings"])
    print(f"\n{outputs.table(contents)}\n")
    for name in outputs.written(arguments.out):
        print(arguments.out / name)
    if reviewed is not None and reviewed.conflicts:
        print(f"\n{conflicts.write(arguments.out, reviewed)}")
    if arguments.suggest:
        purified = None if isinstance(result, FirstLook) else result
        shown = _shown(arguments, rows, pictures)
        told = suggestions.write(arguments.out, rows, arguments.suggest, arguments.seed, purified, shown)
        print(f"\n{told}")


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def _sources(arguments: argparse.Namespace) -> Any:
    from dmlp_jax.cli.inputs import annotators
    from dmlp_jax.cli.inputs.input_files import Sources
    from dmlp_jax.cli.inputs.raw_rows import Embedder

    several = annotators.named(arguments.label_column)
    if several and arguments.annotator_column is not None:
        raise UserError("--annotator-column is for a long table with one column of labels; name only this")
    if (several or arguments.annotator_column is not None) and arguments.draw_clean is not None:
        raise UserError("--draw-clean is for one label a row; several annotators need no clean rows")
    embedder = None
    if arguments.text is not None or arguments.features.is_dir():
        folder = arguments.embeddings or arguments.out / "embedding"
        embedder = Embedder(folder, arguments.encoder, arguments.text)
    elif arguments.encoder is not None or arguments.embeddings is not None:
        option = "encoder" if arguments.encoder is not None else "embeddings"
        raise UserError(
            f"--{option} is for texts and images: name the column of texts with --text, or a folder of images"
        )
    return Sources(
        features=arguments.features,
        labels=arguments.labels,
        val_features=arguments.val_features,
        val_labels=arguments.val_labels,
        val_index=arguments.val_index,
        val_given_labels=arguments.val_given_labels,
        val_random=arguments.val_random,
        label_column=None if several else arguments.label_column,
        annotators=several,
        annotator_column=arguments.annotator_column,
        feature_columns=_names(arguments.feature_columns),
        id_column=arguments.id_column,
        show_columns=_names(arguments.show_columns) or (),
        num_classes=arguments.num_classes,
        embedder=embedder,
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


def _pictures(arguments: argparse.Namespace, rows: Any) -> list[Path] | None:
    """The picture of every row of the file, or None without pictures."""
    from dmlp_jax.cli.inputs import input_files, row_images

    if arguments.images is None:
        if arguments.image_names is not None:
            raise UserError("--image-names needs --images, the folder of the images")
        own = None if rows.file is None or rows.file.raw is None else rows.file.raw.pictures
        return own
    if arguments.image_names is not None:
        names = input_files.read_labels(arguments.image_names)
        return row_images.find(arguments.images, rows.file_rows, names)
    if rows.ids is not None:
        return row_images.find(arguments.images, rows.file_rows, rows.ids)
    return row_images.find(arguments.images, rows.file_rows)


def _shown(arguments: argparse.Namespace, rows: Any, pictures: list[Path] | None) -> dict[str, Any]:
    """Columns of review.csv that show a row: its text, or the name of its picture."""
    texts = None if rows.file is None or rows.file.raw is None else rows.file.raw.texts
    if texts is not None:
        return {"text": texts}
    if pictures is None:
        return {}
    folder = arguments.features if arguments.images is None else arguments.images
    return {"image": [path.relative_to(folder).as_posix() for path in pictures]}


def _image_of(pictures: list[Path] | None) -> Any:
    """The function from a row of the file to its picture, or None without pictures."""
    from dmlp_jax.cli.inputs import row_images

    return None if pictures is None else lambda row: row_images.thumbnail(pictures[row])


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
    if rows.file is not None and rows.file.raw is not None:
        lines += rows.file.raw.said
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
