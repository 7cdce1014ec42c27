"""The wheel, installed outside the checkout: what a user without the repository gets."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas
import pytest

REPOSITORY = Path(__file__).parents[1]
SOURCES = (
    "dmlp_jax",
    "configs",
    "setup.py",
    "setup.cfg",
    "pyproject.toml",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
)


def has_setuptools():
    """Whether a wheel can be built without a download; a new environment of Python 3.11 has an older one."""
    try:
        return tuple(map(int, metadata.version("setuptools").split(".")[:2])) >= (70, 1)
    except metadata.PackageNotFoundError:
        return False


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_setuptools(), reason="pip install -e '.[test]' brings setuptools 70.1"),
]


def call(*command, cwd, ok=(0,)):
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")
    }
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=600, cwd=cwd, env=environment
    )
    assert done.returncode in ok, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, which has no leftovers of earlier builds."""
    sources, built = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("built")
    for name in SOURCES:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPOSITORY / name, sources)
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", built)
    call(sys.executable, "-m", "pip", "wheel", *options, sources, cwd=built)
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory):
    """The folder of programs of an environment that has the wheel, and the libraries of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    own = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    # The libraries only: what is in such a line is not searched for editable installs.
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    Path(own, "libraries.pth").write_text("\n".join(others) + "\n")
    pip = (sys.executable, "-m", "pip", "--python", python)
    call(*pip, "install", "--no-deps", "--no-index", "--ignore-installed", wheel, cwd=folder)
    place = call(python, "-c", "import dmlp_jax; print(dmlp_jax.__file__)", cwd=folder)
    assert place.startswith(own)
    return folder / "bin"


def test_holds_all_files_of_the_package_and_the_configs(wheel):
    there = set(zipfile.ZipFile(wheel).namelist())
    package = REPOSITORY / "dmlp_jax"
    expected = {
        str(path.relative_to(REPOSITORY))
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    expected |= {f"dmlp_jax/{path.relative_to(REPOSITORY)}" for path in (REPOSITORY / "configs").glob("*.py")}
    assert {name for name in there if ".dist-info/" not in name} == expected


def test_programs_explain_themselves(programs, tmp_path):
    python = programs / "python"
    assert "--val-index" in call(programs / "dmlp-purify", "--help", cwd=tmp_path)
    assert "table1" in call(python, "-m", "dmlp_jax.reproduce", "--list", cwd=tmp_path).lower().replace(
        " ", ""
    )
    text = call(python, "-m", "dmlp_jax.main", "--config=configs/digits_sym80.py", "--help", cwd=tmp_path)
    assert "--workdir" in text
    assert "  cifar10_sym90 " in text


def test_configs_are_found_from_an_empty_folder(programs, tmp_path):
    code = (
        "import sys; from absl import flags as absl_flags; from dmlp_jax.pipeline import flags\n"
        "flags.check_arguments(sys.argv); flags.define_config(); absl_flags.FLAGS(sys.argv)\n"
        "print(absl_flags.FLAGS['config'].config_filename, absl_flags.FLAGS.config.noise.rate)"
    )
    for name in ("configs/digits_sym80.py", "digits_sym80"):
        file, rate = call(programs / "python", "-c", code, f"--config={name}", cwd=tmp_path).split()
        assert Path(file).is_relative_to(programs.parent)
        assert Path(file).parts[-3:] == ("dmlp_jax", "configs", "digits_sym80.py")
        assert float(rate) == 0.8


def test_a_table_becomes_a_report(programs, tmp_path):
    rng = np.random.default_rng(0)
    true = np.arange(60) % 3
    features = 4 * np.eye(3)[true] + rng.normal(size=(60, 3))
    given = np.where(np.arange(60) % 5 == 4, (true + 1) % 3, true)
    clean = np.flatnonzero(given == true)[:12]
    table = pandas.DataFrame(features, columns=["a", "b", "c"]).assign(label=given)
    table.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "clean.txt").write_text("".join(f"{row}\n" for row in clean))
    call(programs / "dmlp-purify", "table.csv", "--val-index", "clean.txt", "--out", "out", cwd=tmp_path)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert (tmp_path / "out" / "issues.csv").is_file()
