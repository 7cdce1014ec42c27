"""One run at a time writes a workdir, and a dead one is in nobody's way."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import pipeline
from dmlp_jax.pipeline.workdir import Workdir
from dmlp_jax.storage import lock
from tests.pipeline.test_pipeline import tiny_config

HOLDER = """
import pathlib, subprocess, sys, time
from dmlp_jax.storage import lock
with lock.hold(pathlib.Path(sys.argv[1])):
    child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock on tmp_path/.lock, and the pid of a program that it started."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / ".lock")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    yield process, child
    process.kill()
    process.wait()
    process.stdout.close()
    os.kill(child, signal.SIGKILL)


def test_another_process_is_named(tmp_path, holder):
    host = os.uname().nodename
    with (
        pytest.raises(UserError, match=f"in use by process {holder[0].pid} on '{host}' since 20"),
        lock.hold(tmp_path / ".lock"),
    ):
        pass


def test_a_run_on_a_workdir_in_use_ends_at_once_and_touches_nothing(tmp_path, holder):
    (tmp_path / ".features.npz.abc.tmp").write_bytes(b"the other run is just writing this")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(UserError, match=f"process {holder[0].pid} .*use another --workdir"):
        pipeline.run(tiny_config(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_killed_process_leaves_no_lock_though_its_children_live(tmp_path, holder):
    process, child = holder
    process.kill()
    process.wait()
    os.kill(child, 0)  # still there
    assert (tmp_path / ".lock").read_text()
    with lock.hold(tmp_path / ".lock"):
        pass


def test_the_lock_is_given_back_after_the_block_and_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), lock.hold(tmp_path / ".lock"):
        raise ZeroDivisionError
    for _ in range(2):
        with lock.hold(tmp_path / ".lock"):
            pass


def test_two_runs_in_one_process_are_two(tmp_path):
    with (
        lock.hold(tmp_path / ".lock"),
        pytest.raises(UserError, match=f"process {os.getpid()} "),
        lock.hold(tmp_path / ".lock"),
    ):
        pass


def test_patience_outlasts_a_short_holder_and_ends(tmp_path):
    def keep():
        with lock.hold(tmp_path / ".lock"):
            held.set()
            time.sleep(0.3)

    held = threading.Event()
    other = threading.Thread(target=keep)
    other.start()
    assert held.wait(timeout=30)
    with (
        pytest.raises(UserError, match=f"process {os.getpid()} "),
        lock.hold(tmp_path / ".lock", patience=0.01),
    ):
        pass
    with lock.hold(tmp_path / ".lock", patience=30.0):
        pass
    other.join()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x", "host": 1, "since": 1e400}', "\x00" * 10])
def test_whatever_the_file_says_the_message_comes(tmp_path, content):
    with lock.hold(tmp_path / ".lock"):
        (tmp_path / ".lock").write_text(content)
        with (
            pytest.raises(UserError, match="in use by another process"),
            lock.hold(tmp_path / ".lock"),
        ):
            pass


def test_a_file_system_without_locks_is_said_and_used(tmp_path, monkeypatch, capsys):
    def flock(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with lock.hold(tmp_path / ".lock"):
        pass
    assert "cannot be locked (Operation not supported)" in capsys.readouterr().out


def test_a_system_without_flock_is_said_and_used(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lock, "fcntl", None)
    with lock.hold(tmp_path / ".lock"):
        pass
    assert "make sure that no other run uses it" in capsys.readouterr().out


def test_looking_needs_no_lock(tmp_path, holder):
    assert not Workdir(tmp_path).is_complete("split", tiny_config())


def test_leftovers_of_killed_writers_are_cleared_away_under_the_lock(tmp_path):
    workdir = Workdir(tmp_path)
    for folder in (tmp_path, workdir.retrain / "naive-given"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".result.json.abc.tmp").write_bytes(b"half")
    with workdir.lock():
        assert not list(tmp_path.rglob("*.tmp"))
