"""The command line: `python -m dmlp_jax.main [--config=FILE] [--workdir=FOLDER] [--config.key=value ...]`."""

import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from absl import app, flags, logging
from ml_collections import config_flags

from dmlp_jax import config as config_module
from dmlp_jax.errors import UserError

# The exit status after SIGTERM: EX_TEMPFAIL of sysexits.h, "try again".
RETRY = 75


def main(argv: Sequence[str]) -> None:
    """Runs the pipeline; a mistake of the user's ends in one line and exit status 2."""
    # Imported late, so that --help and mistakes in flags do not wait for jax.
    from dmlp_jax import pipeline
    from dmlp_jax.purifier import InputError
    from dmlp_jax.training.session import Stopped

    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # Orbax tells of every file otherwise.
    try:
        if len(argv) > 1:
            raise UserError(f"unexpected argument {argv[1]!r}; settings are given as --config.key=value")
        config = flags.FLAGS.config
        terminated = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: terminated.set())
        pipeline.run(config, Path(flags.FLAGS.workdir or Path("runs") / config.name), terminated.is_set)
    except Stopped:
        _fail("terminated; what was done is saved, the same command resumes", status=RETRY)
    except (UserError, InputError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted; the same command resumes", status=130)


def define_flags() -> None:
    """Defines --config and --workdir. ml_collections reads sys.argv here, so it is not done on import."""
    config_flags.DEFINE_config_file(
        "config",
        str(Path(config_module.__file__)),
        "The run's settings, a Python file with get_config(); the digits demo by default. Override a setting "
        "with --config.key=value.",
        lock_config=True,
    )
    flags.DEFINE_string(
        "workdir", None, "Where everything is kept; the same folder resumes. Default: runs/<config.name>."
    )


def check_arguments(argv: Sequence[str]) -> None:
    """Refuses settings that do not exist, with the nearest one that does, and a missing settings file.

    Raises:
        UserError: such an argument.
    """
    known = [key for key, _ in config_module.flatten(config_module.default_config())]
    for index, argument in enumerate(argv[1:], start=1):
        name, given, value = argument.lstrip("-").partition("=")
        if not argument.startswith("-"):
            continue
        if name.startswith("config."):
            key = name.removeprefix("config.")
            # A method of the user's own has a recipe that the default settings do not know.
            own = (
                key.startswith("recipes.") and key.split(".")[1] not in config_module.default_config().recipes
            )
            if key not in known and not own:
                raise UserError(f"unknown setting {key!r}{config_module.nearest(key, known)}")
        if name == "config":
            path = value if given else next(iter(argv[index + 1 :]), "")
            if not Path(path).is_file():
                raise UserError(f"--config: no file {path!r}; dmlp_jax's own lie in the folder configs/")


def console() -> None:
    """Entry point of `python -m dmlp_jax.main` and `python -m dmlp_jax`."""
    try:
        check_arguments(sys.argv)
        define_flags()
    except (UserError, flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        _fail(str(error))
    app.run(main, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _fail(f"{error}; --help shows what there is")


def _fail(message: str, status: int = 2) -> NoReturn:
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(status)


if __name__ == "__main__":
    console()
