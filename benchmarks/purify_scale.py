"""Measures time and memory of `purify` by the number of rows, in memory and from disk.

    python benchmarks/purify_scale.py
    python benchmarks/purify_scale.py --cases=1000000x768 --places=disk,command --name=purify_scale_wide

Every case runs in a separate process, whose peak memory is read at the end; for features on disk it includes
the file's pages in the system's cache. The synthetic features are those of purify_speed.py.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import markdown, write


def main() -> None:
    """Runs the cases and writes benchmarks/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="10000x512,30000x512,100000x512,300000x512,1000000x512")
    parser.add_argument(
        "--places",
        default="memory,disk",
        help="of memory (float32), disk (float16) and command (dmlp-purify, float16 on disk)",
    )
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--clean", type=int, default=1000)
    parser.add_argument("--name", default="purify_scale", help="of the file in benchmarks/results")
    parser.add_argument("--case", help="runs one case in this process and prints JSON")
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(*arguments.case.split(","), arguments)))
        return
    rows = []
    for case in arguments.cases.split(","):
        for place in arguments.places.split(","):
            options = [f"--classes={arguments.classes}", f"--clean={arguments.clean}"]
            command = [sys.executable, __file__, f"--case={case},{place}", *options]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            count, width = map(int, case.split("x"))
            columns = {
                "rows": f"{count:,}",
                "width": str(width),
                "features in": place,
                "their size, GB": f"{found['size']:.2f}",
                "first call, s": f"{found['first']:.1f}",
                "second call, s": "-" if found["run"] is None else f"{found['run']:.1f}",
                "µs a row": f"{1e6 * (found['run'] or found['first']) / count:.0f}",
                "peak memory, GB": f"{found['peak']:.1f}",
                "label accuracy, %": f"{100 * found['accuracy']:.1f}",
            }
            rows.append([*columns.values()])
            print(" | ".join(rows[-1]), flush=True)
    title = f"Time and memory of purify, c = {arguments.classes}, m = {arguments.clean:,}"
    write(arguments.name, title, markdown([*columns], rows))


def measure(case: str, place: str, arguments: argparse.Namespace) -> dict[str, float | None]:
    """One case: two calls in this process, or the command in a process of its own."""
    count, width = map(int, case.split("x"))
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(arguments.classes, width)).astype(np.float32)
    true = rng.integers(arguments.classes, size=count)
    given = np.where(rng.random(count) < 0.5, rng.integers(arguments.classes, size=count), true)
    val_labels = np.arange(arguments.clean) % arguments.classes
    val = (clusters(centres, val_labels, rng), val_labels)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if place == "memory":
            features = np.empty((count, width), np.float32)
        else:
            features = np.lib.format.open_memmap(
                folder / "features.npy", mode="w+", dtype=np.float16, shape=(count, width)
            )
        for start in range(0, count, 10_000):
            rows = slice(start, start + 10_000)
            features[rows] = clusters(centres, true[rows], rng)
        size = features.nbytes / 1e9
        if place != "memory":
            features.flush()
            features = np.load(folder / "features.npy", mmap_mode="r")
        if place == "command":
            del features
            labels, times = by_command(folder, given, val)
        else:
            labels, times = by_call(features, given, val)
    who = resource.RUSAGE_CHILDREN if place == "command" else resource.RUSAGE_SELF
    return {
        "size": size,
        "first": times[0],
        "run": times[1],
        "peak": resource.getrusage(who).ru_maxrss / 1e6,
        "accuracy": float(np.mean(labels == true)),
    }


def by_call(
    features: np.ndarray, given: np.ndarray, val: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, tuple[float, float]]:
    """Purified labels and the seconds of two calls of `purify`."""
    import jax

    from dmlp_jax import purify

    times = []
    for _ in range(2):
        begin = time.perf_counter()
        result = jax.block_until_ready(purify(features, given, val))
        times.append(time.perf_counter() - begin)
    return np.asarray(result.labels), (times[0], times[1])


def by_command(
    folder: Path, given: np.ndarray, val: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, tuple[float, None]]:
    """Purified labels and the seconds of `dmlp-purify` from start to end, its report included."""
    for name, array in {"labels": given, "val_features": val[0], "val_labels": val[1]}.items():
        np.save(folder / f"{name}.npy", array)
    command = [sys.executable, "-m", "dmlp_jax.cli", "features.npy", "labels.npy", "--out=out"]
    command += ["--val-features=val_features.npy", "--val-labels=val_labels.npy"]
    begin = time.perf_counter()
    subprocess.run(command, check=True, cwd=folder, stdout=sys.stderr)
    seconds = time.perf_counter() - begin
    with np.load(folder / "out" / "purified.npz") as purified:
        return purified["labels"], (seconds, None)


def clusters(centres: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Overlapping clusters, [n, d] float32."""
    noise = rng.standard_normal((len(labels), centres.shape[1]), np.float32)
    return noise + 0.15 * centres[labels]


if __name__ == "__main__":
    main()
