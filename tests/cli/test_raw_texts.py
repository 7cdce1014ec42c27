"""`dmlp-purify` on a table of texts, without clean rows, with clean rows, and after a review."""

import csv
import json
import os
import signal
import time

import numpy as np
import pandas as pd
import pytest

from dmlp_jax.cli import command
from dmlp_jax.embedding import loaders
from tests.cli.kit import read_issues, run

SUBJECTS = {
    "ships": ["ship", "sail", "harbour", "sea", "anchor", "captain", "deck"],
    "cats": ["cat", "purr", "whisker", "paw", "fur", "mouse", "kitten"],
    "bread": ["bread", "flour", "oven", "crust", "yeast", "dough", "baker"],
}
NAMES = np.array(list(SUBJECTS))
WRONG = 45


@pytest.fixture(scope="module")
def texts():
    """A table of 300 texts with wrong labels, and the true ones."""
    rng = np.random.default_rng(0)
    true = np.arange(300) % 3
    rows = [
        " ".join([*rng.choice(SUBJECTS[NAMES[label]], 5), *rng.choice(["the", "a", "old"], 3)])
        for label in true
    ]
    given = true.copy()
    wrong = rng.choice(300, WRONG, replace=False)
    given[wrong] = (true[wrong] + rng.integers(1, 3, WRONG)) % 3
    frame = pd.DataFrame({"code": [f"{row:04}" for row in range(300)], "text": rows, "kind": NAMES[given]})
    return frame, true


@pytest.fixture(scope="module")
def folder(tmp_path_factory, texts):
    root = tmp_path_factory.mktemp("texts")
    frame, true = texts
    frame.to_csv(root / "data.csv", index=False)
    clean = np.random.default_rng(1).choice(300, 60, replace=False)
    (root / "clean.txt").write_text("\n".join(frame["code"][clean].map("row {}".format)))
    frame.assign(code="row " + frame["code"]).to_csv(root / "named.csv", index=False)
    (root / "right.txt").write_text("\n".join(NAMES[true[clean]]))
    return root


def words(folder, *more, table="data.csv", out="out"):
    return [str(folder / table), "--text=text", "--label=kind", f"--out={folder / out}", *more]


@pytest.fixture(scope="module")
def first(folder):
    """A run without clean rows."""
    assert command.main(words(folder, out="first")) == 0
    return folder / "first"


def test_without_clean_rows_labels_are_ranked_and_kept(first, texts):
    frame, true = texts
    table = pd.read_csv(first / "purified.csv", dtype={"code": str})
    assert list(table.columns) == [*frame.columns, "purified_label", "confidence", "label_quality", "status"]
    pd.testing.assert_frame_equal(table[frame.columns].astype(object), frame.astype(object))
    assert (table["purified_label"] == table["kind"]).all()
    assert set(table["status"]) == {"kept"}
    assert table["confidence"].isna().all()
    wrong = frame["kind"].to_numpy() != NAMES[true]
    first_rows = np.argsort(table["label_quality"].to_numpy(), kind="stable")[:WRONG]
    assert wrong[first_rows].mean() > 0.9
    issues = read_issues(first / "issues.csv")
    assert [int(row["index"]) for row in issues[:WRONG]] == first_rows.tolist()
    assert {row["runner_up"] for row in issues} <= set(NAMES)


def test_without_clean_rows_nothing_is_claimed(first, capsys):
    summary = json.loads((first / "summary.json").read_text())
    assert summary["first_look"] is True
    assert summary["held_out"] == {}
    assert summary["noise"]["estimated_flip_rate"] is None
    page = (first / "report.html").read_text()
    assert "How many labels are wrong is not known before some rows are reviewed" in page
    assert "held-out" not in page.split("<script")[0]


