"""Synchronises a local folder with a workdir in a bucket.

A run renames, appends to and locks files; a bucket supports none of these. The run therefore works in a local
folder, whose changes are uploaded when a stage begins or ends, every ten seconds, and when the run ends. The
index object `.mirror.json` lists the files that form a consistent state. It is written after all of them are
uploaded and before others are deleted, so if a run is killed during an upload, any machine can resume from
the bucket. The index also names the owner, which is the machine that started last. An earlier one that still
runs notices this at its next upload and ends.

With several processes, process 0 uploads and the others download.
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

# Seconds to wait before each retry of an operation that the run needs in order to continue.
PATIENCE = (2.0, 10.0, 30.0, 60.0)
_AT_ONCE = 8
# How often the folder is rescanned if files vanish during an upload; after that the next upload tries again.
_RESCANS = 5


class TakenOverError(UserError):
    """Another run has started to work on the same address."""


class Mirror:
    """A local folder that is synchronised with a bucket.

    Args:
        bucket: the workdir in the bucket.
        folder: an existing local folder whose lock is held.
        last: name of the file that is uploaded after all others, because it refers to them. Every run has it.
        interval: seconds between two scans for changes.
        patience: seconds to wait before each retry when the bucket cannot be reached.
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
        """Downloads the workdir, so that the folder has the same files as the bucket.

        If this folder was the last to upload, its newer files are kept, so that a run that ended before it
        uploaded them can resume from them. Files deleted from the bucket by hand are deleted here too.

        Raises:
            UserError: the bucket cannot be reached, or its files are not those of a run.
        """
        self._patiently(self._fetch)

    def claim(self) -> None:
        """Downloads the workdir, makes this run its owner, and starts to upload changes in the background.

        Raises:
            UserError: see `fetch`.
        """

        def take_over():
            index = self._fetch()
            if index is not None:
                if not index.owner.get("ended") and not self._is_own(index):
                    print(
                        f"note: {self.address} was in use by {described(index)}; if it still runs, it ends "
                        "at its next upload",
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
        """Downloads before the block; after it uploads the changes if `claim` was called.

        Raises:
            UserError: the bucket cannot be reached. The run's files stay in the local folder.
            TakenOverError: another run has taken over the workdir.
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
                # Printed, not raised: raising it would hide why the run ended.
                print(f"note: {failure}", file=sys.stderr, flush=True)
            raise
        self._end()

    def send(self) -> None:
        """Uploads changed files and deletes from the bucket what was deleted in the folder.

        Raises:
            UserError: the bucket cannot be reached.
            TakenOverError: another run has taken over the workdir.
        """
        self._patiently(self._send)

    def watched(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """Wraps `stop`, so that it also ends the run once another run has taken over the workdir."""
        signalled = False

        def ask() -> bool:
            nonlocal signalled
            if self._taken is not None and not hosts.several():
                raise self._taken
            if self._taken is not None and not signalled:
                # A signal instead of an exception: it stops all processes at the same step.
                signalled = True
                os.kill(os.getpid(), signal.SIGTERM)
            return stop()

        return ask

    def _fetch(self) -> Index | None:
        """Downloads once, without retries; returns the index. See `fetch`."""
        if not self._token:
            self._token, self._known = self._local.recall()
        index = bucket_index.read(self._bucket)
        there = {name for name in self._bucket.names() if is_kept(name)}
        if index is None and there and self._last not in there:
            raise UserError(
                f"{self.address} is no workdir: there are files, but no {self._last}; name a folder in it"
            )
        # Without an index the workdir was copied into the bucket by hand; all its files then belong to it.
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
        """Whether this folder was the last to upload."""
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
                    # A file vanished during the upload. The others may be part of a checkpoint: scan again.
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
        """Uploads files; returns those that still existed."""
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
