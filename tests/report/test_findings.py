import numpy as np
import pytest

from dmlp_jax.report import findings, intervals
from tests.report.test_page import make_result


def held_out(own, best, rows):
    values = {"given": None, "val_only_probe": 0.1, "noisy_probe": best, "noisy_plus_val_probe": 0.2}
    return make_result(held_out={**values, "purified": own}, rows={"train": 1000, "val": rows, "test": 0})


def pooled_error(own, best, rows):
    """Written apart from the source: Agresti and Coull's variance for each share."""
    total = 0.0
    for share in (own, best):
        middle = (share * rows + 2) / (rows + 4)
        total += middle * (1 - middle) / (rows + 4)
    return 100 * total**0.5


@pytest.mark.parametrize(
    ("own", "best", "rows", "words"),
    [
        (0.9, 0.8, 1000, "beats the trivial baselines"),
        (0.9, 0.8, 30, "not significant"),
        (0.8, 0.9, 1000, "worse than the best"),
        (0.8, 0.9, 30, "not significant"),
        (0.8, 0.8, 100_000, "not significant"),
        # All of a few rows right is no proof.
        (1.0, 0.9, 20, "not significant"),
    ],
)
def test_no_gain_within_the_noise_is_claimed(own, best, rows, words):
    sentence = findings.trust(held_out(own, best, rows))
    assert words in sentence
    assert ("beats the trivial baselines on" in sentence) == (words == "beats the trivial baselines")
    assert f"{own:.1%}" in sentence
    assert f"{best:.1%}" in sentence
    assert f"{100 * (own - best):+.1f} ± {pooled_error(own, best, rows):.1f} points" in sentence
    assert f"from {rows:,} clean rows" in sentence


def test_equal_gains_are_never_told_from_chance_more_often_than_stated():
    """Two methods of the same true accuracy: a gain is claimed in at most a few of a hundred trials."""
    rng = np.random.default_rng(0)
    claimed = 0
    for own, best in rng.binomial(200, 0.9, size=(1000, 2)) / 200:
        claimed += "beats the trivial baselines on" in findings.trust(held_out(own, best, 200))
    # One-sided 2.3 % beyond two standard errors.
    assert claimed < 40


def test_paper_preset_cannot_tell():
    result = make_result(held_out=dict.fromkeys(make_result()["held_out"]), preset="paper")
    assert "cannot be compared" in findings.trust(result)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("noisy_probe", "those of the probe trained on the noisy labels"),
        ("given", "the given labels were kept"),
    ],
)
def test_labels_of_a_baseline_are_named_so(name, words):
    scores = {
        "given": {"cross_entropy": None, "accuracy": 0.97},
        "noisy_probe": {"cross_entropy": 0.5, "accuracy": 0.95},
    }
    result = held_out(scores[name]["accuracy"], 0.95, 1000)
    result |= {"scores": {**scores, "purified": scores[name]}, "source": name}
    sentence = findings.trust(result)
    assert "did not beat" in sentence
    assert words in sentence
    result["source"] = "purified"
    assert "did not beat" not in findings.trust(result)


def test_classes_of_one_clean_row_are_told():
    result = held_out(0.95, 0.9, 100)
    assert "one clean row only" not in findings.trust(result)
    for count, words in ((1, "1 class has one clean row only"), (7, "7 classes have one clean row only")):
        assert words in findings.trust(result | {"chosen": {"step": 3, "single_row_classes": count}})


def test_step_that_labels_are_from_is_told():
    assert findings.course(make_result(), 60) is None
    replaced = make_result(source="noisy_probe", chosen={"candidate": 1, "step": 23, "refits": 2})
    assert findings.course(replaced, 60) is None
    sentence = findings.course(make_result(chosen={"step": 23, "refits": 0}), 60)
    assert "step 23 of 60" in sentence
    assert "averaged" not in sentence
    for refits, words in ((1, "averaged once with"), (3, "averaged 3 times with")):
        assert words in findings.course(make_result(chosen={"step": 23, "refits": refits}), 60)


def test_reviewed_rows_are_told_with_their_bias():
    review = {
        "accepted": 8, "rejected": 2, "corrected": 0, "skipped": 3, "clean": 10,
        "changes": 10, "right": 8, "confidence": 0.9,
    }  # fmt: skip
    sentence = findings.reviewed(make_result(review=review, rows={"train": 50, "val": 14, "test": 0}))
    assert "10 of the 14 clean rows" in sentence
    assert "harder than average" in sentence
    assert "80.0% were right (95 % interval 49.0% to 94.3%)" in sentence
    assert "mean confidence was 90.0%" in sentence
    assert findings.reviewed(make_result()) is None


def test_drawn_clean_rows_are_nobodys():
    result = make_result() | {"drawn": {"noise_rate": 0.401}}
    count = result["rows"]["val"]
    assert findings.drawn(make_result()) is None
    assert "The clean rows were not checked by anyone" in findings.drawn(result)
    assert "40.1% of all labels" in findings.drawn(result)
    text = findings.drawn(result | {"review": {"clean": 2}})
    assert f"{count - 2:,} of the {count:,} clean rows" in text


def test_a_headline_on_drawn_rows_does_not_call_them_clean():
    sentence = findings.trust(held_out(0.9, 0.8, 1000) | {"drawn": {"noise_rate": 0.4}})
    assert "on held-out rows that were drawn as clean" in sentence


def test_mean_confidence_stands_beside_held_out_accuracy():
    scores = {"purified": {"estimated_accuracy": 0.934, "accuracy": 0.9}}
    assert "93.4%" in findings.calibration(make_result(scores=scores))
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
