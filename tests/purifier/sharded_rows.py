"""Run by test_sharded.py: purifies rows spread over devices, of one process or of two.

    python -m tests.purifier.sharded_rows OUT.npz DEVICES [PROCESS PORT | quick]

With a process number it is one of two processes that hold half of the devices each. `quick` runs one setting.
"""

import os
import re
import sys

COUNT, PROCESS = int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 4 else None
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={COUNT // (1 if PROCESS is None else 2)}"
os.environ["NPROC"] = "16"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from dmlp_jax import InputError, PurifyConfig, purify
from dmlp_jax.purifier import sharded
from dmlp_jax.purifier.program import Inputs
from tests.conftest import FIXED, make_blobs

CONFIGS = {
    "fixed": PurifyConfig(steps=20, selection=False, ipc=True),
    "selected": PurifyConfig(steps=20, keep_label_history=True),
}


def main() -> None:
    """Writes what `purify` gave for each of `CONFIGS` to the file named first."""
    if PROCESS is not None:
        jax.distributed.initialize(f"localhost:{sys.argv[4]}", 2, PROCESS)
    assert len(jax.devices()) == COUNT
    features, given, val, _ = make_blobs(0)
    over = NamedSharding(jax.make_mesh((COUNT,), ("rows",)), PartitionSpec("rows"))
    placed = features
    if COUNT > 1:
        placed = jax.make_array_from_callback(features.shape, over, lambda index: features[index])
    if sys.argv[3:] == ["quick"]:
        result = purify(placed, given, val, config=FIXED)
        copied = purify(placed, given, with_copies(features, val), config=FIXED)
        arrays = {"probs": result.probs, "labels": result.labels, "copied_probs": copied.probs}
        arrays = {name: everywhere(value) for name, value in arrays.items()}
        np.savez(sys.argv[1], copies=copied.diagnostics["copies"], **arrays)
        return
    weight = np.linspace(0.5, 1.5, len(given)).astype(np.float32)
    whole = labels = np.eye(3, dtype=np.float32)[given]
    if COUNT > 1:
        # Spread like the features, with another way to say so.
        columns = NamedSharding(over.mesh, PartitionSpec("rows", None))
        labels = jax.make_array_from_callback(labels.shape, columns, lambda index: whole[index])
    arrays = {}
    for name, config in CONFIGS.items():
        known = {"val_given_labels": val[1], "val_random": np.arange(len(val[1])) % 2 == 0}
        result = purify(placed, labels, val, config=config, sample_weight=weight, **known)
        if COUNT > 1:
            assert result.probs.sharding.is_equivalent_to(over, 2)
            assert result.classifier.kernel.sharding.is_fully_replicated
        arrays |= {f"{name}_probs": everywhere(result.probs), f"{name}_labels": everywhere(result.labels)}
        arrays[f"{name}_loss"] = result.scores["purified"]["cross_entropy"]
        arrays[f"{name}_score"] = result.history["expected_score"]
    if COUNT > 1:
        with pytest.raises(InputError, match="spread over devices"):
            purify(placed, given, val, config=PurifyConfig.paper())
        with pytest.raises(InputError, match=r"outside jax\.jit"):
            jax.vmap(lambda g: purify(placed, g, val, num_classes=3).probs)(given[None])
    arrays["history_labels"] = everywhere(result.history["labels"])
    if COUNT > 1 and PROCESS is None:
        arrays["collectives"] = collectives(placed, given, val)
    if not PROCESS:
        np.savez(sys.argv[1], **{name: np.asarray(value) for name, value in arrays.items()})


def with_copies(features, val):
    """The clean rows, two of them copies of training rows, which the first and the last device hold."""
    copied = val[0].copy()
    copied[:2] = features[[3, -3]]
    return copied, val[1]


def everywhere(array: jax.Array) -> np.ndarray:
    """All of a spread array on every process."""
    if COUNT == 1:
        return np.asarray(array)
    whole = NamedSharding(array.sharding.mesh, PartitionSpec())
    return np.asarray(jax.jit(lambda x: x, out_shardings=whole)(array))


def collectives(features, given, val) -> list[str]:
    """The operations between devices in the compiled program of a race, with the shapes that they move."""
    where = sharded.placement(features)
    config = jax.tree.map(np.float32, CONFIGS["selected"])
    inputs = sharded.place(where, Inputs(given, None, *val, None, None, config, jax.random.key(0)))
    lowered = sharded._run.lower(features, inputs, 3, where, "threefry2x32")
    pattern = r"= (.*?) (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
    return [f"{kind} {shape}" for shape, kind in re.findall(pattern, lowered.compile().as_text())]


if __name__ == "__main__":
    main()
