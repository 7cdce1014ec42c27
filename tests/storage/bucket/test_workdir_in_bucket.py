"""Runs whose workdir is gs://..., against an emulator of Google Cloud Storage."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

from dmlp_jax.storage.bucket import local_copy
from tests.runtime import test_hosts as runs

SERVER = """
import sys
from gcp_storage_emulator.server import create_server
port, folder = int(sys.argv[1]), sys.argv[2]
create_server("localhost", port, in_memory=False, default_bucket="bucket", data_dir=folder).run()
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """Environment variables that lead gs:// to the emulator, and the folder where it keeps `bucket`."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("storage")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port), str(folder)], stderr=subprocess.DEVNULL
    )
    address = f"http://localhost:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{address}/storage/v1/b/bucket")
            break
        except OSError:
            time.sleep(0.05)
    # The second: gcsfs would ask for credentials to find out what kind of bucket it is.
    variables = {"STORAGE_EMULATOR_HOST": address, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    yield variables, folder / ".cloudstorage" / "bucket"
    server.kill()
    server.wait()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a run on a folder leaves, and the folder of compiled programs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    runs.finish(runs.start(folder / "run", folder / "cache", 1), folder / "run")
    return runs.artefacts(folder / "run"), folder / "cache"


def machine(tmp_path, name, storage, run, cache, processes=1, **kwargs):
    """Starts a run on gs://bucket/`run` on a machine of its own; returns processes, log, and folder there."""
    address, home = f"gs://bucket/{run}", tmp_path / name
    environment = {**storage[0], "XDG_CACHE_HOME": str(home), **kwargs}
    running = runs.start(home, cache, processes, address=address, environment=environment)
    folder = home / "dmlp_jax" / "workdirs" / local_copy.folder_of(address).name
    return running, home, folder


def wait_until(condition):
    for _ in range(4000):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not come true")


def arrived(storage, run):
    """Names of the files that belong together at gs://bucket/`run`."""
    path = storage[1] / run / local_copy.RECORD
    try:
        return json.loads(path.read_text())["files"]
    except (FileNotFoundError, json.JSONDecodeError):
        # A bucket shows objects whole or not at all; the emulator's folder also shows them half written.
        return {}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.slow
def test_another_machine_goes_on_bit_for_bit_after_a_kill(storage, undisturbed, tmp_path):
    expected, cache = undisturbed
    running, _, _ = machine(tmp_path, "a", storage, "killed", cache)
    wait_until(lambda: "features.npz" in arrived(storage, "killed"))
    running[0].kill()
    running[0].wait()
    running, home, folder = machine(tmp_path, "b", storage, "killed", cache)
    runs.finish(running, home)
    assert "was in use by process" in runs.log(home, 0)
    assert "pretrain  done before" in runs.log(home, 0)
    assert "report: gs://bucket/killed/report.html, here " in runs.log(home, 0)
    assert_same(runs.artefacts(folder), expected)
    # What lies there is a whole workdir.
    assert_same(runs.artefacts(storage[1] / "killed"), expected)
    assert (storage[1] / "killed" / "report.html").read_bytes() == (folder / "report.html").read_bytes()


@pytest.mark.slow
def test_sigterm_sends_the_checkpoint_before_the_end(storage, undisturbed, tmp_path):
    expected, cache = undisturbed
    running, home, _ = machine(tmp_path, "a", storage, "stopped", cache)
    runs.wait_for("pretrain  epoch 1.", home)
    running[0].send_signal(signal.SIGTERM)
    assert running[0].wait(timeout=300) == 75
    running, home, folder = machine(tmp_path, "b", storage, "stopped", cache)
    runs.finish(running, home)
    assert "in use" not in runs.log(home, 0)
    assert "pretrain  resumes after epoch" in runs.log(home, 0)
    assert_same(runs.artefacts(folder), expected)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_two_processes_with_a_disk_each(storage, undisturbed, tmp_path):
    """Stopped on two machines, they go on on two others, as a run on a shared folder does."""
    shared = tmp_path / "shared"
    runs.finish(runs.start(shared, undisturbed[1], 2), shared)
    running, home, _ = machine(tmp_path, "a", storage, "hosts", undisturbed[1], processes=2)
    runs.wait_for("pretrain  epoch 1.", home)
    running[1].send_signal(signal.SIGTERM)
    assert [process.wait(timeout=300) for process in running] == [75, 75]
    running, home, folder = machine(tmp_path, "b", storage, "hosts", undisturbed[1], processes=2)
    runs.finish(running, home)
    assert "pretrain  resumes after epoch" in runs.log(home, 0)
    assert_same(runs.artefacts(folder), runs.artefacts(shared))
    second = folder.with_name(f"{folder.name}-1")
    assert sorted(os.listdir(second / "retrain")) == sorted(os.listdir(folder / "retrain"))


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_named(storage, tmp_path):
    environment = {**os.environ, **storage[0], "XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "dmlp_jax.main", "--workdir=gs://nosuch/run"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert found.returncode == 2
    # Without cached fonts matplotlib says that it makes them.
    lines = [line for line in found.stderr.splitlines() if "font_manager" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("error: cannot reach gs://nosuch/run (FileNotFoundError")
