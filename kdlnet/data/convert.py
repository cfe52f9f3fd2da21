"""Other tools' datasets to YOLO form. Images are linked, never encoded again, and the source is
only read.

On the command line: ``kdlnet data convert FORMAT SOURCE --out DIR [--split train=LIST ...]
[--names a,b,c] [--good FOLDER ...] [--class-name NAME] [--min-area N] [--origin auto|0|1]
[--overwrite]``.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

import numpy as np

from kdlnet.data.formats import IMPORTERS
from kdlnet.data.formats.record import ImportOptions, ImportResult, Record
from kdlnet.data.labels import LabelProblem, write_rows
from kdlnet.data.schema import SPLITS
from kdlnet.data.writer import (
    ConvertReport,
    count_split,
    dataset_folder,
    link_file,
    write_index,
    write_report,
)
from kdlnet.errors import DataError, unknown

# Left out of the paths below images/: a second folder "images" would mislead the search for labels.
_IMAGE_FOLDERS = frozenset({"images", "imgs", "jpegimages"})
_EXAMPLES_A_REASON = 3


@dataclass
class _Plan:
    """Where each record goes: split and path below images/."""

    splits: dict[str, list[tuple[Record, Path]]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def add(self, split: str, record: Record, wanted: Path) -> None:
        self.splits.setdefault(split, []).append((record, self._free(wanted)))

    def _free(self, wanted: Path) -> Path:
        """``wanted``, or with the suffix in its stem and a number when its label file is taken.

        Compared without case, so that the folder can be copied to any file system.
        """
        numbered = (f"{wanted.stem}_{number}" for number in count(2))
        for stem in chain((wanted.stem, f"{wanted.stem}_{wanted.suffix[1:]}"), numbered):
            key = unicodedata.normalize("NFC", str(wanted.with_name(stem))).casefold()
            if key not in self.taken:
                break
        self.taken.add(key)
        return wanted.with_name(stem + wanted.suffix)


def convert(
    format: str,
    source: Path,
    out: Path,
    *,
    splits: dict[str, Path] | None = None,
    names: Sequence[str] | None = None,
    options: ImportOptions | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> ConvertReport:
    """Writes the dataset in ``source`` to ``out``: images/, labels/, list files and data.yaml.

    ``format`` is a name in IMPORTERS. ``splits`` maps train, val and test to list files of image
    paths relative to ``source``; images in no list are left out. Without ``splits`` the format's
    own are kept, and images that have none are "train". ``names`` gives the class order, else
    it is the source's own or alphabetical.

    Raises DataError (one line) for what cannot be converted; ``out`` is then not there.
    """
    if format not in IMPORTERS:
        raise DataError(unknown("format", format, IMPORTERS))
    _check_folders(source, out)
    source = Path(os.path.normpath(source.absolute()))  # one spelling for every image's path
    imported = IMPORTERS[format](source, options or ImportOptions())
    order = _class_order(imported, names)
    plan, unlisted = _plan(source, imported, splits)
    if not plan.splits:
        raise DataError(f"no image of {str(source)!r} can be converted: {_first_reason(imported)}")
    with dataset_folder(out, overwrite) as folder:
        links = _write_images(folder, plan, order, on_progress)
        relative = {
            split: [Path("images", path) for _, path in items]
            for split, items in plan.splits.items()
        }
        write_index(folder, order, relative)
        report = _report(out, plan, order, imported, unlisted, links)
        write_report(folder, report, format=format, source=str(source))
    return report


def _check_folders(source: Path, out: Path) -> None:
    if not source.is_dir():
        what = "is not a folder" if source.exists() else "does not exist"
        raise DataError(f"source {str(source)!r} {what}: give the folder of the dataset")
    real_source, real_out = source.resolve(), out.resolve()
    if real_out.is_relative_to(real_source) or real_source.is_relative_to(real_out):
        raise DataError(
            f"--out {str(out)!r} and the source {str(source)!r} lie inside each other: the source "
            "is never written to, choose another --out"
        )


def _class_order(imported: ImportResult, names: Sequence[str] | None) -> tuple[str, ...]:
    found = {name for record in imported.records for name in record.names}
    order = tuple(names) if names else imported.names or tuple(sorted(found))
    if not order:
        raise DataError("the source has no boxes at all: check the format and its options")
    if len(set(order)) != len(order):
        raise DataError(f"class names {', '.join(order)}: each may be given once")
    for name in sorted(found - set(order)):
        raise DataError(unknown("class in the annotations", name, order, "Add it to --names"))
    return order


def _plan(
    source: Path, imported: ImportResult, splits: dict[str, Path] | None
) -> tuple[_Plan, list[Path]]:
    """Where every record goes, and the images that no split lists."""
    plan = _Plan()
    listed = _read_splits(source, splits, imported) if splits else {}
    unlisted = []
    for record in imported.records:
        split = listed.get(record.image) if splits else record.split or "train"
        if split is None:
            unlisted.append(record.image)
        else:
            plan.add(split, record, _path_below(source, record.image))
    plan.splits = {split: plan.splits[split] for split in SPLITS if split in plan.splits}
    return plan, unlisted


def _read_splits(source: Path, splits: dict[str, Path], imported: ImportResult) -> dict[Path, str]:
    """Split of each listed image. Images that the importer left out may be listed."""
    known = {record.image for record in imported.records}
    known |= {problem.file for problem in imported.left_out}
    listed: dict[Path, str] = {}
    for split, file in splits.items():
        if split not in SPLITS:
            raise DataError(unknown("split", split, SPLITS))
        images = [Path(os.path.normpath(source / line)) for line in _read_lines(file)]
        missing = [image for image in images if image not in known]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(images)} images listed in {str(file)!r} are not in the "
                f"source, first {str(missing[0])!r}: paths are relative to {str(source)!r}"
            )
        for image in images:
            if listed.setdefault(image, split) != split:
                raise DataError(
                    f"image {str(image)!r} is listed in {listed[image]} and {split}: keep one"
                )
    return listed


def _read_lines(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read split list {str(file)!r}: {error}") from None
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise DataError(f"split list {str(file)!r} is empty: one image path a line")
    return found


def _path_below(source: Path, image: Path) -> Path:
    """Path below images/: the source's folders, so that equal names in two folders stay apart."""
    try:
        relative = image.relative_to(source)
    except ValueError:  # a YOLO list may name images anywhere
        return Path(image.name)
    folders = [part for part in relative.parent.parts if part.lower() not in _IMAGE_FOLDERS]
    return Path(*folders, relative.name)


