"""Build step named in setup.cfg: ships files of the root inside the package kdlnet.

They are edited at the root, where users look for them: datasets.yaml, the released weights and
their splits. A symbolic link would need rights on Windows and a second copy would drift. Editable
installs need no copy: the package finds the files beside its own folder.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools.command.build_py import build_py

PATTERNS = (
    "datasets.yaml",
    "weights/README.md",
    "weights/manifest.yaml",
    "weights/*.safetensors",
    "weights/splits/*.txt",
)


class BuildPy(build_py):  # type: ignore[misc]  # setuptools ships no types
    """build_py that adds files from outside of the package folder."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for target, source in self._shipped().items():
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *self._shipped()]

    def get_output_mapping(self) -> dict[str, str]:
        return {**super().get_output_mapping(), **self._shipped()}

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *self._shipped().values()]

    def _shipped(self) -> dict[str, str]:
        """Each file's place in the build, and at the root."""
        sources = [file.as_posix() for pattern in PATTERNS for file in Path().glob(pattern)]
        return {str(Path(self.build_lib) / "kdlnet" / name): name for name in sorted(sources)}
