"""Records what ran: device, versions of the libraries, and the commit of the code."""

import functools
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("dmlp_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def provenance() -> dict[str, Any]:
    """Device, versions and commit of this run."""
    return {
        "device": _device(),
        "versions": {"python": platform.python_version()} | {p: metadata.version(p) for p in PACKAGES},
        "commit": commit(),
    }


def _device() -> str:
    devices = jax.local_devices()
    return f"{len(devices)} x {devices[0].device_kind}"


@functools.cache
def commit() -> str | None:
    """The git commit of the checkout that this package runs from; None outside such a checkout."""
    here = Path(__file__).resolve()
    try:
        # A package installed into a .venv inside another project is in that project's checkout.
        _git(here.parent, "ls-files", "--error-unmatch", here.name)
        return _git(here.parent, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*") or None
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    found = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10
    )
    return found.stdout.strip()
