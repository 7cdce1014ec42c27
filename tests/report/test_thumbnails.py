"""Pictures as texts of bounded size."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from dmlp_jax.report import thumbnails
from dmlp_jax.report.thumbnails import LEVELS, Level


def decode(encoded):
    with Image.open(io.BytesIO(base64.b64decode(encoded[1:]))) as image:
        return image.format, np.asarray(image)


@pytest.mark.parametrize("level", LEVELS)
def test_tiny_pictures_never_lose_anything(level):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 1)).astype(np.uint8)
    kind, found = decode(thumbnails.encode(pixels, level))
    assert kind == "PNG"
    np.testing.assert_array_equal(found, pixels[..., 0])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_small_pictures_are_kept_to_the_last_pixel(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 64, channels)).astype(np.uint8)
    kind, found = decode(thumbnails.encode(pixels))
    assert kind == "PNG"
    np.testing.assert_array_equal(found.reshape(pixels.shape), pixels)
    assert thumbnails.data_uri(thumbnails.encode(pixels)).startswith("data:image/png;base64,")


@pytest.mark.parametrize("level", LEVELS[1:])
def test_large_pictures_keep_their_shape_and_look(level):
    grey = np.linspace(0, 255, 900).astype(np.uint8)
    pixels = np.broadcast_to(grey[None, :, None], (450, 900, 3)).copy()
    kind, found = decode(thumbnails.encode(pixels, level))
    assert kind == "WEBP"
    assert found.shape == (level.side // 2, level.side, 3)
    assert np.abs(found[level.side // 4, :, 0] - np.linspace(0, 255, level.side)).mean() < 8


def test_what_is_no_picture_is_empty():
    assert thumbnails.encode(None) == thumbnails.encode(np.zeros(5)) == ""
    assert thumbnails.data_uri("") is None


def test_pictures_of_many_rows_are_made_smaller_to_fit():
    pool = np.random.default_rng(0).integers(0, 256, (50, 96, 96, 3)).astype(np.uint8)
    encoded, left = thumbnails.encode_all(np.arange(2_000), lambda row: pool[row % 50], 3_000_000)
    assert sum(map(len, encoded)) + left == 3_000_000
    # All have one; those that are looked at first are larger.
    assert all(encoded)
    head, rest = encoded[: thumbnails.HEAD], encoded[thumbnails.HEAD :]
    assert np.mean(list(map(len, head))) > 1.5 * np.mean(list(map(len, rest)))


def test_pictures_end_where_the_bytes_do():
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    size = len(thumbnails.encode(pixels, LEVELS[-1]))
    encoded, left = thumbnails.encode_all(np.arange(10), lambda row: pixels, 4 * size + 1)
    assert [bool(picture) for picture in encoded] == [True] * 4 + [False] * 6
    assert left == 0


def test_rows_without_picture_leave_a_gap(monkeypatch):
    monkeypatch.setattr(thumbnails, "_BATCH", 3)
    pixels = np.zeros((9, 9, 1), np.uint8)
    encoded, _ = thumbnails.encode_all(np.arange(8), lambda row: pixels if row % 2 else None, 10**6)
    assert [bool(picture) for picture in encoded] == [False, True] * 4
    assert encoded[1] == thumbnails.encode(pixels, Level(320, 80, exact=True))
