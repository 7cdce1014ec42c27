import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.training import parallel


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What 1, 2 and 4 devices make of the same three steps, each in a process of its own."""
    folder = tmp_path_factory.mktemp("devices")

    def run(count):
        out = folder / f"{count}.npz"
        command = [sys.executable, "-m", "tests.training.multi_device", str(count), str(out)]
        subprocess.run(command, check=True, timeout=400)
        with np.load(out) as stored:
            return {name: stored[name] for name in stored.files}

    with ThreadPoolExecutor(2) as pool:
        return dict(zip((1, 2, 4), pool.map(run, (1, 2, 4)), strict=True))


@pytest.mark.parametrize("count", [2, 4])
def test_number_of_devices_does_not_change_the_steps(outcomes, count):
    names = [name for name in outcomes[1] if name not in ("probs", "sharded")]
    assert len(names) > 5
    for name in names:
        one, several = outcomes[1][name], outcomes[count][name]
        scale = max(1.0, float(np.abs(one).max()))
        np.testing.assert_allclose(several, one, atol=2e-4 * scale, err_msg=name)


@pytest.mark.parametrize("count", [2, 4])
def test_sharded_features_give_the_same_labels(outcomes, count):
    np.testing.assert_allclose(outcomes[count]["probs"], outcomes[1]["probs"], atol=1e-3)


def test_more_devices_than_there_are_is_refused():
    with pytest.raises(UserError, match="num_devices is 99"):
        parallel.local_devices(99)


def test_rows_are_dealt_out_in_order():
    indices = np.arange(24).reshape(3, 8)
    dealt = parallel.shard(indices, [None, None])
    assert dealt.shape == (2, 3, 4)
    np.testing.assert_array_equal(np.concatenate([dealt[0], dealt[1]], axis=1), indices)
