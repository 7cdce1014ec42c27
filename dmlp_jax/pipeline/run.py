"""Holds what the stages of a run share: configuration, data, keys and features."""

from collections.abc import Callable
from functools import cached_property

import jax
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data import datasets, splits
from dmlp_jax.data.images import lazy
from dmlp_jax.data.images.lazy import Images
from dmlp_jax.data.types import Dataset, Problem
from dmlp_jax.errors import UserError
from dmlp_jax.pipeline.workdir import Workdir
from dmlp_jax.runtime import hosts
from dmlp_jax.storage import files
from dmlp_jax.training import parallel
from dmlp_jax.training.metrics import MetricsLog
from dmlp_jax.training.session import Session


class Run:
    """A configuration with its workdir and data; keys, rows and features are made once for all stages.

    Args:
        config: the resolved configuration, see `check_settings.resolve`.
        workdir: the run's folder.
        dataset: the data set.
        log: log of the metrics.
        stop: called between steps, see `Session`.
    """

    def __init__(
        self,
        config: ConfigDict,
        workdir: Workdir,
        dataset: Dataset,
        log: MetricsLog,
        stop: Callable[[], bool],
    ):
        self.config, self.workdir, self.dataset = config, workdir, dataset
        devices = parallel.local_devices(config.num_devices)
        self.session = Session(devices, log, config.log_seconds, stop, not workdir.on_each_host)
        # One stream of keys per stage, so that results do not depend on which stages run.
        keys = jax.random.split(jax.random.key(config.seed), 3)
        self.pretrain_key, self.purify_key, self.retrain_key = keys

    @cached_property
    def split(self) -> dict[str, np.ndarray]:
        """Indices and given labels, from split.npz, which is made if absent.

        Raises:
            UserError: the data have changed since split.npz was made.
        """
        found = datasets.fingerprint(self.dataset)
        if self.workdir.is_complete("split", self.config):
            known = self.workdir.details("split").get("fingerprint")
            if known != found:
                raise UserError(
                    f"the data are not those that {self.workdir.name} was made from (checksum {found} now, "
                    f"{known} there); use another --workdir"
                )
        else:
            self.workdir.begin("split", self.config)
            split = splits.make_split(self.dataset, self.config)
            hosts.only_main(lambda: splits.save_split(self.workdir.split, split))
            if (names := self.dataset.names) is not None:
                lines = "".join(f"{names[row]}\n" for row in split["train_index"])
                hosts.only_main(lambda: files.save_text(self.workdir.rows, lines))
            self.workdir.finish("split", self.config, [self.workdir.split], fingerprint=found)
        return splits.load_split(self.workdir.split)

    @cached_property
    def problem(self) -> Problem:
        """The rows of the split."""
        return splits.make_problem(self.dataset, self.split)

    def pretraining_images(self) -> Images:
        """All images but the test set, without labels."""
        images = self.dataset.inputs
        if self.dataset.val_inputs is not None:
            images = lazy.concatenate([images, self.dataset.val_inputs])
        return images

    def feature_problem(self) -> Problem:
        """The rows of the split with features as inputs.

        Raises:
            UserError: the features have not been extracted.
        """
        if self.dataset.inputs.ndim == 2:
            return self.problem
        if not self.workdir.is_complete("extract", self.config):
            raise UserError(
                f"{self.workdir.features} is missing or not finished; run the stages pretrain and extract "
                "first"
            )
        stored = files.load_npz(self.workdir.features, ("train", "val"))
        return self.problem._replace(
            train_inputs=stored["train"], val_inputs=stored["val"], test_inputs=stored.get("test")
        )
