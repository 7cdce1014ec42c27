"""A headless Chromium for tests: the system's own, driven by playwright, which the extra `test` installs."""

import contextlib
import importlib
import os
import shutil

import pytest

# Set to "required" in CI: without a browser these tests then fail. Elsewhere they are skipped.
SWITCH = "DMLP_BROWSER_TESTS"


def executable():
    """Path of the browser; skips the test where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        missing("no Chromium on the PATH; install one or name it in the variable CHROMIUM")
    return found


def missing(what):
    """Skips the test for the want of something, or fails it where it is required."""
    if os.environ.get(SWITCH) == "required":
        pytest.fail(f"{what} ({SWITCH}=required)", pytrace=False)
    pytest.skip(what)


@contextlib.contextmanager
def browser():
    """A browser, closed at the end."""
    try:
        api = importlib.import_module("playwright.sync_api")
    except ImportError:
        missing("playwright is not installed: pip install playwright")
    path = executable()
    with api.sync_playwright() as playwright:
        # The sandbox needs rights that containers and root do not have.
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield running
        finally:
            running.close()
