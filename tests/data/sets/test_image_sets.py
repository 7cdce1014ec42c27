"""Data sets of image files: folders, Clothing1M, broken files, images that stay in their files."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from dmlp_jax.config import default_config
from dmlp_jax.data import datasets, splits
from dmlp_jax.data.images import lazy, scan
from dmlp_jax.data.images.lazy import ImageFiles
from dmlp_jax.data.sets import clothing1m, folder
from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import check_images

SIZES = {"train/cat": 3, "train/dog": 4, "val/cat": 1, "val/dog": 2, "test/dog": 1}


def write_image(path, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, size=(20, 30, 3)).astype(np.uint8)).save(path)


def make_folder(root, sizes):
    rng = np.random.default_rng(0)
    for place, count in sizes.items():
        (root / place).mkdir(parents=True)
        for index in range(count):
            write_image(root / place / f"{index}.png", rng)


def settings(name, root, **changes):
    data = default_config().data
    data.update(name=name, dir=str(root), image_size=16, workers=1, **changes)
    return data


def test_image_folder(tmp_path):
    make_folder(tmp_path, SIZES)
    dataset = datasets.load(settings("folder", tmp_path), 0)
    assert dataset.inputs.shape == (7, 16, 16, 3)
    np.testing.assert_array_equal(dataset.given_labels, [0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(dataset.val_labels, [0, 1, 1])
    np.testing.assert_array_equal(dataset.test_labels, [1])
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels is None


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"train/a": 1, "train/b": 1}, "val/<class>/"),
        ({"train/a": 1, "val/a": 1}, "at least two"),
        ({"train/a": 1, "train/b": 1, "val/c": 1}, "class 'c'"),
        ({"train/a": 0, "train/b": 0, "val/a": 1}, "no images"),
    ],
)
def test_unusable_folders_are_refused(tmp_path, sizes, words):
    make_folder(tmp_path, sizes)
    with pytest.raises(UserError, match=words):
        folder.listing(tmp_path)


def test_images_in_their_files_are_those_in_memory(tmp_path):
    make_folder(tmp_path, SIZES)
    memory = datasets.load(settings("folder", tmp_path), 0)
    files = datasets.load(settings("folder", tmp_path, memory_gb=0.0), 0)
    assert isinstance(files.inputs, ImageFiles)
    assert datasets.fingerprint(files) == datasets.fingerprint(memory)
    assert files.inputs.shape == memory.inputs.shape
    for index in (0, slice(2, 5), np.array([[6, 0], [3, 3]]), np.array([], int)):
        np.testing.assert_array_equal(files.inputs[index], memory.inputs[index])
    rows = np.array([5, 1])
    both = lazy.concatenate([lazy.take(files.inputs, rows), files.val_inputs])
    expected = np.concatenate([memory.inputs[rows], memory.val_inputs])
    np.testing.assert_array_equal(both[:], expected)


def test_another_file_is_another_data_set(tmp_path):
    make_folder(tmp_path, SIZES)
    before = datasets.fingerprint(datasets.load(settings("folder", tmp_path), 0))
    Image.new("RGB", (40, 40)).save(tmp_path / "train/cat/1.png")
    assert datasets.fingerprint(datasets.load(settings("folder", tmp_path), 0)) != before


def test_broken_images_are_left_out_counted_and_listed(tmp_path, capsys):
    make_folder(tmp_path, SIZES)
    (tmp_path / "train/dog/1.png").write_bytes(b"no image")
    record = tmp_path / "broken.json"
    dataset = datasets.load(settings("folder", tmp_path, max_broken=0.5), 0, record)
    assert "left out 1 of 11 images" in capsys.readouterr().out
    np.testing.assert_array_equal(dataset.given_labels, [0, 0, 0, 1, 1, 1])
    (name,) = json.loads(record.read_text())["broken"]
    assert name.endswith("train/dog/1.png")


def test_many_broken_images_are_an_error_that_names_one(tmp_path):
    make_folder(tmp_path, SIZES)
    (tmp_path / "train/dog/1.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"1 of 11 images.*train/dog/1\.png.*max_broken"):
        datasets.load(settings("folder", tmp_path), 0)


def test_record_is_used_until_a_file_changes(tmp_path, monkeypatch):
    make_folder(tmp_path, SIZES)
    paths = [part for part in folder.listing(tmp_path).train.paths]
    record = tmp_path / "broken.json"
    assert scan.broken(paths, 1, record) == {}
    monkeypatch.setattr(scan.workers, "submit", lambda *a, **k: pytest.fail("looked at the files again"))
    assert scan.broken(paths, 1, record) == {}
    monkeypatch.undo()
    (tmp_path / "train/dog/1.png").write_bytes(b"no image")
    assert list(scan.broken(paths, 1, record)) == [paths[4]]


def test_file_that_breaks_later_is_named(tmp_path):
    make_folder(tmp_path, SIZES)
    images = datasets.load(settings("folder", tmp_path, memory_gb=0.0), 0).inputs
    os.unlink(tmp_path / "train/dog/1.png")
    with pytest.raises(UserError, match=r"dog/1\.png.*same command resumes"):
        images[3:6]


def test_a_share_of_the_clean_set_has_every_class():
    labels = np.repeat([0, 1, 2], [40, 20, 1])
    rows = splits.draw_share(labels, 0.25, np.random.default_rng(0))
    np.testing.assert_array_equal(np.bincount(labels[rows]), [10, 5, 1])
    np.testing.assert_array_equal(splits.draw_share(labels, 1.0, np.random.default_rng(0)), np.arange(61))
    for share in (0.0, 1.5):
        with pytest.raises(UserError, match=r"val\.share"):
            splits.draw_share(labels, share, np.random.default_rng(0))


def make_clothing(root, nested=True):
    """Twenty-eight images with noisy labels, fourteen clean ones in val and in test."""
    rng = np.random.default_rng(1)
    parts = {"noisy_train": 28, "clean_val": 14, "clean_test": 14}
    tables = {"noisy": [], "clean": []}
    for part, count in parts.items():
        keys = [f"images/{i % 3}/{10 + i % 5}/{part},{i}.jpg" for i in range(count)]
        (root / f"{part}_key_list.txt").write_text("\n".join(keys) + "\n")
        tables[part.split("_")[0]] += [f"{key} {i % 14}" for i, key in enumerate(keys)]
        for key in keys:
            write_image(root / (key if nested else key.removeprefix("images/")), rng)
    for kind, lines in tables.items():
        (root / f"{kind}_label_kv.txt").write_text("\n".join(lines) + "\n")
    (root / "category_names_eng.txt").write_text("\n".join(f"class {i}" for i in range(14)) + "\n")


@pytest.mark.parametrize("nested", [True, False])
def test_clothing1m_as_its_authors_lay_it_out(tmp_path, nested):
    make_clothing(tmp_path, nested)
    dataset = datasets.load(settings("clothing1m", tmp_path), 0)
    assert dataset.inputs.shape == (28, 16, 16, 3)
    assert dataset.class_names[13] == "class 13"
    np.testing.assert_array_equal(dataset.given_labels, np.arange(28) % 14)
    np.testing.assert_array_equal(dataset.val_labels, np.arange(14))
    np.testing.assert_array_equal(dataset.test_labels, np.arange(14))
    assert dataset.val_given_labels is None


def test_noisy_labels_of_clean_images_are_taken_from_their_table(tmp_path):
    make_clothing(tmp_path)
    keys = (tmp_path / "clean_val_key_list.txt").read_text().split()
    with open(tmp_path / "noisy_label_kv.txt", "a") as file:
        file.write(f"{keys[3]} 5\n{keys[1]} 1\n")
    (tmp_path / keys[3]).write_bytes(b"no image")
    dataset = datasets.load(settings("clothing1m", tmp_path, max_broken=0.5), 0)
    np.testing.assert_array_equal(dataset.val_given_labels, [-1, 1, *[-1] * 11])
    assert len(dataset.given_labels) == 28


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("noisy_label_kv.txt", None, "lacks noisy_label_kv.txt"),
        ("noisy_label_kv.txt", "images/0/10/noisy_train,0.jpg 14\n", "line 1.*0 to 13"),
        ("noisy_label_kv.txt", "images/0/10/noisy_train,0.jpg 3\n", "line 2.*no label"),
        ("clean_val_key_list.txt", "images/0/10/clean_val,0.jpg\n" * 2, "line 2.*twice"),
        ("clean_val_key_list.txt", "", "empty"),
        ("category_names_eng.txt", "shirt\n", "14 classes"),
    ],
)
def test_unusable_key_lists_are_refused(tmp_path, name, text, words):
    make_clothing(tmp_path)
    (tmp_path / name).unlink() if text is None else (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words):
        clothing1m.listing(tmp_path)


def test_keys_that_lead_out_of_the_folder_are_refused(tmp_path):
    make_clothing(tmp_path)
    key = "images/../../secret.jpg"
    (tmp_path / "noisy_train_key_list.txt").write_text(key + "\n")
    (tmp_path / "noisy_label_kv.txt").write_text(f"{key} 1\n")
    with pytest.raises(UserError, match="leads out"):
        clothing1m.listing(tmp_path)


def test_check_counts_rows_and_finds_missing_files(tmp_path, capsys):
    make_clothing(tmp_path)
    assert check_images.check(settings("clothing1m", tmp_path), 0).broken == {}
    lost = sorted((tmp_path / "images/0/10").iterdir())[0]
    lost.unlink()
    assert list(check_images.check(settings("clothing1m", tmp_path), 0).broken) == [str(lost)]
    lines = capsys.readouterr().out.splitlines()
    assert ["all", "28", "14", "14"] in [line.split() for line in lines]
