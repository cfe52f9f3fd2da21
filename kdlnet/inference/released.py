"""The weights that come with kdlnet: beside a checkout's package, inside a wheel's."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

START = "start"
"""The purpose of weights that only trainings take: a backbone and a neck, and no class yet."""

_MANIFEST = "weights/manifest.yaml"


def find_start(model: str, block: str) -> Path | None:
    """The released start for ``model`` built from ``block``, None where there is none."""
    for folder, entry in _entries():
        if entry.get("purpose") == START and (entry["model"], entry["block"]) == (model, block):
            return folder / str(entry["file"])
    return None


def find_released(name: str) -> Path | None:
    """The released file ``name``, without its suffix; None where none is called so."""
    return _by_name().get(name)


def released_or_file(path: Path) -> Path:
    """``path``, or the released file of that name where nothing lies at it."""
    return path if path.exists() else find_released(str(path)) or path


def from_anywhere(path: Path) -> Path:
    """The same as an absolute path, which holds in any folder."""
    return released_or_file(path).absolute()


def released_names() -> list[str]:
    """The names of all released weights that detect something."""
    return [name for name in _by_name() if not name.endswith(f"-{START}")]


def _by_name() -> dict[str, Path]:
    files = [folder / str(entry["file"]) for folder, entry in _entries()]
    return {file.stem: file for file in files}


@cache
def _entries() -> list[tuple[Path, dict[str, Any]]]:
    package = Path(__file__).resolve().parent.parent
    for place in (package, package.parent):
        if (place / _MANIFEST).is_file():
            text = (place / _MANIFEST).read_text(encoding="utf-8")
            return [(place / "weights", entry) for entry in yaml.safe_load(text)["weights"]]
    return []
