"""The files of configs/, which a checkout has at its top and an installed package inside itself."""

from pathlib import Path

import dmlp_jax
from dmlp_jax.errors import UserError, nearest

_PACKAGE = Path(dmlp_jax.__file__).parent


def find(path: str) -> str:
    """The settings file that `--config=path` means.

    Args:
        path: a file; or `configs/NAME.py`, `NAME.py` or `NAME`, which is dmlp_jax's own NAME where the
            current folder has no such file.

    Raises:
        UserError: there is none; the message has the nearest name of dmlp_jax's own, or all of them.
    """
    given = Path(path)
    if given.is_file():
        return path
    own = {file.stem: file for file in sorted(_folder().glob("*.py"))}
    name = given.name.removesuffix(".py")
    if name in own and given.parent in (Path(), Path("configs")):
        return str(own[name])
    hint = nearest(name, list(own)) or f", which are {', '.join(own)}"
    raise UserError(f"--config: no file {path!r}, nor is it one of dmlp_jax's own in configs/{hint}")


def _folder() -> Path:
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"
