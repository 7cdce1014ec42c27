"""Finds wrong labels of texts, with `embed` and `LabelPurifier`: half a minute on two CPU cores.

    python examples/text_embeddings.py

The texts are the docstrings of SciPy's public functions and classes, which every installation has; their
class is the sub-package. 40 % of the labels are redrawn at random. The clean set is ten correctly labelled
texts of every class. For your own texts, replace `load`, and name a sentence encoder in `embed`. The command
`dmlp-purify table.csv --text COLUMN` does the same with a table.
"""

import argparse
import importlib
import inspect
import re
import warnings

import numpy as np

from dmlp_jax import LabelPurifier, embed

PACKAGES = ("stats", "signal", "special", "linalg", "optimize", "ndimage")
CLEAN = 10


def main() -> None:
    """Embeds the texts, adds label noise, purifies the labels and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=0.4, help="share of labels drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    names, texts, true = load()
    features = embed(texts)
    shuffled = rng.permutation(len(true))
    rank = np.empty(len(true), int)
    for package in PACKAGES:
        members = shuffled[true[shuffled] == package]
        rank[members] = np.arange(len(members))
    clean, rows = np.flatnonzero(rank < CLEAN), np.flatnonzero(rank >= CLEAN)
    redrawn = rng.random(len(rows)) < arguments.rate
    given = np.where(redrawn, rng.choice(PACKAGES, size=len(rows)), true[rows])
    purifier = LabelPurifier(random_state=arguments.seed)
    purifier.fit(features[rows], given, X_val=features[clean], y_val=true[clean])
    wrong = given != true[rows]
    print(f"{len(rows)} texts, {wrong.mean():.1%} of the labels wrong, {len(clean)} texts known to be right")
    print(f"right after purification: {np.mean(purifier.labels_ == true[rows]):.1%}")
    for name, scores in purifier.scores_.items():
        # 'given' has no score: the noisy source did not label the clean texts.
        shown = "-" if np.isnan(scores["accuracy"]) else f"{scores['accuracy']:.1%} on held-out clean texts"
        print(f"  {name:<22}{shown}")
    changed = purifier.changed_
    print(f"{changed.sum()} labels changed; {wrong[changed].mean():.1%} of these were wrong,")
    print(f"and {changed[wrong].mean():.1%} of the wrong ones were found\n")
    print("the most suspicious:")
    for row in np.argsort(purifier.label_quality_, kind="stable")[:5]:
        label = f"{given[row]} -> {purifier.labels_[row]}"
        print(f"  {label:<22} {names[rows[row]]}: {texts[rows[row]][:50]}")


def load() -> tuple[np.ndarray, list[str], np.ndarray]:
    """Loads names, docstrings and sub-packages of SciPy's functions and classes."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for package in PACKAGES:
            module = importlib.import_module(f"scipy.{package}")
            for name in sorted(module.__all__):
                text = describe(getattr(module, name))
                if len(text.split()) >= 5:
                    found.append((name, text, package))
    # A function can be in two sub-packages; only the first is kept, so that each text has one class.
    unique = list({text: entry for entry in reversed(found) for text in [entry[1]]}.values())
    names, texts, packages = zip(*reversed(unique), strict=True)
    return np.array(names), list(texts), np.array(packages)


def describe(thing: object) -> str:
    """The docstring up to its parameters, without package names; '' if there is none."""
    text = inspect.getdoc(thing) if callable(thing) else None
    head = re.split(r"\n(?:Parameters|Arguments)\s*\n-+", text or "")[0]
    return " ".join(re.sub(r"\b(?:scipy|numpy|np)\S*", "", head).split())


if __name__ == "__main__":
    main()
