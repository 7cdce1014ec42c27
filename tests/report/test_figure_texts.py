"""The texts that stand for the figures."""

import numpy as np

from dmlp_jax.report import confidence_figures, figure_texts


def test_texts_name_the_numbers_of_their_figures():
    given = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    purified = np.array([1, 1, 0, 1, 0, 0, 0, 0])
    text = figure_texts.confusion(given, purified, ("cat", "dog", "cow"))
    assert "cow to cat, 3 rows; cat to dog, 2 rows; dog to cat, 1 rows" in text
    assert "No label was changed" in figure_texts.confusion(given, given, ("cat", "dog", "cow"))
    noise = np.array([[0.9, 0.1], [0.4, 0.6]])
    assert "dog (40.0 %), cat (10.0 %)" in figure_texts.class_noise(noise, ("cat", "dog"))
    text = figure_texts.course({"changed": np.array([0.1, 0.25]), "val_loss": np.array([1.0, 0.5])}, 2)
    assert "moved 25.0 %" in text
    assert "from 1.00 to 0.50 nats" in text
    assert "step 2" in text
    text = figure_texts.label_accuracy(np.array([0.5, 0.8]), {"given": 0.6, "noisy_probe": 0.7}, None)
    assert "50.0 % after the first, 80.0 % after the last" in text
    assert "(probe trained on the noisy labels) has 70.0 %" in text
    assert "purified 95.0 %" in figure_texts.test_accuracy({"purified": [0.5, 0.95]})
    assert "the 50.0 % whose label changed" in figure_texts.feature_map(np.array([True, False]), 10)
    assert figure_texts.feature_map(np.zeros(20, bool), 10).startswith("10 of 20 rows")


def test_texts_of_confidence():
    confidence, changed = np.array([0.9, 0.8, 0.6, 0.7]), np.array([False, True, True, False])
    text = figure_texts.histogram(confidence, changed)
    assert "half of all rows have at least 75.0 %, half of the 2 changed ones at least 70.0 %" in text
    right = np.array([True, True, False, False])
    text = figure_texts.coverage(confidence, right)
    assert "85.0 % of the surer half, 75.0 % of all" in text
    assert "100.0 % and 50.0 % are right" in text
    bins = confidence_figures.equal_bins(confidence, right, 2)
    assert "the most at 65.0 % confidence, where 0.0 % are right" in figure_texts.reliability(
        bins, "all rows"
    )
