"""The review page as people use it, in a real browser."""

import re

import numpy as np
import pytest

from dmlp_jax.report import decisions
from tests.report.browsing import export, make_page, suspicion

pytestmark = pytest.mark.slow


def test_decide_by_click_and_key_and_export(tmp_path, opened):
    names = ["</script><img src=x onerror='window.hit = 1'>.png", *(f"{row}.png" for row in range(1, 60))]
    problem, purified = make_page(tmp_path / "report.html", 60, side=12, row_names=names)
    tab = opened(tmp_path / "report.html")
    rows, classes, given = suspicion(purified), problem.class_names, problem.given_labels
    assert tab.inner_text("#review-name") == names[rows[0]]
    assert tab.get_attribute("#review-picture", "src").startswith("data:image/png;base64,")
    tab.click("#review-accept")
    tab.keyboard.press("r")
    tab.keyboard.press("s")
    tab.keyboard.press("a")
    tab.keyboard.press("u")
    other = next(label for label in range(4) if label not in (given[rows[3]], purified["labels"][rows[3]]))
    tab.select_option("#review-correct", str(other))
    assert tab.inner_text("#review-progress-text").startswith("3 decided")
    assert tab.evaluate("document.getElementById('review-progress').value") == 3
    text, found = export(tab)
    kinds = ["accept", "reject", "skip", "correct"]
    after = [purified["labels"][rows[0]], given[rows[1]], None, other]
    assert list(found[0]) == ["id", *decisions.COLUMNS]
    assert [record["id"] for record in found] == [names[row] for row in rows[:4]]
    assert len(found) == 4
    for record, row, kind, label in zip(found, rows, kinds, after, strict=False):
        assert record["index"] == str(row)
        assert record["given_label"] == classes[given[row]]
        assert record["predicted_label"] == classes[purified["labels"][row]]
        assert record["decision"] == kind
        assert record["label"] == ("" if label is None else classes[label])
        assert record["picked"] == "suspicious"
        assert float(record["confidence"]) == pytest.approx(float(purified["confidence"][row]), abs=5.1e-5)
    # What the browser writes is what the command reads.
    (tmp_path / "d.csv").write_bytes(text.encode())
    read = decisions.read(tmp_path / "d.csv", given, classes, np.arange(60))
    assert read.labels.tolist() == [label for label in after if label is not None]
    assert read.skipped == 1
    assert not read.random.any()
    assert tab.evaluate("window.hit") is None


def test_decisions_outlive_the_page_and_belong_to_their_run(tmp_path, opened):
    make_page(tmp_path / "report.html", 60)
    tab = opened(tmp_path / "report.html")
    tab.keyboard.press("a")
    tab.keyboard.press("a")
    tab.close(run_before_unload=False)
    tab = opened(tmp_path / "report.html")
    assert tab.inner_text("#review-progress-text").startswith("2 decided")
    assert tab.locator(".row .decision", has_text="accepted").count() == 2
    tab.close()
    make_page(tmp_path / "report.html", 61)
    tab = opened(tmp_path / "report.html")
    assert tab.inner_text("#review-progress-text").startswith("0 decided")


def test_two_tabs_keep_each_others_decisions(tmp_path, opened):
    _, purified = make_page(tmp_path / "report.html", 60)
    rows = suspicion(purified)
    tabs = [opened(tmp_path / "report.html") for _ in range(2)]
    tabs[0].click("#review-accept")
    tabs[0].keyboard.press("r")
    tabs[0].keyboard.press("u")
    tabs[1].click("#review-skip")
    tabs[1].keyboard.press("r")
    for tab in tabs:
        export(tab)
    _, found = export(tabs[0])
    # Of a row that both decided on, the later save holds.
    wanted = {(str(rows[0]), "skip"), (str(rows[1]), "reject")}
    assert {(record["index"], record["decision"]) for record in found} == wanted
    tabs[0].click("#review-accept")
    _, found = export(tabs[1])
    assert len(found) == 2
    assert tabs[1].inner_text("#review-progress-text").startswith("1 decided")


def test_filters_and_order(tmp_path, opened):
    problem, purified = make_page(tmp_path / "report.html", 400)
    tab = opened(tmp_path / "report.html")
    given, labels, confidence = problem.given_labels, purified["labels"], purified["confidence"]

    def count():
        return int(re.search(r"of ([\d,]+)", tab.inner_text("#review-place"))[1].replace(",", ""))

    def fill(name, value):
        tab.fill(f"#review-{name}", value)
        tab.dispatch_event(f"#review-{name}", "change")

    assert count() == 400
    tab.select_option("#review-show", "changed")
    assert count() == purified["changed"].sum()
    tab.select_option("#review-given", "2")
    tab.select_option("#review-purified", "0")
    assert count() == np.sum((given == 2) & (labels == 0))
    fill("low", "45")
    fill("high", "95")
    within = (np.rint(1e4 * confidence) >= 4500) & (np.rint(1e4 * confidence) <= 9500)
    wanted = np.flatnonzero((given == 2) & (labels == 0) & within)
    assert count() == len(wanted) > 2
    tab.select_option("#review-order", "unsure")
    assert tab.inner_text("#review-name") == f"row {wanted[np.argmin(confidence[wanted])]}"
    tab.select_option("#review-order", "row")
    assert tab.inner_text("#review-name") == f"row {wanted.min()}"
    tab.click("#review-skip")
    tab.select_option("#review-show", "open")
    assert count() == len(wanted) - 1
    tab.select_option("#review-show", "decided")
    assert count() == 1
    for name in ("given", "purified"):
        tab.select_option(f"#review-{name}", "")
    for name in ("low", "high"):
        fill(name, "")
    tab.select_option("#review-show", "all")
    assert count() == 400
    tab.select_option("#review-order", "pair")
    first = np.lexsort((labels, given))[0]
    assert tab.inner_text("#review-detail-purified") == problem.class_names[labels[first]]


