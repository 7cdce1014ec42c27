import numpy as np
import pytest

from dmlp_jax.report import findings, headline
from tests.report.test_page import make_result


def held_out(own, best, rows):
    """A result whose accuracies were counted, with given labels of accuracy 0.3."""
    values = {"given": 0.3, "val_only_probe": 0.1, "noisy_probe": best, "noisy_plus_val_probe": 0.2}
    return make_result(held_out={**values, "purified": own}, rows={"train": 1000, "val": rows, "test": 0})


def partly_known(own, best, rows):
    """The same where given labels are known, but none that can be counted."""
    result = held_out(own, best, rows)
    counted = {"random_rows": rows, "given_random_rows": 0, "given_known": 3}
    return result | {"held_out": result["held_out"] | {"given": None}, "counted": counted}


def expected(own, best, rows):
    """The same with unknown given labels: the accuracy of purified ones is the model's expectation."""
    result = held_out(own, best, rows)
    return result | {"held_out": result["held_out"] | {"given": None}}


def unchanged(result, changed=0.0):
    return result | {"changed": changed}


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
        (0.9, 0.8, 1000, "beats the best trivial baseline"),
        (0.9, 0.8, 30, "not significant"),
        (0.8, 0.9, 1000, "worse than the best"),
        (0.8, 0.9, 30, "not significant"),
        (0.8, 0.8, 100_000, "not significant"),
        # All of a few rows right is no proof.
        (1.0, 0.9, 20, "not significant"),
    ],
)
def test_no_gain_within_the_noise_is_claimed(own, best, rows, words):
    sentence = headline.trust(partly_known(own, best, rows))
    assert words in sentence
    assert ("beats" in sentence) == words.startswith("beats")
    assert f"{100 * own:.1f} % ±" in sentence
    assert f"{100 * best:.1f} % ±" in sentence
    assert f"{100 * (own - best):+.1f} ± {pooled_error(own, best, rows):.1f} points" in sentence
    assert f"on {rows:,} reviewed rows" in sentence


def test_equal_gains_are_never_told_from_chance_more_often_than_stated():
    """Two methods of the same true accuracy: a gain is claimed in at most a few of a hundred trials."""
    rng = np.random.default_rng(0)
    claimed = 0
    for own, best in rng.binomial(200, 0.9, size=(1000, 2)) / 200:
        claimed += "beats" in headline.trust(partly_known(own, best, 200))
    # One-sided 2.3 % beyond two standard errors.
    assert claimed < 40


def test_paper_preset_cannot_tell():
    result = make_result(held_out=dict.fromkeys(make_result()["held_out"]), preset="paper")
    assert "cannot be compared" in headline.trust(result)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("noisy_probe", "those of the probe trained on the noisy labels, and their accuracy is 95.0 % ±"),
        ("given", "the given labels, so these were kept: their accuracy is 97.0 % ±"),
    ],
)
def test_labels_of_a_baseline_are_named_so(name, words):
    scores = {
        "given": {"cross_entropy": None, "accuracy": 0.97},
        "noisy_probe": {"cross_entropy": 0.5, "accuracy": 0.95},
    }
    result = held_out(scores[name]["accuracy"], 0.95, 1000)
    result |= {"scores": {**scores, "purified": scores[name]}, "source": name}
    sentence = headline.trust(result)
    assert "did not beat" in sentence
    assert words in sentence
    result["source"] = "purified"
    assert "did not beat" not in headline.trust(result)


def test_classes_of_one_clean_row_are_told():
    result = held_out(0.95, 0.9, 100)
    assert "one clean row only" not in headline.trust(result)
    for count, words in ((1, "1 class has one clean row only"), (7, "7 classes have one clean row only")):
        assert words in headline.trust(result | {"chosen": {"step": 3, "single_row_classes": count}})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (0.7, "Purification improves the given labels (70.0 % ±"),
        (0.9, "Purification is worse than the given labels (90.0 % ±"),
        (0.79, "The difference between purification and the given labels (79.0 % ±"),
    ],
)
def test_known_given_labels_are_compared_first(given, words):
    result = held_out(0.8, 0.7, 1000)
    result["held_out"] = result["held_out"] | {"given": given}
    sentence = headline.trust(result)
    assert sentence.startswith(words)
    assert f"{100 * (0.8 - given):+.1f} ± {pooled_error(0.8, given, 1000):.1f} points." in sentence
    assert (
        "Purification beats the best trivial baseline (probe trained on the noisy labels, 70.0 % ±"
        in sentence
    )
    assert "an accuracy of 80.0 % ± 1.3 % on 1,000 reviewed rows, a difference" in sentence
    assert sentence.count("on 1,000 reviewed rows") == 1


CLAIMS = ("beats", "improve", "better")


@pytest.mark.parametrize("result", [held_out(0.99, 0.8, 1000), expected(0.99, 0.8, 1000)])
def test_no_gain_is_claimed_on_drawn_rows(result):
    sentence = headline.trust(result | {"drawn": {"noise_rate": 0.4}})
    assert "drawn from the noisy rows" in sentence
    assert not any(word in sentence for word in CLAIMS)
    sentence = headline.trust(unchanged(expected(0.99, 0.8, 1000)) | {"drawn": {"noise_rate": 0.4}})
    assert "nobody reviewed them" in sentence


@pytest.mark.parametrize(
    ("changed", "rows", "words"),
    [
        (0.0, 1000, "No label was changed. "),
        (0.002, 1000, "Next to no label was changed (2 of 1,000)"),
        (0.0009, 100_000, "Next to no label was changed (90 of 100,000)"),
        (0.003, 1000, None),
        (0.001, 100_000, None),
    ],
)
def test_no_gain_is_claimed_where_next_to_nothing_changed(changed, rows, words):
    for result in (held_out(0.99, 0.8, 1000), expected(0.99, 0.8, 1000)):
        told = unchanged(result, changed) | {"rows": {"train": rows, "val": 1000, "test": 0}}
        sentence = headline.trust(told)
        assert (words is None) == ("changed" not in sentence)
        if words is None:
            continue
        assert words in sentence
        assert not any(word in sentence for word in CLAIMS)
        assert "more than" not in findings.changes(told)
    assert words is None or "How many given labels are right is not known" in sentence


def test_kept_labels_are_told_with_what_was_counted():
    sentence = headline.trust(unchanged(held_out(0.3, 0.2, 200)))
    assert "The accuracy of the given labels is 30.0 % ± 3.2 % on 200 reviewed rows." in sentence


def test_an_expectation_is_called_one_and_does_not_stand_alone():
    sentence = headline.trust(expected(0.9, 0.8, 1000))
    assert "90.0 % of the purified labels are expected to be right." in sentence
    assert "an assumption, not a count" in sentence
    assert "(probe trained on the noisy labels) was counted: its accuracy is 80.0 % ± 1.3 %" in sentence
    assert not any(word in sentence for word in CLAIMS)


def test_rows_that_were_all_picked_count_nothing():
    result = make_result(held_out=dict.fromkeys(make_result()["held_out"]), counted={"random_rows": 0})
    assert "none of the reviewed rows was drawn at random" in headline.trust(result)
