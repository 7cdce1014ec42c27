"""A browser for the tests of the page."""

import pytest

from tests.report import chromium


@pytest.fixture(scope="module")
def browser():
    with chromium.browser() as running:
        yield running


@pytest.fixture
def opened(browser):
    """A function that opens a page; at the end nothing may have gone wrong or been asked for."""
    contexts = []
    troubles, asked = [], []

    def open_page(path, script="", width=1200, height=900, **options):
        """Tabs of one test with the same window share their storage, like those of one browser."""
        options = {"viewport": {"width": width, "height": height}, **options}
        context = next((there for there, wanted in contexts if wanted == options), None)
        if context is None:
            context = browser.new_context(accept_downloads=True, **options)
            contexts.append((context, options))
        tab = context.new_page()
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("console", lambda message: troubles.append(message.text))
        tab.on("request", lambda asking: asked.append(asking.url))
        if script:
            tab.add_init_script(script)
        tab.goto(path.as_uri())
        tab.locator("#review").scroll_into_view_if_needed()
        tab.locator("#review-detail").scroll_into_view_if_needed()
        return tab

    yield open_page
    for context, _ in contexts:
        context.close()
    assert troubles == []
    assert {url.split(":")[0] for url in asked} <= {"file", "data", "blob"}
    assert sum(url.startswith("file:") for url in asked) == len([url for url in asked if "report" in url])
