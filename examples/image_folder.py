"""Finds images that lie in the wrong class folder, with `dmlp-purify`: half a minute on two CPU cores.

    python examples/image_folder.py --folder digit_images

Writes scikit-learn's digits as PNG files to FOLDER/train/<class>/, 30 % of them to a random class folder, and
a clean set of five correctly labelled images per class to FOLDER/val/<class>/. Then it runs the command
`dmlp-purify` on the folders, and compares its results with the true classes. For your own images, leave out
`write_images`; without clean ones, leave out `--val-features` too.
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
    train = sorted(folder.glob("train/*/*.png"))
    found = purify(folder)
    wrong = {path for path in train if path.parent.name != truth[path.name]}
    named = [folder / "train" / row["id"] for row in found if row["is_label_issue"] == "True"]
    print(f"\n{len(train)} images, {len(wrong)} of them in a wrong folder; {len(named)} reported as issues:")
    print(f"{len(wrong & set(named))} of these are in a wrong folder. The most suspicious:")
    for row in found[:5]:
        label = f"{row['given_label']} -> {row['predicted_label']}"
        print(f"  train/{row['id']:<16} {label:<16} truth: {truth[Path(row['id']).name]}")


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


def purify(folder: Path) -> list[dict[str, str]]:
    """Runs `dmlp-purify` on the images; returns the rows of issues.csv, the most suspicious image first."""
    out = folder / "purified"
    words = [str(folder / "train"), "--val-features", str(folder / "val"), "--out", str(out)]
    print("dmlp-purify", *words, flush=True)
    # Runs the module behind `dmlp-purify` with the Python that runs this script.
    subprocess.run([sys.executable, "-m", "dmlp_jax.cli", *words], check=True)
    with open(out / "issues.csv", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
