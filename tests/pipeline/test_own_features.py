"""The pipeline on features of one's own, in an npz file."""

import os

import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import pipeline
from tests.conftest import make_blobs
from tests.pipeline.test_pipeline import tiny_config


def write_own_features(path, **changes):
    features, given, (val_features, val_labels), true = make_blobs(0, noise=0.5)
    arrays = {
        "features": features[:250],
        "labels": given[:250],
        "val_features": val_features,
        "val_labels": val_labels,
        "true_labels": true[:250],
        "test_features": features[250:],
        "test_labels": true[250:],
        **changes,
    }
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


def own_config(path, **changes):
    """All runs share a program, those without truth too."""
    stages = "purify,retrain,report"
    purify = {"purify.steps": 30, "purify.keep_label_history": True}
    changes = {"data.name": "npz", "data.path": str(path), "stages": stages, **purify, **changes}
    return tiny_config(**changes)


def test_features_of_ones_own(tmp_path, capsys):
    write_own_features(tmp_path / "own.npz")
    summary = pipeline.run(own_config(tmp_path / "own.npz"), tmp_path / "w")
    assert summary["labels"]["purified"] > summary["labels"]["given"] + 0.1
    assert summary["retrain"]["model"] == "mlp"
    assert summary["noise"] == {
        "name": "given",
        "rate": None,
        "measured_flip_rate": pytest.approx(1 - summary["labels"]["given"]),
    }
    assert "noise.* is not applied" in capsys.readouterr().out


def test_features_without_truth_or_test_set(tmp_path, capsys):
    write_own_features(tmp_path / "own.npz", true_labels=None, test_features=None, test_labels=None)
    config = own_config(tmp_path / "own.npz", **{"retrain.labels": "purified,true"})
    summary = pipeline.run(config, tmp_path / "w")
    assert set(summary["labels"].values()) == {None}
    assert summary["test"] == {"purified": {"best": None, "last": None, "selected": None}}
    assert summary["held_out"]["purified"] is not None
    assert "they are unknown" in capsys.readouterr().out


def test_changed_data_are_noticed(tmp_path):
    write_own_features(tmp_path / "own.npz")
    config = own_config(tmp_path / "own.npz", stages="purify,report")
    pipeline.run(config, tmp_path / "w")
    os.replace(tmp_path / "own.npz", tmp_path / "moved.npz")
    pipeline.run(own_config(tmp_path / "moved.npz", stages="purify,report"), tmp_path / "w")
    write_own_features(tmp_path / "moved.npz", labels=make_blobs(1)[1][:250])
    with pytest.raises(UserError, match="not those that"):
        pipeline.run(own_config(tmp_path / "moved.npz", stages="purify,report"), tmp_path / "w")


def test_encoder_settings_do_not_concern_own_features(tmp_path):
    write_own_features(tmp_path / "own.npz")
    pipeline.run(own_config(tmp_path / "own.npz", stages="purify"), tmp_path / "w")
    pipeline.run(
        own_config(tmp_path / "own.npz", stages="purify", **{"pretrain.temperature": 0.9}), tmp_path / "w"
    )
