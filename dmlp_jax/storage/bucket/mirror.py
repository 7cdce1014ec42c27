"""A workdir in a bucket: a folder of this machine, kept the same as what lies at an address.

A run renames, appends and locks, none of which a bucket can. So it works in a folder here, and what changes
in it is sent: when a stage begins or ends, every ten seconds, and when the run ends. The object
`.mirror.json` names the files that belong together. It is written after all of them have arrived and before
others are deleted: what a run that is killed while it sends leaves there, any machine goes on from. It also
names the owner, the machine that began last; an earlier one that still runs sees that when it sends next,
and ends.

With several processes the first one sends, and the others fetch what it sent.
"""

import contextlib
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dmlp_jax.errors import UserError
from dmlp_jax.runtime import hosts
from dmlp_jax.storage.bucket import index as bucket_index
from dmlp_jax.storage.bucket.index import Index, described
from dmlp_jax.storage.bucket.local_copy import Known, LocalCopy, is_kept
from dmlp_jax.storage.bucket.objects import Bucket, in_words, patiently

# Seconds before the next attempts at what must be done before the run may go on.
PATIENCE = (2.0, 10.0, 30.0, 60.0)
_AT_ONCE = 8
# A set of files that changes while it is sent is looked at anew, then left to the next time.
_RESCANS = 5


class TakenOverError(UserError):
    """Another run works on the same address since."""


