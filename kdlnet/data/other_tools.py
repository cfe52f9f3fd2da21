"""Label files of other tools, known by what is in them and never read as labels."""

from __future__ import annotations

import html
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import islice
from pathlib import Path
from typing import Any

from kdlnet.data.tables import TABLE_SUFFIXES, is_example, read_table
from kdlnet.errors import DataError
from kdlnet.images.folder import files_below
from kdlnet.images.read import IMAGE_SUFFIXES
from kdlnet.utils.text import plain

IMAGE_FOLDERS = frozenset({"images", "image", "imgs", "img", "jpegimages"})
TOOLS = {".xml": "voc", ".json": "labelme"}
"""Suffixes of other tools' label files, one an image, and what `data convert` calls them."""

SUGGESTED = "? "
"""Before the name of what a model suggests: no label until a person takes the mark away."""

CHECKED = "checked: every ? is right"
"""The tick of an image in LabelMe by which a person takes over all suggestions in it at once."""

CLASSES = "labels.txt"
"""Beside files of LabelMe: the classes that a person may choose from (--labels), one per line."""

_SETS = frozenset({*TOOLS, *TABLE_SUFFIXES})
_MOST_FILES = 10_000  # of a folder that are looked through for labels
_MOST_FOLDERS = 200  # beside a folder of images; a place with more is no dataset's
_COCO = (rb'"annotations"\s*:\s*\[\s*\{', rb'"categories"\s*:', rb'"images"\s*:')
_COCO_NAME = rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")'
_CVAT = (rb"<annotations\b", rb"<(?:box|polygon|polyline|points|ellipse|mask|skeleton|cuboid)\b")
_CVAT_NAME = rb'<image\b[^>]*?\bname="([^"]*)"'


def conversion(file: Path) -> str:
    """The command for a label file of another tool, "" for one of ours."""
    tool = TOOLS.get(file.suffix.lower())
    return f"kdlnet data convert {tool}" if tool else ""


def tool_of(folder: Path) -> str:
    """What `data convert` calls the first labels found below ``folder``, "" for none."""
    for file in islice(files_below(folder), _MOST_FILES):
        if file.name == "classes.txt":
            return "yolo"
        suffix = file.suffix.lower()
        if suffix in _SETS:
            tool, names = _contents(file)
            if names:
                return tool
            if suffix in TOOLS and has_shapes(file):
                return TOOLS[suffix]
    return ""


def has_shapes(file: Path) -> bool:
    """Whether a file of another tool holds something drawn; one with notes about it does not.

    Neither does one in which a person ticked that nothing is there; until then it may.
    """
    try:
        content = file.read_bytes()
        if file.suffix.lower() == ".xml":
            return b"<annotation" in content and b"<object" in content
        values = json.loads(content)
    except (OSError, ValueError, RecursionError):
        return False
    shapes = values.get("shapes") if isinstance(values, dict) else None
    if not isinstance(shapes, list):
        return False
    checked = is_checked(values)
    if checked is not None:
        return bool(shapes) or not checked
    return not all(is_suggestion(shape, SUGGESTED) for shape in shapes)


def is_checked(content: Mapping[str, Any]) -> bool | None:
    """Whether a person ticked all of an image in LabelMe; None where there is no such tick."""
    flags = content.get("flags")
    if not isinstance(flags, dict) or CHECKED not in flags:
        return None
    return flags[CHECKED] is True


def mark_of(content: Mapping[str, Any]) -> str:
    """What the names of suggestions in a file of LabelMe begin with.

    Where there is a tick a ? is enough: who wrote over a name may have left no blank after it.
    Elsewhere it may be part of a class, ``?unknown``.
    """
    return SUGGESTED if is_checked(content) is None else SUGGESTED.rstrip()


def is_suggestion(shape: Any, mark: str) -> bool:
    """Whether a shape of LabelMe is what a model suggests; ``mark`` is as of :func:`mark_of`."""
    return isinstance(shape, dict) and str(shape.get("label")).lstrip().startswith(mark)


