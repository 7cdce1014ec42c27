"""`PurifyResult.label_quality`: low where the given label is suspicious, whatever labels are returned."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dmlp_jax import PurifyConfig, purify
from tests.conftest import SHORT, make_blobs

PAPER = PurifyConfig.paper(steps=45, ipc_batch_size=100, eac_batch_size=50)


def assert_probabilities(quality, rows):
    quality = np.asarray(quality)
    assert quality.shape == (rows,)
    assert quality.dtype == np.float32
    assert np.all(np.isfinite(quality))
    assert quality.min() >= 0
    assert quality.max() <= 1 + 1e-6
    assert len(np.unique(quality)) > rows // 2


@pytest.mark.parametrize("schedule", ["default", "paper", "reviewed"])
@pytest.mark.parametrize("noise", [0.2, 0.5])
def test_wrong_labels_have_the_lowest_quality(schedule, noise):
    for seed in range(3):
        features, given, val, true = make_blobs(seed, noise=noise)
        known = (
            {"val_given_labels": make_blobs(seed, noise=noise, rows=30)[1]} if schedule == "reviewed" else {}
        )
        config = PAPER if schedule == "paper" else SHORT
        found = purify(features, given, val, config=config, **known)
        assert_probabilities(found.label_quality, 300)
        assert roc_auc_score(given == true, found.label_quality) > 0.9


@pytest.mark.parametrize("reviewed", [False, True])
def test_rows_are_ranked_where_no_label_is_changed(reviewed):
    """Right labels, and one of a hundred wrong; features that hardly tell; features that do not."""
    features, _, val, true = make_blobs(4)
    known = {"val_given_labels": val[1]} if reviewed else {}
    found = purify(features, true.astype(np.int32), val, config=SHORT, **known)
    assert np.mean(found.changed) < 0.01
    assert_probabilities(found.label_quality, 300)
    swapped = np.r_[(true[:3] + 1) % 3, true[3:]].astype(np.int32)
    found = purify(features, swapped, val, config=SHORT, **known)
    assert np.max(np.argsort(np.argsort(found.label_quality))[:3]) < 15
    noise = np.random.default_rng(0).normal(size=features.shape).astype(np.float32)
    found = purify(noise, swapped, (noise[:30] + 1, val[1]), config=SHORT, **known)
    assert found.source == "given"
    assert_probabilities(found.label_quality, 300)
    # Reviewed rows are binned by the same confidence that the training rows get; without reviews it is 1.
    rows, confidence = (float(np.sum(found.reliability[name])) for name in ("rows", "confidence"))
    assert rows == (30 if reviewed else 0)
    if reviewed:
        assert np.mean(found.confidence) - 0.1 < confidence / rows < 0.999


def test_with_reviews_quality_is_the_share_of_right_labels():
    quality, right = [], []
    for seed in range(6):
        features, given, val, true = make_blobs(seed, noise=0.5, spread=2.0)
        rng = np.random.default_rng(seed)
        val_given = np.where(rng.random(30) < 0.5, rng.integers(3, size=30), val[1]).astype(np.int32)
        found = purify(features, given, val, config=SHORT, val_given_labels=val_given)
        quality.append(found.label_quality)
        right.append(given == true)
    quality, right = np.concatenate(quality), np.concatenate(right)
    for low, high in ((0, 0.2), (0.2, 0.8), (0.8, 1.01)):
        inside = (quality >= low) & (quality < high)
        assert abs(quality[inside].mean() - right[inside].mean()) < 0.12
