"""Counts what it takes from raw data to a first list of suspicious labels: lines, steps and seconds.

    python benchmarks/front_door_effort.py --folder=FOLDER --cifar=cifar10.npz

Texts are those of NoisyAG-News, images 2,000 of CIFAR-10 in folders of the class that its crowd gave, the
table is scikit-learn's digits with 20 % of the labels drawn anew. FOLDER is that of `front_door.py`.
`dmlp-purify` is run as a command, with no reviewed row; cleanlab as its documentation shows it, by
CleanLearning and by Datalab. Nothing is downloaded, so cleanlab gets the features that scikit-learn makes:
TF-IDF (CleanLearning), TF-IDF and a truncated SVD (Datalab, which needs a matrix for its search for near
duplicates), 256 principal components of pixels; a logistic regression is its classifier. The scripts below
are what is counted and what is run, each in a process of its own. True labels are for the last two columns
only.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import front_door
import numpy as np
import pandas as pd
from common import RESULTS, markdown, mean_and_spread, save
from front_door import Rows
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

FIRST, NOISE = 100, 0.2
PACKAGES = ("jax", "numpy", "scikit-learn", "cleanlab")
# What dmlp-purify is called with after the name of the data.
OPTIONS = {"texts": "--text text --label label", "images": "", "table": "--label-column label"}

READ = {
    "texts": """
data = pd.read_csv("data.csv")
features = TfidfVectorizer().fit_transform(data["text"])
""",
    "images": """
paths = sorted(Path("photos").glob("*/*"))
data = pd.DataFrame({"path": paths, "label": [path.parent.name for path in paths]})
pixels = np.stack([np.asarray(Image.open(path).convert("RGB")).ravel() for path in paths])
features = PCA(256).fit_transform(pixels / 255)
""",
    "table": """
data = pd.read_csv("data.csv")
features = StandardScaler().fit_transform(data.drop(columns="label"))
""",
}
IMPORTS = {
    "texts": """
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
""",
    "images": """
from pathlib import Path
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.decomposition import PCA
""",
    "table": """
import pandas as pd
from sklearn.preprocessing import StandardScaler
""",
}
CLEAN_LEARNING = """
labels = LabelEncoder().fit_transform(data["label"])
issues = CleanLearning(LogisticRegression(max_iter=1000)).find_label_issues(features, labels)
data.join(issues["label_quality"]).sort_values("label_quality").to_csv("issues.csv")
"""
OF_CLEAN_LEARNING = """
from cleanlab.classification import CleanLearning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import LabelEncoder
"""
DATALAB = """
model = LogisticRegression(max_iter=1000)
probs = cross_val_predict(model, features, data["label"], cv=5, method="predict_proba")
lab = Datalab({"label": data["label"].tolist()}, label_name="label")
lab.find_issues(pred_probs=probs, features=features)
issues = lab.get_issues("label").rename(columns={"label_score": "label_quality"})
data.join(issues["label_quality"]).sort_values("label_quality").to_csv("issues.csv")
"""
OF_DATALAB = """
from cleanlab import Datalab
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
"""
STEPS = {
    "dmlp-purify": "run the command",
    "cleanlab, CleanLearning": "read; make features; choose a classifier; find issues; write them",
    "cleanlab, Datalab": "read; make features; choose a classifier; cross-validate; find issues; write them",
}
RESULT = {
    "dmlp-purify": "list, page to review on, duplicates, outliers",
    "cleanlab, CleanLearning": "list",
    "cleanlab, Datalab": "list, duplicates, outliers",
}


def main() -> None:
    """Measures; writes benchmarks/results/front_door_effort.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", default="texts,images,table")
    parser.add_argument(
        "--folder", type=Path, default=Path("data"), help="of the texts and CIFAR-10N's labels"
    )
    parser.add_argument("--cifar", type=Path, default=Path("data/cifar10.npz"))
    parser.add_argument("--images", type=int, default=2_000, help="number of images")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--out", type=Path, default=RESULTS / "front_door_effort.md", help="file of the result"
    )
    arguments = parser.parse_args()
    header = ["data", "tool", "lines", "steps", "seconds", "CPU seconds", "AUROC of the ranking"]
    header += [f"wrong among the first {FIRST}, %", "result"]
    lines = []
    for kind in arguments.kinds.split(","):
        with tempfile.TemporaryDirectory() as place:
            rows = prepare(kind, arguments, Path(place))
            for tool, script in scripts(kind).items():
                lines.append(measure(kind, tool, script, rows, Path(place), arguments.repeats))
                print(lines[-1], flush=True)
    count = arguments.repeats
    runs = "one run each" if count == 1 else f"medians of {count} runs"
    text = (
        "From raw data to a first list of suspicious labels, nothing reviewed. Lines are those of the script "
        f"or command that was run, steps what its writer decides on. Seconds of whole processes, {runs}, on "
        "a machine that others used at the same time; CPU seconds are those of all threads.\n\n"
    )
    steps = "".join(f"\n- {tool}: {words}." for tool, words in STEPS.items())
    text += markdown(header, lines) + f"\n\nThe steps:\n{steps}"
    save(arguments.out, "Effort until the first result", text, PACKAGES)


