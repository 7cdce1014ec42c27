"""Times `dmlp-purify` as a process, the first and later ones, beside tools that need no compilation.

    python benchmarks/startup.py

Each time is that of a whole process, from its start to its files: imports, compilation, the work, the report.
Features are synthetic. The peers are cleanlab's CleanLearning around scikit-learn's LogisticRegression, and
scikit-learn's LogisticRegressionCV, on the same files. All tools take turns, so that a slow minute of the
machine hits each. Cases of nearly as many rows as one before them come after it, with the same cache; so do
the first case with another clean set, and with `--apply` of a few decisions.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from common import RESULTS, markdown, save

CASES = "2000x64,1990x64,2010x64,10000x256,300x4096,2000x4096"
CLASSES, CLEAN, NOISE = 10, 200, 0.3
# Clean rows of the other clean set, and decisions that --apply takes up.
OTHER_CLEAN, DECISIONS = 170, 4
# Code of the peers; they read the files and write their labels.
PEERS = {
    "CleanLearning": """
from cleanlab.classification import CleanLearning
from sklearn.linear_model import LogisticRegression
found = CleanLearning(LogisticRegression(max_iter=1000), seed=0).fit(features, given)
labels = found.predict(features)
issues = found.get_label_issues()
""",
    "LogisticRegressionCV": """
from sklearn.linear_model import LogisticRegressionCV
labels = LogisticRegressionCV(max_iter=1000).fit(features, given).predict(features)
""",
}
READ = """
import sys, numpy as np
features, given = (np.load(sys.argv[1] + name) for name in ("/f.npy", "/y.npy"))
"""
WRITE = "np.save(sys.argv[1] + '/labels.npy', labels)\n"


class Seconds(NamedTuple):
    """What a process took: wall time, and processor time of all its threads."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} ({self.processor:.1f})"


def main() -> None:
    """Times the cases and writes benchmarks/results/startup.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=CASES, help="ROWSxFEATURES, comma-separated; default: %(default)s")
    parser.add_argument(
        "--repeats", type=int, default=3, help="later processes of each; default: %(default)s"
    )
    parser.add_argument("--name", default="startup", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    rows, seen = [], []
    with tempfile.TemporaryDirectory() as folder:
        for case in arguments.cases.split(","):
            count, width = map(int, case.split("x"))
            rows.append(
                measure(Path(folder), count, width, bool(near(count, width, seen)), arguments.repeats)
            )
            print(" | ".join(rows[-1]), flush=True)
            if not seen:
                rows += changed_inputs(Path(folder), count, width, arguments.repeats)
                print(*(" | ".join(row) for row in rows[1:]), sep="\n", flush=True)
            seen.append((count, width))
    header = ["rows x features", "first", "later", *PEERS]
    header += ["first / later, of CleanLearning", "first / later, of LogisticRegressionCV"]
    text = (
        f"Whole processes on {CLASSES} classes, {CLEAN} clean rows whose given labels are known, "
        f"{NOISE:.0%} noise: wall seconds, in brackets seconds of all processors together. Later ones and "
        f"peers are medians of {arguments.repeats}. * finds the program of a case before it."
    )
    packages = ("jax", "numpy", "scikit-learn", "cleanlab")
    text = f"{text}\n\n{markdown(header, rows)}"
    save(RESULTS / f"{arguments.name}.md", "Time of whole processes", text, packages)


def near(count: int, width: int, seen: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Earlier cases of as many features, and up to 5 % more or fewer rows."""
    return [case for case in seen if case[1] == width and abs(case[0] - count) <= 0.05 * case[0]]


