"""Compares the results of two checkouts of dmlp_jax bit by bit: `purify`, and a run of the demo.

    python benchmarks/compare_checkouts.py BEFORE AFTER
    python benchmarks/compare_checkouts.py BEFORE AFTER --demo

BEFORE and AFTER are folders of checkouts. Each case runs in a separate process per checkout and uses public
names only, so that modules may have moved in between. The exit status is 0 if all arrays are equal bit for
bit (with `--tolerance`: floats within it, all else equal), and 1 otherwise.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

CASES = ("default", "ipc", "given", "paper", "disk", "devices")


def problem(seed: int = 0) -> dict[str, np.ndarray]:
    """A fixed labelling problem: 900 rows of 24 features, 4 classes, 40 % of the labels redrawn."""
    rng = np.random.default_rng(seed)
    rows, clean, width, classes = 900, 40, 24, 4
    true = rng.integers(classes, size=rows)
    val_labels = np.arange(clean) % classes
    centres = 3.0 * np.linalg.qr(rng.normal(size=(width, classes)))[0].T
    features = (rng.normal(size=(rows, width)) + centres[true]).astype(np.float32)
    val_features = (rng.normal(size=(clean, width)) + centres[val_labels]).astype(np.float32)

    def noisy(labels):
        wrong = rng.random(len(labels)) < 0.4
        return np.where(wrong, rng.integers(classes, size=len(labels)), labels).astype(np.int32)

    return {
        "features": features,
        "labels": noisy(true),
        "val_features": val_features,
        "val_labels": val_labels.astype(np.int32),
        "val_given_labels": noisy(val_labels),
        "sample_weight": rng.uniform(0.5, 2.0, rows).astype(np.float32),
    }


def compute(case: str, out: Path) -> None:
    """Runs one case with the checkout that is imported, and saves every array of its result."""
    import jax

    from dmlp_jax import PurifyConfig, purify

    data = problem()
    features, val = data["features"], (data["val_features"], data["val_labels"])
    keywords = {}
    config = PurifyConfig(steps=20)
    if case == "ipc":
        config = PurifyConfig(steps=20, ipc=True)
    elif case == "given":
        keywords = {name: data[name] for name in ("val_given_labels", "sample_weight")}
    elif case == "paper":
        config = PurifyConfig.paper(steps=25, ipc_batch_size=400, eac_batch_size=100, eac_period=5)
    elif case == "disk":
        path = out.with_suffix(".npy")
        np.save(path, features)
        features = np.load(path, mmap_mode="r")
    elif case == "devices":
        mesh = jax.make_mesh((4,), ("rows",))
        features = jax.device_put(features, jax.NamedSharding(mesh, jax.sharding.PartitionSpec("rows", None)))
    result = purify(features, data["labels"], val, config=config, key=jax.random.key(3), **keywords)
    np.savez(out, **_arrays(result._asdict()))


def _arrays(value, name: str = "") -> dict[str, np.ndarray]:
    """The arrays of nested dicts, named tuples and lists, by names such as 'scores/purified/accuracy'."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {} if value is None else {name.strip("/"): np.asarray(value)}
    return {key: leaf for k, v in value.items() for key, leaf in _arrays(v, f"{name}/{k}").items()}


def run_demo(checkout: Path, out: Path) -> None:
    """Runs a short demo of a checkout, and saves features, labels and the arrays of its checkpoints."""
    import orbax.checkpoint as ocp

    workdir = out.with_suffix("")
    short = ["--config.pretrain.epochs=3", "--config.retrain.epochs=3"]
    command = [sys.executable, "-m", "dmlp_jax.main", f"--workdir={workdir}", *short]
    subprocess.run(command, cwd=checkout, env=_environment(checkout), check=True, stdout=subprocess.DEVNULL)
    arrays = {}
    for path in sorted(workdir.glob("*.npz")):
        with np.load(path) as stored:
            arrays |= {f"{path.name}/{name}": stored[name] for name in stored.files}
    for metadata in sorted(workdir.rglob("_METADATA")):
        stored = ocp.PyTreeCheckpointer().restore(metadata.parent)
        arrays |= _arrays(stored, str(metadata.parent.relative_to(workdir)))
    np.savez(out, **arrays)


def _environment(checkout: Path, devices: int = 1) -> dict[str, str]:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    return os.environ | {"PYTHONPATH": str(checkout), "XLA_FLAGS": flags.strip(), "NPROC": "16"}


def differences(before: Path, after: Path, tolerance: float) -> list[str]:
    """What differs between two npz files, a line for each array; empty where nothing does."""
    found = []
    with np.load(before) as old, np.load(after) as new:
        for name in sorted(set(old.files) ^ set(new.files)):
            found.append(f"{name} is only in {'BEFORE' if name in old.files else 'AFTER'}")
        for name in sorted(set(old.files) & set(new.files)):
            a, b = old[name], new[name]
            if a.shape != b.shape or a.dtype != b.dtype:
                found.append(f"{name} was {a.dtype}{a.shape}, is {b.dtype}{b.shape}")
            elif a.tobytes() != b.tobytes():
                if a.dtype.kind == "f" and np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True):
                    continue
                worst = np.nanmax(np.abs(a.astype(np.float64) - b)) if a.dtype.kind in "fiub" else np.nan
                found.append(
                    f"{name} differs in {np.mean(a != b):.1%} of its entries, by at most {worst:.3g}"
                )
    return found


def main() -> None:
    """Compares case by case and exits with 1 where something differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--cases", default=",".join(CASES), help=f"which of {', '.join(CASES)}")
    parser.add_argument("--tolerance", type=float, default=0.0, help="for floats; 0 asks for the same bits")
    parser.add_argument("--demo", action="store_true", help="compare a short run of the demo too")
    arguments = parser.parse_args()
    sides = {"before": arguments.before.resolve(), "after": arguments.after.resolve()}
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for case in [*filter(None, arguments.cases.split(",")), *(["demo"] if arguments.demo else [])]:
            files = {side: Path(folder, f"{side}_{case}.npz") for side in sides}
            for side, checkout in sides.items():
                if case == "demo":
                    run_demo(checkout, files[side])
                    continue
                script = (
                    "import pathlib, compare_checkouts\n"
                    f"compare_checkouts.compute({case!r}, pathlib.Path({str(files[side])!r}))"
                )
                environment = _environment(checkout, 4 if case == "devices" else 1)
                environment["PYTHONPATH"] += os.pathsep + str(Path(__file__).resolve().parent)
                subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, check=True)
            found = differences(files["before"], files["after"], arguments.tolerance)
            failed |= bool(found)
            print(
                f"{case}: {'equal' if not found else ''}" + "".join(f"\n  {line}" for line in found),
                flush=True,
            )
    sys.exit(failed)


if __name__ == "__main__":
    main()
