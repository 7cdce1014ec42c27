"""Hands suspicious rows to Argilla (2.8) as records with a suggestion.

records = argilla_records(issues(result, labels, class_names), {"text": texts})
dataset.records.log(records)

The dataset's settings need these fields, a label question of the name `question`, and the metadata 'row' and
'label_quality'; records sorted by the latter begin with the most suspicious.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dmlp_jax.errors import UserError
from dmlp_jax.interop.issue_table import Issues
from dmlp_jax.interop.libraries import require

AGENT = "dmlp_jax"


def argilla_records(
    table: Issues, fields: Mapping[str, Sequence[Any]], *, question: str = "label", count: int | None = None
) -> list[Any]:
    """Records of rows of a table of issues, the most suspicious first.

    Args:
        table: see `issues`.
        fields: by name, what a record shows of each row, [n] in the order of the data.
        question: name of the label question; its suggestion is the purified label with its confidence.
        count: number of records; all rows by default.

    Returns:
        `argilla.Record`s; the id is the row's own, or its number.

    Raises:
        UserError: argilla is not installed, or a field is too short.
    """
    argilla = require("argilla")
    records = []
    for place, row in enumerate(int(index) for index in table.index[:count]):
        for name, values in fields.items():
            if row >= len(values):
                raise UserError(
                    f"fields[{name!r}] has {len(values)} entries but there is a row {row}; give one for each "
                    "row of the data"
                )
        suggestion = argilla.Suggestion(
            question,
            str(table.predicted_label[place]),
            score=float(table.confidence[place]),
            agent=AGENT,
        )
        records.append(
            argilla.Record(
                id=str(row if table.ids is None else table.ids[place]),
                fields={name: values[row] for name, values in fields.items()},
                metadata={
                    "row": row,
                    "given_label": str(table.given_label[place]),
                    "label_quality": float(table.label_score[place]),
                },
                suggestions=[suggestion],
            )
        )
    return records
