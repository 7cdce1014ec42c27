"""A folder and a bucket that are kept the same: what travels, and what does not."""

import errno
import os

import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.storage.bucket.local_copy import LocalCopy
from dmlp_jax.storage.bucket.objects import Bucket
from tests.storage.bucket.kit import ADDRESS, contents, machine, there, write


def test_another_machine_goes_on_with_what_was_sent(tmp_path, system):
    a, b = tmp_path / "a", tmp_path / "b"
    with machine(a).kept():
        write(a, split="rows", pretrain__1__d__x="epoch 1", pretrain__2__d__x="epoch 2")
        (a / "empty").touch()
    assert there(system) == ["empty", "pretrain/1/d/x", "pretrain/2/d/x", "split"]
    with machine(b).kept():
        assert contents(b) == contents(a)
        (b / "pretrain/1/d/x").unlink()
        write(b, split="other rows", pretrain__3__d__x="epoch 3")
    assert there(system) == ["empty", "pretrain/2/d/x", "pretrain/3/d/x", "split"]
    with machine(a).kept():
        assert contents(a) == contents(b)
        # A folder that is left of a checkpoint would pass for one.
        assert sorted(path.name for path in (a / "pretrain").iterdir()) == ["2", "3"]


def test_only_what_has_changed_travels(tmp_path, system, monkeypatch):
    a, b = tmp_path / "a", tmp_path / "b"
    sent, fetched = [], []
    upload, download = Bucket.upload, Bucket.download
    monkeypatch.setattr(Bucket, "upload", lambda *args: (sent.append(args[2]), upload(*args))[1])
    monkeypatch.setattr(Bucket, "download", lambda *args: (fetched.append(args[1]), download(*args))[1])
    with (mirror := machine(a)).kept():
        write(a, features="large", log="1")
        mirror.send()
        write(a, log="2", stages__json="{}")
        mirror.send()
        mirror.send()
    assert sorted(sent) == ["features", "log", "log", "stages/json"]
    with machine(b).kept():
        write(b, log="3")
    with machine(a).kept():
        pass
    assert sorted(fetched) == ["features", "log", "log", "stages/json"]


def test_unfinished_and_private_files_stay_here(tmp_path, system):
    a = tmp_path / "a"
    with machine(a).kept():
        write(a, **{".lock": "", ".writable": "", ".x.123.tmp": "", "p__3.orbax-checkpoint-tmp__d": "half"})
        write(a, **{"p__2__d": "whole"})
    assert there(system) == ["p/2/d"]


def test_newer_files_of_the_machine_that_sent_last_stay(tmp_path, system):
    a = tmp_path / "a"
    with machine(a).kept():
        write(a, log="1", old="1")
    # The network was gone before these could be sent.
    write(a, log="2", result="3")
    with machine(a).kept():
        assert contents(a) == {"log": "2", "old": "1", "result": "3"}
        # At once, for other processes.
        assert system.cat_file("/bucket/run/log") == b"2"
        assert there(system) == ["log", "old", "result"]


def test_an_emptied_cache_empties_no_bucket(tmp_path, system):
    a = tmp_path / "a"
    with machine(a).kept():
        write(a, split="rows", pretrain__1__x="1")
    LocalCopy(a).delete(["split", "pretrain/1/x"])
    with machine(a).kept():
        assert contents(a) == {"split": "rows", "pretrain/1/x": "1"}
    assert there(system) == ["pretrain/1/x", "split"]


def test_a_folder_that_cannot_be_read_does_not_pass_for_empty(tmp_path, system, monkeypatch):
    a = tmp_path / "a"
    with (mirror := machine(a)).kept():
        write(a, pretrain__1__x="1")
        mirror.send()
        scandir = os.scandir

        def fail(path):
            if str(path).endswith("pretrain"):
                raise OSError(errno.EMFILE, "Too many open files")
            return scandir(path)

        with monkeypatch.context() as patched:
            patched.setattr(os, "scandir", fail)
            with pytest.raises(UserError, match="Too many open files"):
                mirror.send()
    assert there(system) == ["pretrain/1/x"]


def test_what_is_deleted_there_by_hand_is_deleted_here(tmp_path, system):
    a = tmp_path / "a"
    with machine(a).kept():
        write(a, split="rows", pretrain__1__x="1")
    system.rm("/bucket/run/pretrain", recursive=True)
    with machine(a).kept():
        assert contents(a) == {"split": "rows"}
        assert not (a / "pretrain").exists()
    assert there(system) == ["split"]


def test_a_foreign_file_there_is_left_alone(tmp_path, system):
    a, b = tmp_path / "a", tmp_path / "b"
    with machine(a).kept():
        write(a, split="rows")
    system.pipe_file("/bucket/run/notes.txt", b"mine")
    for folder in (a, b):
        with machine(folder).kept():
            assert contents(folder) == {"split": "rows"}
    assert there(system) == ["notes.txt", "split"]


def test_a_workdir_that_was_copied_there_is_taken_whole(tmp_path, system):
    for name in ("split", "pretrain/3/x", "stages.json", ".lock", "pretrain/.x.1.tmp"):
        system.pipe_file(f"/bucket/run/{name}", name.encode())
    with machine(tmp_path / "a").kept():
        names = ["pretrain/3/x", "split", "stages.json"]
        assert contents(tmp_path / "a") == {name: name for name in names}
        assert not (tmp_path / "a" / ".lock").exists()


def test_no_name_leads_out_of_the_folder(tmp_path, system, monkeypatch):
    monkeypatch.setattr(
        type(system),
        "find",
        lambda *_: [f"/bucket/run/{name}" for name in ("../../x", "/etc/x", "d/", "", "ok")],
    )
    assert Bucket(ADDRESS).names() == ["ok"]