def test_the_next_step_is_told_and_can_be_taken(folder, texts, first, capsys):
    """Decisions as the page exports them, of twenty rows of each class."""
    frame, true = texts
    assert command.main(words(folder, out="told")) == 0
    assert "--apply decisions.csv" in capsys.readouterr().out
    rows = np.random.default_rng(2).choice(300, 60, replace=False)
    lines = [["index", "given_label", "predicted_label", "decision", "label", "picked"]]
    lines += [
        [row, frame["kind"][row], NAMES[true[row]], "accept", NAMES[true[row]], "random"] for row in rows
    ]
    with open(folder / "decisions.csv", "w", newline="") as file:
        csv.writer(file).writerows(lines)
    assert command.main(words(folder, f"--apply={folder / 'decisions.csv'}", out="applied")) == 0
    table = pd.read_csv(folder / "applied" / "purified.csv")
    assert (table["status"][rows] == "reviewed").all()
    assert (table["purified_label"][rows] == NAMES[true[rows]]).all()
    np.testing.assert_array_equal(table["label_quality"][rows], frame["kind"][rows] == NAMES[true[rows]])
    assert np.mean(table["purified_label"] == NAMES[true]) > 0.95
    assert "changed" in set(table["status"])


def test_reviewed_rows_of_some_classes_do_not_change_labels_yet(folder, texts, capsys):
    frame, true = texts
    row = int(np.flatnonzero(frame["kind"] != NAMES[true])[0])
    text = (
        f"index,given_label,predicted_label,decision\n{row},{frame['kind'][row]},{NAMES[true[row]]},accept\n"
    )
    (folder / "one.csv").write_text(text)
    assert command.main(words(folder, f"--apply={folder / 'one.csv'}", out="one")) == 0
    assert "review at least one row of each" in capsys.readouterr().out
    table = pd.read_csv(folder / "one" / "purified.csv")
    assert table["status"].value_counts().to_dict() == {"kept": 299, "reviewed": 1}
    assert table["purified_label"][row] == NAMES[true[row]]


def test_clean_rows_may_be_named_by_id(folder, texts):
    true = texts[1]
    more = ["--id-column=code", f"--val-index={folder / 'clean.txt'}", f"--val-labels={folder / 'right.txt'}"]
    assert command.main(words(folder, *more, table="named.csv", out="named")) == 0
    table = pd.read_csv(folder / "named" / "purified.csv")
    clean = [int(line.split()[1]) for line in (folder / "clean.txt").read_text().splitlines()]
    assert (table["status"][clean] == "clean").all()
    assert (table["purified_label"][clean] == NAMES[true[clean]]).all()
    assert np.mean(table["purified_label"] == NAMES[true]) > 0.95
    assert read_issues(folder / "named" / "issues.csv")[0]["id"].startswith("row ")
    assert np.load(folder / "named" / "purifier.npz", allow_pickle=False)["class_names"].tolist() == sorted(
        NAMES
    )


@pytest.mark.slow
def test_clean_texts_of_a_file_of_their_own_get_the_same_encoder(folder, texts):
    frame, true = texts
    frame.assign(kind=NAMES[true])[:60].to_csv(folder / "clean.csv", index=False)
    more = [f"--val-features={folder / 'clean.csv'}"]
    assert command.main(words(folder, *more, out="apart")) == 0
    assert len(list((folder / "apart" / "embedding").iterdir())) == 2
    assert len(pd.read_csv(folder / "apart" / "purified.csv")) == 300


def test_a_parquet_table_comes_back_with_its_types(folder, texts):
    pytest.importorskip("pyarrow")
    frame = texts[0].assign(number=np.arange(300, dtype=np.int16), when=pd.Timestamp("2020-01-01"))
    frame.to_parquet(folder / "data.parquet")
    assert command.main(words(folder, table="data.parquet", out="parquet")) == 0
    assert not (folder / "parquet" / "purified.csv").exists()
    found = pd.read_parquet(folder / "parquet" / "purified.parquet")
    pd.testing.assert_frame_equal(found[frame.columns], frame)
    assert found["label_quality"].between(0, 1).all()
    assert found["confidence"].isna().all()


def test_embeddings_are_found_again_in_the_same_folder(folder, first):
    kept = next((first / "embedding").iterdir()) / "features.npy"
    before = kept.stat().st_mtime_ns
    assert command.main(words(folder, "--overwrite", out="first")) == 0
    assert kept.stat().st_mtime_ns == before
    assert command.main(words(folder, f"--embeddings={first / 'embedding'}", out="elsewhere")) == 0
    assert not (folder / "elsewhere" / "embedding").exists()


