"""Writes purified labels and label quality into fields of a FiftyOne dataset.

add_to_fiftyone(dataset, issues(result, labels, class_names))
session = fiftyone.launch_app(dataset.sort_by("label_quality"))

Format: https://docs.voxel51.com/user_guide/using_datasets.html (Classification, set_values)
"""

from typing import Any

import numpy as np

from dmlp_jax.errors import UserError
from dmlp_jax.interop.issue_table import Issues
from dmlp_jax.interop.libraries import require


def add_to_fiftyone(
    dataset: Any, table: Issues, *, label: str = "purified", quality: str = "label_quality"
) -> None:
    """Sets two fields of every sample of a dataset or view.

    Args:
        dataset: as many samples as the table has rows, in the order of the data.
        table: see `issues`.
        label: field for the purified label, a `fiftyone.Classification` with its confidence.
        quality: field for how likely the given label is right, in [0, 1].

    Raises:
        UserError: fiftyone is not installed, or the number of samples is another.
    """
    fiftyone = require("fiftyone")
    if len(dataset) != len(table):
        raise UserError(
            f"the dataset has {len(dataset)} samples but the table has {len(table)} rows; give the view of "
            "the samples that were purified"
        )
    order = np.argsort(table.index)
    labels = [
        fiftyone.Classification(
            label=str(table.predicted_label[place]), confidence=float(table.confidence[place])
        )
        for place in order
    ]
    dataset.set_values(label, labels)
    dataset.set_values(quality, [float(table.label_score[place]) for place in order])
