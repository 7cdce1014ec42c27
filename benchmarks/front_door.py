"""Measures `dmlp-purify` from raw texts and from a folder of images, with 200 reviewed rows and with none.

    python benchmarks/front_door.py texts FOLDER
    python benchmarks/front_door.py images FOLDER --cifar=data/cifar10.npz

FOLDER holds news_noisy_text.csv (text, label) and news_true_labels.csv (label) of NoisyAG-News, and
cifar10n_labels.npz (aggre_label) of CIFAR-10N. Images are 2,000 of CIFAR-10, written as PNG files to folders
of the classes that the crowd gave. 200 rows are drawn at random and reviewed: the command gets their numbers,
their true labels, and the labels that they were given. Labels and ranking are judged on the rows that were
not reviewed. The run without reviewed rows finds the embedding of the other. cleanlab ranks the same rows on
the same embedding by the self-confidence of a cross-validated logistic regression; its labels are predictions
for rows that it flags. Images get one more linear probe, of pixels. True labels are used for judging only.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from common import RESULTS, markdown, mean_and_spread, save
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from dmlp_jax.storage import files

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SEEDS, REVIEWED, IMAGES, FIRST = 3, 200, 2_000, 200
PACKAGES = ("jax", "numpy", "scikit-learn", "cleanlab")


class Rows(NamedTuple):
    """Raw rows in files.

    Attributes:
        arguments: of `dmlp-purify`, what to read.
        given: given labels [n] strings, in the command's order of the rows.
        true: true labels [n] strings.
        pixels: the images [n, 32, 32, 3], or None.
    """

    arguments: list[str]
    given: np.ndarray
    true: np.ndarray
    pixels: np.ndarray | None = None


def main() -> None:
    """Measures; writes benchmarks/results/front_door_<kind>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("texts", "images"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cifar", type=Path, default=Path("data/cifar10.npz"))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--images", type=int, default=IMAGES, help="number of images")
    parser.add_argument("--out", type=Path, help="file of the result")
    arguments = parser.parse_args()
    lines: dict[str, list[dict[str, float]]] = {}
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as place:
            rows = (
                texts(arguments.folder) if arguments.kind == "texts" else images(arguments, Path(place), seed)
            )
            for name, scores in measure(rows, Path(place), seed).items():
                print(seed, name, scores, flush=True)
                lines.setdefault(name, []).append(scores)
    header = ["method", "labels right, %", "AUROC of the ranking", f"wrong among the first {FIRST}, %"]
    header += ["seconds", "CPU seconds"]
    table = markdown(header, [line(name, runs) for name, runs in lines.items()])
    text = (
        f"{len(rows.given):,} {arguments.kind}, {REVIEWED} reviewed at random, {arguments.seeds} draws, mean "
        "± standard deviation over the draws. Judged on rows that were not reviewed, except in the first "
        "run, which has no reviewed rows; probes are on all rows. Seconds are of the whole command, with the "
        "embedding and the report, on a machine that others used at the same time; CPU seconds are those of "
        "all its threads. Those of the first run and of cleanlab are without the embedding.\n\n"
    )
    out = arguments.out or RESULTS / f"front_door_{arguments.kind}.md"
    save(out, f"From raw {arguments.kind} to mended labels", text + table, PACKAGES)


def texts(folder: Path) -> Rows:
    """The news texts."""
    path = folder / "news_noisy_text.csv"
    given = pd.read_csv(path)["label"].to_numpy(dtype=object)
    true = pd.read_csv(folder / "news_true_labels.csv")["label"].to_numpy(dtype=object)
    return Rows([str(path), "--text", "text", "--label", "label"], given, true)


def images(arguments: argparse.Namespace, place: Path, seed: int) -> Rows:
    """Images of CIFAR-10 in class folders, in the order in which the command reads them: by name."""
    stored = files.load_npz(arguments.cifar, ("x_train", "y_train"))
    noisy = files.load_npz(arguments.folder / "cifar10n_labels.npz", ("aggre_label",))["aggre_label"]
    chosen = np.random.default_rng((seed, 1)).permutation(len(noisy))[: arguments.images]
    folder = place / "photos"
    named = {}
    for row in chosen:
        path = folder / CLASSES[noisy[row]] / f"{row:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(stored["x_train"][row]).save(path)
        named[path] = row
    order = np.array([named[path] for path in sorted(named)])
    given, true = (np.array(CLASSES, dtype=object)[of[order]] for of in (noisy, stored["y_train"]))
    return Rows([str(folder)], given, true, stored["x_train"][order])


