import hashlib
import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from dmlp_jax.config import default_config
from dmlp_jax.data import datasets
from dmlp_jax.data.sets import cifar, own_features
from dmlp_jax.errors import UserError


def random_cifar(name, train=20, test=10):
    rng = np.random.default_rng(0)
    classes = 10 if name == "cifar10" else 100
    return {
        "x_train": rng.integers(0, 256, size=(train, 32, 32, 3)).astype(np.uint8),
        "y_train": rng.integers(classes, size=train).astype(np.uint8),
        "x_test": rng.integers(0, 256, size=(test, 32, 32, 3)).astype(np.uint8),
        "y_test": rng.integers(classes, size=test).astype(np.uint8),
    }


def assert_same(dataset, arrays):
    np.testing.assert_array_equal(dataset.inputs, arrays["x_train"])
    np.testing.assert_array_equal(dataset.labels, arrays["y_train"])
    np.testing.assert_array_equal(dataset.test_inputs, arrays["x_test"])
    np.testing.assert_array_equal(dataset.test_labels, arrays["y_test"])


def write_tarball(root, name, arrays):
    """The official layout: records of label bytes and 3,072 bytes channel by channel."""
    train_members, test_members = cifar.MEMBERS[name]
    with tarfile.open(root / cifar.TARBALLS[name][0], "w:gz") as archive:
        for part, members in (("train", train_members), ("test", test_members)):
            pixels = arrays[f"x_{part}"].transpose(0, 3, 1, 2).reshape(-1, 3072)
            labels = arrays[f"y_{part}"][:, None]
            coarse = [] if name == "cifar10" else [np.full_like(labels, 19)]
            records = np.concatenate([*coarse, labels, pixels], axis=1)
            for member, rows in zip(members, np.array_split(records, len(members)), strict=True):
                info = tarfile.TarInfo(member)
                info.size = rows.nbytes
                archive.addfile(info, io.BytesIO(rows.tobytes()))


def test_digits_are_scikit_learns():
    dataset = datasets.load(default_config().data, seed=0)
    assert dataset.inputs.shape == (1347, 8, 8, 1)
    assert dataset.test_inputs.shape == (450, 8, 8, 1)
    assert dataset.inputs.max() == 255
    counts = np.bincount(dataset.test_labels)
    assert counts.max() - counts.min() <= 3


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_from_npz(tmp_path, name):
    arrays = random_cifar(name)
    np.savez(tmp_path / f"{name}.npz", **arrays)
    dataset = cifar.load(name, tmp_path)
    assert_same(dataset, arrays)
    assert len(dataset.class_names) == (10 if name == "cifar10" else 100)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_from_the_official_tarball_is_kept_as_npz(tmp_path, name, monkeypatch):
    arrays = random_cifar(name)
    write_tarball(tmp_path, name, arrays)
    file_name = cifar.TARBALLS[name][0]
    checksum = hashlib.sha256((tmp_path / file_name).read_bytes()).hexdigest()
    monkeypatch.setitem(cifar.TARBALLS, name, (file_name, checksum))
    assert_same(cifar.load(name, tmp_path), arrays)
    (tmp_path / file_name).unlink()
    assert_same(cifar.load(name, tmp_path), arrays)


def test_damaged_tarball_is_refused(tmp_path):
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"half of it")
    with pytest.raises(UserError, match="SHA-256"):
        cifar.load("cifar10", tmp_path)
    assert not (tmp_path / "cifar10.npz").exists()


def test_missing_cifar_names_all_three_ways(tmp_path):
    with pytest.raises(UserError) as caught:
        cifar.load("cifar10", tmp_path)
    for word in ("cifar10.npz", "pip install tensorflow-cpu", "tfds build cifar10", "cifar-10-binary.tar.gz"):
        assert word in str(caught.value)


def test_truncated_npz_is_refused(tmp_path):
    np.savez(tmp_path / "cifar10.npz", **random_cifar("cifar10"))
    path = tmp_path / "cifar10.npz"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match="truncated"):
        cifar.load("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_train": np.zeros((20, 32, 32), np.uint8)}, "x_train"),
        ({"x_test": np.zeros((10, 32, 32, 3), np.float32)}, "uint8"),
        ({"y_train": np.full(20, 10, np.uint8)}, "classes 0 to 9"),
        ({"y_test": np.zeros(3, np.uint8)}, "3 entries for 10 images"),
        ({"y_test": np.full(10, 0.5)}, "integers, got float64"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, changes, words):
    np.savez(tmp_path / "cifar10.npz", **{**random_cifar("cifar10"), **changes})
    with pytest.raises(UserError, match=words):
        cifar.load("cifar10", tmp_path)


def test_npz_with_python_objects_is_not_unpickled(tmp_path):
    np.savez(tmp_path / "cifar10.npz", **{**random_cifar("cifar10"), "y_test": np.array([print], object)})
    with pytest.raises(UserError, match="cannot be read"):
        cifar.load("cifar10", tmp_path)


