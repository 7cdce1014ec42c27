"""Times `purify` against its matrix products alone, and the paper's preset against NumPy.

    python benchmarks/purify_speed.py

Features are synthetic. All times are from one run of this script: medians, after a first call that compiles.
"""

import argparse
import time

import jax
import numpy as np
import peers
from common import markdown, write

from dmlp_jax import PurifyConfig, purify


def main() -> None:
    """Times the cases and writes benchmarks/results/purify_speed.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=49_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--clean", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer-epochs", type=int, default=3, help="epochs of the NumPy peer that are timed")
    parser.add_argument("--name", default="purify_speed", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    task = blobs(arguments.rows, arguments.width, arguments.classes, arguments.clean)
    size = f"n = {arguments.rows:,}, d = {arguments.width}, c = {arguments.classes}, m = {arguments.clean:,}"

    # Measured in turn, so that a slow minute of the machine hits both.
    bare = peers.products(PurifyConfig(), arguments.classes)
    features = jax.numpy.asarray(task[0])
    compile_time, (own, floor) = measure(
        arguments.repeats, lambda: purify(*task).probs, lambda: bare(features)[0]
    )
    ratio = f"{own / floor:.2f} times as long"
    times = [f"{compile_time:.1f}", f"{own:.2f}"]
    rows = [["`PurifyConfig()`", *times, "its matrix products, bare", f"{floor:.2f}", ratio]]

    config = PurifyConfig.paper(num_members=2)
    bare_paper = peers.paper_products(config, arguments.classes)
    compile_time, (own, floor) = measure(
        arguments.repeats, lambda: purify(*task, config=config).probs, lambda: bare_paper(features)
    )
    alone, counted = (config.steps * seconds for seconds in numpy_times(task, arguments))
    what = f"NumPy, {arguments.peer_epochs} epochs scaled to {config.steps}"
    preset = ["`PurifyConfig.paper(num_members=2)`", f"{compile_time:.1f}", f"{own:.2f}"]
    ratio = f"{own / floor:.2f} times as long"
    rows.append([*preset, "its matrix products, bare", f"{floor:.2f}", ratio])
    for peer, name in ((alone, what), (alone + counted, f"{what}, with the script's counting row by row")):
        rows.append([*preset, name, f"{peer:.1f}", f"{peer / own:.1f} times as fast"])
    header = ["what", "compile, s", "run, s", "beside", "run, s", "ratio"]
    write(arguments.name, f"Time of purify, {size}", markdown(header, rows))


def blobs(rows: int, width: int, classes: int, clean: int):
    """Overlapping clusters with half of the labels drawn at random."""
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=rows + clean)
    labels[rows : rows + classes] = np.arange(classes)
    centres = rng.normal(size=(classes, width))
    features = rng.normal(size=(rows + clean, width)) + 0.15 * centres[labels]
    features = features.astype(np.float32)
    given = np.where(rng.random(rows) < 0.5, rng.integers(classes, size=rows), labels[:rows])
    return features[:rows], given, (features[rows:], labels[rows:])


def measure(repeats: int, *calls) -> tuple[float, list[float]]:
    """Compile time of the first call in seconds, and each call's median run time."""
    start = time.perf_counter()
    jax.block_until_ready(calls[0]())
    first = time.perf_counter() - start
    for call in calls[1:]:
        jax.block_until_ready(call())
    times = [[] for _ in calls]
    for _ in range(repeats):
        for call, found in zip(calls, times, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(call())
            found.append(time.perf_counter() - start)
    medians = [float(np.median(found)) for found in times]
    return first - medians[0], medians


def numpy_times(task, arguments: argparse.Namespace) -> list[float]:
    """Seconds of one epoch of the NumPy peer, and of the script's counting after it, medians of a few."""
    features, given, (val_features, val_labels) = task
    labels = np.eye(arguments.classes, dtype=np.float32)[given]
    targets = np.eye(arguments.classes, dtype=np.float32)[val_labels]
    zeros = np.zeros((arguments.width + 1, arguments.classes), np.float32)
    classifiers = [[zeros.copy(), zeros.copy(), zeros.copy()] for _ in range(2)]
    times = []
    for _ in range(arguments.peer_epochs):
        start = time.perf_counter()
        peers.paper_epoch(features, labels, val_features, targets, classifiers)
        middle = time.perf_counter()
        for _ in classifiers:
            peers.per_sample_bookkeeping(labels, labels, given)
        times.append([middle - start, time.perf_counter() - middle])
    return np.median(times, axis=0).tolist()


if __name__ == "__main__":
    main()
