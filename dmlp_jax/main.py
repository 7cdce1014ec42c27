"""The command line: `python -m dmlp_jax.main [--config=FILE] [--workdir=FOLDER] [--config.key=value ...]`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from dmlp_jax import config as config_module
from dmlp_jax.errors import UserError

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    str(Path(config_module.__file__)),
    "The run's settings, a Python file with get_config(); the digits demo by default. Override a setting "
    "with --config.key=value.",
    lock_config=True,
)
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Where everything is kept; the same folder resumes. Default: runs/<config.name>.",
)


def main(argv: Sequence[str]) -> None:
    """Runs the pipeline; a mistake of the user's ends in one line and exit status 2."""
    # Imported late, so that --help and mistakes in flags do not wait for jax.
    from dmlp_jax import pipeline
    from dmlp_jax.purifier import InputError

    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # Orbax tells of every file otherwise.
    try:
        if len(argv) > 1:
            raise UserError(f"unexpected argument {argv[1]!r}; settings are given as --config.key=value")
        config = _CONFIG.value
        pipeline.run(config, Path(_WORKDIR.value or Path("runs") / config.name))
    except (UserError, InputError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted; the same command resumes", status=130)


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line, refusing unknown settings with the nearest known one."""
    known = [key for key, _ in config_module.flatten(config_module.default_config())]
    for argument in argv[1:]:
        name, _, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name.startswith("config."):
            key = name.removeprefix("config.")
            if key not in known:
                _fail(f"unknown setting {key!r}{config_module.nearest(key, known)}")
        if name == "config" and value and not Path(value.split(":")[0]).is_file():
            _fail(f"--config: no file {value}; the settings that ship with dmlp_jax lie in configs/")
    try:
        return flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        _fail(str(error))


def _fail(message: str, status: int = 2) -> None:
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(status)


def console() -> None:
    """Entry point of `python -m dmlp_jax.main` and `python -m dmlp_jax`."""
    app.run(main, flags_parser=parse_flags)


if __name__ == "__main__":
    console()
