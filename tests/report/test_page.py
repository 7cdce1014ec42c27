import re
import warnings
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from dmlp_jax.config import default_config
from dmlp_jax.data.types import Problem
from dmlp_jax.report import findings, label_figures, page
from dmlp_jax.report.names import printable


def make_result(**changes):
    values = {
        "given": 0.3,
        "val_only_probe": 0.8,
        "noisy_probe": 0.7,
        "noisy_plus_val_probe": 0.85,
        "purified": 0.9,
    }
    return {
        "dataset": "toy",
        "rows": {"train": 6, "val": 3, "test": 4},
        "noise": {"name": "symmetric", "rate": 0.8, "measured_flip_rate": 0.7},
        "seed": 0,
        "preset": "default",
        "labels": values,
        "held_out": {**values, "given": None},
        "changed": 0.5,
        "retrain": {"method": "naive", "model": "small_cnn", "with_val": True},
        "test": {"purified": {"best": 0.96, "last": 0.95, "selected": None}},
        "probe": {"linear": 0.99, "knn": 0.98},
        "seconds": {"purify": {"compile": 1.0, "run": 2.0}},
        "device": "1 x cpu",
        "versions": {"jax": "0"},
        "commit": None,
        **changes,
    }


def make_problem(images=True, truth=True):
    rng = np.random.default_rng(0)
    shape = (6, 8, 8, 1) if images else (6, 5)
    inputs = rng.integers(0, 256, size=shape).astype(np.uint8 if images else np.float32)
    return Problem(
        train_inputs=inputs,
        given_labels=np.array([0, 1, 2, 0, 1, 2]),
        true_labels=np.array([1, 1, 2, 0, 0, 2]) if truth else None,
        val_inputs=inputs[:3],
        val_labels=np.array([0, 1, 2]),
        val_given_labels=None,
        test_inputs=None,
        test_labels=None,
        class_names=("<cat>", "dog & co", "bird"),
    )


PURIFIED = {
    "labels": np.array([1, 1, 2, 0, 0, 1]),
    "confidence": np.array([0.9, 0.8, 0.7, 0.6, 0.95, 0.5]),
    "changed": np.array([True, False, False, False, True, True]),
    "label_quality": np.array([0.3, 0.8, 0.7, 0.6, 0.1, 0.4]),
}
PURIFIER = {
    "history/val_loss": np.linspace(1, 0.5, 5),
    "history/held_out_loss": np.linspace(1, 0.6, 5),
    "history/changed": np.linspace(0.1, 0.5, 5),
    "history/labels": np.tile(PURIFIED["labels"], (5, 1)),
    "transition": np.full((3, 3), 1 / 3),
}


