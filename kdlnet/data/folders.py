"""Folders of a dataset that results must not lie in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kdlnet.data.catalog import DatasetInfo, entry_path
from kdlnet.images.folder import glob_root


def image_folders(info: DatasetInfo) -> Iterator[Path]:
    """Folders that a split reads with all that is below them."""
    for entry in (entry for entries in info.splits.values() for entry in entries):
        path = entry_path(info, entry)
        if path.is_dir():
            yield path
        elif "**" in entry:
            yield glob_root(str(path))
