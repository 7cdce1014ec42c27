import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier.base import few_rows
from tests.purifier.helpers import make_linear_classes


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 1e3])
def test_rows_that_are_added_change_the_solution_as_if_they_had_been_there(scale):
    features, _, targets = make_linear_classes(40, 12, 3)
    features, rows, labels, added = features[:30], features[30:], targets[:30], targets[30:]
    weight = scale * np.linspace(0.0, 2.0, 10)
    both = np.concatenate([features, rows]).astype(np.float64)
    weights = np.concatenate([np.ones(30), weight])[:, None]
    gram = both.T @ (weights * both) + 0.5 * np.eye(12)
    expected = np.linalg.solve(gram, both.T @ (weights * np.concatenate([labels, added])))
    gram, moment = (jnp.asarray(features.T @ x, jnp.float32) for x in (features, labels))
    solved = few_rows.solve(gram, jnp.float32(0.5), moment, jnp.asarray(rows))
    found = few_rows.add(solved, jnp.asarray(rows), jnp.asarray(added), jnp.asarray(weight, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=2e-5)
