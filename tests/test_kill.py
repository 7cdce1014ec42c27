"""Runs are killed for real, at random moments, and must end as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

TRIALS = 10
SETTINGS = {
    "pretrain.epochs": 6,
    "pretrain.checkpoint_epochs": 1,
    "retrain.epochs": 5,
    "retrain.checkpoint_epochs": 1,
    "retrain.labels": "given,purified",
    "purify.steps": 10,
    "num_devices": 1,
}


def start(workdir):
    arguments = [f"--config.{key}={value}" for key, value in SETTINGS.items()]
    command = [sys.executable, "-m", "dmlp_jax.main", f"--workdir={workdir}", *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell's background job ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(workdir):
    process = start(workdir)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return out


def contents(workdir):
    """Everything that a run leaves but times: arrays bit for bit, results, metrics, trained parameters."""
    found = {}
    for name in ("split.npz", "features.npz", "purified.npz", "purifier.npz"):
        with np.load(workdir / name) as stored:
            found |= {f"{name}/{key}": stored[key].tobytes() for key in stored.files}
    for path in workdir.glob("retrain/*/result.json"):
        found[path.parent.name] = path.read_text()
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        record.pop("time")
    found["metrics"] = sorted(json.dumps(record, sort_keys=True) for record in records)
    summary = json.loads((workdir / "summary.json").read_text())
    found["summary"] = {key: value for key, value in summary.items() if key != "seconds"}
    return found


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """An uninterrupted run, and how long the second of two took (the first fills the compilation cache)."""
    root = tmp_path_factory.mktemp("reference")
    finish(root / "first")
    begin = time.perf_counter()
    finish(root / "second")
    seconds = time.perf_counter() - begin
    assert contents(root / "first") == contents(root / "second")
    return contents(root / "first"), seconds


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(TRIALS))
def test_killed_run_ends_as_if_it_had_not_been(reference, tmp_path, trial):
    expected, seconds = reference
    moments = random.Random(trial)
    for _ in range(2):
        process = start(tmp_path / "w")
        time.sleep(moments.uniform(0.1, 1.0) * seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    finish(tmp_path / "w")
    found = contents(tmp_path / "w")
    assert found.keys() == expected.keys()
    for key in expected:
        assert found[key] == expected[key], key
    leftovers = [path for path in (tmp_path / "w").rglob("*") if "tmp" in path.name]
    assert not leftovers


@pytest.mark.slow
def test_interrupted_run_says_how_to_go_on(tmp_path):
    process = start(tmp_path / "w")
    for line in process.stdout:
        if line.startswith("pretrain  epoch"):
            break
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command resumes" in out
    finish(tmp_path / "w")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["pretrain  epoch", "retrain/naive-given  epoch"])
def test_terminated_run_asks_to_be_started_again_and_goes_on(reference, tmp_path, stage):
    process = start(tmp_path / "w")
    for line in process.stdout:
        if line.startswith(stage):
            break
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "the same command resumes" in out
    finish(tmp_path / "w")
    expected, _ = reference
    found = contents(tmp_path / "w")
    for key in expected:
        assert found[key] == expected[key], key
