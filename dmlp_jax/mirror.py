"""A workdir in a bucket: a folder of this machine, kept the same as what lies at an address.

A run renames, appends and locks, none of which a bucket can. So it works in a folder here, and what changes
in it is sent: at the begin and the end of each stage, every ten seconds, and when the run ends. The object
`.mirror.json` names the files that belong together. It is written after all of them have arrived and before
others are deleted: a run that is killed while it sends leaves the state before, from which any machine goes
on. It also names the owner, the machine that began last; an earlier one that still runs sees that when it
sends next, and ends.

With several processes the first one sends, and the others fetch what it sent.
"""

import contextlib
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dmlp_jax.bucket import Bucket
from dmlp_jax.errors import UserError
from dmlp_jax.local_copy import RECORD, Known, LocalCopy

# {"owner": {"token", "pid", "host", "ended"}, "files": {name: version}}
INDEX = RECORD
# Seconds before the next attempts to send what must arrive before the run may go on.
PATIENCE = (2.0, 10.0, 30.0, 60.0)
_AT_ONCE = 8


class TakenOverError(UserError):
    """Another run works on the same address since."""


class Mirror:
    """A folder and the address that it is kept the same as.

    Args:
        bucket: the address.
        folder: on this machine, there already.
        last: the file that is sent after all others, since it speaks of them.
        interval: seconds between two looks for what has changed.
        patience: seconds before each new attempt to send what must arrive.
    """

    def __init__(
        self,
        bucket: Bucket,
        folder: Path,
        last: str,
        interval: float = 10.0,
        patience: Iterable[float] = PATIENCE,
    ):
        self.address, self.folder = bucket.address, folder
        self._bucket, self._local, self._last = bucket, LocalCopy(folder), last
        self._interval, self._patience = interval, tuple(patience)
        self._sending = threading.Lock()
        self._taken: TakenOverError | None = None

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Makes the folder what lies at the address, and sends what changes in it while the block runs.

        The folder must be locked. Where it was this folder that sent last, its newer files stay: a run that
        ended before it could send them goes on from them.

        Raises:
            UserError: the address cannot be reached. What was made stays in the folder.
            TakenOverError: another run began to work on it.
        """
        with self._reaching():
            self._take_over()
        done = threading.Event()
        sender = threading.Thread(target=self._send_now_and_then, args=(done,), daemon=True)
        sender.start()
        try:
            yield
        except BaseException:
            try:
                self._end(done, sender)
            except UserError as error:
                # Raised, it would hide why the run ended.
                print(f"note: {error}", file=sys.stderr, flush=True)
            raise
        self._end(done, sender)

    def send(self) -> None:
        """Sends what has changed, and deletes there what was deleted here.

        Raises:
            UserError: the address cannot be reached.
            TakenOverError: another run works on it.
        """
        with self._reaching():
            for delay in self._patience:
                try:
                    return self._send()
                except TakenOverError:
                    raise
                except Exception as error:
                    _note(f"{self.address}: {_words(error)}; the next attempt in {delay:.0f} s")
                    time.sleep(delay)
            self._send()

    def fetch(self) -> None:
        """Makes the folder what lies at the address; for processes that do not send.

        Raises:
            UserError: the address cannot be reached.
        """
        with self._reaching():
            token, known = self._local.recall()
            self._local.remember(token, self._receive(self._read_index(), known))

    def watched(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """`stop`, which also raises TakenOverError once another run works on the address."""

        def ask() -> bool:
            if self._taken is not None:
                raise self._taken
            return stop()

        return ask

    def _take_over(self) -> None:
        index, (token, known) = self._read_index(), self._local.recall()
        owner = {} if index is None else index["owner"]
        if owner.get("token") == token:
            # By hand: the way to have a stage run anew.
            deleted = known.keys() - self._names()
            self._local.delete(deleted)
            known = {name: entry for name, entry in known.items() if name not in deleted}
        else:
            if owner and not owner.get("ended"):
                _note(
                    f"{self.address} was in use by {_described(owner)}; should it still run, it ends when it "
                    "sends next"
                )
            known = self._receive(index, known)
        self._local.remember(token, known)
        self._save_index(token, known)

    def _receive(self, index: dict[str, Any] | None, known: dict[str, Known]) -> dict[str, Known]:
        """Makes the folder what lies there, and returns what is then known of its files."""
        names = self._names()
        # Without an index somebody copied a workdir there: all files belong to it.
        versions = dict.fromkeys(names, "") if index is None else index["files"]
        wanted = {name: versions[name] or secrets.token_hex(8) for name in names if name in versions}
        here = self._local.scan()
        self._local.delete(here.keys() - wanted.keys())
        missing = [
            name
            for name, version in wanted.items()
            if name not in here or known.get(name) != Known(version, *here[name])
        ]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda name: self._bucket.download(name, self.folder / name), missing))
        here = self._local.scan()
        return {name: Known(version, *here[name]) for name, version in wanted.items()}

    def _send(self) -> None:
        with self._sending:
            index, (token, known) = self._read_index(), self._local.recall()
            owner = {} if index is None else index["owner"]
            if owner.get("token") != token:
                who = _described(owner) if owner else "someone who deleted what lay there"
                self._taken = TakenOverError(
                    f"{self.address} was taken over by {who}; what this run made since is in {self.folder}"
                )
                raise self._taken
            here = self._local.scan()
            changed = [name for name, status in here.items() if known.get(name, ("", 0, 0))[1:] != status]
            gone = known.keys() - here.keys()
            if not changed and not gone:
                return
            known = {name: entry for name, entry in known.items() if name not in gone}
            for part in ([n for n in changed if n != self._last], [n for n in changed if n == self._last]):
                with ThreadPoolExecutor(_AT_ONCE) as pool:
                    arrived = pool.map(lambda name: self._bucket.upload(self.folder / name, name), part)
                    sent = [name for name, is_there in zip(part, arrived, strict=True) if is_there]
                known |= {name: Known(secrets.token_hex(8), *here[name]) for name in sent}
            self._save_index(token, known)
            for name in gone:
                self._bucket.delete(name)
            self._local.remember(token, known)

    def _send_now_and_then(self, done: threading.Event) -> None:
        while not done.wait(self._interval):
            try:
                self._send()
            except TakenOverError:
                return
            except Exception as error:
                _note(f"{self.address}: {_words(error)}; the next attempt in {self._interval:.0f} s")

    def _end(self, done: threading.Event, sender: threading.Thread) -> None:
        done.set()
        sender.join()
        if self._taken is None:
            self.send()
            with self._reaching():
                self._save_index(*self._local.recall(), ended=True)

    def _names(self) -> set[str]:
        return set(self._bucket.names()) - {INDEX}

    def _read_index(self) -> dict[str, Any] | None:
        content = self._bucket.read(INDEX)
        if content is None:
            return None
        try:
            index = json.loads(content)
            if isinstance(index["files"], dict) and isinstance(index["owner"], dict):
                return index
        except (ValueError, KeyError, TypeError):
            pass
        raise UserError(f"{self.address}/{INDEX} is damaged; delete it to go on with all files there")

    def _save_index(self, token: str, known: dict[str, Known], ended: bool = False) -> None:
        owner = {"token": token, "pid": os.getpid(), "host": socket.gethostname(), "ended": ended}
        index = {"owner": owner, "files": {name: entry.version for name, entry in known.items()}}
        self._bucket.write(INDEX, json.dumps(index, indent=1).encode())

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"cannot reach {self.address} ({_words(error)}); see to the network, the bucket, your rights "
                f"to it. What was made is in {self.folder}; the same command here goes on from it"
            ) from error


def _described(owner: dict[str, Any]) -> str:
    return f"process {owner.get('pid')} on {str(owner.get('host'))!r}"


def _words(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:300]}" if text else type(error).__name__


def _note(text: str) -> None:
    print(f"note: {text}", flush=True)