class Mirror:
    """A folder and the address that it is kept the same as.

    Args:
        bucket: the address.
        folder: on this machine, there already, and locked.
        last: the file that is sent after all others, since it speaks of them. Every run has it.
        interval: seconds between two looks for what has changed.
        patience: seconds before each new attempt to reach the address.
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
        self._token = ""
        self._known: dict[str, Known] = {}
        self._sending, self._done = threading.Lock(), threading.Event()
        self._sender: threading.Thread | None = None
        self._taken: TakenOverError | None = None

    def fetch(self) -> None:
        """Makes the folder what lies at the address.

        Where it was this folder that sent last, its newer files stay: a run that ended before it could send
        them goes on from them. What was deleted there by hand is deleted here too.

        Raises:
            UserError: the address cannot be reached, or what lies there is no run.
        """
        self._patiently(self._fetch)

    def claim(self) -> None:
        """Fetches, becomes the owner, and from now on sends what changes.

        Raises:
            UserError: see `fetch`.
        """

        def take_over():
            index = self._fetch()
            if index is not None:
                if not index.owner.get("ended") and not self._is_own(index):
                    print(
                        f"note: {self.address} was in use by {described(index)}; should it still run, it "
                        "ends when it sends next",
                        flush=True,
                    )
                for name in set(index.pending) - self._known.keys():
                    self._bucket.delete(name)
            bucket_index.write(self._bucket, self._token, self._known)

        self._patiently(take_over)
        self.send()
        self._sender = threading.Thread(target=self._send_now_and_then, daemon=True)
        self._sender.start()

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Fetches; at the end sends what has changed, if the block has called `claim`.

        Raises:
            UserError: the address cannot be reached. What was made stays in the folder.
            TakenOverError: another run began to work on it.
        """
        self.fetch()
        try:
            yield
        except BaseException as error:
            try:
                self._end()
            except TakenOverError:
                if not isinstance(error, TakenOverError):
                    raise
            except UserError as failure:
                # Raised, it would hide why the run ended.
                print(f"note: {failure}", file=sys.stderr, flush=True)
            raise
        self._end()

    def send(self) -> None:
        """Sends what has changed, and deletes there what was deleted here.

        Raises:
            UserError: the address cannot be reached.
            TakenOverError: another run works on it.
        """
        self._patiently(self._send)

    def watched(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """`stop`, which also ends the run once another one works on the address."""
        told = False

        def ask() -> bool:
            nonlocal told
            if self._taken is not None and not hosts.several():
                raise self._taken
            if self._taken is not None and not told:
                # All processes then stop at the same step.
                told = True
                os.kill(os.getpid(), signal.SIGTERM)
            return stop()

        return ask

    def _fetch(self) -> Index | None:
        """`fetch`, once; returns the index."""
        if not self._token:
            self._token, self._known = self._local.recall()
        index = bucket_index.read(self._bucket)
        there = {name for name in self._bucket.names() if is_kept(name)}
        if index is None and there and self._last not in there:
            raise UserError(
                f"{self.address} is no workdir: there are files, but no {self._last}; name a folder in it"
            )
        # Without an index somebody copied a workdir there: all files belong to it.
        versions = dict.fromkeys(there, "") if index is None else index.files
        wanted = {name: versions[name] or secrets.token_hex(8) for name in there if name in versions}
        here = self._local.scan()
        if self._is_own(index):
            stay, current = here.keys() - self._known.keys(), set(here)
        else:
            stay = set()
            current = {n for n in wanted.keys() & here if self._known.get(n) == Known(wanted[n], *here[n])}
        self._local.delete(here.keys() - wanted.keys() - stay)
        self._local.remove_temporary()
        missing = wanted.keys() - current
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda name: self._bucket.download(name, self.folder / name), missing))
        here = self._local.scan()
        self._known = {
            name: Known(version, *here[name])
            if name in missing
            else self._known.get(name, Known(version, 0, 0))
            for name, version in wanted.items()
        }
        self._local.remember(self._token, self._known)
        return index

    def _is_own(self, index: Index | None) -> bool:
        """Whether it was this folder that sent last."""
        return index is not None and index.owner.get("token") == self._token

    def _send(self) -> None:
        with self._sending:
            self._check_owner()
            known = self._known
            for _ in range(_RESCANS):
                here = self._local.scan()
                changed = {name for name, found in here.items() if known.get(name, ("",))[1:] != found}
                gone = self._known.keys() - here.keys()
                if here.keys() == self._known.keys() and not changed:
                    return
                if new := changed - self._known.keys():
                    bucket_index.write(self._bucket, self._token, self._known, pending=new)
                sent = self._upload(changed - {self._last}, here)
                known = known | sent
                if not sent.keys() >= changed - {self._last}:
                    # One was deleted meanwhile: the rest, half a checkpoint perhaps, must not pass for whole.
                    continue
                self._check_owner()
                known = known | self._upload(changed & {self._last}, here)
                known = {name: entry for name, entry in known.items() if name in here}
                bucket_index.write(self._bucket, self._token, known, pending=gone)
                for name in gone:
                    self._bucket.delete(name)
                self._known = known
                self._local.remember(self._token, known)
                return

    def _upload(self, names: set[str], here: dict[str, tuple[int, int]]) -> dict[str, Known]:
        """Sends files; returns those that were still there."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            sent = pool.map(lambda name: self._bucket.upload(self.folder / name, name), names)
            return {
                name: Known(secrets.token_hex(8), *here[name])
                for name, is_there in zip(names, sent, strict=True)
                if is_there
            }

    def _send_now_and_then(self) -> None:
        while not self._done.wait(self._interval):
            try:
                self._send()
            except TakenOverError:
                return
            except Exception as error:
                print(f"note: {self.address}: {in_words(error)}; tried again later", flush=True)

    def _end(self) -> None:
        if self._sender is None:
            return
        self._done.set()
        self._sender.join()
        if self._taken is not None:
            raise self._taken
        self.send()
        self._patiently(self._sign_off)

    def _sign_off(self) -> None:
        self._check_owner()
        bucket_index.write(self._bucket, self._token, self._known, ended=True)

    def _check_owner(self) -> None:
        index = bucket_index.read(self._bucket)
        if not self._is_own(index):
            self._taken = TakenOverError(
                f"{self.address} was taken over by {described(index)}; what this run made since is in "
                f"{self.folder} until the next run here"
            )
            raise self._taken

    def _patiently(self, act: Callable[[], object]) -> None:
        patiently(act, self._patience, self.address, self.folder)
