"""Tests crash safety: kills runs of the digits demo in every stage and checks their files and final results.

    python benchmarks/reliability.py --trials=200 --minutes=40

A trial starts one stage of a small configuration on a workdir in which the stages before it are done, kills
it with SIGKILL three or four times, and lets the same command finish. Every second trial kills at random
moments after the data are loaded; the others at the k-th time that the process opens a file in the workdir
for writing, renames one, or makes or removes a folder there, k drawn at random. After each kill every file in
the workdir is opened and checked; in the end the stage's results must equal those of an uninterrupted run,
bit for bit.
"""

import argparse
import collections
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import logging
from common import markdown, write

from dmlp_jax.storage import files

STAGES = ("pretrain", "extract", "purify", "retrain", "report")
SETTINGS = {
    "pretrain.epochs": 3,
    "pretrain.checkpoint_epochs": 1,
    "pretrain.warmup_epochs": 0.0,
    "purify.steps": 5,
    "retrain.epochs": 3,
    "retrain.checkpoint_epochs": 1,
    "retrain.warmup_epochs": 0.0,
    "retrain.labels": "given,purified",
    "num_devices": 1,
}
# What differs from run to run: times, and the code's own version.
PASSING = ("time", "seconds", "commit")


def main() -> None:
    """Runs the trials and writes benchmarks/results/<name>.md; exit status 1 if any trial failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=200, help="kills, at most")
    parser.add_argument("--minutes", type=float, default=40.0, help="no trial is begun after this time")
    parser.add_argument("--stages", default=",".join(STAGES), help="these; each needs those before it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="reliability", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    logging.set_verbosity(logging.ERROR)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{folder}/compiled")
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        stages = prepare(Path(folder), arguments.stages.split(","))
        counts = {stage: collections.Counter() for stage in stages}
        failures = []
        generator = random.Random(arguments.seed)
        for stage, kind in itertools.cycle(itertools.product(stages, ("moment", "write"))):
            kills = sum(count["moment"] + count["write"] for count in counts.values())
            if kills >= arguments.trials or time.perf_counter() - begin > 60 * arguments.minutes:
                break
            found, problems = trial(stage, kind, stages[stage], Path(folder) / "trial", generator)
            counts[stage].update(found)
            failures += problems
            print(f"{kills + found[kind]}  {stage}  {kind}  {'; '.join(problems) or 'ok'}", flush=True)
    report(arguments.name, counts, failures, time.perf_counter() - begin)
    sys.exit(1 if failures else 0)


def report(name: str, counts: dict, failures: list[str], seconds: float) -> None:
    """Writes the table."""
    columns = {
        "killed at a random moment": "moment",
        "killed at a random write": "write",
        "ended before the kill": "late",
        "files opened after kills": "files",
        "damaged files": "damaged",
        "reruns": "reruns",
        "with the same bits": "same",
    }
    rows = [[stage, *(f"{count[key]:,}" for key in columns.values())] for stage, count in counts.items()]
    total = sum(counts.values(), collections.Counter())
    rows.append(["all", *(f"{total[key]:,}" for key in columns.values())])
    listed = "".join(f"\n- {failure}" for failure in failures)
    write(
        name,
        "Crash safety: runs killed at random",
        markdown(["stage", *columns], rows)
        + "\n\nDigits, a small configuration; SIGKILL to the process and all that it started. Three or four "
        "kills on one workdir, then a rerun that is left alone. 'The same bits': arrays of the npz files, "
        "trained parameters and the rest of each last checkpoint, metrics and summary, without times. "
        f"{seconds / 60:.0f} minutes in all." + (f"\n\nFailures:\n{listed}" if failures else ""),
    )


def prepare(folder: Path, names: list[str]) -> dict[str, dict]:
    """For each stage: the workdir before it, what it leaves, how long it takes, how often it writes."""
    stages = {}
    # The first run fills the compilation cache.
    for workdir in (folder / "first", folder / "reference"):
        for stage in names:
            before = folder / f"before_{stage}"
            if workdir.exists():
                shutil.rmtree(before, ignore_errors=True)
                shutil.copytree(workdir, before)
            log = folder / "writes"
            log.unlink(missing_ok=True)
            process = start(stage, workdir, kill_at=0, log=log)
            process.stdout.readline()
            begin = time.perf_counter()
            out = process.communicate()[0]
            if process.returncode:
                sys.exit(out)
            stages[stage] = {
                "before": before,
                "seconds": time.perf_counter() - begin,
                "writes": int(log.read_text()),
                "contents": contents(workdir, stage),
            }
    return stages


def trial(
    stage: str, kind: str, known: dict, workdir: Path, generator: random.Random
) -> tuple[collections.Counter, list[str]]:
    """Kills the stage three or four times and lets it finish; returns counts and what went wrong."""
    shutil.rmtree(workdir, ignore_errors=True)
    if known["before"].exists():
        shutil.copytree(known["before"], workdir)
    counts, problems = collections.Counter(), []
    where = []
    for earlier in range(generator.choice((3, 4))):
        if kind == "moment":
            seconds = generator.uniform(0.0, known["seconds"])
            where.append(f"{seconds:.3f} s")
            process = start(stage, workdir)
            process.stdout.readline()
            time.sleep(seconds)
            os.killpg(process.pid, signal.SIGKILL)
        else:
            # Earlier tries have done some of the writes.
            write_number = generator.randint(1, max(1, known["writes"] // (1 + earlier)))
            where.append(f"write {write_number}")
            process = start(stage, workdir, kill_at=write_number)
        out = process.communicate()[0]
        killed = process.returncode == -signal.SIGKILL
        counts[kind if killed else "late"] += 1
        if kind == "moment" and not killed:
            known["seconds"] *= 0.8
        if not killed and process.returncode:
            problems.append(f"ended with status {process.returncode}: {out[-300:]}")
        opened, damaged = examine(workdir)
        counts["files"] += opened
        counts["damaged"] += len(damaged)
        problems += damaged
    process = start(stage, workdir)
    out = process.communicate()[0]
    counts["reruns"] += 1
    if process.returncode:
        problems.append(f"the rerun ended with status {process.returncode}: {out[-300:]}")
    else:
        found = contents(workdir, stage)
        differing = sorted(
            key for key in {*found, *known["contents"]} if found.get(key) != known["contents"].get(key)
        )
        left = [path.name for path in workdir.rglob("*") if "tmp" in path.name]
        counts["same"] += not differing
        problems += [f"{key} differs" for key in differing] + [f"{name} is left over" for name in left]
    return counts, [f"{stage}, killed at {' and '.join(where)}: {problem}" for problem in problems]


def start(stage: str, workdir: Path, kill_at: int = -1, log: Path | None = None) -> subprocess.Popen:
    """Starts a stage; it kills itself at the write `kill_at` > 0, or with 0 counts its writes into `log`."""
    arguments = [f"--config.{key}={value}" for key, value in SETTINGS.items()]
    program = ["-m", "dmlp_jax.main"]
    if kill_at >= 0:
        program = [str(Path(__file__).with_name("kill_at_write.py")), str(workdir), str(kill_at), str(log)]
    return subprocess.Popen(
        [sys.executable, *program, f"--workdir={workdir}", f"--config.stages={stage}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def examine(workdir: Path) -> tuple[int, list[str]]:
    """Opens every file that a reader would take for whole; how many there were, and which were damaged."""
    opened, damaged = 0, []
    for path in sorted(workdir.glob("*")) + sorted(workdir.glob("retrain/*/result.json")):
        if path.name.startswith(".") or path.is_dir():
            continue
        opened += 1
        try:
            if path.suffix == ".npz":
                files.load_npz(path)
            elif path.suffix == ".json":
                files.load_json(path)
            elif path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
                raise ValueError("no end")
            elif path.suffix == ".jsonl":
                # The last line may be torn; it is dropped when the file is next opened.
                [json.loads(line) for line in path.read_text().splitlines(keepends=True)[:-1]]
        except Exception as error:
            damaged.append(f"{path.name} is damaged: {error}")
    records = workdir / "stages.json"
    for stage, record in (files.load_json(records) if records.exists() else {}).items():
        for name, digest in record["sha256"].items():
            if (workdir / name).exists() and files.sha256(workdir / name) != digest:
                damaged.append(f"{name} of {stage} does not have its checksum")
    for folder in [workdir / "pretrain", *workdir.glob("retrain/*")]:
        for path in finished_checkpoints(folder):
            opened += 1
            try:
                load_checkpoint(path)
            except Exception as error:
                damaged.append(f"{path.relative_to(workdir)} is damaged: {error}")
    return opened, damaged


def finished_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints that Orbax takes for finished."""
    found = [path for path in folder.glob("*") if path.name.isdigit()]
    # The last one is what a rerun reads; one that is about to be deleted may be in pieces.
    return [max(found, key=lambda path: int(path.name))] if found else []