def named_in_sets(folder: Path, images: Sequence[Path]) -> dict[Path, tuple[Path, str]]:
    """The ``images`` below ``folder`` that a file with the labels of a whole set names.

    With that file and the command to convert it: COCO, CVAT for images and tables, below ``folder``
    or beside its ``images``, with something drawn. Names are compared without their folders, and
    without suffix where they have none; where an image of that name lies below the file, too, it
    speaks of that one.
    """
    alike: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        alike[plain(image.name)].append(image)
        if Path(image.stem).suffix.lower() not in IMAGE_SUFFIXES:
            alike[plain(image.stem)].append(image)
    found: dict[Path, tuple[Path, str]] = {}
    for file in _candidates(folder):
        tool, names = _contents(file)
        places = (file.parent, *folders_in(file.parent)) if names else ()
        for name in names:
            base = name.replace("\\", "/").rpartition("/")[2]
            called = alike.get(plain(base), [])
            near = [image for image in called if image.is_relative_to(file.parent)]
            ends = {base, *(image.name for image in called)}
            spelled = {folder + end for folder in ("", name.removesuffix(base)) for end in ends}
            if called and not near and _lies_in(places, spelled):
                continue
            for image in near or called:
                found.setdefault(image, (file, f"kdlnet data convert {tool}"))
    return found


def _lies_in(places: Sequence[Path], names: Set[str]) -> bool:
    """Whether an image of one of the ``names`` that is not asked for lies in one of ``places``."""
    return any(os.path.lexists(place / each) for place in places for each in names)


def _candidates(folder: Path) -> Iterator[Path]:
    yield from (file for file in files_below(folder) if file.suffix.lower() in _SETS)
    folder = folder.absolute()
    at = image_folder_in(folder)
    if at is not None:
        base = Path(*folder.parts[:at])
        for place in (base, *folders_in(base)):
            if place.name.casefold() not in IMAGE_FOLDERS:
                files = map(place.joinpath, names_in(place))
                yield from (file for file in files if file.suffix.lower() in _SETS)


def _contents(file: Path) -> tuple[str, set[str]]:
    """What `data convert` calls the form of a file, and the images that it names."""
    if file.suffix.lower() in TABLE_SUFFIXES:
        try:
            return "csv", set() if is_example(file) else read_table(file).drawn()
        except (DataError, ValueError):
            return "", set()
    try:
        data = file.read_bytes()
    except OSError:
        return "", set()
    if file.suffix.lower() == ".json":
        if not all(re.search(mark, data) for mark in _COCO):
            return "", set()
        texts = re.findall(_COCO_NAME, data)
        try:
            names = {json.loads(text.decode("utf-8", "replace"), strict=False) for text in texts}
        except ValueError:  # no JSON
            return "", set()
        return "coco", names
    if not all(re.search(mark, data) for mark in _CVAT):
        return "", set()
    texts = re.findall(_CVAT_NAME, data)
    return "cvat", {html.unescape(text.decode("utf-8", "replace")) for text in texts}


def image_folder_in(folder: Path) -> int | None:
    """Which part of its path is the last one that folders of images are called, None for none."""
    at = [n for n, part in enumerate(folder.parts) if part.casefold() in IMAGE_FOLDERS]
    return at[-1] if at else None


def folders_in(folder: Path) -> list[Path]:
    """The folders in ``folder``, hidden ones left out; none where there are very many."""
    names = [name for name in names_in(folder, folders=True) if not name.startswith(".")]
    return [folder / name for name in names] if len(names) <= _MOST_FOLDERS else []


def names_in(folder: Path, folders: bool = False) -> list[str]:
    """The names of the files in ``folder``, or of the ``folders``; none of what cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() == folders)
    except OSError:  # not there, or closed to us
        return []
