"""Redirects imports of modules under their old names, so that users' old imports and pickles keep working."""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# Old name: new name. A pickle stores the module name of each of its classes.
MOVED = {
    "dmlp_jax.estimator": "dmlp_jax.interop.sklearn",
    "dmlp_jax.likely_clean": "dmlp_jax.purifier.likely_clean",
    "dmlp_jax.purifier.scaling": "dmlp_jax.purifier.rows.scaling",
    "dmlp_jax.training.schedule": "dmlp_jax.training.learning_rates",
}


class _Alias(Loader):
    """Loads the module at its new name."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(MOVED[spec.name])
        # The import system will overwrite the module's spec with that of the old name; restored below.
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
    """Makes `import dmlp_jax.<old name>` work for every name in `MOVED`; further calls have no effect."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
