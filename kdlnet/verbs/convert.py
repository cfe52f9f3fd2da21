"""Datasets from one tool's form to another's. Images are linked, never encoded again, and the
source is only read.

On the command line: ``kdlnet data convert FORMAT SOURCE --out DIR [--to yolo|coco|voc]``.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from kdlnet.curation.classes import class_order, taken_as
from kdlnet.curation.corrections import lay_over
from kdlnet.curation.exports import EXPORTERS
from kdlnet.curation.formats import IMPORTERS, ONE_FILE, OPTIONS_OF, READS
from kdlnet.curation.formats.imported import (
    NO_ANNOTATION,
    ImportOptions,
    ImportResult,
    settled,
    without_doubts,
)
from kdlnet.curation.formats.unread import not_read, still_packed
from kdlnet.curation.formats.yolo import splits_of
from kdlnet.curation.groups import naming_root
from kdlnet.curation.placement import Placement, place_images, read_lists
from kdlnet.curation.writer import (
    ConvertReport,
    count_split,
    link_file,
    write_report,
)
from kdlnet.data.folders import keep_out_of_datasets
from kdlnet.data.labels import LabelProblem
from kdlnet.errors import DataError, unknown
from kdlnet.events import Listener, Progress, ignore
from kdlnet.images.folder import LeftOut, images_below, results_lines
from kdlnet.utils.output import keep_apart, whole_folder
from kdlnet.utils.paths import absolute, unpack_first

__all__ = [
    "IMPORTERS",
    "OPTIONS_OF",
    "ConvertReport",
    "ImportOptions",
    "convert",
    "read_source",
    "write_dataset",
]

_EXAMPLES_A_REASON = 5
_NOT_LISTED = "not in a split"


def convert(
    format: str,
    source: Path,
    out: Path,
    *,
    to: str = "yolo",
    splits: Mapping[str, Path] | None = None,
    names: Sequence[str] | None = None,
    classes: Mapping[str, str] | None = None,
    options: ImportOptions | None = None,
    onto: Path | None = None,
    keep_partial: bool = False,
    overwrite: bool = False,
    on_event: Listener = ignore,
) -> ConvertReport:
    """Writes the dataset in ``source`` to the new folder ``out``, in the form ``to``.

    ``format`` is a name in IMPORTERS, ``to`` one in EXPORTERS. ``splits`` maps train, val and test
    to list files of image paths relative to ``source`` (or to the folder of the images); images in
    no list are left out, and those that the source has in another split are told. Without
    ``splits`` the format's own are kept, and images that have none are "train". ``names`` gives the
    class order, else it is the source's own or alphabetical; of a YOLO source that names no class,
    the classes by number. ``classes`` maps the source's classes to those of the new dataset, "" to
    none: see :func:`kdlnet.curation.classes.taken_as`. An image of which something that was drawn
    is no box is left out; with ``keep_partial`` it stays, without that.
    ``onto`` is a YOLO dataset that ``source``, of LabelMe, corrects: what is written is that
    dataset, its splits and classes, with the labels of the images in ``source``.

    Raises DataError (one line) for what cannot be converted; ``out`` is then not there.
    """
    if to not in EXPORTERS:
        raise DataError(unknown("form", to, EXPORTERS))
    options = options or ImportOptions()
    if names:
        options = replace(options, names=tuple(names))
    if onto is None:
        imported, roots = read_source(format, source, out, options)
        imported = settled(imported, keep_partial)
    else:
        imported, roots = _corrected(format, source, out, options, onto, keep_partial)
    if classes:
        imported, names = taken_as(imported, class_order(imported, names), classes), None
    listed = read_lists(roots, splits, imported) if splits else None
    return write_dataset(
        imported,
        place_images(imported, roots, listed),
        out,
        to=to,
        names=names,
        overwrite=overwrite,
        on_event=on_event,
        facts={
            "format": format,
            "source": str(absolute(onto or source)),
            "keep_partial": keep_partial,
            **({"image_folder": str(absolute(options.images))} if options.images else {}),
            **({} if onto is None else {"corrections": str(absolute(source))}),
        },
        warnings=tuple(_moved(imported, listed or {})),
    )


def _corrected(
    format: str, source: Path, out: Path, options: ImportOptions, onto: Path, keep_partial: bool
) -> tuple[ImportResult, list[Path]]:
    """The dataset ``onto`` with the labels that ``source`` has of its images, and its folders."""
    if format not in OPTIONS_OF["among"]:
        raise DataError(f"--onto takes corrections made in LabelMe, not {format!r}: leave it out")
    if not onto.exists():
        raise DataError(f"--onto {str(onto)!r} does not exist: give a data.yaml or its folder")
    splits = splits_of(absolute(onto))
    found, _ = read_source(format, source, out, replace(options, among=tuple(splits)))
    labelled = {image.path for image in found.images} | {each.file for each in found.left_out}
    base, roots = read_source("yolo", onto, out, ImportOptions(labelled=frozenset(labelled)))
    base = settled(without_doubts(base), keep_partial)  # nobody doubts what is a dataset already
    return lay_over(base, settled(found, keep_partial), splits), roots


def read_source(
    format: str, source: Path, out: Path, options: ImportOptions
) -> tuple[ImportResult, list[Path]]:
    """What ``source`` holds, and the folders its images are below, nearest first.

    Raises DataError for an unknown format, a source that cannot be read, and one that ``out`` is
    inside of or holds.
    """
    if format not in IMPORTERS:
        raise DataError(unknown("format", format, IMPORTERS))
    if hint := unpack_first(source):
        raise DataError(f"source {hint}")
    if not source.is_dir() and not (source.is_file() and format in ONE_FILE):
        what = "is not a folder" if source.exists() else "does not exist"
        raise DataError(f"source {str(source)!r} {what}: give the folder of the dataset")
    if options.images is not None and not options.images.is_dir():
        raise DataError(f"--images {str(options.images)!r} is not a folder: give that of images")
    source, images = absolute(source), options.images and absolute(options.images)
    roots = [images] if images else []
    if source.is_dir() or not images:
        roots.append(source if source.is_dir() else source.parent)
    keep_apart(out, roots, "or say where the images are with --images" if source.is_file() else "")
    try:
        imported = IMPORTERS[format](source, replace(options, images=images))
    except DataError as error:
        hint = still_packed(source)
        raise DataError(f"{error}; {hint}" if hint else str(error)) from None
    warnings = (
        *imported.warnings,
        *not_read(format, roots, READS[format] | (READS["labelme"] if options.labelled else set())),
        *(() if options.among else _outside(imported, [*roots, naming_root(roots[-1])])),
        *_results_among(roots),
    )
    return replace(imported, warnings=warnings), roots


def write_dataset(
    imported: ImportResult,
    placement: Placement,
    out: Path,
    *,
    to: str = "yolo",
    names: Sequence[str] | None = None,
    overwrite: bool = False,
    on_event: Listener = ignore,
    facts: Mapping[str, Any],
    warnings: Sequence[str] = (),
) -> ConvertReport:
    """Writes what was imported as it was placed; ``facts`` go into report.json.

    Raises DataError when nothing is left to write, a class is not in ``names`` or ``out`` is
    taken, or read by another dataset.
    """
    order = class_order(imported, names)
    if not placement.splits:
        raise DataError(f"no image of {facts['source']!r} can be converted: {_reason(imported)}")
    form, channels, lines = EXPORTERS[to], imported.channels, [*imported.warnings, *warnings]
    if channels is not None and not form.says_channels:
        flag = f"--set model.channels={channels}"
        lines.append(f"{to} has no place for 'channels: {channels}': train on it with {flag}")
    keep_out_of_datasets(out)
    with whole_folder(out, overwrite) as folder:
        links = _link_images(folder / form.images, placement, on_event)
        known = {"channels": channels} if form.says_channels else {}
        form.write(folder, order, placement.splits, **known)
        report = _report(out, placement, order, imported, links, lines)
        write_report(folder, report, **facts, **imported.facts, to=to)
    return report


def _outside(imported: ImportResult, roots: Sequence[Path]) -> Iterator[str]:
    """A line for images that a data.yaml or its lists name in other places."""
    paths = [image.path for image in imported.images]
    strange = [path for path in paths if not any(map(path.is_relative_to, roots))]
    if strange:
        yield (
            f"{len(strange)} of {len(paths)} images lie outside of the source, first "
            f"{str(strange[0])!r}: they are part of the new dataset"
        )


def _moved(imported: ImportResult, listed: Mapping[Path, str]) -> Iterator[str]:
    """A line for images whose list is not that of the split that the source has them in."""
    own = {image.path: image.split for image in imported.images if image.split is not None}
    moved = [path for path, split in listed.items() if own.get(path, split) != split]
    if moved:
        first = moved[0]
        yield (
            f"--split goes before the source, which has {len(moved)} of {len(listed)} images in "
            f"another split, first {first.name!r}: {own[first] or 'none'!r} there, "
            f"{listed[first]!r} in the list"
        )


def _results_among(roots: Sequence[Path]) -> list[str]:
    """A line about folders of results, which are not imported."""
    left = LeftOut()
    for root in roots:
        deque(images_below(root, left), maxlen=0)
    return results_lines(left.results)


def _link_images(folder: Path, placement: Placement, on_event: Listener) -> dict[str, int]:
    """Links the images; how many were linked in which way."""
    items = list(chain.from_iterable(placement.splits.values()))
    links: Counter[str] = Counter()
    for done, (image, path) in enumerate(items, start=1):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        links[link_file(image.path, target)] += 1
        on_event(Progress("link images", done, len(items)))
    return dict(links)


def _report(
    out: Path,
    placement: Placement,
    order: Sequence[str],
    imported: ImportResult,
    links: dict[str, int],
    warnings: Sequence[str],
) -> ConvertReport:
    used = [image for items in placement.splits.values() for image, _ in items]
    rows = [*chain.from_iterable(image.problems for image in used), *imported.lost]
    left_out = Counter(problem.reason for problem in imported.left_out)
    if placement.unlisted:
        left_out[_NOT_LISTED] = len(placement.unlisted)
    bare = (str(image.path) for image in used if NO_ANNOTATION in image.converted)
    files: dict[str, list[str]] = {}
    for problem in imported.left_out:
        files.setdefault(problem.reason, []).append(str(problem.file))
    return ConvertReport(
        folder=out,
        names=tuple(order),
        splits={
            split: count_split([image.names for image, _ in items], order)
            for split, items in placement.splits.items()
        },
        dropped=dict(Counter(row.reason for row in rows if row.action == "dropped")),
        repaired=dict(Counter(row.reason for row in rows if row.action != "dropped")),
        converted=dict(Counter(chain.from_iterable(image.converted for image in used))),
        left_out=dict(left_out),
        left_out_files=files,
        links=links,
        examples=tuple(_examples([*rows, *imported.left_out])),
        warnings=tuple(warnings),
        first_bare=next(bare, ""),
    )


def _examples(problems: Iterable[LabelProblem]) -> Iterable[str]:
    shown: Counter[str] = Counter()
    for problem in problems:
        shown[problem.reason] += 1
        if shown[problem.reason] <= _EXAMPLES_A_REASON:
            yield str(problem)


def _reason(imported: ImportResult) -> str:
    if imported.left_out:
        return str(imported.left_out[0])
    return "it holds no images" if not imported.images else "no split lists one"
