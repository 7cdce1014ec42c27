"""How `dmlp-purify` keeps its program: every test runs it in a process of its own."""

import os

import jax
import numpy as np
import pytest

from dmlp_jax import purify
from dmlp_jax.cli import compiling
from dmlp_jax.runtime import programs
from tests.cli.kit import FEATURES, GIVEN, VAL_FEATURES, VAL_LABELS, basic, run
from tests.conftest import SHORT


@pytest.fixture
def user(tmp_path):
    """Variables of a user who has set nothing, with an empty home folder."""
    kept = {key: value for key, value in os.environ.items() if "CACHE" not in key}
    return kept | {"HOME": str(tmp_path / "home"), "LOCALAPPDATA": str(tmp_path / "home")}


def purified(folder, out, environment, *more):
    """What the command prints."""
    process = run([*basic(folder), "--out", str(out), "--overwrite", *more], env=environment)
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return said


def kept_in(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix == programs.SUFFIX)


def test_a_second_process_compiles_nothing(folder, tmp_path, user):
    first = purified(folder, tmp_path / "a", user)
    (kept,) = kept_in(tmp_path / "home")
    assert f"compiling ...; later runs on data of this size find the program in {kept.parent}" in first
    files = sorted(kept.parent.iterdir())
    assert "compiling" not in purified(folder, tmp_path / "b", user)
    assert sorted(kept.parent.iterdir()) == files
    one, other = (np.load(tmp_path / name / "purified.npz")["probs"] for name in "ab")
    assert np.array_equal(one, other)


def test_the_user_says_where(folder, tmp_path, user):
    purified(folder, tmp_path / "a", user, "--compile-cache", str(tmp_path / "mine"))
    assert len(kept_in(tmp_path / "mine")) == 1
    assert not kept_in(tmp_path / "home")
    theirs = user | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "mine")}
    assert "compiling" not in purified(folder, tmp_path / "a", theirs)


def test_nothing_is_kept_where_nothing_shall_or_can_be(folder, tmp_path, user):
    said = purified(folder, tmp_path / "a", user, "--no-compile-cache")
    assert "compiling ...\n" in said
    (tmp_path / "file").write_text("no folder can be made in it")
    said = purified(folder, tmp_path / "a", user | {"XDG_CACHE_HOME": str(tmp_path / "file")})
    assert "compiling ...\n" in said
    assert not kept_in(tmp_path)


def test_a_named_folder_that_cannot_be_written_to_is_an_error(folder, tmp_path, user):
    (tmp_path / "file").write_text("")
    for named, message in ((tmp_path / "file" / "x", "cannot write to"), ("gs://bucket/x", "gs://bucket/x")):
        process = run([*basic(folder), "--out", str(tmp_path / "a"), "--compile-cache", str(named)], env=user)
        errors = process.communicate(timeout=300)[1]
        assert process.returncode == 2
        assert errors.startswith("error: --compile-cache")
        assert message in errors


def test_damaged_files_are_no_error(folder, tmp_path, user):
    purified(folder, tmp_path / "a", user)
    files = [path for path in kept_in(tmp_path / "home")[0].parent.iterdir() if path.is_file()]
    for path in files:
        path.write_bytes(path.read_bytes()[:50])
    assert "compiling ..." in purified(folder, tmp_path / "b", user)
    one, other = (np.load(tmp_path / name / "purified.npz")["probs"] for name in "ab")
    assert np.array_equal(one, other)


def test_quick_compilation_is_for_small_data(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    assert compiling.options(2000, 10, paper=False) == compiling.OPTIONS
    assert compiling.options(compiling.QUICK, 2, paper=False) == {}
    assert compiling.options(2000, 10, paper=True) == {}
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=true")
    assert list(compiling.options(2000, 10, paper=False)) == ["xla_backend_optimization_level"]


def test_purify_itself_leaves_settings_and_files_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    before = dict(jax.config.values)
    purify(FEATURES, GIVEN, (VAL_FEATURES, VAL_LABELS), config=SHORT)
    assert dict(jax.config.values) == before
    assert not list(tmp_path.iterdir())
