"""What the package's source must never do: run code that a file brings, or let NumPy unpickle."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "dmlp_jax"
# Runs networks of other libraries, which load their weights themselves; it may not call `torch.load`.
LOADERS = PACKAGE / "embedding" / "loaders.py"
# Modules that run what they read, and the only files that may name them.
MODULES = {
    "marshal": (), "shelve": (), "dill": (), "cloudpickle": (), "joblib": (), "yaml": (), "torch": (LOADERS,),
}  # fmt: skip
PICKLE_READER = PACKAGE / "data" / "sets" / "torch_file.py"
# Compiled programs are code in any format. It reads files of the user only: tests/runtime/test_programs.py.
PROGRAMS = PACKAGE / "runtime" / "programs.py"
BUILTINS = ("eval", "exec", "compile", "__import__")
# Methods that write where an archive says, or run what they are given.
METHODS = ("extractall", "system", "popen")


def offences(source, path):
    """What in the source is forbidden, as text with the line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module.split(".")[0]]
        for name in names:
            if path not in MODULES.get(name, (path,)) or (
                name in ("pickle", "_pickle") and path != PICKLE_READER
            ):
                found.append(f"{node.lineno}: import {name}")
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and not _is(node.value, False):
            found.append(f"{node.value.lineno}: allow_pickle")
        if isinstance(node, ast.keyword) and node.arg == "shell" and not _is(node.value, False):
            found.append(f"{node.value.lineno}: shell")
        if isinstance(node, ast.Name) and node.id in BUILTINS:
            found.append(f"{node.lineno}: {node.id}")
        if isinstance(node, ast.Attribute):
            base = node.value.id if isinstance(node.value, ast.Name) else ""
            if base == "pickle" and node.attr != "Unpickler":
                found.append(f"{node.lineno}: pickle.{node.attr}")
            if base in ("np", "numpy", "jnp") and node.attr in ("load", "fromfile", "loadtxt", "genfromtxt"):
                found.append(f"{node.lineno}: {base}.{node.attr}, see files.load_npz")
            if node.attr in METHODS or (base == "torch" and node.attr in ("load", "jit", "hub")):
                found.append(f"{node.lineno}: .{node.attr}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            base = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            if base == "pickle":
                found.append(f"{node.lineno}: pickle.{node.func.attr}(), use a class that admits arrays only")
            if node.func.attr == "extract" and base != "features":
                found.append(f"{node.lineno}: .extract()")
    return found


def _is(node, value):
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_nothing_is_unpickled_evaluated_or_unpacked(path):
    found = offences(path.read_text(), path)
    if path == PROGRAMS:
        found = [offence for offence in found if "pickle" not in offence]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "run = exec",
        "__import__('os')",
        "import pickle",
        "from pickle import load",
        "import yaml",
        "from torch import load",
        "torch.load(path)",
        "np.load(path)",
        "np.lib.format.read_array(file, allow_pickle=True)",
        "np.lib.format.read_array(file, allow_pickle=flag)",
        "archive.extractall(folder)",
        "tarfile.open(path).extract(member)",
        "os.system('ls')",
        "subprocess.run('ls', shell=True)",
    ],
)
def test_the_check_sees_what_it_forbids(source):
    assert offences(source, PACKAGE / "files.py")


@pytest.mark.parametrize("source", ["pickle.loads(blob)", "pickle.Unpickler(file).load()", "pickle.load"])
def test_even_the_reader_of_pickles_may_only_derive_from_unpickler(source):
    assert offences(source, PICKLE_READER)
    assert not offences("import pickle\nclass A(pickle.Unpickler):\n    pass", PICKLE_READER)


def test_loaders_of_networks_may_name_torch_but_not_load_with_it():
    assert not offences("import torch\ntorch.inference_mode()", LOADERS)
    assert offences("import torch\ntorch.load(path)", LOADERS)
    assert offences("import torch", PICKLE_READER)
