"""Disks that are full, fail or may not be written: a message that names the file, and no harm done."""

import contextlib
import errno
import os
import random
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from dmlp_jax.cli import outputs
from dmlp_jax.cli.inputs import row_images
from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import pipeline
from dmlp_jax.pipeline.workdir import Workdir
from dmlp_jax.storage import addresses, files
from dmlp_jax.training.checkpoint import Checkpoints
from dmlp_jax.training.metrics import MetricsLog
from tests.pipeline.test_own_features import own_config, write_own_features


@contextlib.contextmanager
def files_of_at_most(size):
    """No file can grow beyond `size` bytes in this process; to a writer that is a disk full at that point."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def failing(number, after=0):
    """A function that fails with the error of that number from the call `after` on."""
    calls = []

    def function(*_, **__):
        calls.append(1)
        if len(calls) > after:
            raise OSError(number, os.strerror(number))

    return function


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space left on device; free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EIO, "the disk may be failing"),
        (errno.EROFS, "choose a folder that you may write to"),
        (errno.EACCES, "choose a folder that you may write to"),
    ],
)
@pytest.mark.parametrize("place", ["os.fsync", "os.replace", "os.open"])
def test_each_step_of_a_write_may_fail(tmp_path, monkeypatch, number, words, place):
    path = tmp_path / "x.json"
    files.save_json(path, 1)
    monkeypatch.setattr(f"dmlp_jax.storage.files.{place}", failing(number))
    with pytest.raises(UserError, match=f"cannot write {path}: .*{words}"):
        files.save_json(path, 2)
    assert files.load_json(path) == 1
    assert os.listdir(tmp_path) == ["x.json"]


@pytest.mark.parametrize("size", [0, 100, 5_000, 13_000])
def test_a_disk_that_fills_up_while_an_archive_is_written(tmp_path, size):
    old = {"a": np.arange(3)}
    files.save_npz(tmp_path / "x.npz", old)
    with files_of_at_most(size), pytest.raises(UserError, match=r"cannot write .*x\.npz"):
        files.save_npz(tmp_path / "x.npz", {"a": np.arange(1000.0), "b": np.arange(1000)})
    np.testing.assert_array_equal(files.load_npz(tmp_path / "x.npz")["a"], old["a"])
    assert os.listdir(tmp_path) == ["x.npz"]


def test_metrics_on_a_full_disk_lose_the_last_line_only(tmp_path):
    log = MetricsLog(tmp_path / "m.jsonl")
    for step in range(2):
        log.write("purify", step, {"loss": 1.0})
    limit = (tmp_path / "m.jsonl").stat().st_size + 20
    with files_of_at_most(limit):
        with pytest.raises(UserError, match=r"m\.jsonl"):
            log.write("purify", 2, {"loss": 1.0})
        log.close()
    assert (tmp_path / "m.jsonl").stat().st_size == limit
    log = MetricsLog(tmp_path / "m.jsonl")
    log.write("retrain", 1, {"loss": 2.0})
    log.close()
    lines = (tmp_path / "m.jsonl").read_text().splitlines()
    assert [line[:19] for line in lines] == [*2 * ['{"stage": "purify",'], '{"stage": "retrain"']


STATE = {
    "w": np.random.default_rng(0).normal(size=(60, 50)).astype(np.float32),
    "b": np.arange(7, dtype=np.float32),
}
PROGRESS = {"curve": [{"test_accuracy": 0.1}, {"test_accuracy": 1 / 3}]}


def restored(folder):
    with Checkpoints(folder) as checkpoints:
        found = checkpoints.restore({name: np.zeros_like(array) for name, array in STATE.items()})
    return found.epoch, {name: np.asarray(array) for name, array in found.state.items()}, found.progress


def test_a_checkpoint_that_does_not_fit_says_so_and_the_one_before_stays(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, STATE, PROGRESS)
    with (
        files_of_at_most(4_000),
        pytest.raises(UserError, match=f"cannot write {tmp_path}.*ulimit"),
        Checkpoints(tmp_path) as checkpoints,
    ):
        checkpoints.save(2, STATE, PROGRESS)
    epoch, state, progress = restored(tmp_path)
    assert epoch == 1
    assert progress == PROGRESS
    for name, array in STATE.items():
        np.testing.assert_array_equal(state[name], array)


@pytest.mark.parametrize("rounds", [1, pytest.param(30, marks=pytest.mark.slow)])
def test_a_damaged_checkpoint_is_never_believed(tmp_path, rounds):
    """A bit flipped in each file: refused, or what was saved all the same."""
    with Checkpoints(tmp_path / "whole") as checkpoints:
        checkpoints.save(1, STATE, PROGRESS)
    generator, refusals = random.Random(0), []
    paths = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*")]
    for path in [path for path in paths if (tmp_path / "whole" / path).is_file()] * rounds:
        shutil.copytree(tmp_path / "whole", tmp_path / "damaged")
        blob = bytearray((tmp_path / "damaged" / path).read_bytes())
        if blob:
            blob[generator.randrange(len(blob))] ^= 1 << generator.randrange(8)
        (tmp_path / "damaged" / path).write_bytes(blob)
        try:
            _, state, progress = restored(tmp_path / "damaged")
        except UserError as error:
            refusals.append(str(error))
        else:
            assert progress["curve"] == PROGRESS["curve"]
            for name, array in STATE.items():
                np.testing.assert_array_equal(state[name], array)
        shutil.rmtree(tmp_path / "damaged")
    assert any("its checksum is not that of what was saved" in message for message in refusals)
    assert all("delete it to fall back" in message for message in refusals)


def arrays_of(workdir):
    names = ("split.npz", "purified.npz", "purifier.npz")
    return {
        f"{name}/{key}": array.tobytes()
        for name in names
        for key, array in files.load_npz(workdir / name).items()
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Settings of a run, and what it leaves on a disk that has space."""
    root = tmp_path_factory.mktemp("undisturbed")
    write_own_features(root / "own.npz")
    config = own_config(root / "own.npz", stages="purify,report")
    pipeline.run(config, root / "w")
    return config, arrays_of(root / "w")


