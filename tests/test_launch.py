"""The launchers: what they would run, what they refuse, and when they try again."""

import os
import shlex
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
import yaml

LAUNCH = Path(__file__).parents[1] / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), LAUNCH / "slurm.sbatch"])
PLACE = ("--name", "n", "--zone", "z")
AT = ["n", "--zone", "z"]


def run(script, *arguments, **variables):
    command = ["bash", str(LAUNCH / script), *arguments]
    environment = {**os.environ, **{key: str(value) for key, value in variables.items()}}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def dry_run(script, *arguments):
    """The commands that a dry run prints, split into words as a shell would."""
    found = run(script, "--dry-run", *arguments)
    assert found.returncode == 0, found.stderr
    return [shlex.split(line) for line in found.stdout.splitlines()]


def stand_in(folder, name, text):
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script):
    assert shutil.which("shellcheck"), "pip install -e '.[test]' brings it"
    found = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_tpu_is_queued():
    (command,) = dry_run("tpu_vm.sh", "create", *PLACE, "--type", "v6e-8", "--version", "v2-alpha-tpuv6e")
    assert command == [
        "gcloud", "compute", "tpus", "queued-resources", "create", "n", "--node-id", *AT,
        "--accelerator-type", "v6e-8", "--runtime-version", "v2-alpha-tpuv6e",
    ]  # fmt: skip


def test_spot_and_project_reach_gcloud():
    (command,) = dry_run("tpu_vm.sh", "create", *PLACE, "--spot", "--project", "p")
    assert command[-1] == "--spot"
    assert command[command.index("--project") + 1] == "p"


def test_checkout_is_installed_on_every_worker():
    archive, copy, install = dry_run("tpu_vm.sh", "setup", *PLACE)
    assert archive[:1] + archive[3:5] == ["git", "archive", "--format"]
    assert copy[3:5] == ["tpu-vm", "scp"]
    assert copy[-2:] == ["--worker", "all"]
    assert install[3:6] == ["tpu-vm", "ssh", "n"]
    assert install[-1].endswith("bash dmlp_jax/launch/tpu_setup.sh")
    *_, installed, asked = dry_run("tpu_setup.sh")
    assert installed[-2:] == ["--editable", ".[tpu,gcs]"]
    assert asked[-1] == "import jax; print(jax.devices())"


def test_arguments_of_the_run_arrive_as_they_were():
    arguments = ["--config=configs/a.py", "--workdir=/a b", "--config.noise.rate=0.5"]
    (command,) = dry_run("tpu_vm.sh", "run", *PLACE, "--", *arguments)
    assert command[-4:-2] == ["--worker", "all"]
    there = shlex.split(command[-1])
    first = there.index("dmlp_jax.main") + 1
    assert there[first : first + 3] == arguments
    assert there[-1] == "&"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("status", ["queued-resources", "describe", *AT, "--format", "value(state.state)"]),
        ("delete", ["queued-resources", "delete", *AT, "--force", "--quiet"]),
        ("logs", ["tpu-vm", "ssh", *AT, "--worker", "0", "--command", "tail -n 100 -f dmlp_jax/run.log"]),
        ("stop", ["tpu-vm", "ssh", *AT, "--worker", "all", "--command", "pkill -TERM -f '[d]mlp_jax.main'"]),
    ],
)
def test_other_commands(name, words):
    (command,) = dry_run("tpu_vm.sh", name, *PLACE)
    assert command[3:] == words


@pytest.mark.parametrize(
    ("script", "arguments", "words"),
    [
        ("tpu_vm.sh", PLACE, "no command"),
        ("tpu_vm.sh", ("create", "--name", "n"), "--name and --zone"),
        ("tpu_vm.sh", ("create", *PLACE, "--tpe", "x"), "unknown option --tpe"),
        ("tpu_vm.sh", ("creat", *PLACE), "unknown command creat"),
        ("tpu_vm.sh", ("run", *PLACE), "nothing to run"),
        ("tpu_vm.sh", ("create", "--name"), "--name needs a value"),
        ("local_gpu.sh", (), "nothing to run"),
        ("local_gpu.sh", ("--config=x",), "come after --"),
        ("slurm.sbatch", ("--config=x",), "name a --workdir"),
    ],
)
def test_mistakes_are_named(script, arguments, words):
    found = run(script, *arguments)
    assert found.returncode == 2
    assert words in found.stderr


