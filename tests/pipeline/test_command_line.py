"""`python -m dmlp_jax.main` as a user starts it; mistakes of the user's."""

import subprocess
import sys
from pathlib import Path

import pytest

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
