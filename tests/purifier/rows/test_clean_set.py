import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier.rows import chunks, clean_set, copies
from dmlp_jax.purifier.rows import clean_set as clean_lib

M, D, C, K = 53, 6, 4, 3


@pytest.fixture(params=[(2**18, 256), (1, 7), (1, 1)], ids=["one chunk", "chunks of 7", "chunks of 1"])
def problem(request, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_ENTRIES_CPU", request.param[0])
    monkeypatch.setattr(chunks, "LEAST_ROWS", request.param[1])
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(M, D)).astype(np.float32), rng.integers(C, size=M)
    weights = rng.normal(size=(K + 1, D, C)).astype(np.float32)
    clean = clean_lib.make(jnp.asarray(features), jnp.asarray(labels), C, K, jax.random.key(0))
    return clean, features, labels, weights


def held_out_by_hand(clean, features, weights):
    folds = np.argmin(np.asarray(clean.masks)[:-1], axis=0)
    return np.stack([row @ weights[fold] for row, fold in zip(features, folds, strict=True)])


def test_rows_are_asked_of_the_member_that_left_them_out(problem):
    clean, features, _, weights = problem
    wanted = held_out_by_hand(clean, features, weights)
    np.testing.assert_allclose(clean_lib.held_out(weights[:-1], clean), wanted, atol=1e-5)
    np.testing.assert_allclose(clean_lib.predict_clean(weights, clean).held_out, wanted, atol=1e-5)


@pytest.mark.parametrize("shift", [None, np.linspace(-1, 2, C, dtype=np.float32)])
def test_pull_and_loss_are_autodiffs(problem, shift):
    clean, features, labels, weights = problem

    def losses(weights, mask):
        logits = features @ weights + (0.0 if shift is None else shift)
        return mask * -jax.nn.log_softmax(logits)[jnp.arange(M), labels]

    seen = clean_lib.predict_clean(jnp.asarray(weights), clean, shift)
    for member, mask, pull in zip(weights, clean.masks, seen.gradient, strict=True):
        wanted = jax.grad(lambda w, mask=mask: jnp.sum(losses(w, mask)))(member)
        np.testing.assert_allclose(pull, wanted, atol=2e-5)
    np.testing.assert_allclose(seen.loss, jnp.mean(losses(weights[-1], 1.0)), rtol=1e-5)


def test_moments_are_those_of_the_rows_that_are_kept(problem):
    clean, features, labels, _ = problem
    masks = np.asarray(clean.masks)
    wanted = np.einsum("km,md,mc->kdc", masks, features.astype(np.float64), np.eye(C)[labels])
    np.testing.assert_allclose(clean_lib.moment(clean), wanted, atol=1e-5)


def test_what_another_member_says_does_not_matter(problem):
    """Not even where it is no number."""
    clean, features, _, weights = problem
    spoilt = weights.copy()
    spoilt[1] = np.nan
    seen = np.asarray(clean_lib.held_out(spoilt[:-1], clean))
    own = np.asarray(clean.masks)[1] == 0
    assert np.all(np.isnan(seen[own]))
    np.testing.assert_allclose(seen[~own], held_out_by_hand(clean, features, weights)[~own], atol=1e-5)


def test_padding_is_in_no_fold_s_rows(problem):
    clean, features, labels, _ = problem
    assert clean.chunks.features.shape[0] * clean.chunks.features.shape[1] >= M
    np.testing.assert_array_equal(clean.chunks.features.reshape(-1, D)[:M], features)
    np.testing.assert_array_equal(clean.chunks.masks.reshape(-1, K + 1)[M:], 0)
    np.testing.assert_array_equal(clean.chunks.labels.reshape(-1)[:M], labels)


@pytest.mark.parametrize(("rows", "classes", "folds"), [(30, 10, 3), (31, 4, 3), (7, 7, 3), (100, 3, 5)])
def test_folds_are_even_and_stratified(rows, classes, folds):
    labels = jnp.asarray(np.random.default_rng(0).permutation(np.arange(rows) % classes))
    found = np.asarray(clean_set.stratified_folds(jax.random.key(0), labels, folds))
    sizes = np.bincount(found, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for label in range(classes):
        per_fold = np.bincount(found[np.asarray(labels) == label], minlength=folds)
        assert per_fold.max() - per_fold.min() <= 1


def test_folds_depend_on_the_key_only():
    labels = jnp.arange(30) % 3
    first, again, other = (clean_set.stratified_folds(jax.random.key(k), labels, 3) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_masks_leave_their_fold_out():
    folds = jnp.asarray([0, 1, 2, 0])
    np.testing.assert_array_equal(
        clean_set.train_masks(folds, 3), [[0, 1, 1, 0], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]]
    )


@pytest.mark.parametrize("alike", [False, True])
def test_equal_rows_share_a_fold_unless_a_classifier_would_lose_a_class(alike):
    rng = np.random.default_rng(0)
    rows = np.ones((12, 3)) if alike else np.tile(rng.normal(size=(6, 3)), (2, 1))
    rows, labels = jnp.float32(rows), jnp.asarray(np.tile([0, 1, 2], 4), jnp.int32)
    firsts = copies.firsts(rows, labels >= 0)
    key = jax.random.key(0)
    together, apart = (clean_set.make(rows, labels, 3, 3, key, firsts=known) for known in (firsts, None))
    masks = np.asarray(together.masks)
    if alike:
        np.testing.assert_array_equal(masks, apart.masks)
    else:
        np.testing.assert_array_equal(masks[:, :6], masks[:, 6:])
    assert np.all(masks @ np.asarray(together.targets) > 0)
