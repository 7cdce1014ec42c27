"""The reviewed rows nearest to a row, and what the page holds of all of them."""

import base64
import json

import numpy as np
import pytest

from dmlp_jax.report import evidence, row_contents
from dmlp_jax.report.clean_rows import CleanRows


def nearest_by_definition(features, rows, clean):
    """In float64, from the definition: cosine of features standardised by the reviewed rows."""
    mean, scale = clean.mean(axis=0), clean.std(axis=0)
    scaled = [(values - mean) / scale for values in (features[rows], clean)]
    own, other = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in scaled)
    return np.argsort(-own @ other.T, axis=1, kind="stable")[:, : evidence.NEIGHBOURS]


def test_nearest_is_by_the_cosine(monkeypatch):
    rng = np.random.default_rng(0)
    features, clean = (
        rng.normal(3.0, [1, 10, 100, 0.1], (500, 4)),
        rng.normal(3.0, [1, 10, 100, 0.1], (40, 4)),
    )
    rows = rng.permutation(500)[:200]
    wanted = nearest_by_definition(features, rows, clean)
    np.testing.assert_array_equal(evidence.nearest(features, rows, clean), wanted)
    monkeypatch.setattr(evidence, "_BLOCK", 64)
    np.testing.assert_array_equal(evidence.nearest(features, rows, clean), wanted)


def test_few_many_and_broken_reviewed_rows(monkeypatch):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 4)).astype(np.float32)
    assert evidence.nearest(features, np.arange(50), features[:2]).shape == (50, 2)
    monkeypatch.setattr(evidence, "LIMIT", 10)
    found = evidence.nearest(features, np.arange(50), features)
    assert len(np.unique(found)) == 10
    # A feature that is the same everywhere, and a number that is no measurement.
    features[:, 1], features[7, 2] = 5.0, 3.4e38
    assert np.all(evidence.nearest(features, np.arange(50), features[:20]) < 20)


def test_places_are_packed_as_the_page_reads_them():
    places = np.array([[1, 2, 70_000], [0, 5, 6]])
    raw = base64.b64decode(evidence.packed(places))
    assert np.frombuffer(raw, "<u4").reshape(2, 3).tolist() == places.tolist()


def collect(budget=10**6, pictured=30, columns=None):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 9, 9, 1)).astype(np.uint8)
    columns = {"length": list(range(50)), "text": [f"{row} " + "word " * 20 for row in range(50)]}
    clean = CleanRows(
        rng.normal(size=(8, 3)), image_of=lambda row: images[row], columns={"text": ["clean"] * 8}
    )
    order = np.arange(50)[::-1][:40]
    features = rng.normal(size=(50, 3))
    return order, row_contents.collect(
        order, np.arange(pictured), images.__getitem__, columns, features, clean, budget
    )


def test_contents_are_those_of_the_rows_listed_and_then_of_the_reviewed_ones():
    order, held = collect()
    assert held.columns == ("length", "text")
    assert held.text == 1
    values = [json.loads(line) for line in held.values]
    assert [length for length, _ in values[:40]] == [str(row) for row in order]
    assert values[40:] == [["", "clean"]] * len(held.clean)
    assert held.clean[held.near].shape == (40, 3)
    assert (held.held_pictures(40), held.held_texts(40)) == (30, 40)
    assert all(held.pictures[40:])


@pytest.mark.parametrize("budget", [0, 500, 3_000, 9_000])
def test_contents_stay_within_the_bytes_and_the_first_rows_come_first(budget):
    _, held = collect(budget)
    sizes = [len(line.encode()) for line in [*held.values, *held.pictures]]
    assert sum(sizes) <= budget
    for lines in (held.values[:40], held.pictures[:40]):
        there = [bool(line) for line in lines]
        assert there == sorted(there, reverse=True)
    assert held.held_texts(40) < 40


def test_texts_leave_bytes_for_pictures_where_there_are_some():
    columns = {"text": ["word " * 20] * 50}
    size = len(json.dumps(columns["text"][:1], separators=(",", ":")))
    pixels = np.zeros((9, 9, 1), np.uint8)
    for image_of, texts in ((None, 40), (lambda row: pixels, 20)):
        held = row_contents.collect(np.arange(50), np.arange(50), image_of, columns, None, None, 40 * size)
        assert held.held_texts(50) == texts
        assert (held.held_pictures(50) > 0) == (image_of is not None)


def test_without_reviewed_rows_and_columns():
    held = row_contents.collect(np.arange(5), np.arange(0), None, {}, None, None, 100)
    assert held.near is None
    assert held.pictures == held.values == [""] * 5
