"""Defines and checks the command-line flag --config and its settings, shared by the package's programs."""

from pathlib import Path

from ml_collections import config_flags

from dmlp_jax import config as config_module
from dmlp_jax import errors
from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import config_files


def define_config() -> None:
    """Defines --config; not done on import, because ml_collections reads sys.argv here."""
    config_flags.DEFINE_config_file(
        "config",
        str(Path(config_module.__file__)),
        "The run's settings, a Python file with get_config() or the name of one of ours, such as "
        "cifar10_sym90; the digits demo by default. Override a setting with --config.key=value.",
        lock_config=True,
    )


def check_arguments(argv: list[str]) -> None:
    """Checks that all settings on the command line exist, and the settings file too.

    `--config=NAME` is replaced in `argv` by the path of that file, see `config_files.find`.

    Raises:
        UserError: an unknown setting (the message suggests the nearest one), or a missing file.
    """
    known = [key for key, _ in config_module.flatten(config_module.default_config())]
    for index, argument in enumerate(argv[1:], start=1):
        name, given, value = argument.lstrip("-").partition("=")
        if not argument.startswith("-"):
            continue
        if name.startswith("config."):
            key = name.removeprefix("config.")
            # A method defined by the user has a recipe that is not in the default settings.
            own = (
                key.startswith("recipes.") and key.split(".")[1] not in config_module.default_config().recipes
            )
            if key not in known and not own:
                raise UserError(f"unknown setting {key!r}{errors.nearest(key, known)}")
        if name == "config":
            path = config_files.find(value if given else next(iter(argv[index + 1 :]), ""))
            argv[index if given else index + 1] = f"--config={path}" if given else path