def _write_images(
    folder: Path, plan: _Plan, order: Sequence[str], on_progress: Callable[[int, int], None]
) -> dict[str, int]:
    """Links the images and writes their labels; how many were linked in which way."""
    index = {name: position for position, name in enumerate(order)}
    items = [item for split in plan.splits.values() for item in split]
    links: Counter[str] = Counter()
    for done, (record, path) in enumerate(items, start=1):
        image, labels = folder / "images" / path, folder / "labels" / path.with_suffix(".txt")
        image.parent.mkdir(parents=True, exist_ok=True)
        labels.parent.mkdir(parents=True, exist_ok=True)
        links[link_file(record.image, image)] += 1
        height, width = record.size
        boxes = record.boxes / np.array([width, height, width, height], np.float64)
        write_rows(labels, boxes, np.array([index[name] for name in record.names], np.int64))
        on_progress(done, len(items))
    return dict(links)


def _report(
    out: Path,
    plan: _Plan,
    order: Sequence[str],
    imported: ImportResult,
    unlisted: Sequence[Path],
    links: dict[str, int],
) -> ConvertReport:
    used = [record for items in plan.splits.values() for record, _ in items]
    rows = [problem for record in used for problem in record.problems]
    left_out = Counter(problem.reason for problem in imported.left_out)
    if unlisted:
        left_out["not in a split"] = len(unlisted)
    return ConvertReport(
        folder=out,
        names=tuple(order),
        splits={
            split: count_split([record.names for record, _ in items], order)
            for split, items in plan.splits.items()
        },
        dropped=dict(Counter(row.reason for row in rows if row.action == "dropped")),
        clipped=sum(row.action == "clipped" for row in rows),
        left_out=dict(left_out),
        links=links,
        examples=tuple(_examples([*rows, *imported.left_out])),
    )


def _examples(problems: Iterable[LabelProblem]) -> Iterable[str]:
    shown: Counter[str] = Counter()
    for problem in problems:
        shown[problem.reason] += 1
        if shown[problem.reason] <= _EXAMPLES_A_REASON:
            yield str(problem)


def _first_reason(imported: ImportResult) -> str:
    if imported.left_out:
        return str(imported.left_out[0])
    return "it holds no images" if not imported.records else "no split lists one"
