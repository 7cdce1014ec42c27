"""Labels that a coupled method corrected, as labels to retrain from."""

import numpy as np
import pytest

from dmlp_jax import files, pipeline, summary
from dmlp_jax.config import default_config
from dmlp_jax.data.types import Problem
from dmlp_jax.errors import UserError
from dmlp_jax.retrain import arms
from dmlp_jax.workdir import Workdir
from tests.conftest import make_blobs

PROBS = np.float32([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])


@pytest.fixture
def corrected(tmp_path):
    """A workdir with corrected labels of three rows, and with the purifier's artefacts."""
    labels = np.array([0, 1, 1], np.int32)
    workdir = Workdir(tmp_path)
    place = workdir.retrain / "mlc-given"
    files.save_npz(place / "corrected.npz", {"probs": PROBS, "labels": labels})
    files.save_npz(workdir.purified, {"probs": np.float32([[0.7, 0.3], [0.5, 0.5], [0.4, 0.6]])})
    files.save_npz(workdir.purifier, {"scores/given/accuracy": np.float32(0.25)})
    given = np.array([1, 0, 0], np.int32)
    problem = Problem(
        np.zeros((3, 2)), given, None, np.zeros((0, 2)), given[:0], None, None, None, ("a", "b")
    )
    return workdir, problem, labels


def test_corrected_labels_are_a_source(corrected):
    workdir, problem, labels = corrected
    assert arms.parse("given,corrected_mlc") == ["given", "corrected_mlc"]
    found = summary.labels_of("corrected_mlc", workdir, problem, soft=False)
    np.testing.assert_array_equal(found, labels)
    np.testing.assert_array_equal(summary.labels_of("corrected_mlc", workdir, problem, soft=True), PROBS)


def test_source_that_no_method_made_is_refused(corrected):
    workdir, problem, _ = corrected
    with pytest.raises(
        UserError, match=r"corrected_l2r.*retrain\.method=l2r --config\.retrain\.labels=given"
    ):
        summary.labels_of("corrected_l2r", workdir, problem, soft=False)


@pytest.mark.parametrize(("preset", "expected"), [("default", 1 - (0.7 + 0.5 + 0.6) / 3), ("paper", None)])
def test_share_of_wrong_labels_is_that_of_the_purified_distribution(corrected, preset, expected):
    workdir, problem, _ = corrected
    config = default_config()
    config.purify.preset, config.retrain.soft_labels = preset, True
    found = summary.noise_rate_of("corrected_mlc", workdir, problem, config)
    assert found == (expected if expected is None else pytest.approx(expected))


@pytest.mark.slow
def test_networks_learn_from_corrected_labels_in_the_same_workdir(tmp_path):
    features, given, val, true = make_blobs(0)
    arrays = {"features": features[:200], "labels": given[:200], "true_labels": true[:200]}
    arrays |= {"val_features": val[0], "val_labels": val[1]}
    files.save_npz(
        tmp_path / "own.npz", {**arrays, "test_features": features[200:], "test_labels": true[200:]}
    )
    config = default_config()
    config.data.update(name="npz", path=str(tmp_path / "own.npz"))
    config.noise.name, config.stages, config.num_devices = "none", "purify,retrain,report", 1
    config.purify.steps = 5
    config.retrain.update(method="l2r", labels="given", epochs=8, batch_size=20, model="linear")
    found = pipeline.run(config, tmp_path / "w")
    stored = files.load_npz(tmp_path / "w" / "retrain" / "l2r-given" / "corrected.npz")
    assert found["corrected"] == {"given": np.mean(stored["labels"] == true[:200])}
    config.retrain.update(method="naive", labels="corrected_l2r,true")
    found = pipeline.run(config, tmp_path / "w")
    assert set(found["test"]) == {"corrected_l2r", "true"}
    assert found["corrected"] == {}
    assert 0 < found["noise_rate"]["corrected_l2r"] < 1
    assert "corrected l2r" in (tmp_path / "w" / "report.html").read_text()
