import numpy as np
import pytest

from dmlp_jax.cli.inputs import arrays, input_files, labelled_rows
from dmlp_jax.cli.inputs.input_files import SAME, Sources
from dmlp_jax.errors import UserError
from tests.cli.inputs.table_files import frame, matrix, write

pandas = pytest.importorskip("pandas")


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
        "some": "dog -1 dog",
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
    assert rows.row_numbers.tolist() == list(range(12))
    assert rows.val_given_labels is None


def test_clean_rows_are_taken_out_of_the_noisy_ones(folder):
    features = np.load(folder / "f.npy")
    rows = load(folder, labels="y.txt", val_index="rows.txt", val_labels="w.txt")
    np.testing.assert_array_equal(rows.val_features, features[[11, 0, 4]])
    assert rows.val_labels.tolist() == [0, 1, 2]
    # What the file says of rows 11, 0 and 4: ant, cat, dog.
    assert rows.val_given_labels.tolist() == [0, 1, 2]
    assert rows.row_numbers.tolist() == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    np.testing.assert_array_equal(rows.features, features[rows.row_numbers])
    assert rows.labels.tolist() == np.array([1, 2, 0] * 4)[rows.row_numbers].tolist()


def test_labels_before_review_are_known_with_true_labels_in_a_file_of_their_own(folder):
    names = {"labels": "y.txt", "val_index": "rows.txt", "val_labels": "w.txt"}
    same, own = load(folder, **names, val_given_labels=SAME), load(folder, **names)
    assert same.val_given_labels.tolist() == own.val_given_labels.tolist() == [0, 1, 2]
    # A file for them counts more.
    rows = load(folder, **names, val_given_labels="some.txt")
    assert rows.val_given_labels.tolist() == [2, -1, 2]
    # LABELS alone holds the labels after review.
    assert load(folder, labels="y.txt", val_index="rows.txt").val_given_labels is None


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("dog\n\ncat\n", [2, -1, 1]),
        ("-1\ndog\n-1\n", [-1, 2, -1]),
        ("\n\n\n", None),
        ("-1\n-1\n-1\n", None),
    ],
)
def test_single_labels_before_review_may_be_unknown(folder, labels, expected):
    (folder / "g.txt").write_text(labels)
    rows = load(folder, labels="y.txt", val_features="v.npy", val_labels="w.txt", val_given_labels="g.txt")
    found = rows.val_given_labels
    assert (found if found is None else found.tolist()) == expected
    assert rows.class_names == ("ant", "cat", "dog")


@pytest.mark.parametrize(
    "labels", [np.array([2, -1, 0]), np.array([2, np.nan, 0]), np.array([b"2", b"", b"0"])], ids=str
)
def test_unknown_labels_of_an_array(folder, labels):
    np.save(folder / "g.npy", labels)
    np.save(folder / "y.npy", np.arange(12) % 3)
    np.save(folder / "w.npy", np.arange(3))
    rows = load(folder, labels="y.npy", val_features="v.npy", val_labels="w.npy", val_given_labels="g.npy")
    assert rows.val_given_labels.tolist() == [2, -1, 0]
    assert rows.val_given_labels.dtype == np.int32


@pytest.mark.parametrize("text", ["True\nfalse\nTrue\n", "1\n0\n1\n"])
def test_clean_rows_that_were_picked(folder, text):
    names = {"labels": "y.txt", "val_features": "v.npy", "val_labels": "w.txt"}
    assert load(folder, **names).val_random is None
    (folder / "r.txt").write_text(text)
    rows = load(folder, **names, val_random="r.txt")
    assert rows.val_random.dtype == bool
    assert rows.val_random.tolist() == [True, False, True]
    for wrong, words in (
        ("True\n", "each of the 3 clean rows; got 1"),
        ("1\n0\n2\n", "entry 2 is 2"),
        ("yes\nno\nyes\n", "True or False"),
    ):
        (folder / "r.txt").write_text(wrong)
        with pytest.raises(UserError, match=rf"r\.txt .*{words}"):
            load(folder, **names, val_random="r.txt")


