"""Lists the files and labels of Clothing1M (Xiao et al., CVPR 2015) in its authors' folder layout.

    root/images/<digit>/<digits>/<name>.jpg   or, without the folder images, root/<digit>/...
    root/noisy_train_key_list.txt             one key per line, images/<digit>/<digits>/<name>.jpg
    root/clean_val_key_list.txt, root/clean_test_key_list.txt
    root/noisy_label_kv.txt, root/clean_label_kv.txt     one `key label` per line, labels 0 to 13
    root/category_names_eng.txt               one class name per line

The noisy training set is a million images with labels derived from the shops' descriptions; the clean set is
the 14,313 clean validation images. The clean training images are not used, as in the paper. The table of
noisy labels also holds those of some clean images, which show how the noisy source labels.
"""

from pathlib import Path

import numpy as np

from dmlp_jax.data.sets.image_sets import Listing, Part
from dmlp_jax.errors import UserError

CLASSES = 14
# For each part: the list of its keys and the table of their labels.
_PARTS = {
    "train": ("noisy_train_key_list.txt", "noisy_label_kv.txt"),
    "val": ("clean_val_key_list.txt", "clean_label_kv.txt"),
    "test": ("clean_test_key_list.txt", "clean_label_kv.txt"),
}
_NAMES = "category_names_eng.txt"


def listing(root: Path) -> Listing:
    """Lists the files and labels in the order of the key lists; no image is opened.

    Args:
        root: `data.dir`.

    Raises:
        UserError: a list is missing, a key has no label or occurs twice, or a label is outside 0 to 13.
    """
    wanted = sorted({name for pair in _PARTS.values() for name in pair} | {_NAMES})
    missing = [name for name in wanted if not (root / name).is_file()]
    if missing:
        raise UserError(
            f"{root.resolve()} (data.dir) lacks {', '.join(missing)}; it must hold Clothing1M as its "
            "authors hand it out, key lists and label tables beside the folder images"
        )
    names = tuple(line.strip() for line in _lines(root / _NAMES))
    if len(names) != CLASSES:
        raise UserError(f"{root / _NAMES} has {len(names)} lines; Clothing1M has {CLASSES} classes")
    # Without a folder images/, the archives' folders 0 to 9 lie beside the lists.
    nested = (root / "images").is_dir()
    tables = {name: _labels(root / name) for name in {table for _, table in _PARTS.values()}}
    parts = {
        part: _part(root / keys, tables[table], table, root, nested) for part, (keys, table) in _PARTS.items()
    }
    val = parts["val"]._replace(given=_given(root / _PARTS["val"][0], tables[_PARTS["train"][1]]))
    return Listing(names, parts["train"], val, parts["test"])


def _part(path: Path, table: dict[str, int], table_name: str, root: Path, nested: bool) -> Part:
    keys = _lines(path)
    if not keys:
        raise UserError(f"{path} is empty")
    seen = set()
    for number, key in enumerate(keys, 1):
        if key not in table:
            raise UserError(f"{path}, line {number}: {key!r} has no label in {table_name}")
        if key in seen:
            raise UserError(f"{path}, line {number}: {key!r} is listed twice")
        if key.startswith("/") or ".." in key.split("/"):
            raise UserError(f"{path}, line {number}: {key!r} leads out of the data set's folder")
        seen.add(key)
    places = [f"{root}/{key if nested else key.removeprefix('images/')}" for key in keys]
    return Part(places, np.array([table[key] for key in keys], np.int32))


def _given(path: Path, noisy: dict[str, int]) -> np.ndarray | None:
    """The labels of listed images in the table `noisy` [n], -1 where it has none; None if it has none."""
    given = np.array([noisy.get(key, -1) for key in _lines(path)], np.int32)
    return given if (given >= 0).any() else None


def _labels(path: Path) -> dict[str, int]:
    table = {}
    for number, line in enumerate(_lines(path), 1):
        key, _, label = line.rpartition(" ")
        if not key or not label.isdecimal() or int(label) >= CLASSES:
            raise UserError(
                f"{path}, line {number}: {line!r} must be a key, a space and a label of 0 to {CLASSES - 1}"
            )
        table[key] = int(label)
    return table


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); unpack the archive again") from error
