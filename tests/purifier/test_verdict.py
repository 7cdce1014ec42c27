import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier import verdict

RIGHT, WRONG = np.ones(200), np.zeros(200)
HALF = np.arange(200) % 2


@pytest.mark.parametrize(
    ("others", "option"),
    [
        ([WRONG, WRONG, WRONG], 0),
        ([HALF, HALF, HALF], 0),
        ([WRONG, RIGHT, HALF], 2),
        ([WRONG, np.maximum(HALF, np.arange(200) < 150), RIGHT], 3),
        ([WRONG, WRONG, WRONG, HALF], 0),
    ],
    ids=["all worse", "all equal", "one clearly better", "the best of two", "given labels equal"],
)
def test_a_baseline_must_be_clearly_better(others, option):
    assert int(verdict._choose(jnp.asarray(HALF), jnp.asarray(np.stack(others)))) == option


def test_given_labels_need_only_be_better():
    """One row more is no evidence, but not to touch the labels is the safe choice."""
    slightly = HALF.copy()
    slightly[0] = 1
    probe_and_given = [
        np.stack([WRONG, WRONG, other, given]) for other, given in [(slightly, WRONG), (WRONG, slightly)]
    ]
    found = [int(verdict._choose(jnp.asarray(HALF), jnp.asarray(others))) for others in probe_and_given]
    assert found == [0, 4]
