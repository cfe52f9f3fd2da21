"""Known datasets from the layout their authors publish: recognized, converted, counted, split.

On the command line: ``kdlnet data prepare NAME --from FOLDER [--out DIR]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kdlnet.curation.formats.imported import (
    ImportedImage,
    ImportOptions,
    ImportResult,
    leave_out_unannotated,
    settled,
)
from kdlnet.curation.placement import place_images, read_lists
from kdlnet.curation.splits import grouped_split
from kdlnet.curation.writer import ConvertReport
from kdlnet.data.catalog import find_dataset, look_up
from kdlnet.data.schema import CatalogEntry, Expected, Layout
from kdlnet.errors import ConfigError, DataError, unknown
from kdlnet.events import Listener, ignore
from kdlnet.images.read import IMAGE_SUFFIXES
from kdlnet.utils.paths import absolute
from kdlnet.utils.text import plain
from kdlnet.verbs.convert import read_source, write_dataset

_GIVE_LISTS = "give --split train=LIST --split val=LIST --split test=LIST"


def prepare(
    name: str,
    source: Path,
    out: Path | None = None,
    *,
    splits: Mapping[str, Path] | None = None,
    seed: int | None = None,
    keep_partial: bool = False,
    overwrite: bool = False,
    on_event: Listener = ignore,
) -> ConvertReport:
    """Writes the dataset ``name`` of datasets.yaml from its authors' layout to ``out``.

    ``source`` is the folder of the layout, or one level above or below it; ``out`` is by default
    where ``--data NAME`` looks for it. ``splits`` maps train, val and test to list files of paths
    relative to the layout's folder; without them the entry's own lists split, or its group rule by
    ``seed``.
    Counts that differ from a complete copy are warnings of the report. ``keep_partial`` is as for
    :func:`~kdlnet.verbs.convert.convert`.

    Raises DataError for an unknown name, a folder of another layout, classes of another set, a set
    that has no group rule and is given no lists, and images of a list that are not there;
    ConfigError for a seed where lists split.
    """
    entry = catalog_entry(name)
    if seed is not None and (splits or entry.lists):
        raise ConfigError(f"--seed {seed}: lists split {name}, nothing is drawn; leave it out")
    if entry.layout is None:
        raise DataError(f"dataset {name!r} is not made from a folder: use {entry.prepare!r}")
    folder = find_layout(name, source, entry.layout)
    target = find_dataset(name).root if out is None else out
    images = _subfolder(folder, entry.layout.images) if entry.layout.images else None
    options = ImportOptions(good=entry.layout.good, images=images)
    found, roots = read_source(entry.layout.format, folder, target, options)
    whole = _as_published(found, entry.names)
    if entry.expected is not None and entry.expected.good == 0:
        whole = leave_out_unannotated(whole)
    imported = settled(whole, keep_partial)
    _check_classes(name, folder, imported, entry.names)
    lists = splits or {str(split): file for split, file in entry.lists.items()}
    if lists:
        listed = _listed(name, roots, lists, imported, own=not splits)
    else:
        listed = split_by_rule(name, entry, imported, folder, seed or 0)
    return write_dataset(
        imported,
        place_images(imported, roots, listed),
        target,
        names=entry.names,
        overwrite=overwrite,
        on_event=on_event,
        facts={
            "dataset": name,
            "source": str(folder),
            "citation": entry.citation,
            "terms": entry.terms,
            "split_by": {key: str(file) for key, file in lists.items()} if lists else entry.group,
        },
        warnings=[*_differences(entry.expected, whole), *_without_boxes(imported, entry.names)],
    )


def catalog_entry(name: str) -> CatalogEntry:
    """The entry of datasets.yaml called ``name``. Raises DataError, with the closest one."""
    entry, _, known = look_up(name)
    if entry is None:
        raise DataError(unknown("dataset", name, known))
    return entry


def find_layout(name: str, source: Path, layout: Layout) -> Path:
    """The folder that has the layout: ``source``, one in it, or the one it is in.

    Names are compared without case, but one written as published is preferred.
    Raises DataError when there is none or several.
    """
    if not source.is_dir():
        what = "is not a folder" if source.exists() else "does not exist"
        raise DataError(f"--from {str(source)!r} {what}: give the folder of {name}")
    source = absolute(source)
    inside = sorted(path for path in source.iterdir() if path.is_dir())
    for candidates in ([source], inside, [source.parent]):
        exact = [path for path in candidates if set(layout.folders) <= _names(path)]
        wanted = {folder.lower() for folder in layout.folders}
        loose = [path for path in candidates if wanted <= {n.lower() for n in _names(path)}]
        found = exact or loose
        if len(found) > 1:
            shown = ", ".join(repr(path.name) for path in found)
            raise DataError(f"--from {str(source)!r} holds {shown}: give one of these folders")
        if found:
            return found[0]
    lacking = min((_lacking(path, layout) for path in (source, *inside)), key=len)
    some = 0 < len(lacking) < len(layout.folders)
    raise DataError(
        f"--from {str(source)!r} is not the layout of {name}: "
        f"{'there is no ' + ', '.join(lacking) + '; ' if some else ''}a folder with "
        f"{', '.join(layout.folders)} is needed, there or one level above or below"
    )


def split_by_rule(
    name: str, entry: CatalogEntry, imported: ImportResult, folder: Path, seed: int
) -> dict[Path, str]:
    """Split of every image by the entry's group rule; an image it does not fit is its own group.

    Raises DataError for an entry without a rule.
    """
    if not entry.group:
        raise DataError(
            f"the file names of {name} do not tell which images show the same part, and a random "
            f"split would leak: {_GIVE_LISTS}"
        )
    images = imported.images
    names = [image.path.relative_to(folder).as_posix() for image in images]
    labels = [[entry.names.index(label) for label in image.names] for image in images]
    matches = [re.search(entry.group, path) for path in names]
    pairs = zip(matches, names, strict=True)
    groups = [f"group {match[1]}" if match else path for match, path in pairs]
    shares = {str(split): share for split, share in entry.shares.items()}
    parts = grouped_split(names, labels, groups, shares, seed)
    return {images[index].path: split for split, found in parts.items() for index in found}


def _listed(
    name: str,
    roots: Sequence[Path],
    lists: Mapping[str, Path],
    imported: ImportResult,
    own: bool,
) -> dict[Path, str]:
    """As :func:`read_lists`; of the entry's ``own`` lists nothing can be mended but the copy."""
    try:
        return read_lists(roots, lists, imported)
    except DataError as error:
        if not own:
            raise
        whose = f"the list is that of {name}: is the copy complete?"
        raise DataError(f"{error}; {whose} Or {_GIVE_LISTS}") from None


