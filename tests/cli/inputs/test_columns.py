"""Which columns become features, and what the user is told of it."""

import json

import numpy as np
import pandas
import pytest

from dmlp_jax.cli.inputs import columns, tables
from dmlp_jax.errors import UserError

ROWS = 60
RNG = np.random.default_rng(0)
LABELS = np.array(["ant", "bee", "cat"])[np.arange(ROWS) % 3]
X = RNG.normal(size=(ROWS, 2))


def read(folder, options=None, **extra):
    """A table of two features, a label and the columns `extra`, written and read as CSV."""
    data = pandas.DataFrame({"x": X[:, 0], "y1": X[:, 1], **extra, "label": LABELS})
    data.to_csv(folder / "t.csv", index=False)
    return tables.read(folder / "t.csv", **(options or {}))


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("Unnamed: 0", RNG.permutation(60000)[:ROWS], "row numbers"),
        ("", np.arange(ROWS) // 2, "row numbers"),
        ("__index_level_0__", RNG.permutation(900)[:ROWS], "row numbers"),
        ("Unnamed: 0.1", np.arange(ROWS) + 7, "row numbers"),
        ("customer_id", RNG.permutation(60000)[:ROWS], "row numbers"),
        ("rowId", RNG.permutation(60000)[:ROWS], "row numbers"),
        ("shuffled", RNG.permutation(ROWS) + 1, "row numbers"),
        ("note", ["a"] * ROWS, "text"),
        ("size", ["12.5"] * 30 + ["large"] + ["3"] * 29, "text such as 'large'"),
        ("count", ["1,234"] * 20 + ["7"] * 40, "text such as '1,234'"),
        ("nothing", [None] * ROWS, "empty"),
        ("label_id", np.arange(ROWS) % 3 * 10, "tells the label"),
        ("coarse", np.arange(ROWS) % 3 > 1, "tells the label"),
        ("fine", np.arange(ROWS) % 6, "tells the label"),
        ("mean_price", (np.arange(ROWS) % 3) / 7, "tells the label"),
        ("true_label", RNG.integers(3, size=ROWS), "another label"),
        ("target", RNG.integers(3, size=ROWS), "another label"),
    ],
)
def test_what_is_no_feature_is_named_with_the_reason(tmp_path, name, values, reason):
    table = read(tmp_path, **{name: values})
    assert table.columns == ("x", "y1")
    ((found, why),) = table.left_out.items()
    assert why == reason
    assert found == (name or "Unnamed: 2")
    line = columns.described(table.columns, table.left_out)
    assert "\n" not in line
    assert f"not used as features: {found!r} ({reason})" in line


