"""A call in a forked process must end, by a result or by an error that names the remedy."""

import multiprocessing
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork here"
)

SCRIPT = """
import multiprocessing, sys
import numpy as np
import jax
from dmlp_jax import predict, purify
from dmlp_jax.purifier import InputError, LinearClassifier

def call(which):
    features = np.ones((4, 2), np.float32)
    try:
        if which == "purify":
            purify(features, [0, 1, 0, 1], (features[:2], [0, 1]))
        else:
            predict(LinearClassifier(np.ones((2, 2)), np.ones(2), np.ones(2), np.float32(1)), features)
    except InputError as error:
        return str(error)
    return "it ran"

if __name__ == "__main__":
    which, used = sys.argv[1:]
    if used == "used":
        jax.devices()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.apply_async(call, (which,)).get(100))
"""


def run(*arguments):
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.parametrize("which", ["purify", "predict"])
def test_a_forked_process_is_told_to_spawn(which):
    assert "get_context('spawn')" in run(which, "used")


@pytest.mark.slow
def test_a_process_that_was_forked_before_jax_was_used_works():
    assert "it ran" in run("predict", "unused")