def test_random_rows_count_as_such_once_all_are_decided(tmp_path, opened):
    make_page(tmp_path / "report.html", 400)
    tab = opened(tmp_path / "report.html")
    tab.click("#review-accept")
    tab.select_option("#review-show", "random")
    assert tab.inner_text("#review-place") == "1 of 20"
    before = re.match(r"(\d) of 20 decided", tab.inner_text("#review-random"))
    for _ in range(19):
        tab.keyboard.press("r")
    assert {record["picked"] for record in export(tab)[1]} == {"suspicious"}
    tab.keyboard.press("s")
    assert tab.inner_text("#review-random") == "20 of 20 decided."
    picked = [record["picked"] for record in export(tab)[1]]
    assert picked.count("random") == 20
    assert picked.count("suspicious") == 1 - int(before[1])


def test_keys_decide_on_nothing_that_is_out_of_view_or_typed(tmp_path, opened):
    make_page(tmp_path / "report.html", 60)
    tab = opened(tmp_path / "report.html", height=500)
    tab.evaluate("window.scrollTo(0, 0)")
    tab.keyboard.press("a")
    tab.locator("#review-detail").scroll_into_view_if_needed()
    tab.focus("#review-low")
    tab.keyboard.press("a")
    tab.focus("#review-list")
    tab.keyboard.press("Control+a")
    assert tab.inner_text("#review-progress-text").startswith("0 decided")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("j")
    tab.keyboard.press("k")
    assert tab.inner_text("#review-place").startswith("2 of")


TIMED = """
    window.frames_ms = [];
    const ask = window.requestAnimationFrame.bind(window);
    window.requestAnimationFrame = (callback) => ask((now) => {
        const begin = performance.now();
        callback(now);
        window.frames_ms.push(performance.now() - begin);
    });
"""


def test_fifty_thousand_rows_scroll_in_few_nodes(tmp_path, opened):
    make_page(tmp_path / "report.html", 50_000)
    assert (tmp_path / "report.html").stat().st_size < 4_000_000
    tab = opened(tmp_path / "report.html", TIMED)
    tab.select_option("#review-show", "all")
    before = tab.evaluate("document.getElementsByTagName('*').length")
    most, seen = 0, set()
    for step in range(60):
        tab.evaluate(f"document.getElementById('review-list').scrollTop = {40_000 * (step + 1)}")
        tab.evaluate("new Promise((done) => setTimeout(done, 30))")
        most = max(most, tab.evaluate("document.querySelectorAll('.row').length"))
        seen |= set(tab.locator(".row .name").all_inner_texts())
    assert most < 40
    assert len(seen) > 500
    assert tab.evaluate("document.getElementsByTagName('*').length") <= before + 10
    frames = tab.evaluate("window.frames_ms")
    assert len(frames) > 30
    # Other programs on the machine may interrupt a frame, but not most of them.
    assert np.percentile(frames, 90) < 50, frames
    print(f"frames: median {np.median(frames):.2f} ms, largest {max(frames):.2f} ms")
    last = tab.evaluate("document.getElementById('review-list').scrollHeight")
    assert last == 48 * 50_000


def test_the_policy_stops_what_gets_in(tmp_path, opened, browser):
    """A script and a picture from elsewhere, put into the page by hand, do not run and are not fetched."""
    path = tmp_path / "report.html"
    make_page(path, 60)
    injected = "<script>window.hit = 1</script><img src='https://example.org/x.png'></body>"
    path.write_text(path.read_text().replace("</body>", injected))
    tab = browser.new_page()
    asked = []
    tab.on("requestfinished", lambda asking: asked.append(asking.url))
    tab.on("console", lambda message: asked.append(message.text))
    tab.goto(path.as_uri())
    assert tab.evaluate("window.hit") is None
    assert not tab.locator("#review").is_hidden()
    assert not any(text.startswith("https://") for text in asked)
    assert sum("Content Security Policy" in text for text in asked) >= 2
    tab.close()


def test_without_scripts_the_gallery_is_there(tmp_path, browser):
    make_page(tmp_path / "report.html", 60, side=12)
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto((tmp_path / "report.html").as_uri())
    assert tab.locator(".card img").count() > 10
    assert tab.locator("#review").is_hidden()
    context.close()
