import csv
import json

import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.interop.label_studio import (
    MODEL,
    Annotation,
    is_label_studio,
    label_studio_decisions,
    label_studio_tasks,
    read_label_studio,
    write_label_studio,
)
from tests.interop.tables import TEXTS, table_of_three


@pytest.fixture
def table():
    return table_of_three()


def test_tasks_have_the_documented_form(table, tmp_path):
    tasks = label_studio_tasks(table, {"text": TEXTS}, count=2)
    assert tasks[0]["data"] == {
        "text": "an owl",
        "row": 2,
        "given_label": "dog",
        "predicted_label": "owl",
        "id": "x2",
    }
    prediction = tasks[0]["predictions"][0]
    assert (prediction["model_version"], prediction["score"]) == (MODEL, 0.1)
    assert prediction["result"] == [
        {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["owl"]}}
    ]
    assert len(tasks) == 2
    write_label_studio(tmp_path / "tasks.json", tasks)
    assert json.loads((tmp_path / "tasks.json").read_text()) == tasks
    with pytest.raises(UserError, match=r"data\['text'\] has 1 entries but there is a row 2"):
        label_studio_tasks(table, {"text": ["only one"]})


def exported(table):
    """What Label Studio exports after two people have worked on the first two tasks."""
    tasks = label_studio_tasks(table, {"text": TEXTS})

    def choose(label, who):
        result = [{**tasks[0]["predictions"][0]["result"][0], "value": {"choices": [label]}}]
        return {"id": 7, "completed_by": who, "was_cancelled": False, "result": result}

    tasks[0]["annotations"] = [choose("owl", 1), choose("cat", {"id": 2, "email": "b@c.d"})]
    tasks[1]["annotations"] = [choose("cat", 1), {**choose("dog", 2), "was_cancelled": True}]
    tasks[2]["annotations"] = []
    return tasks


def test_annotations_come_back(table, tmp_path):
    (tmp_path / "export.json").write_text(json.dumps(exported(table)))
    assert read_label_studio(tmp_path / "export.json") == [
        Annotation(2, "x2", "owl", "1", "dog", "owl"),
        Annotation(2, "x2", "cat", "b@c.d", "dog", "owl"),
        Annotation(0, "x0", "cat", "1", "cat", "cat"),
    ]
    assert is_label_studio(tmp_path / "export.json")
    assert label_studio_decisions(tmp_path / "export.json").splitlines() == [
        "id,index,given_label,predicted_label,decision,label",
        "x2,2,dog,owl,correct,owl",
        "x2,2,dog,owl,correct,cat",
        "x0,0,cat,cat,correct,cat",
    ]


def test_flat_exports(tmp_path):
    rows = [
        {"text": "an owl", "row": 2, "id": 11, "label": "owl", "annotator": 1, "annotation_id": 5},
        {"text": "a cat", "row": 0, "id": 12, "label": "", "annotator": 1, "annotation_id": 6},
    ]
    (tmp_path / "min.json").write_text(json.dumps(rows))
    with (tmp_path / "export.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for name in ("min.json", "export.csv"):
        # 'id' is the number of Label Studio's task here, not the row's own.
        assert read_label_studio(tmp_path / name) == [Annotation(2, None, "owl", "1")]
        assert is_label_studio(tmp_path / name)
        with pytest.raises(UserError, match="lack row, given_label or predicted_label"):
            label_studio_decisions(tmp_path / name)


def test_what_is_no_export_is_refused(table, tmp_path):
    path = tmp_path / "x.json"
    for text, message in (
        ("{", "cannot be read"),
        ('{"a": 1}', "no list of tasks"),
        ('[{"text": "a"}]', "neither 'annotations' nor 'annotation_id'"),
        ('[{"annotation_id": 1, "sentiment": "x"}]', "no column 'label'"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            read_label_studio(path)
    several = exported(table)
    several[0]["annotations"][0]["result"][0]["value"]["choices"] = ["owl", "cat"]
    path.write_text(json.dumps(several))
    with pytest.raises(UserError, match="chose 2 classes"):
        read_label_studio(path)
