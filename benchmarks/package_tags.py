"""Makes a data set of Debian's packages: true classes by section, given ones by what volunteers tagged them.

The given label follows from the first of `RULES` that one of the package's debtags meets; the true label is
the section in the archive. Tags are missing, too many or mean another thing than the section, and all of that
depends on the package. The text comes from `apt-cache dumpavail`, so this needs Debian or an archive's index
in a file, and its counts change with the release.
"""

import re
import subprocess
from pathlib import Path

import numpy as np
import package_features

# A tag that starts so is evidence for a section; the first that is met decides.
RULES = {
    "made-of::font": "fonts",
    "x11::font": "fonts",
    "role::documentation": "doc",
    "implemented-in::perl": "perl",
    "devel::lang:perl": "perl",
    "implemented-in::java": "java",
    "devel::lang:java": "java",
    "implemented-in::ocaml": "ocaml",
    "devel::lang:ocaml": "ocaml",
    "implemented-in::lisp": "lisp",
    "devel::ecma-cli": "cli-mono",
    "role::devel-lib": "libdevel",
    "role::shared-lib": "libs",
    "use::gameplaying": "games",
    "game::": "games",
    "works-with::mail": "mail",
    "works-with::video": "video",
    "works-with::audio": "sound",
    "works-with::image": "graphics",
    "use::editing": "editors",
    "field::mathematics": "math",
    "field::": "science",
    "suite::kde": "kde",
    "suite::gnome": "gnome",
    "interface::web": "web",
    "implemented-in::python": "python",
    "protocol::": "net",
    "network::": "net",
    "admin::": "admin",
    "use::monitor": "admin",
    "works-with::text": "text",
    "made-of::dictionary": "text",
    "scope::utility": "utils",
    "x11::": "x11",
}
FIELD = re.compile(r"^(Package|Description|Section|Depends|Tag): (.*(?:\n .*)*)$", re.MULTILINE)


def load(
    index: Path | None = None, largest: int = 600, components: int = 256
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features [n, components] float32, given classes [n] and true classes [n] of the tagged packages.

    Args:
        index: a Packages file, uncompressed; apt's own lists if None.
        largest: rows kept of a class, the first of a random order.
        components: number of features.
    """
    found = {}
    for paragraph in (index.read_text() if index else _available()).split("\n\n"):
        package = dict(FIELD.findall(paragraph))
        given = by_tags(re.split(r",\s*", package.get("Tag", "")))
        if given and "Description" in package and package.get("Section") in RULES.values():
            found[package["Package"]] = package | {"given": given}
    packages = [found[name] for name in sorted(found)]
    names = np.unique([package["Section"] for package in packages])
    true, given = (
        np.searchsorted(names, [package[field] for package in packages]) for field in ("Section", "given")
    )
    order = np.random.default_rng(0).permutation(len(true))
    kept = np.sort(np.concatenate([order[true[order] == label][:largest] for label in range(len(names))]))
    texts = [package_features.text(packages[row]) for row in kept]
    features = package_features.describe(texts, components)
    return features.astype(np.float32), given[kept].astype(np.int32), true[kept].astype(np.int32)


def by_tags(tags: list[str]) -> str | None:
    """The section that the tags stand for, or None."""
    return next(
        (section for start, section in RULES.items() if any(tag.startswith(start) for tag in tags)), None
    )


def _available() -> str:
    """All packages that apt knows."""
    try:
        done = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise OSError(
            "package tags come from `apt-cache dumpavail`, which needs Debian and `apt-get update`"
        ) from error
    return done.stdout
