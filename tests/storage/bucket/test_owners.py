"""Two machines, or two processes, on one address."""

import threading
import time

import pytest

from dmlp_jax.storage.bucket.mirror import TakenOverError
from dmlp_jax.storage.bucket.objects import Bucket
from tests.storage.bucket.kit import ADDRESS, contents, machine, there, write


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
