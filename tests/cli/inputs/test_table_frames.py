"""Tables as spreadsheets and tools write them, against the numbers that went in."""

import gzip

import numpy as np
import pandas
import pytest

from dmlp_jax.cli.inputs import tables
from dmlp_jax.errors import UserError

RNG = np.random.default_rng(0)
X = np.round(RNG.normal(size=(12, 3)) * 2000, 2)
DATA = pandas.DataFrame(X, columns=["a", "b", "c"]).assign(label=["cat", "dog, small", "NA"] * 4)


def check(path, **options):
    table = tables.read(path, **options)
    np.testing.assert_allclose(table.features, X, rtol=1e-6)
    assert table.labels.tolist() == DATA["label"].tolist()
    return table


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("t.csv", {"sep": ";", "decimal": ","}),
        ("t.csv", {"sep": ";"}),
        ("t.csv", {"sep": "\t"}),
        ("t.csv", {"sep": "|"}),
        ("t.tsv", {"sep": ","}),
        ("t.tsv", {"sep": "\t", "decimal": ","}),
        ("T.CSV", {}),
        ("t.csv.gz", {}),
        ("T.CSV.GZ", {"compression": "gzip"}),
        ("t.tsv.bz2", {"sep": "\t"}),
        ("t.csv", {"encoding": "utf-8-sig"}),
        ("t.csv", {"encoding": "utf-16", "sep": "\t"}),
        ("t.csv", {"lineterminator": "\r\n"}),
    ],
)
def test_tables_however_they_are_written(tmp_path, name, options):
    DATA.to_csv(tmp_path / name, index=False, **options)
    check(tmp_path / name)
    assert tables.read_column(tmp_path / name, None).tolist() == DATA["label"].tolist()


def test_points_between_thousands_and_a_line_that_names_the_separator(tmp_path):
    def german(value):
        return f"{value:,.2f}".replace(",", " ").replace(".", ",").replace(" ", ".")

    lines = ["sep=;", "a;b;c;label"]
    lines += [";".join([*map(german, row), label]) for row, label in zip(X, DATA["label"], strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    check(tmp_path / "t.csv")


def test_commas_in_quotes_and_semicolons_in_texts_change_no_separator(tmp_path):
    data = DATA.assign(text=["one; two; three", "a;b", "c"] * 4)
    data.to_csv(tmp_path / "t.csv", index=False)
    assert check(tmp_path / "t.csv").left_out == {"text": "text"}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_row_names_without_a_name_as_r_writes_them_and_separators_at_the_end(tmp_path, separator):
    lines = DATA.to_csv(index=False, sep=separator).splitlines()
    named = [lines[0], *(f"{row}{separator}{line}" for row, line in enumerate(lines[1:], start=1))]
    (tmp_path / "t.csv").write_text("\n".join(named) + "\n")
    check(tmp_path / "t.csv")
    ended = [lines[0], *(f"{line}{separator}" for line in lines[1:])]
    (tmp_path / "t.csv").write_text("\n".join(ended) + "\n")
    check(tmp_path / "t.csv")
    everywhere = [f"{line}{separator}" for line in lines]
    (tmp_path / "t.csv").write_text("\n".join(everywhere) + "\n")
    assert check(tmp_path / "t.csv").left_out == {"Unnamed: 4": "empty"}


def test_blanks_in_the_header(tmp_path):
    DATA.rename(columns={"a": " a", "label": " label "}).to_csv(tmp_path / "t.csv", index=False)
    assert check(tmp_path / "t.csv").columns == ("a", "b", "c")


def test_parquet_by_any_name_with_numbers_as_text_and_nullable_ones(tmp_path):
    pytest.importorskip("pyarrow")
    data = DATA.assign(a=DATA["a"].astype(str), b=DATA["b"].convert_dtypes())
    data.to_parquet(tmp_path / "T.PARQUET")
    check(tmp_path / "T.PARQUET")
    data.assign(code=[f"{row:03}" for row in range(12)]).to_parquet(tmp_path / "t.pq")
    assert check(tmp_path / "t.pq").left_out == {"code": "text"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", b"0.5,1.5,2.5\n1.5,2.5,3.5\n", "no names of columns.*0.5"),
        ("t.csv", "a,label\n1,Käse\n".encode("latin-1"), "not UTF-8.*save it as CSV in UTF-8"),
        ("t.csv.gz", b"no gzip", "cannot be read as a table"),
        ("t.csv.gz", gzip.compress(b"a,label\n1,x\n" * 99)[:-9], "cannot be read as a table"),
    ],
)
def test_tables_that_are_none(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        tables.read(tmp_path / name)
