"""What setup.cfg cannot say: a wheel holds the files of configs/ too, as dmlp_jax/configs."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Builds the package and puts the files of configs/ into it."""

    def run(self) -> None:
        """Copies, unless the package is installed to be edited: then those of the checkout are read."""
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib, "dmlp_jax", "configs")
            folder.mkdir(parents=True, exist_ok=True)
            for path in Path("configs").glob("*.py"):
                shutil.copyfile(path, folder / path.name)


setup(cmdclass={"build_py": BuildWithConfigs})
