"""Defines the arguments of `dmlp-purify`."""

import argparse
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from dmlp_jax.errors import UserError

DESCRIPTION = """\
Repairs wrong labels of a data set with the help of a few rows whose labels are right.

  dmlp-purify features.npy labels.npy --val-features v.npy --val-labels w.npy --out OUT
  dmlp-purify table.csv --label-column species --val-index clean_rows.txt --out OUT
  dmlp-purify embeddings.npz --out OUT
  dmlp-purify features.npy labels.npy --draw-clean --out OUT
  dmlp-purify features.npy labels.npy --suggest 40 --out OUT

FEATURES is a matrix [rows, features] from any encoder. OUT gets purified.npz (labels, probs, confidence,
changed, index, class_names), purifier.npz (the classifier, the noise matrix, scores), issues.csv (the most
suspicious rows first), report.html and summary.json."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help lists the arguments")


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
        "--draw-clean",
        metavar="SHARE",
        type=_share,
        nargs="?",
        const=0.2,
        help="without clean rows: draw this share of every class, preferring rows whose labels are likely "
        "right, and use them as clean; default: %(const)s",
    )
    add(
        "--val-given-labels",
        metavar="FILE",
        nargs="?",
        const="same",
        help="the labels that the clean rows were given before review, empty or -1 where unknown; with "
        "--val-index and --val-labels they are taken from LABELS",
    )
    add(
        "--val-random",
        metavar="FILE",
        type=Path,
        help="True or False for each clean row: whether it was drawn at random, or picked because it looked "
        "suspicious or for another reason; by default all were drawn at random",
    )
    tables = parser.add_argument_group("tables")
    add = tables.add_argument
    add("--label-column", metavar="NAME", help="by default 'label'")
    add(
        "--feature-columns",
        metavar="NAMES",
        help="comma-separated names, or prefixes of names; by default all columns of numbers",
    )
    add("--id-column", metavar="NAME", help="the rows' names, for issues.csv, --images and --apply")
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
        help="decisions exported from this command's report, or review.csv filled in: these rows join the "
        "clean rows; may be repeated",
    )
    review.add_argument(
        "--suggest",
        metavar="K",
        type=_rows,
        help="write OUT/review.csv, a table of the K rows whose review would help most; without clean rows, "
        "of those to review first",
    )
    settings = parser.add_argument_group("settings")
    add = settings.add_argument
    add("--preset", choices=("default", "paper"), default="default", help="purifier, default: %(default)s")
    add("--seed", type=_seed, default=0, help="for the clean rows' folds and draw, default: %(default)s")
    cache = settings.add_mutually_exclusive_group()
    cache.add_argument(
        "--compile-cache",
        metavar="FOLDER",
        help="folder that keeps compiled programs for later runs; by default that of the environment "
        "variable JAX_COMPILATION_CACHE_DIR, else one in your cache folder",
    )
    cache.add_argument("--no-compile-cache", action="store_true", help="keep no compiled programs")
    add("--num-classes", metavar="C", type=int, help="labels are class indices 0 to C - 1, each of them")
    add("--quiet", action="store_true", help="print nothing but warnings and errors, to stderr; for scripts")
    add("--version", action="version", version=f"dmlp_jax {metadata.version('dmlp_jax')}")
    return parser


def _whole_number(text: str, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{value} is not within {least} to {most}")
    return value


def _share(text: str) -> float:
    """A share of the rows, in (0, 1)."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number; name the files first, or write --draw-clean=0.2"
        ) from None
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 1")
    return value


def _count(text: str) -> int:
    """A number of images."""
    return _whole_number(text, 0, 1000)


def _rows(text: str) -> int:
    """A number of rows."""
    return _whole_number(text, 1, 10**9)


def _seed(text: str) -> int:
    """A seed in the range of `jax.random.key`."""
    return _whole_number(text, -(2**63), 2**63 - 1)
