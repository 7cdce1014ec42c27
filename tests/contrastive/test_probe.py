import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from dmlp_jax.contrastive import features, probe
from dmlp_jax.models import registry


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 10))
    labels = rng.integers(4, size=700)
    rows = (centres[labels] + 1.2 * rng.normal(size=(700, 10))).astype(np.float32)
    return rows[:500], labels[:500], rows[500:], labels[500:]


def test_linear_probe_is_scikit_learns(data):
    train, labels, test, test_labels = data
    mean, scale = train.mean(axis=0), train.std(axis=0) + 1e-6
    oracle = LogisticRegression(C=1 / (1e-4 * 500), max_iter=5000, tol=1e-8)
    oracle.fit((train - mean) / scale, labels)
    found = probe.linear_probe(*data, num_classes=4)
    assert abs(found - oracle.score((test - mean) / scale, test_labels)) <= 0.01


def test_knn_probe_is_scikit_learns(data):
    train, labels, test, test_labels = data
    oracle = KNeighborsClassifier(1, metric="cosine").fit(train, labels)
    found = probe.knn_probe(*data, num_classes=4, neighbors=1, chunk=64)
    np.testing.assert_allclose(found, oracle.score(test, test_labels), atol=1e-9)
    oracle = KNeighborsClassifier(15, metric="cosine").fit(train, labels)
    found = probe.knn_probe(*data, num_classes=4, neighbors=15)
    # Ties are broken differently.
    np.testing.assert_allclose(found, oracle.score(test, test_labels), atol=0.02)


def test_knn_ties_go_to_the_nearer():
    train = np.array([[1.0, 0.0], [0.9, 0.1]], np.float32)
    assert (
        probe.knn_probe(
            train,
            np.array([1, 0]),
            np.array([[1.0, 0.01]], np.float32),
            np.array([1]),
            num_classes=2,
            neighbors=2,
        )
        == 1.0
    )


def test_extraction_leaves_the_encoder_alone():
    """Batch statistics must neither be used nor moved; several public probes get this wrong."""
    encoder = registry.make_encoder("small_cnn")
    images = np.random.default_rng(0).integers(0, 256, size=(10, 8, 8, 1)).astype(np.uint8)
    variables = jax.jit(encoder.init, static_argnums=2)(jax.random.key(0), images[:2] / 255.0, True)
    before = jax.tree.map(np.array, variables)
    together = features.extract(encoder, variables, images, batch_size=4)
    alone = np.concatenate([features.extract(encoder, variables, images[i : i + 1], 1) for i in range(10)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(variables), strict=True):
        np.testing.assert_array_equal(old, new)
