"""The folder of a run: where everything lies, what is done, and whether the settings still fit it.

stages.json records for every stage the settings that it depends on, its own and those of the stages before
it, and whether it finished. A stage whose record disagrees with the configuration is refused; later settings
may change freely. Deleting a stage's artefact resets the stage.
"""

import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dmlp_jax import files, hosts
from dmlp_jax.config import flatten
from dmlp_jax.data import datasets
from dmlp_jax.errors import UserError

# Which keys a stage reads, as prefixes.
_KEYS = {
    "split": ("seed", "data.", "noise.", "val."),
    "pretrain": ("seed", "data.", "pretrain."),
    "extract": ("extract.",),
    "purify": ("purify.",),
    "retrain": ("retrain.",),
}
# Which stages a stage reads from, directly or not. Features of one's own have no encoder before them.
_UPSTREAM = {
    "split": (),
    "pretrain": (),
    "extract": ("split", "pretrain"),
    "purify": ("split", "pretrain", "extract"),
    "retrain": ("split", "pretrain", "extract", "purify"),
}
_ENCODER_STAGES = ("pretrain", "extract")
# Settings that change where the data come from, how often a state is saved and which arms run, but no
# result; a data set is recognised by its content.
_FREE = (
    "data.dir",
    "data.path",
    "data.workers",
    "data.memory_gb",
    "data.max_broken",
    "pretrain.checkpoint_epochs",
    "retrain.checkpoint_epochs",
    "retrain.labels",
)


class Workdir:
    """Paths and records of one run.

    Args:
        root: the folder; made if absent.

    Raises:
        UserError: the folder cannot be written to.
    """

    def __init__(self, root: Path):
        self.root = root
        self._records_path = root / "stages.json"
        hosts.only_main(self._prepare)

    def _prepare(self) -> None:
        root = self.root
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"the workdir {root} cannot be made ({error.strerror}); name another with --workdir"
            ) from error
        files.save_text(root / ".writable", "")
        (root / ".writable").unlink()
        for folder in (root, root / "retrain"):
            files.remove_temporary(folder)

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.root / "config.json"

    @property
    def broken(self) -> Path:
        """Image files that were left out."""
        return self.root / "broken_images.json"

    @property
    def rows(self) -> Path:
        """The file of each row, a line each in the order of split.npz, for data sets of image files."""
        return self.root / "rows.txt"

    @property
    def split(self) -> Path:
        """Indices and given labels."""
        return self.root / "split.npz"

    @property
    def pretrain(self) -> Path:
        """Checkpoints of the encoder."""
        return self.root / "pretrain"

    @property
    def features(self) -> Path:
        """Features of train, val and test rows."""
        return self.root / "features.npz"

    @property
    def purified(self) -> Path:
        """Purified labels in the order of split.npz."""
        return self.root / "purified.npz"

    @property
    def purifier(self) -> Path:
        """History, scores and baselines of the purifier, for the report."""
        return self.root / "purifier.npz"

    @property
    def retrain(self) -> Path:
        """Checkpoints and results of the retrained networks."""
        return self.root / "retrain"

    @property
    def metrics(self) -> Path:
        """Every number with its stage and step."""
        return self.root / "metrics.jsonl"

    @property
    def summary(self) -> Path:
        """The result."""
        return self.root / "summary.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.root / "report.html"

    def artefact(self, stage: str) -> Path:
        """The file or folder that a stage leaves."""
        if stage.startswith("retrain/"):
            return self.retrain
        return {
            "split": self.split,
            "pretrain": self.pretrain,
            "extract": self.features,
            "purify": self.purified,
        }[stage]

    def is_complete(self, stage: str, config: ConfigDict) -> bool:
        """Whether the stage finished under the same settings.

        Args:
            stage: 'split', 'pretrain', 'extract', 'purify' or 'retrain/<method>'.
            config: the whole configuration.

        Raises:
            UserError: it was begun under other settings; the message says which differ.
        """
        return hosts.agree(lambda: self._is_complete(stage, config))

    def _is_complete(self, stage: str, config: ConfigDict) -> bool:
        artefact = self.artefact(stage)
        record = self._records().get(stage)
        _, _, method = stage.partition("/")
        exists = any(artefact.glob(f"{method}-*")) if method else artefact.exists()
        if record is None or not exists:
            return False
        wanted, found = relevant_settings(stage, config), record["settings"]
        differing = [
            f"{key} is {found.get(key)!r} there and {wanted.get(key)!r} now"
            for key in sorted({*wanted, *found})
            if wanted.get(key) != found.get(key)
        ]
        if differing:
            leftover = f"{artefact.name}/{method}-*" if method else artefact.name
            raise UserError(
                f"the workdir {self.root} holds the stage {stage} of another run: {'; '.join(differing)}. "
                f"Use another --workdir, set these back, or delete {leftover} there and all that was "
                "made from it"
            )
        return record["complete"]

    def refuse_foreign(self, config: ConfigDict) -> None:
        """Raises a UserError if any stage here was run under other settings; see `is_complete`."""
        for stage in ("split", "pretrain", "extract", "purify", f"retrain/{config.retrain.method}"):
            self.is_complete(stage, config)

    def begin(self, stage: str, config: ConfigDict) -> None:
        """Records under which settings the stage runs."""
        self._record(stage, {"settings": relevant_settings(stage, config), "complete": False})

    def finish(self, stage: str, config: ConfigDict, **details: Any) -> None:
        """Records that the stage is done, with details such as its seconds."""
        settings = relevant_settings(stage, config)
        self._record(stage, {"settings": settings, "complete": True, **details})

    def details(self, stage: str) -> dict[str, Any]:
        """What was recorded with a finished stage, empty where nothing was."""
        record = hosts.agree(lambda: self._records().get(stage, {}))
        return {key: value for key, value in record.items() if key not in ("settings", "complete")}

    def _records(self) -> dict[str, Any]:
        return files.load_json(self._records_path) if self._records_path.exists() else {}

    def _record(self, stage: str, record: dict[str, Any]) -> None:
        records = self._records_path
        hosts.only_main(lambda: files.save_json(records, {**self._records(), stage: record}))


def relevant_settings(stage: str, config: ConfigDict) -> dict[str, Any]:
    """The settings that a stage's result depends on, its own and those of the stages before it.

    Args:
        stage: as in `Workdir.is_complete`.
        config: the whole configuration.

    Returns:
        Dotted keys and JSON values.
    """
    name = stage.split("/")[0]
    stages = [name, *_UPSTREAM[name]]
    if not datasets.describe(config.data.name).has_images:
        stages = [other for other in stages if other not in _ENCODER_STAGES]
    prefixes = tuple(prefix for other in stages for prefix in _KEYS[other])
    return {
        key: json.loads(json.dumps(value))
        for key, value in flatten(config)
        if key.startswith(prefixes) and key not in _FREE
    }
