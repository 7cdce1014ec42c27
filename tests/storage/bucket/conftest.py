"""A bucket in memory, empty before every test."""

import fsspec
import pytest


@pytest.fixture(autouse=True)
def system():
    """The file system of memory://, empty."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()
