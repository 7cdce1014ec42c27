"""A headless Chromium for tests: the system's own, driven by playwright (the extra 'browser-tests')."""

import contextlib
import os
import shutil

import pytest


def executable():
    """Path of the browser; skips the test where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no Chromium on the PATH; install one or name it in the variable CHROMIUM")
    return found


@contextlib.contextmanager
def browser():
    """A browser, closed at the end."""
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    path = executable()
    with api.sync_playwright() as playwright:
        # The sandbox needs rights that containers and root do not have.
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield running
        finally:
            running.close()
