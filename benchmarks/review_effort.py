"""Counts the keys and clicks that a review takes, in a browser, on an earlier page and on today's.

    git worktree add /tmp/before a81125d
    python benchmarks/review_effort.py --before=/tmp/before --data=data/news_noisy_text.npz

The file holds features, given_labels and true_labels of at most ten classes; without it the rows are
scikit-learn's digits. The reviewer knows the true labels of the most suspicious rows and decides on all of
them in the order of the page: one by one on the earlier page, many at once on today's. Both must export the
same decisions. To give a row another class on the earlier page counts as two: the key that opens the list of
classes, and a click in it. Without --before only today's page is used, in both ways.
"""

import argparse
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import markdown, write
from report_pages import chromium, unscored

# Clean rows, and the share of labels of digits that is redrawn at random.
CLEAN, NOISE = 200, 0.4


def main() -> None:
    """Reviews every seed in every way and writes benchmarks/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="checkout of an earlier version")
    parser.add_argument("--data", type=Path, help="npz file of rows")
    parser.add_argument("--rows", type=int, default=300, help="rows that are decided on")
    parser.add_argument(
        "--page", type=int, default=60, help="rows that are shown at once, as the page offers"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--name", default="review_effort", help="of the file in benchmarks/results")
    parser.add_argument("--make", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        make_page(*arguments.make)
        return
    if arguments.rows % arguments.page:
        parser.error("--rows must be a multiple of --page: a page is accepted whole")
    rows = []
    for seed in range(arguments.seeds):
        counts = review(seed, arguments)
        print(seed, counts, flush=True)
        share = counts["many at once"] / counts["one by one"]
        rows.append([str(seed), *map(str, counts.values()), f"{share:.2f}"])
    before = "on the earlier page" if arguments.before else "on today's page"
    header = ["seed", "exceptions", "of another class", f"one by one, {before}", "many at once", "ratio"]
    title = f"Keys and clicks of {arguments.rows} decisions"
    of = arguments.data.stem if arguments.data else f"digits, {NOISE:.0%} of the labels redrawn at random"
    text = (
        f"Rows of {of}; {CLEAN} clean rows at random, their given labels known. {arguments.page} rows are "
        "shown at once. Exceptions are rows whose purified label was not accepted."
    )
    write(arguments.name, title, f"{text}\n\n{markdown(header, rows)}")


def review(seed: int, arguments: argparse.Namespace) -> dict[str, int]:
    """Keys and clicks of one seed, by way; both ways end in the same decisions."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        data = Path(folder) / "run.npz"
        true = purified_rows(arguments.data, seed, data)
        pages = {}
        for name, checkout in (("one by one", arguments.before), ("many at once", None)):
            pages[name] = Path(folder) / f"{name}.html"
            root = Path(checkout or Path(__file__).parents[1]).resolve()
            subprocess.run(
                [sys.executable, __file__, "--make", str(data), str(pages[name])],
                env={**os.environ, "PYTHONPATH": str(root)},
                check=True,
            )
        counts, exported = {}, {}
        for name, path in pages.items():
            tab = browser.new_context(accept_downloads=True).new_page()
            tab.goto(path.as_uri())
            decide = one_by_one if name == "one by one" else many_at_once
            counts[name], exceptions = decide(tab, true, arguments.rows, arguments.page)
            exported[name] = decisions(tab)
        assert exported["one by one"] == exported["many at once"]
        assert len(exported["one by one"]) == arguments.rows
    others = sum(record["decision"] == "correct" for record in exported["many at once"])
    return {"exceptions": exceptions, "others": others, **counts}


def one_by_one(tab: Any, true: list[int], rows: int, _: int) -> tuple[int, int]:
    """Decides on each row with the keys that both pages have; actions, and rows that were not accepted."""
    data = page_data(tab)
    tab.locator("#review-list").scroll_into_view_if_needed()
    tab.focus("#review-list")
    actions = exceptions = 0
    for entry in range(rows):
        kind, label = wanted(data, true, entry)
        exceptions += kind != "accept"
        if kind == "correct":
            tab.select_option("#review-correct", str(label))
            tab.focus("#review-list")
            actions += 2
        else:
            tab.keyboard.press({"accept": "a", "reject": "r"}[kind])
            actions += 1
    return actions, exceptions


