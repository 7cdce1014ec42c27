import subprocess
import sys
from pathlib import Path

import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import config_files, flags

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "path", ["configs/features.py", "./configs/features.py", "configs/features", "features.py", "features"]
)
def test_our_own_are_found_from_any_folder(path):
    found = Path(config_files.find(path))
    assert found.is_absolute()
    assert found.read_text() == (REPOSITORY / "configs" / "features.py").read_text()


def test_a_file_of_the_user_goes_first(tmp_path):
    for name in ("configs/features.py", "folder.py", "my.own.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        assert config_files.find(name) == name
        assert config_files.find(str(tmp_path / name)) == str(tmp_path / name)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("configs/cifar10_sym09.py", r"no file 'configs/cifar10_sym09\.py'.*did you mean 'cifar10_sym\d0'"),
        ("foldr", "did you mean 'folder'"),
        ("/elsewhere/configs/features.py", "no file '/elsewhere"),
        ("configs/more/features.py", "no file 'configs/more"),
        ("xyz", "configs/, which are .*clothing1m, .*digits_sym80"),
        ("", "no file ''"),
    ],
)
def test_others_are_refused_with_what_there_is(path, message):
    with pytest.raises(UserError, match=message):
        config_files.find(path)


@pytest.mark.parametrize("given", [["--config=features"], ["--config", "features"], ["-config=features"]])
def test_the_command_line_gets_the_file(given):
    found = config_files.find("features")
    argv = ["program", *given, "--config.seed=1"]
    flags.check_arguments(argv)
    assert found in argv[-2]
    assert len(argv) == len(given) + 2
    assert argv[-1] == "--config.seed=1"


def test_settings_that_the_program_gets(tmp_path):
    """The file's own name shows that it was read, not the default."""
    code = (
        "import sys; from absl import flags as absl_flags; from dmlp_jax.pipeline import flags\n"
        "flags.check_arguments(sys.argv); flags.define_config(); absl_flags.FLAGS(sys.argv)\n"
        "print(absl_flags.FLAGS.config.name, absl_flags.FLAGS.config.seed)"
    )
    command = [sys.executable, "-c", code, "--config=configs/features.py", "--config.seed=7"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["features", "7"]
