"""Runs an ablation of the purifier: each variant has one part changed and is compared on the same tasks.

    python benchmarks/purify_ablation.py --features=data/patch_features.npz --rows=10000 --clean-sizes=30,300

See tasks.py for the files.
"""

import argparse
import dataclasses

import numpy as np
import tasks
from common import markdown, mean_and_spread, write

from dmlp_jax import PurifyConfig, purify

VARIANTS = {
    "default": {
        "closed form off": {"refits": 0},
        "with IPC": {"ipc": True},
        "with IPC, step 10 times as long": {"ipc": True, "label_lr": 1.0},
        "posterior off": {"posterior": False},
        "selection off": {"selection": False},
    },
    "paper": {
        "IPC off": {"ipc": False},
        "IPC by Adam": {"label_optimizer": "adam"},
        "EAC off": {"eac": False},
        "label write every 5 epochs": {"eac_period": 5},
        "every 50 epochs": {"eac_period": 50},
        "full batch": {"ipc_batch_size": 2**30},
    },
}


def main() -> None:
    """Runs every variant on every task and writes benchmarks/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks.add_arguments(parser, noises="sym20,sym50,sym80,sym90")
    parser.add_argument("--clean-sizes", default="1000", help="numbers of clean rows, comma-separated")
    parser.add_argument("--preset", default="default", choices=VARIANTS)
    parser.add_argument("--name", default="purify_ablation", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    rows = []
    for clean in map(int, arguments.clean_sizes.split(",")):
        for noise in arguments.noises.split(","):
            found = [measure(task, arguments.preset) for task in tasks.of_noise(noise, clean, arguments)]
            first = [result["preset"] for result in found]
            best = [result["baseline"] for result in found]
            cells = [mean_and_spread(best), mean_and_spread(first)]
            for name in VARIANTS[arguments.preset]:
                gains = 100 * np.asarray([result[name] - result["preset"] for result in found])
                error = f" ± {gains.std(ddof=1) / np.sqrt(len(gains)):.2f}" if len(gains) > 1 else ""
                cells.append(f"{gains.mean():+.2f}{error}")
            rows.append([str(clean), noise, *cells])
            print(" | ".join(rows[-1]), flush=True)
    header = ["clean rows", "noise", "best baseline", arguments.preset, *VARIANTS[arguments.preset]]
    text = (
        "Label accuracy in %, mean ± standard deviation over seeds; for the variants the mean difference "
        "from the preset on the same task ± its standard error. 'Best baseline' is the best of the given "
        "labels and the three probes, picked afterwards.\n\n"
    )
    write(arguments.name, "Ablation of the purifier", text + markdown(header, rows))


def measure(task: tasks.Task, preset: str) -> dict[str, float]:
    """Label accuracy of the preset, of every variant and of the best baseline."""
    found = {}
    base = PurifyConfig() if preset == "default" else PurifyConfig.paper()
    for name, changes in {"preset": {}, **VARIANTS[preset]}.items():
        config = dataclasses.replace(base, **changes)
        result = purify(task.features, task.labels, (task.val_features, task.val_labels), config=config)
        found[name] = float(np.mean(np.asarray(result.labels) == task.true_labels))
    others = [task.labels, *map(np.asarray, result.baselines.values())]
    return found | {"baseline": max(float(np.mean(labels == task.true_labels)) for labels in others)}


if __name__ == "__main__":
    main()
