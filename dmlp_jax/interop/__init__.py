"""Converts labels from and to other tools: scikit-learn, cleanlab, Hugging Face, Label Studio, CSV, JSON.

Libraries such as cleanlab, datasets, argilla and fiftyone are imported by the functions that need them.
"""

from dmlp_jax.interop.argilla import argilla_records
from dmlp_jax.interop.datalab import add_to_datalab, datalab_issues, datalab_labels
from dmlp_jax.interop.fiftyone import add_to_fiftyone
from dmlp_jax.interop.huggingface import add_purified_columns, dataset_arrays
from dmlp_jax.interop.issue_table import Issues, issues
from dmlp_jax.interop.label_json import label_file_name, read_label_json, write_label_json
from dmlp_jax.interop.label_studio import label_studio_tasks, read_label_studio, write_label_studio

__all__ = [
    "Issues",
    "add_purified_columns",
    "add_to_datalab",
    "add_to_fiftyone",
    "argilla_records",
    "datalab_issues",
    "datalab_labels",
    "dataset_arrays",
    "issues",
    "label_file_name",
    "label_studio_tasks",
    "read_label_json",
    "read_label_studio",
    "write_label_json",
    "write_label_studio",
]
