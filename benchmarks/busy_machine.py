"""Times a compiled call of `purify` alone, and beside as many busy processes as there are cores.

    python benchmarks/busy_machine.py

The busy processes count in Python. Beside them a call has half of each core, so twice its time alone is what
it can hope for. Features are synthetic.
"""

import argparse
import os
import subprocess
import sys
import time
from statistics import median

import numpy as np
from common import markdown, write

from dmlp_jax import purify

CLASSES, CLEAN, NOISE = 10, 200, 0.3
BUSY = [sys.executable, "-c", "while True: pass"]


def main() -> None:
    """Times the cases and writes benchmarks/results/busy_machine.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="570x512,2000x64,10000x256", help="ROWSxFEATURES, comma-separated")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--name", default="busy_machine", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    cores, rows = os.cpu_count() or 1, []
    for case in arguments.cases.split(","):
        count, width = (int(number) for number in case.split("x"))
        alone, busy = measure(count, width, cores, arguments.repeats)
        rows.append([f"{count:,} x {width:,}", f"{alone:.2f}", f"{busy:.2f}", f"{busy / alone:.1f}"])
        print(rows[-1], flush=True)
    header = ["rows x features", "alone, s", "beside busy processes, s", "ratio"]
    text = (
        f"{cores} busy processes; {CLASSES} classes, {CLEAN} clean rows; medians of {arguments.repeats}.\n\n"
    )
    write(arguments.name, "A compiled call on a busy machine", f"{text}\n\n{markdown(header, rows)}")


def measure(count: int, width: int, cores: int, repeats: int) -> tuple[float, float]:
    """Seconds of a compiled call, alone and beside busy processes."""
    rng = np.random.default_rng(0)
    true = np.arange(count + CLEAN) % CLASSES
    features = rng.normal(size=(count + CLEAN, width)) + 2 * rng.normal(size=(CLASSES, width))[true] / 3
    features = features.astype(np.float32)
    given = np.where(rng.random(count + CLEAN) < NOISE, rng.integers(CLASSES, size=count + CLEAN), true)

    def call() -> float:
        begin = time.perf_counter()
        result = purify(
            features[CLEAN:],
            given[CLEAN:],
            (features[:CLEAN], true[:CLEAN]),
            val_given_labels=given[:CLEAN],
        )
        np.asarray(result.labels)
        return time.perf_counter() - begin

    call()
    alone = median(call() for _ in range(repeats))
    processes = [subprocess.Popen(BUSY) for _ in range(cores)]
    try:
        busy = median(call() for _ in range(repeats))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return alone, busy


if __name__ == "__main__":
    main()
