"""Networks that fail, and what is damaged."""

import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.storage.bucket.local_copy import RECORD, LocalCopy
from dmlp_jax.storage.bucket.objects import Bucket
from tests.storage.bucket.kit import ADDRESS, contents, machine, there, write


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


def test_a_bucket_that_is_not_there_is_not_waited_for(tmp_path, capsys):
    """It is asked for twice; a third time would cost whoever misspelt it minutes."""

    class Nowhere(Bucket):
        def write(self, name, content):
            raise FileNotFoundError("b/nosuch")

    mirror = machine(tmp_path / "a", Nowhere(ADDRESS), patience=(0.0, 1000.0))
    with pytest.raises(UserError, match=r"cannot reach .* \(FileNotFoundError: b/nosuch\)"):
        mirror.claim()
    assert capsys.readouterr().out.count("the next attempt") == 1


def test_what_vanishes_during_a_fetch_is_looked_up_anew(tmp_path, system):
    """A run that still works there deletes old checkpoints while they are downloaded, time and again."""
    a, b = tmp_path / "a", tmp_path / "b"
    with machine(a).kept():
        write(a, pretrain__6__a="6")

    class Moving(Bucket):
        gone = 3

        def download(self, name, path):
            if self.gone:
                self.gone -= 1
                name = "pretrain/5/a"
            return super().download(name, path)

    with machine(b, Moving(ADDRESS), patience=(0.0, 0.0, 0.0)).kept():
        assert contents(b) == {"pretrain/6/a": "6"}


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
        raise KeyboardInterrupt
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
