"""The weights that come with kdlnet: beside a checkout's package, inside a wheel's."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from kdlnet.inference.weights import START

_MANIFEST = "weights/manifest.yaml"


def find_start(model: str, block: str) -> Path | None:
    """The released start for ``model`` built from ``block``, None where there is none."""
    for folder, entry in _entries():
        if entry.get("purpose") == START and (entry["model"], entry["block"]) == (model, block):
            return folder / str(entry["file"])
    return None


@cache
def _entries() -> list[tuple[Path, dict[str, Any]]]:
    package = Path(__file__).resolve().parent.parent
    for place in (package, package.parent):
        if (place / _MANIFEST).is_file():
            text = (place / _MANIFEST).read_text(encoding="utf-8")
            return [(place / "weights", entry) for entry in yaml.safe_load(text)["weights"]]
    return []
