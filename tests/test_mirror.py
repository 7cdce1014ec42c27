"""A folder and a bucket that are kept the same, with a bucket in memory."""

import contextlib
import errno
import hashlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import fsspec
import pytest

from dmlp_jax import files
from dmlp_jax.bucket import Bucket
from dmlp_jax.errors import UserError
from dmlp_jax.local_copy import RECORD, LocalCopy, folder_of
from dmlp_jax.mirror import Mirror, TakenOverError

ADDRESS = "memory://bucket/run"


@pytest.fixture(autouse=True)
def system():
    """The file system of memory://, empty."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def machine(folder, bucket=None, **kwargs):
    """A mirror whose `run` is `kept` and claimed."""
    folder.mkdir(exist_ok=True)
    settings = {"last": "stages.json", "interval": 1000.0, "patience": (), **kwargs}
    return Claimed(bucket or Bucket(ADDRESS), folder, **settings)


class Claimed(Mirror):
    @contextlib.contextmanager
    def kept(self):
        with super().kept():
            self.claim()
            yield


def write(folder, **contents):
    for name, text in contents.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        files.save_text(path, text)


def contents(folder):
    """The files of a run: text by name."""
    return {name: (folder / name).read_text() for name in LocalCopy(folder).scan()}


def there(system):
    names = [path.removeprefix("/bucket/run/") for path in system.find("/bucket/run")]
    return sorted(set(names) - {RECORD})


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


class Killed(BaseException):
    pass


class KilledAt(Bucket):
    """A bucket whose process dies before its n-th change."""

    def __init__(self, number):
        super().__init__(ADDRESS)
        self.left, self.mutex = number, threading.Lock()

    def count(self):
        with self.mutex:
            self.left -= 1
            if self.left < 0:
                raise Killed

    def write(self, *args):
        self.count()
        super().write(*args)

    def delete(self, *args):
        self.count()
        super().delete(*args)

    def upload(self, path, name):
        if name == "features":  # It is large: what is sent at the same time arrives before it.
            time.sleep(0.02)
        self.count()
        return super().upload(path, name)


def test_wherever_a_run_is_killed_another_machine_finds_files_that_fit(tmp_path, system):
    """stages.json says what the files hold: true at every moment, as it is of the folder itself."""

    def finish(folder, mirror, **made):
        write(folder, **made)
        digests = {}
        if (folder / "stages.json").exists():
            digests = json.loads((folder / "stages.json").read_text())
        digests |= {name: hashlib.sha256(text.encode()).hexdigest() for name, text in made.items()}
        files.save_json(folder / "stages.json", digests)
        mirror.send()

    def run(folder, mirror):
        """Two stages, and the second once more, with checkpoints on the way."""
        finish(folder, mirror, split="rows")
        for epoch in range(3):
            write(folder, **{f"pretrain__{epoch}__a": "1", f"pretrain__{epoch}__b": "2"})
            if epoch:
                LocalCopy(folder).delete([f"pretrain/{epoch - 1}/a", f"pretrain/{epoch - 1}/b"])
            mirror.send()
        finish(folder, mirror, features="first")
        # As a workdir begins a stage: first its record goes, then its file.
        files.save_json(folder / "stages.json", {})
        mirror.send()
        finish(folder, mirror, features="second")

    kills = 0
    while True:
        system.store.clear()
        folder = tmp_path / f"killed{kills}"
        mirror = machine(folder, KilledAt(kills))
        try:
            with mirror.kept():
                run(folder, mirror)
            break
        except Killed:
            kills += 1
        other = tmp_path / f"other{kills}"
        with machine(other).kept():
            found = contents(other)
        for name, digest in json.loads(found.get("stages.json", "{}")).items():
            if name in found:  # A stage whose file is not there is run anew.
                assert hashlib.sha256(found[name].encode()).hexdigest() == digest
        epochs = {name.split("/")[1] for name in found if name.startswith("pretrain/")}
        for epoch in epochs:
            assert f"pretrain/{epoch}/b" in found
        assert there(system) == sorted(found)  # no parts of what was being sent
    assert kills > 15


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


def test_an_address_of_something_else_is_refused(tmp_path, system):
    for name in ("one/stages.json", "two/stages.json", "cat.jpg"):
        system.pipe_file(f"/bucket/run/{name}", b"")
    other = pytest.raises(UserError, match=f"{ADDRESS} is no workdir: there are files, but no stages.json")
    with other, machine(tmp_path / "a").kept():
        pass
    assert contents(tmp_path / "a") == {}


def test_no_name_leads_out_of_the_folder(tmp_path, system, monkeypatch):
    monkeypatch.setattr(
        type(system),
        "find",
        lambda *_: [f"/bucket/run/{name}" for name in ("../../x", "/etc/x", "d/", "", "ok")],
    )
    assert Bucket(ADDRESS).names() == ["ok"]


def test_the_machine_that_began_later_goes_on_and_the_earlier_ends(tmp_path, capsys):
    a, b = tmp_path / "a", tmp_path / "b"
    first, second = machine(a), machine(b)
    stop = first.watched(lambda: True)
    taken = pytest.raises(
        TakenOverError, match=r"run was taken over by process \d+ on .* is in .*a until the next run here"
    )
    with taken, first.kept():
        write(a, split="a")
        first.send()
        assert stop() is True
        with second.kept():
            assert "was in use by process" in capsys.readouterr().out
            write(b, split="b")
            second.send()
        write(a, split="a, later")
        first.send()
    with pytest.raises(TakenOverError):
        stop()
    with machine(tmp_path / "c").kept():
        assert contents(tmp_path / "c") == {"split": "b"}
    assert "in use" not in capsys.readouterr().out  # the last one ended


def test_changes_are_sent_while_the_run_goes_on(tmp_path, system):
    a = tmp_path / "a"
    with machine(a, interval=0.01).kept():
        write(a, log="1")
        deadline = time.monotonic() + 60
        while there(system) != ["log"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert there(system) == ["log"]


def test_other_processes_fetch_what_the_first_one_sent(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    with (mirror := machine(a)).kept():
        write(a, split="rows", broken="x")
        mirror.send()
        (follower := machine(b)).fetch()
        assert contents(b) == contents(a)
        (a / "broken").unlink()
        write(a, features="x")
        mirror.send()
        follower.fetch()
        assert contents(b) == {"split": "rows", "features": "x"}


def test_a_run_that_is_replaced_while_it_sends_its_last_does_not_take_the_address_back(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    begun, replaced = threading.Event(), threading.Event()

    class Slow(Bucket):
        def upload(self, *args):
            begun.set()
            assert replaced.wait(60)
            return super().upload(*args)

    def end():
        with pytest.raises(TakenOverError), machine(a, Slow(ADDRESS)).kept():
            write(a, checkpoint="1", stages__json="a")
        outcome.append("taken")

    outcome = []
    ending = threading.Thread(target=end)
    ending.start()
    assert begun.wait(60)
    with (mirror := machine(b)).kept():
        replaced.set()
        ending.join(60)
        assert outcome == ["taken"]
        write(b, split="b")
        mirror.send()
    assert contents(b) == {"split": "b"}


def test_half_a_checkpoint_does_not_pass_for_one(tmp_path, system):
    """While its first file is sent, the training loop deletes it; then the machine dies."""
    a, b = tmp_path / "a", tmp_path / "b"
    sent = []

    class Late(Bucket):
        def upload(self, path, name):
            if name == "pretrain/5/b":
                LocalCopy(a).delete(["pretrain/5/a", "pretrain/5/b"])
                write(a, pretrain__6__a="6")
            sent.append(name)
            return super().upload(path, name)

    (mirror := machine(a, Late(ADDRESS))).fetch()
    mirror.claim()
    write(a, pretrain__5__a="5", pretrain__5__b="5")
    mirror.send()
    assert "pretrain/5/b" in sent
    with machine(b).kept():
        assert contents(b) == {"pretrain/6/a": "6"}


class Shaky(Bucket):
    """A bucket that cannot be written to a number of times."""

    def __init__(self, failures):
        super().__init__(ADDRESS)
        self.failures = failures

    def upload(self, *args):
        if self.failures:
            self.failures -= 1
            raise ConnectionResetError("reset by peer\nand more")
        return super().upload(*args)


def test_a_network_that_comes_back_costs_nothing(tmp_path, system, capsys):
    a = tmp_path / "a"
    with machine(a, Shaky(2), patience=(0.0, 0.0)).kept():
        write(a, split="rows")
    assert there(system) == ["split"]
    note = f"note: {ADDRESS}: ConnectionResetError: reset by peer; the next attempt in 0 s\n"
    assert capsys.readouterr().out == 2 * note


def test_a_network_that_does_not_come_back(tmp_path, capsys):
    a = tmp_path / "a"
    unreached = pytest.raises(
        UserError, match=r"cannot reach memory://bucket/run \(Conn.* is in .*a; the same"
    )
    with unreached, machine(a, Shaky(9)).kept():
        write(a, split="rows")
    # The run's own end is not hidden by it.
    shaky = Shaky(0)
    end = pytest.raises(KeyboardInterrupt)
    with end, machine(a, shaky).kept():
        write(a, split="other rows")
        shaky.failures = 9
        signal.raise_signal(signal.SIGINT)
    assert "note: cannot reach" in capsys.readouterr().err
    with machine(a).kept():
        assert contents(a) == {"split": "other rows"}


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"files": 3, "owner": {}, "pending": []}', b'{"files": {}}']
)
def test_a_damaged_index_is_named(tmp_path, system, content):
    system.pipe_file(f"/bucket/run/{RECORD}", content)
    damaged = pytest.raises(UserError, match=f"{ADDRESS}/{RECORD} is damaged; delete it")
    with damaged, machine(tmp_path / "a").kept():
        pass


def test_a_damaged_record_here_costs_a_download(tmp_path):
    a = tmp_path / "a"
    with machine(a).kept():
        write(a, split="rows")
    (a / RECORD).write_text("[1")
    with machine(a).kept():
        assert contents(a) == {"split": "rows"}


def test_a_half_fetched_file_does_not_appear(tmp_path, system, monkeypatch):
    system.pipe_file("/bucket/run/stages.json", b"{}")

    def torn(self, there, here):
        with open(here, "wb") as file:
            file.write(b"ro")
        raise ConnectionResetError

    monkeypatch.setattr(type(system), "get_file", torn)
    with pytest.raises(UserError, match="ConnectionResetError"), machine(tmp_path / "a").kept():
        pass
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize("given", ["gs://b/run", "gs:/b/run", Path("gs://b/run")])
def test_an_address_is_known_however_many_slashes_are_left(given):
    assert files.address_of(given) == "gs://b/run"


def test_addresses():
    with pytest.raises(UserError, match=r"gs:// names no bucket"):
        Bucket("gs://")
    with pytest.raises(UserError, match=r"file:///x is a folder: name it without file://"):
        Bucket("file:///x")
    with pytest.raises(UserError, match=r"nosuch://x is no address that fsspec knows"):
        Bucket("nosuch://x")


def test_a_missing_package_is_named(monkeypatch):
    def missing(*args, **kwargs):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(UserError, match=r"gs://b/x needs a package more: pip install 'dmlp_jax\[gcs\]'"):
        Bucket("gs://b/x")
    with pytest.raises(UserError, match="s3://b/x needs a package more: Install s3fs"):
        Bucket("s3://b/x")


def test_folders_of_addresses(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = [folder_of("gs://b/run"), folder_of("gs://c/run"), folder_of("gs://b/run", 1)]
    assert len(set(names)) == 3
    assert folder_of("gs://b/run/") == names[0]
    assert all(name.parent == tmp_path / "dmlp_jax" / "workdirs" for name in names)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert folder_of("gs://b/run").is_relative_to(tmp_path / "home" / ".cache")
