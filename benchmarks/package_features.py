"""Label-free features of Debian's packages, to be told apart by section: text of 50 unequal classes.

    python benchmarks/package_features.py --out=data/package_features.npz

What a package says of itself (name, description in one line, dependencies) as TF-IDF of words and of pieces
of words, then truncated singular value decomposition (latent semantic analysis; Deerwester et al. 1990). No
section is read until the end, when a linear probe tells how good the features are. The index, 9 MB, is
fetched from --url unless --index names a file of it. The file holds train (float16), train_labels and names.
"""

import argparse
import lzma
import re
import urllib.request
from pathlib import Path

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import FeatureUnion

from dmlp_jax import files

URL = "https://deb.debian.org/debian/dists/bookworm/main/binary-amd64/Packages.xz"
FIELD = re.compile(r"^(Package|Description|Section|Depends): (.*)$", re.MULTILINE)


def main() -> None:
    """Makes the features and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default=URL)
    parser.add_argument("--index", type=Path, help="a Packages.xz at hand")
    parser.add_argument("--out", type=Path, default=Path("data/package_features.npz"))
    parser.add_argument("--components", type=int, default=256)
    parser.add_argument("--smallest", type=int, default=100, help="sections with fewer packages are left out")
    arguments = parser.parse_args()
    compressed = arguments.index.read_bytes() if arguments.index else fetch(arguments.url)
    packages = parse(lzma.decompress(compressed).decode())
    sections = np.array([package["Section"] for package in packages])
    names, labels, counts = np.unique(sections, return_inverse=True, return_counts=True)
    features = describe([text(package) for package in packages], arguments.components)
    large = counts >= arguments.smallest
    kept = large[labels]
    labels = (np.cumsum(large) - 1)[labels[kept]].astype(np.int32)
    features = features[kept]
    half = np.arange(len(labels)) % 2 == 0
    probe = RidgeClassifier(alpha=0.1).fit(features[half], labels[half])
    accuracy = probe.score(features[~half], labels[~half])
    print(f"{len(labels):,} packages, {large.sum()} sections of {counts[large].min()} to {counts.max():,}")
    print(f"linear probe on one half's true labels: accuracy on the other {accuracy:.3f}")
    arrays = {"train": features.astype(np.float16), "train_labels": labels, "names": names[large]}
    files.save_npz(arguments.out, arrays)


def fetch(url: str) -> bytes:
    """The index."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


def parse(index: str) -> list[dict[str, str]]:
    """The packages with a section of Debian's main archive and a description."""
    found = (dict(FIELD.findall(paragraph)) for paragraph in index.split("\n\n"))
    return [package for package in found if "Section" in package and "Description" in package]


def text(package: dict[str, str]) -> str:
    """Name, description and the names of dependencies."""
    depends = re.sub(r"\([^)]*\)|[,|:]", " ", package.get("Depends", ""))
    words = " ".join("dep_" + re.sub(r"\W", "_", word) for word in depends.split())
    return f"{package['Package']} {package['Description']} {words}"


def describe(texts: list[str], components: int) -> np.ndarray:
    """Leading singular directions of TF-IDF, of words and of character n-grams, [n, components] float32."""
    words = TfidfVectorizer(sublinear_tf=True, min_df=3, dtype=np.float32)
    pieces = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 4), sublinear_tf=True, min_df=20, dtype=np.float32
    )
    counted = FeatureUnion([("words", words), ("pieces", pieces)]).fit_transform(texts)
    return TruncatedSVD(components, random_state=0).fit_transform(counted)


if __name__ == "__main__":
    main()
