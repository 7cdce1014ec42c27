import json
import sys

import numpy as np
import pytest

from dmlp_jax.data import arrays, class_labels, labelled_rows, row_images, sources, tables
from dmlp_jax.data.sources import SAME, Sources
from dmlp_jax.errors import UserError

pandas = pytest.importorskip("pandas")


def frame(rows=12, width=3, seed=0):
    rng = np.random.default_rng(seed)
    columns = {f"emb_{i}": rng.normal(size=rows).astype(np.float32) for i in range(width)}
    return pandas.DataFrame({**columns, "label": ["cat", "dog", "NA"] * (rows // 3)})


def write(frame, path, **options):
    frame.to_csv(path, index=False, **options)
    return path


def matrix(frame, width=3):
    return frame[[f"emb_{i}" for i in range(width)]].to_numpy(np.float32)


def test_csv_gives_all_numbers_but_labels_ids_and_row_numbers(tmp_path):
    data = frame().assign(name=[f"r{i}" for i in range(12)], flag=True, city="Bonn")
    data.to_csv(tmp_path / "t.csv")
    table = tables.read(tmp_path / "t.csv", id_column="name")
    assert table.columns == ("emb_0", "emb_1", "emb_2")
    assert table.left_out == ("Unnamed: 0",)
    np.testing.assert_allclose(table.features, matrix(data), rtol=1e-6)
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
    assert tables.read(path).left_out == ("number",)
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
        ({"feature_columns": ("label", "emb_")}, ["names 'label'", "holds the labels", "no feature"]),
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


def test_without_pandas_the_extra_is_named(tmp_path, monkeypatch):
    path = write(frame(), tmp_path / "t.csv")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match=r"dmlp_jax\[tables\]"):
        tables.read(path)


def encode(**columns):
    return class_labels.encode({name: np.asarray(values) for name, values in columns.items()})


def test_names_are_classes_in_sorted_order():
    codes, names = encode(labels=["dog", "cat", "dog"], val=["ant", "dog", "cat"])
    assert names == ("ant", "cat", "dog")
    assert codes["labels"].tolist() == [2, 1, 2]
    assert codes["val"].tolist() == [0, 2, 1]
    assert codes["val"].dtype == np.int32


def test_numbers_are_in_the_order_of_their_values_however_they_are_written():
    for labels in ([10, 2, 0], ["10", "2", "0"], [10.0, 2.0, 0.0], ["10.0", "2", "0"], [b"10", b"2", b"0"]):
        codes, names = encode(labels=labels, val=np.array([0, 2, 10]))
        assert names == ("0", "2", "10")
        assert codes["labels"].tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    "labels",
    [
        [str(2**53), str(2**53 + 1), str(2**63 - 1)],
        [f"{2**53}.0", f"{2**53 + 1}.", str(2**63 - 1)],
        np.array([2**53, 2**53 + 1, 2**63 - 1], np.uint64),
        np.array([2**53, 2**53 + 1, np.int64(2**63 - 1)], object),
        np.array([2.0**53, 2**53 + 1, np.int64(2**63 - 1)], object),
    ],
    ids=["text", "text with points", "uint64", "objects", "objects and a float"],
)
def test_large_numbers_of_classes_stay_apart(labels):
    codes, names = encode(labels=labels)
    assert names == (str(2**53), str(2**53 + 1), str(2**63 - 1))
    assert codes["labels"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", ["i1", "u1", "i8", "f2", "f4", "O", "S1", "U1"])
def test_labels_of_any_type_of_number(dtype):
    codes, names = encode(labels=np.array([3, 0, 3]).astype(dtype))
    assert names == ("0", "3")
    assert codes["labels"].tolist() == [1, 0, 1]


def test_names_that_only_look_like_numbers_stay_names():
    codes, names = encode(labels=["007", "7", "07"])
    assert names == ("007", "07", "7")
    assert codes["labels"].tolist() == [0, 2, 1]
    assert encode(labels=[True, False])[1] == ("False", "True")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array(["a", "", "b", ""]), ["labels[1]", "2 such rows", "missing"]),
        (np.array(["a", None, "b"], object), ["labels[1]", "missing"]),
        (np.array(["a", float("nan")], object), ["labels[1]", "missing"]),
        (np.array(["a", pandas.NA], object), ["labels[1]", "missing"]),
        (np.array([0, 1, np.nan]), ["labels[2]", "missing"]),
        (np.array([0, 0.5]), ["labels[1]", "0.5", "regression"]),
        (np.array([0, np.inf]), ["labels[1]", "inf"]),
        (np.array(["0.5", "1.25"]), ["labels[0]", "0.5", "regression"]),
        (np.array([3, -1, -1]), ["labels[1]", "-1", "2 such rows"]),
        (np.array([["a"], ["b"]]), ["labels", "(2, 1)"]),
        (np.array([], str), ["labels", "(0,)"]),
        (np.array([1j, 2j]), ["labels", "complex"]),
        (np.array(["0", str(2**63)]), ["labels[1]", str(2**63), "largest class"]),
        (np.array(["0", "1" + "0" * 5000]), ["labels[1]", "largest class"]),
        (np.array([0, 2**63], np.uint64), ["labels[1]", str(2**63), "largest class"]),
        (np.array([0, 2**70], object), ["labels[1]", str(2**70), "largest class"]),
        (np.array([0.0, 2.0**63]), ["labels[1]", "largest class"]),
        (np.array([0, 0.5, 2**70], object), ["labels[1]", "0.5", "regression"]),
        (np.array([0, float("inf"), 2**70], object), ["labels[1]", "inf", "regression"]),
    ],
)
def test_labels_that_are_none(labels, words):
    with pytest.raises(UserError) as caught:
        encode(labels=labels)
    for word in words:
        assert word in str(caught.value)