def test_a_mistake_in_labels_before_review_is_named_by_its_row(folder):
    np.save(folder / "y.npy", np.arange(12) % 3)
    np.save(folder / "w.npy", np.arange(3))
    for wrong in (-2, 0.5):
        np.save(folder / "g.npy", np.array([-1, 1, wrong]))
        with pytest.raises(UserError, match=rf"val given labels\[2\] is {wrong}"):
            load(folder, labels="y.npy", val_features="v.npy", val_labels="w.npy", val_given_labels="g.npy")


def test_npz_with_names_truth_and_clean_rows(tmp_path):
    rng = np.random.default_rng(0)
    arrays_ = {
        "features": rng.normal(size=(6, 3)),
        "labels": np.array([0, 1, 2, 0, 1, 2]),
        "val_features": rng.normal(size=(3, 3)),
        "val_labels": np.array([2, 1, 0]),
        "val_given_labels": np.array([2, -1, 0]),
        "val_random": np.array([True, False, True]),
        "true_labels": np.array([0, 1, 2, 2, 1, 0]),
        "class_names": np.array(["zebra", "cat", "dog"]),
    }
    np.savez(tmp_path / "e.npz", **arrays_)
    rows = labelled_rows.load(Sources(tmp_path / "e.npz"))
    # The names are for the indices; they are not sorted.
    assert rows.class_names == ("zebra", "cat", "dog")
    for name in ("labels", "val_labels", "val_given_labels", "val_random", "true_labels"):
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
        ({"true_labels": np.zeros((6, 2), int)}, r"true_labels in .*e\.npz\[0\] has no label"),
        ({"val_random": np.ones(4, bool)}, r"val_random: shape \(4,\).* has 3 rows"),
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
        ({"labels": "y.txt", "val_labels": "w.txt"}, "--val-labels is of clean rows, but no clean rows"),
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
    monkeypatch.setattr(input_files, "_BLOCK", 32)
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


def test_minus_one_is_a_class_beside_one_and_no_unknown_label(folder):
    np.save(folder / "y.npy", np.where(np.arange(12) % 3 > 0, 1, -1))
    np.save(folder / "w.npy", np.array([1, -1, 1]))
    np.save(folder / "g.npy", np.array([-1, -1, 1]))
    rows = load(folder, labels="y.npy", val_features="v.npy", val_labels="w.npy", val_given_labels="g.npy")
    assert rows.class_names == ("-1", "1")
    assert rows.val_labels.tolist() == [1, 0, 1]
    assert rows.val_given_labels.tolist() == [0, 0, 1]


def test_one_hot_labels_of_files_and_archives(folder, tmp_path):
    codes = np.arange(12) % 3
    np.save(folder / "y.npy", np.eye(3)[codes])
    np.save(folder / "w.npy", np.eye(3, dtype=bool))
    rows = load(folder, labels="y.npy", val_features="v.npy", val_labels="w.npy")
    assert (rows.labels.tolist(), rows.val_labels.tolist()) == (codes.tolist(), [0, 1, 2])
    x = np.random.default_rng(0).normal(size=(12, 2))
    np.savez(
        tmp_path / "e.npz", features=x, labels=np.eye(3)[codes], val_features=x[:3], val_labels=np.eye(3)
    )
    rows = labelled_rows.load(Sources(tmp_path / "e.npz"))
    assert (rows.labels.tolist(), rows.val_labels.tolist()) == (codes.tolist(), [0, 1, 2])


def test_a_class_that_differs_in_a_blank_only_is_named_where_it_has_no_clean_row(folder):
    (folder / "y.txt").write_text("ant\ncat\ndog\ncat \n" * 3)
    with pytest.raises(UserError, match=r"none of class 'cat '.*'cat' and 'cat ' count as 2"):
        load(folder, labels="y.txt", val_features="v.npy", val_labels="w.txt")


def test_a_table_without_a_column_label_hears_which_one_may_be_meant(tmp_path):
    table = write(frame().rename(columns={"label": "Target"}).assign(noisy_label=1), tmp_path / "t.csv")
    with pytest.raises(UserError, match=r"--label-column \(perhaps 'Target', 'noisy_label'\)"):
        labelled_rows.load(Sources(table))
