"""Labels that a coupled method corrected, as labels to retrain from."""

import shutil

import numpy as np
import pytest

from dmlp_jax.config import default_config
from dmlp_jax.data.types import Problem
from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import label_sources, pipeline
from dmlp_jax.pipeline.corrected_labels import check_networks
from dmlp_jax.pipeline.workdir import Workdir
from dmlp_jax.retrain import label_variants
from dmlp_jax.retrain import run as retraining
from dmlp_jax.storage import files
from tests.conftest import make_blobs


def of_method(name):
    config = default_config()
    config.retrain.method = name
    return config


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
    assert label_variants.parse("given,corrected_mlc") == ["given", "corrected_mlc"]
    found = label_sources.labels_of("corrected_mlc", workdir, problem, soft=False)
    np.testing.assert_array_equal(found, labels)
    np.testing.assert_array_equal(
        label_sources.labels_of("corrected_mlc", workdir, problem, soft=True), PROBS
    )


def test_source_that_no_method_made_is_refused(corrected):
    workdir, problem, _ = corrected
    with pytest.raises(
        UserError, match=r"corrected_l2r.*retrain\.method=l2r --config\.retrain\.labels=given"
    ):
        label_sources.labels_of("corrected_l2r", workdir, problem, soft=False)


@pytest.mark.parametrize(("preset", "expected"), [("default", 1 - (0.7 + 0.5 + 0.6) / 3), ("paper", None)])
def test_share_of_wrong_labels_is_that_of_the_purified_distribution(corrected, preset, expected):
    workdir, problem, _ = corrected
    config = default_config()
    config.purify.preset, config.retrain.soft_labels = preset, True
    found = label_sources.noise_rate_of("corrected_mlc", workdir, problem, config)
    assert found == (expected if expected is None else pytest.approx(expected))


@pytest.fixture
def own(tmp_path):
    """A small run of L2R on clusters, and its true labels."""
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
    return config, tmp_path / "w", true[:200]


@pytest.mark.slow
def test_networks_learn_from_corrected_labels_in_the_same_workdir(own, capsys):
    config, workdir, true = own
    found = pipeline.run(config, workdir)
    stored = files.load_npz(workdir / "retrain" / "l2r-given" / "corrected.npz")
    accuracy = np.mean(stored["labels"] == true)
    assert found["labels"]["corrected_l2r"] == accuracy
    assert found["corrected"] == {"l2r-given": accuracy}
    assert found["labels"]["given"] == 1 - found["noise"]["measured_flip_rate"] != accuracy
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("corrected_l2r")]
    assert f"{100 * accuracy:.1f} %" in line
    config.retrain.update(method="naive", labels="corrected_l2r,true")
    found = pipeline.run(config, workdir)
    assert set(found["test"]) == {"corrected_l2r", "true"}
    assert found["labels"]["corrected_l2r"] == accuracy
    assert found["corrected"] == {}
    assert 0 < found["noise_rate"]["corrected_l2r"] < 1
    assert "corrected l2r" in (workdir / "report.html").read_text()
    config.retrain.labels = "true"
    config.retrain.method = "cdr"
    assert "corrected_l2r" not in pipeline.run(config, workdir)["labels"]


@pytest.mark.slow
def test_corrected_labels_that_are_damaged_deleted_or_others_are_noticed(own):
    config, workdir, _ = own
    learner = config.copy_and_resolve_references()
    learner.retrain.update(method="naive", labels="corrected_l2r", epochs=2)
    pipeline.run(config, workdir)
    path = workdir / "retrain" / "l2r-given" / "corrected.npz"
    before = path.read_bytes()
    assert files.load_json(workdir / "stages.json")["retrain/l2r"]["sha256"][
        "retrain/l2r-given/corrected.npz"
    ] == files.sha256(path)

    path.write_bytes(before[:-1])
    for mistaken in (config, learner):
        with pytest.raises(UserError, match=r"corrected\.npz is damaged.*delete it"):
            pipeline.run(mistaken, workdir)
    path.unlink()
    with pytest.raises(UserError, match=r"--config\.retrain\.method=l2r --config\.retrain\.labels=given"):
        pipeline.run(learner, workdir)
    pipeline.run(config, workdir)
    assert path.read_bytes() == before

    pipeline.run(learner, workdir)
    result = workdir / "retrain" / "naive-corrected_l2r" / "result.json"
    trained = result.stat().st_mtime_ns
    pipeline.run(learner, workdir)
    assert result.stat().st_mtime_ns == trained

    shutil.rmtree(path.parent)
    config.retrain.epochs = 3
    pipeline.run(config, workdir)
    assert path.read_bytes() != before
    for labels in ("corrected_l2r", "given"):
        learner.retrain.labels = labels
        with pytest.raises(UserError, match=r"other labels than .*; delete \S*naive-corrected_l2r, and"):
            pipeline.run(learner, workdir)
    assert result.stat().st_mtime_ns == trained
    shutil.rmtree(result.parent)
    learner.retrain.labels = "corrected_l2r"
    pipeline.run(learner, workdir)
    assert result.stat().st_mtime_ns != trained


