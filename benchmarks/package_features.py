"""Makes label-free features of Debian's packages, classed by section: 50 unequal classes, real label noise.

    python benchmarks/package_features.py --out=data/package_features.npz

The packager of a program states its section in the source package; the archive's maintainers override it for
one of 25 packages. The packagers' sections are the given labels, the archive's are the true labels, though
some of these are out of date: one in eight of the differences is a package that its packager has retired to
'oldlibs'.

The features come from the package's name, one-line description and dependencies: TF-IDF of words and of parts
of words, then truncated singular value decomposition (latent semantic analysis; Deerwester et al. 1990). They
do not use the section; the script prints the accuracy of a linear probe at the end. Both indices, 18 MB, are
fetched from --archive, a URL or a folder. The file holds train (float16), train_labels, given_labels, names.
"""

import argparse
import lzma
import re
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import FeatureUnion

from dmlp_jax.storage import files

ARCHIVE = "https://deb.debian.org/debian/dists/bookworm/main"
FIELD = re.compile(r"^(Package|Description|Section|Depends): (.*)$", re.MULTILINE)
DECLARED = re.compile(r"^ (\S+) u?deb (\S+) ", re.MULTILINE)


def main() -> None:
    """Makes the features and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--archive", default=ARCHIVE, help="with binary-amd64/Packages.xz and source/Sources.xz"
    )
    parser.add_argument("--out", type=Path, default=Path("data/package_features.npz"))
    parser.add_argument("--components", type=int, default=256)
    parser.add_argument("--smallest", type=int, default=100, help="sections with fewer packages are left out")
    arguments = parser.parse_args()
    declared = dict(DECLARED.findall(index(arguments.archive, "source/Sources.xz")))
    packages = parse(index(arguments.archive, "binary-amd64/Packages.xz"))
    packages = [package for package in packages if package["Package"] in declared]
    features = describe([text(package) for package in packages], arguments.components)
    true = np.array([package["Section"] for package in packages])
    given = np.array([declared[package["Package"]].split("/")[-1] for package in packages])
    names, counts = np.unique(true, return_counts=True)
    names = names[counts >= arguments.smallest]
    kept = np.isin(true, names) & np.isin(given, names)
    features, labels, given = features[kept], *(np.searchsorted(names, of[kept]) for of in (true, given))
    tell(features, labels, given, names)
    arrays = {"train_labels": labels.astype(np.int32), "given_labels": given.astype(np.int32), "names": names}
    files.save_npz(arguments.out, {"train": features.astype(np.float16)} | arrays)


def tell(features: np.ndarray, labels: np.ndarray, given: np.ndarray, names: np.ndarray) -> None:
    """Prints what there is: sizes, mistakes by kind, and how good the features [n, d] are.

    Args:
        features: [n, d].
        labels: true classes [n].
        given: given ones [n].
        names: of the classes [c].
    """
    sizes, wrong = np.bincount(labels), given != labels
    print(f"{len(labels):,} packages, {len(names)} sections of {sizes.min()} to {sizes.max():,}")
    kinds = Counter(zip(names[given[wrong]], names[labels[wrong]], strict=True)).most_common()
    print(f"{wrong.sum():,} given labels wrong, of {len(kinds)} kinds (given, true):")
    print(*(f"    {count:5,} {said}, {truth}" for (said, truth), count in kinds[:5]), sep="\n")
    often = Counter(names[given[wrong]]).most_common(3)
    print("given wrongly most often:", ", ".join(f"{said} {count:,}" for said, count in often))
    half = np.arange(len(labels)) % 2 == 0
    probe = RidgeClassifier(alpha=0.1).fit(features[half], labels[half])
    accuracy = probe.score(features[~half], labels[~half])
    print(f"linear probe on one half's true labels: accuracy on the other {accuracy:.3f}")


def index(archive: str, name: str) -> str:
    """An index of the archive, from its URL or a folder."""
    if "://" not in archive:
        return lzma.decompress(Path(archive, name).read_bytes()).decode()
    with urllib.request.urlopen(f"{archive}/{name}", timeout=60) as answer:
        return lzma.decompress(answer.read()).decode()


def parse(packages: str) -> list[dict[str, str]]:
    """The fields of every package that has a section and a description."""
    found = (dict(FIELD.findall(paragraph)) for paragraph in packages.split("\n\n"))
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
