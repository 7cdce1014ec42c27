"""Runs are killed for real, at random moments and at random writes, and must end as if nothing had happened.

benchmarks/reliability.py does the same stage by stage and many times; its eyes are used here.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import reliability

TRIALS = [0, *(pytest.param(trial, marks=pytest.mark.exhaustive) for trial in range(1, 5))]
SETTINGS = {
    "pretrain.epochs": 6,
    "pretrain.checkpoint_epochs": 1,
    "retrain.epochs": 5,
    "retrain.checkpoint_epochs": 1,
    "retrain.labels": "given,purified",
    "purify.steps": 10,
    "num_devices": 1,
}


def start(workdir, kill_at=-1, log=None):
    """Starts the demo; it kills itself at the write `kill_at` > 0, or with 0 counts its writes into `log`."""
    arguments = [f"--config.{key}={value}" for key, value in SETTINGS.items()]
    program = ["-m", "dmlp_jax.main"]
    if kill_at >= 0:
        program = [str(BENCHMARKS / "kill_at_write.py"), str(workdir), str(kill_at), str(log)]
    command = [sys.executable, *program, f"--workdir={workdir}", *arguments]
    # A shell's background job ignores SIGINT, and its children inherit that; what is caught they do not.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
    finally:
        signal.signal(signal.SIGINT, before)


def finish(workdir):
    process = start(workdir)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return out


def contents(workdir):
    """Everything that a run leaves but times: arrays bit for bit, results, metrics, trained parameters."""
    return reliability.contents(workdir, "pretrain") | reliability.contents(workdir, "retrain")


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key in expected:
        assert found[key] == expected[key], key


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """An uninterrupted run, and how long and in how many writes the second of two was done.

    The first fills the compilation cache.
    """
    root = tmp_path_factory.mktemp("reference")
    finish(root / "first")
    begin = time.perf_counter()
    out, _ = start(root / "second", kill_at=0, log=root / "writes").communicate(timeout=300)
    seconds = time.perf_counter() - begin
    assert (root / "second" / "summary.json").exists(), out
    assert_same(contents(root / "first"), contents(root / "second"))
    return contents(root / "first"), seconds, int((root / "writes").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["moment", "write"])
@pytest.mark.parametrize("trial", TRIALS)
def test_killed_run_ends_as_if_it_had_not_been(reference, tmp_path, trial, kind):
    expected, seconds, writes = reference
    generator = random.Random(trial)

    def kill():
        """Whether the run was killed; it may have been done before."""
        if kind == "moment":
            process = start(tmp_path / "w")
            time.sleep(generator.uniform(0.1, 1.0) * seconds)
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process = start(tmp_path / "w", kill_at=generator.randint(1, writes // 2))
        process.communicate(timeout=300)
        _, damaged = reliability.examine(tmp_path / "w")
        assert damaged == []
        return process.returncode == -signal.SIGKILL

    while not kill():
        # The machine is faster than when the reference was timed.
        shutil.rmtree(tmp_path / "w")
        seconds /= 2
    kill()
    finish(tmp_path / "w")
    assert_same(contents(tmp_path / "w"), expected)
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
    assert_same(contents(tmp_path / "w"), reference[0])
