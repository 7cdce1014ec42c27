"""Runs `dmlp-purify`: reads rows and labels, purifies, writes labels, a list of issues and a report."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from dmlp_jax.cli import sources
from dmlp_jax.cli.parser import make_parser
from dmlp_jax.errors import UserError
from dmlp_jax.runtime import console as streams
from dmlp_jax.runtime import interrupts


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
    from dmlp_jax.report import projection

    outputs.check_folder(arguments.out, arguments.overwrite)
    if arguments.suggest:
        suggestions.check_folder(arguments.out)
    projection.check(arguments.map)
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
    return audit.run(
        arguments.earlier, sources.named(arguments), arguments.out, arguments.fail_over, settings
    )


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

    from dmlp_jax.cli import compiling, conflicts, description, first_look, outputs, rerun, risk, suggestions
    from dmlp_jax.cli.inputs import labelled_rows, reviewed_rows
    from dmlp_jax.purifier import InputError, PurifyConfig, accept, purify
    from dmlp_jax.runtime.timing import stopwatch

    incomplete = bool(arguments.apply or arguments.suggest)
    rows = labelled_rows.load(
        sources.named(arguments), sources.clean_draw(arguments), needs_clean=not incomplete
    )
    reviewed = None
    if arguments.apply:
        reviewed = reviewed_rows.fold(rows, arguments.apply)
        rows = reviewed.rows
    if arguments.suggest:
        suggestions.check_count(rows, arguments.suggest)
    pictures = sources.pictures(arguments, rows)
    again = rerun.after_review(words, arguments.out, arguments.apply or ())
    described = description.describe(rows)
    print(described, flush=True)
    if arguments.quiet:
        _warn(line for line in described.splitlines() if line.startswith(description.WARNING))
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
    from dmlp_jax.cli import conflicts, description, outputs, suggestions, summaries
    from dmlp_jax.cli.first_look import FirstLook

    settings = {name: _plain(value) for name, value in vars(arguments).items()}
    try:
        contents = outputs.write(
            arguments.out,
            rows,
            result,
            settings,
            seconds,
            sources.image_of(pictures),
            reviewed,
            again,
            accepted,
        )
    except OSError as error:
        raise UserError(f"cannot write to {arguments.out}: {error.strerror}") from error
    if arguments.quiet:
        _warn(f"{description.WARNING}{text}" for text in contents["warnings"])
    print(f"\n{summaries.table(contents)}\n")
    for name in outputs.written(arguments.out):
        print(arguments.out / name)
    if reviewed is not None and reviewed.conflicts:
        print(f"\n{conflicts.write(arguments.out, reviewed)}")
    if arguments.suggest:
        purified = None if isinstance(result, FirstLook) else result
        shown = sources.shown(arguments, rows, pictures)
        told = suggestions.write(arguments.out, rows, arguments.suggest, arguments.seed, purified, shown)
        print(f"\n{told}")


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)


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
