"""Whole runs through `retrain`, for tests of several methods: a problem of clusters, a run, a kill."""

import jax

from dmlp_jax.data.types import Problem
from dmlp_jax.retrain.run import retrain
from dmlp_jax.training.metrics import MetricsLog
from dmlp_jax.training.session import Session
from tests.conftest import make_blobs


class Killed(MetricsLog):
    """A log that ends the run when the numbers of `epoch` are written."""

    def __init__(self, path, epoch=3):
        super().__init__(path)
        self.epoch = epoch

    def write(self, stage, step, values):
        if step == self.epoch:
            raise KeyboardInterrupt
        super().write(stage, step, values)


def clusters(train, rows, val_rows, classes=4):
    """Clusters far apart; 60 % of the labels are drawn anew. The rows after `train` are the test set."""
    features, given, (val_features, val_labels), true = make_blobs(
        1, rows=rows, val_rows=val_rows, width=8, classes=classes, spread=6.0, noise=0.6
    )
    return Problem(
        train_inputs=features[:train],
        given_labels=given[:train],
        true_labels=true[:train],
        val_inputs=val_features,
        val_labels=val_labels,
        val_given_labels=None,
        test_inputs=features[train:],
        test_labels=true[train:],
        class_names=tuple("abcdefgh"[:classes]),
    )


def run(problem, labels, rates, settings, folder, log=None, probe=None):
    """What `retrain` returns, on one device with fixed seeds; the log is closed however it ends."""
    log = log or MetricsLog(folder / "metrics.jsonl")
    try:
        return retrain(
            problem,
            labels,
            rates,
            settings,
            Session(jax.local_devices()[:1], log, 1e9),
            folder=folder / "retrain",
            key=jax.random.key(0),
            seed=0,
            encoder=None,
            probe=probe,
        )
    finally:
        log.close()
