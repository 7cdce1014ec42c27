import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier.reviewed import evidence
from dmlp_jax.purifier.rows import clean_set, reviews

C = 3
# Shares of the classes among training rows, and how many of each are given wrong labels.
SHARES = np.array([0.6, 0.3, 0.1])
WRONG = np.array([0.1, 0.2, 0.5])


EVEN = np.full(C, 1 / C)


def class_blind_counts(rate=0.3, shares=EVEN):
    """Soft counts of 1000 rows whose noise does not depend on the classes."""
    same = np.eye(C)
    return 1000 * shares[:, None] * ((1 - rate) * same + rate / (C - 1) * (1 - same))


@jax.jit
def _evidence(counts, labels, given, random):
    clean = clean_set.make(jnp.zeros((len(labels), 2)), labels, C, 3, jax.random.key(0))
    found = reviews.make(given, random, C)
    shift = evidence.class_share_shift(counts, found, clean)
    return evidence.noise_evidence(counts, found, clean, shift), shift


def evidence_of(counts, labels, given, random=None):
    random = np.ones(len(labels), bool) if random is None else random
    return _evidence(jnp.asarray(counts, jnp.float32), *map(jnp.asarray, (labels, given, random)))


def rate_of(found):
    """The noise rate e whose log-odds (1 - e) (c - 1) / e these are."""
    return (C - 1) / (np.exp(float(found.log_odds)) + C - 1)


def reviewed_rows(rows=300, seed=0):
    """Even classes, 20 % of the given labels wrong."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % C
    wrong = rng.permutation(rows) < rows // 5
    return labels, np.where(wrong, (labels + 1) % C, labels), wrong


def test_the_rate_is_that_of_the_rows_shrunk_to_that_of_the_counts():
    labels, given, wrong = reviewed_rows()
    found, shift = evidence_of(class_blind_counts(0.4), labels, given)
    np.testing.assert_allclose(shift, 0, atol=1e-6)
    wanted = (wrong.sum() + evidence.PSEUDO_ROWS * 0.4) / (300 + evidence.PSEUDO_ROWS)
    np.testing.assert_allclose(rate_of(found), wanted, rtol=1e-4)


def test_picked_rows_do_not_count():
    labels, given, wrong = reviewed_rows()
    random = np.arange(300) < 150
    all_wrong = np.where(random, given, (labels + 1) % C)
    found, _ = evidence_of(class_blind_counts(0.4), labels, all_wrong, random)
    wanted = (wrong[:150].sum() + evidence.PSEUDO_ROWS * 0.4) / (150 + evidence.PSEUDO_ROWS)
    np.testing.assert_allclose(rate_of(found), wanted, rtol=1e-4)
    none, _ = evidence_of(class_blind_counts(0.4), labels, all_wrong, np.zeros(300, bool))
    np.testing.assert_allclose(rate_of(none), 0.4, rtol=1e-4)


def test_rows_whose_given_label_is_unknown_do_not_count():
    labels, given, wrong = reviewed_rows()
    known = np.arange(300) < 150
    found, _ = evidence_of(class_blind_counts(0.4), labels, np.where(known, given, -1))
    wanted = (wrong[:150].sum() + evidence.PSEUDO_ROWS * 0.4) / (150 + evidence.PSEUDO_ROWS)
    np.testing.assert_allclose(rate_of(found), wanted, rtol=1e-4)
    nothing, _ = evidence_of(class_blind_counts(0.4), labels, np.full(300, -1))
    np.testing.assert_allclose(rate_of(nothing), 0.4, rtol=1e-4)


def test_classes_of_other_shares_are_weighted():
    """An even clean set; the rate is that of training rows, of which rare classes are noisier."""
    labels = np.repeat(np.arange(C), 1000)
    place = np.tile(np.arange(1000), C)
    given = np.where(place < 1000 * WRONG[labels], (labels + 1) % C, labels)
    found, shift = evidence_of(class_blind_counts(0.2, shares=SHARES), labels, given)
    np.testing.assert_allclose(shift, -np.log(C * SHARES), atol=0.02)
    np.testing.assert_allclose(rate_of(found), SHARES @ WRONG, rtol=0.02)
    assert WRONG.mean() > 1.3 * SHARES @ WRONG


def test_a_class_without_random_rows_leaves_the_shares_alone():
    labels, given, _ = reviewed_rows()
    _, shift = evidence_of(class_blind_counts(shares=SHARES), labels, given, labels != 2)
    np.testing.assert_array_equal(shift, 0)


def test_few_random_rows_leave_the_shares_alone():
    """Their shares deviate by chance, whatever the number of picked rows beside them."""
    shifts = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(
            np.r_[rng.choice(C, 27, p=SHARES), np.arange(C), np.repeat(np.arange(C), 90)]
        )
        random = np.zeros(300, bool)
        drawn = rng.choice(C, 30, p=SHARES)
        for label in range(C):
            random[np.flatnonzero(labels == label)[: max(1, np.sum(drawn == label))]] = True
        _, shift = evidence_of(class_blind_counts(shares=SHARES), labels, labels, random)
        shifts.append(np.max(np.abs(shift)))
    assert np.median(shifts) < 0.05


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("shares", [EVEN, SHARES], ids=["even", "uneven"])
def test_noise_that_does_not_depend_on_the_classes_has_no_pattern(rate, shares):
    labels, given, _ = reviewed_rows()
    found, _ = evidence_of(class_blind_counts(rate, shares), labels, given)
    np.testing.assert_allclose(found.pattern, 0, atol=2e-3)


def test_a_pattern_is_the_excess_over_such_noise():
    counts = 1e6 * np.array([[0.6, 0.4, 0.0], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]])
    labels, given, _ = reviewed_rows()
    found, _ = evidence_of(counts, labels, given)
    matrix = counts / counts.sum(axis=1, keepdims=True)
    wanted = np.where(np.eye(C) > 0, np.log(matrix.clip(1e-9) / 0.8), np.log(matrix.clip(1e-9) / 0.1))
    seen = matrix > 0
    np.testing.assert_allclose(np.asarray(found.pattern)[seen], wanted[seen], atol=1e-2)


@pytest.mark.parametrize("given", ["all right", "all wrong"])
def test_rates_are_bounded(given):
    labels = np.arange(300) % C
    counts = class_blind_counts(0.0 if given == "all right" else 1.0)
    found, _ = evidence_of(counts, labels, labels if given == "all right" else (labels + 1) % C)
    assert np.isfinite(float(found.log_odds))
    assert float(found.log_odds) > 0
    assert np.all(np.isfinite(found.pattern))
