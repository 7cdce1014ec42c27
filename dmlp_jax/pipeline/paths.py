"""Names the files and folders of a run."""

from pathlib import Path


class RunPaths:
    """The files and folders of a run.

    Attributes:
        root: the folder of the run.
    """

    root: Path

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
        """For data sets of image files: the file of each row, one line each in the order of split.npz."""
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
    def issues(self) -> Path:
        """The training rows, the most suspicious first."""
        return self.root / "issues.csv"

    @property
    def retrain(self) -> Path:
        """Checkpoints and results of the retrained networks."""
        return self.root / "retrain"

    @property
    def metrics(self) -> Path:
        """Metrics with their stage and step."""
        return self.root / "metrics.jsonl"

    @property
    def summary(self) -> Path:
        """The summary of the results."""
        return self.root / "summary.json"

    @property
    def report(self) -> Path:
        """The report page."""
        return self.root / "report.html"

    def artefact(self, stage: str) -> Path:
        """The file or folder that a stage writes."""
        if stage.startswith("retrain/"):
            return self.retrain
        return {
            "split": self.split,
            "pretrain": self.pretrain,
            "extract": self.features,
            "purify": self.purified,
        }[stage]
