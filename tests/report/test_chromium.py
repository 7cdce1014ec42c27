"""Without a browser the tests of the page are skipped, but fail where they are required."""

import shutil

import pytest

from tests.report import chromium


@pytest.mark.parametrize(("switch", "outcome"), [("", pytest.skip), ("required", pytest.fail)])
def test_a_missing_browser(monkeypatch, switch, outcome):
    monkeypatch.setenv(chromium.SWITCH, switch)
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(outcome.Exception, match="no Chromium"):
        chromium.executable()
    monkeypatch.setenv("CHROMIUM", "/somewhere/chrome")
    assert chromium.executable() == "/somewhere/chrome"
