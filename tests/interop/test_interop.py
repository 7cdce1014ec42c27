import csv
import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from dmlp_jax import interop
from dmlp_jax.errors import UserError
from dmlp_jax.interop import huggingface

NAMES = ("cat", "dog", "emu")


def make(rows=60, seed=0):
    """A result with probabilities and label quality only, and given labels."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(3, 0.3), size=rows).astype(np.float32)
    given = rng.integers(3, size=rows)
    return SimpleNamespace(probs=probs, label_quality=rng.random(rows, np.float32)), given


RESULT, LABELS = make()


def test_columns_are_those_of_cleanlab():
    found = interop.issues(RESULT, LABELS, NAMES)
    assert list(found.columns()) == [
        "index",
        "is_label_issue",
        "label_score",
        "given_label",
        "predicted_label",
        "confidence",
        "runner_up",
    ]
    assert np.all(np.diff(found.label_score) >= 0)
    assert sorted(found.index.tolist()) == list(range(60))
    for place, row in enumerate(found.index):
        probs = RESULT.probs[row]
        assert found.label_score[place] == RESULT.label_quality[row]
        assert found.confidence[place] == probs.max()
        assert found.given_label[place] == NAMES[LABELS[row]]
        assert found.predicted_label[place] == NAMES[probs.argmax()]
        assert found.is_label_issue[place] == (probs.argmax() != LABELS[row])
        assert found.runner_up[place] == NAMES[np.argsort(probs)[-2]]


def test_labels_that_are_certain_have_no_runner_up():
    certain = {"probs": np.eye(3)[[0, 2]], "label_quality": np.array([0.1, 0.9])}
    assert interop.issues(certain, np.array([1, 2]), NAMES).runner_up.tolist() == ["", ""]
    assert interop.issues(certain, np.array([1, 2])).runner_up.tolist() == [-1, -1]


def test_accepted_rows_are_a_column_in_the_order_of_the_table():
    accepted = np.arange(60) % 3 == 0
    found = interop.issues(RESULT, LABELS, NAMES, accepted=accepted)
    np.testing.assert_array_equal(found.accepted, accepted[found.index])
    assert list(found.columns())[-1] == "accepted"
    assert found.csv().splitlines()[0].endswith(",runner_up,accepted")
    with pytest.raises(UserError, match="accepted has 3 entries but there are 60 rows"):
        interop.issues(RESULT, LABELS, NAMES, accepted=accepted[:3])


def test_without_names_indices_are_shown_and_distributions_count_by_their_largest_entry():
    soft = np.eye(3)[LABELS] * 0.8 + 0.2 / 3
    found, other = interop.issues(RESULT, LABELS), interop.issues(vars(RESULT), soft)
    assert found.given_label.dtype.kind == "i"
    for name, column in found.columns().items():
        np.testing.assert_array_equal(other.columns()[name], column)


def test_rows_of_equal_score_stay_in_order():
    result = SimpleNamespace(probs=np.full((5, 2), 0.5), label_quality=np.full(5, 0.5))
    assert interop.issues(result, np.zeros(5, int)).index.tolist() == [0, 1, 2, 3, 4]


def test_csv_is_read_back_as_it_was():
    names = np.array(['a "cat"', "dog, big", "emu\nlarge"])
    found = interop.issues(RESULT, LABELS, names, index=np.arange(100, 160), ids=np.arange(60).astype(str))
    rows = list(csv.DictReader(io.StringIO(found.csv())))
    assert list(rows[0])[:2] == ["id", "index"]
    assert [int(row["index"]) for row in rows] == found.index.tolist()
    assert all(int(row["id"]) == int(row["index"]) - 100 for row in rows)
    assert [row["given_label"] for row in rows] == found.given_label.tolist()
    np.testing.assert_allclose([float(row["label_score"]) for row in rows], found.label_score, atol=1e-6)
    assert {row["is_label_issue"] for row in rows} == {"True", "False"}


def test_frame_is_indexed_by_row():
    frame = interop.issues(RESULT, LABELS, NAMES).frame
    assert list(frame.columns) == [
        "is_label_issue",
        "label_score",
        "given_label",
        "predicted_label",
        "confidence",
        "runner_up",
    ]
    assert frame.index.name == "index"
    ordered = frame.sort_index()
    np.testing.assert_allclose(ordered["label_score"], RESULT.label_quality)
    assert ordered["is_label_issue"].dtype == bool


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs datasets.*pip install datasets"):
        interop.dataset_arrays(None, features="embedding", label="label")


@pytest.mark.parametrize(
    ("labels", "names", "words"),
    [
        (LABELS[:-1], None, r"\(59,\).*60 rows"),
        (LABELS + 1, None, "0 to 2"),
        (LABELS - 1, None, "0 to 2"),
        (LABELS.astype(float), None, "float64"),
        (LABELS, NAMES[:2], "2 names but the labels have 3"),
    ],
)
def test_arguments_that_do_not_fit(labels, names, words):
    with pytest.raises(UserError, match=words):
        interop.issues(RESULT, labels, names)


def test_files_without_label_quality_are_ranked_by_probability():
    found = interop.issues({"probs": RESULT.probs}, LABELS)
    np.testing.assert_array_equal(found.label_score, RESULT.probs[found.index, LABELS[found.index]])
    assert np.all(np.diff(found.label_score) >= 0)


@pytest.fixture
def lab():
    datalab = pytest.importorskip("cleanlab").Datalab
    return datalab({"y": [NAMES[label] for label in LABELS]}, label_name="y", verbosity=0)


def test_labels_of_a_datalab(lab):
    labels, names = interop.datalab_labels(lab)
    assert names == NAMES
    np.testing.assert_array_equal(labels, LABELS)
    assert labels.dtype == np.int32


# cleanlab forks for several processes, which can hang beside the threads of JAX.
IN_ONE_PROCESS = {"clean_learning_kwargs": {"find_label_issues_kwargs": {"n_jobs": 1}}}


def test_datalab_issues_have_the_form_of_its_own(lab):
    lab.find_issues(pred_probs=RESULT.probs.astype(float), issue_types={"label": IN_ONE_PROCESS})
    theirs, own = lab.get_issues("label"), interop.datalab_issues(RESULT, LABELS, NAMES)
    assert list(own.columns) == list(theirs.columns)
    assert own.index.equals(theirs.index)
    assert own["given_label"].tolist() == theirs["given_label"].tolist()
    assert own["is_label_issue"].dtype == theirs["is_label_issue"].dtype
    assert own["label_score"].dtype == theirs["label_score"].dtype


def test_purified_labels_enter_a_datalab_beside_its_own_issues(lab, capsys):
    lab.find_issues(pred_probs=RESULT.probs.astype(float), issue_types={"label": IN_ONE_PROCESS})
    before = lab.get_issues("label")
    interop.add_to_datalab(lab, RESULT)
    found = lab.get_issues("dmlp")
    assert list(found.columns) == ["is_dmlp_issue", "dmlp_score"]
    wrong = RESULT.probs.argmax(axis=1) != LABELS
    np.testing.assert_array_equal(found["is_dmlp_issue"], wrong)
    np.testing.assert_allclose(found["dmlp_score"], RESULT.label_quality)
    assert lab.get_issues("label").equals(before)
    assert lab.get_info("dmlp")["predicted_label"] == [NAMES[label] for label in RESULT.probs.argmax(axis=1)]
    summary = lab.get_issue_summary("dmlp")
    assert summary["num_issues"].item() == wrong.sum()
    lab.report()
    assert "dmlp issues" in capsys.readouterr().out
    # Another result replaces it.
    interop.add_to_datalab(lab, make(seed=1)[0])
    assert not np.array_equal(lab.get_issues("dmlp")["is_dmlp_issue"], wrong)


def test_a_result_of_other_rows_is_no_datalabs(lab):
    with pytest.raises(UserError, match=r"\(60,\).*10 rows"):
        interop.add_to_datalab(lab, make(10)[0])
    unlabelled = sys.modules["cleanlab"].Datalab({"x": [1, 2]}, verbosity=0)
    with pytest.raises(UserError, match="no class labels"):
        interop.datalab_labels(unlabelled)


@pytest.fixture
def dataset():
    datasets = pytest.importorskip("datasets")
    matrix = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    features = datasets.Features(
        {
            "embedding": datasets.List(datasets.Value("float32")),
            "label": datasets.ClassLabel(names=["emu", "cat", "dog"]),
            "text": datasets.Value("string"),
        }
    )
    columns = {
        "embedding": matrix.tolist(),
        "label": LABELS.tolist(),
        "text": [NAMES[label] for label in LABELS],
    }
    return datasets.Dataset.from_dict(columns, features=features), matrix


def test_columns_of_a_dataset_become_arrays(dataset):
    data, matrix = dataset
    features, labels, names = interop.dataset_arrays(data)
    np.testing.assert_array_equal(features, matrix)
    np.testing.assert_array_equal(labels, LABELS)
    # In the order of the ClassLabel, not sorted.
    assert names == ("emu", "cat", "dog")
    _, labels, names = interop.dataset_arrays(data, label="text")
    assert names == NAMES
    np.testing.assert_array_equal(labels, LABELS)


def test_purified_columns_are_added_and_replaced(dataset):
    datasets = sys.modules["datasets"]
    data, matrix = dataset
    names = ("emu", "cat", "dog")
    added = interop.add_purified_columns(data, RESULT, LABELS, names)
    assert data.column_names == ["embedding", "label", "text"]
    kind = added.features["purified_label"]
    assert isinstance(kind, datasets.ClassLabel)
    assert kind.names == list(names)
    predicted = RESULT.probs.argmax(axis=1)
    assert added["purified_label"][:] == predicted.tolist()
    np.testing.assert_allclose(added["purified_confidence"][:], RESULT.probs.max(axis=1))
    np.testing.assert_allclose(added["label_score"][:], RESULT.label_quality)
    assert added["is_label_issue"][:] == (predicted != LABELS).tolist()
    np.testing.assert_array_equal(interop.dataset_arrays(added)[0], matrix)
    again = interop.add_purified_columns(added, make(seed=1)[0], LABELS, names)
    assert sorted(again.column_names) == sorted(added.column_names)
    assert again["purified_label"][:] != added["purified_label"][:]


def test_datasets_that_are_no_labelling_problem(dataset):
    data, _ = dataset
    with pytest.raises(UserError, match="no column 'features'"):
        interop.dataset_arrays(data, features="features")
    with pytest.raises(UserError, match="'text' must hold lists"):
        interop.dataset_arrays(data, features="text")
    unlabelled = data.map(lambda row, i: {"label": -1 if i in (5, 9) else row["label"]}, with_indices=True)
    with pytest.raises(UserError, match=r"row 5 has no label .2 such rows"):
        interop.dataset_arrays(unlabelled)
    with pytest.raises(UserError, match="60 rows but the dataset has 59"):
        interop.add_purified_columns(data.select(range(59)), RESULT, LABELS, NAMES)
    with pytest.raises(UserError, match="2 names but the labels have 3"):
        interop.add_purified_columns(data, RESULT, LABELS, NAMES[:2])


@pytest.mark.parametrize("row", [0, 7, 59])
@pytest.mark.parametrize("gap", [None, [0.0, None, 1.0, 2.0]], ids=["no list", "a gap"])
def test_rows_without_an_embedding_are_named(dataset, row, gap, monkeypatch):
    monkeypatch.setattr(huggingface, "_ROWS", 10)
    rows = dataset[1].tolist()
    rows[row] = gap
    bad = sys.modules["datasets"].Dataset.from_dict({"embedding": rows, "label": LABELS.tolist()})
    with pytest.raises(UserError, match=rf"'embedding': row {row} has no list.*1 such rows"):
        interop.dataset_arrays(bad)
    with pytest.raises(UserError, match=rf"row {59 - row} has"):
        interop.dataset_arrays(bad.select(range(59, -1, -1)))


def test_label_files_are_what_dividemix_loads(tmp_path):
    path = tmp_path / interop.label_file_name(0.5, "sym")
    assert path.name == "0.5_sym.json"
    interop.write_label_json(path, LABELS.astype(np.int32))
    # As its data loader reads it.
    with open(path) as file:
        loaded = json.load(file)
    assert loaded == LABELS.tolist()
    assert all(type(label) is int for label in loaded)
    np.testing.assert_array_equal(interop.read_label_json(path, 60), LABELS)
    assert interop.label_file_name(0.5, "asym", "c2d") == "0.50_asym.json"
    with pytest.raises(UserError, match="dividemix, c2d"):
        interop.label_file_name(0.5, "sym", "elr")


def test_purified_rows_take_their_places_among_the_clean_ones(tmp_path):
    index = np.array([4, 0, 2])
    interop.write_label_json(tmp_path / "l.json", np.array([7, 8, 9]), index=index, others=np.arange(5))
    assert interop.read_label_json(tmp_path / "l.json").tolist() == [8, 1, 9, 3, 7]


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        (np.array([0.0, 1.0]), {}, "float64"),
        (np.array([[0], [1]]), {}, r"\(2, 1\)"),
        (np.array([0, -1]), {}, r"labels\[1\] is -1"),
        (np.array([0]), {"index": np.array([0])}, "together"),
        (np.array([0]), {"index": np.array([7]), "others": np.arange(5)}, "0 to 4"),
        (np.array([0, 1]), {"index": np.array([3, 3]), "others": np.arange(5)}, "different rows"),
        (np.array([0]), {"index": np.array([0, 1]), "others": np.arange(5)}, r"shape \(1,\)"),
    ],
)
def test_label_files_that_would_be_wrong(tmp_path, labels, options, words):
    with pytest.raises(UserError, match=words):
        interop.write_label_json(tmp_path / "l.json", labels, **options)
    assert not (tmp_path / "l.json").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "JSON list"),
        ("[]", "JSON list"),
        ("[1, 2.5]", "entry 1 is 2.5"),
        ("[1, true]", "entry 1 is True"),
        ("[-1]", "entry 0 is -1"),
        ("[1, 2", "cannot be read"),
        ("[1, 2]", "2 labels for 3 rows"),
    ],
)
def test_label_files_that_are_wrong(tmp_path, text, words):
    (tmp_path / "l.json").write_text(text)
    with pytest.raises(UserError, match=words):
        interop.read_label_json(tmp_path / "l.json", 3)
