import contextlib
import os
import stat

import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.storage import files


def test_npz_comes_back(tmp_path):
    arrays = {"a": np.arange(3), "b/c": np.ones((2, 2), np.float16)}
    files.save_npz(tmp_path / "deep" / "x.npz", arrays)
    stored = files.load_npz(tmp_path / "deep" / "x.npz", ("a",))
    for name, array in arrays.items():
        np.testing.assert_array_equal(stored[name], array)
        assert stored[name].dtype == array.dtype


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.json"
    files.save_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        files.save_json(path, {"a": float("nan")})
    with contextlib.suppress(RuntimeError), files.atomic_writer(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert files.load_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.json"]


def test_objects_are_not_pickled(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        files.save_npz(tmp_path / "x.npz", {"a": np.array([None], object)})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_have_ordinary_permissions(tmp_path, umask):
    before = os.umask(umask)
    try:
        files.save_text(tmp_path / "x", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o666 & ~umask


def test_a_write_leaves_the_umask_alone(tmp_path, monkeypatch):
    """It is the whole process's: files that other threads make meanwhile would be open to everybody."""

    def umask(mask):
        raise AssertionError(f"umask({mask:o})")

    monkeypatch.setattr(os, "umask", umask)
    files.save_text(tmp_path / "x", "whole")
    assert (tmp_path / "x").read_text() == "whole"


def test_what_killed_writers_left_is_removed(tmp_path):
    (tmp_path / ".x.npz.abc.tmp").write_bytes(b"half")
    (tmp_path / "x.npz").write_bytes(b"whole")
    files.remove_temporary(tmp_path)
    assert os.listdir(tmp_path) == ["x.npz"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"\x93NUMPY"])
def test_damaged_npz_is_a_clear_error(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        files.load_npz(tmp_path / "x.npz")


def test_missing_arrays_are_named(tmp_path):
    files.save_npz(tmp_path / "x.npz", {"a": 1})
    with pytest.raises(UserError, match="lacks the arrays b, c; it holds a"):
        files.load_npz(tmp_path / "x.npz", ("a", "b", "c"))


def test_damaged_json_is_a_clear_error(tmp_path):
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(UserError, match="delete it"):
        files.load_json(tmp_path / "x.json")


def test_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        files.save_text(tmp_path / "file" / "x", "")
