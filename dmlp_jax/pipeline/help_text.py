"""Writes what `python -m dmlp_jax.main --help` prints: configurations by name, settings, where to read on."""

import ast
import textwrap

from dmlp_jax import config as config_module
from dmlp_jax.pipeline import config_files

WIDTH = 100
# Asks for the short help, as absl understands it; --helpfull stays absl's own list of every flag.
ASKS = ("--help", "-help", "-h", "--h", "-?", "--helpshort", "-helpshort")
_USAGE = """\
python -m dmlp_jax.main [--config=NAME] [--workdir=DIR] [--config.key=value ...]

Runs the pipeline: pretrain, extract, purify, retrain, report. Without --config it runs the digits demo, which
needs no data. The same command on the same workdir resumes.

  python -m dmlp_jax.main
  python -m dmlp_jax.main --config=digits_sym50 --workdir=runs/half
  python -m dmlp_jax.main --config=cifar10_sym90 --config.data.dir=DATA --config.retrain.method=dividemix

Options

  --config=NAME       one of the configurations below, from any folder, or a Python file with get_config()
  --config.KEY=VALUE  overrides a setting, see below; --config.stages=purify,report runs some stages only
  --workdir=DIR       folder or gs://bucket/path for everything the run writes; runs/<name> by default
  --quiet             prints nothing but errors and warnings, for scripts; metrics.jsonl has the progress
  --multihost         one of several processes, usually one a host, that share the work and the workdir
  --helpfull          every flag, those of the libraries too
"""
_MORE = """\
Where to read on

  {config}
      has every setting with its meaning
  docs/pipeline.md, docs/your_data.md
      explain the pipeline, and data of your own
  python -m dmlp_jax.data.check --config=NAME
      looks at the data before hours are spent on them
"""


def text() -> str:
    """The help text."""
    return "\n".join([_USAGE, _configurations(), _settings(), _MORE.format(config=config_module.__file__)])


def _configurations() -> str:
    """The settings files of the package, each with the first line of its docstring."""
    lines = ["Configurations\n"]
    found = config_files.own()
    width = max(map(len, found), default=0)
    for name, path in found.items():
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        about = said.partition("\n")[0]
        lines.append(
            textwrap.fill(
                about,
                WIDTH,
                initial_indent=f"  {name:<{width}}  ",
                subsequent_indent=" " * (width + 4),
            )
        )
    return "\n".join(lines) + "\n"


def _entry(name: str, about: str) -> str:
    return textwrap.fill(about, WIDTH, initial_indent=f"  {name:<10}", subsequent_indent=" " * 12)


def _settings() -> str:
    """The settings by section, without their values."""
    sections: dict[str, list[str]] = {}
    for key, _ in config_module.flatten(config_module.default_config()):
        section, _, name = key.rpartition(".")
        sections.setdefault(section, []).append(name)
    lines = ["Settings, such as --config.noise.rate=0.6\n"]
    recipes = [section.removeprefix("recipes.") for section in sections if section.startswith("recipes.")]
    for section, names in sections.items():
        if not section.startswith("recipes."):
            lines.append(_entry(f"{section}." if section else "(the run)", ", ".join(names)))
    methods = ", ".join(recipes)
    lines.append(_entry("recipes.", f"constants of the methods {methods}; see dmlp_jax/retrain/recipes.py"))
    return "\n".join(lines) + "\n"