@pytest.mark.slow
@pytest.mark.parametrize("after", range(13))
def test_a_run_on_a_disk_that_fills_up_goes_on_when_there_is_space(undisturbed, tmp_path, monkeypatch, after):
    config, expected = undisturbed
    with monkeypatch.context() as patch:
        patch.setattr("dmlp_jax.storage.files.os.fsync", failing(errno.ENOSPC, after))
        with pytest.raises(UserError, match="No space left on device"):
            pipeline.run(config, tmp_path / "w")
    pipeline.run(config, tmp_path / "w")
    assert arrays_of(tmp_path / "w") == expected


@contextlib.contextmanager
def nobody():
    """Without the rights of the superuser, to whom nothing is read-only."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("address", ["gs://bucket/run", "s3://bucket"])
def test_an_address_is_no_folder(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"--out is the address {address}; .*mount the bucket"):
        outputs.check_folder(Path(address), overwrite=False)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("folder", ["C:/runs", "/gs:/b", "a/b:c/d", "x:"])
def test_a_colon_makes_no_address(folder):
    addresses.refuse_address(Path(folder), "--workdir")


@pytest.fixture
def read_only():
    """An empty folder that may be looked at, not written to."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_folder_that_is_read_only_is_named(read_only):
    with nobody():
        with pytest.raises(UserError, match=r"Permission denied.*choose a folder that you may write to"):
            files.save_text(read_only / "x", "")
        with pytest.raises(UserError, match=f"workdir {read_only}/w cannot be made .*Permission denied"):
            Workdir(read_only / "w")
        with pytest.raises(UserError, match="Permission denied"), Workdir(read_only).lock():
            pass
        with pytest.raises(UserError, match="Permission denied"):
            MetricsLog(read_only / "metrics.jsonl")
        with pytest.raises(UserError, match=f"{read_only}/pretrain"):
            Checkpoints(read_only / "pretrain")
    assert os.listdir(read_only) == []
    assert stat.S_IMODE(read_only.stat().st_mode) == 0o555


@pytest.mark.parametrize("mode", [0o000, 0o555], ids=["closed", "read-only"])
def test_a_folder_for_others_is_told_before_anything_is_computed(read_only, mode):
    read_only.chmod(mode)
    with nobody():
        for out in (read_only, read_only / "out", read_only / "a" / "b"):
            with pytest.raises(UserError, match=f"--out: cannot write to {out}: Permission denied"):
                outputs.check_folder(out, overwrite=True)
    assert os.listdir(read_only) == []


def test_images_that_one_may_not_see_are_told(read_only):
    read_only.chmod(0o000)
    with nobody():
        for folder in (read_only, read_only / "images"):
            for names in (None, np.array(["a.png"])):
                with pytest.raises(UserError, match=f"--images: {folder} cannot be read: Permission denied"):
                    row_images.find(folder, 1, names)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, and a function that sets its size in kB."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if shutil.which("mount") is None or not mount("size=100k"):
        pytest.skip("mounting is not permitted here")
    yield folder, lambda kilobytes: mount("remount", f"size={kilobytes}k")
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_real_disk_that_is_too_small_for_each_stage(tmp_path, small_disk):
    folder, resize = small_disk
    command = [
        sys.executable, "-m", "dmlp_jax.main", "--config.pretrain.epochs=2", "--config.retrain.epochs=2",
        "--config.pretrain.checkpoint_epochs=1", "--config.retrain.checkpoint_epochs=1",
        "--config.retrain.labels=given,purified", "--config.purify.steps=5", "--config.num_devices=1",
    ]  # fmt: skip
    failures = 0
    for kilobytes in range(400, 40_000, 1_500):
        assert resize(kilobytes)
        done = subprocess.run(
            [*command, f"--workdir={folder}/w"], capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode == 0:
            break
        assert done.returncode == 2, done.stderr
        assert "No space left on device; free some space there; the same command then goes on" in done.stderr
        failures += 1
    assert done.returncode == 0
    assert failures >= 5
    subprocess.run(
        [*command, f"--workdir={tmp_path}/undisturbed"], capture_output=True, timeout=600, check=True
    )
    assert arrays_of(folder / "w") == arrays_of(tmp_path / "undisturbed")
    for path in (tmp_path / "undisturbed").glob("retrain/*/result.json"):
        assert path.read_text() == (folder / "w" / path.relative_to(tmp_path / "undisturbed")).read_text()
