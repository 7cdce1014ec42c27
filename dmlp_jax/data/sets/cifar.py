"""Reads CIFAR-10 and CIFAR-100 in the official order from an npz, a TFDS or a tarball copy in `data.dir`.

Copies are tried in this order: `<name>.npz`, which this module writes after reading one of the others;
tensorflow-datasets' array_record files, which need TensorFlow to prepare but not to read; the official binary
tarball, checked against its SHA-256. The binary version contains no pickled objects.
"""

import tarfile
from pathlib import Path

import numpy as np

from dmlp_jax.data.types import Dataset
from dmlp_jax.errors import UserError
from dmlp_jax.storage import files

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
# SHA-256 as recorded by tensorflow-datasets in url_checksums/.
TARBALLS = {
    "cifar10": (
        "cifar-10-binary.tar.gz",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ),
    "cifar100": (
        "cifar-100-binary.tar.gz",
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    ),
}
MEMBERS = {
    "cifar10": (
        [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)],
        ["cifar-10-batches-bin/test_batch.bin"],
    ),
    "cifar100": (["cifar-100-binary/train.bin"], ["cifar-100-binary/test.bin"]),
}
CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
# The five fine classes of each of CIFAR-100's 20 superclasses, in the order of the superclasses.
_GROUPS = [
    group.split()
    for group in """beaver dolphin otter seal whale; aquarium_fish flatfish ray shark trout;
    orchid poppy rose sunflower tulip; bottle bowl can cup plate; apple mushroom orange pear sweet_pepper;
    clock keyboard lamp telephone television; bed chair couch table wardrobe;
    bee beetle butterfly caterpillar cockroach; bear leopard lion tiger wolf;
    bridge castle house road skyscraper; cloud forest mountain plain sea;
    camel cattle chimpanzee elephant kangaroo; fox porcupine possum raccoon skunk;
    crab lobster snail spider worm; baby boy girl man woman; crocodile dinosaur lizard snake turtle;
    hamster mouse rabbit shrew squirrel; maple_tree oak_tree palm_tree pine_tree willow_tree;
    bicycle bus motorcycle pickup_truck train; lawn_mower rocket streetcar tank tractor""".split(";")  # noqa: SIM905
]
# The fine labels number the classes in alphabetical order.
CIFAR100_CLASSES = tuple(sorted(name for group in _GROUPS for name in group))


def cifar100_superclasses() -> np.ndarray:
    """The superclass (0 to 19) of each of the 100 fine classes, [100] int32."""
    result = np.empty(100, np.int32)
    for index, group in enumerate(_GROUPS):
        result[[CIFAR100_CLASSES.index(name) for name in group]] = index
    return result


def load(name: str, root: Path) -> Dataset:
    """Loads CIFAR as uint8 images [n, 32, 32, 3] in the official order.

    Args:
        name: 'cifar10' or 'cifar100'.
        root: `data.dir`. A TFDS or tarball copy is saved there as `<name>.npz` after reading.

    Raises:
        UserError: there is no copy, or the copy is damaged.
    """
    cached = root / f"{name}.npz"
    if cached.exists():
        arrays = files.load_npz(cached, ARRAYS)
    else:
        found = _from_tfds(name, root) or _from_tarball(name, root)
        if found is None:
            raise UserError(_how_to_get(name, root))
        arrays = found
        files.save_npz(cached, arrays)
    _check(cached, arrays, 10 if name == "cifar10" else 100)
    return Dataset(
        inputs=arrays["x_train"],
        labels=arrays["y_train"].astype(np.int32).ravel(),
        test_inputs=arrays["x_test"],
        test_labels=arrays["y_test"].astype(np.int32).ravel(),
        class_names=CIFAR10_CLASSES if name == "cifar10" else CIFAR100_CLASSES,
        superclasses=cifar100_superclasses() if name == "cifar100" else None,
    )


def _check(path: Path, arrays: dict[str, np.ndarray], classes: int) -> None:
    for part in ("train", "test"):
        images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if images.ndim != 4 or images.shape[1:] != (32, 32, 3) or images.dtype != np.uint8:
            raise UserError(
                f"x_{part} in {path} must be uint8 images [n, 32, 32, 3], got {images.dtype} {images.shape}"
            )
        if labels.dtype.kind not in "iu":
            raise UserError(f"y_{part} in {path} must hold integers, got {labels.dtype}")
        if labels.size != len(images):
            raise UserError(f"y_{part} in {path} has {labels.size} entries for {len(images)} images")
        if labels.size == 0 or labels.min() < 0 or labels.max() >= classes:
            raise UserError(f"y_{part} in {path} must hold classes 0 to {classes - 1}")


def _from_tfds(name: str, root: Path) -> dict[str, np.ndarray] | None:
    """Reads array_record files prepared by tensorflow-datasets; None if there are none."""
    if not (root / name).is_dir():
        return None
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=root, file_format="array_record")
        sources = [builder.as_data_source(split) for split in ("train", "test")]
    except Exception as error:
        # TFDS raises exceptions of many types for files that it cannot read.
        raise UserError(
            f"the tensorflow-datasets files in {root / name} cannot be read ({error}); prepare them with "
            f"`tfds build {name} --data_dir={root} --file_format=array_record`, or delete that folder"
        ) from error
    arrays = {}
    for part, source in zip(("train", "test"), sources, strict=True):
        examples = sorted((source[i] for i in range(len(source))), key=lambda example: example["id"])
        arrays[f"x_{part}"] = np.stack([example["image"] for example in examples])
        arrays[f"y_{part}"] = np.array([example["label"] for example in examples], np.uint8)
    return arrays


def _from_tarball(name: str, root: Path) -> dict[str, np.ndarray] | None:
    """Reads the official binary tarball; None if there is none."""
    file_name, checksum = TARBALLS[name]
    path = root / file_name
    if not path.exists():
        return None
    found = files.sha256(path)
    if found != checksum:
        raise UserError(
            f"{path} is damaged or not the official file: its SHA-256 is {found}, expected {checksum}; "
            "download it again"
        )
    arrays = {}
    with tarfile.open(path) as archive:
        for part, members in zip(("train", "test"), MEMBERS[name], strict=True):
            blobs = [_bytes_of(archive, member) for member in members]
            # A record is the label (CIFAR-100: coarse, then fine) and 3,072 bytes, one channel after another.
            head = 1 if name == "cifar10" else 2
            records = np.frombuffer(b"".join(blobs), np.uint8).reshape(-1, head + 3072)
            arrays[f"y_{part}"] = records[:, head - 1].copy()
            pixels = records[:, head:].reshape(-1, 3, 32, 32)
            arrays[f"x_{part}"] = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
    return arrays


def _bytes_of(archive: tarfile.TarFile, member: str) -> bytes:
    stream = archive.extractfile(member)
    assert stream is not None  # None only if the member is a folder.
    return stream.read()


def _how_to_get(name: str, root: Path) -> str:
    root = root.resolve()
    tarball = TARBALLS[name][0]
    return (
        f"no copy of {name} in {root} (data.dir). Put one there in any of three ways:\n"
        f"  1. {name}.npz with x_train, y_train, x_test, y_test (uint8, images [n, 32, 32, 3]);\n"
        f"  2. `pip install tensorflow-cpu importlib_resources && tfds build {name} --data_dir={root} "
        "--file_format=array_record` (TensorFlow is needed for this step only);\n"
        f"  3. the official binary version, https://www.cs.toronto.edu/~kriz/{tarball}, as it is."
    )