def measure(folder: Path, count: int, width: int, there: bool, repeats: int) -> list[str]:
    """The row of the table for one case.

    Args:
        folder: for files, and for the cache that all cases share.
        count: rows.
        width: features.
        there: whether a case with a similar number of rows was before.
        repeats: later processes.
    """
    data = folder / f"{count}x{width}"
    write_data(data, count, width)
    command = command_for(data, folder)
    first = run(command)
    own: list[Seconds] = []
    peers: dict[str, list[Seconds]] = {name: [] for name in PEERS}
    for _ in range(repeats):
        own.append(run(command))
        for name, code in PEERS.items():
            peers[name].append(run([sys.executable, "-c", READ + code + WRITE, str(data)]))
    later = middle(own)
    found = [middle(times) for times in peers.values()]
    ratios = [f"{first.wall / peer.wall:.1f} / {later.wall / peer.wall:.1f}" for peer in found]
    return [f"{count:,} x {width:,}", f"{first}{'*' if there else ''}", str(later), *map(str, found), *ratios]


def command_for(data: Path, folder: Path, clean: int | None = None) -> list[str]:
    """The command on the data of a folder, with the cache that all cases share.

    Args:
        data: as `write_data` writes it.
        folder: holds the cache.
        clean: takes so many of the clean rows; all by default.
    """
    named = {"val-features": "v", "val-labels": "w", "val-given-labels": "g"}
    paths = {option: data / f"{name}.npy" for option, name in named.items()}
    for option, path in paths.items() if clean else ():
        paths[option] = data / f"{path.stem}{clean}.npy"
        np.save(paths[option], np.load(path)[-clean:])
    files = [str(data / "f.npy"), str(data / "y.npy")]
    for option, path in paths.items():
        files += [f"--{option}", str(path)]
    command = [sys.executable, "-m", "dmlp_jax.cli", *files, "--out", str(data / "out"), "--overwrite"]
    return [*command, "--compile-cache", str(folder / "cache")]


def changed_inputs(folder: Path, count: int, width: int, repeats: int) -> list[list[str]]:
    """Rows of the table: the data of an earlier case with another clean set, and after a review."""
    data = folder / f"{count}x{width}"
    decisions = data / "decisions.csv"
    given = np.load(data / "y.npy")
    with decisions.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "given_label", "predicted_label", "decision"])
        for row in range(DECISIONS):
            writer.writerow([row, given[row], given[row], "accept"])
    commands = {
        f"with {OTHER_CLEAN} other clean rows": command_for(data, folder, OTHER_CLEAN),
        f"--apply of {DECISIONS} decisions": [*command_for(data, folder), "--apply", str(decisions)],
    }
    rows = []
    for name, command in commands.items():
        first, later = run(command), middle([run(command) for _ in range(repeats)])
        rows.append([f"{count:,} x {width:,}, {name}", f"{first}*", str(later), "", "", "", ""])
    return rows


def write_data(folder: Path, count: int, width: int) -> None:
    """Writes overlapping clusters, a part of whose labels is drawn at random."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    total = count + CLEAN
    true = rng.integers(CLASSES, size=total)
    true[count:] = np.arange(CLEAN) % CLASSES
    centres = rng.normal(size=(CLASSES, width))
    features = (rng.normal(size=(total, width)) + 3.0 / width**0.5 * centres[true]).astype(np.float32)
    given = np.where(rng.random(total) < NOISE, rng.integers(CLASSES, size=total), true)
    arrays = {"f": features[:count], "y": given[:count], "v": features[count:], "w": true[count:]}
    for name, values in (arrays | {"g": given[count:]}).items():
        np.save(folder / f"{name}.npy", values)


def run(command: list[str]) -> Seconds:
    """Runs a process to its end.

    Raises:
        RuntimeError: It failed; the message is what it wrote to stderr.
    """
    start, before = time.perf_counter(), os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode:
        raise RuntimeError(done.stderr)
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Seconds(wall, used)


def middle(times: list[Seconds]) -> Seconds:
    """The medians of wall and of processor time."""
    return Seconds(*(median(values) for values in zip(*times, strict=True)))


if __name__ == "__main__":
    main()
