"""Hands suspicious rows to Label Studio as tasks, and reads its annotations back.

tasks = label_studio_tasks(issues(result, labels, class_names), {"text": texts})
write_label_studio(path, tasks)             # import this file into a project
read_label_studio(exported)                 # what people decided; `dmlp-purify --apply` reads the export, too

A project for these tasks has one `Choices` tag; with the names of the defaults its configuration is

    <View>
      <Text name="text" value="$text"/>
      <Choices name="label" toName="text" choice="single">
        <Choice value="cat"/> ...
      </Choices>
    </View>

Formats: https://labelstud.io/guide/task_format.html and https://labelstud.io/guide/export.html
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dmlp_jax.errors import UserError
from dmlp_jax.interop.issue_table import Issues
from dmlp_jax.storage import files

# Shown in Label Studio as the origin of the prediction.
MODEL = "dmlp_jax"
# Columns of exports that hold no data of the row.
_OWN = ("annotation_id", "annotator", "created_at", "updated_at", "lead_time")


class Annotation(NamedTuple):
    """The label that a person chose for a row.

    Attributes:
        row: number of the row, from the task's data; None where it has none.
        name: id of the row, likewise.
        label: the chosen class.
        annotator: who chose it, as text; '' if unknown.
        given: the label that the row was given, from the task's data; '' if it has none.
        proposed: the purified label that the task proposed, likewise.
    """

    row: int | None
    name: str | None
    label: str
    annotator: str
    given: str = ""
    proposed: str = ""


def label_studio_tasks(
    table: Issues,
    data: Mapping[str, Sequence[Any]],
    *,
    count: int | None = None,
    from_name: str = "label",
    to_name: str = "text",
) -> list[dict[str, Any]]:
    """Tasks with a prediction for rows of a table of issues, the most suspicious first.

    The prediction is the purified label; its score is `label_score`, so that Label Studio, which shows low
    scores first, begins with the most suspicious row.

    Args:
        table: see `issues`.
        data: by name, what the task shows of each row, [n] in the order of the data: texts, or addresses of
            images that Label Studio can open.
        count: number of tasks; all rows by default.
        from_name: name of the `Choices` tag.
        to_name: name of the tag that it belongs to.

    Returns:
        Tasks as JSON values; their data hold 'row', 'given_label', 'predicted_label' and, where known, 'id'.

    Raises:
        UserError: a column of `data` is too short.
    """
    chosen = table.index[:count]
    for name, values in data.items():
        if len(chosen) and int(chosen.max()) >= len(values):
            raise UserError(
                f"data[{name!r}] has {len(values)} entries but there is a row {int(chosen.max())}; give one "
                "for each row of the data"
            )
    tasks = []
    for place, row in enumerate(chosen):
        fields = {name: _json_value(values[int(row)]) for name, values in data.items()}
        fields |= {
            "row": int(row),
            "given_label": str(table.given_label[place]),
            "predicted_label": str(table.predicted_label[place]),
        }
        if table.ids is not None:
            fields["id"] = str(table.ids[place])
        choice = {
            "from_name": from_name,
            "to_name": to_name,
            "type": "choices",
            "value": {"choices": [str(table.predicted_label[place])]},
        }
        score = float(table.label_score[place])
        tasks.append(
            {"data": fields, "predictions": [{"model_version": MODEL, "score": score, "result": [choice]}]}
        )
    return tasks


def write_label_studio(path: str | Path, tasks: Sequence[Mapping[str, Any]]) -> None:
    """Writes tasks to a JSON file, whole or not at all, for Label Studio's import."""
    files.save_text(Path(path), json.dumps(list(tasks), indent=1, ensure_ascii=False) + "\n")


