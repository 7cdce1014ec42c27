import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.retrain.methods import selected_pairs
from dmlp_jax.retrain.methods.selected_pairs import Known


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def known(rng, rows, labels=3):
    """Rows whose projections, labels and selection are random."""
    features = unit(rng.normal(size=(rows, 3))).astype(np.float32)
    return Known(features, rng.integers(labels, size=rows), (rng.random(rows) < 0.5).astype(np.float32))


def test_pairs_of_one_label_are_selected_by_both_rows_or_by_similarity():
    rng = np.random.default_rng(0)
    rows, keys = known(rng, 12), known(rng, 15)
    keys.labels[:4] = -1
    found = np.asarray(selected_pairs.pairs(rows, keys, jnp.float32(0.4)))
    for i in range(12):
        for j in range(15):
            same = rows.labels[i] == keys.labels[j]
            both = rows.selected[i] and keys.selected[j]
            assert found[i, j] == (same and (both or rows.features[i] @ keys.features[j] >= 0.4)), (i, j)
    assert 10 < found.sum() < (rows.labels[:, None] == keys.labels).sum()


def reference(case, temperature):
    """The losses row by row, in float64."""
    rows, m = len(case["own"]), len(case["keys"])
    contrast, entropies, paired = np.zeros(rows), 0.0, np.zeros(rows // 2, int)
    for i in range(rows):
        own, partner, share = (case[name][i] for name in ("own", "partner", "share"))
        among = [j for j in range(m) if j != case["places"][i] and case["known"][j]]
        scores = case["keys"] @ case["anchors"][i] / temperature
        logs = scores - np.log(np.exp(scores[among]).sum())
        first, second = np.zeros(m), np.zeros(m)
        for j in among:
            of_own, of_partner = case["numbers"][j] == own, case["numbers"][j] == partner
            first[j] = case["chosen"][own, j] or of_own
            second[j] = case["chosen"][partner, j] + 1.0 * of_partner
            if i < rows // 2:
                paired[i] += case["chosen"][own, j] and not of_own
            alike = case["probs"][i] @ case["key_probs"][j]
            target = share * first[j] + (1 - share) * min(second[j], 1)
            entropies -= target * np.log(alike + 1e-7) + (1 - target) * np.log(1 - alike + 1e-7)
        for weight, positives in ((share, first), (1 - share, second)):
            if positives.any():
                contrast[i] -= weight * (positives * logs).sum() / positives.sum()
    contrast *= np.tile(paired > 0, 2)
    return contrast, entropies / (rows * case["known"].sum()), paired


def make_case(seed, rows=4, keys=11):
    """Two views of `rows` rows, of which those of the second half of the keys are the latest."""
    rng = np.random.default_rng(seed)
    numbers = np.concatenate([np.full(keys - 2 * rows, -1), np.tile(np.arange(rows), 2)])
    existing = np.ones(keys, bool)
    existing[0] = False
    return {
        "anchors": unit(rng.normal(size=(2 * rows, 3))),
        "probs": rng.dirichlet(np.ones(3), 2 * rows),
        "keys": unit(rng.normal(size=(keys, 3))),
        "key_probs": rng.dirichlet(np.ones(3), keys),
        "chosen": rng.random((rows, keys)) < 0.2,
        "own": np.tile(np.arange(rows), 2),
        "partner": rng.integers(rows, size=2 * rows),
        "share": rng.uniform(0.5, 1, 2 * rows),
        "places": keys - 2 * rows + np.arange(2 * rows),
        "numbers": numbers,
        "known": existing,
    }


def test_losses_are_their_definitions():
    losses = jax.jit(selected_pairs.pair_losses, static_argnames="temperature")
    alone = 0
    for seed in range(4):
        case = make_case(seed)
        found = losses(**{name: jnp.asarray(value) for name, value in case.items()}, temperature=0.2)
        contrast, similar, paired = reference(case, 0.2)
        np.testing.assert_allclose(found.contrast, contrast, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.similarity, similar, rtol=1e-4)
        np.testing.assert_array_equal(found.partners, paired)
        alone += np.sum(paired == 0)
    assert 0 < alone < 16


def test_bound_is_the_quantile_over_selected_rows_of_one_class():
    rng = np.random.default_rng(5)
    rows = known(rng, 40)
    selected = rows.selected > 0
    near = []
    for label in range(3):
        features = np.float64(rows.features[selected & (rows.labels == label)])
        near += [a @ b for a in features for b in features]
    for quantile in (0.0, 0.25, 0.9):
        found = selected_pairs.bound_of(rows.features, rows.labels, selected, quantile, rng)
        np.testing.assert_allclose(found, np.quantile(near, quantile), atol=1e-6)


def test_bound_of_many_rows_is_found_from_some():
    rng = np.random.default_rng(6)
    features = unit(rng.normal([1, 0, 0], size=(900, 3))).astype(np.float32)
    found = selected_pairs.bound_of(features, np.zeros(900, int), np.ones(900, bool), 0.25, rng)
    np.testing.assert_allclose(found, np.quantile(features @ features.T, 0.25), atol=0.03)