def write(path, problem, result=None, purified=PURIFIED, curves=None):
    page.write(
        path, result or make_result(), default_config(), problem, purified, PURIFIER,
        {"purified": [0.5, 0.95]} if curves is None else curves,
    )  # fmt: skip
    return path.read_text()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The page of the plain problem and result."""
    return write(tmp_path_factory.mktemp("page") / "r.html", make_problem())


def test_page_holds_the_table_the_figures_and_the_gallery(plain):
    assert plain.count("<svg") == 7
    # Each says in words what it shows, and so does each cell of the table of classes.
    assert plain.count('<div role="img" aria-labelledby=') == plain.count("<svg")
    assert plain.count("rows given ") + plain.count("Open the rows given ") >= 5
    # Four on the first screen, all six for readers without scripts.
    assert plain.count('class="card') == 10
    assert "90.0 %" in plain
    # Sorted by label quality: row 4 first, kept labels too.
    assert re.findall(r"confidence [\d.]+ %, row (\d)", plain) == ["4", "0", "5", "3", "2", "1"]
    # Row 5 was changed wrongly, and the page says so.
    assert plain.count("wrong") >= 1
    assert "truth: bird" in plain


def test_warnings_stand_first(plain, tmp_path):
    text = "The clean rows <b>1</b>, 2 probably have wrong labels."
    page = write(tmp_path / "w.html", make_problem(), make_result(warnings=[text]))
    assert page.index("&lt;b&gt;1") < page.index('class="lead"')
    assert "Warning:" not in plain


def test_page_marks_the_step_that_labels_are_from(plain, tmp_path):
    marked = write(tmp_path / "r.html", make_problem(), make_result(chosen={"step": 3, "refits": 2}))
    assert "step 3 of 5" in marked
    assert "averaged 2 times" in marked
    # A grey line and its entry in the legend, in both figures over the steps.
    assert marked.count("stroke: #666666") == plain.count("stroke: #666666") + 4


def test_page_needs_nothing_from_elsewhere(plain):
    links = re.findall(r'(?:src|href)="([^"]*)"', plain)
    assert links
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in links)
    assert "<script src" not in plain
    assert "@import" not in plain


def test_class_names_are_escaped(plain):
    assert "<cat>" not in plain
    assert "&lt;cat&gt;" in plain


HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "'; DROP TABLE classes; --",
    "{{ 7 * 7 }}{% raw %}",
    "$\\frac{$",
    "$100",
    "]]><!--",
    "javascript:alert(1)",
    "\x1b[2J\x00\u202e",
    "folder of bytes \udcff",
    "",
    "a" * 100_000,
)


def tags(text):
    """Every element and attribute of the page, as a browser's parser would see them."""

    class Collector(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append((tag, *sorted(name for name, _ in attributes)))

    found = []
    Collector().feed(text)
    return found


@pytest.mark.parametrize("images", [True, False])
def test_hostile_names_are_text(tmp_path, images):
    """Whatever the classes, the data and the settings are called, the page has the same elements."""
    pages = []
    for names in (tuple(f"class {i}" for i in range(12)), HOSTILE):
        rng = np.random.default_rng(0)
        problem = make_problem(images)._replace(
            train_inputs=rng.integers(0, 256, size=(24, 8, 8, 1)).astype(np.uint8) if images else np.eye(24),
            given_labels=np.arange(24) % 12,
            true_labels=(np.arange(24) + 1) % 12,
            class_names=names,
        )
        if not images:
            problem = problem._replace(val_inputs=np.eye(24)[:3])
        purified = {
            "labels": (np.arange(24) + 1) % 12,
            "confidence": np.linspace(0.5, 0.9, 24),
            "label_quality": np.linspace(0.5, 0.9, 24),
            "changed": np.ones(24, bool),
        }
        config = default_config()
        config.data.path = names[0]
        config.name = names[1]
        result = make_result(dataset=names[0], device=names[1], commit=names[0])
        result["noise"]["name"] = result["retrain"]["method"] = names[0]
        purifier = {
            **PURIFIER,
            "transition": np.eye(12),
            "history/labels": np.tile(purified["labels"], (5, 1)),
        }
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")
            page.write(tmp_path / "r.html", result, config, problem, purified, purifier, {"purified": [0.5]})
        pages.append((tmp_path / "r.html").read_text(encoding="utf-8"))
    plain, hostile = map(tags, pages)
    assert [tag for tag in hostile if tag[0] in ("script", "img", "svg")] == [
        tag for tag in plain if tag[0] in ("script", "img", "svg")
    ]
    assert {tag for tag in hostile if any(name.startswith("on") for name in tag[1:])} == set()
    assert {tag[0] for tag in hostile} == {tag[0] for tag in plain}
    text = pages[1]
    assert "onerror=alert(1)&gt;" in text
    assert "<img src=x" not in text
    assert "49" not in re.findall(r'class="purified">([^<]*)<', text)
    assert "\x1b" not in text
    assert "\x00" not in text
    # Decisions name classes in full: the data of the scripts hold the whole names.
    assert "a" * 1000 not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_names_are_cut_and_cleaned_for_the_page_only():
    assert printable("plain name, $1, ü, 猫") == "plain name, $1, ü, 猫"
    assert printable("a\nb\x1b\udcff") == "a b\ufffd\ufffd"
    assert printable("a" * 41) == "a" * 39 + "…"


def test_features_are_listed_by_row(tmp_path):
    text = write(tmp_path / "r.html", make_problem(images=False))
    assert '<span class="muted">row 4</span>' in text
    assert not re.search(r'class="card[^>]*>\s*<img', text)


def test_without_truth_and_test_set(tmp_path):
    result = make_result(
        labels=dict.fromkeys(make_result()["labels"]),
        noise={"name": "given", "rate": None, "measured_flip_rate": None},
        test={},
        probe={"linear": None, "knn": None},
    )
    text = write(tmp_path / "r.html", make_problem(truth=False), result, curves={})
    assert text.count("<svg") == 4
    assert "truth" not in re.sub(r"<details id=.statistics.*", "", text, flags=re.DOTALL)
    assert "network, test" not in text


def test_nothing_changed(tmp_path):
    problem = make_problem()
    purified = {**PURIFIED, "changed": np.zeros(6, bool), "labels": problem.given_labels}
    page = write(tmp_path / "r.html", problem, make_result(changed=0.0), purified=purified)
    assert "No label was changed" in page
    assert "0</strong> <span>labels look wrong" in page
    # The suspects are shown all the same.
    assert re.findall(r"confidence [\d.]+ %, row (\d)", page)[:2] == ["4", "0"]
    assert "&rarr;" not in page[page.index('<div class="first">') : page.index('<section id="review"')]


def test_a_run_without_clean_rows_proposes_and_claims_nothing(tmp_path):
    result = make_result(
        first_look=True,
        rows={"train": 6, "val": 0, "test": 0},
        noise={"name": "given", "rate": None, "measured_flip_rate": None},
        labels={},
        held_out={},
        changed=0.0,
        suspicious=3,
        source="given",
        test={},
        probe={"linear": None, "knn": None},
    )
    problem = make_problem(images=False, truth=False)
    problem = problem._replace(val_inputs=problem.val_inputs[:0], val_labels=problem.val_labels[:0])
    page.write(tmp_path / "r.html", result, default_config(), problem, PURIFIED, {}, {})
    text = (tmp_path / "r.html").read_text()
    assert '<strong>3</strong> <span>labels look wrong</span> <span class="note">of 6 rows, or 50 %.' in text
    assert "No label was changed yet" in text
    assert "All 6 labels were kept" in text
    # The map only: nothing is known of confidence and noise.
    assert text.count("<svg") == 1
    assert "held-out clean rows" not in re.sub(r"<details.*?</details>", "", text, flags=re.DOTALL)
    assert '"reviewed":null' in text
    # Scores that no clean row has checked are no confidence, and too little to accept many labels at once.
    assert '"calibrated":false' in text
    assert "confidence" not in text[text.index("<noscript>") : text.index("</noscript>")]
    assert '<option value="surest">highest score first' in text
    assert '<div class="bar" hidden>' in text


def test_results_of_before_label_quality_are_ranked_by_probability(tmp_path):
    problem = make_problem()
    probs = np.full((6, 3), 0.1)
    probs[np.arange(6), problem.given_labels] = [0.8, 0.2, 0.7, 0.6, 0.5, 0.4]
    purified = {name: values for name, values in PURIFIED.items() if name != "label_quality"}
    page = write(tmp_path / "r.html", problem, purified=purified | {"probs": probs})
    assert re.findall(r"confidence [\d.]+ %, row (\d)", page)[:3] == ["1", "5", "4"]


@pytest.mark.parametrize(("own", "words"), [(0.9, "more than"), (0.85, "as much as"), (0.8, "less than")])
def test_verdict_compares_with_the_best_baseline(own, words):
    labels = {**make_result()["labels"], "purified": own}
    sentence = findings.changes(make_result(labels=labels, rows={"train": 60, "val": 3, "test": 4}))
    assert words in sentence
    assert "probe trained on noisy labels and clean rows, 85.0 %" in sentence


def test_verdict_without_truth_uses_held_out_rows():
    sentence = findings.changes(make_result(labels=dict.fromkeys(make_result()["labels"])))
    assert "held-out clean rows" in sentence
    assert "before" not in sentence


@pytest.mark.parametrize("classes", [3, 12, 40])
def test_figures_are_well_formed_for_any_number_of_classes(classes):
    names = tuple(f"class {i} <&>" for i in range(classes))
    labels = np.arange(200) % classes
    for svg in (
        label_figures.confusion(labels, labels[::-1], names),
        label_figures.class_noise(np.full((classes, classes), 1 / classes), names, None),
        label_figures.label_accuracy(np.linspace(0.5, 0.9, 10), {"given": 0.1, "noisy_probe": 0.7}),
    ):
        ElementTree.fromstring(svg)
