"""A review of a table with names outlives that the table is sorted anew, grows and shrinks."""

import csv
import json

import numpy as np
import pandas

from dmlp_jax.cli.inputs import labelled_rows, reviewed_rows
from dmlp_jax.cli.inputs.input_files import Sources
from dmlp_jax.report import decisions
from tests.cli.inputs.table_files import frame, write


def load(path, clean):
    np.save(path.parent / "clean.npy", np.array(clean))
    return labelled_rows.load(Sources(path, val_index=path.parent / "clean.npy", id_column="name"))


def places(table, names):
    return [int(np.flatnonzero(table["name"] == name)[0]) for name in names]


def test_a_table_sorted_anew_keeps_its_review(tmp_path):
    table = frame(30).assign(name=[f"img/{row}.png" for row in range(30)])
    clean = ["img/0.png", "img/1.png", "img/2.png"]
    rows = load(write(table, tmp_path / "t.csv"), places(table, clean))
    run = decisions.fingerprint(rows.labels, rows.class_names, rows.row_numbers)
    lines = [
        ("img/9.png", 9, table["label"][9], "dog", "accept", "0.9", "dog", run, "random"),
        ("img/7.png", 7, table["label"][7], "cat", "reject", "0.9", table["label"][7], run, "suspicious"),
        ("img/29.png", 29, table["label"][29], "cat", "accept", "0.9", "cat", run, "suspicious"),
    ]
    with open(tmp_path / "d.csv", "w", newline="") as file:
        csv.writer(file).writerows([("id", *decisions.COLUMNS), *lines])
    before = reviewed_rows.fold(rows, [tmp_path / "d.csv"])

    grown = pandas.concat([frame(12, seed=1).assign(name=[f"new/{row}.png" for row in range(12)]), table])
    grown = grown.sample(frac=1.0, random_state=0)[lambda data: data["name"] != "img/29.png"]
    rows = load(write(grown, tmp_path / "t.csv"), places(grown.reset_index(), clean))
    after = reviewed_rows.fold(rows, [tmp_path / "d.csv"])

    def decided(reviewed):
        names = reviewed.rows.ids[reviewed.row_numbers]
        classes = [reviewed.rows.class_names[label] for label in reviewed.labels]
        return dict(zip(names.tolist(), classes, strict=True))

    assert decided(before) == {"img/9.png": "dog", "img/7.png": table["label"][7], "img/29.png": "cat"}
    assert decided(after) == {"img/9.png": "dog", "img/7.png": table["label"][7]}
    assert after.counts["random"] == before.counts["random"] == 1
    assert len(after.rows.labels) == 41 - 3 - 2
    assert "1 decisions are on rows that are clean already or not in the table" in after.notes[0]
    # The features moved with their rows.
    expected = grown.reset_index().loc[after.row_numbers[0], ["emb_0", "emb_1", "emb_2"]].to_numpy(np.float32)
    np.testing.assert_allclose(after.rows.val_features[3], expected, rtol=1e-6)


def test_an_export_of_label_studio_is_a_review(tmp_path):
    table = frame(30)
    rows = labelled_rows.load(
        Sources(write(table, tmp_path / "t.csv"), val_index=_index(tmp_path, [0, 1, 2]))
    )
    given = table["label"][9]
    other = next(name for name in rows.class_names if name != given)
    result = {"type": "choices", "value": {"choices": [other]}, "from_name": "label", "to_name": "text"}
    data = {"row": 9, "given_label": given, "predicted_label": other}
    task = {"data": data, "annotations": [{"completed_by": 1, "result": [result]}]}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    found = reviewed_rows.fold(rows, [tmp_path / "export.json"])
    assert found.row_numbers.tolist() == [9]
    assert [rows.class_names[label] for label in found.labels] == [other]
    # Nobody says that the row was drawn at random.
    assert found.counts["random"] == 0


def _index(folder, rows):
    np.save(folder / "clean.npy", np.array(rows))
    return folder / "clean.npy"
