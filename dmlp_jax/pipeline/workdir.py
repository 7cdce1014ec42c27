"""The folder of a run: where everything lies, what is done, and whether the settings still fit it.

stages.json records for every stage the settings that it depends on, its own and those of the stages before
it, and whether it finished. A stage whose record disagrees with the configuration is refused; later settings
may change freely. Deleting a stage's artefact resets the stage. With a finished stage stands the SHA-256 of
each file that later stages read, and a file that no longer has it is refused.

A workdir at an address such as gs://bucket/run is a folder of this machine that is kept the same as what lies
there, see `mirror`.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from dmlp_jax.errors import UserError
from dmlp_jax.pipeline.paths import RunPaths
from dmlp_jax.pipeline.records import COMMON, Records
from dmlp_jax.pipeline.stage_settings import relevant_settings
from dmlp_jax.runtime import hosts
from dmlp_jax.storage import files, lock
from dmlp_jax.storage.bucket import local_copy
from dmlp_jax.storage.bucket.mirror import Mirror
from dmlp_jax.storage.bucket.objects import Bucket


class Workdir(RunPaths):
    """Paths and records of one run.

    Args:
        root: the folder, made if absent, or an address. What lies at an address is here once the workdir is
            locked.

    Attributes:
        root: the folder.
        name: the folder or the address, for messages.
        on_each_host: whether every process has a folder of its own, as with an address.

    Raises:
        UserError: the folder cannot be made, or the address is none.
    """

    def __init__(self, root: Path | str):
        address = files.address_of(root)
        self.name, self.on_each_host = address or str(root), address is not None
        self.root = Path(root) if address is None else local_copy.folder_of(address, jax.process_index())
        self._mirror = None if address is None else Mirror(Bucket(address), self.root, "stages.json")
        self._records = Records(self.root / "stages.json")
        if self.on_each_host:
            self._make()
        else:
            hosts.only_main(self._make)

    def _make(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"the workdir {self.root} cannot be made ({error.strerror}); name another with --workdir"
            ) from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Makes this process the only one that writes here while the block runs; see `lock.hold`.

        Processes that only read need no lock.

        Raises:
            UserError: another process holds it, or the folder cannot be written to.
        """
        with lock.hold(self.root / ".lock"):
            files.save_text(self.root / ".writable", "")
            (self.root / ".writable").unlink()
            # Without the lock these could be the files that another process is just writing.
            for folder in (self.root, self.retrain, *self.retrain.glob("*/")):
                files.remove_temporary(folder)
            with contextlib.nullcontext() if self._mirror is None else self._mirror.kept():
                yield

    def watched(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """`stop`, which also raises a UserError once another run works on the address."""
        return stop if self._mirror is None else self._mirror.watched(stop)

    def claim(self) -> None:
        """Makes this run the one that works on the address; an earlier one that still runs ends.

        Raises:
            UserError: the address cannot be reached.
        """
        if self._mirror is not None:
            hosts.only_main(self._mirror.claim)
            self._fetch()

    def share(self) -> None:
        """Sends what is new to the address, from where the other processes fetch it.

        Raises:
            UserError: the address cannot be reached, or another run works on it.
        """
        if self._mirror is not None:
            hosts.only_main(self._mirror.send)
            self._fetch()

    def _fetch(self) -> None:
        if self._mirror is not None and not hosts.is_main():
            self._mirror.fetch()

    def is_complete(self, stage: str, config: ConfigDict) -> bool:
        """Whether the stage finished under the same settings.

        Args:
            stage: 'split', 'pretrain', 'extract', 'purify' or 'retrain/<method>'.
            config: the whole configuration.

        Raises:
            UserError: it was begun under other settings, the message says which differ; or one of its files
                is damaged.
        """
        return hosts.agree(lambda: self._is_complete(stage, config))

    def _is_complete(self, stage: str, config: ConfigDict) -> bool:
        artefact = self.artefact(stage)
        record = self._records.read().get(stage)
        _, _, method = stage.partition("/")
        exists = any(artefact.glob(f"{method}-*")) if method else artefact.exists()
        if record is None or not exists:
            return False
        wanted, found = relevant_settings(stage, config), record["settings"]
        differing = _differing(found, wanted, {*found, *wanted})
        if differing:
            leftover = f"{artefact.name}/{method}-*" if method else artefact.name
            raise UserError(
                f"the workdir {self.name} holds the stage {stage} of another run: {'; '.join(differing)}. "
                f"Use another --workdir, set these back, or delete {leftover} there and all that was "
                "made from it"
            )
        if stage == "pretrain" and not (self.pretrain / str(config.pretrain.epochs)).exists():
            # Its last checkpoint was deleted; the one before is no finished encoder.
            return False
        whole = [
            self._records.is_whole(self.root / name, digest) for name, digest in record["sha256"].items()
        ]
        return record["complete"] and all(whole)

    def refuse_foreign(self, config: ConfigDict) -> None:
        """Raises a UserError if any stage here was run under other settings; see `is_complete`."""
        for stage in ("split", "pretrain", "extract", "purify", f"retrain/{config.retrain.method}"):
            self.is_complete(stage, config)

    def digest(self, path: Path) -> str | None:
        """The SHA-256 of a file in the workdir; None if it is not there.

        Raises:
            UserError: a stage left it with another one: it is damaged.
        """
        return hosts.agree(lambda: self._digest(path))

    def _digest(self, path: Path) -> str | None:
        name = path.relative_to(self.root).as_posix()
        for record in self._records.read().values():
            if (known := record["sha256"].get(name)) is not None:
                return known if self._records.is_whole(path, known) else None
        return files.sha256(path) if path.exists() else None

    def refuse_other_rows(self, stage: str, config: ConfigDict) -> None:
        """Refuses what a method made of other rows, labels or noise; its own settings may differ.

        Args:
            stage: 'retrain/<method>'.
            config: the whole configuration.

        Raises:
            UserError: it was run on other rows; the message says which settings differ.
        """
        record = hosts.agree(lambda: self._records.read().get(stage))
        if record is None:
            return
        wanted = relevant_settings("split", config)
        differing = _differing(record["settings"], wanted, wanted)
        if differing:
            method = stage.partition("/")[2]
            raise UserError(
                f"{self.retrain} holds what {method} made of other rows: {'; '.join(differing)}; delete "
                f"{method}-* there and run --config.retrain.method={method} anew"
            )

    def begin(self, stage: str, config: ConfigDict, **details: Any) -> None:
        """Records under which settings the stage runs, and what else there is to record."""
        hosts.only_main(lambda: self._begin(stage, config, details))
        self.share()

    def _begin(self, stage: str, config: ConfigDict, details: dict[str, Any]) -> None:
        kept = {}
        if stage.startswith("retrain/"):
            # Arms that are done stay, and are read again; other stages write all their files anew.
            known = self._records.read().get(stage, {"sha256": {}})["sha256"]
            kept = {name: digest for name, digest in known.items() if (self.root / name).exists()}
        settings = relevant_settings(stage, config)
        self._records.write(stage, {"settings": settings, "complete": False, "sha256": kept, **details})

    def finish(self, stage: str, config: ConfigDict, made: Iterable[Path] = (), **details: Any) -> None:
        """Records that the stage is done.

        Args:
            stage: as in `is_complete`.
            config: the whole configuration.
            made: files in the workdir whose checksums are kept, to tell later whether they are damaged.
            **details: what else to record, such as its seconds.
        """
        made = list(made)
        hosts.only_main(lambda: self._finish(stage, config, made, details))
        self.share()

    def _finish(self, stage: str, config: ConfigDict, made: list[Path], details: dict[str, Any]) -> None:
        digests = {path.relative_to(self.root).as_posix(): files.sha256(path) for path in made}
        settings = relevant_settings(stage, config)
        self._records.write(stage, {"settings": settings, "complete": True, "sha256": digests, **details})

    def details(self, stage: str) -> dict[str, Any]:
        """What else was recorded with a stage, empty where nothing was."""
        record = hosts.agree(lambda: self._records.read().get(stage, {}))
        return {key: value for key, value in record.items() if key not in COMMON}


def _differing(found: dict[str, Any], wanted: dict[str, Any], keys: Iterable[str]) -> list[str]:
    """In words, the settings of these names that are not the same."""
    return [
        f"{key} is {found.get(key)!r} there and {wanted.get(key)!r} now"
        for key in sorted(keys)
        if wanted.get(key) != found.get(key)
    ]