def test_numbers_here_and_names_there():
    with pytest.raises(UserError, match="labels are numbers but val labels are names"):
        class_labels.encode({"labels": np.array([0, 1]), "val labels": np.array(["cat", "dog"])})


def test_given_number_of_classes_leaves_indices_alone():
    codes, names = class_labels.encode({"labels": np.array([0, 3])}, num_classes=4)
    assert names == ("0", "1", "2", "3")
    assert codes["labels"].tolist() == [0, 3]
    with pytest.raises(UserError, match=r"labels\[1\] is 4 .*0 to 3"):
        class_labels.encode({"labels": np.array([0, 4])}, num_classes=4)
    with pytest.raises(UserError, match="2 class names but num_classes is 3"):
        class_labels.encode({"labels": np.array(["a", "b"])}, num_classes=3)


def test_vectors_of_every_kind(tmp_path):
    np.save(tmp_path / "a.npy", np.array(["b", "a"]))
    (tmp_path / "a.txt").write_text("b\na\n")
    (tmp_path / "a.json").write_text('["b", "a"]')
    write(pandas.DataFrame({"label": ["b", "a"], "x": [1, 2]}), tmp_path / "a.csv")
    write(pandas.DataFrame({"animal": ["b", "a"]}), tmp_path / "one.csv")
    for name in ("a.npy", "a.txt", "a.json", "a.csv", "one.csv"):
        assert sources.read_labels(tmp_path / name).tolist() == ["b", "a"], name
    with pytest.raises(UserError, match=r"unknown kind of file '\.xlsx'"):
        sources.read_labels(tmp_path / "a.xlsx")


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
    some = arrays.take_rows(on_disk, index)
    assert isinstance(some, arrays.RowSubset)
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


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "f.npy", rng.normal(size=(12, 4)).astype(np.float32))
    np.save(tmp_path / "v.npy", rng.normal(size=(3, 4)).astype(np.float32))
    np.save(tmp_path / "narrow.npy", np.zeros((3, 2), np.float32))
    np.save(tmp_path / "flat.npy", np.zeros(12, np.float32))
    np.save(tmp_path / "empty.npy", np.zeros((0, 4), np.float32))
    for name, text in {
        "y": "cat dog ant " * 4,
        "short": "cat dog ant",
        "w": "ant cat dog",
        "two": "ant cat cat",
        "one": "cat " * 12,
        "onew": "cat " * 3,
        "new": "cat dog emu",
        "rows": "11 0 4",
        "every": " ".join(map(str, range(12))),
    }.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(text.split()) + "\n")
    return tmp_path


def load(folder, features="f.npy", **names):
    return labelled_rows.load(
        Sources(
            folder / features, **{key: folder / name if name != SAME else SAME for key, name in names.items()}
        )
    )


def test_clean_rows_of_a_file_of_their_own(folder):
    rows = load(folder, labels="y.txt", val_features="v.npy", val_labels="w.txt")
    assert rows.class_names == ("ant", "cat", "dog")
    assert rows.labels.tolist() == [1, 2, 0] * 4
    assert rows.val_labels.tolist() == [0, 1, 2]
    assert rows.index.tolist() == list(range(12))
    assert rows.val_given_labels is None


