"""Keeps compiled programs in a folder, so that a later process neither traces nor compiles them.

JAX's own cache (`compile_cache.py`) saves only the compilation: the process still traces the function, to
find out which program it wants. For `purify` that takes longer than to run it. Here a program is found by
what it is made from: the source text, the versions, the settings of JAX and XLA, the processor, and shapes
and types of the arguments. If any of these differs, it is another program.

Only programs for a CPU are kept. Those that call back into Python cannot be.
"""

import contextlib
import hashlib
import os
import pickle
import platform
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import serialize_executable

from dmlp_jax.runtime import compile_cache, machine

# Ends the name of a file with a program.
SUFFIX = ".program"
# Programs that the process keeps in memory; compiled for a CPU, each takes a thousand memory maps.
_IN_MEMORY = 4
# Packages whose code is part of a program.
_PACKAGES = ("jax", "jaxlib", "numpy", "optax")

Program = Callable[..., Any]
_loaded: OrderedDict[str, Program] = OrderedDict()


def load_or_compile(
    function: Callable[..., Any],
    arguments: tuple,
    *,
    source: Path,
    static: Any = (),
    folder: Path | None = None,
    options: Mapping[str, Any] | None = None,
    before_compiling: Callable[[], None] = lambda: None,
) -> Program:
    """Returns `function`, compiled for arguments of these shapes and types.

    Args:
        function: to be traced.
        arguments: pytrees of arrays.
        source: the folder whose Python files define the function.
        static: all else that the function depends on; its `repr` tells one value from another.
        folder: where programs are kept. None, or one that cannot be written to, keeps none.
        options: XLA's compile options by name; left away if this version of XLA does not know one.
        before_compiling: called before a compilation, not if the program is found.
    """
    if jax.default_backend() != "cpu" or not jax.config.values["jax_enable_compilation_cache"]:
        folder = None
    name = key(arguments, source, (static, options))
    if name in _loaded:
        return _loaded[name]
    found = None if folder is None else _load(folder / f"{name}{SUFFIX}")
    if found is None:
        before_compiling()
        found = _compile(function, arguments, options or {}, folder is not None)
        if folder is not None:
            _save(folder / f"{name}{SUFFIX}", found)
    _loaded[name] = found
    while len(_loaded) > _IN_MEMORY:
        _loaded.popitem(last=False)
    return found


def key(arguments: Any, source: Path, static: Any) -> str:
    """A name, 64 hexadecimal digits, for the program of arguments of these shapes and types.

    Args:
        arguments: pytrees of arrays.
        source: see `load_or_compile`.
        static: all else that shapes the program; its `repr` tells one value from another.
    """
    leaves, structure = jax.tree.flatten(arguments)
    # Settings of the caches and of what is logged shape no program.
    config = {name: value for name, value in jax.config.values.items() if "cache" not in name}
    described = (
        str(structure),
        [(tuple(leaf.shape), str(leaf.dtype), bool(getattr(leaf, "weak_type", False))) for leaf in leaves],
        static,
        sorted((name, repr(value)) for name, value in config.items()),
        os.environ.get("XLA_FLAGS", ""),
        [(package, metadata.version(package)) for package in _PACKAGES],
        (platform.python_version(), machine.fingerprint(), jax.devices()[0].client.platform_version),
    )
    digest = hashlib.sha256(repr(described).encode())
    for path in sorted(source.rglob("*.py")):
        digest.update(path.relative_to(source).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _compile(function: Callable, arguments: tuple, options: Mapping[str, Any], to_be_kept: bool) -> Program:
    # A program that comes from JAX's cache cannot be written to a file again.
    with compile_cache.off() if to_be_kept else contextlib.nullcontext():
        lowered = jax.jit(function).lower(*arguments)
        try:
            return lowered.compile(compiler_options=dict(options))
        except jax.errors.JaxRuntimeError:
            return lowered.compile()


def _save(path: Path, program: Any) -> None:
    """Writes a program; where that does not work, nothing is kept.

    Others never see a part of the file: it is renamed when it is complete.
    """
    try:
        content = pickle.dumps(serialize_executable.serialize(program))
    # JAX refuses programs that call Python, and others, by errors of many types.
    except Exception:
        return
    with contextlib.suppress(OSError):
        part, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(part, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise


def _load(path: Path) -> Program | None:
    """Reads a program; None where there is none, it is another user's, or the file is damaged."""
    try:
        # A program is code that this process would run.
        if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
            return None
        whole = path.read_bytes()
        digest, content = whole[:32], whole[32:]
        if hashlib.sha256(content).digest() != digest:
            return None
        # The file was used, which `cache_folder.trim` looks at.
        with contextlib.suppress(OSError):
            os.utime(path)
        # A program calls LAPACK at addresses that JAX looks up when it first lowers such a call.
        jax.jit(jnp.linalg.cholesky).lower(np.eye(1, dtype=np.float32))
        program, in_tree, out_tree = pickle.loads(content)
        return serialize_executable.deserialize_and_load(
            program, in_tree, out_tree, execution_devices=jax.devices()[:1]
        )
    # Files of another version raise whatever their contents lead to.
    except Exception:
        return None
