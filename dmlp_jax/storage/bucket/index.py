"""The object that names the files of a workdir in a bucket that belong together, and who works on them."""

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
    """What the object says.

    Attributes:
        owner: the run that began last: 'token' of its folder, 'pid', 'host', and whether it has 'ended'.
        files: versions by name.
        pending: names of files that were being sent or deleted; those not in `files` may be deleted.
    """

    owner: dict[str, Any]
    files: dict[str, str]
    pending: list[str]


def read(bucket: Bucket) -> Index | None:
    """The index, None where there is none.

    Raises:
        UserError: it is damaged.
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
    """Replaces the index; this process is the owner."""
    owner = {"token": token, "pid": os.getpid(), "host": socket.gethostname(), "ended": ended}
    index = Index(owner, {name: entry.version for name, entry in known.items()}, sorted(pending))
    bucket.write(INDEX, json.dumps(index._asdict(), indent=1).encode())


def described(index: Index | None) -> str:
    """The owner in words."""
    if index is None:
        return "someone who deleted what lay there"
    return f"process {index.owner.get('pid')} on {str(index.owner.get('host'))!r}"
