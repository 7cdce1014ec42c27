import numpy as np
import pytest

from dmlp_jax.report import confidence_figures, intervals


def test_bins_of_too_few_rows_are_left_out():
    sums = {
        "rows": np.array([0.0, 0.2, 8.0, 20.0]),
        "confidence": np.array([0.0, 0.1, 5.2, 19.0]),
        "right": np.array([0.0, 0.1, 4.0, 19.5]),
    }
    bins = confidence_figures.stored_bins(sums)
    np.testing.assert_allclose(bins.confidence, [0.65, 0.95])
    np.testing.assert_allclose(bins.accuracy, [0.5, 0.975])
    np.testing.assert_allclose([bins.lower[0], bins.upper[0]], intervals.wilson(4, 8))
    assert confidence_figures.calibration_error(bins) == pytest.approx((8 * 0.15 + 20 * 0.025) / 28)
    figure = confidence_figures.reliability(bins, "held-out clean rows")
    assert "held-out clean rows" in figure
    assert "6.1%" in figure
