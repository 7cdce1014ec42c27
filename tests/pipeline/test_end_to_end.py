"""The commands of the README, whole, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]


def run(*arguments, cwd, **environment):
    command = [sys.executable, "-m", "dmlp_jax.main", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=1800, cwd=cwd, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_demo(tmp_path):
    """One seed: enough to see that purification works, too little for the comparison in the README."""
    # Compiled as users have it.
    out = run(cwd=tmp_path, JAX_DISABLE_MOST_OPTIMIZATIONS="false")
    assert "purified" in out
    assert "report.html" in out
    workdir = tmp_path / "runs" / "digits_sym80"
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["labels"]["purified"] > 0.9
    assert summary["labels"]["given"] < 0.35
    assert summary["test"]["purified"]["last"] > summary["test"]["given"]["last"] + 0.03
    assert (workdir / "report.html").stat().st_size > 50_000


@pytest.mark.slow
def test_paper_preset(tmp_path):
    out = run(
        "--config.purify.preset=paper", "--config.pretrain.epochs=20", "--config.retrain.labels=purified",
        "--config.retrain.epochs=3", "--workdir=w", cwd=tmp_path,
    )  # fmt: skip
    assert "preset paper" in out
    summary = json.loads((tmp_path / "w" / "summary.json").read_text())
    assert summary["preset"] == "paper"
    assert "preset: paper" in (tmp_path / "w" / "report.html").read_text()


@pytest.mark.slow
def test_cifar_config_with_its_own_network(tmp_path):
    """configs/cifar10_sym90.py and its ResNet-18 on a handful of random images: the path, not the result."""
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, size=(160, 32, 32, 3)).astype(np.uint8),
        "y_train": (np.arange(160) % 10).astype(np.uint8),
        "x_test": rng.integers(0, 256, size=(40, 32, 32, 3)).astype(np.uint8),
        "y_test": (np.arange(40) % 10).astype(np.uint8),
    }
    np.savez(tmp_path / "cifar10.npz", **arrays)
    run(
        f"--config={REPOSITORY / 'configs' / 'cifar10_sym90.py'}", "--workdir=w",
        f"--config.data.dir={tmp_path}", "--config.val.size=40", "--config.pretrain.epochs=1",
        "--config.pretrain.batch_size=32", "--config.pretrain.dtype=float32", "--config.retrain.epochs=1",
        "--config.retrain.batch_size=32", "--config.retrain.dtype=float32", "--config.purify.steps=5",
        cwd=tmp_path, JAX_DISABLE_MOST_OPTIMIZATIONS="false",
    )  # fmt: skip
    summary = json.loads((tmp_path / "w" / "summary.json").read_text())
    assert abs(summary["noise"]["measured_flip_rate"] - 0.81) < 0.1
    with np.load(tmp_path / "w" / "features.npz") as features:
        assert features["train"].shape == (120, 512)
    text = (tmp_path / "w" / "report.html").read_text()
    assert "airplane" in text


@pytest.mark.slow
def test_image_folder(tmp_path):
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for index in range(400):
        label = digits.target[index]
        # Every fourth training image lies in the wrong folder.
        given = (label + 1) % 10 if index % 4 == 0 else label
        part, label = ("val", label) if index >= 360 else ("train", given)
        place = tmp_path / "images" / part / f"digit{label}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.round(digits.images[index] * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).resize((16, 16)).save(place / f"{index}.png")
    run(
        f"--config={REPOSITORY / 'configs' / 'folder.py'}", "--config.data.dir=images", "--workdir=w",
        "--config.data.image_size=16", "--config.pretrain.model=small_cnn", "--config.pretrain.epochs=15",
        "--config.pretrain.batch_size=100", "--config.pretrain.dtype=float32",
        "--config.pretrain.augment=affine", "--config.pretrain.optimizer=adamw", "--config.pretrain.lr=0.003",
        "--config.retrain.model=small_cnn", "--config.retrain.epochs=2", "--config.retrain.dtype=float32",
        cwd=tmp_path,
    )  # fmt: skip
    purified = np.load(tmp_path / "w" / "purified.npz")
    with np.load(tmp_path / "w" / "split.npz") as split:
        changed = split["given_labels"] != purified["labels"]
    assert 0.1 < changed.mean() < 0.5
    assert "digit3" in (tmp_path / "w" / "report.html").read_text()
