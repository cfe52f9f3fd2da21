"""Image files below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from kdlnet.images.read import IMAGE_SUFFIXES


def images_below(folder: Path) -> Iterator[Path]:
    """Image files in ``folder`` and below, hidden ones left out; links to folders are followed."""
    visited = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:  # a link that leads back up
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield Path(parent, name)