def _lacking(folder: Path, layout: Layout) -> list[str]:
    """The folders of ``layout`` that are not in ``folder``."""
    names = {name.lower() for name in _names(folder)}
    return [wanted for wanted in layout.folders if wanted.lower() not in names]


def _names(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir() if path.is_dir()}
    except OSError:  # a folder that may not be read is not the one
        return set()


def _subfolder(folder: Path, name: str) -> Path:
    exact = folder / name
    if name in _names(folder):
        return exact
    return next((folder / own for own in _names(folder) if own.lower() == name.lower()), exact)


def _as_published(imported: ImportResult, names: Sequence[str]) -> ImportResult:
    """Classes that differ from one of ``names`` in case or Unicode form alone take its name."""
    own = {plain(name): name for name in names} | {name: name for name in names}

    def published(image: ImportedImage) -> ImportedImage:
        found = (own.get(name, own.get(plain(name), name)) for name in image.names)
        return replace(image, names=tuple(found))

    return replace(imported, images=[published(image) for image in imported.images])


def _check_classes(name: str, folder: Path, imported: ImportResult, names: Sequence[str]) -> None:
    found = {label for image in imported.images for label in image.names}
    strange = sorted(found - set(names))
    if strange:
        raise DataError(
            f"{str(folder)!r} is not {name}: it has boxes of class {strange[0]!r}, but the "
            f"classes are {', '.join(names)}"
        )


def _differences(expected: Expected | None, imported: ImportResult) -> Iterator[str]:
    """A line for each count that is not that of a complete copy."""
    if expected is None:
        return
    images = imported.images
    rows = [p for image in images for p in image.problems if p.action == "dropped" and p.line]
    left_out = {p.file for p in imported.left_out if p.file.suffix.lower() in IMAGE_SUFFIXES}
    found = {
        "images": len(images) + len(left_out),
        "good": sum(not image.names for image in images),
        "boxes": sum(len(image.names) for image in images) + len(rows),
    }
    for what, count in found.items():
        wanted = getattr(expected, what)
        if wanted is not None and wanted != count:
            yield f"{what}: expected {wanted}, found {count}; is the copy complete?"


def _without_boxes(imported: ImportResult, names: Sequence[str]) -> Iterator[str]:
    found = {label for image in imported.images for label in image.names}
    missing = [name for name in names if name not in found]
    if missing:
        yield f"classes without a box: {', '.join(missing)}"
