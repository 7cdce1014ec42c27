"""Estimates memory and time of purify for up to a billion rows, from constants measured on this machine.

    python benchmarks/plan.py
    python benchmarks/plan.py --rows=1e8 --width=768 --machines=1,16

Two sizes are run, in memory and from disk (see purify_scale.py); the slope between them is the cost of a row.
Cost is linear in the rows (benchmarks/results/purify_scale.md), and in their width if the width is well above
the number of classes. Rows spread over machines need one sum of [d, d] numbers once and one of [d, c] numbers
per round; these are not included.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from common import markdown, write

SCALE = Path(__file__).with_name("purify_scale.py")


class Constants(NamedTuple):
    """What was measured.

    Attributes:
        fixed_seconds: of a call however few the rows.
        row_seconds: of a row more.
        fixed_bytes: memory however few the rows.
        row_bytes: of a row more; from disk without its features.
    """

    fixed_seconds: float
    row_seconds: float
    fixed_bytes: float
    row_bytes: float


def main() -> None:
    """Measures, plans and writes benchmarks/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="1e6,1e8,1e9", help="to plan for, comma-separated")
    parser.add_argument("--width", type=int, default=512, help="of the features, measured and planned")
    parser.add_argument("--machines", default="1,8,64", help="like this one, comma-separated")
    parser.add_argument("--sizes", default="50000,200000", help="two numbers of rows that are measured")
    parser.add_argument("--name", default="plan", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    sizes = sorted(map(int, arguments.sizes.split(",")))
    memory = constants(sizes, arguments.width, "memory", 4)
    disk = constants(sizes, arguments.width, "disk", 2)
    header = ["rows", "machines", "features, float16, GB", "in memory: GB a machine", "hours"]
    header += ["from disk: GB a machine", "hours"]
    rows = []
    for count in (int(float(text)) for text in arguments.rows.split(",")):
        for machines in map(int, arguments.machines.split(",")):
            share = count / machines
            cells = [f"{count:,}", f"{machines}", f"{2 * count * arguments.width / 1e9:,.0f}"]
            for found in (memory, disk):
                cells.append(f"{(found.fixed_bytes + share * found.row_bytes) / 1e9:,.1f}")
                cells.append(f"{(found.fixed_seconds + share * found.row_seconds) / 3600:,.2f}")
            rows.append(cells)
    measured = [
        [place, f"{1e6 * found.row_seconds:.0f}", f"{found.row_bytes:,.0f}", f"{found.fixed_bytes / 1e9:.1f}"]
        for place, found in (("memory, float32", memory), ("disk, float16", disk))
    ]
    header_measured = ["features in", "µs a row", "bytes a row", "GB for none"]
    text = f"Measured at {sizes[0]:,} and {sizes[1]:,} rows:\n\n{markdown(header_measured, measured)}\n\n"
    text += f"On paper:\n\n{markdown(header, rows)}"
    write(
        arguments.name, f"Estimated memory and time of purify, d = {arguments.width}, c = 10, m = 1,000", text
    )


def constants(sizes: list[int], width: int, place: str, itemsize: int) -> Constants:
    """Slope and intercept of time and memory between two sizes.

    Args:
        sizes: two numbers of rows.
        width: of the features.
        place: memory or disk.
        itemsize: bytes of a number there.
    """
    small, large = (run(count, width, place) for count in sizes)
    step = sizes[1] - sizes[0]
    row_seconds = (large["run"] - small["run"]) / step
    # Pages of the file that the system keeps while there is room are no need of the program's.
    pages = width * itemsize if place == "disk" else 0
    row_bytes = max(0.0, 1e9 * (large["peak"] - small["peak"]) / step - pages)
    return Constants(
        max(0.0, small["run"] - row_seconds * sizes[0]),
        row_seconds,
        max(0.0, 1e9 * small["peak"] - (row_bytes + pages) * sizes[0]),
        row_bytes,
    )


def run(count: int, width: int, place: str) -> dict[str, float]:
    """One case of purify_scale.py in a process of its own."""
    command = [sys.executable, str(SCALE), f"--case={count}x{width},{place}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
