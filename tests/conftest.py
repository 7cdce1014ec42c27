"""Shared by all tests: one compilation cache, one small labelling problem."""

import os
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

# Fake devices of the multi-device tests share two cores; with fewer threads collectives can hang.
os.environ.setdefault("NPROC", "16")
# XLA's older code generator compiles the purifier in half the time. A flag that XLA does not know ends the
# process, so it is set for versions that are known to have it. XLA reads its flags when jax is imported.
if version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false".strip()

import jax
import numpy as np
import pytest

from dmlp_jax import PurifyConfig
from dmlp_jax.purifier import compiled


def pytest_configure():
    """Quick compilation: most programs run for less time than they compile."""
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory, request):
    """Lets the processes of a run, and those that tests start, reuse what any of them compiled before."""
    base = tmp_path_factory.getbasetemp()
    # Each worker of pytest-xdist has a folder of its own in one of the run.
    shared = base.parent if hasattr(request.config, "workerinput") else base
    folder = os.environ.get("DMLP_TEST_CACHE") or str(shared / "compiled")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


# Linux lets a process map 65,530 pieces of memory; a program compiled for CPU takes a thousand.
MEMORY_MAPS = 30_000


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Modules share what they compile until memory maps might run out."""
    yield
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > MEMORY_MAPS:
        jax.clear_caches()


# `purify` is compiled for every shape, type and static setting, which takes far longer than to run it: tests
# that are not about these call it with `make_blobs` of the usual size and one of these.
SHORT = PurifyConfig(steps=30)
# Rounding decides between rounds of equal score: invariances hold to the last digit for a fixed one.
FIXED = PurifyConfig(steps=30, selection=False, weight_decay=(0.3,))


def fresh_programs():
    """What keeps the compiled programs of `purify`, by name, and has none yet."""
    names = ("_program", "_disk_program")
    return {name: lru_cache(compiled.PROGRAMS)(getattr(compiled, name).__wrapped__) for name in names}


@pytest.fixture
def own_programs(monkeypatch):
    """Programs of before are not used, those of the test not kept: for tests that change what is compiled."""
    for name, programs in fresh_programs().items():
        monkeypatch.setattr(compiled, name, programs)


def accuracy(labels, true):
    """Share of labels that are right."""
    return float(np.mean(np.asarray(labels) == true))


def make_blobs(seed, rows=300, val_rows=30, width=16, classes=3, spread=3.0, noise=0.5):
    """Gaussian clusters with symmetric label noise: features, given, (val features, val labels), true."""
    rng = np.random.default_rng(seed)
    true = rng.integers(classes, size=rows + val_rows)
    true[rows:] = np.arange(val_rows) % classes
    centres = spread * np.linalg.qr(rng.normal(size=(width, classes)))[0].T
    features = (rng.normal(size=(rows + val_rows, width)) + centres[true]).astype(np.float32)
    redrawn = rng.random(rows) < noise
    given = np.where(redrawn, rng.integers(classes, size=rows), true[:rows]).astype(np.int32)
    return features[:rows], given, (features[rows:], true[rows:].astype(np.int32)), true[:rows]


@pytest.fixture(scope="session")
def blobs():
    return make_blobs(0)
