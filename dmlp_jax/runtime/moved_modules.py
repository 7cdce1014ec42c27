"""Hands on old module names, which users' imports and pickles may hold, to where the modules are now."""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# A pickle names the module of each class in it.
MOVED = {
    "dmlp_jax.estimator": "dmlp_jax.interop.sklearn",
    "dmlp_jax.likely_clean": "dmlp_jax.purifier.likely_clean",
    "dmlp_jax.purifier.scaling": "dmlp_jax.purifier.rows.scaling",
}


class _Alias(Loader):
    """Loads the module that a name was moved to."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(MOVED[spec.name])
        # The import system is about to write the old name's spec into the module.
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _Finder(MetaPathFinder):
    """Finds the old names in `MOVED`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, _Alias()) if name in MOVED else None


def install() -> None:
    """Makes `import dmlp_jax.<old name>` work for every name in `MOVED`; a second call changes nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
