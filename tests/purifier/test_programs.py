"""What `purify` compiles, and when it forgets it again."""

import dataclasses
import gc
import importlib
import sys
import weakref
from pathlib import Path

import jax
import numpy as np
import pytest

from dmlp_jax import PurifyConfig, purify
from dmlp_jax.purifier import program
from tests.conftest import make_blobs

# The package's attribute of this name is the function.
programs = importlib.import_module("dmlp_jax.purifier.purify")

FIXED = PurifyConfig(steps=30, selection=False)


def test_new_values_compile_nothing_new(blobs, monkeypatch):
    features, given, val, _ = blobs
    traces, run = [], program.run
    monkeypatch.setattr(program, "run", lambda *args, **named: traces.append(1) or run(*args, **named))
    programs._program.cache_clear()
    purify(features, given, val, config=FIXED)
    assert len(traces) == 1
    purify(features, make_blobs(0, noise=0.2)[1], val, config=FIXED)
    purify(features + 1, given, val, config=FIXED, key=jax.random.key(3))
    changed = dataclasses.replace(FIXED, weight_decay=(1, 0.2, 0.03, np.float64(0.1)), val_weight=2)
    purify(features, given, val, config=changed)
    assert len(traces) == 1
    purify(features, given, val, config=dataclasses.replace(FIXED, steps=3))
    assert len(traces) == 2
    purify(features, given, val, config=FIXED)
    assert len(traces) == 2
    programs._program.cache_clear()


def test_the_oldest_program_is_forgotten():
    first = weakref.ref(programs._program(2, None, ("first",)))
    kept = weakref.ref(programs._program(2, None, (0,)))
    for number in range(1, programs.PROGRAMS):
        programs._program(2, None, (number,))
    gc.collect()
    assert first() is None
    assert kept() is not None
    programs._program.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_forgotten_program_takes_no_memory_maps(blobs):
    def maps():
        gc.collect()
        return len(Path("/proc/self/maps").read_text().splitlines())

    features, given, val, _ = blobs
    programs._program.cache_clear()
    before = maps()
    purify(features[:-7], given[:-7], val, config=FIXED)
    taken = maps() - before
    assert taken > 100
    programs._program.cache_clear()
    assert maps() - before < taken / 4
