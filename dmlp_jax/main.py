"""Runs the pipeline: `python -m dmlp_jax.main [--config=FILE] [--workdir=DIR] [--config.key=value ...]`."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from absl import app, flags
from absl import logging as absl_logging

from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import flags as config_flags
from dmlp_jax.pipeline import help_text
from dmlp_jax.runtime import console as streams
from dmlp_jax.runtime import interrupts

# The exit status after SIGTERM: EX_TEMPFAIL of sysexits.h, "try again".
RETRY = 75
_INTERRUPTED = "interrupted; the same command resumes"


def main(argv: Sequence[str]) -> None:
    """Runs the pipeline; errors that the user can mend print one line and end with exit status 2."""
    # Imported late, so that --help and errors in flags do not wait for the import of jax.
    from dmlp_jax.pipeline import pipeline
    from dmlp_jax.purifier import InputError
    from dmlp_jax.runtime import hosts
    from dmlp_jax.training.session import Stopped

    if not flags.FLAGS["verbosity"].present:
        absl_logging.set_verbosity(absl_logging.WARNING)  # Otherwise Orbax logs every file.
        # gcsfs logs a traceback at every failed request; `mirror` prints notes and errors instead.
        logging.getLogger("gcsfs").setLevel("CRITICAL")
    try:
        if len(argv) > 1:
            raise UserError(f"unexpected argument {argv[1]!r}; settings are given as --config.key=value")
        config = flags.FLAGS.config
        if flags.FLAGS.quiet:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for the rest of the process)
        if flags.FLAGS.multihost:
            hosts.initialize()
            stop = hosts.make_stop()
            if not hosts.is_main():
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for the rest of the process)
        else:
            terminated = threading.Event()
            signal.signal(signal.SIGTERM, lambda *_: terminated.set())
            stop = terminated.is_set
        result = pipeline.run(config, flags.FLAGS.workdir or Path("runs") / config.name, stop)
        if flags.FLAGS.quiet and hosts.is_main():
            for text in (result or {}).get("warnings", ()):
                print(f"warning: {text}", file=sys.stderr, flush=True)
    except Stopped:
        _fail("terminated; what was done is saved, the same command resumes", status=RETRY)
    except (UserError, InputError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _interrupted()


def define_flags() -> None:
    """Defines all flags; `flags.define_config` says when it must be called."""
    config_flags.define_config()
    flags.DEFINE_string(
        "workdir",
        None,
        "Folder or gs://bucket/path for everything the run writes; a run with the same workdir resumes. "
        "Default: runs/<config.name>.",
    )
    flags.DEFINE_bool(
        "multihost",
        False,
        "One of several processes, usually one a host, that share the work and the workdir.",
    )
    flags.DEFINE_bool("quiet", False, "Print nothing but errors and warnings, which go to stderr.")


def console() -> None:
    """Entry point of `python -m dmlp_jax.main` and `python -m dmlp_jax`."""
    streams.accept_any_text()
    streams.outlive_readers()
    interrupts.end_promptly(f"error: {_INTERRUPTED}")
    if any(argument in help_text.ASKS for argument in sys.argv[1:]):
        print(help_text.text())
        sys.exit(0)
    try:
        config_flags.check_arguments(sys.argv)
        define_flags()
    except (UserError, flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _interrupted()
    app.run(main, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _fail(f"{error}; --help lists the flags")


def _interrupted() -> NoReturn:
    print(f"error: {_INTERRUPTED}", file=sys.stderr, flush=True)
    interrupts.end(interrupts.INTERRUPTED)


def _fail(message: str, status: int = 2) -> NoReturn:
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(status)


if __name__ == "__main__":
    console()
