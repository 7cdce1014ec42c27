"""Pages on made-up rows, and what the tests of several of their parts do with them."""

import csv
import io

import numpy as np

from dmlp_jax.config import default_config
from dmlp_jax.data.types import Problem
from dmlp_jax.report import page
from tests.report.test_page import PURIFIER, make_result

HOSTILE = ('</script><script>window.hit = "label"</script>', "<!-- <script>", 'a,"b"\nc', "plain")


def make_page(path, rows, classes=HOSTILE, side=None, **options):
    """A report on made-up rows; the problem and the purified arrays that it shows."""
    rng = np.random.default_rng(0)
    given = rng.integers(len(classes), size=rows).astype(np.int32)
    labels = np.where(rng.random(rows) < 0.5, rng.integers(len(classes), size=rows), given).astype(np.int32)
    shape = (rows, 3) if side is None else (rows, side, side, 3)
    inputs = rng.integers(0, 256, size=shape)
    problem = Problem(
        train_inputs=inputs.astype(np.float32 if side is None else np.uint8),
        given_labels=given,
        true_labels=None,
        val_inputs=inputs[:4],
        val_labels=np.arange(4),
        val_given_labels=None,
        test_inputs=None,
        test_labels=None,
        class_names=classes,
    )
    # No two confidences are the same at the four digits that a page shows, as far as rows allow.
    confidence = rng.permutation(np.linspace(0.3, 0.9999, rows)).astype(np.float32)
    purified = {"labels": labels, "confidence": confidence, "changed": labels != given}
    purified["label_quality"] = rng.permutation(np.linspace(0.0, 0.9999, rows)).astype(np.float32)
    noise = np.full((len(classes), len(classes)), 1 / len(classes))
    config = options.pop("config", default_config())
    page.write(
        path, make_result(test={}), config, problem, purified, PURIFIER | {"transition": noise}, {},
        **options,
    )  # fmt: skip
    return problem, purified


def export(tab):
    with tab.expect_download() as waiting:
        tab.click("#review-export")
    assert waiting.value.suggested_filename == "decisions.csv"
    with open(waiting.value.path(), newline="", encoding="utf-8") as file:
        text = file.read()
    return text, list(csv.DictReader(io.StringIO(text, newline="")))


def suspicion(purified):
    """All rows, those whose given label is the least likely to be right first."""
    return np.argsort(purified["label_quality"], kind="stable")
