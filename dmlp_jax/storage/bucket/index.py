"""Reads and writes the index object of a workdir in a bucket: its current files and the run that owns it."""

import json
import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dmlp_jax.errors import UserError
from dmlp_jax.storage.bucket.local_copy import RECORD, Known
from dmlp_jax.storage.bucket.objects import Bucket

INDEX = RECORD


class Index(NamedTuple):
    """The content of the index object.

    Attributes:
        owner: the run that started last: 'token' of its local folder, 'pid', 'host', and whether it has
            'ended'.
        files: version of each file, by name.
        pending: names of files that were being uploaded or deleted; those not in `files` may be deleted.
    """

    owner: dict[str, Any]
    files: dict[str, str]
    pending: list[str]


def read(bucket: Bucket) -> Index | None:
    """Reads the index; None if there is none.

    Raises:
        UserError: the index is damaged.
    """
    content = bucket.read(INDEX)
    if content is None:
        return None
    try:
        found = Index(**json.loads(content))
        if tuple(map(type, found)) == (dict, dict, list):
            return found
    except (ValueError, TypeError):
        pass
    raise UserError(f"{bucket.address}/{INDEX} is damaged; delete it to go on with all files there")


def write(
    bucket: Bucket, token: str, known: Mapping[str, Known], pending: Iterable[str] = (), ended: bool = False
) -> None:
    """Replaces the index, with this process as the owner."""
    owner = {"token": token, "pid": os.getpid(), "host": socket.gethostname(), "ended": ended}
    index = Index(owner, {name: entry.version for name, entry in known.items()}, sorted(pending))
    bucket.write(INDEX, json.dumps(index._asdict(), indent=1).encode())


def described(index: Index | None) -> str:
    """Describes the owner for messages."""
    if index is None:
        return f"an unknown run ({INDEX} was deleted there)"
    return f"process {index.owner.get('pid')} on {str(index.owner.get('host'))!r}"