def test_clean_rows_are_taken_out_of_the_noisy_ones(folder):
    features = np.load(folder / "f.npy")
    rows = load(folder, labels="y.txt", val_index="rows.txt", val_labels="w.txt", val_given_labels=SAME)
    np.testing.assert_array_equal(rows.val_features, features[[11, 0, 4]])
    assert rows.val_labels.tolist() == [0, 1, 2]
    # What the file says of rows 11, 0 and 4: ant, cat, dog.
    assert rows.val_given_labels.tolist() == [0, 1, 2]
    assert rows.index.tolist() == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    np.testing.assert_array_equal(rows.features, features[rows.index])
    assert rows.labels.tolist() == np.array([1, 2, 0] * 4)[rows.index].tolist()


def test_npz_with_names_truth_and_clean_rows(tmp_path):
    rng = np.random.default_rng(0)
    arrays_ = {
        "features": rng.normal(size=(6, 3)),
        "labels": np.array([0, 1, 2, 0, 1, 2]),
        "val_features": rng.normal(size=(3, 3)),
        "val_labels": np.array([2, 1, 0]),
        "val_given_labels": np.array([2, 2, 0]),
        "true_labels": np.array([0, 1, 2, 2, 1, 0]),
        "class_names": np.array(["zebra", "cat", "dog"]),
    }
    np.savez(tmp_path / "e.npz", **arrays_)
    rows = labelled_rows.load(Sources(tmp_path / "e.npz"))
    # The names are for the indices; they are not sorted.
    assert rows.class_names == ("zebra", "cat", "dog")
    for name in ("labels", "val_labels", "val_given_labels", "true_labels"):
        assert getattr(rows, name).tolist() == arrays_[name].tolist()
    for change, words in (
        ({"class_names": np.array(["a", "b"])}, "2 class_names"),
        ({"class_names": np.array("zebra")}, r"class_names in .*e\.npz has shape \(\)"),
        ({"class_names": np.zeros(0, np.str_)}, r"class_names in .*e\.npz has shape \(0,\)"),
        ({"class_names": np.array(["a", "b", "a"])}, r"class_names in .*e\.npz holds 'a' 2 times"),
        (
            {"true_labels": np.zeros(7, int)},
            r"true_labels in .*e\.npz: shape \(7,\), but features has 6 rows",
        ),
        ({"true_labels": np.zeros(5, int)}, r"true_labels in .*e\.npz: shape \(5,\)"),
        ({"true_labels": np.zeros((6, 1), int)}, r"true_labels in .*e\.npz: shape \(6, 1\)"),
        ({"val_features": np.zeros(3)}, "matrix"),
    ):
        np.savez(tmp_path / "e.npz", **{**arrays_, **change})
        with pytest.raises(UserError, match=words):
            labelled_rows.load(Sources(tmp_path / "e.npz"))


def test_the_clean_table_gives_the_same_columns(tmp_path):
    noisy = write(frame().assign(extra=1.5), tmp_path / "n.csv")
    clean = write(
        frame(3, seed=1)[["emb_2", "emb_1", "emb_0", "label"]].assign(extra=2.5), tmp_path / "c.csv"
    )
    rows = labelled_rows.load(Sources(noisy, val_features=clean))
    np.testing.assert_allclose(rows.val_features[:, :3], matrix(frame(3, seed=1)), rtol=1e-6)
    clean = write(frame(3, seed=1), tmp_path / "c.csv")
    with pytest.raises(UserError, match=r"c\.csv has no column 'extra'"):
        labelled_rows.load(Sources(noisy, val_features=clean))


