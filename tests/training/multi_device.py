"""Run by test_parallel.py in a process of its own: three steps of every loop on numbers of devices."""

import os
import sys

os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={max(map(int, sys.argv[1].split(',')))}"
os.environ["NPROC"] = "16"
os.environ["JAX_PLATFORMS"] = "cpu"

from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from dmlp_jax import PurifyConfig, purify
from dmlp_jax.config import apply_recipe, default_config
from dmlp_jax.contrastive.pretrain import load_encoder
from dmlp_jax.contrastive.pretrain import pretrain as pretrain_encoder
from dmlp_jax.coupled import registry  # noqa: F401  (registers them)
from dmlp_jax.data import datasets, splits
from dmlp_jax.retrain import method
from dmlp_jax.retrain.method import Task, TrainingSet
from dmlp_jax.retrain.run import retrain
from dmlp_jax.training.checkpoint import Checkpoints
from dmlp_jax.training.metrics import MetricsLog
from dmlp_jax.training.session import Session
from tests.conftest import make_blobs

COUNTS = [int(count) for count in sys.argv[1].split(",")]


def main() -> None:
    """Writes <number of devices>.npz for each number, separated by commas, to the folder named second."""
    assert len(jax.local_devices()) == max(COUNTS)
    for count in COUNTS:
        write(Path(sys.argv[2]) / f"{count}.npz", jax.local_devices()[:count], set(sys.argv[3].split(",")))


def write(out: Path, devices: list[jax.Device], wanted: set[str]) -> None:
    """Writes the parameters after three steps of the wanted methods on these devices.

    `naive:mlp` is the method with this network on flattened pixels, which compiles in no time.
    """
    config = default_config()
    dataset = datasets.load(config.data, 0)
    problem = splits.make_problem(dataset, splits.make_split(dataset, config))
    few = problem._replace(
        train_inputs=problem.train_inputs[:80],
        given_labels=problem.given_labels[:80],
        true_labels=problem.true_labels[:80],
        test_inputs=None,
    )
    log = MetricsLog(out.parent / f"{out.stem}.jsonl")
    session = Session(devices, log, 1e9)
    arrays = {}

    config.pretrain.update(
        model="small_cnn", epochs=1, batch_size=16, warmup_epochs=0.0, optimizer="sgd", queue=32,
        norm_groups=4,
    )  # fmt: skip
    for name in wanted & {"simclr", "moco"}:
        config.pretrain.method = name
        folder = out.parent / f"{out.stem}-{name}"
        pretrain_encoder(
            few.train_inputs[:48], config.pretrain, session, folder=folder, key=jax.random.key(0)
        )
        encoder = load_encoder(few.train_inputs, config.pretrain, folder)
        arrays |= {f"{name}{i}": leaf for i, leaf in enumerate(jax.tree.leaves(encoder))}

    for wish in wanted - {"simclr", "moco", "purify"}:
        name, _, model = wish.partition(":")
        settings, rows = _settings(name), few
        if model:
            settings.update(model=model, augment="none")
            rows = few._replace(train_inputs=_flat(few.train_inputs), val_inputs=_flat(few.val_inputs))
        folder = out.parent / f"{out.stem}-{name}"
        retrain(
            rows, {"given": few.given_labels}, {"given": 0.7}, settings, session,
            folder=folder, key=jax.random.key(1), seed=0, encoder=None,
        )  # fmt: skip
        arrays |= {name: _parameters(folder / f"{name}-given", settings, rows.train_inputs[0])}

    if "purify" in wanted:
        features, given, val, _ = make_blobs(0)
        mesh = Mesh(np.array(devices), ("rows",))
        rows = NamedSharding(mesh, PartitionSpec("rows"))
        placed = jax.device_put(features, rows), jax.device_put(given, rows)
        result = purify(*placed, val, config=PurifyConfig(steps=30))
        arrays |= {"probs": result.probs, "sharded": np.array(len(result.probs.sharding.device_set))}
    np.savez(out, **{name: np.asarray(value) for name, value in arrays.items()})


def _flat(images: np.ndarray) -> np.ndarray:
    return np.reshape(images, (len(images), -1)).astype(np.float32) / 255


def _settings(name: str) -> ConfigDict:
    """Few and small steps; DivideMix warms up for one of two epochs."""
    config = default_config()
    config.retrain.method = name
    settings = apply_recipe(config).retrain
    settings.update(
        model="small_cnn", epochs=1, batch_size=32, warmup_epochs=0.0, optimizer="sgd", augment="affine"
    )
    if name in ("dividemix", "famus"):
        settings.update(epochs=2, divide_warmup=1, lambda_u_ramp=1)
    if not method.needs(name).labels:
        ratio = 1 if name == "mixmatch" else 3
        settings.update(batch_size=24 // ratio, unlabelled_ratio=ratio, unlabelled_ramp=0.5, confidence=0.15)
    if name in ("joint_optim", "m_correction", "mslc", "mslg"):
        settings.update(epochs=2, correct_start=0.5)
    if name == "pencil":
        settings.update(epochs=2, correct_start=0.0)
    if name == "promix":
        settings.update(epochs=2, divide_warmup=1, confidence=0.1, guess_start=0.0)
    if name == "ssr_plus":
        settings.update(epochs=2)
    if name == "incv":
        settings.update(epochs=4)
    if name == "mlnt":
        settings.update(epochs=2, guide_share=0.5, lookahead_start=0.0, label_sets=2)
    if name == "rrl":
        settings.update(epochs=3, correct_start=0.6, start_steps=2, neighbours=5, use_above=0.5)
    if name in ("moit_plus", "sel_cl_plus"):
        settings.update(epochs=4, memory_start=0.5, tune_start=0.75, neighbours=5, memory_per_class=5)
        settings.update({"correct_start": 0.5} if name == "moit_plus" else {"supervise_start": 0.25})
    if name.startswith("mlc"):
        settings.update(epochs=2, gradient_steps=3)
    return settings


def _parameters(folder: Path, settings: ConfigDict, row: np.ndarray) -> np.ndarray:
    """All floats of the last state in one vector."""
    chosen = method.make(settings.method, settings, Task(10, 3, None))
    inputs = np.zeros((80 + 20, *row.shape), row.dtype)
    train = TrainingSet(inputs, np.zeros((80 + 20, 10), np.float32), 0.7, 20)
    with Checkpoints(folder) as checkpoints:
        state = checkpoints.restore(
            jax.eval_shape(lambda key: chosen.init(key, train), jax.random.key(0))
        ).state
    leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(state) if leaf.dtype == np.float32]
    vector = np.concatenate(leaves)
    return vector[np.isfinite(vector)]


if __name__ == "__main__":
    main()