def read_label_studio(path: str | Path) -> list[Annotation]:
    """Reads an export of Label Studio: 'JSON', 'JSON-MIN' or 'CSV'.

    Tasks without annotation and cancelled ones are left out. A task that several people labelled gives
    several annotations.

    Raises:
        UserError: the file is no such export, or an annotation chose several classes.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                tasks: Any = list(csv.DictReader(file))
        else:
            tasks = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as an export of Label Studio ({error})") from error
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise UserError(f"{path} is no export of Label Studio: it holds no list of tasks; export JSON or CSV")
    found = []
    for number, task in enumerate(tasks):
        where = f"{path}, task {number}"
        found += _of_task(where, task) if "annotations" in task else _of_flat_task(where, task)
    return found


def _of_task(where: str, task: dict[str, Any]) -> list[Annotation]:
    """Annotations of a task of the full JSON export."""
    data = task.get("data") or {}
    found = []
    for annotation in task["annotations"]:
        if annotation.get("was_cancelled"):
            continue
        chosen = [item["value"]["choices"] for item in annotation.get("result", []) if _is_choice(item)]
        if not chosen:
            continue
        if len(chosen) > 1 or len(chosen[0]) != 1:
            raise UserError(
                f"{where}: an annotation chose {sum(map(len, chosen))} classes; a row has one, set "
                'choice="single" in the project'
            )
        who = annotation.get("completed_by", "")
        who = who.get("email", who.get("id", "")) if isinstance(who, dict) else who
        found.append(Annotation(_row(where, data), _name(data), str(chosen[0][0]), str(who), *_labels(data)))
    return found


def _of_flat_task(where: str, task: dict[str, Any]) -> list[Annotation]:
    """The annotation of a task of the exports JSON-MIN and CSV, whose label is a column."""
    if "annotation_id" not in task:
        raise UserError(
            f"{where} has neither 'annotations' nor 'annotation_id', so it is no export of Label Studio; "
            "export JSON, JSON-MIN or CSV"
        )
    known = {"row", "given_label", "predicted_label", "id", *_OWN}
    # The column of the choice has the name of its tag, 'label' by default.
    value = task.get("label", task.get("choice"))
    if value is None:
        others = sorted(name for name in task if name not in known)
        raise UserError(
            f"{where} has no column 'label'; call the Choices tag of the project 'label', or export JSON "
            f"(columns: {', '.join(others)})"
        )
    if isinstance(value, dict):
        value = value.get("choices", [])
    if isinstance(value, list) or (isinstance(value, str) and value.startswith("{")):
        raise UserError(f'{where} chose several classes; a row has one, set choice="single" in the project')
    if value == "":
        return []
    who = str(task.get("annotator", ""))
    return [Annotation(_row(where, task), _name(task, flat=True), str(value), who, *_labels(task))]


def _is_choice(item: dict[str, Any]) -> bool:
    return item.get("type") == "choices" and "choices" in item.get("value", {})


def _row(where: str, data: Mapping[str, Any]) -> int | None:
    value = data.get("row")
    if value in (None, ""):
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        raise UserError(f"{where}: row is {value!r}, which is no number of a row") from None


def _name(data: Mapping[str, Any], flat: bool = False) -> str | None:
    """The row's own id. In flat exports 'id' is the number of the task, unless there is no row number."""
    value = None if flat and data.get("row") not in (None, "") else data.get("id")
    return None if value in (None, "") else str(value)


def _labels(data: Mapping[str, Any]) -> tuple[str, str]:
    return str(data.get("given_label") or ""), str(data.get("predicted_label") or "")


def is_label_studio(path: str | Path) -> bool:
    """Whether a file is an export of Label Studio, by its name and its first bytes."""
    path = Path(path)
    if path.suffix.lower() == ".json":
        return True
    try:
        with path.open("rb") as file:
            return b"annotation_id" in file.readline(2**16)
    except OSError:
        return False


def label_studio_decisions(path: str | Path) -> str:
    """An export of Label Studio as decisions.csv, which `dmlp-purify --apply` takes.

    Raises:
        UserError: see `read_label_studio`; or a task was not made by `label_studio_tasks`.
    """
    found = read_label_studio(path)
    by_name = bool(found) and all(one.name is not None for one in found)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = ["index", "given_label", "predicted_label", "decision", "label"]
    writer.writerow(["id", *names] if by_name else names)
    for one in found:
        if not by_name and (one.row is None or not one.given or not one.proposed):
            raise UserError(
                f"{path}: a task's data lack row, given_label or predicted_label, so it is unclear which row "
                "was labelled; make the tasks by dmlp_jax.interop.label_studio_tasks"
            )
        row = "" if one.row is None else one.row
        fields = [row, one.given, one.proposed, "correct", one.label]
        writer.writerow([one.name, *fields] if by_name else fields)
    return file.getvalue()


def _json_value(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
