import numpy as np
import pytest

from dmlp_jax.cli.inputs import annotators
from dmlp_jax.errors import UserError

WIDE = "x,anna,ben,carl\n1,cat,cat,dog\n2,,dog,-1\n3,owl,,cat\n"
LONG = "id,who,label\nr0,ben,cat\nr2,anna,owl\nr0,anna,cat\nr1,ben,dog\nr0,carl,dog\nr2,carl,cat\n"
NAMES = ("anna", "ben", "carl")
CELLS = [["cat", "cat", "dog"], ["", "dog", ""], ["owl", "", "cat"]]


@pytest.fixture
def file(tmp_path):
    def write(text, name="t.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_columns_and_lines_say_the_same(file):
    wide = annotators.read_wide(file(WIDE), NAMES)
    long = annotators.read_long(file(LONG), np.array(["r0", "r1", "r2"]), "id", "who", None)
    for found in (wide, long):
        assert found.names == NAMES
        np.testing.assert_array_equal(found.cells, CELLS)
    # cat has three votes in all, owl one.
    np.testing.assert_array_equal(wide.majority(), ["cat", "dog", "cat"])
    votes = annotators.encode(wide, ("cat", "dog", "owl"), None)
    np.testing.assert_array_equal(votes, [[0, 0, 1], [-1, 1, -1], [2, -1, 0]])
    np.testing.assert_array_equal(annotators.majority(votes, 3), [0, 1, 0])


def test_names_in_the_option():
    assert annotators.named("a, b") == ("a", "b")
    assert annotators.named("label") == annotators.named(None) == ()


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        (WIDE, ("anna", "bem"), "no column 'bem'.*ben"),
        (WIDE, ("anna", "anna"), "twice"),
        (WIDE, ("anna", "carl"), "no annotator labelled row 1"),
        ("a,b\nx,\ny,\n", ("a", "b"), "annotator 'b' gave no label"),
    ],
)
def test_wide_tables_that_are_refused(file, text, names, message):
    with pytest.raises(UserError, match=message):
        annotators.read_wide(file(text), names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LONG + "r9,anna,cat\n", "line 8: id is 'r9', which names no row"),
        (LONG + "r0,anna,owl\n", "line 8: 'anna' labelled 'r0' twice, 'cat' and 'owl'"),
        ("id,who,label\nr0,anna,cat\n", "names 1 annotators"),
        ("id,annotator,label\nr0,anna,cat\n", "no column 'who'"),
    ],
)
def test_long_tables_that_are_refused(file, text, message):
    with pytest.raises(UserError, match=message):
        annotators.read_long(file(text), np.array(["r0", "r1", "r2"]), "id", "who", None)
