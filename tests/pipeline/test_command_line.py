"""`python -m dmlp_jax.main` as a user starts it; mistakes of the user's."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dmlp_jax import config
from tests.pipeline.test_own_features import write_own_features

REPOSITORY = Path(__file__).parents[2]


def command_line(*arguments, cwd=REPOSITORY):
    command = [sys.executable, "-m", "dmlp_jax.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config.noise.rat=0.5"], ["unknown setting 'noise.rat'", "did you mean 'noise.rate'"]),
        (["--config.epochs=3"], ["unknown setting 'epochs'", "did you mean 'retrain.epochs'"]),
        (["--config.noise.rate=much"], ["could not convert"]),
        (["--config=configs/cifar10_sym91.py"], ["no file", "configs/"]),
        (["--config.stages=purfy"], ["did you mean 'purify'"]),
        (["--config=configs/cifar10_sym90.py", "--config.data.dir=/nowhere"], ["no copy of cifar10"]),
        (["--workdri=w"], ["Unknown command line flag", "workdir"]),
        (["purify"], ["unexpected argument 'purify'"]),
        (["--workdir=/proc/none"], ["workdir /proc/none"]),
    ],
)
def test_mistakes_on_the_command_line(arguments, words, tmp_path):
    if not any(argument.startswith("--workdir") for argument in arguments):
        arguments = [*arguments, f"--workdir={tmp_path / 'w'}"]
    done = command_line(*arguments)
    assert done.returncode == 2
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "w" / "pretrain").exists()


@pytest.mark.parametrize("asks", ["--help", "-h", "--helpshort"])
def test_help_lists_configurations_settings_and_where_to_read_on(asks, tmp_path):
    done = command_line(asks, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for path in (REPOSITORY / "configs").glob("*.py"):
        assert f"  {path.stem} " in done.stdout
    for key, _ in config.flatten(config.default_config()):
        assert re.search(rf"\b{key.split('.')[1 if key.startswith('recipes.') else -1]}\b", done.stdout), key
    for word in (
        "--quiet",
        "--workdir",
        "--config.noise.rate=0.6",
        "config.py",
        "docs/pipeline.md",
        "20 % symm",
    ):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_scripts_hear_of_warnings_and_errors_only(tmp_path):
    write_own_features(tmp_path / "own.npz")
    arrays = dict(np.load(tmp_path / "own.npz"))
    # Clean rows of another scale are worth a warning.
    np.savez(tmp_path / "own.npz", **{**arrays, "val_features": 100 * arrays["val_features"]})
    arguments = (
        "--config=features", "--config.data.path=own.npz", "--config.stages=purify,report", "--quiet",
        "--config.purify.preset=paper", "--config.purify.steps=5", "--workdir=w",
    )  # fmt: skip
    done = command_line(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    summary = json.loads((tmp_path / "w" / "summary.json").read_text())
    told = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert told == [f"warning: {text}" for text in summary["warnings"]]
    assert summary["warnings"]
    done = command_line(*arguments, "--config.seed=3", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("error: ") == 1


def test_command_line_runs_from_any_folder(tmp_path):
    write_own_features(tmp_path / "own.npz")
    done = command_line(
        f"--config={REPOSITORY / 'configs' / 'features.py'}", "--config.data.path=own.npz",
        "--config.stages=purify,report", "--config.purify.preset=paper", "--config.purify.steps=5",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "noisy_plus_val_probe" in done.stdout
    assert (tmp_path / "runs" / "features" / "report.html").exists()
    assert "I0" not in done.stderr
