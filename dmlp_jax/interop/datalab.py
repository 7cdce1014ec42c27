"""Reads the labels of cleanlab's Datalab (2.9), and adds purified labels to it as issues.

labels, class_names = datalab_labels(lab)
result = purify(features, labels, val)
add_to_datalab(lab, result)
lab.report()
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dmlp_jax.errors import UserError
from dmlp_jax.interop.issue_table import Issues, issues
from dmlp_jax.interop.libraries import require

# Type of the issues in a Datalab. It must not contain 'label', because get_issues('label') selects columns by
# that word.
ISSUE_NAME = "dmlp"


def datalab_labels(lab: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels of a Datalab as class indices [n], int32, and its class names in their order.

    Raises:
        UserError: the Datalab does not have one class label per row.
    """
    if not lab.has_labels or getattr(lab.task, "value", lab.task) != "classification":
        raise UserError("the Datalab has no class labels; give it label_name= and task='classification'")
    return np.asarray(lab.labels, np.int32), tuple(str(name) for name in lab.class_names)


def datalab_issues(result: Any, labels: np.ndarray, class_names: Sequence[str] | None = None) -> Any:
    """The DataFrame that `Datalab.get_issues('label')` would give, from purified labels.

    Args:
        result: the result of `purify`.
        labels: the given labels, class indices [n].
        class_names: names of the classes.

    Returns:
        A pandas DataFrame, a row per row of the data in its order: is_label_issue, label_score (the
        label quality: how likely the given label is right), given_label, predicted_label.

    Raises:
        UserError: the arguments do not match each other.
    """
    return _in_order(issues(result, labels, class_names))


def add_to_datalab(lab: Any, result: Any) -> None:
    """Adds purified labels to a Datalab as issues of the type 'dmlp', by a custom issue manager.

    `lab.get_issues('dmlp')` has is_dmlp_issue and dmlp_score (how likely the given label is right),
    `lab.get_info('dmlp')` also given_label and predicted_label; `lab.report()` shows them beside others.

    Args:
        lab: the Datalab.
        result: the result of `purify` for all rows of the Datalab, with the labels of `datalab_labels`.

    Raises:
        UserError: cleanlab is not installed, or the result does not match the Datalab.
    """
    factory = require("cleanlab.datalab.internal.issue_manager_factory")
    labels, class_names = datalab_labels(lab)
    table = datalab_issues(result, labels, class_names)
    if ISSUE_NAME not in factory.REGISTRY[lab.task]:
        factory.register(_issue_manager(), task="classification")
    lab.find_issues(issue_types={ISSUE_NAME: {"table": table}})
    # Datalab only prints errors of issue managers, so success is checked here.
    if f"is_{ISSUE_NAME}_issue" not in lab.issues:
        raise UserError("Datalab did not accept the issues; see the error that it printed")


def _in_order(found: Issues) -> Any:
    frame = found.frame.sort_index().reset_index(drop=True)
    return frame[["is_label_issue", "label_score", "given_label", "predicted_label"]]


def _issue_manager() -> type:
    base: Any = require("cleanlab.datalab.internal.issue_manager").IssueManager

    class PurifiedLabelIssueManager(base):
        """Adds a precomputed table of issues to a Datalab."""

        description = "Examples whose label the purifier of dmlp_jax replaced by a more probable one."
        issue_name = ISSUE_NAME

        def find_issues(self, *, table: Any = None, **_: Any) -> None:
            columns = {"is_label_issue": f"is_{ISSUE_NAME}_issue", "label_score": f"{ISSUE_NAME}_score"}
            self.issues = table[list(columns)].rename(columns=columns)
            # The summary score of cleanlab's own label issues: the share of rows without one.
            self.summary = self.make_summary(score=1 - float(table["is_label_issue"].mean()))
            self.info = self.collect_info(table)

        def collect_info(self, table: Any) -> dict[str, Any]:
            return {
                "num_dmlp_issues": int(table["is_label_issue"].sum()),
                "given_label": table["given_label"].tolist(),
                "predicted_label": table["predicted_label"].tolist(),
            }

    return PurifiedLabelIssueManager
