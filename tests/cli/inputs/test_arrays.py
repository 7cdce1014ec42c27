import json

import numpy as np
import pytest

from dmlp_jax.cli.inputs import arrays, input_files
from dmlp_jax.data import row_subset
from dmlp_jax.errors import UserError
from tests.cli.inputs.table_files import write

pandas = pytest.importorskip("pandas")


def test_vectors_of_every_kind(tmp_path):
    np.save(tmp_path / "a.npy", np.array(["b", "a"]))
    (tmp_path / "a.txt").write_text("b\na\n")
    (tmp_path / "a.json").write_text('["b", "a"]')
    write(pandas.DataFrame({"label": ["b", "a"], "x": [1, 2]}), tmp_path / "a.csv")
    write(pandas.DataFrame({"animal": ["b", "a"]}), tmp_path / "one.csv")
    for name in ("a.npy", "a.txt", "a.json", "a.csv", "one.csv"):
        assert input_files.read_labels(tmp_path / name).tolist() == ["b", "a"], name
    np.save(tmp_path / "b.npy", np.array([["b"], ["a"]]))
    (tmp_path / "b.npy").rename(tmp_path / "B.NPY")
    (tmp_path / "lists.json").write_text('[["b"], ["a"]]')
    for name in ("B.NPY", "lists.json"):
        assert input_files.read_labels(tmp_path / name).tolist() == ["b", "a"], name
    with pytest.raises(UserError, match=r"unknown kind of file '\.xlsx'.*save it as CSV"):
        input_files.read_labels(tmp_path / "a.xlsx")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"a": 1}', "flat JSON list"),
        ("[1, [2]]", r"entry 1 is \[2\]"),
        ("[1,", "JSON"),
        ("[null]", "entry 0"),
    ],
)
def test_json_that_is_no_list_of_labels(tmp_path, content, words):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=words):
        arrays.read_vector(tmp_path / "a.json")


def test_files_that_numpy_cannot_read(tmp_path):
    np.save(tmp_path / "objects.npy", np.array(["a", None], object), allow_pickle=True)
    with pytest.raises(UserError, match="Python objects"):
        arrays.read_vector(tmp_path / "objects.npy")
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(UserError, match=r"text\.npy cannot be read"):
        arrays.read_matrix(tmp_path / "text.npy")
    np.save(tmp_path / "whole.npy", np.zeros((300, 100), np.float32))
    blob = (tmp_path / "whole.npy").read_bytes()
    for size in (5, 100, 50_000, 100_000):
        (tmp_path / "torn.npy").write_bytes(blob[:size])
        with pytest.raises(UserError, match=r"torn\.npy cannot be read"):
            arrays.read_matrix(tmp_path / "torn.npy")
    np.savez(tmp_path / "archive.npz", a=np.zeros((2, 2)))
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    with pytest.raises(UserError, match="archive of arrays"):
        arrays.read_matrix(tmp_path / "archive.npy")
    with pytest.raises(UserError, match="No such file"):
        arrays.read_matrix(tmp_path / "none.npy")


def test_large_features_stay_on_disk_and_so_do_some_of_their_rows(tmp_path, monkeypatch):
    features = np.random.default_rng(0).normal(size=(500, 40)).astype(np.float32)
    np.save(tmp_path / "f.npy", features)
    assert not isinstance(arrays.read_matrix(tmp_path / "f.npy"), np.memmap)
    monkeypatch.setattr(arrays, "total_memory", lambda: 4 * features.size * 10 - 10)
    on_disk = arrays.read_matrix(tmp_path / "f.npy")
    assert isinstance(on_disk, np.memmap)
    index = np.setdiff1d(np.arange(500), [0, 7, 8, 499])
    some = row_subset.take_rows(on_disk, index)
    assert isinstance(some, row_subset.RowSubset)
    assert some.shape == (496, 40)
    assert len(some) == 496
    np.testing.assert_array_equal(some[100:300], features[index][100:300])
    np.testing.assert_array_equal(some[450:900], features[index][450:])
    np.testing.assert_array_equal(some[3], features[index[3]])


def test_the_memory_of_a_control_group_counts(monkeypatch, tmp_path):
    machine = arrays.total_memory()
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "some").write_text("123456\n")
    monkeypatch.setattr(arrays, "_CGROUP_LIMITS", (str(tmp_path / "max"),))
    assert arrays.total_memory() >= machine
    monkeypatch.setattr(arrays, "_CGROUP_LIMITS", (str(tmp_path / "max"), str(tmp_path / "some")))
    assert arrays.total_memory() == 123456


def test_row_numbers_and_booleans(tmp_path):
    np.save(tmp_path / "i.npy", np.array([4, 0, 2]))
    assert arrays.read_row_index(tmp_path / "i.npy", 5).tolist() == [4, 0, 2]
    np.save(tmp_path / "b.npy", np.array([True, False, True, False, True]))
    assert arrays.read_row_index(tmp_path / "b.npy", 5).tolist() == [0, 2, 4]
    (tmp_path / "i.txt").write_text("4\n0\n2\n")
    assert arrays.read_row_index(tmp_path / "i.txt", 5).tolist() == [4, 0, 2]
    (tmp_path / "i.json").write_text("[true, false, true, false, true]")
    assert arrays.read_row_index(tmp_path / "i.json", 5).tolist() == [0, 2, 4]
    for text in ("True\nFalse\nTrue\nFalse\nTrue\n", "true\nfalse\nTRUE \nfalse\ntrue"):
        (tmp_path / "i.txt").write_text(text)
        assert arrays.read_row_index(tmp_path / "i.txt", 5).tolist() == [0, 2, 4]
    np.savetxt(tmp_path / "i.txt", [4, 0, 2])
    assert arrays.read_row_index(tmp_path / "i.txt", 5).tolist() == [4, 0, 2]
    (tmp_path / "i.txt").write_text("true\nfalse\n")
    with pytest.raises(UserError, match="2 booleans for 5 rows"):
        arrays.read_row_index(tmp_path / "i.txt", 5)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, 5], "entry 1 is row 5, but the rows are 0 to 4"),
        ([-1], "entry 0 is row -1"),
        ([1, 2, 1], "names row 1 2 times"),
        ([0.0, 1.0], "float64"),
        ([True, False], "2 booleans for 5 rows"),
        ([False] * 5, "at least one row"),
        (["one"], "row numbers"),
        (["true", "1"], "row numbers"),
        ([str(2**70)], "row numbers"),
    ],
)
def test_rows_that_do_not_exist(tmp_path, values, words):
    np.save(tmp_path / "i.npy", np.array(values))
    with pytest.raises(UserError, match=words):
        arrays.read_row_index(tmp_path / "i.npy", 5)


def test_json_labels_are_written_as_dividemix_does(tmp_path):
    (tmp_path / "0.5_sym.json").write_text(json.dumps([3, 0, 1]))
    assert arrays.read_vector(tmp_path / "0.5_sym.json").tolist() == [3, 0, 1]
