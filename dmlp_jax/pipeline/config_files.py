"""Finds the settings files in configs/, at the top of a checkout or inside the installed package."""

from pathlib import Path

import dmlp_jax
from dmlp_jax.errors import UserError, nearest

_PACKAGE = Path(dmlp_jax.__file__).parent


def find(path: str) -> str:
    """The path of the settings file for `--config=path`.

    Args:
        path: a file; or `configs/NAME.py`, `NAME.py` or `NAME`, which means dmlp_jax's file of that name if
            the current folder has none.

    Raises:
        UserError: there is no such file; the message has the nearest name in configs/, or all of them.
    """
    given = Path(path)
    if given.is_file():
        return path
    ours = own()
    name = given.name.removesuffix(".py")
    if name in ours and given.parent in (Path(), Path("configs")):
        return str(ours[name])
    hint = nearest(name, list(ours)) or f", which are {', '.join(ours)}"
    raise UserError(f"--config: no file {path!r}, nor is it one of dmlp_jax's own in configs/{hint}")


def own() -> dict[str, Path]:
    """dmlp_jax's own settings files by name, sorted."""
    return {file.stem: file for file in sorted(_folder().glob("*.py"))}


def _folder() -> Path:
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"