def test_a_column_of_the_noisy_rows_is_not_found_in_a_longer_name(tmp_path):
    rng = np.random.default_rng(0)

    def table(name, columns, rows):
        data = pandas.DataFrame(rng.normal(size=(rows, 2)), columns=columns)
        return write(data.assign(label=["cat", "dog", "ant"] * (rows // 3)), tmp_path / name)

    noisy, clean = table("n.csv", ["f1", "f10"], 12), table("c.csv", ["f10", "f11"], 3)
    for wanted in (None, ("f",), ("f1", "f10")):
        with pytest.raises(UserError, match=r"c\.csv has no column 'f1'"):
            labelled_rows.load(Sources(noisy, val_features=clean, feature_columns=wanted))


def test_labels_in_a_file_of_their_own_need_no_column_in_the_features_table(tmp_path):
    noisy, clean = frame().rename(columns={"label": "species"}), frame(3, seed=1)
    features = write(noisy.drop(columns="species"), tmp_path / "f.csv")
    given = write(noisy[["species"]].assign(sure=0.5), tmp_path / "g.csv")
    val = write(clean.drop(columns="label"), tmp_path / "v.csv")
    val_labels = write(clean[["label"]].rename(columns={"label": "species"}), tmp_path / "w.csv")
    sources_ = Sources(features, given, val, val_labels, label_column="species")
    rows = labelled_rows.load(sources_)
    assert [rows.class_names[label] for label in rows.labels] == noisy["species"].tolist()
    np.testing.assert_allclose(rows.val_features, matrix(clean), rtol=1e-6)
    # Without these files the column is asked for, in the table where it is missing.
    with pytest.raises(UserError, match=r"f\.csv has no column 'species'"):
        labelled_rows.load(Sources(features, None, val, val_labels, label_column="species"))
    with pytest.raises(UserError, match=r"v\.csv has no column 'species'"):
        labelled_rows.load(Sources(features, given, val, label_column="species"))
    # The column of labels is for the file of labels, whatever the features come as.
    np.save(tmp_path / "f.npy", matrix(noisy))
    np.save(tmp_path / "v.npy", matrix(clean))
    plain = Sources(tmp_path / "f.npy", given, tmp_path / "v.npy", val_labels, label_column="species")
    np.testing.assert_array_equal(labelled_rows.load(plain).labels, rows.labels)


def test_labels_are_no_feature_where_a_file_has_better_ones(tmp_path):
    noisy, clean = frame(), frame(3, seed=1).assign(species=[0, 1, 2])
    (tmp_path / "w.txt").write_text("ant\nNA\ndog\n")
    (tmp_path / "y.txt").write_text("ant\nNA\ndog\n" * 4)
    features = write(noisy.assign(species=np.arange(12) % 5), tmp_path / "f.csv")
    val = write(clean, tmp_path / "v.csv")
    rows = labelled_rows.load(
        Sources(features, tmp_path / "y.txt", val, tmp_path / "w.txt", label_column="species")
    )
    np.testing.assert_allclose(rows.features, matrix(noisy), rtol=1e-6)
    np.testing.assert_allclose(rows.val_features, matrix(clean), rtol=1e-6)
    assert rows.class_names == ("NA", "ant", "dog")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"val_features": "v.npy", "val_labels": "w.txt"}, "holds no labels; name their file"),
        ({"labels": "y.txt"}, "no clean rows"),
        ({"labels": "y.txt", "val_features": "v.npy"}, "give them with --val-labels"),
        ({"labels": "short.txt", "val_index": "rows.txt"}, r"short\.txt: shape \(3,\).*12 rows"),
        ({"labels": "y.txt", "val_features": "v.npy", "val_labels": "y.txt"}, r"val labels: shape \(12,\)"),
        ({"labels": "y.txt", "val_features": "narrow.npy", "val_labels": "w.txt"}, "2 columns.* 4"),
        ({"labels": "y.txt", "val_features": "v.npy", "val_index": "rows.txt"}, "not both"),
        ({"labels": "y.txt", "val_index": "every.txt"}, "names every row"),
        ({"labels": "y.txt", "val_index": "rows.txt", "val_labels": "two.txt"}, "none of class 'dog'"),
        ({"labels": "y.txt", "val_index": "rows.txt", "val_labels": "new.txt"}, "none of class 'ant'"),
        ({"labels": "one.txt", "val_features": "v.npy", "val_labels": "onew.txt"}, "at least two classes"),
        ({"labels": "y.txt", "val_index": "rows.txt", "val_given_labels": SAME}, "needs --val-labels"),
        (
            {"labels": "y.txt", "val_features": "v.npy", "val_labels": "w.txt", "val_given_labels": SAME},
            "needs a file",
        ),
        ({"features": "flat.npy", "labels": "y.txt", "val_index": "rows.txt"}, r"matrix.*\(12,\)"),
        ({"features": "empty.npy", "labels": "y.txt", "val_index": "rows.txt"}, r"matrix.*\(0, 4\)"),
        ({"features": "f.pkl", "labels": "y.txt"}, r"unknown kind of file '\.pkl'"),
    ],
)
def test_combinations_that_make_no_problem(folder, names, words):
    with pytest.raises(UserError, match=words):
        load(folder, **names)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("mapped", [False, True])
