"""What counts as texts and as images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dmlp_jax.embedding.inputs import Pictures, Texts, read
from dmlp_jax.errors import UserError

ARRAY = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)


@pytest.mark.parametrize(
    "rows",
    [
        ["one", "two", None],
        ("one", "two", float("nan")),
        np.array(["one", "two", ""]),
        pd.Series(["one", "two", None], dtype="string"),
        pd.Series(["one", "two", ""], dtype="category"),
        pd.DataFrame({"number": [1, 2, 3], "text": ["one", "two", None]}),
    ],
    ids=["list", "tuple", "array", "series", "category", "frame"],
)
def test_texts_of_any_kind(rows):
    assert read(rows) == Texts(("one", "two", ""))


def test_texts_of_polars():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"number": [1, 2], "text": ["one", None]})
    assert read(frame) == read(frame["text"]) == read(frame, "text") == Texts(("one", ""))


def test_columns_of_a_data_set():
    datasets = pytest.importorskip("datasets")
    kinds = {
        "text": datasets.Value("string"),
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["a"]),
    }
    data = datasets.Dataset.from_dict(
        {"text": ["one", "two"], "image": [Image.fromarray(row) for row in ARRAY], "label": [0, 0]},
        features=datasets.Features(kinds),
    )
    assert read(data["text"]) == read(data, "text") == Texts(("one", "two"))
    np.testing.assert_array_equal(read(data, "image").squares(4)[:], read(ARRAY).squares(4)[:])
    with pytest.raises(UserError, match="name the column"):
        read(data)
    assert read(data.remove_columns("text")).digest() == read(ARRAY).digest()


def test_images_of_any_kind_are_the_same(tmp_path):
    paths = []
    for number, row in enumerate(ARRAY):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(row).save(paths[-1])
    expected = read(ARRAY).squares(4)[:]
    assert expected.shape == (2, 4, 4, 3)
    for rows in (paths, [Image.open(path) for path in paths], list(ARRAY)):
        found = read(rows)
        assert isinstance(found, Pictures)
        np.testing.assert_array_equal(found.squares(4)[:], expected)
        np.testing.assert_array_equal(np.asarray(found.whole(1, 2)[0]), ARRAY[1])
        assert found.smallest_side() == 4


def test_grey_images_become_colour():
    grey = read(ARRAY[..., 0])
    np.testing.assert_array_equal(np.asarray(grey.whole(0, 1)[0]), np.repeat(ARRAY[0, ..., :1], 3, axis=2))


def test_the_digest_is_of_the_content(tmp_path):
    first, other = tmp_path / "a.png", tmp_path / "b.png"
    Image.fromarray(ARRAY[0]).save(first)
    other.write_bytes(first.read_bytes())
    assert read([first]).digest() == read([other]).digest()
    assert read(["ab", "c"]).digest() != read(["a", "bc"]).digest()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("one text", "a list of texts"),
        (Path("a.png"), "a list of texts"),
        ([], "no rows"),
        (np.zeros((0, 4, 4, 3), np.uint8), "no rows"),
        ([1, 2], "row 0 is int"),
        (["text", Path("a.png")], "row 0 is str"),
        (np.zeros((3, 4)), r"float64 \(3, 4\)"),
        (np.zeros((3, 4, 4, 3)), "uint8"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), "name the column"),
        (7, "not int"),
    ],
)
def test_other_rows_are_refused(rows, words):
    with pytest.raises(UserError, match=words):
        read(rows)


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(UserError, match="no column 'txt'; there are text"):
        read(pd.DataFrame({"text": ["x"]}), "txt")
    with pytest.raises(UserError, match="column='text' is for data frames"):
        read(["x"], "text")


def test_an_image_that_cannot_be_decoded_is_named(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"no image")
    rows = read([path])
    for use in (rows.smallest_side, lambda: rows.squares(8)[:], lambda: rows.whole(0, 1)):
        with pytest.raises(UserError, match=r"broken\.png"):
            use()