def test_local_run_is_started_again_until_it_is_done(tmp_path):
    count = tmp_path / "count"
    python = stand_in(
        tmp_path, "python", f'echo "$@" >> {count}; (( $(wc -l < {count}) > 2 )) && exit 0; exit 75'
    )
    found = run("local_gpu.sh", "--", "--workdir=w", DMLP_PYTHON=python)
    assert found.returncode == 0
    assert count.read_text().splitlines() == ["-m dmlp_jax.main --workdir=w"] * 3


@pytest.mark.parametrize(("status", "runs"), [(2, 1), (130, 1), (75, 3), (137, 3)])
def test_local_run_gives_up_where_trying_again_is_of_no_use(tmp_path, status, runs):
    count = tmp_path / "count"
    python = stand_in(tmp_path, "python", f"echo x >> {count}; exit {status}")
    found = run("local_gpu.sh", "--tries", "3", "--", "--workdir=w", DMLP_PYTHON=python)
    assert found.returncode == status
    assert len(count.read_text().splitlines()) == runs


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_the_local_script_reaches_the_run_and_ends_both(tmp_path, kind):
    said = tmp_path / "said"
    python = stand_in(
        tmp_path, "python",
        f"trap 'echo saved >> {said}; exit 75' TERM; echo started >> {said}; while :; do sleep .05; done",
    )  # fmt: skip
    # A shell's background job ignores SIGINT, and its children inherit that.
    command = ["env", "--default-signal=INT", "bash", str(LAUNCH / "local_gpu.sh"), "--", "--workdir=w"]
    process = subprocess.Popen(command, env={**os.environ, "DMLP_PYTHON": str(python)})
    deadline = time.monotonic() + 20
    while not said.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(kind)
    assert process.wait(timeout=20) == 75
    assert said.read_text().split() == ["started", "saved"]


def test_signal_that_comes_while_the_run_is_started_is_not_lost(tmp_path):
    python = stand_in(
        tmp_path, "python",
        "trap 'exit 75' TERM; kill -TERM $PPID; for i in {1..40}; do sleep .05; done; exit 0",
    )  # fmt: skip
    found = [run("local_gpu.sh", "--", "--workdir=w", DMLP_PYTHON=python).returncode for _ in range(15)]
    assert found == [75] * 15


def test_gpus_are_chosen():
    (command,) = dry_run("local_gpu.sh", "--gpus", "1,3", "--", "--workdir=w")
    assert command == ["env", "CUDA_VISIBLE_DEVICES=1,3", "python3", "-m", "dmlp_jax.main", "--workdir=w"]


@pytest.mark.parametrize(("status", "requeued"), [(0, False), (2, False), (75, True)])
def test_slurm_job_is_queued_again_after_it_was_terminated(tmp_path, status, requeued):
    said = tmp_path / "said"
    stand_in(tmp_path, "srun", f'echo "srun $*" >> {said}; exit {status}')
    stand_in(tmp_path, "scontrol", f'echo "scontrol $*" >> {said}')
    found = run("slurm.sbatch", "--workdir=w", PATH=f"{tmp_path}:{os.environ['PATH']}", SLURM_JOB_ID=42)
    assert found.returncode == status
    expected = ["srun --kill-on-bad-exit=1 python3 -m dmlp_jax.main --workdir=w"] + [
        "scontrol requeue 42"
    ] * requeued
    assert said.read_text().splitlines() == expected


def test_manifests_run_what_exists():
    jobset = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    ignored = [
        rule["onExitCodes"]["values"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule
    ]
    assert ignored == [[2], [75]]
    sky = yaml.safe_load((LAUNCH / "sky.yaml").read_text())
    named = [*container["command"], sky["envs"]["CONFIG"]]
    configs = [
        word.removeprefix("--config=")
        for word in named
        if word.removeprefix("--config=").startswith("configs/")
    ]
    assert len(configs) == 2
    for path in configs:
        assert (LAUNCH.parent / path).is_file()
