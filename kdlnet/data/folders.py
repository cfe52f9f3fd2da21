"""The folders that a dataset reads: no place for results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kdlnet.data.catalog import DatasetInfo, find_dataset
from kdlnet.data.listing import entry_path, entry_pattern
from kdlnet.errors import DataError
from kdlnet.images.folder import glob_root


def image_folders(info: DatasetInfo) -> Iterator[Path]:
    """Folders that a split reads with all that is below them."""
    for entry in (entry for entries in info.splits.values() for entry in entries):
        path = entry_path(info, entry)
        if path.is_dir():
            yield path
        elif "**" in entry:
            yield glob_root(entry_pattern(info, path))


def keep_out_of_datasets(out: Path) -> None:
    """Refuses a folder for new images that a dataset around it would read. Raises DataError."""
    for folder in {*out.absolute().parents, *out.resolve().parents}:
        file = folder / "data.yaml"
        if not file.is_file():
            continue
        try:
            read = list(image_folders(find_dataset(str(file))))
        except DataError:  # it reads nothing, then
            continue
        if any(out.resolve().is_relative_to(each.resolve()) for each in read):
            raise DataError(
                f"{str(out)!r} is among the images of {str(file)!r}, which would read what is "
                "written there as its own: choose another folder"
            )
