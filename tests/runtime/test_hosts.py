"""Several processes that share a run: on one machine, with gloo for the network."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.purifier import InputError
from dmlp_jax.runtime import hosts
from dmlp_jax.storage import files
from dmlp_jax.training.checkpoint import Checkpoints

SETTINGS = [
    "--config.pretrain.epochs=3",
    "--config.pretrain.checkpoint_epochs=1",
    "--config.retrain.epochs=2",
    "--config.retrain.checkpoint_epochs=1",
    "--config.retrain.labels=purified",
    "--config.log_seconds=0",
]


def test_a_single_process_agrees_with_itself():
    assert hosts.is_main()
    assert not hosts.several()
    value = object()
    assert hosts.agree(lambda: value) is value
    done = []
    hosts.only_main(lambda: done.append(1))
    assert done == [1]
    with pytest.raises(UserError, match="full"):
        hosts.only_main(lambda: (_ for _ in ()).throw(UserError("full")))


@pytest.fixture
def in_turn(monkeypatch):
    """Runs an agreement in process 0, then in process 1, which gets what process 0 sent."""
    sent = []

    def send(content):
        sent.append(content)
        return content

    def run(decide):
        outcomes = []
        for rank in range(2):
            monkeypatch.setattr(hosts.jax, "process_count", lambda: 2)
            monkeypatch.setattr(hosts.jax, "process_index", lambda rank=rank: rank)
            monkeypatch.setattr(hosts, "_broadcast", send if rank == 0 else lambda _: sent[0])
            try:
                outcomes.append(hosts.agree(decide if rank == 0 else None))
            except BaseException as error:
                outcomes.append(error)
        assert len(sent) == 1  # neither none, which the other waits for, nor two
        return outcomes

    return run


def test_the_others_learn_what_process_0_decided(in_turn):
    assert in_turn(lambda: {"epoch": 3}) == [{"epoch": 3}, {"epoch": 3}]


def test_what_process_0_decides_on_the_way_is_its_own(in_turn):
    """The others wait for the whole: a message about a part would be taken for it."""
    assert in_turn(lambda: hosts.agree(lambda: 3) + 1) == [4, 4]


@pytest.mark.parametrize(
    ("error", "there", "words"),
    [
        (UserError("the disk is full"), UserError, "the disk is full"),
        (InputError("no classes"), RuntimeError, "process 0 failed: InputError('no classes')"),
        (OSError(5, "Input/output error"), RuntimeError, "Input/output error"),
        (MemoryError(), RuntimeError, "MemoryError"),
        (KeyboardInterrupt(), RuntimeError, "KeyboardInterrupt"),
    ],
)
def test_no_exception_of_process_0_leaves_the_others_waiting(in_turn, error, there, words):
    def decide():
        raise error

    first, other = in_turn(decide)
    assert first is error
    assert type(other) is there
    assert words in str(other)


def test_a_value_that_json_cannot_hold_ends_all_processes(in_turn):
    first, other = in_turn(object)
    assert type(first) is TypeError
    assert type(other) is RuntimeError


def test_a_save_does_not_ask_for_preemption_notices(tmp_path, monkeypatch):
    """JAX agrees on a call by its number: a second caller with numbers of its own makes it miss."""
    asked = []
    monkeypatch.setattr(hosts.multihost_utils, "reached_preemption_sync_point", asked.append)
    with Checkpoints(tmp_path) as checkpoints:
        for epoch in range(1, 4):
            checkpoints.save(epoch, {"weights": np.ones(3, np.float32)}, {})
    assert asked == []
    stop = hosts.make_stop()
    stop(), stop()
    assert asked == [0, 1]


def start(workdir, cache, processes, devices=1, method="naive", address=None, environment=()):
    """Starts the processes of a run, on `address` rather than on `workdir` if there is one; returns them."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    common = {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "NPROC": "16",
        **dict(environment),
    }
    command = [sys.executable, "-m", "dmlp_jax.main", f"--workdir={address or workdir}", *SETTINGS]
    command.append(f"--config.retrain.method={method}")
    if processes > 1:
        command.append("--multihost")
        common |= {"COORDINATOR_ADDRESS": f"localhost:{port}", "NUM_PROCESSES": str(processes)}
    running = []
    for rank in range(processes):
        output = open(Path(workdir).with_suffix(f".{rank}.log"), "ab")  # noqa: SIM115 (the child keeps it)
        variables = {**os.environ, **common, "PROCESS_ID": str(rank)}
        running.append(subprocess.Popen(command, env=variables, stdout=output, stderr=subprocess.STDOUT))
        output.close()
    return running


