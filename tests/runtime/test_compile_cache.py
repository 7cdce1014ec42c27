import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from dmlp_jax.config import default_config
from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import pipeline
from dmlp_jax.pipeline.stage_settings import relevant_settings
from dmlp_jax.runtime import compile_cache

REPOSITORY = Path(__file__).parents[2]
NAMES = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


def settings():
    return [getattr(jax.config, name) for name in NAMES]


PROGRAM = """
import sys
from collections import Counter
import jax, jax.numpy as jnp
from dmlp_jax.runtime import compile_cache
events = Counter()
jax.monitoring.register_event_listener(lambda event, **_: events.update([event.rsplit("/")[-1]]))
with compile_cache.kept_in(sys.argv[1]):
    value = jax.jit(lambda x: jnp.tanh(x) @ x)(jnp.ones((3, 3)))
print(events["cache_misses"], events["cache_hits"], float(value.sum()))
"""


def run(cache):
    """Misses, hits and result of a program in a process of its own."""
    # Without what conftest.py sets: the folder has to do it alone.
    mine = {
        key: value for key, value in os.environ.items() if not (key.startswith("JAX_") and "CACHE" in key)
    }
    command = [sys.executable, "-c", PROGRAM, str(cache)]
    done = subprocess.run(
        command, env=mine, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=300
    )
    misses, hits, value = done.stdout.split()
    return int(misses), int(hits), value


def test_second_process_compiles_nothing(tmp_path):
    misses, hits, value = run(tmp_path)
    kept = {path.name for path in tmp_path.glob("*-cache")}
    assert misses == len(kept) > 0
    assert hits == 0
    assert run(tmp_path) == (0, misses, value)
    assert {path.name for path in tmp_path.glob("*-cache")} == kept


def test_pipeline_runs_with_the_configured_folder(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(pipeline, "_run", lambda *_: seen.append(settings()))
    config = default_config()
    config.compile_cache = str(tmp_path / "cache")
    pipeline.run(config, tmp_path / "w")
    assert seen == [[config.compile_cache, 0.0, -1]]


def test_settings_of_jax_are_as_before_afterwards(tmp_path):
    before = settings()
    with compile_cache.kept_in(str(tmp_path / "new" / "cache")):
        assert settings() == [str(tmp_path / "new" / "cache"), 0.0, -1]
        jax.jit(lambda x: x * 1.25 + 3)(jnp.arange(5.0))
        inside = len(list((tmp_path / "new" / "cache").iterdir()))
    assert inside
    assert settings() == before
    jax.jit(lambda x: x * 1.5 + 4)(jnp.arange(5.0))
    assert len(list((tmp_path / "new" / "cache").iterdir())) == inside
    with pytest.raises(ZeroDivisionError), compile_cache.kept_in(str(tmp_path)):
        raise ZeroDivisionError
    assert settings() == before


def test_without_a_folder_nothing_changes():
    before = settings()
    with compile_cache.kept_in(""):
        assert settings() == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="compile_cache"),
        compile_cache.kept_in(str(tmp_path / "file" / "in")),
    ):
        pass


@pytest.mark.parametrize("stage", ["split", "pretrain", "extract", "purify", "retrain/naive"])
def test_no_result_depends_on_it(stage):
    assert not [key for key in relevant_settings(stage, default_config()) if "cache" in key]
