"""The selection by itself: p-values, the procedure of Benjamini and Hochberg, its promise, its reasons."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import false_discovery_control

from dmlp_jax import InputError, accept
from dmlp_jax.purifier.accept import benjamini_hochberg
from dmlp_jax.purifier.result import Calibration


def calibration_of(confidence, right, weight=None, largest=1.0, unseen=0.0, share=0.5):
    weight = np.ones(len(right)) if weight is None else weight
    numbers = (np.float32(value) for value in (largest, unseen, share))
    return Calibration(np.float32(confidence), np.asarray(right), np.float32(weight), *numbers)


def result_of(confidence, *arguments, **named):
    return SimpleNamespace(
        confidence=np.asarray(confidence, np.float32), calibration=calibration_of(*arguments, **named)
    )


def by_hand(confidence, calibration, alpha):
    """p-values and accepted rows, in float64, one row after the other."""
    trust, right, weight, largest, unseen, _ = (np.asarray(part, np.float64) for part in calibration)
    added = largest + unseen
    p_values = np.array(
        [
            (added + sum(w for c, r, w in zip(trust, right, weight, strict=True) if not r and c >= own))
            / (added + weight.sum())
            for own in np.asarray(confidence, np.float64)
        ]
    )
    most = 0
    for number in range(1, len(p_values) + 1):
        if np.sum(p_values <= alpha * number / len(p_values)) >= number:
            most = number
    return p_values, p_values <= alpha * most / len(p_values) if most else np.zeros(len(p_values), bool)


@pytest.mark.parametrize("kind", ["unit weights", "weights", "ties"])
def test_p_values_and_rows_are_those_by_hand(kind):
    rng = np.random.default_rng(3)
    trust, confidence = np.float32(rng.random(60)), np.float32(rng.random(80))
    right = rng.random(60) < 0.4 + 0.6 * trust
    named = {}
    if kind == "weights":
        named = {"weight": rng.choice([0, 0.37, 1.6], 60), "largest": 1.6, "unseen": 0.4}
    if kind == "ties":
        trust, confidence = np.round(trust, 1), np.round(confidence, 1)
    result, accepted = result_of(confidence, trust, right, **named), []
    for alpha in (0.02, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5):
        found = accept(result, alpha)
        p_values, rows = by_hand(confidence, result.calibration, alpha)
        np.testing.assert_allclose(found.p_value, p_values, rtol=1e-5)
        np.testing.assert_array_equal(found.rows, rows)
        accepted.append(rows.mean())
    assert accepted[0] == 0
    assert accepted[-1] == 1
    assert any(0 < share < 1 for share in accepted)


def test_rejections_are_those_of_scipy():
    rng = np.random.default_rng(0)
    for alpha in (0.01, 0.1, 0.3):
        p_values = np.float32(rng.random(50) ** 4)
        expected = false_discovery_control(np.float64(p_values)) <= alpha
        np.testing.assert_array_equal(benjamini_hochberg(jnp.asarray(p_values), alpha), expected)


def draw(rng, rows):
    """Confidences, and whether the labels are right: so often as the confidence says less a tenth."""
    confidence = np.float32(rng.beta(3, 1, rows))
    return confidence, rng.random(rows) < confidence - 0.1 * confidence**3


def rate_of_wrong(select, seeds=300):
    """Mean share of wrong labels among the selected, its standard error, and the share selected."""
    wrong, share = [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        (trust, sure), (confidence, right) = draw(rng, 60), draw(rng, 100)
        rows = np.asarray(select(trust, sure, confidence))
        wrong.append(np.mean(~right[rows]) if rows.any() else 0.0)
        share.append(rows.mean())
    return np.mean(wrong), np.std(wrong) / seeds**0.5, np.mean(share)


def test_the_promise_holds_in_the_mean():
    """Where 28 % of all labels are wrong; without the one row more that p-values count, it is broken."""
    alpha = 0.15
    wrong, error, share = rate_of_wrong(lambda *rows: accept(result_of(rows[2], *rows[:2]), alpha).rows)
    assert 0.5 * alpha < wrong < alpha + 2 * error
    assert share > 0.2

    def without_one(trust, right, confidence):
        p_values = [np.sum(~right & (trust >= own)) / len(right) for own in confidence]
        return benjamini_hochberg(jnp.asarray(p_values), alpha)

    wrong, error, _ = rate_of_wrong(without_one)
    assert wrong > alpha + 2 * error


def test_weights_mend_a_calibration_set_of_other_class_shares():
    """A class that is hard to tell is a tenth of the calibration rows and half of the training rows."""
    rates = {"weights": [], "none": []}
    for seed in range(200):
        rng = np.random.default_rng(seed)

        def rows(hard, rng=rng):
            confidence = np.float32(rng.random(len(hard)))
            return confidence, rng.random(len(hard)) < np.where(hard, 0.5 + 0.5 * confidence**4, 0.97)

        of_calibration, of_training = rng.random(400) < 0.1, rng.random(300) < 0.5
        trust, sure = rows(of_calibration)
        confidence, right = rows(of_training)
        weight = np.where(of_calibration, 5.0, 0.5 / 0.9)
        for name, named in (("weights", {"weight": weight, "largest": 5.0}), ("none", {})):
            taken = np.asarray(accept(result_of(confidence, trust, sure, **named), 0.15).rows)
            rates[name].append(np.mean(~right[taken]) if taken.any() else 0.0)
    assert np.mean(rates["weights"]) < 0.15
    assert np.mean(rates["none"]) > 0.2


def test_about_one_over_alpha_rows_are_the_least():
    confidence = np.linspace(0.5, 1, 40)
    for alpha, least in ((0.01, 99), (0.05, 19), (0.1, 9)):
        for count in (least - 1, least):
            found = accept(result_of(confidence, np.full(count, 0.9), np.ones(count, bool)), alpha)
            assert bool(np.all(found.rows)) == (count == least)
            assert float(found.needed) == pytest.approx(least, rel=1e-4)
        few = accept(result_of(confidence, np.full(5, 0.9), np.ones(5, bool)), alpha)
        assert f"5 calibration rows are too few for a risk of {alpha:g}: it takes about {least}" in few.reason
        # At a share of a half it takes two reviewed rows for one calibration row.
        assert f"about {2 * (least - 5)} more reviewed rows" in few.reason
        assert found.reason == ""


def test_the_number_needed_is_enough():
    """With as many rows of the same mistakes some label is accepted, with fewer none."""
    confidence, trust = np.linspace(0, 1, 50), np.linspace(0, 1, 20)
    right = trust > 0.4
    first = accept(result_of(confidence, trust, right), 0.02)
    times = float(first.needed) / 20
    assert times > 2
    for repeats, taken in ((int(times), False), (int(times) + 1, True)):
        again = result_of(confidence, np.repeat(trust, repeats), np.repeat(right, repeats))
        assert bool(np.any(accept(again, 0.02).rows)) == taken


def test_reasons_without_and_with_hopeless_rows():
    confidence = np.linspace(0.5, 1, 40)
    none = accept(SimpleNamespace(confidence=confidence, calibration=None), 0.02)
    assert not np.any(none.rows)
    assert "purify(..., calibration=0.3)" in none.reason
    assert "at least 49 calibration rows" in none.reason
    empty = accept(result_of(confidence, np.zeros(0), np.zeros(0, bool), share=0), 0.02)
    assert not np.any(empty.rows)
    assert "val_given_labels" in empty.reason
    assert "at least 49" in empty.reason
    hopeless = accept(result_of(confidence, np.linspace(0.5, 1, 90), np.zeros(90, bool)), 0.02)
    assert not np.any(hopeless.rows)
    assert "a larger alpha" in hopeless.reason


def test_under_jit_and_vmap():
    rng = np.random.default_rng(1)
    trust, right = draw(rng, 60)
    confidence = np.stack([draw(rng, 100)[0] for _ in range(2)])
    calibration = calibration_of(trust, right)

    def rows(confidence, alpha):
        return accept(SimpleNamespace(confidence=confidence, calibration=calibration), alpha)

    many = jax.jit(jax.vmap(rows))(confidence, jnp.asarray([0.1, 0.2]))
    for index, alpha in enumerate((0.1, 0.2)):
        one = rows(confidence[index], alpha)
        np.testing.assert_array_equal(many.rows[index], one.rows)
        np.testing.assert_allclose(many.p_value[index], one.p_value, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 5, "0.1", None, [0.1, 0.2], np.nan])
def test_a_risk_is_between_0_and_1(alpha):
    with pytest.raises(InputError, match=r"alpha .*between 0 and 1"):
        accept(result_of(np.ones(3), np.ones(3), np.ones(3, bool)), alpha)