def finish(running, workdir):
    """Waits for all of them to end well."""
    statuses = [process.wait(timeout=600) for process in running]
    assert statuses == [0] * len(running), [log(workdir, rank)[-2000:] for rank in range(len(running))]


def log(workdir, rank):
    return Path(workdir).with_suffix(f".{rank}.log").read_text()


def wait_for(text, workdir, rank=0):
    for _ in range(6000):
        if text in log(workdir, rank):
            return
        time.sleep(0.05)
    pytest.fail(f"{text!r} did not come: {log(workdir, rank)[-2000:]}")


def artefacts(workdir):
    """All arrays of a run, and the curve of its network."""
    arrays = {
        f"{name}/{key}": value
        for name in ("split", "features", "purified")
        for key, value in files.load_npz(workdir / f"{name}.npz").items()
    }
    curve = files.load_json(next(workdir.glob("retrain/*/result.json")))["curve"]
    return arrays | {"curve": np.array([list(scores.values()) for scores in curve])}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two processes that nothing disturbed, and the folder of compiled programs."""
    folder = tmp_path_factory.mktemp("hosts")
    finish(start(folder / "whole", folder / "cache", 2), folder / "whole")
    return folder / "whole", folder / "cache"


@pytest.mark.slow
def test_two_processes_do_what_two_devices_of_one_do(whole, tmp_path):
    finish(start(tmp_path / "one", whole[1], 1, devices=2), tmp_path / "one")
    expected, found = artefacts(tmp_path / "one"), artefacts(whole[0])
    np.testing.assert_array_equal(found["split/given_labels"], expected["split/given_labels"])
    np.testing.assert_allclose(found["features/train"], expected["features/train"], rtol=1e-3, atol=1e-3)
    assert np.mean(found["purified/labels"] == expected["purified/labels"]) > 0.99
    stages = [json_line["stage"] for json_line in map(files.json.loads, (whole[0] / "metrics.jsonl").open())]
    assert stages.count("pretrain") == 3


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_killed_process_and_its_peer_go_on_bit_for_bit(whole, tmp_path, killed):
    workdir = tmp_path / "run"
    running = start(workdir, whole[1], 2)
    wait_for("pretrain  epoch 2.", workdir)
    running[killed].kill()
    peer = running[1 - killed]
    # It cannot go on alone; JAX notices after a while, and a launcher would not wait for that.
    try:
        assert peer.wait(timeout=20) != 0
    except subprocess.TimeoutExpired:
        peer.kill()
        peer.wait()
    running[killed].wait()
    finish(start(workdir, whole[1], 2), workdir)
    assert "resumes after epoch" in log(workdir, 0)
    expected, found = artefacts(whole[0]), artefacts(workdir)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.slow
def test_sigterm_at_one_process_stops_both_with_everything_saved(whole, tmp_path):
    workdir = tmp_path / "run"
    running = start(workdir, whole[1], 2)
    wait_for("pretrain  epoch 1.", workdir)
    running[1].send_signal(signal.SIGTERM)
    statuses = [process.wait(timeout=300) for process in running]
    assert statuses == [75, 75], [log(workdir, rank)[-2000:] for rank in range(2)]
    finish(start(workdir, whole[1], 2), workdir)
    found = artefacts(workdir)
    for name, value in artefacts(whole[0]).items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.slow
def test_mistake_of_the_user_ends_all_processes(whole, tmp_path):
    """Process 0 alone sees the workdir's records; the others are told."""
    finish_codes = []
    workdir = tmp_path / "run"
    (tmp_path / "run").write_text("a file where the folder should be")
    for process in start(workdir, whole[1], 2):
        finish_codes.append(process.wait(timeout=300))
    assert finish_codes == [2, 2]
    assert "cannot be made" in log(workdir, 0)
    assert "cannot be made" in log(workdir, 1)