@pytest.mark.parametrize(
    ("change", "more", "told"),
    [
        ({}, ["--text=txt"], ["no column 'txt' for the texts", "did you mean 'text'"]),
        ({}, ["--label=knd"], ["no column 'knd'", "did you mean 'kind'"]),
        ({}, ["--id-column=no"], ["no column 'no' for the id column"]),
        ({"text": ""}, [], ["holds no text in any row"]),
        ({"kind": "ships"}, [], ["all labels are 'ships'", "two classes"]),
        ({"text": "the same words"}, [], ["all 300 rows are the same"]),
        ({}, ["--feature-columns=code"], ["--feature-columns is for tables of features"]),
        ({}, ["--encoder=patches"], ["'patches' is not for texts"]),
        ({}, ["--encoder=timm"], ["no encoder is called 'timm'", "'library:model'"]),
    ],
)
def test_mistakes_are_one_line(tmp_path, texts, capsys, change, more, told):
    texts[0].assign(**change).to_csv(tmp_path / "data.csv", index=False)
    assert command.main(words(tmp_path, *more)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for word in told:
        assert word in error
    assert not (tmp_path / "out" / "summary.json").exists()


def test_empty_texts_and_a_missing_label_are_told(tmp_path, texts, capsys):
    frame = texts[0].copy()
    frame.loc[[3, 7], "text"] = ["", "   "]
    frame.to_csv(tmp_path / "data.csv", index=False)
    assert command.main(words(tmp_path)) == 0
    assert "2 texts are empty; their labels cannot be judged" in capsys.readouterr().out
    frame.loc[5, "kind"] = None
    frame.to_csv(tmp_path / "data.csv", index=False)
    assert command.main(words(tmp_path, "--overwrite")) == 2
    assert "labels[5] is missing" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_run_leaves_no_results_and_the_next_one_works(tmp_path, folder):
    """Killed at several moments, from start to end of the embedding."""
    for wait in (2.0, 3.5, 5.0):
        process = run([*words(folder)[:-1], f"--out={tmp_path / 'out'}", "--overwrite"])
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        # On a fast machine a run may have ended before.
        killed = process.returncode == -signal.SIGKILL
        assert killed or process.returncode == 0
        if (tmp_path / "out" / "summary.json").exists():
            assert len(pd.read_csv(tmp_path / "out" / "purified.csv")) == 300
    assert command.main([*words(folder)[:-1], f"--out={tmp_path / 'out'}", "--overwrite"]) == 0
    assert len(pd.read_csv(tmp_path / "out" / "purified.csv")) == 300
    assert not list((tmp_path / "out").glob(".*"))


def test_the_table_to_review_shows_the_texts(folder, texts):
    assert command.main(words(folder, "--suggest=6", "--map=none", out="suggested")) == 0
    table = pd.read_csv(folder / "suggested" / "review.csv")
    assert list(table["text"]) == list(texts[0]["text"][table["index"]])


def test_new_texts_are_refused_by_another_model_of_the_same_name(folder, texts, monkeypatch, capsys):
    """The weights behind a library's name may change between two runs."""
    frame = texts[0]
    weights = ["a" * 16]

    def load(library, model):
        def call(batch):
            return np.array(
                [[text.count(word) for words in SUBJECTS.values() for word in words] for text in batch]
            )

        return call, weights[0]

    monkeypatch.setattr(loaders, "load", load)
    clean = [
        f"--val-index={folder / 'clean.txt'}",
        f"--val-labels={folder / 'right.txt'}",
        "--id-column=code",
    ]
    model = "--encoder=sentence-transformers:some-model"
    assert command.main(words(folder, model, *clean, table="named.csv", out="library")) == 0
    kept = json.loads((folder / "library" / "summary.json").read_text())["embedding"]
    assert kept["encoder"] == "sentence-transformers:some-model"
    assert kept["weights"] == "a" * 16
    frame[:50].to_csv(folder / "new.csv", index=False)
    frame[50:90].to_csv(folder / "newer.csv", index=False)
    judge = f"--with={folder / 'library'}"
    assert command.main(words(folder, judge, table="new.csv", out="judged")) == 0
    weights[0] = "b" * 16
    # Embeddings that are there are those of the model of before.
    assert command.main(words(folder, judge, "--overwrite", table="new.csv", out="judged")) == 0
    capsys.readouterr()
    assert command.main(words(folder, judge, table="newer.csv", out="refused")) == 2
    told = capsys.readouterr().err
    assert f"is another model now: the earlier rows were embedded with weights {'a' * 16}" in told
    assert not (folder / "refused").exists()
