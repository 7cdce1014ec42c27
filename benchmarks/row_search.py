"""Measures the search for duplicates and outliers that `dmlp-purify` makes beside the labels.

    python benchmarks/row_search.py

Rows are normally distributed, which costs what any rows cost: all pairs are compared. Some rows are copies,
some nearly so. CPU seconds are those of all threads.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from common import RESULTS, markdown, save

from dmlp_jax.data import row_checks

CASES = "5000x256,20000x256,50000x256,100000x128,200000x64"
PACKAGES = ("numpy",)
COPIES = 100


def main() -> None:
    """Measures; writes benchmarks/results/row_search.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=CASES, help="rows x features, comma-separated")
    parser.add_argument("--out", type=Path, default=RESULTS / "row_search.md", help="file of the result")
    arguments = parser.parse_args()
    header = ["rows", "features", "equal rows, s", "all pairs, s", "all pairs, CPU s"]
    lines = []
    for case in arguments.cases.split(","):
        count, width = map(int, case.split("x"))
        lines.append([f"{count:,}", str(width), *measure(count, width)])
        print(lines[-1], flush=True)
    text = "`all pairs` finds near duplicates and outliers, too.\n\n"
    save(arguments.out, "The search for duplicates and outliers", text + markdown(header, lines), PACKAGES)


def measure(count: int, width: int) -> list[str]:
    """Seconds of both searches, and CPU seconds of that of all pairs."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(count, width)).astype(np.float32)
    rows[:COPIES] = rows[COPIES : 2 * COPIES]
    near = slice(2 * COPIES, 3 * COPIES)
    rows[near] = rows[3 * COPIES : 4 * COPIES] + 1e-3 * rng.normal(size=(COPIES, width))
    labels = rng.integers(10, size=count)
    start = time.perf_counter()
    equal = row_checks.check_equal(rows, labels)
    middle, used = time.perf_counter(), time.process_time()
    found = row_checks.check(rows, labels)
    seconds = middle - start, time.perf_counter() - middle, time.process_time() - used
    assert (equal.duplicate_set >= 0).sum() == 2 * COPIES
    assert (found.duplicate_set >= 0).sum() == 4 * COPIES
    return [f"{value:.1f}" for value in seconds]


if __name__ == "__main__":
    main()
