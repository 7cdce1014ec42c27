"""The checks of CI and of a release as one command each: `nox -s quick`, `nox --list` shows all."""

import tempfile
from pathlib import Path

import nox

nox.options.sessions = ["lint", "quick"]
nox.options.reuse_existing_virtualenvs = True
CONSTRAINTS = ("-c", "constraints.txt")
EVERYTHING = ".[test,docs,tables,interop]"


@nox.session
def quick(session: nox.Session) -> None:
    """Quick tests; name test files after `--` to run only those."""
    session.install(*CONSTRAINTS, "-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Slow tests, except those that CI has no time for."""
    session.install(*CONSTRAINTS, "-e", EVERYTHING)
    session.run("pytest", "-m", "slow and not exhaustive", *session.posargs)


@nox.session
def exhaustive(session: nox.Session) -> None:
    """Slow tests that only a release waits for."""
    session.install(*CONSTRAINTS, "-e", EVERYTHING)
    session.run("pytest", "-m", "exhaustive", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format and types."""
    session.install(*CONSTRAINTS, "-e", ".[test,dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation as a site, without a broken link."""
    session.install(*CONSTRAINTS, "-e", ".[docs]")
    session.run("mkdocs", "build", "--strict")


@nox.session
def bench(session: nox.Session) -> None:
    """One benchmark: `nox -s bench -- purify_speed`, with its own options after the name."""
    names = sorted(path.stem for path in Path("benchmarks").glob("*.py"))
    if not session.posargs or session.posargs[0] not in names:
        session.error(f"name one benchmark after --, of {', '.join(names)}")
    session.install(*CONSTRAINTS, "-e", ".[test]")
    name, *options = session.posargs
    session.run("python", f"benchmarks/{name}.py", *options)


@nox.session(reuse_venv=False)
def wheel(session: nox.Session) -> None:
    """Builds the wheel, installs it outside the checkout and runs its commands there."""
    with tempfile.TemporaryDirectory() as folder:
        session.install("build")
        session.run("python", "-m", "build", "--outdir", folder)
        (built,) = Path(folder).glob("*.whl")
        session.install(*CONSTRAINTS, str(built))
        with session.chdir(folder):
            session.run("dmlp-purify", "--help", silent=True)
            session.run("python", "-m", "dmlp_jax.reproduce", "--list", silent=True)
            session.run(
                *("python", "-m", "dmlp_jax.main", "--config=digits_sym80", "--workdir=run"),
                *("--config.pretrain.epochs=1", "--config.purify.steps=5", "--config.retrain.epochs=1"),
            )
