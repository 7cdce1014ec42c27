"""Tells addresses such as gs://bucket/run from paths of folders."""

import re
from pathlib import Path

from dmlp_jax.errors import UserError

# A URL scheme and one slash, since pathlib merges two. At least two characters: one is a Windows drive.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def address_of(path: Path | str) -> str | None:
    """The bucket address in `path`, such as gs://bucket/run; None if it is an ordinary path."""
    text = path.as_posix() if isinstance(path, Path) else path
    return re.sub(":/(?!/)", "://", text, count=1) if _ADDRESS.match(text) else None


def refuse_address(path: Path, option: str) -> None:
    """Refuses a bucket address where a local folder is needed; it would create a local folder named 'gs:'.

    Args:
        path: a folder to write to.
        option: name of the option it came from, for the message.

    Raises:
        UserError: `path` is an address.
    """
    if (address := address_of(path)) is not None:
        raise UserError(
            f"{option} is the address {address}; files are renamed and locked, which needs a file system: "
            "mount the bucket (for gs:// with gcsfuse) and name the folder"
        )
