"""One image to pixels, against Pillow's own steps written out for each kind of file."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from dmlp_jax.data.images.decode import decode, decode_all, inspect, picture, whole

RNG = np.random.default_rng(0)


def smooth(height, width):
    """A picture that survives JPEG: a few waves, different in every channel."""
    y, x = np.mgrid[:height, :width] / 20
    waves = [np.sin(x + y), np.cos(2 * x - y), np.sin(y - 1.5 * x + 1)]
    return np.round(127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


def close(found, expected, mean=2.0):
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < mean


def test_short_side_is_resized_and_the_centre_cut(tmp_path):
    pixels = RNG.integers(0, 256, size=(20, 30, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    oracle = np.asarray(Image.fromarray(pixels).resize((24, 16), Image.Resampling.BICUBIC))[:, 4:20]
    np.testing.assert_array_equal(decode(tmp_path / "a.png", 16), oracle)


@pytest.mark.parametrize("shape", [(16, 16), (16, 40), (40, 16)])
def test_image_of_the_right_height_is_only_cut(tmp_path, shape):
    pixels = RNG.integers(0, 256, size=(*shape, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    top, left = (shape[0] - 16) // 2, (shape[1] - 16) // 2
    np.testing.assert_array_equal(decode(tmp_path / "a.png", 16), pixels[top : top + 16, left : left + 16])


def test_large_jpeg_is_what_slow_decoding_gives(tmp_path):
    Image.fromarray(smooth(640, 800)).save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        oracle = image.resize((80, 64), Image.Resampling.BICUBIC).crop((8, 0, 72, 64))
    close(decode(tmp_path / "a.jpg", 64), np.asarray(oracle))


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda p: p),
        (2, lambda p: p[:, ::-1]),
        (3, lambda p: p[::-1, ::-1]),
        (4, lambda p: p[::-1]),
        (5, lambda p: p.swapaxes(0, 1)),
        (6, lambda p: np.rot90(p, -1)),
        (7, lambda p: p[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda p: np.rot90(p)),
    ],
)
def test_exif_orientation_is_undone(tmp_path, orientation, turn):
    pixels = smooth(64, 64)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=98, subsampling=0)
    close(decode(tmp_path / "a.jpg", 64), turn(pixels))


def test_greyscale_and_cmyk_become_rgb(tmp_path):
    pixels = smooth(32, 32)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.jpg", quality=98)
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=98, subsampling=0)
    close(decode(tmp_path / "grey.jpg", 32), np.repeat(pixels[..., :1], 3, axis=2))
    close(decode(tmp_path / "cmyk.jpg", 32), pixels, mean=3.0)


def test_sixteen_bits_palette_and_transparency(tmp_path):
    deep = RNG.integers(0, 2**16, size=(8, 8)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(decode(tmp_path / "deep.png", 8)[..., 1], deep // 256)
    few = np.array([[0, 0, 0], [200, 30, 40], [10, 250, 90]], np.uint8)[RNG.integers(0, 3, size=(8, 8))]
    Image.fromarray(few).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    np.testing.assert_array_equal(decode(tmp_path / "palette.png", 8), few)
    half = np.concatenate([few, np.full((8, 8, 1), 128, np.uint8)], axis=-1)
    Image.fromarray(half).save(tmp_path / "alpha.png")
    # On white, to the rounding of alpha compositing.
    on_white = few * (128 / 255) + 255 * (127 / 255)
    np.testing.assert_allclose(decode(tmp_path / "alpha.png", 8), on_white, atol=1.0)


def broken_files(folder):
    Image.fromarray(smooth(64, 64)).save(folder / "whole.jpg")
    Image.fromarray(smooth(64, 64)).save(folder / "whole.png")
    for name in ("whole.jpg", "whole.png"):
        whole = (folder / name).read_bytes()
        (folder / f"cut_{name}").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("no image")
    (folder / "empty.jpg").write_bytes(b"")
    return ["cut_whole.jpg", "cut_whole.png", "text.jpg", "empty.jpg", "absent.jpg"]


def test_inspection_finds_what_decoding_cannot_read(tmp_path):
    for name in broken_files(tmp_path):
        assert inspect(tmp_path / name), name
        with pytest.raises(ValueError, match=name):
            decode_all([str(tmp_path / name)], 16)
    for name in ("whole.jpg", "whole.png"):
        assert inspect(tmp_path / name) is None


def test_other_formats_are_not_even_looked_at(tmp_path):
    """An EPS file would be handed to Ghostscript."""
    Image.fromarray(smooth(64, 64)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    assert "cannot identify" in inspect(tmp_path / "a.png")


def test_image_bombs_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    Image.new("RGB", (200, 200)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100 * 100)
    assert "Bomb" in inspect(tmp_path / "large.png")
    # Photos of 100 megapixels are between Pillow's limit and twice that.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150 * 150)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert inspect(tmp_path / "large.png") is None
        assert decode(tmp_path / "large.png", 16).shape == (16, 16, 3)


@pytest.mark.parametrize("shape", [(70, 50), (50, 71), (33, 300), (200, 21)])
def test_cropping_first_gives_the_central_square_of_the_whole(tmp_path, shape):
    Image.fromarray(smooth(*shape)).save(tmp_path / "a.png")
    side = min(shape)
    top, left = ((length - side) / 2 for length in shape)
    box = (left, top, left + side, top + side)
    oracle = Image.fromarray(smooth(*shape)).resize((16, 16), Image.Resampling.BICUBIC, box=box)
    close(decode(tmp_path / "a.png", 16), np.asarray(oracle))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_ink_on_a_transparent_ground_is_seen_in_every_mode(tmp_path, mode):
    """Black ink, black where it is transparent: without a ground all pixels are black."""
    ink = np.zeros((16, 16), bool)
    ink[4:12, 6:10] = True
    path = tmp_path / "a.png"
    if mode in ("RGBA", "LA"):
        pixels = np.zeros((16, 16, len(mode)), np.uint8)
        pixels[..., -1] = 255 * ink
        Image.fromarray(pixels, mode).save(path)
    else:
        # One colour, or one entry of the palette, is transparent.
        image = Image.fromarray(np.where(ink, 0, 1).astype(np.uint8), "L")
        if mode == "P":
            image = image.convert("P")
            image.putpalette([0, 0, 0, 1, 1, 1])
        image = image.convert(mode) if mode != "P" else image
        image.save(path, transparency=(1, 1, 1) if mode == "RGB" else 1)
    expected = np.repeat(np.where(ink, 0, 255)[..., None], 3, axis=2)
    np.testing.assert_array_equal(decode(path, 16), expected)
    np.testing.assert_array_equal(picture(path, 16), expected)
    np.testing.assert_array_equal(np.asarray(whole(path)), expected)


def test_a_strip_takes_no_more_memory_than_its_square(tmp_path):
    Image.new("L", (40000, 2), 99).save(tmp_path / "strip.png")
    code = (
        "from dmlp_jax.data.images.decode import decode, picture\n"
        "assert (decode('strip.png', 224) == 99).all() and picture('strip.png', 160).shape == (1, 160, 3)\n"
        "print(*[line for line in open('/proc/self/status') if line.startswith('VmHWM')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) < 150_000  # kB


def test_pictures_for_a_page_are_turned_and_deep_ones_keep_their_greys(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth(40, 64)).save(tmp_path / "a.jpg", exif=exif, quality=98, subsampling=0)
    close(picture(tmp_path / "a.jpg", 64), np.rot90(smooth(40, 64), -1))
    close(np.asarray(whole(tmp_path / "a.jpg")), np.rot90(smooth(40, 64), -1))
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (64, 1))
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(picture(tmp_path / "deep.png", 64)[..., 0], ramp >> 8)
    Image.fromarray(smooth(32, 32)).convert("CMYK").save(tmp_path / "c.jpg", quality=98, subsampling=0)
    close(picture(tmp_path / "c.jpg", 32), smooth(32, 32), mean=3.0)
    assert picture(tmp_path / "deep.png", 16).shape == (16, 16, 3)


def test_damaged_metadata_are_no_damaged_image(tmp_path):
    Image.fromarray(smooth(64, 64)).save(tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00*\xff\xff", quality=98)
    assert inspect(tmp_path / "a.jpg") is None
    close(decode(tmp_path / "a.jpg", 64), smooth(64, 64))
