"""Build step named in setup.cfg: ships the root's datasets.yaml as kdlnet/datasets.yaml.

The file is edited at the root, where users look for it. A symbolic link would need rights on
Windows and a second copy would drift. Editable installs need no copy: the package finds the
file beside its own folder.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools.command.build_py import build_py

SOURCE = "datasets.yaml"


class BuildPy(build_py):  # type: ignore[misc]  # setuptools ships no types
    """build_py that adds one file from outside of the package folder."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = self._target()
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(SOURCE, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), str(self._target())]

    def get_output_mapping(self) -> dict[str, str]:
        return {**super().get_output_mapping(), str(self._target()): SOURCE}

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), SOURCE]

    def _target(self) -> Path:
        return Path(self.build_lib) / "kdlnet" / SOURCE
