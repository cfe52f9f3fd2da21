"""What every importer returns: one entry an image, boxes in pixels of the original image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kdlnet.curation.formats.homes import Folders, Served
from kdlnet.data.labels import LabelProblem, reason_to_leave_out
from kdlnet.data.outlines import Outline
from kdlnet.utils.text import plain

if TYPE_CHECKING:
    from kdlnet.types import ImageSize

ClassFrom = Literal["folder", "name", "value"]

NO_ANNOTATION = "no annotation: good part"  # what ``converted`` says of such an image
_UNSURE = "unsure"


@dataclass(frozen=True)
class ImportedImage:
    """One image and its boxes.

    ``size`` (H, W); ``boxes`` (N, 4) float64 as (x1, y1, x2, y2) in pixels of the original image,
    inside it and with an area; ``names`` the class of each box, ``outlines`` what it goes around,
    None where nothing but the box is known; none given: nowhere. ``problems`` tell what was
    dropped or repaired on the way, ``converted`` what the boxes were made from that were not
    boxes before. ``split`` is set where the format knows it, "" for an image that its lists leave
    out.
    """

    path: Path
    size: ImageSize
    boxes: NDArray[np.float64]
    names: tuple[str, ...]
    problems: tuple[LabelProblem, ...] = ()
    split: str | None = None
    converted: tuple[str, ...] = ()
    outlines: tuple[Outline | None, ...] = ()


@dataclass(frozen=True)
class ImportOptions:
    """What a format cannot know by itself. Formats ignore the options of others: see OPTIONS_OF.

    ``origin`` (voc): whether the first pixel is numbered 0 or 1; "auto" looks for a 0.
    ``images``: folder of the images where it is not the source. ``names`` (yolo): class names by
    number, for a source that does not name them.
    ``good`` (masks): folders whose images are good parts. ``class_from`` (masks): what tells the
    class; ``class_name`` (masks; csv, of tables without classes): the class of every box.
    ``columns`` (csv): the names that tables give columns of other names, ``{"class": "type"}``.
    ``values`` (masks by value): class of each pixel value, written ``"7"`` or ``"#ff0000"``; the
    other values are no defects.
    ``min_area`` (masks; csv, of run lengths): smallest component in pixels, None for 16: see
    ``smallest``. ``among`` (labelme): the images that files may speak of, wherever these lie; those
    without a file are then passed over. ``labelled`` (yolo): images whose labels are known, so that
    theirs are not looked for in other places. ``unchecked`` (labelme): suggestions of a model are
    taken, though no person ticked them.
    """

    origin: Literal["auto", "0", "1"] = "auto"
    images: Path | None = None
    names: tuple[str, ...] = ()
    good: tuple[str, ...] = ()
    class_from: ClassFrom = "folder"
    class_name: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    min_area: int | None = None
    among: tuple[Path, ...] | None = None
    labelled: frozenset[Path] = frozenset()
    unchecked: bool = False

    @property
    def smallest(self) -> int:
        """Pixels of the smallest component that becomes a box."""
        return 16 if self.min_area is None else self.min_area


@dataclass(frozen=True)
class ImportResult:
    """Images in the order of their paths, and files that none came from, by reason.

    ``names`` are the classes in the source's own order, empty where the format has none;
    ``channels`` what a model should read, None where it does not say.
    ``lost`` are rows that belong to no image, or to one that is left out. ``facts`` are for
    report.json, JSON-able: what was assumed about the source; ``warnings`` are lines about it.
    """

    images: list[ImportedImage]
    left_out: list[LabelProblem]
    names: tuple[str, ...] = ()
    lost: tuple[LabelProblem, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    channels: int | None = None


def sort_out(found: Iterable[ImportedImage | LabelProblem]) -> ImportResult:
    """Images on one side, what could not become one on the other."""
    result = ImportResult([], [])
    for item in found:
        if isinstance(item, ImportedImage):
            result.images.append(item)
        else:
            result.left_out.append(item)
    return result


def unsure(file: Path, count: int) -> LabelProblem:
    """Why an image without an annotation is no good part: ``count`` of ``file`` have no image."""
    value = f"annotations that belong to no image: {count}, first in {file.name}"
    return LabelProblem(file, 0, _UNSURE, value, "dropped")


def doubt_good_parts(
    imported: ImportResult, lost: Iterable[Path], file_of: Mapping[Path, Path]
) -> ImportResult:
    """With an :func:`unsure` for images that one of the files ``lost`` may have been drawn in.

    ``lost`` have something drawn, or cannot be read, and have no image, as where an image was
    renamed without its file; ``file_of`` is the file of each image that has one. In doubt are the
    images without one beside a lost file and in the folders that its folder serves, or is likely
    to; where there are none, those below it. If it serves no other, and those are fewer than the
    lost files, also those of folders near it in which no image has an annotation. Where all are
    fewer, images of their names everywhere and, if its folder serves several, those of all lots.
    """
    bare: dict[Path, list[Path]] = defaultdict(list)
    for image in imported.images:
        if image.path not in file_of:
            bare[image.path.parent].append(image.path)
    served, folders = Served(file_of), Folders(bare)
    labelled = {image.parent for image in file_of}
    together: dict[Path, list[Path]] = defaultdict(list)
    for file in lost:
        together[file.parent].append(file)
    suspects: dict[Path | str, list[Path]] = defaultdict(list)
    for home, files in together.items():
        near = {home, *(served.own(home) or served.likely(home))} & bare.keys()
        near = near or {folder for folder in bare if folder.is_relative_to(home)}
        if not served.own(home) and sum(len(bare[folder]) for folder in near) < len(files):
            near |= folders.near(home) - labelled
        if sum(len(bare[folder]) for folder in near) < len(files):
            for file in files:
                suspects[plain(file.stem)].append(file)
            if tree := served.tree(home):
                near |= {folder for folder in bare if folder.is_relative_to(tree)}
        for folder in near:
            suspects[folder] += files
    for files in suspects.values():
        files.sort()
    images = list(imported.images)
    for position, image in enumerate(images):
        if image.path in file_of:
            continue
        here, named = (suspects.get(p, []) for p in (image.path.parent, plain(image.path.stem)))
        if files := sorted({*here, *named}) if named else here:
            doubt = unsure(files[0], len(files))
            images[position] = replace(image, problems=(*image.problems, doubt))
    return replace(imported, images=images)


def leave_out_unannotated(imported: ImportResult) -> ImportResult:
    """Without the images that have no annotation, of a set that has no good part."""
    lacking = [image for image in imported.images if NO_ANNOTATION in image.converted]
    images = [image for image in imported.images if NO_ANNOTATION not in image.converted]
    out = [LabelProblem(i.path, 0, "no annotation", i.path.name, "dropped") for i in lacking]
    return replace(imported, images=images, left_out=[*imported.left_out, *out])


def leave_out_partial(imported: ImportResult) -> ImportResult:
    """Without the images of which something that was drawn is lost.

    What is not boxed would be learned as background, and an image with nothing left as a good
    part: see :func:`reason_to_leave_out`. What was dropped of them goes to ``lost``.
    """
    images, left_out, lost = [], list(imported.left_out), list(imported.lost)
    doubts: list[tuple[Path, Path]] = []
    for image in imported.images:
        reason = reason_to_leave_out(len(image.names), image.problems)
        if reason is None:
            images.append(image)
            continue
        if reason.reason == _UNSURE:
            doubts.append((image.path, reason.file))
            left_out.append(replace(reason, file=image.path))
            continue
        value = f"{reason.file.name}:{reason.line}: {reason.reason}: {reason.value}"
        left_out.append(LabelProblem(image.path, 0, "partial", value, "dropped"))
        lost += [problem for problem in image.problems if problem.action == "dropped"]
    warnings = (*imported.warnings, *_lines(doubts, len(imported.images), "left out", ":"))
    return replace(imported, images=images, left_out=left_out, lost=tuple(lost), warnings=warnings)


def without_doubts(imported: ImportResult) -> ImportResult:
    """With the images that :func:`doubt_good_parts` doubts as good parts, which is told."""
    images, doubts = [], []
    for image in imported.images:
        sure = [problem for problem in image.problems if problem.reason != _UNSURE]
        doubts += [(image.path, p.file) for p in image.problems if p.reason == _UNSURE]
        images.append(replace(image, problems=tuple(sure)))
    lines = _lines(doubts, len(images), "taken as good", ", though")
    return replace(imported, images=images, warnings=(*imported.warnings, *lines))


def settled(imported: ImportResult, keep_partial: bool) -> ImportResult:
    """What is converted: all images, or those alone of which everything is read and sure."""
    return without_doubts(imported) if keep_partial else leave_out_partial(imported)


def _lines(doubts: Sequence[tuple[Path, Path]], images: int, fate: str, but: str) -> Iterator[str]:
    """A line about images without an annotation, each with a file that may be theirs."""
    if doubts:
        image, file = doubts[0]
        yield (
            f"{len(doubts)} of {images} images have no label and are {fate}, first "
            f"{image.name!r}{but} labels in {file.name!r} belong to no image and may be theirs; "
            "give them the name of their image, or delete them if it is gone"
        )
