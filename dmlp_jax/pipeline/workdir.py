"""Manages the folder of a run: its files, which stages are complete, and whether the settings still match.

stages.json records for every stage the settings that it depends on, its own and those of the stages before
it, and whether it finished. A run stops with an error if a stage's record disagrees with the configuration;
settings of later stages may change freely. Deleting a stage's artefact resets the stage. The record of a
finished stage has the SHA-256 of each file that later stages read; a file with another checksum is refused.

A workdir at an address such as gs://bucket/run is a local folder that is synchronised with the address, see
`mirror`.
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
from dmlp_jax.storage import addresses, files, lock
from dmlp_jax.storage.bucket import local_copy
from dmlp_jax.storage.bucket.mirror import Mirror
from dmlp_jax.storage.bucket.objects import Bucket


class Workdir(RunPaths):
    """Paths and records of one run.

    Args:
        root: the folder, made if absent, or an address. Files at an address are fetched when the workdir is
            locked.

    Attributes:
        root: the local folder.
        name: the folder or the address, for messages.
        on_each_host: whether every process has its own folder, as with an address.

    Raises:
        UserError: the folder cannot be made, or the address is invalid.
    """

    def __init__(self, root: Path | str):
        address = addresses.address_of(root)
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
        """Locks the workdir for writing while the block runs; see `lock.hold`.

        Processes that only read need no lock.

        Raises:
            UserError: another process holds the lock, or the folder cannot be written to.
        """
        with lock.hold(self.root / ".lock"):
            files.save_text(self.root / ".writable", "")
            (self.root / ".writable").unlink()
            # Only under the lock: otherwise these might be files that another process is writing.
            for folder in (self.root, self.retrain, *self.retrain.glob("*/")):
                files.remove_temporary(folder)
            with contextlib.nullcontext() if self._mirror is None else self._mirror.kept():
                yield

    def watched(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """Wraps `stop` so that it raises a UserError once another run has claimed the address."""
        return stop if self._mirror is None else self._mirror.watched(stop)

    def claim(self) -> None:
        """Claims the address for this run; an earlier run that is still active ends.

        Raises:
            UserError: the address cannot be reached.
        """
        if self._mirror is not None:
            hosts.only_main(self._mirror.claim)
            self._fetch()

    def share(self) -> None:
        """Uploads new files to the address, from where the other processes fetch them.

        Raises:
            UserError: the address cannot be reached, or another run has claimed it.
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
            UserError: the stage was started under other settings (the message names those that differ), or
                one of its files is damaged.
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
            # The last checkpoint was deleted, and the previous one is not of a finished encoder.
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
            UserError: it differs from the checksum that was recorded, so the file is damaged.
        """
        return hosts.agree(lambda: self._digest(path))

    def _digest(self, path: Path) -> str | None:
        name = path.relative_to(self.root).as_posix()
        for record in self._records.read().values():
            if (known := record["sha256"].get(name)) is not None:
                return known if self._records.is_whole(path, known) else None
        return files.sha256(path) if path.exists() else None

    def refuse_other_rows(self, stage: str, config: ConfigDict) -> None:
        """Checks that a method's results belong to the same rows, labels and noise; its settings may differ.

        Args:
            stage: 'retrain/<method>'.
            config: the whole configuration.

        Raises:
            UserError: the method was run on other rows; the message names the settings that differ.
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
        """Records the settings under which the stage runs, and further `details`."""
        hosts.only_main(lambda: self._begin(stage, config, details))
        self.share()

    def _begin(self, stage: str, config: ConfigDict, details: dict[str, Any]) -> None:
        kept = {}
        if stage.startswith("retrain/"):
            # Finished networks are kept and read again; other stages write all their files anew.
            known = self._records.read().get(stage, {"sha256": {}})["sha256"]
            kept = {name: digest for name, digest in known.items() if (self.root / name).exists()}
        settings = relevant_settings(stage, config)
        self._records.write(stage, {"settings": settings, "complete": False, "sha256": kept, **details})

    def finish(self, stage: str, config: ConfigDict, made: Iterable[Path] = (), **details: Any) -> None:
        """Records that the stage is done.

        Args:
            stage: as in `is_complete`.
            config: the whole configuration.
            made: files in the workdir whose checksums are recorded, for finding damage later.
            **details: further values to record, such as the duration.
        """
        made = list(made)
        hosts.only_main(lambda: self._finish(stage, config, made, details))
        self.share()

    def _finish(self, stage: str, config: ConfigDict, made: list[Path], details: dict[str, Any]) -> None:
        digests = {path.relative_to(self.root).as_posix(): files.sha256(path) for path in made}
        settings = relevant_settings(stage, config)
        self._records.write(stage, {"settings": settings, "complete": True, "sha256": digests, **details})

    def details(self, stage: str) -> dict[str, Any]:
        """Further values that were recorded with a stage; empty if there are none."""
        record = hosts.agree(lambda: self._records.read().get(stage, {}))
        return {key: value for key, value in record.items() if key not in COMMON}


def _differing(found: dict[str, Any], wanted: dict[str, Any], keys: Iterable[str]) -> list[str]:
    """Descriptions of the settings among `keys` that differ."""
    return [
        f"{key} is {found.get(key)!r} there and {wanted.get(key)!r} now"
        for key in sorted(keys)
        if wanted.get(key) != found.get(key)
    ]
