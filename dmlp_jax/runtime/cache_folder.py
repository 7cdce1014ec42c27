"""Finds the folder in which commands keep compiled programs, and keeps it from growing without end."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from dmlp_jax.errors import UserError
from dmlp_jax.runtime import machine

# Most bytes that the user's cache folder may hold; a program takes about 5 million.
MOST_BYTES = 500_000_000
# JAX's own setting of its cache.
VARIABLE = "JAX_COMPILATION_CACHE_DIR"


def of_user(environment: Mapping[str, str] = os.environ, system: str = sys.platform) -> Path:
    """The folder for caches of this package, by the custom of the system; it may not exist.

    Args:
        environment: variables of the process.
        system: as `sys.platform`.

    Raises:
        RuntimeError: the user has no home folder.
    """
    if system == "win32" and environment.get("LOCALAPPDATA"):
        return Path(environment["LOCALAPPDATA"]) / "dmlp_jax"
    if system == "darwin":
        return Path.home() / "Library" / "Caches" / "dmlp_jax"
    # A relative path there is to be ignored, says the XDG Base Directory Specification.
    given = Path(environment.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "dmlp_jax"


def find(given: str | None = None) -> Path | None:
    """The folder to keep programs in, made if absent; None where nothing can be kept.

    Args:
        given: the folder the user named. By default it is that of `JAX_COMPILATION_CACHE_DIR`, else one of
            the user's cache folder. There each kind of processor has its own folder: home folders are shared
            between machines.

    Raises:
        UserError: the folder that was named cannot be made or written to.
    """
    if given is not None:
        folder = Path(given).expanduser().absolute()
        if (error := _refusal(folder)) is not None:
            raise UserError(
                f"--compile-cache: cannot write to {folder}: {error.strerror}; name another folder, or leave "
                "it away"
            ) from error
        return folder
    variable = os.environ.get(VARIABLE, "")
    # JAX itself writes to such an address.
    if "://" in variable:
        return None
    if variable:
        folder = Path(variable)
        return folder if _refusal(folder) is None else None
    try:
        root = of_user()
    except RuntimeError:
        return None
    folder = root / machine.fingerprint()
    if _refusal(folder) is not None:
        return None
    trim(root, MOST_BYTES)
    return folder


def of_setting(setting: str) -> str:
    """What `compile_cache.kept_in` takes for `compile_cache` of a configuration.

    Args:
        setting: a folder or address; 'none' for none besides what JAX's own variable says; '' for that, or
            where it is not set, the user's cache folder.
    """
    if setting == "none" or (not setting and os.environ.get(VARIABLE)):
        return ""
    return setting or str(find() or "")


def trim(folder: Path, most_bytes: int) -> None:
    """Deletes the files of a folder that were used longest ago until `most_bytes` are left.

    Those in its subfolders count as well. A process that is reading one of them goes on, since the system
    keeps an open file.
    """
    files = []
    for path in folder.rglob("*"):
        # Another process may delete it at the same time.
        with contextlib.suppress(OSError):
            if path.is_file():
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= most_bytes:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size


def _refusal(folder: Path) -> OSError | None:
    """Makes a folder, and tells why it cannot be written to; None where it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return error
    return None
