import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.storage import files
from dmlp_jax.training import parallel


def outcomes(folder, methods, processes=("4", "1,2")):
    """What numbers of devices make of the same three steps; a process for each group of them."""

    def run(counts):
        command = [sys.executable, "-m", "tests.training.multi_device", counts, str(folder), methods]
        subprocess.run(command, check=True, timeout=400)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, processes))
    return {int(path.stem): files.load_npz(path) for path in folder.glob("*.npz")}


def assert_equal_steps(found):
    for count in found.keys() - {1}:
        assert found[count].keys() == found[1].keys()
        for name, one in found[1].items():
            scale = max(1.0, float(np.abs(one).max()))
            np.testing.assert_allclose(found[count][name], one, atol=2e-4 * scale, err_msg=f"{name}, {count}")


def test_two_devices_train_as_one_does(tmp_path):
    found = outcomes(tmp_path, "naive:mlp", ["1,2"])
    assert found.keys() == {1, 2}
    assert len(found[1]) == 1
    assert_equal_steps(found)


@pytest.mark.slow
def test_number_of_devices_changes_neither_steps_nor_purified_labels(tmp_path):
    found = outcomes(tmp_path, "simclr,naive,dividemix,purify")
    probs = {count: arrays.pop("probs") for count, arrays in found.items()}
    assert {count: int(arrays.pop("sharded")) for count, arrays in found.items()} == {1: 1, 2: 2, 4: 4}
    assert len(found[1]) > 5
    assert_equal_steps(found)
    for count in (2, 4):
        np.testing.assert_allclose(probs[count], probs[1], atol=1e-3)


@pytest.mark.slow
def test_number_of_devices_does_not_change_the_steps_of_other_methods(tmp_path):
    found = outcomes(tmp_path, "moco,elr,elr_plus,co_teaching,cdr")
    assert len(found[1]) > 8
    assert_equal_steps(found)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_number_of_devices_does_not_change_the_steps_of_semi_supervised_methods(tmp_path):
    found = outcomes(tmp_path, "mean_teacher,mixmatch,fixmatch,uda")
    assert len(found[1]) == 4
    assert_equal_steps(found)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_number_of_devices_does_not_change_the_steps_of_methods_that_correct_labels(tmp_path):
    found = outcomes(tmp_path, "joint_optim:mlp,pencil:mlp,promix:mlp,ssr_plus:mlp", ["1,2"])
    assert len(found[1]) == 4
    assert_equal_steps(found)


@pytest.mark.slow
def test_number_of_devices_does_not_change_the_steps_of_methods_that_look_at_all_rows(tmp_path):
    found = outcomes(tmp_path, "m_correction:mlp,moit_plus:mlp,rrl:mlp,sel_cl_plus:mlp", ["1,2"])
    assert len(found[1]) == 4
    assert_equal_steps(found)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "methods", ["mlc,mslc,meta_weight_net,l2r", "famus:mlp,ieg,incv:mlp,mlnt:mlp,mslg:mlp"]
)
def test_number_of_devices_does_not_change_the_steps_of_coupled_methods(methods, tmp_path):
    found = outcomes(tmp_path, methods)
    assert len(found[1]) == len(methods.split(","))
    assert_equal_steps(found)


def test_more_devices_than_there_are_is_refused():
    with pytest.raises(UserError, match="num_devices is 99"):
        parallel.local_devices(99)


def test_rows_are_dealt_out_in_order():
    indices = np.arange(24).reshape(3, 8)
    dealt = parallel.shard(indices, [None, None])
    assert dealt.shape == (2, 3, 4)
    np.testing.assert_array_equal(np.concatenate([dealt[0], dealt[1]], axis=1), indices)
