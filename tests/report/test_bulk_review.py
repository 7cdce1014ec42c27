"""Many rows at once, in a real browser: the grid, its keys, batches, undoing after a reload."""

import re

import numpy as np
import pytest
from ml_collections import ConfigDict

from tests.report.browsing import export, make_page, suspicion

pytestmark = pytest.mark.slow
CLASSES = ("cat", "dog", "7", "x")


def decided(tab):
    """The decisions by row, and their labels."""
    return {int(record["index"]): (record["decision"], record["label"]) for record in export(tab)[1]}


def tile(tab, place):
    return tab.locator(".tile").nth(place)


def test_a_cell_of_the_table_opens_its_rows_and_all_are_accepted_but_the_exceptions(tmp_path, opened):
    problem, purified = make_page(tmp_path / "report.html", 400, CLASSES, side=12)
    tab = opened(tmp_path / "report.html")
    given, labels = problem.given_labels, purified["labels"]
    rows = [row for row in suspicion(purified) if (given[row], labels[row]) == (1, 2)]
    cell = tab.locator("[data-given='1'][data-purified='2']").first
    assert f"{len(rows)} rows given dog, purified 7" in cell.get_attribute("aria-label")
    cell.click()
    assert tab.locator(".tile:visible .name").all_inner_texts() == [f"row {row}" for row in rows]
    assert tab.locator(".tile:visible img").first.get_attribute("src").startswith("data:image/png;base64,")
    tile(tab, 1).click()
    tile(tab, 3).click()
    tile(tab, 3).click()
    # The key of the class 'cat', for the tile that was clicked last; '7' keeps the key that is its name.
    tile(tab, 4).click()
    tab.keyboard.press("1")
    tab.click("#review-accept-shown")
    found = decided(tab)
    assert set(found) == set(rows)
    wanted = dict.fromkeys(rows, ("accept", "7")) | {rows[1]: ("reject", "dog"), rows[4]: ("correct", "cat")}
    assert found == wanted
    assert tab.inner_text("#review-said") == f"{len(rows) - 2} rows accepted."
    tab.keyboard.press("u")
    assert set(decided(tab)) == {rows[1], rows[4]}


def test_a_click_in_the_figure_of_many_classes_opens_the_pair_under_it(tmp_path, opened):
    names = tuple(f"class {label}" for label in range(30))
    problem, purified = make_page(tmp_path / "report.html", 3000, names)
    tab = opened(tmp_path / "report.html")
    box = tab.locator("#confusion-cells").bounding_box()
    for given, label in ((3, 3), (29, 0), (7, 21)):
        tab.locator("#heatmap").scroll_into_view_if_needed()
        box = tab.locator("#confusion-cells").bounding_box()
        at = [(place + 0.5) / 30 for place in (given, label)]
        tab.mouse.click(box["x"] + at[0] * box["width"], box["y"] + at[1] * box["height"])
        pair = (problem.given_labels == given) & (purified["labels"] == label)
        assert f"{pair.sum():,} rows" in tab.inner_text("#review-page-text").replace("no rows", "0 rows")
        assert tab.locator(".tile:visible").count() == min(pair.sum(), 60)
        assert (tab.input_value("#review-given"), tab.input_value("#review-purified")) == (
            str(given),
            str(label),
        )


def test_pages_of_the_list_are_accepted_by_one_key_each(tmp_path, opened):
    _, purified = make_page(tmp_path / "report.html", 100, CLASSES)
    tab = opened(tmp_path / "report.html")
    tab.keyboard.press("g")
    tab.select_option("#review-page-size", "12")
    tab.locator("#review-many").scroll_into_view_if_needed()
    tab.locator("#review-accept-shown").focus()
    for _ in range(3):
        tab.keyboard.press("a")
    assert tab.inner_text("#review-page-text").startswith("page 4 of 9, 100 rows")
    assert set(decided(tab)) == set(suspicion(purified)[:36])
    tab.keyboard.press("k")
    tab.keyboard.press("j")
    assert tab.inner_text("#review-page-text").startswith("page 4 ")
    # Back to one by one, at the row that the grid showed.
    tab.keyboard.press("g")
    assert tab.inner_text("#review-place") == "37 of 100"


def test_a_range_is_selected_by_shift(tmp_path, opened):
    problem, purified = make_page(tmp_path / "report.html", 100, CLASSES)
    tab = opened(tmp_path / "report.html")
    rows = suspicion(purified)
    tab.keyboard.press("g")
    tile(tab, 5).click()
    tab.keyboard.press("u")
    tile(tab, 8).click(modifiers=["Shift"])
    assert tab.locator(".tile.selected").count() == 4
    tab.keyboard.press("2")
    found = decided(tab)
    assert {row: label for row, (_, label) in found.items()} == dict.fromkeys(rows[5:9], "dog")
    for row in rows[5:9]:
        same = {problem.given_labels[row]: "reject"} | {purified["labels"][row]: "accept"}
        assert found[row][0] == same.get(1, "correct")
    tile(tab, 0).focus()
    tab.keyboard.press("Shift+ArrowRight")
    tab.keyboard.press("Shift+ArrowRight")
    tab.keyboard.press("Shift+ArrowLeft")
    assert tab.locator(".tile.selected").count() == 2
    tab.keyboard.press("a")
    assert set(decided(tab)) == {*rows[5:9], *rows[:2]}
    # One step each.
    tab.keyboard.press("u")
    tab.keyboard.press("u")
    assert decided(tab) == {}


