"""Defines the arguments of `dmlp-purify`."""

import argparse
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from dmlp_jax.errors import UserError

DESCRIPTION = """\
Finds wrong labels of a data set, and repairs them with the help of a few rows whose labels are right.

  dmlp-purify data.csv --text text --label label --out OUT
  dmlp-purify photos/ --out OUT
  dmlp-purify data.csv --text text --label label --apply decisions.csv --out OUT2
  dmlp-purify features.npy labels.npy --val-features v.npy --val-labels w.npy --out OUT
  dmlp-purify table.csv --label-column species --val-index clean_rows.txt --out OUT
  dmlp-purify embeddings.npz --out OUT
  dmlp-purify features.npy labels.npy --draw-clean --out OUT
  dmlp-purify features.npy labels.npy --suggest 40 --out OUT

FEATURES is a table with a column of texts, a folder of images (a folder for each class, or with a table of
names and labels), or a matrix [rows, features] from any encoder. Without clean rows the labels are ranked and
kept; after a review of the report, --apply makes the reviewed rows the clean ones. OUT gets purified.csv
(your rows with purified_label, confidence, label_quality and status), issues.csv (the most suspicious rows
first), report.html, purified.npz (labels, probs, confidence, changed, index, class_names), purifier.npz (the
classifier, the noise matrix, scores), summary.json and embedding/ (features of texts and images)."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help lists the arguments")


def make_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = _Parser(
        "dmlp-purify", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "features",
        metavar="FEATURES",
        type=Path,
        help=".npy, .npz, .csv, .tsv, .parquet, or a folder of images",
    )
    add("labels", metavar="LABELS", type=Path, nargs="?", help=".npy, .txt, .json or a table; class per row")
    add("--out", metavar="OUT", type=Path, required=True, help="folder for the results")
    add("--overwrite", action="store_true", help="replace earlier results in OUT")
    raw = parser.add_argument_group("texts and images")
    add = raw.add_argument
    add("--text", metavar="COLUMN", help="column of texts of the table FEATURES, which are embedded")
    add(
        "--encoder",
        metavar="NAME",
        help="what embeds texts or images: tfidf and patches, the defaults, learn on the rows; "
        "sentence-transformers:MODEL, transformers:MODEL, timm:MODEL and open_clip:MODEL load one by name "
        "or from a folder; module:function calls your own function",
    )
    add(
        "--embeddings",
        metavar="FOLDER",
        type=Path,
        help="where embeddings are kept and found again; by default embedding/ in OUT",
    )
    clean = parser.add_argument_group("the clean rows, every class at least once")
    add = clean.add_argument
    add("--val-features", metavar="FILE", type=Path, help="their features, as FEATURES")
    add("--val-labels", metavar="FILE", type=Path, help="their true labels, as LABELS")
    add(
        "--val-index",
        metavar="FILE",
        type=Path,
        help="instead: the rows of FEATURES that are clean, numbers, names or a boolean per row (.npy, .txt, "
        ".json)",
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
    add(
        "--label-column",
        "--label",
        metavar="NAME",
        help="by default 'label'; several names, separated by commas, are annotators of the same rows",
    )
    add(
        "--annotator-column",
        metavar="NAME",
        help="LABELS has a line for each label of an annotator: the column of the annotators; --id-column "
        "names that of the rows in both tables",
    )
    add(
        "--feature-columns",
        metavar="NAMES",
        help="comma-separated names, or prefixes of names; by default all columns of numbers",
    )
    add("--id-column", metavar="NAME", help="the rows' names, for issues.csv, --images and --apply")
    add(
        "--show-columns",
        metavar="NAMES",
        help="comma-separated names of columns that the report shows beside each row, such as its text; the "
        "report then holds them in full",
    )
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
        default=50_000,
        help="images in the report, of the most suspicious rows; default: %(default)s, all that it lists",
    )
    add(
        "--report-megabytes",
        metavar="MB",
        type=_megabytes,
        default=20,
        help="most megabytes of images and shown columns in the report; images of many rows are made smaller "
        "to fit, default: %(default)s",
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
    new = parser.add_argument_group("new rows")
    new.add_argument(
        "--with",
        dest="earlier",
        metavar="FOLDER",
        type=Path,
        help="judge the labels of these rows by an earlier run, whose OUT it is; nothing is learned",
    )
    new.add_argument(
        "--fail-over",
        metavar="SHARE",
        type=_share,
        help="with --with: exit status 3 where more than this share of the labels is estimated wrong",
    )
    settings = parser.add_argument_group("settings")
    add = settings.add_argument
    add("--preset", choices=("default", "paper"), default="default", help="purifier, default: %(default)s")
    add(
        "--accept-risk",
        metavar="R",
        type=_risk,
        help="mark labels of which at most a share R is expected to be wrong, for instance 0.01, in the "
        "column accepted of issues.csv and in purified.npz; up to half of the reviewed rows are set aside "
        "for it",
    )
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


def _risk(text: str) -> float:
    """A share of wrong labels, in (0, 1)."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; write 0.01 for 1 %") from None
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 1; write 0.01 for 1 %")
    return value


def _count(text: str) -> int:
    """A number of images."""
    return _whole_number(text, 0, 50_000)


def _megabytes(text: str) -> int:
    """A size of the report."""
    return _whole_number(text, 0, 2000)


def _rows(text: str) -> int:
    """A number of rows."""
    return _whole_number(text, 1, 10**9)


def _seed(text: str) -> int:
    """A seed in the range of `jax.random.key`."""
    return _whole_number(text, -(2**63), 2**63 - 1)
