"""Patch features of images."""

import numpy as np
import pytest

from dmlp_jax.embedding import patches

SIDE, CENTROIDS, COMPONENTS = 8, 12, 6


@pytest.fixture(scope="module")
def images():
    """Stripes of two directions at random places, and a plain image."""
    rng = np.random.default_rng(0)
    waves = np.uint8(127 + 100 * np.sin(np.arange(SIDE)[None] * 1.5 + rng.uniform(0, 6, (60, 1))))
    across = np.repeat(waves[:, :, None], SIDE, axis=2)
    across[30:] = across[30:].transpose(0, 2, 1)
    across[-1] = 50
    return np.repeat(across[..., None], 3, axis=3)


@pytest.fixture(scope="module")
def encoder(images):
    return patches.fit(images, centroids=CENTROIDS, components=COMPONENTS)


def activations(image, encoder):
    """Triangle activations of one image in float64, from the paper: sums over quadrants, [4 k]."""
    side, patch = len(image), encoder.patch
    span = side - patch + 1
    found = np.zeros((2, 2, len(encoder.centroids)))
    for row in range(span):
        for column in range(span):
            cut = image[row : row + patch, column : column + patch].astype(np.float64).ravel()
            cut = (cut - cut.mean()) / np.sqrt(cut.var() + 10)
            white = (cut - encoder.mean) @ encoder.whitening
            distance = np.linalg.norm(white - encoder.centroids, axis=1)
            half = span // 2
            found[int(row >= half), int(column >= half)] += np.maximum(distance.mean() - distance, 0)
    return found.ravel()


def test_embeddings_are_the_papers(images, encoder):
    expected = [(activations(image, encoder) - encoder.centre) @ encoder.basis for image in images[:4]]
    np.testing.assert_allclose(encoder.encode(images[:4]), expected, atol=2e-4)


def test_directions_are_those_of_principal_components(images, encoder):
    rows = np.stack([activations(image, encoder) for image in images])
    _, deviations, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    found = encoder.encode(images)
    np.testing.assert_allclose(found.std(axis=0), deviations[:COMPONENTS] / deviations[0], atol=1e-3)


def test_the_last_batch_may_be_smaller(images, encoder):
    done = []
    whole = encoder.encode(images, done.append)
    np.testing.assert_allclose(encoder.encode(images[50:53]), whole[50:53], atol=1e-5)
    assert done == [50, 60]


def test_stripes_of_a_direction_are_alike(images, encoder):
    found = encoder.encode(images[:-1])
    middle = found[:30].mean(axis=0), found[30:].mean(axis=0)
    distance = [np.linalg.norm(found - centre, axis=1) for centre in middle]
    assert np.mean((distance[0] < distance[1]) == (np.arange(59) < 30)) > 0.95


def test_an_encoder_from_its_arrays_is_the_same(images, encoder):
    again = patches.from_arrays(encoder.arrays())
    np.testing.assert_array_equal(again.encode(images), encoder.encode(images))


def test_the_same_images_give_the_same_encoder(images, encoder):
    again = patches.fit(images, centroids=CENTROIDS, components=COMPONENTS)
    np.testing.assert_array_equal(again.centroids, encoder.centroids)


def test_equal_images_are_embedded_as_one_value():
    images = np.full((5, SIDE, SIDE, 3), 7, np.uint8)
    found = patches.fit(images, centroids=2).encode(images)
    assert np.isfinite(found).all()
    assert np.ptp(found, axis=0).max() == 0
