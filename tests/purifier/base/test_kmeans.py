import jax
import jax.numpy as jnp
import numpy as np
from sklearn.cluster import KMeans

from dmlp_jax.purifier.base import kmeans
from tests.conftest import make_blobs

ROWS = np.asarray(make_blobs(3)[0], np.float32)


def test_distances_are_those_of_numpy():
    centres = ROWS[::50]
    expected = ((np.float64(ROWS)[:, None] - np.float64(centres)) ** 2).sum(axis=2)
    found = kmeans.distances(jnp.asarray(ROWS), jnp.asarray(centres))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    assert np.all(np.asarray(found) >= 0)


def test_centres_are_those_of_scikit_learn_from_the_same_start():
    key = jax.random.key(1)
    start = kmeans.start(jnp.asarray(ROWS), 5, key)
    peer = KMeans(5, init=np.asarray(start), n_init=1, max_iter=kmeans.STEPS, tol=0).fit(ROWS)
    found = kmeans.fit(jnp.asarray(ROWS), 5, key)
    np.testing.assert_allclose(found, peer.cluster_centers_, atol=1e-3)
    np.testing.assert_array_equal(kmeans.nearest(jnp.asarray(ROWS), found), peer.predict(ROWS))


def test_the_start_takes_rows_far_from_each_other():
    """Of 5 clusters of 60 rows each nearly always one row; five rows at random are of 5 in 4 % of draws."""
    spread = jnp.asarray(np.repeat(100 * np.eye(5, 16), 60, axis=0) + ROWS, jnp.float32)
    starts = [kmeans.start(spread, 5, jax.random.key(seed)) for seed in range(20)]
    clusters = [len(np.unique(np.asarray(start)[:, :5].argmax(axis=1))) for start in starts]
    assert np.mean(np.array(clusters) == 5) > 0.8


def test_fewer_different_rows_than_centres():
    same = jnp.ones((4, 3), jnp.float32)
    np.testing.assert_array_equal(kmeans.fit(same, 3, jax.random.key(0)), np.ones((3, 3)))
