"""Finds images that lie in the wrong class folder, with `dmlp-purify`: half a minute on two CPU cores.

    python examples/image_folder.py --folder digit_images

Writes scikit-learn's digits as PNG files to FOLDER/train/<class>/, 30 % of them to a random class folder, and
a clean set of five correctly labelled images per class to FOLDER/val/<class>/. Then it embeds all images,
runs the command `dmlp-purify` on the embeddings, and compares its results with the true classes. For your own
images, leave out `write_images` and replace `embed` by an image encoder.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def main() -> None:
    """Writes the images, purifies their labels and prints the images found in a wrong folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("digit_images"), help="folder to create")
    parser.add_argument(
        "--rate", type=float, default=0.3, help="share of images put into a random class folder"
    )
    parser.add_argument("--clean", type=int, default=5, help="clean images per class")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = arguments.folder
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"{folder} is not empty; name another --folder")
    truth = write_images(folder, arguments.rate, arguments.clean, arguments.seed)
    train, val = sorted(folder.glob("train/*/*.png")), sorted(folder.glob("val/*/*.png"))
    found = purify(folder, train, val)
    wrong = {path for path in train if path.parent.name != truth[path.name]}
    named = [folder / "train" / row["image"] for row in found if row["is_label_issue"] == "True"]
    print(f"\n{len(train)} images, {len(wrong)} of them in a wrong folder; {len(named)} reported as issues:")
    print(f"{len(wrong & set(named))} of these are in a wrong folder. The most suspicious:")
    for row in found[:5]:
        label = f"{row['given_label']} -> {row['predicted_label']}"
        print(f"  train/{row['image']:<16} {label:<16} truth: {truth[Path(row['image']).name]}")


def write_images(folder: Path, rate: float, clean: int, seed: int) -> dict[str, str]:
    """Writes the images to `folder`; returns the true class of each file name."""
    rng = np.random.default_rng(seed)
    images, labels = load_digits(return_X_y=True)
    train, val = train_test_split(
        np.arange(len(labels)), test_size=clean * len(NAMES), random_state=seed, stratify=labels
    )
    truth = {}
    for part, rows in (("train", train), ("val", val)):
        for row in rows:
            misplaced = part == "train" and rng.random() < rate
            place = folder / part / NAMES[rng.integers(len(NAMES)) if misplaced else labels[row]]
            place.mkdir(parents=True, exist_ok=True)
            pixels = np.uint8(images[row].reshape(8, 8) * 255 / 16)
            # Enlarged four times, to be easier to look at.
            Image.fromarray(np.kron(pixels, np.ones((4, 4), np.uint8))).save(place / f"{row:04}.png")
            truth[f"{row:04}.png"] = NAMES[labels[row]]
    return truth


def embed(paths: list[Path]) -> np.ndarray:
    """Embeddings [n, 64], float32: here simply the pixels of each image, reduced to 8 x 8."""
    rows = []
    for path in paths:
        with Image.open(path) as image:
            rows.append(
                np.asarray(image.convert("L").resize((8, 8), Image.Resampling.BOX), np.float32).ravel()
            )
    return np.stack(rows)


def purify(folder: Path, train: list[Path], val: list[Path]) -> list[dict[str, str]]:
    """Runs `dmlp-purify` on the embeddings; returns the rows of issues.csv and their 'image', worst first."""
    for name, paths in (("train", train), ("val", val)):
        np.save(folder / f"{name}.npy", embed(paths))
        (folder / f"{name}_labels.txt").write_text("".join(f"{path.parent.name}\n" for path in paths))
    names = [path.relative_to(folder / "train").as_posix() for path in train]
    (folder / "names.txt").write_text("".join(f"{name}\n" for name in names))
    out = folder / "purified"
    options = {
        "--val-features": folder / "val.npy",
        "--val-labels": folder / "val_labels.txt",
        "--images": folder / "train",
        "--image-names": folder / "names.txt",
        "--out": out,
    }
    words = [
        folder / "train.npy",
        folder / "train_labels.txt",
        *(w for pair in options.items() for w in pair),
    ]
    print("dmlp-purify", *words, flush=True)
    # Runs the module behind `dmlp-purify` with the Python that runs this script.
    subprocess.run([sys.executable, "-m", "dmlp_jax.cli", *map(str, words)], check=True)
    with open(out / "issues.csv", newline="") as file:
        return [row | {"image": names[int(row["index"])]} for row in csv.DictReader(file)]


if __name__ == "__main__":
    main()
