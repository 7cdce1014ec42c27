"""A table of issues of three rows, for tests."""

import numpy as np

from dmlp_jax.interop import Issues

TEXTS = ["a cat", "a dog", "an owl"]


def table_of_three():
    """Row 2 is the most suspicious: given 'dog', it shows an owl."""
    return Issues(
        index=np.array([2, 0, 1]),
        is_label_issue=np.array([True, False, False]),
        label_score=np.array([0.1, 0.8, 0.9]),
        given_label=np.array(["dog", "cat", "dog"]),
        predicted_label=np.array(["owl", "cat", "dog"]),
        confidence=np.array([0.9, 0.8, 0.9]),
        runner_up=np.array(["dog", "owl", "cat"]),
        ids=np.array(["x2", "x0", "x1"]),
    )
