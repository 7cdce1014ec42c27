"""Machines that keep a folder and a bucket in memory the same."""

import contextlib

from dmlp_jax.storage import files
from dmlp_jax.storage.bucket.local_copy import RECORD, LocalCopy
from dmlp_jax.storage.bucket.mirror import Mirror
from dmlp_jax.storage.bucket.objects import Bucket

ADDRESS = "memory://bucket/run"


def machine(folder, bucket=None, **kwargs):
    """A mirror whose `run` is `kept` and claimed."""
    folder.mkdir(exist_ok=True)
    settings = {"last": "stages.json", "interval": 1000.0, "patience": (), **kwargs}
    return Claimed(bucket or Bucket(ADDRESS), folder, **settings)


class Claimed(Mirror):
    @contextlib.contextmanager
    def kept(self):
        with super().kept():
            self.claim()
            yield


def write(folder, **contents):
    for name, text in contents.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        files.save_text(path, text)


def contents(folder):
    """The files of a run: text by name."""
    return {name: (folder / name).read_text() for name in LocalCopy(folder).scan()}


def there(system):
    names = [path.removeprefix("/bucket/run/") for path in system.find("/bucket/run")]
    return sorted(set(names) - {RECORD})
