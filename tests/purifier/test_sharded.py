import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax import InputError, PurifyConfig, purify
from dmlp_jax.purifier import sharded
from tests.conftest import FIXED

RUNS = ("fixed", "selected")


def load(path):
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def test_two_devices_give_the_same_labels_as_one(blobs, tmp_path):
    """One setting with one candidate; the slow tests have races, more devices and several processes."""
    out = tmp_path / "2.npz"
    command = [sys.executable, "-m", "tests.purifier.sharded_rows", str(out), "2", "quick"]
    subprocess.run(command, check=True, timeout=400)
    features, given, val, _ = blobs
    one, two = purify(features, given, val, config=FIXED), load(out)
    np.testing.assert_allclose(two["probs"], one.probs, atol=1e-4)
    np.testing.assert_array_equal(two["labels"], one.labels)
    # As in `sharded_rows.with_copies`: each device finds its own copies.
    copied = val[0].copy()
    copied[:2] = features[[3, -3]]
    one = purify(features, given, (copied, val[1]), config=FIXED)
    np.testing.assert_allclose(two["copied_probs"], one.probs, atol=1e-4)
    assert int(two["copies"]) == int(one.diagnostics["copies"]) == 2


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What one device and four make of the same rows, and what two processes of two devices each do."""
    folder = tmp_path_factory.mktemp("spread")
    command = [sys.executable, "-m", "tests.purifier.sharded_rows"]
    for count in (1, 4):
        subprocess.run([*command, str(folder / f"{count}.npz"), str(count)], check=True, timeout=400)
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    both = [
        subprocess.Popen([*command, str(folder / "processes.npz"), "4", str(process), port])
        for process in (0, 1)
    ]
    try:
        assert [process.wait(400) for process in both] == [0, 0]
    finally:
        for process in both:
            process.kill()
    return {name: load(folder / f"{name}.npz") for name in ("1", "4", "processes")}


@pytest.mark.slow
@pytest.mark.parametrize("where", ["4", "processes"])
@pytest.mark.parametrize("run", RUNS)
def test_rows_over_devices_give_the_same_labels(outcomes, where, run):
    one, several = outcomes["1"], outcomes[where]
    np.testing.assert_allclose(several[f"{run}_probs"], one[f"{run}_probs"], atol=1e-4)
    np.testing.assert_array_equal(several[f"{run}_labels"], one[f"{run}_labels"])
    np.testing.assert_allclose(several[f"{run}_loss"], one[f"{run}_loss"], atol=1e-3)
    np.testing.assert_allclose(several[f"{run}_score"], one[f"{run}_score"], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["4", "processes"])
def test_label_history_is_in_the_order_of_the_rows(outcomes, where):
    assert outcomes[where]["history_labels"].shape == (20, 300)
    same = outcomes[where]["history_labels"] == outcomes["1"]["history_labels"]
    assert np.mean(same) > 0.999


@pytest.mark.parametrize("preset", ["default", pytest.param("paper", marks=pytest.mark.slow)])
def test_a_mesh_may_have_one_device(blobs, preset):
    features, given, val, _ = blobs
    mesh = jax.make_mesh((1,), ("rows",))
    placed = jax.device_put(features, jax.NamedSharding(mesh, jax.sharding.PartitionSpec("rows")))
    config = PurifyConfig.paper(steps=3) if preset == "paper" else FIXED
    found, plain = purify(placed, given, val, config=config), purify(features, given, val, config=config)
    np.testing.assert_allclose(found.probs, plain.probs, atol=1e-5)


@pytest.mark.slow
def test_only_sums_travel_between_devices(outcomes):
    """A gather of the features, or of anything with 300 rows or a device's 75, would show."""
    found = outcomes["4"]["collectives"]
    assert len(found)
    for operation in found:
        assert operation.startswith("all-reduce"), operation
        assert "300" not in operation, operation
        assert "75" not in operation, operation


def test_one_device_is_no_placement():
    assert sharded.placement(jnp.zeros((4, 2))) is None
    assert sharded.placement(np.zeros((4, 2))) is None
    mesh = jax.make_mesh((1,), ("rows",))
    one = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows"))
    assert sharded.placement(jax.device_put(jnp.zeros((4, 2)), one)) is None


def test_paper_preset_wants_its_rows_in_memory(blobs, tmp_path):
    features, given, val, _ = blobs
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    with pytest.raises(InputError, match=r"features are on disk.*memory of one device"):
        purify(mapped, given, val, config=PurifyConfig.paper())