def measure(rows: Rows, place: Path, seed: int) -> dict[str, dict[str, float]]:
    """Scores by method for one draw of reviewed rows."""
    reviewed = np.sort(np.random.default_rng(seed).choice(len(rows.given), REVIEWED, replace=False))
    rest = np.setdiff1d(np.arange(len(rows.given)), reviewed)
    (place / "rows.txt").write_text("".join(f"{row}\n" for row in reviewed))
    (place / "right.txt").write_text("".join(f"{label}\n" for label in rows.true[reviewed]))
    options = ["--val-index", str(place / "rows.txt"), "--val-labels", str(place / "right.txt")]
    kept = ["--embeddings", str(place / "kept")]
    own, seconds = run([*rows.arguments, *options, *kept, "--out", str(place / "out")])
    first, first_seconds = run([*rows.arguments, *kept, "--out", str(place / "first")])
    features = np.load(next((place / "kept").glob("*/features.npy")), allow_pickle=False)
    peer, peer_seconds = cleanlab(features, rows.given)
    everything = np.arange(len(rows.given))
    found = {
        "given labels": scores(rows, rest, rows.given, None),
        "first run, no reviewed rows": scores(
            rows, everything, first["purified_label"], first["label_quality"]
        ),
        f"dmlp-purify, {REVIEWED} reviewed": scores(rows, rest, own["purified_label"], own["label_quality"]),
        "cleanlab, same embedding": scores(rows, rest, *peer),
    }
    found["first run, no reviewed rows"] |= first_seconds
    found[f"dmlp-purify, {REVIEWED} reviewed"] |= seconds
    found["cleanlab, same embedding"] |= peer_seconds
    found["linear probe of this embedding on all true labels"] = probe(features, rows.true)
    if rows.pixels is not None:
        flat = PCA(256).fit_transform(rows.pixels.reshape(len(rows.pixels), -1).astype(np.float32))
        found["the same of pixels, 256 components"] = probe(flat, rows.true)
    return found


def probe(features: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Accuracy, in five folds, of a ridge classifier that is trained on true labels."""
    rows = (features - features.mean(axis=0)) / features.std()
    model = RidgeClassifierCV(alphas=len(rows) * np.logspace(-3, 1, 9))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return {"right": float(np.mean(cross_val_predict(model, rows, true, cv=folds) == true))}


def run(arguments: list[str]) -> tuple[pd.DataFrame, dict[str, float]]:
    """Runs the command; its purified.csv, 'seconds' and 'cpu'."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "dmlp_jax.cli", *arguments], check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    out = Path(arguments[arguments.index("--out") + 1])
    return pd.read_csv(out / "purified.csv"), {"seconds": seconds, "cpu": used}


def cleanlab(
    features: np.ndarray, given: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, float]]:
    """Labels and qualities [n] by confident learning, and its time without the embedding's."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    start, used = time.perf_counter(), time.process_time()
    names, codes = np.unique(given.astype(str), return_inverse=True)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    scaled = (features - features.mean(axis=0)) / features.std()
    model = LogisticRegression(max_iter=300)
    probs = cross_val_predict(model, scaled, codes, cv=folds, method="predict_proba")
    flagged = find_label_issues(codes, probs, n_jobs=1)
    labels = names[np.where(flagged, probs.argmax(axis=1), codes)]
    spent = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - used}
    return (labels, get_label_quality_scores(codes, probs)), spent


def scores(
    rows: Rows, judged: np.ndarray, labels: np.ndarray | pd.Series, quality: np.ndarray | pd.Series | None
) -> dict[str, float]:
    """'right', 'auroc' and 'first' on the rows `judged`."""
    found = {"right": float(np.mean(np.asarray(labels)[judged] == rows.true[judged]))}
    if quality is not None:
        wrong, order = rows.given[judged] != rows.true[judged], np.asarray(quality, np.float64)[judged]
        found["auroc"] = float(roc_auc_score(wrong, -order))
        found["first"] = float(wrong[np.argsort(order, kind="stable")[:FIRST]].mean())
    return found


def line(name: str, runs: list[dict[str, float]]) -> list[str]:
    """A row of the table."""
    cells = [name]
    for key, percent in (("right", True), ("auroc", False), ("first", True)):
        cells.append(mean_and_spread([run[key] for run in runs], percent) if key in runs[0] else "-")
    for key in ("seconds", "cpu"):
        cells.append(f"{np.mean([run[key] for run in runs]):.0f}" if key in runs[0] else "-")
    return cells


if __name__ == "__main__":
    main()