@pytest.mark.parametrize(
    ("name", "values", "numbers"),
    [
        ("flag", np.arange(ROWS) % 5 > 2, (np.arange(ROWS) % 5 > 2) * 1.0),
        ("flag", ["True", "False", "False", "TRUE"] * 15, [1, 0, 0, 1] * 15),
        ("price", [f"{v:.3f}" for v in X[:, 0]], np.round(X[:, 0], 3)),
        ("price", [f" {v:.3e} " for v in X[:, 0]], [float(f"{v:.3e}") for v in X[:, 0]]),
        ("price", [f"{v:,.2f}" for v in 1e4 * X[:, 0]], np.round(1e4 * X[:, 0], 2)),
        ("price", [f"{v:.2f}".replace(".", ",") for v in X[:, 0]], np.round(X[:, 0], 2)),
        ("share", [f"{v:.2f}%" for v in X[:, 0]], np.round(X[:, 0], 2)),
        ("id", X[:, 0], X[:, 0]),
        ("age", np.arange(ROWS) // 4, np.arange(ROWS) // 4),
        ("noisy_code", np.where(np.arange(ROWS) == 7, 2, np.arange(ROWS) % 3), None),
        ("one", np.full(ROWS, 3), np.full(ROWS, 3)),
        ("label_area", X[:, 1], X[:, 1]),
    ],
)
def test_what_is_a_feature(tmp_path, name, values, numbers):
    table = read(tmp_path, **{name: values})
    assert table.columns == ("x", "y1", name)
    np.testing.assert_allclose(table.features[:, 2], values if numbers is None else numbers, rtol=1e-6)


@pytest.mark.parametrize(
    "written",
    [
        json.dumps,
        lambda row: str(tuple(row)).replace("(", "[").replace(")", "]"),
        lambda row: str(np.array(row)),
        lambda row: f"array({list(row)}, dtype=float32)",
        lambda row: f"tensor({list(row)})",
    ],
    ids=["json", "python", "numpy", "repr", "torch"],
)
def test_embeddings_as_text_are_lists_of_numbers(tmp_path, written):
    table = read(
        tmp_path, {"feature_columns": ("embedding",)}, embedding=[written(row) for row in X.tolist()]
    )
    np.testing.assert_allclose(table.features, X, rtol=1e-4)
    assert "embedding" in read(tmp_path, embedding=[written(row) for row in X.tolist()]).columns


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({5: "?"}, "'?' in row 5 .1 rows without a finite number.*median"),
        ({5: "", 8: ""}, "in row 5 .2 rows"),
        ({0: "-"}, "'-' in row 0"),
    ],
)
def test_missing_numbers_are_no_reason_to_drop_a_column(tmp_path, cells, words):
    values = [cells.get(row, f"{value:.3f}") for row, value in enumerate(X[:, 0])]
    with pytest.raises(UserError, match=f"column 'gap' of .*t.csv holds .*{words}"):
        read(tmp_path, gap=values)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("[0.1 0.2 ... 0.3]", "cut short when it was printed"),
        ("[0.1]", "row 4 is no list of 2 numbers as row 0 is"),
        ("[0.1, 'a']", "looks like a list but is none of numbers"),
        ("[[0.1, 0.2]]", "no flat list"),
        ("", "row 4 is empty"),
    ],
)
def test_a_list_that_is_none_is_named_by_its_row_in_a_short_message(tmp_path, cell, words):
    values = [json.dumps([*row]) for row in X.tolist()]
    values[4] = cell
    with pytest.raises(UserError, match=words) as caught:
        read(tmp_path, {"feature_columns": ("embedding",)}, embedding=values)
    assert "row 4" in str(caught.value)
    values[4] = "x" * 20000
    with pytest.raises(UserError, match="20,000 characters") as caught:
        read(tmp_path, {"feature_columns": ("embedding",)}, embedding=values)
    assert len(str(caught.value)) < 600


def test_columns_that_the_user_names_are_taken(tmp_path):
    code = np.arange(ROWS) % 3
    table = read(tmp_path, {"feature_columns": ("x", "code")}, code=code)
    assert table.columns == ("x", "code")
    assert table.left_out == {}
    assert columns.telling(table.features, LABELS).tolist() == [1]


def test_the_labels_of_another_file_decide(tmp_path):
    other = RNG.integers(3, size=ROWS)
    assert read(tmp_path, code=other).columns == ("x", "y1", "code")
    assert read(tmp_path, {"labels": other}, code=other * 2).left_out == {"code": "tells the label"}


def test_few_rows_agree_by_chance():
    assert columns.telling(np.arange(12)[:, None] % 2, np.arange(12) % 4).size == 0
    labels = np.arange(5000) % 4
    code = (labels[:, None] > 1) * 1.0
    assert columns.telling(code, labels).tolist() == [0]
    # A row that no sample sees.
    code[np.setdiff1d(np.arange(5000), np.linspace(0, 4999, 2000).astype(int))[0]] = 9
    assert columns.telling(code, labels).size == 0


def test_labels_that_are_lists_can_be_told_by_a_code_too(tmp_path):
    pytest.importorskip("pyarrow")
    codes = np.arange(ROWS) % 3
    data = pandas.DataFrame({"x": X[:, 0], "code": codes, "label": [[word] for word in LABELS]})
    data.to_parquet(tmp_path / "t.parquet")
    assert tables.read(tmp_path / "t.parquet").left_out == {"code": "tells the label"}
    one_hot = np.eye(3, dtype=int)[codes]
    assert columns.telling(codes[:, None], one_hot).tolist() == [0]
