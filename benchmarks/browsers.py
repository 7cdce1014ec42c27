"""Opens pages in the system's own Chromium, for benchmarks of the report (extra `browser-tests`)."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any


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
