import numpy as np
import pytest

from dmlp_jax.report import findings, intervals
from tests.report.test_headline import held_out
from tests.report.test_page import make_result


def test_step_that_labels_are_from_is_told():
    assert findings.course(make_result(), 60) is None
    replaced = make_result(source="noisy_probe", chosen={"candidate": 1, "step": 23, "refits": 2})
    assert findings.course(replaced, 60) is None
    sentence = findings.course(make_result(chosen={"step": 23, "refits": 0}), 60)
    assert "step 23 of 60" in sentence
    assert "averaged" not in sentence
    learned = findings.course(make_result(chosen={"step": 23, "reviewed_rounds": 4}), 60)
    assert learned.startswith("The classifier is that of step 23")
    assert "4 more rounds" in learned
    for refits, words in ((1, "averaged once with"), (3, "averaged 3 times with")):
        assert words in findings.course(make_result(chosen={"step": 23, "refits": refits}), 60)


def test_reviewed_rows_are_told_with_their_bias():
    review = {
        "accepted": 8, "rejected": 2, "corrected": 0, "skipped": 3, "clean": 10,
        "changes": 10, "right": 8, "confidence": 0.9,
    }  # fmt: skip
    sentence = findings.reviewed(make_result(review=review, rows={"train": 50, "val": 14, "test": 0}))
    assert "10 of the 14 clean rows" in sentence
    assert "do not count towards accuracies." in sentence
    assert "80.0 % were right (95 % interval 49.0 % to 94.3 %)" in sentence
    assert "mean confidence was 90.0 %" in sentence
    for random, words in ((4, "accuracies; 4 were drawn at random and do."), (10, "All of them were drawn")):
        told = make_result(review=review | {"random": random}, rows={"train": 50, "val": 14, "test": 0})
        assert words in findings.reviewed(told)
    assert findings.reviewed(make_result()) is None


def test_drawn_clean_rows_are_nobodys():
    result = make_result() | {"drawn": {"noise_rate": 0.401}}
    count = result["rows"]["val"]
    assert findings.drawn(make_result()) is None
    assert "The clean rows were not checked by anyone" in findings.drawn(result)
    assert "40.1 % of all labels" in findings.drawn(result)
    text = findings.drawn(result | {"review": {"clean": 2}})
    assert f"{count - 2:,} of the {count:,} clean rows" in text


def test_mean_confidence_stands_beside_held_out_accuracy():
    scores = {"purified": {"estimated_accuracy": 0.934, "accuracy": 0.9}}
    sentence = findings.calibration(make_result(scores=scores))
    assert "93.4 %; on held-out clean rows 90.0 % are expected to be right" in sentence
    sentence = findings.calibration(held_out(0.9, 0.8, 1000) | {"scores": scores})
    assert "93.4 %; the accuracy is 90.0 % ± 1.0 % on 1,000 reviewed rows." in sentence
    assert findings.calibration(make_result()) is None


def test_wilson_solves_its_equation():
    """The limits p are where |share - p| is 1.96 standard errors of p."""
    hits, count = np.array([0, 1, 50, 99, 100.0]), 100.0
    for limit in intervals.wilson(hits, count):
        inside = (limit > 1e-9) & (limit < 1 - 1e-9)
        error = np.sqrt(limit * (1 - limit) / count)
        np.testing.assert_allclose(np.abs(hits / count - limit)[inside], 1.959964 * error[inside], rtol=1e-6)
    np.testing.assert_array_equal(np.array(intervals.wilson(0, 0)), [0, 1])
    assert intervals.wilson(0, 100)[0] == 0


def test_wilson_covers():
    rng = np.random.default_rng(0)
    for share, count in ((0.5, 30), (0.05, 200)):
        lower, upper = intervals.wilson(rng.binomial(count, share, 4000), count)
        assert np.mean((lower <= share) & (share <= upper)) == pytest.approx(0.95, abs=0.03)


def test_what_was_searched_beside_labels_is_told():
    nothing = dict.fromkeys(("duplicates", "duplicate_sets", "duplicates_whose_labels_differ", "outliers"), 0)
    rows = {"train": 3_000_000, "val": 0, "test": 0}
    assert findings.beside_labels(make_result(rows_found=None)) is None
    assert findings.beside_labels(make_result(rows_found=nothing)) is None
    assert "2 outliers" in findings.beside_labels(make_result(rows_found=nothing | {"outliers": 2}))
    equal = findings.beside_labels(make_result(rows_found=nothing | {"outliers": None}, rows=rows))
    assert equal.startswith("No two rows have equal features. Only exact duplicates")
    assert "3,000,000 rows" in equal
