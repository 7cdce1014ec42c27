import numpy as np
import pytest
from PIL import Image

from dmlp_jax.cli.inputs import row_images
from dmlp_jax.errors import UserError


@pytest.fixture
def images(tmp_path):
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


def test_one_name_in_two_spellings_and_two_files_of_one_name(images):
    Image.new("RGB", (4, 2), "red").save(images / "cafe\u0301.png")
    (images / "._a.png").write_bytes(b"left by macOS")
    assert row_images.find(images, 1, np.array(["caf\u00e9"]))[0].name == "cafe\u0301.png"
    assert len(row_images.find(images, 3)) == 3
    Image.new("RGB", (4, 2), "red").save(images / "a.jpg")
    assert row_images.find(images, 1, np.array(["a.png"]))[0].name == "a.png"
    with pytest.raises(UserError, match=r"row 0 is 'a', which may be a\.jpg or a\.png"):
        row_images.find(images, 1, np.array(["a"]))


def test_a_picture_is_turned_as_the_network_sees_it(images):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20), "red").save(images / "a.jpg", exif=exif)
    assert row_images.thumbnail(images / "a.jpg").shape == (40, 20, 3)


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
    assert row_images.thumbnail(images / "a.png").shape == (160, 320, 3)
    (images / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert row_images.thumbnail(images / "a.png") is None


def test_only_common_formats_are_decoded_whatever_a_file_is_called(tmp_path):
    """Pillow goes by content, and has decoders that start other programs."""
    Image.new("RGB", (4, 2), "red").save(tmp_path / "a.png", format="PNG")
    Image.new("RGB", (4, 2), "red").save(tmp_path / "b.png", format="PPM")
    Image.new("RGB", (4, 2), "red").save(tmp_path / "c.png", format="EPS")
    assert row_images.thumbnail(tmp_path / "a.png").shape == (2, 4, 3)
    assert row_images.thumbnail(tmp_path / "b.png") is None
    assert row_images.thumbnail(tmp_path / "c.png") is None
