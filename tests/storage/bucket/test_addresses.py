"""Addresses, and the folders that stand for them."""

from pathlib import Path

import fsspec
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.storage import addresses
from dmlp_jax.storage.bucket.local_copy import folder_of
from dmlp_jax.storage.bucket.objects import Bucket
from tests.storage.bucket.kit import ADDRESS, contents, machine


def test_an_address_of_something_else_is_refused(tmp_path, system):
    for name in ("one/stages.json", "two/stages.json", "cat.jpg"):
        system.pipe_file(f"/bucket/run/{name}", b"")
    other = pytest.raises(UserError, match=f"{ADDRESS} is no workdir: there are files, but no stages.json")
    with other, machine(tmp_path / "a").kept():
        pass
    assert contents(tmp_path / "a") == {}


@pytest.mark.parametrize("given", ["gs://b/run", "gs:/b/run", Path("gs://b/run")])
def test_an_address_is_known_however_many_slashes_are_left(given):
    assert addresses.address_of(given) == "gs://b/run"


def test_addresses():
    with pytest.raises(UserError, match=r"gs:// names no bucket"):
        Bucket("gs://")
    with pytest.raises(UserError, match=r"file:///x is a folder: name it without file://"):
        Bucket("file:///x")
    with pytest.raises(UserError, match=r"nosuch://x is no address that fsspec knows"):
        Bucket("nosuch://x")


def test_a_missing_package_is_named(monkeypatch):
    def missing(*args, **kwargs):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(UserError, match=r"gs://b/x needs a package more: pip install gcsfs"):
        Bucket("gs://b/x")
    with pytest.raises(UserError, match="s3://b/x needs a package more: Install s3fs"):
        Bucket("s3://b/x")


def test_folders_of_addresses(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = [folder_of("gs://b/run"), folder_of("gs://c/run"), folder_of("gs://b/run", 1)]
    assert len(set(names)) == 3
    assert folder_of("gs://b/run/") == names[0]
    assert all(name.parent == tmp_path / "dmlp_jax" / "workdirs" for name in names)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert folder_of("gs://b/run").is_relative_to(tmp_path / "home" / ".cache")
