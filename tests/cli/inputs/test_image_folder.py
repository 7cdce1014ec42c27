"""The images of a folder as `dmlp-purify` lists them."""

import os

import pytest
from PIL import Image

from dmlp_jax.cli.inputs import image_folder
from dmlp_jax.errors import UserError


def _save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


def test_linked_class_folders_are_followed_and_files_of_the_system_are_not_read(tmp_path):
    _save(tmp_path / "elsewhere" / "1.png")
    _save(tmp_path / "photos" / "dog" / "2.png")
    _save(tmp_path / "photos" / "__MACOSX" / "dog" / "2.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "photos" / "cat")
    found = image_folder.read(tmp_path / "photos", None, None, None)
    assert found.names.tolist() == ["cat/1.png", "dog/2.png"]
    assert found.labels.tolist() == ["cat", "dog"]
    assert found.said == (f"1 hidden files and folders of {tmp_path / 'photos'} are not used",)


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(UserError, match="holds no images"):
        image_folder.read(tmp_path, None, None, None)
