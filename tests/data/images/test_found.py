"""Every file of a folder is accounted for, by the check and the run alike."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from dmlp_jax.config import default_config
from dmlp_jax.data import datasets
from dmlp_jax.data.images import found
from dmlp_jax.data.sets import folder
from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import check_images

CLASSES = ("cat", "dog")


def save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path))).integers(0, 255, (20, 20, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def root(tmp_path):
    for name in CLASSES:
        save(tmp_path / "train" / name / "0.png")
        save(tmp_path / "val" / name / "0.PNG")
    return tmp_path


def settings(root):
    data = default_config().data
    data.update(name="folder", dir=str(root), image_size=16, workers=1)
    return data


def test_files_are_used_hidden_unknown_or_loose_and_sub_folders_are_followed(root, capsys):
    for name in ("train/cat/2021/05/a.jpg", "train/cat/2021/b.png", "train/loose.png"):
        save(root / name)
    for name in ("train/dog/a.tif", "train/dog/a.gif", "val/notes.csv"):
        (root / name).write_bytes(b"")
    for name in ("train/.ipynb_checkpoints", "train/cat/__MACOSX", "unlabelled", ".git"):
        (root / name).mkdir()
    for name in ("train/.DS_Store", "train/cat/._a.jpg", "val/dog/Thumbs.db", "train/cat/__MACOSX/a.png"):
        (root / name).write_bytes(b"")
    listing = folder.listing(root)
    assert listing.class_names == CLASSES
    assert [os.path.relpath(path, root) for path in listing.train.paths] == [
        "train/cat/0.png",
        "train/cat/2021/05/a.jpg",
        "train/cat/2021/b.png",
        "train/dog/0.png",
    ]
    assert listing.train.labels.tolist() == [0, 0, 0, 1]
    reasons = {os.path.relpath(path, root): why for path, why in listing.account.left_out().items()}
    hidden = ("train/.ipynb_checkpoints", "train/cat/__MACOSX", ".git", "train/.DS_Store")
    hidden += ("train/cat/._a.jpg", "val/dog/Thumbs.db")
    assert reasons == {
        **dict.fromkeys(
            ("train/dog/a.tif", "train/dog/a.gif", "val/notes.csv"), "no image of a kind that is read"
        ),
        "train/loose.png": "beside the class folders",
        "unlabelled": "beside train, val and test",
        **dict.fromkeys(hidden, "hidden"),
    }
    datasets.load(settings(root), 0)
    run = capsys.readouterr().out
    assert check_images.check(settings(root), 0).broken == {}
    check = capsys.readouterr().out
    for word in ("2021/05 (1)", "2021 (1)", "1 .tif", "1 .gif", "loose.png", "unlabelled", "6 hidden files"):
        assert word in run
        assert word in check
    assert "ipynb" not in run + check


def test_a_folder_that_holds_only_images_is_told_nothing_of(root):
    account = folder.listing(root).account
    assert account.lines() == []
    assert account.left_out() == {}


def test_classes_that_differ_in_capitals_only_are_named(root):
    save(root / "train" / "Cat" / "1.png")
    assert "'Cat' and 'cat' count as 2" in " ".join(folder.listing(root).account.lines())
    shutil.rmtree(root / "train" / "Cat")
    save(root / "val" / "Dog" / "1.png")
    with pytest.raises(UserError, match="class 'Dog', which train/ does not have; did you mean 'dog'"):
        folder.listing(root)


def test_links_are_followed_and_end(root):
    save(root / "elsewhere" / "a.png")
    os.symlink(root / "elsewhere", root / "train" / "cat" / "link")
    os.symlink(root / "train", root / "train" / "dog" / "round")
    inside = found.walk(root / "train" / "cat")
    assert [os.path.relpath(path, root) for path in inside.images] == [
        "train/cat/0.png",
        "train/cat/link/a.png",
    ]
    assert len(found.walk(root / "train" / "dog").images) < 10


def test_names_of_any_bytes(root, capsys):
    shutil.copy(root / "train/cat/0.png", os.fsencode(root) + b"/train/cat/caf\xe9.png")
    dataset = datasets.load(settings(root), 0, root / "record.json")
    assert len(dataset.inputs) == 3
    assert datasets.load(settings(root), 0, root / "record.json").files == dataset.files
    (root / "train/dog/0.png").unlink()
    shutil.copy(root / "train/cat/0.png", os.fsencode(root) + b"/train/dog/\xff\xfe.png")
    (root / "train/cat/0.png").write_bytes(b"no image")
    assert len(check_images.check(settings(root), 0).broken) == 1
    capsys.readouterr()
