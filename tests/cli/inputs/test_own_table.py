"""The user's own table, cell by cell unchanged."""

import numpy as np
import pytest

from dmlp_jax.cli.inputs import own_table
from dmlp_jax.errors import UserError

TEXT = 'code;text\n007;"a, ""b""\nc"\n1.50;NA\n;\n'.replace(";", ",")


def test_cells_come_back_as_they_were(tmp_path):
    (tmp_path / "t.csv").write_text(TEXT)
    table = own_table.read(tmp_path / "t.csv")
    assert table.texts("text", "texts").tolist() == ['a, "b"\nc', "NA", ""]
    table.write(
        tmp_path / "out.csv", {"label": np.array(["x", "y", None]), "score": np.array([0.25, np.nan, 1])}
    )
    assert (tmp_path / "out.csv").read_text() == (
        'code,text,label,score\n007,"a, ""b""\nc",x,0.250000\n1.50,NA,y,\n,,,1.000000\n'
    )


def test_columns_of_an_earlier_run_are_replaced(tmp_path):
    (tmp_path / "t.tsv").write_text("status\ttext\nold\ta\nold\tb\n")
    own_table.read(tmp_path / "t.tsv").write(tmp_path / "out.csv", {"status": np.array(["kept", "changed"])})
    assert (tmp_path / "out.csv").read_text() == "text,status\na,kept\nb,changed\n"


def test_a_table_of_other_rows_is_comma_separated(tmp_path):
    table = own_table.from_columns({"row": np.arange(2), "given_label": np.array(["a", "b\udcff"])})
    table.write(tmp_path / "out.csv", {"status": np.array(["kept", "clean"])})
    assert (tmp_path / "out.csv").read_text() == "row,given_label,status\n0,a,kept\n1,b\\udcff,clean\n"


def test_parquet_keeps_types_and_knows_missing_values(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"n": pyarrow.array([1, None], pyarrow.int8()), "text": ["a", None], "list": [[1.0], [2.0]]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    table = own_table.read(tmp_path / "t.parquet")
    assert table.texts("text", "texts").tolist() == ["a", ""]
    table.write(tmp_path / "o.parquet", {"score": np.array([0.5, np.nan])})
    found = parquet.read_table(tmp_path / "o.parquet")
    assert found.schema.field("n").type == pyarrow.int8()
    assert found.column("score").to_pylist() == [0.5, None]
    with pytest.raises(UserError, match=r"'list' of .* holds list in row 0"):
        table.texts("list", "texts")


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "cannot be read as a table"), ("a,b\n", "has no rows"), ('a\n"b', "cannot be read")],
)
def test_other_files_are_refused(tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        own_table.read(tmp_path / "t.csv")


def test_a_missing_column_is_named(tmp_path):
    (tmp_path / "t.csv").write_text(TEXT)
    with pytest.raises(UserError, match="no column 'txt' for the texts; did you mean 'text'"):
        own_table.read(tmp_path / "t.csv").texts("txt", "the texts")
