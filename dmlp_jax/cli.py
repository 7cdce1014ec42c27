"""`dmlp-purify`: files of features and labels in, purified labels, a list of issues and a report out."""

import argparse
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from dmlp_jax import streams
from dmlp_jax.errors import UserError

DESCRIPTION = """\
Repairs wrong labels of a data set with the help of a few rows whose labels are right.

  dmlp-purify features.npy labels.npy --val-features v.npy --val-labels w.npy --out OUT
  dmlp-purify table.csv --label-column species --val-index clean_rows.txt --out OUT
  dmlp-purify embeddings.npz --out OUT

FEATURES is a matrix [rows, features] from any encoder. OUT gets purified.npz (labels, probs, confidence,
changed, index, class_names), issues.csv (the most suspicious rows first), report.html and summary.json."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help shows what there is")


def make_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = _Parser(
        "dmlp-purify", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("features", metavar="FEATURES", type=Path, help=".npy, .npz, .csv, .tsv or .parquet")
    add("labels", metavar="LABELS", type=Path, nargs="?", help=".npy, .txt, .json or a table; class per row")
    add("--out", metavar="OUT", type=Path, required=True, help="folder for the results")
    add("--overwrite", action="store_true", help="replace earlier results in OUT")
    clean = parser.add_argument_group("the clean rows, every class at least once")
    add = clean.add_argument
    add("--val-features", metavar="FILE", type=Path, help="their features, as FEATURES")
    add("--val-labels", metavar="FILE", type=Path, help="their true labels, as LABELS")
    add(
        "--val-index",
        metavar="FILE",
        type=Path,
        help="instead: the rows of FEATURES that are clean, numbers or a boolean per row (.npy, .txt, .json)",
    )
    add(
        "--val-given-labels",
        metavar="FILE",
        nargs="?",
        const="same",
        help="what the noisy source said of the clean rows; no FILE with --val-index and --val-labels",
    )
    tables = parser.add_argument_group("tables")
    add = tables.add_argument
    add("--label-column", metavar="NAME", help="by default 'label'")
    add(
        "--feature-columns",
        metavar="NAMES",
        help="comma-separated names, or what the names begin with; by default all columns of numbers",
    )
    add("--id-column", metavar="NAME", help="the rows' names, for issues.csv and --images")
    gallery = parser.add_argument_group("the report")
    add = gallery.add_argument
    add("--images", metavar="FOLDER", type=Path, help="images named by the ids, or in the order of the rows")
    add(
        "--image-names",
        metavar="FILE",
        type=Path,
        help="the image of each row (.txt, .npy, .json or a table)",
    )
    add(
        "--gallery",
        metavar="N",
        type=_count,
        default=200,
        help="images in the report, of the most suspicious rows; 1000 at most, default: %(default)s",
    )
    add("--map", choices=("pca", "umap", "none"), default="pca", help="of the features, default: %(default)s")
    review = parser.add_argument_group("a review")
    review.add_argument(
        "--apply",
        metavar="FILE",
        type=Path,
        action="append",
        help="decisions from this command's report: these rows join the clean ones; may be repeated",
    )
    settings = parser.add_argument_group("settings")
    add = settings.add_argument
    add("--preset", choices=("default", "paper"), default="default", help="purifier, default: %(default)s")
    add("--seed", type=_seed, default=0, help="for the folds of the clean rows, default: %(default)s")
    add("--num-classes", metavar="C", type=int, help="labels are class indices 0 to C - 1, each of them")
    add("--version", action="version", version=f"dmlp_jax {metadata.version('dmlp_jax')}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status: 0, 2 after a mistake of the user's, 130 after Ctrl-C."""
    try:
        run(make_parser().parse_args(argv))
    except UserError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Reads, purifies, writes.

    Raises:
        UserError: a mistake of the user's.
    """
    # Imported late, so that --help and mistakes in arguments do not wait for jax.
    import jax
    import numpy as np

    from dmlp_jax import purified_files
    from dmlp_jax.data import labelled_rows, reviewed_rows
    from dmlp_jax.purifier import InputError, PurifyConfig, purify
    from dmlp_jax.report import feature_map
    from dmlp_jax.training.timing import stopwatch

    purified_files.check_folder(arguments.out, arguments.overwrite)
    feature_map.check(arguments.map)
    rows = labelled_rows.load(_sources(arguments))
    reviewed = None
    if arguments.apply:
        reviewed = reviewed_rows.fold(rows, arguments.apply)
        rows = reviewed.rows
    image_of = _image_of(arguments, rows)
    print(_describe(rows), flush=True)
    config = PurifyConfig.paper() if arguments.preset == "paper" else PurifyConfig()
    try:
        with stopwatch() as seconds:
            result = purify(
                rows.features,
                rows.labels,
                (rows.val_features, rows.val_labels),
                num_classes=len(rows.class_names),
                val_given_labels=rows.val_given_labels,
                config=config,
                key=jax.random.key(arguments.seed),
            )
            result = jax.tree.map(np.asarray, result)
    except InputError as error:
        raise UserError(str(error)) from error
    settings = {name: _plain(value) for name, value in vars(arguments).items()}
    try:
        contents = purified_files.write(arguments.out, rows, result, settings, seconds, image_of, reviewed)
    except OSError as error:
        raise UserError(f"cannot write to {arguments.out}: {error.strerror}") from error
    print(f"\n{purified_files.table(contents)}\n")
    for name in purified_files.NAMES:
        print(arguments.out / name)


def _sources(arguments: argparse.Namespace) -> Any:
    from dmlp_jax.data.sources import Sources

    columns = arguments.feature_columns
    return Sources(
        features=arguments.features,
        labels=arguments.labels,
        val_features=arguments.val_features,
        val_labels=arguments.val_labels,
        val_index=arguments.val_index,
        val_given_labels=arguments.val_given_labels,
        label_column=arguments.label_column,
        feature_columns=None if columns is None else tuple(filter(None, columns.split(","))),
        id_column=arguments.id_column,
        num_classes=arguments.num_classes,
    )


def _image_of(arguments: argparse.Namespace, rows: Any) -> Any:
    """The function from a noisy row to its picture, or None without --images."""
    from dmlp_jax.data import row_images, sources

    if arguments.images is None:
        if arguments.image_names is not None:
            raise UserError("--image-names needs --images, the folder where they lie")
        return None
    if arguments.image_names is not None:
        names = sources.read_labels(arguments.image_names)
        paths = row_images.find(arguments.images, rows.file_rows, names)
    elif rows.ids is not None:
        paths = row_images.find(arguments.images, rows.file_rows, rows.ids)
    else:
        paths = row_images.find(arguments.images, rows.file_rows)
    return lambda row: row_images.thumbnail(paths[rows.row_numbers[row]])


def _describe(rows: Any) -> str:
    shown = ", ".join(rows.class_names[:8]) + (", ..." if len(rows.class_names) > 8 else "")
    lines = [
        f"{len(rows.labels):,} rows to purify and {len(rows.val_labels):,} clean ones, "
        f"{rows.features.shape[1]:,} features, {len(rows.class_names)} classes: {shown}"
    ]
    if rows.left_out:
        lines.append(f"no feature, since it counts the rows: {', '.join(map(repr, rows.left_out))}")
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    """An argument as JSON has it."""
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def _whole_number(text: str, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{value} is not within {least} to {most}")
    return value


def _count(text: str) -> int:
    """A number of images."""
    return _whole_number(text, 0, 1000)


def _seed(text: str) -> int:
    """What `jax.random.key` takes."""
    return _whole_number(text, -(2**63), 2**63 - 1)


def _fail(message: str, status: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return status


def console() -> NoReturn:
    """Entry point of `dmlp-purify`."""
    streams.accept_any_text()
    sys.exit(main())


if __name__ == "__main__":
    console()
