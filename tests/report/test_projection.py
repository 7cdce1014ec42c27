"""The projection of features into two dimensions."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from sklearn.decomposition import PCA

from dmlp_jax.errors import UserError
from dmlp_jax.report import projection


def test_pca_is_scikit_learns_up_to_signs():
    features = np.random.default_rng(0).normal(size=(60, 7)) * np.arange(1, 8)
    places, names = projection.embed(features)
    oracle = PCA(2)
    wanted = oracle.fit_transform(features)
    np.testing.assert_allclose(np.abs(places), np.abs(wanted), atol=1e-9)
    assert names[0] == f"PCA 1 ({oracle.explained_variance_ratio_[0]:.0%} of the variance)"


def test_signs_do_not_depend_on_the_decomposition():
    features = np.random.default_rng(0).normal(size=(60, 7))
    np.testing.assert_allclose(
        projection.embed(features)[0], projection.embed(np.pad(features, ((0, 0), (0, 3))))[0], atol=1e-9
    )


@pytest.mark.parametrize("shape", [(5, 1), (1, 4), (2, 2)])
def test_few_rows_or_features_still_have_two_coordinates(shape):
    places, names = projection.embed(np.arange(np.prod(shape), dtype=np.float64).reshape(shape))
    assert places.shape == (shape[0], 2)
    assert np.isfinite(places).all()
    assert len(names) == 2


def test_methods_that_are_unknown_or_not_installed_are_refused():
    with pytest.raises(UserError, match="'tsne'; it must be one of pca, umap, none"):
        projection.check("tsne")
    if importlib.util.find_spec("umap") is None:
        with pytest.raises(UserError, match="pip install umap-learn"):
            projection.check("umap")


def test_checking_the_method_loads_no_matplotlib():
    code = "import sys; from dmlp_jax.report import projection; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