def test_an_arm_without_its_corrected_labels_is_not_done(tmp_path):
    """Also in workdirs of versions that kept no checksum of them."""
    files.save_json(tmp_path / "result.json", {"last": 0.5})
    assert retraining.finished(tmp_path) == {"last": 0.5}
    files.save_json(tmp_path / "result.json", {"last": 0.5, "label_accuracy": None})
    assert retraining.finished(tmp_path) is None
    files.save_npz(tmp_path / "corrected.npz", {"probs": PROBS})
    assert retraining.finished(tmp_path) == {"last": 0.5, "label_accuracy": None}
    (tmp_path / "result.json").unlink()
    assert retraining.finished(tmp_path) is None


class TestNetworks:
    """Which networks were trained on which corrected labels, of a workdir where nothing is really run."""

    @pytest.fixture
    def trained(self, corrected):
        """A workdir with a network of the method naive on what MLC corrected."""
        workdir = corrected[0]
        (workdir.retrain / "naive-corrected_mlc").mkdir()
        found = check_networks(of_method("naive"), ["given", "corrected_mlc"], workdir)
        workdir.finish("retrain/naive", default_config(), trained_on=found)
        return workdir, found

    def test_digest_is_that_of_the_file(self, trained):
        workdir, found = trained
        path = workdir.retrain / "mlc-given" / "corrected.npz"
        assert found == {"corrected_mlc": files.sha256(path)}
        # A run without these labels does not forget it.
        assert check_networks(of_method("naive"), ["given"], workdir) == found

    @pytest.mark.parametrize("sources", [["corrected_mlc"], ["given"]])
    def test_other_labels_are_refused_until_the_network_is_deleted(self, trained, sources):
        workdir, _ = trained
        path = workdir.retrain / "mlc-given" / "corrected.npz"
        files.save_npz(path, {"probs": PROBS[::-1], "labels": np.int32([1, 1, 0])})
        with pytest.raises(UserError, match=r"other labels than .*; delete \S*naive-corrected_mlc, and"):
            check_networks(of_method("naive"), sources, workdir)
        assert check_networks(of_method("cdr"), ["given"], workdir) == {}
        (workdir.retrain / "naive-corrected_mlc").rmdir()
        expected = {"corrected_mlc": files.sha256(path)} if "corrected_mlc" in sources else {}
        assert check_networks(of_method("naive"), sources, workdir) == expected

    def test_labels_that_are_gone_are_remembered(self, trained):
        workdir, found = trained
        (workdir.retrain / "mlc-given" / "corrected.npz").unlink()
        assert check_networks(of_method("naive"), ["given"], workdir) == found

    def test_damaged_labels_are_refused(self, trained):
        workdir, _ = trained
        path = workdir.retrain / "mlc-given" / "corrected.npz"
        workdir.finish("retrain/mlc", default_config(), [path])
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(UserError, match=r"corrected\.npz is damaged"):
            check_networks(of_method("naive"), ["corrected_mlc"], workdir)

    def test_labels_of_other_rows_are_refused(self, trained):
        workdir, _ = trained
        workdir.finish("retrain/mlc", default_config())
        config = of_method("naive")
        config.retrain.epochs = 7
        check_networks(config, ["corrected_mlc"], workdir)
        config.noise.rate = 0.3
        with pytest.raises(
            UserError, match=r"mlc made of other rows: noise\.rate is 0\.8 there and 0\.3 now"
        ):
            check_networks(config, ["corrected_mlc"], workdir)
