import sys

import numpy as np
import pytest

from dmlp_jax.cli.inputs import tables
from dmlp_jax.errors import UserError
from tests.cli.inputs.table_files import frame, matrix, write

pandas = pytest.importorskip("pandas")


def test_csv_gives_all_numbers_but_labels_ids_and_row_numbers(tmp_path):
    data = frame().assign(name=[f"r{i}" for i in range(12)], flag=True, city="Bonn")
    data.to_csv(tmp_path / "t.csv")
    table = tables.read(tmp_path / "t.csv", id_column="name")
    assert table.columns == ("emb_0", "emb_1", "emb_2", "flag")
    assert table.left_out == {"Unnamed: 0": "row numbers", "city": "text"}
    np.testing.assert_allclose(table.features[:, :3], matrix(data), rtol=1e-6)
    # 'NA' is a class here, not a missing value.
    assert table.labels.tolist() == data["label"].tolist()
    assert table.ids.tolist() == data["name"].tolist()


def test_columns_by_name_and_by_beginning(tmp_path):
    path = write(frame().assign(other=1.5, emb=2.5), tmp_path / "t.csv")
    assert tables.read(path, feature_columns=("emb_",)).columns == ("emb_0", "emb_1", "emb_2")
    assert tables.read(path, feature_columns=("emb", "other")).columns == ("emb", "other")
    assert tables.read(path, feature_columns=("emb_2", "emb_")).columns == ("emb_2", "emb_0", "emb_1")
    assert "emb" in tables.read(path).columns


def test_a_column_of_numbers_from_one_is_no_feature_unless_asked_for(tmp_path):
    path = write(frame().assign(number=np.arange(1, 13)), tmp_path / "t.csv")
    assert tables.read(path).left_out == {"number": "row numbers"}
    assert tables.read(path, feature_columns=("number",)).columns == ("number",)


def test_tabs(tmp_path):
    path = write(frame(), tmp_path / "t.tsv", sep="\t")
    np.testing.assert_allclose(tables.read(path).features, matrix(frame()), rtol=1e-6)


def test_parquet_with_columns_and_with_lists(tmp_path):
    pytest.importorskip("pyarrow")
    data = frame()
    data.to_parquet(tmp_path / "t.parquet")
    np.testing.assert_array_equal(tables.read(tmp_path / "t.parquet").features, matrix(data))
    nested = pandas.DataFrame({"embedding": list(matrix(data)), "label": data["label"]})
    nested.to_parquet(tmp_path / "n.parquet")
    table = tables.read(tmp_path / "n.parquet")
    assert table.columns == ("embedding",)
    np.testing.assert_array_equal(table.features, matrix(data))
    nested.at[4, "embedding"] = np.zeros(2, np.float32)
    nested.to_parquet(tmp_path / "n.parquet")
    with pytest.raises(UserError, match="row 4 is no list of 3 numbers"):
        tables.read(tmp_path / "n.parquet")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"label_column": "lable"}, ["'lable'", "did you mean 'label'?"]),
        ({"id_column": "id"}, ["'id'", "the id column", "'emb_0'"]),
        ({"feature_columns": ("pixel",)}, ["'pixel'", "features"]),
        ({"feature_columns": ("text",)}, ["'text'", "'x0'", "row 0", "12 rows"]),
        ({"feature_columns": ("gap",)}, ["'gap'", "row 7", "1 rows"]),
        ({"feature_columns": ("huge",)}, ["'huge'", "row 0"]),
        ({"feature_columns": ()}, ["--feature-columns names no column"]),
        (
            {"feature_columns": ("label", "emb_")},
            ["names 'label'", "holds the labels", "cannot be a feature"],
        ),
        ({"feature_columns": ("city",), "label_column": "city"}, ["names 'city'", "holds the labels"]),
        ({"feature_columns": ("emb_0", "gap"), "id_column": "emb_0"}, ["'emb_0'", "holds the ids"]),
        ({"feature_columns": ("emb",), "exact": True}, ["no column 'emb'", "did you mean 'emb_"]),
    ],
)
def test_mistakes_in_columns(tmp_path, options, words):
    data = frame().assign(text=[f"x{i}" for i in range(12)], huge=1e300, city="Bonn")
    data["gap"] = np.where(np.arange(12) == 7, np.nan, 1.5)
    path = write(data, tmp_path / "t.csv")
    with pytest.raises(UserError) as caught:
        tables.read(path, **options)
    for word in [*words, "t.csv"] if options.get("feature_columns") != () else words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", 'a,"b\n1,2', "a,b\n", "label\ncat\n"], ids=["empty", "torn", "header", "no x"]
)
def test_unusable_tables(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=r"t\.csv"):
        tables.read(tmp_path / "t.csv")


def test_missing_table_and_other_encodings(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        tables.read(tmp_path / "none.csv")
    (tmp_path / "t.csv").write_bytes("a,label\n1,Käse\n".encode("latin-1"))
    with pytest.raises(UserError, match="cannot be read as a table"):
        tables.read(tmp_path / "t.csv")


def test_parquet_without_pyarrow_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"t\.parquet: parquet needs pyarrow.*pip install pyarrow"):
        tables.read(tmp_path / "t.parquet")