def test_a_range_is_selected_by_taps(tmp_path, opened):
    _, purified = make_page(tmp_path / "report.html", 100, CLASSES)
    tab = opened(tmp_path / "report.html", width=390, height=844, has_touch=True)
    rows = suspicion(purified)
    tab.tap("#review-bulk")
    for first, last in ((3, 6), (14, 9)):
        tab.tap("#review-range-start")
        assert tab.inner_text("#review-range-text") == "Tap the first row."
        tile(tab, first).tap()
        assert tab.locator(".tile.selected").count() == 1
        assert tab.inner_text("#review-range-text") == "Tap the last row."
        tile(tab, last).tap()
        count = abs(last - first) + 1
        assert tab.inner_text("#review-range-text") == f"{count} selected"
        assert tab.locator(".tile.selected").count() == count
        bar = tab.locator("#review-range").bounding_box()
        assert bar["height"] < 70
        tab.tap("#review-range-accept" if first == 3 else "#review-range-reject")
    # Nothing is selected any more, and taps make exceptions again.
    assert tab.locator(".tile.selected").count() == 0
    assert not tab.is_visible("#review-range-accept")
    found = decided(tab)
    assert {row for row in found if found[row][0] == "accept"} == set(rows[3:7])
    assert {row for row in found if found[row][0] == "reject"} == set(rows[9:15])
    tile(tab, 20).tap()
    assert len(decided(tab)) == len(found) + 1
    # One step for a range; a range that was begun can be given up, and another page ends it.
    tab.tap("#review-undo")
    tab.tap("#review-undo")
    assert set(decided(tab)) == set(rows[3:7])
    for leave in ("#review-range-clear", "#review-page-next"):
        tab.tap("#review-range-start")
        tile(tab, 1).tap()
        tab.tap(leave)
        assert tab.locator(".tile.selected").count() == 0
        assert tab.is_visible("#review-range-start")
    assert set(decided(tab)) == set(rows[3:7])


def test_with_a_mouse_the_bar_shows_only_what_is_selected(tmp_path, opened):
    _, purified = make_page(tmp_path / "report.html", 100, CLASSES)
    tab = opened(tmp_path / "report.html")
    rows = suspicion(purified)
    tab.keyboard.press("g")
    assert not tab.is_visible("#review-range")
    tile(tab, 2).click()
    tab.keyboard.press("u")
    tile(tab, 4).click(modifiers=["Shift"])
    assert tab.inner_text("#review-range-text") == "3 selected"
    # The tile under the mouse looks like the others.
    colours = "nodes => new Set(nodes.map((node) => getComputedStyle(node).backgroundColor)).size"
    assert tab.eval_on_selector_all(".tile.selected", colours) == 1
    tab.click("#review-range-accept")
    assert set(decided(tab)) == set(rows[2:5])
    assert not tab.is_visible("#review-range")


def test_accept_all_above_a_confidence_takes_changed_rows_of_the_list_only(tmp_path, opened):
    problem, purified = make_page(tmp_path / "report.html", 400, CLASSES)
    tab = opened(tmp_path / "report.html")
    tab.keyboard.press("r")
    tab.select_option("#review-given", "3")
    tab.fill("#review-above", "80")
    sure = np.rint(1e4 * purified["confidence"]) >= 8000
    rows = np.flatnonzero(sure & purified["changed"] & (problem.given_labels == 3))
    rows = np.setdiff1d(rows, suspicion(purified)[:1])
    assert tab.inner_text("#review-accept-above") == f"Accept {len(rows)} rows"
    tab.click("#review-accept-above")
    found = decided(tab)
    assert {row for row, (kind, _) in found.items() if kind == "accept"} == set(rows)
    assert tab.locator("#review-accept-above").is_disabled()
    tab.keyboard.press("u")
    assert list(decided(tab)) == [suspicion(purified)[0]]


def test_undo_survives_a_reload_and_a_skip_undoes_nothing(tmp_path, opened):
    _, purified = make_page(tmp_path / "report.html", 60, CLASSES)
    tab = opened(tmp_path / "report.html")
    rows = suspicion(purified)
    tab.keyboard.press("a")
    tab.keyboard.press("r")
    tab.keyboard.press("k")
    tab.keyboard.press("s")
    assert tab.inner_text("#review-place").startswith("3 of")
    assert decided(tab)[rows[1]][0] == "reject"
    tab.close(run_before_unload=False)
    tab = opened(tmp_path / "report.html")
    tab.keyboard.press("u")
    assert set(decided(tab)) == {rows[0]}
    tab.keyboard.press("u")
    assert decided(tab) == {}
    assert tab.locator("#review-undo").is_disabled()


COUNTED = """
    window.actions = 0;
    for (const kind of ["keydown", "click"])
        window.addEventListener(kind, (event) => (window.actions += event.isTrusted), true);
"""


