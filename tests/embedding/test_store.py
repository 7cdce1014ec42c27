"""Embeddings are kept in a folder and found again by content."""

import shutil

import numpy as np
import pytest

import dmlp_jax
from dmlp_jax.embedding import encoders, features, libraries, store
from dmlp_jax.embedding.inputs import read
from dmlp_jax.errors import UserError
from tests.embedding.test_text import TEXTS


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """An encoder of one's own that counts its calls, in a folder of four rows a part."""
    (tmp_path / "counting.py").write_text(
        "calls = []\n"
        "def encode(rows):\n"
        "    calls.append(rows)\n"
        "    if rows[0] == 'die':\n        raise KeyboardInterrupt\n"
        "    return [[len(row), 1] for row in rows]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(store, "PART", 4)
    import importlib
    import sys

    sys.path.insert(0, str(tmp_path))
    sys.modules.pop("counting", None)
    module = importlib.import_module("counting")
    yield module
    sys.path.remove(str(tmp_path))
    sys.modules.pop("counting", None)


def test_the_same_rows_are_not_embedded_again(tmp_path, counted):
    folder = tmp_path / "kept"
    first = dmlp_jax.embed(TEXTS, "counting:encode", folder=folder)
    done = len(counted.calls)
    np.testing.assert_array_equal(dmlp_jax.embed(list(TEXTS), "counting:encode", folder=folder), first)
    assert len(counted.calls) == done
    dmlp_jax.embed([*TEXTS, "one more"], "counting:encode", folder=folder)
    assert len(counted.calls) > done
    assert [path.name for path in folder.glob("*/*.npy")] == ["features.npy"] * 2


def test_a_run_that_was_stopped_goes_on_after_its_last_part(tmp_path, counted):
    texts = [f"text {number}" for number in range(8)] + ["die"]
    with pytest.raises(KeyboardInterrupt):
        dmlp_jax.embed(texts, "counting:encode", folder=tmp_path / "kept")
    counted.calls.clear()
    with pytest.raises(KeyboardInterrupt):
        dmlp_jax.embed(texts, "counting:encode", folder=tmp_path / "kept")
    assert counted.calls == [["die"]]
    assert len(list((tmp_path / "kept").glob("*/part_*.npy"))) == 2
    assert not list((tmp_path / "kept").glob("*/features.npy"))


def test_parts_make_the_same_rows_as_one_call(tmp_path, counted):
    texts = [f"text {number}" * number for number in range(11)]
    kept = dmlp_jax.embed(texts, "counting:encode", folder=tmp_path / "kept")
    np.testing.assert_array_equal(kept, dmlp_jax.embed(texts, "counting:encode"))


def test_other_code_is_another_encoder(tmp_path, counted):
    before = libraries.identity("counting:encode")
    (tmp_path / "counting.py").write_text("def encode(rows):\n    return [[1] for row in rows]\n")
    assert libraries.identity("counting:encode") != before


def test_a_fitted_encoder_is_kept_and_encodes_new_rows(tmp_path):
    rows, new = read(TEXTS), read(["a ship at sea", "the sleeping cat"])
    path, key = features.kept(rows, "tfidf", tmp_path, lambda done: None)
    encoder = store.load_encoder(tmp_path, key)
    assert encoder is not None
    np.testing.assert_array_equal(encoder.encode(rows), np.load(path, allow_pickle=False))
    other, _ = features.kept(new, "tfidf", tmp_path, lambda done: None, fitted_on=key)
    np.testing.assert_array_equal(encoder.encode(new), np.load(other, allow_pickle=False))
    assert encoder.encode(new).shape[1] == encoder.encode(rows).shape[1]


def test_fit_gives_the_encoder_of_embed():
    encoder = features.fit(TEXTS)
    np.testing.assert_array_equal(encoder.encode(read(TEXTS)), dmlp_jax.embed(TEXTS))
    with pytest.raises(UserError, match="encodes texts, but these are images"):
        encoder.encode(read(np.zeros((2, 8, 8, 3), np.uint8)))


def test_a_damaged_or_older_encoder_is_refused(tmp_path):
    encoder = features.fit(TEXTS)
    encoders.save(tmp_path / "e.npz", encoder)
    record, arrays = encoders.read_record(tmp_path / "e.npz")
    assert record == {"name": "tfidf", "version": encoders.VERSION}
    with pytest.raises(UserError, match="another version"):
        encoders.load_built_in(record | {"version": 0}, arrays)
    shutil.copy(tmp_path / "e.npz", tmp_path / "cut.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "e.npz").read_bytes()[:500])
    with pytest.raises(UserError, match=r"cut\.npz"):
        encoders.read_record(tmp_path / "cut.npz")


def test_progress_is_printed_with_the_time_left(monkeypatch, capsys):
    monkeypatch.setattr(features, "PAUSE", 0.0)
    show = features.announced(read(TEXTS), "tfidf")
    for done in (2, 4, 8):
        show(done)
    assert capsys.readouterr().out.startswith("embedding texts with tfidf: 4 of 8, ")
