"""Measures the report: its size, how long it takes to write, and how long a browser takes to open it.

    python benchmarks/report_size.py --cifar=data/cifar10.npz --texts=news.csv

Pages list as many rows as --rows says: without contents, with the texts of a table's column 'text', with
pictures of CIFAR-10's training images. A file of fewer rows is repeated. Labels are random and the purifier
is not run: the page does not become larger or slower by what they say. Opening is from the start of the
navigation to the end of the page's load event, when the review can be used; the median of --repeats.
"""

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import markdown, write
from ml_collections import ConfigDict
from report_pages import chromium, unscored

from dmlp_jax.data.types import Problem
from dmlp_jax.report import page

CLASSES, CLEAN, WIDTH = 10, 200, 64
LOADED = """() => {
    const [timing] = performance.getEntriesByType("navigation");
    return timing.loadEventEnd - timing.startTime;
}"""


def main() -> None:
    """Writes and opens every page, and writes benchmarks/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar", type=Path, help="cifar10.npz with x_train")
    parser.add_argument("--texts", type=Path, help=".csv with a column 'text'")
    parser.add_argument("--rows", default="5000,50000", help="numbers of rows, comma-separated")
    parser.add_argument("--megabytes", type=int, default=page.MEGABYTES)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--name", default="report_size", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = Path(folder) / "report.html"
        for rows in map(int, arguments.rows.split(",")):
            for what, contents in kinds(arguments, rows).items():
                begin = time.perf_counter()
                make_page(path, rows, arguments.megabytes, **contents)
                written = time.perf_counter() - begin
                held = ", ".join(held_of(path, rows))
                size = path.stat().st_size / 1e6
                line = [f"{rows:,}", what, held, f"{size:.1f}", f"{written:.1f}"]
                lines.append([*line, f"{opened(browser, path, arguments.repeats):.2f}"])
                print(lines[-1], flush=True)
    header = ["rows", "contents", "rows that have them", "page, MB", "written in, s", "opened in, s"]
    text = (
        f"At most {arguments.megabytes} MB of contents; {CLEAN} reviewed rows; features of {WIDTH} numbers."
    )
    title = "The report: size, and time to write and open it"
    write(arguments.name, title, f"{text}\n\n{markdown(header, lines)}")


def kinds(arguments: argparse.Namespace, rows: int) -> dict[str, dict[str, Any]]:
    """What pages are made of, by name."""
    found: dict[str, dict[str, Any]] = {"no contents": {}}
    if arguments.texts:
        with open(arguments.texts, newline="", encoding="utf-8") as file:
            texts = [record["text"] for record in csv.DictReader(file)]
        found["texts"] = {"columns": {"text": [texts[row % len(texts)] for row in range(rows)]}}
    if arguments.cifar:
        with np.load(arguments.cifar) as stored:
            images = stored["x_train"]
        found["pictures"] = {"image_of": lambda row: images[row % len(images)]}
    return found


def make_page(
    path: Path,
    rows: int,
    megabytes: int,
    columns: dict[str, list[str]] | None = None,
    image_of: Callable[[int], np.ndarray] | None = None,
) -> None:
    """Writes a page of random labels, a fifth of them changed."""
    rng = np.random.default_rng(0)
    given = rng.integers(CLASSES, size=rows).astype(np.int32)
    labels = np.where(rng.random(rows) < 0.2, rng.integers(CLASSES, size=rows), given).astype(np.int32)
    problem = Problem(
        train_inputs=rng.normal(size=(rows, WIDTH)).astype(np.float32),
        given_labels=given,
        true_labels=None,
        val_inputs=rng.normal(size=(CLEAN, WIDTH)).astype(np.float32),
        val_labels=np.arange(CLEAN) % CLASSES,
        val_given_labels=None,
        test_inputs=None,
        test_labels=None,
        class_names=tuple(f"class {label}" for label in range(CLASSES)),
    )
    purified = {
        "labels": labels,
        "changed": labels != given,
        "confidence": rng.random(rows, np.float32),
        "label_quality": rng.random(rows, np.float32),
    }
    purifier = {
        "history/changed": np.linspace(0.1, 0.2, 30),
        "history/val_loss": np.linspace(1, 0.5, 30),
        "transition": np.full((CLASSES, CLASSES), 1 / CLASSES),
    }
    result = unscored("random", rows, CLEAN, purified["changed"])
    config = ConfigDict({"report": {"gallery": rows, "map": "pca", "megabytes": megabytes}, "arguments": {}})
    page.write(path, result, config, problem, purified, purifier, {}, columns=columns, image_of=image_of)


def held_of(path: Path, rows: int) -> list[str]:
    """How many of the rows have a text or a picture on the page."""
    text = path.read_text(encoding="utf-8")
    found = []
    for name in ("values", "pictures"):
        lines = text.partition(f'id="review-{name}">')[2].partition("</script>")[0].split("\n")
        count = sum(map(bool, lines[:rows]))
        if count:
            found.append(f"{count:,}")
    return found or ["-"]


def opened(browser: Any, path: Path, repeats: int) -> float:
    """Median seconds of opening the page."""
    times = []
    for _ in range(repeats):
        tab = browser.new_page()
        tab.goto(path.as_uri())
        times.append(tab.evaluate(LOADED) / 1000)
        tab.close()
    return statistics.median(times)


if __name__ == "__main__":
    main()