def test_tfds_files_come_back_in_the_official_order(tmp_path):
    """Array_record files of the CIFAR layout, shuffled as tensorflow-datasets shuffles them."""
    import tensorflow_datasets as tfds

    arrays = random_cifar("cifar10", train=60)
    builder_class = tfds.image_classification.Cifar10

    class Prepared(builder_class, skip_registration=True):
        name = "cifar10"

        def _split_generators(self, dl_manager):
            self.info.features["label"].names = list(cifar.CIFAR10_CLASSES)
            return {part: self._rows(part) for part in ("train", "test")}

        def _rows(self, part):
            for index, (image, label) in enumerate(
                zip(arrays[f"x_{part}"], arrays[f"y_{part}"], strict=True)
            ):
                png = io.BytesIO()
                Image.fromarray(image).save(png, "PNG")
                png.seek(0)
                yield index, {"id": f"{part}_{index:05d}", "image": png, "label": int(label)}

    Prepared(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    assert_same(cifar.load("cifar10", tmp_path), arrays)
    assert (tmp_path / "cifar10.npz").exists()


def test_unusable_tfds_files_say_how_to_prepare_them(tmp_path):
    (tmp_path / "cifar10" / "3.0.2").mkdir(parents=True)
    with pytest.raises(UserError, match="file_format=array_record"):
        cifar.load("cifar10", tmp_path)


def own_arrays():
    rng = np.random.default_rng(0)
    return {
        "features": rng.normal(size=(20, 4)).astype(np.float32),
        "labels": rng.integers(3, size=20),
        "val_features": rng.normal(size=(6, 4)).astype(np.float16),
        "val_labels": np.arange(6) % 3,
    }


def test_own_features(tmp_path):
    arrays = {**own_arrays(), "class_names": np.array(["a", "b", "c"]), "notes": np.arange(3)}
    np.savez(tmp_path / "own.npz", **arrays)
    dataset = own_features.load(tmp_path / "own.npz")
    np.testing.assert_array_equal(dataset.given_labels, arrays["labels"])
    assert dataset.class_names == ("a", "b", "c")
    assert dataset.labels is None
    assert dataset.test_inputs is None
    assert dataset.val_given_labels is None
    assert dataset.val_random is None


def test_what_own_features_say_of_their_clean_rows(tmp_path):
    given = np.array([0, -1, 2, 2, -1, 0])
    for drawn in (np.arange(6) % 2, np.arange(6) % 2 == 1):
        np.savez(tmp_path / "own.npz", **own_arrays(), val_given_labels=given, val_random=drawn)
        dataset = own_features.load(tmp_path / "own.npz")
        np.testing.assert_array_equal(dataset.val_given_labels, given)
        assert dataset.val_random.dtype == bool
        np.testing.assert_array_equal(dataset.val_random, drawn)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": None}, "lacks the array labels"),
        ({"val_features": np.zeros((6, 5), np.float32)}, "5 columns"),
        ({"features": np.full((20, 4), np.nan)}, "row 0"),
        ({"features": np.zeros(20)}, "matrix"),
        ({"labels": np.zeros(19, int)}, "19 rows"),
        ({"labels": np.full(20, -1)}, r"labels\[0\]"),
        ({"labels": np.full(20, 0.5)}, "integer"),
        ({"val_given_labels": np.full(6, -2)}, r"val_given_labels\[0\].*-1 is an unknown label"),
        ({"val_random": np.ones(5, bool)}, "val_random .* has 5 rows"),
        ({"val_random": np.full(6, 2)}, "val_random .* must be True or False"),
        ({"test_features": np.zeros((2, 4), np.float32)}, "both test_features and test_labels"),
        ({"true_label": np.zeros(20, int)}, "did you mean 'true_labels'"),
        ({"class_names": np.array(["a", "b"])}, "2 class_names"),
        # A slip that would ask for a thousand million names.
        ({"labels": np.full(20, 10**9)}, "1000000001 classes, by its largest label, but 6 clean rows"),
        ({"class_names": np.arange(7).astype(str)}, "7 classes, by its class_names, but 6 clean rows"),
    ],
)
def test_unusable_features_are_refused(tmp_path, changes, words):
    arrays = {k: v for k, v in {**own_arrays(), **changes}.items() if v is not None}
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(UserError, match=words):
        own_features.load(tmp_path / "own.npz")


def test_labels_of_own_features_in_other_notations(tmp_path):
    arrays = own_arrays()
    np.savez(tmp_path / "own.npz", **arrays)
    plain = own_features.load(tmp_path / "own.npz")
    one_hot = np.eye(3)
    for write in (np.float64, lambda labels: labels[:, None], one_hot.__getitem__):
        written = {name: write(arrays[name]) for name in ("labels", "val_labels")}
        np.savez(tmp_path / "own.npz", **{**arrays, **written})
        found = own_features.load(tmp_path / "own.npz")
        assert found.given_labels.dtype == np.int32
        np.testing.assert_array_equal(found.given_labels, plain.given_labels)
        np.testing.assert_array_equal(found.val_labels, plain.val_labels)


def test_missing_features_are_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        own_features.load(tmp_path / "own.npz")
    with pytest.raises(UserError, match=r"data\.path is empty"):
        own_features.load(None)


def test_unknown_data_set_is_refused():
    config = default_config()
    config.data.name = "cifar-10"
    with pytest.raises(UserError, match="did you mean 'cifar10'"):
        datasets.load(config.data, 0)


def test_fingerprint_sees_every_array():
    dataset = datasets.load(default_config().data, seed=0)
    changed = dataset.test_labels.copy()
    changed[-1] = (changed[-1] + 1) % 10
    known = datasets.fingerprint(dataset)
    assert datasets.fingerprint(dataset) == known
    assert datasets.fingerprint(dataset._replace(test_labels=changed)) != known
