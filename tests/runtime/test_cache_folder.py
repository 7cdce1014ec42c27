import os
from pathlib import Path

import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.runtime import cache_folder, machine


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user without settings of any cache."""
    for name in (cache_folder.VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(cache_folder.sys, "platform", "linux")
    return tmp_path


@pytest.mark.parametrize(
    ("system", "environment", "folder"),
    [
        ("linux", {}, ".cache/dmlp_jax"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, ".cache/dmlp_jax"),
        ("darwin", {"XDG_CACHE_HOME": "/x"}, "Library/Caches/dmlp_jax"),
        ("win32", {}, ".cache/dmlp_jax"),
    ],
)
def test_the_system_says_where_caches_lie(home, system, environment, folder):
    assert cache_folder.of_user(environment, system) == home / folder


def test_a_variable_says_where_caches_lie(tmp_path):
    there = str(tmp_path)
    assert cache_folder.of_user({"XDG_CACHE_HOME": there}, "linux") == tmp_path / "dmlp_jax"
    assert cache_folder.of_user({"LOCALAPPDATA": there}, "win32") == tmp_path / "dmlp_jax"


def test_each_kind_of_processor_has_a_folder_of_its_own(home, monkeypatch):
    folder = cache_folder.find()
    assert folder == home / ".cache" / "dmlp_jax" / machine.fingerprint()
    assert folder.is_dir()
    monkeypatch.setattr(machine, "fingerprint", lambda: "another")
    assert cache_folder.find().name == "another"


def test_jax_own_variable_comes_first(home, monkeypatch):
    monkeypatch.setenv(cache_folder.VARIABLE, str(home / "theirs"))
    assert cache_folder.find() == home / "theirs"
    assert cache_folder.find(str(home / "named")) == home / "named"
    monkeypatch.setenv(cache_folder.VARIABLE, "gs://bucket/folder")
    assert cache_folder.find() is None
    assert not (home / ".cache").exists()


def test_a_folder_that_cannot_be_written_to_is_left_alone(home, monkeypatch):
    (home / ".cache").write_text("a file")
    assert cache_folder.find() is None
    monkeypatch.setenv(cache_folder.VARIABLE, str(home / ".cache" / "x"))
    assert cache_folder.find() is None
    with pytest.raises(UserError, match=r"--compile-cache: cannot write to .*name another"):
        cache_folder.find(str(home / ".cache" / "x"))


def test_a_user_without_a_home_keeps_nothing(home, monkeypatch):
    def fail():
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", fail)
    assert cache_folder.find() is None


def test_a_configuration_says_where(home, monkeypatch):
    assert cache_folder.of_setting("none") == ""
    assert cache_folder.of_setting("gs://bucket/folder") == "gs://bucket/folder"
    assert cache_folder.of_setting("") == str(cache_folder.find())
    monkeypatch.setenv(cache_folder.VARIABLE, str(home / "theirs"))
    assert cache_folder.of_setting("") == ""


def test_what_was_used_longest_ago_goes_first(tmp_path):
    (tmp_path / "a").mkdir()
    for age, name in enumerate(("new", "a/middle", "a/old")):
        (tmp_path / name).write_bytes(b"x" * 10)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    cache_folder.trim(tmp_path, 30)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 3
    cache_folder.trim(tmp_path, 25)
    assert not (tmp_path / "a" / "old").exists()
    cache_folder.trim(tmp_path, 10)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["new"]


def test_the_folder_of_the_user_is_trimmed_but_no_other(home, monkeypatch):
    monkeypatch.setattr(cache_folder, "MOST_BYTES", 5)
    folder = cache_folder.find()
    (folder / "x").write_bytes(b"x" * 10)
    assert cache_folder.find() == folder
    assert not (folder / "x").exists()
    (home / "named").mkdir()
    (home / "named" / "x").write_bytes(b"x" * 10)
    cache_folder.find(str(home / "named"))
    assert (home / "named" / "x").exists()


def test_the_fingerprint_is_the_same_every_time():
    first = machine.fingerprint()
    machine.fingerprint.cache_clear()
    assert machine.fingerprint() == first
    assert len(first) == 8