def load_checkpoint(path: Path) -> dict[str, bytes | str]:
    """The arrays and the progress record of a checkpoint."""
    import jax
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager(
        path.parent, item_names=("state", "progress"), options=ocp.CheckpointManagerOptions(read_only=True)
    ) as manager:
        stored = manager.restore(
            int(path.name),
            args=ocp.args.Composite(state=ocp.args.StandardRestore(), progress=ocp.args.JsonRestore()),
        )
    leaves = jax.tree_util.tree_leaves_with_path(stored["state"])
    arrays = {jax.tree_util.keystr(key): np.asarray(leaf).tobytes() for key, leaf in leaves}
    return {**arrays, "progress": json.dumps(stored["progress"], sort_keys=True)}


def contents(workdir: Path, stage: str) -> dict[str, object]:
    """Everything that is in the workdir after `stage`, but times: arrays bit for bit, parameters, numbers."""
    found = {}
    for path in workdir.glob("*.npz"):
        found |= {f"{path.name}/{key}": array.tobytes() for key, array in files.load_npz(path).items()}
    for path in workdir.glob("retrain/*/result.json"):
        found[path.relative_to(workdir).as_posix()] = path.read_text()
    if stage in ("pretrain", "retrain"):
        folders = [workdir / "pretrain"] if stage == "pretrain" else workdir.glob("retrain/*")
        for path in itertools.chain(*map(finished_checkpoints, folders)):
            name = path.relative_to(workdir).as_posix()
            found |= {f"{name}{key}": value for key, value in load_checkpoint(path).items()}
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    found["metrics.jsonl"] = sorted(json.dumps(_lasting(r), sort_keys=True) for r in records)
    if (workdir / "summary.json").exists():
        found["summary.json"] = _lasting(files.load_json(workdir / "summary.json"))
    return found


def _lasting(record: dict) -> dict:
    return {key: value for key, value in record.items() if key not in PASSING}


if __name__ == "__main__":
    main()