def test_three_hundred_decisions_take_less_than_half_the_keys_and_clicks(tmp_path, opened):
    """The same decisions in the same order, one by one with a key each, and many at once."""
    problem, purified = make_page(tmp_path / "report.html", 400, CLASSES)
    order, rng = suspicion(purified)[:300], np.random.default_rng(1)
    given, proposed = problem.given_labels[order], purified["labels"][order]
    # What a reviewer finds: a tenth of the proposals are wrong, and now and then neither label is right.
    drawn = rng.random(300)
    true = np.where(drawn < 0.1, given, np.where(drawn < 0.15, (proposed + 1) % 4, proposed))
    actions, exported = [], []
    for many in (False, True):
        tab = opened(tmp_path / "report.html", COUNTED, width=1200 + many)
        keys = [text.split()[-1] for text in tab.locator("#review-classes button").all_inner_texts()]
        if many:
            tab.keyboard.press("g")
        for start in range(0, 300, 60):
            for place in range(start, start + 60):
                if not many:
                    tab.keyboard.press("a" if true[place] == proposed[place] else keys[true[place]])
                elif true[place] != proposed[place]:
                    tile(tab, place - start).click()
                    if true[place] != given[place] or given[place] == proposed[place]:
                        tab.keyboard.press(keys[true[place]])
            if many:
                tab.keyboard.press("a")
        actions.append(tab.evaluate("window.actions"))
        exported.append(export(tab)[0])
        tab.close()
    assert exported[0] == exported[1]
    assert exported[0].count("\n") > 300
    assert actions[0] == 300
    assert actions[1] < 150


def test_keys_of_classes_decide_one_by_one(tmp_path, opened):
    problem, purified = make_page(tmp_path / "report.html", 60, CLASSES)
    tab = opened(tmp_path / "report.html")
    keys = tab.locator("#review-classes button").all_inner_texts()
    assert keys == ["cat 1", "dog 2", "7 7", "x x"]
    for key in "127x":
        tab.keyboard.press(key)
    found = decided(tab)
    for row, label in zip(suspicion(purified), range(4), strict=False):
        given, proposed = problem.given_labels[row], purified["labels"][row]
        kind = "accept" if label == proposed else "reject" if label == given else "correct"
        assert found[row] == (kind, CLASSES[label])


def test_the_first_screen_opens_the_review(tmp_path, opened):
    names = [f"{row}.png" for row in range(60)]
    _, purified = make_page(tmp_path / "report.html", 60, CLASSES, side=12, row_names=names)
    tab = opened(tmp_path / "report.html")
    rows = suspicion(purified)
    tab.evaluate("window.scrollTo(0, 0)")
    tab.locator(".first .card").nth(2).click()
    assert tab.inner_text("#review-name") == names[rows[2]]
    tab.evaluate("window.scrollTo(0, 0)")
    tab.click("#begin")
    tab.keyboard.press("a")
    assert set(decided(tab)) == {rows[2]}


def test_texts_columns_evidence_and_zoom(tmp_path, opened):
    texts = [
        f"<b>Row {row}</b> & a text that is longer than a word or two, {'very ' * row}long"
        for row in range(60)
    ]
    columns = {"text": texts, "source": [f"page {row}" for row in range(60)]}
    _, purified = make_page(tmp_path / "report.html", 60, CLASSES, columns=columns)
    row = suspicion(purified)[0]
    tab = opened(tmp_path / "report.html")
    assert tab.inner_text("#review-text") == texts[row].strip()
    assert tab.inner_text("#review-columns") == f"source\npage {row}"
    assert "This page holds, in full, the columns text, source of 60 rows" in " ".join(
        tab.inner_text("#review").split()
    )
    assert tab.locator(".evidence li strong").count() == 3
    assert set(tab.locator(".evidence li strong").all_inner_texts()) <= set(CLASSES)
    tab.keyboard.press("z")
    assert tab.inner_text("#review-dialog p") == texts[row].strip()
    # Behind the enlarged row no key decides.
    tab.keyboard.press("a")
    tab.keyboard.press("z")
    assert not tab.locator("#review-dialog").is_visible()
    assert tab.inner_text("#review-progress-text").startswith("0 decided")
    tab.keyboard.press("g")
    assert tile(tab, 0).locator(".excerpt").inner_text() == texts[row].strip()


def test_the_command_is_shown_to_copy(tmp_path, opened):
    command = "dmlp-purify f.npy --apply decisions.csv --out 'OUT 2'"
    config = ConfigDict({"report": {"gallery": 0, "map": "none"}, "arguments": {}})
    make_page(tmp_path / "report.html", 60, CLASSES, rerun=command, config=config)
    tab = opened(tmp_path / "report.html")
    assert tab.inner_text("#review-command") == command
    tab.click("#review-copy")
    # Browsers differ in what a page from a file may do: it is on the clipboard, or selected for the reader.
    tab.locator("#review-copy", has_text=re.compile("Copied|Selected")).wait_for()
    if tab.inner_text("#review-copy").startswith("Selected"):
        assert tab.evaluate("String(window.getSelection())") == command