def prepare(kind: str, arguments: argparse.Namespace, place: Path) -> Rows:
    """Writes data.csv, or the folder photos, to a folder; given and true labels."""
    if kind == "images":
        return front_door.images(arguments, place, seed=0)
    if kind == "texts":
        rows = front_door.texts(arguments.folder)
        (place / "data.csv").write_bytes(Path(rows.arguments[0]).read_bytes())
        return rows
    rng = np.random.default_rng(0)
    digits, true = load_digits(return_X_y=True)
    given = np.where(rng.random(len(true)) < NOISE, rng.integers(10, size=len(true)), true)
    frame = pd.DataFrame(digits, columns=[f"pixel_{number}" for number in range(digits.shape[1])])
    frame.assign(label=given).to_csv(place / "data.csv", index=False)
    return Rows([], given, true)


def scripts(kind: str) -> dict[str, str]:
    """What is run, by tool: a command, or a script of Python."""
    data = "photos" if kind == "images" else "data.csv"
    of_datalab, read = OF_DATALAB, READ[kind]
    if kind == "texts":
        of_datalab += "from sklearn.decomposition import TruncatedSVD\n"
        read += "features = TruncatedSVD(256).fit_transform(features)\n"
    return {
        "dmlp-purify": " ".join(filter(None, ["dmlp-purify", data, OPTIONS[kind], "--out OUT"])),
        "cleanlab, CleanLearning": OF_CLEAN_LEARNING + IMPORTS[kind] + READ[kind] + CLEAN_LEARNING,
        "cleanlab, Datalab": of_datalab + IMPORTS[kind] + read + DATALAB,
    }


def measure(kind: str, tool: str, script: str, rows: Rows, place: Path, repeats: int) -> list[str]:
    """A row of the table."""
    own = tool == "dmlp-purify"
    program = ["-m", "dmlp_jax.cli", *script.split()[1:]] if own else ["-c", script]
    # As the user's own installation finds it, from the folder of the data.
    environment = {**os.environ, "PYTHONPATH": str(RESULTS.parents[1])}
    times = []
    for number in range(repeats):
        # Each time without embeddings that were kept.
        words = [f"{word}_{number}" if word == "OUT" else word for word in program]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [sys.executable, *words], cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL
        )
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append((seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    path = place / ("OUT_0/purified.csv" if own else "issues.csv")
    found = pd.read_csv(path, index_col=None if own else 0).sort_index()
    quality, wrong = found["label_quality"].to_numpy(), rows.given != rows.true
    first = wrong[np.argsort(quality, kind="stable")[:FIRST]].mean()
    return [
        kind,
        tool,
        str(sum(bool(line.strip()) for line in script.splitlines())),
        str(STEPS[tool].count(";") + 1),
        *(f"{np.median(column):.0f}" for column in zip(*times, strict=True)),
        f"{roc_auc_score(wrong, -quality):.3f}",
        mean_and_spread([float(first)]),
        RESULT[tool],
    ]


if __name__ == "__main__":
    main()
