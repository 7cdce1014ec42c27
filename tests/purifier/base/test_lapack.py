import jax
import numpy as np
import pytest
import scipy.linalg
from threadpoolctl import threadpool_info, threadpool_limits

from dmlp_jax import purify
from dmlp_jax.purifier import compiled
from dmlp_jax.purifier.base import lapack
from tests.conftest import SHORT, make_blobs

FEATURES, GIVEN, VAL, _ = make_blobs(0)


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    """LAPACK takes two threads, and the user has not said how many it shall take."""
    for name in lapack.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with threadpool_limits(limits=2, user_api="blas"):
        yield


def threads():
    """Threads of each LAPACK in the process."""
    scipy.linalg.cholesky(np.eye(2))
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_one_thread_inside_and_as_before_afterwards():
    assert threads() == {2}
    with lapack.one_thread():
        assert threads() == {1}
    assert threads() == {2}


def test_a_number_that_the_user_set_stays(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    with lapack.one_thread():
        assert threads() == {2}


def test_other_devices_need_no_limit(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with lapack.one_thread():
        assert threads() == {2}


def test_purify_runs_with_one(monkeypatch):
    seen, run = [], compiled.in_memory
    monkeypatch.setattr(compiled, "in_memory", lambda *args: [seen.append(threads()), run(*args)][1])
    purify(FEATURES, GIVEN, VAL, config=SHORT)
    assert seen == [{1}]
    assert threads() == {2}