def many_at_once(tab: Any, true: list[int], rows: int, size: int) -> tuple[int, int]:
    """Clicks the exceptions of each page and accepts the others; actions, and rows that were not accepted."""
    data = page_data(tab)
    tab.locator("#review-detail").scroll_into_view_if_needed()
    tab.keyboard.press("g")
    actions, exceptions = 1, 0
    if tab.input_value("#review-page-size") != str(size):
        tab.select_option("#review-page-size", str(size))
        actions += 1
    for start in range(0, rows, size):
        for place in range(min(size, len(data["index"]) - start)):
            kind, label = wanted(data, true, start + place)
            if kind == "accept":
                continue
            exceptions += 1
            tab.locator(".tile").nth(place).click()
            actions += 1
            if kind == "correct":
                # The keys of digits are their own names.
                tab.keyboard.press(data["classes"][label])
                actions += 1
        tab.keyboard.press("a")
        actions += 1
    return actions, exceptions


def page_data(tab: Any) -> dict[str, Any]:
    """What the page knows of its rows."""
    return json.loads(tab.evaluate("document.getElementById('review-data').textContent"))


def wanted(data: dict[str, Any], true: list[int], entry: int) -> tuple[str, int]:
    """What a reviewer who knows the truth decides on a row, and its class."""
    label = true[data["index"][entry]]
    if label == data["purified"][entry]:
        return "accept", label
    return ("reject" if label == data["given"][entry] else "correct"), label


def decisions(tab: Any) -> list[dict[str, str]]:
    """The decisions that the page exports."""
    with tab.expect_download() as waiting:
        tab.click("#review-export")
    return list(csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text("utf-8"), newline="")))


def purified_rows(source: Path | None, seed: int, path: Path) -> list[int]:
    """Purifies noisy labels and stores what a page is made of; the true labels of its rows."""
    from sklearn.datasets import load_digits

    from dmlp_jax import purify
    from dmlp_jax.report import contents

    rng = np.random.default_rng(seed)
    if source is None:
        features, true = load_digits(return_X_y=True)
        given = np.where(rng.random(len(true)) < NOISE, rng.integers(10, size=len(true)), true)
    else:
        with np.load(source) as stored:
            features, given, true = (stored[name] for name in ("features", "given_labels", "true_labels"))
    features = features.astype(np.float32)
    order = rng.permutation(len(true))
    clean, rest = order[:CLEAN], order[CLEAN:]
    result = purify(
        features[rest], given[rest], (features[clean], true[clean]), val_given_labels=given[clean]
    )
    np.savez(
        path,
        rows=features[rest],
        given=given[rest],
        clean=features[clean],
        clean_labels=true[clean],
        **{f"purified/{name}": values for name, values in contents.purified_arrays(result).items()},
        **{
            f"purifier/{name}": np.asarray(values)
            for name, values in contents.purifier_arrays(result).items()
        },
    )
    return true[rest].tolist()


def make_page(data: Path, path: Path) -> None:
    """Writes the page by the version of the package that is imported."""
    from ml_collections import ConfigDict

    from dmlp_jax.data.types import Problem
    from dmlp_jax.report import page

    with np.load(data) as stored:
        arrays = dict(stored)

    def group(name: str) -> dict[str, np.ndarray]:
        return {key.partition("/")[2]: values for key, values in arrays.items() if key.startswith(f"{name}/")}

    problem = Problem(
        train_inputs=arrays["rows"],
        given_labels=arrays["given"],
        true_labels=None,
        val_inputs=arrays["clean"],
        val_labels=arrays["clean_labels"],
        val_given_labels=None,
        test_inputs=None,
        test_labels=None,
        class_names=tuple(map(str, range(1 + arrays["given"].max()))),
    )
    purified = group("purified")
    result = unscored("rows", len(arrays["given"]), len(arrays["clean"]), purified["changed"])
    config = ConfigDict({"report": {"gallery": 0, "map": "none"}})
    page.write(path, result, config, problem, purified, group("purifier"), {})


if __name__ == "__main__":
    main()
