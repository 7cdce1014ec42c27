"""Provides what all benchmarks share: provenance (hardware, versions, commit) and the result files."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np

from dmlp_jax.pipeline.provenance import commit
from dmlp_jax.storage import files

RESULTS = Path(__file__).parent / "results"


def provenance(packages: Sequence[str] = ("jax", "numpy")) -> str:
    """Hardware, versions of Python and `packages`, commit and command, as a line of Markdown."""
    import jax

    device = jax.local_devices()[0]
    hardware = f"{os.cpu_count()} cores of {_processor()}" if device.platform == "cpu" else device.device_kind
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    command = "python " + shlex.join([os.path.relpath(sys.argv[0]), *sys.argv[1:]])
    return f"{hardware}; Python {platform.python_version()}, {versions}; commit {code_commit()}; `{command}`"


def mean_and_spread(values: list[float], percent: bool = True) -> str:
    """'93.4 ± 1.2' from shares in [0, 1]: mean and standard deviation over seeds."""
    scale, digits = (100, 1) if percent else (1, 3)
    array = scale * np.asarray(values, np.float64)
    if not np.all(np.isfinite(array)):
        return "-"
    spread = f" ± {array.std(ddof=1):.{digits}f}" if array.size > 1 else ""
    return f"{array.mean():.{digits}f}{spread}"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write(name: str, title: str, text: str) -> None:
    """Prints the result and writes it to benchmarks/results/<name>.md."""
    save(RESULTS / f"{name}.md", title, text)


def save(path: Path, title: str, text: str, packages: Sequence[str] = ("jax", "numpy")) -> None:
    """Prints the result and writes it to a file, with `provenance` of these packages."""
    document = f"# {title}\n\n{text}\n\n{provenance(packages)}\n"
    print("\n" + document)
    files.save_text(path, document)


def code_commit() -> str:
    """The commit; dirty where code differs from it, not where a result or a text does."""
    git = ["git", "diff", "--quiet", "HEAD", "--", ":/*.py"]
    found = commit()
    if found is None:
        return "unknown"
    changed = subprocess.run(git, cwd=RESULTS, capture_output=True, check=False).returncode
    return found if changed else found.removesuffix("-dirty")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
