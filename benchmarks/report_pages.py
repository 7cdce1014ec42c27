"""Shared by the benchmarks of the report: results to write on it, and a browser to open it with."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser of playwright's, closed at the end.

    Raises:
        SystemExit: there is none on the PATH, and the variable CHROMIUM names none.
    """
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        raise SystemExit("no Chromium on the PATH; install one or name it in the variable CHROMIUM")
    with sync_playwright() as playwright:
        # The sandbox needs rights that containers and root do not have.
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield running
        finally:
            running.close()


def unscored(name: str, rows: int, clean: int, changed: np.ndarray) -> dict[str, Any]:
    """The contents of summary.json of a run without scores.

    Args:
        name: of the data.
        rows: number of training rows.
        clean: number of clean rows.
        changed: whether each label changed, bool.
    """
    nothing = dict.fromkeys(("given", "val_only_probe", "noisy_probe", "noisy_plus_val_probe", "purified"))
    return {
        "dataset": name,
        "rows": {"train": rows, "val": clean, "test": 0},
        "noise": {"name": "given", "rate": None, "measured_flip_rate": None},
        "seed": 0,
        "preset": "default",
        "labels": nothing,
        "held_out": nothing,
        "counted": {"random_rows": 0},
        "changed": float(changed.mean()),
        "test": {},
        "probe": {"linear": None, "knn": None},
        "seconds": {},
        "device": "",
        "versions": {},
        "commit": None,
    }
