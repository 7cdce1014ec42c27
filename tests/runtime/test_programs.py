import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.runtime import programs

SOURCE = Path(__file__).parent


@pytest.fixture(autouse=True)
def nothing_in_memory():
    programs._loaded.clear()
    yield
    programs._loaded.clear()


def solve(matrix, vector, power=1):
    # LAPACK and a sort, as in `purify`.
    return {"x": jnp.sort(jnp.linalg.eigvalsh(matrix)) @ vector**power}


MATRIX, VECTOR = np.eye(3, dtype=np.float32) * 2, np.arange(3, dtype=np.float32)


def run(folder, compiled, arguments=(MATRIX, VECTOR), source=SOURCE, power=1, **options):
    """The result, and whether a program was compiled, for which `compiled` gets an entry."""
    before = len(compiled)
    program = programs.load_or_compile(
        functools.partial(solve, power=power),
        arguments,
        source=source,
        static=power,
        folder=folder,
        before_compiling=lambda: compiled.append(1),
        **options,
    )
    programs._loaded.clear()
    return float(program(*arguments)["x"]), len(compiled) > before


def test_the_second_time_it_is_found(tmp_path):
    compiled = []
    assert run(tmp_path, compiled) == (6.0, True)
    files = [path.name for path in tmp_path.iterdir()]
    assert len(files) == 1
    assert run(tmp_path, compiled) == (6.0, False)
    assert [path.name for path in tmp_path.iterdir()] == files


CODE = """
import sys; from pathlib import Path; from tests.runtime import test_programs as tests
print(*tests.run(Path(sys.argv[1]), []))
"""


def test_another_process_finds_it(tmp_path):
    said = [
        subprocess.run(
            [sys.executable, "-c", CODE, str(tmp_path)],
            env=os.environ | {"PYTHONPATH": str(SOURCE.parents[1])},
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        ).stdout.split()
        for _ in range(2)
    ]
    assert said == [["6.0", "True"], ["6.0", "False"]]


def test_whatever_shapes_a_program_makes_another_one(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.py").write_text("1")
    folder, compiled = tmp_path / "kept", []
    folder.mkdir()
    assert run(folder, compiled, source=source)[1]
    assert run(folder, compiled, source=source, power=2) == (10.0, True)
    four = np.eye(4, dtype=np.float32), np.ones(4, np.float32)
    assert run(folder, compiled, four, source) == (4.0, True)
    assert run(folder, compiled, (MATRIX, VECTOR.astype(np.int32)), source)[1]
    jax.config.update("jax_default_matmul_precision", "highest")
    try:
        assert run(folder, compiled, source=source)[1]
    finally:
        jax.config.update("jax_default_matmul_precision", None)
    (source / "a.py").write_text("2")
    assert run(folder, compiled, source=source)[1]
    assert len(list(folder.iterdir())) == len(compiled) == 6
    assert not run(folder, compiled, source=source)[1]


@pytest.mark.parametrize(
    "damage", [lambda content: content[:100], lambda content: content[:-9] + b"123456789"]
)
def test_a_damaged_file_is_replaced(tmp_path, damage):
    compiled = []
    run(tmp_path, compiled)
    path = next(tmp_path.iterdir())
    path.write_bytes(damage(path.read_bytes()))
    assert run(tmp_path, compiled) == (6.0, True)
    assert run(tmp_path, compiled) == (6.0, False)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner here")
def test_the_file_of_another_user_is_not_read(tmp_path, monkeypatch):
    compiled, owner = [], os.getuid()
    run(tmp_path, compiled)
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert run(tmp_path, compiled) == (6.0, True)


def test_a_program_that_calls_python_is_not_kept(tmp_path):
    def function(x):
        return jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    program = programs.load_or_compile(function, (VECTOR,), source=SOURCE, folder=tmp_path)
    assert list(program(VECTOR)) == [0, 1, 2]
    assert not list(tmp_path.iterdir())


def test_a_folder_that_vanished_keeps_nothing(tmp_path):
    assert run(tmp_path / "none", []) == (6.0, True)
    assert not (tmp_path / "none").exists()


def test_unknown_options_are_left_away(tmp_path):
    assert run(None, [], options={"xla_that_does_not_exist": True}) == (6.0, True)
    assert run(tmp_path, [], options={"xla_backend_optimization_level": 0}) == (6.0, True)


def test_jax_does_not_keep_the_same_program(tmp_path, monkeypatch):
    theirs = tmp_path / "jax"
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(theirs))
    try:
        (tmp_path / "own").mkdir()
        run(tmp_path / "own", [])
        assert jax.config.values["jax_compilation_cache_dir"] == str(theirs)
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert not theirs.exists() or not [path for path in theirs.iterdir() if "solve" in path.name]


def test_few_programs_stay_in_memory():
    for size in range(1, 8):
        programs.load_or_compile(lambda x: x + 1, (np.ones(size),), source=SOURCE)
    assert len(programs._loaded) == programs._IN_MEMORY
