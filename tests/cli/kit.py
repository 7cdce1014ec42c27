"""What the tests of `dmlp-purify` share."""

import csv
import signal
import subprocess
import sys

import numpy as np

from dmlp_jax.cli import outputs
from tests.conftest import make_blobs

FEATURES, GIVEN, (VAL_FEATURES, VAL_LABELS), TRUE = make_blobs(0)
NAMES = np.array(["ant", "bee", "cat"])
FILES = sorted(outputs.NAMES)


def basic(folder):
    return [
        *map(str, (folder / "f.npy", folder / "y.npy")),
        *("--val-features", str(folder / "v.npy"), "--val-labels", str(folder / "w.npy")),
    ]


def read_issues(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def run(arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "dmlp_jax.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )
