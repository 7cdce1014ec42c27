"""What `purify` compiles, and when it forgets it again."""

import dataclasses
import gc
import importlib
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pytest

from dmlp_jax import purify
from dmlp_jax.purifier import program
from tests.conftest import FIXED, make_blobs

# The package's attribute of this name is the function.
programs = importlib.import_module("dmlp_jax.purifier.compiled")


@pytest.fixture
def traces(monkeypatch):
    """Grows with every program that is traced."""
    found, run = [], program.run
    monkeypatch.setattr(program, "run", lambda *args, **named: found.append(1) or run(*args, **named))
    return found


def test_new_values_compile_nothing_new(blobs, traces, own_programs):
    features, given, val, _ = blobs
    purify(features, given, val, config=FIXED)
    assert len(traces) == 1
    purify(features, make_blobs(0, noise=0.2)[1], val, config=FIXED)
    purify(features + 1, given, val, config=FIXED, key=jax.random.key(3))
    for decay in (1, 0.2, np.float64(0.1)):
        changed = dataclasses.replace(FIXED, weight_decay=(decay,), val_weight=2)
        purify(features, given, val, config=changed)
    assert len(traces) == 1
    purify(features, given, val, config=dataclasses.replace(FIXED, steps=3))
    assert len(traces) == 2
    purify(features, given, val, config=FIXED)
    assert len(traces) == 2


@pytest.fixture
def on_disk(blobs, tmp_path):
    """Two files of one shape, in memory maps."""
    maps = []
    for number, features in enumerate([blobs[0], blobs[0][::-1]]):
        np.save(tmp_path / f"{number}.npy", features)
        maps.append(np.load(tmp_path / f"{number}.npy", mmap_mode="r"))
    return maps


def test_files_of_one_shape_share_a_program(blobs, on_disk, traces):
    _, given, val, _ = blobs
    programs._disk_program.cache_clear()
    expected = purify(on_disk[0], given, val, config=FIXED)
    assert len(traces) == 1
    reverse = purify(on_disk[1], given[::-1], val, config=FIXED)
    assert len(traces) == 1
    np.testing.assert_allclose(reverse.probs[::-1], expected.probs, atol=1e-4)


def test_threads_that_share_a_program_read_their_own_files(blobs, on_disk):
    _, given, val, _ = blobs
    calls = [(on_disk[0], given), (on_disk[1], given[::-1])] * 4
    expected = [np.asarray(purify(*call, val, config=FIXED).probs) for call in calls[:2]]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda call: np.asarray(purify(*call, val, config=FIXED).probs), calls))
    for number, probs in enumerate(found):
        np.testing.assert_array_equal(probs, expected[number % 2])


@pytest.mark.slow
def test_a_callers_program_keeps_its_file(blobs, on_disk):
    _, given, val, _ = blobs
    expected = purify(on_disk[0], given, val, config=FIXED).probs
    own = jax.jit(lambda labels: purify(on_disk[0], labels, val, num_classes=3, config=FIXED).probs)
    constant = jax.jit(lambda: purify(on_disk[0], given, val, config=FIXED).probs)
    for _ in range(2):
        np.testing.assert_allclose(own(given), expected, atol=1e-5)
        purify(on_disk[1], given[::-1], val, config=FIXED)
        np.testing.assert_allclose(constant(), expected, atol=1e-5)


def test_the_oldest_program_is_forgotten(own_programs):
    first = weakref.ref(programs._program(2, None, ("first",)))
    kept = weakref.ref(programs._program(2, None, (0,)))
    for number in range(1, programs.PROGRAMS):
        programs._program(2, None, (number,))
    gc.collect()
    assert first() is None
    assert kept() is not None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_forgotten_program_takes_no_memory_maps(blobs, own_programs):
    def maps():
        gc.collect()
        return len(Path("/proc/self/maps").read_text().splitlines())

    features, given, val, _ = blobs
    before = maps()
    purify(features, given, val, config=FIXED)
    taken = maps() - before
    assert taken > 100
    programs._program.cache_clear()
    assert maps() - before < taken / 4
