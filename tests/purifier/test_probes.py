import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from dmlp_jax.purifier import probes
from dmlp_jax.purifier.base import ridge, scores
from dmlp_jax.purifier.posterior import leave_one_out
from dmlp_jax.purifier.rows import clean_set as clean_lib
from dmlp_jax.purifier.rows import scaling


@pytest.fixture(scope="module", params=[0, 24], ids=["narrow", "wide"])
def prepared(blobs, request):
    """Standardised rows; in the wide case the 30 clean rows are fewer than the columns."""
    features, given, (val_features, val_labels), _ = blobs
    rng = np.random.default_rng(0)
    features, val_features = (
        np.c_[x, rng.normal(size=(len(x), request.param))].astype(np.float32)
        for x in (features, val_features)
    )
    weight = jnp.ones(len(features))
    mean = jnp.mean(jnp.asarray(features), axis=0)
    rows = scaling.center_and_normalize(jnp.asarray(features), mean)
    clean = clean_lib.make(
        scaling.center_and_normalize(jnp.asarray(val_features), mean),
        jnp.asarray(val_labels),
        3,
        3,
        jax.random.key(0),
    )
    return rows, jnp.eye(3)[given], weight, clean


def ridge_probes(features, given, weight, clean):
    gram = ridge.gram(features, weight)
    moment = features.T @ (weight[:, None] * given)
    return probes.ridge_probes(gram, ridge.spectrum(gram), moment, jnp.sum(weight), clean)


def best_by_hand(fits, clean):
    """Index of the setting with the least held-out loss; fits[setting][fold](rows) gives scores."""
    losses = []
    for folds in fits:
        held = np.zeros((30, 3))
        for fold, predict in enumerate(folds):
            rows = np.asarray(clean.masks)[fold] == 0
            held[rows] = predict(np.asarray(clean.features)[rows])
        losses.append(float(scores.score(jnp.asarray(held, jnp.float32), clean.targets).cross_entropy))
    return int(np.argmin(losses)), min(losses)


def test_noisy_plus_val_probe_is_scikit_learns_best_ridge(prepared):
    features, given, weight, clean = prepared
    _, probe = ridge_probes(features, given, weight, clean)
    unit = float(np.trace(np.asarray(features).T @ np.asarray(features)) / features.shape[1])
    labels = np.asarray(clean.targets)

    def fit(penalty, share, mask):
        val_weight = share * len(features) / mask.sum()
        model = Ridge(alpha=penalty * unit, fit_intercept=False)
        model.fit(
            np.concatenate([features, clean.features]),
            np.concatenate([given, labels]),
            sample_weight=np.r_[np.ones(len(features)), val_weight * mask],
        )
        return model.predict

    masks = np.asarray(clean.masks)
    grid = [(p, s) for p in probes.RIDGE_PENALTIES for s in probes.VAL_SHARES]
    fits = [[fit(p, s, masks[fold]) for fold in range(3)] for p, s in grid]
    best, loss = best_by_hand(fits, clean)
    np.testing.assert_allclose(probe.score.cross_entropy, loss, rtol=1e-3)
    oracle = fit(*grid[best], masks[3])(np.asarray(features))
    agreement = np.mean(np.argmax(features @ probe.weights[-1], axis=1) == oracle.argmax(axis=1))
    assert agreement > 0.99


def test_noisy_probe_never_trains_on_clean_rows(prepared):
    features, given, weight, clean = prepared
    probe, _ = ridge_probes(features, given, weight, clean)
    members = np.asarray(probe.weights)
    np.testing.assert_array_equal(members[0], members[-1])


def test_val_only_probe_is_scikit_learns_best_logistic_regression(prepared):
    features, _, _, clean = prepared
    probe = probes.val_only_probe(clean, steps=400)
    masks, labels = np.asarray(clean.masks).astype(bool), np.asarray(clean.targets).argmax(axis=1)
    rows = np.asarray(clean.features, np.float64)

    def fit(penalty, mask):
        unit = np.trace(rows[mask].T @ rows[mask]) / rows.shape[1]
        model = LogisticRegression(C=1 / (penalty * unit), fit_intercept=False, max_iter=5000, tol=1e-6)
        return model.fit(rows[mask], labels[mask]).decision_function

    fits = [[fit(p, masks[fold]) for fold in range(3)] for p in probes.SOFTMAX_PENALTIES]
    best, loss = best_by_hand(fits, clean)
    np.testing.assert_allclose(probe.score.cross_entropy, loss, rtol=2e-2)
    oracle = fit(probes.SOFTMAX_PENALTIES[best], masks[3])(np.asarray(features))
    assert np.mean(np.argmax(features @ probe.weights[-1], axis=1) == oracle.argmax(axis=1)) > 0.98


def test_held_out_logits_are_those_of_the_fold_members(prepared):
    _, _, _, clean = prepared
    probe = probes.val_only_probe(clean)
    for row in range(30):
        member = probe.weights[int(np.argmin(clean.masks[:3, row]))]
        np.testing.assert_allclose(probe.held_out[row], clean.features[row] @ member, atol=1e-4)


def test_memory_is_what_a_row_s_own_label_does_to_its_prediction(prepared):
    """Taking the mean leverage times the label away is, on average, what leaving the row out does."""
    features, given, weight, clean = prepared
    probe, _ = ridge_probes(features, given, weight, clean)
    # The memory says which penalty was chosen: the probe's own shrinkage is in proportion to it.
    gram = ridge.gram(features)
    spectrum = ridge.spectrum(gram)
    flipped = jnp.eye(3)[(jnp.argmax(given, axis=1) + 1) % 3]
    share = leave_one_out.leverage(probe.response, jnp.float32(0), spectrum, jnp.sum(weight))
    moment = features.T @ given
    scale = probe.response[-1] * (spectrum[-1] + penalty_of(probe, spectrum))
    moved = []
    for row in range(0, 300, 10):
        change = moment + jnp.outer(features[row], flipped[row] - given[row])
        before, after = (ridge.solve(gram, penalty_of(probe, spectrum), m) * scale for m in (moment, change))
        moved.append(features[row] @ (after - before) @ (flipped[row] - given[row]) / 2)
    np.testing.assert_allclose(np.mean(moved), share, rtol=0.2)


def penalty_of(probe, spectrum):
    """memory_i = scale / (spectrum_i + penalty) solved for the penalty, from the ends of the spectrum."""
    ratio = probe.response[0] / probe.response[-1]
    return (spectrum[-1] - ratio * spectrum[0]) / (ratio - 1)