def test_what_is_not_finite_is_named_by_the_row_of_its_file(tmp_path, monkeypatch, dtype, mapped):
    # Blocks of four rows.
    monkeypatch.setattr(sources, "_BLOCK", 32)
    if mapped:
        monkeypatch.setattr(arrays, "total_memory", lambda: 1000)
        monkeypatch.setattr(arrays, "_SMALL", 0)
    rng = np.random.default_rng(0)
    whole, val = rng.normal(size=(300, 8)).astype(dtype), rng.normal(size=(6, 8)).astype(dtype)
    (tmp_path / "y.txt").write_text("ant\ncat\n" * 150)
    (tmp_path / "w.txt").write_text("ant\ncat\n" * 3)
    (tmp_path / "rows.txt").write_text("\n".join(map(str, range(41))))
    features, val_features = tmp_path / "f.npy", tmp_path / "v.npy"
    among = Sources(features, tmp_path / "y.txt", val_index=tmp_path / "rows.txt")
    apart = Sources(features, tmp_path / "y.txt", val_features, tmp_path / "w.txt")
    inside = Sources(tmp_path / "e.npz")
    labels = {"labels": np.arange(300) % 2, "val_labels": np.arange(6) % 2}

    def store(features_, val_):
        np.save(features, features_)
        np.save(val_features, val_)
        np.savez(tmp_path / "e.npz", features=features_, val_features=val_, **labels)

    store(whole, val)
    for problem in (among, apart, inside):
        labelled_rows.load(problem)
    bad = whole.copy()
    bad[100, 0], bad[299, 7] = np.nan, np.inf
    store(bad, val)
    for problem in (among, apart, inside):
        with pytest.raises(UserError, match=r"row 100, column 0 is nan.*\(2 of 300 rows") as caught:
            labelled_rows.load(problem)
        assert str(problem.features) in str(caught.value)
    # A clean row, once among the others and once in a file of its own.
    bad, bad_val = whole.copy(), val.copy()
    bad[5, 1], bad_val[5, 7] = -np.inf, np.nan
    store(bad, val)
    with pytest.raises(UserError, match=r"f\.npy: row 5, column 1 is -inf"):
        labelled_rows.load(among)
    store(whole, bad_val)
    with pytest.raises(UserError, match=r"v\.npy: row 5, column 7 is nan"):
        labelled_rows.load(apart)
    with pytest.raises(UserError, match=r"val_features in .*e\.npz: row 5, column 7 is nan.*1 of 6 rows"):
        labelled_rows.load(inside)


def test_features_that_are_no_numbers_or_no_float32(folder):
    for values, words in (
        (np.full((12, 4), "a"), r"f\.npy must hold real numbers, not <U1"),
        (np.eye(12, 4, dtype=complex), r"f\.npy must hold real numbers, not complex128"),
        (1e300 * np.eye(12, 4), r"f\.npy: row 0, column 0 is 1e\+300.*4 of 12 rows.*float32"),
    ):
        np.save(folder / "f.npy", values)
        with pytest.raises(UserError, match=words):
            load(folder, labels="y.txt", val_index="rows.txt")
    np.save(folder / "f.npy", np.eye(12, 4, dtype=np.int16))
    assert load(folder, labels="y.txt", val_index="rows.txt").features.dtype == np.int16


def test_options_of_tables_are_refused_elsewhere(folder):
    with pytest.raises(UserError, match="--id-column is for tables"):
        labelled_rows.load(Sources(folder / "f.npy", id_column="name"))


@pytest.fixture
def images(tmp_path):
    from PIL import Image

    for name in ("a.png", "b.jpg", "deep/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (400, 200), "red").save(tmp_path / name)
    return tmp_path


def test_images_by_name_with_and_without_suffix(images):
    paths = row_images.find(images, 3, np.array(["deep/c.png", "a", "b.jpg"]))
    assert [path.name for path in paths] == ["c.png", "a.png", "b.jpg"]
    with pytest.raises(UserError, match=r"row 1 is '\.\./a\.png'"):
        row_images.find(images / "deep", 2, np.array(["c", "../a.png"]))
    with pytest.raises(UserError, match="2 image names for 3 rows"):
        row_images.find(images, 3, np.array(["a", "b"]))


def test_images_in_order_where_there_is_one(images):
    assert [path.name for path in row_images.find(images, 2)] == ["a.png", "b.jpg"]
    with pytest.raises(UserError, match=r"2 images .* for 3 rows"):
        row_images.find(images, 3)
    for name in ("x2.png", "x10.png"):
        (images / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"is x10\.png or x2\.png the image of row 2"):
        row_images.find(images, 4)
    with pytest.raises(UserError, match="no folder"):
        row_images.find(images / "none", 4)


def test_thumbnails_are_small_and_a_damaged_image_is_none(images):
    assert row_images.thumbnail(images / "a.png").shape == (80, 160, 3)
    (images / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert row_images.thumbnail(images / "a.png") is None


def test_json_labels_are_written_as_dividemix_does(tmp_path):
    (tmp_path / "0.5_sym.json").write_text(json.dumps([3, 0, 1]))
    assert arrays.read_vector(tmp_path / "0.5_sym.json").tolist() == [3, 0, 1]
