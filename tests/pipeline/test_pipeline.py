import csv
import json
import os
import shutil

import numpy as np
import pytest

from dmlp_jax.config import default_config
from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import pipeline
from dmlp_jax.storage import files

SOURCES = {"given", "val_only_probe", "noisy_probe", "noisy_plus_val_probe", "purified"}


def tiny_config(**changes):
    """The demo cut down to seconds: every stage runs, nothing is learned well."""
    config = default_config()
    config.pretrain.update(epochs=2, checkpoint_epochs=1, warmup_epochs=0.0, augment="none")
    config.retrain.update(epochs=2, checkpoint_epochs=1, warmup_epochs=0.0, augment="none")
    config.retrain.labels = "given,purified"
    config.extract.probe_iterations = 10
    config.purify.steps = 5
    config.num_devices = 1
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run; tests that change it work on a copy."""
    root = tmp_path_factory.mktemp("runs") / "w"
    return root, pipeline.run(tiny_config(), root)


@pytest.fixture
def copy(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "w")
    return tmp_path / "w"


def test_workdir_holds_what_is_promised(finished):
    root, summary = finished
    found = {path.name for path in root.iterdir()}
    promised = "config.json split.npz pretrain features.npz purified.npz issues.csv retrain metrics.jsonl"
    assert {*promised.split(), "summary.json", "report.html"} <= found
    assert not [name for name in found if name.endswith(".tmp")]
    assert {path.name for path in (root / "retrain").iterdir()} == {"naive-given", "naive-purified"}
    assert json.loads((root / "summary.json").read_text()) == summary


def test_the_page_holds_pictures_of_all_rows_and_of_the_clean_rows_near_to_them(finished):
    page = (finished[0] / "report.html").read_text()
    data, pictures = (
        page.partition(f'id="review-{name}">')[2].partition("</script>")[0] for name in ("data", "pictures")
    )
    data = json.loads(data)
    near = data["reviewed"]
    assert len(data["index"]) == finished[1]["rows"]["train"]
    assert len(near["label"]) <= finished[1]["rows"]["val"]
    assert near["neighbours"] == 3
    lines = pictures.split("\n")
    assert all(lines)
    assert len(lines) == len(data["index"]) + len(near["label"])


def test_summary_has_the_promised_keys(finished):
    _, summary = finished
    assert set(summary["labels"]) == SOURCES
    assert set(summary["held_out"]) == SOURCES
    assert summary["dataset"] == "digits"
    assert summary["noise"]["name"] == "symmetric"
    assert abs(summary["noise"]["measured_flip_rate"] - 0.72) < 0.03
    np.testing.assert_allclose(summary["labels"]["given"], 1 - summary["noise"]["measured_flip_rate"])
    assert set(summary["test"]) == {"given", "purified"}
    assert {"best", "last"} <= set(summary["test"]["given"])
    assert set(summary["probe"]) == {"linear", "knn"}
    for stage in ("pretrain", "extract", "purify", "retrain", "report"):
        assert set(summary["seconds"][stage]) == {"compile", "run"}
    assert {"seed", "device", "versions", "commit"} <= set(summary)


def test_arrays_are_in_the_order_of_the_split(finished):
    root, summary = finished
    split, features, purified = (
        np.load(root / name) for name in ("split.npz", "features.npz", "purified.npz")
    )
    rows = len(split["train_index"])
    assert features["train"].shape[0] == len(split["given_labels"]) == rows
    assert purified["probs"].shape == (rows, 10)
    np.testing.assert_array_equal(purified["changed"], purified["labels"] != split["given_labels"])
    assert purified["class_names"].tolist() == list("0123456789")
    with open(root / "issues.csv", newline="") as file:
        listed = {int(row["index"]): row["predicted_label"] for row in csv.DictReader(file)}
    names = purified["class_names"][purified["labels"]].tolist()
    assert listed == dict(zip(split["train_index"].tolist(), names, strict=True))
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    target = load_digits().target
    pool = np.sort(train_test_split(np.arange(1797), test_size=0.25, random_state=0, stratify=target)[0])
    true = target[pool][split["train_index"]]
    np.testing.assert_allclose(np.mean(purified["labels"] == true), summary["labels"]["purified"])


def test_metrics_name_every_stage(finished):
    root, _ = finished
    records = [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]
    stages = {record["stage"] for record in records}
    assert stages == {"pretrain", "extract", "purify", "retrain/naive-given", "retrain/naive-purified"}
    purify = [record for record in records if record["stage"] == "purify"]
    assert [record["step"] for record in purify] == [1, 2, 3, 4, 5]
    assert "label_accuracy" in purify[0]


def test_same_command_finds_everything_done(copy, capsys):
    before = (copy / "purified.npz").read_bytes()
    pipeline.run(tiny_config(), copy)
    out = capsys.readouterr().out
    for stage in ("pretrain", "extract", "purify", "retrain"):
        assert f"{stage}  done before" in out
    assert (copy / "purified.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pretrain.temperature": 0.5}, ["pretrain", "pretrain.temperature is 0.3 there and 0.5 now"]),
        ({"purify.steps": 6}, ["purify", "purify.steps is 5 there and 6 now", "purified.npz"]),
        ({"retrain.lr": 0.1}, ["retrain/naive", "retrain.lr"]),
        ({"seed": 1}, ["seed is 0 there and 1 now"]),
        ({"noise.rate": 0.5}, ["split", "noise.rate is 0.8 there and 0.5 now"]),
        ({"data.test_share": 0.5}, ["data.test_share"]),
    ],
)
def test_foreign_workdir_is_refused(copy, changes, words):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(UserError) as caught:
        pipeline.run(tiny_config(**changes), copy)
    for word in [*words, "--workdir"]:
        assert word in str(caught.value)
    after = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert {p.name for p in before if before[p] != after.get(p)} <= {"metrics.jsonl", ".lock"}


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        # A number: the compiled program is that of the run before.
        ({"purify.val_weight": 3.0}, 5),
        pytest.param({"purify.steps": 6}, 6, marks=pytest.mark.slow),
    ],
)
def test_later_settings_may_change_once_their_stage_is_deleted(copy, changes, steps):
    before = files.load_npz(copy / "purified.npz")["probs"]
    (copy / "purified.npz").unlink()
    shutil.rmtree(copy / "retrain")
    summary = pipeline.run(tiny_config(**changes), copy)
    assert summary["chosen"]["step"] <= steps
    assert not np.array_equal(files.load_npz(copy / "purified.npz")["probs"], before)
    records = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if r["stage"] == "purify"] == [*range(1, steps + 1)]


def test_more_arms_may_be_added_later(copy):
    summary = pipeline.run(tiny_config(**{"retrain.labels": "given,true"}), copy)
    assert set(summary["test"]) == {"given", "purified", "true"}


def test_a_frozen_encoder_gets_a_linear_layer(copy, capsys):
    """Its features are those of the stage extract; there is no other parameter."""
    changes = {"retrain.method": "gce", "retrain.init": "frozen", "retrain.labels": "true"}
    pipeline.run(tiny_config(**changes, **{"retrain.epochs": 20, "retrain.lr": 0.05}), copy)
    assert "gce with linear" in capsys.readouterr().out
    assert json.loads((copy / "retrain/gce-true/result.json").read_text())["last"] > 0.6


def test_stage_without_its_input_is_refused(tmp_path):
    for stage, words in (
        ("extract", "pretrain"),
        ("purify", "extract"),
        ("retrain", "purify"),
        ("report", "purify"),
    ):
        with pytest.raises(UserError, match=words):
            pipeline.run(tiny_config(stages=stage), tmp_path / stage)


def test_damaged_artefact_is_named(copy):
    (copy / "purified.npz").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"purified\.npz is damaged.*delete it"):
        pipeline.run(tiny_config(), copy)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [flip_a_bit, lambda path: os.truncate(path, path.stat().st_size - 1)])
@pytest.mark.parametrize(
    "name",
    ["split.npz", "features.npz", "purified.npz", "purifier.npz", "retrain/naive-given/result.json"],
)
def test_damaged_artefact_is_named_before_anything_is_done(copy, capsys, name, damage):
    damage(copy / name)
    with pytest.raises(UserError, match=rf"{name} is damaged.*delete it") as caught:
        pipeline.run(tiny_config(**{"retrain.labels": "given,purified,true"}), copy)
    assert str(copy) in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "content", ["[]", '{"split": 3}', '{"split": {"settings": {}, "complete": "yes"}}', '{"split": {}}', "{"]
)
def test_damaged_records_are_refused(copy, content):
    (copy / "stages.json").write_text(content)
    with pytest.raises(UserError, match=r"stages\.json.*delete it"):
        pipeline.run(tiny_config(), copy)


@pytest.mark.parametrize(
    "name",
    [
        "split.npz",
        pytest.param("features.npz", marks=pytest.mark.slow),
        pytest.param("purifier.npz", marks=pytest.mark.slow),
    ],
)
def test_a_deleted_artefact_is_made_anew_with_the_same_bits(copy, name):
    with np.load(copy / name) as stored:
        before = {key: stored[key].tobytes() for key in stored.files}
    (copy / name).unlink()
    pipeline.run(tiny_config(), copy)
    with np.load(copy / name) as stored:
        assert {key: stored[key].tobytes() for key in stored.files} == before
    assert (copy / "summary.json").exists()


def test_an_encoder_whose_last_checkpoint_is_deleted_is_trained_to_the_end(copy, capsys):
    """As the message of a damaged checkpoint advises; the one before it is not taken for the encoder."""
    before = files.load_npz(copy / "features.npz")
    shutil.rmtree(copy / "pretrain" / "2")
    (copy / "features.npz").unlink()
    with pytest.raises(UserError, match="no finished encoder"):
        pipeline.run(tiny_config(stages="extract"), copy)
    pipeline.run(tiny_config(stages="pretrain,extract"), copy)
    assert "resumes after epoch 1 of 2" in capsys.readouterr().out
    for name, array in files.load_npz(copy / "features.npz").items():
        np.testing.assert_array_equal(array, before[name])


def test_a_deleted_result_is_made_from_its_last_checkpoint(copy, capsys):
    path = copy / "retrain" / "naive-given" / "result.json"
    before = path.read_bytes()
    path.unlink()
    pipeline.run(tiny_config(), copy)
    assert path.read_bytes() == before
    assert "resumes" not in capsys.readouterr().out


def test_workdirs_from_before_the_checksums_go_on(copy, capsys):
    records = json.loads((copy / "stages.json").read_text())
    assert all(record.pop("sha256") for name, record in records.items() if name != "pretrain")
    (copy / "stages.json").write_text(json.dumps(records))
    pipeline.run(tiny_config(), copy)
    assert capsys.readouterr().out.count("done before") == 4


@pytest.mark.slow
def test_method_without_given_labels_trains_one_network_and_says_so(copy, capsys):
    """Whatever retrain.labels names; the arms of other methods stay."""
    config = tiny_config(**{"retrain.method": "mean_teacher", "retrain.select_share": 0.0})
    summary = pipeline.run(config, copy)
    assert set(summary["test"]) == {"clean"}
    assert summary["test"]["clean"]["last"] is not None
    assert summary["noise_rate"] == {"clean": 0.0}
    assert (copy / "retrain" / "mean_teacher-clean" / "result.json").exists()
    assert (copy / "retrain" / "naive-given" / "result.json").exists()
    out = capsys.readouterr().out
    assert "mean_teacher with small_cnn on the labels of the clean rows only" in out
    assert "clean: the labels of the clean rows only" in out
    page = (copy / "report.html").read_text()
    assert "was trained on the labels" in page
    assert "train with the same clean images" not in " ".join(page.split())
    pipeline.run(config, copy)
    assert "retrain  done before" in capsys.readouterr().out


def test_method_without_given_labels_needs_no_purified_ones(tmp_path):
    changes = {"stages": "retrain", "retrain.method": "mean_teacher", "retrain.select_share": 0.0}
    assert pipeline.run(tiny_config(**changes), tmp_path) is None
    assert (tmp_path / "retrain" / "mean_teacher-clean" / "result.json").exists()
    with pytest.raises(UserError, match="run the stage purify first"):
        pipeline.run(tiny_config(stages="retrain"), tmp_path)
