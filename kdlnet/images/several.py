"""What a folder, a list or a pattern holds, file by file."""

from __future__ import annotations

from os.path import lexists, normpath
from pathlib import Path

from kdlnet.errors import DataError
from kdlnet.images.folder import (
    UNREAD_SUFFIXES,
    Closed,
    LeftOut,
    folders_with_images,
    glob_root,
    images_below,
    matches,
    outside_results,
)
from kdlnet.images.items import VIDEO_SUFFIXES, Item, closed_items, file_item, once
from kdlnet.images.read import IMAGE_SUFFIXES
from kdlnet.utils.manifest import MARK
from kdlnet.utils.paths import asked
from kdlnet.utils.text import listed_paths


def below(folder: Path, left: LeftOut) -> list[Item]:
    """All images below ``folder``. Raises DataError where it holds results."""
    closed: Closed = {}
    found = images_below(folder, left, closed)
    items = [file_item(image, folder) for image in found] + closed_items(closed, folder)
    if asked((folder / MARK).exists):
        raise DataError(
            f"{str(folder)!r} is a folder of results ({MARK} is in it), which are no input: name "
            "the folder of the images themselves"
        )
    return items


def listed(file: Path, left: LeftOut) -> list[Item]:
    """What a .txt list names. Raises DataError where it is empty."""
    paths = [Path(line) for line in listed_paths(file, "image list")]
    if not paths:
        raise DataError(f"image list {str(file)!r} is empty: write one path a line into it")
    beside = [file.parent / path for path in paths]
    items = (
        file_item(_plain(near if lexists(near) or not lexists(path) else path), file.parent)
        for near, path in zip(beside, paths, strict=True)
    )
    return once(items, left.again)


def _plain(path: Path) -> Path:
    """``path`` without ``..``, where that names the same file: behind a link it may not."""
    plain = Path(normpath(path))
    return plain if plain == path or asked(lambda: plain.samefile(path)) else path


def matching(pattern: str, left: LeftOut) -> tuple[list[Item], tuple[Path, ...]]:
    """The files that ``pattern`` matches, and the folders that it claims. Raises DataError where
    there are none."""
    root, closed = glob_root(pattern), Closed()
    found, others = [], []
    for path in outside_results(matches(pattern, closed), root, left.results):
        suffix = path.suffix.lower()
        if path.name.startswith("."):
            continue
        if not asked(path.is_file, otherwise=True):
            others.append(path)
        elif suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            found.append(path)
        elif suffix in UNREAD_SUFFIXES:
            left.unread.add(path)
    left.folders.extend(folders_with_images(others, pattern))
    items = [file_item(path, root) for path in found] + closed_items(closed, root)
    if not items:
        allowed = "; ".join([f"allowed are {suffixes()} and videos", *left.lines()])
        raise DataError(f"nothing matches {pattern!r}: {allowed}")
    return items, (root,) if "**" in pattern else ()


def suffixes() -> str:
    """Those of images, for people."""
    return ", ".join(sorted(IMAGE_SUFFIXES))
