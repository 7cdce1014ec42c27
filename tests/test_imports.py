"""Who may import whom: downwards only, and the purifier nothing of the rest."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dmlp_jax"
# Rooms from the bottom up; a room may import from rooms of a lower rank, not from its own rank's others.
RANKS = {
    "errors": 0,
    "recipes": 0,
    "streams": 0,
    "config": 1,
    "npz": 1,
    "hosts": 1,
    "prefetch": 1,
    "files": 2,
    "flags": 2,
    "bucket": 3,
    "bucket_index": 4,
    "local_copy": 3,
    "lock": 3,
    "mirror": 5,
    "records": 3,
    "run_paths": 3,
    "data": 3,
    "models": 3,
    "training": 3,
    "contrastive": 4,
    "purifier": 4,
    "retrain": 4,
    "report": 4,
    "coupled": 5,
    "hashable_labels": 5,
    "likely_clean": 5,
    "interop": 5,
    "stage_settings": 4,
    "workdir": 6,
    "corrected": 7,
    "summary": 8,
    "run": 7,
    "purified_files": 9,
    "stages": 9,
    "pipeline": 10,
    "reproduce": 11,
    "cli": 11,
    "cli_parser": 3,
    "estimator": 11,
    "main": 11,
    "__main__": 12,
    "__init__": 12,
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downwards(path):
    room = room_of(path)
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] != "dmlp_jax" or len(parts) < 2:
            continue
        other = parts[1] if parts[1] in RANKS else "__init__"
        if other == room:
            continue
        assert RANKS[other] < RANKS[room], f"{room} imports {name}"


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(p) == "purifier"], ids=lambda path: path.name)
def test_purifier_needs_numpy_jax_and_optax_only(path):
    allowed = {"numpy", "jax", "optax", *sys.stdlib_module_names}
    for name in imports_of(path):
        root = name.split(".")[0]
        assert root in allowed or name.startswith("dmlp_jax.purifier"), name


@pytest.mark.parametrize(
    "code",
    [
        "import sys, dmlp_jax; assert not {'jax', 'numpy', 'sklearn'} & set(sys.modules)\n"
        "dmlp_jax.purify; assert 'sklearn' not in sys.modules; dmlp_jax.LabelPurifier",
        "import sys, dmlp_jax.purifier\n"
        "heavy = {'flax', 'orbax', 'tensorflow_datasets', 'sklearn', 'matplotlib', 'ml_collections'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)",
        "import sys, dmlp_jax.interop, dmlp_jax.cli.outputs, dmlp_jax.cli.inputs.labelled_rows\n"
        "assert not {'pandas', 'pyarrow', 'cleanlab', 'datasets'} & set(sys.modules)",
        "import sys, dmlp_jax.cli\n"
        "dmlp_jax.cli.make_parser().parse_args(['f.npy', '--out', 'o'])\n"
        "assert not {'jax', 'numpy'} & set(sys.modules)",
    ],
    ids=["the package", "the purifier", "other tools", "the command line"],
)
def test_nothing_heavy_is_loaded_before_it_is_asked_for(code):
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
