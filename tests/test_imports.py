"""Who may import whom, which is written in setup.cfg; what the purifier needs; what is not loaded early."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "dmlp_jax"
PURIFIER = sorted((PACKAGE / "purifier").rglob("*.py"))


def imports_of(path):
    """Dotted names that the module imports, whether at the top or later."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def lint_imports(config):
    """What `lint-imports` says of the contracts in a file, for this checkout whatever is installed."""
    code = "import sys; from importlinter.cli import lint_imports as run; "
    code += "sys.exit(run(sys.argv[1], no_cache=True))"
    command = [sys.executable, "-c", code, str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=REPOSITORY, check=False)


def test_the_contracts_of_setup_cfg_are_kept():
    done = lint_imports(REPOSITORY / "setup.cfg")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_broken_contract_is_seen(tmp_path):
    """What the test above would report: data import storage, which is below."""
    (tmp_path / "contracts.cfg").write_text(
        "[importlinter]\nroot_package = dmlp_jax\n"
        "[importlinter:contract:wrong]\nname = Storage above data\ntype = layers\n"
        "layers =\n    dmlp_jax.storage\n    dmlp_jax.data\n"
    )
    done = lint_imports(tmp_path / "contracts.cfg")
    assert done.returncode == 1
    assert "Storage above data BROKEN" in done.stdout


def test_nothing_is_imported_relatively():
    for path in PACKAGE.rglob("*.py"):
        imports_of(path)


@pytest.mark.parametrize("path", PURIFIER, ids=lambda path: str(path.relative_to(PACKAGE / "purifier")))
def test_purifier_needs_numpy_jax_and_optax_only(path):
    allowed = {"numpy", "jax", "optax", *sys.stdlib_module_names}
    if path == PACKAGE / "purifier" / "likely_clean.py":
        allowed.add("scipy")
    if path == PACKAGE / "purifier" / "base" / "lapack.py":
        allowed |= {"scipy", "threadpoolctl"}
    for name in imports_of(path):
        root = name.split(".")[0]
        assert root in allowed or name.startswith("dmlp_jax.purifier"), name


def test_the_root_holds_what_everything_shares_and_folders():
    names = {path.stem for path in PACKAGE.glob("*.py")}
    assert names == {"__init__", "__main__", "main", "config", "errors"}
    others = {path.name for path in PACKAGE.iterdir() if not path.is_dir() and path.suffix != ".py"}
    assert others == {"py.typed"}
    folders = [path for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))]
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize(
    "code",
    [
        "import sys, dmlp_jax; assert not {'jax', 'numpy', 'sklearn'} & set(sys.modules)\n"
        "import dmlp_jax.cli.command, dmlp_jax.cli.parser\n"
        "dmlp_jax.cli.parser.make_parser().parse_args(['f.npy', '--out', 'o'])\n"
        "assert not {'jax', 'numpy', 'sklearn'} & set(sys.modules)\n"
        "import dmlp_jax.purifier\n"
        "heavy = {'flax', 'orbax', 'tensorflow_datasets', 'sklearn', 'matplotlib', 'ml_collections'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "dmlp_jax.purify; assert 'sklearn' not in sys.modules; dmlp_jax.LabelPurifier",
        "import sys, dmlp_jax.interop, dmlp_jax.cli.outputs, dmlp_jax.cli.inputs.labelled_rows\n"
        "assert not {'pandas', 'pyarrow', 'cleanlab', 'datasets'} & set(sys.modules)",
    ],
    ids=["the package, the command line, the purifier", "other tools"],
)
def test_nothing_heavy_is_loaded_before_it_is_asked_for(code):
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
